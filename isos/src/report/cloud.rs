//! What this machine knows of all hosts by itself.

use isos_agent::CloudStatus;
use isos_base::api::ComplexStatus;
use isos_base::{Bytes, Span};
use isos_gossip::estimate::{QUANTILES, Spread};
use isos_gossip::{Attribute, Estimate};
use serde_json::{Value, json};

use crate::output::{Page, Report, Table, Tone, ago, clean, duration, plural, stamp_deep};

const TIMES: &[&str] = &["now", "began", "ended", "admitted_until"];

/// What the agent estimates, and what the complex says, or why it says nothing.
#[derive(Debug)]
pub(crate) struct CloudReport {
    pub(crate) cloud: CloudStatus,
    pub(crate) complex: Result<ComplexStatus, String>,
}

/// A number of an attribute, in its unit.
fn shown(attribute: Attribute, value: f64) -> String {
    match attribute {
        Attribute::MemoryFree | Attribute::DiskFree => Bytes(value as u64).to_string(),
        Attribute::Uptime => duration(Span((value * 1e6) as u64).rounded()),
        Attribute::Busy => format!("{:.0} %", value * 100.0),
        _ if value >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    }
}

/// The sum of an attribute, where it says something.
fn sum(attribute: Attribute, spread: &Spread) -> String {
    match attribute {
        Attribute::Uptime => "-".into(),
        // Of shares the sum is how many there are.
        Attribute::Busy => format!("{:.0}", spread.sum),
        _ => shown(attribute, spread.sum),
    }
}

/// How many the complex has that are there.
fn present(complex: &ComplexStatus) -> u32 {
    let hosts = &complex.hosts;
    hosts.working + hosts.idle + hosts.asleep + hosts.quiet
}

impl CloudReport {
    fn verdict(&self) -> (Tone, String) {
        let cloud = &self.cloud;
        match &cloud.estimate {
            Some(it) if it.doubts.is_empty() => {
                (Tone::Good, format!("about {} by this host's own account", hosts(it)))
            }
            Some(it) => {
                let why = it.doubts.first().map(ToString::to_string).unwrap_or_default();
                (Tone::Warn, format!("about {}, but {}", hosts(it), clean(&why)))
            }
            None => (Tone::Warn, format!("nothing is known yet: {}", self.why_nothing())),
        }
    }

    fn why_nothing(&self) -> String {
        let cloud = &self.cloud;
        if !cloud.allowed {
            return "the policy does not let the network be used now (`isos policy explain`)"
                .into();
        }
        if cloud.admitted_until.is_none() {
            return "the complex has not admitted this host yet, see `isos status`".into();
        }
        if cloud.known_public == 0 {
            return "no other host is known that can be called".into();
        }
        let (epoch, most) = (duration(cloud.epoch), duration(Span(cloud.epoch.0 * 2)));
        format!("all is summed up anew every {epoch}, so it takes {most} at the most")
    }

    fn complex_line(&self) -> String {
        match &self.complex {
            Ok(complex) => format!("it counts {}", plural(present(complex), "host")),
            Err(why) => format!("no answer, and none is needed: {}", clean(why)),
        }
    }
}

fn hosts(it: &Estimate) -> String {
    plural(it.hosts.round().max(0.0) as u64, "host")
}

impl Report for CloudReport {
    fn kind(&self) -> &'static str {
        "cloud"
    }

    fn text(&self, page: &mut Page) {
        let (tone, verdict) = self.verdict();
        page.toned(tone, verdict);
        let cloud = &self.cloud;
        page.field("complex", self.complex_line());
        let access = if cloud.public { "others can call it" } else { "it cannot be called" };
        page.field("this host", format!("{}, {access}", cloud.host.short()));
        let (public, private) = (cloud.known_public, cloud.known_private);
        let known = format!("{} that can be called, {private} that cannot", plural(public, "host"));
        page.field("knows", known);
        let met = format!(
            "{} of {} met, {} have called; another each {}",
            cloud.answered,
            cloud.begun,
            cloud.served,
            duration(cloud.cycle)
        );
        page.field("exchanges", met);
        let Some(it) = &cloud.estimate else { return };
        let (least, most) = it.hosts_between;
        let counted =
            format!("{:.1}, between {least:.1} and {most:.1} by {} counts", it.hosts, it.counts);
        page.field("counted", counted);
        let (witnessed, error) = it.hosts_witnessed;
        let give = if error > 0.0 {
            format!(", give or take {:.0} %", error * 100.0)
        } else {
            String::new()
        };
        page.field("witnessed", format!("{witnessed:.0}{give}"));
        if let Some(share) = it.public {
            page.field("public", format!("{:.0} % can be called", share * 100.0));
        }
        page.field("as of", ago(cloud.now, it.began));
        for doubt in &it.doubts {
            page.field("doubt", page.paint(Tone::Warn, &clean(&doubt.to_string())));
        }
        page.line("");
        let mut heads = vec!["each host", ">all", ">mean", ">least"];
        let names = QUANTILES.map(|share| match (share * 100.0).round() as u32 {
            10 => ">10 %",
            25 => ">25 %",
            50 => ">median",
            75 => ">75 %",
            _ => ">90 %",
        });
        heads.extend(names);
        heads.extend([">most", ">less than this"]);
        let mut table = Table::new(&heads);
        for (attribute, spread) in Attribute::ALL.into_iter().zip(&it.attributes) {
            let mut row = vec![
                clean(&spread.name).replace('_', " "),
                sum(attribute, spread),
                shown(attribute, spread.mean),
                shown(attribute, spread.least),
            ];
            row.extend(spread.quantiles.iter().map(|value| shown(attribute, *value)));
            row.push(shown(attribute, spread.most));
            row.push(format!("{:.0} %", spread.rank * 100.0));
            table.row(Tone::Plain, row);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        let (tone, verdict) = self.verdict();
        let complex = match &self.complex {
            Ok(complex) => json!({ "hosts": present(complex), "cores": complex.cores }),
            Err(why) => json!({ "error": why }),
        };
        json!({
            "ok": tone == Tone::Good,
            "verdict": verdict,
            "cloud": stamp_deep(json!(self.cloud), TIMES),
            "complex": complex,
        })
    }

    fn quiet(&self, page: &mut Page) {
        if let Some(it) = &self.cloud.estimate {
            page.line(format!("{:.0}", it.hosts));
        }
    }
}
