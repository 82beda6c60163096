//! Sessions of hosts: frames in, frames out, over one authenticated QUIC stream.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use isos_base::capability::{Holder, Right};
use isos_base::descriptor::{Descriptor, Introduction};
use isos_base::fragment::{SignedGrant, StorageGrant};
use isos_base::key::PublicKey;
use isos_base::rate::Origin;
use isos_base::task::{Fault, OutputAt};
use isos_base::ticket::ServerAddr;
use isos_base::trace::HOST_STEPS_MAX;
use isos_base::wire::{
    API_ALPN, HOST_ALPN, LeaseReport, OBJECT_ALPN, Refusal, Report, ToComplex, ToHost,
};
use isos_base::{AccountId, Bytes, HostId, Span};
use isos_disk::Shelf;
use isos_kernel::complex::{Complex, Input, SessionId, TOKEN_REVOKED};
use isos_net::{Connection, Endpoint, FrameReceiver, FrameSender, Incoming, code};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::auth::Checked;
use crate::clock;
use crate::core::Outlet;
use crate::door::{Door, Frames, Refused, Stay};
use crate::http;
use crate::metrics::Queue;
use crate::objects::{Admitted, Members};
use crate::server::Shared;

/// A caller has this long to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Hosts' connections served at once; the next is refused politely. Together with those of the API
/// and those that are being refused, fewer than the transport holds.
pub(crate) const HOST_CONNECTIONS_MAX: usize = 15_000;
/// Connections to the API served at once: strangers may open them, so they take no host's place.
pub(crate) const API_CONNECTIONS_MAX: usize = 1_024;
/// A batch of frames has this long to be taken: a host that reads a byte now and then is no better
/// than one that does not read. (Our own tests have no 20 s.)
const SEND_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 20 });

/// Hosts that are being told when to come back; those beyond are turned away without a time.
const REFUSALS_MAX: usize = 256;
/// A host that finds no place comes back after this time, and not sooner.
const NO_PLACE_FOR: Span = Span::secs(30);
/// No host is asked back sooner: it would not have dialled and been greeted before.
const AGAIN_AFTER_MIN: Span = Span::secs(1);
/// When the server is about to end, another is there soon.
const STOPPING_FOR: Span = Span::secs(2);
/// When no server leads, one soon will.
const NO_LEADER_YET: Span = Span::secs(2);
/// Introductions that wait to be written: who describes itself more often hears of fewer.
const INTRODUCTIONS_MAX: usize = 2;
/// A host has this long to take the last frame before the connection is dropped.
const LAST_FRAME: Duration = Duration::from_secs(2);

/// What a caller without a place is told.
const TOO_MANY: &str = "too many connections: try again in a minute";

/// Places for connections.
pub(crate) struct Places {
    hosts: Arc<Semaphore>,
    api: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

/// One of the [`Places`], and one of those that its address may have, until it is dropped.
pub(crate) type Place = (OwnedSemaphorePermit, Stay);

impl Default for Places {
    fn default() -> Self {
        let places = |max| Arc::new(Semaphore::new(max));
        Self {
            hosts: places(HOST_CONNECTIONS_MAX),
            api: places(API_CONNECTIONS_MAX),
            refusals: places(REFUSALS_MAX),
        }
    }
}

impl Places {
    /// How many are taken.
    pub(crate) fn queues(&self) -> [Queue; 2] {
        let queue = |name, places: &Semaphore, max| {
            let waiting = max - places.available_permits();
            Queue { name, waiting, max }
        };
        [
            queue("host_connections", &self.hosts, HOST_CONNECTIONS_MAX),
            queue("api_connections", &self.api, API_CONNECTIONS_MAX),
        ]
    }

