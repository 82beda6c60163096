//! The owner's limits, policy and machine together: whatever the sensors read, the clocks do and
//! the owner says, in any order, nothing runs that must not, and what runs is held to its share.
//!
//! The policy is read off its numbers a second time here, by code that shares nothing with it.

use isos_base::sensors::{LocalClock, Power, Reading, Sensors};
use proptest::prelude::*;

use super::*;
use crate::policy::{MachineCaps, Moved, Override, Policy, Standing};

const MACHINE: MachineCaps =
    MachineCaps { cpus: 8, memory: Bytes::gib(4), disk: Bytes::gib(100), parts: false };
/// Tuesday, 2026-11-17, 00:00 UTC.
const TUESDAY: u64 = 1_794_873_600;

/// A policy as numbers.
#[derive(Debug, Clone)]
struct Plain {
    share_in_use: u8,
    share_idle: u8,
    after_secs: u64,
    memory_in_use: u8,
    memory_idle: u8,
    heat_max: u8,
    day_mib: u64,
    month_mib: u64,
    /// Down to which charge work runs on battery, if it does.
    battery_min: Option<u8>,
    /// Hours of each day in which nothing runs.
    closed: (u64, u64),
}

impl Plain {
    fn policy(&self) -> Policy {
        let (from, to) = self.closed;
        let text = format!(
            "cpu.share_in_use = \"{}%\"\ncpu.share_idle = \"{}%\"\nidle.after = \"{}s\"\n\
             memory.in_use = \"{}%\"\nmemory.idle = \"{}%\"\nmemory.free_floor = \"512MiB\"\n\
             disk.max = \"20GiB\"\ndisk.free_floor = \"10GiB\"\n\
             temperature.max = {}\nnetwork.day_max = \"{}MiB\"\nnetwork.month_max = \"{}MiB\"\n\
             {}\
             [[window]]\nhours = \"{from:02}:00-{to:02}:00\"\nallow = false\n",
            self.share_in_use,
            self.share_idle,
            self.after_secs,
            self.memory_in_use,
            self.memory_idle,
            self.heat_max,
            self.day_mib,
            self.month_mib,
            self.battery_min.map_or_else(String::new, |min| {
                format!("power.on_battery = true\npower.battery_min = \"{min}%\"\n")
            }),
        );
        Policy::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

fn plain() -> impl Strategy<Value = Plain> {
    let shares = (1u8..=100, 13u8..=100, 1u64..900);
    let memory = (10u8..=100, 10u8..=100);
    let hours = (0u64..24, 0u64..24).prop_filter("empty", |(from, to)| from != to);
    let caps = (1u64..500, 0u64..500);
    let power = proptest::option::of(1u8..=100);
    (shares, memory, (40u8..100, power), caps, hours).prop_map(
        |((a, b, after_secs), (c, d), (heat_max, battery_min), (day_mib, more), closed)| Plain {
            share_in_use: a.min(b),
            share_idle: a.max(b),
            after_secs,
            memory_in_use: c.min(d),
            memory_idle: c.max(d),
            heat_max,
            day_mib,
            month_mib: day_mib + more,
            battery_min,
            closed,
        },
    )
}

/// What happens next.
#[derive(Debug, Clone)]
enum Turn {
    Idle(u64),
    Load(f32),
    MemoryFree(u64),
    DiskFree(u64),
    /// With this charge; without, it is on mains.
    Battery(Option<u8>),
    Metered(bool),
    Heat(f32),
    /// The wall clock is set, in seconds since Tuesday; the machine's own time goes on.
    Clock(u64),
    Pause(Option<u64>),
    Resume,
    Moved(u64),
    /// What was moved on a day counts no more for the next, and still for the month.
    NextDay,
    /// The first so many chambers take so many MiB each.
    Weigh(usize, u64),
    Grant(u64),
    Done,
    Wait(u64),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => (0u64..1_200).prop_map(Turn::Idle),
        1 => (0.0f32..3.0).prop_map(Turn::Load),
        2 => (0u64..6_000).prop_map(Turn::MemoryFree),
        1 => (0u64..60).prop_map(Turn::DiskFree),
        1 => proptest::option::of(0u8..=100).prop_map(Turn::Battery),
        1 => any::<bool>().prop_map(Turn::Metered),
        2 => (20.0f32..110.0).prop_map(Turn::Heat),
        2 => (0u64..3 * 86_400).prop_map(Turn::Clock),
        1 => proptest::option::of(1u64..900).prop_map(Turn::Pause),
        1 => Just(Turn::Resume),
        1 => (0u64..100).prop_map(Turn::Moved),
        1 => Just(Turn::NextDay),
        3 => (0usize..4, 0u64..2_500).prop_map(|(which, size)| Turn::Weigh(which, size)),
        4 => (1u64..5).prop_map(Turn::Grant),
        2 => Just(Turn::Done),
        2 => (1u64..400).prop_map(Turn::Wait),
    ]
}

/// The agent's part: reads, has the policy decide, tells the machine.
struct Owner {
    plain: Plain,
    policy: Policy,
    sensors: Sensors,
    wall: u64,
    word: Override,
    moved: (u64, u64),
    standing: Standing,
    weights: BTreeMap<ChamberId, Bytes>,
    leases: u64,
    rig: Rig,
}

impl Owner {
    fn new(plain: Plain) -> Self {
        let mut owner = Self {
            policy: plain.policy(),
            plain,
            sensors: Sensors {
                clock: LocalClock { utc_offset_secs: 0 },
                ..Sensors::idle_machine()
            },
            wall: TUESDAY,
            word: Override::None,
            moved: (0, 0),
            standing: Standing::default(),
            weights: BTreeMap::new(),
            leases: 0,
            rig: Rig::new(MACHINE.cpus),
        };
        owner.look();
        if owner.rig.session.is_some() {
            owner.rig.come_online();
        }
        owner
    }

