//! What people read of the market.

use expect_test::expect;
use isos_base::api::{BondView, ForecastView};
use isos_base::key::PublicKey;
use isos_base::market::{HourPrice, TickPrice};
use isos_base::{AccountId, Fuel, HostId, MicroCredits, ReservationId};

use super::*;

fn text(report: &dyn Report, now: Time) -> String {
    let mut page = Page::new(now, false);
    report.text(&mut page);
    page.finish()
}

/// 2026-03-02, a Monday, 12:10 UTC.
const NOON: Time = Time(1_772_453_400_000_000);

fn prices() -> PricesReport {
    let at = Time(NOON.0 / HOUR.0 * HOUR.0) + Span(HOUR.0 * 14);
    let night = ForecastView { at, price: Price(72) };
    let class = MarketView {
        class: "x86_64-4g".into(),
        price: Price(108),
        posted: Price(108),
        fair: Price(10),
        hour: Price(100),
        core_hour: MicroCredits(3_888_000),
        hosts: 12,
        supply: 96,
        demand: 130,
        available_bps: 9_600,
        forecast: vec![night],
    };
    PricesReport {
        prices: PricesView {
            fixed: false,
            floor: Price(10),
            ceiling: Price(10_000),
            core_rate: 10_000_000_000,
            next: Some(NOON + Span::secs(12)),
            classes: vec![class],
        },
        barter: BarterView {
            account: AccountId(100),
            gave: Fuel(1_476_000_000_000_000),
            gave_milli: 41_000,
            available: MicroCredits(147_744_000),
            price: Price(108),
            now_milli: 38_000,
            later: Some(night),
            later_milli: Some(57_000),
        },
    }
}

#[test]
fn prices_say_what_they_are_what_they_will_be_and_what_that_buys() {
    expect![[r#"
        prices in µcr a gigafuel, cleared every 30 s, from 10 to 10000; next in 12 s
        class      price  last hour  core-hour  cores  wanted  forecast
        x86_64-4g    108      0.93x   3.888000     96     130  tonight, at 02:00 UTC, 0.67x
        a core-hour is reckoned at 10.0G fuel a second
        you gave 41.0 core-hours this week, you may use 38.0 now, or 57.0 tonight, at 02:00 UTC, at 0.67x
    "#]]
    .assert_eq(&text(&prices(), NOON));
    let json = prices().json();
    assert_eq!(json["classes"][0]["price"], 108);
    assert_eq!(json["next"], "2026-03-02T12:10:12Z");
    assert_eq!(json["barter"]["now_milli"], 38_000);
}

fn history() -> MarketHistory {
    let tick = |n: u64| {
        let at = Time(NOON.0 - Span::secs(30).0 * (120 - n));
        let price = Price(100 + (n as u32 % 40));
        TickPrice { at, price, units: 10, supply: 20, demand: 10 }
    };
    let hour = |n: u32| HourPrice {
        hour: (NOON.0 / HOUR.0) as u32 - 48 + n,
        low: Price(80),
        high: Price(120 + n),
        sum: 12_000,
        ticks: 120,
        units: 1_200,
    };
    MarketHistory {
        class: "x86_64-4g".into(),
        ticks: (0..120).map(tick).collect(),
        hours: (0..49).map(hour).collect(),
    }
}

#[test]
fn a_history_is_drawn_in_the_terminal_and_as_a_picture() {
    let report = HistoryReport::new(history(), HOUR, NOON);
    let drawn = text(&report, NOON);
    let lines: Vec<&str> = drawn.lines().collect();
    assert_eq!(lines.len(), 10, "{drawn}");
    assert!(lines[1].starts_with("      142 ┤") && lines[8].starts_with("       97 ┤"), "{drawn}");
    assert!(lines.iter().all(|line| line.chars().count() <= 100), "{drawn}");
    assert!(drawn.contains('█'), "{drawn}");
    let svg = HistoryReport::new(history(), Span(HOUR.0 * 48), NOON).svg();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    assert_eq!(svg.matches("<polyline").count(), 1);
    let none = HistoryReport::new(MarketHistory { ticks: Vec::new(), ..history() }, HOUR, NOON);
    assert!(text(&none, NOON).contains("no prices in that time"));
    assert!(none.svg().ends_with("</svg>\n"));
}

#[test]
fn a_week_of_asks_says_when_a_machine_sells() {
    let hour = |n: usize| isos_kernel::policy::WeekHour {
        window: None,
        cpu_in_use: Millicores::NONE,
        cpu_idle: Millicores::whole(if n < 6 { 4 } else { u16::from(n < 18) }),
        price_min: Price(if n < 6 { 50 } else { 2_000 }),
        changes: false,
    };
    let week = Week(vec![(0..24).map(hour).collect(); 7]);
    let report = AskReport { source: "policy.toml".into(), week, prices: Some(prices().prices) };
    let drawn = text(&report, NOON);
    assert!(drawn.contains("  Mon ++++++------------......  50, 2000\n"), "{drawn}");
    assert!(drawn.contains("paid now: 108"), "{drawn}");
    assert_eq!(report.json()["asks"][0][0], 50);
}

#[test]
fn a_reservation_says_what_is_promised_and_what_was_kept() {
    let view = ReservationView {
        id: ReservationId(3),
        account: AccountId(100),
        class: "x86_64-4g".into(),
        state: ReservationState::Active,
        cores: 8,
        behind: 11,
        service_ppm: 990_000,
        from: NOON,
        until: NOON + HOUR,
        price: Price(100),
        premium: MicroCredits(15_300),
        penalty: MicroCredits(45_300),
        promised: 80,
        wanted: 64,
        given: 63,
        paid: MicroCredits::ZERO,
        compensated: MicroCredits::ZERO,
        forfeited: MicroCredits::ZERO,
    };
    let one = text(&ReservationReport(view.clone()), NOON);
    assert!(one.contains("63 of 64 core-ticks") && one.contains("99.00 %"), "{one}");
    let list = text(&ReservationList(vec![view]), NOON);
    assert!(list.contains("98.4 %"), "{list}");
    assert!(text(&ReservationList(Vec::new()), NOON).contains("isos market reserve"));
}

#[test]
fn a_firm_host_says_what_it_stands_in_for_and_what_it_lost() {
    let bond = BondView {
        reservation: ReservationId(3),
        cores: 4,
        from: NOON,
        until: NOON + HOUR,
        amount: MicroCredits(120_000),
        state: BondState::Standing,
        stood: 70,
        missed: 6,
        lost: MicroCredits(1_500),
    };
    let view = FirmView {
        host: HostId(PublicKey([7; 32])),
        account: AccountId(100),
        cores: 4,
        since: NOON,
        leaves: None,
        bonds: vec![bond],
    };
    let list = text(&FirmList(vec![view.clone()]), NOON);
    assert!(list.contains("firm with 4 cores"), "{list}");
    assert!(list.contains("a bond of 0.120000 credits (standing), 6 core-ticks missed"), "{list}");
    let gone = FirmView { cores: 0, leaves: Some(NOON), bonds: Vec::new(), ..view };
    let list = text(&FirmList(vec![gone]), NOON);
    assert!(list.contains("nothing new, may go"), "{list}");
    assert!(text(&FirmList(Vec::new()), NOON).contains("isos market firm HOST"));
}
