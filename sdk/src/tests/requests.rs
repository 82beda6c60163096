//! Single requests: what is sent, what is sent again, what failures look like.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Json;
use axum::Router;
use axum::body::Bytes as Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use isos_base::api::{LeaseView, Problem, ProblemCode, SubmitRequest};
use isos_base::key::SecretKey;
use isos_base::record::{JobState, LeaseState};
use isos_base::ticket::{Ticket, TicketError};
use isos_base::{Bytes, Fuel, Guid, HostId, JobId, LeaseId, MicroCredits, Time};
use tokio::net::TcpListener;

use super::samples::{Server, client, job};
use crate::{Address, Client, ClientError, Object};

fn problem(code: ProblemCode) -> Response {
    let status = StatusCode::from_u16(code.status()).unwrap();
    (status, Json(Problem::new(code, "because"))).into_response()
}

fn counted(count: &Arc<AtomicU32>) -> u32 {
    count.fetch_add(1, Ordering::SeqCst)
}

#[tokio::test]
async fn requests_carry_the_token_and_escaped_names() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = seen.clone();
    let router =
        Router::new().fallback(any(move |headers: HeaderMap, method: Method, uri: Uri| {
            let token = headers["authorization"].to_str().unwrap().to_owned();
            log.lock().unwrap().push(format!("{method} {uri} {token}"));
            async { problem(ProblemCode::NotFound) }
        }));
    let server = Server::start(router).await;
    let client = server.client();
    let _ = client.account("a b/../c?").await;
    let _ = client.jobs(Some(1), Some(JobId(9))).await;
    let error = client.explain("42@7").await.unwrap_err();
    assert_eq!((error.exit_code(), error.to_string().as_str()), (4, "because"));
    assert_eq!(
        *seen.lock().unwrap(),
        [
            "GET /v1/accounts/a%20b%2F..%2Fc%3F Bearer c2VjcmV0",
            "GET /v1/jobs?limit=1&before=9 Bearer c2VjcmV0",
            "GET /v1/explain/42@7 Bearer c2VjcmV0",
        ]
    );
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_every_other_no_is_final() {
    let count = Arc::new(AtomicU32::new(0));
    let counter = count.clone();
    let busy_twice = move || {
        let number = counted(&counter);
        async move { if number < 2 { problem(ProblemCode::Busy) } else { job_answer() } }
    };
    let router = Router::new()
        .route("/v1/jobs/42", get(busy_twice))
        .route("/v1/jobs/43", get(|| async { problem(ProblemCode::Unauthorised) }));
    let server = Server::start(router).await;
    let client = server.client();
    assert_eq!(client.job(JobId(42)).await.unwrap().id, JobId(42));
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let error = client.job(JobId(43)).await.unwrap_err();
    assert_eq!(error.problem(), Some(ProblemCode::Unauthorised));
    assert_eq!(error.exit_code(), 7);
}

fn job_answer() -> Response {
    Json(job(0, JobState::Active)).into_response()
}

#[tokio::test]
async fn nobody_there_is_said_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let begin = std::time::Instant::now();
    let error = client(address).status().await.unwrap_err();
    assert!(matches!(&error, ClientError::Unreachable { .. }), "{error}");
    assert_eq!(error.exit_code(), 10);
    assert!(begin.elapsed().as_secs() < 2);
}

#[tokio::test]
async fn a_server_that_answered_once_is_given_time_to_come_back() {
    let router = || Router::new().route("/v1/jobs/42", get(|| async { job_answer() }));
    let server = Server::start(router()).await;
    let (client, address) = (server.client(), server.address);
    client.job(JobId(42)).await.unwrap();
    drop(server);
    let (answer, _server) = tokio::join!(client.job(JobId(42)), async {
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        Server::on(TcpListener::bind(address).await.unwrap(), router())
    });
    assert_eq!(answer.unwrap().id, JobId(42));
}

