//! Bytes and seals of what hosts say of themselves.

use super::*;
use crate::certificate::Admitted;
use crate::codec::{DecodeError, decode, encode};
use crate::key::SecretKey;
use crate::notary::Keys;

fn complex() -> SecretKey {
    SecretKey::from_bytes(&[42; 32])
}

fn keys(n: u8) -> Keys {
    Keys::new(SecretKey::from_bytes(&[n; 32]), vec![complex().public()])
}

fn address() -> SocketAddr {
    "198.51.100.7:4433".parse().unwrap()
}

fn host(n: u8) -> Descriptor {
    let host = HostId(SecretKey::from_bytes(&[n; 32]).public());
    let blocks = Blocks::of(&[address().ip()]);
    let (owner, expires) = (AccountId(9), Time(1 << 50));
    let admitted = Admitted { host, owner, blocks, epoch: 1, expires };
    let certificate = Certificate::issue(&complex(), admitted);
    let described = Descriptor {
        addresses: vec![address()],
        admission: Some(Admission::from(&certificate)),
        ..Descriptor::unsigned(host, Access::Public, Time(10_000_000))
    };
    described.signed(&mut keys(n))
}

#[test]
fn what_an_admitted_host_says_of_itself_is_believed() {
    let good = host(1);
    assert_eq!(good.check(&mut keys(2), Time(1)), Ok(()));
    assert_eq!(decode::<Descriptor>(&encode(&good)), Ok(good.clone()));
    assert!(encode(&good).len() < 250, "{} bytes", encode(&good).len());
    assert_eq!(good.check(&mut keys(2), Time(u64::MAX)), Err(BadDescriptor::Over));
}

#[test]
fn whatever_is_changed_the_host_has_not_signed() {
    let good = host(1);
    let other = [
        Descriptor { access: Access::Private, ..good.clone() },
        Descriptor { addresses: Vec::new(), ..good.clone() },
        Descriptor { relay: Some("http://r".into()), ..good.clone() },
        Descriptor { issued: Time(20_000_000), ..good.clone() },
        Descriptor { marks: [1; MARKS], ..good.clone() },
        Descriptor { coordinate: Coordinate { height: 1, ..good.coordinate }, ..good.clone() },
    ];
    for changed in other {
        assert_eq!(changed.check(&mut keys(2), Time(1)), Err(BadDescriptor::Seal));
    }
}

#[test]
fn who_was_not_admitted_is_a_stranger() {
    let alone = Descriptor { admission: None, ..host(1) }.signed(&mut keys(1));
    assert_eq!(alone.check(&mut keys(2), Time(1)), Err(BadDescriptor::Stranger));
    assert_eq!(alone.check_own(&mut keys(2)), Ok(()));
    let stolen = Descriptor { admission: host(1).admission, ..host(3) }.signed(&mut keys(3));
    assert_eq!(stolen.check(&mut keys(2), Time(1)), Err(BadDescriptor::Stranger));
}

#[test]
fn limits_hold_before_anything_is_believed() {
    let elsewhere: SocketAddr = "203.0.113.9:443".parse().unwrap();
    let relay = Some("r".repeat(DESCRIPTOR_RELAY_CHARS_MAX + 1));
    let bad = [
        Descriptor { addresses: vec![elsewhere], ..host(1) },
        Descriptor { addresses: vec![address(); DESCRIPTOR_ADDRESSES_MAX + 1], ..host(1) },
        Descriptor { relay, ..host(1) },
    ];
    for bad in bad {
        let read = decode::<Descriptor>(&encode(&bad));
        assert!(matches!(read, Err(DecodeError::Malformed(_))), "{read:?}");
    }
}
