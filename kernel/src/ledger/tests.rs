//! The ledger's story in small cases; the random ones are in `model`.

mod model;

use expect_test::expect;
use isos_base::key::PublicKey;
use isos_base::price::Price;
use isos_base::record::{Reason, TransferKind, system};
use isos_base::{BillId, Fuel, JobId, MicroCredits, Span};

use super::*;

const NOW: Time = Time(1_000_000);

/// A ledger beside the rows that a database would have of it.
#[derive(Default)]
pub(super) struct Bank {
    pub(super) ledger: Ledger,
    pub(super) accounts: BTreeMap<AccountId, AccountRecord>,
    pub(super) holds: BTreeMap<TransferId, HoldRecord>,
    pub(super) transfers: Vec<TransferRecord>,
}

impl Bank {
    pub(super) fn open(&mut self, name: &str) -> AccountId {
        let mut out = Vec::new();
        let id = self.ledger.open_account(name, None, &mut out).unwrap();
        self.keep(out);
        id
    }

    pub(super) fn post(&mut self, now: Time, postings: &[Posting]) -> Result<usize, LedgerError> {
        let mut out = Vec::new();
        let result = self.ledger.post(now, postings, &mut out);
        assert!(result.is_ok() || out.is_empty(), "a refused batch says nothing");
        let changes = out.len();
        self.keep(out);
        self.ledger.check_invariants();
        result.map(|()| changes)
    }

    pub(super) fn expire(&mut self, now: Time) -> usize {
        let mut out = Vec::new();
        let closed = self.ledger.expire(now, &mut out);
        self.keep(out);
        self.ledger.check_invariants();
        closed
    }

    fn keep(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Account(record) => drop(self.accounts.insert(record.id, *record)),
                Change::Hold(hold) => drop(self.holds.insert(hold.id, hold)),
                Change::Transfer(transfer) => self.transfers.push(*transfer),
                other => panic!("not the ledger's: {other:?}"),
            }
        }
    }

    pub(super) fn restored(&self) -> Ledger {
        let head = self.transfers.last().map(|last| (last.seq, last.hash));
        let accounts = self.accounts.values().cloned();
        Ledger::restore(accounts, self.holds.values().copied(), head).unwrap()
    }

    /// (available, held)
    fn money(&self, account: AccountId) -> (i64, i64) {
        let view = self.ledger.account_view(account).unwrap();
        (view.available.0, view.held.0)
    }
}

pub(super) fn direct(id: u128, debit: AccountId, credit: AccountId, amount: i64) -> Posting {
    let reason = Reason::Gift("thanks".into());
    Posting::Direct { id: TransferId(id), debit, credit, amount: MicroCredits(amount), reason }
}

fn hold(id: u128, debit: AccountId, amount: i64, expires: Option<Time>) -> Posting {
    let (id, credit, amount) = (TransferId(id), system::ESCROW, MicroCredits(amount));
    Posting::Hold { id, debit, credit, amount, expires, reason: Reason::Hold(JobId(1)) }
}

fn part(id: u128, hold: u128, amount: i64) -> Posting {
    let (id, hold, amount) = (TransferId(id), TransferId(hold), MicroCredits(amount));
    Posting::Post { id, hold, amount, reason: Reason::Charge(BillId(1)) }
}

fn void(id: u128, hold: u128) -> Posting {
    let (id, hold) = (TransferId(id), TransferId(hold));
    Posting::Void { id, hold, reason: Reason::Release(JobId(1)) }
}

/// A buyer with 1,000 micro-credits and a host's owner with none.
fn bank() -> (Bank, AccountId, AccountId) {
    let mut bank = Bank::default();
    let (ada, ben) = (bank.open("ada"), bank.open("ben"));
    bank.post(NOW, &[direct(1, system::MINT, ada, 1_000)]).unwrap();
    (bank, ada, ben)
}

