//! Manifests: golden bytes, and nothing that does not hold together gets through.

use proptest::prelude::*;

use super::*;
use crate::seal::{Cipher, LEVEL_DEFAULT};

fn sealer() -> Sealer {
    Sealer::new(Cipher::ChaCha20Poly1305, LEVEL_DEFAULT)
}

fn secret() -> SealSecret {
    SealSecret::from_secret(Secret::new([9; 32]))
}

fn segment(length: u32) -> Segment {
    let name = |index: u8| Guid([index; 32]);
    Segment { length, code: Code::new(1, 2).unwrap(), fragments: vec![name(1), name(2)] }
}

fn content() -> Content {
    let place = |offset, length| Place {
        secret: secret(),
        segment: 0,
        offset,
        sealed: length + OVERHEAD_BYTES as u32,
        length,
    };
    let file = File { name: "a.txt".into(), size: 15, chunks: vec![0, 1] };
    Content { chunks: vec![place(0, 10), place(39, 5)], files: vec![file] }
}

fn manifest() -> Manifest {
    let seal = |_: &[u8]| secret();
    let sealed = Manifest::seal(Class::Hot, vec![segment(100)], &content(), &mut sealer(), seal);
    sealed.unwrap().0
}

#[test]
fn what_begins_as_no_manifest_need_not_be_read() {
    assert!(Root::may_begin(&manifest().encode()));
    let list = codec::encode(&Stored::Pieces(vec![Guid([1; 32]); 2]));
    assert!(Root::may_begin(&list));
    for other in [&b""[..], &[0], &[0, 9, 1], &[2, 0, 1], &[255; 64]] {
        assert!(!Root::may_begin(other), "{other:?}");
    }
}

#[test]
fn the_bytes_do_not_change_under_a_version() {
    let mut plain = manifest();
    plain.sealed = vec![7; 40];
    plain.plain = 11;
    let hex = data_encoding::HEXLOWER.encode(&plain.encode());
    expect_test::expect!["000301640102020101010101010101010101010101010101010101010101010101010101010101020202020202020202020202020202020202020202020202020202020202020228070707070707070707070707070707070707070707070707070707070707070707070707070707070b"].assert_eq(&hex);
    expect_test::expect!["6nat4hgwuknpek5e2dtgkpxfqtec6qtxcy2vprpwuwa6vp3jbyva"]
        .assert_eq(&plain.guid().to_string());
    let inner = data_encoding::HEXLOWER.encode(&content().encode());
    expect_test::expect!["000209090909090909090909090909090909090909090909090909090909090909090000270a0909090909090909090909090909090909090909090909090909090909090909002722050105612e7478740f020001"].assert_eq(&inner);
}

#[test]
fn a_manifest_is_read_as_it_was_written_and_opens() {
    let bytes = manifest().encode();
    let read = Manifest::decode_as(&bytes, &manifest().guid()).unwrap();
    assert_eq!(read, manifest());
    assert_eq!(read.open(&secret(), &mut sealer()), Ok(content()));
    assert_eq!(read.stored_bytes(), 2 * 128);
}

#[test]
fn another_objects_manifest_or_capability_is_refused() {
    let wanted = Guid([5; 32]);
    let said = Manifest::decode_as(&manifest().encode(), &wanted);
    assert_eq!(said, Err(ManifestError::OtherObject { got: manifest().guid(), wanted }));
    let other = SealSecret::from_secret(Secret::new([8; 32]));
    let said = manifest().open(&other, &mut sealer());
    assert_eq!(said, Err(ManifestError::Sealed(OpenError::Sealed)));
}

#[test]
fn the_guid_covers_everything() {
    let guid = manifest().guid();
    let changes: [fn(&mut Manifest); 6] = [
        |it| it.class = Class::Bulk,
        |it| it.segments[0].length += 1,
        |it| it.segments[0].fragments.swap(0, 1),
        |it| it.segments[0].code = Code::new(2, 2).unwrap(),
        |it| it.plain += 1,
        |it| *it.sealed.last_mut().unwrap() ^= 1,
    ];
    for change in changes {
        let mut changed = manifest();
        change(&mut changed);
        assert_ne!(changed.guid(), guid);
    }
}

