//! `isos join`: this machine works for a complex, as its owner's policy allows.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use isos_agent::{Agent, AgentConfig};
use isos_base::ticket::Ticket;
use isos_kernel::policy::Policy;
use isos_probe::{Probe, ProbeConfig};

use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::output::Mode;
use crate::policy::caps_of;
use crate::report::Started;

/// What `isos join` is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct JoinArgs {
    /// The ticket. Not needed again in a home that has joined before.
    pub(crate) ticket: Option<String>,
    /// The owner's policy: a file, or the name of a template (`isos policy template`).
    #[arg(long, value_name = "FILE|TEMPLATE")]
    pub(crate) policy: Option<String>,
    /// A name for this machine.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Reach others through the relay alone.
    #[arg(long)]
    pub(crate) relay_only: bool,
    /// Make no control groups: hold work to the policy by what any user may.
    #[arg(long)]
    pub(crate) no_cgroups: bool,
    /// Read sensors from this file too: how tests play the owner.
    #[arg(long, hide = true, value_name = "FILE")]
    pub(crate) sensors_file: Option<PathBuf>,
    /// How often checkpoints of a task are kept and handed over.
    #[arg(long, hide = true, value_name = "TIME", default_value = "60s")]
    pub(crate) save_every: isos_base::Span,
    /// Run work beside all else on this machine. Joins nothing but a test world.
    #[arg(long, hide = true)]
    pub(crate) in_front_in_test_world: bool,
    /// Answer wrongly. Joins nothing but a test world.
    #[arg(long, hide = true)]
    pub(crate) alter_results_in_test_world: bool,
}

/// Runs an agent until it is asked to end.
pub(crate) async fn run(args: JoinArgs, context: &Context) -> anyhow::Result<End> {
    let paths = &context.settings.paths;
    let silent = context.out.mode() != Mode::Text;
    let bad = |error: isos_base::ticket::TicketError| Refusal::usage(error.to_string());
    let ticket: Option<Ticket> =
        args.ticket.as_deref().map(|text| text.parse().map_err(bad)).transpose()?;
    let policy = match &args.policy {
        Some(which) => Some(policy_text(which)?),
        None => std::fs::read_to_string(paths.policy_file()).ok(),
    };
    std::fs::create_dir_all(&paths.state)
        .with_context(|| format!("cannot make {}", paths.state.display()))?;
    announce(&paths.state, policy.as_deref(), silent)?;
    if args.policy.is_some()
        && let Some(text) = &policy
    {
        // From now on this is the machine's policy: `isos policy` shows and explains it.
        std::fs::create_dir_all(&paths.config)?;
        std::fs::write(paths.policy_file(), text)?;
    }
    let config = AgentConfig {
        policy,
        name: args.name,
        sensors_file: args.sensors_file,
        direct: !args.relay_only,
        groups: !args.no_cgroups,
        save_every: args.save_every,
        in_front_in_test_world: args.in_front_in_test_world,
        alter_results_in_test_world: args.alter_results_in_test_world,
        ..AgentConfig::new(paths.agent_home(), ticket, super::child()?)
    };
    let mut agent = Agent::start(config).await.context("the agent did not start")?;
    let ready = serde_json::json!({ "host": agent.id(), "pid": std::process::id() });
    let quiet = agent.id().to_string();
    context.out.show(&Started { kind: "joined", data: ready, quiet })?;
    tokio::select! {
        asked = super::asked_to_end() => asked?,
        () = agent.ended() => {}
    }
    agent.stop().await;
    Ok(End::Ok)
}

/// The text of a policy: a template by name, else a file.
pub(crate) fn policy_text(which: &str) -> anyhow::Result<String> {
    if let Some(text) = isos_kernel::policy::template(which) {
        return Ok(text.to_owned());
    }
    std::fs::read_to_string(which).with_context(|| {
        let names: Vec<_> = isos_kernel::policy::template_names().collect();
        format!("cannot read the policy {which:?} (templates: {})", names.join(", "))
    })
}

/// Says what will be used, when, and how to stop it, before anything starts.
fn announce(home: &std::path::Path, given: Option<&str>, silent: bool) -> anyhow::Result<()> {
    let policy = match given {
        Some(text) => Policy::parse(text)?,
        None => Policy::default(),
    };
    let probe = Probe::new(ProbeConfig { disk_path: home.to_owned(), sensors_file: None });
    let machine = caps_of(&probe);
    let contradictions = policy.check_machine(&machine);
    if !contradictions.is_empty() {
        let lines: Vec<String> = contradictions.iter().map(ToString::to_string).collect();
        bail!("the policy does not fit this machine:\n  {}", lines.join("\n  "));
    }
    if !silent {
        anstream::eprintln!("This machine will work for others, as your policy allows:");
        for line in policy.describe(&machine) {
            anstream::eprintln!("  {line}");
        }
        anstream::eprintln!(
            "Programs run in a sandbox without network, at the lowest priority.\nStop with Ctrl-C; \
             pause with `isos pause 2h`; see `isos status` and `isos policy explain`.\n"
        );
    }
    Ok(())
}
