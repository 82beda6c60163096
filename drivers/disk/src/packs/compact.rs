//! Walking over packs: to move what is left out of one of which little is left, and to look whether
//! everything is still what it was.
//!
//! Both go by slices, so that nobody waits long for the log, and both can be interrupted anywhere:
//! what was moved lies in its new place, and a walk that begins again passes over it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use isos_base::key::PublicKey;
use isos_base::{LeaseId, Time};

use super::error::{PackError, Why, is_unreadable, refused};
use super::index::{HeadKey, HeadPlace, Index, Key, Place};
use super::log::{Batch, Log, Record};
use super::record::{HEADER_BYTES, Header, Kind, hashes_bytes, is_right, record_bytes};
use super::state::{State, bucket_of};
use super::{Inner, index::LeaseRow};

/// Bytes that are looked through for the next record, where one should have been, at a time.
const SEARCH_BYTES: usize = 1 << 20;
/// Passed over where the disk cannot read.
const SECTOR_BYTES: u32 = 4 << 10;
/// Records of one slice.
const RECORDS_MAX: usize = 4_096;

/// What becomes of a record that is right, with the hashes and bytes behind its header.
type Each<'a> = &'a mut dyn FnMut(&Inner, Live, &Header, &[u8]) -> Result<(), PackError>;

/// What a record is about, and where the index says that it lies.
#[derive(Debug, Clone, Copy)]
enum Live {
    Fragment(Key, Place),
    Head(HeadKey, HeadPlace),
}

impl Live {
    fn find(state: &State, index: &Index, header: &Header) -> Result<Option<Self>, PackError> {
        let lease = header.lease;
        Ok(match header.kind {
            Kind::Fragment => {
                let key = Key { id: header.id, lease };
                state.find(index, &key)?.map(|place| Self::Fragment(key, place))
            }
            Kind::Head => {
                let key = HeadKey { lease, key: PublicKey(header.id.0) };
                state.find_head(index, &key)?.map(|place| Self::Head(key, place))
            }
        })
    }

    const fn lease(&self) -> LeaseId {
        match self {
            Self::Fragment(key, _) => key.lease,
            Self::Head(key, _) => key.lease,
        }
    }

    const fn place(&self) -> Place {
        match self {
            Self::Fragment(_, place) => *place,
            Self::Head(_, place) => place.at,
        }
    }

    /// The same in another place.
    const fn moved(self, pack: u32, offset: u32) -> Self {
        let at = Place { pack, offset, ..self.place() };
        match self {
            Self::Fragment(key, _) => Self::Fragment(key, at),
            Self::Head(key, place) => Self::Head(key, HeadPlace { at, ..place }),
        }
    }

    /// It lies there now.
    fn put(self, state: &mut State, index: &Index) -> Result<(), PackError> {
        match self {
            Self::Fragment(key, place) => state.place(index, key, Some(place)).map(drop),
            Self::Head(key, place) => state.place_head(index, key, Some(place)),
        }
    }

    /// It is no more.
    fn drop(self, state: &mut State, index: &Index) -> Result<(), PackError> {
        match self {
            Self::Fragment(key, _) => state.place(index, key, None).map(drop),
            Self::Head(key, _) => state.place_head(index, key, None),
        }
    }
}

/// What a slice has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Slice {
    /// Bytes that were read.
    pub(super) read: u64,
    /// Bytes that were moved.
    pub(super) moved: u64,
    /// Fragments that are not right any more.
    pub(super) damaged: u64,
    /// Where to go on; nothing at the end of the pack.
    pub(super) next: Option<u32>,
}

/// The record at `at` or the first behind it, before `end`.
pub(super) fn next_record(
    file: &File,
    pack: u32,
    at: u32,
    end: u32,
) -> io::Result<Option<(u32, Header)>> {
    let mut from = at;
    let mut window = vec![0; HEADER_BYTES];
    while end.saturating_sub(from) >= HEADER_BYTES as u32 {
        window.truncate((end - from) as usize);
        match file.read_exact_at(&mut window, from.into()) {
            // What the disk cannot read is a hole like any other.
            Err(error) if is_unreadable(&error) => {
                from = from.saturating_add(SECTOR_BYTES);
                window.resize(HEADER_BYTES, 0);
                continue;
            }
            read => read?,
        }
        for place in 0..=window.len() - HEADER_BYTES {
            if let Some(header) = Header::read(&window[place..], pack) {
                return Ok(Some((from + place as u32, header)));
            }
        }
        // A header was damaged: what is behind it is found by looking at every byte. Bytes that
        // somebody made to look like a record are not where the index says that they are.
        from += (window.len() - HEADER_BYTES + 1) as u32;
        window.resize(SEARCH_BYTES, 0);
    }
    Ok(None)
}

