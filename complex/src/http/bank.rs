//! The bank's edge: payouts, rails, where to pay in, what operators agree on.

use axum::extract::State;
use isos_base::api::{
    ApprovalsRequest, CreditReply, DepositAddress, PayoutRequest, PayoutView, ProposalList,
    RailView,
};
use isos_base::capability::Right;
use isos_base::record::{ProposalRecord, system};
use isos_base::statement::SignedLedgerHead;
use isos_base::{AccountId, PayoutId, ProposalId, Span, Time};
use isos_kernel::complex::{BankCall, BankReply, Call, Complex, Reply};
use serde::Deserialize;

use super::extract::{Json, Path, Query};
use super::jobs::page;
use super::others::{account_id, seen_account};
use super::{Answer, App, AppState, Who, not_found, odd_reply, unreadable, usage};
use crate::clock;

/// Proposals that are shown, ended ones among them.
const PROPOSALS_SHOWN: u32 = 100;

async fn call(shared: &App, who: &Who, call: BankCall) -> Answer<BankReply> {
    match who.change(shared, Call::Bank(call)).await? {
        Reply::Bank(reply) => Ok(reply),
        _ => odd_reply(),
    }
}

/// Pays credits out, over a rail.
///
/// The credits are held until the rail has answered for good. An account's own holder pays it out;
/// what the complex itself earned (`fees`, `rounding`) an operator.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/payouts",
    operation_id = "payOut",
    tag = "bank",
    params(("account" = String, Path, description = "Number or name of the account, or `me`")),
    request_body = PayoutRequest,
    responses(
        (status = 200, body = PayoutView, description = "In the outbox; once for the same key"),
        (status = 400, response = super::Failure),
        (status = 404, response = super::Failure),
        (status = 409, response = super::Failure),
    ),
)]
pub(super) async fn pay_out(
    State(shared): AppState,
    who: Who,
    Path(text): Path<String>,
    Json(request): Json<PayoutRequest>,
) -> Answer<Json<PayoutView>> {
    who.needs(Right::Submit)?;
    let account = account_id(&shared, &who, &text).await?;
    // Nobody's earnings are an operator's to send away.
    if account != who.0.account && account >= system::FIRST_PERSON {
        let message = format!("only who holds account {account} pays it out");
        let code = isos_base::api::ProblemCode::Unauthorised;
        return Err(isos_base::api::Problem::new(code, message).into());
    }
    let PayoutRequest { amount, to, rail, key } = request;
    let asked = BankCall::Payout { account, amount, rail, to, key };
    let BankReply::Payout(id) = call(&shared, &who, asked).await? else { return odd_reply() };
    shared.outbox.asked();
    payout_view(&shared, id).await.map(Json)
}

async fn payout_view(shared: &App, id: PayoutId) -> Answer<PayoutView> {
    let waits = shared.core.query(move |complex, _| complex.payout(id).cloned()).await?;
    let record = match waits {
        Some(record) => Some(record),
        None => shared.db.payout(id).await.map_err(|error| unreadable(&error))?,
    };
    let record = record.ok_or_else(|| not_found(format!("payout {id}")))?;
    Ok(shared.outbox.view(record))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PayoutsQuery {
    /// Only payouts with a lower number.
    before: Option<u64>,
    /// Payouts at the most: 1000 if not said, never more.
    limit: Option<u32>,
}

/// Lists an account's payouts, the newest first.
#[utoipa::path(
    get,
    path = "/v1/accounts/{account}/payouts",
    operation_id = "listPayouts",
    tag = "bank",
    params(
        ("account" = String, Path, description = "Number or name of the account, or `me`"),
        PayoutsQuery,
    ),
    responses(
        (status = 200, body = Vec<PayoutView>, description = "At most `limit` payouts"),
        (status = 400, response = super::Failure),
        (status = 404, response = super::Failure),
    ),
)]
pub(super) async fn payouts(
    State(shared): AppState,
    who: Who,
    Path(text): Path<String>,
    Query(query): Query<PayoutsQuery>,
) -> Answer<Json<Vec<PayoutView>>> {
    let account = account_id(&shared, &who, &text).await?;
    let limit = page(query.limit);
    let before = query.before.map(PayoutId);
    let found = shared.db.payouts(Some(account), before, limit).await;
    let found = found.map_err(|error| unreadable(&error))?;
    Ok(Json(found.into_iter().map(|record| shared.outbox.view(record)).collect()))
}

