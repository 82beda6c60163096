//! The sender against rails that answer badly, and a server that is killed.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use isos_base::MicroCredits;
use isos_base::capability::Right;
use isos_base::record::PayoutState;

use crate::server::{Server, ServerConfig};
use crate::testing::World;

use super::*;

fn config(home: &Path, rail: &str) -> ServerConfig {
    ServerConfig {
        rails: vec![rail.parse().unwrap()],
        welcome: MicroCredits::credits(100),
        ..ServerConfig::local(home.to_owned())
    }
}

fn rail_at(folder: &Path) -> String {
    format!("file={}", folder.display())
}

fn lines(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("payouts.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until it holds; there is no event for what a task does by itself.
async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: that never came");
}

async fn payouts(world: &World, token: &str) -> Vec<PayoutView> {
    let (status, body) = world.json("GET /v1/accounts/me/payouts", token, "").await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn a_payout_reaches_the_file_once_and_a_deposit_the_account() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("bank");
    let server = Server::start(config(home.path(), &rail_at(&folder))).await.unwrap();
    let world = World::of(server);
    let ada = world.token("ada", &[Right::Submit, Right::Read]).await;
    let body = r#"{"amount": 5000000, "to": "ada", "key": "k"}"#;
    for _ in 0..3 {
        let (status, body) = world.json("POST /v1/accounts/me/payouts", &ada, body).await;
        assert_eq!(status, 200, "{body}");
    }
    until("paid", || async {
        payouts(&world, &ada).await.iter().all(|it| it.state == PayoutState::Paid)
    })
    .await;
    let written = lines(&folder);
    assert_eq!((written.len(), written[0]["amount"].as_str()), (1, Some("5.000000")));
    // An operator sees what waits, but does not send away what others have.
    let operator = world.operator();
    let (status, waiting) = world.json("GET /v1/bank/outbox", &operator, "").await;
    assert_eq!((status, waiting.as_str()), (200, "[]"));
    let (status, _) = world.json("POST /v1/accounts/ada/payouts", &operator, body).await;
    assert_eq!(status, 403);
    let (status, _) = world.json("GET /v1/bank/outbox", &ada, "").await;
    assert_eq!(status, 403);
    let reader = world.token("ada", &[Right::Read]).await;
    let (status, _) = world.json("POST /v1/accounts/me/payouts", &reader, body).await;
    assert_eq!(status, 403);

    let deposit = r#"{"id": "cash 1", "account": "ada", "amount": "7.5"}"#;
    for name in ["1.json", "2.json"] {
        std::fs::write(folder.join("deposits/new"), deposit).unwrap();
        std::fs::rename(folder.join("deposits/new"), folder.join("deposits").join(name)).unwrap();
        until("taken", || async { folder.join("deposits/done").join(name).exists() }).await;
    }
    let (_, account) = world.json("GET /v1/accounts/me", &ada, "").await;
    let account: isos_base::api::AccountView = serde_json::from_str(&account).unwrap();
    assert_eq!(account.available, MicroCredits(102_500_000), "the second is the first");
    let (_, statement) = world.json("GET /v1/accounts/me/statement", &ada, "").await;
    assert!(statement.contains("paid in, file: cash 1"), "{statement}");
    world.server.stop().await;
}

#[tokio::test]
async fn whatever_a_server_died_before_it_is_done_once_when_it_is_back() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("bank");
    let ask = r#"{"amount": 5000000, "to": "ada", "key": "k"}"#;
    // The rail cannot write, so the payout waits in the outbox when the server ends.
    let server = Server::start(config(home.path(), &rail_at(&folder))).await.unwrap();
    let world = World::of(server);
    let file = folder.join("payouts.jsonl");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let ada = world.token("ada", &[Right::Submit, Right::Read]).await;
    let (status, _) = world.json("POST /v1/accounts/me/payouts", &ada, ask).await;
    assert_eq!(status, 200);
    until("in trouble", || async {
        payouts(&world, &ada).await.iter().all(|it| it.tries > 0 && it.trouble.is_some())
    })
    .await;
    // The rail's own word comes a moment after that of its payout.
    until("the rail in trouble", || async {
        let (_, rails) = world.json("GET /v1/bank/rails", &ada, "").await;
        rails.contains("payouts.jsonl")
    })
    .await;
    world.server.stop().await;
    // The line was written, and the server died before it could say so to the database.
    std::fs::remove_dir(&file).unwrap();
    let rail = crate::rail::open(&[rail_at(&folder).parse().unwrap()]).unwrap().pop().unwrap();
    let server =
        Server::start(ServerConfig { rails: Vec::new(), ..config(home.path(), &rail_at(&folder)) });
    let world = World::of(server.await.unwrap());
    let waits = world.server.shared.core.query(|complex, _| {
        complex.payouts_waiting(None, PayoutId(0)).cloned().collect::<Vec<_>>()
    });
    let payout = waits.await.unwrap().pop().unwrap();
    let trouble = payouts(&world, &ada).await.pop().unwrap().trouble.unwrap();
    assert!(trouble.contains("without a rail"), "{trouble}");
    let sent = rail.rail.send(&Instruction {
        key: format!("{}-{}", world.open.key, payout.id),
        money: payout.money,
        currency: payout.currency.clone(),
        to: payout.to.clone(),
        payout,
    });
    assert!(matches!(sent, Sent::Paid(_)));
    world.server.stop().await;
    let server = Server::start(config(home.path(), &rail_at(&folder))).await.unwrap();
    let world = World::of(server);
    until("paid", || async {
        payouts(&world, &ada).await.iter().all(|it| it.state == PayoutState::Paid)
    })
    .await;
    assert_eq!(lines(&folder).len(), 1);
    let (_, account) = world.json("GET /v1/accounts/me", &ada, "").await;
    let account: isos_base::api::AccountView = serde_json::from_str(&account).unwrap();
    assert_eq!((account.available, account.held), (MicroCredits::credits(95), MicroCredits::ZERO));
    world.server.stop().await;
}

