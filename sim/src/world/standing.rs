//! Which part a server has: what it asks the database, and what it does about the answers.

use isos_base::{Span, Time};

use super::{Event, World};
use crate::database::{Answer, Ask};
use crate::plan::Flaw;
use crate::server::{About, Act, Follower, Group, Leader, Part};

/// A server's request on its way to the database.
pub(super) struct Request {
    pub(super) server: u32,
    life: u64,
    pub(super) about: About,
    ask: Ask,
}

/// From a server to the database, and back.
const TRAVEL: Span = Span::micros(300);
/// The group commit of an ordinary disk.
const COMMIT: Span = Span::millis(3);
/// Anything else.
const SERVE: Span = Span::micros(100);
/// Reading all rows takes at the most so long.
const LOAD_MAX: Span = Span::millis(500);
/// One in so many commits finds a disk that stands still, at the most for so long.
const STALLS_ONE_IN: u64 = 500;
const STALL_MAX: Span = Span::secs(3);
/// One in so many answers is lost with its connection, where there is one.
const LOST_ONE_IN: u64 = 300;
/// A database that is not there refuses, or does not answer for so long: `CONNECT_WAIT`.
const CONNECT_MAX: Span = Span::secs(10);
/// A lost connection is tried to be made again for so long: `AWAY_MAX`.
const AWAY_MAX: Span = Span::secs(60);
/// Between two tries, at first and at the most: `PAUSE_MIN` and `PAUSE_MAX` of the writer.
pub(super) const PAUSE_MIN: Span = Span::millis(50);
const PAUSE_MAX: Span = Span::secs(2);
/// How often an idle leader is heard of: `RENEW`.
pub(super) const RENEW: Span = Span::secs(3);
/// A server that has led and lost its database asks again after this time: `RETRY`.
const RETRY: Span = Span::secs(2);
/// How often a leader looks which other servers there are: `SERVERS_EVERY`.
const SERVERS_EVERY: Span = Span::secs(5);

impl World {
    fn is_shared(&self) -> bool {
        self.plan.servers > 1
    }

    /// Whether a server and the database can speak.
    fn reaches_database(&self, server: u32) -> bool {
        self.database.away_until <= self.now && !self.network.is_cut_off(server, self.now)
    }

    /// A server asks the database for something; an [`Act::Answered`] will come.
    pub(super) fn ask(&mut self, server: u32, about: About, ask: Ask) {
        if !self.reaches_database(server) {
            let after = Span(self.random.below(CONNECT_MAX.0));
            self.at_server(self.now + after, server, Act::Answered(about, Answer::Lost));
            return;
        }
        let mut takes = match &ask {
            Ask::Commit(..) => COMMIT,
            Ask::Load => Span(self.random.below(LOAD_MAX.0)),
            _ => SERVE,
        };
        // The disk stands still now and then; what waits for it is done in order.
        if takes == COMMIT && self.faults() && self.random.one_in(STALLS_ONE_IN) {
            takes = takes + Span(self.random.below(STALL_MAX.0));
        }
        let begins = (self.now + TRAVEL).max(self.database.free_at);
        let done = begins + takes;
        if !matches!(ask, Ask::Load) {
            self.database.free_at = done;
        }
        self.next_request += 1;
        let life = self.servers[server as usize].life;
        self.requests.insert(self.next_request, Request { server, life, about, ask });
        self.at(done, Event::Requested(self.next_request));
    }

    /// A request reaches the database, unless whoever sent it is dead, or it is lost on the way.
    pub(super) fn requested(&mut self, number: u64) {
        let Some(Request { server, life, about, ask }) = self.requests.remove(&number) else {
            return;
        };
        let is_there = self.database.away_until <= self.now;
        let reaches = self.reaches_database(server);
        let mut answer = Answer::Lost;
        let is_commit = matches!(ask, Ask::Commit(..));
        // Of what is under way when a connection is lost nobody knows whether it was done.
        if reaches || is_there && self.random.one_in(2) {
            match self.database.answer(self.now, server, ask) {
                Ok(found) => answer = found,
                Err(what) => return self.promise(Err(what)),
            }
            if matches!(answer, Answer::Leads(_)) {
                self.tell_followers();
            }
            if is_commit && matches!(answer, Answer::Kept) && self.leader_did(server) {
                return;
            }
        }
        let mut after = TRAVEL;
        let is_lost = self.is_shared() && self.faults() && self.random.one_in(LOST_ONE_IN);
        if !reaches || is_lost {
            self.counts.lost_commits += u64::from(about == About::Writing);
            (answer, after) = (Answer::Lost, Span(self.random.below(CONNECT_MAX.0)));
        }
        let answered = Act::Answered(about, answer);
        self.at(self.now + after, Event::Server(server, life, answered));
    }

