//! The HTTP API: the same router on a TCP socket for this machine and on QUIC streams for others.

mod audit;
mod bank;
mod extract;
mod failures;
mod jobs;
mod keys;
mod lasting;
mod market;
mod objects;
mod openapi;
mod others;
mod pages;
mod ranges;
mod reads;
mod redone;
mod results;
mod serve;
mod slices;
mod steady;
mod storage;
mod tickets;
mod trace;
mod visit;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::{HeaderMap, StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use isos_base::api::{Problem, ProblemCode};
use isos_base::capability::{self, Holder, Right};
use isos_base::keyring::KeyRecord;
use isos_base::{Span, Time};
use isos_kernel::complex::{Call, Complex, Reply, TOKEN_REVOKED};

use self::lasting::Asked;
pub(crate) use self::pages::Looks;
pub(crate) use self::reads::Reads;
pub(crate) use self::serve::{STREAMS_MAX, listen, serve_quic, serve_streams, serve_tcp};
pub(crate) use self::steady::steady_body;
pub(crate) use self::visit::{Caller, PASSED_KEY, PASSED_ON, PROXIED, RELAYED, Visit};
use crate::auth::{Checked, lacks};
use crate::clock;
use crate::door::{Scan, seconds};
use crate::server::Shared;

/// A JSON body may have this many bytes: a job with a thousand inputs fits.
const BODY_BYTES_MAX: usize = 2 << 20;

/// Objects on their way in at once, each with a file and as slow as its client. Streams of QUIC
/// connections alone would allow 65,536.
pub(crate) const UPLOADS_MAX: usize = 256;

/// Who is told that the server is busy comes back after this time, if nothing else is said.
const BUSY_FOR: Span = Span::secs(2);

type App = Arc<Shared>;

/// Everything under `/`.
fn router(shared: App) -> Router {
    Router::new()
        .route("/v1/status", get(others::status))
        .route("/v1/whoami", get(others::whoami))
        .route("/v1/objects/{guid}", get(objects::get).put(objects::put))
        .route("/v1/jobs", get(jobs::list).post(jobs::submit))
        .route("/v1/jobs/plan", post(jobs::plan))
        .route("/v1/jobs/{id}", get(jobs::show).delete(jobs::cancel))
        .route("/v1/jobs/{id}/events", get(jobs::events))
        .route("/v1/jobs/{id}/tasks", get(jobs::tasks))
        .route("/v1/jobs/{id}/results", get(results::results))
        .route("/v1/jobs/{id}/ranges", get(ranges::ranges))
        .route("/v1/jobs/{id}/tasks/{task}/trace", get(trace::trace))
        .route("/v1/jobs/{id}/leases", get(jobs::leases))
        .route("/v1/jobs/{id}/bid", put(market::bid))
        .route("/v1/market/prices", get(market::prices))
        .route("/v1/market/history", get(market::history))
        .route("/v1/market/barter", get(market::barter))
        .route("/v1/market/reservations", get(market::reservations).post(market::reserve))
        .route("/v1/market/reservations/{id}", delete(market::unreserve))
        .route("/v1/slices", get(slices::list).post(slices::make))
        .route("/v1/slices/{name}", get(slices::show).put(slices::change).delete(slices::remove))
        .route("/v1/storage/hosts", get(storage::keepers))
        .route("/v1/storage/leases", get(storage::list).post(storage::lease))
        .route("/v1/storage/leases/renew", post(storage::renew))
        .route("/v1/storage/leases/release", post(storage::release))
        .route("/v1/storage/leases/prove", post(storage::prove))
        .route("/v1/storage/quota", get(storage::quota))
        .route("/v1/market/firm", get(market::firm).post(market::offer_firm))
        .route("/v1/market/firm/{host}", delete(market::end_firm))
        .route("/v1/hosts", get(others::hosts))
        .route("/v1/hosts/{host}", get(others::host))
        .route("/v1/accounts", get(others::accounts))
        .route("/v1/accounts/{account}", get(others::account))
        .route("/v1/accounts/{account}/statement", get(others::statement))
        .route("/v1/accounts/{account}/statement/head", get(others::statement_head))
        .route("/v1/accounts/{account}/earnings", get(others::earnings))
        .route("/v1/accounts/{account}/credits", post(others::credits))
        .route("/v1/accounts/{account}/payouts", get(bank::payouts).post(bank::pay_out))
        .route("/v1/accounts/{account}/deposit-addresses", get(bank::deposit_addresses))
        .route("/v1/ledger/head", get(bank::ledger_head))
        .route("/v1/bank/rails", get(bank::rails))
        .route("/v1/bank/outbox", get(bank::outbox))
        .route("/v1/bank/proposals", get(bank::proposals))
        .route("/v1/bank/proposals/{proposal}/approve", post(bank::approve))
        .route("/v1/bank/proposals/{proposal}/refuse", post(bank::refuse))
        .route("/v1/bank/approvals", post(bank::approvals))
        .route("/v1/accounts/{account}/keys", get(keys::list).post(keys::add))
        .route("/v1/accounts/{account}/keys/{key}", put(keys::label).delete(keys::remove))
        .route("/v1/accounts/{account}/recovery", delete(keys::stop_recovery))
        .route("/v1/login", post(keys::login))
        .route("/v1/recover", post(keys::recover))
        .route("/v1/hosts/rotate", post(keys::rotate_host))
        .route("/v1/audit", get(audit::list))
        .route("/v1/audit/head", get(audit::head))
        .route("/v1/tickets", post(tickets::make))
        .route("/v1/tokens/revoke", post(tickets::revoke))
        .route("/v1/explain/{what}", get(others::explain))
        .route("/v1/openapi.json", get(openapi::document))
        .route("/healthz", get(pages::healthz))
        .route("/readyz", get(pages::readyz))
        .route("/metrics", get(pages::metrics))
        .route("/", get(pages::dashboard))
        .fallback(extract::no_route)
        .method_not_allowed_fallback(extract::no_method)
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::map_request(steady_body))
        .with_state(shared)
}

