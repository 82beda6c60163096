//! `isos policy`: needs no complex, only this machine.

mod edit;

use std::path::{Path, PathBuf};

use isos_kernel::policy::{template, template_names};

use crate::clock;
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::output::clean;
use crate::policy::{Machine, at_home, load, text_at};
use crate::report::{PolicyCheck, PolicyText};

/// What to do with the policy.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Say in sentences what the policy means on this machine
    Show(FileArgs),
    /// Check a policy for mistakes, and for what it can never give on this machine
    Check(FileArgs),
    /// Say what the policy allows now and why, and what it will allow through the week
    Explain(FileArgs),
    /// Change the policy: asks in plain words, or takes --set FIELD=VALUE
    Edit(Box<edit::EditArgs>),
    /// Print a commented policy to begin with: laptop, desktop, server, nas
    Template {
        /// Which; without it, their names
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
}

/// Which policy.
#[derive(Debug, clap::Args)]
pub(crate) struct FileArgs {
    /// A policy file [default: policy.toml in the configuration folder]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// Reads and tells.
pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<End> {
    let paths = &context.settings.paths;
    match command {
        Command::Show(args) => {
            let loaded = load(args.file.as_deref(), paths)?;
            let lines = loaded.policy.describe(&Machine::look(paths)?.caps);
            context.out.note(&format!("policy: {}", loaded.source));
            context.out.show(&PolicyText { source: loaded.source, lines })?;
            tell_older(args.file.as_deref(), context).await;
        }
        Command::Check(args) => {
            let loaded = load(args.file.as_deref(), paths)?;
            let problems = loaded.policy.check_machine(&Machine::look(paths)?.caps);
            let end = if problems.is_empty() { End::Ok } else { End::Senseless };
            context.out.show(&PolicyCheck { source: loaded.source, problems })?;
            return Ok(end);
        }
        Command::Explain(args) => {
            let loaded = load(args.file.as_deref(), paths)?;
            let report = {
                let agent = at_home(paths).await;
                Machine::look(paths)?.decide(loaded, clock::now(), agent.as_ref())
            };
            context.out.show(&report)?;
            tell_older(args.file.as_deref(), context).await;
        }
        Command::Edit(args) => return edit::run(*args, context).await,
        Command::Template { name: None } => {
            let lines = template_names().map(String::from).collect();
            context.out.show(&PolicyText { source: "templates".into(), lines })?;
        }
        Command::Template { name: Some(name) } => {
            let Some(text) = template(&name) else {
                let known: Vec<&str> = template_names().collect();
                let why = format!("there is no template {name:?}: there are {}", known.join(", "));
                return Err(Refusal::not_found(why).into());
            };
            let lines = text.lines().map(String::from).collect();
            context.out.show(&PolicyText { source: name, lines })?;
        }
    }
    Ok(End::Ok)
}

/// Says so when the agent that runs here does not go by the owner's file as it is.
async fn tell_older(file: Option<&Path>, context: &Context) {
    let paths = &context.settings.paths;
    if file.is_some() {
        return;
    }
    let Some(agent) = at_home(paths).await else { return };
    let text = |path: &Path| text_at(path).ok().flatten();
    let own = text(&paths.policy_file());
    let theirs = text(&paths.agent_home().join(isos_agent::POLICY_FILE));
    let differs = own.is_some() && theirs.is_some() && own != theirs;
    let note = match (&agent.policy.trouble, &agent.policy.file) {
        (Some(trouble), _) => {
            format!("the agent that runs here goes by what it knew before: {}", clean(trouble))
        }
        (None, _) if !differs => return,
        (None, Some(_)) => "the agent that runs here goes by it within seconds".into(),
        (None, None) => "the agent that runs here still goes by what the file said before: start \
                         it again, or change the policy by `isos policy edit`, which tells it"
            .into(),
    };
    context.out.note(&note);
}
