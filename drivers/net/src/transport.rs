//! How a QUIC connection is set up: windows, timeouts, streams. The figures are in
//! [`crate::limits`].

use iroh::endpoint::{
    IdleTimeout, MtuDiscoveryConfig, QuicTransportConfig, QuicTransportConfigBuilder, VarInt,
};

use crate::limits;

/// The settings of every connection, whoever opened it.
pub(crate) fn config() -> QuicTransportConfig {
    let mut packets = MtuDiscoveryConfig::default();
    packets.minimum_change(limits::PACKET_STEP_BYTES);
    shared().mtu_discovery_config(Some(packets)).build()
}

/// The same for one question or a few: the size of packets is not worth finding out.
pub(crate) fn brief() -> QuicTransportConfig {
    shared().mtu_discovery_config(None).build()
}

fn shared() -> QuicTransportConfigBuilder {
    let idle = IdleTimeout::try_from(limits::IDLE_TIMEOUT)
        .expect("the idle timeout is a few seconds and fits 62 bits of milliseconds");
    QuicTransportConfig::builder()
        // Until it is known who speaks; see `Connection::widen`. What is allowed once cannot be
        // taken back.
        .max_concurrent_bidi_streams(VarInt::from_u32(limits::HOST_STREAMS_MAX))
        // No protocol of ours uses one-way streams or datagrams.
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(limits::KEEP_ALIVE)
        .stream_receive_window(VarInt::from_u32(limits::STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(limits::HOST_WINDOW_BYTES))
        .send_window(limits::SEND_WINDOW_BYTES)
}
