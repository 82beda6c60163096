//! An account's keys: who may act for it without a token, and how somebody proves to have one.
//!
//! A person has a key on each machine. Over `isos/api/1` the connection itself proves the key of
//! whoever called; elsewhere a key signs a [`Claim`], which is good for one complex, for a
//! minute, and once. Not here: how keys are kept, which is each machine's own affair.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::guid::Guid;
use crate::ids::AccountId;
use crate::key::{PublicKey, SecretKey, tagged};
use crate::limits::NAME_CHARS_MAX;
use crate::right::Right;
use crate::time::{Span, Time};

/// In front of what a key signs.
const TAG: &[u8] = b"isos key claim 1\0";
/// In front of what a key signs that is to be an account's when it is recovered.
const CONSENT_TAG: &[u8] = b"isos recovery consent 1\0";
/// In front of what a recovery key is derived from.
const RECOVERY_CONTEXT: &str = "isos 2026 recovery key 1";

/// Keys of one account.
pub const KEYS_MAX: usize = 32;
/// A claim is good for this long before and after the time in it: clocks differ.
pub const CLAIM_FOR: Span = Span::secs(60);
/// It is remembered so long that a claim was shown.
const REMEMBERED_FOR: Span = Span::secs(600);

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// It acts for the account.
    Person,
    /// It does nothing but ask for the account when the others are lost.
    Recovery,
}

/// A key of an account, for ever: one that was removed stays, marked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The key. It is of one account at a time.
    pub key: PublicKey,
    /// Whose.
    pub account: AccountId,
    /// Which one, for people: laptop, phone, work.
    pub label: String,
    /// What it allows: no more than whoever added it had.
    pub rights: Vec<Right>,
    /// What for.
    pub kind: KeyKind,
    /// Since when. What was made with it before, when it was somebody else's, is void.
    pub added: Time,
    /// Until when, if it is good no more.
    pub removed: Option<Time>,
}

/// What of an account's rights is not in its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyringRecord {
    /// Whose.
    pub account: AccountId,
    /// Tokens that were made before are void.
    pub void_before: Time,
    /// Somebody who has the recovery phrase wants the account.
    pub asked: Option<Asked>,
}

/// A recovery that waits, so that those who have the present keys can say no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Asked {
    /// The key that is to be the account's only one.
    pub key: PublicKey,
    /// Its label.
    pub label: String,
    /// When it was asked for.
    pub at: Time,
    /// When it will be done.
    pub due: Time,
}

/// What a key says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// To which complex: it is no good at another.
    pub complex: PublicKey,
    /// The key that signs.
    pub key: PublicKey,
    /// When.
    pub at: Time,
    /// Drawn anew each time, so that no two claims are the same.
    pub nonce: Guid,
    /// What it wants.
    pub want: Want,
}

/// What a key wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Want {
    /// A token for some time.
    Login,
    /// To be a key of the account whose right comes with the request: nobody can take the key of
    /// another into their own account.
    Belong,
    /// The account, for another key: this one is its recovery key.
    Recover {
        /// The other key.
        key: PublicKey,
        /// Its label.
        label: String,
        /// Its own word that it wants this, in hexadecimal: see [`Claim::agreed_by`].
        #[serde(default)]
        consent: String,
    },
    /// To be called by another key from now on: this one is a host's.
    Rotate {
        /// The other key.
        key: PublicKey,
        /// Its own [`consent`](crate::rotation::consent), in hexadecimal.
        consent: String,
    },
}

/// A claim with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignedClaim {
    /// What is said.
    pub claim: Claim,
    /// The Ed25519 signature of its key, in hexadecimal.
    pub signature: String,
}

