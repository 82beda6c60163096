//! The owner's side: sensors are read, the policy is evaluated, and the machine is told what it
//! allows.

use std::sync::Arc;
use std::time::Duration;

use isos_base::host::{HostSpec, Offer};
use isos_base::{Bytes, Time};
use isos_disk::ShelfLimits;
use isos_kernel::host::Input;
use isos_kernel::policy::{MachineCaps, Override, Policy, Standing};
use isos_probe::Probe;
use serde::{Deserialize, Serialize};

use crate::chamber::resident;
use crate::core::Core;
use crate::follow::{Followed, follow};
use crate::{CODE_PART, SHELF_MAX, Shared, clock};

/// What the owner said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Go by the policy.
    Auto,
    /// Stand still, until this time or until told otherwise.
    Paused {
        /// Until when.
        until: Option<Time>,
    },
}

/// Sensors are read this often while there is no work.
const READ_IDLE: Duration = Duration::from_secs(5);
/// And this often from a job's first byte to its last result; a touch of the keyboard is noticed
/// sooner.
const READ_BUSY: Duration = Duration::from_millis(1_000);
/// How often input devices are looked at meanwhile.
const TOUCH: Duration = Duration::from_millis(250);

/// Watches the owner for as long as the agent lives.
pub(crate) fn watch(
    core: Core,
    shared: Arc<Shared>,
    (probe, machine): (Probe, MachineCaps),
    spec: HostSpec,
    followed: Option<Followed>,
) {
    let standing = Standing::default();
    let (last, weight) = (None, Weight::default());
    let watcher = Watcher { core, shared, probe, machine, spec, followed, last, standing, weight };
    tokio::spawn(watcher.run());
}

/// A host as it is told to others: it has what its owner ever lends of the machine. A host has a
/// core at least, though it may never lend it.
pub(crate) fn at_best(host: &HostSpec, policy: &Policy, machine: &MachineCaps) -> HostSpec {
    let MachineCaps { cpus, memory, disk, .. } = policy.at_best(machine);
    HostSpec { cpus: cpus.max(1), memory, disk, ..host.clone() }
}

struct Watcher {
    core: Core,
    shared: Arc<Shared>,
    probe: Probe,
    machine: MachineCaps,
    /// What the complex knows of the host, or is about to be told.
    spec: HostSpec,
    /// The owner's own policy file.
    followed: Option<Followed>,
    last: Option<(Offer, Option<Time>)>,
    /// What stands since the last look.
    standing: Standing,
    weight: Weight,
}

/// When memory is given back: once, when nothing was done between two looks.
#[derive(Debug, Default)]
struct Weight {
    /// Bytes of fragments that had been moved at the last look; nothing before the first.
    moved: Option<u64>,
    is_given_back: bool,
}

impl Weight {
    /// Whether it is time, at a look.
    fn look(&mut self, busy: bool, moved: u64) -> bool {
        let is_quiet = !busy && self.moved == Some(moved);
        self.moved = Some(moved);
        let before = std::mem::replace(&mut self.is_given_back, is_quiet);
        is_quiet && !before
    }
}

