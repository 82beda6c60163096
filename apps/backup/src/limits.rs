//! A limit on everything that is stored or read, in one place, each with its reason.

use isos_store::chunk::Profile;

/// A name in a folder: systems allow 255, some 1,020 (255 characters of four bytes).
pub const NAME_BYTES_MAX: usize = 1_024;
/// Where a symbolic link leads: as far as Linux takes it.
pub const LINK_BYTES_MAX: usize = 4_096;
/// Folders within folders. One open file each while they are walked, and people have fifty at most.
pub const DEPTH_MAX: usize = 256;
/// The name of a user or a group.
pub const OWNER_BYTES_MAX: usize = 256;
/// Extended attributes of one file.
pub const XATTRS_MAX: usize = 256;
/// The bytes of all of them; Linux allows 64 KiB for each.
pub const XATTRS_BYTES_MAX: usize = 1 << 20;
/// One entry of a tree: a file of 1,000,000 chunks, which is a terabyte.
pub const ENTRY_BYTES_MAX: usize = 48 << 20;
/// Pieces of a file with holes between.
pub const SPANS_MAX: usize = 1 << 20;
/// Objects of one snapshot: of a GiB each, about.
pub const OBJECTS_MAX: usize = 1 << 16;
/// The head of a snapshot: names of all its objects with what opens them.
pub const HEAD_BYTES_MAX: usize = 8 << 20;
/// Folders of one snapshot.
pub const PATHS_MAX: usize = 1_024;
/// A path, of a folder to be kept.
pub const PATH_BYTES_MAX: usize = 4_096;
/// Tags of one snapshot.
pub const TAGS_MAX: usize = 64;
/// A tag, a host's name, a user's.
pub const LABEL_BYTES_MAX: usize = 256;
/// Snapshots of one repository; 45 years of four a day.
pub const SNAPSHOTS_MAX: usize = 1 << 16;
/// Names of snapshots that are gone, so that another machine's list does not bring them back.
pub const FORGOTTEN_MAX: usize = 1 << 16;
/// A catalogue.
pub const CATALOGUE_BYTES_MAX: usize = 64 << 20;
/// A file of patterns.
pub const PATTERNS_BYTES_MAX: u64 = 1 << 20;
/// Files with several names that are watched for at a time. Beyond it each name is a file of its
/// own.
pub const SHARED_MAX: usize = 1 << 20;
/// Problems of which each is kept; all are counted.
pub const PROBLEMS_MAX: usize = 10_000;
/// Segments that a reader holds: 64 MiB.
pub const CACHED_SEGMENTS: usize = 16;

/// Bytes of an object of file contents, on average. What changes in it costs its manifest anew,
/// which has about a thousandth of that.
pub const OBJECT_BYTES: u64 = 1 << 30;
/// What a chunk counts in an object besides its bytes, so that manifests of small files stay small.
pub const CHUNK_WEIGHT: u64 = 16 << 10;
/// Hundredths of a segment that must be in use, or its chunks are stored anew.
pub const USED_PERCENT_MIN: u64 = 25;
/// How the tree is cut: one changed file costs one or two chunks of it.
pub const TREE_PROFILE: Profile = Profile { min: 8 << 10, average: 32 << 10, max: 128 << 10 };
