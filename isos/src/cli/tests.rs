//! The command line as people type it.

use super::*;
use crate::commands::{Command, job};
use crate::help::GROUPS;

fn parse_line(line: &str) -> Result<Cli, String> {
    let args = line.split_whitespace().map(OsString::from);
    parse(args).map_err(|refused| refused.error.to_string())
}

#[test]
fn the_definition_is_sound() {
    command().debug_assert();
}

#[test]
fn every_command_is_in_exactly_one_group_of_the_first_page() {
    for subcommand in command().get_subcommands() {
        let name = subcommand.get_name();
        let groups = GROUPS.iter().filter(|(_, names)| names.contains(&name)).count();
        assert_eq!(groups, 1, "{name}");
    }
}

#[test]
fn the_first_page_begins_with_the_daily_commands() {
    let help = help::grouped(command()).term_width(100).render_help().to_string();
    expect_test::expect_file!["first_page.txt"].assert_eq(&help);
}

#[test]
fn a_submission_reads_like_a_sentence() {
    let line = "isos --server http://127.0.0.1:1 job submit p.wasm --count 8 --input a:x --input b \
        --env K=V --env L= --memory 512MiB --fuel 20G --timeout 90s --where host.cpus>=4 \
        --verify quorum=2/3 --max-price 1.5 --results out --wait --name n --json -- -x {task}";
    let cli = parse_line(line).unwrap();
    assert!(cli.global.json && !cli.global.quiet);
    let Command::Job(job::Command::Submit(args)) = cli.command else { panic!("a submission") };
    expect_test::expect_file!["submission.txt"].assert_debug_eq(&args);
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    for line in [
        "isos submit",
        "isos submit p.wasm --count 2 --each *.fa",
        "isos submit p.wasm --memory lots",
        "isos submit p.wasm --env novalue",
        "isos submit p.wasm --verify quorum=1/3",
        "isos submit p.wasm --error 2",
        "isos submit p.wasm --error 1e-4 --verify trusted",
        "isos submit p.wasm extra",
        "isos job show",
        "isos job show yesterday",
        "isos job wait 5-1",
        "isos status --json --quiet",
        "isos --json status --quiet",
        "isos -q job list --json",
        "isos submit p.wasm --env ISOS_TASK=7",
        "isos --color sometimes status",
        "isos ticket --valid forever",
        "isos nonsense",
    ] {
        let error = parse_line(line).expect_err(line);
        assert!(error.starts_with("error: "), "{line}: {error}");
    }
}

#[test]
fn a_negative_number_is_a_value_that_is_refused() {
    for line in [
        "isos submit p.wasm --count -1",
        "isos submit p.wasm --memory -5",
        "isos submit p.wasm --max-price -1",
        "isos submit p.wasm --error -1",
        "isos submit p.wasm --fuel -2.5",
        "isos account credit X -5",
        "isos job list --limit -1",
        "isos submit p.wasm --timeout -1s",
        "isos submit p.wasm --memory -1GiB",
        "isos submit p.wasm --timeout --json",
    ] {
        let error = parse_line(line).expect_err(line);
        let number = line.rsplit(' ').next().unwrap();
        assert!(error.contains(&format!("invalid value '{number}' for")), "{line}: {error}");
    }
}

#[test]
fn programs_are_told_which_argument_is_missing() {
    let sentence = |line: &str| {
        let refused = parse(line.split_whitespace().map(OsString::from)).expect_err(line);
        refused.sentence()
    };
    let nothing = ["isos", "account", "show", ""].map(OsString::from);
    assert!(parse(nothing).unwrap_err().sentence().contains("ACCOUNT"));
    let missing = "the following required arguments were not provided: <PROGRAM.wasm>";
    assert_eq!(sentence("isos --json submit"), missing);
    assert!(sentence("isos --json submit p.wasm --memory lots").contains("--memory"));
}

#[test]
fn global_flags_may_stand_anywhere() {
    for line in ["isos --json -v status", "isos status --json -v", "isos status -v --json"] {
        let cli = parse_line(line).unwrap();
        assert!(cli.global.json, "{line}");
        assert_eq!(cli.global.verbose, 1, "{line}");
    }
}
