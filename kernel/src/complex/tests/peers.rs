//! Stories of programs that address each other: when they begin, and who is gone.

use isos_base::api::SliceRequest;
use isos_base::peers::{Place, Reach};

use super::*;
use crate::complex::SliceCall;

/// What a host was told last: the ranks that are there and those that are gone.
type Told = (Vec<u32>, Vec<u32>);

impl World {
    /// A slice of all hosts, and a job on it that all of them got.
    fn on_slice(&mut self, hosts: u8) -> JobId {
        (1..=hosts).for_each(|n| self.join(n));
        let until = self.now + Span::secs(86_400);
        let (name, hosts, constraint) = ("lab".to_owned(), u32::from(hosts), None);
        let request = Box::new(SliceRequest { name, hosts, constraint, until, key: None });
        let account = self.buyer();
        self.call(Call::Slice(SliceCall::Make { account, request })).expect("a slice");
        self.submit(JobSpec { slice: Some("lab".into()), ..job(hosts) })
    }

    fn rank(&self, job: JobId, host: u8) -> u32 {
        let pinned = self.tables.jobs[&job].pinned.as_ref().expect("it is on a slice");
        let at = pinned.hosts.iter().position(|it| *it == host_id(host));
        u32::try_from(at.expect("a host of the slice")).unwrap()
    }

    fn reach(&mut self, job: JobId, host: u8, run: u64, begun: bool) {
        let place = Place { addresses: Vec::new(), relay: None, run };
        let frame = ToComplex::Reach(Box::new(Reach { job, place, begun }));
        let session = self.hosts[&host].session.expect("it is there");
        self.step(Input::HostSaid { session, frame });
    }

    /// What a host was told since the last time.
    fn told(&mut self, host: u8) -> Vec<Told> {
        let peers = std::mem::take(&mut self.hosts.get_mut(&host).unwrap().peers);
        let split = |told: Peers| {
            let (here, gone): (Vec<_>, Vec<_>) =
                told.peers.into_iter().partition(|peer| peer.place.is_some());
            let ranks =
                |peers: Vec<isos_base::peers::Peer>| peers.iter().map(|it| it.rank).collect();
            (ranks(here), ranks(gone))
        };
        peers.into_iter().map(split).collect()
    }

    /// A slice of three hosts whose programs have begun to address each other.
    fn begun() -> (Self, JobId) {
        let mut world = Self::new();
        let job = world.on_slice(3);
        (1..=3).for_each(|host| world.reach(job, host, host.into(), false));
        (1..=3).for_each(|host| _ = world.told(host));
        (world, job)
    }
}

#[test]
fn ranks_begin_when_all_are_ready() {
    let mut world = World::new();
    let job = world.on_slice(3);
    world.reach(job, 1, 1, false);
    world.reach(job, 2, 2, false);
    assert_eq!(world.told(1), []);
    world.reach(job, 3, 3, false);
    for host in 1..=3 {
        assert_eq!(world.told(host), [(vec![0, 1, 2], vec![])]);
    }
    // They have waited for each other: their time begins now.
    let deadline = |world: &World| world.complex.leases.values().next().unwrap().record.deadline;
    let until = world.now + world.complex.jobs[&job].record.spec.timeout;
    assert!(deadline(&world) >= until);
    world.run();
    world.assert_all_right(job);
}

#[test]
fn a_rank_that_is_over_before_is_not_waited_for_and_one_that_ends_is_gone() {
    let mut world = World::new();
    let job = world.on_slice(3);
    let ranks = [1, 2, 3].map(|host| world.rank(job, host));
    assert_eq!(world.work(3, 1), 1);
    world.reach(job, 1, 1, false);
    world.reach(job, 2, 2, false);
    let mut here = vec![ranks[0], ranks[1]];
    here.sort_unstable();
    assert_eq!(world.told(1), [(here.clone(), vec![ranks[2]])]);
    assert_eq!(world.told(2), [(here, vec![ranks[2]])]);
    assert_eq!(world.work(2, 1), 1);
    world.pass(Span::secs(2));
    assert_eq!(world.told(1), [(vec![], vec![ranks[1]])]);
    assert_eq!(world.told(2), []);
}

