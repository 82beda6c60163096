//! Trees that nobody's folder has: they lead nowhere but to an error.

use std::fs;

use isos_store::object::Writer;
use proptest::prelude::*;

use super::*;
use crate::contents::send;
use crate::entry::{Entry, EntryError, Kind, Meta, Record, Span, Stamp, Xattr, put, take};
use crate::limits::DEPTH_MAX;
use crate::snapshot::{HEAD, Part, TREE, tree_bytes};
use crate::tree::{Decoder, TreeError, Visit, is_within, order};

fn entry(name: &[u8], kind: Kind) -> Record {
    let meta = Meta { mode: 0o755, ..Meta::default() };
    Record::Entry(Entry { name: name.to_vec(), meta, kind })
}

fn link(name: &[u8], target: &[u8]) -> Record {
    entry(name, Kind::Link { target: target.to_vec() })
}

fn file(name: &[u8], spans: Vec<Span>, size: u64) -> Record {
    entry(name, Kind::File { size, spans })
}

/// A snapshot with this tree, as whoever has the keys could make it.
fn forged(tree: &[u8], memory: &mut Memory) -> Snapshot {
    let mut writer = Writer::new(owner(), small()).unwrap();
    let mut ready = Vec::new();
    for (name, bytes) in [(TREE, tree), (HEAD, &Head::default().encode())] {
        writer.begin(name).unwrap();
        writer.push(bytes, &mut ready).unwrap();
        writer.end(&mut ready).unwrap();
    }
    let (manifest, capability) = writer.finish(&mut ready).unwrap();
    send(&mut ready, memory, &mut Stats::default()).unwrap();
    memory.object(&manifest, &capability).unwrap();
    Snapshot::open(memory, &capability).unwrap()
}

/// What comes of restoring it into a folder beside another that must not be touched.
fn restored(
    records: &[Record],
    overwrite: Overwrite,
    prepare: impl FnOnce(&Path, &Path),
) -> String {
    let base = tempfile::tempdir().unwrap();
    let (target, outside) = (base.path().join("target"), base.path().join("outside"));
    fs::create_dir(&target).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), b"precious").unwrap();
    prepare(&target, &outside);
    let before = described(&outside);
    let mut memory = Memory::default();
    let mut snapshot = forged(&tree_bytes(records), &mut memory);
    let plan = RestorePlan { target, overwrite, ..RestorePlan::default() };
    let result = restore(&mut snapshot, &plan, &mut memory, &mut Silent);
    assert_eq!(described(&outside), before, "nothing outside is touched");
    let names: Vec<String> = base
        .path()
        .read_dir()
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    match result {
        Ok(restored) => restored.problems.first.iter().map(|it| format!("{it}\n")).collect(),
        Err(error) => format!("{error}"),
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in
        [&b".."[..], b".", b"", b"/", b"a/b", b"/etc/passwd", b"../x", b"a\0b", &[b'x'; 2_000]]
    {
        for record in [entry(name, Kind::Folder), file(name, Vec::new(), 0), link(name, b"x")] {
            let mut bytes = Vec::new();
            put(record.clone(), &mut bytes);
            assert!(matches!(take(&bytes), Err(EntryError::Name(_))), "{name:?}");
            let told = restored(&[record], Overwrite::Always, |_, _| {});
            assert_eq!(told, "the tree of the snapshot is damaged");
        }
    }
}

#[test]
fn a_link_and_a_folder_of_one_name_are_refused() {
    let records = [
        link(b"a", b"../outside"),
        entry(b"a", Kind::Folder),
        file(b"precious", vec![Span::Hole(9)], 9),
        Record::Up,
    ];
    let told = restored(&records, Overwrite::Always, |_, _| {});
    assert_eq!(told, "the tree of the snapshot is damaged");
}

#[test]
fn links_are_made_and_never_followed() {
    let records = [link(b"a", b"../outside"), link(b"b", b"/"), link(b"c", b"a/precious")];
    assert_eq!(restored(&records, Overwrite::Always, |_, _| {}), "");
}

