//! What a table's constraints promise of every row, so that no row needs a look.

use super::relation::{Relation, ScanKey, Snapshot};
use super::user_table::kind_of;
use pgrx::pg_sys;

/// Do constraints of the table hold for every row that a query of it returns? Partitions have them all; tables that
/// merely inherit do not have foreign keys, nor what was declared NO INHERIT.
pub fn hold_below(relation: &Relation) -> bool {
    // SAFETY: an open relation has its pg_class row.
    kind_of(relation) == b'p' || unsafe { !(*(*relation.raw()).rd_rel).relhassubclass }
}

/// Has the table a foreign key, checked for every row, from exactly these columns to exactly those of the other table?
pub fn references(relation: &Relation, columns: &[&str], other: &Relation, of_other: &[&str]) -> bool {
    // Numbers that never change: PostgreSQL's headers give these catalogs names that have no binding.
    const PG_CONSTRAINT: u32 = 2606;
    const PG_CONSTRAINT_BY_RELATION: u32 = 2665;
    let pairs = columns.iter().zip(of_other);
    let wanted: Option<Vec<(i16, i16)>> = pairs
        .map(|(a, b)| Some((relation.column(a)?, other.column(b)?)))
        .collect();
    let (Some(mut wanted), Some(constraints)) = (wanted, Relation::open(pg_sys::Oid::from(PG_CONSTRAINT))) else {
        return false;
    };
    if !hold_below(relation) {
        return false;
    }
    wanted.sort_unstable();
    let named = |name| constraints.column(name);
    let (Some(of), Some(to), Some(kind), Some(valid), Some(keys), Some(other_keys)) = (
        named("conrelid"),
        named("confrelid"),
        named("contype"),
        named("convalidated"),
        named("conkey"),
        named("confkey"),
    ) else {
        return false;
    };
    // PostgreSQL 18 knows constraints that are not enforced.
    let enforced = named("conenforced");
    let index = pg_sys::Oid::from(PG_CONSTRAINT_BY_RELATION);
    let mut found = false;
    constraints.scan(
        &Snapshot::fresh(),
        Some(index),
        &[ScanKey::oid(of, relation.oid())],
        |row| {
            let mut pairs: Vec<(i16, i16)> = row.int2s(keys).into_iter().zip(row.int2s(other_keys)).collect();
            pairs.sort_unstable();
            found = row.char(kind) == Some(b'f')
                && row.oid(to) == Some(other.oid())
                && row.bool(valid) == Some(true)
                && enforced.is_none_or(|e| row.bool(e) == Some(true))
                && pairs == wanted;
            !found
        },
    );
    found
}
