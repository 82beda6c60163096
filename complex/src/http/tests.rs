//! Bad requests, and tokens that are good no more, at a running server.

use std::time::Duration;

use isos_base::api::{HostView, JobView, LeaseView, Problem, SubmitRequest};
use isos_base::job::{FileList, JobSpec, Mount};
use isos_base::limits::FILE_LIST_BYTES_MAX;
use isos_base::record::{Change, LeaseRecord, LeaseState, TransferRecord};
use isos_base::wire::{HOST_ALPN, Refusal, ToHost};
use isos_base::{Bytes, Fuel, Guid, HostId, LeaseId, Time, TransferId, codec};
use isos_kernel::complex::Call;
use isos_net::Closed;

use super::*;
use crate::Limits;
use crate::testing::{World, endpoint, hello};

/// Bytes that are no request for this path.
struct Bad {
    line: &'static str,
    kind: &'static str,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
}

fn bad(line: &'static str, status: u16, code: &'static str) -> Bad {
    Bad { line, kind: "application/json", body: Vec::new(), status, code }
}

#[tokio::test]
async fn every_bad_request_is_answered_with_a_problem() {
    let world = World::new().await;
    let long = vec![b'x'; BODY_BYTES_MAX + 1];
    let table = [
        bad("GET /v1/nothing", 404, "not_found"),
        bad("GET /somewhere/else?x=1", 404, "not_found"),
        bad("DELETE /v1/status", 405, "usage"),
        bad("PATCH /v1/jobs/1", 405, "usage"),
        bad("GET /v1/jobs/first", 400, "usage"),
        bad("GET /v1/jobs/-1/results", 400, "usage"),
        bad("GET /v1/jobs/99999999999999999999999", 400, "usage"),
        bad("GET /v1/jobs?limit=many", 400, "usage"),
        bad("GET /v1/jobs/1/tasks?from=-1", 400, "usage"),
        bad("GET /v1/jobs/1", 404, "not_found"),
        bad("GET /v1/jobs/1/leases?after=x", 400, "usage"),
        bad("GET /v1/hosts?after=x", 400, "usage"),
        bad("GET /v1/objects/nothing", 400, "usage"),
        bad("POST /v1/jobs", 400, "usage"),
        Bad { body: b"{\"spec\": ".to_vec(), ..bad("POST /v1/jobs", 400, "usage") },
        Bad { body: b"[]".to_vec(), ..bad("POST /v1/jobs", 422, "usage") },
        Bad { body: b"{\"no\": 1}".to_vec(), ..bad("POST /v1/tickets", 422, "usage") },
        Bad { kind: "text/plain", body: b"{}".to_vec(), ..bad("POST /v1/tickets", 415, "usage") },
        Bad { body: long, ..bad("POST /v1/tickets", 413, "usage") },
        Bad { body: b"{\"token\":\"?\"}".to_vec(), ..bad("POST /v1/tokens/revoke", 400, "usage") },
    ];
    let bearer = format!("Bearer {}", world.operator());
    for Bad { line, kind, body, status, code } in table {
        let headers = [("authorization", &*bearer), ("content-type", kind)];
        let (got, head, answer) = world.ask(line, &headers, &body).await;
        assert!(head.contains("content-type: application/json"), "{line}: {head}");
        let problem: Problem = serde_json::from_str(&answer)
            .unwrap_or_else(|error| panic!("{line}: {error}: {answer}"));
        let word = serde_json::to_value(problem.code).unwrap();
        assert_eq!((got, word.as_str()), (status, Some(code)), "{line}: {answer}");
        assert!(!problem.message.is_empty(), "{line}");
    }
    world.server.stop().await;
}

