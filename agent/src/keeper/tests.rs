//! A keeper on real packs, asked over a real connection.

use std::net::Ipv4Addr;
use std::time::Duration;

use isos_base::fragment::wire::FragmentRefusal;
use isos_base::fragment::{StorageClass, StorageGrant};
use isos_base::{AccountId, Guid, LeaseId, Span};
use isos_kernel::policy::NetworkLimits;
use isos_net::{
    Connection, Endpoint, EndpointConfig, Got, PeerAddr, Wanted, get_fragments, present_grant,
    put_fragments, remove_fragments,
};

use super::*;

const LEASE: LeaseId = LeaseId(7);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

async fn endpoint(seed: u8) -> Endpoint {
    let config = EndpointConfig {
        bind: Some((Ipv4Addr::LOCALHOST, 0).into()),
        alpns: vec![FRAGMENT_ALPN.to_vec()],
        ..EndpointConfig::new(key(seed))
    };
    Endpoint::bind(config).await.unwrap()
}

/// The complex has key 9, the host 2, who stores 1.
struct Rig {
    folder: tempfile::TempDir,
    keeper: Arc<Keeper>,
    inputs: mpsc::Receiver<Input>,
    client: Endpoint,
}

fn allowed(room: u64) -> Keeping {
    let room = Bytes::mib(room);
    Keeping { limit: room, room, price_min: StoragePrice(5), takes: true, serves: true }
}

impl Rig {
    async fn new() -> Self {
        Self::with(tempfile::tempdir().unwrap(), NetworkLimits::default()).await
    }

    async fn with(folder: tempfile::TempDir, limits: NetworkLimits) -> Self {
        let home = Arc::new(Home::open(folder.path()).unwrap());
        let traffic = Arc::new(Traffic::remembered(home.clone(), limits));
        let complex = key(9).public();
        let door = Door::new(endpoint(2).await);
        tokio::spawn(door.clone().run());
        let keeper = Keeper::new(home, key(2), complex, door, traffic);
        let keeper = Arc::new(keeper);
        let (core, inputs) = Core::heard();
        tokio::spawn(run(keeper.clone(), core));
        Self { folder, keeper, inputs, client: endpoint(1).await }
    }

    fn allow(&self, keeping: Keeping) {
        self.keeper.allow(keeping, Bytes::ZERO);
    }

