//! Hosts that keep what others store: leased, filled, read, killed, and taken back by their owners.

use std::net::Ipv4Addr;
use std::time::Duration;

use isos_base::api::{ReleaseRequest, StorageLeaseView, StorageRequest};
use isos_base::fragment::wire::{FRAGMENT_ALPN, FragmentRefusal};
use isos_base::fragment::{SignedGrant, SignedReceipt, StorageClass};
use isos_base::key::SecretKey;
use isos_base::{Bytes, Guid, HostId, LeaseId, Span, Time};
use isos_net::{
    Connection, Endpoint, EndpointConfig, Got, PeerAddr, Wanted, get_fragments, present_grant,
    put_fragments,
};
use isos_sdk::{Address, Client};
use serde_json::Value;

use crate::world::{ALWAYS, HostPlan, World, isos, wait_until};

/// A policy that offers this much.
fn offers(room: &str) -> String {
    format!("{ALWAYS}[storage]\nroom = \"{room}\"\n")
}

/// What an agent says of what it keeps.
fn storage(world: &World, host: usize) -> Value {
    let home = &world.hosts[host].home;
    let output = isos().args(["status", "--json", "--home"]).arg(home).output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    status["data"]["agent"]["storage"].clone()
}

fn now() -> Time {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Time(u64::try_from(since.as_micros()).unwrap())
}

/// Somebody who stores.
struct Buyer {
    client: Client,
    endpoint: Endpoint,
    key: SecretKey,
}

impl Buyer {
    async fn new(world: &World) -> Self {
        let address: Address = world.ready["api"].as_str().unwrap().parse().unwrap();
        let client = Client::new(&address, world.ready["token"].as_str()).unwrap();
        let key = SecretKey::from_bytes(&[77; 32]);
        let config = EndpointConfig {
            bind: Some((Ipv4Addr::LOCALHOST, 0).into()),
            ..EndpointConfig::new(key.clone())
        };
        let endpoint = Endpoint::bind(config).await.unwrap();
        Self { client, endpoint, key }
    }

    /// Where keepers are that have room for so much.
    async fn keepers(&self, bytes: Bytes) -> Vec<PeerAddr> {
        let view = self.client.keepers(bytes, None, 100).await.unwrap();
        let peer = |keeper: isos_base::api::KeeperView| PeerAddr {
            key: keeper.host.0,
            addresses: keeper.addresses,
            relay: keeper.relay,
        };
        view.hosts.into_iter().map(peer).collect()
    }

    async fn lease(&self, bytes: Bytes, hosts: u16) -> Vec<StorageLeaseView> {
        let request = StorageRequest {
            class: StorageClass::Standard,
            bytes,
            hosts,
            on: Vec::new(),
            beside: Vec::new(),
            avoid: Vec::new(),
            until: now() + Span::secs(86_400),
            holder: self.key.public(),
            price_max: None,
            key: Some("once".into()),
        };
        self.client.lease_storage(&request).await.unwrap()
    }

    /// Whether a keeper answers.
    async fn is_let_in(&self, peer: &PeerAddr) -> bool {
        let Ok(near) = self.endpoint.connect(peer, FRAGMENT_ALPN).await else { return false };
        let nothing = [Wanted::whole(Guid::of(b"nothing"))];
        get_fragments(&near, &nothing, |_, _| ()).await.is_ok()
    }

    async fn call(&self, peers: &[PeerAddr], host: HostId) -> Connection {
        let peer = peers.iter().find(|peer| peer.key == host.0).expect("a keeper that is known");
        self.endpoint.connect(peer, FRAGMENT_ALPN).await.unwrap()
    }
}

fn grant_of(lease: &StorageLeaseView) -> SignedGrant {
    let text = lease.grant.as_ref().expect("an open lease has a grant");
    let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    SignedGrant::from_bytes(&bytes).unwrap()
}

async fn put(
    near: &Connection,
    lease: LeaseId,
    bytes: &[u8],
) -> Result<SignedReceipt, FragmentRefusal> {
    let mut answer = None;
    let named = [(Guid::of(bytes), bytes.to_vec().into())];
    put_fragments(near, lease, &named, |_, kept| answer = Some(kept)).await.unwrap();
    answer.unwrap()
}

async fn get(near: &Connection, guid: Guid) -> Got {
    let mut found = None;
    get_fragments(near, &[Wanted::whole(guid)], |_, got| found = Some(got)).await.unwrap();
    found.unwrap()
}

fn holds(got: &Got, bytes: &[u8]) -> bool {
    matches!(got, Got::Piece(piece) if piece.bytes == bytes)
}

