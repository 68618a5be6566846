//! The instant that decisions are made at, and stack depth.

use pgrx::pg_sys;

/// When the current statement began. Parallel workers have the leader's.
pub fn statement_start() -> authz_engine::Instant {
    // SAFETY: reads a variable of the backend, which every transaction has set.
    unsafe { pg_sys::GetCurrentStatementStartTimestamp() }
}

/// [`statement_start`] for what is asked for every row of a scan.
pub fn statement_start_fast() -> authz_engine::Instant {
    unsafe extern "C" {
        fn GetCurrentStatementStartTimestamp() -> pg_sys::TimestampTz;
    }
    // SAFETY: returns a variable and cannot raise an error, so that it needs no guard around it.
    unsafe { GetCurrentStatementStartTimestamp() }
}

/// Raises 54001 where the stack is nearly used up: code that recurses over users' input asks first.
pub fn check_stack_depth() {
    // SAFETY: takes no argument and has no effect but the error.
    unsafe { pg_sys::check_stack_depth() }
}
