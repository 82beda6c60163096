//! Stories of slices: who is of them, what runs where, who is replaced, how they end.

use isos_base::api::{SliceChange, SliceRequest, SliceView};
use isos_base::audit::Deed;
use isos_base::slice::SliceState;

use super::*;
use crate::complex::SliceCall;

const HOUR: Span = Span::secs(3_600);

impl World {
    fn slice_wish(&self, name: &str, hosts: u32) -> SliceRequest {
        let until = self.now + Span(24 * HOUR.0);
        SliceRequest { name: name.into(), hosts, constraint: None, until, key: None }
    }

    fn slice(&mut self, call: SliceCall) -> Result<SliceView, Problem> {
        match self.call(Call::Slice(call))? {
            Reply::Slice(view) => Ok(*view),
            other => panic!("another reply: {other:?}"),
        }
    }

    fn make(&mut self, request: SliceRequest) -> Result<SliceView, Problem> {
        let account = self.buyer();
        self.slice(SliceCall::Make { account, request: Box::new(request) })
    }

    fn resize(&mut self, name: &str, hosts: u32) -> Result<SliceView, Problem> {
        let change = SliceChange { hosts: Some(hosts), until: None };
        let account = self.buyer();
        self.slice(SliceCall::Change { account, name: name.into(), change })
    }

    fn drop_slice(&mut self, name: &str) -> Result<SliceView, Problem> {
        let account = self.buyer();
        self.slice(SliceCall::Drop { account, name: name.into() })
    }

    fn view(&self, name: &str) -> SliceView {
        self.complex.slice_view(self.buyer(), name).expect("it is open")
    }

    /// The hosts of the test that are of a slice, by rank.
    fn of(&self, name: &str) -> Vec<u8> {
        self.view(name).slivers.iter().map(|sliver| sliver.host.0.0[0]).collect()
    }

    fn reasons(&mut self, job: JobId) -> String {
        let told = self.complex.explain_job(job).expect("a job");
        let lines = told.reasons.iter().map(|it| format!("{}: {}", it.about, it.why));
        std::iter::once(told.verdict.clone()).chain(lines).collect::<Vec<_>>().join("\n")
    }

    /// Which host gave the accepted result of each task; nothing where it was given up.
    fn by(&self, job: JobId) -> Vec<Option<u8>> {
        let count = self.tables.jobs[&job].spec.count;
        let mut by = vec![None; count as usize];
        for accepted in self.tables.results_of(job) {
            by[accepted.task as usize] = accepted.host.map(|host| host.0.0[0]);
        }
        by
    }

    fn given_up(&self, job: JobId) -> Vec<(u32, String)> {
        let whys = self.tables.results_of(job);
        whys.filter_map(|it| Some((it.task, it.result.clone().err()?))).collect()
    }
}

fn on(name: &str, count: u32) -> JobSpec {
    JobSpec { slice: Some(name.into()), ..job(count) }
}

#[test]
fn each_host_of_a_slice_runs_its_own_task_and_no_other() {
    let mut world = World::new();
    (1..=5).for_each(|n| world.join(n));
    let slice = world.make(world.slice_wish("lab", 3)).unwrap();
    assert_eq!((slice.slivers.len(), slice.state), (3, SliceState::Open));
    let hosts = world.of("lab");
    for _ in 0..3 {
        let job = world.submit(on("lab", 3));
        world.run();
        assert_eq!(world.state(job), JobState::Done);
        let by: Vec<u8> = world.by(job).into_iter().flatten().collect();
        assert_eq!(by, hosts);
    }
    let others = world.submit(job(50));
    world.run();
    assert_eq!(world.state(others), JobState::Done, "it takes nothing from others");
    let earned = hosts.iter().all(|n| world.balance(&format!("owner{n}")) > 0);
    assert!(earned, "what runs is paid as any work is");
}

