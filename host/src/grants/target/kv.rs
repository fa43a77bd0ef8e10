//! The key-value store: `read`, `write`, or of the keys that start with a prefix `read:prefix*`, `write:prefix*`.
//! Writing includes reading.

use crate::unseen::{is_invisible, is_reordering};

/// What a `kv` target means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KvTarget<'a> {
    pub(crate) writes: bool,
    /// What the keys start with; empty: all keys.
    pub(crate) prefix: &'a str,
}

impl<'a> KvTarget<'a> {
    pub(crate) fn parse(target: &'a str) -> Option<KvTarget<'a>> {
        /// As long as a key may be.
        const PREFIX_BYTES_MAX: usize = crate::limits::KV_KEY_BYTES_MAX;
        let (access, prefix) = match target.split_once(':') {
            Some((access, prefix)) => (access, prefix.strip_suffix('*').filter(|prefix| !prefix.is_empty())?),
            None => (target, ""),
        };
        let plain = prefix.len() <= PREFIX_BYTES_MAX
            && !prefix.chars().any(|c| {
                c == '*' || c.is_whitespace() || c.is_control() || is_reordering(c) || is_invisible(c)
            });
        let writes = match access {
            "read" => false,
            "write" => true,
            _ => return None,
        };
        plain.then_some(KvTarget { writes, prefix })
    }

    /// Whether it opens this key, or all keys that start like this.
    pub(crate) fn opens(&self, writes: bool, key: &str) -> bool {
        (self.writes || !writes) && key.starts_with(self.prefix)
    }

    pub(crate) fn is_within(&self, wide: &KvTarget<'_>) -> bool {
        wide.opens(self.writes, self.prefix)
    }
}
