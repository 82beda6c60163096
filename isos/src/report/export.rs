//! Statements that were brought home, and what a check of one found.

use std::path::PathBuf;

use isos_base::statement::{SignedHead, SignedLedgerHead};
use serde_json::{Value, json};

use crate::output::{Page, Report, Tone, credits, plural, stamp_deep};

/// A statement was written.
#[derive(Debug)]
pub(crate) struct Exported {
    /// Where.
    pub(crate) file: PathBuf,
    /// Its lines.
    pub(crate) lines: usize,
    /// What the complex signed.
    pub(crate) head: SignedHead,
}

impl Report for Exported {
    fn kind(&self) -> &'static str {
        "export"
    }

    fn text(&self, page: &mut Page) {
        let lines = plural(self.lines as u64, "line");
        page.line(format!("{lines} in {}", self.file.display()));
        page.field("account", self.head.head.account.to_string());
        page.field("balance", credits(self.head.head.balance));
    }

    fn json(&self) -> Value {
        let value = json!({ "file": self.file, "lines": self.lines, "signed": self.head });
        stamp_deep(value, &["at"])
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.file.display().to_string());
    }
}

/// A head of the whole ledger was written.
#[derive(Debug)]
pub(crate) struct LedgerHead {
    /// Where, if it is more than an answer.
    pub(crate) file: Option<PathBuf>,
    /// What the complex signed.
    pub(crate) head: SignedLedgerHead,
}

impl Report for LedgerHead {
    fn kind(&self) -> &'static str {
        "ledger_head"
    }

    fn text(&self, page: &mut Page) {
        let place = self.file.as_ref().map(|file| format!(" in {}", file.display()));
        page.line(format!("the ledger at transfer {}{}", self.head.seq, place.unwrap_or_default()));
        page.field("before", self.head.before.to_string());
        page.field("hash", self.head.hash.to_string());
    }

    fn json(&self) -> Value {
        stamp_deep(json!({ "file": self.file, "signed": self.head }), &["before"])
    }

    fn quiet(&self, page: &mut Page) {
        page.line(match &self.file {
            Some(file) => file.display().to_string(),
            None => self.head.seq.to_string(),
        });
    }
}

/// A statement is right.
#[derive(Debug)]
pub(crate) struct Verified {
    /// What the complex signed.
    pub(crate) head: SignedHead,
    /// The earlier one that it continues.
    pub(crate) since: Option<SignedHead>,
    /// Whether the signing key is one that was expected.
    pub(crate) known: bool,
}

impl Report for Verified {
    fn kind(&self) -> &'static str {
        "verification"
    }

    fn text(&self, page: &mut Page) {
        let head = &self.head.head;
        page.toned(Tone::Good, "the sums, the bills, the chain and the signature are right");
        page.field("account", head.account.to_string());
        page.field(
            "not covered",
            "the words beside the figures: `reason` and `about` of each line",
        );
        page.field("lines", head.lines.to_string());
        page.field("balance", format!("{}, of it held {}", credits(head.balance), head.held));
        page.field("signed", self.head.at.to_string());
        let whose = if self.known { "as expected" } else { "not compared with any" };
        page.field("by complex", format!("{} ({whose})", self.head.complex));
        if let Some(since) = &self.since {
            let before = format!("the {} lines of {}", since.head.lines, since.at);
            page.field("continues", before);
        }
    }

    fn json(&self) -> Value {
        let value = json!({
            "ok": true,
            "not_covered": ["reason", "about"],
            "signed": self.head,
            "since": self.since,
            "key_expected": self.known,
        });
        stamp_deep(value, &["at"])
    }

    fn quiet(&self, page: &mut Page) {
        page.line("ok");
    }
}
