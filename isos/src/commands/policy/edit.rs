//! `isos policy edit`: asks an owner in plain words, or takes changes as flags; shows what would
//! hold; writes the file as a whole or not at all, and tells the agent that runs here.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use isos_agent::{Order, ask};
use isos_kernel::policy::{POLICY_BYTES_MAX, template, template_names};

use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::policy::draft::{ChangeError, Draft};
use crate::policy::{Loaded, Machine, at_home};
use crate::report::PolicyText;
use crate::text;

/// What to change.
#[derive(Debug, clap::Args)]
pub(crate) struct EditArgs {
    /// A policy file [default: policy.toml in the configuration folder]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Set a field without being asked: `--set cpu.share_idle=50%`. May be repeated
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// Leave a field out, so that it is as in the laptop template. May be repeated
    #[arg(long, value_name = "FIELD")]
    unset: Vec<String>,
    /// Add a window: `mon-fri 09:00-17:00 20x`, `sat,sun off`, `22:00-06:00 50%`. May be repeated
    #[arg(long, value_name = "WORDS")]
    window: Vec<String>,
    /// Remove all windows first
    #[arg(long)]
    no_windows: bool,
    /// Begin with a template instead of what is there: laptop, desktop, server, nas
    #[arg(long, value_name = "TEMPLATE")]
    from: Option<String>,
    /// Say what would hold, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl EditArgs {
    fn is_silent(&self) -> bool {
        self.no_windows
            || self.from.is_some()
            || [&self.set, &self.unset, &self.window].iter().any(|list| !list.is_empty())
    }
}

/// Asks, shows, writes.
pub(crate) async fn run(args: EditArgs, context: &Context) -> anyhow::Result<End> {
    let paths = &context.settings.paths;
    let own = paths.policy_file();
    let path = args.file.clone().unwrap_or_else(|| own.clone());
    let mut draft = begin(&args, &path)?;
    if args.is_silent() {
        flags(&args, &mut draft).map_err(|error| Refusal::usage(error.to_string()))?;
    } else {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Refusal::usage(
                "there is no terminal to ask on: use --set FIELD=VALUE, such as \
                 --set cpu.share_idle=50%",
            )
            .into());
        }
        let mut say = |text: &str| {
            let mut stderr = io::stderr().lock();
            let _ = stderr.write_all(text.as_bytes());
            let _ = stderr.flush();
        };
        if !dialogue(&mut io::stdin().lock(), &mut say, &mut draft)? {
            say("\nNothing was changed.\n");
            return Ok(End::Ok);
        }
    }
    let mut machine = Machine::look(paths)?;
    let loaded = Loaded { source: path.display().to_string(), policy: draft.policy().clone() };
    let problems = draft.policy().check_machine(&machine.caps);
    let lines = draft.policy().describe(&machine.caps);
    for problem in &problems {
        context.out.note(&format!("on this machine: {problem}"));
    }
    if !args.is_silent() {
        for line in &lines {
            context.out.note(line);
        }
        let now = machine.decide(loaded, crate::clock::now(), at_home(paths).await.as_ref());
        context.out.note(&context.out.text_of(&now));
        let question = format!("Write this to {}? [Y/n] ", path.display());
        let mut say = |text: &str| {
            let _ = io::stderr().lock().write_all(text.as_bytes());
        };
        if !yes(&mut io::stdin().lock(), &mut say, &question, true)? {
            say("Nothing was changed.\n");
            return Ok(End::Ok);
        }
    }
    if !args.dry_run {
        text::write(&path, &draft.text())?;
        if path == own {
            tell(&draft, context).await;
        }
    }
    context.out.show(&PolicyText { source: path.display().to_string(), lines })?;
    Ok(End::Ok)
}

/// What is there, or a template.
fn begin(args: &EditArgs, path: &Path) -> anyhow::Result<Draft> {
    let text = match &args.from {
        Some(name) => template(name)
            .ok_or_else(|| {
                let known: Vec<&str> = template_names().collect();
                Refusal::not_found(format!(
                    "there is no template {name:?}: there are {}",
                    known.join(", ")
                ))
            })?
            .to_owned(),
        None => text::read_if_there("the policy", path, POLICY_BYTES_MAX as u64)?
            .unwrap_or_else(|| template("laptop").unwrap_or_default().to_owned()),
    };
    let bad = |error: ChangeError| Refusal::usage(format!("{}: {error}", path.display()));
    Ok(Draft::new(&text).map_err(bad)?)
}

/// Changes without questions: windows first, since fields may rest on them.
fn flags(args: &EditArgs, draft: &mut Draft) -> Result<(), ChangeError> {
    if args.no_windows {
        draft.clear_windows()?;
    }
    for field in &args.unset {
        draft.unset(field)?;
    }
    for change in &args.set {
        let bad = || ChangeError::Field(change.clone());
        let (field, value) = change.split_once('=').ok_or_else(bad)?;
        draft.set(field.trim(), value)?;
    }
    args.window.iter().try_for_each(|words| draft.add_window(words))
}