#[test]
fn a_link_where_a_folder_belongs_is_not_followed() {
    let records =
        [entry(b"a", Kind::Folder), file(b"precious", vec![Span::Hole(9)], 9), Record::Up];
    let prepare = |target: &Path, outside: &Path| {
        std::os::unix::fs::symlink(outside, target.join("a")).unwrap();
    };
    let told = restored(&records, Overwrite::Never, prepare);
    assert!(told.starts_with("/a is not restored: something else is there"), "{told}");
    // Who wants all replaced gets a folder in place of the link.
    assert_eq!(restored(&records, Overwrite::Always, prepare), "");
}

#[test]
fn a_link_where_a_file_belongs_is_replaced_and_not_written_through() {
    let records = [file(b"a", vec![Span::Hole(9)], 9)];
    let prepare = |target: &Path, outside: &Path| {
        std::os::unix::fs::symlink(outside.join("precious"), target.join("a")).unwrap();
        fs::hard_link(outside.join("precious"), target.join("b")).unwrap();
    };
    for overwrite in [Overwrite::Always, Overwrite::Changed, Overwrite::Never] {
        assert_eq!(restored(&records, overwrite, prepare), "");
    }
}

#[test]
fn a_second_name_of_a_file_that_is_reached_through_a_link_is_not_made() {
    let shared = |name: &[u8]| {
        let meta = Meta { shared: Some(0), inode: 5, mode: 0o600, ..Meta::default() };
        Record::Entry(Entry {
            name: name.to_vec(),
            meta,
            kind: Kind::File { size: 9, spans: vec![Span::Hole(9)] },
        })
    };
    let records = [entry(b"a", Kind::Folder), shared(b"precious"), Record::Up, shared(b"b")];
    let told = restored(&records, Overwrite::Always, |_, _| {});
    assert_eq!(told, "");
}

#[test]
fn a_folder_in_the_place_of_a_file_stays() {
    let records = [file(b"a", Vec::new(), 0), link(b"b", b"x")];
    let told = restored(&records, Overwrite::Always, |target, _| {
        fs::create_dir(target.join("a")).unwrap();
        fs::create_dir(target.join("b")).unwrap();
    });
    let wanted = "/a is not restored: something else is there: a folder is there\n";
    assert!(told.starts_with(wanted), "{told}");
    assert_eq!(told.lines().count(), 2);
}

#[test]
fn files_whose_chunks_do_not_add_up_are_damaged_and_the_rest_is_restored() {
    let records = [
        file(b"a", vec![Span::Data(vec![[7; 32]])], 9),
        file(b"b", vec![Span::Hole(5)], 9),
        file(b"c", Vec::new(), 0),
    ];
    let told = restored(&records, Overwrite::Never, |_, _| {});
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.starts_with("/a is damaged"));
}

#[test]
fn a_tree_that_does_not_hold_together_is_refused() {
    let decoded = |records: &[Record]| {
        let mut decoder = Decoder::default();
        decoder.push(&tree_bytes(records));
        loop {
            match decoder.visit() {
                Ok(Some(_)) => {}
                Ok(None) => return decoder.end(),
                Err(error) => return Err(error),
            }
        }
    };
    let folder = || entry(b"a", Kind::Folder);
    assert_eq!(decoded(&[folder(), Record::Up]), Ok(()));
    assert_eq!(decoded(&[folder()]), Err(TreeError::End));
    assert_eq!(decoded(&[Record::Up]), Err(TreeError::Up));
    let unordered = [link(b"b", b"x"), link(b"a", b"x")];
    assert!(matches!(decoded(&unordered), Err(TreeError::Order(_))));
    let deep: Vec<Record> = (0..=DEPTH_MAX).map(|_| folder()).collect();
    assert_eq!(decoded(&deep), Err(TreeError::Depth));
    let mut decoder = Decoder::default();
    decoder.push(&[0xff; 8]);
    assert!(matches!(decoder.visit(), Err(TreeError::Entry(EntryError::Decode(_)))));
}

