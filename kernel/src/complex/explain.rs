//! Why: all reasons, with the number and the remedy, from the structures that decide.

mod account;
mod host;
mod price;
mod reservation;
mod trust;

use std::collections::{BTreeMap, BTreeSet};

use isos_base::api::{Explanation, JobView, ReasonView};
use isos_base::host::HostSpec;
use isos_base::record::{Accepted, JobState, TaskState};
use isos_base::{AccountId, Bytes, HostId, JobId, TaskId, Time};

use self::trust::tied;
use super::Complex;
use super::crowd::{Look, Looks, REPLACED};
use super::job::Job;
use super::place::{Unfit, affordable, charge_max, looked_at, unfits};
use crate::verify::Rule;

/// Classes of hosts that an explanation lists, those with the most hosts first.
const CLASSES_SHOWN_MAX: usize = 100;

/// `1 host`, `2 hosts`.
pub(super) fn counted(count: u64, name: &str) -> String {
    if count == 1 { format!("1 {name}") } else { format!("{count} {name}s") }
}

impl Complex {
    /// Why a job stands where it stands. `None` if it is not known to this machine.
    pub fn explain_job(&mut self, id: JobId) -> Option<Explanation> {
        let view = self.job_view(id)?;
        let Some(mut job) = self.jobs.remove(&id) else {
            return Some(Self::explain_ended(&view));
        };
        let mut reasons = Vec::new();
        let tasks = view.tasks;
        let looks = self.looks(&job);
        if job.waiting() > 0 {
            reasons.extend(self.pinned_reasons(&job));
            reasons.extend(self.obstacles(&mut job, &looks));
            reasons.extend(self.budget(&job));
            reasons.extend(self.turn(&job));
        }
        for (host, avoided) in &job.avoid {
            let (count, why) = (avoided.count, &avoided.why);
            let again = match avoided.until > self.now {
                true => format!("; it gets more at {}", avoided.until),
                false => String::new(),
            };
            reasons.push(ReasonView {
                about: format!("host {}", host.short()),
                why: match avoided.wrong {
                    true => format!("{why}{again}"),
                    false => {
                        let failed = counted(count.into(), "failed attempt");
                        format!("{failed} in a row; the last: {why}{again}")
                    }
                },
                remedy: Some("other hosts may have more luck; it is tried again by itself".into()),
            });
        }
        let fit: u32 = self.fitting(&mut job, &looks).map(|look| look.hosts).sum();
        let lacking = self.lacking_voters(&mut job, &looks);
        if job.open() > 0 {
            reasons.extend(lacking.clone());
            reasons.extend(self.lacking_checks(&mut job, &looks));
            reasons.extend(tied(&job, None));
        }
        reasons.extend(unchecked(&view));
        let verdict = if tasks.running + tasks.checking > 0 {
            format!(
                "running: {} of {} ended, {} with {}, {} waiting",
                tasks.done + tasks.failed + tasks.given_up,
                counted(tasks.total.into(), "task"),
                tasks.running,
                counted(view.hosts.into(), "host"),
                tasks.waiting
            )
        } else if fit == 0 && job.record.pinned.is_some() {
            match job.waiting() {
                1 => "waiting for 1 host of its slice, which cannot run it now".into(),
                hosts => {
                    format!("waiting for {hosts} hosts of its slice, of which none can run it now")
                }
            }
        } else if fit == 0 {
            match self.hosts.len() {
                0 => "waiting: there are no hosts".into(),
                1 => "waiting: the only host cannot run it now".into(),
                hosts => format!("waiting: none of {hosts} hosts can run it now"),
            }
        } else if lacking.is_some() {
            "waiting: too few independent hosts can run it now".into()
        } else if affordable(&job, self.remaining(&job)) == 0 {
            "waiting: what is left of its hold does not pay for one more task".into()
        } else {
            format!("waiting for its turn: {} can run it", counted(fit.into(), "host"))
        };
        self.jobs.insert(id, job);
        Some(Explanation { about: format!("job {id}"), verdict, reasons })
    }

