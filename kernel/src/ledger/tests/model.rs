//! Random operations against a naive model that shares nothing with the ledger: it keeps every
//! posting that ever was and adds them all up again, in numbers that cannot overflow.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::record::{Reason, TransferRecord, system};
use isos_base::{AccountId, JobId, MicroCredits, Span, Time, TransferId};
use proptest::prelude::*;

use super::{Bank, direct};
use crate::ledger::{Balances, GENESIS, LedgerError, Posting, fold_transfer, verify_chain};

/// One random step.
#[derive(Debug, Clone)]
enum Op {
    Batch(Vec<Posting>),
    /// The n-th batch again.
    Repeat(usize),
    Wait(u64),
    Expire,
    /// The ledger starts again from its rows.
    Restart,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Money {
    debits_pending: i128,
    debits_posted: i128,
    credits_pending: i128,
    credits_posted: i128,
}

#[derive(Debug, Clone)]
struct ModelHold {
    debit: AccountId,
    credit: AccountId,
    left: i128,
    expires: Option<Time>,
    open: bool,
}

#[derive(Debug, Clone, Default)]
struct Model {
    ids: BTreeMap<TransferId, Posting>,
    /// Everything that moved: who gave, who got, how much became pending, how much posted.
    moves: Vec<(AccountId, AccountId, i128, i128)>,
    holds: BTreeMap<TransferId, ModelHold>,
    known: BTreeSet<AccountId>,
}

impl Model {
    fn money(&self, account: AccountId) -> Money {
        let mut money = Money::default();
        for (debit, credit, pending, posted) in &self.moves {
            if *debit == account {
                money.debits_pending += pending;
                money.debits_posted += posted;
            }
            if *credit == account {
                money.credits_pending += pending;
                money.credits_posted += posted;
            }
        }
        money
    }

    /// Whether the balances are those of a bank.
    fn is_lawful(&self, account: AccountId) -> bool {
        let money = self.money(account);
        let max = i128::from(i64::MAX);
        money.debits_pending + money.debits_posted <= max
            && money.credits_pending + money.credits_posted <= max
            && (account == system::MINT
                || money.debits_pending + money.debits_posted <= money.credits_posted)
    }

    fn post(&mut self, now: Time, postings: &[Posting]) -> bool {
        let mut next = self.clone();
        let done = postings.iter().all(|posting| next.one(now, posting));
        if done {
            *self = next;
        }
        done
    }

    fn one(&mut self, now: Time, posting: &Posting) -> bool {
        if let Some(before) = self.ids.get(&posting.id()) {
            return timeless(before) == timeless(posting);
        }
        self.ids.insert(posting.id(), posting.clone());
        let (debit, credit) = match posting {
            Posting::Direct { debit, credit, amount, .. } => {
                self.moves.push((*debit, *credit, 0, amount.0.into()));
                (*debit, *credit)
            }
            Posting::Hold { id, debit, credit, amount, expires, .. } => {
                if expires.is_some_and(|expires| expires <= now) {
                    return false;
                }
                let left = amount.0.into();
                let hold = ModelHold {
                    debit: *debit,
                    credit: *credit,
                    left,
                    expires: *expires,
                    open: true,
                };
                self.holds.insert(*id, hold);
                self.moves.push((*debit, *credit, left, 0));
                (*debit, *credit)
            }
            Posting::Post { hold, amount, .. } => {
                let amount = i128::from(amount.0);
                let Some(hold) = self.holds.get_mut(hold).filter(|hold| hold.open) else {
                    return false;
                };
                if hold.expires.is_some_and(|expires| expires <= now) || amount > hold.left {
                    return false;
                }
                hold.left -= amount;
                self.moves.push((hold.debit, hold.credit, -amount, amount));
                (hold.debit, hold.credit)
            }
            Posting::Void { hold, .. } => return self.close(*hold),
        };
        let positive = match posting {
            Posting::Direct { amount, .. }
            | Posting::Hold { amount, .. }
            | Posting::Post { amount, .. } => amount.0 > 0,
            Posting::Void { .. } => true,
        };
        positive
            && debit != credit
            && [debit, credit].iter().all(|it| self.known.contains(it) && self.is_lawful(*it))
    }

    fn close(&mut self, hold: TransferId) -> bool {
        let Some(hold) = self.holds.get_mut(&hold).filter(|hold| hold.open) else {
            return false;
        };
        hold.open = false;
        self.moves.push((hold.debit, hold.credit, -hold.left, 0));
        true
    }

