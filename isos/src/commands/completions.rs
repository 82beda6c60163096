//! `isos completions`: from the same definitions as everything else.

use clap_complete::Shell;
use serde_json::{Value, json};

use crate::cli;
use crate::context::Context;
use crate::exit::End;
use crate::output::{Page, Report};

/// For which shell.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// A script or page of text, the same in every form but JSON.
#[derive(Debug)]
pub(crate) struct Generated {
    /// What it is.
    pub(crate) kind: &'static str,
    /// The text.
    pub(crate) text: String,
}

impl Report for Generated {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn text(&self, page: &mut Page) {
        for line in self.text.lines() {
            page.line(line);
        }
    }

    fn json(&self) -> Value {
        json!({ "text": self.text })
    }

    fn quiet(&self, page: &mut Page) {
        self.text(page);
    }
}

/// Prints the script.
pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::command(), "isos", &mut script);
    let text = String::from_utf8(script)?;
    context.out.show(&Generated { kind: "completions", text })?;
    Ok(End::Ok)
}
