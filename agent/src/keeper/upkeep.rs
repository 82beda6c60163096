//! What nobody asks for: packs are opened when there is something to keep, limits are held, the
//! complex's words taken in, damage looked for. An agent that keeps nothing sleeps here.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use isos_base::fragment::wire::FRAGMENT_ALPN;
use isos_base::{Bytes, causes};
use isos_disk::Packs;
use isos_disk::packs::{Upkept, Why};
use isos_kernel::host::{Input, SessionId};

use super::{Allowed, Keeper, News, limits, lock, serve};
use crate::clock;
use crate::core::Core;

/// Between two looks while something is to be done: something must go, or has just come.
const BUSY: Duration = Duration::from_secs(1);
/// So many of those looks after the last thing that came: the index follows within them.
const BUSY_LOOKS: u32 = 15;
/// And while all is quiet. The background check reads a little at each look, so this is also what
/// holds it to a thousandth of a disk's time.
const QUIET: Duration = Duration::from_secs(15);
/// While the owner wants quiet, nothing is checked or rewritten.
const PAUSED: Duration = Duration::from_secs(300);
/// After the disk has refused to open what is kept.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// Looks after what is kept, for as long as the agent lives.
pub(crate) async fn run(keeper: Arc<Keeper>, core: Core) {
    let Some(mut inbox) = lock(&keeper.inbox).take() else { return };
    let callers = keeper.door.callers(FRAGMENT_ALPN);
    tokio::spawn(serve::accept(keeper.clone(), callers));
    let mut changes = keeper.allowed.subscribe();
    let mut stuck = None;
    let mut busy_looks = 0;
    loop {
        let allowed = *changes.borrow_and_update();
        if allowed.closing {
            return;
        }
        let wait = keeper.look(allowed, &mut busy_looks).await;
        keeper.tell(&core).await;
        let quiet = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = quiet => {}
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                busy_looks = busy_looks.max(2);
            }
            () = keeper.woken.notified(), if busy_looks == 0 => busy_looks = BUSY_LOOKS,
            news = inbox.recv() => match news {
                Some(news) => keeper.take_in_now(news, &mut stuck, &core).await,
                None => return,
            },
        }
    }
}

impl Keeper {
    /// Opens, holds limits, does a bit of what is not urgent. Says when to look again, if time
    /// alone brings something to do.
    async fn look(self: &Arc<Self>, allowed: Allowed, busy_looks: &mut u32) -> Option<Duration> {
        let wanted = allowed.keeping.limit > Bytes::ZERO || self.home.has_packs();
        let Some(packs) = self.packs.get().cloned() else {
            // Before the policy was looked at, nobody knows what is allowed.
            if !wanted || allowed == Allowed::default() {
                return None;
            }
            let keeper = self.clone();
            let opened = tokio::task::spawn_blocking(move || keeper.open(allowed)).await;
            let trouble = opened.unwrap_or_else(|error| Err(error.to_string())).err();
            if let Some(why) = &trouble {
                tracing::warn!("nothing is kept for others: {why}");
            }
            let is_open = trouble.is_none();
            *lock(&self.trouble) = trouble;
            // What is allowed may have changed meanwhile; who changes it looks at the packs.
            self.door.set_open(FRAGMENT_ALPN, is_open && self.allowed.borrow().keeping.serves);
            *busy_looks = BUSY_LOOKS;
            return Some(if is_open { Duration::ZERO } else { TRY_AGAIN });
        };
        packs.set_limits(limits(allowed));
        let used = packs.used();
        lock(&self.leases).forget(clock::now());
        if used.packs == 0 && used.leases == 0 {
            *busy_looks = 0;
            return None;
        }
        let over = self.counts.over.load(Ordering::Relaxed) > 0;
        let must_go = used.disk > allowed.keeping.limit || over;
        if !allowed.keeping.takes && !must_go && *busy_looks == 0 {
            return Some(PAUSED);
        }
        let now = clock::now();
        let kept = packs.clone();
        let done = tokio::task::spawn_blocking(move || kept.upkeep(now)).await;
        let moved = match done {
            Ok(Ok(done)) => self.note(&packs, &done),
            Ok(Err(error)) => {
                let why = causes::report(&error);
                tracing::warn!("what is kept for others is not looked after: {why}");
                return Some(QUIET);
            }
            Err(_) => return Some(QUIET),
        };
        *busy_looks = busy_looks.saturating_sub(1);
        Some(if moved || *busy_looks > 0 { BUSY } else { QUIET })
    }

    /// Tells what was done; whether there is more to do at once.
    fn note(&self, packs: &Packs, done: &Upkept) -> bool {
        let before = self.counts.over.swap(done.room.over.0, Ordering::Relaxed);
        if (before == 0) != (done.room.over == Bytes::ZERO) {
            let Upkept { room, .. } = done;
            if before == 0 {
                tracing::warn!(
                    "{} more are kept for others than the owner allows now; nothing more is taken",
                    room.over
                );
            } else {
                tracing::info!("what is kept for others is within the owner's limits again");
            }
        }
        let (gone, uncounted) = packs.take_gone();
        if !gone.is_empty() || uncounted > 0 {
            let damaged = gone.iter().filter(|gone| gone.why == Why::Damaged).count() as u64;
            self.counts.damaged.fetch_add(damaged, Ordering::Relaxed);
            self.counts.gone.fetch_add(gone.len() as u64 + uncounted, Ordering::Relaxed);
            let example = gone.first().map(|gone| gone.id.to_string()).unwrap_or_default();
            let count = gone.len() as u64 + uncounted;
            if damaged > 0 {
                tracing::warn!(
                    "{damaged} of {count} fragments that are gone were damaged on disk: {example}"
                );
            } else {
                tracing::info!("{count} fragments had to go: {example}");
            }
        }
        done.moved > Bytes::ZERO || done.packs_removed > 0
    }

    /// Takes in what the complex said. After a failure nothing more of that session: it says all
    /// that follows again in the next.
    async fn take_in_now(
        self: &Arc<Self>,
        (session, news): News,
        stuck: &mut Option<SessionId>,
        core: &Core,
    ) {
        if *stuck != Some(session) {
            let keeper = self.clone();
            let learnt = tokio::task::spawn_blocking(move || keeper.learn(&news)).await;
            if let Err(why) = learnt.unwrap_or_else(|error| Err(error.to_string())) {
                tracing::warn!("the complex's words about leases are not taken in: {why}");
                *stuck = Some(session);
            }
        }
        self.woken.notify_one();
        self.tell(core).await;
        core.input(Input::TookIn).await;
    }
}
