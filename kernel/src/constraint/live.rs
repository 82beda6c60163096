//! What a host knows of itself besides its description, and expressions over both: for questions
//! that are put to hosts themselves.

use cel::Value;
use cel::objects::Key;
use isos_base::host::HostSpec;
use isos_base::{Bytes, Span};

use super::{Constraint, ConstraintError, describe, example_host, number};

/// The fields of [`Live`], as a refusal lists them.
pub(super) const FIELDS: &str = "; and of hosts that are asked themselves: memory_free, disk_free, \
                                 load, busy, uptime, core_hours, reliability, public";

/// A host, as it finds itself now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Live {
    /// `memory_free`: that could be had now.
    pub memory_free: Bytes,
    /// `disk_free`.
    pub disk_free: Bytes,
    /// `load`: cores that others than our tasks keep busy.
    pub load: f64,
    /// `busy`: whether a task of ours runs.
    pub busy: bool,
    /// `uptime`: of the agent, in seconds where it is asked for.
    pub uptime: Span,
    /// `core_hours`: that tasks of ours have used since the agent started.
    pub core_hours: f64,
    /// `reliability`: the share of the last weeks in which the agent has run.
    pub reliability: f64,
    /// `public`: whether anybody can call it.
    pub public: bool,
}

impl Live {
    fn example() -> Self {
        Self {
            memory_free: Bytes::gib(4),
            disk_free: Bytes::gib(50),
            load: 0.5,
            busy: false,
            uptime: Span::secs(3_600),
            core_hours: 1.5,
            reliability: 0.9,
            public: true,
        }
    }
}

/// A compiled expression over a host and how it finds itself.
#[derive(Debug)]
pub struct LiveConstraint(Constraint);

impl LiveConstraint {
    /// Compiles `text` and tries it on a made-up host.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn compile(text: &str) -> Result<Self, ConstraintError> {
        let constraint = Self(Constraint::parse(text)?);
        constraint
            .evaluate(&example_host(), &Live::example())
            .map_err(|why| ConstraintError::Meaning { text: text.into(), live: true, why })?;
        Ok(constraint)
    }

    /// Whether the host fits. An expression that fails on this host does not fit it.
    #[must_use]
    pub fn fits(&self, host: &HostSpec, live: &Live) -> bool {
        self.evaluate(host, live).unwrap_or(false)
    }

    fn evaluate(&self, host: &HostSpec, live: &Live) -> Result<bool, String> {
        let mut fields = describe(host);
        let Live { memory_free, disk_free, load, busy, uptime, core_hours, reliability, public } =
            *live;
        let more = [
            ("memory_free", number(memory_free.0)),
            ("disk_free", number(disk_free.0)),
            ("load", Value::Float(load)),
            ("busy", Value::Bool(busy)),
            ("uptime", number(uptime.0 / 1_000_000)),
            ("core_hours", Value::Float(core_hours)),
            ("reliability", Value::Float(reliability)),
            ("public", Value::Bool(public)),
        ];
        fields.extend(more.map(|(name, value)| (Key::from(name), value)));
        self.0.evaluate(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(text: &str) -> bool {
        LiveConstraint::compile(text).unwrap().fits(&example_host(), &Live::example())
    }

    #[test]
    fn hosts_are_asked_what_only_they_know() {
        assert!(fits("host.memory_free >= 4GiB && host.country == \"FI\""));
        assert!(fits("host.load < 1 && host.load < 0.6 && !host.busy && host.public"));
        assert!(fits("host.uptime >= 3600 && host.core_hours > 1 && host.reliability >= 0.9"));
        assert!(!fits("host.busy || host.disk_free > 1TB"));
        assert!(fits("true"));
    }

    /// Anybody may put an expression to a host, so nothing in one may end it.
    #[test]
    fn arithmetic_that_has_no_result_fits_nobody() {
        let least = "(-9223372036854775807 - 1)";
        for text in [
            "9223372036854775807 + host.cpus > 0".to_owned(),
            format!("{least} / -1 > 0"),
            format!("{least} % -1 == 0"),
            format!("-{least} > 0"),
            format!("{least} * -1 > 0"),
            format!("{least} - host.cpus > 0"),
            "1 / 0 > 0 || 1 % 0 > 0".into(),
            "1u - 2u > 0u".into(),
            "18446744073709551615u + 1u > 0u".into(),
            "uint(-1.5) > 0u || int(1e300) > 0".into(),
            "duration('9223372036s') + duration('9223372036s') > duration('1s')".into(),
            "duration('99999999999999999999h') > duration('1s')".into(),
            "timestamp('9999-12-31T23:59:59Z') + duration('9999999h') == 1".into(),
            "timestamp('0001-01-01T00:00:00Z') - duration('9999999h') == 1".into(),
            "[1][-1] > 0 || [1][9223372036854775807] > 0 || 'a'[5] == 'b'".into(),
            "host.name.matches('(((((a{99}){99}){99}){99}){99})')".into(),
            "host[host] == host || {host: 1}[host] == 1".into(),
            "'ä'.size() > 0 && 'ä'.startsWith('') && b'\\xff' == b''".into(),
            "host.name.contains(1) || string(host) == '' || bytes('a') == 'a'".into(),
            "double('nan') < 0.0 || max([]) > 0 || min() > 0".into(),
        ] {
            if let Ok(constraint) = LiveConstraint::compile(&text) {
                let _ = constraint.fits(&example_host(), &Live::example());
            }
        }
    }

    #[test]
    fn a_job_cannot_ask_for_what_only_hosts_know() {
        assert!(Constraint::compile("host.load < 1").is_err());
        let said = LiveConstraint::compile("host.lod < 1").unwrap_err().to_string();
        expect_test::expect![[r#""host.lod < 1" cannot be evaluated: No such key: lod (fields: host.name, agent, os, arch, cpus, memory, disk, country, engine; and of hosts that are asked themselves: memory_free, disk_free, load, busy, uptime, core_hours, reliability, public)"#]].assert_eq(&said);
    }
}
