//! Invariant 11 over real databases: what hosts did, the bills for it and what these moved come to
//! the same, whatever the fuel and the price are and whenever a server dies.

use std::collections::BTreeMap;

use isos_base::price::Price;
use isos_base::record::BillRecord;
use isos_base::{BillId, Fuel};
use isos_kernel::ledger::{FeeRate, Settlement};

use super::*;
use crate::recount::{Begun, count_through};

const BILLS: u64 = 40;

/// Work of one bill, as leases would have it.
fn work(random: &mut Random) -> Vec<Fuel> {
    let fuel = |random: &mut Random| match random.below(4) {
        0 => Fuel(random.below(10)),
        1 => Fuel(random.below(2_000_000_000)),
        _ => Fuel(random.below(90_000_000)),
    };
    (0..=random.below(5)).map(|_| fuel(random)).collect()
}

/// Bills of random work, each posted with its transfers in one commit, before or behind which the
/// server may die; whoever was not answered asks again.
async fn settle(seed: u64, bank: &mut Bank) {
    let random = &mut Random::new(seed);
    let [buyer, one, other] = people();
    let (now, job) = (Time(1_000_000), JobId(7));
    let hold = TransferId(9_000);
    let grant = Posting::Direct {
        id: TransferId(9_001),
        debit: system::MINT,
        credit: buyer,
        amount: MicroCredits(1 << 40),
        reason: Reason::Grant("to spend".into()),
    };
    let (expires, reason) = (None, Reason::Hold(job));
    let amount = MicroCredits(1 << 39);
    let (debit, credit) = (buyer, system::ESCROW);
    let held = Posting::Hold { id: hold, debit, credit, amount, expires, reason };
    assert!(bank.act(now, &[grant, held], None).await);
    let mut used: BTreeMap<BillId, Vec<Fuel>> = BTreeMap::new();
    for number in 1..=BILLS {
        let (id, leases) = (BillId(number), work(random));
        let fuel = leases.iter().fold(Fuel(0), |sum, fuel| Fuel(sum.0 + fuel.0));
        let price = Price(random.below(3_000) as u32);
        let (charge, earning) = (price.charge(fuel), price.earning(fuel));
        let rate = FeeRate::new(random.below(5_001) as u16).expect("at most half");
        let fee = rate.fee(earning);
        let earner = if random.one_in(2) { one } else { other };
        let bill = BillRecord {
            id,
            job,
            account: earner,
            leases: leases.len() as u32,
            tasks: leases.len() as u64,
            fuel,
            price,
            opened: now,
            posted: Some(now),
            charged: charge,
            paid: MicroCredits(earning.0 - fee.0),
            fee,
        };
        let mut postings = Vec::new();
        let settlement = Settlement { bill: id, hold, earner, charge, earning, fee };
        settlement.postings(&mut postings).expect("it is priced as the complex does");
        let death = random.below(5);
        // Nobody was answered, so all of it is done again: at death before the commit, or behind
        // it.
        for again in [false, true] {
            let mut changes = vec![Change::Bill(Box::new(bill.clone()))];
            bank.ledger.post(now, &postings, &mut changes).expect("the hold pays for it");
            if death == 0 && !again {
                bank.die().await;
                continue;
            }
            bank.keep(&changes).await;
            if death == 1 && !again {
                bank.die().await;
                continue;
            }
            break;
        }
        used.insert(id, leases);
    }
    let reason = Reason::Hold(job);
    assert!(bank.act(now, &[Posting::Void { id: TransferId(9_002), hold, reason }], None).await);

    // Usage to bills, bills to transfers, transfers to nothing.
    let mut charged = 0;
    for (id, leases) in &used {
        let bill = bank.db().bill(*id).await.unwrap().expect("it was kept");
        assert_eq!(bill.fuel.0, leases.iter().map(|fuel| fuel.0).sum::<u64>(), "seed {seed}");
        assert_eq!(bill.leases as usize, leases.len(), "seed {seed}");
        charged += bill.charged.0;
    }
    let snapshot = bank.db().load().await.unwrap();
    let found = count_through(bank.db(), &Begun::of(&snapshot)).await;
    assert!(found.is_ok_and(|transfers| transfers > BILLS), "seed {seed}");
    let posted = |id: AccountId| {
        let account = snapshot.accounts.iter().find(|account| account.id == id);
        let Some(account) = account else { return 0 };
        let it = Balances::of(account);
        assert_eq!((it.debits_pending.0, it.credits_pending.0), (0, 0), "seed {seed}: {id}");
        it.credits_posted.0 - it.debits_posted.0
    };
    assert_eq!(posted(system::ESCROW), 0, "seed {seed}: nothing is left on the way");
    assert_eq!(posted(buyer), (1 << 40) - charged, "seed {seed}");
    let gained = [one, other, system::FEES, system::ROUNDING].map(posted);
    assert_eq!(gained.iter().sum::<i64>(), charged, "seed {seed}: {gained:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_usage_bills_and_transfers_reconcile_in_sqlite_and_in_postgres() {
    let folder = tempfile::tempdir().unwrap();
    let first = u64::from(std::process::id()) << 8;
    for seed in first..first + RUNS / 3 {
        let file = folder.path().join(format!("{seed}.db"));
        let urls = [Some(file.to_str().unwrap().to_owned()), postgres(100 + seed - first)];
        let mut heads = BTreeSet::new();
        for url in urls.into_iter().flatten() {
            let mut bank = Bank::begin(url).await;
            settle(seed, &mut bank).await;
            heads.insert(bank.ledger.head());
            bank.db().close().await.unwrap();
        }
        assert_eq!(heads.len(), 1, "seed {seed}: the same wherever it is kept");
    }
}
