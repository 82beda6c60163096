//! Health, metrics and the dashboard: for operators, on loopback, without a token.
//!
//! Metrics and dashboard are on the TCP socket alone: the other one is open to everybody.

use std::fmt::Write;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use isos_base::Span;
use isos_base::api::ComplexStatus;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Answer, App, AppState};
use crate::metrics::Queue;

/// The process runs.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "healthz",
    tag = "pages",
    security(()),
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "`ok`"),
    ),
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The core answers, so the database commits.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readyz",
    tag = "pages",
    security(()),
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "`ready`"),
        (status = 503, body = String, content_type = "text/plain", description = "It does not"),
    ),
)]
pub(super) async fn readyz(State(shared): AppState) -> Response {
    let asked = tokio::time::timeout(super::KEEP_ALIVE, shared.core.query(|_, _| ())).await;
    match asked {
        Ok(Ok(())) => "ready\n".into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the core does not answer\n").into_response(),
    }
}

/// Totals are so old at the most on a page that anybody may ask for.
const PAGE_FOR: Duration = Duration::from_secs(1);
/// Totals are good for so many times as long as it took to reckon them: the core spends no more
/// than a twentieth of its time on them, however many ask.
const LOOK_TIMES: u32 = 20;

/// The totals of late. All hosts, jobs and accounts are walked for them.
#[derive(Default)]
pub(crate) struct Looks(Mutex<Option<Look>>);

struct Look {
    at: Instant,
    took: Duration,
    status: ComplexStatus,
}

/// For people: nobody wants to know the microsecond.
const fn whole_secs(span: Span) -> Span {
    Span::secs(span.0 / 1_000_000)
}

/// The totals, not older than `old` if they are cheap. Those who ask at once wait for one answer.
pub(super) async fn look(shared: &App, old: Duration) -> Answer<ComplexStatus> {
    let (key, started) = (shared.key, shared.started);
    let mut last = shared.looks.0.lock().await;
    if let Some(look) = &*last
        && look.at.elapsed() < old.max(look.took * LOOK_TIMES)
    {
        let up = whole_secs(crate::clock::now().since(started));
        let ledger_wrong = shared.recount.wrong().map(str::to_owned);
        return Ok(ComplexStatus { up, ledger_wrong, ..look.status.clone() });
    }
    let version = env!("CARGO_PKG_VERSION");
    let reckon = move |complex: &mut isos_kernel::complex::Complex, now: isos_base::Time| {
        let begun = Instant::now();
        let status = ComplexStatus {
            up: whole_secs(now.since(started)),
            ..complex.status(key, version, started)
        };
        (status, begun.elapsed())
    };
    let (mut status, took) = shared.core.query(reckon).await?;
    status.ledger_wrong = shared.recount.wrong().map(str::to_owned);
    *last = Some(Look { at: Instant::now(), took, status: status.clone() });
    Ok(status)
}

