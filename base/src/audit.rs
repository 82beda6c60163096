//! The audit log: everything that gives, takes or moves rights, and credits that come into being,
//! with who did it, in one chain of hashes that is never edited.
//!
//! Each record goes on two chains: that of the whole log, for operators, and that of the account
//! that it concerns, so that its holder can check all of theirs without seeing others'. Each also
//! names the last transfer of the ledger, so that the two books hold each other in place. What is
//! made offline by whoever has the complex's key is not in it: nobody is told of that.

mod error;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::guid::Guid;
use crate::ids::{AccountId, HostId, JobId, LeaseId, PayoutId, ProposalId, ReservationId, SliceId};
use crate::key::{PublicKey, SecretKey};
use crate::price::Price;
use crate::record::{ProposalState, Proposed};
use crate::right::{Holder, Right};
use crate::slice::SliceState;
use crate::time::Time;
use crate::units::{Bytes, MicroCredits};

pub use error::AuditError;

/// Domains of the hashes; BLAKE3's key derivation keeps them apart from every other use.
const CHAIN_CONTEXT: &str = "isos 2026 audit chain 1";
const OWN_CONTEXT: &str = "isos 2026 audit chain of an account 1";
/// In front of what a complex signs.
const TAG: &[u8] = b"isos audit head 1\0";

/// What the first record of a chain follows.
pub const GENESIS: Guid = Guid([0; 32]);

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The complex by itself: a server that starts, a time that came, a lie that was found.
    Complex,
    /// Who holds a token.
    Token {
        /// For which account.
        account: AccountId,
        /// The id of the token, in hexadecimal: what `isos token inspect` shows, and revokes it.
        id: String,
    },
    /// Who holds a key of an account.
    Key {
        /// The account.
        account: AccountId,
        /// The key.
        key: PublicKey,
    },
    /// A host.
    Host {
        /// Its key.
        host: HostId,
    },
}

