//! Honest keys, and those who have none, at a running server.

use isos_base::Guid;
use isos_base::api::{KeyringView, Problem};
use isos_base::audit::{Actor, AuditRecord, Deed, SignedAudit};
use isos_base::capability::Narrowing;
use isos_base::key::SecretKey;
use isos_base::keyring::{CLAIM_FOR, Claim};

use super::*;
use crate::testing::World;

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32])
}

fn claim(world: &World, n: u8, want: Want) -> Claim {
    let nonce = Guid::of(&clock::now().0.to_le_bytes());
    Claim { complex: world.open.key, key: key(n).public(), at: clock::now(), nonce, want }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap()
}

fn belong(world: &World, n: u8, recovery: bool) -> String {
    let claim = claim(world, n, Want::Belong).sign(&key(n));
    json(&AddKeyRequest { claim, label: format!("key {n}"), rights: None, recovery })
}

async fn add(world: &World, token: &str, n: u8) -> (u16, String) {
    world.json("POST /v1/accounts/me/keys", token, &belong(world, n, false)).await
}

async fn log_in(world: &World, claim: SignedClaim) -> Result<LoginReply, (u16, Problem)> {
    let body = json(&LoginRequest { claim, rights: None, valid: None });
    let headers = [("content-type", "application/json")];
    let (status, _, answer) = world.ask("POST /v1/login", &headers, body.as_bytes()).await;
    if status == 200 {
        return Ok(serde_json::from_str(&answer).unwrap());
    }
    Err((status, serde_json::from_str(&answer).unwrap()))
}

/// Why a login is refused.
async fn refused(world: &World, claim: SignedClaim) -> String {
    let (status, problem) = log_in(world, claim).await.unwrap_err();
    assert_eq!(status, 403, "{problem:?}");
    problem.message
}

#[tokio::test]
async fn a_key_logs_in_with_a_claim_that_is_good_once_here_and_now() {
    let world = World::new().await;
    let token = world.token("anna", &[Right::Read, Right::Manage]).await;
    let (status, answer) = add(&world, &token, 1).await;
    assert_eq!(status, 200, "{answer}");
    let keyring: KeyringView = serde_json::from_str(&answer).unwrap();
    assert_eq!(keyring.keys[0].rights, [Right::Read, Right::Manage], "no more than the token's");

    let good = claim(&world, 1, Want::Login).sign(&key(1));
    let reply = log_in(&world, good.clone()).await.unwrap();
    let (status, answer) = world.json("GET /v1/whoami", &reply.token, "").await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("\"anna\""), "{answer}");

    assert!(refused(&world, good).await.contains("good once"));
    let elsewhere = Claim { complex: PublicKey([5; 32]), ..claim(&world, 1, Want::Login) };
    assert!(refused(&world, elsewhere.sign(&key(1))).await.contains("not for this one"));
    let now = clock::now();
    let late = Claim { at: now - CLAIM_FOR - Span::secs(1), ..claim(&world, 1, Want::Login) };
    assert!(refused(&world, late.sign(&key(1))).await.contains("clock"));
    let mut forged = claim(&world, 1, Want::Login).sign(&key(2));
    forged.claim.key = key(1).public();
    assert!(refused(&world, forged).await.contains("signature"));
    let stranger = claim(&world, 3, Want::Login).sign(&key(3));
    assert!(refused(&world, stranger).await.contains("no account"));
    let (status, _) =
        log_in(&world, claim(&world, 1, Want::Belong).sign(&key(1))).await.unwrap_err();
    assert_eq!(status, 400, "made for something else");

    let line = format!("DELETE /v1/accounts/me/keys/{}", key(1).public());
    let (status, answer) = world.json(&line, &token, "").await;
    assert_eq!(status, 409, "the last one stays: {answer}");
    assert_eq!(add(&world, &token, 2).await.0, 200);
    assert_eq!(world.json(&line, &reply.token, "").await.0, 200, "it may remove itself");
    let (status, answer) = world.json("GET /v1/whoami", &reply.token, "").await;
    assert_eq!((status, answer.contains("revoked")), (403, true), "{answer}");
    let gone = claim(&world, 1, Want::Login).sign(&key(1));
    assert!(refused(&world, gone).await.contains("no account"));
    world.server.stop().await;
}

