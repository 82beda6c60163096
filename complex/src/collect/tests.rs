//! A real shelf and a real database, and what leaves them.

use isos_base::job::{JobSpec, Mount};
use isos_base::price::Price;
use isos_base::record::{Change, JobState, ResultBatch, VoteBatch};
use isos_base::task::Exit;
use isos_base::{AccountId, Fuel, LeaseId, MicroCredits, TransferId};
use isos_disk::{Durability, ShelfLimits};

use super::*;
use crate::testing::World;

const DAY: Span = Span::secs(86_400);

struct Place {
    folder: tempfile::TempDir,
    db: Db,
    shelf: Shelf,
    stock: Stock,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let limits = ShelfLimits { quota: Bytes::mib(64), free_floor: Bytes::ZERO };
        let shelf = Shelf::open(&folder.path().join("shelf"), limits, Durability::Cache).unwrap();
        let database = folder.path().join("complex.db");
        let db = Db::open(database.to_str().unwrap()).await.unwrap();
        Self { folder, db, shelf, stock: Stock::new(50) }
    }

    fn put(&self, text: &str) -> Guid {
        self.shelf.put(text.as_bytes()).unwrap()
    }

    fn house(&self, keep: Option<Span>) -> House<'_> {
        House { db: &self.db, shelf: &self.shelf, stock: &self.stock, keep }
    }

    fn there(&self, guids: &[Guid]) -> Vec<bool> {
        guids.iter().map(|guid| self.shelf.contains(guid)).collect()
    }
}

fn job(id: u64, program: Guid, ended: Option<Time>) -> JobRecord {
    JobRecord {
        id: JobId(id),
        account: AccountId(100),
        spec: JobSpec::new(program, Bytes(1), 1),
        state: if ended.is_some() { JobState::Done } else { JobState::Active },
        price: Price(100),
        hold: TransferId(0),
        submitted: Time(1),
        ended,
        spent: MicroCredits(0),
        done: 0,
        failed: 0,
        given_up: 0,
        redone: Vec::new(),
        unchecked: 0,
        why: None,
        pinned: None,
    }
}

fn result(output: Guid) -> TaskResult {
    TaskResult { task: 0, exit: Exit::Code(0), fuel: Fuel(1), output: OutputAt::Object(output, 1) }
}

fn accepted(job: u64, output: Guid) -> Change {
    let accepted = Accepted { task: 0, result: Ok(result(output)), host: None };
    Change::Results(ResultBatch { job: JobId(job), batch: 0, results: vec![accepted] })
}

#[tokio::test]
async fn what_a_job_names_stays_and_the_rest_goes_after_a_day() {
    let place = Place::new().await;
    let [program, input, file, output, vote] =
        ["program", "input", "file", "output", "vote"].map(|text| place.put(text));
    let mount = |guid| Mount { path: "x".into(), guid, size: Bytes(1) };
    let files = FileList { files: vec![mount(file)] };
    let list = place.shelf.put(&codec::encode(&files)).unwrap();
    let (stray, fresh) = (place.put("stray"), place.put("fresh"));
    let mut active = job(7, program, None);
    active.spec.inputs = vec![mount(input)];
    active.spec.each = Some(list);
    let votes =
        VoteBatch { job: JobId(7), lease: LeaseId(3), batch: 0, results: vec![result(vote)] };
    let changes = [Change::Job(Box::new(active)), accepted(7, output), Change::Votes(votes)];
    place.db.commit(&changes).await.unwrap();

    let now = clock::now();
    let early = place.house(None).clean(now, Vec::new()).await.unwrap();
    assert_eq!(early, Collected::default(), "an upload survives its first day");
    let later = now + DAY + DAY;
    assert!(place.shelf.need(&fresh, later).is_some());
    let collected = place.house(None).clean(later, Vec::new()).await.unwrap();
    assert_eq!(collected, Collected { objects: 1, bytes: Bytes(5), jobs: 0 });
    let named = [program, input, file, list, output, vote, fresh];
    assert_eq!(place.there(&named), [true; 7]);
    assert!(!place.shelf.contains(&stray));
    let candidates = |time: Time| place.shelf.unneeded(Time(time.0 - DAY.0), None, 10);
    assert!(candidates(later).is_empty(), "what was found to be named is asked after no more");
    assert_eq!(candidates(later + DAY + DAY).len(), 7, "until another day has passed");

    // What is named or needed is kept even if a host gave it away; an orphan goes at once.
    let orphan = place.put("orphan");
    let orphans = vec![orphan, output];
    let soon = clock::now() + Span::secs(1);
    let collected = place.house(None).clean(soon, orphans).await.unwrap();
    assert_eq!(collected.objects, 1);
    assert_eq!(place.there(&[orphan, output]), [false, true]);
    drop(place.folder);
}

