//! Descriptor numbers: 0 to 2 are the standard streams, 3 is `/`, the rest the program opens.

use crate::host::Stream;
use crate::stop::Errno;
use crate::vfs::{Entry, Handle, Node, Vfs};

/// What a number stands for.
#[derive(Debug)]
pub(super) enum Descriptor {
    /// Standard input, which is empty.
    Input,
    /// Standard output or error.
    Output(Stream),
    /// A file or folder.
    Open(OpenFile),
}

/// An open file or folder with its position.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) handle: Handle,
    pub(super) offset: u64,
    pub(super) read: bool,
    pub(super) append: bool,
    /// Whether it was there from the start.
    pub(super) preopened: bool,
    /// A folder's list as it was when reading began, so that removing while reading is safe.
    pub(super) list: Option<Vec<Entry>>,
}

/// All of a task's descriptors.
#[derive(Debug)]
pub(crate) struct Descriptors(Vec<Option<Descriptor>>);

impl Descriptors {
    /// Of one task; each may be a descriptor of the child, too.
    pub(crate) const MAX: usize = 512;

    pub(crate) fn new() -> Self {
        let root = OpenFile {
            handle: Vfs::root(),
            offset: 0,
            read: true,
            append: false,
            preopened: true,
            list: None,
        };
        Self(vec![
            Some(Descriptor::Input),
            Some(Descriptor::Output(Stream::Out)),
            Some(Descriptor::Output(Stream::Err)),
            Some(Descriptor::Open(root)),
        ])
    }

    pub(super) fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.0.get(fd as usize).and_then(Option::as_ref).ok_or(Errno::BadDescriptor)
    }

    /// A file or folder; the streams cannot seek.
    pub(super) fn file_mut(&mut self, fd: u32) -> Result<&mut OpenFile, Errno> {
        match self.0.get_mut(fd as usize).and_then(Option::as_mut) {
            Some(Descriptor::Open(file)) => Ok(file),
            Some(_) => Err(Errno::NotSeekable),
            None => Err(Errno::BadDescriptor),
        }
    }

    pub(super) fn file(&self, fd: u32) -> Result<&OpenFile, Errno> {
        match self.get(fd)? {
            Descriptor::Open(file) => Ok(file),
            _ => Err(Errno::NotSeekable),
        }
    }

    /// Entries of the lists that all others than `fd` hold.
    pub(super) fn listed(&self, fd: u32) -> usize {
        let held = self.0.iter().enumerate().filter(|(index, _)| *index != fd as usize);
        held.filter_map(|(_, descriptor)| match descriptor {
            Some(Descriptor::Open(file)) => file.list.as_ref().map(Vec::len),
            _ => None,
        })
        .sum()
    }

    /// The folder that a path starts from.
    pub(super) fn base(&self, fd: u32) -> Result<Node, Errno> {
        match self.get(fd)? {
            Descriptor::Open(file) => Ok(file.handle.node.clone()),
            _ => Err(Errno::NotDirectory),
        }
    }

    /// Whether one more fits.
    pub(super) fn has_room(&self) -> Result<(), Errno> {
        let used = self.0.iter().flatten().count();
        if used < Self::MAX { Ok(()) } else { Err(Errno::TooManyDescriptors) }
    }

    /// Puts it under the lowest free number.
    pub(super) fn add(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        self.has_room()?;
        let free = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        if free == self.0.len() {
            self.0.push(None);
        }
        self.0[free] = Some(descriptor);
        u32::try_from(free).map_err(|_| Errno::TooManyDescriptors)
    }

    pub(super) fn remove(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        self.0.get_mut(fd as usize).and_then(Option::take).ok_or(Errno::BadDescriptor)
    }

    /// Moves a descriptor onto a number that is in use, and gives what was there.
    pub(super) fn renumber(&mut self, from: u32, to: u32) -> Result<Option<Descriptor>, Errno> {
        self.get(from)?;
        self.get(to)?;
        if from == to {
            return Ok(None);
        }
        let moved = self.remove(from)?;
        Ok(self.0[to as usize].replace(moved))
    }
}
