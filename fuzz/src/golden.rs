//! What honest peers send: the inputs that mutation starts from.

use std::net::SocketAddr;
use std::sync::Arc;

use isos_base::api::{AddKeyRequest, LoginRequest, ResultEntry, SubmitRequest, TicketRequest};
use isos_base::audit::{Actor, AuditHead, AuditRecord, Deed, GENESIS, SignedAudit};
use isos_base::capability::{self, Right, Terms};
use isos_base::checkpoint::{Checkpoint, Resume, Saved};
use isos_base::codec::{encode, put_frame};
use isos_base::descriptor::{Access, Admission, Descriptor, Introduction};
use isos_base::fragment::wire::{Found, FragmentAnswer, FragmentRefusal, FragmentRequest};
use isos_base::fragment::{
    Groups, Piece, Proof, ProofAsked, Receipt, SignedGrant, SignedReceipt, StorageClass,
    StorageGrant,
};
use isos_base::guid::Guid;
use isos_base::host::{Accept, HostSpec, Offer};
use isos_base::ids::{AccountId, HostId, JobId, LeaseId};
use isos_base::job::{FileList, JobSpec, Mount, Verify};
use isos_base::key::{PublicKey, SecretKey};
use isos_base::keyring::{Claim, SignedClaim, Want};
use isos_base::peers::{
    Answer as PeersAnswer, Ask as PeersAsk, Greeting, Hearing, Peer, Peers, Place, Reach, Said,
};
use isos_base::price::{Price, StoragePrice};
use isos_base::ranges::TaskRange;
use isos_base::record::{Accepted, HostRecord, Trust};
use isos_base::storage::{
    KeeperAddress, LeaseNews, MendOrder, MendReport, ShelfOffer, ShelfReport,
};
use isos_base::task::{Execution, Exit, Fault, Output, OutputAt, OutputFile, TaskResult};
use isos_base::ticket::{ServerAddr, Ticket};
use isos_base::time::{Span, Time};
use isos_base::trace::{HostStep, HostTrace, Step};
use isos_base::units::{Bytes, Fuel, MicroCredits};
use isos_base::wire::{
    Grant, Hello, JobOffer, LeaseReport, ObjectAnswer, ObjectRequest, Report, Room, ToComplex,
    ToHost,
};
use isos_kernel::policy;
use isos_route::certificate::{Admitted, Blocks};
use isos_route::pointer::Put;
use isos_route::wire::{Answer, Ask, Find, Request as RouteRequest};
use isos_route::{Certificate, Contact, Keys, Pointer, Position};
use isos_sandbox::fuzz;
use isos_sandbox::{Order, Part};
use serde::Serialize;

