//! What is not urgent: ended packs, little packs, checking, saving. A bit at each call.

use isos_base::fragment::GRACE;
use isos_base::{Bytes, Span, Time};

use super::error::{PackError, Why};
use super::index::Key;
use super::log::{Batch, Log};
use super::room::Room;
use super::{Inner, Packs};

/// Work that was not asked for is not made up for: at most so much time's worth at once.
const CATCH_UP: Span = Span::secs(2);
/// The index follows at least so often while there is something to take in.
const SAVE_AFTER: Span = Span::secs(10);
/// How far the work is, if nothing else: disks want to sleep.
const SAVE_WORK_AFTER: Span = Span::secs(600);
/// Packs that are looked at in one call.
const PACKS_AT_ONCE: usize = 16;
/// Rows of the index that are swept in one call.
const SWEEP_ROWS: usize = 4_096;
/// Of a pack that has less than this share left, the rest is moved.
const LIVE_SHARE_MIN: (u64, u64) = (1, 2);
/// The same while the shelf has more than it may.
const LIVE_SHARE_MIN_SHORT: (u64, u64) = (9, 10);

/// How far all this is. What matters over a restart is in the index.
#[derive(Debug, Default)]
pub(super) struct Progress {
    last: Option<Time>,
    saved: Time,
    /// The pack that was looked at last.
    looked: u32,
    /// The pack that is being emptied, and how far that is.
    emptied: Option<(u32, u32)>,
    /// There is no ended pack before this time, as far as anybody has looked.
    pub(super) none_ended_before: Time,
}

/// What one call has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upkept {
    /// How much room there is now.
    pub room: Room,
    /// Packs that were removed.
    pub packs_removed: u32,
    /// Bytes that were moved.
    pub moved: Bytes,
    /// Bytes that were checked.
    pub checked: Bytes,
    /// Fragments that were found damaged, by readers or here.
    pub damaged: u64,
}

impl Packs {
    /// Does a bit of what is not urgent, and holds the limits. To be called about every second; a
    /// call takes some milliseconds, and longer when much must go.
    ///
    /// # Errors
    /// The disk refuses; what was not done is done by a later call.
    pub fn upkeep(&self, now: Time) -> Result<Upkept, PackError> {
        let inner = &*self.0;
        let mut log = inner.log();
        let since = log.upkeep.last.map_or(Span::ZERO, |last| now.since(last)).min(CATCH_UP);
        log.upkeep.last = Some(now);
        let damaged = inner.drop_damaged(now)?;
        let packs = inner.state().packs.len();
        let room = inner.shed(&mut log, now)?;
        let mut done = Upkept {
            room,
            packs_removed: packs.saturating_sub(inner.state().packs.len()) as u32,
            moved: Bytes::ZERO,
            checked: Bytes::ZERO,
            damaged,
        };
        // What one part cannot do keeps no other from its work.
        let emptied = inner.empty_packs(&mut log, now, since, &mut done);
        let checked = inner.check_on(now, since, &mut done);
        inner.sweep(now)?;
        inner.forget_leases(now);
        let changed = inner.state().is_changed();
        if now.since(log.upkeep.saved) >= if changed { SAVE_AFTER } else { SAVE_WORK_AFTER } {
            inner.checkpoint(&mut log)?;
            log.upkeep.saved = now;
        }
        done.room = inner.room(0)?;
        emptied.and(checked).map(|()| done)
    }
}

