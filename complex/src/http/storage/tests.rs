//! Storage leases at a running server, with hosts that are nothing but a connection.

use isos_base::HostId;
use isos_base::api::{LeaseChange, Problem, Standing};
use isos_base::fragment::SignedGrant;
use isos_base::storage::{LeaseNews, ShelfOffer, ShelfReport};
use isos_base::time::{Span, Time};
use isos_base::wire::{HOST_ALPN, ToComplex, ToHost};
use isos_net::{Connection, Endpoint};

use super::*;
use crate::clock;
use crate::testing::{World, endpoint, hello};

const MONTH: Span = Span::secs(30 * 86_400);

/// A host that keeps fragments, as far as the complex can see.
struct Keeper {
    endpoint: Endpoint,
    _connection: Connection,
    stream: isos_net::Stream,
}

impl Keeper {
    async fn join(world: &World, seed: u8, owner: &str) -> Self {
        let token = world.token(owner, &[Right::Join]).await;
        let endpoint = endpoint(seed).await;
        let connection = endpoint.connect(&world.peer(), HOST_ALPN).await.unwrap();
        let mut stream = connection.open().await.unwrap();
        stream.sender.send(&hello(Some(&token))).await.unwrap();
        let welcome = stream.receiver.recv::<ToHost>().await.unwrap();
        assert!(matches!(welcome, Some(ToHost::Welcome { .. })), "{welcome:?}");
        let mut keeper = Self { endpoint, _connection: connection, stream };
        keeper.tell(Bytes::gib(10), Time(0)).await;
        keeper
    }

    async fn tell(&mut self, bytes: Bytes, heard: Time) {
        let addresses = vec!["127.0.0.1:7999".parse().unwrap()];
        let offer = ShelfOffer { bytes, addresses, ..ShelfOffer::default() };
        let report = ToComplex::Shelf(Box::new(ShelfReport { offer, heard }));
        self.stream.sender.send(&report).await.unwrap();
    }

    /// The next words about its leases.
    async fn news(&mut self) -> Vec<LeaseNews> {
        loop {
            match self.stream.receiver.recv::<ToHost>().await.unwrap() {
                Some(ToHost::Storage(news)) => return news,
                Some(_) => {}
                None => panic!("the connection ended"),
            }
        }
    }

    fn id(&self) -> HostId {
        HostId(self.endpoint.public())
    }
}

