//! Stories of keys, tickets and the log of what was done about them.

use isos_base::audit::{Actor, AuditHead, Deed, SignedAudit};
use isos_base::key::SecretKey;
use isos_base::keyring::KeyKind;
use isos_base::right::{Holder, Right};

use super::*;

fn key(n: u8) -> PublicKey {
    SecretKey::from_bytes(&[n; 32]).public()
}

impl World {
    fn account(&mut self, name: &str) -> AccountId {
        let call = Call::OpenAccount { name: name.into(), welcome: MicroCredits::ZERO };
        match self.call(call) {
            Ok(Reply::Account(account)) => account,
            other => panic!("no account: {other:?}"),
        }
    }

    fn add(&mut self, account: AccountId, n: u8, kind: KeyKind) -> Result<Reply, Problem> {
        let (label, rights) = (format!("key {n}"), Right::OWN.to_vec());
        let new = NewKey { account, key: key(n), label, rights, kind };
        self.call(Call::Keys(KeyCall::Add { new, once: None }))
    }

    fn remove(&mut self, account: AccountId, n: u8) -> Result<Reply, Problem> {
        self.call(Call::Keys(KeyCall::Remove { account, key: key(n) }))
    }

    fn recover(&mut self, by: u8, to: u8) -> Result<Reply, Problem> {
        let label = "new".into();
        self.call(Call::Keys(KeyCall::Recover { by: key(by), key: key(to), label, once: None }))
    }

    fn revoke(&mut self, id: u8) {
        let until = self.now + Span::secs(86_400);
        let call = Call::RevokeToken { id: vec![id], until, account: None, above: Vec::new() };
        assert_eq!(self.call(call), Ok(Reply::Done));
    }

    /// Revokes what was narrowed from a token, by its ids.
    fn revoke_narrowed(&mut self, of: AccountId, ids: &[Vec<u8>]) -> Result<Reply, Problem> {
        let (id, above) = ids.split_last().unwrap();
        let (until, account) = (self.now + Span::secs(86_400), Some(of));
        self.call(Call::RevokeToken { id: id.clone(), until, account, above: above.to_vec() })
    }

    /// Who has shown this just now.
    fn holder(&self, account: AccountId, key: Option<PublicKey>, ids: &[u8]) -> Holder {
        let (issued, expires) = (self.now, self.now + Span::secs(3_600));
        let revocation_ids = ids.iter().map(|id| vec![*id]).collect();
        Holder { account, rights: Right::OWN.to_vec(), expires, issued, key, revocation_ids }
    }

    /// What the log says, checked from end to end.
    fn log(&self) -> Vec<Deed> {
        let records: Vec<_> = self.tables.audit.values().cloned().collect();
        let (complex, last) = (SecretKey::from_bytes(&[1; 32]), records.last().unwrap());
        let head = AuditHead { account: None, last: last.seq, hash: last.hash };
        let signed = SignedAudit { signed: head.sign(&complex, self.now), records };
        assert_eq!(signed.check(Some(&complex.public())), Ok(()));
        signed.records.into_iter().map(|record| record.deed).collect()
    }

    fn last_deed(&self) -> Deed {
        self.log().pop().unwrap()
    }
}

#[test]
fn the_log_says_who_did_what_and_its_chain_goes_on_after_a_restart() {
    let mut world = World::new();
    let buyer = world.buyer();
    let by = Actor::Token { account: buyer, id: "ab".into() };
    let mint = Call::Mint {
        account: buyer,
        amount: MicroCredits::credits(5),
        why: "gift".into(),
        key: None,
        by: buyer,
    };
    world.call(Call::By { by: by.clone(), call: Box::new(mint) }).unwrap();
    let last = world.tables.audit.last_key_value().unwrap().1.clone();
    assert_eq!((last.by, last.account), (by, Some(buyer)));
    assert_eq!(last.ledger_seq, *world.tables.transfers.last_key_value().unwrap().0);
    world.restart();
    world.join(1);
    let log = world.log();
    assert!(matches!(log[0], Deed::AccountOpened { .. }));
    assert!(matches!(log.last(), Some(Deed::HostAdmitted { host, .. }) if *host == host_id(1)));
    assert_eq!(world.tables.audit.last_key_value().unwrap().1.by, Actor::Host { host: host_id(1) });
}

