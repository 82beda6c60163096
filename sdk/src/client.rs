//! The client: one method for each request of the API.

use std::sync::Arc;

use data_encoding::BASE64URL;
use hyper::Method;
use isos_base::api::{
    AccountView, AddKeyRequest, BarterView, BidRequest, ComplexStatus, CreditReply, Explanation,
    FirmRequest, FirmView, HostEarnings, HostView, JobView, KeyringView, LabelRequest, LeaseView,
    LoginReply, LoginRequest, MarketHistory, Plan, PricesView, RecoveryReply, ReservationView,
    ReserveRequest, Statement, StatementLine, SubmitRequest, TaskView, TicketReply, TicketRequest,
    WhoAmI,
};
use isos_base::audit::{AuditRecord, SignedAudit, SignedAuditHead};
use isos_base::key::{PublicKey, SecretKey};
use isos_base::keyring::SignedClaim;
use isos_base::price::Price;
use isos_base::statement::{SignedHead, SignedStatement};
use isos_base::trace::TaskTrace;
use isos_base::{HostId, JobId, MicroCredits, ReservationId, TaskId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::address::Address;
use crate::call::{Again, Call, Line, Payload, escape};
use crate::error::ClientError;
use crate::events::JobEvents;
use crate::limits::PAGE_ROWS;
use crate::results::{Results, Wanted};
use crate::transport::Transport;

/// A client of one complex. Clones share connections.
///
/// Every method fails with a [`ClientError`]; those that only read, and those that may be carried
/// out twice, are repeated while the complex is away for a moment. Needs a tokio runtime.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) line: Arc<Line>,
}

/// Which part of a statement.
#[derive(Debug, Clone, Copy, Default)]
pub struct StatementPart {
    /// Only what is behind this position of the ledger.
    pub after: Option<u64>,
    /// At most so many lines.
    pub limit: Option<u32>,
}

#[derive(Serialize)]
struct CreditRequest<'a> {
    amount: MicroCredits,
    why: &'a str,
    key: Option<&'a str>,
}

#[derive(Serialize)]
struct RevokeRequest<'a> {
    token: &'a str,
}

impl Client {
    /// A client of the complex at `address`; connects when first used. `token` is the text of a
    /// token, or nothing for the ticket's own.
    ///
    /// # Errors
    /// [`ClientError::Problem`] for a token with characters that no token has.
    pub fn new(address: &Address, token: Option<&str>) -> Result<Self, ClientError> {
        Self::with_key(address, token, None)
    }

