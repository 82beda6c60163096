//! Stories of gets: hosts that are slow, gone, empty or lie.

use isos_base::key::PublicKey;
use proptest::prelude::*;

use super::*;
use crate::code::{Code, Coded, Coder};

/// What a host answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    Good,
    Silent,
    Absent,
    Garbage,
    /// After so many milliseconds.
    Slow(u64),
}

/// A get, and the hosts that it asks. Fragment i of each segment is on host i.
struct World {
    get: Get,
    now: Time,
    habits: Vec<Habit>,
    coded: Vec<Coded>,
    /// Answers on their way: when, for which question.
    answers: BTreeMap<(Time, TransferId), Input>,
    asked: Vec<HostId>,
    decoded: BTreeMap<u32, Gather>,
    said: Vec<Effect>,
}

fn host(index: usize) -> HostId {
    HostId(PublicKey([index as u8; 32]))
}

fn plain(segment: usize) -> Vec<u8> {
    vec![segment as u8 + 1; 1_000 + segment]
}

impl World {
    fn new(m: u16, segments: usize, habits: &[Habit], hedge: u16) -> Self {
        let code = Code::new(m, habits.len() as u16).unwrap();
        let mut coder = Coder::new();
        let coded: Vec<Coded> = (0..segments).map(|it| coder.encode(code, plain(it))).collect();
        let wanted = coded.iter().map(|coded| Wanted {
            segment: Segment {
                length: coded.length() as u32,
                code,
                fragments: coded.names().to_vec(),
            },
            holders: (0..code.n()).map(|index| (index, host(usize::from(index)))).collect(),
        });
        let settings = Settings { hedge, ..Settings::default() };
        let get = Get::new(settings, Past::default(), wanted.collect());
        Self {
            get,
            now: Time(1_000_000),
            habits: habits.to_vec(),
            coded,
            answers: BTreeMap::new(),
            asked: Vec::new(),
            decoded: BTreeMap::new(),
            said: Vec::new(),
        }
    }

    fn tell(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.get.step(self.now, input, &mut effects);
        self.get.check_invariants();
        for effect in effects {
            match effect {
                Effect::Ask { transfer, host, name } => self.ask(transfer, host, name),
                Effect::Stop { transfer } => self.answers.retain(|(_, it), _| *it != transfer),
                Effect::Decode { segment, gather } => {
                    assert!(self.decoded.insert(segment, *gather).is_none(), "once each");
                }
                other => self.said.push(other),
            }
        }
    }

    fn ask(&mut self, transfer: TransferId, to: HostId, name: Guid) {
        self.asked.push(to);
        let index = (0..self.habits.len()).find(|it| host(*it) == to).unwrap();
        let fragments = self.coded.iter().map(|coded| coded.fragment(index as u16));
        let bytes = fragments.into_iter().find(|it| Guid::of(it) == name).unwrap();
        let arrived = |bytes| Input::Arrived { transfer, bytes };
        let (millis, input) = match self.habits[index] {
            Habit::Good => (10, arrived(bytes)),
            Habit::Slow(millis) => (millis, arrived(bytes)),
            Habit::Garbage => (10, Input::Failed { transfer, why: Fault::Garbage }),
            Habit::Absent => (10, Input::Failed { transfer, why: Fault::Absent }),
            Habit::Silent => return,
        };
        self.answers.insert((self.now + Span::millis(millis), transfer), input);
    }

    fn run(&mut self) -> Span {
        let begin = self.now;
        self.tell(Input::Started);
        for _ in 0..10_000 {
            let answer = self.answers.first_key_value().map(|((at, _), _)| *at);
            match (answer, self.get.deadline()) {
                (Some(at), timer) if timer.is_none_or(|timer| at <= timer) => {
                    self.now = self.now.max(at);
                    let (_, input) = self.answers.pop_first().unwrap();
                    self.tell(input);
                }
                (_, Some(timer)) => {
                    self.now = self.now.max(timer);
                    self.tell(Input::TimerFired);
                }
                _ => return self.now.since(begin),
            }
        }
        panic!("it never ends");
    }

    /// Checks what came, and gives the names of hosts that were blamed.
    fn check(&self) -> Vec<HostId> {
        let mut coder = Coder::new();
        for (segment, gather) in &self.decoded {
            assert_eq!(gather.decode(&mut coder), Ok(plain(*segment as usize)));
        }
        assert!(matches!(self.said.last(), Some(Effect::Finished)));
        let blamed = self.said.iter().filter_map(|it| match it {
            Effect::Blame { host, .. } => Some(*host),
            _ => None,
        });
        blamed.collect()
    }
}

#[test]
fn the_first_fragments_are_asked_for_and_the_hedge_and_no_more() {
    let mut world = World::new(3, 1, &[Habit::Good; 10], 2);
    world.run();
    assert_eq!(world.check(), []);
    assert_eq!(world.asked, (0..5).map(host).collect::<Vec<_>>());
    assert_eq!(world.decoded.len(), 1);
}

#[test]
fn without_a_hedge_nothing_has_to_be_decoded() {
    let mut world = World::new(3, 4, &[Habit::Good; 10], 0);
    world.run();
    world.check();
    assert_eq!(world.decoded.len(), 4);
    assert!(world.decoded.values().all(|gather| (0..3).all(|index| gather.has(index))));
}

