//! Reveals: counted past the transaction that asks, and read as the table's owner.
//!
//! Whoever reveals in a transaction and rolls it back must not have revealed for nothing. So a background worker counts, in a
//! transaction of its own that has committed before the value is read. It needs no `shared_preload_libraries`.

use super::audit;
use crate::pg::statement::{Parameter, Statement};
use crate::pg::{authority, identity, statement, worker};
use crate::store;
use pgrx::{Spi, pg_sys};
use std::ffi::CStr;
use uuid::Uuid;

/// Counts a reveal of a principal, of whom `most` are allowed in an hour: was it within the limit? `None`: it could not be
/// counted.
pub fn count(principal: Uuid, most: i32) -> Option<bool> {
    audit::must_be_writable();
    let charge = Uuid::from_bytes(statement::random());
    if !worker::count_reveal(&format!("{charge} {principal} {most}")) {
        return None;
    }
    store::mask::charged(&charge)
}

/// What that worker runs.
pub fn count_here(charge: &str) {
    static COUNT: &CStr = c"SELECT authz.charge_reveal($1, $2, $3)";
    let words: Vec<&str> = charge.split(' ').collect();
    if let [charge, principal, most] = words[..]
        && let (Ok(charge), Ok(principal), Ok(most)) =
            (charge.parse::<Uuid>(), principal.parse::<Uuid>(), most.parse::<i64>())
        && authority::installed()
    {
        Statement::new(COUNT, &[pg_sys::UUIDOID, pg_sys::UUIDOID, pg_sys::INT8OID]).run(
            "reveal_charge",
            &[
                Parameter::uuid(Some(&charge)),
                Parameter::uuid(Some(&principal)),
                Parameter::int8(most),
            ],
        );
    }
}

/// Runs a query of one text with the parameters key and tenant as the table's owner, under its policies; `None` unless it
/// finds one row.
pub fn read(table_owner: pg_sys::Oid, query: &str, key: &str, tenant: Option<pgrx::Uuid>) -> Option<String> {
    identity::as_owner(table_owner, || {
        Spi::connect(|client| {
            let rows = client.select(query, Some(2), &[key.into(), tenant.into()]).ok()?;
            if rows.len() != 1 {
                return None;
            }
            rows.first().get_one::<String>().ok()?
        })
    })
}
