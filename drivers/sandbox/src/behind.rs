//! The walls without a program, for tests of them.
//!
//! Who calls this loses rights and gains none, so it does no harm that anybody may.

use std::path::Path;

use crate::compile;
use crate::protocol::{Setup, Wall};
use crate::vfs::inputs::Source;
use crate::walls::{Duty, Walls};

/// Puts up, around this very process, the walls of a child that runs tasks of this setup, or of
/// one that compiles where there is none, in the order in which the children do. Then code that
/// has broken out of WebAssembly is what the caller does next.
///
/// # Errors
/// When the setup's folders cannot be opened.
#[doc(hidden)]
pub fn behind_walls(run: Option<&Setup>) -> std::io::Result<Vec<Wall>> {
    let mut walls = Walls::default();
    walls.close_inherited();
    match run {
        Some(setup) => {
            let own: Option<&Path> = setup.own_dir.as_deref();
            let source = Source::open(&setup.input_dir, own)?;
            walls.limit(&crate::child::limits_of(setup));
            walls.no_new_privileges();
            walls.landlock(source.folders());
            // The child keeps its folders open, too.
            std::mem::forget(source);
            walls.seccomp(Duty::Run);
        }
        None => {
            walls.limit(&compile::limits_of(2 << 30, 120));
            walls.no_new_privileges();
            walls.landlock(std::iter::empty::<std::os::fd::OwnedFd>());
            walls.seccomp(Duty::Compile);
        }
    }
    Ok(walls.0)
}
