//! Programs that address their peers.

use isos_base::peers::{Peers, Place, Reach};

use super::*;

impl Rig {
    /// A job whose program addresses its peers was granted, and its chamber opened.
    fn speaker(&mut self, lease: u64, job: u64, chamber: u64) -> String {
        self.frame(self::job(job, 4));
        self.grant(lease, job, 1, 2);
        let place = Place { addresses: Vec::new(), relay: None, run: chamber };
        let reach = Box::new(Reach { job: JobId(job), place, begun: false });
        let told = self.step(Input::JobSpeaks { chamber: ChamberId(chamber), reach });
        told + &self.prepared(chamber)
    }

    fn peers(&mut self, job: u64, until: Option<Time>) -> String {
        let peers = Peers { job: JobId(job), until, peers: Vec::new() };
        self.frame(ToHost::Peers(Box::new(peers)))
    }
}

#[test]
fn a_program_that_addresses_its_peers_begins_when_they_are_there() {
    let mut rig = Rig::online(1);
    assert_eq!(rig.speaker(100, 7, 1), "send reach: job 7, run 1, begun false\n");
    // Meanwhile the core is another's.
    rig.frame(job(8, 1));
    rig.grant(101, 8, 0, 1);
    assert!(rig.prepared(2).contains("start"), "it holds no core");
    rig.end(2, &[0], Span::secs(1));
    assert!(rig.peers(7, None).contains("start"));
    assert_eq!(rig.tasks_in(1), [1]);
    rig.host.check_invariants();
}

#[test]
fn where_its_peers_can_call_is_told_in_each_session() {
    let mut rig = Rig::online(1);
    rig.speaker(100, 7, 1);
    let again = |rig: &mut Rig| {
        let session = rig.session.take().unwrap();
        rig.step(Input::Disconnected { session, why: "lost".into() });
        rig.wait(Span::secs(60));
        let session = rig.session.expect("a session was asked for");
        rig.step(Input::Connected { session });
        rig.frame(ToHost::Welcome { now: rig.now, account: AccountId(9) })
    };
    assert!(again(&mut rig).contains("send reach: job 7, run 1, begun false"));
    rig.peers(7, None);
    assert!(again(&mut rig).contains("send reach: job 7, run 1, begun true"));
}

#[test]
fn programs_begin_in_the_order_in_which_the_complex_lets_them() {
    let mut rig = Rig::online(1);
    rig.speaker(100, 7, 1);
    rig.speaker(101, 8, 2);
    rig.frame(job(9, 1));
    rig.grant(102, 9, 0, 1);
    rig.prepared(3);
    rig.peers(8, None);
    rig.peers(7, None);
    assert_eq!(rig.tasks_in(3), [0], "what runs goes on");
    rig.end(3, &[0], Span::secs(1));
    assert_eq!((rig.tasks_in(2), rig.tasks_in(1)), (&[1][..], &[][..]));
    rig.end(2, &[1], Span::secs(1));
    assert_eq!(rig.tasks_in(1), [1]);
}

#[test]
fn the_time_of_a_task_begins_when_its_peers_are_there() {
    let mut rig = Rig::online(1);
    rig.speaker(100, 7, 1);
    let until = rig.in_secs(7_200);
    rig.peers(7, Some(until));
    rig.wait(Span::secs(7_000));
    assert_eq!(rig.tasks_in(1), [1], "the lease was to end after an hour");
    rig.host.check_invariants();
}

#[test]
fn another_run_has_another_chamber() {
    let mut rig = Rig::online(1);
    rig.speaker(100, 7, 1);
    rig.peers(7, None);
    rig.end(1, &[1], Span::secs(1));
    let told = rig.grant(101, 7, 1, 2);
    assert!(told.contains("prepare"), "{told}");
    rig.host.check_invariants();
}
