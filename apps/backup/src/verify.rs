//! Reading all of a snapshot, without writing it anywhere.

use std::ops::ControlFlow;

use isos_store::key::StorageSecret;

use crate::chunks::Chunks;
use crate::entry::{Kind, Span};
use crate::error::BackupError;
use crate::progress::{Done, Observer, Problem, Problems, Stats, Trouble};
use crate::restore::causes;
use crate::snapshot::Snapshot;
use crate::transfer::{Segments, Source};
use crate::tree::Visit;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Counts: files and bytes by the tree, `read` what was fetched and hashed.
    pub stats: Stats,
    /// Chunks that were read.
    pub chunks: u64,
    /// Chunks that are not what their names say, or cannot be had.
    pub damaged: u64,
    /// Files that are not whole, and chunks by the numbers of their segments.
    pub problems: Problems,
}

/// Reads every chunk of a snapshot and compares it with its name, and looks whether each file of
/// its tree is whole. With the owner's secret, names are computed anew from the bytes; without, a
/// chunk is right if it opens.
///
/// # Errors
/// [`BackupError`], if the snapshot's tree or manifests cannot be read.
pub fn verify(
    snapshot: &mut Snapshot,
    owner: Option<&StorageSecret>,
    source: &mut dyn Source,
    observer: &mut dyn Observer,
) -> Result<Verified, BackupError> {
    let mut segments = Segments::new(source);
    let mut chunks = Chunks::open(snapshot.head(), &mut segments)?;
    let mut verified = Verified::default();
    let mut bad = std::collections::BTreeSet::new();
    chunks.each(&mut segments, &mut |place, opened| {
        verified.chunks += 1;
        let id = place.secret.id();
        let why = match opened {
            Ok(plain) => {
                verified.stats.read += plain.len() as u64;
                let is_it = owner.is_none_or(|owner| owner.chunk(plain).id() == id);
                (!is_it).then(|| "its bytes are not those that its name is of".to_owned())
            }
            Err(why) => Some(causes(&why)),
        };
        if let Some(why) = why {
            verified.damaged += 1;
            bad.insert(id);
            let problem = Problem::new(b"", Trouble::Damaged, format!("{place:?}: {why}"));
            verified.problems.add(problem, observer);
        }
        told(&verified.stats, b"", observer)
    })?;
    let mut cursor = snapshot.walk();
    while let Some(visit) = cursor.next(snapshot, &mut segments)? {
        let Visit::Entry(visited) = visit else { continue };
        let stats = &mut verified.stats;
        let Kind::File { size, spans } = &visited.entry.kind else {
            let is_folder = visited.entry.is_folder();
            *(if is_folder { &mut stats.folders } else { &mut stats.others }) += 1;
            continue;
        };
        stats.files += 1;
        stats.bytes += size;
        let holes = spans.iter().map(|span| match span {
            Span::Hole(length) => *length,
            Span::Data(_) => 0,
        });
        let length = |id| chunks.length(&id).filter(|_| !bad.contains(&id)).map(u64::from);
        let data = visited.entry.chunks().try_fold(0_u64, |sum, id| Some(sum + length(id)?));
        if data.and_then(|data| data.checked_add(holes.sum())) != Some(*size) {
            stats.lost += 1;
            let problem = Problem::new(&visited.path, Trouble::Damaged, "parts of it are missing");
            verified.problems.add(problem, observer);
        }
        told(&verified.stats, &visited.path, observer)?;
    }
    Ok(verified)
}

fn told(stats: &Stats, path: &[u8], observer: &mut dyn Observer) -> Result<(), BackupError> {
    match observer.progress(&Done { stats, path }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(BackupError::Stopped),
    }
}
