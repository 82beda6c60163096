//! Making anew what hosts that are gone have had, for owners who need not be there.
//!
//! Manifests lie here among the fragments, under the hashes of their bytes; what is no fragment of
//! a manifest decodes as one. A manifest names all fragments of an object and opens nothing, so all
//! of this is done on ciphertext: who else has which, m of them fetched, all made again, and those
//! that nobody has any more put where the complex has leased room for them. Names are hashes: a
//! host that serves something else is found out, and one segment is in memory at a time. What two
//! hosts that were told to mend before have a manifest of is left alone: they have seen to it, and
//! one liar among them does no harm.
//!
//! The owner's rate and caps hold for it as for all else, and a pause of the owner ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use isos_base::fragment::wire::{FRAGMENT_ALPN, FRAGMENTS_NAMED_MAX};
use isos_base::storage::{KeeperAddress, MendOrder, MendPlace, MendReport};
use isos_base::{Bytes, Guid, HostId, LeaseId};
use isos_net::{
    Connection, Got, PeerAddr, Wanted, get_fragments, has_fragments, present_grant, put_fragments,
};
use isos_store::code::{Coder, Gather};
use isos_store::manifest::{Manifest, Root, Segment};
use tokio::time::timeout;

use super::Keeper;
use crate::traffic::Way;

/// A host that has not answered within this time is not there.
const ASK: Duration = Duration::from_secs(15);
/// Nor one that has not moved a fragment of at most 4 MiB within this.
const MOVE: Duration = Duration::from_secs(120);
/// Objects of one order: with each its manifest is in memory, one after the other.
const OBJECTS_MAX: usize = 100_000;

/// An object is left alone when so many others have seen to it.
const SEEN_TO_BY: u8 = 2;

/// Why mending stops before its end.
enum Stop {
    /// The owner needs the line, or its cap is used up.
    Owner,
    /// What is kept here cannot be read.
    Disk,
    /// There are more objects than [`OBJECTS_MAX`].
    Many,
}

/// Who takes part, and what came of it so far.
struct Round {
    /// Other hosts that may have something, and new places; nothing for those that do not answer.
    peers: BTreeMap<HostId, Option<Connection>>,
    addresses: BTreeMap<HostId, KeeperAddress>,
    /// New places, by host.
    places: BTreeMap<HostId, MendPlace>,
    /// Who has mended before.
    mended: Vec<HostId>,
    report: MendReport,
}

impl Keeper {
    /// Does it, as far as it can be done.
    pub(crate) async fn mend(self: &Arc<Self>, order: MendOrder) -> MendReport {
        let MendOrder { number, lease, places, hosts, mended } = order;
        let own = self.host();
        let new = places.iter().map(|place| &place.keeper);
        let addresses = hosts.iter().chain(new).filter(|it| it.host != own);
        let mut round = Round {
            peers: BTreeMap::new(),
            addresses: addresses.map(|it| (it.host, it.clone())).collect(),
            places: places.into_iter().map(|place| (place.keeper.host, place)).collect(),
            mended: hosts.iter().take(mended.into()).map(|it| it.host).collect(),
            report: MendReport { number, ..MendReport::default() },
        };
        let why = match self.mend_all(lease, &mut round).await {
            Ok(()) => {
                round.report.is_whole = true;
                ""
            }
            Err(Stop::Owner) => "; not all of it: the owner needs the line",
            Err(Stop::Disk) => "; not all of it: what is kept here cannot be read",
            Err(Stop::Many) => "; not all of it: too many objects",
        };
        let MendReport { objects, fragments, moved, lost, missing, .. } = round.report;
        tracing::info!(
            "made anew what hosts that are gone have had of {objects} objects: {fragments} \
             fragments, {moved} moved, {lost} segments are lost, {missing} fragments have no place\
             {why}"
        );
        round.report
    }

    async fn mend_all(self: &Arc<Self>, lease: LeaseId, round: &mut Round) -> Result<(), Stop> {
        let mut from = Guid([0; 32]);
        loop {
            let found = self.with_packs(move |packs| packs.names(lease, from)).await;
            let (names, next) = found.map_err(|_| Stop::Disk)?;
            let mut roots = Vec::new();
            for name in names {
                if self.may_be_root(name).await {
                    roots.push(name);
                }
            }
            for name in self.not_mended(roots, round).await {
                if round.report.objects as usize >= OBJECTS_MAX {
                    return Err(Stop::Many);
                }
                if let Some(manifest) = self.manifest(name).await {
                    round.report.objects += 1;
                    self.mend_object(&manifest, round).await?;
                }
            }
            match next {
                Some(next) => from = next,
                None => return Ok(()),
            }
        }
    }

    async fn may_be_root(self: &Arc<Self>, name: Guid) -> bool {
        let first = self.with_packs(move |packs| packs.read(&name, 0, 1)).await;
        first.is_ok_and(|it| Root::may_begin(&it.bytes))
    }

