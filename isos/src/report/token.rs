//! Tokens and keys.

use isos_base::capability::{Block, Holder, Right, TokenError};
use isos_base::key::PublicKey;
use serde_json::{Value, json};

use crate::output::{Page, Report, Tone, ago, clean, stamp_deep};

/// A token that was made.
#[derive(Debug)]
pub(crate) struct NewToken {
    /// The token, or the ticket with it.
    pub(crate) text: String,
}

impl Report for NewToken {
    fn kind(&self) -> &'static str {
        "token"
    }

    fn text(&self, page: &mut Page) {
        page.line(&self.text);
    }

    fn json(&self) -> Value {
        json!({ "token": self.text })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(&self.text);
    }
}

/// What a token says.
#[derive(Debug)]
pub(crate) struct TokenReport {
    /// The complex that it was checked against, if one is known.
    pub(crate) complex: Option<PublicKey>,
    /// What it allows there now.
    pub(crate) holder: Option<Result<Holder, TokenError>>,
    /// What it is made of.
    pub(crate) blocks: Vec<Block>,
}

fn words(rights: &[Right]) -> String {
    rights.iter().map(|right| right.name()).collect::<Vec<_>>().join(", ")
}

fn hex(id: &[u8]) -> String {
    // A prefix tells blocks apart; the whole is in the JSON.
    id.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn maker(index: usize, block: &Block) -> String {
    match (&block.by, index) {
        (Some(key), _) => format!("key {key}"),
        (None, 0) => "the complex".into(),
        (None, _) => "a holder".into(),
    }
}

impl Report for TokenReport {
    fn kind(&self) -> &'static str {
        "token_inspection"
    }

    fn text(&self, page: &mut Page) {
        match &self.holder {
            None => page.toned(
                Tone::Warn,
                "not checked: no ticket here says of which complex it is (give one by --server)",
            ),
            Some(Err(error)) => page.toned(Tone::Bad, error.to_string()),
            Some(Ok(holder)) => {
                page.toned(Tone::Good, format!("allows now: {}", words(&holder.rights)));
                page.field("account", holder.account.to_string());
                page.field("at most until", ago(page.now(), holder.expires));
            }
        }
        if let Some(complex) = self.complex {
            page.field("complex", complex.to_string());
        }
        for (index, block) in self.blocks.iter().enumerate() {
            let id = page.paint(Tone::Dim, &format!("(id {}...)", hex(&block.id)));
            page.line(format!("block {index} by {} {id}", maker(index, block)));
            for line in &block.says {
                page.line(format!("    {}", clean(line)));
            }
        }
    }

    fn json(&self) -> Value {
        let blocks = self.blocks.iter().enumerate().map(|(index, block)| {
            let id: String = block.id.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "id": id, "by": maker(index, block), "says": block.says })
        });
        let (account, rights, expires, problem) = match &self.holder {
            Some(Ok(it)) => (Some(it.account), Some(&it.rights), Some(it.expires), None),
            Some(Err(error)) => (None, None, None, Some(error.to_string())),
            None => (None, None, None, None),
        };
        let value = json!({
            "checked": self.holder.is_some(),
            "complex": self.complex,
            "account": account,
            "rights": rights,
            "expires": expires,
            "problem": problem,
            "blocks": blocks.collect::<Vec<_>>(),
        });
        stamp_deep(value, &["expires"])
    }

    fn quiet(&self, page: &mut Page) {
        if let Some(Ok(holder)) = &self.holder {
            page.line(words(&holder.rights));
        }
    }
}

/// A key's public half.
#[derive(Debug)]
pub(crate) struct KeyReport(pub(crate) PublicKey);

impl Report for KeyReport {
    fn kind(&self) -> &'static str {
        "key"
    }

    fn text(&self, page: &mut Page) {
        page.line(self.0.to_string());
    }

    fn json(&self) -> Value {
        json!({ "key": self.0 })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.0.to_string());
    }
}
