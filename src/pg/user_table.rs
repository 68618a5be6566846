//! Tables registered as resource types: what their columns are, how a row is found by its key.

mod children;
mod column;
mod index;
mod spots;

use super::relation::{Relation, ScanKey, Tuple, qualified_name};
use super::{invalidation, statement, view};
use crate::error;
use authz_engine::Key;
use children::children;
use index::{Held, Index, Made, best_index, index_on};
use pgrx::pg_sys;
use uuid::Uuid;

pub use column::{Column, ColumnProblem, ColumnType, column, problem};

/// The columns that make a row's boundary, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnNames {
    /// The key.
    pub key: String,
    /// The tenant.
    pub tenant: String,
    /// Optional ones.
    pub organization: Option<String>,
    /// The owning team.
    pub team: Option<String>,
    /// The project.
    pub project: Option<String>,
    /// The owner.
    pub owner: Option<String>,
    /// The level.
    pub confidentiality: Option<String>,
    /// Set or true on soft-deleted rows.
    pub deleted_at: Option<String>,
    /// The parent's key.
    pub parent: Option<String>,
}

#[derive(Clone, Debug)]
struct Columns {
    key: Column,
    tenant: Column,
    organization: Option<Column>,
    team: Option<Column>,
    project: Option<Column>,
    owner: Option<Column>,
    confidentiality: Option<Column>,
    deleted_at: Option<Column>,
    parent: Option<Column>,
}

/// What a row says of its boundary.
#[derive(Debug)]
pub struct Boundary {
    /// The key as stored.
    pub key: Key,
    /// NULL = the platform's.
    pub tenant: Option<Uuid>,
    /// Organization.
    pub organization: Option<Uuid>,
    /// Team.
    pub team: Option<Uuid>,
    /// Project.
    pub project: Option<Uuid>,
    /// Owner.
    pub owner: Option<Uuid>,
    /// The level; `None` where the type has no such column.
    pub confidentiality: Option<Option<String>>,
    /// Soft-deleted?
    pub deleted: bool,
    /// The parent's key.
    pub parent: Option<Key>,
}

/// A table without partitions, or one partition.
#[derive(Clone, Debug)]
struct Leaf {
    oid: pg_sys::Oid,
    columns: Columns,
    index: Option<Index>,
    /// Indexes that begin with the column of a [`Place`].
    places: [Option<Made>; Place::ALL.len()],
    /// Who is detaching it, or what it is part of.
    detached_by: Vec<pg_sys::TransactionId>,
    /// The last message that it is known to be right by.
    as_of: u64,
}

/// A column that says where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The tenant column.
    Tenant,
    /// The organization column.
    Organization,
    /// The team column.
    Team,
    /// The project column.
    Project,
    /// The owner column.
    Owner,
}

impl Place {
    const ALL: [Place; 5] = [
        Place::Tenant,
        Place::Organization,
        Place::Team,
        Place::Project,
        Place::Owner,
    ];

    /// Its column, where the table has such a one.
    const fn column(self, columns: &Columns) -> Option<Column> {
        match self {
            Place::Tenant => Some(columns.tenant),
            Place::Organization => columns.organization,
            Place::Team => columns.team,
            Place::Project => columns.project,
            Place::Owner => columns.owner,
        }
    }
}

/// Where rows are to be looked for.
pub struct Wanted<'a> {
    /// Everywhere: narrowing is no use.
    pub everywhere: bool,
    /// Ids by place.
    pub ids: &'a [(Place, Vec<Uuid>)],
    /// Keys.
    pub keys: &'a [Key],
}

/// A registered table, ready to be searched.
#[derive(Clone, Debug)]
pub struct UserTable {
    /// The type of its key.
    pub key_type: ColumnType,
    /// The type of its parents' keys, as its own column has it.
    pub parent_type: Option<ColumnType>,
    leaves: Vec<Leaf>,
}

impl UserTable {
    /// Looks the table up. The error says what is wrong with it, for explanations.
    pub fn resolve(target: pg_sys::Oid, names: &ColumnNames) -> Result<UserTable, String> {
        let mut leaves = Vec::new();
        let mut todo = vec![(target, Vec::new())];
        while let Some((oid, detached_by)) = todo.pop() {
            invalidation::watch_table(oid);
            let relation = Relation::open(oid).ok_or("its table has been dropped")?;
            if is_temporary(&relation) {
                return Err("its table, or a partition of it, is temporary: no other session can read it".to_owned());
            }
            match kind_of(&relation) {
                b'r' => leaves.push(Leaf {
                    detached_by: detached_by.clone(),
                    ..Leaf::resolve(&relation, names)?
                }),
                b'p' => {}
                _ => return Err("its table, or a partition of it, is not an ordinary table".to_owned()),
            }
            todo.extend(children(oid).into_iter().map(|child| {
                let detached_by = detached_by.iter().copied().chain(child.detached_by);
                (child.oid, detached_by.collect())
            }));
        }
        let relation = Relation::open(target).ok_or("its table has been dropped")?;
        let key = column(&relation, &names.key, ColumnType::KEYS).map_err(|p| problem(&names.key, &p))?;
        let parent = names
            .parent
            .as_deref()
            .map(|name| column(&relation, name, ColumnType::KEYS));
        Ok(UserTable {
            key_type: key.column_type,
            parent_type: parent.and_then(Result::ok).map(|c| c.column_type),
            leaves,
        })
    }

