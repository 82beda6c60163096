//! Sample answers, and a server that gives them.

use std::net::SocketAddr;

use axum::Router;
use isos_base::api::{JobView, ResultEntry, TaskCounts};
use isos_base::codec::put_frame;
use isos_base::job::JobSpec;
use isos_base::price::Price;
use isos_base::record::{Accepted, JobState};
use isos_base::task::{Exit, Output, OutputAt, OutputFile, TaskResult};
use isos_base::{AccountId, Bytes, Fuel, Guid, JobId, MicroCredits, Time};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{Address, Client};

pub(super) fn job(done: u32, state: JobState) -> JobView {
    let spec = JobSpec::new(Guid::of(b"program"), Bytes(7), 3);
    JobView {
        id: JobId(42),
        name: "sample".into(),
        account: AccountId(100),
        state,
        tasks: TaskCounts { total: 3, waiting: 3 - done, done, ..TaskCounts::default() },
        submitted: Time(1_795_190_930_000_000),
        ended: None,
        price: Price(100),
        why: None,
        unchecked: 0,
        held: MicroCredits(5),
        spent: MicroCredits(0),
        hosts: 1,
        spec,
        assured: None,
        resumed: Vec::new(),
    }
}

pub(super) fn output(task: u32) -> Output {
    let file = OutputFile { path: "deep/answer.txt".into(), content: vec![b'a'; task as usize] };
    Output { stdout: format!("task {task}\n").into(), stderr: Vec::new(), files: vec![file] }
}

pub(super) fn entry(task: u32) -> ResultEntry {
    let bytes = output(task).encode();
    let result = TaskResult {
        task,
        exit: Exit::Code(0),
        fuel: Fuel(1_000),
        output: OutputAt::Object(Guid::of(&bytes), bytes.len() as u64),
    };
    ResultEntry { accepted: Accepted { task, result: Ok(result), host: None }, output: Some(bytes) }
}

pub(super) fn frames(entries: &[ResultEntry]) -> Vec<u8> {
    let mut buffer = Vec::new();
    for entry in entries {
        put_frame(entry, &mut buffer);
    }
    buffer
}

/// A server, until it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, router)
    }

    pub(super) fn on(listener: TcpListener, router: Router) -> Self {
        let address = listener.local_addr().unwrap();
        let serve = async move { axum::serve(listener, router).await.unwrap() };
        Self { address, task: tokio::spawn(serve) }
    }

    pub(super) fn client(&self) -> Client {
        client(self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn client(address: SocketAddr) -> Client {
    Client::new(&Address::Http(address), Some("c2VjcmV0")).unwrap()
}
