//! Decoders of storage: manifests, capabilities, what hosts answer and sign.

use std::collections::BTreeMap;

use isos_base::codec;
use isos_base::fragment::{Groups, HEAD_BODY_BYTES_MAX, Piece, Proof, ProofAsked, SignedHead};
use isos_base::ids::LeaseId;
use isos_base::time::Time;
use isos_base::{Guid, HostId};
use isos_store::capability::{Capability, ReadCapability, WriteCapability};
use isos_store::class::Class;
use isos_store::code::{Code, Coder};
use isos_store::head::{Version, newest};
use isos_store::key::{SealSecret, Secret, StorageSecret};
use isos_store::manifest::Manifest;
use isos_store::object::{Settings, Writer};
use isos_store::pack::read_index;
use isos_store::seal::{Cipher, LEVEL_DEFAULT, Sealer};

/// A fragment that everybody knows: three groups and a bit.
static FRAGMENT: [u8; 50_000] = [7; 50_000];
const GROUP: usize = 16 << 10;

/// Its third group, and the question that it answers.
fn proof() -> (ProofAsked, Proof) {
    let (fragment, groups) = Groups::of(&FRAGMENT);
    let bytes = FRAGMENT[2 * GROUP..3 * GROUP].to_vec();
    let (lease, length) = (LeaseId(7), FRAGMENT.len() as u32);
    let asked = ProofAsked { lease, fragment, length, drawn: 2 };
    let piece = Some(Piece { length, groups, first: 2, bytes });
    (asked, Proof { lease, fragment, piece })
}

/// A manifest from whoever answered first; and what is sealed, from whoever stored it.
pub fn manifest(bytes: &[u8]) {
    let mut sealer = Sealer::new(Cipher::ChaCha20Poly1305, LEVEL_DEFAULT);
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(
            Manifest::decode_as(&manifest.encode(), &manifest.guid()).as_ref(),
            Ok(&manifest)
        );
        if let Ok(content) = manifest.open(&secret(), &mut sealer) {
            for file in &content.files {
                assert!(file.chunks.iter().all(|it| (*it as usize) < content.chunks.len()));
            }
        }
    }
    // A segment whose index is the owner's, or not.
    let _ = read_index(&mut sealer, &owner(), bytes, 0);
    let mut plain = Vec::new();
    let _ = sealer.open(&secret(), bytes, bytes.len(), &mut plain);
}

/// A capability, as a person pastes it.
pub fn store_text(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match text.parse::<Capability>() {
        Ok(Capability::Write(it)) => assert_eq!(it.to_string().parse(), Ok(it)),
        Ok(Capability::Read(it)) => assert_eq!(it.to_string().parse(), Ok(it)),
        Ok(Capability::Verify(it)) => assert_eq!(it.to_string().parse(), Ok(it)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(class) = text.parse::<Class>() {
        assert_eq!(class.to_string(), text);
    }
}

/// What a host answers to who asks for a proof.
pub fn store_answer(bytes: &[u8]) {
    let (asked, right) = proof();
    if let Ok(given) = codec::decode::<Proof>(bytes) {
        let is_right = asked.check(&given).is_ok();
        assert_eq!(is_right, given.piece == right.piece, "one answer is right");
    }
}

/// A head from a host or a pack; and a body that its owner has signed, whatever it is.
pub fn head(bytes: &[u8]) {
    let name = WriteCapability::new(owner().name_seed("a"));
    if let Ok(signed) = SignedHead::from_bytes(bytes) {
        assert_eq!(SignedHead::from_bytes(&signed.to_bytes()).as_ref(), Ok(&signed));
        if signed.check().is_ok() {
            let mut other = signed.clone();
            other.head.version ^= 1;
            assert!(other.check().is_err(), "it was not said");
        }
        let host = HostId(signed.head.key);
        let answers = BTreeMap::from([(host, Some(signed.clone()))]);
        let heard = newest(&signed.head.key, &answers, &BTreeMap::new());
        assert_eq!(heard.head.is_some(), signed.check().is_ok());
        let _ = Version::open(&signed, &name.read());
    }
    let Some((version, body)) = bytes.split_first() else { return };
    let (key, version, written) = (name.signer(), u64::from(*version), Time(1));
    let body = body[..body.len().min(HEAD_BODY_BYTES_MAX)].to_vec();
    let signed = isos_base::fragment::Head { key: key.public(), version, written, body }.sign(&key);
    if let Ok(opened) = Version::open(&signed, &name.read()) {
        assert_eq!(opened.number, version);
        assert!(opened.object.object().is_some());
    }
}

pub(crate) fn a_head() -> SignedHead {
    let object = ReadCapability::of_object(Guid([1; 32]), &secret());
    let version = Version { number: 5, object, note: vec![1, 2, 3] };
    let name = WriteCapability::new(owner().name_seed("a"));
    version.seal(&name, Time(1), Cipher::ChaCha20Poly1305).expect("it is short")
}

/// Good inputs of these targets.
pub(crate) fn inputs(target: &str) -> Vec<Vec<u8>> {
    match target {
        "manifest" => {
            let code = Code::new(2, 3).expect("1 <= 2 <= 3");
            let settings = Settings::new(Class::Small, code, Cipher::ChaCha20Poly1305);
            let mut writer = Writer::new(owner(), settings).expect("the profile is ours");
            let mut ready = Vec::new();
            writer.begin("a").expect("it is the first file");
            writer.push(&[1; 300], &mut ready).expect("it is small");
            writer.end(&mut ready).expect("it is small");
            let made = writer.finish_under(|_| secret(), &mut ready).expect("it is small");
            let segment = Coder::new().encode(code, ready[0].fragment(0).to_vec());
            vec![made.0.encode(), segment.fragment(0).to_vec()]
        }
        "store_text" => {
            let write = WriteCapability::new(owner().name_seed("a"));
            let texts = [
                write.to_string(),
                write.read().to_string(),
                write.verify().to_string(),
                "standard".into(),
            ];
            texts.into_iter().map(String::into_bytes).collect()
        }
        "head" => {
            let signed = a_head();
            vec![signed.to_bytes(), [&[5], signed.head.body.as_slice()].concat()]
        }
        _ => {
            let answered = proof().1;
            let nothing = Proof { piece: None, ..answered.clone() };
            vec![codec::encode(&answered), codec::encode(&nothing)]
        }
    }
}

fn owner() -> StorageSecret {
    StorageSecret::new(&Secret::new([5; 32]))
}

fn secret() -> SealSecret {
    SealSecret::from_secret(Secret::new([6; 32]))
}
