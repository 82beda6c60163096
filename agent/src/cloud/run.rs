//! The task that owns the gossip machine and carries out its effects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use isos_base::descriptor::{Access, Descriptor};
use isos_base::host::HostSpec;
use isos_base::notary::Keys;
use isos_base::{HostId, Machine, Span, Time, codec};
use isos_disk::Home;
use isos_gossip::machine::{CallId, MET_MAX, RequestId};
use isos_gossip::query::{Found, QueryId, Unasked, Wonder, Wondered};
use isos_gossip::wire::{ALPN, Answer, Request};
use isos_gossip::{Effect, Gossip, Input, Told};
use isos_kernel::constraint::Live;
use isos_net::{BriefAnswer, BriefAsker, BriefError, PeerAddr};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::presence::Presence;
use super::{CloudStatus, query, serve};
use crate::clock;
use crate::door::Door;
use crate::traffic::Traffic;

/// Peers of the last time, as they described themselves.
const PEERS_FILE: &str = "cloud";
/// How reliably this host was there.
const PRESENCE_FILE: &str = "presence";
/// The owner's side looks every few seconds; after a longer time the machine was asleep.
const AWAKE_WITHIN: Span = Span::secs(60);
/// How often that is written down.
const PRESENT_EVERY: Span = Span::secs(300);
/// The complex hears again how this host describes itself after so many cycles.
const DESCRIBED_CYCLES: u64 = 30;
/// Where this host can be called is looked at this often.
const PLACED_EVERY: Duration = Duration::from_secs(15);
/// What is counted for a message besides its bytes: headers and acknowledgements.
const OVERHEAD_BYTES: usize = 160;
/// What a handshake moves.
const HANDSHAKE_BYTES: usize = 3_600;

/// To the task.
#[derive(Debug)]
pub(crate) enum Message {
    /// For the machine.
    Input(Input),
    /// A question was answered, or was not.
    Ended { input: Input, dialled: bool, bytes: usize },
    /// Somebody asks.
    Asked { peer: HostId, request: Box<Request>, answer: oneshot::Sender<Answer> },
    /// How this host is now.
    Looked { told: Told, spec: Box<HostSpec>, live: Live },
    /// The owner asks all hosts.
    Wondered { wondered: Box<Wondered>, answer: oneshot::Sender<Result<Found, Unasked>> },
    /// How this host describes itself.
    Describe(oneshot::Sender<Descriptor>),
}

/// What the task is made of.
pub(crate) struct Means {
    pub(super) machine: Gossip<Keys>,
    pub(super) messages: mpsc::Sender<Message>,
    pub(super) inbox: mpsc::Receiver<Message>,
    pub(super) allowed: watch::Receiver<bool>,
    pub(super) status: watch::Sender<CloudStatus>,
    pub(super) described: watch::Sender<Option<Arc<Descriptor>>>,
}

struct Task {
    means: Means,
    home: Arc<Home>,
    door: Arc<Door>,
    traffic: Arc<Traffic>,
    asker: Arc<BriefAsker>,
    calls: BTreeMap<CallId, oneshot::Sender<Answer>>,
    asking: BTreeMap<RequestId, AbortHandle>,
    wonders: BTreeMap<Wonder, oneshot::Sender<Result<Found, Unasked>>>,
    last_call: u64,
    last_wonder: u64,
    /// This host, as it found itself last.
    itself: Option<(Box<HostSpec>, Live)>,
    presence: Presence,
    presence_kept: Time,
    /// When the owner's side looked last.
    looked: Time,
    dialled: u64,
    /// Cycles are counted by the descriptors that were made.
    told: Option<Time>,
}

/// Gossips for as long as the agent lives.
pub(crate) async fn run(means: Means, home: Arc<Home>, door: Arc<Door>, traffic: Arc<Traffic>) {
    let callers = door.callers(ALPN);
    tokio::spawn(serve::accept(callers, means.messages.clone()));
    let asker = Arc::new(BriefAsker::new(door.endpoint().clone(), ALPN));
    let now = clock::now();
    let mut task = Task {
        means,
        presence: presence(&home, now),
        presence_kept: now,
        looked: now,
        home,
        door,
        traffic,
        asker,
        calls: BTreeMap::new(),
        asking: BTreeMap::new(),
        wonders: BTreeMap::new(),
        last_call: 0,
        last_wonder: 0,
        itself: None,
        dialled: 0,
        told: None,
    };
    task.remembered();
    task.run().await;
}

