//! A disk that stops between any two steps, tears writes, and forgets what was not synced.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use isos_base::random::Random;
use isos_base::{Bytes, Guid};
use tempfile::tempdir;

use super::roomy;
use crate::storage::{Disk, Space, Storage};
use crate::{Durability, Home, HomeError, Shelf, ShelfError};

/// How a write fails once.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Full,
    Broken,
}

/// The disk, with faults.
#[derive(Debug, Default)]
pub(super) struct Faulty(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Steps until the crash; none: no crash.
    steps_left: Option<u32>,
    /// All steps fail after the crash.
    crashed: bool,
    steps: u32,
    free: Option<Bytes>,
    write_fault: Option<Fault>,
    /// What a power cut may undo, in the order it was done.
    files: BTreeSet<PathBuf>,
    names: Vec<(PathBuf, PathBuf, Option<Vec<u8>>)>,
    folders: Vec<PathBuf>,
    /// Files that are written at places: what is durable of them, and what came since.
    placed: BTreeMap<PathBuf, Placed>,
    /// Names of such files that a power cut may take away, or bring back.
    created: BTreeSet<PathBuf>,
    removed: Vec<(PathBuf, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct Placed {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(at, bytes) => {
                let at = *at as usize;
                content.resize(content.len().max(at + bytes.len()), 0);
                content[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Self::SetLen(length) => content.resize(*length as usize, 0),
        }
    }
}

impl Placed {
    /// What a power cut leaves: of what was not synced each change wholly, partly or not at all.
    fn survivor(&self, random: &mut Random) -> Vec<u8> {
        let mut content = self.durable.clone();
        for change in &self.pending {
            match (random.below(3), change) {
                (0, _) => {}
                (1, Change::Write(at, bytes)) => {
                    let kept = random.below(bytes.len() as u64 + 1) as usize;
                    Change::Write(*at, bytes[..kept].to_vec()).apply(&mut content);
                }
                (_, change) => change.apply(&mut content),
            }
        }
        content
    }
}

impl Faulty {
    pub(super) fn crashing_after(steps: u32) -> Self {
        Self(Mutex::new(State { steps_left: Some(steps), ..State::default() }))
    }

    pub(super) fn set_free(&self, free: Bytes) {
        self.0.lock().unwrap().free = Some(free);
    }

    pub(super) fn fail_next_write(&self, fault: Fault) {
        self.0.lock().unwrap().write_fault = Some(fault);
    }

    fn change(&self, path: &Path, change: Change) {
        if let Some(placed) = self.0.lock().unwrap().placed.get_mut(path) {
            placed.pending.push(change);
        }
    }

    pub(super) fn has_crashed(&self) -> bool {
        self.0.lock().unwrap().crashed
    }

    /// The steps so far.
    pub(super) fn steps(&self) -> u32 {
        self.0.lock().unwrap().steps
    }

    fn step(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.steps += 1;
        if let Some(left) = &mut state.steps_left {
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None => state.crashed = true,
            }
        }
        if state.crashed { Err(io::Error::other("crashed")) } else { Ok(()) }
    }

    /// Loses, by the roll of a die, what was not synced: names, folders, bytes.
    pub(super) fn cut_power(&self, random: &mut Random) {
        let state = self.0.lock().unwrap();
        for path in &state.files {
            let Ok(bytes) = fs::read(path) else { continue };
            let kept = random.below(bytes.len() as u64 + 1) as usize;
            let torn = match random.below(3) {
                0 => continue,
                1 => bytes[..kept].to_vec(),
                // The length arrived, the rest of the bytes did not.
                _ => [&bytes[..kept], &vec![0; bytes.len() - kept]].concat(),
            };
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(path, torn).unwrap();
        }
        for (path, placed) in &state.placed {
            if path.exists() {
                fs::write(path, placed.survivor(random)).unwrap();
            }
        }
        for path in &state.created {
            if random.one_in(2) {
                let _ = fs::remove_file(path);
            }
        }
        for (path, content) in &state.removed {
            if random.one_in(2) {
                fs::write(path, content).unwrap();
            }
        }
        for (from, to, before) in state.names.iter().rev() {
            if random.one_in(2) || fs::rename(to, from).is_err() {
                continue;
            }
            if let Some(bytes) = before {
                fs::write(to, bytes).unwrap();
                fs::set_permissions(to, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
        for folder in &state.folders {
            if random.one_in(2) {
                let _ = fs::remove_dir_all(folder);
            }
        }
    }
}

impl Storage for Faulty {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.step()?;
        let file = Disk.create(path)?;
        self.0.lock().unwrap().files.insert(path.into());
        Ok(file)
    }

    fn write(&self, file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let fault = self.0.lock().unwrap().write_fault.take();
        let stopped = self.step();
        if stopped.is_err() || fault.is_some() {
            Disk.write(file, path, &bytes[..bytes.len() / 2])?;
        }
        stopped?;
        match fault {
            Some(Fault::Full) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Broken) => Err(io::Error::other("broken")),
            None => Disk.write(file, path, bytes),
        }
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        self.step()?;
        let new = !path.exists();
        let file = Disk.open(path)?;
        let mut state = self.0.lock().unwrap();
        if new {
            state.created.insert(path.into());
            state.placed.remove(path);
        }
        if let Entry::Vacant(place) = state.placed.entry(path.into()) {
            place.insert(Placed { durable: fs::read(path)?, pending: Vec::new() });
        }
        Ok(file)
    }

    fn write_at(&self, file: &File, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let fault = self.0.lock().unwrap().write_fault.take();
        let stopped = self.step();
        let whole = stopped.is_ok() && fault.is_none();
        let bytes = if whole { bytes } else { &bytes[..bytes.len() / 2] };
        Disk.write_at(file, path, offset, bytes)?;
        self.change(path, Change::Write(offset, bytes.to_vec()));
        stopped?;
        match fault {
            Some(Fault::Full) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Broken) => Err(io::Error::other("broken")),
            None => Ok(()),
        }
    }

    fn set_len(&self, file: &File, path: &Path, length: u64) -> io::Result<()> {
        self.step()?;
        Disk.set_len(file, path, length)?;
        self.change(path, Change::SetLen(length));
        Ok(())
    }

    fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        self.step()?;
        // No real sync: only our own power cuts happen here, and tests should be quick.
        file.metadata()?;
        let mut state = self.0.lock().unwrap();
        state.files.remove(path);
        if let Some(Placed { durable, pending }) = state.placed.get_mut(path) {
            pending.drain(..).for_each(|change| change.apply(durable));
        }
        Ok(())
    }

    fn seal(&self, file: &File) -> io::Result<()> {
        self.step()?;
        Disk.seal(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        let before = fs::read(to).ok();
        Disk.rename(from, to)?;
        let mut state = self.0.lock().unwrap();
        if state.files.remove(from) {
            state.files.insert(to.into());
        }
        // Only files that are of no use any more are moved, and where they are does not matter.
        state.placed.remove(from);
        state.created.remove(from);
        state.names.push((from.into(), to.into(), before));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        let content = fs::read(path)?;
        Disk.remove(path)?;
        let mut state = self.0.lock().unwrap();
        state.files.remove(path);
        state.created.remove(path);
        if state.placed.remove(path).is_some() {
            state.removed.push((path.into(), content));
        }
        // What is gone cannot be renamed back.
        state.names.retain(|(_, to, _)| to != path);
        Ok(())
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        let new = !path.is_dir();
        Disk.create_folder(path)?;
        if new {
            self.0.lock().unwrap().folders.push(path.into());
        }
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        path.metadata()?;
        let mut state = self.0.lock().unwrap();
        state.names.retain(|(_, to, _)| to.parent() != Some(path));
        state.created.retain(|name| name.parent() != Some(path));
        state.removed.retain(|(name, _)| name.parent() != Some(path));
        state.folders.retain(|folder| folder.parent() != Some(path));
        Ok(())
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let real = Disk.space(path)?;
        let free = self.0.lock().unwrap().free.unwrap_or(real.free);
        Ok(Space { free, ..real })
    }
}

const A: &[u8] = b"the first object";
const B: &[u8] = b"the second object, in two pieces";
const C: &[u8] = b"the third";

/// What the life below was told is done.
#[derive(Debug, Default)]
struct Promised {
    key: Option<[u8; 32]>,
    /// The last state written for sure, and the one under way.
    state: Option<&'static [u8]>,
    next_state: Option<&'static [u8]>,
    objects: BTreeSet<Guid>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "only printed when a test fails")]
