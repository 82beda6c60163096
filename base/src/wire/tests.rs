//! Golden bytes: whoever changes one of these changes the protocol and must raise its version.

use expect_test::{Expect, expect};

use super::*;
use crate::certificate::{Admitted, Blocks, Certificate};
use crate::checkpoint::Checkpoint;
use crate::codec::{decode, encode};
use crate::descriptor::{Access, Admission, Coordinate};
use crate::fragment::{Groups, Piece, StorageClass};
use crate::host::Accept;
use crate::ids::HostId;
use crate::job::Verify;
use crate::key::{PublicKey, SecretKey};
use crate::peers::{Peer, Place};
use crate::price::StoragePrice;
use crate::storage::{KeeperAddress, ShelfOffer};
use crate::task::{Exit, OutputAt};
use crate::trace::{HostStep, Step};
use crate::units::{Bytes, Fuel};

fn golden<M>(message: &M, bytes: Expect)
where
    M: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let encoded = encode(message);
    bytes.assert_eq(&data_encoding::HEXLOWER.encode(&encoded));
    assert_eq!(&decode::<M>(&encoded).unwrap(), message);
}

fn offer() -> Offer {
    Offer {
        cores: 2,
        memory: Bytes(1024),
        disk: Bytes(2048),
        price_min: Price(5),
        accept: Accept::Except(vec![Guid([9; 32])]),
        reasons: vec!["idle".into()],
    }
}

