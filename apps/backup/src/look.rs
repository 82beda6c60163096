//! What the system says about a file, in one shape on all machines.

use std::ffi::CStr;

use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::entry::{Kind, Stamp, Xattr};
use crate::limits::{XATTRS_BYTES_MAX, XATTRS_MAX};

/// What `stat` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) kind: FileType,
    /// The twelve bits of permissions.
    pub(crate) mode: u16,
    pub(crate) names: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Of a device: which.
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) size: u64,
    /// Bytes on the disk.
    pub(crate) taken: u64,
    pub(crate) mtime: Stamp,
    pub(crate) ctime: Stamp,
}

/// An open folder and a name in it; links are not followed.
pub(crate) fn look_at(folder: BorrowedFd<'_>, name: &CStr) -> Result<Look, Errno> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| of(&stat))
}

/// An open file.
pub(crate) fn look_into(file: BorrowedFd<'_>) -> Result<Look, Errno> {
    rustix::fs::fstat(file).map(|stat| of(&stat))
}

fn of(stat: &Stat) -> Look {
    let stamp = |secs, nanos| Stamp { secs, nanos: nanos as u32 };
    let device = stat.st_rdev;
    Look {
        device: wide(stat.st_dev) as u64,
        inode: wide(stat.st_ino) as u64,
        kind: FileType::from_raw_mode(stat.st_mode),
        mode: (wide(stat.st_mode) & 0o7777) as u16,
        names: wide(stat.st_nlink) as u64,
        uid: stat.st_uid,
        gid: stat.st_gid,
        major: rustix::fs::major(device),
        minor: rustix::fs::minor(device),
        size: wide(stat.st_size) as u64,
        taken: (wide(stat.st_blocks) as u64).saturating_mul(512),
        mtime: stamp(wide(stat.st_mtime), wide(stat.st_mtime_nsec)),
        ctime: stamp(wide(stat.st_ctime), wide(stat.st_ctime_nsec)),
    }
}

/// These numbers have different types on different systems; none is beyond 63 bits but some inodes,
/// of which all that matters is that they differ.
fn wide<N: TryInto<i64> + TryInto<u64> + Copy>(number: N) -> i64 {
    let signed: Result<i64, _> = number.try_into();
    signed.unwrap_or_else(|_| {
        let unsigned: Result<u64, _> = number.try_into();
        unsigned.unwrap_or(0) as i64
    })
}

/// Opens a folder in an open folder. A link in its place is an error.
pub(crate) fn open_folder(
    folder: BorrowedFd<'_>,
    name: &CStr,
) -> Result<rustix::fd::OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// Opens a file to be read. What became a link or a pipe meanwhile does not hold anybody up.
pub(crate) fn open_file(folder: BorrowedFd<'_>, name: &CStr) -> Result<rustix::fd::OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// The names in a folder, in order.
pub(crate) fn names(folder: BorrowedFd<'_>) -> Result<Vec<std::ffi::CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Where a link leads.
pub(crate) fn target(folder: BorrowedFd<'_>, name: &CStr) -> Result<Vec<u8>, Errno> {
    rustix::fs::readlinkat(folder, name, Vec::new()).map(std::ffi::CString::into_bytes)
}

/// The extended attributes of an open file or folder, by name, and whether these are all.
pub(crate) fn xattrs(file: BorrowedFd<'_>) -> Result<(Vec<Xattr>, bool), Errno> {
    let mut list = [0_u8; 4_096];
    let listed = match rustix::fs::flistxattr(file, &mut list) {
        Ok(length) => list[..length].to_vec(),
        Err(Errno::RANGE) => {
            let mut list = vec![0; 1 << 16];
            let length = rustix::fs::flistxattr(file, &mut list[..])?;
            list.truncate(length);
            list
        }
        // File systems without any.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Vec::new(),
        Err(error) => return Err(error),
    };
    let (mut found, mut bytes, mut is_whole) = (Vec::new(), 0, true);
    for name in listed.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let Some(value) = xattr(file, name) else {
            is_whole = false;
            continue;
        };
        bytes += name.len() + value.len();
        if found.len() == XATTRS_MAX || bytes > XATTRS_BYTES_MAX {
            is_whole = false;
            break;
        }
        found.push(Xattr { name: name.to_vec(), value });
    }
    found.sort_unstable();
    Ok((found, is_whole))
}

fn xattr(file: BorrowedFd<'_>, name: &[u8]) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    loop {
        match rustix::fs::fgetxattr(file, name, &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                return Some(value);
            }
            Err(Errno::RANGE) if value.len() < XATTRS_BYTES_MAX => value = vec![0; 64 << 10],
            Err(_) => return None,
        }
        if value.len() > XATTRS_BYTES_MAX {
            return None;
        }
    }
}

/// What an entry is, if neither a file nor a link nor something unknown.
pub(crate) fn plain_kind(look: &Look) -> Option<Kind> {
    let (major, minor) = (look.major, look.minor);
    match look.kind {
        FileType::Directory => Some(Kind::Folder),
        FileType::Fifo => Some(Kind::Fifo),
        FileType::CharacterDevice => Some(Kind::CharDevice { major, minor }),
        FileType::BlockDevice => Some(Kind::BlockDevice { major, minor }),
        _ => None,
    }
}
