//! The studies of gossip, small: that they measure what they say.

use super::*;

fn rows(study: Study, hosts: u32) -> Vec<Row> {
    let mut rows = Vec::new();
    study.run(1, &[hosts], |row| rows.push(row));
    rows
}

fn value(study: Study, rows: &[Row], name: &str, column: &str) -> f64 {
    let at = study.table().columns.iter().position(|it| it.name == column).unwrap();
    rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name}")).values[at]
}

#[test]
fn averages_come_together_as_published_and_count_exactly() {
    let rows = rows(Study::Sums, 10_000);
    let of = |name: &str, column| value(Study::Sums, &rows, name, column);
    let factor = of("10000, anybody", "factor");
    assert!((factor - 0.294).abs() < 0.012, "{factor}");
    for name in ["10000, anybody", "10000, by views", "10000, 20 % can be called"] {
        let (least, most) = (of(name, "least"), of(name, "most"));
        assert!(least > 0.99 && most < 1.01, "{name}: {least} to {most}");
    }
    let off = |name: &str| (of(name, "mean") - 1.0).abs();
    assert!(off("10000, 20 % lost, asked again") < 0.5);
}

#[test]
fn nobody_becomes_a_hub_and_the_dead_are_forgotten() {
    let rows = rows(Study::Views, 5_000);
    let of = |name: &str, column| value(Study::Views, &rows, name, column);
    assert!(of("5000", "sd") < 7.0, "Newscast has 21.1");
    assert!(of("5000", "in mean") > 19.0);
    let name = "5000, 50 % die at once";
    assert!((of(name, "dead +0") - 50.0).abs() < 3.0);
    assert!(of(name, "dead +25") < of(name, "dead +5") / 2.0, "{rows:?}");
    assert!(of(name, "joined") > 99.9);
}

#[test]
fn the_sketch_finds_slices_sooner_than_counting_does() {
    let rows = rows(Study::Slices, 5_000);
    let of = |name: &str, column| value(Study::Slices, &rows, name, column);
    assert!(of("5000, sketch", "c20") < of("5000, ranking", "c20"));
    assert!(of("5000, ranking", "c60") < of("5000, ranking", "c5"));
    assert!(of("5000, swapping", "c20") < 20.0);
}

#[test]
fn coordinates_tell_round_trips() {
    let rows = rows(Study::Distances, 1_000);
    let late = value(Study::Distances, &rows, "1000", "c200");
    assert!(late < 0.12, "{late}");
}

#[test]
fn a_part_of_all_stands_in_a_ring_and_does_again_after_a_crash() {
    let rows = rows(Study::Rings, 3_000);
    let of = |name: &str, column| value(Study::Rings, &rows, name, column);
    assert!(of("3000", "c20") < 0.5, "{rows:?}");
    // Members that are dead still go round for as long as their last word is young enough.
    assert!(of("3000, 30 % die", "+20") < of("3000, 30 % die", "+2") / 2.0, "{rows:?}");
}

#[test]
fn the_shipped_machine_counts_within_its_budget() {
    let quiet = measure(&Setting::quiet(1, 200));
    assert!((quiet.count.1 - 1.0).abs() < 0.01 && (quiet.count.2 - 1.0).abs() < 0.01, "{quiet:?}");
    assert!((quiet.cores - 1.0).abs() < 0.01, "{quiet:?}");
    assert_eq!(quiet.doubting, 0.0, "{quiet:?}");
    assert!(quiet.bytes < 1_500.0, "{quiet:?}");
    // What is not known is not a number, which is equal to nothing.
    let again = measure(&Setting::quiet(1, 200));
    assert_eq!(format!("{quiet:?}"), format!("{again:?}"), "one seed is one run");
}

#[test]
fn a_crash_of_most_is_survived() {
    let look = measure(&Setting { crash: 0.7, epochs: 6, ..Setting::quiet(2, 200) });
    assert!((look.count.0 - 1.0).abs() < 0.02, "{look:?}");
    assert!(look.dead < 0.05, "{look:?}");
}

#[test]
fn questions_reach_all_and_who_drops_answers_hides_some() {
    let quiet = ask(&Setting { public: 0.5, ..Setting::quiet(4, 150) });
    assert!(quiet.worst > 0.97 && quiet.best > 0.95 && quiet.cycles < 3.0, "{quiet:?}");
    assert!(quiet.bytes < 60_000.0, "{quiet:?}");
    let dropped = ask(&Setting { droppers: 0.2, ..Setting::quiet(4, 150) });
    assert!(dropped.asked < 0.9 && dropped.asked > 0.2, "{dropped:?}");
    let lossy = ask(&Setting { loss: 0.05, ..Setting::quiet(4, 150) });
    assert!(lossy.asked > 0.7, "{lossy:?}");
}

/// What liars of all kinds at once can do is no small thing; hosts must at least know of it.
#[test]
fn what_liars_spoil_is_doubted_by_most() {
    let look = measure(&Setting { liars: 0.2, ..Setting::quiet(3, 300) });
    assert!(look.doubting > 0.5, "{look:?}");
}

#[test]
fn every_table_has_a_value_for_each_column() {
    for study in
        [Study::Sums, Study::Views, Study::Slices, Study::Distances, Study::Rings, Study::Queries]
    {
        let (table, rows) = (study.table(), rows(study, 200));
        for row in &rows {
            assert_eq!(row.values.len(), table.columns.len(), "{}", row.name);
            let (head, line) = (table.head(), table.line(row));
            assert_eq!(head.lines().last().unwrap().len(), line.len(), "{head}{line}");
        }
        let csv = table.csv(&rows);
        let lines = csv.lines().map(|line| line.matches(',').count());
        // Names have commas of their own, in quotes.
        assert!(lines.min() >= Some(table.columns.len()), "{csv}");
        assert!(table.chart(&rows).ends_with("</svg>\n"));
    }
}
