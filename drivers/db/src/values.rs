//! Values on their way into statements: one by one, or many rows at once.

use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;

use crate::sql::{Engine, SqlError};

/// Bytes after which a statement of PostgreSQL takes no more rows.
const STATEMENT_BYTES: usize = 8 << 20;

/// Stands for a character in a text of PostgreSQL, with one behind it that says which. It is no
/// character of any language, and never will be one.
const ESCAPE: char = '\u{10ffff}';

/// PostgreSQL keeps every character but NUL. What others write, and be it a task's output, must
/// not be able to stop the writer, so NUL is written as two others; no two texts become one.
fn escaped(text: String) -> String {
    if !text.contains(['\0', ESCAPE]) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '\0' => out.extend([ESCAPE, '0']),
            ESCAPE => out.extend([ESCAPE, '1']),
            letter => out.push(letter),
        }
    }
    out
}

pub(crate) fn plain(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ESCAPE => out.push(if letters.next() == Some('0') { '\0' } else { ESCAPE }),
            letter => out.push(letter),
        }
    }
    out
}

/// A value on its way into a statement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Number(Option<i64>),
    Flag(Option<bool>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl Cell {
    /// About how many bytes it takes.
    fn size(&self) -> usize {
        match self {
            Self::Number(_) | Self::Flag(_) => 8,
            Self::Text(text) => text.as_ref().map_or(0, String::len),
            Self::Bytes(bytes) => bytes.as_ref().map_or(0, Vec::len),
        }
    }
}

type Added = Result<(), sqlx::error::BoxDynError>;

fn add_to_sqlite(values: &mut SqliteArguments, cell: Cell) -> Added {
    match cell {
        Cell::Number(number) => values.add(number),
        Cell::Flag(flag) => values.add(flag),
        Cell::Text(text) => values.add(text),
        Cell::Bytes(bytes) => values.add(bytes),
    }
}

fn add_to_postgres(values: &mut PgArguments, cell: Cell) -> Added {
    match cell {
        Cell::Number(number) => values.add(number),
        Cell::Flag(flag) => values.add(flag),
        Cell::Text(text) => values.add(text.map(escaped)),
        Cell::Bytes(bytes) => values.add(bytes),
    }
}

/// The values of a statement.
pub(crate) enum Values {
    Sqlite(SqliteArguments),
    Postgres(PgArguments),
}

impl Values {
    pub(crate) fn of(engine: Engine, cells: Vec<Cell>) -> Result<Self, SqlError> {
        let encode = SqlError::Encode;
        Ok(match engine {
            Engine::Sqlite => {
                let mut values = SqliteArguments::default();
                cells
                    .into_iter()
                    .try_for_each(|cell| add_to_sqlite(&mut values, cell))
                    .map_err(encode)?;
                Self::Sqlite(values)
            }
            Engine::Postgres => {
                let mut values = PgArguments::default();
                cells
                    .into_iter()
                    .try_for_each(|cell| add_to_postgres(&mut values, cell))
                    .map_err(encode)?;
                Self::Postgres(values)
            }
        })
    }
}

/// The values of many rows for one statement of a table: SQLite has them one by one, PostgreSQL has
/// one array for each column, so that one prepared statement serves any number of rows.
pub(crate) enum Rows {
    Sqlite(SqliteArguments),
    Postgres { columns: Vec<Array>, bytes: usize },
}

/// The values of a column.
pub(crate) enum Array {
    Numbers(Vec<Option<i64>>),
    Flags(Vec<Option<bool>>),
    Texts(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Array {
    fn of(cell: &Cell) -> Self {
        match cell {
            Cell::Number(_) => Self::Numbers(Vec::new()),
            Cell::Flag(_) => Self::Flags(Vec::new()),
            Cell::Text(_) => Self::Texts(Vec::new()),
            Cell::Bytes(_) => Self::Bytes(Vec::new()),
        }
    }

    fn push(&mut self, cell: Cell) {
        match (self, cell) {
            (Self::Numbers(all), Cell::Number(number)) => all.push(number),
            (Self::Flags(all), Cell::Flag(flag)) => all.push(flag),
            (Self::Texts(all), Cell::Text(text)) => all.push(text.map(escaped)),
            (Self::Bytes(all), Cell::Bytes(bytes)) => all.push(bytes),
            _ => unreachable!("each row binds a column with the same type"),
        }
    }
}

impl Rows {
    /// For about so many values.
    pub(crate) fn new(engine: Engine, values: usize) -> Self {
        match engine {
            Engine::Sqlite => {
                let mut arguments = SqliteArguments::default();
                arguments.reserve(values, 0);
                Self::Sqlite(arguments)
            }
            Engine::Postgres => Self::Postgres { columns: Vec::new(), bytes: 0 },
        }
    }

    /// The next value, which belongs to this column.
    pub(crate) fn push(&mut self, column: usize, cell: Cell) -> Added {
        match self {
            Self::Sqlite(values) => add_to_sqlite(values, cell),
            Self::Postgres { columns, bytes } => {
                *bytes += cell.size();
                if column == columns.len() {
                    columns.push(Array::of(&cell));
                }
                columns[column].push(cell);
                Ok(())
            }
        }
    }

    /// Whether the statement is large enough.
    pub(crate) fn full(&self) -> bool {
        matches!(self, Self::Postgres { bytes, .. } if *bytes >= STATEMENT_BYTES)
    }

    pub(crate) fn finish(self) -> Result<Values, sqlx::error::BoxDynError> {
        Ok(match self {
            Self::Sqlite(values) => Values::Sqlite(values),
            Self::Postgres { columns, .. } => {
                let mut values = PgArguments::default();
                for column in columns {
                    match column {
                        Array::Numbers(all) => values.add(all),
                        Array::Flags(all) => values.add(all),
                        Array::Texts(all) => values.add(all),
                        Array::Bytes(all) => values.add(all),
                    }?;
                }
                Values::Postgres(values)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_nul_comes_back_and_meets_no_other() {
        let texts = ["", "a", "\0", "\u{10ffff}0", "\u{10ffff}", "\u{10ffff}1", "a\0\0b", "ä\0"];
        let written = texts.map(|text| escaped(text.into()));
        for (text, written) in texts.iter().zip(&written) {
            assert!(!written.contains('\0'));
            assert_eq!(plain(written.clone()), *text);
        }
        let distinct: std::collections::BTreeSet<_> = written.iter().collect();
        assert_eq!(distinct.len(), texts.len());
    }
}
