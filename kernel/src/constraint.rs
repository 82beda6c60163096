//! Where a job may run: a CEL expression over `host`.
//!
//! `host.cpus >= 4 && host.country == "FI"`. Memory and disk are numbers of bytes, which may be
//! written as sizes: `8GiB`. Loops (`map`, `all`, ...) are refused: an expression costs no more
//! than its length. The same language serves every question about hosts; one that is put to hosts
//! themselves may ask more of them ([`Live`]).

mod live;
mod size;

use std::collections::BTreeMap;
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::objects::{Key, Map};
use cel::{Context, Program, Value};
use isos_base::host::HostSpec;
use isos_base::limits;
use thiserror::Error;

pub use live::{Live, LiveConstraint};

/// Brackets inside brackets, and operators, of one constraint: the parser recurses over both, and
/// this many were seen to fit a stack of 2 MiB without optimisation.
const BRACKETS_DEEP_MAX: usize = 8;
/// See [`BRACKETS_DEEP_MAX`].
const OPERATORS_MAX: usize = 40;

/// Whether parsing `text` stays shallow. Brackets in strings count too: that only refuses more.
fn is_shallow(text: &str) -> bool {
    let (mut operators, mut depth, mut deepest) = (0, 0usize, 0);
    let mut before = ' ';
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
        let second_half = matches!((before, c), ('&', '&') | ('|', '|') | (_, '='));
        operators += usize::from("&|+-*/%<>=!?".contains(c) && !second_half);
        before = c;
    }
    operators <= OPERATORS_MAX && deepest <= BRACKETS_DEEP_MAX
}

/// A compiled constraint.
pub struct Constraint {
    text: String,
    program: Program,
    names_hosts: bool,
}

/// Why a constraint cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConstraintError {
    /// Not CEL.
    #[error("{text:?} is no CEL expression: {why}")]
    Syntax {
        /// What was given.
        text: String,
        /// What the parser says.
        why: String,
    },
    /// It has a loop.
    #[error("{text:?} has a loop (map, filter, all, exists): constraints may not")]
    Loop {
        /// What was given.
        text: String,
    },
    /// Too long.
    #[error("the constraint has {chars} characters, the limit is {}", limits::CONSTRAINT_CHARS_MAX)]
    TooLong {
        /// Its length.
        chars: usize,
    },
    /// Nested too deeply for a parser that recurses.
    #[error(
        "{text:?} has more than {OPERATORS_MAX} operators, or brackets more than \
         {BRACKETS_DEEP_MAX} deep: make it simpler"
    )]
    TooDeep {
        /// What was given.
        text: String,
    },
    /// It does not evaluate to true or false over a typical host.
    #[error(
        "{text:?} cannot be evaluated: {why} (fields: host.name, agent, os, arch, cpus, memory, \
         disk, country, engine{})", if *live { live::FIELDS } else { "" }
    )]
    Meaning {
        /// What was given.
        text: String,
        /// Whether hosts themselves are asked, who know more.
        live: bool,
        /// What the evaluation says.
        why: String,
    },
}

