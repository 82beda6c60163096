//! Who is let in to gossip: so many at once, few of one key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use isos_base::HostId;
use isos_base::key::PublicKey;
use isos_gossip::wire::{Answer, Request};
use isos_net::{Incoming, answer_briefly, code};
use tokio::sync::{mpsc, oneshot};

use super::run::Message;

/// Connections of one key: one that failed may still be here when the next comes.
const OF_KEY_MAX: u32 = 3;
/// Callers at a time: some 80 KiB each. They keep few connections themselves, and call again.
const CALLERS_MAX: usize = 48;

/// Takes callers from the door until it is closed.
pub(super) async fn accept(mut callers: mpsc::Receiver<Incoming>, messages: mpsc::Sender<Message>) {
    let present: Arc<Mutex<BTreeMap<PublicKey, u32>>> = Arc::default();
    while let Some(incoming) = callers.recv().await {
        let key = incoming.remote();
        {
            // Keys come and go one by one.
            let mut present = present.lock().unwrap_or_else(PoisonError::into_inner);
            let of_key = present.get(&key).copied().unwrap_or(0);
            let is_full = of_key == 0 && present.len() >= CALLERS_MAX;
            if is_full || of_key >= OF_KEY_MAX {
                incoming.refuse(code::BUSY, "too many callers");
                continue;
            }
            present.insert(key, of_key + 1);
        }
        let (present, messages) = (present.clone(), messages.clone());
        tokio::spawn(async move {
            let connection = incoming.accept();
            let answer = |request: Request| {
                let messages = messages.clone();
                async move {
                    request.check().ok()?;
                    let (answer, answered) = oneshot::channel::<Answer>();
                    let request = Box::new(request);
                    let asked = Message::Asked { peer: HostId(key), request, answer };
                    messages.send(asked).await.ok()?;
                    answered.await.ok()
                }
            };
            answer_briefly(&connection, answer).await;
            let mut present = present.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(of_key) = present.get_mut(&key) {
                *of_key -= 1;
                if *of_key == 0 {
                    present.remove(&key);
                }
            }
        });
    }
}