/// Says how to pay in for an account, over each rail.
#[utoipa::path(
    get,
    path = "/v1/accounts/{account}/deposit-addresses",
    operation_id = "depositAddresses",
    tag = "bank",
    params(("account" = String, Path, description = "Number or name of the account, or `me`")),
    responses(
        (status = 200, body = Vec<DepositAddress>, description = "One for each rail"),
        (status = 404, response = super::Failure),
    ),
)]
pub(super) async fn deposit_addresses(
    State(shared): AppState,
    who: Who,
    Path(text): Path<String>,
) -> Answer<Json<Vec<DepositAddress>>> {
    let view = seen_account(&shared, &who, &text).await?;
    let rails = shared.outbox.rails().iter();
    let address = |it: &crate::rail::OpenRail| DepositAddress {
        rail: it.terms.name.clone(),
        currency: it.terms.currency.clone(),
        rate: it.terms.rate,
        address: it.rail.address(view.id.0, &view.name),
    };
    Ok(Json(rails.map(address).collect()))
}

/// Lists the ways for money out and in.
#[utoipa::path(
    get,
    path = "/v1/bank/rails",
    operation_id = "listRails",
    tag = "bank",
    responses((status = 200, body = Vec<RailView>, description = "All rails of this complex")),
)]
pub(super) async fn rails(State(shared): AppState, _: Who) -> Answer<Json<Vec<RailView>>> {
    let views = shared.core.query(|complex, _| complex.rail_views()).await?;
    Ok(Json(shared.outbox.with_troubles(views)))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OutboxQuery {
    /// Only payouts with a higher number.
    after: Option<u64>,
    /// Payouts at the most: 1000 if not said, never more.
    limit: Option<u32>,
}

/// Lists the payouts that wait, in order.
///
/// Needs the right `operate`.
#[utoipa::path(
    get,
    path = "/v1/bank/outbox",
    operation_id = "listOutbox",
    tag = "bank",
    params(OutboxQuery),
    responses(
        (status = 200, body = Vec<PayoutView>, description = "At most `limit` payouts"),
        (status = 400, response = super::Failure),
    ),
)]
pub(super) async fn outbox(
    State(shared): AppState,
    who: Who,
    Query(query): Query<OutboxQuery>,
) -> Answer<Json<Vec<PayoutView>>> {
    who.needs(Right::Operate)?;
    let after = PayoutId(query.after.unwrap_or(0));
    let limit = page(query.limit) as usize;
    let look = move |complex: &mut Complex, _| {
        complex.payouts_waiting(None, after).take(limit).cloned().collect::<Vec<_>>()
    };
    let waiting = shared.core.query(look).await?;
    Ok(Json(waiting.into_iter().map(|record| shared.outbox.view(record)).collect()))
}

/// Lists what operators have to agree on, the newest first.
///
/// Needs the right `operate`.
#[utoipa::path(
    get,
    path = "/v1/bank/proposals",
    operation_id = "listProposals",
    tag = "bank",
    responses((status = 200, body = ProposalList, description = "The last 100")),
)]
pub(super) async fn proposals(State(shared): AppState, who: Who) -> Answer<Json<ProposalList>> {
    who.needs(Right::Operate)?;
    let (approvals, sealed) = shared.core.query(|complex, _| complex.approvals()).await?;
    let found = shared.db.proposals(PROPOSALS_SHOWN).await;
    let proposals = found.map_err(|error| unreadable(&error))?;
    Ok(Json(ProposalList { approvals, sealed, proposals }))
}

/// Agrees with a proposal, as another operator than those who have.
///
/// Needs the right `operate`. An operator is known by the account of the token.
#[utoipa::path(
    post,
    path = "/v1/bank/proposals/{proposal}/approve",
    operation_id = "approveProposal",
    tag = "bank",
    params(("proposal" = u64, Path, description = "Its number")),
    responses(
        (status = 200, body = ProposalRecord, description = "As it is now"),
        (status = 400, response = super::Failure),
        (status = 404, response = super::Failure),
        (status = 409, response = super::Failure),
    ),
)]
pub(super) async fn approve(
    State(shared): AppState,
    who: Who,
    Path(proposal): Path<u64>,
) -> Answer<Json<ProposalRecord>> {
    who.needs(Right::Operate)?;
    let (proposal, by) = (ProposalId(proposal), who.0.account);
    decided(&shared, &who, BankCall::Approve { proposal, by }).await
}

