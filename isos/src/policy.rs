//! The policy file of this machine's owner, read and named for messages.

pub(crate) mod draft;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use isos_agent::{AgentStatus, Order};
use isos_base::sensors::Reading;
use isos_base::{Bytes, Time};
use isos_kernel::policy::{
    MachineCaps, Override, POLICY_BYTES_MAX, Policy, Standing, template, template_names,
};
use isos_probe::{Probe, ProbeConfig};

use crate::exit::{Code, Refusal};
use crate::paths::Paths;
use crate::report::PolicyNow;
use crate::text;

/// What messages call the file.
const POLICY: &str = "the policy";

/// How long to look at the load of others, and to wait for the desktop's answers.
const LOAD_WINDOW: Duration = Duration::from_millis(600);

/// A policy and where it is from.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// A path, or `built-in default`.
    pub(crate) source: String,
    /// The policy.
    pub(crate) policy: Policy,
}

/// The policy at `path`; else the owner's; else the built-in one, which is a laptop's.
pub(crate) fn load(path: Option<&Path>, paths: &Paths) -> anyhow::Result<Loaded> {
    let own = paths.policy_file();
    let path = match path {
        Some(path) => path,
        None if own.exists() => &own,
        None => {
            let source = format!("built-in default (there is no {})", own.display());
            return Ok(Loaded { source, policy: Policy::default() });
        }
    };
    let text = text::read(POLICY, path, POLICY_BYTES_MAX as u64)?;
    let source = path.display().to_string();
    let policy = parse(&source, &text)?;
    Ok(Loaded { source, policy })
}

/// The text of the policy in this file, if there is one.
pub(crate) fn text_at(path: &Path) -> anyhow::Result<Option<String>> {
    text::read_if_there(POLICY, path, POLICY_BYTES_MAX as u64)
}

/// The text of a policy: a template by name, else a file.
pub(crate) fn text_of(which: &str) -> anyhow::Result<String> {
    if let Some(text) = template(which) {
        return Ok(text.to_owned());
    }
    text::read(POLICY, Path::new(which), POLICY_BYTES_MAX as u64).map_err(|error| {
        match error.downcast::<Refusal>() {
            Ok(refusal) if refusal.code == Code::NotFound => {
                let names: Vec<_> = template_names().collect();
                let hints = vec![format!("templates: {}", names.join(", "))];
                Refusal { hints, ..refusal }.into()
            }
            Ok(refusal) => refusal.into(),
            Err(error) => error,
        }
    })
}

/// The policy that a text is; `source` names it.
pub(crate) fn parse(source: &str, text: &str) -> Result<Policy, Refusal> {
    Policy::parse(text).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!("\n{cause}"));
        Refusal::usage(format!("{source}: {error}{}", cause.unwrap_or_default()))
    })
}

/// This machine, as far as policies ask.
#[derive(Debug)]
pub(crate) struct Machine {
    probe: Probe,
    /// What it has.
    pub(crate) caps: MachineCaps,
}

impl Machine {
    /// Looks at the machine, and at the disk that `paths` are on.
    pub(crate) fn look(paths: &Paths) -> anyhow::Result<Self> {
        let disk_path = existing(&paths.state).context("no folder of this user exists")?;
        let probe = Probe::new(ProbeConfig { disk_path, sensors_file: None });
        let caps = caps_of(&probe);
        Ok(Self { probe, caps })
    }

    /// What a policy allows now. Takes a moment.
    /// What an agent that runs here has been told, has moved and is held by counts; without one,
    /// it is as for one that has just begun.
    pub(crate) fn decide(
        &mut self,
        loaded: Loaded,
        now: Time,
        agent: Option<&AgentStatus>,
    ) -> PolicyNow {
        // Load is an average over half a second: the first reading begins it.
        let _ = self.probe.read(&[]);
        self.probe.watch().wait(LOAD_WINDOW);
        let sensors = self.probe.read(&[]);
        let Loaded { source, policy } = loaded;
        let moved = agent.map(|agent| agent.moved).unwrap_or_default();
        let storage = agent.and_then(|agent| agent.storage.as_ref());
        let (kept, leased) = storage.map(|it| (it.used, it.leased)).unwrap_or_default();
        let standing = Standing { moved, kept, leased, ..Standing::default() };
        let word = match agent.map(|agent| agent.owner) {
            Some(isos_agent::control::Said::Paused { until }) => Override::Paused { until },
            _ => Override::None,
        };
        let decision = policy.evaluate(&sensors, now, &word, &self.caps, &standing);
        let keepers = agent.map_or_else(isos_sandbox::keepers_here, |agent| agent.keepers.clone());
        PolicyNow {
            source,
            now,
            clock: sensors.clock,
            decision,
            week: policy.week(&self.caps),
            price_min: policy.price_min(),
            keepers,
        }
    }
}

/// What the machine has, as far as policies ask; what cannot be read counts as none.
pub(crate) fn caps_of(probe: &Probe) -> MachineCaps {
    let facts = probe.describe();
    let known = |reading: Reading<Bytes>| reading.known().copied().unwrap_or_default();
    MachineCaps {
        cpus: facts.cpus,
        memory: known(facts.memory),
        disk: known(facts.disk),
        parts: isos_sandbox::parts_here(),
    }
}

/// The agent that runs here, if one does.
pub(crate) async fn at_home(paths: &Paths) -> Option<AgentStatus> {
    isos_agent::ask(&paths.agent_home(), Order::Status).await.ok()
}

/// The nearest folder above that exists.
fn existing(path: &Path) -> Option<PathBuf> {
    path.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned)
}
