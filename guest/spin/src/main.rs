//! Next to nothing: prints the number of its task and ends.
//!
//! The program of the dispatch benchmarks: whatever time a job of these takes is spent by ISOS.
//! It leaves even `isos-guest` and formatting out, to be as small as a Rust program gets.

use std::io::Write;

fn main() -> std::io::Result<()> {
    let task = std::env::var_os("ISOS_TASK").unwrap_or_else(|| "0".into());
    let mut line = task.into_encoded_bytes();
    line.push(b'\n');
    std::io::stdout().write_all(&line)
}
