//! What goes wrong: when, to whom, and for how long.

use isos_base::{Span, Time};

use super::network::{End, NOTICE};
use super::{Event, START, World};
use crate::host::Todo;
use crate::plan::{Death, Victim};
use crate::server::{About, Act};

/// Something goes wrong.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// A server ends.
    Killed,
    /// A server stops for a while.
    Stopped,
    /// The database is away, or slow.
    Away,
    /// Two cannot speak.
    Cut,
    /// A server's clock jumps.
    Jumped,
    /// A host's machine crashes.
    HostCrashed(u32),
    /// An owner comes or goes.
    OwnerMoved(u32),
    /// No more of it.
    End,
}

/// A server stops for so long: less than a lease, or much more.
const STOP: (Span, Span) = (Span::secs(1), Span::secs(90));
/// A database is away for so long: nobody notices, or a leader gives up.
const AWAY: (Span, Span) = (Span::millis(50), Span::secs(100));
/// A disk stands still for so long.
const STALL: (Span, Span) = (Span::millis(500), Span::secs(20));
/// A cut lasts so long.
const CUT: (Span, Span) = (Span::millis(500), Span::secs(60));
/// A clock is wrong by so much.
const JUMP: (Span, Span) = (Span::millis(10), Span::secs(10_800));

impl World {
    pub(super) fn plan_faults(&mut self) {
        let plan = self.plan.clone();
        self.every(plan.server_kill_every, Fault::Killed);
        self.every(plan.server_stop_every, Fault::Stopped);
        if plan.servers > 1 {
            self.every(plan.database_away_every, Fault::Away);
        }
        self.every(plan.cut_every, Fault::Cut);
        self.every(plan.clock_jump_every, Fault::Jumped);
        for n in 0..plan.hosts {
            self.every(plan.host_crash_every, Fault::HostCrashed(n));
            self.every(plan.owner_every, Fault::OwnerMoved(n));
        }
        let end = START + plan.faults_until;
        self.at(end, Event::Fault(Fault::End));
        for n in 0..plan.hosts {
            // All owners leave in the end, so that the work can be done.
            self.at(end, Event::Host(n, Todo::OwnerLeaves));
        }
        self.at(end, Event::Looked);
    }

    /// Exponential gaps: faults have no memory.
    fn every(&mut self, mean: Span, fault: Fault) {
        if mean == Span::ZERO {
            return;
        }
        let mut at = START;
        loop {
            let gap = -(1.0 - self.random.unit()).ln() * mean.0 as f64;
            at += Span(gap as u64 + 1);
            if at >= START + self.plan.faults_until {
                return;
            }
            self.at(at, Event::Fault(fault));
        }
    }

    /// As often short as long.
    fn for_about(&mut self, (from, to): (Span, Span)) -> Span {
        let factor = (to.0 as f64 / from.0 as f64).powf(self.random.unit());
        Span((from.0 as f64 * factor) as u64)
    }

    /// Until a time for about so long, but not beyond the faults.
    fn until(&mut self, bounds: (Span, Span)) -> Time {
        (self.now + self.for_about(bounds)).min(START + self.plan.faults_until)
    }

    fn any_server(&mut self) -> u32 {
        self.random.below(self.plan.servers.into()) as u32
    }

    /// The leader half of the time: most can go wrong there.
    fn victim(&mut self) -> u32 {
        if self.random.one_in(2) { self.database.leader } else { self.any_server() }
    }

