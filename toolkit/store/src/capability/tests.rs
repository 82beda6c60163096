//! What capabilities promise: one way only, whole or not at all, and errors that help.

use proptest::prelude::*;

use super::*;
use crate::key::StorageSecret;

fn write() -> WriteCapability {
    WriteCapability::new(StorageSecret::new(&Secret::new([1; 32])).name_seed("photos"))
}

fn read() -> ReadCapability {
    let secret = SealSecret::from_secret(Secret::new([2; 32]));
    ReadCapability::of_object(Guid([3; 32]), &secret)
}

#[test]
fn each_kind_is_one_string_to_copy() {
    let texts = [write().to_string(), read().to_string(), read().verify().to_string()];
    expect_test::expect![[r#"
        isosw1jcehh4i3xytbbh7nbpubdptuip2ud3tsadywzozqfsxywsf254xcbpfzt4
        isosr1aabqgaydambqgaydambqgaydambqgaydambqgaydambqgaydambqgaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcmtzlhda
        isosv1aabqgaydambqgaydambqgaydambqgaydambqgaydambqgaydambqhsfxgeqq
    "#]].assert_eq(&format!("{}\n", texts.join("\n")));
    assert_eq!(format!(" {}\n", texts[0]).parse(), Ok(write()));
    assert_eq!(texts[1].parse(), Ok(read()));
    assert_eq!(texts[2].parse(), Ok(read().verify()));
}

#[test]
fn a_stronger_capability_serves_as_a_weaker_one_and_never_the_other_way() {
    assert_eq!(write().to_string().parse(), Ok(write().read()));
    assert_eq!(write().to_string().parse(), Ok(write().verify()));
    assert_eq!(read().to_string().parse(), Ok(read().verify()));
    let said = read().verify().to_string().parse::<ReadCapability>().unwrap_err();
    let text = "a capability to verify, one to read is needed: it begins with \"isosr1\"";
    assert_eq!(said.to_string(), text);
    assert!(read().to_string().parse::<WriteCapability>().is_err());
}

#[test]
fn what_is_wrong_with_a_text_is_said() {
    let good = read().to_string();
    let mut damaged = good.clone().into_bytes();
    damaged[20] = if damaged[20] == b'a' { b'b' } else { b'a' };
    let damaged = String::from_utf8(damaged).unwrap();
    let as_verify = good.replacen(READ, VERIFY, 1);
    for (text, wanted) in [
        ("", CapabilityError::Shape),
        ("isos1abc", CapabilityError::Shape),
        (&"isosr1".repeat(100), CapabilityError::Shape),
        (&good.to_ascii_uppercase(), CapabilityError::Shape),
        (&good.replace('a', "!"), CapabilityError::Letters),
        (&good.replacen("isosr1a", "isosr1A", 1), CapabilityError::Letters),
        (&damaged, CapabilityError::Checksum),
        (&good[..good.len() - 8], CapabilityError::Checksum),
        (&as_verify, CapabilityError::Checksum),
        ("isosr1", CapabilityError::Checksum),
    ] {
        assert_eq!(text.parse::<Capability>(), Err(wanted), "{text}");
    }
}

#[test]
fn a_version_opens_itself_alone() {
    let all = write().read();
    let (third, fourth) = (all.version(3, Guid([3; 32])), all.version(4, Guid([3; 32])));
    let third = third.unwrap();
    assert_eq!(third.object().unwrap().1, all.version_secret(3).unwrap());
    assert_ne!(third.object(), fourth.unwrap().object());
    assert_eq!(third.version_secret(4), None, "what opens one version leads to no other");
    assert_eq!(all.object(), None);
}

#[test]
fn the_seed_is_neither_in_what_reads_nor_in_what_signs() {
    let seed = write().seed;
    let read = write().read();
    assert_ne!(read.secret, seed);
    assert_ne!(write().signer().to_bytes(), *seed.bytes());
    assert_ne!(write().signer().to_bytes(), *read.secret.bytes());
    assert!(!format!("{:?}", write()).contains("250"), "no byte of it is printed");
}

proptest! {
    #[test]
    fn any_text_is_a_capability_or_an_error(text in "(isos[rwv]1)?[a-z2-7]{0,120}") {
        if let Ok(capability) = text.parse::<Capability>() {
            let again = match capability {
                Capability::Write(it) => it.to_string(),
                Capability::Read(it) => it.to_string(),
                Capability::Verify(it) => it.to_string(),
            };
            prop_assert_eq!(again, text);
        }
    }
}
