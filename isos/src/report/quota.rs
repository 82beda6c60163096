//! What an account holds of others' disks.

use isos_base::api::QuotaView;
use serde_json::{Value, json};

use crate::output::{Page, Report, Table, Tone, ago, credits, plural, stamp};

/// A quota.
#[derive(Debug)]
pub(crate) struct QuotaReport(pub(crate) QuotaView);

impl Report for QuotaReport {
    fn kind(&self) -> &'static str {
        "quota"
    }

    fn text(&self, page: &mut Page) {
        let quota = &self.0;
        let price = quota.price.0;
        if quota.leases == 0 {
            page.line(format!("account {} leases no storage", quota.account));
            page.field("price", format!("{price} µcr for a GiB and month on a host"));
            return;
        }
        let of = format!("{} on {}", quota.bytes, plural(quota.hosts, "host"));
        page.toned(Tone::Bold, format!("account {} leases {of}", quota.account));
        page.field("leases", format!("{} of {}", quota.leases, quota.leases_max));
        page.field("at most", quota.bytes_max.to_string());
        page.field("a month", credits(quota.month));
        page.field("held", credits(quota.held));
        page.field("price", format!("{price} µcr for a GiB and month on a host"));
        if let Some(end) = quota.next_end {
            page.field("first end", ago(page.now(), end));
        }
        if quota.away > 0 {
            let away = format!("{} not there now", plural(quota.away, "host"));
            page.toned(Tone::Warn, format!("{away}: they are not paid for the time"));
        }
        let mut table = Table::new(&["class", ">leases", ">bytes", ">credits a month"]);
        for class in &quota.classes {
            let row = vec![
                class.class.name().to_owned(),
                class.leases.to_string(),
                class.bytes.to_string(),
                class.month.to_string(),
            ];
            table.row(Tone::Plain, row);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        stamp(json!(self.0), &["next_end"])
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.0.bytes.0.to_string());
    }
}
