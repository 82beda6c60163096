//! Starting and stopping a server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use isos_base::api::{Problem, TicketReply};
use isos_base::capability::{self, Holder, Right, Terms};
use isos_base::key::{PublicKey, SecretKey};
use isos_base::ticket::{ServerAddr, Ticket};
use isos_base::{Bytes, Guid, MicroCredits, Span, Time};
use isos_db::Db;
use isos_disk::{Durability, Home, HomeError, Shelf, ShelfError, ShelfLimits};
use isos_kernel::complex::{BankConfig, Call, Complex, Config, KeyCall, Once, Reply, RestoreError};
use isos_net::Relay;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::auth::{MintError, Tokens};
use crate::clock;
use crate::collect;
use crate::core::{Books, Core, report};
use crate::door::Door;
use crate::front::{EarlierKey, Front, Kept, ServerPlace};
use crate::hosts::{self, Places};
use crate::http;
use crate::journal::{Journal, JournalConfig, JournalError};
use crate::limits::Limits;
use crate::meeting::Meeting;
use crate::member::read_servers;
use crate::metrics::Metrics;
use crate::objects::{Members, Store};
use crate::outbox::{self, Outbox};
use crate::rail::{self, RailError, RailSpec};
use crate::recount::{self, Recount};
use crate::statement::Heads;
use crate::stock::Stock;
use crate::trace::Traces;

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Its folder: key, database, objects.
    pub home: PathBuf,
    /// The database; without it, a file in the home.
    pub database: Option<String>,
    /// File of the complex's key, which all its servers have; without it, one in the home.
    pub complex_key: Option<PathBuf>,
    /// UDP address for hosts and clients.
    pub listen: SocketAddr,
    /// TCP address of the HTTP API. Loopback, unless something in front of it adds TLS.
    pub http: SocketAddr,
    /// TCP address of the relay, if there is to be one.
    pub relay: Option<SocketAddr>,
    /// Address under which others reach this machine, where it differs from what it listens on.
    pub public_address: Option<SocketAddr>,
    /// Credits that a new account starts with.
    pub welcome: MicroCredits,
    /// Folder of the objects; without it, one in the home. Servers of one complex share it.
    pub objects: Option<PathBuf>,
    /// Room for objects.
    pub objects_max: Bytes,
    /// How long the results of a job stay after its end; for ever, if not said.
    pub keep: Option<Span>,
    /// Where to write down what the machine is told and decides.
    pub journal: Option<JournalConfig>,
    /// What one address, account or host may take.
    pub limits: Limits,
    /// Ways for money out and in.
    pub rails: Vec<RailSpec>,
    /// The server's key before, as long as there are tickets that name it.
    pub earlier: Option<EarlierKey>,
    /// Whether this is a world of `isos tour`, `isos dev` or a test.
    pub test_world: bool,
    /// The kernel's settings.
    pub kernel: Config,
}

impl ServerConfig {
    /// A server on loopback with free ports, everything under `home`.
    #[must_use]
    pub fn local(home: PathBuf) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            home,
            database: None,
            complex_key: None,
            listen: any_port,
            http: any_port,
            relay: None,
            public_address: None,
            welcome: MicroCredits::ZERO,
            objects: None,
            objects_max: Bytes::gib(100),
            keep: None,
            journal: None,
            limits: Limits::default(),
            rails: Vec::new(),
            earlier: None,
            test_world: false,
            kernel: Config::default(),
        }
    }
}