#[tokio::test]
async fn who_may_not_manage_touches_no_key_nor_who_is_of_another_account() {
    let world = World::new().await;
    let wide = world.token("anna", &[Right::Read, Right::Submit, Right::Manage]).await;
    assert_eq!(add(&world, &wide, 1).await.0, 200);
    let only = Narrowing { rights: Some(vec![Right::Read, Right::Submit]), ..Default::default() };
    let narrow = capability::attenuate(&capability::from_text(&wide).unwrap(), &only).unwrap();
    let narrow = capability::to_text(&narrow);
    let label = json(&LabelRequest { label: "x".into() });
    let path = format!("/v1/accounts/me/keys/{}", key(1).public());
    for (line, body) in [
        ("POST /v1/accounts/me/keys".to_owned(), belong(&world, 2, false)),
        ("POST /v1/accounts/me/keys".to_owned(), belong(&world, 3, true)),
        (format!("PUT {path}"), label.clone()),
        (format!("DELETE {path}"), String::new()),
        ("DELETE /v1/accounts/me/recovery".to_owned(), String::new()),
        (
            "POST /v1/tickets".to_owned(),
            r#"{"account":"anna","rights":["read"],"valid":"1h"}"#.into(),
        ),
    ] {
        let (status, answer) = world.json(&line, &narrow, &body).await;
        assert_eq!(status, 403, "{line}: {answer}");
    }
    let other = world.token("bert", &[Right::Read, Right::Manage]).await;
    let theirs = path.replace("/me/", "/anna/");
    assert_eq!(world.json(&format!("DELETE {theirs}"), &other, "").await.0, 404);
    assert_eq!(world.json(&format!("PUT {path}"), &other, &label).await.0, 404, "not one of his");
    let (status, answer) = add(&world, &other, 1).await;
    assert_eq!(status, 409, "a key is of one account: {answer}");
    let mut stolen: AddKeyRequest = serde_json::from_str(&belong(&world, 9, false)).unwrap();
    stolen.claim.claim.key = key(8).public();
    let (status, _) = world.json("POST /v1/accounts/me/keys", &other, &json(&stolen)).await;
    assert_eq!(status, 403, "nobody adds a key that they do not have");
    let mut more: AddKeyRequest = serde_json::from_str(&belong(&world, 9, false)).unwrap();
    more.rights = Some(vec!["operate".into()]);
    let (status, _) = world.json("POST /v1/accounts/me/keys", &other, &json(&more)).await;
    assert_eq!(status, 403, "nobody gives what they do not have");
    world.server.stop().await;
}

