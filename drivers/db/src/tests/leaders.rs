//! Several servers over one database: one leads, and what another one writes is not there.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use isos_base::ids::JobId;
use isos_base::record::{Change, StateChunk};
use sqlx::AssertSqlSafe;

use super::{Home, told};
use crate::lead::{RENEW, renewal};
use crate::place::Place;
use crate::sql::Session;
use crate::{
    Candidate, CommitError, Db, Follower, LEASE, Leader, OpenError, Standing, TOLD_MAX, Turn,
};

fn candidate(server: &str) -> Candidate {
    Candidate { complex: "c".into(), server: server.into(), told: format!("{server} is at\0home") }
}

async fn leads(home: &Home, server: &str) -> Db {
    match Db::stand(&home.url(), &candidate(server)).await.unwrap() {
        Standing::Leads(db) => db,
        Standing::Follows(follower) => panic!("{:?} leads", follower.leader()),
    }
}

async fn follows(home: &Home, server: &str) -> Follower {
    match Db::stand(&home.url(), &candidate(server)).await.unwrap() {
        Standing::Leads(_) => panic!("nobody else leads"),
        Standing::Follows(follower) => follower,
    }
}

async fn taken_over(follower: &mut Follower) -> Db {
    match follower.wait().await.unwrap() {
        Turn::Leads(db) => db,
        Turn::Follows(leader) => panic!("{leader:?} leads"),
    }
}

fn chunk(n: u8) -> Change {
    Change::States(StateChunk { job: JobId(1), chunk: n.into(), bits: vec![n] })
}

async fn chunks(db: &Db) -> Vec<u8> {
    db.states(JobId(1)).await.unwrap().iter().map(|chunk| chunk.bits[0]).collect()
}

#[tokio::test]
async fn over_a_file_whoever_opens_it_leads() {
    let home = Home::new();
    let db = leads(&home, "a").await;
    assert_eq!(db.epoch(), None);
    let error = Db::stand(&home.url(), &candidate("b")).await.unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }));
}

#[tokio::test]
async fn the_second_follows_and_leads_at_once_when_the_first_gives_the_lease_up() {
    let Some(home) = Home::at_server() else { return };
    let first = leads(&home, "a").await;
    first.commit(&[chunk(1)]).await.unwrap();
    let mut second = follows(&home, "b").await;
    let Leader { epoch, server, told: text, until } = second.leader();
    assert_eq!((epoch, server.as_str(), text.as_str()), (1, "a", "a is at\0home"));
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    assert!(until.0 > now && until.0 <= now + LEASE.as_micros() as u64 + 1_000_000);
    assert!(second.trouble().borrow().is_none());

    // An idle leader renews its lease: beyond its end nobody else leads.
    let waits = tokio::time::timeout(LEASE + RENEW, second.wait());
    assert!(waits.await.is_err());
    assert_eq!(second.leader().epoch, 1);
    assert!(second.leader().until > until);

    let began = Instant::now();
    let (closed, second) = tokio::join!(first.close(), taken_over(&mut second));
    closed.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!((first.epoch(), second.epoch()), (Some(1), Some(2)));
    assert_eq!(chunks(&second).await, [1]);
    second.commit(&[chunk(2)]).await.unwrap();
    assert_eq!(chunks(&second).await, [1, 2]);
}

#[tokio::test]
async fn a_follower_hears_of_another_leader() {
    let Some(home) = Home::at_server() else { return };
    let first = leads(&home, "a").await;
    let (mut second, mut third) = (follows(&home, "b").await, follows(&home, "c").await);
    first.close().await.unwrap();
    let (second, third) = tokio::join!(second.wait(), third.wait());
    let turns = [second.unwrap(), third.unwrap()];
    let leaders: Vec<_> = turns.iter().filter(|turn| matches!(turn, Turn::Leads(_))).collect();
    assert_eq!(leaders.len(), 1);
    let heard = |turn: &Turn| match turn {
        Turn::Follows(leader) => Some((leader.epoch, leader.server.clone())),
        Turn::Leads(_) => None,
    };
    let heard = turns.iter().find_map(heard).unwrap();
    assert_eq!(heard.0, 2);
    assert!(["b", "c"].contains(&heard.1.as_str()));
}

