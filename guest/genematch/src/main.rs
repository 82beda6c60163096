//! Searches a library of proteins for relatives of each query, by Smith-Waterman alignment.
//!
//! ```text
//! genematch --library /in/library.fasta --queries /in/queries.fasta \
//!           [--task I --tasks N] [--top 5] [--out /out/hits.tsv]
//! ```
//! Each task takes its share of the queries and prints one line a hit, best first, columns parted
//! by tabs: query, hit, score, start and end in the query, start and end in the hit (from 1,
//! inclusive), per cent identity, what the hit is. Lines of all tasks, in order, are the answer
//! that one task would give.
//!
//! Everything is integers, so the answer is the same to the byte on every host. Scores of the
//! whole library come from `search`, sixteen proteins at a time; only the few best are aligned in
//! full by `align`. There is no heuristic: no hit is missed, unlike BLAST or FASTA.

mod align;
mod fasta;
mod report;
mod score;
mod search;

use std::io::Write;
use std::process::ExitCode;

use isos_guest::{Failure, Task};

/// What the command line asks for.
struct Options {
    library: String,
    queries: String,
    task: Task,
    top: usize,
    out: Option<String>,
}

fn main() -> ExitCode {
    isos_guest::finish(run())
}

fn run() -> Result<(), Failure> {
    let options = options()?;
    let library = fasta::read(&options.library)?;
    let queries = fasta::read(&options.queries)?;
    let packed = search::Packed::new(&library);

    let mut lines = String::new();
    for query in &queries[options.task.share(queries.len())] {
        for (index, score) in packed.best(&query.residues, options.top) {
            let hit = &library[index];
            let alignment = align::align(&query.residues, &hit.residues);
            assert_eq!(alignment.score, score, "both ways to score must agree");
            report::write_line(&mut lines, query, hit, &alignment);
        }
    }
    if let Some(path) = &options.out {
        isos_guest::write(path, lines.as_bytes())?;
    }
    std::io::stdout()
        .write_all(lines.as_bytes())
        .map_err(|error| Failure::because("write the hits", error))
}

fn options() -> Result<Options, Failure> {
    let mut arguments = pico_args::Arguments::from_env();
    let mut read = || -> Result<_, pico_args::Error> {
        let library = arguments.opt_value_from_str("--library")?;
        let queries = arguments.opt_value_from_str("--queries")?;
        let task = arguments.opt_value_from_str("--task")?;
        let tasks = arguments.opt_value_from_str("--tasks")?;
        let top = arguments.opt_value_from_str("--top")?;
        let out = arguments.opt_value_from_str("--out")?;
        Ok((library, queries, task, tasks, top, out))
    };
    let (library, queries, task, tasks, top, out) =
        read().map_err(|error| Failure::because("read the arguments", error))?;
    if let Some(unknown) = arguments.finish().first() {
        return Err(Failure::new(format!("unknown argument {}", unknown.to_string_lossy())));
    }
    Ok(Options {
        library: library.unwrap_or_else(|| format!("{}/library.fasta", isos_guest::IN)),
        queries: queries.unwrap_or_else(|| format!("{}/queries.fasta", isos_guest::IN)),
        task: Task::or_env(task, tasks)?,
        top: top.unwrap_or(5),
        out,
    })
}
