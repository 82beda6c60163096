//! How many of all hosts a question reaches, how soon, and what that costs: the machine as it
//! ships, with loss, hosts that cannot be called, and some that drop what they have gathered.

use isos_base::time::Span;
use isos_gossip::Input;
use isos_gossip::query::{Fact, Order, Wonder, Wondered};

use super::table::{Drawn, Row, Table, column};
use super::world::{Setting, World};

/// Cycles before the first question: views are full and mixed then.
const BEFORE: u64 = 12;
/// Questions that are asked one after the other, by different hosts.
const ASKED: u64 = 3;
/// Cycles until the next.
const BETWEEN: u64 = 7;
/// Rows that are wanted.
const LIMIT: u16 = 50;

/// What questions have led to, on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asked {
    /// The share of all hosts that was asked and told of it.
    pub asked: f64,
    /// The same of the question that was worst.
    pub worst: f64,
    /// The share of the hosts with the most cores that is among the rows.
    pub best: f64,
    /// Hosts that fell silent.
    pub lost: f64,
    /// How long it took, in cycles.
    pub cycles: f64,
    /// What a host has sent and received for one question beside all else.
    pub bytes: f64,
}

pub(super) fn table() -> Table {
    Table {
        title: "Questions: % of all hosts that are asked and counted, and what it takes",
        of: "hosts, and what happens",
        columns: vec![
            column("asked", 2),
            column("worst", 2),
            column("rows", 1),
            column("lost", 1),
            column("cycles", 2),
            column("bytes", 0),
        ],
        drawn: Drawn::Columns(0..2),
        legend: "asked: by the average of three questions; worst: by the worst of them. rows: % of \
                 the 50 best that could be\ntold of that are. lost: hosts that took a question \
                 on and fell silent. bytes: that a host sends and receives for\none question, \
                 handshakes and 80 bytes around each message included. Who drops answers hides \
                 all behind it.\n",
    }
}

pub(super) fn study(seed: u64, hosts: &[u32], mut tell: impl FnMut(Row)) {
    for &hosts in hosts {
        tell(line(&format!("{hosts}, quiet"), &Setting::quiet(seed, hosts)));
    }
    let quiet = Setting::quiet(seed, hosts.first().copied().unwrap_or(1_000));
    let hosts = quiet.hosts;
    for public in [0.5, 0.2] {
        let name = format!("{hosts}, {:.0} % public", public * 100.0);
        tell(line(&name, &Setting { public, ..quiet }));
    }
    for loss in [0.01, 0.05, 0.1] {
        let name = format!("{hosts}, {:.0} % lost", loss * 100.0);
        tell(line(&name, &Setting { loss, ..quiet }));
    }
    for droppers in [0.01, 0.05, 0.1, 0.3] {
        let name = format!("{hosts}, {:.0} % drop answers", droppers * 100.0);
        tell(line(&name, &Setting { droppers, ..quiet }));
    }
}

fn line(name: &str, setting: &Setting) -> Row {
    let it = ask(setting);
    let percent = |share: f64| share * 100.0;
    let values =
        vec![percent(it.asked), percent(it.worst), percent(it.best), it.lost, it.cycles, it.bytes];
    Row { name: name.into(), values }
}

/// Asks some questions in one world.
#[must_use]
pub fn ask(setting: &Setting) -> Asked {
    let mut world = World::new(*setting);
    let cycle = world.tuning.cycle;
    world.run(world.now + Span(cycle.0 * BEFORE));
    let before = moved(&world);
    world.run(world.now + Span(cycle.0 * BETWEEN));
    let quiet = moved(&world) - before;
    let begin = moved(&world);
    for number in 0..ASKED {
        let at = world.random.below(world.living.len() as u64) as usize;
        let order = Order { fact: Fact::Cores, least: false };
        let (wonder, text) = (Wonder(number), "host.cpus >= 4".to_owned());
        let wondered = Wondered { wonder, text, order, limit: LIMIT, budget: None, wait: None };
        world.input(world.living[at], Input::Wondered(Box::new(wondered)));
        world.run(world.now + Span(cycle.0 * BETWEEN));
    }
    let asked = ASKED as f64;
    let hosts = f64::from(setting.hosts);
    let bytes = (moved(&world) - begin) / asked - quiet;
    let most = world.living().map(|host| host.told[0]).fold(0.0, f64::max);
    let there = world.living().filter(|host| host.told[0] == most).count().min(LIMIT.into());
    let of = |value: &dyn Fn(&isos_gossip::query::Found) -> f64| -> f64 {
        world.found.iter().map(value).sum::<f64>() / asked
    };
    let shares = world.found.iter().map(|it| f64::from(it.tally.asked) / hosts);
    let is_whole = world.found.len() as u64 == ASKED;
    Asked {
        asked: of(&|it| f64::from(it.tally.asked) / hosts),
        worst: if is_whole { shares.fold(f64::INFINITY, f64::min) } else { 0.0 },
        best: of(&|it| {
            let rows = it.tally.rows.iter().filter(|row| f64::from(row.facts[0]) == most);
            rows.count() as f64 / there.max(1) as f64
        }),
        lost: of(&|it| f64::from(it.tally.lost)),
        cycles: of(&|it| it.waited.0 as f64 / cycle.0 as f64),
        bytes: bytes / hosts,
    }
}

/// What all hosts have sent and received.
fn moved(world: &World) -> f64 {
    world.living().map(|host| host.bytes as f64).sum()
}
