//! What the screen shows, and how it behaves, without a terminal.

use isos_base::api::{ComplexStatus, HostState, HostView, JobView, PricesView};
use isos_base::host::Accept;
use isos_base::price::Price;
use isos_base::{AccountId, Bytes, JobId, MicroCredits, Span, Time};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use super::draw::draw;
use super::state::{Answer, Panel, Question, Top, Wish};

const NOW: Time = Time(1_800_000_000_000_000);

fn status() -> ComplexStatus {
    serde_json::from_value(json!({
        "key": isos_base::key::PublicKey([7; 32]), "version": "0.1.0", "up": Span::secs(3_900),
        "hosts": { "working": 2, "idle": 2, "asleep": 0, "quiet": 1, "lost": 1, "barred": 0 },
        "cores": 11, "jobs": 1, "tasks_open": 40, "transfers": 3,
        "ledger_head": isos_base::Guid([0; 32]), "ledger_sum": 0, "price": Price(1_000),
        "engine": "wasmtime-48",
    }))
    .unwrap()
}

fn host(n: u8, country: Option<&str>, state: HostState, tasks: u32) -> HostView {
    let cores = if state == HostState::Quiet { 0 } else { 4 };
    let id = isos_base::HostId(isos_base::key::PublicKey([n; 32]));
    serde_json::from_value(json!({
        "id": id, "account": AccountId(1), "state": state,
        "spec": {
            "name": format!("host-{n}"), "agent": "0.1.0", "os": "linux", "arch": "x86_64",
            "cpus": 8, "memory": Bytes::gib(8), "disk": Bytes::gib(64), "country": country,
            "engine": "wasmtime-48",
        },
        "offer": {
            "cores": cores, "memory": Bytes::gib(4), "disk": Bytes::gib(1), "price_min": Price(0),
            "accept": Accept::Any, "reasons": [],
        },
        "tasks": tasks, "good": 120, "bad": 0, "lost": 1, "barred": null,
        "joined": NOW - Span::secs(86_400), "seen": NOW - Span::secs(n.into()),
    }))
    .unwrap()
}

fn job() -> JobView {
    let spec = isos_base::job::JobSpec::new(isos_base::Guid([1; 32]), Bytes(9), 100);
    serde_json::from_value(json!({
        "id": JobId(4), "name": "fold\u{1b}[2J proteins", "account": AccountId(1), "state": "active",
        "tasks": {
            "total": 100, "waiting": 32, "running": 8, "checking": 0, "done": 60, "failed": 0,
            "given_up": 0,
        },
        "submitted": NOW - Span::secs(90), "ended": null, "price": Price(1_000), "held": MicroCredits(0),
        "spent": MicroCredits(1_500_000), "hosts": 2, "spec": spec,
    }))
    .unwrap()
}

fn prices() -> PricesView {
    serde_json::from_value(json!({
        "fixed": false, "floor": 100, "ceiling": 100_000, "core_rate": 1_000_000_000_u64,
        "next": NOW + Span::secs(20),
        "classes": [{
            "class": "x86_64-4", "price": 1_200, "posted": 1_200, "fair": 1_100, "hour": 1_150,
            "core_hour": MicroCredits(4_320_000), "hosts": 4, "supply": 11, "demand": 8,
            "available_bps": 9_900, "forecast": [],
        }],
    }))
    .unwrap()
}

fn top() -> Top {
    let mut top = Top::new("http://127.0.0.1:7070".into(), NOW, status(), false);
    let hosts = vec![
        host(1, Some("FI"), HostState::Working, 4),
        host(2, Some("FI"), HostState::Idle, 0),
        host(3, Some("BR"), HostState::Working, 2),
        host(4, None, HostState::Idle, 0),
        host(5, Some("NZ"), HostState::Quiet, 0),
        host(6, Some("US"), HostState::Lost, 0),
    ];
    top.take(NOW, Ok(Answer::Hosts(hosts)));
    top.take(NOW, Ok(Answer::Jobs(vec![job()])));
    top.take(NOW, Ok(Answer::Prices(prices())));
    top
}

