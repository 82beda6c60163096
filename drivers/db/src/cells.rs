//! Values between records and columns, each conversion checked in both directions.
//!
//! Numbers are 64-bit signed in SQL, so what is above 2^63-1 cannot be kept and is an error, never
//! wrapped. Packed columns have a version byte in front, so that a later program can read them.

use isos_base::codec;
use isos_base::guid::Guid;
use isos_base::ids::{HostId, TransferId};
use isos_base::key::PublicKey;
use isos_base::time::Time;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::sql::{Engine, Readable, Row};
use crate::table::Table;
use crate::values::{Cell, Rows, Values};

/// The version of packed columns that this program writes.
const PACKED: u8 = 1;

/// A value that no column can hold. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{table}.{column} cannot hold {value}: the largest number is {}", i64::MAX)]
pub struct BadValue {
    /// Table.
    pub table: &'static str,
    /// Column.
    pub column: &'static str,
    /// What should have been written.
    pub value: String,
}

/// A row that this program cannot understand: changed by hand, damaged, or of a later program.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("row {key} of table {table}: column {column} holds {problem}")]
pub struct BadRow {
    /// Table.
    pub table: &'static str,
    /// The first key column.
    pub key: String,
    /// Column.
    pub column: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// The values of the rows of one statement, bound in the order of the table's columns.
pub(crate) struct Binder {
    table: Table,
    values: Rows,
    bound: usize,
    error: Option<BadValue>,
}

impl Binder {
    pub(crate) fn new(engine: Engine, table: Table, rows: usize) -> Self {
        let values = Rows::new(engine, rows * table.columns.len());
        Self { table, values, bound: 0, error: None }
    }

    /// How many rows are bound.
    pub(crate) fn rows(&self) -> usize {
        self.bound / self.table.columns.len()
    }

    /// Whether the statement should take no more rows.
    pub(crate) fn full(&self) -> bool {
        self.values.full()
    }

    /// The values, if all of them could be held and every row is complete.
    pub(crate) fn finish(self) -> Result<Values, BadValue> {
        let Self { table, values, bound, error } = self;
        assert_eq!(bound % table.columns.len(), 0, "a record of {} binds every column", table.name);
        if let Some(error) = error {
            return Err(error);
        }
        let too_large = |error: sqlx::error::BoxDynError| BadValue {
            table: table.name,
            column: table.columns[0],
            value: error.to_string(),
        };
        values.finish().map_err(too_large)
    }

    fn bind(&mut self, cell: Cell) {
        if let Err(error) = self.values.push(self.bound % self.table.columns.len(), cell) {
            self.refuse(error.to_string());
        }
        self.bound += 1;
    }

    fn refuse(&mut self, value: String) {
        let column = self.table.columns[self.bound % self.table.columns.len()];
        self.error.get_or_insert(BadValue { table: self.table.name, column, value });
    }

    pub(crate) fn number(&mut self, value: u64) {
        let number = i64::try_from(value).unwrap_or_else(|_| {
            self.refuse(value.to_string());
            0
        });
        self.signed(number);
    }

    pub(crate) fn signed(&mut self, value: i64) {
        self.bind(Cell::Number(Some(value)));
    }

    pub(crate) fn maybe_number(&mut self, value: Option<u64>) {
        match value {
            Some(value) => self.number(value),
            None => self.bind(Cell::Number(None)),
        }
    }

    pub(crate) fn flag(&mut self, value: bool) {
        self.bind(Cell::Flag(Some(value)));
    }

    pub(crate) fn time(&mut self, value: Time) {
        self.number(value.0);
    }

    pub(crate) fn maybe_time(&mut self, value: Option<Time>) {
        self.maybe_number(value.map(|time| time.0));
    }

    pub(crate) fn text(&mut self, value: impl Into<String>) {
        self.maybe_text(Some(value));
    }

    pub(crate) fn maybe_text(&mut self, value: Option<impl Into<String>>) {
        self.bind(Cell::Text(value.map(Into::into)));
    }

    pub(crate) fn bytes(&mut self, value: impl Into<Vec<u8>>) {
        self.maybe_bytes(Some(value));
    }

    pub(crate) fn maybe_bytes(&mut self, value: Option<impl Into<Vec<u8>>>) {
        self.bind(Cell::Bytes(value.map(Into::into)));
    }

    pub(crate) fn packed<T: Serialize>(&mut self, value: &T) {
        // Postcard writes tuples without a frame: the byte stands in front of the value.
        self.bytes(codec::encode(&(PACKED, value)));
    }

    pub(crate) fn maybe_packed<T: Serialize>(&mut self, value: Option<&T>) {
        self.maybe_bytes(value.map(|value| codec::encode(&(PACKED, value))));
    }
}

/// The columns of one row, read in the order of the table's columns.
pub(crate) struct Reader<'r> {
    table: Table,
    row: &'r Row,
    next: usize,
}

impl<'r> Reader<'r> {
    pub(crate) fn new(table: Table, row: &'r Row) -> Self {
        Self { table, row, next: 0 }
    }

