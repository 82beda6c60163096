//! Reading one file: its holes, and its bytes in chunks.

use std::io::{self, Read, Seek, SeekFrom as Whence};

use isos_store::chunk::{Chunker, Profile};
use isos_store::object::WriteError;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::limits::SPANS_MAX;
use crate::look::Look;

/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// A part of a file, in order.
pub(crate) enum Piece<'a> {
    /// Nothing, so long.
    Hole(u64),
    /// Bytes.
    Chunk(&'a [u8]),
}

/// Reads file after file.
#[derive(Default)]
pub(crate) struct FileReader {
    cutter: Option<(Chunker, Profile)>,
    buffer: Vec<u8>,
}

impl FileReader {
    pub(crate) fn new(profile: Profile) -> Result<Self, WriteError> {
        let chunker = Chunker::new(profile).ok_or(WriteError::Profile(profile))?;
        Ok(Self { cutter: Some((chunker, profile)), buffer: vec![0; READ_BYTES] })
    }

    /// Reads a file as far as it was when it was looked at. `take` says whether to go on.
    pub(crate) fn read(
        &mut self,
        open: &OwnedFd,
        look: &Look,
        take: &mut dyn FnMut(Piece<'_>) -> bool,
    ) -> io::Result<()> {
        let mut file = std::fs::File::from(open.try_clone()?);
        if look.taken >= look.size {
            return self.stretch(&mut file, look.size, take).map(drop);
        }
        let (mut at, mut holes) = (0, 0);
        while at < look.size {
            // Many holes are read as zeros from here on.
            let data =
                if holes < SPANS_MAX / 2 { seek(open, SeekFrom::Data(at))? } else { Some(at) };
            let data = data.unwrap_or(look.size).min(look.size);
            if data > at {
                holes += 1;
                if !take(Piece::Hole(data - at)) {
                    return Ok(());
                }
            }
            if data == look.size {
                break;
            }
            let hole = if holes < SPANS_MAX / 2 { seek(open, SeekFrom::Hole(data))? } else { None };
            let end = hole.unwrap_or(look.size).min(look.size);
            file.seek(Whence::Start(data))?;
            if !self.stretch(&mut file, end - data, take)? {
                return Ok(());
            }
            at = end;
        }
        Ok(())
    }

    /// Reads so many bytes, fewer if the file ends; false if that happened or nobody wants more.
    fn stretch(
        &mut self,
        file: &mut std::fs::File,
        length: u64,
        take: &mut dyn FnMut(Piece<'_>) -> bool,
    ) -> io::Result<bool> {
        let Self { cutter, buffer } = self;
        let (chunker, profile) = cutter.as_mut().expect("it was made with one");
        let mut goes_on = true;
        // What is never cut need not be held back.
        if length <= profile.min as u64 {
            let read = fill(file, &mut buffer[..length as usize])?;
            if read > 0 {
                goes_on = take(Piece::Chunk(&buffer[..read]));
            }
            return Ok(goes_on && read as u64 == length);
        }
        let mut left = length;
        let mut failed = None;
        while left > 0 && goes_on {
            let some = (left as usize).min(buffer.len());
            match fill(file, &mut buffer[..some]) {
                Ok(0) => break,
                Ok(read) => {
                    left -= read as u64;
                    chunker.push(&buffer[..read], |chunk| {
                        goes_on = goes_on && take(Piece::Chunk(chunk));
                    });
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        // Also after an error: the next file begins with nothing held back.
        chunker.finish(|chunk| {
            goes_on = goes_on && failed.is_none() && take(Piece::Chunk(chunk));
        });
        failed.map_or(Ok(goes_on && left == 0), Err)
    }
}

fn fill(file: &mut std::fs::File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while at < buffer.len() {
        match file.read(&mut buffer[at..]) {
            Ok(0) => break,
            Ok(read) => at += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

/// Where data or a hole begins; nothing behind the last data. A file system that knows of no holes
/// has none.
fn seek(open: &OwnedFd, to: SeekFrom) -> io::Result<Option<u64>> {
    match rustix::fs::seek(open.as_fd(), to) {
        Ok(at) => Ok(Some(at)),
        Err(Errno::NXIO) => Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => match to {
            SeekFrom::Data(at) => Ok(Some(at)),
            _ => Ok(None),
        },
        Err(error) => Err(error.into()),
    }
}
