//! What programs of one slice say to each other, seen from the host of one of them: queues, order,
//! credit, and who is gone.
//!
//! A [`Talk`] is the machine of one task. It knows no sockets and no keys of its own: its shell
//! makes the calls that it wants, shows it who calls, and carries messages. Between two ranks they
//! arrive in order, each at most once, and none is lost while both run, through any number of
//! connections: each side numbers what it says, keeps it until the other has heard it, and begins
//! again there. What was heard and not taken is bounded by a window that both know
//! ([`isos_base::peers::window`]), so nobody can fill the memory of another, and a rank that does
//! not listen to one keeps nobody else waiting.
//!
//! Not here: who the ranks are, and where. The complex says that.
//!
//! * `talk`: all of it together, between inputs and effects
//! * `outgoing`: what is said to one rank
//! * `incoming`: what one rank says

mod incoming;
mod outgoing;
mod talk;

#[cfg(test)]
mod tests;

pub use talk::{CallId, Effect, Input, LineId, Talk};

use isos_base::Span;

/// Who cannot be reached for so long is gone: twice as long as a lost session is waited for.
pub const SILENCE_MAX: Span = Span::secs(60);
