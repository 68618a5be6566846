//! Doing something that may fail, and going on.

use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgSqlErrorCode, PgTryBuilder, pg_sys};
use std::panic::AssertUnwindSafe;

/// Runs `f` in a subtransaction, which is kept if `keep`. Whatever error `f` raised is undone and raised again.
fn run(keep: bool, f: impl FnOnce()) -> Result<(), Box<CaughtError>> {
    // SAFETY: as PL/pgSQL runs a block with EXCEPTION: memory context and resource owner are put back, and whatever
    // happens in between, the subtransaction that was begun here is ended here.
    unsafe {
        let (context, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        let mut f = Some(f);
        let result = PgTryBuilder::new(AssertUnwindSafe(|| {
            if let Some(f) = f.take() {
                f();
            }
            Ok(())
        }))
        .catch_others(|error| Err(Box::new(error)))
        .execute();
        pg_sys::MemoryContextSwitchTo(context);
        if keep && result.is_ok() {
            pg_sys::ReleaseCurrentSubTransaction();
        } else {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
        result
    }
}

/// Finds out whether `f` would succeed, and undoes it; its error is raised.
pub fn rehearse(f: impl FnOnce()) {
    if let Err(error) = run(false, f) {
        error.rethrow();
    }
}

/// Runs `f`; false if it has failed, and was undone. Whoever wants to end the statement is not kept from it.
pub fn attempt(f: impl FnOnce()) -> bool {
    let Err(error) = run(true, f) else {
        return true;
    };
    let ends = match &*error {
        CaughtError::PostgresError(error) | CaughtError::ErrorReport(error) => matches!(
            error.sql_error_code(),
            PgSqlErrorCode::ERRCODE_QUERY_CANCELED | PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN
        ),
        CaughtError::RustPanic { .. } => true,
    };
    if ends {
        error.rethrow();
    }
    false
}

/// Runs `f`; false if it has failed, for whatever reason, and was undone.
pub fn try_to(f: impl FnOnce()) -> bool {
    run(true, f).is_ok()
}

/// Is a subtransaction open?
pub fn is_nested() -> bool {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::GetCurrentTransactionNestLevel() > 1 }
}

/// Is a parallel query being executed, so that nothing can be written, and no subtransaction begun?
pub fn in_parallel() -> bool {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::IsInParallelMode() }
}
