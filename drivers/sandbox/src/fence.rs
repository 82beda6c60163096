//! The fence around all children together: what an owner's policy allows them, held by the system.
//!
//! Walls (`walls`) are around one program and stand for what it must never do. The fence is around
//! all children and moves with the owner: so many cores, so much memory, all frozen. Whatever
//! runs is held at once, in the kernel, not at its next task.
//!
//! * `find`: where a control group may be made, in version 2 or 1, without touching others'
//! * `group`: one group of ours, its limits, and its end
//! * `cores`: without groups, work is kept on so many cores
//!
//! Each limit says who holds it and what that cannot do ([`Keeper`]); a limit that falls back does
//! so with its reason. The freezer of version 1 is not used: what it has frozen cannot be killed,
//! so an agent that dies would leave it behind. There, and where there are no groups, children are
//! stopped by a signal alone.

mod cores;
mod find;
mod group;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use isos_base::Bytes;
use serde::{Deserialize, Serialize};

use find::Mounts;
use group::{Ability, Group};

/// What all children together may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// Whole cores. With none nothing should run: suspend it.
    pub cores: u16,
    /// Memory.
    pub memory: Bytes,
}

/// Thousandths of a core that are a whole one.
const WHOLE: u32 = 1_000;

/// Who holds one limit, and what that cannot do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeper {
    /// Which limit: `cpu`, `memory`, `processes`, `suspend`, `priority`.
    pub limit: String,
    /// Who holds it.
    pub by: String,
    /// What it does not hold, and why nothing better does; nothing where it holds all.
    pub gap: Option<String>,
}

/// The fence. Dropping it removes its groups.
#[derive(Debug)]
pub(crate) struct Fence(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    groups: Vec<Group>,
    /// Why there is no group for an ability that none has.
    missing: Vec<(Ability, String)>,
    allowed: Option<Allowed>,
    /// No more than so many thousandths of a core, however many cores are allowed.
    cpu_max: Option<u32>,
    frozen: bool,
    children: BTreeSet<u32>,
    /// Why work could not be kept on its cores, if it could not.
    stray: Option<String>,
    /// Whether work has only time that nobody else wants.
    idle: bool,
}

impl Fence {
    /// A fence with control groups where they can be had, else without; groups that are `idle` have
    /// only time that nobody else wants.
    pub(crate) fn new(groups: bool, idle: bool) -> Self {
        let mut state = State { idle, ..State::default() };
        if groups {
            let sought =
                Mounts::here().and_then(|mounts| find::groups(&mounts, &group::own_name()?, idle));
            match sought {
                Ok(found) => state.groups = found,
                Err(error) => state.miss(&Ability::ALL, &error.to_string()),
            }
            for ability in Ability::ALL {
                if state.group(ability).is_none() && state.why_not(ability).is_none() {
                    state.miss(&[ability], find::WHY_NONE);
                }
            }
        } else {
            state.miss(&Ability::ALL, "control groups are not wanted");
        }
        Self(Mutex::new(state))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a child in, before it does any work.
    pub(crate) fn enter(&self, child: u32) {
        let mut state = self.lock();
        state.children.insert(child);
        state.attach(child);
        state.keep_on_cores();
    }

    /// A child has ended, or is being killed.
    pub(crate) fn leave(&self, child: u32) {
        self.lock().children.remove(&child);
    }

    /// Holds all children to this from now on.
    pub(crate) fn allow(&self, allowed: Allowed) {
        let mut state = self.lock();
        state.allowed = Some(allowed);
        state.apply();
    }

    /// Holds all children to so many thousandths of a core from now on, where a group can: for
    /// shares below one core.
    pub(crate) fn hold_cpu(&self, thousandths: u32) {
        let mut state = self.lock();
        if state.cpu_max != Some(thousandths) {
            state.cpu_max = Some(thousandths);
            state.apply();
        }
    }

    /// Whether it can hold its children to a part of a core.
    pub(crate) fn holds_parts(&self) -> bool {
        self.lock().group(Ability::Cpu).is_some()
    }

    /// Freezes all children, those that come as well, or lets them go on. Stopping each child is
    /// the caller's; this keeps whatever else could wake them from doing so.
    pub(crate) fn freeze(&self, frozen: bool) {
        let mut state = self.lock();
        state.frozen = frozen;
        state.set(Ability::Freeze, |group| group.freeze(frozen));
    }

    /// Removes the groups, with what is in them.
    pub(crate) fn close(&self) {
        let groups = std::mem::take(&mut self.lock().groups);
        drop(groups);
    }

    /// Who holds what.
    pub(crate) fn keepers(&self) -> Vec<Keeper> {
        self.lock().keepers()
    }
}

impl State {
    fn group(&self, ability: Ability) -> Option<&Group> {
        self.groups.iter().find(|group| group.can(ability))
    }

