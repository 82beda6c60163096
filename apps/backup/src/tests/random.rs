//! Random folders, edited at random: whatever was kept comes back, also after others are forgotten.

use std::collections::BTreeSet;
use std::fs;

use proptest::prelude::*;

use super::*;

/// What somebody does to a folder. Names and places are drawn from few.
#[derive(Debug, Clone)]
enum Edit {
    Write { at: (u8, u8), length: u32, seed: u64 },
    Append { at: (u8, u8), length: u16 },
    Remove { at: (u8, u8) },
    Move { from: (u8, u8), to: (u8, u8) },
    Link { from: (u8, u8), to: (u8, u8) },
    Symlink { at: (u8, u8), to: u8 },
    Mode { at: (u8, u8), mode: u16 },
    Time { at: (u8, u8), secs: i32, nanos: u32 },
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = || (0_u8..4, 0_u8..5);
    let edit = prop_oneof![
        4 => (at(), 0_u32..60_000, 0_u64..3)
            .prop_map(|(at, length, seed)| Edit::Write { at, length, seed }),
        2 => (at(), 1_u16..3_000).prop_map(|(at, length)| Edit::Append { at, length }),
        2 => at().prop_map(|at| Edit::Remove { at }),
        1 => (at(), at()).prop_map(|(from, to)| Edit::Move { from, to }),
        1 => (at(), at()).prop_map(|(from, to)| Edit::Link { from, to }),
        1 => (at(), any::<u8>()).prop_map(|(at, to)| Edit::Symlink { at, to }),
        1 => (at(), 0_u16..0o1000).prop_map(|(at, mode)| Edit::Mode { at, mode: mode | 0o600 }),
        1 => (at(), any::<i32>(), 0_u32..1_000_000_000)
            .prop_map(|(at, secs, nanos)| Edit::Time { at, secs, nanos }),
    ];
    proptest::collection::vec(edit, 0..20)
}

/// Folders are numbered; 0 is the folder itself, and each is in the one before.
fn place(base: &Path, (folder, name): (u8, u8)) -> PathBuf {
    let mut path = base.to_owned();
    (0..folder).for_each(|depth| path.push(format!("folder{depth}")));
    fs::create_dir_all(&path).unwrap();
    path.join(format!("file{name}"))
}

/// Each file that is written has a length of its own: file systems are fast enough to give two
/// contents one time and one number.
fn apply(base: &Path, edit: &Edit, count: &mut u32) {
    *count += 1;
    match edit {
        Edit::Write { at, length, seed } => {
            let path = place(base, *at);
            let _ = fs::remove_file(&path);
            fs::write(path, noise(*seed, (*length + *count * 61) as usize)).unwrap();
        }
        Edit::Append { at, length } => {
            let path = place(base, *at);
            if path.symlink_metadata().is_ok_and(|it| it.is_file()) {
                let mut bytes = fs::read(&path).unwrap();
                bytes.extend(noise(u64::from(*length), *length as usize));
                fs::write(&path, bytes).unwrap();
            }
        }
        Edit::Remove { at } => drop(fs::remove_file(place(base, *at))),
        Edit::Move { from, to } => drop(fs::rename(place(base, *from), place(base, *to))),
        Edit::Link { from, to } => {
            let (from, to) = (place(base, *from), place(base, *to));
            drop(fs::hard_link(from, to));
        }
        Edit::Symlink { at, to } => {
            drop(std::os::unix::fs::symlink(format!("../{to}"), place(base, *at)));
        }
        Edit::Mode { at, mode } => {
            let path = place(base, *at);
            if path.symlink_metadata().is_ok_and(|it| it.is_file()) {
                set_mode(&path, u32::from(*mode));
            }
        }
        Edit::Time { at, secs, nanos } => {
            let path = place(base, *at);
            if path.symlink_metadata().is_ok() {
                set_mtime(&path, i64::from(*secs), i64::from(*nanos));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn each_of_several_snapshots_comes_back_as_it_was(
        history in proptest::collection::vec((edits(), any::<bool>()), 1..6),
        gone in any::<u8>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (mut memory, mut catalogue) = (Memory::default(), Catalogue::default());
        let mut kept: Vec<(Created, BTreeMap<Vec<u8>, String>)> = Vec::new();
        let mut count = 0;
        for (edits, force) in &history {
            edits.iter().for_each(|edit| apply(folder.path(), edit, &mut count));
            // Heads differ by their times and parents.
            let time = Time(later(folder.path()).0 + u64::from(count) * 1_000_000);
            let plan = Plan { force: *force, time, ..plan(folder.path()) };
            let created = keep(&plan, kept.last().map(|it| &it.0), &mut memory);
            prop_assert_eq!(created.problems.count, 0);
            catalogue.add(&created);
            kept.push((created, described(folder.path())));
        }
        // A snapshot from nothing has the same contents as the last one upon others.
        let full = keep(&plan(folder.path()), None, &mut Memory::default());
        let last = &kept.last().unwrap().0.head.stats;
        prop_assert_eq!(full.head.stats.bytes, last.bytes);
        prop_assert_eq!(full.head.stats.files, last.files);

        // Some are forgotten, and what nobody names any more is removed.
        let ids: Vec<Guid> = kept.iter().map(|it| it.0.capability.object().unwrap().0).collect();
        let goes = |at: usize| gone >> at & 1 == 1;
        let going: BTreeSet<Guid> =
            ids.iter().enumerate().filter(|(at, _)| goes(*at)).map(|(_, id)| *id).collect();
        let garbage = garbage(&catalogue, &going, &mut memory).unwrap();
        garbage.segments.keys().for_each(|id| drop(memory.segments.remove(id).unwrap()));
        garbage.objects.iter().for_each(|id| drop(memory.objects.remove(id).unwrap()));
        let stay = kept.iter().enumerate().filter(|(at, _)| !goes(*at));
        let stay: Vec<_> = stay.map(|(_, kept)| kept).collect();
        for (created, wanted) in &stay {
            let (target, restored) = back(created, folder.path(), &mut memory);
            prop_assert_eq!(restored.problems.count, 0);
            prop_assert_eq!(&described(&target), wanted);
            fs::remove_dir_all(target).unwrap();
            let mut snapshot = opened(created, &mut memory);
            let verified = verify(&mut snapshot, Some(&owner()), &mut memory, &mut Silent).unwrap();
            prop_assert_eq!((verified.damaged, verified.problems.count), (0, 0));
        }
        // Nothing else stays than what they need.
        let named: BTreeSet<Guid> = memory
            .objects
            .values()
            .flat_map(|manifest| manifest.segments.iter().map(Segment::id))
            .collect();
        prop_assert_eq!(named.len(), memory.segments.len());
        if stay.is_empty() {
            prop_assert!(memory.segments.is_empty());
        }
    }
}
