//! What an agent's home remembers of its owner's words from one start to the next: the policy, the
//! machine's name, and that it shall stand still.

use isos_base::Time;
use isos_disk::{Home, HomeError};
use isos_kernel::policy::Policy;

use crate::owner::Said;
use crate::{AgentError, POLICY_FILE};

const NAME_FILE: &str = "name";
const COUNTRY_FILE: &str = "country";
pub(crate) const PAUSE_FILE: &str = "pause";

/// The policy: what was given, and is remembered from now on; else what was given last.
pub(crate) fn policy(home: &Home, given: Option<&str>) -> Result<Policy, AgentError> {
    if let Some(text) = given {
        let policy = Policy::parse(text)?;
        home.write(POLICY_FILE, text.as_bytes())?;
        return Ok(policy);
    }
    match text(home, POLICY_FILE)? {
        Some(text) => Ok(Policy::parse(&text)?),
        None => Ok(Policy::default()),
    }
}

/// The owner's name for the machine, if it was ever given one.
pub(crate) fn name(home: &Home, given: Option<String>) -> Result<Option<String>, AgentError> {
    word(home, NAME_FILE, given)
}

/// The country that the owner told, if any.
pub(crate) fn country(home: &Home, given: Option<String>) -> Result<Option<String>, AgentError> {
    word(home, COUNTRY_FILE, given)
}

fn word(home: &Home, file: &str, given: Option<String>) -> Result<Option<String>, AgentError> {
    let Some(word) = given else { return text(home, file) };
    home.write(file, word.as_bytes())?;
    Ok(Some(word))
}

/// What the owner said last, as far as it still holds.
pub(crate) fn said(home: &Home, now: Time) -> Result<Said, AgentError> {
    let Some(bytes) = home.read(PAUSE_FILE)? else { return Ok(Said::Auto) };
    let said = serde_json::from_slice(&bytes).unwrap_or_else(|_| {
        // Somebody wanted quiet: it is kept until somebody says otherwise.
        tracing::warn!("until when this machine is paused cannot be read: until `isos resume`");
        Said::Paused { until: None }
    });
    match said {
        Said::Paused { until: Some(until) } if until <= now => {
            home.remove(PAUSE_FILE)?;
            Ok(Said::Auto)
        }
        said => Ok(said),
    }
}

/// Remembers what the owner says.
pub(crate) fn keep_said(home: &Home, said: Said) -> Result<(), HomeError> {
    match said {
        Said::Auto => home.remove(PAUSE_FILE),
        Said::Paused { .. } => {
            let bytes = serde_json::to_vec(&said).expect("a word and a time are plain data");
            home.write(PAUSE_FILE, &bytes)
        }
    }
}

fn text(home: &Home, name: &str) -> Result<Option<String>, AgentError> {
    let text = home.read(name)?.map(String::from_utf8).transpose();
    text.map_err(|_| AgentError::NotText { path: home.dir().join(name) })
}

#[cfg(test)]
mod tests {
    use isos_base::Span;

    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(&dir.path().join("agent")).unwrap();
        (dir, home)
    }

    #[test]
    fn what_the_owner_told_once_is_known_at_the_next_start() {
        let (_dir, home) = home();
        assert_eq!((name(&home, None).unwrap(), country(&home, None).unwrap()), (None, None));
        country(&home, Some("FI".into())).unwrap();
        name(&home, Some("nas".into())).unwrap();
        assert_eq!(country(&home, None).unwrap().as_deref(), Some("FI"));
        assert_eq!(name(&home, None).unwrap().as_deref(), Some("nas"));
    }

    #[test]
    fn a_pause_outlives_the_agent_and_ends_at_its_time() {
        let (_dir, home) = home();
        let now = Time(1_000_000);
        assert_eq!(said(&home, now).unwrap(), Said::Auto);
        let paused = Said::Paused { until: Some(now + Span::secs(60)) };
        keep_said(&home, paused).unwrap();
        assert_eq!(said(&home, now).unwrap(), paused);
        assert_eq!(said(&home, now + Span::secs(60)).unwrap(), Said::Auto);
        assert_eq!(said(&home, now).unwrap(), Said::Auto, "what is over is forgotten");
        let for_ever = Said::Paused { until: None };
        keep_said(&home, for_ever).unwrap();
        assert_eq!(said(&home, Time(u64::MAX)).unwrap(), for_ever);
        keep_said(&home, Said::Auto).unwrap();
        assert_eq!(said(&home, now).unwrap(), Said::Auto);
    }

    #[test]
    fn a_pause_that_cannot_be_read_is_kept() {
        let (_dir, home) = home();
        home.write(PAUSE_FILE, b"?").unwrap();
        assert_eq!(said(&home, Time(1)).unwrap(), Said::Paused { until: None });
    }

    #[test]
    fn a_name_is_given_once() {
        let (_dir, home) = home();
        assert_eq!(name(&home, None).unwrap(), None);
        assert_eq!(name(&home, Some("attic".into())).unwrap().as_deref(), Some("attic"));
        assert_eq!(name(&home, None).unwrap().as_deref(), Some("attic"));
    }

    #[test]
    fn a_policy_that_is_no_text_is_refused() {
        let (_dir, home) = home();
        assert_eq!(policy(&home, None).unwrap(), Policy::default());
        policy(&home, Some("price_min = 7")).unwrap();
        assert_eq!(
            policy(&home, None).unwrap().price_min(),
            Policy::parse("price_min = 7").unwrap().price_min()
        );
        home.write(POLICY_FILE, b"price_min = 7 # \xff").unwrap();
        assert!(matches!(policy(&home, None), Err(AgentError::NotText { .. })));
        home.write(POLICY_FILE, b"price_mim = 7").unwrap();
        assert!(matches!(policy(&home, None), Err(AgentError::Policy(_))));
    }
}
