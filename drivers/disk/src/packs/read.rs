//! Reading: groups of a fragment, each of them right, or the fragment is none any more.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use isos_base::Guid;
use isos_base::LeaseId;
use isos_base::fragment::{Groups, Piece, groups_of};

use super::error::{PackError, is_unreadable, refused};
use super::index::{COPIES_MAX, Key, Place};
use super::record::{HEADER_BYTES, Header, group_at, hashes_bytes};
use super::{Inner, Packs, lock};

/// Packs that are open for reading.
const FILES_MAX: usize = 64;
/// A fragment may be moved while it is looked for; nobody is that fast more often.
pub(super) const TRIES: usize = 4;
/// Places found damaged that wait for whoever drops them.
const DAMAGED_MAX: usize = 4_096;

impl Packs {
    /// `count` groups of a fragment from the group `first` on, as far as there are so many, with
    /// what proves them. No more than these is read.
    ///
    /// # Errors
    /// It is not here, was damaged (and is not here any more), or the disk refuses.
    pub fn read(&self, id: &Guid, first: u32, count: u32) -> Result<Piece, PackError> {
        let mut damaged = false;
        for _ in 0..TRIES {
            let copies = self.0.copies(id)?;
            if copies.is_empty() {
                break;
            }
            for (key, place) in copies {
                match self.0.read_place(&key, &place, first, count)? {
                    Read::Piece(piece) => return Ok(piece),
                    Read::Moved => {}
                    Read::Damaged => {
                        damaged = true;
                        self.0.note_damaged(key, place);
                    }
                }
            }
        }
        if damaged {
            Err(PackError::Damaged { id: *id })
        } else {
            Err(PackError::Missing { id: *id })
        }
    }

    /// The whole fragment.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn get(&self, id: &Guid) -> Result<Vec<u8>, PackError> {
        Ok(self.read(id, 0, u32::MAX)?.bytes)
    }
}

/// What lies at a place.
#[derive(Debug)]
pub(super) enum Read {
    Piece(Piece),
    /// Its pack is not there any more; the fragment may be elsewhere.
    Moved,
    Damaged,
}

impl Inner {
    /// The copies of a fragment that are not known to be damaged.
    pub(super) fn copies(&self, id: &Guid) -> Result<Vec<(Key, Place)>, PackError> {
        let index = self.index();
        let state = self.state();
        let kept: BTreeMap<Key, Place> = index.copies(id)?.into_iter().collect();
        let mut copies = kept;
        let (first, last) = (LeaseId(0), LeaseId(u64::MAX));
        let range = Key { id: *id, lease: first }..=Key { id: *id, lease: last };
        for (key, recent) in state.recent.range(range).take(COPIES_MAX) {
            match recent {
                Some(place) => copies.insert(*key, *place),
                None => copies.remove(key),
            };
        }
        copies.retain(|_, place| {
            state.packs.contains_key(&place.pack)
                && !state.damaged.contains(&(place.pack, place.offset))
        });
        Ok(copies.into_iter().collect())
    }

    pub(super) fn read_place(
        &self,
        key: &Key,
        place: &Place,
        first: u32,
        count: u32,
    ) -> Result<Read, PackError> {
        let Place { pack, offset, length, .. } = *place;
        let path = self.pack_path(pack);
        let file = match self.file(pack) {
            Ok(file) => file,
            // Gone with its pack a moment ago; or behind our back, which is as bad as damage.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let known = self.state().packs.contains_key(&pack);
                return Ok(if known { Read::Damaged } else { Read::Moved });
            }
            Err(e) => return Err(refused("open", &path, e)),
        };
        let mut head = vec![0; HEADER_BYTES + hashes_bytes(length) as usize];
        let first = first.min(groups_of(length));
        let (from, to) = (group_at(length, first), group_at(length, first.saturating_add(count)));
        let mut bytes = vec![0; (to - from) as usize];
        let at = u64::from(offset) + head.len() as u64 + u64::from(from);
        let read = file
            .read_exact_at(&mut head, offset.into())
            .and_then(|()| file.read_exact_at(&mut bytes, at));
        if let Err(e) = read {
            // What the disk cannot read is as gone as what it reads wrongly.
            let damaged = e.kind() == io::ErrorKind::UnexpectedEof || is_unreadable(&e);
            return if damaged { Ok(Read::Damaged) } else { Err(refused("read", &path, e)) };
        }
        let header = Header::read(&head, pack);
        let fits = header.is_some_and(|header| {
            header.id == key.id && header.lease == key.lease && header.length == length
        });
        let groups = Groups::from_bytes(&head[HEADER_BYTES..]).unwrap_or_default();
        let piece = Piece { length, groups, first, bytes };
        // A part of a fragment of one group is all or nothing, and nothing proves itself.
        let right = fits && (to == from || piece.check(&key.id).is_ok());
        Ok(if right { Read::Piece(piece) } else { Read::Damaged })
    }

    /// Remembers damage until whoever has the log can drop it; until then it is not served.
    pub(super) fn note_damaged(&self, key: Key, place: Place) {
        let mut state = self.state();
        if state.damaged.len() < DAMAGED_MAX && state.damaged.insert((place.pack, place.offset)) {
            state.damaged_keys.push((key, place));
        }
    }

    /// A pack for reading. A few stay open.
    pub(super) fn file(&self, number: u32) -> io::Result<Arc<File>> {
        let mut files = lock(&self.files);
        if let Some(file) = files.get(&number) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::open(self.pack_path(number))?);
        if files.len() >= FILES_MAX {
            files.pop_first();
        }
        files.insert(number, Arc::clone(&file));
        Ok(file)
    }
}
