//! What the bank asks for: transfers by their ids, payouts, proposals.

use isos_base::ids::{AccountId, PayoutId, TransferId};
use isos_base::record::{PayoutRecord, ProposalRecord, TransferRecord};

use super::Lookup;
use crate::Db;
use crate::cells::transfer_bytes;
use crate::error::ReadError;

impl Db {
    /// The transfer of this id.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn transfer(&self, id: TransferId) -> Result<Option<TransferRecord>, ReadError> {
        self.one("WHERE id = $1", Lookup::default().bytes(transfer_bytes(id))).await
    }

    /// A payout.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn payout(&self, id: PayoutId) -> Result<Option<PayoutRecord>, ReadError> {
        self.one("WHERE id = $1", Lookup::default().number(id.0)).await
    }

    /// Payouts, the newest first: of one account or all, with numbers below `before`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn payouts(
        &self,
        account: Option<AccountId>,
        before: Option<PayoutId>,
        limit: u32,
    ) -> Result<Vec<PayoutRecord>, ReadError> {
        let before = before.map_or(u64::MAX, |payout| payout.0);
        let values = Lookup::default().number(before).limit(limit);
        match account {
            None => self.page("WHERE id < $1 ORDER BY id DESC LIMIT $2", values).await,
            Some(AccountId(account)) => {
                let rest = "WHERE id < $1 AND account = $3 ORDER BY id DESC LIMIT $2";
                self.page(rest, values.number(account)).await
            }
        }
    }

    /// Proposals, the newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn proposals(&self, limit: u32) -> Result<Vec<ProposalRecord>, ReadError> {
        self.page("ORDER BY id DESC LIMIT $1", Lookup::default().limit(limit)).await
    }
}
