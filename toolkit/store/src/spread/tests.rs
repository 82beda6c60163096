//! Spreading: the rules where they can be kept, and what is said where not.

use proptest::prelude::*;

use super::*;
use isos_base::key::PublicKey;

/// A world of hosts that differ in everything that can differ.
fn host(number: u32) -> Candidate {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    let among = |names: &[&str]| names[number as usize % names.len()].to_owned();
    Candidate {
        host: HostId(PublicKey(key)),
        owner: AccountId(u64::from(number)),
        block: Some(Block::V4([10, (number >> 8) as u8, number as u8])),
        system: Some(number % 12),
        country: Some(among(&["FI", "DE", "FR", "SE", "PL"])),
        os: among(&["linux", "windows", "macos"]),
        agent: among(&["0.3.1", "0.3.2", "0.3.0", "0.2.9"]),
        lifetime: Span::secs(86_400 * u64::from(30 + number % 400)),
        up: 0.8,
        free: Bytes::gib(1),
    }
}

fn wish(count: u16) -> Wish {
    Wish { count, n: count, bytes: Bytes::mib(1), stable: 0, seed: 7 }
}

fn texts(spread: &Spread) -> String {
    spread.relaxed.iter().map(|it| format!("{it}\n")).collect()
}

fn most(domain: Domain, hosts: &[HostId], world: &[Candidate]) -> u16 {
    let mut counts = Counts::default();
    world.iter().filter(|it| hosts.contains(&it.host)).for_each(|it| counts.add(it));
    counts.most(domain)
}

#[test]
fn a_large_pool_keeps_every_rule() {
    let world: Vec<Candidate> = (0..400).map(host).collect();
    let spread = spread(&Wish { stable: 16, ..wish(64) }, &[], &world).unwrap();
    assert_eq!((spread.hosts.len(), texts(&spread)), (64, String::new()));
    for (domain, limit) in [
        (Domain::Owner, 1),
        (Domain::Block, 1),
        (Domain::System, 12),
        (Domain::Country, 21),
        (Domain::Os, 32),
        (Domain::Agent, 32),
    ] {
        assert_eq!(super::limit(domain, 64), limit);
        assert!(most(domain, &spread.hosts, &world) <= limit, "{domain}");
    }
    let first = &spread.hosts[..16];
    let is_stable =
        |host: &HostId| world.iter().any(|it| it.host == *host && it.lifetime >= STABLE);
    assert!(first.iter().all(is_stable));
}

#[test]
fn ten_hosts_of_one_lab_are_used_and_everything_relaxed_is_said() {
    let world: Vec<Candidate> = (0..10)
        .map(|number| Candidate {
            owner: AccountId(u64::from(number) / 5),
            block: Some(Block::of("10.0.0.7".parse().unwrap())),
            country: None,
            system: None,
            os: "linux".into(),
            agent: "0.3.1".into(),
            ..host(number)
        })
        .collect();
    let spread = spread(&Wish { stable: 3, ..wish(10) }, &[], &world).unwrap();
    assert_eq!(spread.hosts.len(), 10);
    expect_test::expect![[r#"
        10 fragments with one version of the agent, the rule is 5: there are too few hosts that differ
        10 fragments with one operating system, the rule is 5: there are too few hosts that differ
        10 fragments with one address block, the rule is 1: there are too few hosts that differ
        5 fragments with one owner, the rule is 1: there are too few hosts that differ
        0 hosts that are expected to stay for 300 days, wished are 3
    "#]].assert_eq(&texts(&spread));
}

#[test]
fn rules_that_keep_nobody_out_are_not_relaxed() {
    // All differ but for the operating system.
    let world: Vec<Candidate> =
        (0..300).map(|number| Candidate { os: "linux".into(), ..host(number) }).collect();
    let spread = spread(&wish(32), &[], &world).unwrap();
    let only = [Relaxed::Shared { domain: Domain::Os, limit: 16, most: 32 }];
    assert_eq!(spread.relaxed, only);
}

#[test]
fn hosts_that_hold_a_fragment_count_and_get_no_second_one() {
    let world: Vec<Candidate> = (0..200).map(host).collect();
    let all = Wish { n: 48, ..wish(40) };
    let before = spread(&all, &[], &world).unwrap().hosts;
    let holders: Vec<Candidate> =
        world.iter().filter(|it| before.contains(&it.host)).cloned().collect();
    let more = spread(&Wish { count: 8, ..all }, &holders, &world).unwrap();
    assert!(more.hosts.iter().all(|host| !before.contains(host)));
    assert_eq!(texts(&more), "");
    let together: Vec<HostId> = before.iter().chain(&more.hosts).copied().collect();
    assert!(most(Domain::Country, &together, &world) <= 16);
}

#[test]
fn too_few_hosts_are_an_error_with_all_numbers() {
    let mut world: Vec<Candidate> = (0..9).map(host).collect();
    world[3].free = Bytes::kib(1);
    let said = spread(&wish(8), &[host(0)], &world).unwrap_err();
    assert_eq!(said, TooFew { wanted: 8, known: 9, full: 1, taken: 1, fit: 7 });
}

#[test]
fn hosts_that_stay_are_chosen_more_often() {
    let day = 86_400;
    let world: Vec<Candidate> = (0..100)
        .map(|number| {
            let days = if number < 50 { 300 } else { 30 };
            Candidate { lifetime: Span::secs(days * day), ..host(number) }
        })
        .collect();
    let stay: BTreeSet<HostId> = world[..50].iter().map(|it| it.host).collect();
    let chosen =
        (0..200).flat_map(|seed| spread(&Wish { seed, ..wish(4) }, &[], &world).unwrap().hosts);
    let of_those = chosen.filter(|host| stay.contains(host)).count();
    assert!((600..790).contains(&of_those), "{of_those} of 800");
}

proptest! {
    #[test]
    fn the_order_of_candidates_does_not_matter(
        seed: u64,
        turn in 0_usize..60,
        count in 1_u16..40,
    ) {
        let mut world: Vec<Candidate> = (0..60).map(host).collect();
        let wish = Wish { seed, ..wish(count) };
        let before = spread(&wish, &[], &world).unwrap();
        prop_assert_eq!(before.hosts.len(), usize::from(count));
        let distinct: BTreeSet<_> = before.hosts.iter().collect();
        prop_assert_eq!(distinct.len(), usize::from(count));
        world.rotate_left(turn);
        prop_assert_eq!(spread(&wish, &[], &world), Ok(before));
    }
}