/// Why a claim is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClaimError {
    /// It was made for another complex.
    #[error("the claim is for the complex {0}, not for this one")]
    OtherComplex(PublicKey),
    /// It is too old, or not of this time yet.
    #[error(
        "the claim is of {said}, it is {now}: it is good for {CLAIM_FOR}; is the clock \
         right?"
    )]
    Time {
        /// The time in it.
        said: Time,
        /// The time here.
        now: Time,
    },
    /// The signature does not fit.
    #[error("the signature is not that key's, or not of this claim")]
    Signature,
}

impl Claim {
    /// The claim of a recovery key with the word of the key that it wants the account for, so that
    /// nobody's key comes to an account that its holder does not know.
    #[must_use]
    pub fn agreed_by(mut self, new: &SecretKey) -> Self {
        let word = new.sign_tagged(CONSENT_TAG, &self.without_consent());
        if let Want::Recover { consent, .. } = &mut self.want {
            *consent = word;
        }
        self
    }

    /// Whether the key that the account is wanted for has agreed to this very claim.
    #[must_use]
    pub fn is_agreed(&self) -> bool {
        let Want::Recover { key, consent, .. } = &self.want else { return false };
        key.has_signed(CONSENT_TAG, &self.without_consent(), consent)
    }

    /// What the key signs that the account is wanted for: all of the claim but its own word.
    fn without_consent(&self) -> Self {
        let mut plain = self.clone();
        if let Want::Recover { consent, .. } = &mut plain.want {
            consent.clear();
        }
        plain
    }

    /// The claim with the signature of its key.
    #[must_use]
    pub fn sign(mut self, key: &SecretKey) -> SignedClaim {
        self.key = key.public();
        let signature = key.sign_tagged(TAG, &self);
        SignedClaim { signature, claim: self }
    }
}

impl SignedClaim {
    /// Checks that the key has said this, to this complex, now. Whether it says it for the first
    /// time is for those who keep [`SignedClaim::id`].
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn check(&self, complex: &PublicKey, now: Time) -> Result<(), ClaimError> {
        let Claim { complex: of, key, at, .. } = &self.claim;
        if of != complex {
            return Err(ClaimError::OtherComplex(*of));
        }
        if at.since(now).max(now.since(*at)) > CLAIM_FOR {
            return Err(ClaimError::Time { said: *at, now });
        }
        let fits = key.has_signed(TAG, &self.claim, &self.signature);
        if fits { Ok(()) } else { Err(ClaimError::Signature) }
    }

    /// What tells this claim from every other.
    #[must_use]
    pub fn id(&self) -> Guid {
        Guid::of(&tagged(TAG, &self.claim))
    }

    /// Until when it is to be remembered that it was shown: longer than it is good, since the clock
    /// of the server that leads next may be behind.
    #[must_use]
    pub fn until(&self) -> Time {
        self.claim.at + REMEMBERED_FOR
    }
}

/// The key that stands for a recovery phrase, by the entropy that its words say.
#[must_use]
pub fn recovery_key(entropy: &[u8]) -> SecretKey {
    SecretKey::from_bytes(&blake3::derive_key(RECOVERY_CONTEXT, entropy))
}

