//! Asking the person in whose session the call runs.
//!
//! ```
//! use opg_guest::*;
//!
//! let host = testing::Host::new().permission("push").start();
//! permission::question("push").pattern("origin/main").always("origin/*").ask()?;
//! assert_eq!(host.questions()[0].patterns, ["origin/main"]);
//! assert!(permission::question("delete").ask().is_err());
//! # Ok::<(), Error>(())
//! ```
//!
//! It takes no capability. Whether somebody is asked is for the session's rules
//! to say, which know it as `<plugin>:<action>`; the time that a person takes is
//! not the call's.

use serde::Serialize;

use crate::Error;
use crate::host::permission;

/// A question in the making.
#[derive(Clone, Debug)]
#[must_use = "nothing is asked before `ask`"]
pub struct Question(permission::Question);

/// A question about an action, such as `push`: letters, digits, `.`, `_` and `-`.
pub fn question(action: impl Into<String>) -> Question {
    Question(permission::Question {
        action: action.into(),
        patterns: vec![],
        always: vec![],
        details: "{}".to_owned(),
    })
}

impl Question {
    /// Something it would be done to, such as a path or a branch. 16 at the most.
    pub fn pattern(mut self, pattern: impl Into<String>) -> Self {
        self.0.patterns.push(pattern.into());
        self
    }

    /// A pattern for which an answer of "always" holds, `*` standing for any text; without any, all of the action.
    pub fn always(mut self, pattern: impl Into<String>) -> Self {
        self.0.always.push(pattern.into());
        self
    }

    /// What else helps to decide: something that is an object in JSON.
    ///
    /// # Errors
    /// Where it cannot be written as JSON.
    pub fn details(mut self, details: &impl Serialize) -> Result<Self, Error> {
        self.0.details = serde_json::to_string(details)?;
        Ok(self)
    }

    /// Comes back once it may.
    ///
    /// # Errors
    /// `Denied` where a rule or a person says no, nobody answers in time, or the call belongs to no session.
    pub fn ask(self) -> Result<(), Error> {
        permission::ask(&self.0).map_err(Error::from_host)
    }
}