impl Task {
    async fn run(&mut self) {
        let mut place = tokio::time::interval(PLACED_EVERY);
        place.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut allowed = self.means.allowed.clone();
        let mut was_allowed = false;
        loop {
            let is_allowed = *allowed.borrow_and_update();
            if std::mem::replace(&mut was_allowed, is_allowed) != is_allowed {
                self.open(is_allowed);
            }
            let due = self.means.machine.deadline().filter(|_| is_allowed);
            let timer = async {
                match due {
                    Some(at) => tokio::time::sleep(at.since(clock::now()).to_std()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = self.means.inbox.recv() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                () = timer => self.step(Input::TimerFired),
                _ = place.tick() => self.place(),
                changed = allowed.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            self.tell();
        }
    }

    /// Others may be met from now on, or not any more.
    fn open(&mut self, open: bool) {
        self.door.set_open(ALPN, open);
        if !open {
            self.asking.values().for_each(AbortHandle::abort);
            self.asking.clear();
            self.asker.close();
            // Nobody can answer them any more.
            self.wonders.clear();
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Input(input) => self.step(input),
            Message::Ended { input, dialled, bytes } => {
                self.dialled += u64::from(dialled);
                let handshake = if dialled { HANDSHAKE_BYTES } else { 0 };
                self.traffic.gossiped(bytes + OVERHEAD_BYTES + handshake);
                if let Input::Answered { request, .. } | Input::Failed { request, .. } = &input {
                    self.asking.remove(request);
                }
                self.step(input);
            }
            Message::Asked { peer, request, answer } => {
                self.last_call += 1;
                let call = CallId(self.last_call);
                self.calls.insert(call, answer);
                self.step(Input::Asked { call, peer, request });
                self.calls.remove(&call);
            }
            Message::Looked { told, spec, live } => {
                self.itself = Some((spec, live));
                self.is_here();
                self.step(Input::Looked { told });
            }
            Message::Wondered { wondered, answer } => {
                self.last_wonder += 1;
                let wonder = Wonder(self.last_wonder);
                self.wonders.insert(wonder, answer);
                self.step(Input::Wondered(Box::new(Wondered { wonder, ..*wondered })));
            }
            Message::Describe(answer) => {
                self.place();
                _ = answer.send(self.means.machine.introduce(clock::now()));
            }
        }
    }

    /// Time has passed in which this host was there.
    fn is_here(&mut self) {
        let now = clock::now();
        // A machine that slept was not there.
        let was_awake = now.since(self.looked) < AWAKE_WITHIN;
        self.looked = now;
        self.presence.passed(now, was_awake);
        if now.since(self.presence_kept) < PRESENT_EVERY {
            return;
        }
        self.presence_kept = now;
        let (home, bytes) = (self.home.clone(), codec::encode(&self.presence));
        tokio::task::spawn_blocking(move || {
            if let Err(error) = home.write(PRESENCE_FILE, &bytes) {
                tracing::warn!("how reliable this host is is not written down: {error}");
            }
        });
    }

    /// Whether this host fits; nobody knows before it was looked at for the first time.
    fn weigh(&mut self, query: QueryId, text: &str) {
        let Some((spec, live)) = &self.itself else { return };
        let public = self.means.machine.access() == Access::Public;
        let live = Live { reliability: self.presence.share(), public, ..*live };
        let weighed = Box::new(query::weigh(text, spec, &live));
        self.step(Input::Weighed { query, weighed });
    }

    fn found(&mut self, wonder: Wonder, found: Result<Found, Unasked>) {
        if let Some(waiting) = self.wonders.remove(&wonder) {
            // Whoever asked may have left.
            _ = waiting.send(found);
        }
    }

    /// Where this host can be called now.
    fn place(&mut self) {
        let (addresses, relay) = (self.door.endpoint().addresses(), self.door.endpoint().relay());
        self.step(Input::Placed { addresses, relay });
    }

    fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.means.machine.step(clock::now(), input, &mut effects);
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Ask { request, to, ask } => self.ask(request, &to, ask),
            Effect::Forget { request } => {
                if let Some(asking) = self.asking.remove(&request) {
                    asking.abort();
                }
            }
            Effect::Answer { call, answer } => {
                if let Some(waiting) = self.calls.remove(&call) {
                    self.traffic.gossiped(answer.encode().len() + OVERHEAD_BYTES);
                    _ = waiting.send(*answer);
                }
            }
            Effect::Estimated(estimate) => {
                tracing::debug!(hosts = estimate.hosts, epoch = estimate.epoch, "an epoch is over");
                for doubt in &estimate.doubts {
                    tracing::debug!("what is known of all others is doubtful: {doubt}");
                }
            }
            Effect::Weigh { query, text } => self.weigh(query, &text),
            Effect::Found(found) => self.found(found.wonder, Ok(*found)),
            Effect::Unfound { wonder, why } => self.found(wonder, Err(why)),
            Effect::Remember { peers } => self.remember(peers),
            Effect::Gone { host } => tracing::debug!(host = %host.short(), "it seems to be gone"),
            Effect::Caught { first, .. } => {
                tracing::warn!(
                    "the host {} has described itself in two ways at once: it is not heard any more",
                    first.host
                );
            }
        }
    }

    fn ask(&mut self, request: RequestId, to: &Descriptor, ask: Box<Request>) {
        let peer =
            PeerAddr { key: to.host.0, addresses: to.addresses.clone(), relay: to.relay.clone() };
        let (asker, messages) = (self.asker.clone(), self.means.messages.clone());
        let asking = tokio::spawn(async move {
            let asked = ask.encode().len();
            let told = asker.ask::<Request, Answer>(&peer, &ask).await;
            let ended = match told {
                Ok(BriefAnswer { answer, round_trip, dialled }) if answer.check().is_ok() => {
                    let bytes = asked + answer.encode().len();
                    let round_trip = round_trip.map(Span::from_std);
                    let input = Input::Answered { request, answer: Box::new(answer), round_trip };
                    Message::Ended { input, dialled, bytes }
                }
                Ok(BriefAnswer { dialled, .. }) => {
                    let input = Input::Failed { request, sent: true };
                    Message::Ended { input, dialled, bytes: asked }
                }
                Err(error) => {
                    tracing::debug!(peer = %to_short(&peer), "an exchange failed: {error}");
                    let sent = BriefError::may_be_heard(&error);
                    let input = Input::Failed { request, sent };
                    Message::Ended { input, dialled: true, bytes: asked }
                }
            };
            let _ = messages.send(ended).await;
        });
        self.asking.insert(request, asking.abort_handle());
    }

    /// What the last run of this agent knew.
    fn remembered(&mut self) {
        let bytes = match self.home.read(PEERS_FILE) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(error) => return tracing::warn!("who was known last time cannot be read: {error}"),
        };
        // What cannot be read is of another version: the complex tells of others.
        let Ok(known) = codec::decode::<Known>(&bytes) else { return };
        if let Some(certificate) = known.certificate {
            let access = known.access;
            self.step(Input::Admitted { certificate: Box::new(certificate), access });
        }
        let peers = known.peers.into_iter().take(MET_MAX).map(Arc::new).collect();
        self.step(Input::Met { peers });
    }

