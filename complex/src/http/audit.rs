//! The audit log: all of it for operators, their part of it for those who hold an account.

use axum::extract::State;
use isos_base::AccountId;
use isos_base::audit::{AuditHead, AuditRecord, GENESIS, SignedAuditHead};
use isos_base::capability::Right;
use serde::Deserialize;

use super::extract::{Json, Query};
use super::jobs::page;
use super::others::account_id;
use super::{Answer, App, AppState, Failure, Who, unreadable};
use crate::clock;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Only what concerns this account: its number, its name, or `me`. Without it, the whole log,
    /// which needs the right `operate`.
    account: Option<String>,
    /// Only records behind this position.
    after: Option<u64>,
    /// Records at the most: 1000 if not said, never more.
    limit: Option<u32>,
}

/// Whose part of the log: an error if it is not this one's to see.
async fn whose(shared: &App, who: &Who, account: Option<&str>) -> Answer<Option<AccountId>> {
    let Some(account) = account else {
        who.needs(Right::Operate)?;
        return Ok(None);
    };
    who.needs(Right::Read)?;
    account_id(shared, who, account).await.map(Some)
}

/// Lists what was done about rights and new credits, oldest first.
#[utoipa::path(
    get,
    path = "/v1/audit",
    operation_id = "listAudit",
    tag = "accounts",
    params(AuditQuery),
    responses(
        (status = 200, body = Vec<AuditRecord>, description = "At most `limit` records"),
        (status = 400, response = Failure),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn list(
    State(shared): AppState,
    who: Who,
    Query(query): Query<AuditQuery>,
) -> Answer<Json<Vec<AuditRecord>>> {
    let account = whose(&shared, &who, query.account.as_deref()).await?;
    let limit = page(query.limit);
    let records = shared.db.audit(account, query.after.unwrap_or(0), limit).await;
    records.map(Json).map_err(|error| unreadable(&error))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HeadQuery {
    /// As in the list.
    account: Option<String>,
}

/// Says where the audit log stands, signed by the complex.
///
/// Who has it and the records can check them alone, and can show later what they were.
#[utoipa::path(
    get,
    path = "/v1/audit/head",
    operation_id = "getAuditHead",
    tag = "accounts",
    params(HeadQuery),
    responses(
        (status = 200, body = SignedAuditHead, description = "The head and its signature"),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn head(
    State(shared): AppState,
    who: Who,
    Query(query): Query<HeadQuery>,
) -> Answer<Json<SignedAuditHead>> {
    let account = whose(&shared, &who, query.account.as_deref()).await?;
    let last = shared.db.last_audit(account).await.map_err(|error| unreadable(&error))?;
    let (last, hash) = last.map_or((0, GENESIS), |last| {
        let own = last.own.unwrap_or(GENESIS);
        (last.seq, if account.is_some() { own } else { last.hash })
    });
    Ok(Json(shared.tokens.sign_audit(AuditHead { account, last, hash }, clock::now())))
}
