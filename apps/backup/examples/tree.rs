//! How fast a folder is kept and restored, and how much is new: a first snapshot, one of the
//! unchanged folder, one with one changed file; segments go to memory, coded and named.
//!
//! `cargo run --release -p isos-backup --example tree FOLDER`
//!
//! The folder is copied first, so that the one file that changes is not somebody's.

#![expect(clippy::print_stdout, reason = "it is what the program is for")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use isos_backup::{
    Created, Failure, Parent, Plan, RestorePlan, Rules, Silent, Sink, Snapshot, Source, Wanted,
    create, restore, verify,
};
use isos_base::{Guid, Time};
use isos_store::capability::ReadCapability;
use isos_store::class::Class;
use isos_store::code::{Code, Coded};
use isos_store::key::{Secret, StorageSecret};
use isos_store::manifest::{Manifest, Segment};
use isos_store::object::Settings;
use isos_store::seal::Cipher;

/// What hosts would hold: of each segment its first m fragments, joined.
#[derive(Default, Clone)]
struct Memory {
    segments: BTreeMap<Guid, Bytes>,
    objects: BTreeMap<Guid, Manifest>,
}

impl Sink for Memory {
    fn segment(&mut self, coded: Coded) -> Result<(), Failure> {
        let (length, code) = (coded.length(), coded.code());
        let mut bytes: Vec<u8> = Vec::with_capacity(length);
        (0..code.m()).for_each(|index| bytes.extend_from_slice(&coded.fragment(index)));
        bytes.truncate(length);
        let segment = Segment { length: length as u32, code, fragments: coded.names().to_vec() };
        self.segments.insert(segment.id(), bytes.into());
        Ok(())
    }

    fn object(&mut self, manifest: &Manifest, _: &ReadCapability) -> Result<(), Failure> {
        self.objects.insert(manifest.guid(), manifest.clone());
        Ok(())
    }
}

impl Source for Memory {
    fn manifest(&mut self, object: &Guid) -> Result<Manifest, Failure> {
        self.objects.get(object).cloned().ok_or_else(|| "no such object".into())
    }

    fn segment(&mut self, wanted: &Wanted<'_>) -> Result<Bytes, Failure> {
        self.segments.get(&wanted.segment.id()).cloned().ok_or_else(|| "no such segment".into())
    }
}

fn main() {
    let Some(folder) = std::env::args_os().nth(1) else {
        println!("usage: tree FOLDER");
        return;
    };
    let base = tempfile::tempdir().expect("there is room for temporary files");
    let copy = base.path().join("copy");
    let copied = std::process::Command::new("cp").arg("-a").arg(&folder).arg(&copy).status();
    assert!(copied.is_ok_and(|status| status.success()), "cp -a copies the folder");
    let owner = StorageSecret::new(&Secret::new([1; 32]));
    let code = Code::new(16, 32).expect("16 <= 32");
    let settings = Settings::new(Class::Standard, code, Cipher::of_this_cpu());
    let changed = fs::metadata(&copy).expect("it was copied").ctime() as u64;
    let mut plan = Plan {
        paths: vec![copy.clone()],
        rules: Rules::default(),
        // As if it were made when all files have settled.
        time: Time((changed + 3_600) * 1_000_000),
        host: "here".into(),
        user: String::new(),
        tags: Vec::new(),
        settings,
        object_bytes: None,
        force: false,
    };
    println!(
        "{:<12}{:>8}{:>10}{:>8}{:>8}{:>10}{:>12}{:>12}",
        "snapshot", "files", "MB", "wall s", "CPU s", "MB/s", "new bytes", "stored"
    );
    let mut memory = Memory::default();
    let first = kept("first", &owner, &plan, None, &mut memory);
    plan.time.0 += 1;
    let second = kept("unchanged", &owner, &plan, Some(&first), &mut memory);
    change_one(&copy);
    plan.time.0 += 1;
    let third = kept("one changed", &owner, &plan, Some(&second), &mut memory);

    let mut snapshot = opened(&third, &mut memory);
    let target = base.path().join("back");
    let from = copy.canonicalize().expect("it is there").as_os_str().as_bytes().to_vec();
    let back = RestorePlan { target, from, ..RestorePlan::default() };
    let (start, cpu) = (Instant::now(), cpu_secs());
    let restored = restore(&mut snapshot, &back, &mut memory, &mut Silent);
    let restored = restored.expect("a snapshot in memory is restored");
    let bytes = restored.stats.bytes;
    line("restore", restored.stats.files, bytes, (start, cpu), "");
    let (start, cpu) = (Instant::now(), cpu_secs());
    let verified = verify(&mut snapshot, Some(&owner), &mut memory, &mut Silent);
    let verified = verified.expect("a snapshot in memory is read");
    assert_eq!((verified.damaged, restored.problems.count), (0, 0), "all is as it was");
    line("verify", verified.stats.files, verified.stats.read, (start, cpu), "");
    let same = std::process::Command::new("diff")
        .arg("-r")
        .arg("--no-dereference")
        .arg(&copy)
        .arg(&back.target)
        .status();
    println!("diff -r finds {}", if same.is_ok_and(|it| it.success()) { "none" } else { "some" });
    let held: usize = memory.segments.values().map(Bytes::len).sum();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("{peak}, of which {} MB are the segments", held / 1_000_000);
}

fn kept(
    name: &str,
    owner: &StorageSecret,
    plan: &Plan,
    parent: Option<&Created>,
    memory: &mut Memory,
) -> Created {
    let mut source = memory.clone();
    let snapshot = parent.map(|created| opened(created, memory));
    let parent = snapshot.map(|snapshot| Parent { snapshot, source: &mut source });
    let (start, cpu) = (Instant::now(), cpu_secs());
    let created = create(owner, plan, parent, memory, &mut Silent);
    let created = created.expect("the folder is there");
    let stats = created.head.stats;
    let more = format!("{:>12}{:>12}", stats.new, stats.stored);
    line(name, stats.files, stats.bytes, (start, cpu), &more);
    created
}

fn opened(created: &Created, memory: &mut Memory) -> Snapshot {
    Snapshot::open(memory, &created.capability).expect("it was stored just now")
}

fn line(name: &str, files: u64, bytes: u64, (start, cpu): (Instant, f64), more: &str) {
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_secs() - cpu);
    let mb = bytes as f64 / 1e6;
    println!("{name:<12}{files:>8}{mb:>10.1}{wall:>8.2}{cpu:>8.2}{:>10.0}{more}", mb / wall);
}

/// Of this process, from the system's count in hundredths.
fn cpu_secs() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split(' ');
    let ticks: Vec<f64> = fields.skip(12).take(2).filter_map(|it| it.parse().ok()).collect();
    ticks.iter().sum::<f64>() / 100.0
}

/// Appends a byte to the largest file.
fn change_one(folder: &Path) {
    let mut largest: Option<(u64, PathBuf)> = None;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            let Ok(meta) = entry.path().symlink_metadata() else { continue };
            if meta.is_dir() {
                folders.push(entry.path());
            } else if meta.is_file() && largest.as_ref().is_none_or(|it| it.0 < meta.len()) {
                largest = Some((meta.len(), entry.path()));
            }
        }
    }
    let Some((_, path)) = largest else { return };
    let mut bytes = fs::read(&path).expect("it was there just now");
    bytes.push(b'!');
    fs::write(path, bytes).expect("the copy can be written");
}
