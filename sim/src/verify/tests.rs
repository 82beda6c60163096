//! What is promised, in small: the full table is `isos-sim verify`.

use super::*;

const CREDIBILITY: Policy = Policy::Kernel(Verify::Credibility { error_ppm: 10_000 });

fn setting(policy: Policy, strategy: Strategy) -> Setting {
    Setting { seed: 1, policy, strategy, hosts: 40, bad: 0.05, tasks: 12_000, jobs: 6 }
}

#[test]
fn boincs_rule_lets_nearly_half_of_an_on_off_cheats_results_through_and_ours_does_not() {
    let attack = Strategy::OnOff { right: 10 };
    let mut boinc = setting(Policy::Adaptive, attack);
    (boinc.tasks, boinc.bad) = (100_000, 0.05);
    let boinc = measure(&boinc);
    assert!((0.40..0.52).contains(&boinc.error_of_bad()), "{boinc:?}");
    assert!(boinc.error() > 0.01 && boinc.caught > 100, "again and again: {boinc:?}");
    let ours = measure(&setting(CREDIBILITY, attack));
    assert_eq!(ours.accepted, 12_000);
    assert!(ours.error() <= 0.01 / 5.0, "{ours:?}");
    assert_eq!((ours.caught, ours.barred_wrongly), (2, 0));
    assert!(ours.pay() < 1.0, "it gets less than for honest work: {ours:?}");
}

#[test]
fn who_turns_late_or_comes_back_stays_below_the_promise() {
    let late = measure(&setting(CREDIBILITY, Strategy::OnOff { right: 150 }));
    let back = measure(&setting(CREDIBILITY, Strategy::Rejoining { right: 60 }));
    for outcome in [late, back] {
        assert_eq!(outcome.accepted, 12_000);
        assert!(outcome.error() <= 0.01, "{outcome:?}");
        assert!(outcome.pay() <= 1.0, "{outcome:?}");
    }
    assert!(back.caught > 2, "{back:?}");
}

/// A batch of lies that an accomplice happens to check is taken back once others have checked the
/// next: what two strangers agree on stays provisional until then.
#[test]
fn accomplices_in_a_complex_without_history_stay_below_a_strict_promise() {
    let policy = Policy::Kernel(Verify::Credibility { error_ppm: 100 });
    let (mut wrong, mut accepted) = (0, 0);
    for seed in 1..=4 {
        let setting = Setting { seed, ..setting(policy, Strategy::OnOff { right: 10 }) };
        let outcome = measure(&setting);
        assert_eq!(outcome.accepted, 12_000, "{outcome:?}");
        wrong += outcome.wrong;
        accepted += outcome.accepted;
    }
    assert!(wrong as f64 <= 1e-4 * accepted as f64, "{wrong} of {accepted}");
}

#[test]
fn honest_hosts_cost_little_more_than_no_check_at_all() {
    let ours = measure(&setting(CREDIBILITY, Strategy::Honest));
    let quorum =
        measure(&setting(Policy::Kernel(Verify::Quorum { agree: 2, of: 3 }), Strategy::Honest));
    assert_eq!((ours.wrong, ours.caught + ours.barred_wrongly), (0, 0));
    assert!(ours.cost() < 1.3 && quorum.cost() >= 2.0, "{} {}", ours.cost(), quorum.cost());
}

#[test]
fn colluding_hosts_fool_a_quorum_more_often_than_credibility() {
    // They come back: else a quorum bars them all within a few lies, as credibility does.
    let collusion = Strategy::Rejoining { right: 10 };
    let sum = |policy| {
        let outcomes = (1..=3).map(|seed| {
            let outcome = measure(&Setting { seed, ..setting(policy, collusion) });
            assert_eq!(outcome.accepted, 12_000, "{outcome:?}");
            outcome
        });
        outcomes.map(|outcome| outcome.wrong).sum::<u64>()
    };
    let quorum = sum(Policy::Kernel(Verify::Quorum { agree: 2, of: 3 }));
    let ours = sum(CREDIBILITY);
    assert!(ours * 2 < quorum, "{ours} wrong results by credibility, {quorum} by a quorum");
}

#[test]
fn the_same_seed_gives_the_same_outcome_and_a_table_and_a_picture() {
    let one = setting(CREDIBILITY, Strategy::Always);
    let rows = [(one, measure(&one)), (one, measure(&one))];
    assert_eq!(rows[0].1, rows[1].1);
    let text = table(&rows);
    assert!(text.contains("always wrong") && text.contains("credibility=1e-2"), "{text}");
    let svg = chart(&rows);
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
}

#[test]
fn made_up_stretches_get_through_no_more_often_than_the_formula_has_it() {
    let mut wrong = 0;
    for (stretches, share) in [(3, 0.1), (5, 0.5), (20, 0.05)] {
        let policy = Policy::Kernel(Verify::Checkpoint { stretches });
        let skips = Setting { tasks: 1_000, ..setting(policy, Strategy::Skips { share }) };
        let found = measure(&skips);
        assert_eq!((found.accepted, found.barred_wrongly), (1_000, 0), "{found:?}");
        assert!(found.made_up > 15 && found.caught > 2, "{found:?}");
        // Five standard deviations of so many runs at the most.
        let deviation = (0.25 / found.made_up as f64).sqrt();
        assert!(found.through() <= found.through_expected() + 5.0 * deviation, "{found:?}");
        let cost = 1.0 + f64::from(stretches) / f64::from(stretches::STRETCHES);
        assert!((found.cost() / cost - 1.0).abs() < 0.25, "{} {cost}", found.cost());
        assert!(stretches < 20 || found.wrong == 0, "all is looked at: {found:?}");
        wrong += found.wrong;
    }
    assert!(wrong > 0, "some get through where not all is looked at");
}
