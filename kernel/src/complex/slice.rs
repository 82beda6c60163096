//! Slices: hosts that an account holds together by a name, as one distributed virtual machine.
//!
//! A slice lends the right to run on each of its hosts; it takes nothing from anybody else and
//! costs nothing by itself. A job that names one has as many tasks as the slice has hosts, and each
//! task is pinned: it runs on the host of its rank and on no other, and is paid as any work is. A
//! host that is barred, or away for long, is replaced by another of the kind, which gets its rank;
//! what had been pinned to the first is given up, with the reason. When a slice ends, so do the
//! jobs on it.
//!
//! Programs of one slice can address each other: `peers` says who they are and when they begin.
//! What they say goes from host to host.

mod check;
mod choose;
mod peers;
mod view;
mod watch;

use std::collections::{BTreeMap, BTreeSet};

use isos_base::api::{Problem, ProblemCode, SliceChange, SliceRequest};
use isos_base::audit::Deed;
use isos_base::job::JobSpec;
use isos_base::record::{Change, Pinned, SliceRecord};
use isos_base::slice::{
    SLICE_HOSTS_MAX, SLICE_NAME, SLICE_TERM_MAX, SLICE_TERM_MIN, SliceState, Sliver, is_slice_name,
};
use isos_base::{AccountId, HostId, JobId, SliceId, Span, Time};
use serde::{Deserialize, Serialize};

use super::explain::counted;
use super::{Complex, Effect, Reply, request_hash};

/// Slices of one account that are not over.
const ACCOUNT_SLICES_MAX: usize = 32;
/// Hosts of all slices together, each counted once for each slice: about a megabyte.
const SLIVERS_MAX: usize = 16_384;
/// After something has changed, all slices are looked at so much later: once for all of it.
pub(super) const SLICES_SEEN_AFTER: Span = Span::secs(1);

/// What can be asked for about slices.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum SliceCall {
    /// Put hosts together.
    Make {
        /// Whose.
        account: AccountId,
        /// What.
        request: Box<SliceRequest>,
    },
    /// More or fewer hosts, or another end.
    Change {
        /// Whose.
        account: AccountId,
        /// Which.
        name: String,
        /// What to change.
        change: SliceChange,
    },
    /// Give a slice up.
    Drop {
        /// Whose.
        account: AccountId,
        /// Which.
        name: String,
    },
}

/// What the machine knows of slices.
#[derive(Debug, Default)]
pub(super) struct Slices {
    /// Those that are not over.
    open: BTreeMap<SliceId, SliceRecord>,
    names: BTreeMap<(AccountId, String), SliceId>,
    /// Which slices a host is of.
    of_host: BTreeMap<HostId, BTreeSet<SliceId>>,
    /// Hosts of all of them, as [`SLIVERS_MAX`] counts.
    slivers: usize,
    last: SliceId,
    /// Jobs on slices; some may be over since the last look.
    jobs: BTreeSet<JobId>,
    /// When they are looked at again.
    look: Option<Time>,
    /// Jobs whose programs address their peers.
    speaking: BTreeMap<JobId, peers::Speaking>,
    /// Nobody was there before the server began: who is away has been so since then at most.
    begun: Time,
}

impl Slices {
    /// When something is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.look
    }

    /// All of them are looked at then, or before.
    pub(super) fn look_at(&mut self, at: Time) {
        if !self.open.is_empty() || !self.jobs.is_empty() {
            self.look = Some(self.look.map_or(at, |look| look.min(at)));
        }
    }

    /// Whether a host is of a slice: it keeps its connection, so that it gets work at once.
    pub(super) fn has(&self, host: HostId) -> bool {
        self.of_host.contains_key(&host)
    }

    /// Takes a slice in as it is now, in place of what it was.
    fn put(&mut self, new: SliceRecord) {
        let id = new.id;
        if let Some(old) = self.open.remove(&id) {
            self.names.remove(&(old.account, old.name.clone()));
            self.slivers -= old.slivers.len();
            for sliver in &old.slivers {
                if let Some(slices) = self.of_host.get_mut(&sliver.host) {
                    slices.remove(&id);
                    if slices.is_empty() {
                        self.of_host.remove(&sliver.host);
                    }
                }
            }
        }
        if new.state != SliceState::Open {
            return;
        }
        self.names.insert((new.account, new.name.clone()), id);
        self.slivers += new.slivers.len();
        for sliver in &new.slivers {
            self.of_host.entry(sliver.host).or_default().insert(id);
        }
        self.open.insert(id, new);
    }
}

