//! Keys of accounts: listed, added, removed; a token for one; an account for a recovery phrase.

use axum::extract::State;
use axum::http::StatusCode;
use isos_base::api::{
    AddKeyRequest, KeyringView, LabelRequest, LoginReply, LoginRequest, RecoveryReply,
};
use isos_base::capability::{self, Right, Terms};
use isos_base::key::PublicKey;
use isos_base::keyring::{KeyKind, SignedClaim, Want};
use isos_base::rotation::consents;
use isos_base::{AccountId, HostId, Span};
use isos_kernel::complex::{Call, Complex, KeyCall, NewKey, Once, Reply};

use super::bank::may_make_operator;
use super::extract::{Json, Path};
use super::others::account_id;
use super::tickets::{may_give, rights_of};
use super::{
    Answer, App, AppState, Failure, Visit, Who, holder_of, internal, may_change, unauthorised,
    usage,
};
use crate::clock;

/// A token of a login lasts this long at the most, and this long if nothing is said.
const LOGIN_FOR_MAX: Span = Span::secs(86_400);
const LOGIN_FOR: Span = Span::secs(3_600);

/// The account whose keys `who` may see, or change.
async fn managed(shared: &App, who: &Who, text: &str) -> Answer<AccountId> {
    who.needs(Right::Manage)?;
    account_id(shared, who, text).await
}

/// Lists the keys of an account, and a recovery that waits.
#[utoipa::path(
    get,
    path = "/v1/accounts/{account}/keys",
    operation_id = "listKeys",
    tag = "accounts",
    params(("account" = String, Path, description = "Number or name of the account, or `me`")),
    responses(
        (status = 200, body = KeyringView, description = "Its keys"),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn list(
    State(shared): AppState,
    who: Who,
    Path(account): Path<String>,
) -> Answer<Json<KeyringView>> {
    keyring(&shared, account_id(&shared, &who, &account).await?).await
}

async fn keyring(shared: &App, account: AccountId) -> Answer<Json<KeyringView>> {
    Ok(Json(shared.core.query(move |complex, _| complex.keyring(account)).await?))
}

/// Adds a key to an account, or sets the key that recovers it.
///
/// Needs the right `manage`, and all rights that the key is to have. The key says by a signed claim
/// that it wants to belong to an account: nobody takes the key of somebody else.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/keys",
    operation_id = "addKey",
    tag = "accounts",
    params(("account" = String, Path, description = "Number or name of the account, or `me`")),
    request_body = AddKeyRequest,
    responses(
        (status = 200, body = KeyringView, description = "All keys of the account"),
        (status = 400, response = Failure),
        (status = 404, response = Failure),
        (status = 409, response = Failure),
    ),
)]
pub(super) async fn add(
    State(shared): AppState,
    who: Who,
    Path(account): Path<String>,
    Json(request): Json<AddKeyRequest>,
) -> Answer<Json<KeyringView>> {
    let account = managed(&shared, &who, &account).await?;
    let rights = match &request.rights {
        Some(words) => rights_of(words)?,
        None => Right::OWN.into_iter().filter(|right| who.0.may(*right)).collect(),
    };
    if rights.is_empty() {
        return Err(usage("a key needs at least one right: join, submit, read, manage"));
    }
    may_give(&who.0, &rights)?;
    may_make_operator(&shared, &who, Some(account), &rights).await?;
    let once = believe(&shared, &request.claim)?;
    if request.claim.claim.want != Want::Belong {
        return Err(usage("the claim must want `belong`"));
    }
    let kind = if request.recovery { KeyKind::Recovery } else { KeyKind::Person };
    let (key, label) = (request.claim.claim.key, request.label);
    let new = NewKey { account, key, label, rights, kind };
    who.change(&shared, Call::Keys(KeyCall::Add { new, once: Some(once) })).await?;
    keyring(&shared, account).await
}