#[test]
fn a_key_is_of_one_account_and_the_last_one_stays_without_a_recovery() {
    let mut world = World::new();
    let (anna, bert) = (world.account("anna"), world.account("bert"));
    world.add(anna, 1, KeyKind::Person).unwrap();
    assert_eq!(world.complex.key_holder(&key(1)).unwrap().account, anna);
    assert_eq!(world.add(bert, 1, KeyKind::Person).unwrap_err().code, ProblemCode::Refused);
    assert_eq!(world.remove(bert, 1).unwrap_err().code, ProblemCode::NotFound);
    assert!(world.remove(anna, 1).unwrap_err().message.contains("recovery create"));
    world.add(anna, 2, KeyKind::Person).unwrap();
    world.remove(anna, 1).unwrap();
    assert!(world.complex.key_holder(&key(1)).is_none());
    world.add(anna, 9, KeyKind::Recovery).unwrap();
    assert!(world.complex.key_holder(&key(9)).is_none(), "it logs nobody in");
    world.remove(anna, 2).unwrap();
    assert!(world.remove(anna, 9).is_err(), "nobody could have the account then");
    world.add(bert, 1, KeyKind::Person).expect("a key that was removed is free");
}

#[test]
fn tokens_of_a_key_are_void_at_once_when_it_is_removed_and_stay_so() {
    let mut world = World::new();
    let anna = world.account("anna");
    world.add(anna, 1, KeyKind::Person).unwrap();
    world.add(anna, 2, KeyKind::Person).unwrap();
    let issued = world.now;
    assert!(!world.complex.is_void(anna, issued, Some(&key(1))));
    world.now += Span(1);
    world.remove(anna, 1).unwrap();
    assert!(world.complex.is_void(anna, issued, Some(&key(1))));
    assert!(!world.complex.is_void(anna, issued, Some(&key(2))));
    assert!(!world.complex.is_void(anna, issued, None));
    world.now += Span(1);
    world.add(anna, 1, KeyKind::Person).unwrap();
    assert!(world.complex.is_void(anna, issued, Some(&key(1))), "of the time before");
    world.restart();
    assert!(world.complex.is_void(anna, issued, Some(&key(1))));
    assert!(!world.complex.is_void(anna, world.now, Some(&key(1))));
}

#[test]
fn a_claim_is_good_once_also_after_a_restart() {
    let mut world = World::new();
    let anna = world.account("anna");
    let until = world.now + Span::secs(60);
    let once = Some((vec![7; 32], until));
    let (rights, expires) = (vec![Right::Read], until);
    let made = KeyCall::MakeToken { account: anna, id: vec![1], rights, expires, once };
    let call = Call::Keys(made);
    world.call(call.clone()).unwrap();
    assert_eq!(world.call(call.clone()).unwrap_err().code, ProblemCode::Unauthorised);
    world.restart();
    assert_eq!(world.call(call).unwrap_err().code, ProblemCode::Unauthorised);
}

