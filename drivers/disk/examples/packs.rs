//! How fast packs of fragments are, and what they hold: `cargo run --release -p isos-disk --example
//! packs -- FOLDER [FRAGMENTS]`. One JSON object on stdout, for `cargo xtask bench shelf`; the
//! folder must not be there, and goes afterwards. Linux only: memory comes from `/proc`.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use isos_base::fragment::StorageClass;
use isos_base::random::Random;
use isos_base::{AccountId, Bytes, Guid, LeaseId, Time};
use isos_disk::packs::{Lease, PackSettings, Packs, Put};
use isos_disk::{ShelfLimits, space};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The usual fragment.
const LARGE_BYTES: usize = 256 << 10;
/// All of them together.
const LARGE_TOTAL: usize = 512 << 20;
/// A small one, for many.
const SMALL_BYTES: usize = 64;
const BATCH: usize = 256;
const NOW: Time = Time(1);

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: packs FOLDER [FRAGMENTS]")?;
    let count: usize = arguments.next().map_or(Ok(1_000_000), |count| count.parse())?;
    let folder = Path::new(&folder);
    fs::create_dir(folder)?;
    let figures = measure(folder, count);
    fs::remove_dir_all(folder)?;
    let figures: Vec<String> =
        figures?.iter().map(|(name, value)| format!("\"{name}\": {value:.3}")).collect();
    writeln!(io::stdout(), "{{{}}}", figures.join(", "))?;
    Ok(())
}

fn measure(folder: &Path, count: usize) -> Outcome<Vec<(&'static str, f64)>> {
    let mut figures = Vec::new();
    let (packs, _) = open(&folder.join("large"))?;
    let large: Vec<Put> =
        (0..(LARGE_TOTAL / LARGE_BYTES) as u64).map(|seed| fragment(seed, LARGE_BYTES)).collect();
    let (alone, crowd) = large.split_at(large.len() / 2);
    let took = put(&packs, alone, 1, 1)?;
    figures.push(("put_alone_per_s", alone.len() as f64 / took));
    let took = put(&packs, crowd, 16, 1)?;
    figures.push(("put_mb_per_s", megabytes(crowd) / took));
    let took = get(&packs, &large, 2)?;
    figures.push(("get_mb_per_s", megabytes(&large) / took));
    let start = Instant::now();
    for put in &large {
        packs.read(&put.id, 7, 1)?;
    }
    figures.push(("group_us", start.elapsed().as_secs_f64() * 1e6 / large.len() as f64));
    drop((packs, large));

    let before = memory_mib()?;
    let path = folder.join("small");
    let (packs, _) = open(&path)?;
    let (start, mut slowest) = (Instant::now(), Duration::ZERO);
    for from in (0..count).step_by(BATCH) {
        let puts =
            (from..count.min(from + BATCH)).map(|n| fragment(1 << 40 | n as u64, SMALL_BYTES));
        let (puts, start) = (puts.collect(), Instant::now());
        for answer in packs.put(NOW, puts) {
            answer?;
        }
        slowest = slowest.max(start.elapsed());
    }
    figures.push(("small_put_per_s", count as f64 / start.elapsed().as_secs_f64()));
    figures.push(("small_slowest_batch_ms", slowest.as_secs_f64() * 1e3));
    figures.push(("memory_before_mib", before));
    figures.push(("memory_mib", memory_mib()?));
    let used = packs.used();
    figures.push(("disk_bytes_each", (used.disk.0 - used.live.0) as f64 / count.max(1) as f64));
    let start = Instant::now();
    let some = count.min(20_000);
    for n in 0..some {
        packs.get(&fragment(1 << 40 | (n * (count / some)) as u64, SMALL_BYTES).id)?;
    }
    figures.push(("small_get_per_s", some as f64 / start.elapsed().as_secs_f64()));
    packs.save()?;
    drop(packs);

    let start = Instant::now();
    let (packs, opened) = open(&path)?;
    figures.push(("open_ms", start.elapsed().as_secs_f64() * 1e3));
    if opened.replayed != 0 || packs.used().count != count as u64 {
        return Err(format!("{opened:?} after a save").into());
    }
    figures.push(("memory_opened_mib", memory_mib()?));

    // As much as may be waiting for the index when a crash comes.
    let waiting = 8_191.min(240_000_000 / LARGE_BYTES);
    let puts: Vec<Put> = (0..waiting as u64).map(|n| fragment(1 << 50 | n, LARGE_BYTES)).collect();
    put(&packs, &puts, 1, 16)?;
    std::mem::forget(packs);
    let start = Instant::now();
    let (_, opened) = open(&path)?;
    figures.push(("recovery_ms", start.elapsed().as_secs_f64() * 1e3));
    figures.push(("recovery_mb", opened.replayed_bytes.0 as f64 / 1e6));
    Ok(figures)
}

fn open(path: &Path) -> Outcome<(Packs, isos_disk::packs::Opened)> {
    let free = space(path.parent().unwrap_or(path))?.free;
    let limits = ShelfLimits { quota: free, free_floor: Bytes::ZERO };
    let (packs, opened) = Packs::open(path, PackSettings::new(limits))?;
    let lease = Lease {
        id: LeaseId(1),
        account: AccountId(100),
        class: StorageClass::Standard,
        bytes: Bytes::gib(1_024),
        issued: Time(1),
        until: Time(1 << 50),
    };
    packs.grant(&[lease])?;
    Ok((packs, opened))
}

fn fragment(seed: u64, bytes: usize) -> Put {
    let mut random = Random::new(seed);
    let bytes: Vec<u8> = (0..bytes / 8).flat_map(|_| random.next_u64().to_le_bytes()).collect();
    Put { lease: LeaseId(1), id: Guid::of(&bytes), bytes }
}

fn megabytes(puts: &[Put]) -> f64 {
    puts.iter().map(|put| put.bytes.len()).sum::<usize>() as f64 / 1e6
}

/// Seconds that so many threads take, `batch` fragments a call.
fn put(packs: &Packs, puts: &[Put], threads: usize, batch: usize) -> Outcome<f64> {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let parts = puts.chunks(puts.len().div_ceil(threads).max(1));
        let threads: Vec<_> = parts
            .map(|part| {
                scope.spawn(move || {
                    part.chunks(batch).try_for_each(|some| {
                        packs.put(NOW, some.to_vec()).into_iter().try_for_each(|one| one.map(drop))
                    })
                })
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Outcome::Ok(())
    })?;
    Ok(start.elapsed().as_secs_f64())
}

fn get(packs: &Packs, puts: &[Put], threads: usize) -> Outcome<f64> {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let parts = puts.chunks(puts.len().div_ceil(threads).max(1));
        let get = |part: &[Put]| part.iter().try_for_each(|put| packs.get(&put.id).map(drop));
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || get(part))).collect();
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Outcome::Ok(())
    })?;
    Ok(start.elapsed().as_secs_f64())
}

/// What this process holds.
fn memory_mib() -> Outcome<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmRSS")?;
    Ok(kib.trim().parse::<f64>()? / 1024.0)
}
