//! A host with another key: the old key says which, the new one agrees.
//!
//! The old key signs a [`Claim`] that wants [`Want::Rotate`]; in it stands the word of the new key,
//! so that nobody can make the key of somebody else their host's.
//!
//! [`Claim`]: crate::keyring::Claim
//! [`Want::Rotate`]: crate::keyring::Want::Rotate

use crate::key::{PublicKey, SecretKey};

/// In front of what the new key signs.
const TAG: &[u8] = b"isos key consent 1\0";

/// The word of a new key, in hexadecimal: it takes the place of `old` at this complex.
#[must_use]
pub fn consent(new: &SecretKey, complex: &PublicKey, old: &PublicKey) -> String {
    new.sign_tagged(TAG, &(complex, old, &new.public()))
}

/// Whether this is the word of the key `new`.
#[must_use]
pub fn consents(new: &PublicKey, complex: &PublicKey, old: &PublicKey, word: &str) -> bool {
    new.has_signed(TAG, &(complex, old, new), word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_takes_the_place_of_one_old_key_at_one_complex() {
        let key = |n| SecretKey::from_bytes(&[n; 32]);
        let (complex, old, new) = (key(1).public(), key(2).public(), key(3));
        let word = consent(&new, &complex, &old);
        assert!(consents(&new.public(), &complex, &old, &word));
        assert!(!consents(&key(4).public(), &complex, &old, &word));
        assert!(!consents(&new.public(), &old, &old, &word), "another complex");
        assert!(!consents(&new.public(), &complex, &key(5).public(), &word), "another old key");
        for word in ["", "zz", &word[2..], &"0".repeat(128)] {
            assert!(!consents(&new.public(), &complex, &old, word));
        }
    }
}
