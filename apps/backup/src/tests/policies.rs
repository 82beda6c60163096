//! What is left out, what is restored, and what becomes of what is there.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use super::*;

fn write(base: &Path, paths: &[&str]) {
    for path in paths {
        let path = base.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, path.to_str().unwrap()).unwrap();
    }
}

/// The files and folders of a snapshot, below its folder.
fn kept(created: &Created, folder: &Path, memory: &mut Memory) -> Vec<String> {
    let mut all = Vec::new();
    let path = folder.as_os_str().as_bytes();
    let mut snapshot = opened(created, memory);
    browse(&mut snapshot, path, true, memory, &mut |visited| {
        let below = &visited.path[path.len()..];
        all.push(String::from_utf8(below.to_vec()).unwrap());
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    all
}

fn kept_by(rules: Rules, folder: &Path) -> Vec<String> {
    let mut memory = Memory::default();
    let created = keep(&Plan { rules, ..plan(folder) }, None, &mut memory);
    kept(&created, folder, &mut memory)
}

#[test]
fn patterns_leave_out_and_take_in_again() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    write(&base, &["a.o", "keep.o", "src/b.o", "src/b.rs", "target/x/y", "src/target/z"]);
    let list = folder.path().join("list");
    fs::write(&list, "# a comment\n*.o\n!keep.o\n").unwrap();
    let rules = Rules {
        files: vec![list.clone()],
        patterns: vec![format!("{}/target", base.display()), "list".into()],
        ..Rules::default()
    };
    let wanted = ["keep.o", "src", "src/b.rs", "src/target", "src/target/z"];
    assert_eq!(kept_by(rules, &base), wanted);
    let bad = Rules { patterns: vec!["a{b".into()], ..Rules::default() };
    let failed = create(
        &owner(),
        &Plan { rules: bad, ..plan(&base) },
        None,
        &mut Memory::default(),
        &mut Silent,
    );
    assert!(failed.unwrap_err().to_string().contains("a{b"));
}

#[test]
fn folders_say_themselves_what_is_left_out_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    write(&base, &["a/x", "a/y", "b/x", "cache/data", "cache/sub/data"]);
    fs::write(base.join("a/.isosignore"), "x\n").unwrap();
    fs::write(base.join("cache/CACHEDIR.TAG"), exclude_tag()).unwrap();
    let rules = Rules { ignore_files: true, caches: true, ..Rules::default() };
    let wanted = ["a", "a/.isosignore", "a/y", "b", "b/x", "cache", "cache/CACHEDIR.TAG"];
    assert_eq!(kept_by(rules, &base), wanted);
    assert_eq!(kept_by(Rules::default(), &base).len(), 11, "unless nobody asks them");
}

fn exclude_tag() -> Vec<u8> {
    [exclude::CACHE_SIGNATURE, b"\n# by a test\n"].concat()
}

#[test]
fn other_file_systems_are_left_out_where_one_is_wanted() {
    if !Path::new("/proc/self").exists() {
        return;
    }
    // The folder that they are mounted on stays, empty.
    let rules = Rules { one_file_system: true, patterns: not_but("proc"), ..Rules::default() };
    let plan = Plan { paths: vec!["/".into()], rules, ..plan(Path::new("/tmp/x")) };
    let mut memory = Memory::default();
    let created = keep(&plan, None, &mut memory);
    assert_eq!((created.head.stats.folders, created.head.stats.files), (1, 0));
}

/// Patterns that leave out all at the root but one name.
fn not_but(name: &str) -> Vec<String> {
    vec!["/*".into(), format!("!/{name}")]
}

fn restored(
    created: &Created,
    plan: &RestorePlan,
    memory: &mut Memory,
) -> (BTreeSet<String>, Restored) {
    let restored = restore(&mut opened(created, memory), plan, memory, &mut Silent).unwrap();
    assert_eq!(restored.problems.first, Vec::new());
    let names = if plan.target.exists() { described(&plan.target) } else { BTreeMap::new() };
    (names.into_keys().map(|name| String::from_utf8(name).unwrap()).collect(), restored)
}

