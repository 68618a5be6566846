//! Settings (`authz.…`), in alphabetical order.

use crate::pg::{queue, session_setting};
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::{CStr, CString};

/// The default of `authz.audit_queue_size`, in kB: about twenty thousand events.
const AUDIT_QUEUE_SIZE_DEFAULT: i32 = 8 * 1024;

static AUDIT_QUEUE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(AUDIT_QUEUE_SIZE_DEFAULT);

/// Bytes of the queue of access events.
pub fn audit_queue_size() -> usize {
    usize::try_from(AUDIT_QUEUE_SIZE.get()).unwrap_or(0) * 1024
}

/// The default of `authz.cache_size`, in kB: about two thousand principals with fifty bindings each.
const CACHE_SIZE_DEFAULT: i32 = 16 * 1024;

static CACHE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(CACHE_SIZE_DEFAULT);

/// Bytes that compiled policy may take in this backend.
pub fn cache_size() -> usize {
    usize::try_from(CACHE_SIZE.get()).unwrap_or(0) * 1024
}

/// Why authority is being changed, for changes that have no reason of their own. Read by SQL alone.
static CHANGE_REASON: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// The default of `authz.reveal_limit`.
const REVEAL_LIMIT_DEFAULT: i32 = 60;

static REVEAL_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(REVEAL_LIMIT_DEFAULT);

/// How many fields a principal may reveal in an hour.
pub fn reveal_limit() -> i32 {
    REVEAL_LIMIT.get()
}

/// The default of `authz.token_leeway`, in seconds.
const TOKEN_LEEWAY_DEFAULT: i32 = 30;

static TOKEN_LEEWAY: GucSetting<i32> = GucSetting::<i32>::new(TOKEN_LEEWAY_DEFAULT);
static TOKEN_MAX_AGE: GucSetting<i32> = GucSetting::<i32>::new(0);

/// Seconds that an issuer's clock may differ from ours.
pub fn token_leeway() -> i64 {
    i64::from(TOKEN_LEEWAY.get())
}

/// Seconds that a token may be used after it was issued; 0 = until it expires.
pub fn token_max_age() -> i64 {
    i64::from(TOKEN_MAX_AGE.get())
}

/// Lengths of time that SQL functions read (`sql/82_privileged_access.sql`, `sql/84_login.sql`): name, what for, more
/// about it, default in seconds.
const DURATIONS: [(&CStr, &CStr, &CStr, i32); 5] = [
    (
        c"authz.break_glass_max_duration",
        c"How long a break-glass session may last.",
        c"Less where the tenant's settings say so.",
        60 * 60,
    ),
    (
        c"authz.login_lock_duration",
        c"How long a principal is locked out after authz.login_max_failures failed attempts to log in.",
        c"Twice as long each time that as many have come together again.",
        15 * 60,
    ),
    (
        c"authz.login_lock_max_duration",
        c"The longest time that a principal is locked out by failed attempts to log in.",
        c"",
        24 * 60 * 60,
    ),
    (
        c"authz.privileged_max_duration",
        c"How long a support session may last.",
        c"Less where the request or the tenant's settings say so.",
        8 * 60 * 60,
    ),
    (
        c"authz.privileged_start_window",
        c"How long after its approval a support session may be started.",
        c"Less where the tenant's settings say so.",
        24 * 60 * 60,
    ),
];

static DURATION_VALUES: [GucSetting<i32>; DURATIONS.len()] = [
    GucSetting::<i32>::new(DURATIONS[0].3),
    GucSetting::<i32>::new(DURATIONS[1].3),
    GucSetting::<i32>::new(DURATIONS[2].3),
    GucSetting::<i32>::new(DURATIONS[3].3),
    GucSetting::<i32>::new(DURATIONS[4].3),
];

static LOGIN_MAX_FAILURES: GucSetting<i32> = GucSetting::<i32>::new(5);

/// Defines the settings; once, when the library is loaded.
pub fn define() {
    // A setting of this context can be defined at no other time, and without the queue there is nothing to set.
    if queue::is_preloading() {
        GucRegistry::define_int_guc(
            c"authz.audit_queue_size",
            c"Room for access events of transactions that were rolled back, until a background worker has written them.",
            c"Where it is used up, events go to the server's log.",
            &AUDIT_QUEUE_SIZE,
            64,
            1024 * 1024,
            GucContext::Postmaster,
            GucFlags::UNIT_KB,
        );
    }
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
    GucRegistry::define_string_guc(
        c"authz.change_reason",
        c"Why authority is being changed.",
        c"Written into authz.access_change_event where the changed row has no reason of its own.",
        &CHANGE_REASON,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"authz.reveal_limit",
        c"How many fields a principal may reveal in an hour.",
        c"0: none.",
        &REVEAL_LIMIT,
        0,
        1_000_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"authz.token_leeway",
        c"How far the clock of a session token's issuer may be off.",
        c"A token is accepted that much before its nbf and after its exp.",
        &TOKEN_LEEWAY,
        0,
        300,
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"authz.token_max_age",
        c"How long a session token may be used after it was issued (iat), whatever its exp.",
        c"0: until it expires.",
        &TOKEN_MAX_AGE,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    for ((name, short, long, _), value) in DURATIONS.iter().zip(&DURATION_VALUES) {
        // Up to a week: what lasts longer is a role.
        GucRegistry::define_int_guc(
            name,
            short,
            long,
            value,
            1,
            7 * 24 * 60 * 60,
            GucContext::Suset,
            GucFlags::UNIT_S,
        );
    }
    GucRegistry::define_int_guc(
        c"authz.login_max_failures",
        c"How many failed attempts to log in lock a principal out.",
        c"0: no number of them does.",
        &LOGIN_MAX_FAILURES,
        0,
        1_000_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    session_setting::define();
    session_setting::reserve_prefix();
}
