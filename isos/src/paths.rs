//! Where things are kept: the XDG folders, or everything under one home.

use std::path::{Path, PathBuf};

use crate::exit::Refusal;

/// A look into the environment.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The folders of this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    /// Settings, the policy.
    pub(crate) config: PathBuf,
    /// What must survive: keys, records of what runs.
    pub(crate) state: PathBuf,
    /// What may be thrown away.
    pub(crate) cache: PathBuf,
}

impl Paths {
    /// The folders: under `home` if there is one, else where XDG says.
    pub(crate) fn find(home: Option<&Path>, env: Env<'_>) -> Result<Self, Refusal> {
        if let Some(home) = home {
            return Ok(Self {
                config: home.to_owned(),
                state: home.join("state"),
                cache: home.join("cache"),
            });
        }
        let folder = |name: &str, fallback: &str| {
            // XDG: a path that is not absolute is to be ignored.
            let set = env(name).map(PathBuf::from).filter(|path| path.is_absolute());
            let user = || env("HOME").filter(|home| !home.is_empty());
            let base = set.or_else(|| user().map(|home| Path::new(&home).join(fallback)));
            base.map(|base| base.join("isos")).ok_or_else(|| {
                Refusal::usage("HOME is not set, so there is no place to look: use --home DIR")
            })
        };
        Ok(Self {
            config: folder("XDG_CONFIG_HOME", ".config")?,
            state: folder("XDG_STATE_HOME", ".local/state")?,
            cache: folder("XDG_CACHE_HOME", ".cache")?,
        })
    }

    /// The settings.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.config.join("isos.toml")
    }

    /// The owner's policy.
    pub(crate) fn policy_file(&self) -> PathBuf {
        self.config.join("policy.toml")
    }

    /// What a complex on this machine says of itself while it runs.
    pub(crate) fn local_file(&self) -> PathBuf {
        self.state.join("complex.toml")
    }

    /// The folder of a server that runs here.
    pub(crate) fn complex_home(&self) -> PathBuf {
        self.state.join("complex")
    }

    /// The ticket by which this machine's agent joined; the agent keeps it there.
    pub(crate) fn joined_file(&self) -> PathBuf {
        self.agent_home().join("ticket")
    }

    /// The key by which this machine acts for an account.
    pub(crate) fn account_key(&self) -> PathBuf {
        self.state.join("account.key")
    }

    /// Where the complex of that account is: a ticket without a token.
    pub(crate) fn account_file(&self) -> PathBuf {
        self.state.join("account.ticket")
    }

    /// The folder of this machine's agent.
    pub(crate) fn agent_home(&self) -> PathBuf {
        self.state.join("agent")
    }

    /// The secret from which all keys of this user's objects follow.
    pub(crate) fn storage_key(&self) -> PathBuf {
        self.state.join("storage.key")
    }

    /// What the user's objects are called.
    pub(crate) fn objects_file(&self) -> PathBuf {
        self.state.join("objects.json")
    }

    /// Held while that is changed.
    pub(crate) fn objects_lock(&self) -> PathBuf {
        self.state.join("objects.lock")
    }

    /// Manifests of the user's objects.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.cache.join("manifests")
    }
}
