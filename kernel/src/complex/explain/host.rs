//! Why a host does or does not work, and what becomes of what it earned.

use isos_base::api::{Explanation, ReasonView};
use isos_base::market::BondState;
use isos_base::{Fuel, HostId};

use super::account::lost_text;
use super::counted;
use crate::complex::Complex;
use crate::complex::told::to_others;

/// Bonds that an explanation names one by one.
const BONDS_NAMED_MAX: usize = 20;

impl Complex {
    /// Why a host does or does not work. Only who may know all of it is told the owner's reasons,
    /// and what becomes of its pay; others, of what kind the reasons are.
    #[must_use]
    pub fn explain_host(&self, id: HostId, knows_all: bool) -> Option<Explanation> {
        let host = self.hosts.get(&id)?;
        let view = self.host_view(id)?;
        let mut reasons = Vec::new();
        let mut add = |about: &str, why: String, remedy: Option<&str>| {
            reasons.push(ReasonView { about: about.into(), why, remedy: remedy.map(Into::into) });
        };
        if let Some(why) = &host.record.barred {
            add("barred", why.clone(), Some("its unpaid work is forfeit; it cannot come back"));
        }
        if host.record.suspended {
            let remedy = "run `isos join` there with another ticket";
            add("ticket", "the ticket by which it came was revoked".into(), Some(remedy));
        }
        if let Some(next) = host.record.successor {
            let remedy = format!("ask for host {}", next.short());
            add("key", format!("replaced: the host has the key {next} now"), Some(&remedy));
        }
        let engine = &host.record.spec.engine;
        if let Some(wanted) = self.config.engine.as_ref().filter(|wanted| *wanted != engine) {
            let why = format!("it has {engine}, this complex compares results of {wanted}");
            add("engine", why, Some("update isos on it"));
        }
        if let Some(session) = &host.session {
            let told = to_others(&session.offer);
            match session.offer.cores {
                _ if knows_all => {
                    for reason in &session.offer.reasons {
                        add("policy", reason.clone(), None); // Its remedy is part of it.
                    }
                }
                0 => {
                    let quiet = "its owner wants quiet";
                    let why = match told.is_empty() {
                        true => quiet.to_owned(),
                        false => format!("{quiet}: {}", told.join("; ")),
                    };
                    add("policy", why, Some("wait, or use other hosts: it is the owner's to say"));
                }
                _ => told.iter().for_each(|it| add("policy", format!("so it is {it}"), None)),
            }
            let (wants, pays) = (session.offer.price_min, self.price_of(host.good));
            if wants > pays {
                let who = if self.is_auctioned() { "its class is at" } else { "new jobs pay" };
                let why = format!(
                    "it works from {} micro-credits per gigafuel on, {who} {}",
                    wants.0, pays.0
                );
                let remedy = match knows_all {
                    true => "lower price_min in its policy, or wait",
                    false => "wait, or bid more: `isos explain price`",
                };
                add("price", why, Some(remedy));
            }
            if let Some(rate) = host.core_rate.filter(|_| self.is_auctioned()) {
                let (cores, units) = (session.cores(), self.units_of(host));
                let why = format!(
                    "its cores do {} fuel a second each, by the tasks that they finished: {cores} of \
                     them count as {units} of the reference, which does {}",
                    Fuel(rate),
                    Fuel(self.core_rate())
                );
                add("speed", why, None);
            }
            let room = session.room;
            let (tasks, backlog) = (counted(room.tasks.into(), "task"), room.backlog.rounded());
            let work = match room.tasks {
                0 => "no task at hand".into(),
                _ => format!("{tasks} at hand, {backlog} of work"),
            };
            add("work", work, None);
        } else if host.is_out() {
            // It is kept out, wherever it is.
        } else if host.wakes > self.now {
            let why = format!("asleep until {} at the latest: nothing waited for it", host.wakes);
            add("connection", why, None);
        } else {
            let seen = host.record.seen;
            let remedy = "look after it: `isos status` there";
            add("connection", format!("not connected; last seen {seen}"), Some(remedy));
        }
        if let Some(firm) = self.is_firm(id) {
            let why = format!(
                "it may be called to stand behind reservations, with {} cores and a bond",
                firm.cores
            );
            let remedy = knows_all.then_some("`isos market firm HOST --leave` ends that");
            add("firm", why, remedy);
        }
        let bonds_shown = if knows_all { BONDS_NAMED_MAX } else { 0 };
        for bond in self.bonds_of(id).take(bonds_shown) {
            let (cores, until, amount) = (bond.cores, bond.until, bond.amount);
            let lost = lost_text(bond);
            let why = match bond.state {
                BondState::Standing => {
                    format!("{cores} cores stand behind it until {until}, a bond of {amount}{lost}")
                }
                BondState::Returned => format!("its bond of {amount} went back{lost}"),
                BondState::Forfeited => {
                    format!("its bond of {amount} went back but for that{lost}")
                }
            };
            add(&format!("reservation {}", bond.reservation), why, None);
        }
        if host.record.barred.is_none() {
            add("trust", self.trust_text(host), None);
            if let Some(why) = self.held_text(host).filter(|_| knows_all) {
                add("held pay", why, Some("it is paid by itself: checks come with work"));
            }
        }
        let (good, bad, lost) = (view.good, view.bad, view.lost);
        let (good, lost) = (counted(good, "result"), counted(lost, "task"));
        add("history", format!("{good} accepted, {bad} rejected, {lost} lost"), None);
        let verdict = format!("{:?}", view.state).to_lowercase();
        Some(Explanation { about: format!("host {}", id.short()), verdict, reasons })
    }
}
