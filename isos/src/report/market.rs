//! Prices: now, before and to come; what is asked and what is reserved.

mod plot;

use isos_base::api::{
    BarterView, FirmView, MarketHistory, MarketView, PricesView, ReservationView,
};
use isos_base::market::{BondState, ReservationState};
use isos_base::price::Price;
use isos_base::{Span, Time};
use isos_kernel::policy::{Millicores, Week};
use serde_json::{Value, json};

use self::plot::{Dot, Plot};
use crate::output::{Page, Report, Table, Tone, ago, clean, stamp_deep};

/// All prices, and what they mean for the account.
#[derive(Debug)]
pub(crate) struct PricesReport {
    /// The prices.
    pub(crate) prices: PricesView,
    /// The account's side.
    pub(crate) barter: BarterView,
}

/// The past of a class.
#[derive(Debug)]
pub(crate) struct HistoryReport {
    history: MarketHistory,
    plot: Plot,
}

/// What this machine asks, beside what is paid.
#[derive(Debug)]
pub(crate) struct AskReport {
    /// Where the policy is from.
    pub(crate) source: String,
    /// Its week.
    pub(crate) week: Week,
    /// The prices, if a complex answers.
    pub(crate) prices: Option<PricesView>,
}

/// A reservation.
#[derive(Debug)]
pub(crate) struct ReservationReport(pub(crate) ReservationView);

/// Reservations, a line each.
#[derive(Debug)]
pub(crate) struct ReservationList(pub(crate) Vec<ReservationView>);

/// Hosts that stand behind reservations.
#[derive(Debug)]
pub(crate) struct FirmList(pub(crate) Vec<FirmView>);

const HOUR: Span = Span::secs(3_600);

/// `41.5`, from thousandths.
fn hours(milli: u64) -> String {
    match milli {
        0..100_000 => format!("{}.{}", milli / 1_000, milli % 1_000 / 100),
        _ => (milli / 1_000).to_string(),
    }
}

/// `0.67`, of a price over another.
fn ratio(price: Price, over: Price) -> String {
    let hundredths = (u64::from(price.0) * 100 + u64::from(over.0) / 2) / u64::from(over.0.max(1));
    format!("{}.{:02}x", hundredths / 100, hundredths % 100)
}

/// The cheapest hour ahead of a class, if it is cheaper than now.
fn cheapest(class: &MarketView) -> Option<(Time, Price)> {
    let ahead = class.forecast.iter().map(|it| (it.at, it.price));
    ahead.min_by_key(|&(at, price)| (price, at)).filter(|(_, price)| *price < class.price)
}

/// When an hour is, as people say it: hours of the night to come are tonight.
fn when(now: Time, at: Time) -> String {
    const DAY: u64 = 24;
    let of_day = at.0 / HOUR.0 % DAY;
    let ahead = at.0.saturating_sub(now.0) / HOUR.0;
    let night = !(6..20).contains(&of_day);
    if night && ahead < 16 {
        format!("tonight, at {of_day:02}:00 UTC,")
    } else {
        format!("{} (at {of_day:02}:00 UTC)", ago(now, at))
    }
}

impl Report for PricesReport {
    fn kind(&self) -> &'static str {
        "prices"
    }

    fn text(&self, page: &mut Page) {
        let PricesView { fixed, floor, ceiling, core_rate, next, classes } = &self.prices;
        if *fixed {
            page.line(format!("the operator fixes the price: {} µcr a gigafuel", floor.0));
        } else {
            let next = next.map_or(String::new(), |at| format!("; next {}", ago(page.now(), at)));
            page.line(format!(
                "prices in µcr a gigafuel, cleared every 30 s, from {} to {}{next}",
                floor.0, ceiling.0
            ));
        }
        let mut table = Table::new(&[
            "class",
            ">price",
            ">last hour",
            ">core-hour",
            ">cores",
            ">wanted",
            "forecast",
        ]);
        for class in classes {
            let forecast = cheapest(class).map(|(at, price)| {
                format!("{} {}", when(page.now(), at), ratio(price, class.price))
            });
            table.row(
                Tone::Plain,
                vec![
                    clean(&class.class).into_owned(),
                    class.price.0.to_string(),
                    ratio(class.hour, class.price),
                    class.core_hour.to_string(),
                    class.supply.to_string(),
                    class.demand.to_string(),
                    forecast.unwrap_or_default(),
                ],
            );
        }
        page.table(&table);
        let rate = isos_base::Fuel(*core_rate);
        page.toned(Tone::Dim, format!("a core-hour is reckoned at {rate} fuel a second"));
        let barter = &self.barter;
        let (gave, now) = (hours(barter.gave_milli), hours(barter.now_milli));
        let mut line = format!("you gave {gave} core-hours this week, you may use {now} now");
        if let (Some(later), Some(milli)) = (barter.later, barter.later_milli)
            && later.price < barter.price
        {
            let ratio = ratio(later.price, barter.price);
            let when = when(page.now(), later.at);
            line += &format!(", or {} {when} at {ratio}", hours(milli));
        }
        page.line(line);
    }

    fn json(&self) -> Value {
        let mut value = json!(self.prices);
        value["barter"] = json!(self.barter);
        stamp_deep(value, &["at", "next"])
    }

    fn quiet(&self, page: &mut Page) {
        for class in &self.prices.classes {
            page.line(format!("{} {}", clean(&class.class), class.price.0));
        }
    }
}

