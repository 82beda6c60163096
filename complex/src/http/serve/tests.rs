//! Clients that are slow, or have nothing to say.

use axum::body::Bytes;
use axum::routing::{get, post};
use isos_net::Closed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::*;
use crate::Limits;
use crate::http::steady::steady_body;
use crate::testing::Pair;

/// No test waits longer.
const PATIENCE: Duration = Duration::from_secs(20);

fn echo() -> Router {
    Router::new()
        .route("/", post(async |body: Bytes| body))
        .route("/long", get(async || vec![b'x'; 64 << 20]))
        .layer(axum::middleware::map_request(steady_body))
}

fn door() -> Arc<Door> {
    Arc::new(Door::new(Limits { address_connections: 0, ..Limits::default() }))
}

/// A served socket, and what keeps it served.
async fn served() -> (TcpStream, watch::Sender<bool>) {
    served_behind(door()).await
}

async fn served_behind(door: Arc<Door>) -> (TcpStream, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(listen(echo(), door, listener, stopping));
    (TcpStream::connect(address).await.unwrap(), stop)
}

/// Everything that comes until the server hangs up.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the server hangs up in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_request_whose_head_does_not_arrive_loses_its_connection() {
    let (mut stream, _stop) = served().await;
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    rest(&mut stream).await;
}

#[tokio::test]
async fn a_kept_connection_without_a_request_is_closed() {
    let (mut stream, _stop) = served().await;
    let request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi";
    stream.write_all(request).await.unwrap();
    assert!(rest(&mut stream).await.ends_with("\r\n\r\nhi"), "answered, and then closed");
}

#[tokio::test]
async fn a_body_that_trickles_is_refused() {
    let (mut stream, _stop) = served().await;
    let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let trickle = tokio::spawn(async move {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut answer)).await;
    let _ = read.expect("the server hangs up in time");
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    trickle.await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_loses_its_connection() {
    let (mut stream, _stop) = served().await;
    stream.write_all(b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // More than the timeout, with nothing read: what is left is what the system had buffered.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(rest(&mut stream).await.len() < 64 << 20, "broken off");
}

#[tokio::test]
async fn a_caller_without_a_place_is_told_when_to_come_back() {
    let (first, _stop) = served().await;
    let address = first.peer_addr().unwrap();
    let mut held = vec![first];
    while held.len() < TCP_CONNECTIONS_MAX {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    let request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi";
    let mut late = TcpStream::connect(address).await.unwrap();
    late.write_all(request).await.unwrap();
    let answer = rest(&mut late).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 2"), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    let problem: Problem = serde_json::from_str(body).unwrap();
    assert_eq!(problem.code, ProblemCode::Busy);
    for stream in &mut held {
        stream.write_all(request).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200", "who has a place keeps it");
    }
}

#[tokio::test]
async fn an_address_beyond_its_connections_is_refused_and_does_not_keep_others_waiting() {
    let limits = Limits { address_connections: 2, ..Limits::default() };
    let (mut first, _stop) = served_behind(Arc::new(Door::new(limits))).await;
    let address = first.peer_addr().unwrap();
    let request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi";
    let _second = TcpStream::connect(address).await.unwrap();
    // More than are refused at a time, and none of them listens.
    let mut silent = Vec::new();
    for _ in 0..2 * REFUSALS_MAX {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let other = TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = other.connect(address).await.unwrap();
    let began = std::time::Instant::now();
    for stream in [&mut first, &mut other] {
        stream.write_all(request).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    assert!(began.elapsed() < REFUSAL_TIMEOUT / 2, "at once: {:?}", began.elapsed());
    let answer = rest(&mut silent[0]).await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after: 2"), "{answer}");
}

#[tokio::test]
async fn an_api_connection_without_requests_is_closed() {
    let pair = Pair::new().await;
    let (_stop, stopping) = watch::channel(false);
    let far = pair.far.clone();
    let served = tokio::spawn(async move {
        let caller =
            || Caller { door: door(), address: None, is_server: false, pages: true, key: None };
        serve_streams(echo(), caller, &far, stopping).await;
    });
    // A stream with half a head is no request either.
    let mut stream = pair.near.open().await.unwrap().into_raw().await.unwrap();
    stream.write_all(b"POST / HT").await.unwrap();
    let closed = tokio::time::timeout(PATIENCE, pair.near.closed()).await.unwrap();
    let idle = Closed::ByPeer { code: u64::from(code::DONE), reason: "idle".into() };
    assert_eq!(closed, idle);
    served.await.unwrap();
}