/// A job that the operator can pay.
async fn submitted(world: &World) -> JobView {
    let credits = r#"{"amount":1000000000,"why":"a test"}"#;
    let line = "POST /v1/accounts/me/credits";
    let (status, answer) = world.json(line, &world.operator(), credits).await;
    assert_eq!(status, 200, "{answer}");
    let program = world.server.shared.shelf.put(b"program").unwrap();
    let request = SubmitRequest { spec: JobSpec::new(program, Bytes(7), 1), key: None, bid: None };
    let body = serde_json::to_string(&request).unwrap();
    let (status, answer) = world.json("POST /v1/jobs", &world.operator(), &body).await;
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

/// A job with a shared input at `a/b`, and a list of these bytes.
fn submission(world: &World, list: &[u8]) -> String {
    let shelf = &world.server.shared.shelf;
    let program = shelf.put(b"program").unwrap();
    let mut spec = JobSpec::new(program, Bytes(7), 1);
    spec.inputs = vec![Mount { path: "a/b".into(), guid: program, size: Bytes(7) }];
    spec.each = Some(shelf.put(list).unwrap());
    serde_json::to_string(&SubmitRequest { spec, key: None, bid: None }).unwrap()
}

#[tokio::test]
async fn a_job_that_ends_while_its_watcher_looks_it_up_ends_the_stream() {
    const PATIENCE: Duration = Duration::from_secs(20);
    let world = World::new().await;
    let shared = world.server.shared.clone();
    let job = submitted(&world).await;
    let watch = || {
        let rights = vec![Right::Operate];
        let revocation_ids = Vec::new();
        let (account, expires, issued) = (job.account, Time(0), Time(0));
        let who = Who(Holder { account, rights, expires, issued, key: None, revocation_ids });
        let events = jobs::events(State(shared.clone()), who, extract::Path(job.id.0));
        async { events.await.map_err(|failure| failure.0).unwrap().into_response().into_body() }
    };
    // Both wait for the core at once, the look first: it sees the job before its end, and the
    // news of the end leaves before what was seen.
    let cancel = shared.core.call(Call::Cancel { job: job.id });
    let (events, cancelled) = tokio::join!(watch(), cancel);
    cancelled.unwrap();
    let all = |body| tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, 1 << 20));
    let told = all(events).await.expect("an end").unwrap();
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(told.contains("\"active\"") && told.contains("\"cancelled\""), "{told}");
    let events = watch().await;
    assert_eq!(shared.core.watched(), 1);
    all(events).await.expect("an end").unwrap();
    assert_eq!(shared.core.watched(), 0, "nobody watches any more");
    world.server.stop().await;
}

#[tokio::test]
async fn hosts_and_leases_come_by_pages() {
    let world = World::new().await;
    let token = world.token("ada", &[Right::Join]).await;
    let mut keys = Vec::new();
    for seed in [7, 8, 9] {
        let host = endpoint(seed).await;
        let connection = host.connect(&world.peer(), HOST_ALPN).await.unwrap();
        let mut stream = connection.open().await.unwrap();
        stream.sender.send(&hello(Some(&token))).await.unwrap();
        let welcome = stream.receiver.recv::<ToHost>().await.unwrap();
        assert!(matches!(welcome, Some(ToHost::Welcome { .. })), "{welcome:?}");
        keys.push(HostId(host.public()));
    }
    keys.sort();
    let ask = async |line: String| {
        let (status, answer) = world.json(&line, &world.operator(), "").await;
        assert_eq!(status, 200, "{line}: {answer}");
        answer
    };
    let hosts = async |query: &str| {
        let text = ask(format!("GET /v1/hosts{query}")).await;
        let hosts: Vec<HostView> = serde_json::from_str(&text).unwrap();
        hosts.into_iter().map(|host| host.id).collect::<Vec<_>>()
    };
    assert_eq!(hosts("").await, keys);
    assert_eq!(hosts("?limit=2").await, keys[..2]);
    assert_eq!(hosts(&format!("?limit=2&after={}", keys[1])).await, keys[2..]);

    let shared = &world.server.shared;
    let job = submitted(&world).await;
    let lease = |id: u64| LeaseRecord {
        id: LeaseId(1_000 + id),
        job: job.id,
        host: keys[0],
        account: job.account,
        ranges: Vec::new(),
        state: LeaseState::Settled,
        deadline: Time(1),
        accepted: 0,
        rejected: 0,
        fuel: Fuel(0),
        bill: None,
        next_votes: 0,
        price: isos_base::price::Price(100),
        held: None,
    };
    let all: Vec<Change> = (0..5).map(|id| Change::Lease(Box::new(lease(id)))).collect();
    shared.db.commit(&all).await.unwrap();
    let leases = async |query: &str| {
        let text = ask(format!("GET /v1/jobs/{}/leases{query}", job.id)).await;
        let leases: Vec<LeaseView> = serde_json::from_str(&text).unwrap();
        leases.into_iter().map(|lease| lease.id.0 - 1_000).collect::<Vec<_>>()
    };
    let after = |first: &str| format!("{first}after=1000");
    assert!(leases("?limit=1000").await.ends_with(&[0, 1, 2, 3, 4]));
    assert_eq!(leases(&after("?limit=2&")).await, [1, 2]);
    assert_eq!(leases(&after("?")).await, [1, 2, 3, 4]);
    world.server.stop().await;
}

