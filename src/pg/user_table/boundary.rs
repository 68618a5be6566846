//! What the columns of a registered table say of where its rows are.

use super::column::Column;
use crate::pg::relation::Tuple;
use authz_engine::Key;
use uuid::Uuid;

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

/// The same columns, as a table has them.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub key: Column,
    pub tenant: Column,
    pub organization: Option<Column>,
    pub team: Option<Column>,
    pub project: Option<Column>,
    pub owner: Option<Column>,
    pub confidentiality: Option<Column>,
    pub deleted_at: Option<Column>,
    pub parent: Option<Column>,
}

/// What a row says of its boundary.
#[derive(Clone, Debug)]
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

impl Columns {
    /// What a row says, if it has a key: one without is nobody's.
    pub fn read(&self, row: &Tuple<'_>) -> Option<Boundary> {
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
