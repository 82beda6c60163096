//! The owner's word to a running agent: a socket in the agent's folder, one JSON line each way.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use isos_base::host::Offer;
use isos_base::key::PublicKey;
use isos_base::{Bytes, HostId, Span, Time};
use isos_kernel::host::HostStatus;
use isos_kernel::policy::Policy;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::cloud::{CloudStatus, QueryError, QueryFound, QueryOrder};
use crate::core::Core;
use crate::follow::PolicyStatus;
pub use crate::keeper::KeeperStatus;
pub use crate::owner::Said;
use crate::{AgentError, Shared, clock, follow, remembered};

const SOCKET: &str = "agent.sock";
/// Bytes of a socket's path: the system has room for 108, and the last is a zero.
pub(crate) const SOCKET_BYTES_MAX: usize = 107;
/// A line has at most this many bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// An answer takes at most this long.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What all hosts are asked for takes longer than any of it may.
const QUERY_TIMEOUT: Duration = Duration::from_secs(isos_gossip::query::WAIT_MAX.0 / 1_000_000 + 5);

/// How often, and how many times, it is looked whether the owner's word has been obeyed.
const OBEYED_EVERY: Duration = Duration::from_millis(20);
/// See [`OBEYED_EVERY`].
const OBEYED_LOOKS: u32 = 50;

/// What an owner can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Say how it stands.
    Status,
    /// Stand still, for this time or until resumed.
    Pause(Option<Span>),
    /// Go by the policy again.
    Resume,
    /// Go by this text of a policy from now on, and remember it.
    Policy(String),
    /// Give everything back and end.
    Stop,
    /// Say what is known of all other hosts. Answered by a [`CloudStatus`].
    Cloud,
    /// Ask all other hosts. Answered by a [`QueryFound`], or a [`QueryError`].
    Query(QueryOrder),
}

/// How an agent stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// The host's key.
    pub host: HostId,
    /// The agent's version.
    pub version: String,
    /// The complex it works for.
    pub complex: PublicKey,
    /// The agent's clock.
    pub now: Time,
    /// What the owner said last.
    pub owner: Said,
    /// The machine's own account of itself.
    pub host_status: HostStatus,
    /// What is offered now, and why.
    pub offer: Offer,
    /// The walls around running programs.
    pub walls: Vec<String>,
    /// Room that objects take.
    pub objects: Bytes,
    /// What is kept for others; nothing while nothing is, and nothing is offered.
    pub storage: Option<KeeperStatus>,
    /// Who holds the policy's limits here, and what that cannot do.
    pub keepers: Vec<isos_sandbox::Keeper>,
    /// What its work has moved over the network.
    pub moved: isos_kernel::policy::Moved,
    /// Whose words it goes by.
    #[serde(default)]
    pub policy: PolicyStatus,
}

/// Why an agent could not be asked.
#[derive(Debug, Error)]
pub enum AskError {
    /// No agent runs in this folder.
    #[error("no agent runs in {home}: start one with `isos join`")]
    NotRunning {
        /// The folder.
        home: String,
    },
    /// It did not answer as it should.
    #[error("the agent does not answer")]
    Talk(#[source] io::Error),
}

/// Asks the agent that runs in `home`.
///
/// # Errors
/// [`AskError`].
pub async fn ask(home: &Path, order: Order) -> Result<AgentStatus, AskError> {
    talk(home, order, TIMEOUT).await
}

/// Has the agent that runs in `home` ask all hosts something.
///
/// # Errors
/// [`AskError`] if the agent does not answer.
pub async fn ask_query(
    home: &Path,
    order: QueryOrder,
) -> Result<Result<QueryFound, QueryError>, AskError> {
    talk(home, Order::Query(order), QUERY_TIMEOUT).await
}

/// Asks the agent that runs in `home` what it knows of all other hosts.
///
/// # Errors
/// [`AskError`].
pub async fn ask_cloud(home: &Path) -> Result<CloudStatus, AskError> {
    talk(home, Order::Cloud, TIMEOUT).await
}

async fn talk<A: serde::de::DeserializeOwned>(
    home: &Path,
    order: Order,
    timeout: Duration,
) -> Result<A, AskError> {
    let talk = async {
        let Ok(mut stream) = UnixStream::connect(home.join(SOCKET)).await else {
            return Err(AskError::NotRunning { home: home.display().to_string() });
        };
        let mut line = serde_json::to_vec(&order).map_err(|error| AskError::Talk(error.into()))?;
        line.push(b'\n');
        stream.write_all(&line).await.map_err(AskError::Talk)?;
        let mut answer = Vec::new();
        stream.take(LINE_BYTES_MAX).read_to_end(&mut answer).await.map_err(AskError::Talk)?;
        serde_json::from_slice(&answer).map_err(|error| AskError::Talk(error.into()))
    };
    match tokio::time::timeout(timeout, talk).await {
        Ok(answer) => answer,
        Err(_) => Err(AskError::Talk(io::ErrorKind::TimedOut.into())),
    }
}

/// Whether the socket of this home can have its name.
pub(crate) fn check_path(home: &Path) -> Result<(), AgentError> {
    let path = home.join(SOCKET);
    if path.as_os_str().len() > SOCKET_BYTES_MAX {
        return Err(AgentError::LongPath { path });
    }
    Ok(())
}

/// Listens for the owner for as long as the agent lives.
pub(crate) fn listen(core: Core, shared: Arc<Shared>) -> io::Result<()> {
    let path = shared.home.dir().join(SOCKET);
    // The folder's lock is ours, so a socket that is there was left by one that is gone.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answered = tokio::time::timeout(TIMEOUT, answer(&core, &shared, stream)).await;
            if let Ok(Err(error)) = answered {
                tracing::debug!("an owner's word was lost: {error}");
            }
        }
    });
    Ok(())
}

