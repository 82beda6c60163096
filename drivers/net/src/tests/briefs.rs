//! Short questions over real connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{ALPN, address_of, endpoint};
use crate::{BriefAnswer, BriefAsker, BriefError, Endpoint, PeerAddr, answer_briefly, limits};

/// A peer that doubles numbers; not the unlucky one.
async fn doubler(seed: u8) -> (Endpoint, PeerAddr, Arc<AtomicUsize>) {
    let server = endpoint(seed).await;
    let peer = address_of(&server);
    let connections = Arc::new(AtomicUsize::new(0));
    let (accepting, counted) = (server.clone(), connections.clone());
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let connection = incoming.accept();
                let double = |n: u32| async move { (n != 13).then_some(n * 2) };
                answer_briefly(&connection, double).await;
            });
        }
    });
    (server, peer, connections)
}

async fn ask(asker: &BriefAsker, peer: &PeerAddr, n: u32) -> Result<(u32, bool), BriefError> {
    asker.ask::<u32, u32>(peer, &n).await.map(|BriefAnswer { answer, dialled, round_trip }| {
        assert!(round_trip.is_some());
        (answer, dialled)
    })
}

#[tokio::test]
async fn a_peer_is_dialled_once_for_many_questions() {
    let asker = BriefAsker::new(endpoint(1).await, ALPN);
    let (_server, peer, connections) = doubler(2).await;
    for n in 0..5 {
        assert_eq!(ask(&asker, &peer, n).await.unwrap(), (2 * n, n == 0));
    }
    assert_eq!((asker.kept(), connections.load(Ordering::Relaxed)), (1, 1));
}

#[tokio::test]
async fn few_connections_are_kept_however_many_are_asked() {
    let asker = BriefAsker::new(endpoint(1).await, ALPN);
    let mut servers = Vec::new();
    for seed in 2..10 {
        servers.push(doubler(seed).await);
    }
    for (_, peer, _) in &servers {
        assert_eq!(ask(&asker, peer, 4).await.unwrap(), (8, true));
    }
    assert_eq!(asker.kept(), limits::BRIEF_CONNECTIONS_MAX);
    assert_eq!(ask(&asker, &servers[7].1, 4).await.unwrap(), (8, false));
    assert_eq!(ask(&asker, &servers[0].1, 4).await.unwrap(), (8, true));
    asker.close();
    assert_eq!(asker.kept(), 0);
}

#[tokio::test]
async fn who_does_not_answer_may_have_heard_and_who_is_not_there_has_not() {
    let asker = BriefAsker::new(endpoint(1).await, ALPN);
    let (server, peer, _) = doubler(2).await;
    let unlucky = ask(&asker, &peer, 13).await.unwrap_err();
    assert!(unlucky.may_be_heard(), "{unlucky}");
    assert_eq!(asker.kept(), 0, "a connection that failed is not kept");
    assert_eq!(ask(&asker, &peer, 4).await.unwrap(), (8, true));
    asker.close();
    server.close().await;
    let gone = ask(&asker, &peer, 4).await.unwrap_err();
    assert!(!gone.may_be_heard(), "{gone}");
}
