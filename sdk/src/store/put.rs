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
use isos_store::manifest::Manifest;
use isos_store::object::{Settings, Writer};
use isos_store::put::{self, Effect, Input, Put, Refusal, TransferId};
use isos_store::seal::Cipher;
use tokio::sync::mpsc;
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
    /// How it is kept.
    pub planned: Planned,
    /// Files in it.
    pub files: usize,
    /// Their bytes.
    pub bytes: Bytes,
    /// Bytes that hosts keep for it, the manifest included.
    pub stored: Bytes,
    /// Bytes that were added to each lease.
    pub leases: BTreeMap<LeaseId, Bytes>,
    /// Fragments that nobody took.
    pub missing: u32,
    /// Hosts that keep something of it.
    pub hosts: usize,
    /// Hosts that were replaced, and why.
    pub replaced: Vec<(HostId, Refusal)>,
}

/// What the thread says.
enum Made {
    Segment(Box<Coded>, u64),
    Whole(Box<(Manifest, ReadCapability)>, u64),
    Failed(StoreError),
}

/// What a transfer says.
type Ended = (TransferId, Result<Box<SignedReceipt>, Refusal>);

/// Everything that a put in progress holds.
struct Running<'a> {
    store: &'a Store,
    put: Put,
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
    is_coding: bool,
    missing: Option<u32>,
}

impl Store {
    /// Puts files as one object. `used` says how full the leases are, as far as it is known: what is
    /// not is taken to be full, and the lease grows.
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
        mut progress: impl FnMut(PutProgress),
    ) -> Result<Stored, StoreError> {
        let total = Bytes(files.iter().map(|file| file.size.0).sum());
        let held = self.held(Some(options.class)).await?;
        let planned = self.plan_with(total, options, &held).await?;
        let each = need(total, &planned.plan);
        let n = usize::from(planned.plan.scheme.code.n());
        let held = self.lease_all(&planned.hosts[..n], each, used, options, &held).await?;
        let places = self.places(&planned.hosts, held, each, options)?;
        let hosts: Vec<HostId> = planned.hosts.iter().map(|keeper| keeper.host).collect();
        let settings = put::Settings::new(&planned.plan);
        let put = Put::new(settings, &hosts).expect("the plan has a host for each fragment");

        let code = planned.plan.scheme.code;
        let mut made = self.code(
            files.clone(),
            Settings {
                level: options.level,
                ..Settings::new(options.class, code, Cipher::of_this_cpu())
            },
        );
        let (ended, mut endings) = mpsc::unbounded_channel();
        let mut running = Running {
            store: self,
            put,
            places,
            coded: BTreeMap::new(),
            transfers: BTreeMap::new(),
            ended,
            leases: BTreeMap::new(),
            hosts: BTreeSet::new(),
            replaced: Vec::new(),
            planned,
            stored: 0,
            is_coding: false,
            missing: None,
        };
        let (mut next, mut read, mut whole) = (0, 0, None);
        running.tell(Input::Started)?;
        while running.missing.is_none() {
            let due = running
                .put
                .deadline()
                .map_or(TICK_MAX, |at| Duration::from_micros(at.since(self.now()).0).min(TICK_MAX));
            tokio::select! {
                Some((transfer, outcome)) = endings.recv() => {
                    running.transfers.remove(&transfer);
                    running.tell(match outcome {
                        Ok(receipt) => Input::Stored { transfer, receipt },
                        Err(why) => Input::Refused { transfer, why },
                    })?;
                }
                what = made.recv(), if running.is_coding => {
                    running.is_coding = false;
                    match what.unwrap_or_else(|| Made::Failed(interrupted())) {
                        Made::Segment(coded, so_far) => {
                            read = so_far;
                            let names = coded.names();
                            let bytes = coded.fragment(0).len() as u32;
                            running.coded.insert(next, Arc::from(coded));
                            next += 1;
                            running.tell(Input::SegmentCoded { names, bytes })?;
                        }
                        Made::Whole(object, so_far) => {
                            read = so_far;
                            whole = Some(object);
                            running.tell(Input::AllCoded)?;
                        }
                        Made::Failed(error) => return Err(error),
                    }
                }
                () = tokio::time::sleep(due) => running.tell(Input::TimerFired)?,
            }
            progress(PutProgress {
                read: Bytes(read),
                total: Bytes(total.0.max(read)),
                stored: Bytes(running.stored),
                flights: running.put.flights(),
            });
        }
        let (manifest, capability) = *whole.expect("all was coded before all was stored");
        running.put_manifest(&manifest).await?;
        Ok(Stored {
            capability,
            guid: manifest.guid(),
            manifest,
            files: files.len(),
            bytes: Bytes(read),
            stored: Bytes(running.stored),
            missing: running.missing.unwrap_or(0),
            hosts: running.hosts.len(),
            leases: std::mem::take(&mut running.leases),
            replaced: std::mem::take(&mut running.replaced),
            planned: running.planned.clone(),
        })
    }

    /// Reads and codes on a thread of its own; ends when nobody listens any more.
    fn code(&self, files: Vec<PutFile>, settings: Settings) -> mpsc::Receiver<Made> {
        let (sender, made) = mpsc::channel(CODED_AHEAD);
        let secret = self.secret.clone();
        tokio::task::spawn_blocking(move || {
            let mut read = 0;
            let send = |what| sender.blocking_send(what).map_err(|_| interrupted());
            let outcome = (|| {
                let mut writer = Writer::new(secret, settings)?;
                let mut ready = Vec::new();
                let mut buffer = vec![0; UPLOAD_CHUNK_BYTES];
                for file in &files {
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
                        for coded in ready.drain(..) {
                            send(Made::Segment(Box::new(coded), read))?;
                        }
                    }
                    writer.end(&mut ready)?;
                    for coded in ready.drain(..) {
                        send(Made::Segment(Box::new(coded), read))?;
                    }
                }
                let object = writer.finish(&mut ready)?;
                for coded in ready.drain(..) {
                    send(Made::Segment(Box::new(coded), read))?;
                }
                send(Made::Whole(Box::new(object), read))
            })();
            if let Err(error) = outcome {
                // Nobody listens any more: the put has ended before.
                let _ = sender.blocking_send(Made::Failed(error));
            }
        });
        made
    }
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

