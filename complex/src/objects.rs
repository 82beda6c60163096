//! The server's shelf as hosts see it: programs and inputs to fetch, outputs to hand over.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use isos_base::checkpoint::{Saved, object_bytes_max};
use isos_base::key::PublicKey;
use isos_base::task::{OutputAt, TaskResult};
use isos_base::wire::Report;
use isos_base::{AccountId, Bytes, Guid, HostId, LeaseId, limits};
use isos_disk::{ObjectWriter, Shelf};
use isos_kernel::complex::TasksOut;
use isos_net::{Admission, ObjectStore};
use tokio::io::AsyncWrite;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::checked::Checked;
use crate::clock;
use crate::core::{Core, report};
use crate::stock::Stock;

/// Connections for objects that one host may have at once.
const HOST_CONNECTIONS_MAX: usize = 4;
/// Paths and lengths, on top of an output's content.
const OUTPUT_EXTRA: u64 = 64 << 10;

/// Hosts with a session.
#[derive(Debug, Default)]
pub(crate) struct Members(Mutex<HashMap<PublicKey, Member>>);

#[derive(Debug)]
struct Member {
    sessions: u32,
    connections: Arc<Semaphore>,
    /// Dropped when the last session ends.
    here: watch::Sender<()>,
}

/// A member's connection for objects, while it may have it.
pub(crate) struct ObjectPass {
    _place: OwnedSemaphorePermit,
    here: watch::Receiver<()>,
}

impl ObjectPass {
    /// Waits until the host's last session has ended.
    pub(crate) async fn ended(&mut self) {
        while self.here.changed().await.is_ok() {}
    }
}

impl Members {
    pub(crate) fn contains(&self, key: PublicKey) -> bool {
        self.lock().contains_key(&key)
    }

