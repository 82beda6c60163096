//! What the repairer is told and what it says.

use isos_base::time::Span;
use isos_base::{Bytes, Guid, HostId};

use crate::code::Code;

/// How patient, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Away for so long, a host is unreachable.
    pub unreachable_after: Span,
    /// Away for so long, a host has departed, if nothing is known of its habits.
    pub departed_after: Span,
    /// The most that its habits can make of that.
    pub departed_most: Span,
    /// Bytes that repair may move in an hour.
    pub bytes_an_hour: Bytes,
    /// Repairs at a time.
    pub repairs: usize,
    /// Copies beyond n that are kept when hosts return.
    pub surplus: u16,
}

impl Default for Settings {
    fn default() -> Self {
        let hour = Span::secs(3_600);
        Self {
            unreachable_after: Span::secs(300),
            departed_after: Span(24 * hour.0),
            departed_most: Span(72 * hour.0),
            bytes_an_hour: Bytes::gib(4),
            repairs: 8,
            surplus: 4,
        }
    }
}

/// A segment to be watched over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub segment: Guid,
    /// Its code.
    pub code: Code,
    /// With so many fragments left it is repaired.
    pub repair_at: u16,
    /// The length of each fragment.
    pub fragment_bytes: u32,
    /// Who has which.
    pub holders: Vec<(u16, HostId)>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A segment was stored, or was there when the machine began.
    SegmentKept(Box<Kept>),
    /// A segment is not kept any more.
    SegmentDropped {
        /// Which.
        segment: Guid,
    },
    /// A host can be reached.
    HostCame {
        /// Who.
        host: HostId,
        /// How long hosts like it stay.
        lifetime: Span,
    },
    /// A host cannot be reached any more.
    HostWent {
        /// Who.
        host: HostId,
    },
    /// An audit or an inventory has shown that a host does not have a fragment.
    FragmentLost {
        /// Of which segment.
        segment: Guid,
        /// Which.
        fragment: u16,
        /// Who has it not.
        host: HostId,
    },
    /// A repair has come to an end, with whatever success.
    RepairEnded {
        /// Of which segment.
        segment: Guid,
        /// What was stored where, as receipts show.
        stored: Vec<(u16, HostId)>,
        /// Bytes that were moved.
        moved: Bytes,
    },
    /// `Machine::deadline` has come.
    TimerFired,
}

/// What shall be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Read nothing from this host and place nothing on it.
    Avoid {
        /// Who.
        host: HostId,
    },
    /// What this host keeps counts as lost.
    Depart {
        /// Who.
        host: HostId,
        /// Fragments that it had.
        fragments: usize,
    },
    /// A host that had departed is back, and its fragments count again.
    Welcome {
        /// Who.
        host: HostId,
        /// Fragments that it has.
        fragments: usize,
    },
    /// Repair a segment and say [`Input::RepairEnded`].
    Repair {
        /// Which.
        segment: Guid,
        /// From whom: at least m different fragments on hosts that can be reached.
        sources: Vec<(u16, HostId)>,
        /// Which fragments to make: all that are missing.
        missing: Vec<u16>,
    },
    /// A host need not keep a fragment any more: there are copies enough.
    Release {
        /// Of which segment.
        segment: Guid,
        /// Which.
        fragment: u16,
        /// Who.
        host: HostId,
    },
    /// Fewer than m fragments are registered: only hosts that return can bring the segment back.
    Lost {
        /// Which.
        segment: Guid,
        /// Fragments that are registered.
        registered: u16,
    },
    /// More segments than one machine watches over.
    Refuse {
        /// Which is not watched over.
        segment: Guid,
    },
}