#[test]
fn a_recovery_waits_and_then_leaves_one_key_and_no_token() {
    let mut world = World::new();
    let anna = world.account("anna");
    world.add(anna, 1, KeyKind::Person).unwrap();
    world.add(anna, 9, KeyKind::Recovery).unwrap();
    assert_eq!(world.recover(8, 5).unwrap_err().code, ProblemCode::Unauthorised);
    assert_eq!(world.recover(1, 5).unwrap_err().code, ProblemCode::Unauthorised);
    let Ok(Reply::Recovery { account, due }) = world.recover(9, 5) else { panic!("refused") };
    assert_eq!((account, due), (anna, world.now + Span::secs(2 * 86_400)));
    assert_eq!(world.complex.keyring(anna).asked.unwrap().key, key(5), "it is seen");
    assert_eq!(world.recover(9, 5), Ok(Reply::Recovery { account, due }), "asked again");
    assert!(world.recover(9, 6).unwrap_err().message.contains("recovery stop"));
    assert!(world.complex.key_holder(&key(5)).is_none(), "not yet");
    let issued = world.now;
    world.restart();
    world.pass(Span::secs(2 * 86_400));
    assert_eq!(world.complex.key_holder(&key(5)).unwrap().account, anna);
    assert!(world.complex.key_holder(&key(1)).is_none());
    assert!(world.complex.is_void(anna, issued, None), "tokens of before");
    assert!(!world.complex.is_void(anna, world.now, None));
    assert_eq!(world.complex.keyring(anna).keys.len(), 1, "the phrase is used up");
    assert_eq!(world.last_deed(), Deed::Recovered { key: key(5) });
}

#[test]
fn a_present_key_stops_a_recovery() {
    let mut world = World::new();
    let anna = world.account("anna");
    world.add(anna, 1, KeyKind::Person).unwrap();
    world.add(anna, 9, KeyKind::Recovery).unwrap();
    world.recover(9, 5).unwrap();
    world.call(Call::Keys(KeyCall::StopRecovery { account: anna })).unwrap();
    world.pass(Span::secs(9 * 86_400));
    assert!(world.complex.key_holder(&key(5)).is_none());
    assert_eq!(world.complex.key_holder(&key(1)).unwrap().account, anna);
    assert_eq!(world.last_deed(), Deed::RecoveryStopped { key: key(5) });
    world.recover(9, 5).unwrap();
    world.remove(anna, 9).unwrap();
    assert!(world.complex.keyring(anna).asked.is_none(), "what it asked for goes with it");
}

#[test]
fn without_a_delay_a_recovery_is_done_at_once() {
    let mut world = World::with(Config { recovery_delay: Span::ZERO, ..Config::default() });
    let anna = world.account("anna");
    world.add(anna, 9, KeyKind::Recovery).unwrap();
    world.recover(9, 5).unwrap();
    assert_eq!(world.complex.key_holder(&key(5)).unwrap().account, anna);
}

#[test]
fn a_revoked_ticket_takes_the_work_of_its_hosts_in_the_same_step() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    let job = world.submit(job(100));
    world.work(1, 3);
    assert!(!world.hosts[&1].grants.is_empty());
    world.revoke(1);
    let host = world.hosts.get_mut(&1).unwrap();
    assert!(host.session.is_none() && std::mem::take(&mut host.barred), "it is told and closed");
    host.grants.clear();
    assert!(world.tables.hosts[&host_id(1)].suspended);
    let open = |lease: &&isos_base::record::LeaseRecord| {
        lease.host == host_id(1) && lease.state == isos_base::record::LeaseState::Open
    };
    assert_eq!(world.tables.leases.values().filter(open).count(), 0, "nothing is out with it");
    world.run();
    assert_eq!(world.state(job), JobState::Done);
    world.assert_all_right(job);
    let earned = world.balance("owner1");
    assert!(earned > 0, "what it did before is paid");
}

