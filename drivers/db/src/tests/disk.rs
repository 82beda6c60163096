//! Files that are full, damaged, foreign, too new, or in use.

use std::os::unix::fs::{FileExt, PermissionsExt};

use isos_base::ids::JobId;
use isos_base::record::{Accepted, Change, ResultBatch};

use sqlx::Row;

use super::{Home, sample, told};
use crate::{CommitError, Db, OpenError, ReadError, Settings, options};

fn transfer(seq: u64) -> Change {
    Change::Transfer(Box::new(sample::transfer(seq)))
}

#[tokio::test]
async fn a_new_file_is_its_owners_alone() {
    let home = Home::new();
    let db = home.open().await;
    db.commit(&[transfer(1)]).await.unwrap();
    for ending in ["", "-wal", "-shm", ".lock"] {
        let path = home.url() + ending;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
    db.close().await.unwrap();
    assert!(!std::fs::exists(home.url() + "-wal").unwrap(), "the log was written back");
}

#[tokio::test]
async fn the_writer_waits_for_the_disk() {
    use sqlx::ConnectOptions;
    let home = Home::new();
    let db = home.open().await;
    let writer = options(&db.inner.place).writer(Settings::default());
    let mut connection = writer.connect().await.unwrap();
    for (pragma, expected) in [("PRAGMA synchronous", "2"), ("PRAGMA journal_mode", "wal")] {
        let row = sqlx::query(pragma).fetch_one(&mut connection).await.unwrap();
        let value =
            row.try_get::<String, _>(0).unwrap_or_else(|_| row.get::<i64, _>(0).to_string());
        assert_eq!(value, expected, "{pragma}");
    }
}

#[tokio::test]
async fn a_second_server_is_refused_until_the_first_is_gone() {
    let home = Home::new();
    let db = home.open().await;
    let error = Db::open(&home.url()).await.unwrap_err();
    let text = told(&home, &error).replace(&std::process::id().to_string(), "PID");
    expect_test::expect!["HOME/complex.db is in use by process PID: stop that server first, or give this one a home of its own"]
        .assert_eq(&text);
    // Under another name it is the same file.
    let link = home.folder.path().join("link.db");
    std::os::unix::fs::symlink(home.url(), &link).unwrap();
    let error = Db::open(link.to_str().unwrap()).await.unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }));
    db.close().await.unwrap();
    Db::open(link.to_str().unwrap()).await.unwrap();
}