enum Stopped {
    Home(HomeError),
    Shelf(ShelfError),
}

impl From<HomeError> for Stopped {
    fn from(error: HomeError) -> Self {
        Self::Home(error)
    }
}

impl From<ShelfError> for Stopped {
    fn from(error: ShelfError) -> Self {
        Self::Shelf(error)
    }
}

/// A day in the life of a home.
fn live(
    storage: &Arc<Faulty>,
    dir: &Path,
    durability: Durability,
    promised: &mut Promised,
) -> Result<(), Stopped> {
    let home = Home::open_on(storage.clone(), dir)?;
    promised.key = Some(home.key("host.key")?);
    for state in [b"one".as_slice(), b"two and longer"] {
        promised.next_state = Some(state);
        home.write("state", state)?;
        promised.state = Some(state);
    }
    let shelf = home.shelf(roomy(), durability)?;
    promised.objects.insert(shelf.put(A)?);
    let mut writer = shelf.writer(Guid::of(B), Bytes(B.len() as u64))?;
    writer.write(&B[..10])?;
    writer.write(&B[10..])?;
    promised.objects.insert(writer.finish()?);
    promised.objects.remove(&Guid::of(A));
    shelf.remove(&Guid::of(A))?;
    promised.objects.insert(shelf.put(C)?);
    promised.objects.remove(&Guid::of(B));
    shelf.evict_to(Bytes(C.len() as u64))?;
    Ok(())
}

