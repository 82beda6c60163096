//! The audit log of a complex: what gives, takes or moves rights is written down in the same
//! transaction that does it.

use std::collections::BTreeMap;

use isos_base::audit::{Actor, AuditRecord, Deed, GENESIS};
use isos_base::record::Change;
use isos_base::{AccountId, Guid};

use super::{Complex, Effect};

/// Where the log stands, and who acts at the moment.
#[derive(Debug)]
pub(super) struct Book {
    seq: u64,
    hash: Guid,
    /// The last hash of each account's part.
    own: BTreeMap<AccountId, Guid>,
    /// Who asked for what is being done.
    pub(super) by: Actor,
}

impl Book {
    /// A log that ended there.
    pub(super) fn new(head: Option<(u64, Guid)>, own: Vec<(AccountId, Guid)>) -> Self {
        let (seq, hash) = head.unwrap_or((0, GENESIS));
        Self { seq, hash, own: own.into_iter().collect(), by: Actor::Complex }
    }
}

impl Complex {
    /// Writes down that this was done, by whoever acts, and which account it concerns.
    pub(super) fn audit(
        &mut self,
        account: Option<AccountId>,
        deed: Deed,
        effects: &mut Vec<Effect>,
    ) {
        let (ledger_seq, ledger_hash) = self.ledger.head();
        let book = &mut self.book;
        let mut record = AuditRecord {
            seq: book.seq + 1,
            at: self.now,
            by: book.by.clone(),
            account,
            deed,
            ledger_seq,
            ledger_hash,
            own: None,
            hash: GENESIS,
        };
        let own = account.and_then(|account| book.own.get(&account).copied());
        record.link(book.hash, own.unwrap_or(GENESIS));
        (book.seq, book.hash) = (record.seq, record.hash);
        book.own.extend(account.zip(record.own));
        effects.push(Effect::Keep(Change::Audit(Box::new(record))));
    }
}
