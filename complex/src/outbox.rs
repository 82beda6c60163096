//! The sender: takes payouts from the outbox to their rails, and deposits from there to accounts.
//!
//! Only the server that leads runs it. Whatever it is killed in the middle of is done again: a
//! payout waits in the database until its rail has answered for good, and is sent under the same
//! key each time; a deposit stays with its rail until it is credited, and counts once by its id.
//! How often a payout was tried is remembered here alone, and begins again with the server.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isos_base::api::{PayoutView, Problem, ProblemCode, RailView};
use isos_base::key::PublicKey;
use isos_base::record::PayoutRecord;
use isos_base::{AccountId, PayoutId};
use isos_db::ReadError;
use isos_kernel::complex::{BankCall, Call};
use isos_kernel::ledger::{self, CREDIT};
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::core::report;
use crate::rail::{Incoming, Instruction, OpenRail, RailError, Sent};
use crate::server::Shared;

/// How often rails are asked for deposits, and payouts are looked through for those that are due.
const EVERY: Duration = Duration::from_secs(1);
/// The first wait after a rail said "later"; each one doubles it.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// The longest.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// Payouts that are looked at in one go.
const PAGE: usize = 1_000;
/// A rail that says "later" so often in a row is left alone until the next round.
const LATERS_MAX: u32 = 3;

/// What was tried.
#[derive(Debug, Clone)]
struct Tried {
    count: u32,
    next: Instant,
    trouble: String,
}

/// All rails, and how they do.
pub(crate) struct Outbox {
    rails: Vec<OpenRail>,
    /// Which complex: its key makes those of payouts unlike any other's.
    complex: PublicKey,
    tried: Mutex<HashMap<PayoutId, Tried>>,
    troubles: Mutex<BTreeMap<String, String>>,
    asked: Notify,
}

