//! isos-agent