/// Good inputs of a target, the most telling first; none for a name that is not one.
#[must_use]
pub fn inputs(target: &str) -> Vec<Vec<u8>> {
    match target {
        "ticket" => vec![ticket().to_string().into_bytes(), encode(&ticket())],
        "token" => {
            let token = token();
            vec![capability::to_text(&token).into_bytes(), token]
        }
        "claim" => {
            let signed = claim();
            let (rights, valid) = (Some(vec!["read".into()]), Some(Span::secs(60)));
            let login = LoginRequest { claim: signed.clone(), rights, valid };
            let (label, rights) = ("laptop".into(), None);
            let add = AddKeyRequest { claim: signed.clone(), label, rights, recovery: true };
            vec![json(&signed), json(&login), json(&add), encode(&signed.claim)]
        }
        "audit" => {
            let log = audit_log();
            let record = encode(&log.records[0]);
            vec![json(&log), record]
        }
        "fragment_request" => fragment_requests().iter().flat_map(both).collect(),
        "fragment_answer" => fragment_answers().iter().flat_map(both).collect(),
        "storage_grant" => {
            let (grant, receipt) = (grant(), receipt());
            vec![grant.to_bytes(), receipt.to_bytes(), json(&grant), json(&receipt)]
        }
        "route_ask" => route_asks().iter().map(Ask::encode).collect(),
        "route_answer" => route_answers().iter().map(Answer::encode).collect(),
        "gossip_request" => vec![gossip().0.encode()],
        "gossip_answer" => vec![gossip().1.encode(), isos_gossip::wire::Answer::Busy.encode()],
        "backup_tree" | "backup_list" => crate::backup::inputs(target),
        "manifest" | "store_text" | "store_answer" | "head" => crate::store::inputs(target),
        "to_complex" => to_complex().iter().flat_map(both).collect(),
        "to_host" => to_host().iter().flat_map(both).collect(),
        "object_request" => {
            let put = ObjectRequest::Put { guid: Guid([1; 32]), size: 300 };
            [ObjectRequest::Get(Guid([1; 32])), put].iter().flat_map(both).collect()
        }
        "object_answer" => {
            let refused = ObjectAnswer::Refused("full".into());
            [ObjectAnswer::Found(300), ObjectAnswer::Kept, refused].iter().flat_map(both).collect()
        }
        "sse" => texts(&[
            ": hello\n\ndata: one\n\nevent: x\r\nid: 7\r\ndata:two\r\n\r\n",
            "\u{feff}data: a\ndata: b\n\ndata\n\ndatabase: no\n\ndata: unfinished\n",
        ]),
        "pipe_to_child" => {
            let one = Order { task: 1, file: Some(mount()), part: Part::default() };
            let chain = Some(Guid::of(b"chain"));
            let part = Part { from: Some((Guid::of(b"saved"), Bytes(9))), until: Some(3), chain };
            let answer = PeersAnswer::Received(Some((2, b"hello".to_vec())));
            let orders = fuzz::orders(vec![one, Order { task: 2, file: None, part }]);
            vec![orders, fuzz::answer(1, answer)]
        }
        "checkpoint" => vec![fuzz::a_checkpoint()],
        "pipe_from_child" => {
            let ask = PeersAsk::Send { to: 2, message: b"hello".to_vec() };
            vec![fuzz::finished(vec![execution()]), fuzz::asked(1, ask)]
        }
        // Functions by their numbers, and what they take: see the program that reads this.
        "preview_1" => vec![
            (0..46).flat_map(|function| [function, 3, 0x61, 0, 0x65, 4, 0x60, 0x60]).collect(),
            (0..200_u8).collect(),
        ],
        "component" => vec![
            (0..120).flat_map(|function| [function, 0, 0x61, 0x62]).collect(),
            (0..200_u8).rev().collect(),
        ],
        "program" => vec![
            b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b"
                .to_vec(),
            b"\0asm\x0d\0\x01\0".to_vec(),
        ],
        "peers_greeting" => {
            let greeting =
                Greeting { job: JobId(42), from: 300, from_run: u64::MAX, to: 1, to_run: 7 };
            let hearing = Hearing { heard: 300, taken: 2 };
            [both(&greeting), both(&hearing)].concat()
        }
        "peers_said" => {
            let said = |message| Said { number: 300, message };
            [said(Vec::new()), said(vec![7; 200])].iter().flat_map(both).collect()
        }
        "output" => vec![output().encode(), encode(&FileList { files: vec![mount()] })],
        "result_entry" => both(&entry()),
        "record" => records(),
        "policy" => policy::template_names()
            .filter_map(policy::template)
            .map(|text| text.as_bytes().to_vec())
            .collect(),
        "constraint" => texts(&[
            "host.cpus >= 4 && host.country == \"FI\"",
            "host.memory >= 8 * 1024 * 1024 * 1024 || !(host.os in ['linux', 'macos'])",
            "host.name.startsWith('a') ? true : false",
        ]),
        "quantity" => texts(&[
            "512MiB",
            "1.5 GB",
            "20G",
            "90s",
            "7d",
            "0.25",
            "12.500000",
            "42@7",
            "quorum=2/3",
            &Guid([9; 32]).to_string(),
        ]),
        "request" => vec![json(&submit()), json(&ticket_request())],
        _ => Vec::new(),
    }
}

