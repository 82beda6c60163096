//! Prices of classes and reservations as rows.

use isos_base::ids::{AccountId, ReservationId};
use isos_base::market::{
    BondRecord, BondState, FirmRecord, MarketRecord, ReservationRecord, ReservationState,
};
use isos_base::price::Price;
use isos_base::units::MicroCredits;

use super::{FEW, MANY, Record};
use crate::cells::{BadRow, Binder, Reader, transfer_bytes};
use crate::table::{Again, Table};

impl Record for MarketRecord {
    const TABLE: Table = Table {
        name: "markets",
        columns: &["class", "posted", "price", "fair", "at", "ticks", "hours"],
        key: 1,
        again: Again::Replace,
        rows_max: FEW,
    };

    fn bind(&self, to: &mut Binder) {
        to.text(&self.class);
        to.number(self.posted_milli);
        to.number(self.price.0.into());
        to.number(self.fair.0.into());
        to.time(self.at);
        to.packed(&self.ticks);
        to.packed(&self.hours);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self {
            class: from.text()?,
            posted_milli: from.number()?,
            price: Price(from.number()?),
            fair: Price(from.number()?),
            at: from.time()?,
            ticks: from.packed()?,
            hours: from.packed()?,
        })
    }
}

impl Record for ReservationRecord {
    const TABLE: Table = Table {
        name: "reservations",
        columns: &[
            "id",
            "account",
            "class",
            "cores",
            "behind",
            "service",
            "starts",
            "ends",
            "price",
            "premium",
            "penalty",
            "hold",
            "state",
            "wanted",
            "given",
            "ticks",
            "paid",
            "compensated",
            "standby",
            "bond",
            "forfeited",
        ],
        key: 1,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.id.0);
        to.number(self.account.0);
        to.text(&self.class);
        to.number(self.cores.into());
        to.number(self.behind.into());
        to.number(self.service_ppm.into());
        to.time(self.from);
        to.time(self.until);
        to.number(self.price.0.into());
        to.signed(self.premium.0);
        to.signed(self.penalty.0);
        to.bytes(transfer_bytes(self.hold));
        to.text(match self.state {
            ReservationState::Booked => "booked",
            ReservationState::Active => "active",
            ReservationState::Over => "over",
            ReservationState::Cancelled => "cancelled",
        });
        to.number(self.wanted);
        to.number(self.given);
        to.number(self.ticks);
        to.signed(self.paid.0);
        to.signed(self.compensated.0);
        to.signed(self.standby.0);
        to.signed(self.bond.0);
        to.signed(self.forfeited.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self {
            id: ReservationId(from.number()?),
            account: AccountId(from.number()?),
            class: from.text()?,
            cores: from.number()?,
            behind: from.number()?,
            service_ppm: from.number()?,
            from: from.time()?,
            until: from.time()?,
            price: Price(from.number()?),
            premium: MicroCredits(from.signed()?),
            penalty: MicroCredits(from.signed()?),
            hold: from.transfer()?,
            state: match from.text()?.as_str() {
                "booked" => ReservationState::Booked,
                "active" => ReservationState::Active,
                "over" => ReservationState::Over,
                "cancelled" => ReservationState::Cancelled,
                other => return Err(from.bad(format!("{other:?}, which is no state"))),
            },
            wanted: from.number()?,
            given: from.number()?,
            ticks: from.number()?,
            paid: MicroCredits(from.signed()?),
            compensated: MicroCredits(from.signed()?),
            standby: MicroCredits(from.signed()?),
            bond: MicroCredits(from.signed()?),
            forfeited: MicroCredits(from.signed()?),
        })
    }
}

impl Record for FirmRecord {
    const TABLE: Table = Table {
        name: "firm",
        columns: &["host", "account", "cores", "since", "leaves"],
        key: 1,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.bytes(self.host.0.0);
        to.number(self.account.0);
        to.number(self.cores.into());
        to.time(self.since);
        to.maybe_time(self.leaves);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self {
            host: from.host()?,
            account: AccountId(from.number()?),
            cores: from.number()?,
            since: from.time()?,
            leaves: from.maybe_time()?,
        })
    }
}

impl Record for BondRecord {
    const TABLE: Table = Table {
        name: "bonds",
        columns: &[
            "reservation",
            "nth",
            "host",
            "account",
            "cores",
            "starts",
            "ends",
            "amount",
            "hold",
            "state",
            "stood",
            "missed",
            "lost",
            "paid",
        ],
        key: 2,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.reservation.0);
        to.number(self.nth.into());
        to.bytes(self.host.0.0);
        to.number(self.account.0);
        to.number(self.cores.into());
        to.time(self.from);
        to.time(self.until);
        to.signed(self.amount.0);
        to.bytes(transfer_bytes(self.hold));
        to.text(match self.state {
            BondState::Standing => "standing",
            BondState::Returned => "returned",
            BondState::Forfeited => "forfeited",
        });
        to.number(self.stood);
        to.number(self.missed);
        to.signed(self.lost.0);
        to.signed(self.paid.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self {
            reservation: ReservationId(from.number()?),
            nth: from.number()?,
            host: from.host()?,
            account: AccountId(from.number()?),
            cores: from.number()?,
            from: from.time()?,
            until: from.time()?,
            amount: MicroCredits(from.signed()?),
            hold: from.transfer()?,
            state: match from.text()?.as_str() {
                "standing" => BondState::Standing,
                "returned" => BondState::Returned,
                "forfeited" => BondState::Forfeited,
                other => return Err(from.bad(format!("{other:?}, which is no state"))),
            },
            stood: from.number()?,
            missed: from.number()?,
            lost: MicroCredits(from.signed()?),
            paid: MicroCredits(from.signed()?),
        })
    }
}