#[test]
fn a_leader_that_stood_still_for_too_long_writes_nothing_any_more() {
    let Some(home) = Home::at_server() else { return };
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Nothing of the first moves but while this runtime is asked to.
    let stands_still = runtime();
    let first = stands_still.block_on(async {
        let db = leads(&home, "a").await;
        db.commit(&[chunk(1)]).await.unwrap();
        db
    });
    let moves = runtime();
    let began = Instant::now();
    let second = moves.block_on(async {
        let mut second = follows(&home, "b").await;
        let second = taken_over(&mut second).await;
        second.commit(&[chunk(2)]).await.unwrap();
        second
    });
    assert!(began.elapsed() > LEASE - RENEW, "{:?}", began.elapsed());
    assert!(began.elapsed() < LEASE + RENEW, "{:?}", began.elapsed());
    assert_eq!(second.epoch(), Some(2));

    stands_still.block_on(async {
        let error = first.commit(&[chunk(3)]).await.unwrap_err();
        assert!(matches!(error, CommitError::Deposed { epoch: 1, .. }));
        expect_test::expect![[r#"another server leads over the database SERVER since: this one led in epoch 1, and nothing of this change is kept; from now on it follows"#]]
            .assert_eq(&told(&home, &error));
        let stopped = first.writer().stopped().now_or_never().unwrap();
        assert!(matches!(*stopped, CommitError::Deposed { .. }));
        assert!(matches!(first.commit(&[chunk(3)]).await, Err(CommitError::Stopped(_))));
        assert!(matches!(first.close().await, Err(CommitError::Stopped(_))));
    });
    moves.block_on(async {
        assert_eq!(chunks(&second).await, [1, 2]);
        // The close of the first did not give up what is not its own.
        second.commit(&[chunk(4)]).await.unwrap();
        assert_eq!(follows(&home, "a").await.leader().server, "b");
    });
}

#[tokio::test]
async fn who_stands_still_in_the_middle_of_a_transaction_holds_nobody_up_for_ever() {
    let Some(home) = Home::at_server() else { return };
    let db = leads(&home, "a").await;
    db.close().await.unwrap();
    drop(db);
    // What a writer does, and then nothing more.
    let Place::Server(server) = Place::parse(&home.url()).unwrap() else { unreachable!() };
    let mut connection = server.connect().await.unwrap();
    let mut session = Session::Postgres(&mut connection);
    let begin = format!("BEGIN; {}", renewal(1));
    assert_eq!(session.run(AssertSqlSafe(begin)).await.unwrap(), 1);
    session.run("DELETE FROM states").await.unwrap();

    let began = Instant::now();
    let db = leads(&home, "b").await;
    assert!(began.elapsed() < LEASE + RENEW, "{:?}", began.elapsed());
    assert!(session.run("COMMIT").await.is_err());
    assert_eq!(db.epoch(), Some(2));
}

#[tokio::test]
async fn an_idle_leader_hears_that_it_leads_no_more() {
    let Some(home) = Home::at_server() else { return };
    let db = leads(&home, "a").await;
    let writer = db.writer();
    assert!(writer.stopped().now_or_never().is_none());
    home.database.as_ref().unwrap().run("UPDATE leader SET epoch = 7, server = 'z'");
    let stopped = tokio::time::timeout(RENEW * 2, writer.stopped()).await.unwrap();
    assert!(matches!(*stopped, CommitError::Deposed { epoch: 1, .. }), "{stopped}");
    // It does not wait for the second to be told.
    assert!(db.close().await.is_err());
    drop((db, writer));
}

#[tokio::test]
async fn the_last_handle_that_is_dropped_is_heard_of() {
    let home = Home::new();
    let db = home.open().await;
    let stopped = db.writer().stopped();
    drop(db);
    assert!(matches!(*stopped.await, CommitError::Closed));
}

#[tokio::test]
async fn a_candidate_of_whom_too_much_would_be_told_is_refused() {
    let Some(home) = Home::at_server() else { return };
    let boaster =
        Candidate { complex: "c".into(), server: "a".into(), told: "x".repeat(TOLD_MAX + 1) };
    let error = Db::stand(&home.url(), &boaster).await.unwrap_err();
    assert!(matches!(error, OpenError::Candidate { .. }));
    let boaster = Candidate { complex: "c".into(), server: "a".into(), told: "x".repeat(TOLD_MAX) };
    assert!(matches!(Db::stand(&home.url(), &boaster).await, Ok(Standing::Leads(_))));
}

#[tokio::test]
async fn many_that_start_at_once_over_an_empty_database_agree() {
    let Some(home) = Home::at_server() else { return };
    let all = ["a", "b", "c", "d", "e"].map(candidate);
    let url = home.url();
    let standings = all.iter().map(|candidate| Db::stand(&url, candidate));
    let standings: Vec<_> = futures_util::future::join_all(standings).await;
    let leaders = standings.iter().filter(|it| matches!(it, Ok(Standing::Leads(_)))).count();
    let followers = standings.iter().filter(|it| matches!(it, Ok(Standing::Follows(_)))).count();
    assert_eq!((leaders, followers), (1, 4), "{standings:?}");
    let Err(error) = Db::open(&url).await else { panic!("another leads") };
    let OpenError::Led { until, .. } = &error else { panic!("{error}") };
    let text = told(&home, &error).replace(&until.to_string(), "UNTIL");
    assert!(
        text.starts_with("another server leads over the database SERVER until UNTIL at least:")
    );
}

#[tokio::test]
async fn an_older_schema_is_brought_to_the_newest_version() {
    let Some(home) = Home::at_server() else { return };
    let db = leads(&home, "a").await;
    db.commit(&[chunk(1)]).await.unwrap();
    db.close().await.unwrap();
    let database = home.database.as_ref().unwrap();
    database.run(
        "DROP TABLE leader, servers, payouts, proposals, saved, markets, reservations, audit, keys,
             keyrings, storage, keepers, firm, bonds, earned, slices;
         DROP INDEX bills_by_account;
         ALTER TABLE hosts DROP COLUMN passed, DROP COLUMN results, DROP COLUMN ticket,
             DROP COLUMN no_work, DROP COLUMN successor;
         ALTER TABLE revocations DROP COLUMN account;
         ALTER TABLE leases DROP COLUMN held_passed, DROP COLUMN held_until, DROP COLUMN price;
         ALTER TABLE jobs DROP COLUMN redone, DROP COLUMN unchecked, DROP COLUMN pinned;
         DELETE FROM schema_versions WHERE version > 1",
    );
    let db = leads(&home, "b").await;
    assert_eq!((db.epoch(), chunks(&db).await), (Some(1), vec![1]));
    db.close().await.unwrap();
    // A later program leads, and changes the schema: whoever follows can lead no more.
    let db = leads(&home, "c").await;
    let mut follower = follows(&home, "a").await;
    database.run("INSERT INTO schema_versions VALUES (14, 'later', '')");
    let (closed, waited) = tokio::join!(db.close(), follower.wait());
    closed.unwrap();
    assert!(matches!(waited, Err(OpenError::Newer { found: 14, known: 13, .. })));
}

#[tokio::test]
async fn the_database_of_another_complex_is_not_touched() {
    let Some(home) = Home::at_server() else { return };
    let db = leads(&home, "a").await;
    let stranger = Candidate { complex: "other".into(), ..candidate("b") };
    let refused = async || {
        let error = Db::stand(&home.url(), &stranger).await.unwrap_err();
        assert!(
            matches!(&error, OpenError::OtherComplex { theirs, .. } if theirs == "c"),
            "{error}"
        );
    };
    refused().await;
    db.close().await.unwrap();
    refused().await;
    assert_eq!(leads(&home, "a").await.epoch(), Some(2), "the stranger never led");
}

#[tokio::test]
async fn all_servers_that_are_there_are_known_the_leader_first() {
    let Some(home) = Home::at_server() else { return };
    let told = |server: &str| candidate(server).told;
    let db = leads(&home, "b").await;
    assert_eq!(db.servers().await.unwrap(), [told("b")]);
    let mut follower = follows(&home, "a").await;
    let _other = follows(&home, "c").await;
    let mut known = db.servers().await.unwrap();
    assert_eq!(known[0], told("b"));
    known.sort();
    assert_eq!(known, [told("a"), told("b"), told("c")]);
    let database = home.database.as_ref().unwrap();
    database.run("UPDATE servers SET seen = seen - INTERVAL '1 hour'");
    assert_eq!(db.servers().await.unwrap(), [told("b")], "who is gone is forgotten");
    let heard = async {
        while db.servers().await.unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = heard => {}
        _ = follower.wait() => panic!("nothing has changed"),
    }
    assert_eq!(db.servers().await.unwrap(), [told("b"), told("a")], "it looks who leads");
    let over_a_file = Home::new();
    assert!(over_a_file.open().await.servers().await.unwrap().is_empty());
}
