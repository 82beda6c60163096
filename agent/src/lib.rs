//! The agent: it gives a machine's idle resources as its owner's policy allows, and gets out of the
//! way at once when the owner returns.
//!
//! This is a shell: the kernel's host machine decides what to connect, fetch, start, freeze and
//! report; the modules here do it. The agent calls out, and takes its owner's words on a socket in
//! its own folder; it lets others call for gossip, for fragments where its owner offers them room
//! on the disk, and to bring a program what its peers say.

mod chamber;
mod clock;
mod cloud;
pub mod control;
mod core;
mod door;
mod follow;
mod keeper;
mod key;
mod objects;
mod owner;
mod peers;
mod remembered;
mod resting;
mod saves;
mod servers;
mod session;
mod trace;
mod traffic;

use std::path::PathBuf;
use std::sync::Arc;

use isos_base::fragment::wire::FRAGMENT_ALPN;
use isos_base::host::{HostSpec, Offer};
use isos_base::key::{PublicKey, SecretKey};
use isos_base::notary::Keys;
use isos_base::peers::PEERS_ALPN;
use isos_base::rate::Rate;
use isos_base::ticket::Ticket;
use isos_base::wire::Refusal;
use isos_base::{Bytes, limits};
use isos_disk::{Durability, Home, HomeError, ShelfError, ShelfLimits};
use isos_kernel::host::Host;
use isos_kernel::policy::{DISK_FREE_LEAST, MachineCaps, Policy, PolicyError};
use isos_net::{Endpoint, EndpointConfig, RelayAddr};
use isos_probe::{Probe, ProbeConfig};
use isos_sandbox::{Sandbox, SandboxConfig};
use servers::Servers;
use thiserror::Error;
use tokio::sync::watch;

pub use cloud::{CloudStatus, QueryError, QueryFound, QueryOrder, QueryRow};
pub use control::{AgentStatus, KeeperStatus, Order, ask, ask_cloud, ask_query};
pub use follow::PolicyStatus;
pub use key::KeyChange;
pub use resting::{Resting, resting};

/// What an agent is started with.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Its folder: key, ticket, policy, objects, compiled programs.
    pub home: PathBuf,
    /// Where the complex is and the right to join it; remembered in the home for later starts.
    pub ticket: Option<Ticket>,
    /// The text of the policy to use from now on; remembered in the home.
    pub policy: Option<String>,
    /// The owner's own file of it, if there may be one: what is changed there holds at once.
    pub policy_file: Option<PathBuf>,
    /// The owner's name for the machine, remembered in the home; without any, the machine's own.
    pub name: Option<String>,
    /// The two-letter country that the owner tells, remembered in the home; none tells none.
    pub country: Option<String>,
    /// How to start a sandboxed child: this program, with the arguments that make it one.
    pub child: (PathBuf, Vec<std::ffi::OsString>),
    /// A file that overrides sensors: how tests play the owner.
    pub sensors_file: Option<PathBuf>,
    /// A folder that stands for `/` where sensors are looked for: how tests play a machine.
    pub sensors_root: Option<PathBuf>,
    /// Whether to reach others directly; else through the relay alone.
    pub direct: bool,
    /// Whether to hold work by control groups where this user can have some.
    pub groups: bool,
    /// How often checkpoints of a task are kept and handed over.
    pub save_every: isos_base::Span,
    /// How often this host meets another one: all hosts of a complex must agree, so it differs from
    /// the usual in test worlds alone.
    pub gossip_cycle: isos_base::Span,
    /// Whether work runs beside all else on the machine, and not in the time that nobody wants: who
    /// started the world waits for it. Joins nothing but a test world.
    pub in_front_in_test_world: bool,
    /// Answer wrongly, to see that it is found out. Joins nothing but a test world.
    pub alter_results_in_test_world: bool,
}

