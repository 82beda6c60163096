//! `isos join`: this machine works for a complex, as its owner's policy allows.

use std::path::PathBuf;
use std::pin::pin;

use anyhow::Context as _;
use isos_agent::{Agent, AgentConfig};
use isos_base::capability;
use isos_base::right::Right;
use isos_base::ticket::Ticket;
use isos_base::wire::Refusal as Turned;
use isos_kernel::policy::Policy;
use isos_probe::{Probe, ProbeConfig};

use crate::clock;
use crate::context::Context;
use crate::exit::{Code, End, Refusal};
use crate::output::{Mode, clean};
use crate::paths::Paths;
use crate::policy::caps_of;
use crate::report::Started;
use crate::text;

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
    /// The country that this machine is in, such as FI: for buyers who ask for one, and for maps.
    /// Told to nobody unless you say it.
    #[arg(long, value_name = "CC", value_parser = country)]
    pub(crate) country: Option<String>,
    /// Reach others through the relay alone.
    #[arg(long)]
    pub(crate) relay_only: bool,
    /// Make no control groups: hold work to the policy by what any user may.
    #[arg(long)]
    pub(crate) no_cgroups: bool,
    /// Read sensors from this file too: how tests play the owner.
    #[arg(long, hide = true, value_name = "FILE")]
    pub(crate) sensors_file: Option<PathBuf>,
    /// Look for the system's files of sensors under this folder: how tests play a machine.
    #[arg(long, hide = true, value_name = "DIR")]
    pub(crate) sensors_root: Option<PathBuf>,
    /// How often checkpoints of a task are kept and handed over.
    #[arg(long, hide = true, value_name = "TIME", default_value = "60s")]
    pub(crate) save_every: isos_base::Span,
    /// How often this host meets another. Joins nothing but a test world if it is not the usual.
    #[arg(long, hide = true, value_name = "TIME", default_value = "10s")]
    pub(crate) gossip_cycle: isos_base::Span,
    /// Run work beside all else on this machine. Joins nothing but a test world.
    #[arg(long, hide = true)]
    pub(crate) in_front_in_test_world: bool,
    /// End when standard input does: whoever started this process holds its other end.
    #[arg(long, hide = true)]
    pub(crate) with_parent: bool,
    /// Answer wrongly. Joins nothing but a test world.
    #[arg(long, hide = true)]
    pub(crate) alter_results_in_test_world: bool,
}

/// Two letters, in capitals.
fn country(text: &str) -> Result<String, String> {
    if text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Ok(text.to_ascii_uppercase());
    }
    Err("is not a country in two letters, such as FI".into())
}

/// A shorter cycle would leave no time for an answer.
const GOSSIP_CYCLE_MIN: isos_base::Span = isos_base::Span::millis(200);

/// Runs an agent until it is asked to end.
pub(crate) async fn run(args: JoinArgs, context: &Context) -> anyhow::Result<End> {
    let paths = &context.settings.paths;
    let silent = context.out.mode() != Mode::Text;
    let bad = |error: isos_base::ticket::TicketError| Refusal::usage(error.to_string());
    let ticket: Option<Ticket> =
        args.ticket.as_deref().map(|text| text.parse().map_err(bad)).transpose()?;
    ticket.iter().try_for_each(lets_join)?;
    let policy = text_of(args.policy.as_deref(), paths)?;
    std::fs::create_dir_all(&paths.state)
        .with_context(|| format!("cannot make {}", paths.state.display()))?;
    announce(&paths.state, policy.as_ref(), silent)?;
    let config = AgentConfig {
        policy: policy.as_ref().map(|policy| policy.text.clone()),
        name: args.name,
        country: args.country,
        policy_file: Some(paths.policy_file()),
        sensors_file: args.sensors_file,
        sensors_root: args.sensors_root,
        direct: !args.relay_only,
        groups: !args.no_cgroups,
        save_every: args.save_every,
        gossip_cycle: args.gossip_cycle.max(GOSSIP_CYCLE_MIN),
        in_front_in_test_world: args.in_front_in_test_world,
        alter_results_in_test_world: args.alter_results_in_test_world,
        ..AgentConfig::new(paths.agent_home(), ticket, super::child()?)
    };
    let mut agent = Agent::start(config).await.context("the agent did not start")?;
    if args.policy.is_some()
        && let Some(policy) = &policy
    {
        // From now on this is the machine's policy: `isos policy` shows and explains it. Now,
        // since the home is ours: another agent that runs here keeps its own.
        if let Err(error) = text::write(&paths.policy_file(), &policy.text) {
            agent.stop().await;
            return Err(error);
        }
    }
    let ready = serde_json::json!({ "host": agent.id(), "pid": std::process::id() });
    let quiet = agent.id().to_string();
    context.out.show(&Started { kind: "joined", data: ready, quiet })?;
    let mut asked = pin!(super::asked_to_end(args.with_parent));
    let end = tokio::select! {
        asked = &mut asked => asked.map(|()| isos_agent::End::Stopped),
        end = outlook(&mut agent, context) => Ok(end),
    };
    agent.stop().await;
    match end? {
        isos_agent::End::Stopped => Ok(End::Ok),
        isos_agent::End::Refused(refusal) => Err(turned_away(&refusal).into()),
    }
}

