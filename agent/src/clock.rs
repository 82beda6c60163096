//! The wall clock: the one place in this crate that asks what time it is.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

use isos_base::clock::Clock;
use isos_base::sensors::LocalClock;
use isos_base::{Span, Time};

/// A wall clock that was set back by more than this is told to the operator.
const BEHIND_TOLD: Span = Span::secs(60);

static CLOCK: Mutex<Told> = Mutex::new(Told { clock: Clock::new(), behind: false });

struct Told {
    clock: Clock,
    /// Whether it was said that the wall clock is behind.
    behind: bool,
}

/// Now, in microseconds since 1970. It never goes back, and goes on while the wall clock is behind.
pub(crate) fn now() -> Time {
    let wall = wall();
    // Nothing panics between two states of it.
    let mut told = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let now = told.clock.tell(wall, steady());
    let behind = now.since(wall) > BEHIND_TOLD;
    if behind && !told.behind {
        tracing::warn!(
            "the clock of this machine was set back to {wall}: until it has caught up with {now} \
             time goes on from there at half speed; if the earlier time was wrong, start this \
             agent again"
        );
    }
    told.behind = behind;
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