#[test]
fn hosts_are_of_different_owners_as_long_as_there_are_such() {
    let mut world = World::new();
    (1..=4).for_each(|n| world.come(n, "the same", |_| {}));
    (5..=7).for_each(|n| world.join(n));
    let slice = world.make(world.slice_wish("lab", 4)).unwrap();
    let owners: BTreeSet<_> = slice.slivers.iter().map(|sliver| sliver.owner).collect();
    assert_eq!(owners.len(), 4);
    let all = world.make(world.slice_wish("all", 7)).unwrap();
    assert_eq!(all.slivers.len(), 7, "and of the same where there are no others");
}

#[test]
fn too_few_hosts_are_refused_with_all_reasons() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    world.come(3, "owner3", |hello| hello.spec.country = Some("FI".into()));
    world.join(4);
    world.leave(4);
    world.come(5, "owner5", |hello| hello.offer.price_min = Price(500));
    let said = world.make(world.slice_wish("lab", 5)).unwrap_err();
    assert_eq!(said.code, ProblemCode::Refused);
    expect_test::expect!["5 hosts wanted, 3 can be had; 1 host: its owner wants 500 micro-credits per gigafuel, the job pays 100 (wait for its cheaper hours, or for hosts that ask less: `isos explain price`); 1 host: not connected (`isos host list` shows when it was seen)"]
        .assert_eq(&said.message);
    let constraint = Some("host.country == \"FI\"".to_owned());
    let said = world.make(SliceRequest { constraint, ..world.slice_wish("lab", 2) }).unwrap_err();
    assert!(
        said.message.contains("2 hosts wanted, 1 can be had; 4 hosts: it does not fit"),
        "{said:?}"
    );
    let constraint = Some("host.".to_owned());
    let said = world.make(SliceRequest { constraint, ..world.slice_wish("lab", 2) }).unwrap_err();
    assert_eq!(said.code, ProblemCode::Usage);
    assert!(world.tables.slices.is_empty());
}

#[test]
fn a_slice_has_a_name_a_size_and_an_end_within_bounds() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    world.make(world.slice_wish("lab", 2)).unwrap();
    let wish = world.slice_wish("lab", 2);
    let said = |world: &mut World, change: &dyn Fn(&mut SliceRequest)| {
        let mut request = SliceRequest { name: "other".into(), ..wish.clone() };
        change(&mut request);
        world.make(request).unwrap_err().message
    };
    expect_test::expect![[
        r#"there is a slice "lab" already: choose another name, or `isos slice drop lab`"#
    ]]
    .assert_eq(&said(&mut world, &|it| it.name = "lab".into()));
    expect_test::expect![[r#""a b" is no name of a slice: use a name of 1 to 64 letters, digits, '-', '_' or '.', of which the first is a letter or digit"#]]
        .assert_eq(&said(&mut world, &|it| it.name = "a b".into()));
    expect_test::expect!["a slice has 1 to 256 hosts, not 0"]
        .assert_eq(&said(&mut world, &|it| it.hosts = 0));
    let long = said(&mut world, &|it| it.until += Span(24 * 28 * HOUR.0));
    assert!(long.contains("28d"), "{long}");
    for n in 1..32 {
        world.make(SliceRequest { name: format!("lab{n}"), ..wish.clone() }).unwrap();
    }
    expect_test::expect!["account 100 has 32 slices, which is the limit: drop one"]
        .assert_eq(&said(&mut world, &|_| {}));
}

#[test]
fn the_same_key_makes_one_slice() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    let request = SliceRequest { key: Some("once".into()), ..world.slice_wish("lab", 2) };
    let first = world.make(request.clone()).unwrap();
    assert_eq!(world.make(request.clone()).unwrap(), first);
    world.restart();
    assert_eq!(world.make(request.clone()).unwrap().id, first.id);
    world.drop_slice("lab").unwrap();
    assert_eq!(world.make(request).unwrap_err().code, ProblemCode::NotFound);
}

#[test]
fn a_job_on_a_slice_has_as_many_tasks_as_hosts() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    world.make(world.slice_wish("lab", 2)).unwrap();
    let account = world.buyer();
    let mut refused = |spec: JobSpec| {
        let call = Call::Submit { account, spec: Box::new(spec), key: None };
        world.call(call).unwrap_err()
    };
    expect_test::expect!["slice lab has 2 hosts, the job 3 tasks: it runs as many tasks as there are hosts, each on its own"]
        .assert_eq(&refused(on("lab", 3)).message);
    assert_eq!(refused(on("none", 2)).code, ProblemCode::NotFound);
    assert!(
        refused(JobSpec { verify: Verify::default(), ..on("lab", 2) })
            .message
            .contains("own answer")
    );
}

