//! What was stored before: chunks that a new object names where they lie, instead of sealing,
//! packing and coding them again.
//!
//! A table in memory, about 150 bytes a chunk, filled from manifests that were opened. What it
//! offers is only as good as the segments: whoever fills it from objects whose fragments were given
//! up names segments that are gone.

use std::collections::BTreeMap;

use isos_base::Guid;

use crate::key::ChunkId;
use crate::manifest::{Content, Manifest, Segment};
use crate::pack::Place;

/// Chunks of earlier objects of one owner, and the segments in which they lie.
#[derive(Debug, Default)]
pub struct Earlier {
    /// `segment` of a place is an index into `segments`.
    chunks: BTreeMap<ChunkId, Place>,
    segments: Vec<Old>,
    numbers: BTreeMap<Guid, u32>,
}

/// A segment, and how much of it is in use.
#[derive(Debug)]
struct Old {
    segment: Segment,
    used: u64,
}

impl Earlier {
    /// Nothing was stored before.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what an object has. A chunk that lies in two segments is offered from the first.
    pub fn add(&mut self, manifest: &Manifest, content: &Content) {
        let mut numbers = vec![None; manifest.segments.len()];
        for place in &content.chunks {
            let id = place.secret.id();
            let Some(segment) = manifest.segments.get(place.segment as usize) else { continue };
            if self.chunks.contains_key(&id) {
                continue;
            }
            let number =
                *numbers[place.segment as usize].get_or_insert_with(|| self.number(segment));
            self.segments[number as usize].used += u64::from(place.sealed);
            self.chunks.insert(id, Place { segment: number, ..place.clone() });
        }
    }

    fn number(&mut self, segment: &Segment) -> u32 {
        let Self { segments, numbers, .. } = self;
        *numbers.entry(segment.id()).or_insert_with(|| {
            segments.push(Old { segment: segment.clone(), used: 0 });
            segments.len() as u32 - 1
        })
    }

    /// Offers no longer what lies in segments of which less than these hundredths are in use: their
    /// chunks are then stored anew, side by side, and the old segments are soon named by nobody.
    pub fn leave_sparse(&mut self, percent: u64) {
        let segments = &self.segments;
        self.chunks.retain(|_, place| {
            let old = &segments[place.segment as usize];
            old.used * 100 >= u64::from(old.segment.length) * percent
        });
    }

    /// Whether it has this chunk.
    #[must_use]
    pub fn has(&self, id: &ChunkId) -> bool {
        self.chunks.contains_key(id)
    }

    /// How long this chunk is, if it is there.
    #[must_use]
    pub fn length(&self, id: &ChunkId) -> Option<u32> {
        self.chunks.get(id).map(|place| place.length)
    }

    /// How many chunks it offers.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Where a chunk lies; the number of the segment is for [`Earlier::segment`].
    pub(crate) fn place(&self, id: &ChunkId) -> Option<&Place> {
        self.chunks.get(id)
    }

    pub(crate) fn segment(&self, number: u32) -> &Segment {
        &self.segments[number as usize].segment
    }
}
