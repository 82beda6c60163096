//! Stories of hosts that come and go, and of what is repaired.

use proptest::prelude::*;

use super::*;
use isos_base::key::PublicKey;

const HOUR: u64 = 3_600_000_000;
const DAY: u64 = 24 * HOUR;

fn host(number: u8) -> HostId {
    HostId(PublicKey([number; 32]))
}

fn name(number: u8) -> Guid {
    Guid([number; 32])
}

/// A machine, its clock, and what it said.
struct World {
    repairer: Repairer,
    now: Time,
    said: Vec<Effect>,
}

impl World {
    fn new(settings: Settings) -> Self {
        Self { repairer: Repairer::new(settings), now: Time(DAY), said: Vec::new() }
    }

    fn tell(&mut self, input: Input) {
        self.repairer.step(self.now, input, &mut self.said);
        self.repairer.check_invariants();
    }

    /// Lets time pass, with all timers.
    fn pass(&mut self, micros: u64) {
        let end = self.now + Span(micros);
        let mut rounds = 0;
        while let Some(at) = self.repairer.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.tell(Input::TimerFired);
            rounds += 1;
            assert!(rounds < 10_000, "a timer that does nothing");
        }
        self.now = end;
    }

    fn come(&mut self, numbers: impl IntoIterator<Item = u8>) {
        for number in numbers {
            self.tell(Input::HostCame { host: host(number), lifetime: Span(300 * DAY) });
        }
    }

    fn go(&mut self, numbers: impl IntoIterator<Item = u8>) {
        numbers.into_iter().for_each(|number| self.tell(Input::HostWent { host: host(number) }));
    }

    fn keep(&mut self, segment: u8, m: u16, n: u16, repair_at: u16) {
        let holders = (0..n).map(|index| (index, host(index as u8))).collect();
        let kept = Kept {
            segment: name(segment),
            code: Code::new(m, n).unwrap(),
            repair_at,
            fragment_bytes: 1 << 20,
            holders,
        };
        self.tell(Input::SegmentKept(Box::new(kept)));
    }

    fn said(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.said)
    }
}

/// 3-of-10 that is repaired at six, on hosts 0 to 9.
fn ten_hosts() -> World {
    let mut world = World::new(Settings::default());
    world.come(0..10);
    world.keep(1, 3, 10, 6);
    world
}

#[test]
fn a_host_that_is_away_for_an_hour_is_avoided_and_nothing_is_repaired() {
    let mut world = ten_hosts();
    world.go(0..9);
    world.pass(HOUR);
    let avoided: Vec<Effect> = (0..9).map(|number| Effect::Avoid { host: host(number) }).collect();
    assert_eq!(world.said(), avoided);
    assert_eq!(world.repairer.registered(&name(1)), Some(10));
    world.come(0..9);
    world.pass(30 * DAY);
    assert_eq!(world.said(), []);
}

#[test]
fn repair_waits_for_the_threshold_and_then_makes_all_that_is_missing() {
    let mut world = ten_hosts();
    world.go(0..3);
    world.pass(2 * DAY);
    assert_eq!(world.repairer.registered(&name(1)), Some(7));
    assert!(!world.said().iter().any(|it| matches!(it, Effect::Repair { .. })));
    world.go([3]);
    world.pass(2 * DAY);
    let repair = Effect::Repair {
        segment: name(1),
        sources: (4..10).map(|index| (u16::from(index), host(index))).collect(),
        missing: vec![0, 1, 2, 3],
    };
    assert!(world.said().contains(&repair));
    world.come(20..24);
    let stored = (0..4).map(|index| (index, host(20 + index as u8))).collect();
    world.tell(Input::RepairEnded { segment: name(1), stored, moved: Bytes::mib(7) });
    assert_eq!(world.repairer.registered(&name(1)), Some(10));
    assert_eq!(world.said(), []);
}

#[test]
fn hosts_that_return_count_again_and_spare_the_repair() {
    let mut world = ten_hosts();
    world.go(0..3);
    world.pass(2 * DAY);
    world.said();
    world.come(0..2);
    assert_eq!(world.said()[0], Effect::Welcome { host: host(0), fragments: 1 });
    assert_eq!(world.repairer.registered(&name(1)), Some(9));
    world.go(5..7);
    world.pass(2 * DAY);
    let said = world.said();
    assert!(!said.iter().any(|it| matches!(it, Effect::Repair { .. })), "{said:?}");
}

#[test]
fn copies_beyond_the_cap_are_given_back_by_who_returns() {
    let mut world = World::new(Settings { surplus: 1, ..Settings::default() });
    world.come(0..10);
    world.keep(1, 3, 10, 6);
    world.go(0..4);
    world.pass(2 * DAY);
    let stored = (0..4).map(|index| (index, host(20 + index as u8))).collect();
    world.come(20..24);
    world.tell(Input::RepairEnded { segment: name(1), stored, moved: Bytes::mib(7) });
    world.said();
    world.come(0..3);
    let released: Vec<HostId> = world
        .said()
        .into_iter()
        .filter_map(|it| match it {
            Effect::Release { host, .. } => Some(host),
            _ => None,
        })
        .collect();
    assert_eq!(released, [host(1), host(2)], "one copy too many is kept");
}

