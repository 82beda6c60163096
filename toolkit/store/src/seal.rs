//! Sealing: plain bytes become a record that only their secret opens, smaller if they compress.
//!
//! ```text
//! record = form: u8 | nonce: 12 bytes | ciphertext | tag: 16 bytes
//! form   = cipher in the low four bits, compression in the high four
//! ```
//!
//! The form and the plain length are authenticated. AES-256-GCM is chosen where the CPU has
//! instructions for it (10 GB/s a core), else ChaCha20-Poly1305; every program opens both.
//!
//! The key follows from the secret and the cipher. A nonce must not be used twice under a key for
//! different bytes. A chunk's secret is the hash of its plain bytes, so uncompressed there is one
//! message a key, and the nonce follows from the secret alone. Compressed bytes differ between
//! versions and levels of zstd, and other secrets seal more than one message: there the nonce is a
//! keyed hash of the very bytes that are encrypted, as in SIV modes.

use std::fmt;

use ring::aead::{self, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use thiserror::Error;

use crate::key::{SealSecret, Secret};

/// Bytes of a record in front of the ciphertext.
const HEAD_BYTES: usize = 1 + NONCE_LEN;
/// Bytes that sealing adds.
pub const OVERHEAD_BYTES: usize = HEAD_BYTES + 16;
/// The level of zstd: its default, the last that is much faster than a disk.
pub const LEVEL_DEFAULT: i32 = 3;
/// From this size on a part is compressed first, to see whether the whole is worth it.
const PROBE_FROM: usize = 64 << 10;
/// The part: so much from each third.
const PROBE_BYTES: usize = 4 << 10;

/// An authenticated cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cipher {
    /// AES-256-GCM.
    Aes256Gcm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

/// Why a record does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Shorter than an empty record.
    #[error("a sealed record of {0} bytes, the least is {OVERHEAD_BYTES}")]
    Short(usize),
    /// Sealed in a way that this version does not know.
    #[error("a record of the unknown form {0:#04x}: it needs a later version of isos")]
    Form(u8),
    /// Another secret's, or other bytes than were sealed.
    #[error("the record does not open: it was changed, or sealed under another secret")]
    Sealed,
    /// Authentic, but what is inside is not as long as was said.
    #[error("the record does not decompress to {0} bytes")]
    Length(usize),
}

/// Seals and opens; keeps the compressor's memory from one record to the next.
pub struct Sealer {
    cipher: Cipher,
    compressor: zstd::bulk::Compressor<'static>,
    decompressor: zstd::bulk::Decompressor<'static>,
    scratch: Vec<u8>,
}

impl Cipher {
    /// The faster one here. An argument of everything that seals, so that tests do not depend on
    /// the CPU.
    #[must_use]
    pub fn of_this_cpu() -> Self {
        #[cfg(target_arch = "x86_64")]
        let has_aes = std::arch::is_x86_feature_detected!("aes")
            && std::arch::is_x86_feature_detected!("pclmulqdq");
        #[cfg(target_arch = "aarch64")]
        let has_aes = std::arch::is_aarch64_feature_detected!("aes");
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let has_aes = false;
        if has_aes { Self::Aes256Gcm } else { Self::ChaCha20Poly1305 }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::ChaCha20Poly1305 => 2,
        }
    }

    fn key(self, secret: &SealSecret) -> LessSafeKey {
        let (algorithm, context) = match self {
            Self::Aes256Gcm => (&aead::AES_256_GCM, "aes-256-gcm"),
            Self::ChaCha20Poly1305 => (&aead::CHACHA20_POLY1305, "chacha20-poly1305"),
        };
        let key = secret.secret().keyed(context.as_bytes());
        let key = UnboundKey::new(algorithm, key.bytes()).expect("both ciphers take 32 bytes");
        LessSafeKey::new(key)
    }
}

const RAW: u8 = 0x00;
const ZSTD: u8 = 0x10;

impl Sealer {
    /// Seals with `cipher`, compresses at `level`.
    #[must_use]
    pub fn new(cipher: Cipher, level: i32) -> Self {
        let compressor = zstd::bulk::Compressor::new(level);
        let decompressor = zstd::bulk::Decompressor::new();
        Self {
            cipher,
            compressor: compressor.expect("only memory can lack here"),
            decompressor: decompressor.expect("only memory can lack here"),
            scratch: Vec::new(),
        }
    }

    /// Appends the record of a chunk, whose secret is its own; says how long it is.
    pub fn seal(&mut self, secret: &SealSecret, plain: &[u8], records: &mut Vec<u8>) -> usize {
        self.seal_with(secret, plain, records, || {
            first_bytes(&secret.secret().keyed(b"nonce of plain bytes"))
        })
    }

