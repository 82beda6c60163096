//! What happens to a caller before its handshake: numbers alone, with the time passed in.

use std::collections::{BTreeMap, VecDeque};

use iroh::endpoint::IncomingAddr;
use isos_base::rate::{Origin, Rate, Rates, Site};
use isos_base::{Span, Time};

use crate::limits;

/// Ends of handshakes from which the pace is told.
const ENDS_KEPT: usize = 256;
/// So few tell nothing.
const ENDS_MIN: usize = 32;

/// Who calls, as far as it is known before the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Caller {
    /// From an address, which can be forged and can be proven by a retry.
    Direct(Origin),
    /// A key that a relay vouches for.
    Relayed([u8; 32]),
    /// A kind of address that this version of the transport did not have.
    Other,
}

impl Caller {
    pub(super) fn of(address: &IncomingAddr) -> Self {
        match address {
            IncomingAddr::Ip(address) => Self::Direct(Origin::of(Some(address.ip()))),
            IncomingAddr::Relay { endpoint_id, .. } => Self::Relayed(*endpoint_id.as_bytes()),
            _ => Self::Other,
        }
    }

    /// Who pays for its handshakes.
    fn origin(self) -> Origin {
        match self {
            Self::Direct(origin) => origin,
            Self::Relayed(_) | Self::Other => Origin::Relayed,
        }
    }
}

/// Handshakes in progress, callers that wait for theirs, and what addresses have had lately.
#[derive(Debug)]
pub(super) struct Gate {
    in_progress: usize,
    waiting: usize,
    /// Both together, of all keys that come through a relay.
    relayed: usize,
    /// Both together.
    by_caller: BTreeMap<Caller, usize>,
    by_site: BTreeMap<Site, usize>,
    rates: Rates<Origin>,
    site_rates: Rates<Site>,
    /// When handshakes ended since all places are taken, the latest first.
    ends: VecDeque<Time>,
}

/// What happens to a caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The handshake begins.
    Begin,
    /// It begins when a place gets free, which will be soon.
    Wait,
    /// First it must show that packets to its address reach it.
    Prove,
    /// Too many.
    Refuse,
}

impl Gate {
    /// For at most so many handshakes from one address.
    pub(super) fn new(Rate { per_second, burst }: Rate) -> Self {
        let times = |times| Rate { per_second: per_second * times, burst: burst * times };
        let remembered = limits::ADDRESSES_REMEMBERED_MAX;
        Self {
            in_progress: 0,
            waiting: 0,
            relayed: 0,
            by_caller: BTreeMap::new(),
            by_site: BTreeMap::new(),
            rates: Rates::new(times(Origin::RELAYED_TIMES), remembered),
            site_rates: Rates::new(times(Site::TIMES), remembered),
            ends: VecDeque::new(),
        }
    }

    /// What happens to a caller. One that begins or waits is counted.
    pub(super) fn judge(&mut self, now: Time, caller: Caller, proven: bool) -> Verdict {
        let count = self.by_caller.get(&caller).copied().unwrap_or(0);
        let unproven = matches!(caller, Caller::Direct(_)) && !proven;
        let origin = caller.origin();
        // Those who wait come first.
        let waits = self.in_progress >= limits::HANDSHAKES_MAX || self.waiting > 0;
        if waits && self.waiting >= self.served_in_time(now) {
            return Verdict::Refuse;
        }
        if unproven
            && (self.in_progress >= limits::HANDSHAKES_UNPROVEN_MAX
                || count >= limits::ADDRESS_HANDSHAKES_UNPROVEN_MAX
                // Whoever forges an address must not use up what its owner may have.
                || self.rates.used(now, origin) >= 0.5)
        {
            return Verdict::Prove;
        }
        let is_relayed = origin == Origin::Relayed;
        let site = origin.site();
        let of_site = site.and_then(|site| self.by_site.get(&site)).copied().unwrap_or(0);
        // All networks of a site together have no more than one, once half of the places are taken.
        let half_full = self.in_progress + self.waiting >= limits::HANDSHAKES_MAX / 2;
        if half_full && of_site >= limits::ADDRESS_HANDSHAKES_MAX {
            return Verdict::Refuse;
        }
        if count >= limits::ADDRESS_HANDSHAKES_MAX
            || is_relayed && self.relayed >= limits::RELAYED_HANDSHAKES_MAX
            || self.rates.take(now, origin, origin.weight()).is_err()
            || site.is_some_and(|site| self.site_rates.take(now, site, 1).is_err())
        {
            return Verdict::Refuse;
        }
        *self.by_caller.entry(caller).or_default() += 1;
        if let Some(site) = site {
            *self.by_site.entry(site).or_default() += 1;
        }
        self.relayed += usize::from(is_relayed);
        if waits {
            self.waiting += 1;
            return Verdict::Wait;
        }
        self.in_progress += 1;
        Verdict::Begin
    }