    /// Calls `each` with every visible row at one of the places wanted; with some more than once, and with others
    /// besides where an index is missing. Stops early when it returns false.
    pub fn search(&self, wanted: &Wanted<'_>, mut each: impl FnMut(Boundary) -> bool) {
        let mut more = true;
        let mut each = |row| {
            more = more && each(row);
            more
        };
        self.leaves.iter().for_each(|leaf| leaf.search(wanted, &mut each));
    }

    /// Are there indexes for every place wanted?
    pub fn is_searchable(&self, wanted: &Wanted<'_>) -> bool {
        self.leaves.iter().all(|leaf| leaf.hold_all(wanted).is_some())
    }

    /// Calls `each` with every visible row of that key, and of that tenant if one is given; stops early when it
    /// returns false. A key that the column cannot hold has no rows.
    pub fn find(&self, key: &Key, tenant: Option<Uuid>, mut each: impl FnMut(Boundary, &Tuple<'_>) -> bool) {
        let mut more = true;
        for leaf in &self.leaves {
            if more {
                leaf.find(key, tenant, &mut |boundary, row| {
                    more = each(boundary, row);
                    more
                });
            }
        }
    }
}

impl Leaf {
    fn resolve(relation: &Relation, names: &ColumnNames) -> Result<Leaf, String> {
        let as_of = invalidation::sequence();
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
            detached_by: Vec::new(),
            as_of,
        })
    }

    /// Opens the table, if it is there and still a part. On a standby an unlogged one has no rows, and no storage either.
    fn open(&self) -> Option<Relation> {
        if self.detached_by.iter().any(|by| view::is_seen(*by)) {
            return None;
        }
        let relation = Relation::open(self.oid)?;
        if persistence(&relation) == pg_sys::RELPERSISTENCE_UNLOGGED && statement::is_standby() {
            error::unlogged_on_standby(&qualified_name(self.oid));
        }
        Some(relation)
    }

    /// The index, if it can be searched. Whoever opens the table may have waited for somebody who has dropped it.
    fn hold(&self, index: Made) -> Option<Held> {
        if !index.has_every_row() {
            None
        } else if statement::is_standby() {
            index.hold()
        } else {
            let there = !invalidation::tables_changed_since(self.as_of) || index.exists();
            there.then_some(Held::WITH_ITS_TABLE)
        }
    }

    /// The indexes for every place wanted, if there are such.
    fn hold_all(&self, wanted: &Wanted<'_>) -> Option<Vec<Held>> {
        if wanted.everywhere {
            return None;
        }
        let mut held = Vec::new();
        for (place, ids) in wanted.ids {
            if let Some(column) = place.column(&self.columns).filter(|_| !ids.is_empty()) {
                let index = self.places[*place as usize].filter(|_| column.column_type == ColumnType::Uuid)?;
                held.push(self.hold(index)?);
            }
        }
        if !wanted.keys.is_empty() {
            let index = self.index.filter(|i| !i.tenant_first)?;
            held.push(self.hold(index.made)?);
        }
        Some(held)
    }

    fn search(&self, wanted: &Wanted<'_>, each: &mut impl FnMut(Boundary) -> bool) {
        let Some(relation) = self.open() else {
            return;
        };
        let columns = &self.columns;
        let mut row = |t: &Tuple<'_>| columns.read(t).is_none_or(&mut *each);
        let Some(_held) = self.hold_all(wanted) else {
            relation.scan_active(None, &[], row);
            return;
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
    }

    fn find(&self, key: &Key, tenant: Option<Uuid>, each: &mut dyn FnMut(Boundary, &Tuple<'_>) -> bool) {
        let Some(key_scan) = self.columns.key.equal(key) else {
            return;
        };
        // Dropped between two statements of one function: there is nothing to find.
        let Some(relation) = self.open() else {
            return;
        };
        let tenant_attno = self.columns.tenant.attno;
        // What `each` returns, or `None` for another row.
        let mut row = |t: &Tuple<'_>| {
            let boundary = self.columns.read(t)?;
            // An index can have a collation, or operators, by which other keys are equal.
            let wanted = boundary.key == *key && (tenant.is_none() || boundary.tenant == tenant);
            wanted.then(|| each(boundary, t))
        };
        let Some((index, _held)) = self.index.and_then(|i| Some((i, self.hold(i.made)?))) else {
            relation.scan_active(None, &[key_scan], |t| row(t) != Some(false));
            return;
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
                        return;
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
                    return;
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

impl Columns {
    /// What a row says, if it has a key: one without is nobody's.
    fn read(&self, row: &Tuple<'_>) -> Option<Boundary> {
        let id = |c: Option<Column>| c.and_then(|c| c.id(row));
        Some(Boundary {
            key: self.key.key(row)?,
            tenant: row.uuid(self.tenant.attno),
            organization: id(self.organization),
            team: id(self.team),
            project: id(self.project),
            owner: id(self.owner),
            confidentiality: self.confidentiality.map(|c| c.level(row)),
            deleted: self.deleted_at.is_some_and(|c| c.says_deleted(row)),
            parent: self.parent.and_then(|c| c.key(row)),
        })
    }
}

/// Is it a temporary table, of whatever session?
pub fn is_temporary(relation: &Relation) -> bool {
    persistence(relation) == pg_sys::RELPERSISTENCE_TEMP
}

/// `relpersistence`.
fn persistence(relation: &Relation) -> u8 {
    // SAFETY: an open relation has its pg_class row.
    unsafe { (*(*relation.raw()).rd_rel).relpersistence as u8 }
}

/// `relkind`.
pub fn kind_of(relation: &Relation) -> u8 {
    // SAFETY: an open relation has its pg_class row.
    unsafe { (*(*relation.raw()).rd_rel).relkind as u8 }
}
