//! Functions on descriptors.

use super::descriptors::{Descriptor, OpenFile};
use super::guest::{Guest, offset};
use crate::host::{CLOCK_START_NS, Host};
use crate::stop::{Answer, Errno};
use crate::vfs::{Entry, Kind, Stat};

const TYPE_UNKNOWN: u8 = 0;
const TYPE_DIR: u8 = 3;
const TYPE_FILE: u8 = 4;
const FLAG_APPEND: u32 = 1;
const RIGHT_READ: u64 = 1 << 1;
const RIGHT_SEEK: u64 = 1 << 2;
const RIGHT_TELL: u64 = 1 << 5;
const RIGHT_WRITE: u64 = 1 << 6;
/// Every right that preview 1 knows.
const RIGHTS_ALL: u64 = (1 << 30) - 1;
/// Entries of all folders' lists that a task holds at once, to go on reading them.
pub(crate) const LISTED_MAX: usize = 1 << 18;
/// Bytes of a directory entry in front of its name.
const ENTRY_BYTES: usize = 24;

const fn type_of(kind: Kind) -> u8 {
    match kind {
        Kind::Dir => TYPE_DIR,
        Kind::File => TYPE_FILE,
    }
}

/// `filestat`, 64 bytes.
pub(super) fn put_stat(guest: &mut Guest<'_>, at: u32, stat: Option<Stat>) -> Result<(), Errno> {
    let mut bytes = [0; 64];
    bytes[0..8].copy_from_slice(&1u64.to_le_bytes());
    if let Some(stat) = stat {
        bytes[8..16].copy_from_slice(&stat.inode.to_le_bytes());
        bytes[16] = type_of(stat.kind);
        bytes[32..40].copy_from_slice(&stat.size.to_le_bytes());
    }
    bytes[24..32].copy_from_slice(&1u64.to_le_bytes());
    for date in [40, 48, 56] {
        bytes[date..date + 8].copy_from_slice(&CLOCK_START_NS.to_le_bytes());
    }
    guest.put(at, &bytes)
}

impl Host {
    pub(super) fn fd_advise(&mut self, fd: u32, advice: u32) -> Answer<()> {
        self.descriptors.file(fd)?;
        if advice > 5 { Err(Errno::Invalid.into()) } else { Ok(()) }
    }

    pub(super) fn fd_allocate(&mut self, fd: u32, at: u64, length: u64) -> Answer<()> {
        let file = self.descriptors.file(fd)?;
        let end = at.checked_add(length).ok_or(Errno::TooLarge)?;
        let size = self.vfs.stat(&file.handle).size;
        if end > size {
            self.moves_sized(end - size);
            let file = self.descriptors.file(fd)?;
            self.vfs.set_size(&file.handle, end)?;
        }
        Ok(())
    }

