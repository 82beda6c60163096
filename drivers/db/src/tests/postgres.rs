//! A server that goes away and comes back, and what it may say no to.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use isos_base::random::Random;
use isos_base::record::Change;

use super::model::Model;
use super::server::{Cluster, Database, server};
use super::{Home, sample, told};
use crate::place::Place;
use crate::sql::Session;
use crate::{Candidate, CommitError, Db, OpenError, Settings, Standing, Turn};

fn transfer(seq: u64) -> Change {
    Change::Transfer(Box::new(sample::transfer(seq)))
}

/// Commits transfers, one after the other and some at once, while `disturb` disturbs the server.
/// Every acknowledged one must be there, and none that was not submitted.
async fn writes_on(db: &Db, disturb: impl FnOnce() + Send + 'static) {
    let next = Arc::new(AtomicU64::new(1));
    let last = Arc::new(AtomicU64::new(u64::MAX));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (writer, next, last) = (db.writer(), next.clone(), last.clone());
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            loop {
                let seq = next.fetch_add(1, Ordering::Relaxed);
                if seq > last.load(Ordering::Relaxed) {
                    return acknowledged;
                }
                writer.submit(vec![transfer(seq)]).await.unwrap();
                acknowledged.push(seq);
            }
        });
    }
    while next.load(Ordering::Relaxed) < 100 {
        tokio::task::yield_now().await;
    }
    tokio::task::spawn_blocking(disturb).await.unwrap();
    last.store(next.load(Ordering::Relaxed) + 100, Ordering::Relaxed);
    let acknowledged: BTreeSet<u64> = writers.join_all().await.into_iter().flatten().collect();
    let mut found = BTreeSet::new();
    let visit = |transfer: &isos_base::record::TransferRecord| {
        assert_eq!(*transfer, sample::transfer(transfer.seq));
        assert!(found.insert(transfer.seq), "none is there twice");
        ControlFlow::Continue(())
    };
    db.each_transfer(0, visit).await.unwrap();
    assert_eq!(found, acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_restarts_and_crashes_of_the_server() {
    let Some(cluster) = Cluster::new() else { return };
    let cluster = Arc::new(cluster);
    let db = Db::open(&cluster.url()).await.unwrap();
    for action in ["restart", "crash", "restart", "crash"] {
        let cluster = cluster.clone();
        let empty = "DELETE FROM transfers";
        let Place::Server(server) = &db.inner.place else { unreachable!() };
        let mut connection = server.connect().await.unwrap();
        Session::Postgres(&mut connection).run(empty).await.unwrap();
        drop(connection);
        writes_on(&db, move || cluster.control(action)).await;
    }
    assert_eq!(db.epoch(), Some(1));
    db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_again_and_again_lose_nothing() {
    let Some(home) = Home::at_server() else { return };
    let home = Arc::new(home);
    let db = home.open().await;
    let at = home.clone();
    let cut = move || {
        for _ in 0..50 {
            at.database.as_ref().unwrap().run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            );
        }
    };
    writes_on(&db, cut).await;
    assert_eq!(db.epoch(), Some(1));
    db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_waits_for_a_server_that_is_away() {
    let Some(cluster) = Cluster::new() else { return };
    let first = Db::open(&cluster.url()).await.unwrap();
    let candidate = Candidate { complex: String::new(), server: "b".into(), told: String::new() };
    let standing = Db::stand(&cluster.url(), &candidate).await.unwrap();
    let Standing::Follows(mut follower) = standing else { panic!("the first leads") };
    let mut trouble = follower.trouble();
    let waits = tokio::spawn(async move { follower.wait().await });
    tokio::task::yield_now().await;

    cluster.control("stop");
    let heard = tokio::time::timeout(Duration::from_secs(20), trouble.wait_for(Option::is_some));
    let heard = heard.await.unwrap().unwrap().clone().unwrap();
    assert!(matches!(*heard, OpenError::Refused { .. }), "{heard}");
    // The writer waits as well. Where the server was away for longer than the lease runs, either
    // of the two may come first.
    let commit = first.writer().submit(vec![transfer(1)]);
    cluster.control("restart");
    let kept = match commit.await {
        Ok(()) => {
            first.close().await.unwrap();
            1
        }
        Err(CommitError::Stopped(error)) => {
            assert!(matches!(*error, CommitError::Deposed { epoch: 1, .. }), "{error}");
            0
        }
        Err(error) => panic!("{error}"),
    };
    let Turn::Leads(second) = waits.await.unwrap().unwrap() else { panic!("nobody else leads") };
    assert!(trouble.borrow_and_update().is_none());
    assert_eq!(second.transfers(None, 0, 9).await.unwrap().len(), kept);
}

#[tokio::test]
async fn the_session_of_the_writer_waits_for_the_disk() {
    let Some(home) = Home::at_server() else { return };
    let url = home.url();
    let (_, name) = url.rsplit_once('/').unwrap();
    let careless = format!("ALTER DATABASE {name} SET synchronous_commit = off");
    home.database.as_ref().unwrap().run(&careless);
    let Place::Server(server) = Place::parse(&home.url()).unwrap() else { unreachable!() };
    let mut connection = server.connect().await.unwrap();
    let mut session = Session::Postgres(&mut connection);
    let sql = "SELECT current_setting('synchronous_commit'), current_setting('fsync')";
    let row = session.fetch(sql, Vec::new()).try_next().await.unwrap().unwrap();
    let setting = |column| row.get::<String>(column).unwrap();
    assert_eq!((setting(0).as_str(), setting(1).as_str()), ("on", "on"));
}

#[tokio::test]
async fn no_text_stops_the_writer() {
    for home in Home::each() {
        let random = &mut Random::new(1);
        let mut model = Model::default();
        let mut changes = Vec::new();
        for text in ["\0", "\u{10ffff}", "\u{10ffff}0", "a\0b", "ä\u{fffe}\u{feff}"] {
            let mut reply = sample::change(10, random);
            if let Change::Idempotency(reply) = &mut reply {
                reply.key = text.into();
            }
            let mut host = sample::host(random);
            (host.spec.name, host.barred) = (text.into(), Some(text.into()));
            changes.extend([reply, Change::Host(Box::new(host))]);
        }
        let mut account = sample::account(random);
        account.name = "nul \0".into();
        changes.push(Change::Account(Box::new(account.clone())));
        let db = home.with(changes.clone()).await;
        changes.iter().for_each(|change| model.apply(change));
        assert_eq!(Model::of(&db).await, model);
        assert_eq!(db.account_by_name("nul \0").await.unwrap(), Some(account));
    }
}

#[tokio::test]
async fn a_bad_row_and_a_database_of_another_version_are_named() {
    let Some(home) = Home::at_server() else { return };
    let database = home.database.as_ref().unwrap();
    let refused = async || told(&home, &Db::open(&home.url()).await.unwrap_err());
    let mut job = sample::job(&mut Random::new(1));
    (job.state, job.id) = (isos_base::record::JobState::Active, isos_base::ids::JobId(3));
    let db = home.with([Change::Job(Box::new(job))]).await;
    database.run(r"UPDATE jobs SET spec = '\x63'");
    expect_test::expect!["the database SERVER has a bad row: row 3 of table jobs: column spec holds a value of the unknown version 99"].assert_eq(&told(&home, &db.load().await.unwrap_err()));
    db.close().await.unwrap();

    database.run("INSERT INTO schema_versions VALUES (999, 'later', 'x')");
    expect_test::expect!["SERVER has version 999 of the schema, this program knows versions up to 13: use the program that wrote it, or a later one"].assert_eq(&refused().await);
    database.run("UPDATE schema_versions SET version = version - 1000");
    expect_test::expect![[r#"SERVER has a schema that no version of this program wrote: its versions are [(-999, "first"), (-998, "leader"), (-997, "trust"), (-996, "bank"), (-995, "unchecked"), (-994, "saved"), (-993, "market"), (-992, "rights"), (-991, "narrowed"), (-990, "storage"), (-989, "bonds"), (-987, "slices"), (-1, "later")]"#]].assert_eq(&refused().await);
    database.run("DROP TABLE schema_versions");
    expect_test::expect![
        "SERVER is not a database of this program: move it away or name another one"
    ]
    .assert_eq(&refused().await);
    database.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    database.run("CREATE TABLE diary (day BIGINT)");
    expect_test::expect![
        "SERVER is not a database of this program: move it away or name another one"
    ]
    .assert_eq(&refused().await);
}

#[tokio::test]
async fn a_database_that_does_not_hold_all_characters_is_refused() {
    let Some(server) = server() else { return };
    let database = Database::with(server, "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'");
    let home = Home { database: Some(database), ..Home::new() };
    let error = Db::open(&home.url()).await.unwrap_err();
    expect_test::expect!["the database SERVER has the encoding LATIN1, which does not hold all texts: make one with createdb --template=template0 --encoding=UTF8 NAME"].assert_eq(&told(&home, &error));
}

#[tokio::test]
async fn whatever_a_server_says_no_to_comes_with_what_to_do() {
    let Some(cluster) = Cluster::new() else { return };
    let root = cluster.url();
    let admin = Database::new(root.clone());
    admin.run(
        "CREATE ROLE locked LOGIN PASSWORD 'right'; CREATE ROLE guest LOGIN; \
         CREATE ROLE reader LOGIN SUPERUSER; \
         ALTER ROLE reader SET default_transaction_read_only = on",
    );
    // The first line that fits counts.
    let rules = cluster.folder().join("data/pg_hba.conf");
    let more = "host all locked 127.0.0.1/32 scram-sha-256\nhost all none 127.0.0.1/32 reject\n";
    let before = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("{more}{before}")).unwrap();
    admin.run("SELECT pg_reload_conf()");

    let port = root.rsplit_once(':').unwrap().1.split_once('/').unwrap().0.to_owned();
    let refused = async |user: &str, database: &str, options: &str| {
        let url = format!("postgres://{user}@127.0.0.1:{port}/{database}{options}");
        let error = Db::open(&url).await.unwrap_err();
        let mut text = format!("{error}");
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text += &format!(": {error}");
            cause = error.source();
        }
        assert!(!text.contains("wrong"), "{text}");
        text.replace(&port, "PORT")
    };
    let mut all = vec![
        refused("locked:wrong", "postgres", "").await,
        refused("locked", "postgres", "?password=wrong").await,
        refused("none", "postgres", "").await,
        refused("nobody", "postgres", "").await,
        refused("postgres", "nowhere", "").await,
        refused("guest", "postgres", "").await,
    ];
    Db::open(&root).await.unwrap().close().await.unwrap();
    all.push(refused("guest", "postgres", "").await);
    all.push(refused("reader", "postgres", "").await);
    admin.run("ALTER ROLE guest CONNECTION LIMIT 0");
    all.push(refused("guest", "postgres", "").await);
    drop(admin);
    cluster.control("stop");
    all.push(refused("postgres", "postgres", "").await);
    expect_test::expect![[r#"
        cannot open the database postgres://127.0.0.1:PORT/postgres: correct the password, in the URL, in PGPASSWORD or in ~/.pgpass: password authentication failed for user "locked"
        cannot open the database postgres://127.0.0.1:PORT/postgres: correct the password, in the URL, in PGPASSWORD or in ~/.pgpass: password authentication failed for user "locked"
        cannot open the database postgres://127.0.0.1:PORT/postgres: see that the user exists and that pg_hba.conf lets it in without TLS: pg_hba.conf rejects connection for host "127.0.0.1", user "none", database "postgres", no encryption
        cannot open the database postgres://127.0.0.1:PORT/postgres: see that the user exists and that pg_hba.conf lets it in without TLS: role "nobody" does not exist
        cannot open the database postgres://127.0.0.1:PORT/nowhere: make the database first: createdb --template=template0 --encoding=UTF8 NAME: database "nowhere" does not exist
        cannot open the database postgres://127.0.0.1:PORT/postgres: let its user own the database: ALTER DATABASE name OWNER TO user: permission denied for schema public
        cannot open the database postgres://127.0.0.1:PORT/postgres: let its user own the database: ALTER DATABASE name OWNER TO user: permission denied for table schema_versions
        cannot open the database postgres://127.0.0.1:PORT/postgres: it can only be read: give the URL of the primary server, or make it writable: cannot execute UPDATE in a read-only transaction
        cannot open the database postgres://127.0.0.1:PORT/postgres: it has too many connections: raise max_connections, or close others: too many connections for role "guest"
        cannot open the database postgres://127.0.0.1:PORT/postgres: see that PostgreSQL runs there and can be reached: error communicating with database: Connection refused (os error 111)"#]].assert_eq(&all.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_come_back_by_themselves() {
    let Some(cluster) = Cluster::new() else { return };
    let db = Db::open(&cluster.url()).await.unwrap();
    db.commit(&[transfer(1)]).await.unwrap();
    assert_eq!(db.transfers(None, 0, 9).await.unwrap().len(), 1);
    assert!(db.size().0 > 1 << 20);
    cluster.control("crash");
    assert_eq!(db.transfers(None, 0, 9).await.unwrap().len(), 1);
    // Whatever fails but a lost connection stops the writer, and says why.
    let Place::Server(server) = &db.inner.place else { unreachable!() };
    let mut connection = server.connect().await.unwrap();
    Session::Postgres(&mut connection).run("DROP TABLE states").await.unwrap();
    let error =
        db.commit(&[transfer(2), sample::change(1, &mut Random::new(1))]).await.unwrap_err();
    assert!(matches!(error, CommitError::Failed { .. }), "{error}");
    assert_eq!(db.transfers(None, 0, 9).await.unwrap().len(), 1);
    assert!(matches!(db.close().await, Err(CommitError::Stopped(_))));
}

#[tokio::test]
async fn a_server_that_stays_away_stops_the_writer() {
    let Some(cluster) = Cluster::new() else { return };
    let settings = Settings { away_max: Duration::from_secs(2), ..Settings::default() };
    let db = Db::open_with(&cluster.url(), settings).await.unwrap();
    let writer = db.writer();
    cluster.control("stop");
    // Nothing is submitted: it is the lease that cannot be renewed.
    let stopped = tokio::time::timeout(Duration::from_secs(20), writer.stopped()).await.unwrap();
    assert!(matches!(*stopped, CommitError::Away { .. }), "{stopped}");
    let text = stopped.to_string();
    assert!(text.ends_with(
        " was away for 2 s: see that PostgreSQL runs there and can be reached, then start this \
         server again; nothing that was acknowledged is lost"
    ));
    assert!(matches!(writer.submit(vec![transfer(1)]).await, Err(CommitError::Stopped(_))));
    assert!(matches!(db.close().await, Err(CommitError::Stopped(_))));
}
