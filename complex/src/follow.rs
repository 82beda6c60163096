//! A server that does not lead: it passes requests on to the one that does, tells hosts where that
//! is, and stands ready.
//!
//! It holds no state and reads no rows: whatever it answers is the leader's answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use isos_base::api::{Problem, ProblemCode};
use isos_base::key::PublicKey;
use isos_base::rate::Origin;
use isos_base::ticket::ServerAddr;
use isos_base::wire::{API_ALPN, HOST_ALPN};
use isos_net::{Connection, Endpoint, PeerAddr, Relay, code};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::core::cut_off;
use crate::door::Door;
use crate::front::{Front, Kept};
use crate::hosts::{self, Places};
use crate::http::{self, Caller, Failure, PASSED_KEY, PASSED_ON, PROXIED, RELAYED, Visit};
use crate::limits::Limits;
use crate::metrics::Queue;

/// Connections to the leader at the most: about a thousand requests at once.
const UPSTREAM_MAX: usize = 16;
/// A leader that did not answer is not dialled again for so long.
const DIAL_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Who leads, and who else there is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Servers {
    /// The leader, while there is one.
    pub(crate) leader: Option<ServerAddr>,
    /// All others, this one among them.
    pub(crate) others: Vec<ServerAddr>,
}

impl Servers {
    /// In the order in which hosts and clients try them.
    fn in_order(&self) -> Option<Vec<ServerAddr>> {
        let leader = self.leader.clone()?;
        let others = self.others.iter().filter(|other| other.key != leader.key).cloned();
        Some(std::iter::once(leader.clone()).chain(others).collect())
    }
}

/// A running server that follows.
pub(crate) struct Following {
    kept: Kept,
    relay: Option<Relay>,
    http: SocketAddr,
    stop: watch::Sender<bool>,
}

/// What its tasks share.
struct Shared {
    endpoint: Endpoint,
    servers: watch::Receiver<Servers>,
    /// The connections to the leader that requests share.
    upstream: Mutex<Upstream>,
}

#[derive(Default)]
struct Upstream {
    /// Each with as many places as the leader serves streams of one connection.
    ways: Vec<(Connection, Arc<Semaphore>)>,
    /// Who did not answer, and when.
    silent: Option<(PublicKey, Instant)>,
}

/// A connection, and a place on it.
struct Way {
    connection: Connection,
    place: OwnedSemaphorePermit,
}

impl Following {
    /// Answers for the leader on these sockets.
    pub(crate) fn start(front: Front, limits: &Limits, servers: watch::Receiver<Servers>) -> Self {
        let Front { kept, listener, http, relay, .. } = front;
        let (stop, stopping) = watch::channel(false);
        let upstream = Mutex::default();
        let shared = Arc::new(Shared { endpoint: kept.endpoint.clone(), servers, upstream });
        let door = Arc::new(Door::new(limits.clone()));
        let places = Arc::new(Places::default());
        let router = router(shared.clone(), door.clone(), places.clone());
        tokio::spawn(http::listen(router.clone(), door.clone(), listener, stopping.clone()));
        for endpoint in kept.all() {
            let (shared, router, door) = (shared.clone(), router.clone(), door.clone());
            let (endpoint, places) = (endpoint.clone(), places.clone());
            tokio::spawn(accept(endpoint, places, shared, router, door, stopping.clone()));
        }
        Self { kept, relay, http, stop }
    }

    /// Base of its HTTP API.
    pub(crate) fn api(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Stops answering.
    pub(crate) async fn stop(self) {
        self.leave().await.close().await;
    }

    /// Stops answering, and gives back where it was called.
    pub(crate) async fn leave(self) -> Kept {
        let _ = self.stop.send(true);
        if let Some(relay) = self.relay {
            relay.close().await;
        }
        self.kept
    }
}

async fn accept(
    endpoint: Endpoint,
    places: Arc<Places>,
    shared: Arc<Shared>,
    router: Router,
    door: Arc<Door>,
    mut stopping: watch::Receiver<bool>,
) {
    while let Some(incoming) = hosts::next_caller(&endpoint, &mut stopping).await {
        let is_api = incoming.alpn() == API_ALPN;
        if !is_api && incoming.alpn() != HOST_ALPN {
            incoming.refuse(code::REFUSED, "another server leads");
            continue;
        }
        let Some((incoming, place)) = hosts::let_in(&places, &door, incoming) else { continue };
        let (shared, router, stopping) = (shared.clone(), router.clone(), stopping.clone());
        let door = door.clone();
        tokio::spawn(async move {
            let connection = incoming.accept();
            if is_api {
                let address = connection.remote_address().map(|address| address.ip());
                let key = Some(connection.remote());
                let door = || door.clone();
                let caller =
                    || Caller { door: door(), address, is_server: false, pages: false, key };
                http::serve_streams(router, caller, &connection, stopping).await;
            } else {
                let servers = shared.servers.borrow().in_order();
                hosts::send_on(connection, servers).await;
            }
            drop(place);
        });
    }
}

fn router(shared: Arc<Shared>, door: Arc<Door>, places: Arc<Places>) -> Router {
    let metrics = async move || {
        let mut text = "# TYPE isos_leads gauge\nisos_leads 0\n".to_owned();
        Queue::render(&places.queues(), &mut text);
        door.render(&mut text);
        text
    };
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(pass_on)
        .layer(axum::middleware::map_request(http::steady_body))
        .with_state(shared)
}

/// It is ready when there is somebody to pass requests on to.
async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match shared.way().await {
        Ok(_) => "ready: it follows another server\n".into_response(),
        Err(problem) => {
            let message = format!("{}\n", problem.message);
            (StatusCode::SERVICE_UNAVAILABLE, message).into_response()
        }
    }
}