/// How an answer is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As it is.
    Plain,
    /// `yes` and `no`.
    YesNo,
    /// As it is, and `no` leaves it out.
    OrNo,
}

/// One question.
struct Question {
    field: &'static str,
    text: &'static str,
    kind: Kind,
    /// The value when the field is left out.
    default: &'static str,
}

const fn ask_for(
    field: &'static str,
    text: &'static str,
    kind: Kind,
    default: &'static str,
) -> Question {
    Question { field, text, kind, default }
}

/// In the order in which an owner thinks of them. The defaults are those of the policy; a test
/// compares them.
const QUESTIONS: &[Question] = &[
    ask_for(
        "cpu.share_in_use",
        "How much of the processor may work have while you use the machine?",
        Kind::Plain,
        "0%",
    ),
    ask_for("cpu.share_idle", "And while you do not?", Kind::Plain, "100%"),
    ask_for(
        "idle.after",
        "After how long without a touch do you count as away? (0s: at once)",
        Kind::Plain,
        "5m",
    ),
    ask_for(
        "load.other_max",
        "Stop while your own programs use more than this? (cores, or a share such as 50%)",
        Kind::Plain,
        "1.0",
    ),
    ask_for(
        "memory.idle",
        "How much memory may work have while you are away? (a share, or a size such as 8GiB)",
        Kind::Plain,
        "50%",
    ),
    ask_for("memory.free_floor", "How much memory must always stay free?", Kind::Plain, "1GiB"),
    ask_for("disk.max", "How much disk may work have?", Kind::Plain, "10GiB"),
    ask_for("disk.free_floor", "How much disk must always stay free?", Kind::Plain, "5GiB"),
    ask_for(
        "storage.room",
        "How much disk may others fill with what they store, besides? (such as 50GiB; no: none)",
        Kind::OrNo,
        "no",
    ),
    ask_for("power.on_battery", "May work run on battery?", Kind::YesNo, "false"),
    ask_for("temperature.max", "Stop above how many degrees Celsius? (or off)", Kind::Plain, "85"),
    ask_for("network.metered", "May work run on a metered network?", Kind::YesNo, "false"),
    ask_for(
        "network.rate_down",
        "How fast may work fetch? (such as 1MiB/s or 8Mbit/s; no: as fast as it goes)",
        Kind::OrNo,
        "no",
    ),
    ask_for("network.rate_up", "How fast may work send?", Kind::OrNo, "no"),
    ask_for(
        "network.day_max",
        "How much may work move a day, both ways together? (such as 1GiB; no: any)",
        Kind::OrNo,
        "no",
    ),
    ask_for("network.month_max", "And a month?", Kind::OrNo, "no"),
    ask_for(
        "price_min",
        "The least that work must pay, in micro-credits per gigafuel?",
        Kind::Plain,
        "0",
    ),
];

/// Asks all questions; each answer is checked before the next. Whether the owner went to the end.
fn dialogue(
    input: &mut impl BufRead,
    say: &mut impl FnMut(&str),
    draft: &mut Draft,
) -> anyhow::Result<bool> {
    say("Your answer, or Enter for what stands in brackets; Ctrl-D ends without a change.\n\n");
    for question in QUESTIONS {
        loop {
            let now = draft.get(question.field).unwrap_or_else(|| question.default.into());
            let shown = match (question.kind, now.as_str()) {
                (Kind::YesNo, "true") => "yes",
                (Kind::YesNo, _) => "no",
                (_, now) => now,
            };
            say(&format!("{} [{shown}] ", question.text));
            let Some(answer) = line(input)? else { return Ok(false) };
            if answer.is_empty() {
                break;
            }
            let changed = match (question.kind, answer.to_ascii_lowercase().as_str()) {
                (Kind::YesNo, "y" | "yes" | "true") => draft.set(question.field, "true"),
                (Kind::YesNo, "n" | "no" | "false") => draft.set(question.field, "false"),
                (Kind::YesNo, _) => {
                    say("  Please answer yes or no.\n");
                    continue;
                }
                (Kind::OrNo, "no" | "none" | "n") => draft.unset(question.field),
                _ => draft.set(question.field, &answer),
            };
            match changed {
                Ok(()) => break,
                Err(error) => say(&format!("  {}\n", indented(&error))),
            }
        }
    }
    windows(input, say, draft)
}

