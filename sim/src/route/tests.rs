//! The studies of routing, small: that they measure what they say.

use super::*;

fn small(seed: u64) -> Setting {
    Setting {
        guids: 40,
        searches: 200,
        settle: Span::secs(120),
        span: Span::secs(60),
        ..Setting::quiet(seed, 150)
    }
}

#[test]
fn in_a_quiet_world_all_is_found() {
    let outcome = measure(&small(1));
    assert!(outcome.found > 0.99, "{outcome:?}");
    assert!(outcome.right > 0.99, "{outcome:?}");
    assert!(outcome.hops < 3.0, "{outcome:?}");
}

#[test]
fn one_seed_is_one_run() {
    assert_eq!(measure(&small(2)), measure(&small(2)));
    let few = Setting { searches: 50, ..Setting::quiet(2, 5_000) };
    assert_eq!(lean::measure(&few).hops.to_bits(), lean::measure(&few).hops.to_bits());
}

#[test]
fn the_table_and_the_values_have_a_column_for_each_figure() {
    let setting = small(6);
    let nothing = Outcome { found: f64::NAN, ..measure(&Setting { searches: 20, ..setting }) };
    let row = ("quiet".to_owned(), setting, nothing);
    let (head, line) = (head(), line(&row));
    assert_eq!(head.len(), line.len(), "{head}{line}");
    assert!(head.contains(" found ") && line.contains("      - "), "{head}{line}");
    let values = csv(&[row]);
    let columns: Vec<usize> = values.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [23, 23], "{values}");
}

#[test]
fn colluders_do_harm_and_disjoint_paths_help() {
    let bad = |paths| Setting { paths, bad: 0.3, ..small(3) };
    let (one, several) = (measure(&bad(1)), measure(&bad(3)));
    assert!(several.right > 0.9, "{several:?}");
    assert!(several.right >= one.right, "{one:?} {several:?}");
}

#[test]
fn who_forges_is_seen() {
    let outcome = measure(&Setting { bad: 0.2, lie: Lie::Forged, ..small(4) });
    assert!(outcome.lies > 0.5, "{outcome:?}");
    assert!(outcome.right > 0.9, "{outcome:?}");
}

#[test]
fn lean_walks_take_as_many_steps_as_those_over_kept_tables() {
    let setting = Setting { loss: 0.0, ..small(5) };
    let (kept, drawn) = (measure(&setting), lean::measure(&setting));
    assert!((kept.hops - drawn.hops).abs() < 0.7, "{} and {}", kept.hops, drawn.hops);
    assert!(drawn.right > 0.99, "{drawn:?}");
}
