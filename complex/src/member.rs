//! A server as one of many over one database: it leads, or follows the one that leads, and changes
//! from one to the other whenever the database says so.
//!
//! Whoever was connected spoke with another part, and comes back to the new one, on the same ports.

use std::time::Duration;

use isos_base::ticket::ServerAddr;
use isos_db::{Candidate, Db, Follower, Leader, Standing, Turn};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::core::report;
use crate::follow::{Following, Servers};
use crate::front::{Front, Kept, ServerPlace};
use crate::server::{Server, ServerConfig, ServerError, Stopped};

/// A server that has led and lost its database asks again so often.
const RETRY: Duration = Duration::from_secs(2);

/// Sockets of ours are free again within this time.
const FREE_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks whether they are.
const FREE_PAUSE: Duration = Duration::from_millis(20);

/// A server of a complex, whatever its part is.
pub struct Member {
    config: ServerConfig,
    place: ServerPlace,
    /// What others tell of this server.
    candidate: Candidate,
    /// Whether other servers may have the database open too.
    is_shared: bool,
    /// Whether it has led or followed.
    has_served: bool,
    /// The sockets of the first part.
    front: Option<Front>,
    /// Where the part before was called, and the next one will be.
    kept: Option<Kept>,
    /// What the database said last.
    standing: Option<Standing>,
}

/// What a server does at the moment.
pub enum Part {
    /// It leads: the whole complex is its.
    Leads(Box<Server>),
    /// It answers for another.
    Follows(Box<Follows>),
}

/// A server that follows, until it is its turn.
pub struct Follows {
    following: Following,
    follower: Follower,
    servers: watch::Sender<Servers>,
    here: ServerAddr,
}

/// The database of a server that has waited for it.
pub struct Turned(Db);

impl Member {
    /// Opens the folder and asks the database who leads. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// [`ServerError`]: what a person has to mend.
    pub async fn open(mut config: ServerConfig) -> Result<Self, ServerError> {
        let place = ServerPlace::open(&config).await?;
        // The ports stay as they are from now on: others are told of them.
        let front = Front::bind(&config, &place, None).await?;
        front.settle(&mut config);
        let candidate = candidate(&place, &front.addr);
        let standing = Db::stand(&place.database, &candidate).await?;
        let is_shared = match &standing {
            Standing::Leads(db) => db.epoch().is_some(),
            Standing::Follows(_) => true,
        };
        let (front, standing) = (Some(front), Some(standing));
        Ok(Self {
            config,
            place,
            candidate,
            is_shared,
            has_served: false,
            front,
            kept: None,
            standing,
        })
    }

