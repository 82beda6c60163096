//! Hostile guests against the real child with all its walls: each tries to get out, to get more
//! than its limits, or to make the host work for nothing. What each must come to is said where it
//! is tried; that the child lives and is clean afterwards is asserted by [`survives`].

mod bombs;
mod caller;
mod calls;
pub(crate) mod native;
mod paid;
mod saved;

use isos_base::task::Execution;

use crate::world::{Job, Test, finished, order, wait};

pub(crate) fn tests() -> Vec<Test> {
    const OWN: &[Test] =
        &[("the page about the sandbox names these tests and no others", documented)];
    [bombs::TESTS, calls::TESTS, native::TESTS, paid::TESTS, saved::TESTS, OWN].concat()
}

fn documented() {
    const PAGE: &str = include_str!("../../../../docs/internals/sandbox.md");
    let listed: Vec<&str> = PAGE
        .lines()
        .skip_while(|line| *line != "## What would notice")
        .filter_map(|line| line.strip_prefix("* "))
        .collect();
    let suite = [bombs::TESTS, calls::TESTS, native::TESTS, paid::TESTS, saved::TESTS].concat();
    assert_eq!(listed, suite.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

/// The interfaces of WASI 0.2 that components may import.
const WIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/wit");
/// What an honest child has open: three streams, two folders of inputs, the compiled code.
const DESCRIPTORS: usize = 6;

/// Runs a hostile program twice in one child. The second run must end as the first did, which it
/// can only if nothing of the first is left; and the child must have open what it had.
fn survives(job: Job<'_>) -> Execution {
    let job = job.with(|spec| spec.count = 2);
    wait(async {
        let (chamber, mut events) = job.open().await;
        let mut ends = Vec::new();
        for task in 0..2 {
            chamber.send(vec![order(task)]).await.expect("a living chamber");
            ends.extend(finished(&mut events, 1).await);
            let files = std::fs::read_dir(format!("/proc/{}/fd", chamber.process_id()));
            assert_eq!(files.expect("a living child").count(), DESCRIPTORS);
        }
        let second = ends.remove(1);
        let first = ends.remove(0);
        assert_eq!((&first.end, first.fuel), (&second.end, second.fuel));
        assert_eq!(first.output, second.output);
        assert!(first.output.stdout.len() <= job.spec.output_max.as_usize());
        first
    })
}