#[test]
fn a_hold_is_spent_in_parts_and_the_rest_comes_back() {
    let (mut bank, ada, ben) = bank();
    bank.post(NOW, &[hold(2, ada, 600, None)]).unwrap();
    assert_eq!(bank.money(ada), (400, 600));
    bank.post(NOW, &[part(3, 2, 250), direct(4, system::ESCROW, ben, 250)]).unwrap();
    bank.post(NOW, &[part(5, 2, 100), direct(6, system::ESCROW, ben, 100)]).unwrap();
    assert_eq!((bank.money(ada), bank.money(ben)), ((400, 250), (350, 0)));
    bank.post(NOW, &[void(7, 2)]).unwrap();
    assert_eq!((bank.money(ada), bank.money(ben)), ((650, 0), (350, 0)));
    assert_eq!(bank.money(system::ESCROW), (0, 0));
    assert_eq!(bank.ledger.hold(TransferId(2)), None);
    let refused = bank.post(NOW, &[part(8, 2, 1)]);
    assert_eq!(refused, Err(LedgerError::HoldNotOpen(TransferId(2))));
}

#[test]
fn a_hold_that_is_used_up_is_voided_without_asking() {
    let (mut bank, ada, _) = bank();
    bank.post(NOW, &[hold(2, ada, 600, None), part(3, 2, 600), void(4, 2)]).unwrap();
    let last = bank.transfers.last().unwrap();
    assert_eq!((last.kind, last.amount.0), (TransferKind::Void, 0));
    assert_eq!(bank.money(ada), (400, 0));
}

#[test]
fn nobody_but_the_mint_spends_what_is_not_there() {
    let (mut bank, ada, ben) = bank();
    bank.post(NOW, &[hold(2, ada, 600, None)]).unwrap();
    for (account, posting, available) in [
        (ada, direct(3, ada, ben, 401), 400),
        (ada, hold(3, ada, 401, None), 400),
        (system::ESCROW, direct(3, system::ESCROW, ben, 401), 0),
    ] {
        let refused = bank.post(NOW, &[posting]).unwrap_err();
        let (available, needed) = (MicroCredits(available), MicroCredits(401));
        assert_eq!(refused, LedgerError::InsufficientFunds { account, available, needed });
    }
    assert_eq!(bank.money(system::MINT), (-1_000, 0));
    expect!["account 100 has 0.000400 credits available, 0.000401 are needed"]
        .assert_eq(&bank.post(NOW, &[direct(3, ada, ben, 401)]).unwrap_err().to_string());
}

#[test]
fn a_batch_happens_whole_or_not_at_all() {
    let (mut bank, ada, ben) = bank();
    let before = bank.ledger.head();
    let batch = [direct(2, ada, ben, 10), hold(3, ada, 20, None), direct(4, ada, ben, 5_000)];
    bank.post(NOW, &batch).unwrap_err();
    assert_eq!((bank.money(ada), bank.money(ben)), ((1_000, 0), (0, 0)));
    assert_eq!(bank.ledger.head(), before);
    assert_eq!(bank.ledger.holds().count(), 0);
    bank.post(NOW, &batch[..2]).unwrap();
}

#[test]
fn money_that_comes_in_within_a_batch_can_go_on_in_it() {
    let (mut bank, ada, ben) = bank();
    let cat = bank.open("cat");
    bank.post(NOW, &[direct(2, ada, ben, 900), direct(3, ben, cat, 900)]).unwrap();
    assert_eq!(bank.money(cat), (900, 0));
}

#[test]
fn doing_it_twice_is_doing_it_once_and_an_id_means_one_thing() {
    let (mut bank, ada, ben) = bank();
    let batch = [direct(2, ada, ben, 10), hold(3, ada, 20, Some(NOW + Span::secs(9)))];
    assert_eq!(bank.post(NOW, &batch), Ok(6));
    assert_eq!(bank.post(NOW + Span::secs(1), &batch), Ok(0));
    // An honest retry reckons the expiry from its own clock.
    assert_eq!(bank.post(NOW, &[hold(3, ada, 20, Some(NOW + Span::secs(10)))]), Ok(0));
    // The new part of a repeated batch is done.
    let more = [direct(2, ada, ben, 10), direct(4, ada, ben, 1), direct(4, ada, ben, 1)];
    assert_eq!(bank.post(NOW, &more), Ok(3));
    for other in
        [direct(2, ada, ben, 11), direct(3, ada, ben, 20), void(2, 3), hold(2, ada, 10, None)]
    {
        let id = other.id();
        assert_eq!(bank.post(NOW, &[other]), Err(LedgerError::IdTaken(id)));
    }
}

