//! A page of text for people: lines, named fields, tables.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement};
use isos_base::Time;
use owo_colors::OwoColorize;

/// What a text says by its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Worth a look.
    Warn,
    /// Something failed.
    Bad,
    /// Not so important.
    Dim,
    /// A title.
    Bold,
}

/// A page that is being written.
#[derive(Debug)]
pub(crate) struct Page {
    now: Time,
    color: bool,
    text: String,
}

/// Rows under a heading.
#[derive(Debug)]
pub(crate) struct Table {
    heads: Vec<&'static str>,
    right: Vec<bool>,
    rows: Vec<(Tone, Vec<String>)>,
}

const NAME_WIDTH: usize = 11;

impl Page {
    /// An empty page; times on it are relative to `now`.
    pub(crate) fn new(now: Time, color: bool) -> Self {
        Self { now, color, text: String::new() }
    }

    /// What time it is on this page.
    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// `text` in the colour of its tone.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.into();
        }
        match tone {
            Tone::Plain => text.into(),
            Tone::Good => text.green().to_string(),
            Tone::Warn => text.yellow().to_string(),
            Tone::Bad => text.red().to_string(),
            Tone::Dim => text.dimmed().to_string(),
            Tone::Bold => text.bold().to_string(),
        }
    }

    /// A line.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) {
        self.text.push_str(text.as_ref().trim_end());
        self.text.push('\n');
    }

    /// A line of one tone.
    pub(crate) fn toned(&mut self, tone: Tone, text: impl AsRef<str>) {
        let line = self.paint(tone, text.as_ref());
        self.line(line);
    }

    /// An indented line that begins with a name.
    pub(crate) fn field(&mut self, name: &str, value: impl AsRef<str>) {
        let name = self.paint(Tone::Dim, &format!("{name:<NAME_WIDTH$}"));
        self.line(format!("  {name} {}", value.as_ref()));
    }

    /// A table; nothing if it has no rows.
    pub(crate) fn table(&mut self, table: &Table) {
        if table.rows.is_empty() {
            return;
        }
        let text = table.layout();
        let tones = [Tone::Bold].into_iter().chain(table.rows.iter().map(|(tone, _)| *tone));
        for (line, tone) in text.lines().zip(tones) {
            self.toned(tone, line.trim_end());
        }
    }

    /// The text.
    pub(crate) fn finish(self) -> String {
        self.text
    }
}

impl Table {
    /// A table with these columns; those that begin with `>` are aligned right.
    pub(crate) fn new(heads: &[&'static str]) -> Self {
        let right = heads.iter().map(|head| head.starts_with('>')).collect();
        let heads = heads.iter().map(|head| head.trim_start_matches('>')).collect();
        Self { heads, right, rows: Vec::new() }
    }

    /// Adds a row; a cell is one line, whatever is in it.
    pub(crate) fn row(&mut self, tone: Tone, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.heads.len(), "a cell for each column");
        self.rows.push((tone, cells.into_iter().map(|cell| cell.replace('\n', " ")).collect()));
    }

    fn layout(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        // Never folded: a row is a line, for eyes and for grep.
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(&self.heads);
        for (_, cells) in &self.rows {
            table.add_row(cells);
        }
        for (column, right) in table.column_iter_mut().zip(&self.right) {
            column.set_padding((0, 2));
            column.set_constraint(ColumnConstraint::ContentWidth);
            if *right {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string()
    }
}