    /// A place for a caller from there, or why there is none.
    fn take(&self, door: &Door, is_api: bool, origin: Origin) -> Result<Place, String> {
        let places = if is_api { &self.api } else { &self.hosts };
        let place = places.clone().try_acquire_owned().map_err(|_| TOO_MANY)?;
        let share = if is_api { door.connection(origin) } else { door.host(origin) };
        Ok((place, share.map_err(|refused| refused.why)?))
    }
}

/// Finds a place for a caller. Who finds none is turned away, hosts with a time to come back.
pub(crate) fn let_in(
    places: &Places,
    door: &Door,
    incoming: Incoming,
) -> Option<(Incoming, Place)> {
    let origin = Origin::of(incoming.remote_address().map(|address| address.ip()));
    let why = match places.take(door, incoming.alpn() == API_ALPN, origin) {
        Ok(place) => return Some((incoming, place)),
        Err(why) => why,
    };
    match places.refusals.clone().try_acquire_owned() {
        Ok(refusal) if incoming.alpn() == HOST_ALPN => {
            tokio::spawn(async move {
                let connection = incoming.accept();
                let busy = ToHost::Refused(Refusal::Busy(NO_PLACE_FOR));
                answer_hello(&connection, &[busy]).await;
                connection.close(code::BUSY, &why);
                drop(refusal);
            });
        }
        _ => incoming.refuse(code::BUSY, &why),
    }
    None
}

/// Accepts connections until the server stops or the endpoint closes.
pub(crate) async fn accept(shared: Arc<Shared>, endpoint: Endpoint) {
    let by = endpoint.public();
    let mut stopping = shared.stopping.clone();
    while let Some(incoming) = next_caller(&endpoint, &mut stopping).await {
        let Some((incoming, place)) = let_in(&shared.places, &shared.door, incoming) else {
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            serve(shared, incoming, by).await;
            drop(place);
        });
    }
}

/// The next who calls; nobody once the server stops.
pub(crate) async fn next_caller(
    endpoint: &Endpoint,
    stopping: &mut watch::Receiver<bool>,
) -> Option<Incoming> {
    tokio::select! {
        biased;
        _ = stopping.wait_for(|stop| *stop) => None,
        incoming = endpoint.accept() => incoming,
    }
}

/// Serves a caller until it goes or the server stops, which outlives neither.
async fn until_stopped(
    mut stopping: watch::Receiver<bool>,
    connection: Connection,
    served: impl Future<Output = ()>,
) {
    let mut served = std::pin::pin!(served);
    tokio::select! {
        () = &mut served => return,
        _ = stopping.wait_for(|stop| *stop) => {}
    }
    say_goodbye(&connection);
    served.await;
}

/// The server stops: whoever called may call again.
pub(crate) fn say_goodbye(connection: &Connection) {
    connection.close(code::DONE, "the server is stopping");
}

/// `by` is the server's key that was called: the one that it has, or the one before.
async fn serve(shared: Arc<Shared>, incoming: Incoming, by: PublicKey) {
    match incoming.alpn().to_vec().as_slice() {
        HOST_ALPN => {
            let connection = incoming.accept();
            let stopping = shared.stopping.clone();
            let served = host(shared, connection.clone(), by);
            until_stopped(stopping, connection, served).await;
        }
        OBJECT_ALPN => objects(shared, incoming).await,
        API_ALPN => http::serve_quic(shared, incoming.accept()).await,
        _ => incoming.refuse(code::BAD_FRAME, "no such protocol"),
    }
}

/// Objects are for hosts that are members: those with a session, and only as long as it lasts.
async fn objects(shared: Arc<Shared>, incoming: Incoming) {
    let mut pass = match shared.admitted.pass(incoming.remote()) {
        Ok(pass) => pass,
        Err(why) => return incoming.refuse(code::REFUSED, why),
    };
    let connection = incoming.accept();
    let mut stopping = shared.stopping.clone();
    tokio::select! {
        _ = isos_net::serve_objects(connection.clone(), shared.store.clone()) => {}
        _ = stopping.wait_for(|stop| *stop) => say_goodbye(&connection),
        // Not an answer to what it asked: the host comes back with its next session.
        () = pass.ended() => connection.close(code::REFUSED, "the session has ended"),
    }
}

