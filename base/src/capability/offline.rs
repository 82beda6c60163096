//! What the holder of a token can do without asking anybody: read it, narrow it, hand it on to
//! those for whom another key vouches, and vouch.
//!
//! The signature of the complex is not checked here, as the holder need not know its key: a token
//! that was no good stays so.

use biscuit_auth::builder::{Algorithm, BlockBuilder};
use biscuit_auth::{PrivateKey, ThirdPartyRequest, UnverifiedBiscuit};

use super::{Right, TOKEN_BYTES_MAX, TokenError, micros};
use crate::key::{PublicKey, SecretKey};
use crate::time::Time;

/// One of the blocks that a token is made of, each bound to those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What revokes it, and every token made from it.
    pub id: Vec<u8>,
    /// Its facts and checks, as Datalog.
    pub says: Vec<String>,
    /// The key that vouches with it, if it is not the complex's or its holder's.
    pub by: Option<PublicKey>,
}

/// The blocks of a token, the complex's first.
///
/// # Errors
/// When `token` is not one.
pub fn blocks(token: &[u8]) -> Result<Vec<Block>, TokenError> {
    let token = read(token)?;
    let by = token.external_public_keys();
    let blocks = token.revocation_identifiers().into_iter().zip(by).enumerate();
    blocks
        .map(|(index, (id, by))| {
            let text = token.print_block_source(index).map_err(|_| TokenError::Foreign)?;
            let says = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let by = by.and_then(|key| key.to_bytes().try_into().ok()).map(PublicKey);
            Ok(Block { id, says: says.map(ToOwned::to_owned).collect(), by })
        })
        .collect()
}

/// How a token is narrowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Narrowing {
    /// Only these rights; all that it has, if not said.
    pub rights: Option<Vec<Right>>,
    /// Only until then.
    pub until: Option<Time>,
    /// Only together with a block by which this key vouches for whoever holds it: see [`vouch`].
    pub vouched_by: Option<PublicKey>,
}

/// A token that allows less. Needs no key.
///
/// # Errors
/// When `token` is not one, or becomes longer than a token may be.
pub fn attenuate(token: &[u8], narrowing: &Narrowing) -> Result<Vec<u8>, TokenError> {
    let token = read(token)?;
    let mut code = String::new();
    if let Some(rights) = &narrowing.rights {
        let names: Vec<String> = rights.iter().map(|it| format!("\"{}\"", it.name())).collect();
        let names = names.join(", ");
        code.push_str(&format!("check if operation($what), {{{names}}}.contains($what);\n"));
    }
    if let Some(until) = narrowing.until {
        code.push_str(&format!("check if now($now), $now < {};\n", micros(until)));
    }
    if let Some(key) = narrowing.vouched_by {
        let key = data_encoding::HEXLOWER.encode(&key.0);
        code.push_str(&format!("check if member($who) trusting ed25519/{key};\n"));
    }
    let block = BlockBuilder::new().code(code).map_err(fail)?;
    bounded(token.append(block).and_then(|token| token.to_vec()).map_err(fail)?)
}

/// The same token, with a block by which `key` vouches for whoever holds it from now on, under a
/// name for people, until then. The block holds for this token and those made from it alone.
///
/// # Errors
/// When `token` is not one, the name has a character that a name does not have, or the token
/// becomes longer than a token may be.
pub fn vouch(token: &[u8], key: &SecretKey, who: &str, until: Time) -> Result<Vec<u8>, TokenError> {
    let plain = |c: char| c.is_alphanumeric() || " .-_@".contains(c);
    if who.is_empty() || who.len() > 64 || !who.chars().all(plain) {
        return Err(TokenError::Make(format!(
            "{who:?} is no name: use letters, digits, spaces and .-_@, at most 64"
        )));
    }
    let token = read(token)?;
    let code = format!("member(\"{who}\");\ncheck if now($now), $now < {};\n", micros(until));
    let block = BlockBuilder::new().code(code).map_err(fail)?;
    let private = PrivateKey::from_bytes(&key.to_bytes(), Algorithm::Ed25519)
        .map_err(|error| TokenError::Make(error.to_string()))?;
    let request: ThirdPartyRequest = token.third_party_request().map_err(fail)?;
    let block = request.create_block(&private, block).map_err(fail)?;
    let block = block.serialize().map_err(fail)?;
    bounded(token.append_third_party(&block).and_then(|it| it.to_vec()).map_err(fail)?)
}

fn read(token: &[u8]) -> Result<UnverifiedBiscuit, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Foreign);
    }
    UnverifiedBiscuit::from(token).map_err(|_| TokenError::Foreign)
}

