//! Where an account's credits are, what it waits for, and what it may not do.

use isos_base::api::{Explanation, QuotaView, ReasonView};
use isos_base::market::{BondRecord, BondState, ReservationRecord};
use isos_base::{AccountId, MicroCredits, PayoutId};

use super::counted;
use crate::complex::place::looked_at;
use crate::complex::{Complex, Host};

/// What is lost of a bond, and why, in words.
pub(super) fn lost_text(bond: &BondRecord) -> String {
    match (bond.missed, bond.lost) {
        (0, _) => String::new(),
        (missed, MicroCredits::ZERO) => format!(
            "; it was not there in {missed} core-ticks, in which nobody missed it: nothing is lost"
        ),
        (missed, lost) => format!(
            "; it was not there in {missed} core-ticks, and where the reservation was short by \
             that it lost {lost}"
        ),
    }
}

/// Jobs, and hosts, that an explanation names one by one.
const NAMED_MAX: usize = 20;

impl Complex {
    /// Why an account stands where it stands. `None` if there is no such account.
    #[must_use]
    pub fn explain_account(&self, id: AccountId) -> Option<Explanation> {
        let view = self.account_view(id)?;
        let mut reasons = Vec::new();
        if view.available <= MicroCredits::ZERO {
            reasons.push(ReasonView {
                about: "balance".into(),
                why: "nothing is available: a job that costs anything is refused".into(),
                remedy: Some("earn by hosts, wait for holds to end, or ask the operator".into()),
            });
        }
        reasons.extend(self.account_holds(id));
        reasons.extend(self.account_promises(id));
        reasons.extend(self.demurrage_text(id));
        reasons.extend(self.account_quotas(id));
        let mine = || {
            let hosts = self.owners.hosts_of(id).inspect(|_| looked_at());
            hosts.filter_map(|host| self.hosts.get(&host))
        };
        reasons.extend(self.account_bars(id, mine().filter(|it| it.record.barred.is_some())));
        reasons.extend(self.account_pay(id, mine()));
        if let Some(before) = self.accounts_before(id).filter(|before| *before > 0) {
            let (s, comes) = if before == 1 { ("", "comes") } else { ("s", "come") };
            reasons.push(ReasonView {
                about: "fair share".into(),
                why: format!("{before} account{s} with jobs that used less lately {comes} first"),
                remedy: Some("wait: its turn comes as the others use more".into()),
            });
        }
        let verdict = format!("{} credits available, {} held", view.available, view.held);
        Some(Explanation { about: format!("account {} ({})", view.name, id.0), verdict, reasons })
    }

    /// What of its credits is set aside, and until when.
    fn account_holds(&self, id: AccountId) -> Vec<ReasonView> {
        let mut reasons = Vec::new();
        let (mut more, mut of_more) = (0, MicroCredits::ZERO);
        let jobs = self.jobs.values().filter(|job| job.record.account == id);
        for job in jobs {
            let held = self.remaining(job);
            if reasons.len() >= NAMED_MAX {
                (more, of_more) = (more + 1, MicroCredits(of_more.0 + held.0));
                continue;
            }
            reasons.push(ReasonView {
                about: format!("job {}", job.record.id),
                why: format!(
                    "{held} credits are held for it, {} of them for what runs and what is owed; \
                     open are {} of {}",
                    job.reserved,
                    job.open(),
                    counted(job.record.spec.task_count().into(), "task")
                ),
                remedy: Some(format!(
                    "what is not used comes back at its end; `isos job cancel {}` ends it now",
                    job.record.id
                )),
            });
        }
        for (job, over) in self.over.iter().filter(|(_, over)| over.record.account == id) {
            if reasons.len() >= NAMED_MAX {
                (more, of_more) = (more + 1, MicroCredits(of_more.0 + over.reserved.0));
                continue;
            }
            let until = over.leases.iter().filter_map(|lease| self.leases[lease].record.held);
            let until = until.map(|held| held.until).max();
            let until = until.map_or_else(String::new, |until| format!(", or until {until}"));
            reasons.push(ReasonView {
                about: format!("job {job}"),
                why: format!(
                    "it is over; {} credits are held for hosts whose results nobody checked, until \
                     these have passed further checks{until}",
                    over.reserved
                ),
                remedy: Some("nothing: they are paid, or come back if a host is caught".into()),
            });
        }
        if more > 0 {
            let why = format!("{of_more} credits are held for them");
            reasons.push(ReasonView { about: format!("{more} more jobs"), why, remedy: None });
        }
        reasons
    }