    /// Hosts that cannot run a job, by class, each class with all its reasons.
    pub(super) fn obstacles(&self, job: &mut Job, looks: &Looks<'_>) -> Vec<ReasonView> {
        let mut groups: BTreeMap<(HostSpec, Vec<Unfit>), (u32, Time)> = BTreeMap::new();
        // Those that have another key stand there under that.
        let known = |look: &&Look<'_>| look.kept_out.as_deref() != Some(REPLACED);
        for look in looks.looks.iter().filter(known) {
            let reasons = if let Some(why) = &look.kept_out {
                vec![Unfit::KeepsFailing(why.clone())]
            } else {
                unfits(job, &look.seen, &self.market, self.now, false)
            };
            if !reasons.is_empty() {
                let class = self.classes.spec(look.class).clone();
                let (hosts, wakes) = groups.entry((class, reasons)).or_insert((0, look.wakes));
                *hosts += look.hosts;
                *wakes = (*wakes).min(look.wakes);
            }
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, (hosts, _))| std::cmp::Reverse(*hosts));
        let mut reasons = Vec::new();
        for ((class, unfit), (hosts, wakes)) in groups.into_iter().take(CLASSES_SHOWN_MAX) {
            let about = format!(
                "{hosts} host{} ({} {}, {} core{}, {})",
                if hosts == 1 { "" } else { "s" },
                class.os,
                class.arch,
                class.cpus,
                if class.cpus == 1 { "" } else { "s" },
                class.memory
            );
            let wanted = self.config.engine.as_ref().filter(|engine| **engine != class.engine);
            if let Some(engine) = wanted {
                reasons.push(ReasonView {
                    about: about.clone(),
                    why: format!(
                        "its engine is {}, this complex compares results of {engine}",
                        class.engine
                    ),
                    remedy: Some("its owner has to update isos".into()),
                });
            }
            for reason in unfit {
                reasons.push(describe(&about, &reason, job, wakes));
            }
        }
        reasons.extend(looks.unseen_reason());
        if self.hosts.is_empty() {
            reasons.push(ReasonView {
                about: "hosts".into(),
                why: "no host has joined this complex".into(),
                remedy: Some("run `isos ticket`, and `isos join TICKET` on a machine".into()),
            });
        }
        reasons
    }

    /// Those that can run a job now.
    pub(super) fn fitting<'l>(
        &self,
        job: &mut Job,
        looks: &'l Looks<'_>,
    ) -> impl Iterator<Item = &'l Look<'l>> {
        looks.looks.iter().filter(move |look| {
            look.kept_out.is_none()
                && look.seen.id.is_none_or(|id| job.waits_for(id))
                && unfits(job, &look.seen, &self.market, self.now, true).is_empty()
        })
    }

    /// What a quorum lacks, if the hosts that can run the job now are too few of each other's
    /// strangers to make one.
    pub(super) fn lacking_voters(&self, job: &mut Job, looks: &Looks<'_>) -> Option<ReasonView> {
        let Some(Rule::Quorum { agree, .. }) = job.rule() else { return None };
        let (mut owners, mut blocks) = (BTreeSet::new(), BTreeSet::new());
        let (mut hosts, mut independent) = (0, 0);
        for look in self.fitting(job, looks) {
            hosts += look.hosts;
            for (owner, block) in look.places() {
                if independent >= u32::from(agree) {
                    return None;
                }
                if !owners.contains(&owner) && block.is_none_or(|block| blocks.insert(block)) {
                    owners.insert(owner);
                    independent += 1;
                }
            }
        }
        if hosts == 0 || independent >= u32::from(agree) {
            return None;
        }
        let (mut has, mut s) = (format!("{independent} of them independent"), "s");
        if hosts == 1 {
            (has, s) = ("that is one owner".into(), "");
        }
        Some(ReasonView {
            about: "quorum".into(),
            why: format!(
                "{agree} hosts of different owners and networks must agree on every task; {hosts} \
                 host{s} can run it now, {has}"
            ),
            remedy: Some("wait for hosts of other owners, or submit with --verify trusted".into()),
        })
    }

    fn budget(&self, job: &Job) -> Option<ReasonView> {
        let remaining = self.remaining(job);
        let more = affordable(job, remaining);
        if more >= job.waiting() {
            return None;
        }
        Some(ReasonView {
            about: "budget".into(),
            why: format!(
                "{} of the hold is left, {} of it set aside for running tasks; one task may cost \
                 {}, so {more} more can start now",
                remaining,
                job.reserved,
                charge_max(job)
            ),
            remedy: Some("lower --fuel, or submit with a higher --max-price".into()),
        })
    }

    fn turn(&self, job: &Job) -> Option<ReasonView> {
        let before = self.accounts_before(job.record.account)?;
        let (s, comes) = if before == 1 { ("", "comes") } else { ("s", "come") };
        (before > 0).then(|| ReasonView {
            about: "fair share".into(),
            why: format!("{before} account{s} with jobs that used less lately {comes} first"),
            remedy: Some("wait: its turn comes as the others use more".into()),
        })
    }

    /// Accounts with waiting jobs whose turn is before this one's, if it has any itself.
    fn accounts_before(&self, account: AccountId) -> Option<usize> {
        self.share.accounts().position(|other| other == account)
    }

    /// Why a task stands where it stands, as far as this machine knows it.
    #[must_use]
    pub fn explain_task(&self, id: TaskId) -> Option<Explanation> {
        let job = self.jobs.get(&id.job)?;
        if !job.record.spec.has_task(id.task) {
            return None;
        }
        let mut reasons = Vec::new();
        if job.is_waiting(id.task) {
            reasons.extend(self.pinned_reason(job, id.task));
        }
        let holders = self.leases_of(job).filter(|lease| lease.out.contains(id.task));
        for lease in holders {
            let (lease, about) = (&lease.record, format!("host {}", lease.record.host.short()));
            let saved = job.saved_text(lease.id, id.task);
            let why = format!("has it under lease {} until {}", lease.id, lease.deadline);
            let why = saved.map_or_else(|| why.clone(), |saved| format!("{why}; {saved}"));
            reasons.push(ReasonView { about, why, remedy: None });
        }
        if let Some(ballot) = job.ballots.get(&id.task) {
            for vote in &ballot.votes {
                reasons.push(ReasonView {
                    about: format!("host {}", vote.host.short()),
                    why: format!("answered {}, digest {}", vote.result.exit, vote.digest.0.short()),
                    remedy: None,
                });
            }
        }
        if let Some(why) = job.checkpoint_text(id.task) {
            reasons.push(ReasonView { about: "checkpoint".into(), why, remedy: None });
        }
        if let Some(why) = self.check_text(job, id.task) {
            reasons.push(ReasonView { about: "check".into(), why, remedy: None });
        }
        if job.unsure.tied.contains_key(&id.task) {
            reasons.extend(tied(job, Some(id.task)));
        }
        if let Some(faults) = job.faults.get(&id.task) {
            reasons.push(ReasonView {
                about: "attempts".into(),
                why: format!("{} of {} failed", faults.len(), job.record.spec.attempts_max),
                remedy: None,
            });
        }
        let verdict = match job.state(id.task) {
            TaskState::Open if reasons.is_empty() => "waiting for a host".to_owned(),
            TaskState::Open if job.record.pinned.is_some() && job.is_waiting(id.task) => {
                "waiting for its host".to_owned()
            }
            TaskState::Open => "running or being checked".to_owned(),
            TaskState::Done => "done".to_owned(),
            TaskState::Failed => "the program failed".to_owned(),
            TaskState::GivenUp => "given up".to_owned(),
        };
        Some(Explanation { about: format!("task {id}"), verdict, reasons })
    }
}

