//! `wasi:filesystem` over the virtual file system.

#![expect(unreachable_pub, reason = "bindgen! re-exports the resource types with pub")]

use wasmtime::component::Resource;

use super::streams::{Input, Output, StreamFailure};
use super::wasi::clocks::wall_clock::Datetime;
use super::wasi::filesystem::{preopens, types};
use crate::host::{CLOCK_START_NS, Host};
use crate::p1::LISTED_MAX;
use crate::stop::{Answer, Errno, No};
use crate::vfs::{Entry, Handle, Kind, Open, Stat, Vfs};
use types::{DescriptorFlags, DescriptorType, ErrorCode, NewTimestamp, OpenFlags, PathFlags};

/// Bytes of one read.
const READ_BYTES_MAX: u64 = 1 << 20;

/// An open file or folder.
#[derive(Debug)]
pub struct Descriptor {
    handle: Handle,
    read: bool,
}

/// A folder's list, what is left of it.
#[derive(Debug)]
pub struct Listing {
    rest: std::vec::IntoIter<Entry>,
    /// Entries at the beginning.
    length: usize,
}

type Fd = Resource<Descriptor>;

const fn type_of(kind: Kind) -> DescriptorType {
    match kind {
        Kind::Dir => DescriptorType::Directory,
        Kind::File => DescriptorType::RegularFile,
    }
}

fn stat_of(stat: Stat) -> types::DescriptorStat {
    let date = Datetime { seconds: CLOCK_START_NS / 1_000_000_000, nanoseconds: 0 };
    types::DescriptorStat {
        type_: type_of(stat.kind),
        link_count: 1,
        size: stat.size,
        data_access_timestamp: Some(date),
        data_modification_timestamp: Some(date),
        status_change_timestamp: Some(date),
    }
}

/// Two numbers that are the same exactly for the same thing.
const fn hash_of(stat: Stat) -> types::MetadataHashValue {
    types::MetadataHashValue { lower: stat.inode, upper: stat.size }
}

impl From<Errno> for ErrorCode {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::BadDescriptor | Errno::NotSocket => Self::BadDescriptor,
            Errno::Busy => Self::Busy,
            Errno::Exists => Self::Exist,
            Errno::TooLarge => Self::FileTooLarge,
            Errno::BadBytes => Self::IllegalByteSequence,
            Errno::Fault | Errno::Invalid => Self::Invalid,
            Errno::IsDirectory => Self::IsDirectory,
            Errno::TooManyDescriptors => Self::InsufficientMemory,
            Errno::NameTooLong => Self::NameTooLong,
            Errno::NoEntry => Self::NoEntry,
            Errno::NoSpace => Self::InsufficientSpace,
            Errno::NotDirectory => Self::NotDirectory,
            Errno::NotEmpty => Self::NotEmpty,
            Errno::NotSupported => Self::Unsupported,
            Errno::Overflow => Self::Overflow,
            Errno::NotCapable => Self::NotPermitted,
            Errno::ReadOnly => Self::ReadOnly,
            Errno::NotSeekable => Self::InvalidSeek,
            Errno::CrossDevice => Self::CrossDevice,
        }
    }
}

impl Host {
    /// A second handle to the same thing, for a stream.
    fn again(&mut self, fd: &Fd, write: bool) -> Answer<Handle> {
        let descriptor = self.table.get(fd)?;
        if write && !descriptor.handle.write || !write && !descriptor.read {
            return Err(Errno::BadDescriptor.into());
        }
        self.vfs.reopen(&descriptor.handle)
    }

    fn path<T>(
        &mut self,
        fd: &Fd,
        path: &str,
        work: impl FnOnce(&mut Vfs, &crate::vfs::Node) -> Answer<T>,
    ) -> Answer<T> {
        // It was copied before anybody could look at its length.
        self.moves(path.len());
        self.walks(path.len());
        let base = self.table.get(fd)?.handle.node.clone();
        work(&mut self.vfs, &base)
    }
}

impl preopens::Host for Host {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Fd, String)>> {
        let root = self.table.push(Descriptor { handle: Vfs::root(), read: true })?;
        Ok(vec![(root, "/".into())])
    }
}

impl types::Host for Host {
    fn filesystem_error_code(
        &mut self,
        error: Resource<StreamFailure>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(Some(self.table.get(&error)?.0))
    }