#[test]
fn a_host_whose_ticket_was_revoked_does_not_come_back_without_another() {
    let mut world = World::new();
    world.join(1);
    let account = world.complex.account_named("owner1").unwrap();
    world.revoke(1);
    world.restart();
    let come = |world: &mut World, admission, ticket| {
        world.sessions += 1;
        let session = SessionId(world.sessions);
        let host = world.hosts.get_mut(&1).unwrap();
        (host.session, host.barred) = (Some(session), false);
        let spec = world.tables.hosts[&host_id(1)].spec.clone();
        let (offer, room) = (world.offer(), Room { cores_idle: 2, ..Room::default() });
        let hello = Box::new(Hello { spec, offer, token: None, holding: Vec::new(), room });
        let (host, address) = (host_id(1), None);
        world.step(Input::HostCame {
            host,
            session,
            address,
            hello,
            admission,
            ticket,
            made: None,
        });
        !world.hosts[&1].barred
    };
    assert!(!come(&mut world, None, Vec::new()), "without any");
    assert!(!come(&mut world, Some(Err("expired".into())), Vec::new()), "with an old one");
    assert!(!come(&mut world, Some(Ok(account)), vec![vec![1]]), "with the same");
    assert!(!come(&mut world, Some(Ok(account)), vec![vec![1], vec![2]]), "with one made of it");
    assert!(come(&mut world, Some(Ok(account)), vec![vec![3]]), "with another");
    assert!(!world.tables.hosts[&host_id(1)].suspended);
    assert!(come(&mut world, None, Vec::new()), "and then without any");
}

fn rotate(world: &mut World, old: u8, new: u8) -> Result<Reply, Problem> {
    let call = KeyCall::RotateHost { old: host_id(old), new: host_id(new), once: None };
    let answer = world.call(Call::Keys(call));
    if answer.is_ok()
        && let Some(host) = world.hosts.get_mut(&old)
    {
        host.grants.clear();
    }
    answer
}

#[test]
fn a_host_with_another_key_keeps_its_account_and_history_and_the_old_one_is_nobodys() {
    let mut world = World::new();
    world.join(1);
    let account = world.complex.account_named("owner1").unwrap();
    let done = world.submit(job(40));
    world.run();
    assert_eq!(world.state(done), JobState::Done);
    let good = world.tables.hosts[&host_id(1)].good;
    assert!(good > 0);
    let going_on = world.submit(job(100));
    world.work(1, 3);
    assert_eq!(rotate(&mut world, 8, 9).unwrap_err().code, ProblemCode::NotFound);
    rotate(&mut world, 1, 9).unwrap();
    rotate(&mut world, 1, 9).expect("whoever did not hear the answer asks again");
    assert_eq!(rotate(&mut world, 1, 8).unwrap_err().code, ProblemCode::Refused);
    let deed = Deed::HostKeyRotated { old: host_id(1), new: host_id(9) };
    assert_eq!(world.last_deed(), deed);
    world.restart();
    let (old, new) = (&world.tables.hosts[&host_id(1)], &world.tables.hosts[&host_id(9)]);
    assert_eq!((new.account, new.good >= good, old.successor), (account, true, Some(host_id(9))));
    assert!(world.complex.host_views(None).all(|view| view.id != host_id(1)));
    let why = world.complex.explain_host(host_id(1), true).unwrap();
    assert!(why.reasons.iter().any(|reason| reason.why.contains("replaced")), "{why:?}");
    world.join(1);
    assert!(world.hosts[&1].barred, "the old key is refused, with any ticket");
    world.hosts.remove(&1);
    world.come(9, "owner1", |_| {});
    world.run();
    assert_eq!(world.state(going_on), JobState::Done, "what the old key had went to others");
}

#[test]
fn another_key_is_no_way_out_for_a_host_that_lied() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    let checked = world.submit(quorum(1));
    world.hosts.get_mut(&3).unwrap().lies = true;
    world.work(3, 1);
    rotate(&mut world, 3, 9).unwrap();
    world.come(9, "owner3", |hello| hello.holding.clear());
    world.hosts.get_mut(&9).unwrap().lies = true;
    let more = world.submit(quorum(9));
    world.run();
    assert_eq!((world.state(checked), world.state(more)), (JobState::Done, JobState::Done));
    let barred = |n| world.tables.hosts[&host_id(n)].barred.is_some();
    assert!(barred(3) && barred(9), "both keys");
    assert!(rotate(&mut world, 9, 10).is_err());
}

