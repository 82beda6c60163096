//! Whether a reservation is kept: what was promised, who stands behind it, what it has cost and
//! what is owed, from the figures that settle it.

use isos_base::api::{Explanation, ReasonView};
use isos_base::market::{BondRecord, BondState, ReservationRecord, ReservationState};
use isos_base::{MicroCredits, ReservationId};

use super::counted;
use crate::complex::Complex;

/// Jobs that are named one by one.
const JOBS_NAMED_MAX: usize = 20;

impl Complex {
    /// Why a reservation stands where it stands. `None` if it is not known to this machine: it is
    /// over, or never was.
    #[must_use]
    pub fn explain_reservation(&self, id: ReservationId) -> Option<Explanation> {
        let record = self.reservations(None).find(|it| it.id == id)?;
        let bonds: Vec<&BondRecord> = self.bonds_behind(id).collect();
        let mut reasons = vec![promise(record)];
        reasons.extend(self.reserved_jobs(record));
        if record.state == ReservationState::Active {
            reasons.push(standing(record, &bonds));
            if record.wanted == 0 {
                reasons.push(ReasonView {
                    about: "use".into(),
                    why: "no job of the account has wanted a core of it so far; the promise costs \
                          the same"
                        .into(),
                    remedy: Some(format!("submit one that bids {} or more", record.price.0)),
                });
            }
        }
        let held = self.ledger.hold(record.hold).map_or(MicroCredits::ZERO, |it| it.remaining);
        reasons.push(ReasonView {
            about: "premium".into(),
            why: format!(
                "{held} credits are held: {} for each core and half minute, but for those that are \
                 wanted and not there",
                record.premium
            ),
            remedy: Some(match record.state {
                ReservationState::Booked => {
                    let from = record.from;
                    format!("`isos market reserve --cancel {id}` gives it up, until {from}")
                }
                _ => format!("what is not used comes back at {}", record.until),
            }),
        });
        let lost = MicroCredits(record.forfeited.0 + self.bonds_lost(id).0);
        reasons.extend(owed(record, lost));
        Some(Explanation { about: about(record), verdict: verdict(record), reasons })
    }

    /// What became of a reservation that is over.
    #[must_use]
    pub fn explain_ended_reservation(
        record: &ReservationRecord,
        bonds: &[BondRecord],
    ) -> Explanation {
        let mut reasons = vec![promise(record)];
        if record.state == ReservationState::Over {
            let paid: i64 = bonds.iter().map(|bond| bond.paid.0).sum();
            reasons.push(ReasonView {
                about: "premium".into(),
                why: format!(
                    "{} credits were paid for the promise, {} of them to hosts that stood behind it",
                    record.paid,
                    MicroCredits(paid)
                ),
                remedy: None,
            });
            if record.compensated > MicroCredits::ZERO || record.wanted > record.given {
                let whole = owed_in_all(record);
                let short = if record.compensated < whole {
                    format!(
                        "; {whole} were owed, and of the account's premiums the complex had nothing left \
                         for the rest"
                    )
                } else {
                    String::new()
                };
                reasons.push(ReasonView {
                    about: "compensation".into(),
                    why: format!(
                        "{} credits were paid for what was not there, {} of them from bonds of \
                         hosts{short}",
                        record.compensated, record.forfeited
                    ),
                    remedy: None,
                });
            }
        }
        Explanation { about: about(record), verdict: verdict(record), reasons }
    }

    /// The jobs that use it, and those that bid too little for it.
    fn reserved_jobs(&self, record: &ReservationRecord) -> Vec<ReasonView> {
        let mine = self.jobs.values().filter(|job| job.record.account == record.account);
        let low = mine.filter(|job| job.open() > 0 && job.record.price < record.price);
        let too_low = |job: &crate::complex::job::Job| ReasonView {
            about: format!("job {}", job.record.id),
            why: format!(
                "it bids {} micro-credits per gigafuel, the reserved price is {}: it has nothing of \
                 the reservation",
                job.record.price.0, record.price.0
            ),
            remedy: Some(format!("`isos market bid {} {}`", job.record.id, record.price.0)),
        };
        low.take(JOBS_NAMED_MAX).map(too_low).collect()
    }
}

fn about(record: &ReservationRecord) -> String {
    format!("reservation {}", record.id)
}

fn verdict(record: &ReservationRecord) -> String {
    let ReservationRecord { wanted, given, from, until, .. } = *record;
    let short = wanted - given;
    match (record.state, short) {
        (ReservationState::Booked, _) => format!("booked: its window begins at {from}"),
        (ReservationState::Active, 0) => {
            format!("kept so far: {} were wanted and there", counted(wanted, "core-tick"))
        }
        (ReservationState::Active, _) => {
            format!("not kept: {short} of {wanted} core-ticks that were wanted were not there")
        }
        (ReservationState::Over, 0) => {
            format!("kept, over since {until}: {} were wanted", counted(wanted, "core-tick"))
        }
        (ReservationState::Over, _) => format!(
            "not kept, over since {until}: {short} of {wanted} core-ticks that were wanted were not \
             there"
        ),
        (ReservationState::Cancelled, _) => "cancelled before its window began".into(),
    }
}

fn promise(record: &ReservationRecord) -> ReasonView {
    let service = f64::from(record.service_ppm) / 1e4;
    ReasonView {
        about: "promise".into(),
        why: format!(
            "{} of {} from {} until {}, with a chance of {service} %, at {} micro-credits per \
             gigafuel: {} are reckoned with for that",
            counted(record.cores.into(), "core"),
            record.class,
            record.from,
            record.until,
            record.price.0,
            record.behind
        ),
        remedy: None,
    }
}

/// Firm hosts behind it: as many as are to stand there, or why not.
fn standing(record: &ReservationRecord, bonds: &[&BondRecord]) -> ReasonView {
    let stand = bonds.iter().filter(|bond| bond.state == BondState::Standing);
    let (mut hosts, mut cores, mut amount) = (0_u64, 0_u64, 0_i64);
    for bond in stand {
        hosts += 1;
        cores += u64::from(bond.cores);
        amount += bond.amount.0 - bond.lost.0;
    }
    let lacks = u64::from(record.behind).saturating_sub(cores);
    let stand = format!(
        "{} behind it, with {} and bonds of {} credits",
        counted(hosts, "firm host"),
        counted(cores, "core"),
        MicroCredits(amount)
    );
    let (why, remedy) = match lacks {
        0 => (stand, None),
        _ => (
            format!(
                "{stand}; for {lacks} more nobody stands: no other firm host of {} is there, asks \
                 {} or less, and has the credits for a bond; any other host of the class serves it \
                 as well, and owes nothing for leaving",
                record.class, record.price.0
            ),
            Some("owners: `isos market firm HOST --cores 4`".to_owned()),
        ),
    };
    ReasonView { about: "firm hosts".into(), why, remedy }
}

fn owed_in_all(record: &ReservationRecord) -> MicroCredits {
    let short = record.wanted - record.given;
    let owed = i128::from(record.penalty.0) * i128::from(short);
    MicroCredits(i64::try_from(owed).unwrap_or(i64::MAX))
}

fn owed(record: &ReservationRecord, lost: MicroCredits) -> Option<ReasonView> {
    (record.wanted > record.given).then(|| ReasonView {
        about: "compensation".into(),
        why: format!(
            "{} credits are owed for what was not there, {lost} of these from bonds of hosts",
            owed_in_all(record)
        ),
        remedy: Some(format!(
            "nothing: it is paid at {}, the rest of it from what your own premiums have left there, as far as \
             there are any",
            record.until
        )),
    })
}
