//! Whether a host can run a job now, and all that is in the way.

use isos_base::host::{HostSpec, Offer};
use isos_base::{HostId, Time};

use super::Host;
use super::job::Job;
use super::market::{GoodId, Market};
use super::told::to_others;
use crate::constraint::ClassId;

/// Classes of hosts for which a job remembers whether they fit.
const FITS_KEPT_MAX: usize = 4_096;

/// Why a host cannot run a job now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unfit {
    /// It is not of the slice on which the job runs.
    Elsewhere,
    Offline,
    Asleep,
    Quiet(Vec<String>),
    Constraint,
    MemoryNever {
        has: u64,
    },
    MemoryNow {
        has: u64,
    },
    Price {
        wants: u32,
        pays: u32,
        until: Option<String>,
    },
    Bid {
        price: u32,
    },
    Program,
    KeepsFailing(String),
}

/// What of a host decides whether it can run a job.
pub(super) struct Seen<'a> {
    /// Which it is; nothing where it stands for many who are alike.
    pub(super) id: Option<HostId>,
    /// Without its name if it stands for many.
    pub(super) spec: &'a HostSpec,
    pub(super) class: ClassId,
    pub(super) good: GoodId,
    /// What it offers, if it is there.
    pub(super) offer: Option<&'a Offer>,
    /// Whether it was told to sleep until later.
    pub(super) asleep: bool,
}

impl Host {
    pub(super) fn seen(&self, now: Time) -> Seen<'_> {
        Seen {
            id: Some(self.record.id),
            spec: &self.record.spec,
            class: self.class,
            good: self.good,
            offer: self.session.as_ref().map(|session| &session.offer),
            asleep: self.wakes > now,
        }
    }
}

#[cfg(test)]
thread_local! {
    /// Hosts, or many alike, that questions of a test have looked at.
    pub(super) static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// A question looks at one more host: tests count them.
pub(super) fn looked_at() {
    #[cfg(test)]
    LOOKED_AT.with(|count| count.set(count.get() + 1));
}

/// Why a host cannot run a job now, if it cannot. The first reason; `explain` asks for them all.
pub(super) fn unfit(job: &mut Job, host: &Host, market: &Market, now: Time) -> Option<Unfit> {
    unfits(job, &host.seen(now), market, now, true).into_iter().next()
}

/// All reasons why a host cannot run a job now, or the first one.
pub(super) fn unfits(
    job: &mut Job,
    host: &Seen<'_>,
    market: &Market,
    now: Time,
    first_only: bool,
) -> Vec<Unfit> {
    looked_at();
    let mut reasons = Vec::new();
    let spec = &job.record.spec;
    let memory = spec.memory;
    let mut add = |reason: Unfit| {
        reasons.push(reason);
        first_only
    };
    if !job.may_be_on(host.id) && add(Unfit::Elsewhere) {
        return reasons;
    }
    match host.offer {
        None => {
            if add(if host.asleep { Unfit::Asleep } else { Unfit::Offline }) {
                return reasons;
            }
        }
        Some(offer) => {
            if offer.cores == 0 && add(Unfit::Quiet(to_others(offer))) {
                return reasons;
            }
            if let Err(no) = market.deal(job, host.good, offer.price_min) {
                let no = match no {
                    Unfit::Price { wants, pays, .. } => {
                        Unfit::Price { wants, pays, until: to_others(offer).pop() }
                    }
                    other => other,
                };
                if add(no) {
                    return reasons;
                }
            }
            if !offer.accept.allows(&spec.program) && add(Unfit::Program) {
                return reasons;
            }
            let now_short = offer.memory < memory && host.spec.memory >= memory;
            if now_short && add(Unfit::MemoryNow { has: offer.memory.0 }) {
                return reasons;
            }
        }
    }
    if host.spec.memory < memory && add(Unfit::MemoryNever { has: host.spec.memory.0 }) {
        return reasons;
    }
    if let Some(avoided) = host.id.and_then(|id| job.avoid.get(&id))
        && avoided.until > now
        && add(Unfit::KeepsFailing(avoided.why.clone()))
    {
        return reasons;
    }
    if !meets_as(job, host.class, host.spec) {
        reasons.push(Unfit::Constraint);
    }
    reasons
}

/// Whether a host meets a job's constraint.
pub(super) fn meets(job: &mut Job, host: &Host) -> bool {
    meets_as(job, host.class, &host.record.spec)
}

fn meets_as(job: &mut Job, class: ClassId, spec: &HostSpec) -> bool {
    let Some(constraint) = &job.constraint else { return true };
    if constraint.names_hosts() {
        return constraint.fits(spec);
    }
    if job.fits.len() > FITS_KEPT_MAX {
        job.fits.clear();
    }
    *job.fits.entry(class).or_insert_with(|| constraint.fits(spec))
}

/// Whether a host is such that it could run a job, whatever it offers now.
pub(super) fn could_ever(job: &mut Job, host: &Host) -> bool {
    host.record.spec.memory >= job.record.spec.memory && meets(job, host)
}