#[tokio::test]
async fn a_key_makes_tickets_for_its_own_account_which_are_void_without_it() {
    let world = World::new().await;
    let token = world.token("anna", &[Right::Read, Right::Submit, Right::Manage]).await;
    for n in [1, 2] {
        assert_eq!(add(&world, &token, n).await.0, 200);
    }
    let login = log_in(&world, claim(&world, 1, Want::Login).sign(&key(1))).await.unwrap().token;
    let wants = |account: &str, right: &str| {
        format!(r#"{{"account":"{account}","rights":["{right}"],"valid":"1h"}}"#)
    };
    let make =
        async |account, right| world.json("POST /v1/tickets", &login, &wants(account, right)).await;
    assert_eq!(make("bert", "read").await.0, 403, "not for others");
    assert_eq!(make("anna", "operate").await.0, 403, "no more than its own");
    let (status, answer) = make("anna", "read").await;
    assert_eq!(status, 200, "{answer}");
    let reply: isos_base::api::TicketReply = serde_json::from_str(&answer).unwrap();
    let ticket: isos_base::ticket::Ticket = reply.ticket.parse().unwrap();
    let text = capability::to_text(&ticket.token);
    let ends = |token: &[u8]| {
        capability::check(&world.open.key, token, clock::now()).expect("it is good").expires
    };
    assert!(ends(&ticket.token) <= ends(&capability::from_text(&login).unwrap()));
    assert_eq!(world.json("GET /v1/whoami", &text, "").await.0, 200);
    let line = format!("DELETE /v1/accounts/me/keys/{}", key(1).public());
    assert_eq!(world.json(&line, &token, "").await.0, 200);
    assert_eq!(world.json("GET /v1/whoami", &text, "").await.0, 403);
    world.server.stop().await;
}

#[tokio::test]
async fn the_log_has_it_all_signed_and_shows_each_holder_their_part() {
    let world = World::new().await;
    let token = world.token("anna", &[Right::Read, Right::Manage]).await;
    assert_eq!(add(&world, &token, 1).await.0, 200);
    let credits = r#"{"amount":1000000,"why":"a test"}"#;
    world.json("POST /v1/accounts/anna/credits", &world.operator(), credits).await;
    let body = format!("{{\"token\":\"{token}\"}}");
    assert_eq!(world.json("GET /v1/audit", &token, "").await.0, 403, "all of it is the operator's");

    let log = async |token: &str, of: &str| {
        let (status, answer) = world.json(&format!("GET /v1/audit{of}"), token, "").await;
        assert_eq!(status, 200, "{answer}");
        let records: Vec<AuditRecord> = serde_json::from_str(&answer).unwrap();
        let (_, head) = world.json(&format!("GET /v1/audit/head{of}"), token, "").await;
        let log = SignedAudit { signed: serde_json::from_str(&head).unwrap(), records };
        assert_eq!(log.check(Some(&world.open.key)), Ok(()));
        log.records
    };
    let mine = log(&token, "?account=me").await;
    let deeds: Vec<_> = mine.iter().map(|record| &record.deed).collect();
    assert!(matches!(deeds[0], Deed::AccountOpened { name } if name == "anna"), "{deeds:?}");
    assert!(matches!(deeds[1], Deed::TokenMade { .. }), "{deeds:?}");
    assert!(matches!(deeds[2], Deed::KeyAdded { .. }), "{deeds:?}");
    assert!(matches!(deeds[3], Deed::CreditsGranted { .. }), "{deeds:?}");
    let id = isos_base::audit::token_id(
        &capability::blocks(&capability::from_text(&token).unwrap()).unwrap()[0].id,
    );
    assert_eq!(mine[2].by, Actor::Token { account: mine[2].account.unwrap(), id: id.clone() });
    assert!(matches!(&mine[1].deed, Deed::TokenMade { id: made, .. } if *made == id));

    assert_eq!(world.json("POST /v1/tokens/revoke", &token, &body).await.0, 200);
    let all = log(&world.operator(), "").await;
    assert!(matches!(all[0].deed, Deed::ServerLed { .. }));
    assert!(matches!(&all.last().unwrap().deed, Deed::TokenRevoked { id: old, .. } if *old == id));
    world.server.stop().await;
}

#[tokio::test]
async fn an_account_comes_back_by_its_phrase_after_a_time_in_which_it_can_be_stopped() {
    let world = World::new().await;
    let token = world.token("anna", &[Right::Read, Right::Manage]).await;
    assert_eq!(add(&world, &token, 1).await.0, 200);
    let (status, answer) =
        world.json("POST /v1/accounts/me/keys", &token, &belong(&world, 9, true)).await;
    assert_eq!(status, 200, "{answer}");
    let ask = async |by: u8| {
        let (key, consent) = (key(5), String::new());
        let want = Want::Recover { key: key.public(), label: "new".into(), consent };
        let claim = claim(&world, by, want).agreed_by(&key);
        let body = json(&claim.sign(&self::key(by)));
        let headers = [("content-type", "application/json")];
        let (status, _, answer) = world.ask("POST /v1/recover", &headers, body.as_bytes()).await;
        (status, answer)
    };
    assert_eq!(ask(1).await.0, 403, "a key of a person is no recovery key");
    let want = Want::Recover { key: key(5).public(), label: "new".into(), consent: String::new() };
    let alone = claim(&world, 9, want);
    for claim in [alone.clone(), alone.agreed_by(&key(6))] {
        let body = json(&claim.sign(&key(9)));
        let headers = [("content-type", "application/json")];
        let (status, _, answer) = world.ask("POST /v1/recover", &headers, body.as_bytes()).await;
        assert_eq!(status, 403, "key 5 has not agreed: {answer}");
        assert!(answer.contains("not agreed"), "{answer}");
    }
    let (status, answer) = ask(9).await;
    assert_eq!(status, 200, "{answer}");
    let reply: RecoveryReply = serde_json::from_str(&answer).unwrap();
    assert!(reply.due > clock::now() + Span::secs(86_400), "there is time");
    let (_, keys) = world.json("GET /v1/accounts/me/keys", &token, "").await;
    let keyring: KeyringView = serde_json::from_str(&keys).unwrap();
    assert_eq!(keyring.asked.unwrap().key, key(5).public(), "those who have keys see it");
    let stranger = claim(&world, 5, Want::Login).sign(&key(5));
    assert!(refused(&world, stranger).await.contains("no account"), "not yet");
    assert_eq!(world.json("DELETE /v1/accounts/me/recovery", &token, "").await.0, 200);
    assert_eq!(world.json("DELETE /v1/accounts/me/recovery", &token, "").await.0, 404);
    world.server.stop().await;
}

#[tokio::test]
async fn a_job_that_arrives_slowly_is_not_taken_if_its_token_is_revoked_meanwhile() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new().await;
    let token = world.token("anna", &[Right::Read, Right::Submit]).await;
    let credits = r#"{"amount":1000000000,"why":"a test"}"#;
    world.json("POST /v1/accounts/anna/credits", &world.operator(), credits).await;
    let program = world.server.shared.shelf.put(b"program").unwrap();
    let spec = isos_base::job::JobSpec::new(program, isos_base::Bytes(7), 1);
    let body = json(&isos_base::api::SubmitRequest { spec, key: None, bid: None });
    let api = world.open.api.strip_prefix("http://").unwrap();
    let mut slow = tokio::net::TcpStream::connect(api).await.unwrap();
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (first, rest) = body.split_at(10);
    slow.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
    // It has been let in once it counts as open.
    let account = world.server.shared.core.query(|complex, _| complex.account_named("anna"));
    let account = account.await.unwrap().unwrap();
    while !world.server.shared.door.is_in(account) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let revoke = format!("{{\"token\":\"{token}\"}}");
    let revoked = world.json("POST /v1/tokens/revoke", &world.operator(), &revoke).await;
    assert_eq!(revoked.0, 200, "{revoked:?}");
    slow.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("revoked"), "{answer}");
    world.server.stop().await;
}

