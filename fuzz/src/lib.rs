//! One function for each decoder of bytes that others wrote: any bytes in, no panic, and what was
//! understood means the same when it is written and read again.
//!
//! `fuzz_targets/` gives each to libFuzzer (`cargo +nightly fuzz run --features libfuzzer ticket`),
//! `tests/smoke.rs` gives each some thousand inputs on any compiler. Not here: what WebAssembly
//! itself does (wasmtime has its own fuzzers).

pub mod backup;
#[path = "../../sdk/src/sse.rs"]
mod events;
pub mod golden;
pub mod sandbox;
pub mod store;

use std::collections::VecDeque;
use std::fmt::{Debug, Display};
use std::str::FromStr;

use isos_base::api::{
    AddKeyRequest, BidRequest, FirmRequest, LoginRequest, ReserveRequest, ResultEntry,
    SubmitRequest, TicketRequest,
};
use isos_base::audit::SignedAudit;
use isos_base::capability::{self, Narrowing};
use isos_base::codec;
use isos_base::fragment::wire::{Found, FragmentAnswer, FragmentRequest};
use isos_base::fragment::{Piece, SignedGrant, SignedReceipt};
use isos_base::guid::Guid;
use isos_base::ids::{AccountId, HostId, JobId, LeaseId, TaskId};
use isos_base::job::{FileList, JobSpec, Verify};
use isos_base::key::{PublicKey, SecretKey};
use isos_base::keyring::{Claim, SignedClaim, Want};
use isos_base::peers::{Greeting, Hearing, Said};
use isos_base::record::{
    Accepted, AccountRecord, AuditRecord, HoldRecord, HostRecord, JobRecord, KeyRecord,
    KeyringRecord, LeaseRecord, StateChunk, TransferRecord,
};
use isos_base::rotation::consents;
use isos_base::task::{Output, TaskResult};
use isos_base::ticket::Ticket;
use isos_base::time::{Span, Time};
use isos_base::units::{Bytes, Fuel, MicroCredits};
use isos_base::wire::{ObjectAnswer, ObjectRequest, ToComplex, ToHost};
use isos_kernel::constraint::Constraint;
use isos_kernel::policy::Policy;
use isos_route::wire::{Answer, Ask};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A decoder under test.
pub struct Target {
    /// Its name, also that of its function and file.
    pub name: &'static str,
    /// What it does with any bytes.
    pub run: fn(&[u8]),
}

/// All of them, for tests that walk over all.
pub static TARGETS: [Target; 37] = [
    Target { name: "ticket", run: ticket },
    Target { name: "token", run: token },
    Target { name: "to_complex", run: to_complex },
    Target { name: "to_host", run: to_host },
    Target { name: "object_request", run: object_request },
    Target { name: "object_answer", run: object_answer },
    Target { name: "output", run: output },
    Target { name: "result_entry", run: result_entry },
    Target { name: "record", run: record },
    Target { name: "policy", run: policy },
    Target { name: "constraint", run: constraint },
    Target { name: "quantity", run: quantity },
    Target { name: "request", run: request },
    Target { name: "sse", run: sse },
    Target { name: "pipe_to_child", run: sandbox::pipe_to_child },
    Target { name: "pipe_from_child", run: sandbox::pipe_from_child },
    Target { name: "checkpoint", run: sandbox::checkpoint },
    Target { name: "preview_1", run: sandbox::preview_1 },
    Target { name: "component", run: sandbox::component },
    Target { name: "program", run: sandbox::program },
    Target { name: "claim", run: claim },
    Target { name: "audit", run: audit },
    Target { name: "fragment_request", run: fragment_request },
    Target { name: "fragment_answer", run: fragment_answer },
    Target { name: "storage_grant", run: storage_grant },
    Target { name: "route_ask", run: route_ask },
    Target { name: "route_answer", run: route_answer },
    Target { name: "gossip_request", run: gossip_request },
    Target { name: "gossip_answer", run: gossip_answer },
    Target { name: "peers_greeting", run: peers_greeting },
    Target { name: "peers_said", run: peers_said },
    Target { name: "manifest", run: store::manifest },
    Target { name: "store_text", run: store::store_text },
    Target { name: "store_answer", run: store::store_answer },
    Target { name: "head", run: store::head },
    Target { name: "backup_tree", run: backup::backup_tree },
    Target { name: "backup_list", run: backup::backup_list },
];

