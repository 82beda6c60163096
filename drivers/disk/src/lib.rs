//! isos-disk
