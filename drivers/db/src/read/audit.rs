//! The audit log, a page at a time.

use isos_base::ids::AccountId;
use isos_base::record::AuditRecord;

use super::Lookup;
use crate::Db;
use crate::error::ReadError;

impl Db {
    /// Audit records, the oldest first, above the position `after`: those of one account or all.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn audit(
        &self,
        account: Option<AccountId>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, ReadError> {
        let Some(AccountId(account)) = account else {
            let values = Lookup::default().number(after).limit(limit);
            return self.page("WHERE seq > $1 ORDER BY seq LIMIT $2", values).await;
        };
        let values = Lookup::default().number(account).number(after).limit(limit);
        self.page("WHERE account = $1 AND seq > $2 ORDER BY seq LIMIT $3", values).await
    }

    /// The last audit record: of one account or all.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn last_audit(
        &self,
        account: Option<AccountId>,
    ) -> Result<Option<AuditRecord>, ReadError> {
        let Some(AccountId(account)) = account else {
            return self.one("ORDER BY seq DESC LIMIT 1", Lookup::default()).await;
        };
        let values = Lookup::default().number(account);
        self.one("WHERE account = $1 ORDER BY seq DESC LIMIT 1", values).await
    }
}