async fn host(shared: Arc<Shared>, connection: Connection, by: PublicKey) {
    let host = HostId(connection.remote());
    let opening = async {
        let mut stream = connection.accept().await?;
        match stream.receiver.recv::<ToComplex>().await {
            Ok(Some(ToComplex::Hello(hello))) => Some((stream, hello)),
            _ => None,
        }
    };
    let Ok(Some((stream, hello))) = tokio::time::timeout(HELLO_TIMEOUT, opening).await else {
        connection.close(code::BAD_FRAME, "the first frame must be a hello");
        return;
    };
    let address = connection.remote_address().map(|address| address.ip());
    let checked = shared.door.session(host).and_then(|()| {
        hello.token.as_ref().map(|token| check(&shared, token, address)).transpose()
    });
    let checked = match checked {
        Ok(checked) => checked,
        Err(Refused { why, after }) => {
            let busy = Refusal::Busy(after.max(AGAIN_AFTER_MIN));
            return turn_away(stream.sender, &connection, busy, &why).await;
        }
    };
    if let Some(Ok(holder)) = &checked {
        let found = {
            let holder = holder.clone();
            let look = move |complex: &mut Complex, _| {
                (complex.is_taken_back(&holder), complex.account_of(host))
            };
            shared.core.query(look).await
        };
        let refusal = match found {
            // Each move leaves a row in the log of either account.
            Ok((false, Some(before))) if before != holder.account => {
                let moved = shared.door.change(holder.account);
                moved.err().map(|Refused { why, after }| (Refusal::Busy(after), why))
            }
            Ok((false, _)) => None,
            Ok((true, _)) => {
                Some((Refusal::BadTicket(TOKEN_REVOKED.into()), TOKEN_REVOKED.to_owned()))
            }
            // Nobody knows; a host that is told of a bad ticket would drop all its work.
            Err(_) => Some((Refusal::Busy(STOPPING_FOR), "the server is stopping".to_owned())),
        };
        if let Some((refusal, why)) = refusal {
            return turn_away(stream.sender, &connection, refusal, &why).await;
        }
    }
    let account = account(&shared, host, checked.as_ref()).await;
    // Whoever has none is refused by the machine.
    let taken = account.map_or(Ok(()), |account| shared.door.account_session(account));
    if let Err(Refused { why, after }) = taken {
        return turn_away(stream.sender, &connection, Refusal::Busy(after), &why).await;
    }
    let (session, outlet) = shared.core.open_session();
    // A revocation from now on finds the host by these.
    let (ticket, made) = match &checked {
        Some(Ok(holder)) => (holder.revocation_ids.clone(), Some((holder.issued, holder.key))),
        _ => (Vec::new(), None),
    };
    let admission = checked.map(|holder| {
        let holder = holder?;
        match holder.may(Right::Join) {
            true => Ok(holder.account),
            false => Err("its token does not have the right \"join\"".to_owned()),
        }
    });
    let came = Input::HostCame { host, session, address, hello, admission, ticket, made };
    shared.core.input(came).await;
    let (introduced, introductions) = mpsc::channel(INTRODUCTIONS_MAX);
    let (members, servers) = (shared.admitted.clone(), shared.servers.clone());
    let signer = shared.clone();
    let sign = Box::new(move |grant| signer.tokens.sign_grant(grant));
    let desk = Desk { sign, members, servers, by, introductions };
    let talk = tokio::spawn(talk(desk, stream.sender, outlet, connection.clone()));
    let ears = Ears { session, account, frames: shared.door.frames(account), introduced };
    listen(&shared, ears, stream.receiver, &connection).await;
    shared.core.close_session(session);
    shared.core.input(Input::HostWent { session }).await;
    let _ = talk.await;
}

/// The account that a host is to earn for, if it has one.
async fn account(
    shared: &Shared,
    host: HostId,
    token: Option<&Result<Holder, String>>,
) -> Option<AccountId> {
    match token {
        Some(Ok(holder)) if holder.may(Right::Join) => Some(holder.account),
        _ => {
            let look = move |complex: &mut Complex, _| complex.account_of(host);
            shared.core.query(look).await.ok().flatten()
        }
    }
}