#[test]
fn a_late_answer_is_replaced_after_the_measured_time() {
    // Enough segments to know what is usual, then one host that hangs.
    let mut habits = [Habit::Good; 6];
    habits[1] = Habit::Slow(60_000);
    let mut world = World::new(3, 12, &habits, 0);
    let span = world.run();
    assert_eq!(world.check(), []);
    assert_eq!(world.decoded.len(), 12);
    assert!(span < Span::secs(2), "{span}: the first guess, once; then it is asked last");
    assert!(world.get.late() <= Span::millis(20));
}

#[test]
fn who_serves_garbage_is_named_and_asked_no_more() {
    let mut habits = [Habit::Good; 6];
    habits[0] = Habit::Garbage;
    let mut world = World::new(3, 8, &habits, 1);
    world.run();
    let blamed = world.check();
    assert!(!blamed.is_empty() && blamed.iter().all(|it| *it == host(0)));
    assert_eq!(world.decoded.len(), 8);
    let asked = world.asked.iter().filter(|it| **it == host(0)).count();
    assert!(asked <= 4, "only what was under way together: {asked}");
}

#[test]
fn all_but_m_hosts_may_be_dead() {
    let mut habits = [Habit::Silent; 10];
    for alive in [4, 7, 9] {
        habits[alive] = Habit::Good;
    }
    let mut world = World::new(3, 3, &habits, 2);
    world.run();
    assert_eq!(world.check(), []);
    assert_eq!(world.decoded.len(), 3);
}

#[test]
fn a_segment_with_too_few_fragments_is_missing_with_all_faults_and_the_others_come() {
    let mut habits = [Habit::Absent; 4];
    habits[2] = Habit::Good;
    let mut world = World::new(2, 1, &habits, 0);
    world.run();
    let Effect::Missing { segment: 0, have: 1, need: 2, faults } = &world.said[0] else {
        panic!("{:?}", world.said)
    };
    assert_eq!(faults.len(), 3);
    assert!(faults.iter().all(|(_, why)| *why == Fault::Absent));
    assert_eq!(world.check(), []);
}

#[test]
fn holders_that_are_found_later_are_asked() {
    let habits = [Habit::Silent, Habit::Silent, Habit::Good, Habit::Good];
    let mut world = World::new(2, 1, &habits, 0);
    world.get.waiting[0].1.holders.truncate(2);
    world.tell(Input::Located { segment: 0, fragment: 2, host: host(2) });
    world.tell(Input::Started);
    world.tell(Input::Located { segment: 0, fragment: 3, host: host(3) });
    world.run();
    assert_eq!(world.decoded.len(), 1);
}

#[test]
fn a_get_that_is_cancelled_asks_nothing_more() {
    let mut world = World::new(2, 3, &[Habit::Silent; 4], 1);
    world.tell(Input::Started);
    world.tell(Input::Cancelled);
    assert_eq!(world.get.deadline(), None);
    let asked = world.asked.len();
    world.tell(Input::TimerFired);
    assert_eq!((world.asked.len(), world.said.len()), (asked, 0));
}

#[test]
fn once_answers_are_measured_nothing_more_is_asked_for_than_needed() {
    let mut next = World::new(3, 4, &[Habit::Good; 10], 2);
    next.get.past = measured();
    next.run();
    next.check();
    assert_eq!(next.asked.len(), 12, "three of each");
    assert!(next.decoded.values().all(|gather| (0..3).all(|index| gather.has(index))));
    // Who waits for many has one more of eight under way.
    let mut many = World::new(16, 1, &[Habit::Good; 32], 2);
    many.get.past = measured();
    many.run();
    assert_eq!(many.asked.len(), 18);
}

#[test]
fn who_was_late_now_and_then_is_asked_as_before() {
    let past = Past { strikes: BTreeMap::from([(host(0), LATE), (host(1), FAILED)]), ..measured() };
    let mut world = World::new(3, 1, &[Habit::Good; 6], 0);
    world.get.past = past;
    world.run();
    assert_eq!(world.asked, [host(0), host(2), host(3)]);
    assert_eq!(world.get.past.strikes[&host(0)], LATE - 1, "it was in time");
}

fn measured() -> Past {
    let mut past = Past::default();
    (0..20).for_each(|_| past.pace.took(Span::millis(20)));
    past
}

fn habit() -> impl Strategy<Value = Habit> {
    prop_oneof![
        5 => Just(Habit::Good),
        1 => Just(Habit::Silent),
        1 => Just(Habit::Absent),
        1 => Just(Habit::Garbage),
        1 => (1_u64..30_000).prop_map(Habit::Slow),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_get_brings_every_segment_that_can_be_had_and_ends(
        habits in proptest::collection::vec(habit(), 3..12),
        m in 1_u16..4,
        segments in 0_usize..7,
        hedge in 0_u16..3,
    ) {
        let m = m.min(habits.len() as u16);
        let mut world = World::new(m, segments, &habits, hedge);
        world.run();
        let blamed = world.check();
        for host_blamed in blamed {
            let index = (0..habits.len()).find(|it| host(*it) == host_blamed).unwrap();
            prop_assert_eq!(habits[index], Habit::Garbage);
        }
        let good = habits.iter().filter(|it| **it == Habit::Good).count();
        let missing = world.said.iter().filter(|it| matches!(it, Effect::Missing { .. })).count();
        prop_assert_eq!(world.decoded.len() + missing, segments);
        if good >= usize::from(m) {
            prop_assert_eq!(missing, 0);
        }
    }
}
