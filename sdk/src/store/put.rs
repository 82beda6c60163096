//! Putting: a thread reads, seals and codes; the machine decides what goes where; a task for each
//! transfer carries it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes as Buffer;
use futures_util::stream::{self, StreamExt};
use isos_base::fragment::SignedReceipt;
use isos_base::fragment::wire::FragmentRefusal;
use isos_base::{Bytes, Guid, HostId, LeaseId, Machine};
use isos_net::{FragmentError, put_fragments};
use isos_store::capability::ReadCapability;
use isos_store::code::Coded;
use isos_store::key::StorageSecret;
use isos_store::manifest::Manifest;
use isos_store::object::{Settings, Writer};
use isos_store::put::{self, Effect, Input, Put, Refusal, TransferId};
use isos_store::seal::Cipher;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::leases::{Held, Place, Planned, need};
use super::line::{LineError, Lines};
use super::{PutOptions, Store, StoreError};
use crate::limits::UPLOAD_CHUNK_BYTES;
use crate::objects::Source;

/// Segments that are coded before there is room for them.
const CODED_AHEAD: usize = 1;
/// Hosts to which a manifest is sent at once.
const MANIFESTS_AT_ONCE: usize = 16;
/// A host that does not take a piece of a manifest within this time does not count.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The machine is stepped at least so often: its clock is not ours.
const TICK_MAX: Duration = Duration::from_secs(1);

/// A file to put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutFile {
    /// What it is called in the object: a relative path with `/`.
    pub name: String,
    /// Where its bytes are.
    pub source: Source,
    /// Its length, as far as it is known before.
    pub size: Bytes,
}

/// How far a put is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PutProgress {
    /// Bytes of files that are read and coded.
    pub read: Bytes,
    /// Of how many.
    pub total: Bytes,
    /// Bytes of fragments that hosts have.
    pub stored: Bytes,
    /// Segments that are under way.
    pub flights: usize,
}

/// What was stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Opens it.
    pub capability: ReadCapability,
    /// Its name.
    pub guid: Guid,
    /// What it is.
    pub manifest: Manifest,
    /// Files in it.
    pub files: usize,
    /// Their bytes.
    pub bytes: Bytes,
    /// How it is kept, and what hosts have of it.
    pub fragments: Fragments,
}

/// What the thread that codes says.
enum Fed {
    Segment(Box<Coded>, u64),
    /// An object is complete: it is answered when it is safe.
    Object(Box<Manifest>, oneshot::Sender<Safe>),
}

/// An object is safe, with so many fragments missing.
type Safe = u32;

/// How a thread that codes gives away what it has coded. Its methods block.
#[derive(Debug)]
pub struct Feeder(mpsc::Sender<Fed>);

/// Nobody takes segments any more: the put has failed, and says itself why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the put was broken off")]
pub struct Broken;

impl Feeder {
    /// Gives a segment away; waits while there are enough under way. `read` counts the bytes of
    /// files so far, for progress.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn segment(&self, coded: Coded, read: u64) -> Result<(), Broken> {
        self.0.blocking_send(Fed::Segment(Box::new(coded), read)).map_err(|_| Broken)
    }

    /// Says that all segments of an object were given, and waits until it is safe: as many
    /// fragments of each are stored as the class wants, and its manifest is on their hosts. Says
    /// how many fragments found no host.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn object(&self, manifest: &Manifest) -> Result<u32, Broken> {
        let (safe, answer) = oneshot::channel();
        let object = Fed::Object(Box::new(manifest.clone()), safe);
        self.0.blocking_send(object).map_err(|_| Broken)?;
        answer.blocking_recv().map_err(|_| Broken)
    }
}

/// What a transfer says.
type Ended = (u32, TransferId, Result<Box<SignedReceipt>, Refusal>);

/// What all objects of a put came to.
#[derive(Debug, Clone)]
pub struct Fragments {
    /// How they are kept.
    pub planned: Planned,
    /// Bytes that hosts keep for them, manifests included.
    pub stored: Bytes,
    /// Bytes that were added to each lease.
    pub leases: BTreeMap<LeaseId, Bytes>,
    /// Fragments that nobody took.
    pub missing: u32,
    /// Hosts that keep something of them.
    pub hosts: usize,
    /// Hosts that were replaced, and why.
    pub replaced: Vec<(HostId, Refusal)>,
}

