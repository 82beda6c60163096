//! What every command has at hand: settings, the output, and the client once it is needed.

use std::future::Future;
use std::sync::{Mutex, OnceLock};

use isos_sdk::{Address, Client, ClientError};

use crate::cli::Global;
use crate::clock;
use crate::commands::token;
use crate::config::Settings;
use crate::exit::{End, Refusal};
use crate::output::{Mode, Output, ago};

/// What every command has at hand.
#[derive(Debug)]
pub(crate) struct Context {
    /// The settings.
    pub(crate) settings: Settings,
    /// Where answers and messages go.
    pub(crate) out: Output,
    /// The folder that `--home` named, if it did.
    pub(crate) home: Option<std::path::PathBuf>,
    client: OnceLock<Client>,
    /// What goes on when the user stops the command, and what to do about it.
    goes_on: Mutex<Vec<String>>,
}

impl Context {
    /// Reads the settings.
    pub(crate) fn new(global: &Global) -> anyhow::Result<Self> {
        let settings = Settings::load(global, &|name| std::env::var(name).ok())?;
        let out = Output::new(Mode::of(global), settings.color.value);
        let home = global.home.clone();
        Ok(Self { settings, out, home, client: OnceLock::new(), goes_on: Mutex::default() })
    }

    /// The client of the complex; connects when first used.
    pub(crate) fn client(&self) -> anyhow::Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let Some(server) = &self.settings.server else {
            let paths = &self.settings.paths;
            let tried = format!(
                "looked at --server, ISOS_SERVER, {}, {} and {}",
                paths.config_file().display(),
                paths.local_file().display(),
                paths.joined_file().display()
            );
            let notes = [paths.local_file(), paths.account_file(), paths.joined_file()];
            let hints = notes.iter().filter_map(|note| unreadable(note));
            let hints = hints.chain([tried, START.into()]).collect();
            return Err(Refusal::unreachable("no complex is known", hints).into());
        };
        let address: Address = server.value.parse()?;
        let now = clock::now();
        if let Address::Ticket(ticket) = &address
            && ticket.is_expired(now)
        {
            // Said, not decided: the token itself decides, and clocks differ.
            let when = ago(now, ticket.expires);
            self.out.note(&format!("the ticket expired {when}: `isos ticket` makes a new one"));
        }
        let right = self.settings.token.as_ref().map(|token| token.value.as_str());
        // Beside a token it says nothing more.
        let file = self.settings.paths.account_key();
        let key = if file.exists() { Some(token::read_key(&file)?) } else { None };
        let client = Client::with_key(&address, right, key)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Says goodbye to the complex.
    pub(crate) async fn close(&self) {
        if let Some(client) = self.client.get() {
            client.close().await;
        }
    }

    /// Notes what goes on without the user, to be said if he stops the command.
    pub(crate) fn goes_on(&self, lines: Vec<String>) {
        *self.lock() = lines;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        // A list of lines is never half made.
        self.goes_on.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Runs a command that Ctrl-C ends at once, and tells how the complex was looked for when it
    /// does not answer.
    pub(crate) async fn interruptible(
        &self,
        command: impl Future<Output = anyhow::Result<End>>,
    ) -> anyhow::Result<End> {
        let outcome = tokio::select! {
            outcome = command => outcome,
            // Without a handler, Ctrl-C ends the program the hard way, which is fine too.
            Ok(()) = tokio::signal::ctrl_c() => {
                let lines = std::mem::take(&mut *self.lock());
                return Err(Refusal::interrupted(lines).into());
            }
        };
        outcome.map_err(|error| match error.downcast_ref::<ClientError>() {
            Some(ClientError::Unreachable { .. } | ClientError::Protocol { .. }) => {
                let message = format!("{error:#}");
                let origin = self.settings.server.as_ref().map(|server| &server.origin);
                let origin = origin.map(|origin| format!("its address is from: {origin}"));
                let hints = origin.into_iter().chain([START.into()]).collect();
                Refusal::unreachable(message, hints).into()
            }
            _ => error,
        })
    }
}

/// What is wrong with a note that is there and says nothing.
fn unreadable(note: &std::path::Path) -> Option<String> {
    let why = match std::fs::read_to_string(note) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => format!("cannot be read ({error})"),
        Ok(_) => "says nothing that can be used: remove it, or write it anew".into(),
    };
    Some(format!("{} is there, but {why}", note.display()))
}

const START: &str = "run `isos dev` for a whole world on this machine, or `isos server`; \
     or name a complex: --server URL-or-ticket";
