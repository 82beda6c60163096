//! Goods: hosts that are alike for a buyer are one class, and each class has its price.
//!
//! A class is an architecture and how much memory there is for a core, in powers of two. Not the
//! country or who owns it: a class must be large enough for a price to mean something, and jobs
//! that ask for more name it in their constraint.

use isos_base::host::HostSpec;

/// Classes of a complex at the most; hosts of further ones count to the last.
pub const CLASSES_MAX: usize = 64;

/// From 1 GiB a core to 32; what is less or more counts as these.
const GIB_MIN: u64 = 1;
const GIB_MAX: u64 = 32;

/// The class of a host, as it is shown: `x86_64-4g` has from 4 to 8 GiB of memory for each core.
#[must_use]
pub fn class_of(spec: &HostSpec) -> String {
    let each = (spec.memory.0 / u64::from(spec.cpus.max(1))) >> 30;
    let gib = 1_u64 << each.clamp(GIB_MIN, GIB_MAX).ilog2();
    let known = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let arch: String = spec.arch.chars().filter(|&c| known(c)).take(16).collect();
    format!("{}-{gib}g", if arch.is_empty() { "unknown" } else { &arch })
}
