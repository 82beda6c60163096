//! One entry of a snapshot is put into an open folder.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::path::PathBuf;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawMode, Timespec, Timestamps, UTIME_OMIT, Uid,
    XattrFlags,
};
use rustix::io::Errno;

use crate::entry::{Entry, Kind, Meta, Stamp, shown};
use crate::error::BackupError;
use crate::look::{look_at, open_folder, target};
use crate::owners::Owners;

/// What becomes of files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// They stay.
    #[default]
    Never,
    /// Those are replaced that have another size or time.
    Changed,
    /// All are replaced.
    Always,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// It is there; what of it could not be set.
    Whole(Option<String>),
    /// It was there, as it should be.
    Unchanged,
    /// Something was there and stays.
    Skipped,
    /// A folder is there.
    InTheWay,
}

/// Puts entries into folders.
#[derive(Debug)]
pub(crate) struct Placer {
    overwrite: Overwrite,
    /// Whether owners can be given and devices made.
    is_root: bool,
    owners: std::cell::RefCell<Owners>,
    /// What a file is called until it takes the place of another.
    part: CString,
}

impl Placer {
    pub(crate) fn new(overwrite: Overwrite) -> Self {
        let part = format!(".isos-restore-{}.part", std::process::id());
        let part = CString::new(part).expect("it has no zero in it");
        let is_root = rustix::process::geteuid().is_root();
        Self { overwrite, is_root, owners: std::cell::RefCell::default(), part }
    }

    /// Whether what is there may be changed.
    pub(crate) fn overwrites(&self) -> bool {
        self.overwrite != Overwrite::Never
    }

