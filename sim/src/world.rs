//! The event loop: a queue of things to happen to servers with their database, and to many hosts.
//!
//! * `setup`: accounts, and what clients ask for
//! * `faults`: what goes wrong, and when
//! * `standing`: which part a server has, and what the database says of it
//! * `leading`: the machine of a leader, and its writer
//! * `network`: connections between hosts and servers
//! * `edge`: money that comes and goes, tickets that are taken back
//! * `errands`: clients who ask until they are answered
//! * `restless`: what is not done yet, and why
//! * `every`: the same world with a death behind every effect

mod edge;
mod errands;
mod every;
mod faults;
mod leading;
mod network;
mod queue;
mod restless;
pub(crate) mod setup;
mod standing;

use std::collections::BTreeMap;

use isos_base::random::Random;
use isos_base::wire::ToHost;
use isos_base::{AccountId, Guid, LeaseId, Span, Time};
use isos_kernel::complex::{Config, SessionId};
use isos_kernel::host;

use self::edge::Rail;
pub(crate) use self::errands::Made;
use self::errands::{Errand, Replied};
pub use self::every::{Swept, every_effect};
use self::faults::Fault;
use self::network::{Line, Network};
use self::queue::Queue;
use self::standing::Request;
use crate::checks::{self, Failure, Wrong};
use crate::database::Database;
use crate::host::{Cheat, SimHost, TASK_MEAN, Todo};
use crate::plan::{Death, Flaw, Plan, Victim};
use crate::report::{Counts, Report};
use crate::server::{Act, Server};

#[cfg(test)]
mod tests;

/// Something that will happen.
enum Event {
    /// A host's turn: its shell has something to do.
    Host(u32, Todo),
    /// A frame reaches a host, in this of its lives.
    ToHost(u32, u64, host::SessionId, ToHost),
    /// Something happens to a server, in this of its lives.
    Server(u32, u64, Act),
    /// A request of this number reaches the database.
    Requested(u64),
    /// It is time for a client to ask, for the so-and-so-many-th time.
    Errand(usize, u32),
    /// A client hears an answer.
    Replied(usize, Replied),
    /// Something goes wrong.
    Fault(Fault),
    /// Hosts have not heard of a server for so long that their sessions end, if it still stops.
    Silent(u32, u64),
    /// A server that stopped goes on.
    Woken(u32, u64),
    /// A server's process starts, if that is what it waits for.
    Started(u32, u64),
    /// A host gets a new ticket.
    NewTicket(u32),
    /// Time to see whether all is done.
    Looked,
}

struct World {
    plan: Plan,
    flaw: Flaw,
    /// The settings of all servers.
    config: Config,
    now: Time,
    random: Random,
    queue: Queue<Event>,
    trace: blake3::Hasher,
    counts: Counts,
    /// The first broken promise.
    broken: Option<String>,
    /// All is done, and nothing that happens changes it any more.
    at_rest: bool,
    database: Database,
    /// What servers asked of it and it has not heard yet.
    requests: BTreeMap<u64, Request>,
    next_request: u64,
    servers: Vec<Server>,
    /// No server's clock was ahead by more.
    ahead_max: Span,
    /// All leases before it are settled.
    unsettled: LeaseId,
    hosts: Vec<SimHost>,
    network: Network,
    accounts: Vec<AccountId>,
    errands: Vec<Errand>,
    next_errand: u64,
    rail: Rail,
}

const START: Time = Time(1_000_000_000_000);
/// The world must come to rest within this time after the faults end, and that of all its work:
/// twice the longest sleep of a host. Of thousands of small worlds the slowest needed a fifth.
const REST: Span = Span::secs(1_800);
/// Between two looks whether it has.
const LOOK: Span = Span::secs(5);

/// Runs a world to its end and checks it.
///
/// # Errors
/// The first broken promise.
pub fn run(plan: &Plan) -> Result<Report, Failure> {
    run_with(plan, Flaw::None)
}

