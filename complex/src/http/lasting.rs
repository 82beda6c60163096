//! Answers that last: they keep their account's part until they have been sent, and end when the
//! right is taken back by which they were asked for.
//!
//! A stream of events or results can be read for days. Whoever's token was revoked, or whose key
//! was removed, is told so in it: by an event where there are events, else by the end of the
//! connection, and by a refusal when they ask again.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::header;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use isos_base::AccountId;
use isos_base::api::{PROBLEM_EVENT, Problem};
use isos_base::capability::Holder;
use isos_kernel::complex::Complex;

use super::App;
use crate::door::Share;

/// The machine is asked so often whether the right still stands. (Our own tests are in a hurry.)
const LOOK_EVERY: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 20_000 });
/// An answer of so few bytes is taken within a minute, or its reader is cut off.
const SHORT_BYTES_MAX: u64 = 60 << 10;

/// Who asked for an answer.
pub(super) struct Asked {
    pub(super) shared: App,
    pub(super) holder: Holder,
    /// The account's part.
    pub(super) _share: Share<AccountId>,
}

/// An answer that its reader may take for long.
struct Lasting {
    body: Body,
    /// Resolves when the right is gone; nothing for a short answer.
    gone: Option<Gone>,
    is_events: bool,
    is_over: bool,
    _asked: Arc<OnceLock<Asked>>,
}

type Gone = Pin<Box<dyn Future<Output = Problem> + Send>>;

/// The answer, watched over until it has been sent. Nobody's is as it was.
pub(super) fn watched(response: Response, asked: Arc<OnceLock<Asked>>) -> Response {
    let Some(Asked { shared, holder, .. }) = asked.get() else { return response };
    let is_short = response.body().size_hint().exact().is_some_and(|size| size <= SHORT_BYTES_MAX);
    let gone = (!is_short).then(|| Box::pin(gone(shared.clone(), holder.clone())) as Gone);
    let media = response.headers().get(header::CONTENT_TYPE);
    let is_events = media.is_some_and(|media| media.as_bytes() == b"text/event-stream");
    response.map(|body| Body::new(Lasting { body, gone, is_events, is_over: false, _asked: asked }))
}

async fn gone(shared: App, holder: Holder) -> Problem {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let holder = holder.clone();
        let look = move |complex: &mut Complex, now| complex.still_may(now, &holder);
        // Who cannot be answered is told so by other ways: the server is stopping.
        if let Ok(Err(problem)) = shared.core.query(look).await {
            return problem;
        }
    }
}

impl HttpBody for Lasting {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(gone) = &mut self.gone
            && let Poll::Ready(problem) = gone.as_mut().poll(cx)
        {
            self.is_over = true;
            self.gone = None;
            self.body = Body::empty();
            return Poll::Ready(Some(match self.is_events {
                true => Ok(Frame::data(last_event(&problem))),
                false => Err(axum::Error::new(std::io::Error::other(problem.message))),
            }));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn last_event(problem: &Problem) -> Bytes {
    let text = serde_json::to_string(problem).unwrap_or_default();
    format!("event: {PROBLEM_EVENT}\ndata: {text}\n\n").into()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::response::IntoResponse;
    use isos_base::capability::{self, Right};

    use super::*;
    use crate::clock;
    use crate::testing::World;

    #[tokio::test]
    async fn an_answer_without_end_ends_with_its_right_and_says_why_where_it_can() {
        const PATIENCE: Duration = Duration::from_secs(20);
        let world = World::new().await;
        let (anna, bert) =
            (world.token("anna", &[Right::Read]).await, world.token("bert", &[Right::Read]).await);
        let shared = world.server.shared.clone();
        let holder = |token: &str| {
            let token = capability::from_text(token).unwrap();
            shared.tokens.check(&token, clock::now()).unwrap()
        };
        let answer = |token: &str, media: &'static str| {
            let holder = holder(token);
            let share = shared.door.account(holder.account).unwrap();
            let asked = Asked { shared: shared.clone(), holder, _share: share };
            let body = futures_util::stream::pending::<Result<Bytes, Infallible>>();
            let response = ([(header::CONTENT_TYPE, media)], Body::from_stream(body));
            watched(response.into_response(), Arc::new(OnceLock::from(asked))).into_body()
        };
        let events = answer(&anna, "text/event-stream");
        let results = answer(&anna, isos_base::api::RESULT_STREAM_TYPE);
        let other = answer(&bert, "text/event-stream");
        let body = format!("{{\"token\":\"{anna}\"}}");
        let revoked = world.json("POST /v1/tokens/revoke", &world.operator(), &body).await;
        assert_eq!(revoked.0, 200, "{revoked:?}");
        let all = |body| tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, 1 << 20));
        let told = all(events).await.expect("an end").unwrap();
        let told = String::from_utf8_lossy(&told);
        assert!(told.starts_with("event: problem\ndata: {"), "{told}");
        assert!(told.contains("the token was revoked") && told.ends_with("\n\n"), "{told}");
        let broken = all(results).await.expect("an end").unwrap_err();
        assert!(broken.to_string().contains("the token was revoked"), "{broken}");
        assert!(!shared.door.is_in(holder(&anna).account), "its part is free");
        let other = tokio::time::timeout(LOOK_EVERY * 5, axum::body::to_bytes(other, 9));
        other.await.expect_err("others read on");
        world.server.stop().await;
    }
}
