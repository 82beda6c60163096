//! The words for what a transfer is and why it was made.

use isos_base::ids::{BillId, JobId, LeaseId, PayoutId, ReservationId};
use isos_base::record::{Reason, TransferKind};

pub(super) fn kind(kind: TransferKind) -> &'static str {
    match kind {
        TransferKind::Direct => "direct",
        TransferKind::Hold => "hold",
        TransferKind::Post => "post",
        TransferKind::Void => "void",
        TransferKind::Expire => "expire",
    }
}

/// A reason in three columns: its name, the job or lease, the text.
pub(super) fn reason(reason: &Reason) -> (&'static str, Option<u64>, Option<&str>) {
    match reason {
        Reason::Grant(note) => ("grant", None, Some(note)),
        Reason::Hold(job) => ("hold", Some(job.0), None),
        Reason::Charge(bill) => ("charge", Some(bill.0), None),
        Reason::Pay(bill) => ("pay", Some(bill.0), None),
        Reason::Fee(bill) => ("fee", Some(bill.0), None),
        Reason::Rounding(bill) => ("rounding", Some(bill.0), None),
        Reason::Release(job) => ("release", Some(job.0), None),
        Reason::Gift(note) => ("gift", None, Some(note)),
        Reason::Payout(payout) => ("payout", Some(payout.0), None),
        Reason::Refused(payout, note) => ("refused", Some(payout.0), Some(note)),
        Reason::Deposit(note) => ("deposit", None, Some(note)),
        Reason::Reserve(reservation) => ("reserve", Some(reservation.0), None),
        Reason::Compensation(reservation) => ("compensation", Some(reservation.0), None),
        Reason::Storage => ("storage", None, None),
        Reason::Rent(lease) => ("rent", Some(lease.0), None),
        Reason::Bond(reservation) => ("bond", Some(reservation.0), None),
        Reason::Forfeit(reservation) => ("forfeit", Some(reservation.0), None),
        Reason::Demurrage(day) => ("demurrage", Some(*day), None),
        Reason::Standby(reservation) => ("standby", Some(reservation.0), None),
    }
}

pub(super) fn reason_of(name: &str, about: Option<u64>, note: Option<String>) -> Option<Reason> {
    Some(match (name, about, note) {
        ("grant", None, Some(note)) => Reason::Grant(note),
        ("hold", Some(job), None) => Reason::Hold(JobId(job)),
        ("charge", Some(bill), None) => Reason::Charge(BillId(bill)),
        ("pay", Some(bill), None) => Reason::Pay(BillId(bill)),
        ("fee", Some(bill), None) => Reason::Fee(BillId(bill)),
        ("rounding", Some(bill), None) => Reason::Rounding(BillId(bill)),
        ("release", Some(job), None) => Reason::Release(JobId(job)),
        ("gift", None, Some(note)) => Reason::Gift(note),
        ("payout", Some(payout), None) => Reason::Payout(PayoutId(payout)),
        ("refused", Some(payout), Some(note)) => Reason::Refused(PayoutId(payout), note),
        ("deposit", None, Some(note)) => Reason::Deposit(note),
        ("reserve", Some(id), None) => Reason::Reserve(ReservationId(id)),
        ("compensation", Some(id), None) => Reason::Compensation(ReservationId(id)),
        ("storage", None, None) => Reason::Storage,
        ("rent", Some(lease), None) => Reason::Rent(LeaseId(lease)),
        ("bond", Some(id), None) => Reason::Bond(ReservationId(id)),
        ("forfeit", Some(id), None) => Reason::Forfeit(ReservationId(id)),
        ("demurrage", Some(day), None) => Reason::Demurrage(day),
        ("standby", Some(id), None) => Reason::Standby(ReservationId(id)),
        _ => return None,
    })
}
