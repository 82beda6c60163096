//! A server of the complex: the kernel's machine between a database, a transport and an HTTP API.
//!
//! This is the shell where deciding and doing meet. It translates: a frame or request becomes an
//! input, an effect becomes a record, a frame or a reply, and whatever leaves waits until the
//! records before it are on the disk. It decides nothing that the kernel could decide.

mod auth;
mod checked;
mod clock;
mod collect;
mod core;
mod door;
mod doorman;
mod follow;
mod front;
mod hosts;
mod http;
#[cfg(test)]
mod invariants;
mod journal;
mod limits;
mod meeting;
mod member;
mod metrics;
mod objects;
mod outbox;
pub mod rail;
mod recount;
mod server;
mod statement;
mod stock;
#[cfg(test)]
mod testing;
mod trace;

pub use auth::MintError;
pub use front::{EarlierKey, Kept};
pub use journal::{Difference, JournalConfig, JournalError, ReplayError, Replayed, replay};
pub use limits::Limits;
pub use member::{Follows, Member, Part, Turned};
pub use server::{Fault, OpenServer, Server, ServerConfig, ServerError, Stopped};