/// Gives a request to the leader, and its answer to the client, as they come.
async fn pass_on(State(shared): State<Arc<Shared>>, mut request: Request) -> Response {
    if request.headers().contains_key(PASSED_ON) {
        return Failure::from(busy("the servers are choosing a new leader")).into_response();
    }
    let visit = request.extensions().get::<Visit>();
    let (address, key) = visit.map_or((None, None), |visit| (visit.address, visit.key));
    let of = match visit.map(|visit| visit.origin) {
        Some(Origin::Proxy) => Some(HeaderValue::from_static(PROXIED)),
        _ => address.and_then(|address| HeaderValue::from_str(&address.to_string()).ok()),
    };
    let of = of.unwrap_or(HeaderValue::from_static(RELAYED));
    request.headers_mut().insert(PASSED_ON, of);
    // Whatever the client says of it itself counts for nothing.
    request.headers_mut().remove(PASSED_KEY);
    if let Some(key) = key.and_then(|key| HeaderValue::from_str(&key.to_string()).ok()) {
        request.headers_mut().insert(PASSED_KEY, key);
    }
    // Of one connection, not of the request.
    request.headers_mut().remove(header::CONNECTION);
    match shared.answer(request).await {
        Ok(response) => response,
        Err(problem) => Failure::from(problem).into_response(),
    }
}

impl Shared {
    async fn answer(&self, request: Request) -> Result<Response, Problem> {
        let lost = |error: &dyn std::error::Error| {
            busy(&format!("the leading server is lost: {}", crate::core::report(error)))
        };
        let Way { connection, place } = self.way().await?;
        let leader = connection.remote();
        // What only reads may be asked again; of anything else nobody knows whether it was done.
        let is_safe = request.method().is_safe();
        let cut_off = |busy: Problem| if is_safe { busy } else { cut_off() };
        let exchange = async {
            let stream = connection.open().await.map_err(|error| lost(&error))?;
            let stream = stream.into_raw().await.map_err(|error| lost(&error))?;
            let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
            let (mut lane, driver) = handshake.map_err(|error| lost(&error))?;
            // Ends with the exchange.
            tokio::spawn(async move {
                if let Err(error) = driver.await {
                    tracing::debug!("a request that was passed on was cut off: {error}");
                }
            });
            lane.send_request(request).await.map_err(|error| cut_off(lost(&error)))
        };
        let answer = tokio::select! {
            answer = exchange => answer?,
            () = self.replaced(leader) => return Err(cut_off(busy("another server leads since"))),
        };
        // The place is free when the answer has been read.
        Ok(answer.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _held = &place;
                frame
            }))
        }))
    }

    /// Resolves when this server does not lead any more.
    async fn replaced(&self, leader: PublicKey) {
        let mut servers = self.servers.clone();
        let _ =
            servers.wait_for(|now| now.leader.as_ref().map(|now| now.key) != Some(leader)).await;
    }

    /// A connection to the leader with room for a request, made when it is needed.
    async fn way(&self) -> Result<Way, Problem> {
        let mut upstream = self.upstream.lock().await;
        // Asked for under the lock: whoever waited for it may have waited for long.
        let Some(leader) = self.servers.borrow().leader.clone() else {
            return Err(busy("no server leads at the moment"));
        };
        let good = |way: &(Connection, Arc<Semaphore>)| {
            way.0.remote() == leader.key && way.0.is_closed().is_none()
        };
        for (old, _) in upstream.ways.extract_if(.., |way| !good(way)) {
            old.close(code::DONE, "another server leads");
        }
        for (connection, places) in &upstream.ways {
            if let Ok(place) = places.clone().try_acquire_owned() {
                return Ok(Way { connection: connection.clone(), place });
            }
        }
        if upstream.ways.len() >= UPSTREAM_MAX {
            return Err(busy("too many requests are being passed on"));
        }
        let silent = upstream.silent;
        if silent.is_some_and(|(who, at)| who == leader.key && at.elapsed() < DIAL_AGAIN_AFTER) {
            return Err(busy("the leading server does not answer"));
        }
        let peer = PeerAddr::from(&leader);
        let connection = tokio::select! {
            connection = self.endpoint.connect(&peer, API_ALPN) => connection,
            () = self.replaced(leader.key) => return Err(busy("another server leads since")),
        };
        let connection = connection.map_err(|error| {
            upstream.silent = Some((leader.key, Instant::now()));
            busy(&format!("the leading server does not answer: {}", crate::core::report(&error)))
        })?;
        let places = Arc::new(Semaphore::new(http::STREAMS_MAX));
        upstream.ways.push((connection.clone(), places.clone()));
        let place = places.try_acquire_owned().map_err(|_| busy("too many requests"))?;
        Ok(Way { connection, place })
    }
}

fn busy(why: &str) -> Problem {
    Problem::new(ProblemCode::Busy, format!("{why}: try again in some seconds"))
}

#[cfg(test)]
mod tests;
