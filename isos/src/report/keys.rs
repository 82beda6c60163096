//! Keys of an account, and its recovery.

use isos_base::api::{KeyringView, RecoveryReply};
use isos_base::key::PublicKey;
use isos_base::keyring::KeyKind;
use isos_base::{Time, right::Right};
use serde_json::{Value, json};

use crate::output::{Page, Report, Table, Tone, ago, clean, stamp_deep};

/// The keys of an account.
#[derive(Debug)]
pub(crate) struct KeyList {
    /// The keys, and a recovery that waits.
    pub(crate) keyring: KeyringView,
    /// This machine's key.
    pub(crate) here: Option<PublicKey>,
}

fn words(rights: &[Right]) -> String {
    rights.iter().map(|right| right.name()).collect::<Vec<_>>().join(", ")
}

impl Report for KeyList {
    fn kind(&self) -> &'static str {
        "keys"
    }

    fn text(&self, page: &mut Page) {
        if let Some(asked) = &self.keyring.asked {
            let (now, due) = (page.now(), asked.due);
            page.toned(
                Tone::Bad,
                format!("somebody with the recovery phrase gets this account {}", ago(now, due)),
            );
            page.field("for the key", format!("{} ({})", asked.key, clean(&asked.label)));
            page.field("to stop it", "isos account recovery stop");
        }
        if self.keyring.keys.is_empty() {
            page.line("no keys: `isos account key add LABEL` adds this machine's");
            return;
        }
        let mut table = Table::new(&["LABEL", "KEY", "FOR", "ADDED"]);
        for key in &self.keyring.keys {
            let here = if self.here == Some(key.key) { " (this machine)" } else { "" };
            let what = match key.kind {
                KeyKind::Person => words(&key.rights),
                KeyKind::Recovery => "recovery".into(),
            };
            let label = format!("{}{here}", clean(&key.label));
            let added = ago(page.now(), key.added);
            table.row(Tone::Plain, vec![label, key.key.to_string(), what, added]);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        let value = json!({ "keyring": self.keyring, "here": self.here });
        stamp_deep(value, &["added", "at", "due"])
    }

    fn quiet(&self, page: &mut Page) {
        for key in &self.keyring.keys {
            page.line(key.key.to_string());
        }
    }
}

/// A key was removed.
#[derive(Debug)]
pub(crate) struct KeyRemoved(pub(crate) PublicKey);

impl Report for KeyRemoved {
    fn kind(&self) -> &'static str {
        "key_removed"
    }

    fn text(&self, page: &mut Page) {
        page.line(format!("{} is good no more, nor what was made with it", self.0));
    }

    fn json(&self) -> Value {
        json!({ "key": self.0 })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.0.to_string());
    }
}

/// A recovery phrase, shown once.
#[derive(Debug)]
pub(crate) struct Phrase {
    /// The words.
    pub(crate) phrase: String,
    /// The key that they stand for.
    pub(crate) key: PublicKey,
}

impl Report for Phrase {
    fn kind(&self) -> &'static str {
        "recovery_phrase"
    }

    fn text(&self, page: &mut Page) {
        page.line(&self.phrase);
        page.toned(
            Tone::Dim,
            "Write it on paper: it is not shown again, and whoever has it can ask for the account.",
        );
        page.toned(Tone::Dim, "`isos account recover` with it, on a new machine, gets it back.");
    }

    fn json(&self) -> Value {
        json!({ "phrase": self.phrase, "key": self.key })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(&self.phrase);
    }
}

/// An account will be this machine's.
#[derive(Debug)]
pub(crate) struct Recovering {
    /// Which, and when.
    pub(crate) reply: RecoveryReply,
    /// This machine's key.
    pub(crate) key: PublicKey,
    /// When it was asked for.
    pub(crate) now: Time,
}

impl Report for Recovering {
    fn kind(&self) -> &'static str {
        "recovery"
    }

    fn text(&self, page: &mut Page) {
        let account = self.reply.account;
        if self.reply.due <= self.now {
            page.toned(Tone::Good, format!("account {account} is yours: this key is its only one"));
        } else {
            let when = ago(self.now, self.reply.due);
            page.line(format!("account {account} will be this machine's {when}"));
            page.field("until then", "whoever has a key of it is told, and can stop it");
        }
        page.field("key", self.key.to_string());
    }

    fn json(&self) -> Value {
        let RecoveryReply { account, due } = self.reply;
        let done = due <= self.now;
        let value = json!({ "account": account, "due": due, "done": done, "key": self.key });
        stamp_deep(value, &["due"])
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.key.to_string());
    }
}

/// A recovery was stopped.
#[derive(Debug)]
pub(crate) struct RecoveryStopped;

impl Report for RecoveryStopped {
    fn kind(&self) -> &'static str {
        "recovery_stopped"
    }

    fn text(&self, page: &mut Page) {
        page.line("the recovery is stopped: make another phrase, somebody has this one");
    }

    fn json(&self) -> Value {
        json!({ "stopped": true })
    }

    fn quiet(&self, _: &mut Page) {}
}