/// Runs a world in which something is wrong: a [`Failure`] is to be found in one of few.
///
/// # Errors
/// The first broken promise.
pub fn run_with(plan: &Plan, flaw: Flaw) -> Result<Report, Failure> {
    lived(plan, flaw).map(|world| world.report())
}

/// A world at its end, which kept its promises.
fn lived(plan: &Plan, flaw: Flaw) -> Result<World, Failure> {
    let mut world = World::new(plan.clone(), flaw);
    let ran = world.begin().and_then(|()| world.live()).and_then(|()| world.check());
    ran.map_err(|what| Failure { seed: plan.seed, what })?;
    Ok(world)
}

impl World {
    fn new(plan: Plan, flaw: Flaw) -> Self {
        let mut random = Random::new(plan.seed);
        let mut hosts: Vec<SimHost> = (0..plan.hosts)
            .map(|n| {
                let lies = random.unit() < plan.liars;
                let turns = if random.one_in(2) { random.below(plan.lies_after_max) } else { 0 };
                let cheat = Cheat { after: turns, rate: plan.lie_rate, knows: None };
                SimHost::new(n, lies.then_some(cheat), plan.servers, random.next_u64())
            })
            .collect();
        if let Some(Death { victim: Victim::Host(n), behind }) = plan.death
            && let Some(host) = hosts.get_mut(n as usize)
        {
            host.dies_behind(behind);
        }
        if plan.market {
            hosts.iter_mut().for_each(SimHost::ask);
        }
        let config = leading::config(&plan, &hosts);
        if flaw == Flaw::Secret {
            hosts.iter_mut().for_each(|host| host.knows(&config));
        }
        Self {
            config,
            database: Database::new(plan.servers, flaw, plan.market),
            requests: BTreeMap::new(),
            next_request: 0,
            ahead_max: Span::ZERO,
            unsettled: LeaseId(0),
            servers: (0..plan.servers).map(|_| Server::new()).collect(),
            hosts,
            network: Network::default(),
            accounts: Vec::new(),
            errands: Vec::new(),
            next_errand: 0,
            rail: Rail::default(),
            counts: Counts::default(),
            broken: None,
            at_rest: false,
            now: START,
            queue: Queue::new(),
            trace: blake3::Hasher::new(),
            random,
            flaw,
            plan,
        }
    }

    fn at(&mut self, at: Time, event: Event) {
        self.queue.plan(at.max(self.now), event);
    }

    /// Something will happen to a server, unless its part has changed by then.
    fn at_server(&mut self, at: Time, server: u32, act: Act) {
        let life = self.servers[server as usize].life;
        self.at(at, Event::Server(server, life, act));
    }

    /// Notes a broken promise: the world ends.
    fn promise(&mut self, kept: Result<(), String>) {
        if let Err(what) = kept {
            self.broken.get_or_insert(what);
        }
    }

    /// Whether things go wrong yet.
    fn faults(&self) -> bool {
        self.now < START + self.plan.faults_until
    }

    /// The time of all work on all hosts, thrice because of quorums and twice because of luck.
    fn work(&self) -> Span {
        let speed: f64 = self.hosts.iter().map(SimHost::speed).sum();
        let tasks = f64::from(self.plan.jobs) * f64::from(self.plan.tasks);
        Span((6.0 * tasks * TASK_MEAN.0 as f64 / speed) as u64)
    }

    fn live(&mut self) -> Result<(), String> {
        let rest = self.work() + REST;
        while let Some((at, event)) = self.queue.next() {
            self.now = at;
            self.counts.events += 1;
            self.trace.update(&self.now.0.to_le_bytes());
            self.happen(event);
            if let Some(what) = self.broken.take() {
                let at = self.now.since(START).as_secs_f64();
                return Err(format!("{what} (after {at:.3} s)"));
            }
            if self.at_rest {
                return Ok(());
            }
            // What a clock that was ahead has put off is due when the others show that time.
            if self.now > START + self.plan.faults_until + rest + self.ahead_max {
                let why = self.restless().unwrap_or_default();
                let explained = self.explained().unwrap_or_default();
                let rest = rest.as_secs_f64();
                return Err(format!("{why}, {rest:.0} s after the last fault{explained}"));
            }
        }
        Err("nothing happens any more".into())
    }

