//! The collector: objects that nothing names any more leave the shelf, and results, remembered
//! replies and revocations leave when their time is over.
//!
//! Mark and sweep, by pages of candidates: objects that nobody has needed for a day, and those that
//! hosts handed over under leases that are gone. Whatever a job names that is not over, or whose
//! results are kept, stays, and is no candidate for the next day. An upload that no job has named
//! yet survives its first day. A sweep reads what all jobs name, so there is one a day, and one
//! more when hosts have left much.

use std::collections::HashSet;
use std::time::Duration;

use isos_base::api::Problem;
use isos_base::job::FileList;
use isos_base::record::{Accepted, JobRecord};
use isos_base::task::{OutputAt, TaskResult};
use isos_base::{Bytes, Guid, JobId, Span, Time, codec, limits};
use isos_db::Db;
use isos_disk::Shelf;
use thiserror::Error;

use crate::clock;
use crate::core::report;
use crate::objects::blocking;
use crate::server::Shared;
use crate::stock::Stock;

/// The first collection comes so long after the start: whatever the server was restarted for is
/// more urgent.
const FIRST_AFTER: Duration = Duration::from_secs(300);
/// Time between two collections.
const PERIOD: Duration = Duration::from_secs(3_600);
/// Time between two sweeps.
const SWEEP_PERIOD: Span = Span::secs(86_400);
/// Unless hosts have left so much that nobody will name.
const ORPHANS_MAX: Bytes = Bytes::gib(1);
/// An object that nobody has needed for so long goes, if nothing names it.
const UNNEEDED_FOR: Span = Span::secs(86_400);
/// Candidates that are looked for at once: 2 MiB of names, and one pass over all jobs.
const CANDIDATES_MAX: usize = 65_536;
/// Jobs that are read at once; each may have a thousand inputs.
const JOBS_AT_ONCE: u32 = 64;

/// What one collection did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Collected {
    /// Objects that went.
    objects: u64,
    /// Their bytes.
    bytes: Bytes,
    /// Jobs whose results went.
    jobs: u64,
}

