//! A recovery phrase: words on paper that give the storage secret back on a new machine.
//!
//! ```text
//! 24 words (BIP 39, English) = 256 bits and a checksum
//! root secret   = BLAKE3 derive_key("isos storage 1: recovery phrase", those bits)
//! StorageSecret = StorageSecret::new(root secret)
//! ```
//!
//! Twelve words are read as well, 128 bits: so the phrase that gives an account back can be the one
//! that gives its backups back. The contexts differ, so neither secret says anything of the other.

use bip39::Mnemonic;
use isos_store::key::{Secret, StorageSecret};
use thiserror::Error;
use zeroize::Zeroize;

const CONTEXT: &str = "isos storage 1: recovery phrase";
/// Bytes of a new phrase: 24 words.
const NEW_BYTES: usize = 32;
/// Bytes of phrases that are read: 12 and 24 words.
const BYTES: [usize; 2] = [16, 32];
/// Characters of the longest phrase, with room.
const CHARS_MAX: usize = 1_024;

/// Words that give the storage secret. Not printed but by [`Phrase::words`].
pub struct Phrase(Mnemonic);

/// Why words are no recovery phrase.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PhraseError {
    /// A wrong word, or all right words in a wrong order.
    #[error("this is no recovery phrase: {0}")]
    Words(String),
    /// Too few or too many.
    #[error("a recovery phrase of a storage has 24 words, or the 12 of an account")]
    Length,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
}

impl Phrase {
    /// A new one, from the system's randomness.
    ///
    /// # Errors
    /// [`PhraseError::Random`].
    pub fn generate() -> Result<Self, PhraseError> {
        let mut bytes = [0; NEW_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| PhraseError::Random(error.to_string()))?;
        let phrase = Self::from_bytes(&bytes);
        bytes.zeroize();
        phrase
    }

    /// The phrase that stands for these bytes, 16 or 32.
    ///
    /// # Errors
    /// [`PhraseError::Length`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PhraseError> {
        if !BYTES.contains(&bytes.len()) {
            return Err(PhraseError::Length);
        }
        Mnemonic::from_entropy(bytes).map(Self).map_err(|_| PhraseError::Length)
    }

    /// Reads what somebody wrote down: letters of any size, any space between.
    ///
    /// # Errors
    /// [`PhraseError`].
    pub fn parse(text: &str) -> Result<Self, PhraseError> {
        if text.len() > CHARS_MAX {
            return Err(PhraseError::Length);
        }
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        let read = Mnemonic::parse_normalized(&words.join(" "));
        let phrase = read.map_err(|error| PhraseError::Words(error.to_string()))?;
        let (mut bytes, length) = phrase.to_entropy_array();
        bytes.zeroize();
        if BYTES.contains(&length) { Ok(Self(phrase)) } else { Err(PhraseError::Length) }
    }

    /// The words, to be shown once.
    #[must_use]
    pub fn words(&self) -> String {
        self.0.to_string()
    }

    /// The bytes for which the words stand: 16 or 32. Secret, as the words are.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (mut bytes, length) = self.0.to_entropy_array();
        let given = bytes[..length].to_vec();
        bytes.zeroize();
        given
    }

    /// From which [`StorageSecret`] follows; what a machine keeps instead of the words.
    #[must_use]
    pub fn root(&self) -> Secret {
        let (mut bytes, length) = self.0.to_entropy_array();
        let root = Secret::new(blake3::derive_key(CONTEXT, &bytes[..length]));
        bytes.zeroize();
        root
    }

    /// From which all keys of the owner's storage follow.
    #[must_use]
    pub fn secret(&self) -> StorageSecret {
        StorageSecret::new(&self.root())
    }
}

impl std::fmt::Debug for Phrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Phrase(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_has_24_words_and_gives_the_secret_back() {
        let phrase = Phrase::generate().unwrap();
        assert_eq!(phrase.words().split(' ').count(), 24);
        let written = format!(" {} \n", phrase.words().to_uppercase().replace(' ', "  "));
        assert_eq!(Phrase::parse(&written).unwrap().secret(), phrase.secret());
        assert_ne!(Phrase::generate().unwrap().secret(), phrase.secret());
        assert_eq!(format!("{phrase:?}"), "Phrase(..)");
    }

    #[test]
    fn an_accounts_twelve_words_are_read_and_no_other_number() {
        for length in [16, 32] {
            let phrase = Phrase::from_bytes(&vec![7; length]).unwrap();
            assert_eq!(Phrase::parse(&phrase.words()).unwrap().root(), phrase.root());
        }
        let fifteen = Mnemonic::from_entropy(&[7; 20]).unwrap().to_string();
        assert_eq!(Phrase::parse(&fifteen).unwrap_err(), PhraseError::Length);
        assert!(matches!(Phrase::parse("abandon ability"), Err(PhraseError::Words(_))));
        assert_eq!(Phrase::parse(&"zoo ".repeat(999)).unwrap_err(), PhraseError::Length);
    }

    #[test]
    fn a_wrong_word_or_order_is_found() {
        let words = Phrase::from_bytes(&[7; 32]).unwrap().words();
        let mut words: Vec<&str> = words.split(' ').collect();
        words.swap(0, 23);
        assert!(matches!(Phrase::parse(&words.join(" ")), Err(PhraseError::Words(_))));
    }

    /// Papers in drawers depend on it.
    #[test]
    fn the_derivation_does_not_change() {
        let root = Phrase::from_bytes(&[7; 32]).unwrap().root();
        let expected = blake3::derive_key("isos storage 1: recovery phrase", &[7; 32]);
        assert_eq!(root.bytes(), &expected);
        expect_test::expect!["[8e, 81, e8, 27, c6, fe, ec, 36]"]
            .assert_eq(&format!("{:02x?}", &root.bytes()[..8]));
    }
}
