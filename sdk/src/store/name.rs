//! Names that last: which object is the newest version of something, kept by the hosts of the
//! user's own leases, so that another machine finds it with the storage secret alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use isos_base::HostId;
use isos_base::fragment::SignedHead;
use isos_net::{get_head, set_head};
use isos_store::capability::{ReadCapability, WriteCapability};
use isos_store::head::{Newest, Publish, Published, Version, newest};
use isos_store::limits::HEAD_HOSTS_MAX;
use isos_store::seal::Cipher;
use tokio::time::timeout;

use super::leases::Held;
use super::patience::{self, Question};
use super::{Store, StoreError};
use crate::limits::{ASK_TIMEOUT, ASKED_AT_ONCE};

impl Store {
    /// The newest version of something, as far as the hosts of this user's leases know. Good enough
    /// to read; whoever follows on it asks [`Store::surely_newest`].
    ///
    /// # Errors
    /// [`StoreError`]; that nothing was published is no error.
    pub async fn newest(&self, name: &WriteCapability) -> Result<Option<Version>, StoreError> {
        let hosts = self.name_hosts().await?;
        // More than half of them have it.
        let enough = hosts.len() / 2 + 1;
        let answers = patience::soon(self.head_questions(name, &hosts), |it| it.len() >= enough);
        let found = newest(&name.signer().public(), &answers.await, &BTreeMap::new());
        Self::version_of(name, found)
    }

    /// The newest version of something, by the word of more than half of the hosts.
    ///
    /// # Errors
    /// [`StoreError::Uncertain`] if fewer answered: there may be a newer one then.
    pub async fn surely_newest(
        &self,
        name: &WriteCapability,
        title: &str,
    ) -> Result<Option<Version>, StoreError> {
        let hosts = self.name_hosts().await?;
        let answers = patience::all(self.head_questions(name, &hosts)).await;
        let found = newest(&name.signer().public(), &answers, &BTreeMap::new());
        let all: BTreeSet<HostId> = hosts.iter().map(|held| held.keeper.host).collect();
        if !all.is_empty() && !found.is_certain(&all) {
            let (name, heard, hosts) = (title.into(), found.heard.len(), all.len());
            return Err(StoreError::Uncertain { name, heard, hosts });
        }
        Self::version_of(name, found)
    }

    fn version_of(name: &WriteCapability, found: Newest) -> Result<Option<Version>, StoreError> {
        match found.head {
            Some(head) => {
                Ok(Some(Version::open(&head, &name.read()).map_err(StoreError::Version)?))
            }
            None => Ok(None),
        }
    }

    /// Publishes an object as the version of something that follows on `after`, 0 for the first:
    /// more than half of the hosts of this user's leases have it then. `title` is for errors.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Overtaken`] if somebody with the same secret was faster: read
    /// what is newest, and follow on that.
    pub async fn publish(
        &self,
        name: &WriteCapability,
        title: &str,
        after: u64,
        object: &ReadCapability,
    ) -> Result<u64, StoreError> {
        let hosts = self.name_hosts().await?;
        let number = after.saturating_add(1);
        let version = Version { number, object: object.clone(), note: Vec::new() };
        let signed = version.seal(name, self.now(), Cipher::of_this_cpu());
        let signed = signed.map_err(StoreError::Version)?;
        let names: BTreeSet<HostId> = hosts.iter().map(|held| held.keeper.host).collect();
        let publish = Publish::new(signed.clone(), names);
        let mut publish = publish.map_err(|error| StoreError::InTheWay(error.to_string()))?;
        let tell = |held: &Held| {
            let (held, signed) = (held.clone(), signed.clone());
            async move {
                let line = self.lines.to(&held.keeper);
                let told = async {
                    let connection = self.lines.open_with(&line, &held.grant).await.ok()?;
                    set_head(&connection, held.lease, &signed).await.ok()?.ok()
                };
                (held.keeper.host, timeout(ASK_TIMEOUT, told).await.ok().flatten())
            }
        };
        let mut answers = stream::iter(&hosts).map(tell).buffer_unordered(ASKED_AT_ONCE);
        while let Some((host, answer)) = answers.next().await {
            publish.told(host, answer.as_ref());
        }
        match publish.state() {
            Published::Kept => Ok(number),
            Published::Lost(_) => Err(StoreError::Overtaken { name: title.into() }),
            Published::Open | Published::Short { .. } => {
                let (kept, hosts) = (publish.kept().len(), hosts.len());
                Err(StoreError::Unpublished { name: title.into(), kept, hosts })
            }
        }
    }

    /// Who keeps names: the hosts of all leases of this user.
    async fn name_hosts(&self) -> Result<Vec<Held>, StoreError> {
        let mut hosts: Vec<Held> = self.held(None).await?.into_values().collect();
        hosts.truncate(HEAD_HOSTS_MAX);
        Ok(hosts)
    }

    fn head_questions(
        &self,
        name: &WriteCapability,
        hosts: &[Held],
    ) -> impl Iterator<Item = Question<Option<SignedHead>>> {
        let key = name.signer().public();
        hosts.iter().map(move |held| {
            let (lines, line) = (Arc::clone(&self.lines), self.lines.to(&held.keeper));
            let question = async move {
                let connection = lines.open(&line).await.ok()?;
                get_head(&connection, key).await.ok()?.ok()
            };
            (held.keeper.host, question.boxed())
        })
    }
}
