//! `isos man`: from the same definitions as everything else.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::completions::Generated;
use crate::cli;
use crate::context::Context;
use crate::exit::End;
use crate::output::{Page, Report};

/// Where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write a page for each command into this folder, instead of printing the first one
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// Pages that were written.
#[derive(Debug)]
struct Written {
    pages: Vec<PathBuf>,
}

impl Report for Written {
    fn kind(&self) -> &'static str {
        "files"
    }

    fn text(&self, page: &mut Page) {
        for path in &self.pages {
            page.line(path.display().to_string());
        }
    }

    fn json(&self) -> Value {
        json!(self.pages)
    }

    fn quiet(&self, page: &mut Page) {
        self.text(page);
    }
}

/// Prints or writes.
pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let Some(folder) = args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(cli::command()).render(&mut page)?;
        let text = String::from_utf8(page)?;
        context.out.show(&Generated { kind: "man", text })?;
        return Ok(End::Ok);
    };
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let mut pages = Vec::new();
    let mut command = cli::command();
    command.build();
    write(&folder, &command, &mut pages)?;
    context.out.show(&Written { pages })?;
    Ok(End::Ok)
}

fn write(
    folder: &std::path::Path,
    command: &clap::Command,
    pages: &mut Vec<PathBuf>,
) -> anyhow::Result<()> {
    let man = clap_mangen::Man::new(command.clone());
    let path = folder.join(man.get_filename());
    let mut text = Vec::new();
    man.render(&mut text)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    pages.push(path);
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        write(folder, inner, pages)?;
    }
    Ok(())
}
