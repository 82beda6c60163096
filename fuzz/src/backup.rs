//! Decoders of backups: trees and heads of snapshots, lists of them, recovery phrases.

use isos_backup::entry::{Entry, Kind, Meta, Record, Span, Xattr, check_name};
use isos_backup::phrase::Phrase;
use isos_backup::snapshot::{Head, Part, tree_bytes};
use isos_backup::tree::{Decoder, Visit, is_within, order, plain_path, put_visit};
use isos_backup::{Catalogue, Listed, Stats};
use isos_base::{Guid, Time};

/// The tree of a snapshot, which becomes files: no entry leads out of its folder, and no two are
/// at one path.
pub fn backup_tree(bytes: &[u8]) {
    let mut decoder = Decoder::default();
    decoder.push(bytes);
    let (mut last, mut open, mut again) = (None::<Vec<u8>>, Vec::new(), Vec::new());
    while let Ok(Some(visit)) = decoder.visit() {
        put_visit(&visit, &mut again);
        let Visit::Entry(visited) = visit else {
            open.pop().expect("a folder that ends has begun");
            continue;
        };
        let path = visited.path;
        assert_eq!(check_name(&visited.entry.name), Ok(()));
        assert_eq!(plain_path(&path), path, "no step leads back or nowhere");
        assert!(is_within(&path, open.last().map_or(&[], Vec::as_slice)));
        assert!(last.is_none_or(|last| order(&last, &path).is_lt()), "paths are in order");
        if visited.entry.is_folder() {
            open.push(path.clone());
        }
        last = Some(path);
    }
    assert!(again.len() <= bytes.len(), "our own encoding is the shortest");
}

/// The head of a snapshot, a list of snapshots, and a phrase that somebody types.
pub fn backup_list(bytes: &[u8]) {
    if let Ok(head) = Head::decode(bytes) {
        assert_eq!(Head::decode(&head.encode()).ok(), Some(head));
    }
    if let Ok(catalogue) = Catalogue::decode(bytes) {
        let again = catalogue.encode().expect("what was read is within the limits");
        assert_eq!(Catalogue::decode(&again).as_ref(), Ok(&catalogue));
        assert_eq!(catalogue.clone().merge(Catalogue::default()).forgotten, catalogue.forgotten);
    }
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(phrase) = Phrase::parse(text)
    {
        let again = Phrase::parse(&phrase.words()).expect("words that were read are read again");
        assert_eq!(again.root(), phrase.root());
    }
}

/// Good inputs of these targets.
pub(crate) fn inputs(target: &str) -> Vec<Vec<u8>> {
    let part = Part { object: Guid([4; 32]), secret: [5; 32] };
    if target == "backup_tree" {
        let xattrs = vec![Xattr { name: b"user.a".to_vec(), value: b"b".to_vec() }];
        let meta = Meta { mode: 0o640, user: "ada".into(), xattrs, ..Meta::default() };
        let entry = |name: &[u8], kind| {
            Record::Entry(Entry { name: name.to_vec(), meta: meta.clone(), kind })
        };
        let spans = vec![Span::Hole(6), Span::Data(vec![[9; 32]])];
        let records = [
            entry(b"a", Kind::Folder),
            entry(b"b", Kind::File { size: 7, spans }),
            entry(b"c", Kind::Link { target: b"../x".to_vec() }),
            Record::Up,
            entry(b"d", Kind::BlockDevice { major: 8, minor: 1 }),
            entry(b"e", Kind::Fifo),
        ];
        return vec![tree_bytes(&records)];
    }
    let (host, user) = ("h".to_owned(), "u".to_owned());
    let (paths, tags) = (vec![b"/a".to_vec()], vec!["t".to_owned()]);
    let head = Head {
        time: Time(5),
        host: host.clone(),
        paths: paths.clone(),
        tags: tags.clone(),
        parent: Some(Guid([3; 32])),
        objects: vec![part.clone()],
        ..Head::default()
    };
    let stats = Stats::default();
    let time = Time(7);
    let listed = Listed { root: part, time, host, user, paths, tags, partial: true, stats };
    let mut catalogue = Catalogue::default();
    catalogue.snapshots.insert(listed.root.object, listed);
    catalogue.forgotten.insert(Guid([6; 32]), Time(7));
    let words = Phrase::from_bytes(&[7; 16]).expect("sixteen bytes are twelve words").words();
    vec![head.encode(), catalogue.encode().expect("it is within the limits"), words.into_bytes()]
}
