//! What fifty hosts do together, with a lossy network between them.

use super::net::Net;
use super::*;

fn guid(n: u32) -> Guid {
    Guid::of(&n.to_le_bytes())
}

fn joined(hosts: u32, clients: u32, loss_percent: u64) -> Net {
    let mut net = Net::new(hosts, clients, loss_percent, Tuning::default());
    net.run(Span::secs(60));
    net
}

#[test]
fn what_one_of_fifty_holds_all_others_find_though_messages_are_lost() {
    let mut net = joined(50, 10, 3);
    for host in &net.hosts {
        assert!(host.table().proven() > 20, "{} know too few", host.table().proven());
    }
    // A client, that cannot be called: its pointers are on routers.
    let holder = 49;
    net.input(holder, Input::Holding { guids: vec![guid(1)] });
    net.run(Span::secs(20));
    let copies = net.copies(holder)[&guid(1)];
    assert!((8..=20).contains(&copies), "{copies} copies");
    let wanted = net.hosts[holder].own().host();
    for at in 0..49 {
        let (holders, outcome) = net.search(at, guid(1));
        assert_eq!(holders, [wanted], "host {at}: {outcome:?}");
        assert!(outcome.hops <= 4, "{} hops", outcome.hops);
    }
    let (nobody, outcome) = net.search(3, guid(2));
    assert!(nobody.is_empty());
    assert_eq!(outcome.nearest.len(), 20);
}

#[test]
fn when_a_third_dies_at_once_everything_is_still_found() {
    let mut net = joined(50, 0, 1);
    net.input(49, Input::Holding { guids: (0..20).map(guid).collect() });
    net.run(Span::secs(20));
    net.down.extend((0..48).filter(|n| n % 3 == 0));
    let found = (0..20).filter(|n| !net.search(1 + 3 * (*n as usize % 10), guid(*n)).0.is_empty());
    let found = found.count();
    assert!(found >= 19, "{found} of 20 while the dead are still in the tables");
    net.run(Span::secs(600));
    for (at, host) in net.hosts.iter().enumerate().filter(|(at, _)| !net.down.contains(at)) {
        let is_down = |contact: &Contact| {
            net.down.iter().any(|&at| net.hosts[at].own().host() == contact.host())
        };
        let dead = host.table().entries().filter(|it| it.proven && is_down(&it.contact)).count();
        assert!(dead <= 2, "host {at} has {dead} dead after ten minutes");
    }
}

#[test]
fn newcomers_are_handed_what_they_should_keep_also_when_its_holder_is_gone() {
    let mut net = joined(40, 0, 1);
    net.input(39, Input::Holding { guids: (0..30).map(guid).collect() });
    net.run(Span::secs(20));
    net.down.insert(39);
    // Everybody who has pointers is replaced, some at a time.
    for round in 0..4_u32 {
        for n in 0..10 {
            net.add(100 + round * 10 + n, true, Tuning::default());
        }
        net.run(Span::secs(900));
        net.down.extend((0..10).map(|n| (1 + round * 10 + n) as usize).filter(|at| *at < 39));
        net.run(Span::secs(300));
    }
    let asker = net.hosts.len() - 1;
    let found = (0..30).filter(|n| !net.search(asker, guid(*n)).0.is_empty()).count();
    assert!(found >= 28, "{found} of 30");
}

#[test]
fn guids_that_lie_near_each_other_are_put_by_one_walk() {
    let mut net = joined(50, 0, 0);
    let finds = |net: &mut Net, at: usize, guids: Vec<Guid>| {
        let before = net.finds;
        net.input(at, Input::Holding { guids });
        net.run(Span::secs(10));
        net.finds - before
    };
    let one = finds(&mut net, 10, vec![guid(1)]);
    let near = |n: u16| {
        let mut guid = guid(2);
        guid.0[30..].copy_from_slice(&n.to_le_bytes());
        guid
    };
    let many = finds(&mut net, 11, (0..200).map(near).collect());
    assert!(many < 2 * one, "{many} questions for two hundred, {one} for one");
    let copies = net.copies(11);
    assert_eq!(copies.len(), 200);
    assert!(copies.values().all(|&copies| copies >= 8));
}