impl From<&Holder> for Actor {
    fn from(holder: &Holder) -> Self {
        let account = holder.account;
        match (holder.key, holder.revocation_ids.last()) {
            (Some(key), _) => Self::Key { account, key },
            (None, id) => {
                Self::Token { account, id: id.map(|id| token_id(id)).unwrap_or_default() }
            }
        }
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// A server began to lead, with these settings.
    ServerLed {
        /// The server's own key.
        server: PublicKey,
        /// Prices, shares, limits that matter for money and rights, for people.
        settings: String,
    },
    /// The account was opened.
    AccountOpened {
        /// Its name.
        name: String,
    },
    /// Credits came into being.
    CreditsGranted {
        /// How many.
        amount: MicroCredits,
        /// Why.
        why: String,
        /// The position of the transfer in the ledger.
        transfer: u64,
    },
    /// A token was made.
    TokenMade {
        /// Its id, in hexadecimal.
        id: String,
        /// What it allows.
        rights: Vec<Right>,
        /// Until when.
        expires: Time,
    },
    /// A token, and all that were made from it, was revoked.
    TokenRevoked {
        /// Its id, in hexadecimal.
        id: String,
        /// When it would have ended by itself.
        until: Time,
    },
    /// A key was added.
    KeyAdded {
        /// The key.
        key: PublicKey,
        /// Its label.
        label: String,
        /// What it allows.
        rights: Vec<Right>,
    },
    /// A key got another label.
    KeyLabelled {
        /// The key.
        key: PublicKey,
        /// The label.
        label: String,
    },
    /// A key was removed; what was made with it is good no more.
    KeyRemoved {
        /// The key.
        key: PublicKey,
    },
    /// A key was set by which the account can be recovered.
    RecoverySet {
        /// The recovery key.
        key: PublicKey,
    },
    /// Somebody who has the recovery phrase asked for the account.
    RecoveryAsked {
        /// The key that is to be the account's.
        key: PublicKey,
        /// When it will be, unless a present key says no.
        due: Time,
    },
    /// The recovery was stopped.
    RecoveryStopped {
        /// The key that was to be the account's.
        key: PublicKey,
    },
    /// The account was recovered: all earlier keys and tokens are good no more.
    Recovered {
        /// Its key.
        key: PublicKey,
    },
    /// A host was linked to the account.
    HostAdmitted {
        /// Which.
        host: HostId,
        /// The id of the token by which it came, in hexadecimal.
        ticket: Option<String>,
    },
    /// A host earns for another account now.
    HostMoved {
        /// Which.
        host: HostId,
        /// For whom it earned before.
        from: AccountId,
    },
    /// The ticket by which a host came was revoked: it gets no work until it shows another.
    HostSuspended {
        /// Which.
        host: HostId,
        /// The id that was revoked, in hexadecimal.
        ticket: String,
    },
    /// A host was caught and gets no work any more.
    HostBarred {
        /// Which.
        host: HostId,
        /// Why.
        why: String,
    },
    /// A host has another key; the old one is good for nothing.
    HostKeyRotated {
        /// The key before.
        old: HostId,
        /// The key now.
        new: HostId,
    },
    /// Credits are to be paid out, and are held until the rail has answered.
    PayoutAsked {
        /// Which payout.
        payout: PayoutId,
        /// How many.
        amount: MicroCredits,
        /// Over which rail.
        rail: String,
        /// Where to, in the rail's own words.
        to: String,
    },
    /// The rail has answered for good.
    PayoutEnded {
        /// Which payout.
        payout: PayoutId,
        /// How many.
        amount: MicroCredits,
        /// Whether it is paid; else the credits came back.
        paid: bool,
        /// The rail's receipt, or why not.
        answer: String,
    },
    /// Somebody paid in.
    Deposited {
        /// How many credits.
        amount: MicroCredits,
        /// Over which rail.
        rail: String,
        /// The rail's own name of it.
        id: String,
        /// The position of the last of its transfers in the ledger.
        transfer: u64,
    },
    /// An operator proposed something that several must agree to, agreed, or refused; or its time
    /// was over.
    ProposalMoved {
        /// Which proposal.
        proposal: ProposalId,
        /// What is proposed.
        what: Proposed,
        /// The operators who agree, by account.
        agreed: Vec<AccountId>,
        /// As many must.
        needed: u16,
        /// Where it stands now.
        state: ProposalState,
    },
    /// A job was submitted; what it can cost is held until it is over.
    JobSubmitted {
        /// Which job.
        job: JobId,
        /// How many credits are held.
        held: MicroCredits,
    },
    /// A job bids otherwise, and what is held for it has changed.
    BidChanged {
        /// Which job.
        job: JobId,
        /// The most that it pays for a gigafuel.
        bid: Price,
        /// How many credits are held now.
        held: MicroCredits,
    },
    /// A job was stopped; what was left of its credits came back.
    JobCancelled {
        /// Which job.
        job: JobId,
    },
    /// Cores were promised; the premium is held until the window is over.
    CoresReserved {
        /// Which reservation.
        reservation: ReservationId,
        /// Of which class of hosts.
        class: String,
        /// How many.
        cores: u32,
        /// From.
        from: Time,
        /// Until.
        until: Time,
        /// How many credits are held.
        held: MicroCredits,
    },
    /// A reservation was given up before its window; the premium came back.
    ReservationCancelled {
        /// Which reservation.
        reservation: ReservationId,
    },
    /// Storage was leased, on as many hosts as there are leases; what it can cost is held.
    StorageLeased {
        /// The first of the leases.
        first: LeaseId,
        /// How many they are.
        leases: u32,
        /// How much on each host.
        bytes: Bytes,
        /// Until when.
        until: Time,
        /// How many credits are held for all storage of the account now.
        held: MicroCredits,
    },
    /// Storage leases were renewed, or made larger or smaller.
    StorageChanged {
        /// The first of them.
        first: LeaseId,
        /// How many they are.
        leases: u32,
        /// How many credits are held for all storage of the account now.
        held: MicroCredits,
    },
    /// Storage leases were given up; what was left of their credits came back.
    StorageReleased {
        /// The first of them.
        first: LeaseId,
        /// How many they are.
        leases: u32,
        /// How many credits are held for all storage of the account now.
        held: MicroCredits,
    },
    /// A host stands behind reservations from now on, with a bond for each.
    FirmOffered {
        /// Which host.
        host: HostId,
        /// With how many cores.
        cores: u32,
    },
    /// A host stands behind no more reservations, and may go when its notice is over.
    FirmEnded {
        /// Which host.
        host: HostId,
        /// When it may go without loss.
        leaves: Time,
    },
    /// A storage lease is over: its host could not prove that it has what it was asked for. What
    /// was left of its credits came back.
    StorageUnproven {
        /// Which lease.
        lease: LeaseId,
        /// Whose disk.
        host: HostId,
        /// What it was asked for.
        fragment: Guid,
        /// Why it is not proved.
        why: String,
        /// How many credits are held for all storage of the account now.
        held: MicroCredits,
    },
    /// A storage lease on a host that is gone was given up, and another took its place, for no more
    /// than it would have cost.
    StorageReplaced {
        /// The lease that is over.
        old: LeaseId,
        /// On whose disk it was.
        from: HostId,
        /// The lease in its place.
        new: LeaseId,
        /// On whose disk it is.
        to: HostId,
        /// How many credits are held for all storage of the account now.
        held: MicroCredits,
    },
    /// Hosts were put together in a slice.
    SliceMade {
        /// Which slice.
        slice: SliceId,
        /// Its name.
        name: String,
        /// How many hosts.
        hosts: u32,
        /// Until when.
        until: Time,
    },
    /// A slice has more or fewer hosts now, or another end.
    SliceChanged {
        /// Which slice.
        slice: SliceId,
        /// Its name.
        name: String,
        /// How many hosts it has.
        hosts: u32,
        /// Until when.
        until: Time,
    },
    /// A host of a slice was replaced by another, which has its rank now.
    SliverMoved {
        /// Which slice.
        slice: SliceId,
        /// Which rank.
        rank: u32,
        /// The host that had it.
        from: HostId,
        /// The host that has it.
        to: HostId,
        /// Why.
        why: String,
    },
    /// A slice ended: it was given up, or its time came.
    SliceEnded {
        /// Which slice.
        slice: SliceId,
        /// Its name.
        name: String,
        /// How.
        state: SliceState,
    },
}

/// One line of the log: never changed, never removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AuditRecord {
    /// Position in the log, from 1, without gaps.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// Who did it.
    pub by: Actor,
    /// Which account it concerns, if it concerns one.
    pub account: Option<AccountId>,
    /// What.
    pub deed: Deed,
    /// Position of the last transfer of the ledger at that time.
    pub ledger_seq: u64,
    /// Its hash.
    pub ledger_hash: Guid,
    /// BLAKE3 over the account's hash before it and everything above, if it concerns an account.
    pub own: Option<Guid>,
    /// BLAKE3 over the hash before it and everything above.
    pub hash: Guid,
}

