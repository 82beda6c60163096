//! Making a snapshot: what the walk finds becomes a tree, what is new becomes segments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use isos_base::time::Span as TimeSpan;
use isos_base::{Guid, Time};
use isos_store::capability::ReadCapability;
use isos_store::code::Coded;
use isos_store::earlier::Earlier;
use isos_store::key::StorageSecret;
use isos_store::object::{Reader, Settings, WriteError, Writer};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::FileType;

use crate::contents::{Contents, send};
use crate::entry::{Entry, Kind, Meta, Record, Span, Stamp, put};
use crate::error::BackupError;
use crate::exclude::Rules;
use crate::limits::{ENTRY_BYTES_MAX, SHARED_MAX, TREE_PROFILE, USED_PERCENT_MIN};
use crate::look::{Look, look_into, open_file, plain_kind, target, xattrs};
use crate::owners::Owners;
use crate::progress::{Done, Observer, Problem, Problems, Stats, Trouble};
use crate::read::{FileReader, Piece};
use crate::scan::{Found, Scan, Visitor, unseen};
use crate::snapshot::{Cursor, HEAD, Head, Snapshot, TREE, fetch};
use crate::transfer::{Segments, Sink, Source};
use crate::tree::{Visit, order};

/// Bytes of a tree that are collected before they are cut.
const TREE_BYTES: usize = 64 << 10;
/// A file that was changed as shortly as this before a snapshot began is read again in the next:
/// the clocks of file systems tick slowly, and a second change may bear the same time.
const TICK: TimeSpan = TimeSpan::secs(2);

/// What to keep, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Absolute paths of folders and files.
    pub paths: Vec<PathBuf>,
    /// What of them is left out.
    pub rules: Rules,
    /// Now.
    pub time: Time,
    /// The machine's name.
    pub host: String,
    /// Whose snapshot it is.
    pub user: String,
    /// What people call it by.
    pub tags: Vec<String>,
    /// How contents are stored.
    pub settings: Settings,
    /// How large objects of contents are, on average. All snapshots of a repository should have
    /// one size: it decides where objects end.
    pub object_bytes: Option<u64>,
    /// Whether files are read that seem to be as they were.
    pub force: bool,
}

/// The snapshot before, and where it is.
pub struct Parent<'a> {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What has its segments. Only those of trees are asked for.
    pub source: &'a mut dyn Source,
}

/// A snapshot that is complete.
#[derive(Debug)]
pub struct Created {
    /// What opens its root object.
    pub capability: ReadCapability,
    /// What it says of itself.
    pub head: Head,
    /// What went wrong with single files.
    pub problems: Problems,
}

/// Makes a snapshot.
///
/// # Errors
/// [`BackupError`]; then there is no snapshot, and what the sink was given is named by nothing.
pub fn create(
    secret: &StorageSecret,
    plan: &Plan,
    parent: Option<Parent<'_>>,
    sink: &mut dyn Sink,
    observer: &mut dyn Observer,
) -> Result<Created, BackupError> {
    let scan = Scan::new(&plan.paths, &plan.rules)?;
    let absolute = |root: &Vec<u8>| [b"/", root.as_slice()].concat();
    let mut head = Head {
        time: plan.time,
        host: plan.host.clone(),
        user: plan.user.clone(),
        paths: scan.roots().iter().map(absolute).collect(),
        tags: plan.tags.clone(),
        parent: parent.as_ref().map(|it| it.snapshot.id()),
        ..Head::default()
    };
    head.check()?;
    let mut before = Before::new(parent, plan)?;
    let settings = Settings { profile: TREE_PROFILE, ..plan.settings };
    let tree_earlier = before.tree();
    let mut tree = Writer::new(secret.clone(), settings)?.upon(tree_earlier);
    tree.begin(TREE)?;
    let known = before.contents()?;
    let contents = Contents::new(secret, plan.settings, plan.object_bytes, known, sink)?;
    let mut maker = Maker {
        contents,
        tree,
        records: Vec::new(),
        ready: Vec::new(),
        reader: FileReader::new(plan.settings.profile)?,
        before,
        owners: Owners::default(),
        devices: BTreeMap::new(),
        shared: BTreeMap::new(),
        stats: Stats::default(),
        problems: Problems::default(),
        observer,
    };
    scan.run(&mut maker)?;
    let Maker { contents, mut tree, records, mut ready, mut stats, problems, .. } = maker;
    tree.push(&records, &mut ready).map_err(tree_is_full)?;
    tree.end(&mut ready).map_err(tree_is_full)?;
    let (objects, sink) = contents.finish(&mut stats)?;
    send(&mut ready, sink, &mut stats)?;
    stats.lost = problems.lost;
    (head.objects, head.stats, head.partial) = (objects, stats, problems.is_partial());
    tree.begin(HEAD)?;
    tree.push(&head.encode(), &mut ready).map_err(tree_is_full)?;
    tree.end(&mut ready).map_err(tree_is_full)?;
    let (manifest, capability) = tree.finish(&mut ready)?;
    send(&mut ready, sink, &mut stats)?;
    sink.object(&manifest, &capability).map_err(BackupError::Sink)?;
    Ok(Created { capability, head, problems })
}

