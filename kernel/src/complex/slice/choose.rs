//! Which hosts become part of a slice: those that are there and fit, of different owners and
//! networks as long as there are such, those first that are of few slices.
//!
//! A look is bounded, and begins at a place among the keys that nobody can foresee.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::api::{Problem, ProblemCode};
use isos_base::host::Accept;
use isos_base::job::{JobSpec, Verify};
use isos_base::key::PublicKey;
use isos_base::random::Random;
use isos_base::record::{JobRecord, JobState};
use isos_base::{AccountId, Bytes, Guid, HostId, JobId, MicroCredits};

use super::super::explain::{counted, describe};
use super::super::job::Job;
use super::super::place::{Unfit, meets, unfits};
use super::super::{Complex, Host, request_hash};
use crate::constraint::Constraint;
use crate::ledger::job_hold;

/// Hosts that are looked at for one request.
const LOOKS_MAX: usize = 65_536;
/// Of which so many are considered that would do and are there.
const FITTING_MAX: usize = 1_024;
/// Reasons that are told when there are too few.
const REASONS_MAX: usize = 16;

/// How soon a host could work; in this order they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Readiness {
    /// It is there, lends something, and takes any program.
    Now,
    /// Its owner does not allow all programs.
    SomePrograms,
    /// It sleeps, or its owner wants quiet for now.
    Later,
}

impl Complex {
    /// So many hosts for a slice of an account, besides those that are of it.
    ///
    /// # Errors
    /// The constraint, or all reasons why there are too few.
    pub(super) fn choose_slivers(
        &self,
        account: AccountId,
        constraint: Option<&str>,
        beside: &[HostId],
        count: u32,
    ) -> Result<Vec<HostId>, Problem> {
        let mut probe = self.probe(account, constraint)?;
        let never: BTreeSet<HostId> = beside.iter().copied().collect();
        let fit = self.slivers_that_fit(&mut probe, account, &never);
        let picked = self.spread(&fit, beside, count as usize);
        if picked.len() < count as usize {
            return Err(self.too_few_slivers(&mut probe, count, picked.len(), &never));
        }
        Ok(picked)
    }

    /// A job that asks for next to nothing, to see who could run it.
    fn probe(&self, account: AccountId, constraint: Option<&str>) -> Result<Job, Problem> {
        let usage = |why: String| Problem::new(ProblemCode::Usage, why);
        let mut spec = JobSpec::new(Guid([0; 32]), Bytes(1), 1);
        (spec.memory, spec.verify) = (Bytes::mib(1), Verify::Trusted);
        spec.constraint = constraint.map(str::to_owned);
        spec.check().map_err(|error| usage(error.to_string()))?;
        let constraint = constraint.map(Constraint::compile).transpose();
        let constraint = constraint.map_err(|error| usage(error.to_string()))?;
        let price = self.bid_for(account, &spec, None)?;
        let record = JobRecord {
            id: JobId(0),
            account,
            spec,
            state: JobState::Active,
            price,
            hold: job_hold(JobId(0)),
            submitted: self.now,
            ended: None,
            spent: MicroCredits::ZERO,
            done: 0,
            failed: 0,
            given_up: 0,
            redone: Vec::new(),
            unchecked: 0,
            why: None,
            pinned: None,
        };
        Ok(Job::new(record, constraint, &self.config))
    }

    /// Those that would do, the best first.
    fn slivers_that_fit(
        &self,
        probe: &mut Job,
        account: AccountId,
        never: &BTreeSet<HostId>,
    ) -> Vec<HostId> {
        let Guid(seed) = request_hash(&(self.config.check_secret, account, self.slices.last));
        let (first, _) = seed.split_first_chunk().expect("a hash has 32 bytes");
        let mut random = Random::new(u64::from_le_bytes(*first));
        let from = HostId(PublicKey(seed));
        let all = self.hosts.range(from..).chain(self.hosts.range(..from)).take(LOOKS_MAX);
        let (mut drawn, mut ready) = (Vec::new(), 0);
        for (&id, host) in all.filter(|(id, _)| !never.contains(*id)) {
            let Some(readiness) = self.readiness(probe, host) else { continue };
            let slices = self.slices.of_host.get(&id).map_or(0, BTreeSet::len);
            drawn.push((readiness, slices, random.next_u64(), id));
            ready += usize::from(readiness == Readiness::Now);
            if ready >= FITTING_MAX {
                break;
            }
        }
        drawn.sort_unstable();
        drawn.into_iter().map(|(.., id)| id).collect()
    }

    /// How soon a host could work for a slice; nothing if it is not known to come, or does not fit.
    fn readiness(&self, probe: &mut Job, host: &Host) -> Option<Readiness> {
        if host.is_out() || !meets(probe, host) {
            return None;
        }
        let Some(session) = &host.session else {
            return (host.wakes > self.now).then_some(Readiness::Later);
        };
        let offer = &session.offer;
        if offer.cores == 0 {
            return Some(Readiness::Later);
        }
        self.market.deal(probe, host.good, offer.price_min).ok()?;
        Some(match &offer.accept {
            Accept::Any | Accept::Except(_) => Readiness::Now,
            Accept::Only(_) => Readiness::SomePrograms,
        })
    }

    /// All reasons, each with how many hosts it is true of.
    fn too_few_slivers(
        &self,
        probe: &mut Job,
        wanted: u32,
        found: usize,
        never: &BTreeSet<HostId>,
    ) -> Problem {
        let mut reasons: BTreeMap<String, u32> = BTreeMap::new();
        // What keeps a host from work now, and not from a slice.
        let passes = |why: &Unfit| {
            matches!(
                why,
                Unfit::Asleep | Unfit::Quiet(_) | Unfit::Program | Unfit::MemoryNow { .. }
            )
        };
        let looks = self.looks(probe);
        for look in &looks.looks {
            let whys = match &look.kept_out {
                Some(why) => vec![Unfit::KeepsFailing(why.clone())],
                None => unfits(probe, &look.seen, &self.market, self.now, false),
            };
            for why in whys.iter().filter(|why| !passes(why)) {
                let told = describe("", why, probe, look.wakes);
                let remedy = told.remedy.map_or_else(String::new, |it| format!(" ({it})"));
                *reasons.entry(format!("{}{remedy}", told.why)).or_default() += look.hosts;
            }
        }
        let mut told: Vec<_> = reasons.into_iter().collect();
        told.sort_by_key(|(_, hosts)| std::cmp::Reverse(*hosts));
        let told = told
            .into_iter()
            .take(REASONS_MAX)
            .map(|(why, hosts)| format!("{}: {why}", counted(hosts.into(), "host")));
        let mut told: Vec<String> = told.collect();
        if !never.is_empty() {
            told.insert(0, format!("{} of it already", counted(never.len() as u64, "host")));
        }
        if looks.unseen > 0 {
            told.push(format!("{} more were not looked at", looks.unseen));
        }
        if self.hosts.is_empty() {
            told.push("no host has joined this complex (`isos ticket`, `isos join TICKET`)".into());
        }
        super::refused(format!(
            "{} wanted, {found} can be had; {}",
            counted(wanted.into(), "host"),
            match told.is_empty() {
                true =>
                    format!("the complex has {} in all", counted(self.hosts.len() as u64, "host")),
                false => told.join("; "),
            }
        ))
    }
}
