//! Saving the state of a long task, so that it survives its host and goes on elsewhere.
//!
//! A task is a chain of segments. A save that is due ends the segment: [`save`] does not return,
//! the program is started anew with the files that it had, and [`restore`] gives what was saved.
//! That happens at the same place on every host, whether or not anybody keeps the checkpoint, so
//! what a program forgets to save it does without everywhere.
//!
//! ```no_run
//! use isos_guest::checkpoint;
//!
//! let mut next: u64 = match checkpoint::restore() {
//!     Some(bytes) => u64::from_le_bytes(bytes.try_into().expect("saved below")),
//!     None => 0,
//! };
//! while next < 1_000_000_000 {
//!     next += 1; // the work
//!     if next % 10_000 == 0 && checkpoint::is_due() {
//!         checkpoint::save(&next.to_le_bytes())?;
//!     }
//! }
//! # Ok::<(), isos_guest::Failure>(())
//! ```
//!
//! Natively, nothing is ever due and there is nothing to restore. A module that uses this imports
//! `isos:host/checkpoint`, which engines other than ISOS do not have.

use crate::Failure;

/// Whether a save would be taken now. Cheap, but not free: ask every few million steps.
#[must_use]
pub fn is_due() -> bool {
    host::is_due()
}

/// What the segment before saved; nothing in the first.
#[must_use]
pub fn restore() -> Option<Vec<u8>> {
    host::restore()
}

/// Saves, if that is due: then it does not return. Else it does nothing.
///
/// Flush files before: what is only in the program's memory, and open files as such, are gone.
///
/// # Errors
/// State, files and streams together are over 16 MiB; the program can go on without having saved.
pub fn save(state: &[u8]) -> Result<(), Failure> {
    if host::save(state) {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "{} bytes and what was written are too much to save",
            state.len()
        )))
    }
}

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "calls into the host, each with a buffer that lives meanwhile")]
mod host {
    #[link(wasm_import_module = "isos:host/checkpoint")]
    unsafe extern "C" {
        fn due() -> i32;
        #[link_name = "save"]
        fn save_at(at: *const u8, length: usize) -> i32;
        fn size() -> i64;
        #[link_name = "restore"]
        fn restore_at(at: *mut u8, length: usize) -> i32;
    }

    pub(super) fn is_due() -> bool {
        // SAFETY: takes and gives numbers.
        unsafe { due() == 1 }
    }

    pub(super) fn restore() -> Option<Vec<u8>> {
        // SAFETY: takes nothing and gives a number.
        let length = usize::try_from(unsafe { size() }).ok()?;
        let mut state = vec![0; length];
        // SAFETY: the host writes `length` bytes at most, and as many are there.
        let code = unsafe { restore_at(state.as_mut_ptr(), length) };
        (code == 0).then_some(state)
    }

    /// False when it is too large.
    pub(super) fn save(state: &[u8]) -> bool {
        // SAFETY: the host reads what is there.
        unsafe { save_at(state.as_ptr(), state.len()) == 0 }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod host {
    pub(super) fn is_due() -> bool {
        false
    }

    pub(super) fn restore() -> Option<Vec<u8>> {
        None
    }

    pub(super) fn save(_state: &[u8]) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn natively_a_program_runs_through() {
        assert!(!is_due());
        assert_eq!(restore(), None);
        assert!(save(b"state").is_ok());
    }
}
