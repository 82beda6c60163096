//! isos-sandbox