/// Everything that a put in progress holds.
struct Running<'a> {
    store: &'a Store,
    put: Put,
    settings: put::Settings,
    /// The leases that are there, and those that are made when they are needed.
    places: BTreeMap<HostId, Arc<Place>>,
    coded: BTreeMap<u32, Arc<Coded>>,
    transfers: BTreeMap<TransferId, AbortHandle>,
    ended: mpsc::UnboundedSender<Ended>,
    leases: BTreeMap<LeaseId, Bytes>,
    hosts: BTreeSet<HostId>,
    replaced: Vec<(HostId, Refusal)>,
    planned: Planned,
    stored: u64,
    /// Which object it is, from 0.
    object: u32,
    /// The number of the next segment of this object.
    next: u32,
    is_coding: bool,
    /// Whether all of this object is stored.
    is_over: bool,
    missing: u32,
}

impl Store {
    /// Puts files as one object. `used` says how full the leases are, as far as it is known: what
    /// is not is taken to be full, and the lease grows.
    ///
    /// Nothing is kept of an object that fails, but fragments that some hosts have already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put(
        &self,
        files: Vec<PutFile>,
        options: &PutOptions,
        used: &BTreeMap<LeaseId, Bytes>,
        progress: impl FnMut(PutProgress),
    ) -> Result<Stored, StoreError> {
        let total = Bytes(files.iter().map(|file| file.size.0).sum());
        let (secret, count) = (self.secret.clone(), files.len());
        let make = move |feeder: Feeder, settings| code(secret, settings, &files, &feeder);
        let (made, fragments) = self.put_fed(total, options, used, make, progress).await?;
        let (manifest, capability, bytes) = made?;
        let guid = manifest.guid();
        Ok(Stored { capability, guid, manifest, files: count, bytes, fragments })
    }

    /// Puts what a thread codes: any number of objects, one after the other. `bytes` is what they
    /// come to, as far as it is known; leases grow if it is more. `make` runs where it may block,
    /// and is told how to code.
    ///
    /// # Errors
    /// [`StoreError`]; then the feeder's methods fail.
    pub async fn put_fed<T: Send + 'static>(
        &self,
        bytes: Bytes,
        options: &PutOptions,
        used: &BTreeMap<LeaseId, Bytes>,
        make: impl FnOnce(Feeder, Settings) -> T + Send + 'static,
        mut progress: impl FnMut(PutProgress),
    ) -> Result<(T, Fragments), StoreError> {
        let held = self.held(Some(options.class)).await?;
        let planned = self.plan_with(bytes, options, &held).await?;
        let each = need(bytes, &planned.plan);
        let n = usize::from(planned.plan.scheme.code.n());
        let held = self.lease_all(&planned.hosts[..n], each, used, options, &held).await?;
        let places = self.places(&planned.hosts, held, each, options)?;
        let code = planned.plan.scheme.code;
        let coding = Settings {
            level: options.level,
            ..Settings::new(options.class, code, Cipher::of_this_cpu())
        };
        let (sender, mut fed) = mpsc::channel(CODED_AHEAD);
        let making = tokio::task::spawn_blocking(move || make(Feeder(sender), coding));
        let settings = put::Settings::new(&planned.plan);
        let (ended, mut endings) = mpsc::unbounded_channel();
        let mut running = Running {
            store: self,
            put: machine(settings, &planned),
            settings,
            places,
            coded: BTreeMap::new(),
            transfers: BTreeMap::new(),
            ended,
            leases: BTreeMap::new(),
            hosts: BTreeSet::new(),
            replaced: Vec::new(),
            planned,
            stored: 0,
            object: 0,
            next: 0,
            is_coding: false,
            is_over: false,
            missing: 0,
        };
        let mut read = 0;
        let mut object: Option<(Box<Manifest>, oneshot::Sender<Safe>)> = None;
        running.tell(Input::Started)?;
        loop {
            if running.is_over {
                let Some((manifest, safe)) = object.take() else { break };
                running.put_manifest(&manifest).await?;
                // Who waits for it has failed in the meantime, and says so itself.
                let _ = safe.send(running.missing);
                running.begin_next()?;
            }
            let due = running
                .put
                .deadline()
                .map_or(TICK_MAX, |at| Duration::from_micros(at.since(self.now()).0).min(TICK_MAX));
            tokio::select! {
                Some((object, transfer, outcome)) = endings.recv() => {
                    // The machine of the next object counts from the beginning again.
                    if object != running.object {
                        continue;
                    }
                    running.transfers.remove(&transfer);
                    running.tell(match outcome {
                        Ok(receipt) => Input::Stored { transfer, receipt },
                        Err(why) => Input::Refused { transfer, why },
                    })?;
                }
                what = fed.recv(), if running.is_coding => {
                    running.is_coding = false;
                    match what {
                        Some(Fed::Segment(coded, so_far)) => {
                            read = so_far;
                            let names = coded.names().to_vec();
                            let bytes = coded.fragment(0).len() as u32;
                            running.coded.insert(running.next, Arc::from(coded));
                            running.next += 1;
                            running.tell(Input::SegmentCoded { names, bytes })?;
                        }
                        Some(Fed::Object(manifest, safe)) => {
                            object = Some((manifest, safe));
                            running.tell(Input::AllCoded)?;
                        }
                        // The thread has ended: what it gave of an object that is not complete is
                        // of no use.
                        None => break,
                    }
                }
                () = tokio::time::sleep(due) => running.tell(Input::TimerFired)?,
            }
            progress(PutProgress {
                read: Bytes(read),
                total: Bytes(bytes.0.max(read)),
                stored: Bytes(running.stored),
                flights: running.put.flights(),
            });
        }
        drop(fed);
        let made = making.await.expect("what codes does not panic");
        Ok((made, running.fragments()))
    }
}

