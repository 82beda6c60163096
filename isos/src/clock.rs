//! The wall clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

use isos_base::{Span, Time};

/// What time it is.
#[expect(clippy::disallowed_methods, reason = "this is the place where time comes in")]
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(Span::from_std(since).0)
}
