//! Classes: how much redundancy a buyer asks for by one word, and what that becomes on the hosts
//! that there are.
//!
//! A row of the table fixes m, which decides how a segment is cut, and what is promised: nines a
//! year and nines of reads. How many fragments there are and when they are repaired follows from
//! the measured lifetime and availability of the hosts, as in Total Recall; the row has the number
//! to begin with and the most. A pool with too few hosts for a class gets the widest code that it
//! can hold, and is told what is missing.

use std::fmt;
use std::str::FromStr;

use isos_base::fragment::StorageClass;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::code::Code;
use crate::durability::{
    Estimate, Hosts, Scheme, estimate, nines_a_year, read_nines, traffic_a_month,
};

/// What a buyer asks for. Stored in manifests: new ones go to the end.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// For decades: 16-of-64.
    Archive,
    /// For files in use: 16-of-48.
    #[default]
    Standard,
    /// For backups by the terabyte: 29-of-80.
    Bulk,
    /// For what is read often and at once: 4-of-12.
    Hot,
    /// For a handful of hosts: 3-of-10, 2-of-6, or copies on three.
    Small,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Of which class.
    pub class: Class,
    /// Fragments that are enough.
    pub m: u16,
    /// Fragments where nothing is known of the hosts.
    pub n: u16,
    /// The most, however bad the hosts are.
    pub n_most: u16,
    /// The threshold of repair to go with `n`.
    pub repair_at: u16,
    /// What is promised: nines a year.
    pub nines: f64,
    /// And nines of reads, even at the threshold.
    pub read_nines: f64,
    /// For people.
    pub purpose: &'static str,
}

const fn row(class: Class, m: u16, n: (u16, u16), repair_at: u16) -> Row {
    let (nines, read_nines, purpose) = match class {
        Class::Archive => (11.0, 4.0, "for decades; read seldom"),
        Class::Standard => (9.0, 4.0, "files in use"),
        Class::Bulk => (9.0, 3.0, "backups by the terabyte"),
        Class::Hot => (6.0, 5.0, "read often and at once, on fast and stable hosts"),
        Class::Small => (5.0, 3.0, "a handful of hosts"),
    };
    Row { class, m, n: n.0, n_most: n.1, repair_at, nines, read_nines, purpose }
}

/// All classes; of one class the rows for many hosts come first.
pub const TABLE: [Row; 7] = [
    row(Class::Archive, 16, (64, 128), 40),
    row(Class::Standard, 16, (48, 96), 32),
    row(Class::Bulk, 29, (80, 120), 53),
    row(Class::Hot, 4, (12, 24), 8),
    row(Class::Small, 3, (10, 10), 7),
    row(Class::Small, 2, (6, 6), 4),
    row(Class::Small, 1, (3, 3), 2),
];

/// How an object will be kept, and why so.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The class that was asked for.
    pub class: Class,
    /// Fragments and threshold.
    pub scheme: Scheme,
    /// A put counts as done with so many stored; the others follow.
    pub commit_at: u16,
    /// What it is worth on these hosts.
    pub estimate: Estimate,
    /// What it lacks.
    pub shortfalls: Vec<Shortfall>,
}

/// Something that was asked for and cannot be had of these hosts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shortfall {
    /// Fewer independent hosts than the class wants fragments.
    FewHosts {
        /// There are.
        have: u16,
        /// The class begins with.
        wanted: u16,
    },
    /// Less durable than promised.
    Nines {
        /// Computed.
        have: f64,
        /// Promised.
        wanted: f64,
    },
    /// Not to be read as reliably as promised.
    ReadNines {
        /// Computed, at the threshold of repair.
        have: f64,
        /// Promised.
        wanted: f64,
    },
}

/// Nobody to keep anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no host is there to keep an object: at least one with free space is needed")]
pub struct NoHosts;

/// Not the name of a class.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no class: archive, standard, bulk, hot or small")]
pub struct UnknownClass(String);

