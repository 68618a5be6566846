//! Settings (`authz.…`), in alphabetical order.

use crate::pg::session_setting;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, pg_sys};

/// The default of `authz.cache_size`, in kB: about two thousand principals with fifty bindings each.
const CACHE_SIZE_DEFAULT: i32 = 16 * 1024;

static CACHE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(CACHE_SIZE_DEFAULT);

/// Bytes that compiled policy may take in this backend.
pub fn cache_size() -> usize {
    usize::try_from(CACHE_SIZE.get()).unwrap_or(0) * 1024
}

/// Defines the settings; once, when the library is loaded.
pub fn define() {
    GucRegistry::define_int_guc(
        c"authz.cache_size",
        c"Memory that each backend may use for compiled principals, scopes and rules.",
        c"What was used least recently goes out first. A principal that alone takes more is compiled anew for each statement.",
        &CACHE_SIZE,
        256,
        // 1 TB in kB would overflow nothing and helps nobody; 64 GB is plenty.
        64 * 1024 * 1024,
        GucContext::Userset,
        GucFlags::UNIT_KB,
    );
    session_setting::define();
    // SAFETY: a NUL-terminated prefix; from now on unknown settings of that prefix are refused.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"authz".as_ptr()) }
}