fn place() -> Place {
    let addresses = vec!["127.0.0.1:7071".parse().expect("an address")];
    Place { addresses, relay: Some("http://127.0.0.1:1".into()), run: 7 }
}

fn grant() -> SignedGrant {
    let key = SecretKey::from_bytes(&[7; 32]);
    let grant = StorageGrant {
        complex: key.public(),
        lease: LeaseId(300),
        host: HostId(SecretKey::from_bytes(&[8; 32]).public()),
        account: AccountId(100),
        holder: key.public(),
        bytes: Bytes::mib(1),
        issued: Time(1),
        until: Time(2_000_000),
        class: StorageClass::Archive,
    };
    grant.sign(&key)
}

fn receipt() -> SignedReceipt {
    let key = SecretKey::from_bytes(&[8; 32]);
    let receipt = Receipt {
        complex: key.public(),
        lease: LeaseId(300),
        host: HostId(key.public()),
        fragment: Guid([1; 32]),
        length: 262_144,
        at: Time(5),
        until: Time(2_000_000),
    };
    receipt.sign(&key)
}

fn fragment_requests() -> Vec<FragmentRequest> {
    let (lease, fragment) = (LeaseId(300), Guid([1; 32]));
    vec![
        FragmentRequest::Present(Box::new(grant())),
        FragmentRequest::Put { lease, fragment, length: 262_144 },
        FragmentRequest::Get { fragment, first: 1, count: 2 },
        FragmentRequest::Has(vec![fragment]),
        FragmentRequest::Audit { fragment, group: 3, nonce: 9 },
        FragmentRequest::Remove { lease, fragments: vec![fragment] },
        FragmentRequest::SetHead { lease, head: Box::new(crate::store::a_head()) },
        FragmentRequest::GetUsed(LeaseId(300)),
        FragmentRequest::GetHead(SecretKey::from_bytes(&[7; 32]).public()),
    ]
}

fn fragment_answers() -> Vec<FragmentAnswer> {
    let (_, groups) = Groups::of(&[5; 40_000]);
    let found = Found { length: 40_000, first: 1, bytes: 16_384, groups };
    vec![
        FragmentAnswer::Found(found.clone()),
        FragmentAnswer::Proof { nonce: 9, found },
        FragmentAnswer::Kept(Box::new(receipt())),
        FragmentAnswer::Has(vec![true, false]),
        FragmentAnswer::Refused(FragmentRefusal::Malformed("so".into())),
        FragmentAnswer::Used(Bytes(300)),
        FragmentAnswer::HeadKept(300),
        FragmentAnswer::Head(Some(Box::new(crate::store::a_head()))),
    ]
}

