//! Epochs: what is averaged begins anew every so many cycles with what hosts tell then, so that the
//! sums follow the world, and what was lost or made up is lost with its epoch.
//!
//! An epoch is numbered by the clock. Clocks differ, so whoever hears of the next one from somebody
//! begins it too (all begin within a few round trips), but none that begins further ahead than
//! clocks may differ. Who comes in the middle of an epoch waits for the next.

use std::collections::VecDeque;

use isos_base::HostId;
use isos_base::certificate::CLOCK_SLACK;
use isos_base::time::{Span, Time};

use crate::attribute::Told;
use crate::average::{Instances, Sums};
use crate::wire::{Averaged, Offered};

/// Cycles of an epoch in which this host offers what it has. Variance has fallen to a billionth
/// then, and what would still come closer is not worth a kilobyte a cycle; who offers later is
/// answered.
const OFFERED_CYCLES: u32 = 20;
/// Answers that are remembered, should they have to be given again.
const ANSWERS_MAX: usize = 16;

/// The averaging of one host.
#[derive(Debug, Clone)]
pub struct Epochs {
    length: Span,
    number: u64,
    began: Time,
    /// Nothing while it waits for the next epoch.
    sums: Option<Sums>,
    cycles: u32,
    /// Averages taken.
    exchanges: u32,
    /// The exchange that was begun and is not over: no other is taken part in.
    open: Option<u64>,
    last_seq: u64,
    answers: VecDeque<(HostId, u64, Averaged)>,
    /// Offers of others that were not believed.
    pub(crate) apart: u64,
}

/// An epoch that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Over {
    /// Which.
    pub epoch: u64,
    /// When this host began it.
    pub began: Time,
    /// Averages taken.
    pub exchanges: u32,
    /// What is known now.
    pub sums: Sums,
}

impl Epochs {
    /// Waits for the epoch after the one that is now.
    #[must_use]
    pub fn new(now: Time, length: Span) -> Self {
        let length = Span(length.0.max(1));
        Self {
            length,
            number: now.0 / length.0,
            began: now,
            sums: None,
            cycles: 0,
            exchanges: 0,
            open: None,
            last_seq: 0,
            answers: VecDeque::new(),
            apart: 0,
        }
    }

    /// What is summed up so far.
    #[must_use]
    pub fn sums(&self) -> Option<&Sums> {
        self.sums.as_ref()
    }

    /// The epoch that this host is in.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Begins the epoch of the clock, if it is a later one. Gives the one that is over.
    pub fn turn(&mut self, now: Time, own: HostId, told: &Told) -> Option<Over> {
        let number = now.0 / self.length.0;
        if number > self.number { self.begin(now, number, own, told) } else { None }
    }

    /// Somebody is in this epoch. Begins it too, if it is later and not too far ahead.
    pub fn hear(&mut self, now: Time, number: u64, own: HostId, told: &Told) -> Option<Over> {
        let furthest = (now + CLOCK_SLACK.min(self.length)).0 / self.length.0;
        if number > self.number && number <= furthest {
            self.begin(now, number, own, told)
        } else {
            None
        }
    }

    fn begin(&mut self, now: Time, number: u64, own: HostId, told: &Told) -> Option<Over> {
        let fresh = Sums::begin(Instances::name(own, number), told);
        let (epoch, began, exchanges) = (self.number, self.began, self.exchanges);
        let over = self.sums.replace(fresh).map(|sums| Over { epoch, began, exchanges, sums });
        (self.number, self.began, self.cycles, self.exchanges) = (number, now, 0, 0);
        // What is still on its way belongs to the epoch before.
        self.open = None;
        self.answers.clear();
        over
    }

    /// Whether the next cycle has something to offer.
    #[must_use]
    pub fn offers(&self) -> bool {
        self.sums.is_some() && self.cycles < OFFERED_CYCLES
    }

    /// A cycle begins: what to offer to somebody. No other offer is taken until that is over.
    pub fn offer(&mut self) -> Option<Offered> {
        let sums = self.sums.clone()?;
        self.cycles += 1;
        if self.cycles > OFFERED_CYCLES {
            return None;
        }
        self.last_seq += 1;
        self.open = Some(self.last_seq);
        Some(Offered { epoch: self.number, seq: self.last_seq, sums })
    }

