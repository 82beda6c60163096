//! Objects by name: the right bytes or an error.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use isos_base::Guid;
use isos_base::key::PublicKey;
use isos_base::wire::{ObjectAnswer, ObjectRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, SimplexStream};

use super::Pair;
use crate::{
    Admission, GetError, ObjectStore, PutError, ServeError, Served, get_object, put_object,
    serve_object, serve_objects,
};

/// A store in memory that can be told to misbehave.
#[derive(Default)]
struct Shelf {
    objects: Mutex<BTreeMap<Guid, Vec<u8>>>,
    /// Gives these bytes for every name.
    lie: Option<Vec<u8>>,
    /// Refuses what is longer.
    max: Option<u64>,
}

impl Shelf {
    fn with(content: &[u8]) -> (Guid, Arc<Self>) {
        let shelf = Self::default();
        shelf.objects.lock().unwrap().insert(Guid::of(content), content.to_vec());
        (Guid::of(content), Arc::new(shelf))
    }
}

impl ObjectStore for Shelf {
    type Reader = io::Cursor<Vec<u8>>;
    type Writer = Vec<u8>;

    async fn open(&self, _: PublicKey, guid: Guid) -> io::Result<Option<(Self::Reader, u64)>> {
        let found = self.lie.clone().or_else(|| self.objects.lock().unwrap().get(&guid).cloned());
        Ok(found.map(|content| {
            let size = content.len() as u64;
            (io::Cursor::new(content), size)
        }))
    }

    async fn accept(&self, _: PublicKey, guid: Guid, size: u64) -> Admission<Vec<u8>> {
        if self.objects.lock().unwrap().contains_key(&guid) {
            Admission::Have
        } else if self.max.is_some_and(|max| size > max) {
            Admission::Refuse("the shelf\nis full".into())
        } else {
            Admission::Write(Vec::new())
        }
    }

    async fn commit(&self, guid: Guid, writer: Vec<u8>) -> io::Result<()> {
        self.objects.lock().unwrap().insert(guid, writer);
        Ok(())
    }
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes as u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(bytes)
        .collect()
}

const MAX: u64 = 1 << 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_go_there_and_back() {
    let pair = Pair::new().await;
    let shelf = Arc::new(Shelf::default());
    tokio::spawn(serve_objects(pair.far.clone(), shelf.clone()));
    let object = content(64 << 20);
    let guid = Guid::of(&object);
    put_object(&pair.near, guid, object.len() as u64, &object[..]).await.unwrap();
    assert!(shelf.objects.lock().unwrap()[&guid] == object);
    let mut got = Vec::new();
    assert_eq!(get_object(&pair.near, guid, MAX, &mut got).await.unwrap(), 64 << 20);
    assert!(got == object);
    // Also nothing is an object.
    put_object(&pair.near, Guid::of(b""), 0, &b""[..]).await.unwrap();
    assert_eq!(get_object(&pair.near, Guid::of(b""), MAX, &mut got).await.unwrap(), 0);
}

