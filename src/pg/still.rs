//! `authz.still(moment)` in PostgreSQL's own calling convention: who sees every row is asked this for each of them, and what
//! guards other functions against errors would cost more than the scan.

use crate::session;
use pgrx::pg_sys;

/// Is it still the session and the statement of that number? Where nobody has asked for the number since the session was
/// set, the answer is no, and the row is decided by itself.
///
/// # Safety
/// Called by PostgreSQL with one argument that is not NULL: the function is STRICT.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn authz_still(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller. What is called reads variables of this backend: no error is raised in it, and no panic.
    let moment = unsafe { (*(*call).args.as_ptr()).value.value() } as i64;
    pg_sys::Datum::from(moment != 0 && session::known_moment() == Some(moment))
}

/// What PostgreSQL asks about the function before it calls it.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_finfo_authz_still() -> *const pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}
