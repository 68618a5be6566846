//! Histories of a resource's boundary: tables of the application that say what an attribute was, and from when until
//! when.

use super::user_table::{Boundary, Changed, ColumnNames, UserTable};
use authz_engine::{Instant, Interval, Key};
use pgrx::pg_sys;
use uuid::Uuid;

/// What a history is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// The owner.
    Owner,
    /// The organization.
    Organization,
    /// The team.
    Team,
    /// The project.
    Project,
    /// The level.
    Confidentiality,
}

impl Attribute {
    /// As `authz.resource_history.attribute` has it.
    pub fn from_text(name: &str) -> Option<Attribute> {
        Some(match name {
            "owner" => Attribute::Owner,
            "organization" => Attribute::Organization,
            "team" => Attribute::Team,
            "project" => Attribute::Project,
            "confidentiality" => Attribute::Confidentiality,
            _ => return None,
        })
    }

    /// The same name.
    pub const fn name(self) -> &'static str {
        match self {
            Attribute::Owner => "owner",
            Attribute::Organization => "organization",
            Attribute::Team => "team",
            Attribute::Project => "project",
            Attribute::Confidentiality => "confidentiality",
        }
    }
}

/// A registered history: a table and its columns.
#[derive(Clone, Debug)]
pub struct HistoryNames {
    /// What it is of.
    pub attribute: Attribute,
    /// The table.
    pub target: pg_sys::Oid,
    /// Its column with the resource's key.
    pub key: String,
    /// The resource's tenant.
    pub tenant: String,
    /// What the attribute was.
    pub value: String,
    /// From when.
    pub from: String,
    /// Until when; NULL = still.
    pub until: String,
    /// Rows in which this column has this value are of this attribute, others are of others.
    pub only: Option<(String, String)>,
}

/// A history, ready to be searched; one that cannot be used knows nothing.
pub struct History {
    names: HistoryNames,
    table: Option<UserTable>,
}

impl History {
    /// Looks the table up.
    pub fn resolve(names: &HistoryNames) -> History {
        let columns = ColumnNames {
            key: names.key.clone(),
            tenant: names.tenant.clone(),
            ..ColumnNames::default()
        };
        let value = Some(names.value.clone());
        let columns = match names.attribute {
            Attribute::Confidentiality => ColumnNames {
                confidentiality: value,
                ..columns
            },
            _ => ColumnNames {
                owner: value,
                ..columns
            },
        };
        History {
            table: UserTable::resolve(names.target, &columns).ok(),
            names: names.clone(),
        }
    }

    /// What it is of.
    pub const fn attribute(&self) -> Attribute {
        self.names.attribute
    }

    /// Puts what the attribute was at `at` into the boundary. A resource that the history does not mention at all keeps
    /// what it has; one that it mentions, but not for that instant, had none. A history that cannot be used is of no
    /// resource, so that nobody was allowed anything by it.
    pub fn apply(&self, boundary: &mut Boundary, at: Instant) -> Result<(), Changed> {
        let found = match &self.table {
            Some(table) => match self.find(table, &boundary.key, boundary.tenant, at)? {
                None => return Ok(()),
                Some(found) => found,
            },
            None => None,
        };
        let id = found.as_ref().and_then(|f| f.owner);
        match self.names.attribute {
            Attribute::Owner => boundary.owner = id,
            Attribute::Organization => boundary.organization = id,
            Attribute::Team => boundary.team = id,
            Attribute::Project => boundary.project = id,
            Attribute::Confidentiality => {
                boundary.confidentiality = Some(found.and_then(|f| f.confidentiality.flatten()))
            }
        }
        Ok(())
    }

    /// The row in force at `at`, of several the one that began last; the outer `None` is: no row of that key at all.
    fn find(
        &self,
        table: &UserTable,
        key: &Key,
        tenant: Option<Uuid>,
        at: Instant,
    ) -> Result<Option<Option<Boundary>>, Changed> {
        let mut mentioned = false;
        let mut newest: Option<(Instant, Boundary)> = None;
        table.find(key, tenant, |row, tuple| {
            mentioned = true;
            let of_attribute = self.names.only.as_ref().is_none_or(|(column, value)| {
                tuple.column(column).and_then(|c| tuple.text(c)).as_deref() == Some(value)
            });
            let instant = |name: &str| tuple.column(name).and_then(|c| tuple.instant(c));
            let valid = Interval::new(
                instant(&self.names.from).unwrap_or(Instant::MAX),
                instant(&self.names.until).unwrap_or(Instant::MAX),
            );
            let newer = newest.as_ref().is_none_or(|(from, _)| valid.from >= *from);
            if of_attribute && valid.contains(at) && newer {
                newest = Some((valid.from, row));
            }
            true
        })?;
        Ok(mentioned.then(|| newest.map(|(_, row)| row)))
    }
}