fn tree_is_full(error: WriteError) -> BackupError {
    match error {
        WriteError::Pack(_) => BackupError::TooMuch("its tree has more than 8 GiB"),
        other => other.into(),
    }
}

/// What is known from the snapshot before: its tree is walked over beside the folders.
struct Before<'a> {
    parent: Option<(Snapshot, Segments<'a>, Cursor)>,
    /// The entry of its tree that comes next.
    next: Option<(Vec<u8>, Entry)>,
    is_open: bool,
    force: bool,
}

impl<'a> Before<'a> {
    fn new(parent: Option<Parent<'a>>, plan: &Plan) -> Result<Self, BackupError> {
        let parent = parent.map(|Parent { snapshot, source }| {
            let cursor = snapshot.walk();
            (snapshot, Segments::new(source), cursor)
        });
        let is_open = parent.is_some();
        let mut before = Self { parent, next: None, is_open, force: plan.force };
        before.advance()?;
        Ok(before)
    }

    fn tree(&self) -> Earlier {
        self.parent.as_ref().map_or_else(Earlier::new, |(snapshot, ..)| snapshot.earlier())
    }

    /// What its objects have, and their names.
    fn contents(&mut self) -> Result<(Earlier, BTreeSet<Guid>), BackupError> {
        let (mut earlier, mut stored) = (Earlier::new(), BTreeSet::new());
        let Some((snapshot, segments, _)) = &mut self.parent else { return Ok((earlier, stored)) };
        for part in &snapshot.head().objects {
            let manifest = fetch(segments.source(), &part.object)?;
            let reader = Reader::open(&manifest, &part.capability())?;
            earlier.add(&manifest, reader.content());
            stored.insert(part.object);
        }
        earlier.leave_sparse(USED_PERCENT_MIN);
        Ok((earlier, stored))
    }

    fn advance(&mut self) -> Result<(), BackupError> {
        self.next = None;
        let Some((snapshot, segments, cursor)) = &mut self.parent else { return Ok(()) };
        while self.is_open {
            match cursor.next(snapshot, segments)? {
                Some(Visit::Entry(it)) => {
                    self.next = Some((it.path, it.entry));
                    return Ok(());
                }
                Some(Visit::Up) => {}
                None => self.is_open = false,
            }
        }
        Ok(())
    }

