//! Where each chunk of a snapshot lies, and its bytes.

use std::collections::BTreeSet;

use isos_base::Guid;
use isos_store::key::ChunkId;
use isos_store::manifest::Manifest;
use isos_store::object::Reader;
use isos_store::pack::{Place, open_chunk};
use isos_store::seal::{Cipher, LEVEL_DEFAULT, Sealer};

use crate::error::BackupError;
use crate::snapshot::{Head, fetch};
use crate::transfer::{Segments, Wanted};

/// Is shown a chunk, and what came of opening it.
type Take<'a> = dyn FnMut(&Place, Result<&[u8], BackupError>) -> Result<(), BackupError> + 'a;

/// The objects of a snapshot, and an index over their chunks.
pub(crate) struct Chunks {
    objects: Vec<Object>,
    /// Sorted: a chunk's name, its object, its number there.
    index: Vec<(ChunkId, u32, u32)>,
    sealer: Sealer,
}

struct Object {
    guid: Guid,
    manifest: Manifest,
    /// Of its segments.
    ids: Vec<Guid>,
    reader: Reader,
}

impl Chunks {
    /// Fetches and opens the manifests of a snapshot.
    pub(crate) fn open(head: &Head, segments: &mut Segments<'_>) -> Result<Self, BackupError> {
        let (mut objects, mut index) = (Vec::new(), Vec::new());
        for part in &head.objects {
            let manifest = fetch(segments.source(), &part.object)?;
            let reader = Reader::open(&manifest, &part.capability())?;
            let object = objects.len() as u32;
            let chunks = (0_u32..).zip(&reader.content().chunks);
            index.extend(chunks.map(|(number, place)| (place.secret.id(), object, number)));
            let ids = manifest.segments.iter().map(|segment| segment.id()).collect();
            objects.push(Object { guid: part.object, manifest, ids, reader });
        }
        index.sort_unstable();
        index.dedup_by(|later, earlier| later.0 == earlier.0);
        let sealer = Sealer::new(Cipher::ChaCha20Poly1305, LEVEL_DEFAULT);
        Ok(Self { objects, index, sealer })
    }

    fn find(&self, id: &ChunkId) -> Option<(&Object, &Place)> {
        let at = self.index.binary_search_by(|probe| probe.0.cmp(id)).ok()?;
        let (_, object, number) = self.index[at];
        let object = &self.objects[object as usize];
        Some((object, &object.reader.content().chunks[number as usize]))
    }

    /// How long a chunk is, if it is there.
    pub(crate) fn length(&self, id: &ChunkId) -> Option<u32> {
        self.find(id).map(|(_, place)| place.length)
    }

    /// Appends the bytes of a chunk.
    pub(crate) fn read(
        &mut self,
        id: &ChunkId,
        segments: &mut Segments<'_>,
        plain: &mut Vec<u8>,
    ) -> Result<(), BackupError> {
        let Some((object, place)) = self.find(id) else {
            return Err(BackupError::Head("a chunk of a file is in none of its objects"));
        };
        let (guid, wanted) = object.wanted(place.segment);
        let bytes = segments.get(guid, &wanted).map_err(BackupError::Source)?;
        let place = place.clone();
        Ok(open_chunk(&mut self.sealer, &bytes, &place, plain)?)
    }

    /// Tells the source which segments come next, at most `max` of them.
    pub(crate) fn soon(
        &self,
        chunks: impl Iterator<Item = ChunkId>,
        max: usize,
        segments: &mut Segments<'_>,
    ) {
        let (mut seen, mut wanted) = (BTreeSet::new(), Vec::new());
        for id in chunks {
            let Some((object, place)) = self.find(&id) else { continue };
            let (guid, one) = object.wanted(place.segment);
            if seen.insert(guid) {
                wanted.push((guid, one));
            }
            if wanted.len() == max {
                break;
            }
        }
        segments.soon(&wanted);
    }

    /// Shows each chunk of each segment, a segment once and in order, with what came of opening it.
    pub(crate) fn each(
        &mut self,
        segments: &mut Segments<'_>,
        take: &mut Take<'_>,
    ) -> Result<(), BackupError> {
        let mut plain = Vec::new();
        let Self { objects, sealer, .. } = self;
        for object in objects.iter() {
            let chunks = &object.reader.content().chunks;
            for place in chunks {
                plain.clear();
                let (guid, wanted) = object.wanted(place.segment);
                let opened = segments
                    .get(guid, &wanted)
                    .map_err(BackupError::Source)
                    .and_then(|bytes| Ok(open_chunk(sealer, &bytes, place, &mut plain)?));
                take(place, opened.map(|()| plain.as_slice()))?;
            }
        }
        Ok(())
    }
}

impl Object {
    fn wanted(&self, number: u32) -> (Guid, Wanted<'_>) {
        // A manifest that was opened has the segments that its chunks name.
        let segment = &self.manifest.segments[number as usize];
        (self.ids[number as usize], Wanted { object: self.guid, number, segment })
    }
}
