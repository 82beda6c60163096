//! isos-probe
