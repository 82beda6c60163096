//! The shipped machine in good and bad worlds.

use super::table::{Drawn, Row, Table, column};
use super::world::{Setting, measure};

pub(super) fn table() -> Table {
    Table {
        title: "The machine as it ships: what the honest believe after four epochs, as % of what is true",
        of: "hosts, and what happens",
        columns: vec![
            column("count", 1),
            column("10%", 1),
            column("90%", 1),
            column("within5%", 1),
            column("witness", 1),
            column("doubt", 1),
            column("cores", 1),
            column("sampled", 1),
            column("dead", 2),
            column("liars", 1),
            column("drawn", 1),
            column("public", 1),
            column("B/s", 0),
            column("most", 0),
            column("wrong", 2),
        ],
        drawn: Drawn::Columns(0..3),
        legend: "count: hosts, by the median host and by the tenths that are lowest and highest; \
                 within5%: hosts that are right\nto a twentieth. witness: by those who stand for all. \
                 doubt: hosts that say why not to believe it. cores: their\nmean; sampled: their \
                 median by descriptors that came by. dead: links to the dead. liars, drawn: links, \
                 and draws,\nthat are of liars. public: the share that can be called. B/s: sent and \
                 received by a host, 80 bytes around each\nmessage and handshakes included (target: \
                 1,500); most: by the busiest. wrong: % of the gone that were not.\n",
    }
}

pub(super) fn study(seed: u64, hosts: &[u32], mut tell: impl FnMut(Row)) {
    for &hosts in hosts {
        tell(line(&format!("{hosts}, quiet"), &Setting::quiet(seed, hosts)));
    }
    let quiet = Setting::quiet(seed, hosts.first().copied().unwrap_or(1_000));
    let hosts = quiet.hosts;
    for public in [0.5, 0.2] {
        let name = format!("{hosts}, {:.0} % public", public * 100.0);
        tell(line(&name, &Setting { public, ..quiet }));
    }
    for loss in [0.01, 0.05, 0.1] {
        let name = format!("{hosts}, {:.0} % lost", loss * 100.0);
        tell(line(&name, &Setting { loss, ..quiet }));
    }
    for churn in [0.001, 0.01] {
        let name = format!("{hosts}, {:.1} % replaced a cycle", churn * 100.0);
        tell(line(&name, &Setting { churn, ..quiet }));
    }
    for crash in [0.3, 0.5, 0.7, 0.95] {
        let name = format!("{hosts}, {:.0} % die at once", crash * 100.0);
        tell(line(&name, &Setting { crash, ..quiet }));
    }
    for liars in [0.01, 0.05, 0.1, 0.3] {
        let name = format!("{hosts}, {:.0} % lie", liars * 100.0);
        tell(line(&name, &Setting { liars, ..quiet }));
    }
}

fn line(name: &str, setting: &Setting) -> Row {
    let it = measure(setting);
    let percent = |share: f64| share * 100.0;
    let values = vec![
        percent(it.count.0),
        percent(it.count.1),
        percent(it.count.2),
        percent(it.right),
        percent(it.witnessed),
        percent(it.doubting),
        percent(it.cores),
        percent(it.sampled),
        percent(it.dead),
        percent(it.liars_known),
        percent(it.liars_drawn),
        percent(it.public),
        it.bytes,
        it.bytes_most,
        percent(it.gone_wrongly),
    ];
    Row { name: name.into(), values }
}
