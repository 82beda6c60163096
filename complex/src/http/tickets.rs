//! Tickets and tokens: made by operators and by those who have a key of the account, and taken
//! back.

use axum::extract::State;
use axum::http::StatusCode;
use isos_base::api::{TicketReply, TicketRequest};
use isos_base::capability::{self, Holder, Right};
use isos_base::{AccountId, Span};
use isos_kernel::complex::{Call, Complex};
use serde::Deserialize;

use super::bank::may_make_operator;
use super::extract::Json;
use super::{Answer, AppState, Failure, Visit, Who, may_change, usage};
use crate::auth::lacks;
use crate::clock;
use crate::server::{Wanted, make_ticket};

/// A ticket lasts this long at the most.
const TICKET_FOR_MAX: Span = Span::secs(366 * 86_400);

/// The rights that these words name.
pub(super) fn rights_of(words: &[String]) -> Answer<Vec<Right>> {
    let rights: Result<Vec<Right>, _> = words.iter().map(|text| text.parse()).collect();
    rights.map_err(|error: isos_base::ids::ParseIdError| usage(error.to_string()))
}

/// Whether `who` may give all of these on: nobody gives what they do not have.
pub(super) fn may_give(who: &Holder, rights: &[Right]) -> Answer<()> {
    match rights.iter().find(|right| !who.may(**right)) {
        Some(right) => Err(Failure(lacks(*right))),
        None => Ok(()),
    }
}

/// Makes a ticket, and its account if there is none of this name.
///
/// Needs the right `operate`; or, for one's own account, a key of it that has the right `manage`:
/// the ticket is void then when that key is removed.
#[utoipa::path(
    post,
    path = "/v1/tickets",
    operation_id = "makeTicket",
    tag = "accounts",
    request_body = TicketRequest,
    responses(
        (status = 200, body = TicketReply, description = "The ticket"),
        (status = 400, response = Failure),
        (status = 409, response = Failure),
    ),
)]
pub(super) async fn make(
    State(shared): AppState,
    who: Who,
    Json(request): Json<TicketRequest>,
) -> Answer<Json<TicketReply>> {
    let name = request.account.clone();
    let named = move |complex: &mut Complex, _| complex.account_named(&name);
    let account = shared.core.query(named).await?;
    if !who.is_operator() {
        own_account(&who, account)?;
    }
    let rights = rights_of(&request.rights)?;
    if rights.is_empty() {
        let all = "join, submit, read, manage, operate";
        return Err(usage(format!("a ticket needs at least one right: {all}")));
    }
    if request.valid == Span::ZERO || request.valid > TICKET_FOR_MAX {
        return Err(usage(format!("a ticket is valid for 1s to {TICKET_FOR_MAX}")));
    }
    may_give(&who.0, &rights)?;
    may_make_operator(&shared, &who, account, &rights).await?;
    // A token that a key made is no way around its own end, which counts in whole seconds.
    let valid = match who.is_operator() || who.0.revocation_ids.is_empty() {
        true => request.valid,
        false => {
            let left = who.0.expires.since(clock::now()).0.saturating_sub(Span::secs(1).0);
            request.valid.min(Span(left))
        }
    };
    let (account, rights) = (request.account.as_str(), rights.as_slice());
    may_change(&shared, &who.0)?;
    let by = Some(&who.0);
    Ok(Json(make_ticket(&shared, Wanted { account, rights, valid, by }).await?))
}

/// Whether `who` has a key of this account, and may say who acts for it. A token that no key made
/// does not do.
fn own_account(who: &Who, account: Option<AccountId>) -> Answer<()> {
    who.needs(Right::Manage)?;
    if who.0.key.is_none() || account != Some(who.0.account) {
        return Err(Failure(lacks(Right::Operate)));
    }
    Ok(())
}

/// A token that is to be good no more.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    /// The token's text.
    token: String,
}

/// Revokes a token, and all that were made from it.
///
/// Needs the right `operate`; or the token itself, or one that it was made from; or the right
/// `manage` over its account. Hosts that came with it are sent away, and their work goes to others:
/// also when it has ended, since they work on. An account has a limit of revoked tokens that were
/// narrowed from others: to revoke the one that they were made from ends them all.
#[utoipa::path(
    post,
    path = "/v1/tokens/revoke",
    operation_id = "revokeToken",
    tag = "accounts",
    request_body = Revocation,
    responses(
        (status = 200, description = "It is good no more"),
        (status = 400, response = Failure),
        (status = 409, response = Failure),
    ),
)]
pub(super) async fn revoke(
    State(shared): AppState,
    who: Who,
    visit: Option<axum::Extension<Visit>>,
    Json(Revocation { token }): Json<Revocation>,
) -> Answer<StatusCode> {
    let bytes = capability::from_text(token.trim());
    let bytes = bytes.ok_or_else(|| usage("this is not the text of a token"))?;
    // It costs signatures, like any other token.
    let limited = visit.map_or(Ok(()), |visit| shared.door.token(visit.origin));
    limited.map_err(|refused| Failure(refused.into()))?;
    let target = shared.tokens.identify(&bytes);
    let target = target.map_err(|error| usage(error.to_string()))?;
    if !may_revoke(&who.0, &target) {
        return Err(Failure(lacks(Right::Operate)));
    }
    let (account, until) = (Some(target.account), target.expires);
    let mut above = target.revocation_ids;
    let id = above.pop().ok_or_else(|| usage("this token has no id to revoke it by"))?;
    who.change(&shared, Call::RevokeToken { id, until, account, above }).await?;
    Ok(StatusCode::OK)
}

fn may_revoke(who: &Holder, target: &Holder) -> bool {
    let manages = who.may(Right::Manage) && who.account == target.account;
    // Ids stand in the order of making: whoever holds a token may revoke what was made from it.
    // Who calls with a key holds none, and none is the beginning of any.
    let (own, ids) = (&who.revocation_ids, &target.revocation_ids);
    who.may(Right::Operate) || manages || (!own.is_empty() && ids.starts_with(own))
}

#[cfg(test)]
mod tests {
    use isos_base::{AccountId, Time};

    use super::*;

    #[test]
    fn who_holds_no_token_may_not_revoke_those_of_others() {
        let holder = |account, rights: &[Right], ids: &[u8]| Holder {
            account: AccountId(account),
            rights: rights.to_vec(),
            expires: Time(9),
            issued: Time(1),
            key: None,
            revocation_ids: ids.iter().map(|id| vec![*id]).collect(),
        };
        let target = holder(100, &[Right::Read], &[1, 2]);
        assert!(may_revoke(&holder(100, &[Right::Read], &[1]), &target), "it was made from this");
        assert!(!may_revoke(&holder(100, &[Right::Read], &[1, 2, 3]), &target));
        assert!(!may_revoke(&holder(100, &[Right::Read], &[]), &target), "a key without manage");
        assert!(may_revoke(&holder(100, &[Right::Manage], &[]), &target));
        assert!(!may_revoke(&holder(101, &[Right::Manage], &[]), &target), "of another account");
        assert!(may_revoke(&holder(101, &[Right::Operate], &[]), &target));
    }
}
