//! The thin thread: files become fragments, and any m of each segment become the files.

use proptest::prelude::*;

use super::*;
use crate::code::Gather;
use crate::key::Secret;

fn user(byte: u8) -> StorageSecret {
    StorageSecret::new(&Secret::new([byte; 32]))
}

fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

fn settings(m: u16, n: u16) -> Settings {
    let code = Code::new(m, n).unwrap();
    let profile = Profile { min: 1_024, average: 4_096, max: 16_384 };
    Settings { profile, ..Settings::new(Class::Standard, code, Cipher::ChaCha20Poly1305) }
}

fn stored(
    user: StorageSecret,
    settings: Settings,
    files: &[(&str, &[u8])],
) -> (Vec<Coded>, Manifest, ReadCapability) {
    let mut writer = Writer::new(user, settings).unwrap();
    let mut ready = Vec::new();
    for (name, bytes) in files {
        writer.begin(name).unwrap();
        bytes.chunks(10_000).for_each(|piece| writer.push(piece, &mut ready).unwrap());
        writer.end(&mut ready).unwrap();
    }
    let (manifest, capability) = writer.finish(&mut ready).unwrap();
    (ready, manifest, capability)
}

/// The segments, from the fragments with these indexes.
fn fetched(manifest: &Manifest, coded: &[Coded], indexes: &[u16]) -> Vec<Vec<u8>> {
    let mut coder = Coder::new();
    let segments = manifest.segments.iter().zip(coded).map(|(segment, coded)| {
        let names = segment.fragments.clone();
        let mut gather = Gather::new(segment.code, segment.length as usize, names);
        for index in indexes {
            gather.offer(*index, coded.fragment(*index)).unwrap();
        }
        gather.decode(&mut coder).unwrap()
    });
    segments.collect()
}

fn read(reader: &mut Reader, segments: &[Vec<u8>], name: &str, range: Range<u64>) -> Vec<u8> {
    let file = reader.content().file(name).unwrap().clone();
    let needed = reader.needed(&file, &range);
    let mut plain = Vec::new();
    let given = |number: u32| {
        assert!(needed.contains(&number), "only what was announced is asked for");
        segments.get(number as usize).map(Vec::as_slice)
    };
    reader.read(&file, &range, given, &mut plain).unwrap();
    plain
}

#[test]
fn files_come_back_from_the_last_fragments() {
    let (film, note) = (noise(1, 9_000_000), b"remember the milk".as_slice());
    let files = [("film", film.as_slice()), ("note", note), ("empty", &[])];
    let (coded, manifest, capability) = stored(user(1), settings(3, 10), &files);
    assert!(manifest.segments.len() >= 3);
    let segments = fetched(&manifest, &coded, &[7, 8, 9]);
    let mut reader = Reader::open(&manifest, &capability).unwrap();
    for (name, bytes) in files {
        let size = bytes.len() as u64;
        assert!(read(&mut reader, &segments, name, 0..size) == bytes, "{name}");
    }
    let part = read(&mut reader, &segments, "film", 4_000_000..4_300_001);
    assert!(part == film[4_000_000..4_300_001]);
    assert_eq!(read(&mut reader, &segments, "note", 9..12), b"the");
    let film = reader.content().file("film").unwrap();
    assert_eq!(reader.needed(film, &(0..1)), BTreeSet::from([0]));
}

#[test]
fn the_same_file_twice_is_stored_once() {
    let bytes = noise(2, 200_000);
    let once = stored(user(1), settings(3, 10), &[("a", &bytes)]);
    let twice = stored(user(1), settings(3, 10), &[("a", &bytes), ("b", &bytes)]);
    assert_eq!(once.0, twice.0, "the same segments");
    assert_eq!(once.1.segments, twice.1.segments);
    assert_ne!(once.1.guid(), twice.1.guid());
}

#[test]
fn two_users_with_the_same_file_have_nothing_in_common() {
    let bytes = noise(2, 50_000);
    let one = stored(user(1), settings(3, 10), &[("a", &bytes)]);
    let other = stored(user(2), settings(3, 10), &[("a", &bytes)]);
    assert!(names(&one.1).is_disjoint(&names(&other.1)));
}

#[test]
fn a_capability_of_one_object_opens_no_other() {
    let bytes = noise(3, 30_000);
    // Two objects of one user that even share their only segment.
    let (coded, one, first) = stored(user(1), settings(2, 4), &[("a", &bytes)]);
    let (_, other, second) = stored(user(1), settings(2, 4), &[("b", &bytes)]);
    assert_eq!(one.segments, other.segments);
    assert_eq!(Reader::open(&other, &first).unwrap_err(), ReadError::Capability);
    let (guid, secret) = second.object().unwrap();
    assert_eq!(guid, other.guid());
    let forged = ReadCapability::of_object(one.guid(), &secret);
    assert!(matches!(
        Reader::open(&one, &forged),
        Err(ReadError::Manifest(ManifestError::Sealed(_)))
    ));
    let segments = fetched(&one, &coded, &[1, 3]);
    let mut reader = Reader::open(&one, &first).unwrap();
    assert!(read(&mut reader, &segments, "a", 0..30_000) == bytes);
}