    /// What is set aside for payouts that are under way and for cores that were reserved.
    fn account_promises(&self, id: AccountId) -> Vec<ReasonView> {
        let payouts = self.payouts_waiting(Some(id), PayoutId(0)).map(|payout| ReasonView {
            about: format!("payout {}", payout.id),
            why: format!(
                "{} credits are held for it since {}: rail {} has not answered yet",
                payout.amount, payout.asked, payout.rail
            ),
            remedy: Some(
                "they come back if the rail refuses; `isos account payouts` says how it stands"
                    .into(),
            ),
        });
        let reserved = self.reservations(Some(id)).filter_map(|it| {
            let held = self.ledger.hold(it.hold)?.remaining;
            Some(ReasonView {
                about: format!("reservation {}", it.id),
                why: format!(
                    "{held} credits are held for the premium of {} cores of {}, until {}",
                    it.cores, it.class, it.until
                ),
                remedy: Some(format!(
                    "what is not used comes back then; before {} `isos market reserve --cancel {}` \
                     gives it up",
                    it.from, it.id
                )),
            })
        });
        let short = self.reservations(Some(id)).filter_map(|it| self.short_text(it));
        let bonds = self.account_bonds(id);
        let promised = reserved.take(NAMED_MAX).chain(short.take(NAMED_MAX));
        let promised = promised.chain(bonds.take(NAMED_MAX)).chain(self.account_storage(id));
        payouts.take(NAMED_MAX).chain(promised).collect()
    }

    /// What is set aside for storage.
    fn account_storage(&self, id: AccountId) -> Option<ReasonView> {
        let quota = self.quota(self.now, id);
        let end = quota.next_end?;
        let QuotaView { leases, leases_max, bytes, bytes_max, month, held, .. } = quota;
        Some(ReasonView {
            about: "storage".into(),
            why: format!(
                "{held} credits are held for {bytes} of at most {bytes_max} in {leases} leases of \
                 at most {leases_max}; they cost {month} a month, the first ends at {end}"
            ),
            remedy: Some(
                "for time in which a host is away, and for leases that are given up, it comes back"
                    .into(),
            ),
        })
    }

    /// What is known so far of a reservation that is not kept.
    fn short_text(&self, it: &ReservationRecord) -> Option<ReasonView> {
        let short = it.wanted - it.given;
        let owed = i128::from(it.penalty.0) * i128::from(short);
        let owed = MicroCredits(i64::try_from(owed).unwrap_or(i64::MAX));
        let lost = it.forfeited.0 + self.bonds_lost(it.id).0;
        (short > 0).then(|| ReasonView {
            about: format!("reservation {}", it.id),
            why: format!(
                "not kept: {short} of {} core-ticks that were wanted were not there; {owed} \
                 credits are owed for them, {} of these from bonds of hosts",
                it.wanted,
                MicroCredits(lost)
            ),
            remedy: Some(format!(
                "nothing: it is paid at {}, the rest of it from what your own premiums have left there, as far \
                 as there are any",
                it.until
            )),
        })
    }

