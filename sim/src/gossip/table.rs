//! What a study measures: lines with a number in each column, printed, for other programs, and
//! drawn.

use std::fmt::Write;

use crate::plot::{Plot, Series};

/// A table that grows line by line.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What it shows.
    pub title: &'static str,
    /// What a line is.
    pub of: &'static str,
    /// The columns.
    pub columns: Vec<Column>,
    /// Which of them are drawn as places of one line each; else each is a line over all rows.
    pub drawn: Drawn,
    /// What stands below.
    pub legend: &'static str,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its head.
    pub name: String,
    /// Digits behind the point.
    pub digits: usize,
}

/// How it is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drawn {
    /// Each row is a line over these columns.
    Rows(std::ops::Range<usize>),
    /// Each of these columns is a line over the rows.
    Columns(std::ops::Range<usize>),
}

/// A line: what it is, and its numbers; what is not known is not a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What stands in front.
    pub name: String,
    /// By column.
    pub values: Vec<f64>,
}

/// A column.
pub(super) fn column(name: impl Into<String>, digits: usize) -> Column {
    Column { name: name.into(), digits }
}

/// Room for the names of lines.
const NAME_WIDTH: usize = 34;

impl Table {
    /// Title and head.
    #[must_use]
    pub fn head(&self) -> String {
        let mut text = format!("{}\n{:<NAME_WIDTH$}", self.title, self.of);
        for column in &self.columns {
            let _ = write!(text, " {:>1$}", column.name, width(column));
        }
        text + "\n"
    }

    /// One line, without its end.
    #[must_use]
    pub fn line(&self, row: &Row) -> String {
        let mut text = format!("{:<NAME_WIDTH$}", row.name);
        for (column, value) in self.columns.iter().zip(&row.values) {
            let shown = match value.is_nan() {
                true => "-".into(),
                false => format!("{value:.0$}", column.digits),
            };
            let _ = write!(text, " {:>1$}", shown, width(column));
        }
        text
    }

    /// All lines, for other programs.
    #[must_use]
    pub fn csv(&self, rows: &[Row]) -> String {
        let mut text = format!("\"{}\"", self.of);
        self.columns.iter().for_each(|column| text = format!("{text},\"{}\"", column.name));
        text.push('\n');
        for row in rows {
            let _ = write!(text, "\"{}\"", row.name);
            for (column, value) in self.columns.iter().zip(&row.values) {
                // As exact as it was measured.
                let digits = column.digits + 3;
                let _ = match value.is_nan() {
                    true => write!(text, ","),
                    false => write!(text, ",{value:.digits$}"),
                };
            }
            text.push('\n');
        }
        text
    }

    /// A picture.
    #[must_use]
    pub fn chart(&self, rows: &[Row]) -> String {
        let (names, series): (Vec<String>, Vec<Series>) = match &self.drawn {
            Drawn::Rows(range) => {
                let names = self.columns[range.clone()].iter().map(|it| it.name.clone()).collect();
                let of = |row: &Row| Series {
                    name: row.name.clone(),
                    values: row.values[range.clone()].to_vec(),
                };
                (names, rows.iter().map(of).collect())
            }
            Drawn::Columns(range) => {
                let names = rows.iter().map(|row| row.name.clone()).collect();
                let of = |at: usize| Series {
                    name: self.columns[at].name.clone(),
                    values: rows.iter().map(|row| row.values[at]).collect(),
                };
                (names, range.clone().map(of).collect())
            }
        };
        let places: Vec<(usize, String)> = names.into_iter().enumerate().collect();
        let (title, series) = (self.title, &series[..]);
        Plot { title, places: &places, series, least_high: 0.0, decimals: 2 }.draw()
    }
}

fn width(column: &Column) -> usize {
    column.name.chars().count().max(6 + column.digits)
}
