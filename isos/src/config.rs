//! Settings: flags over environment over file over what runs here over what this machine joined
//! over defaults, and which won.

use std::fmt;
use std::path::{Path, PathBuf};

use isos_base::key::PublicKey;
use isos_sdk::Address;
use serde::Deserialize;

use crate::cli::Global;
use crate::exit::Refusal;
use crate::local::LocalComplex;
use crate::output::Color;
use crate::paths::{Env, Paths};
use crate::text;

/// Bytes of `isos.toml`.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// `isos.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    server: Option<String>,
    token: Option<String>,
    results: Option<PathBuf>,
    color: Option<Color>,
}

/// Where a value comes from, strongest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// A flag.
    Flag(&'static str),
    /// An environment variable.
    Env(&'static str),
    /// A configuration file.
    File(PathBuf),
    /// The ticket that the server is given by.
    Ticket,
    /// The note of a complex that runs here.
    Here(PathBuf),
    /// Where the account is that has this machine's key.
    Account(PathBuf),
    /// The ticket by which this machine joined.
    Joined(PathBuf),
    /// Nobody has said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Ticket => f.write_str("the server's ticket"),
            Self::Here(path) => write!(f, "the complex on this machine, {}", path.display()),
            Self::Account(path) => {
                write!(f, "the complex where this machine's key is known, {}", path.display())
            }
            Self::Joined(path) => write!(f, "the complex this machine joined, {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it comes from.
    pub(crate) origin: Origin,
}

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The complex, if one is known.
    pub(crate) server: Option<Setting<String>>,
    /// The token, where the server's ticket does not carry it.
    pub(crate) token: Option<Setting<String>>,
    /// A folder under which each job that is waited for gets one for its results.
    pub(crate) results: Option<Setting<PathBuf>>,
    /// When to use colours.
    pub(crate) color: Setting<Color>,
    /// The folders.
    pub(crate) paths: Paths,
    /// Where the folders come from.
    pub(crate) home: Origin,
}

impl Settings {
    /// The key of the complex, where a ticket says it.
    pub(crate) fn complex(&self) -> Option<PublicKey> {
        match self.server.as_ref()?.value.parse() {
            Ok(Address::Ticket(ticket)) => Some(ticket.complex),
            _ => None,
        }
    }

    /// Reads everything once.
    pub(crate) fn load(global: &Global, env: Env<'_>) -> anyhow::Result<Self> {
        // Set but empty is not set.
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let env: Env<'_> = &env;
        let (home, home_origin) = match (&global.home, env("ISOS_HOME")) {
            (Some(home), _) => (Some(home.clone()), Origin::Flag("--home")),
            (None, Some(home)) => (Some(PathBuf::from(home)), Origin::Env("ISOS_HOME")),
            (None, None) => (None, Origin::Default),
        };
        let paths = Paths::find(home.as_deref(), env)?;
        let path = paths.config_file();
        let file = read(&path)?;
        let here = LocalComplex::read(&paths.local_file());
        let here_origin = Origin::Here(paths.local_file());
        let file_origin = Origin::File(path);

        let server = first([
            (global.server.clone(), Origin::Flag("--server")),
            (env("ISOS_SERVER"), Origin::Env("ISOS_SERVER")),
            (file.server.clone(), file_origin.clone()),
            (here.as_ref().map(|here| here.server.clone()), here_origin.clone()),
            (joined(&paths.account_file()), Origin::Account(paths.account_file())),
            (joined(&paths.joined_file()), Origin::Joined(paths.joined_file())),
        ]);
        // A token is shown only to the complex that it was written down for, or to the one that
        // the same hand named just now.
        let beside = |origin: &Origin| server.as_ref().is_some_and(|s| s.origin == *origin);
        let token = first([
            (global.token.clone(), Origin::Flag("--token")),
            (env("ISOS_TOKEN"), Origin::Env("ISOS_TOKEN")),
            (file.token.filter(|_| beside(&file_origin)), file_origin.clone()),
            (here.map(|here| here.token).filter(|_| beside(&here_origin)), here_origin),
        ]);
        let color = match env("ISOS_COLOR") {
            Some(text) => Some(
                text.parse::<Color>()
                    .map_err(|why| Refusal::usage(format!("ISOS_COLOR: {why}")))?,
            ),
            None => None,
        };
        let color = first([
            (global.color, Origin::Flag("--color")),
            (color, Origin::Env("ISOS_COLOR")),
            (env("NO_COLOR").map(|_| Color::Never), Origin::Env("NO_COLOR")),
            (file.color, file_origin.clone()),
        ]);
        let results = first([
            (env("ISOS_RESULTS").map(PathBuf::from), Origin::Env("ISOS_RESULTS")),
            (file.results, file_origin),
        ]);
        Ok(Self {
            server,
            token,
            results,
            color: color.unwrap_or(Setting { value: Color::Auto, origin: Origin::Default }),
            paths,
            home: home_origin,
        })
    }
}

fn first<T>(candidates: impl IntoIterator<Item = (Option<T>, Origin)>) -> Option<Setting<T>> {
    candidates.into_iter().find_map(|(value, origin)| value.map(|value| Setting { value, origin }))
}

/// The ticket of this machine's agent, if it has one. A damaged one is the agent's to complain of.
fn joined(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let is_ticket = text.parse::<isos_base::ticket::Ticket>().is_ok();
    is_ticket.then(|| text.trim().to_owned())
}

fn read(path: &Path) -> anyhow::Result<File> {
    let Some(text) = text::read_if_there("the settings", path, FILE_BYTES_MAX)? else {
        return Ok(File::default());
    };
    toml::from_str(&text).map_err(|error| {
        Refusal::usage(format!("{} cannot be read\n{}", path.display(), error)).into()
    })
}

#[cfg(test)]
mod tests;
