//! Tasks that wait for a check which nobody is left to make, or to pay for: on what they are
//! decided instead, and when.

use std::collections::BTreeMap;

use isos_base::task::Digest;
use isos_base::{JobId, Span, TaskRange, Time};

use super::job::Job;
use super::place::unfit;
use super::{Complex, Effect, Pricing};
use crate::verify::{Ballot, Rule, Verdict};

/// Where hosts differ about a task and nobody is there who could say which of them is right, or
/// where too few have answered for the buyer's quorum and nobody else is there, somebody is waited
/// for so long. Then the task is given up.
pub(super) const TIED_FOR_MAX: Span = Span::secs(86_400);
/// How often it is looked whether those who could check are still there.
const RECHECK_EVERY: Span = Span::secs(600);
/// Hosts that are looked at then, and groups of checks that wait.
const HOSTS_LOOKED_AT_MAX: usize = 4_096;
const CHECKS_LOOKED_AT_MAX: usize = 64;

/// Of one job, what is known of tasks that wait for a check. A restart forgets it: then it is found
/// out anew.
#[derive(Debug, Default)]
pub(super) struct Unsure {
    /// Tasks on which hosts differ, or too few agree, while nobody else is there who could be
    /// asked, and since when.
    pub(super) tied: BTreeMap<u32, Time>,
    /// Answers that were sure enough for the buyer when that was last looked at, while others were
    /// waited for who might bar those that differ.
    enough: BTreeMap<u32, Digest>,
    /// At the last look a check waited that none of those hosts could make who come for the
    /// market's price.
    pub(super) lacks_checkers: bool,
}

