//! What one caller may take, and that others are none the worse for it.

use super::*;

const ADA: Origin = Origin::V4([192, 0, 2, 1]);
const BOB: Origin = Origin::V4([192, 0, 2, 2]);

fn door() -> Door {
    Door::new(Limits {
        address_requests: 1,
        address_connections: 2,
        account_open: 2,
        account_uploads: Bytes(100),
        ..Limits::default()
    })
}

/// How many of so many are let in.
fn let_in<T>(count: usize, one: impl Fn() -> Result<T, Refused>) -> usize {
    (0..count).filter(|_| one().is_ok()).count()
}

#[test]
fn an_address_has_its_burst_and_all_relayed_together_have_that_of_sixteen() {
    let door = door();
    let (ada, relayed) =
        (let_in(500, || door.request(ADA)), let_in(500, || door.request(Origin::Relayed)));
    // A machine that is slow enough to count so far gives a little more.
    assert!((10..20).contains(&ada), "{ada}");
    assert!((160..250).contains(&relayed), "{relayed}");
    assert_eq!(door.request(BOB), Ok(()));
    let refused = door.request(ADA).unwrap_err();
    assert!(refused.after <= Span::secs(1), "{refused:?}");
}

#[test]
fn what_is_held_at_once_is_free_again_when_it_is_dropped() {
    let door = door();
    let held = [door.connection(ADA).unwrap(), door.connection(ADA).unwrap()];
    let refused = door.connection(ADA).unwrap_err();
    assert!(refused.why.contains("more than 2 connections"), "{}", refused.why);
    assert!(refused.why.contains("raise --address-connections"), "{}", refused.why);
    assert!(door.connection(BOB).is_ok());
    drop(held);
    assert!(door.connection(ADA).is_ok());
    assert!(lock(&door.connections.origins).is_empty(), "who holds nothing is forgotten");
    let relayed: Vec<_> = (0..32).map(|_| door.connection(Origin::Relayed).unwrap()).collect();
    assert!(door.connection(Origin::Relayed).is_err(), "{}", relayed.len());
}

#[test]
fn all_relayed_callers_together_leave_half_of_the_places_to_others() {
    let door = Door::new(Limits::default());
    let mut held = Vec::new();
    while let Ok(share) = door.connection(Origin::Relayed) {
        held.push(share);
    }
    assert_eq!(held.len(), API_CONNECTIONS_MAX / 2);
    while let Ok(share) = door.host(Origin::Relayed) {
        held.push(share);
    }
    assert_eq!(held.len(), API_CONNECTIONS_MAX / 2 + HOST_CONNECTIONS_MAX / 2);
    assert!(door.connection(ADA).is_ok() && door.host(ADA).is_ok());
}

#[test]
fn an_upload_of_any_size_may_begin_when_there_is_no_other() {
    let (door, ada) = (door(), AccountId(100));
    let large = door.upload(ada, Bytes(1_000)).unwrap();
    assert!(door.upload(ada, Bytes(1)).is_err());
    assert!(door.upload(AccountId(101), Bytes(1)).is_ok());
    drop(large);
    let _small = [door.upload(ada, Bytes(60)).unwrap(), door.upload(ada, Bytes(0)).unwrap()];
    assert!(door.upload(ada, Bytes(37)).is_err());
    assert!(door.upload(ada, Bytes(36)).is_ok());
}

#[test]
fn small_uploads_of_one_account_leave_places_to_others() {
    let (door, ada) = (Door::new(Limits::default()), AccountId(100));
    let mut held = Vec::new();
    while let Ok(share) = door.upload(ada, Bytes(1)) {
        held.push(share);
    }
    assert_eq!(held.len(), 32);
    assert!(door.upload(AccountId(101), Bytes(1)).is_ok());
}

#[test]
fn nothing_of_a_request_that_is_refused_stays_open() {
    let limits = Limits { account_requests: 1, account_open: 100, ..Limits::default() };
    let (door, ada) = (Door::new(limits), AccountId(100));
    assert!(let_in(1_000, || door.account(ada)) < 100);
    assert!(lock(&door.open).is_empty());
}

#[test]
fn zero_is_without_limit() {
    let door = Door::new(Limits { address_requests: 0, address_hosts: 0, ..Limits::default() });
    assert_eq!(let_in(100_000, || door.request(ADA)), 100_000);
    let held: Vec<_> = (0..10_000).map(|_| door.host(ADA)).collect();
    assert!(held.iter().all(Result::is_ok));
}

#[test]
fn every_limit_is_counted_where_it_belongs() {
    for (place, limit) in Limit::ALL.iter().enumerate() {
        assert_eq!(*limit as usize, place, "{limit:?}");
    }
    let door = door();
    let _ = (door.upload(AccountId(1), Bytes(90)), door.upload(AccountId(1), Bytes(90)));
    let _held = [door.connection(ADA), door.connection(ADA), door.connection(ADA)];
    let mut text = String::new();
    door.render(&mut text);
    assert!(text.contains("isos_limited_total{limit=\"address-connections\"} 1\n"), "{text}");
    assert!(text.contains("isos_limited_total{limit=\"account-uploads\"} 1\n"), "{text}");
    assert!(text.contains("isos_limited_total{limit=\"host-sessions\"} 0\n"), "{text}");
}

