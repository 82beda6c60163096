//! Fragments: many at once, in order, checked at both ends, and nobody is waited for too long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use isos_base::fragment::wire::{
    FRAGMENTS_NAMED_MAX, FragmentAnswer, FragmentRefusal, FragmentRequest,
};
use isos_base::fragment::{
    FRAGMENT_BYTES_MAX, GROUP_BYTES, Groups, Head, HeadError, HeadSet, Piece, Receipt, SignedGrant,
    SignedHead, SignedReceipt, StorageClass, StorageGrant, groups_of,
};
use isos_base::key::PublicKey;
use isos_base::{AccountId, Bytes, Guid, HostId, LeaseId, Time};

use super::{Pair, key};
use crate::{
    FragmentBudget, FragmentError, FragmentServeError, FragmentStore, Got, Wanted, audit_fragment,
    get_fragments, get_head, has_fragments, limits, open_fragments, present_grant, put_fragments,
    remove_fragments, serve_fragment_stream, serve_fragments, set_head,
};

const LEASE: LeaseId = LeaseId(7);
const UNTIL: Time = Time(1_000_000);

/// A store in memory that can be told to misbehave.
#[derive(Default)]
struct Store {
    fragments: Mutex<BTreeMap<Guid, Vec<u8>>>,
    heads: Mutex<BTreeMap<PublicKey, SignedHead>>,
    /// Gives this one, whatever was set and whoever is asked for.
    false_head: Option<SignedHead>,
    /// Changes a bit of each piece.
    lie: bool,
    /// Gives receipts of another host.
    forge: bool,
    /// Takes longer for earlier ones.
    slow: bool,
}

impl FragmentStore for Store {
    async fn present(&self, from: PublicKey, grant: SignedGrant) -> Result<Time, FragmentRefusal> {
        let host = HostId(key(2).public());
        let checked = grant.check(&key(9).public(), &host, Time(5));
        let grant = checked.map_err(|why| FragmentRefusal::Grant(why.to_string()))?;
        if grant.holder == from { Ok(grant.until) } else { Err(FragmentRefusal::Lease) }
    }

    async fn put(
        &self,
        _: PublicKey,
        lease: LeaseId,
        fragment: Guid,
        bytes: Vec<u8>,
    ) -> Result<SignedReceipt, FragmentRefusal> {
        if lease != LEASE {
            return Err(FragmentRefusal::Lease);
        }
        let length = bytes.len() as u32;
        if Guid::of(&bytes) != fragment {
            return Err(FragmentRefusal::WrongBytes(Guid::of(&bytes)));
        }
        self.fragments.lock().unwrap().insert(fragment, bytes);
        let (complex, at, until) = (key(9).public(), Time(5), UNTIL);
        let host = HostId(key(2).public());
        let receipt = Receipt { complex, lease, host, fragment, length, at, until };
        Ok(receipt.sign(&key(if self.forge { 3 } else { 2 })))
    }

    async fn read(
        &self,
        _: PublicKey,
        fragment: Guid,
        first: u32,
        count: u32,
    ) -> Result<Option<Piece>, FragmentRefusal> {
        let found = self.fragments.lock().unwrap().get(&fragment).cloned();
        let Some(bytes) = found else { return Ok(None) };
        if self.slow {
            let first = u64::from(bytes[0]);
            tokio::time::sleep(Duration::from_millis(200_u64.saturating_sub(first * 20))).await;
        }
        let (_, groups) = Groups::of(&bytes);
        let length = bytes.len() as u32;
        let at = |group: u32| length.min(group.saturating_mul(GROUP_BYTES)) as usize;
        let mut bytes = bytes[at(first)..at(first.saturating_add(count))].to_vec();
        if self.lie {
            bytes[0] ^= 1;
        }
        Ok(Some(Piece { length, groups, first, bytes }))
    }

    async fn has(&self, _: PublicKey, names: Vec<Guid>) -> Result<Vec<bool>, FragmentRefusal> {
        let fragments = self.fragments.lock().unwrap();
        Ok(names.iter().map(|name| fragments.contains_key(name)).collect())
    }

