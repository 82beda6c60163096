//! Stories of puts: hosts that are slow, full, gone or lie.

use isos_base::LeaseId;
use isos_base::fragment::Receipt;
use isos_base::key::SecretKey;
use proptest::prelude::*;

use super::*;

const SECOND: Span = Span::secs(1);

/// What a host does with a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    Good,
    Silent,
    Says(Refusal),
    SignsOther,
}

/// A put, hosts, and a network where everything takes ten milliseconds.
struct World {
    put: Put,
    now: Time,
    keys: BTreeMap<HostId, (SecretKey, Habit)>,
    segments: u32,
    coded: u32,
    under_way: VecDeque<Effect>,
    said: Vec<Effect>,
    kept: BTreeMap<(u32, u16), HostId>,
}

fn name(segment: u32, fragment: u16) -> Guid {
    Guid::of(&[segment as u8, fragment as u8])
}

fn receipt(key: &SecretKey, fragment: Guid, until: Time) -> SignedReceipt {
    let (complex, host) = (key.public(), HostId(key.public()));
    let (lease, length, at) = (LeaseId(1), 64, Time(1));
    Receipt { complex, lease, host, fragment, length, at, until }.sign(key)
}

fn settings(n: u16, commit_at: u16) -> Settings {
    Settings { n, commit_at, flight: 2, background: 1, window: 64, per_host: 2 }
}

impl World {
    fn new(settings: Settings, segments: u32, habits: &[Habit]) -> Self {
        let mut hosts = Vec::new();
        let mut keys = BTreeMap::new();
        for (number, habit) in habits.iter().enumerate() {
            let key = SecretKey::from_bytes(&[number as u8 + 1; 32]);
            let host = HostId(key.public());
            hosts.push(host);
            keys.insert(host, (key, *habit));
        }
        let put = Put::new(settings, &hosts).unwrap();
        let (under_way, said, kept) = (VecDeque::new(), Vec::new(), BTreeMap::new());
        let now = Time(1_000_000);
        let mut world = Self { put, now, keys, segments, coded: 0, under_way, said, kept };
        world.tell(Input::Started);
        world
    }

    fn tell(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.put.step(self.now, input, &mut effects);
        self.put.check_invariants();
        for effect in effects {
            match effect {
                Effect::Send { .. } | Effect::CodeNext => self.under_way.push_back(effect),
                Effect::Keep { segment, fragment, receipt } => {
                    let before = self.kept.insert((segment, fragment), receipt.receipt.host);
                    assert_eq!(before, None, "a fragment is stored once");
                }
                Effect::Stop { transfer } => self.under_way.retain(
                    |it| !matches!(it, Effect::Send { transfer: it, .. } if *it == transfer),
                ),
                other => self.said.push(other),
            }
        }
    }

    /// Lets everything happen, in order, until nothing does.
    fn run(&mut self) {
        for _ in 0..10_000 {
            let Some(effect) = self.under_way.pop_front() else {
                let Some(at) = self.put.deadline() else { return };
                self.now = self.now.max(at);
                self.tell(Input::TimerFired);
                continue;
            };
            self.now += Span::millis(10);
            self.happen(effect);
        }
        panic!("it never ends: {:?}", self.said);
    }

    fn happen(&mut self, effect: Effect) {
        match effect {
            Effect::CodeNext if self.coded == self.segments => self.tell(Input::AllCoded),
            Effect::CodeNext => {
                let names = (0..self.put.settings.n).map(|it| name(self.coded, it)).collect();
                self.coded += 1;
                self.tell(Input::SegmentCoded { names, bytes: 64 });
            }
            Effect::Send { transfer, host, segment, fragment } => {
                let (key, habit) = self.keys[&host].clone();
                let until = self.now + Span::secs(3_600);
                let sign = |name| Box::new(receipt(&key, name, until));
                match habit {
                    Habit::Good => {
                        let receipt = sign(name(segment, fragment));
                        self.tell(Input::Stored { transfer, receipt });
                    }
                    Habit::SignsOther => {
                        let receipt = sign(name(99, 99));
                        self.tell(Input::Stored { transfer, receipt });
                    }
                    Habit::Says(why) => self.tell(Input::Refused { transfer, why }),
                    Habit::Silent => {}
                }
            }
            other => unreachable!("{other:?} takes no time"),
        }
    }

