//! `isos token`: what a right to use a complex says, and how to give a part of it on. All but
//! making and revoking one works without asking anybody.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use isos_base::api::TicketRequest;
use isos_base::capability::{self, Narrowing, Right};
use isos_base::key::{PublicKey, SecretKey};
use isos_base::ticket::{TICKET_CHARS_MAX, Ticket};
use isos_base::{Span, Time};

use crate::clock;
use crate::commands::ticket;
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::report::{KeyReport, NewToken, TokenReport};

/// What to do with tokens.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a token (operators); a ticket has one, and says where the complex is too
    Create {
        /// The account that it is for; made if there is none [default: one's own]
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// What it allows: join, submit, read, manage, operate
        #[arg(long, value_name = "RIGHT,...", value_delimiter = ',', default_value = "submit")]
        rights: Vec<String>,
        /// For how long
        #[arg(long, value_name = "TIME", default_value = "7d")]
        valid: Span,
    },
    /// Say what a token or ticket allows, until when, and who made it what it is
    Inspect(Which),
    /// Make one that allows less, without asking anybody
    Attenuate {
        #[command(flatten)]
        which: Which,
        /// Only these rights: join, submit, read, manage, operate
        #[arg(long, value_name = "RIGHT,...", value_delimiter = ',')]
        rights: Option<Vec<Right>>,
        /// Only for so long
        #[arg(long, value_name = "TIME")]
        valid: Option<Span>,
        /// Only for those for whom this key vouches: see `isos token vouch`
        #[arg(long, value_name = "KEY")]
        vouched_by: Option<PublicKey>,
    },
    /// Vouch for whoever holds a token that was attenuated with --vouched-by this key
    Vouch {
        #[command(flatten)]
        which: Which,
        /// The key's file: see `isos token key`
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// For whom
        #[arg(long, value_name = "NAME")]
        who: String,
        /// For how long
        #[arg(long, value_name = "TIME", default_value = "1d")]
        valid: Span,
    },
    /// Print the public half of the key in a file, which is made if there is none
    Key {
        /// The file; nobody else may read it
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Take a token back, and all that were made from it
    Revoke(Which),
}

/// A token or ticket.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The token, the ticket, or - to read it from stdin
    // `token` is the name of a flag of all commands.
    #[arg(value_name = "TOKEN")]
    pub(crate) which: String,
}

/// A token, and the ticket that it came in.
pub(crate) struct Carried {
    /// Its bytes.
    pub(crate) token: Vec<u8>,
    /// The ticket.
    pub(crate) ticket: Option<Ticket>,
}

impl Which {
    fn text(&self) -> anyhow::Result<String> {
        if self.which != "-" {
            return Ok(self.which.clone());
        }
        let mut text = String::new();
        let stdin = std::io::stdin().lock();
        let read = stdin.take(TICKET_CHARS_MAX as u64 + 1).read_to_string(&mut text);
        read.context("cannot read stdin")?;
        Ok(text.trim().to_owned())
    }

    fn read(&self) -> anyhow::Result<Carried> {
        let text = self.text()?;
        if text.starts_with("isos1") {
            let ticket: Ticket = text.parse()?;
            return Ok(Carried { token: ticket.token.clone(), ticket: Some(ticket) });
        }
        let token = capability::from_text(&text)
            .ok_or_else(|| Refusal::usage("this is no token: copy it whole"))?;
        Ok(Carried { token, ticket: None })
    }
}

impl Carried {
    /// Another token in the place of this one.
    fn with(self, token: Vec<u8>, until: Option<Time>) -> NewToken {
        let text = match self.ticket {
            None => capability::to_text(&token),
            Some(ticket) => {
                let expires = until.map_or(ticket.expires, |until| until.min(ticket.expires));
                Ticket { token, expires, ..ticket }.to_string()
            }
        };
        NewToken { text }
    }
}

/// Does it.
pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<End> {
    let now = clock::now();
    match command {
        Command::Create { account, rights, valid } => {
            ticket::check_rights(&rights)?;
            let client = context.client()?;
            let account = match account {
                Some(account) => account,
                None => client.whoami().await?.account.name,
            };
            let reply = client.ticket(&TicketRequest { account, rights, valid }).await?;
            let ticket: Ticket = reply.ticket.parse().context("the server's ticket")?;
            context.out.show(&NewToken { text: capability::to_text(&ticket.token) })?;
        }
        Command::Inspect(which) => {
            let carried = which.read()?;
            let complex = carried.ticket.as_ref().map(|ticket| ticket.complex);
            let complex = complex.or_else(|| context.settings.complex());
            let blocks = capability::blocks(&carried.token)?;
            let holder = complex.map(|key| capability::check(&key, &carried.token, now));
            context.out.show(&TokenReport { complex, holder, blocks })?;
        }
        Command::Attenuate { which, rights, valid, vouched_by } => {
            if rights.is_none() && valid.is_none() && vouched_by.is_none() {
                let how = "say how: --rights, --valid or --vouched-by";
                return Err(Refusal::usage(how).into());
            }
            let carried = which.read()?;
            let until = valid.map(|valid| now + valid);
            let narrowing = Narrowing { rights, until, vouched_by };
            let token = capability::attenuate(&carried.token, &narrowing)?;
            context.out.show(&carried.with(token, until))?;
        }
        Command::Vouch { which, key, who, valid } => {
            let carried = which.read()?;
            let until = now + valid;
            let token = capability::vouch(&carried.token, &read_key(&key)?, &who, until)?;
            context.out.show(&carried.with(token, Some(until)))?;
        }
        Command::Key { file } => {
            let key = if file.exists() { read_key(&file)? } else { make_key(&file)? };
            context.out.show(&KeyReport(key.public()))?;
        }
        Command::Revoke(which) => return ticket::revoke(&which.text()?, context).await,
    }
    Ok(End::Ok)
}

pub(crate) fn make_key(path: &Path) -> anyhow::Result<SecretKey> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write the key {}", path.display()))?;
    Ok(SecretKey::from_bytes(&bytes))
}

pub(crate) fn read_key(path: &Path) -> anyhow::Result<SecretKey> {
    let read = || -> std::io::Result<(u32, Vec<u8>)> {
        let file = std::fs::File::open(path)?;
        let mode = file.metadata()?.mode();
        let mut bytes = Vec::new();
        file.take(33).read_to_end(&mut bytes)?;
        Ok((mode, bytes))
    };
    let (mode, bytes) = read().with_context(|| {
        format!("cannot read the key {}: `isos token key FILE` makes one", path.display())
    })?;
    let bad = |why: &str| Refusal::usage(format!("key {}: {why}", path.display()));
    if mode & 0o077 != 0 {
        return Err(bad("others can read it: run chmod 600 on it").into());
    }
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| bad("it does not have 32 bytes"))?;
    Ok(SecretKey::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("club.key");
        let made = make_key(&path).unwrap();
        assert_eq!(read_key(&path).unwrap().public(), made.public());
        assert!(make_key(&path).is_err(), "it is not replaced");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read_key(&path).unwrap_err().to_string().contains("chmod 600"));
        std::fs::write(&path, [0; 40]).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(read_key(&path).unwrap_err().to_string().contains("32 bytes"));
    }
}
