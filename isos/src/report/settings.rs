//! The settings in force.

use serde_json::{Value, json};

use crate::config::{Origin, Settings};
use crate::output::{Page, Report, Table, Tone};

/// All settings; secrets are not printed.
#[derive(Debug)]
pub(crate) struct SettingsReport {
    settings: Settings,
    origin: bool,
}

impl SettingsReport {
    /// The settings, with where each comes from if `origin`.
    pub(crate) fn new(settings: Settings, origin: bool) -> Self {
        Self { settings, origin }
    }

    /// Name, value, origin.
    fn rows(&self) -> Vec<(&'static str, Option<String>, String)> {
        let settings = &self.settings;
        let server = settings.server.as_ref();
        let by_ticket = server.is_some_and(|server| is_ticket(&server.value));
        let token = match &settings.token {
            Some(token) => (Some("(set, not shown)".into()), token.origin.to_string()),
            None if by_ticket => (Some("(in the ticket)".into()), Origin::Ticket.to_string()),
            None => (None, Origin::Default.to_string()),
        };
        let origin = |origin: Option<&Origin>| origin.unwrap_or(&Origin::Default).to_string();
        let folders = settings.home.to_string();
        let paths = &settings.paths;
        let folder = |path: &std::path::Path| Some(path.display().to_string());
        vec![
            ("server", server.map(|s| shown(&s.value)), origin(server.map(|s| &s.origin))),
            ("token", token.0, token.1),
            (
                "results",
                settings.results.as_ref().map(|results| results.value.display().to_string()),
                origin(settings.results.as_ref().map(|results| &results.origin)),
            ),
            ("color", Some(settings.color.value.to_string()), settings.color.origin.to_string()),
            ("config", folder(&paths.config), folders.clone()),
            ("state", folder(&paths.state), folders.clone()),
            ("cache", folder(&paths.cache), folders),
        ]
    }
}

fn is_ticket(server: &str) -> bool {
    server.trim().starts_with("isos1")
}

/// A ticket carries a right, so it is cut.
fn shown(server: &str) -> String {
    if is_ticket(server) {
        format!("{}... (a ticket)", server.trim().chars().take(12).collect::<String>())
    } else {
        server.into()
    }
}

impl Report for SettingsReport {
    fn kind(&self) -> &'static str {
        "settings"
    }

    fn text(&self, page: &mut Page) {
        if !self.origin {
            for (name, value, _) in self.rows() {
                page.field(name, value.as_deref().unwrap_or("-"));
            }
            return;
        }
        let mut table = Table::new(&["setting", "value", "from"]);
        for (name, value, origin) in self.rows() {
            table.row(Tone::Plain, vec![name.into(), value.unwrap_or("-".into()), origin]);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        self.rows()
            .into_iter()
            .map(|(name, value, origin)| json!({ "name": name, "value": value, "origin": origin }))
            .collect()
    }

    fn quiet(&self, page: &mut Page) {
        for (name, value, _) in self.rows() {
            page.line(format!("{name}={}", value.unwrap_or_default()));
        }
    }
}
