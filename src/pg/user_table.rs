//! Tables registered as resource types: what their columns are, how a row is found by its key.

mod boundary;
mod children;
mod column;
mod index;
mod leaf;
mod spots;

use super::invalidation;
use super::relation::{Relation, Tuple};
use authz_engine::Key;
use boundary::Columns;
use children::children;
use leaf::Leaf;
use pgrx::pg_sys;
use uuid::Uuid;

pub use boundary::{Boundary, ColumnNames};
pub use column::{Column, ColumnProblem, ColumnType, column, problem};

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

/// The table, or a part of it, is not what it was when it was looked up: whoever reads it may have waited for somebody who has
/// changed it. It has to be looked up again, as PostgreSQL plans a query again, and read from the beginning.
#[derive(Debug)]
pub struct Changed;

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
        let as_of = invalidation::sequence();
        let mut leaves = Vec::new();
        let mut todo = vec![(target, Vec::new())];
        while let Some((oid, detached_by)) = todo.pop() {
            invalidation::watch_table(oid);
            let relation = Relation::open(oid).ok_or("its table has been dropped")?;
            if is_temporary(&relation) {
                return Err("its table, or a partition of it, is temporary: no other session can read it".to_owned());
            }
            match kind_of(&relation) {
                b'r' => leaves.push(Leaf::resolve(&relation, names, detached_by.clone(), as_of)?),
                b'p' => {}
                _ => return Err("its table, or a partition of it, is not an ordinary table".to_owned()),
            }
            todo.extend(children(oid).into_iter().map(|child| {
                let mut by = detached_by.clone();
                by.extend(child.detached_by);
                (child.oid, by)
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
    pub fn search(&self, wanted: &Wanted<'_>, mut each: impl FnMut(Boundary) -> bool) -> Result<(), Changed> {
        let mut more = true;
        let mut each = |row| {
            more = more && each(row);
            more
        };
        self.leaves.iter().try_for_each(|leaf| leaf.search(wanted, &mut each))
    }

    /// Are there indexes for every place wanted?
    pub fn is_searchable(&self, wanted: &Wanted<'_>) -> Result<bool, Changed> {
        for leaf in &self.leaves {
            if leaf.hold_all(wanted)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Calls `each` with every visible row of that key, and of that tenant if one is given; stops early when it
    /// returns false. A key that the column cannot hold has no rows.
    pub fn find(
        &self,
        key: &Key,
        tenant: Option<Uuid>,
        mut each: impl FnMut(Boundary, &Tuple<'_>) -> bool,
    ) -> Result<(), Changed> {
        let mut more = true;
        for leaf in &self.leaves {
            if more {
                leaf.find(key, tenant, &mut |boundary, row| {
                    more = each(boundary, row);
                    more
                })?;
            }
        }
        Ok(())
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
