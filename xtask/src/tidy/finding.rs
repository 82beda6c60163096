//! What a check found: where, what, why it matters, how to mend it.

use std::fmt;

/// One thing to mend. Sorts by place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    /// Path in the repository.
    pub(super) path: String,
    /// Line from 1; 0 for the whole file.
    pub(super) line: usize,
    /// What is so.
    pub(super) what: String,
    /// Which rule forbids it, and why there is such a rule.
    pub(super) why: &'static str,
    /// What to do.
    pub(super) mend: String,
}

impl Finding {
    pub(super) fn new(
        path: &str,
        line: usize,
        what: impl Into<String>,
        why: &'static str,
        mend: impl Into<String>,
    ) -> Self {
        Self { path: path.into(), line, what: what.into(), why, mend: mend.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}\n  why   {}\n  mend  {}", self.what, self.why, self.mend)
    }
}