#[test]
fn a_part_that_a_file_does_not_have_is_an_error_with_its_size() {
    let (_, manifest, capability) = stored(user(1), settings(1, 1), &[("a", b"xyz")]);
    let mut reader = Reader::open(&manifest, &capability).unwrap();
    let file = reader.content().file("a").unwrap().clone();
    let said = reader.read(&file, &(0..4), |_| None, &mut Vec::new());
    assert_eq!(said, Err(ReadError::Range { range: 0..4, size: 3 }));
    let said = reader.read(&file, &(0..3), |_| None, &mut Vec::new());
    assert_eq!(said, Err(ReadError::Segment(0)));
}

#[test]
fn all_versions_open_with_one_capability_and_each_alone_with_its_own() {
    let write = crate::capability::WriteCapability::new(user(1).name_seed("diary"));
    let all = write.read();
    let version = |sequence: u64, text: &[u8]| {
        let (mut writer, mut ready) = (Writer::new(user(1), settings(1, 2)).unwrap(), Vec::new());
        writer.begin("today").unwrap();
        writer.push(text, &mut ready).unwrap();
        writer.end(&mut ready).unwrap();
        let secret = all.version_secret(sequence).unwrap();
        writer.finish_under(|_| secret, &mut ready).unwrap()
    };
    let (first, _) = version(1, b"sun");
    let (second, narrow) = version(2, b"rain");
    for (sequence, manifest) in [(1, &first), (2, &second)] {
        let capability = all.version(sequence, manifest.guid()).unwrap();
        assert!(Reader::open(manifest, &capability).is_ok());
    }
    assert_eq!(all.version(2, second.guid()), Some(narrow.clone()));
    let (_, secret) = narrow.object().unwrap();
    let forged = ReadCapability::of_object(first.guid(), &secret);
    assert!(Reader::open(&first, &forged).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn what_goes_in_comes_out(
        sizes in proptest::collection::vec(0_usize..40_000, 1..6),
        m in 1_u16..6,
        extra in 0_u16..6,
        compresses: bool,
    ) {
        let bytes: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(at, size)| {
            if compresses { vec![at as u8; *size] } else { noise(at as u8, *size) }
        }).collect();
        let names: Vec<String> = (0..sizes.len()).map(|at| at.to_string()).collect();
        let files: Vec<(&str, &[u8])> =
            names.iter().map(String::as_str).zip(bytes.iter().map(Vec::as_slice)).collect();
        let (coded, manifest, capability) = stored(user(1), settings(m, m + extra), &files);
        let last: Vec<u16> = (extra..m + extra).collect();
        let segments = fetched(&manifest, &coded, &last);
        let mut reader = Reader::open(&manifest, &capability).unwrap();
        for (name, bytes) in files {
            let plain = read(&mut reader, &segments, name, 0..bytes.len() as u64);
            prop_assert!(plain == bytes);
        }
    }
}

/// An object of these chunks, upon earlier ones.
fn chunked(earlier: Earlier, chunks: &[Vec<u8>]) -> (Vec<Coded>, Finished) {
    let mut writer = Writer::new(user(1), settings(2, 3)).unwrap().upon(earlier);
    let mut ready = Vec::new();
    for chunk in chunks {
        writer.push_chunk(chunk, &mut ready).unwrap();
    }
    let finished = writer.finish_onward(&mut ready).unwrap();
    (ready, finished)
}