#[tokio::test]
async fn a_list_of_files_that_would_hide_shared_inputs_is_refused() {
    let world = World::new().await;
    submitted(&world).await;
    for (path, status, word) in [
        ("a/b", 400, "two inputs would both be /in/a/b"),
        ("a/b/c", 400, "/in/a/b cannot be a file and a folder"),
        ("a", 400, "/in/a cannot be a file and a folder"),
        ("../a", 400, "no plain relative path"),
        ("a/c", 200, ""),
    ] {
        let file = Mount { path: path.into(), guid: Guid::of(b"program"), size: Bytes(7) };
        let body = submission(&world, &codec::encode(&FileList { files: vec![file] }));
        let (got, answer) = world.json("POST /v1/jobs", &world.operator(), &body).await;
        assert_eq!(got, status, "{path}: {answer}");
        assert!(answer.contains(word), "{path}: {answer}");
    }
    world.server.stop().await;
}

#[tokio::test]
async fn a_list_of_files_that_no_host_would_fetch_is_refused_with_the_limit() {
    let world = World::new().await;
    let body = submission(&world, &vec![0; FILE_LIST_BYTES_MAX.as_usize() + 1]);
    let (status, answer) = world.json("POST /v1/jobs", &world.operator(), &body).await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer.contains("at most 128 MiB"), "{answer}");
    world.server.stop().await;
}

#[tokio::test]
async fn a_revoked_token_is_good_for_nothing_and_its_host_is_sent_away() {
    const PATIENCE: Duration = Duration::from_secs(20);
    let world = World::new().await;
    let token = world.token("ada", &[Right::Join, Right::Read]).await;
    let other = world.token("bob", &[Right::Read]).await;
    let body = format!("{{\"token\":\"{token}\"}}");

    let host = endpoint(7).await;
    let connection = host.connect(&world.peer(), HOST_ALPN).await.unwrap();
    let mut stream = connection.open().await.unwrap();
    stream.sender.send(&hello(Some(&token))).await.unwrap();
    let welcome = stream.receiver.recv::<ToHost>().await.unwrap();
    assert!(matches!(welcome, Some(ToHost::Welcome { .. })), "{welcome:?}");

    let (status, _) = world.json("POST /v1/tokens/revoke", &other, &body).await;
    assert_eq!(status, 403, "somebody else's token");
    assert_eq!(world.json("GET /v1/whoami", &token, "").await.0, 200);
    let (status, answer) = world.json("POST /v1/tokens/revoke", &token, &body).await;
    assert_eq!(status, 200, "its holder may: {answer}");

    let told = async {
        while let Ok(Some(frame)) = stream.receiver.recv::<ToHost>().await {
            if let ToHost::Refused(Refusal::BadTicket(why)) = frame {
                return Some(why);
            }
        }
        None
    };
    let told = tokio::time::timeout(PATIENCE, told).await.unwrap();
    assert!(told.is_some_and(|why| why.contains("revoked")), "it is told why");
    let closed = tokio::time::timeout(PATIENCE, connection.closed()).await.unwrap();
    assert!(matches!(&closed, Closed::ByPeer { .. }), "{closed:?}");
    let (status, answer) = world.json("GET /v1/whoami", &token, "").await;
    assert_eq!(status, 403);
    assert!(answer.contains("the token was revoked"), "{answer}");
    let again = host.connect(&world.peer(), HOST_ALPN).await.unwrap();
    let mut stream = again.open().await.unwrap();
    stream.sender.send(&hello(Some(&token))).await.unwrap();
    let refused = Some(ToHost::Refused(Refusal::BadTicket("the token was revoked".into())));
    assert_eq!(stream.receiver.recv::<ToHost>().await.unwrap(), refused);
    let again = host.connect(&world.peer(), HOST_ALPN).await.unwrap();
    let mut stream = again.open().await.unwrap();
    stream.sender.send(&hello(None)).await.unwrap();
    let refused = stream.receiver.recv::<ToHost>().await.unwrap();
    let is_out = matches!(&refused, Some(ToHost::Refused(Refusal::BadTicket(_))));
    assert!(is_out, "its key alone does not let it back: {refused:?}");
    let known = HostId(host.public());
    let view = world.json(&format!("GET /v1/hosts/{known}"), &world.operator(), "").await;
    assert_eq!(view.0, 200, "what it has earned stays");

    let body = format!("{{\"token\":\"{other}\"}}");
    let (status, _) = world.json("POST /v1/tokens/revoke", &world.operator(), &body).await;
    assert_eq!(status, 200, "an operator may revoke any");
    assert_eq!(world.json("GET /v1/whoami", &other, "").await.0, 403);
    world.server.stop().await;
}