    /// Those of these manifests that not enough hosts which have mended before keep.
    async fn not_mended(self: &Arc<Self>, names: Vec<Guid>, round: &mut Round) -> Vec<Guid> {
        let mut left: Vec<(Guid, u8)> = names.into_iter().map(|name| (name, 0)).collect();
        for host in round.mended.clone() {
            for some in left.chunks_mut(FRAGMENTS_NAMED_MAX) {
                let names: Vec<Guid> = some.iter().map(|(name, _)| *name).collect();
                // It may have gone since: better twice than never.
                let has = self.ask_what_it_has(host, &names, round).await.unwrap_or_default();
                some.iter_mut().zip(has).for_each(|((_, seen), has)| *seen += u8::from(has));
            }
            left.retain(|(_, seen)| *seen < SEEN_TO_BY);
        }
        left.into_iter().map(|(name, _)| name).collect()
    }

    async fn ask_what_it_has(
        &self,
        host: HostId,
        names: &[Guid],
        round: &mut Round,
    ) -> Option<Vec<bool>> {
        let connection = self.peer(host, round).await?;
        match timeout(ASK, has_fragments(&connection, names)).await {
            Ok(Ok(Ok(has))) => Some(has),
            said => {
                tracing::debug!(%host, ?said, "a host does not say what it has");
                round.peers.insert(host, None);
                None
            }
        }
    }

    /// What lies under this name here, if it is a manifest.
    async fn manifest(self: &Arc<Self>, name: Guid) -> Option<Manifest> {
        let root = self.kept(name).await?;
        match Root::decode_as(&root, &name).ok()? {
            Root::Manifest(manifest) => Some(manifest),
            Root::Pieces(names) => {
                let mut pieces = Vec::with_capacity(names.len());
                for name in names {
                    pieces.push(self.kept(name).await?);
                }
                Manifest::join(&pieces).ok()
            }
        }
    }

    async fn kept(self: &Arc<Self>, name: Guid) -> Option<Vec<u8>> {
        self.with_packs(move |packs| packs.get(&name)).await.ok()
    }

    async fn mend_object(
        self: &Arc<Self>,
        manifest: &Manifest,
        round: &mut Round,
    ) -> Result<(), Stop> {
        let mut any = false;
        for segment in &manifest.segments {
            let holders = self.holders(segment, round).await;
            let there = different(segment, &holders);
            if there.len() == usize::from(segment.code.n()) {
                continue;
            }
            if there.len() < usize::from(segment.code.m()) {
                round.report.lost += 1;
                continue;
            }
            any |= self.mend_segment(segment, &holders, &there, round).await?;
        }
        if any {
            let pieces = manifest.pieces();
            let named = |piece: Vec<u8>| (Guid::of(&piece), bytes::Bytes::from(piece));
            let pieces: Vec<(Guid, bytes::Bytes)> = pieces.into_iter().map(named).collect();
            for host in round.places.keys().copied().collect::<Vec<_>>() {
                for (name, piece) in &pieces {
                    self.hand_over(host, *name, piece.clone(), round).await?;
                }
            }
        }
        Ok(())
    }

    /// Who has which fragments of a segment, this host among them.
    async fn holders(self: &Arc<Self>, segment: &Segment, round: &mut Round) -> Vec<(u16, HostId)> {
        let names = segment.fragments.clone();
        let mut all = Vec::new();
        let own = self.has(self.key.public(), names.clone()).await.unwrap_or_default();
        let mut note = |host: HostId, has: Vec<bool>| {
            let which = (0..).zip(has).filter(|(_, has)| *has).map(|(index, _)| (index, host));
            all.extend(which);
        };
        note(self.host(), own);
        let hosts: Vec<HostId> = round.addresses.keys().copied().collect();
        for host in hosts {
            debug_assert!(names.len() <= FRAGMENTS_NAMED_MAX);
            if let Some(has) = self.ask_what_it_has(host, &names, round).await {
                note(host, has);
            }
        }
        all
    }

    /// A connection to a host of the round, if it answers.
    async fn peer(&self, host: HostId, round: &mut Round) -> Option<Connection> {
        if let Some(known) = round.peers.get(&host) {
            return known.clone();
        }
        let KeeperAddress { addresses, relay, .. } = round.addresses.get(&host)?.clone();
        let peer = PeerAddr { key: host.0, addresses, relay };
        let connection = timeout(ASK, self.door.endpoint().connect(&peer, FRAGMENT_ALPN)).await;
        let mut connection = match connection {
            Ok(Ok(connection)) => Some(connection),
            why => {
                tracing::debug!(%host, ?why, "a host cannot be reached");
                None
            }
        };
        if let (Some(to), Some(place)) = (&connection, round.places.get(&host)) {
            let shown = timeout(ASK, present_grant(to, &place.grant)).await;
            if !matches!(shown, Ok(Ok(Ok(_)))) {
                tracing::debug!(%host, ?shown, "a new place does not take the grant");
                connection = None;
            }
        }
        round.peers.insert(host, connection.clone());
        connection
    }

