//! What is wrong with an audit log.

use thiserror::Error;

use crate::key::PublicKey;

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuditError {
    /// Signed by another key.
    #[error("it is signed by {found}, not by {expected}")]
    OtherComplex {
        /// The key that was expected.
        expected: PublicKey,
        /// The key in it.
        found: PublicKey,
    },
    /// The signature does not belong to it.
    #[error("the signature of the complex does not fit: what was signed said something else")]
    Signature,
    /// A record is missing, or out of order.
    #[error("record {seq} does not come after record {before}")]
    Order {
        /// Its position.
        seq: u64,
        /// The position of the one before it.
        before: u64,
    },
    /// A record is of another account.
    #[error("record {0} is not of the account whose log this is")]
    OtherAccount(u64),
    /// A record was changed, or one before it.
    #[error("the chain breaks at record {0}: it, or one before it, was changed or removed")]
    Chain(u64),
    /// The records end elsewhere than what was signed.
    #[error("the records end at {found}, signed is {signed}")]
    End {
        /// Position of the last record.
        found: u64,
        /// Position in the head.
        signed: u64,
    },
    /// An earlier log is not the beginning of this one.
    #[error(
        "the earlier log is not the beginning of this one: at record {0} they part. Keep both: \
         signed by one complex, they prove that it changed what was"
    )]
    Rewritten(u64),
}
