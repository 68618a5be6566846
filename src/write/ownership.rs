//! Reads and writes the owner of a resource in the application's table: as the table's owner, since the table may have
//! become a view since it was looked at, which would run its owner's code.

use crate::pg::identity;
use pgrx::{Spi, pg_sys};

/// Runs a SELECT FOR UPDATE of one row as the table's owner, past row security. Its parameters are the key and the tenant.
pub fn lock(table_owner: pg_sys::Oid, statement: &str, key: &str, tenant: pgrx::Uuid) -> Option<String> {
    identity::as_owner_past_policies(table_owner, || {
        Spi::connect_mut(|client| {
            let rows = client.update(statement, None, &[key.into(), tenant.into()]).ok()?;
            if rows.is_empty() {
                None
            } else {
                rows.first().get_one().ok()?
            }
        })
    })
}

/// Runs an UPDATE of one row as the table's owner, past row security. Its parameters are the key, the tenant and the
/// new owner; `false` if there is no such row.
pub fn write(table_owner: pg_sys::Oid, statement: &str, key: &str, tenant: pgrx::Uuid, owner: &str) -> bool {
    identity::as_owner_past_policies(table_owner, || {
        Spi::connect_mut(|client| {
            client
                .update(statement, None, &[key.into(), tenant.into(), owner.into()])
                .is_ok_and(|rows| rows.len() == 1)
        })
    })
}
