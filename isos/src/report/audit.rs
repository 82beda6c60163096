//! The audit log, and what a check of it found.

use isos_base::audit::{Actor, AuditRecord, Deed, SignedAudit};
use isos_base::key::PublicKey;
use isos_base::record::Proposed;
use isos_base::right::Right;
use isos_base::slice::SliceState;
use serde_json::{Value, json};

use crate::output::{Page, Report, Table, Tone, clean, credits, plural, stamp_deep};

/// Records of the log.
#[derive(Debug)]
pub(crate) struct AuditList(pub(crate) Vec<AuditRecord>);

fn key(key: &PublicKey) -> String {
    key.to_string().chars().take(10).collect()
}

fn id(id: &str) -> String {
    id.chars().take(16).collect()
}

fn words(rights: &[Right]) -> String {
    rights.iter().map(|right| right.name()).collect::<Vec<_>>().join(", ")
}

fn who(by: &Actor) -> String {
    match by {
        Actor::Complex => "the complex".into(),
        Actor::Token { account, id: token } => format!("token {} of {account}", id(token)),
        Actor::Key { account, key: by } => format!("key {} of {account}", key(by)),
        Actor::Host { host } => format!("host {}", host.short()),
    }
}

fn what(deed: &Deed) -> String {
    match deed {
        Deed::ServerLed { server, settings } => {
            format!("server {} leads: {settings}", key(server))
        }
        Deed::AccountOpened { name } => format!("account {name:?} opened"),
        Deed::CreditsGranted { amount, why, .. } => {
            format!("{} granted: {why}", credits(*amount))
        }
        Deed::TokenMade { id: token, rights, expires } => {
            format!("token {} made: {}, until {expires}", id(token), words(rights))
        }
        Deed::TokenRevoked { id: token, .. } => format!("token {} revoked", id(token)),
        Deed::KeyAdded { key: new, label, rights } => {
            format!("key {} ({label}) added: {}", key(new), words(rights))
        }
        Deed::KeyLabelled { key: of, label } => format!("key {} is {label:?} now", key(of)),
        Deed::KeyRemoved { key: old } => format!("key {} removed", key(old)),
        Deed::RecoverySet { key: new } => format!("recovery phrase made, key {}", key(new)),
        Deed::RecoveryAsked { key: new, due } => {
            format!("RECOVERY asked for by phrase, for key {}, due {due}", key(new))
        }
        Deed::RecoveryStopped { key: new } => format!("recovery for key {} stopped", key(new)),
        Deed::Recovered { key: new } => format!("RECOVERED: key {} is its only one", key(new)),
        Deed::HostAdmitted { host, .. } => format!("host {} admitted", host.short()),
        Deed::HostMoved { host, from } => {
            format!("host {} earned for {from} before", host.short())
        }
        Deed::HostSuspended { host, .. } => {
            format!("host {} sent away: its ticket was revoked", host.short())
        }
        Deed::HostBarred { host, why } => format!("host {} barred: {why}", host.short()),
        Deed::HostKeyRotated { old, new } => {
            format!("host {} has the key {} now", old.short(), new.short())
        }
        Deed::PayoutAsked { payout, amount, rail, to } => {
            format!("payout {payout} of {} to {to} over {rail} asked for", credits(*amount))
        }
        Deed::PayoutEnded { payout, amount, paid, answer } => {
            let how = if *paid { "paid" } else { "came back" };
            format!("payout {payout} of {} {how}: {answer}", credits(*amount))
        }
        Deed::Deposited { amount, rail, id, .. } => {
            format!("{} paid in over {rail}, {id}", credits(*amount))
        }
        Deed::JobSubmitted { job, held } => format!("job {job} submitted, {held} credits held"),
        Deed::BidChanged { job, bid, held } => {
            format!("job {job} bids {} micro-credits per gigafuel, {held} credits held", bid.0)
        }
        Deed::JobCancelled { job } => format!("job {job} cancelled"),
        Deed::CoresReserved { reservation, class, cores, from, until, held } => format!(
            "reservation {reservation}: {cores} cores of {class} from {from} until {until}, {held} \
             credits held"
        ),
        Deed::ReservationCancelled { reservation } => format!("reservation {reservation} given up"),
        Deed::StorageLeased { first, leases, bytes, until, held } => format!(
            "storage leased: {bytes} on each of {leases} hosts until {until}, leases from {first} \
             on; {held} credits held for storage"
        ),
        Deed::StorageChanged { first, leases, held } => format!(
            "{leases} storage leases changed, from {first} on; {held} credits held for storage"
        ),
        Deed::StorageReleased { first, leases, held } => format!(
            "{leases} storage leases given up, from {first} on; {held} credits held for storage"
        ),
        Deed::FirmOffered { host, cores } => {
            format!("host {} stands behind reservations with {cores} cores", host.short())
        }
        Deed::FirmEnded { host, leaves } => {
            format!("host {} stands behind no more reservations, and may go {leaves}", host.short())
        }
        Deed::SliceMade { slice, name, hosts, until } => {
            format!("slice {slice} ({name}) made of {hosts} hosts, until {until}")
        }
        Deed::SliceChanged { slice, name, hosts, until } => {
            format!("slice {slice} ({name}) has {hosts} hosts now, until {until}")
        }
        Deed::SliverMoved { slice, rank, from, to, why } => format!(
            "slice {slice}: host {} took rank {rank} from {}: {why}",
            to.short(),
            from.short()
        ),
        Deed::SliceEnded { slice, name, state } => {
            let how = if *state == SliceState::Dropped { "given up" } else { "over" };
            format!("slice {slice} ({name}) {how}")
        }
        Deed::ProposalMoved { proposal, what, agreed, needed, state } => {
            let what = match what {
                Proposed::Mint { account, amount, why } => {
                    format!("{} for account {account}: {why}", credits(*amount))
                }
                Proposed::Approvals(approvals) => format!("{approvals} operators must agree"),
            };
            let (state, agreed) = (format!("{state:?}").to_lowercase(), agreed.len());
            format!("proposal {proposal} is {state} ({agreed} of {needed} agree): {what}")
        }
    }
}

