//! isos-net
