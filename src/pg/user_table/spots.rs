//! Where rows were found last, by their keys: the same few are asked about again and again. A hint each: whoever follows it
//! compares the key of what is there.

use crate::pg::relation::Spot;
use authz_engine::Key;
use hashbrown::DefaultHashBuilder;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::hash::BuildHasher;
use uuid::Uuid;

/// Sets of four: 32,768 rows in half a megabyte. A power of two.
const SETS: usize = 8_192;

/// What a hash of table, tenant where keys are of tenants, and key has beside the number of its set. Two of the same take each
/// other's place.
#[derive(Clone, Copy, Default)]
struct Entry {
    tag: u32,
    spot: Spot,
}

/// The one used last comes first, and the last one makes room. A line of the processor's cache: a row costs one memory access
/// to look up, where a hash table takes two.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Set([Entry; 4]);

const _: () = assert!(size_of::<Set>() == 64);

#[derive(Default)]
struct Spots {
    hasher: DefaultHashBuilder,
    /// None until the first row is found.
    sets: Vec<Set>,
}

impl Spots {
    /// The set of a row, its tag, and the position of its entry.
    fn place(&mut self, table: pg_sys::Oid, within: Option<Uuid>, key: &Key) -> Option<(&mut Set, u32, Option<usize>)> {
        let hash = self.hasher.hash_one((table.to_u32(), within, key));
        // No entry that is in use has the tag 0.
        let tag = (hash >> 32) as u32 | 1;
        let set = self.sets.get_mut(hash as usize % SETS)?;
        let at = set.0.iter().position(|entry| entry.tag == tag);
        Some((set, tag, at))
    }
}

impl Set {
    /// Makes an entry the first.
    fn bring_to_front(&mut self, at: usize) -> &mut Entry {
        self.0[..=at].rotate_right(1);
        &mut self.0[0]
    }
}

thread_local! {
    static SPOTS: RefCell<Spots> = RefCell::default();
}

/// Where the row of that key was.
pub(super) fn known(table: pg_sys::Oid, within: Option<Uuid>, key: &Key) -> Option<Spot> {
    SPOTS.with_borrow_mut(|spots| {
        let (set, _, at) = spots.place(table, within, key)?;
        Some(set.bring_to_front(at?).spot)
    })
}

/// The row of that key is there.
pub(super) fn note(table: pg_sys::Oid, within: Option<Uuid>, key: &Key, spot: Spot) {
    SPOTS.with_borrow_mut(|spots| {
        if spots.sets.is_empty() {
            spots.sets = vec![Set::default(); SETS];
        }
        if let Some((set, tag, at)) = spots.place(table, within, key) {
            *set.bring_to_front(at.unwrap_or(set.0.len() - 1)) = Entry { tag, spot };
        }
    });
}
