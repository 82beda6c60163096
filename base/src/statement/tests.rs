//! Honest statements pass, and each kind of change is found.

use super::*;
use crate::ids::JobId;
use crate::price::Price;
use crate::units::Fuel;

const ACCOUNT: AccountId = AccountId(100);

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&[byte; 32])
}

fn line(seq: u64, kind: &str, amount: i64, held: i64, balance: i64) -> StatementLine {
    StatementLine {
        seq,
        at: Time(seq * 10),
        kind: kind.into(),
        reason: "words".into(),
        about: None,
        other: AccountId(1),
        amount: MicroCredits(amount),
        held: MicroCredits(held),
        balance: MicroCredits(balance),
        hash: Guid::of(&seq.to_le_bytes()),
        work: None,
    }
}

fn work(account: AccountId) -> BilledWork {
    BilledWork {
        bill: BillId(7),
        job: JobId(3),
        account,
        leases: 1,
        tasks: 4,
        fuel: Fuel(2_500_000_000),
        price: Price(100),
    }
}

/// Credits, a hold, a charge from it, the rest back; and pay for work of its own.
fn lines() -> Vec<StatementLine> {
    let mut charge = line(9, "charge", -250, -250, 750);
    charge.work = Some(work(AccountId(101)));
    let mut pay = line(15, "pay", 245, 0, 995);
    pay.work = Some(work(ACCOUNT));
    vec![
        line(2, "grant", 1_000, 0, 1_000),
        line(5, "hold", 0, 300, 1_000),
        charge,
        line(11, "release", 0, -50, 750),
        pay,
    ]
}

fn signed(lines: Vec<StatementLine>, by: &SecretKey) -> SignedStatement {
    let mut head = Head::new(ACCOUNT);
    lines.iter().for_each(|line| head.add(line));
    SignedStatement { signed: head.sign(by, Time(500)), lines }
}

#[test]
fn an_honest_statement_is_found_right_and_follows_those_before_it() {
    let ours = key(7).public();
    let all = signed(lines(), &key(7));
    assert_eq!(all.check(Some(&ours)), Ok(()));
    assert_eq!(all.check(None), Ok(()));
    for part in 0..=lines().len() {
        let earlier = signed(lines()[..part].to_vec(), &key(7));
        assert_eq!(earlier.check(Some(&ours)), Ok(()));
        assert_eq!(all.follows(&earlier), Ok(()));
    }
    assert!(signed(lines()[..2].to_vec(), &key(7)).follows(&all).is_err());
    let mut words = all.clone();
    words.lines[0].reason = "said otherwise by a later version".into();
    assert_eq!(words.check(Some(&ours)), Ok(()), "words are not in the chain");
    let text = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<SignedStatement>(&text).unwrap(), all);
}

#[test]
fn whatever_is_changed_is_found() {
    type Change = fn(&mut SignedStatement);
    let changes: [(Change, &str); 10] = [
        (|it| it.lines[0].amount = MicroCredits(999), "the balance is"),
        (|it| _ = it.lines.remove(1), "number of lines"),
        (|it| _ = it.lines.pop(), "number of lines"),
        (|it| it.lines[1].seq = 1, "does not come after"),
        (|it| it.lines[3].held = MicroCredits(-49), "held money"),
        (|it| it.lines[2].other = AccountId(5), "chain of hashes"),
        (|it| it.lines[2].at = Time(91), "chain of hashes"),
        (|it| it.lines[4].work = None, "chain of hashes"),
        (|it| it.signed.head.balance = MicroCredits(5), "the signature"),
        (|it| it.signed.signature.replace_range(..2, "zz"), "the signature"),
    ];
    for (change, says) in changes {
        let mut statement = signed(lines(), &key(7));
        change(&mut statement);
        let error = statement.check(Some(&key(7).public())).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let foreign = signed(lines(), &key(8));
    let error = foreign.check(Some(&key(7).public())).unwrap_err();
    assert!(matches!(error, StatementError::OtherComplex { .. }));
}

#[test]
fn bills_that_do_not_fit_their_work_are_found_even_when_they_are_signed() {
    let mut dear = lines();
    dear[2].amount = MicroCredits(-251);
    for (line, balance) in dear[2..].iter_mut().zip([749, 749, 994]) {
        line.balance = MicroCredits(balance);
    }
    let error = signed(dear, &key(7)).check(None).unwrap_err().to_string();
    assert!(error.contains("bill 7: charged 0.000251"), "{error}");
    // As much too little: work that was made to look like more than was paid for.
    let mut cheap = lines();
    cheap[2].work.as_mut().unwrap().fuel = Fuel(5_000_000_000);
    let error = signed(cheap, &key(7)).check(None).unwrap_err().to_string();
    assert!(error.contains("bill 7: charged 0.000250 for work that comes to 0.000500"), "{error}");
    let mut much = lines();
    (much[4].amount, much[4].balance) = (MicroCredits(251), MicroCredits(1_001));
    let error = signed(much, &key(7)).check(None).unwrap_err().to_string();
    assert!(error.contains("paid 0.000251"), "{error}");
}

#[test]
fn a_history_that_was_rewritten_shows_beside_an_older_one() {
    let before = signed(lines(), &key(7));
    let mut other = lines();
    other[1].at = Time(51);
    other.push(line(20, "grant", 5, 0, 1_000));
    let after = signed(other, &key(7));
    assert_eq!(after.check(None), Ok(()), "alone it looks right");
    assert_eq!(after.follows(&before), Err(StatementError::Rewritten { line: 2 }));
}

/// Whoever changes this makes all statements that were kept say that they were rewritten.
#[test]
fn the_chain_is_the_same_for_ever() {
    let head = signed(lines(), &key(7)).signed.head;
    expect_test::expect!["3osf"].assert_eq(&head.chain.to_string()[..4]);
}

#[test]
fn a_head_of_the_ledger_is_compared_with_the_line_at_its_place() {
    let mut head = Head::new(ACCOUNT);
    lines().iter().for_each(|line| head.add(line));
    let statement = SignedStatement { signed: head.sign(&key(1), Time(99)), lines: lines() };
    let ledger = |seq: u64, of: u64, by| {
        SignedLedgerHead::sign(seq, Guid::of(&of.to_le_bytes()), Time(50), &key(by))
    };
    assert_eq!(statement.agrees_with(&ledger(9, 9, 1)), Ok(true));
    assert_eq!(statement.agrees_with(&ledger(10, 10, 1)), Ok(false), "nothing to compare");
    let other = StatementError::OtherLedger { seq: 9 };
    assert_eq!(statement.agrees_with(&ledger(9, 8, 1)), Err(other));
    let stranger = statement.agrees_with(&ledger(9, 9, 2));
    assert!(matches!(stranger, Err(StatementError::OtherComplex { .. })), "{stranger:?}");
    let mut changed = ledger(10, 10, 1);
    changed.seq = 11;
    assert_eq!(statement.agrees_with(&changed), Err(StatementError::Signature));
}
