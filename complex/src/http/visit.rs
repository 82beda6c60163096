//! A request with what is known of who sent it: from where, and whose, so that nobody takes more
//! than their part.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderName, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use isos_base::AccountId;
use isos_base::rate::Origin;

use super::Failure;
use crate::door::{Door, Share};

/// Marks a request that another server has passed on: it is answered or refused, never passed on
/// again, so that servers which disagree about the leader do not send it round in circles. Says for
/// whom: an address, or [`RELAYED`].
pub(crate) const PASSED_ON: HeaderName = HeaderName::from_static("isos-passed-on");
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
}

/// Who sent a request, for its handlers.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) address: Option<IpAddr>,
    pub(crate) origin: Origin,
    /// The account's part; it is given back when the answer has been sent.
    share: Arc<OnceLock<Share<AccountId>>>,
}

impl Visit {
    fn of(caller: &Caller, headers: &HeaderMap) -> Self {
        let mut address = caller.address;
        let mut origin = match address {
            Some(address) if caller.pages => caller.door.http_origin(address),
            address => Origin::of(address),
        };
        if caller.is_server
            && let Some(of) = headers.get(PASSED_ON)
        {
            address = of.to_str().ok().and_then(|text| text.parse().ok());
            origin = if of == PROXIED { Origin::Proxy } else { Origin::of(address) };
        }
        Self { address, origin, share: Arc::default() }
    }

    /// Takes the account's part for as long as the request lasts.
    pub(super) fn keep(&self, share: Share<AccountId>) {
        // There is one account to a request.
        let _ = self.share.set(share);
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
    let share = visit.share.clone();
    request.extensions_mut().insert(visit);
    let response = router.call(request.map(Body::new)).await?;
    if share.get().is_none() {
        return Ok(response);
    }
    Ok(response.map(|body| Body::new(Held { body, _share: share })))
}

/// An answer that keeps its account's part until it has been sent.
struct Held {
    body: Body,
    _share: Arc<OnceLock<Share<AccountId>>>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::Limits;

    #[test]
    fn only_a_server_of_the_complex_is_believed_for_whom_it_asks() {
        let door = Arc::new(Door::new(Limits::default()));
        let address = Some([192, 0, 2, 1].into());
        let origin = |is_server: bool, of: &'static str| {
            let caller = Caller { door: door.clone(), address, is_server, pages: true };
            let headers = [(PASSED_ON, HeaderValue::from_static(of))].into_iter().collect();
            Visit::of(&caller, &headers).origin
        };
        assert_eq!(origin(false, "192.0.2.9"), Origin::V4([192, 0, 2, 1]));
        assert_eq!(origin(true, "192.0.2.9"), Origin::V4([192, 0, 2, 9]));
        assert_eq!(origin(true, RELAYED), Origin::Relayed);
        assert_eq!(origin(true, PROXIED), Origin::Proxy);
    }

    #[test]
    fn callers_of_a_proxy_do_not_share_the_part_of_its_address() {
        let limits = Limits { address_requests: 1, http_behind_proxy: true, ..Limits::default() };
        let door = Arc::new(Door::new(limits));
        let address = Some([127, 0, 0, 1].into());
        let let_in = |pages: bool| {
            let caller = Caller { door: door.clone(), address, is_server: false, pages };
            let visit = Visit::of(&caller, &HeaderMap::new());
            (0..1_000).filter(|_| door.request(visit.origin).is_ok()).count()
        };
        assert_eq!(let_in(true), 1_000);
        assert!(let_in(false) < 100, "the other socket is open to everybody");
    }
}
