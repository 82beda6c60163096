//! A request with what is known of who sent it: from where, and whose, so that nobody takes more
//! than their part.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use isos_base::key::PublicKey;
use isos_base::rate::Origin;

use super::Failure;
use super::lasting::{Asked, watched};
use crate::door::Door;

/// Marks a request that another server has passed on: it is answered or refused, never passed on
/// again, so that servers which disagree about the leader do not send it round in circles. Says for
/// whom: an address, or [`RELAYED`].
pub(crate) const PASSED_ON: HeaderName = HeaderName::from_static("isos-passed-on");
/// Whose request was passed on: the key that the client's connection has proven, if it has one.
pub(crate) const PASSED_KEY: HeaderName = HeaderName::from_static("isos-passed-key");
/// The client came through a relay.
pub(crate) const RELAYED: &str = "relayed";

/// The client came to a follower through a proxy.
pub(crate) const PROXIED: &str = "proxied";

/// What needs no token and is reckoned from everything that there is.
const PAGES: [&str; 2] = ["/", "/metrics"];

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) door: Arc<Door>,
    /// Where it calls from; nothing when it is relayed.
    pub(crate) address: Option<IpAddr>,
    /// Whether it is a server of this complex, which is believed for whom it asks.
    pub(crate) is_server: bool,
    /// Whether it may have the pages for operators: who calls on the TCP socket.
    pub(crate) pages: bool,
    /// The key that the connection has proven, if it has.
    pub(crate) key: Option<PublicKey>,
}

/// Who sent a request, for its handlers.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) address: Option<IpAddr>,
    pub(crate) origin: Origin,
    /// The key of who sent it, proven by the connection.
    pub(crate) key: Option<PublicKey>,
    /// Who asks, with the account's part; it is given back when the answer has been sent.
    asked: Arc<OnceLock<Asked>>,
}

impl Visit {
    fn of(caller: &Caller, headers: &HeaderMap) -> Self {
        let (mut address, mut key) = (caller.address, caller.key);
        let mut origin = match address {
            Some(address) if caller.pages => caller.door.http_origin(address),
            address => Origin::of(address),
        };
        if caller.is_server
            && let Some(of) = headers.get(PASSED_ON)
        {
            let text = |value: &HeaderValue| value.to_str().ok().map(ToOwned::to_owned);
            address = text(of).and_then(|text| text.parse().ok());
            origin = if of == PROXIED { Origin::Proxy } else { Origin::of(address) };
            key = headers.get(PASSED_KEY).and_then(text).and_then(|text| text.parse().ok());
        }
        Self { address, origin, key, asked: Arc::default() }
    }

    /// Keeps the account's part for as long as the request lasts.
    pub(super) fn keep(&self, asked: Asked) {
        // There is one account to a request.
        let _ = self.asked.set(asked);
    }
}

/// The router, behind the door.
pub(super) async fn receive(
    caller: Caller,
    router: TowerToHyperService<axum::Router>,
    mut request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let visit = Visit::of(&caller, request.headers());
    if let Err(refused) = caller.door.request(visit.origin) {
        return Ok(Failure(refused.into()).into_response());
    }
    if PAGES.contains(&request.uri().path()) && !caller.pages && !caller.is_server {
        let what = format!("{:?} here: it is on the server's HTTP socket", request.uri().path());
        return Ok(super::not_found(what).into_response());
    }
    let asked = visit.asked.clone();
    request.extensions_mut().insert(visit);
    Ok(watched(router.call(request.map(Body::new)).await?, asked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    #[test]
    fn only_a_server_of_the_complex_is_believed_for_whom_it_asks() {
        let door = Arc::new(Door::new(Limits::default()));
        let address = Some([192, 0, 2, 1].into());
        let (own, other) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let visit = |is_server: bool, of: &'static str, headers: Option<PublicKey>| {
            let key = Some(own);
            let caller = Caller { door: door.clone(), address, is_server, pages: true, key };
            let key = headers.map(|key| HeaderValue::from_str(&key.to_string()).unwrap());
            let key = key.map(|key| (PASSED_KEY, key));
            let headers = [(PASSED_ON, HeaderValue::from_static(of))].into_iter().chain(key);
            let visit = Visit::of(&caller, &headers.collect());
            (visit.origin, visit.key)
        };
        let here = Origin::V4([192, 0, 2, 1]);
        assert_eq!(visit(false, "192.0.2.9", Some(other)), (here, Some(own)));
        let there = Origin::V4([192, 0, 2, 9]);
        assert_eq!(visit(true, "192.0.2.9", Some(other)), (there, Some(other)));
        assert_eq!(visit(true, RELAYED, None), (Origin::Relayed, None), "not the server's own");
        assert_eq!(visit(true, PROXIED, None), (Origin::Proxy, None));
    }

    #[test]
    fn callers_of_a_proxy_do_not_share_the_part_of_its_address() {
        let limits = Limits { address_requests: 1, http_behind_proxy: true, ..Limits::default() };
        let door = Arc::new(Door::new(limits));
        let address = Some([127, 0, 0, 1].into());
        let let_in = |pages: bool| {
            let caller = Caller { door: door.clone(), address, is_server: false, pages, key: None };
            let visit = Visit::of(&caller, &HeaderMap::new());
            (0..1_000).filter(|_| door.request(visit.origin).is_ok()).count()
        };
        assert_eq!(let_in(true), 1_000);
        assert!(let_in(false) < 100, "the other socket is open to everybody");
    }
}
