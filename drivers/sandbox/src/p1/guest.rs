//! The program's memory, read and written only through checked ranges.

use crate::stop::Errno;
use crate::vfs::PATH_BYTES_MAX;

/// Entries of one scatter or gather list.
const LIST_MAX: u32 = 1_024;

/// A borrowed linear memory.
pub(super) struct Guest<'a>(&'a mut [u8]);

impl<'a> Guest<'a> {
    pub(super) const fn new(bytes: &'a mut [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn slice(&self, at: u32, length: u32) -> Result<&[u8], Errno> {
        let from = at as usize;
        self.0.get(from..from + length as usize).ok_or(Errno::Fault)
    }

    pub(super) fn slice_mut(&mut self, at: u32, length: u32) -> Result<&mut [u8], Errno> {
        let from = at as usize;
        self.0.get_mut(from..from + length as usize).ok_or(Errno::Fault)
    }

    /// A path; of one that is too long not a byte is looked at.
    pub(super) fn path(&self, (at, length): (u32, u32)) -> Result<&str, Errno> {
        if length as usize > PATH_BYTES_MAX {
            return Err(Errno::NameTooLong);
        }
        std::str::from_utf8(self.slice(at, length)?).map_err(|_| Errno::BadBytes)
    }

    pub(super) fn u8(&self, at: u32) -> Result<u8, Errno> {
        Ok(self.slice(at, 1)?[0])
    }

    pub(super) fn u16(&self, at: u32) -> Result<u16, Errno> {
        Ok(u16::from_le_bytes(*self.slice(at, 2)?.first_chunk().ok_or(Errno::Fault)?))
    }

    pub(super) fn u32(&self, at: u32) -> Result<u32, Errno> {
        Ok(u32::from_le_bytes(*self.slice(at, 4)?.first_chunk().ok_or(Errno::Fault)?))
    }

    pub(super) fn u64(&self, at: u32) -> Result<u64, Errno> {
        Ok(u64::from_le_bytes(*self.slice(at, 8)?.first_chunk().ok_or(Errno::Fault)?))
    }

    pub(super) fn put(&mut self, at: u32, bytes: &[u8]) -> Result<(), Errno> {
        let length = u32::try_from(bytes.len()).map_err(|_| Errno::Overflow)?;
        self.slice_mut(at, length)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn put_u32(&mut self, at: u32, value: u32) -> Result<(), Errno> {
        self.put(at, &value.to_le_bytes())
    }

    pub(super) fn put_u64(&mut self, at: u32, value: u64) -> Result<(), Errno> {
        self.put(at, &value.to_le_bytes())
    }

    /// The buffers of a scatter or gather list, as (address, length).
    pub(super) fn buffers(&self, (at, n): (u32, u32)) -> Result<Vec<(u32, u32)>, Errno> {
        if n > LIST_MAX {
            return Err(Errno::Invalid);
        }
        let list = self.slice(at, n * 8)?;
        let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Ok(list.chunks_exact(8).map(|pair| (word(&pair[..4]), word(&pair[4..]))).collect())
    }
}

/// `at` moved on, or a fault where addresses end.
pub(super) fn offset(at: u32, by: u32) -> Result<u32, Errno> {
    at.checked_add(by).ok_or(Errno::Fault)
}
