//! Getting: windows of segments, each fetched while the one before is written.
//!
//! Files are written beside their place and moved there when they are whole. Names in an object are
//! somebody else's words: nothing is written outside of the folder that the user named.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use isos_base::api::KeeperView;
use isos_base::{Bytes, Guid, HostId, Machine};
use isos_net::{Got, Wanted, get_fragments};
use isos_store::capability::ReadCapability;
use isos_store::code::{Coder, Gather};
use isos_store::get::{Effect, Fault, Get, Input, Past, Settings};
use isos_store::manifest::{Content, File, Manifest, Segment};
use isos_store::object::{ReadError, Reader};
use isos_store::put::TransferId;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

use super::part::Part;
use super::{Store, StoreError};
use crate::limits::SEGMENTS_AT_ONCE;

/// The machine is stepped at least so often: its clock is not ours.
const TICK_MAX: Duration = Duration::from_secs(1);
/// Bytes of a file whose segments are fetched together; the next ones are while these are opened.
const WINDOW_BYTES: u64 = SEGMENTS_AT_ONCE as u64 * (4 << 20);
/// Bytes of a file that are opened at a time.
const PART_BYTES: u64 = 8 << 20;
/// Decoded segments that are kept because a later file may need them again.
const KEPT_SEGMENTS: usize = 16;

/// How far a get is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GetProgress {
    /// Bytes of files that are written.
    pub written: Bytes,
    /// Of how many.
    pub total: Bytes,
}

/// What came home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gotten {
    /// Files that were written, where.
    pub files: Vec<(PathBuf, Bytes)>,
    /// Their bytes.
    pub bytes: Bytes,
    /// Hosts that served something else than was asked for.
    pub liars: BTreeSet<HostId>,
}

/// An object of which the manifest was found and opened.
#[derive(Debug)]
pub struct Opened {
    manifest: Manifest,
    reader: Reader,
    known: Arc<[KeeperView]>,
}

type Answer = (TransferId, Result<bytes::Bytes, Fault>);

impl Opened {
    /// What is in it.
    #[must_use]
    pub const fn content(&self) -> &Content {
        self.reader.content()
    }

    /// What everybody may see of it.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Segments of a part of a file that are not here: those first that are needed at once, and as
    /// many of the others as make a window worth its round trips.
    fn window(
        &self,
        file: &File,
        part: Range<u64>,
        needed: &BTreeSet<u32>,
        cache: &Cache,
    ) -> Vec<(u32, Segment)> {
        let wanted = self.reader.needed(file, &(part.start..part.end.min(file.size)));
        let missing = wanted.into_iter().filter(|it| !cache.segments.contains_key(it));
        let mut missing: Vec<u32> = missing.collect();
        missing.sort_by_key(|number| !needed.contains(number));
        missing.truncate(SEGMENTS_AT_ONCE.max(needed.len()));
        let segment = |number: u32| (number, self.manifest.segments[number as usize].clone());
        missing.into_iter().map(segment).collect()
    }
}

