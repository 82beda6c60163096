//! The connection to the complex: when to have one, greeting, retries, sleep, and what is said over
//! it.
//!
//! A session is wanted while there is something to offer or to report. A lost one is tried again
//! after a jittered, doubling wait; one that the complex ended with `Sleep` is resumed at the time
//! it named, or as soon as there is news. A refusal for good is final until the agent starts anew.

use isos_base::host::{HostSpec, Offer};
use isos_base::random::Random;
use isos_base::time::{Span, Time};
use isos_base::units::{Bytes, MicroCredits};
use isos_base::wire::{Hello, Refusal, Room, ToComplex, ToHost};

use super::shelf::Shelf;
use super::tuning::{
    ACK_WAIT_MAX, BACKOFF_FIRST, BACKOFF_MAX, CONNECT_WAIT_MAX, ELSEWHERE_MAX, ELSEWHERE_SLOW,
    ELSEWHERE_SLOW_MAX, ELSEWHERE_WAIT, OFFER_EVERY, OFFER_MINOR_EVERY, RECONNECT_MIN, ROOM_EVERY,
    SESSION_STEADY, SLEEP_MAX, WELCOME_WAIT_MAX,
};
use super::{Effect, Host, HostEvent, SessionId};

/// Why a session ends whose host has to say what it is once more.
const DESCRIBED_ANEW: &str = "the policy lends more at best, or less: the complex is told";

/// The session, or the wait for one.
#[derive(Debug)]
pub(super) struct Session {
    /// The last session asked for.
    id: u64,
    pub(super) link: Link,
    token: Option<Vec<u8>>,
    random: Random,
    /// Losses in a row.
    failures: u32,
    /// Servers in a row that named another one.
    sent_on: u32,
    /// The offer that the complex knows, and since when.
    told: Offer,
    told_at: Time,
    /// The complex was told more than the first readings, whose words are soon put right.
    told_again: bool,
    /// The complex knows what the host is.
    is_described: bool,
    /// The complex has no work: end the session once all news is acknowledged.
    dismissed: Option<Span>,
    /// The complex's clock minus ours, in microseconds.
    skew: i128,
    /// What the complex was told last about room, and when.
    room_told: (Room, Time),
    room_check: Option<Time>,
    earned_before: MicroCredits,
    earned: MicroCredits,
    pub(super) last_seen: Option<Time>,
    /// What the host keeps for others.
    pub(super) shelf: Shelf,
    /// Why there is no session.
    pub(super) why: String,
}

/// Where a session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// There is none, for a while or until one is wanted.
    Away(Wait),
    /// Asked for.
    Connecting { until: Time },
    /// Greeted; the answer is due.
    Greeting { until: Time },
    /// The complex knows us.
    Online { since: Time },
    /// The complex will never have us.
    Refused(Refusal),
}

/// How long not to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    /// Until then.
    pub(super) until: Time,
    /// Sent away by the complex: then news, or a first offer, need wait only until this.
    pub(super) asleep: Option<Time>,
}

impl Session {
    pub(super) fn new(token: Option<Vec<u8>>, seed: u64) -> Self {
        Self {
            id: 0,
            link: Link::Away(Wait { until: Time(0), asleep: None }),
            token,
            random: Random::new(seed),
            failures: 0,
            sent_on: 0,
            told: Offer::nothing(""),
            told_at: Time(0),
            told_again: false,
            is_described: false,
            dismissed: None,
            skew: 0,
            room_told: (Room::default(), Time(0)),
            room_check: None,
            earned_before: MicroCredits::ZERO,
            earned: MicroCredits::ZERO,
            last_seen: None,
            shelf: Shelf::default(),
            why: String::new(),
        }
    }

    /// A time of the complex on our clock.
    pub(super) fn local(&self, time: Time) -> Time {
        let local = i128::from(time.0) - self.skew;
        Time(u64::try_from(local.max(0)).unwrap_or(u64::MAX))
    }

    /// What all sessions have earned.
    pub(super) fn earned(&self) -> MicroCredits {
        MicroCredits(self.earned_before.0.saturating_add(self.earned.0))
    }

    /// When a session shall be asked for, if one is wanted.
    pub(super) fn connect_at(&self, offer: &Offer, news: bool) -> Option<Time> {
        let Link::Away(wait) = &self.link else { return None };
        if offer.cores == 0 && !news && !self.shelf.stays() {
            return None;
        }
        let first = self.told.cores == 0 && offer.cores > 0;
        let wake = news || first || self.shelf.is_urgent();
        Some(wait.asleep.filter(|_| wake).map_or(wait.until, |early| early.min(wait.until)))
    }