#[test]
fn what_a_crowd_holds_is_spread_further_out_and_not_lost() {
    let mut net = joined(50, 0, 0);
    let popular = guid(7);
    for at in 0..50 {
        net.input(at, Input::Holding { guids: vec![popular] });
        net.run(Span::secs(2));
    }
    net.run(Span::secs(20));
    let stored: Vec<usize> = net.hosts.iter().map(|host| host.store().len()).collect();
    assert!(stored.iter().all(|&count| count <= crate::pointer::PER_GUID_MAX), "{stored:?}");
    let total: usize = stored.iter().sum();
    assert!(total >= 300, "twenty routers around it have all that they take: {total}");
    let told = (0..50).filter(|at| net.copies(*at).contains_key(&popular)).count();
    assert_eq!(told, 50, "who found no room is told so");
    let before = net.finds;
    net.run(Span::secs(600));
    let rate = (net.finds - before) as f64 / 600.0 / 50.0;
    assert!(rate < 0.1, "{rate} questions a second: nobody tries again and again");
}

#[test]
fn a_host_that_was_cut_off_comes_back_by_itself() {
    let mut net = joined(30, 0, 0);
    net.down.extend(0..29);
    net.run(Span::secs(3_600));
    net.input(29, Input::TimerFired);
    assert_eq!(net.hosts[29].table().proven(), 0, "all have been silent for an hour");
    (0..29).for_each(|at| net.up(at));
    net.run(Span::secs(120));
    assert!(net.hosts[29].table().proven() > 15, "{}", net.hosts[29].table().proven());
}

#[test]
fn pointers_are_renewed_while_their_holder_lives_and_end_when_it_is_gone() {
    let tuning = Tuning {
        life: Span::secs(600),
        republish: Span::secs(200),
        pace_most: Span::secs(5),
        ..Tuning::default()
    };
    let mut net = Net::new(30, 0, 0, tuning);
    net.run(Span::secs(30));
    net.input(29, Input::Holding { guids: vec![guid(1), guid(2)] });
    net.run(Span::secs(1_500));
    assert!(!net.search(3, guid(1)).0.is_empty());
    net.input(29, Input::Dropped { guids: vec![guid(2)] });
    net.run(Span::secs(700));
    assert!(net.search(3, guid(2)).0.is_empty(), "dropped");
    assert!(!net.search(3, guid(1)).0.is_empty(), "held");
    net.down.insert(29);
    net.run(Span::secs(700));
    assert!(net.search(3, guid(1)).0.is_empty(), "its holder is gone");
}

#[test]
fn the_pace_calms_down_in_a_quiet_world() {
    let mut net = joined(30, 0, 0);
    let early = net.hosts[5].pace();
    net.run(Span::secs(1_800));
    let before = net.asks;
    net.run(Span::secs(600));
    let rate = (net.asks - before) as f64 / 600.0 / 30.0;
    assert!(net.hosts[5].pace() > early);
    assert!(rate < 0.06, "{rate} requests a second and host");
}

#[test]
fn the_number_of_routers_is_estimated_from_walks() {
    let mut net = joined(120, 0, 0);
    for n in 0..12_u64 {
        let target = Position::from(guid(n as u32));
        net.input(5, Input::Sought { search: SearchId(n), target });
        net.run(Span::secs(5));
    }
    let estimated = net.hosts[5].routers_estimated();
    assert!((80..180).contains(&estimated), "{estimated}");
}

#[test]
fn one_seed_is_one_run() {
    let run = || {
        let mut net = joined(20, 2, 5);
        net.input(19, Input::Holding { guids: vec![guid(1)] });
        net.run(Span::secs(30));
        (net.asks, net.now, net.said.len(), net.search(4, guid(1)))
    };
    assert_eq!(run(), run());
}