/// Why a server did not start.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A database without the key of its complex.
    #[error(
        "{} is gone, and {} is there: put the key back from a backup. A new key would be another \
         complex, which no host, ticket or statement knows; to begin one, move the folder away",
        key.display(),
        database.display()
    )]
    KeyGone {
        /// Where it was.
        key: PathBuf,
        /// What is there.
        database: PathBuf,
    },
    /// A complex that has lost its database.
    #[error(
        "the database {} is gone or empty, and {} is there: put the database back from a backup. \
         An empty ledger under the old key would give old tickets the accounts of other people; to \
         begin a new complex, move the folder away, or give this server a new home",
        database,
        key.display()
    )]
    DatabaseGone {
        /// What shows that there was one.
        key: PathBuf,
        /// Where it was.
        database: String,
    },
    /// A key that lies in a file of its own.
    #[error("cannot use the key {}: {problem}", path.display())]
    ComplexKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The shelf of objects.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// The database did not open.
    #[error(transparent)]
    Database(#[from] isos_db::OpenError),
    /// The database could not be read.
    #[error(transparent)]
    Load(#[from] isos_db::ReadError),
    /// What the database holds makes no complex.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A rail.
    #[error(transparent)]
    Rail(#[from] RailError),
    /// The UDP socket.
    #[error(transparent)]
    Endpoint(#[from] isos_net::BindError),
    /// The relay.
    #[error(transparent)]
    Relay(#[from] isos_net::RelaySpawnError),
    /// The HTTP socket.
    #[error("cannot listen on http://{address}: is another program using the port?")]
    Http {
        /// The wanted address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The operator's account or token.
    #[error("cannot set up the operator's account: {0}")]
    Operator(String),
    /// A thread of the runtime is gone.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// Whose fault it is that a server did not start, where that can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// What it was started with makes no sense.
    Usage,
    /// Nobody answers where its database should be.
    Unreachable,
}

impl ServerError {
    /// Whose fault it is, where that can be told.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Database(isos_db::OpenError::Url { .. })
            | Self::Rail(RailError::Spec(..) | RailError::Twice(_)) => Some(Fault::Usage),
            Self::Database(error) if error.is_unreachable() => Some(Fault::Unreachable),
            _ => None,
        }
    }
}

/// What all parts of a running server share.
pub(crate) struct Shared {
    pub(crate) core: Core,
    pub(crate) db: Db,
    pub(crate) shelf: Shelf,
    pub(crate) store: Arc<Store>,
    pub(crate) admitted: Arc<Members>,
    pub(crate) places: Places,
    pub(crate) door: Arc<Door>,
    /// Places for objects on their way in.
    pub(crate) uploads: Semaphore,
    pub(crate) tokens: Tokens,
    pub(crate) heads: Heads,
    /// Whether the ledger was found as it was written.
    pub(crate) recount: Recount,
    pub(crate) outbox: Outbox,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) looks: http::Looks,
    pub(crate) reads: http::Reads,
    pub(crate) traces: Traces,
    pub(crate) meeting: Meeting,
    pub(crate) key: PublicKey,
    pub(crate) started: Time,
    pub(crate) http: SocketAddr,
    /// The servers of the complex, this one first.
    pub(crate) servers: watch::Receiver<Vec<ServerAddr>>,
    pub(crate) welcome: MicroCredits,
    pub(crate) keep: Option<Span>,
    pub(crate) test_world: bool,
    /// Ends event streams when the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Shared {
    /// Whether a token, or one that it was made from, was revoked; or the key is gone with which it
    /// was made.
    pub(crate) async fn is_revoked(&self, holder: &Holder) -> Result<bool, Problem> {
        let holder = holder.clone();
        self.core.query(move |complex, _| complex.is_taken_back(&holder)).await
    }

    /// A new token, once it is on the record that it was made, and by whom: the complex itself, if
    /// nobody is named.
    pub(crate) async fn make_token(
        &self,
        by: Option<&Holder>,
        terms: &Terms<'_>,
        once: Option<Once>,
    ) -> Result<Vec<u8>, Problem> {
        let fail = |error: &dyn std::error::Error| http::internal(&report(error));
        let token = self.tokens.issue(terms).map_err(|error: MintError| fail(&error))?;
        let blocks = capability::blocks(&token).map_err(|error| fail(&error))?;
        let id = blocks.first().map(|block| block.id.clone()).unwrap_or_default();
        let Terms { account, rights, expires, .. } = *terms;
        let rights = rights.to_vec();
        let call = Call::Keys(KeyCall::MakeToken { account, id, rights, expires, once });
        self.core.call(call.by(by)).await?;
        Ok(token)
    }
}

/// A running server.
pub struct Server {
    pub(crate) shared: Arc<Shared>,
    kept: Kept,
    relay: Option<Relay>,
    operator_token: Vec<u8>,
    failed: mpsc::Receiver<String>,
    stop: watch::Sender<bool>,
    /// Other processes keep off for as long as this one runs.
    _home: Arc<Home>,
}

/// Why a server stopped by itself.
#[derive(Debug, Error)]
#[error("the database failed, nothing is acknowledged any more: {0}")]
pub struct Stopped(String);

impl From<Problem> for Stopped {
    fn from(problem: Problem) -> Self {
        Self(problem.message)
    }
}

/// The addresses of a running server, for those who started it.
#[derive(Debug, Clone)]
pub struct OpenServer {
    /// Key of the complex.
    pub key: PublicKey,
    /// Base of the HTTP API.
    pub api: String,
    /// Where hosts and clients reach it.
    pub addr: ServerAddr,
    /// The operator's token.
    pub operator_token: Vec<u8>,
}

/// The operator's token of a home lasts this long; every start makes a new one.
const OPERATOR_TOKEN_FOR: Span = Span::secs(365 * 86_400);
/// How often a leader looks which other servers there are.
const SERVERS_EVERY: Duration = Duration::from_secs(5);
/// The account of whoever runs the complex.
const OPERATOR: &str = "operator";

impl Server {
    /// Starts a server; it answers when this returns. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is left running then.
    pub async fn start(config: ServerConfig) -> Result<Self, ServerError> {
        let place = ServerPlace::open(&config).await?;
        let complex = place.complex.public().to_string();
        let db = Db::open_of(&place.database, &complex).await?;
        let front = Front::bind(&config, &place, None).await?;
        Self::lead(&config, &place, db, front).await
    }

    /// Leads the complex: the database is this server's.
    pub(crate) async fn lead(
        config: &ServerConfig,
        place: &ServerPlace,
        db: Db,
        front: Front,
    ) -> Result<Self, ServerError> {
        let limits = ShelfLimits { quota: config.objects_max, free_floor: Bytes::mib(256) };
        let shelf = match &config.objects {
            Some(dir) => Shelf::open(dir, limits, Durability::Fsync)?,
            None => place.home.shelf(limits, Durability::Fsync)?,
        };
        let started = clock::now();
        // Another one at each start: a journal has it, and tells nothing of what comes after.
        let check_secret = check_secret(&place.complex, started);
        let rails = rail::open(&config.rails)?;
        let terms = rails.iter().map(|rail| rail.terms.clone()).collect();
        let bank = BankConfig { rails: terms, ..config.kernel.bank.clone() };
        let kernel = Config { check_secret, bank, ..config.kernel.clone() };
        let mut effects = Vec::new();
        let snapshot = db.load().await?;
        let begun = recount::Begun::of(&snapshot);
        let journal = match &config.journal {
            Some(to) => Some(Journal::begin(to, &kernel, started, &snapshot)?),
            None => None,
        };
        let traces = Traces::after(snapshot.last_lease, &snapshot.jobs);
        let machine = Complex::restore(kernel, started, snapshot, &mut effects)?;
        let Front { kept, listener, http, relay, doorman, addr } = front;
        let admitted = Arc::new(Members::default());
        let (failure, failed) = mpsc::channel(1);
        let (stop, stopping) = watch::channel(false);
        let metrics = Arc::<Metrics>::default();
        let books = Books {
            writer: db.writer(),
            journal,
            metrics: metrics.clone(),
            traces: traces.clone(),
        };
        let core = Core::start(machine, effects, books, failure.clone());
        let store = Arc::new(Store {
            shelf: shelf.clone(),
            members: admitted.clone(),
            stock: Stock::new(config.limits.account_shelf),
            unclaimed: Arc::default(),
            core: core.clone(),
        });
        let (servers, known) = watch::channel(vec![addr]);
        doorman.lead(core.clone(), known.clone());
        let shared = Arc::new(Shared {
            core,
            db,
            store,
            shelf,
            admitted,
            places: Places::default(),
            door: Arc::new(Door::new(config.limits.clone())),
            uploads: Semaphore::new(http::UPLOADS_MAX),
            key: place.complex.public(),
            tokens: Tokens::new(place.complex.clone()),
            heads: Heads::default(),
            recount: Recount::default(),
            outbox: Outbox::new(rails, place.complex.public()),
            metrics,
            looks: http::Looks::default(),
            reads: http::Reads::default(),
            traces,
            meeting: Meeting::new(place.complex.clone()),
            started,
            http,
            servers: known,
            welcome: config.welcome,
            keep: config.keep,
            test_world: config.test_world,
            stopping,
        });
        let operator_token = operator_token(&shared, place.server.public(), config).await?;
        if shared.db.epoch().is_some() {
            tokio::spawn(know_servers(shared.clone(), servers));
        }
        // An idle server hears here that it must stop.
        let (stopped, also) = (shared.db.writer().stopped(), failure);
        tokio::spawn(async move {
            let _ = also.send(report(&*stopped.await)).await;
        });
        for endpoint in kept.all() {
            tokio::spawn(hosts::accept(shared.clone(), endpoint.clone()));
        }
        tokio::spawn(http::serve_tcp(shared.clone(), listener));
        tokio::spawn(collect::run(shared.clone()));
        tokio::spawn(recount::run(shared.clone(), begun));
        outbox::start(&shared);
        Ok(Self { shared, kept, relay, operator_token, failed, stop, _home: place.home.clone() })
    }

    /// Its addresses, and the operator's token.
    #[must_use]
    pub fn open(&self) -> OpenServer {
        OpenServer {
            key: self.shared.key,
            api: format!("http://{}", self.shared.http),
            addr: self.shared.servers.borrow()[0].clone(),
            operator_token: self.operator_token.clone(),
        }
    }

    /// A ticket for the account of this name, which is made if there is none.
    ///
    /// # Errors
    /// The account's name is no name, or the server is stopping.
    pub async fn ticket(
        &self,
        account: &str,
        rights: &[Right],
        valid: Span,
    ) -> Result<TicketReply, Problem> {
        let wanted = Wanted { account, rights, valid, by: None };
        make_ticket(&self.shared, wanted).await
    }

    /// Waits until the server must stop by itself, which it does not do in good order.
    pub async fn failed(&mut self) -> Stopped {
        let why = self.failed.recv().await;
        Stopped(why.unwrap_or_else(|| "the core ended".into()))
    }

    /// Stops: connections are closed, what was acknowledged is on the disk.
    pub async fn stop(self) {
        self.leave().await.close().await;
    }

    /// Stops, and gives back where it was called, for its next part.
    pub async fn leave(self) -> Kept {
        let _ = self.stop.send(true);
        if let Some(relay) = self.relay {
            relay.close().await;
        }
        if let Err(error) = self.shared.db.close().await {
            tracing::error!("closing the database: {}", report(&error));
        }
        self.kept
    }
}

/// Keeps up with the other servers of the complex, until this one stops.
async fn know_servers(shared: Arc<Shared>, known: watch::Sender<Vec<ServerAddr>>) {
    let mut stopping = shared.stopping.clone();
    loop {
        match shared.db.servers().await {
            Ok(told) => {
                let here = known.borrow()[0].clone();
                let others = read_servers(&told).into_iter().filter(|other| other.key != here.key);
                let servers: Vec<_> = std::iter::once(here.clone()).chain(others).collect();
                known.send_if_modified(|known| {
                    let news = *known != servers;
                    *known = servers;
                    news
                });
            }
            Err(error) => tracing::debug!("the servers are not known: {}", report(&error)),
        }
        tokio::select! {
            () = tokio::time::sleep(SERVERS_EVERY) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

async fn operator_token(
    shared: &Shared,
    server: PublicKey,
    config: &ServerConfig,
) -> Result<Vec<u8>, ServerError> {
    let fail = |error: &dyn std::error::Error| ServerError::Operator(report(error));
    let call = Call::Lead { server, settings: settings(config) };
    shared.core.call(call).await.map_err(|error| fail(&error))?;
    let call = Call::OpenAccount { name: OPERATOR.into(), welcome: shared.welcome };
    let reply = shared.core.call(call).await.map_err(|error| fail(&error))?;
    let Reply::Account(account) = reply else {
        return Err(ServerError::Operator("the kernel gave another reply".into()));
    };
    let issued = clock::now();
    let expires = issued + OPERATOR_TOKEN_FOR;
    let terms = Terms { account, rights: &Right::ALL, issued, expires, key: None };
    shared.make_token(None, &terms, None).await.map_err(|error| fail(&error))
}

/// What of the settings moves money or rights.
fn settings(config: &ServerConfig) -> String {
    let kernel = &config.kernel;
    format!(
        "price {} micro-credits per G, storage {} for a GiB and month, fee {} and demurrage {} \
         basis points, welcome {}, recovery after {}, keepers given up \
         after {}, at most {} jobs and {} hosts an account, {} of work \
         assumed bad, pay held for {} checks or {}",
        kernel.price.0,
        kernel.storage_price.0,
        kernel.fee_bps,
        kernel.demurrage_bps,
        config.welcome,
        kernel.recovery_delay,
        kernel.mend_after,
        kernel.account_jobs_max,
        kernel.account_hosts_max,
        kernel.bad_share,
        kernel.mature_checks,
        kernel.mature_after,
    )
}

/// A new ticket.
pub(crate) struct Wanted<'a> {
    /// The name of the account, which is made if there is none.
    pub(crate) account: &'a str,
    /// What it allows.
    pub(crate) rights: &'a [Right],
    /// For how long.
    pub(crate) valid: Span,
    /// Who wants it: if by a key, the ticket is void without that. The complex itself, if nobody.
    pub(crate) by: Option<&'a Holder>,
}

/// A ticket to this complex for an account.
pub(crate) async fn make_ticket(
    shared: &Shared,
    wanted: Wanted<'_>,
) -> Result<TicketReply, Problem> {
    let Wanted { account, rights, valid, by } = wanted;
    let call = Call::OpenAccount { name: account.into(), welcome: shared.welcome };
    let Reply::Account(account) = shared.core.call(call.by(by)).await? else {
        return Err(http::internal("the kernel gave another reply"));
    };
    let issued = clock::now();
    let expires = issued + valid;
    let key = by.and_then(|by| by.key);
    let terms = Terms { account, rights, issued, expires, key };
    let token = shared.make_token(by, &terms, None).await?;
    let ticket = Ticket {
        complex: shared.key,
        servers: shared.servers.borrow().clone(),
        token,
        expires,
        test_world: shared.test_world,
    };
    Ok(TicketReply { ticket: ticket.to_string(), account, expires })
}

/// What decides which results are checked; only who has the complex's key can reckon it.
fn check_secret(complex: &SecretKey, started: Time) -> Guid {
    let mut about = b"which results are checked".to_vec();
    about.extend(complex.to_bytes());
    about.extend(started.0.to_le_bytes());
    Guid::of(&about)
}
