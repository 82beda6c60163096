//! Tokens: who asks, and what they may.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use isos_base::api::{Problem, ProblemCode};
use isos_base::audit::{Actor, AuditHead, SignedAuditHead, token_id};
use isos_base::capability::{self, Holder, Right, Terms};
use isos_base::key::SecretKey;
use isos_base::statement::{Head, SignedHead, SignedLedgerHead};
use isos_base::{Guid, Time};

/// Checked tokens that are remembered: a check costs signatures and Datalog.
const CACHE_MAX: usize = 4_096;
/// How long a check is good. Revocations do not wait for it: the machine is asked each time.
const CACHE_FOR: isos_base::Span = isos_base::Span::secs(30);

/// What the holder of a revoked token is told.
pub(crate) const REVOKED: &str = "the token was revoked";

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
    checked: Mutex<HashMap<Guid, (Checked, Time)>>,
}

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a token")]
pub struct MintError(#[source] capability::TokenError);

impl Tokens {
    pub(crate) fn new(key: SecretKey) -> Self {
        Self { key, checked: Mutex::new(HashMap::new()) }
    }

    /// A statement's head with the word of the complex.
    pub(crate) fn sign(&self, head: Head, at: Time) -> SignedHead {
        head.sign(&self.key, at)
    }

    /// The ledger's head with the word of the complex.
    pub(crate) fn sign_ledger(&self, seq: u64, hash: Guid, before: Time) -> SignedLedgerHead {
        SignedLedgerHead::sign(seq, hash, before, &self.key)
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
        let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let (checked, until) = checked.get(&Guid::of(token))?;
        (now < *until).then(|| checked.clone())
    }

    /// Who holds this token; it costs signatures. Whether it was revoked is the caller's to ask the
    /// machine.
    pub(crate) fn check(&self, token: &[u8], now: Time) -> Result<Holder, capability::TokenError> {
        let holder = capability::check(&self.key.public(), token, now)?;
        let until = (now + CACHE_FOR).min(holder.expires);
        self.remember(token, Checked::Good(holder.clone()), until);
        Ok(holder)
    }

    /// The machine says that this token was revoked, and it will not change its mind.
    pub(crate) fn revoked(&self, token: &[u8], now: Time) {
        self.remember(token, Checked::Revoked, now + CACHE_FOR);
    }

    fn remember(&self, token: &[u8], what: Checked, until: Time) {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.len() >= CACHE_MAX {
            // One at a time: those of others stay good for as long as they can.
            let first = checked.iter().min_by_key(|(_, (_, until))| *until).map(|(id, _)| *id);
            first.map(|id| checked.remove(&id));
        }
        checked.insert(Guid::of(token), (what, until));
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

/// How the audit log names whoever asks.
pub(crate) fn actor(holder: &Holder) -> Actor {
    let account = holder.account;
    match (holder.key, holder.revocation_ids.last()) {
        (Some(key), _) => Actor::Key { account, key },
        (None, id) => Actor::Token { account, id: id.map(|id| token_id(id)).unwrap_or_default() },
    }
}
