//! What this host knows of all others without the complex: the gossip machine between the network,
//! the home and the owner's readings.
//!
//! One task owns the machine (`run`); `serve` takes callers; `query` is what this host asks all
//! others, and answers them. Others are met only while the owner's
//! policy lets the network be used. First peers come from the complex, and are remembered, so that
//! an agent finds the others again while the complex is away.

mod presence;
mod query;
mod run;
mod serve;
mod told;

use std::sync::{Arc, Mutex, PoisonError};

use isos_base::descriptor::{Access, Descriptor, Introduction};
use isos_base::host::HostSpec;
use isos_base::notary::Keys;
use isos_base::sensors::Sensors;
use isos_base::{HostId, Span, Time};
use isos_gossip::machine::Counts;
use isos_gossip::{Estimate, Gossip, Input, Tuning};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock;
pub use query::{QueryError, QueryFound, QueryOrder, QueryRow};
use run::Message;
pub(crate) use run::{Means, run};
use told::Teller;

/// Inputs that wait for the machine.
const INPUTS_MAX: usize = 256;

/// A handle of this host's gossip.
#[derive(Debug)]
pub(crate) struct Cloud {
    messages: mpsc::Sender<Message>,
    /// Whether others may be met.
    allowed: watch::Sender<bool>,
    status: watch::Receiver<CloudStatus>,
    /// How this host describes itself, each time that the complex should hear of it.
    described: watch::Receiver<Option<Arc<Descriptor>>>,
    teller: Mutex<Teller>,
}

/// What this host knows of all others, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloudStatus {
    /// This host.
    pub host: HostId,
    /// The agent's clock.
    pub now: Time,
    /// Whether anybody may call it.
    pub public: bool,
    /// Until when the complex has admitted it; nothing if it has not yet.
    pub admitted_until: Option<Time>,
    /// Whether the owner's policy lets others be met now.
    pub allowed: bool,
    /// Hosts that are known and can be called.
    pub known_public: u64,
    /// Hosts that are known and cannot.
    pub known_private: u64,
    /// The time between two exchanges.
    pub cycle: Span,
    /// How long an epoch is: what is told is of the last one that is over.
    pub epoch: Span,
    /// What is known of all; nothing before the first epoch is over.
    pub estimate: Option<Estimate>,
    /// Exchanges that this host began since the agent started.
    pub begun: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Exchanges that others began here.
    pub served: u64,
    /// Descriptors and sums that were not believed.
    pub disbelieved: u64,
    /// Peers that had to be dialled for an exchange.
    pub dialled: u64,
}

impl Cloud {
    /// The gossip of a host, and what runs it.
    pub(crate) fn new(host: HostId, keys: Keys, cycle: Span, cpus: u16) -> (Self, Means) {
        let tuning = Tuning { cycle, ..Tuning::default() };
        let now = clock::now();
        // Nobody else may know what is drawn.
        let seed = getrandom::u64().unwrap_or(now.0);
        let machine = Gossip::new(now, host, keys, tuning, seed);
        let (messages, inbox) = mpsc::channel(INPUTS_MAX);
        let (allowed, is_allowed) = watch::channel(false);
        let begin = CloudStatus {
            host,
            now,
            public: false,
            admitted_until: None,
            allowed: false,
            known_public: 0,
            known_private: 0,
            cycle,
            epoch: tuning.epoch(),
            estimate: None,
            begun: 0,
            answered: 0,
            served: 0,
            disbelieved: 0,
            dialled: 0,
        };
        let (tell, status) = watch::channel(begin);
        let (describe, described) = watch::channel(None);
        let teller = Mutex::new(Teller::new(now, cpus));
        let own = Self { messages: messages.clone(), allowed, status, described, teller };
        (
            own,
            Means {
                machine,
                messages,
                inbox,
                allowed: is_allowed,
                status: tell,
                described: describe,
            },
        )
    }

    /// The owner lets the network be used, or not.
    pub(crate) fn allow(&self, allowed: bool) {
        self.allowed.send_if_modified(|known| std::mem::replace(known, allowed) != allowed);
    }

    /// How this host is now.
    pub(crate) async fn looked(&self, spec: &HostSpec, sensors: &Sensors, running: u32) {
        let (told, live) = {
            // A number is added up and nothing else.
            let mut teller = self.teller.lock().unwrap_or_else(PoisonError::into_inner);
            let told = teller.tell(clock::now(), sensors, running);
            (told, teller.live(&told))
        };
        let looked = Message::Looked { told, spec: Box::new(spec.clone()), live };
        let _ = self.messages.send(looked).await;
    }

    /// This host for the complex.
    pub(crate) async fn describe(&self) -> Option<Descriptor> {
        let (answer, answered) = oneshot::channel();
        self.messages.send(Message::Describe(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Changes when the complex should hear how this host describes itself.
    pub(crate) fn described(&self) -> watch::Receiver<Option<Arc<Descriptor>>> {
        self.described.clone()
    }

    /// The complex has admitted this host, and tells of others.
    pub(crate) async fn introduced(&self, introduction: Introduction) {
        let Introduction { certificate, direct, peers } = introduction;
        let access = if direct { Access::Public } else { Access::Private };
        self.input(Input::Admitted { certificate: Box::new(certificate), access }).await;
        self.input(Input::Met { peers: peers.into_iter().map(Arc::new).collect() }).await;
    }

    async fn input(&self, input: Input) {
        let _ = self.messages.send(Message::Input(input)).await;
    }

    /// What is known now.
    pub(crate) fn status(&self) -> CloudStatus {
        CloudStatus { now: clock::now(), ..self.status.borrow().clone() }
    }
}

impl CloudStatus {
    fn count(&mut self, counts: Counts) {
        let Counts { begun, answered, served, disbelieved, apart } = counts;
        (self.begun, self.answered, self.served) = (begun, answered, served);
        self.disbelieved = disbelieved + apart;
    }
}

#[cfg(test)]
mod tests;
