//! Tasks that one host holds alone and that another may have to check: how many, of whom.

use std::collections::BTreeMap;

use isos_base::HostId;

/// Of one host.
#[derive(Debug, Default)]
struct Held {
    tasks: u32,
    /// All that it answers is checked.
    always: bool,
}

/// Of one job.
#[derive(Debug, Default)]
pub(super) struct Lone {
    hosts: BTreeMap<HostId, Held>,
    all: u32,
    always: u32,
}

impl Lone {
    /// How many there are.
    pub(super) const fn all(&self) -> u32 {
        self.all
    }

    /// How many of hosts whose answers all are checked.
    pub(super) const fn always(&self) -> u32 {
        self.always
    }

    /// A host holds so many more.
    pub(super) fn hold(&mut self, host: HostId, tasks: u32, always: bool) {
        if tasks == 0 {
            return;
        }
        let held = self.hosts.entry(host).or_default();
        if held.always {
            self.always -= held.tasks;
        }
        held.tasks += tasks;
        held.always = always;
        self.all += tasks;
        if always {
            self.always += held.tasks;
        }
    }

    /// A host holds one less.
    pub(super) fn drop_one(&mut self, host: HostId) {
        let Some(held) = self.hosts.get_mut(&host) else { return };
        held.tasks -= 1;
        self.all -= 1;
        self.always -= u32::from(held.always);
        if held.tasks == 0 {
            self.hosts.remove(&host);
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.hosts.values().all(|held| held.tasks > 0));
        assert_eq!(self.hosts.values().map(|held| held.tasks).sum::<u32>(), self.all);
        let always = self.hosts.values().filter(|held| held.always).map(|held| held.tasks);
        assert_eq!(always.sum::<u32>(), self.always);
    }
}