    /// When the session has something to do. `unacked` is when the oldest report under way was
    /// sent.
    pub(super) fn deadline(
        &self,
        offer: &Offer,
        news: bool,
        unacked: Option<Time>,
    ) -> Option<Time> {
        match self.link {
            Link::Away(_) => self.connect_at(offer, news),
            Link::Connecting { until } | Link::Greeting { until } => Some(until),
            Link::Online { .. } => {
                let ack = unacked.map(|at| at + ACK_WAIT_MAX);
                [ack, self.offer_due(offer), self.shelf.due()].into_iter().flatten().min()
            }
            Link::Refused(_) => None,
        }
    }

    /// When the complex is to be asked for more work, if nothing else tells it before.
    pub(super) const fn room_check(&self) -> Option<Time> {
        if matches!(self.link, Link::Online { .. }) { self.room_check } else { None }
    }

    /// When the complex is told the present offer, if it knows another.
    fn offer_due(&self, offer: &Offer) -> Option<Time> {
        if *offer == self.told {
            return None;
        }
        let may_wait = self.told_again && is_minor(&self.told, offer);
        let wait = if may_wait { OFFER_MINOR_EVERY } else { OFFER_EVERY };
        Some(self.told_at + wait)
    }

    pub(super) const fn current(&self) -> SessionId {
        SessionId(self.id)
    }

    /// Whether an input of this session still counts.
    fn is_live(&self, session: SessionId) -> bool {
        session == self.current() && !matches!(self.link, Link::Away(_) | Link::Refused(_))
    }

    fn room_was_told(&mut self, room: Room, now: Time) {
        self.room_told = (room, now);
        let wait = Span((room.backlog.0 / 2).max(ROOM_EVERY.0));
        self.room_check = (room.backlog > Span::ZERO).then(|| now + wait);
    }

    /// The complex may have to be asked for work now.
    pub(super) const fn check_room(&mut self, now: Time) {
        self.room_check = Some(now);
    }

    fn end(&mut self, wait: Wait) {
        self.link = Link::Away(wait);
        self.dismissed = None;
        self.room_check = None;
        self.earned_before = self.earned();
        self.earned = MicroCredits::ZERO;
    }

    /// The wait before the server is called that another one has named: none, until they do not
    /// agree; then as long as it takes to choose a new leader; then as after losses.
    fn elsewhere(&mut self) -> Span {
        self.sent_on = self.sent_on.saturating_add(1);
        match self.sent_on.checked_sub(ELSEWHERE_MAX) {
            None | Some(0) => ELSEWHERE_WAIT,
            Some(more) if more <= ELSEWHERE_SLOW_MAX => {
                Span(ELSEWHERE_SLOW.0 + self.random.below(ELSEWHERE_SLOW.0))
            }
            Some(more) => self.doubled(more - ELSEWHERE_SLOW_MAX),
        }
    }

    /// The wait after a loss.
    fn backoff(&mut self) -> Span {
        self.doubled(self.failures)
    }

    /// Between half and all of a time that doubles with each of so many times.
    fn doubled(&mut self, times: u32) -> Span {
        let doublings = times.saturating_sub(1).min(20);
        let full = (BACKOFF_FIRST.0 << doublings).min(BACKOFF_MAX.0);
        Span(full / 2 + self.random.below(full / 2 + 1))
    }
}

/// Whether two offers differ only in what may wait: words, and less than an eighth of memory or
/// disk.
fn is_minor(told: &Offer, offer: &Offer) -> bool {
    let near = |a: Bytes, b: Bytes| a.0.abs_diff(b.0) <= a.0 / 8;
    told.cores == offer.cores
        && told.price_min == offer.price_min
        && told.accept == offer.accept
        && near(told.memory, offer.memory)
        && near(told.disk, offer.disk)
}

impl Host {
    pub(super) fn connected(&mut self, session: SessionId, effects: &mut Vec<Effect>) {
        let asked = matches!(self.session.link, Link::Connecting { .. });
        if session != self.session.current() || !asked {
            return;
        }
        let room = self.work.room(&self.offer, self.now);
        let hello = Hello {
            spec: self.spec.clone(),
            offer: self.offer.clone(),
            token: self.session.token.clone(),
            holding: self.work.leases.keys().copied().collect(),
            room,
        };
        self.session.link = Link::Greeting { until: self.now + WELCOME_WAIT_MAX };
        self.session.is_described = true;
        self.session.told = self.offer.clone();
        self.session.told_at = self.now;
        self.session.shelf.session_begins();
        self.session.room_was_told(room, self.now);
        effects.push(Effect::Send { session, frame: ToComplex::Hello(Box::new(hello)) });
    }

    /// The host is another one by its description: its owner's policy lends more of it at best, or
    /// less.
    pub(super) fn described(&mut self, spec: HostSpec) {
        self.session.is_described &= self.spec == spec;
        self.spec = spec;
    }

