//! Hosts, accounts, tickets, explanations.

use std::time::Duration;

use axum::extract::State;
use isos_base::api::{
    AccountView, ComplexStatus, CreditReply, Explanation, HostEarnings, HostView, Statement, WhoAmI,
};
use isos_base::capability::Right;
use isos_base::statement::SignedHead;
use isos_base::{AccountId, Fuel, HostId, JobId, MicroCredits, ReservationId, TaskId, Time};
use isos_kernel::complex::{Call, Complex, view_for_others};
use serde::Deserialize;

use super::extract::{Json, Path, Query};
use super::jobs::page;
use super::redone::Redone;
use super::{Answer, App, AppState, Who, failures, not_found, unreadable, usage};
use crate::clock;
use crate::statement::Lines;

/// Lines of a statement that are sent at once.
const LINES_MAX: u32 = 10_000;
/// Hosts of an account whose earnings are summed at once.
const HOSTS_MAX: usize = 100;

/// Shows the complex at a glance.
#[utoipa::path(
    get,
    path = "/v1/status",
    operation_id = "getStatus",
    tag = "complex",
    responses((status = 200, body = ComplexStatus, description = "As it is now")),
)]
pub(super) async fn status(State(shared): AppState, _: Who) -> Answer<Json<ComplexStatus>> {
    Ok(Json(super::pages::look(&shared, Duration::ZERO).await?))
}

/// Says who holds the token and what it allows.
#[utoipa::path(
    get,
    path = "/v1/whoami",
    operation_id = "whoAmI",
    tag = "accounts",
    responses(
        (status = 200, body = WhoAmI, description = "Account and rights"),
        (status = 404, response = super::Failure),
    ),
)]
pub(super) async fn whoami(State(shared): AppState, who: Who) -> Answer<Json<WhoAmI>> {
    let account = who.0.account;
    let view = shared.core.query(move |complex, _| complex.account_view(account)).await?;
    let account = view.ok_or_else(|| not_found(format!("account {account}")))?;
    let rights = who.0.rights.iter().map(|right| right.name().to_owned()).collect();
    // A key has no end.
    let expires = Some(who.0.expires).filter(|expires| *expires < Time(u64::MAX));
    Ok(Json(WhoAmI { account, rights, expires }))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HostsQuery {
    /// Only hosts with a higher key.
    after: Option<HostId>,
    /// Hosts at the most: 1000 if not said, never more.
    limit: Option<u32>,
}

/// Lists the hosts that ever joined, in the order of their keys.
#[utoipa::path(
    get,
    path = "/v1/hosts",
    operation_id = "listHosts",
    tag = "hosts",
    params(HostsQuery),
    responses(
        (status = 200, body = Vec<HostView>, description = "At most `limit` hosts"),
        (status = 400, response = super::Failure),
    ),
)]
pub(super) async fn hosts(
    State(shared): AppState,
    who: Who,
    Query(query): Query<HostsQuery>,
) -> Answer<Json<Vec<HostView>>> {
    who.needs(Right::Read)?;
    let limit = page(query.limit) as usize;
    let (mine, operator) = (who.0.account, who.is_operator());
    let look = move |complex: &mut Complex, _| {
        let hosts = complex.host_views(query.after).take(limit);
        hosts.map(|host| shown(host, mine, operator)).collect()
    };
    Ok(Json(shared.core.query(look).await?))
}

/// A host as this account may see it: an owner's reasons are the owner's.
fn shown(host: HostView, mine: AccountId, operator: bool) -> HostView {
    if operator || host.account == mine { host } else { view_for_others(host) }
}

/// The one host with this key, key prefix or name.
fn host_id(complex: &Complex, text: &str) -> Result<HostId, super::Failure> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    match complex.hosts_like(text)[..] {
        [id] => Ok(id),
        [] => Err(not_found(format!("host {text:?}; `isos host list` shows them"))),
        _ => Err(usage(format!("{text:?} fits several hosts: give more of the key"))),
    }
}

/// Shows a host.
#[utoipa::path(
    get,
    path = "/v1/hosts/{host}",
    operation_id = "getHost",
    tag = "hosts",
    params(("host" = String, Path, description = "Its key, a prefix of it, or its name")),
    responses(
        (status = 200, body = HostView, description = "The host"),
        (status = 400, response = super::Failure),
        (status = 404, response = super::Failure),
    ),
)]
pub(super) async fn host(
    State(shared): AppState,
    who: Who,
    Path(text): Path<String>,
) -> Answer<Json<HostView>> {
    who.needs(Right::Read)?;
    let (mine, operator) = (who.0.account, who.is_operator());
    let look = move |complex: &mut Complex, _| {
        let id = host_id(complex, &text)?;
        let host = complex.host_view(id).ok_or_else(|| not_found(format!("host {text}")))?;
        Ok::<_, super::Failure>(shown(host, mine, operator))
    };
    Ok(Json(shared.core.query(look).await??))
}