impl Complex {
    /// Decides a task on the votes that there are, if nobody is left to be asked. Where the buyer
    /// says how many must agree, fewer decide nothing, but nobody waits for ever: neither where
    /// those who have answered differ, nor where they agree and are too few.
    pub(super) fn settle_for_less(&mut self, id: JobId, task: u32, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(&id) else { return };
        let one_first = job.rule().is_some_and(Rule::asks_one_first);
        let Some(ballot) = job.ballots.get(&task) else { return };
        if ballot.outstanding() > 0 {
            // What these say may come to more than the waiting for others.
            return self.recheck_later(id);
        }
        let (best, asked) = (ballot.best().filter(|_| one_first), ballot.asked.clone());
        let alone = ballot.votes.iter().filter(|vote| Some(vote.digest) == best).count() == 1;
        if self.could_ask(id, &asked) {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.unsure.tied.remove(&task);
            }
            self.recheck_later(id);
            return;
        }
        match best {
            Some(digest) => {
                if let Some(job) = self.jobs.get_mut(&id).filter(|_| alone) {
                    job.record.unchecked = job.record.unchecked.saturating_add(1);
                }
                self.judge(id, task, Verdict::Agreed(digest), effects);
            }
            None if self.is_tied_for_good(id, task) => {
                let why = self.jobs[&id].why_for_nothing(task);
                self.give_up(id, task, why, effects);
                self.queue_or_leave(id);
            }
            None => self.recheck_later(id),
        }
    }

    /// Whether a task has been undecided for as long as somebody is waited for.
    fn is_tied_for_good(&mut self, id: JobId, task: u32) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        *job.unsure.tied.entry(task).or_insert(self.now) + TIED_FOR_MAX <= self.now
    }

    /// Decides tasks on what several have said, if their job has nothing left to pay others for who
    /// would make that surer. Says whether there were any.
    pub(super) fn settle_unsure(&mut self, id: JobId, effects: &mut Vec<Effect>) -> bool {
        let Some(job) = self.jobs.get(&id) else { return false };
        if !matches!(job.rule(), Some(Rule::Checkpoint { .. })) {
            return false;
        }
        let unsure = |(&task, ballot): (&u32, &Ballot)| Some((task, ballot.several()?));
        let unsure: Vec<_> = job.ballots.iter().filter_map(unsure).collect();
        let mut settled = false;
        for (task, digest) in unsure {
            // Whoever is barred for one of them can decide others.
            let ballot = self.jobs.get(&id).and_then(|job| job.ballots.get(&task));
            if ballot.and_then(Ballot::several) == Some(digest) {
                self.judge(id, task, Verdict::Agreed(digest), effects);
                settled = true;
            }
        }
        settled
    }

    /// Decides tasks about which hosts differ, and whose likeliest answer was sure enough for the
    /// buyer at the last look already: whoever could make it sure enough to bar the others does not
    /// come, as where the market's price is below what they ask.
    fn settle_enough(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(rule) = job.rule() else { return };
        let enough =
            job.ballots.iter().filter_map(|(&task, ballot)| Some((task, ballot.enough(rule)?)));
        let enough: BTreeMap<_, _> = enough.collect();
        let before = std::mem::replace(&mut job.unsure.enough, enough.clone());
        for (task, digest) in enough {
            // Whoever is barred for one of them can decide others.
            let ballot = self.jobs.get(&id).and_then(|job| job.ballots.get(&task));
            let stands = ballot.and_then(|ballot| ballot.enough(rule)) == Some(digest);
            if stands && before.get(&task) == Some(&digest) {
                self.judge(id, task, Verdict::Agreed(digest), effects);
            }
        }
    }

    /// Notes whether a check waits that none of the hosts could make who come for the market's
    /// price: they are of the owners and networks that have answered, however many there are. Then
    /// others get what they ask.
    fn look_for_checkers(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.unsure.lacks_checkers = false;
        if self.market.pricing == Pricing::Fixed {
            return;
        }
        let asked: Vec<_> =
            job.begun().map(|(asked, _)| asked.clone()).take(CHECKS_LOOKED_AT_MAX).collect();
        let here = self.sessions.values().take(HOSTS_LOOKED_AT_MAX);
        let here = here.filter_map(|id| self.hosts.get(id));
        let (market, now) = (&self.market, self.now);
        let fit: Vec<_> = here.filter(|host| unfit(job, host, market, now).is_none()).collect();
        let lacks = asked.iter().any(|asked| {
            let asked: Vec<_> = asked.iter().filter_map(|id| self.hosts.get(id)).collect();
            !fit.iter().any(|host| asked.iter().all(|other| host.is_independent(other)))
        });
        job.unsure.lacks_checkers = lacks;
        if lacks {
            self.news.insert(id);
        }
    }

    /// Looks later whether the hosts that a job's checks wait for are still there.
    pub(super) fn recheck_later(&mut self, job: JobId) {
        if self.jobs.get(&job).is_some_and(Job::has_unsure) {
            self.recheck.get_or_insert(self.now + RECHECK_EVERY);
        }
    }

    /// Checks for which nobody is left are done without.
    pub(super) fn recheck(&mut self, effects: &mut Vec<Effect>) {
        if self.recheck.is_none_or(|at| at > self.now) {
            return;
        }
        self.recheck = None;
        for id in self.jobs.keys().copied().collect::<Vec<_>>() {
            let Some(job) = self.jobs.get(&id) else { continue };
            if !job.has_unsure() {
                continue;
            }
            self.settle_enough(id, effects);
            self.look_for_checkers(id);
            let Some(job) = self.jobs.get(&id) else { continue };
            let mut begun: Vec<_> =
                job.begun().map(|(asked, tasks)| (asked.clone(), tasks.clone())).collect();
            begun.retain(|(asked, tasks)| {
                let could = self.could_ask(id, asked);
                if let Some(job) = self.jobs.get_mut(&id).filter(|_| could) {
                    job.unsure.tied.retain(|&task, _| !tasks.contains(task));
                }
                !could
            });
            let tasks: Vec<u32> = begun
                .iter()
                .flat_map(|(_, tasks)| tasks.iter())
                .flat_map(TaskRange::tasks)
                .collect();
            for task in tasks {
                self.judge_again(id, task, effects);
            }
            self.recheck_later(id);
        }
    }
}

impl Job {
    /// Whether it has tasks that are decided for less, or given up, once nobody is left to ask.
    fn has_unsure(&self) -> bool {
        !self.ballots.is_empty()
    }

    /// Why a task is given up for which somebody was waited for in vain.
    fn why_for_nothing(&self, task: u32) -> String {
        let (ballot, id) = (self.ballots.get(&task), self.record.id);
        let (votes, of_one_mind) =
            ballot.map_or((0, true), |it| (it.votes.len(), it.is_of_one_mind()));
        let found = match self.rule() {
            Some(Rule::Quorum { agree, .. }) if of_one_mind => format!(
                "{votes} of the {agree} hosts that must agree answered, and for a day nobody else \
                 was there who is independent of them"
            ),
            _ => "hosts gave different results, and for a day nobody else was there who could say \
                  which is right"
                .to_owned(),
        };
        format!("{found}: have hosts of other owners and networks join, then `isos job retry {id}`")
    }
}
