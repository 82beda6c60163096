//! Ed25519 keys: every person, host, server and publisher is one.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signer, SigningKey, Verifier, VerifyingKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::guid::{Text, from_base32, to_base32};
use crate::ids::ParseIdError;

/// A public key: 32 bytes, written as 52 lower-case base32 characters.
///
/// Any 32 bytes can be held; [`PublicKey::verify`] refuses those that are no point of the curve.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Text", into = "Text")]
pub struct PublicKey(pub [u8; 32]);

/// A secret key. Never printed, wiped from memory when dropped.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature(pub [u8; 64]);

/// The signature is not this key's for these bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the signature does not belong to this key and message")]
pub struct BadSignature;

impl SecretKey {
    /// The key made of these 32 bytes, which must come from a cryptographic source.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(bytes))
    }

    /// The bytes, to be kept where only the owner reads.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`; callers put a domain tag in front of it.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl PublicKey {
    /// Checks that `signature` is of `message` by this key.
    ///
    /// # Errors
    /// [`BadSignature`] also when the key itself is no point of the curve.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| BadSignature)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify(message, &signature).map_err(|_| BadSignature)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&to_base32(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        from_base32(text).map(Self).ok_or_else(|| ParseIdError {
            text: text.into(),
            wanted: "a public key: 52 letters and digits",
        })
    }
}

impl From<PublicKey> for Text {
    fn from(key: PublicKey) -> Self {
        Self(key.0)
    }
}

impl From<Text> for PublicKey {
    fn from(text: Text) -> Self {
        Self(text.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_and_message_only() {
        let (key, other) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
        let signature = key.sign(b"pay 5");
        assert_eq!(key.public().verify(b"pay 5", &signature), Ok(()));
        assert_eq!(key.public().verify(b"pay 6", &signature), Err(BadSignature));
        assert_eq!(other.public().verify(b"pay 5", &signature), Err(BadSignature));
    }

    #[test]
    fn the_secret_is_not_printed() {
        let key = SecretKey::from_bytes(&[7; 32]);
        assert!(!format!("{key:?}").contains("7, 7"));
        assert_eq!(key.public().to_string().parse::<PublicKey>(), Ok(key.public()));
    }
}
