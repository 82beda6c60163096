//! The studies of storage, small: that they measure what they say.

use isos_store::class::Class;
use isos_store::code::Code;
use isos_store::durability::Scheme;

use super::study::chosen;
use super::*;
use crate::luck;

fn small(seed: u64, (m, n, repair_at): (u16, u16, u16)) -> Setting {
    let scheme = Scheme { code: Code::new(m, n).unwrap(), repair_at };
    let lifetime = Span(90 * DAY.0);
    Setting { years: 2, hosts: 60, segments: 60, lifetime, scheme, ..Setting::usual(seed) }
}

#[test]
fn no_more_is_lost_than_the_model_expects_and_weak_codes_do_lose() {
    let outcome = measure(&Setting { segments: 400, ..small(1, (3, 6, 4)) });
    assert!(outcome.lost > 0, "{outcome:?}");
    assert!(u64::from(outcome.lost) <= luck::singly(outcome.expected), "{outcome:?}");
    // And the model is no idle threat.
    assert!(f64::from(outcome.lost) > outcome.expected / 10.0, "{outcome:?}");
}

#[test]
fn patience_and_a_threshold_spare_traffic_and_an_oracle_spares_more() {
    let short = Setting { years: 1, segments: 15, ..small(2, (4, 12, 8)) };
    let by = |policy| measure(&Setting { policy, ..short }).moved;
    let (shipped, oracle) = (by(Policy::Shipped), by(Policy::Oracle));
    assert!(oracle < shipped && shipped < 3.0 * oracle, "{oracle} {shipped}");
    let (impatient, unlazy) = (by(Policy::Impatient), by(Policy::Unlazy));
    assert!(impatient > 2.0 * shipped, "{impatient} {shipped}");
    assert!(unlazy > 1.2 * shipped, "{unlazy} {shipped}");
}

#[test]
fn an_oracle_is_never_wrong_about_who_is_gone() {
    let outcome = measure(&Setting { policy: Policy::Oracle, ..small(3, (4, 12, 8)) });
    assert_eq!((outcome.wrongly, outcome.lost), (0.0, 0), "{outcome:?}");
    let outcome = measure(&small(3, (4, 12, 8)));
    assert!(outcome.wrongly > 0.0 && outcome.wrongly < 0.6, "{outcome:?}");
}

#[test]
fn what_owners_take_with_them_is_lost_where_fragments_lie_by_chance() {
    let of = |placing| {
        let setting = Setting { disaster: Disaster::Owner, placing, ..small(4, (4, 12, 8)) };
        measure(&Setting { hosts: 90, segments: 300, ..setting })
    };
    let (spread, chance) = (of(Placing::Spread), of(Placing::Chance));
    assert!(spread.lost < chance.lost.max(1), "{spread:?} {chance:?}");
}

#[test]
fn a_budget_of_nothing_repairs_nothing() {
    let outcome = measure(&Setting { budget: 0.0, ..small(5, (3, 6, 4)) });
    assert!(outcome.lost > 60, "{outcome:?}");
    assert!(outcome.moved < 0.01, "{outcome:?}");
}

#[test]
fn one_seed_is_one_run() {
    let setting = small(6, (3, 6, 4));
    assert_eq!(measure(&setting), measure(&setting));
}

#[test]
fn the_table_and_the_values_have_a_column_for_each_figure() {
    let setting = Setting { years: 1, ..small(7, (3, 6, 4)) };
    let row = ("quiet".to_owned(), setting, Outcome { failed: f64::NAN, ..measure(&setting) });
    let (head, line) = (head(), line(&row));
    assert_eq!(head.len(), line.len(), "{head}{line}");
    assert!(line.contains("      - "), "{head}{line}");
    let values = csv(std::slice::from_ref(&row));
    let columns: Vec<usize> = values.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [25, 25], "{values}");
    assert!(chart(Study::Model, &[row]).contains("1: quiet"));
}

#[test]
fn the_class_of_the_usual_setting_is_what_ships() {
    let setting = Setting::usual(1);
    assert_eq!(setting.scheme, chosen(Class::Standard, &setting));
    assert!(setting.scheme.code.m() == 16, "{:?}", setting.scheme);
}
