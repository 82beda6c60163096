//! isos-sdk
