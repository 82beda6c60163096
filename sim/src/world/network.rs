//! Connections between hosts and servers: frames arrive in order or not at all, and whoever is cut
//! off learns of it later.

use std::collections::BTreeMap;

use isos_base::key::PublicKey;
use isos_base::ticket::ServerAddr;
use isos_base::wire::{Refusal, ToComplex, ToHost};
use isos_base::{Span, Time};
use isos_kernel::complex::{Input, SessionId};
use isos_kernel::host;

use super::{Event, World};
use crate::checks::Reported;
use crate::host::{Todo, id};
use crate::server::{Act, Part};

/// Who can be cut off from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Host(u32),
    Server(u32),
    Database,
}

/// All connections.
#[derive(Default)]
pub(super) struct Network {
    pub(super) lines: BTreeMap<SessionId, Line>,
    /// The servers' number of a host's session, by host and its life.
    ids: BTreeMap<(u32, u64, u64), SessionId>,
    next_session: u64,
    /// Until when two cannot speak; the lesser first.
    cuts: BTreeMap<(End, End), Time>,
}

/// A connection of a host with a server.
pub(super) struct Line {
    pub(super) server: u32,
    /// In which of its lives.
    life: u64,
    pub(super) host: u32,
    host_life: u64,
    session: host::SessionId,
    greeted: bool,
    pub(super) is_welcome: bool,
    /// Nothing arrives any more; neither side knows it yet.
    broken: bool,
    /// When the last frame arrives, there and here.
    up_at: Time,
    down_at: Time,
    pub(super) reported: Reported,
}

/// A peer that vanished is noticed after this time: `KEEP_ALIVE` and `IDLE_TIMEOUT` together.
pub(super) const NOTICE: Span = Span::secs(10);
/// A server that does not answer is not waited for longer before the next is called, too:
/// `NEXT_PEER_AFTER`.
const NEXT_SERVER_AFTER: Span = Span::millis(750);
/// When no server leads, one soon will: `NO_LEADER_YET` of `complex/src/hosts.rs`.
const NO_LEADER_YET: Span = Span::secs(2);

impl Network {
    pub(super) fn cut(&mut self, a: End, b: End, until: Time) {
        self.cuts.insert((a.min(b), a.max(b)), until);
    }

    pub(super) fn is_cut(&self, a: End, b: End, now: Time) -> bool {
        self.cuts.get(&(a.min(b), a.max(b))).is_some_and(|&until| now < until)
    }

    /// Whether a server cannot reach the database.
    pub(super) fn is_cut_off(&self, server: u32, now: Time) -> bool {
        self.is_cut(End::Server(server), End::Database, now)
    }

    /// The connection of a host's session, if the server knows it yet.
    fn id_of(&self, host: u32, life: u64, session: host::SessionId) -> Option<SessionId> {
        let id = self.ids.get(&(host, life, session.0)).copied();
        id.filter(|id| self.lines.contains_key(id))
    }

    /// The server's end of a connection is gone.
    pub(super) fn remove(&mut self, id: SessionId) -> Option<Line> {
        let line = self.lines.remove(&id)?;
        self.ids.remove(&(line.host, line.host_life, line.session.0));
        Some(line)
    }

    fn of_server(&self, server: u32) -> Vec<SessionId> {
        let theirs = self.lines.iter().filter(|(_, line)| line.server == server);
        theirs.map(|(&id, _)| id).collect()
    }
}

impl World {
    /// Carries out what a host's shell wants.
    pub(super) fn host_todos(&mut self, n: u32, todos: Vec<(Span, Todo)>) {
        for (after, todo) in todos {
            match todo {
                Todo::Connect(session) => self.connect(n, session),
                Todo::Send(session, frame) => self.host_sends(n, session, frame),
                Todo::Disconnect(session) => {
                    let life = self.hosts[n as usize].life();
                    if let Some(id) = self.network.id_of(n, life, session) {
                        let latency = self.hosts[n as usize].latency();
                        let line = &self.network.lines[&id];
                        let at = line.up_at.max(self.now + latency) + Span(1);
                        let gone = Act::SessionGone(id);
                        self.at(at, Event::Server(line.server, line.life, gone));
                    }
                }
                todo => self.at(self.now + after, Event::Host(n, todo)),
            }
        }
        if self.hosts[n as usize].is_dying() {
            self.crash_host(n);
        }
    }

