//! Storage: who keeps fragments, leases on their disks, what an account holds.
//!
//! A lease comes with its grant, which this shell signs with the key of the complex: the machine
//! decides what is granted and knows no signature.

use axum::extract::State;
use isos_base::api::{
    KeepersView, Problem, ProblemCode, ProveRequest, QuotaView, ReleaseRequest, RenewRequest,
    StorageLeaseView, StorageLeases, StorageRequest,
};
use isos_base::capability::{self, Right};
use isos_base::key::PublicKey;
use isos_base::price::StoragePrice;
use isos_base::storage::{STORAGE_BYTES_MIN, StorageState};
use isos_base::{Bytes, LeaseId};
use isos_kernel::complex::{Call, Complex, Leased, Reply, StorageCall, StorageReply};
use serde::Deserialize;

use super::extract::{Json, Query};
use super::jobs::{LeasesQuery, page};
use super::{Answer, App, AppState, Failure, Who, odd_reply};

/// Keepers that are shown if nothing else is said.
const KEEPERS_SHOWN: usize = 256;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct KeepersQuery {
    /// Only hosts with room for so many bytes: 1 MiB if not said.
    bytes: Option<u64>,
    /// Only hosts that cost at most so many micro-credits for a GiB and month: the operator's price
    /// if not said.
    price_max: Option<u32>,
    /// Hosts at the most: 256 if not said, never more than 512.
    limit: Option<usize>,
}

/// Shows hosts that one could lease of, with all that decides how fragments are spread.
#[utoipa::path(
    get,
    path = "/v1/storage/hosts",
    operation_id = "listKeepers",
    tag = "storage",
    params(KeepersQuery),
    responses((status = 200, body = KeepersView, description = "A sample of them, by chance")),
)]
pub(super) async fn keepers(
    State(shared): AppState,
    who: Who,
    Query(query): Query<KeepersQuery>,
) -> Answer<Json<KeepersView>> {
    let _turn = who.scan(&shared).await?;
    let account = who.0.account;
    let bytes = query.bytes.map_or(STORAGE_BYTES_MIN, Bytes);
    let price_max = query.price_max.map(StoragePrice);
    let limit = query.limit.unwrap_or(KEEPERS_SHOWN);
    let look =
        move |complex: &mut Complex, now| complex.keepers(now, account, bytes, price_max, limit);
    Ok(Json(shared.core.query(look).await?))
}

/// Lists the open leases of the caller's account, with grants for whoever holds them.
#[utoipa::path(
    get,
    path = "/v1/storage/leases",
    operation_id = "listStorage",
    tag = "storage",
    params(LeasesQuery),
    responses((status = 200, body = StorageLeases, description = "In the order of their numbers")),
)]
pub(super) async fn list(
    State(shared): AppState,
    who: Who,
    Query(query): Query<LeasesQuery>,
) -> Answer<Json<StorageLeases>> {
    who.needs(Right::Read)?;
    let account = who.0.account;
    let (after, limit) = (LeaseId(query.after.unwrap_or(0)), page(query.limit) as usize);
    let look = move |complex: &mut Complex, now| complex.storage_leases(now, account, after, limit);
    let (leases, more) = shared.core.query(look).await?;
    Ok(Json(signed(&shared, leases, more)))
}

/// Leases storage, each lease on another host: all that were asked for, or none.
#[utoipa::path(
    post,
    path = "/v1/storage/leases",
    operation_id = "leaseStorage",
    tag = "storage",
    request_body = StorageRequest,
    responses(
        (status = 200, body = StorageLeases, description = "With their grants"),
        (status = 400, response = Failure),
        (status = 409, response = Failure),
    ),
)]
pub(super) async fn lease(
    State(shared): AppState,
    who: Who,
    Json(request): Json<StorageRequest>,
) -> Answer<Json<StorageLeases>> {
    let (account, request) = (who.0.account, Box::new(request));
    call(&shared, &who, StorageCall::Lease { account, request }).await
}