/// Lists all accounts.
///
/// Needs the right `operate`.
#[utoipa::path(
    get,
    path = "/v1/accounts",
    operation_id = "listAccounts",
    tag = "accounts",
    responses((status = 200, body = Vec<AccountView>, description = "All accounts")),
)]
pub(super) async fn accounts(State(shared): AppState, who: Who) -> Answer<Json<Vec<AccountView>>> {
    who.needs(Right::Operate)?;
    Ok(Json(shared.core.query(|complex, _| complex.account_views().collect()).await?))
}

/// The account that `text` names, if this token may see it: its own with the right to read, to
/// manage, or to join, since whoever earns may know what; anybody's with the right to operate.
pub(super) async fn account_id(shared: &App, who: &Who, text: &str) -> Answer<AccountId> {
    if !who.0.may(Right::Join) && !who.0.may(Right::Manage) {
        who.may_look()?;
    }
    let id = match (text, text.parse()) {
        ("me", _) => Some(who.0.account),
        (_, Ok(number)) => Some(AccountId(number)),
        _ => {
            let name = text.to_owned();
            shared.core.query(move |complex, _| complex.account_named(&name)).await?
        }
    };
    id.filter(|id| who.is_operator() || *id == who.0.account)
        .ok_or_else(|| not_found(format!("account {text:?}")))
}

/// What is shown of the account that `text` names, if this token may see it.
pub(super) async fn seen_account(shared: &App, who: &Who, text: &str) -> Answer<AccountView> {
    let id = account_id(shared, who, text).await?;
    let view = shared.core.query(move |complex, _| complex.account_view(id)).await?;
    view.ok_or_else(|| not_found(format!("account {text:?}")))
}

/// Shows an account; an operator may see anybody's.
#[utoipa::path(
    get,
    path = "/v1/accounts/{account}",
    operation_id = "getAccount",
    tag = "accounts",
    params(("account" = String, Path, description = "Number or name of the account, or `me`")),
    responses(
        (status = 200, body = AccountView, description = "The account"),
        (status = 404, response = super::Failure),
    ),
)]
pub(super) async fn account(
    State(shared): AppState,
    who: Who,
    Path(text): Path<String>,
) -> Answer<Json<AccountView>> {
    seen_account(&shared, &who, &text).await.map(Json)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StatementQuery {
    /// Only transfers after this position in the ledger.
    after: Option<u64>,
    /// Lines at the most, never more than 10000.
    limit: Option<u32>,
}

/// Lists an account's transfers, oldest first.
#[utoipa::path(
    get,
    path = "/v1/accounts/{account}/statement",
    operation_id = "getStatement",
    tag = "accounts",
    params(
        ("account" = String, Path, description = "Number or name of the account, or `me`"),
        StatementQuery,
    ),
    responses(
        (status = 200, body = Statement, description = "At most `limit` lines"),
        (status = 400, response = super::Failure),
        (status = 404, response = super::Failure),
    ),
)]
pub(super) async fn statement(
    State(shared): AppState,
    who: Who,
    Path(text): Path<String>,
    Query(query): Query<StatementQuery>,
) -> Answer<Json<Statement>> {
    let account = seen_account(&shared, &who, &text).await?;
    let _scan = who.scan(&shared).await?;
    let limit = query.limit.unwrap_or(LINES_MAX).min(LINES_MAX) as usize;
    let wanted = query.after.unwrap_or(0);
    // The balance is carried from the first transfer, whatever part is asked for.
    let mut book = Lines::behind(&shared.db, account.id, 0, MicroCredits::ZERO);
    let mut lines = Vec::new();
    while lines.len() < limit
        && let Some(line) = book.next(wanted).await.map_err(|error| unreadable(&error))?
    {
        lines.push(line);
    }
    Ok(Json(Statement { account, lines }))
}

