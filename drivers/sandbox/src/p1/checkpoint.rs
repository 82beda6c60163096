//! `isos:host/checkpoint` for core modules: four flat functions beside those of WASI.
//!
//! * `due() -> i32`: 1 when a save would be taken now.
//! * `save(at, length) -> i32`: 0 when it is not due, 1 when it is too large, 2 when it is not
//!   within memory. Taken, it does not return: the program starts anew.
//! * `size() -> i64`: bytes of what was saved; -1 in the first segment.
//! * `restore(at, length) -> i32`: 0 when they are at `at`; 1 when they are not `length` bytes, or
//!   nothing was saved; 2 when that is not within memory.

use wasmtime::Linker;

use super::{Ctx, call};
use crate::host::Host;

/// The name that modules import from.
const MODULE: &str = "isos:host/checkpoint";
const REFUSED: i32 = 1;
const FAULT: i32 = 2;

pub(super) fn add_to_linker(l: &mut Linker<Host>) -> wasmtime::Result<()> {
    l.func_wrap(MODULE, "due", |c: Ctx<'_>| {
        let mut due = 0;
        call(c, |_, h| {
            due = i32::from(h.save_is_due());
            Ok(())
        })?;
        Ok(due)
    })?;
    l.func_wrap(MODULE, "save", |c: Ctx<'_>, at: u32, length: u32| {
        let mut code = FAULT;
        call(c, |g, h| {
            code = if h.save(g.slice(at, length)?)?.is_ok() { 0 } else { REFUSED };
            Ok(())
        })?;
        Ok(code)
    })?;
    l.func_wrap(MODULE, "size", |c: Ctx<'_>| {
        let mut size = -1;
        call(c, |_, h| {
            let restored = h.saving.restored.as_ref().map(Vec::len);
            size = restored.and_then(|length| i64::try_from(length).ok()).unwrap_or(-1);
            Ok(())
        })?;
        Ok(size)
    })?;
    l.func_wrap(MODULE, "restore", |c: Ctx<'_>, at: u32, length: u32| {
        let mut code = FAULT;
        call(c, |g, h| {
            let into = g.slice_mut(at, length)?;
            h.pays(into.len())?;
            code = match &h.saving.restored {
                Some(state) if state.len() == into.len() => {
                    into.copy_from_slice(state);
                    0
                }
                _ => REFUSED,
            };
            Ok(())
        })?;
        Ok(code)
    })?;
    Ok(())
}