#[test]
fn a_restored_ledger_knows_the_repetitions_that_it_is_told_of() {
    let (mut bank, ada, ben) = bank();
    let batch = [
        direct(2, ada, ben, 10),
        hold(3, ada, 20, Some(NOW + Span::secs(9))),
        part(4, 3, 5),
        void(5, 3),
    ];
    bank.post(NOW, &batch).unwrap();
    let mut ledger = bank.restored();
    bank.transfers.iter().for_each(|transfer| ledger.remember(transfer));
    let mut out = Vec::new();
    assert_eq!(ledger.post(NOW, &batch, &mut out), Ok(()));
    assert_eq!(out, []);
}

#[test]
fn an_open_hold_is_not_made_again_after_a_restart() {
    let (mut bank, ada, _) = bank();
    bank.post(NOW, &[hold(2, ada, 20, None)]).unwrap();
    let mut ledger = bank.restored();
    let again = ledger.post(NOW, &[hold(2, ada, 20, None)], &mut Vec::new());
    assert_eq!(again, Err(LedgerError::IdTaken(TransferId(2))));
}

#[test]
fn a_hold_expires_by_itself() {
    let (mut bank, ada, _) = bank();
    let (soon, late) = (NOW + Span::secs(5), NOW + Span::secs(9));
    let job = JobId(77);
    let mut first = hold(0, ada, 300, Some(late));
    if let Posting::Hold { id, .. } = &mut first {
        *id = job_hold(job);
    }
    bank.post(NOW, &[first, hold(3, ada, 100, Some(soon)), part(4, 3, 40)]).unwrap();
    assert_eq!(bank.ledger.next_expiry(), Some(soon));
    assert_eq!(bank.expire(NOW), 0);
    let refused = bank.post(soon, &[part(5, 3, 1)]).unwrap_err();
    assert_eq!(refused, LedgerError::HoldExpired { hold: TransferId(3), expired: soon });
    assert_eq!(bank.expire(soon), 1);
    assert_eq!(bank.money(ada), (660, 300));
    assert_eq!(bank.ledger.next_expiry(), Some(late));
    assert_eq!(bank.expire(late), 1);
    let last = bank.transfers.last().unwrap();
    assert_eq!((last.kind, &last.reason), (TransferKind::Expire, &Reason::Release(job)));
    assert_eq!((bank.money(ada), bank.ledger.next_expiry()), ((960, 0), None));
}

#[test]
fn many_holds_expire_in_batches() {
    let (mut bank, ada, _) = bank();
    let many = EXPIRE_BATCH_MAX as u128 - 24;
    let soon = NOW + Span::secs(1);
    let holds: Vec<_> = (0..many).map(|id| hold(100 + id, ada, 1, Some(soon))).collect();
    bank.post(NOW, &holds).unwrap();
    bank.post(NOW, &[direct(2, system::MINT, ada, 1_000)]).unwrap();
    let holds: Vec<_> = (0..100).map(|id| hold(9_000 + id, ada, 1, Some(soon))).collect();
    bank.post(NOW, &holds).unwrap();
    assert_eq!(bank.expire(soon), EXPIRE_BATCH_MAX);
    assert_eq!((bank.expire(soon), bank.expire(soon)), (76, 0));
    assert_eq!(bank.money(ada), (2_000, 0));
}

