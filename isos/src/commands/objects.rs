//! Objects on other people's disks: `put`, `get`, `ls`, `rm`, `stat`, `share`, `verify`.
//!
//! Names are the user's own: they stand in a catalogue beside the storage secret, and nowhere else.

pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod put;
pub(crate) mod remove;
pub(crate) mod share;
pub(crate) mod stat;
pub(crate) mod verify;

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use isos_backup::Phrase;
use isos_base::Guid;
use isos_sdk::store::catalogue::{Catalogue, Entry};
use isos_sdk::store::{PutOptions, Store};
use isos_store::capability::ReadCapability;
use isos_store::manifest::Manifest;

use crate::clock;
use crate::commands::token::{make_key, read_key};
use crate::context::Context;
use crate::exit::Refusal;
use crate::output::plural;

/// Between two looks whether it is our turn.
const TURN_WAIT: Duration = Duration::from_millis(200);

/// What a command about objects works with.
pub(crate) struct Objects<'a> {
    context: &'a Context,
    pub(crate) store: Arc<Store>,
    /// Held by who changes something: no two do at once.
    _turn: Option<File>,
}

/// An object that was named on the command line.
pub(super) struct Named {
    /// What it is called here, if it has a name.
    pub(super) name: Option<String>,
    /// Opens it.
    pub(super) capability: ReadCapability,
    /// What the catalogue says of it.
    pub(super) entry: Option<Entry>,
}

impl Named {
    /// What to call it in a message.
    pub(super) fn title(&self) -> String {
        match (&self.name, self.guid()) {
            (Some(name), _) => name.clone(),
            (None, Ok(guid)) => guid.to_string(),
            (None, Err(_)) => "the object".into(),
        }
    }

    pub(super) fn guid(&self) -> anyhow::Result<Guid> {
        let object = self.capability.object().map(|(guid, _)| guid);
        object.ok_or_else(|| Refusal::usage("a capability for one object is needed").into())
    }
}