#[test]
fn an_account_begins_no_more_sessions_with_many_hosts_than_it_may() {
    let limits = Limits { account_sessions: 10, ..Limits::default() };
    let (door, ada, bob) = (Door::new(limits), AccountId(100), AccountId(101));
    let begun = (0..1_000_u16).filter(|n| {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&n.to_le_bytes());
        let host = HostId(isos_base::key::PublicKey(key));
        door.session(host).is_ok() && door.account_session(ada).is_ok()
    });
    let begun = begun.count();
    assert!((100..150).contains(&begun), "{begun}");
    // On a slow machine there may be room for one again.
    let refused = (0..10).find_map(|_| door.account_session(ada).err()).expect("it is used up");
    assert!(refused.why.contains("more than 10 sessions a second of one account"), "{refused:?}");
    assert_eq!(refused.after, Span::secs(10), "until all of its hosts may come again");
    assert_eq!(door.account_session(bob), Ok(()));
}

#[tokio::test]
async fn the_hosts_of_one_account_say_no_more_together_than_it_may_and_all_are_heard() {
    const HOSTS: usize = 50;
    let limits = Limits { account_frames: 100, ..Limits::default() };
    let door = Arc::new(Door::new(limits));
    let (ada, bob) = (AccountId(100), AccountId(101));
    let heard: Arc<[AtomicU64; HOSTS]> = Arc::new(std::array::from_fn(|_| AtomicU64::new(0)));
    let mut hosts = tokio::task::JoinSet::new();
    for n in 0..HOSTS {
        let (door, heard) = (door.clone(), heard.clone());
        hosts.spawn(async move {
            let frames = door.frames(Some(ada));
            loop {
                door.frame(&frames).await;
                heard[n].fetch_add(1, Relaxed);
                tokio::task::yield_now().await;
            }
        });
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let each: Vec<u64> = heard.iter().map(|heard| heard.load(Relaxed)).collect();
    let all: u64 = each.iter().sum();
    // What it may at once, and what has come since; a slow machine counts longer.
    assert!((1_000..2_000).contains(&all), "{all}");
    assert!(each.iter().all(|heard| *heard >= 10), "{each:?}");
    let other = door.frames(Some(bob));
    let waits = tokio::time::timeout(std::time::Duration::ZERO, door.frame(&other));
    assert!(waits.await.is_ok(), "others do not wait for them");
    hosts.shutdown().await;
    drop(other);
    assert!(lock(&door.turns.all).is_empty(), "who has no session is forgotten");
}

#[tokio::test]
async fn a_third_long_read_of_an_account_waits_for_a_moment_and_is_refused_with_a_time() {
    let (door, ada, bob) = (Door::new(Limits::default()), AccountId(100), AccountId(101));
    let (first, second) = (door.scan(ada).await.unwrap(), door.scan(ada).await.unwrap());
    let refused = door.scan(ada).await.unwrap_err();
    assert!(refused.why.contains("more than 2 requests of one account"), "{refused:?}");
    assert!(refused.why.contains("raise --account-scans"), "{refused:?}");
    assert_eq!(refused.after, HELD_AGAIN);
    let bobs = door.scan(bob).await.unwrap();
    let soon = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        drop(first);
    };
    let (third, ()) = tokio::join!(door.scan(ada), soon);
    assert!(third.is_ok(), "{third:?}");
    drop((third, second, bobs));
    assert!(lock(&door.scans.all).is_empty(), "who reads nothing is forgotten");
}

/// The origin of a /56 of one /48.
fn of_site(n: u8) -> Origin {
    Origin::V6([0x20, 1, 0xd, 0xb8, 0, 1, n])
}

#[test]
fn a_site_of_many_networks_does_four_times_as_much_as_one_of_them() {
    let door = door();
    let done = (0..200).map(|n| let_in(100, || door.request(of_site(n)))).sum::<usize>();
    assert!((40..60).contains(&done), "{done}");
    let refused = (0..10).find_map(|_| door.request(of_site(201)).err()).expect("it is used up");
    assert!(
        refused.why.starts_with("all addresses of this /48 together: more than"),
        "{refused:?}"
    );
    assert_eq!(door.request(Origin::V6([0x20, 1, 0xd, 0xb8, 0, 2, 0])), Ok(()), "another site");
}

#[test]
fn a_site_has_no_more_places_than_one_network_once_half_of_them_are_taken() {
    let door = Door::new(Limits { address_hosts: 100, ..Limits::default() });
    let mut held = Vec::new();
    let take =
        |held: &mut Vec<_>, n| held.extend(std::iter::from_fn(|| door.host(of_site(n)).ok()));
    // There is room: each network has its own.
    (0..10).for_each(|n| take(&mut held, n));
    assert_eq!(held.len(), 1_000);
    let mut others = Vec::new();
    for n in 0..75 {
        let other = Origin::V4([192, 0, 2, n]);
        others.extend(std::iter::from_fn(|| door.host(other).ok()));
    }
    assert_eq!(others.len(), 7_500);
    assert!(door.host(of_site(11)).is_err(), "the site has a thousand");
    held.truncate(99);
    take(&mut held, 12);
    assert_eq!(held.len(), 100);
    assert!(door.host(Origin::V6([0x20, 1, 0xd, 0xb8, 0, 2, 0])).is_ok(), "another site");
}

#[test]
fn an_account_changes_its_rights_so_often_in_a_minute_and_is_told_when_it_may_again() {
    let door = Door::new(Limits { account_changes: 30, ..Limits::default() });
    for _ in 0..30 {
        door.change(AccountId(1)).unwrap();
    }
    let refused = door.change(AccountId(1)).unwrap_err();
    assert!(refused.after > Span::secs(1) && refused.after <= Span::secs(2), "{refused:?}");
    assert!(refused.why.contains("raise --account-changes"), "{refused:?}");
    door.change(AccountId(2)).expect("others have their own");
    let free = Door::new(Limits { account_changes: 0, ..Limits::default() });
    (0..10_000).for_each(|_| free.change(AccountId(1)).unwrap());
}
