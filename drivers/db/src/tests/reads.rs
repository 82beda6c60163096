//! Pages of what is there, each in its order and bounded.

use futures_util::TryStreamExt;
use isos_base::Fuel;
use isos_base::ids::{AccountId, BillId, JobId, LeaseId};
use isos_base::key::PublicKey;
use isos_base::price::Price;
use isos_base::random::Random;
use isos_base::ranges::TaskRange;
use isos_base::record::{Accepted, Change, ResultBatch};

use super::{Home, sample};
use crate::LeasesOf;
use crate::sql::Session;

#[tokio::test]
async fn jobs_come_newest_first() {
    for home in Home::each() {
        let random = &mut Random::new(3);
        let job = |n| {
            let mut job = sample::job(random);
            job.id = JobId(n);
            job.account = AccountId(100 + n % 2);
            Change::Job(Box::new(job))
        };
        let db = home.with((1..=10).map(job)).await;
        let ids = |jobs: Vec<isos_base::record::JobRecord>| -> Vec<u64> {
            jobs.iter().map(|job| job.id.0).collect()
        };
        assert_eq!(ids(db.jobs(None, None, 3).await.unwrap()), [10, 9, 8]);
        assert_eq!(ids(db.jobs(None, Some(JobId(8)), 3).await.unwrap()), [7, 6, 5]);
        assert_eq!(ids(db.jobs(Some(AccountId(101)), Some(JobId(6)), 9).await.unwrap()), [5, 3, 1]);
        assert_eq!(db.job(JobId(4)).await.unwrap().unwrap().id, JobId(4));
        assert_eq!(db.job(JobId(11)).await.unwrap(), None);
        assert_eq!(db.job(JobId(u64::MAX)).await.unwrap(), None);
    }
}

#[tokio::test]
async fn results_come_in_batches_and_one_by_one() {
    for home in Home::each() {
        let batches = || (0..12).map(|batch| sample::results(2, batch));
        let db = home.with(batches().map(Change::Results)).await;
        let page = db.results(JobId(2), None, 5).await.unwrap();
        assert_eq!(page, batches().take(5).collect::<Vec<_>>());
        let page = db.results(JobId(2), Some(9), 50).await.unwrap();
        assert_eq!(page, batches().skip(10).collect::<Vec<_>>());
        assert_eq!(db.results(JobId(3), None, 5).await.unwrap(), []);
        for batch in batches() {
            for accepted in &batch.results {
                let found = db.result_of(JobId(2), accepted.task).await.unwrap();
                assert_eq!(found.as_ref(), Some(accepted));
            }
        }
        assert_eq!(db.result_of(JobId(2), 9).await.unwrap(), None);
    }
}

#[tokio::test]
async fn batches_without_a_wanted_task_are_passed_over() {
    let batch = |(number, tasks): (u64, &[u32])| {
        let accepted = |&task| Accepted { task, result: Err("x".into()), host: None };
        let results = tasks.iter().map(accepted).collect();
        Change::Results(ResultBatch { job: JobId(1), batch: number, results })
    };
    let batches: [(u64, &[u32]); 4] = [(0, &[90, 5, 7]), (1, &[0, 1]), (2, &[6, 9]), (3, &[30])];
    for home in Home::each() {
        let db = home.with(batches.into_iter().map(batch)).await;
        let found = async |start, end, after, limit| -> Vec<u64> {
            let range = TaskRange::new(start, end);
            db.batches_within(JobId(1), range, after, limit).await.unwrap()
        };
        assert_eq!(found(5, 9, None, 9).await, [0, 2]);
        assert_eq!(found(5, 9, Some(0), 9).await, [2]);
        assert_eq!(found(0, 99, None, 3).await, [0, 1, 2]);
        // One that may have some has none: its bounds are all that is looked at.
        assert_eq!(found(30, 31, None, 9).await, [0, 3]);
        assert_eq!(found(1, 2, None, 9).await, [1]);
        assert!(found(91, u32::MAX, None, 9).await.is_empty());
    }
}

