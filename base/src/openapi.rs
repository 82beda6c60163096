//! OpenAPI schemas of ids, keys and quantities, as they stand in JSON.
//!
//! By hand, in one table: these types choose their own JSON form, which a derive cannot see. The
//! structs and enums around them derive theirs.

use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::guid::Guid;
use crate::ids::{
    AccountId, BillId, HostId, JobId, LeaseId, PayoutId, ProposalId, ReservationId, SliceId,
};
use crate::key::PublicKey;
use crate::price::{Price, StoragePrice};
use crate::time::{Span, Time};
use crate::units::{Bytes, Fuel, MicroCredits};

macro_rules! schemas {
    ($($name:ty = $schema:expr;)*) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

/// 32 bytes in base32.
const BASE32: &str = "^[a-zA-Z2-7]{52}$";
const SPAN: &str = "^[0-9]+ *(us|ms|s|m|h|d)?$";
const GUID: &str = "v4jutol27g4uubk56xgzwrfuufeevrfmmaw4zlmlsepgwykpm7za";
const KEY: &str = "ukulhxs7tgtg6hexqv6w2rg2yiw2ecgrgbdimrxpimbnhm6vyfpa";

schemas! {
    Guid = text("The BLAKE3 hash of some bytes, in base32", BASE32, GUID);
    PublicKey = text("An Ed25519 public key, in base32", BASE32, KEY);
    HostId = text("A contributed machine: the public key of its agent", BASE32, KEY);
    Span = text("A length of time: us, ms, s, m, h or d; seconds without a unit", SPAN, "90s");
    Time = unsigned("A moment: microseconds since 1970-01-01 00:00 UTC");
    Bytes = unsigned("A number of bytes");
    Fuel = unsigned("Deterministic work: about one per executed instruction");
    MicroCredits = number("Money: a millionth of a credit");
    Price = unsigned("Micro-credits for 1,000,000,000 fuel");
    StoragePrice = unsigned("Micro-credits for a GiB that is kept for 30 days");
    JobId = unsigned("A job of this complex; counts up from 1");
    AccountId = unsigned("An account of this complex; the first few are the complex's own");
    BillId = unsigned("What one job owes one account for some leases; counts up from 1");
    ReservationId = unsigned("A firm reservation of this complex; counts up from 1");
    SliceId = unsigned("A slice of this complex; counts up from 1");
    LeaseId = unsigned("A right to one host's resources for a time; counts up from 1");
    PayoutId = unsigned("An order to pay out; counts up from 1");
    ProposalId = unsigned("Something that operators have to agree on; counts up from 1");
}

fn text(what: &str, pattern: &str, example: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(what))
        .pattern(Some(pattern))
        .examples([example])
        .build()
}

fn number(what: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .description(Some(what))
        .build()
}

/// OpenAPI has signed formats only: a number from 0 is one with a minimum.
fn unsigned(what: &str) -> Object {
    ObjectBuilder::from(number(what)).minimum(Some(0)).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_what_their_types_read() {
        assert!(GUID.parse::<Guid>().is_ok());
        assert!(KEY.parse::<HostId>().is_ok());
        assert_eq!("90s".parse(), Ok(Span::secs(90)));
    }
}
