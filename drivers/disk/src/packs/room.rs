//! Room: what the owner allows, and what goes first when it is less.
//!
//! In this order: packs whose leases have all ended, cached copies, surplus fragments. What is left
//! then was promised, and stays; [`Room::over`] says how much of it is too much, for the complex to
//! have it moved before it is lost.

use isos_base::fragment::GRACE;
use isos_base::{Bytes, Guid, LeaseId, Span, Time};

use super::error::{PackError, Why, refused};
use super::index::{Bucket, Key, Place};
use super::log::{Batch, Log};
use super::{CALL_MAX, Inner, Packs};

/// So long nobody looks again for packs that have ended, when there were none.
const LOOK_AFTER: Span = Span::secs(60);

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes on disk.
    pub used: Bytes,
    /// What may be used.
    pub quota: Bytes,
    /// Free on the file system.
    pub free: Bytes,
    /// What must stay free there.
    pub floor: Bytes,
    /// What can be given up without breaking a promise: surplus fragments.
    pub surplus: Bytes,
    /// So much is used beyond the limits: the shelf is shrinking. What can be spared has gone.
    pub over: Bytes,
}

impl Room {
    /// What may still be added.
    #[must_use]
    pub fn left(&self) -> Bytes {
        Bytes((self.quota - self.used).0.min((self.free - self.floor).0))
    }
}

impl Packs {
    /// How much room there is: counters, and one question to the file system.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn room(&self) -> Result<Room, PackError> {
        self.0.room(0)
    }

    /// Says that there are more fragments of their objects than needed, so that these go first; or
    /// that they are needed after all. Says how many of them are here.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn spare(&self, lease: LeaseId, ids: &[Guid], surplus: bool) -> Result<u32, PackError> {
        let mut log = self.0.log();
        let mut found = 0;
        {
            let index = self.0.index();
            let mut state = self.0.state();
            for id in ids {
                let key = Key { id: *id, lease };
                let Some(place) = state.find(&index, &key)? else { continue };
                found += 1;
                if place.surplus != surplus {
                    state.place(&index, key, Some(Place { surplus, ..place }))?;
                }
            }
        }
        self.0.checkpoint(&mut log)?;
        Ok(found)
    }
}

impl Inner {
    /// Room, with so much of it taken by a batch that is not written.
    pub(super) fn room(&self, pending: u64) -> Result<Room, PackError> {
        let space = self.storage.space(&self.dir).map_err(|e| refused("measure", &self.dir, e))?;
        let state = self.state();
        let (used, free) = (Bytes(state.used() + pending), space.free - Bytes(pending));
        let (quota, floor) = (state.limits.quota, state.limits.free_floor);
        let over = Bytes((used - quota).0.max((floor - free).0));
        Ok(Room { used, quota, free, floor, surplus: Bytes(state.about.surplus), over })
    }

    /// Sees that a record fits, by giving up what goes first, if that helps.
    pub(super) fn make_room(
        &self,
        log: &mut Log,
        now: Time,
        batch: &Batch,
        bytes: u64,
        bucket: Bucket,
    ) -> Result<(), PackError> {
        let mut room = self.room(batch.bytes)?;
        while room.left().0 < bytes {
            let mut victim = self.ended_pack(log, now, batch)?;
            // A cached copy never drives another out: both are worth the same.
            if victim.is_none() && !bucket.cache {
                victim = self.cache_pack(batch);
            }
            let Some(victim) = victim else {
                let wanted = Bytes(bytes);
                let Room { used, quota, free, floor, .. } = room;
                return Err(if (quota - used).0 < bytes {
                    PackError::Quota { wanted, used, quota }
                } else {
                    PackError::Floor { wanted, free, floor, dir: self.dir.clone() }
                });
            };
            self.give_up(log, victim)?;
            room = self.room(batch.bytes)?;
        }
        Ok(())
    }

    /// Gives up what can be spared until the limits are held; says what room there is then.
    pub(super) fn shed(&self, log: &mut Log, now: Time) -> Result<Room, PackError> {
        let batch = Batch::default();
        let mut room = self.room(0)?;
        while room.over > Bytes::ZERO {
            let ended = self.ended_pack(log, now, &batch)?;
            let Some(victim) = ended.or_else(|| self.cache_pack(&batch)) else { break };
            self.give_up(log, victim)?;
            room = self.room(0)?;
        }
        // Surplus fragments become dead bytes, which the compaction turns into room.
        let mut freed = self.state().dead();
        while freed < room.over.0 && self.state().about.surplus > 0 {
            let index = self.index();
            let mut state = self.state();
            let keys = index.surplus(CALL_MAX)?;
            let before = freed;
            for key in keys {
                if freed >= room.over.0 {
                    break;
                }
                let Some(place) = state.find(&index, &key)?.filter(|place| place.surplus) else {
                    continue;
                };
                freed += u64::from(place.length);
                state.report(now, key, place.length, Why::Room);
                state.place(&index, key, None)?;
            }
            drop((state, index));
            self.checkpoint(log)?;
            if freed == before {
                break;
            }
        }
        Ok(room)
    }

    /// A pack of which every lease has ended, or that has nothing in it.
    pub(super) fn ended_pack(
        &self,
        log: &mut Log,
        now: Time,
        batch: &Batch,
    ) -> Result<Option<u32>, PackError> {
        if let Some(empty) = self.has_empty_pack(batch) {
            return Ok(Some(empty));
        }
        if now < log.upkeep.none_ended_before {
            return Ok(None);
        }
        let index = self.index();
        let state = self.state();
        // By the week in which its leases would have ended when it was begun.
        let mut packs: Vec<_> =
            state.packs.iter().map(|(n, pack)| (pack.bucket.week, *n)).collect();
        packs.sort_unstable();
        for (_, number) in packs {
            if batch.holds(number) {
                continue;
            }
            let holdings = state.holdings(&index, number)?;
            let ended = |lease| state.leases.get(lease).is_none_or(|row| row.until <= now);
            if holdings.keys().all(ended) {
                return Ok(Some(number));
            }
        }
        // A full shelf does not go over all packs for each fragment that it turns down.
        log.upkeep.none_ended_before = now + LOOK_AFTER;
        Ok(None)
    }

    /// The cached copies that would end first.
    fn cache_pack(&self, batch: &Batch) -> Option<u32> {
        let state = self.state();
        let cached = state.packs.iter().filter(|(n, pack)| pack.bucket.cache && !batch.holds(**n));
        cached.min_by_key(|(number, pack)| (pack.bucket.week, **number)).map(|(number, _)| *number)
    }

    /// A pack is no more, whatever was in it: first in the index, then on the disk.
    pub(super) fn give_up(&self, log: &mut Log, number: u32) -> Result<(), PackError> {
        self.close_pack(log, number);
        self.state_forget(number)?;
        self.checkpoint(log)?;
        let path = self.pack_path(number);
        match self.storage.remove(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(refused("remove", &path, e)),
            _ => Ok(()),
        }
    }

    fn state_forget(&self, number: u32) -> Result<(), PackError> {
        let index = self.index();
        self.state().forget_pack(&index, number)
    }

    /// Whether a lease has ended for good.
    pub(super) fn is_over(&self, lease: LeaseId, now: Time) -> bool {
        self.state().leases.get(&lease).is_none_or(|row| row.until + GRACE <= now)
    }
}
