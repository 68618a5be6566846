//! Rows of one table without partitions: by an index that can be trusted now, or by reading all of it.

use super::boundary::{Boundary, ColumnNames, Columns};
use super::column::{ColumnType, column, problem};
use super::index::{Held, Index, Made, best_index, index_on};
use super::{Changed, Place, Wanted, persistence, spots};
use crate::error;
use crate::pg::relation::{Relation, ScanKey, Tuple, qualified_name};
use crate::pg::{invalidation, statement, view};
use authz_engine::Key;
use pgrx::pg_sys;
use uuid::Uuid;

/// A table without partitions, or one partition.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    oid: pg_sys::Oid,
    columns: Columns,
    index: Option<Index>,
    /// Indexes that begin with the column of a [`Place`].
    places: [Option<Made>; Place::ALL.len()],
    /// Who is detaching it, or what it is part of.
    detached_by: Vec<pg_sys::TransactionId>,
    /// The last message before any of the table was looked up.
    as_of: u64,
}

impl Leaf {
    /// Looks up its columns and indexes. The error says what is wrong with it, for explanations.
    pub fn resolve(
        relation: &Relation,
        names: &ColumnNames,
        detached_by: Vec<pg_sys::TransactionId>,
        as_of: u64,
    ) -> Result<Leaf, String> {
        let need = |name: &str, types| column(relation, name, types).map_err(|p| problem(name, &p));
        let may = |name: &Option<String>, types| name.as_deref().map(|n| need(n, types)).transpose();
        let columns = Columns {
            key: need(&names.key, ColumnType::KEYS)?,
            tenant: need(&names.tenant, &[ColumnType::Uuid])?,
            organization: may(&names.organization, ColumnType::REFERENCES)?,
            team: may(&names.team, ColumnType::REFERENCES)?,
            project: may(&names.project, ColumnType::REFERENCES)?,
            owner: may(&names.owner, ColumnType::REFERENCES)?,
            confidentiality: may(&names.confidentiality, ColumnType::LEVELS)?,
            deleted_at: may(&names.deleted_at, ColumnType::DELETIONS)?,
            parent: may(&names.parent, ColumnType::KEYS)?,
        };
        Ok(Leaf {
            oid: relation.oid(),
            index: best_index(relation, &columns),
            places: Place::ALL.map(|p| p.column(&columns).and_then(|c| index_on(relation, c))),
            columns,
            detached_by,
            as_of,
        })
    }

    /// Is all that was looked up still so? What has been locked stays so; who waits for a lock learns what others have done.
    fn check(&self) -> Result<(), Changed> {
        if invalidation::tables_changed_since(self.as_of) {
            Err(Changed)
        } else {
            Ok(())
        }
    }

    /// Opens the table, if the running statement sees that it is a part. On a standby an unlogged one has no rows, and no storage
    /// either.
    fn open(&self) -> Result<Option<Relation>, Changed> {
        if self.detached_by.iter().any(|by| view::is_seen(*by)) {
            return Ok(None);
        }
        let relation = Relation::open(self.oid);
        self.check()?;
        if let Some(relation) = &relation
            && persistence(relation) == pg_sys::RELPERSISTENCE_UNLOGGED
            && statement::is_standby()
        {
            error::unlogged_on_standby(&qualified_name(self.oid));
        }
        Ok(relation)
    }

    /// The index, if there is one and it can be searched.
    fn hold(&self, index: Option<Made>) -> Result<Option<Held>, Changed> {
        let Some(index) = index.filter(|i| i.has_every_row()) else {
            return Ok(None);
        };
        let held = if statement::is_standby() {
            index.hold()
        } else {
            Held::WITH_ITS_TABLE
        };
        self.check()?;
        Ok(Some(held))
    }

    /// The indexes for every place wanted, if there are such.
    pub fn hold_all(&self, wanted: &Wanted<'_>) -> Result<Option<Vec<Held>>, Changed> {
        if wanted.everywhere {
            return Ok(None);
        }
        let mut needed = Vec::new();
        for (place, ids) in wanted.ids {
            if let Some(column) = place.column(&self.columns).filter(|_| !ids.is_empty()) {
                needed.push(self.places[*place as usize].filter(|_| column.column_type == ColumnType::Uuid));
            }
        }
        if !wanted.keys.is_empty() {
            needed.push(self.index.filter(|i| !i.tenant_first).map(|i| i.made));
        }
        let mut held = Vec::new();
        for index in needed {
            let Some(index) = self.hold(index)? else {
                return Ok(None);
            };
            held.push(index);
        }
        Ok(Some(held))
    }