impl HistoryReport {
    /// The last `past` of a history: by ticks within an hour, by hours beyond.
    pub(crate) fn new(history: MarketHistory, past: Span, now: Time) -> Self {
        let since = Time(now.0.saturating_sub(past.0));
        let dots: Vec<Dot> = if past <= HOUR {
            let ticks = history.ticks.iter().filter(|tick| tick.at >= since);
            ticks.map(|tick| Dot::of(tick.at, tick.price)).collect()
        } else {
            let hours = history.hours.iter().filter(|hour| hour.at() + HOUR > since);
            hours
                .map(|hour| Dot {
                    at: hour.at(),
                    low: hour.low,
                    price: hour.mean(),
                    high: hour.high,
                })
                .collect()
        };
        let title = format!("{}, µcr a gigafuel", history.class);
        Self { plot: Plot { title, dots }, history }
    }

    /// The same as a picture.
    pub(crate) fn svg(&self) -> String {
        self.plot.svg()
    }
}

impl Report for HistoryReport {
    fn kind(&self) -> &'static str {
        "price_history"
    }

    fn text(&self, page: &mut Page) {
        page.toned(Tone::Bold, clean(&self.plot.title));
        let lines = self.plot.lines();
        if lines.is_empty() {
            page.line("no prices in that time: it says more with a longer --past");
        }
        for line in lines {
            page.line(line);
        }
    }

    fn json(&self) -> Value {
        stamp_deep(json!(self.history), &["at"])
    }

    fn quiet(&self, page: &mut Page) {
        for dot in &self.plot.dots {
            page.line(format!("{} {}", dot.at.to_rfc3339(), dot.price.0));
        }
    }
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

impl AskReport {
    /// The highest price that is paid now; nothing is asked of a complex that does not answer.
    fn paid(&self) -> Option<Price> {
        self.prices.as_ref()?.classes.iter().map(|class| class.price).max()
    }

    /// A letter for what an hour asks.
    fn letter(ask: Option<Price>, paid: Option<Price>) -> char {
        match (ask, paid) {
            (None, _) => '.',
            (Some(ask), Some(paid)) if ask > paid => '-',
            (Some(_), _) => '+',
        }
    }

    fn asks(&self) -> Vec<Vec<Option<Price>>> {
        let ask = |hour: &isos_kernel::policy::WeekHour| {
            (hour.cpu_idle.max(hour.cpu_in_use) > Millicores::NONE).then_some(hour.price_min)
        };
        self.week.0.iter().map(|day| day.iter().map(ask).collect()).collect()
    }
}

impl Report for AskReport {
    fn kind(&self) -> &'static str {
        "ask"
    }

    fn text(&self, page: &mut Page) {
        page.line(format!("what {} asks, µcr a gigafuel, in local time:", clean(&self.source)));
        let paid = self.paid();
        page.toned(Tone::Dim, "      0     6     12    18");
        for (day, hours) in DAYS.iter().zip(self.asks()) {
            let letters: String = hours.iter().map(|ask| Self::letter(*ask, paid)).collect();
            let mut prices: Vec<u32> = hours.iter().flatten().map(|price| price.0).collect();
            prices.sort_unstable();
            prices.dedup();
            let prices: Vec<String> = prices.iter().map(ToString::to_string).collect();
            page.line(format!("  {day} {letters}  {}", prices.join(", ")));
        }
        page.toned(Tone::Dim, "  + sells at the price of now, - asks more, . gives nothing");
        match paid {
            Some(price) => page.line(format!("paid now: {} at the most", price.0)),
            None => page.line("no complex answers, so nothing is known of what is paid"),
        }
    }

    fn json(&self) -> Value {
        let prices = self.prices.as_ref().map(|prices| stamp_deep(json!(prices), &["at", "next"]));
        json!({ "source": self.source, "asks": self.asks(), "prices": prices })
    }

    fn quiet(&self, page: &mut Page) {
        for hours in self.asks() {
            let text = |ask: Option<Price>| ask.map_or("-".into(), |price| price.0.to_string());
            page.line(hours.into_iter().map(text).collect::<Vec<_>>().join(" "));
        }
    }
}

