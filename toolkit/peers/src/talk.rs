//! The machine of one task.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use isos_base::peers::{
    Answer, Ask, Greeting, Hearing, MESSAGE_BYTES_MAX, Peer, Peers, Place, Problem, window,
};
use isos_base::{HostId, JobId, Machine, Span, Time};

use crate::incoming::Incoming;
use crate::outgoing::Outgoing;

/// A program waits no longer than this for one message; it can ask again.
const WAIT_MAX: Span = Span::secs(86_400);

/// A call that this machine has asked for. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// A connection on which somebody called. The shell numbers them, and uses no number twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineId(pub u64);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The complex says who the peers are.
    Told(Peers),
    /// The program asks for something. It waits for the answer before it asks again.
    Asked(Ask),
    /// A call was answered.
    Reached {
        /// Of which rank.
        rank: u32,
        /// From [`Effect::Call`].
        call: CallId,
        /// How far it has come.
        hearing: Hearing,
    },
    /// Over a call comes how far the other is.
    Heard {
        /// Which rank.
        rank: u32,
        /// From [`Effect::Call`].
        call: CallId,
        /// How far.
        hearing: Hearing,
    },
    /// A call was not answered, or has ended.
    CallEnded {
        /// Of which rank.
        rank: u32,
        /// From [`Effect::Call`].
        call: CallId,
    },
    /// Somebody calls; answered by [`Effect::Welcome`] or [`Effect::Refuse`].
    Called {
        /// Whose key it is.
        host: HostId,
        /// Its first words.
        greeting: Greeting,
        /// The connection.
        line: LineId,
    },
    /// A message came.
    Arrived {
        /// From which rank.
        rank: u32,
        /// On which connection.
        line: LineId,
        /// Its number.
        number: u64,
        /// What it says.
        message: Vec<u8>,
    },
    /// A connection on which somebody called has ended.
    LineEnded {
        /// Which rank.
        rank: u32,
        /// The connection.
        line: LineId,
    },
    /// The task has ended: what it said last is still to be heard.
    Over,
    /// [`Machine::deadline`] has come.
    TimerFired,
}

/// What shall be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Call a rank, and greet; answered by `Reached` or `CallEnded`.
    Call {
        /// Which.
        rank: u32,
        /// The number of the call. An earlier one to this rank has ended.
        call: CallId,
        /// Who must answer.
        host: HostId,
        /// Where.
        place: Place,
        /// The first frame.
        greeting: Greeting,
    },
    /// Say this over a call that was answered, in this order.
    Say {
        /// To which rank.
        rank: u32,
        /// Over which call.
        call: CallId,
        /// The message's number.
        number: u64,
        /// What.
        message: Arc<[u8]>,
    },
    /// Whoever called is heard from now on; an earlier connection of that rank is of no use.
    Welcome {
        /// Which rank it is.
        rank: u32,
        /// The connection.
        line: LineId,
        /// What it is answered.
        hearing: Hearing,
    },
    /// Whoever called is not heard.
    Refuse {
        /// The connection.
        line: LineId,
    },
    /// Tell a rank how far this one has come; only the newest need arrive.
    Tell {
        /// Which rank.
        rank: u32,
        /// On which connection.
        line: LineId,
        /// How far.
        hearing: Hearing,
    },
    /// End all that there is with a rank: it is gone.
    Part {
        /// Which.
        rank: u32,
        /// Why, for people.
        why: &'static str,
    },
    /// Answer the program.
    Answer(Answer),
    /// After [`Input::Over`]: whoever could hear what was said has heard it.
    Flushed,
}

/// Another rank.
#[derive(Debug)]
struct Rank {
    at: Option<(HostId, Place)>,
    gone: bool,
    to: Outgoing,
    from: Incoming,
}

/// What the program waits for.
#[derive(Debug)]
enum Pending {
    Send { left: BTreeSet<u32>, message: Arc<[u8]>, sent: u32, to_all: bool },
    Receive { from: Option<u32>, until: Time },
}

