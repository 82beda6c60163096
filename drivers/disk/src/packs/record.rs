//! A fragment or a head as it lies in a pack: a header, the hashes of its groups, its bytes.
//!
//! ```text
//!  0  magic "ISF1"         16  lease             40  GUID
//!  4  class                24  account           72  check: of all before it, and the pack
//!  8  length of the bytes  32  end of the lease  80  hashes of the groups, if more than one
//! 12  zero                                           bytes
//! ```
//!
//! Little-endian. The GUID checks the bytes and the hashes; the check is for the header alone and
//! says that a record begins here: so a walk over a pack finds its records, a torn one shows, and
//! bytes that somebody made to look like a record of another pack are none. Every record is right
//! by itself: without its index a pack still says all that matters.
//!
//! A head has the magic "ISH1", its key where a fragment has its GUID, and no hashes: its bytes are
//! checked by the signature in them.

use isos_base::fragment::{
    FRAGMENT_BYTES_MAX, GROUP_BYTES, Groups, SIGNED_HEAD_BYTES_MAX, SignedHead, StorageClass,
    groups_of,
};
use isos_base::{AccountId, Guid, LeaseId, Time};

const FRAGMENT_MAGIC: [u8; 4] = *b"ISF1";
const HEAD_MAGIC: [u8; 4] = *b"ISH1";
/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 80;
const CHECK_AT: usize = 72;
/// Keeps the check apart from every other hash.
const CHECK_CONTEXT: &str = "isos 2026 pack record 1";

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Fragment,
    Head,
}

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// The name of a fragment, the key of a head.
    pub(super) id: Guid,
    pub(super) length: u32,
    pub(super) lease: LeaseId,
    pub(super) account: AccountId,
    /// The end of the lease when this was written.
    pub(super) until: Time,
    pub(super) class: StorageClass,
}

/// Bytes of the hashes of a fragment's groups; heads are too short to have any.
pub(super) const fn hashes_bytes(length: u32) -> u32 {
    Groups::count(length) * 32
}

/// Bytes of the whole record of a fragment or a head.
pub(super) const fn record_bytes(length: u32) -> u32 {
    HEADER_BYTES as u32 + hashes_bytes(length) + length
}

/// Where a group begins in the bytes of a fragment that has it or ends before.
pub(super) const fn group_at(length: u32, group: u32) -> u32 {
    if group >= groups_of(length) { length } else { group * GROUP_BYTES }
}

const CLASSES: [StorageClass; 5] = [
    StorageClass::Archive,
    StorageClass::Standard,
    StorageClass::Bulk,
    StorageClass::Hot,
    StorageClass::Cache,
];

fn check(bytes: &[u8], pack: u32) -> [u8; 8] {
    let mut hasher = isos_base::guid::GuidHasher::new();
    hasher.update(CHECK_CONTEXT.as_bytes());
    hasher.update(&pack.to_le_bytes());
    hasher.update(bytes);
    *hasher.finish().0.first_chunk().expect("a hash has 32 bytes")
}

impl Header {
    /// Appends the header as it stands in this pack.
    pub(super) fn write(&self, pack: u32, buffer: &mut Vec<u8>) {
        let from = buffer.len();
        buffer.extend(match self.kind {
            Kind::Fragment => FRAGMENT_MAGIC,
            Kind::Head => HEAD_MAGIC,
        });
        buffer.extend((self.class as u32).to_le_bytes());
        buffer.extend(self.length.to_le_bytes());
        buffer.extend([0; 4]);
        buffer.extend(self.lease.0.to_le_bytes());
        buffer.extend(self.account.0.to_le_bytes());
        buffer.extend(self.until.0.to_le_bytes());
        buffer.extend(self.id.0);
        let check = check(&buffer[from..], pack);
        buffer.extend(check);
    }

