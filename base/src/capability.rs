//! Capability tokens: biscuits rooted in the complex's key.
//!
//! A token names an account and what may be done for it. Its holder can attenuate it offline (add
//! checks over `operation`, `account` and `now`) and nobody can widen it. Making one draws
//! randomness from the operating system, the one exception in this crate; checking one is pure.

mod offline;

use biscuit_auth::builder::Algorithm;
use biscuit_auth::builder::{AuthorizerBuilder, BiscuitBuilder};
use biscuit_auth::{Authorizer, AuthorizerLimits, Biscuit, KeyPair, PrivateKey};
use thiserror::Error;

pub use offline::{Block, Narrowing, attenuate, blocks, vouch};

use crate::ids::AccountId;
use crate::key::{PublicKey, SecretKey};
pub use crate::right::{Holder, Right};
use crate::time::{Span, Time};

/// Bytes that a token may have: several attenuations fit.
pub const TOKEN_BYTES_MAX: usize = 4_096;

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Not a token, or not signed by this complex.
    #[error("the token is not one of this complex")]
    Foreign,
    /// Its time is over, or a check of an attenuation fails.
    #[error(
        "the token allows nothing now: its time is over, or it was made for others; `isos token \
         inspect` shows its terms, whoever gave it makes another"
    )]
    NotAllowed,
    /// It could not be made.
    #[error("the token could not be made: {0}")]
    Make(String),
}

/// What a new token says.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// For whom.
    pub account: AccountId,
    /// What is allowed.
    pub rights: &'a [Right],
    /// Now.
    pub issued: Time,
    /// When it ends.
    pub expires: Time,
    /// The key of the account whose holder wants it, if that is who wants it.
    pub key: Option<PublicKey>,
}

/// A new token of the complex with this key.
///
/// # Errors
/// When the library cannot make it.
pub fn issue(root: &SecretKey, terms: &Terms<'_>) -> Result<Vec<u8>, TokenError> {
    let fail = |error: biscuit_auth::error::Token| TokenError::Make(error.to_string());
    let key = PrivateKey::from_bytes(&root.to_bytes(), Algorithm::Ed25519)
        .map_err(|error| TokenError::Make(error.to_string()))?;
    let Terms { account, rights, issued, expires, key: by } = terms;
    let mut code = format!("account({}); expires({});\n", account.0, micros(*expires));
    code.push_str(&format!("issued({});\n", micros(*issued)));
    if let Some(by) = by {
        code.push_str(&format!("key(\"{by}\");\n"));
    }
    for right in *rights {
        code.push_str(&format!("right(\"{}\");\n", right.name()));
    }
    code.push_str(&format!("check if now($now), $now < {};", micros(*expires)));
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
    let mut said = None;
    for right in Right::ALL {
        let facts = format!("now({}); operation(\"{}\");", micros(now), right.name());
        let policy = format!("allow if right(\"{}\"); deny if true;", right.name());
        let authorizer = AuthorizerBuilder::new()
            .code(facts)
            .and_then(|builder| builder.code(policy))
            .map(|builder| builder.set_limits(limits()))
            .and_then(|builder| builder.build(&token));
        let Ok(mut authorizer) = authorizer else { return Err(TokenError::Foreign) };
        if authorizer.authorize().is_ok() {
            rights.push(right);
            said = Said::of(&mut authorizer);
        }
    }
    let said = said.ok_or(TokenError::NotAllowed)?;
    said.holder(&token, rights)
}

/// What the complex said of a token when it made it, whether or not it allows anything now: as much
/// as it takes to revoke it. The holder has no right by this.
///
/// # Errors
/// [`TokenError::Foreign`].
pub fn identify(root: &PublicKey, token: &[u8]) -> Result<Holder, TokenError> {
    let token = open(root, token)?;
    let authorizer = AuthorizerBuilder::new().set_limits(limits()).build(&token);
    let said = authorizer.ok().and_then(|mut authorizer| Said::of(&mut authorizer));
    said.ok_or(TokenError::Foreign)?.holder(&token, Vec::new())
}

/// What looking at a token may cost.
fn limits() -> AuthorizerLimits {
    AuthorizerLimits { max_facts: 1_000, max_iterations: 100, max_time: Span::millis(500).to_std() }
}

/// What the complex's own block says: nobody can say this of their own token.
struct Said {
    account: i64,
    expires: i64,
    /// Those of earlier versions do not say.
    issued: Option<i64>,
    key: Option<String>,
}

