//! Bad frames one by one, then everything at random.

use expect_test::expect;
use proptest::prelude::*;

use super::*;

#[test]
fn grants_that_cannot_be_taken_are_turned_down_with_the_reason() {
    let mut rig = Rig::online(2);
    rig.frame(job(7, 100));
    rig.frame(big_job(8, 100, Bytes::gib(4)));
    let mut small = offer(2);
    small.memory = Bytes::gib(3);
    small.accept = Accept::Except(vec![Guid::of(&9u64.to_le_bytes())]);
    rig.step(Input::Allowed { offer: small, until: None });
    rig.frame(job(9, 100));
    let mut cheap = job_offer(10, 100);
    cheap.price = Price(1);
    rig.frame(ToHost::Job(Box::new(cheap)));
    let at = rig.in_secs(100);
    let ranges = |lease, ranges: &[(u32, u32)]| Grant {
        ranges: ranges.iter().map(|&(a, b)| TaskRange::new(a, b)).collect(),
        ..grant(lease, 7, 0, 1, at)
    };
    let told = rig.frame(ToHost::Grant(vec![
        grant(1, 7, 0, 10, at),
        grant(1, 7, 20, 30, at),
        grant(2, 7, 95, 101, at),
        grant(3, 7, 50, 60, START),
        grant(4, 7, 5, 15, at),
        grant(5, 8, 0, 1, at),
        grant(6, 9, 0, 1, at),
        grant(7, 10, 0, 1, at),
        ranges(8, &[]),
        ranges(9, &[(40, 40)]),
        ranges(10, &[(50, 40)]),
        ranges(11, &[(40, 45), (44, 46)]),
        ranges(12, &[(0, 2_000)]),
        ranges(13, &[(0, u32::MAX), (5, u32::MAX)]),
        ranges(14, &[(30, 31); 65]),
    ]));
    expect![[r#"
        say: lease 1 of job 7 turned down: the lease is held already
        say: lease 2 of job 7 turned down: the job has only 100 tasks
        say: lease 3 of job 7 turned down: its deadline has passed
        say: lease 4 of job 7 turned down: some of its tasks are held under another lease
        say: lease 5 of job 8 turned down: a task needs 4 GiB of memory, offered are 3 GiB
        say: lease 6 of job 9 turned down: the owner does not allow program xckva6hczdvdmti4beuy7jd6skdrrtpmltfqm4f32sv42y4s27qq
        say: lease 7 of job 10 turned down: it pays 1 micro-credits per gigafuel, the owner asks for 10
        say: lease 8 of job 7 turned down: its ranges are empty, overlap or are too many
        say: lease 9 of job 7 turned down: its ranges are empty, overlap or are too many
        say: lease 10 of job 7 turned down: its ranges are empty, overlap or are too many
        say: lease 11 of job 7 turned down: its ranges are empty, overlap or are too many
        say: lease 12 of job 7 turned down: its ranges are empty, overlap or are too many
        say: lease 13 of job 7 turned down: its ranges are empty, overlap or are too many
        say: lease 14 of job 7 turned down: its ranges are empty, overlap or are too many
        prepare c1 for job 7, 2 threads
        send report 1: lease 2 returned 95..101; lease 3 returned 50..60; lease 4 returned 5..10; lease 5 returned 0..1; lease 6 returned 0..1; lease 7 returned 0..1; idle 0, tasks 15, backlog 7500ms
    "#]].assert_eq(&told);
}

#[test]
fn a_job_that_was_never_explained_is_given_back_and_asked_for_in_a_new_session() {
    let mut rig = Rig::online(2);
    expect![[r#"
        say: lease 1 of job 77 turned down: the complex did not say what the job is
        disconnect s1
        say: session lost: a job was named that was not explained; again at 1970-01-01T00:16:40Z
    "#]]
    .assert_eq(&rig.grant(1, 77, 0, 10));
}

#[test]
fn a_flood_of_grants_is_bounded() {
    let mut rig = Rig::online(2);
    rig.frame(job(7, 100_000_000));
    let at = rig.in_secs(100);
    for part in 0..2u64 {
        let grants = (0..2_000u64).map(|i| {
            let lease = part * 2_000 + i;
            grant(lease, 7, lease as u32 * 1_000, lease as u32 * 1_000 + 1_000, at)
        });
        rig.frame(ToHost::Grant(grants.collect()));
    }
    assert!((64_000..=65_536).contains(&rig.host.work.held()));
    assert!(rig.host.work.leases.len() <= 512);
}

#[test]
fn jobs_without_work_are_forgotten_for_new_ones() {
    let mut rig = Rig::online(2);
    rig.frame(job(1, 10));
    rig.grant(1, 1, 0, 1);
    for id in 2..300 {
        rig.frame(job(id, 10));
    }
    assert!(rig.grant(2, 1, 1, 2).is_empty(), "the job with work is known");
    assert!(rig.grant(3, 299, 0, 1).contains("prepare"), "the last one too");
    assert!(rig.grant(4, 2, 0, 1).contains("did not say"), "the oldest is not");
}

#[test]
fn acknowledgements_of_reports_that_were_never_sent_are_ignored() {
    let mut rig = Rig::online(1);
    let told = rig.frame(ToHost::Ack { seq: 99, earned: MicroCredits(1) });
    assert_eq!(told, "say: ignored: the acknowledgement of report 99, which was never sent\n");
}

/// What a random run does next.
#[derive(Debug, Clone)]
enum Move {
    Wait(u64),
    Timer,
    /// Be online with all jobs explained, as far as the machine lets us.
    Meet,
    Allow(u16, u64, Option<u64>),
    Connect,
    Hangup,
    Welcome(u64),
    Job(u64, u32, u64),
    Grant(u64, u64, Vec<(u32, u32)>, u64),
    Ack(u64),
    Revoke(u64),
    Sleep(u64),
    Busy,
    Prepare(usize, bool),
    End(usize, usize, u64, bool),
    Lie(u64, u32),
    Die(usize),
}

fn a_move() -> impl Strategy<Value = Move> {
    let span = prop_oneof![4 => 0..100_000u64, 1 => 0..10_000_000u64, 1 => 0..100_000_000u64];
    let good_ranges = (0..150u32, 1..80u32).prop_map(|(start, len)| vec![(start, start + len)]);
    let any_ranges = prop::collection::vec((0..200u32, 0..250u32), 0..4);
    let ranges = prop_oneof![5 => good_ranges, 1 => any_ranges];
    let deadline = prop_oneof![1 => 0..20u64, 4 => 20..2_000u64];
    prop_oneof![
        6 => span.clone().prop_map(Move::Wait),
        3 => Just(Move::Timer),
        10 => Just(Move::Meet),
        3 => (0..8u16, 2..6u64, prop::option::of(0..200u64))
            .prop_map(|(cores, memory, until)| Move::Allow(cores, memory, until)),
        1 => Just(Move::Connect),
        1 => Just(Move::Hangup),
        1 => (0..1_000u64).prop_map(Move::Welcome),
        1 => (0..7u64, 0..300u32, 0..5u64).prop_map(|(j, n, m)| Move::Job(j, n, m)),
        15 => (0..99u64, 0..7u64, ranges, deadline)
            .prop_map(|(lease, job, ranges, secs)| Move::Grant(lease, job, ranges, secs)),
        8 => (0..3u64).prop_map(Move::Ack),
        1 => (0..10u64).prop_map(Move::Revoke),
        1 => (0..100u64).prop_map(Move::Sleep),
        1 => Just(Move::Busy),
        10 => (0..4usize, prop::bool::weighted(0.97)).prop_map(|(c, ok)| Move::Prepare(c, ok)),
        25 => (0..4usize, 1..50usize, span, prop::bool::weighted(0.9))
            .prop_map(|(c, n, w, ok)| Move::End(c, n, w, ok)),
        1 => (0..9u64, 0..200u32).prop_map(|(c, t)| Move::Lie(c, t)),
        2 => (0..4usize).prop_map(Move::Die),
    ]
}

/// The complex, as far as it keeps books of tasks.
#[derive(Default)]
struct Books {
    /// Tasks that a well-formed grant named, until the complex hears of them or revokes them.
    owed: BTreeSet<(LeaseId, u32)>,
    /// The last lease.
    leases: u64,
    /// Tasks heard of in this session, to be heard of only once in it.
    heard: BTreeSet<(LeaseId, u32)>,
    /// Heard of and acknowledged: never to be heard of again.
    settled: BTreeSet<(LeaseId, u32)>,
    session: Option<SessionId>,
    /// Reports of this session that were heard.
    read: usize,
    /// The last of them that was acknowledged.
    acked: u64,
}

struct World {
    rig: Rig,
    books: Books,
    skew: u64,
}

impl World {
    fn new() -> Self {
        Self { rig: Rig::new(4), books: Books::default(), skew: 0 }
    }

    fn play(&mut self, play: Move) {
        match play {
            Move::Wait(micros) => self.rig.now += Span(micros),
            Move::Timer => {
                if let Some(at) = self.rig.host.deadline() {
                    self.rig.now = self.rig.now.max(at);
                }
                self.rig.step(Input::TimerFired);
            }
            Move::Meet => self.meet(),
            Move::Allow(cores, memory, until) => {
                let mut offer = offer(cores);
                offer.memory = Bytes::gib(memory);
                let until = until.map(|secs| self.rig.in_secs(secs));
                self.rig.step(Input::Allowed { offer, until });
            }
            Move::Connect => {
                if let Some(session) = self.rig.session {
                    self.rig.step(Input::Connected { session });
                }
            }
            Move::Hangup => {
                if let Some(session) = self.rig.session.take() {
                    self.rig.step(Input::Disconnected { session, why: "hangup".into() });
                }
            }
            Move::Welcome(skew) => {
                self.skew = skew;
                let now = self.rig.in_secs(skew);
                self.rig.frame(ToHost::Welcome { now, account: AccountId(1) });
            }
            Move::Job(id, count, memory) => {
                self.rig.frame(big_job(id, count, Bytes::gib(memory)));
            }
            Move::Grant(lease, job, ranges, secs) => self.grant(lease, job, &ranges, secs),
            Move::Ack(back) => self.ack(back),
            Move::Revoke(lease) => self.revoke(lease),
            Move::Sleep(secs) => drop(self.rig.frame(ToHost::Sleep(Span::secs(secs)))),
            Move::Busy => {
                let busy = isos_base::wire::Refusal::Busy(Span::secs(5));
                self.rig.frame(ToHost::Refused(busy));
            }
            Move::Prepare(nth, good) => self.prepare(nth, good),
            Move::End(nth, count, wall, good) => self.end(nth, count, wall, good),
            Move::Lie(chamber, task) => {
                let chamber = ChamberId(chamber);
                // Only about tasks that are not in there: the shell itself does not lie.
                if self.rig.chambers.get(&chamber).is_none_or(|room| !room.tasks.contains(&task)) {
                    let ended = vec![Ended { task, wall: Span(5), outcome: ok(task) }];
                    self.rig.step(Input::TasksEnded { chamber, ended });
                }
            }
            Move::Die(nth) => {
                if let Some(&chamber) = self.rig.chambers.keys().nth(nth) {
                    self.rig.die(chamber.0);
                }
            }
        }
        self.listen();
    }

    fn meet(&mut self) {
        if self.online() {
            return;
        }
        if self.rig.session.is_none() {
            self.play(Move::Timer);
        }
        self.play(Move::Connect);
        self.play(Move::Welcome(self.skew));
        for id in 0..6 {
            self.play(Move::Job(id, 200, [1, 1, 1, 2, 3, 4][id as usize]));
        }
    }

    fn online(&self) -> bool {
        matches!(self.rig.host.session.link, super::super::session::Link::Online { .. })
    }

    fn grant(&mut self, lease: u64, job: u64, ranges: &[(u32, u32)], secs: u64) {
        // Numbers count up; now and then one comes again that is held.
        let held = self.rig.host.work.leases.keys().nth(lease as usize).copied();
        let id = held.unwrap_or_else(|| {
            self.books.leases += 1;
            LeaseId(self.books.leases)
        });
        let ranges: Vec<_> = ranges.iter().map(|&(a, b)| TaskRange::new(a, b)).collect();
        let tasks: Vec<_> = ranges.iter().flat_map(|range| range.tasks()).collect();
        let distinct: BTreeSet<_> = tasks.iter().copied().collect();
        let proper = !ranges.is_empty()
            && ranges.iter().all(|range| !range.is_empty())
            && distinct.len() == tasks.len();
        if self.online() && proper && held.is_none() {
            self.books.owed.extend(tasks.iter().map(|&task| (id, task)));
        }
        let deadline = self.rig.in_secs(secs + self.skew);
        let grant = Grant { lease: id, job: JobId(job), ranges, deadline };
        self.rig.frame(ToHost::Grant(vec![grant]));
    }

    fn revoke(&mut self, back: u64) {
        let lease = LeaseId(self.books.leases.saturating_sub(back));
        if self.online() {
            self.books.owed.retain(|(id, _)| *id != lease);
        }
        self.rig.frame(ToHost::Revoke(vec![lease]));
    }

    /// Acknowledges all reports but the last few.
    fn ack(&mut self, back: u64) {
        let Some(last) = self.rig.reports.last().map(|report| report.seq) else { return };
        if !self.online() || back >= last {
            return;
        }
        let seq = last - back;
        let acked = self.books.acked;
        self.books.acked = acked.max(seq);
        let reports =
            self.rig.reports.iter().filter(|report| (acked + 1..=seq).contains(&report.seq));
        for news in reports.flat_map(|report| &report.leases) {
            let tasks = tasks_of(news);
            self.books.settled.extend(tasks.into_iter().map(|task| (news.lease, task)));
        }
        self.rig.frame(ToHost::Ack { seq, earned: MicroCredits(1) });
    }

    /// Hears the reports that were sent since.
    fn listen(&mut self) {
        if self.rig.session != self.books.session {
            self.books.session = self.rig.session;
            self.books.heard.clear();
            self.books.read = 0;
            self.books.acked = 0;
        }
        if self.rig.session.is_none() {
            return;
        }
        let reports = self.rig.reports.iter().skip(self.books.read);
        for news in reports.flat_map(|report| &report.leases) {
            for task in tasks_of(news) {
                let key = (news.lease, task);
                self.books.owed.remove(&key);
                assert!(self.books.heard.insert(key), "{key:?} was reported twice");
                assert!(!self.books.settled.contains(&key), "{key:?} was settled already");
            }
        }
        self.books.read = self.rig.reports.len();
    }

    fn prepare(&mut self, nth: usize, good: bool) {
        let opening = self.rig.chambers.iter().filter(|(_, room)| !room.open).map(|(&id, _)| id);
        let Some(chamber) = opening.into_iter().nth(nth) else { return };
        if good {
            self.rig.prepared(chamber.0);
        } else {
            self.rig.chambers.remove(&chamber);
            let fault = Fault::NoInput("lost".into());
            self.rig.step(Input::JobUnpreparable { chamber, fault });
        }
    }

    fn end(&mut self, nth: usize, count: usize, wall: u64, good: bool) {
        let Some((&chamber, room)) = self.rig.chambers.iter_mut().nth(nth) else { return };
        let count = count.min(room.tasks.len());
        let ended: Vec<_> = room.tasks.drain(..count).collect();
        let outcome = |task| if good { ok(task) } else { Err(Fault::TimedOut) };
        let ended = ended
            .into_iter()
            .map(|task| Ended { task, wall: Span(wall), outcome: outcome(task) })
            .collect();
        self.rig.step(Input::TasksEnded { chamber, ended });
    }

    /// Everybody behaves until all is done.
    fn drain(&mut self) {
        self.rig.allow(4);
        self.listen();
        for _ in 0..2_000 {
            let status = self.rig.host.status();
            if status.running + status.queued == 0 && !status.unreported && self.online() {
                return;
            }
            self.play(Move::Timer);
            self.meet();
            for nth in 0..4 {
                self.play(Move::Prepare(0, true));
                self.play(Move::End(nth, usize::MAX, 1_000, true));
            }
            self.play(Move::Ack(0));
        }
        panic!("not drained: {:?}", self.rig.host.status());
    }
}

fn tasks_of(news: &isos_base::wire::LeaseReport) -> Vec<u32> {
    let mut tasks: Vec<_> = news.results.iter().map(|result| result.task).collect();
    tasks.extend(news.faults.iter().map(|&(task, _)| task));
    tasks.extend(news.returned.iter().flat_map(|range| range.tasks()));
    tasks
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// `Rig::step` checks the invariants and the packing after every move.
    #[test]
    fn whatever_happens_every_task_is_accounted_for(
        moves in prop::collection::vec(a_move(), 1..400)
    ) {
        let mut world = World::new();
        world.play(Move::Allow(4, 5, None));
        world.play(Move::Meet);
        for play in moves {
            world.play(play);
        }
        world.drain();
        prop_assert!(world.books.owed.is_empty(), "never heard of: {:?}", world.books.owed);
        prop_assert!(world.rig.host.work.leases.is_empty());
        prop_assert_eq!(world.rig.host.work.tasks, 0);
    }
}
