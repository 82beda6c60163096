//! What screens show, computed from what decides.

use std::ops::Bound;

use isos_base::api::{
    AccountView, ComplexStatus, HostCounts, HostState, HostView, JobView, TaskCounts,
};
use isos_base::key::PublicKey;
use isos_base::record::JobRecord;
use isos_base::{AccountId, Bytes, HostId, JobId, LeaseId, MicroCredits, TaskSet, Time};

use super::job::Job;
use super::place::looked_at;
use super::{Complex, Host};

/// Tasks of one lease that a host has not reported.
#[derive(Debug, Clone)]
pub struct TasksOut {
    /// Which lease.
    pub lease: LeaseId,
    /// Which tasks.
    pub tasks: TaskSet,
    /// For whom.
    pub buyer: AccountId,
    /// The most that each of them may leave.
    pub output_max: Bytes,
}

impl Complex {
    /// A job that is not over, or ended lately.
    #[must_use]
    pub fn job_view(&self, id: JobId) -> Option<JobView> {
        if let Some(job) = self.jobs.get(&id) {
            return Some(self.view_of(job));
        }
        self.ended.iter().rev().find(|view| view.id == id).cloned()
    }

    /// The host of a session that was welcomed and goes on.
    #[must_use]
    pub fn host_of(&self, session: super::SessionId) -> Option<HostId> {
        self.sessions.get(&session).copied()
    }

    /// The account that a host earns for, if it ever joined.
    #[must_use]
    pub fn account_of(&self, host: HostId) -> Option<AccountId> {
        self.hosts.get(&host).map(|host| host.record.account)
    }

    /// Whether a key may use a relay of the complex: that of a host may, unless it is barred or
    /// sent away, or was replaced.
    /// Nothing if nobody knows it.
    #[must_use]
    pub fn may_relay(&self, key: PublicKey) -> Option<bool> {
        self.hosts.get(&HostId(key)).map(|host| !host.is_out())
    }

    /// All jobs that are not over, of one account or of all, newest first.
    pub fn job_views(&self, account: Option<AccountId>) -> impl Iterator<Item = JobView> {
        let mine = move |job: &&Job| account.is_none_or(|account| job.record.account == account);
        self.jobs.values().rev().filter(mine).map(|job| self.view_of(job))
    }

    /// The view of a job that is over, from its record.
    #[must_use]
    pub fn ended_view(record: JobRecord) -> JobView {
        let total = record.spec.task_count();
        let JobRecord { done, failed, given_up, .. } = record;
        JobView {
            id: record.id,
            name: record.spec.name.clone(),
            account: record.account,
            state: record.state,
            tasks: TaskCounts { total, done, failed, given_up, ..TaskCounts::default() },
            submitted: record.submitted,
            ended: record.ended,
            price: record.price,
            why: record.why,
            unchecked: record.unchecked,
            held: MicroCredits::ZERO,
            spent: record.spent,
            hosts: 0,
            spec: record.spec,
            assured: None,
            resumed: Vec::new(),
        }
    }

    pub(super) fn view_of(&self, job: &Job) -> JobView {
        let mut hosts: Vec<HostId> = Vec::new();
        for lease in self.leases_of(job).filter(|lease| !lease.out.is_empty()) {
            hosts.push(lease.record.host);
        }
        hosts.sort_unstable();
        hosts.dedup();
        let record = job.full_record();
        // What is owed counts as spent: it will be posted within seconds.
        let owed = self.owed(job);
        JobView {
            tasks: job.counts(),
            spent: MicroCredits(record.spent.0 + owed.0),
            held: MicroCredits(self.remaining(job).0 - owed.0),
            hosts: hosts.len() as u32,
            resumed: self.resumed_views(job),
            ..Self::ended_view(record)
        }
    }

    /// A host.
    #[must_use]
    pub fn host_view(&self, id: HostId) -> Option<HostView> {
        self.hosts.get(&id).map(|host| self.host_view_of(host))
    }