/// A problem as a response.
#[derive(utoipa::ToResponse)]
#[response(description = "Not done: `code` says which kind, `message` says why and what helps")]
pub(crate) struct Failure(Problem);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self.0)).into_response();
        if let Some(secs) = retry_after(&self.0) {
            response.headers_mut().insert(header::RETRY_AFTER, secs.into());
        }
        response
    }
}

/// Seconds after which to come back, where that may help.
fn retry_after(problem: &Problem) -> Option<u64> {
    let usual = (problem.code == ProblemCode::Busy).then_some(BUSY_FOR);
    problem.after.or(usual).map(seconds)
}

type Answer<T> = Result<T, Failure>;

/// A fault of ours.
pub(crate) fn internal(message: &str) -> Problem {
    tracing::error!("{message}");
    Problem::new(ProblemCode::Internal, message)
}

/// What the machine answers to another question.
fn odd_reply<T>() -> Answer<T> {
    Err(Failure(internal("the kernel gave another reply")))
}

/// There is no such thing.
fn not_found(what: impl std::fmt::Display) -> Failure {
    Failure(Problem::new(ProblemCode::NotFound, format!("there is no {what}")))
}

/// The request makes no sense.
fn usage(message: impl Into<String>) -> Failure {
    Failure(Problem::new(ProblemCode::Usage, message))
}

/// The database could not be read.
fn unreadable(error: &isos_db::ReadError) -> Failure {
    Failure(internal(&crate::core::report(error)))
}

/// Whoever sent a good token, or has called with a key of an account.
struct Who(Holder);

impl FromRequestParts<App> for Who {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, shared: &App) -> Answer<Self> {
        shared.metrics.request();
        // Handlers that are called without a connection have no visitor.
        let visit = parts.extensions.get::<Visit>();
        let Some(token) = bearer(&parts.headers) else {
            return by_key(shared, visit, parts.headers.contains_key(header::AUTHORIZATION)).await;
        };
        let now = clock::now();
        let checked = match shared.tokens.remembered(&token, now) {
            Some(checked) => checked,
            None => {
                let limited = visit.map_or(Ok(()), |visit| shared.door.token(visit.origin));
                limited.map_err(|refused| Failure(refused.into()))?;
                let holder = shared.tokens.check(&token, now);
                Checked::Good(holder.map_err(|error| unauthorised(&error.to_string()))?)
            }
        };
        let Checked::Good(holder) = checked else { return Err(unauthorised(TOKEN_REVOKED)) };
        take_share(shared, visit, &holder)?;
        if shared.is_revoked(&holder).await? {
            shared.tokens.revoked(&token);
            return Err(unauthorised(TOKEN_REVOKED));
        }
        Ok(Self(holder))
    }
}