    fn convert_error_code(&mut self, error: No) -> wasmtime::Result<ErrorCode> {
        match error {
            No::Errno(errno) => Ok(errno.into()),
            No::Stop(stop) => Err(stop.into()),
        }
    }
}

impl types::HostDirectoryEntryStream for Host {
    fn read_directory_entry(
        &mut self,
        list: Resource<Listing>,
    ) -> Answer<Option<types::DirectoryEntry>> {
        let next = self.table.get_mut(&list)?.rest.next();
        Ok(next.map(|entry| types::DirectoryEntry { type_: type_of(entry.kind), name: entry.name }))
    }

    fn drop(&mut self, list: Resource<Listing>) -> wasmtime::Result<()> {
        self.vfs.listed -= self.table.delete(list)?.length;
        Ok(())
    }
}

impl types::HostDescriptor for Host {
    fn read_via_stream(&mut self, fd: Fd, offset: u64) -> Answer<Resource<Input>> {
        let handle = self.again(&fd, false)?;
        Ok(self.table.push(Input::File { handle, offset })?)
    }

    fn write_via_stream(&mut self, fd: Fd, offset: u64) -> Answer<Resource<Output>> {
        let handle = self.again(&fd, true)?;
        Ok(self.table.push(Output::File { handle, offset })?)
    }

    fn append_via_stream(&mut self, fd: Fd) -> Answer<Resource<Output>> {
        let handle = self.again(&fd, true)?;
        Ok(self.table.push(Output::Append(handle))?)
    }

    fn advise(&mut self, _fd: Fd, _at: u64, _length: u64, _advice: types::Advice) -> Answer<()> {
        Ok(())
    }

    fn sync_data(&mut self, _fd: Fd) -> Answer<()> {
        Ok(())
    }

    fn sync(&mut self, _fd: Fd) -> Answer<()> {
        Ok(())
    }

    fn get_flags(&mut self, fd: Fd) -> Answer<DescriptorFlags> {
        let descriptor = self.table.get(&fd)?;
        let dir = self.vfs.stat(&descriptor.handle).kind == Kind::Dir;
        let mut flags = DescriptorFlags::empty();
        if descriptor.read {
            flags |= DescriptorFlags::READ;
        }
        if descriptor.handle.write {
            let change = DescriptorFlags::MUTATE_DIRECTORY;
            flags |= if dir { change } else { DescriptorFlags::WRITE };
        }
        Ok(flags)
    }

    fn get_type(&mut self, fd: Fd) -> Answer<DescriptorType> {
        let descriptor = self.table.get(&fd)?;
        Ok(type_of(self.vfs.stat(&descriptor.handle).kind))
    }

    fn set_size(&mut self, fd: Fd, size: u64) -> Answer<()> {
        let handle = &self.table.get(&fd)?.handle;
        let grown = size.saturating_sub(self.vfs.stat(handle).size);
        self.vfs.set_size(handle, size)?;
        self.moves(usize::try_from(grown).unwrap_or(usize::MAX));
        Ok(())
    }

    fn set_times(&mut self, _fd: Fd, _access: NewTimestamp, _change: NewTimestamp) -> Answer<()> {
        Ok(())
    }

    fn read(&mut self, fd: Fd, length: u64, offset: u64) -> Answer<(Vec<u8>, bool)> {
        let descriptor = self.table.get(&fd)?;
        if !descriptor.read {
            return Err(Errno::BadDescriptor.into());
        }
        let length = length.min(READ_BYTES_MAX) as usize;
        self.pays(length)?;
        let descriptor = self.table.get(&fd)?;
        let mut buffer = vec![0; length];
        let n = self.vfs.read(&descriptor.handle, offset, &mut buffer)?;
        let end = offset.saturating_add(n as u64) >= self.vfs.stat(&descriptor.handle).size;
        buffer.truncate(n);
        Ok((buffer, end))
    }

    fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: u64) -> Answer<u64> {
        let descriptor = self.table.get(&fd)?;
        let hole = offset.saturating_sub(self.vfs.stat(&descriptor.handle).size);
        self.pays(bytes.len())?;
        let descriptor = self.table.get(&fd)?;
        self.vfs.write(&descriptor.handle, offset, &bytes)?;
        self.moves(usize::try_from(hole).unwrap_or(usize::MAX));
        Ok(bytes.len() as u64)
    }

    fn read_directory(&mut self, fd: Fd) -> Answer<Resource<Listing>> {
        let list = self.vfs.list(&self.table.get(&fd)?.handle)?;
        let length = list.len();
        self.handles(length);
        if self.vfs.listed + length > LISTED_MAX {
            return Err(Errno::TooManyDescriptors.into());
        }
        let listing = self.table.push(Listing { rest: list.into_iter(), length })?;
        self.vfs.listed += length;
        Ok(listing)
    }

    fn create_directory_at(&mut self, fd: Fd, path: String) -> Answer<()> {
        self.path(&fd, &path, |vfs, base| vfs.create_dir(base, &path))
    }

    fn stat(&mut self, fd: Fd) -> Answer<types::DescriptorStat> {
        let descriptor = self.table.get(&fd)?;
        Ok(stat_of(self.vfs.stat(&descriptor.handle)))
    }

    fn stat_at(&mut self, fd: Fd, _: PathFlags, path: String) -> Answer<types::DescriptorStat> {
        self.path(&fd, &path, |vfs, base| Ok(stat_of(vfs.stat_at(base, &path)?)))
    }

    fn set_times_at(
        &mut self,
        fd: Fd,
        _: PathFlags,
        path: String,
        _access: NewTimestamp,
        _change: NewTimestamp,
    ) -> Answer<()> {
        self.path(&fd, &path, |vfs, base| Ok(vfs.stat_at(base, &path).map(drop)?))
    }

    fn link_at(
        &mut self,
        _fd: Fd,
        _: PathFlags,
        path: String,
        _new_fd: Fd,
        new_path: String,
    ) -> Answer<()> {
        self.moves(path.len() + new_path.len());
        Err(Errno::NotSupported.into())
    }

    fn open_at(
        &mut self,
        fd: Fd,
        _: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> Answer<Fd> {
        let write = flags.intersects(DescriptorFlags::WRITE | DescriptorFlags::MUTATE_DIRECTORY);
        let open = Open {
            create: how.contains(OpenFlags::CREATE),
            exclusive: how.contains(OpenFlags::EXCLUSIVE),
            truncate: how.contains(OpenFlags::TRUNCATE),
            directory: how.contains(OpenFlags::DIRECTORY),
            write,
        };
        let handle = self.path(&fd, &path, |vfs, base| vfs.open(base, &path, open))?;
        let read = flags.contains(DescriptorFlags::READ);
        Ok(self.table.push(Descriptor { handle, read })?)
    }

    fn readlink_at(&mut self, fd: Fd, path: String) -> Answer<String> {
        self.path(&fd, &path, |vfs, base| {
            vfs.stat_at(base, &path)?;
            Err(Errno::Invalid.into())
        })
    }

    fn remove_directory_at(&mut self, fd: Fd, path: String) -> Answer<()> {
        self.path(&fd, &path, |vfs, base| Ok(vfs.remove(base, &path, Kind::Dir)?))
    }

    fn rename_at(&mut self, fd: Fd, from: String, new_fd: Fd, to: String) -> Answer<()> {
        let new_base = self.table.get(&new_fd)?.handle.node.clone();
        self.moves(to.len());
        self.walks(to.len());
        self.path(&fd, &from, |vfs, base| vfs.rename((base, &from), (&new_base, &to)))
    }

    fn symlink_at(&mut self, _fd: Fd, old: String, new: String) -> Answer<()> {
        self.moves(old.len() + new.len());
        Err(Errno::NotSupported.into())
    }

    fn unlink_file_at(&mut self, fd: Fd, path: String) -> Answer<()> {
        self.path(&fd, &path, |vfs, base| Ok(vfs.remove(base, &path, Kind::File)?))
    }

    fn is_same_object(&mut self, one: Fd, other: Fd) -> wasmtime::Result<bool> {
        let (one, other) = (self.table.get(&one)?, self.table.get(&other)?);
        Ok(self.vfs.same(&one.handle, &other.handle))
    }

    fn metadata_hash(&mut self, fd: Fd) -> Answer<types::MetadataHashValue> {
        let descriptor = self.table.get(&fd)?;
        Ok(hash_of(self.vfs.stat(&descriptor.handle)))
    }

    fn metadata_hash_at(
        &mut self,
        fd: Fd,
        _: PathFlags,
        path: String,
    ) -> Answer<types::MetadataHashValue> {
        self.path(&fd, &path, |vfs, base| Ok(hash_of(vfs.stat_at(base, &path)?)))
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        let descriptor = self.table.delete(fd)?;
        self.vfs.close(descriptor.handle);
        Ok(())
    }
}
