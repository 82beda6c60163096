//! Prices, bids and reservations.

use axum::extract::State;
use isos_base::api::{
    BarterView, BidRequest, FirmRequest, FirmView, ForecastView, JobView, MarketHistory,
    PricesView, ReservationView, ReserveRequest,
};
use isos_base::capability::Right;
use isos_base::{HostId, JobId, MicroCredits, ReservationId, Span};
use isos_kernel::complex::{Call, Complex, Reply, Wish};
use isos_kernel::market::Barter;
use serde::Deserialize;

use super::extract::{Json, Path, Query};
use super::{Answer, App, AppState, Failure, Who, jobs, not_found, odd_reply, unreadable};
use crate::clock;

/// What an account gave is summed over so long.
const GAVE_WITHIN: Span = Span::secs(7 * 86_400);

/// Tells all prices: now, and in the hours to come.
#[utoipa::path(
    get,
    path = "/v1/market/prices",
    operation_id = "getPrices",
    tag = "market",
    responses((status = 200, body = PricesView, description = "Each class of hosts")),
)]
pub(super) async fn prices(State(shared): AppState, _: Who) -> Answer<Json<PricesView>> {
    Ok(Json(shared.core.query(|complex, _| complex.prices()).await?))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// The class; the one with the most cores if not said.
    class: Option<String>,
}

/// Tells what the prices of a class were: an hour in ticks, six weeks in hours.
#[utoipa::path(
    get,
    path = "/v1/market/history",
    operation_id = "getPriceHistory",
    tag = "market",
    params(HistoryQuery),
    responses(
        (status = 200, body = MarketHistory, description = "Its past"),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn history(
    State(shared): AppState,
    _: Who,
    Query(query): Query<HistoryQuery>,
) -> Answer<Json<MarketHistory>> {
    let class = query.class.clone();
    let look = move |complex: &mut Complex, _| complex.market_history(class.as_deref());
    let none = || match query.class {
        Some(class) => not_found(format!("class {class:?}; `isos market prices` shows them")),
        None => not_found("class of hosts yet: no host has joined"),
    };
    shared.core.query(look).await?.map(Json).ok_or_else(none)
}

/// Tells what the caller's machines gave, and how many core-hours that buys.
#[utoipa::path(
    get,
    path = "/v1/market/barter",
    operation_id = "getBarter",
    tag = "market",
    responses(
        (status = 200, body = BarterView, description = "The account of the token, in hours"),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn barter(State(shared): AppState, who: Who) -> Answer<Json<BarterView>> {
    let account = who.0.account;
    let since = isos_base::Time(clock::now().0.saturating_sub(GAVE_WITHIN.0));
    let gave = shared.db.worked_since(account, since).await.map_err(|error| unreadable(&error))?;
    let look = move |complex: &mut Complex, _| {
        let available = complex.account_view(account)?.available;
        Some((available, complex.price_outlook(), complex.core_rate()))
    };
    let found = shared.core.query(look).await?;
    let (available, (price, later), rate) =
        found.ok_or_else(|| not_found(format!("account {account}")))?;
    let available = available.max(MicroCredits::ZERO);
    let hours = Barter::new(gave, available, price, later.map(|(_, price)| price), rate);
    Ok(Json(BarterView {
        account,
        gave,
        gave_milli: hours.gave_milli,
        available,
        price,
        now_milli: hours.now_milli,
        later: later.map(|(at, price)| ForecastView { at, price }),
        later_milli: hours.later_milli,
    }))
}

/// Changes what a job pays at the most, and what is set aside for it.
#[utoipa::path(
    put,
    path = "/v1/jobs/{id}/bid",
    operation_id = "putBid",
    tag = "market",
    params(("id" = JobId, Path, description = "Number of the job")),
    request_body = BidRequest,
    responses(
        (status = 200, body = JobView, description = "The job as it is now"),
        (status = 400, response = Failure),
        (status = 404, response = Failure),
        (status = 409, response = Failure),
    ),
)]
pub(super) async fn bid(
    State(shared): AppState,
    who: Who,
    Path(id): Path<u64>,
    Json(request): Json<BidRequest>,
) -> Answer<Json<JobView>> {
    who.needs(Right::Submit)?;
    // Whether it may be seen at all.
    jobs::find(&shared, &who, id).await?;
    match who.change(&shared, Call::Bid { job: JobId(id), bid: request.bid }).await? {
        Reply::Job(view) => Ok(Json(*view)),
        _ => odd_reply(),
    }
}

/// Lists the reservations of the caller's account that are not over.
#[utoipa::path(
    get,
    path = "/v1/market/reservations",
    operation_id = "listReservations",
    tag = "market",
    responses((status = 200, body = Vec<ReservationView>, description = "The oldest first")),
)]
pub(super) async fn reservations(
    State(shared): AppState,
    who: Who,
) -> Answer<Json<Vec<ReservationView>>> {
    who.needs(Right::Read)?;
    let account = (!who.is_operator()).then_some(who.0.account);
    let look = move |complex: &mut Complex, _| {
        complex.reservations(account).map(ReservationView::of).collect()
    };
    Ok(Json(shared.core.query(look).await?))
}