    /// What is set aside for what its hosts stand behind.
    fn account_bonds(&self, id: AccountId) -> impl Iterator<Item = ReasonView> {
        let standing = |bond: &&BondRecord| bond.state == BondState::Standing;
        let bonds = self.firm(Some(id)).flat_map(move |(_, bonds)| bonds);
        bonds.filter(standing).map(|bond| ReasonView {
            about: format!("bond of host {}", bond.host.short()),
            why: format!(
                "{} credits are held while it stands behind reservation {}, until {}{}",
                bond.amount,
                bond.reservation,
                bond.until,
                lost_text(bond)
            ),
            remedy: Some(format!(
                "what is not lost comes back then; `isos market firm {} --leave` gives notice of \
                 ten minutes",
                bond.host.short()
            )),
        })
    }

    /// How much of what it may have it has.
    fn account_quotas(&self, id: AccountId) -> Vec<ReasonView> {
        let jobs = self.jobs.values().filter(|job| job.record.account == id).count();
        let hosts = self.owners.hosts_of(id).len();
        let (jobs_max, hosts_max) = (self.config.account_jobs_max, self.config.account_hosts_max);
        let jobs_remedy = (jobs >= jobs_max)
            .then(|| "no more are taken: wait for some, or use one job with more tasks".to_owned());
        let hosts_remedy = (hosts >= hosts_max).then(|| {
            "no more may join: use another account, or ask the operator for more --account-hosts"
                .to_owned()
        });
        vec![
            ReasonView {
                about: "jobs".into(),
                why: format!("{jobs} are not over, of {jobs_max} at the most"),
                remedy: jobs_remedy,
            },
            ReasonView {
                about: "hosts".into(),
                why: format!("{hosts} have joined, of {hosts_max} at the most"),
                remedy: hosts_remedy,
            },
        ]
    }

    /// What it may not do because hosts of it were caught.
    fn account_bars<'a>(
        &self,
        id: AccountId,
        barred: impl Iterator<Item = &'a Host>,
    ) -> Vec<ReasonView> {
        let mut reasons = Vec::new();
        for host in barred.take(NAMED_MAX) {
            let why = host.record.barred.as_deref().unwrap_or_default();
            reasons.push(ReasonView {
                about: format!("host {}", host.record.id.short()),
                why: format!("barred: {why}"),
                remedy: None,
            });
        }
        if !reasons.is_empty() {
            reasons.push(ReasonView {
                about: "barred".into(),
                why: format!("a host of account {id} was caught: it can add no others"),
                remedy: Some("hosts that it has go on; only the operator can help".into()),
            });
        }
        reasons
    }

    /// What was earned and is not paid yet.
    fn account_pay<'a>(
        &self,
        id: AccountId,
        hosts: impl Iterator<Item = &'a Host>,
    ) -> Vec<ReasonView> {
        let mut reasons = Vec::new();
        let bills = self.bills.values().filter(|bill| bill.account == id);
        let (mut open, mut due) = (0, 0);
        for bill in bills {
            let earning = bill.price.earning(bill.fuel);
            open += 1;
            due += earning.0 - self.fee_rate.fee(earning).0;
        }
        if open > 0 {
            let s = if open == 1 { "" } else { "s" };
            reasons.push(ReasonView {
                about: "bills".into(),
                why: format!("{} credits stand on {open} open bill{s}", MicroCredits(due)),
                remedy: Some("nothing: a bill is posted after ten seconds".into()),
            });
        }
        let (mut waits, mut pay, mut first) = (0, 0, None);
        for host in hosts.filter(|host| !host.held.is_empty()) {
            waits += host.held.len();
            pay += self.held_for(host).0;
            let until = host.held.iter().filter_map(|(_, id)| self.leases[id].record.held);
            let until = until.map(|held| held.until).min();
            first = first.into_iter().chain(until).min();
        }
        if let Some(first) = first {
            reasons.push(ReasonView {
                about: "held pay".into(),
                why: format!(
                    "{} credits for {waits} leases that nobody checked are held; the first of it \
                     until {first}",
                    MicroCredits(pay)
                ),
                remedy: Some("sooner if its hosts pass checks, which come with work".into()),
            });
        }
        reasons
    }
}