    /// All hosts above `after`, by key; not those that have another key now.
    pub fn host_views(&self, after: Option<HostId>) -> impl Iterator<Item = HostView> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let hosts = self.hosts.range((from, Bound::Unbounded));
        let hosts = hosts.filter(|(_, host)| host.record.successor.is_none());
        hosts.map(|(_, host)| self.host_view_of(host))
    }

    /// The hosts of an account, by key.
    pub fn hosts_of(&self, account: AccountId) -> impl Iterator<Item = HostView> {
        let hosts = self.owners.hosts_of(account).inspect(|_| looked_at());
        hosts.filter_map(|id| self.host_view(id))
    }

    /// All keys that hosts of an account have and had, with the hosts' names.
    pub fn keys_of_hosts(&self, account: AccountId) -> impl Iterator<Item = (HostId, String)> {
        let keys = self.owners.keys_of(account).inspect(|_| looked_at());
        keys.filter_map(|id| Some((id, self.hosts.get(&id)?.record.spec.name.clone())))
    }

    fn host_view_of(&self, host: &Host) -> HostView {
        let record = &host.record;
        let out = host.leases.iter().filter_map(|id| self.leases.get(id));
        HostView {
            id: record.id,
            account: record.account,
            state: self.host_state(host),
            spec: record.spec.clone(),
            offer: host.session.as_ref().map(|session| session.offer.clone()),
            tasks: out.map(|lease| lease.out.count()).sum(),
            good: record.good,
            bad: record.bad,
            lost: record.lost,
            barred: record.barred.clone(),
            joined: record.joined,
            seen: if host.session.is_some() { self.now } else { record.seen },
        }
    }

    fn host_state(&self, host: &Host) -> HostState {
        let holds = !host.leases.is_empty();
        match &host.session {
            _ if host.record.barred.is_some() => HostState::Barred,
            None if holds => HostState::Lost,
            None => HostState::Asleep,
            Some(session) if session.offer.cores == 0 => HostState::Quiet,
            Some(_) if holds => HostState::Working,
            Some(_) => HostState::Idle,
        }
    }

    /// What a host has not reported yet, by lease.
    #[must_use]
    pub fn tasks_out(&self, host: HostId) -> Vec<TasksOut> {
        let leases = self.hosts.get(&host).into_iter().flat_map(|host| &host.leases);
        let leases = leases.filter_map(|id| self.leases.get(id));
        let out = leases.filter(|lease| !lease.out.is_empty()).filter_map(|lease| {
            let job = &self.jobs.get(&lease.record.job)?.record;
            let (lease, tasks) = (lease.record.id, lease.out.clone());
            Some(TasksOut { lease, tasks, buyer: job.account, output_max: job.spec.output_max })
        });
        out.collect()
    }

    /// An account.
    #[must_use]
    pub fn account_view(&self, id: AccountId) -> Option<AccountView> {
        let view = self.ledger.account_view(id)?;
        Some(AccountView {
            id,
            name: view.name,
            available: view.available,
            held: view.held,
            received: view.earned,
            paid: view.spent,
        })
    }

    /// The account of this name.
    #[must_use]
    pub fn account_named(&self, name: &str) -> Option<AccountId> {
        self.ledger.account_by_name(name)
    }

    /// All accounts.
    pub fn account_views(&self) -> impl Iterator<Item = AccountView> {
        self.ledger.accounts().filter_map(|record| self.account_view(record.id))
    }

    /// Whether a token was revoked.
    #[must_use]
    pub fn is_revoked(&self, id: &[u8]) -> bool {
        self.revoked.contains(id)
    }

    /// The complex at a glance. `started` is when this server began.
    #[must_use]
    pub fn status(&self, key: PublicKey, version: &str, started: Time) -> ComplexStatus {
        let mut hosts = HostCounts::default();
        for host in self.hosts.values() {
            *match self.host_state(host) {
                HostState::Working => &mut hosts.working,
                HostState::Idle => &mut hosts.idle,
                HostState::Asleep => &mut hosts.asleep,
                HostState::Quiet => &mut hosts.quiet,
                HostState::Lost => &mut hosts.lost,
                HostState::Barred => &mut hosts.barred,
            } += 1;
        }
        let (transfers, ledger_head) = self.ledger.head();
        let sum = |account: &isos_base::record::AccountRecord| {
            i128::from(account.credits_posted.0) - i128::from(account.debits_posted.0)
        };
        ComplexStatus {
            key,
            version: version.into(),
            up: self.now.since(started),
            hosts,
            cores: self.cores_offered,
            jobs: self.jobs.len() as u32,
            tasks_open: self.jobs.values().map(|job| u64::from(job.open())).sum(),
            transfers,
            ledger_head,
            ledger_sum: self.ledger.accounts().map(sum).sum(),
            ledger_wrong: None,
            price: self.price_outlook().0,
            engine: self.config.engine.clone(),
        }
    }
}
