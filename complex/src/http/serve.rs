//! Connections that carry HTTP/1.1: how many there are, and how long each may keep a place.
//!
//! Callers of the API are strangers until their token is read, so they have places of their own,
//! apart from the hosts', and lose them when they are slow or have nothing to say.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use isos_base::api::{Problem, ProblemCode};
use isos_net::{Connection, code};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::steady::Steady;
use super::visit::{Caller, receive};
use super::{App, retry_after, router};
use crate::door::Door;
use crate::hosts::say_goodbye;

/// TCP connections at once; further callers are refused politely.
const TCP_CONNECTIONS_MAX: usize = if cfg!(test) { 128 } else { 1_024 };
/// Callers who are being refused; those beyond wait in the system's queue.
const REFUSALS_MAX: usize = 64;
/// A caller has this long to take its refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// What a caller without a place is told, whatever it wants.
const TOO_MANY: &str = "too many connections to the API: try again in a moment";
/// Requests served at once on one QUIC connection.
pub(crate) const STREAMS_MAX: usize = 64;
/// What one HTTP connection may make this side hold of a request's head, or of a body that nobody
/// has read yet. Tokens are the longest in a head, some kilobytes.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// A request's head has this long to arrive, and so has the next one on a kept connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
/// Answers that are under way when the server stops have this long.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// A QUIC connection without a request for this long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 60 });
/// After an accept that failed for want of something, for instance of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves the TCP socket until the server stops.
pub(crate) async fn serve_tcp(shared: App, listener: TcpListener) {
    let (door, stopping) = (shared.door.clone(), shared.stopping.clone());
    listen(router(shared), door, listener, stopping).await;
}

/// Serves a TCP socket until the server stops.
pub(crate) async fn listen(
    router: Router,
    door: Arc<Door>,
    listener: TcpListener,
    mut stopping: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(TCP_CONNECTIONS_MAX));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let (stream, address) = match accepted {
            Ok((stream, from)) => (stream, from.ip()),
            Err(error) => {
                tracing::warn!("the HTTP API cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let share = match door.connection(door.http_origin(address)) {
            Ok(share) => share,
            Err(refused) => {
                // One address must not keep others waiting: without a place to be refused politely
                // it is hung up on.
                if let Ok(place) = refusals.clone().try_acquire_owned() {
                    tokio::spawn(turn_away(stream, refused.into(), place));
                }
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            let refusal = tokio::select! {
                refusal = refusals.clone().acquire_owned() => refusal,
                _ = stopping.wait_for(|stop| *stop) => return,
            };
            if let Ok(refusal) = refusal {
                let problem = Problem::new(ProblemCode::Busy, TOO_MANY);
                tokio::spawn(turn_away(stream, problem, refusal));
            }
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (address, door) = (Some(address), door.clone());
        let caller = Caller { door, address, is_server: false, pages: true, key: None };
        let (router, stopping) = (router.clone(), stopping.clone());
        tokio::spawn(async move {
            converse(stream, caller, router, stopping).await;
            drop((place, share));
        });
    }
}

/// Refuses a caller, who has some time to hear it.
async fn turn_away(stream: TcpStream, problem: Problem, place: OwnedSemaphorePermit) {
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, refuse(stream, &problem)).await;
    drop(place);
}

/// Says that there is no place. What the caller sends is read: a connection that is closed before
/// that takes its own last words back.
async fn refuse(mut stream: TcpStream, problem: &Problem) -> std::io::Result<()> {
    let body = serde_json::to_string(problem).map_err(std::io::Error::other)?;
    let status = StatusCode::from_u16(problem.code.status()).map_err(std::io::Error::other)?;
    let (length, after) = (body.len(), retry_after(problem).unwrap_or_default());
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json");
    let rest = format!("content-length: {length}\r\nretry-after: {after}\r\nconnection: close");
    stream.write_all(format!("{head}\r\n{rest}\r\n\r\n{body}").as_bytes()).await?;
    stream.shutdown().await?;
    let mut ignored = [0; 4_096];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

/// Serves one client's QUIC connection: each stream is an HTTP/1.1 connection.
pub(crate) async fn serve_quic(shared: App, connection: Connection) {
    let (door, stopping) = (shared.door.clone(), shared.stopping.clone());
    let address = connection.remote_address().map(|address| address.ip());
    let servers = shared.servers.clone();
    let remote = connection.remote();
    // Asked for each stream: a server may be known only after it has called.
    let caller = move || Caller {
        door: door.clone(),
        address,
        is_server: servers.borrow().iter().any(|server| server.key == remote),
        pages: false,
        key: Some(remote),
    };
    serve_streams(router(shared), caller, &connection, stopping).await;
}

/// Serves each stream of a connection, until it ends, has been idle for long, or the server stops.
pub(crate) async fn serve_streams(
    router: Router,
    caller: impl Fn() -> Caller,
    connection: &Connection,
    stopping: watch::Receiver<bool>,
) {
    let mut stop = stopping.clone();
    let mut streams = JoinSet::new();
    loop {
        let (idle, room) = (streams.is_empty(), streams.len() < STREAMS_MAX);
        tokio::select! {
            stream = connection.accept(), if room => {
                let Some(stream) = stream else { return };
                let (router, stopping) = (router.clone(), stopping.clone());
                let caller = caller();
                streams.spawn(async move {
                    if let Ok(raw) = stream.into_raw().await {
                        converse(raw, caller, router, stopping).await;
                    }
                });
            }
            Some(_) = streams.join_next() => {}
            () = async { _ = stop.wait_for(|stop| *stop).await } => {
                let all = async { while streams.join_next().await.is_some() {} };
                let _ = tokio::time::timeout(LAST_ANSWERS, all).await;
                say_goodbye(connection);
                return;
            }
            () = tokio::time::sleep(IDLE_TIMEOUT), if idle => {
                connection.close(code::DONE, "idle");
                return;
            }
        }
    }
}

/// Serves requests one after another, until the client goes, is too slow, or the server stops.
async fn converse<S>(stream: S, caller: Caller, router: Router, mut stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.max_buf_size(HEAD_BYTES_MAX);
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request| receive(caller.clone(), router.clone(), request));
    let connection = builder.serve_connection(TokioIo::new(Steady::new(stream)), service);
    let mut connection = std::pin::pin!(connection);
    let stop = async { _ = stopping.wait_for(|stop| *stop).await };
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("an HTTP connection ended: {}", crate::core::report(&error));
    }
}

#[cfg(test)]
mod tests;