/// A message by itself and behind its length.
fn both<M: Serialize>(message: &M) -> Vec<Vec<u8>> {
    let mut framed = Vec::new();
    put_frame(message, &mut framed);
    vec![framed, encode(message)]
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn json<M: Serialize>(message: &M) -> Vec<u8> {
    serde_json::to_vec(message).expect("plain data always encodes")
}

fn token() -> Vec<u8> {
    let root = SecretKey::from_bytes(&[7; 32]);
    let rights = [Right::Submit, Right::Read];
    let (account, issued, expires) = (AccountId(100), Time(1), Time(50));
    let terms = Terms { account, rights: &rights, issued, expires, key: None };
    capability::issue(&root, &terms).expect("a plain token can be made")
}

fn claim() -> SignedClaim {
    let key = SecretKey::from_bytes(&[3; 32]);
    let (complex, at, nonce) = (key.public(), Time(9_000_000), Guid([4; 32]));
    let want = Want::Recover { key: key.public(), label: "new".into(), consent: String::new() };
    Claim { complex, key: key.public(), at, nonce, want }.agreed_by(&key).sign(&key)
}

fn audit_log() -> SignedAudit {
    let (key, account) = (SecretKey::from_bytes(&[3; 32]), Some(AccountId(100)));
    let mut record = AuditRecord {
        seq: 1,
        at: Time(9),
        by: Actor::Key { account: AccountId(100), key: key.public() },
        account,
        deed: Deed::TokenMade { id: "ff".into(), rights: vec![Right::Read], expires: Time(50) },
        ledger_seq: 7,
        ledger_hash: Guid([1; 32]),
        own: None,
        hash: GENESIS,
    };
    record.link(GENESIS, GENESIS);
    let head = AuditHead { account: None, last: 1, hash: record.hash };
    SignedAudit { signed: head.sign(&key, Time(99)), records: vec![record] }
}

fn server() -> ServerAddr {
    ServerAddr {
        key: SecretKey::from_bytes(&[7; 32]).public(),
        addresses: vec![([127, 0, 0, 1], 7071).into()],
        relay: Some("http://127.0.0.1:7072".into()),
    }
}

fn ticket() -> Ticket {
    Ticket {
        complex: SecretKey::from_bytes(&[7; 32]).public(),
        servers: vec![server()],
        token: token(),
        expires: Time(50),
        test_world: true,
    }
}

fn host() -> HostSpec {
    HostSpec {
        name: "h".into(),
        agent: "0.1.0".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        cpus: 2,
        memory: Bytes::gib(8),
        disk: Bytes::gib(100),
        country: Some("FI".into()),
        engine: "wasmtime-48".into(),
    }
}

fn mount() -> Mount {
    Mount { path: "genes/x.fa".into(), guid: Guid([2; 32]), size: Bytes(300) }
}

fn spec() -> JobSpec {
    let mut spec = JobSpec::new(Guid([1; 32]), Bytes(100), 10);
    spec.args = vec!["--task".into(), "{task}".into(), "/in/{file}".into()];
    spec.env = vec![("A".into(), "b".into())];
    spec.inputs = vec![mount()];
    spec.constraint = Some("host.cpus >= 2".into());
    spec.verify = Verify::Quorum { agree: 2, of: 3 };
    spec.price_max = Some(MicroCredits::CREDIT);
    spec
}

fn output() -> Output {
    let file = |path: &str| OutputFile { path: path.into(), content: vec![1, 2, 3] };
    Output { stdout: b"hello".to_vec(), stderr: vec![], files: vec![file("a"), file("b/c")] }
}

fn result(task: u32) -> TaskResult {
    let output = OutputAt::Inline(output().encode());
    TaskResult { task, exit: Exit::Code(0), fuel: Fuel(1_000_000), output }
}

fn host_id() -> HostId {
    HostId(SecretKey::from_bytes(&[3; 32]).public())
}

fn entry() -> ResultEntry {
    let accepted = Accepted { task: 7, result: Ok(result(7)), host: Some(host_id()) };
    ResultEntry { accepted, output: Some(output().encode()) }
}

fn records() -> Vec<Vec<u8>> {
    let host = HostRecord {
        id: host_id(),
        account: AccountId(100),
        spec: host(),
        good: 3,
        bad: 0,
        lost: 1,
        barred: None,
        joined: Time(1),
        seen: Time(2),
        trust: Trust { passed: 2, results: 3 },
        ticket: vec![vec![7; 64]],
        suspended: false,
        successor: None,
    };
    let tagged = |tag: u8, bytes: Vec<u8>| [vec![tag], bytes].concat();
    vec![tagged(2, encode(&vec![entry().accepted])), tagged(4, encode(&host))]
}

fn to_complex() -> Vec<ToComplex> {
    let offer = Offer {
        cores: 2,
        memory: Bytes::gib(1),
        disk: Bytes::gib(2),
        price_min: Price(5),
        accept: Accept::Except(vec![Guid([9; 32])]),
        reasons: vec!["idle".into()],
    };
    let room = Room { cores_idle: 2, tasks: 0, backlog: Span(0), seen: LeaseId(300) };
    let hello = Hello {
        spec: host(),
        offer: offer.clone(),
        token: Some(token()),
        holding: vec![LeaseId(300)],
        room,
    };
    let lease = LeaseReport {
        lease: LeaseId(300),
        results: vec![result(7), result(8)],
        faults: vec![(9, Fault::TimedOut)],
        returned: vec![TaskRange::new(10, 20)],
        busy: Span::millis(40),
    };
    let report = Report { seq: 1, leases: vec![lease], room };
    vec![
        ToComplex::Report(report),
        ToComplex::Hello(Box::new(hello)),
        ToComplex::Offer(offer),
        ToComplex::Goodbye,
        ToComplex::Traced(HostTrace {
            lease: LeaseId(300),
            task: 7,
            steps: vec![HostStep { step: Step::Run, from: Span(300), length: Span(20) }],
            held: Span(500),
        }),
        ToComplex::Saved(Box::new(Saved {
            lease: LeaseId(300),
            task: 7,
            fuel: Fuel(1_000_000_000),
            roots: vec![Guid([1; 32]), Guid([2; 32])],
            kept: Some(Bytes(300)),
        })),
        ToComplex::Shelf(Box::new(ShelfReport {
            offer: ShelfOffer {
                bytes: Bytes(1 << 40),
                price_min: StoragePrice(300),
                addresses: vec!["127.0.0.1:7071".parse().expect("an address")],
                relay: Some("https://relay.example".into()),
            },
            heard: Time(300),
        })),
        ToComplex::Mended(MendReport {
            number: 300,
            objects: 1,
            fragments: 2,
            moved: Bytes(300),
            lost: 3,
            missing: 4,
            is_whole: true,
        }),
        ToComplex::Proved(Box::new(Proof {
            lease: LeaseId(300),
            fragment: Guid([1; 32]),
            piece: Some(Piece {
                length: 3,
                groups: Groups::default(),
                first: 0,
                bytes: vec![7; 3],
            }),
        })),
        ToComplex::Described(Box::new(described(1))),
        ToComplex::Reach(Box::new(Reach { job: JobId(42), place: place(), begun: true })),
    ]
}

fn to_host() -> Vec<ToHost> {
    let offer = JobOffer { job: JobId(42), spec: spec(), price: Price(100), buyer: AccountId(100) };
    let grant = Grant {
        lease: LeaseId(300),
        job: JobId(42),
        ranges: vec![TaskRange::new(0, 10)],
        deadline: Time(2),
    };
    vec![
        ToHost::Job(Box::new(offer)),
        ToHost::Grant(vec![grant]),
        ToHost::Welcome { now: Time(1), account: AccountId(9) },
        ToHost::Sleep(Span::secs(1)),
        ToHost::Resume(vec![Resume {
            lease: LeaseId(300),
            task: 7,
            from: Some(Checkpoint { guid: Guid([2; 32]), size: Bytes(300), fuel: Fuel(1 << 30) }),
            until: Some(3),
            chain: Some(Guid([4; 32])),
        }]),
        ToHost::Storage(vec![LeaseNews {
            lease: LeaseId(300),
            account: AccountId(9),
            class: StorageClass::Bulk,
            bytes: Bytes(1 << 30),
            issued: Time(1),
            until: Time(2),
        }]),
        ToHost::Mend(Box::new(MendOrder {
            number: 300,
            lease: LeaseId(7),
            places: Vec::new(),
            hosts: vec![KeeperAddress {
                host: HostId(PublicKey([1; 32])),
                addresses: vec!["127.0.0.1:7071".parse().expect("an address")],
                relay: None,
            }],
            mended: 1,
        })),
        ToHost::Prove(ProofAsked {
            lease: LeaseId(300),
            fragment: Guid([1; 32]),
            length: 300,
            drawn: 7,
        }),
        ToHost::Peers(Box::new(Peers {
            job: JobId(42),
            until: Some(Time(300)),
            peers: vec![
                Peer { rank: 0, host: HostId(PublicKey([1; 32])), place: Some(place()) },
                Peer { rank: 1, host: HostId(PublicKey([2; 32])), place: None },
            ],
        })),
        ToHost::Introduced(Box::new(Introduction {
            certificate: router(1).certificate().clone(),
            direct: true,
            peers: vec![described(2)],
        })),
    ]
}

fn submit() -> SubmitRequest {
    SubmitRequest { spec: spec(), key: Some("once".into()), bid: None }
}

fn ticket_request() -> TicketRequest {
    TicketRequest {
        account: "lab".into(),
        rights: vec!["join".into(), "read".into()],
        valid: Span::secs(3_600),
    }
}

fn execution() -> Execution {
    Execution {
        task: 1,
        end: Ok(Exit::Code(0)),
        fuel: Fuel(9),
        wall: Span(5),
        marks: None,
        output: output(),
    }
}

fn router(n: u8) -> Arc<Contact> {
    let host = HostId(SecretKey::from_bytes(&[n; 32]).public());
    let address = SocketAddr::from(([198, 51, 100, n], 4_433));
    let (owner, blocks) = (AccountId(7), Blocks::of(&[address.ip()]));
    let admitted = Admitted { host, owner, blocks, epoch: 3, expires: Time(1 << 40) };
    let certificate = Certificate::issue(&SecretKey::from_bytes(&[9; 32]), admitted);
    let relay = Some("https://relay.example:3340".into());
    Arc::new(Contact::new(certificate, relay, vec![address]).expect("within the limits"))
}

/// A host as it describes itself.
fn described(n: u8) -> Descriptor {
    let own = router(n);
    let described = Descriptor {
        addresses: own.addresses().to_vec(),
        relay: own.relay().map(Into::into),
        admission: Some(Admission::from(own.certificate())),
        ..Descriptor::unsigned(own.host(), Access::Public, Time(10_000_000))
    };
    described.signed(&mut Keys::new(SecretKey::from_bytes(&[n; 32]), Vec::new()))
}

/// Both sides of an exchange.
fn gossip() -> (isos_gossip::wire::Request, isos_gossip::wire::Answer) {
    use isos_gossip::average::Sums;
    use isos_gossip::wire::{Answer, Averaged, Exchange, Exchanged, Offered, Request};
    let sums = |name| Sums::begin(name, &[4.0, 1e9, 1e10, 0.5, 1.0, 3_600.0, 0.25]);
    let (from, offers) = (Arc::new(described(1)), vec![Arc::new(described(2))]);
    let (witnesses, accused) = (offers.clone(), vec![described(2).host]);
    let average = Some(Offered { epoch: 5, seq: 300, sums: sums(7).average(&sums(9)) });
    let ask = Exchange {
        from: from.clone(),
        offers: offers.clone(),
        witnesses: witnesses.clone(),
        accused: accused.clone(),
        average,
    };
    let (average, public) = (Averaged::Done(Box::new(sums(7))), Some(0.25));
    let answer = Exchanged { from, offers, witnesses, accused, average, public };
    (Request::Exchange(Box::new(ask)), Answer::Exchanged(Box::new(answer)))
}

fn route_pointer() -> Pointer {
    let mut keys = Keys::new(SecretKey::from_bytes(&[1; 32]), Vec::new());
    Pointer::sign(Guid([5; 32]), router(1), Time(1 << 30), 3, &mut keys)
}

fn route_asks() -> Vec<Ask> {
    let target = Position::from([6; 32]);
    let find = Find { target, within: 1 << 50, want: 20, known: vec![1, 1 << 30], pointers: true };
    vec![
        Ask { from: Some(router(1)), request: RouteRequest::Find(find) },
        Ask { from: None, request: RouteRequest::Put(vec![route_pointer()]) },
        Ask { from: None, request: RouteRequest::Ping },
    ]
}

fn route_answers() -> Vec<Answer> {
    let contacts = vec![router(1), router(2)];
    vec![
        Answer::Found { contacts, pointers: vec![route_pointer()] },
        Answer::Put(vec![Put::Kept, Put::Full]),
        Answer::Busy(Span::millis(250)),
        Answer::Pong,
    ]
}
