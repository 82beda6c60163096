//! Capability tokens: biscuits rooted in the complex's key.
//!
//! A token names an account and what may be done for it. Its holder can attenuate it offline (add
//! checks over `operation`, `account` and `now`) and nobody can widen it. Making one draws
//! randomness from the operating system, the one exception in this crate; checking one is pure.

mod offline;

use biscuit_auth::builder::Algorithm;
use biscuit_auth::builder::{AuthorizerBuilder, BiscuitBuilder};
use biscuit_auth::{AuthorizerLimits, Biscuit, KeyPair, PrivateKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use offline::{Block, Narrowing, attenuate, blocks, vouch};

use crate::ids::AccountId;
use crate::key::{PublicKey, SecretKey};
use crate::time::{Span, Time};

/// Bytes that a token may have: several attenuations fit.
pub const TOKEN_BYTES_MAX: usize = 4_096;

/// What a token may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Link hosts to the account: they earn for it.
    Join,
    /// Submit, cancel and read jobs that the account pays.
    Submit,
    /// Read what concerns the account.
    Read,
    /// Everything, for every account: the operator.
    Operate,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Join, Self::Submit, Self::Read, Self::Operate];

    /// The word in tokens and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }
}

impl std::str::FromStr for Right {
    type Err = crate::ids::ParseIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|right| right.name() == text).ok_or_else(|| {
            crate::ids::ParseIdError { text: text.into(), wanted: "join, submit, read or operate" }
        })
    }
}

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Not a token, or not signed by this complex.
    #[error("the token is not one of this complex")]
    Foreign,
    /// Its time is over, or a check of an attenuation fails, or it never had the right.
    #[error("the token does not allow {0:?} (any more)")]
    NotAllowed(&'static str),
    /// It could not be made.
    #[error("the token could not be made: {0}")]
    Make(String),
}

/// What a token says once it was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// For whom.
    pub account: AccountId,
    /// What is allowed now.
    pub rights: Vec<Right>,
    /// When it expires, as it was issued.
    pub expires: Time,
    /// Ids under which it, or what it was made from, may have been revoked.
    pub revocation_ids: Vec<Vec<u8>>,
}

impl Holder {
    /// Whether `right` is allowed, or everything is.
    #[must_use]
    pub fn may(&self, right: Right) -> bool {
        self.rights.contains(&right) || self.rights.contains(&Right::Operate)
    }
}

/// A new token of the complex with this key.
///
/// # Errors
/// When the library cannot make it.
pub fn issue(
    root: &SecretKey,
    account: AccountId,
    rights: &[Right],
    expires: Time,
) -> Result<Vec<u8>, TokenError> {
    let fail = |error: biscuit_auth::error::Token| TokenError::Make(error.to_string());
    let key = PrivateKey::from_bytes(&root.to_bytes(), Algorithm::Ed25519)
        .map_err(|error| TokenError::Make(error.to_string()))?;
    let mut code = format!("account({}); expires({});\n", account.0, micros(expires));
    for right in rights {
        code.push_str(&format!("right(\"{}\");\n", right.name()));
    }
    code.push_str(&format!("check if now($now), $now < {};", micros(expires)));
    let builder = BiscuitBuilder::new().code(code).map_err(fail)?;
    builder.build(&KeyPair::from(&key)).and_then(|token| token.to_vec()).map_err(fail)
}

/// Checks a token at `now` and says what it allows.
///
/// # Errors
/// [`TokenError`] when it is foreign or allows nothing now.
pub fn check(root: &PublicKey, token: &[u8], now: Time) -> Result<Holder, TokenError> {
    let token = open(root, token)?;
    let mut rights = Vec::new();
    let mut says = None;
    for right in Right::ALL {
        let facts = format!("now({}); operation(\"{}\");", micros(now), right.name());
        let policy = format!("allow if right(\"{}\"); deny if true;", right.name());
        let limits = AuthorizerLimits {
            max_facts: 1_000,
            max_iterations: 100,
            max_time: Span::millis(500).to_std(),
        };
        let authorizer = AuthorizerBuilder::new()
            .code(facts)
            .and_then(|builder| builder.code(policy))
            .map(|builder| builder.set_limits(limits))
            .and_then(|builder| builder.build(&token));
        let Ok(mut authorizer) = authorizer else { return Err(TokenError::Foreign) };
        if authorizer.authorize().is_ok() {
            rights.push(right);
            let rule = "data($account, $expires) <- account($account), expires($expires)";
            let found: Result<Vec<(i64, i64)>, _> = authorizer.query(rule);
            says = found.ok().and_then(|found| found.first().copied());
        }
    }
    let Some((account, expires)) = says else {
        return Err(TokenError::NotAllowed("anything"));
    };
    Ok(Holder {
        account: AccountId(account.cast_unsigned()),
        rights,
        expires: Time(expires.cast_unsigned()),
        revocation_ids: token.revocation_identifiers(),
    })
}

/// The text form of a token: base64url without padding.
#[must_use]
pub fn to_text(token: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(token)
}

/// The bytes of a token's text form.
#[must_use]
pub fn from_text(text: &str) -> Option<Vec<u8>> {
    if text.len() > TOKEN_BYTES_MAX * 4 / 3 + 4 {
        return None;
    }
    // Biscuit's own tools write padding; both forms are the same token.
    data_encoding::BASE64URL_NOPAD.decode(text.trim().trim_end_matches('=').as_bytes()).ok()
}

fn open(root: &PublicKey, token: &[u8]) -> Result<Biscuit, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Foreign);
    }
    let key = biscuit_auth::PublicKey::from_bytes(&root.0, Algorithm::Ed25519)
        .map_err(|_| TokenError::Foreign)?;
    Biscuit::from(token, key).map_err(|_| TokenError::Foreign)
}

fn micros(time: Time) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> SecretKey {
        SecretKey::from_bytes(&[7; 32])
    }

    #[test]
    fn a_token_allows_what_it_says_until_it_expires() {
        let token =
            issue(&root(), AccountId(100), &[Right::Submit, Right::Read], Time(50)).unwrap();
        assert!(token.len() < 400, "{} bytes", token.len());
        let holder = check(&root().public(), &token, Time(49)).unwrap();
        assert_eq!(holder.account, AccountId(100));
        assert_eq!(holder.rights, [Right::Submit, Right::Read]);
        assert!(!holder.may(Right::Operate) && !holder.may(Right::Join));
        assert_eq!(holder.expires, Time(50));
        assert!(check(&root().public(), &token, Time(50)).is_err());
        let other = SecretKey::from_bytes(&[8; 32]).public();
        assert_eq!(check(&other, &token, Time(1)), Err(TokenError::Foreign));
        assert_eq!(from_text(&to_text(&token)), Some(token));
    }

    #[test]
    fn garbage_is_foreign() {
        for bytes in [&[][..], &[0xff; 100], &[0x0a; 5_000]] {
            assert_eq!(check(&root().public(), bytes, Time(1)), Err(TokenError::Foreign));
        }
        assert_eq!(from_text("not base64 !"), None);
    }
}
