//! Frames and messages: postcard inside, a length outside, and no message that is taken half.
//!
//! Every protocol has its version in its ALPN name, so the bytes carry none. Golden-bytes tests pin
//! the encoding: a change there is a new protocol version, never a silent edit.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Bytes in front of a frame: its length, little-endian.
pub const FRAME_HEAD_BYTES: usize = 4;

/// Why bytes from a peer are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Longer than this protocol allows.
    #[error("a frame of {length} bytes, the limit is {max}")]
    TooLong {
        /// Claimed length.
        length: usize,
        /// Limit.
        max: usize,
    },
    /// Not a message of this protocol version.
    #[error("not a message of this protocol: {0}")]
    Malformed(String),
    /// A message with something behind it.
    #[error("{0} bytes too many behind the message")]
    Trailing(usize),
}

/// The bytes of a message.
#[must_use]
pub fn encode<M: Serialize>(message: &M) -> Vec<u8> {
    postcard::to_stdvec(message).expect("our messages hold plain data, which always encodes")
}

/// Reads one whole message.
///
/// # Errors
/// [`DecodeError`] for anything but exactly one message.
pub fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, DecodeError> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(DecodeError::Trailing(rest.len())),
        Err(error) => Err(DecodeError::Malformed(error.to_string())),
    }
}

/// Appends a message with its length in front.
pub fn put_frame<M: Serialize>(message: &M, buffer: &mut Vec<u8>) {
    let head = buffer.len();
    buffer.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
    let body = std::mem::take(buffer);
    *buffer = postcard::to_extend(message, body)
        .expect("our messages hold plain data, which always encodes");
    let length = (buffer.len() - head - FRAME_HEAD_BYTES) as u32;
    buffer[head..head + FRAME_HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
}

/// The length of the body that follows this head.
///
/// # Errors
/// [`DecodeError::TooLong`] above `max`, before a byte of it is read.
pub fn frame_length(head: [u8; FRAME_HEAD_BYTES], max: usize) -> Result<usize, DecodeError> {
    let length = u32::from_le_bytes(head) as usize;
    if length > max { Err(DecodeError::TooLong { length, max }) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_a_length_and_a_message() {
        let mut buffer = vec![9];
        put_frame(&(1u32, "ab"), &mut buffer);
        assert_eq!(buffer, [9, 4, 0, 0, 0, 1, 2, b'a', b'b']);
        let head = buffer[1..5].try_into().unwrap();
        assert_eq!(frame_length(head, 4), Ok(4));
        assert_eq!(frame_length(head, 3), Err(DecodeError::TooLong { length: 4, max: 3 }));
        assert_eq!(decode::<(u32, String)>(&buffer[5..]), Ok((1, "ab".into())));
    }

    #[test]
    fn half_a_message_and_more_than_one_are_refused() {
        assert!(matches!(decode::<(u32, String)>(&[1, 2, b'a']), Err(DecodeError::Malformed(_))));
        assert_eq!(decode::<u8>(&[1, 2]), Err(DecodeError::Trailing(1)));
    }
}