/// Whether people can tell a key by this label.
///
/// # Errors
/// What is wrong with it.
pub fn check_label(label: &str) -> Result<(), String> {
    let chars = label.chars().count();
    if chars == 0 || chars > NAME_CHARS_MAX || label.chars().any(char::is_control) {
        return Err(format!("a label has 1 to {NAME_CHARS_MAX} characters, such as \"laptop\""));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(want: Want) -> Claim {
        let (complex, key) = (PublicKey([5; 32]), PublicKey([0; 32]));
        Claim { complex, key, at: Time(1_000_000_000), nonce: Guid([9; 32]), want }
    }

    #[test]
    fn a_claim_is_believed_at_its_complex_in_its_minute() {
        let key = SecretKey::from_bytes(&[1; 32]);
        let signed = claim(Want::Login).sign(&key);
        let (at, complex) = (signed.claim.at, signed.claim.complex);
        assert_eq!(signed.check(&complex, at + CLAIM_FOR), Ok(()));
        let late = signed.check(&complex, at + CLAIM_FOR + Span(1));
        assert!(matches!(late, Err(ClaimError::Time { .. })));
        let early = signed.check(&complex, Time(at.0 - CLAIM_FOR.0 - 1));
        assert!(matches!(early, Err(ClaimError::Time { .. })));
        let elsewhere = signed.check(&PublicKey([6; 32]), at);
        assert!(matches!(elsewhere, Err(ClaimError::OtherComplex(_))));
    }

    #[test]
    fn what_the_key_has_not_said_is_not_believed() {
        let signed = claim(Want::Login).sign(&SecretKey::from_bytes(&[1; 32]));
        let (at, complex) = (signed.claim.at, signed.claim.complex);
        let mut other = signed.clone();
        other.claim.want = Want::Belong;
        assert_eq!(other.check(&complex, at), Err(ClaimError::Signature));
        let mut other = signed.clone();
        other.claim.key = SecretKey::from_bytes(&[2; 32]).public();
        assert_eq!(other.check(&complex, at), Err(ClaimError::Signature));
        let mut other = signed.clone();
        other.claim.nonce.0[0] ^= 1;
        assert_eq!(other.check(&complex, at), Err(ClaimError::Signature));
        assert_ne!(other.id(), signed.id());
        for signature in ["", "zz", &"0".repeat(128), &signed.signature[2..]] {
            let other = SignedClaim { signature: signature.into(), ..signed.clone() };
            assert_eq!(other.check(&complex, at), Err(ClaimError::Signature));
        }
    }

    #[test]
    fn a_key_agrees_to_one_claim_of_one_recovery_key() {
        let (phrase, new) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
        let want = |n: u8, label: &str| Want::Recover {
            key: SecretKey::from_bytes(&[n; 32]).public(),
            label: label.into(),
            consent: String::new(),
        };
        let asked = Claim { key: phrase.public(), ..claim(want(2, "new")) };
        assert!(!asked.is_agreed(), "nobody has asked it");
        let agreed = asked.clone().agreed_by(&new);
        assert!(agreed.is_agreed());
        let signed = agreed.clone().sign(&phrase);
        assert!(signed.claim.is_agreed() && signed.check(&asked.complex, asked.at).is_ok());
        assert!(!asked.clone().agreed_by(&phrase).is_agreed(), "another key's word");
        let word = |claim: &Claim| match &claim.want {
            Want::Recover { consent, .. } => consent.clone(),
            _ => String::new(),
        };
        let with = |claim: Claim, want: Want| {
            let Want::Recover { key, label, .. } = want else { unreachable!("it recovers") };
            Claim { want: Want::Recover { key, label, consent: word(&agreed) }, ..claim }
        };
        for other in [
            with(Claim { complex: PublicKey([6; 32]), ..asked.clone() }, want(2, "new")),
            with(Claim { key: PublicKey([7; 32]), ..asked.clone() }, want(2, "new")),
            with(Claim { at: asked.at + Span(1), ..asked.clone() }, want(2, "new")),
            with(Claim { nonce: Guid([8; 32]), ..asked.clone() }, want(2, "new")),
            with(asked.clone(), want(2, "old")),
            with(asked.clone(), want(3, "new")),
        ] {
            assert!(!other.is_agreed(), "{other:?}");
        }
        assert!(!claim(Want::Login).agreed_by(&new).is_agreed());
    }

    #[test]
    fn a_phrase_is_one_key_for_ever() {
        let key = recovery_key(&[7; 16]).public();
        assert_eq!(key, recovery_key(&[7; 16]).public());
        assert_ne!(key, recovery_key(&[8; 16]).public());
    }

    #[test]
    fn a_label_fits_on_a_line() {
        assert!(check_label("laptop").is_ok());
        for label in ["", "a\nb", &"x".repeat(65)] {
            assert!(check_label(label).is_err());
        }
    }
}