fn windows(
    input: &mut impl BufRead,
    say: &mut impl FnMut(&str),
    draft: &mut Draft,
) -> anyhow::Result<bool> {
    let present = draft.windows();
    if !present.is_empty() {
        say("Hours with rules of their own:\n");
        present.iter().for_each(|words| say(&format!("  {words}\n")));
        if !yes(input, say, "Keep them? [Y/n] ", true)? {
            draft.clear_windows()?;
        }
    }
    say(
        "Other hours with rules of their own? Such as `mon-fri 09:00-17:00 off`, `sat,sun 50%`, or\n\
         `mon-fri 09:00-17:00 20x` for twenty times the price. The first that fits applies.\n",
    );
    loop {
        say("Hours, or Enter to go on: ");
        let Some(answer) = line(input)? else { return Ok(false) };
        if answer.is_empty() {
            return Ok(true);
        }
        if let Err(error) = draft.add_window(&answer) {
            say(&format!("  {}\n", indented(&error)));
        }
    }
}

fn indented(error: &ChangeError) -> String {
    error.to_string().replace('\n', "\n  ")
}

/// A line without its end; nothing at the end of the input.
fn line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    /// More than any answer has.
    const LINE_BYTES_MAX: u64 = 4 << 10;
    let mut text = String::new();
    let read = io::Read::take(input, LINE_BYTES_MAX).read_line(&mut text)?;
    Ok((read > 0).then(|| text.trim().to_owned()))
}

fn yes(
    input: &mut impl BufRead,
    say: &mut impl FnMut(&str),
    question: &str,
    default: bool,
) -> io::Result<bool> {
    loop {
        say(question);
        match line(input)?.as_deref().map(str::to_ascii_lowercase).as_deref() {
            // Nobody said yes.
            None => return Ok(false),
            Some("") => return Ok(default),
            Some("y" | "yes") => return Ok(true),
            Some("n" | "no") => return Ok(false),
            Some(_) => say("  Please answer yes or no.\n"),
        }
    }
}

/// An agent that runs here goes by it from now on.
async fn tell(draft: &Draft, context: &Context) {
    let home = context.settings.paths.agent_home();
    match ask(&home, Order::Policy(draft.text())).await {
        Ok(_) => context.out.note("The agent on this machine goes by it now."),
        Err(isos_agent::control::AskError::NotRunning { .. }) => {}
        Err(error) => {
            context.out.note(&format!("The agent on this machine was not told: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole talk, and what it came to.
    fn talk(text: &str, answers: &str) -> (bool, Draft, String) {
        let mut draft = Draft::new(text).unwrap();
        let mut said = String::new();
        let mut say = |text: &str| said.push_str(text);
        let done = dialogue(&mut answers.as_bytes(), &mut say, &mut draft).unwrap();
        (done, draft, said)
    }

    #[test]
    fn whoever_only_presses_enter_changes_nothing() {
        for name in template_names() {
            let text = template(name).unwrap();
            let (done, draft, _) = talk(text, &"\n".repeat(QUESTIONS.len() + 2));
            assert!(done);
            assert_eq!(draft.text(), text);
        }
    }

    #[test]
    fn the_values_in_brackets_are_those_that_hold() {
        let plain = Draft::new("").unwrap();
        for question in QUESTIONS.iter().filter(|question| question.kind != Kind::OrNo) {
            let mut said = plain.clone();
            said.set(question.field, question.default).unwrap();
            assert_eq!(said.policy(), plain.policy(), "{}", question.field);
        }
    }

    #[test]
    fn answers_are_checked_one_by_one_and_asked_for_again() {
        let mut answers = String::from("lots\n25%\n");
        for question in &QUESTIONS[1..] {
            answers += match question.field {
                "power.on_battery" => "maybe\nyes\n",
                "network.rate_up" => "512KiB/s\n",
                "network.day_max" => "2GiB\n",
                _ => "\n",
            };
        }
        answers += "some day\nmon-fri 09:00-17:00 off\n\n";
        let (done, draft, said) = talk("", &answers);
        assert!(done);
        assert_eq!(
            draft.text(),
            "\n[cpu]\nshare_in_use = \"25%\"\n\n[power]\non_battery = true\n\n[network]\n\
             rate_up = \"512KiB/s\"\nday_max = \"2GiB\"\n\n[[window]]\ndays = \"mon-fri\"\n\
             hours = \"09:00-17:00\"\nallow = false\n"
                .trim_start()
        );
        for again in ["not a share", "answer yes or no", "is no window"] {
            assert!(said.contains(again), "{again}: {said}");
        }
    }

    #[test]
    fn an_end_of_the_talk_before_its_time_is_no_change() {
        let (done, ..) = talk("", "50%\n");
        assert!(!done);
    }

    #[test]
    fn a_file_is_written_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/policy.toml");
        text::write(&path, "a").unwrap();
        text::write(&path, "b").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        // A folder cannot be replaced by a file.
        assert!(text::write(folder.path(), "c").is_err());
    }
}