    /// As [`UserTable::search`](super::UserTable::search).
    pub fn search(&self, wanted: &Wanted<'_>, each: &mut impl FnMut(Boundary) -> bool) -> Result<(), Changed> {
        let Some(relation) = self.open()? else {
            return Ok(());
        };
        let columns = &self.columns;
        let mut row = |t: &Tuple<'_>| columns.read(t).is_none_or(&mut *each);
        let Some(_held) = self.hold_all(wanted)? else {
            relation.scan_active(None, &[], row);
            return Ok(());
        };
        for (place, ids) in wanted.ids {
            if let (Some(column), Some(index)) = (place.column(columns), self.places[*place as usize]) {
                for id in ids {
                    relation.scan_active(Some(index.oid), &[ScanKey::uuid(column.attno, id)], &mut row);
                }
            }
        }
        if let Some(index) = self.index {
            for key in wanted.keys.iter().filter_map(|k| columns.key.equal(k)) {
                relation.scan_active(Some(index.made.oid), &[key.collated(index.collation)], &mut row);
            }
        }
        Ok(())
    }

    /// As [`UserTable::find`](super::UserTable::find).
    pub fn find(
        &self,
        key: &Key,
        tenant: Option<Uuid>,
        each: &mut dyn FnMut(Boundary, &Tuple<'_>) -> bool,
    ) -> Result<(), Changed> {
        let Some(key_scan) = self.columns.key.equal(key) else {
            return Ok(());
        };
        let Some(relation) = self.open()? else {
            return Ok(());
        };
        let tenant_attno = self.columns.tenant.attno;
        // What `each` returns, or `None` for another row.
        let mut row = |t: &Tuple<'_>| {
            let boundary = self.columns.read(t)?;
            // An index can have a collation, or operators, by which other keys are equal.
            let wanted = boundary.key == *key && (tenant.is_none() || boundary.tenant == tenant);
            wanted.then(|| each(boundary, t))
        };
        let held = self.hold(self.index.map(|i| i.made))?;
        let (Some(index), Some(_held)) = (self.index, held) else {
            relation.scan_active(None, &[key_scan], |t| row(t) != Some(false));
            return Ok(());
        };
        let key_scan = key_scan.collated(index.collation);
        match tenant {
            None if index.tenant_first => {
                // Only (tenant, key): visit each tenant that the index has, one descent for it and one for the key.
                let mut last = None;
                let mut more = true;
                while let Some(tenant) = next_tenant(&relation, index.made.oid, tenant_attno, last) {
                    let keys = [ScanKey::uuid(tenant_attno, &tenant), key_scan];
                    relation.scan_active(Some(index.made.oid), &keys, |t| {
                        more = row(t) != Some(false);
                        more
                    });
                    if !more {
                        return Ok(());
                    }
                    last = Some(tenant);
                }
                // Rows of no tenant come last in the index.
                let keys = [ScanKey::null(tenant_attno), key_scan];
                relation.scan_active(Some(index.made.oid), &keys, |t| row(t) != Some(false));
            }
            _ => {
                let within = tenant.filter(|_| index.tenant_first);
                let unique = index.is_unique();
                // What is visible where the row was found last, and has the key, is the only row that has it.
                if unique
                    && let Some(spot) = spots::known(self.oid, within, key)
                    && relation.revisit(spot, |t| row(t).is_some())
                {
                    return Ok(());
                }
                let keys = match &within {
                    Some(tenant) => vec![ScanKey::uuid(tenant_attno, tenant), key_scan],
                    None => vec![key_scan],
                };
                relation.scan_active(Some(index.made.oid), &keys, |t| {
                    if let Some(spot) = t.spot().filter(|_| unique) {
                        spots::note(self.oid, within, key, spot);
                    }
                    row(t) != Some(false) && !unique
                });
            }
        }
        Ok(())
    }
}

/// The lowest tenant above `last` that has a visible row.
fn next_tenant(relation: &Relation, index: pg_sys::Oid, attno: i16, last: Option<Uuid>) -> Option<Uuid> {
    let key = last.as_ref().map(|last| ScanKey::uuid_above(attno, last));
    let mut found = None;
    relation.scan_active(Some(index), key.as_slice(), |t| {
        found = t.uuid(attno);
        false
    });
    found
}
