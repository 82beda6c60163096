//! The targets, in small: the full table is `isos-sim market`.

use super::*;

fn setting() -> Setting {
    Setting { seed: 1, accounts: 120, hosts: 80, ticks: 300, rounds: 200 }
}

#[test]
fn auctions_make_nearly_the_best_of_what_there_is() {
    assert!(auction::one_good(&setting(), 100, 0.0) > 0.999);
    assert!(auction::one_good(&setting(), 100, 0.1) > 0.95);
    let nested = auction::nested_classes(&setting(), 0.0);
    assert!((0.95..=1.0).contains(&nested), "{nested}");
}

#[test]
fn a_day_is_the_same_again_and_wastes_little() {
    let day = Day::of(&setting());
    let outcome = live(&day, Clever::Honest);
    assert_eq!(outcome, live(&day, Clever::Honest));
    assert!((0.90..=1.000_001).contains(&outcome.welfare()), "{}", outcome.welfare());
    assert_eq!(outcome.prices.len(), 300);
    assert!(outcome.sold() > 0.9, "{}", outcome.sold());
}

#[test]
fn the_patient_wait_no_longer_than_the_bound() {
    let wait = day::longest_wait(&setting());
    assert!(wait.longest <= 1.0 && wait.longest > 0.0, "{}", wait.longest);
    assert!(wait.jobs > 100, "{} jobs", wait.jobs);
    assert!(wait.gini < 0.2, "{}", wait.gini);
}

#[test]
fn reservations_are_kept_as_often_as_promised_and_a_lazy_promise_is_not() {
    let kept = promise::kept(&setting(), 100, 0.9, 0.99);
    assert!(kept.share >= 0.99 - kept.error && kept.behind >= 117, "{}", kept.share);
    let even = isos_kernel::market::kept_ppm(100, 111, 9_000);
    assert!(even < 700_000, "a hundred of 111 is no promise: {even}");
}

#[test]
fn what_bonds_stand_behind_is_there_or_paid_and_nobody_gains_by_breaking_it() {
    let setting = Setting { rounds: 300, ..setting() };
    let quiet = firm::Season::QUIET;
    let honest = firm::live(&setting, &quiet);
    assert!(honest.windows > 250 && honest.wanted > 0, "{honest:?}");
    assert!(honest.kept_share() >= 0.99 - honest.error(), "{honest:?}");
    assert!(honest.first > 0 && honest.forfeited == 0, "{honest:?}");
    assert_eq!(honest, firm::live(&setting, &quiet));
    let stormy = firm::Season { storm_one_in: Some(20), ..quiet };
    let storms = firm::live(&setting, &stormy);
    assert!(storms.kept < honest.kept && storms.forfeited > 0, "{storms:?}");
    assert!(storms.paid_back <= storms.owed && storms.pool >= 0, "{storms:?}");
    let leaves = firm::live(&setting, &firm::Season { first_breaks: true, ..stormy });
    assert!(leaves.first < storms.first, "{} of {}", leaves.first, storms.first);
    let lurker = firm::live(&setting, &firm::Season { lurks: true, ..stormy });
    assert!(lurker.buyer_gain() < 0.0, "{lurker:?}");
}

#[test]
fn many_names_bring_a_free_rider_no_more_than_the_share() {
    let day = Day::of(&setting());
    let got = live(&day, Clever::FreeRider { names: 50 }).clever_share();
    assert!(got > 0.0 && got <= 0.101, "{got}");
}

#[test]
fn the_table_says_what_is_missed_and_the_picture_is_one() {
    let figures = [
        Figure::new("good", 0.99, Target::AtLeast(0.95)),
        Figure::new("bad", 0.03, Target::AtMost(0.02)),
    ];
    let text = table(&figures);
    assert_eq!(text.matches("MISSED").count(), 1, "{text}");
    assert!(figures[0].is_met() && !figures[1].is_met());
    let svg = chart(&[1, 2, 3]);
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
}