/// The machine of one task.
#[derive(Debug)]
pub struct Talk {
    now: Time,
    job: JobId,
    own: u32,
    run: u64,
    window: u64,
    told: bool,
    ranks: BTreeMap<u32, Rank>,
    pending: Option<Pending>,
    /// Of whom a message was taken last: the next one of any is looked for behind it.
    last_taken: u32,
    last_call: u64,
    over: bool,
    flushed: bool,
}

impl Talk {
    /// The program of rank `own` of `size`, which has not begun. `run` tells it from another run
    /// of the same task.
    #[must_use]
    pub fn new(job: JobId, own: u32, size: u32, run: u64) -> Self {
        let rank =
            || Rank { at: None, gone: false, to: Outgoing::new(), from: Incoming::default() };
        Self {
            now: Time(0),
            job,
            own,
            run,
            window: window(size),
            told: false,
            ranks: (0..size).filter(|rank| *rank != own).map(|it| (it, rank())).collect(),
            pending: None,
            last_taken: own,
            last_call: 0,
            over: false,
            flushed: false,
        }
    }

    /// Whether the complex has said who the peers are.
    #[must_use]
    pub const fn is_told(&self) -> bool {
        self.told
    }

    /// The hosts of ranks that are not gone.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + '_ {
        let here = self.ranks.values().filter(|rank| !rank.gone);
        here.filter_map(|rank| rank.at.as_ref().map(|(host, _)| *host))
    }

    fn take(&mut self, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Told(peers) => self.told(peers, effects),
            Input::Asked(ask) => self.asked(ask, effects),
            Input::Reached { rank, call, hearing } => self.reached(rank, call, hearing, effects),
            Input::Heard { rank, call, hearing } => {
                let told = self.ranks.get_mut(&rank).and_then(|it| it.to.told(call, hearing));
                self.believe(rank, told, effects);
            }
            Input::CallEnded { rank, call } => {
                if let Some(it) = self.ranks.get_mut(&rank) {
                    it.to.call_ended(call, self.now);
                }
            }
            Input::Called { host, greeting, line } => self.called(host, greeting, line, effects),
            Input::Arrived { rank, line, number, message } => {
                self.arrived(rank, line, (number, message), effects);
            }
            Input::LineEnded { rank, line } => {
                if let Some(it) = self.ranks.get_mut(&rank).filter(|it| !it.gone) {
                    it.from.line_ended(line, self.now);
                }
            }
            Input::Over => (self.over, self.pending) = (true, None),
            Input::TimerFired => {}
        }
    }

    fn told(&mut self, Peers { job, peers, .. }: Peers, effects: &mut Vec<Effect>) {
        if job != self.job {
            return;
        }
        self.told = true;
        for Peer { rank, host, place } in peers {
            let Some(known) = self.ranks.get_mut(&rank) else { continue };
            match (place, &known.at) {
                (None, _) => self.gone(rank, "it has ended or was given up", effects),
                // What the other run has heard and said, this one knows nothing of.
                (Some(new), Some((_, old))) if old.run != new.run => {
                    self.gone(rank, "it was begun anew", effects);
                }
                (Some(place), _) => known.at = Some((host, place)),
            }
        }
    }

    fn asked(&mut self, ask: Ask, effects: &mut Vec<Effect>) {
        if self.pending.is_some() || self.over {
            return;
        }
        let known = |rank: u32| self.ranks.contains_key(&rank);
        let too_large = |message: &[u8]| message.len() > MESSAGE_BYTES_MAX;
        let pending = match ask {
            Ask::Send { to, .. } if !known(to) => Err(Problem::NoRank),
            Ask::Receive { from: Some(from), .. } if !known(from) => Err(Problem::NoRank),
            Ask::Send { message, .. } | Ask::Multicast(message) if too_large(&message) => {
                Err(Problem::TooLarge)
            }
            Ask::Send { to, message } => {
                let left = BTreeSet::from([to]);
                Ok(Pending::Send { left, message: message.into(), sent: 0, to_all: false })
            }
            Ask::Multicast(message) => {
                let left = self.ranks.keys().copied().collect();
                Ok(Pending::Send { left, message: message.into(), sent: 0, to_all: true })
            }
            Ask::Receive { from, wait_ms } => {
                let wait = Span::millis(wait_ms.min(WAIT_MAX.0 / 1_000));
                Ok(Pending::Receive { from, until: self.now + wait })
            }
        };
        match pending {
            Ok(pending) => self.pending = Some(pending),
            Err(problem) => effects.push(Effect::Answer(Answer::Problem(problem))),
        }
    }

    fn reached(&mut self, rank: u32, call: CallId, hearing: Hearing, effects: &mut Vec<Effect>) {
        let Some(it) = self.ranks.get_mut(&rank) else { return };
        let believed = it.to.reached(call, hearing);
        if believed == Some(true) {
            let say = |(number, message)| Effect::Say { rank, call, number, message };
            effects.extend(it.to.unheard().map(say));
        }
        self.believe(rank, believed, effects);
    }

    /// Who says to have heard what was never said does not keep to the protocol.
    fn believe(&mut self, rank: u32, believed: Option<bool>, effects: &mut Vec<Effect>) {
        if believed == Some(false) {
            self.gone(rank, "it says to have heard what was not said", effects);
        }
    }

    fn called(&mut self, host: HostId, words: Greeting, line: LineId, effects: &mut Vec<Effect>) {
        let is_here = (words.job, words.to, words.to_run) == (self.job, self.own, self.run);
        let rank = self.ranks.get_mut(&words.from).filter(|it| is_here && !self.over && !it.gone);
        let is_rank = |it: &&mut Rank| {
            it.at.as_ref().is_some_and(|at| at.0 == host && at.1.run == words.from_run)
        };
        match rank.filter(is_rank) {
            Some(it) => {
                let hearing = it.from.called(line);
                effects.push(Effect::Welcome { rank: words.from, line, hearing });
            }
            None => effects.push(Effect::Refuse { line }),
        }
    }

    fn arrived(
        &mut self,
        rank: u32,
        line: LineId,
        (number, message): (u64, Vec<u8>),
        effects: &mut Vec<Effect>,
    ) {
        let window = self.window;
        let Some(it) = self.ranks.get_mut(&rank).filter(|it| !it.gone) else { return };
        match it.from.arrived(line, number, message, window) {
            Ok(true) => {
                effects.push(Effect::Tell { rank, line, hearing: it.from.hearing() });
            }
            Ok(false) => {}
            Err(why) => self.gone(rank, why, effects),
        }
    }

    /// A rank is gone, for good. What it said before can still be taken.
    fn gone(&mut self, rank: u32, why: &'static str, effects: &mut Vec<Effect>) {
        let Some(it) = self.ranks.get_mut(&rank).filter(|it| !it.gone) else { return };
        it.gone = true;
        it.to = Outgoing::new();
        it.from.part();
        effects.push(Effect::Part { rank, why });
    }

    fn settle_silent(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now;
        let is_silent = |it: &Rank| {
            let at = [it.to.silent_at(), it.from.silent_at()];
            !it.gone && at.into_iter().flatten().any(|at| at <= now)
        };
        let silent: Vec<u32> =
            self.ranks.iter().filter(|(_, it)| is_silent(it)).map(|(&rank, _)| rank).collect();
        for rank in silent {
            self.gone(rank, "it cannot be reached", effects);
        }
    }

    fn settle_pending(&mut self, effects: &mut Vec<Effect>) {
        // Who the others are, and whether they are there, is not known before.
        let Some(pending) = self.pending.take_if(|_| self.told) else { return };
        let answer = match pending {
            Pending::Send { left, message, sent, to_all } => {
                self.try_to_send((left, message, sent), to_all, effects)
            }
            Pending::Receive { from, until } => self.try_to_receive(from, until, effects),
        };
        match answer {
            Ok(answer) => effects.push(Effect::Answer(answer)),
            Err(pending) => self.pending = Some(pending),
        }
    }

    fn try_to_send(
        &mut self,
        (mut left, message, mut sent): (BTreeSet<u32>, Arc<[u8]>, u32),
        to_all: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Pending> {
        let (window, ranks) = (self.window, &mut self.ranks);
        left.retain(|&rank| {
            let Some(it) = ranks.get_mut(&rank).filter(|it| !it.gone) else { return false };
            if !it.to.has_room(window, message.len()) {
                return true;
            }
            if let Some((call, number)) = it.to.push(message.clone()) {
                effects.push(Effect::Say { rank, call, number, message: message.clone() });
            }
            sent += 1;
            false
        });
        if !left.is_empty() {
            return Err(Pending::Send { left, message, sent, to_all });
        }
        let is_lost = sent == 0 && !to_all;
        Ok(if is_lost { Answer::Problem(Problem::Gone) } else { Answer::Sent(sent) })
    }

    fn try_to_receive(
        &mut self,
        from: Option<u32>,
        until: Time,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Pending> {
        let last = self.last_taken;
        // Each gets its turn.
        let all = self.ranks.keys().copied();
        let order: Vec<u32> = match from {
            Some(from) => vec![from],
            None => {
                let (before, behind): (Vec<u32>, Vec<u32>) = all.partition(|rank| *rank <= last);
                behind.into_iter().chain(before).collect()
            }
        };
        let mut is_hope = false;
        for rank in order {
            let Some(it) = self.ranks.get_mut(&rank) else { continue };
            if let Some(message) = it.from.take() {
                self.last_taken = rank;
                if let Some(line) = it.from.line() {
                    effects.push(Effect::Tell { rank, line, hearing: it.from.hearing() });
                }
                return Ok(Answer::Received(Some((rank, message))));
            }
            is_hope |= !it.gone;
        }
        if !is_hope {
            return Ok(Answer::Problem(Problem::Gone));
        }
        if until <= self.now {
            return Ok(Answer::Received(None));
        }
        Err(Pending::Receive { from, until })
    }

    fn settle_calls(&mut self, effects: &mut Vec<Effect>) {
        for (&rank, it) in self.ranks.iter_mut().filter(|(_, it)| !it.gone) {
            let Some((host, place)) = &it.at else { continue };
            if !it.to.wants_call(self.now, self.over) {
                continue;
            }
            self.last_call += 1;
            let call = CallId(self.last_call);
            it.to.calls(call);
            let greeting = Greeting {
                job: self.job,
                from: self.own,
                from_run: self.run,
                to: rank,
                to_run: place.run,
            };
            let (host, place) = (*host, place.clone());
            effects.push(Effect::Call { rank, call, host, place, greeting });
        }
    }

    fn settle_flush(&mut self, effects: &mut Vec<Effect>) {
        let is_heard = |it: &Rank| it.gone || it.to.is_heard();
        if self.over && !self.flushed && self.ranks.values().all(is_heard) {
            self.flushed = true;
            effects.push(Effect::Flushed);
        }
    }
}

impl Machine for Talk {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        self.now = self.now.max(now);
        self.take(input, effects);
        self.settle_silent(effects);
        self.settle_pending(effects);
        self.settle_calls(effects);
        self.settle_flush(effects);
    }

    fn deadline(&self) -> Option<Time> {
        let wait = match &self.pending {
            Some(Pending::Receive { until, .. }) if self.told => Some(*until),
            _ => None,
        };
        let here = self.ranks.values().filter(|it| !it.gone);
        let ranks = here.filter_map(|it| {
            let call = it.to.deadline(self.over).filter(|_| it.at.is_some());
            [call, it.from.silent_at()].into_iter().flatten().min()
        });
        ranks.chain(wait).min()
    }

    fn check_invariants(&self) {
        for it in self.ranks.values() {
            it.to.check(self.window);
            it.from.check(self.window);
            assert!(!it.gone || it.to.is_heard(), "nothing is kept for who is gone");
        }
    }
}
