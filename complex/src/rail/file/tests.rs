//! The file rail over folders of its own: what is in them after crashes, repetitions and others.

use isos_base::record::{PayoutRecord, PayoutState};
use isos_base::{AccountId, PayoutId, Time, TransferId};

use super::*;

fn instruction(id: u64) -> Instruction {
    let payout = PayoutRecord {
        id: PayoutId(id),
        account: AccountId(100),
        amount: MicroCredits::credits(5),
        hold: TransferId(id.into()),
        rail: "file".into(),
        currency: "EUR".into(),
        money: MicroCredits(100_000),
        to: "IBAN \"1\"\u{2028}".into(),
        state: PayoutState::Waiting,
        asked: Time(0),
        ended: None,
        answer: None,
    };
    Instruction {
        key: format!("key-{id}"),
        money: payout.money,
        currency: payout.currency.clone(),
        to: payout.to.clone(),
        payout,
    }
}

fn keys(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("payouts.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str::<Line>(line).unwrap().key).collect()
}

#[test]
fn each_payout_stands_in_the_file_once_whoever_writes_it_how_often() {
    let folder = tempfile::tempdir().unwrap();
    // Two servers, one of which does not know that it was deposed.
    let one = FileRail::open("file", folder.path()).unwrap();
    let other = FileRail::open("file", folder.path()).unwrap();
    for rail in [&one, &other, &one, &other] {
        for id in 1..=3 {
            assert!(matches!(rail.send(&instruction(id)), Sent::Paid(_)));
        }
    }
    assert_eq!(keys(folder.path()), ["key-1", "key-2", "key-3"]);
    assert!(matches!(other.send(&instruction(4)), Sent::Paid(_)));
    assert!(matches!(one.send(&instruction(4)), Sent::Paid(_)));
    assert_eq!(keys(folder.path()).len(), 4);
}

#[test]
fn whatever_part_of_a_line_was_written_before_a_crash_it_stands_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let rail = FileRail::open("file", folder.path()).unwrap();
    rail.send(&instruction(1));
    let path = folder.path().join("payouts.jsonl");
    let before = fs::read(&path).unwrap();
    rail.send(&instruction(2));
    let after = fs::read(&path).unwrap();
    for cut in before.len()..=after.len() {
        fs::write(&path, &after[..cut]).unwrap();
        let restarted = FileRail::open("file", folder.path()).unwrap();
        assert!(matches!(restarted.send(&instruction(2)), Sent::Paid(_)));
        assert_eq!(fs::read(&path).unwrap(), after, "cut at {cut}");
    }
}

#[test]
fn a_disk_that_fails_means_later_and_never_never() {
    let folder = tempfile::tempdir().unwrap();
    let rail = FileRail::open("file", folder.path()).unwrap();
    fs::remove_file(folder.path().join("payouts.jsonl")).unwrap();
    fs::create_dir(folder.path().join("payouts.jsonl")).unwrap();
    assert!(matches!(rail.send(&instruction(1)), Sent::Later(_)));
}

#[test]
fn deposits_stay_until_they_are_taken_and_bad_ones_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let rail = FileRail::open("file", folder.path()).unwrap();
    let drop_in = |name: &str, text: &str| {
        fs::write(folder.path().join("deposits").join(name), text).unwrap();
    };
    drop_in("1.json", r#"{"id": "a", "account": "ada", "amount": "12.50", "note": "cash"}"#);
    drop_in("2.json", r#"{"id": "b", "account": "101", "amount": "-1"}"#);
    drop_in("3.json", r#"{"id": "a", "account": "ben", "amount": "1"}"#);
    drop_in("4.json", "{");
    drop_in("5.json.part", r#"{"id": "#);
    let found = rail.incoming().unwrap();
    let ada = Incoming { id: "a".into(), account: "ada".into(), money: MicroCredits(12_500_000) };
    assert_eq!(found, [ada]);
    assert_eq!(rail.incoming().unwrap(), found, "told again until it is taken");
    rail.taken("a").unwrap();
    rail.taken("a").unwrap();
    assert_eq!(rail.incoming().unwrap(), []);
    let names = |part: &str| {
        let entries = fs::read_dir(folder.path().join("deposits").join(part)).unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    assert_eq!(names("done"), ["1.json"]);
    let bad = ["2.json", "2.json.why", "3.json", "3.json.why", "4.json", "4.json.why"];
    assert_eq!(names("bad"), bad);
    drop_in("1.json", r#"{"id": "c", "account": "nobody", "amount": "1"}"#);
    assert_eq!(rail.incoming().unwrap().len(), 1);
    rail.rejected("c", "there is no account nobody").unwrap();
    let why = fs::read_to_string(folder.path().join("deposits/bad/1.json.why")).unwrap();
    assert_eq!(why, "there is no account nobody\n");
}
