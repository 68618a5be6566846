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

/// Do all snapshots of this transaction see what that one did, or at least, on a standby, the running statement's? There the
/// former depends on what goes on at the primary; but nobody there has a snapshot that sees less than a commit before it.
pub fn is_settled(by: pg_sys::TransactionId) -> bool {
    // SAFETY: reads a variable of the backend.
    let (number, oldest) = (by.into_inner(), unsafe { pg_sys::TransactionXmin }.into_inner());
    let special = pg_sys::FirstNormalTransactionId.into_inner();
    let before = if number < special || oldest < special {
        number < oldest
    } else {
        (number.wrapping_sub(oldest) as i32) < 0
    };
    before || is_of_standby() && is_seen(by)
}

/// Does the running statement see what that transaction, which has committed, has done?
pub fn is_seen(by: pg_sys::TransactionId) -> bool {
    // SAFETY: a function that the executor calls has an active snapshot, which stays until we return.
    !unsafe { pg_sys::XidInMVCCSnapshot(by, pg_sys::GetActiveSnapshot()) }
}

/// Does the running statement see the data by a snapshot that was taken on a standby? It may have become a primary since.
pub fn is_of_standby() -> bool {
    // SAFETY: as in `is_seen`.
    unsafe { (*pg_sys::GetActiveSnapshot()).takenDuringRecovery }
}

/// Called when transactions and subtransactions begin or end.
pub fn on_end(_: End) {
    ENDS.fetch_add(1, Relaxed);
}