    /// Takes up the part that falls to this server now; it answers when this returns.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn take_part(&mut self) -> Result<Part, ServerError> {
        loop {
            let error = match self.try_part().await {
                Ok(part) => {
                    self.has_served = true;
                    return Ok(part);
                }
                Err(error) => error,
            };
            // At the first start a person is there to mend it; later, others may lead meanwhile.
            let is_database = matches!(
                error,
                ServerError::Database(_) | ServerError::Load(_) | ServerError::Operator(_)
            );
            if !self.has_served || !is_database || !self.is_shared {
                return Err(error);
            }
            tracing::warn!("cannot take part yet: {}", report(&error));
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn try_part(&mut self) -> Result<Part, ServerError> {
        let front = match self.front.take() {
            Some(front) => front,
            None => self.bind_again().await?,
        };
        let standing = match self.standing.take() {
            Some(standing) => standing,
            None => Db::stand(&self.place.database, &self.candidate).await?,
        };
        match standing {
            Standing::Leads(db) => {
                let server = Server::lead(&self.config, &self.place, db, front).await?;
                Ok(Part::Leads(Box::new(server)))
            }
            Standing::Follows(follower) => {
                let here = front.addr.clone();
                let others = vec![here.clone()];
                let servers = watch::Sender::new(servers(&follower.leader(), others, &here));
                let following = Following::start(front, &self.config.limits, servers.subscribe());
                Ok(Part::Follows(Box::new(Follows { following, follower, servers, here })))
            }
        }
    }

    /// The sockets of the part before are free when the last of its connections has ended.
    async fn bind_again(&self) -> Result<Front, ServerError> {
        let until = Instant::now() + FREE_WITHIN;
        loop {
            match Front::bind(&self.config, &self.place, self.kept.as_ref()).await {
                Ok(front) => return Ok(front),
                Err(error) if Instant::now() > until => return Err(error),
                Err(error) => tracing::debug!("not free yet: {}", report(&error)),
            }
            tokio::time::sleep(FREE_PAUSE).await;
        }
    }

    /// After a leader has stopped by itself: waits until the database can be asked again, if
    /// another server may lead meanwhile. A database in a file gives the reason back: it is for a
    /// person.
    ///
    /// # Errors
    /// The reason.
    pub async fn after(&mut self, stopped: Stopped, kept: Kept) -> Result<(), Stopped> {
        if !self.is_shared {
            kept.close().await;
            return Err(stopped);
        }
        self.kept = Some(kept);
        tracing::warn!("this server does not lead any more: {stopped}");
        loop {
            // Also at first: a fault that lasts must not go round at once.
            tokio::time::sleep(RETRY).await;
            match Db::stand(&self.place.database, &self.candidate).await {
                Ok(standing) => {
                    self.standing = Some(standing);
                    return Ok(());
                }
                Err(error) => tracing::warn!("cannot go on yet: {}", report(&error)),
            }
        }
    }

    /// After a follower's turn has come: what it is now.
    pub fn turned(&mut self, Turned(db): Turned, kept: Kept) {
        self.kept = Some(kept);
        self.standing = Some(Standing::Leads(db));
    }

    /// Closes what is open between two parts.
    pub async fn close(self) {
        if let Some(kept) = self.kept {
            kept.close().await;
        }
    }
}

impl Follows {
    /// Base of its HTTP API.
    #[must_use]
    pub fn api(&self) -> String {
        self.following.api()
    }

    /// The key of the server that leads, as text.
    #[must_use]
    pub fn leader(&self) -> String {
        self.follower.leader().server
    }

    /// Answers for whoever leads until it is this server's turn, then stops answering and gives
    /// the database.
    ///
    /// # Errors
    /// [`ServerError`] if waiting does not help.
    pub async fn turn(&mut self) -> Result<Turned, ServerError> {
        let mut trouble = self.follower.trouble();
        let said = async {
            while trouble.changed().await.is_ok() {
                let error = trouble.borrow_and_update().clone();
                match error {
                    Some(error) => tracing::warn!("{}", report(&*error)),
                    None => tracing::info!("the database answers again"),
                }
            }
            std::future::pending::<()>().await;
        };
        let turn = async {
            loop {
                match self.follower.wait().await? {
                    Turn::Leads(db) => return Ok(Turned(db)),
                    Turn::Follows(leader) => {
                        tracing::info!(server = leader.server, "another server leads");
                        let others = read_servers(&self.follower.servers().await);
                        self.servers.send_replace(servers(&leader, others, &self.here));
                    }
                }
            }
        };
        tokio::select! {
            turn = turn => turn,
            () = said => unreachable!("it never ends"),
        }
    }

    /// Stops answering.
    pub async fn stop(self) {
        self.following.stop().await;
    }

    /// Stops answering, and gives back where it was called, for its next part.
    pub async fn leave(self) -> Kept {
        self.following.leave().await
    }
}

/// What the database is told of this server.
fn candidate(place: &ServerPlace, addr: &ServerAddr) -> Candidate {
    let told = serde_json::to_string(addr).expect("an address is plain data");
    let (complex, server) = (place.complex.public().to_string(), addr.key.to_string());
    Candidate { complex, server, told }
}

/// Servers from what the database says of them; what cannot be read is of a later program.
pub(crate) fn read_servers(told: &[String]) -> Vec<ServerAddr> {
    told.iter().filter_map(|told| serde_json::from_str(told).ok()).collect()
}

/// What the database says of the leader and the others.
fn servers(leader: &Leader, others: Vec<ServerAddr>, here: &ServerAddr) -> Servers {
    let addr = serde_json::from_str::<ServerAddr>(&leader.told);
    if let Err(error) = &addr {
        tracing::warn!("what is told of the leading server cannot be read: {error}");
    }
    // Its lease has run out when it is our own: nobody leads then.
    let leader = addr.ok().filter(|leader| leader.key != here.key);
    Servers { leader, others }
}
