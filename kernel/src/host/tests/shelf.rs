//! A keeper and its complex: what is offered, and what became of leases.

use expect_test::expect;
use isos_base::fragment::{Proof, ProofAsked, StorageClass};
use isos_base::price::StoragePrice;
use isos_base::storage::{LeaseNews, STORAGE_NEWS_MAX, ShelfOffer, ShelfReport};

use super::*;
use crate::host::tuning::{NEWS_AT_ONCE_MAX, PROOFS_AT_ONCE_MAX};

fn report(gib: u64, heard: u64) -> ShelfReport {
    let offer = ShelfOffer {
        bytes: Bytes::gib(gib),
        price_min: StoragePrice(100),
        addresses: vec!["192.0.2.1:4000".parse().unwrap()],
        relay: None,
    };
    ShelfReport { offer, heard: Time(heard) }
}

fn news(lease: u64) -> LeaseNews {
    LeaseNews {
        lease: LeaseId(lease),
        account: AccountId(9),
        class: StorageClass::Standard,
        bytes: Bytes::mib(64),
        issued: Time(lease),
        until: START + Span::secs(86_400),
    }
}

impl Rig {
    fn shelf(&mut self, report: ShelfReport) -> String {
        self.step(Input::ShelfLooked { report: Some(Box::new(report)), stays: true })
    }
}