/// Gives a key another label.
#[utoipa::path(
    put,
    path = "/v1/accounts/{account}/keys/{key}",
    operation_id = "labelKey",
    tag = "accounts",
    params(
        ("account" = String, Path, description = "Number or name of the account, or `me`"),
        ("key" = String, Path, description = "The key"),
    ),
    request_body = LabelRequest,
    responses(
        (status = 200, description = "Done"),
        (status = 400, response = Failure),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn label(
    State(shared): AppState,
    who: Who,
    Path((account, key)): Path<(String, PublicKey)>,
    Json(LabelRequest { label }): Json<LabelRequest>,
) -> Answer<StatusCode> {
    let account = managed(&shared, &who, &account).await?;
    who.change(&shared, Call::Keys(KeyCall::Label { account, key, label })).await?;
    Ok(StatusCode::OK)
}

/// Removes a key: it, and tokens and tickets that were made with it, are good no more, at once.
#[utoipa::path(
    delete,
    path = "/v1/accounts/{account}/keys/{key}",
    operation_id = "removeKey",
    tag = "accounts",
    params(
        ("account" = String, Path, description = "Number or name of the account, or `me`"),
        ("key" = String, Path, description = "The key"),
    ),
    responses(
        (status = 200, description = "Done"),
        (status = 404, response = Failure),
        (status = 409, response = Failure),
    ),
)]
pub(super) async fn remove(
    State(shared): AppState,
    who: Who,
    Path((account, key)): Path<(String, PublicKey)>,
) -> Answer<StatusCode> {
    let account = managed(&shared, &who, &account).await?;
    who.change(&shared, Call::Keys(KeyCall::Remove { account, key })).await?;
    Ok(StatusCode::OK)
}

/// Stops a recovery that waits.
#[utoipa::path(
    delete,
    path = "/v1/accounts/{account}/recovery",
    operation_id = "stopRecovery",
    tag = "accounts",
    params(("account" = String, Path, description = "Number or name of the account, or `me`")),
    responses((status = 200, description = "Done"), (status = 404, response = Failure)),
)]
pub(super) async fn stop_recovery(
    State(shared): AppState,
    who: Who,
    Path(account): Path<String>,
) -> Answer<StatusCode> {
    let account = managed(&shared, &who, &account).await?;
    who.change(&shared, Call::Keys(KeyCall::StopRecovery { account })).await?;
    Ok(StatusCode::OK)
}

/// What a key has said just now, as something that is good once.
fn believe(shared: &App, signed: &SignedClaim) -> Answer<Once> {
    let checked = signed.check(&shared.key, clock::now());
    checked.map_err(|error| unauthorised(&error.to_string()))?;
    Ok((signed.id().0.to_vec(), signed.until()))
}

/// A claim that no token comes with costs a signature, as a token does.
fn knock(shared: &App, visit: Option<&Visit>) -> Answer<()> {
    let limited = visit.map_or(Ok(()), |visit| shared.door.token(visit.origin));
    limited.map_err(|refused| Failure(refused.into()))
}

/// Gives a short-lived token for a claim that a key of an account has signed.
///
/// The claim names this complex, is good for a minute, and once. The token is void when the key is
/// removed. Who calls over `isos/api/1` with the key needs no token.
#[utoipa::path(
    post,
    path = "/v1/login",
    operation_id = "logIn",
    tag = "accounts",
    security(()),
    request_body = LoginRequest,
    responses(
        (status = 200, body = LoginReply, description = "The token"),
        (status = 400, response = Failure),
    ),
)]
pub(super) async fn login(
    State(shared): AppState,
    visit: Option<axum::Extension<Visit>>,
    Json(request): Json<LoginRequest>,
) -> Answer<Json<LoginReply>> {
    knock(&shared, visit.as_deref())?;
    let once = believe(&shared, &request.claim)?;
    if request.claim.claim.want != Want::Login {
        return Err(usage("the claim must want `login`"));
    }
    let valid = request.valid.unwrap_or(LOGIN_FOR);
    if valid == Span::ZERO || valid > LOGIN_FOR_MAX {
        return Err(usage(format!("a login is valid for 1s to {LOGIN_FOR_MAX}")));
    }
    let key = request.claim.claim.key;
    let look = move |complex: &mut Complex, _| complex.key_holder(&key).cloned();
    let record = shared.core.query(look).await?;
    let record = record.ok_or_else(|| unauthorised("the key is of no account here"))?;
    let rights = match &request.rights {
        None => record.rights.clone(),
        Some(words) => {
            let wanted = rights_of(words)?;
            wanted.into_iter().filter(|right| record.rights.contains(right)).collect()
        }
    };
    if rights.is_empty() {
        return Err(unauthorised("the key has none of these rights"));
    }
    let issued = clock::now();
    let (account, expires) = (record.account, issued + valid);
    let terms = Terms { account, rights: &rights, issued, expires, key: Some(key) };
    let holder = holder_of(record);
    may_change(&shared, &holder)?;
    let token = shared.make_token(Some(&holder), &terms, Some(once)).await?;
    Ok(Json(LoginReply { token: capability::to_text(&token), account, expires }))
}

