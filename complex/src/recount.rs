//! The ledger counted again, once after each start: whether the transfers in the database are
//! those that were written there, and make the balances that the server goes by.
//!
//! A database is a file that others can change, by hand or by a restored half of a backup. The
//! chain of hashes shows it, so somebody must look. It happens beside all else, page by page; until
//! it has ended the server works as if all were well.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use isos_base::api::{Problem, ProblemCode};
use isos_base::record::{AccountRecord, Snapshot, TransferRecord};
use isos_base::{AccountId, Guid};
use isos_db::Db;
use isos_kernel::ledger::{Balances, GENESIS, fold_transfer, verify_chain};

use crate::core::report;
use crate::server::Shared;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Recount(OnceLock<Result<u64, String>>);

impl Recount {
    /// Why the ledger is not what was written, once that was found.
    pub(crate) fn wrong(&self) -> Option<&str> {
        self.0.get().and_then(|found| found.as_ref().err()).map(String::as_str)
    }

    /// Refuses what would make others believe a ledger that was changed.
    pub(crate) fn believed(&self) -> Result<(), Problem> {
        let Some(why) = self.wrong() else { return Ok(()) };
        let remedy = "nothing is signed until the operator has restored a backup";
        Err(Problem::new(ProblemCode::Verification, format!("{why}: {remedy}")))
    }
}

/// What the server started with: the end of the ledger and the balances there.
pub(crate) struct Begun {
    head: (u64, Guid),
    accounts: Vec<AccountRecord>,
}

impl Begun {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Self {
            head: snapshot.ledger_head.unwrap_or((0, GENESIS)),
            accounts: snapshot.accounts.clone(),
        }
    }
}

/// Counts, and remembers what came of it.
pub(crate) async fn run(shared: Arc<Shared>, begun: Begun) {
    let mut stopping = shared.stopping.clone();
    let counted = tokio::select! {
        counted = count(&shared.db, begun) => counted,
        _ = stopping.wait_for(|stop| *stop) => return,
    };
    let found = match counted {
        Ok(found) => found,
        Err(error) => {
            tracing::error!("the ledger could not be counted again: {}", report(&error));
            return;
        }
    };
    match &found {
        Ok(transfers) => tracing::debug!("the ledger is right: {transfers} transfers"),
        Err(why) => tracing::error!(
            "{why}. Somebody changed the database, or half of it was restored: stop the server and \
             restore a backup; until then no statement is signed"
        ),
    }
    // Only this task ever sets it.
    let _ = shared.recount.0.set(found);
}

/// The number of transfers, or what is wrong with them.
async fn count(db: &Db, begun: Begun) -> Result<Result<u64, String>, isos_db::ReadError> {
    let Begun { head: (last, hash), accounts } = begun;
    let mut tally = Tally { head: GENESIS, next: 1, balances: BTreeMap::new(), wrong: None };
    db.each_transfer(0, |transfer| {
        if transfer.seq > last {
            return ControlFlow::Break(());
        }
        tally.add(transfer)
    })
    .await?;
    if let Some(wrong) = tally.wrong {
        return Ok(Err(wrong));
    }
    if tally.next != last + 1 || tally.head != hash {
        let there = tally.next - 1;
        return Ok(Err(format!("the ledger ends at transfer {there}, not at {last} as was kept")));
    }
    for account in &accounts {
        let sum = tally.balances.get(&account.id).copied().unwrap_or_default();
        if sum != Balances::of(account) {
            let (name, id) = (&account.name, account.id);
            return Ok(Err(format!(
                "the balances of account {id} ({name}) are not the sums of its transfers"
            )));
        }
    }
    Ok(Ok(last))
}

struct Tally {
    head: Guid,
    next: u64,
    balances: BTreeMap<AccountId, Balances>,
    wrong: Option<String>,
}

impl Tally {
    fn add(&mut self, transfer: &TransferRecord) -> ControlFlow<()> {
        if transfer.seq != self.next {
            self.wrong = Some(format!("transfer {} is missing in the ledger", self.next));
            return ControlFlow::Break(());
        }
        match verify_chain(self.head, transfer) {
            Ok(head) => self.head = head,
            Err(error) => {
                self.wrong = Some(format!("the ledger was changed: {error}"));
                return ControlFlow::Break(());
            }
        }
        self.next += 1;
        let side = |account| self.balances.get(account).copied().unwrap_or_default();
        let (mut debit, mut credit) = (side(&transfer.debit), side(&transfer.credit));
        if !fold_transfer(&mut debit, &mut credit, transfer) {
            self.wrong = Some(format!("transfer {} leaves the range of a balance", transfer.seq));
            return ControlFlow::Break(());
        }
        self.balances.insert(transfer.debit, debit);
        self.balances.insert(transfer.credit, credit);
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use isos_base::record::{Reason, TransferKind};
    use isos_base::{MicroCredits, Time, TransferId};
    use isos_kernel::ledger::chain_hash;

    use super::*;

    /// Three transfers from account 1 to account 2, chained.
    fn transfers() -> Vec<TransferRecord> {
        let mut head = GENESIS;
        let made = (1..=3).map(|seq| {
            let mut transfer = TransferRecord {
                seq,
                id: TransferId(u128::from(seq)),
                kind: TransferKind::Direct,
                debit: AccountId(1),
                credit: AccountId(2),
                amount: MicroCredits(10),
                hold: None,
                reason: Reason::Gift("a test".into()),
                at: Time(seq),
                hash: GENESIS,
            };
            transfer.hash = chain_hash(head, &transfer);
            head = transfer.hash;
            transfer
        });
        made.collect()
    }

    fn found(transfers: &[TransferRecord]) -> Tally {
        let mut tally = Tally { head: GENESIS, next: 1, balances: BTreeMap::new(), wrong: None };
        let _ = transfers.iter().try_for_each(|transfer| tally.add(transfer));
        tally
    }

    #[test]
    fn what_was_written_is_found_right() {
        let tally = found(&transfers());
        assert_eq!((&tally.wrong, tally.next), (&None, 4));
        assert_eq!(tally.balances[&AccountId(2)].credits_posted, MicroCredits(30));
    }

    #[test]
    fn a_changed_a_missing_and_a_moved_transfer_are_each_found() {
        let mut changed = transfers();
        changed[0].amount.0 += 1;
        assert!(found(&changed).wrong.unwrap().contains("changed: the chain breaks at transfer"));
        let mut gap = transfers();
        gap.remove(1);
        assert_eq!(found(&gap).wrong.unwrap(), "transfer 2 is missing in the ledger");
        let mut moved = transfers();
        moved[1].hash = GENESIS;
        assert!(found(&moved).wrong.is_some());
    }
}
