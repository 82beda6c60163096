//! How a buyer wants results made sure of, and the words for it.

use serde::{Deserialize, Serialize};

use super::JobError;
use crate::limits;

/// How results are made sure of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// One host's word is taken.
    Trusted,
    /// `agree` independent hosts must give bitwise the same result; at most `of` are asked.
    Quorum {
        /// Equal results needed, at least 2.
        agree: u8,
        /// Hosts asked at the most before the task fails.
        of: u8,
    },
    /// Hosts earn trust by checks that they cannot foresee; a result is accepted once the chance
    /// that it is wrong is small enough.
    Credibility {
        /// Wrong results among a million accepted ones, at the most: 1 to 100,000.
        error_ppm: u32,
    },
    /// One host runs a task as a whole, and hands checkpoints over; some of the stretches between
    /// them, drawn once its result is there, are run again by independent hosts.
    Checkpoint {
        /// Stretches of each task that are run again, at the most: 1 to
        /// [`limits::STRETCHES_CHECKED_MAX`].
        stretches: u8,
    },
}

/// Credibility at [`Verify::ERROR_PPM_DEFAULT`].
impl Default for Verify {
    fn default() -> Self {
        Self::Credibility { error_ppm: Self::ERROR_PPM_DEFAULT }
    }
}

impl Verify {
    /// The error rate of `credibility` without a number, and of jobs that say nothing: as many
    /// wrong results as a quorum of two lets through, and the highest at which two strangers who
    /// agree are believed at once.
    pub const ERROR_PPM_DEFAULT: u32 = 10_000;
    /// The highest error rate that can be asked for: 10 %.
    pub const ERROR_PPM_MAX: u32 = 100_000;

    /// The accepted error rate, if one was chosen.
    #[must_use]
    pub const fn error_ppm(self) -> Option<u32> {
        match self {
            Self::Credibility { error_ppm } => Some(error_ppm),
            Self::Trusted | Self::Quorum { .. } | Self::Checkpoint { .. } => None,
        }
    }

    /// Executions of a task that all goes well with, at the most.
    #[must_use]
    pub const fn replicas(self) -> u8 {
        match self {
            Self::Trusted => 1,
            Self::Quorum { agree, .. } => agree,
            // A task that saves nothing is one stretch.
            Self::Credibility { .. } | Self::Checkpoint { .. } => 2,
        }
    }

    /// Executions of a task that the buyer sets money aside for. Under credibility a few tasks may
    /// have more, most have one. All stretches of a task are one, and if its run was made up, both
    /// are needed again.
    #[must_use]
    pub const fn replicas_max(self) -> u8 {
        match self {
            Self::Trusted => 1,
            Self::Quorum { of, .. } => of,
            Self::Credibility { .. } => 3,
            Self::Checkpoint { .. } => 4,
        }
    }

    /// Credibility with this error rate: `1e-4`, `0.001`.
    ///
    /// # Errors
    /// [`JobError::ErrorRate`] unless it is a number from 0.000001 to 0.1.
    pub fn with_error(text: &str) -> Result<Self, JobError> {
        let bad = || JobError::ErrorRate { text: text.into() };
        let rate: f64 = text.parse().map_err(|_| bad())?;
        let ppm = (rate * 1e6).round();
        if !(1.0..=f64::from(Self::ERROR_PPM_MAX)).contains(&ppm) {
            return Err(bad());
        }
        Ok(Self::Credibility { error_ppm: ppm as u32 })
    }

    pub(super) fn check(self) -> Result<(), JobError> {
        match self {
            Self::Quorum { agree, of }
                if agree < 2 || of < agree || of > limits::QUORUM_VOTERS_MAX =>
            {
                Err(JobError::Verify { text: self.to_string() })
            }
            Self::Credibility { error_ppm } if !(1..=Self::ERROR_PPM_MAX).contains(&error_ppm) => {
                Err(JobError::ErrorRate { text: rate(error_ppm) })
            }
            Self::Checkpoint { stretches }
                if !(1..=limits::STRETCHES_CHECKED_MAX).contains(&stretches) =>
            {
                Err(JobError::Verify { text: self.to_string() })
            }
            _ => Ok(()),
        }
    }
}

