//! The first help page: the daily commands first, the rest by what they are for.

use std::fmt::Write;

/// Commands by what they are for. Each command is in exactly one group, in this order.
pub(crate) const GROUPS: &[(&str, &[&str])] = &[
    ("Every day", &["join", "submit", "put", "get", "status"]),
    ("Work", &["job", "slice", "explain"]),
    ("Objects", &["ls", "rm", "stat", "share", "verify", "backup", "quota"]),
    ("This machine", &["pause", "resume", "policy"]),
    ("Money", &["account", "market", "bank"]),
    (
        "A complex",
        &[
            "tour", "dev", "server", "replay", "ticket", "token", "audit", "host", "cloud",
            "query", "top",
        ],
    ),
    ("This program", &["config", "completions", "man", "help"]),
];

/// What stands below the long help.
pub(crate) const AFTER: &str = "\
Settings come from flags, then the environment, then isos.toml, then defaults;
`isos config show --origin` says which won. Jobs are named by number, `last`, or 1,3,5-8.

Exit codes: 0 ok, 1 error or all tasks failed, 2 usage, 3 some tasks failed, 4 not found, 5 try
again, 6 refused by policy, quota or price, 7 not authorised, 10 unreachable, 12 verification
failed, 130 interrupted.
In JSON, money is in micro-credits, sizes in bytes, times in RFC 3339.";

/// `command` with its subcommands in groups on the first help page. Not for completions and manual
/// pages: they list what is not hidden.
pub(crate) fn grouped(command: clap::Command) -> clap::Command {
    let groups = groups(&command);
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{{all-args}}{{after-help}}"
    );
    // The groups stand for the usual list, which is left out when there is nothing to show in it.
    let usage = format!("{} [OPTIONS] <COMMAND>", command.get_name());
    command
        .mut_subcommands(|command| command.hide(true))
        .override_usage(usage)
        .help_template(template)
}

fn groups(command: &clap::Command) -> String {
    let mut text = String::new();
    for (title, names) in GROUPS {
        let mut lines = String::new();
        for name in *names {
            let about = match command.find_subcommand(name) {
                Some(found) => found.get_about().map(ToString::to_string).unwrap_or_default(),
                None if *name == "help" => "Show this, or the help of a command".into(),
                None => continue,
            };
            writeln!(lines, "  {name:<12} {about}").expect("a string takes everything");
        }
        if !lines.is_empty() {
            writeln!(text, "{title}:\n{lines}").expect("a string takes everything");
        }
    }
    text
}