#[test]
fn what_an_earlier_object_has_is_named_and_not_stored_again() {
    let chunks: Vec<Vec<u8>> = (0..40).map(|seed| noise(seed, 400_000)).collect();
    let (coded, first) = chunked(Earlier::new(), &chunks);
    let segments = first.manifest.segments.clone();
    assert_eq!((coded.len(), segments.len()), (4, 4));
    // The same again is the same object, to its name.
    let (coded, second) = chunked(first.earlier, &chunks);
    assert_eq!((coded.len(), second.manifest.guid()), (0, first.manifest.guid()));
    // A few of them, and a new one in between: only the segments that are needed are named.
    let some = [chunks[15].clone(), noise(90, 1_000), chunks[1].clone(), chunks[16].clone()];
    let (coded, third) = chunked(second.earlier, &some);
    assert_eq!(coded.len(), 1);
    let named: Vec<usize> = third.manifest.segments[..]
        .iter()
        .map(|named| segments.iter().position(|it| it == named).unwrap_or(9))
        .collect();
    assert_eq!(named, [1, 9, 0]);
    let reader = Reader::open(&third.manifest, &third.capability).unwrap();
    let places = &reader.content().chunks;
    assert_eq!(places.iter().map(|it| it.segment).collect::<Vec<_>>(), [0, 1, 2, 0]);
    let mut sealer = Sealer::new(Cipher::ChaCha20Poly1305, LEVEL_DEFAULT);
    let mut plain = Vec::new();
    let (bytes, _) = chunked(Earlier::new(), &chunks);
    let whole = |coded: &Coded| [coded.fragment(0), coded.fragment(1)].concat();
    open_chunk(&mut sealer, &whole(&bytes[0]), &places[2], &mut plain).unwrap();
    assert!(plain == chunks[1]);
}

#[test]
fn files_are_built_upon_earlier_objects_as_well() {
    let film = noise(1, 9_000_000);
    let mut ready = Vec::new();
    let mut writer = Writer::new(user(1), settings(2, 3)).unwrap();
    writer.begin("film").unwrap();
    writer.push(&film, &mut ready).unwrap();
    writer.end(&mut ready).unwrap();
    let first = writer.finish_onward(&mut ready).unwrap();
    let (chunks, mut coded) = (first.earlier.chunks(), Vec::new());
    let mut writer = Writer::new(user(1), settings(2, 3)).unwrap().upon(first.earlier);
    writer.begin("other name").unwrap();
    writer.push(&film, &mut coded).unwrap();
    writer.end(&mut coded).unwrap();
    let second = writer.finish_onward(&mut coded).unwrap();
    assert_eq!((coded.len(), second.earlier.chunks()), (0, chunks));
    assert_eq!(second.manifest.segments, first.manifest.segments);
    let mut reader = Reader::open(&second.manifest, &second.capability).unwrap();
    let segments = fetched(&second.manifest, &ready, &[1, 2]);
    assert!(read(&mut reader, &segments, "other name", 0..9_000_000) == film);
}

#[test]
fn an_object_is_full_of_adopted_segments_too() {
    // More segments than one object may name, in two earlier ones.
    let mut earlier = Earlier::new();
    let limit = crate::limits::SEGMENTS_MAX;
    for object in 0..2_u32 {
        let segment = |number: u32| Segment {
            length: 1_000,
            code: Code::new(1, 1).unwrap(),
            fragments: vec![Guid::of(format!("{object} {number}").as_bytes())],
        };
        let segments: Vec<Segment> = (0..limit as u32).map(segment).collect();
        let place = |number: u32| crate::pack::Place {
            secret: user(1).chunk(format!("{object} {number}").as_bytes()),
            segment: number,
            offset: 0,
            sealed: 900,
            length: 5,
        };
        let chunks = (0..limit as u32).map(place).collect();
        let manifest = Manifest { class: Class::Small, segments, sealed: Vec::new(), plain: 0 };
        earlier.add(&manifest, &Content { chunks, files: Vec::new() });
    }
    let mut writer = Writer::new(user(1), settings(2, 3)).unwrap().upon(earlier);
    let id = |object: u32, number: u32| user(1).chunk(format!("{object} {number}").as_bytes()).id();
    for number in 0..limit as u32 {
        assert_eq!(writer.reuse(&id(0, number)), Ok(true));
    }
    let full = Err(WriteError::Pack(PackError::Segments));
    assert_eq!(writer.reuse(&id(1, 0)), full);
    let pushed = writer.push_chunk(b"new", &mut Vec::new());
    assert_eq!(pushed.map(|it| it.1), full);
    assert_eq!(writer.reuse(&id(0, 3)), Ok(true), "what it has it can name again");
    assert_eq!(writer.reuse(&user(1).chunk(b"never seen").id()), Ok(false));
}

#[test]
fn segments_of_which_little_is_used_are_not_offered() {
    let chunks: Vec<Vec<u8>> = (0..40).map(|seed| noise(seed, 400_000)).collect();
    let (_, first) = chunked(Earlier::new(), &chunks);
    let (_, second) = chunked(first.earlier, &[chunks[0].clone(), chunks[20].clone()]);
    let mut earlier = Earlier::new();
    let content = Reader::open(&second.manifest, &second.capability).unwrap();
    earlier.add(&second.manifest, content.content());
    assert_eq!(earlier.chunks(), 2);
    earlier.leave_sparse(5);
    assert_eq!(earlier.chunks(), 2);
    earlier.leave_sparse(25);
    assert_eq!(earlier.chunks(), 0);
}
