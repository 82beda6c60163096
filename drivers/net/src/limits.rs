//! A limit on everything that a peer can make this crate hold or wait for, each with its reason.

use std::time::Duration;

/// A dial that has not succeeded by then has failed: a relayed handshake over a poor mobile network
/// takes about 3 s, and a person waits for the answer.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Of several peers any of which will do, the next is dialled if the ones before it have not
/// answered by then: about two round trips around the world.
pub const NEXT_PEER_AFTER: Duration = Duration::from_millis(750);
/// An incoming handshake that takes longer is given up: it holds one of few places.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(6);
/// Connections that end are waited for this long; then they are given up.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(8);
/// A held connection sends something at least this often, so that a dead peer shows. Two may be
/// lost before [`IDLE_TIMEOUT`] strikes.
pub const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// A connection on which nothing arrives for this long is dead. A killed peer is noticed after
/// `IDLE_TIMEOUT`, or at most `KEEP_ALIVE + IDLE_TIMEOUT` = 9.5 s; shorter would break connections
/// whenever a laptop changes its wireless network (2 to 5 s).
pub const IDLE_TIMEOUT: Duration = Duration::from_millis(6_500);
/// How long a new endpoint waits to learn the machine's own addresses; it takes milliseconds.
pub const LOCAL_ADDRESSES_TIMEOUT: Duration = Duration::from_secs(1);
/// How long [`crate::Endpoint::online`] waits for a relay: 0.2 s on a good network.
pub const ONLINE_TIMEOUT: Duration = Duration::from_secs(8);

/// Streams that one peer may have open at once on one connection.
pub const STREAMS_MAX: u32 = 128;
/// Those of a host that calls: one is all that is read of it.
pub const HOST_STREAMS_MAX: u32 = 1;
/// Bytes in flight on one stream: 40 MB/s at 50 ms round trip.
pub const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// Bytes that one connection may make this side hold unread, over all its streams. A server has
/// some thousand such callers of the API and of objects: 4 GiB if all of them are hostile.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// The same of a host that calls, and of whoever calls until its protocol is known: 2.5 MB/s at
/// 200 ms. All connections that a server may hold, each full, are 8 GiB.
pub const HOST_WINDOW_BYTES: u32 = 512 << 10;
/// Bytes that this side holds unacknowledged for one connection; writers wait above it.
pub const SEND_WINDOW_BYTES: u64 = 4 << 20;
/// Incoming connections that are held at once: about 100 KiB each, 1.6 GB in all, if they send no
/// more than is read. What they leave unread comes on top, see the windows above.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Handshakes in progress at once, accepted ones that nobody has fetched included. Each costs
/// 0.7 ms of CPU; further callers wait, or are refused and come back later.
pub const HANDSHAKES_MAX: usize = 512;
/// Callers that wait for a place among them. Each costs its first packets, three times as it sends
/// them again: some 8 KiB.
pub const HANDSHAKES_WAITING_MAX: usize = 4_096;
/// A caller waits so long for a place at the most. With [`HANDSHAKE_TIMEOUT`] it is less than its
/// own [`CONNECT_TIMEOUT`], and nobody dials for longer than [`IDLE_TIMEOUT`] without an answer.
pub const HANDSHAKE_WAIT_MAX: Duration = Duration::from_secs(3);
/// Above this many handshakes, a caller must first prove that its address is its own.
pub const HANDSHAKES_UNPROVEN_MAX: usize = HANDSHAKES_MAX / 2;
/// Addresses whose handshakes are remembered, as long as they have had more than their rate; some
/// 6 MiB when there are so many.
pub const ADDRESSES_REMEMBERED_MAX: usize = 65_536;
/// Handshakes in progress from one address (IPv4), one /56 (IPv6) or one relayed key. Many hosts
/// can share one address, and a handshake lasts a round trip: this is some 1,000 a second.
pub const ADDRESS_HANDSHAKES_MAX: usize = 128;
/// Those of all relayed keys together, those that wait included: a new key costs nothing, so that
/// one caller can have any number of them.
pub const RELAYED_HANDSHAKES_MAX: usize = HANDSHAKES_MAX / 2;
/// Those of them whose address is not proven; others cannot fill the places with forged packets.
pub const ADDRESS_HANDSHAKES_UNPROVEN_MAX: usize = ADDRESS_HANDSHAKES_MAX / 2;
/// How exactly it is found out which packets a path carries, of at most 1,452 bytes: the largest
/// are tried at once, and in between once. Every try is a padded packet on every path of every
/// connection, which is most of what a short one moves.
pub const PACKET_STEP_BYTES: u16 = 127;
/// Addresses that are tried for one peer, and that [`crate::Endpoint::addresses`] gives.
pub const ADDRESSES_MAX: usize = 16;
/// Attempts to reach a peer when another key answers at one of several addresses.
pub const ATTEMPTS_MAX: usize = 4;
/// Relays that one endpoint knows.
pub const RELAYS_MAX: usize = 16;

