//! Whose a storage lease is, and which ones are over: what the complex said, and what holders have
//! shown.
//!
//! Words of the complex come in the order of their times, each lease's last one only. So a lease
//! that was granted before the last word that was heard, and that nobody here knows, is over: an
//! old grant does not bring it back.

use std::collections::BTreeMap;

use isos_base::fragment::StorageGrant;
use isos_base::key::PublicKey;
use isos_base::storage::LeaseNews;
use isos_base::{Bytes, LeaseId, Time};
use isos_disk::packs::LEASES_MAX;
use serde::{Deserialize, Serialize};

/// What is remembered over a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// For whom fragments are kept here.
    pub(super) complex: PublicKey,
    /// Its last word that was taken in.
    pub(super) heard: Time,
}

impl Remembered {
    pub(super) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a key and a number are plain data")
    }

    /// What cannot be read is as good as nothing: the complex says it all again.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// A lease as far as it is known in this run; the packs know its end as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    bytes: Bytes,
    issued: Time,
    until: Time,
    /// Who has shown its grant.
    holder: Option<PublicKey>,
}

/// The leases on this disk.
#[derive(Debug, Default)]
pub(super) struct Leases {
    known: BTreeMap<LeaseId, Known>,
    /// The last word of the complex in this run. It says all that is good once in each run: how
    /// much that is in all is written down nowhere here.
    heard: Time,
    /// And in any run.
    remembered: Time,
}

impl Leases {
    /// Up to here words were taken in by earlier runs.
    pub(super) fn remember(&mut self, heard: Time) {
        self.remembered = heard;
    }

    /// What the complex is told.
    pub(super) const fn heard(&self) -> Time {
        self.heard
    }

    /// The packs have taken these in.
    pub(super) fn told(&mut self, news: &[LeaseNews]) {
        for news in news {
            self.put(news.lease, news.bytes, (news.issued, news.until), None);
        }
        if let Some(last) = news.last() {
            // As it says, though it be less than before: then it has another history now.
            self.heard = last.issued;
            self.remembered = last.issued;
        }
    }

    /// Whether a grant is of a lease that is over. `kept` is when its last word was issued, and its
    /// end, as the packs have it.
    pub(super) fn is_over(
        &self,
        grant: &StorageGrant,
        kept: Option<(Time, Time)>,
        now: Time,
    ) -> bool {
        let known = self.known.get(&grant.lease).map(|known| (known.issued, known.until));
        match known.max(kept) {
            Some((issued, until)) => issued >= grant.issued && until <= now,
            None => grant.issued <= self.remembered,
        }
    }

    /// Its holder has shown a grant that is good, which the packs have taken in.
    pub(super) fn shown(&mut self, grant: &StorageGrant) {
        let StorageGrant { lease, bytes, issued, until, holder, .. } = *grant;
        self.put(lease, bytes, (issued, until), Some(holder));
    }

    /// Who may write under it, once that was shown.
    pub(super) fn holder(&self, lease: LeaseId) -> Option<PublicKey> {
        self.known.get(&lease)?.holder
    }

    /// How many are good, and what they promise.
    pub(super) fn good(&self, now: Time) -> (u64, Bytes) {
        let good = self.known.values().filter(|known| known.until > now);
        good.fold((0, Bytes::ZERO), |(count, bytes), known| (count + 1, bytes + known.bytes))
    }

    /// Forgets those that have ended: the packs know what they have of them.
    pub(super) fn forget(&mut self, now: Time) {
        self.known.retain(|_, known| known.until > now);
    }

    /// The later word counts; who has shown a grant stays its holder.
    fn put(
        &mut self,
        lease: LeaseId,
        bytes: Bytes,
        (issued, until): (Time, Time),
        holder: Option<PublicKey>,
    ) {
        if self.known.len() >= LEASES_MAX && !self.known.contains_key(&lease) {
            // The packs have refused it before.
            return;
        }
        let new = Known { bytes, issued, until, holder };
        let known = self.known.entry(lease).or_insert(new);
        let holder = holder.or(known.holder);
        if known.issued < issued {
            *known = new;
        }
        known.holder = holder;
    }
}
