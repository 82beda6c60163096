//! Figures of outcomes: a column each, in the table for people and in the values for other
//! programs.

use std::fmt::Write;

/// A figure of a line.
pub(crate) struct Figure<T> {
    /// Its head in the table; nothing if it is not there.
    pub(crate) head: &'static str,
    pub(crate) width: usize,
    pub(crate) shown: Shown,
    /// Its name for other programs, which get so many digits behind the point.
    pub(crate) name: &'static str,
    pub(crate) digits: usize,
    pub(crate) of: fn(&T) -> f64,
}

/// How a figure is shown in the table.
pub(crate) enum Shown {
    /// With so many digits behind the point.
    Number(usize),
    Percent,
    Seconds,
    /// As a power of ten where it is small.
    Power,
}

pub(crate) const fn figure<T>(
    (head, width, shown): (&'static str, usize, Shown),
    (name, digits): (&'static str, usize),
    of: fn(&T) -> f64,
) -> Figure<T> {
    Figure { head, width, shown, name, digits, of }
}

impl<T> Figure<T> {
    fn is_shown(&self) -> bool {
        !self.head.is_empty()
    }

    fn text(&self, outcome: &T) -> String {
        let value = (self.of)(outcome);
        match self.shown {
            _ if value.is_nan() => "-".into(),
            Shown::Number(digits) => format!("{value:.digits$}"),
            Shown::Percent => format!("{:.1}%", value * 100.0),
            Shown::Seconds => format!("{value:.1}s"),
            Shown::Power if value < 0.1 && value > 0.0 => format!("{value:.0e}"),
            Shown::Power => format!("{value:.1}"),
        }
    }

    /// For other programs.
    fn value(&self, outcome: &T) -> String {
        let (value, digits) = ((self.of)(outcome), self.digits);
        match self.shown {
            _ if value.is_nan() => "-".into(),
            Shown::Power => format!("{value:.digits$e}"),
            _ => format!("{value:.digits$}"),
        }
    }
}

/// A line of the table, the name of which has so much room.
fn row<T>(
    figures: &[Figure<T>],
    (name, width): (&str, usize),
    text: impl Fn(&Figure<T>) -> String,
) -> String {
    let mut line = format!("{name:<width$}");
    for figure in figures.iter().filter(|it| it.is_shown()) {
        let _ = write!(line, " {:>1$}", text(figure), figure.width);
    }
    line + "\n"
}

/// The head of the table.
pub(crate) fn head<T>(figures: &[Figure<T>], width: usize) -> String {
    row(figures, ("", width), |figure| figure.head.into())
}

/// One line of it.
pub(crate) fn line<T>(figures: &[Figure<T>], name: (&str, usize), outcome: &T) -> String {
    row(figures, name, |figure| figure.text(outcome))
}

/// The names of all figures, for other programs, a comma before each.
pub(crate) fn names<T>(figures: &[Figure<T>]) -> String {
    figures.iter().map(|figure| format!(",{}", figure.name)).collect()
}

/// All figures of an outcome, in the same way.
pub(crate) fn values<T>(figures: &[Figure<T>], outcome: &T) -> String {
    figures.iter().map(|figure| format!(",{}", figure.value(outcome))).collect()
}
