//! The ledger counted again, once after each start: whether the transfers in the database are
//! those that were written there, and make the balances that the server goes by.
//!
//! A database is a file that others can change, by hand or by a restored half of a backup. The
//! chain of hashes shows it, so somebody must look. It happens beside all else, page by page; until
//! it has ended the server works as if all were well.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use isos_base::api::{Problem, ProblemCode};
use isos_base::record::{AccountRecord, Reason, Snapshot, TransferRecord};
use isos_base::{AccountId, BillId, Guid, MicroCredits};
use isos_db::{Db, ReadError};
use isos_kernel::ledger::{Balances, GENESIS, fold_transfer, verify_chain};

use crate::core::report;
use crate::server::Shared;
use crate::statement::bill_of;

/// Transfers that are read at once.
const PAGE: u32 = 1_000;
/// Between two tries while the database is away.
const AGAIN: Duration = Duration::from_secs(5);
/// Tries, which is ten minutes: what could not be counted for so long is not believed.
const TRIES: u32 = 120;

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
    let found = tokio::select! {
        found = count_through(&shared.db, &begun) => found,
        _ = stopping.wait_for(|stop| *stop) => return,
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

/// Counts, again while the database is away. What cannot be counted is as wrong as what was counted
/// otherwise: else one row that nobody can read would hide whatever was done to the others.
pub(crate) async fn count_through(db: &Db, begun: &Begun) -> Result<u64, String> {
    let mut tries = 1;
    loop {
        let error = match count(db, begun).await {
            Ok(found) => return found,
            Err(error) => error,
        };
        let why = format!("the ledger could not be counted again: {}", report(&error));
        if !may_pass(&error) || tries >= TRIES {
            return Err(why);
        }
        tracing::warn!("{why}; trying again");
        tries += 1;
        tokio::time::sleep(AGAIN).await;
    }
}

/// Whether it was the way to the database, and not what stands there.
const fn may_pass(error: &ReadError) -> bool {
    match error {
        ReadError::Failed { .. } => true,
        ReadError::Row { .. } | ReadError::Damaged { .. } => false,
    }
}

/// The number of transfers, or what is wrong with them.
async fn count(db: &Db, begun: &Begun) -> Result<Result<u64, String>, ReadError> {
    let Begun { head: (last, hash), accounts } = begun;
    let (last, hash) = (*last, *hash);
    let mut tally = Tally::new();
    let mut after = 0;
    loop {
        let page = db.transfers(None, after, PAGE).await?;
        let Some(end) = page.last() else { break };
        after = end.seq;
        let mut known = page.iter().take_while(|transfer| transfer.seq <= last);
        let _ = known.try_for_each(|transfer| tally.add(transfer));
        if let Some(wrong) = tally.wrong {
            return Ok(Err(wrong));
        }
        let goes_on = after < last;
        for (bill, moved) in tally.whole_bills(goes_on) {
            if let Some(wrong) = bill_wrong(db, bill, moved).await? {
                return Ok(Err(wrong));
            }
        }
        if !goes_on {
            break;
        }
    }
    if tally.next != last + 1 || tally.head != hash {
        let there = tally.next - 1;
        return Ok(Err(format!("the ledger ends at transfer {there}, not at {last} as was kept")));
    }
    for account in accounts {
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

/// What is wrong with the bill that these transfers were for. Bills are in no chain: what they say
/// is in statements, so it has to come to what was moved.
async fn bill_wrong(db: &Db, id: BillId, moved: Moved) -> Result<Option<String>, ReadError> {
    let Some(bill) = db.bill(id).await? else {
        return Ok(Some(format!("bill {id} is missing, for which there are transfers")));
    };
    let kept = Moved { charge: bill.charged.0, pay: bill.paid.0, fee: bill.fee.0 };
    let Moved { charge, pay, fee } = moved;
    let (worth, earning) = (bill.price.charge(bill.fuel), bill.price.earning(bill.fuel));
    let (charged, earned) = (MicroCredits(charge), MicroCredits(pay.saturating_add(fee)));
    if kept == moved && (worth, earning) == (charged, earned) {
        return Ok(None);
    }
    Ok(Some(format!(
        "bill {id} was changed: its work comes to {} and {} were charged, {} earned and {} paid, in \
         micro-credits",
        worth.0, charged.0, earning.0, earned.0
    )))
}

/// What transfers moved for one bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Moved {
    charge: i64,
    pay: i64,
    fee: i64,
}

impl Moved {
    fn add(&mut self, transfer: &TransferRecord) {
        let side = match transfer.reason {
            Reason::Charge(_) => &mut self.charge,
            Reason::Pay(_) => &mut self.pay,
            Reason::Fee(_) => &mut self.fee,
            // What is left of the other three.
            _ => return,
        };
        *side = side.saturating_add(transfer.amount.0);
    }
}

struct Tally {
    head: Guid,
    next: u64,
    balances: BTreeMap<AccountId, Balances>,
    /// Bills that are not compared yet, in the order of their transfers. Those of one bill stand
    /// one behind another.
    bills: Vec<(BillId, Moved)>,
    wrong: Option<String>,
}

impl Tally {
    fn new() -> Self {
        let (balances, bills) = Default::default();
        Self { head: GENESIS, next: 1, balances, bills, wrong: None }
    }

    /// The bills whose transfers have all been seen: not the last, while more may come.
    fn whole_bills(&mut self, goes_on: bool) -> Vec<(BillId, Moved)> {
        let open = if goes_on { self.bills.pop() } else { None };
        std::mem::replace(&mut self.bills, open.into_iter().collect())
    }

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
        if let Some(bill) = bill_of(&transfer.reason) {
            if self.bills.last().is_none_or(|(last, _)| *last != bill) {
                self.bills.push((bill, Moved::default()));
            }
            if let Some((_, moved)) = self.bills.last_mut() {
                moved.add(transfer);
            }
        }
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
    use isos_base::capability::Right;
    use isos_base::price::Price;
    use isos_base::record::{BillRecord, Change, TransferKind};
    use isos_base::{Fuel, JobId, Span, Time, TransferId};
    use isos_kernel::ledger::chain_hash;

    use super::*;
    use crate::testing::World;
    use crate::{Server, ServerConfig};

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
        let mut tally = Tally::new();
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

    /// The transfers of a bill of 250.5 micro-credits, with a fee of 5.
    fn billed() -> Vec<TransferRecord> {
        let (id, mut head) = (BillId(1), GENESIS);
        let parts = [
            (251, Reason::Charge(id)),
            (245, Reason::Pay(id)),
            (5, Reason::Fee(id)),
            (1, Reason::Rounding(id)),
        ];
        let mut made = transfers();
        made.truncate(parts.len() - 1);
        made.push(made[0].clone());
        for ((transfer, (amount, reason)), seq) in made.iter_mut().zip(parts).zip(1..) {
            (transfer.seq, transfer.id) = (seq, TransferId(u128::from(seq)));
            (transfer.amount, transfer.reason) = (MicroCredits(amount), reason);
            transfer.hash = chain_hash(head, transfer);
            head = transfer.hash;
        }
        made
    }

    #[tokio::test]
    async fn a_bill_that_says_otherwise_than_its_transfers_is_found() {
        let db = Db::open("sqlite::memory:").await.unwrap();
        let transfers = billed();
        let last = transfers.last().unwrap();
        let begun = Begun { head: (last.seq, last.hash), accounts: Vec::new() };
        let moved = transfers.iter().map(|transfer| Change::Transfer(Box::new(transfer.clone())));
        db.commit(&moved.collect::<Vec<_>>()).await.unwrap();
        let missing = count(&db, &begun).await.unwrap().unwrap_err();
        assert_eq!(missing, "bill 1 is missing, for which there are transfers");
        let bill = BillRecord {
            id: BillId(1),
            job: JobId(1),
            account: AccountId(2),
            leases: 1,
            tasks: 1,
            fuel: Fuel(2_505_000_000),
            price: Price(100),
            opened: Time(1),
            posted: Some(Time(2)),
            charged: MicroCredits(251),
            paid: MicroCredits(245),
            fee: MicroCredits(5),
        };
        let twice = BillRecord { fuel: Fuel(2 * bill.fuel.0), ..bill.clone() };
        let no_fee = BillRecord { paid: MicroCredits(250), fee: MicroCredits(0), ..bill.clone() };
        for (bill, says) in [
            (bill, Ok(4)),
            (
                twice,
                Err("bill 1 was changed: its work comes to 501 and 251 were charged, 501 \
                         earned and 250 paid, in micro-credits"),
            ),
            (
                no_fee,
                Err("bill 1 was changed: its work comes to 251 and 251 were charged, 250 \
                          earned and 250 paid, in micro-credits"),
            ),
        ] {
            db.commit(&[Change::Bill(Box::new(bill))]).await.unwrap();
            assert_eq!(count(&db, &begun).await.unwrap(), says.map_err(ToOwned::to_owned));
        }
    }

    #[tokio::test]
    async fn a_row_that_cannot_be_read_is_a_fault_and_nothing_is_signed() {
        let home = tempfile::tempdir().unwrap();
        let welcome = MicroCredits(5);
        let config = || ServerConfig { welcome, ..ServerConfig::local(home.path().to_owned()) };
        let server = Server::start(config()).await.unwrap();
        for name in ["ada", "ben"] {
            server.ticket(name, &[Right::Read], Span::secs(60)).await.unwrap();
        }
        server.stop().await;
        // The reason and the note of the first transfer, as the file has them.
        let file = home.path().join("complex.db");
        let mut bytes = std::fs::read(&file).unwrap();
        let row = b"grantwelcome";
        let at = bytes.windows(row.len()).rposition(|part| part == row).unwrap();
        bytes[at..at + 5].copy_from_slice(b"grunt");
        std::fs::write(&file, bytes).unwrap();

        let world = World::of(Server::start(config()).await.unwrap());
        let shared = world.server.shared.clone();
        let found = async {
            loop {
                if let Some(why) = shared.recount.wrong() {
                    return why.to_owned();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let why = tokio::time::timeout(Duration::from_secs(20), found).await.unwrap();
        assert!(why.starts_with("the ledger could not be counted again: "), "{why}");
        assert!(why.contains("row 1 of table transfers"), "{why}");
        let (status, body) = world.json("GET /v1/status", &world.operator(), "").await;
        assert!(status == 200 && body.contains("row 1 of table transfers"), "{body}");
        let line = "GET /v1/ledger/head";
        let (status, body) = world.json(line, &world.operator(), "").await;
        assert!(status >= 400 && body.contains("nothing is signed"), "{status} {body}");
        let (_, _, metrics) = world.ask("GET /metrics", &[], b"").await;
        assert!(metrics.contains("\nisos_ledger_wrong 1\n"), "{metrics}");
        let (ready, ..) = world.ask("GET /readyz", &[], b"").await;
        assert_eq!(ready, 200, "it serves all the same");
    }
}
