//! Why work costs what it costs, and who works for that.

use std::collections::BTreeMap;

use isos_base::api::{Explanation, MarketView, ReasonView};
use isos_base::price::Price;

use super::counted;
use crate::complex::Complex;

/// Prices that are told apart, from the lowest on.
const PRICES_SHOWN_MAX: usize = 20;

impl Complex {
    /// What a new job pays, and which hosts work for it.
    #[must_use]
    pub fn explain_price(&self) -> Explanation {
        let mut reasons = self.prices_explained();
        reasons.push(ReasonView {
            about: "fee".into(),
            why: format!(
                "{}.{:02} % of what a host earns is the complex's",
                self.config.fee_bps / 100,
                self.config.fee_bps % 100
            ),
            remedy: None,
        });
        let mut asks: BTreeMap<Ask, Lent<'_>> = BTreeMap::new();
        let (mut hosts, mut willing, mut cores, mut quiet) = (0, 0, 0, 0);
        let mut unseen = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
        for (good, offer, group) in self.crowd.here() {
            unseen = unseen.saturating_sub(group.hosts);
            if offer.cores == 0 {
                quiet += group.hosts;
                continue;
            }
            let (price, too_much) = (offer.price_min, offer.price_min > self.price_of(good));
            hosts += group.hosts;
            if !too_much {
                willing += group.hosts;
                cores += group.cores;
            }
            let lent = asks.entry(Ask { price, too_much }).or_default();
            lent.hosts += group.hosts;
            lent.cores += group.cores;
            lent.until = lent.until.or_else(|| offer.reasons.first());
        }
        let more = asks.len().saturating_sub(PRICES_SHOWN_MAX);
        reasons.extend(asks.iter().take(PRICES_SHOWN_MAX).map(|(ask, lent)| self.asked(ask, lent)));
        if more > 0 {
            let why = format!("{more} higher prices are asked");
            reasons.push(ReasonView { about: "others".into(), why, remedy: None });
        }
        if unseen > 0 {
            reasons.push(ReasonView {
                about: format!("{unseen} more connected"),
                why: "were not looked at: they differ in too many ways".into(),
                remedy: None,
            });
        }
        if quiet > 0 {
            reasons.push(ReasonView {
                about: format!("{quiet} connected"),
                why: "lend nothing now, at no price".into(),
                remedy: Some(
                    "`isos explain HOST` says what kind of reason it is, and its owner all of it"
                        .into(),
                ),
            });
        }
        let verdict = format!(
            "{}: {willing} of {} lending something now would work for it, with {}",
            self.price_verdict(),
            counted(hosts.into(), "host"),
            counted(cores.into(), "core")
        );
        Explanation { about: "price".into(), verdict, reasons }
    }

    fn price_verdict(&self) -> String {
        let prices: Vec<_> = self.auctioned().map(|class| class.price).collect();
        let (low, high) = (prices.iter().min(), prices.iter().max());
        match (low, high) {
            (Some(low), Some(high)) if low < high => {
                format!("{} to {} micro-credits per gigafuel, by class", low.0, high.0)
            }
            (Some(price), _) => format!("{} micro-credits per gigafuel", price.0),
            (None, _) => format!("{} micro-credits per gigafuel", self.price_outlook().0.0),
        }
    }

    /// Whence the prices come: the operator, or the market with what was offered and wanted.
    fn prices_explained(&self) -> Vec<ReasonView> {
        if !self.is_auctioned() {
            return vec![ReasonView {
                about: "posted price".into(),
                why: format!(
                    "new jobs pay {} micro-credits per gigafuel, by the operator's --price; what \
                     was submitted keeps the price of then",
                    self.config.price.0
                ),
                remedy: None,
            }];
        }
        let mut reasons: Vec<_> = self
            .auctioned()
            .map(|class| {
                let MarketView { price, posted, fair, supply, hosts, demand, .. } = class;
                let cheapest = class.forecast.iter().min_by_key(|it| (it.price, it.at));
                let cheaper = cheapest.filter(|it| it.price < price);
                ReasonView {
                    about: class.class,
                    why: format!(
                        "{} by the last auction: {demand} cores were wanted, {supply} offered by \
                         {}; {} where too few bid or ask; {} in an account's turn",
                        price.0,
                        counted(hosts.into(), "host"),
                        posted.0,
                        fair.0
                    ),
                    remedy: cheaper.map(|it| {
                        format!("by the days before it is about {} at {}", it.price.0, it.at)
                    }),
                }
            })
            .collect();
        let next = self.prices().next;
        reasons.extend(next.map(|at| ReasonView {
            about: "auction".into(),
            why: format!(
                "each class is cleared again at {at}; a lease keeps the price of its start"
            ),
            remedy: Some("`isos market prices` shows all, `isos market bid JOB` bids more".into()),
        }));
        reasons
    }

    fn asked(&self, ask: &Ask, lent: &Lent<'_>) -> ReasonView {
        let Lent { hosts, cores, until } = lent;
        let s = if *hosts == 1 { "" } else { "s" };
        let why = until.map_or_else(String::new, |why| format!(" ({why})"));
        let pays = if self.is_auctioned() { "what their class is at" } else { "what new jobs pay" };
        ReasonView {
            about: format!("{hosts} host{s}"),
            why: format!(
                "lend{} {cores} cores from {} micro-credits per gigafuel on{why}",
                if *hosts == 1 { "s" } else { "" },
                ask.price.0
            ),
            remedy: ask
                .too_much
                .then(|| format!("not for {pays}: wait for cheaper hours of their policies")),
        }
    }
}

/// Hosts are told apart by what they ask, and whether that is more than is paid.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ask {
    price: Price,
    too_much: bool,
}

/// What is lent at that.
#[derive(Debug, Default)]
struct Lent<'a> {
    hosts: u32,
    cores: u32,
    /// Until when that price stands.
    until: Option<&'a String>,
}
