//! What is committed is what is read, whatever came together in one transaction.

use futures_util::FutureExt;
use isos_base::ids::JobId;
use isos_base::random::Random;
use isos_base::record::{Change, StateChunk};
use isos_base::time::Time;
use isos_base::units::Fuel;

use super::model::Model;
use super::{Home, sample, told};
use crate::{CommitError, Db, SUBMISSIONS_MAX};

fn some_changes(random: &mut Random, most: u64) -> Vec<Change> {
    (0..random.below(most)).map(|_| sample::change(random.below(sample::KINDS), random)).collect()
}

#[tokio::test]
async fn an_empty_database_has_an_empty_snapshot() {
    for home in Home::each() {
        let db = home.fresh().await;
        assert_eq!(db.load().await.unwrap(), Model::default().snapshot());
    }
}

#[tokio::test]
async fn every_kind_of_change_is_read_as_it_was_written() {
    for home in Home::each() {
        for seed in 0..20 {
            let random = &mut Random::new(seed);
            for kind in 0..sample::KINDS {
                let db = home.fresh().await;
                let changes = [sample::change(kind, random)];
                let mut model = Model::default();
                model.apply(&changes[0]);
                db.commit(&changes).await.unwrap();
                assert_eq!(Model::of(&db).await, model, "seed {seed}");
            }
        }
    }
}

#[tokio::test]
async fn any_changes_in_any_transactions_leave_what_one_by_one_would_leave() {
    for home in Home::each() {
        for seed in 0..40 {
            let random = &mut Random::new(seed);
            let db = home.fresh().await;
            let writer = db.writer();
            let mut model = Model::default();
            for _ in 0..6 {
                let mut commits = Vec::new();
                for _ in 0..random.below(5) {
                    let changes = some_changes(random, 60);
                    changes.iter().for_each(|change| model.apply(change));
                    commits.push(writer.submit(changes));
                }
                if random.one_in(4) {
                    db.forget_expired(Time(20)).await.unwrap();
                    model.forget(Time(20));
                }
                for commit in commits {
                    commit.await.unwrap();
                }
                assert_eq!(Model::of(&db).await, model, "seed {seed}");
                assert_eq!(db.load().await.unwrap(), model.snapshot(), "seed {seed}");
            }
        }
    }
}

