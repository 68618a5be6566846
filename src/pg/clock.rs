//! The instant that decisions are made at, and stack depth.

use authz_engine::Instant;
use pgrx::pg_sys;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Decisions are not made at an instant before the newest authority that they are made by.
static NOT_BEFORE: AtomicI64 = AtomicI64::new(i64::MIN);

/// The instant to decide at: when the statement began, or, if something was loaded since, when that was. A statement
/// that has waited (for a row lock, or in a loop) would otherwise decide by what was revoked while it waited: a binding
/// that ended after it began, or a deny that began after it began.
pub fn now() -> Instant {
    statement_start().max(NOT_BEFORE.load(Relaxed))
}

/// What the clock says.
pub fn wall() -> Instant {
    // SAFETY: asks the operating system for the time.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// Called after a snapshot was taken to load something by: whatever it shows was made by now.
pub fn advance() {
    NOT_BEFORE.fetch_max(wall(), Relaxed);
}

/// When the current statement began. Parallel workers have the leader's. Asked for every row of a scan.
pub fn statement_start() -> Instant {
    unsafe extern "C" {
        fn GetCurrentStatementStartTimestamp() -> pg_sys::TimestampTz;
    }
    // SAFETY: returns a variable of the backend, which every transaction has set, and cannot raise an error, so that it
    // needs no guard around it.
    unsafe { GetCurrentStatementStartTimestamp() }
}

/// When the current transaction began: `now()` in SQL.
pub fn transaction_start() -> Instant {
    // SAFETY: returns a variable of the backend, which every transaction has set.
    unsafe { pg_sys::GetCurrentTransactionStartTimestamp() }
}

/// Raises 54001 where the stack is nearly used up: code that recurses over users' input asks first.
pub fn check_stack_depth() {
    // SAFETY: takes no argument and has no effect but the error.
    unsafe { pg_sys::check_stack_depth() }
}
