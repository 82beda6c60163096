//! The core: one task that owns the host machine and carries out its effects.

use std::collections::BTreeMap;
use std::sync::Arc;

use isos_base::Machine;
use isos_base::wire::{Refusal, ToComplex};
use isos_kernel::host::{ChamberId, Effect, Host, HostEvent, Input, SessionId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::chamber::{self, Running};
use crate::control::AgentStatus;
use crate::follow::PolicyStatus;
use crate::owner::Said;
use crate::{End, Shared, clock, session};

/// Inputs that wait for the core.
const INPUTS_MAX: usize = 1_024;

enum Message {
    Input(Input),
    Status(oneshot::Sender<AgentStatus>),
    Weigh,
    Owner(Said),
    /// For the complex, past the machine: nothing is decided by it.
    Say(SessionId, ToComplex),
}

/// A handle of the core.
#[derive(Clone)]
pub(crate) struct Core {
    messages: mpsc::Sender<Message>,
    owner: watch::Sender<Said>,
    /// Whether something is fetched, compiled, opened or run.
    busy: watch::Sender<bool>,
    /// Whether the policy has been looked at.
    looked: watch::Sender<bool>,
}

impl Core {
    /// Starts it with what the owner said last.
    pub(crate) fn start(
        machine: Host,
        shared: Arc<Shared>,
        said: Said,
    ) -> (Self, watch::Receiver<Option<End>>) {
        let (messages, inbox) = mpsc::channel(INPUTS_MAX);
        let (end, ends) = watch::channel(None);
        let owner = watch::channel(said).0;
        let (busy, looked) = (watch::channel(false).0, watch::channel(false).0);
        let core = Self { messages, owner, busy, looked };
        let task = Task {
            machine,
            shared,
            core: core.clone(),
            sessions: BTreeMap::new(),
            chambers: BTreeMap::new(),
            frozen: watch::channel(false).0,
            welcomed: false,
            end: end.clone(),
        };
        tokio::spawn(async move {
            task.run(inbox).await;
            end.send_replace(Some(End::Stopped));
        });
        (core, ends)
    }

    /// One without a machine: what it would be told can be heard.
    #[cfg(test)]
    pub(crate) fn heard() -> (Self, mpsc::Receiver<Input>) {
        let (messages, mut inbox) = mpsc::channel(INPUTS_MAX);
        let (heard, inputs) = mpsc::channel(INPUTS_MAX);
        tokio::spawn(async move {
            while let Some(message) = inbox.recv().await {
                if let Message::Input(input) = message {
                    let _ = heard.send(input).await;
                }
            }
        });
        let owner = watch::channel(Said::Auto).0;
        let (busy, looked) = (watch::channel(false).0, watch::channel(false).0);
        (Self { messages, owner, busy, looked }, inputs)
    }

    /// Gives a fact to the machine.
    pub(crate) async fn input(&self, input: Input) {
        let _ = self.messages.send(Message::Input(input)).await;
    }

    /// Says something to the complex, if the session still is.
    pub(crate) async fn say(&self, session: SessionId, frame: ToComplex) {
        let _ = self.messages.send(Message::Say(session, frame)).await;
    }

    /// Has the machine told what its chambers take.
    pub(crate) async fn weigh(&self) {
        let _ = self.messages.send(Message::Weigh).await;
    }

    pub(crate) async fn status(&self) -> Option<AgentStatus> {
        let (answer, answered) = oneshot::channel();
        self.messages.send(Message::Status(answer)).await.ok()?;
        answered.await.ok()
    }

    /// The owner pauses or resumes.
    pub(crate) async fn owner_said(&self, said: Said) {
        let _ = self.messages.send(Message::Owner(said)).await;
    }

    /// Whether the policy has been looked at.
    pub(crate) fn looked(&self) -> watch::Receiver<bool> {
        self.looked.subscribe()
    }

    /// What the owner said last.
    pub(crate) fn owner(&self) -> watch::Receiver<Said> {
        self.owner.subscribe()
    }

    /// Whether there is work that the owner may want to be stopped.
    pub(crate) fn busy(&self) -> watch::Receiver<bool> {
        self.busy.subscribe()
    }

    pub(crate) async fn stop(&self) {
        self.input(Input::Stopping).await;
    }
}

struct Task {
    machine: Host,
    shared: Arc<Shared>,
    core: Core,
    sessions: BTreeMap<SessionId, mpsc::UnboundedSender<ToComplex>>,
    chambers: BTreeMap<ChamberId, Running>,
    /// Whether the owner is back: what opens stops, and is frozen before it starts. Said before
    /// open chambers are signalled, so that one that opens meanwhile misses neither.
    frozen: watch::Sender<bool>,
    /// Whether the complex has ever let this agent in.
    welcomed: bool,
    end: watch::Sender<Option<End>>,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut messages = Vec::new();
        let mut effects = Vec::new();
        let mut stopping = false;
        while !stopping {
            let deadline = self.machine.deadline();
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep(at.since(clock::now()).to_std()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                count = inbox.recv_many(&mut messages, 256) => if count == 0 { return },
                () = timer => {}
            }
            for message in messages.drain(..) {
                match message {
                    Message::Input(input) => {
                        stopping |= matches!(input, Input::Stopping);
                        if matches!(input, Input::Allowed { .. }) {
                            self.core.looked.send_replace(true);
                        }
                        self.machine.step(clock::now(), input, &mut effects);
                    }
                    Message::Status(answer) => _ = answer.send(self.status()),
                    Message::Weigh => {
                        let weights = self.chambers.iter().map(|(&id, it)| (id, it.weight()));
                        let chambers = weights.collect();
                        self.machine.step(clock::now(), Input::Weighed { chambers }, &mut effects);
                    }
                    Message::Owner(said) => _ = self.core.owner.send(said),
                    Message::Say(session, frame) => {
                        if let Some(outbox) = self.sessions.get(&session) {
                            self.shared.traffic.sent(&frame);
                            let _ = outbox.send(frame);
                        }
                    }
                }
            }
            let now = clock::now();
            if self.machine.deadline().is_some_and(|at| at <= now) {
                self.machine.step(now, Input::TimerFired, &mut effects);
            }
            for effect in effects.drain(..) {
                self.carry_out(effect);
            }
            self.tell_busy();
        }
        // Chambers die with their handles; the sessions flush what they have.
        let sessions: Vec<_> = std::mem::take(&mut self.sessions).into_values().collect();
        for session in &sessions {
            session.closed().await;
        }
    }

    fn status(&self) -> AgentStatus {
        AgentStatus {
            host: isos_base::HostId(self.shared.endpoint.public()),
            version: env!("CARGO_PKG_VERSION").into(),
            complex: self.shared.complex,
            now: clock::now(),
            owner: *self.core.owner.borrow(),
            host_status: self.machine.status(),
            offer: self.machine.offer().clone(),
            walls: self.chambers.values().find_map(Running::walls).unwrap_or_default(),
            objects: self.shared.shelf.used(),
            storage: self.shared.keeper.status(),
            keepers: self.shared.sandbox.keepers(),
            moved: self.shared.traffic.moved(clock::now()),
            policy: PolicyStatus {
                file: self.shared.policy_file.clone(),
                trouble: self.shared.policy_trouble.get(),
            },
        }
    }

    fn tell_busy(&self) {
        let busy = !self.chambers.is_empty();
        self.core.busy.send_if_modified(|known| std::mem::replace(known, busy) != busy);
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Connect { session } => {
                // Bounded by the machine: two unacknowledged reports, what is told before them,
                // and a few offers.
                let (outbox, frames) = mpsc::unbounded_channel();
                self.sessions.insert(session, outbox);
                let (shared, core) = (self.shared.clone(), self.core.clone());
                tokio::spawn(session::run(shared, core, session, frames));
            }
            Effect::Disconnect { session } => _ = self.sessions.remove(&session),
            Effect::Send { session, frame } => {
                if let Some(outbox) = self.sessions.get(&session) {
                    if let ToComplex::Report(report) = &frame {
                        for trace in self.shared.tracer.before(report) {
                            let _ = outbox.send(ToComplex::Traced(trace));
                        }
                    }
                    self.shared.traffic.sent(&frame);
                    let _ = outbox.send(frame);
                }
            }
            Effect::Prepare { chamber, offer, threads } => {
                let (shared, core) = (self.shared.clone(), self.core.clone());
                let frozen = self.frozen.subscribe();
                let running = chamber::start(shared, core, chamber, *offer, threads, frozen);
                self.chambers.insert(chamber, running);
            }
            Effect::GoOn { chamber, from } => {
                if let Some(running) = self.chambers.get(&chamber) {
                    running.go_on(from);
                }
            }
            Effect::Start { chamber, tasks } => {
                if let Some(running) = self.chambers.get(&chamber) {
                    running.order(tasks);
                }
            }
            Effect::Stop { chamber } | Effect::Drop { chamber } => {
                _ = self.chambers.remove(&chamber);
            }
            Effect::Limit { cores, memory } => {
                self.shared.sandbox.allow(isos_sandbox::Allowed { cores, memory });
            }
            Effect::Suspend => {
                let _ = self.frozen.send_replace(true);
                self.chambers.values().for_each(Running::suspend);
                self.shared.sandbox.freeze(true);
            }
            Effect::Resume => {
                let _ = self.frozen.send_replace(false);
                self.shared.sandbox.freeze(false);
                self.chambers.values().for_each(Running::resume);
            }
            Effect::TakeIn { session, news } => self.shared.keeper.take_in(session, news),
            Effect::Mend { session, order } => {
                let (keeper, core) = (self.shared.keeper.clone(), self.core.clone());
                tokio::spawn(async move {
                    let report = keeper.mend(*order).await;
                    core.input(Input::Mended { session, report }).await;
                });
            }
            Effect::Prove { session, asked } => {
                let (keeper, core) = (self.shared.keeper.clone(), self.core.clone());
                tokio::spawn(async move {
                    let proof = keeper.prove(&asked).await.map(Box::new);
                    core.input(Input::Proved { session, proof }).await;
                });
            }
            Effect::Say(event) => {
                self.heed(&event);
                tracing::info!("{event}");
            }
        }
    }

    /// Who was never let in and never will be has nothing to wait for.
    fn heed(&mut self, event: &HostEvent) {
        match event {
            HostEvent::Welcomed { .. } => self.welcomed = true,
            HostEvent::Refused(Refusal::Busy(_) | Refusal::Elsewhere) => {}
            HostEvent::Refused(refusal) if !self.welcomed => {
                self.end.send_replace(Some(End::Refused(refusal.clone())));
            }
            _ => {}
        }
    }
}