impl Store {
    /// Finds an object and opens its manifest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_object(&self, capability: &ReadCapability) -> Result<Opened, StoreError> {
        let (guid, _) = capability.object().ok_or(ReadError::Capability)?;
        let known = self.known().await?;
        let manifest = self.manifest_at(&guid, &known).await?;
        let reader = Reader::open(&manifest, capability)?;
        Ok(Opened { manifest, reader, known: known.into() })
    }

    /// Writes files of an object into a folder, or its only file to a path; `wanted` says which.
    ///
    /// # Errors
    /// [`StoreError`]; files that were written before stay.
    pub async fn get(
        &self,
        object: &mut Opened,
        to: &Path,
        is_file: bool,
        overwrite: bool,
        wanted: impl Fn(&str) -> bool,
        mut progress: impl FnMut(GetProgress),
    ) -> Result<Gotten, StoreError> {
        let files: Vec<File> =
            object.content().files.iter().filter(|file| wanted(&file.name)).cloned().collect();
        let total = Bytes(files.iter().map(|file| file.size).sum());
        let mut places = Vec::with_capacity(files.len());
        for file in &files {
            let place = if is_file { to.to_owned() } else { to.join(inside(&file.name)?) };
            if !overwrite && place.symlink_metadata().is_ok() {
                let why = format!("{} is there already: --force overwrites it", place.display());
                return Err(StoreError::InTheWay(why));
            }
            places.push(place);
        }
        let mut gotten = Gotten { files: Vec::new(), bytes: Bytes(0), liars: BTreeSet::new() };
        let mut cache = Cache::default();
        for (file, place) in files.iter().zip(places) {
            let to = (place.as_path(), overwrite);
            self.get_file(object, file, to, &mut cache, &mut gotten, &mut |written| {
                progress(GetProgress { written, total });
            })
            .await?;
            gotten.files.push((place, Bytes(file.size)));
        }
        Ok(gotten)
    }

    /// Reads all of an object and checks each byte; says how many bytes its files have.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read_all(&self, capability: &ReadCapability) -> Result<Bytes, StoreError> {
        let mut object = self.open_object(capability).await?;
        let files = object.content().files.clone();
        let (mut cache, mut liars) = (Cache::default(), BTreeSet::new());
        let (mut bytes, mut part) = (0, Vec::new());
        for file in &files {
            let mut at = 0;
            while at < file.size {
                part.clear();
                self.read_part(&mut object, file, at, &mut cache, &mut liars, &mut part).await?;
                at += part.len() as u64;
            }
            bytes += file.size;
        }
        Ok(Bytes(bytes))
    }

    /// A file of an object, of at most `max` bytes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read_file(
        &self,
        object: &mut Opened,
        name: &str,
        max: Bytes,
    ) -> Result<Vec<u8>, StoreError> {
        let file = object.content().file(name).filter(|file| file.size <= max.0).cloned();
        let why = || StoreError::InTheWay(format!("the object has no file {name} of up to {max}"));
        let file = file.ok_or_else(why)?;
        let (mut cache, mut liars) = (Cache::default(), BTreeSet::new());
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < file.size {
            let at = bytes.len() as u64;
            self.read_part(object, &file, at, &mut cache, &mut liars, &mut bytes).await?;
        }
        Ok(bytes)
    }

    /// Appends the next bytes of a file from `at` on: at least one, if there are any. Has what
    /// follows fetched meanwhile.
    async fn read_part(
        &self,
        object: &mut Opened,
        file: &File,
        at: u64,
        cache: &mut Cache,
        liars: &mut BTreeSet<HostId>,
        plain: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let mut range = at..file.size.min(at + PART_BYTES);
        let mut needed = object.reader.needed(file, &range);
        // Of an object whose chunks are strewn over many segments, less at a time.
        while needed.len() > SEGMENTS_AT_ONCE && range.end > range.start + 1 {
            range.end = range.start + (range.end - range.start) / 2;
            needed = object.reader.needed(file, &range);
        }
        while needed.iter().any(|number| !cache.segments.contains_key(number)) {
            let came = match cache.ahead.take() {
                Some(mut ahead) => {
                    let (came, found) = (&mut ahead.0)
                        .await
                        .expect("what fetches does not panic, and is not ended");
                    liars.extend(found);
                    // What could not be had may not be what is needed now.
                    came.unwrap_or_default()
                }
                None => {
                    let window = object.window(file, at..at + WINDOW_BYTES, &needed, cache);
                    let window: Vec<(u32, &Segment)> =
                        window.iter().map(|(number, segment)| (*number, segment)).collect();
                    self.fetch_segments(&window, &object.known, liars).await?
                }
            };
            cache.take(came, &needed);
        }
        if cache.ahead.is_none() {
            let next = object.window(file, at..at + 2 * WINDOW_BYTES, &needed, cache);
            if !next.is_empty() {
                cache.ahead = Some(self.clone().fetch_ahead(next, object.known.clone()));
            }
        }
        let segments = &cache.segments;
        let find = |number: u32| segments.get(&number).map(|bytes| bytes.as_slice());
        Ok(object.reader.read(file, &range, find, plain)?)
    }

    /// Fetches segments behind the caller's back.
    fn fetch_ahead(self, segments: Vec<(u32, Segment)>, known: Arc<[KeeperView]>) -> Ahead {
        Ahead(tokio::spawn(async move {
            let mut liars = BTreeSet::new();
            let segments: Vec<(u32, &Segment)> =
                segments.iter().map(|(number, segment)| (*number, segment)).collect();
            (self.fetch_segments(&segments, &known, &mut liars).await, liars)
        }))
    }

    async fn get_file(
        &self,
        object: &mut Opened,
        file: &File,
        (place, overwrite): (&Path, bool),
        cache: &mut Cache,
        gotten: &mut Gotten,
        progress: &mut dyn FnMut(Bytes),
    ) -> Result<(), StoreError> {
        if let Some(parent) = place.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(StoreError::file("create", parent))?;
        }
        let part = Part::new(place)?;
        self.write_file(object, file, &part, cache, gotten, progress).await?;
        part.finish(place, overwrite)
    }

    async fn write_file(
        &self,
        object: &mut Opened,
        file: &File,
        part: &Part,
        cache: &mut Cache,
        gotten: &mut Gotten,
        progress: &mut dyn FnMut(Bytes),
    ) -> Result<(), StoreError> {
        let fail = |source| StoreError::file("write", &part.path)(source);
        let mut out = &part.file;
        let (mut at, mut plain) = (0, Vec::new());
        while at < file.size {
            plain.clear();
            let liars = &mut gotten.liars;
            self.read_part(object, file, at, cache, liars, &mut plain).await?;
            out.write_all(&plain).map_err(fail)?;
            at += plain.len() as u64;
            gotten.bytes.0 += plain.len() as u64;
            progress(gotten.bytes);
        }
        out.sync_all().map_err(fail)
    }

    /// Decoded segments, by the numbers that they are given here.
    pub(super) async fn fetch_segments(
        &self,
        segments: &[(u32, &Segment)],
        known: &[KeeperView],
        liars: &mut BTreeSet<HostId>,
    ) -> Result<Decoded, StoreError> {
        let mut decoded = BTreeMap::new();
        self.gather(segments, known, liars, |number, gather| {
            async move {
                let decode = move || gather.decode(&mut Coder::new());
                tokio::task::spawn_blocking(decode).await.expect("decoding does not panic")
            }
            .map(move |segment| (number, segment))
            .boxed()
        })
        .await?
        .into_iter()
        .try_for_each(|(number, segment)| {
            let segment =
                segment.map_err(|error| StoreError::Decode { segment: number, source: error })?;
            decoded.insert(number, Arc::new(segment));
            Ok::<_, StoreError>(())
        })?;
        Ok(decoded)
    }

    /// Gathers enough fragments of these segments; `each` is what is done with them.
    pub(super) async fn gather<T: Send + 'static>(
        &self,
        segments: &[(u32, &Segment)],
        known: &[KeeperView],
        liars: &mut BTreeSet<HostId>,
        each: impl Fn(u32, Gather) -> futures_util::future::BoxFuture<'static, T>,
    ) -> Result<Vec<T>, StoreError> {
        let all: Vec<&Segment> = segments.iter().map(|(_, segment)| *segment).collect();
        let soon = self.wanted_soon(&all, known).await;
        match self.gather_of(segments, soon, known, liars, &each).await {
            // Those who took longer to say what they have may help.
            Err(StoreError::Missing { .. }) => {
                let wanted = self.wanted(&all, known).await;
                self.gather_of(segments, wanted, known, liars, &each).await
            }
            done => done,
        }
    }

    fn past(&self) -> Past {
        self.past.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Of two gets at a time the later one is believed.
    fn learnt(&self, past: Past) {
        *self.past.lock().unwrap_or_else(PoisonError::into_inner) = past;
    }

    async fn gather_of<T: Send + 'static>(
        &self,
        segments: &[(u32, &Segment)],
        wanted: Vec<isos_store::get::Wanted>,
        known: &[KeeperView],
        liars: &mut BTreeSet<HostId>,
        each: impl Fn(u32, Gather) -> futures_util::future::BoxFuture<'static, T>,
    ) -> Result<Vec<T>, StoreError> {
        let numbers: Vec<u32> = segments.iter().map(|(number, _)| *number).collect();
        let by_key: BTreeMap<HostId, &KeeperView> = known.iter().map(|it| (it.host, it)).collect();
        let (sender, mut answers) = mpsc::unbounded_channel::<Answer>();
        let mut asked = Asking::default();
        let mut get = Get::new(Settings::default(), self.past(), wanted);
        let (mut done, mut input, mut is_over) = (Vec::new(), Some(Input::Started), false);
        while !is_over {
            let mut effects = Vec::new();
            if let Some(input) = input.take() {
                get.step(self.now(), input, &mut effects);
            }
            for effect in effects {
                match effect {
                    Effect::Ask { transfer, host, name } => {
                        let line = self.lines.to(by_key[&host]);
                        let (lines, sender) = (Arc::clone(&self.lines), sender.clone());
                        let task = tokio::spawn(async move {
                            let outcome = ask(&lines, &line, name).await;
                            // The get may have ended.
                            let _ = sender.send((transfer, outcome));
                        });
                        asked.0.insert(transfer, task.abort_handle());
                    }
                    Effect::Stop { transfer } => {
                        if let Some(task) = asked.0.remove(&transfer) {
                            task.abort();
                        }
                    }
                    Effect::Blame { host, segment, fragment } => {
                        tracing::warn!(%host, segment, fragment, "a host served something else");
                        liars.insert(host);
                    }
                    Effect::Decode { segment, gather } => {
                        done.push(tokio::spawn(each(numbers[segment as usize], *gather)));
                    }
                    Effect::Missing { segment, have, need, faults: hosts } => {
                        self.learnt(get.into_past());
                        let segment = numbers[segment as usize];
                        return Err(StoreError::Missing { segment, have, need, hosts });
                    }
                    Effect::Finished => is_over = true,
                }
            }
            if is_over {
                break;
            }
            let due = get
                .deadline()
                .map_or(TICK_MAX, |at| Duration::from_micros(at.since(self.now()).0).min(TICK_MAX));
            input = Some(tokio::select! {
                Some((transfer, outcome)) = answers.recv() => {
                    asked.0.remove(&transfer);
                    match outcome {
                        Ok(bytes) => Input::Arrived { transfer, bytes },
                        Err(why) => Input::Failed { transfer, why },
                    }
                }
                () = tokio::time::sleep(due) => Input::TimerFired,
            });
        }
        self.learnt(get.into_past());
        let mut all = Vec::with_capacity(done.len());
        for task in done {
            all.push(task.await.expect("what is done with fragments does not panic"));
        }
        Ok(all)
    }
}

