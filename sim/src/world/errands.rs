//! Clients: each asks some server until it is answered, and asks again if it is not.

use isos_base::api::{Problem, ProblemCode};
use isos_base::job::{JobSpec, Verify};
use isos_base::{JobId, PayoutId, ProposalId, SliceId, Span};
use isos_kernel::complex::{BankCall, BankReply, Call, Input, Reply, RequestId, SliceCall};

use super::network::End;
use super::{Event, World};
use crate::plan::Flaw;
use crate::server::{Act, Part};

/// Something that a client wants.
pub(super) struct Errand {
    pub(super) call: Call,
    /// The errand about whose answer it is, which has to come first.
    pub(super) about: Option<usize>,
    /// Times that it was asked for.
    pub(super) tries: u32,
    /// The answer.
    pub(super) answer: Option<Made>,
}

/// What came of an errand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Made {
    /// It is done, and nothing has a number.
    Nothing,
    Job(JobId),
    Payout(PayoutId),
    Proposal(ProposalId),
    Slice(SliceId),
}

impl Made {
    pub(super) const fn job(self) -> Option<JobId> {
        if let Self::Job(job) = self { Some(job) } else { None }
    }
}

/// What a client hears.
#[derive(Debug)]
pub(super) enum Replied {
    /// To try again.
    Busy,
    /// That it is done.
    Done(Made),
    /// That it cannot be done, which no client here deserves.
    Refused(String),
}

/// A client waits so long for an answer, and then asks again.
const PATIENCE: Span = Span::secs(15);
/// It asks again after this time when it is told to.
const AGAIN: Span = Span::secs(2);
/// From a client to a server, or from server to server.
const LATENCY: Span = Span::millis(20);
/// One in so many answers is lost.
const LOST_ONE_IN: u64 = 20;

impl World {
    /// What the errand has made about which this one is.
    pub(super) fn made_before(&self, errand: usize) -> Option<Made> {
        self.errands[self.errands[errand].about?].answer
    }

    /// A client asks, unless it was answered or has asked meanwhile.
    pub(super) fn ask_for(&mut self, n: usize, tries: u32) {
        let errand = &self.errands[n];
        if errand.answer.is_some() || errand.tries != tries {
            return;
        }
        if errand.about.is_some() && self.made_before(n).is_none() {
            return self.at(self.now + PATIENCE, Event::Errand(n, tries));
        }
        self.note("asks", n as u64);
        self.errands[n].tries += 1;
        let server = self.random.below(self.plan.servers.into()) as u32;
        self.send_errand(n, server, false);
        let waits = PATIENCE + Span(self.random.below(PATIENCE.0));
        self.at(self.now + waits, Event::Errand(n, tries + 1));
    }

    fn send_errand(&mut self, errand: usize, server: u32, passed_on: bool) {
        let at = self.now + Span(self.random.below(2 * LATENCY.0));
        self.at_server(at, server, Act::Asked { errand, passed_on });
    }

    /// A request arrives at a server.
    pub(super) fn asked(&mut self, n: u32, errand: usize, passed_on: bool) {
        match &self.servers[n as usize].part {
            Part::Leads(leader) if leader.machine.is_some() => {}
            Part::Follows(follower) => {
                let leader = follower.leader.filter(|&leader| {
                    let is_cut = self.network.is_cut(End::Server(n), End::Server(leader), self.now);
                    !is_cut && self.servers[leader as usize].answers()
                });
                return match leader.filter(|_| !passed_on) {
                    Some(leader) => self.send_errand(errand, leader, true),
                    None => self.hear(errand, Replied::Busy),
                };
            }
            // Its sockets are closed: the client gets no answer.
            _ => return,
        }
        let call = match (&self.errands[errand].call, self.made_before(errand)) {
            (Call::Cancel { .. }, Some(Made::Job(job))) => Call::Cancel { job },
            (&Call::Bid { bid, .. }, Some(Made::Job(job))) => Call::Bid { job, bid },
            (&Call::Bank(BankCall::Approve { by, .. }), Some(Made::Proposal(proposal))) => {
                Call::Bank(BankCall::Approve { proposal, by })
            }
            (Call::Submit { account, spec, key: Some(key) }, _) if self.flaw == Flaw::Key => {
                let key = Some(format!("{key} {}", self.errands[errand].tries));
                Call::Submit { account: *account, spec: spec.clone(), key }
            }
            (Call::Submit { account, spec, key }, _) if self.flaw == Flaw::Verify => {
                let spec = Box::new(JobSpec { verify: Verify::Trusted, ..(**spec).clone() });
                Call::Submit { account: *account, spec, key: key.clone() }
            }
            (call, _) => call.clone(),
        };
        self.next_errand += 1;
        let request = RequestId(self.next_errand);
        if let Some(leader) = self.servers[n as usize].leader() {
            leader.requests.insert(request, errand);
        }
        self.step(n, Input::Requested { request, call });
    }

