//! Writes the owner of a resource into the application's table.

use crate::pg::identity;
use pgrx::{Spi, pg_sys};

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
