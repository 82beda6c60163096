//! The vocabulary of ISOS: what every room of the house may name.
//!
//! Ids, keys, GUIDs, units, time, and the shapes that cross an edge: the wire between hosts and the
//! complex, the durable records, the HTTP API. No I/O, no clock, no randomness of its own, and no
//! decision: those live in `kernel`, `toolkit` and `drivers`.

pub mod api;
pub mod audit;
#[cfg(feature = "capability")]
pub mod capability;
pub mod causes;
pub mod certificate;
pub mod checkpoint;
pub mod clock;
pub mod codec;
pub mod descriptor;
pub mod fragment;
pub mod guid;
pub mod host;
pub mod ids;
pub mod job;
pub mod key;
pub mod keyring;
pub mod limits;
pub mod machine;
pub mod market;
pub mod notary;
#[cfg(feature = "openapi")]
mod openapi;
pub mod peers;
pub mod price;
pub mod random;
pub mod ranges;
pub mod rate;
pub mod record;
pub mod right;
pub mod rotation;
pub mod sensors;
pub mod slice;
pub mod statement;
pub mod storage;
pub mod task;
pub mod ticket;
pub mod time;
pub mod trace;
pub mod units;
pub mod wire;

pub use guid::Guid;
pub use ids::{
    AccountId, BillId, HostId, JobId, LeaseId, PayoutId, ProposalId, ReservationId, SliceId,
    TaskId, TransferId,
};
pub use machine::Machine;
pub use ranges::{TaskRange, TaskSet};
pub use time::{Span, Time};
pub use units::{Bytes, Fuel, MicroCredits};