impl Class {
    /// What hosts and the complex are told that it is for.
    #[must_use]
    pub const fn purpose(self) -> StorageClass {
        match self {
            Self::Archive => StorageClass::Archive,
            Self::Standard | Self::Small => StorageClass::Standard,
            Self::Bulk => StorageClass::Bulk,
            Self::Hot => StorageClass::Hot,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Standard => "standard",
            Self::Bulk => "bulk",
            Self::Hot => "hot",
            Self::Small => "small",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Class {
    type Err = UnknownClass;
    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        let found = TABLE.iter().find(|row| row.class.name() == text);
        found.map(|row| row.class).ok_or_else(|| UnknownClass(text.into()))
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FewHosts { have, wanted } => write!(
                f,
                "{have} hosts can keep a fragment each, {wanted} are wanted: \
                 more hosts would make it safer"
            ),
            Self::Nines { have, wanted } => write!(
                f,
                "{have:.1} nines a year instead of {wanted:.0}: \
                 hosts that stay longer or a faster repair would help"
            ),
            Self::ReadNines { have, wanted } => write!(
                f,
                "{have:.1} nines of reads instead of {wanted:.0}: \
                 hosts that are on more of the time would help"
            ),
        }
    }
}

/// How an object of `class` is kept on `count` hosts like these, no two of which hold fragments of
/// the same segment.
///
/// Of all that keeps the promises what costs least: fragments cost space, and few fragments with a
/// high threshold cost traffic for ever.
///
/// # Errors
/// [`NoHosts`].
pub fn choose(class: Class, count: u16, hosts: &Hosts) -> Result<Plan, NoHosts> {
    if count == 0 {
        return Err(NoHosts);
    }
    let first = TABLE.iter().find(|row| row.class == class).expect("each class has a row");
    let row = fitting(class, count);
    let most = row.n_most.min(count);
    let keep = (row.m..=most).filter_map(|n| lowest(row, n, hosts));
    let kept = keep.min_by(|a, b| cost(a, hosts).total_cmp(&cost(b, hosts)));
    let scheme = kept.unwrap_or_else(|| best(row, most, hosts));
    let estimate = estimate(&scheme, hosts);
    let mut shortfalls = Vec::new();
    if count < first.n && kept.is_none() {
        shortfalls.push(Shortfall::FewHosts { have: count, wanted: first.n });
    }
    if estimate.nines < first.nines {
        shortfalls.push(Shortfall::Nines { have: estimate.nines, wanted: first.nines });
    }
    let have = estimate.read_nines_worst;
    if have < first.read_nines {
        shortfalls.push(Shortfall::ReadNines { have, wanted: first.read_nines });
    }
    let commit_at = commit_at(&scheme);
    Ok(Plan { class, scheme, commit_at, estimate, shortfalls })
}

/// The row of the class if there are hosts for its first number of fragments, else the widest of
/// the small ones for which there are.
fn fitting(class: Class, count: u16) -> Row {
    let rows = TABLE.iter().filter(|row| row.class == class || row.class == Class::Small);
    let found = rows.clone().find(|row| {
        // A class is worth trying from twice its m on: good hosts need no more.
        let least = if row.class == Class::Small { row.n } else { 2 * row.m };
        least <= count
    });
    *found.or_else(|| rows.clone().next_back()).expect("the table has rows for few hosts")
}

/// The lowest threshold with which n fragments keep what the row promises.
fn lowest(row: Row, n: u16, hosts: &Hosts) -> Option<Scheme> {
    let code = Code::new(row.m, n).ok()?;
    (row.m..=highest(row.m, n)).map(|repair_at| Scheme { code, repair_at }).find(|scheme| {
        read_nines(row.m, scheme.repair_at, hosts.up) >= row.read_nines
            && nines_a_year(scheme, hosts) >= row.nines
    })
}

/// A byte that is stored for a month costs as much as one that is moved once.
fn cost(scheme: &Scheme, hosts: &Hosts) -> f64 {
    scheme.code.expansion() + traffic_a_month(scheme, hosts)
}

/// The best that n fragments can do: repair early.
fn best(row: Row, n: u16, hosts: &Hosts) -> Scheme {
    let m = row.m.min(n);
    let code = Code::new(m, n).expect("1 <= m <= n <= what the table has");
    let schemes = (m..=highest(m, n)).map(|repair_at| Scheme { code, repair_at });
    schemes
        .max_by(|a, b| nines_a_year(a, hosts).total_cmp(&nines_a_year(b, hosts)))
        .unwrap_or(Scheme { code, repair_at: m })
}

/// Repair must not be always on: at least a sixth of what can be lost, lies below n.
fn highest(m: u16, n: u16) -> u16 {
    n - (n - m).div_ceil(6)
}

/// Early enough not to wait for the slowest, late enough that the object is safe meanwhile: halfway
/// between the threshold of repair and n.
const fn commit_at(scheme: &Scheme) -> u16 {
    let n = scheme.code.n();
    scheme.repair_at + (n - scheme.repair_at).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use isos_base::time::Span;

    use super::*;

    fn hosts(lifetime_days: u64, up: f64) -> Hosts {
        let day = Span::secs(86_400);
        Hosts { lifetime: Span(day.0 * lifetime_days), up, repair_delay: day }
    }

    #[test]
    fn the_table_is_in_order() {
        for row in TABLE {
            assert!(row.m <= row.repair_at && row.repair_at <= row.n && row.n <= row.n_most);
            assert!(Code::new(row.m, row.n_most).is_ok());
            assert_eq!(row.class.to_string().parse(), Ok(row.class));
        }
        assert!("node".parse::<Class>().is_err());
    }

    #[test]
    fn worse_hosts_get_more_fragments_and_an_earlier_repair() {
        let text = |class, hosts: &Hosts| {
            let plan = choose(class, 500, hosts).unwrap();
            let Scheme { code, repair_at } = plan.scheme;
            assert_eq!(plan.shortfalls, []);
            let Estimate { nines, traffic_a_month: moved, .. } = plan.estimate;
            format!("{code} r {repair_at} o {}: {nines:.1} nines, {moved:.2} moved", plan.commit_at)
        };
        let mut lines = Vec::new();
        for class in [Class::Archive, Class::Standard, Class::Bulk, Class::Hot] {
            for (lifetime, up) in [(300, 0.95), (300, 0.7), (90, 0.9), (90, 0.7)] {
                let said = text(class, &hosts(lifetime, up));
                lines.push(format!("{class:<8} {lifetime:>3} d, {up}: {said}\n"));
            }
        }
        expect_test::expect![[r#"
            archive  300 d, 0.95: 16-of-31 r 25 o 28: 11.2 nines, 0.65 moved
            archive  300 d, 0.7: 16-of-46 r 38 o 42: 24.4 nines, 0.79 moved
            archive   90 d, 0.9: 16-of-46 r 33 o 40: 11.2 nines, 1.84 moved
            archive   90 d, 0.7: 16-of-51 r 38 o 45: 13.8 nines, 2.08 moved
            standard 300 d, 0.95: 16-of-29 r 23 o 26: 9.0 nines, 0.60 moved
            standard 300 d, 0.7: 16-of-46 r 38 o 42: 24.4 nines, 0.79 moved
            standard  90 d, 0.9: 16-of-42 r 30 o 36: 9.4 nines, 1.76 moved
            standard  90 d, 0.7: 16-of-51 r 38 o 45: 13.8 nines, 2.08 moved
            bulk     300 d, 0.95: 29-of-48 r 38 o 43: 9.3 nines, 0.58 moved
            bulk     300 d, 0.7: 29-of-70 r 57 o 64: 25.6 nines, 0.71 moved
            bulk      90 d, 0.9: 29-of-67 r 47 o 57: 9.1 nines, 1.60 moved
            bulk      90 d, 0.7: 29-of-79 r 57 o 68: 13.4 nines, 1.81 moved
            hot      300 d, 0.95: 4-of-11 r 9 o 10: 9.3 nines, 0.79 moved
            hot      300 d, 0.7: 4-of-21 r 18 o 20: 21.5 nines, 1.16 moved
            hot       90 d, 0.9: 4-of-14 r 10 o 12: 7.0 nines, 2.07 moved
            hot       90 d, 0.7: 4-of-23 r 18 o 21: 13.8 nines, 3.14 moved
        "#]]
        .assert_eq(&lines.concat());
    }

    #[test]
    fn a_small_pool_gets_what_it_can_hold_and_hears_what_is_missing() {
        let mut lines = Vec::new();
        for count in [1, 2, 3, 6, 10, 40] {
            let plan = choose(Class::Standard, count, &hosts(300, 0.9)).unwrap();
            let Scheme { code, repair_at } = plan.scheme;
            assert!(code.n() <= count);
            assert!(repair_at <= plan.commit_at && plan.commit_at <= code.n());
            lines.push(format!("{count}: {code} r {repair_at}\n"));
            plan.shortfalls.iter().for_each(|it| lines.push(format!("  {it}\n")));
        }
        expect_test::expect![[r#"
            1: 1-of-1 r 1
              1 hosts can keep a fragment each, 48 are wanted: more hosts would make it safer
              0.2 nines a year instead of 9: hosts that stay longer or a faster repair would help
              1.0 nines of reads instead of 4: hosts that are on more of the time would help
            2: 1-of-2 r 1
              2 hosts can keep a fragment each, 48 are wanted: more hosts would make it safer
              2.1 nines a year instead of 9: hosts that stay longer or a faster repair would help
              1.0 nines of reads instead of 4: hosts that are on more of the time would help
            3: 1-of-3 r 2
              3 hosts can keep a fragment each, 48 are wanted: more hosts would make it safer
              4.1 nines a year instead of 9: hosts that stay longer or a faster repair would help
              2.0 nines of reads instead of 4: hosts that are on more of the time would help
            6: 2-of-6 r 5
              7.0 nines a year instead of 9: hosts that stay longer or a faster repair would help
              3.3 nines of reads instead of 4: hosts that are on more of the time would help
            10: 3-of-9 r 7
              8.3 nines a year instead of 9: hosts that stay longer or a faster repair would help
              3.8 nines of reads instead of 4: hosts that are on more of the time would help
            40: 16-of-31 r 25
        "#]]
        .assert_eq(&lines.concat());
        assert_eq!(choose(Class::Hot, 0, &hosts(300, 0.9)), Err(NoHosts));
    }

    #[test]
    fn a_promise_that_hosts_cannot_keep_is_said() {
        let plan = choose(Class::Archive, 500, &hosts(5, 0.2)).unwrap();
        assert_eq!(plan.scheme.code.to_string(), "16-of-128");
        assert_eq!(plan.shortfalls.len(), 2, "{:?}", plan.shortfalls);
    }
}
