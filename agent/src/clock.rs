//! The wall clock: the one place in this crate that asks what time it is.

use std::time::SystemTime;

use isos_base::Time;

/// Now, in microseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a shell is where time comes in")]
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
