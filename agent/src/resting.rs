//! An agent that does not run: what its home tells of it. Nothing is opened for long and nothing is
//! locked, so that whoever asks keeps no agent from starting.

use std::path::Path;
use std::time::SystemTime;

use isos_base::key::{PublicKey, SecretKey};
use isos_base::ticket::Ticket;
use isos_base::{HostId, Time};

use crate::{TICKET_FILE, clock, key, remembered, traffic};

/// A machine that has joined, and whose agent does not run.
#[derive(Debug, Clone, PartialEq)]
pub struct Resting {
    /// The key by which the complex knows the host.
    pub host: HostId,
    /// The complex that it worked for.
    pub complex: PublicKey,
    /// Where that is, with the right by which the machine joined.
    pub ticket: Ticket,
    /// When its agent last wrote down what it had moved: it ran then.
    pub ran: Option<Time>,
    /// Whether its owner had paused it.
    pub paused: bool,
}

/// What is known of the agent in this home; nothing if none has ever joined there. It is the
/// caller's to know that none runs.
#[must_use]
pub fn resting(home: &Path) -> Option<Resting> {
    let secret = std::fs::read(home.join(key::KEY_FILE)).ok()?;
    let host = HostId(SecretKey::from_bytes(&secret.try_into().ok()?).public());
    let ticket: Ticket = std::fs::read_to_string(home.join(TICKET_FILE)).ok()?.parse().ok()?;
    let written = std::fs::metadata(home.join(traffic::FILE)).and_then(|file| file.modified());
    let since = written.ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    let ran = since.and_then(|since| u64::try_from(since.as_micros()).ok()).map(Time);
    Some(Resting {
        host,
        complex: ticket.complex,
        ticket,
        ran: ran.filter(|ran| *ran <= clock::now()),
        paused: home.join(remembered::PAUSE_FILE).exists(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_that_never_joined_has_nothing_to_tell() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(resting(folder.path()), None);
        std::fs::write(folder.path().join(key::KEY_FILE), [7; 32]).unwrap();
        std::fs::write(folder.path().join(TICKET_FILE), "no ticket").unwrap();
        assert_eq!(resting(folder.path()), None);
    }
}