fn drawn(top: &Top, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, top)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    let rows = (0..height).map(|y| row(y).trim_end().to_owned());
    rows.collect::<Vec<_>>().join("\n") + "\n"
}

fn on(panel: Panel) -> Top {
    Top { panel, ..top() }
}

#[test]
fn the_world_is_a_map_with_a_little_of_all_beside_it() {
    expect_test::expect_file!["tests/world.txt"].assert_eq(&drawn(&top(), 110, 32));
    let narrow = drawn(&top(), 60, 20);
    assert!(narrow.contains("●2") && !narrow.contains("countries"), "{narrow}");
}

#[test]
fn lists_have_a_line_for_each_thing() {
    expect_test::expect_file!["tests/hosts.txt"].assert_eq(&drawn(&on(Panel::Hosts), 100, 14));
    expect_test::expect_file!["tests/jobs.txt"].assert_eq(&drawn(&on(Panel::Jobs), 112, 9));
    expect_test::expect_file!["tests/prices.txt"].assert_eq(&drawn(&on(Panel::Prices), 100, 9));
}

#[test]
fn any_size_can_be_drawn() {
    for panel in Panel::ALL {
        let top = on(panel);
        for width in (1..140).step_by(3) {
            for height in [1, 2, 3, 5, 8, 9, 13, 24, 40] {
                drawn(&top, width, height);
            }
        }
    }
    let tiny = drawn(&top(), 30, 4);
    assert!(tiny.contains("5 hosts, 2 working"), "{tiny}");
}

#[test]
fn names_of_others_cannot_control_the_terminal() {
    let shown = drawn(&on(Panel::Jobs), 112, 9);
    assert!(!shown.contains('\u{1b}') && shown.contains("proteins"), "{shown}");
}

#[test]
fn trouble_is_said_and_what_was_known_stays() {
    let mut top = top();
    top.now = NOW + Span::secs(12);
    top.take(top.now, Err("the complex does not answer".into()));
    let shown = drawn(&top, 100, 20);
    assert!(shown.contains("as of 12 s ago: the complex does not answer"), "{shown}");
    assert!(shown.contains("5 hosts, 2 working"), "{shown}");
    top.take(top.now, Ok(Answer::Status(Box::new(status()))));
    assert!(!drawn(&top, 100, 20).contains("as of"));
}

#[test]
fn one_thing_is_asked_at_a_time_and_nothing_while_it_is_paused() {
    use Question::{Hosts, Jobs, Prices, Status};
    let mut top = top();
    let asked: Vec<_> = (0..5).filter_map(|_| top.question()).collect();
    assert_eq!(asked, [Hosts, Jobs, Prices, Status, Hosts]);
    assert!(!top.wish(Wish::Pause));
    assert_eq!(top.question(), None);
    assert!(drawn(&top, 100, 20).contains("paused"));
    top.wish(Wish::Pause);
    top.wish(Wish::Panel { forward: false });
    assert_eq!(top.panel, Panel::Prices);
    let asked: Vec<_> = (0..6).filter_map(|_| top.question()).collect();
    assert_eq!(asked.iter().filter(|it| **it == Prices).count(), 3, "{asked:?}");
    assert!([Hosts, Jobs, Status].iter().all(|it| asked.contains(it)), "{asked:?}");
    assert!(top.wish(Wish::Quit));
}

#[test]
fn a_list_is_scrolled_no_further_than_its_end() {
    let mut top = on(Panel::Hosts);
    for _ in 0..20 {
        top.wish(Wish::Scroll { down: true });
    }
    assert_eq!(top.row, 5);
    assert!(drawn(&top, 100, 14).contains("host-6"));
    top.take(NOW, Ok(Answer::Hosts(Vec::new())));
    assert_eq!(top.row, 0);
    top.wish(Wish::Scroll { down: false });
    assert_eq!(top.row, 0);
}
