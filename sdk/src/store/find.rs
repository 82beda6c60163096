//! Finding: hosts are asked who has what. There is no other directory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes as Buffer;
use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use isos_base::api::KeeperView;
use isos_base::fragment::wire::FRAGMENTS_NAMED_MAX;
use isos_base::{Guid, HostId};
use isos_net::{Got, Wanted, get_fragments, has_fragments};
use isos_store::get;
use isos_store::manifest::{Manifest, Root, Segment};
use tokio::time::timeout;

use super::patience::{self, Question};
use super::{Store, StoreError};
use crate::limits::{ASK_TIMEOUT, MANIFESTS_ASKED_AT_ONCE};

/// What one host said to a question: nothing, if it did not answer.
type Said<T> = Option<T>;

impl Store {
    /// The manifest of an object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] and others.
    pub async fn manifest(&self, guid: &Guid) -> Result<Manifest, StoreError> {
        let known = self.known().await?;
        self.manifest_at(guid, &known).await
    }

    pub(super) async fn manifest_at(
        &self,
        guid: &Guid,
        known: &[KeeperView],
    ) -> Result<Manifest, StoreError> {
        let root = self.find(guid, known).await?;
        match Root::decode_as(&root, guid)? {
            Root::Manifest(manifest) => Ok(manifest),
            Root::Pieces(names) => {
                let mut pieces = Vec::with_capacity(names.len());
                for name in &names {
                    pieces.push(self.find(name, known).await?.to_vec());
                }
                Ok(Manifest::join(&pieces)?)
            }
        }
    }

    /// A fragment of which every host of the object has a copy, checked against its name.
    async fn find(&self, guid: &Guid, known: &[KeeperView]) -> Result<Buffer, StoreError> {
        // Those first that have answered before: others may be gone.
        let (near, far): (Vec<_>, Vec<_>) =
            known.iter().partition(|keeper| self.lines.is_open(keeper.host));
        let questions = stream::iter(near.into_iter().chain(far));
        let questions = questions.map(|keeper| self.fetch(keeper, *guid));
        let mut answers = questions.buffer_unordered(MANIFESTS_ASKED_AT_ONCE);
        let (mut asked, mut silent) = (0, 0);
        while let Some(said) = answers.next().await {
            match said {
                Some(Some(bytes)) => return Ok(bytes),
                Some(None) => asked += 1,
                None => silent += 1,
            }
        }
        let hint = if silent > 0 {
            "try again when more hosts are there"
        } else {
            "it was removed, its leases have ended, or it is of another complex"
        };
        Err(StoreError::NotFound { guid: *guid, asked, silent, hint })
    }

    /// A whole fragment from one host, if it has it.
    async fn fetch(&self, keeper: &KeeperView, guid: Guid) -> Said<Option<Buffer>> {
        let line = self.lines.to(keeper);
        let question = async {
            let connection = self.lines.open(&line).await.ok()?;
            let mut got = None;
            let wanted = [Wanted::whole(guid)];
            get_fragments(&connection, &wanted, |_, it| got = Some(it)).await.ok()?;
            got
        };
        match timeout(ASK_TIMEOUT, question).await.ok()?? {
            Got::Piece(piece) => Some(Some(piece.bytes.into())),
            Got::Missing => Some(None),
            Got::Wrong(error) => {
                tracing::warn!(host = %keeper.host, %error, "a host served something else");
                Some(None)
            }
            Got::Refused(why) => {
                tracing::debug!(host = %keeper.host, %why, "a host does not serve a fragment");
                None
            }
        }
    }

    /// Which of these names each host has; hosts that did not answer are left out.
    pub(super) async fn who_has(
        &self,
        names: &[Guid],
        known: &[KeeperView],
    ) -> BTreeMap<HostId, Vec<bool>> {
        patience::all(self.has_questions(names, known)).await
    }

    fn has_questions(
        &self,
        names: &[Guid],
        known: &[KeeperView],
    ) -> impl Iterator<Item = Question<Vec<bool>>> {
        let names: Arc<[Guid]> = names.into();
        known.iter().map(move |keeper| {
            let (lines, line) = (Arc::clone(&self.lines), self.lines.to(keeper));
            let names = Arc::clone(&names);
            let question = async move {
                let connection = lines.open(&line).await.ok()?;
                let mut has = Vec::with_capacity(names.len());
                for names in names.chunks(FRAGMENTS_NAMED_MAX) {
                    has.extend(has_fragments(&connection, names).await.ok()?.ok()?);
                }
                Some(has)
            };
            (keeper.host, question.boxed())
        })
    }

    /// Who has which fragments of these segments: a list for each of them.
    pub(super) async fn locate(
        &self,
        segments: &[&Segment],
        known: &[KeeperView],
    ) -> Vec<Vec<(u16, HostId)>> {
        located(segments, &self.who_has(&names_of(segments), known).await)
    }

    /// What the machine that gets is to be told about these segments, by all hosts that answer.
    pub(super) async fn wanted(
        &self,
        segments: &[&Segment],
        known: &[KeeperView],
    ) -> Vec<get::Wanted> {
        told(segments, self.locate(segments, known).await)
    }

    /// The same by those that answer soon: enough of it, if all goes well.
    pub(super) async fn wanted_soon(
        &self,
        segments: &[&Segment],
        known: &[KeeperView],
    ) -> Vec<get::Wanted> {
        let is_enough = |has: &BTreeMap<HostId, Vec<bool>>| {
            let found = located(segments, has);
            segments.iter().zip(found).all(|(segment, holders)| {
                let different: BTreeSet<u16> =
                    holders.iter().map(|(fragment, _)| *fragment).collect();
                different.len() >= usize::from(segment.code.m())
            })
        };
        let names = names_of(segments);
        let questions = self.has_questions(&names, known);
        let has = patience::soon(questions, is_enough).await;
        told(segments, located(segments, &has))
    }
}

fn told(segments: &[&Segment], located: Vec<Vec<(u16, HostId)>>) -> Vec<get::Wanted> {
    let wanted = segments.iter().zip(located);
    wanted.map(|(segment, holders)| get::Wanted { segment: (*segment).clone(), holders }).collect()
}

/// Copies have one name for all of their fragments: it is asked for once.
fn names_of(segments: &[&Segment]) -> Vec<Guid> {
    let names = |segment: &&Segment| match segment.code.m() {
        1 => segment.fragments[..1].to_vec(),
        _ => segment.fragments.clone(),
    };
    segments.iter().flat_map(names).collect()
}

/// Who has which fragments of these segments, by what each host has of their names.
fn located(segments: &[&Segment], has: &BTreeMap<HostId, Vec<bool>>) -> Vec<Vec<(u16, HostId)>> {
    let mut at = 0;
    let mut located = Vec::with_capacity(segments.len());
    for segment in segments {
        let (m, n) = (segment.code.m(), segment.code.n());
        let mut holders = Vec::new();
        if m == 1 {
            let with = has.iter().filter(|(_, has)| has[at]).map(|(host, _)| *host);
            holders.extend((0..n).zip(with));
            at += 1;
        } else {
            for fragment in 0..n {
                let with = has.iter().filter(|(_, has)| has[at]).map(|(host, _)| *host);
                holders.extend(with.map(|host| (fragment, host)));
                at += 1;
            }
        }
        located.push(holders);
    }
    located
}