    /// The column that was read last is not what it should be.
    pub(crate) fn bad(&self, problem: impl Into<String>) -> BadRow {
        let number = |_| self.row.get::<i64>(0).map(|key| key.to_string());
        let bytes = |_| self.row.get::<Vec<u8>>(0).map(|key| hex(&key));
        let key = Err(()).or_else(number).or_else(bytes).unwrap_or_else(|_| "?".into());
        let column = self.table.columns[self.next.saturating_sub(1)];
        BadRow { table: self.table.name, key, column, problem: problem.into() }
    }

    fn get<T: Readable<'r>>(&mut self) -> Result<T, BadRow> {
        let column = self.next;
        self.next += 1;
        self.row.get(column).map_err(|error| self.bad(error.to_string()))
    }

    pub(crate) fn signed(&mut self) -> Result<i64, BadRow> {
        self.get()
    }

    /// A number that fits the wanted type.
    pub(crate) fn number<N: TryFrom<i64>>(&mut self) -> Result<N, BadRow> {
        let number: i64 = self.get()?;
        N::try_from(number).map_err(|_| self.bad(format!("{number}, which is out of range")))
    }

    pub(crate) fn maybe_number(&mut self) -> Result<Option<u64>, BadRow> {
        let number: Option<i64> = self.get()?;
        number
            .map(u64::try_from)
            .transpose()
            .map_err(|_| self.bad(format!("{number:?}, which is out of range")))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, BadRow> {
        self.get()
    }

    pub(crate) fn time(&mut self) -> Result<Time, BadRow> {
        self.number().map(Time)
    }

    pub(crate) fn maybe_time(&mut self) -> Result<Option<Time>, BadRow> {
        Ok(self.maybe_number()?.map(Time))
    }

    pub(crate) fn text(&mut self) -> Result<String, BadRow> {
        self.maybe_text()?.ok_or_else(|| self.bad("no text"))
    }

    pub(crate) fn maybe_text(&mut self) -> Result<Option<String>, BadRow> {
        let column = self.next;
        self.next += 1;
        self.row.text(column).map_err(|error| self.bad(error.to_string()))
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, BadRow> {
        self.get::<&[u8]>().map(<[u8]>::to_vec)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadRow> {
        let bytes: &[u8] = self.get()?;
        bytes.try_into().map_err(|_| self.bad(format!("{} bytes, not {N}", bytes.len())))
    }

    fn maybe_array<const N: usize>(&mut self) -> Result<Option<[u8; N]>, BadRow> {
        let Some(bytes) = self.get::<Option<&[u8]>>()? else { return Ok(None) };
        let array = bytes.try_into();
        array.map(Some).map_err(|_| self.bad(format!("{} bytes, not {N}", bytes.len())))
    }

    pub(crate) fn guid(&mut self) -> Result<Guid, BadRow> {
        self.array().map(Guid)
    }

    pub(crate) fn maybe_guid(&mut self) -> Result<Option<Guid>, BadRow> {
        Ok(self.maybe_array()?.map(Guid))
    }

    pub(crate) fn maybe_host(&mut self) -> Result<Option<HostId>, BadRow> {
        Ok(self.maybe_array()?.map(|key| HostId(PublicKey(key))))
    }

    pub(crate) fn host(&mut self) -> Result<HostId, BadRow> {
        self.array().map(|key| HostId(PublicKey(key)))
    }

    pub(crate) fn key(&mut self) -> Result<PublicKey, BadRow> {
        self.array().map(PublicKey)
    }

    pub(crate) fn maybe_key(&mut self) -> Result<Option<PublicKey>, BadRow> {
        Ok(self.maybe_array()?.map(PublicKey))
    }

    pub(crate) fn transfer(&mut self) -> Result<TransferId, BadRow> {
        self.array().map(|id| TransferId(u128::from_be_bytes(id)))
    }

    pub(crate) fn maybe_transfer(&mut self) -> Result<Option<TransferId>, BadRow> {
        Ok(self.maybe_array()?.map(|id| TransferId(u128::from_be_bytes(id))))
    }

    pub(crate) fn packed<T: DeserializeOwned>(&mut self) -> Result<T, BadRow> {
        let bytes: &[u8] = self.get()?;
        self.unpack(bytes)
    }

    /// A value that may have been written by a program whose shape ended earlier: `rest` is what
    /// stands for the fields behind that.
    pub(crate) fn packed_grown<T: DeserializeOwned>(&mut self, rest: &[u8]) -> Result<T, BadRow> {
        let bytes: &[u8] = self.get()?;
        // A value is never the beginning of another: what is whole is not taken for half of one.
        self.unpack(bytes).or_else(|error| self.unpack(&[bytes, rest].concat()).map_err(|_| error))
    }

    pub(crate) fn maybe_packed<T: DeserializeOwned>(&mut self) -> Result<Option<T>, BadRow> {
        let bytes: Option<&[u8]> = self.get()?;
        bytes.map(|bytes| self.unpack(bytes)).transpose()
    }

    fn unpack<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, BadRow> {
        match bytes {
            [PACKED, rest @ ..] => codec::decode(rest).map_err(|error| self.bad(error.to_string())),
            [version, ..] => Err(self.bad(format!("a value of the unknown version {version}"))),
            [] => Err(self.bad("nothing")),
        }
    }
}

/// For messages.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A transfer's id in its column.
pub(crate) fn transfer_bytes(id: TransferId) -> Vec<u8> {
    id.0.to_be_bytes().into()
}