/// A problem, with the time after which to come back.
fn limited(answer: &(u16, String, String)) -> String {
    let (status, head, body) = answer;
    let problem: Problem = serde_json::from_str(body).unwrap();
    assert_eq!((*status, problem.code), (429, ProblemCode::Limited), "{body}");
    let after = head.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap();
    let after: u64 = after.trim().parse().unwrap();
    assert_eq!(problem.after.map(seconds), Some(after), "{body}");
    problem.message
}

#[tokio::test]
async fn an_account_that_asks_too_often_is_told_when_to_come_back_and_others_are_unharmed() {
    let world = World::with(Limits { account_requests: 1, ..Limits::default() }).await;
    let (ada, bob) =
        (world.token("ada", &[Right::Read]).await, world.token("bob", &[Right::Read]).await);
    let ask = async |token: &str| {
        let bearer = format!("Bearer {token}");
        world.ask("GET /v1/whoami", &[("authorization", &*bearer)], b"").await
    };
    let mut answer = ask(&ada).await;
    for _ in 0..30 {
        answer = ask(&ada).await;
    }
    let message = limited(&answer);
    assert!(message.starts_with("more than 1 requests a second of one account"), "{message}");
    assert!(message.contains("raise --account-requests"), "{message}");
    assert_eq!(ask(&bob).await.0, 200);
    let (_, _, metrics) = world.ask("GET /metrics", &[], b"").await;
    let name = "isos_limited_total{limit=\"account-requests\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    assert!(count.parse::<u32>().unwrap() >= 10, "{count}");
    world.server.stop().await;
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_refused_before_its_token_is_read() {
    let world = World::with(Limits { address_requests: 1, ..Limits::default() }).await;
    let mut answer = world.ask("GET /v1/whoami", &[], b"").await;
    assert_eq!(answer.0, 403);
    for _ in 0..30 {
        answer = world.ask("GET /v1/whoami", &[], b"").await;
    }
    assert!(limited(&answer).contains("raise --address-requests"));
    world.server.stop().await;
}

#[tokio::test]
async fn wrong_tokens_are_not_looked_at_without_end_and_known_ones_still_work() {
    let world = World::with(Limits { address_tokens: 1, ..Limits::default() }).await;
    let good = world.operator();
    assert_eq!(world.json("GET /v1/whoami", &good, "").await.0, 200);
    let mut wrong = Vec::new();
    for _ in 0..30 {
        let bearer = format!("Bearer {}", &good[..good.len() - 8]);
        wrong.push(world.ask("GET /v1/whoami", &[("authorization", &*bearer)], b"").await);
    }
    assert_eq!(wrong[0].0, 403, "{}", wrong[0].2);
    assert!(limited(&wrong[29]).contains("raise --address-tokens"));
    assert_eq!(world.json("GET /v1/whoami", &good, "").await.0, 200, "it is remembered");
    world.server.stop().await;
}

#[tokio::test]
async fn an_event_stream_keeps_its_part_of_what_an_account_may_have_open() {
    let world = World::with(Limits { account_open: 1, ..Limits::default() }).await;
    let job = submitted(&world).await;
    let bearer = format!("Bearer {}", world.operator());
    let api = world.open.api.strip_prefix("http://").unwrap();
    let mut events = tokio::net::TcpStream::connect(api).await.unwrap();
    let line = format!("GET /v1/jobs/{}/events HTTP/1.1", job.id);
    let request = format!("{line}\r\nhost: x\r\nauthorization: {bearer}\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut events, request.as_bytes()).await.unwrap();
    let mut begun = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut events, &mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    let headers = [("authorization", &*bearer)];
    let answer = world.ask("GET /v1/whoami", &headers, b"").await;
    assert!(limited(&answer).contains("more than 1 requests of one account at once"));
    drop(events);
    // The server hears of it when it next has something to say.
    world.server.shared.core.call(Call::Cancel { job: job.id }).await.unwrap();
    let freed = async {
        while world.ask("GET /v1/whoami", &headers, b"").await.0 != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), freed).await.expect("the part is free again");
    world.server.stop().await;
}

#[tokio::test]
async fn an_upload_too_many_is_told_when_to_come_back_and_comes_in_later() {
    let world = World::with(Limits { account_uploads: Bytes(4), ..Limits::default() }).await;
    let bearer = format!("Bearer {}", world.operator());
    let headers = [("authorization", &*bearer)];
    let line = format!("PUT /v1/objects/{}", Guid::of(b"bytes"));
    let all = world.server.shared.uploads.acquire_many(UPLOADS_MAX as u32).await;
    let (status, head, body) = world.ask(&line, &headers, b"bytes").await;
    assert_eq!(status, 503, "{body}");
    assert!(head.contains("retry-after: ") && body.contains("\"busy\""), "{head} {body}");
    assert_eq!(world.ask("GET /v1/whoami", &headers, b"").await.0, 200, "others are unharmed");
    drop(all);

    let shared = &world.server.shared;
    let who = world.json("GET /v1/whoami", &world.operator(), "").await.1;
    let who: isos_base::api::WhoAmI = serde_json::from_str(&who).unwrap();
    let other = shared.door.upload(who.account.id, Bytes(1)).unwrap();
    let answer = world.ask(&line, &headers, b"bytes").await;
    assert!(limited(&answer).contains("uploads of more than 4 B"), "{}", answer.2);
    drop(other);

    assert_eq!(world.ask(&line, &headers, b"bytes").await.0, 200);
    let (_, _, metrics) = world.ask("GET /metrics", &[], b"").await;
    assert!(metrics.contains("isos_uploads_refused_total 1\n"), "{metrics}");
    assert!(metrics.contains("isos_queue_max{queue=\"uploads\"} 256\n"), "{metrics}");
    world.server.stop().await;
}

#[tokio::test]
async fn a_request_that_makes_a_conflict_is_answered_and_not_asked_for_again() {
    let mut world = World::new().await;
    submitted(&world).await;
    let shared = world.server.shared.clone();
    // The next transfer stands in the books already, and is another one.
    let last = shared.db.transfers(None, 0, 1_000).await.unwrap().pop().unwrap();
    let other = TransferRecord { seq: last.seq + 1, id: TransferId(77), ..last };
    shared.db.commit(&[Change::Transfer(Box::new(other))]).await.unwrap();
    let credits = r#"{"amount":1000000,"why":"a test"}"#;
    let line = "POST /v1/accounts/me/credits";
    let (status, answer) = world.json(line, &world.operator(), credits).await;
    let problem: Problem = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, problem.code), (500, ProblemCode::Internal), "{answer}");
    let message = problem.message;
    assert!(message.contains("nothing of this was done"), "{message}");
    assert!(message.contains("would replace a different one"), "{message}");
    let why = world.server.failed().await.to_string();
    assert!(why.contains("would replace a different one"), "the server ends: {why}");
    // Whoever comes now has not asked for anything that cannot be kept.
    let late = shared.core.query(|_, _| ()).await.unwrap_err();
    assert_eq!(late.code, ProblemCode::Busy);
    world.server.stop().await;
}