#[tokio::test]
async fn a_commit_that_is_applied_twice_leaves_the_same_rows() {
    for home in Home::each() {
        for seed in 0..20 {
            let random = &mut Random::new(seed);
            let db = home.fresh().await;
            db.commit(&some_changes(random, 200)).await.unwrap();
            let changes = some_changes(random, 200);
            db.commit(&changes).await.unwrap();
            let once = Model::of(&db).await;
            db.commit(&changes).await.unwrap();
            assert_eq!(Model::of(&db).await, once, "seed {seed}");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_closed_and_opened_again_holds_the_same() {
    for home in Home::each() {
        let random = &mut Random::new(1);
        let mut model = Model::default();
        for _ in 0..5 {
            let db = home.open().await;
            assert_eq!(db.load().await.unwrap(), model.snapshot());
            let changes = some_changes(random, 300);
            changes.iter().for_each(|change| model.apply(change));
            db.commit(&changes).await.unwrap();
            db.close().await.unwrap();
        }
        let db = home.open().await;
        assert_eq!(Model::of(&db).await, model);
        assert!(db.size().0 > 4_096);
    }
}

#[tokio::test]
async fn thousands_of_rows_go_in_one_commit() {
    for home in Home::each() {
        let db = home.fresh().await;
        let transfers = |range: std::ops::RangeInclusive<u64>| -> Vec<Change> {
            range.map(|seq| Change::Transfer(Box::new(sample::transfer(seq)))).collect()
        };
        db.commit(&transfers(1..=10_000)).await.unwrap();
        let mut seen = 0;
        let visit = |transfer: &_| {
            seen += 1;
            assert_eq!(*transfer, sample::transfer(seen));
            std::ops::ControlFlow::Continue(())
        };
        db.each_transfer(0, visit).await.unwrap();
        assert_eq!(seen, 10_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_are_committed_in_the_order_of_calls() {
    for home in Home::each() {
        let db = home.open().await;
        let writer = db.writer();
        let chunk = |n: u32| {
            Change::States(StateChunk { job: JobId(1), chunk: 0, bits: n.to_le_bytes().into() })
        };
        let commits: Vec<_> = (0..5_000).map(|n| writer.submit(vec![chunk(n)])).collect();
        // A later one is durable only when all before it are.
        let last = writer.submit(Vec::new());
        last.await.unwrap();
        let all = async {
            for commit in commits {
                assert!(matches!(commit.now_or_never(), Some(Ok(()))));
            }
        };
        tokio::task::unconstrained(all).await;
        let states = db.states(JobId(1)).await.unwrap();
        assert_eq!(states[0].bits, 4_999u32.to_le_bytes());
        assert_eq!(db.states_from(JobId(1), 0, 1).await.unwrap(), states[..1]);
        assert_eq!(db.states_from(JobId(1), states[0].chunk + 1, 9).await.unwrap(), states[1..]);
        assert_eq!(writer.waiting(), 0);
    }
}

#[tokio::test]
async fn what_is_kept_for_ever_cannot_be_replaced() {
    for home in Home::each() {
        let changed = || {
            let mut transfer = sample::transfer(7);
            transfer.hash = sample::transfer(8).hash;
            Change::Transfer(Box::new(transfer))
        };
        let first = Change::Transfer(Box::new(sample::transfer(7)));
        let account = sample::change(7, &mut Random::new(1));
        for together in [true, false] {
            let db = home.fresh().await;
            let error = if together {
                db.commit(&[account.clone(), first.clone(), changed()]).await.unwrap_err()
            } else {
                db.commit(std::slice::from_ref(&first)).await.unwrap();
                db.commit(&[account.clone(), changed()]).await.unwrap_err()
            };
            assert!(matches!(error, CommitError::Conflict { .. }), "{error}");
            // Nothing of the transaction is there, and nothing more is taken.
            assert_eq!(db.load().await.unwrap().accounts, []);
            let error = db.commit(std::slice::from_ref(&account)).await.unwrap_err();
            expect_test::expect![
                "the database takes no changes any more, because an earlier commit failed"
            ]
            .assert_eq(&error.to_string());
            assert!(told(&home, &error).contains("that was kept for ever"));
            assert!(matches!(db.close().await, Err(CommitError::Stopped(_))));
            assert!(matches!(db.close().await, Err(CommitError::Stopped(_))));
        }
    }
}

#[tokio::test]
async fn a_number_that_no_column_holds_is_an_error_and_not_wrapped() {
    for home in Home::each() {
        let db = home.open().await;
        let mut lease = sample::lease(&mut Random::new(1));
        lease.fuel = Fuel(1 << 63);
        let error = db.commit(&[Change::Lease(Box::new(lease))]).await.unwrap_err();
        expect_test::expect!["a change cannot be kept: leases.fuel cannot hold 9223372036854775808: the largest number is 9223372036854775807"]
        .assert_eq(&told(&home, &error));
        assert_eq!(Model::of(&db).await, Model::default());
    }
}

#[tokio::test]
async fn a_writer_that_is_handed_too_much_stops_without_a_gap() {
    for home in Home::each() {
        let db = home.open().await;
        let writer = db.writer();
        // On this runtime nothing is taken from the queue before the first await.
        let commits: Vec<_> = (0..SUBMISSIONS_MAX)
            .map(|n| {
                writer.submit(vec![Change::Transfer(Box::new(sample::transfer(1 + n as u64 % 9)))])
            })
            .collect();
        assert_eq!(writer.waiting(), SUBMISSIONS_MAX);
        let too_much = writer.submit(Vec::new());
        for commit in commits {
            commit.await.unwrap();
        }
        assert!(matches!(too_much.await, Err(CommitError::Overrun { waiting: SUBMISSIONS_MAX })));
        assert!(matches!(writer.submit(Vec::new()).await, Err(CommitError::Stopped(_))));
        assert!(matches!(db.close().await, Err(CommitError::Stopped(_))));
        assert_eq!(home.open().await.transfers(None, 0, 99).await.unwrap().len(), 9);
    }
}

#[tokio::test]
async fn a_database_is_free_again_when_its_last_handle_is_gone() {
    for home in Home::each() {
        let db = home.open().await;
        let last = db.writer().submit(vec![sample::change(1, &mut Random::new(1))]);
        let again = db.clone();
        drop(db);
        assert!(Db::open(&home.url()).await.is_err());
        drop(again);
        // Still committed, though nobody holds the database any more.
        last.await.unwrap();
        while Db::open(&home.url()).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn nothing_is_taken_after_the_close() {
    for home in Home::each() {
        let db = home.fresh().await;
        let writer = db.writer();
        let before = writer.submit(vec![sample::change(1, &mut Random::new(1))]);
        db.close().await.unwrap();
        before.await.unwrap();
        assert!(matches!(writer.submit(Vec::new()).await, Err(CommitError::Closed)));
        db.close().await.unwrap();
        assert!(db.load().await.is_err());
    }
}
