//! A policy file that is being changed: one value after another, each checked as a whole policy,
//! with the owner's comments and order kept.

use isos_kernel::policy::{Policy, PolicyError};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value, value};

/// Why a change was not made. The draft is as before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// What was there is not TOML.
    #[error("the policy is not TOML")]
    Syntax(#[from] toml_edit::TomlError),
    /// Not `section.field`.
    #[error("{0:?} is no field of a policy: use names such as cpu.share_idle")]
    Field(String),
    /// Not a window in words.
    #[error(
        "{0:?} is no window: give days, hours and what holds then, such as `mon-fri 09:00-17:00 \
         off`, `sat,sun 20x` or `22:00-06:00 50%`"
    )]
    Window(String),
    /// The policy would make no sense.
    #[error("{}", with_cause(.0))]
    Policy(#[from] PolicyError),
}

fn with_cause(error: &PolicyError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {}", cause.to_string().trim_end()),
        None => error.to_string(),
    }
}

/// The draft. It is a policy at all times.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    document: DocumentMut,
    policy: Policy,
}

impl Draft {
    /// The text of a policy.
    pub(crate) fn new(text: &str) -> Result<Self, ChangeError> {
        // Which says where it is wrong.
        let policy = Policy::parse(text)?;
        Ok(Self { document: text.parse()?, policy })
    }

    /// What it says.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The text, comments and all.
    pub(crate) fn text(&self) -> String {
        self.document.to_string()
    }

    /// The present value of a field, as an owner writes it; nothing if it is left out.
    pub(crate) fn get(&self, field: &str) -> Option<String> {
        let mut item = self.document.as_item();
        for part in field.split('.') {
            item = item.get(part)?;
        }
        match item.as_value()? {
            Value::String(text) => Some(text.value().clone()),
            other => Some(other.clone().decorated("", "").to_string()),
        }
    }

    fn change(
        &mut self,
        change: impl FnOnce(&mut DocumentMut) -> Result<(), ChangeError>,
    ) -> Result<(), ChangeError> {
        let mut document = self.document.clone();
        change(&mut document)?;
        let policy = Policy::parse(&document.to_string())?;
        *self = Self { document, policy };
        Ok(())
    }

    /// Sets a field to what an owner wrote: as it is if that is a value of the field, else as text.
    pub(crate) fn set(&mut self, field: &str, text: &str) -> Result<(), ChangeError> {
        let text = text.trim();
        if let Ok(plain) = text.parse::<Value>()
            && self.change(|document| put(document, field, plain)).is_ok()
        {
            return Ok(());
        }
        self.change(|document| put(document, field, text.into()))
    }

    /// Leaves a field out, so that it is as in the `laptop` template.
    pub(crate) fn unset(&mut self, field: &str) -> Result<(), ChangeError> {
        self.change(|document| {
            let (last, sections) = names(field)?;
            let mut table: &mut dyn toml_edit::TableLike = document.as_table_mut();
            for section in sections {
                match table.get_mut(section).and_then(Item::as_table_like_mut) {
                    Some(inner) => table = inner,
                    None => return Ok(()),
                }
            }
            table.remove(last);
            Ok(())
        })
    }

    /// Adds a window, after those that there are: the first that fits applies.
    pub(crate) fn add_window(&mut self, words: &str) -> Result<(), ChangeError> {
        let table = window(words)?;
        self.change(|document| {
            let windows =
                document.entry("window").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
            let bad = || ChangeError::Field("window".into());
            windows.as_array_of_tables_mut().ok_or_else(bad)?.push(table);
            Ok(())
        })
    }

    /// Removes all windows.
    pub(crate) fn clear_windows(&mut self) -> Result<(), ChangeError> {
        self.change(|document| {
            document.remove("window");
            Ok(())
        })
    }

    /// The windows in the words of [`Draft::add_window`].
    pub(crate) fn windows(&self) -> Vec<String> {
        let windows = self.document.get("window").and_then(Item::as_array_of_tables);
        windows.into_iter().flat_map(ArrayOfTables::iter).map(in_words).collect()
    }
}

/// A field's name, and the sections that it is in.
fn names(field: &str) -> Result<(&str, Vec<&str>), ChangeError> {
    let mut parts: Vec<&str> = field.split('.').collect();
    let plain = |part: &&str| {
        !part.is_empty() && part.bytes().all(|it| it.is_ascii_lowercase() || it == b'_')
    };
    if parts.len() > 3 || !parts.iter().all(plain) || parts[0] == "window" {
        return Err(ChangeError::Field(field.into()));
    }
    let last = parts.pop().unwrap_or_default();
    Ok((last, parts))
}

fn put(document: &mut DocumentMut, field: &str, new: Value) -> Result<(), ChangeError> {
    let (last, sections) = names(field)?;
    let mut table: &mut dyn toml_edit::TableLike = document.as_table_mut();
    for section in sections {
        let inner = table.entry(section).or_insert(Item::Table(Table::new()));
        let bad = || ChangeError::Field(field.into());
        table = inner.as_table_like_mut().ok_or_else(bad)?;
    }
    match table.get_mut(last).and_then(Item::as_value_mut) {
        // What stands behind it on its line stays there.
        Some(old) => {
            let decor = old.decor().clone();
            *old = new;
            *old.decor_mut() = decor;
        }
        None => {
            table.insert(last, value(new));
        }
    }
    Ok(())
}