    fn has_said(&self, wanted: &Effect) -> bool {
        self.said.contains(wanted)
    }

    fn replaced(&self) -> Vec<Refusal> {
        let why = |it: &Effect| match it {
            Effect::Replaced { why, .. } => Some(*why),
            _ => None,
        };
        self.said.iter().filter_map(why).collect()
    }
}

#[test]
fn every_fragment_of_every_segment_gets_a_host_of_its_own() {
    let mut world = World::new(settings(5, 4), 7, &[Habit::Good; 5]);
    world.run();
    assert_eq!(world.kept.len(), 35);
    for segment in 0..7 {
        let hosts: std::collections::BTreeSet<HostId> =
            (0..5).map(|fragment| world.kept[&(segment, fragment)]).collect();
        assert_eq!(hosts.len(), 5);
    }
    assert_eq!(world.said.last(), Some(&Effect::Finished { missing: 0 }));
    let freed = world.said.iter().filter(|it| matches!(it, Effect::Free { .. })).count();
    assert_eq!(freed, 7);
}

#[test]
fn the_first_fragments_go_to_all_hosts_in_turn() {
    let mut world = World::new(settings(4, 4), 4, &[Habit::Good; 4]);
    world.run();
    let first: std::collections::BTreeSet<HostId> =
        (0..4).map(|segment| world.kept[&(segment, 0)]).collect();
    assert_eq!(first.len(), 4, "reads prefer these");
}

#[test]
fn a_put_commits_before_its_slowest_host_has_answered() {
    let mut habits = [Habit::Good; 5];
    habits[2] = Habit::Silent;
    let mut world = World::new(settings(5, 4), 1, &habits);
    while !world.has_said(&Effect::Committed) {
        let effect = world.under_way.pop_front().expect("it commits without any timer");
        world.happen(effect);
    }
    assert_eq!(world.kept.len(), 4);
    world.run();
    assert_eq!(world.replaced(), [Refusal::Late]);
    assert_eq!(world.said.last(), Some(&Effect::Finished { missing: 1 }));
}

#[test]
fn a_spare_takes_the_place_of_each_host_that_fails() {
    let mut habits = [Habit::Good; 8];
    habits[0] = Habit::Says(Refusal::Full);
    habits[1] = Habit::Says(Refusal::Unreachable);
    habits[2] = Habit::SignsOther;
    let mut world = World::new(settings(5, 5), 3, &habits);
    world.run();
    assert_eq!(world.kept.len(), 15);
    let mut why = world.replaced();
    why.sort_unstable();
    assert_eq!(why, [Refusal::Unreachable, Refusal::Full, Refusal::BadReceipt]);
    assert_eq!(world.said.last(), Some(&Effect::Finished { missing: 0 }));
}

#[test]
fn a_busy_host_is_asked_again_later_and_replaced_in_the_end() {
    let mut habits = [Habit::Good; 4];
    habits[1] = Habit::Says(Refusal::Busy(SECOND));
    let mut world = World::new(settings(3, 3), 1, &habits);
    let begin = world.now;
    world.run();
    assert_eq!(world.replaced(), [Refusal::Busy(SECOND)]);
    assert!(world.now.since(begin) >= Span(u64::from(BUSY_MAX) * SECOND.0));
    assert_eq!(world.kept.len(), 3);
}

#[test]
fn a_segment_that_cannot_be_made_safe_ends_the_put_with_all_reasons() {
    let mut habits = [Habit::Good; 5];
    habits[3] = Habit::Says(Refusal::Full);
    habits[4] = Habit::Says(Refusal::Unreachable);
    let mut world = World::new(settings(5, 4), 2, &habits);
    world.run();
    let Some(Effect::Failed { segment: 0, stored, hosts }) = world.said.last() else {
        panic!("{:?}", world.said)
    };
    assert!(*stored <= 3 && hosts.len() == 2, "{stored} {hosts:?}");
    assert_eq!(world.put.deadline(), None);
    assert_eq!(world.put.flights(), 0);
}

