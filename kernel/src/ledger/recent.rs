//! Ids of recent transfers, so that a repetition is known without asking the database.

use std::collections::{BTreeMap, VecDeque};

use isos_base::record::{TransferKind, TransferRecord};
use isos_base::{Guid, TransferId};

use super::posting::Posting;

/// Ids that are remembered: retries come within seconds, and at 1,000 transfers a second these last
/// for a minute. About 100 bytes each.
pub const RECENT_IDS_MAX: usize = 65_536;

/// The last ids, each with the fingerprint of its content.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    content: BTreeMap<TransferId, Guid>,
    order: VecDeque<TransferId>,
}

impl Recent {
    pub(super) fn get(&self, id: TransferId) -> Option<Guid> {
        self.content.get(&id).copied()
    }

    pub(super) fn insert(&mut self, id: TransferId, fingerprint: Guid) {
        if self.content.insert(id, fingerprint).is_none() {
            self.order.push_back(id);
            if self.order.len() > RECENT_IDS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.content.remove(&oldest);
            }
        }
    }

    pub(super) fn is_consistent(&self) -> bool {
        self.content.len() == self.order.len()
            && self.order.len() <= RECENT_IDS_MAX
            && self.order.iter().all(|id| self.content.contains_key(id))
    }
}

/// The posting that made a transfer; nothing for an expiry, which nobody asks for. Its expiry is
/// lost, which its fingerprint does not cover.
pub(super) fn posting_of(transfer: &TransferRecord) -> Option<Posting> {
    let TransferRecord { id, debit, credit, amount, hold, reason, .. } = transfer.clone();
    match transfer.kind {
        TransferKind::Direct => Some(Posting::Direct { id, debit, credit, amount, reason }),
        TransferKind::Hold => {
            Some(Posting::Hold { id, debit, credit, amount, expires: None, reason })
        }
        TransferKind::Post => hold.map(|hold| Posting::Post { id, hold, amount, reason }),
        TransferKind::Void => hold.map(|hold| Posting::Void { id, hold, reason }),
        TransferKind::Expire => None,
    }
}
