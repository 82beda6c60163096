//! Connections that carry HTTP/1.1: how many there are, and how long each may keep a place.
//!
//! Callers of the API are strangers until their token is read, so they have places of their own,
//! apart from the hosts', and lose them when they are slow or have nothing to say.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use isos_base::api::{Problem, ProblemCode};
use isos_net::{Connection, code};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::steady::Steady;
use super::{App, router};

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
/// A request's head has this long to arrive, and so has the next one on a kept connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
/// A QUIC connection without a request for this long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 60 });
/// After an accept that failed for want of something, for instance of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves the TCP socket until the server stops.
pub(crate) async fn serve_tcp(shared: App, listener: TcpListener) {
    let stopping = shared.stopping.clone();
    listen(router(shared), listener, stopping).await;
}

/// Serves a TCP socket until the server stops.
pub(crate) async fn listen(
    router: Router,
    listener: TcpListener,
    mut stopping: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(TCP_CONNECTIONS_MAX));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    loop {
        let caller = async {
            let refusal = refusals.clone().acquire_owned().await;
            (listener.accept().await, refusal)
        };
        let (accepted, refusal) = tokio::select! {
            caller = caller => caller,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let Ok(place) = places.clone().try_acquire_owned() else {
                    tokio::spawn(async move {
                        let _ = tokio::time::timeout(REFUSAL_TIMEOUT, turn_away(stream)).await;
                        drop(refusal);
                    });
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let (router, stopping) = (router.clone(), stopping.clone());
                tokio::spawn(async move {
                    converse(stream, router, stopping).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("the HTTP API cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Says that there is no place. What the caller sends is read: a connection that is closed before
/// that takes its own last words back.
async fn turn_away(mut stream: TcpStream) -> std::io::Result<()> {
    let problem = Problem::new(ProblemCode::Busy, TOO_MANY);
    let body = serde_json::to_string(&problem).map_err(std::io::Error::other)?;
    let length = body.len();
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json";
    let rest = format!("content-length: {length}\r\nretry-after: 2\r\nconnection: close");
    stream.write_all(format!("{head}\r\n{rest}\r\n\r\n{body}").as_bytes()).await?;
    stream.shutdown().await?;
    let mut ignored = [0; 4_096];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

/// Serves one client's QUIC connection: each stream is an HTTP/1.1 connection.
pub(crate) async fn serve_quic(shared: App, connection: Connection) {
    let stopping = shared.stopping.clone();
    serve_streams(router(shared), &connection, stopping).await;
}

/// Serves each stream of a connection, until it ends, has been idle for long, or the server stops.
pub(crate) async fn serve_streams(
    router: Router,
    connection: &Connection,
    stopping: watch::Receiver<bool>,
) {
    let mut streams = JoinSet::new();
    loop {
        let (idle, room) = (streams.is_empty(), streams.len() < STREAMS_MAX);
        tokio::select! {
            stream = connection.accept(), if room => {
                let Some(stream) = stream else { return };
                let (router, stopping) = (router.clone(), stopping.clone());
                streams.spawn(async move {
                    if let Ok(raw) = stream.into_raw().await {
                        converse(raw, router, stopping).await;
                    }
                });
            }
            Some(_) = streams.join_next() => {}
            () = tokio::time::sleep(IDLE_TIMEOUT), if idle => {
                connection.close(code::DONE, "idle");
                return;
            }
        }
    }
}

/// Serves requests one after another, until the client goes, is too slow, or the server stops.
async fn converse<S>(stream: S, router: Router, mut stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let service = TowerToHyperService::new(router);
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
        tracing::debug!("an HTTP connection ended: {error}");
    }
}

#[cfg(test)]
mod tests;