    /// The entry that was at this path. Paths are asked for in the order of trees.
    fn at(&mut self, path: &[u8]) -> Result<Option<Entry>, BackupError> {
        while let Some((next, _)) = &self.next {
            match order(next, path) {
                std::cmp::Ordering::Less => self.advance()?,
                std::cmp::Ordering::Greater => break,
                std::cmp::Ordering::Equal => {
                    let found = self.next.take().map(|(_, entry)| entry);
                    self.advance()?;
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    /// Whether the file is as it was when that entry was made.
    fn is_same(&self, entry: &Entry, look: &Look) -> bool {
        let Some((snapshot, ..)) = &self.parent else { return false };
        let settled = Time(snapshot.head().time.0.saturating_sub(TICK.0));
        let settled = Stamp {
            secs: i64::try_from(settled.unix_secs()).unwrap_or(i64::MAX),
            nanos: (settled.0 % 1_000_000) as u32 * 1_000,
        };
        let Meta { mtime, ctime, inode, .. } = entry.meta;
        !self.force
            && (mtime, ctime, inode) == (look.mtime, look.ctime, look.inode)
            && entry.size() == if look.kind.is_file() { look.size } else { 0 }
            && ctime < settled
    }
}

struct Maker<'s, 'p, 'o> {
    contents: Contents<'s>,
    tree: Writer,
    records: Vec<u8>,
    ready: Vec<Coded>,
    reader: FileReader,
    before: Before<'p>,
    owners: Owners,
    /// File systems, in the order in which files with several names were found on them.
    devices: BTreeMap<u64, u32>,
    /// Files with several names of which some were found: what they are, how many are to come.
    shared: BTreeMap<(u64, u64), (u64, Vec<Span>, u64)>,
    stats: Stats,
    problems: Problems,
    observer: &'o mut dyn Observer,
}

impl Maker<'_, '_, '_> {
    fn keep(&mut self, record: Record) -> Result<(), BackupError> {
        let before = self.records.len();
        put(record, &mut self.records);
        if self.records.len() - before > ENTRY_BYTES_MAX {
            return Err(BackupError::TooMuch("a file of more than a million chunks"));
        }
        if self.records.len() >= TREE_BYTES {
            self.tree.push(&self.records, &mut self.ready).map_err(tree_is_full)?;
            self.records.clear();
            send(&mut self.ready, self.contents.sink(), &mut self.stats)?;
        }
        Ok(())
    }

    fn told(&mut self, path: &[u8]) -> Result<(), BackupError> {
        let done = Done { stats: &self.stats, path };
        match self.observer.progress(&done) {
            std::ops::ControlFlow::Continue(()) => Ok(()),
            std::ops::ControlFlow::Break(()) => Err(BackupError::Stopped),
        }
    }

    fn meta(&mut self, look: &Look) -> Meta {
        let is_shared = look.names > 1 && look.kind != FileType::Directory;
        let ordinal = self.devices.len() as u32;
        let shared = is_shared.then(|| *self.devices.entry(look.device).or_insert(ordinal));
        Meta {
            mode: look.mode,
            uid: look.uid,
            gid: look.gid,
            user: self.owners.user(look.uid),
            group: self.owners.group(look.gid),
            mtime: look.mtime,
            ctime: look.ctime,
            inode: look.inode,
            shared,
            xattrs: Vec::new(),
        }
    }

    /// Reads the attributes of something that is open, or takes those that it had.
    fn add_xattrs(
        &mut self,
        meta: &mut Meta,
        path: &[u8],
        open: &OwnedFd,
    ) -> Result<(), BackupError> {
        let why = match xattrs(open.as_fd()) {
            Ok((found, is_whole)) => {
                meta.xattrs = found;
                if is_whole {
                    return Ok(());
                }
                "some of its extended attributes are too long or cannot be read".to_owned()
            }
            Err(error) => std::io::Error::from(error).to_string(),
        };
        self.problem(Problem::new(path, Trouble::NotKept, why))
    }

    fn regular(&mut self, found: &Found<'_>) -> Result<(), BackupError> {
        let (path, look) = (found.path, &found.look);
        let name = found.name.to_bytes().to_vec();
        let was = self.before.at(path)?;
        let mut meta = self.meta(look);
        if let Some(was) = was
            && self.before.is_same(&was, look)
            && self.contents.has(was.chunks())
            && let Kind::File { .. } = was.kind
        {
            self.contents.reuse(was.chunks(), &mut self.stats)?;
            self.stats.unchanged += 1;
            self.stats.files += 1;
            self.stats.bytes += look.size;
            meta.xattrs = was.meta.xattrs;
            return self.keep(Record::Entry(Entry { name, meta, kind: was.kind }));
        }
        let open = match open_file(found.folder, found.name) {
            Ok(open) => open,
            Err(error) => return self.problem(unseen(path, error)),
        };
        let now = match look_into(open.as_fd()) {
            Ok(now) => now,
            Err(error) => return self.problem(unseen(path, error)),
        };
        if (now.device, now.inode, now.kind) != (look.device, look.inode, look.kind) {
            let why = "something else has taken its place";
            return self.problem(Problem::new(path, Trouble::Unreadable, why));
        }
        meta = self.meta(&now);
        self.add_xattrs(&mut meta, path, &open)?;
        let key = (now.device, now.inode);
        let (size, spans) = match self.shared.get_mut(&key) {
            Some((size, spans, to_come)) => {
                *to_come -= 1;
                let known = (*size, spans.clone());
                if *to_come == 0 {
                    self.shared.remove(&key);
                }
                known
            }
            None => {
                let Some((size, spans)) = self.read(path, open, &now)? else { return Ok(()) };
                if now.names > 1 && self.shared.len() < SHARED_MAX {
                    self.shared.insert(key, (size, spans.clone(), now.names - 1));
                }
                (size, spans)
            }
        };
        self.stats.files += 1;
        self.stats.bytes += size;
        self.keep(Record::Entry(Entry { name, meta, kind: Kind::File { size, spans } }))
    }

    /// Reads a file and stores what is new of it. Nothing, if it cannot be read to its end.
    fn read(
        &mut self,
        path: &[u8],
        open: OwnedFd,
        look: &Look,
    ) -> Result<Option<(u64, Vec<Span>)>, BackupError> {
        let (mut size, mut spans) = (0, Vec::new());
        let mut reader = std::mem::take(&mut self.reader);
        let mut stopped = Ok(());
        let read = reader.read(&open, look, &mut |piece| {
            let taken = match piece {
                Piece::Hole(length) => {
                    size += length;
                    spans.push(Span::Hole(length));
                    Ok(())
                }
                Piece::Chunk(plain) => self.contents.push(plain, &mut self.stats).and_then(|id| {
                    size += plain.len() as u64;
                    self.stats.read += plain.len() as u64;
                    match spans.last_mut() {
                        Some(Span::Data(chunks)) => chunks.push(id),
                        _ => spans.push(Span::Data(vec![id])),
                    }
                    self.told(path)
                }),
            };
            stopped = taken;
            stopped.is_ok()
        });
        self.reader = reader;
        stopped?;
        if let Err(error) = read {
            self.problem(Problem::new(path, Trouble::Unreadable, error))?;
            return Ok(None);
        }
        let after = look_into(open.as_fd());
        let is_same = after.is_ok_and(|after| {
            (after.size, after.mtime, after.ctime) == (look.size, look.mtime, look.ctime)
        });
        if !is_same || size != look.size {
            self.problem(Problem::new(path, Trouble::Changed, ""))?;
        }
        Ok(Some((size, spans)))
    }
}

impl Visitor for Maker<'_, '_, '_> {
    fn file(&mut self, found: &Found<'_>) -> Result<(), BackupError> {
        self.told(found.path)?;
        let look = &found.look;
        let kind = match look.kind {
            FileType::RegularFile => return self.regular(found),
            FileType::Symlink => match target(found.folder, found.name) {
                Ok(target) => Kind::Link { target },
                Err(error) => return self.problem(unseen(found.path, error)),
            },
            FileType::Socket => {
                return self.problem(Problem::new(found.path, Trouble::Socket, ""));
            }
            _ => match plain_kind(look) {
                Some(kind) => kind,
                None => {
                    let why = "a kind of file that is not known";
                    return self.problem(Problem::new(found.path, Trouble::Unreadable, why));
                }
            },
        };
        self.stats.others += 1;
        let (name, meta) = (found.name.to_bytes().to_vec(), self.meta(look));
        let entry = Entry { name, meta, kind };
        match entry.check() {
            Ok(()) => self.keep(Record::Entry(entry)),
            Err(why) => self.problem(Problem::new(found.path, Trouble::Unreadable, why)),
        }
    }

    fn enter(&mut self, found: &Found<'_>, open: Option<&OwnedFd>) -> Result<(), BackupError> {
        self.told(found.path)?;
        self.stats.folders += 1;
        let mut meta = self.meta(&found.look);
        let was = self.before.at(found.path)?;
        match (was, open) {
            (Some(was), _) if was.is_folder() && self.before.is_same(&was, &found.look) => {
                meta.xattrs = was.meta.xattrs;
            }
            (_, Some(open)) => self.add_xattrs(&mut meta, found.path, open)?,
            (_, None) => {}
        }
        let name = found.name.to_bytes().to_vec();
        self.keep(Record::Entry(Entry { name, meta, kind: Kind::Folder }))
    }

    fn leave(&mut self) -> Result<(), BackupError> {
        self.keep(Record::Up)
    }

    fn problem(&mut self, problem: Problem) -> Result<(), BackupError> {
        self.problems.add(problem, self.observer);
        Ok(())
    }
}
