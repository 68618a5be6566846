//! What masks and reveals read.

use crate::pg::authority::Reading;
use crate::pg::relation::{Relation, ScanKey};
use pgrx::pg_sys;
use uuid::Uuid;

/// How sensitive a column is: from what everybody may see to what nearly nobody may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Public,
    Internal,
    Confidential,
    Pii,
    SensitivePii,
    Secret,
}

impl Class {
    const ALL: [Class; 6] = [
        Class::Public,
        Class::Internal,
        Class::Confidential,
        Class::Pii,
        Class::SensitivePii,
        Class::Secret,
    ];

    /// Its name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Public => "public",
            Class::Internal => "internal",
            Class::Confidential => "confidential",
            Class::Pii => "pii",
            Class::SensitivePii => "sensitive_pii",
            Class::Secret => "secret",
        }
    }

    /// By its name.
    pub fn of(name: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.name() == name)
    }
}

/// The class of a column; of one that nobody has classified, internal where it says where the row belongs, and else
/// secret.
pub fn class_of(table: pg_sys::Oid, column: i16) -> Class {
    let reading = Reading::begin();
    let classes = reading.open("data_classification");
    let [target, attnum, classification, dropped_at] =
        classes.columns(["target", "attnum", "classification", "dropped_at"]);
    let mut found = None;
    let keys = [ScanKey::oid(target, table), ScanKey::int2(attnum, column)];
    classes.scan("data_classification_column_key", &keys, |row| {
        if row.is_null(dropped_at) {
            found = row.text(classification);
        }
        found.is_none()
    });
    match found {
        Some(class) => Class::of(&class).unwrap_or(Class::Secret),
        None if is_boundary(&reading, table, column) => Class::Internal,
        None => Class::Secret,
    }
}

/// Is it one of the columns that a registered table's rows say with where they belong?
fn is_boundary(reading: &Reading, table: pg_sys::Oid, column: i16) -> bool {
    let types = reading.open("resource_type");
    let [target] = types.columns(["target"]);
    let names = types.columns([
        "key_column",
        "tenant_column",
        "organization_column",
        "team_column",
        "project_column",
        "owner_column",
        "confidentiality_column",
        "deleted_at_column",
        "parent_column",
    ]);
    let mut found = false;
    types.scan_all(|row| {
        if row.oid(target) == Some(table)
            && let Some(relation) = Relation::open(table)
        {
            found |= names
                .iter()
                .filter_map(|name| row.name(*name))
                .any(|name| relation.column(&name) == Some(column));
        }
    });
    found
}

/// The column that a classification is of, unless it is gone.
pub fn classified(id: &Uuid) -> Option<(pg_sys::Oid, i16)> {
    let reading = Reading::begin();
    let table = reading.open("data_classification");
    let [key, target, attnum, dropped_at] = table.columns(["classification_id", "target", "attnum", "dropped_at"]);
    let mut found = None;
    table.scan("data_classification_pkey", &[ScanKey::uuid(key, id)], |row| {
        if row.is_null(dropped_at) {
            found = row.oid(target).zip(row.int2(attnum));
        }
        false
    });
    found
}

/// The key of hash masks.
pub fn secret() -> Option<Vec<u8>> {
    let reading = Reading::begin();
    let table = reading.open("mask_secret");
    let [secret] = table.columns(["secret"]);
    let mut found = None;
    table.scan_all(|row| found = row.bytes(secret));
    found
}

/// What became of a reveal that was to be counted: was it within the limit? `None`: it was not counted.
pub fn charged(charge: &Uuid) -> Option<bool> {
    let reading = Reading::begin();
    let table = reading.open("reveal_charge");
    let [key, allowed] = table.columns(["charge_id", "allowed"]);
    let mut found = None;
    table.scan("reveal_charge_pkey", &[ScanKey::uuid(key, charge)], |row| {
        found = row.bool(allowed);
        false
    });
    found
}