#[test]
fn another_phrase_ends_what_was_asked_with_the_first_and_nobodys_key_is_taken() {
    let mut world = World::new();
    let (anna, bob) = (world.account("anna"), world.account("bob"));
    world.add(anna, 1, KeyKind::Person).unwrap();
    world.add(anna, 9, KeyKind::Recovery).unwrap();
    world.recover(9, 5).unwrap();
    world.add(anna, 8, KeyKind::Recovery).unwrap();
    world.pass(Span::secs(3 * 86_400));
    assert!(world.complex.key_holder(&key(1)).is_some(), "the thief of the phrase gets nothing");
    assert!(world.complex.key_holder(&key(5)).is_none());
    // The key that is asked for becomes somebody else's meanwhile.
    world.recover(8, 5).unwrap();
    world.add(bob, 5, KeyKind::Person).unwrap();
    world.pass(Span::secs(3 * 86_400));
    assert_eq!(world.complex.key_holder(&key(5)).unwrap().account, bob);
    assert!(world.complex.key_holder(&key(1)).is_some());
    world.log();
}

#[test]
fn tickets_of_an_operators_key_are_good_for_other_accounts_until_the_key_is_removed() {
    let mut world = World::new();
    let (lab, club) = (world.account("lab"), world.account("club"));
    for (n, rights) in [(1, vec![Right::Operate, Right::Read]), (2, Right::OWN.to_vec())] {
        let (label, kind) = (format!("key {n}"), KeyKind::Person);
        let new = NewKey { account: lab, key: key(n), label, rights, kind };
        world.call(Call::Keys(KeyCall::Add { new, once: None })).unwrap();
    }
    let made = world.now + Span::secs(1);
    assert!(!world.complex.is_void(club, made, Some(&key(1))));
    assert!(world.complex.is_void(club, made, Some(&key(2))));
    assert!(!world.complex.is_void(lab, made, Some(&key(2))));
    world.remove(lab, 1).unwrap();
    assert!(world.complex.is_void(club, made, Some(&key(1))));
}

#[test]
fn what_was_taken_back_before_its_turn_comes_does_nothing() {
    let mut world = World::new();
    let anna = world.account("anna");
    (1..=2).for_each(|n| drop(world.add(anna, n, KeyKind::Person).unwrap()));
    let by_key = world.holder(anna, Some(key(1)), &[]);
    let by_token = world.holder(anna, None, &[7]);
    let by_part = world.holder(anna, None, &[7, 8]);
    let ask = |world: &mut World, holder: &Holder| {
        let label = format!("label {}", world.tables.audit.len());
        let call = Call::Keys(KeyCall::Label { account: anna, key: key(2), label });
        world.call(call.by(Some(holder)))
    };
    for holder in [&by_key, &by_token, &by_part] {
        ask(&mut world, holder).unwrap();
        assert_eq!(world.tables.audit.last_key_value().unwrap().1.by, Actor::from(holder));
    }
    world.remove(anna, 1).unwrap();
    world.revoke(7);
    let ended = Holder { expires: world.now, ..world.holder(anna, None, &[9]) };
    let before = (world.tables.audit.len(), world.tables.keys.clone());
    let why = [&by_key, &by_token, &by_part, &ended].map(|holder| {
        let problem = ask(&mut world, holder).unwrap_err();
        assert_eq!(problem.code, ProblemCode::Unauthorised);
        problem.message
    });
    let revoked = "the token was revoked";
    assert_eq!(
        why,
        ["the key was removed", revoked, revoked, "the token has ended: ask for another"]
    );
    assert_eq!((world.tables.audit.len(), &world.tables.keys), (before.0, &before.1));
    world.revoke(10);
    let last = world.tables.audit.last_key_value().unwrap().1;
    assert_eq!(last.by, Actor::Complex, "who was refused is not who acts next");
}

