//! Another key for this machine, while its agent stands still.
//!
//! The new key lies beside the old one until the complex has agreed, so that a crash at any moment
//! leaves a key that works: whoever runs it again goes on with the same one.

use std::path::Path;

use isos_base::key::SecretKey;
use isos_base::ticket::Ticket;
use isos_disk::Home;

use crate::AgentError;
use crate::servers::Servers;

/// The key by which the complex knows this host.
pub(crate) const KEY_FILE: &str = "agent.key";
/// The one that is to take its place.
const NEXT_FILE: &str = "agent.key.next";

/// A change of keys that has begun. No agent can start before it is dropped.
pub struct KeyChange {
    home: Home,
    /// The key before.
    pub old: SecretKey,
    /// The key that is to take its place.
    pub new: SecretKey,
    /// Where the complex is.
    pub ticket: Ticket,
}

impl KeyChange {
    /// Makes a new key for the agent with this home, or takes up one that was made and not used.
    ///
    /// # Errors
    /// The agent is running, has never joined, or the disk refuses.
    pub fn begin(home: &Path) -> Result<Self, AgentError> {
        let home = Home::open(home)?;
        let mut ticket = crate::remembered_ticket(&home, None)?;
        // Servers may have been replaced since.
        ticket.servers = Servers::remembered(&home, &ticket.servers).all();
        let old = SecretKey::from_bytes(&home.key(KEY_FILE)?);
        let mut new = home.key(NEXT_FILE)?;
        if new == old.to_bytes() {
            // The last change ended but for its last step.
            home.remove(NEXT_FILE)?;
            new = home.key(NEXT_FILE)?;
        }
        Ok(Self { home, old, new: SecretKey::from_bytes(&new), ticket })
    }

    /// The complex has agreed: the new key is the agent's from now on.
    ///
    /// # Errors
    /// The disk refuses; then this is to be done again.
    pub fn finish(self) -> Result<(), AgentError> {
        self.home.write(KEY_FILE, &self.new.to_bytes())?;
        self.home.remove(NEXT_FILE)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use isos_base::Time;
    use isos_base::key::PublicKey;

    use super::*;

    #[test]
    fn a_change_that_was_broken_off_goes_on_with_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(KeyChange::begin(dir.path()), Err(AgentError::NoTicket)));
        let (complex, servers, token) = (PublicKey([1; 32]), Vec::new(), Vec::new());
        let ticket = Ticket { complex, servers, token, expires: Time(0), test_world: true };
        let home = Home::open(dir.path()).unwrap();
        home.write(crate::TICKET_FILE, ticket.to_string().as_bytes()).unwrap();
        drop(home);
        let first = KeyChange::begin(dir.path()).unwrap();
        assert!(KeyChange::begin(dir.path()).is_err(), "the home is taken");
        let (old, new) = (first.old.public(), first.new.public());
        assert_ne!(old, new);
        drop(first);
        let again = KeyChange::begin(dir.path()).unwrap();
        assert_eq!((again.old.public(), again.new.public()), (old, new));
        again.finish().unwrap();
        let next = KeyChange::begin(dir.path()).unwrap();
        assert_eq!(next.old.public(), new);
        assert_ne!(next.new.public(), new);
    }
}