/// Who is at the other end of the connection, if its key is one of an account. The machine is asked
/// each time: a key that is removed is nobody's at once.
async fn by_key(shared: &App, visit: Option<&Visit>, showed: bool) -> Answer<Who> {
    let needed = || {
        unauthorised(if showed {
            "the token is not known here: copy it whole, or take it from a ticket"
        } else {
            "a token is needed: `Authorization: Bearer ...`, from a ticket"
        })
    };
    let Some((key, origin)) = visit.and_then(|visit| Some((visit.key?, visit.origin))) else {
        return Err(needed());
    };
    let look = move |complex: &mut Complex, _| complex.key_holder(&key).cloned();
    let Some(record) = shared.core.query(look).await? else {
        // As a wrong token: whoever tries many is slowed down.
        shared.door.token(origin).map_err(|refused| Failure(refused.into()))?;
        return Err(unauthorised(&format!(
            "a token or ticket is needed: the key {key}, by which you call, is of no account here"
        )));
    };
    let holder = holder_of(record);
    take_share(shared, visit, &holder)?;
    Ok(Who(holder))
}

/// Who has proven a key of an account just now.
fn holder_of(record: KeyRecord) -> Holder {
    Holder {
        account: record.account,
        rights: record.rights,
        expires: Time(u64::MAX),
        issued: clock::now(),
        key: Some(record.key),
        revocation_ids: Vec::new(),
    }
}

/// Takes the account's part of what all share.
fn take_share(shared: &App, visit: Option<&Visit>, holder: &Holder) -> Answer<()> {
    if let Some(visit) = visit {
        let share = shared.door.account(holder.account);
        let share = share.map_err(|refused| Failure(refused.into()))?;
        visit.keep(Asked { shared: shared.clone(), holder: holder.clone(), _share: share });
    }
    Ok(())
}

/// Whether `holder` has not changed too much lately.
fn may_change(shared: &App, holder: &Holder) -> Result<(), Problem> {
    if holder.may(Right::Operate) {
        return Ok(());
    }
    shared.door.change(holder.account).map_err(Problem::from)
}

fn unauthorised(message: &str) -> Failure {
    Failure(Problem::new(ProblemCode::Unauthorised, message))
}

impl Who {
    fn needs(&self, right: Right) -> Answer<()> {
        if self.0.may(right) { Ok(()) } else { Err(Failure(lacks(right))) }
    }

    /// Whether it may see what the account pays for: whoever submits must see what comes of it.
    fn may_look(&self) -> Answer<()> {
        if self.0.may(Right::Submit) { Ok(()) } else { self.needs(Right::Read) }
    }

    /// Its turn to read much of the database.
    async fn scan(&self, shared: &App) -> Answer<Scan> {
        shared.door.scan(self.0.account).await.map_err(|refused| Failure(refused.into()))
    }

    fn is_operator(&self) -> bool {
        self.0.may(Right::Operate)
    }

    /// As [`Who::call`], for what leaves a row in the audit log: an account does so much of it. Who
    /// operates the complex makes tickets for all others.
    async fn change(&self, shared: &App, call: Call) -> Result<Reply, Problem> {
        may_change(shared, &self.0)?;
        self.call(shared, call).await
    }

    /// Has the machine do it in this one's name, if what was shown is still good then.
    async fn call(&self, shared: &App, call: Call) -> Result<Reply, Problem> {
        shared.core.call(call.by(Some(&self.0))).await
    }
}

fn bearer(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    capability::from_text(value.strip_prefix("Bearer ")?)
}

/// How often an event stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The shared state, for handlers.
type AppState = State<App>;

#[cfg(test)]
mod tests;
