//! A leader at work: the kernel's machine, the batches that it decides, and the writer that keeps
//! them before anything leaves.

use std::rc::Rc;

use isos_base::clock::Clock;
use isos_base::price::Price;
use isos_base::record::{Change, Snapshot};
use isos_base::wire::ToHost;
use isos_base::{Guid, Machine, Span, Time};
use isos_kernel::complex::{BankConfig, Complex, Config, Effect, Input, Pricing, RailTerms};
use isos_kernel::ledger::CREDIT;
use isos_kernel::market::Band;

use super::{Event, World};
use crate::checks::{self, each_row_once};
use crate::database::Ask;
use crate::host::SimHost;
use crate::plan::{Flaw, Plan};
use crate::server::{About, Act, Batch, Group, Part};

/// The longest that inputs wait for others of their batch.
const BATCH: Span = Span::millis(2);
/// In small worlds the machine looks at itself once in so many batches.
const CHECK_ONE_IN: u64 = 16;
/// As in large ones, where that takes long.
const CHECK_RARELY: u64 = 2_048;

/// Held pay matures after this time at the latest: within the life of a world.
const MATURE_AFTER: Span = Span::secs(240);

/// Prices, where hosts ask and jobs bid.
const BAND: Band = Band { floor: Price(10), ceiling: Price(1_000) };

/// Hosts that crash come back sooner than this, or later.
const SLICE_AWAY: Span = Span::secs(20);

/// The settings of all servers. What they assume of hosts is true of these.
pub(super) fn config(plan: &Plan, hosts: &[SimHost]) -> Config {
    let default = Config::default();
    Config {
        held_hosts_max: plan.held_hosts_max,
        bad_share: checks::bad_share(hosts).clamp(default.bad_share, 0.5),
        mature_after: MATURE_AFTER,
        slice_away: SLICE_AWAY,
        pricing: if plan.market { Pricing::Market(BAND) } else { Pricing::Fixed },
        check_secret: Guid::of(&plan.seed.to_le_bytes()),
        bank: BankConfig {
            rails: vec![RailTerms {
                name: "rail".into(),
                currency: CREDIT.into(),
                rate: 1_000_000,
                unit: 1,
            }],
            mint_approvals: 2,
            ..default.bank
        },
        ..default
    }
}

impl World {
    /// A leader has the rows: it takes connections from now on.
    pub(super) fn lead(&mut self, n: u32, rows: Snapshot) {
        let server = &mut self.servers[n as usize];
        let told = server.tell(self.now);
        let mut effects = Vec::new();
        let machine = match server.remembered.take() {
            Some(machine) => machine,
            None => match Complex::restore(self.config.clone(), told, rows, &mut effects) {
                Ok(machine) => Box::new(machine),
                Err(error) => return self.promise(Err(error.to_string())),
            },
        };
        machine.check_invariants();
        if let Some(leader) = server.leader() {
            leader.machine = Some(machine);
        }
        self.hand_over(n, effects);
        self.arm(n);
        self.at_server(self.now, n, Act::Send);
        if self.plan.servers > 1 {
            self.at_server(self.now, n, Act::KnowServers);
        }
    }

    /// Inputs that arrive within a moment of each other are one batch.
    pub(super) fn step(&mut self, n: u32, input: Input) {
        let now = self.now;
        let server = &mut self.servers[n as usize];
        let told = server.tell(now);
        self.database.kept.tell_time(told);
        let Some(leader) = server.leader() else { return };
        let Some(machine) = &mut leader.machine else { return };
        machine.apply(told, input);
        if !std::mem::replace(&mut leader.unfinished, true) {
            let after = Span(self.random.below(BATCH.0));
            self.at_server(now + after, n, Act::Finish);
        }
    }

    /// The timer fires, which is late if the clock was set ahead, and early if it was set back and
    /// goes on at half speed: then it is armed again.
    pub(super) fn timer(&mut self, n: u32, at: Time) {
        let Some(leader) = self.servers[n as usize].leader() else { return };
        if leader.timer_at != Some(at) {
            return;
        }
        leader.timer_at = None;
        leader.unfinished = true;
        self.finish(n);
    }

