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
    let (reason, about) = words(&transfer.reason);
    StatementLine {
        seq: transfer.seq,
        at: transfer.at,
        kind: format!("{:?}", transfer.kind).to_lowercase(),
        reason,
        about,
        other: if gives { transfer.credit } else { transfer.debit },
        amount: MicroCredits(own),
        held: MicroCredits(held),
        balance: *balance,
        hash: transfer.hash,
    }
}

fn words(reason: &Reason) -> (String, Option<String>) {
    let of = |text: &str, about: String| (text.to_owned(), Some(about));
    match reason {
        Reason::Grant(why) => (format!("credits from the operator: {why}"), None),
        Reason::Hold(job) => of("set aside for a job", format!("job {job}")),
        Reason::Charge(lease) => of("verified work", format!("lease {lease}")),
        Reason::Pay(lease) => of("pay for verified work", format!("lease {lease}")),
        Reason::Fee(lease) => of("fee on a lease", format!("lease {lease}")),
        Reason::Rounding(lease) => of("rounding of a lease", format!("lease {lease}")),
        Reason::Release(job) => of("what a job did not need", format!("job {job}")),
        Reason::Gift(why) => (format!("gift: {why}"), None),
    }
}
