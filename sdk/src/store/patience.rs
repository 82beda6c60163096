//! How long hosts are waited for that do not answer: some are always gone, and who reads wants what
//! the others have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use isos_base::HostId;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::limits::{ASK_TIMEOUT, ASKED_AT_ONCE};

/// Once enough have answered, the others have so long.
const GRACE: Duration = Duration::from_millis(300);
/// Before that, so long after the last one that has: more than a dial takes around the world.
const PATIENCE: Duration = Duration::from_secs(3);

/// A question to a host; nothing if it does not answer.
pub(super) type Question<T> = (HostId, BoxFuture<'static, Option<T>>);

/// The answers of all hosts that answer.
pub(super) async fn all<T: Send + 'static>(
    questions: impl Iterator<Item = Question<T>>,
) -> BTreeMap<HostId, T> {
    within(questions, ASK_TIMEOUT, |_| false).await
}

/// The answers of those that answer soon, and of some more if these are not enough. The others are
/// waited for behind the caller's back, so that those that cannot be reached are known to be away.
pub(super) async fn soon<T: Send + 'static>(
    questions: impl Iterator<Item = Question<T>>,
    is_enough: impl FnMut(&BTreeMap<HostId, T>) -> bool,
) -> BTreeMap<HostId, T> {
    within(questions, PATIENCE, is_enough).await
}

async fn within<T: Send + 'static>(
    questions: impl Iterator<Item = Question<T>>,
    patience: Duration,
    mut is_enough: impl FnMut(&BTreeMap<HostId, T>) -> bool,
) -> BTreeMap<HostId, T> {
    let places = Arc::new(Semaphore::new(ASKED_AT_ONCE));
    let (sender, mut answers) = mpsc::unbounded_channel();
    for (host, question) in questions {
        let (places, sender) = (Arc::clone(&places), sender.clone());
        tokio::spawn(async move {
            let Ok(_place) = places.acquire().await else { return };
            // Nobody may listen any more.
            let _ = sender.send((host, timeout(ASK_TIMEOUT, question).await.ok().flatten()));
        });
    }
    drop(sender);
    let mut heard = BTreeMap::new();
    let mut wait = None;
    loop {
        let next = match wait {
            None => Ok(answers.recv().await),
            Some(wait) => timeout(wait, answers.recv()).await,
        };
        let Ok(Some((host, answer))) = next else { return heard };
        let Some(answer) = answer else { continue };
        heard.insert(host, answer);
        wait = Some(if is_enough(&heard) { GRACE } else { patience });
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt;
    use isos_base::key::PublicKey;
    use tokio::time::Instant;

    use super::*;

    fn host(n: u8) -> HostId {
        HostId(PublicKey([n; 32]))
    }

    fn of(n: u8, after: Option<Duration>) -> Question<u8> {
        let answer = match after {
            Some(after) => tokio::time::sleep(after).map(move |()| Some(n)).boxed(),
            None => pending().boxed(),
        };
        (host(n), answer)
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_gone_is_waited_for_no_longer_than_it_helps() {
        let here = || [1, 2, 3].map(|n| of(n, Some(Duration::from_millis(n.into())))).into_iter();
        let gone = || [4, 5].map(|n| of(n, None)).into_iter();
        let begun = Instant::now();
        let enough = soon(here().chain(gone()), |heard| heard.len() >= 2).await;
        assert_eq!(enough.len(), 3);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        let few = soon(here().chain(gone()), |heard| heard.len() >= 4).await;
        assert_eq!(few.len(), 3);
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        let every = all(here().chain([of(6, Some(Duration::from_secs(9)))])).await;
        assert_eq!(every.len(), 4);
        assert!(begun.elapsed() < Duration::from_secs(14), "{:?}", begun.elapsed());
        let nobody = soon(gone().chain([(host(7), ready(None).boxed())]), |_| true).await;
        assert!(nobody.is_empty() && begun.elapsed() < Duration::from_secs(30));
    }
}