/// Who holds a token, or why it is no good; or that too many are checked for this address.
fn check(
    shared: &Shared,
    token: &[u8],
    address: Option<IpAddr>,
) -> Result<Result<Holder, String>, Refused> {
    let now = clock::now();
    // Of one that was revoked, its caller asks the machine.
    if let Some(Checked::Good(holder)) = shared.tokens.remembered(token, now) {
        return Ok(Ok(holder));
    }
    shared.door.token(Origin::of(address))?;
    Ok(shared.tokens.check(token, now).map_err(|error| error.to_string()))
}

/// Says why a host may not work, before it has a session.
async fn turn_away(sender: FrameSender, connection: &Connection, refusal: Refusal, why: &str) {
    say_last(sender, &[ToHost::Refused(refusal)]).await;
    connection.close(code::REFUSED, why);
}

/// Answers the hello of a host that gets no session.
async fn answer_hello(connection: &Connection, frames: &[ToHost]) {
    let hello = async {
        let mut stream = connection.accept().await?;
        stream.receiver.recv::<ToComplex>().await.ok().flatten().map(|_| stream.sender)
    };
    if let Ok(Some(sender)) = tokio::time::timeout(HELLO_TIMEOUT, hello).await {
        say_last(sender, frames).await;
    }
}

/// Says a host that has called where to call instead.
pub(crate) async fn send_on(connection: Connection, servers: Option<Vec<ServerAddr>>) {
    let frames = match servers {
        Some(servers) => vec![ToHost::Servers(servers), ToHost::Refused(Refusal::Elsewhere)],
        None => vec![ToHost::Refused(Refusal::Busy(NO_LEADER_YET))],
    };
    answer_hello(&connection, &frames).await;
    connection.close(code::REFUSED, "another server leads");
}

async fn say_last(mut sender: FrameSender, frames: &[ToHost]) {
    let said = async {
        sender.send_all(frames).await?;
        sender.finish().await?;
        sender.delivered().await
    };
    let _ = tokio::time::timeout(LAST_FRAME, said).await;
}

/// What a host's frames are read with.
struct Ears {
    session: SessionId,
    account: Option<AccountId>,
    frames: Frames,
    introduced: mpsc::Sender<Introduction>,
}

/// Tells a host of others.
async fn introduce(shared: &Shared, ears: &Ears, from: &Connection, described: Descriptor) {
    let host = HostId(from.remote());
    let owner = match ears.account {
        Some(account) => Some(account),
        None => {
            let look = move |complex: &mut Complex, _| complex.account_of(host);
            shared.core.query(look).await.ok().flatten()
        }
    };
    let Some(owner) = owner else { return };
    let who = (host, owner);
    let met = shared.meeting.introduce(clock::now(), who, from.remote_address(), described);
    match met {
        // Where earlier ones wait, the host has enough to read.
        Some(introduction) => drop(ears.introduced.try_send(introduction)),
        None => tracing::debug!(host = %host.short(), "it does not describe itself"),
    }
}

/// Reads frames until the host goes, errs, or is closed.
async fn listen(shared: &Shared, ears: Ears, mut receiver: FrameReceiver, connection: &Connection) {
    let session = ears.session;
    loop {
        match receiver.recv::<ToComplex>().await {
            Ok(Some(mut frame)) => {
                shared.door.frame(&ears.frames).await;
                shared.metrics.frame();
                if let ToComplex::Traced(trace) = frame {
                    if trace.steps.len() > HOST_STEPS_MAX {
                        connection.close(code::BAD_FRAME, "a trace has too many steps");
                        return;
                    }
                    shared.traces.told(clock::now(), HostId(connection.remote()), trace);
                    continue;
                }
                if let ToComplex::Described(described) = frame {
                    introduce(shared, &ears, connection, *described).await;
                    continue;
                }
                if let ToComplex::Saved(saved) = &mut frame {
                    let host = HostId(connection.remote());
                    shared.store.claim_checkpoint(host, saved).await;
                }
                if let ToComplex::Report(report) = &mut frame {
                    only_kept(&shared.shelf, report);
                    shared.store.claim(HostId(connection.remote()), report).await;
                }
                shared.core.input(Input::HostSaid { session, frame }).await;
            }
            Ok(None) => return,
            Err(error) => {
                let who = connection.remote();
                tracing::debug!(host = %HostId(who).short(), "session ended: {error}");
                connection.close(code::BAD_FRAME, &error.to_string());
                return;
            }
        }
    }
}

