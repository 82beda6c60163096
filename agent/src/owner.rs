//! The owner's side: sensors are read, the policy is evaluated, and the machine is told what it
//! allows.

use std::sync::Arc;
use std::time::Duration;

use isos_base::host::{HostSpec, Offer};
use isos_base::{Bytes, Time};
use isos_kernel::host::Input;
use isos_kernel::policy::{MachineCaps, Override, Policy, Standing};
use isos_probe::Probe;
use serde::{Deserialize, Serialize};

use crate::core::Core;
use crate::{Shared, clock};

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
    probe: Probe,
    policy: Policy,
    spec: &HostSpec,
) {
    let machine = MachineCaps { cpus: spec.cpus, memory: spec.memory, disk: spec.disk };
    let watcher = Watcher { core, shared, probe, policy, machine, last: None, load_blocked: false };
    tokio::spawn(watcher.run());
}

struct Watcher {
    core: Core,
    shared: Arc<Shared>,
    probe: Probe,
    policy: Policy,
    machine: MachineCaps,
    last: Option<(Offer, Option<Time>)>,
    load_blocked: bool,
}

impl Watcher {
    async fn run(mut self) {
        let mut owner = self.core.owner();
        let mut works = self.core.busy();
        let mut processes = self.shared.sandbox.processes();
        let mut touched = self.probe.watch();
        loop {
            let pids: Vec<u32> = processes.borrow_and_update().iter().copied().collect();
            let busy = *works.borrow_and_update();
            let said = *owner.borrow_and_update();
            let next = self.look(&pids, said).await;
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
                some = works.changed() => if some.is_err() { return },
                some = processes.changed() => if some.is_err() { return },
            }
        }
    }

    /// Reads, decides, tells. Returns when time alone changes the decision.
    async fn look(&mut self, pids: &[u32], said: Said) -> Option<Time> {
        let now = clock::now();
        let sensors = self.probe.read(pids);
        let word = match said {
            Said::Auto => Override::None,
            Said::Paused { until } => Override::Paused { until },
        };
        let standing = Standing {
            memory: Bytes(pids.iter().map(|&pid| resident(pid)).sum()),
            disk: self.shared.shelf.used(),
            load_blocked: self.load_blocked,
        };
        let decision = self.policy.evaluate(&sensors, now, &word, &self.machine, &standing);
        self.load_blocked = decision.load_blocked;
        let offer = self.policy.offer(&decision);
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

/// Reasons count minutes, free memory moves: only what changes a decision is worth a message.
fn is_news(old: &Offer, new: &Offer) -> bool {
    let moved = |a: Bytes, b: Bytes| a.0.abs_diff(b.0) > a.0.max(b.0) / 8;
    old.cores != new.cores
        || old.price_min != new.price_min
        || old.accept != new.accept
        || moved(old.memory, new.memory)
        || moved(old.disk, new.disk)
}

/// Resident memory of a process, 0 if it is gone.
fn resident(pid: u32) -> u64 {
    const PAGE: u64 = 4_096;
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE
}
