//! Stories of questions and answers on the wire: what is signed, and what is believed.

use isos_base::notary::Keys;
use proptest::prelude::*;

use super::*;
use crate::testing;

const NOW: Time = Time(1_000_000_000_000);

fn question(limit: u16) -> Question {
    let order = Order { fact: Fact::Uptime, least: false };
    let admission = Admission::from(&testing::certificate(1));
    let seal = Seal::from(Signature([0; 64]));
    let (asker, text) = (testing::host(1), "true".to_owned());
    let question = Question { asker, admission, issued: NOW, number: 7, text, order, limit, seal };
    question.signed(&mut testing::keys(1))
}

fn weighed(uptime: f32) -> Weighed {
    let facts = [2.0, 1e9, 1e10, 0.5, 1.0, uptime, 0.25, 0.9];
    Weighed { fits: true, name: "a host".into(), country: "FI".into(), facts }
}

fn row(n: u32, uptime: f32, query: QueryId) -> Arc<Row> {
    let admission = Admission::from(&testing::certificate(n));
    Arc::new(Row::of(testing::host(n), admission, weighed(uptime), query, &mut testing::keys(n)))
}

fn keys() -> Keys {
    testing::keys(99)
}

#[test]
fn the_first_are_kept_and_all_are_counted() {
    let question = question(2);
    let (order, query) = (question.order, question.id());
    let mut left = Tally::default();
    let mut right = Tally::default();
    for n in 2..6 {
        left.add(&row(n, n as f32, query), order, 2);
        right.add(&row(n + 10, n as f32 / 2.0, query), order, 2);
    }
    let misfit = Row { fits: false, ..(*row(30, 99.0, query)).clone() };
    right.add(&Arc::new(misfit), order, 2);
    left.merge(&right, order, 2);
    assert_eq!((left.asked, left.matched), (9, 8));
    let uptimes: Vec<f32> = left.rows.iter().map(|it| it.facts[Fact::Uptime.at()]).collect();
    assert_eq!(uptimes, [5.0, 4.0]);
    assert_eq!(left.sums[Fact::Uptime.at()], 14.0 + 7.0);
    assert!(left.is_possible(&question, 9, &mut keys(), NOW));
    assert!(!left.is_possible(&question, 8, &mut keys(), NOW), "more than it may ask");
}

#[test]
fn nobody_answers_for_another() {
    let question = question(5);
    let query = question.id();
    let mut tally = Tally::default();
    tally.add(&row(2, 5.0, query), question.order, 5);
    assert!(tally.is_possible(&question, 1, &mut keys(), NOW));
    let changed = |change: &dyn Fn(&mut Row)| {
        let mut row = (*tally.rows[0]).clone();
        change(&mut row);
        Tally { rows: vec![Arc::new(row)], ..tally.clone() }
    };
    let lies = [
        changed(&|row| row.facts[0] = 64.0),
        changed(&|row| row.host = testing::host(3)),
        changed(&|row| row.name = "another".into()),
        changed(&|row| row.admission = Admission::from(&testing::certificate(3))),
        Tally { rows: vec![row(2, 5.0, QueryId([1; 16]))], ..tally.clone() },
        Tally { matched: 2, ..tally.clone() },
        Tally { sums: [f64::NAN; FACTS], ..tally.clone() },
        Tally { sums: [1e300; FACTS], ..tally.clone() },
        Tally { matched: 0, ..tally.clone() },
    ];
    for lie in lies {
        assert!(!lie.is_possible(&question, 1, &mut keys(), NOW), "{lie:?}");
    }
}

#[test]
fn a_question_is_its_askers_own() {
    let good = question(5);
    assert!(good.is_by_its_asker(&mut keys(), NOW));
    let other = Question { text: "false".into(), ..good.clone() };
    assert!(!other.is_by_its_asker(&mut keys(), NOW));
    assert_ne!(other.id(), good.id());
    let other = Question { asker: testing::host(2), ..good };
    assert!(!other.is_by_its_asker(&mut keys(), NOW));
}

#[test]
fn what_a_host_says_is_cut_to_what_fits() {
    let admission = Admission::from(&testing::certificate(2));
    let long = Weighed {
        name: "ä".repeat(20),
        country: "Finland".into(),
        facts: [f32::NAN, f32::INFINITY, -1.0, 0.0, 2.0, 0.0, 0.0, 7.0],
        ..weighed(1.0)
    };
    let query = question(1).id();
    let row = Row::of(testing::host(2), admission, long, query, &mut testing::keys(2));
    assert_eq!((row.name.as_str(), row.country.as_str()), ("ä".repeat(16).as_str(), "Fi"));
    assert!(row.is_possible() && row.check().is_ok());
    assert_eq!((row.facts[0], row.facts[4], row.facts[7]), (0.0, 1.0, 1.0));
}

proptest! {
    #[test]
    fn who_tells_whom_first_does_not_matter(
        uptimes in prop::collection::vec(0_u32..20, 1..12),
        cut in 0_usize..12,
        least in any::<bool>(),
    ) {
        let order = Order { fact: Fact::Uptime, least };
        let rows: Vec<_> = uptimes.iter().enumerate().map(|(n, uptime)| {
            let facts = weighed(*uptime as f32).facts;
            let admission = Admission::from(&testing::certificate(1));
            let mut host = testing::host(1);
            host.0.0[0] = n as u8;
            let seal = Seal::from(Signature([0; 64]));
            let (name, country) = Default::default();
            Arc::new(Row { host, admission, fits: true, name, country, facts, seal })
        }).collect();
        let of = |rows: &[Arc<Row>]| {
            let mut tally = Tally::default();
            rows.iter().for_each(|row| tally.add(row, order, 4));
            tally
        };
        let (front, back) = rows.split_at(cut.min(rows.len()));
        let mut one = of(front);
        one.merge(&of(back), order, 4);
        let mut other = of(back);
        other.merge(&of(front), order, 4);
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(one, of(&rows));
    }
}