    async fn remove(
        &self,
        _: PublicKey,
        _: LeaseId,
        names: Vec<Guid>,
    ) -> Result<u32, FragmentRefusal> {
        let mut fragments = self.fragments.lock().unwrap();
        Ok(names.iter().filter(|name| fragments.remove(name).is_some()).count() as u32)
    }

    async fn used(&self, _: PublicKey, lease: LeaseId) -> Result<Bytes, FragmentRefusal> {
        let all = self.fragments.lock().unwrap();
        let used = all.values().map(|bytes| bytes.len() as u64).sum();
        if lease == LEASE { Ok(Bytes(used)) } else { Err(FragmentRefusal::Lease) }
    }

    async fn set_head(
        &self,
        _: PublicKey,
        lease: LeaseId,
        head: SignedHead,
    ) -> Result<HeadSet, FragmentRefusal> {
        if lease != LEASE {
            return Err(FragmentRefusal::Lease);
        }
        if let Some(wrong) = &self.false_head {
            return Ok(HeadSet::Newer(Box::new(wrong.clone())));
        }
        let mut heads = self.heads.lock().unwrap();
        let kept = heads.entry(head.head.key).or_insert_with(|| head.clone());
        if kept.head.version > head.head.version {
            return Ok(HeadSet::Newer(Box::new(kept.clone())));
        }
        kept.clone_from(&head);
        Ok(HeadSet::Kept(head.head.version))
    }

    async fn head(
        &self,
        _: PublicKey,
        key: PublicKey,
    ) -> Result<Option<SignedHead>, FragmentRefusal> {
        let kept = self.heads.lock().unwrap().get(&key).cloned();
        Ok(self.false_head.clone().or(kept))
    }
}

fn content(seed: u8, bytes: usize) -> Vec<u8> {
    let mut random = isos_base::random::Random::new(seed.into());
    let mut content = vec![seed];
    content.extend((1..bytes.div_ceil(8) + 1).flat_map(|_| random.next_u64().to_le_bytes()));
    content.truncate(bytes);
    content
}

/// A pair whose far end serves this store.
async fn serving(store: Store) -> (Pair, Arc<Store>) {
    let pair = Pair::new().await;
    let store = Arc::new(store);
    let budget = FragmentBudget::default();
    tokio::spawn(serve_fragments(pair.far.clone(), store.clone(), budget));
    (pair, store)
}

async fn put_all(pair: &Pair, fragments: &[Vec<u8>]) {
    let named: Vec<(Guid, bytes::Bytes)> =
        fragments.iter().map(|bytes| (Guid::of(bytes), bytes.clone().into())).collect();
    let mut kept = 0;
    put_fragments(&pair.near, LEASE, &named, |at, receipt| {
        assert_eq!(receipt.unwrap().receipt.fragment, named[at].0);
        kept += 1;
    })
    .await
    .unwrap();
    assert_eq!(kept, fragments.len());
}

async fn get_all(pair: &Pair, wanted: &[Wanted]) -> Vec<Got> {
    let mut got = Vec::new();
    get_fragments(&pair.near, wanted, |at, what| {
        assert_eq!(at, got.len(), "in order");
        got.push(what);
    })
    .await
    .unwrap();
    got
}

