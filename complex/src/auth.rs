//! Tokens: who asks, and what they may.

mod known;

use std::sync::{Mutex, MutexGuard, PoisonError};

use isos_base::api::{Problem, ProblemCode};
use isos_base::audit::{AuditHead, SignedAuditHead};
use isos_base::capability::{self, Holder, Right, Terms};
use isos_base::fragment::{SignedGrant, StorageGrant};
use isos_base::key::SecretKey;
use isos_base::statement::{Head, SignedHead, SignedLedgerHead};
use isos_base::{Guid, Span, Time};

use self::known::Known;

/// How long a token that somebody narrowed is taken as good without looking at it again.
const NARROWED_FOR: Span = Span::secs(30);

/// What is remembered of a token.
#[derive(Debug, Clone)]
pub(crate) enum Checked {
    /// Its signatures are good.
    Good(Holder),
    /// The machine said that it was revoked.
    Revoked,
}

/// Checks tokens of this complex, and makes them.
pub(crate) struct Tokens {
    key: SecretKey,
    /// A check costs signatures and Datalog, and is good until the token expires. Revocations do
    /// not wait for that: the machine is asked each time.
    checked: Mutex<Known<Checked>>,
}

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a token")]
pub struct MintError(#[source] capability::TokenError);

impl Tokens {
    pub(crate) fn new(key: SecretKey) -> Self {
        Self { key, checked: Mutex::default() }
    }

    /// A statement's head with the word of the complex.
    pub(crate) fn sign(&self, head: Head, at: Time) -> SignedHead {
        head.sign(&self.key, at)
    }

    /// The ledger's head with the word of the complex.
    pub(crate) fn sign_ledger(&self, seq: u64, hash: Guid, before: Time) -> SignedLedgerHead {
        SignedLedgerHead::sign(seq, hash, before, &self.key)
    }

    /// A grant of storage with the word of the complex.
    pub(crate) fn sign_grant(&self, grant: StorageGrant) -> SignedGrant {
        grant.sign(&self.key)
    }

    /// A new token. It is nobody's before its making is on the record: see
    /// [`Shared::make_token`](crate::server::Shared::make_token).
    pub(crate) fn issue(&self, terms: &Terms<'_>) -> Result<Vec<u8>, MintError> {
        capability::issue(&self.key, terms).map_err(MintError)
    }

    /// Where the audit log stands, with the word of the complex.
    pub(crate) fn sign_audit(&self, head: AuditHead, at: Time) -> SignedAuditHead {
        head.sign(&self.key, at)
    }

    /// What was found lately.
    pub(crate) fn remembered(&self, token: &[u8], now: Time) -> Option<Checked> {
        self.known().get(Guid::of(token), now)
    }

    /// Who holds this token; it costs signatures. Whether it was revoked is the caller's to ask the
    /// machine.
    pub(crate) fn check(&self, token: &[u8], now: Time) -> Result<Holder, capability::TokenError> {
        let holder = capability::check(&self.key.public(), token, now)?;
        // A block that somebody added may end it earlier, which its holder's end does not say.
        let until = match holder.revocation_ids.len() {
            0 | 1 => holder.expires,
            _ => (now + NARROWED_FOR).min(holder.expires),
        };
        let account = holder.account;
        self.known().put(Guid::of(token), account, Checked::Good(holder.clone()), until);
        Ok(holder)
    }

    /// Whose token this is or was; it costs signatures.
    pub(crate) fn identify(&self, token: &[u8]) -> Result<Holder, capability::TokenError> {
        capability::identify(&self.key.public(), token)
    }

    /// The machine says that this token was revoked, and it will not change its mind.
    pub(crate) fn revoked(&self, token: &[u8]) {
        self.known().change(Guid::of(token), Checked::Revoked);
    }

    fn known(&self) -> MutexGuard<'_, Known<Checked>> {
        // Nothing panics between two statements that belong together.
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The problem of one who lacks a right.
pub(crate) fn lacks(right: Right) -> Problem {
    let message = format!(
        "the token does not have the right {:?}; ask the operator for a ticket that has it",
        right.name()
    );
    Problem::new(ProblemCode::Unauthorised, message)
}
