//! Heads: which object is the newest version of something, by the word of more than half of the
//! hosts that know it.
//!
//! ```text
//! name + storage secret -> write capability -> signed head {version, sealed body} -> all hosts
//! name + storage secret -> read capability  <- newest head of more than half      <- all hosts
//! ```
//!
//! A register of one writer over hosts that nobody trusts. The writer signs, so hosts can hold a
//! head back or give an old one, but not make one ([`newest`] says who did). A version is written
//! when more than half of the hosts have it ([`Publish`]), and two majorities have a host in
//! common: so whoever hears more than half hears it, as long as those in common are honest. Of a
//! set of hosts that is about to change, the writer needs a majority of the old and of the new one.
//!
//! Two writers at once are no disaster: whoever is told of a newer version has lost, reads it, and
//! writes a later one. What a body says is sealed for those that may read all versions.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::fragment::{HEAD_BODY_BYTES_MAX, Head, HeadError, HeadSet, SignedHead};
use isos_base::key::PublicKey;
use isos_base::{Guid, HostId, Time, codec};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::capability::{ReadCapability, Target, WriteCapability};
use crate::key::{SealSecret, Secret};
use crate::limits::{HEAD_HOSTS_MAX, HEAD_NOTE_BYTES_MAX};
use crate::seal::{Cipher, LEVEL_DEFAULT, OVERHEAD_BYTES, OpenError, Sealer};

/// What a version is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its number, from 1.
    pub number: u64,
    /// Opens the object.
    pub object: ReadCapability,
    /// What else its writer wants known, such as where the object's manifest lies; at most
    /// [`HEAD_NOTE_BYTES_MAX`].
    pub note: Vec<u8>,
}

/// All versions of a body that were ever sealed.
#[derive(Serialize, Deserialize)]
enum Stored {
    V1 { object: Guid, secret: [u8; 32], note: Vec<u8> },
}

