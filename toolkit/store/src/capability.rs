//! Capabilities: write gives read gives verify, and none of these steps can be walked back.
//!
//! A *verify* capability names an object: it finds, audits and repairs it. A *read* capability also
//! opens it. A *write* capability signs the versions of something with a name, and its read
//! capability opens all of them, or is narrowed to one. As in Tahoe-LAFS; each is one string to
//! copy, whose first letters say what it is.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use isos_base::key::{PublicKey, SecretKey};
use isos_base::{Guid, codec};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::key::{SealSecret, Secret};

const WRITE: &str = "isosw1";
const READ: &str = "isosr1";
const VERIFY: &str = "isosv1";
const CHECK_BYTES: usize = 4;
/// Characters of the longest capability, with room.
const CHARS_MAX: usize = 256;

/// What a capability is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Target {
    /// An object: it never changes.
    Object(Guid),
    /// The versions that this key has signed.
    Named(PublicKey),
}

/// Finds, audits and repairs; reads nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyCapability {
    /// What.
    pub target: Target,
}

/// Opens an object, or all versions of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadCapability {
    target: Target,
    secret: Secret,
}

/// Signs new versions of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteCapability {
    seed: Secret,
}

/// Why a text is not the capability that is needed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CapabilityError {
    /// No capability at all.
    #[error("not a capability: one begins with \"{WRITE}\", \"{READ}\" or \"{VERIFY}\"")]
    Shape,
    /// One of another kind that does not allow as much.
    #[error("a capability to {got}, one to {wanted} is needed: it begins with \"{prefix}\"")]
    Kind {
        /// What it allows.
        got: &'static str,
        /// What it should allow.
        wanted: &'static str,
        /// How such a one begins.
        prefix: &'static str,
    },
    /// Letters that do not occur in one.
    #[error("a capability has the letters a to z and the digits 2 to 7 only; copy it whole")]
    Letters,
    /// A character was changed or lost.
    #[error("the capability is damaged: its checksum does not fit; copy it again, whole")]
    Checksum,
    /// It is whole, but nothing that this program knows.
    #[error("the capability is of another version of isos")]
    Version(#[source] codec::DecodeError),
}

impl WriteCapability {
    /// The capability of this seed; see [`crate::key::StorageSecret::name_seed`].
    #[must_use]
    pub const fn new(seed: Secret) -> Self {
        Self { seed }
    }

    /// Signs versions.
    #[must_use]
    pub fn signer(&self) -> SecretKey {
        SecretKey::from_bytes(self.seed.derive("isos storage 1: signer of versions").bytes())
    }

    /// What it can write, anybody who has this can read.
    #[must_use]
    pub fn read(&self) -> ReadCapability {
        let target = Target::Named(self.signer().public());
        ReadCapability { target, secret: self.seed.derive("isos storage 1: reader of versions") }
    }

    /// See [`ReadCapability::verify`].
    #[must_use]
    pub fn verify(&self) -> VerifyCapability {
        self.read().verify()
    }
}

impl ReadCapability {
    /// Opens the object of this name, whose manifest was sealed under `secret`.
    #[must_use]
    pub fn of_object(object: Guid, secret: &SealSecret) -> Self {
        Self { target: Target::Object(object), secret: secret.secret().clone() }
    }

    /// What.
    #[must_use]
    pub const fn target(&self) -> Target {
        self.target
    }

    /// What opens the manifest of this object; nothing if the capability is for something named, of
    /// which [`ReadCapability::version`] opens each version.
    #[must_use]
    pub fn object(&self) -> Option<(Guid, SealSecret)> {
        match self.target {
            Target::Object(guid) => Some((guid, SealSecret::from_secret(self.secret.clone()))),
            Target::Named(_) => None,
        }
    }

    /// The secret under which the manifest of a version is sealed. Nothing if the capability is for
    /// one object: that has no versions.
    #[must_use]
    pub fn version_secret(&self, sequence: u64) -> Option<SealSecret> {
        let is_named = matches!(self.target, Target::Named(_));
        is_named.then(|| SealSecret::from_secret(self.secret.keyed(&sequence.to_le_bytes())))
    }

    /// The secret under which the body of the head of a version is sealed: one for each, so that
    /// nobody can tell whether two versions are the same object.
    #[must_use]
    pub(crate) fn head_secret(&self, sequence: u64) -> Option<SealSecret> {
        let is_named = matches!(self.target, Target::Named(_));
        let heads = || self.secret.derive("isos storage 1: heads");
        is_named.then(|| SealSecret::from_secret(heads().keyed(&sequence.to_le_bytes())))
    }