    /// As [`Client::new`], calling with a key. Where it is one of an account's keys, that is right
    /// enough: over a ticket without a token, and without one here. A token goes before it.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with_key(
        address: &Address,
        token: Option<&str>,
        key: Option<SecretKey>,
    ) -> Result<Self, ClientError> {
        let (host, own, transport) = match address {
            Address::Http(socket) => (socket.to_string(), None, Transport::Tcp(*socket)),
            Address::Ticket(ticket) => {
                let own = (!ticket.token.is_empty()).then(|| BASE64URL.encode(&ticket.token));
                (ticket.complex.to_string(), own, Transport::of_ticket(ticket, key))
            }
        };
        let token = token.or(own.as_deref());
        let line = Line::new(address.to_string(), &host, token, transport)?;
        Ok(Self { line: Arc::new(line) })
    }

    /// Where the complex is, for messages.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.line.address
    }

    /// Closes the connections. Dropping the last clone does too, without waiting for goodbyes.
    pub async fn close(&self) {
        self.line.close().await;
    }

    pub(crate) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        self.line.send(&call).await?.json().await
    }

    /// The complex at a glance.
    pub async fn status(&self) -> Result<ComplexStatus, ClientError> {
        self.json(Call::get("/v1/status")).await
    }

    /// Who holds the token, and what it allows.
    pub async fn whoami(&self) -> Result<WhoAmI, ClientError> {
        self.json(Call::get("/v1/whoami")).await
    }

    /// What a job would cost and where it would run; nothing is submitted.
    pub async fn plan(&self, request: &SubmitRequest) -> Result<Plan, ClientError> {
        self.json(Call::post("/v1/jobs/plan", request, Again::Yes)).await
    }

    /// Submits a job whose objects have been uploaded. With a key in the request it is repeated
    /// until there is an answer, and gives one job however often it arrives.
    pub async fn submit(&self, request: &SubmitRequest) -> Result<JobView, ClientError> {
        let again = if request.key.is_some() { Again::Yes } else { Again::IfUnsent };
        self.json(Call::post("/v1/jobs", request, again)).await
    }

    /// Jobs, the newest first: at most `limit`, older than `before`.
    pub async fn jobs(
        &self,
        limit: Option<u32>,
        before: Option<JobId>,
    ) -> Result<Vec<JobView>, ClientError> {
        let query = query(&[("limit", limit.map(u64::from)), ("before", before.map(|job| job.0))]);
        self.json(Call::get(format!("/v1/jobs{query}"))).await
    }

    /// One job.
    pub async fn job(&self, id: JobId) -> Result<JobView, ClientError> {
        self.json(Call::get(format!("/v1/jobs/{id}"))).await
    }

    /// Cancels a job: what is done is paid for, the rest of the hold comes back.
    pub async fn cancel(&self, id: JobId) -> Result<JobView, ClientError> {
        self.json(Call::with(Method::DELETE, format!("/v1/jobs/{id}"), Payload::Empty)).await
    }

    /// A job's progress, until it is over; comes back by itself when the connection breaks.
    #[must_use]
    pub fn events(&self, id: JobId) -> JobEvents {
        JobEvents::new(self.clone(), id)
    }

    /// The accepted tasks of a job in task order: at most `limit` from task `from` on.
    pub async fn tasks(
        &self,
        id: JobId,
        from: Option<u32>,
        limit: Option<u32>,
    ) -> Result<Vec<TaskView>, ClientError> {
        let query = query(&[("from", from.map(u64::from)), ("limit", limit.map(u64::from))]);
        self.json(Call::get(format!("/v1/jobs/{id}/tasks{query}"))).await
    }

    /// The results accepted so far, in order of acceptance, with or without outputs.
    pub async fn results(
        &self,
        id: JobId,
        output: bool,
        wanted: Wanted,
    ) -> Result<Results, ClientError> {
        Results::open(self, id, output, wanted).await
    }

    /// The account's own newest job, also when the token may see those of others.
    pub async fn last_job(&self) -> Result<Option<JobView>, ClientError> {
        let jobs: Vec<JobView> = self.json(Call::get("/v1/jobs?limit=1&mine=true")).await?;
        Ok(jobs.into_iter().next())
    }

    /// The life of a traced task, step by step.
    pub async fn trace(&self, task: TaskId) -> Result<TaskTrace, ClientError> {
        let TaskId { job, task } = task;
        self.json(Call::get(format!("/v1/jobs/{job}/tasks/{task}/trace"))).await
    }

    /// The leases of a job, all of them, page by page.
    pub async fn leases(&self, id: JobId) -> Result<Vec<LeaseView>, ClientError> {
        self.pages(&format!("/v1/jobs/{id}/leases"), |lease: &LeaseView| lease.id.to_string()).await
    }

    /// All hosts that the token may see, page by page.
    pub async fn hosts(&self) -> Result<Vec<HostView>, ClientError> {
        self.pages("/v1/hosts", |host: &HostView| host.id.to_string()).await
    }

    /// The first hosts, in the order of their keys: at most `limit`.
    pub async fn first_hosts(&self, limit: u32) -> Result<Vec<HostView>, ClientError> {
        self.json(Call::get(format!("/v1/hosts?limit={limit}"))).await
    }

    /// Everything on a list; `place` is where a row stands in its order.
    async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        place: impl Fn(&T) -> String,
    ) -> Result<Vec<T>, ClientError> {
        let mut all: Vec<T> = Vec::new();
        loop {
            let after = all.last().map(|last| format!("&after={}", place(last)));
            let limit = format!("?limit={PAGE_ROWS}");
            let call = Call::get(format!("{path}{limit}{}", after.unwrap_or_default()));
            let page: Vec<T> = self.json(call).await?;
            let is_last = page.len() < PAGE_ROWS;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// One host, by its key, the beginning of its key, or its name.
    pub async fn host(&self, which: &str) -> Result<HostView, ClientError> {
        self.json(Call::get(format!("/v1/hosts/{}", escape(which)))).await
    }

    /// All accounts; for operators.
    pub async fn accounts(&self) -> Result<Vec<AccountView>, ClientError> {
        self.json(Call::get("/v1/accounts")).await
    }

    /// An account, by number, name, or `me`.
    pub async fn account(&self, which: &str) -> Result<AccountView, ClientError> {
        self.json(Call::get(format!("/v1/accounts/{}", escape(which)))).await
    }

    /// An account's transfers, oldest first.
    pub async fn statement(
        &self,
        which: &str,
        part: StatementPart,
    ) -> Result<Statement, ClientError> {
        let query = query(&[("after", part.after), ("limit", part.limit.map(u64::from))]);
        self.json(Call::get(format!("/v1/accounts/{}/statement{query}", escape(which)))).await
    }

    /// All of an account's statement, with the word of the complex: to be kept, and checked without
    /// it. Not checked here.
    pub async fn signed_statement(&self, which: &str) -> Result<SignedStatement, ClientError> {
        let path = format!("/v1/accounts/{}/statement/head", escape(which));
        let signed: SignedHead = self.json(Call::get(path)).await?;
        let mut lines: Vec<StatementLine> = Vec::new();
        // What has come since is not part of what was signed.
        while lines.last().map_or(0, |line| line.seq) < signed.head.last {
            let part = StatementPart { after: lines.last().map(|line| line.seq), limit: None };
            let page = self.statement(which, part).await?.lines;
            // A server that does not go on is not asked for ever.
            let before = lines.last().map_or(0, |line| line.seq);
            if page.last().is_none_or(|last| last.seq <= before) {
                break;
            }
            lines.extend(page.into_iter().filter(|line| line.seq <= signed.head.last));
        }
        Ok(SignedStatement { signed, lines })
    }

    /// What each host of an account has earned it.
    pub async fn earnings(&self, which: &str) -> Result<Vec<HostEarnings>, ClientError> {
        self.json(Call::get(format!("/v1/accounts/{}/earnings", escape(which)))).await
    }

    /// Gives credits to an account, or proposes to; for operators. With a key it is repeated until
    /// there is an answer, and grants once however often it arrives; without one it is not when
    /// nobody knows whether it was carried out: look at the statement then.
    pub async fn credit(
        &self,
        which: &str,
        amount: MicroCredits,
        why: &str,
        key: Option<&str>,
    ) -> Result<CreditReply, ClientError> {
        let body = CreditRequest { amount, why, key };
        let path = format!("/v1/accounts/{}/credits", escape(which));
        let again = if key.is_some() { Again::Yes } else { Again::IfUnsent };
        self.json(Call::post(path, &body, again)).await
    }

    /// Makes a ticket; for operators.
    pub async fn ticket(&self, request: &TicketRequest) -> Result<TicketReply, ClientError> {
        self.json(Call::post("/v1/tickets", request, Again::Yes)).await
    }

    /// Makes a token, and all that were made from it, good no more: for operators, and for whoever
    /// holds the token. `token` is its text.
    pub async fn revoke_token(&self, token: &str) -> Result<(), ClientError> {
        let body = RevokeRequest { token };
        self.line.send(&Call::post("/v1/tokens/revoke", &body, Again::Yes)).await.map(drop)
    }

    /// All prices: now, and in the hours to come.
    pub async fn prices(&self) -> Result<PricesView, ClientError> {
        self.json(Call::get("/v1/market/prices")).await
    }

    /// What the prices of a class were; of the largest one if none is named.
    pub async fn price_history(&self, class: Option<&str>) -> Result<MarketHistory, ClientError> {
        let query = class.map(|class| format!("?class={}", escape(class))).unwrap_or_default();
        self.json(Call::get(format!("/v1/market/history{query}"))).await
    }

    /// What the account's machines gave, and how many core-hours that buys.
    pub async fn barter(&self) -> Result<BarterView, ClientError> {
        self.json(Call::get("/v1/market/barter")).await
    }

    /// Changes what a job pays at the most.
    pub async fn bid(&self, id: JobId, bid: Price) -> Result<JobView, ClientError> {
        let call = Call::post(format!("/v1/jobs/{id}/bid"), &BidRequest { bid }, Again::Yes);
        self.json(Call { method: Method::PUT, ..call }).await
    }

    /// The account's reservations that are not over; for operators, all of them.
    pub async fn reservations(&self) -> Result<Vec<ReservationView>, ClientError> {
        self.json(Call::get("/v1/market/reservations")).await
    }

    /// Reserves cores. Not repeated when nobody knows whether it was carried out: look at the list.
    pub async fn reserve(&self, request: &ReserveRequest) -> Result<ReservationView, ClientError> {
        self.json(Call::post("/v1/market/reservations", request, Again::IfUnsent)).await
    }

    /// Cancels a reservation whose window has not begun.
    pub async fn unreserve(&self, id: ReservationId) -> Result<ReservationView, ClientError> {
        let path = format!("/v1/market/reservations/{id}");
        self.json(Call::with(Method::DELETE, path, Payload::Empty)).await
    }

    /// The account's hosts that stand behind reservations, and their bonds; for operators, all.
    pub async fn firm(&self) -> Result<Vec<FirmView>, ClientError> {
        self.json(Call::get("/v1/market/firm")).await
    }

    /// Lets a host stand behind reservations; as often as one likes.
    pub async fn offer_firm(&self, request: &FirmRequest) -> Result<FirmView, ClientError> {
        self.json(Call::post("/v1/market/firm", request, Again::Yes)).await
    }

    /// Gives notice for a host that stands behind reservations.
    pub async fn end_firm(&self, host: HostId) -> Result<FirmView, ClientError> {
        let path = format!("/v1/market/firm/{host}");
        self.json(Call::with(Method::DELETE, path, Payload::Empty)).await
    }

    /// The keys of an account, and a recovery of it that waits.
    pub async fn keys(&self, which: &str) -> Result<KeyringView, ClientError> {
        self.json(Call::get(format!("/v1/accounts/{}/keys", escape(which)))).await
    }

    /// Adds a key to an account, or sets the one that recovers it.
    pub async fn add_key(
        &self,
        which: &str,
        request: &AddKeyRequest,
    ) -> Result<KeyringView, ClientError> {
        let path = format!("/v1/accounts/{}/keys", escape(which));
        // The claim in it is good once.
        self.json(Call::post(path, request, Again::IfUnsent)).await
    }

    /// Gives a key another label.
    pub async fn label_key(
        &self,
        which: &str,
        key: &PublicKey,
        label: &str,
    ) -> Result<(), ClientError> {
        let path = format!("/v1/accounts/{}/keys/{key}", escape(which));
        let call = Call::post(path, &LabelRequest { label: label.into() }, Again::Yes);
        self.line.send(&Call { method: Method::PUT, ..call }).await.map(drop)
    }

    /// Removes a key: it, and what was made with it, is good no more.
    pub async fn remove_key(&self, which: &str, key: &PublicKey) -> Result<(), ClientError> {
        let path = format!("/v1/accounts/{}/keys/{key}", escape(which));
        self.line.send(&Call::with(Method::DELETE, path, Payload::Empty)).await.map(drop)
    }

    /// Stops a recovery that waits.
    pub async fn stop_recovery(&self, which: &str) -> Result<(), ClientError> {
        let path = format!("/v1/accounts/{}/recovery", escape(which));
        self.line.send(&Call::with(Method::DELETE, path, Payload::Empty)).await.map(drop)
    }

    /// A short-lived token for a claim that a key has signed.
    pub async fn login(&self, request: &LoginRequest) -> Result<LoginReply, ClientError> {
        self.json(Call::post("/v1/login", request, Again::IfUnsent)).await
    }

    /// Asks for an account with its recovery key.
    pub async fn recover(&self, claim: &SignedClaim) -> Result<RecoveryReply, ClientError> {
        self.json(Call::post("/v1/recover", claim, Again::Yes)).await
    }

    /// Gives a host another key, by a claim of the one before.
    pub async fn rotate_host(&self, claim: &SignedClaim) -> Result<(), ClientError> {
        let call = Call::post("/v1/hosts/rotate", claim, Again::Yes);
        self.line.send(&call).await.map(drop)
    }

    /// What was done about rights, oldest first: all of it, for operators, or that of an account.
    pub async fn audit(
        &self,
        account: Option<&str>,
        after: u64,
        limit: Option<u32>,
    ) -> Result<Vec<AuditRecord>, ClientError> {
        let query = query(&[("after", Some(after)), ("limit", limit.map(u64::from))]);
        let account = account.map(|account| format!("&account={}", escape(account)));
        self.json(Call::get(format!("/v1/audit{query}{}", account.unwrap_or_default()))).await
    }

    /// All of the audit log, or all that concerns an account, with the word of the complex: to be
    /// kept, and checked without it. Not checked here.
    pub async fn signed_audit(&self, account: Option<&str>) -> Result<SignedAudit, ClientError> {
        let of = account.map(|account| format!("?account={}", escape(account)));
        let path = format!("/v1/audit/head{}", of.unwrap_or_default());
        let signed: SignedAuditHead = self.json(Call::get(path)).await?;
        let mut records: Vec<AuditRecord> = Vec::new();
        let last = |records: &[AuditRecord]| records.last().map_or(0, |record| record.seq);
        while last(&records) < signed.head.last {
            let before = last(&records);
            let page = self.audit(account, before, None).await?;
            // A server that does not go on is not asked for ever.
            if page.last().is_none_or(|last| last.seq <= before) {
                break;
            }
            records.extend(page.into_iter().filter(|record| record.seq <= signed.head.last));
        }
        Ok(SignedAudit { signed, records })
    }

    /// Why something is as it is: a job (`42`), a task (`42@7`), or a host.
    pub async fn explain(&self, what: &str) -> Result<Explanation, ClientError> {
        self.json(Call::get(format!("/v1/explain/{}", escape(what)))).await
    }
}

/// `?a=1&b=2`, or nothing.
pub(crate) fn query(pairs: &[(&str, Option<u64>)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if let Some(value) = value {
            let mark = if text.is_empty() { '?' } else { '&' };
            text.push_str(&format!("{mark}{name}={value}"));
        }
    }
    text
}