/// Reserves cores: they are there in the window with the promised probability, or it costs the
/// complex.
#[utoipa::path(
    post,
    path = "/v1/market/reservations",
    operation_id = "makeReservation",
    tag = "market",
    request_body = ReserveRequest,
    responses(
        (status = 200, body = ReservationView, description = "The reservation"),
        (status = 400, response = Failure),
        (status = 409, response = Failure),
    ),
)]
pub(super) async fn reserve(
    State(shared): AppState,
    who: Who,
    Json(request): Json<ReserveRequest>,
) -> Answer<Json<ReservationView>> {
    who.needs(Right::Submit)?;
    let ReserveRequest { class, cores, from, until, service_ppm } = request;
    let wish = Wish { class, cores, from, until, service_ppm };
    answer(who.change(&shared, Call::Reserve { account: who.0.account, wish }).await?)
}

/// Cancels a reservation whose window has not begun.
#[utoipa::path(
    delete,
    path = "/v1/market/reservations/{id}",
    operation_id = "cancelReservation",
    tag = "market",
    params(("id" = ReservationId, Path, description = "Number of the reservation")),
    responses(
        (status = 200, body = ReservationView, description = "As it ended"),
        (status = 404, response = Failure),
        (status = 409, response = Failure),
    ),
)]
pub(super) async fn unreserve(
    State(shared): AppState,
    who: Who,
    Path(id): Path<u64>,
) -> Answer<Json<ReservationView>> {
    who.needs(Right::Submit)?;
    let (account, id) = (who.0.account, ReservationId(id));
    answer(who.change(&shared, Call::Unreserve { account, id }).await?)
}

fn answer(reply: Reply) -> Answer<Json<ReservationView>> {
    match reply {
        Reply::Reserved(record) => Ok(Json(ReservationView::of(&record))),
        _ => odd_reply(),
    }
}

/// Lists hosts of the caller's account that stand behind reservations, and their bonds.
#[utoipa::path(
    get,
    path = "/v1/market/firm",
    operation_id = "listFirmHosts",
    tag = "market",
    responses((status = 200, body = Vec<FirmView>, description = "Hosts by key")),
)]
pub(super) async fn firm(State(shared): AppState, who: Who) -> Answer<Json<Vec<FirmView>>> {
    // Who lets hosts join may know what they stand in for, as with what they earn.
    if !who.0.may(Right::Join) {
        who.needs(Right::Read)?;
    }
    let account = (!who.is_operator()).then_some(who.0.account);
    let look = move |complex: &mut Complex, _| {
        let all = complex.firm(account);
        all.map(|(record, bonds)| FirmView::of(&record, bonds.into_iter())).collect()
    };
    Ok(Json(shared.core.query(look).await?))
}

/// Lets a host stand behind reservations, with a bond for each; or changes with how many cores.
#[utoipa::path(
    post,
    path = "/v1/market/firm",
    operation_id = "offerFirmHost",
    tag = "market",
    request_body = FirmRequest,
    responses(
        (status = 200, body = FirmView, description = "The host"),
        (status = 400, response = Failure),
        (status = 404, response = Failure),
        (status = 409, response = Failure),
    ),
)]
pub(super) async fn offer_firm(
    State(shared): AppState,
    who: Who,
    Json(request): Json<FirmRequest>,
) -> Answer<Json<FirmView>> {
    // It stakes credits.
    who.needs(Right::Submit)?;
    let (account, FirmRequest { host, cores }) = (who.0.account, request);
    firm_answer(&shared, who.change(&shared, Call::Firm { account, host, cores }).await?).await
}

/// Gives notice for a host: it stands behind nothing new, and may go without loss after ten
/// minutes.
#[utoipa::path(
    delete,
    path = "/v1/market/firm/{host}",
    operation_id = "endFirmHost",
    tag = "market",
    params(("host" = HostId, Path, description = "The host's key")),
    responses(
        (status = 200, body = FirmView, description = "When it may go"),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn end_firm(
    State(shared): AppState,
    who: Who,
    Path(host): Path<HostId>,
) -> Answer<Json<FirmView>> {
    who.needs(Right::Submit)?;
    let account = who.0.account;
    firm_answer(&shared, who.change(&shared, Call::EndFirm { account, host }).await?).await
}

async fn firm_answer(shared: &App, reply: Reply) -> Answer<Json<FirmView>> {
    let Reply::Firm(record) = reply else { return odd_reply() };
    let look = move |complex: &mut Complex, _| {
        let mut all = complex.firm(Some(record.account));
        let bonds = all.find(|(of, _)| of.host == record.host).map(|(_, bonds)| bonds);
        FirmView::of(&record, bonds.unwrap_or_default().into_iter())
    };
    Ok(Json(shared.core.query(look).await?))
}
