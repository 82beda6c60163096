//! Golden bytes: whoever changes one of these changes the protocol and must raise its version.

use expect_test::{Expect, expect};
use isos_base::descriptor::{
    Access, Admission, Coordinate, DESCRIPTOR_ADDRESSES_MAX, DESCRIPTOR_RELAY_CHARS_MAX, MARKS,
};
use isos_base::time::Time;

use super::*;
use crate::average::INSTANCES_MAX;
use crate::query::{self, Fact, Order, Question, ROWS_MAX, TEXT_BYTES_MAX, Weighed};
use crate::testing;

fn golden(bytes: &[u8], expected: Expect) {
    expected.assert_eq(&data_encoding::HEXLOWER.encode(bytes));
}

fn sums() -> Sums {
    Sums::begin(7, &[4.0, 1e9, 1e10, 0.5, 1.0, 3_600.0, 0.25])
}

fn someone(n: u32) -> Arc<Descriptor> {
    Arc::new(testing::descriptor(n, Time(10_000_000)))
}

fn exchange() -> Exchange {
    Exchange {
        from: someone(1),
        offers: vec![someone(2)],
        witnesses: Vec::new(),
        accused: vec![testing::host(3)],
        average: Some(Offered { epoch: 5, seq: 300, sums: sums() }),
    }
}

#[test]
fn requests() {
    let request = Request::Exchange(Box::new(exchange()));
    assert_eq!(Request::decode(&request.encode()), Ok(request.clone()));
    golden(
        &request.encode(),
        expect![
            "00e8fed1ceb738c0d29189d052e190fe41a9fdf07f38cfaefc2ef7999019a6e03300010032000101d1220080ade2040000000000000000000000000000010101320001000161732cd875b1c76301c9857a643505fb8080808080808002be457231e54452816c7d4dd83fab8557e6f9e833148975f45173c52ab3c7d96162451f5f5196158fc97762d754d4b20e590ca8baa462f5a047db9169e85a13056b20df394a562a11181f72db203e602dfbc09f14b79824e34e111a9ac328d69ab297d33d7fae3712f6dde9d422c0f1acfd07ff3809fd58843ad44019bdd5220b01a12164b059c65300342aee426f1c67f98696c0147fad7969e2ce66aef9522ea200010032000201d1220080ade20400000000000000000000000000000102013200020001291a1be50413808494bd498680e5ae3d80808080808080027e3f1b75d0bef8a25c48607cd46f9438de8e33d63e669a4f5d0495bc74f536cb7d1151d295b03a16d65e49c6982e633d6466e9cfb3a54251bca619325fd404030b641e6390689147326b6c9d09a019b1e449ab0cdebf945080fbd15c80b7d633da7408474c42f2f053eee24218348997470e2332a27ee742857d4687aff28e050001971eb72564041eebdf0c291e61166b026a0b56752e604e6394c62c3f2c83fd6c0105ac020107000000000000f03f00000000000010400000000000003040000000000000104000000000000010400000000065cdcd4100c84e676dc1ab430000000065cdcd410000000065cdcd41000000205fa00242408cb5781daf1544000000205fa00242000000205fa00242000000000000e03f000000000000d03f000000000000e03f000000000000e03f000000000000f03f000000000000f03f000000000000f03f000000000000f03f000000000020ac400000000020b86841000000000020ac40000000000020ac40000000000000d03f000000000000b03f000000000000d03f000000000000d03f8001010000803f8002010000803f8010010000803f8004010000803f8080808008010000803f8020010000803f20010000803f"
        ],
    );
}

#[test]
fn answers() {
    let Exchange { from, witnesses, accused, .. } = exchange();
    let exchanged = |average| {
        let (from, witnesses) = (from.clone(), witnesses.clone());
        let (offers, accused, public) = (Vec::new(), accused.clone(), Some(0.5));
        Answer::Exchanged(Box::new(Exchanged { from, offers, witnesses, accused, average, public }))
    };
    let done = exchanged(Averaged::Done(Box::new(sums())));
    assert_eq!(Answer::decode(&done.encode()), Ok(done.clone()));
    let others = [Averaged::Nothing, Averaged::Busy, Averaged::Waits, Averaged::Epoch(6)];
    for average in others.into_iter().chain([Averaged::Apart]) {
        let answer = exchanged(average);
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer.clone()));
    }
    golden(
        &exchanged(Averaged::Epoch(6)).encode(),
        expect![
            "00e8fed1ceb738c0d29189d052e190fe41a9fdf07f38cfaefc2ef7999019a6e03300010032000101d1220080ade2040000000000000000000000000000010101320001000161732cd875b1c76301c9857a643505fb8080808080808002be457231e54452816c7d4dd83fab8557e6f9e833148975f45173c52ab3c7d96162451f5f5196158fc97762d754d4b20e590ca8baa462f5a047db9169e85a13056b20df394a562a11181f72db203e602dfbc09f14b79824e34e111a9ac328d69ab297d33d7fae3712f6dde9d422c0f1acfd07ff3809fd58843ad44019bdd5220b000001971eb72564041eebdf0c291e61166b026a0b56752e604e6394c62c3f2c83fd6c0406010000003f"
        ],
    );
    golden(&Answer::Busy.encode(), expect!["01"]);
    golden(&Answer::Refused.encode(), expect!["02"]);
}