    /// A host calls the servers that it knows, one after the other, until one answers.
    fn connect(&mut self, n: u32, session: host::SessionId) {
        let life = self.hosts[n as usize].life();
        let mut after = Span::ZERO;
        for server in self.hosts[n as usize].servers().to_vec() {
            let is_cut = self.network.is_cut(End::Host(n), End::Server(server), self.now);
            if is_cut || !self.servers[server as usize].answers() {
                after = after + NEXT_SERVER_AFTER;
                continue;
            }
            self.hosts[n as usize].reached(server);
            self.network.next_session += 1;
            let id = SessionId(self.network.next_session);
            let at = self.now + after + self.hosts[n as usize].latency();
            let line = Line {
                server,
                life: self.servers[server as usize].life,
                host: n,
                host_life: life,
                session,
                greeted: false,
                is_welcome: false,
                broken: false,
                up_at: at,
                down_at: at,
                reported: Reported::default(),
            };
            self.network.lines.insert(id, line);
            self.network.ids.insert((n, life, session.0), id);
            return self.at(at, Event::Host(n, Todo::Connected(life, session)));
        }
        let gone = Todo::Gone(life, session, "no server answers".to_owned());
        self.at(self.now + after + NOTICE, Event::Host(n, gone));
    }

    fn host_sends(&mut self, n: u32, session: host::SessionId, frame: ToComplex) {
        let life = self.hosts[n as usize].life();
        let Some(id) = self.network.id_of(n, life, session) else { return };
        if self.breaks(id) {
            return;
        }
        let latency = self.hosts[n as usize].latency();
        let arrives = self.now + latency;
        let Some(line) = self.network.lines.get_mut(&id) else { return };
        line.up_at = line.up_at.max(arrives);
        let (at, server, life) = (line.up_at, line.server, line.life);
        self.at(at, Event::Server(server, life, Act::Frame(id, frame)));
    }

    pub(super) fn server_sends(&mut self, id: SessionId, frame: ToHost) {
        if !self.network.lines.contains_key(&id) || self.breaks(id) {
            return;
        }
        let host = self.network.lines[&id].host;
        let arrives = self.now + self.hosts[host as usize].latency();
        let Some(line) = self.network.lines.get_mut(&id) else { return };
        line.down_at = line.down_at.max(arrives);
        let (at, life, session) = (line.down_at, line.host_life, line.session);
        self.at(at, Event::ToHost(host, life, session, frame));
    }

    /// Whether a connection is broken, or breaks now.
    fn breaks(&mut self, id: SessionId) -> bool {
        if self.faults() && self.random.unit() < self.plan.frame_loss {
            self.break_line(id);
        }
        self.line(id).is_none_or(|line| line.broken)
    }

    /// A connection breaks; each side notices in its own time.
    pub(super) fn break_line(&mut self, id: SessionId) {
        let Some(line) = self.network.lines.get_mut(&id) else { return };
        if std::mem::replace(&mut line.broken, true) {
            return;
        }
        self.counts.breaks += 1;
        let (server, life) = (line.server, line.life);
        self.host_notices(id, NOTICE);
        let notices = self.now + Span(self.random.below(NOTICE.0));
        self.at(notices, Event::Server(server, life, Act::SessionGone(id)));
    }

    /// A host learns within this time that its connection is gone.
    pub(super) fn host_notices(&mut self, id: SessionId, within: Span) {
        let after = Span(self.random.below(within.0));
        let Some(line) = self.line(id) else { return };
        let gone = Todo::Gone(line.host_life, line.session, "timed out".to_owned());
        let (at, host) = (line.down_at.max(self.now + after) + Span(1), line.host);
        self.at(at, Event::Host(host, gone));
    }

    /// A server ends a connection in good order.
    pub(super) fn close_line(&mut self, id: SessionId) {
        let Some(line) = self.network.remove(id) else { return };
        let latency = self.hosts[line.host as usize].latency();
        let notice = if line.broken { NOTICE } else { latency };
        let why = "the complex ended the session".to_owned();
        let at = line.down_at.max(self.now + notice) + Span(1);
        let gone = Todo::Gone(line.host_life, line.session, why);
        self.at(at, Event::Host(line.host, gone));
    }

    /// A server closes its sockets.
    pub(super) fn close_lines(&mut self, server: u32) {
        for id in self.network.of_server(server) {
            self.close_line(id);
        }
    }