    /// How many of those who wait are served before it is too late for them, at the pace of late.
    fn served_in_time(&self, now: Time) -> usize {
        let most = limits::HANDSHAKES_WAITING_MAX;
        let Some(first) = self.ends.back().filter(|_| self.ends.len() >= ENDS_MIN) else {
            return most;
        };
        let took = now.since(*first).0.max(1);
        let wait = Span::from_std(limits::HANDSHAKE_WAIT_MAX).0;
        let served = self.ends.len() as u64 * wait / took;
        usize::try_from(served).unwrap_or(most).min(most)
    }

    /// Lets the first of those who wait begin, if there is a place.
    pub(super) fn next(&mut self) -> bool {
        let may = self.waiting > 0 && self.in_progress < limits::HANDSHAKES_MAX;
        if may {
            self.waiting -= 1;
            self.in_progress += 1;
        }
        may
    }

    /// One that waited goes.
    pub(super) fn leave(&mut self, caller: Caller) {
        self.waiting -= 1;
        self.forget(caller);
    }

    /// A handshake is over, whatever came of it.
    pub(super) fn end(&mut self, now: Time, caller: Caller) {
        // What ends while there are places tells nothing of the pace.
        if self.in_progress < limits::HANDSHAKES_MAX && self.waiting == 0 {
            self.ends.clear();
        } else {
            self.ends.truncate(ENDS_KEPT - 1);
            self.ends.push_front(now);
        }
        self.in_progress -= 1;
        self.forget(caller);
    }

    fn forget(&mut self, caller: Caller) {
        self.relayed -= usize::from(caller.origin() == Origin::Relayed);
        one_less(&mut self.by_caller, caller);
        if let Some(site) = caller.origin().site() {
            one_less(&mut self.by_site, site);
        }
    }
}

