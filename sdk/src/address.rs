//! Where a complex is: a loopback URL, or a ticket.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use isos_base::ticket::{Ticket, TicketError};
use thiserror::Error;

/// Where a complex is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Its HTTP API on this machine.
    Http(SocketAddr),
    /// Wherever its key answers.
    Ticket(Box<Ticket>),
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Neither.
    #[error(
        "{text:?} is no complex: use a ticket (isos1...) or a URL such as http://127.0.0.1:7070"
    )]
    Shape {
        /// What was given.
        text: String,
    },
    /// A URL of another machine.
    #[error(
        "{text:?} is on another machine, and plain HTTP would show the token to everybody on the \
         way: use a ticket (`isos ticket` on the server makes one)"
    )]
    NotLoopback {
        /// What was given.
        text: String,
    },
    /// A ticket that is none.
    #[error(transparent)]
    Ticket(#[from] TicketError),
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let Some(rest) = text.strip_prefix("http://") else {
            if text.starts_with("isos1") {
                return Ok(Self::Ticket(Box::new(text.parse()?)));
            }
            return Err(AddressError::Shape { text: quote(text) });
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let local = match authority.strip_prefix("localhost") {
            Some("") => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 80))),
            Some(port) => port
                .strip_prefix(':')
                .and_then(|port| port.parse::<u16>().ok())
                .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            None => None,
        };
        match local.or_else(|| authority.parse::<SocketAddr>().ok()) {
            Some(address) if address.ip().is_loopback() => Ok(Self::Http(address)),
            Some(_) => Err(AddressError::NotLoopback { text: quote(text) }),
            None if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) => {
                Err(AddressError::Shape { text: quote(text) })
            }
            None => Err(match authority.parse::<IpAddr>() {
                Ok(ip) if ip.is_loopback() => AddressError::Shape { text: quote(text) },
                _ => AddressError::NotLoopback { text: quote(text) },
            }),
        }
    }
}

fn quote(text: &str) -> String {
    text.chars().take(80).collect()
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http(address) => write!(f, "http://{address}"),
            Self::Ticket(ticket) => {
                write!(f, "{}", &ticket.complex.to_string()[..10])?;
                let mut word = " at";
                for address in ticket.servers.iter().flat_map(|server| &server.addresses) {
                    write!(f, "{word} {address}")?;
                    word = ",";
                }
                match ticket.servers.iter().find_map(|server| server.relay.as_ref()) {
                    Some(relay) => write!(f, " or through {relay}"),
                    None => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear() {
        let http = |text: &str| Ok(Address::Http(text.parse().unwrap()));
        assert_eq!("http://127.0.0.1:7070".parse(), http("127.0.0.1:7070"));
        assert_eq!("http://[::1]:7070/".parse(), http("[::1]:7070"));
        assert_eq!("http://localhost:7".parse(), http("127.0.0.1:7"));
        for far in ["http://10.0.0.1:80", "http://example.org:7070", "http://example.org"] {
            let error = far.parse::<Address>().unwrap_err();
            assert!(matches!(error, AddressError::NotLoopback { .. }), "{far}: {error}");
        }
        for bad in ["", "127.0.0.1:7070", "https://127.0.0.1", "http://", "http://a b", "x"] {
            let error = bad.parse::<Address>().unwrap_err();
            assert!(matches!(error, AddressError::Shape { .. }), "{bad}: {error}");
        }
        assert!(matches!("isos1abc".parse::<Address>(), Err(AddressError::Ticket(_))));
    }
}