    /// Makes a folder; false if it is there. [`Errno::EXIST`] if something else is.
    pub(crate) fn make_folder(&self, parent: &OwnedFd, name: &CStr) -> Result<bool, Errno> {
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => match look_at(parent.as_fd(), name)? {
                look if look.kind.is_dir() => Ok(false),
                _ if self.overwrites() => {
                    rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
                    rustix::fs::mkdirat(parent, name, Mode::RWXU).map(|()| true)
                }
                _ => Err(Errno::EXIST),
            },
            Err(error) => Err(error),
        }
    }

    /// What would come of it.
    pub(crate) fn imagine(
        &self,
        parent: Option<&OwnedFd>,
        name: &CStr,
        entry: &Entry,
    ) -> Result<Made, BackupError> {
        let there = parent.map(|parent| self.there(parent, name, entry)).transpose();
        Ok(there.map_err(failed)?.flatten().unwrap_or(Made::Whole(None)))
    }

    /// What is there already decides, or is to be replaced, or there is nothing.
    fn there(&self, parent: &OwnedFd, name: &CStr, entry: &Entry) -> Result<Option<Made>, Errno> {
        let look = match look_at(parent.as_fd(), name) {
            Ok(look) => look,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error),
        };
        if look.kind.is_dir() {
            return Ok(Some(Made::InTheWay));
        }
        let is_same = || match &entry.kind {
            Kind::File { size, .. } => {
                look.kind.is_file() && look.size == *size && look.mtime == entry.meta.mtime
            }
            Kind::Link { target: to } => {
                look.kind.is_symlink() && target(parent.as_fd(), name).is_ok_and(|it| it == *to)
            }
            _ => false,
        };
        Ok(match self.overwrite {
            Overwrite::Never => Some(Made::Skipped),
            Overwrite::Changed if is_same() => Some(Made::Unchanged),
            Overwrite::Changed | Overwrite::Always => None,
        })
    }

    /// Makes a file and has it filled. It takes the place of another when it is complete.
    pub(crate) fn file(
        &self,
        parent: &OwnedFd,
        name: &CStr,
        entry: &Entry,
        fill: &mut dyn FnMut(&File) -> Result<(), BackupError>,
    ) -> Result<Made, BackupError> {
        if let Some(made) = self.there(parent, name, entry).map_err(failed)? {
            return Ok(made);
        }
        self.instead(parent, name, |as_name| {
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(parent, as_name, flags, Mode::RUSR | Mode::WUSR);
            let file = File::from(fd.map_err(Stop::from)?);
            fill(&file).map_err(Stop::Other)?;
            let fd = OwnedFd::from(file);
            Ok(self.set(&fd, &entry.meta).err())
        })
    }

    /// Makes another name for a file that was restored, whose names from the target on are given.
    pub(crate) fn link(
        &self,
        base: &OwnedFd,
        first: &[CString],
        parent: &OwnedFd,
        name: &CStr,
        entry: &Entry,
    ) -> Result<Made, BackupError> {
        let Some((file, folders)) = first.split_last() else { return Ok(Made::Skipped) };
        // Folder by folder: a link that somebody put there is not followed.
        let mut folder = base.try_clone().map_err(target_error)?;
        for step in folders {
            folder = open_folder(folder.as_fd(), step).map_err(failed)?;
        }
        let there = self.there(parent, name, entry).map_err(failed)?;
        if let Some(made @ (Made::Skipped | Made::InTheWay)) = there {
            return Ok(made);
        }
        let one = look_at(folder.as_fd(), file).map_err(failed)?;
        if look_at(parent.as_fd(), name)
            .is_ok_and(|it| (it.device, it.inode) == (one.device, one.inode))
        {
            return Ok(Made::Unchanged);
        }
        self.instead(parent, name, |as_name| {
            rustix::fs::linkat(&folder, file, parent, as_name, AtFlags::empty())?;
            Ok(None)
        })
    }

    /// Makes what is neither a file nor a folder.
    pub(crate) fn other(
        &self,
        parent: &OwnedFd,
        name: &CStr,
        entry: &Entry,
    ) -> Result<Made, BackupError> {
        if let Some(made) = self.there(parent, name, entry).map_err(failed)? {
            return Ok(made);
        }
        let mode = Mode::from_raw_mode(RawMode::from(entry.meta.mode & 0o777));
        let (kind, device) = match &entry.kind {
            Kind::Link { target } => {
                return self.instead(parent, name, |as_name| {
                    rustix::fs::symlinkat(target.as_slice(), parent, as_name)?;
                    Ok(self.set_at(parent, as_name, &entry.meta, false).err())
                });
            }
            Kind::Fifo => (FileType::Fifo, 0),
            Kind::CharDevice { major, minor } => {
                (FileType::CharacterDevice, rustix::fs::makedev(*major, *minor))
            }
            Kind::BlockDevice { major, minor } => {
                (FileType::BlockDevice, rustix::fs::makedev(*major, *minor))
            }
            Kind::File { .. } | Kind::Folder => return Ok(Made::InTheWay),
        };
        if kind != FileType::Fifo && !self.is_root {
            return Err(target_error(std::io::Error::other("only root may make devices")));
        }
        self.instead(parent, name, |as_name| {
            rustix::fs::mknodat(parent, as_name, kind, mode, device)?;
            Ok(self.set_at(parent, as_name, &entry.meta, true).err())
        })
    }

    /// Makes something under its own name, or beside it if that is taken, and moves it there. If it
    /// cannot be made whole it is taken away again.
    fn instead(
        &self,
        parent: &OwnedFd,
        name: &CStr,
        make: impl FnOnce(&CStr) -> Result<Option<String>, Stop>,
    ) -> Result<Made, BackupError> {
        let is_taken = look_at(parent.as_fd(), name).is_ok();
        let as_name = if is_taken { self.part.as_c_str() } else { name };
        if is_taken {
            // What an earlier run has left.
            let _ = rustix::fs::unlinkat(parent, as_name, AtFlags::empty());
        }
        let made = make(as_name).and_then(|not_set| {
            if is_taken {
                rustix::fs::renameat(parent, as_name, parent, name)?;
            }
            Ok(Made::Whole(not_set))
        });
        made.map_err(|stop| {
            let is_ours = !matches!(stop, Stop::System(Errno::EXIST));
            if is_ours {
                let _ = rustix::fs::unlinkat(parent, as_name, AtFlags::empty());
            }
            match stop {
                Stop::System(error) => failed(error),
                Stop::Other(error) => error,
            }
        })
    }

    /// Sets what an open file or folder had; says what cannot be set.
    pub(crate) fn set(&self, fd: &OwnedFd, meta: &Meta) -> Result<(), String> {
        let mut not_set = Vec::new();
        if self.is_root {
            let (uid, gid) = self.owner(meta);
            note(&mut not_set, "owner", rustix::fs::fchown(fd, Some(uid), Some(gid)));
        }
        // Before the mode, which may forbid it; after the owner, whose change takes rights away.
        for xattr in &meta.xattrs {
            let (name, value) = (xattr.name.as_slice(), xattr.value.as_slice());
            let set = rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty());
            if set.is_err() {
                note(&mut not_set, &shown(name), set);
            }
        }
        note(&mut not_set, "mode", rustix::fs::fchmod(fd, self.mode(meta)));
        note(&mut not_set, "time", rustix::fs::futimens(fd, &times(meta.mtime)));
        if not_set.is_empty() { Ok(()) } else { Err(not_set.join(", ")) }
    }

    /// As [`Placer::set`], of what cannot be opened.
    fn set_at(
        &self,
        parent: &OwnedFd,
        name: &CStr,
        meta: &Meta,
        has_mode: bool,
    ) -> Result<(), String> {
        let mut not_set = Vec::new();
        let parent: BorrowedFd<'_> = parent.as_fd();
        if self.is_root {
            let (uid, gid) = self.owner(meta);
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let set = rustix::fs::chownat(parent, name, Some(uid), Some(gid), flags);
            note(&mut not_set, "owner", set);
        }
        // Links have none. What was just made here under this name is no link.
        if has_mode {
            let set = rustix::fs::chmodat(parent, name, self.mode(meta), AtFlags::empty());
            note(&mut not_set, "mode", set);
        }
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let set = rustix::fs::utimensat(parent, name, &times(meta.mtime), flags);
        note(&mut not_set, "time", set);
        if not_set.is_empty() { Ok(()) } else { Err(not_set.join(", ")) }
    }

    /// By name if this machine has it: numbers differ between machines.
    fn owner(&self, meta: &Meta) -> (Uid, Gid) {
        let mut owners = self.owners.borrow_mut();
        let uid = owners.uid(&meta.user, meta.uid);
        let gid = owners.gid(&meta.group, meta.gid);
        (Uid::from_raw(uid), Gid::from_raw(gid))
    }

    /// Rights to act as the owner are not given to files whose owner is now another.
    fn mode(&self, meta: &Meta) -> Mode {
        let is_owner = self.is_root || rustix::process::geteuid().as_raw() == meta.uid;
        let mode = if is_owner { meta.mode } else { meta.mode & 0o1777 };
        Mode::from_raw_mode(RawMode::from(mode))
    }
}

/// Why something is not made.
enum Stop {
    System(Errno),
    Other(BackupError),
}

impl From<Errno> for Stop {
    fn from(error: Errno) -> Self {
        Self::System(error)
    }
}

fn note(not_set: &mut Vec<String>, what: &str, set: Result<(), Errno>) {
    if let Err(error) = set {
        not_set.push(format!("{what} ({})", std::io::Error::from(error)));
    }
}

const fn times(mtime: Stamp) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos as i64 },
    }
}

fn failed(error: Errno) -> BackupError {
    target_error(error.into())
}

const fn target_error(error: std::io::Error) -> BackupError {
    BackupError::Target(PathBuf::new(), error)
}
