//! Lists, differences, and what is kept for how long.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::catalogue::CatalogueError;
use crate::retention::NoRule;
use crate::snapshot::Part;

#[test]
fn a_folder_of_a_snapshot_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    for path in ["a/b/c", "a/d", "a.b", "e"] {
        fs::create_dir_all(base.join(path).parent().unwrap()).unwrap();
        fs::write(base.join(path), path).unwrap();
    }
    let mut memory = Memory::default();
    let created = keep(&plan(&base), None, &mut memory);
    let mut list = |path: &str, deep| {
        let path = base.join(path).as_os_str().as_bytes().to_vec();
        let mut names = Vec::new();
        let mut snapshot = opened(&created, &mut memory);
        let listed = browse(&mut snapshot, &path, deep, &mut memory, &mut |visited| {
            names.push(String::from_utf8(visited.entry.name.clone()).unwrap());
            ControlFlow::Continue(())
        });
        listed.map(|()| names)
    };
    assert_eq!(list("", false).unwrap(), ["a", "a.b", "e"]);
    assert_eq!(list("a", false).unwrap(), ["b", "d"]);
    assert_eq!(list("a/", true).unwrap(), ["b", "c", "d"]);
    assert_eq!(list("a/d", false).unwrap(), ["d"]);
    assert!(matches!(list("a/x", false), Err(BackupError::NotThere(_))));
}

