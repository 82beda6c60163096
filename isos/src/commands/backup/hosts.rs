//! Between the engine of backups and the hosts: segments to the feeder, segments from the reader.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use isos_backup::{Failure, Sink, Source, Wanted};
use isos_base::Guid;
use isos_sdk::store::{BlockingReader, Feeder};
use isos_store::capability::ReadCapability;
use isos_store::code::Coded;
use isos_store::manifest::{Manifest, Segment};

/// Segments that are fetched before they are asked for: 64 MiB.
const AHEAD_MAX: usize = 16;
/// Manifests that are kept at hand.
const MANIFESTS_MAX: usize = 64;

/// Gives what the engine makes to hosts.
pub(super) struct ToHosts {
    feeder: Feeder,
    stored: u64,
}

impl ToHosts {
    pub(super) fn new(feeder: Feeder) -> Self {
        Self { feeder, stored: 0 }
    }
}

impl Sink for ToHosts {
    fn segment(&mut self, coded: Coded) -> Result<(), Failure> {
        self.stored += coded.length() as u64;
        Ok(self.feeder.segment(coded, self.stored)?)
    }

    fn object(&mut self, manifest: &Manifest, _: &ReadCapability) -> Result<(), Failure> {
        self.feeder.object(manifest)?;
        Ok(())
    }
}

/// Gets what the engine needs from hosts.
pub(super) struct FromHosts {
    reader: BlockingReader,
    manifests: BTreeMap<Guid, Manifest>,
    ahead: BTreeMap<Guid, Arc<Vec<u8>>>,
}

impl FromHosts {
    pub(super) fn new(reader: BlockingReader) -> Self {
        Self { reader, manifests: BTreeMap::new(), ahead: BTreeMap::new() }
    }
}

impl Source for FromHosts {
    fn manifest(&mut self, object: &Guid) -> Result<Manifest, Failure> {
        if let Some(manifest) = self.manifests.get(object) {
            return Ok(manifest.clone());
        }
        let manifest = self.reader.manifest(object)?;
        if self.manifests.len() == MANIFESTS_MAX {
            self.manifests.pop_first();
        }
        self.manifests.insert(*object, manifest.clone());
        Ok(manifest)
    }

    fn segment(&mut self, wanted: &Wanted<'_>) -> Result<Bytes, Failure> {
        let id = wanted.segment.id();
        let bytes = match self.ahead.remove(&id) {
            Some(bytes) => bytes,
            None => self.reader.segments(&[wanted.segment])?.remove(0),
        };
        Ok(Arc::unwrap_or_clone(bytes).into())
    }

    fn soon(&mut self, wanted: &[Wanted<'_>]) {
        let missing: Vec<&Segment> = wanted
            .iter()
            .filter(|it| !self.ahead.contains_key(&it.segment.id()))
            .map(|it| it.segment)
            .take(AHEAD_MAX)
            .collect();
        // What fails is asked for again, one by one, and said then.
        let Ok(came) = self.reader.segments(&missing) else { return };
        while self.ahead.len() + came.len() > AHEAD_MAX && self.ahead.pop_first().is_some() {}
        self.ahead.extend(missing.iter().map(|segment| segment.id()).zip(came));
    }
}
