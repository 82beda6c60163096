//! GUIDs: names that prove what they name. A GUID is the BLAKE3 hash of the content.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};

use crate::ids::ParseIdError;

/// The 256-bit BLAKE3 hash of some bytes, written as 52 lower-case base32 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Text", into = "Text")]
pub struct Guid(pub [u8; 32]);

impl Guid {
    /// The GUID of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }

    /// The first ten characters, for screens.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(10).collect()
    }
}

/// Hashes content that arrives in pieces.
#[derive(Debug, Default, Clone)]
pub struct GuidHasher(blake3::Hasher);

impl GuidHasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The GUID of all pieces so far.
    #[must_use]
    pub fn finish(&self) -> Guid {
        Guid(*self.0.finalize().as_bytes())
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&to_base32(&self.0))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({})", self.short())
    }
}

impl FromStr for Guid {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        from_base32(text).map(Self).ok_or_else(|| ParseIdError {
            text: text.into(),
            wanted: "a GUID: 52 letters and digits",
        })
    }
}

/// Text in JSON and TOML, 32 plain bytes on the wire.
pub(crate) struct Text(pub(crate) [u8; 32]);

impl Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&to_base32(&self.0))
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
            from_base32(&text)
                .map(Self)
                .ok_or_else(|| serde::de::Error::custom("expected 52 base32 characters"))
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

impl From<Guid> for Text {
    fn from(guid: Guid) -> Self {
        Self(guid.0)
    }
}

impl From<Text> for Guid {
    fn from(text: Text) -> Self {
        Self(text.0)
    }
}

/// 52 lower-case base32 characters.
pub(crate) fn to_base32(bytes: &[u8; 32]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

/// The inverse of [`to_base32`]; `None` for anything else.
pub(crate) fn from_base32(text: &str) -> Option<[u8; 32]> {
    if text.len() != 52 {
        return None;
    }
    BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_the_blake3_hash_of_its_content() {
        let guid = Guid::of(b"");
        assert_eq!(guid.to_string().len(), 52);
        assert_eq!(guid.0[..4], [0xaf, 0x13, 0x49, 0xb9]);
        assert_eq!(guid.to_string().parse::<Guid>(), Ok(guid));
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        let mut hasher = GuidHasher::new();
        hasher.update(b"hello ");
        hasher.update(b"world");
        assert_eq!(hasher.finish(), Guid::of(b"hello world"));
    }

    #[test]
    fn json_has_text_and_the_wire_has_bytes() {
        let guid = Guid::of(b"x");
        let json = serde_json::to_string(&guid).unwrap();
        assert_eq!(json.len(), 54);
        assert_eq!(serde_json::from_str::<Guid>(&json).unwrap(), guid);
        let wire = postcard::to_stdvec(&guid).unwrap();
        assert_eq!(wire, guid.0);
        assert!("abc".parse::<Guid>().is_err());
        assert!(serde_json::from_str::<Guid>("\"abc\"").is_err());
    }
}
