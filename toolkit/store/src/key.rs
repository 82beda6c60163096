//! Secrets of one user, all derived from one: the storage secret, which the owner's devices share
//! and a recovery phrase gives back.
//!
//! ```text
//! StorageSecret -+- convergence --- SealSecret of each chunk --- its id, its keys
//!                +- segments ------ SealSecret of the indexes of all segments
//!                +- manifests ----- SealSecret of each manifest = key of a read capability
//!                +- names --------- seed of each write capability
//! ```
//!
//! Convergent within one user: the same chunk has the same secret, so it is stored once, and nobody
//! outside can test whether somebody has a certain file (the attack on global convergence that
//! Tahoe-LAFS describes). Each arrow is BLAKE3 under a fixed context or key; none can be walked
//! back.

use std::fmt;

use zeroize::Zeroize;

const CONVERGENCE: &str = "isos storage 1: convergence";
const SEGMENTS: &str = "isos storage 1: segments";
const MANIFESTS: &str = "isos storage 1: manifests";
const NAMES: &str = "isos storage 1: names";

/// Thirty-two secret bytes: not printed, compared in constant time, wiped when dropped.
#[derive(Clone)]
pub struct Secret([u8; 32]);

/// From which all keys of one user's storage follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageSecret {
    convergence: Secret,
    segments: Secret,
    manifests: Secret,
    names: Secret,
}

/// Opens what is sealed under it. That of a chunk or a manifest is the keyed hash of the plain
/// bytes, so it opens these and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealSecret(Secret);

/// Names a chunk within one user's storage, to find it again; says nothing about its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub [u8; 32]);

impl Secret {
    /// These bytes, which must come from a cryptographic source.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be kept where only the owner reads.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The secret that follows from this one under a context that is fixed in the source.
    #[must_use]
    pub fn derive(&self, context: &str) -> Self {
        Self(blake3::derive_key(context, &self.0))
    }

    /// The secret that follows from this one for `input`.
    #[must_use]
    pub fn keyed(&self, input: &[u8]) -> Self {
        Self(*blake3::keyed_hash(&self.0, input).as_bytes())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        // The hash type compares in constant time.
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl StorageSecret {
    /// The secrets that follow from these bytes, which must come from a cryptographic source.
    #[must_use]
    pub fn new(root: &Secret) -> Self {
        Self {
            convergence: root.derive(CONVERGENCE),
            segments: root.derive(SEGMENTS),
            manifests: root.derive(MANIFESTS),
            names: root.derive(NAMES),
        }
    }

    /// The secret of a chunk with these plain bytes.
    #[must_use]
    pub fn chunk(&self, plain: &[u8]) -> SealSecret {
        SealSecret(self.convergence.keyed(plain))
    }

    /// Seals the indexes of all segments of this user, so that the segments alone are enough to
    /// find every chunk again.
    #[must_use]
    pub fn segment_indexes(&self) -> SealSecret {
        SealSecret(self.segments.clone())
    }

    /// The secret of a manifest with these plain inner bytes.
    #[must_use]
    pub fn manifest(&self, plain: &[u8]) -> SealSecret {
        SealSecret(self.manifests.keyed(plain))
    }

    /// The seed of the write capability of what the owner calls `name`: found again from the
    /// recovery phrase alone.
    #[must_use]
    pub fn name_seed(&self, name: &str) -> Secret {
        self.names.keyed(name.as_bytes())
    }
}

impl SealSecret {
    /// A secret that was handed over in a manifest or a capability.
    #[must_use]
    pub const fn from_secret(secret: Secret) -> Self {
        Self(secret)
    }

    /// As bytes, to be sealed into a manifest.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.0
    }

    /// The name under which its owner finds the chunk again.
    #[must_use]
    pub fn id(&self) -> ChunkId {
        ChunkId(*self.0.keyed(b"id").bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(byte: u8) -> StorageSecret {
        StorageSecret::new(&Secret::new([byte; 32]))
    }

    #[test]
    fn the_same_bytes_have_one_secret_a_user() {
        assert_eq!(user(1).chunk(b"film"), user(1).chunk(b"film"));
        assert_ne!(user(1).chunk(b"film"), user(2).chunk(b"film"));
        assert_ne!(user(1).chunk(b"film"), user(1).chunk(b"film2"));
    }

    #[test]
    fn what_a_secret_is_for_keeps_it_apart() {
        let user = user(1);
        let all = [
            user.chunk(b"x").secret().clone(),
            user.segment_indexes().secret().clone(),
            user.manifest(b"x").secret().clone(),
            user.name_seed("x"),
            Secret::new(user.chunk(b"x").id().0),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one));
        }
    }

    #[test]
    fn derivation_does_not_change() {
        let secret = user(7).chunk(b"golden");
        let hex = data_encoding::HEXLOWER.encode(&secret.id().0[..8]);
        expect_test::expect!["d4fda168325ca349"].assert_eq(&hex);
    }

    #[test]
    fn no_secret_is_printed() {
        let text = format!("{:?} {:?}", user(7), user(7).chunk(b"x"));
        assert!(!text.contains('7'), "{text}");
    }
}