fn interrupted() -> StoreError {
    StoreError::InTheWay("the put was broken off".into())
}

impl Running<'_> {
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
                Effect::Finished { missing } => self.missing = Some(missing),
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
        let bytes = self.coded[&segment].fragment(fragment);
        let place = Arc::clone(&self.places[&host]);
        let (client, lines) = (self.store.client.clone(), Arc::clone(&self.store.lines));
        let ended = self.ended.clone();
        let task = tokio::spawn(async move {
            let outcome = match place.lease(&client).await {
                Ok(held) => carry(&lines, held, bytes).await,
                Err(error) => {
                    tracing::debug!(%host, %error, "no lease on a host");
                    Err(Refusal::Refused)
                }
            };
            // The put may have ended.
            let _ = ended.send((transfer, outcome));
        });
        self.transfers.insert(transfer, task.abort_handle());
    }

    /// Gives every host that keeps fragments the manifest, too: whoever finds one of them finds it.
    async fn put_manifest(&mut self, manifest: &Manifest) -> Result<(), StoreError> {
        let lines = &self.store.lines;
        let held: Vec<Held> = self
            .hosts
            .iter()
            .filter_map(|host| self.places.get(host))
            .filter_map(|place| place.held.get().cloned())
            .collect();
        for piece in manifest.pieces() {
            let (piece, length) = (Buffer::from(piece.clone()), piece.len() as u64);
            let kept: Vec<Result<LeaseId, (HostId, Refusal)>> = stream::iter(&held)
                .map(|held| {
                    let piece = piece.clone();
                    async move {
                        let carried =
                            tokio::time::timeout(MANIFEST_TIMEOUT, carry(lines, held, piece));
                        match carried.await.unwrap_or(Err(Refusal::Late)) {
                            Ok(_) => Ok(held.lease),
                            Err(why) => Err((held.keeper.host, why)),
                        }
                    }
                })
                .buffer_unordered(MANIFESTS_AT_ONCE)
                .collect()
                .await;
            let stored = kept.iter().filter(|it| it.is_ok()).count() as u16;
            // As many may fail as of the fragments: then one host is left that has it.
            let wanted = self.planned.plan.commit_at.min(held.len() as u16);
            if stored < wanted {
                let hosts = kept.into_iter().filter_map(Result::err).collect();
                return Err(StoreError::Unsafe { segment: None, stored, wanted, hosts });
            }
            for lease in kept.into_iter().flatten() {
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
    bytes: Buffer,
) -> Result<Box<SignedReceipt>, Refusal> {
    let fragment = Guid::of(&bytes);
    let line = lines.to(&held.keeper);
    let connection = lines.open_with(&line, &held.grant).await.map_err(|error| {
        tracing::debug!(host = %held.keeper.host, error = ?error, "a host cannot be used");
        match error {
            LineError::Grant(refusal) => refused(&refusal),
            LineError::Connect(_) | LineError::Away | LineError::Fragment(_) => {
                Refusal::Unreachable
            }
        }
    })?;
    let mut outcome = Err(Refusal::Unreachable);
    let one = [(fragment, &bytes[..])];
    let put = put_fragments(&connection, held.lease, &one, |_, answer| {
        outcome = answer.map(Box::new).map_err(|why| refused(&why));
    });
    match put.await {
        Ok(()) => outcome,
        Err(FragmentError::Receipt { .. }) => Err(Refusal::BadReceipt),
        Err(error) => {
            tracing::debug!(host = %held.keeper.host, %error, "a transfer failed");
            Err(Refusal::Unreachable)
        }
    }
}

fn refused(why: &FragmentRefusal) -> Refusal {
    match why {
        FragmentRefusal::LeaseFull | FragmentRefusal::HostFull => Refusal::Full,
        FragmentRefusal::Busy(after) => Refusal::Busy(*after),
        FragmentRefusal::Grant(_)
        | FragmentRefusal::Lease
        | FragmentRefusal::WrongBytes(_)
        | FragmentRefusal::Length
        | FragmentRefusal::Failed
        | FragmentRefusal::Head(_)
        | FragmentRefusal::HeadsFull
        | FragmentRefusal::Malformed(_) => Refusal::Refused,
    }
}