impl Watcher {
    async fn run(mut self) {
        let mut owner = self.core.owner();
        let mut works = self.core.busy();
        let mut processes = self.shared.sandbox.processes();
        let mut touched = self.probe.watch();
        let mut policies = self.shared.policy.subscribe();
        loop {
            let pids: Vec<u32> = processes.borrow_and_update().iter().copied().collect();
            let busy = *works.borrow_and_update();
            let said = *owner.borrow_and_update();
            if let Some(followed) = &mut self.followed {
                follow(followed, &self.shared);
            }
            let policy = policies.borrow_and_update().clone();
            self.describe(&policy).await;
            let next = self.look(&policy, &pids, said).await;
            if busy {
                self.core.weigh().await;
            }
            if self.weight.look(busy, self.shared.keeper.moved()) {
                // It walks over the heap: the others go on meanwhile.
                let _ = tokio::task::spawn_blocking(isos_probe::give_back).await;
            }
            let period = if busy { READ_BUSY } else { READ_IDLE };
            let until = next.map(|at| at.since(clock::now()).to_std());
            let wait = until.map_or(period, |until| until.min(period));
            let quiet = async {
                let end = tokio::time::Instant::now() + wait;
                while tokio::time::Instant::now() < end {
                    tokio::time::sleep(if busy { TOUCH.min(wait) } else { wait }).await;
                    if busy && touched.changed() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = quiet => {}
                said = owner.changed() => if said.is_err() { return },
                some = policies.changed() => if some.is_err() { return },
                some = works.changed() => if some.is_err() { return },
                some = processes.changed() => if some.is_err() { return },
            }
        }
    }

    /// Says what the host is, where the policy makes it another one.
    async fn describe(&mut self, policy: &Policy) {
        let spec = at_best(&self.spec, policy, &self.machine);
        if spec != self.spec {
            self.spec = spec.clone();
            self.core.input(Input::Described { spec: Box::new(spec) }).await;
        }
    }

    /// Reads, decides, tells. Returns when time alone changes the decision.
    async fn look(&mut self, policy: &Policy, pids: &[u32], said: Said) -> Option<Time> {
        let now = clock::now();
        let mut sensors = self.probe.read(pids);
        sensors.clock = clock::local(sensors.clock);
        self.shared.traffic.set_clock(sensors.clock);
        let word = match said {
            Said::Auto => Override::None,
            Said::Paused { until } => Override::Paused { until },
        };
        let (kept, leased) = self.shared.keeper.standing();
        let standing = Standing {
            kept,
            leased,
            memory: pids.iter().fold(Bytes::ZERO, |sum, &pid| sum + resident(pid)),
            disk: self.shared.shelf.used() + self.shared.sandbox.code_used(),
            moved: self.shared.traffic.moved(now),
            ..self.standing
        };
        // A group that held parts may have been taken away.
        self.machine.parts = self.shared.sandbox.holds_parts();
        let decision = policy.evaluate(&sensors, now, &word, &self.machine, &standing);
        self.shared.sandbox.hold_cpu(decision.allowance.cpu.0);
        self.standing.load_blocked = decision.load_blocked;
        self.standing.hot = decision.hot;
        self.shared.keeper.allow(decision.allowance.keeping, policy.disk_floor(self.machine.disk));
        self.shared.keeper.tell(&self.core).await;
        // Others are met over the same network that what is kept is served over.
        self.shared.cloud.allow(decision.allowance.keeping.serves);
        self.shared.peers.allow(decision.allowance.keeping.serves);
        let running = self.core.status().await.map_or(0, |status| status.host_status.running);
        self.shared.cloud.looked(&self.spec, &sensors, running).await;
        let offer = policy.offer(&decision);
        self.limit_disk(policy, offer.disk).await;
        let next = decision.next_change;
        let news =
            self.last.as_ref().is_none_or(|(last, until)| is_news(last, &offer) || *until != next);
        if news {
            self.last = Some((offer.clone(), next));
            self.core.input(Input::Allowed { offer, until: next }).await;
        }
        next
    }
}

impl Watcher {
    /// Holds objects and compiled programs to what the policy gives of the disk.
    async fn limit_disk(&mut self, policy: &Policy, disk: Bytes) {
        let (code, code_max) = (self.shared.sandbox.code_used(), Bytes(disk.0 / CODE_PART));
        self.shared.sandbox.set_code_max(code_max);
        let quota = (disk - code.min(code_max)).min(SHELF_MAX);
        let shelf = self.shared.shelf.clone();
        let free_floor = policy.disk_floor(self.machine.disk);
        shelf.set_limits(ShelfLimits { quota, free_floor });
        if shelf.used() > quota || code > code_max {
            let shared = self.shared.clone();
            let evicted = tokio::task::spawn_blocking(move || {
                shared.sandbox.shrink_code()?;
                shelf.evict_to(quota).map_err(std::io::Error::other)
            });
            if let Ok(Err(error)) = evicted.await {
                tracing::warn!("what is above the policy's disk cannot be removed: {error}");
            }
        }
    }
}

/// Reasons count minutes, free memory moves: only what changes a decision is worth a message. Less
/// than before is sooner worth one than more: the machine holds work to what it was told last.
fn is_news(old: &Offer, new: &Offer) -> bool {
    let moved =
        |old: Bytes, new: Bytes| new < Bytes(old.0 - old.0 / 64) || new.0 > old.0 + old.0 / 8;
    old.cores != new.cores
        || old.price_min != new.price_min
        || old.accept != new.accept
        || moved(old.memory, new.memory)
        || moved(old.disk, new.disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_after_each_time_of_work() {
        let mut weight = Weight::default();
        let looks =
            [(false, 0), (false, 0), (false, 0), (true, 0), (false, 0), (false, 0), (false, 7)];
        let given = looks.map(|(busy, moved)| weight.look(busy, moved));
        assert_eq!(given, [false, true, false, false, true, false, false]);
        assert!(weight.look(false, 7), "fragments were moved since");
    }
}