#[test]
fn who_is_away_for_long_is_replaced_and_what_waited_for_it_is_given_up() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    world.make(world.slice_wish("lab", 2)).unwrap();
    let hosts = world.of("lab");
    let gone = hosts[1];
    world.leave(gone);
    let job = world.submit(on("lab", 2));
    world.run();
    assert_eq!(world.by(job)[0], Some(hosts[0]));
    let told = world.reasons(job);
    let short = host_id(gone).short();
    assert!(told.starts_with("waiting for 1 host of its slice, which cannot run it now"), "{told}");
    assert!(
        told.contains(&format!("rank 1: waits for host {short} of slice lab, which is away since")),
        "{told}"
    );
    let sliver = world.view("lab").slivers[1].clone();
    assert!(sliver.away.is_some() && sliver.why.unwrap().contains("replaced at"));
    world.pass(Span::secs(590));
    assert_eq!((world.state(job), world.of("lab")), (JobState::Active, hosts.clone()));
    world.pass(Span::secs(20));
    assert_eq!(world.state(job), JobState::Failed);
    let (task, why) = world.given_up(job).remove(0);
    assert!(
        task == 1 && why.contains(&format!("host {short} was replaced in slice lab: away since")),
        "{why}"
    );
    let third = (1..=3).find(|n| !hosts.contains(n)).unwrap();
    assert_eq!(world.of("lab"), [hosts[0], third], "the rank is kept");
    let slice = world.view("lab");
    assert_eq!((slice.replaced[0].rank, slice.replaced[0].host), (1, host_id(gone)));
    let moved =
        |it: &isos_base::record::AuditRecord| matches!(it.deed, Deed::SliverMoved { rank: 1, .. });
    assert!(world.tables.audit.values().any(moved));
    let next = world.submit(on("lab", 2));
    world.run();
    assert_eq!(world.by(next), [Some(hosts[0]), Some(third)]);
}

#[test]
fn who_comes_back_in_time_keeps_its_rank_and_runs_what_waited() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    world.make(world.slice_wish("lab", 2)).unwrap();
    let hosts = world.of("lab");
    world.leave(hosts[0]);
    let job = world.submit(on("lab", 2));
    world.pass(Span::secs(500));
    world.join(hosts[0]);
    world.run();
    assert_eq!((world.state(job), world.of("lab")), (JobState::Done, hosts));
}

#[test]
fn where_nobody_else_fits_a_host_that_is_lost_stays_and_its_task_is_given_up() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    world.make(world.slice_wish("lab", 2)).unwrap();
    let hosts = world.of("lab");
    world.leave(hosts[0]);
    let job = world.submit(on("lab", 2));
    world.run();
    world.pass(Span::secs(700));
    let (_, why) = world.given_up(job).remove(0);
    assert!(why.contains("of slice lab does not come: away since"), "{why}");
    let sliver = world.view("lab").slivers[0].clone();
    assert!(sliver.why.unwrap().contains("no other host fits"));
    world.join(3);
    world.pass(Span::secs(70));
    assert_eq!(world.of("lab"), [3, hosts[1]], "until one comes");
}

#[test]
fn a_barred_host_is_replaced_at_once() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    world.make(world.slice_wish("lab", 2)).unwrap();
    let hosts = world.of("lab");
    let job = world.submit(on("lab", 2));
    world.complex.bar(host_id(hosts[1]), "it lied".into(), &mut Vec::new());
    world.pass(Span::secs(2));
    assert!(!world.of("lab").contains(&hosts[1]));
    assert!(world.view("lab").replaced[0].why.contains("it lied"));
    let (task, why) = world.given_up(job).remove(0);
    assert!(task == 1 && why.contains("it lied"), "{why}");
}

