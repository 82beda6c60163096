//! Stories of hosts that gossip.

use std::collections::BTreeMap;

use super::net::Net;
use super::*;
use crate::estimate::Doubt;

fn estimates(net: &Net) -> Vec<Estimate> {
    net.living().filter_map(|it| it.estimate().cloned()).collect()
}

#[test]
fn everybody_knows_how_many_there_are_and_what_they_have() {
    let mut net = Net::new(60, 1);
    net.run(75);
    let all = estimates(&net);
    assert_eq!(all.len(), 60);
    for it in &all {
        assert!((it.hosts - 60.0).abs() < 0.5, "{it:?}");
        assert!(it.doubts.is_empty(), "{:?}", it.doubts);
        let cores = it.of_attribute(Attribute::Cores).unwrap();
        assert!((cores.mean - 4.4).abs() < 0.2, "{cores:?}");
        assert_eq!((cores.least, cores.most), (1.0, 8.0));
        let busy = it.of_attribute(Attribute::Busy).unwrap();
        assert!((busy.sum - 30.0).abs() < 0.5, "{busy:?}");
        assert_eq!(it.public, Some(1.0));
    }
}

#[test]
fn a_count_survives_lost_messages() {
    let mut net = Net::new(60, 2);
    net.loss = 20;
    net.run(75);
    let hosts: Vec<f64> = estimates(&net).iter().map(|it| it.hosts).collect();
    assert!(hosts.iter().all(|it| (it - 60.0).abs() < 9.0), "{hosts:?}");
}

#[test]
fn who_cannot_be_called_is_counted_and_known_and_never_called() {
    let mut net = Net::with(50, 10, 3);
    net.run(120);
    for it in net.living() {
        assert!(it.private().count() >= 10, "{}", it.private().count());
        assert!(it.public().all(|peer| !net.private.contains(&peer.host)));
        let estimate = it.estimate().unwrap();
        assert!((estimate.hosts - 50.0).abs() < 1.0, "{estimate:?}");
        let share = it.share_public().unwrap();
        assert!((share - 0.2).abs() < 0.08, "{share}");
    }
    assert!(net.gone.is_empty(), "nobody was called in vain");
}

#[test]
fn after_half_has_died_the_others_know_and_forget_them() {
    let mut net = Net::new(60, 4);
    net.run(60);
    for n in (1..60).step_by(2) {
        net.dead.insert(testing::host(n));
    }
    net.run(40);
    let told: BTreeMap<HostId, usize> =
        net.gone.iter().fold(BTreeMap::new(), |mut told, (_, host)| {
            *told.entry(*host).or_default() += 1;
            told
        });
    assert!(told.keys().all(|host| net.dead.contains(host)), "nobody alive is said to be gone");
    for it in net.living() {
        let dead = it.public().filter(|peer| net.dead.contains(&peer.host)).count();
        assert!(dead <= 3, "{dead} dead are still known");
    }
    // The epoch in which they died is spoilt; the one after it is right.
    net.run(50);
    for it in estimates(&net) {
        assert!((it.hosts - 30.0).abs() < 0.5, "{}", it.hosts);
    }
}

#[test]
fn who_is_cut_off_finds_back_and_says_that_it_was() {
    let mut net = Net::new(30, 5);
    net.run(65);
    let others: Vec<HostId> = (0..30).filter(|n| *n != 7).map(testing::host).collect();
    // To the seventh all others are dead; but they run on behind its back.
    net.dead.extend(others.iter().copied());
    net.run(200);
    let alone = net.host(7).estimate().unwrap().clone();
    assert!(matches!(alone.doubts[..], [Doubt::Alone { exchanges: 0 }]), "{alone:?}");
    assert_eq!(alone.hosts, 1.0);
    assert!(net.host(7).suspicion.is_alone());
    net.dead.clear();
    net.run(100);
    let back = net.host(7).estimate().unwrap().clone();
    assert!((back.hosts - 30.0).abs() < 0.5, "{}", back.hosts);
}

#[test]
fn two_halves_that_were_cut_for_long_find_each_other_without_the_complex() {
    let mut net = Net::new(40, 7);
    net.run(65);
    net.cut = Some(25);
    // Nobody is told of any more who was not heard of for ninety cycles.
    net.run(400);
    for n in 0..40 {
        let (half, it) = (if n < 25 { 25.0 } else { 15.0 }, net.host(n));
        assert!((it.estimate().unwrap().hosts - half).abs() < 0.5, "{:?}", it.estimate());
    }
    net.cut = None;
    net.run(100);
    for it in estimates(&net) {
        assert!((it.hosts - 40.0).abs() < 0.5, "{}", it.hosts);
    }
}

#[test]
fn one_seed_is_one_story() {
    let run = || {
        let mut net = Net::new(20, 6);
        net.loss = 10;
        net.run(70);
        (net.bytes, net.messages, estimates(&net))
    };
    assert_eq!(run(), run());
}