#[tokio::test]
async fn a_page_of_results_is_bounded_by_its_bytes() {
    for home in Home::each() {
        let large = |batch| {
            let accepted = Accepted { task: 0, result: Err("x".repeat(6 << 20)), host: None };
            Change::Results(ResultBatch { job: JobId(1), batch, results: vec![accepted] })
        };
        let db = home.with((0..8).map(large)).await;
        assert_eq!(db.results(JobId(1), None, 8).await.unwrap().len(), 3);
        assert_eq!(db.results(JobId(1), Some(2), 8).await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn leases_belong_to_a_job_and_a_host() {
    for home in Home::each() {
        let random = &mut Random::new(4);
        let lease = |n| {
            let mut lease = sample::lease(random);
            (lease.id, lease.job, lease.host) = (LeaseId(n), JobId(n % 2), sample::host_id(n % 3));
            Change::Lease(Box::new(lease))
        };
        let db = home.with((1..=12).map(lease)).await;
        let ids = |leases: Vec<isos_base::record::LeaseRecord>| -> Vec<u64> {
            leases.iter().map(|lease| lease.id.0).collect()
        };
        let of_job = LeasesOf::Job(JobId(1));
        assert_eq!(ids(db.leases(of_job, None, 3).await.unwrap()), [1, 3, 5]);
        assert_eq!(ids(db.leases(of_job, Some(LeaseId(5)), 9).await.unwrap()), [7, 9, 11]);
        let of_host = LeasesOf::Host(sample::host_id(2));
        assert_eq!(ids(db.leases(of_host, Some(LeaseId(2)), 9).await.unwrap()), [5, 8, 11]);
        assert_eq!(db.lease(LeaseId(12)).await.unwrap().unwrap().job, JobId(0));
    }
}

#[tokio::test]
async fn the_lowest_tasks_are_found_whatever_the_order_of_their_batches() {
    for home in Home::each() {
        let random = &mut Random::new(11);
        let mut tasks: Vec<u32> = (0..500).collect();
        // Shuffled within a hundred, as hosts of different speed do.
        for hundred in tasks.chunks_mut(100) {
            for n in (1..hundred.len()).rev() {
                hundred.swap(n, random.below(n as u64 + 1) as usize);
            }
        }
        let accepted = |task: &u32| Accepted { task: *task, result: Err("no".into()), host: None };
        let batch = |(batch, tasks): (usize, &[u32])| {
            let results = tasks.iter().map(accepted).collect();
            Change::Results(ResultBatch { job: JobId(1), batch: batch as u64, results })
        };
        let db = home.with(tasks.chunks(7).enumerate().map(batch)).await;
        for (from, limit) in [(0, 10), (95, 20), (499, 5), (500, 5), (3, 1_000)] {
            let found = db.results_from(JobId(1), from, limit).await.unwrap();
            let found: Vec<u32> = found.iter().map(|accepted| accepted.task).collect();
            let expected: Vec<u32> = (from..500).take(limit as usize).collect();
            assert_eq!(found, expected, "from {from}");
        }
        assert_eq!(db.results_from(JobId(2), 0, 9).await.unwrap(), []);
    }
}

#[tokio::test]
async fn earnings_are_those_of_leases_on_bills() {
    for home in Home::each() {
        let random = &mut Random::new(5);
        let mut changes = Vec::new();
        for (id, price) in [(1, 100), (2, 7)] {
            let mut job = sample::job(random);
            (job.id, job.price) = (JobId(id), Price(price));
            changes.push(Change::Job(Box::new(job)));
        }
        changes.extend((1..=12).map(|n| {
            let mut lease = sample::lease(random);
            (lease.id, lease.host, lease.fuel) = (LeaseId(n), sample::host_id(n % 3), Fuel(n));
            lease.job = JobId(if n == 11 { 2 } else { 1 });
            lease.price = Price(if n == 11 { 7 } else { 100 });
            lease.bill = (n != 5).then_some(BillId(9));
            Change::Lease(Box::new(lease))
        }));
        let db = home.with(changes).await;
        let of = |n| db.earnings(sample::host_id(n));
        assert_eq!(of(2).await.unwrap(), [(Price(7), 1, Fuel(11)), (Price(100), 2, Fuel(10))]);
        assert_eq!(of(9).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_statement_has_what_an_account_gives_and_gets() {
    for home in Home::each() {
        let all = || (1..=200).map(sample::transfer);
        let db = home.with(all().map(Box::new).map(Change::Transfer)).await;
        for account in (0..5).map(AccountId) {
            let expected: Vec<_> = all()
                .filter(|it| it.debit == account || it.credit == account)
                .filter(|it| it.seq > 30)
                .take(20)
                .collect();
            assert_eq!(db.transfers(Some(account), 30, 20).await.unwrap(), expected);
        }
        let page = db.transfers(None, 190, 99).await.unwrap();
        assert_eq!(page, all().skip(190).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn hosts_and_accounts_are_found() {
    for home in Home::each() {
        let random = &mut Random::new(5);
        let mut changes = Vec::new();
        for n in 1..=6 {
            let mut host = sample::host(random);
            (host.id, host.account) = (sample::host_id(n), AccountId(100 + n % 2));
            changes.push(Change::Host(Box::new(host)));
            let mut account = sample::account(random);
            (account.id, account.name) = (AccountId(n), format!("name {n}"));
            account.key = (n % 2 == 0).then_some(PublicKey([n as u8; 32]));
            changes.push(Change::Account(Box::new(account)));
        }
        let db = home.with(changes).await;
        let mut after = None;
        let mut seen = Vec::new();
        while let Some(host) = db.hosts(None, after, 1).await.unwrap().pop() {
            after = Some(host.id);
            seen.push(host.id);
        }
        assert!(seen.is_sorted());
        assert_eq!(seen.len(), 6);
        assert_eq!(db.hosts(Some(AccountId(101)), None, 9).await.unwrap().len(), 3);
        assert_eq!(db.host(sample::host_id(7)).await.unwrap(), None);
        assert_eq!(db.account_by_name("name 3").await.unwrap().unwrap().id, AccountId(3));
        assert_eq!(db.account_by_name("name").await.unwrap(), None);
        let by_key = db.account_by_key(&PublicKey([4; 32])).await.unwrap();
        assert_eq!(by_key.unwrap().id, AccountId(4));
        assert_eq!(db.account(AccountId(6)).await.unwrap().unwrap().name, "name 6");
        assert_eq!(db.accounts(Some(AccountId(4)), 9).await.unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_in_the_middle_of_its_reading_does_not_hold_the_writer_up() {
    for home in Home::each() {
        let db = home.open().await;
        let transfer = |seq| Change::Transfer(Box::new(sample::transfer(seq)));
        db.commit(&[transfer(1)]).await.unwrap();
        let mut reader = db.inner.readers.begin().await.unwrap();
        let before = transfers(reader.session()).await;
        for seq in 2..50 {
            db.commit(&[transfer(seq)]).await.unwrap();
        }
        let during = transfers(reader.session()).await;
        assert_eq!((before, during), (1, 1));
        drop(reader);
        assert_eq!(db.transfers(None, 0, 99).await.unwrap().len(), 49);
    }
}

async fn transfers(mut session: Session<'_>) -> i64 {
    let mut rows = session.fetch("SELECT count(*) FROM transfers", Vec::new());
    rows.try_next().await.unwrap().unwrap().get(0).unwrap()
}

#[tokio::test]
async fn what_each_account_last_has_in_the_audit_log_is_found_without_walking_through_it() {
    for home in Home::each() {
        let log = (1..=600).map(|seq| Change::Audit(Box::new(sample::audit(seq))));
        let db = home.with(log).await;
        let own = db.load().await.unwrap().audit_own;
        let last = |account, seq| (AccountId(account), sample::audit(seq).own.unwrap());
        assert_eq!(own, [last(1, 598), last(2, 599)]);
        let mut reading = db.inner.readers.acquire().await.unwrap();
        let Session::Sqlite(connection) = reading.session() else { continue };
        let plan = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", crate::load::AUDIT_OWN));
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(plan).fetch_all(connection).await.unwrap();
        let steps: Vec<&str> = plan.iter().map(|(.., step)| step.as_str()).collect();
        assert!(steps.iter().any(|step| step.contains("audit_by_account")), "{steps:?}");
        assert!(steps.iter().all(|step| !step.starts_with("SCAN audit")), "{steps:?}");
    }
}