/// A ticket for something else is not kept. What it allows is in it; whether it still does, the
/// complex says.
fn lets_join(ticket: &Ticket) -> Result<(), Refusal> {
    let holder = match capability::check(&ticket.complex, &ticket.token, clock::now()) {
        Ok(holder) if !holder.may(Right::Join) => holder,
        _ => return Ok(()),
    };
    let rights: Vec<&str> = holder.rights.iter().map(|right| right.name()).collect();
    Err(Refusal::unauthorised(format!(
        "this ticket lets no machine join: it allows {}; ask for one with `isos ticket --rights join`",
        rights.join(", ")
    )))
}

/// Says why nothing happens, if the policy allows nothing now; then waits for the agent's end.
async fn outlook(agent: &mut Agent, context: &Context) -> isos_agent::End {
    if let Some(offer) = agent.first_offer().await
        && offer.cores == 0
    {
        let why = offer.reasons.first().map_or("it says so", String::as_str);
        context.out.note(&format!(
            "Nothing runs now: {}.\nThe complex is called as soon as that changes; `isos policy \
             explain` tells when.",
            clean(why).trim_end_matches('.')
        ));
    }
    agent.ended().await
}

/// The complex will not have this machine.
fn turned_away(why: &Turned) -> Refusal {
    let code = match why {
        Turned::Unfit(_) => Code::Refused,
        _ => Code::Unauthorised,
    };
    let word = if code == Code::Refused { "refused" } else { "unauthorised" };
    let message = clean(&why.to_string()).into_owned();
    Refusal { code, word, message, hints: Vec::new() }
}

/// The policy to go by.
struct Given {
    /// For messages.
    source: String,
    text: String,
}

/// The policy that is asked for; else the owner's; else the one that the agent went by before.
/// Nothing where there is none, never because one cannot be read: an owner who wrote limits down
/// must not get others.
fn text_of(which: Option<&str>, paths: &Paths) -> anyhow::Result<Option<Given>> {
    if let Some(which) = which {
        let text = crate::policy::text_of(which)?;
        return Ok(Some(Given { source: which.into(), text }));
    }
    let before = paths.agent_home().join(isos_agent::POLICY_FILE);
    for path in [paths.policy_file(), before] {
        if let Some(text) = crate::policy::text_at(&path)? {
            return Ok(Some(Given { source: path.display().to_string(), text }));
        }
    }
    Ok(None)
}

/// Says what will be used, when, and how to stop it, before anything starts.
fn announce(home: &std::path::Path, given: Option<&Given>, silent: bool) -> anyhow::Result<()> {
    let policy = match given {
        Some(Given { source, text }) => crate::policy::parse(source, text)?,
        None => Policy::default(),
    };
    let probe = Probe::new(ProbeConfig { disk_path: home.to_owned(), sensors_file: None });
    let machine = caps_of(&probe);
    let contradictions = policy.check_machine(&machine);
    if !contradictions.is_empty() {
        let lines: Vec<String> = contradictions.iter().map(ToString::to_string).collect();
        let why = format!("the policy does not fit this machine:\n  {}", lines.join("\n  "));
        return Err(Refusal::usage(why).into());
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