#[test]
fn two_snapshots_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    let write = |name: &str, text: &str| fs::write(base.join(name), text).unwrap();
    for name in ["changed", "mode", "removed", "same", "kind"] {
        write(name, name);
        set_mtime(&base.join(name), 5, 0);
    }
    set_mtime(&base, 5, 0);
    let mut memory = Memory::default();
    let first = keep(&plan(&base), None, &mut memory);
    write("changed", "CHANGED");
    set_mode(&base.join("mode"), 0o600);
    fs::remove_file(base.join("removed")).unwrap();
    fs::remove_file(base.join("kind")).unwrap();
    fs::create_dir(base.join("kind")).unwrap();
    write("added", "added");
    set_mtime(&base, 5, 0);
    let second = keep(&plan(&base), Some(&first), &mut memory);
    let (mut one, mut other) = (opened(&first, &mut memory), opened(&second, &mut memory));
    let mut all = Vec::new();
    diff((&mut one, &mut other), &mut memory, &mut |change| {
        let (letter, visited) = match &change {
            Change::Added(it) => ('+', it),
            Change::Removed(it) => ('-', it),
            Change::Changed(_, it) => ('M', it),
            Change::Metadata(_, it) => ('U', it),
        };
        all.push(format!("{letter} {}", String::from_utf8_lossy(&visited.entry.name)));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(all, ["+ added", "M changed", "M kind", "U mode", "- removed"]);
}

const DAY: u64 = 86_400_000_000;

fn listed(number: u64, time: u64) -> Listed {
    let mut object = [0; 32];
    object[..8].copy_from_slice(&number.to_be_bytes());
    Listed {
        root: Part { object: Guid(object), secret: [1; 32] },
        time: Time(time),
        host: "laptop".into(),
        user: "ada".into(),
        paths: vec![b"/home".to_vec()],
        tags: Vec::new(),
        partial: false,
        stats: Stats::default(),
    }
}

/// The days, counted from the last, of the snapshots that stay: two a day for three years, to the
/// end of 2025.
fn days_kept(retention: &Retention) -> Vec<u64> {
    let last = 1_767_139_200_000_000; // 31 December 2025, 0:00
    let at = |number: u64| last - (number / 2) * DAY + (1 - number % 2) * DAY / 2;
    let mut all: Vec<Listed> = (0..2_190).map(|number| listed(number, at(number))).collect();
    all.reverse();
    let verdicts = retention.decide(&all).unwrap();
    assert!(verdicts.is_sorted_by_key(|it| it.snapshot.time));
    let stay = verdicts.iter().rev().filter(|it| !it.reasons.is_empty());
    stay.map(|it| (last + DAY - it.snapshot.time.0) / DAY).collect()
}

#[test]
fn rules_keep_the_last_of_each_period() {
    let none = Retention::default();
    assert_eq!(days_kept(&Retention { last: 3, ..none.clone() }), [0, 1, 1]);
    assert_eq!(days_kept(&Retention { daily: 3, ..none.clone() }), [0, 1, 2]);
    // 31 December 2025 is a Wednesday; Sundays are the last of their weeks.
    assert_eq!(days_kept(&Retention { weekly: 3, ..none.clone() }), [0, 3, 10]);
    assert_eq!(days_kept(&Retention { monthly: 3, ..none.clone() }), [0, 31, 61]);
    assert_eq!(days_kept(&Retention { yearly: 9, ..none.clone() }), [0, 365, 731]);
    let all = Retention { daily: 2, monthly: 2, yearly: 2, ..none.clone() };
    assert_eq!(days_kept(&all), [0, 1, 31, 365]);
    assert_eq!(none.decide(&[]), Err(NoRule));
}

#[test]
fn tags_keep_and_machines_are_apart() {
    let mut all: Vec<Listed> = (0..4).map(|number| listed(number, number * DAY)).collect();
    all[0].tags = vec!["release".into()];
    all[1].host = "desk".into();
    let retention = Retention { last: 1, tags: vec!["release".into()], ..Retention::default() };
    let verdicts = retention.decide(&all).unwrap();
    let reasons: Vec<String> = verdicts.iter().map(|it| it.reasons.join(", ")).collect();
    assert_eq!(reasons, ["tag release", "last", "", "last"]);
}

#[test]
fn days_begin_where_people_live() {
    let hour = DAY / 24;
    let all = [listed(1, 10 * DAY - 2 * hour), listed(2, 10 * DAY + 2 * hour)];
    let kept = |zone_secs| {
        let retention = Retention { daily: 2, zone_secs, ..Retention::default() };
        let verdicts = retention.decide(&all).unwrap();
        verdicts.iter().filter(|it| !it.reasons.is_empty()).count()
    };
    assert_eq!((kept(0), kept(4 * 3_600), kept(-4 * 3_600)), (2, 1, 1));
}

#[test]
fn a_catalogue_is_stored_under_the_secret_of_its_version() {
    let mut catalogue = Catalogue::default();
    for number in 0..50 {
        let listed = listed(number, number);
        catalogue.snapshots.insert(listed.root.object, listed);
    }
    let gone = listed(3, 3).root.object;
    assert!(catalogue.remove(&gone, Time(9)) && !catalogue.remove(&gone, Time(9)));
    let read = repository(&owner(), "home").read();
    let secret = read.version_secret(7).unwrap();
    let mut memory = Memory::default();
    let stored = catalogue.store(&owner(), small(), &secret, &mut memory).unwrap();
    // Whoever has the phrase has the repository's name, its versions, and so its snapshots.
    let (object, _) = stored.object().unwrap();
    let found = repository(&owner(), "home").read().version(7, object).unwrap();
    assert_eq!(Catalogue::load(&mut memory, &found).unwrap(), catalogue);
    let other = repository(&owner(), "work").read().version(7, object).unwrap();
    assert!(Catalogue::load(&mut memory, &other).is_err());
    let parent = catalogue.parent("laptop", &[b"/home".to_vec()]).unwrap();
    assert_eq!(parent.time, Time(49));
    assert!(catalogue.parent("desk", &[b"/home".to_vec()]).is_none());
}

#[test]
fn a_catalogue_that_is_too_large_is_refused() {
    let mut catalogue = Catalogue::default();
    let mut one = listed(1, 1);
    one.tags = vec!["x".repeat(300)];
    catalogue.snapshots.insert(one.root.object, one);
    assert!(matches!(catalogue.encode(), Err(CatalogueError::TooMuch(_))));
    assert!(matches!(Catalogue::decode(&[9, 9]), Err(CatalogueError::Version(_))));
}

fn catalogues() -> impl Strategy<Value = Catalogue> {
    let numbers = proptest::collection::btree_set(0_u64..8, 0..8);
    let forgotten = proptest::collection::btree_map(0_u64..8, 0_u64..5, 0..4);
    (numbers, forgotten).prop_map(|(numbers, gone): (BTreeSet<u64>, BTreeMap<u64, u64>)| {
        let id = |number| listed_id(number);
        let mut catalogue = Catalogue::default();
        catalogue.snapshots.extend(numbers.iter().map(|it| (id(*it), listed(*it, 0))));
        catalogue.forgotten.extend(gone.iter().map(|(it, time)| (id(*it), Time(*time))));
        Catalogue::default().merge(catalogue)
    })
}

fn listed_id(number: u64) -> Guid {
    listed(number, 0).root.object
}

proptest! {
    #[test]
    fn lists_of_several_machines_merge_in_any_order(
        a in catalogues(),
        b in catalogues(),
        c in catalogues(),
    ) {
        let merged = a.clone().merge(b.clone()).merge(c.clone());
        prop_assert_eq!(&merged, &c.merge(a.clone().merge(b.clone())));
        prop_assert_eq!(&merged, &merged.clone().merge(a.clone()));
        prop_assert_eq!(a.clone().merge(a.clone()), a.clone());
        for id in a.forgotten.keys().chain(b.forgotten.keys()) {
            prop_assert!(!merged.snapshots.contains_key(id), "what went stays away");
        }
        let bytes = merged.encode().unwrap();
        prop_assert_eq!(Catalogue::decode(&bytes), Ok(merged));
    }
}
