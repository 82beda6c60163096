//! Which snapshots are kept, by rules over time; and what goes with those that are not.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::{Guid, Time};
use isos_store::manifest::{Manifest, Segment};

use crate::catalogue::{Catalogue, Listed};
use crate::error::BackupError;
use crate::snapshot::{Snapshot, fetch};
use crate::transfer::Source;

/// How many of what to keep. All rules count from the newest snapshot back, for each machine and
/// each set of paths by itself, and one rule is enough to keep a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// The last so many.
    pub last: usize,
    /// The last of each day, for so many days that have one.
    pub daily: usize,
    /// The last of each week, Monday to Sunday.
    pub weekly: usize,
    /// The last of each month.
    pub monthly: usize,
    /// The last of each year.
    pub yearly: usize,
    /// All with one of these tags.
    pub tags: Vec<String>,
    /// When days begin: seconds that local time is ahead of UTC.
    pub zone_secs: i32,
}

/// What the rules say of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// Which.
    pub snapshot: &'a Listed,
    /// The rules that keep it; none if it goes.
    pub reasons: Vec<String>,
}

/// Rules that would keep nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no rule says what to keep, so all would go: say at least one, such as --keep-last 1")]
pub struct NoRule;

impl Retention {
    /// What becomes of each snapshot, by time, the oldest first.
    ///
    /// # Errors
    /// [`NoRule`].
    pub fn decide<'a>(
        &self,
        snapshots: impl IntoIterator<Item = &'a Listed>,
    ) -> Result<Vec<Verdict<'a>>, NoRule> {
        let counts = [self.last, self.daily, self.weekly, self.monthly, self.yearly];
        if counts == [0; 5] && self.tags.is_empty() {
            return Err(NoRule);
        }
        let mut groups: BTreeMap<(&str, &[Vec<u8>]), Vec<&Listed>> = BTreeMap::new();
        for listed in snapshots {
            groups.entry((&listed.host, &listed.paths)).or_default().push(listed);
        }
        let mut verdicts: Vec<Verdict<'a>> =
            groups.into_values().flat_map(|group| self.decide_group(group)).collect();
        verdicts.sort_by_key(|it| (it.snapshot.time, it.snapshot.root.object));
        Ok(verdicts)
    }

    fn decide_group<'a>(&self, mut group: Vec<&'a Listed>) -> Vec<Verdict<'a>> {
        group.sort_by_key(|it| std::cmp::Reverse((it.time, it.root.object)));
        let mut rules = [
            ("last", self.last, None),
            ("daily", self.daily, None),
            ("weekly", self.weekly, None),
            ("monthly", self.monthly, None),
            ("yearly", self.yearly, None),
        ];
        let verdict = |(at, snapshot): (usize, &'a Listed)| {
            let mut reasons = Vec::new();
            for (name, left, last) in &mut rules {
                let period = self.period(name, snapshot.time, at);
                if *left > 0 && last.as_ref() != Some(&period) {
                    *left -= 1;
                    *last = Some(period);
                    reasons.push((*name).to_owned());
                }
            }
            let tags = self.tags.iter().filter(|tag| snapshot.tags.contains(tag));
            reasons.extend(tags.map(|tag| format!("tag {tag}")));
            Verdict { snapshot, reasons }
        };
        group.into_iter().enumerate().map(verdict).collect()
    }

    /// Names the day, week, month or year of a moment.
    fn period(&self, rule: &str, time: Time, at: usize) -> String {
        let secs = (time.unix_secs() as i64).saturating_add(i64::from(self.zone_secs)).max(0);
        let day = secs / 86_400;
        let date = Time(secs as u64 * 1_000_000).to_rfc3339();
        match rule {
            "daily" => day.to_string(),
            // The first of January 1970 was a Thursday.
            "weekly" => ((day + 3) / 7).to_string(),
            "monthly" => date[..date.len().min(7)].to_owned(),
            "yearly" => date[..date.len().min(4)].to_owned(),
            _ => at.to_string(),
        }
    }
}

/// What nobody names any more once snapshots are gone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Garbage {
    /// Objects: their manifests can go.
    pub objects: BTreeSet<Guid>,
    /// Segments, by their ids: their fragments can go.
    pub segments: BTreeMap<Guid, Segment>,
}

impl Garbage {
    /// Bytes of all fragments of these segments.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        let bytes =
            |segment: &Segment| segment.fragment_bytes() as u64 * u64::from(segment.code.n());
        self.segments.values().map(bytes).sum()
    }
}

/// What can be removed when these snapshots of the catalogue go and the others stay.
///
/// Manifests of all of them are fetched. If one that stays cannot be, nothing may be removed: it
/// could be what somebody needs.
///
/// # Errors
/// [`BackupError`].
pub fn garbage(
    catalogue: &Catalogue,
    gone: &BTreeSet<Guid>,
    source: &mut dyn Source,
) -> Result<Garbage, BackupError> {
    let (mut kept, mut leaving) = (BTreeSet::new(), BTreeSet::new());
    for (id, listed) in &catalogue.snapshots {
        let snapshot = Snapshot::open(source, &listed.root.capability())?;
        let objects = if gone.contains(id) { &mut leaving } else { &mut kept };
        objects.insert(*id);
        objects.extend(snapshot.head().objects.iter().map(|part| part.object));
    }
    let mut garbage = Garbage::default();
    garbage.objects.extend(leaving.difference(&kept).copied());
    if garbage.objects.is_empty() {
        return Ok(garbage);
    }
    for object in &garbage.objects {
        let manifest = fetch(source, object)?;
        let named = manifest.segments.into_iter().map(|segment| (segment.id(), segment));
        garbage.segments.extend(named);
    }
    for object in &kept {
        let manifest: Manifest = fetch(source, object)?;
        for segment in &manifest.segments {
            garbage.segments.remove(&segment.id());
        }
    }
    Ok(garbage)
}
