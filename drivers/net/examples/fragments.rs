//! How fast fragments go over loopback, on one stream: `cargo run --release -p isos-net --example
//! fragments`. Both ends are in this process, with a host that keeps fragments in memory, signs
//! receipts and proves groups, and a client that checks them. Linux only: CPU comes from `/proc`.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use isos_base::fragment::wire::FragmentRefusal;
use isos_base::fragment::{
    GROUP_BYTES, Groups, HeadSet, Piece, Receipt, SignedGrant, SignedHead, SignedReceipt,
};
use isos_base::key::{PublicKey, SecretKey};
use isos_base::random::Random;
use isos_base::{Bytes, Guid, HostId, LeaseId, Time};
use isos_net::{
    Endpoint, EndpointConfig, FragmentBudget, FragmentStore, Got, PeerAddr, Wanted, get_fragments,
    put_fragments, serve_fragments,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const ALPN: &[u8] = b"isos/rate/1";
const TOTAL_BYTES: usize = 64 << 20;
const ROUNDS: usize = 5;

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    let mut out = io::stdout();
    let (client, server) = (endpoint(1).await?, endpoint(2).await?);
    let peer = PeerAddr { key: server.public(), addresses: server.addresses(), relay: None };
    let (near, far) = tokio::join!(client.connect(&peer, ALPN), server.accept());
    let (near, far) = (near?, far.ok_or("closed")?.accept());
    tokio::spawn(serve_fragments(far, Arc::new(Host::default()), FragmentBudget::default()));
    for size in [256 << 10, 16 << 10] {
        let fragments: Vec<(Guid, Vec<u8>)> = (0..TOTAL_BYTES / size)
            .map(|seed| {
                let mut random = Random::new(seed as u64);
                let bytes: Vec<u8> =
                    (0..size / 8).flat_map(|_| random.next_u64().to_le_bytes()).collect();
                (Guid::of(&bytes), bytes)
            })
            .collect();
        let named: Vec<(Guid, bytes::Bytes)> =
            fragments.into_iter().map(|(guid, bytes)| (guid, bytes.into())).collect();
        let wanted: Vec<Wanted> = named.iter().map(|(guid, _)| Wanted::whole(*guid)).collect();
        for _ in 0..ROUNDS {
            let (start, begun, mut kept) = (Instant::now(), cpu()?, 0);
            put_fragments(&near, LeaseId(1), &named, |_, receipt| {
                kept += usize::from(receipt.is_ok());
            })
            .await?;
            report(&mut out, "put", size, kept, start.elapsed(), cpu()? - begun)?;
            let (start, begun, mut right) = (Instant::now(), cpu()?, 0);
            get_fragments(&near, &wanted, |_, got| {
                right += usize::from(matches!(got, Got::Piece(_)));
            })
            .await?;
            report(&mut out, "get", size, right, start.elapsed(), cpu()? - begun)?;
        }
    }
    Ok(())
}

fn report(
    out: &mut impl Write,
    what: &str,
    size: usize,
    count: usize,
    took: Duration,
    cpu: Duration,
) -> Outcome<()> {
    let megabytes = (size * count) as f64 / 1e6;
    writeln!(
        out,
        "{what} of {count} fragments of {} KiB: {:.0} MB/s, {:.1} CPU-s/GB (both ends)",
        size >> 10,
        megabytes / took.as_secs_f64(),
        cpu.as_secs_f64() / megabytes * 1e3
    )?;
    Ok(())
}

async fn endpoint(seed: u8) -> Outcome<Endpoint> {
    Ok(Endpoint::bind(EndpointConfig {
        bind: Some((Ipv4Addr::LOCALHOST, 0).into()),
        alpns: vec![ALPN.to_vec()],
        ..EndpointConfig::new(SecretKey::from_bytes(&[seed; 32]))
    })
    .await?)
}

/// Keeps everything, in memory.
#[derive(Default)]
struct Host(Mutex<BTreeMap<Guid, Arc<[u8]>>>);

impl Host {
    fn fragments(&self) -> std::sync::MutexGuard<'_, BTreeMap<Guid, Arc<[u8]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FragmentStore for Host {
    async fn present(&self, _: PublicKey, grant: SignedGrant) -> Result<Time, FragmentRefusal> {
        Ok(grant.grant.until)
    }

    async fn put(
        &self,
        from: PublicKey,
        lease: LeaseId,
        fragment: Guid,
        bytes: Vec<u8>,
    ) -> Result<SignedReceipt, FragmentRefusal> {
        let (got, _) = Groups::of(&bytes);
        if got != fragment {
            return Err(FragmentRefusal::WrongBytes(got));
        }
        let (length, at, until) = (bytes.len() as u32, Time(1), Time(2));
        self.fragments().insert(fragment, bytes.into());
        let (complex, host) = (from, HostId(from));
        let receipt = Receipt { complex, lease, host, fragment, length, at, until };
        Ok(receipt.sign(&SecretKey::from_bytes(&[2; 32])))
    }

    async fn read(
        &self,
        _: PublicKey,
        fragment: Guid,
        first: u32,
        count: u32,
    ) -> Result<Option<Piece>, FragmentRefusal> {
        let Some(bytes) = self.fragments().get(&fragment).cloned() else { return Ok(None) };
        // As packs do: what is sent is checked first.
        let (_, groups) = Groups::of(&bytes);
        let length = bytes.len() as u32;
        let at = |group: u32| length.min(group.saturating_mul(GROUP_BYTES)) as usize;
        let bytes = bytes[at(first)..at(first.saturating_add(count))].to_vec();
        Ok(Some(Piece { length, groups, first, bytes }))
    }

    async fn has(&self, _: PublicKey, names: Vec<Guid>) -> Result<Vec<bool>, FragmentRefusal> {
        let fragments = self.fragments();
        Ok(names.iter().map(|name| fragments.contains_key(name)).collect())
    }

    async fn remove(
        &self,
        _: PublicKey,
        _: LeaseId,
        names: Vec<Guid>,
    ) -> Result<u32, FragmentRefusal> {
        let mut fragments = self.fragments();
        Ok(names.iter().filter(|name| fragments.remove(name).is_some()).count() as u32)
    }

    // Only fragments are measured.
    async fn used(&self, _: PublicKey, _: LeaseId) -> Result<Bytes, FragmentRefusal> {
        Err(FragmentRefusal::Lease)
    }

    async fn set_head(
        &self,
        _: PublicKey,
        _: LeaseId,
        _: SignedHead,
    ) -> Result<HeadSet, FragmentRefusal> {
        Err(FragmentRefusal::HostFull)
    }

    async fn head(
        &self,
        _: PublicKey,
        _: PublicKey,
    ) -> Result<Option<SignedHead>, FragmentRefusal> {
        Ok(None)
    }
}

/// CPU time so far, at the usual 100 ticks a second.
fn cpu() -> Outcome<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = text.rsplit(')').next().ok_or("no name")?;
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<u64>)
        .sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}
