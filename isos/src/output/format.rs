//! Numbers, times and foreign text as people read them.

use std::borrow::Cow;

use isos_base::{MicroCredits, Span, Time};
use serde_json::Value;

/// `3 s`, `2 min`, `1 h 5 min`, `3 d 4 h`.
pub(crate) fn duration(span: Span) -> String {
    let secs = span.0 / 1_000_000;
    let pair = |big: u64, big_name: &str, small: u64, small_name: &str| match small {
        0 => format!("{big} {big_name}"),
        _ => format!("{big} {big_name} {small} {small_name}"),
    };
    match secs {
        0 if span.0 == 0 => "0 s".into(),
        0 => format!("{} ms", span.0.div_ceil(1_000)),
        1..60 => format!("{secs} s"),
        60..3_600 => pair(secs / 60, "min", secs % 60, "s"),
        3_600..86_400 => pair(secs / 3_600, "h", secs / 60 % 60, "min"),
        _ => pair(secs / 86_400, "d", secs / 3_600 % 24, "h"),
    }
}

/// `3 s ago`, or `in 3 s` for what is to come.
pub(crate) fn ago(now: Time, time: Time) -> String {
    match (now.since(time), time.since(now)) {
        (past, Span::ZERO) if past < Span::secs(1) => "now".into(),
        (past, Span::ZERO) => format!("{} ago", coarse(past)),
        (_, future) => format!("in {}", coarse(nearest(future))),
    }
}

/// Rounded to its largest unit: what was to last 30 days a moment ago still lasts 30 days.
fn nearest(span: Span) -> Span {
    let units = [86_400, 3_600, 60, 1].map(|secs| Span::secs(secs).0);
    let unit = units.into_iter().find(|unit| span.0 >= unit - unit / 20).unwrap_or(1);
    Span((span.0 + unit / 2) / unit * unit)
}

/// The first part of a duration: enough for what is long ago.
fn coarse(span: Span) -> String {
    duration(span).split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// `0.012000 credits`.
pub(crate) fn credits(amount: MicroCredits) -> String {
    format!("{amount} credits")
}

/// `1 host`, `2 hosts`.
pub(crate) fn plural(count: impl Into<u64>, name: &str) -> String {
    let count = count.into();
    if count == 1 { format!("1 {name}") } else { format!("{count} {name}s") }
}

/// Text that somebody else chose, without what could control a terminal.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && c != '\n';
    if text.contains(bad) {
        Cow::Owned(text.chars().map(|c| if bad(c) { '\u{fffd}' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Such text in one line, so that it cannot look like a field of its own.
pub(crate) fn one_line(text: &str) -> String {
    clean(text).replace('\n', "\\n")
}

/// Turns the named fields from microseconds into RFC 3339, however deep they are.
pub(crate) fn stamp_deep(value: Value, fields: &[&str]) -> Value {
    match stamp(value, fields) {
        Value::Object(map) => {
            map.into_iter().map(|(name, inner)| (name, stamp_deep(inner, fields))).collect()
        }
        Value::Array(all) => all.into_iter().map(|inner| stamp_deep(inner, fields)).collect(),
        other => other,
    }
}

/// Turns the named fields from microseconds into RFC 3339.
pub(crate) fn stamp(mut value: Value, fields: &[&str]) -> Value {
    for field in fields {
        if let Some(time) = value.get_mut(*field)
            && let Some(micros) = time.as_u64()
        {
            *time = Value::String(Time(micros).to_rfc3339());
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_like_speech() {
        let texts = [0, 1, 1_500_000, 61_000_000, 3_900_000_000, 90_000_000_000]
            .map(|micros| duration(Span(micros)));
        assert_eq!(texts, ["0 s", "1 ms", "1 s", "1 min 1 s", "1 h 5 min", "1 d 1 h"]);
        let now = Time(100_000_000);
        assert_eq!(ago(now, Time(97_000_000)), "3 s ago");
        assert_eq!(ago(now, now), "now");
        assert_eq!(ago(now, Time(170_000_000)), "in 1 min");
        let month = Span::secs(30 * 86_400);
        assert_eq!(ago(now, now + Span(month.0 - 20_000)), "in 30 d");
        assert_eq!(ago(now, now + Span::millis(3_599_900)), "in 1 h");
        assert_eq!(
            (plural(1u32, "host"), plural(0u32, "host")),
            ("1 host".into(), "0 hosts".into())
        );
    }

    #[test]
    fn foreign_text_cannot_control_the_terminal() {
        assert_eq!(clean("a\x1b[31mb\nc"), "a\u{fffd}[31mb\nc");
        assert!(matches!(clean("plain"), Cow::Borrowed(_)));
        assert_eq!(one_line("a\n  state  done\x07"), "a\\n  state  done\u{fffd}");
    }
}