#[tokio::test]
async fn results_leave_with_their_objects_when_their_time_is_over() {
    let place = Place::new().await;
    let [program, old, young] = ["program", "old", "young"].map(|text| place.put(text));
    let now = clock::now() + DAY + DAY;
    let keep = Span::secs(3_600);
    let ended = |ago: Span| Some(Time(now.0 - ago.0));
    let changes = [
        Change::Job(Box::new(job(1, program, ended(Span::secs(3_601))))),
        accepted(1, old),
        Change::Job(Box::new(job(2, program, ended(Span::secs(3_500))))),
        accepted(2, young),
    ];
    place.db.commit(&changes).await.unwrap();
    let kept = place.house(None).clean(now, Vec::new()).await.unwrap();
    assert_eq!(kept, Collected::default(), "without a limit they stay for ever");
    let collected = place.house(Some(keep)).clean(now, Vec::new()).await.unwrap();
    assert_eq!(collected, Collected { objects: 1, bytes: Bytes(3), jobs: 1 });
    assert_eq!(place.there(&[program, old, young]), [true, false, true]);
    assert!(place.db.results(JobId(1), None, 1).await.unwrap().is_empty());
    assert_eq!(place.db.results(JobId(2), None, 1).await.unwrap().len(), 1);
    assert!(place.db.job(JobId(1)).await.unwrap().is_some(), "its record stays");
    let again = place.house(Some(keep)).clean(now, Vec::new()).await.unwrap();
    assert_eq!(again, Collected::default());
}

#[tokio::test]
async fn revocations_leave_every_hour_and_a_sweep_is_once_a_day() {
    let world = World::new().await;
    let shared = world.server.shared.clone();
    let now = clock::now() + DAY + DAY;
    let revocation = |name: &[u8], until| Change::Revocation(name.to_vec(), until);
    let hour = Span::secs(3_600);
    let changes = [revocation(b"old", now), revocation(b"young", now + hour)];
    shared.db.commit(&changes).await.unwrap();
    let mut collector = Collector::default();
    let stray = shared.shelf.put(b"stray").unwrap();
    assert_eq!(collector.collect(&shared, now).await.unwrap().objects, 1);
    assert!(!shared.shelf.contains(&stray));
    assert_eq!(shared.db.load().await.unwrap().revocations.len(), 1);

    let stray = shared.shelf.put(b"another").unwrap();
    collector.collect(&shared, now + hour + hour).await.unwrap();
    assert!(shared.shelf.contains(&stray), "the next sweep is tomorrow");
    assert!(shared.db.load().await.unwrap().revocations.is_empty());
    assert_eq!(collector.collect(&shared, now + DAY).await.unwrap().objects, 1);
    world.server.stop().await;
}

#[tokio::test]
async fn what_lay_there_before_the_start_is_of_the_account_whose_job_names_it() {
    let place = Place::new().await;
    let (program, nobodys) = (place.shelf.put(&[7; 20 << 20]).unwrap(), place.put("of nobody"));
    let changes = [Change::Job(Box::new(job(1, program, None)))];
    place.db.commit(&changes).await.unwrap();
    let owner = AccountId(100);
    let room = |account, mib| place.stock.reserve(&place.shelf, account, Bytes::mib(mib));
    assert!(room(owner, 21).is_ok(), "half of what is free, as for anybody");
    place.house(None).spare_the_named(Time(1), None).await.unwrap();
    assert!(room(owner, 13).is_err(), "it has 20 of 32 MiB");
    assert!(room(owner, 11).is_ok() && room(AccountId(101), 21).is_ok());
    assert!(place.there(&[program, nobodys]).iter().all(|is_there| *is_there));
}
