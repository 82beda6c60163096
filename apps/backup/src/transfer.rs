//! Where segments go and where they come from: two traits, which the shell fills with a network and
//! tests with a map.

use std::collections::VecDeque;
use std::error::Error;

use bytes::Bytes;
use isos_base::Guid;
use isos_store::capability::ReadCapability;
use isos_store::code::Coded;
use isos_store::manifest::{Manifest, Segment};

use crate::limits::CACHED_SEGMENTS;

/// What went wrong on the other side.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Takes what a snapshot is made of.
pub trait Sink {
    /// A segment that was never stored before. It may return before the segment is safe, as long as
    /// [`Sink::object`] does not.
    ///
    /// # Errors
    /// Any; the snapshot ends with it.
    fn segment(&mut self, coded: Coded) -> Result<(), Failure>;

    /// An object. Each of its segments was given before, in this snapshot or an earlier one. When
    /// this returns, the object is safe: others will name it.
    ///
    /// # Errors
    /// Any; the snapshot ends with it.
    fn object(&mut self, manifest: &Manifest, capability: &ReadCapability) -> Result<(), Failure>;
}

/// A segment that is needed.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// An object that has it.
    pub object: Guid,
    /// Its number there.
    pub number: u32,
    /// Its code, its length and the names of its fragments.
    pub segment: &'a Segment,
}

/// Gives what snapshots are made of.
pub trait Source {
    /// The manifest of an object. Whether it is the right one is checked.
    ///
    /// # Errors
    /// Any.
    fn manifest(&mut self, object: &Guid) -> Result<Manifest, Failure>;

    /// The bytes of a segment.
    ///
    /// # Errors
    /// Any.
    fn segment(&mut self, wanted: &Wanted<'_>) -> Result<Bytes, Failure>;

    /// These will be asked for soon, in this order: time to fetch several at once.
    fn soon(&mut self, wanted: &[Wanted<'_>]) {
        let _ = wanted;
    }
}

/// A source, and the segments that it gave last.
pub(crate) struct Segments<'a> {
    source: &'a mut dyn Source,
    /// The last used is the last.
    cached: VecDeque<(Guid, Bytes)>,
}

impl<'a> Segments<'a> {
    pub(crate) fn new(source: &'a mut dyn Source) -> Self {
        Self { source, cached: VecDeque::new() }
    }

    pub(crate) fn source(&mut self) -> &mut dyn Source {
        self.source
    }

    /// A segment, whose id is `id`.
    pub(crate) fn get(&mut self, id: Guid, wanted: &Wanted<'_>) -> Result<Bytes, Failure> {
        if let Some(at) = self.cached.iter().position(|(cached, _)| *cached == id) {
            let found = self.cached.remove(at).expect("it was found there");
            let bytes = found.1.clone();
            self.cached.push_back(found);
            return Ok(bytes);
        }
        let bytes = self.source.segment(wanted)?;
        if self.cached.len() == CACHED_SEGMENTS {
            self.cached.pop_front();
        }
        self.cached.push_back((id, bytes.clone()));
        Ok(bytes)
    }

    /// Says what will be needed, but for what is here.
    pub(crate) fn soon(&mut self, wanted: &[(Guid, Wanted<'_>)]) {
        let missing = |(id, _): &&(Guid, Wanted<'_>)| !self.cached.iter().any(|it| it.0 == *id);
        let missing: Vec<Wanted<'_>> = wanted.iter().filter(missing).map(|it| it.1).collect();
        if !missing.is_empty() {
            self.source.soon(&missing);
        }
    }
}