#[test]
fn a_host_that_sleeps_through_weekends_is_given_longer() {
    let mut world = ten_hosts();
    world.go([0]);
    world.pass(DAY + DAY / 2);
    world.come([0]);
    world.said();
    world.go([0]);
    world.pass(2 * DAY + DAY / 2);
    assert_eq!(world.said(), [Effect::Avoid { host: host(0) }], "it has been away before");
    world.pass(DAY);
    assert_eq!(world.said(), [Effect::Depart { host: host(0), fragments: 1 }]);
}

#[test]
fn the_segment_with_the_least_margin_goes_first() {
    let mut world = World::new(Settings { repairs: 1, ..Settings::default() });
    world.come(0..40);
    world.keep(1, 3, 10, 9);
    world.keep(2, 8, 10, 9);
    world.keep(3, 3, 10, 9);
    world.said();
    // All three lose fragment 0, the third two more.
    world.tell(Input::FragmentLost { segment: name(9), fragment: 0, host: host(0) });
    for (segment, fragments) in [(1, 0..1), (2, 0..1), (3, 0..3)] {
        for fragment in fragments {
            let host = host(fragment as u8);
            world.tell(Input::FragmentLost { segment: name(segment), fragment, host });
        }
    }
    let mut order = Vec::new();
    for _ in 0..3 {
        let said = world.said();
        let segment = said.iter().find_map(|it| match it {
            Effect::Repair { segment, .. } => Some(*segment),
            _ => None,
        });
        order.extend(segment);
        let Some(segment) = segment else { break };
        let stored = (0..3).map(|index| (index, host(30 + index as u8))).collect();
        world.tell(Input::RepairEnded { segment, stored, moved: Bytes::mib(5) });
    }
    // The first began before the others had lost anything.
    assert_eq!(order, [name(1), name(2), name(3)]);
}

#[test]
fn the_budget_spreads_repairs_over_hours() {
    // A repair moves 3 + 4 fragments of 1 MiB; so much is allowed in an hour.
    let budget = Settings { bytes_an_hour: Bytes::mib(7), ..Settings::default() };
    let mut world = World::new(budget);
    world.come(0..10);
    (1..=5).for_each(|segment| world.keep(segment, 3, 10, 6));
    world.go(0..4);
    world.pass(DAY);
    let began = |world: &mut World| {
        world.said().iter().filter(|it| matches!(it, Effect::Repair { .. })).count()
    };
    assert_eq!((began(&mut world), world.repairer.waiting()), (1, 4));
    for left in (0..4).rev() {
        world.pass(HOUR + HOUR / 60);
        assert_eq!((began(&mut world), world.repairer.waiting()), (1, left));
    }
}

#[test]
fn what_cannot_be_read_now_waits_for_a_holder() {
    let mut world = ten_hosts();
    world.go(0..8);
    world.pass(2 * DAY);
    assert!(world.said().contains(&Effect::Lost { segment: name(1), registered: 2 }));
    world.come([0, 1]);
    assert_eq!(world.repairer.registered(&name(1)), Some(4));
    let said = world.said();
    assert!(said.iter().any(|it| matches!(it, Effect::Repair { .. })), "{said:?}");

    // Enough are registered, but too few can be reached.
    let mut world = ten_hosts();
    world.go(0..8);
    world.pass(DAY - HOUR);
    (0..5).for_each(|fragment| {
        let host = host(fragment as u8);
        world.tell(Input::FragmentLost { segment: name(1), fragment, host });
    });
    assert_eq!(world.repairer.waiting(), 1);
    world.said();
    world.come([7]);
    assert!(world.said().iter().any(|it| matches!(it, Effect::Repair { .. })));
}

#[test]
fn a_repair_that_failed_lets_others_go_first() {
    let mut world = World::new(Settings { repairs: 1, ..Settings::default() });
    world.come(0..10);
    world.keep(1, 3, 10, 6);
    world.keep(2, 3, 10, 6);
    world.go(0..4);
    world.pass(DAY);
    world.said();
    let failed = Input::RepairEnded { segment: name(1), stored: vec![], moved: Bytes::ZERO };
    world.tell(failed);
    assert!(matches!(&world.said()[..], [Effect::Repair { segment, .. }] if *segment == name(2)));
    assert_eq!(world.repairer.waiting(), 1);
}

#[test]
fn a_host_that_never_returns_is_forgotten() {
    let mut world = ten_hosts();
    world.go([0]);
    world.pass(40 * DAY);
    assert_eq!(world.repairer.hosts.len(), 9);
    assert_eq!(world.repairer.on_host.len(), 9);
}

proptest! {
    #[test]
    fn whatever_happens_the_tables_agree_and_timers_end(
        events in proptest::collection::vec((0_u8..8, 0_u8..16, 0_u64..3 * DAY), 1..80),
    ) {
        let mut world = World::new(Settings { repairs: 2, ..Settings::default() });
        world.come(0..16);
        for (kind, number, micros) in events {
            match kind {
                0 => world.keep(number % 4, 2 + u16::from(number % 3), 8, 5),
                1 => world.come([number]),
                2 | 3 => world.go([number]),
                4 => world.tell(Input::FragmentLost {
                    segment: name(number % 4),
                    fragment: u16::from(number % 8),
                    host: host(number % 8),
                }),
                5 => {
                    let stored = vec![(u16::from(number % 9), host(number))];
                    let moved = Bytes(micros >> 10);
                    world.tell(Input::RepairEnded { segment: name(number % 4), stored, moved });
                }
                6 => world.tell(Input::SegmentDropped { segment: name(number % 4) }),
                _ => world.pass(micros),
            }
        }
        world.pass(100 * DAY);
    }
}
