//! isos-kernel
