//! The shapes of the API about keys of accounts.

use serde::{Deserialize, Serialize};

use crate::ids::AccountId;
use crate::key::PublicKey;
use crate::keyring::{Asked, KeyKind, SignedClaim};
use crate::right::Right;
use crate::time::{Span, Time};

/// A key of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyView {
    /// The key.
    pub key: PublicKey,
    /// Which one, for people.
    pub label: String,
    /// What for.
    pub kind: KeyKind,
    /// What it allows; of a recovery key, what the recovered key will.
    pub rights: Vec<Right>,
    /// Since when.
    pub added: Time,
}

/// Who may act for an account without a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyringView {
    /// Whose.
    pub account: AccountId,
    /// Its keys, the oldest first.
    pub keys: Vec<KeyView>,
    /// A recovery that waits: whoever did not ask for it stops it.
    pub asked: Option<Asked>,
}

/// A key that is to be an account's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AddKeyRequest {
    /// The key says that it wants to `belong`.
    pub claim: SignedClaim,
    /// Which one, for people.
    pub label: String,
    /// What it allows; join, submit, read and manage, as far as the caller may, if not said.
    #[serde(default)]
    pub rights: Option<Vec<String>>,
    /// Whether it does nothing but recover the account; it replaces the one before.
    #[serde(default)]
    pub recovery: bool,
}

/// Another label for a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LabelRequest {
    /// The label.
    pub label: String,
}

/// A token is wanted for a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// The key says that it wants to `login`.
    pub claim: SignedClaim,
    /// Only these of its rights; all, if not said.
    #[serde(default)]
    pub rights: Option<Vec<String>>,
    /// For how long: an hour, if not said; a day at the most.
    #[serde(default)]
    pub valid: Option<Span>,
}

/// A short-lived token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoginReply {
    /// Its text.
    pub token: String,
    /// For which account.
    pub account: AccountId,
    /// Until when.
    pub expires: Time,
}

/// An account will be recovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecoveryReply {
    /// Which.
    pub account: AccountId,
    /// When.
    pub due: Time,
}