#[tokio::test]
async fn money_is_not_sent_twice() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut posts = 0;
        // Answers the first request, then reads requests and hangs up.
        for number in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4_096];
            let count = stream.read(&mut buffer).await.unwrap();
            posts += u32::from(buffer[..count].starts_with(b"POST"));
            if number == 0 {
                let body = serde_json::to_string(&job(0, JobState::Active)).unwrap();
                let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ";
                let text = format!("{head}{}\r\n\r\n{body}", body.len());
                stream.write_all(text.as_bytes()).await.unwrap();
            }
        }
        let again =
            tokio::time::timeout(std::time::Duration::from_millis(500), listener.accept()).await;
        (posts, again.is_ok())
    });
    let client = client(address);
    client.job(JobId(42)).await.unwrap();
    let error = client.credit("me", MicroCredits(5), "gift", None).await.unwrap_err();
    assert!(matches!(error, ClientError::Interrupted { .. }), "{error}");
    assert_eq!(server.await.unwrap(), (1, false));
}

#[tokio::test]
async fn an_answer_that_is_none_is_named() {
    let router = Router::new()
        .route("/v1/status", get(|| async { "<html>" }))
        .route("/v1/whoami", get(|| async { (StatusCode::BAD_GATEWAY, "bad\ngateway") }));
    let server = Server::start(router).await;
    let client = server.client();
    let error = client.status().await.unwrap_err().to_string();
    assert!(error.starts_with("GET /v1/status: not an answer of this API:"), "{error}");
    let error = client.whoami().await.unwrap_err().to_string();
    assert!(error.ends_with("502 Bad Gateway without a reason, but \"bad gateway\""), "{error}");
}

#[tokio::test]
async fn only_missing_objects_are_sent_and_checked_when_fetched() {
    let puts = Arc::new(AtomicU32::new(0));
    let counter = puts.clone();
    let known = Guid::of(b"known");
    let object = move |method: Method, Path(guid): Path<Guid>, body: Body| {
        let counter = counter.clone();
        async move {
            match method {
                Method::HEAD if guid == known => StatusCode::OK.into_response(),
                Method::HEAD => StatusCode::NOT_FOUND.into_response(),
                Method::PUT if Guid::of(&body) != guid => problem(ProblemCode::Verification),
                Method::PUT => {
                    counted(&counter);
                    StatusCode::OK.into_response()
                }
                _ => "known".into_response(),
            }
        }
    };
    let server = Server::start(Router::new().route("/v1/objects/{guid}", any(object))).await;
    let client = server.client();
    let objects = ["known", "new", "big"]
        .map(|text| Object::of_bytes(text.repeat(if text == "big" { 100_000 } else { 1 }).into()));
    let mut steps = Vec::new();
    let progress = client.upload_all(&objects, |now| steps.push(now.objects)).await.unwrap();
    assert_eq!((puts.load(Ordering::SeqCst), progress.sent), (2, Bytes(300_003)));
    assert_eq!(steps, [0, 1, 2, 3]);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, vec![7; 1 << 20]).unwrap();
    assert_eq!(client.put_object(&path).await.unwrap().size, Bytes::mib(1));
    let mut stale = Object::of_file(&path).unwrap();
    stale.guid = Guid::of(b"other");
    let error = client.upload(&stale).await.unwrap_err();
    assert!(matches!(error, ClientError::Changed { .. }), "{error}");
    std::fs::write(&path, "shorter").unwrap();
    let error = client.upload(&stale).await.unwrap_err();
    assert!(matches!(error, ClientError::Changed { .. }), "{error}");

    assert_eq!(client.get_object(&known, Bytes(5)).await.unwrap(), "known");
    let error = client.get_object(&Guid::of(b"x"), Bytes(5)).await.unwrap_err();
    assert_eq!(error.exit_code(), 12);
    let error = client.get_object(&known, Bytes(4)).await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error}");
}

