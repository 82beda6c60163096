//! Routing by GUID, wherever what it names may be: a keyspace of 256 bits, hosts at positions in it
//! that they cannot choose, and walks that come nearer to a GUID with every answer until those are
//! found who know its holders.
//!
//! It is Kademlia (Maymounkov, Mazières 2002) with the disjoint paths and certified positions of
//! S/Kademlia (Baumgart, Mies 2007), the sloppy pointers of Coral (Freedman, Mazières 2003), the
//! periodic upkeep of Bamboo (Rhea and others 2004), and puts to regions instead of to the nearest
//! few (after what content eclipse did to IPFS). It stores pointers, never objects, and nothing
//! rests on it alone: a pointer is signed by who holds the object, a host's place by the complex
//! that has admitted it. The complex itself is not asked for anything here.
//!
//! What the complex has signed, from which a host's place follows, and who checks signatures, are
//! in base ([`Certificate`], [`Notary`]): gossip rests on them as well.
//!
//! * [`position`]: places, and how far they are from each other
//! * [`contact`]: what is needed to reach a host
//! * [`rtt`]: how long to wait for an answer
//! * [`table`]: the hosts that one knows, by distance
//! * [`lookup`]: one walk towards a place
//! * [`mod@pointer`]: who holds what, signed, for a time, within quotas
//! * [`wire`]: the requests and answers of `isos/route/1`
//! * [`tuning`]: the numbers, and why
//! * [`machine`]: all of it together, between inputs and effects

pub mod contact;
pub mod lookup;
pub mod machine;
pub mod pointer;
pub mod position;
pub mod rtt;
pub mod table;
pub mod tuning;
pub mod wire;

#[cfg(test)]
mod testing;

pub use contact::Contact;
pub use isos_base::certificate::{self, Certificate};
pub use isos_base::notary::{self, Keys, Notary};
pub use machine::{Effect, Input, Route};
pub use pointer::Pointer;
pub use position::{Distance, Position};
pub use tuning::Tuning;