async fn answer(core: &Core, shared: &Arc<Shared>, mut stream: UnixStream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    BufReader::new(reader.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    let order: Order = serde_json::from_str(&line).map_err(io::Error::other)?;
    if order == Order::Cloud {
        writer.write_all(&serde_json::to_vec(&shared.cloud.status())?).await?;
        return writer.shutdown().await;
    }
    if let Order::Query(order) = order {
        // Others are not kept waiting meanwhile.
        let shared = shared.clone();
        tokio::spawn(async move {
            let found = tokio::time::timeout(QUERY_TIMEOUT, shared.cloud.query(order)).await;
            let Ok(found) = found else { return };
            let Ok(line) = serde_json::to_vec(&found) else { return };
            _ = stream.write_all(&line).await;
            _ = stream.shutdown().await;
        });
        return Ok(());
    }
    match &order {
        Order::Status | Order::Cloud | Order::Query(_) => {}
        Order::Pause(span) => {
            let until = span.map(|span| clock::now() + span);
            obey(core, shared, Said::Paused { until }).await;
        }
        Order::Resume => obey(core, shared, Said::Auto).await,
        Order::Policy(text) => {
            let policy = Policy::parse(text).map_err(io::Error::other)?;
            follow::remember(shared, text).map_err(io::Error::other)?;
            follow::go_by(shared, policy);
        }
        Order::Stop => {}
    }
    let stopping = || io::Error::other("the agent is stopping");
    let mut status = core.status().await.ok_or_else(stopping)?;
    // The owner shall see what his word did, not what was before it.
    let obeyed = |status: &AgentStatus| match order {
        Order::Pause(_) => status.offer.cores == 0,
        Order::Resume => {
            let paused = |reason: &String| reason.starts_with("you paused");
            status.owner == Said::Auto && !status.offer.reasons.iter().any(paused)
        }
        Order::Status | Order::Policy(_) | Order::Stop | Order::Cloud | Order::Query(_) => true,
    };
    for _ in 0..OBEYED_LOOKS {
        if obeyed(&status) {
            break;
        }
        tokio::time::sleep(OBEYED_EVERY).await;
        status = core.status().await.ok_or_else(stopping)?;
    }
    let answer = serde_json::to_vec(&status)?;
    writer.write_all(&answer).await?;
    writer.shutdown().await?;
    if order == Order::Stop {
        core.stop().await;
    }
    Ok(())
}

/// Obeys at once, then sees to it that a later start obeys too.
async fn obey(core: &Core, shared: &Arc<Shared>, said: Said) {
    core.owner_said(said).await;
    let home = shared.home.clone();
    let kept = tokio::task::spawn_blocking(move || remembered::keep_said(&home, said)).await;
    if let Ok(Err(error)) = kept {
        tracing::warn!("what the owner said holds until this agent ends, and no longer: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_too_deep_for_a_socket_is_refused_with_what_to_do() {
        assert!(check_path(Path::new("/somewhere/state/isos/agent")).is_ok());
        let deep = format!("/{}", "x".repeat(SOCKET_BYTES_MAX - SOCKET.len() - 2));
        assert!(check_path(Path::new(&deep)).is_ok());
        let said = check_path(Path::new(&format!("{deep}x"))).unwrap_err().to_string();
        assert!(said.contains("108 bytes") && said.contains("--home"), "{said}");
    }
}