impl Constraint {
    /// Compiles `text` and tries it on a made-up host, so that misspelt fields are refused at once.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn compile(text: &str) -> Result<Self, ConstraintError> {
        let constraint = Self::parse(text)?;
        constraint.evaluate(describe(&example_host())).map_err(|why| ConstraintError::Meaning {
            text: text.into(),
            live: false,
            why,
        })?;
        Ok(constraint)
    }

    /// Compiles `text`, whatever it may mean.
    fn parse(text: &str) -> Result<Self, ConstraintError> {
        let chars = text.chars().count();
        if chars > limits::CONSTRAINT_CHARS_MAX {
            return Err(ConstraintError::TooLong { chars });
        }
        if !is_shallow(text) {
            return Err(ConstraintError::TooDeep { text: text.into() });
        }
        let program = Program::compile(&size::as_numbers(text)).map_err(|errors| {
            let first = errors.errors.first().map_or_else(String::new, |error| error.msg.clone());
            ConstraintError::Syntax { text: text.into(), why: first }
        })?;
        if has_loop(program.expression()) {
            return Err(ConstraintError::Loop { text: text.into() });
        }
        let names_hosts = text.contains("name");
        Ok(Self { text: text.into(), program, names_hosts })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether hosts of one class may get different answers.
    #[must_use]
    pub const fn names_hosts(&self) -> bool {
        self.names_hosts
    }

    /// Whether `host` fits. An expression that fails on this host does not fit it.
    #[must_use]
    pub fn fits(&self, host: &HostSpec) -> bool {
        self.evaluate(describe(host)).unwrap_or(false)
    }

    fn evaluate(&self, fields: Fields) -> Result<bool, String> {
        let mut context = Context::default();
        let host = Value::Map(Map { map: Arc::new(fields.into_iter().collect()) });
        context.add_variable_from_value("host", host);
        match self.program.execute(&context) {
            Ok(Value::Bool(fits)) => Ok(fits),
            Ok(other) => Err(format!("it gives {:?}, not true or false", other.type_of())),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Constraint({:?})", self.text)
    }
}

/// What an expression finds under `host`.
type Fields = Vec<(Key, Value)>;

fn number(n: u64) -> Value {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn describe(host: &HostSpec) -> Fields {
    let text = |text: &str| Value::String(Arc::new(text.to_owned()));
    let fields = [
        ("name", text(&host.name)),
        ("agent", text(&host.agent)),
        ("os", text(&host.os)),
        ("arch", text(&host.arch)),
        ("cpus", number(host.cpus.into())),
        ("memory", number(host.memory.0)),
        ("disk", number(host.disk.0)),
        ("country", text(host.country.as_deref().unwrap_or_default())),
        ("engine", text(&host.engine)),
    ];
    fields.into_iter().map(|(name, value)| (Key::from(name), value)).collect()
}

fn example_host() -> HostSpec {
    HostSpec {
        name: "example".into(),
        agent: "0.1.0".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        cpus: 4,
        memory: isos_base::Bytes::gib(8),
        disk: isos_base::Bytes::gib(100),
        country: Some("FI".into()),
        engine: "wasmtime-48".into(),
    }
}

fn has_loop(root: &IdedExpr) -> bool {
    let mut left = vec![root];
    while let Some(node) = left.pop() {
        match &node.expr {
            Expr::Comprehension(_) => return true,
            Expr::Call(call) => {
                left.extend(call.target.as_deref());
                left.extend(&call.args);
            }
            Expr::List(list) => left.extend(&list.elements),
            Expr::Map(map) => entries(map.entries.iter().map(|e| &e.expr), &mut left),
            Expr::Struct(object) => entries(object.entries.iter().map(|e| &e.expr), &mut left),
            Expr::Select(select) => left.push(&select.operand),
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        }
    }
    false
}

fn entries<'a>(all: impl Iterator<Item = &'a EntryExpr>, left: &mut Vec<&'a IdedExpr>) {
    for entry in all {
        match entry {
            EntryExpr::StructField(field) => left.push(&field.value),
            EntryExpr::MapEntry(entry) => left.extend([&entry.key, &entry.value]),
        }
    }
}

/// The descriptions that hosts of one class share: everything but the name. A class lasts as long
/// as it has hosts.
#[derive(Debug, Default)]
pub struct Classes {
    known: BTreeMap<HostSpec, ClassId>,
    classes: BTreeMap<ClassId, (HostSpec, usize)>,
    last: u64,
}

/// A class of hosts: same description, so same answer to every constraint. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClassId(pub u64);

impl Classes {
    /// One more host of this description.
    pub fn enter(&mut self, spec: &HostSpec) -> ClassId {
        let key = HostSpec { name: String::new(), ..spec.clone() };
        let id = *self.known.entry(key.clone()).or_insert_with(|| {
            self.last += 1;
            ClassId(self.last)
        });
        self.classes.entry(id).or_insert((key, 0)).1 += 1;
        id
    }

    /// One host less of this class.
    pub fn leave(&mut self, id: ClassId) {
        let Some((spec, hosts)) = self.classes.get_mut(&id) else { return };
        *hosts -= 1;
        if *hosts == 0 {
            self.known.remove(spec);
            self.classes.remove(&id);
        }
    }

    /// What the hosts of a class have in common; the name is empty.
    ///
    /// # Panics
    /// If the class has no hosts.
    #[must_use]
    pub fn spec(&self, id: ClassId) -> &HostSpec {
        &self.classes[&id].0
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(text: &str) -> bool {
        Constraint::compile(text).unwrap().fits(&example_host())
    }

    fn refusal(text: &str) -> String {
        Constraint::compile(text).unwrap_err().to_string()
    }

    #[test]
    fn constraints_speak_of_the_host() {
        assert!(fits("host.cpus >= 4 && host.country == \"FI\""));
        assert!(fits("host.memory >= 8 * 1024 * 1024 * 1024"));
        assert!(!fits("host.os == 'macos'"));
        assert!(fits("host.arch in ['x86_64', 'aarch64']"));
        assert!(fits("host.name.startsWith('exam')"));
        assert!(fits("host.memory >= 8GiB && host.disk > 1.5TB - 1.49TB"));
        assert!(!fits("host.memory >= 9GiB"));
    }

    #[test]
    fn a_constraint_that_means_nothing_is_refused_with_the_fields() {
        expect_test::expect![[r#""host.cpu >= 4" cannot be evaluated: No such key: cpu (fields: host.name, agent, os, arch, cpus, memory, disk, country, engine)"#]].assert_eq(&refusal("host.cpu >= 4"));
        expect_test::expect![[r#""host.cpus" cannot be evaluated: it gives Int, not true or false (fields: host.name, agent, os, arch, cpus, memory, disk, country, engine)"#]].assert_eq(&refusal("host.cpus"));
        expect_test::expect![[r#""host.cpus >=" is no CEL expression: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"#]].assert_eq(&refusal("host.cpus >="));
        expect_test::expect![[
            r#""[1, 2].all(x, x > 0)" has a loop (map, filter, all, exists): constraints may not"#
        ]]
        .assert_eq(&refusal("[1, 2].all(x, x > 0)"));
    }

    #[test]
    fn long_and_deep_constraints_are_refused() {
        assert!(refusal(&"a".repeat(3_000)).contains("3000 characters"));
        assert!(
            Constraint::compile(&format!("{}true{}", "(".repeat(900), ")".repeat(900))).is_err()
        );
        assert!(Constraint::compile(&"!".repeat(2_000)).is_err());
        for deep in [
            format!("{}true{}", "(".repeat(8), ")".repeat(8)),
            format!("{}true", "!".repeat(40)),
            format!("{}true", "true && ".repeat(40)),
            format!("{}true", "true ? false : ".repeat(40)),
            format!("0{} < 99", "+1".repeat(39)),
            format!("{}{}.size() < 99", "[".repeat(7), "]".repeat(7)),
        ] {
            let _ = Constraint::compile(&deep);
        }
    }
}