fn ask(text: String) -> Ask {
    let order = Order { fact: Fact::Reliability, least: false };
    let seal = isos_base::certificate::Seal::from(isos_base::key::Signature([0; 64]));
    let admission = Admission::from(&testing::certificate(1));
    let (asker, issued) = (testing::host(1), Time(10_000_000));
    let question = Question { asker, admission, issued, number: 7, text, order, limit: 50, seal };
    let question = Arc::new(question.signed(&mut testing::keys(1)));
    Ask { question, wait: isos_base::Span::secs(20), hops: 7, budget: 1_000 }
}

fn row(n: u32, admission: Admission, name: &str) -> Arc<Row> {
    let facts = [2.0, 1e9, 1e10, 0.5, 1.0, 3_600.0, 0.25, 0.9];
    let (name, country) = (name.to_owned(), "FI".to_owned());
    let weighed = Weighed { fits: true, name, country, facts };
    let query = QueryId([5; 16]);
    Arc::new(Row::of(testing::host(n), admission, weighed, query, &mut testing::keys(n)))
}

#[test]
fn questions() {
    let admission = Admission::from(&testing::certificate(2));
    let row = row(2, admission, "two");
    let query = QueryId([5; 16]);
    let asks = [
        Request::Query(Box::new(ask("host.load < 1".into()))),
        Request::Gather(query),
        Request::Pending { heard: vec![query] },
        Request::Report(Box::new(Report { query, row: row.clone() })),
    ];
    for request in &asks {
        assert_eq!(Request::decode(&request.encode()).as_ref(), Ok(request));
    }
    golden(
        &asks[0].encode(),
        expect![
            "01e8fed1ceb738c0d29189d052e190fe41a9fdf07f38cfaefc2ef7999019a6e0330101320001000161732cd875b1c76301c9857a643505fb8080808080808002be457231e54452816c7d4dd83fab8557e6f9e833148975f45173c52ab3c7d96162451f5f5196158fc97762d754d4b20e590ca8baa462f5a047db9169e85a130580ade204070d686f73742e6c6f6164203c2031070032d0e253b668356ad42b3e8f7ecea695c35afa08c21e0db3ed26ece918f8699653e2d9a44ae6cd568a385237ea0f5bba91107956aee59392fbae00710b19b0530080dac40907e807"
        ],
    );
    golden(&asks[1].encode(), expect!["0205050505050505050505050505050505"]);
    golden(&asks[2].encode(), expect!["030105050505050505050505050505050505"]);
    golden(
        &asks[3].encode(),
        expect![
            "0405050505050505050505050505050505a12164b059c65300342aee426f1c67f98696c0147fad7969e2ce66aef9522ea202013200020001291a1be50413808494bd498680e5ae3d80808080808080027e3f1b75d0bef8a25c48607cd46f9438de8e33d63e669a4f5d0495bc74f536cb7d1151d295b03a16d65e49c6982e633d6466e9cfb3a54251bca619325fd40403010374776f02464900000040286b6e4ef90215500000003f0000803f000061450000803e6666663f958b721e65382bdcd392e1cde10234f9bbc54fdc5ac34d2786013e740197eb563c2323a7754620bf1bdefcd335abbc58cfe4133cc69ac45905ca11af3030e602"
        ],
    );
    let mut tally = Tally::default();
    tally.add(&row, Order { fact: Fact::Load, least: true }, 5);
    let answers = [
        Answer::Taken,
        Answer::Already,
        Answer::NotYet,
        Answer::Gathered(Box::new(tally)),
        Answer::Questions(vec![ask("true".into())]),
    ];
    for answer in &answers {
        assert_eq!(Answer::decode(&answer.encode()).as_ref(), Ok(answer));
    }
    let short = answers[..3].iter().flat_map(Answer::encode).collect::<Vec<_>>();
    golden(&short, expect!["030405"]);
    golden(
        &answers[3].encode(),
        expect![
            "0601010000000000000000400000000065cdcd41000000205fa00242000000000000e03f000000000000f03f000000000020ac40000000000000d03f000000c0ccccec3f01a12164b059c65300342aee426f1c67f98696c0147fad7969e2ce66aef9522ea202013200020001291a1be50413808494bd498680e5ae3d80808080808080027e3f1b75d0bef8a25c48607cd46f9438de8e33d63e669a4f5d0495bc74f536cb7d1151d295b03a16d65e49c6982e633d6466e9cfb3a54251bca619325fd40403010374776f02464900000040286b6e4ef90215500000003f0000803f000061450000803e6666663f958b721e65382bdcd392e1cde10234f9bbc54fdc5ac34d2786013e740197eb563c2323a7754620bf1bdefcd335abbc58cfe4133cc69ac45905ca11af3030e602"
        ],
    );
    assert_eq!(answers[4].encode()[0], 7);
}

