//! Which secret values a chain of calls knows: those that went out in it, and those a plugin of it that speaks HTTP
//! was granted. Whatever guests of the chain get and say from then on is searched for them.

use crate::{
    registry::PluginName,
    secrets::scan::{Scanner, Values},
};
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The values of one chain. Most chains know none, and for them a scan costs nothing.
#[derive(Default)]
pub struct Known(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    values: Values,
    scanner: Option<Arc<Scanner>>,
    learned: BTreeSet<PluginName>,
}

impl Known {
    /// Adds values. The scanner is built anew where one of them is new.
    pub fn add(&self, values: Values) {
        let mut inner = self.inner();
        let before = inner.values.len();
        for (name, value) in values {
            let same = |(known, old): &(String, SecretString)| {
                *known == name && old.expose_secret() == value.expose_secret()
            };
            // A value that was replaced meanwhile stays known: it went out.
            if !inner.values.iter().any(same) {
                inner.values.push((name, value));
            }
        }
        if inner.values.len() > before {
            inner.scanner = Scanner::new(&inner.values).map(Arc::new);
        }
    }

    /// What finds them; none where nothing is known.
    pub fn scanner(&self) -> Option<Arc<Scanner>> {
        self.inner().scanner.clone()
    }

    /// Whether this plugin's granted secrets are still to be learned. Says so once.
    pub fn is_first_of(&self, plugin: &PluginName) -> bool {
        self.inner().learned.insert(plugin.clone())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
