//! Functions on paths. There are no links, so "follow" has nothing to follow.

use super::descriptors::{Descriptor, OpenFile};
use super::files::put_stat;
use super::guest::Guest;
use crate::host::Host;
use crate::stop::{Answer, Errno};
use crate::vfs::{Kind, Open};

const CREATE: u32 = 1;
const DIRECTORY: u32 = 2;
const EXCLUSIVE: u32 = 4;
const TRUNCATE: u32 = 8;
const RIGHT_READ: u64 = 1 << 1;
const RIGHT_WRITE: u64 = 1 << 6;
const FLAG_APPEND: u32 = 1;

type Text = (u32, u32);

impl Host {
    pub(super) fn path_open(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        path: Text,
        (how, rights, flags): (u32, u64, u32),
        out: u32,
    ) -> Answer<()> {
        let base = self.descriptors.base(fd)?;
        self.descriptors.has_room()?;
        let write = rights & RIGHT_WRITE != 0;
        let open = Open {
            create: how & CREATE != 0,
            exclusive: how & EXCLUSIVE != 0,
            truncate: how & TRUNCATE != 0,
            directory: how & DIRECTORY != 0,
            write,
        };
        let path = guest.path(path)?;
        self.walks(path.len());
        let handle = self.vfs.open(&base, path, open)?;
        let dir = self.vfs.stat(&handle).kind == Kind::Dir;
        let file = OpenFile {
            handle,
            offset: 0,
            read: dir || rights & RIGHT_READ != 0,
            append: flags & FLAG_APPEND != 0,
            preopened: false,
            list: None,
        };
        let number = self.descriptors.add(Descriptor::Open(file))?;
        Ok(guest.put_u32(out, number)?)
    }

    pub(super) fn path_filestat_get(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        path: Text,
        out: u32,
    ) -> Answer<()> {
        let base = self.descriptors.base(fd)?;
        self.walks(path.1 as usize);
        let stat = self.vfs.stat_at(&base, guest.path(path)?)?;
        Ok(put_stat(guest, out, Some(stat))?)
    }

    pub(super) fn path_exists(&mut self, guest: &Guest<'_>, fd: u32, path: Text) -> Answer<()> {
        let base = self.descriptors.base(fd)?;
        self.walks(path.1 as usize);
        self.vfs.stat_at(&base, guest.path(path)?)?;
        Ok(())
    }

    pub(super) fn path_create_directory(
        &mut self,
        guest: &Guest<'_>,
        fd: u32,
        path: Text,
    ) -> Answer<()> {
        let base = self.descriptors.base(fd)?;
        self.walks(path.1 as usize);
        self.vfs.create_dir(&base, guest.path(path)?)
    }

    pub(super) fn path_remove_directory(
        &mut self,
        guest: &Guest<'_>,
        fd: u32,
        path: Text,
    ) -> Answer<()> {
        let base = self.descriptors.base(fd)?;
        self.walks(path.1 as usize);
        Ok(self.vfs.remove(&base, guest.path(path)?, Kind::Dir)?)
    }

    pub(super) fn path_unlink_file(
        &mut self,
        guest: &Guest<'_>,
        fd: u32,
        path: Text,
    ) -> Answer<()> {
        let base = self.descriptors.base(fd)?;
        self.walks(path.1 as usize);
        Ok(self.vfs.remove(&base, guest.path(path)?, Kind::File)?)
    }

    pub(super) fn path_rename(
        &mut self,
        guest: &Guest<'_>,
        (fd, from, from_length): (u32, u32, u32),
        (new_fd, to, to_length): (u32, u32, u32),
    ) -> Answer<()> {
        let (base, new_base) = (self.descriptors.base(fd)?, self.descriptors.base(new_fd)?);
        let from = guest.path((from, from_length))?;
        let to = guest.path((to, to_length)).map_err(|_| Errno::Fault)?;
        self.walks(from.len());
        self.walks(to.len());
        self.vfs.rename((&base, from), (&new_base, to))
    }
}