impl Said {
    fn of(authorizer: &mut Authorizer) -> Option<Self> {
        let rule = "data($account, $expires) <- account($account), expires($expires)";
        let found: Result<Vec<(i64, i64)>, _> = authorizer.query(rule);
        let (account, expires) = found.ok()?.first().copied()?;
        let issued: Result<Vec<(i64,)>, _> = authorizer.query("data($at) <- issued($at)");
        let issued = issued.ok().and_then(|found| Some(found.first()?.0));
        let key: Result<Vec<(String,)>, _> = authorizer.query("data($key) <- key($key)");
        let key = key.ok().and_then(|mut found| Some(found.pop()?.0));
        Some(Self { account, expires, issued, key })
    }

    fn holder(self, token: &Biscuit, rights: Vec<Right>) -> Result<Holder, TokenError> {
        let key = self.key.map(|key| key.parse::<PublicKey>()).transpose();
        Ok(Holder {
            account: AccountId(self.account.cast_unsigned()),
            rights,
            expires: Time(self.expires.cast_unsigned()).min(narrowed_until(token)),
            issued: Time(self.issued.unwrap_or(0).cast_unsigned()),
            key: key.map_err(|_| TokenError::Foreign)?,
            revocation_ids: token.revocation_identifiers(),
        })
    }
}

/// When a token ends that was narrowed: the first of the ends that its blocks say, in the words of
/// [`attenuate`] and [`vouch`]. What others write in other words holds at each request all the
/// same.
fn narrowed_until(token: &Biscuit) -> Time {
    let blocks = (0..token.block_count()).filter_map(|n| token.print_block_source(n).ok());
    let ends = blocks.flat_map(|says| says.lines().filter_map(end_of).collect::<Vec<_>>());
    ends.min().unwrap_or(Time(u64::MAX))
}

/// The end that a check sets, if that is all that it does.
fn end_of(check: &str) -> Option<Time> {
    let end = check.trim().strip_prefix("check if now($now), $now < ")?.strip_suffix(';')?;
    end.parse().ok().map(Time)
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

    fn terms(rights: &[Right]) -> Terms<'_> {
        let (issued, expires) = (Time(5), Time(50));
        Terms { account: AccountId(100), rights, issued, expires, key: None }
    }

    #[test]
    fn a_token_says_when_and_by_which_key_it_was_made_and_nobody_else_can() {
        let key = Some(SecretKey::from_bytes(&[9; 32]).public());
        let token = issue(&root(), &Terms { key, ..terms(&[Right::Read]) }).unwrap();
        let holder = check(&root().public(), &token, Time(6)).unwrap();
        assert_eq!((holder.issued, holder.key), (Time(5), key));
        let plain = issue(&root(), &terms(&[Right::Read])).unwrap();
        let block = biscuit_auth::builder::BlockBuilder::new();
        let block = block.code("issued(40); key(\"a\"); right(\"operate\");").unwrap();
        let widened = biscuit_auth::UnverifiedBiscuit::from(&plain).unwrap().append(block);
        let widened = widened.unwrap().to_vec().unwrap();
        let holder = check(&root().public(), &widened, Time(6)).unwrap();
        assert_eq!((holder.issued, holder.key), (Time(5), None));
        assert_eq!(holder.rights, [Right::Read]);
    }

    #[test]
    fn a_token_allows_what_it_says_until_it_expires() {
        let token = issue(&root(), &terms(&[Right::Submit, Right::Read])).unwrap();
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
    fn a_token_that_ended_is_known_by_its_ids_and_allows_nothing() {
        let token = issue(&root(), &terms(&[Right::Join])).unwrap();
        let narrowed =
            attenuate(&token, &Narrowing { until: Some(Time(9)), ..Narrowing::default() });
        let narrowed = narrowed.unwrap();
        let good = check(&root().public(), &narrowed, Time(6)).unwrap();
        assert!(check(&root().public(), &narrowed, Time(99)).is_err());
        let known = identify(&root().public(), &narrowed).unwrap();
        assert_eq!(known, Holder { rights: Vec::new(), ..good });
        assert!(Right::ALL.iter().all(|right| !known.may(*right)));
        let above = identify(&root().public(), &token).unwrap().revocation_ids;
        assert!(known.revocation_ids.starts_with(&above) && known.revocation_ids.len() == 2);
        let other = SecretKey::from_bytes(&[8; 32]).public();
        assert_eq!(identify(&other, &narrowed), Err(TokenError::Foreign));
    }

    #[test]
    fn garbage_is_foreign() {
        for bytes in [&[][..], &[0xff; 100], &[0x0a; 5_000]] {
            assert_eq!(check(&root().public(), bytes, Time(1)), Err(TokenError::Foreign));
        }
        assert_eq!(from_text("not base64 !"), None);
    }
}