fn bytes_of(got: &Got) -> &[u8] {
    match got {
        Got::Piece(piece) => &piece.bytes,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_of_fragments_go_there_and_back_on_one_stream_each_way() {
    let (pair, store) = serving(Store::default()).await;
    let fragments: Vec<Vec<u8>> = (0..=255).map(|seed| content(seed, 256 << 10)).collect();
    put_all(&pair, &fragments).await;
    assert_eq!(store.fragments.lock().unwrap().len(), 256);
    let wanted: Vec<_> = fragments.iter().map(|bytes| Wanted::whole(Guid::of(bytes))).collect();
    let got = get_all(&pair, &wanted).await;
    assert!(got.iter().zip(&fragments).all(|(got, bytes)| bytes_of(got) == bytes));
}

#[tokio::test]
async fn a_grant_is_shown_and_believed_or_not() {
    let (pair, _) = serving(Store::default()).await;
    let grant = StorageGrant {
        complex: key(9).public(),
        lease: LEASE,
        host: HostId(key(2).public()),
        account: AccountId(100),
        holder: key(1).public(),
        bytes: Bytes::mib(1),
        issued: Time(1),
        until: UNTIL,
        class: StorageClass::Standard,
    };
    let signed = grant.clone().sign(&key(9));
    assert_eq!(present_grant(&pair.near, &signed).await.unwrap(), Ok(UNTIL));
    let other = StorageGrant { holder: key(5).public(), ..grant.clone() }.sign(&key(9));
    let refused = present_grant(&pair.near, &other).await.unwrap();
    assert_eq!(refused, Err(FragmentRefusal::Lease));
    let forged = present_grant(&pair.near, &grant.sign(&key(8))).await.unwrap();
    assert!(matches!(forged, Err(FragmentRefusal::Grant(_))), "{forged:?}");
}

#[tokio::test]
async fn any_groups_are_fetched_and_fragments_are_asked_for_and_removed() {
    let (pair, _) = serving(Store::default()).await;
    let bytes = content(1, 100_000);
    let small = content(2, 10);
    put_all(&pair, &[bytes.clone(), small.clone()]).await;
    let (fragment, none) = (Guid::of(&bytes), Guid::of(b"none"));
    let last = groups_of(100_000) - 1;
    let wanted = [
        Wanted { fragment, first: 2, count: 2 },
        Wanted { fragment, first: last, count: 5 },
        Wanted::whole(none),
        Wanted::whole(Guid::of(&small)),
        Wanted { fragment, first: 9_999, count: 1 },
    ];
    let got = get_all(&pair, &wanted).await;
    let group = GROUP_BYTES as usize;
    assert_eq!(bytes_of(&got[0]), &bytes[2 * group..4 * group]);
    assert_eq!(bytes_of(&got[1]), &bytes[last as usize * group..]);
    assert_eq!(got[2], Got::Missing);
    assert_eq!(bytes_of(&got[3]), small);
    assert!(matches!(got[4], Got::Refused(FragmentRefusal::Malformed(_))), "{:?}", got[4]);
    let names = [fragment, none, Guid::of(&small)];
    let has = has_fragments(&pair.near, &names).await.unwrap();
    assert_eq!(has, Ok(vec![true, false, true]));
    assert_eq!(remove_fragments(&pair.near, LEASE, &names).await.unwrap(), Ok(2));
    let has = has_fragments(&pair.near, &names).await.unwrap();
    assert_eq!(has, Ok(vec![false; 3]));
}

#[tokio::test]
async fn an_audit_gets_a_group_that_proves_itself() {
    let (pair, _) = serving(Store::default()).await;
    let bytes = content(1, 100_000);
    put_all(&pair, std::slice::from_ref(&bytes)).await;
    let fragment = Guid::of(&bytes);
    let got = audit_fragment(&pair.near, fragment, 3, 99).await.unwrap();
    assert_eq!(bytes_of(&got), &bytes[3 * 16_384..4 * 16_384]);
    let missing = audit_fragment(&pair.near, Guid::of(b"none"), 0, 1).await.unwrap();
    assert_eq!(missing, Got::Missing);
    let beyond = audit_fragment(&pair.near, fragment, 200, 1).await.unwrap();
    assert!(matches!(beyond, Got::Refused(FragmentRefusal::Malformed(_))), "{beyond:?}");
}

#[tokio::test]
async fn what_is_refused_does_not_stop_the_others() {
    let (pair, store) = serving(Store::default()).await;
    let (a, b) = (content(1, 50_000), content(2, 300_000));
    let name = Guid::of;
    let named = [(name(&a), &a), (name(b"other"), &a), (name(&b), &b)];
    let named = named.map(|(name, bytes)| (name, bytes.clone().into()));
    let mut answers = Vec::new();
    put_fragments(&pair.near, LEASE, &named, |_, answer| answers.push(answer.map(|_| ())))
        .await
        .unwrap();
    let wrong = FragmentRefusal::WrongBytes(Guid::of(&a));
    assert_eq!(answers, [Ok(()), Err(wrong), Ok(())]);
    let mut answers = Vec::new();
    put_fragments(&pair.near, LeaseId(8), &named[..1], |_, answer| answers.push(answer))
        .await
        .unwrap();
    assert_eq!(answers, [Err(FragmentRefusal::Lease)]);
    assert_eq!(store.fragments.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_host_that_lies_is_seen_through() {
    let (pair, store) = serving(Store { lie: true, ..Store::default() }).await;
    let bytes = content(1, 100_000);
    put_all(&pair, std::slice::from_ref(&bytes)).await;
    let fragment = Guid::of(&bytes);
    let wanted = [Wanted::whole(fragment), Wanted { fragment, first: 4, count: 1 }];
    let got = get_all(&pair, &wanted).await;
    assert!(got.iter().all(|got| matches!(got, Got::Wrong(_))), "{got:?}");
    let got = audit_fragment(&pair.near, fragment, 0, 1).await.unwrap();
    assert!(matches!(got, Got::Wrong(_)));
    drop(store);

    let (pair, _) = serving(Store { forge: true, ..Store::default() }).await;
    let outcome = put_fragments(&pair.near, LEASE, &[(fragment, bytes.into())], |_, _| {}).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, FragmentError::Receipt { source: None, .. }), "{error}");
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_requests_while_the_disk_works_on_all() {
    let (pair, _) = serving(Store { slow: true, ..Store::default() }).await;
    let fragments: Vec<Vec<u8>> = (0..10).map(|seed| content(seed, 40_000)).collect();
    put_all(&pair, &fragments).await;
    let wanted: Vec<_> = fragments.iter().map(|bytes| Wanted::whole(Guid::of(bytes))).collect();
    let start = Instant::now();
    let got = get_all(&pair, &wanted).await;
    assert!(got.iter().zip(&fragments).all(|(got, bytes)| bytes_of(got) == bytes));
    // One after the other they would take 1.1 s.
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_want_more_memory_than_there_is_take_turns() {
    let pair = Pair::new().await;
    let store = Arc::new(Store::default());
    // One of the largest fragments at a time.
    tokio::spawn(serve_fragments(pair.far.clone(), store, FragmentBudget::new(0)));
    let fragments: Vec<Vec<u8>> =
        (0..4).map(|seed| content(seed, FRAGMENT_BYTES_MAX as usize)).collect();
    let both = fragments.split_at(2);
    tokio::join!(put_all(&pair, both.0), put_all(&pair, both.1));
    let wanted: Vec<_> = fragments.iter().map(|bytes| Wanted::whole(Guid::of(bytes))).collect();
    let (first, second) = tokio::join!(get_all(&pair, &wanted), get_all(&pair, &wanted));
    assert_eq!(first, second);
    assert_eq!(bytes_of(&first[3]), fragments[3]);
}

/// Serves one stream that the near end opens and feeds.
async fn served(pair: &Pair) -> Result<crate::FragmentsServed, FragmentServeError> {
    let stream = pair.far.accept().await.unwrap();
    let budget = FragmentBudget::default();
    serve_fragment_stream(stream, pair.far.remote(), &Store::default(), &budget).await
}

#[tokio::test]
async fn garbage_is_refused_and_what_came_before_is_answered() {
    let pair = Pair::new().await;
    let mut stream = pair.near.open().await.unwrap();
    stream.sender.send(&FragmentRequest::Has(vec![Guid::of(b"a")])).await.unwrap();
    stream.sender.send(&(250_u8, "no request")).await.unwrap();
    let outcome = served(&pair).await;
    assert!(matches!(outcome, Err(FragmentServeError::Request(_))), "{outcome:?}");
    let has = FragmentAnswer::Has(vec![false]);
    assert_eq!(stream.receiver.recv::<FragmentAnswer>().await, Ok(Some(has)));
    assert_eq!(stream.receiver.recv::<FragmentAnswer>().await, Ok(None));
}

#[tokio::test]
async fn more_names_than_allowed_and_impossible_lengths_are_told() {
    let pair = Pair::new().await;
    let (mut asker, mut hearer) = open_fragments(&pair.near).await.unwrap();
    let serving = served(&pair);
    let asking = async {
        // As many as the frame takes, which is more than the request may have.
        let names = vec![Guid::of(b"a"); FRAGMENTS_NAMED_MAX + 1];
        asker.ask(&FragmentRequest::Has(names), bytes::Bytes::new()).await.unwrap();
        let answer = hearer.hear().await.unwrap().unwrap().answer;
        let FragmentAnswer::Refused(why) = answer else { panic!("{answer:?}") };
        assert!(why.to_string().contains("1025 names, at most 1024"), "{why}");
        let (fragment, length) = (Guid::of(b"a"), FRAGMENT_BYTES_MAX + 1);
        asker
            .ask(&FragmentRequest::Put { lease: LEASE, fragment, length }, bytes::Bytes::new())
            .await
            .unwrap();
        let answer = hearer.hear().await.unwrap().unwrap().answer;
        assert_eq!(answer, FragmentAnswer::Refused(FragmentRefusal::Length));
        assert_eq!(hearer.hear().await.unwrap(), None);
    };
    let (outcome, ()) = tokio::join!(serving, asking);
    assert!(matches!(outcome, Err(FragmentServeError::Length { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_peer_that_does_not_send_what_it_announced_is_left() {
    let pair = Pair::new().await;
    let (mut asker, _hearer) = open_fragments(&pair.near).await.unwrap();
    let put = FragmentRequest::Put { lease: LEASE, fragment: Guid::of(b"a"), length: 1_000 };
    asker.ask(&put, b"only a few"[..].into()).await.unwrap();
    let start = Instant::now();
    let outcome = served(&pair).await;
    assert!(matches!(outcome, Err(FragmentServeError::Stalled)), "{outcome:?}");
    assert!(start.elapsed() < 3 * limits::STALL_TIMEOUT);

    let (mut asker, _hearer) = open_fragments(&pair.near).await.unwrap();
    asker.ask(&put, b"only a few"[..].into()).await.unwrap();
    asker.finish().await.unwrap();
    let outcome = served(&pair).await;
    assert!(matches!(outcome, Err(FragmentServeError::Short { came: 10, .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_stream_on_which_nothing_is_asked_ends() {
    let pair = Pair::new().await;
    let (mut asker, mut hearer) = open_fragments(&pair.near).await.unwrap();
    asker.ask(&FragmentRequest::Has(vec![Guid::of(b"a")]), bytes::Bytes::new()).await.unwrap();
    let (outcome, heard) = tokio::join!(served(&pair), async {
        assert!(hearer.hear().await.unwrap().is_some());
        hearer.hear().await
    });
    assert_eq!(outcome.unwrap().requests, 1);
    assert!(heard.unwrap().is_none());
}

#[tokio::test]
async fn a_peer_that_does_not_read_its_answers_is_left() {
    let pair = Pair::new().await;
    let store = Store::default();
    let bytes = content(1, FRAGMENT_BYTES_MAX as usize);
    let fragment = Guid::of(&bytes);
    store.fragments.lock().unwrap().insert(fragment, bytes);
    let (mut asker, _hearer) = open_fragments(&pair.near).await.unwrap();
    for _ in 0..4 {
        let get = FragmentRequest::Get { fragment, first: 0, count: u32::MAX };
        asker.ask(&get, bytes::Bytes::new()).await.unwrap();
    }
    let stream = pair.far.accept().await.unwrap();
    let budget = FragmentBudget::default();
    let outcome = serve_fragment_stream(stream, pair.far.remote(), &store, &budget).await;
    assert!(matches!(outcome, Err(FragmentServeError::Reply(_))), "{outcome:?}");
}

fn head(owner: u8, version: u64) -> SignedHead {
    let (key_of, written) = (key(owner).public(), Time(version));
    Head { key: key_of, version, written, body: vec![owner; 300] }.sign(&key(owner))
}

#[tokio::test]
async fn a_head_is_set_and_fetched_and_who_brings_an_older_one_hears_of_the_newer() {
    let (pair, _) = serving(Store::default()).await;
    let of_5 = key(5).public();
    assert_eq!(get_head(&pair.near, of_5).await.unwrap(), Ok(None));
    let set = set_head(&pair.near, LEASE, &head(5, 7)).await.unwrap();
    assert_eq!(set, Ok(HeadSet::Kept(7)));
    let lost = set_head(&pair.near, LEASE, &head(5, 6)).await.unwrap();
    assert_eq!(lost, Ok(HeadSet::Newer(Box::new(head(5, 7)))));
    assert_eq!(get_head(&pair.near, of_5).await.unwrap(), Ok(Some(head(5, 7))));
    assert_eq!(get_head(&pair.near, key(6).public()).await.unwrap(), Ok(None));
    let refused = set_head(&pair.near, LeaseId(8), &head(5, 8)).await.unwrap();
    assert_eq!(refused, Err(FragmentRefusal::Lease));
}

#[tokio::test]
async fn a_head_that_its_key_has_not_signed_never_comes_to_the_store() {
    let (pair, store) = serving(Store::default()).await;
    let mut forged = head(5, 7);
    forged.head.version = 8;
    let long = Head { body: vec![0; 513], ..head(5, 9).head }.sign(&key(5));
    for bad in [forged, long] {
        let refused = set_head(&pair.near, LEASE, &bad).await.unwrap();
        assert!(matches!(refused, Err(FragmentRefusal::Head(_))), "{refused:?}");
    }
    assert!(store.heads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_host_that_makes_heads_up_is_seen_through() {
    let mut forged = head(5, 7);
    forged.head.version = 9;
    // Of nobody, and of somebody else.
    let wrong = [(forged, Some(HeadError::Signature)), (head(6, 9), None)];
    for (wrong, why) in wrong {
        let store = Store { false_head: Some(wrong), ..Store::default() };
        let (pair, _) = serving(store).await;
        for error in [
            get_head(&pair.near, key(5).public()).await.unwrap_err(),
            set_head(&pair.near, LEASE, &head(5, 8)).await.unwrap_err(),
        ] {
            let FragmentError::Head { key: of, source } = error else { panic!("{error}") };
            assert_eq!((of, source), (key(5).public(), why.clone()));
        }
    }
    // An older one, or the same, is no reason to say no.
    for version in [7, 8] {
        let store = Store { false_head: Some(head(5, version)), ..Store::default() };
        let (pair, _) = serving(store).await;
        let error = set_head(&pair.near, LEASE, &head(5, 8)).await.unwrap_err();
        assert!(matches!(error, FragmentError::Head { source: None, .. }), "{error}");
    }
}

#[tokio::test]
async fn answers_that_are_none_to_a_head_are_told_apart() {
    let pair = Pair::new().await;
    let answering = async {
        for answer in [FragmentAnswer::HeadKept(9), FragmentAnswer::Head(None)] {
            let mut stream = pair.far.accept().await.unwrap();
            let request = stream.receiver.recv::<FragmentRequest>().await.unwrap();
            assert!(matches!(request, Some(FragmentRequest::SetHead { lease: LEASE, .. })));
            stream.sender.send(&answer).await.unwrap();
            stream.sender.finish().await.unwrap();
        }
    };
    let asking = async {
        for _ in 0..2 {
            let error = set_head(&pair.near, LEASE, &head(5, 8)).await.unwrap_err();
            assert!(matches!(error, FragmentError::Other(_)), "{error}");
        }
    };
    tokio::join!(answering, asking);
}