fn refused(message: String) -> Problem {
    Problem::new(ProblemCode::Refused, message)
}

fn usage(message: String) -> Problem {
    Problem::new(ProblemCode::Usage, message)
}

impl Complex {
    pub(super) fn slice_call(
        &mut self,
        call: SliceCall,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        let record = match call {
            SliceCall::Make { account, request } => self.make_slice(account, *request, effects),
            SliceCall::Change { account, name, change } => {
                self.change_slice(account, &name, change, effects)
            }
            SliceCall::Drop { account, name } => {
                let id = self.slice_named(account, &name)?.id;
                Ok(self.end_slice(id, SliceState::Dropped, effects))
            }
        }?;
        Ok(Reply::Slice(Box::new(self.slice_view_of(&record))))
    }

    /// The open slice of this name.
    fn slice_named(&self, account: AccountId, name: &str) -> Result<&SliceRecord, Problem> {
        let id = self.slices.names.get(&(account, name.to_owned()));
        id.and_then(|id| self.slices.open.get(id)).ok_or_else(|| {
            let message = format!("there is no slice {name:?}: `isos slice list` shows them");
            Problem::new(ProblemCode::NotFound, message)
        })
    }

    fn make_slice(
        &mut self,
        account: AccountId,
        mut request: SliceRequest,
        effects: &mut Vec<Effect>,
    ) -> Result<SliceRecord, Problem> {
        let key = request.key.take();
        let hash = request_hash(&request);
        if let Some(made) = self.remembered(account, key.as_deref(), hash)? {
            let known = self.slices.open.get(&SliceId(made.0));
            return known.cloned().ok_or_else(|| {
                let message =
                    format!("slice {:?} was made with this key and is over", request.name);
                Problem::new(ProblemCode::NotFound, message)
            });
        }
        self.room_for_key(account, key.as_deref())?;
        let SliceRequest { name, hosts, constraint, until, .. } = request;
        if !is_slice_name(&name) {
            return Err(usage(format!("{name:?} is no name of a slice: use {SLICE_NAME}")));
        }
        check_hosts(hosts)?;
        check_end(self.now, until)?;
        if self.slices.names.contains_key(&(account, name.clone())) {
            return Err(refused(format!(
                "there is a slice {name:?} already: choose another name, or `isos slice drop {name}`"
            )));
        }
        let own = self.slices.names.range((account, String::new())..);
        let own = own.take_while(|((of, _), _)| *of == account).count();
        if own >= ACCOUNT_SLICES_MAX {
            return Err(refused(format!(
                "account {account} has {own} slices, which is the limit: drop one"
            )));
        }
        self.room_for_slivers(hosts)?;
        let found = self.choose_slivers(account, constraint.as_deref(), &[], hosts)?;
        let slivers = found.into_iter().map(|host| Sliver { host, since: self.now }).collect();
        let id = SliceId(self.slices.last.0 + 1);
        self.slices.last = id;
        let record = SliceRecord {
            id,
            account,
            name: name.clone(),
            constraint,
            made: self.now,
            until,
            state: SliceState::Open,
            ended: None,
            slivers,
            replaced: Vec::new(),
        };
        self.keep_slice(record.clone(), effects);
        self.audit(Some(account), Deed::SliceMade { slice: id, name, hosts, until }, effects);
        self.remember(account, key, hash, JobId(id.0), effects);
        Ok(record)
    }