async fn post<T: serde::Serialize>(
    world: &World,
    path: &str,
    token: &str,
    body: &T,
) -> Result<StorageLeases, Problem> {
    let body = serde_json::to_string(body).unwrap();
    let (status, answer) = world.json(&format!("POST {path}"), token, &body).await;
    match status {
        200 => Ok(serde_json::from_str(&answer).unwrap()),
        _ => Err(serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{status}: {answer}"))),
    }
}

async fn quota(world: &World, token: &str) -> QuotaView {
    let (status, answer) = world.json("GET /v1/storage/quota", token, "").await;
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

async fn keepers(world: &World, token: &str) -> KeepersView {
    let (status, answer) = world.json("GET /v1/storage/hosts?limit=9", token, "").await;
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

/// Waits until so many keepers are known: their words go past the machine on their own ways.
async fn known(world: &World, token: &str, count: u32) -> KeepersView {
    for _ in 0..500 {
        let seen = keepers(world, token).await;
        if seen.known == count && seen.hosts.len() == count as usize {
            return seen;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the keepers are not there after 5 s");
}

/// Gives an account something to lease with.
async fn credit(world: &World, name: &str) {
    let line = format!("POST /v1/accounts/{name}/credits");
    let credits = r#"{"amount": 1000000, "why": "a test"}"#;
    let (status, said) = world.json(&line, &world.operator(), credits).await;
    assert_eq!(status, 200, "{said}");
}

fn request(hosts: u16) -> StorageRequest {
    StorageRequest {
        class: isos_base::fragment::StorageClass::Standard,
        bytes: Bytes::gib(1),
        hosts,
        on: Vec::new(),
        beside: Vec::new(),
        avoid: Vec::new(),
        until: clock::now() + MONTH,
        holder: PublicKey([9; 32]),
        price_max: None,
        key: None,
    }
}

#[tokio::test]
async fn storage_is_leased_renewed_and_given_up_and_hosts_hear_of_it() {
    let world = World::new().await;
    let token = world.token("buyer", &[Right::Submit, Right::Read]).await;
    let mut one = Keeper::join(&world, 7, "ada").await;
    let two = Keeper::join(&world, 8, "bob").await;
    let seen = known(&world, &token, 2).await;
    assert!(seen.hosts.iter().all(|host| host.standing == Standing::Here));
    assert_eq!(seen.hosts[0].addresses.len(), 1);

    credit(&world, "buyer").await;
    let made = post(&world, "/v1/storage/leases", &token, &request(2)).await.unwrap();
    let hosts: std::collections::BTreeSet<HostId> =
        made.leases.iter().map(|lease| lease.host.host).collect();
    assert_eq!(hosts, [one.id(), two.id()].into());
    // What the host will check, without asking anybody.
    let complex = world.server.ticket("x", &[Right::Read], Span::secs(60)).await.unwrap();
    let complex = complex.ticket.parse::<isos_base::ticket::Ticket>().unwrap().complex;
    for lease in &made.leases {
        let bytes = capability::from_text(lease.grant.as_deref().unwrap()).unwrap();
        let signed = SignedGrant::from_bytes(&bytes).unwrap();
        let grant = signed.check(&complex, &lease.host.host, clock::now()).unwrap();
        assert_eq!((grant.lease, grant.bytes), (lease.id, Bytes::gib(1)));
        assert_eq!((grant.holder, grant.until), (PublicKey([9; 32]), lease.until));
    }
    let mine = made.leases.iter().find(|lease| lease.host.host == one.id()).unwrap();
    let news = one.news().await;
    assert_eq!((news[0].lease, news[0].until), (mine.id, mine.until));

    let held = quota(&world, &token).await;
    assert_eq!((held.leases, held.bytes, held.hosts), (2, Bytes::gib(2), 2));
    assert!((199_990..=200_000).contains(&held.held.0), "{held:?}");
    assert_eq!(held.month.0, 200_000);

    let bytes = Some(Bytes::mib(512));
    let changes = vec![LeaseChange { lease: mine.id, bytes, until: Some(mine.until + MONTH) }];
    let renew = RenewRequest { changes, price_max: None };
    let changed = post(&world, "/v1/storage/leases/renew", &token, &renew).await.unwrap();
    assert_ne!(changed.leases[0].grant, mine.grant, "it has another grant");
    let news = one.news().await;
    assert_eq!((news[0].lease, news[0].bytes), (mine.id, Bytes::mib(512)));

    let release = ReleaseRequest { leases: vec![mine.id] };
    let ended = post(&world, "/v1/storage/leases/release", &token, &release).await.unwrap();
    assert_eq!((ended.leases[0].state, &ended.leases[0].grant), (StorageState::Released, &None));
    let news = one.news().await;
    assert!(news[0].lease == mine.id && news[0].until <= news[0].issued, "it is over");
    let again = post(&world, "/v1/storage/leases/release", &token, &release).await.unwrap_err();
    assert_eq!(again.code.status(), 404);

    let (status, answer) = world.json("GET /v1/storage/leases?limit=1", &token, "").await;
    assert_eq!(status, 200, "{answer}");
    let left: StorageLeases = serde_json::from_str(&answer).unwrap();
    assert_eq!((left.leases.len(), left.more), (1, false));
    assert_eq!(left.leases[0].host.host, two.id());
    world.server.stop().await;
}

#[tokio::test]
async fn who_may_not_pay_may_not_lease() {
    let world = World::new().await;
    let keeper = Keeper::join(&world, 7, "ada").await;
    let token = world.token("buyer", &[Right::Read]).await;
    known(&world, &token, 1).await;
    let told = post(&world, "/v1/storage/leases", &token, &request(1)).await.unwrap_err();
    assert_eq!(told.code.status(), 403);
    let other = world.token("other", &[Right::Submit]).await;
    let told = world.json("GET /v1/storage/quota", &other, "").await;
    assert_eq!(told.0, 403, "{}", told.1);
    credit(&world, "other").await;
    let leases = post(&world, "/v1/storage/leases", &other, &request(1)).await.unwrap();
    let stolen = ReleaseRequest { leases: vec![leases.leases[0].id] };
    let own = world.token("third", &[Right::Submit]).await;
    let told = post(&world, "/v1/storage/leases/release", &own, &stolen).await.unwrap_err();
    assert_eq!(told.code.status(), 404);
    let (status, answer) = world.json("POST /v1/storage/leases", &own, "{\"hosts\": 1}").await;
    assert_eq!(status, 422, "{answer}");
    assert_eq!(leases.leases[0].host.host, keeper.id());
    world.server.stop().await;
}