    /// Somebody offers. `hosts` is how many there may be, if that is known.
    pub fn take(&mut self, from: HostId, offered: &Offered, hosts: Option<f64>) -> Averaged {
        if offered.epoch != self.number {
            return Averaged::Epoch(self.number);
        }
        let mut known = self.answers.iter().filter(|(host, ..)| *host == from);
        if let Some((_, _, answer)) = known.find(|(_, seq, _)| *seq == offered.seq) {
            return answer.clone();
        }
        if self.open.is_some() {
            return Averaged::Busy;
        }
        let Some(own) = &self.sums else { return Averaged::Waits };
        if !offered.sums.is_possible() || !own.agrees(&offered.sums, self.cycles) {
            self.apart += 1;
            return Averaged::Apart;
        }
        let before = self.average(&offered.sums, hosts);
        let answer = before.map_or(Averaged::Waits, |before| Averaged::Done(Box::new(before)));
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.pop_front();
        }
        self.answers.push_back((from, offered.seq, answer.clone()));
        answer
    }

    /// The exchange with this number is over; with what the other had, if it took part.
    pub fn close(&mut self, seq: u64, answer: Option<&Averaged>, hosts: Option<f64>) {
        if self.open != Some(seq) {
            return;
        }
        self.open = None;
        let (Some(Averaged::Done(theirs)), Some(own)) = (answer, &self.sums) else { return };
        if theirs.is_possible() && own.agrees(theirs, self.cycles) {
            self.average(theirs, hosts);
        } else {
            self.apart += 1;
        }
    }

    /// Takes the average, and gives what was before.
    fn average(&mut self, other: &Sums, hosts: Option<f64>) -> Option<Sums> {
        let own = self.sums.as_ref()?;
        let mut both = own.average(other);
        if let Some(hosts) = hosts {
            both.instances.drop_made_up(hosts);
        }
        self.exchanges += 1;
        self.sums.replace(both)
    }

    pub(crate) fn check(&self) {
        assert!(self.answers.len() <= ANSWERS_MAX, "too many answers are remembered");
        assert!(self.sums.as_ref().is_none_or(Sums::is_possible), "sums that cannot be");
        assert!(self.open.is_none() || self.sums.is_some(), "nothing was there to offer");
    }
}

#[cfg(test)]
mod tests {
    use isos_base::key::PublicKey;

    use super::*;

    const LENGTH: Span = Span::secs(300);
    const TOLD: Told = [4.0, 1e9, 1e10, 0.0, 1.0, 60.0, 0.0];

    fn host(n: u8) -> HostId {
        HostId(PublicKey([n; 32]))
    }

    fn begun(n: u8) -> Epochs {
        let mut epochs = Epochs::new(Time(1), LENGTH);
        assert_eq!(epochs.turn(Time(LENGTH.0), host(n), &TOLD), None, "it had waited");
        epochs
    }

    fn mass(all: &[&Epochs]) -> f64 {
        let counts = all.iter().flat_map(|it| it.sums.as_ref().unwrap().instances.counts());
        counts.map(|count| 1.0 / count).sum()
    }

    #[test]
    fn who_comes_in_the_middle_waits() {
        let (mut late, mut early) = (Epochs::new(Time(LENGTH.0 + 5), LENGTH), begun(2));
        let offered = early.offer().unwrap();
        assert_eq!(late.offer(), None);
        assert_eq!(late.take(host(2), &offered, None), Averaged::Waits);
        assert!(late.turn(Time(LENGTH.0 * 2), host(1), &TOLD).is_none());
        assert_eq!(late.take(host(2), &offered, None), Averaged::Epoch(2));
        let over = early.hear(Time(LENGTH.0 * 2 - 9), 2, host(2), &TOLD).unwrap();
        assert_eq!((over.epoch, over.exchanges), (1, 0));
        assert_eq!(early.hear(Time(LENGTH.0 * 2), 9, host(2), &TOLD), None, "no clock is so fast");
        assert_eq!(early.number(), 2);
    }

    #[test]
    fn an_exchange_that_comes_twice_is_done_once() {
        let (mut a, mut b) = (begun(1), begun(2));
        let offered = a.offer().unwrap();
        let first = b.take(host(1), &offered, None);
        assert_eq!(b.take(host(1), &offered, None), first);
        assert_eq!(b.exchanges, 1);
        a.close(offered.seq, Some(&first), None);
        assert!((mass(&[&a, &b]) - 2.0).abs() < 1e-12);
        a.close(offered.seq, Some(&first), None);
        assert_eq!(a.exchanges, 1);
        assert_eq!(a.sums, b.sums);
    }

    #[test]
    fn who_is_in_the_middle_of_one_takes_no_other() {
        let (mut a, mut b) = (begun(1), begun(2));
        let (ours, theirs) = (a.offer().unwrap(), b.offer().unwrap());
        assert_eq!(b.take(host(1), &ours, None), Averaged::Busy);
        a.close(ours.seq, Some(&Averaged::Busy), None);
        let answer = a.take(host(2), &theirs, None);
        b.close(theirs.seq, Some(&answer), None);
        assert!((mass(&[&a, &b]) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn what_comes_after_the_epoch_changes_nothing() {
        let (mut a, mut b) = (begun(1), begun(2));
        let offered = a.offer().unwrap();
        let answer = b.take(host(1), &offered, None);
        a.turn(Time(LENGTH.0 * 2), host(1), &TOLD).unwrap();
        a.close(offered.seq, Some(&answer), None);
        assert_eq!(a.exchanges, 0);
        a.check();
    }
}