/// After the crash: everything promised is there, and whatever is there is right.
fn check(dir: &Path, durability: Durability, power_cut: bool, promised: &Promised) {
    let home = Home::open_on(Arc::new(Faulty::default()), dir).unwrap();
    let key = home.key("host.key").unwrap();
    assert!(promised.key.is_none_or(|promised| promised == key));
    let state = home.read("state").unwrap();
    let allowed = [promised.state, promised.next_state];
    assert!(allowed.contains(&state.as_deref()), "{state:?}");

    let shelf = home.shelf(roomy(), durability).unwrap();
    if durability == Durability::Fsync || !power_cut {
        for guid in &promised.objects {
            assert!(shelf.contains(guid), "{guid} was promised");
        }
    }
    for (guid, _) in shelf.list() {
        match shelf.read(&guid, Bytes::mib(1)) {
            Ok(bytes) => assert_eq!(Guid::of(&bytes), guid),
            Err(ShelfError::Damaged { .. })
                if durability == Durability::Cache && power_cut && !shelf.contains(&guid) => {}
            Err(e) => panic!("{e}"),
        }
    }
    let sum: u64 = shelf.list().iter().map(|(_, size)| size.0).sum();
    assert_eq!(shelf.used(), Bytes(sum));
    assert_eq!(fs::read_dir(dir.join("objects/tmp")).unwrap().count(), 0);
    // And life goes on.
    let guid = shelf.put(B).unwrap();
    assert_eq!(shelf.read(&guid, Bytes::mib(1)).unwrap(), B);
    home.write("state", b"three").unwrap();
}

/// Stops a life after each of its steps, in turn, until one is lived to its end.
fn stop_everywhere(durability: Durability, power_cut: bool, seeds: u64) -> u32 {
    for steps in 0.. {
        for seed in 0..seeds {
            let root = tempdir().unwrap();
            let dir = root.path().join("home");
            let storage = Arc::new(Faulty::crashing_after(steps));
            let mut promised = Promised::default();
            let lived = live(&storage, &dir, durability, &mut promised);
            if power_cut {
                storage.cut_power(&mut Random::new(u64::from(steps) << 32 | seed));
            }
            check(&dir, durability, power_cut, &promised);
            if lived.is_ok() && seed + 1 == seeds {
                return steps;
            }
        }
    }
    unreachable!("steps run out before numbers do")
}

#[test]
fn a_process_killed_at_any_step_loses_nothing_that_it_promised() {
    assert!(stop_everywhere(Durability::Fsync, false, 1) > 30);
    assert!(stop_everywhere(Durability::Cache, false, 1) > 20);
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_that_was_promised_durably() {
    stop_everywhere(Durability::Fsync, true, 8);
}

#[test]
fn a_power_cut_may_empty_a_cache_but_never_falsify_it() {
    stop_everywhere(Durability::Cache, true, 8);
}

#[test]
fn an_open_shelf_outlives_a_disk_that_fails_for_a_while() {
    let root = tempdir().unwrap();
    let storage = Arc::new(Faulty::crashing_after(u32::MAX));
    let shelf = Shelf::open_on(storage.clone(), root.path(), roomy(), Durability::Fsync).unwrap();
    for steps in 0..20 {
        storage.0.lock().unwrap().steps_left = Some(steps);
        let bytes = [steps as u8; 100];
        let put = shelf.put(&bytes);
        {
            let mut state = storage.0.lock().unwrap();
            (state.crashed, state.steps_left) = (false, None);
        }
        assert_eq!(shelf.reserved(), Bytes::ZERO);
        if let Ok(guid) = put {
            assert_eq!(shelf.read(&guid, Bytes(100)).unwrap(), bytes);
        }
        let sum: u64 = shelf.list().iter().map(|(_, size)| size.0).sum();
        assert_eq!(shelf.used(), Bytes(sum));
    }
}
