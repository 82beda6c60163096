//! Whether reservations are kept: hosts that are there or not, against how many stand behind.

use isos_base::random::Random;
use isos_kernel::market::hosts_needed;

use super::Setting;

pub(super) struct Kept {
    /// How many stood behind the promise.
    pub(super) behind: u32,
    /// The share of windows in which as many were there as were promised.
    pub(super) share: f64,
    /// Three standard deviations of that share if the promise is kept exactly.
    pub(super) error: f64,
}

/// Draws windows, in each of which every host is there with the same probability.
pub(super) fn kept(setting: &Setting, cores: u32, available: f64, service: f64) -> Kept {
    let mut random = Random::new(setting.seed ^ u64::from(cores));
    let (bps, ppm) = ((available * 1e4).round() as u32, (service * 1e6).round() as u32);
    let behind = hosts_needed(cores, bps, ppm, cores.saturating_mul(4)).unwrap_or(0);
    let windows = setting.rounds.max(1) * 5;
    let mut good = 0_u32;
    for _ in 0..windows {
        let there = (0..behind).filter(|_| random.unit() < available).count();
        good += u32::from(there >= cores as usize);
    }
    let windows = f64::from(windows);
    let error = 3.0 * (service * (1.0 - service) / windows).sqrt();
    Kept { behind, share: f64::from(good) / windows, error }
}