#[tokio::test]
async fn other_bytes_than_the_name_says_are_refused_on_both_sides() {
    let pair = Pair::new().await;
    let object = content(300_000);
    let liar = Arc::new(Shelf { lie: Some(object.clone()), ..Shelf::default() });
    let wanted = Guid::of(b"something else");
    let got = Guid::of(&object);

    let (error, served) =
        tokio::join!(get_object(&pair.near, wanted, MAX, tokio::io::sink()), async {
            let stream = pair.far.accept().await.unwrap();
            serve_object(stream, pair.far.remote(), &*liar).await
        });
    let error = error.unwrap_err();
    assert!(matches!(error, GetError::WrongContent { got: g, .. } if g == got), "{error}");
    assert_eq!(served.unwrap(), Served::Sent(wanted, 300_000));

    let shelf = Shelf::default();
    let (error, served) =
        tokio::join!(put_object(&pair.near, wanted, 300_000, &object[..]), async {
            let stream = pair.far.accept().await.unwrap();
            serve_object(stream, pair.far.remote(), &shelf).await
        });
    let error = error.unwrap_err();
    assert!(matches!(error, PutError::Refused { .. }), "{error}");
    assert!(error.to_string().contains(&got.to_string()), "{error}");
    assert!(matches!(served, Err(ServeError::WrongContent { .. })));
    assert!(shelf.objects.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_there_or_too_large_is_said_before_bytes_flow() {
    let pair = Pair::new().await;
    let (guid, shelf) = Shelf::with(&content(1 << 20));
    tokio::spawn(serve_objects(pair.far.clone(), shelf));
    let error = get_object(&pair.near, Guid::of(b"no"), MAX, tokio::io::sink()).await.unwrap_err();
    assert!(matches!(error, GetError::Missing { .. }), "{error}");
    let error = get_object(&pair.near, guid, 1_000, tokio::io::sink()).await.unwrap_err();
    assert!(matches!(error, GetError::TooLarge { size: 0x10_0000, max: 1_000, .. }), "{error}");
    get_object(&pair.near, guid, MAX, tokio::io::sink()).await.unwrap();
}

#[tokio::test]
async fn an_object_that_is_there_or_unwanted_is_not_sent() {
    let pair = Pair::new().await;
    let (guid, shelf) = Shelf::with(&content(8 << 20));
    tokio::spawn(serve_objects(pair.far.clone(), shelf));
    // A source that never gives a byte: the answer comes all the same.
    let (silent, _writer) = silent();
    put_object(&pair.near, guid, 8 << 20, silent).await.unwrap();

    let small = Arc::new(Shelf { max: Some(10), ..Shelf::default() });
    let other = Pair::new().await;
    tokio::spawn(serve_objects(other.far.clone(), small));
    for size in [1_000_000, u64::MAX] {
        let (silent, _writer) = self::silent();
        let error = put_object(&other.near, guid, size, silent).await.unwrap_err();
        assert!(matches!(error, PutError::Refused { .. }), "{error}");
    }
    let object = content(32 << 20);
    let error =
        put_object(&other.near, Guid::of(&object), 32 << 20, &object[..]).await.unwrap_err();
    assert!(error.to_string().contains("the shelf is full"), "{error}");
}

fn silent() -> (ReadHalf<SimplexStream>, tokio::io::WriteHalf<SimplexStream>) {
    tokio::io::simplex(1)
}

#[tokio::test]
async fn a_source_or_peer_that_gives_too_little_or_too_much_is_an_error() {
    let pair = Pair::new().await;
    let shelf = Arc::new(Shelf::default());
    let object = content(100_000);
    let guid = Guid::of(&object);
    let (error, served) = tokio::join!(put_object(&pair.near, guid, 100_001, &object[..]), async {
        let stream = pair.far.accept().await.unwrap();
        serve_object(stream, pair.far.remote(), &*shelf).await
    });
    assert!(matches!(error, Err(PutError::Source { .. })), "{error:?}");
    // Whoever breaks off may overtake its own request.
    let left = matches!(served, Err(ServeError::Lost { .. } | ServeError::Request(Some(_))));
    assert!(left, "{served:?}");

    for (claimed, wanted) in [(99_999u64, 100_000u64), (100_001, 100_000)] {
        let (error, ()) =
            tokio::join!(get_object(&pair.near, guid, MAX, tokio::io::sink()), async {
                let mut stream = pair.far.accept().await.unwrap();
                stream.receiver.recv::<ObjectRequest>().await.unwrap();
                stream.sender.send(&ObjectAnswer::Found(claimed)).await.unwrap();
                let mut raw = stream.into_raw().await.unwrap();
                // The receiver may have had enough before the end.
                let _ = raw.write_all(&object).await;
                let _ = raw.shutdown().await;
                let _ = raw.read_u8().await;
            });
        let error = error.unwrap_err();
        let GetError::Length { size, received, .. } = error else { panic!("{error}") };
        assert_eq!((size, received), (claimed, wanted));
    }
}

#[tokio::test]
async fn garbage_instead_of_a_request_ends_its_own_stream_only() {
    let pair = Pair::new().await;
    let (guid, shelf) = Shelf::with(b"x");
    tokio::spawn(serve_objects(pair.far.clone(), shelf));
    for garbage in [&[0xff; 64][..], &[2, 0, 0, 0, 9, 9], &[1], &[]] {
        let mut raw = pair.near.open().await.unwrap().into_raw().await.unwrap();
        raw.write_all(garbage).await.unwrap();
        raw.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = raw.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
    }
    get_object(&pair.near, guid, MAX, tokio::io::sink()).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_stalls_is_left_in_bounded_time() {
    let pair = Pair::new().await;
    let (guid, shelf) = Shelf::with(&content(16 << 20));
    let start = Instant::now();

    // It asks and does not read.
    let mut asker = pair.near.open().await.unwrap();
    asker.sender.send(&ObjectRequest::Get(guid)).await.unwrap();
    let stream = pair.far.accept().await.unwrap();
    let error = serve_object(stream, pair.far.remote(), &*shelf).await.unwrap_err();
    assert!(matches!(error, ServeError::Stalled { .. }), "{error}");

    // It opens a stream and does not ask.
    let mut mute = pair.near.open().await.unwrap().into_raw().await.unwrap();
    mute.write_all(&[9]).await.unwrap();
    let stream = pair.far.accept().await.unwrap();
    let error = serve_object(stream, pair.far.remote(), &*shelf).await.unwrap_err();
    assert!(matches!(error, ServeError::Request(None)), "{error}");

    // It announces an object and sends a trickle.
    let mut slow = pair.near.open().await.unwrap();
    let request = ObjectRequest::Put { guid: Guid::of(b"y"), size: 1_000_000 };
    slow.sender.send(&request).await.unwrap();
    let mut slow = slow.into_raw().await.unwrap();
    let trickle = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while slow.write_all(&[1; 100]).await.is_ok() {
            tick.tick().await;
        }
    });
    let stream = pair.far.accept().await.unwrap();
    let error = serve_object(stream, pair.far.remote(), &*shelf).await.unwrap_err();
    assert!(matches!(error, ServeError::Stalled { .. }), "{error}");
    trickle.await.unwrap();

    // It answers and sends nothing.
    let (error, _held) =
        tokio::join!(get_object(&pair.near, guid, MAX, tokio::io::sink()), async {
            let mut stream = pair.far.accept().await.unwrap();
            stream.receiver.recv::<ObjectRequest>().await.unwrap();
            stream.sender.send(&ObjectAnswer::Found(5)).await.unwrap();
            stream
        });
    let error = error.unwrap_err();
    assert!(matches!(error, GetError::Stalled { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_connection_that_ends_in_the_middle_is_an_error() {
    let pair = Pair::new().await;
    let (guid, _) = Shelf::with(&content(8));
    let (error, ()) = tokio::join!(get_object(&pair.near, guid, MAX, tokio::io::sink()), async {
        let mut stream = pair.far.accept().await.unwrap();
        stream.receiver.recv::<ObjectRequest>().await.unwrap();
        stream.sender.send(&ObjectAnswer::Found(8)).await.unwrap();
        stream.sender.finish().await.unwrap();
        stream.sender.delivered().await.unwrap();
        pair.far.close(1, "gone");
    });
    assert!(matches!(error, Err(GetError::Length { received: 0, .. } | GetError::Lost { .. })));
    pair.near.closed().await;
    let error = get_object(&pair.near, guid, MAX, tokio::io::sink()).await.unwrap_err();
    assert!(matches!(error, GetError::Open { .. }), "{error}");
}
