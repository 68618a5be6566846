//! Columns that say something of a row's boundary.

use crate::pg::relation::{Relation, ScanKey, Tuple};
use authz_engine::Key;
use pgrx::pg_sys;
use uuid::Uuid;

/// The types that boundary columns may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `uuid`
    Uuid,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `text` or `varchar`
    Text,
    /// `boolean`
    Bool,
    /// `timestamptz`, `timestamp` or `date`
    Time,
    /// An enum.
    Enum,
}

impl ColumnType {
    /// Types that a key may have: those whose equality is equality of the canonical text.
    pub const KEYS: &[ColumnType] = &[
        ColumnType::Uuid,
        ColumnType::Int2,
        ColumnType::Int4,
        ColumnType::Int8,
        ColumnType::Text,
    ];
    /// Types that a reference to a scope or an owner may have.
    pub const REFERENCES: &[ColumnType] = &[ColumnType::Uuid, ColumnType::Text];
    /// Types that a level may have.
    pub const LEVELS: &[ColumnType] = &[ColumnType::Text, ColumnType::Enum];
    /// Types that may say that a row is deleted: a time that is set, or a boolean that is true.
    pub const DELETIONS: &[ColumnType] = &[ColumnType::Time, ColumnType::Bool];

    fn of(oid: pg_sys::Oid) -> Option<ColumnType> {
        Some(match oid {
            pg_sys::UUIDOID => ColumnType::Uuid,
            pg_sys::INT2OID => ColumnType::Int2,
            pg_sys::INT4OID => ColumnType::Int4,
            pg_sys::INT8OID => ColumnType::Int8,
            pg_sys::TEXTOID | pg_sys::VARCHAROID => ColumnType::Text,
            pg_sys::BOOLOID => ColumnType::Bool,
            pg_sys::TIMESTAMPTZOID | pg_sys::TIMESTAMPOID | pg_sys::DATEOID => ColumnType::Time,
            // SAFETY: a syscache look-up.
            other if unsafe { pg_sys::type_is_enum(other) } => ColumnType::Enum,
            _ => return None,
        })
    }
}

/// A column of a registered table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub(super) attno: i16,
    /// Its type.
    pub column_type: ColumnType,
    collation: pg_sys::Oid,
}

/// Why a column cannot be used.
pub enum ColumnProblem {
    /// There is none of that name.
    Missing,
    /// Its type is not one of those wanted; this is its name.
    WrongType(String),
    /// Its collation takes different texts for equal.
    Nondeterministic,
    /// It is generated when it is read: rows do not have it.
    Virtual,
}
impl Column {
    pub(super) fn key(self, row: &Tuple<'_>) -> Option<Key> {
        match self.column_type {
            ColumnType::Uuid => row.uuid(self.attno).map(Key::Uuid),
            ColumnType::Int2 => row.int2(self.attno).map(|i| Key::Int(i.into())),
            ColumnType::Int4 => row.int4(self.attno).map(|i| Key::Int(i.into())),
            ColumnType::Int8 => row.int8(self.attno).map(Key::Int),
            _ => row.text(self.attno).map(|t| Key::from_text(&t)),
        }
    }

    pub(super) fn id(self, row: &Tuple<'_>) -> Option<Uuid> {
        match self.column_type {
            ColumnType::Uuid => row.uuid(self.attno),
            _ => row.text(self.attno).and_then(|t| Uuid::try_parse(&t).ok()),
        }
    }

    pub(super) fn level(self, row: &Tuple<'_>) -> Option<String> {
        match self.column_type {
            ColumnType::Enum => row.enum_label(self.attno),
            _ => row.text(self.attno),
        }
    }

    pub(super) fn says_deleted(self, row: &Tuple<'_>) -> bool {
        match self.column_type {
            ColumnType::Bool => row.bool(self.attno) == Some(true),
            _ => !row.is_null(self.attno),
        }
    }

    /// `column = key`; `None` where the column cannot hold such a key.
    pub(super) fn equal(self, key: &Key) -> Option<ScanKey> {
        match (self.column_type, key) {
            (ColumnType::Uuid, Key::Uuid(id)) => Some(ScanKey::uuid(self.attno, id)),
            (ColumnType::Int2, Key::Int(i)) => Some(ScanKey::int2(self.attno, i16::try_from(*i).ok()?)),
            (ColumnType::Int4, Key::Int(i)) => Some(ScanKey::int4(self.attno, i32::try_from(*i).ok()?)),
            (ColumnType::Int8, Key::Int(i)) => Some(ScanKey::int8(self.attno, *i)),
            (ColumnType::Text, Key::Text(t)) => Some(ScanKey::text(self.attno, t).collated(self.collation)),
            (ColumnType::Text, key) => Some(ScanKey::text(self.attno, &key.to_string()).collated(self.collation)),
            _ => None,
        }
    }
}

/// Looks for a column of one of the types wanted.
pub fn column(relation: &Relation, name: &str, wanted: &[ColumnType]) -> Result<Column, ColumnProblem> {
    let attno = relation.column(name).filter(|a| *a > 0).ok_or(ColumnProblem::Missing)?;
    let (mut type_oid, mut typmod, mut collation) = (pg_sys::InvalidOid, 0, pg_sys::InvalidOid);
    // SAFETY: syscache look-ups for a column that is there; the results are written to our variables.
    unsafe { pg_sys::get_atttypetypmodcoll(relation.oid(), attno, &mut type_oid, &mut typmod, &mut collation) };
    // SAFETY: a syscache look-up.
    if unsafe { pg_sys::get_attgenerated(relation.oid(), attno) } as u8 == b'v' {
        return Err(ColumnProblem::Virtual);
    }
    match ColumnType::of(type_oid).filter(|t| wanted.contains(t)) {
        None => Err(ColumnProblem::WrongType(type_name(type_oid))),
        // SAFETY: a syscache look-up.
        Some(ColumnType::Text) if !unsafe { pg_sys::get_collation_isdeterministic(collation) } => {
            Err(ColumnProblem::Nondeterministic)
        }
        Some(column_type) => Ok(Column {
            attno,
            column_type,
            collation,
        }),
    }
}

/// The problem in words.
pub fn problem(name: &str, problem: &ColumnProblem) -> String {
    match problem {
        ColumnProblem::Missing => format!("its table has no column \"{name}\""),
        ColumnProblem::WrongType(t) => format!("its column \"{name}\" is of type {t}"),
        ColumnProblem::Nondeterministic => format!("its column \"{name}\" has a nondeterministic collation"),
        ColumnProblem::Virtual => format!("its column \"{name}\" is a virtual generated column"),
    }
}

fn type_name(oid: pg_sys::Oid) -> String {
    // SAFETY: `format_type_be` answers a palloc'ed string for every OID, unknown ones included.
    unsafe { std::ffi::CStr::from_ptr(pg_sys::format_type_be(oid)) }
        .to_string_lossy()
        .into_owned()
}
