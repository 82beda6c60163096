//! Writing: records at the ends of packs, one sync for all who wait, and the index behind them.
//!
//! Whoever wants to put something queues it and waits for the log. The one who gets it writes for
//! all in the queue; the others find their answers when it is their turn. So a batch is whatever
//! came while the disk was busy with the one before: there is no timer, and nobody alone waits for
//! company that does not come.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use isos_base::fragment::{FRAGMENT_BYTES_MAX, Groups};
use isos_base::{Bytes, Guid, LeaseId, Time};

use super::error::{PackError, Why, refused};
use super::index::{Bucket, Index, Key, LeaseRow, Place};
use super::record::{Header, Kind, record_bytes};
use super::state::{State, bucket_of};
use super::{Inner, Kept, PACKS_MAX, Put, lock};

/// Bytes of one batch; who comes later is in the next.
const BATCH_BYTES_MAX: usize = 64 << 20;
/// Written to a pack at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Packs that are appended to in turn: a year of weeks.
const OPEN_MAX: usize = 64;
/// When the index has failed, this many times more fragments may wait for it than usual.
const UNSAVED_FACTOR: usize = 4;

/// What only the one who writes needs.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Packs that are appended to.
    open: BTreeMap<Bucket, Open>,
    /// The index's last word was an error: it is opened again before it is asked for more.
    index_failed: bool,
    pub(super) upkeep: super::upkeep::Progress,
}

#[derive(Debug)]
struct Open {
    number: u32,
    file: Arc<File>,
}

/// The puts of one caller.
#[derive(Debug)]
pub(super) struct Job {
    now: Time,
    puts: Vec<Checked>,
    answers: Mutex<Option<Vec<Result<Kept, PackError>>>>,
}

/// Until when a fragment is kept, and where it is to lie if it is not here yet; or why not.
type Admitted = Result<(Time, Option<Place>), PackError>;

/// A fragment whose bytes are right, or why they are not.
#[derive(Debug)]
struct Checked {
    key: Key,
    bytes: Result<(Groups, Vec<u8>), PackError>,
}

/// A record for a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) header: Header,
    pub(super) hashes: &'a [u8],
    pub(super) bytes: &'a [u8],
}

/// Appends of one batch, by pack.
#[derive(Debug, Default)]
pub(super) struct Batch {
    tails: BTreeMap<u32, Tail>,
    /// Bytes that the batch adds.
    pub(super) bytes: u64,
}

#[derive(Debug)]
struct Tail {
    bucket: Bucket,
    file: Arc<File>,
    /// Where the buffer goes.
    at: u32,
    buffer: Vec<u8>,
    failed: Option<PackError>,
}

fn checked(put: Put) -> Checked {
    let Put { lease, id, bytes } = put;
    let length = bytes.len() as u64;
    let bytes = if (1..=u64::from(FRAGMENT_BYTES_MAX)).contains(&length) {
        match Groups::of(&bytes) {
            (got, groups) if got == id => Ok((groups, bytes)),
            (got, _) => Err(PackError::WrongBytes { wanted: id, got }),
        }
    } else {
        Err(PackError::Length { length })
    };
    Checked { key: Key { id, lease }, bytes }
}

impl Batch {
    /// Whether it writes to this pack.
    pub(super) fn holds(&self, number: u32) -> bool {
        self.tails.contains_key(&number)
    }
}

