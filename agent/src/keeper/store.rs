//! What peers ask for, done with the packs: grants are checked by their signatures, writers by the
//! grants that they have shown. Whoever knows a fragment's name may read it; what it holds is
//! sealed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use isos_base::codec;
use isos_base::fragment::wire::FragmentRefusal;
use isos_base::fragment::{
    GROUP_BYTES, HeadSet, Piece, Proof, ProofAsked, Receipt, SignedGrant, SignedHead, SignedReceipt,
};
use isos_base::key::PublicKey;
use isos_base::{Bytes, Guid, LeaseId, Span, Time};
use isos_disk::Packs;
use isos_disk::packs::{Lease, PackError, Put};

use super::{Keeper, lock};
use crate::clock;
use crate::traffic::Way;

/// Who finds the owner in the way comes back after this.
const PAUSED: Span = Span::secs(600);
/// And who finds a cap used up.
const CAPPED: Span = Span::secs(3_600);
/// Somebody who would have to wait longer for the owner's rate is told so.
const WAIT_MAX: Duration = Duration::from_secs(10);

impl Keeper {
    /// Does something with the packs where it may block.
    pub(super) async fn with_packs<T: Send + 'static>(
        self: &Arc<Self>,
        so: impl FnOnce(&Packs) -> Result<T, PackError> + Send + 'static,
    ) -> Result<T, FragmentRefusal> {
        let packs = self.packs.get().cloned().ok_or(FragmentRefusal::HostFull)?;
        let _place = self.disk.acquire().await;
        let done = tokio::task::spawn_blocking(move || so(&packs)).await;
        match done {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                if let PackError::Disk { .. } | PackError::Index(_) = &error {
                    let why = isos_base::causes::report(&error);
                    tracing::warn!("what is kept for others cannot be reached: {why}");
                }
                Err(error.refusal())
            }
            Err(_) => Err(FragmentRefusal::Failed),
        }
    }

    /// Groups of a fragment that is here.
    async fn groups(
        self: &Arc<Self>,
        fragment: Guid,
        first: u32,
        count: u32,
    ) -> Result<Option<Piece>, FragmentRefusal> {
        self.with_packs(move |packs| match packs.read(&fragment, first, count) {
            Ok(piece) => Ok(Some(piece)),
            Err(PackError::Missing { .. } | PackError::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    fn check_holder(&self, from: PublicKey, lease: LeaseId) -> Result<(), FragmentRefusal> {
        let holder = lock(&self.leases).holder(lease);
        if holder == Some(from) { Ok(()) } else { Err(FragmentRefusal::Lease) }
    }

    /// Whether something that has come may be kept under a lease, as far as the owner and the
    /// lease's holder decide it; waits for the owner's rate.
    async fn admit(
        &self,
        from: PublicKey,
        lease: LeaseId,
        size: Bytes,
    ) -> Result<(), FragmentRefusal> {
        let has_room = self.traffic.has_room(size);
        // It has come, whatever becomes of it.
        let wait = self.traffic.moves(Way::Down, size);
        if !has_room {
            return Err(self.capped());
        }
        if !self.allowed.borrow().keeping.takes {
            return Err(FragmentRefusal::Busy(PAUSED));
        }
        self.check_holder(from, lease)?;
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// A cap leaves no room: nobody is answered until the owner's policy is looked at again.
    fn capped(&self) -> FragmentRefusal {
        self.peers.send_away();
        FragmentRefusal::Busy(CAPPED)
    }
}

/// As `isos_net::FragmentStore` has them.
impl Keeper {
    /// Believes a grant, or does not.
    pub(super) async fn present(
        self: &Arc<Self>,
        from: PublicKey,
        grant: SignedGrant,
    ) -> Result<Time, FragmentRefusal> {
        let now = clock::now();
        let refused = |why: String| FragmentRefusal::Grant(why);
        let checked = grant.check(&self.complex, &self.host(), now);
        let good = checked.map_err(|why| refused(why.to_string()))?.clone();
        if good.holder != from {
            return Err(refused("it is for another key".into()));
        }
        let lease = good.lease;
        let row = self.with_packs(move |packs| Ok(packs.lease(lease))).await?;
        let kept = row.map(|row| (row.lease.issued, row.lease.until));
        if lock(&self.leases).is_over(&good, kept, now) {
            return Err(refused("the lease was given up, or has ended".into()));
        }
        let word = Lease::from(&good);
        self.with_packs(move |packs| packs.grant(&[word])).await?;
        lock(&self.leases).shown(&good);
        self.woken.notify_one();
        let later = kept.filter(|(issued, _)| *issued > good.issued);
        Ok(later.map_or(good.until, |(_, until)| until))
    }

    /// Keeps a fragment.
    pub(super) async fn put(
        self: &Arc<Self>,
        from: PublicKey,
        lease: LeaseId,
        fragment: Guid,
        bytes: Vec<u8>,
    ) -> Result<SignedReceipt, FragmentRefusal> {
        let length = bytes.len() as u32;
        self.counts.received.fetch_add(length.into(), Ordering::Relaxed);
        self.admit(from, lease, Bytes(length.into())).await?;
        let now = clock::now();
        let kept = self
            .with_packs(move |packs| {
                let puts = packs.put(now, vec![Put { lease, id: fragment, bytes }]);
                puts.into_iter().next().unwrap_or(Err(PackError::Length { length: 0 }))
            })
            .await?;
        self.woken.notify_one();
        let (complex, host, at, until) = (self.complex, self.host(), now, kept.until);
        let receipt = Receipt { complex, lease, host, fragment, length, at, until };
        Ok(receipt.sign(&self.key))
    }

    /// Groups of a fragment.
    pub(super) async fn read(
        self: &Arc<Self>,
        _: PublicKey,
        fragment: Guid,
        first: u32,
        count: u32,
    ) -> Result<Option<Piece>, FragmentRefusal> {
        // What it can be at the most, before the disk is asked.
        let most = Bytes(u64::from(count).saturating_mul(GROUP_BYTES.into()));
        let most = most.min(Bytes(isos_base::fragment::FRAGMENT_BYTES_MAX.into()));
        if !self.traffic.has_room(most) {
            return Err(self.capped());
        }
        if self.traffic.wait(Way::Up) > WAIT_MAX {
            return Err(FragmentRefusal::Busy(Span::from_std(WAIT_MAX)));
        }
        let Some(piece) = self.groups(fragment, first, count).await? else { return Ok(None) };
        let length = piece.bytes.len() as u64;
        self.counts.sent.fetch_add(length, Ordering::Relaxed);
        tokio::time::sleep(self.traffic.moves(Way::Up, Bytes(length))).await;
        Ok(Some(piece))
    }

    /// What the complex is shown of a fragment; nothing while the disk cannot tell. It is asked for
    /// by the owner's complex, seldom, and is small: no limit of the owner stands in its way.
    pub(crate) async fn prove(self: &Arc<Self>, asked: &ProofAsked) -> Option<Proof> {
        let ProofAsked { lease, fragment, .. } = *asked;
        let piece = self.groups(fragment, asked.group(), 1).await.ok()?;
        Some(Proof { lease, fragment, piece })
    }

    /// Which of these are here.
    pub(super) async fn has(
        self: &Arc<Self>,
        _: PublicKey,
        fragments: Vec<Guid>,
    ) -> Result<Vec<bool>, FragmentRefusal> {
        self.with_packs(move |packs| fragments.iter().map(|id| packs.has(id)).collect()).await
    }

    /// Removes fragments of a lease.
    pub(super) async fn remove(
        self: &Arc<Self>,
        from: PublicKey,
        lease: LeaseId,
        fragments: Vec<Guid>,
    ) -> Result<u32, FragmentRefusal> {
        self.check_holder(from, lease)?;
        self.with_packs(move |packs| packs.remove(lease, &fragments)).await
    }

    /// How much lies under a lease.
    pub(super) async fn used(
        self: &Arc<Self>,
        from: PublicKey,
        lease: LeaseId,
    ) -> Result<Bytes, FragmentRefusal> {
        self.check_holder(from, lease)?;
        let row = self.with_packs(move |packs| Ok(packs.lease(lease))).await?;
        row.map(|row| row.used).ok_or(FragmentRefusal::Lease)
    }

    /// Keeps a head, or tells of a newer one.
    pub(super) async fn set_head(
        self: &Arc<Self>,
        from: PublicKey,
        lease: LeaseId,
        head: SignedHead,
    ) -> Result<HeadSet, FragmentRefusal> {
        let size = Bytes(codec::encode(&head).len() as u64);
        self.admit(from, lease, size).await?;
        let now = clock::now();
        let set = self.with_packs(move |packs| packs.set_head(now, lease, &head)).await?;
        self.woken.notify_one();
        Ok(set)
    }

    /// The newest head of a key that is here.
    pub(super) async fn head(
        self: &Arc<Self>,
        key: PublicKey,
    ) -> Result<Option<SignedHead>, FragmentRefusal> {
        if !self.traffic.has_room(Bytes::ZERO) {
            return Err(self.capped());
        }
        let head = self.with_packs(move |packs| packs.head(&key)).await?;
        let size = head.as_ref().map_or(0, |head| codec::encode(head).len() as u64);
        tokio::time::sleep(self.traffic.moves(Way::Up, Bytes(size))).await;
        Ok(head)
    }
}