/// Why a collection broke off. What it had removed is gone, and was nobody's.
#[derive(Debug, Error)]
enum CollectError {
    #[error("cannot read what jobs name")]
    Read(#[from] isos_db::ReadError),
    #[error("cannot delete what is over")]
    Commit(#[from] isos_db::CommitError),
    #[error("cannot change the shelf")]
    Shelf(#[from] isos_disk::ShelfError),
    #[error("the list of files {} of job {job} cannot be read", guid.short())]
    List {
        job: JobId,
        guid: Guid,
        #[source]
        source: codec::DecodeError,
    },
    #[error("a disk thread ended")]
    Thread(#[from] std::io::Error),
    #[error(transparent)]
    Stopping(#[from] Problem),
}

/// Collects for as long as the server runs.
pub(crate) async fn run(shared: std::sync::Arc<Shared>) {
    let mut stopping = shared.stopping.clone();
    let mut wait = FIRST_AFTER;
    let mut collector = Collector::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        wait = PERIOD;
        match collector.collect(&shared, clock::now()).await {
            Ok(Collected { objects: 0, jobs: 0, .. }) => {}
            Ok(Collected { objects, bytes, jobs }) => {
                tracing::info!("collected {objects} objects ({bytes}), results of {jobs} jobs");
            }
            Err(error) => tracing::error!("a collection broke off: {}", report(&error)),
        }
    }
}

/// What is remembered from one collection to the next.
#[derive(Debug, Default)]
struct Collector {
    orphans: Vec<Guid>,
    swept: Option<Time>,
}

impl Collector {
    async fn collect(&mut self, shared: &Shared, now: Time) -> Result<Collected, CollectError> {
        shared.db.forget_expired(now).await?;
        self.orphans.extend(orphans(shared).await?);
        let sizes = self.orphans.iter().filter_map(|guid| shared.shelf.size(guid));
        let many = sizes.map(|size| size.0).sum::<u64>() > ORPHANS_MAX.0;
        if !many && self.swept.is_some_and(|swept| now.since(swept) < SWEEP_PERIOD) {
            return Ok(Collected::default());
        }
        let (db, shelf, stock) = (&shared.db, &shared.shelf, &shared.store.stock);
        let house = House { db, shelf, stock, keep: shared.keep };
        if self.swept.is_none() {
            // What lay here before this server began is somebody's: nobody is spared, all are seen.
            house.spare_the_named(now, None).await?;
        }
        let collected = house.clean(now, std::mem::take(&mut self.orphans)).await?;
        stock.recount(shelf);
        self.swept = Some(now);
        Ok(collected)
    }
}

/// Objects that hosts have handed over under leases that are gone.
async fn orphans(shared: &Shared) -> Result<Vec<Guid>, CollectError> {
    let mut orphans = Vec::new();
    for host in shared.store.unclaimed.hosts() {
        let out = shared.core.query(move |complex, _| complex.tasks_out(host)).await?;
        if out.is_empty() {
            orphans.extend(shared.store.unclaimed.take_all(host));
        } else {
            let now = clock::now();
            for guid in shared.store.unclaimed.of(host) {
                // It will be named yet, however long the lease lasts.
                let _ = shared.shelf.need(&guid, now);
            }
        }
    }
    Ok(orphans)
}

/// Where there is something to clean.
struct House<'a> {
    db: &'a Db,
    shelf: &'a Shelf,
    stock: &'a Stock,
    keep: Option<Span>,
}

impl House<'_> {
    async fn clean(&self, now: Time, mut orphans: Vec<Guid>) -> Result<Collected, CollectError> {
        let jobs = self.forget_results(now, &mut orphans).await?;
        let mut collected = Collected { jobs, ..Default::default() };
        // An orphan has had its time; it goes unless somebody else needs it from now on.
        self.sweep(orphans, now, now, &mut collected).await?;
        let before = Time(now.0.saturating_sub(UNNEEDED_FOR.0));
        let mut after = None;
        loop {
            let page = self.shelf.unneeded(before, after, CANDIDATES_MAX);
            let Some(&last) = page.last() else { return Ok(collected) };
            after = Some(last);
            self.sweep(page, before, now, &mut collected).await?;
        }
    }

    /// Removes those candidates that nothing names and nobody has needed since `before`.
    async fn sweep(
        &self,
        candidates: Vec<Guid>,
        before: Time,
        now: Time,
        collected: &mut Collected,
    ) -> Result<(), CollectError> {
        if candidates.is_empty() {
            return Ok(());
        }
        let mut dead: HashSet<Guid> = candidates.iter().copied().collect();
        self.spare_the_named(now, Some(&mut dead)).await?;
        // A server that has been deposed meanwhile hears it here, before it removes anything that
        // the next leader may have taken into use.
        self.db.forget_expired(now).await?;
        let shelf = self.shelf.clone();
        let removed = blocking(move || {
            let mut removed = Vec::new();
            // Until a day from now nobody has to ask again; who loses his name now may go now.
            let seen = Time(now.0.saturating_sub(1));
            for guid in candidates.iter().filter(|guid| !dead.contains(guid)) {
                let _ = shelf.need(guid, seen);
            }
            for guid in dead {
                removed.push(shelf.remove_unneeded(&guid, before)?);
            }
            Ok::<_, isos_disk::ShelfError>(removed)
        });
        for bytes in removed.await?? {
            collected.objects += u64::from(bytes > Bytes::ZERO);
            collected.bytes += bytes;
        }
        Ok(())
    }

    /// Takes out of `dead` what jobs name, and notes whose that is.
    async fn spare_the_named(
        &self,
        now: Time,
        mut dead: Option<&mut HashSet<Guid>>,
    ) -> Result<(), CollectError> {
        let mut before = None;
        while dead.as_ref().is_none_or(|dead| !dead.is_empty()) {
            let jobs = self.db.jobs(None, before, JOBS_AT_ONCE).await?;
            let Some(last) = jobs.last() else { break };
            before = Some(last.id);
            for job in jobs {
                if !self.is_over_for_good(&job, now) {
                    self.spare_a_job(&job, dead.as_deref_mut()).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether the job ended so long ago that its results are not kept any more.
    fn is_over_for_good(&self, job: &JobRecord, now: Time) -> bool {
        match (self.keep, job.ended) {
            (Some(keep), Some(ended)) => ended + keep < now,
            _ => false,
        }
    }

    async fn spare_a_job(
        &self,
        job: &JobRecord,
        mut dead: Option<&mut HashSet<Guid>>,
    ) -> Result<(), CollectError> {
        let mut named = |guid: &Guid| {
            dead.as_mut().map(|dead| dead.remove(guid));
            if let Some(size) = self.shelf.size(guid) {
                self.stock.belongs(*guid, job.account, size);
            }
        };
        named(&job.spec.program);
        for input in &job.spec.inputs {
            named(&input.guid);
        }
        if let Some(list) = job.spec.each {
            named(&list);
            let shelf = self.shelf.clone();
            let bytes = blocking(move || shelf.read(&list, limits::FILE_LIST_BYTES_MAX)).await?;
            // A list that is lost names nothing; its job cannot run any more either.
            if let Ok(bytes) = bytes {
                let files: FileList = codec::decode(&bytes)
                    .map_err(|source| CollectError::List { job: job.id, guid: list, source })?;
                for file in files.files {
                    named(&file.guid);
                }
            }
        }
        let mut after = None;
        loop {
            let runs = self.db.saved(job.id, after, 64).await?;
            let Some(last) = runs.last() else { break };
            after = Some((last.lease, last.task));
            for run in &runs {
                let places = run.kept.iter().filter_map(|kept| kept.segments.checked_sub(1));
                for guid in places.filter_map(|place| run.roots.get(place as usize)) {
                    named(guid);
                }
            }
        }
        let mut spare = |result: &TaskResult| {
            if let OutputAt::Object(guid, _) = &result.output {
                named(guid);
            }
        };
        let mut after = None;
        loop {
            let batches = self.db.results(job.id, after, 1).await?;
            let Some(batch) = batches.last() else { break };
            after = Some(batch.batch);
            let accepted = batches.iter().flat_map(|batch| &batch.results);
            accepted
                .filter_map(|Accepted { result, .. }| result.as_ref().ok())
                .for_each(&mut spare);
        }
        let mut after = None;
        loop {
            let batches = self.db.votes(job.id, after, 16).await?;
            let Some(batch) = batches.last() else { return Ok(()) };
            after = Some((batch.lease, batch.batch));
            batches.iter().flat_map(|batch| &batch.results).for_each(&mut spare);
        }
    }

    /// Deletes results whose time is over; says of how many jobs, and which objects they were.
    async fn forget_results(
        &self,
        now: Time,
        outputs: &mut Vec<Guid>,
    ) -> Result<u64, CollectError> {
        if self.keep.is_none() {
            return Ok(0);
        }
        let (mut before, mut count) = (None, 0);
        loop {
            let jobs = self.db.jobs(None, before, JOBS_AT_ONCE).await?;
            let Some(last) = jobs.last() else { return Ok(count) };
            before = Some(last.id);
            for job in jobs.iter().filter(|job| self.is_over_for_good(job, now)) {
                let mut after = None;
                while let Some(batch) = self.db.results(job.id, after, 1).await?.pop() {
                    after = Some(batch.batch);
                    // What is too much for now has nobody's name tomorrow either.
                    let room = CANDIDATES_MAX.saturating_sub(outputs.len());
                    outputs.extend(batch.results.iter().filter_map(output).take(room));
                }
                if after.is_some() {
                    self.db.forget_results(job.id).await?;
                    count += 1;
                }
            }
        }
    }
}

/// The object that a result left, if it did.
fn output(accepted: &Accepted) -> Option<Guid> {
    match accepted.result.as_ref().ok()?.output {
        OutputAt::Object(guid, _) => Some(guid),
        OutputAt::Inline(_) => None,
    }
}

#[cfg(test)]
mod tests;