impl AgentConfig {
    /// An agent in `home` that joins by `ticket`, with the policy that is there.
    #[must_use]
    pub fn new(
        home: PathBuf,
        ticket: Option<Ticket>,
        child: (PathBuf, Vec<std::ffi::OsString>),
    ) -> Self {
        Self {
            home,
            ticket,
            policy: None,
            policy_file: None,
            name: None,
            country: None,
            child,
            sensors_file: None,
            sensors_root: None,
            direct: true,
            groups: true,
            save_every: isos_base::Span::secs(60),
            gossip_cycle: isos_gossip::Tuning::default().cycle,
            in_front_in_test_world: false,
            alter_results_in_test_world: false,
        }
    }
}

/// Why an agent did not start.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The shelf.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// The policy's text.
    #[error("the policy cannot be used")]
    Policy(#[from] PolicyError),
    /// A file of the home that should be text.
    #[error("{} is not text in UTF-8: write it anew, or remove it", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// The system has a limit on names of sockets.
    #[error(
        "the path {} has {} bytes, a socket's name at most {}: choose a shorter folder with --home",
        path.display(),
        path.as_os_str().len(),
        control::SOCKET_BYTES_MAX
    )]
    LongPath {
        /// The socket's.
        path: PathBuf,
    },
    /// No ticket was ever given.
    #[error("this agent has never joined a complex: run `isos join TICKET`")]
    NoTicket,
    /// What was remembered is no ticket.
    #[error("the remembered ticket is damaged: run `isos join TICKET` again")]
    BadTicket(#[from] isos_base::ticket::TicketError),
    /// The ticket's time is over.
    #[error("the ticket expired at {0}: ask the operator for a new one (`isos ticket`)")]
    Expired(isos_base::Time),
    /// The place of a liar, and of one that is in its owner's way, is a test.
    #[error("an agent that is started for a test world joins no other")]
    NotATestWorld,
    /// The socket.
    #[error(transparent)]
    Endpoint(#[from] isos_net::BindError),
    /// Folders, sockets, threads.
    #[error("cannot {what}")]
    Io {
        /// What failed.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

const TICKET_FILE: &str = "ticket";
/// The policy that an agent goes by, in its home.
pub const POLICY_FILE: &str = "policy.toml";
const CHAMBERS_DIR: &str = "chambers";
/// Room for programs, inputs and outputs at the most, whatever the policy allows.
const SHELF_MAX: Bytes = Bytes::gib(64);
/// The part of the policy's disk that compiled programs may fill: one in so many.
const CODE_PART: u64 = 2;

/// Handshakes of callers from one address, where others may call at all.
const HANDSHAKES: Rate = Rate { per_second: 4, burst: 64 };

/// What the parts of a running agent share.
pub(crate) struct Shared {
    pub(crate) home: Arc<Home>,
    pub(crate) shelf: isos_disk::Shelf,
    pub(crate) sandbox: Sandbox,
    pub(crate) endpoint: Endpoint,
    pub(crate) complex: PublicKey,
    pub(crate) servers: Servers,
    pub(crate) objects: objects::Objects,
    /// The owner's policy; it may be changed while the agent runs.
    pub(crate) policy: watch::Sender<Policy>,
    /// The owner's own file of it, and what is wrong with that.
    pub(crate) policy_file: Option<PathBuf>,
    pub(crate) policy_trouble: follow::Trouble,
    pub(crate) traffic: Arc<traffic::Traffic>,
    pub(crate) keeper: Arc<keeper::Keeper>,
    pub(crate) cloud: cloud::Cloud,
    pub(crate) peers: Arc<peers::Peers>,
    pub(crate) tracer: trace::Tracer,
    pub(crate) alter_results: bool,
    /// Whether work runs beside all else.
    pub(crate) in_front: bool,
    pub(crate) saves: saves::Saves,
    pub(crate) save_every: isos_base::Span,
}

/// Why an agent came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Stopped,
    /// The complex will not have it, and has said so at the first contact.
    Refused(Refusal),
}

/// A running agent.
pub struct Agent {
    core: core::Core,
    shared: Arc<Shared>,
    end: watch::Receiver<Option<End>>,
}

impl Agent {
    /// Starts an agent. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// [`AgentError`]; nothing is left running then.
    pub async fn start(config: AgentConfig) -> Result<Self, AgentError> {
        let home = Arc::new(Home::open(&config.home)?);
        control::check_path(home.dir())?;
        let ticket = remembered_ticket(&home, config.ticket)?;
        let usual = isos_gossip::Tuning::default().cycle;
        let played = config.alter_results_in_test_world
            || config.in_front_in_test_world
            || config.gossip_cycle != usual;
        if played && !ticket.test_world {
            return Err(AgentError::NotATestWorld);
        }
        let policy = remembered::policy(&home, config.policy.as_deref())?;
        let name = remembered::name(&home, config.name)?;
        let country = remembered::country(&home, config.country)?;
        let said = remembered::said(&home, clock::now())?;
        let key = SecretKey::from_bytes(&home.key(key::KEY_FILE)?);
        let shelf_limits = ShelfLimits { quota: SHELF_MAX, free_floor: DISK_FREE_LEAST };
        let shelf = home.shelf(shelf_limits, Durability::Cache)?;
        let io = |what| move |source| AgentError::Io { what, source };
        let chambers = home.dir().join(CHAMBERS_DIR);
        // What an earlier run left of its inputs is of no use.
        if chambers.exists() {
            std::fs::remove_dir_all(&chambers).map_err(io("clear the folder of inputs"))?;
        }
        std::fs::create_dir_all(&chambers).map_err(io("make the folder of inputs"))?;
        let (exe, child_args) = config.child;
        let mut sandbox = SandboxConfig::new(exe, child_args, home.dir().join("compiled"));
        sandbox.groups = config.groups;
        sandbox.idle = !config.in_front_in_test_world;
        let sandbox = Sandbox::new(sandbox).map_err(io("prepare the sandbox"))?;
        let servers = Servers::remembered(&home, &ticket.servers);
        let mut relays = servers.relays().into_iter();
        let relay = relays.next().map(|url| RelayAddr { url, token: None });
        let endpoint = Endpoint::bind(EndpointConfig {
            relay,
            direct: config.direct,
            alpns: vec![
                FRAGMENT_ALPN.to_vec(),
                isos_gossip::wire::ALPN.to_vec(),
                PEERS_ALPN.to_vec(),
            ],
            handshakes: HANDSHAKES,
            ..EndpointConfig::new(key.clone())
        })
        .await?;
        for relay in relays {
            servers::add_relay(&endpoint, &relay).await;
        }
        let look =
            ProbeConfig { disk_path: home.dir().to_owned(), sensors_file: config.sensors_file };
        let probe = match &config.sensors_root {
            None => Probe::new(look),
            Some(root) => Probe::under(root, look),
        };
        let facts = probe.describe();
        let caps = MachineCaps {
            cpus: facts.cpus,
            memory: facts.memory.known().copied().unwrap_or(Bytes::ZERO),
            disk: facts.disk.known().copied().unwrap_or(Bytes::ZERO),
            parts: sandbox.holds_parts(),
        };
        let spec = HostSpec {
            name: name.unwrap_or(facts.hostname).chars().take(limits::NAME_CHARS_MAX).collect(),
            agent: env!("CARGO_PKG_VERSION").into(),
            os: facts.os.clone(),
            arch: facts.arch.clone(),
            cpus: caps.cpus,
            memory: caps.memory,
            disk: caps.disk,
            country,
            engine: Sandbox::engine().into(),
        };
        let spec = owner::at_best(&spec, &policy, &caps);
        let saves = saves::Saves::open(&home, &shelf);
        let traffic = Arc::new(traffic::Traffic::remembered(home.clone(), policy.network()));
        let door = door::Door::new(endpoint.clone());
        let keys = Keys::new(key.clone(), vec![ticket.complex]);
        let host = isos_base::HostId(key.public());
        let (cloud, means) = cloud::Cloud::new(host, keys, config.gossip_cycle, spec.cpus);
        let keeper =
            keeper::Keeper::new(home.clone(), key, ticket.complex, door.clone(), traffic.clone());
        let peers = peers::Peers::new(host, door.clone(), traffic.clone());
        let gossip = cloud::run(means, home.clone(), door.clone(), traffic.clone());
        let shared = Arc::new(Shared {
            shelf,
            sandbox,
            complex: ticket.complex,
            servers,
            objects: objects::Objects::new(endpoint.clone()),
            endpoint,
            traffic,
            keeper: Arc::new(keeper),
            cloud,
            peers: peers.clone(),
            home,
            policy: watch::channel(policy).0,
            policy_file: config.policy_file.clone(),
            policy_trouble: follow::Trouble::default(),
            tracer: trace::Tracer::default(),
            alter_results: config.alter_results_in_test_world,
            in_front: config.in_front_in_test_world,
            saves,
            save_every: config.save_every,
        });
        let seed = getrandom::u64().unwrap_or(0x15_05);
        let machine = Host::new(spec.clone(), Some(ticket.token), seed);
        let (core, end) = core::Core::start(machine, shared.clone(), said);
        tokio::spawn(keeper::run(shared.keeper.clone(), core.clone()));
        tokio::spawn(gossip);
        tokio::spawn(peers.accept());
        tokio::spawn(door.run());
        let followed = config.policy_file.map(follow::Followed::new);
        owner::watch(core.clone(), shared.clone(), (probe, caps), spec, followed);
        control::listen(core.clone(), shared.clone()).map_err(io("listen for the owner"))?;
        Ok(Self { core, shared, end })
    }

    /// The host's key.
    #[must_use]
    pub fn id(&self) -> isos_base::HostId {
        isos_base::HostId(self.shared.endpoint.public())
    }

    /// How it stands.
    pub async fn status(&self) -> Option<AgentStatus> {
        self.core.status().await
    }

    /// Waits until the agent has come to its end by itself, or has nothing to wait for: it was
    /// never welcome, and never will be.
    pub async fn ended(&mut self) -> End {
        let end = self.end.wait_for(Option::is_some).await;
        end.ok().and_then(|end| end.clone()).unwrap_or(End::Stopped)
    }

    /// What the policy allows, once it has been looked at for the first time. Nothing when the
    /// agent has come to its end.
    pub async fn first_offer(&self) -> Option<Offer> {
        let (mut looked, mut end) = (self.core.looked(), self.end.clone());
        tokio::select! {
            looked = looked.wait_for(|looked| *looked) => drop(looked.ok()?),
            _ = end.wait_for(Option::is_some) => return None,
        }
        self.core.status().await.map(|status| status.offer)
    }

    /// Gives everything back and stops.
    pub async fn stop(mut self) {
        /// The last frames have this long to leave.
        const GRACE: std::time::Duration = std::time::Duration::from_secs(3);
        self.core.stop().await;
        let stopped = self.end.wait_for(|end| *end == Some(End::Stopped));
        let _ = tokio::time::timeout(GRACE, stopped).await;
        self.shared.keeper.close();
        let _ = tokio::time::timeout(GRACE, self.shared.endpoint.close()).await;
        self.shared.traffic.close();
        self.shared.sandbox.close();
    }
}

fn remembered_ticket(home: &Home, given: Option<Ticket>) -> Result<Ticket, AgentError> {
    let ticket = match given {
        Some(ticket) => {
            if ticket.is_expired(clock::now()) {
                return Err(AgentError::Expired(ticket.expires));
            }
            home.write(TICKET_FILE, ticket.to_string().as_bytes())?;
            Servers::forget(home);
            ticket
        }
        None => {
            let text = home.read(TICKET_FILE)?.ok_or(AgentError::NoTicket)?;
            // A host that has joined is known by its key: an old ticket still says where to call.
            String::from_utf8_lossy(&text).parse()?
        }
    };
    Ok(ticket)
}
