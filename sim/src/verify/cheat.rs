//! What a bad host does with a task.

use std::fmt;

use isos_base::random::Random;

/// How bad hosts go about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Strategy {
    /// There are none: bad hosts are good ones.
    Honest,
    /// Every answer is wrong, each host's another.
    Always,
    /// A share of the answers is made up, each host's another.
    Lazy {
        /// The share.
        rate: f64,
    },
    /// A share of the answers is made up, the same by all bad hosts: they know each other.
    Colluding {
        /// The share.
        rate: f64,
    },
    /// So many right answers, then lies until it is caught; and again, where it may. Bad hosts know
    /// each other.
    OnOff {
        /// Right answers at first.
        right: u64,
    },
    /// The same, and whoever is barred comes back under another key and account.
    Rejoining {
        /// Right answers under each name.
        right: u64,
    },
    /// A share of each long task's stretches is made up, and whoever is barred comes back. Of other
    /// tasks the same share.
    Skips {
        /// The share.
        share: f64,
    },
}

impl Strategy {
    /// Those that are compared.
    pub const ALL: [Self; 8] = [
        Self::Honest,
        Self::Always,
        Self::Lazy { rate: 0.05 },
        Self::Colluding { rate: 0.2 },
        Self::OnOff { right: 10 },
        Self::OnOff { right: 500 },
        Self::Rejoining { right: 10 },
        Self::Rejoining { right: 200 },
    ];

    /// Whether bad hosts give the same wrong answers.
    pub(super) const fn colludes(self) -> bool {
        !matches!(self, Self::Honest | Self::Always | Self::Lazy { .. } | Self::Skips { .. })
    }

    /// Whether a barred host comes back as another.
    pub(super) const fn rejoins(self) -> bool {
        matches!(self, Self::Rejoining { .. } | Self::Skips { .. })
    }

    /// The share of a long task's stretches that a bad host makes up.
    pub(super) const fn skipped(self) -> f64 {
        if let Self::Skips { share } = self { share } else { 0.0 }
    }

    /// Whether a bad host lies this time that has given so many answers since it began or was
    /// caught last.
    pub(super) fn lies(self, given: u64, random: &mut Random) -> bool {
        match self {
            Self::Honest => false,
            Self::Always => true,
            Self::Lazy { rate } | Self::Colluding { rate } | Self::Skips { share: rate } => {
                random.unit() < rate
            }
            Self::OnOff { right } | Self::Rejoining { right } => given >= right,
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Honest => f.pad("none"),
            Self::Always => f.pad("always wrong"),
            Self::Lazy { rate } => f.pad(&format!("lazy, {:.0} % made up", rate * 100.0)),
            Self::Colluding { rate } => f.pad(&format!("colluding, {:.0} % made up", rate * 100.0)),
            Self::Skips { share } => f.pad(&format!("{:.0} % of stretches made up", share * 100.0)),
            Self::OnOff { right } => f.pad(&format!("{right} right, then lies")),
            Self::Rejoining { right } => f.pad(&format!("{right} right, lies, comes back")),
        }
    }
}
