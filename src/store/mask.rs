//! What masks and reveals read.

use crate::pg::authority::Reading;
use crate::pg::relation::ScanKey;
use pgrx::pg_sys;
use uuid::Uuid;

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