#[tokio::test]
async fn credits_with_a_key_are_granted_once_and_a_key_is_for_one_grant() {
    let world = World::new().await;
    let line = "POST /v1/accounts/me/credits";
    let credit = async |amount: u32, key: &str| {
        let body = format!("{{\"amount\":{amount},\"why\":\"a test\"{key}}}");
        let (status, answer) = world.json(line, &world.operator(), &body).await;
        let received = serde_json::from_str::<isos_base::api::AccountView>(&answer);
        (status, received.map_or(0, |account| account.received.0), answer)
    };
    assert_eq!(credit(5, ",\"key\":\"k\"").await.1, 5);
    assert_eq!(credit(5, ",\"key\":\"k\"").await.1, 5, "the same once more");
    assert_eq!(credit(5, ",\"key\":\"another\"").await.1, 10);
    assert_eq!(credit(5, "").await.1, 15);
    assert_eq!(credit(5, "").await.1, 20, "without a key, twice is twice");
    let (status, _, answer) = credit(6, ",\"key\":\"k\"").await;
    assert_eq!((status, answer.contains("used for another request")), (400, true), "{answer}");
    assert_eq!(credit(5, ",\"key\":\"\"").await.0, 400);
    world.server.stop().await;
}

#[tokio::test]
async fn an_account_that_reads_much_at_once_is_told_when_to_come_back_and_others_are_unharmed() {
    let world = World::new().await;
    let ada = world.token("ada", &[Right::Read]).await;
    let bob = world.token("bob", &[Right::Read]).await;
    let (_, who) = world.json("GET /v1/whoami", &ada, "").await;
    let who: isos_base::api::WhoAmI = serde_json::from_str(&who).unwrap();
    let door = &world.server.shared.door;
    let _held = [door.scan(who.account.id).await, door.scan(who.account.id).await];
    let lines = ["GET /v1/accounts/me/statement", "GET /v1/accounts/me/statement/head"];
    for line in lines.into_iter().chain(["GET /v1/explain/42", "GET /v1/explain/42@7"]) {
        let bearer = format!("Bearer {ada}");
        let answer = world.ask(line, &[("authorization", &*bearer)], b"").await;
        assert!(limited(&answer).contains("more than 2 requests of one account"), "{line}");
        let (status, body) = world.json(line, &bob, "").await;
        assert!(status == 200 || status == 404, "{line}: {body}");
    }
    let (status, body) = world.json("GET /v1/accounts/me", &ada, "").await;
    assert_eq!(status, 200, "what is quick is answered: {body}");
    world.server.stop().await;
}