/// Prometheus text.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "pages",
    security(()),
    responses(
        (
            status = 200,
            body = String,
            content_type = "text/plain; version=0.0.4",
            description = "Metrics",
        ),
        (status = 503, response = super::Failure),
    ),
)]
pub(super) async fn metrics(State(shared): AppState) -> Answer<Response> {
    let status = look(&shared, PAGE_FOR).await?;
    let mut text = String::new();
    let mut put = |name: &str, kind: &str, what: &str, value: u64| {
        let _ = write!(text, "# HELP {name} {what}\n# TYPE {name} {kind}\n{name} {value}\n");
    };
    let hosts = status.hosts;
    for (state, count) in [
        ("working", hosts.working),
        ("idle", hosts.idle),
        ("asleep", hosts.asleep),
        ("quiet", hosts.quiet),
        ("lost", hosts.lost),
        ("barred", hosts.barred),
    ] {
        put(&format!("isos_hosts_{state}"), "gauge", "Hosts in this state.", count.into());
    }
    put("isos_leads", "gauge", "1 on the server that leads, 0 on others.", 1);
    put(
        "isos_epoch",
        "gauge",
        "Leaders so far, where there may be several servers.",
        shared.db.epoch().unwrap_or(0),
    );
    put("isos_cores", "gauge", "Cores offered now.", status.cores.into());
    put("isos_jobs", "gauge", "Jobs that are not over.", status.jobs.into());
    put("isos_tasks_open", "gauge", "Tasks not accepted yet.", status.tasks_open);
    put("isos_transfers_total", "counter", "Transfers in the ledger.", status.transfers);
    let what = "1 if the ledger is not what was written: nothing is signed then.";
    let wrong = status.ledger_wrong.is_some() || status.ledger_sum != 0;
    put("isos_ledger_wrong", "gauge", what, wrong.into());
    put("isos_objects_bytes", "gauge", "Bytes of objects kept.", shared.shelf.used().0);
    put("isos_database_bytes", "gauge", "Bytes of the database.", shared.db.size().0);
    let mut queues = shared.core.queues().to_vec();
    let (waiting, max) = (shared.db.writer().waiting(), isos_db::SUBMISSIONS_MAX);
    queues.push(Queue { name: "submissions", waiting, max });
    queues.extend(shared.places.queues());
    let (free, max) = (shared.uploads.available_permits(), super::UPLOADS_MAX);
    queues.push(Queue { name: "uploads", waiting: max - free, max });
    queues.push(shared.reads.queue());
    let (waiting, max) = shared.core.query(|complex, _| complex.outbox_load()).await?;
    queues.push(Queue { name: "payouts", waiting, max });
    shared.metrics.render(&queues, &mut text);
    shared.door.render(&mut text);
    let kind = "text/plain; version=0.0.4";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// One page without secrets: totals only, no names, no jobs of anybody.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "dashboard",
    tag = "pages",
    security(()),
    responses(
        (status = 200, body = String, content_type = "text/html", description = "The dashboard"),
        (status = 503, response = super::Failure),
    ),
)]
pub(super) async fn dashboard(State(shared): AppState) -> Answer<Html<String>> {
    Ok(Html(page(&look(&shared, PAGE_FOR).await?)))
}

/// Readable in any width, in the colours that the reader's system prefers; links and long keys
/// included. No script, nothing from elsewhere.
const STYLE: &str = "\
    :root{color-scheme:light dark}\
    body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;\
    color:#1d2430;background:#fbfbf9}\
    h1{font-size:1.4rem;margin:0}h2{font-size:1rem;margin:1.6rem 0 .3rem;color:#5a6475}\
    .verdict{font-size:1.1rem;margin:.3rem 0 0;padding-left:.7rem;border-left:.3rem solid #2b8a5a}\
    .warn{border-color:#c77700}.bad{border-color:#c0392b}\
    table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:500}\
    td{text-align:right;font-variant-numeric:tabular-nums}\
    th,td{padding:.3rem 0;border-bottom:1px solid #ddd}\
    .none{color:#8a93a2}a{color:#1a5fb4}code{font-size:.9em;overflow-wrap:anywhere}\
    footer{margin-top:1.6rem;color:#5a6475}\
    @media(prefers-color-scheme:dark){body{color:#dde1ea;background:#14181f}\
    h2,footer{color:#9aa5b8}th,td{border-color:#2e3542}.none{color:#6f7a8c}a{color:#8ab8ff}}";

