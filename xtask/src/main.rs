//! `cargo xtask`: what the repository does with itself. Not a part of the product.
//!
//! After the `xtask` of rust-analyzer: automation is ordinary Rust that is tested, and needs
//! nothing on the machine but cargo and git.

mod bench;
mod guests;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// The automation of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check what no compiler checks: layers, licences, sizes, words, links.
    Tidy {
        /// Leave out what asks cargo for the graph of dependencies (layers beyond the manifests,
        /// licences): for a quick look while editing.
        #[arg(long)]
        no_graph: bool,
    },
    /// Build the example programs under guest/ to WebAssembly and write them to guest/modules/.
    Guests {
        /// Compare with what is committed instead of writing.
        #[arg(long)]
        check: bool,
    },
    /// Measure the real program and print figures beside the bars of the design. Slow figures fail
    /// nothing.
    Bench(bench::Arguments),
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().task {
        Task::Tidy { no_graph } => tidy::run(&root()?, !no_graph),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Guests { check } => guests::run(check).map(|()| ExitCode::SUCCESS),
    }
}

/// The folder of the repository.
fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(Path::to_owned).context("xtask is a folder of the repository")
}