impl Inner {
    /// Moves what is left in a pack, from `at` on, up to so many bytes.
    pub(super) fn compact(
        &self,
        log: &mut Log,
        now: Time,
        number: u32,
        at: u32,
        budget: u64,
    ) -> Result<Slice, PackError> {
        let mut batch = Batch::default();
        let mut moved = Vec::new();
        let mut walk = |inner: &Self, live: Live, header: &Header, behind: &[u8]| {
            let (hashes, bytes) = behind.split_at(hashes_bytes(header.length) as usize);
            let row = inner.state().leases.get(&live.lease()).copied();
            // Renewed leases are in the week of their new end from now on.
            let (class, until) =
                row.map_or((header.class, header.until), |row: LeaseRow| (row.class, row.until));
            let header = Header { class, until, ..*header };
            let bucket = bucket_of(header.kind, class, until);
            let record = Record { header, hashes, bytes };
            let (pack, offset) = inner.append(log, &mut batch, bucket, record)?;
            moved.push(live.moved(pack, offset));
            Ok(())
        };
        let mut slice = self.walk(now, number, at, budget, Some(&mut walk))?;
        let failed = self.finish(log, batch);
        let index = self.index();
        let mut state = self.state();
        for live in moved {
            let place = live.place();
            if let Some(error) = failed.get(&place.pack) {
                return Err(error.clone());
            }
            live.put(&mut state, &index)?;
            let bytes = u64::from(record_bytes(place.length));
            state.unsaved += bytes;
            slice.moved += bytes;
        }
        Ok(slice)
    }

    /// Checks the records of a pack from `at` on, up to so many bytes.
    pub(super) fn scrub(
        &self,
        now: Time,
        number: u32,
        at: u32,
        budget: u64,
    ) -> Result<Slice, PackError> {
        self.walk(now, number, at, budget, None)
    }

    /// Reads the live records of a pack, drops those that are not right, and hands on the others.
    fn walk(
        &self,
        now: Time,
        number: u32,
        at: u32,
        budget: u64,
        mut each: Option<Each<'_>>,
    ) -> Result<Slice, PackError> {
        let mut slice = Slice::default();
        let Some(pack) = self.state().packs.get(&number).copied() else { return Ok(slice) };
        let path = self.pack_path(number);
        let failed = |error| refused("read", &path, error);
        let file = self.file(number).map_err(|error| refused("open", &path, error))?;
        let end = pack
            .length
            .min(file.metadata().map_or(0, |file| u32::try_from(file.len()).unwrap_or(u32::MAX)));
        let mut at = at;
        let mut buffer = Vec::new();
        let mut records = 0;
        while slice.read < budget && records < RECORDS_MAX {
            let next = next_record(&file, number, at, end).map_err(failed)?;
            let Some((offset, header)) = next else { return Ok(slice) };
            records += 1;
            let live = {
                let index = self.index();
                Live::find(&self.state(), &index, &header)?
            };
            let here = |live: &Live| {
                let place = live.place();
                (place.pack, place.offset, place.length) == (number, offset, header.length)
            };
            at = offset + record_bytes(header.length);
            slice.next = Some(at);
            let Some(live) = live.filter(here) else { continue };
            slice.read += u64::from(record_bytes(header.length));
            if self.is_over(live.lease(), now) {
                // Nobody has wanted it for a long time: it is not moved, and not missed.
                if each.is_some() {
                    self.drop_one(now, live, None)?;
                }
                continue;
            }
            buffer.resize(record_bytes(header.length) as usize - HEADER_BYTES, 0);
            let behind = u64::from(offset) + HEADER_BYTES as u64;
            let read = file.read_exact_at(&mut buffer, behind);
            if read.is_err() || !is_right(&header, &buffer) {
                slice.damaged += 1;
                self.drop_one(now, live, Some(Why::Damaged))?;
            } else if let Some(each) = &mut each {
                each(self, live, &header, &buffer)?;
            }
        }
        if at >= end {
            slice.next = None;
        }
        Ok(slice)
    }

    /// Whoever set a head finds out when it is next asked for; of fragments the complex is told.
    fn drop_one(&self, now: Time, live: Live, why: Option<Why>) -> Result<(), PackError> {
        let index = self.index();
        let mut state = self.state();
        if let (Some(why), Live::Fragment(key, place)) = (why, live) {
            state.report(now, key, place.length, why);
        }
        live.drop(&mut state, &index)
    }
}