#[tokio::test]
async fn an_account_fills_no_more_than_its_share_of_the_shelf() {
    let home = tempfile::tempdir().unwrap();
    let objects_max = Bytes(1_000_000);
    let config =
        crate::ServerConfig { objects_max, ..crate::ServerConfig::local(home.path().to_owned()) };
    let world = World::of(crate::Server::start(config).await.unwrap());
    let ada = world.token("ada", &[Right::Submit]).await;
    let bob = world.token("bob", &[Right::Submit]).await;
    let put = async |token: &str, bytes: &[u8]| {
        let bearer = format!("Bearer {token}");
        let line = format!("PUT /v1/objects/{}", Guid::of(bytes));
        world.ask(&line, &[("authorization", &*bearer)], bytes).await
    };
    assert_eq!(put(&ada, &[1; 400_000]).await.0, 200);
    let (status, _, body) = put(&ada, &[2; 200_000]).await;
    let problem: Problem = serde_json::from_str(&body).unwrap();
    assert_eq!((status, problem.code), (409, ProblemCode::Refused), "{body}");
    assert!(problem.message.contains("raise --account-shelf"), "{body}");
    assert_eq!(put(&ada, &[1; 400_000]).await.0, 200, "what is there can be named again");
    assert_eq!(put(&bob, &[3; 290_000]).await.0, 200, "others have theirs");
    assert_eq!(put(&bob, &[4; 20_000]).await.0, 409);
    world.server.stop().await;
}
