//! Messages over a stream: whole, in order, or a clear error.

use std::time::Duration;

use isos_base::codec::{DecodeError, put_frame};
use isos_base::limits::FRAME_BYTES_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::Pair;
use crate::{RecvError, SendError, code};

#[tokio::test]
async fn messages_arrive_whole_and_in_order_both_ways() {
    let pair = Pair::new().await;
    let (mut near, mut far) = pair.stream().await;
    let batch: Vec<(u32, Vec<u8>)> =
        (0..2_000).map(|n| (n, vec![n as u8; (n as usize * 7) % 3_000])).collect();
    let long = (9u32, vec![7u8; FRAME_BYTES_MAX - 16]);
    let (sent, ()) = tokio::join!(
        async {
            near.sender.send_all(&batch).await?;
            near.sender.send(&long).await?;
            near.sender.finish().await
        },
        async {
            for message in &batch {
                assert_eq!(far.receiver.recv().await.unwrap().as_ref(), Some(message));
                far.sender.send(&message.0).await.unwrap();
            }
            assert_eq!(far.receiver.recv().await.unwrap().as_ref(), Some(&long));
            assert_eq!(far.receiver.recv::<(u32, Vec<u8>)>().await, Ok(None));
        }
    );
    sent.unwrap();
    for message in &batch {
        assert_eq!(near.receiver.recv().await, Ok(Some(message.0)));
    }
}

