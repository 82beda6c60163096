//! Real programs in real child processes: this binary is also the child that it starts.

mod chambers;
mod checkpoints;
mod components;
mod files;
mod guests;
mod programs;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// The first argument by which this binary knows that it is a child.
const CHILD: &str = "sandbox-child";

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == CHILD) {
        return isos_sandbox::child_main(std::env::args_os().skip(2));
    }
    let tests: Vec<Trial> = [
        programs::TESTS,
        files::TESTS,
        chambers::TESTS,
        checkpoints::TESTS,
        components::TESTS,
        guests::TESTS,
    ]
    .concat()
    .into_iter()
    .map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    })
    .collect();
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}