#[test]
fn a_host_that_is_there_and_takes_nothing_is_not_waited_for_for_ever() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    world.make(world.slice_wish("lab", 2)).unwrap();
    let quiet = world.of("lab")[1];
    let session = world.hosts[&quiet].session.unwrap();
    let offer = Offer::nothing("at work");
    world.step(Input::HostSaid { session, frame: ToComplex::Offer(offer) });
    let job = world.submit(on("lab", 2));
    world.run();
    assert!(world.reasons(job).contains("its owner wants quiet"));
    world.pass(Span::secs(3_590));
    assert_eq!(world.state(job), JobState::Active);
    world.pass(Span::secs(20));
    let (_, why) = world.given_up(job).remove(0);
    assert!(why.contains("is there, and took it not within 1h"), "{why}");
}

#[test]
fn a_task_that_fails_on_its_host_is_given_up_and_not_tried_elsewhere() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    world.make(world.slice_wish("lab", 1)).unwrap();
    let host = world.of("lab")[0];
    let job = world.submit(JobSpec { attempts_max: 2, ..on("lab", 1) });
    for _ in 0..2 {
        let lease = world.hosts[&host].grants[0].lease;
        world.hosts.get_mut(&host).unwrap().grants.clear();
        let leases = vec![LeaseReport {
            lease,
            results: Vec::new(),
            faults: vec![(0, Fault::NoMemory)],
            returned: Vec::new(),
            busy: Span::ZERO,
        }];
        let room = Room { cores_idle: 2, ..Room::default() };
        let session = world.hosts[&host].session.unwrap();
        let report = ToComplex::Report(Report { seq: 1, leases, room });
        world.step(Input::HostSaid { session, frame: report });
    }
    assert_eq!(world.state(job), JobState::Failed);
    assert!(world.given_up(job)[0].1.contains("gave up after 2 attempts"));
}

#[test]
fn a_slice_grows_and_shrinks_by_its_highest_ranks() {
    let mut world = World::new();
    (1..=4).for_each(|n| world.join(n));
    world.make(world.slice_wish("lab", 2)).unwrap();
    let two = world.of("lab");
    assert_eq!(world.resize("lab", 4).unwrap().slivers.len(), 4);
    assert_eq!(world.of("lab")[..2], two, "ranks stay");
    assert!(world.resize("lab", 5).unwrap_err().message.contains("4 hosts of it already"));
    let last = world.of("lab")[3];
    world.leave(last);
    let job = world.submit(on("lab", 4));
    world.run();
    world.resize("lab", 3).unwrap();
    world.pass(Span::secs(2));
    let (task, why) = world.given_up(job).remove(0);
    assert!(task == 3 && why.contains("left slice lab, which was made smaller"), "{why}");
    let changed = |it: &isos_base::record::AuditRecord| {
        matches!(it.deed, Deed::SliceChanged { hosts: 3, .. })
    };
    assert!(world.tables.audit.values().any(changed));
}

#[test]
fn a_slice_ends_with_the_jobs_on_it() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    for (name, how) in [("lab", "was dropped"), ("late", "has ended")] {
        let until = world.now + Span(HOUR.0 / 2);
        world.make(SliceRequest { until, ..world.slice_wish(name, 2) }).unwrap();
        let job = world.submit(on(name, 2));
        if name == "lab" {
            assert_eq!(world.drop_slice(name).unwrap().state, SliceState::Dropped);
            assert_eq!(world.state(job), JobState::Cancelled);
        } else {
            world.pass(HOUR);
            assert_eq!(world.state(job), JobState::Failed);
        }
        let why = world.tables.jobs[&job].why.clone().unwrap();
        assert_eq!(why, format!("slice {name} {how}"));
        assert!(world.hosts.values().all(|host| host.grants.is_empty()), "leases are revoked");
        assert_eq!(world.drop_slice(name).unwrap_err().code, ProblemCode::NotFound);
    }
    assert_eq!(world.complex.slice_views(None).count(), 0);
    assert_eq!(world.complex.account_view(world.buyer()).unwrap().held, MicroCredits::ZERO);
}

