//! Job files, and flags over them.

use super::*;

const FILE: &str = r#"
program = "p.wasm"
name = "night run"
each = "queries/*.fa"
input = ["lib.fasta", "x:data/x"]
args = ["{file}", "/in/lib.fasta"]
env = { B = "2", A = "1" }
memory = "512MiB"
fuel = 5000
timeout = "90s"
output = "1MiB"
where = 'host.country == "FI"'
verify = "quorum=2/3"
attempts = 3
max_price = 2.5
results = "out"
"#;

#[test]
fn a_job_file_has_the_fields_of_the_flags() {
    let options = JobOptions::parse(FILE).unwrap();
    assert_eq!(options.memory, Some(Bytes::mib(512)));
    assert_eq!(options.fuel, Some(Fuel(5_000)));
    assert_eq!(options.max_price, Some(MicroCredits(2_500_000)));
    assert_eq!(options.env, [("A".into(), "1".into()), ("B".into(), "2".into())]);
    assert_eq!(options.verify, Some(Verify::Quorum { agree: 2, of: 3 }));
}

#[test]
fn flags_override_the_file_and_add_to_its_lists() {
    let flags = JobOptions {
        count: Some(7),
        memory: Some(Bytes::gib(1)),
        env: vec![("B".into(), "9".into())],
        input: vec!["more".into()],
        ..JobOptions::default()
    };
    let both = flags.over(JobOptions::parse(FILE).unwrap());
    assert_eq!((both.count, &both.each, both.memory), (Some(7), &None, Some(Bytes::gib(1))));
    assert_eq!(both.env, [("A".into(), "1".into()), ("B".into(), "9".into())]);
    assert_eq!(both.input, ["lib.fasta", "x:data/x", "more"]);
    assert_eq!(both.args, ["{file}", "/in/lib.fasta"]);
    assert_eq!(both.submission().unwrap().tasks, Tasks::Count(7));
}

#[test]
fn paths_of_a_file_are_relative_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.toml");
    std::fs::write(&path, FILE).unwrap();
    let options = JobOptions::read(&path).unwrap();
    let at = |name: &str| folder.path().join(name);
    assert_eq!(options.program, Some(at("p.wasm")));
    assert_eq!(options.results, Some(at("out")));
    assert_eq!(options.each, Some(at("queries/*.fa").display().to_string()));
    assert_eq!(options.input[1], at("x:data/x").display().to_string());
}

#[test]
fn what_a_job_file_must_not_say() {
    for bad in [
        "programm = 'x'",
        "count = 3\neach = 'x'",
        "memory = 'lots'",
        "memory = -5",
        "verify = 'quorum=1/2'",
        "error = 0.5",
        "error = '1e-4'\nverify = 'trusted'",
        "env = ['A=B']",
        "count = 'many'",
        "attempts = 1000",
    ] {
        assert!(JobOptions::parse(bad).is_err(), "{bad}");
    }
    let rate = JobOptions::parse("program = 'p.wasm'\nerror = 0.0001").unwrap();
    let verify = rate.submission().unwrap().verify;
    assert_eq!(verify, Some(Verify::Credibility { error_ppm: 100 }));
    let nothing = JobOptions::parse("").unwrap();
    assert_eq!(nothing.submission().unwrap_err().code, crate::exit::Code::Usage);
}
