//! Connections to hosts: one each, opened when first needed, and again when it has ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use isos_base::api::KeeperView;
use isos_base::fragment::SignedGrant;
use isos_base::fragment::wire::FRAGMENT_ALPN;
use isos_base::{HostId, LeaseId, Time};
use isos_net::{ConnectError, Connection, Endpoint, FragmentError, PeerAddr, present_grant};
use tokio::time::timeout;

/// A host that could not be reached is left alone for so long.
const AWAY: Duration = Duration::from_secs(30);
/// Hosts have answered all that was asked: a goodbye is all that is left, and one on a path on
/// which nothing was ever heard takes three seconds.
const GOODBYE: Duration = Duration::from_millis(200);

/// Hosts that are spoken to.
#[derive(Debug)]
pub(super) struct Lines {
    endpoint: Endpoint,
    lines: Mutex<BTreeMap<HostId, Arc<Line>>>,
}

/// A host that may be spoken to.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) peer: PeerAddr,
    state: tokio::sync::Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<Connection>,
    /// The lease whose grant was shown over this connection, and when that was issued.
    shown: Option<(LeaseId, Time)>,
    /// When it could not be reached: it is not tried again by every transfer that follows.
    away_since: Option<Instant>,
}

/// Why a host cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("it could not be reached a moment ago")]
    Away,
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    #[error("it does not take the grant: {0}")]
    Grant(isos_base::fragment::wire::FragmentRefusal),
}

impl Lines {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, lines: Mutex::default() }
    }

    /// The line to a host; what is said of its addresses is used if it is not known yet.
    pub(super) fn to(&self, keeper: &KeeperView) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(keeper.host).or_insert_with(|| {
            let (addresses, relay) = (keeper.addresses.clone(), keeper.relay.clone());
            let peer = PeerAddr { key: keeper.host.0, addresses, relay };
            Arc::new(Line { peer, state: tokio::sync::Mutex::default() })
        });
        Arc::clone(line)
    }

    /// The connection of a line, and whether the grant of this lease was shown over it already.
    async fn ready(&self, line: &Line) -> Result<(Connection, Option<(LeaseId, Time)>), LineError> {
        let mut state = line.state.lock().await;
        if let Some(connection) = &state.connection
            && connection.is_closed().is_none()
        {
            return Ok((connection.clone(), state.shown));
        }
        if state.away_since.is_some_and(|since| since.elapsed() < AWAY) {
            return Err(LineError::Away);
        }
        state.shown = None;
        match self.endpoint.connect(&line.peer, FRAGMENT_ALPN).await {
            Ok(connection) => {
                state.connection = Some(connection.clone());
                state.away_since = None;
                Ok((connection, None))
            }
            Err(error) => {
                state.away_since = Some(Instant::now());
                Err(error.into())
            }
        }
    }

    /// Whether a host has answered, and can still be spoken to.
    pub(super) fn is_open(&self, host: HostId) -> bool {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let state = lines.get(&host).and_then(|line| line.state.try_lock().ok());
        let connection = state.as_ref().and_then(|state| state.connection.as_ref());
        connection.is_some_and(|connection| connection.is_closed().is_none())
    }

    /// A connection for questions.
    pub(super) async fn open(&self, line: &Line) -> Result<Connection, LineError> {
        self.ready(line).await.map(|(connection, _)| connection)
    }

    /// A connection over which this grant was shown.
    pub(super) async fn open_with(
        &self,
        line: &Line,
        grant: &SignedGrant,
    ) -> Result<Connection, LineError> {
        let (lease, issued) = (grant.grant.lease, grant.grant.issued);
        let (connection, shown) = self.ready(line).await?;
        if shown.is_some_and(|(shown, then)| shown == lease && then >= issued) {
            return Ok(connection);
        }
        present_grant(&connection, grant).await?.map_err(LineError::Grant)?;
        line.state.lock().await.shown = Some((lease, issued));
        Ok(connection)
    }

    pub(super) async fn close(&self) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let _ = timeout(GOODBYE, self.endpoint.close()).await;
    }
}
