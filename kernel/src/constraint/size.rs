//! Sizes as people write them, `8GiB`, which CEL does not have: they become numbers of bytes before
//! it is parsed.

use isos_base::Bytes;

/// Units that a number in an expression may have. A single letter would be part of CEL: `1u`.
const UNITS: [&str; 8] = ["KiB", "MiB", "GiB", "TiB", "kB", "MB", "GB", "TB"];

/// The expression with each size as a number. What is no size stays as it is.
pub(super) fn as_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quote = None;
    let mut is_in_word = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(end) = quote {
            let escaped = if c == '\\' { 2 } else { 1 };
            let length = rest.chars().take(escaped).map(char::len_utf8).sum();
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            if c == end {
                quote = None;
            }
            continue;
        }
        if c.is_ascii_digit()
            && !is_in_word
            && let Some((bytes, length)) = size_at(rest)
        {
            out.push_str(&bytes.0.to_string());
            rest = &rest[length..];
            continue;
        }
        if c == '"' || c == '\'' {
            quote = Some(c);
        }
        is_in_word = c.is_alphanumeric() || c == '_' || (is_in_word && c == '.');
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// The size that stands at the beginning, and how long it is.
fn size_at(text: &str) -> Option<(Bytes, usize)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let unit = UNITS.into_iter().find(|unit| text[digits..].starts_with(unit))?;
    let length = digits + unit.len();
    let ends = !text[length..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let bytes = text[..length].parse().ok().filter(|_| ends)?;
    Some((bytes, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_become_numbers_and_nothing_else_does() {
        let cases = [
            ("host.memory >= 8GiB", "host.memory >= 8589934592"),
            ("1.5KiB+2kB", "1536+2000"),
            ("host.name == '8GiB \\' 8GiB' && 1MB", "host.name == '8GiB \\' 8GiB' && 1000000"),
            ("a8GiB 8GiBs 8 GiB 1u 0x8GiB", "a8GiB 8GiBs 8 GiB 1u 0x8GiB"),
            ("99999999999999TiB", "99999999999999TiB"),
            ("host.a.8GiB", "host.a.8GiB"),
            ("\"ä8GiB", "\"ä8GiB"),
            ("'\\", "'\\"),
        ];
        for (text, wanted) in cases {
            assert_eq!(as_numbers(text), wanted, "{text}");
        }
    }
}
