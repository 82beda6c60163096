//! Real programs in real child processes: this binary is also the child that it starts.

mod chambers;
mod checkpoints;
mod components;
mod escape;
mod files;
mod guests;
mod peers;
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
    if std::env::args_os().nth(1).is_some_and(|first| first == escape::native::CHILD) {
        let args: Vec<String> = std::env::args().skip(2).collect();
        return escape::native::main(&args);
    }
    let tests = [
        programs::TESTS,
        files::TESTS,
        chambers::TESTS,
        checkpoints::TESTS,
        components::TESTS,
        guests::TESTS,
        peers::TESTS,
    ]
    .concat();
    let tests: Vec<Trial> = tests
        .into_iter()
        .chain(escape::tests())
        .map(|(name, test)| {
            Trial::test(name, move || {
                test();
                Ok(())
            })
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}
