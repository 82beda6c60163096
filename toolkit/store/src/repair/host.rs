//! The presence of one host, and its habits: how long it tends to stay away.

use std::collections::VecDeque;

use isos_base::Time;
use isos_base::time::Span;

use super::Settings;
use crate::limits::ABSENCES_MAX;

/// How long hosts stay of which nothing is known: what volunteers' computers do.
const LIFETIME_GUESS: Span = Span::secs(90 * 86_400);
/// Nobody is thought to stay shorter.
const LIFETIME_MIN: Span = Span::secs(3_600);
/// Away for so many times its longest absence, a host is thought to be gone.
const HABIT_TIMES: u64 = 2;

/// Where a host is, as far as is known; and since when it is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It can be reached.
    Here,
    /// Gone for a moment.
    Away(Time),
    /// Not read from, not placed on.
    Unreachable(Time),
    /// What it keeps counts as lost.
    Departed(Time),
    /// Gone for so long that nothing of it is left.
    Forgotten,
}

/// One host.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) presence: Presence,
    pub(super) lifetime: Span,
    absences: VecDeque<Span>,
}

impl Host {
    /// One that is known by what it should keep alone.
    pub(super) fn unknown(now: Time) -> Self {
        let presence = Presence::Away(now);
        Self { presence, lifetime: LIFETIME_GUESS, absences: VecDeque::new() }
    }

    /// At which rate, a microsecond, it is expected to go.
    pub(super) fn rate(&self) -> f64 {
        1.0 / self.lifetime.max(LIFETIME_MIN).0 as f64
    }

    /// It is here; says where it was.
    pub(super) fn come(&mut self, now: Time) -> Presence {
        let was = std::mem::replace(&mut self.presence, Presence::Here);
        if let Presence::Away(since) | Presence::Unreachable(since) | Presence::Departed(since) =
            was
        {
            if self.absences.len() == ABSENCES_MAX {
                self.absences.pop_front();
            }
            self.absences.push_back(now.since(since));
        }
        was
    }

    /// It cannot be reached any more; one that was away is away since then.
    pub(super) fn go(&mut self, now: Time) {
        if self.presence == Presence::Here {
            self.presence = Presence::Away(now);
        }
    }

    /// Its clock has run down.
    pub(super) fn advance(&mut self) -> Presence {
        self.presence = match self.presence {
            Presence::Away(since) => Presence::Unreachable(since),
            Presence::Unreachable(since) => Presence::Departed(since),
            Presence::Departed(_) => Presence::Forgotten,
            other => other,
        };
        self.presence
    }

    /// When that is.
    pub(super) fn next_change(&self, settings: &Settings, forgotten: Span) -> Option<Time> {
        match self.presence {
            Presence::Here | Presence::Forgotten => None,
            Presence::Away(since) => Some(since + settings.unreachable_after),
            Presence::Unreachable(since) => Some(since + self.departed_after(settings)),
            Presence::Departed(since) => Some(since + self.departed_after(settings).max(forgotten)),
        }
    }

    /// A host that sleeps every night, or every weekend, is not gone when it does.
    fn departed_after(&self, settings: &Settings) -> Span {
        let longest = self.absences.iter().max().map_or(0, |span| span.0);
        let habit = Span(longest.saturating_mul(HABIT_TIMES));
        let least = settings.departed_after.max(settings.unreachable_after);
        habit.max(least).min(settings.departed_most.max(least))
    }
}