    /// The header in front of these bytes, if there is one.
    pub(super) fn read(bytes: &[u8], pack: u32) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
        let (kind, max) = match *bytes.first_chunk()? {
            FRAGMENT_MAGIC => (Kind::Fragment, FRAGMENT_BYTES_MAX),
            HEAD_MAGIC => (Kind::Head, SIGNED_HEAD_BYTES_MAX as u32),
            _ => return None,
        };
        if bytes[CHECK_AT..] != check(&bytes[..CHECK_AT], pack) {
            return None;
        }
        let four = |at: usize| bytes[at..].first_chunk().map(|four| u32::from_le_bytes(*four));
        let eight = |at: usize| bytes[at..].first_chunk().map(|eight| u64::from_le_bytes(*eight));
        let header = Self {
            kind,
            class: *CLASSES.get(four(4)? as usize)?,
            length: four(8)?,
            lease: LeaseId(eight(16)?),
            account: AccountId(eight(24)?),
            until: Time(eight(32)?),
            id: Guid(*bytes[40..].first_chunk()?),
        };
        (1..=max).contains(&header.length).then_some(header)
    }
}

/// The head that lies behind a header, if it is signed by the key that the header says.
pub(super) fn head_in(header: &Header, behind: &[u8]) -> Option<SignedHead> {
    let signed = SignedHead::from_bytes(behind).ok()?;
    let fits = header.kind == Kind::Head && signed.head.key.0 == header.id.0;
    (fits && signed.check().is_ok()).then_some(signed)
}

/// Whether what lies behind a header is right: the hashes and all the bytes, or the head.
pub(super) fn is_right(header: &Header, behind: &[u8]) -> bool {
    if header.kind == Kind::Head {
        return head_in(header, behind).is_some();
    }
    let Some((hashes, bytes)) = behind.split_at_checked(hashes_bytes(header.length) as usize)
    else {
        return false;
    };
    let (id, groups) = Groups::of(bytes);
    bytes.len() == header.length as usize && id == header.id && groups.as_bytes() == hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            kind: Kind::Fragment,
            id: Guid::of(b"fragment"),
            length: 20_000,
            lease: LeaseId(300),
            account: AccountId(100),
            until: Time(1 << 50),
            class: StorageClass::Hot,
        }
    }

    #[test]
    fn a_header_says_what_was_written_and_no_bit_of_it_can_change() {
        let mut bytes = Vec::new();
        header().write(7, &mut bytes);
        assert_eq!(bytes.len(), HEADER_BYTES);
        assert_eq!(Header::read(&bytes, 7), Some(header()));
        assert_eq!(Header::read(&bytes, 8), None, "of another pack");
        assert_eq!(Header::read(&bytes[..79], 7), None);
        for bit in 0..HEADER_BYTES * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::read(&bytes, 7), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn heads_are_told_from_fragments_and_are_short() {
        let mut bytes = Vec::new();
        let longest = Header { kind: Kind::Head, length: 640, ..header() };
        longest.write(7, &mut bytes);
        assert_eq!(Header::read(&bytes, 7), Some(longest));
        bytes[2] ^= b'F' ^ b'H';
        assert_eq!(Header::read(&bytes, 7), None, "a fragment's");
        bytes.clear();
        Header { length: 641, ..longest }.write(7, &mut bytes);
        assert_eq!(Header::read(&bytes, 7), None);
    }

    #[test]
    fn classes_stand_in_the_order_of_their_numbers() {
        for (number, class) in CLASSES.into_iter().enumerate() {
            assert_eq!(class as usize, number);
        }
    }

    #[test]
    fn lengths_that_no_fragment_has_are_no_header() {
        for length in [0, FRAGMENT_BYTES_MAX + 1, u32::MAX] {
            let mut bytes = Vec::new();
            Header { length, ..header() }.write(7, &mut bytes);
            assert_eq!(Header::read(&bytes, 7), None);
        }
        assert_eq!(record_bytes(1), 81);
        assert_eq!(record_bytes(GROUP_BYTES), 80 + 16_384);
        assert_eq!(record_bytes(GROUP_BYTES + 1), 80 + 64 + 16_385);
    }
}
