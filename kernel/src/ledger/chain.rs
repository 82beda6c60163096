//! The hash chain over transfers: whoever holds one hash can check all that came before it.
//!
//! It proves that history was not rewritten between two heads that somebody kept. It does not prove
//! that the complex was honest when it wrote.

use isos_base::record::TransferRecord;
use isos_base::{Guid, codec};
use serde::Serialize;
use thiserror::Error;

/// Domains of the two hashes; BLAKE3's key derivation keeps them apart from every other use.
const CHAIN_CONTEXT: &str = "isos 2026 ledger chain 1";
const FINGERPRINT_CONTEXT: &str = "isos 2026 ledger posting 1";

/// What the first transfer is chained to.
pub const GENESIS: Guid = Guid([0; 32]);

/// The record is not what followed the given hash.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the chain breaks at transfer number {seq} ({id}): it says {said}, its content says {is}")]
pub struct ChainError {
    /// Position of the record.
    pub seq: u64,
    /// Its id.
    pub id: isos_base::TransferId,
    /// The hash that it carries.
    pub said: Guid,
    /// The hash of the one before it and of its content.
    pub is: Guid,
}

/// The hash of a transfer after `previous`; the record's own `hash` is not looked at.
#[must_use]
pub fn chain_hash(previous: Guid, record: &TransferRecord) -> Guid {
    // Named one by one: a field added to the record must be added here, or this does not compile.
    let TransferRecord { seq, id, kind, debit, credit, amount, hold, reason, at, hash: _ } = record;
    let content = codec::encode(&(seq, id, kind, debit, credit, amount, hold, reason, at));
    let mut hasher = blake3::Hasher::new_derive_key(CHAIN_CONTEXT);
    hasher.update(&previous.0);
    hasher.update(&content);
    Guid(*hasher.finalize().as_bytes())
}

/// Checks that `record` follows `previous` and returns its hash, for the next one.
/// The first record follows [`GENESIS`].
///
/// # Errors
/// [`ChainError`] when the record was altered, moved, or something before it was removed.
pub fn verify_chain(previous: Guid, record: &TransferRecord) -> Result<Guid, ChainError> {
    let is = chain_hash(previous, record);
    if is == record.hash {
        Ok(is)
    } else {
        Err(ChainError { seq: record.seq, id: record.id, said: record.hash, is })
    }
}

/// The hash of a posting's content.
pub(super) fn fingerprint<C: Serialize>(content: &C) -> Guid {
    let mut hasher = blake3::Hasher::new_derive_key(FINGERPRINT_CONTEXT);
    hasher.update(&codec::encode(content));
    Guid(*hasher.finalize().as_bytes())
}