#[tokio::test]
async fn a_cancelled_receive_loses_nothing() {
    let pair = Pair::new().await;
    let (near, mut far) = pair.stream().await;
    let mut raw = near.into_raw().await.unwrap();
    let mut bytes = Vec::new();
    for n in 0..20u32 {
        put_frame(&(n, "some text"), &mut bytes);
    }
    let writer = tokio::spawn(async move {
        // Ends of pieces and of frames fall apart; the pauses outlast the reader's patience.
        for piece in bytes.chunks(7) {
            raw.write_all(piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        raw.shutdown().await.unwrap();
        raw
    });
    let (mut received, mut cancelled) = (Vec::new(), 0);
    loop {
        match timeout(Duration::from_millis(1), far.receiver.recv::<(u32, String)>()).await {
            Ok(Ok(Some((n, text)))) => {
                assert_eq!(text, "some text");
                received.push(n);
            }
            Ok(end) => break assert_eq!(end, Ok(None)),
            Err(_) => cancelled += 1,
        }
    }
    writer.await.unwrap();
    assert_eq!(received, (0..20).collect::<Vec<_>>());
    assert!(cancelled > 0, "nothing was cancelled, so nothing was tested");
}

#[tokio::test]
async fn a_cancelled_send_leaves_no_half_message() {
    let pair = Pair::new().await;
    let (mut near, mut far) = pair.stream().await;
    let long = vec![3u8; FRAME_BYTES_MAX - 16];
    // Nobody reads, so the window fills and the send is cancelled in the middle.
    assert!(timeout(Duration::from_millis(200), near.sender.send(&long)).await.is_err());
    let short = vec![4u8; 5];
    let (sent, ()) = tokio::join!(near.sender.send(&short), async {
        assert_eq!(far.receiver.recv().await, Ok(Some(long.clone())));
        assert_eq!(far.receiver.recv().await, Ok(Some(short.clone())));
    });
    sent.unwrap();
}

#[tokio::test]
async fn garbage_ends_its_own_stream_only() {
    let pair = Pair::new().await;
    let (mut good_near, mut good_far) = pair.stream().await;
    let (bad_near, mut bad_far) = pair.stream().await;
    let mut raw = bad_near.into_raw().await.unwrap();
    raw.write_all(&[3, 0, 0, 0, 0xff, 0xff, 0xff]).await.unwrap();
    let error = bad_far.receiver.recv::<(u32, String)>().await.unwrap_err();
    assert!(matches!(error, RecvError::Garbage(DecodeError::Malformed(_))), "{error}");
    assert_eq!(bad_far.receiver.recv::<u8>().await, Err(RecvError::Stopped));
    // The sender learns it too.
    assert_eq!(raw.sender.stream.stopped().await.unwrap(), Some(code::BAD_FRAME.into()));
    good_near.sender.send(&5u64).await.unwrap();
    assert_eq!(good_far.receiver.recv().await, Ok(Some(5u64)));
}

#[tokio::test]
async fn a_frame_that_claims_four_gigabytes_is_refused_by_its_head() {
    let pair = Pair::new().await;
    let (near, mut far) = pair.stream().await;
    let mut raw = near.into_raw().await.unwrap();
    raw.write_all(&[0xff; 4]).await.unwrap();
    let error = far.receiver.recv::<u8>().await.unwrap_err();
    let wanted = DecodeError::TooLong { length: 0xffff_ffff, max: FRAME_BYTES_MAX };
    assert_eq!(error, RecvError::Garbage(wanted));
}

#[tokio::test]
async fn an_end_inside_a_frame_is_an_error() {
    let pair = Pair::new().await;
    for (bytes, missing) in [(&[9, 0, 0, 0, 1, 2][..], 7), (&[9, 0][..], 2)] {
        let (near, mut far) = pair.stream().await;
        let mut raw = near.into_raw().await.unwrap();
        raw.write_all(bytes).await.unwrap();
        raw.shutdown().await.unwrap();
        assert_eq!(far.receiver.recv::<u8>().await, Err(RecvError::Truncated { missing }));
    }
}

#[tokio::test]
async fn breaking_off_is_not_an_end() {
    let pair = Pair::new().await;
    let (mut near, mut far) = pair.stream().await;
    near.sender.reset(77);
    assert_eq!(far.receiver.recv::<u8>().await, Err(RecvError::Reset { code: 77 }));
    far.receiver.stop(78);
    assert_eq!(near.sender.send(&1u8).await, Err(SendError::Finished));
    near.receiver.stop(79);
    let stopped = loop {
        if let Err(error) = far.sender.send(&vec![0u8; 1 << 20]).await {
            break error;
        }
    };
    assert_eq!(stopped, SendError::Stopped { code: 79 });
}

#[tokio::test]
async fn a_message_that_is_too_long_is_not_sent_and_harms_nothing() {
    let pair = Pair::new().await;
    let (mut near, mut far) = pair.stream().await;
    near.limit(64);
    let error = near.sender.send_all(&[vec![1u8; 8], vec![2; 100], vec![3; 8]]).await.unwrap_err();
    assert_eq!(error, SendError::TooLong { length: 101, max: 64 });
    near.sender.send(&vec![4u8; 8]).await.unwrap();
    assert_eq!(far.receiver.recv().await, Ok(Some(vec![1u8; 8])));
    assert_eq!(far.receiver.recv().await, Ok(Some(vec![4u8; 8])));
}

#[tokio::test]
async fn a_peer_that_does_not_read_stalls_its_own_stream_only() {
    let pair = Pair::new().await;
    let (mut near, far) = pair.stream().await;
    let (mut other_near, mut other_far) = pair.stream().await;
    let stalled = loop {
        if let Err(error) = near.sender.send(&vec![0u8; 1 << 20]).await {
            break error;
        }
    };
    assert_eq!(stalled, SendError::Stalled);
    other_near.sender.send(&6u8).await.unwrap();
    assert_eq!(other_far.receiver.recv().await, Ok(Some(6u8)));
    drop(far);
}

#[tokio::test]
async fn what_is_delivered_survives_the_close() {
    let pair = Pair::new().await;
    let (mut near, mut far) = pair.stream().await;
    near.sender.send(&"goodbye").await.unwrap();
    near.sender.finish().await.unwrap();
    let (delivered, got) = tokio::join!(near.sender.delivered(), far.receiver.recv::<String>());
    delivered.unwrap();
    pair.near.close(code::DONE, "");
    assert_eq!(got, Ok(Some("goodbye".into())));
    assert!(pair.far.accept().await.is_none());
}

#[tokio::test]
async fn a_raw_stream_copies_bytes_both_ways_behind_the_frames() {
    let pair = Pair::new().await;
    let (mut near, mut far) = pair.stream().await;
    near.sender.send(&3u8).await.unwrap();
    let mut near = near.into_raw().await.unwrap();
    near.write_all(b"head").await.unwrap();
    assert_eq!(far.receiver.recv().await, Ok(Some(3u8)));
    let far = far.into_raw().await.unwrap();
    let echo = tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(far);
        let copied = tokio::io::copy(&mut reader, &mut writer).await.unwrap();
        writer.shutdown().await.unwrap();
        copied
    });
    let body: Vec<u8> = (0..8 << 20).map(|n: u32| (n >> 3) as u8).collect();
    let (mut sender, mut receiver) = (near.sender, near.receiver);
    let (sent, got) = tokio::join!(
        async {
            sender.write_all(&body).await?;
            sender.shutdown().await
        },
        async {
            let mut got = Vec::new();
            receiver.read_to_end(&mut got).await.map(|_| got)
        }
    );
    sent.unwrap();
    let got = got.unwrap();
    assert_eq!(&got[..4], b"head");
    assert!(got[4..] == body);
    assert_eq!(echo.await.unwrap(), body.len() as u64 + 4);
}
