//! Ed25519 keys: every person, host, server and publisher is one.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signer, SigningKey, Verifier, VerifyingKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec;
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

/// An Ed25519 signature: 128 hexadecimal digits in text, 64 plain bytes on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature(pub [u8; 64]);

impl Serialize for Signature {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_str(&data_encoding::HEXLOWER.encode(&self.0));
        }
        // Serde knows arrays of up to 32.
        let (halves, _) = self.0.as_chunks::<32>();
        (halves[0], halves[1]).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
            let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
            let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
            let wanted = || serde::de::Error::custom("expected 128 hexadecimal digits");
            return bytes.map(Self).ok_or_else(wanted);
        }
        let (first, second) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&first);
        bytes[32..].copy_from_slice(&second);
        Ok(Self(bytes))
    }
}

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

    /// Signs a value: its bytes behind a tag, which says what it is signed as and keeps it apart
    /// from all else that the key signs.
    #[must_use]
    pub fn sign_as<T: Serialize>(&self, tag: &[u8], what: &T) -> Signature {
        self.sign(&tagged(tag, what))
    }

    /// As [`Self::sign_as`], in hexadecimal.
    #[must_use]
    pub fn sign_tagged<T: Serialize>(&self, tag: &[u8], what: &T) -> String {
        data_encoding::HEXLOWER.encode(&self.sign_as(tag, what).0)
    }
}

impl PublicKey {
    /// Whether this is what [`SecretKey::sign_tagged`] says of the same with this key.
    #[must_use]
    pub fn has_signed<T: Serialize>(&self, tag: &[u8], what: &T, signature: &str) -> bool {
        let bytes = data_encoding::HEXLOWER.decode(signature.as_bytes());
        let bytes = bytes.ok().and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
        bytes.is_some_and(|bytes| self.verify_as(tag, what, &Signature(bytes)).is_ok())
    }

    /// Checks that this is what [`SecretKey::sign_as`] says of the same with this key.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify_as<T: Serialize>(
        &self,
        tag: &[u8],
        what: &T,
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        self.verify(&tagged(tag, what), signature)
    }

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

/// The bytes of a value behind a tag: what is signed, wherever values are signed.
pub(crate) fn tagged<T: Serialize>(tag: &[u8], what: &T) -> Vec<u8> {
    let mut bytes = tag.to_vec();
    bytes.extend(codec::encode(what));
    bytes
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
    fn a_value_is_signed_as_what_its_tag_says() {
        let key = SecretKey::from_bytes(&[1; 32]);
        let (public, signature) = (key.public(), key.sign_tagged(b"gift 1\0", &(7, "credits")));
        assert!(public.has_signed(b"gift 1\0", &(7, "credits"), &signature));
        assert!(!public.has_signed(b"loan 1\0", &(7, "credits"), &signature));
        assert!(!public.has_signed(b"gift 1\0", &(8, "credits"), &signature));
        for other in ["", "zz", &signature[2..], &signature.to_uppercase(), &"0".repeat(128)] {
            assert!(!public.has_signed(b"gift 1\0", &(7, "credits"), other));
        }
    }

    #[test]
    fn a_signature_is_digits_in_text_and_bytes_on_the_wire() {
        let signature = SecretKey::from_bytes(&[1; 32]).sign(b"pay 5");
        let json = serde_json::to_string(&signature).unwrap();
        assert_eq!(json.len(), 130);
        assert_eq!(serde_json::from_str::<Signature>(&json).unwrap(), signature);
        assert!(serde_json::from_str::<Signature>("\"00\"").is_err());
        let wire = postcard::to_stdvec(&signature).unwrap();
        assert_eq!(wire, signature.0);
        assert_eq!(postcard::from_bytes::<Signature>(&wire).unwrap(), signature);
    }

    #[test]
    fn the_secret_is_not_printed() {
        let key = SecretKey::from_bytes(&[7; 32]);
        assert!(!format!("{key:?}").contains("7, 7"));
        assert_eq!(key.public().to_string().parse::<PublicKey>(), Ok(key.public()));
    }
}