    pub(super) fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Killed => {
                let server = self.victim();
                self.kill_somehow(server);
            }
            Fault::Stopped => {
                let server = self.victim();
                self.stop(server);
            }
            Fault::Away => self.lose_database(),
            Fault::Cut => self.cut_somewhere(),
            Fault::Jumped => {
                let server = self.victim();
                self.jump(server);
            }
            Fault::HostCrashed(n) => self.crash_host(n),
            Fault::OwnerMoved(n) => {
                let todos = self.hosts[n as usize].owner_moves(self.now);
                self.host_todos(n, todos);
            }
            // Clocks are set right. What was cut or stopped goes on by now.
            Fault::End => self.servers.iter_mut().for_each(|server| server.ahead = 0),
        }
    }

    pub(super) fn crash_host(&mut self, n: u32) {
        self.counts.crashes += 1;
        self.note("crash", n.into());
        self.lose_host(n);
        let todos = self.hosts[n as usize].crash();
        self.host_todos(n, todos);
    }

    /// A leader has kept something, or let a message go. Says whether it dies behind that.
    pub(super) fn leader_did(&mut self, n: u32) -> bool {
        self.counts.effects += 1;
        let death = Death { victim: Victim::Leader, behind: self.counts.effects };
        let dies = self.plan.death == Some(death);
        if dies {
            self.kill(n);
        }
        dies
    }

    /// At any moment, or between what a batch keeps and any of what it lets go; or in good order.
    fn kill_somehow(&mut self, n: u32) {
        let draw = self.random.below(5);
        let server = &mut self.servers[n as usize];
        let stands_still = server.held.is_some();
        if let Some(leader) = server.leader()
            && leader.machine.is_some()
            && !stands_still
        {
            match draw {
                0 | 1 => {
                    leader.dies_at_commit = true;
                    return;
                }
                2 => return self.end_in_order(n),
                _ => {}
            }
        }
        self.kill(n);
    }

    pub(super) fn kill(&mut self, n: u32) {
        if !self.servers[n as usize].is_up() {
            return;
        }
        self.counts.kills += 1;
        self.note("kill", n.into());
        self.forget_requests(n);
        // What was not committed is lost, and nobody has heard of it.
        self.abandon_lines(n);
        self.end_process(n);
    }

    /// A leader closes its sockets, keeps what was decided, and gives the lease up.
    fn end_in_order(&mut self, n: u32) {
        self.counts.ends += 1;
        self.note("end", n.into());
        self.close_lines(n);
        if let Some(leader) = self.servers[n as usize].leader() {
            leader.is_ending = true;
            leader.machine = None;
            leader.unfinished = false;
            leader.timer_at = None;
            leader.inbox.clear();
            leader.requests.clear();
        }
        self.release_when_idle(n);
    }

    /// A server's process stands still, as by SIGSTOP, and knows nothing of it later.
    fn stop(&mut self, n: u32) {
        let until = self.until(STOP);
        let server = &mut self.servers[n as usize];
        if !server.is_up() || server.held.is_some() {
            return;
        }
        server.held = Some(Vec::new());
        server.stops += 1;
        let stop = server.stops;
        self.counts.stops += 1;
        self.note("stop", n.into());
        self.stop_in_transaction(n, until);
        self.at(self.now + NOTICE, Event::Silent(n, stop));
        self.at(until, Event::Woken(n, stop));
    }

    /// A server goes on where it was: with all that has happened to it, in some order.
    pub(super) fn woken(&mut self, n: u32, stop: u64) {
        let server = &mut self.servers[n as usize];
        if server.stops != stop {
            return;
        }
        let Some(mut held) = server.held.take() else { return };
        self.note("woken", n.into());
        // Frames are read first, or timers fire first, or the database's answer is.
        let first = self.random.below(3);
        held.sort_by_key(|(_, act)| match act {
            Act::Renew | Act::Timer(_) | Act::Look(_) => first != 0,
            Act::Answered(About::Writing, _) => first != 1,
            _ => true,
        });
        for (life, act) in held {
            self.act(n, life, act);
        }
    }

    /// The database is away for all, or for one server, or its disk stands still.
    fn lose_database(&mut self) {
        self.counts.aways += 1;
        let draw = self.random.below(3);
        let until = self.until(if draw == 2 { STALL } else { AWAY });
        self.note("away", draw);
        match draw {
            0 => self.database.away_until = until,
            1 => {
                let server = self.victim();
                self.network.cut(End::Server(server), End::Database, until);
            }
            _ => self.database.free_at = self.database.free_at.max(until),
        }
    }

    /// A server cannot speak with another one, with one host, or with many.
    fn cut_somewhere(&mut self) {
        self.counts.cuts += 1;
        let until = self.until(CUT);
        let server = self.victim();
        self.note("cut", server.into());
        match self.random.below(3) {
            0 if self.plan.servers > 1 => {
                let other =
                    (server + 1 + self.random.below(u64::from(self.plan.servers) - 1) as u32)
                        % self.plan.servers;
                self.cut(End::Server(server), End::Server(other), until);
            }
            1 => {
                for n in 0..self.plan.hosts {
                    if self.random.one_in(3) {
                        self.cut(End::Host(n), End::Server(server), until);
                    }
                }
            }
            _ => {
                let host = self.random.below(self.plan.hosts.into()) as u32;
                self.cut(End::Host(host), End::Server(server), until);
            }
        }
    }

    /// A server's wall clock is set, wrongly or right.
    fn jump(&mut self, n: u32) {
        self.counts.jumps += 1;
        let by = self.for_about(JUMP).0 as i64;
        let server = &mut self.servers[n as usize];
        server.ahead = match self.random.below(3) {
            0 => by,
            1 => -by,
            _ => 0,
        };
        self.ahead_max = self.ahead_max.max(Span(server.ahead.max(0).unsigned_abs()));
        let ahead = server.ahead.unsigned_abs();
        self.note("jump", ahead);
    }
}