    fn look(&mut self) {
        let now = Time(self.wall * 1_000_000);
        let (day, month) = self.moved;
        self.standing.moved = Moved { day: Bytes::mib(day), month: Bytes::mib(month) };
        self.standing.memory = self.weight();
        let decision =
            self.policy.evaluate(&self.sensors, now, &self.word, &MACHINE, &self.standing);
        self.standing.load_blocked = decision.load_blocked;
        self.standing.hot = decision.hot;
        let offer = self.policy.offer(&decision);
        self.rig.step(Input::Allowed { offer, until: None });
    }

    /// What chambers that there are still take.
    fn weight(&self) -> Bytes {
        let there = self.weights.iter().filter(|(id, _)| self.rig.chambers.contains_key(id));
        there.fold(Bytes::ZERO, |sum, (_, &weight)| sum + weight)
    }

    fn take(&mut self, turn: &Turn) {
        match *turn {
            Turn::Idle(secs) => self.sensors.idle = Reading::Known(Span::secs(secs)),
            Turn::Load(cores) => self.sensors.other_load = Reading::Known(cores),
            Turn::MemoryFree(mib) => self.sensors.memory_free = Reading::Known(Bytes::mib(mib)),
            Turn::DiskFree(gib) => self.sensors.disk_free = Reading::Known(Bytes::gib(gib)),
            Turn::Battery(charge) => {
                let power = charge.map_or(Power::Mains, |it| Power::Battery(f32::from(it)));
                self.sensors.power = Reading::Known(power);
            }
            Turn::Metered(metered) => self.sensors.metered = Reading::Known(metered),
            Turn::Heat(degrees) => self.sensors.temperature = Reading::Known(degrees),
            Turn::Clock(secs) => self.wall = TUESDAY + secs,
            Turn::Pause(secs) => {
                let until = secs.map(|secs| Time((self.wall + secs) * 1_000_000));
                self.word = Override::Paused { until };
            }
            Turn::Resume => self.word = Override::None,
            Turn::Moved(mib) => self.moved = (self.moved.0 + mib, self.moved.1 + mib),
            Turn::NextDay => self.moved.0 = 0,
            Turn::Weigh(which, mib) => {
                let open = self.rig.chambers.iter().filter(|(_, room)| room.open);
                let ids: Vec<ChamberId> = open.map(|(&id, _)| id).take(which).collect();
                self.weights.extend(ids.into_iter().map(|id| (id, Bytes::mib(mib))));
                let there =
                    self.weights.iter().filter(|(id, _)| self.rig.chambers.contains_key(id));
                let chambers = there.map(|(&id, &weight)| (id, weight)).collect();
                self.rig.step(Input::Weighed { chambers });
            }
            Turn::Grant(which) => self.grant(which),
            Turn::Done => self.done(),
            Turn::Wait(secs) => {
                self.wall += secs;
                self.rig.wait(Span::secs(secs));
            }
        }
        self.look();
        self.open();
    }

    fn grant(&mut self, which: u64) {
        if self.rig.session.is_none() {
            return;
        }
        self.leases += 1;
        let start = u32::try_from(self.leases).unwrap_or(0) * 16;
        self.rig.frame(big_job(which, 1_000_000, Bytes::mib(128 * which)));
        let due = self.rig.in_secs(7_200);
        let grant = grant(self.leases, which, start, start + 16, due);
        self.rig.frame(ToHost::Grant(vec![grant]));
    }

