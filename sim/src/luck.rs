//! How many may be wrong by bad luck alone: what a count of known mean exceeds once in a million
//! runs.

/// How rarely a promise may seem broken that is kept.
const ONCE_IN: f64 = 1e6;

/// What a count of things that have nothing to do with each other exceeds so rarely: the tail of
/// Poisson.
pub(crate) fn singly(mean: f64) -> u64 {
    let (mut count, mut term) = (0u64, (-mean).exp());
    // Beyond some hundreds the first term has no digits left, and the normal tail is as good.
    if mean > 400.0 {
        return (mean + 5.0 * mean.sqrt()) as u64;
    }
    let mut below = term;
    while 1.0 - below > 1.0 / ONCE_IN {
        count += 1;
        term *= mean / count as f64;
        below += term;
    }
    count
}

/// The same of things that come in so many runs, each as long as luck will have it: a cheat lies
/// until one of its lies is drawn for a check. The tail of Erlang.
pub(crate) fn in_runs(mean: f64, runs: u64) -> u64 {
    if runs == 0 {
        return 0;
    }
    let each = mean / runs as f64;
    // A sum of `runs` exponentials of mean 1 is above `x` if fewer than `runs` events of a Poisson
    // process of rate 1 come before `x`.
    let is_rare = |x: f64| {
        let (mut term, mut sum) = ((-x).exp(), 0.0);
        for n in 0..runs {
            sum += term;
            term *= x / (n + 1) as f64;
        }
        sum <= 1.0 / ONCE_IN
    };
    // Beyond some hundreds the first term has no digits left, and the normal tail is as good.
    if runs > 400 {
        return (mean + 5.0 * each * (runs as f64).sqrt()) as u64;
    }
    let (mut low, mut high) = (runs as f64, runs as f64 + 20.0 + 8.0 * (runs as f64).sqrt());
    while high - low > 1e-6 {
        let middle = f64::midpoint(low, high);
        *if is_rare(middle) { &mut high } else { &mut low } = middle;
    }
    (each * high).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_tail_of_one_in_a_million() {
        // Of tables of the Poisson distribution.
        assert_eq!(singly(0.0), 0);
        assert_eq!(singly(1.0), 9);
        assert_eq!(singly(10.0), 28);
        assert_eq!(singly(10_000.0), 10_500);
    }

    #[test]
    fn few_long_runs_are_less_sure_than_many_short_ones() {
        // One exponential is above 13.8 of its means once in a million times; half of the quantiles
        // of the chi-squared distribution with 8 and 200 degrees of freedom are 21.4 and 154.4.
        assert_eq!(in_runs(1_000.0, 1), 13_816);
        assert_eq!(in_runs(4_000.0, 4) / 100, 213);
        assert_eq!(in_runs(100_000.0, 100) / 1_000, 154);
        assert_eq!((in_runs(10.0, 0), in_runs(0.0, 5)), (0, 0));
        let (below, above) = (in_runs(4e5, 400), in_runs(4.01e5, 401));
        assert!(below.abs_diff(above) < below / 50, "{below} {above}");
    }
}