    /// What follows from the latest inputs.
    pub(super) fn finish(&mut self, n: u32) {
        let now = self.now;
        let is_small = self.plan.hosts <= 100;
        let checks = self.random.one_in(if is_small { CHECK_ONE_IN } else { CHECK_RARELY });
        let server = &mut self.servers[n as usize];
        let told = server.tell(now);
        let Some(leader) = server.leader() else { return };
        let Some(machine) = &mut leader.machine else { return };
        if !std::mem::take(&mut leader.unfinished) {
            return;
        }
        self.database.kept.tell_time(told);
        if machine.deadline().is_some_and(|at| at <= told) {
            machine.apply(told, Input::TimerFired);
        }
        let mut effects = Vec::new();
        machine.finish(&mut effects);
        if checks {
            machine.check_invariants();
        }
        self.hand_over(n, effects);
        self.arm(n);
    }

    /// Sets the machine's timer, if it moved.
    fn arm(&mut self, n: u32) {
        let now = self.now;
        let server = &mut self.servers[n as usize];
        let Some(deadline) = server.machine().and_then(Machine::deadline) else { return };
        let at = server.when(now, deadline);
        if let Some(leader) = server.leader()
            && leader.timer_at.is_none_or(|armed| at < armed)
        {
            leader.timer_at = Some(at);
            self.at_server(at, n, Act::Timer(at));
        }
    }

    /// Sorts a batch's effects into what is kept and what leaves.
    fn hand_over(&mut self, n: u32, effects: Vec<Effect>) {
        let mut batch = Batch::default();
        for effect in effects {
            match effect {
                Effect::Keep(change) => batch.changes.push(change),
                Effect::Say(_) | Effect::JobMoved(_) => {}
                other => batch.outgoing.push(other),
            }
        }
        if self.flaw == Flaw::Order {
            self.let_go(n, std::mem::take(&mut batch.outgoing));
        }
        if batch.changes.is_empty() && batch.outgoing.is_empty() {
            return;
        }
        let Some(leader) = self.servers[n as usize].leader() else { return };
        leader.writer.waiting.push(batch);
        self.write(n);
    }

    /// The writer takes all that waits, if it has nothing in hand.
    fn write(&mut self, n: u32) {
        let now = self.now;
        let Some(leader) = self.servers[n as usize].leader() else { return };
        let writer = &mut leader.writer;
        if writer.group.is_some() || writer.waiting.is_empty() {
            return;
        }
        let mut waiting = writer.waiting.drain(..);
        let Some(mut all) = waiting.next() else { return };
        let epoch = leader.epoch;
        for batch in waiting {
            all.changes.extend(batch.changes);
            all.outgoing.extend(batch.outgoing);
        }
        let outgoing = all.outgoing;
        if all.changes.is_empty() {
            // Everything before is on the disk: there is nothing to wait for.
            return self.let_go(n, outgoing);
        }
        let changes: Rc<[Change]> = match each_row_once(all.changes) {
            Ok(changes) => changes.into(),
            Err(what) => return self.promise(Err(what)),
        };
        let ask = Ask::Commit(epoch, changes.clone());
        writer.group = Some(Group { changes, outgoing, is_release: false });
        writer.asked = now;
        self.ask(n, About::Writing, ask);
    }

    /// The writer asks again: whether the group was kept or not, this is right.
    pub(super) fn write_again(&mut self, n: u32) {
        let now = self.now;
        let Some(leader) = self.servers[n as usize].leader() else { return };
        let epoch = leader.epoch;
        let Some(group) = &leader.writer.group else { return };
        let ask = match &group.changes {
            none if none.is_empty() && group.is_release => Ask::Release(epoch),
            none if none.is_empty() => Ask::Renew(epoch),
            changes => Ask::Commit(epoch, changes.clone()),
        };
        leader.writer.asked = now;
        self.ask(n, About::Writing, ask);
    }