fn one_less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_000_000);

    fn gate() -> Gate {
        Gate::new(Rate::UNLIMITED)
    }

    fn at(number: u32) -> Caller {
        Caller::Direct(Origin::V4(number.to_be_bytes()))
    }

    #[test]
    fn a_forger_cannot_keep_others_out_of_the_gate() {
        let (mut gate, forged, other) = (gate(), at(1), at(2));
        for _ in 0..limits::ADDRESS_HANDSHAKES_UNPROVEN_MAX {
            assert_eq!(gate.judge(NOW, forged, false), Verdict::Begin);
        }
        assert_eq!(gate.judge(NOW, forged, false), Verdict::Prove);
        assert_eq!(gate.judge(NOW, other, false), Verdict::Begin);
        gate.end(NOW, other);
        for _ in limits::ADDRESS_HANDSHAKES_UNPROVEN_MAX..limits::ADDRESS_HANDSHAKES_MAX {
            assert_eq!(gate.judge(NOW, forged, true), Verdict::Begin);
        }
        assert_eq!(gate.judge(NOW, forged, true), Verdict::Refuse);
        for _ in 0..limits::ADDRESS_HANDSHAKES_MAX {
            gate.end(NOW, forged);
        }
        assert_eq!((gate.in_progress, gate.by_caller.len()), (0, 0));
    }

    /// A gate with all places taken, by other callers than `at(1_000_000)` and above.
    fn full() -> Gate {
        let mut gate = gate();
        for n in 0..limits::HANDSHAKES_MAX as u32 {
            assert_eq!(gate.judge(NOW, at(n), true), Verdict::Begin);
        }
        gate
    }

    #[test]
    fn a_site_of_many_networks_has_no_more_of_a_half_full_gate_than_one_of_them() {
        let of_site = |n: u8| Caller::Direct(Origin::V6([0x20, 1, 0xd, 0xb8, 0, 1, n]));
        let mut gate = gate();
        let enough = limits::HANDSHAKES_MAX / 2;
        let twice = (0..=255).chain(0..=255);
        let begun = twice.filter(|n| gate.judge(NOW, of_site(*n), true) == Verdict::Begin);
        let begun = begun.count();
        assert_eq!(begun, enough);
        assert_eq!(gate.judge(NOW, of_site(3), true), Verdict::Refuse);
        assert_eq!(gate.judge(NOW, at(1), true), Verdict::Begin, "others come in");
        (0..begun).for_each(|n| gate.end(NOW, of_site(n as u8)));
        assert!(gate.by_site.is_empty(), "who is not there is forgotten");
    }

    #[test]
    fn a_half_full_gate_wants_proof() {
        let mut gate = gate();
        for n in 0..limits::HANDSHAKES_MAX as u32 {
            if n as usize >= limits::HANDSHAKES_UNPROVEN_MAX {
                assert_eq!(gate.judge(NOW, at(n), false), Verdict::Prove);
            }
            assert_eq!(gate.judge(NOW, at(n), true), Verdict::Begin);
        }
    }

    #[test]
    fn who_finds_a_full_gate_proves_itself_and_waits_its_turn() {
        let mut gate = full();
        let (first, second) = (at(1_000_000), at(1_000_001));
        assert!(!gate.next(), "nobody waits");
        assert_eq!(gate.judge(NOW, first, false), Verdict::Prove);
        assert_eq!(gate.judge(NOW, first, true), Verdict::Wait);
        assert!(!gate.next(), "no place is free");
        gate.end(NOW, at(0));
        assert_eq!(gate.judge(NOW, second, true), Verdict::Wait, "not before the first");
        assert!(gate.next() && !gate.next());
        gate.leave(second);
        assert_eq!((gate.waiting, gate.by_caller.get(&second)), (0, None));
        gate.end(NOW, first);
        assert_eq!(gate.judge(NOW, second, false), Verdict::Prove);
        assert_eq!(gate.judge(NOW, second, true), Verdict::Begin);
    }

    #[test]
    fn no_more_wait_than_are_served_before_it_is_too_late_for_them() {
        let mut gate = full();
        // A hundred a second end, and their places are taken at once.
        let mut now = NOW;
        for n in 0..ENDS_KEPT as u32 {
            now += Span::millis(10);
            gate.end(now, at(n));
            assert_eq!(gate.judge(now, at(n), true), Verdict::Begin);
        }
        let served = (limits::HANDSHAKE_WAIT_MAX.as_secs_f64() * 100.0) as usize;
        let waits = |gate: &mut Gate, now, from: u32| {
            (from..).take_while(|&n| gate.judge(now, at(n), true) == Verdict::Wait).count()
        };
        let waiting = waits(&mut gate, now, 1_000_000);
        assert!(waiting.abs_diff(served) <= served / 50, "{waiting} of {served}");
        // Nothing ends any more: then nobody else waits.
        assert_eq!(waits(&mut gate, now + Span::secs(60), 2_000_000), 0);
    }

    #[test]
    fn a_quiet_hour_does_not_keep_a_crowd_out() {
        let mut gate = gate();
        let mut now = NOW;
        for n in 0..ENDS_KEPT as u32 {
            now += Span::secs(60);
            assert_eq!(gate.judge(now, at(n), true), Verdict::Begin);
            gate.end(now, at(n));
        }
        let begun = (0..).take_while(|&n| gate.judge(now, at(n), true) == Verdict::Begin).count();
        let waiting = (1..).take_while(|&n| gate.judge(now, at(n << 16), true) == Verdict::Wait);
        let waiting = 1 + waiting.count();
        assert_eq!((begun, waiting), (limits::HANDSHAKES_MAX, limits::HANDSHAKES_WAITING_MAX));
    }

    #[test]
    fn an_address_waits_for_as_many_as_it_may_begin() {
        let mut gate = full();
        let caller = at(1_000_000);
        let waiting = (0..).take_while(|_| gate.judge(NOW, caller, true) == Verdict::Wait).count();
        assert_eq!(waiting, limits::ADDRESS_HANDSHAKES_MAX);
        assert_eq!(gate.judge(NOW, at(1_000_001), true), Verdict::Wait, "others are unharmed");
    }

    #[test]
    fn an_address_that_dials_without_end_is_refused_and_may_again_later() {
        let mut gate = Gate::new(Rate { per_second: 2, burst: 10 });
        let mut dial = |now, caller, proven| {
            let verdict = gate.judge(now, caller, proven);
            if verdict == Verdict::Begin {
                gate.end(now, caller);
            }
            verdict
        };
        for _ in 0..5 {
            assert_eq!(dial(NOW, at(1), false), Verdict::Begin);
        }
        // The second half is for those who prove that it is theirs.
        assert_eq!(dial(NOW, at(1), false), Verdict::Prove);
        for _ in 0..5 {
            assert_eq!(dial(NOW, at(1), true), Verdict::Begin);
        }
        assert_eq!(dial(NOW, at(1), true), Verdict::Refuse);
        assert_eq!(dial(NOW, at(2), false), Verdict::Begin, "others are unharmed");
        assert_eq!(dial(NOW + Span::secs(1), at(1), true), Verdict::Begin);
        // A new key behind a relay costs nothing: all keys together have a limit.
        let mut begun = 0;
        while dial(NOW, Caller::Relayed([begun; 32]), true) == Verdict::Begin {
            begun += 1;
        }
        assert_eq!(u64::from(begun), 10 * Origin::RELAYED_TIMES);
    }

    #[test]
    fn relayed_keys_together_leave_half_of_the_places_to_others() {
        let mut gate = gate();
        let key = |n: usize| Caller::Relayed([(n % 251) as u8; 32]);
        let begun = (0..).take_while(|&n| gate.judge(NOW, key(n), true) == Verdict::Begin).count();
        assert_eq!(begun, limits::RELAYED_HANDSHAKES_MAX);
        assert_eq!(gate.judge(NOW, at(1), true), Verdict::Begin);
        gate.end(NOW, key(0));
        assert_eq!(gate.judge(NOW, key(0), true), Verdict::Begin);
    }

    #[test]
    fn a_v6_network_is_one_caller() {
        let of = |text: &str| Caller::of(&IncomingAddr::Ip(text.parse().unwrap()));
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8:0:ff::ffff:2]:2"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:100::1]:1"));
        assert_eq!(of("[::ffff:192.0.2.1]:1"), of("192.0.2.1:9"));
    }
}