/// Says where an account's statement stands, signed by the complex.
///
/// A hash over all lines and the balances: who has it and the lines can check them alone, and can
/// show later what they were.
#[utoipa::path(
    get,
    path = "/v1/accounts/{account}/statement/head",
    operation_id = "getStatementHead",
    tag = "accounts",
    params(("account" = String, Path, description = "Number or name of the account, or `me`")),
    responses(
        (status = 200, body = SignedHead, description = "The head and its signature"),
        (status = 404, response = super::Failure),
    ),
)]
pub(super) async fn statement_head(
    State(shared): AppState,
    who: Who,
    Path(text): Path<String>,
) -> Answer<Json<SignedHead>> {
    let id = account_id(&shared, &who, &text).await?;
    let _scan = who.scan(&shared).await?;
    shared.recount.believed()?;
    let head = shared.heads.of(&shared.db, id).await.map_err(|error| unreadable(&error))?;
    Ok(Json(shared.tokens.sign(head, clock::now())))
}

/// Lists what each host of an account has earned it.
#[utoipa::path(
    get,
    path = "/v1/accounts/{account}/earnings",
    operation_id = "getEarnings",
    tag = "accounts",
    params(("account" = String, Path, description = "Number or name of the account, or `me`")),
    responses(
        (status = 200, body = Vec<HostEarnings>, description = "The first 100 of its hosts"),
        (status = 404, response = super::Failure),
    ),
)]
pub(super) async fn earnings(
    State(shared): AppState,
    who: Who,
    Path(text): Path<String>,
) -> Answer<Json<Vec<HostEarnings>>> {
    let id = account_id(&shared, &who, &text).await?;
    let look = move |complex: &mut Complex, _| {
        complex.keys_of_hosts(id).take(HOSTS_MAX).collect::<Vec<_>>()
    };
    let _scan = who.scan(&shared).await?;
    let mut all = Vec::new();
    for (host, name) in shared.core.query(look).await? {
        let sums = shared.db.earnings(host).await;
        let mut of =
            HostEarnings { host, name, leases: 0, fuel: Fuel(0), earned: MicroCredits::ZERO };
        for (price, leases, fuel) in sums.map_err(|error| unreadable(&error))? {
            of.leases += leases;
            of.fuel += fuel;
            of.earned.0 = of.earned.0.saturating_add(price.earning(fuel).0);
        }
        all.push(of);
    }
    Ok(Json(all))
}

/// A grant of credits.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credits {
    /// How much.
    amount: MicroCredits,
    /// Why, for the statement.
    why: String,
    /// Chosen by the caller: the same key grants once, however often it is sent.
    key: Option<String>,
}

/// Grants credits to an account, or proposes to.
///
/// Needs the right `operate`. Where several operators must agree, the answer is a proposal.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/credits",
    operation_id = "grantCredits",
    tag = "accounts",
    params(("account" = String, Path, description = "Number or name of the account, or `me`")),
    request_body = Credits,
    responses(
        (
            status = 200,
            body = CreditReply,
            description = "The account as it is now, or the proposal; once for the same key",
        ),
        (status = 400, response = super::Failure),
        (status = 404, response = super::Failure),
        (status = 409, response = super::Failure),
    ),
)]
pub(super) async fn credits(
    State(shared): AppState,
    who: Who,
    Path(text): Path<String>,
    Json(credits): Json<Credits>,
) -> Answer<Json<CreditReply>> {
    who.needs(Right::Operate)?;
    let account = account_id(&shared, &who, &text).await?;
    let Credits { amount, why, key } = credits;
    let call = Call::Mint { account, amount, why, key, by: who.0.account };
    super::bank::credited(&shared, account, who.call(&shared, call).await?).await
}

/// Gives all reasons why a job, task, host, account, reservation or price is as it is.
#[utoipa::path(
    get,
    path = "/v1/explain/{what}",
    operation_id = "explain",
    tag = "complex",
    params((
        "what" = String,
        Path,
        description = "`42`, `42@7`, `account`, `account:NAME`, `reservation:3`, `price`, or a \
                       host by key or name",
    )),
    responses(
        (status = 200, body = Explanation, description = "Verdict and reasons"),
        (status = 400, response = super::Failure),
        (status = 404, response = super::Failure),
    ),
)]
pub(super) async fn explain(
    State(shared): AppState,
    who: Who,
    Path(what): Path<String>,
) -> Answer<Json<Explanation>> {
    who.may_look()?;
    if what == "price" {
        return Ok(Json(shared.core.query(|complex, _| complex.explain_price()).await?));
    }
    if let Some(name) = what.strip_prefix("account:").or((what == "account").then_some("me")) {
        let id = account_id(&shared, &who, name).await?;
        let told = shared.core.query(move |complex, _| complex.explain_account(id)).await?;
        return told.map(Json).ok_or_else(|| not_found(format!("account {name:?}")));
    }
    if let Some(number) = what.strip_prefix("reservation:") {
        return explain_reservation(&shared, &who, number).await.map(Json);
    }
    if let Ok(task) = what.parse::<TaskId>() {
        return explain_task(&shared, &who, task).await.map(Json);
    }
    if let Ok(job) = what.parse::<JobId>() {
        return explain_job(&shared, &who, job).await.map(Json);
    }
    if let Some(name) = what.strip_prefix("service:").or((what == "service").then_some("")) {
        return Err(no_services(name));
    }
    let (mine, operator) = (who.0.account, who.is_operator());
    let look = move |complex: &mut Complex, _| {
        let id = host_id(complex, &what)?;
        let is_own = complex.host_view(id).is_some_and(|host| host.account == mine);
        complex
            .explain_host(id, is_own || operator)
            .ok_or_else(|| not_found(format!("host {what}")))
    };
    Ok(Json(shared.core.query(look).await??))
}

