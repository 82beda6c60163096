//! Looking after what is stored: how much of it is there, making anew what is lost, giving up what
//! is not wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes as Buffer;
use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use isos_base::api::{KeeperView, Standing};
use isos_base::fragment::wire::FRAGMENTS_NAMED_MAX;
use isos_base::{Bytes, Guid, HostId, LeaseId};
use isos_net::remove_fragments;
use isos_store::code::Coder;
use isos_store::durability::{Estimate, Scheme, estimate};
use isos_store::manifest::{Manifest, Segment};
use isos_store::spread::{Candidate, Wish, spread};
use tokio::time::timeout;

use super::leases::{Held, candidate, hosts_of};
use super::put::carry;
use super::{PutOptions, Store, StoreError};
use crate::limits::{ASK_TIMEOUT, ASKED_AT_ONCE, SEGMENTS_AT_ONCE};

/// How an object stands, as its hosts themselves say.
#[derive(Debug, Clone)]
pub struct Health {
    /// What it is.
    pub manifest: Manifest,
    /// Each segment.
    pub segments: Vec<SegmentHealth>,
    /// Hosts that have something of it, and how many fragments.
    pub hosts: Vec<(KeeperView, u32)>,
    /// Hosts that have its manifest.
    pub manifests: u32,
    /// Hosts that were asked and answered.
    pub asked: usize,
    /// Hosts that did not answer.
    pub silent: usize,
    /// What the worst segment is worth with what is left of it; nothing if too little is left.
    pub worth: Option<Estimate>,
}

/// How a segment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHealth {
    /// Fragments that are enough.
    pub m: u16,
    /// Fragments that it should have.
    pub n: u16,
    /// Fragments that are there.
    pub found: u16,
}

/// What was given up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// Fragments that hosts have removed.
    pub fragments: u64,
    /// Bytes that became free, by lease.
    pub leases: BTreeMap<LeaseId, Bytes>,
    /// Hosts that did not answer: there it stays until the lease ends.
    pub silent: usize,
}

/// What was made anew.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mended {
    /// Segments of which something was.
    pub segments: u32,
    /// Fragments that were made and stored, copies of the manifest among them.
    pub fragments: u64,
    /// Bytes that were added to each lease.
    pub leases: BTreeMap<LeaseId, Bytes>,
    /// Segments of which too little is left.
    pub lost: Vec<u32>,
    /// Fragments for which there was no host.
    pub missing: u64,
    /// Hosts that have something of the object.
    pub hosts: BTreeSet<HostId>,
}

impl Health {
    /// Whether all of it can be read.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.segments.iter().all(|segment| segment.found >= segment.m)
    }

    /// The segment of which least is left.
    #[must_use]
    pub fn worst(&self) -> Option<&SegmentHealth> {
        self.segments.iter().min_by_key(|segment| segment.found.saturating_sub(segment.m))
    }
}

