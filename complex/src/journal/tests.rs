//! Real servers that write a journal, and its replay.

use isos_base::audit::Actor;
use isos_base::capability::Right;
use isos_base::wire::HOST_ALPN;
use isos_kernel::complex::Call;

use super::*;
use crate::server::{Server, ServerConfig};
use crate::testing::{World, endpoint, hello};

/// A journal of a server with an account, a host and a job.
async fn recorded(dir: &Path) -> PathBuf {
    let file = dir.join("journal");
    let config = ServerConfig {
        journal: Some(JournalConfig { file: file.clone(), max: Bytes::gib(1) }),
        ..ServerConfig::local(dir.join("home"))
    };
    let server = Server::start(config).await.unwrap();
    let world = World::of(server);
    let token = world.token("owner", &[Right::Join]).await;
    let host = endpoint(3).await;
    let connection = host.connect(&world.peer(), HOST_ALPN).await.unwrap();
    let mut stream = connection.open().await.unwrap();
    stream.sender.send(&hello(Some(&token))).await.unwrap();
    let welcome = stream.receiver.recv::<isos_base::wire::ToHost>().await.unwrap();
    assert!(welcome.is_some());
    let module = b"\0asm\x01\0\0\0";
    let guid = isos_base::Guid::of(module);
    let operator = world.operator();
    let bearer = format!("Bearer {operator}");
    let (status, ..) =
        world.ask(&format!("PUT /v1/objects/{guid}"), &[("authorization", &bearer)], module).await;
    assert!((200..300).contains(&status));
    let credits = r#"{"amount":1000000,"why":"a test"}"#;
    let granted = world.json("POST /v1/accounts/me/credits", &operator, credits).await;
    assert_eq!(granted.0, 200, "{granted:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains(&token) && !text.contains(&operator), "no secrets");
    assert!(text.contains("HostCame") && text.contains(r#"{"As":{"holder":"#), "{text}");
    world.server.stop().await;
    file
}

#[tokio::test]
async fn a_replay_decides_as_the_server_did() {
    let dir = tempfile::tempdir().unwrap();
    let file = recorded(dir.path()).await;
    let mut shown = 0;
    let replayed = replay(&file, true, |_, inputs, _| shown += inputs.len()).unwrap();
    assert_eq!(replayed.difference, None);
    assert!(replayed.inputs >= 3 && replayed.effects >= 3, "{replayed:?}");
    assert_eq!(shown as u64, replayed.inputs);
    assert!(!replayed.cut_off);
}

#[tokio::test]
async fn a_changed_decision_is_found_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = recorded(dir.path()).await;
    let text = std::fs::read_to_string(&file).unwrap();
    // Somebody else's welcome.
    let changed = text.replacen(r#"{"Welcome":{"now":"#, r#"{"Welcome":{"now":1"#, 1);
    assert_ne!(text, changed);
    std::fs::write(&file, changed).unwrap();
    let difference = replay(&file, false, |_, _, _| {}).unwrap().difference.unwrap();
    assert!(difference.recorded.unwrap().contains("Welcome"));
    assert!(difference.now.unwrap().contains("Welcome"));
    assert!(difference.inputs.iter().any(|input| input.contains("HostCame")));
}

#[tokio::test]
async fn a_journal_that_was_cut_off_is_replayed_as_far_as_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let file = recorded(dir.path()).await;
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, &text[..text.len() - 20]).unwrap();
    let replayed = replay(&file, false, |_, _, _| {}).unwrap();
    assert!(replayed.cut_off && replayed.difference.is_none(), "{replayed:?}");
}

#[tokio::test]
async fn what_is_no_journal_is_refused_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal");
    let said = |text: &str| {
        std::fs::write(&file, text).unwrap();
        replay(&file, false, |_, _, _| {}).unwrap_err().to_string()
    };
    assert!(said("").contains("line 1"));
    assert!(said("hello\n").contains("line 1"));
    assert!(said("{\"isos_journal\":99}\n").contains("format 99"));
    let good = recorded(&dir.path().join("other")).await;
    let mut text = std::fs::read_to_string(good).unwrap();
    text.push_str("garbage\n");
    let line = text.lines().count();
    assert!(said(&text).contains(&format!("line {line} ")));
}

#[tokio::test]
async fn a_journal_ends_at_its_length_and_the_server_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal");
    let config = ServerConfig {
        journal: Some(JournalConfig { file: file.clone(), max: Bytes(1) }),
        ..ServerConfig::local(dir.path().join("home"))
    };
    let world = World::of(Server::start(config).await.unwrap());
    world.token("owner", &[Right::Join]).await;
    world.server.stop().await;
    let replayed = replay(&file, false, |_, _, _| {}).unwrap();
    assert_eq!((replayed.batches, replayed.difference), (0, None));
}

#[test]
fn calls_of_earlier_journals_are_read() {
    let key = isos_base::key::PublicKey([1; 32]);
    let text = r#"{"By":{"by":{"key":{"account":100,"key":"KEY"}},"call":{"Cancel":{"job":7}}}}"#;
    let call: Call = serde_json::from_str(&text.replace("KEY", &key.to_string())).unwrap();
    let Call::By { by, call } = call else { panic!("another call") };
    assert_eq!(by, Actor::Key { account: isos_base::AccountId(100), key });
    assert!(matches!(*call, Call::Cancel { .. }));
    let revoked = r#"{"RevokeToken":{"id":[1],"until":5,"account":null}}"#;
    let call: Call = serde_json::from_str(revoked).unwrap();
    assert!(matches!(call, Call::RevokeToken { above, .. } if above.is_empty()));
}