/// Asks for an account with its recovery key.
///
/// The claim is signed by that key and names the one that is to be the account's only key, whose
/// consent stands in it: its signature over `isos recovery consent 1`, a zero byte, and the claim
/// in postcard with an empty consent. All other keys, and all tokens, are void when it is done:
/// after the time that the operator has set, in which those who have the present keys can stop it.
#[utoipa::path(
    post,
    path = "/v1/recover",
    operation_id = "recoverAccount",
    tag = "accounts",
    security(()),
    request_body = SignedClaim,
    responses(
        (status = 200, body = RecoveryReply, description = "Which account, and when"),
        (status = 400, response = Failure),
        (status = 409, response = Failure),
    ),
)]
pub(super) async fn recover(
    State(shared): AppState,
    visit: Option<axum::Extension<Visit>>,
    Json(signed): Json<SignedClaim>,
) -> Answer<Json<RecoveryReply>> {
    knock(&shared, visit.as_deref())?;
    let once = believe(&shared, &signed)?;
    let (by, agreed) = (signed.claim.key, signed.claim.is_agreed());
    let Want::Recover { key, label, .. } = signed.claim.want else {
        return Err(usage("the claim must want `recover`"));
    };
    if !agreed {
        return Err(unauthorised("the new key has not agreed to this: update isos and ask again"));
    }
    let call = Call::Keys(KeyCall::Recover { by, key, label, once: Some(once) });
    match shared.core.call(call).await? {
        Reply::Recovery { account, due } => Ok(Json(RecoveryReply { account, due })),
        _ => Err(Failure(internal("the kernel gave another reply"))),
    }
}

/// Gives a host another key.
///
/// The claim is signed by the key before and names the one after, whose consent stands in it. The
/// host's account, history and trust follow; the key before is good for nothing from then on.
#[utoipa::path(
    post,
    path = "/v1/hosts/rotate",
    operation_id = "rotateHostKey",
    tag = "hosts",
    security(()),
    request_body = SignedClaim,
    responses(
        (status = 200, description = "Done, now or before"),
        (status = 400, response = Failure),
        (status = 404, response = Failure),
        (status = 409, response = Failure),
    ),
)]
pub(super) async fn rotate_host(
    State(shared): AppState,
    visit: Option<axum::Extension<Visit>>,
    Json(signed): Json<SignedClaim>,
) -> Answer<StatusCode> {
    knock(&shared, visit.as_deref())?;
    let once = Some(believe(&shared, &signed)?);
    let old = signed.claim.key;
    let Want::Rotate { key: new, consent } = signed.claim.want else {
        return Err(usage("the claim must want `rotate`"));
    };
    if !consents(&new, &shared.key, &old, &consent) {
        return Err(unauthorised("the other key has not agreed to this"));
    }
    let call = KeyCall::RotateHost { old: HostId(old), new: HostId(new), once };
    shared.core.call(Call::Keys(call)).await?;
    Ok(StatusCode::OK)
}

#[cfg(test)]
mod tests;
