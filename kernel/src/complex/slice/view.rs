//! What is shown of slices, and why a task on one waits.

use isos_base::api::{ReasonView, SliceView, SliverView};
use isos_base::record::SliceRecord;
use isos_base::slice::Sliver;
use isos_base::{AccountId, JobId, TaskRange};

use super::super::Complex;
use super::super::job::Job;

/// Waiting tasks of which an explanation tells one by one.
const SHOWN_MAX: usize = 32;

impl Complex {
    /// Slices that are not over, of one account or of all, the oldest first.
    pub fn slice_views(&self, account: Option<AccountId>) -> impl Iterator<Item = SliceView> {
        let mine = move |it: &&SliceRecord| account.is_none_or(|account| it.account == account);
        self.slices.open.values().filter(mine).map(|record| self.slice_view_of(record))
    }

    /// An open slice of an account.
    #[must_use]
    pub fn slice_view(&self, account: AccountId, name: &str) -> Option<SliceView> {
        let record = self.slice_named(account, name).ok()?;
        Some(self.slice_view_of(record))
    }

    pub(super) fn slice_view_of(&self, record: &SliceRecord) -> SliceView {
        let slivers = (0..).zip(&record.slivers);
        SliceView {
            id: record.id,
            name: record.name.clone(),
            account: record.account,
            constraint: record.constraint.clone(),
            made: record.made,
            until: record.until,
            state: record.state,
            ended: record.ended,
            slivers: slivers.filter_map(|(rank, it)| self.sliver_view(rank, it)).collect(),
            replaced: record.replaced.clone(),
        }
    }

    fn sliver_view(&self, rank: u32, sliver: &Sliver) -> Option<SliverView> {
        let host = self.host_view(sliver.host)?;
        let why = self.loss_of(sliver.host).map(|loss| match loss.at > self.now {
            true => format!("{}; replaced at {} if it does not come", loss.why, loss.at),
            false => format!("{}; no other host fits, one is looked for", loss.why),
        });
        Some(SliverView {
            rank,
            host: sliver.host,
            name: host.spec.name,
            owner: host.account,
            country: host.spec.country,
            state: host.state,
            since: sliver.since,
            away: self.away_since(sliver.host),
            why,
        })
    }

    /// For which hosts the tasks of a job on a slice wait.
    pub(in crate::complex) fn pinned_reasons(&self, job: &Job) -> Vec<ReasonView> {
        let waiting = job.waiting_tasks();
        let tasks = waiting.iter().flat_map(TaskRange::tasks).take(SHOWN_MAX);
        tasks.filter_map(|task| self.pinned_reason(job, task)).collect()
    }

    /// For which host a task on a slice waits.
    pub(in crate::complex) fn pinned_reason(&self, job: &Job, task: u32) -> Option<ReasonView> {
        let pinned = job.record.pinned.as_ref()?;
        let host = pinned.hosts.get(task as usize)?;
        let name = job.record.spec.slice.as_deref().unwrap_or_default();
        let mut why = format!("waits for host {} of slice {name}", host.short());
        if let Some(loss) = self.loss_of(*host) {
            why = format!("{why}, which is {}; given up at {}", loss.why, loss.at.max(self.now));
        } else if let Some(since) = job.pinned_since.get(&task) {
            why = format!("{why}; given up at {}", *since + self.config.slice_wait);
        }
        let remedy = format!("wait, or `isos slice show {name}`; no other host may run it");
        Some(ReasonView { about: format!("rank {task}"), why, remedy: Some(remedy) })
    }

    /// Whether a job runs on a slice: tests and checkers ask.
    #[must_use]
    pub fn is_pinned(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|job| job.record.pinned.is_some())
    }
}