#[test]
fn entries_that_cannot_be_are_refused() {
    let bad = |change: &dyn Fn(&mut Entry)| {
        let Record::Entry(mut entry) = file(b"a", vec![Span::Hole(1)], 1) else { unreachable!() };
        assert_eq!(entry.check(), Ok(()));
        change(&mut entry);
        assert!(entry.check().is_err(), "{entry:?}");
    };
    let xattr = |name: &[u8], length| Xattr { name: name.into(), value: vec![0; length] };
    bad(&|it| it.meta.mode = 0o10_000);
    bad(&|it| it.meta.user = "x".repeat(257));
    bad(&|it| it.meta.mtime = Stamp { secs: 0, nanos: 1_000_000_000 });
    bad(&|it| it.meta.xattrs = vec![xattr(b"", 0)]);
    bad(&|it| it.meta.xattrs = vec![xattr(b"user.a", 2 << 20)]);
    bad(&|it| it.kind = Kind::File { size: 1, spans: vec![Span::Hole(2)] });
    bad(&|it| it.kind = Kind::File { size: 9, spans: vec![Span::Hole(u64::MAX), Span::Hole(9)] });
    bad(&|it| it.kind = Kind::File { size: u64::MAX, spans: Vec::new() });
    bad(&|it| it.kind = Kind::Link { target: Vec::new() });
    bad(&|it| it.kind = Kind::Link { target: b"a\0".to_vec() });
    bad(&|it| it.kind = Kind::Link { target: vec![b'x'; 5_000] });
}

#[test]
fn the_bytes_of_a_tree_do_not_change() {
    let meta = Meta {
        mode: 0o640,
        uid: 1_000,
        user: "ada".into(),
        mtime: Stamp { secs: -1, nanos: 5 },
        shared: Some(1),
        xattrs: vec![Xattr { name: b"user.a".to_vec(), value: b"b".to_vec() }],
        ..Meta::default()
    };
    let kind = Kind::File { size: 7, spans: vec![Span::Hole(6), Span::Data(vec![[9; 32]])] };
    let entry = Record::Entry(Entry { name: b"f".to_vec(), meta, kind });
    let hex = |bytes: &[u8]| {
        let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        bytes.chunks(40).map(line).collect::<Vec<_>>().join("\n")
    };
    let wanted = expect_test::expect![[r#"
        4600000000000166a003e807000361646100010500000001010106757365722e6101620007020106
        00010909090909090909090909090909090909090909090909090909090909090909020000000001"#]];
    wanted.assert_eq(&hex(&tree_bytes(&[entry, Record::Up])));
    let head = Head {
        time: Time(5),
        host: "h".into(),
        paths: vec![b"/a".to_vec()],
        parent: Some(Guid([3; 32])),
        objects: vec![Part { object: Guid([4; 32]), secret: [5; 32] }],
        ..Head::default()
    };
    let wanted = expect_test::expect![[r#"
        000501680001022f6100010303030303030303030303030303030303030303030303030303030303
        03030300000000000000000000000104040404040404040404040404040404040404040404040404
        040404040404040505050505050505050505050505050505050505050505050505050505050505"#]];
    wanted.assert_eq(&hex(&head.encode()));
    let mut catalogue = Catalogue::default();
    catalogue.forgotten.insert(Guid([6; 32]), Time(7));
    let wanted = expect_test::expect![[r#"
        000001060606060606060606060606060606060606060606060606060606060606060607"#]];
    wanted.assert_eq(&hex(&catalogue.encode().unwrap()));
}

proptest! {
    #[test]
    fn paths_are_ordered_name_by_name(
        left in proptest::collection::vec("[ab.-]{1,3}", 1..4),
        right in proptest::collection::vec("[ab.-]{1,3}", 1..4),
    ) {
        let joined = |names: &[String]| names.join("/").into_bytes();
        let (one, other) = (joined(&left), joined(&right));
        prop_assert_eq!(order(&one, &other), left.cmp(&right));
        prop_assert_eq!(is_within(&one, &other), left.starts_with(&right));
    }

    #[test]
    fn a_tree_is_the_same_however_it_is_cut(piece in 1_usize..50) {
        let records = [
            entry(b"a", Kind::Folder),
            link(b"b", b"c"),
            Record::Up,
            file(b"d", vec![Span::Hole(3), Span::Data(vec![[1; 32]; 3])], 9),
        ];
        let mut decoder = Decoder::default();
        let mut paths = Vec::new();
        for bytes in tree_bytes(&records).chunks(piece) {
            decoder.push(bytes);
            while let Some(visit) = decoder.visit().unwrap() {
                paths.push(match visit {
                    Visit::Entry(visited) => String::from_utf8(visited.path).unwrap(),
                    Visit::Up => "up".into(),
                });
            }
        }
        decoder.end().unwrap();
        prop_assert_eq!(paths, ["a", "a/b", "up", "d"]);
    }
}