/// A write on which nothing moves for this long has failed: the peer lives but does not read. (Our
/// own tests have no 20 s.)
pub const STALL_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 20 });
/// An object transfer must move this much in each [`STALL_TIMEOUT`], so that a trickle does not
/// hold a stream for ever: 3.2 KiB/s.
pub const STALL_BYTES_MIN: u64 = 64 << 10;
/// How long a request for an object may go without an answer. Storing answers after the disk has
/// it, and a slow disk needs its time.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Frames that talk about objects are short.
pub const OBJECT_FRAME_BYTES_MAX: usize = 4 << 10;
/// Objects that one connection may have served to it at once.
pub const OBJECTS_AT_ONCE_MAX: usize = 16;
/// Buffer of one object transfer.
pub const OBJECT_CHUNK_BYTES: usize = 128 << 10;

/// Streams of fragments that one connection may have served to it at once.
pub const FRAGMENT_STREAMS_MAX: usize = 4;
/// Requests of one stream that are answered at once; the next one is not read before.
pub const FRAGMENTS_AT_ONCE_MAX: usize = 64;
/// Bytes of all fragments that a host has in memory for its peers, on their way in or out. Who
/// comes then waits.
pub const FRAGMENT_BYTES_AT_ONCE: u64 = 64 << 20;
/// Those of them that are one peer's.
pub const FRAGMENT_BYTES_OF_PEER: u64 = 16 << 20;
/// A stream of fragments on which nothing is asked for this long is ended.
pub const FRAGMENT_IDLE_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 120 });

/// Connections that whoever asks many peers keeps: each costs a ping in [`KEEP_ALIVE`].
pub const BRIEF_CONNECTIONS_MAX: usize = 5;
/// Peers that are remembered not to answer without a relay.
pub const BRIEF_FAILED_MAX: usize = 256;
/// For so long without use.
pub const BRIEF_KEPT: Duration = Duration::from_secs(45);
/// A short question, or its answer.
pub const BRIEF_BYTES_MAX: usize = 16 << 10;
/// How long a question and its answer may take on a connection that is there.
pub const BRIEF_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });
/// A peer that asks nothing for so long is left, and calls again.
pub const BRIEF_IDLE: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 60 });

/// How long a peer that calls, or is called, may take for its first words.
pub const PEERS_GREETING_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// First size of a receiver's buffer; idle sessions hold no more.
pub const BUFFER_BYTES_FIRST: usize = 4 << 10;
/// Size that a buffer keeps after a long frame.
pub const BUFFER_BYTES_KEPT: usize = 64 << 10;
/// A batch is written in pieces of about this size.
pub const BATCH_BYTES: usize = 1 << 20;
/// Characters that are kept of a text which a peer chose.
pub const PEER_TEXT_CHARS_MAX: usize = 512;

/// Clients of one relay. Each holds a TCP connection and its queues.
pub const RELAY_CLIENTS_MAX: usize = 16_384;
/// Of those, clients whose keys nobody knows: a quarter, so that the others find a place.
pub const RELAY_STRANGERS_MAX: usize = if cfg!(test) { 3 } else { RELAY_CLIENTS_MAX / 4 };
/// Of those, clients of a relay that cannot say whom it knows.
pub const RELAY_UNTOLD_MAX: usize = RELAY_CLIENTS_MAX / 2;
/// A relay that has no room for strangers asks again which of them are still strangers, but not
/// more often than this.
pub const RELAY_ASK_AGAIN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// Bytes per second that a relay takes from one client: relaying costs five times the CPU of a
/// direct path, and is for finding each other and for small frames.
pub const RELAY_CLIENT_BYTES_PER_SECOND: u32 = 32 << 20;
/// Bytes that a client may send at once above that rate.
pub const RELAY_CLIENT_BURST_BYTES: u32 = 8 << 20;