/// A descriptor as large as one can be.
fn fat(n: u32) -> Arc<Descriptor> {
    let admission = Admission::from(&isos_base::certificate::Certificate {
        owner: isos_base::AccountId(u64::MAX),
        epoch: u32::MAX,
        expires: Time(u64::MAX),
        blocks: isos_base::certificate::Blocks { v4: Some([255; 3]), v6: Some([255; 6]) },
        ..testing::certificate(n)
    });
    let address = (std::net::Ipv6Addr::from([255_u8; 16]), u16::MAX).into();
    let coordinate = Coordinate { at: [i16::MIN; 4], height: u16::MAX, error: 255 };
    let described = Descriptor {
        addresses: vec![address; DESCRIPTOR_ADDRESSES_MAX],
        relay: Some("r".repeat(DESCRIPTOR_RELAY_CHARS_MAX)),
        coordinate,
        marks: [255; MARKS],
        admission: Some(admission),
        ..Descriptor::unsigned(testing::host(n), Access::Private, Time(u64::MAX))
    };
    Arc::new(described.signed(&mut testing::keys(n)))
}

#[test]
fn the_largest_messages_fit() {
    let mut random = isos_base::random::Random::new(1);
    // Sums with hosts in all buckets, and all counts.
    let mut all = sums();
    for n in 0..200_u64 {
        let told = crate::Attribute::ALL.map(|it| it.most() * random.unit().powi(10));
        all = all.average(&Sums::begin(n << 50, &told));
    }
    assert_eq!(all.instances.len(), INSTANCES_MAX);
    let request = Request::Exchange(Box::new(Exchange {
        from: fat(0),
        offers: (0..OFFERS_MAX as u32).map(fat).collect(),
        witnesses: (0..WITNESSES_TOLD as u32).map(fat).collect(),
        accused: vec![testing::host(1); ACCUSED_MAX],
        average: Some(Offered { epoch: u64::MAX, seq: u64::MAX, sums: all }),
    }));
    let name = "n".repeat(query::NAME_BYTES_MAX);
    let rows = (0..ROWS_MAX as u32)
        .map(|n| row(n, fat(n).admission.clone().expect("it has one"), &name))
        .collect();
    let (asked, sums) = (u32::MAX, [f64::MAX; query::FACTS]);
    let tally = Tally { asked, matched: asked, lost: asked, sums, rows };
    let answer = Answer::Gathered(Box::new(tally));
    assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    let asks = vec![ask("t".repeat(TEXT_BYTES_MAX)); QUESTIONS_MAX];
    let answer = Answer::Questions(asks);
    assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    // Shares that are nobody's are left out, so it is not the same in each bit.
    let again = Request::decode(&request.encode()).expect("within the limits");
    assert!(again.encode() == request.encode());
}

#[test]
fn more_than_the_limits_is_refused() {
    let many = Exchange { offers: vec![someone(2); OFFERS_MAX + 1], ..exchange() };
    let refused = WireError::TooMany { what: "offers", count: OFFERS_MAX + 1, max: OFFERS_MAX };
    assert_eq!(Request::decode(&Request::Exchange(Box::new(many)).encode()), Err(refused));
    let long = vec![0; MESSAGE_BYTES_MAX + 1];
    assert!(matches!(Answer::decode(&long), Err(WireError::Decode(DecodeError::TooLong { .. }))));
}