#[test]
fn a_part_is_restored_by_its_path_and_by_patterns() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    write(&base, &["a/b/c.txt", "a/b/d.rs", "a/e.txt", "f/g.txt", "h/i"]);
    let mut memory = Memory::default();
    let created = keep(&plan(&base), None, &mut memory);
    let from = |path: &str| base.join(path).as_os_str().as_bytes().to_vec();
    let target = || tempfile::tempdir().unwrap().keep();
    let whole = |from: Vec<u8>| RestorePlan { target: target(), from, ..RestorePlan::default() };
    let names = |plan: RestorePlan, memory: &mut Memory| {
        restored(&created, &plan, memory).0.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(names(whole(from("a")), &mut memory), ["b", "b/c.txt", "b/d.rs", "e.txt"]);
    assert_eq!(names(whole(from("f/g.txt")), &mut memory), ["g.txt"]);
    let some = RestorePlan {
        include: vec!["*.txt".into(), format!("{}/h", base.display())],
        exclude: vec!["e.*".into()],
        ..whole(from(""))
    };
    let wanted = ["a", "a/b", "a/b/c.txt", "f", "f/g.txt", "h", "h/i"];
    assert_eq!(names(some, &mut memory), wanted);
    let missing = whole(from("no"));
    let failed = restore(&mut opened(&created, &mut memory), &missing, &mut memory, &mut Silent);
    assert!(matches!(failed, Err(BackupError::NotThere(_))));
}

#[test]
fn what_is_there_stays_or_is_replaced_as_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    write(&base, &["same", "changed", "gone/x"]);
    let mut memory = Memory::default();
    let created = keep(&plan(&base), None, &mut memory);
    let before = described(&base);
    let change = || {
        fs::write(base.join("changed"), "other").unwrap();
        let _ = fs::remove_dir_all(base.join("gone"));
    };
    let plan = |overwrite, dry_run| RestorePlan {
        target: base.clone(),
        from: base.as_os_str().as_bytes().to_vec(),
        overwrite,
        dry_run,
        ..RestorePlan::default()
    };
    for overwrite in [Overwrite::Never, Overwrite::Changed, Overwrite::Always] {
        change();
        let changed = described(&base);
        let (_, dry) = restored(&created, &plan(overwrite, true), &mut memory);
        assert_eq!(described(&base), changed, "a dry run changes nothing");
        let inode = base.join("same").metadata().unwrap().ino();
        let (_, wet) = restored(&created, &plan(overwrite, false), &mut memory);
        assert_eq!((dry.skipped, dry.stats), (wet.skipped, wet.stats));
        let text = fs::read_to_string(base.join("changed")).unwrap();
        match overwrite {
            Overwrite::Never => {
                assert_eq!((text.as_str(), wet.skipped, wet.stats.files), ("other", 2, 1));
            }
            Overwrite::Changed => {
                assert_eq!((wet.stats.unchanged, wet.stats.files), (1, 2));
                assert_eq!(base.join("same").metadata().unwrap().ino(), inode);
                assert_eq!(described(&base), before);
            }
            Overwrite::Always => {
                assert_eq!(wet.stats.files, 3);
                assert_eq!(described(&base), before);
            }
        }
    }
}

#[test]
fn damage_is_found_and_the_rest_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..60_u64 {
        fs::write(folder.path().join(number.to_string()), noise(number, 200_000)).unwrap();
    }
    let mut memory = Memory::default();
    let created = keep(&plan(folder.path()), None, &mut memory);
    let object = created.head.objects[1].object;
    let lost = memory.objects[&object].segments[0].id();
    let bytes = memory.segments[&lost].to_vec();
    // A bit, then all of it.
    let mut flipped = bytes.clone();
    flipped[1_000] ^= 1;
    memory.segments.insert(lost, flipped.into());
    let verify = |memory: &mut Memory| {
        verify(&mut opened(&created, memory), Some(&owner()), memory, &mut Silent).unwrap()
    };
    let verified = verify(&mut memory);
    assert_eq!((verified.damaged, verified.stats.lost), (1, 1));
    memory.segments.remove(&lost);
    let verified = verify(&mut memory);
    assert!(verified.damaged > 1 && (1..60).contains(&verified.stats.lost));
    let (target, restored) = back(&created, folder.path(), &mut memory);
    assert_eq!(restored.problems.lost, verified.stats.lost);
    let (wanted, got) = (described(folder.path()), described(&target));
    assert_eq!(got.len() as u64, 60 - verified.stats.lost, "no file is there in part");
    assert!(got.iter().all(|(name, it)| wanted[name] == *it));
    // Another owner's bytes under the right secrets would not be it either.
    let other = StorageSecret::new(&Secret::new([2; 32]));
    memory.segments.insert(lost, bytes.into());
    let mut snapshot = opened(&created, &mut memory);
    let foreign = crate::verify(&mut snapshot, Some(&other), &mut memory, &mut Silent).unwrap();
    assert_eq!(foreign.damaged, foreign.chunks);
}
