//! isos-db
