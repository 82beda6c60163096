//! How well coordinates tell round trips, by cycle.

use isos_base::descriptor::Coordinate;
use isos_base::random::Random;
use isos_gossip::vivaldi::Point;

use super::flat::Flat;
use super::table::{Drawn, Row, Table, column};
use crate::network::Spot;

/// Cycles at which it is looked.
const LOOKED: [u32; 6] = [5, 10, 20, 50, 100, 200];
/// What a message takes on average, jitter included, as a part of the bare way.
const TYPICAL: f64 = 1.1;
/// Pairs that are looked at.
const PAIRS: u32 = 20_000;

pub(super) fn table() -> Table {
    let mut columns: Vec<_> = LOOKED.map(|cycle| column(format!("c{cycle}"), 3)).to_vec();
    columns.extend([column("p90", 3), column("published", 2)]);
    Table {
        title: "Distances: median relative error of round trips told by coordinates, by cycle",
        of: "hosts",
        columns,
        drawn: Drawn::Rows(0..LOOKED.len()),
        legend: "p90: the error that nine of ten pairs are below in the end. published: the median of \
                 Vivaldi with heights\nover measured Internet paths (Dabek and others 2004: about 11 \
                 %), as recalled; our network is a square with\naccess lines and jitter of up to a \
                 fifth, so it is easier to embed.\n",
    }
}

pub(super) fn study(seed: u64, hosts: &[u32], mut tell: impl FnMut(Row)) {
    for &hosts in hosts {
        tell(trial(seed, hosts));
    }
}

fn trial(seed: u64, hosts: u32) -> Row {
    let mut random = Random::new(seed ^ 0xd157);
    let spots: Vec<Spot> = (0..hosts).map(|_| Spot::anywhere(&mut random)).collect();
    let mut points = vec![Point::default(); hosts as usize];
    let mut flat = Flat::new(seed, hosts, 1.0);
    let mut values = Vec::new();
    let mut errors = Vec::new();
    for cycle in 1..=LOOKED[LOOKED.len() - 1] {
        flat.cycle(|_, a, b| {
            let (here, there) = (&spots[a as usize], &spots[b as usize]);
            let ways = here.way(there, &mut random) + there.way(here, &mut random);
            // As it travels.
            let other = Point::from(Coordinate::from(points[b as usize]));
            points[a as usize].update(&other, ways.as_secs_f64() * 1e3, &mut random);
        });
        if LOOKED.contains(&cycle) {
            errors = look(&spots, &points, seed);
            values.push(errors[errors.len() / 2]);
        }
    }
    values.push(errors[errors.len() * 9 / 10]);
    values.push(0.11);
    Row { name: format!("{hosts}"), values }
}

/// Relative errors of random pairs, least first.
fn look(spots: &[Spot], points: &[Point], seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed ^ 0x100c);
    let mut errors: Vec<f64> = (0..PAIRS)
        .filter_map(|_| {
            let a = random.below(spots.len() as u64) as usize;
            let b = random.below(spots.len() as u64) as usize;
            let real = TYPICAL * spots[a].round_trip(&spots[b]).as_secs_f64() * 1e3;
            (a != b).then(|| (points[a].distance(&points[b]) / real - 1.0).abs())
        })
        .collect();
    errors.sort_by(f64::total_cmp);
    errors
}
