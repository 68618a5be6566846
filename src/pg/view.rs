//! What a statement sees of the data, as a name that remembered rows can be filed under.

use super::clock;
use super::transaction::End;
use pgrx::pg_sys;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts beginnings and ends of transactions and subtransactions: what was written in them may be gone.
static ENDS: AtomicU64 = AtomicU64::new(0);

/// Two equal ones see the same rows. In one transaction the set of running transactions below `xmax` can only become
/// smaller, so that its size names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    ends: u64,
    statement: i64,
    xmin: u32,
    xmax: u32,
    running: (u32, i32),
    command: u32,
}

impl View {
    /// That of the running statement; `None` where there is none, or where rows are seen that are not committed.
    pub fn current() -> Option<View> {
        // SAFETY: whether there is a snapshot is asked first; it stays until we return.
        unsafe {
            if !pg_sys::ActiveSnapshotSet() {
                return None;
            }
            let snapshot = &*pg_sys::GetActiveSnapshot();
            (snapshot.snapshot_type == pg_sys::SnapshotType::SNAPSHOT_MVCC).then(|| View {
                ends: ENDS.load(Relaxed),
                statement: clock::statement_start(),
                xmin: snapshot.xmin.into_inner(),
                xmax: snapshot.xmax.into_inner(),
                running: (snapshot.xcnt, snapshot.subxcnt),
                command: snapshot.curcid,
            })
        }
    }
}

/// Called when transactions and subtransactions begin or end.
pub fn on_end(_: End) {
    ENDS.fetch_add(1, Relaxed);
}