impl Store {
    /// Asks all hosts that are known what they have of an object.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn health(&self, guid: &Guid) -> Result<Health, StoreError> {
        let known = self.known().await?;
        let manifest = self.manifest_at(guid, &known).await?;
        Ok(self.health_of(manifest, &known).await)
    }

    async fn health_of(&self, manifest: Manifest, known: &[KeeperView]) -> Health {
        let roots = self.who_has(&[manifest.guid()], known).await;
        let (asked, silent) = (roots.len(), known.len() - roots.len());
        let manifests = roots.values().filter(|has| has[0]).count() as u32;
        let mut by_host: BTreeMap<HostId, u32> = BTreeMap::new();
        let mut segments = Vec::with_capacity(manifest.segments.len());
        for window in manifest.segments.chunks(SEGMENTS_AT_ONCE) {
            let window: Vec<&Segment> = window.iter().collect();
            let located = self.locate(&window, known).await;
            for (segment, holders) in window.iter().zip(located) {
                let found: BTreeSet<u16> = holders.iter().map(|(fragment, _)| *fragment).collect();
                holders.iter().for_each(|(_, host)| *by_host.entry(*host).or_default() += 1);
                let (m, n) = (segment.code.m(), segment.code.n());
                segments.push(SegmentHealth { m, n, found: found.len() as u16 });
            }
        }
        let hosts: Vec<(KeeperView, u32)> = known
            .iter()
            .filter_map(|keeper| Some((keeper.clone(), *by_host.get(&keeper.host)?)))
            .collect();
        let mut health =
            Health { manifest, segments, hosts, manifests, asked, silent, worth: None };
        health.worth = health.worst().and_then(|worst| {
            let code = isos_store::code::Code::new(worst.m, worst.found.min(worst.n)).ok()?;
            let scheme = Scheme { code, repair_at: worst.m };
            Some(estimate(&scheme, &hosts_of(health.hosts.iter().map(|(keeper, _)| keeper))))
        });
        health
    }

    /// Makes anew what is lost of an object, on hosts that have nothing of the same segment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn mend(
        &self,
        guid: &Guid,
        options: &PutOptions,
        used: &BTreeMap<LeaseId, Bytes>,
    ) -> Result<Mended, StoreError> {
        let known = self.known().await?;
        let manifest = self.manifest_at(guid, &known).await?;
        let mut held = self.held(Some(options.class)).await?;
        held.retain(|_, held| held.keeper.standing == Standing::Here);
        let mut mended = Mended::default();
        let mut used = used.clone();
        let numbers: Vec<u32> = (0..manifest.segments.len() as u32).collect();
        for window in numbers.chunks(SEGMENTS_AT_ONCE) {
            let segments: Vec<&Segment> =
                window.iter().map(|number| &manifest.segments[*number as usize]).collect();
            let located = self.locate(&segments, &known).await;
            for ((number, segment), holders) in window.iter().zip(segments).zip(located) {
                mended.hosts.extend(holders.iter().map(|(_, host)| *host));
                let there: BTreeSet<u16> = holders.iter().map(|(fragment, _)| *fragment).collect();
                let missing = usize::from(segment.code.n()) - there.len();
                if missing == 0 {
                    continue;
                }
                if there.len() < usize::from(segment.code.m()) {
                    mended.lost.push(*number);
                    continue;
                }
                let job = Mend { manifest: &manifest, number: *number, there, holders };
                self.mend_segment(job, &known, &mut held, &mut used, options, &mut mended).await?;
            }
        }
        self.mend_manifest(&manifest, &known, &held, &mut mended).await;
        Ok(mended)
    }

    async fn mend_segment(
        &self,
        job: Mend<'_>,
        known: &[KeeperView],
        held: &mut BTreeMap<HostId, Held>,
        used: &mut BTreeMap<LeaseId, Bytes>,
        options: &PutOptions,
        mended: &mut Mended,
    ) -> Result<(), StoreError> {
        let segment = &job.manifest.segments[job.number as usize];
        let n = segment.code.n();
        let missing: Vec<u16> = (0..n).filter(|it| !job.there.contains(it)).collect();
        let bytes = Bytes(segment.fragment_bytes() as u64);
        let holders: BTreeSet<HostId> = job.holders.iter().map(|(_, host)| *host).collect();
        let (with, without): (Vec<&KeeperView>, Vec<&KeeperView>) =
            known.iter().partition(|keeper| holders.contains(&keeper.host));
        let fit = |keeper: &&&KeeperView| keeper.standing == Standing::Here;
        let mut candidates: Vec<Candidate> =
            without.iter().filter(fit).map(|keeper| candidate(keeper)).collect();
        candidates.retain(|it| it.free >= bytes);
        let count = missing.len().min(candidates.len()) as u16;
        mended.missing += missing.len() as u64 - u64::from(count);
        if count == 0 {
            return Ok(());
        }
        let with: Vec<Candidate> = with.into_iter().map(candidate).collect();
        let wish = Wish { count, n, bytes, stable: 0, seed: self.now().0 };
        let chosen = spread(&wish, &with, &candidates)?;
        let mut liars = BTreeSet::new();
        let wanted = [(job.number, segment)];
        let rebuild = |_, gather: isos_store::code::Gather| {
            let rebuild = move || gather.rebuild(&mut Coder::new());
            tokio::task::spawn_blocking(rebuild)
                .map(|it| it.expect("coding does not panic"))
                .boxed()
        };
        // First what can be rebuilt, then the room for it: what is lost is not paid for.
        let coded = match self.gather(&wanted, known, &mut liars, rebuild).await {
            Ok(coded) => coded.into_iter().next(),
            Err(StoreError::Missing { .. }) => None,
            Err(error) => return Err(error),
        };
        let Some(Ok(coded)) = coded else {
            mended.lost.push(job.number);
            return Ok(());
        };
        let chosen: Vec<KeeperView> = chosen
            .hosts
            .iter()
            .filter_map(|host| known.iter().find(|keeper| keeper.host == *host).cloned())
            .collect();
        let leased = self.lease_all(&chosen, bytes, used, options, held).await?;
        held.extend(leased.clone());

        let coded = Arc::new(coded);
        let mut any = false;
        for (fragment, held) in missing.iter().zip(leased.values()) {
            let name = coded.names()[usize::from(*fragment)];
            match carry(&self.lines, held, name, coded.fragment(*fragment)).await {
                Ok(_) => {
                    any = true;
                    mended.fragments += 1;
                    mended.leases.entry(held.lease).or_default().0 += bytes.0;
                    used.entry(held.lease).or_default().0 += bytes.0;
                    mended.hosts.insert(held.keeper.host);
                }
                Err(why) => {
                    tracing::debug!(host = %held.keeper.host, ?why, "a host took no fragment");
                    mended.missing += 1;
                }
            }
        }
        mended.segments += u32::from(any);
        Ok(())
    }

    /// Every host of the object has its manifest again.
    async fn mend_manifest(
        &self,
        manifest: &Manifest,
        known: &[KeeperView],
        held: &BTreeMap<HostId, Held>,
        mended: &mut Mended,
    ) {
        let pieces = manifest.pieces();
        let names: Vec<Guid> = pieces.iter().map(|piece| Guid::of(piece)).collect();
        let has = self.who_has(&names, known).await;
        let hosts = mended.hosts.clone();
        for held in held.values().filter(|held| hosts.contains(&held.keeper.host)) {
            let Some(has) = has.get(&held.keeper.host) else { continue };
            let missing = pieces.iter().zip(&names).zip(has).filter(|(_, has)| !**has);
            for ((piece, name), _) in missing {
                let bytes = Buffer::from(piece.clone());
                if carry(&self.lines, held, *name, bytes).await.is_ok() {
                    mended.fragments += 1;
                    mended.leases.entry(held.lease).or_default().0 += piece.len() as u64;
                }
            }
        }
    }

    /// Has hosts remove fragments and manifests of these objects, but for what `others` need too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove(
        &self,
        objects: &[Manifest],
        others: &[Manifest],
    ) -> Result<Removed, StoreError> {
        let mut sizes: BTreeMap<Guid, u64> = BTreeMap::new();
        objects.iter().for_each(|object| sizes.extend(parts(object)));
        for other in others {
            parts(other).keys().for_each(|name| {
                sizes.remove(name);
            });
        }
        self.remove_named(&sizes).await
    }

    /// Has hosts remove the manifest of an object and the fragments of these segments of it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove_parts(
        &self,
        object: &Manifest,
        segments: &[Segment],
    ) -> Result<Removed, StoreError> {
        let sizes = pieces(object).into_iter().chain(fragments(segments)).collect();
        self.remove_named(&sizes).await
    }

    async fn remove_named(&self, sizes: &BTreeMap<Guid, u64>) -> Result<Removed, StoreError> {
        let names: Vec<Guid> = sizes.keys().copied().collect();
        let held = self.all_held().await?;
        let questions = stream::iter(&held).map(|held| {
            let names = &names;
            async move { (held.lease, self.remove_from(held, names, sizes).await) }
        });
        let answers: Vec<_> = questions.buffer_unordered(ASKED_AT_ONCE).collect().await;
        self.asked.removed();
        let mut removed = Removed::default();
        for (lease, answer) in answers {
            let Some((fragments, bytes)) = answer else {
                removed.silent += 1;
                continue;
            };
            removed.fragments += fragments;
            if bytes > 0 {
                removed.leases.insert(lease, Bytes(bytes));
            }
        }
        Ok(removed)
    }

    async fn remove_from(
        &self,
        held: &Held,
        names: &[Guid],
        sizes: &BTreeMap<Guid, u64>,
    ) -> Option<(u64, u64)> {
        let line = self.lines.to(&held.keeper);
        let (mut fragments, mut bytes) = (0, 0);
        let open = self.lines.open_with(&line, &held.grant);
        let connection = timeout(ASK_TIMEOUT, open).await.ok()?.ok()?;
        for names in names.chunks(FRAGMENTS_NAMED_MAX) {
            let exchange = async {
                let has = isos_net::has_fragments(&connection, names).await.ok()?.ok()?;
                let there: Vec<Guid> =
                    names.iter().zip(has).filter(|(_, has)| *has).map(|(name, _)| *name).collect();
                if there.is_empty() {
                    return Some((0, 0));
                }
                let removed = remove_fragments(&connection, held.lease, &there).await.ok()?.ok()?;
                // Some may lie there under another lease.
                let is_all = removed as usize == there.len();
                let size = there.iter().map(|name| sizes[name]).sum::<u64>();
                Some((u64::from(removed), if is_all { size } else { 0 }))
            };
            let (removed, freed) = timeout(ASK_TIMEOUT, exchange).await.ok().flatten()?;
            fragments += removed;
            bytes += freed;
        }
        Some((fragments, bytes))
    }
}

struct Mend<'a> {
    manifest: &'a Manifest,
    number: u32,
    there: BTreeSet<u16>,
    holders: Vec<(u16, HostId)>,
}

/// All that hosts keep of an object, by name, with the length of each.
fn parts(manifest: &Manifest) -> BTreeMap<Guid, u64> {
    fragments(&manifest.segments).into_iter().chain(pieces(manifest)).collect()
}

fn fragments(segments: &[Segment]) -> BTreeMap<Guid, u64> {
    let of_segment = |segment: &Segment| {
        let bytes = segment.fragment_bytes() as u64;
        segment.fragments.iter().map(move |name| (*name, bytes)).collect::<Vec<_>>()
    };
    segments.iter().flat_map(of_segment).collect()
}

fn pieces(manifest: &Manifest) -> BTreeMap<Guid, u64> {
    let pieces = manifest.pieces();
    pieces.iter().map(|piece| (Guid::of(piece), piece.len() as u64)).collect()
}