    /// Begins a new session, since descriptions are part of greetings.
    fn describe_anew(&mut self, effects: &mut Vec<Effect>) {
        let (why, retry_at) = (DESCRIBED_ANEW.to_owned(), self.now + RECONNECT_MIN);
        effects.push(Effect::Disconnect { session: self.session.current() });
        self.outbox.rewind();
        self.session.end(Wait { until: retry_at, asleep: None });
        self.session.why.clone_from(&why);
        effects.push(Effect::Say(HostEvent::Lost { why, retry_at }));
    }

    pub(super) fn disconnected(
        &mut self,
        session: SessionId,
        why: String,
        effects: &mut Vec<Effect>,
    ) {
        if self.session.is_live(session) {
            self.lost(why, effects);
        }
    }

    /// There is no session any more, and that is nobody's wish.
    fn lost(&mut self, why: String, effects: &mut Vec<Effect>) {
        let steady = match self.session.link {
            Link::Online { since } => self.now.since(since) >= SESSION_STEADY,
            _ => false,
        };
        self.session.failures = if steady { 1 } else { self.session.failures.saturating_add(1) };
        let retry_at = self.now + self.session.backoff();
        self.outbox.rewind();
        self.session.end(Wait { until: retry_at, asleep: None });
        self.session.why.clone_from(&why);
        effects.push(Effect::Say(HostEvent::Lost { why, retry_at }));
    }

    /// The complex does not do its part: end the session and try again.
    pub(super) fn give_up_on_session(&mut self, why: &str, effects: &mut Vec<Effect>) {
        effects.push(Effect::Disconnect { session: self.session.current() });
        self.lost(why.into(), effects);
    }

    /// Ends the session as the complex wishes.
    fn sleep(&mut self, span: Span, effects: &mut Vec<Effect>) {
        let until = self.now + Span(span.0.clamp(RECONNECT_MIN.0, SLEEP_MAX.0));
        self.outbox.rewind();
        self.session.end(Wait { until, asleep: Some(self.now + RECONNECT_MIN) });
        self.session.failures = 0;
        self.session.why = "the complex has no work".into();
        effects.push(Effect::Disconnect { session: self.session.current() });
        effects.push(Effect::Say(HostEvent::Sleeping { until }));
    }

    pub(super) fn frame_arrived(
        &mut self,
        session: SessionId,
        frame: ToHost,
        effects: &mut Vec<Effect>,
    ) {
        if !self.session.is_live(session) || matches!(self.session.link, Link::Connecting { .. }) {
            return;
        }
        self.session.last_seen = Some(self.now);
        let greeting = matches!(self.session.link, Link::Greeting { .. });
        match frame {
            ToHost::Refused(refusal) => self.refused(refusal, effects),
            ToHost::Welcome { now, account } => {
                self.session.skew = i128::from(now.0) - i128::from(self.now.0);
                if greeting {
                    self.session.sent_on = 0;
                    self.session.link = Link::Online { since: self.now };
                    effects.push(Effect::Say(HostEvent::Welcomed { account }));
                    self.tell_saved(effects);
                    self.tell_reaches(effects);
                }
            }
            // Whoever dials has heard it.
            ToHost::Servers(_) => {}
            _ if greeting => {
                let what = "a frame before the welcome".into();
                effects.push(Effect::Say(HostEvent::Ignored(what)));
            }
            ToHost::Job(offer) => self.job_told(offer, effects),
            ToHost::Resume(resumes) => self.work.told_to_resume(resumes),
            ToHost::Grant(grants) => {
                self.session.dismissed = None;
                if self.granted(grants, effects) {
                    self.give_up_on_session("a job was named that was not explained", effects);
                }
            }
            ToHost::Ack { seq, earned } => {
                self.session.earned = earned;
                let work = &mut self.work;
                if !self.outbox.acked(seq, |lease, tasks| work.acked(lease, tasks)) {
                    let what = format!("the acknowledgement of report {seq}, which was never sent");
                    effects.push(Effect::Say(HostEvent::Ignored(what)));
                }
            }
            ToHost::Revoke(leases) => self.revoked(&leases, effects),
            ToHost::Sleep(span) => self.session.dismissed = Some(span),
            ToHost::Storage(news) => self.storage_told(news, effects),
            ToHost::Mend(order) => self.mend_ordered(order, effects),
            ToHost::Prove(asked) => self.proof_asked(asked, effects),
            ToHost::Peers(peers) => self.peers_told(&peers),
            // The shell keeps it from here: who else there is decides nothing.
            ToHost::Introduced(_) => {}
        }
    }