#[test]
fn the_complex_is_told_once_a_session_and_again_when_something_changes() {
    let mut rig = Rig::online(1);
    let mut told = rig.shelf(report(50, 0));
    told += &rig.wait(Span::secs(600));
    // Somebody could be promised what is not there: soon.
    told += &rig.shelf(report(40, 0));
    told += &rig.wait(Span::secs(60));
    // More may wait, but no longer than half a minute.
    told += &rig.shelf(report(41, 0));
    told += &rig.shelf(report(60, 0));
    told += &rig.wait(Span::secs(60));
    let session = rig.session.take().unwrap();
    told += &rig.step(Input::Disconnected { session, why: "gone".into() });
    told += &rig.wait(Span::secs(2));
    let session = rig.session.unwrap();
    rig.step(Input::Connected { session });
    told += &rig.frame(ToHost::Welcome { now: rig.now, account: AccountId(9) });
    expect![[r#"
        send shelf: 50 GiB offered, heard 0
        send shelf: 40 GiB offered, heard 0
        send shelf: 41 GiB offered, heard 0
        at 690.0 s
        send shelf: 60 GiB offered, heard 0
        say: session lost: gone; again at 1970-01-01T00:28:40Z
        at 720.8 s
        connect s2
        say: connected; account 9 earns
        send shelf: 60 GiB offered, heard 0
    "#]]
    .assert_eq(&told);
}

#[test]
fn words_about_leases_are_taken_in_and_it_is_said_how_far() {
    let mut rig = Rig::online(1);
    rig.shelf(report(50, 0));
    let mut told = rig.frame(ToHost::Storage(vec![news(7), news(9)]));
    told += &rig.step(Input::TookIn);
    told += &rig.shelf(report(50, 9));
    told += &rig.wait(Span::secs(1));
    expect![[r#"
        take in 7 9
        at 0.2 s
        send shelf: 50 GiB offered, heard 9
    "#]]
    .assert_eq(&told);
}

#[test]
fn a_host_that_keeps_nothing_takes_no_words_and_more_than_a_frame_has_is_none() {
    let mut rig = Rig::online(1);
    let mut told = rig.frame(ToHost::Storage(vec![news(7)]));
    rig.shelf(report(50, 0));
    told += &rig.frame(ToHost::Storage(vec![news(7); STORAGE_NEWS_MAX + 1]));
    told += &rig.frame(ToHost::Storage(Vec::new()));
    expect![[r#"
        say: ignored: 1 words about storage that nobody asked for
        say: ignored: 4097 words about storage that nobody asked for
        say: ignored: 0 words about storage that nobody asked for
    "#]]
    .assert_eq(&told);
}

#[test]
fn a_complex_that_talks_faster_than_the_disk_has_to_begin_anew() {
    let mut rig = Rig::online(1);
    rig.shelf(report(50, 0));
    for lease in 1..=NEWS_AT_ONCE_MAX as u64 {
        assert_eq!(rig.frame(ToHost::Storage(vec![news(lease)])), format!("take in {lease}\n"));
    }
    let told = rig.frame(ToHost::Storage(vec![news(99)]));
    assert!(told.contains("cannot follow"), "{told}");
    assert_eq!(rig.session, None);
}

#[test]
fn a_keeper_is_there_while_its_owner_uses_the_machine() {
    let mut rig = Rig::new(1);
    assert_eq!(rig.allow(0), "", "without anything to give nobody is called");
    let told = rig.shelf(report(50, 0));
    assert_eq!(told, "connect s1\n");
    rig.come_online();
    rig.wait(Span::secs(1));
    // Sent away, it comes when it was told to, and not before.
    rig.frame(ToHost::Sleep(Span::secs(900)));
    assert_eq!(rig.session, None);
    assert_eq!(rig.wait(Span::secs(890)), "");
    assert_eq!(rig.wait(Span::secs(11)), "at 901.0 s\nconnect s2\n");
    rig.come_online();
    rig.frame(ToHost::Sleep(Span::secs(900)));
    // It has less now: nobody should be promised what is gone.
    let told = rig.shelf(report(5, 0)) + &rig.wait(Span::secs(1));
    assert!(told.ends_with("connect s3\n"), "{told}");
}

#[test]
fn who_keeps_nothing_any_more_is_called_by_nobody() {
    let mut rig = Rig::new(1);
    rig.allow(0);
    rig.shelf(report(50, 0));
    rig.come_online();
    rig.frame(ToHost::Sleep(Span::secs(900)));
    rig.step(Input::ShelfLooked { report: None, stays: false });
    assert_eq!(rig.wait(Span::secs(3_600)), "");
}

#[test]
fn a_proof_is_made_before_anybody_sleeps_and_belongs_to_its_session() {
    let asked = |lease| {
        let (lease, fragment) = (LeaseId(lease), Guid::of(b"x"));
        ProofAsked { lease, fragment, length: 40_000, drawn: 4 }
    };
    let proof = |lease| {
        let (lease, fragment) = (LeaseId(lease), Guid::of(b"x"));
        Some(Box::new(Proof { lease, fragment, piece: None }))
    };
    let mut rig = Rig::online(1);
    let told = rig.frame(ToHost::Prove(asked(7)));
    assert!(told.contains("cannot be wanted"), "nothing is kept here: {told}");
    rig.shelf(report(50, 0));
    let session = rig.session.unwrap();
    let mut told = rig.frame(ToHost::Prove(asked(7)));
    told += &rig.frame(ToHost::Prove(asked(8)));
    told += &rig.frame(ToHost::Sleep(Span::secs(900)));
    told += &rig.step(Input::Proved { session, proof: proof(7) });
    // The disk could not tell.
    told += &rig.step(Input::Proved { session, proof: None });
    expect![[r#"
        prove lease 7, group 1
        prove lease 8, group 1
        send proof: lease 7, false
        disconnect s1
        say: no work; asking again at 1970-01-01T00:31:40Z
    "#]]
    .assert_eq(&told);
    assert_eq!(rig.step(Input::Proved { session, proof: proof(7) }), "", "too late");
    rig.wait(Span::secs(1_000));
    rig.come_online();
    for lease in 0..PROOFS_AT_ONCE_MAX as u64 {
        rig.frame(ToHost::Prove(asked(lease)));
    }
    assert!(rig.frame(ToHost::Prove(asked(99))).contains("cannot be wanted"));
}
