//! Where two runs of a task are the same and where they part: by their roots, and by the fuel that
//! they tell for these. A root covers the fuel behind it, so that whoever ran up to there knows
//! both, and who tells a root with another fuel lies about how much work there is.
//!
//! It does not say which of two is right.

use isos_base::Fuel;
use isos_base::checkpoint::segment_fuel;
use isos_base::record::{Referee, SavedRecord};

use crate::verify::segments::first_difference;

/// Places at whose ends a run has told its fuel, with it: how many segments are before them.
fn told(run: &SavedRecord) -> impl Iterator<Item = (u32, Fuel)> {
    let last = (run.roots.len() as u32, run.fuel);
    run.kept.iter().map(|kept| (kept.segments, kept.fuel)).chain([last])
}

/// Fuel that a run had used at the end of a segment, if it told that.
fn fuel_at(run: &SavedRecord, segment: u32) -> Option<Fuel> {
    told(run).find(|(segments, _)| segments.checked_sub(1) == Some(segment)).map(|(_, fuel)| fuel)
}

/// Whether two runs are the same up to the end of a segment; nothing if one of them told no root
/// there.
pub(super) fn are_same(one: &SavedRecord, other: &SavedRecord, segment: u32) -> Option<bool> {
    let nth = segment as usize;
    let same_root = one.roots.get(nth)? == other.roots.get(nth)?;
    let fuel = fuel_at(one, segment).zip(fuel_at(other, segment));
    Some(same_root && fuel.is_none_or(|(one, other)| one == other))
}

/// The first segment at whose end two runs differ, from 0. Nothing if one of them is the beginning
/// of the other.
pub(super) fn parting(one: &SavedRecord, other: &SavedRecord) -> Option<u32> {
    let root = first_difference(&one.roots, &other.roots).and_then(|nth| u32::try_from(nth).ok());
    let ends = told(one).chain(told(other)).filter_map(|(segments, _)| segments.checked_sub(1));
    let fuel = ends.filter(|&segment| are_same(one, other, segment) == Some(false)).min();
    root.into_iter().chain(fuel).min()
}

/// Whether a part was run from before the place at which two runs part to behind it. Where it began
/// is told by the fuel used there, as the whole run has it that is in question.
pub(super) fn covers(
    part: &SavedRecord,
    [one, other]: [&SavedRecord; 2],
    of: &SavedRecord,
) -> bool {
    let Some(Referee { segment, fuel, .. }) = part.referee else { return false };
    let begins = [of, one, other].into_iter().flat_map(told).find(|(_, at)| *at == fuel);
    let begins = if fuel == Fuel(0) { Some(0) } else { begins.map(|(segments, _)| segments) };
    let Some(begins) = begins else { return false };
    match parting(one, other) {
        Some(parted) => (begins..=segment).contains(&parted),
        None => {
            let both = one.roots.len().min(other.roots.len());
            segment == Referee::TO_END && begins as usize <= both
        }
    }
}

/// The most that can have been used up to the end of a segment, by what a run has told of its way
/// to there or beyond: each segment behind takes some.
pub(super) fn fuel_by(run: &SavedRecord, segment: u32, limit: Fuel) -> Option<Fuel> {
    let each = segment_fuel(limit).0;
    let beyond = told(run).filter(|&(segments, _)| segments > segment);
    let by = |(segments, fuel): (u32, Fuel)| {
        let behind = u64::from(segments - segment - 1);
        Fuel(fuel.0.saturating_sub(behind.saturating_mul(each)))
    };
    beyond.map(by).min()
}

/// Whether fuel and roots rise together from what a run has told to what it tells now: each segment
/// takes some fuel, and what was told is told once.
pub(super) fn rises(before: &SavedRecord, roots: usize, fuel: Fuel, limit: Fuel) -> bool {
    let more = roots.saturating_sub(before.roots.len()) as u64;
    let least = before.fuel.0.saturating_add(more.saturating_mul(segment_fuel(limit).0));
    before.roots.is_empty() || (if more == 0 { fuel == before.fuel } else { fuel.0 >= least })
}
