//! Objects on other people's disks: put, get, look after, remove.
//!
//! ```text
//! files -> Writer (a thread) -> Put (machine) -> hosts     put
//! capability -> find -> locate -> Get (machine) -> files   get
//! ```
//!
//! What is stored is found by asking hosts, and nowhere else: the complex knows leases, not
//! objects. A host keeps a manifest as it keeps any fragment, under its hash, so whoever has a
//! capability asks hosts for that name and then for those of the fragments. Which hosts to ask is
//! known from the account's leases, and beyond them from the complex's sample of keepers.
//!
//! Not here: the pipeline and the machines (`isos-store`), and who remembers names
//! ([`catalogue`]).

mod asked;
pub mod catalogue;
mod error;
mod find;
mod get;
mod leases;
mod line;
mod look;
mod name;
mod part;
mod patience;
mod prove;
mod put;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use isos_base::api::ProblemCode;
use isos_base::key::SecretKey;
use isos_base::price::StoragePrice;
use isos_base::{Span, Time};
use isos_net::{Endpoint, EndpointConfig};
use isos_store::class::Class;
use isos_store::get::Past;
use isos_store::key::{Secret, StorageSecret};

pub use error::StoreError;
pub use get::{BlockingReader, GetProgress, Gotten, Opened, inside};
pub use leases::Planned;
pub use look::{Health, Mended, Removed, SegmentHealth};
pub use prove::{FailedProof, Proved};
pub use put::{Broken, Feeder, Fragments, PutFile, PutProgress, Stored};

use crate::client::Client;
use asked::Asked;
use line::Lines;

/// The context under which the key that holds storage leases follows from the storage secret.
const HOLDER: &str = "isos storage 1: holder of leases";
/// The context under which secrets for a use of its own follow from it.
const USE: &str = "isos storage 1: secrets for a use of its own";
/// How long leases last if nobody says.
pub const TERM_DEFAULT: Span = Span::secs(90 * 86_400);

/// How an object is to be put.
#[derive(Debug, Clone)]
pub struct PutOptions {
    /// How much redundancy.
    pub class: Class,
    /// How long the leases shall last at least.
    pub term: Span,
    /// The most for a GiB and month; the operator's price if not said.
    pub price_max: Option<StoragePrice>,
    /// How hard zstd tries.
    pub level: i32,
}

impl Default for PutOptions {
    fn default() -> Self {
        let (class, level) = (Class::default(), isos_store::seal::LEVEL_DEFAULT);
        Self { class, term: TERM_DEFAULT, price_max: None, level }
    }
}

/// A user's storage: a client of the complex that leases, the user's secrets, and connections to
/// hosts, which clones share.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    root: Secret,
    secret: StorageSecret,
    /// Holds the leases; also who calls the hosts.
    key: SecretKey,
    lines: Arc<Lines>,
    asked: Arc<Asked>,
    /// What gets have learnt of hosts.
    past: Arc<Mutex<Past>>,
    begun: (Time, Instant),
}

impl Store {
    /// The storage of whoever has `root`. `wall` is the time now.
    ///
    /// # Errors
    /// [`StoreError::Socket`].
    pub async fn open(client: Client, root: &Secret, wall: Time) -> Result<Self, StoreError> {
        let key = SecretKey::from_bytes(root.derive(HOLDER).bytes());
        let config = EndpointConfig::new(key.clone());
        let endpoint = Endpoint::bind(config).await.map_err(StoreError::Socket)?;
        let lines = Arc::new(Lines::new(endpoint));
        let (secret, root) = (StorageSecret::new(root), root.clone());
        let (asked, past, begun) = (Arc::default(), Arc::default(), (wall, Instant::now()));
        Ok(Self { client, root, secret, key, lines, asked, past, begun })
    }

    /// The user's secrets.
    #[must_use]
    pub const fn secret(&self) -> &StorageSecret {
        &self.secret
    }

    /// Secrets of this user for a use of its own, such as one repository of backups: what is stored
    /// under them shares no fragment with anything else, so that it can be removed by itself.
    #[must_use]
    pub fn secret_for(&self, what: &str) -> StorageSecret {
        StorageSecret::new(&self.root.derive(USE).keyed(what.as_bytes()))
    }

    /// Says goodbye to the hosts.
    pub async fn close(&self) {
        self.lines.close().await;
    }

    /// The wall clock as it was when the store was opened, and steady from there.
    fn now(&self) -> Time {
        self.begun.0 + Span::from_std(self.begun.1.elapsed())
    }

    /// Whether the complex said that this account has no right to leases: such a caller can still
    /// read.
    fn may_not_lease(error: &crate::ClientError) -> bool {
        matches!(error.problem(), Some(ProblemCode::Unauthorised | ProblemCode::Refused))
    }
}