#[tokio::test]
async fn a_ticket_that_has_ended_is_revoked_for_the_hosts_that_it_let_in() {
    use isos_base::wire::{HOST_ALPN, ToHost};
    let world = World::new().await;
    let ticket = world.server.ticket("ada", &[Right::Join], Span::secs(1)).await.unwrap();
    let ticket: isos_base::ticket::Ticket = ticket.ticket.parse().unwrap();
    let token = capability::to_text(&ticket.token);
    let host = crate::testing::endpoint(7).await;
    let connection = host.connect(&world.peer(), HOST_ALPN).await.unwrap();
    let mut stream = connection.open().await.unwrap();
    stream.sender.send(&crate::testing::hello(Some(&token))).await.unwrap();
    let welcome = stream.receiver.recv::<ToHost>().await.unwrap();
    assert!(matches!(welcome, Some(ToHost::Welcome { .. })), "{welcome:?}");
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    assert_eq!(world.json("GET /v1/whoami", &token, "").await.0, 403, "it has ended");
    let body = format!("{{\"token\":\"{token}\"}}");
    let (status, answer) = world.json("POST /v1/tokens/revoke", &world.operator(), &body).await;
    assert_eq!(status, 200, "{answer}");
    let told = loop {
        match stream.receiver.recv::<ToHost>().await.unwrap() {
            Some(ToHost::Refused(refusal)) => break refusal,
            Some(_) => {}
            None => panic!("it is told why"),
        }
    };
    assert!(matches!(told, isos_base::wire::Refusal::BadTicket(_)), "{told:?}");
    world.server.stop().await;
}

#[tokio::test]
async fn who_logs_in_or_changes_rights_too_often_is_told_when_to_come_back() {
    let limits = crate::Limits { account_changes: 3, ..crate::Limits::default() };
    let world = World::with(limits).await;
    let token = world.token("anna", &[Right::Read, Right::Manage]).await;
    assert_eq!(add(&world, &token, 1).await.0, 200);
    for _ in 0..2 {
        log_in(&world, claim(&world, 1, Want::Login).sign(&key(1))).await.unwrap();
    }
    let rows = async || {
        let audit = world.server.shared.db.audit(None, 0, 1_000).await.unwrap();
        audit.len()
    };
    let before = rows().await;
    let (status, problem) =
        log_in(&world, claim(&world, 1, Want::Login).sign(&key(1))).await.unwrap_err();
    assert_eq!((status, problem.code), (429, isos_base::api::ProblemCode::Limited));
    assert!(problem.message.contains("come back in "), "{problem:?}");
    assert!(problem.after.is_some(), "{problem:?}");
    let wants = r#"{"account":"anna","rights":["read"],"valid":"1h"}"#;
    assert_eq!(add(&world, &token, 2).await.0, 429);
    assert_eq!(world.json("POST /v1/tickets", &token, wants).await.0, 403, "not with a key");
    assert_eq!(rows().await, before, "nothing is kept of it");
    for _ in 0..5 {
        let (status, answer) = world.json("POST /v1/tickets", &world.operator(), wants).await;
        assert_eq!(status, 200, "operators make tickets for others: {answer}");
    }
    world.server.stop().await;
}