/// Reads what is stored, for code that blocks: not for the threads of a runtime.
#[derive(Debug)]
pub struct BlockingReader {
    store: Arc<Store>,
    runtime: tokio::runtime::Handle,
    known: Vec<KeeperView>,
    /// Hosts that served something else than was asked for.
    pub liars: BTreeSet<HostId>,
}

impl Store {
    /// A reader that goes on asking the hosts that are known now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reader(self: &Arc<Self>) -> Result<BlockingReader, StoreError> {
        let (store, known) = (Arc::clone(self), self.known().await?);
        let runtime = tokio::runtime::Handle::current();
        Ok(BlockingReader { store, runtime, known, liars: BTreeSet::new() })
    }
}

impl BlockingReader {
    /// The manifest of an object.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn manifest(&self, object: &Guid) -> Result<Manifest, StoreError> {
        self.runtime.block_on(self.store.manifest_at(object, &self.known))
    }

    /// Segments, in this order; all of them are in memory at once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn segments(&mut self, wanted: &[&Segment]) -> Result<Vec<Arc<Vec<u8>>>, StoreError> {
        let numbered: Vec<(u32, &Segment)> = (0..).zip(wanted.iter().copied()).collect();
        let fetched = self.store.fetch_segments(&numbered, &self.known, &mut self.liars);
        Ok(self.runtime.block_on(fetched)?.into_values().collect())
    }
}