/// `mon-fri 09:00-17:00 off`: in any order; days and hours may be left out, not what holds then.
fn window(words: &str) -> Result<Table, ChangeError> {
    let bad = || ChangeError::Window(words.into());
    let mut table = Table::new();
    let mut says = false;
    for word in words.split_whitespace() {
        let (field, new): (&str, Value) = if word == "off" {
            ("allow", false.into())
        } else if word.contains(':') {
            ("hours", word.into())
        } else if word.ends_with('%') {
            ("share_idle", word.into())
        } else if let Ok(price) = word.parse::<u32>() {
            ("price_min", i64::from(price).into())
        } else if word.ends_with('x') && word.starts_with(|it: char| it.is_ascii_digit()) {
            ("price_min", word.into())
        } else {
            ("days", word.into())
        };
        says |= !matches!(field, "hours" | "days");
        if table.insert(field, value(new)).is_some() {
            return Err(bad());
        }
    }
    if says { Ok(table) } else { Err(bad()) }
}

fn in_words(window: &Table) -> String {
    let mut words = Vec::new();
    for field in ["name", "days", "hours", "share_in_use", "share_idle", "price_min"] {
        if let Some(item) = window.get(field) {
            let text = item.as_str().map(str::to_owned);
            let text = text.unwrap_or_else(|| item.to_string().trim().to_owned());
            words.push(if field == "name" { format!("{text:?}") } else { text });
        }
    }
    if window.get("allow").and_then(Item::as_bool) == Some(false) {
        words.push("off".into());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(text: &str) -> Draft {
        Draft::new(text).unwrap()
    }

    #[test]
    fn a_change_keeps_comments_and_order() {
        let mut draft = draft(
            "# Mine.\n[cpu]\nshare_idle = \"80%\" # when I am away\n\n[disk]\nmax = \"9GiB\"\n",
        );
        draft.set("cpu.share_idle", "60%").unwrap();
        draft.set("idle.after", "10m").unwrap();
        draft.set("power.on_battery", "true").unwrap();
        assert_eq!(
            draft.text(),
            "# Mine.\n[cpu]\nshare_idle = \"60%\" # when I am away\n\n[disk]\nmax = \"9GiB\"\n\n\
             [idle]\nafter = \"10m\"\n\n[power]\non_battery = true\n"
        );
        draft.unset("idle.after").unwrap();
        assert_eq!(draft.get("idle.after"), None);
        assert_eq!(draft.get("cpu.share_idle").as_deref(), Some("60%"));
        assert_eq!(draft.get("power.on_battery").as_deref(), Some("true"));
    }

    #[test]
    fn a_change_that_makes_no_sense_is_not_made_and_says_why() {
        let mut draft = draft("");
        for (field, text, why) in [
            ("cpu.share_idle", "110%", "not a share"),
            ("cpu.cores", "2", "unknown field"),
            ("memory", "2", "invalid type"),
            ("window.allow", "true", "no field"),
            ("", "2", "no field"),
            ("a.b.c.d", "2", "no field"),
            ("cpu.share_idle.more", "2", "invalid type"),
            ("power.battery_min", "50%", "nothing runs on battery"),
            ("network.day_max", "1KiB", "no program is fetched"),
            ("temperature.max", "7", "no temperature"),
        ] {
            let before = draft.text();
            let error = draft.set(field, text).unwrap_err().to_string();
            assert!(error.contains(why), "{field} = {text}: {error}");
            assert_eq!(draft.text(), before);
        }
    }

    #[test]
    fn values_are_taken_as_owners_write_them() {
        let mut draft = draft("");
        draft.set("load.other_max", "1.5").unwrap();
        draft.set("load.other_max", "50%").unwrap();
        draft.set("cpu.cores_max", "3").unwrap();
        draft.set("network.rate_up", "4Mbit/s").unwrap();
        draft.set("work.publishers.except", "[101, 7]").unwrap();
        draft.set("temperature.max", "off").unwrap();
        assert_eq!(draft.get("work.publishers.except").as_deref(), Some("[101, 7]"));
        assert_eq!(draft.get("load.other_max").as_deref(), Some("50%"));
    }

    #[test]
    fn windows_are_said_in_words() {
        let mut draft = draft("price_min = 100\n");
        for words in ["mon-fri 09:00-17:00 20x", "sat,sun off", "22:00-06:00 50%", "fri 30"] {
            draft.add_window(words).unwrap();
        }
        assert_eq!(
            draft.windows(),
            ["mon-fri 09:00-17:00 20x", "sat,sun off", "22:00-06:00 50%", "fri 30"]
        );
        for bad in ["", "mon-fri", "09:00-17:00", "mon off off", "noday off", "25:00-26:00 off"] {
            assert!(draft.add_window(bad).is_err(), "{bad:?}");
        }
        assert_eq!(draft.windows().len(), 4);
        draft.clear_windows().unwrap();
        assert_eq!(draft.text(), "price_min = 100\n");
    }
}