/// A result whose output is not here, exactly as long as it says, is a fault of its host: nobody
/// could ever have what is paid for.
fn only_kept(shelf: &Shelf, report: &mut Report) {
    for LeaseReport { results, faults, .. } in &mut report.leases {
        results.retain(|result| {
            let OutputAt::Object(guid, size) = &result.output else { return true };
            let why = match shelf.size(guid) {
                Some(real) if real.0 == *size => return true,
                Some(real) => format!("its output has {real}, the report says {}", Bytes(*size)),
                None => format!("its output {} was not handed over", guid.short()),
            };
            faults.push((result.task, Fault::SandboxDied(why)));
            false
        });
    }
}

/// What a welcomed host is given beside the machine's frames.
struct Desk {
    /// The word of the complex for grants of storage.
    sign: Box<dyn Fn(StorageGrant) -> SignedGrant + Send>,
    members: Arc<Members>,
    /// Where it may go when this server is gone.
    servers: watch::Receiver<Vec<ServerAddr>>,
    /// By which key of the server the host called it.
    by: PublicKey,
    /// Others, for a host that has described itself.
    introductions: mpsc::Receiver<Introduction>,
}

/// Writes frames until the machine closes the session, or the host does not read them.
async fn talk(mut desk: Desk, mut sender: FrameSender, mut outlet: Outlet, connection: Connection) {
    let mut frames = Vec::new();
    // Who was welcomed may move objects, for as long as the session lasts.
    let mut member = None;
    loop {
        // A change is seen together with the next frames, unless it comes while there are none.
        tokio::select! {
            count = outlet.frames.recv_many(&mut frames, 64) => if count == 0 { break },
            Some(introduction) = desk.introductions.recv(), if member.is_some() => {
                frames.push(ToHost::Introduced(Box::new(introduction)));
            }
            Ok(()) = desk.servers.changed(), if member.is_some() => {
                frames.push(ToHost::Servers(desk.servers.borrow_and_update().clone()));
            }
        }
        for frame in &mut frames {
            if let ToHost::Mend(order) = frame {
                // The machine knows no signatures.
                for place in &mut order.places {
                    place.grant = (desk.sign)(place.grant.grant.clone());
                }
            }
        }
        if frames.iter().any(|frame| matches!(frame, ToHost::Welcome { .. })) {
            member = Some(Admitted::enter(&desk.members, connection.remote()));
            let servers = desk.servers.borrow_and_update();
            // Who knows this server alone, and by this key, is told nothing new.
            if servers.iter().any(|server| server.key != desk.by) {
                frames.push(ToHost::Servers(servers.clone()));
            }
        }
        let sent = tokio::select! {
            sent = tokio::time::timeout(SEND_TIMEOUT, sender.send_all(&frames)) => sent,
            () = outlet.cut.notified() => {
                connection.close(code::STALLED, "too many frames wait to be read");
                return;
            }
        };
        match sent {
            Ok(Ok(())) => frames.clear(),
            Ok(Err(error)) => {
                connection.close(code::STALLED, &error.to_string());
                return;
            }
            Err(_) => {
                connection.close(code::STALLED, "frames are not read");
                return;
            }
        }
    }
    drop(member);
    let last = async {
        sender.finish().await?;
        sender.delivered().await
    };
    let _ = tokio::time::timeout(LAST_FRAME, last).await;
    connection.close(code::DONE, "bye");
}

#[cfg(test)]
mod tests;
