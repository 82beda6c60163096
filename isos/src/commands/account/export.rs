//! Statements brought home, for books and for proof.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser as NonEmpty;
use isos_base::api::StatementLine;
use isos_base::key::PublicKey;
use isos_base::statement::{SignedLedgerHead, SignedStatement};
use isos_base::{Span, Time};

use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::output::Mode;
use crate::report::{Exported, LedgerHead, Verified};

/// Bytes of an exported statement: some three million lines.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// What to bring home.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// Its number or name
    #[arg(value_name = "ACCOUNT", default_value = "me", value_parser = NonEmpty::new())]
    account: String,
    /// A new file [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// JSON, which can be verified, or CSV for spreadsheets
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    format: Format,
    /// Only one month (UTC), such as 2026-11; a part cannot be verified
    #[arg(long, value_name = "MONTH")]
    month: Option<Month>,
}

/// What to check.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// What `isos account export` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// An earlier one, of which this must be the continuation
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// Where the ledger stood, from `isos account head`: a line at that place must be the same
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// The key that must have signed it [default: that of the complex in the settings]
    #[arg(long, value_name = "KEY")]
    complex: Option<PublicKey>,
}

/// Which head to bring home.
#[derive(Debug, clap::Args)]
pub(crate) struct HeadArgs {
    /// A new file [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// That of so many days before the last midnight
    #[arg(long, value_name = "N", default_value_t = 0)]
    days_ago: u32,
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One document.
    Json,
    /// A line each, after a line of names.
    Csv,
}

/// A month, as times begin with it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Month(String);

impl FromStr for Month {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no month: use one such as 2026-11");
        let (year, month) = text.split_once('-').ok_or_else(bad)?;
        let digits = |text: &str, count| {
            text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        let known = matches!(month.parse::<u8>(), Ok(1..=12));
        if digits(year, 4) && digits(month, 2) && known {
            Ok(Self(text.into()))
        } else {
            Err(bad())
        }
    }
}

impl Month {
    fn has(&self, at: Time) -> bool {
        at.to_rfc3339().starts_with(&self.0)
    }
}

/// Brings it home. What was written has been checked.
pub(super) async fn export(args: &ExportArgs, context: &Context) -> anyhow::Result<End> {
    let mut statement = context.client()?.signed_statement(&args.account).await?;
    let known = context.settings.complex();
    statement.check(known.as_ref()).map_err(|error| not_right("the statement", &error))?;
    if let Some(month) = &args.month {
        statement.lines.retain(|line| month.has(line.at));
    }
    let bytes = match (args.format, &args.month) {
        (Format::Csv, _) => csv(&statement.lines).into_bytes(),
        (Format::Json, Some(_)) => serde_json::to_vec_pretty(&statement.lines)?,
        (Format::Json, None) => serde_json::to_vec_pretty(&statement)?,
    };
    let Some(path) = &args.output else {
        context.out.bytes(&bytes)?;
        if bytes.last() != Some(&b'\n') {
            context.out.bytes(b"\n")?;
        }
        return Ok(End::Ok);
    };
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(&bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    let (file, lines) = (path.clone(), statement.lines.len());
    context.out.show(&Exported { file, lines, head: statement.signed })?;
    Ok(End::Ok)
}

/// Checks one, or two.
pub(super) fn verify(args: &VerifyArgs, context: &Context) -> anyhow::Result<End> {
    let complex = args.complex.or_else(|| context.settings.complex());
    let statement = read(&args.file)?;
    let name = |path: &Path| path.display().to_string();
    statement.check(complex.as_ref()).map_err(|error| not_right(&name(&args.file), &error))?;
    let mut since = None;
    if let Some(path) = &args.since {
        let earlier = read(path)?;
        let key = Some(&statement.signed.complex);
        earlier.check(key).map_err(|error| not_right(&name(path), &error))?;
        statement.follows(&earlier).map_err(|error| not_right(&name(&args.file), &error))?;
        since = Some(earlier.signed);
    }
    if let Some(path) = &args.head {
        let ledger: SignedLedgerHead = read_json(path, "a head of the ledger", "head")?;
        let found = statement.agrees_with(&ledger);
        let found = found.map_err(|error| not_right(&name(path), &error))?;
        if !found && context.out.mode() == Mode::Text {
            let why =
                "the account has no line at the place of that head, so there is nothing to compare";
            context.out.note(why);
        }
    }
    context.out.show(&Verified { head: statement.signed, since, known: complex.is_some() })?;
    if complex.is_none() && context.out.mode() == Mode::Text {
        context.out.note("whose key this is, only you can tell: give the right one by --complex");
    }
    Ok(End::Ok)
}

fn read(path: &Path) -> anyhow::Result<SignedStatement> {
    read_json(path, "a whole statement", "export")
}

/// What `isos account COMMAND` wrote.
fn read_json<T: serde::de::DeserializeOwned>(
    path: &Path,
    what: &str,
    command: &str,
) -> anyhow::Result<T> {
    let open = || format!("cannot read {}", path.display());
    let mut text = String::new();
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Refusal::not_found(format!("there is no {}", path.display())).into());
        }
        file => file.with_context(open)?,
    };
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).with_context(open)?;
    serde_json::from_str(&text).map_err(|error| {
        let path = path.display();
        let why = format!("{path} is not {what}: {error}; `isos account {command}` writes one");
        Refusal::usage(why).into()
    })
}