/// What was not checked although that was asked for.
fn unchecked(view: &JobView) -> Option<ReasonView> {
    (view.unchecked > 0).then(|| ReasonView {
        about: "checks".into(),
        why: format!(
            "{} results are as good as one owner's word: no host of another owner and network was \
             there that could have run the job and checked them",
            view.unchecked
        ),
        remedy: Some("have hosts of other owners join, and submit it again if it matters".into()),
    })
}

/// A reason in words, and what to do about it.
pub(super) fn describe(about: &str, reason: &Unfit, job: &Job, wakes: Time) -> ReasonView {
    let spec = &job.record.spec;
    let (why, remedy) = match reason {
        Unfit::Elsewhere => {
            let slice = spec.slice.as_deref().unwrap_or_default();
            (format!("it is not of slice {slice}, on which the job runs"), None)
        }
        Unfit::Offline => {
            ("not connected".to_owned(), Some("`isos host list` shows when it was seen".to_owned()))
        }
        Unfit::Asleep => (
            format!(
                "asleep until {wakes} at the latest: more hosts are idle than connections kept"
            ),
            Some("wait: it asks for work when it wakes".to_owned()),
        ),
        Unfit::Quiet(why) if why.is_empty() => ("its owner wants quiet".to_owned(), None),
        Unfit::Quiet(why) => (
            format!("its owner wants quiet: {}", why.join("; ")),
            Some("wait, or ask its owner, whom `isos policy explain` tells all of it".to_owned()),
        ),
        Unfit::Constraint => {
            let text = spec.constraint.as_deref().unwrap_or_default();
            (format!("it does not fit --where {text:?}"), Some("relax --where".to_owned()))
        }
        Unfit::MemoryNever { has } => (
            format!(
                "a task needs {} of memory, its owner lends {} at most",
                spec.memory,
                Bytes(*has)
            ),
            Some("lower --memory, or wait for a larger host".to_owned()),
        ),
        Unfit::MemoryNow { has } => (
            format!("a task needs {} of memory, its owner lends {} now", spec.memory, Bytes(*has)),
            Some("it may give more when its owner is away".to_owned()),
        ),
        Unfit::Price { wants, pays, until } => {
            let until = until.as_ref().map_or_else(String::new, |until| format!(" ({until})"));
            (
                format!(
                    "its owner wants {wants} micro-credits per gigafuel{until}, the job pays {pays}",
                ),
                Some(
                    "wait for its cheaper hours, or for hosts that ask less: `isos explain price`"
                        .to_owned(),
                ),
            )
        }
        Unfit::Program => (
            "its owner does not allow this program".to_owned(),
            Some("ask its owner, or wait for other hosts".to_owned()),
        ),
        Unfit::Bid { price } => (
            format!(
                "the price is {price} micro-credits per gigafuel, the job bids {}",
                job.record.price.0
            ),
            Some(format!(
                "wait for a lower price (`isos market prices`), or `isos market bid {} {price}`",
                job.record.id
            )),
        ),
        Unfit::KeepsFailing(why) => (why.clone(), None),
    };
    ReasonView { about: about.into(), why, remedy }
}

