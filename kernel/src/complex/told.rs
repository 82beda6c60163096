//! What others than the owner of a host are told of why it lends what it lends: which kind of
//! reason it is, and until when its price stands. The owner's words, the names of windows and all
//! numbers are the owner's own.
//!
//! Hosts send their reasons as text, made by `policy::Reason`. So a kind is known by how the text
//! begins, and a text that is not known is of no kind: then others learn that the owner wants
//! quiet, and nothing else. A test goes through reasons that stop all work.

use isos_base::api::HostView;
use isos_base::host::Offer;

/// How reasons that stop all work begin, and what others are told of them.
const KINDS: [(&str, &str); 21] = [
    ("you paused it", "paused"),
    ("window ", "not at this time"),
    ("cpu.share_idle gives 0%", "not at this time"),
    ("in use: ", "somebody uses the machine"),
    ("treated as in use", "somebody uses the machine"),
    ("other programs use ", "other programs need the machine"),
    ("on battery", "short of power"),
    ("the battery is at ", "short of power"),
    ("treated as on battery", "short of power"),
    ("the network is metered", "the network costs too much"),
    ("the network is treated as metered", "the network costs too much"),
    ("the network cap for ", "the network costs too much"),
    ("the processor is at ", "too hot"),
    ("treated as too hot", "too hot"),
    ("too little memory", "too little memory is free"),
    ("free memory is unknown", "too little memory is free"),
    ("too little disk", "too little disk is free"),
    ("free disk is unknown", "too little disk is free"),
    ("the policy was not evaluated yet", "it has only begun"),
    ("its policy names ", "its policy is too long"),
    ("", ""),
];

/// What others are told of one reason, if anything. What they were told is told again.
fn kind_of(reason: &str) -> Option<&'static str> {
    let (_, kind) = KINDS.iter().find(|(begins, kind)| {
        reason.starts_with(begins) && !begins.is_empty() || reason == *kind
    })?;
    let lends = reason.starts_with("window ") && !forbids(reason);
    (!kind.is_empty() && !lends).then_some(*kind)
}

/// Whether a window stops work. Its name stands before that, quoted.
fn forbids(reason: &str) -> bool {
    ["\" forbids work", "\" gives 0%"].iter().any(|said| reason.contains(said))
}

/// Until when the price of a host stands, if its policy has windows.
fn price_until(offer: &Offer) -> Option<String> {
    let until = offer.reasons.iter().filter_map(|reason| {
        let begins = reason.starts_with("window ") || reason.starts_with("until ");
        // The name of a window, which is quoted, may say anything.
        let said = reason.rsplit('"').next().unwrap_or_default();
        begins.then(|| said.rfind("until ").map(|at| said[at..].to_owned()))?
    });
    until.take(1).next()
}

/// What others are told of why an offer is what it is. Of what was told so, the same.
pub(super) fn to_others(offer: &Offer) -> Vec<String> {
    if offer.cores > 0 {
        return price_until(offer).into_iter().collect();
    }
    let mut kinds: Vec<_> = offer.reasons.iter().filter_map(|reason| kind_of(reason)).collect();
    let mut known = std::collections::BTreeSet::new();
    kinds.retain(|kind| known.insert(*kind));
    kinds.into_iter().map(ToOwned::to_owned).collect()
}

/// A host as others see it than its owner and the operator.
#[must_use]
pub fn view_for_others(mut view: HostView) -> HostView {
    if let Some(offer) = &mut view.offer {
        offer.reasons = to_others(offer);
    }
    view
}

#[cfg(test)]
mod tests {
    use isos_base::{Bytes, Span};

    use super::*;
    use crate::policy::{Percent, Reason};

    fn offer(cores: u16, reasons: &[&str]) -> Offer {
        let reasons = reasons.iter().map(|&reason| reason.to_owned()).collect();
        Offer { cores, reasons, ..Offer::nothing("") }
    }

    #[test]
    fn others_are_told_the_kind_of_a_reason_once_and_none_of_its_words() {
        let reasons = [
            "you paused it until Tue 14:00; `isos resume` ends the pause",
            "window \"with my \" applies\" forbids work until Tue 18:00",
            "cpu.share_idle gives 0% of the CPU",
            "on battery (42%); plug in, or set power.on_battery = true",
            "the battery is at 9%, below 20%",
            "idle for 60m",
            "a secret",
        ];
        let told = to_others(&offer(0, &reasons));
        assert_eq!(told, ["paused", "not at this time", "short of power"]);
        let again: Vec<&str> = told.iter().map(String::as_str).collect();
        assert_eq!(to_others(&offer(0, &again)), told);
    }

    #[test]
    fn each_reason_of_a_policy_that_stops_all_work_is_of_a_kind() {
        let why = || "no sensor".to_owned();
        let (free, floor, limit) = (None, Bytes::gib(1), Bytes::gib(2));
        let (none, given, window) = (Percent::NONE, Bytes::ZERO, "mine".to_owned());
        let stop = [
            Reason::Paused { until: None },
            Reason::Forbidden { window: window.clone(), until: None },
            Reason::NoShare { window: Some(window.clone()), until: None },
            Reason::NoShare { window: None, until: None },
            Reason::InUse { idle: Span::secs(1), after: Span::secs(9), share: none },
            Reason::IdleUnknown { why: why(), share: none },
            Reason::Load { other: 2.0, max: 1.0 },
            Reason::OnBattery { charge: 9.0 },
            Reason::BatteryLow { charge: 9.0, min: none },
            Reason::PowerUnknown { why: why() },
            Reason::Metered,
            Reason::NetworkUnknown { why: why() },
            Reason::Hot { now: 99.0, max: 80.0 },
            Reason::HeatUnknown { why: why() },
            Reason::MemoryShort { free, floor, limit },
            Reason::MemoryUnknown { why: why(), given },
            Reason::DiskShort { free, floor, limit, promised: given },
            Reason::DiskUnknown { why: why(), given },
        ];
        let small = Reason::ShareTooSmall { share: none, cpus: 2, parts: false };
        assert_eq!((small.blocks(), kind_of(&small.to_string())), (true, None), "no kind is told");
        for reason in stop {
            assert!(reason.blocks(), "{reason}");
            let kind = kind_of(&reason.to_string()).unwrap_or_else(|| panic!("{reason}"));
            assert_eq!(kind_of(kind), Some(kind), "told again");
        }
        for reason in [Reason::Idle { since: None }, Reason::Allowed { window, until: None }] {
            assert_eq!((reason.blocks(), kind_of(&reason.to_string())), (false, None));
        }
    }

    #[test]
    fn of_a_window_that_makes_the_price_others_learn_when_it_ends() {
        let window = "window \"until I die\" applies until Tue 18:00";
        assert_eq!(to_others(&offer(2, &["idle for 60m", window])), ["until Tue 18:00"]);
        assert_eq!(to_others(&offer(2, &["until Tue 18:00"])), ["until Tue 18:00"]);
        let always = "window \"closed until my divorce\" applies";
        assert_eq!(to_others(&offer(2, &[always])), Vec::<String>::new());
        assert_eq!(to_others(&offer(0, &[window])), Vec::<String>::new(), "it stops nothing");
    }
}
