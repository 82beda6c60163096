//! Slices as rows.

use isos_base::ids::{AccountId, SliceId};
use isos_base::record::SliceRecord;
use isos_base::slice::SliceState;

use super::{MANY, Record};
use crate::cells::{BadRow, Binder, Reader};
use crate::table::{Again, Table};

impl Record for SliceRecord {
    const TABLE: Table = Table {
        name: "slices",
        columns: &[
            "id", "account", "name", "limited", "made", "ends", "state", "ended", "slivers",
            "replaced",
        ],
        key: 1,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.id.0);
        to.number(self.account.0);
        to.text(&self.name);
        to.maybe_text(self.constraint.as_ref());
        to.time(self.made);
        to.time(self.until);
        to.text(match self.state {
            SliceState::Open => "open",
            SliceState::Dropped => "dropped",
            SliceState::Over => "over",
        });
        to.maybe_time(self.ended);
        to.packed(&self.slivers);
        to.maybe_packed((!self.replaced.is_empty()).then_some(&self.replaced));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self {
            id: SliceId(from.number()?),
            account: AccountId(from.number()?),
            name: from.text()?,
            constraint: from.maybe_text()?,
            made: from.time()?,
            until: from.time()?,
            state: match from.text()?.as_str() {
                "open" => SliceState::Open,
                "dropped" => SliceState::Dropped,
                "over" => SliceState::Over,
                other => return Err(from.bad(format!("{other:?}, which is no state"))),
            },
            ended: from.maybe_time()?,
            slivers: from.packed()?,
            replaced: from.maybe_packed()?.unwrap_or_default(),
        })
    }
}