/// Text of a ticket, as a person pastes it; and the message inside, past the checksum.
pub fn ticket(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(ticket) = text.parse::<Ticket>()
    {
        assert_eq!(ticket.to_string().parse().as_ref(), Ok(&ticket));
    }
    message::<Ticket>(bytes);
}

/// A capability token: bytes from a host, text from an HTTP header.
pub fn token(bytes: &[u8]) {
    let root = SecretKey::from_bytes(&[7; 32]).public();
    let unpacked = str::from_utf8(bytes).ok().and_then(capability::from_text);
    for token in [Some(bytes), unpacked.as_deref()].into_iter().flatten() {
        if let Ok(holder) = capability::check(&root, token, Time(10)) {
            assert!(!holder.rights.is_empty(), "a token that allows nothing is an error");
        }
        let nothing = Narrowing { rights: Some(Vec::new()), ..Narrowing::default() };
        if let Ok(narrowed) = capability::attenuate(token, &nothing) {
            assert!(capability::check(&root, &narrowed, Time(1)).is_err());
        }
        if let Ok(blocks) = capability::blocks(token) {
            assert!(!blocks.is_empty(), "a token has a first block");
        }
    }
}

/// A frame from an agent.
pub fn to_complex(bytes: &[u8]) {
    frame::<ToComplex>(bytes);
    if let Ok(ToComplex::Report(report)) = codec::decode(bytes) {
        report.leases.iter().flat_map(|lease| &lease.results).for_each(digest);
    }
}

/// A frame from the complex.
pub fn to_host(bytes: &[u8]) {
    frame::<ToHost>(bytes);
    if let Ok(ToHost::Job(offer)) = codec::decode(bytes) {
        job(&offer.spec);
    }
}

/// The first words of a host whose program addresses another's, and what is answered.
pub fn peers_greeting(bytes: &[u8]) {
    frame::<Greeting>(bytes);
    frame::<Hearing>(bytes);
}

/// A message of a program to another one.
pub fn peers_said(bytes: &[u8]) {
    frame::<Said>(bytes);
}

/// A request for an object.
pub fn object_request(bytes: &[u8]) {
    frame::<ObjectRequest>(bytes);
}

/// The answer to one.
pub fn object_answer(bytes: &[u8]) {
    frame::<ObjectAnswer>(bytes);
}

/// The output object of a task, which becomes files on the buyer's disk.
pub fn output(bytes: &[u8]) {
    if let Ok(output) = Output::decode(bytes) {
        for file in &output.files {
            assert!(isos_base::job::is_plain_path(&file.path), "{:?} escapes", file.path);
        }
        assert_eq!(Output::decode(&output.encode()), Ok(output));
    }
    message::<FileList>(bytes);
}

/// An entry of the stream of results that a client reads.
pub fn result_entry(bytes: &[u8]) {
    frame::<ResultEntry>(bytes);
}

/// A durable record, from a database that may have been damaged.
pub fn record(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 8 {
        0 => message::<JobRecord>(bytes),
        1 => message::<StateChunk>(bytes),
        2 => message::<Vec<Accepted>>(bytes),
        3 => message::<LeaseRecord>(bytes),
        4 => message::<HostRecord>(bytes),
        5 => message::<AccountRecord>(bytes),
        6 => message::<TransferRecord>(bytes),
        _ => message::<HoldRecord>(bytes),
    }
}

/// An owner's policy file.
pub fn policy(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes)
        && let Err(error) = Policy::parse(text)
    {
        assert!(!error.to_string().is_empty());
    }
}

/// A buyer's constraint over hosts.
pub fn constraint(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(constraint) = Constraint::compile(text)
    {
        assert_eq!(constraint.text(), text);
    }
}

/// Quantities and ids as people and configuration files write them.
pub fn quantity(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    // Sizes and fuel are printed rounded, so only these come back exactly.
    printed::<Span>(text);
    printed::<MicroCredits>(text);
    printed::<Guid>(text);
    printed::<PublicKey>(text);
    printed::<HostId>(text);
    printed::<JobId>(text);
    printed::<LeaseId>(text);
    printed::<AccountId>(text);
    printed::<TaskId>(text);
    printed::<Verify>(text);
    for error in [text.parse::<Bytes>().err(), text.parse::<Fuel>().err()].into_iter().flatten() {
        assert!(!error.to_string().is_empty());
    }
}

/// Bodies of the HTTP API.
pub fn request(bytes: &[u8]) {
    if let Some(submit) = json::<SubmitRequest>(bytes) {
        job(&submit.spec);
    }
    json::<TicketRequest>(bytes);
    json::<BidRequest>(bytes);
    json::<ReserveRequest>(bytes);
    json::<FirmRequest>(bytes);
}

