//! Tables of the app's database: `read:customers`, `write:orders`, `alter:*`.

use crate::grants::DatabaseAccess;

/// What may be done, and to which table.
pub(crate) fn parse(target: &str) -> Option<(DatabaseAccess, &str)> {
    /// PostgreSQL's names are no longer.
    const NAME_BYTES_MAX: usize = 63;
    let (access, table) = target.split_once(':')?;
    let is_name = (1..=NAME_BYTES_MAX).contains(&table.len())
        && table.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '-'));
    (is_name || table == "*").then_some((DatabaseAccess::parse(access)?, table))
}
