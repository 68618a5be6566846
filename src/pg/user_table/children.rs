//! What a registered table consists of.

use crate::pg::relation::{Relation, ScanKey, Snapshot};
use pgrx::pg_sys;

/// A partition, or a table that inherits.
pub(super) struct Child {
    pub(super) oid: pg_sys::Oid,
    /// The transaction that began to detach it while others go on reading: whoever sees that has the table without it. It is
    /// there until the last of those who do not see it has gone, or for as long as nobody ends what was broken off.
    pub(super) detached_by: Option<pg_sys::TransactionId>,
}

/// Those of a table.
pub(super) fn children(parent: pg_sys::Oid) -> Vec<Child> {
    // Of these catalogs PostgreSQL's headers give names that have no binding; their numbers never change.
    const PG_INHERITS: u32 = 2611;
    const PG_INHERITS_PARENT_INDEX: u32 = 2187;
    const INHRELID: i16 = 1;
    const INHPARENT: i16 = 2;
    const INHDETACHPENDING: i16 = 4;
    let mut found = Vec::new();
    if let Some(inherits) = Relation::open(pg_sys::Oid::from(PG_INHERITS)) {
        inherits.scan(
            &Snapshot::fresh(),
            Some(pg_sys::Oid::from(PG_INHERITS_PARENT_INDEX)),
            &[ScanKey::oid(INHPARENT, parent)],
            |row| {
                let detached = row.bool(INHDETACHPENDING) == Some(true);
                found.extend(row.oid(INHRELID).map(|oid| Child {
                    oid,
                    detached_by: detached.then(|| row.written_by()),
                }));
                true
            },
        );
    }
    found
}