    /// Lets a member in for objects; or says why not.
    pub(crate) fn pass(&self, key: PublicKey) -> Result<ObjectPass, &'static str> {
        let members = self.lock();
        let member = members.get(&key).ok_or("say hello on isos/host/1 first")?;
        let place = member.connections.clone().try_acquire_owned();
        let place = place.map_err(|_| "too many connections for objects")?;
        Ok(ObjectPass { _place: place, here: member.here.subscribe() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PublicKey, Member>> {
        // Nothing panics between two statements that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A membership that lasts as long as this value.
pub(crate) struct Admitted {
    members: Arc<Members>,
    key: PublicKey,
}

impl Admitted {
    pub(crate) fn enter(members: &Arc<Members>, key: PublicKey) -> Self {
        let new = || Member {
            sessions: 0,
            connections: Arc::new(Semaphore::new(HOST_CONNECTIONS_MAX)),
            here: watch::channel(()).0,
        };
        members.lock().entry(key).or_insert_with(new).sessions += 1;
        Self { members: members.clone(), key }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut members = self.members.lock();
        if let Some(member) = members.get_mut(&self.key) {
            member.sessions -= 1;
            if member.sessions == 0 {
                members.remove(&self.key);
            }
        }
    }
}

/// Objects that hosts have handed over, or are handing over, and not named in a report yet. Lost
/// with the process: then they are objects that nothing names.
#[derive(Debug, Default)]
pub(crate) struct Unclaimed(Mutex<Handed>);

#[derive(Debug, Default)]
struct Handed {
    /// Each object by all who hand it over: hosts that do the same task have the same output.
    objects: BTreeMap<(Guid, HostId), Entry>,
    bytes: HashMap<HostId, u64>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    size: u64,
    /// Whether it is not here yet.
    on_way: bool,
}

/// Why an object may not be handed over.
#[derive(Debug, PartialEq, Eq)]
enum NoRoom {
    /// The same host is handing it over already.
    OnItsWay,
    /// So many bytes of the host's are unclaimed.
    Full(u64),
}

impl Handed {
    fn take(&mut self, guid: Guid, host: HostId) -> Option<Entry> {
        let entry = self.objects.remove(&(guid, host))?;
        if let Some(bytes) = self.bytes.get_mut(&host) {
            *bytes -= entry.size;
            if *bytes == 0 {
                self.bytes.remove(&host);
            }
        }
        Some(entry)
    }

    /// Those who hand an object over.
    fn owners(&self, guid: Guid) -> impl Iterator<Item = (HostId, Entry)> {
        let first = (guid, HostId(PublicKey([0; 32])));
        let from = self.objects.range(first..);
        from.take_while(move |((of, _), _)| *of == guid).map(|((_, host), entry)| (*host, *entry))
    }
}

impl Unclaimed {
    fn lock(&self) -> MutexGuard<'_, Handed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `host` hands `guid` over, if it then has no more than `room` bytes unclaimed.
    fn reserve(&self, host: HostId, guid: Guid, size: u64, room: u64) -> Result<(), NoRoom> {
        let mut handed = self.lock();
        // One entry for two transfers would be gone with the first of them that ends.
        if handed.objects.get(&(guid, host)).is_some_and(|entry| entry.on_way) {
            return Err(NoRoom::OnItsWay);
        }
        // One that was here, and is not any more.
        handed.take(guid, host);
        let bytes = handed.bytes.get(&host).copied().unwrap_or(0);
        match bytes.checked_add(size) {
            Some(sum) if sum <= room => {
                handed.objects.insert((guid, host), Entry { size, on_way: true });
                handed.bytes.insert(host, sum);
                Ok(())
            }
            _ => Err(NoRoom::Full(bytes)),
        }
    }

    /// The object has come.
    fn came(&self, host: HostId, guid: Guid) {
        if let Some(entry) = self.lock().objects.get_mut(&(guid, host)) {
            entry.on_way = false;
        }
    }

    /// The object did not come.
    fn broke_off(&self, host: HostId, guid: Guid) {
        self.lock().take(guid, host);
    }

    /// The object belongs to something from now on, whoever handed it over. What is still on its
    /// way counts until it is here or broke off.
    pub(crate) fn settle(&self, guid: &Guid) {
        let mut handed = self.lock();
        let here: Vec<_> = handed.owners(*guid).filter(|(_, entry)| !entry.on_way).collect();
        for (host, _) in here {
            handed.take(*guid, host);
        }
    }

    /// Hosts with unclaimed objects.
    pub(crate) fn hosts(&self) -> Vec<HostId> {
        self.lock().bytes.keys().copied().collect()
    }

    /// The unclaimed objects of a host.
    pub(crate) fn of(&self, host: HostId) -> Vec<Guid> {
        let handed = self.lock();
        handed.objects.keys().filter(|(_, owner)| *owner == host).map(|(guid, _)| *guid).collect()
    }

    /// Takes all unclaimed objects of a host out; those come back that no other host has handed
    /// over.
    pub(crate) fn take_all(&self, host: HostId) -> Vec<Guid> {
        let guids = self.of(host);
        let mut handed = self.lock();
        for guid in &guids {
            if handed.objects.get(&(*guid, host)).is_some_and(|entry| !entry.on_way) {
                handed.take(*guid, host);
            }
        }
        guids.into_iter().filter(|guid| handed.owners(*guid).next().is_none()).collect()
    }
}

/// The most that these tasks may leave, all together.
fn room(out: &[TasksOut]) -> u64 {
    let each = |max: Bytes| max.0.saturating_mul(2).saturating_add(OUTPUT_EXTRA);
    out.iter().fold(0u64, |sum, it| {
        sum.saturating_add(u64::from(it.tasks.count()).saturating_mul(each(it.output_max)))
    })
}

/// The shelf behind `isos/object/1`.
pub(crate) struct Store {
    pub(crate) shelf: Shelf,
    pub(crate) members: Arc<Members>,
    pub(crate) unclaimed: Arc<Unclaimed>,
    pub(crate) stock: Stock,
    pub(crate) core: Core,
}

impl Store {
    /// Takes a checkpoint as what it is, or as not handed over if it is not here.
    pub(crate) async fn claim_checkpoint(&self, host: HostId, saved: &mut Saved) {
        let Some(guid) = saved.roots.last().filter(|_| saved.kept.take().is_some()) else { return };
        let Ok(out) = self.core.query(move |complex, _| complex.tasks_out(host)).await else {
            return;
        };
        let held = out.iter().find(|it| it.lease == saved.lease && it.tasks.contains(saved.task));
        let size = self.shelf.need(guid, clock::now());
        if let (Some(held), Some(size)) = (held, size) {
            self.stock.belongs(*guid, held.buyer, size);
        }
        if held.is_some() && size.is_some_and(|size| size <= object_bytes_max()) {
            saved.kept = size;
            self.unclaimed.settle(guid);
        }
    }

    /// Takes the outputs that a report names as what the host's tasks have left.
    pub(crate) async fn claim(&self, host: HostId, report: &Report) {
        let object = |result: &TaskResult| match result.output {
            OutputAt::Object(guid, _) => Some((result.task, guid)),
            OutputAt::Inline(_) => None,
        };
        let named = report.leases.iter().flat_map(|news| {
            news.results.iter().filter_map(object).map(|(task, guid)| (news.lease, task, guid))
        });
        let named: Vec<(LeaseId, u32, Guid)> = named.collect();
        if named.is_empty() {
            return;
        }
        let Ok(out) = self.core.query(move |complex, _| complex.tasks_out(host)).await else {
            return;
        };
        for (lease, task, guid) in named {
            let out = out.iter().find(|it| it.lease == lease && it.tasks.contains(task));
            let Some(out) = out else { continue };
            if let Some(size) = self.shelf.need(&guid, clock::now()) {
                self.stock.belongs(guid, out.buyer, size);
            }
            self.unclaimed.settle(&guid);
        }
    }
}

impl ObjectStore for Store {
    type Reader = Checked;
    type Writer = Writer;

    async fn open(&self, from: PublicKey, guid: Guid) -> io::Result<Option<(Checked, u64)>> {
        if !self.members.contains(from) || !self.shelf.contains(&guid) {
            return Ok(None);
        }
        let shelf = self.shelf.clone();
        let opened = blocking(move || shelf.open_object(&guid)).await?;
        let (file, size) = opened.map_err(io::Error::other)?;
        Ok(Some((Checked::new(self.shelf.clone(), guid, file, size.0), size.0)))
    }

    async fn accept(&self, from: PublicKey, guid: Guid, size: u64) -> Admission<Writer> {
        if !self.members.contains(from) {
            return Admission::Refuse("only hosts with a session hand objects over".into());
        }
        let host = HostId(from);
        let Ok(out) = self.core.query(move |complex, _| complex.tasks_out(host)).await else {
            return Admission::Refuse("the server is stopping".into());
        };
        if out.is_empty() {
            return Admission::Refuse("this host holds no lease that could leave outputs".into());
        }
        if self.shelf.need(&guid, clock::now()).is_some() {
            return Admission::Have;
        }
        let max = limits::OUTPUT_BYTES_MAX.0 * 2 + OUTPUT_EXTRA;
        if size > max {
            return Admission::Refuse(format!("{size} bytes, an output has at most {max}"));
        }
        // It is not said for whom it is: one of them has room at least.
        let buyers: BTreeSet<AccountId> = out.iter().map(|it| it.buyer).collect();
        let shares =
            buyers.iter().map(|buyer| self.stock.reserve(&self.shelf, *buyer, Bytes(size)));
        let mut shares: Vec<_> = shares.collect();
        if shares.iter().all(Result::is_err)
            && let Some(Err(why)) = shares.pop()
        {
            return Admission::Refuse(format!("for this job {}", why.message));
        }
        drop(shares);
        let room = room(&out);
        match self.unclaimed.reserve(host, guid, size, room) {
            Ok(()) => {}
            Err(NoRoom::OnItsWay) => {
                let why = "this host is handing the object over already: let that one end first";
                return Admission::Refuse(why.into());
            }
            Err(NoRoom::Full(there)) => {
                return Admission::Refuse(format!(
                    "{} more, with {} handed over and not reported: its tasks may leave {}",
                    Bytes(size),
                    Bytes(there),
                    Bytes(room)
                ));
            }
        }
        let place = Place { unclaimed: self.unclaimed.clone(), host, guid, kept: false };
        let shelf = self.shelf.clone();
        match blocking(move || shelf.writer(guid, Bytes(size))).await {
            Ok(Ok(writer)) => Admission::Write(Writer { object: writer, place }),
            Ok(Err(error)) => Admission::Refuse(report(&error)),
            Err(error) => Admission::Refuse(error.to_string()),
        }
    }

    async fn commit(&self, _: Guid, writer: Writer) -> io::Result<()> {
        let Writer { object, mut place } = writer;
        blocking(move || object.finish()).await?.map_err(io::Error::other)?;
        place.kept = true;
        place.unclaimed.came(place.host, place.guid);
        Ok(())
    }
}

/// An object's entry among the unclaimed; gone again if the object does not come.
struct Place {
    unclaimed: Arc<Unclaimed>,
    host: HostId,
    guid: Guid,
    kept: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            self.unclaimed.broke_off(self.host, self.guid);
        }
    }
}

/// An object on its way to the shelf, with its entry.
pub(crate) struct Writer {
    object: ObjectWriter,
    place: Place,
}

impl AsyncWrite for Writer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.object).poll_write(cx, piece)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.object).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.object).poll_shutdown(cx)
    }
}