    /// A server dies with what it was about to write, if that had not gone out.
    pub(super) fn forget_requests(&mut self, server: u32) {
        let theirs = |request: &Request| request.server == server;
        let numbers: Vec<u64> =
            self.requests.iter().filter(|(_, it)| theirs(it)).map(|(&number, _)| number).collect();
        for number in numbers {
            if self.random.one_in(2) {
                self.requests.remove(&number);
            }
        }
    }

    /// A server stops while it writes. In the middle of a transaction it holds the lock on the
    /// leader's row, until it goes on or the database ends its session
    /// (`idle_in_transaction_session_timeout`).
    pub(super) fn stop_in_transaction(&mut self, server: u32, until: Time) {
        const SESSION_MAX: Span = Span::secs(10);
        let writes =
            |request: &Request| request.server == server && request.about == About::Writing;
        let Some((&number, _)) = self.requests.iter().find(|(_, request)| writes(request)) else {
            return;
        };
        if !self.is_shared() || self.random.one_in(2) {
            return;
        }
        let ends = self.now + SESSION_MAX;
        self.database.free_at = self.database.free_at.max(until.min(ends));
        let Some(request) = self.requests.remove(&number) else { return };
        if until < ends {
            self.next_request += 1;
            self.requests.insert(self.next_request, request);
            self.at(until, Event::Requested(self.next_request));
        } else {
            let lost = Act::Answered(request.about, Answer::Lost);
            self.at(until, Event::Server(server, request.life, lost));
        }
    }

    /// Something happens to a server.
    pub(super) fn act(&mut self, n: u32, life: u64, act: Act) {
        let server = &mut self.servers[n as usize];
        if server.life != life {
            return;
        }
        if let Some(held) = &mut server.held {
            held.push((life, act));
            return;
        }
        if act.waits_for_room()
            && let Some(leader) = server.leader()
            && leader.is_full()
        {
            leader.inbox.push_back(act);
            return;
        }
        match act {
            Act::Stand => self.ask(n, About::Part, Ask::Take),
            Act::Look(look) => self.look(n, look),
            Act::Frame(session, frame) => self.server_hears(n, session, frame),
            Act::SessionGone(session) => self.session_gone(n, session),
            Act::Asked { errand, passed_on } => self.asked(n, errand, passed_on),
            Act::Timer(at) => self.timer(n, at),
            Act::Finish => self.finish(n),
            Act::Answered(About::Part, answer) => self.part_answered(n, answer),
            Act::Answered(About::Rows, Answer::Loaded(rows)) => self.lead(n, *rows),
            Act::Answered(About::Rows, _) => self.stop_leading(n),
            Act::Answered(About::Writing, answer) => self.write_answered(n, answer),
            Act::Answered(About::Servers, Answer::Servers(servers)) => self.know(n, servers),
            Act::Answered(About::Servers, _) => {
                self.at_server(self.now + SERVERS_EVERY, n, Act::KnowServers);
            }
            Act::Reconnect => self.write_again(n),
            Act::Renew => self.renew(n),
            Act::KnowServers => self.ask(n, About::Servers, Ask::Servers),
            Act::Send => self.send_payouts(n),
            Act::PaidOut(payout, answer) => self.paid_out(n, payout, answer),
        }
    }

    /// What the database says of a server's part.
    fn part_answered(&mut self, n: u32, answer: Answer) {
        if let Answer::Leads(epoch) = answer {
            return self.take_lead(n, epoch);
        }
        let server = &mut self.servers[n as usize];
        match (&mut server.part, answer) {
            (Part::Stands, Answer::Led(leader)) => {
                // Its own lease must run out as another's must.
                let leader = (leader != n).then_some(leader);
                server.part = Part::Follows(Follower::new(leader, vec![n]));
                self.plan_look(n, Span::ZERO);
            }
            (Part::Stands, _) => {
                let after = RETRY + Span(self.random.below(RETRY.0));
                self.at_server(self.now + after, n, Act::Stand);
            }
            (Part::Follows(_), Answer::Led(_)) => self.plan_look(n, Follower::PAUSE_MIN),
            (Part::Follows(follower), Answer::Looked { leader, left, servers }) => {
                follower.pause = Follower::PAUSE_MIN;
                if left == Span::ZERO {
                    return self.ask(n, About::Part, Ask::Take);
                }
                let leader = (leader != n).then_some(leader);
                if follower.leader != leader {
                    (follower.leader, follower.servers) = (leader, servers);
                }
                self.plan_look(n, left.max(Follower::PAUSE_MIN));
            }
            (Part::Follows(follower), _) => {
                let pause = follower.pause;
                follower.pause = Follower::PAUSE_MAX.min(Span(pause.0 * 2));
                self.plan_look(n, pause);
            }
            (Part::Down | Part::Leads(_), _) => {}
        }
    }

