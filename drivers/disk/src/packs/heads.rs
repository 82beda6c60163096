//! Heads: the newest version of something, of those that peers have shown under their leases.
//!
//! A head lies in a pack like a fragment, since an index that was lost is made again from there;
//! the index has its place and version. A newer version is a new record and the older one is
//! rubbish, so that no crash leaves half a head. One sync for each: heads are as rare as people
//! change their minds, next to fragments.

use std::io;
use std::os::unix::fs::FileExt;

use isos_base::fragment::{HEADS_OF_LEASE_MAX, HeadSet, SignedHead};
use isos_base::key::PublicKey;
use isos_base::{Bytes, Guid, LeaseId, Time};

use super::error::{PackError, is_unreadable, refused};
use super::index::{HeadKey, HeadPlace, LeaseRow, Place};
use super::log::{Batch, Log, Record};
use super::read::TRIES;
use super::record::{HEADER_BYTES, Header, Kind, head_in, record_bytes};
use super::state::bucket_of;
use super::{Inner, Packs};

/// A head, and a lease under which it is here.
type Found = Option<(LeaseId, Box<SignedHead>)>;

/// What lies where a head should.
enum Read {
    Head(Box<SignedHead>),
    /// Its pack is not there any more; it may be elsewhere.
    Moved,
    Damaged,
}

impl Packs {
    /// Keeps a head under a lease, if none is here of its key that is newer; it is on the disk when
    /// this returns. Of one version the first counts. At most [`HEADS_OF_LEASE_MAX`] a lease, and
    /// their bytes are the lease's.
    ///
    /// # Errors
    /// It is no head, the lease is not known, has ended or is full, there is no room, or the disk
    /// refuses: then it is kept or not, but not acknowledged.
    pub fn set_head(
        &self,
        now: Time,
        lease: LeaseId,
        signed: &SignedHead,
    ) -> Result<HeadSet, PackError> {
        // Needs no lock, and takes longer than all the rest but the disk.
        signed.check().map_err(PackError::Head)?;
        let mut log = self.0.log();
        let (newest, _) = self.0.newest_head(&signed.head.key)?;
        let mut has_it = false;
        if let Some((under, newest)) = newest {
            let same = newest.head == signed.head;
            if newest.head.version >= signed.head.version && !same {
                return Ok(HeadSet::Newer(newest));
            }
            has_it = same && under == lease;
        }
        self.0.write_head(&mut log, now, lease, signed, has_it)?;
        self.0.checkpoint_if_due(&mut log);
        Ok(HeadSet::Kept(signed.head.version))
    }

    /// The newest head of a key that is here, under whatever lease.
    ///
    /// # Errors
    /// [`PackError::HeadDamaged`] if there was a newer one than is left: an old word is worse than
    /// none. Or the disk refuses.
    pub fn head(&self, key: &PublicKey) -> Result<Option<SignedHead>, PackError> {
        match self.0.newest_head(key)? {
            (_, true) => Err(PackError::HeadDamaged { key: *key }),
            (newest, false) => Ok(newest.map(|(_, newest)| *newest)),
        }
    }
}

impl Inner {
    /// The newest head of a key that can be read, with its lease, and whether there was a newer
    /// one.
    fn newest_head(&self, key: &PublicKey) -> Result<(Found, bool), PackError> {
        let mut damaged = None;
        for _ in 0..TRIES {
            damaged = None;
            let mut moved = false;
            let candidates = {
                let index = self.index();
                self.state().heads_of_key(&index, key)?
            };
            for (key, version) in candidates {
                let place = {
                    let index = self.index();
                    self.state().find_head(&index, &key)?
                };
                let Some(place) = place else { continue };
                match self.read_head(&key, &place)? {
                    Read::Head(head) => {
                        return Ok((Some((key.lease, head)), damaged > Some(version)));
                    }
                    Read::Moved => moved = true,
                    Read::Damaged => damaged = damaged.max(Some(version)),
                }
                if moved {
                    break;
                }
            }
            if !moved {
                break;
            }
        }
        Ok((None, damaged.is_some()))
    }

    fn read_head(&self, key: &HeadKey, place: &HeadPlace) -> Result<Read, PackError> {
        let Place { pack, offset, length, .. } = place.at;
        let path = self.pack_path(pack);
        let file = match self.file(pack) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let known = self.state().packs.contains_key(&pack);
                return Ok(if known { Read::Damaged } else { Read::Moved });
            }
            Err(e) => return Err(refused("open", &path, e)),
        };
        let mut bytes = vec![0; record_bytes(length) as usize];
        if let Err(e) = file.read_exact_at(&mut bytes, offset.into()) {
            let damaged = e.kind() == io::ErrorKind::UnexpectedEof || is_unreadable(&e);
            return if damaged { Ok(Read::Damaged) } else { Err(refused("read", &path, e)) };
        }
        let header = Header::read(&bytes, pack).filter(|header| {
            header.lease == key.lease && header.id.0 == key.key.0 && header.length == length
        });
        let head = header.and_then(|header| head_in(&header, &bytes[HEADER_BYTES..]));
        let head = head.filter(|head| head.head.version == place.version);
        Ok(head.map_or(Read::Damaged, |head| Read::Head(Box::new(head))))
    }

    /// Writes a head that is newer than what is here, or the same, unless the lease has it.
    fn write_head(
        &self,
        log: &mut Log,
        now: Time,
        lease: LeaseId,
        signed: &SignedHead,
        has_it: bool,
    ) -> Result<(), PackError> {
        let key = HeadKey { lease, key: signed.head.key };
        let version = signed.head.version;
        let bytes = signed.to_bytes();
        let length = bytes.len() as u32;
        let LeaseRow { account, class, until, .. } = {
            let index = self.index();
            let state = self.state();
            let row = *state.leases.get(&lease).ok_or(PackError::Lease { lease })?;
            if row.until <= now {
                return Err(PackError::Ended { lease, until: row.until });
            }
            if has_it {
                return Ok(());
            }
            let old = state.find_head(&index, &key)?;
            if old.is_none() && state.heads_of_lease(&index, lease)?.len() >= HEADS_OF_LEASE_MAX {
                return Err(PackError::HeadsFull { lease });
            }
            let used = row.used.saturating_sub(old.map_or(0, |old| old.at.length.into()));
            if used + u64::from(length) > row.bytes {
                let (wanted, used, bytes) = (Bytes(length.into()), Bytes(used), Bytes(row.bytes));
                return Err(PackError::LeaseFull { lease, wanted, used, bytes });
            }
            self.may_wait(log, &state)?;
            row
        };
        let bucket = bucket_of(Kind::Head, class, until);
        let mut batch = Batch::default();
        self.make_room(log, now, &batch, record_bytes(length).into(), bucket)?;
        let id = Guid(key.key.0);
        let header = Header { kind: Kind::Head, id, length, lease, account, until, class };
        let record = Record { header, hashes: &[], bytes: &bytes };
        let (pack, offset) = self.append(log, &mut batch, bucket, record)?;
        if let Some(error) = self.finish(log, batch).remove(&pack) {
            return Err(error);
        }
        let index = self.index();
        let mut state = self.state();
        let at = Place { pack, offset, length, surplus: false };
        state.place_head(&index, key, Some(HeadPlace { at, version }))?;
        state.unsaved += u64::from(record_bytes(length));
        Ok(())
    }
}