fn machine(settings: put::Settings, planned: &Planned) -> Put {
    let hosts: Vec<HostId> = planned.hosts.iter().map(|keeper| keeper.host).collect();
    Put::new(settings, &hosts).expect("the plan has a host for each fragment")
}

/// Reads and codes files as one object.
fn code(
    secret: StorageSecret,
    settings: Settings,
    files: &[PutFile],
    feeder: &Feeder,
) -> Result<(Manifest, ReadCapability, Bytes), StoreError> {
    let mut read = 0;
    let mut writer = Writer::new(secret, settings)?;
    let mut ready = Vec::new();
    let mut buffer = vec![0; UPLOAD_CHUNK_BYTES];
    let send = |ready: &mut Vec<Coded>, read| {
        ready.drain(..).try_for_each(|coded| feeder.segment(coded, read))
    };
    for file in files {
        writer.begin(&file.name)?;
        let (mut source, path) = open(&file.source)?;
        loop {
            let count = source.read(&mut buffer);
            let count = count.map_err(StoreError::file("read", path))?;
            if count == 0 {
                break;
            }
            read += count as u64;
            writer.push(&buffer[..count], &mut ready)?;
            send(&mut ready, read)?;
        }
        writer.end(&mut ready)?;
        send(&mut ready, read)?;
    }
    let (manifest, capability) = writer.finish(&mut ready)?;
    send(&mut ready, read)?;
    feeder.object(&manifest)?;
    Ok((manifest, capability, Bytes(read)))
}

/// The bytes of a file, and what to call it in an error.
fn open(source: &Source) -> Result<(Box<dyn Read + '_>, &Path), StoreError> {
    match source {
        Source::File(path) => {
            let file = File::open(path).map_err(StoreError::file("read", path))?;
            Ok((Box::new(file), path))
        }
        Source::Bytes(bytes) => Ok((Box::new(&bytes[..]), Path::new("memory"))),
    }
}