#[test]
fn no_more_is_in_memory_and_under_way_than_allowed() {
    let mut world = World::new(settings(6, 6), 20, &[Habit::Silent; 6]);
    let mut most = 0;
    for _ in 0..50 {
        // Nobody answers: only coding goes on.
        let Some(at) = world.under_way.iter().position(|it| *it == Effect::CodeNext) else { break };
        let effect = world.under_way.remove(at).unwrap();
        world.happen(effect);
        most = most.max(world.put.flights());
    }
    assert_eq!(most, 2);
    assert_eq!(world.under_way.len(), 12, "two fragments a host");
}

#[test]
fn a_put_that_is_cancelled_breaks_everything_off() {
    let mut world = World::new(settings(3, 3), 2, &[Habit::Silent; 3]);
    let effect = world.under_way.pop_front().unwrap();
    world.happen(effect);
    world.tell(Input::Cancelled);
    assert!(world.under_way.iter().all(|it| !matches!(it, Effect::Send { .. })));
    world.tell(Input::TimerFired);
    assert_eq!(world.said, [Effect::Free { segment: 0 }]);
}

#[test]
fn hosts_must_be_enough_and_different() {
    let hosts: Vec<HostId> =
        (1..4_u8).map(|it| HostId(SecretKey::from_bytes(&[it; 32]).public())).collect();
    let said = Put::new(settings(4, 4), &hosts).unwrap_err();
    assert_eq!(said, StartError::Hosts { hosts: 3, n: 4 });
    let twice = [hosts[0], hosts[1], hosts[0]];
    assert_eq!(Put::new(settings(3, 3), &twice).unwrap_err(), StartError::Twice(hosts[0]));
    let bad = settings(3, 4);
    assert_eq!(Put::new(bad, &hosts).unwrap_err(), StartError::Settings(bad));
}

fn habit() -> impl Strategy<Value = Habit> {
    prop_oneof![
        6 => Just(Habit::Good),
        1 => Just(Habit::Silent),
        1 => Just(Habit::SignsOther),
        1 => Just(Habit::Says(Refusal::Full)),
        1 => Just(Habit::Says(Refusal::Busy(SECOND))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_hosts_do_a_put_ends_and_says_how(
        habits in proptest::collection::vec(habit(), 6..12),
        segments in 0_u32..6,
    ) {
        let mut world = World::new(settings(6, 4), segments, &habits);
        world.run();
        let good = habits.iter().filter(|it| **it == Habit::Good).count();
        let has_committed = world.has_said(&Effect::Committed);
        let Some(last) = world.said.last() else { panic!("it said nothing") };
        if good >= 6 || segments == 0 {
            prop_assert_eq!(last, &Effect::Finished { missing: 0 });
        }
        match last {
            Effect::Finished { missing } => {
                prop_assert!(has_committed);
                prop_assert_eq!(world.kept.len() as u32 + missing, 6 * segments);
            }
            Effect::Failed { .. } => prop_assert!(good < 6 && !has_committed),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

#[test]
fn a_receipt_holds_for_its_host_fragment_length_and_time() {
    let (key, other) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
    let (host, stranger) = (HostId(key.public()), HostId(other.public()));
    let (name, now) = (Guid::of(b"x"), Time(50));
    let signed = receipt(&key, name, Time(100));
    assert!(keeps(&signed, host, name, 64, now));
    assert!(!keeps(&signed, host, Guid::of(b"y"), 64, now));
    assert!(!keeps(&signed, host, name, 65, now));
    assert!(!keeps(&signed, stranger, name, 64, now));
    assert!(!keeps(&signed, host, name, 64, Time(100)));
    let mut longer = signed.clone();
    longer.receipt.until = Time(200);
    assert!(!keeps(&longer, host, name, 64, now));
    let mut stolen = signed;
    stolen.receipt.host = stranger;
    assert!(!keeps(&stolen, stranger, name, 64, now));
}