    /// What the machine is told next, other than that a batch is done with.
    async fn told(&mut self) -> (ShelfReport, bool) {
        loop {
            match self.inputs.recv().await.unwrap() {
                Input::ShelfLooked { report, stays } => return (*report.unwrap(), stays),
                Input::TookIn => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn call(&self) -> Connection {
        let endpoint = self.keeper.door.endpoint();
        let addresses = endpoint.addresses();
        let peer = PeerAddr { key: endpoint.public(), addresses, relay: None };
        let alpn = FRAGMENT_ALPN;
        self.client.connect(&peer, alpn).await.unwrap()
    }

    /// Ends it as `kill -9` would, as far as the disk is concerned, and starts it again.
    async fn again(self) -> Self {
        let Self { folder, keeper, inputs, client } = self;
        keeper.allowed.send_modify(|allowed| allowed.closing = true);
        keeper.door.endpoint().close().await;
        drop((inputs, client));
        while Arc::strong_count(&keeper) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(keeper);
        Self::with(folder, NetworkLimits::default()).await
    }
}

/// With four fragments under a lease.
async fn with_four() -> (Rig, Connection) {
    let mut rig = Rig::new().await;
    rig.allow(allowed(64));
    rig.told().await;
    let near = rig.call().await;
    let good = grant(10, Bytes::mib(8)).sign(&key(9));
    assert!(present_grant(&near, &good).await.unwrap().is_ok());
    for seed in 1..=4 {
        put(&near, LEASE, seed).await.unwrap();
    }
    (rig, near)
}

async fn until(so: impl Fn() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it comes to be so");
}

fn grant(issued: u64, bytes: Bytes) -> StorageGrant {
    StorageGrant {
        complex: key(9).public(),
        lease: LEASE,
        host: HostId(key(2).public()),
        account: AccountId(100),
        holder: key(1).public(),
        bytes,
        issued: Time(issued),
        until: clock::now() + Span::secs(86_400),
        class: StorageClass::Standard,
    }
}

fn word(issued: u64, until: Time) -> LeaseNews {
    let StorageGrant { lease, account, class, bytes, .. } = grant(issued, Bytes::mib(8));
    LeaseNews { lease, account, class, bytes, issued: Time(issued), until }
}

/// A megabyte that compresses to nothing, with its name.
fn fragment(seed: u8) -> (Guid, Vec<u8>) {
    let bytes = vec![seed; 1 << 20];
    (Guid::of(&bytes), bytes)
}

async fn put(near: &Connection, lease: LeaseId, seed: u8) -> Result<Guid, FragmentRefusal> {
    let (guid, bytes) = fragment(seed);
    let mut answer = None;
    put_fragments(near, lease, &[(guid, bytes.into())], |_, receipt| answer = Some(receipt))
        .await
        .unwrap();
    answer.unwrap().map(|receipt| receipt.receipt.fragment)
}

async fn get(near: &Connection, guid: Guid) -> Got {
    let mut found = None;
    get_fragments(near, &[Wanted::whole(guid)], |_, got| found = Some(got)).await.unwrap();
    found.unwrap()
}

fn is_right(got: &Got, seed: u8) -> bool {
    matches!(got, Got::Piece(piece) if piece.bytes == fragment(seed).1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_there_until_the_owner_offers_something() {
    let mut rig = Rig::new().await;
    rig.allow(Keeping { serves: true, takes: true, ..Keeping::default() });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!rig.keeper.home.has_packs() && rig.keeper.status().is_none());
    assert!(rig.inputs.try_recv().is_err(), "no keeper");
    rig.allow(allowed(64));
    let (report, stays) = rig.told().await;
    assert!(stays && report.heard == Time(0));
    assert_eq!((report.offer.bytes, report.offer.price_min), (Bytes::mib(60), StoragePrice(5)));
    assert_eq!(report.offer.addresses, rig.keeper.door.endpoint().addresses());
    // The owner takes it all back: that is told too, and nobody need call for it.
    rig.allow(Keeping { limit: Bytes::ZERO, room: Bytes::ZERO, ..allowed(0) });
    let (report, stays) = rig.told().await;
    assert_eq!((report.offer.bytes, stays), (Bytes::ZERO, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shows_a_grant_may_write_and_everybody_who_knows_a_name_read() {
    let mut rig = Rig::new().await;
    rig.allow(allowed(64));
    rig.told().await;
    let near = rig.call().await;
    assert_eq!(put(&near, LEASE, 1).await, Err(FragmentRefusal::Lease), "nothing was shown");
    let good = grant(10, Bytes::mib(8));
    for (bad, why) in [
        (StorageGrant { holder: key(3).public(), ..good.clone() }.sign(&key(9)), "another key"),
        (StorageGrant { host: HostId(key(3).public()), ..good.clone() }.sign(&key(9)), "for the"),
        (good.clone().sign(&key(3)), "of the complex"),
    ] {
        let Err(FragmentRefusal::Grant(said)) = present_grant(&near, &bad).await.unwrap() else {
            panic!("{bad:?} is believed");
        };
        assert!(said.contains(why), "{said}");
    }
    let until = good.until;
    assert_eq!(present_grant(&near, &good.sign(&key(9))).await.unwrap(), Ok(until));
    let guid = put(&near, LEASE, 1).await.unwrap();
    assert!(is_right(&get(&near, guid).await, 1));
    assert_eq!(get(&near, fragment(2).0).await, Got::Missing);
    // Another key may read and not write.
    rig.client = endpoint(4).await;
    let near = rig.call().await;
    assert!(is_right(&get(&near, guid).await, 1));
    assert_eq!(put(&near, LEASE, 2).await, Err(FragmentRefusal::Lease));
    let removed = remove_fragments(&near, LEASE, &[guid]).await.unwrap();
    assert_eq!(removed, Err(FragmentRefusal::Lease));
    let status = rig.keeper.status().unwrap();
    assert_eq!((status.fragments, status.leases, status.leased), (1, 1, Bytes::mib(8)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_are_taken_in_and_what_was_given_up_does_not_come_back() {
    let mut rig = Rig::new().await;
    rig.allow(allowed(64));
    rig.told().await;
    let session = SessionId(1);
    let until = clock::now() + Span::secs(86_400);
    rig.keeper.take_in(session, vec![word(10, until)]);
    let (report, _) = rig.told().await;
    assert_eq!(report.heard, Time(10));
    let near = rig.call().await;
    let good = grant(10, Bytes::mib(8)).sign(&key(9));
    assert!(present_grant(&near, &good).await.unwrap().is_ok());
    let guid = put(&near, LEASE, 1).await.unwrap();
    rig.keeper.take_in(session, vec![word(20, clock::now())]);
    assert_eq!(rig.told().await.0.heard, Time(20));
    assert_eq!(put(&near, LEASE, 2).await, Err(FragmentRefusal::Lease));
    let again = present_grant(&near, &good).await.unwrap();
    assert!(matches!(&again, Err(FragmentRefusal::Grant(why)) if why.contains("given up")));
    assert!(is_right(&get(&near, guid).await, 1), "there is a week of grace");
    // After a restart the complex is asked for everything, and what is over is over.
    let mut rig = rig.again().await;
    rig.allow(allowed(64));
    assert_eq!(rig.told().await.0.heard, Time(0));
    let near = rig.call().await;
    assert!(matches!(present_grant(&near, &good).await.unwrap(), Err(FragmentRefusal::Grant(_))));
    assert!(is_right(&get(&near, guid).await, 1), "it survives");
    // Of a lease that was never heard of here the complex has not spoken yet, or will not any more.
    let other = |issued| StorageGrant { lease: LeaseId(8), ..grant(issued, Bytes::mib(1)) };
    let old = other(15).sign(&key(9));
    assert!(matches!(present_grant(&near, &old).await.unwrap(), Err(FragmentRefusal::Grant(_))));
    let new = other(25).sign(&key(9));
    assert!(present_grant(&near, &new).await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_lets_read_and_a_metered_network_nobody_in() {
    let mut rig = Rig::new().await;
    rig.allow(allowed(64));
    rig.told().await;
    let near = rig.call().await;
    let good = grant(10, Bytes::mib(8)).sign(&key(9));
    assert!(present_grant(&near, &good).await.unwrap().is_ok());
    let guid = put(&near, LEASE, 1).await.unwrap();
    rig.allow(Keeping { takes: false, ..allowed(64) });
    assert!(matches!(put(&near, LEASE, 2).await, Err(FragmentRefusal::Busy(_))));
    assert!(is_right(&get(&near, guid).await, 1));
    rig.allow(Keeping { takes: false, serves: false, ..allowed(64) });
    near.closed().await;
    assert_eq!(rig.keeper.status().unwrap().peers, 0);
    assert!(!rig.told().await.1, "nobody is called for its sake");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn less_room_is_obeyed_at_once_and_what_was_promised_stays() {
    let (mut rig, near) = with_four().await;
    rig.allow(allowed(2));
    let (report, _) = rig.told().await;
    assert_eq!(report.offer.bytes, Bytes(Bytes::mib(2).0 / 16 * 15));
    assert_eq!(put(&near, LEASE, 5).await, Err(FragmentRefusal::HostFull));
    until(|| rig.keeper.status().unwrap().over > Bytes::ZERO).await;
    assert!(is_right(&get(&near, fragment(1).0).await, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_goes_when_its_owner_wants_the_room() {
    let (mut rig, near) = with_four().await;
    rig.keeper.take_in(SessionId(1), vec![word(20, clock::now())]);
    assert_eq!(rig.told().await.0.heard, Time(20));
    assert!(is_right(&get(&near, fragment(1).0).await, 1), "nobody needs its room yet");
    rig.allow(allowed(2));
    until(|| rig.keeper.status().unwrap().fragments == 0).await;
    assert_eq!(get(&near, fragment(1).0).await, Got::Missing);
    assert_eq!(rig.keeper.status().unwrap().over, Bytes::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_that_has_no_room_for_all_that_may_be_on_its_way_lets_nobody_in() {
    let limits = NetworkLimits { day_max: Some(Bytes::mib(40)), ..NetworkLimits::default() };
    let mut rig = Rig::with(tempfile::tempdir().unwrap(), limits).await;
    rig.allow(allowed(64));
    rig.told().await;
    let near = rig.call().await;
    let good = grant(10, Bytes::mib(32)).sign(&key(9));
    assert!(present_grant(&near, &good).await.unwrap().is_ok());
    let mut kept = 0_u64;
    for seed in 0..20 {
        let (guid, bytes) = fragment(seed);
        let mut answer = None;
        let named = [(guid, bytes.into())];
        let put = put_fragments(&near, LEASE, &named, |_, receipt| answer = Some(receipt)).await;
        match (put, answer) {
            (Ok(()), Some(Ok(_))) => kept += 1,
            _ => break,
        }
    }
    // 40 MiB, less 32 that may be on their way; each with a sixteenth.
    assert!((3..8).contains(&kept), "{kept}");
    assert!(rig.keeper.traffic.moved(clock::now()).day < Bytes::mib(40));
    near.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fragments_keep_to_the_owners_rates() {
    let rate = Some(isos_kernel::policy::Rate(Bytes::mib(8)));
    let limits = NetworkLimits { rate_down: rate, rate_up: rate, ..NetworkLimits::default() };
    let mut rig = Rig::with(tempfile::tempdir().unwrap(), limits).await;
    rig.allow(allowed(64));
    rig.told().await;
    let near = rig.call().await;
    let good = grant(10, Bytes::mib(32)).sign(&key(9));
    assert!(present_grant(&near, &good).await.unwrap().is_ok());
    let began = std::time::Instant::now();
    for seed in 1..=4 {
        put(&near, LEASE, seed).await.unwrap();
    }
    // Three eighths of a second, and a sixteenth of that: the first goes at once.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(390), "{took:?}");
    let began = std::time::Instant::now();
    for seed in 1..=4 {
        assert!(is_right(&get(&near, fragment(seed).0).await, seed));
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(390), "{took:?}");
}
