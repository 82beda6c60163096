//! What this host tells of itself in numbers.

use isos_base::sensors::Sensors;
use isos_base::{Bytes, Time};
use isos_gossip::Attribute;
use isos_gossip::attribute::{ATTRIBUTES, Told};
use isos_kernel::constraint::Live;

/// Readings become numbers; what is added up since the start is added up here.
#[derive(Debug)]
pub(super) struct Teller {
    cpus: u16,
    started: Time,
    last: Time,
    running: u32,
    core_seconds: f64,
}

impl Teller {
    pub(super) fn new(now: Time, cpus: u16) -> Self {
        Self { cpus, started: now, last: now, running: 0, core_seconds: 0.0 }
    }

    /// The same for questions that are put to this host; what only the gossip knows is left open.
    pub(super) fn live(&self, told: &Told) -> Live {
        let of = |attribute: Attribute| told[attribute.at()];
        Live {
            memory_free: Bytes(of(Attribute::MemoryFree) as u64),
            disk_free: Bytes(of(Attribute::DiskFree) as u64),
            load: of(Attribute::Load),
            busy: self.running > 0,
            uptime: self.last.since(self.started),
            core_hours: of(Attribute::CoreHours),
            reliability: 0.0,
            public: false,
        }
    }

    /// What there is to tell, `running` tasks of a core each being at work. What cannot be read is
    /// told as nothing: it is claimed nowhere.
    pub(super) fn tell(&mut self, now: Time, sensors: &Sensors, running: u32) -> Told {
        // They ran since the last look, as far as is known.
        let cores = f64::from(self.running.min(u32::from(self.cpus)));
        self.core_seconds += cores * now.since(self.last).as_secs_f64();
        (self.last, self.running) = (now, running);
        let known = |bytes: Option<&Bytes>| bytes.map_or(0.0, |bytes| bytes.0 as f64);
        let load = sensors.other_load.known().copied().unwrap_or(0.0);
        let mut told = [0.0; ATTRIBUTES];
        told[Attribute::Cores.at()] = f64::from(self.cpus);
        told[Attribute::MemoryFree.at()] = known(sensors.memory_free.known());
        told[Attribute::DiskFree.at()] = known(sensors.disk_free.known());
        told[Attribute::Load.at()] = f64::from(load);
        told[Attribute::Busy.at()] = f64::from(u8::from(running > 0));
        told[Attribute::Uptime.at()] = now.since(self.started).as_secs_f64();
        told[Attribute::CoreHours.at()] = self.core_seconds / 3_600.0;
        told
    }
}

#[cfg(test)]
mod tests {
    use isos_base::Span;
    use isos_base::sensors::Reading;

    use super::*;

    #[test]
    fn core_hours_are_those_of_tasks_that_ran_on_cores_that_are_there() {
        let begin = Time(1_000_000_000);
        let mut teller = Teller::new(begin, 4);
        let sensors = Sensors::idle_machine();
        let at = |hours: u64| begin + Span::secs(3_600 * hours);
        assert_eq!(teller.tell(at(1), &sensors, 2)[Attribute::CoreHours.at()], 0.0);
        assert_eq!(teller.tell(at(2), &sensors, 9)[Attribute::CoreHours.at()], 2.0);
        let told = teller.tell(at(3), &sensors, 0);
        assert_eq!(told[Attribute::CoreHours.at()], 6.0);
        assert_eq!(told[Attribute::Uptime.at()], 3.0 * 3_600.0);
        assert_eq!((told[Attribute::Cores.at()], told[Attribute::Busy.at()]), (4.0, 0.0));
        let blind = Sensors { memory_free: Reading::Unknown("no".into()), ..sensors };
        assert_eq!(teller.tell(at(4), &blind, 1)[Attribute::MemoryFree.at()], 0.0);
    }
}
