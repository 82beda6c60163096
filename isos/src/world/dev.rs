//! `isos dev`: a whole world on this machine, until Ctrl-C.

use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;

use super::local::{HostPlan, World};
use crate::context::Context;
use crate::exit::End;
use crate::local::LocalComplex;
use crate::output::{Mode, plural};
use crate::paths::Paths;
use crate::report::Started;

/// What `isos dev` is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DevArgs {
    /// How many hosts.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) hosts: u16,
    /// Where the HTTP API and the dashboard answer; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) http: String,
}

/// Runs a world until it is asked to end. Without `--home` it leaves nothing behind.
pub(crate) async fn run(args: DevArgs, context: &Context) -> anyhow::Result<End> {
    let started = Instant::now();
    let (home, temporary) = match &context.home {
        Some(home) => (std::path::absolute(home)?, false),
        None => (super::tour::temporary_home("dev")?, true),
    };
    let result = serve(&home, &args, context, temporary, started).await;
    if temporary {
        let _ = std::fs::remove_dir_all(&home);
    }
    result.map(|()| End::Ok)
}

async fn serve(
    home: &Path,
    args: &DevArgs,
    context: &Context,
    temporary: bool,
    started: Instant,
) -> anyhow::Result<()> {
    // From before anybody is told of it: a signal that comes at once finds somebody.
    let asked = tokio::spawn(super::asked_to_end(false));
    let mut world = World::start(home, &args.http).await?;
    for n in 1..=args.hosts {
        let plan = HostPlan { name: format!("host-{n}"), cores: 1, ..HostPlan::default() };
        world.add_host(&plan).await?;
    }
    world.wait_for_hosts(args.hosts.into()).await?;
    // Commands of this user find the world without any setting, unless they find another already.
    let ready = &world.ready;
    let note = LocalComplex { server: ready.api.clone(), token: ready.token.clone() };
    let usual = context.settings.paths.local_file();
    let other = LocalComplex::beside(&usual, &ready.api);
    let note_file = match &other {
        None => usual,
        Some(_) => Paths::find(Some(home), &|_| None)?.local_file(),
    };
    note.write(&note_file).with_context(|| format!("cannot write {}", note_file.display()))?;
    context.out.show(&Started { kind: "dev", data: ready, quiet: ready.api.clone() })?;
    if context.out.mode() == Mode::Text {
        let kind = if temporary { "gone when this ends" } else { "kept" };
        // With a folder of its own, the world is found only by those who look there; and a complex
        // that runs here already stays the one that commands find.
        let export = match (&other, temporary) {
            (None, true) => String::new(),
            _ => format!("  export ISOS_HOME={}\n", home.display()),
        };
        let isos = super::this_program();
        anstream::eprintln!(
            "ready in {:.1} s: a server and {}\n  dashboard  {}\n  state      {} ({kind})\n\n\
             Next, in another terminal:\n{export}  {isos} status\n  {isos} submit \
             guest/modules/spin.wasm --count 100 --wait\n\nCtrl-C ends it.",
            started.elapsed().as_secs_f64(),
            plural(args.hosts, "host"),
            ready.api,
            home.display(),
        );
    }
    let end = tokio::select! {
        asked = asked => asked.map_err(Into::into).and_then(|asked| asked.map_err(Into::into)),
        error = world.server_ended() => Err(error),
    };
    note.remove(&note_file)?;
    world.stop().await;
    end
}
