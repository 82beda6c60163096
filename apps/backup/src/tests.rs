//! Snapshots of real folders, over segments in a map.

mod forged;
mod increments;
mod kinds;
mod lists;
mod policies;
mod random;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use isos_base::{Guid, Time};
use isos_store::capability::ReadCapability;
use isos_store::chunk::Profile;
use isos_store::class::Class;
use isos_store::code::{Code, Coded};
use isos_store::key::{Secret, StorageSecret};
use isos_store::manifest::{Manifest, Segment};
use isos_store::object::Settings;
use isos_store::seal::Cipher;

use crate::*;

/// Everything that was stored, in memory.
#[derive(Default, Clone)]
pub(crate) struct Memory {
    pub(crate) segments: BTreeMap<Guid, Bytes>,
    pub(crate) objects: BTreeMap<Guid, Manifest>,
    /// Segments that were asked for.
    pub(crate) asked: u64,
}

impl Sink for Memory {
    fn segment(&mut self, coded: Coded) -> Result<(), Failure> {
        let (length, code) = (coded.length(), coded.code());
        let mut bytes: Vec<u8> = Vec::new();
        (0..code.m()).for_each(|index| bytes.extend_from_slice(&coded.fragment(index)));
        bytes.truncate(length);
        let segment = Segment { length: length as u32, code, fragments: coded.names().to_vec() };
        // What came back after it was gone is stored again, and may be the very same.
        self.segments.insert(segment.id(), bytes.into());
        Ok(())
    }

    fn object(&mut self, manifest: &Manifest, _: &ReadCapability) -> Result<(), Failure> {
        for segment in &manifest.segments {
            assert!(self.segments.contains_key(&segment.id()), "its segments were stored before");
        }
        self.objects.insert(manifest.guid(), manifest.clone());
        Ok(())
    }
}

impl Source for Memory {
    fn manifest(&mut self, object: &Guid) -> Result<Manifest, Failure> {
        self.objects.get(object).cloned().ok_or_else(|| "no such object".into())
    }

    fn segment(&mut self, wanted: &Wanted<'_>) -> Result<Bytes, Failure> {
        self.asked += 1;
        let manifest = &self.objects[&wanted.object];
        assert_eq!(&manifest.segments[wanted.number as usize], wanted.segment);
        self.segments.get(&wanted.segment.id()).cloned().ok_or_else(|| "no such segment".into())
    }
}

pub(crate) fn owner() -> StorageSecret {
    StorageSecret::new(&Secret::new([1; 32]))
}

pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Chunks of kilobytes, and objects of a few of them.
pub(crate) fn small() -> Settings {
    let code = Code::new(2, 3).unwrap();
    let profile = Profile { min: 1 << 10, average: 4 << 10, max: 16 << 10 };
    Settings { profile, ..Settings::new(Class::Standard, code, Cipher::ChaCha20Poly1305) }
}

/// Of a folder, as if a while after its files were written.
pub(crate) fn plan(folder: &Path) -> Plan {
    Plan {
        paths: vec![folder.to_owned()],
        rules: Rules::default(),
        time: later(folder),
        host: "laptop".into(),
        user: "ada".into(),
        tags: Vec::new(),
        settings: small(),
        object_bytes: Some(128 << 10),
        force: false,
    }
}

/// So long after a file was made that all others are settled.
pub(crate) fn later(folder: &Path) -> Time {
    let probe = tempfile::NamedTempFile::new_in(folder.parent().unwrap()).unwrap();
    let secs = probe.as_file().metadata().unwrap().ctime();
    Time((secs as u64 + 10) * 1_000_000)
}

/// A snapshot upon another, or upon nothing.
pub(crate) fn keep(plan: &Plan, parent: Option<&Created>, memory: &mut Memory) -> Created {
    let mut source = memory.clone();
    let parent = parent.map(|created| Parent {
        snapshot: Snapshot::open(&mut memory.clone(), &created.capability).unwrap(),
        source: &mut source,
    });
    create(&owner(), plan, parent, memory, &mut Silent).unwrap()
}

pub(crate) fn opened(created: &Created, memory: &mut Memory) -> Snapshot {
    Snapshot::open(memory, &created.capability).unwrap()
}

/// Restores the folder itself, and says what came of it.
pub(crate) fn back(created: &Created, folder: &Path, memory: &mut Memory) -> (PathBuf, Restored) {
    let target = tempfile::tempdir().unwrap().keep();
    let plan = RestorePlan {
        target: target.clone(),
        from: folder.as_os_str().as_bytes().to_vec(),
        ..RestorePlan::default()
    };
    let mut snapshot = opened(created, memory);
    let restored = restore(&mut snapshot, &plan, memory, &mut Silent).unwrap();
    (target, restored)
}

/// All that a folder has, as text: kinds, rights, times, contents, which names are one file.
pub(crate) fn described(folder: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut all = BTreeMap::new();
    let mut groups = BTreeMap::new();
    describe(folder, folder, &mut groups, &mut all);
    all
}

fn describe(
    base: &Path,
    folder: &Path,
    groups: &mut BTreeMap<u64, Vec<u8>>,
    all: &mut BTreeMap<Vec<u8>, String>,
) {
    let mut entries: Vec<PathBuf> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.strip_prefix(base).unwrap().as_os_str().as_bytes().to_vec();
        let meta = path.symlink_metadata().unwrap();
        let kind = meta.file_type();
        let what = if kind.is_symlink() {
            format!("link {:?}", path.read_link().unwrap())
        } else if kind.is_dir() {
            "folder".to_owned()
        } else if kind.is_fifo() {
            "fifo".to_owned()
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let first = groups.entry(meta.ino()).or_insert_with(|| name.clone());
            format!("{} bytes {} as {first:?}", bytes.len(), blake3::hash(&bytes))
        };
        let mode = if kind.is_symlink() { 0 } else { meta.mode() & 0o7777 };
        let owner = (meta.uid(), meta.gid());
        let time = (meta.mtime(), meta.mtime_nsec());
        let xattrs = attributes(&path);
        all.insert(name, format!("{what} {mode:o} {owner:?} {time:?} {xattrs:?}"));
        if kind.is_dir() {
            describe(base, &path, groups, all);
        }
    }
}

fn attributes(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut list = vec![0; 4_096];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap_or(0);
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 4_096];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        value
    };
    let mut all: Vec<_> = names.map(|name| (name.to_vec(), value(name))).collect();
    all.sort();
    all
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn set_mtime(path: &Path, secs: i64, nanos: i64) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
    let time = Timespec { tv_sec: secs, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
