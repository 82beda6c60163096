//! Invariant 12: nobody waits for ever. Very many move money between the same accounts at once, in
//! both directions, while others read; all are answered.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::*;

const CALLERS: usize = 400;
const READERS: u64 = 8;
/// Far more than it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Money goes back and forth, each time of a caller of its own, all of whom wait at a time.
async fn crowd(url: String) {
    let mut bank = Bank::begin(url).await;
    let [one, other, _] = people();
    let now = Time(1_000_000);
    let direct = |id: usize, debit, credit, amount| Posting::Direct {
        id: TransferId(20_000 + id as u128),
        debit,
        credit,
        amount: MicroCredits(amount),
        reason: Reason::Gift("back and forth".into()),
    };
    assert!(bank.act(now, &[direct(0, system::MINT, one, 1_000)], None).await);
    // The one task that owns the ledger decides; what it decided waits for the disk.
    let mut decided = Vec::new();
    for n in 1..=CALLERS {
        let (from, to) = if n % 2 == 1 { (one, other) } else { (other, one) };
        let mut changes = Vec::new();
        bank.ledger.post(now, &[direct(n, from, to, 1_000)], &mut changes).unwrap();
        decided.push(changes);
    }
    let db = bank.db();
    let mut waiting: Vec<Pin<Box<_>>> =
        decided.iter().map(|changes| Box::pin(db.commit(changes))).collect();
    // Submitted in the order in which it was decided, then waited for in any.
    let writing = poll_fn(|cx| {
        waiting.retain_mut(|commit| match commit.as_mut().poll(cx) {
            Poll::Ready(done) => {
                done.unwrap();
                false
            }
            Poll::Pending => true,
        });
        if waiting.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    });
    let reading = async {
        for n in 0..READERS {
            let account = if n % 2 == 0 { one } else { other };
            let page = db.transfers(Some(account), 0, 1_000).await.unwrap();
            assert!(page.len() <= CALLERS + 1);
            tokio::task::yield_now().await;
        }
    };
    let both = async { tokio::join!(writing, reading) };
    tokio::time::timeout(PATIENCE, both).await.expect("somebody waits for ever");
    let snapshot = db.load().await.unwrap();
    let (seq, head) = bank.ledger.head();
    assert_eq!(snapshot.ledger_head, Some((seq, head)));
    assert_eq!(seq, 1 + CALLERS as u64);
    db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_12_however_many_move_money_at_once_all_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    crowd(folder.path().join("crowd.db").to_str().unwrap().to_owned()).await;
    if let Some(url) = postgres(200) {
        crowd(url).await;
    }
}
