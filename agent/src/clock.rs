//! The wall clock: the one place in this crate that asks what time it is.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

use isos_base::clock::Clock;
use isos_base::sensors::LocalClock;
use isos_base::{Span, Time};

static CLOCK: Mutex<Clock> = Mutex::new(Clock::new());

/// Now, in microseconds since 1970. It never goes back, and goes on while the wall clock is behind.
pub(crate) fn now() -> Time {
    let wall = wall();
    // Nothing panics between two states of it.
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let now = clock.tell(wall, steady());
    if clock.fell_behind(wall, now) {
        tracing::warn!(
            "the clock of this machine was set back to {wall}: until it has caught up with {now} \
             time goes on from there at half speed; if the earlier time was wrong, start this \
             agent again"
        );
    }
    now
}

/// The calendar where the machine stands, for [`now`]: an owner's hours go by the wall clock, also
/// while that is behind.
pub(crate) fn local(clock: LocalClock) -> LocalClock {
    let ahead = i32::try_from(now().since(wall()).0 / 1_000_000).unwrap_or(i32::MAX);
    LocalClock { utc_offset_secs: clock.utc_offset_secs.saturating_sub(ahead) }
}

#[expect(clippy::disallowed_methods, reason = "a shell is where time comes in")]
fn wall() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

fn steady() -> Span {
    static START: OnceLock<Instant> = OnceLock::new();
    Span::from_std(START.get_or_init(Instant::now).elapsed())
}
