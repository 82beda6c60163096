//! Entries of a tar file in the POSIX formats: ustar, and pax where a path is too long for it.
//!
//! Written front to back and never read. Equal entries give equal bytes: no owner, no time, no
//! order of its own.

/// Bytes of a block; every entry is a whole number of them.
const BLOCK: usize = 512;
/// Two empty blocks are the end.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// Bytes of the name field.
const NAME_MAX: usize = 100;
/// Bytes of the field for the folders before it.
const PREFIX_MAX: usize = 155;

/// Appends a file. Its `path` is plain and relative.
pub(crate) fn put_file(path: &str, content: &[u8], to: &mut Vec<u8>) {
    match split(path) {
        Some((prefix, name)) => put_entry(prefix, name, b'0', content, to),
        None => {
            // The name of the pax header is for old readers; what counts is what it says.
            put_entry("", "long-path", b'x', pax("path", path).as_bytes(), to);
            put_entry("", &cut(path), b'0', content, to);
        }
    }
}

fn put_entry(prefix: &str, name: &str, kind: u8, content: &[u8], to: &mut Vec<u8>) {
    let mut head = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    // While the sum is made, its own field is blank.
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    put(345, prefix.as_bytes());
    let sum: u32 = head.iter().copied().map(u32::from).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    to.extend_from_slice(&head);
    to.extend_from_slice(content);
    to.resize(to.len().next_multiple_of(BLOCK), 0);
}

/// Folders and name, if both fit their fields.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= NAME_MAX {
        return Some(("", path));
    }
    let mut slashes = path.match_indices('/').map(|(at, _)| at);
    let at = slashes.find(|at| path.len() - at - 1 <= NAME_MAX)?;
    (at <= PREFIX_MAX).then(|| (&path[..at], &path[at + 1..]))
}

/// As much of the end of a path as fits the name field.
fn cut(path: &str) -> String {
    let start = (path.len() - NAME_MAX..path.len()).find(|at| path.is_char_boundary(*at));
    path[start.unwrap_or(path.len())..].trim_start_matches('/').into()
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn pax(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_and_whole_blocks() {
        let mut bytes = Vec::new();
        put_file("7/stdout", b"seven\n", &mut bytes);
        assert_eq!(bytes.len(), 2 * BLOCK);
        assert_eq!(&bytes[..9], b"7/stdout\0");
        assert_eq!(&bytes[124..136], b"00000000006\0");
        assert_eq!(&bytes[257..265], b"ustar\x0000");
        // The sum of the header, its own field taken as blanks.
        let sum: u32 = bytes[..BLOCK].iter().copied().map(u32::from).sum();
        let field: u32 = bytes[148..156].iter().copied().map(u32::from).sum();
        let said = std::str::from_utf8(&bytes[148..154]).unwrap();
        assert_eq!(u32::from_str_radix(said, 8).unwrap(), sum - field + 8 * u32::from(b' '));
        assert_eq!(&bytes[BLOCK..BLOCK + 7], b"seven\n\0");
        put_file("8/stdout", b"", &mut bytes);
        assert_eq!(bytes.len(), 3 * BLOCK);
    }

    #[test]
    fn long_paths_are_split_and_longer_ones_get_a_header_of_their_own() {
        let folder = "d".repeat(90);
        let path = format!("7/out/{folder}/{}", "n".repeat(60));
        assert_eq!(split(&path).map(|(prefix, name)| (prefix.len(), name.len())), Some((96, 60)));
        let far = format!("7/out/{folder}/{}", "n".repeat(101));
        assert_eq!(split(&far), None);
        let mut bytes = Vec::new();
        put_file(&far, b"x", &mut bytes);
        assert_eq!((bytes.len(), bytes[156], bytes[2 * BLOCK + 156]), (4 * BLOCK, b'x', b'0'));
        let record = pax("path", &far);
        assert_eq!(&bytes[BLOCK..BLOCK + record.len()], record.as_bytes());
        for length in [1, 80, 89, 90, 91, 980, 988, 989, 990] {
            let record = pax("path", &"x".repeat(length));
            let said: usize = record.split_once(' ').unwrap().0.parse().unwrap();
            assert_eq!(said, record.len());
        }
    }
}