    /// Narrowed to one version, which was stored as this object: it opens that and no other.
    #[must_use]
    pub fn version(&self, sequence: u64, object: Guid) -> Option<Self> {
        self.version_secret(sequence).map(|secret| Self::of_object(object, &secret))
    }

    /// What anybody can check and repair who has this.
    #[must_use]
    pub const fn verify(&self) -> VerifyCapability {
        VerifyCapability { target: self.target }
    }
}

/// A capability of any kind, as it was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    /// To write.
    Write(WriteCapability),
    /// To read.
    Read(ReadCapability),
    /// To verify.
    Verify(VerifyCapability),
}

impl Capability {
    const fn allows(&self) -> &'static str {
        match self {
            Self::Write(_) => "write",
            Self::Read(_) => "read",
            Self::Verify(_) => "verify",
        }
    }
}

impl FromStr for Capability {
    type Err = CapabilityError;
    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        let text = text.trim();
        let kind = [WRITE, READ, VERIFY].into_iter().find(|kind| text.starts_with(kind));
        let Some(kind) = kind.filter(|_| text.len() <= CHARS_MAX) else {
            return Err(CapabilityError::Shape);
        };
        if text.bytes().any(|letter| letter.is_ascii_uppercase()) {
            return Err(CapabilityError::Letters);
        }
        let body = text[kind.len()..].to_ascii_uppercase();
        let bytes = BASE32_NOPAD.decode(body.as_bytes()).map_err(|error| match error.kind {
            data_encoding::DecodeKind::Symbol => CapabilityError::Letters,
            _ => CapabilityError::Checksum,
        })?;
        let Some((message, check)) = bytes.split_last_chunk::<CHECK_BYTES>() else {
            return Err(CapabilityError::Checksum);
        };
        if checksum(kind, message) != *check {
            return Err(CapabilityError::Checksum);
        }
        Ok(match kind {
            WRITE => {
                let seed = codec::decode(message).map_err(CapabilityError::Version)?;
                Self::Write(WriteCapability::new(Secret::new(seed)))
            }
            READ => {
                let (target, secret) = codec::decode(message).map_err(CapabilityError::Version)?;
                Self::Read(ReadCapability { target, secret: Secret::new(secret) })
            }
            _ => {
                let target = codec::decode(message).map_err(CapabilityError::Version)?;
                Self::Verify(VerifyCapability { target })
            }
        })
    }
}

/// Whoever may write may read: a stronger capability is taken for a weaker one.
impl FromStr for ReadCapability {
    type Err = CapabilityError;
    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        match text.parse()? {
            Capability::Write(write) => Ok(write.read()),
            Capability::Read(read) => Ok(read),
            weaker => Err(needed(&weaker, "read", READ)),
        }
    }
}

impl FromStr for WriteCapability {
    type Err = CapabilityError;
    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        match text.parse()? {
            Capability::Write(write) => Ok(write),
            weaker => Err(needed(&weaker, "write", WRITE)),
        }
    }
}

/// Any capability lets verify.
impl FromStr for VerifyCapability {
    type Err = CapabilityError;
    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        Ok(match text.parse()? {
            Capability::Write(write) => write.verify(),
            Capability::Read(read) => read.verify(),
            Capability::Verify(verify) => verify,
        })
    }
}

impl fmt::Display for WriteCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_text(f, WRITE, &codec::encode(self.seed.bytes()))
    }
}

impl fmt::Display for ReadCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_text(f, READ, &codec::encode(&(self.target, self.secret.bytes())))
    }
}

impl fmt::Display for VerifyCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_text(f, VERIFY, &codec::encode(&self.target))
    }
}

fn needed(got: &Capability, wanted: &'static str, prefix: &'static str) -> CapabilityError {
    CapabilityError::Kind { got: got.allows(), wanted, prefix }
}

fn write_text(f: &mut fmt::Formatter<'_>, kind: &str, message: &[u8]) -> fmt::Result {
    let mut bytes = message.to_vec();
    bytes.extend_from_slice(&checksum(kind, message));
    write!(f, "{kind}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
}

/// Over the kind as well: the letters of one kind in front of another's body are damage.
fn checksum(kind: &str, message: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = blake3::Hasher::new().update(kind.as_bytes()).update(message).finalize();
    *hash.as_bytes().first_chunk().expect("a hash is longer")
}

#[cfg(test)]
mod tests;