impl Report for AuditList {
    fn kind(&self) -> &'static str {
        "audit"
    }

    fn text(&self, page: &mut Page) {
        let mut table = Table::new(&["SEQ", "WHEN", "ACCOUNT", "WHAT", "BY"]);
        for record in &self.0 {
            let account = record.account.map_or_else(|| "-".into(), |it| it.to_string());
            let what = clean(&what(&record.deed)).into_owned();
            let when = record.at.to_string();
            let seq = record.seq.to_string();
            table.row(Tone::Plain, vec![seq, when, account, what, who(&record.by)]);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        stamp_deep(json!(self.0), &["at", "expires", "until", "due"])
    }

    fn quiet(&self, page: &mut Page) {
        for record in &self.0 {
            page.line(record.seq.to_string());
        }
    }
}

/// A log that was found right.
#[derive(Debug)]
pub(crate) struct AuditChecked {
    /// The log.
    pub(crate) log: SignedAudit,
    /// Whether the signing key is one that was expected.
    pub(crate) known: bool,
}

impl Report for AuditChecked {
    fn kind(&self) -> &'static str {
        "audit_check"
    }

    fn text(&self, page: &mut Page) {
        let records = plural(self.log.records.len() as u64, "record");
        page.toned(Tone::Good, format!("right: {records}, each chained to the one before"));
        let head = &self.log.signed.head;
        let whose = head.account.map_or_else(|| "all accounts".into(), |it| it.to_string());
        page.field("account", whose);
        page.field("last", format!("{} with the hash {}", head.last, head.hash));
        let complex = self.log.signed.complex;
        let known = if self.known { "" } else { " (not compared: no complex is known here)" };
        page.field("signed by", format!("{complex}{known}"));
    }

    fn json(&self) -> Value {
        let records = self.log.records.len();
        let value = json!({ "records": records, "signed": self.log.signed, "known": self.known });
        stamp_deep(value, &["at"])
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.log.signed.head.hash.to_string());
    }
}
