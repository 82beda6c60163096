//! Job files, and flags over them.

use isos_base::random::Random;

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
    let code = |path: &Path| crate::exit::classify(&JobOptions::read(path).unwrap_err()).0;
    assert_eq!(code(Path::new("/nope/job.toml")), crate::exit::Code::NotFound);
    std::fs::write(&path, b"name = '\xff'").unwrap();
    assert_eq!(code(&path), crate::exit::Code::Usage);
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

#[test]
fn odd_texts_are_refused_in_words_and_never_a_panic() {
    // What tends to break readers: numbers at the ends of their ranges, brackets without end.
    let telling = [
        "18446744073709551616",
        "-1",
        "1e309",
        "nan",
        "9223372036854775807",
        "\"18446744073709551615GiB\"",
        "\"1e4000G\"",
        "\"quorum=255/0\"",
        "\"credibility=-0\"",
        "\u{0}",
        "\u{10ffff}",
        "[[",
        "\"\"",
        "{ a = { b = 1 } }",
        "1979-05-27T07:32:00Z",
    ];
    let mut random = Random::new(1);
    let (mut good, mut bad) = (0, 0);
    for round in 0..20_000 {
        let mut text: Vec<char> = FILE.chars().collect();
        for _ in 0..=round % 4 {
            let at = random.below(text.len() as u64 + 1) as usize;
            let end = (at + random.below(6) as usize).min(text.len());
            match random.below(4) {
                0 => drop(text.drain(at..end)),
                1 => {
                    let odd = telling[random.below(telling.len() as u64) as usize];
                    drop(text.splice(at..end, odd.chars()));
                }
                2 => text.truncate(at.max(1)),
                _ => {
                    let piece = text[at..end].to_vec();
                    drop(text.splice(at..at, piece));
                }
            }
        }
        let text: String = text.into_iter().collect();
        match JobOptions::parse(&text) {
            // What the file means is checked before anything is made of it.
            Ok(options) => {
                good += 1;
                let _refused = options.submission();
            }
            Err(why) => {
                bad += 1;
                assert!(!why.is_empty(), "{text}");
            }
        }
    }
    assert!(good > 100 && bad > 100, "{good} of {bad} are job files");
    let deep = format!("args = {}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(JobOptions::parse(&deep).is_err());
}