#[test]
fn nonsense_is_refused() {
    let (mut bank, ada, ben) = bank();
    let nobody = AccountId(999);
    let zero = |id: u128, amount| LedgerError::AmountNotPositive {
        id: TransferId(id),
        amount: MicroCredits(amount),
    };
    let past = LedgerError::ExpiryInThePast { hold: TransferId(9), expires: NOW, now: NOW };
    bank.post(NOW, &[hold(2, ada, 10, None)]).unwrap();
    let long = Posting::Direct {
        id: TransferId(9),
        debit: ada,
        credit: ben,
        amount: MicroCredits(1),
        reason: Reason::Gift("é".repeat(257)),
    };
    for (posting, error) in [
        (direct(9, ada, ben, 0), zero(9, 0)),
        (direct(9, ada, ben, i64::MIN), zero(9, i64::MIN)),
        (part(9, 2, -3), zero(9, -3)),
        (direct(9, ada, ada, 1), LedgerError::SameAccount { id: TransferId(9), account: ada }),
        (direct(9, ada, nobody, 1), LedgerError::UnknownAccount(nobody)),
        (direct(9, nobody, ada, 1), LedgerError::UnknownAccount(nobody)),
        (void(9, 8), LedgerError::HoldNotOpen(TransferId(8))),
        (hold(9, ada, 1, Some(NOW)), past),
        (long, LedgerError::ReasonTooLong { id: TransferId(9), chars: 257 }),
        (
            part(9, 2, 11),
            LedgerError::HoldExceeded {
                hold: TransferId(2),
                remaining: MicroCredits(10),
                needed: MicroCredits(11),
            },
        ),
    ] {
        assert_eq!(bank.post(NOW, &[posting]), Err(error));
    }
    let many = vec![direct(2, ada, ben, 1); BATCH_POSTINGS_MAX + 1];
    assert_eq!(bank.post(NOW, &many), Err(LedgerError::BatchTooLong(BATCH_POSTINGS_MAX + 1)));
}

#[test]
fn balances_near_the_end_of_counting_are_refused_not_wrapped() {
    let (mut bank, ada, ben) = bank();
    let room = i64::MAX - 1_000;
    let full = |account| LedgerError::BalanceOverflow {
        id: TransferId(9),
        amount: MicroCredits(1),
        account,
    };
    bank.post(NOW, &[direct(2, system::MINT, ada, room)]).unwrap();
    assert_eq!(bank.post(NOW, &[direct(9, system::MINT, ben, 1)]), Err(full(system::MINT)));
    bank.post(NOW, &[direct(3, ada, ben, room), hold(4, ada, 1_000, None)]).unwrap();
    assert_eq!(bank.post(NOW, &[part(5, 4, 1_000)]).map(|_| ()), Ok(()));
    assert_eq!(bank.money(ben), (room, 0));
    assert_eq!(bank.money(system::MINT), (-i64::MAX, 0));
}

#[test]
fn held_and_final_credits_together_never_outgrow_an_account() {
    let (mut bank, ada, ben) = bank();
    let most = i64::MAX / 2;
    bank.post(NOW, &[direct(2, system::MINT, ben, most), direct(3, ben, ada, most)]).unwrap();
    bank.post(NOW, &[direct(4, ada, ben, most)]).unwrap();
    let towards_ada = Posting::Hold {
        id: TransferId(5),
        debit: ben,
        credit: ada,
        amount: MicroCredits(most),
        expires: None,
        reason: Reason::Hold(JobId(1)),
    };
    let refused = bank.post(NOW, &[towards_ada]).unwrap_err();
    assert!(matches!(refused, LedgerError::BalanceOverflow { account, .. } if account == ada));
}

#[test]
fn the_ledgers_clock_never_runs_backwards() {
    let (mut bank, ada, ben) = bank();
    bank.post(Time(5_000_000), &[direct(2, ada, ben, 1)]).unwrap();
    bank.post(Time(4_000_000), &[direct(3, ada, ben, 1)]).unwrap();
    assert_eq!(bank.transfers.last().unwrap().at, Time(5_000_000));
}