    /// A leader's answer leaves for its client.
    pub(super) fn reply(&mut self, errand: usize, answer: Result<Reply, Problem>) {
        let of_job = matches!(self.errands[errand].call, Call::Cancel { .. } | Call::Bid { .. });
        let again = self.errands[errand].about.is_some();
        let of_hosts = matches!(&self.errands[errand].call, Call::Slice(SliceCall::Make { .. }));
        let replied = match answer {
            Ok(_) if of_job => Replied::Done(Made::Nothing),
            Ok(Reply::Job(view)) => Replied::Done(Made::Job(view.id)),
            Ok(Reply::Ended(job)) => Replied::Done(Made::Job(job)),
            Ok(Reply::Bank(BankReply::Payout(payout))) => Replied::Done(Made::Payout(payout)),
            Ok(Reply::Bank(BankReply::Proposal(it))) => Replied::Done(Made::Proposal(it.id)),
            Ok(Reply::Slice(slice)) => Replied::Done(Made::Slice(slice.id)),
            // A clock that was ahead has ended it since the first answer, which was lost.
            Err(problem) if problem.code == ProblemCode::NotFound && of_hosts => {
                Replied::Done(Made::Nothing)
            }
            // By a clock that is ahead, or of a server that was away for long, its end is past.
            Err(problem) if problem.code == ProblemCode::Usage && of_hosts => {
                Replied::Done(Made::Nothing)
            }
            // Too few hosts are there now; more will come.
            Err(problem) if problem.code == ProblemCode::Refused && of_hosts => Replied::Busy,
            // The same once more, after others have agreed.
            Ok(Reply::Done | Reply::Bank(BankReply::Done)) => Replied::Done(Made::Nothing),
            Ok(other) => Replied::Refused(format!("{other:?} is no answer")),
            Err(problem) if problem.code == ProblemCode::Busy => Replied::Busy,
            // It is over: what is kept says so, or the answer would not have left.
            Err(problem) if problem.code == ProblemCode::NotFound && again => {
                Replied::Done(Made::Nothing)
            }
            Err(problem) => Replied::Refused(problem.message),
        };
        self.hear(errand, replied);
    }

    /// A client will hear this, if it is not lost on the way.
    fn hear(&mut self, errand: usize, replied: Replied) {
        if self.faults() && self.random.one_in(LOST_ONE_IN) {
            return;
        }
        let at = self.now + Span(self.random.below(2 * LATENCY.0));
        self.at(at, Event::Replied(errand, replied));
    }

    pub(super) fn replied(&mut self, n: usize, replied: Replied) {
        let errand = &mut self.errands[n];
        match replied {
            Replied::Busy => {
                let tries = errand.tries;
                let after = AGAIN + Span(self.random.below(AGAIN.0));
                self.at(self.now + after, Event::Errand(n, tries));
            }
            Replied::Done(made) => {
                let before = *errand.answer.get_or_insert(made);
                let nothing = [before, made].contains(&Made::Nothing);
                let kept = (before == made || nothing).then_some(()).ok_or_else(|| {
                    format!("request {n} is answered with {before:?}, then with {made:?}")
                });
                if let Call::RevokeToken { id, .. } = &errand.call {
                    let id = id.clone();
                    self.ticket_is_gone(&id);
                }
                self.promise(kept);
            }
            Replied::Refused(why) => self.promise(Err(format!("request {n} is refused: {why}"))),
        }
    }
}
