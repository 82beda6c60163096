//! Slices: hosts that an account holds together by a name.
//!
//! Jobs run on them by `slice` of their specification; there is no route of its own for that.

use axum::extract::State;
use isos_base::api::{SliceChange, SliceRequest, SliceView};
use isos_base::capability::Right;
use isos_kernel::complex::{Call, Complex, Reply, SliceCall};

use super::extract::{Json, Path};
use super::{Answer, App, AppState, Failure, Who, not_found, odd_reply};

/// Lists slices that are not over, the oldest first: the account's own; an operator sees all.
#[utoipa::path(
    get,
    path = "/v1/slices",
    operation_id = "listSlices",
    tag = "slices",
    responses((status = 200, body = Vec<SliceView>, description = "Each with its hosts")),
)]
pub(super) async fn list(State(shared): AppState, who: Who) -> Answer<Json<Vec<SliceView>>> {
    who.may_look()?;
    let account = (!who.is_operator()).then_some(who.0.account);
    let look = move |complex: &mut Complex, _| complex.slice_views(account).collect();
    Ok(Json(shared.core.query(look).await?))
}

/// Puts hosts together in a slice of the caller's account.
///
/// They are of different owners and networks as long as there are such. When there are too few, the
/// message tells why, for all hosts.
#[utoipa::path(
    post,
    path = "/v1/slices",
    operation_id = "makeSlice",
    tag = "slices",
    request_body = SliceRequest,
    responses(
        (status = 200, body = SliceView, description = "The slice; one for the same key"),
        (status = 400, response = Failure),
        (status = 409, response = Failure),
    ),
)]
pub(super) async fn make(
    State(shared): AppState,
    who: Who,
    Json(request): Json<SliceRequest>,
) -> Answer<Json<SliceView>> {
    let (account, request) = (who.0.account, Box::new(request));
    changed(&shared, &who, SliceCall::Make { account, request }).await
}

/// Shows a slice of the caller's account that is not over.
#[utoipa::path(
    get,
    path = "/v1/slices/{name}",
    operation_id = "getSlice",
    tag = "slices",
    params(("name" = String, Path, description = "Name of the slice")),
    responses(
        (status = 200, body = SliceView, description = "The slice and its hosts"),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn show(
    State(shared): AppState,
    who: Who,
    Path(name): Path<String>,
) -> Answer<Json<SliceView>> {
    who.may_look()?;
    let (account, wanted) = (who.0.account, name.clone());
    let look = move |complex: &mut Complex, _| complex.slice_view(account, &wanted);
    let found = shared.core.query(look).await?;
    found
        .map(Json)
        .ok_or_else(|| not_found(format!("slice {name:?}; `isos slice list` shows them")))
}

/// Gives a slice more or fewer hosts, or another end.
///
/// Those that it has keep their ranks; those of the highest ranks leave it.
#[utoipa::path(
    put,
    path = "/v1/slices/{name}",
    operation_id = "changeSlice",
    tag = "slices",
    params(("name" = String, Path, description = "Name of the slice")),
    request_body = SliceChange,
    responses(
        (status = 200, body = SliceView, description = "The slice as it is now"),
        (status = 400, response = Failure),
        (status = 404, response = Failure),
        (status = 409, response = Failure),
    ),
)]
pub(super) async fn change(
    State(shared): AppState,
    who: Who,
    Path(name): Path<String>,
    Json(change): Json<SliceChange>,
) -> Answer<Json<SliceView>> {
    let account = who.0.account;
    changed(&shared, &who, SliceCall::Change { account, name, change }).await
}

/// Gives a slice up, and cancels the jobs on it.
#[utoipa::path(
    delete,
    path = "/v1/slices/{name}",
    operation_id = "dropSlice",
    tag = "slices",
    params(("name" = String, Path, description = "Name of the slice")),
    responses(
        (status = 200, body = SliceView, description = "As it ended"),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn remove(
    State(shared): AppState,
    who: Who,
    Path(name): Path<String>,
) -> Answer<Json<SliceView>> {
    let account = who.0.account;
    changed(&shared, &who, SliceCall::Drop { account, name }).await
}

/// What it lends is the right to run there: whoever may submit jobs may do this.
async fn changed(shared: &App, who: &Who, call: SliceCall) -> Answer<Json<SliceView>> {
    who.needs(Right::Submit)?;
    match who.change(shared, Call::Slice(call)).await? {
        Reply::Slice(view) => Ok(Json(*view)),
        _ => odd_reply(),
    }
}

#[cfg(test)]
mod tests;
