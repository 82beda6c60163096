//! What was promised, and what became of it.

use isos_base::ids::ReservationId;
use isos_base::market::{BondRecord, ReservationRecord};

use super::{Lookup, PAGE_ROWS_MAX};
use crate::Db;
use crate::error::ReadError;

impl Db {
    /// A reservation, over or not, with its bonds: a page of them, the first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn reservation(
        &self,
        id: ReservationId,
    ) -> Result<Option<(ReservationRecord, Vec<BondRecord>)>, ReadError> {
        let record = self.one("WHERE id = $1", Lookup::default().number(id.0)).await?;
        let Some(record) = record else { return Ok(None) };
        let values = Lookup::default().number(id.0).limit(PAGE_ROWS_MAX);
        let bonds = self.page("WHERE reservation = $1 ORDER BY nth LIMIT $2", values).await?;
        Ok(Some((record, bonds)))
    }
}