/// A rate as people write it: `1e-3`.
fn rate(error_ppm: u32) -> String {
    format!("{:e}", f64::from(error_ppm) / 1e6)
}

/// `trusted`, `quorum=2/3`, `credibility=1e-3` or `checkpoint=3`.
impl std::fmt::Display for Verify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Trusted => f.pad("trusted"),
            Self::Quorum { agree, of } => f.pad(&format!("quorum={agree}/{of}")),
            Self::Credibility { error_ppm } => f.pad(&format!("credibility={}", rate(*error_ppm))),
            Self::Checkpoint { stretches } => f.pad(&format!("checkpoint={stretches}")),
        }
    }
}

impl std::str::FromStr for Verify {
    type Err = JobError;
    fn from_str(text: &str) -> Result<Self, JobError> {
        let bad = || JobError::Verify { text: text.into() };
        match text {
            "trusted" => return Ok(Self::Trusted),
            "credibility" => return Ok(Self::Credibility { error_ppm: Self::ERROR_PPM_DEFAULT }),
            _ => {}
        }
        if let Some(error) = text.strip_prefix("credibility=") {
            return Self::with_error(error);
        }
        if let Some(stretches) = text.strip_prefix("checkpoint=") {
            let verify = Self::Checkpoint { stretches: stretches.parse().map_err(|_| bad())? };
            verify.check()?;
            return Ok(verify);
        }
        let (agree, of) =
            text.strip_prefix("quorum=").and_then(|rest| rest.split_once('/')).ok_or_else(bad)?;
        let (agree, of) = (agree.parse().map_err(|_| bad())?, of.parse().map_err(|_| bad())?);
        let verify = Self::Quorum { agree, of };
        verify.check()?;
        Ok(verify)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verification_rules_parse_as_they_print() {
        for text in [
            "trusted",
            "quorum=2/3",
            "credibility=1e-3",
            "credibility=1e-6",
            "credibility=1e-1",
            "credibility=2.5e-5",
            "checkpoint=1",
            "checkpoint=32",
        ] {
            assert_eq!(text.parse::<Verify>().unwrap().to_string(), text);
        }
        assert_eq!(
            "credibility".parse(),
            Ok(Verify::Credibility { error_ppm: Verify::ERROR_PPM_DEFAULT })
        );
        assert_eq!("credibility=0.0001".parse(), Verify::with_error("1e-4"));
        for bad in
            ["", "quorum=1/3", "quorum=3/2", "quorum=2", "quorum=2/99", "majority", "checkpoint"]
                .into_iter()
                .chain(["checkpoint=0", "checkpoint=33", "checkpoint=x"])
        {
            assert!(bad.parse::<Verify>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_rate_that_cannot_be_promised_is_refused_with_the_range() {
        for bad in ["", "0", "1e-7", "0.2", "-1", "NaN", "inf", "x"] {
            let error = Verify::with_error(bad).unwrap_err().to_string();
            assert!(error.contains("from 1e-6 to 0.1"), "{error}");
        }
        assert!(Verify::Credibility { error_ppm: 0 }.check().is_err());
        assert!(Verify::Credibility { error_ppm: 100_001 }.check().is_err());
    }

    #[test]
    fn the_bytes_of_rules_stay_what_they_were() {
        let encode = |verify| crate::codec::encode(&verify);
        assert_eq!(encode(Verify::Trusted), [0]);
        assert_eq!(encode(Verify::Quorum { agree: 2, of: 3 }), [1, 2, 3]);
        assert_eq!(encode(Verify::Credibility { error_ppm: 100 }), [2, 100]);
        assert_eq!(encode(Verify::Checkpoint { stretches: 3 }), [3, 3]);
    }
}