/// Refuses a proposal, or takes one's own back.
///
/// Needs the right `operate`.
#[utoipa::path(
    post,
    path = "/v1/bank/proposals/{proposal}/refuse",
    operation_id = "refuseProposal",
    tag = "bank",
    params(("proposal" = u64, Path, description = "Its number")),
    responses(
        (status = 200, body = ProposalRecord, description = "As it is now"),
        (status = 400, response = super::Failure),
        (status = 404, response = super::Failure),
    ),
)]
pub(super) async fn refuse(
    State(shared): AppState,
    who: Who,
    Path(proposal): Path<u64>,
) -> Answer<Json<ProposalRecord>> {
    who.needs(Right::Operate)?;
    let (proposal, by) = (ProposalId(proposal), who.0.account);
    decided(&shared, &who, BankCall::Refuse { proposal, by }).await
}

/// Proposes how many operators must agree before credits are made.
///
/// Needs the right `operate`. As many must agree as are in force, or as are proposed if that is
/// more.
#[utoipa::path(
    post,
    path = "/v1/bank/approvals",
    operation_id = "proposeApprovals",
    tag = "bank",
    request_body = ApprovalsRequest,
    responses(
        (status = 200, body = ProposalRecord, description = "The proposal"),
        (status = 400, response = super::Failure),
        (status = 409, response = super::Failure),
    ),
)]
pub(super) async fn approvals(
    State(shared): AppState,
    who: Who,
    Json(ApprovalsRequest { approvals }): Json<ApprovalsRequest>,
) -> Answer<Json<ProposalRecord>> {
    who.needs(Right::Operate)?;
    decided(&shared, &who, BankCall::Approvals { approvals, by: who.0.account }).await
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HeadQuery {
    /// The last transfer before this moment, in microseconds since 1970: the last midnight (UTC) if
    /// not said.
    before: Option<u64>,
}

/// Says where the whole ledger stood, signed by the complex.
///
/// The same for everybody, so that owners can compare what they were told.
#[utoipa::path(
    get,
    path = "/v1/ledger/head",
    operation_id = "getLedgerHead",
    tag = "bank",
    params(HeadQuery),
    responses(
        (status = 200, body = SignedLedgerHead, description = "Position, hash and signature"),
        (status = 400, response = super::Failure),
    ),
)]
pub(super) async fn ledger_head(
    State(shared): AppState,
    _: Who,
    Query(query): Query<HeadQuery>,
) -> Answer<Json<SignedLedgerHead>> {
    let now = clock::now();
    let midnight = now.0 - now.0 % Span::secs(86_400).0;
    let before = query.before.unwrap_or(midnight);
    if before > now.0 {
        return Err(usage("that moment is yet to come: ask for one that is over"));
    }
    shared.recount.believed()?;
    let found = crate::statement::ledger_before(&shared.db, Time(before)).await;
    let (seq, hash) = found.map_err(|error| unreadable(&error))?;
    Ok(Json(shared.tokens.sign_ledger(seq, hash, Time(before))))
}

async fn decided(shared: &App, who: &Who, asked: BankCall) -> Answer<Json<ProposalRecord>> {
    match call(shared, who, asked).await? {
        BankReply::Proposal(proposal) => Ok(Json(*proposal)),
        _ => odd_reply(),
    }
}

/// What became of a wish for credits.
pub(super) async fn credited(
    shared: &App,
    account: AccountId,
    reply: Reply,
) -> Answer<Json<CreditReply>> {
    match reply {
        Reply::Credited(view) => Ok(Json(CreditReply::Credited(*view))),
        Reply::Bank(BankReply::Proposal(proposal)) => Ok(Json(CreditReply::Proposed(*proposal))),
        // The same was proposed before, and has been decided.
        Reply::Bank(BankReply::Done) => {
            let view = shared.core.query(move |complex, _| complex.account_view(account)).await?;
            let view = view.ok_or_else(|| not_found(format!("account {account}")))?;
            Ok(Json(CreditReply::Credited(view)))
        }
        _ => odd_reply(),
    }
}

/// Whether this operator may give these rights to that account, by a ticket or a key. Once
/// operators have agreed that several must agree, nobody makes another by whom to agree.
pub(super) async fn may_make_operator(
    shared: &App,
    who: &Who,
    account: Option<AccountId>,
    rights: &[Right],
) -> Answer<()> {
    if !rights.contains(&Right::Operate) || account == Some(who.0.account) {
        return Ok(());
    }
    let (approvals, sealed) = shared.core.query(|complex, _| complex.approvals()).await?;
    if !sealed {
        return Ok(());
    }
    let message = format!(
        "{approvals} operators must agree here, so none makes another one alone: agree to `isos \
         bank mint approvals 1` first, do this, and agree to {approvals} again"
    );
    let code = isos_base::api::ProblemCode::Refused;
    Err(isos_base::api::Problem::new(code, message).into())
}
