//! A limit on everything that is stored or told, in one place, each with its reason.

use isos_base::time::Span;

/// A segment: what is coded at a time. Its fragments and the coder's state stay in a core's cache;
/// larger ones are coded two to three times slower.
pub const SEGMENT_BYTES_MAX: usize = 4 << 20;
/// A chunk: one fits a segment, with its head and the segment's index.
pub const CHUNK_BYTES_MAX: usize = SEGMENT_BYTES_MAX - (8 << 10);
/// Fragments of one segment: names of them are 32 bytes each, in every manifest.
pub const FRAGMENTS_MAX: u16 = 256;
/// A fragment: a whole segment where it is only copied.
pub const FRAGMENT_BYTES_MAX: usize = SEGMENT_BYTES_MAX;
/// Segments of one object: 16 GiB of data. What is larger is several objects.
pub const SEGMENTS_MAX: usize = 4_096;
/// Chunks of one object.
pub const CHUNKS_MAX: usize = 1 << 18;
/// Files of one object.
pub const FILES_MAX: usize = 1 << 17;
/// Bytes of a file's name in a manifest, as far as the system takes it.
pub const FILE_NAME_BYTES_MAX: usize = 4_096;
/// A manifest: the names of all fragments, and the sealed part.
pub const MANIFEST_BYTES_MAX: usize = 64 << 20;
/// The sealed part of a manifest: 256 Ki chunks, and names of files.
pub const SEALED_BYTES_MAX: usize = 32 << 20;
/// What a head says beside its object: where some sixteen fragments lie, say. With the capability
/// and the seal it fits `isos_base::fragment::HEAD_BODY_BYTES_MAX`.
pub const HEAD_NOTE_BYTES_MAX: usize = 400;
/// Hosts that hold the heads of one name.
pub const HEAD_HOSTS_MAX: usize = 256;
/// Candidates that one placement looks at.
pub const CANDIDATES_MAX: usize = 4_096;
/// Segments in flight in one put or get: each takes 4 MiB times (1 + n/m) of memory.
pub const FLIGHT_SEGMENTS_MAX: usize = 16;
/// Times of transfers that are remembered to know what is slow.
pub const PACE_SAMPLES: usize = 128;
/// Longest that a transfer of one fragment may take.
pub const TRANSFER_SPAN_MAX: Span = Span::secs(120);
/// Segments that one repair machine watches over.
pub const WATCHED_MAX: usize = 4 << 20;
/// Repairs at a time in one repair machine.
pub const REPAIRS_MAX: usize = 64;
/// Sessions of a host that are remembered to know how long it stays away.
pub const ABSENCES_MAX: usize = 16;
