//! Lines in the server's log that no client sees.

use pgrx::pg_sys;
use std::ffi::{CString, c_char, c_int};

unsafe extern "C-unwind" {
    fn errstart(level: c_int, domain: *const c_char) -> bool;
    fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
}

/// Writes one line, without the statement that led to it. Also while a transaction is being rolled back: a LOG message
/// raises no error, and nothing is sent to a client, so that no cancellation is noticed in the middle.
pub fn line(text: &str) {
    let text = CString::new(text.replace('\0', "")).unwrap_or_default();
    // SAFETY: the sequence of calls that the macro ereport expands to; the strings are NUL-terminated.
    unsafe {
        if errstart(pg_sys::LOG_SERVER_ONLY as c_int, std::ptr::null()) {
            pg_sys::errmsg_internal(c"%s".as_ptr(), text.as_ptr());
            pg_sys::errhidestmt(true);
            pg_sys::errhidecontext(true);
            errfinish(c"authz_ext".as_ptr(), 0, c"line".as_ptr());
        }
    }
}