/// Segments that were decoded: those that are needed now, and a few of before.
#[derive(Debug, Default)]
struct Cache {
    segments: Decoded,
    /// Those that will be needed next, on their way.
    ahead: Option<Ahead>,
}

/// Decoded segments by their numbers.
type Decoded = BTreeMap<u32, Arc<Vec<u8>>>;

/// Transfers that are under way; they end with whoever waits for them.
#[derive(Debug, Default)]
struct Asking(BTreeMap<TransferId, AbortHandle>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.values().for_each(AbortHandle::abort);
    }
}

/// What fetches segments; ended when nobody waits for them any more.
#[derive(Debug)]
struct Ahead(JoinHandle<(Result<Decoded, StoreError>, BTreeSet<HostId>)>);

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Cache {
    fn take(&mut self, came: Decoded, needed: &BTreeSet<u32>) {
        let fresh: BTreeSet<u32> = came.keys().copied().collect();
        self.segments.extend(came);
        while self.segments.len() > KEPT_SEGMENTS.max(fresh.len() + needed.len()) {
            let old = self.segments.keys().find(|it| !fresh.contains(it) && !needed.contains(it));
            let Some(old) = old.copied() else { break };
            self.segments.remove(&old);
        }
    }
}

/// A fragment from a host.
async fn ask(
    lines: &super::line::Lines,
    line: &super::line::Line,
    name: Guid,
) -> Result<bytes::Bytes, Fault> {
    let connection = lines.open(line).await.map_err(|_| Fault::Unreachable)?;
    let mut got = None;
    let asked = get_fragments(&connection, &[Wanted::whole(name)], |_, it| got = Some(it)).await;
    match (asked, got) {
        (Ok(()), Some(Got::Piece(piece))) => Ok(piece.bytes.into()),
        (Ok(()), Some(Got::Wrong(_))) => Err(Fault::Garbage),
        (Ok(()), Some(Got::Missing)) => Err(Fault::Absent),
        (Ok(()), Some(Got::Refused(_)) | None) => Err(Fault::Refused),
        (Err(_), _) => Err(Fault::Unreachable),
    }
}

/// A file's name as a path inside of a folder: parts that are names, and nothing else.
///
/// # Errors
/// [`StoreError::InTheWay`].
pub fn inside(name: &str) -> Result<PathBuf, StoreError> {
    let path = Path::new(name);
    let is_plain = !name.is_empty()
        && path.components().all(|part| matches!(part, Component::Normal(_)))
        && !name.contains('\0');
    if is_plain {
        return Ok(path.to_owned());
    }
    let why = format!(
        "the object has a file named {name:?}, which would be written outside of the folder; \
         get its other files by their names"
    );
    Err(StoreError::InTheWay(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_outside_of_the_folder() {
        assert_eq!(inside("a/b.txt").unwrap(), Path::new("a/b.txt"));
        for bad in ["", "/etc/passwd", "../x", "a/../../x", ".", "a\0b"] {
            assert!(inside(bad).is_err(), "{bad:?}");
        }
    }
}