#[test]
fn a_restarted_server_knows_slices_and_what_is_pinned_where() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    world.make(world.slice_wish("lab", 2)).unwrap();
    let hosts = world.of("lab");
    let job = world.submit(on("lab", 2));
    world.restart();
    let ids: Vec<u8> =
        world.tables.slices.values().flat_map(|it| &it.slivers).map(|it| it.host.0.0[0]).collect();
    assert_eq!(ids, hosts);
    // Those who are not of it come first, and get nothing.
    for n in (1..=3).rev() {
        world.join(n);
    }
    world.run();
    assert_eq!(world.by(job), hosts.iter().copied().map(Some).collect::<Vec<_>>());
}

#[test]
fn a_host_with_another_key_keeps_its_rank() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    world.make(world.slice_wish("lab", 2)).unwrap();
    let hosts = world.of("lab");
    let job = world.submit(on("lab", 2));
    let call = KeyCall::RotateHost { old: host_id(hosts[0]), new: host_id(9), once: None };
    world.call(Call::Keys(call)).unwrap();
    assert_eq!(world.of("lab"), [9, hosts[1]]);
    assert_eq!(world.tables.jobs[&job].pinned.as_ref().unwrap().hosts[0], host_id(9));
    world.complex.check_invariants();
}

#[test]
fn hosts_of_a_slice_keep_their_connection_where_others_sleep() {
    let config = Config { held_hosts_max: 1, ..Config::default() };
    let mut world = World::with(config);
    world.join(1);
    world.make(world.slice_wish("lab", 1)).unwrap();
    (2..=4).for_each(|n| world.join(n));
    world.leave(1);
    world.join(1);
    assert!(!world.hosts[&1].asleep);
    assert!(world.hosts[&4].asleep);
}

/// Hosts that come, go and fail, slices that are made, changed and dropped, a server that restarts:
/// what is pinned is only ever run by its host (the invariants look at each step), and all ends.
#[test]
fn no_order_of_events_breaks_slices() {
    let mut submitted = 0;
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let mut world = World::with(Config { slice_away: Span::secs(60), ..Config::default() });
        (1..=6).for_each(|n| world.join(n));
        let mut jobs = Vec::new();
        for _ in 0..200 {
            world.now += Span::millis(random.below(2_000));
            let n = 1 + random.below(6) as u8;
            let name = format!("lab{}", random.below(3));
            match random.below(14) {
                0 => world.leave(n),
                1 => {
                    world.hosts.get_mut(&n).unwrap().grants.clear();
                    world.leave(n);
                }
                2..=3 => world.join(n),
                4 => world.pass(Span::secs(random.below(90))),
                5 if random.one_in(4) => world.restart(),
                6 => _ = world.make(world.slice_wish(&name, 1 + random.below(4) as u32)),
                7 => _ = world.resize(&name, 1 + random.below(5) as u32),
                8 if random.one_in(3) => _ = world.drop_slice(&name),
                9..=10 => {
                    let account = world.buyer();
                    let size = world.complex.slice_view(account, &name).map(|it| it.slivers.len());
                    if let Some(size) = size {
                        jobs.push(world.submit(on(&name, size as u32)));
                    }
                }
                _ => _ = world.work(n, random.below(4) as usize),
            }
        }
        (1..=6).for_each(|n| world.join(n));
        world.run();
        world.pass(Span(25 * HOUR.0));
        submitted += jobs.len();
        for job in jobs {
            let record = &world.tables.jobs[&job];
            assert!(record.state.is_over(), "seed {seed}: {record:?}");
            let pinned = record.pinned.as_ref().unwrap();
            for (task, by) in world.by(job).iter().enumerate() {
                let host = pinned.hosts[task].0.0[0];
                assert!(by.is_none_or(|by| by == host), "seed {seed}: task {job}@{task}");
            }
        }
        assert!(world.tables.slices.values().all(|it| it.state != SliceState::Open), "seed {seed}");
        let held: i64 = world.complex.account_views().map(|account| account.held.0).sum();
        assert_eq!(held, 0, "seed {seed}");
        world.restart();
    }
    assert!(submitted > 200, "{submitted} jobs on slices");
}