fn state(state: ReservationState) -> &'static str {
    match state {
        ReservationState::Booked => "booked",
        ReservationState::Active => "active",
        ReservationState::Over => "over",
        ReservationState::Cancelled => "cancelled",
    }
}

impl Report for ReservationReport {
    fn kind(&self) -> &'static str {
        "reservation"
    }

    fn text(&self, page: &mut Page) {
        let it = &self.0;
        page.toned(Tone::Bold, format!("reservation {} ({})", it.id, state(it.state)));
        page.field("cores", format!("{} of {}", it.cores, clean(&it.class)));
        page.field("behind it", format!("{} cores", it.behind));
        page.field("service", format!("{:.2} %", f64::from(it.service_ppm) / 10_000.0));
        page.field("window", format!("{} to {}", it.from, it.until));
        page.field("price", format!("{} micro-credits per gigafuel", it.price.0));
        page.field("premium", format!("{} credits for a core and half minute", it.premium));
        page.field("if short", format!("{} credits for a core and half minute", it.penalty));
        if it.promised > 0 {
            let (wanted, given) = (it.wanted, it.given);
            page.field("kept", format!("{given} of {wanted} core-ticks that were wanted"));
        }
        page.field("paid", format!("{} credits, {} paid back", it.paid, it.compensated));
        if it.forfeited.0 > 0 {
            page.field("from bonds", format!("{} credits of what was paid back", it.forfeited));
        }
    }

    fn json(&self) -> Value {
        stamp_deep(json!(self.0), &["from", "until"])
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.0.id.to_string());
    }
}

impl Report for ReservationList {
    fn kind(&self) -> &'static str {
        "reservations"
    }

    fn text(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("nothing is reserved: `isos market reserve CORES --in 2h --for 1h`");
        }
        let mut table =
            Table::new(&[">id", "state", ">cores", "class", "from", "until", ">price", ">kept"]);
        for it in &self.0 {
            let kept = match it.wanted {
                0 => "-".into(),
                wanted => format!("{:.1} %", it.given as f64 * 100.0 / wanted as f64),
            };
            let row = vec![
                it.id.to_string(),
                state(it.state).into(),
                it.cores.to_string(),
                clean(&it.class).into_owned(),
                it.from.to_string(),
                it.until.to_string(),
                it.price.0.to_string(),
                kept,
            ];
            table.row(Tone::Plain, row);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        stamp_deep(json!(self.0), &["from", "until"])
    }

    fn quiet(&self, page: &mut Page) {
        for it in &self.0 {
            page.line(it.id.to_string());
        }
    }
}

impl Report for FirmList {
    fn kind(&self) -> &'static str {
        "firm_hosts"
    }

    fn text(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("no host stands behind reservations: `isos market firm HOST --cores 4`");
        }
        for it in &self.0 {
            let cores = match (it.cores, it.leaves) {
                (0, Some(leaves)) => format!("stands behind nothing new, may go {leaves}"),
                (cores, _) => format!("firm with {cores} cores"),
            };
            page.toned(Tone::Bold, format!("host {}: {cores}", it.host.short()));
            for bond in &it.bonds {
                let state = match bond.state {
                    BondState::Standing => "standing",
                    BondState::Returned => "returned",
                    BondState::Forfeited => "forfeited",
                };
                let missed = match bond.missed {
                    0 => String::new(),
                    missed => format!(", {missed} core-ticks missed, {} credits lost", bond.lost),
                };
                page.line(format!(
                    "  reservation {}: {} cores until {}, a bond of {} credits ({state}){missed}",
                    bond.reservation, bond.cores, bond.until, bond.amount
                ));
            }
        }
    }

    fn json(&self) -> Value {
        stamp_deep(json!(self.0), &["since", "leaves", "from", "until"])
    }

    fn quiet(&self, page: &mut Page) {
        for it in &self.0 {
            page.line(it.host.to_string());
        }
    }
}

#[cfg(test)]
mod tests;