/// Why a head cannot be made or opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VersionError {
    /// The note is too long.
    #[error("a note of {0} bytes, the limit is {HEAD_NOTE_BYTES_MAX}: put it into the object")]
    Note(usize),
    /// A version is an object, not something that has versions itself.
    #[error("the capability is not for one object")]
    Object,
    /// The capability has no versions, or those of another key.
    #[error("the capability is not for what this head is of")]
    Capability,
    /// The head is not signed by its key.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The body does not open.
    #[error("the body of the head does not open")]
    Sealed(#[source] OpenError),
    /// It opens, but this program does not understand it.
    #[error("the head is of another version of isos")]
    Unknown(#[source] codec::DecodeError),
}

impl Version {
    /// The head of this version, for hosts to keep.
    ///
    /// # Errors
    /// [`VersionError::Note`] or [`VersionError::Object`].
    pub fn seal(
        &self,
        name: &WriteCapability,
        written: Time,
        cipher: Cipher,
    ) -> Result<SignedHead, VersionError> {
        if self.note.len() > HEAD_NOTE_BYTES_MAX {
            return Err(VersionError::Note(self.note.len()));
        }
        let (object, secret) = self.object.object().ok_or(VersionError::Object)?;
        let secret = *secret.secret().bytes();
        let mut plain = codec::encode(&Stored::V1 { object, secret, note: self.note.clone() });
        let mut body = (plain.len() as u16).to_le_bytes().to_vec();
        let under = name.read().head_secret(self.number).expect("a name has versions");
        Sealer::new(cipher, LEVEL_DEFAULT).seal_one_of_many(&under, &plain, &mut body);
        zeroize::Zeroize::zeroize(&mut plain);
        let key = name.signer();
        Ok(Head { key: key.public(), version: self.number, written, body }.sign(&key))
    }

    /// What a head says, for those that may read all versions.
    ///
    /// # Errors
    /// [`VersionError`] for anything that is not a head of what the capability is for.
    pub fn open(signed: &SignedHead, name: &ReadCapability) -> Result<Self, VersionError> {
        let head = signed.check()?;
        let under = name.head_secret(head.version).ok_or(VersionError::Capability)?;
        if name.target() != Target::Named(head.key) {
            return Err(VersionError::Capability);
        }
        let short = || VersionError::Sealed(OpenError::Short(head.body.len()));
        let (length, record) = head.body.split_first_chunk::<2>().ok_or_else(short)?;
        let length = usize::from(u16::from_le_bytes(*length));
        // What is longer was not sealed here: no more memory is taken than a body could want.
        if length > HEAD_BODY_BYTES_MAX {
            return Err(VersionError::Sealed(OpenError::Length(length)));
        }
        let mut plain = Vec::with_capacity(HEAD_BODY_BYTES_MAX + OVERHEAD_BYTES);
        let opened = Sealer::new(Cipher::ChaCha20Poly1305, LEVEL_DEFAULT)
            .open(&under, record, length, &mut plain)
            .map_err(VersionError::Sealed);
        let stored = opened.and_then(|()| codec::decode(&plain).map_err(VersionError::Unknown));
        zeroize::Zeroize::zeroize(&mut plain);
        let Stored::V1 { object, secret, note } = stored?;
        let secret = SealSecret::from_secret(Secret::new(secret));
        let object = ReadCapability::of_object(object, &secret);
        Ok(Self { number: head.version, object, note })
    }
}

/// Whether so many are more than half of all: any two such parts have a host in common.
#[must_use]
pub const fn is_majority(some: usize, all: usize) -> bool {
    some > all / 2
}

/// What the hosts know, all in all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Newest {
    /// The newest head, if there is one.
    pub head: Option<SignedHead>,
    /// Hosts that gave an older one or none. They may not have been there when it was written: it
    /// is for the writer to set it again.
    pub behind: BTreeSet<HostId>,
    /// Of those, hosts that have acknowledged a later version than they give: they broke their
    /// word, or their disks did.
    pub rolled_back: BTreeSet<HostId>,
    /// Hosts that gave what the key has not signed. Nothing that they say counts.
    pub forged: BTreeSet<HostId>,
    /// Whether there are two heads of the newest version: two writers wrote at once. All readers
    /// take the same one of them.
    pub is_forked: bool,
    /// Hosts whose answers count.
    pub heard: BTreeSet<HostId>,
}

impl Newest {
    /// Whether no later version was written, as far as the hosts are honest: more than half of
    /// those that hold the name were heard.
    #[must_use]
    pub fn is_certain(&self, hosts: &BTreeSet<HostId>) -> bool {
        is_majority(self.heard.intersection(hosts).count(), hosts.len())
    }

    /// The number for the version that comes next; nothing after the last that there is.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.head.as_ref().map_or(Some(1), |signed| signed.head.version.checked_add(1))
    }
}

/// The newest head of a key, by what hosts have answered; those that did not answer are left out.
/// `acknowledged` is which version each host is known to have kept, if anybody remembers.
#[must_use]
pub fn newest(
    key: &PublicKey,
    answers: &BTreeMap<HostId, Option<SignedHead>>,
    acknowledged: &BTreeMap<HostId, u64>,
) -> Newest {
    let mut found = Newest::default();
    let mut given = BTreeMap::new();
    for (host, answer) in answers {
        match answer {
            Some(signed) if signed.head.key != *key || signed.check().is_err() => {
                found.forged.insert(*host);
            }
            answer => {
                given.insert(*host, answer.as_ref());
            }
        }
    }
    found.heard = given.keys().copied().collect();
    // Of one version, any order will do that is the same for all.
    let order =
        |signed: &&SignedHead| (signed.head.version, signed.head.written, signed.to_bytes());
    let newest = given.values().flatten().copied().max_by_key(order);
    for (host, answer) in &given {
        let version = answer.map(|signed| signed.head.version);
        if version < newest.map(|newest| newest.head.version) {
            found.behind.insert(*host);
        }
        if acknowledged.get(host).is_some_and(|acknowledged| version < Some(*acknowledged)) {
            found.rolled_back.insert(*host);
        }
        let same = |signed: &SignedHead| newest.is_some_and(|newest| newest.head == signed.head);
        found.is_forked |= version.is_some()
            && version == newest.map(|newest| newest.head.version)
            && !answer.is_some_and(same);
    }
    found.head = newest.cloned();
    found
}

