//! Who is known by how many, and how soon the dead are not known any more.

use super::flat::Flat;
use super::table::{Drawn, Row, Table, column};

/// Until views are as random as they get.
const SETTLE: u32 = 50;
/// Cycles after a crash at which dead links are counted.
const AFTER: [u32; 5] = [0, 5, 10, 15, 25];

pub(super) fn table() -> Table {
    let mut columns =
        vec![column("in mean", 1), column("sd", 2), column("least", 0), column("most", 0)];
    columns.extend(AFTER.map(|cycles| column(format!("dead +{cycles}"), 2)));
    columns.push(column("joined", 2));
    Table {
        title: "Views: by how many a host is known, and % of links to the dead after a crash",
        of: "hosts, and what happens",
        columns,
        drawn: Drawn::Rows(4..4 + AFTER.len()),
        legend: "in: hosts that know a host, before the crash. dead +n: % of links of the living that \
                 lead to the dead,\nn cycles after it. joined: % of the living that are in one group. \
                 Newscast with 20 entries, as measured for\nthe design: mean 20, sd 21.1, most 242 to \
                 364; dead links after half have died: 47, 5.1 (+5), 0.37 (+10), 0.06 (+15).\n",
    }
}

pub(super) fn study(seed: u64, hosts: &[u32], mut tell: impl FnMut(Row)) {
    for &hosts in hosts {
        tell(trial(seed, &format!("{hosts}"), hosts, 1.0, 0.0));
    }
    let hosts = hosts.first().copied().unwrap_or(10_000).min(100_000);
    for crash in [0.3, 0.5, 0.7, 0.95] {
        let name = format!("{hosts}, {:.0} % die at once", crash * 100.0);
        tell(trial(seed, &name, hosts, 1.0, crash));
    }
    for crash in [0.0, 0.5, 0.8] {
        let name = format!("{hosts}, 20 % public, {:.0} % die", crash * 100.0);
        tell(trial(seed, &name, hosts, 0.2, crash));
    }
}

fn trial(seed: u64, name: &str, hosts: u32, public: f64, crash: f64) -> Row {
    let mut flat = Flat::new(seed, hosts, public);
    for _ in 0..SETTLE {
        flat.cycle(|_, _, _| {});
    }
    let known = flat.in_degrees();
    let mean = f64::from(known.iter().sum::<u32>()) / known.len() as f64;
    let squares = known.iter().map(|it| (f64::from(*it) - mean).powi(2)).sum::<f64>();
    let mut values = vec![
        mean,
        (squares / known.len() as f64).sqrt(),
        f64::from(known.iter().copied().min().unwrap_or(0)),
        f64::from(known.iter().copied().max().unwrap_or(0)),
    ];
    if crash == 0.0 {
        values.extend([f64::NAN; AFTER.len()]);
    } else {
        flat.crash(crash);
        for cycle in 0..=AFTER[AFTER.len() - 1] {
            if cycle > 0 {
                flat.cycle(|_, _, _| {});
            }
            if AFTER.contains(&cycle) {
                values.push(flat.dead_links() * 100.0);
            }
        }
    }
    values.push(flat.connected() * 100.0);
    Row { name: name.into(), values }
}