fn bounded(token: Vec<u8>) -> Result<Vec<u8>, TokenError> {
    if token.len() <= TOKEN_BYTES_MAX {
        return Ok(token);
    }
    let length = token.len();
    Err(TokenError::Make(format!("it would have {length} bytes, of at most {TOKEN_BYTES_MAX}")))
}

fn fail(error: biscuit_auth::error::Token) -> TokenError {
    TokenError::Make(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{Terms, check, issue};
    use super::*;
    use crate::ids::AccountId;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_bytes(&[byte; 32])
    }

    fn wide() -> Vec<u8> {
        let (issued, expires) = (Time(0), Time(50));
        let account = AccountId(100);
        let terms = Terms { account, rights: &Right::ALL, issued, expires, key: None };
        issue(&key(7), &terms).unwrap()
    }

    #[test]
    fn attenuation_only_narrows() {
        let public = key(7).public();
        let narrowing = |rights: &[Right], until| Narrowing {
            rights: Some(rights.to_vec()),
            until: Some(Time(until)),
            vouched_by: None,
        };
        let narrow = attenuate(&wide(), &narrowing(&[Right::Read], 20)).unwrap();
        let holder = check(&public, &narrow, Time(10)).unwrap();
        assert_eq!((holder.rights, holder.expires), (vec![Right::Read], Time(20)));
        let whole = check(&public, &wide(), Time(10)).unwrap();
        assert_eq!(whole.expires, Time(50));
        assert!(check(&public, &narrow, Time(30)).is_err());
        let again = attenuate(&narrow, &narrowing(&Right::ALL, 90)).unwrap();
        let again = check(&public, &again, Time(10)).unwrap();
        assert_eq!((again.rights, again.expires), (vec![Right::Read], Time(20)));
        let ids = whole.revocation_ids;
        assert_eq!(ids.len(), 1);
        assert_eq!(holder.revocation_ids.len(), 2);
        let only_rights = Narrowing { rights: Some(vec![Right::Join]), ..Narrowing::default() };
        let narrow = attenuate(&wide(), &only_rights).unwrap();
        assert_eq!(check(&public, &narrow, Time(49)).unwrap().rights, [Right::Join]);
    }

    #[test]
    fn a_delegated_token_is_good_with_the_other_keys_word_alone() {
        let (public, club, stranger) = (key(7).public(), key(8), key(9));
        let narrowing = Narrowing {
            rights: Some(vec![Right::Submit]),
            until: Some(Time(40)),
            vouched_by: Some(club.public()),
        };
        let delegated = attenuate(&wide(), &narrowing).unwrap();
        assert!(check(&public, &delegated, Time(1)).is_err(), "nobody has vouched");
        let forged = vouch(&delegated, &stranger, "mallory", Time(30)).unwrap();
        assert!(check(&public, &forged, Time(1)).is_err(), "the wrong key has vouched");
        let claimed = BlockBuilder::new().code("member(\"mallory\");").unwrap();
        let claimed = read(&delegated).unwrap().append(claimed).unwrap().to_vec().unwrap();
        assert!(check(&public, &claimed, Time(1)).is_err(), "a holder cannot vouch for himself");
        let ours = vouch(&delegated, &club, "anna@club", Time(30)).unwrap();
        let holder = check(&public, &ours, Time(1)).unwrap();
        assert_eq!((holder.account, holder.rights), (AccountId(100), vec![Right::Submit]));
        assert_eq!(holder.expires, Time(30), "the first of all ends");
        assert!(check(&public, &ours, Time(30)).is_err(), "the club's word has an end");
        let blocks = blocks(&ours).unwrap();
        assert_eq!(blocks.len(), 3);
        assert_eq!(blocks[2].by, Some(club.public()));
        assert_eq!(blocks[2].says[0], "member(\"anna@club\");");
        assert_eq!(holder.revocation_ids[2], blocks[2].id);
        let other = attenuate(&wide(), &narrowing).unwrap();
        let stolen = read(&other).unwrap();
        assert_eq!(stolen.block_count(), 2, "the club's block does not come with another token");
        assert!(vouch(&delegated, &club, "x\"); right(\"operate", Time(30)).is_err());
    }

    #[test]
    fn a_token_does_not_grow_without_bound() {
        let narrowing = Narrowing { until: Some(Time(9)), ..Narrowing::default() };
        let mut token = wide();
        let error = loop {
            match attenuate(&token, &narrowing) {
                Ok(longer) => token = longer,
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("at most 4096"), "{error}");
        assert!(blocks(&[0xff; 100]).is_err());
        assert!(blocks(&[0; 5_000]).is_err());
    }
}
