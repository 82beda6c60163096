//! Storage leases and keepers as rows.

use isos_base::fragment::StorageClass;
use isos_base::ids::{AccountId, LeaseId};
use isos_base::price::StoragePrice;
use isos_base::record::{KeeperRecord, StorageRecord};
use isos_base::storage::StorageState;
use isos_base::time::Span;
use isos_base::units::{Bytes, MicroCredits};

use super::{MANY, Record};
use crate::cells::{BadRow, Binder, Reader};
use crate::table::{Again, Table};

impl Record for StorageRecord {
    const TABLE: Table = Table {
        name: "storage",
        columns: &[
            "id",
            "first",
            "account",
            "host",
            "holder",
            "class",
            "bytes",
            "price",
            "state",
            "begun",
            "issued",
            "ends",
            "settled",
            "shown",
            "settlements",
            "charged",
            "paid",
            "told",
        ],
        key: 1,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.id.0);
        to.number(self.first.0);
        to.number(self.account.0);
        to.bytes(self.host.0.0);
        to.bytes(self.holder.0);
        to.text(self.class.name());
        to.number(self.bytes.0);
        to.number(self.price.0.into());
        to.text(match self.state {
            StorageState::Open => "open",
            StorageState::Released => "released",
            StorageState::Ended => "ended",
        });
        to.time(self.begun);
        to.time(self.issued);
        to.time(self.until);
        to.time(self.settled);
        to.number(self.shown.0);
        to.number(self.settlements.into());
        to.signed(self.charged.0);
        to.signed(self.paid.0);
        to.flag(self.told);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self {
            id: LeaseId(from.number()?),
            first: LeaseId(from.number()?),
            account: AccountId(from.number()?),
            host: from.host()?,
            holder: from.key()?,
            class: {
                let name = from.text()?;
                let found = StorageClass::ALL.into_iter().find(|class| class.name() == name);
                found.ok_or_else(|| from.bad(format!("{name:?}, which is no class")))?
            },
            bytes: Bytes(from.number()?),
            price: StoragePrice(from.number()?),
            state: match from.text()?.as_str() {
                "open" => StorageState::Open,
                "released" => StorageState::Released,
                "ended" => StorageState::Ended,
                other => return Err(from.bad(format!("{other:?}, which is no state"))),
            },
            begun: from.time()?,
            issued: from.time()?,
            until: from.time()?,
            settled: from.time()?,
            shown: Span(from.number()?),
            settlements: from.number()?,
            charged: MicroCredits(from.signed()?),
            paid: MicroCredits(from.signed()?),
            told: from.flag()?,
        })
    }
}

impl Record for KeeperRecord {
    const TABLE: Table = Table {
        name: "keepers",
        columns: &["host", "offer", "since", "present", "counted", "heard", "failed"],
        key: 1,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.bytes(self.host.0.0);
        to.packed(&self.offer);
        to.time(self.since);
        to.number(self.present.0);
        to.time(self.counted);
        to.time(self.heard);
        to.maybe_time(self.failed);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self {
            host: from.host()?,
            offer: from.packed()?,
            since: from.time()?,
            present: Span(from.number()?),
            counted: from.time()?,
            heard: from.time()?,
            failed: from.maybe_time()?,
        })
    }
}