    /// Pays for bytes that are counted in 64 bits.
    fn moves_sized(&mut self, bytes: u64) {
        self.moves(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    pub(super) fn fd_close(&mut self, fd: u32) -> Answer<()> {
        if let Descriptor::Open(file) = self.descriptors.remove(fd)? {
            self.vfs.close(file.handle);
        }
        Ok(())
    }

    pub(super) fn fd_renumber(&mut self, from: u32, to: u32) -> Answer<()> {
        if let Some(Descriptor::Open(file)) = self.descriptors.renumber(from, to)? {
            self.vfs.close(file.handle);
        }
        Ok(())
    }

    /// Nothing is ever behind, and dates do not change: it only has to be a descriptor.
    pub(super) fn fd_sync(&mut self, fd: u32) -> Answer<()> {
        self.descriptors.get(fd)?;
        Ok(())
    }

    pub(super) fn fd_fdstat_get(&mut self, guest: &mut Guest<'_>, fd: u32, out: u32) -> Answer<()> {
        let (kind, flags, rights) = match self.descriptors.get(fd)? {
            Descriptor::Input => (TYPE_UNKNOWN, 0, RIGHT_READ),
            Descriptor::Output(_) => (TYPE_UNKNOWN, 0, RIGHT_WRITE),
            Descriptor::Open(file) => {
                let mut rights = RIGHTS_ALL;
                let kind = self.vfs.stat(&file.handle).kind;
                if kind == Kind::Dir {
                    rights &= !(RIGHT_SEEK | RIGHT_TELL);
                } else {
                    rights &= if file.handle.write { !0 } else { !RIGHT_WRITE };
                    rights &= if file.read { !0 } else { !RIGHT_READ };
                }
                (type_of(kind), if file.append { FLAG_APPEND } else { 0 }, rights)
            }
        };
        let mut bytes = [0; 24];
        bytes[0] = kind;
        bytes[2..4].copy_from_slice(&(flags as u16).to_le_bytes());
        bytes[8..16].copy_from_slice(&rights.to_le_bytes());
        bytes[16..24].copy_from_slice(&RIGHTS_ALL.to_le_bytes());
        Ok(guest.put(out, &bytes)?)
    }

    pub(super) fn fd_fdstat_set_flags(&mut self, fd: u32, flags: u32) -> Answer<()> {
        match self.descriptors.get(fd)? {
            Descriptor::Open(_) => self.descriptors.file_mut(fd)?.append = flags & FLAG_APPEND != 0,
            Descriptor::Input | Descriptor::Output(_) => {}
        }
        Ok(())
    }

    pub(super) fn fd_fdstat_set_rights(&mut self, fd: u32, base: u64) -> Answer<()> {
        if let Descriptor::Open(_) = self.descriptors.get(fd)? {
            let file = self.descriptors.file_mut(fd)?;
            file.read &= base & RIGHT_READ != 0;
            file.handle.write &= base & RIGHT_WRITE != 0;
        }
        Ok(())
    }

    pub(super) fn fd_filestat_get(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        out: u32,
    ) -> Answer<()> {
        let stat = match self.descriptors.get(fd)? {
            Descriptor::Open(file) => Some(self.vfs.stat(&file.handle)),
            Descriptor::Input | Descriptor::Output(_) => None,
        };
        Ok(put_stat(guest, out, stat)?)
    }

    pub(super) fn fd_filestat_set_size(&mut self, fd: u32, size: u64) -> Answer<()> {
        let file = self.descriptors.file(fd)?;
        let grown = size.saturating_sub(self.vfs.stat(&file.handle).size);
        self.vfs.set_size(&file.handle, size)?;
        self.moves_sized(grown);
        Ok(())
    }

    pub(super) fn fd_pread(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        list: (u32, u32),
        at: u64,
        out: u32,
    ) -> Answer<()> {
        let done = self.read_into(guest, fd, list, at)?;
        Ok(guest.put_u32(out, done)?)
    }

    pub(super) fn fd_read(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        list: (u32, u32),
        out: u32,
    ) -> Answer<()> {
        let done = match self.descriptors.get(fd)? {
            Descriptor::Input => 0,
            Descriptor::Output(_) => return Err(Errno::BadDescriptor.into()),
            Descriptor::Open(file) => {
                let at = file.offset;
                let done = self.read_into(guest, fd, list, at)?;
                self.descriptors.file_mut(fd)?.offset += u64::from(done);
                done
            }
        };
        Ok(guest.put_u32(out, done)?)
    }

    fn read_into(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        list: (u32, u32),
        at: u64,
    ) -> Answer<u32> {
        let file = self.descriptors.file(fd)?;
        if !file.read {
            return Err(Errno::BadDescriptor.into());
        }
        let mut done = 0u32;
        let buffers = guest.buffers(list)?;
        self.handles(buffers.len());
        for (address, length) in buffers {
            // The count that is answered has 32 bits.
            let length = length.min(u32::MAX - done);
            let buffer = guest.slice_mut(address, length)?;
            let from = at.checked_add(u64::from(done)).ok_or(Errno::TooLarge)?;
            let file = self.descriptors.file(fd)?;
            let left = self.vfs.stat(&file.handle).size.saturating_sub(from);
            self.pays(buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX)))?;
            let file = self.descriptors.file(fd)?;
            let n = self.vfs.read(&file.handle, from, buffer)?;
            done += n as u32;
            if n < buffer.len() {
                break;
            }
        }
        Ok(done)
    }

    pub(super) fn fd_pwrite(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        list: (u32, u32),
        at: u64,
        out: u32,
    ) -> Answer<()> {
        let (done, _) = self.write_from(guest, fd, list, at)?;
        Ok(guest.put_u32(out, done)?)
    }

    pub(super) fn fd_write(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        list: (u32, u32),
        out: u32,
    ) -> Answer<()> {
        let done = match self.descriptors.get(fd)? {
            Descriptor::Input => return Err(Errno::BadDescriptor.into()),
            Descriptor::Output(stream) => {
                let stream = *stream;
                let mut done = 0u32;
                let buffers = guest.buffers(list)?;
                self.handles(buffers.len());
                for (address, length) in buffers {
                    let length = length.min(u32::MAX - done);
                    self.write_stream(stream, guest.slice(address, length)?)?;
                    done += length;
                }
                done
            }
            Descriptor::Open(file) => {
                let at = if file.append { self.vfs.stat(&file.handle).size } else { file.offset };
                let (done, end) = self.write_from(guest, fd, list, at)?;
                self.descriptors.file_mut(fd)?.offset = end;
                done
            }
        };
        Ok(guest.put_u32(out, done)?)
    }

