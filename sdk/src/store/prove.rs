//! Proofs: hosts that say that they have something show a part of it, drawn by chance.
//!
//! That a host has what it says it has, any reader finds out in the end. Here it is found out
//! before, for 16 KiB a host. Who cannot show it to us is asked by the complex once more, if the
//! account pays a lease there: what follows from that is the complex's to decide, and no word of
//! ours is believed.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt};
use isos_base::api::{KeeperView, ProveRequest};
use isos_base::fragment::groups_of;
use isos_base::random::Random;
use isos_base::{Guid, HostId, LeaseId};
use isos_net::{Got, audit_fragment};
use isos_store::manifest::Manifest;
use tokio::time::timeout;

use super::{Store, StoreError};
use crate::limits::{ASK_TIMEOUT, ASKED_AT_ONCE, PROOFS_OF_HOST};

/// What hosts could show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proved {
    /// Parts that were right.
    pub passed: u32,
    /// Hosts that did not answer, or not now: nothing follows from that.
    pub silent: u32,
    /// Hosts that could not show what they say they have.
    pub failed: Vec<FailedProof>,
}

/// A host that could not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedProof {
    /// Which.
    pub host: HostId,
    /// What it was asked for.
    pub fragment: Guid,
    /// What came instead.
    pub why: String,
    /// The lease for which the complex asks it now, if one is ours and it does.
    pub lease: Option<LeaseId>,
}

/// What came of one host.
enum Shown {
    All(u32),
    Silent,
    Not { fragment: Guid, length: u32, why: String },
}

impl Store {
    /// Has each host that says that it has something of an object show a part of it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn prove(&self, manifest: &Manifest) -> Result<Proved, StoreError> {
        let known = self.known().await?;
        let lengths: BTreeMap<Guid, u32> = manifest
            .segments
            .iter()
            .flat_map(|segment| {
                let length = segment.fragment_bytes() as u32;
                segment.fragments.iter().map(move |name| (*name, length))
            })
            .collect();
        let names: Vec<Guid> = lengths.keys().copied().collect();
        let has = self.who_has(&names, &known).await;
        let seed = getrandom::u64().map_err(StoreError::no_randomness)?;
        let with = known.iter().zip(0..).filter_map(|(keeper, n)| {
            let has = has.get(&keeper.host)?;
            let there = names.iter().zip(has).filter(|(_, has)| **has).map(|(name, _)| *name);
            let there: Vec<Guid> = there.collect();
            (!there.is_empty()).then(|| (keeper, there, Random::new(seed ^ n)))
        });
        let questions = stream::iter(with.collect::<Vec<_>>()).map(|(keeper, there, random)| {
            let lengths = &lengths;
            async move { (keeper, self.show(keeper, &there, lengths, random).await) }
        });
        let answers: Vec<_> = questions.buffer_unordered(ASKED_AT_ONCE).collect().await;

        let mut proved = Proved::default();
        let held = self.held(None).await?;
        for (keeper, shown) in answers {
            match shown {
                Shown::All(parts) => proved.passed += parts,
                Shown::Silent => proved.silent += 1,
                Shown::Not { fragment, length, why } => {
                    let host = keeper.host;
                    let lease = held.get(&host).map(|held| held.lease);
                    let lease = match lease {
                        Some(lease) => self.report(ProveRequest { lease, fragment, length }).await,
                        None => None,
                    };
                    proved.failed.push(FailedProof { host, fragment, why, lease });
                }
            }
        }
        proved.failed.sort_by_key(|failed| failed.host);
        Ok(proved)
    }

    /// Has the complex ask a host itself.
    async fn report(&self, request: ProveRequest) -> Option<LeaseId> {
        match self.client.prove_storage(&request).await {
            Ok(()) => Some(request.lease),
            Err(error) => {
                tracing::warn!(lease = %request.lease, %error, "the complex does not ask a host");
                None
            }
        }
    }

    /// Some parts of what a host says it has, by chance.
    async fn show(
        &self,
        keeper: &KeeperView,
        there: &[Guid],
        lengths: &BTreeMap<Guid, u32>,
        mut random: Random,
    ) -> Shown {
        let line = self.lines.to(keeper);
        let Ok(Ok(connection)) = timeout(ASK_TIMEOUT, self.lines.open(&line)).await else {
            return Shown::Silent;
        };
        for passed in 0..PROOFS_OF_HOST {
            let fragment = there[random.below(there.len() as u64) as usize];
            let length = lengths[&fragment];
            let group = random.below(groups_of(length).into()) as u32;
            let question = audit_fragment(&connection, fragment, group, random.next_u64());
            let why = match timeout(ASK_TIMEOUT, question).await {
                Ok(Ok(Got::Piece(piece))) if piece.length == length => continue,
                Ok(Ok(Got::Piece(_))) => "a part of a fragment of another length".into(),
                Ok(Ok(Got::Missing)) => "it is not there, though the host says so".into(),
                Ok(Ok(Got::Wrong(error))) => error.to_string(),
                // It was there a moment ago, and may be again.
                Ok(Ok(Got::Refused(_)) | Err(_)) | Err(_) if passed > 0 => {
                    return Shown::All(passed);
                }
                Ok(Ok(Got::Refused(_)) | Err(_)) | Err(_) => return Shown::Silent,
            };
            return Shown::Not { fragment, length, why };
        }
        Shown::All(PROOFS_OF_HOST)
    }
}