impl Running<'_> {
    /// The next object goes to the same hosts, but for those that have failed.
    fn begin_next(&mut self) -> Result<(), StoreError> {
        let failed: BTreeSet<HostId> = self.replaced.iter().map(|(host, _)| *host).collect();
        let (good, bad): (Vec<_>, Vec<_>) =
            self.planned.hosts.drain(..).partition(|keeper| !failed.contains(&keeper.host));
        self.planned.hosts = good;
        self.planned.hosts.extend(bad);
        self.put = machine(self.settings, &self.planned);
        (self.next, self.is_over) = (0, false);
        self.object += 1;
        std::mem::take(&mut self.transfers).values().for_each(AbortHandle::abort);
        self.coded.clear();
        self.tell(Input::Started)
    }

    fn fragments(&mut self) -> Fragments {
        Fragments {
            planned: self.planned.clone(),
            stored: Bytes(self.stored),
            leases: std::mem::take(&mut self.leases),
            missing: self.missing,
            hosts: self.hosts.len(),
            replaced: std::mem::take(&mut self.replaced),
        }
    }

    fn tell(&mut self, input: Input) -> Result<(), StoreError> {
        let mut effects = Vec::new();
        self.put.step(self.store.now(), input, &mut effects);
        for effect in effects {
            match effect {
                Effect::CodeNext => self.is_coding = true,
                Effect::Send { transfer, host, segment, fragment } => {
                    self.send(transfer, host, segment, fragment);
                }
                Effect::Stop { transfer } => {
                    if let Some(task) = self.transfers.remove(&transfer) {
                        task.abort();
                    }
                }
                Effect::Keep { receipt, .. } => self.kept(&receipt),
                Effect::Free { segment } => {
                    self.coded.remove(&segment);
                }
                Effect::Replaced { host, why, .. } => self.replaced.push((host, why)),
                Effect::Committed => {}
                Effect::Finished { missing } => {
                    self.missing += missing;
                    self.is_over = true;
                }
                Effect::Failed { segment, stored, hosts } => {
                    let wanted = self.planned.plan.commit_at;
                    let segment = Some(segment);
                    return Err(StoreError::Unsafe { segment, stored, wanted, hosts });
                }
            }
        }
        Ok(())
    }

    fn kept(&mut self, signed: &SignedReceipt) {
        let receipt = &signed.receipt;
        self.stored += u64::from(receipt.length);
        self.leases.entry(receipt.lease).or_default().0 += u64::from(receipt.length);
        self.hosts.insert(receipt.host);
    }

    /// Carries a fragment to a host, over the lease that there is or one that is made now.
    fn send(&mut self, transfer: TransferId, host: HostId, segment: u32, fragment: u16) {
        let coded = &self.coded[&segment];
        let (name, bytes) = (coded.names()[usize::from(fragment)], coded.fragment(fragment));
        let place = Arc::clone(&self.places[&host]);
        let (client, lines) = (self.store.client.clone(), Arc::clone(&self.store.lines));
        let (ended, object) = (self.ended.clone(), self.object);
        let task = tokio::spawn(async move {
            let outcome = match place.lease(&client).await {
                Ok(held) => match carry(&lines, &held, name, bytes.clone()).await {
                    // More than was thought: the lease grows, once for each fragment at most.
                    Err(NotCarried::LeaseFull) => match place.grow(&client, &held).await {
                        Ok(grown) => {
                            carry(&lines, &grown, name, bytes).await.map_err(NotCarried::why)
                        }
                        Err(error) => {
                            tracing::debug!(%host, %error, "a lease cannot grow");
                            Err(Refusal::Full)
                        }
                    },
                    outcome => outcome.map_err(NotCarried::why),
                },
                Err(error) => {
                    tracing::debug!(%host, %error, "no lease on a host");
                    Err(Refusal::Refused)
                }
            };
            if let Ok(receipt) = &outcome {
                place.kept(receipt.receipt.lease, receipt.receipt.length.into());
            }
            // The put may have ended.
            let _ = ended.send((object, transfer, outcome));
        });
        self.transfers.insert(transfer, task.abort_handle());
    }

    /// Gives every host that keeps fragments the manifest, too: whoever finds one of them finds it.
    async fn put_manifest(&mut self, manifest: &Manifest) -> Result<(), StoreError> {
        let lines = &self.store.lines;
        let failed: BTreeSet<HostId> = self.replaced.iter().map(|(host, _)| *host).collect();
        let mut held = Vec::new();
        for (host, place) in self.places.iter().filter(|(host, _)| !failed.contains(host)) {
            if let Some(leased) = place.there().await
                && (self.hosts.contains(host) || self.hosts.is_empty())
            {
                held.push(leased);
            }
        }
        for piece in manifest.pieces() {
            let (name, length) = (Guid::of(&piece), piece.len() as u64);
            let piece = Buffer::from(piece);
            let kept: Vec<Result<LeaseId, (HostId, Refusal)>> = stream::iter(&held)
                .map(|held| {
                    let piece = piece.clone();
                    async move {
                        let carried =
                            tokio::time::timeout(MANIFEST_TIMEOUT, carry(lines, held, name, piece));
                        match carried.await {
                            Ok(Ok(_)) => Ok(held.lease),
                            Ok(Err(why)) => Err((held.keeper.host, why.why())),
                            Err(_) => Err((held.keeper.host, Refusal::Late)),
                        }
                    }
                })
                .buffer_unordered(MANIFESTS_AT_ONCE)
                .collect()
                .await;
            let stored = kept.iter().filter(|it| it.is_ok()).count() as u16;
            // As many may fail as of the fragments: then one host is left that has it.
            let wanted = self.settings.commit_at.min(held.len().max(1) as u16);
            if stored < wanted {
                let hosts = kept.into_iter().filter_map(Result::err).collect();
                return Err(StoreError::Unsafe { segment: None, stored, wanted, hosts });
            }
            for lease in kept.into_iter().flatten() {
                self.store.asked.kept(lease, length);
                self.stored += length;
                self.leases.entry(lease).or_default().0 += length;
            }
        }
        Ok(())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.transfers.values().for_each(AbortHandle::abort);
    }
}

