//! Health, metrics and the dashboard: for operators, on loopback, without a token.

use std::fmt::Write;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use isos_base::api::ComplexStatus;

use super::{Answer, App, AppState};

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

async fn look(shared: &App) -> Answer<ComplexStatus> {
    let (key, started) = (shared.key, shared.started);
    let version = env!("CARGO_PKG_VERSION");
    Ok(shared
        .core
        .query(move |complex, now| ComplexStatus {
            up: now.since(started),
            ..complex.status(key, version, started)
        })
        .await?)
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
    let status = look(&shared).await?;
    let (frames, requests) = shared.counters.read();
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
    put("isos_cores", "gauge", "Cores offered now.", status.cores.into());
    put("isos_jobs", "gauge", "Jobs that are not over.", status.jobs.into());
    put("isos_tasks_open", "gauge", "Tasks not accepted yet.", status.tasks_open);
    put("isos_transfers_total", "counter", "Transfers in the ledger.", status.transfers);
    put("isos_host_frames_total", "counter", "Frames received from hosts.", frames);
    put("isos_http_requests_total", "counter", "Authorised HTTP requests.", requests);
    put("isos_objects_bytes", "gauge", "Bytes of objects kept.", shared.shelf.used().0);
    put("isos_database_bytes", "gauge", "Bytes of the database.", shared.db.size().0);
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
    let status = look(&shared).await?;
    let hosts = status.hosts;
    let rows: [(&str, String); 11] = [
        ("Hosts working", hosts.working.to_string()),
        ("Hosts idle", hosts.idle.to_string()),
        ("Hosts asleep", hosts.asleep.to_string()),
        ("Hosts quiet", hosts.quiet.to_string()),
        ("Hosts lost / barred", format!("{} / {}", hosts.lost, hosts.barred)),
        ("Cores offered", status.cores.to_string()),
        ("Jobs running", status.jobs.to_string()),
        ("Tasks open", status.tasks_open.to_string()),
        ("Transfers", status.transfers.to_string()),
        ("Sum of all balances", status.ledger_sum.to_string()),
        ("Price", format!("{} micro-credits per gigafuel", status.price.0)),
    ];
    let mut table = String::new();
    for (name, value) in rows {
        let _ = write!(table, "<tr><th scope=row>{name}</th><td>{value}</td></tr>");
    }
    let style = "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;\
                 padding:0 1rem;color:#1d2430;background:#fbfbf9}h1{font-size:1.4rem}\
                 table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:500}\
                 td{text-align:right;font-variant-numeric:tabular-nums}\
                 th,td{padding:.35rem 0;border-bottom:1px solid #ddd}code{font-size:.9em}\
                 @media(prefers-color-scheme:dark){body{color:#dde;background:#14181f}\
                 th,td{border-color:#333}}";
    let up = status.up.0 / 1_000_000;
    let (version, key) = (&status.version, status.key);
    Ok(Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=2>\
         <meta name=viewport content=\"width=device-width\"><title>ISOS complex</title>\
         <style>{style}</style><h1>ISOS complex</h1><table>{table}</table>\
         <p>Up {up} s, version {version}, key <code>{key}</code>.</p>\
         <p><code>isos status</code>, <code>isos job list</code> and <code>isos explain</code> \
         say more; Prometheus reads <a href=/metrics>/metrics</a>.</p></html>"
    )))
}
