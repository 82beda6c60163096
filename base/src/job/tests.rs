//! Jobs inside and outside of the limits.

use super::*;

fn job() -> JobSpec {
    JobSpec::new(Guid::of(b"program"), Bytes(7), 3)
}

#[test]
fn placeholders_are_replaced() {
    let mut spec = job();
    spec.args = vec!["--task={task}/{tasks}".into(), "{file}".into(), "{other}".into()];
    assert_eq!(spec.args_of(2, Some("a/b.fa")), ["--task=2/3", "/in/a/b.fa", "{other}"]);
    assert_eq!(spec.args_of(0, None)[1], "");
}

#[test]
fn a_job_outside_the_limits_is_refused_with_the_range() {
    assert_eq!(job().check(), Ok(()));
    let refused = |change: &dyn Fn(&mut JobSpec)| {
        let mut spec = job();
        change(&mut spec);
        spec.check().unwrap_err().to_string()
    };
    expect_test::expect!["count is 0, but must be from 1 to 100000000"]
        .assert_eq(&refused(&|s| s.count = 0));
    expect_test::expect!["memory is 4 TiB, but must be from 1 MiB to 1 TiB"]
        .assert_eq(&refused(&|s| s.memory = Bytes::gib(4096)));
    expect_test::expect![[r#"input path "../x" must be relative, without '..' or empty parts"#]]
        .assert_eq(&refused(&|s| {
            let mount = Mount { path: "../x".into(), guid: s.program, size: Bytes(1) };
            s.inputs = vec![mount];
        }));
    assert!(refused(&|s| s.verify = Verify::Quorum { agree: 1, of: 3 }).contains("quorum"));
    assert!(refused(&|s| s.env = vec![("A=B".into(), "c".into())]).contains("environment"));
}

#[test]
fn a_job_on_a_slice_takes_each_hosts_word_and_sets_no_rank_itself() {
    let on = |name: &str| JobSpec { slice: Some(name.into()), verify: Verify::Trusted, ..job() };
    assert_eq!(on("lab-1").check(), Ok(()));
    let said = |spec: JobSpec| spec.check().unwrap_err().to_string();
    expect_test::expect![[r#"slice is "a b", but must be a name of 1 to 64 letters, digits, '-', '_' or '.', of which the first is a letter or digit"#]]
        .assert_eq(&said(on("a b")));
    expect_test::expect!["verify is credibility=1e-2, but must be trusted on a slice, where each host's own answer is wanted"]
        .assert_eq(&said(JobSpec { verify: Verify::default(), ..on("lab") }));
    expect_test::expect!["count is 257, but must be at most 256 on a slice, a task for each host"]
        .assert_eq(&said(JobSpec { count: 257, ..on("lab") }));
    let env = vec![("ISOS_RANK".into(), "7".into())];
    expect_test::expect!["isos sets ISOS_RANK for each task: give the variable another name"]
        .assert_eq(&said(JobSpec { env, ..on("lab") }));
}

#[test]
fn a_job_of_some_tasks_counts_and_knows_them() {
    let range = TaskRange::new;
    let some = |tasks: &[TaskRange]| JobSpec { count: 10, tasks: tasks.to_vec(), ..job() };
    let spec = some(&[range(0, 2), range(5, 6), range(6, 9)]);
    assert_eq!((spec.check(), spec.task_count()), (Ok(()), 6));
    assert!((0..12).filter(|task| spec.has_task(*task)).eq([0, 1, 5, 6, 7, 8]));
    assert_eq!((some(&[]).task_count(), some(&[]).has_task(9)), (10, true));
    assert!(!some(&[]).has_task(10));
    for bad in [&[range(1, 1)][..], &[range(5, 6), range(4, 5)], &[range(9, 11)]] {
        let error = some(bad).check().unwrap_err().to_string();
        assert!(error.contains("ranges in order and apart"), "{error}");
    }
    let traced = |trace: &[TaskRange]| JobSpec {
        trace: trace.to_vec(),
        ..some(&[range(3, 4), range(6, 8)])
    };
    assert!((0..12).filter(|task| traced(&[]).is_traced(*task)).eq([3]), "the first one");
    assert!((0..12).filter(|task| traced(&[range(6, 8)]).is_traced(*task)).eq([6, 7]));
    assert!(traced(&[range(9, 11)]).check().is_err());
    expect_test::expect!["trace is 8, but must be a task that the job has"]
        .assert_eq(&traced(&[range(7, 9)]).check().unwrap_err().to_string());
    let error = JobSpec { count: 1_000, trace: vec![range(0, 65)], ..job() }.check();
    expect_test::expect!["trace is 65 tasks, but must be at most 64"]
        .assert_eq(&error.unwrap_err().to_string());
    let many: Vec<_> = (0..4_097).map(|n| range(2 * n, 2 * n + 1)).collect();
    let error = JobSpec { count: 10_000, tasks: many, ..job() }.check().unwrap_err();
    expect_test::expect![
        "tasks is 4097 ranges, but must be at most 4096 ranges: make several jobs, each of a part of the tasks"
    ]
    .assert_eq(&error.to_string());
}

#[test]
fn an_input_is_no_file_and_folder_at_once() {
    let mount = |path: &str| Mount { path: path.into(), guid: Guid::of(b""), size: Bytes(0) };
    let shared = [mount("a/b"), mount("c")];
    let paths = SharedPaths::of(&shared);
    assert_eq!(paths.check_apart("a/c"), Ok(()));
    assert_eq!(paths.check_apart("a/b"), Err(JobError::PathTwice { path: "a/b".into() }));
    for (path, both) in [("a", "a"), ("c/d/e", "c"), ("a/b/c", "a/b")] {
        let error = JobError::PathThroughFile { path: both.into() };
        assert_eq!(paths.check_apart(path), Err(error.clone()));
        let mut spec = job();
        spec.inputs = [shared.as_slice(), &[mount(path)]].concat();
        assert_eq!(spec.check(), Err(error));
    }
}

#[test]
fn only_plain_relative_paths_are_plain() {
    assert!(is_plain_path("a/b.txt"));
    for bad in ["", "/etc/passwd", "a/../b", "./a", "a//b", "a/", "a\0b", "a\\b"] {
        assert!(!is_plain_path(bad), "{bad:?}");
    }
}