#[test]
fn who_is_lost_after_the_begin_is_gone_and_not_run_again() {
    let (mut world, job) = World::begun();
    let rank = world.rank(job, 2);
    world.leave(2);
    world.pass(Span::secs(29));
    assert_eq!(world.told(1), [], "it may come back");
    world.pass(Span::secs(4));
    for host in [1, 3] {
        assert_eq!(world.told(host), [(vec![], vec![rank])]);
    }
    let accepted = world.tables.results_of(job).next().expect("the rank is decided").clone();
    let why = accepted.result.expect_err("it was given up");
    assert!(why.contains("after the ranks had begun to address each other"), "{why}");
    world.join(2);
    world.run();
    assert_eq!(world.state(job), JobState::Failed);
}

#[test]
fn who_comes_back_in_time_is_told_what_it_has_missed() {
    let (mut world, job) = World::begun();
    let ranks = [1, 3].map(|host| world.rank(job, host));
    let held: Vec<_> = world.hosts[&1].grants.iter().map(|grant| grant.lease).collect();
    world.leave(1);
    assert_eq!(world.work(3, 1), 1);
    world.pass(Span::secs(2));
    assert_eq!(world.told(1), []);
    world.come(1, "owner1", |hello| hello.holding = held);
    world.reach(job, 1, 1, true);
    let (here, gone) = world.told(1).remove(0);
    assert!(here.contains(&ranks[0]) && gone == [ranks[1]], "{here:?} {gone:?}");
}

#[test]
fn a_rank_that_begins_anew_finds_nobody() {
    let (mut world, job) = World::begun();
    let rank = world.rank(job, 1);
    world.reach(job, 1, 99, false);
    assert_eq!(world.told(1), [(vec![], vec![0, 1, 2])]);
    for host in [2, 3] {
        assert_eq!(world.told(host), [(vec![], vec![rank])]);
    }
    world.reach(job, 1, 99, false);
    assert_eq!(world.told(1), [(vec![], vec![0, 1, 2])]);
    assert_eq!(world.told(2), []);
}

#[test]
fn a_restarted_server_learns_again_who_speaks() {
    let (mut world, job) = World::begun();
    let held = |world: &World, host: u8| -> Vec<_> {
        world.hosts[&host].grants.iter().map(|grant| grant.lease).collect()
    };
    let holding = [held(&world, 1), held(&world, 2)];
    let rank = world.rank(job, 3);
    world.restart();
    for (host, holding) in [1, 2].into_iter().zip(holding) {
        world.come(host, &format!("owner{host}"), |hello| hello.holding = holding);
        world.reach(job, host, host.into(), true);
    }
    (1..=2).for_each(|host| _ = world.told(host));
    // The third is not there again: lost, and so gone.
    world.pass(Span::secs(7_200));
    for host in [1, 2] {
        let gone: Vec<u32> = world.told(host).into_iter().flat_map(|told| told.1).collect();
        assert!(gone.contains(&rank), "{gone:?}");
    }
}

#[test]
fn a_restart_before_the_begin_loses_nobody() {
    let mut world = World::new();
    let job = world.on_slice(2);
    let held = |world: &World, host: u8| -> Vec<_> {
        world.hosts[&host].grants.iter().map(|grant| grant.lease).collect()
    };
    let holding = [held(&world, 1), held(&world, 2)];
    world.reach(job, 1, 1, false);
    world.restart();
    for (host, holding) in [1, 2].into_iter().zip(holding) {
        world.come(host, &format!("owner{host}"), |hello| hello.holding = holding);
        world.reach(job, host, host.into(), false);
    }
    for host in [1, 2] {
        assert_eq!(world.told(host), [(vec![0, 1], vec![])]);
    }
}

#[test]
fn only_the_host_of_a_rank_is_heard() {
    let mut world = World::new();
    let pinned = world.on_slice(2);
    world.join(3);
    let other = world.submit(job(5));
    for host in 1..=3 {
        world.reach(other, host, 1, false);
        world.reach(JobId(99), host, 1, false);
    }
    world.reach(pinned, 3, 1, false);
    world.reach(pinned, 1, 1, false);
    for host in 1..=3 {
        assert_eq!(world.told(host), []);
    }
    assert_eq!(world.complex.slices.speaking_len(), 1);
}