#[test]
fn what_is_kept_by_others_survives_kill_9_and_their_owners_have_the_last_word() {
    let mut world = World::start(&[]);
    for _ in 0..3 {
        world.add_host(HostPlan { policy: Some(offers("256MiB")), ..HostPlan::default() });
    }
    world.wait_for_hosts(3);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let buyer = runtime.block_on(Buyer::new(&world));
    let keepers = |bytes: Bytes| runtime.block_on(buyer.keepers(bytes));
    world.wait("three keepers", || keepers(Bytes::mib(64)).len() == 3);
    let peers = keepers(Bytes::mib(64));

    // Leased, shown, filled, read.
    let leases = runtime.block_on(buyer.lease(Bytes::mib(64), 3));
    assert_eq!(leases.len(), 3);
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let guid = Guid::of(&bytes);
    runtime.block_on(async {
        for lease in &leases {
            let near = buyer.call(&peers, lease.host.host).await;
            assert_eq!(put(&near, lease.id, &bytes).await, Err(FragmentRefusal::Lease));
            present_grant(&near, &grant_of(lease)).await.unwrap().expect("the grant is good");
            let receipt = put(&near, lease.id, &bytes).await.expect("it is kept");
            assert_eq!(receipt.check().unwrap().host, lease.host.host);
            assert!(holds(&get(&near, guid).await, &bytes));
        }
    });
    let status = storage(&world, 0);
    assert_eq!((&status["fragments"], &status["leases"]), (&1.into(), &1.into()), "{status}");

    // Killed and started again, it has what it had, at its new address.
    let id = world_id(&world, 0);
    world.between_runs(0, |_| {});
    let back = || keepers(Bytes::mib(64)).into_iter().find(|peer| peer.key == id.0);
    let before = peers.iter().find(|peer| peer.key == id.0).cloned();
    // Others are told where it is before it has looked through what it holds and lets them in.
    let lets_in = |peer: &PeerAddr| runtime.block_on(buyer.is_let_in(peer));
    world.wait("the killed keeper", || back() != before && back().is_some_and(|it| lets_in(&it)));
    runtime.block_on(async {
        let near = buyer.call(&buyer.keepers(Bytes::mib(64)).await, id).await;
        assert!(holds(&get(&near, guid).await, &bytes), "it is lost");
        let lease = leases.iter().find(|lease| lease.host.host == id).unwrap();
        present_grant(&near, &grant_of(lease)).await.unwrap().expect("the grant is good still");
        put(&near, lease.id, b"more").await.expect("it takes more");
    });

    // Given up, its room comes back, and the old grant is good for nothing.
    let full = Bytes::mib(200);
    assert_eq!(keepers(full).len(), 0, "64 of 240 MiB are leased");
    let lease = leases.iter().find(|lease| lease.host.host == id).unwrap();
    runtime.block_on(async {
        let leases = vec![lease.id];
        buyer.client.release_storage(&ReleaseRequest { leases }).await.unwrap();
    });
    assert_eq!(keepers(full).len(), 1);
    world.wait("the host to hear of it", || storage(&world, 0)["leases"] == 0);
    runtime.block_on(async {
        let near = buyer.call(&buyer.keepers(full).await, id).await;
        let refused = present_grant(&near, &grant_of(lease)).await.unwrap();
        assert!(matches!(refused, Err(FragmentRefusal::Grant(_))), "{refused:?}");
        assert_eq!(put(&near, lease.id, b"even more").await, Err(FragmentRefusal::Lease));
    });

    // An owner takes room back: the complex hears of it, what is promised stays.
    let home = world.hosts[1].home.clone();
    let set = |what: &str| {
        let edit = ["policy", "edit", "--set", what, "--home"];
        let output = isos().args(edit).arg(&home).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let id = world_id(&world, 1);
    set("storage.room=32MiB");
    world.wait("the smaller offer", || storage(&world, 1)["offered"] == 30 << 20);
    let leases_here = leases.iter().find(|lease| lease.host.host == id).unwrap();
    let offers = |bytes| keepers(bytes).iter().any(|peer| peer.key == id.0);
    assert!(wait_until(Duration::from_secs(20), || !offers(Bytes::mib(1))), "it is leased out");
    runtime.block_on(async {
        let near = buyer.call(&peers, id).await;
        assert!(holds(&get(&near, guid).await, &bytes));
        present_grant(&near, &grant_of(leases_here)).await.unwrap().unwrap();
        put(&near, leases_here.id, b"a little").await.expect("there is room for a little");
    });

    // Paused, it takes nothing more; what it has can be read.
    let output = isos().args(["pause", "--home"]).arg(&home).output().unwrap();
    assert!(output.status.success());
    runtime.block_on(async {
        let near = buyer.call(&peers, id).await;
        present_grant(&near, &grant_of(leases_here)).await.unwrap().unwrap();
        let refused = put(&near, leases_here.id, b"not now").await;
        assert!(matches!(refused, Err(FragmentRefusal::Busy(_))), "{refused:?}");
        assert!(holds(&get(&near, guid).await, &bytes));
    });
    let said = isos().args(["status", "--home"]).arg(&home).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("kept for others") && said.contains("can be read"), "{said}");
}

/// The key of a host.
fn world_id(world: &World, host: usize) -> HostId {
    let home = &world.hosts[host].home;
    let output = isos().args(["status", "--json", "--home"]).arg(home).output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    status["data"]["agent"]["host"].as_str().unwrap().parse().unwrap()
}