/// The stream of events that a client reads: the same events however it is cut, none too long.
pub fn sse(bytes: &[u8]) {
    const MAX: usize = 200;
    let read = |piece: usize| {
        let (mut parser, mut found) = (events::Parser::new(MAX), VecDeque::new());
        let end = bytes.chunks(piece).try_for_each(|piece| parser.push(piece, &mut found));
        (end, found)
    };
    let whole = read(bytes.len().max(1));
    assert!(whole.1.iter().all(|event| event.chars().count() <= MAX));
    assert_eq!(whole, read(1));
    assert_eq!(whole, read(7));
}

/// What a key says of itself, from anybody.
pub fn claim(bytes: &[u8]) {
    if let Some(signed) = json::<SignedClaim>(bytes) {
        let at = signed.claim.at;
        assert_eq!(signed.check(&PublicKey([0; 32]), at), signed.check(&PublicKey([0; 32]), at));
        if signed.check(&signed.claim.complex, at).is_ok() {
            let mut other = signed.clone();
            other.claim.nonce.0[0] ^= 1;
            assert!(other.check(&signed.claim.complex, at).is_err(), "it was not said");
        }
        if let Want::Rotate { key, consent } = &signed.claim.want {
            let _ = consents(key, &signed.claim.complex, &signed.claim.key, consent);
        }
    }
    if let Some(signed) = json::<SignedClaim>(bytes)
        && signed.claim.is_agreed()
    {
        let mut other = signed.claim;
        other.nonce.0[0] ^= 1;
        assert!(!other.is_agreed(), "it was not agreed to");
    }
    json::<LoginRequest>(bytes);
    json::<AddKeyRequest>(bytes);
    message::<Claim>(bytes);
}

/// An audit log that somebody brings, and its records from a database that was damaged.
pub fn audit(bytes: &[u8]) {
    if let Some(log) = json::<SignedAudit>(bytes)
        && log.check(None).is_ok()
    {
        assert_eq!(log.follows(&log), Ok(()));
    }
    message::<AuditRecord>(bytes);
    message::<KeyRecord>(bytes);
    message::<KeyringRecord>(bytes);
}

/// A request for fragments, and the bytes behind it as a piece of one.
pub fn fragment_request(bytes: &[u8]) {
    frame::<FragmentRequest>(bytes);
    if let Ok(FragmentRequest::Present(signed)) = codec::decode(bytes) {
        let grant = &signed.grant;
        let checked = signed.check(&grant.complex, &grant.host, Time(5));
        assert_eq!(checked, signed.check(&grant.complex, &grant.host, Time(5)));
    }
    if let Ok(FragmentRequest::SetHead { head, .. }) = codec::decode(bytes) {
        assert_eq!(head.check(), head.check());
    }
}

/// The answer to one: what it promises is checked before it is believed.
pub fn fragment_answer(bytes: &[u8]) {
    frame::<FragmentAnswer>(bytes);
    let found = match codec::decode(bytes) {
        Ok(FragmentAnswer::Found(found) | FragmentAnswer::Proof { found, .. }) => found,
        Ok(FragmentAnswer::Kept(signed)) => {
            assert_eq!(signed.check(), signed.check());
            return;
        }
        Ok(FragmentAnswer::Head(Some(signed))) => {
            assert_eq!(signed.check(), signed.check());
            return;
        }
        _ => return,
    };
    let Found { length, first, groups, .. } = found;
    let fragment = groups.root(length).unwrap_or_else(|| Guid::of(bytes));
    let piece = Piece { length, groups, first, bytes: bytes.to_vec() };
    assert_eq!(piece.check(&fragment), piece.check(&fragment));
}

/// Grants and receipts by themselves, as they are kept in files.
pub fn storage_grant(bytes: &[u8]) {
    if let Ok(signed) = SignedGrant::from_bytes(bytes) {
        assert_eq!(SignedGrant::from_bytes(&signed.to_bytes()).as_ref(), Ok(&signed));
        let grant = &signed.grant;
        if signed.check(&grant.complex, &grant.host, Time(5)).is_ok() {
            let mut other = signed.clone();
            other.grant.bytes.0 ^= 1;
            assert!(other.check(&grant.complex, &grant.host, Time(5)).is_err(), "it was not said");
        }
    }
    if let Ok(signed) = SignedReceipt::from_bytes(bytes) {
        assert_eq!(SignedReceipt::from_bytes(&signed.to_bytes()).as_ref(), Ok(&signed));
    }
    json::<SignedGrant>(bytes);
    json::<SignedReceipt>(bytes);
}