/// Why a round ended early. The next one goes on.
#[derive(Debug, Error)]
enum RoundError {
    #[error(transparent)]
    Stopping(#[from] Problem),
    #[error(transparent)]
    Rail(#[from] RailError),
    #[error("cannot look whether a deposit is known")]
    Read(#[from] ReadError),
    #[error("a thread of the rail ended")]
    Thread(#[from] tokio::task::JoinError),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Entries are put in whole, so a poisoned lock is still good.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outbox {
    pub(crate) fn new(rails: Vec<OpenRail>, complex: PublicKey) -> Self {
        Self {
            rails,
            complex,
            tried: Mutex::default(),
            troubles: Mutex::default(),
            asked: Notify::new(),
        }
    }

    /// A payout has been asked for.
    pub(crate) fn asked(&self) {
        self.asked.notify_waiters();
    }

    /// The rails.
    pub(crate) fn rails(&self) -> &[OpenRail] {
        &self.rails
    }

    /// A payout with what was tried.
    pub(crate) fn view(&self, record: PayoutRecord) -> PayoutView {
        let tried = lock(&self.tried).get(&record.id).cloned();
        let known = self.rails.iter().any(|rail| rail.terms.name == record.rail);
        let mut view = PayoutView::from(record);
        if let Some(tried) = tried {
            (view.tries, view.trouble) = (tried.count, Some(tried.trouble));
        }
        if view.ended.is_none() && !known {
            let why = format!("the server was started without a rail {:?}", view.rail);
            view.trouble = Some(why);
        }
        view
    }

    /// Rails with what troubles them.
    pub(crate) fn with_troubles(&self, mut views: Vec<RailView>) -> Vec<RailView> {
        let troubles = lock(&self.troubles);
        for view in &mut views {
            view.trouble = troubles.get(&view.name).cloned();
        }
        views
    }

    fn is_due(&self, payout: PayoutId, now: Instant) -> bool {
        lock(&self.tried).get(&payout).is_none_or(|tried| tried.next <= now)
    }

    /// Remembers that it came to nothing, and when it is tried again.
    fn later(&self, payout: PayoutId, trouble: String, now: Instant) {
        let mut all = lock(&self.tried);
        let count = all.get(&payout).map_or(0, |tried| tried.count).saturating_add(1);
        let wait = WAIT_MIN.saturating_mul(1 << (count - 1).min(20)).min(WAIT_MAX);
        all.insert(payout, Tried { count, next: now + wait, trouble });
    }

    fn trouble(&self, rail: &str, trouble: Option<String>) {
        let mut troubles = lock(&self.troubles);
        match trouble {
            Some(trouble) => {
                if troubles.insert(rail.into(), trouble.clone()).as_ref() != Some(&trouble) {
                    tracing::warn!(rail, "a rail does not work: {trouble}");
                }
            }
            None => _ = troubles.remove(rail),
        }
    }
}

/// Runs all rails until the server stops.
pub(crate) fn start(shared: &Arc<Shared>) {
    for rail in shared.outbox.rails() {
        tokio::spawn(run(shared.clone(), rail.clone()));
    }
}

async fn run(shared: Arc<Shared>, rail: OpenRail) {
    let mut stopping = shared.stopping.clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shared.outbox.asked.notified() => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        let mut trouble = None;
        for done in [send(&shared, &rail).await, take_in(&shared, &rail).await] {
            match done {
                Ok(found) => trouble = trouble.or(found),
                Err(RoundError::Stopping(problem)) => tracing::debug!("{problem}"),
                Err(error) => trouble = Some(report(&error)),
            }
        }
        shared.outbox.trouble(&rail.terms.name, trouble);
    }
}

/// Sends what is due, in order; says what is in the way, if something is.
async fn send(shared: &Shared, rail: &OpenRail) -> Result<Option<String>, RoundError> {
    let (mut after, mut laters, mut trouble) = (PayoutId(0), 0, None);
    loop {
        let name = rail.terms.name.clone();
        let look = move |complex: &mut isos_kernel::complex::Complex, _| {
            let mine = complex.payouts_waiting(None, after).filter(|it| it.rail == name);
            mine.take(PAGE).cloned().collect::<Vec<_>>()
        };
        let page = shared.core.query(look).await?;
        let Some(last) = page.last() else { return Ok(trouble) };
        after = last.id;
        for record in page {
            if !shared.outbox.is_due(record.id, Instant::now()) {
                continue;
            }
            let id = record.id;
            match send_one(shared, rail, record).await? {
                None => laters = 0,
                Some(why) => {
                    shared.outbox.later(id, why.clone(), Instant::now());
                    trouble = Some(why);
                    laters += 1;
                    if laters >= LATERS_MAX {
                        return Ok(trouble);
                    }
                }
            }
        }
    }
}

/// Sends one; says why it has to be sent again, if it has.
async fn send_one(
    shared: &Shared,
    rail: &OpenRail,
    payout: PayoutRecord,
) -> Result<Option<String>, RoundError> {
    let id = payout.id;
    let instruction = Instruction {
        key: format!("{}-{id}", shared.outbox.complex),
        money: payout.money,
        currency: payout.currency.clone(),
        to: payout.to.clone(),
        payout,
    };
    let way = rail.rail.clone();
    let sent = tokio::task::spawn_blocking(move || way.send(&instruction)).await;
    // A rail that panics may have paid.
    let sent = sent.unwrap_or_else(|error| Sent::Later(format!("the rail failed: {error}")));
    let answer = match sent {
        Sent::Later(why) => return Ok(Some(why)),
        Sent::Paid(receipt) => Ok(receipt),
        Sent::Never(why) => Err(why),
    };
    shared.core.call(Call::Bank(BankCall::Settle { payout: id, answer })).await?;
    lock(&shared.outbox.tried).remove(&id);
    Ok(None)
}

/// Credits what came in.
async fn take_in(shared: &Shared, rail: &OpenRail) -> Result<Option<String>, RoundError> {
    let way = rail.rail.clone();
    let found = tokio::task::spawn_blocking(move || way.incoming()).await??;
    for incoming in found {
        let id = incoming.id.clone();
        let taken = take_one(shared, rail, incoming).await?;
        let way = rail.rail.clone();
        let tell = move || match taken {
            Ok(()) => way.taken(&id),
            Err(why) => way.rejected(&id, &why),
        };
        tokio::task::spawn_blocking(tell).await??;
    }
    Ok(None)
}

/// Credits one deposit; the inner error says why that will never be.
async fn take_one(
    shared: &Shared,
    rail: &OpenRail,
    incoming: Incoming,
) -> Result<Result<(), String>, RoundError> {
    let Incoming { id, account, money } = incoming;
    let name = rail.terms.name.clone();
    let number = match account.parse::<AccountId>() {
        Ok(number) => Some(number),
        Err(_) => {
            let account = account.clone();
            shared.core.query(move |complex, _| complex.account_named(&account)).await?
        }
    };
    let Some(number) = number else { return Ok(Err(format!("there is no account {account:?}"))) };
    // The database keeps the ids of all transfers, the machine the latest. Nobody else credits
    // deposits meanwhile: this server leads, and a rail is asked by one task.
    if let Some(known) = shared.db.transfer(ledger::deposit(&name, &id)).await? {
        let counted = match rail.terms.currency.as_str() {
            CREDIT => Some(known.amount),
            _ => {
                let money = shared.db.transfer(ledger::deposit_money(&name, &id)).await?;
                money.map(|transfer| transfer.amount)
            }
        };
        let same = known.credit == number && counted == Some(money);
        let why = || format!("{id:?} was taken already, with another account or amount");
        return Ok(if same { Ok(()) } else { Err(why()) });
    }
    let call = BankCall::Deposit { account: number, rail: name, id, money };
    match shared.core.call(Call::Bank(call)).await {
        Ok(_) => Ok(Ok(())),
        Err(problem) => match problem.code {
            ProblemCode::Refused | ProblemCode::Usage | ProblemCode::NotFound => {
                Ok(Err(problem.message))
            }
            _ => Err(problem.into()),
        },
    }
}

#[cfg(test)]
mod tests;