    fn note(&mut self, what: &str, n: u64) {
        self.trace.update(what.as_bytes());
        self.trace.update(&n.to_le_bytes());
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Host(n, todo) => {
                self.note("host", n.into());
                let todos = self.hosts[n as usize].happen(self.now, todo);
                self.host_todos(n, todos);
            }
            Event::ToHost(n, life, session, frame) => {
                self.note("to host", n.into());
                let host = &mut self.hosts[n as usize];
                if host.life() == life {
                    let todos = host.hears(self.now, session, frame);
                    self.host_todos(n, todos);
                }
            }
            Event::Server(server, life, act) => {
                self.note("server", server.into());
                self.act(server, life, act);
            }
            Event::Requested(number) => {
                self.note("database", number);
                self.requested(number);
            }
            Event::Errand(n, tries) => self.ask_for(n, tries),
            Event::Replied(n, replied) => {
                self.note("replied", n as u64);
                self.replied(n, replied);
            }
            Event::Fault(fault) => self.strike(fault),
            Event::Silent(server, stop) => self.silent(server, stop),
            Event::Woken(server, stop) => self.woken(server, stop),
            Event::Started(server, life) => self.started(server, life),
            Event::NewTicket(n) => {
                self.hosts[n as usize].new_ticket();
                self.crash_host(n);
            }
            Event::Looked => {
                self.at_rest = !self.faults() && self.restless().is_none();
                self.at(self.now + LOOK, Event::Looked);
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        let machine = self.servers[self.database.leader as usize].machine();
        let machine = machine.ok_or("no server leads")?;
        self.jobs_are_as_asked()?;
        self.edge_is_as_asked()?;
        let (tables, asked) = (&self.database.tables, self.asked_for());
        checks::check(&self.plan, &self.config, tables, machine, &asked, &self.hosts)?;
        self.nothing_was_vain()
    }

    /// A world in which nothing was compared keeps every promise, and says nothing.
    fn nothing_was_vain(&self) -> Result<(), String> {
        let happened = [
            ("nothing was paid", self.database.tables.bills.len()),
            ("nothing was accepted", self.database.tables.results.len()),
            ("no acknowledgement was compared with the rows", self.counts.told as usize),
        ];
        let vain = happened.into_iter().find(|&(_, times)| times == 0 && self.plan.jobs > 0);
        vain.map_or(Ok(()), |(what, _)| Err(what.to_owned()))
    }

    fn report(&self) -> Report {
        let tables = &self.database.tables;
        let mut trace = self.trace.clone();
        for (seq, transfer) in &tables.transfers {
            trace.update(&seq.to_le_bytes());
            trace.update(&transfer.hash.0);
        }
        let wrong = Wrong::of(&self.plan, tables, &self.asked_for(), &self.hosts);
        let pay = self.database.kept.pay();
        let sum = |of: fn(&SimHost) -> u64| self.hosts.iter().map(of).sum();
        Report {
            seed: self.plan.seed,
            servers: self.plan.servers,
            trace: Guid(*trace.finalize().as_bytes()),
            virtual_time: self.now.since(START),
            tasks: u64::from(self.plan.jobs) * u64::from(self.plan.tasks),
            wrong: wrong.quorum,
            wrong_bound: wrong.quorum_max,
            credited_wrong: wrong.credible,
            credited_bound: wrong.credible_max,
            transfers: tables.transfers.len() as u64,
            epochs: self.database.epoch,
            counts: Counts {
                parts: sum(SimHost::parts),
                lies: sum(SimHost::told),
                redone: tables.jobs.values().map(|job| job.redone.len() as u64).sum(),
                held: pay.held,
                matured: pay.matured,
                forfeited: pay.forfeited,
                ..self.counts
            },
            barred: tables.hosts.values().filter(|host| host.barred.is_some()).count() as u64,
            liars: self.hosts.iter().filter(|host| host.lies()).count() as u64,
        }
    }

    fn line(&self, session: SessionId) -> Option<&Line> {
        self.network.lines.get(&session)
    }
}
