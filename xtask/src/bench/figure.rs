//! One measured number, and the bar it is held against.

use serde_json::{Value, json};

/// A figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    /// What was measured.
    pub(super) what: String,
    /// How much.
    pub(super) value: f64,
    /// Of what.
    pub(super) unit: &'static str,
    /// What it should be.
    pub(super) bar: Option<Bar>,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bar {
    /// So much or more.
    AtLeast(f64),
    /// So much or less.
    AtMost(f64),
}

impl Figure {
    /// A figure without a bar.
    pub(super) fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, bar: None }
    }

    /// Held against a bar.
    pub(super) fn bar(self, bar: Bar) -> Self {
        Self { bar: Some(bar), ..self }
    }

    /// How far on the good side of its bar it is: 1 is just kept, 2 is twice as good.
    pub(super) fn ratio(&self) -> Option<f64> {
        let ratio = match self.bar? {
            Bar::AtLeast(bar) => self.value / bar,
            Bar::AtMost(bar) => bar / self.value,
        };
        ratio.is_finite().then_some(ratio)
    }

    pub(super) fn json(&self) -> Value {
        let (at_least, at_most) = match self.bar {
            Some(Bar::AtLeast(bar)) => (Some(bar), None),
            Some(Bar::AtMost(bar)) => (None, Some(bar)),
            None => (None, None),
        };
        json!({
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "at_least": at_least,
            "at_most": at_most,
            "ratio": self.ratio(),
        })
    }

    fn cells(&self) -> [String; 4] {
        let bar = match self.bar {
            Some(Bar::AtLeast(bar)) => format!(">= {}", number(bar)),
            Some(Bar::AtMost(bar)) => format!("<= {}", number(bar)),
            None => String::new(),
        };
        let ratio = self.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        [self.what.clone(), format!("{} {}", number(self.value), self.unit), bar, ratio]
    }
}

/// Three digits or more, no more than can be meant.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        ..0.1 => format!("{value:.4}"),
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// The figures for people: a line each, under one head. Ratios of 1 and more keep the bar.
pub(super) fn table(figures: &[Figure]) -> String {
    let head = ["", "figure", "bar", "ratio"].map(str::to_owned);
    let rows: Vec<[String; 4]> =
        std::iter::once(head).chain(figures.iter().map(Figure::cells)).collect();
    let width = |n: usize| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or_default();
    let [first, second, third, fourth] = [0, 1, 2, 3].map(width);
    let mut text = String::new();
    for [what, figure, bar, ratio] in &rows {
        let line = format!("  {what:<first$}  {figure:<second$}  {bar:<third$}  {ratio:>fourth$}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_ratio_of_one_or_more_keeps_the_bar_whichever_side_is_good() {
        let rate = Figure::new("rate", 500.0, "/s").bar(Bar::AtLeast(1_000.0));
        let size = Figure::new("size", 15.0, "MiB").bar(Bar::AtMost(30.0));
        assert_eq!((rate.ratio(), size.ratio()), (Some(0.5), Some(2.0)));
        let none = Figure::new("CPU", 0.0, "%").bar(Bar::AtMost(0.1));
        assert_eq!(none.ratio(), None, "no CPU at all has no ratio");
    }

    #[test]
    fn the_table_is_for_eyes() {
        let figures = [
            Figure::new("tasks, quorum 1", 1234.5, "/s").bar(Bar::AtLeast(1_000.0)),
            Figure::new("idle CPU", 0.0321, "%").bar(Bar::AtMost(0.1)),
            Figure::new("program", 41.25, "MB"),
        ];
        expect![[r#"
            title
                               figure    bar      ratio
              tasks, quorum 1  1234 /s   >= 1000   1.23
              idle CPU         0.0321 %  <= 0.10   3.12
              program          41.2 MB
        "#]]
        .assert_eq(&format!("title\n{}", table(&figures)));
    }
}