    /// A server is gone, and says goodbye to nobody.
    pub(super) fn abandon_lines(&mut self, server: u32) {
        for id in self.network.of_server(server) {
            self.host_notices(id, NOTICE);
            self.network.remove(id);
        }
    }

    /// Hosts have heard nothing of a server for so long that they give it up.
    pub(super) fn silent(&mut self, server: u32, stop: u64) {
        let it = &self.servers[server as usize];
        if it.held.is_none() || it.stops != stop {
            return;
        }
        for id in self.network.of_server(server) {
            self.break_line(id);
        }
    }

    /// A host is gone; servers learn of it later.
    pub(super) fn lose_host(&mut self, n: u32) {
        let theirs = self.network.lines.iter().filter(|(_, line)| line.host == n);
        let lines: Vec<_> = theirs.map(|(&id, line)| (id, line.server, line.life)).collect();
        for (id, server, life) in lines {
            if let Some(line) = self.network.lines.get_mut(&id) {
                line.broken = true;
            }
            self.at(self.now + NOTICE, Event::Server(server, life, Act::SessionGone(id)));
        }
    }

    /// Two cannot speak any more; connections between them break.
    pub(super) fn cut(&mut self, a: End, b: End, until: Time) {
        self.network.cut(a, b, until);
        let is_between = |line: &Line| {
            let ends = (End::Host(line.host), End::Server(line.server));
            ends == (a, b) || ends == (b, a)
        };
        let lines = self.network.lines.iter().filter(|(_, line)| is_between(line));
        for id in lines.map(|(&id, _)| id).collect::<Vec<_>>() {
            self.break_line(id);
        }
    }

    pub(super) fn session_gone(&mut self, n: u32, session: SessionId) {
        if self.network.remove(session).is_some() {
            self.step(n, Input::HostWent { session });
        }
    }

    /// A frame arrives at a server.
    pub(super) fn server_hears(&mut self, n: u32, session: SessionId, frame: ToComplex) {
        let follower = match &self.servers[n as usize].part {
            Part::Follows(follower) => {
                // The leader first, then the others.
                let leader = follower.leader;
                let others = follower.servers.iter().copied().filter(|&it| Some(it) != leader);
                Some(leader.map(|leader| std::iter::once(leader).chain(others).collect()))
            }
            _ => None,
        };
        let Some(line) = self.network.lines.get_mut(&session) else { return };
        if let Some(servers) = follower {
            return self.send_on(session, servers);
        }
        let first = !std::mem::replace(&mut line.greeted, true);
        let host = line.host;
        if let ToComplex::Report(report) = &frame {
            line.reported.heard(report);
        }
        match frame {
            ToComplex::Hello(hello) if first => {
                let admission = Some(Ok(self.accounts[host as usize]));
                let (address, ticket) = (None, vec![self.hosts[host as usize].ticket()]);
                let host = id(host);
                self.step(
                    n,
                    Input::HostCame {
                        host,
                        session,
                        address,
                        hello,
                        admission,
                        ticket,
                        made: None,
                    },
                );
            }
            frame => self.step(n, Input::HostSaid { session, frame }),
        }
    }

    /// A follower tells a host where the leader is, as far as it knows.
    fn send_on(&mut self, session: SessionId, servers: Option<Vec<u32>>) {
        match servers {
            Some(servers) => {
                self.server_sends(session, ToHost::Servers(addresses(&servers)));
                self.server_sends(session, ToHost::Refused(Refusal::Elsewhere));
            }
            None => self.server_sends(session, ToHost::Refused(Refusal::Busy(NO_LEADER_YET))),
        }
        self.close_line(session);
    }

    /// A leader tells its hosts which servers there are.
    pub(super) fn tell_servers(&mut self, n: u32) {
        for session in self.network.of_server(n) {
            if self.line(session).is_some_and(|line| line.is_welcome) {
                self.tell_servers_to(n, session);
            }
        }
    }

    pub(super) fn tell_servers_to(&mut self, n: u32, session: SessionId) {
        let Some(leader) = self.servers[n as usize].leader() else { return };
        if leader.servers.len() > 1 {
            let servers = ToHost::Servers(addresses(&leader.servers));
            self.server_sends(session, servers);
        }
    }
}

/// Where servers are.
fn addresses(servers: &[u32]) -> Vec<ServerAddr> {
    let address = |&n: &u32| {
        let key: PublicKey = crate::host::key(n);
        ServerAddr { key, addresses: Vec::new(), relay: None }
    };
    servers.iter().map(address).collect()
}
