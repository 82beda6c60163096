//! isos-complex
