//! How long answers take, and how long to wait for one: TCP's estimator (RFC 6298).

use isos_base::time::Span;

/// What is assumed of a host before anything was measured (RFC 6298, 2.1, waits a second).
const FIRST: Span = Span::secs(1);
/// A timeout is never shorter: a busy machine needs this long to wake up.
const LEAST: Span = Span::millis(200);
/// And never longer: a walk goes on without who is slower.
const MOST: Span = Span::secs(4);

/// The smoothed round trip, and how much it varies, in microseconds; 0 before the first sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rtt {
    smooth: u32,
    varies: u32,
}

impl Rtt {
    /// Takes a sample.
    pub fn add(&mut self, sample: Span) {
        let sample = u32::try_from(sample.0).unwrap_or(u32::MAX / 8).clamp(1, u32::MAX / 8);
        if self.smooth == 0 {
            *self = Self { smooth: sample, varies: sample / 2 };
            return;
        }
        let off = self.smooth.abs_diff(sample);
        self.varies = self.varies - self.varies / 4 + off / 4;
        self.smooth = (self.smooth - self.smooth / 8 + sample / 8).max(1);
    }

    /// The round trip, if one was measured.
    #[must_use]
    pub fn span(self) -> Option<Span> {
        (self.smooth != 0).then_some(Span(u64::from(self.smooth)))
    }

    /// How long to wait for an answer.
    #[must_use]
    pub fn timeout(self) -> Span {
        if self.smooth == 0 {
            return FIRST;
        }
        let wait = u64::from(self.smooth) + 4 * u64::from(self.varies);
        Span(wait.clamp(LEAST.0, MOST.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_what_is_measured() {
        let mut rtt = Rtt::default();
        assert_eq!((rtt.span(), rtt.timeout()), (None, FIRST));
        rtt.add(Span::millis(100));
        assert_eq!((rtt.span(), rtt.timeout()), (Some(Span::millis(100)), Span::millis(300)));
        for _ in 0..50 {
            rtt.add(Span::millis(100));
        }
        assert_eq!(rtt.timeout(), LEAST, "steady answers are waited for shortly");
        rtt.add(Span::secs(9));
        assert_eq!(rtt.timeout(), MOST);
    }

    #[test]
    fn no_sample_overflows() {
        let mut rtt = Rtt::default();
        for sample in [u64::MAX, 0, u64::MAX, 1, u64::MAX] {
            rtt.add(Span(sample));
            assert!(rtt.timeout() <= MOST);
        }
    }
}