/// Brings a fragment to a host.
pub(super) async fn carry(
    lines: &Lines,
    held: &Held,
    fragment: Guid,
    bytes: Buffer,
) -> Result<Box<SignedReceipt>, NotCarried> {
    let line = lines.to(&held.keeper);
    let connection = lines.open_with(&line, &held.grant).await.map_err(|error| {
        tracing::debug!(host = %held.keeper.host, error = ?error, "a host cannot be used");
        match error {
            LineError::Grant(refusal) => refused(&refusal),
            LineError::Connect(_) | LineError::Away | LineError::Fragment(_) => {
                NotCarried::Other(Refusal::Unreachable)
            }
        }
    })?;
    let mut outcome = Err(NotCarried::Other(Refusal::Unreachable));
    let one = [(fragment, bytes)];
    let put = put_fragments(&connection, held.lease, &one, |_, answer| {
        outcome = answer.map(Box::new).map_err(|why| refused(&why));
    });
    match put.await {
        Ok(()) => outcome,
        Err(FragmentError::Receipt { .. }) => Err(NotCarried::Other(Refusal::BadReceipt)),
        Err(error) => {
            tracing::debug!(host = %held.keeper.host, %error, "a transfer failed");
            Err(NotCarried::Other(Refusal::Unreachable))
        }
    }
}

/// Why a host has not got a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotCarried {
    /// The lease is full; the host may have room.
    LeaseFull,
    /// Something else.
    Other(Refusal),
}

impl NotCarried {
    pub(super) const fn why(self) -> Refusal {
        match self {
            Self::LeaseFull => Refusal::Full,
            Self::Other(why) => why,
        }
    }
}

fn refused(why: &FragmentRefusal) -> NotCarried {
    NotCarried::Other(match why {
        FragmentRefusal::LeaseFull => return NotCarried::LeaseFull,
        FragmentRefusal::HostFull => Refusal::Full,
        FragmentRefusal::Busy(after) => Refusal::Busy(*after),
        FragmentRefusal::Grant(_)
        | FragmentRefusal::Lease
        | FragmentRefusal::WrongBytes(_)
        | FragmentRefusal::Length
        | FragmentRefusal::Failed
        | FragmentRefusal::Head(_)
        | FragmentRefusal::HeadsFull
        | FragmentRefusal::Malformed(_) => Refusal::Refused,
    })
}
