//! Who may use the relay: whom the machine knows, and some of those whom nobody knows yet.
//!
//! A relay is shown a key, and a token that everybody on the way could read; so tickets are not
//! sent to it, and a machine that joins is a stranger until its first session.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use isos_base::key::PublicKey;
use isos_base::ticket::ServerAddr;
use isos_kernel::complex::Complex;
use isos_net::Guest;
use tokio::sync::watch;

use crate::core::Core;

/// A machine that is busy for so long cannot say.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// What will be said of a client.
type Asked = Pin<Box<dyn Future<Output = Guest> + Send>>;

/// Says who is known.
pub(crate) struct Doorman {
    /// This server's key: it comes before there is anybody to ask.
    own: PublicKey,
    /// Who knows the hosts and the servers, on a server that leads.
    leads: OnceLock<Leads>,
}

struct Leads {
    core: Core,
    servers: watch::Receiver<Vec<ServerAddr>>,
}

impl Doorman {
    pub(crate) const fn new(own: PublicKey) -> Self {
        Self { own, leads: OnceLock::new() }
    }

    /// From now on there is a machine to ask.
    pub(crate) fn lead(&self, core: Core, servers: watch::Receiver<Vec<ServerAddr>>) {
        // A server's sockets are opened anew for each part that it plays.
        let _ = self.leads.set(Leads { core, servers });
    }

    /// As the relay asks it.
    pub(crate) fn admission(
        self: &Arc<Self>,
    ) -> impl Fn(PublicKey, Option<String>) -> Asked + use<> {
        let doorman = self.clone();
        move |key, _| -> Asked {
            let doorman = doorman.clone();
            Box::pin(async move { doorman.guest(key).await })
        }
    }

    async fn guest(&self, key: PublicKey) -> Guest {
        if key == self.own {
            return Guest::Known;
        }
        // A follower has no rows to look into.
        let Some(Leads { core, servers }) = self.leads.get() else { return Guest::Untold };
        if servers.borrow().iter().any(|server| server.key == key) {
            return Guest::Known;
        }
        let look = move |complex: &mut Complex, _| complex.may_relay(key);
        match tokio::time::timeout(ASK_TIMEOUT, core.query(look)).await {
            Ok(Ok(Some(true))) => Guest::Known,
            Ok(Ok(Some(false))) => Guest::Unwanted,
            Ok(Ok(None)) => Guest::Stranger,
            Ok(Err(_)) | Err(_) => Guest::Untold,
        }
    }
}

#[cfg(test)]
mod tests {
    use isos_base::capability::Right;
    use isos_base::wire::{HOST_ALPN, ToHost};

    use super::*;
    use crate::testing::{World, endpoint, hello};

    #[tokio::test]
    async fn a_host_is_a_stranger_until_it_has_joined_and_a_follower_cannot_say() {
        let world = World::new().await;
        let shared = &world.server.shared;
        let doorman = Doorman::new(PublicKey([1; 32]));
        let host = endpoint(7).await;
        assert_eq!(doorman.guest(PublicKey([1; 32])).await, Guest::Known, "the server itself");
        assert_eq!(doorman.guest(host.public()).await, Guest::Untold);
        doorman.lead(shared.core.clone(), shared.servers.clone());
        assert_eq!(doorman.guest(host.public()).await, Guest::Stranger);
        assert_eq!(doorman.guest(world.open.addr.key).await, Guest::Known, "another server");

        let token = world.token("ada", &[Right::Join]).await;
        let connection = host.connect(&world.peer(), HOST_ALPN).await.unwrap();
        let mut stream = connection.open().await.unwrap();
        stream.sender.send(&hello(Some(&token))).await.unwrap();
        let welcome = stream.receiver.recv::<ToHost>().await.unwrap();
        assert!(matches!(welcome, Some(ToHost::Welcome { .. })), "{welcome:?}");
        assert_eq!(doorman.guest(host.public()).await, Guest::Known);
        world.server.stop().await;
    }
}
