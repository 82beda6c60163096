//! What a log that was brought shows, and what a changed one.

use super::*;

/// A log of three records, two of them of one account.
fn log() -> Vec<AuditRecord> {
    let account = |n| Some(AccountId(n));
    let deeds = [
        (account(100), Deed::AccountOpened { name: "anna".into() }),
        (account(101), Deed::AccountOpened { name: "bert".into() }),
        (account(100), Deed::KeyRemoved { key: PublicKey([3; 32]) }),
    ];
    let (mut before, mut own) = (GENESIS, std::collections::BTreeMap::new());
    let mut records = Vec::new();
    for (seq, (account, deed)) in (1..).zip(deeds) {
        let (by, ledger_hash) = (Actor::Complex, GENESIS);
        let at = Time(seq * 10);
        let mut record = AuditRecord {
            seq,
            at,
            by,
            account,
            deed,
            ledger_seq: 0,
            ledger_hash,
            own: None,
            hash: GENESIS,
        };
        record.link(before, account.and_then(|it| own.get(&it).copied()).unwrap_or(GENESIS));
        before = record.hash;
        own.extend(account.zip(record.own));
        records.push(record);
    }
    records
}

fn key() -> SecretKey {
    SecretKey::from_bytes(&[7; 32])
}

fn signed(account: Option<AccountId>) -> SignedAudit {
    let mut records = log();
    records.retain(|record| account.is_none() || record.account == account);
    let last = records.last().unwrap();
    let hash = if account.is_some() { last.own.unwrap() } else { last.hash };
    let head = AuditHead { account, last: last.seq, hash };
    SignedAudit { signed: head.sign(&key(), Time(99)), records }
}

#[test]
fn a_log_is_checked_without_the_complex_whole_or_of_one_account() {
    for account in [None, Some(AccountId(100)), Some(AccountId(101))] {
        let log = signed(account);
        assert_eq!(log.check(Some(&key().public())), Ok(()));
        let other = SecretKey::from_bytes(&[8; 32]).public();
        assert!(matches!(log.check(Some(&other)), Err(AuditError::OtherComplex { .. })));
    }
}

#[test]
fn whatever_is_changed_removed_or_moved_is_found() {
    for account in [None, Some(AccountId(100))] {
        let good = signed(account);
        let mut changed = good.clone();
        changed.records[0].at.0 += 1;
        assert_eq!(changed.check(None), Err(AuditError::Chain(1)));
        let mut removed = good.clone();
        removed.records.remove(0);
        assert!(removed.check(None).is_err());
        let mut cut = good.clone();
        cut.records.pop();
        assert!(matches!(cut.check(None), Err(AuditError::End { signed: 3, .. })));
        let mut swapped = good.clone();
        swapped.records.reverse();
        assert!(swapped.check(None).is_err());
        let mut head = good.clone();
        head.signed.head.last += 1;
        assert_eq!(head.check(None), Err(AuditError::Signature));
        let mut of_another = good.clone();
        of_another.records[0].account = Some(AccountId(7));
        assert!(of_another.check(None).is_err());
        assert_eq!(good.follows(&cut), Ok(()));
        assert_eq!(cut.follows(&good), Err(AuditError::Rewritten(3)));
        assert_eq!(good.follows(&changed), Err(AuditError::Rewritten(1)));
    }
}

#[test]
fn the_chain_does_not_change_from_version_to_version() {
    expect_test::expect!["fhrddr34qylbzhppphxqdvflvj3ortueibbp2iv3bnrzooilcsmq"]
        .assert_eq(&log()[2].hash.to_string());
}
