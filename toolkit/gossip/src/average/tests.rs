//! Averages by two, in small.

use isos_base::codec::{decode, encode};
use isos_base::random::Random;
use proptest::prelude::*;

use super::*;

fn told(n: usize) -> Told {
    [(n % 8 + 1) as f64, 1e9 * n as f64, 1e10, 0.5, (n % 2) as f64, 60.0 * n as f64, 0.25]
}

fn world(hosts: usize) -> Vec<Sums> {
    let name = |n: usize| (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..hosts).map(|n| Sums::begin(name(n), &told(n))).collect()
}

fn cycle(world: &mut [Sums], random: &mut Random) {
    for n in 0..world.len() {
        let other = random.below(world.len() as u64) as usize;
        if other != n {
            let both = world[n].average(&world[other]);
            (world[n], world[other]) = (both.clone(), both);
        }
    }
}

#[test]
fn after_an_epoch_everybody_knows_everything() {
    let (mut all, mut random) = (world(400), Random::new(1));
    for _ in 0..30 {
        cycle(&mut all, &mut random);
    }
    for sums in &all {
        assert_eq!(sums.instances.len(), INSTANCES_MAX);
        assert!((sums.instances.count().unwrap() - 400.0).abs() < 0.01);
        let cores = sums.moments[Attribute::Cores.at()];
        assert!((cores.mean - 4.5).abs() < 1e-6, "{cores:?}");
        assert!((cores.deviation() - 5.25_f64.sqrt()).abs() < 1e-6, "{cores:?}");
        assert_eq!((cores.least, cores.most), (1.0, 8.0));
        let busy = sums.moments[Attribute::Busy.at()];
        assert!((busy.mean - 0.5).abs() < 1e-6, "{busy:?}");
        assert!(sums.is_possible());
        let median = sums.sketches[Attribute::Cores.at()].quantile(Attribute::Cores, 0.5);
        assert!((3.5..5.0).contains(&median), "{median}");
    }
}

#[test]
fn the_honest_agree_at_all_times() {
    let (mut all, mut random) = (world(1_000), Random::new(2));
    for done in 0..30 {
        for n in 0..200 {
            assert!(all[n].agrees(&all[n + 700], done), "after {done} cycles");
        }
        cycle(&mut all, &mut random);
    }
}

#[test]
fn who_begins_anew_late_is_not_met() {
    let (mut all, mut random) = (world(1_000), Random::new(3));
    for _ in 0..25 {
        cycle(&mut all, &mut random);
    }
    let liar = Sums::begin(7, &told(3));
    assert!(liar.is_possible(), "nothing in it is wrong by itself");
    assert!(!all[0].agrees(&liar, 25));
}

proptest! {
    #[test]
    fn what_two_have_together_stays_the_same(
        a in proptest::collection::btree_map(any::<u64>(), 0.0..1.0_f64, 0..8),
        b in proptest::collection::btree_map(any::<u64>(), 0.0..1.0_f64, 0..8),
    ) {
        let [a, b] = [a, b].map(|it| Instances(it.into_iter().collect()));
        let both = a.average(&b);
        let sum = |it: &Instances| it.0.iter().map(|(_, value)| value).sum::<f64>();
        prop_assert!((2.0 * sum(&both) - sum(&a) - sum(&b)).abs() < 1e-9);
        prop_assert!(both.is_possible());
        prop_assert_eq!(both, b.average(&a));
    }

    #[test]
    fn the_least_names_survive_whoever_meets_whom(names: [u64; 24], order: [u8; 40]) {
        let mut all: Vec<Instances> = names.iter().map(|n| Instances::begun_as(*n)).collect();
        for pair in order.chunks(2) {
            let [a, b] = [pair[0], pair[1]].map(|n| usize::from(n) % all.len());
            let both = all[a].average(&all[b]);
            (all[a], all[b]) = (both.clone(), both);
        }
        let mut sorted = names.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        for name in sorted.iter().take(INSTANCES_MAX) {
            let mass: f64 = all.iter().map(|it| it.value(*name)).sum();
            let begun = names.iter().filter(|it| *it == name).count() as f64;
            prop_assert!((mass - begun).abs() < 1e-9, "{}", mass);
        }
    }
}

#[test]
fn names_that_are_made_up_are_left_out_and_those_of_hosts_are_not() {
    let mut random = Random::new(4);
    for hosts in [20_u32, 1_000, 30_000] {
        let mut names: Vec<u64> = (0..hosts).map(|_| random.next_u64()).collect();
        names.sort_unstable();
        names.truncate(INSTANCES_MAX);
        let honest = Instances(names.iter().map(|name| (*name, 0.1)).collect());
        let mut kept = honest.clone();
        kept.drop_made_up(f64::from(hosts));
        assert_eq!(kept, honest, "of {hosts}");
        let mut made_up = Instances((0..16).map(|name| (name, 1.0)).collect());
        made_up.drop_made_up(f64::from(hosts));
        assert!(made_up.len() <= 3, "{} of {hosts}", made_up.len());
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let good = Sums::begin(5, &told(1));
    assert!(good.is_possible());
    assert_eq!(decode(&encode(&good)), Ok(good.clone()));
    let mut bad = vec![good.clone(); 5];
    bad[0].instances = Instances(vec![(5, 1.5)]);
    bad[1].instances = Instances(vec![(5, f64::NAN)]);
    bad[2].instances = Instances(vec![(5, 0.5), (4, 0.5)]);
    bad[3].moments[0].mean = 1e9;
    bad[4].moments[0] = Moments { mean: 3.0, square: 1.0, least: 3.0, most: 3.0 };
    for bad in bad {
        assert!(!bad.is_possible(), "{bad:?}");
    }
}

#[test]
fn all_sums_of_an_epoch_fit_a_small_message() {
    let (mut all, mut random) = (world(2_000), Random::new(5));
    for _ in 0..30 {
        cycle(&mut all, &mut random);
    }
    let bytes = encode(&all[0]).len();
    assert!(bytes < 1_200, "{bytes} bytes");
}
