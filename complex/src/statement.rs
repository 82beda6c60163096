//! Statements: the ledger's transfers from one account's side, with the balance after each.

use isos_base::api::StatementLine;
use isos_base::record::{Reason, TransferKind, TransferRecord};
use isos_base::{AccountId, MicroCredits};

/// One line, and the balance carried on.
pub(crate) fn line(
    account: AccountId,
    transfer: &TransferRecord,
    balance: &mut MicroCredits,
) -> StatementLine {
    let gives = transfer.debit == account;
    let sign = if gives { -1 } else { 1 };
    let amount = transfer.amount.0 * sign;
    // A post makes held money final: it leaves the hold and the balance together.
    let (own, held) = match transfer.kind {
        TransferKind::Direct => (amount, 0),
        TransferKind::Hold => (0, transfer.amount.0),
        TransferKind::Post => (amount, -transfer.amount.0),
        TransferKind::Void | TransferKind::Expire => (0, -transfer.amount.0),
    };
    balance.0 += own;
    let (kind, reason, about) = words(&transfer.reason);
    StatementLine {
        seq: transfer.seq,
        at: transfer.at,
        kind: kind.to_owned(),
        reason,
        about,
        other: if gives { transfer.credit } else { transfer.debit },
        amount: MicroCredits(own),
        held: MicroCredits(held),
        balance: *balance,
        hash: transfer.hash,
    }
}

/// A word for programs, words for people, and the job or lease.
fn words(reason: &Reason) -> (&'static str, String, Option<String>) {
    let of = |kind, text: &str, about: String| (kind, text.to_owned(), Some(about));
    let lease = |id: &isos_base::LeaseId| format!("lease {id}");
    match reason {
        Reason::Grant(why) => ("grant", format!("credits from the operator: {why}"), None),
        Reason::Hold(job) => of("hold", "set aside for a job", format!("job {job}")),
        Reason::Charge(id) => of("charge", "verified work", lease(id)),
        Reason::Pay(id) => of("pay", "pay for verified work", lease(id)),
        Reason::Fee(id) => of("fee", "fee on a lease", lease(id)),
        Reason::Rounding(id) => of("rounding", "rounding of a lease", lease(id)),
        Reason::Release(job) => of("release", "what a job did not need", format!("job {job}")),
        Reason::Gift(why) => ("gift", format!("gift: {why}"), None),
    }
}