    /// Fetches m fragments, makes all, hands over those that nobody has. Whether any was.
    async fn mend_segment(
        self: &Arc<Self>,
        segment: &Segment,
        holders: &[(u16, HostId)],
        there: &BTreeSet<u16>,
        round: &mut Round,
    ) -> Result<bool, Stop> {
        let with: BTreeSet<HostId> = holders.iter().map(|(_, host)| *host).collect();
        let free: Vec<HostId> =
            round.places.keys().filter(|host| !with.contains(host)).copied().collect();
        let missing: Vec<u16> = (0..segment.code.n()).filter(|it| !there.contains(it)).collect();
        round.report.missing += missing.len().saturating_sub(free.len()) as u64;
        if free.is_empty() {
            return Ok(false);
        }
        let names = segment.fragments.clone();
        let mut gather = Gather::new(segment.code, segment.length as usize, names);
        let own = self.host();
        // First what costs nothing.
        let near = holders.iter().filter(|(_, host)| *host == own);
        let far = holders.iter().filter(|(_, host)| *host != own);
        for (index, host) in near.chain(far) {
            if gather.is_enough() {
                break;
            }
            if gather.has(*index) {
                continue;
            }
            let name = gather.name(*index);
            let bytes = if *host == own {
                self.kept(name).await
            } else {
                self.fetch(*host, name, segment.fragment_bytes(), round).await?
            };
            if let Some(bytes) = bytes {
                // What is refused was served by a liar: another will do.
                let _ = gather.offer(*index, bytes.into());
            }
        }
        if !gather.is_enough() {
            round.report.lost += 1;
            return Ok(false);
        }
        let made = tokio::task::spawn_blocking(move || gather.rebuild(&mut Coder::new())).await;
        let Ok(Ok(coded)) = made else {
            // Whoever stored it made names of something else.
            round.report.lost += 1;
            return Ok(false);
        };
        let mut any = false;
        for (index, host) in missing.iter().zip(free) {
            let (name, bytes) = (segment.fragments[usize::from(*index)], coded.fragment(*index));
            let is_kept = self.hand_over(host, name, bytes, round).await?;
            any |= is_kept;
            round.report.missing += u64::from(!is_kept);
        }
        Ok(any)
    }

    async fn fetch(
        &self,
        host: HostId,
        name: Guid,
        length: usize,
        round: &mut Round,
    ) -> Result<Option<Vec<u8>>, Stop> {
        let size = self.may_move(length)?;
        let Some(connection) = self.peer(host, round).await else { return Ok(None) };
        let wanted = [Wanted::whole(name)];
        let mut got = None;
        let fetched = get_fragments(&connection, &wanted, |_, it| got = Some(it));
        if !matches!(timeout(MOVE, fetched).await, Ok(Ok(()))) {
            round.peers.insert(host, None);
            return Ok(None);
        }
        round.report.moved.0 += size.0;
        tokio::time::sleep(self.traffic.moves(Way::Down, size)).await;
        Ok(match got {
            Some(Got::Piece(piece)) if piece.is_whole() => Some(piece.bytes),
            _ => None,
        })
    }

    /// Puts a fragment on a new place; whether it is there now.
    async fn hand_over(
        &self,
        host: HostId,
        name: Guid,
        bytes: bytes::Bytes,
        round: &mut Round,
    ) -> Result<bool, Stop> {
        let size = self.may_move(bytes.len())?;
        let Some(connection) = self.peer(host, round).await else { return Ok(false) };
        let Some(lease) = round.places.get(&host).map(|place| place.grant.grant.lease) else {
            return Ok(false);
        };
        let fragments = [(name, bytes)];
        let mut kept = false;
        let put = put_fragments(&connection, lease, &fragments, |_, said| {
            if let Err(why) = &said {
                tracing::debug!(%host, %why, "a new place takes no fragment");
            }
            kept = said.is_ok();
        });
        if !matches!(timeout(MOVE, put).await, Ok(Ok(()))) {
            round.peers.insert(host, None);
            return Ok(false);
        }
        round.report.moved.0 += size.0;
        round.report.fragments += u64::from(kept);
        self.counts.sent.fetch_add(size.0, Ordering::Relaxed);
        tokio::time::sleep(self.traffic.moves(Way::Up, size)).await;
        Ok(kept)
    }

    /// Whether the owner lets so much be moved now.
    fn may_move(&self, length: usize) -> Result<Bytes, Stop> {
        let size = Bytes(length as u64);
        let serves = self.allowed.borrow().keeping.serves;
        if serves && self.traffic.has_room(size) { Ok(size) } else { Err(Stop::Owner) }
    }
}

/// Which fragments there are: copies have one name for all, so their hosts are counted.
fn different(segment: &Segment, holders: &[(u16, HostId)]) -> BTreeSet<u16> {
    if segment.code.m() > 1 {
        return holders.iter().map(|(index, _)| *index).collect();
    }
    let hosts: BTreeSet<HostId> = holders.iter().map(|(_, host)| *host).collect();
    (0..segment.code.n()).take(hosts.len()).collect()
}
