//! The bank's calls: money out and in, and what operators agree on.

use isos_base::api::{
    ApprovalsRequest, DepositAddress, PayoutRequest, PayoutView, ProposalList, RailView,
};
use isos_base::record::ProposalRecord;
use isos_base::statement::SignedLedgerHead;
use isos_base::{PayoutId, ProposalId, Time};
use serde::Serialize;

use crate::call::{Again, Call, escape};
use crate::client::{Client, query};
use crate::error::ClientError;

/// Payouts that are asked for at once.
const PAGE_ROWS: u64 = 1_000;

/// A request that says all in its path.
#[derive(Serialize)]
struct Nothing {}

impl Client {
    /// Pays credits of an account out. With a key it is repeated until there is an answer, and pays
    /// once however often it arrives; without one it is not when nobody knows whether it was
    /// carried out: look at the payouts then.
    pub async fn pay_out(
        &self,
        which: &str,
        request: &PayoutRequest,
    ) -> Result<PayoutView, ClientError> {
        let again = if request.key.is_some() { Again::Yes } else { Again::IfUnsent };
        let path = format!("/v1/accounts/{}/payouts", escape(which));
        self.json(Call::post(path, request, again)).await
    }

    /// An account's payouts, the newest first, at most so many.
    pub async fn payouts(&self, which: &str, limit: u32) -> Result<Vec<PayoutView>, ClientError> {
        let query = query(&[("limit", Some(limit.into()))]);
        self.json(Call::get(format!("/v1/accounts/{}/payouts{query}", escape(which)))).await
    }

    /// How to pay in for an account.
    pub async fn deposit_addresses(&self, which: &str) -> Result<Vec<DepositAddress>, ClientError> {
        let path = format!("/v1/accounts/{}/deposit-addresses", escape(which));
        self.json(Call::get(path)).await
    }

    /// The ways for money out and in.
    pub async fn rails(&self) -> Result<Vec<RailView>, ClientError> {
        self.json(Call::get("/v1/bank/rails")).await
    }

    /// Where the whole ledger stood before a moment, or at the last midnight (UTC). Not checked
    /// here.
    pub async fn ledger_head(&self, before: Option<Time>) -> Result<SignedLedgerHead, ClientError> {
        let query = query(&[("before", before.map(|time| time.0))]);
        self.json(Call::get(format!("/v1/ledger/head{query}"))).await
    }

    /// All payouts that wait, page by page; for operators.
    pub async fn outbox(&self) -> Result<Vec<PayoutView>, ClientError> {
        let mut all: Vec<PayoutView> = Vec::new();
        loop {
            let after = all.last().map_or(PayoutId(0), |last| last.id);
            let query = query(&[("after", Some(after.0)), ("limit", Some(PAGE_ROWS))]);
            let page: Vec<PayoutView> =
                self.json(Call::get(format!("/v1/bank/outbox{query}"))).await?;
            let more =
                page.len() as u64 >= PAGE_ROWS && page.last().is_some_and(|last| last.id > after);
            all.extend(page);
            if !more {
                return Ok(all);
            }
        }
    }

    /// What operators have to agree on; for operators.
    pub async fn proposals(&self) -> Result<ProposalList, ClientError> {
        self.json(Call::get("/v1/bank/proposals")).await
    }

    /// Agrees with a proposal; for operators. Not sent again when nobody knows whether it arrived.
    pub async fn approve(&self, proposal: ProposalId) -> Result<ProposalRecord, ClientError> {
        let path = format!("/v1/bank/proposals/{proposal}/approve");
        self.json(Call::post(path, &Nothing {}, Again::IfUnsent)).await
    }

    /// Refuses a proposal; for operators.
    pub async fn refuse(&self, proposal: ProposalId) -> Result<ProposalRecord, ClientError> {
        let path = format!("/v1/bank/proposals/{proposal}/refuse");
        self.json(Call::post(path, &Nothing {}, Again::IfUnsent)).await
    }

    /// Proposes how many operators must agree before credits are made; for operators.
    pub async fn propose_approvals(&self, approvals: u16) -> Result<ProposalRecord, ClientError> {
        let body = ApprovalsRequest { approvals };
        self.json(Call::post("/v1/bank/approvals", &body, Again::Yes)).await
    }
}
