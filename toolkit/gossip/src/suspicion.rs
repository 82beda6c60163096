//! Who seems to be gone. One observer is not enough (Rapid: Suresh and others 2018): a host is
//! believed dead when several have called it in vain within a few cycles, and nothing was heard of
//! it since. And who fails with everybody looks at itself first (Lifeguard: Dadgar and others
//! 2017): a host whose own network is down accuses nobody.
//!
//! Only what an observer says itself counts, over a connection that has proven its key; rumours of
//! rumours do not. A descriptor that was made later clears whoever made it.

use std::collections::BTreeMap;

use isos_base::HostId;
use isos_base::time::{Span, Time};

/// Hosts that are accused at a time, and hosts that are remembered as gone.
const SUBJECTS_MAX: usize = 256;
/// Observers that are remembered of one subject.
const OBSERVERS_MAX: usize = 8;
/// Accusations of one message.
pub const ACCUSED_MAX: usize = 4;
/// After so many failures in a row it is this host that cannot be heard.
const ALONE_AFTER: u32 = 3;

/// What was observed, by whom.
#[derive(Debug, Clone)]
pub struct Suspicion {
    /// How long an observation counts.
    memory: Span,
    observers: usize,
    subjects: BTreeMap<HostId, BTreeMap<HostId, Time>>,
    /// Whom this host has called in vain, and when.
    own: BTreeMap<HostId, Time>,
    gone: BTreeMap<HostId, Time>,
    failures: u32,
}

impl Suspicion {
    /// Nobody is suspected. Observations count for `memory`; so many observers are believed.
    #[must_use]
    pub fn new(memory: Span, observers: usize) -> Self {
        let (subjects, own, gone) = Default::default();
        Self {
            memory,
            observers: observers.clamp(1, OBSERVERS_MAX),
            subjects,
            own,
            gone,
            failures: 0,
        }
    }

    /// Somebody has answered: this host is heard.
    pub fn answered(&mut self, host: HostId) {
        self.failures = 0;
        self.own.remove(&host);
        self.subjects.remove(&host);
    }

    /// Somebody was called in vain. True if it is believed to be gone now.
    pub fn failed(&mut self, now: Time, own: HostId, host: HostId) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.is_alone() {
            // What was said of others was said of oneself.
            self.own.clear();
            return false;
        }
        trim(&mut self.own);
        self.own.insert(host, now);
        self.accused(now, own, host)
    }

    /// Whether it is this host that nobody hears.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.failures >= ALONE_AFTER
    }

    /// An observer has called somebody in vain. True if that one is believed to be gone now.
    pub fn accused(&mut self, now: Time, observer: HostId, host: HostId) -> bool {
        let since = now - self.memory;
        if !self.subjects.contains_key(&host) && self.subjects.len() >= SUBJECTS_MAX {
            self.subjects.retain(|_, observers| observers.values().any(|at| *at > since));
            trim(&mut self.subjects);
        }
        let observers = self.subjects.entry(host).or_default();
        observers.retain(|_, at| *at > since);
        if observers.len() < OBSERVERS_MAX || observers.contains_key(&observer) {
            observers.insert(observer, now);
        }
        if observers.len() < self.observers {
            return false;
        }
        self.subjects.remove(&host);
        trim(&mut self.gone);
        self.gone.insert(host, now).is_none()
    }

    /// Somebody has described itself. False if that was before it was gone.
    pub fn lives(&mut self, host: HostId, issued: Time) -> bool {
        if let Some(gone) = self.gone.get(&host) {
            if issued <= *gone {
                return false;
            }
            self.gone.remove(&host);
        }
        if let Some(observers) = self.subjects.get_mut(&host) {
            observers.retain(|_, at| *at >= issued);
            if observers.is_empty() {
                self.subjects.remove(&host);
            }
        }
        true
    }

    /// Whom this host has called in vain lately, for others.
    #[must_use]
    pub fn accuses(&self, now: Time) -> Vec<HostId> {
        let mut lately: Vec<_> =
            self.own.iter().filter(|(_, at)| **at + self.memory > now).collect();
        lately.sort_by_key(|(_, at)| std::cmp::Reverse(**at));
        lately.into_iter().take(ACCUSED_MAX).map(|(host, _)| *host).collect()
    }

    pub(crate) fn check(&self) {
        assert!(self.subjects.len() <= SUBJECTS_MAX, "too many are accused");
        assert!(self.own.len() <= SUBJECTS_MAX && self.gone.len() <= SUBJECTS_MAX, "too many");
        assert!(self.subjects.values().all(|it| it.len() <= OBSERVERS_MAX), "too many observers");
    }
}

/// Makes room for one more. Keys are hashes of nothing that matters, so any will do.
fn trim<T>(map: &mut BTreeMap<HostId, T>) {
    if map.len() >= SUBJECTS_MAX {
        map.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use isos_base::key::PublicKey;

    use super::*;

    fn host(n: u8) -> HostId {
        HostId(PublicKey([n; 32]))
    }

    fn suspicion() -> Suspicion {
        Suspicion::new(Span(60), 3)
    }

    #[test]
    fn one_observer_kills_nobody_and_three_do() {
        let mut all = suspicion();
        for _ in 0..10 {
            assert!(!all.accused(Time(100), host(1), host(9)));
        }
        assert!(!all.accused(Time(101), host(2), host(9)));
        assert!(!all.accused(Time(161), host(3), host(9)), "what the first said is too long ago");
        assert!(!all.accused(Time(161), host(1), host(8)));
        assert!(!all.accused(Time(162), host(4), host(9)));
        assert!(all.accused(Time(163), host(2), host(9)));
        assert!(!all.lives(host(9), Time(163)), "a descriptor from before");
        assert!(all.lives(host(9), Time(164)), "it is back");
        all.check();
    }

    #[test]
    fn who_describes_itself_again_is_cleared() {
        let mut all = suspicion();
        all.accused(Time(100), host(1), host(9));
        all.accused(Time(100), host(2), host(9));
        assert!(all.lives(host(9), Time(101)));
        assert!(!all.accused(Time(102), host(3), host(9)));
    }

    #[test]
    fn who_fails_with_everybody_accuses_nobody() {
        let mut all = suspicion();
        all.failed(Time(100), host(0), host(1));
        assert_eq!(all.accuses(Time(101)), [host(1)]);
        all.failed(Time(110), host(0), host(2));
        all.failed(Time(120), host(0), host(3));
        assert!(all.is_alone());
        assert_eq!(all.accuses(Time(121)), []);
        all.answered(host(4));
        assert!(!all.is_alone());
        all.failed(Time(130), host(0), host(2));
        assert_eq!(all.accuses(Time(131)), [host(2)]);
        assert_eq!(all.accuses(Time(191)), [], "it was long ago");
    }

    #[test]
    fn accusers_cannot_fill_the_memory() {
        let mut all = suspicion();
        for n in 0..5_000_u32 {
            let mut key = [7; 32];
            key[..4].copy_from_slice(&n.to_be_bytes());
            all.accused(Time(100), host((n % 40) as u8), HostId(PublicKey(key)));
            all.failed(Time(100), host(0), HostId(PublicKey(key)));
            all.failures = 0;
            all.check();
        }
    }
}