    fn expire(&mut self, now: Time) {
        let due = |hold: &ModelHold| hold.open && hold.expires.is_some_and(|at| at <= now);
        let due: Vec<_> = self.holds.iter().filter(|(_, it)| due(it)).map(|(id, _)| *id).collect();
        due.into_iter().for_each(|id| assert!(self.close(id)));
    }
}

fn timeless(posting: &Posting) -> Posting {
    let mut posting = posting.clone();
    if let Posting::Hold { expires, .. } = &mut posting {
        *expires = None;
    }
    posting
}

fn account() -> impl Strategy<Value = AccountId> {
    let people = (100u64..104).prop_map(AccountId);
    prop_oneof![
        2 => Just(system::MINT),
        2 => Just(system::ESCROW),
        6 => people,
        1 => Just(AccountId(999)),
    ]
}

fn amount() -> impl Strategy<Value = MicroCredits> {
    prop_oneof![
        6 => 1i64..1_000,
        4 => proptest::sample::select(vec![1i64, 699, 700, 701]),
        2 => (i64::MAX - 2_000)..=i64::MAX,
        1 => (i64::MAX / 2 - 5)..(i64::MAX / 2 + 5),
        1 => -2i64..=0,
    ]
    .prop_map(MicroCredits)
}

fn posting() -> impl Strategy<Value = Posting> {
    let id = || (1u128..30).prop_map(TransferId);
    let hold = (id(), account(), account(), amount(), proptest::option::of(0u64..40)).prop_map(
        |(id, debit, credit, amount, expires)| Posting::Hold {
            id,
            debit,
            credit,
            amount,
            expires: expires.map(|secs| Time(0) + Span::secs(secs)),
            reason: Reason::Hold(JobId(1)),
        },
    );
    let post = (id(), id(), amount()).prop_map(|(id, hold, amount)| Posting::Post {
        id,
        hold,
        amount,
        reason: Reason::Release(JobId(1)),
    });
    let void = (id(), id()).prop_map(|(id, hold)| Posting::Void {
        id,
        hold,
        reason: Reason::Release(JobId(1)),
    });
    let gift = (id(), account(), account(), amount())
        .prop_map(|(id, debit, credit, amount)| direct(id.0, debit, credit, amount.0));
    prop_oneof![4 => gift, 3 => hold, 4 => post, 1 => void]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => proptest::collection::vec(posting(), 1..4).prop_map(Op::Batch),
        2 => (0usize..50).prop_map(Op::Repeat),
        2 => (0u64..8).prop_map(Op::Wait),
        1 => Just(Op::Expire),
        1 => Just(Op::Restart),
    ]
}

/// Ledger and model side by side.
struct Pair {
    bank: Bank,
    model: Model,
    now: Time,
    batches: Vec<Vec<Posting>>,
}