#[test]
fn an_account_revokes_so_many_narrowed_tokens_and_then_the_ticket_they_were_made_from() {
    let mut world = World::new();
    let (anna, bert) = (world.account("anna"), world.account("bert"));
    let ids = |n: u16| [vec![1], n.to_le_bytes().to_vec()];
    for n in 0..1_000 {
        world.revoke_narrowed(anna, &ids(n)).unwrap();
    }
    let before = (world.tables.revocations.len(), world.tables.audit.len());
    world.revoke_narrowed(anna, &ids(7)).expect("it is done already");
    world.restart();
    let refused = world.revoke_narrowed(anna, &ids(1_000)).unwrap_err();
    assert_eq!(refused.code, ProblemCode::Refused);
    assert!(refused.message.contains("revoke the ticket"), "{}", refused.message);
    assert_eq!((world.tables.revocations.len(), world.tables.audit.len()), before);
    world.revoke_narrowed(bert, &ids(1_001)).expect("others have their own");
    world.revoke(1);
    let before = (world.tables.revocations.len(), world.tables.audit.len());
    world.revoke_narrowed(anna, &ids(1_000)).expect("it ended with its ticket");
    assert_eq!((world.tables.revocations.len(), world.tables.audit.len()), before, "no row");
    world.pass(Span::secs(2 * 86_400));
    let another = [vec![2], vec![3]];
    world.revoke_narrowed(anna, &another).expect("those that ended do not count");
    assert!(world.tables.narrowed.contains_key(&another[1]));
}

#[test]
fn hosts_are_found_by_their_ticket_whatever_became_of_it_and_of_them() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    rotate(&mut world, 3, 9).unwrap();
    world.restart();
    world.complex.check_invariants();
    // The ticket has ended, the host goes on by its own key.
    let ended = |id: u8, world: &mut World| {
        let (until, account) = (world.now, None);
        world.call(Call::RevokeToken { id: vec![id], until, account, above: Vec::new() })
    };
    ended(1, &mut world).unwrap();
    assert!(
        world.tables.hosts[&host_id(1)].suspended && !world.tables.hosts[&host_id(2)].suspended
    );
    assert!(world.tables.revocations.is_empty(), "it lets nobody in anyway");
    let before = world.tables.audit.len();
    ended(1, &mut world).unwrap();
    ended(77, &mut world).unwrap();
    assert_eq!(world.tables.audit.len(), before, "there was nothing to do");
    world.revoke(3);
    let suspended = |n| world.tables.hosts[&host_id(n)].suspended;
    assert!(suspended(9) && !suspended(3), "it is found under the key that it has");
    world.complex.check_invariants();
}

#[test]
fn a_ticket_that_became_void_on_the_way_lets_nobody_in() {
    let mut world = World::new();
    let anna = world.account("anna");
    world.add(anna, 1, KeyKind::Person).unwrap();
    world.add(anna, 2, KeyKind::Person).unwrap();
    world.join(1);
    let issued = world.now;
    let come = |world: &mut World, n: u8, by: u8| {
        world.sessions += 1;
        let session = SessionId(world.sessions);
        world.hosts.entry(n).or_default().session = Some(session);
        let spec = world.tables.hosts[&host_id(1)].spec.clone();
        let (offer, room) = (world.offer(), Room { cores_idle: 2, ..Room::default() });
        let hello = Box::new(Hello { spec, offer, token: None, holding: Vec::new(), room });
        world.step(Input::HostCame {
            host: host_id(n),
            session,
            address: None,
            hello,
            admission: Some(Ok(anna)),
            ticket: vec![vec![by]],
            made: Some((issued, Some(key(by)))),
        });
        !world.hosts[&n].barred
    };
    assert!(come(&mut world, 5, 1));
    world.now += Span(1);
    // The shell has looked at it before.
    world.remove(anna, 1).unwrap();
    assert!(!come(&mut world, 6, 1) && !world.tables.hosts.contains_key(&host_id(6)));
    assert!(come(&mut world, 7, 2), "another key has made it");
}
