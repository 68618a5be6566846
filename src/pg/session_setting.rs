//! The setting that holds the session's identity, which only this library can write.
//!
//! A setting, because PostgreSQL then does the rest: it is scoped to the transaction or the session, undone by
//! rollback (also of a savepoint), cleared by DISCARD ALL and RESET ALL, and handed to parallel workers. Its check
//! hook refuses every value that did not come through [`write`], whoever sets it and however: SET, `set_config`,
//! connection options, ALTER ROLE or DATABASE or SYSTEM, a function's SET clause, a configuration file, or a
//! placeholder of the same name that was set before the library was loaded.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PgSqlErrorCode, pg_sys};
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

const NAME: &CStr = c"authz.session";

static SETTING: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
/// Counts assignments, rollbacks included.
static EPOCH: AtomicU64 = AtomicU64::new(0);
/// Was a plan made that finds rows of the session's tenant only?
static TENANT_IN_PLANS: AtomicBool = AtomicBool::new(false);
/// What a value begins with whose session names a tenant.
const NAMES_TENANT: u8 = b't';
/// What others begin with.
const NAMES_NONE: u8 = b'-';

thread_local! {
    /// True only while [`write`] runs.
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// Also called at login, reload and while a parallel worker starts: it must not raise an error itself.
unsafe extern "C-unwind" fn check(
    value: *mut *mut c_char,
    _: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL passes a valid pointer to a NUL-terminated string or NULL.
    unsafe {
        let empty = (*value).is_null() || **value == 0;
        // The leader's value, which a parallel worker restores with its source, was checked when it was written. What
        // is stored for a role or a database is applied in the worker as well, but with a source of its own.
        let of_leader = pg_sys::InitializingParallelWorker && source == pg_sys::GucSource::PGC_S_SESSION;
        if empty || WRITING.get() || of_leader {
            return true;
        }
        pg_sys::GUC_check_errcode(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE as c_int);
        pg_sys::GUC_check_errmsg_string = pg_sys::pstrdup(c"parameter \"authz.session\" cannot be set".as_ptr());
        pg_sys::GUC_check_errdetail_string =
            pg_sys::pstrdup(c"It holds the identity that row security trusts.".as_ptr());
        pg_sys::GUC_check_errhint_string =
            pg_sys::pstrdup(c"Call authz_set_session or authz_set_session_token.".as_ptr());
    }
    false
}

/// Called at rollback as well: it must not raise an error.
unsafe extern "C-unwind" fn assign(value: *const c_char, _: *mut c_void) {
    EPOCH.fetch_add(1, Relaxed);
    // SAFETY: PostgreSQL passes NULL or a NUL-terminated string.
    let names_none = !value.is_null() && unsafe { *value.cast::<u8>() } == NAMES_NONE;
    if names_none && TENANT_IN_PLANS.load(Relaxed) {
        forget_plans();
    }
}

/// Has plans that are kept made anew. Cannot fail.
pub fn forget_plans() {
    unsafe extern "C" {
        fn ResetPlanCache();
    }
    TENANT_IN_PLANS.store(false, Relaxed);
    // SAFETY: marks this backend's plans as outdated and touches nothing else, so that it needs no guard.
    unsafe { ResetPlanCache() }
}

/// Defines the setting; once, when the library is loaded.
pub fn define() {
    // SAFETY: the hooks live as long as the library and do not fail.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            NAME,
            c"Whom this session acts for. Written by authz_set_session and authz_set_session_token only.",
            c"",
            &SETTING,
            GucContext::Suset,
            GucFlags::NO_SHOW_ALL | GucFlags::SUPERUSER_ONLY | GucFlags::DISALLOW_IN_FILE,
            Some(check),
            Some(assign),
            None,
        );
    }
}

/// From now on unknown settings that begin with `authz.` are refused.
pub fn reserve_prefix() {
    // SAFETY: a NUL-terminated prefix.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"authz".as_ptr()) }
}

/// Changes whenever the value may have changed.
pub fn epoch() -> u64 {
    EPOCH.load(Relaxed)
}

/// A plan is being made that finds rows of the tenant only that the session names. It is made anew when there is a session
/// that names none. (Where there is none at all it finds nothing, which is right: plans outlive the ends of transactions.)
pub fn plan_names_tenant() {
    TENANT_IN_PLANS.store(true, Relaxed);
}

/// The value; `None` without a session.
pub fn read() -> Option<String> {
    let mut value = SETTING.get().filter(|v| !v.is_empty())?.into_string().ok()?;
    value.remove(0);
    Some(value)
}

/// Ends the session.
pub fn clear() {
    set("", false);
}

/// Sets the value, for the transaction or for the session. Does it name a tenant?
pub fn write(value: &str, names_tenant: bool, is_local: bool) {
    let mark = if names_tenant { NAMES_TENANT } else { NAMES_NONE };
    set(&format!("{}{value}", char::from(mark)), is_local);
}

fn set(value: &str, is_local: bool) {
    /// Takes the permission back however we leave.
    struct Permission;
    impl Drop for Permission {
        fn drop(&mut self) {
            WRITING.set(false);
        }
    }
    let value = CString::new(value).expect("JSON has no NUL");
    let action = if is_local {
        pg_sys::GucAction::GUC_ACTION_LOCAL
    } else {
        pg_sys::GucAction::GUC_ACTION_SET
    };
    WRITING.set(true);
    let _permission = Permission;
    // SAFETY: name and value are NUL-terminated and copied. The context is the one that the setting asks for: whether
    // the caller may set a session was decided by EXECUTE on the function, or by a token.
    unsafe {
        pg_sys::set_config_option(
            NAME.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_SESSION,
            action,
            true,
            0,
            false,
        );
    }
}

/// The role that logged in, or that SET SESSION AUTHORIZATION made of it; empty where it is gone.
pub fn session_role_name() -> String {
    // SAFETY: reads the backend's identity; the name is a palloc'ed copy, or NULL.
    unsafe {
        let name = pg_sys::GetUserNameFromId(pg_sys::GetSessionUserId(), true);
        if name.is_null() {
            return String::new();
        }
        CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// The role that logged in, if the session still is that role's.
pub fn login_role() -> Option<String> {
    // SAFETY: reads the backend's identity; the name is a palloc'ed copy, or NULL where the role is gone.
    unsafe {
        let user = pg_sys::GetSessionUserId();
        if user != pg_sys::GetAuthenticatedUserId() {
            return None;
        }
        let name = pg_sys::GetUserNameFromId(user, true);
        if name.is_null() {
            return None;
        }
        // A name that is not UTF-8 (made in a database of another encoding) must not turn into another one.
        CStr::from_ptr(name).to_str().ok().map(str::to_owned)
    }
}