impl Pair {
    fn new() -> Self {
        let mut bank = Bank::default();
        let people = ["ada", "ben", "cat", "dan"].map(|name| bank.open(name));
        let mut model = Model::default();
        model.known.extend([system::MINT, system::ESCROW]);
        model.known.extend(people);
        let mut pair = Self { bank, model, now: Time(0), batches: Vec::new() };
        let grants = people.map(|it| direct(1_000 + u128::from(it.0), system::MINT, it, 700));
        pair.batch(grants.to_vec());
        pair
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Batch(postings) => self.batch(postings),
            Op::Repeat(index) => {
                let batch = self.batches[index % self.batches.len()].clone();
                self.batch(batch);
            }
            Op::Wait(secs) => self.now += Span::secs(secs),
            Op::Expire => {
                self.bank.expire(self.now);
                self.model.expire(self.now);
            }
            Op::Restart => {
                let mut ledger = self.bank.restored();
                self.bank.transfers.iter().for_each(|transfer| ledger.remember(transfer));
                assert_eq!(ledger.head(), self.bank.ledger.head());
                assert_eq!(ledger.next_expiry(), self.bank.ledger.next_expiry());
                assert!(ledger.holds().eq(self.bank.ledger.holds()));
                assert!(ledger.accounts().eq(self.bank.ledger.accounts()));
                self.bank.ledger = ledger;
            }
        }
        self.compare();
    }

    fn batch(&mut self, postings: Vec<Posting>) {
        let expected = self.model.post(self.now, &postings);
        let result = self.bank.post(self.now, &postings);
        assert_eq!(result.is_ok(), expected, "{result:?} for {postings:?}");
        if expected {
            assert_eq!(self.bank.post(self.now, &postings), Ok(0), "twice is once");
        }
        self.batches.push(postings);
    }

    fn compare(&self) {
        for account in &self.model.known {
            let balances = Balances::of(self.bank.ledger.account(*account).unwrap());
            let money = Money {
                debits_pending: balances.debits_pending.0.into(),
                debits_posted: balances.debits_posted.0.into(),
                credits_pending: balances.credits_pending.0.into(),
                credits_posted: balances.credits_posted.0.into(),
            };
            assert_eq!(money, self.model.money(*account), "account {account}");
        }
        let open = self.model.holds.iter().filter(|(_, hold)| hold.open);
        let open: Vec<_> = open.map(|(id, hold)| (*id, hold.left)).collect();
        let holds = self.bank.ledger.holds();
        let holds: Vec<_> = holds.map(|it| (it.id, i128::from(it.remaining.0))).collect();
        assert_eq!(holds, open);
    }

    /// Invariants 2 and 9 of the bank: balances are the fold of the transfers, which are a chain.
    fn audit_history(&self) {
        let mut balances: BTreeMap<AccountId, Balances> = BTreeMap::new();
        let mut head = GENESIS;
        for (index, transfer) in self.bank.transfers.iter().enumerate() {
            let TransferRecord { seq, debit, credit, .. } = transfer;
            assert_eq!(*seq, index as u64 + 1);
            head = verify_chain(head, transfer).unwrap();
            let mut giver = balances.get(debit).copied().unwrap_or_default();
            let mut getter = balances.get(credit).copied().unwrap_or_default();
            assert!(fold_transfer(&mut giver, &mut getter, transfer));
            balances.insert(*debit, giver);
            balances.insert(*credit, getter);
        }
        assert_eq!(head, self.bank.ledger.head().1);
        for record in self.bank.ledger.accounts() {
            let folded = balances.get(&record.id).copied().unwrap_or_default();
            assert_eq!(folded, Balances::of(record));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn any_operations_agree_with_the_naive_bank(ops in proptest::collection::vec(op(), 1..60)) {
        let mut pair = Pair::new();
        for op in ops {
            pair.step(op);
        }
        pair.audit_history();
    }

    #[test]
    fn any_settlement_is_conserved(
        charge in 0i64..=i64::MAX,
        earning in 0i64..=i64::MAX,
        points in 0u16..=10_000,
    ) {
        use crate::ledger::{FeeRate, Settlement};
        let (charge, earning) = (charge.max(earning), charge.min(earning));
        let mut bank = Bank::default();
        let (ada, ben) = (bank.open("ada"), bank.open("ben"));
        let earning = MicroCredits(earning);
        let fee = FeeRate::new(points).unwrap().fee(earning);
        let hold = TransferId(2);
        let settlement = Settlement {
            bill: isos_base::BillId(1),
            hold,
            earner: ben,
            charge: MicroCredits(charge),
            earning,
            fee,
        };
        let mut postings = vec![];
        if charge > 0 {
            postings.push(direct(1, system::MINT, ada, charge));
            postings.push(Posting::Hold {
                id: hold,
                debit: ada,
                credit: system::ESCROW,
                amount: MicroCredits(charge),
                expires: None,
                reason: Reason::Hold(JobId(1)),
            });
        }
        settlement.postings(&mut postings).unwrap();
        bank.post(Time(1), &postings).unwrap();
        let got = |it| bank.ledger.account_view(it).unwrap().available.0;
        prop_assert_eq!(got(ben), earning.0 - fee.0);
        prop_assert_eq!(got(system::FEES), fee.0);
        prop_assert_eq!(got(system::ROUNDING), charge - earning.0);
        prop_assert_eq!((got(system::ESCROW), got(ada)), (0, 0));
    }
}

#[test]
fn the_model_itself_can_refuse() {
    let mut pair = Pair::new();
    let refused = pair.bank.post(Time(0), &[direct(5, AccountId(100), AccountId(101), 701)]);
    assert!(matches!(refused, Err(LedgerError::InsufficientFunds { .. })));
    assert!(!pair.model.post(Time(0), &[direct(5, AccountId(100), AccountId(101), 701)]));
}