/// Renews leases, or makes them larger or smaller: all that are named, or none. Each has a new
/// grant then.
#[utoipa::path(
    post,
    path = "/v1/storage/leases/renew",
    operation_id = "renewStorage",
    tag = "storage",
    request_body = RenewRequest,
    responses(
        (status = 200, body = StorageLeases, description = "As they are now"),
        (status = 400, response = Failure),
        (status = 404, response = Failure),
        (status = 409, response = Failure),
    ),
)]
pub(super) async fn renew(
    State(shared): AppState,
    who: Who,
    Json(request): Json<RenewRequest>,
) -> Answer<Json<StorageLeases>> {
    let RenewRequest { changes, price_max } = request;
    let account = who.0.account;
    call(&shared, &who, StorageCall::Change { account, changes, price_max }).await
}

/// Gives leases up: all that are named, or none. What was set aside for the rest of their time
/// comes back.
#[utoipa::path(
    post,
    path = "/v1/storage/leases/release",
    operation_id = "releaseStorage",
    tag = "storage",
    request_body = ReleaseRequest,
    responses(
        (status = 200, body = StorageLeases, description = "As they ended"),
        (status = 400, response = Failure),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn release(
    State(shared): AppState,
    who: Who,
    Json(request): Json<ReleaseRequest>,
) -> Answer<Json<StorageLeases>> {
    let (account, leases) = (who.0.account, request.leases);
    call(&shared, &who, StorageCall::Release { account, leases }).await
}

/// Has a host asked to prove that it has what a lease is paid for. The lease is over if it cannot:
/// look at it in some minutes.
#[utoipa::path(
    post,
    path = "/v1/storage/leases/prove",
    operation_id = "proveStorage",
    tag = "storage",
    request_body = ProveRequest,
    responses(
        (status = 200, body = StorageLeases, description = "The lease, as long as it is not over"),
        (status = 400, response = Failure),
        (status = 404, response = Failure),
        (status = 503, response = Failure),
    ),
)]
pub(super) async fn prove(
    State(shared): AppState,
    who: Who,
    Json(request): Json<ProveRequest>,
) -> Answer<Json<StorageLeases>> {
    // Nobody may know beforehand which part will be asked for.
    let mut drawn = [0; 4];
    getrandom::fill(&mut drawn).map_err(|error| {
        let message = format!("the server has no randomness: {error}");
        Problem::new(ProblemCode::Internal, message)
    })?;
    let (account, drawn) = (who.0.account, u32::from_le_bytes(drawn));
    call(&shared, &who, StorageCall::Prove { account, request, drawn }).await
}

/// Tells what the caller's account holds of others' disks, and what that costs.
#[utoipa::path(
    get,
    path = "/v1/storage/quota",
    operation_id = "getQuota",
    tag = "storage",
    responses((status = 200, body = QuotaView, description = "The account of the token")),
)]
pub(super) async fn quota(State(shared): AppState, who: Who) -> Answer<Json<QuotaView>> {
    who.needs(Right::Read)?;
    let account = who.0.account;
    let look = move |complex: &mut Complex, now| complex.quota(now, account);
    Ok(Json(shared.core.query(look).await?))
}

async fn call(shared: &App, who: &Who, asked: StorageCall) -> Answer<Json<StorageLeases>> {
    who.needs(Right::Submit)?;
    match who.change(shared, Call::Storage(asked)).await? {
        Reply::Storage(StorageReply::Leases(leases)) => Ok(Json(signed(shared, leases, false))),
        _ => odd_reply(),
    }
}

/// Leases as they are shown, with the word of the complex for those that are open.
fn signed(shared: &App, leases: Vec<Leased>, more: bool) -> StorageLeases {
    let leases = leases.into_iter().map(|Leased { record, keeper }| {
        let grant = (record.state == StorageState::Open).then(|| {
            // Whoever signs says of which complex it is.
            let grant = shared.tokens.sign_grant(record.grant(PublicKey([0; 32])));
            capability::to_text(&grant.to_bytes())
        });
        StorageLeaseView {
            id: record.id,
            account: record.account,
            holder: record.holder,
            class: record.class,
            bytes: record.bytes,
            price: record.price,
            state: record.state,
            begun: record.begun,
            issued: record.issued,
            until: record.until,
            held: record.reserved(),
            charged: record.charged,
            host: keeper,
            grant,
        }
    });
    StorageLeases { leases: leases.collect(), more }
}

#[cfg(test)]
mod tests;