    /// As [`Sealer::seal`], under a secret that may seal other bytes too.
    pub fn seal_one_of_many(
        &mut self,
        secret: &SealSecret,
        plain: &[u8],
        records: &mut Vec<u8>,
    ) -> usize {
        self.seal_with(secret, plain, records, || nonce_of(secret, plain))
    }

    fn seal_with(
        &mut self,
        secret: &SealSecret,
        plain: &[u8],
        records: &mut Vec<u8>,
        raw_nonce: impl FnOnce() -> [u8; NONCE_LEN],
    ) -> usize {
        if !self.compress(plain) {
            return self.encrypt(secret, RAW, raw_nonce(), plain.len(), plain, records);
        }
        let body = std::mem::take(&mut self.scratch);
        let bytes =
            self.encrypt(secret, ZSTD, nonce_of(secret, &body), plain.len(), &body, records);
        self.scratch = body;
        bytes
    }

    /// Appends the plain bytes, `length` of them, of a record.
    ///
    /// # Errors
    /// [`OpenError`]; then nothing was appended.
    pub fn open(
        &mut self,
        secret: &SealSecret,
        record: &[u8],
        length: usize,
        plain: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        let (Some((&form, rest)), true) = (record.split_first(), record.len() >= OVERHEAD_BYTES)
        else {
            return Err(OpenError::Short(record.len()));
        };
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().expect("the length was checked");
        let cipher = match form & 0x0f {
            1 => Cipher::Aes256Gcm,
            2 => Cipher::ChaCha20Poly1305,
            _ => return Err(OpenError::Form(form)),
        };
        let aad = Aad::from(bound(form, length));
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let start = plain.len();
        match form & 0xf0 {
            RAW if body.len() != length + 16 => Err(OpenError::Length(length)),
            RAW => {
                plain.extend_from_slice(body);
                let opened = cipher.key(secret).open_in_place(nonce, aad, &mut plain[start..]);
                let opened = opened.map(|bytes| bytes.len()).map_err(|_| OpenError::Sealed);
                plain.truncate(start + opened.unwrap_or(0));
                opened.map(drop)
            }
            ZSTD => {
                self.scratch.clear();
                self.scratch.extend_from_slice(body);
                let packed = cipher.key(secret).open_in_place(nonce, aad, &mut self.scratch);
                let packed = packed.map_err(|_| OpenError::Sealed)?;
                plain.resize(start + length, 0);
                let read = self.decompressor.decompress_to_buffer(packed, &mut plain[start..]);
                if read.is_ok_and(|read| read == length) {
                    return Ok(());
                }
                plain.truncate(start);
                Err(OpenError::Length(length))
            }
            _ => Err(OpenError::Form(form)),
        }
    }

    /// Compresses into the scratch; false if that does not help by a thirty-second part.
    fn compress(&mut self, plain: &[u8]) -> bool {
        let worth = plain.len() - plain.len() / 32;
        if plain.len() < 64 || (plain.len() >= PROBE_FROM && !self.probe(plain)) {
            return false;
        }
        self.scratch.clear();
        // A buffer that is no larger than what would help: zstd gives up when it is full.
        self.scratch.resize(worth, 0);
        match self.compressor.compress_to_buffer(plain, &mut self.scratch[..]) {
            Ok(length) => {
                self.scratch.truncate(length);
                true
            }
            Err(_) => false,
        }
    }

    /// Whether a sample compresses. Films, photographs and archives do not, and are most bytes.
    fn probe(&mut self, plain: &[u8]) -> bool {
        let third = plain.len() / 3;
        let mut sample = Vec::with_capacity(3 * PROBE_BYTES);
        for part in 0..3 {
            sample.extend_from_slice(&plain[part * third..part * third + PROBE_BYTES]);
        }
        let compressed = self.compressor.compress(&sample);
        compressed.is_ok_and(|bytes| bytes.len() < sample.len() - sample.len() / 32)
    }

    fn encrypt(
        &self,
        secret: &SealSecret,
        compression: u8,
        nonce: [u8; NONCE_LEN],
        length: usize,
        body: &[u8],
        records: &mut Vec<u8>,
    ) -> usize {
        let start = records.len();
        let form = self.cipher.number() | compression;
        records.reserve(body.len() + OVERHEAD_BYTES);
        records.push(form);
        records.extend_from_slice(&nonce);
        records.extend_from_slice(body);
        let tag = self.cipher.key(secret).seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(bound(form, length)),
            &mut records[start + HEAD_BYTES..],
        );
        let tag = tag.expect("a chunk is far below the ciphers' limit of 64 GiB");
        records.extend_from_slice(tag.as_ref());
        records.len() - start
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("cipher", &self.cipher).finish_non_exhaustive()
    }
}

