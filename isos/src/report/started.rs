//! That something runs now: the first line of `server`, `join` and `dev`, and what `tour` found.

use serde::Serialize;
use serde_json::{Value, json};

use crate::output::{Page, Report};

/// Something that runs, or has run. People are told on standard error, in words of its own.
#[derive(Debug)]
pub(crate) struct Started<T> {
    /// What it is, for programs.
    pub(crate) kind: &'static str,
    /// Everything about it.
    pub(crate) data: T,
    /// The one thing that a script needs of it.
    pub(crate) quiet: String,
}

impl<T: Serialize> Report for Started<T> {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn text(&self, _: &mut Page) {}

    fn json(&self) -> Value {
        json!(self.data)
    }

    fn quiet(&self, page: &mut Page) {
        page.line(&self.quiet);
    }
}

/// The `data` of a first line in JSON.
pub(crate) fn data_of<T: serde::de::DeserializeOwned>(line: &str) -> serde_json::Result<T> {
    #[derive(serde::Deserialize)]
    struct Document<T> {
        data: T,
    }
    serde_json::from_str::<Document<T>>(line).map(|document| document.data)
}