/// What is asked of a service: this complex has none.
fn no_services(name: &str) -> super::Failure {
    let which = if name.is_empty() { String::new() } else { format!(" {name:?}") };
    not_found(format!(
        "service{which}: this complex runs jobs, and no services yet; what can be explained: a job \
         (42), a task (42@7), a host (its name or key), account, account:NAME, reservation:3, price"
    ))
}

async fn explain_reservation(shared: &App, who: &Who, number: &str) -> Answer<Explanation> {
    let unknown = || not_found(format!("reservation {number}"));
    let id = number.parse().map(ReservationId).map_err(|_| unknown())?;
    let (mine, operator) = (who.0.account, who.is_operator());
    let look = move |complex: &mut Complex, _| {
        let account = (!operator).then_some(mine);
        let known = complex.reservations(account).any(|it| it.id == id);
        if known { complex.explain_reservation(id) } else { None }
    };
    if let Some(explanation) = shared.core.query(look).await? {
        return Ok(explanation);
    }
    let ended = shared.db.reservation(id).await.map_err(|error| unreadable(&error))?;
    let (record, bonds) =
        ended.filter(|(record, _)| operator || record.account == mine).ok_or_else(unknown)?;
    // One that is not over is the machine's to explain: it was made a moment ago.
    if record.is_open() {
        return shared.core.query(look).await?.ok_or_else(unknown);
    }
    Ok(Complex::explain_ended_reservation(&record, &bonds))
}

async fn explain_job(shared: &App, who: &Who, job: JobId) -> Answer<Explanation> {
    let _scan = who.scan(shared).await?;
    let (mine, operator) = (who.0.account, who.is_operator());
    let look = move |complex: &mut Complex, _| {
        let view = complex.job_view(job).filter(|view| operator || view.account == mine)?;
        Some((complex.explain_job(job)?, view.tasks))
    };
    let (mut explanation, tasks) = match shared.core.query(look).await? {
        Some(known) => known,
        None => {
            let record = shared.db.job(job).await.map_err(|error| unreadable(&error))?;
            let record = record.filter(|record| operator || record.account == mine);
            let record = record.ok_or_else(|| not_found(format!("job {job}")))?;
            let view = Complex::ended_view(record);
            (Complex::explain_ended(&view), view.tasks)
        }
    };
    let unlucky = u64::from(tasks.failed) + u64::from(tasks.given_up);
    let groups = failures::of(&shared.db, job, unlucky).await;
    explanation.reasons.extend(groups.map_err(|error| unreadable(&error))?);
    Ok(explanation)
}

async fn explain_task(shared: &App, who: &Who, task: TaskId) -> Answer<Explanation> {
    let _scan = who.scan(shared).await?;
    let (mine, operator) = (who.0.account, who.is_operator());
    let look = move |complex: &mut Complex, _| {
        let may = complex.job_view(task.job).is_some_and(|view| operator || view.account == mine);
        if may { complex.explain_task(task) } else { None }
    };
    let explanation = shared.core.query(look).await?;
    let redone = Redone::of(&shared.db, task.job).await.map_err(|error| unreadable(&error))?;
    let decided = redone.last(&shared.db, task.job, task.task).await;
    let decided = decided.map_err(|error| unreadable(&error))?;
    let record = shared.db.job(task.job).await.map_err(|error| unreadable(&error))?;
    let record = record.filter(|record| operator || record.account == mine);
    let decided = decided.filter(|_| record.is_some());
    let at_once = || super::jobs::given_up(&Complex::ended_view(record?), task.task);
    match (explanation, decided.or_else(at_once)) {
        (_, Some(accepted)) => Ok(Complex::explain_accepted(task, &accepted)),
        (Some(explanation), _) => Ok(explanation),
        _ => Err(not_found(format!("task {task}"))),
    }
}