    fn refused(&mut self, refusal: Refusal, effects: &mut Vec<Effect>) {
        effects.push(Effect::Disconnect { session: self.session.current() });
        effects.push(Effect::Say(HostEvent::Refused(refusal.clone())));
        self.outbox.rewind();
        self.session.why = refusal.to_string();
        if refusal == Refusal::Elsewhere {
            let wait = self.session.elsewhere();
            self.session.end(Wait { until: self.now + wait, asleep: None });
        } else if let Refusal::Busy(span) = refusal {
            let span = span.0.clamp(BACKOFF_FIRST.0, SLEEP_MAX.0);
            let jitter = self.session.random.below(span / 4 + 1);
            let until = self.now + Span(span + jitter);
            self.session.end(Wait { until, asleep: None });
        } else {
            self.session.end(Wait { until: self.now, asleep: None });
            self.session.link = Link::Refused(refusal);
            self.abandon_everything(effects);
        }
    }

    /// Everything about the session that is due.
    pub(super) fn settle_session(&mut self, effects: &mut Vec<Effect>) {
        match self.session.link {
            Link::Away(_) => self.connect_if_due(effects),
            Link::Connecting { until } if until <= self.now => {
                self.give_up_on_session("no connection came about", effects);
            }
            Link::Greeting { until } if until <= self.now => {
                self.give_up_on_session("the complex did not answer the greeting", effects);
            }
            Link::Online { .. } => self.talk(effects),
            _ => {}
        }
    }

    fn connect_if_due(&mut self, effects: &mut Vec<Effect>) {
        let at = self.session.connect_at(&self.offer, !self.outbox.is_empty());
        if at.is_some_and(|at| at <= self.now) {
            self.session.id += 1;
            self.session.link = Link::Connecting { until: self.now + CONNECT_WAIT_MAX };
            effects.push(Effect::Connect { session: self.session.current() });
        }
    }

    fn talk(&mut self, effects: &mut Vec<Effect>) {
        // Who offers nothing would not come back at once, and be taken for lost.
        if !self.session.is_described && self.offer.cores > 0 {
            self.describe_anew(effects);
            return;
        }
        if self.outbox.oldest_unacked().is_some_and(|at| at + ACK_WAIT_MAX <= self.now) {
            self.give_up_on_session("the complex does not acknowledge reports", effects);
            return;
        }
        let session = self.session.current();
        if self.session.offer_due(&self.offer).is_some_and(|at| at <= self.now) {
            self.session.told = self.offer.clone();
            self.session.told_at = self.now;
            self.session.told_again = true;
            effects.push(Effect::Send { session, frame: ToComplex::Offer(self.offer.clone()) });
        }
        self.tell_shelf(effects);
        while self.outbox.window_is_free() && !self.outbox.nothing_pending() {
            self.report(effects);
        }
        if let Some(span) = self.session.dismissed
            && self.outbox.is_empty()
            && self.work.turned_down.is_empty()
            && !self.session.shelf.is_asked()
        {
            self.sleep(span, effects);
            return;
        }
        self.ask_for_work(effects);
    }

    fn report(&mut self, effects: &mut Vec<Effect>) {
        let room = self.work.room(&self.offer, self.now);
        let report = self.outbox.report(self.now, room);
        self.session.room_was_told(room, self.now);
        let session = self.session.current();
        effects.push(Effect::Send { session, frame: ToComplex::Report(report) });
    }

    /// Tells the complex in time that cores will be idle: when half of what it knows of is done and
    /// the next task that ends leaves a core without work.
    fn ask_for_work(&mut self, effects: &mut Vec<Effect>) {
        if self.session.room_check.is_none_or(|at| at > self.now) {
            return;
        }
        let room = self.work.room(&self.offer, self.now);
        let half_done = room.backlog.0 <= self.session.room_told.0.backlog.0.div_ceil(2);
        let soon_idle = self.work.queued() < u32::from(self.offer.cores);
        let is_due = room.tasks == 0 || half_done && soon_idle;
        // Never in the way of results: only when nothing is under way.
        if is_due && self.outbox.is_empty() {
            self.report(effects);
        } else {
            self.session.room_check = Some(self.now + Span((room.backlog.0 / 4).max(ROOM_EVERY.0)));
        }
    }

    /// Says goodbye, after all that is to be said.
    pub(super) fn part(&mut self, effects: &mut Vec<Effect>) {
        let session = self.session.current();
        match self.session.link {
            Link::Online { .. } => {
                while !self.outbox.nothing_pending() {
                    self.report(effects);
                }
                effects.push(Effect::Send { session, frame: ToComplex::Goodbye });
                effects.push(Effect::Disconnect { session });
            }
            Link::Connecting { .. } | Link::Greeting { .. } => {
                effects.push(Effect::Disconnect { session });
            }
            Link::Away(_) | Link::Refused(_) => {}
        }
        self.session.end(Wait { until: self.now, asleep: None });
    }
}
