//! One program's machine, between its questions and its connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use isos_base::peers::{Answer, Ask, Greeting, Hearing, Peers as PeersTold, Said};
use isos_base::{HostId, JobId, Machine};
use isos_peers::{CallId, Effect, Input, LineId, Talk};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::{Peers, line};
use crate::clock;

/// To the machine.
pub(super) enum Message {
    Told(PeersTold),
    Asked(Ask),
    Input(Input),
    /// Somebody calls.
    Called {
        host: HostId,
        greeting: Greeting,
        line: LineId,
        answer: oneshot::Sender<Welcome>,
    },
    Over(oneshot::Sender<()>),
}

/// A caller is heard.
pub(super) struct Welcome {
    pub(super) rank: u32,
    /// How far it has been heard, and how far from now on. Closed when it is of no use any more.
    pub(super) hearing: watch::Receiver<Hearing>,
}

/// A call that is made or was answered.
struct Calling {
    call: CallId,
    said: mpsc::UnboundedSender<Said>,
    task: AbortHandle,
}

impl Drop for Calling {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task that owns the machine.
pub(super) struct Task {
    peers: Arc<Peers>,
    job: JobId,
    size: u32,
    run: u64,
    /// Once the complex has said who is who, and so which rank this is.
    machine: Option<Talk>,
    own: mpsc::Sender<Message>,
    answers: mpsc::UnboundedSender<Answer>,
    calls: BTreeMap<u32, Calling>,
    lines: BTreeMap<u32, (LineId, watch::Sender<Hearing>)>,
    callers: BTreeMap<LineId, oneshot::Sender<Welcome>>,
    flushed: Option<oneshot::Sender<()>>,
}

impl Task {
    pub(super) fn new(
        peers: Arc<Peers>,
        (job, size, run): (JobId, u32, u64),
        own: mpsc::Sender<Message>,
        answers: mpsc::UnboundedSender<Answer>,
    ) -> Self {
        Self {
            peers,
            job,
            size,
            run,
            machine: None,
            own,
            answers,
            calls: BTreeMap::new(),
            lines: BTreeMap::new(),
            callers: BTreeMap::new(),
            flushed: None,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        loop {
            let deadline = self.machine.as_ref().and_then(Machine::deadline);
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep(at.since(clock::now()).to_std()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                () = timer => self.step(Input::TimerFired),
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Told(peers) => {
                if self.machine.is_none() {
                    let own = peers.peers.iter().find(|peer| peer.host == self.peers.own);
                    let Some(rank) = own.map(|peer| peer.rank) else { return };
                    self.machine = Some(Talk::new(self.job, rank, self.size, self.run));
                }
                self.step(Input::Told(peers));
            }
            Message::Asked(ask) => self.step(Input::Asked(ask)),
            Message::Input(input) => self.step(input),
            Message::Called { host, greeting, line, answer } => {
                self.callers.insert(line, answer);
                self.step(Input::Called { host, greeting, line });
                self.callers.remove(&line);
            }
            Message::Over(flushed) => {
                self.flushed = Some(flushed);
                if self.machine.is_none() {
                    self.flushed = None;
                }
                self.step(Input::Over);
            }
        }
    }

    fn step(&mut self, input: Input) {
        // Tasks begin once the complex has said who the peers are: before, nobody asks or calls.
        let Some(machine) = &mut self.machine else { return };
        let mut effects = Vec::new();
        machine.step(clock::now(), input, &mut effects);
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Call { rank, call, host, place, greeting } => {
                let (said, saying) = mpsc::unbounded_channel();
                let to = line::To { rank, call, host, place, greeting };
                let talking = line::call(self.peers.clone(), self.own.clone(), to, saying);
                let task = tokio::spawn(talking).abort_handle();
                self.calls.insert(rank, Calling { call, said, task });
            }
            Effect::Say { rank, call, number, message } => {
                // Bounded by the window of the pair.
                if let Some(calling) = self.calls.get(&rank).filter(|it| it.call == call) {
                    let _ = calling.said.send(Said { number, message: message.to_vec() });
                }
            }
            Effect::Welcome { rank, line, hearing } => {
                let (told, hearing) = watch::channel(hearing);
                if let Some(caller) = self.callers.remove(&line) {
                    let _ = caller.send(Welcome { rank, hearing });
                }
                self.lines.insert(rank, (line, told));
            }
            Effect::Refuse { line } => drop(self.callers.remove(&line)),
            Effect::Tell { rank, line, hearing } => {
                if let Some((_, told)) = self.lines.get(&rank).filter(|it| it.0 == line) {
                    told.send_replace(hearing);
                }
            }
            Effect::Part { rank, why } => {
                tracing::info!("rank {rank} of job {} is gone: {why}", self.job);
                self.calls.remove(&rank);
                self.lines.remove(&rank);
            }
            Effect::Answer(answer) => _ = self.answers.send(answer),
            Effect::Flushed => {
                if let Some(flushed) = self.flushed.take() {
                    let _ = flushed.send(());
                }
            }
        }
    }
}
