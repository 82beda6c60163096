//! Objects from and to the complex, over a connection that lives as long as the session.

use std::fmt::Display;

use isos_base::causes::report;
use isos_base::limits::FILE_LIST_BYTES_MAX;
use isos_base::wire::OBJECT_ALPN;
use isos_base::{Bytes, Guid};
use isos_disk::Shelf;
use isos_kernel::host::SessionId;
use isos_net::{Connection, Endpoint, GetError, PeerAddr, PutError};
use tokio::sync::{Mutex, watch};

use crate::traffic::{Traffic, Way};

/// Why an object was not moved.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The connection was lost, or there was none: another one may do.
    Lost(String),
    /// It cannot be had, or the complex does not take it.
    Final(String),
}

/// What is wrong on this side, or is the complex's word.
fn lasting(error: impl Display) -> Trouble {
    Trouble::Final(error.to_string())
}

fn of_get(error: &GetError) -> Trouble {
    let why = report(error);
    match error {
        GetError::Open { .. }
        | GetError::Ask { .. }
        | GetError::Answer { .. }
        | GetError::Stalled { .. }
        | GetError::Lost { .. } => Trouble::Lost(why),
        _ => Trouble::Final(why),
    }
}

fn of_put(error: &PutError) -> Trouble {
    let why = report(error);
    match error {
        PutError::Refused { .. } | PutError::Source { .. } => Trouble::Final(why),
        _ => Trouble::Lost(why),
    }
}

/// The way to the complex's objects.
pub(crate) struct Objects {
    endpoint: Endpoint,
    connection: Mutex<Option<Connection>>,
    /// The session, if there is one, and with whom: nobody else gives and takes objects.
    session: watch::Sender<Option<(SessionId, PeerAddr)>>,
}

impl Objects {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        let session = watch::channel(None).0;
        Self { endpoint, connection: Mutex::new(None), session }
    }

    pub(crate) fn session_began(&self, session: SessionId, server: PeerAddr) {
        self.session.send_if_modified(|current| {
            let is_newer = current.as_ref().is_none_or(|(current, _)| *current < session);
            if is_newer {
                *current = Some((session, server));
            }
            is_newer
        });
    }

    /// An old session may come to its end after a new one has begun.
    pub(crate) fn session_ended(&self, session: SessionId) {
        self.session.send_if_modified(|current| {
            let is_current = current.as_ref().is_some_and(|(current, _)| *current == session);
            if is_current {
                *current = None;
            }
            is_current
        });
    }

    async fn connection(&self) -> Result<Connection, Trouble> {
        let mut session = self.session.subscribe();
        let server = match session.wait_for(Option::is_some).await.as_deref() {
            Ok(Some((_, server))) => server.clone(),
            _ => return Err(Trouble::Lost("the agent is stopping".into())),
        };
        let mut held = self.connection.lock().await;
        let good = |held: &&Connection| held.remote() == server.key && held.is_closed().is_none();
        if let Some(connection) = held.as_ref().filter(good) {
            return Ok(connection.clone());
        }
        let connection = self.endpoint.connect(&server, OBJECT_ALPN).await;
        let connection = connection.map_err(|error| Trouble::Lost(report(&error)))?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    /// Brings an object to the shelf, if it is not there. Waits while there is no session.
    pub(crate) async fn fetch(
        &self,
        shelf: &Shelf,
        traffic: &Traffic,
        guid: Guid,
        size: Bytes,
    ) -> Result<(), Trouble> {
        if shelf.contains(&guid) {
            return Ok(());
        }
        let aside = traffic.set_aside(size).await.map_err(Trouble::Final)?;
        let connection = self.connection().await?;
        // What was used longest ago goes, if it must; pinned objects stay.
        shelf.make_room(size).map_err(lasting)?;
        let mut writer = shelf.writer(guid, size).map_err(lasting)?;
        let sink = aside.carry(Way::Down, &mut writer);
        let got = isos_net::get_object(&connection, guid, size.0, sink).await;
        got.map_err(|error| of_get(&error))?;
        let finished = tokio::task::spawn_blocking(move || writer.finish()).await;
        match finished {
            Ok(Ok(_)) => Ok(()),
            // Two fetches of one object may race; either's bytes are right.
            Ok(Err(error)) if !shelf.contains(&guid) => Err(lasting(error)),
            Ok(Err(_)) => Ok(()),
            Err(error) => Err(lasting(error)),
        }
    }

    /// The bytes of an object whose length is not known before, through memory.
    pub(crate) async fn fetch_small(
        &self,
        shelf: &Shelf,
        traffic: &Traffic,
        guid: Guid,
    ) -> Result<Vec<u8>, Trouble> {
        if !shelf.contains(&guid) {
            // As much as it could be, or as a cap leaves: what is not moved is given back.
            let max = traffic.most(FILE_LIST_BYTES_MAX);
            let aside = traffic.set_aside(max).await.map_err(Trouble::Final)?;
            let connection = self.connection().await?;
            let mut bytes = Vec::new();
            let sink = aside.carry(Way::Down, &mut bytes);
            let got = isos_net::get_object(&connection, guid, max.0, sink).await;
            got.map_err(|error| of_get(&error))?;
            // The shelf is a cache: without room the bytes are used and forgotten.
            let _ = shelf.put(&bytes);
            return Ok(bytes);
        }
        shelf.read(&guid, FILE_LIST_BYTES_MAX).map_err(lasting)
    }

    /// Hands an object over. Tries until it is done or refused: there is nowhere else to put it.
    pub(crate) async fn hand_over(
        &self,
        traffic: &Traffic,
        guid: Guid,
        bytes: &[u8],
    ) -> Result<(), String> {
        /// Between attempts.
        const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
        loop {
            let attempt = async {
                let size = bytes.len() as u64;
                let aside = traffic.set_aside(Bytes(size)).await.map_err(Trouble::Final)?;
                let connection = self.connection().await?;
                let source = aside.carry(Way::Up, bytes);
                let put = isos_net::put_object(&connection, guid, size, source).await;
                put.map_err(|error| of_put(&error))
            };
            match attempt.await {
                Ok(()) => return Ok(()),
                Err(Trouble::Final(why)) => return Err(why),
                Err(Trouble::Lost(why)) => {
                    tracing::warn!("an output waits to be handed over: {why}");
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use isos_base::key::SecretKey;
    use isos_net::EndpointConfig;

    use super::*;

    #[tokio::test]
    async fn the_late_end_of_an_old_session_is_not_the_end_of_the_new_one() {
        let config = EndpointConfig {
            bind: Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)),
            ..EndpointConfig::new(SecretKey::from_bytes(&[1; 32]))
        };
        let endpoint = Endpoint::bind(config).await.unwrap();
        let peer = PeerAddr { key: endpoint.public(), addresses: Vec::new(), relay: None };
        let objects = Objects::new(endpoint);
        let (old, new) = (SessionId(1), SessionId(2));
        objects.session_began(old, peer.clone());
        objects.session_began(new, peer.clone());
        objects.session_ended(old);
        assert_eq!(*objects.session.borrow(), Some((new, peer)));
        objects.session_ended(new);
        assert_eq!(*objects.session.borrow(), None);
    }
}
