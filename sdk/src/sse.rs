//! Server-sent events, as much of the standard as the API uses: the data of each event.
//!
//! An event that is not finished by an empty line when the stream ends is dropped, as the standard
//! says. Event names, ids and retry times are read over.

use std::collections::VecDeque;

use thiserror::Error;

/// More than one event may have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("an event of more than {0} bytes")]
pub(crate) struct TooLong(usize);

/// Takes pieces of a stream, however they are cut.
#[derive(Debug)]
pub(crate) struct Parser {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_return: bool,
    at_start: bool,
    max: usize,
}

impl Parser {
    pub(crate) fn new(max: usize) -> Self {
        let (line, data) = (Vec::new(), Vec::new());
        Self { line, data, has_data: false, after_return: false, at_start: true, max }
    }

    /// Takes the next piece and appends the data of the events that it completes.
    pub(crate) fn push(
        &mut self,
        piece: &[u8],
        events: &mut VecDeque<String>,
    ) -> Result<(), TooLong> {
        for &byte in piece {
            let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => self.end_line(events),
                _ if self.line.len() + self.data.len() >= self.max => {
                    return Err(TooLong(self.max));
                }
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    fn end_line(&mut self, events: &mut VecDeque<String>) {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                let data = std::mem::take(&mut self.data);
                events.push_back(String::from_utf8_lossy(&data).into_owned());
            }
            return;
        }
        let Some(rest) = line.strip_prefix(b"data") else { return };
        let value = match rest {
            [] => rest,
            [b':', b' ', value @ ..] | [b':', value @ ..] => value,
            // Another field whose name begins alike.
            _ => return,
        };
        if self.has_data {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
        self.has_data = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pieces: &[&[u8]]) -> Vec<String> {
        let (mut parser, mut events) = (Parser::new(100), VecDeque::new());
        for piece in pieces {
            parser.push(piece, &mut events).unwrap();
        }
        events.into()
    }

    #[test]
    fn events_are_found_however_the_stream_is_cut() {
        let text = b"\xef\xbb\xbf: hello\n\ndata: one\n\nevent: x\r\nid: 7\r\ndata:two\r\n\r\n\
            :\n\ndata: a\ndata: b\n\ndatabase: no\n\ndata\n\ndata: unfinished\n";
        let wanted = ["one", "two", "a\nb", ""];
        assert_eq!(parse(&[text]), wanted);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(parse(&bytes), wanted);
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser::new(10);
        let mut events = VecDeque::new();
        assert_eq!(parser.push(b"data: 123456789", &mut events), Err(TooLong(10)));
    }
}