/// The page, from totals alone.
fn page(status: &ComplexStatus) -> String {
    let hosts = status.hosts;
    let groups: [(&str, &[(&str, String)]); 3] = [
        (
            "Hosts",
            &[
                ("Working", hosts.working.to_string()),
                ("Idle", hosts.idle.to_string()),
                ("Asleep, will ask for work", hosts.asleep.to_string()),
                ("Quiet, wanted by their owners", hosts.quiet.to_string()),
                ("Lost with tasks", hosts.lost.to_string()),
                ("Barred", hosts.barred.to_string()),
                ("Cores offered now", status.cores.to_string()),
            ],
        ),
        (
            "Work",
            &[
                ("Open jobs", status.jobs.to_string()),
                ("Tasks to go", status.tasks_open.to_string()),
            ],
        ),
        (
            "Money",
            &[
                ("Price of a gigafuel", format!("{} µcr", status.price.0)),
                ("Transfers", status.transfers.to_string()),
                ("Sum of all balances", status.ledger_sum.to_string()),
            ],
        ),
    ];
    let mut tables = String::new();
    for (title, rows) in groups {
        let _ = write!(tables, "<h2>{title}</h2><table>");
        for (name, value) in rows {
            let class = if value == "0" { " class=none" } else { "" };
            let _ = write!(tables, "<tr{class}><th scope=row>{name}</th><td>{value}</td></tr>");
        }
        tables.push_str("</table>");
    }
    let (class, verdict) = verdict(status);
    let (version, key, up) = (&status.version, status.key, up(status.up));
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=2>\
         <meta name=viewport content=\"width=device-width\"><title>ISOS complex</title>\
         <style>{STYLE}</style><h1>ISOS complex</h1><p class=\"verdict {class}\">{verdict}</p>\
         {tables}<footer><p>Up {up}, version {version}, key <code>{key}</code>.</p>\
         <p><code>isos status</code>, <code>isos job list</code> and <code>isos explain</code> \
         say more; Prometheus reads <a href=/metrics>/metrics</a>.</p></footer></html>"
    )
}

/// How it stands in one line, and the class that colours it.
fn verdict(status: &ComplexStatus) -> (&'static str, String) {
    let hosts = status.hosts;
    let present = hosts.working + hosts.idle + hosts.asleep + hosts.quiet;
    let plural = |count: u64, name: &str| match count {
        1 => format!("1 {name}"),
        _ => format!("{count} {name}s"),
    };
    let work = match status.jobs {
        0 => "no open jobs".into(),
        jobs => {
            let tasks = plural(status.tasks_open, "task");
            format!("{} with {tasks} to go", plural(jobs.into(), "open job"))
        }
    };
    if let Some(why) = &status.ledger_wrong {
        return ("bad", format!("Fault: {why}"));
    }
    if status.ledger_sum != 0 {
        return ("bad", format!("Fault: the ledger sums to {} µcr, not 0", status.ledger_sum));
    }
    let hosts = plural(present.into(), "host");
    match (present, status.cores) {
        (0, _) => ("warn", format!("No hosts, {work}: `isos ticket`, then `isos join TICKET`")),
        (_, 0) => ("warn", format!("{hosts}, but no cores offered now; {work}")),
        (_, cores) => ("", format!("{hosts}, {}, {work}", plural(cores.into(), "core"))),
    }
}

/// `28 min`, `3 h 5 min`, `2 d 4 h`.
fn up(span: Span) -> String {
    let minutes = span.0 / 60_000_000;
    match minutes {
        0 => format!("{} s", span.0 / 1_000_000),
        1..60 => format!("{minutes} min"),
        60..1_440 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} d {} h", minutes / 1_440, minutes / 60 % 24),
    }
}

#[cfg(test)]
mod tests {
    use isos_base::Guid;
    use isos_base::api::HostCounts;
    use isos_base::key::PublicKey;
    use isos_base::price::Price;

    use super::*;

    fn status() -> ComplexStatus {
        ComplexStatus {
            key: PublicKey([7; 32]),
            version: "0.1.0".into(),
            up: Span::secs(1_736),
            hosts: HostCounts { working: 1, idle: 1, ..HostCounts::default() },
            cores: 2,
            jobs: 1,
            tasks_open: 3,
            transfers: 61,
            ledger_head: Guid::of(b"head"),
            ledger_sum: 0,
            ledger_wrong: None,
            price: Price(100),
            engine: None,
        }
    }

    #[test]
    fn the_page_begins_with_a_verdict() {
        let text = page(&status());
        assert!(text.contains("2 hosts, 2 cores, 1 open job with 3 tasks to go"), "{text}");
        assert!(text.contains("Up 28 min"), "{text}");
        let broken = ComplexStatus { ledger_sum: -5, ..status() };
        assert_eq!(verdict(&broken).0, "bad");
        let empty = ComplexStatus { hosts: HostCounts::default(), ..status() };
        assert_eq!(verdict(&empty).0, "warn");
    }
}
