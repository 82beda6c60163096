//! `isos:host/peers`: what a program asks of its host to address the other ranks of its slice.
//!
//! Nothing is carried here: a question goes to the agent over the child's pipe, and the thread of
//! the task waits for the answer. Waiting takes no fuel; it is the task's time all the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isos_base::job::JobSpec;
use isos_base::peers::{Answer, Ask, MESSAGE_BYTES_MAX, PEERS_INTERFACE, Problem};
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::host::{Host, Watch};
use crate::stop::Stop;

/// How often a task that waits looks whether its time is over: less than what counts as a
/// suspension.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// By which programs save themselves.
const SAVING: &str = "isos:host/checkpoint";

/// Puts a question into the pipe; whether somebody may still answer.
type Say = Box<dyn Fn(u32, Ask) -> bool + Send + Sync>;

/// The way to the agent, for all tasks of a child.
pub(crate) struct Mouth {
    say: Say,
    /// By the tasks that wait.
    answers: Mutex<BTreeMap<u32, Option<Answer>>>,
    came: Condvar,
}

impl Mouth {
    pub(crate) fn new(say: Say) -> Self {
        Self { say, answers: Mutex::default(), came: Condvar::new() }
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<u32, Option<Answer>>> {
        // Each change is whole before its guard is given back.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and waits for the answer, or until the task's time is over.
    fn ask(&self, task: u32, ask: Ask, watch: &mut Watch) -> Result<Answer, Stop> {
        self.answers().insert(task, None);
        if !(self.say)(task, ask) {
            return Err(Stop::TimedOut);
        }
        let mut answers = self.answers();
        loop {
            if let Some(answer) = answers.get_mut(&task).and_then(Option::take) {
                answers.remove(&task);
                return Ok(answer);
            }
            if watch.is_over() {
                answers.remove(&task);
                return Err(Stop::TimedOut);
            }
            let waited = self.came.wait_timeout(answers, LOOK_EVERY);
            answers = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The agent answers a task.
    pub(crate) fn hear(&self, task: u32, answer: Answer) {
        if let Some(waits) = self.answers().get_mut(&task) {
            *waits = Some(answer);
            self.came.notify_all();
        }
    }
}

/// One task's part of it.
#[derive(Clone)]
pub(crate) struct Party {
    mouth: Arc<Mouth>,
    rank: u32,
    size: u32,
    /// The message that was received last, until it is fetched.
    arrived: Vec<u8>,
}

impl Party {
    pub(crate) fn new(mouth: &Arc<Mouth>, rank: u32, spec: &JobSpec) -> Self {
        Self { mouth: mouth.clone(), rank, size: spec.count, arrived: Vec::new() }
    }
}

/// What is received: from whom, and what; nothing in time.
pub(crate) type Received = Result<Option<(u32, Vec<u8>)>, Problem>;

impl Host {
    /// Its own rank, and how many there are; alone where nobody can be addressed.
    pub(crate) fn peers_rank(&self) -> (u32, u32) {
        self.peers.as_ref().map_or((0, 1), |party| (party.rank, party.size))
    }

    fn peers_ask(&mut self, ask: Ask) -> Result<Answer, Stop> {
        match &self.peers {
            Some(party) => party.mouth.clone().ask(party.rank, ask, &mut self.watch),
            None => Ok(Answer::Problem(Problem::NoRank)),
        }
    }

    /// Sends to one rank, or to all others; to how many it is on its way.
    pub(crate) fn peers_send(
        &mut self,
        to: Option<u32>,
        message: &[u8],
    ) -> Result<Result<u32, Problem>, Stop> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Ok(Err(Problem::TooLarge));
        }
        let times = if to.is_some() { 1 } else { self.peers_rank().1 as usize };
        self.pays(message.len().saturating_mul(times))?;
        let message = message.to_vec();
        let ask = match to {
            Some(to) => Ask::Send { to, message },
            None => Ask::Multicast(message),
        };
        Ok(match self.peers_ask(ask)? {
            Answer::Sent(count) => Ok(count),
            Answer::Problem(problem) => Err(problem),
            // The agent answers what it was asked.
            Answer::Received(_) => Err(Problem::Gone),
        })
    }

    /// The next message of a rank, or of any.
    pub(crate) fn peers_receive(
        &mut self,
        from: Option<u32>,
        wait_ms: u64,
    ) -> Result<Received, Stop> {
        Ok(match self.peers_ask(Ask::Receive { from, wait_ms })? {
            Answer::Received(received) => {
                self.moves(received.as_ref().map_or(0, |(_, message)| message.len()));
                Ok(received)
            }
            Answer::Problem(problem) => Err(problem),
            Answer::Sent(_) => Err(Problem::Gone),
        })
    }

    /// Keeps what was received for a program that fetches it by another call.
    pub(crate) fn peers_keep(&mut self, message: Vec<u8>) {
        if let Some(party) = &mut self.peers {
            party.arrived = message;
        }
    }

    /// Gives what was kept, once.
    pub(crate) fn peers_kept(&mut self) -> Vec<u8> {
        self.peers.as_mut().map(|party| std::mem::take(&mut party.arrived)).unwrap_or_default()
    }
}

/// Whether a module addresses its peers.
pub(crate) fn is_module(module: &Module) -> bool {
    module.imports().any(|import| import.module() == PEERS_INTERFACE)
}

/// Whether a component does.
pub(crate) fn is_component(engine: &Engine, component: &Component) -> bool {
    imports(engine, component, PEERS_INTERFACE)
}

fn imports(engine: &Engine, component: &Component, interface: &str) -> bool {
    let ty = component.component_type();
    // The version follows behind an `@`.
    ty.imports(engine).any(|(name, _)| name.split('@').next() == Some(interface))
}

/// Refuses a module that addresses its peers and is saved: a message that was received is in no
/// checkpoint, and nobody sends it again.
pub(crate) fn check_module(module: &Module, is_stepped: bool) -> Result<(), String> {
    let saves = is_stepped || module.imports().any(|import| import.module() == SAVING);
    check(is_module(module), saves)
}

/// The same for a component.
pub(crate) fn check_component(engine: &Engine, component: &Component) -> Result<(), String> {
    check(is_component(engine, component), imports(engine, component, SAVING))
}

fn check(speaks: bool, saves: bool) -> Result<(), String> {
    if !speaks || !saves {
        return Ok(());
    }
    Err(format!(
        "it imports {PEERS_INTERFACE} and saves its state: what it has received would be in no \
         checkpoint, so it can do only one of them"
    ))
}

/// Refuses a program that would have nobody to address.
pub(crate) fn check_slice(speaks: bool, spec: &JobSpec) -> Result<(), String> {
    if !speaks || spec.slice.is_some() {
        return Ok(());
    }
    Err(format!("it imports {PEERS_INTERFACE}, which is there on a slice: use `isos slice run`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_waits_for_its_own_answer_and_no_longer_than_it_may() {
        let mouth = Arc::new(Mouth::new(Box::new(|_, _| true)));
        let other = mouth.clone();
        let ask = || Ask::Multicast(Vec::new());
        mouth.hear(2, Answer::Sent(9));
        let answers = std::thread::spawn(move || {
            while other.answers().is_empty() {
                std::thread::yield_now();
            }
            other.hear(7, Answer::Sent(9));
            other.hear(2, Answer::Sent(1));
        });
        let answer = mouth.ask(2, ask(), &mut Watch::start(Duration::from_secs(20)));
        assert_eq!(answer, Ok(Answer::Sent(1)), "an answer that nobody waits for is none");
        answers.join().expect("it only answers");

        let answer = mouth.ask(2, ask(), &mut Watch::start(Duration::from_millis(60)));
        assert_eq!(answer, Err(Stop::TimedOut));
        assert!(mouth.answers().is_empty());
    }
}
