//! What a server has before it leads or follows: its folder and keys, its sockets.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use isos_base::key::SecretKey;
use isos_base::ticket::ServerAddr;
use isos_base::wire::{API_ALPN, HOST_ALPN, OBJECT_ALPN};
use isos_db::Db;
use isos_disk::Home;
use isos_net::{Endpoint, EndpointConfig, Relay, RelayAddr};
use tokio::net::TcpListener;

use crate::doorman::Doorman;
use crate::limits::rate;
use crate::server::{ServerConfig, ServerError};

/// The complex's key: its tokens are signed with it. Servers of one complex have the same.
const COMPLEX_KEY: &str = "complex.key";
/// The database of a server that is given no other.
const DATABASE: &str = "complex.db";
/// The server's own key: whoever dials it asks for this one.
const SERVER_KEY: &str = "server.key";

/// A key by which this server was called before, and where: tickets and hosts that know no other
/// find it there.
#[derive(Debug, Clone)]
pub struct EarlierKey {
    /// The file of the key.
    pub file: PathBuf,
    /// The UDP address that tickets name with it.
    pub listen: SocketAddr,
}

/// The folder of a server, and what is read from it once.
pub(crate) struct ServerPlace {
    pub(crate) home: Arc<Home>,
    pub(crate) complex: SecretKey,
    pub(crate) server: SecretKey,
    /// Its key before, if it answers to that too.
    pub(crate) earlier: Option<SecretKey>,
    /// The database's URL, or its file.
    pub(crate) database: String,
}

impl ServerPlace {
    pub(crate) async fn open(config: &ServerConfig) -> Result<Self, ServerError> {
        let dir = config.home.clone();
        let home = tokio::task::spawn_blocking(move || Home::open(&dir))
            .await
            .map_err(|error| ServerError::Thread(std::io::Error::other(error)))??;
        let file = || home.dir().join(DATABASE).to_string_lossy().into_owned();
        let database = config.database.clone().unwrap_or_else(file);
        // A first start makes both keys and then the database: who has a key has started before.
        let keys = [COMPLEX_KEY, SERVER_KEY].map(|key| home.dir().join(key));
        if let Some(key) = keys.into_iter().find(|key| key.exists())
            && Db::is_missing(&database)
        {
            return Err(ServerError::DatabaseGone { key, database });
        }
        let complex = match &config.complex_key {
            Some(path) => read_key(path)?,
            None => {
                let (key, database) = (home.dir().join(COMPLEX_KEY), home.dir().join(DATABASE));
                // Nobody would know the complex by another key.
                if database.exists() && !key.exists() {
                    return Err(ServerError::KeyGone { key, database });
                }
                SecretKey::from_bytes(&home.key(COMPLEX_KEY)?)
            }
        };
        let server = SecretKey::from_bytes(&home.key(SERVER_KEY)?);
        let earlier = config.earlier.as_ref().map(|earlier| read_key(&earlier.file)).transpose()?;
        Ok(Self { home: Arc::new(home), complex, server, earlier, database })
    }
}

/// A secret that lies elsewhere, as closed to others as one in a home.
fn read_key(path: &Path) -> Result<SecretKey, ServerError> {
    let bad = |problem: String| ServerError::ComplexKey { path: path.to_owned(), problem };
    let mode = path.metadata().map_err(|error| bad(error.to_string()))?.mode();
    if mode & 0o077 != 0 {
        return Err(bad("others can read it: run chmod 600 on it".into()));
    }
    let bytes = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|bytes| {
        bad(format!("it has {} bytes instead of 32: is it the right file?", bytes.len()))
    })?;
    Ok(SecretKey::from_bytes(&bytes))
}

/// What stays open when a server goes over from leading to following or back: the transport waits
/// for its connections to end before it gives a port back, and by a clock that was stopped that
/// takes minutes.
#[derive(Debug, Clone)]
pub struct Kept {
    pub(crate) endpoint: Endpoint,
    /// Where its key before is answered for.
    earlier: Option<Endpoint>,
}

impl Kept {
    async fn bind(
        config: &ServerConfig,
        place: &ServerPlace,
        relay: Option<&str>,
    ) -> Result<Self, ServerError> {
        let as_key = |key: &SecretKey, listen| EndpointConfig {
            bind: Some(listen),
            alpns: vec![HOST_ALPN.into(), OBJECT_ALPN.into(), API_ALPN.into()],
            relay: relay.map(|url| RelayAddr { url: url.to_owned(), token: None }),
            handshakes: rate(config.limits.address_handshakes),
            ..EndpointConfig::new(key.clone())
        };
        let endpoint = Endpoint::bind(as_key(&place.server, config.listen)).await?;
        let earlier = match (&place.earlier, &config.earlier) {
            (Some(key), Some(EarlierKey { listen, .. })) => {
                Some(Endpoint::bind(as_key(key, *listen)).await?)
            }
            _ => None,
        };
        Ok(Self { endpoint, earlier })
    }