#[test]
fn account_names_and_keys_are_unique_and_print() {
    let mut ledger = Ledger::new();
    let mut out = Vec::new();
    let key = PublicKey([7; 32]);
    let ada = ledger.open_account("Ada Ⅷ \"the\" <first> 🦀", Some(key), &mut out).unwrap();
    assert_eq!(ada, system::FIRST_PERSON);
    assert_eq!(out.len(), 1);
    assert_eq!(ledger.account_by_key(&key), Some(ada));
    assert_eq!(ledger.account_by_name("Ada Ⅷ \"the\" <first> 🦀"), Some(ada));
    let mut open = |name: &str, key| ledger.open_account(name, key, &mut out);
    assert_eq!(open("ben", Some(key)), Err(OpenAccountError::KeyTaken { account: ada }));
    for bad in [" ben", "ben ", "b\nen", "b\u{200b}en", "b\u{202e}en", "\u{1b}[31m"] {
        assert_eq!(open(bad, None), Err(OpenAccountError::NameNotPrintable(bad.into())), "{bad:?}");
    }
    assert_eq!(open("", None), Err(OpenAccountError::NameLength(0)));
    assert_eq!(open(&"é".repeat(65), None), Err(OpenAccountError::NameLength(65)));
    let taken = OpenAccountError::NameTaken { name: "mint".into(), account: system::MINT };
    assert_eq!(open("mint", None), Err(taken));
    assert_eq!(open(&"é".repeat(64), None), Ok(AccountId(101)));
    assert_eq!(out.len(), 2);
}

#[test]
fn a_settlement_pays_to_the_last_micro_credit() {
    let (mut bank, ada, ben) = bank();
    bank.post(NOW, &[hold(2, ada, 600, None)]).unwrap();
    let (price, fuel) = (Price(100), Fuel(2_345_678_901));
    let (charge, earning) = (price.charge(fuel), price.earning(fuel));
    let fee = FeeRate::new(200).unwrap().fee(earning);
    assert_eq!((charge.0, earning.0, fee.0), (235, 234, 4));
    let settlement =
        Settlement { bill: BillId(9), hold: TransferId(2), earner: ben, charge, earning, fee };
    let mut postings = Vec::new();
    settlement.postings(&mut postings).unwrap();
    bank.post(NOW, &postings).unwrap();
    assert_eq!(bank.post(NOW, &postings), Ok(0));
    let money = |account| bank.money(account).0;
    assert_eq!((money(ada), money(ben)), (400, 230));
    assert_eq!((money(system::FEES), money(system::ROUNDING), money(system::ESCROW)), (4, 1, 0));

    let mut second = Vec::new();
    Settlement { charge: MicroCredits(0), ..settlement }.postings(&mut second).unwrap_err();
    let nothing = MicroCredits(0);
    Settlement { charge: nothing, earning: nothing, fee: nothing, ..settlement }
        .postings(&mut second)
        .unwrap();
    assert_eq!(second, []);
    Settlement { bill: BillId(10), ..settlement }.postings(&mut second).unwrap();
    bank.post(NOW, &second).unwrap();
    assert_eq!(bank.money(ben).0, 460);
}

#[test]
fn a_fee_is_a_part_that_is_rounded_in_the_hosts_favour() {
    let fee = |points, earning| FeeRate::new(points).unwrap().fee(MicroCredits(earning)).0;
    assert_eq!((fee(200, 49), fee(200, 50), fee(0, 1_000), fee(10_000, 7)), (0, 1, 0, 7));
    assert_eq!((fee(10_000, i64::MAX), fee(200, -5)), (i64::MAX, 0));
    assert_eq!(FeeRate::new(10_001), None);
}

