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

use anyhow::Context as _;
use isos_backup::Phrase;
use isos_base::Guid;
use isos_sdk::store::Store;
use isos_sdk::store::catalogue::{Catalogue, Entry};
use isos_store::capability::ReadCapability;
use isos_store::manifest::Manifest;

use crate::clock;
use crate::commands::token::{make_key, read_key};
use crate::context::Context;
use crate::exit::Refusal;
use crate::output::plural;

/// What a command about objects works with.
pub(crate) struct Objects<'a> {
    context: &'a Context,
    pub(crate) store: Arc<Store>,
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
    /// Opens the user's storage; makes its secret when there is none and `makes`.
    pub(crate) async fn open(context: &'a Context, makes: bool) -> anyhow::Result<Self> {
        let client = context.client()?.clone();
        let path = context.settings.paths.storage_key();
        let key = if path.exists() {
            read_key(&path)?
        } else if makes {
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
        let objects = Self { context, store };
        if path.exists() && !context.settings.paths.objects_file().exists() {
            objects.fetch_catalogue().await?;
        }
        Ok(objects)
    }

    /// On a machine that has the secret and no catalogue: the one that was published last.
    async fn fetch_catalogue(&self) -> anyhow::Result<()> {
        match self.store.published_catalogue().await {
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

    /// Puts the catalogue where another machine of this user finds it. What was done stays done when
    /// that fails: it is said, and the next change tries again.
    pub(super) async fn publish(&self) -> anyhow::Result<()> {
        let mut catalogue = self.catalogue()?;
        let published = self.store.publish_catalogue(&mut catalogue).await;
        let (used, object) = (catalogue.used, catalogue.published);
        self.change(|now| {
            now.used = used;
            now.published = object;
        })?;
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