impl AuditRecord {
    /// Everything that a hash covers.
    fn content(&self) -> Vec<u8> {
        // Named one by one: a field added to the record must be added here, or this does not
        // compile.
        let Self { seq, at, by, account, deed, ledger_seq, ledger_hash, own: _, hash: _ } = self;
        codec::encode(&(seq, at, by, account, deed, ledger_seq, ledger_hash))
    }

    /// Sets both hashes: that of the log before it, and that of its account.
    pub fn link(&mut self, before: Guid, own_before: Guid) {
        let content = self.content();
        self.own = self.account.map(|_| hash(OWN_CONTEXT, own_before, &content, None));
        self.hash = hash(CHAIN_CONTEXT, before, &content, self.own);
    }

    /// The hash that it has behind `before`, on one of the chains.
    fn hash_behind(&self, before: Guid, is_own: bool) -> Guid {
        if is_own {
            hash(OWN_CONTEXT, before, &self.content(), None)
        } else {
            hash(CHAIN_CONTEXT, before, &self.content(), self.own)
        }
    }
}

fn hash(context: &str, before: Guid, content: &[u8], own: Option<Guid>) -> Guid {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(&before.0);
    hasher.update(content);
    if let Some(own) = own {
        hasher.update(&own.0);
    }
    Guid(*hasher.finalize().as_bytes())
}

