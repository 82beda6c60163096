//! Contents of files, as they are stored: chunks in objects of about a GiB.
//!
//! An object ends behind a chunk whose name says so, as a chunk ends where its bytes say so. When
//! the same chunks come in the same order again, the same objects come of them, down to their
//! names; where something changed, objects soon end at the same chunks again.

use std::collections::BTreeSet;

use isos_base::Guid;
use isos_store::code::Coded;
use isos_store::earlier::Earlier;
use isos_store::key::{ChunkId, StorageSecret};
use isos_store::object::{Settings, WriteError, Writer};
use isos_store::pack::PackError;

use crate::error::BackupError;
use crate::limits::{CHUNK_WEIGHT, OBJECT_BYTES, OBJECTS_MAX};
use crate::progress::Stats;
use crate::snapshot::Part;
use crate::transfer::Sink;

/// Stores chunks of contents.
pub(crate) struct Contents<'a> {
    secret: &'a StorageSecret,
    settings: Settings,
    sink: &'a mut dyn Sink,
    /// How large objects are, on average.
    object_bytes: u64,
    writer: Writer,
    weight: u64,
    parts: Vec<Part>,
    /// Objects that are stored already.
    stored: BTreeSet<Guid>,
    ready: Vec<Coded>,
}

impl<'a> Contents<'a> {
    /// Builds upon what is stored.
    pub(crate) fn new(
        secret: &'a StorageSecret,
        settings: Settings,
        object_bytes: Option<u64>,
        (earlier, stored): (Earlier, BTreeSet<Guid>),
        sink: &'a mut dyn Sink,
    ) -> Result<Self, BackupError> {
        let writer = Writer::new(secret.clone(), settings)?.upon(earlier);
        let object_bytes = object_bytes.unwrap_or(OBJECT_BYTES).max(CHUNK_WEIGHT);
        let (parts, ready) = (Vec::new(), Vec::new());
        Ok(Self { secret, settings, sink, object_bytes, writer, weight: 0, parts, stored, ready })
    }

    /// Stores a chunk; says its name.
    pub(crate) fn push(
        &mut self,
        plain: &[u8],
        stats: &mut Stats,
    ) -> Result<[u8; 32], BackupError> {
        let before = self.writer.chunks();
        let pushed = match self.writer.push_chunk(plain, &mut self.ready) {
            Err(error) if is_full(&error) => {
                self.finish_object(stats)?;
                self.writer.push_chunk(plain, &mut self.ready)?
            }
            other => other?,
        };
        let (id, is_new) = pushed;
        stats.new += if is_new { plain.len() as u64 } else { 0 };
        self.send(stats)?;
        // What the object had before ends nothing.
        if self.writer.chunks() != before {
            self.weigh(&id, plain.len() as u64, stats)?;
        }
        Ok(id.0)
    }

    /// Whether all of these are stored.
    pub(crate) fn has(&self, mut chunks: impl Iterator<Item = ChunkId>) -> bool {
        chunks.all(|id| self.writer.has(&id))
    }

    /// Names chunks that are stored.
    pub(crate) fn reuse(
        &mut self,
        chunks: impl Iterator<Item = ChunkId>,
        stats: &mut Stats,
    ) -> Result<(), BackupError> {
        for id in chunks {
            let before = self.writer.chunks();
            let found = match self.writer.reuse(&id) {
                Err(error) if is_full(&error) => {
                    self.finish_object(stats)?;
                    self.writer.reuse(&id)?
                }
                other => other?,
            };
            assert!(found, "what is reused was looked for before");
            if self.writer.chunks() != before {
                let length = self.writer.earlier().length(&id).unwrap_or_default();
                self.weigh(&id, u64::from(length), stats)?;
            }
        }
        Ok(())
    }

    /// Ends the object here if it is heavy enough and the chunk says so.
    fn weigh(&mut self, id: &ChunkId, length: u64, stats: &mut Stats) -> Result<(), BackupError> {
        let weight = length + CHUNK_WEIGHT;
        self.weight += weight;
        let (least, most) = (self.object_bytes / 4, self.object_bytes.saturating_mul(4));
        let draw = u64::from_le_bytes(*id.0.first_chunk().expect("a name has 32 bytes"));
        // One in as many chunks of this weight as an object has.
        let ends = draw < (u64::MAX / self.object_bytes).saturating_mul(weight);
        if (ends && self.weight >= least) || self.weight >= most {
            self.finish_object(stats)?;
        }
        Ok(())
    }

    fn finish_object(&mut self, stats: &mut Stats) -> Result<(), BackupError> {
        self.weight = 0;
        if self.writer.chunks() == 0 {
            return Ok(());
        }
        if self.parts.len() == OBJECTS_MAX {
            return Err(BackupError::TooMuch("more than 65,536 objects"));
        }
        let next = Writer::new(self.secret.clone(), self.settings)?;
        let writer = std::mem::replace(&mut self.writer, next);
        let finished = writer.finish_onward(&mut self.ready)?;
        self.send(stats)?;
        let next = Writer::new(self.secret.clone(), self.settings)?;
        self.writer = next.upon(finished.earlier);
        let part = Part::of(&finished.capability);
        if self.stored.insert(part.object) {
            let stored = self.sink.object(&finished.manifest, &finished.capability);
            stored.map_err(BackupError::Sink)?;
        }
        // Two objects of a snapshot can be one, where all their chunks are.
        if !self.parts.contains(&part) {
            self.parts.push(part);
        }
        Ok(())
    }

    fn send(&mut self, stats: &mut Stats) -> Result<(), BackupError> {
        send(&mut self.ready, self.sink, stats)
    }

    /// The last object is complete: says what all of them are, and gives the sink back.
    pub(crate) fn finish(
        mut self,
        stats: &mut Stats,
    ) -> Result<(Vec<Part>, &'a mut dyn Sink), BackupError> {
        self.finish_object(stats)?;
        Ok((self.parts, self.sink))
    }

    /// For the tree, whose segments go the same way.
    pub(crate) const fn sink(&mut self) -> &mut dyn Sink {
        self.sink
    }
}

/// Hands over what is ready.
pub(crate) fn send(
    ready: &mut Vec<Coded>,
    sink: &mut dyn Sink,
    stats: &mut Stats,
) -> Result<(), BackupError> {
    for coded in ready.drain(..) {
        stats.segments += 1;
        stats.stored += coded.length() as u64;
        sink.segment(coded).map_err(BackupError::Sink)?;
    }
    Ok(())
}

const fn is_full(error: &WriteError) -> bool {
    matches!(error, WriteError::Pack(PackError::Chunks | PackError::Segments))
}
