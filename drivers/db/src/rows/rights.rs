//! The audit log, keys of accounts, and what else is known of their rights.

use isos_base::guid::Guid;
use isos_base::ids::AccountId;
use isos_base::record::{AuditRecord, KeyRecord, KeyringRecord};

use super::{MANY, Record};
use crate::cells::{BadRow, Binder, Reader};
use crate::sql::Row;
use crate::table::{Again, Table};

impl Record for AuditRecord {
    const TABLE: Table = Table {
        name: "audit",
        columns: &["seq", "account", "at", "own", "hash", "packed"],
        key: 1,
        // The hash covers everything else.
        again: Again::MustEqual("hash"),
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.seq);
        to.maybe_number(self.account.map(|account| account.0));
        to.time(self.at);
        to.maybe_bytes(self.own.map(|own| own.0));
        to.bytes(self.hash.0);
        to.packed(&(&self.by, &self.deed, self.ledger_seq, self.ledger_hash));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        let seq = from.number()?;
        let account = from.maybe_number()?.map(AccountId);
        let at = from.time()?;
        let own = from.maybe_guid()?;
        let hash = from.guid()?;
        let (by, deed, ledger_seq, ledger_hash) = from.packed()?;
        Ok(Self { seq, at, by, account, deed, ledger_seq, ledger_hash, own, hash })
    }
}

impl Record for KeyRecord {
    const TABLE: Table = Table {
        name: "keys",
        columns: &["key", "account", "label", "added", "removed", "packed"],
        key: 1,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.bytes(self.key.0);
        to.number(self.account.0);
        to.text(&self.label);
        to.time(self.added);
        to.maybe_time(self.removed);
        to.packed(&(self.kind, &self.rights));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        let key = from.host()?.0;
        let account = AccountId(from.number()?);
        let label = from.text()?;
        let added = from.time()?;
        let removed = from.maybe_time()?;
        let (kind, rights) = from.packed()?;
        Ok(Self { key, account, label, rights, kind, added, removed })
    }
}

impl Record for KeyringRecord {
    const TABLE: Table = Table {
        name: "keyrings",
        columns: &["account", "void_before", "asked"],
        key: 1,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.account.0);
        to.time(self.void_before);
        to.maybe_packed(self.asked.as_ref());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self {
            account: AccountId(from.number()?),
            void_before: from.time()?,
            asked: from.maybe_packed()?,
        })
    }
}

/// The last position and hash of the audit log.
pub(crate) fn audit_head(row: &Row) -> Result<(u64, Guid), BadRow> {
    const HEAD: Table = Table { columns: &["seq", "hash"], ..AuditRecord::TABLE };
    let mut from = Reader::new(HEAD, row);
    Ok((from.number()?, from.guid()?))
}

/// An account and the last hash of its part of the audit log.
pub(crate) fn audit_own(row: &Row) -> Result<(AccountId, Guid), BadRow> {
    const OWN: Table = Table { columns: &["account", "own"], ..AuditRecord::TABLE };
    let mut from = Reader::new(OWN, row);
    Ok((AccountId(from.number()?), from.guid()?))
}