    /// Chambers that are being opened are open.
    fn open(&mut self) {
        let opening = self.rig.chambers.iter().filter(|(_, room)| !room.open);
        let opening: Vec<u64> = opening.map(|(id, _)| id.0).collect();
        for id in opening {
            if self.rig.chambers.contains_key(&ChamberId(id)) {
                self.rig.prepared(id);
            }
        }
    }

    /// A running task ends. Frozen ones do not.
    fn done(&mut self) {
        let busy = self.rig.chambers.iter().find(|(_, room)| !room.tasks.is_empty());
        if let Some((id, task)) = busy.map(|(id, room)| (id.0, room.tasks[0]))
            && !self.rig.frozen
        {
            self.rig.end(id, &[task], Span::secs(2));
        }
    }

    /// Whether the owner's numbers forbid that anything runs.
    fn must_stand_still(&self) -> bool {
        let hour = (self.wall - TUESDAY) % 86_400 / 3_600;
        let (from, to) = self.plain.closed;
        let closed = if from < to { (from..to).contains(&hour) } else { hour >= from || hour < to };
        let now = Time(self.wall * 1_000_000);
        let paused =
            matches!(self.word, Override::Paused { until } if until.is_none_or(|it| it > now));
        let hot = self
            .sensors
            .temperature
            .known()
            .is_some_and(|degrees| *degrees > f32::from(self.plain.heat_max));
        closed
            || paused
            || hot
            || self.share() * u64::from(MACHINE.cpus) < 100
            || self.moved.0 >= self.plain.day_mib
            || self.moved.1 >= self.plain.month_mib
            || self.is_power_short()
            || self.sensors.metered == Reading::Known(true)
            || self.sensors.other_load.known().is_some_and(|load| *load > 1.0)
    }

    fn is_power_short(&self) -> bool {
        let Reading::Known(Power::Battery(charge)) = self.sensors.power else { return false };
        self.plain.battery_min.is_none_or(|min| charge < f32::from(min))
    }

    fn in_use(&self) -> bool {
        self.sensors.idle.known().is_some_and(|idle| *idle < Span::secs(self.plain.after_secs))
    }

    fn share(&self) -> u64 {
        let plain = &self.plain;
        u64::from(if self.in_use() { plain.share_in_use } else { plain.share_idle })
    }

    fn check(&self) {
        let rig = &self.rig;
        let (cores, memory) = rig.limit.expect("the policy was evaluated");
        if self.must_stand_still() {
            assert!(rig.frozen || rig.chambers.is_empty(), "it runs: {:?}", self.sensors);
            assert_eq!(cores, 0);
        }
        assert!(u64::from(cores) * 100 <= self.share() * u64::from(MACHINE.cpus));
        let share = if self.in_use() { self.plain.memory_in_use } else { self.plain.memory_idle };
        assert!(memory.0 * 100 <= MACHINE.memory.0 * u64::from(share));
        assert!(self.weight() <= memory, "{} of {memory}", self.weight());
        let offer = rig.host.offer();
        assert!(offer.disk <= Bytes::gib(20));
        if let Reading::Known(free) = self.sensors.disk_free {
            assert!(offer.disk.0 == 0 || offer.disk.0 + Bytes::gib(10).0 <= free.0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_readings_exceeds_a_limit(
        plain in plain(),
        turns in proptest::collection::vec(turn(), 1..80),
    ) {
        let mut owner = Owner::new(plain);
        for turn in &turns {
            owner.take(turn);
            owner.check();
        }
    }
}

#[test]
fn frozen_work_that_takes_more_than_is_left_to_it_goes_the_least_urgent_first() {
    let mut rig = Rig::online(4);
    for (job, secs) in [(1, 600), (2, 900)] {
        rig.frame(big_job(job, 100, Bytes::gib(1)));
        let due = rig.in_secs(secs);
        rig.frame(ToHost::Grant(vec![grant(job, job, 0, 2, due)]));
        rig.prepared(job);
    }
    let weigh = |rig: &mut Rig, mib: [u64; 2]| {
        let chambers = vec![(ChamberId(1), Bytes::mib(mib[0])), (ChamberId(2), Bytes::mib(mib[1]))];
        rig.step(Input::Weighed { chambers })
    };
    assert_eq!(weigh(&mut rig, [900, 900]), "");
    let back = Offer { cores: 0, memory: Bytes::gib(1), ..offer(0) };
    let told = rig.step(Input::Allowed { offer: back, until: None });
    assert!(told.contains("suspend") && told.contains("stop c2"), "{told}");
    assert!(!told.contains("stop c1"), "the urgent one goes on from where it was: {told}");
    assert_eq!(rig.limit, Some((0, Bytes::gib(1))));
}