/// What is authenticated besides the body.
fn bound(form: u8, length: usize) -> [u8; 9] {
    let mut bytes = [form; 9];
    bytes[1..].copy_from_slice(&(length as u64).to_le_bytes());
    bytes
}

/// Of the very bytes that are encrypted. (Compressed and plain ones have different forms, and those
/// are authenticated, but the key stream is one: so both count as bytes here.)
fn nonce_of(secret: &SealSecret, body: &[u8]) -> [u8; NONCE_LEN] {
    first_bytes(&secret.secret().keyed(b"nonce of given bytes").keyed(body))
}

fn first_bytes(secret: &Secret) -> [u8; NONCE_LEN] {
    *secret.bytes().first_chunk().expect("a secret has more bytes than a nonce")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::StorageSecret;

    fn user(byte: u8) -> StorageSecret {
        StorageSecret::new(&Secret::new([byte; 32]))
    }

    fn sealed(cipher: Cipher, plain: &[u8]) -> Vec<u8> {
        let mut records = Vec::new();
        Sealer::new(cipher, LEVEL_DEFAULT).seal(&user(1).chunk(plain), plain, &mut records);
        records
    }

    fn opened(secret: &SealSecret, record: &[u8], length: usize) -> Result<Vec<u8>, OpenError> {
        let mut plain = Vec::new();
        let mut sealer = Sealer::new(Cipher::ChaCha20Poly1305, LEVEL_DEFAULT);
        sealer.open(secret, record, length, &mut plain).map(|()| plain)
    }

    /// Bytes that do not compress.
    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn what_compresses_becomes_smaller_and_the_rest_hardly_larger() {
        let text = b"all work and no play ".repeat(10_000);
        assert!(sealed(Cipher::Aes256Gcm, &text).len() < text.len() / 20);
        for length in [0, 63, 64, 1_000, 200_000] {
            assert_eq!(
                sealed(Cipher::Aes256Gcm, &noise(length)).len(),
                length + OVERHEAD_BYTES,
                "{length}"
            );
        }
    }

    #[test]
    fn a_record_says_its_form_and_unknown_ones_are_named() {
        let plain = noise(100);
        let mut record = sealed(Cipher::Aes256Gcm, &plain);
        assert_eq!(record[0], 0x01);
        assert_eq!(sealed(Cipher::ChaCha20Poly1305, &[7; 100])[0], 0x12);
        record[0] = 0x03;
        assert_eq!(opened(&user(1).chunk(&plain), &record, 100), Err(OpenError::Form(3)));
        record[0] = 0x21;
        assert_eq!(opened(&user(1).chunk(&plain), &record, 100), Err(OpenError::Form(0x21)));
        assert_eq!(opened(&user(1).chunk(&plain), &record[..28], 100), Err(OpenError::Short(28)));
    }

    #[test]
    fn a_secret_that_seals_many_never_repeats_a_nonce_for_other_bytes() {
        let (secret, mut sealer) = (user(1).segment_indexes(), Sealer::new(Cipher::Aes256Gcm, 3));
        let mut nonces = std::collections::BTreeSet::new();
        for number in 0..100_u8 {
            let mut record = Vec::new();
            sealer.seal_one_of_many(&secret, &[number], &mut record);
            assert!(nonces.insert(record[1..13].to_vec()));
            assert_eq!(opened(&secret, &record, 1), Ok(vec![number]));
        }
    }

    proptest! {
        #[test]
        fn a_record_opens_with_its_secret_alone_and_only_unchanged(
            plain in proptest::collection::vec(0_u8..4, 0..300),
            aes: bool,
            at: proptest::sample::Index,
            bit in 0_u8..8,
        ) {
            let cipher = if aes { Cipher::Aes256Gcm } else { Cipher::ChaCha20Poly1305 };
            let mut record = sealed(cipher, &plain);
            let secret = user(1).chunk(&plain);
            prop_assert_eq!(opened(&secret, &record, plain.len()), Ok(plain.clone()));
            prop_assert!(opened(&user(2).chunk(&plain), &record, plain.len()).is_err());
            prop_assert!(opened(&secret, &record, plain.len() + 1).is_err());
            let at = at.index(record.len());
            record[at] ^= 1_u8 << bit;
            prop_assert!(opened(&secret, &record, plain.len()).is_err());
        }
    }
}
