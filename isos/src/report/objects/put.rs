//! What was put, or would be.

use isos_base::Bytes;
use isos_sdk::store::{Planned, Stored};
use serde_json::{Value, json};

use super::{planned, planned_json};
use crate::output::{Page, Report, Table, Tone, one_line, plural};

/// How something would be kept.
#[derive(Debug)]
pub(crate) struct PutPlan {
    /// Its name.
    pub(crate) name: String,
    /// Files in it.
    pub(crate) files: usize,
    /// Their bytes.
    pub(crate) bytes: Bytes,
    /// How.
    pub(crate) planned: Planned,
}

/// Something that was put.
#[derive(Debug)]
pub(crate) struct PutReport {
    /// Its name.
    pub(crate) name: String,
    /// What was stored.
    pub(crate) stored: Stored,
}

/// Several things that were put.
#[derive(Debug)]
pub(crate) struct PutList(pub(crate) Vec<PutReport>);

impl Report for PutPlan {
    fn kind(&self) -> &'static str {
        "put_plan"
    }

    fn text(&self, page: &mut Page) {
        let what = format!("{} in {}", self.bytes, plural(self.files as u64, "file"));
        page.toned(Tone::Bold, format!("{} ({what}) would be kept so:", one_line(&self.name)));
        planned(page, &self.planned);
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "files": self.files,
            "bytes": self.bytes,
            "plan": planned_json(&self.planned),
        })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.planned.plan.scheme.code.to_string());
    }
}

impl Report for PutReport {
    fn kind(&self) -> &'static str {
        "put"
    }

    fn text(&self, page: &mut Page) {
        let (stored, fragments) = (&self.stored, &self.stored.fragments);
        let what = format!("{} in {}", stored.bytes, plural(stored.files as u64, "file"));
        page.toned(Tone::Good, format!("{} is stored: {what}", one_line(&self.name)));
        page.field("object", stored.guid.to_string());
        let on = plural(fragments.hosts as u64, "host");
        page.field("on hosts", format!("{} on {on}", fragments.stored));
        planned(page, &fragments.planned);
        if fragments.missing > 0 {
            let missing = plural(fragments.missing, "fragment");
            let text = format!("{missing} found no host: `isos verify --repair` makes them later");
            page.toned(Tone::Warn, text);
        }
        for (host, why) in &fragments.replaced {
            page.toned(Tone::Warn, format!("host {} was left out: {why:?}", host.short()));
        }
    }

    fn json(&self) -> Value {
        let (stored, fragments) = (&self.stored, &self.stored.fragments);
        json!({
            "name": self.name,
            "guid": stored.guid,
            "files": stored.files,
            "bytes": stored.bytes,
            "stored": fragments.stored,
            "hosts": fragments.hosts,
            "missing": fragments.missing,
            "plan": planned_json(&fragments.planned),
        })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.stored.guid.to_string());
    }
}

impl Report for PutList {
    fn kind(&self) -> &'static str {
        "put_list"
    }

    fn text(&self, page: &mut Page) {
        let mut table = Table::new(&["stored", ">size", ">files", ">hosts", ">missing", "object"]);
        for PutReport { name, stored } in &self.0 {
            let fragments = &stored.fragments;
            let row = vec![
                one_line(name),
                stored.bytes.to_string(),
                stored.files.to_string(),
                fragments.hosts.to_string(),
                fragments.missing.to_string(),
                stored.guid.to_string(),
            ];
            table.row(if fragments.missing > 0 { Tone::Warn } else { Tone::Plain }, row);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        self.0.iter().map(Report::json).collect()
    }

    fn quiet(&self, page: &mut Page) {
        self.0.iter().for_each(|report| report.quiet(page));
    }
}
