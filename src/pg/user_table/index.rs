//! The indexes of a registered table that are of use.

use super::{Column, Columns};
use crate::pg::relation::{Relation, Tuple, class_written_by};
use crate::pg::view;
use pgrx::{PgList, PgRelation, pg_sys};

/// An index that finds rows by their key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Index {
    pub(super) made: Made,
    /// Its collation for the key.
    pub(super) collation: pg_sys::Oid,
    /// Tenant first, then the key?
    pub(super) tenant_first: bool,
    unique: bool,
}

impl Index {
    /// Does the running statement see at most one row a key, or a tenant and key? Of what was there before the index it
    /// may see more.
    pub(super) fn is_unique(&self) -> bool {
        self.unique && view::is_settled(self.made.by)
    }
}

/// An index, and what made it what it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub(super) oid: pg_sys::Oid,
    /// The transaction that wrote its row of pg_index.
    by: pg_sys::TransactionId,
    /// The one that wrote its row of pg_class, and with that perhaps the index anew.
    stored_by: pg_sys::TransactionId,
    /// Rows whose chains of versions were broken when it was made are in it under their newest key alone.
    broken: bool,
}

impl Made {
    fn of(index: &PgRelation) -> Made {
        // SAFETY: the relation cache has a copy of the row of every open index.
        let (by, broken) = unsafe {
            let row = Tuple::new(index.rd_indextuple, std::ptr::null_mut());
            (row.written_by(), (*index.rd_index).indcheckxmin)
        };
        Made {
            oid: index.oid(),
            by,
            stored_by: class_written_by(index.oid()),
            broken,
        }
    }

    /// Does it lead to every row that the running statement may see? As the planner decides it; but on a standby, whose
    /// snapshots the primary knows nothing of, what was dead there is not in it and may be alive here.
    pub(super) fn has_every_row(self) -> bool {
        let settled = view::is_settled(self.by);
        settled && view::is_settled(self.stored_by) || (settled || !self.broken) && !view::is_of_standby()
    }

    /// Locks it for a search. Who drops an index, or makes it anew, waits for those who have locked the table, but not always for
    /// those who have done so on a standby. If it has been dropped, a message about the table says so.
    pub(super) fn hold(self) -> Held {
        // SAFETY: takes a heavyweight lock, and receives invalidations as every lock does.
        unsafe { pg_sys::LockRelationOid(self.oid, Held::LOCK) }
        Held(Some(self.oid))
    }
}

/// An index that can be searched for as long as this lives.
pub(super) struct Held(Option<pg_sys::Oid>);

impl Held {
    const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

    /// One that needs no lock, because its table has one.
    pub(super) const WITH_ITS_TABLE: Held = Held(None);
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(oid) = self.0.filter(|_| !std::thread::panicking()) {
            // SAFETY: locked by us, unlocked once; after an error PostgreSQL does it.
            unsafe { pg_sys::UnlockRelationOid(oid, Held::LOCK) }
        }
    }
}

/// The indexes of a table that can be searched for every row: valid B-trees that are not partial, each with its
/// column numbers.
fn usable_indexes<T>(relation: &Relation, mut choose: impl FnMut(&PgRelation, &[i16]) -> Option<T>) -> Vec<T> {
    // SAFETY: the relation is open; indexes are opened and closed here, those that are still there, and `PgRelation` is told
    // not to close them. The fields read are those that every index has.
    unsafe {
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let oids = PgList::<pg_sys::Oid>::from_pg(pg_sys::RelationGetIndexList(relation.raw()));
        let mut chosen = Vec::new();
        for oid in oids.iter_oid() {
            let raw = pg_sys::try_relation_open(oid, lock);
            if raw.is_null() {
                continue;
            }
            let index = PgRelation::from_pg(raw);
            let form = &*index.rd_index;
            let btree = (*index.rd_rel).relam == pg_sys::BTREE_AM_OID;
            let partial = !pg_sys::RelationGetIndexPredicate(raw).is_null();
            let usable = btree && !partial && form.indisvalid && form.indisready && form.indislive;
            let attnos = form.indkey.values.as_slice(form.indnkeyatts as usize);
            if usable {
                chosen.extend(choose(&index, attnos));
            }
            pg_sys::relation_close(raw, lock);
        }
        chosen
    }
}

/// The index that finds rows by key with least work: key first before tenant first, unique before not. One that does not lead
/// to every row yet only where there is no other.
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
            made: Made::of(index),
            collation,
            tenant_first: position == 1,
            unique: attnos.len() == position + 1 && form.indisunique && form.indimmediate,
        })
    })
    .into_iter()
    .min_by_key(|i| (!i.made.has_every_row(), i.tenant_first, !i.unique))
}

/// An index that begins with a column: the narrowest.
pub(super) fn index_on(relation: &Relation, column: Column) -> Option<Made> {
    usable_indexes(relation, |index, attnos| {
        (attnos.first() == Some(&column.attno)).then(|| (attnos.len(), Made::of(index)))
    })
    .into_iter()
    .min_by_key(|(columns, made)| (!made.has_every_row(), *columns))
    .map(|(_, made)| made)
}