    fn remember(&self, peers: Vec<Arc<Descriptor>>) {
        let own = &self.means.machine;
        let (certificate, access) = (own.certificate().cloned(), own.access());
        let peers = peers.iter().map(|peer| (**peer).clone()).collect();
        let bytes = codec::encode(&Known { certificate, access, peers });
        let home = self.home.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = home.write(PEERS_FILE, &bytes) {
                tracing::warn!("who is known is not remembered for the next start: {error}");
            }
        });
    }

    /// Tells whoever looks how it stands.
    fn tell(&mut self) {
        let machine = &self.means.machine;
        let now = machine.descriptor();
        let again = Span(self.means.status.borrow().cycle.0.saturating_mul(DESCRIBED_CYCLES));
        let is_due = |it: &Arc<Descriptor>| self.told.is_none_or(|told| told + again <= it.issued);
        if let Some(own) = now.filter(|it| is_due(it)) {
            self.told = Some(own.issued);
            self.means.described.send_replace(Some(own.clone()));
        }
        let allowed = *self.means.allowed.borrow();
        let dialled = self.dialled;
        self.means.status.send_modify(|status| {
            status.public = machine.access() == Access::Public;
            status.admitted_until = machine.admitted_until();
            status.allowed = allowed;
            status.known_public = machine.public().count() as u64;
            status.known_private = machine.private().count() as u64;
            if status.estimate.as_ref() != machine.estimate() {
                status.estimate = machine.estimate().cloned();
            }
            status.dialled = dialled;
            status.count(machine.counts());
        });
    }
}

/// What is remembered from one start to the next.
#[derive(serde::Serialize, serde::Deserialize)]
struct Known {
    certificate: Option<isos_base::certificate::Certificate>,
    access: Access,
    peers: Vec<Descriptor>,
}

/// How reliably this host was there, up to now.
fn presence(home: &Home, now: Time) -> Presence {
    let bytes = home.read(PRESENCE_FILE).ok().flatten().unwrap_or_default();
    match codec::decode::<Presence>(&bytes) {
        Ok(mut presence) => {
            presence.passed(now, false);
            presence
        }
        Err(_) => Presence::begin(now),
    }
}

fn to_short(peer: &PeerAddr) -> String {
    HostId(peer.key).short()
}
