//! Hosts: `api.example.com`, `*.example.com`, `api.example.com:8080`, `api.example.com:*`, `*`.

use crate::grants::HostPort;

/// Whether this is `*`, a host or `*.host`, the latter with an optional `:port` or `:*` for any. A bare IPv6 address
/// is not a pattern.
pub(crate) fn is_pattern(target: &str) -> bool {
    /// What DNS allows, for a name and for one of its labels.
    const NAME_BYTES_MAX: usize = 253;
    const LABEL_BYTES_MAX: usize = 63;
    if target == "*" {
        return true;
    }
    let (host, port) = split_port(target);
    let host = host.strip_prefix("*.").unwrap_or(host);
    let labels_ok = host.len() <= NAME_BYTES_MAX
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= LABEL_BYTES_MAX
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        });
    labels_ok && port.is_none_or(|port| port == "*" || port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Whether the pattern stands for this host. Without a port it stands for the scheme's own.
pub(crate) fn opens(pattern: &str, at: &HostPort<'_>) -> bool {
    if pattern == "*" {
        return at.default_port;
    }
    let (host, port) = split_port(pattern);
    let port_ok = match port {
        Some("*") => true,
        Some(port) => port.parse() == Ok(at.port),
        None => at.default_port,
    };
    port_ok && name_matches(host, at.host)
}

/// Whether all that the narrow pattern stands for may be granted of the wide one. Of `*`, which by itself stands for
/// the schemes' own ports, that is also `localhost:8080`.
pub(crate) fn is_within(narrow: &str, wide: &str) -> bool {
    if wide == "*" {
        return is_pattern(narrow);
    }
    let ((narrow_host, narrow_port), (wide_host, wide_port)) = (split_port(narrow), split_port(wide));
    (narrow_port == wide_port || wide_port == Some("*"))
        && (narrow_host == wide_host
            // What is not a host of many stands for no other, and for none below it.
            || wide_host.starts_with("*.")
                && name_matches(wide_host, narrow_host.strip_prefix("*.").unwrap_or(narrow_host)))
}

fn split_port(target: &str) -> (&str, Option<&str>) {
    match target.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (target, None),
    }
}

fn name_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_one_host_covers_none_below_it() {
        for (narrow, wide, within) in [
            ("*.a.org", "a.org", false),
            ("a.org", "*.a.org", false),
            ("a.org", "a.org", true),
            ("*.a.org", "*.a.org", true),
            ("b.a.org", "*.a.org", true),
            ("*.b.a.org", "*.a.org", true),
            ("*.a.org", "*.b.a.org", false),
            ("*.a.org:8080", "a.org:*", false),
            ("a.org:8080", "a.org:*", true),
        ] {
            assert_eq!(is_within(narrow, wide), within, "{narrow} in {wide}");
        }
    }
}
