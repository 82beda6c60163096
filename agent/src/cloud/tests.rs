//! Agents' gossip over real sockets, with the complex's part played by hand.

use std::net::Ipv4Addr;
use std::time::Duration;

use isos_base::AccountId;
use isos_base::certificate::{Admitted, Blocks, Certificate};
use isos_base::key::SecretKey;
use isos_disk::Home;
use isos_kernel::policy::NetworkLimits;
use isos_net::{Endpoint, EndpointConfig};

use super::*;
use crate::door::Door;
use crate::traffic::Traffic;

/// An epoch is three seconds then.
const CYCLE: Span = Span::millis(100);
const PATIENCE: Duration = Duration::from_secs(30);

fn complex() -> SecretKey {
    SecretKey::from_bytes(&[9; 32])
}

fn spec(cpus: u16) -> HostSpec {
    HostSpec {
        name: format!("host-{cpus}"),
        agent: "0.1.0".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        cpus,
        memory: isos_base::Bytes::gib(8),
        disk: isos_base::Bytes::gib(100),
        country: Some("FI".into()),
        engine: "wasmtime-48".into(),
    }
}

struct Rig {
    folder: tempfile::TempDir,
    cloud: Cloud,
    door: Arc<Door>,
    host: HostId,
    task: tokio::task::JoinHandle<()>,
}

impl Rig {
    async fn new(n: u8) -> Self {
        Self::at(tempfile::tempdir().unwrap(), n).await
    }

    async fn at(folder: tempfile::TempDir, n: u8) -> Self {
        let key = SecretKey::from_bytes(&[n; 32]);
        let config = EndpointConfig {
            bind: Some((Ipv4Addr::LOCALHOST, 0).into()),
            alpns: vec![isos_gossip::wire::ALPN.to_vec()],
            ..EndpointConfig::new(key.clone())
        };
        let door = Door::new(Endpoint::bind(config).await.unwrap());
        tokio::spawn(door.clone().run());
        let home = Arc::new(Home::open(folder.path()).unwrap());
        let traffic = Arc::new(Traffic::remembered(home.clone(), NetworkLimits::default()));
        let host = HostId(key.public());
        let keys = Keys::new(key, vec![complex().public()]);
        let (cloud, means) = Cloud::new(host, keys, CYCLE, n.into());
        let task = tokio::spawn(run(means, home, door.clone(), traffic));
        cloud.allow(true);
        cloud.looked(&spec(n.into()), &Sensors::idle_machine(), 0).await;
        Self { folder, cloud, door, host, task }
    }

    fn certificate(&self) -> Certificate {
        let admitted = Admitted {
            host: self.host,
            owner: AccountId(1),
            blocks: Blocks::of(&[Ipv4Addr::LOCALHOST.into()]),
            epoch: 1,
            expires: clock::now() + Span::secs(3_600),
        };
        Certificate::issue(&complex(), admitted)
    }

    async fn introduced(&self, peers: Vec<Descriptor>) {
        let certificate = self.certificate();
        self.cloud.introduced(Introduction { certificate, direct: true, peers }).await;
    }

    /// Once it is admitted and the cycle of its start is over.
    async fn descriptor(&self) -> Descriptor {
        let mut described = self.cloud.described();
        let own = tokio::time::timeout(PATIENCE, described.wait_for(Option::is_some)).await;
        own.unwrap().unwrap().clone().map(|own| (*own).clone()).unwrap()
    }

    async fn hosts(&self, wanted: f64) {
        let counted = async {
            loop {
                let status = self.cloud.status();
                let hosts = status.estimate.as_ref().map(|it| it.hosts);
                if hosts.is_some_and(|hosts| (hosts - wanted).abs() < 0.2) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, counted).await;
        assert!(in_time.is_ok(), "{:?}", self.cloud.status());
    }

    async fn stop(self) -> tempfile::TempDir {
        self.door.endpoint().close().await;
        self.task.abort();
        self.folder
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_count_each_other_without_a_complex_and_after_a_restart() {
    let (first, second, third) = (Rig::new(1).await, Rig::new(2).await, Rig::new(4).await);
    first.introduced(Vec::new()).await;
    let known = vec![first.descriptor().await];
    second.introduced(known.clone()).await;
    third.introduced(known).await;
    for rig in [&first, &second, &third] {
        rig.hosts(3.0).await;
    }
    let estimate = third.cloud.status().estimate.unwrap();
    let cores = estimate.of_attribute(isos_gossip::Attribute::Cores).unwrap();
    assert!((cores.sum - 7.0).abs() < 0.5 && cores.most == 4.0, "{cores:?}");
    assert!(third.cloud.status().public);
    // Nobody introduces it again: what it remembers is enough.
    let folder = third.stop().await;
    let third = Rig::at(folder, 4).await;
    third.hosts(3.0).await;
}

#[tokio::test]
async fn a_host_whose_owner_wants_no_network_meets_nobody() {
    let (first, second) = (Rig::new(1).await, Rig::new(2).await);
    first.introduced(Vec::new()).await;
    let known = vec![first.descriptor().await];
    first.cloud.allow(false);
    tokio::time::sleep(Duration::from_millis(200)).await;
    second.introduced(known).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status = second.cloud.status();
    assert!(status.begun > 0 && status.answered == 0, "{status:?}");
    assert_eq!(first.cloud.status().served, 0);
}

fn order(text: &str) -> QueryOrder {
    let by = isos_gossip::query::Fact::Cores;
    QueryOrder { text: text.into(), by, least: false, limit: 5, hosts: None, wait: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_are_asked_without_a_complex_and_answer_for_themselves() {
    let (first, second, third) = (Rig::new(1).await, Rig::new(2).await, Rig::new(4).await);
    first.introduced(Vec::new()).await;
    let known = vec![first.descriptor().await];
    second.introduced(known.clone()).await;
    third.introduced(known).await;
    for rig in [&first, &second, &third] {
        rig.hosts(3.0).await;
    }
    let found = second.cloud.query(order("host.cpus >= 2 && host.country == 'FI'")).await.unwrap();
    assert_eq!((found.asked, found.matched, found.lost), (3, 2, 0), "{found:?}");
    let names: Vec<&str> = found.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["host-4", "host-2"]);
    assert_eq!(found.sums[0], 6.0);
    let refused = second.cloud.query(order("host.cpu >= 2")).await.unwrap_err();
    assert!(matches!(&refused, QueryError::Senseless(why) if why.contains("memory_free")));
    second.cloud.allow(false);
    let refused = second.cloud.query(order("true")).await.unwrap_err();
    assert!(matches!(refused, QueryError::NotNow(_)), "{refused}");
}