/// Where the log stands: the whole one, or that of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AuditHead {
    /// Whose; the whole log if not said.
    pub account: Option<AccountId>,
    /// Position of its last record; 0 if there is none.
    pub last: u64,
    /// The hash of that.
    pub hash: Guid,
}

/// A head with the complex's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignedAuditHead {
    /// What is said.
    pub head: AuditHead,
    /// When it was signed.
    pub at: Time,
    /// The complex's key.
    pub complex: PublicKey,
    /// Its Ed25519 signature, in hexadecimal.
    pub signature: String,
}

/// A log that was brought home: to be kept, and checked without the complex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedAudit {
    /// What the complex says of the records.
    pub signed: SignedAuditHead,
    /// All of them, from the first on.
    pub records: Vec<AuditRecord>,
}

impl AuditHead {
    /// The head with the complex's word.
    #[must_use]
    pub fn sign(self, key: &SecretKey, at: Time) -> SignedAuditHead {
        let complex = key.public();
        let signature = key.sign_tagged(TAG, &(&self, at, &complex));
        SignedAuditHead { head: self, at, complex, signature }
    }
}

impl SignedAudit {
    /// Checks all that can be checked without the complex: each record against those before it, the
    /// last against the head, the head against the signature, its key against the expected one.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, complex: Option<&PublicKey>) -> Result<(), AuditError> {
        let SignedAuditHead { head, at, complex: found, signature } = &self.signed;
        if let Some(&expected) = complex
            && expected != *found
        {
            return Err(AuditError::OtherComplex { expected, found: *found });
        }
        if !found.has_signed(TAG, &(head, at, found), signature) {
            return Err(AuditError::Signature);
        }
        let (mut last, mut before) = (0, GENESIS);
        for record in &self.records {
            let follows = match head.account {
                // Those of others stand between them.
                Some(_) => record.seq > last,
                None => record.seq == last + 1,
            };
            if !follows {
                return Err(AuditError::Order { seq: record.seq, before: last });
            }
            if head.account.is_some() && record.account != head.account {
                return Err(AuditError::OtherAccount(record.seq));
            }
            let is_own = head.account.is_some();
            before = record.hash_behind(before, is_own);
            last = record.seq;
            let said = if is_own { record.own } else { Some(record.hash) };
            if said != Some(before) {
                return Err(AuditError::Chain(last));
            }
        }
        if last != head.last {
            return Err(AuditError::End { found: last, signed: head.last });
        }
        if before != head.hash {
            return Err(AuditError::Chain(last));
        }
        Ok(())
    }

    /// Checks that an earlier log of the same account, or of all, is the beginning of this one.
    ///
    /// # Errors
    /// [`AuditError::Rewritten`].
    pub fn follows(&self, earlier: &Self) -> Result<(), AuditError> {
        if earlier.signed.head.account != self.signed.head.account {
            return Err(AuditError::Rewritten(1));
        }
        let mut now = self.records.iter();
        for before in &earlier.records {
            if now.next() != Some(before) {
                return Err(AuditError::Rewritten(before.seq));
            }
        }
        Ok(())
    }
}

/// The text form of a token's id.
#[must_use]
pub fn token_id(id: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(id)
}

#[cfg(test)]
mod tests;