/// Writes one version: what it has heard from whom, and what follows. Pure: whoever asks the hosts
/// tells it their answers.
#[derive(Debug, Clone)]
pub struct Publish {
    signed: SignedHead,
    hosts: BTreeSet<HostId>,
    kept: BTreeSet<HostId>,
    failed: BTreeSet<HostId>,
    lost: Option<SignedHead>,
}

/// How far writing a version is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// It may come either way.
    Open,
    /// More than half have it: whoever hears more than half will hear it. Those that have not
    /// answered may still be told.
    Kept,
    /// There is a newer version, or another of the same number: read it, and write a later one.
    Lost(Box<SignedHead>),
    /// Too many hosts have failed. Some may have it, so that a reader may or may not find it: try
    /// again with the same head.
    Short {
        /// Hosts that have it.
        kept: usize,
        /// Hosts that would have to.
        needed: usize,
    },
}

/// Why there is nobody to write to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a head is kept by 1 to {HEAD_HOSTS_MAX} hosts, not by {0}")]
pub struct HostsError(usize);

impl Publish {
    /// Begins to write `signed` to all of `hosts`: those that hold the name.
    ///
    /// # Errors
    /// [`HostsError`] if there are none, or too many.
    pub fn new(signed: SignedHead, hosts: BTreeSet<HostId>) -> Result<Self, HostsError> {
        if hosts.is_empty() || hosts.len() > HEAD_HOSTS_MAX {
            return Err(HostsError(hosts.len()));
        }
        let (kept, failed) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { signed, hosts, kept, failed, lost: None })
    }

    /// The head that is being written.
    #[must_use]
    pub const fn head(&self) -> &SignedHead {
        &self.signed
    }

    /// The hosts that have not answered.
    pub fn waiting(&self) -> impl Iterator<Item = &HostId> {
        self.hosts.iter().filter(|host| !self.kept.contains(host) && !self.failed.contains(host))
    }

    /// The hosts that have acknowledged it: to be remembered, for [`newest`].
    #[must_use]
    pub const fn kept(&self) -> &BTreeSet<HostId> {
        &self.kept
    }

    /// A host has answered; nothing: it refused, or could not be reached. The last word counts, but
    /// what was acknowledged once stays so.
    pub fn told(&mut self, host: HostId, answer: Option<&HeadSet>) {
        if !self.hosts.contains(&host) {
            return;
        }
        match answer {
            Some(HeadSet::Kept(version)) if *version == self.signed.head.version => {
                self.failed.remove(&host);
                self.kept.insert(host);
            }
            Some(HeadSet::Newer(newer)) if self.loses_to(newer) => {
                self.failed.insert(host);
                let is_newer = |lost: &SignedHead| lost.head.version < newer.head.version;
                if self.lost.as_ref().is_none_or(is_newer) {
                    self.lost = Some((**newer).clone());
                }
            }
            // A host that says something else has said nothing.
            _ if self.kept.contains(&host) => {}
            _ => {
                self.failed.insert(host);
            }
        }
    }

    fn loses_to(&self, other: &SignedHead) -> bool {
        let (ours, theirs) = (&self.signed.head, &other.head);
        theirs.key == ours.key
            && theirs.version >= ours.version
            && theirs != ours
            && other.check().is_ok()
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self) -> Published {
        if let Some(lost) = &self.lost {
            return Published::Lost(Box::new(lost.clone()));
        }
        let (kept, all) = (self.kept.len(), self.hosts.len());
        if is_majority(kept, all) {
            Published::Kept
        } else if is_majority(all - self.failed.len(), all) {
            Published::Open
        } else {
            Published::Short { kept, needed: all / 2 + 1 }
        }
    }
}

#[cfg(test)]
mod tests;
