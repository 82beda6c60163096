//! isos-sim
