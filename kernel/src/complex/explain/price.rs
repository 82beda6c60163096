//! Why work costs what it costs, and who works for that.

use std::collections::BTreeMap;

use isos_base::api::{Explanation, ReasonView};
use isos_base::price::Price;

use crate::complex::Complex;

/// Prices that are told apart, from the lowest on.
const PRICES_SHOWN_MAX: usize = 20;

impl Complex {
    /// What a new job pays, and which hosts work for it.
    #[must_use]
    pub fn explain_price(&self) -> Explanation {
        let price = self.config.price;
        let mut reasons = vec![ReasonView {
            about: "posted price".into(),
            why: format!(
                "new jobs pay {} micro-credits per gigafuel, by the operator's --price; what was \
                 submitted keeps the price of then",
                price.0
            ),
            remedy: None,
        }];
        reasons.push(ReasonView {
            about: "fee".into(),
            why: format!(
                "{}.{:02} % of what a host earns is the complex's",
                self.config.fee_bps / 100,
                self.config.fee_bps % 100
            ),
            remedy: None,
        });
        let mut asks: BTreeMap<Price, (u32, u32, Option<&String>)> = BTreeMap::new();
        let (mut hosts, mut willing, mut cores, mut quiet) = (0, 0, 0, 0);
        let mut unseen = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
        for (offer, group) in self.crowd.here() {
            unseen = unseen.saturating_sub(group.hosts);
            if offer.cores == 0 {
                quiet += group.hosts;
                continue;
            }
            hosts += group.hosts;
            if offer.price_min <= price {
                willing += group.hosts;
                cores += group.cores;
            }
            let ask = asks.entry(offer.price_min).or_default();
            ask.0 += group.hosts;
            ask.1 += group.cores;
            ask.2 = ask.2.or(offer.reasons.iter().find(|reason| reason.contains("until")));
        }
        let more = asks.len().saturating_sub(PRICES_SHOWN_MAX);
        for (ask, (hosts, cores, why)) in asks.into_iter().take(PRICES_SHOWN_MAX) {
            let s = if hosts == 1 { "" } else { "s" };
            let why = why.map_or_else(String::new, |why| format!(" ({why})"));
            reasons.push(ReasonView {
                about: format!("{hosts} host{s}"),
                why: format!(
                    "lend{} {cores} cores from {} micro-credits per gigafuel on{why}",
                    if hosts == 1 { "s" } else { "" },
                    ask.0
                ),
                remedy: (ask > price).then(|| {
                    "not for what new jobs pay: wait for cheaper hours of their policies".into()
                }),
            });
        }
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
                remedy: Some("`isos explain HOST` says why".into()),
            });
        }
        let verdict = format!(
            "{} micro-credits per gigafuel: {willing} of {hosts} hosts that lend something now work \
             for it, with {cores} cores",
            price.0
        );
        Explanation { about: "price".into(), verdict, reasons }
    }
}
