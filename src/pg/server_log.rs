//! Lines in the server's log that no client sees.

use pgrx::pg_sys;
use std::ffi::{CString, c_char, c_int};

unsafe extern "C-unwind" {
    fn errstart(level: c_int, domain: *const c_char) -> bool;
    fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
}

/// Runs `f` while no cancellation is noticed: reporting any message, also one for the log alone, ends with looking for one,
/// and would jump over everything that Rust has still to do.
pub fn uninterrupted(f: impl FnOnce()) {
    // SAFETY: a variable of the backend, as the macros HOLD_INTERRUPTS and RESUME_INTERRUPTS use it. An error sets it to 0.
    unsafe {
        pg_sys::InterruptHoldoffCount += 1;
        f();
        pg_sys::InterruptHoldoffCount -= 1;
    }
}

/// Writes one line, without the statement that led to it. Neither fails nor is cancelled, also while a transaction is being
/// rolled back.
pub fn line(text: &str) {
    let text = CString::new(text.replace('\0', "")).unwrap_or_default();
    // SAFETY: the sequence of calls that the macro ereport expands to; the strings are NUL-terminated.
    uninterrupted(|| unsafe {
        if errstart(pg_sys::LOG_SERVER_ONLY as c_int, std::ptr::null()) {
            pg_sys::errmsg_internal(c"%s".as_ptr(), text.as_ptr());
            pg_sys::errhidestmt(true);
            pg_sys::errhidecontext(true);
            errfinish(c"authz_ext".as_ptr(), 0, c"line".as_ptr());
        }
    });
}
