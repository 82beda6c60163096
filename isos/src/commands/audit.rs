//! `isos audit`: what was done about rights and new credits, and a check of it without anybody's
//! help.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser as NonEmpty;
use isos_base::audit::SignedAudit;
use isos_base::key::PublicKey;

use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::report::{AuditChecked, AuditList};

/// Bytes of an exported log: some three million records.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// What of the log.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only what is behind this position of the log
    #[arg(long, value_name = "SEQ", default_value = "0")]
    after: u64,
    /// At most so many records
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Of this account; operators see all if it is not said
    #[arg(long, value_name = "ACCOUNT", value_parser = NonEmpty::new())]
    account: Option<String>,
}

/// What else to do with it.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Bring the log home, signed by the complex: all of it (operators), or that of an account
    Export {
        /// A new file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Of which account; all of them if not said
        #[arg(long, value_name = "ACCOUNT", value_parser = NonEmpty::new())]
        account: Option<String>,
    },
    /// Check an exported log, asking nobody: its chain and its signature
    Verify {
        /// What `isos audit export` wrote
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// An earlier one, of which this must be the continuation
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
        /// The key that must have signed it [default: that of the complex in the settings]
        #[arg(long, value_name = "KEY")]
        complex: Option<PublicKey>,
    },
}

/// Asks and tells, or checks.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let not_right = |error: isos_base::audit::AuditError| {
        Refusal::verification(format!("the log is not right: {error}"))
    };
    match args.command {
        None => {
            let client = context.client()?;
            let whose = match args.account {
                Some(account) => Some(account),
                None if client.whoami().await?.rights.iter().any(|it| it == "operate") => None,
                None => Some("me".into()),
            };
            let records = client.audit(whose.as_deref(), args.after, args.limit).await?;
            context.out.show(&AuditList(records))?;
        }
        Some(Command::Export { file, account }) => {
            let log = context.client()?.signed_audit(account.as_deref()).await?;
            log.check(context.settings.complex().as_ref()).map_err(not_right)?;
            let bytes = serde_json::to_vec_pretty(&log)?;
            let write = || {
                let mut out = File::create_new(&file)?;
                out.write_all(&bytes)?;
                out.sync_all()
            };
            write().with_context(|| format!("cannot write {}", file.display()))?;
            context.out.show(&AuditChecked { log, known: true })?;
        }
        Some(Command::Verify { file, since, complex }) => {
            let log = read(&file)?;
            let complex = complex.or_else(|| context.settings.complex());
            log.check(complex.as_ref()).map_err(not_right)?;
            if let Some(since) = since {
                let earlier = read(&since)?;
                earlier.check(Some(&log.signed.complex)).map_err(not_right)?;
                log.follows(&earlier).map_err(not_right)?;
            }
            context.out.show(&AuditChecked { log, known: complex.is_some() })?;
        }
    }
    Ok(End::Ok)
}

fn read(path: &Path) -> anyhow::Result<SignedAudit> {
    let mut bytes = Vec::new();
    let opened = File::open(path).and_then(|it| it.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    opened.with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Refusal::usage(format!("{} is no exported log: {error}", path.display())).into()
    })
}
