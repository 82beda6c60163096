//! The numbers of routing, and why they are what they are. What they lead to among a thousand to a
//! million hosts is measured in docs/internals/routing.md.

use isos_base::time::Span;

/// What can be chosen for one complex; all of its hosts should agree on the first three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Contacts of a bucket, and hosts that are found nearest to a place. 20 as in Kademlia: so
    /// many do not die within an hour together.
    pub bucket: usize,
    /// Hosts expected in the region of a GUID, which keep its pointers.
    pub replicas: usize,
    /// How long a pointer is good.
    pub life: Span,
    /// How long until a holder announces again; less than half of `life`, so one may fail.
    pub republish: Span,
    /// Requests of one path that are on their way at a time. 3 as in Kademlia: one dead host on the
    /// way costs no time.
    pub alpha: usize,
    /// Disjoint paths of a walk: they have no host in common, so one liar can spoil one only.
    pub paths: usize,
    /// Contacts of one owner, and of one address block, that a full bucket keeps.
    pub alike_max: usize,
    /// The shortest time between two probes of the table.
    pub pace_least: Span,
    /// The longest.
    pub pace_most: Span,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            bucket: 20,
            replicas: 12,
            life: Span::secs(24 * 3_600),
            republish: Span::secs(8 * 3_600),
            alpha: 3,
            paths: 3,
            alike_max: 2,
            pace_least: Span::millis(500),
            pace_most: Span::secs(30),
        }
    }
}