#[test]
fn what_does_not_hold_together_is_refused_where_it_is_read_and_where_it_is_made() {
    let refused = |change: fn(&mut Manifest)| {
        let mut bad = manifest();
        change(&mut bad);
        Manifest::decode(&bad.encode()).unwrap_err()
    };
    assert_eq!(refused(|it| it.segments[0].length = 0), ManifestError::Segment(0));
    assert_eq!(refused(|it| it.segments[0].length = 5 << 20), ManifestError::Segment(0));
    assert_eq!(refused(|it| it.segments[0].fragments.truncate(1)), ManifestError::Segment(0));
    assert!(matches!(refused(|it| it.sealed.extend([0; 200])), ManifestError::TooLong { .. }));
    assert!(matches!(refused(|it| it.plain = u32::MAX), ManifestError::TooLong { .. }));

    let unmade = |change: fn(&mut Content)| {
        let mut bad = content();
        change(&mut bad);
        bad.check(&[segment(100)]).unwrap_err()
    };
    assert_eq!(unmade(|it| it.chunks[1].segment = 1), ManifestError::Chunk(1));
    assert_eq!(unmade(|it| it.chunks[1].offset = 90), ManifestError::Chunk(1));
    assert_eq!(unmade(|it| it.chunks[0].length = 5 << 20), ManifestError::Chunk(0));
    assert_eq!(unmade(|it| it.files[0].chunks.push(2)), ManifestError::File(0));
    assert_eq!(unmade(|it| it.files[0].size = 14), ManifestError::File(0));
    assert_eq!(unmade(|it| it.files[0].name = "x".repeat(5_000)), ManifestError::File(0));
}

#[test]
fn a_later_version_is_named_as_such() {
    let mut bytes = manifest().encode();
    bytes[0] = 1;
    assert!(matches!(Manifest::decode(&bytes), Err(ManifestError::Version(_))));
}

proptest! {
    #[test]
    fn a_flipped_bit_is_an_error_or_another_object(at: proptest::sample::Index, bit in 0_u8..8) {
        let mut bytes = manifest().encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(Manifest::decode_as(&bytes, &manifest().guid()).is_err());
    }

    #[test]
    fn any_bytes_are_a_manifest_or_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = Manifest::decode(&bytes);
    }
}

#[test]
fn a_manifest_longer_than_a_fragment_is_stored_in_pieces() {
    let mut long = manifest();
    let code = Code::new(1, 200).unwrap();
    let segment = Segment { length: 100, code, fragments: vec![Guid([3; 32]); 200] };
    long.segments = vec![segment; 1_500];
    let pieces = long.pieces();
    assert_eq!(pieces.len(), 4);
    assert!(pieces.iter().all(|piece| piece.len() <= FRAGMENT_BYTES_MAX));
    let Root::Pieces(names) = Root::decode_as(&pieces[0], &long.guid()).unwrap() else {
        panic!("it is longer than a fragment")
    };
    let of_pieces: Vec<Guid> = pieces[1..].iter().map(|piece| Guid::of(piece)).collect();
    assert_eq!(names, of_pieces);
    assert_eq!(Manifest::join(&pieces[1..]), Ok(long));
    assert!(Manifest::join(&pieces[2..]).is_err());
    assert_eq!(Manifest::decode(&pieces[0]), Err(ManifestError::Pieces));
    let nothing = codec::encode(&Stored::Pieces(Vec::new()));
    assert_eq!(Manifest::decode(&nothing), Err(ManifestError::Pieces));
    let many = codec::encode(&Stored::Pieces(vec![Guid([1; 32]); PIECES_MAX + 1]));
    assert!(matches!(Manifest::decode(&many), Err(ManifestError::TooMany { .. })));
}
