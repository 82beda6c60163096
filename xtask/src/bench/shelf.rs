//! What packs of fragments cost a host: the disk driver alone, with the disk that is there.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::figure::{Bar, Figure};
use super::process::Process;
use super::programs::Programs;
use super::world::Folder;

const PATIENCE: Duration = Duration::from_secs(900);

pub(super) fn run(programs: &Programs, fragments: u32, figures: &mut Vec<Figure>) -> Result<()> {
    let folder = Folder::new()?;
    let mut command = Command::new(programs.example("packs")?);
    command.arg(folder.path.join("packs")).arg(fragments.to_string());
    let text = Process::start("packs", &mut command)?.finish(PATIENCE)?;
    let found: Value = serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))?;
    let of = |name: &str| found[name].as_f64().with_context(|| format!("no {name} in {text}"));
    let many = |what: &str| format!("{fragments} fragments: {what}");
    figures.extend([
        Figure::new("256 KiB, one at a time, synced: puts", of("put_alone_per_s")?, "/s")
            .bar(Bar::AtLeast(50.0)),
        Figure::new("256 KiB, by 16 at once, synced: put", of("put_mb_per_s")?, "MB/s"),
        Figure::new("256 KiB, by 2 at once, checked: get", of("get_mb_per_s")?, "MB/s"),
        Figure::new("one group of 16 KiB, proven", of("group_us")?, "us"),
        Figure::new("64 B in batches of 256, synced: puts", of("small_put_per_s")?, "/s")
            .bar(Bar::AtLeast(2_000.0)),
        Figure::new("64 B: the slowest batch", of("small_slowest_batch_ms")?, "ms"),
        Figure::new("64 B: gets", of("small_get_per_s")?, "/s"),
        Figure::new(many("disk beside their bytes, each"), of("disk_bytes_each")?, "B"),
        Figure::new(many("memory of the process after writing"), of("memory_mib")?, "MiB")
            .bar(Bar::AtMost(60.0)),
        Figure::new(many("memory after opening"), of("memory_opened_mib")?, "MiB"),
        Figure::new(many("opening, every page of the index checked"), of("open_ms")?, "ms"),
        Figure::new("opening after a crash", of("recovery_ms")?, "ms"),
        Figure::new("read again then", of("recovery_mb")?, "MB"),
    ]);
    Ok(())
}