    /// The group is on the disk: what waited for it leaves.
    pub(super) fn kept(&mut self, n: u32) {
        let server = &mut self.servers[n as usize];
        let life = server.life;
        let Some(leader) = server.leader() else { return };
        leader.writer.renewed = leader.writer.asked;
        leader.writer.lost = None;
        let Some(mut group) = leader.writer.group.take() else { return };
        let is_release = leader.is_ending && group.is_release;
        let dies = leader.dies_at_commit && !group.changes.is_empty();
        if is_release {
            self.tell_followers();
            return self.end_process(n);
        }
        if dies {
            let left = self.random.below(group.outgoing.len() as u64 + 1);
            group.outgoing.truncate(left as usize);
        }
        self.let_go(n, group.outgoing);
        if dies {
            return self.kill(n);
        }
        self.write(n);
        self.release_when_idle(n);
        // The core goes on where it waited for room.
        while let Some(leader) = self.servers[n as usize].leader()
            && !leader.is_full()
            && let Some(act) = leader.inbox.pop_front()
        {
            self.act(n, life, act);
        }
    }

    /// A leader that ends gives the lease up when all is kept.
    pub(super) fn release_when_idle(&mut self, n: u32) {
        let now = self.now;
        let Some(leader) = self.servers[n as usize].leader() else { return };
        if leader.is_ending && leader.is_idle() {
            leader.writer.group = Some(Group { is_release: true, ..Group::default() });
            leader.writer.asked = now;
            let epoch = leader.epoch;
            self.ask(n, About::Writing, Ask::Release(epoch));
        }
    }

    /// Messages leave. What they tell of must be kept.
    fn let_go(&mut self, n: u32, outgoing: Vec<Effect>) {
        let Part::Leads(_) = self.servers[n as usize].part else { return };
        for effect in outgoing {
            match effect {
                Effect::Send(session, frame) => {
                    let is_welcome = matches!(frame, ToHost::Welcome { .. });
                    if let Some(line) = self.network.lines.get_mut(&session) {
                        line.is_welcome |= is_welcome;
                        let host = crate::host::id(line.host);
                        let kept = line.reported.told(&self.database.tables, host, &frame);
                        self.counts.told += *kept.as_ref().unwrap_or(&0);
                        self.promise(kept.map(drop));
                    }
                    self.server_sends(session, frame);
                    if is_welcome {
                        self.tell_servers_to(n, session);
                    }
                }
                Effect::Close(session) => self.close_line(session),
                Effect::Answer(request, answer) => {
                    let Some(leader) = self.servers[n as usize].leader() else { return };
                    let Some(errand) = leader.requests.remove(&request) else { continue };
                    let about = self.made_before(errand);
                    let kept = checks::answered(&self.database.tables, about, &answer);
                    self.promise(kept);
                    self.reply(errand, answer);
                }
                Effect::Keep(_) | Effect::JobMoved(_) | Effect::Say(_) => {}
            }
            if self.leader_did(n) {
                return;
            }
        }
    }

    /// Something before the world begins: kept at once.
    pub(super) fn keep_now(&mut self, changes: Vec<Change>) -> Result<(), String> {
        let ask = Ask::Commit(self.database.epoch, each_row_once(changes)?.into());
        self.database.answer(self.now, 0, ask).map(drop)
    }

    /// A process ends or is killed, and starts again.
    pub(super) fn end_process(&mut self, n: u32) {
        let server = &mut self.servers[n as usize];
        server.life += 1;
        server.part = Part::Down;
        server.held = None;
        server.remembered = None;
        server.clock = Clock::new();
        let after = if self.random.one_in(2) { Span::secs(1) } else { Span::secs(15) };
        let life = server.life;
        let at = self.now + Span(self.random.below(after.0));
        self.at(at, Event::Started(n, life));
    }

    /// A process starts.
    pub(super) fn started(&mut self, n: u32, life: u64) {
        let server = &mut self.servers[n as usize];
        if server.life == life {
            server.part = Part::Stands;
            self.at_server(self.now, n, Act::Stand);
        }
    }
}