    fn why_not(&self, ability: Ability) -> Option<&str> {
        self.missing.iter().find(|(missing, _)| *missing == ability).map(|(_, why)| why.as_str())
    }

    fn miss(&mut self, abilities: &[Ability], why: &str) {
        for &ability in abilities {
            self.missing.retain(|(missing, _)| *missing != ability);
            self.missing.push((ability, why.into()));
            self.groups.iter_mut().for_each(|group| group.give_up(ability));
        }
    }

    /// Sets a limit in the group that has it; one that cannot be set is held no longer, and said.
    fn set(&mut self, ability: Ability, set: impl FnOnce(&Group) -> io::Result<()>) {
        let Some(group) = self.group(ability) else { return };
        if let Err(error) = set(group) {
            self.miss(&[ability], &format!("{}: {error}", group.dir().display()));
        }
    }

    fn apply(&mut self) {
        let Some(Allowed { cores, memory }) = self.allowed else { return };
        let whole = u32::from(cores) * WHOLE;
        let cpu = self.cpu_max.map_or(whole, |max| max.min(whole));
        self.set(Ability::Cpu, |group| group.set_cpu(cpu));
        // What a group still holds may be more than it now may have: version 1 then refuses, and
        // is asked again with the next reading of the sensors. Its keeper stays the same.
        if let Some(group) = self.group(Ability::Memory)
            && let Err(error) = group.set_memory(memory)
            && error.kind() != io::ErrorKind::ResourceBusy
        {
            self.miss(&[Ability::Memory], &error.to_string());
        }
        self.keep_on_cores();
    }

    fn attach(&mut self, child: u32) {
        let mut failed = Vec::new();
        for group in &self.groups {
            if let Err(error) = group.enter(child) {
                failed.push((group.abilities(), format!("{}: {error}", group.dir().display())));
            }
        }
        for (abilities, why) in failed {
            // A child that has ended at once is no fault of the group.
            if group::is_alive(child) {
                self.miss(&abilities, &why);
            }
        }
    }

    /// Without a group for it, so many cores are all that children may run on.
    fn keep_on_cores(&mut self) {
        let Some(Allowed { cores, .. }) = self.allowed else { return };
        if self.group(Ability::Cpu).is_some() {
            return;
        }
        for &child in &self.children {
            match cores::keep_on(child, cores) {
                Ok(()) => self.stray = None,
                Err(error) if group::is_alive(child) => self.stray = Some(error.to_string()),
                Err(_) => {}
            }
        }
    }

    fn keepers(&self) -> Vec<Keeper> {
        let by = |ability: Ability| self.group(ability).map(|group| group.says(ability));
        let why = |ability: Ability| self.why_not(ability).unwrap_or("no group").to_owned();
        let keeper =
            |limit: &str, by: String, gap: Option<String>| Keeper { limit: limit.into(), by, gap };
        let cpu = match (by(Ability::Cpu), &self.stray) {
            (Some(by), _) => keeper("cpu", by, None),
            (None, None) => {
                let gap = format!("whole cores, not parts of one; no group: {}", why(Ability::Cpu));
                keeper("cpu", "the cores that work is kept on (affinity)".into(), Some(gap))
            }
            (None, Some(stray)) => {
                let gap = format!(
                    "what runs when the share falls goes on to its end; affinity: {stray}; no \
                     group: {}",
                    why(Ability::Cpu)
                );
                keeper("cpu", "the run queue alone: whole cores".into(), Some(gap))
            }
        };
        let memory = by(Ability::Memory).map_or_else(
            || {
                let by = "a limit on each child (RLIMIT_DATA), and a look each second";
                let gap = format!("together for a second more; no group: {}", why(Ability::Memory));
                keeper("memory", by.into(), Some(gap))
            },
            |by| keeper("memory", by, None),
        );
        let processes = by(Ability::Processes).map_or_else(
            || {
                let gap =
                    format!("nothing if that filter fails; no group: {}", why(Ability::Processes));
                keeper("processes", "seccomp: no child starts another".into(), Some(gap))
            },
            |by| keeper("processes", format!("seccomp, and {by}"), None),
        );
        let suspend = by(Ability::Freeze).map_or_else(
            || {
                let gap = format!(
                    "a child could be woken by another program of this user; no group: {}",
                    why(Ability::Freeze)
                );
                keeper("suspend", "SIGSTOP to each child".into(), Some(gap))
            },
            |by| keeper("suspend", format!("SIGSTOP to each child, and {by}"), None),
        );
        let idle = "SCHED_IDLE, nice 19, the disk's idle class";
        let priority = match self.group(Ability::Cpu) {
            _ if !self.idle => {
                let gap = "work competes with all else: this world was started so".into();
                keeper("priority", "nothing".into(), Some(gap))
            }
            Some(group) => keeper("priority", format!("{idle}, and {}", group.idles_by()), None),
            None => keeper("priority", idle.into(), None),
        };
        vec![cpu, memory, processes, suspend, priority]
    }
}