/// Runs what blocks on a disk on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use isos_base::{TaskRange, TaskSet};

    use super::*;

    #[test]
    fn a_host_has_no_more_unclaimed_than_its_tasks_may_leave() {
        let host = |n: u8| HostId(PublicKey([n; 32]));
        let guid = |n: u8| Guid::of(&[n]);
        let tasks = |count| TaskSet::from_iter([TaskRange::new(0, count)]);
        let out = |lease, count, max| TasksOut {
            lease: LeaseId(lease),
            tasks: tasks(count),
            buyer: AccountId(100),
            output_max: Bytes(max),
        };
        let out = [out(1, 2, 1_000), out(2, 1, 0)];
        let room = room(&out);
        assert_eq!(room, 2 * (2_000 + OUTPUT_EXTRA) + OUTPUT_EXTRA);
        let unclaimed = Unclaimed::default();
        assert_eq!(unclaimed.reserve(host(1), guid(1), room, room), Ok(()));
        let full = Err(NoRoom::Full(room));
        assert_eq!(unclaimed.reserve(host(1), guid(2), 1, room), full, "no more");
        assert_eq!(unclaimed.reserve(host(1), guid(2), u64::MAX, room), full);
        assert_eq!(unclaimed.reserve(host(2), guid(2), 1, room), Ok(()), "another has its own");
        unclaimed.came(host(1), guid(1));
        unclaimed.settle(&guid(1));
        assert_eq!(unclaimed.hosts(), [host(2)]);
        assert_eq!(unclaimed.reserve(host(1), guid(3), 1, room), Ok(()), "claimed makes room");
        unclaimed.came(host(2), guid(2));
        assert_eq!(unclaimed.take_all(host(2)), [guid(2)]);
        assert_eq!(unclaimed.hosts(), [host(1)]);
    }

    #[test]
    fn a_second_transfer_does_not_settle_what_the_first_one_owes() {
        let (host, other) = (HostId(PublicKey([1; 32])), HostId(PublicKey([2; 32])));
        let (guid, room) = (Guid::of(b"output"), 100);
        let unclaimed = Unclaimed::default();
        assert_eq!(unclaimed.reserve(host, guid, 100, room), Ok(()));
        assert_eq!(unclaimed.reserve(host, guid, 100, room), Err(NoRoom::OnItsWay));
        // Nor does that of another host, which did the same task, or of a client.
        assert_eq!(unclaimed.reserve(other, guid, 100, room), Ok(()));
        unclaimed.broke_off(other, guid);
        unclaimed.settle(&guid);
        assert_eq!(unclaimed.reserve(host, Guid::of(b"more"), 1, room), Err(NoRoom::Full(100)));
        unclaimed.came(host, guid);
        unclaimed.settle(&guid);
        assert_eq!(unclaimed.reserve(host, Guid::of(b"more"), 1, room), Ok(()));
    }

    #[test]
    fn what_one_host_leaves_behind_and_another_has_too_is_kept() {
        let (host, other) = (HostId(PublicKey([1; 32])), HostId(PublicKey([2; 32])));
        let (guid, unclaimed) = (Guid::of(b"output"), Unclaimed::default());
        for host in [host, other] {
            assert_eq!(unclaimed.reserve(host, guid, 10, 100), Ok(()));
            unclaimed.came(host, guid);
        }
        assert_eq!(unclaimed.take_all(host), []);
        assert_eq!(unclaimed.take_all(other), [guid]);
    }
}