/// A rail that answers as it is told: later, then later, then as the place says.
struct Slow(AtomicU32);

impl crate::rail::Rail for Slow {
    fn send(&self, instruction: &Instruction) -> Sent {
        match (self.0.fetch_add(1, Ordering::Relaxed), instruction.to.as_str()) {
            (0 | 1, _) => Sent::Later("the line is busy".into()),
            (_, "nowhere") => Sent::Never("there is no such place".into()),
            (_, "panic") => panic!("a rail with a fault"),
            _ => Sent::Paid("ok".into()),
        }
    }

    fn address(&self, account: u64, _: &str) -> String {
        format!("box {account}")
    }

    fn incoming(&self) -> Result<Vec<Incoming>, RailError> {
        Ok(Vec::new())
    }

    fn taken(&self, _: &str) -> Result<(), RailError> {
        Ok(())
    }

    fn rejected(&self, _: &str, _: &str) -> Result<(), RailError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_rail_that_is_busy_is_asked_again_and_one_that_refuses_gives_the_money_back() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("bank");
    // The machine knows a rail; the one behind it is ours.
    let server = Server::start(config(home.path(), &rail_at(&folder))).await.unwrap();
    let world = World::of(server);
    let mut rail = world.server.shared.outbox.rails()[0].clone();
    rail.rail = Arc::new(Slow(AtomicU32::new(0)));
    let file = folder.join("payouts.jsonl");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let ada = world.token("ada", &[Right::Submit, Right::Read]).await;
    let shared = &world.server.shared;
    let ask = async |to: &str| {
        let body = format!(r#"{{"amount": 5000000, "to": "{to}"}}"#);
        let (status, body) = world.json("POST /v1/accounts/me/payouts", &ada, &body).await;
        assert_eq!(status, 200, "{body}");
        let view: PayoutView = serde_json::from_str(&body).unwrap();
        let look = shared.core.query(move |complex, _| complex.payout(view.id).cloned());
        look.await.unwrap().unwrap()
    };
    let first = ask("nowhere").await;
    for _ in 0..2 {
        let why = send_one(shared, &rail, first.clone()).await.unwrap();
        assert_eq!(why.as_deref(), Some("the line is busy"));
    }
    assert_eq!(send_one(shared, &rail, first).await.unwrap(), None);
    let fault = ask("panic").await;
    let why = send_one(shared, &rail, fault).await.unwrap().unwrap();
    assert!(why.contains("the rail failed"), "{why}");
    let views = payouts(&world, &ada).await;
    let states: Vec<_> = views.iter().map(|it| it.state).collect();
    assert_eq!(states, [PayoutState::Waiting, PayoutState::Refused]);
    assert_eq!(views[1].answer.as_deref(), Some("there is no such place"));
    let (_, statement) = world.json("GET /v1/accounts/me/statement", &ada, "").await;
    assert!(statement.contains("not paid out: there is no such place"), "{statement}");
    world.server.stop().await;
}

#[test]
fn waits_double_up_to_a_most() {
    let outbox = Outbox::new(Vec::new(), PublicKey([1; 32]));
    let now = Instant::now();
    for (n, secs) in [(1, 1), (2, 2), (3, 4), (4, 8)] {
        outbox.later(PayoutId(1), "busy".into(), now);
        let tried = lock(&outbox.tried)[&PayoutId(1)].clone();
        assert_eq!((tried.count, tried.next - now), (n, Duration::from_secs(secs)));
    }
    for _ in 0..100 {
        outbox.later(PayoutId(1), "busy".into(), now);
    }
    assert_eq!(lock(&outbox.tried)[&PayoutId(1)].next - now, WAIT_MAX);
    assert!(!outbox.is_due(PayoutId(1), now));
    assert!(outbox.is_due(PayoutId(2), now));
}