#[tokio::test]
async fn a_submission_with_a_key_is_repeated() {
    let count = Arc::new(AtomicU32::new(0));
    let counter = count.clone();
    let submit = move |Json(request): Json<SubmitRequest>| {
        let number = counted(&counter);
        async move {
            assert_eq!(request.key.as_deref(), Some("k"));
            if number == 0 { problem(ProblemCode::Busy) } else { job_answer() }
        }
    };
    let server = Server::start(Router::new().route("/v1/jobs", post(submit))).await;
    let spec = job(0, JobState::Active).spec;
    let request = SubmitRequest { spec, key: Some("k".into()), bid: None };
    assert_eq!(server.client().submit(&request).await.unwrap().id, JobId(42));
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

/// A server that says these about credits, one after another, and the number of times it was asked.
async fn crediting(says: &'static [ProblemCode]) -> (Server, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let counter = count.clone();
    let credit = move || {
        let number = counted(&counter) as usize;
        async move { problem(says[number.min(says.len() - 1)]) }
    };
    let server = Server::start(
        Router::new()
            .route("/v1/accounts/7/credits", post(credit))
            .route("/v1/jobs/42", get(|| async { job_answer() })),
    )
    .await;
    (server, count)
}

#[tokio::test]
async fn credits_are_asked_for_again_unless_they_may_have_been_granted() {
    use ProblemCode::{Busy, Limited, Refused, Unsure};
    for (says, key, asked, exit) in [
        // It ended, perhaps after it had carried the request out.
        (&[Unsure, Refused][..], None, 1, 1),
        // With a key, twice is the same as once.
        (&[Unsure, Refused], Some("k"), 2, 6),
        // Nothing was begun.
        (&[Busy, Refused], None, 2, 6),
        (&[Limited, Refused], None, 2, 6),
    ] {
        let (server, count) = crediting(says).await;
        let client = server.client();
        client.job(JobId(42)).await.unwrap();
        let error = client.credit("7", MicroCredits(5), "test", key).await.unwrap_err();
        let found = (count.load(Ordering::SeqCst), error.exit_code());
        assert_eq!(found, (asked, exit), "{says:?} {key:?}: {error}");
    }
}

#[tokio::test]
async fn the_same_api_is_spoken_over_a_stream_to_a_key() {
    use isos_base::key::SecretKey;
    use isos_base::wire::API_ALPN;
    use isos_net::{Endpoint, EndpointConfig};

    let key = SecretKey::from_bytes(&[9; 32]);
    let mut config = EndpointConfig::new(key.clone());
    config.bind = Some("127.0.0.1:0".parse().unwrap());
    config.alpns = vec![API_ALPN.to_vec()];
    let endpoint = Endpoint::bind(config).await.unwrap();
    let ticket = Ticket {
        complex: key.public(),
        servers: vec![isos_base::ticket::ServerAddr {
            key: key.public(),
            addresses: endpoint.bound(),
            relay: None,
        }],
        token: b"token".to_vec(),
        expires: Time(u64::MAX),
        test_world: true,
    };
    let router = Router::new().route(
        "/v1/jobs/42",
        get(|headers: HeaderMap| async move {
            assert_eq!(headers["authorization"], "Bearer dG9rZW4=");
            job_answer()
        }),
    );
    let server = tokio::spawn(async move {
        let incoming = endpoint.accept().await.unwrap();
        let connection = incoming.accept();
        while let Some(stream) = connection.accept().await {
            let stream = hyper_util::rt::TokioIo::new(stream.into_raw().await.unwrap());
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(stream, service),
            );
        }
    });
    let client = Client::new(&ticket.to_string().parse::<Address>().unwrap(), None).unwrap();
    for _ in 0..3 {
        assert_eq!(client.job(JobId(42)).await.unwrap().id, JobId(42));
    }
    client.close().await;
    server.await.unwrap();
    assert!(matches!(
        "isos1aaaa".parse::<Address>(),
        Err(crate::AddressError::Ticket(TicketError::Checksum | TicketError::Shape))
    ));
}

#[tokio::test]
async fn a_long_list_comes_page_by_page() {
    const ALL: u64 = 2_500;
    let lease = |id| LeaseView {
        id: LeaseId(id),
        job: JobId(42),
        host: HostId(SecretKey::from_bytes(&[7; 32]).public()),
        state: LeaseState::Settled,
        accepted: 1,
        rejected: 0,
        fuel: Fuel(1),
        bill: None,
    };
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let leases = get(move |uri: Uri| async move {
        counted(&count);
        let query = uri.query().unwrap();
        let number = |name: &str| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(name));
            value.map(|text| text.parse::<u64>().unwrap())
        };
        let after = number("after=").unwrap_or(0);
        let last = ALL.min(after + number("limit=").unwrap());
        Json((after + 1..=last).map(lease).collect::<Vec<_>>())
    });
    let server = Server::start(Router::new().route("/v1/jobs/42/leases", leases)).await;
    let leases = server.client().leases(JobId(42)).await.unwrap();
    assert!(leases.iter().map(|lease| lease.id.0).eq(1..=ALL));
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}