/// Brings home where the ledger stood. What was written has been checked.
pub(super) async fn head(args: &HeadArgs, context: &Context) -> anyhow::Result<End> {
    let client = context.client()?;
    let mut head = client.ledger_head(None).await?;
    if args.days_ago > 0 {
        let day = Span::secs(86_400).0;
        let before = head.before.0.saturating_sub(day.saturating_mul(args.days_ago.into()));
        head = client.ledger_head(Some(Time(before))).await?;
    }
    head.check().map_err(|error| not_right("the head", &error))?;
    let bytes = serde_json::to_vec_pretty(&head)?;
    let Some(path) = &args.output else {
        if context.out.mode() == Mode::Json {
            context.out.show(&LedgerHead { file: None, head })?;
            return Ok(End::Ok);
        }
        context.out.bytes(&bytes)?;
        context.out.bytes(b"\n")?;
        return Ok(End::Ok);
    };
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(&bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    context.out.show(&LedgerHead { file: Some(path.clone()), head })?;
    Ok(End::Ok)
}

fn not_right(what: &str, error: &isos_base::statement::StatementError) -> anyhow::Error {
    Refusal::verification(format!("{what}: {error}")).into()
}

/// A spreadsheet's lines. Money is in micro-credits.
fn csv(lines: &[StatementLine]) -> String {
    let mut text = String::from(
        "seq,at,kind,about,other,amount,held,balance,bill,job,tasks,fuel,price,reason,hash\n",
    );
    for line in lines {
        let work = |of: &dyn Fn(&isos_base::api::BilledWork) -> String| {
            line.work.as_ref().map(of).unwrap_or_default()
        };
        let cells = [
            line.seq.to_string(),
            line.at.to_rfc3339(),
            line.kind.clone(),
            line.about.clone().unwrap_or_default(),
            line.other.to_string(),
            line.amount.0.to_string(),
            line.held.0.to_string(),
            line.balance.0.to_string(),
            work(&|work| work.bill.to_string()),
            work(&|work| work.job.to_string()),
            work(&|work| work.tasks.to_string()),
            work(&|work| work.fuel.0.to_string()),
            work(&|work| work.price.0.to_string()),
            line.reason.clone(),
            line.hash.to_string(),
        ];
        text.push_str(&cells.map(|cell| quoted(&cell)).join(","));
        text.push('\n');
    }
    text
}

/// A cell as RFC 4180 has it. Others choose some of the words: what a spreadsheet would take for a
/// formula gets an apostrophe in front.
fn quoted(cell: &str) -> String {
    let is_number = cell.parse::<i64>().is_ok();
    let formula = !is_number && cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formula_gets_through() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("-250"), "-250");
        assert_eq!(quoted("a, \"b\""), "\"a, \"\"b\"\"\"");
        assert_eq!(quoted("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(quoted("-1+1"), "'-1+1");
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        let november: Month = "2026-11".parse().unwrap();
        assert!(november.has(Time(1_795_000_000_000_000)));
        assert!(!november.has(Time(0)));
        for bad in ["2026", "2026-13", "2026-00", "26-11", "2026-1", "november"] {
            assert!(bad.parse::<Month>().is_err(), "{bad}");
        }
    }
}