    /// A follower looks after this time, or sooner if it was told meanwhile that it should.
    fn plan_look(&mut self, n: u32, after: Span) {
        let Part::Follows(follower) = &mut self.servers[n as usize].part else { return };
        follower.looks = false;
        follower.look += 1;
        let look = follower.look;
        let after = if std::mem::take(&mut follower.told) { Span::ZERO } else { after };
        self.at_server(self.now + after, n, Act::Look(look));
    }

    fn look(&mut self, n: u32, look: u64) {
        if let Part::Follows(follower) = &mut self.servers[n as usize].part
            && follower.look == look
        {
            follower.looks = true;
            self.ask(n, About::Part, Ask::Look);
        }
    }

    /// The database tells all who listen that the lease was taken or given up.
    pub(super) fn tell_followers(&mut self) {
        for n in 0..self.plan.servers {
            if !self.reaches_database(n) {
                continue;
            }
            if let Part::Follows(follower) = &mut self.servers[n as usize].part {
                follower.told = true;
                if !follower.looks {
                    self.plan_look(n, Span::ZERO);
                }
            }
        }
    }

    /// A server has the lease. It still has to read the rows.
    fn take_lead(&mut self, n: u32, epoch: u64) {
        self.note("leads", epoch);
        self.close_lines(n);
        let server = &mut self.servers[n as usize];
        server.life += 1;
        server.part = Part::Leads(Box::new(Leader::new(epoch, vec![n], self.now)));
        if self.is_shared() {
            self.at_server(self.now + RENEW, n, Act::Renew);
        }
        self.ask(n, About::Rows, Ask::Load);
    }

    /// A server leads no more, and drops all that it had.
    pub(super) fn stop_leading(&mut self, n: u32) {
        self.note("stops leading", n.into());
        self.counts.deposed += 1;
        self.close_lines(n);
        let server = &mut self.servers[n as usize];
        if server.leader().is_some_and(|leader| leader.is_ending) {
            return self.end_process(n);
        }
        server.life += 1;
        if let Part::Leads(leader) = std::mem::replace(&mut server.part, Part::Stands)
            && self.flaw == Flaw::Memory
        {
            server.remembered = leader.machine;
        }
        self.at_server(self.now + RETRY, n, Act::Stand);
    }

    /// The writer of a leader hears of its group.
    fn write_answered(&mut self, n: u32, answer: Answer) {
        let is_lost = matches!(answer, Answer::Lost);
        if let Answer::Deposed = answer {
            return self.stop_leading(n);
        }
        if is_lost && self.flaw != Flaw::Answer {
            let now = self.now;
            let Some(leader) = self.servers[n as usize].leader() else { return };
            let (since, pause) = *leader.writer.lost.get_or_insert((now, PAUSE_MIN));
            leader.writer.lost = Some((since, PAUSE_MAX.min(Span(pause.0 * 2))));
            if now.since(since) >= AWAY_MAX {
                return self.stop_leading(n);
            }
            self.at_server(now + pause, n, Act::Reconnect);
            return;
        }
        self.kept(n);
    }

    /// The lease is extended while nothing else is written.
    fn renew(&mut self, n: u32) {
        let now = self.now;
        let Some(leader) = self.servers[n as usize].leader() else { return };
        let due = leader.writer.renewed + RENEW;
        let is_busy = leader.writer.group.is_some();
        if due <= now && !is_busy {
            leader.writer.group = Some(Group::default());
            leader.writer.asked = now;
            let epoch = leader.epoch;
            self.ask(n, About::Writing, Ask::Renew(epoch));
        }
        // What is being written extends it as well.
        let next = if due > now { due } else { now + Span::secs(1) };
        self.at_server(next, n, Act::Renew);
    }

    /// A leader hears which servers there are.
    fn know(&mut self, n: u32, servers: Vec<u32>) {
        self.at_server(self.now + SERVERS_EVERY, n, Act::KnowServers);
        let Some(leader) = self.servers[n as usize].leader() else { return };
        let others = servers.into_iter().filter(|&other| other != n);
        let servers: Vec<u32> = std::iter::once(n).chain(others).collect();
        if leader.servers != servers {
            leader.servers = servers;
            self.tell_servers(n);
        }
    }
}
