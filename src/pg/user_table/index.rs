//! The indexes of a registered table that are of use.

use super::{Column, Columns};
use crate::pg::relation::Relation;
use pgrx::{PgRelation, pg_sys};

/// An index that finds rows by their key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Index {
    pub(super) oid: pg_sys::Oid,
    /// Its collation for the key.
    pub(super) collation: pg_sys::Oid,
    /// Tenant first, then the key?
    pub(super) tenant_first: bool,
    /// At most one row a key, or a tenant and key?
    pub(super) unique: bool,
}
/// The indexes of a table that can be searched for every row: valid B-trees that are not partial, each with its
/// column numbers.
fn usable_indexes<T>(relation: &Relation, mut choose: impl FnMut(&PgRelation, &[i16]) -> Option<T>) -> Vec<T> {
    // SAFETY: the relation is open, and `PgRelation` is told not to close it; indexes are opened and closed by the
    // iterator's items. The fields read are those that every index has.
    unsafe {
        PgRelation::from_pg(relation.raw())
            .indices(pg_sys::AccessShareLock as pg_sys::LOCKMODE)
            .filter_map(|index| {
                let form = &*index.rd_index;
                let btree = (*index.rd_rel).relam == pg_sys::BTREE_AM_OID;
                let partial = !pg_sys::RelationGetIndexPredicate(index.as_ptr()).is_null();
                let usable = btree && !partial && form.indisvalid && form.indisready && form.indislive;
                let attnos = form.indkey.values.as_slice(form.indnkeyatts as usize);
                if usable { choose(&index, attnos) } else { None }
            })
            .collect()
    }
}

/// The index that finds rows by key with least work: key first before tenant first, unique before not.
pub(super) fn best_index(relation: &Relation, columns: &Columns) -> Option<Index> {
    let (key, tenant) = (columns.key.attno, columns.tenant.attno);
    usable_indexes(relation, |index, attnos| {
        let position = match attnos {
            [first, ..] if *first == key => 0,
            [first, second, ..] if *first == tenant && *second == key => 1,
            _ => return None,
        };
        // SAFETY: the arrays of an open index have an element for each of its key columns.
        let (form, collation) = unsafe { (&*index.rd_index, *index.rd_indcollation.add(position)) };
        Some(Index {
            oid: index.oid(),
            collation,
            tenant_first: position == 1,
            unique: attnos.len() == position + 1 && form.indisunique && form.indimmediate,
        })
    })
    .into_iter()
    .min_by_key(|i| (i.tenant_first, !i.unique))
}

/// An index that begins with a column: the narrowest.
pub(super) fn index_on(relation: &Relation, column: Column) -> Option<pg_sys::Oid> {
    usable_indexes(relation, |index, attnos| {
        (attnos.first() == Some(&column.attno)).then(|| (attnos.len(), index.oid()))
    })
    .into_iter()
    .min_by_key(|(columns, _)| *columns)
    .map(|(_, oid)| oid)
}