#[test]
fn hello_and_offer() {
    let spec = HostSpec {
        name: "h".into(),
        agent: "0.1.0".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        cpus: 2,
        memory: Bytes(1024),
        disk: Bytes(2048),
        country: Some("FI".into()),
        engine: "wasmtime-48".into(),
    };
    let room = Room { cores_idle: 2, tasks: 0, backlog: Span(0), seen: LeaseId(5) };
    let hello =
        Hello { spec, offer: offer(), token: Some(vec![1, 2]), holding: vec![LeaseId(300)], room };
    golden(
        &ToComplex::Hello(Box::new(hello)),
        expect![
            "00016805302e312e30056c696e7578067838365f36340280088010010246490b7761736d74696d652d343802800880100502010909090909090909090909090909090909090909090909090909090909090909010469646c650102010201ac0202000005"
        ],
    );
    golden(
        &ToComplex::Offer(offer()),
        expect![
            "0102800880100502010909090909090909090909090909090909090909090909090909090909090909010469646c65"
        ],
    );
    golden(&ToComplex::Goodbye, expect!["03"]);
    let step = HostStep { step: Step::Run, from: Span(300), length: Span(20) };
    let trace = HostTrace { lease: LeaseId(300), task: 7, steps: vec![step], held: Span(500) };
    golden(&ToComplex::Traced(trace), expect!["04ac02070109ac0214f403"]);
    let saved = Saved {
        lease: LeaseId(300),
        task: 7,
        fuel: Fuel(1_000_000),
        roots: vec![Guid([1; 32])],
        kept: Some(Bytes(300)),
    };
    golden(
        &ToComplex::Saved(Box::new(saved)),
        expect![
            "05ac0207c0843d01010101010101010101010101010101010101010101010101010101010101010101ac02"
        ],
    );
    let offer = ShelfOffer {
        bytes: Bytes::gib(1),
        price_min: StoragePrice(300),
        addresses: vec!["127.0.0.1:7071".parse().unwrap()],
        relay: Some("r".into()),
    };
    let shelf = ShelfReport { offer, heard: Time(300) };
    golden(
        &ToComplex::Shelf(Box::new(shelf)),
        expect!["068080808004ac0201007f0000019f37010172ac02"],
    );
    let piece = Piece { length: 3, groups: Groups::default(), first: 0, bytes: vec![7; 3] };
    let (lease, fragment) = (LeaseId(300), Guid([1; 32]));
    let proof = Proof { lease, fragment, piece: Some(piece) };
    golden(
        &ToComplex::Proved(Box::new(proof)),
        expect![
            "07ac0201010101010101010101010101010101010101010101010101010101010101010103000003070707"
        ],
    );
    let report = MendReport {
        number: 300,
        objects: 1,
        fragments: 2,
        moved: Bytes(300),
        lost: 3,
        missing: 4,
        is_whole: true,
    };
    golden(&ToComplex::Mended(report), expect!["08ac020102ac02030401"]);
    golden(
        &ToComplex::Described(Box::new(described(None))),
        expect![
            "0907070707070707070707070707070707070707070707070707070707070707070001007f0000019f37010172ac020201d80400ac02ff01020304050607000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        ],
    );
}

/// A host as it describes itself, under a seal of zeros.
fn described(admission: Option<&Certificate>) -> Descriptor {
    let host = HostId(PublicKey([7; 32]));
    Descriptor {
        addresses: vec!["127.0.0.1:7071".parse().unwrap()],
        relay: Some("r".into()),
        coordinate: Coordinate { at: [1, -1, 300, 0], height: 300, error: 255 },
        marks: [1, 2, 3, 4, 5, 6, 7, 0],
        admission: admission.map(Admission::from),
        ..Descriptor::unsigned(host, Access::Public, Time(300))
    }
}

#[test]
fn introduction() {
    let blocks = Blocks::of(&["127.0.0.1".parse().unwrap()]);
    let admitted = Admitted {
        host: HostId(PublicKey([7; 32])),
        owner: AccountId(9),
        blocks,
        epoch: 2,
        expires: Time(300),
    };
    let certificate = Certificate::issue(&SecretKey::from_bytes(&[1; 32]), admitted);
    let peers = vec![described(Some(&certificate))];
    let introduction = Introduction { certificate, direct: true, peers };
    golden(
        &ToHost::Introduced(Box::new(introduction)),
        expect![
            "0c070707070707070707070707070707070707070707070707070707070707070709017f00000002bd7d3c0d91cabd9f6e73e2bec97ea2acac0247b877611995bace0fc915197c05f41bebd4867b9404735896a77ffabbdaf4ad8f10f3c1464849d9e5c68993e3491453e1408b29a7399744fd055bf5e52b8405010107070707070707070707070707070707070707070707070707070707070707070001007f0000019f37010172ac020201d80400ac02ff01020304050607000109017f00000002bd7d3c0d91cabd9f6e73e2bec97ea2acac0247b877611995bace0fc915197c05f41bebd4867b9404735896a77ffabbdaf4ad8f10f3c1464849d9e5c68993e3491453e1408b29a7399744fd055bf5e52b840500000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        ],
    );
}

#[test]
fn report() {
    let result = TaskResult {
        task: 7,
        exit: Exit::Code(0),
        fuel: Fuel(1_000_000),
        output: OutputAt::Inline(vec![0, 0, 0]),
    };
    let stored = TaskResult {
        exit: Exit::OutOfFuel,
        output: OutputAt::Object(Guid([3; 32]), 5000),
        ..result.clone()
    };
    let lease = LeaseReport {
        lease: LeaseId(300),
        results: vec![result, stored],
        faults: vec![(9, Fault::TimedOut)],
        returned: vec![TaskRange::new(10, 20)],
        busy: Span::millis(40),
    };
    let room = Room { cores_idle: 0, tasks: 3, backlog: Span::millis(5), seen: LeaseId(300) };
    golden(
        &ToComplex::Report(Report { seq: 1, leases: vec![lease], room }),
        expect![
            "020101ac0202070000c0843d00030000000702c0843d0103030303030303030303030303030303030303030303030303030303030303038827010900010a14c0b80200038827ac02"
        ],
    );
}

#[test]
fn orders_to_hosts() {
    let mut spec = JobSpec::new(Guid([1; 32]), Bytes(100), 10);
    spec.args = vec!["{task}".into()];
    spec.verify = Verify::Quorum { agree: 2, of: 3 };
    let job = JobOffer { job: JobId(42), spec, price: Price(100), buyer: AccountId(9) };
    golden(&ToHost::Welcome { now: Time(1), account: AccountId(9) }, expect!["000109"]);
    golden(&ToHost::Refused(Refusal::NoTicket), expect!["0100"]);
    golden(
        &ToHost::Job(Box::new(job)),
        expect![
            "022a0001010101010101010101010101010101010101010101010101010101010101016401067b7461736b7d000a00000000808080800180d0dbc3f402808c8d9e0280808008000102030500006409"
        ],
    );
    let grant = Grant {
        lease: LeaseId(300),
        job: JobId(42),
        ranges: vec![TaskRange::new(0, 10)],
        deadline: Time(2),
    };
    golden(&ToHost::Grant(vec![grant]), expect!["0301ac022a01000a02"]);
    golden(&ToHost::Ack { seq: 1, earned: MicroCredits(2) }, expect!["040104"]);
    golden(&ToHost::Revoke(vec![LeaseId(1)]), expect!["050101"]);
    golden(&ToHost::Sleep(Span::secs(1)), expect!["06c0843d"]);
    let resume = Resume {
        lease: LeaseId(300),
        task: 7,
        from: Some(Checkpoint { guid: Guid([1; 32]), size: Bytes(300), fuel: Fuel(1_000_000) }),
        until: Some(9),
        chain: Some(Guid([2; 32])),
    };
    golden(
        &ToHost::Resume(vec![resume]),
        expect![
            "0801ac0207010101010101010101010101010101010101010101010101010101010101010101ac02c0843d0109010202020202020202020202020202020202020202020202020202020202020202"
        ],
    );
    let news = LeaseNews {
        lease: LeaseId(300),
        account: AccountId(9),
        class: StorageClass::Bulk,
        bytes: Bytes(300),
        issued: Time(1),
        until: Time(2),
    };
    golden(&ToHost::Storage(vec![news]), expect!["0901ac020902ac020102"]);
    let (lease, fragment) = (LeaseId(300), Guid([1; 32]));
    let asked = ProofAsked { lease, fragment, length: 300, drawn: 7 };
    golden(
        &ToHost::Prove(asked),
        expect!["0aac020101010101010101010101010101010101010101010101010101010101010101ac0207"],
    );
    let keeper = KeeperAddress {
        host: HostId(PublicKey([1; 32])),
        addresses: vec!["127.0.0.1:7071".parse().unwrap()],
        relay: None,
    };
    let hosts = vec![keeper];
    let (lease, places) = (LeaseId(7), Vec::new());
    let order = MendOrder { number: 300, lease, places, hosts, mended: 1 };
    golden(
        &ToHost::Mend(Box::new(order)),
        expect![
            "0bac02070001010101010101010101010101010101010101010101010101010101010101010101007f0000019f370001"
        ],
    );
}

#[test]
fn peers() {
    let place = Place {
        addresses: vec!["127.0.0.1:7071".parse().unwrap()],
        relay: Some("r".into()),
        run: 7,
    };
    let reach = Reach { job: JobId(42), place: place.clone(), begun: true };
    golden(&ToComplex::Reach(Box::new(reach)), expect!["0a2a01007f0000019f370101720701"]);
    let host = HostId(PublicKey([1; 32]));
    let here = Peer { rank: 0, host, place: Some(place) };
    let peers = Peers {
        job: JobId(42),
        until: Some(Time(300)),
        peers: vec![here, Peer { rank: 300, host, place: None }],
    };
    golden(
        &ToHost::Peers(Box::new(peers)),
        expect![
            "0d2a01ac02020001010101010101010101010101010101010101010101010101010101010101010101007f0000019f3701017207ac02010101010101010101010101010101010101010101010101010101010101010100"
        ],
    );
}

#[test]
fn objects() {
    golden(
        &ObjectRequest::Get(Guid([1; 32])),
        expect!["000101010101010101010101010101010101010101010101010101010101010101"],
    );
    golden(
        &ObjectRequest::Put { guid: Guid([1; 32]), size: 300 },
        expect!["010101010101010101010101010101010101010101010101010101010101010101ac02"],
    );
    golden(&ObjectAnswer::Found(300), expect!["00ac02"]);
    golden(&ObjectAnswer::Missing, expect!["01"]);
    golden(&ObjectAnswer::Kept, expect!["02"]);
    golden(&ObjectAnswer::Refused("full".into()), expect!["030466756c6c"]);
}
