//! Where rows were found last, by their keys: the same few are asked about again and again. A hint each: whoever follows it
//! compares the key of what is there.

use crate::pg::relation::Spot;
use authz_engine::Key;
use hashbrown::{DefaultHashBuilder, HashMap};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::hash::BuildHasher;
use uuid::Uuid;

/// More than this are forgotten all at once: 24 bytes each.
const REMEMBERED: usize = 16_384;

thread_local! {
    /// By a hash of table, tenant where keys are of tenants, and key: two of the same hash take each other's place.
    static SPOTS: RefCell<(DefaultHashBuilder, HashMap<u64, Spot>)> = RefCell::default();
}

/// Where the row of that key was.
pub(super) fn known(table: pg_sys::Oid, within: Option<Uuid>, key: &Key) -> Option<Spot> {
    SPOTS.with_borrow(|(hasher, spots)| spots.get(&hasher.hash_one((table.to_u32(), within, key))).copied())
}

/// The row of that key is there.
pub(super) fn note(table: pg_sys::Oid, within: Option<Uuid>, key: &Key, spot: Spot) {
    SPOTS.with_borrow_mut(|(hasher, spots)| {
        if spots.len() >= REMEMBERED {
            spots.clear();
        }
        spots.insert(hasher.hash_one((table.to_u32(), within, key)), spot);
    });
}