fn worth(rate: Bytes, since: Span) -> u64 {
    let bytes = u128::from(rate.0) * u128::from(since.0) / u128::from(Span::secs(1).0);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl Inner {
    /// Removes packs that have ended, and empties those of which little is left.
    fn empty_packs(
        &self,
        log: &mut Log,
        now: Time,
        since: Span,
        done: &mut Upkept,
    ) -> Result<(), PackError> {
        for _ in 0..PACKS_AT_ONCE {
            let next = {
                let state = self.state();
                let after = log.upkeep.looked.saturating_add(1);
                let next = state.packs.range(after..).next().or_else(|| state.packs.iter().next());
                next.map(|(number, pack)| (*number, *pack))
            };
            let Some((number, pack)) = next else { break };
            log.upkeep.looked = number;
            let left = self.left_in(number, now)?;
            if left == 0 {
                self.give_up(log, number)?;
                done.packs_removed += 1;
                continue;
            }
            let (part, whole) =
                if done.room.over > Bytes::ZERO { LIVE_SHARE_MIN_SHORT } else { LIVE_SHARE_MIN };
            let idle = log.upkeep.emptied.is_none() && !self.is_open(log, number);
            if idle && left * whole < u64::from(pack.length) * part {
                log.upkeep.emptied = Some((number, 0));
            }
        }
        let Some((number, at)) = log.upkeep.emptied else { return Ok(()) };
        let budget = worth(self.settings.compact_rate, since);
        if budget == 0 {
            return Ok(());
        }
        self.close_pack(log, number);
        if let Some(pack) = self.state().pack_mut(number) {
            pack.sealed = true;
        }
        let slice = self.compact(log, now, number, at, budget)?;
        done.moved += Bytes(slice.moved);
        done.damaged += slice.damaged;
        log.upkeep.emptied = slice.next.map(|next| (number, next));
        if slice.next.is_none() {
            // What the walk did not find is lost, and will be reported by the sweep.
            self.give_up(log, number)?;
            done.packs_removed += 1;
        }
        Ok(())
    }

    /// Bytes of a pack whose leases have not ended for good.
    fn left_in(&self, number: u32, now: Time) -> Result<u64, PackError> {
        let index = self.index();
        let state = self.state();
        let Some(pack) = state.packs.get(&number) else { return Ok(0) };
        let holdings = state.holdings(&index, number)?;
        let is_left = |lease| state.leases.get(lease).is_some_and(|row| row.until + GRACE > now);
        let left = holdings.iter().filter(|(lease, _)| is_left(lease));
        let bytes: u64 = left.map(|(_, holding)| holding.bytes.max(1)).sum();
        Ok(if holdings.keys().all(is_left) { bytes.max(pack.live.into()) } else { bytes })
    }

    /// Checks the next records, around and around.
    fn check_on(&self, now: Time, since: Span, done: &mut Upkept) -> Result<(), PackError> {
        let budget = worth(self.settings.scrub_rate, since);
        if budget == 0 {
            return Ok(());
        }
        let (number, at) = self.state().about.scrub;
        let next = self.state().packs.range(number..).next().map(|(number, _)| *number);
        let Some(found) = next else {
            self.state().about.scrub = (0, 0);
            return Ok(());
        };
        let at = if found == number { at } else { 0 };
        let slice = self.scrub(now, found, at, budget)?;
        done.checked += Bytes(slice.read);
        done.damaged += slice.damaged;
        let next = slice.next.map_or((found.saturating_add(1), 0), |next| (found, next));
        self.state().about.scrub = next;
        Ok(())
    }

    /// Takes rows out of the index whose packs are no more.
    fn sweep(&self, now: Time) -> Result<(), PackError> {
        let Some((id, lease)) = self.state().about.sweep else { return Ok(()) };
        let index = self.index();
        let rows = index.scan(&Key { id, lease }, SWEEP_ROWS)?;
        let mut state = self.state();
        for (key, place) in &rows {
            // What has changed since is newer than the row.
            if state.packs.contains_key(&place.pack) || state.recent.contains_key(key) {
                continue;
            }
            if place.surplus {
                state.about.surplus = state.about.surplus.saturating_sub(place.length.into());
            }
            state.report(now, *key, place.length, Why::Pack);
            state.recent.insert(*key, None);
        }
        state.about.sweep = match rows.last() {
            Some((last, _)) if rows.len() == SWEEP_ROWS => {
                Some((last.id, isos_base::LeaseId(last.lease.0.saturating_add(1))))
            }
            _ => None,
        };
        Ok(())
    }

    /// Forgets leases that have ended for good and hold nothing.
    fn forget_leases(&self, now: Time) {
        let mut state = self.state();
        let over = |row: &super::LeaseRow| row.count == 0 && row.until + GRACE <= now;
        let over: Vec<_> =
            state.leases.iter().filter(|(_, row)| over(row)).map(|(lease, _)| *lease).collect();
        for lease in over {
            state.drop_lease(lease);
        }
    }

    /// Whether it is worth looking for an ended pack.
    pub(super) fn has_empty_pack(&self, batch: &Batch) -> Option<u32> {
        let state = self.state();
        let mut empty = state.packs.iter().filter(|(n, pack)| pack.count == 0 && !batch.holds(**n));
        empty.next().map(|(number, _)| *number)
    }
}