#[test]
fn ids_say_what_a_transfer_is_about() {
    let (job, bill) = (JobId(u64::MAX), BillId(u64::MAX));
    let ids = [
        job_hold(job),
        job_release(job),
        transfer_id::bill_step(transfer_id::Step::Charge, bill),
        transfer_id::bill_step(transfer_id::Step::Rounding, bill),
        transfer_id::expiry(job_hold(job)),
        asked(AccountId(100), "monday"),
        asked(AccountId(101), "monday"),
    ];
    expect![[r#"
        0100000000000000ffffffffffffffff
        0200000000000000ffffffffffffffff
        1000000000000000ffffffffffffffff
        1300000000000000ffffffffffffffff
        2067766ad133460ed193a07aa0e8f4e0
        301576e59f623ad10c3affc33c9f7a3a
        3039c959fb22a541ac0c3fc96a775ef0
    "#]]
    .assert_eq(&ids.map(|id| format!("{id}\n")).concat());
    assert_eq!(transfer_id::job_of_hold(job_hold(job)), Some(job));
    assert_eq!(transfer_id::job_of_hold(job_release(job)), None);
}

#[test]
fn the_chain_shows_any_change() {
    let (mut bank, ada, ben) = bank();
    bank.post(NOW, &[direct(2, ada, ben, 10), direct(3, ada, ben, 20)]).unwrap();
    let verify = |transfers: &[TransferRecord]| transfers.iter().try_fold(GENESIS, verify_chain);
    assert_eq!(verify(&bank.transfers), Ok(bank.ledger.head().1));
    assert_eq!(bank.ledger.head().0, 3);
    // Golden: the bytes under the hash never change without a new context string.
    expect!["in5dvwb3pnilcpng7yoxlgusc2awfsyjk5wqyez5dwzpyovcjdhq"]
        .assert_eq(&bank.ledger.head().1.to_string());
    let changes: [fn(&mut TransferRecord); 6] = [
        |it| it.amount = MicroCredits(11),
        |it| it.credit = system::FEES,
        |it| it.at = Time(0),
        |it| it.reason = Reason::Gift("thank".into()),
        |it| it.hold = Some(TransferId(0)),
        |it| it.seq = 9,
    ];
    for change in changes {
        let mut altered = bank.transfers.clone();
        change(&mut altered[1]);
        assert_eq!(verify(&altered).unwrap_err().id, TransferId(2));
    }
    bank.transfers.remove(1);
    assert!(verify(&bank.transfers).is_err());
}

#[test]
fn damaged_rows_are_not_taken_up() {
    let (mut bank, ada, ben) = bank();
    bank.post(NOW, &[hold(2, ada, 600, None)]).unwrap();
    let restore = |change: &dyn Fn(&mut Vec<AccountRecord>, &mut Vec<HoldRecord>)| {
        let mut accounts: Vec<_> = bank.accounts.values().cloned().collect();
        let mut holds: Vec<_> = bank.holds.values().copied().collect();
        change(&mut accounts, &mut holds);
        Ledger::restore(accounts, holds, None).map(|_| ())
    };
    let index = |id: AccountId| bank.accounts.keys().position(|it| *it == id).unwrap();
    let (a, b) = (index(ada), index(ben));
    assert_eq!(restore(&|_, _| ()), Ok(()));
    let stolen = restore(&|accounts, _| accounts[b].credits_posted = MicroCredits(1)).unwrap_err();
    expect!["money is not conserved: posted debits of currency 0 sum to 1000 millionths, credits to 1001"]
        .assert_eq(&stolen.to_string());
    let lost = restore(&|_, holds| holds.clear()).unwrap_err();
    assert!(matches!(lost, AuditError::HoldsDiffer { .. }));
    let negative = restore(&|accounts, _| accounts[a].credits_posted = MicroCredits(-1));
    assert_eq!(negative, Err(AuditError::BalanceOutOfRange(ada)));
    let twice = restore(&|accounts, _| accounts[b].name = "ada".into());
    assert_eq!(twice, Err(AuditError::Duplicate(ben)));
    let owing = restore(&|accounts, _| {
        accounts[a].credits_posted = MicroCredits(0);
        accounts[b].credits_posted = MicroCredits(1_000);
    });
    assert!(matches!(owing, Err(AuditError::Overdrawn { .. })));
    let orphan = restore(&|_, holds| holds[0].debit = AccountId(5_000));
    assert_eq!(orphan, Err(AuditError::BadHold(TransferId(2))));
}

#[test]
fn old_ids_are_forgotten_here_and_left_to_the_database() {
    let mut recent = Recent::default();
    for id in 0..RECENT_IDS_MAX as u128 + 10 {
        recent.insert(TransferId(id), GENESIS);
    }
    assert!(recent.is_consistent());
    assert_eq!((recent.get(TransferId(9)), recent.get(TransferId(10))), (None, Some(GENESIS)));
}