    fn write_from(
        &mut self,
        guest: &Guest<'_>,
        fd: u32,
        list: (u32, u32),
        at: u64,
    ) -> Answer<(u32, u64)> {
        self.descriptors.file(fd)?;
        let mut done = 0u32;
        let buffers = guest.buffers(list)?;
        self.handles(buffers.len());
        for (address, length) in buffers {
            let length = length.min(u32::MAX - done);
            let from = at.checked_add(u64::from(done)).ok_or(Errno::TooLarge)?;
            let bytes = guest.slice(address, length)?;
            self.pays(bytes.len())?;
            let file = self.descriptors.file(fd)?;
            let before = self.vfs.stat(&file.handle).size;
            self.vfs.write(&file.handle, from, bytes)?;
            if length > 0 {
                // A hole in front of the data was filled with zeros, and is paid for.
                self.moves_sized(from.saturating_sub(before));
            }
            done += length;
        }
        Ok((done, at.saturating_add(u64::from(done))))
    }

    pub(super) fn fd_prestat_get(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        out: u32,
    ) -> Answer<()> {
        match self.descriptors.get(fd)? {
            Descriptor::Open(OpenFile { preopened: true, .. }) => {}
            _ => return Err(Errno::BadDescriptor.into()),
        }
        guest.put_u32(out, 0)?;
        Ok(guest.put_u32(offset(out, 4)?, 1)?)
    }

    pub(super) fn fd_prestat_dir_name(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        path: u32,
        length: u32,
    ) -> Answer<()> {
        match self.descriptors.get(fd)? {
            Descriptor::Open(OpenFile { preopened: true, .. }) if length == 0 => {
                Err(Errno::NameTooLong.into())
            }
            Descriptor::Open(OpenFile { preopened: true, .. }) => Ok(guest.put(path, b"/")?),
            _ => Err(Errno::BadDescriptor.into()),
        }
    }

    pub(super) fn fd_readdir(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        (buffer, length): (u32, u32),
        cookie: u64,
        out: u32,
    ) -> Answer<()> {
        let elsewhere = self.descriptors.listed(fd);
        let file = self.descriptors.file_mut(fd).map_err(|_| Errno::NotDirectory)?;
        let fresh = cookie == 0 || file.list.is_none();
        if fresh {
            let own = self.vfs.stat(&file.handle).inode;
            let dot = |name: &str| Entry { name: name.into(), kind: Kind::Dir, inode: own };
            let mut list = vec![dot("."), dot("..")];
            list.extend(self.vfs.list(&file.handle)?);
            let entries = list.len();
            file.list = (elsewhere + entries <= LISTED_MAX).then_some(list);
            // Paid for whatever comes of it.
            self.handles(entries);
        }
        let file = self.descriptors.file(fd)?;
        let full = fresh && file.list.is_none();
        if full {
            return Err(Errno::TooManyDescriptors.into());
        }
        let list = file.list.as_deref().unwrap_or_default();
        let room = guest.slice_mut(buffer, length)?;
        let (mut used, mut handed) = (0, 0);
        let from = usize::try_from(cookie).unwrap_or(usize::MAX).min(list.len());
        for (index, entry) in list.iter().enumerate().skip(from) {
            let mut bytes = Vec::with_capacity(ENTRY_BYTES + entry.name.len());
            bytes.extend_from_slice(&(index as u64 + 1).to_le_bytes());
            bytes.extend_from_slice(&entry.inode.to_le_bytes());
            bytes.extend_from_slice(&(entry.name.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&[type_of(entry.kind), 0, 0, 0]);
            bytes.extend_from_slice(entry.name.as_bytes());
            let n = bytes.len().min(room.len() - used);
            room[used..used + n].copy_from_slice(&bytes[..n]);
            used += n;
            handed += 1;
            // A full buffer, even with half an entry, tells the program to ask for more.
            if n < bytes.len() {
                break;
            }
        }
        self.handles(handed);
        self.moves(used);
        Ok(guest.put_u32(out, used as u32)?)
    }

    pub(super) fn fd_seek(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        by: i64,
        whence: u32,
        out: u32,
    ) -> Answer<()> {
        let file = self.descriptors.file_mut(fd)?;
        let stat = self.vfs.stat(&file.handle);
        if stat.kind == Kind::Dir {
            return Err(Errno::BadDescriptor.into());
        }
        let start = match whence {
            0 => 0,
            1 => file.offset,
            2 => stat.size,
            _ => return Err(Errno::Invalid.into()),
        };
        file.offset = start.checked_add_signed(by).ok_or(Errno::Invalid)?;
        Ok(guest.put_u64(out, file.offset)?)
    }

    pub(super) fn no_socket(&mut self, fd: u32) -> Answer<()> {
        self.descriptors.get(fd)?;
        Err(Errno::NotSocket.into())
    }
}