/// What a host asks a router.
pub fn route_ask(bytes: &[u8]) {
    if let Ok(ask) = Ask::decode(bytes) {
        assert_eq!(Ask::decode(&ask.encode()).as_ref(), Ok(&ask));
        if let Some(contact) = &ask.from {
            assert_eq!(contact.position(), contact.certificate().place().into());
        }
    }
}

/// What a router answers.
pub fn route_answer(bytes: &[u8]) {
    if let Ok(answer) = Answer::decode(bytes) {
        assert_eq!(Answer::decode(&answer.encode()).as_ref(), Ok(&answer));
    }
}

/// What a host asks another in gossip. What can be read can be averaged, and is still possible
/// then.
pub fn gossip_request(bytes: &[u8]) {
    if let Ok(request) = isos_gossip::wire::Request::decode(bytes) {
        same_again(&request.encode(), &isos_gossip::wire::Request::decode(&request.encode()));
        if let isos_gossip::wire::Request::Exchange(exchange) = &request
            && let Some(offered) = &exchange.average
        {
            possible(&offered.sums);
        }
    }
}

/// What a host answers in gossip.
pub fn gossip_answer(bytes: &[u8]) {
    use isos_gossip::wire::{Answer, Averaged};
    if let Ok(answer) = Answer::decode(bytes) {
        same_again(&answer.encode(), &Answer::decode(&answer.encode()));
        if let Answer::Gathered(tally) = &answer {
            added(tally);
        }
        if let Answer::Exchanged(exchanged) = &answer
            && let Averaged::Done(sums) = &exchanged.average
        {
            possible(sums);
        }
    }
}

/// Numbers that are none differ from themselves, so bytes are compared.
fn same_again<M: Serialize + Debug>(bytes: &[u8], again: &Result<M, isos_gossip::wire::WireError>) {
    let again = again.as_ref().expect("what was written can be read");
    assert_eq!(codec::encode(again), bytes);
}

/// Whatever hosts say that they found out can be added up.
fn added(tally: &isos_gossip::query::Tally) {
    use isos_gossip::query::{Fact, Order};
    for fact in Fact::ALL {
        let order = Order { fact, least: fact == Fact::Load };
        let mut both = tally.clone();
        both.merge(tally, order, 5);
        assert!(both.rows.len() <= 5 && both.asked >= tally.asked);
    }
}

/// What a host can have stays so when two are averaged.
fn possible(sums: &isos_gossip::average::Sums) {
    let told = isos_gossip::Attribute::ALL.map(isos_gossip::Attribute::most);
    let own = isos_gossip::average::Sums::begin(7, &told);
    if sums.is_possible() {
        assert!(sums.average(&own).is_possible(), "{sums:?}");
        assert!(own.average(sums).is_possible(), "{sums:?}");
    }
    let _ = own.agrees(sums, 20);
}

/// A specification is checked before anything believes it.
fn job(spec: &JobSpec) {
    if spec.check().is_ok() {
        assert!(spec.count > 0);
        assert!(spec.inputs.iter().all(|mount| isos_base::job::is_plain_path(&mount.path)));
        let args = spec.args_of(spec.count - 1, Some("file"));
        assert_eq!(args.len(), spec.args.len());
    }
}

fn digest(result: &TaskResult) {
    assert_eq!(result.digest(), result.clone().digest());
}

/// A message behind its length, as it comes from a socket; and by itself.
fn frame<M: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let max = isos_base::limits::FRAME_BYTES_MAX;
    if let Some((head, body)) = bytes.split_first_chunk()
        && let Ok(length) = codec::frame_length(*head, max)
        && let Some(body) = body.get(..length)
    {
        message::<M>(body);
    }
    message::<M>(bytes);
}

fn message<M: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(message) = codec::decode::<M>(bytes) {
        let again = codec::encode(&message);
        assert!(again.len() <= bytes.len(), "our own encoding is the shortest");
        assert_eq!(codec::decode::<M>(&again).as_ref(), Ok(&message));
    }
}

fn json<M: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<M> {
    let message = serde_json::from_slice::<M>(bytes).ok()?;
    let again = serde_json::to_vec(&message).expect("plain data always encodes");
    assert_eq!(serde_json::from_slice::<M>(&again).ok().as_ref(), Some(&message));
    Some(message)
}

fn printed<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse::<T>().ok(), Some(value), "{text:?}");
    }
}