/// Waits until a commit waits for room.
async fn no_room(db: &Db) -> CommitError {
    loop {
        if let Some(error) = db.writer().no_room() {
            return error;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_loses_nothing() {
    let home = Home::new();
    let db = home.open_with(Settings { pages_max: Some(200), ..Settings::default() }).await;
    let batch = |batch| {
        let accepted = Accepted { task: 7, result: Err("x".repeat(20_000)), host: None };
        Change::Results(ResultBatch { job: JobId(1), batch, results: vec![accepted] })
    };
    let mut acknowledged = 0;
    let error = loop {
        let changes = [transfer(acknowledged + 1), batch(acknowledged)];
        tokio::select! {
            kept = db.commit(&changes) => kept.map(|()| acknowledged += 1).unwrap(),
            error = no_room(&db) => break error,
        }
    };
    let text = told(&home, &error);
    assert!(text.starts_with("no room to write to the database HOME/complex.db ("), "{text}");
    assert!(text.contains(" free on its disk): make room,"), "{text}");
    assert!(acknowledged > 5);
    // What waits for room waits no more when the database is closed.
    assert!(matches!(db.close().await, Err(CommitError::Stopped(_))));
    assert!(matches!(db.commit(&[transfer(1)]).await, Err(CommitError::Stopped(_))));

    let db = home.open().await;
    assert_eq!(db.transfers(None, 0, 999).await.unwrap().len(), acknowledged as usize);
    assert_eq!(db.results(JobId(1), None, 999).await.unwrap().len(), acknowledged as usize);
    db.commit(&[transfer(acknowledged + 1)]).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let home = Home::new();
    std::fs::write(home.url(), "my diary\n".repeat(1_000)).unwrap();
    let error = Db::open(&home.url()).await.unwrap_err();
    expect_test::expect!["HOME/complex.db is not a database of this program: move it away or name another one: (code: 26) file is not a database"]
        .assert_eq(&told(&home, &error));
    assert!(std::fs::read_to_string(home.url()).unwrap().starts_with("my diary"));
}

async fn tamper(home: &Home, sql: &'static str) {
    use sqlx::Connection;
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(home.url()).create_if_missing(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_database_of_another_program_or_version_is_refused() {
    let home = Home::new();
    tamper(&home, "CREATE TABLE diary (day INTEGER)").await;
    let error = Db::open(&home.url()).await.unwrap_err();
    expect_test::expect![
        "HOME/complex.db is not a database of this program: move it away or name another one"
    ]
    .assert_eq(&told(&home, &error));

    let home = Home::new();
    home.open().await.close().await.unwrap();
    home.open().await.close().await.unwrap();
    tamper(&home, "INSERT INTO schema_versions VALUES (999, 'later', 'x')").await;
    let error = Db::open(&home.url()).await.unwrap_err();
    expect_test::expect!["HOME/complex.db has version 999 of the schema, this program knows versions up to 13: use the program that wrote it, or a later one"]
        .assert_eq(&told(&home, &error));

    tamper(&home, "UPDATE schema_versions SET version = version - 1000").await;
    let error = Db::open(&home.url()).await.unwrap_err();
    expect_test::expect![[r#"HOME/complex.db has a schema that no version of this program wrote: its versions are [(-999, "first"), (-997, "trust"), (-996, "bank"), (-995, "unchecked"), (-994, "saved"), (-993, "market"), (-992, "rights"), (-991, "narrowed"), (-990, "storage"), (-989, "bonds"), (-988, "complex"), (-987, "slices"), (-1, "later")]"#]]
        .assert_eq(&told(&home, &error));
    tamper(&home, "DELETE FROM schema_versions").await;
    assert!(matches!(Db::open(&home.url()).await.unwrap_err(), OpenError::Schema { .. }));
    tamper(&home, "DROP TABLE schema_versions").await;
    assert!(matches!(Db::open(&home.url()).await.unwrap_err(), OpenError::NotOurs { .. }));
}

#[tokio::test]
async fn a_file_belongs_to_the_complex_that_opened_it_first() {
    let home = Home::new();
    assert!(Db::is_missing(&home.url()));
    Db::open_of(&home.url(), "ours").await.unwrap().close().await.unwrap();
    assert!(!Db::is_missing(&home.url()));
    Db::open_of(&home.url(), "ours").await.unwrap().close().await.unwrap();
    home.open().await.close().await.unwrap();
    let error = Db::open_of(&home.url(), "other").await.unwrap_err();
    expect_test::expect!["the database HOME/complex.db belongs to the complex ours, and this server is of other: put the right complex.key back, start it with --complex-key and the complex.key of one of its servers, or name another database"]
        .assert_eq(&told(&home, &error));
    // One that an earlier program wrote does not say: it is his who opens it.
    tamper(&home, "DELETE FROM complex").await;
    Db::open_of(&home.url(), "other").await.unwrap().close().await.unwrap();
    assert!(Db::open_of(&home.url(), "ours").await.is_err());
    std::fs::write(home.url(), "").unwrap();
    assert!(Db::is_missing(&home.url()), "an empty one is none");
    assert!(!Db::is_missing("sqlite::memory:"));
}

/// Specifications had no slice once: what was written then is read as of none.
#[tokio::test]
async fn a_job_of_an_earlier_program_is_on_no_slice() {
    let home = Home::new();
    let mut job = sample::job(&mut isos_base::random::Random::new(1));
    (job.state, job.spec.slice) = (isos_base::record::JobState::Active, None);
    let db = home.open().await;
    db.commit(&[Change::Job(Box::new(job.clone()))]).await.unwrap();
    db.close().await.unwrap();
    tamper(&home, "UPDATE jobs SET spec = substr(spec, 1, length(spec) - 1)").await;
    let db = home.open().await;
    assert_eq!(db.job(job.id).await.unwrap(), Some(job));
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_named() {
    let home = Home::new();
    let mut job = sample::job(&mut isos_base::random::Random::new(1));
    job.state = isos_base::record::JobState::Active;
    job.id = JobId(3);
    let db = home.open().await;
    db.commit(&[Change::Job(Box::new(job))]).await.unwrap();
    db.close().await.unwrap();
    for (sql, expected) in [
        (
            "UPDATE jobs SET spec = x'63'",
            expect_test::expect![
                "the database HOME/complex.db has a bad row: row 3 of table jobs: column spec holds a value of the unknown version 99"
            ],
        ),
        (
            "UPDATE jobs SET hold = x'63'",
            expect_test::expect![
                "the database HOME/complex.db has a bad row: row 3 of table jobs: column hold holds 1 bytes, not 16"
            ],
        ),
        (
            "UPDATE jobs SET price = -1",
            expect_test::expect![
                "the database HOME/complex.db has a bad row: row 3 of table jobs: column price holds -1, which is out of range"
            ],
        ),
    ] {
        tamper(&home, sql).await;
        let db = home.open().await;
        let error = db.load().await.unwrap_err();
        assert!(matches!(error, ReadError::Row { .. }));
        expected.assert_eq(&told(&home, &error));
        db.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_file_is_said() {
    let home = Home::new();
    let db = home.open().await;
    db.commit(&(1..=5_000).map(transfer).collect::<Vec<_>>()).await.unwrap();
    db.close().await.unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(home.url()).unwrap();
    // All but the first pages, which have the schema, and what is read at the start.
    let length = file.metadata().unwrap().len();
    file.write_all_at(&vec![0xa5; (length - 80 * 4_096) as usize], 80 * 4_096).unwrap();
    let db = home.open().await;
    let visit = |_: &_| std::ops::ControlFlow::Continue(());
    let error = db.each_transfer(0, visit).await.unwrap_err();
    assert!(matches!(error, ReadError::Damaged { .. }), "{error:?}");
    expect_test::expect!["the database HOME/complex.db is damaged: restore it from a backup: (code: 11) database disk image is malformed"]
        .assert_eq(&told(&home, &error));
    drop(db);

    // Cut off in the middle.
    let home = Home::new();
    let db = home.open().await;
    db.commit(&(1..=5_000).map(transfer).collect::<Vec<_>>()).await.unwrap();
    db.close().await.unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(home.url()).unwrap();
    file.set_len(length / 2).unwrap();
    let error = match Db::open(&home.url()).await {
        Err(error) => told(&home, &error),
        Ok(db) => told(&home, &db.each_transfer(0, visit).await.unwrap_err()),
    };
    assert!(error.contains("is damaged: restore it from a backup"), "{error}");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let home = Home::new();
    let path = home.folder.path().join("no/such/complex.db");
    let error = Db::open(path.to_str().unwrap()).await.unwrap_err();
    expect_test::expect![
        "cannot open HOME/no/such/complex.db: No such file or directory (os error 2)"
    ]
    .assert_eq(&told(&home, &error));
}