impl Job {
    fn bytes(&self) -> usize {
        self.puts.iter().map(|put| put.bytes.as_ref().map_or(0, |(_, bytes)| bytes.len())).sum()
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, Option<Vec<Result<Kept, PackError>>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    pub(super) fn put(&self, now: Time, puts: Vec<Put>) -> Vec<Result<Kept, PackError>> {
        // Hashing needs no lock: callers do it beside each other.
        let puts = puts.into_iter().map(checked).collect();
        let job = Arc::new(Job { now, puts, answers: Mutex::default() });
        lock(&self.queue).push(Arc::clone(&job));
        loop {
            let mut log = self.log();
            if let Some(answers) = job.answers().take() {
                return answers;
            }
            let jobs = self.next_jobs();
            self.write(&mut log, &jobs);
        }
    }

    /// The oldest jobs in the queue, as many as make a batch.
    fn next_jobs(&self) -> Vec<Arc<Job>> {
        let mut queue = lock(&self.queue);
        let mut bytes = 0;
        let fits = |job: &&Arc<Job>| {
            let first = bytes == 0;
            bytes += job.bytes();
            first || bytes <= BATCH_BYTES_MAX
        };
        let count = queue.iter().take_while(fits).count();
        queue.drain(..count).collect()
    }

    fn write(&self, log: &mut Log, jobs: &[Arc<Job>]) {
        let mut batch = Batch::default();
        // What each lease gets in this batch.
        let mut coming = BTreeMap::<LeaseId, u64>::new();
        let mut keys = BTreeSet::new();
        let mut twice = Vec::new();
        let mut answers: Vec<Vec<Option<Admitted>>> = Vec::new();
        for (at, job) in jobs.iter().enumerate() {
            let mut row = Vec::new();
            for (place, put) in job.puts.iter().enumerate() {
                if put.bytes.is_ok() && !keys.insert(put.key) {
                    twice.push((at, place));
                    row.push(None);
                    continue;
                }
                row.push(Some(self.admit(log, job.now, put, &mut batch, &mut coming)));
            }
            answers.push(row);
        }
        let failed = self.finish(log, batch);
        let mut done: Vec<Vec<Result<Kept, PackError>>> = Vec::new();
        {
            let index = self.index();
            let mut state = self.state();
            for (job, row) in jobs.iter().zip(answers) {
                let row = row.into_iter().zip(&job.puts).map(|(answer, put)| {
                    let Some(answer) = answer else {
                        return Err(PackError::Missing { id: put.key.id });
                    };
                    let (until, place) = answer?;
                    let Some(place) = place else { return Ok(Kept { until, had: true }) };
                    if let Some(error) = failed.get(&place.pack) {
                        return Err(error.clone());
                    }
                    state.place(&index, put.key, Some(place))?;
                    state.unsaved += u64::from(record_bytes(place.length));
                    Ok(Kept { until, had: false })
                });
                done.push(row.collect());
            }
        }
        // The same fragment twice in a batch: what became of the first is true of both.
        for (at, place) in twice {
            let key = jobs[at].puts[place].key;
            let first = jobs.iter().zip(&done).find_map(|(job, row)| {
                let first = job.puts.iter().position(|put| put.key == key && put.bytes.is_ok())?;
                row.get(first).cloned()
            });
            if let Some(first) = first {
                done[at][place] = first.map(|kept| Kept { had: true, ..kept });
            }
        }
        for (job, row) in jobs.iter().zip(done) {
            *job.answers() = Some(row);
        }
        self.checkpoint_if_due(log);
    }

    /// Whether the fragment is kept, until when, and where it is to lie if it is not here yet.
    fn admit(
        &self,
        log: &mut Log,
        now: Time,
        put: &Checked,
        batch: &mut Batch,
        coming: &mut BTreeMap<LeaseId, u64>,
    ) -> Admitted {
        let (groups, bytes) = put.bytes.as_ref().map_err(Clone::clone)?;
        let Key { id, lease } = put.key;
        let length = bytes.len() as u32;
        let row = {
            // The index before the state: always in this order.
            let index = self.index();
            let state = self.state();
            let row = *state.leases.get(&lease).ok_or(PackError::Lease { lease })?;
            if row.until <= now {
                return Err(PackError::Ended { lease, until: row.until });
            }
            if state.find(&index, &put.key)?.is_some() {
                return Ok((row.until, None));
            }
            let used = row.used + coming.get(&lease).copied().unwrap_or(0);
            if used + u64::from(length) > row.bytes {
                let (wanted, used, bytes) = (Bytes(length.into()), Bytes(used), Bytes(row.bytes));
                return Err(PackError::LeaseFull { lease, wanted, used, bytes });
            }
            self.may_wait(log, &state)?;
            row
        };
        let bucket = bucket_of(Kind::Fragment, row.class, row.until);
        self.make_room(log, now, batch, u64::from(record_bytes(length)), bucket)?;
        let LeaseRow { account, until, class, .. } = row;
        let header = Header { kind: Kind::Fragment, id, length, lease, account, until, class };
        let record = Record { header, hashes: groups.as_bytes(), bytes };
        let (pack, offset) = self.append(log, batch, bucket, record)?;
        *coming.entry(lease).or_default() += u64::from(length);
        Ok((row.until, Some(Place { pack, offset, length, surplus: false })))
    }

    /// Whether something more may wait for the index.
    pub(super) fn may_wait(&self, log: &Log, state: &State) -> Result<(), PackError> {
        let max = self.settings.unsaved_max.saturating_mul(UNSAVED_FACTOR);
        if log.index_failed && state.waiting() >= max {
            return Err(PackError::TooMany { what: "fragments without index", max });
        }
        Ok(())
    }

    /// Puts a record at the end of a pack of its bucket. It counts when [`Self::finish`] says so.
    pub(super) fn append(
        &self,
        log: &mut Log,
        batch: &mut Batch,
        bucket: Bucket,
        record: Record<'_>,
    ) -> Result<(u32, u32), PackError> {
        let bytes = record_bytes(record.header.length);
        let number = self.open_pack(log, batch, bucket, bytes)?;
        let Some(tail) = batch.tails.get_mut(&number) else {
            return Err(PackError::Missing { id: record.header.id });
        };
        if let Some(error) = &tail.failed {
            return Err(error.clone());
        }
        let offset = tail.at + tail.buffer.len() as u32;
        record.header.write(number, &mut tail.buffer);
        tail.buffer.extend(record.hashes);
        tail.buffer.extend(record.bytes);
        batch.bytes += u64::from(bytes);
        if tail.buffer.len() >= CHUNK_BYTES {
            self.flush(number, tail);
        }
        Ok((number, offset))
    }

    /// The number of a pack of this bucket that takes so much more, with a tail in the batch.
    fn open_pack(
        &self,
        log: &mut Log,
        batch: &mut Batch,
        bucket: Bucket,
        bytes: u32,
    ) -> Result<u32, PackError> {
        let full = self.settings.pack_bytes.0.min(u64::from(u32::MAX / 2));
        if let Some(open) = log.open.get(&bucket) {
            let number = open.number;
            let end = match batch.tails.get(&number) {
                Some(tail) => u64::from(tail.at) + tail.buffer.len() as u64,
                None => self.state().packs.get(&number).map_or(u64::MAX, |pack| pack.length.into()),
            };
            // A pack has one record at the least, however long.
            if end == 0 || end.saturating_add(bytes.into()) <= full {
                self.add_tail(log, batch, bucket, number);
                return Ok(number);
            }
            log.open.remove(&bucket);
            if let Some(pack) = self.state().pack_mut(number) {
                pack.sealed = true;
            }
        }
        if log.open.len() >= OPEN_MAX {
            log.open.pop_first();
        }
        let number = {
            let mut state = self.state();
            let begun = state.packs.iter().find(|(_, pack)| {
                !pack.sealed && pack.bucket == bucket && u64::from(pack.length + bytes) <= full
            });
            match begun {
                Some((number, _)) => *number,
                None if state.packs.len() >= PACKS_MAX => {
                    return Err(PackError::TooMany { what: "packs", max: PACKS_MAX });
                }
                None => state.new_pack(bucket),
            }
        };
        let path = self.pack_path(number);
        let created = self.storage.open(&path).and_then(|file| {
            self.storage.sync_folder(&self.dir)?;
            Ok(file)
        });
        let file = match created {
            Ok(file) => Arc::new(file),
            Err(error) => {
                // Without a record it is nobody's; a file of that name is rubbish.
                let index = self.index();
                let mut state = self.state();
                if state.packs.get(&number).is_some_and(|pack| pack.length == 0) {
                    state.forget_pack(&index, number)?;
                }
                return Err(refused("create", &path, error));
            }
        };
        log.open.insert(bucket, Open { number, file });
        self.add_tail(log, batch, bucket, number);
        Ok(number)
    }

    fn add_tail(&self, log: &Log, batch: &mut Batch, bucket: Bucket, number: u32) {
        let Some(open) = log.open.get(&bucket) else { return };
        let length = self.state().packs.get(&number).map_or(0, |pack| pack.length);
        batch.tails.entry(number).or_insert_with(|| Tail {
            bucket,
            file: Arc::clone(&open.file),
            at: length,
            buffer: Vec::new(),
            failed: None,
        });
    }

    fn flush(&self, number: u32, tail: &mut Tail) {
        if tail.failed.is_some() || tail.buffer.is_empty() {
            return;
        }
        let path = self.pack_path(number);
        match self.storage.write_at(&tail.file, &path, tail.at.into(), &tail.buffer) {
            Ok(()) => {
                tail.at += tail.buffer.len() as u32;
                tail.buffer.clear();
            }
            Err(error) => tail.failed = Some(refused("write", &path, error)),
        }
    }

    /// Writes and syncs the batch; gives the packs of which nothing counts, and why.
    pub(super) fn finish(&self, log: &mut Log, batch: Batch) -> BTreeMap<u32, PackError> {
        let mut failed = BTreeMap::new();
        for (number, mut tail) in batch.tails {
            self.flush(number, &mut tail);
            let path = self.pack_path(number);
            if tail.failed.is_none()
                && let Err(error) = self.storage.sync(&tail.file, &path)
            {
                // Nobody knows what is on the disk now, so nothing may come behind it.
                if let Some(pack) = self.state().pack_mut(number) {
                    pack.sealed = true;
                }
                log.open.remove(&tail.bucket);
                tail.failed = Some(refused("sync", &path, error));
            }
            match tail.failed {
                None => self.state().set_length(number, tail.at),
                Some(error) => {
                    // Half a batch behind the end would be read again after a crash, though nobody
                    // was told that it is kept. Best effort: it does no harm.
                    let end = self.state().packs.get(&number).map_or(0, |pack| pack.length);
                    let _ = self.storage.set_len(&tail.file, &path, end.into());
                    failed.insert(number, error);
                }
            }
        }
        failed
    }

    /// Nothing more is appended to the pack.
    pub(super) fn close_pack(&self, log: &mut Log, number: u32) {
        log.open.retain(|_, open| open.number != number);
        lock(&self.files).remove(&number);
    }

    /// Whether somebody appends to the pack.
    pub(super) fn is_open(&self, log: &Log, number: u32) -> bool {
        log.open.values().any(|open| open.number == number)
    }

    pub(super) fn remove(&self, lease: LeaseId, ids: &[Guid]) -> Result<u32, PackError> {
        let mut log = self.log();
        let mut removed = 0;
        {
            let index = self.index();
            let mut state = self.state();
            for id in ids {
                let old = state.place(&index, Key { id: *id, lease }, None)?;
                removed += u32::from(old.is_some());
            }
        }
        if removed > 0 {
            self.checkpoint(&mut log)?;
        }
        Ok(removed)
    }

    /// Drops what readers found damaged, if it still lies where they found it.
    pub(super) fn drop_damaged(&self, now: Time) -> Result<u64, PackError> {
        let index = self.index();
        let mut state = self.state();
        let mut dropped = 0;
        for (key, place) in std::mem::take(&mut state.damaged_keys) {
            state.damaged.remove(&(place.pack, place.offset));
            let found = state.find(&index, &key)?;
            if found.is_some_and(|at| (at.pack, at.offset) == (place.pack, place.offset)) {
                state.place(&index, key, None)?;
                state.report(now, key, place.length, Why::Damaged);
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    pub(super) fn checkpoint_if_due(&self, log: &mut Log) {
        let due = {
            let state = self.state();
            state.waiting() >= self.settings.unsaved_max
                || state.unsaved >= self.settings.unsaved_bytes_max.0
        };
        if due {
            // What is acknowledged is in the packs; the index is tried again with the next batch.
            let _ = self.checkpoint(log);
        }
    }

    /// Writes everything into the index that is not in it yet.
    pub(super) fn checkpoint(&self, log: &mut Log) -> Result<(), PackError> {
        if log.index_failed {
            self.reopen_index()?;
            log.index_failed = false;
        }
        let changes = {
            let state = self.state();
            if !state.is_unsaved() {
                return Ok(());
            }
            state.changes()
        };
        let index = self.index();
        match index.commit(Some(&changes)) {
            Ok(()) => {
                self.state().saved(index.bytes());
                Ok(())
            }
            Err(error) => {
                log.index_failed = true;
                Err(error)
            }
        }
    }

    /// A database that has met an error wants to be opened again.
    fn reopen_index(&self) -> Result<(), PackError> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        // The old one first: it may have something left to write.
        index.close();
        *index = Index::open(&self.storage, &super::open::index_path(&self.dir))?;
        Ok(())
    }
}