impl<'a> Objects<'a> {
    /// Opens the user's storage. Who `changes` it waits for others that do, and has a secret made
    /// when there is none.
    pub(crate) async fn open(context: &'a Context, changes: bool) -> anyhow::Result<Self> {
        let client = context.client()?.clone();
        let path = context.settings.paths.storage_key();
        let turn = if changes { Some(turn(context).await?) } else { None };
        let key = if path.exists() {
            read_key(&path)?
        } else if changes {
            let parent = path.parent().unwrap_or(&path);
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot create {}", parent.display()))?;
            let key = make_key(&path)?;
            context.out.note(&format!(
                "new storage secret: {}; whoever has it can read what you put, and without it \
                 nobody can: write down what `isos backup phrase` prints",
                path.display()
            ));
            key
        } else {
            // To read what somebody shares, any secret will do.
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).context("no randomness for a key")?;
            isos_base::key::SecretKey::from_bytes(&bytes)
        };
        let root = Phrase::from_bytes(&key.to_bytes())?.root();
        let store = Arc::new(Store::open(client, &root, clock::now()).await?);
        let objects = Self { context, store, _turn: turn };
        if path.exists() && !context.settings.paths.objects_file().exists() {
            objects.fetch_catalogue(changes).await?;
        }
        Ok(objects)
    }

    /// On a machine that has the secret and no catalogue: the one that was published last.
    ///
    /// Who changes something must have it: what he published would stand above it.
    async fn fetch_catalogue(&self, changes: bool) -> anyhow::Result<()> {
        let found = if changes {
            Ok(self.store.surely_published_catalogue().await?)
        } else {
            self.store.published_catalogue().await
        };
        match found {
            Ok(Some(found)) => {
                let count = plural(found.objects.len() as u64, "object");
                self.context.out.note(&format!("found the names of {count}, put elsewhere"));
                self.change(|catalogue| *catalogue = found)
            }
            Ok(None) => Ok(()),
            Err(error) => {
                let text = format!("a list of your objects that was put elsewhere: {error}");
                self.context.out.note(&text);
                Ok(())
            }
        }
    }

    /// Says something beside what the command is about.
    pub(super) fn note(&self, text: &str) {
        self.context.out.note(text);
    }

    pub(crate) fn catalogue(&self) -> anyhow::Result<Catalogue> {
        catalogue(self.context)
    }

    /// Changes the catalogue as it is now, whoever else changes it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Catalogue) -> T) -> anyhow::Result<T> {
        let paths = &self.context.settings.paths;
        let lock = paths.objects_lock();
        let file =
            File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
        file.lock().with_context(|| format!("cannot lock {}", lock.display()))?;
        let mut catalogue = self.catalogue()?;
        let outcome = change(&mut catalogue);
        catalogue.save(&paths.objects_file())?;
        Ok(outcome)
    }

    /// Renews what would end soon: objects of before lie on hosts that get nothing new, too.
    pub(crate) async fn renew(&self, options: &PutOptions) -> anyhow::Result<()> {
        let used = self.catalogue()?.used;
        let (_, failed) = self.store.renew_leases(options, &used).await?;
        if !failed.is_empty() {
            let hosts = plural(failed.len() as u64, "host");
            let text = format!(
                "the leases on {hosts} could not be renewed (`isos quota` tells more): what lies \
                 there should be made anew elsewhere by `isos verify --repair`"
            );
            self.context.out.note(&text);
        }
        Ok(())
    }

    /// Puts the catalogue where another machine of this user finds it. What was done stays done
    /// when that fails: it is said, and the next change tries again.
    pub(super) async fn publish(&self) -> anyhow::Result<()> {
        // Nobody else changes it meanwhile: it is this command's turn.
        let mut catalogue = self.catalogue()?;
        let published = self.store.publish_catalogue(&mut catalogue).await;
        self.change(|now| *now = catalogue)?;
        if let Err(error) = published {
            let text = format!("the list of your objects is on this machine only: {error}");
            self.context.out.note(&text);
        }
        Ok(())
    }

    fn manifest_file(&self, guid: &Guid) -> PathBuf {
        self.context.settings.paths.manifests().join(guid.to_string())
    }

    /// Keeps a manifest at hand, so that removing another object need not ask for it.
    pub(super) fn remember(&self, manifest: &Manifest) -> anyhow::Result<()> {
        let path = self.manifest_file(&manifest.guid());
        let parent = path.parent().unwrap_or(&path);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, manifest.encode()))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn forget(&self, guid: &Guid) {
        // Nothing is lost if it stays.
        let _ = fs::remove_file(self.manifest_file(guid));
    }

    /// The manifest of an object: from this machine, or from its hosts.
    pub(super) async fn manifest(&self, guid: &Guid) -> anyhow::Result<Manifest> {
        let kept = fs::read(self.manifest_file(guid)).ok();
        let kept = kept.and_then(|bytes| Manifest::decode(&bytes).ok());
        match kept.filter(|manifest| manifest.guid() == *guid) {
            Some(manifest) => Ok(manifest),
            None => Ok(self.store.manifest(guid).await?),
        }
    }

    pub(crate) async fn close(self) {
        self.store.close().await;
    }
}

/// Waits until no other command of this user changes his objects.
async fn turn(context: &Context) -> anyhow::Result<File> {
    let path = context.settings.paths.objects_lock().with_extension("turn");
    let parent = path.parent().unwrap_or(&path);
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut is_told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => {}
            Err(fs::TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        if !std::mem::replace(&mut is_told, true) {
            context.out.note("waiting for another isos that changes what you have stored");
        }
        tokio::time::sleep(TURN_WAIT).await;
    }
}

/// The names of this user's objects.
pub(super) fn catalogue(context: &Context) -> anyhow::Result<Catalogue> {
    Ok(Catalogue::load(&context.settings.paths.objects_file())?)
}

/// The object that was meant: by its name here, or by a capability.
pub(super) fn find(catalogue: &Catalogue, what: &str) -> anyhow::Result<Named> {
    if let Some(entry) = catalogue.objects.get(what) {
        let capability = entry.capability.parse().with_context(|| format!("object {what}"))?;
        return Ok(Named { name: Some(what.into()), capability, entry: Some(entry.clone()) });
    }
    if what.starts_with("isos") {
        let capability: ReadCapability =
            what.parse().map_err(|error| Refusal::usage(format!("{error}")))?;
        let guid = capability.object().map(|(guid, _)| guid);
        let known = catalogue.objects.iter().find(|(_, entry)| Some(entry.guid) == guid);
        let (name, entry) = known.map(|(name, entry)| (name.clone(), entry.clone())).unzip();
        return Ok(Named { name, capability, entry });
    }
    let mut refusal = Refusal::not_found(format!("no object is called {what:?} here"));
    refusal.hints = vec!["`isos ls` shows the names; a capability (isosr1...) works too".into()];
    Err(refusal.into())
}