    /// All that it can be called by.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Endpoint> {
        self.earlier.iter().chain([&self.endpoint])
    }

    /// Closes all connections.
    pub(crate) async fn close(self) {
        self.endpoint.close().await;
        if let Some(earlier) = self.earlier {
            earlier.close().await;
        }
    }
}

/// The sockets of a server.
pub(crate) struct Front {
    pub(crate) kept: Kept,
    pub(crate) listener: TcpListener,
    pub(crate) http: SocketAddr,
    pub(crate) relay: Option<Relay>,
    /// Who knows whom the relay is for.
    pub(crate) doorman: Arc<Doorman>,
    /// Where it is to be reached.
    pub(crate) addr: ServerAddr,
}

impl Front {
    pub(crate) async fn bind(
        config: &ServerConfig,
        place: &ServerPlace,
        kept: Option<&Kept>,
    ) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Http { address: config.http, source };
        let listener = TcpListener::bind(config.http).await.map_err(failed)?;
        let http = listener.local_addr().map_err(failed)?;
        let doorman = Arc::new(Doorman::new(place.server.public()));
        let relay = match config.relay {
            Some(address) => Some(Relay::spawn(address, doorman.admission()).await?),
            None => None,
        };
        let relay_url = relay.as_ref().map(|relay| match config.public_address {
            Some(public) => relay.url_at(public.ip()),
            None => relay.url(),
        });
        let kept = match kept {
            Some(kept) => kept.clone(),
            None => Kept::bind(config, place, relay_url.as_deref()).await?,
        };
        let mut addresses: Vec<SocketAddr> = config.public_address.into_iter().collect();
        addresses.extend(kept.endpoint.addresses());
        let addr = ServerAddr { key: place.server.public(), addresses, relay: relay_url };
        Ok(Self { kept, listener, http, relay, doorman, addr })
    }

    /// The same sockets for another time: free ports become those that were found.
    pub(crate) fn settle(&self, config: &mut ServerConfig) {
        config.http = self.http;
        if let Some(bound) = self.kept.endpoint.bound().first() {
            config.listen.set_port(bound.port());
        }
        if let (Some(relay), Some(address)) = (&self.relay, &mut config.relay) {
            address.set_port(relay.address().port());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::Server;
    use crate::server::Fault;

    async fn start(home: &Path) -> Result<(), ServerError> {
        let server = Server::start(ServerConfig::local(home.to_owned())).await?;
        server.stop().await;
        Ok(())
    }

    #[tokio::test]
    async fn a_home_that_lost_its_key_or_its_database_is_not_begun_anew() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        start(home.path()).await.unwrap();
        start(home.path()).await.unwrap();
        let kept = [COMPLEX_KEY, DATABASE].map(|name| (name, fs::read(at(name)).unwrap()));

        fs::write(at(DATABASE), "").unwrap();
        let empty = start(home.path()).await.unwrap_err();
        fs::remove_file(at(DATABASE)).unwrap();
        let gone = start(home.path()).await.unwrap_err();
        for error in [empty, gone] {
            assert!(matches!(error, ServerError::DatabaseGone { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains("complex.db is gone or empty"), "{text}");
            assert!(text.contains("put the database back from a backup"), "{text}");
        }
        assert!(!at(DATABASE).exists(), "none was made");
        for (name, bytes) in &kept {
            fs::write(at(name), bytes).unwrap();
        }
        start(home.path()).await.unwrap();

        fs::write(at(COMPLEX_KEY), [7; 32]).unwrap();
        let other = start(home.path()).await.unwrap_err();
        assert!(other.to_string().contains("belongs to the complex"), "{other}");
        assert_ne!(other.fault(), Some(Fault::Unreachable));
        fs::remove_file(at(COMPLEX_KEY)).unwrap();
        assert!(matches!(start(home.path()).await, Err(ServerError::KeyGone { .. })));
        fs::write(at(COMPLEX_KEY), &kept[0].1).unwrap();
        fs::set_permissions(at(COMPLEX_KEY), fs::Permissions::from_mode(0o600)).unwrap();
        start(home.path()).await.unwrap();
    }
}