impl Complex {
    /// Why a job that is over ended as it did.
    #[must_use]
    pub fn explain_ended(view: &JobView) -> Explanation {
        let tasks = view.tasks;
        let verdict = match view.state {
            JobState::Done if tasks.total == 1 => "done: its only task".into(),
            JobState::Done => format!("done: all {} tasks", tasks.total),
            JobState::Cancelled => {
                let total = counted(tasks.total.into(), "task");
                format!("cancelled: done were {} of {total}", tasks.done)
            }
            JobState::Failed | JobState::Active => format!(
                "ended: {} done, {} failed, {} given up of {}",
                tasks.done, tasks.failed, tasks.given_up, tasks.total
            ),
        };
        let mut reasons = Vec::new();
        reasons.extend(unchecked(view));
        if let Some(why) = &view.why {
            reasons.push(ReasonView { about: "end".into(), why: why.clone(), remedy: None });
        }
        if tasks.failed + tasks.given_up > 0 {
            let remedy = format!(
                "`isos job results {0}` shows why, task by task; `isos job retry {0}` runs them again",
                view.id
            );
            reasons.push(ReasonView {
                about: "tasks".into(),
                why: format!(
                    "{} failed, {} given up",
                    counted(tasks.failed.into(), "program"),
                    counted(tasks.given_up.into(), "task")
                ),
                remedy: Some(remedy),
            });
        }
        Explanation { about: format!("job {}", view.id), verdict, reasons }
    }

    /// What became of a task that is decided.
    #[must_use]
    pub fn explain_accepted(id: TaskId, accepted: &Accepted) -> Explanation {
        let mut reasons = Vec::new();
        if let Some(host) = accepted.host {
            reasons.push(ReasonView {
                about: format!("host {}", host.short()),
                why: "gave the accepted result".into(),
                remedy: None,
            });
        }
        let verdict = match &accepted.result {
            Ok(result) if result.exit.is_success() => {
                format!("done: {}, {} fuel", result.exit, result.fuel)
            }
            Ok(result) => format!("the program failed: {}", result.exit),
            Err(why) => format!("given up: {why}"),
        };
        Explanation { about: format!("task {id}"), verdict, reasons }
    }

    /// Hosts whose key or name begins with `text`, at most two: enough to know whether it is one.
    #[must_use]
    pub fn hosts_like(&self, text: &str) -> Vec<HostId> {
        let by_key = HostId::beginning_with(text).into_iter();
        let by_key = by_key.flat_map(|range| self.hosts.range(range)).map(|(id, _)| *id).take(2);
        // A name is that of the machine, under the key that it has now.
        let named = |id: &HostId| self.hosts.get(id).is_some_and(|it| it.record.spec.name == text);
        let by_name = self.names.of(text).filter(named).take(2);
        let found = by_key.chain(by_name).inspect(|_| looked_at());
        let found: BTreeSet<HostId> = found.collect();
        found.into_iter().take(2).collect()
    }
}