    fn change_slice(
        &mut self,
        account: AccountId,
        name: &str,
        change: SliceChange,
        effects: &mut Vec<Effect>,
    ) -> Result<SliceRecord, Problem> {
        let mut record = self.slice_named(account, name)?.clone();
        let before = record.clone();
        if let Some(until) = change.until {
            check_end(self.now, until)?;
            record.until = until;
        }
        if let Some(hosts) = change.hosts {
            check_hosts(hosts)?;
            let has = u32::try_from(record.slivers.len()).unwrap_or(u32::MAX);
            if let Some(more) = hosts.checked_sub(has).filter(|more| *more > 0) {
                self.room_for_slivers(more)?;
                let beside: Vec<HostId> = record.slivers.iter().map(|it| it.host).collect();
                let constraint = record.constraint.as_deref();
                let found = self.choose_slivers(account, constraint, &beside, more)?;
                record
                    .slivers
                    .extend(found.into_iter().map(|host| Sliver { host, since: self.now }));
            }
            record.slivers.truncate(hosts as usize);
        }
        if record == before {
            return Ok(record);
        }
        self.keep_slice(record.clone(), effects);
        let deed = Deed::SliceChanged {
            slice: record.id,
            name: record.name.clone(),
            hosts: u32::try_from(record.slivers.len()).unwrap_or(u32::MAX),
            until: record.until,
        };
        self.audit(Some(account), deed, effects);
        Ok(record)
    }

    fn room_for_slivers(&self, hosts: u32) -> Result<(), Problem> {
        if self.slices.slivers + hosts as usize <= SLIVERS_MAX {
            return Ok(());
        }
        let message = format!(
            "all slices together have {} hosts, the limit is {SLIVERS_MAX}: try later",
            self.slices.slivers
        );
        Err(Problem::new(ProblemCode::Busy, message))
    }

    /// A slice is like this from now on.
    fn keep_slice(&mut self, record: SliceRecord, effects: &mut Vec<Effect>) {
        effects.push(Effect::Keep(Change::Slice(Box::new(record.clone()))));
        self.slices.put(record);
        // Who is away, what is to be given up, and when it ends.
        self.slices.look_at(self.now + SLICES_SEEN_AFTER);
    }

    /// Ends a slice, and the jobs on it.
    fn end_slice(
        &mut self,
        id: SliceId,
        state: SliceState,
        effects: &mut Vec<Effect>,
    ) -> SliceRecord {
        let known = self.slices.open.get(&id).expect("the caller has looked it up");
        let record = SliceRecord { state, ended: Some(self.now), ..known.clone() };
        self.keep_slice(record.clone(), effects);
        let deed = Deed::SliceEnded { slice: id, name: record.name.clone(), state };
        self.audit(Some(record.account), deed, effects);
        self.end_jobs_on(&record, effects);
        record
    }

    /// On which hosts the tasks of a job run, if it names a slice.
    pub(super) fn pin(
        &self,
        account: AccountId,
        spec: &JobSpec,
    ) -> Result<Option<Pinned>, Problem> {
        let Some(name) = &spec.slice else { return Ok(None) };
        let record = self.slice_named(account, name)?;
        if spec.count as usize != record.slivers.len() {
            return Err(refused(format!(
                "slice {name} has {}, the job {}: it runs as many tasks as there are hosts, each \
                 on its own",
                counted(record.slivers.len() as u64, "host"),
                counted(spec.count.into(), "task"),
            )));
        }
        let hosts = record.slivers.iter().map(|sliver| sliver.host).collect();
        Ok(Some(Pinned { slice: record.id, hosts }))
    }

    /// A job on a slice was taken.
    pub(super) fn note_pinned(&mut self, job: JobId) {
        if self.jobs.get(&job).is_some_and(|job| job.record.pinned.is_some()) {
            self.slices.jobs.insert(job);
            self.slices.look_at(self.now + SLICES_SEEN_AFTER);
        }
    }
}

fn check_hosts(hosts: u32) -> Result<(), Problem> {
    if (1..=SLICE_HOSTS_MAX).contains(&(hosts as usize)) {
        return Ok(());
    }
    Err(usage(format!("a slice has 1 to {SLICE_HOSTS_MAX} hosts, not {hosts}")))
}

fn check_end(now: Time, until: Time) -> Result<(), Problem> {
    if (now + SLICE_TERM_MIN..=now + SLICE_TERM_MAX).contains(&until) {
        return Ok(());
    }
    Err(usage(format!(
        "a slice lasts from {SLICE_TERM_MIN} to {SLICE_TERM_MAX} from now and is then renewed; this \
         one would end at {until}, it is {now}"
    )))
}
