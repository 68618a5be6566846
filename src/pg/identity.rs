//! Whose privileges run what this library runs.

use super::plan::node::function;
use crate::error;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::ffi::CStr;
use uuid::Uuid;

/// Calls `f` as the owner of a table, to whom its row security does not apply, forced or not: how PostgreSQL itself
/// runs the actions of foreign keys. What the table's triggers do, they do as its owner.
pub fn as_owner_past_policies<T>(owner: pg_sys::Oid, f: impl FnOnce() -> T) -> T {
    as_role(owner, pg_sys::SECURITY_NOFORCE_RLS, f)
}

/// Calls `f` as the owner of a table, to whom its row security applies where it is forced.
pub fn as_owner<T>(owner: pg_sys::Oid, f: impl FnOnce() -> T) -> T {
    as_role(owner, 0, f)
}

thread_local! {
    /// The roles whose code has called functions of this extension that run as its owner, the latest last.
    static CALLERS: RefCell<Vec<pg_sys::Oid>> = const { RefCell::new(Vec::new()) };
}

/// Calls `authz.name(uuid)`, which runs as its owner and could not tell who called it. Whoever may call the function that
/// calls this may call that one.
pub fn call_for_caller(name: &CStr, argument: &Uuid) -> pg_sys::Datum {
    /// Forgets the caller however we leave.
    struct Caller;
    impl Drop for Caller {
        fn drop(&mut self) {
            CALLERS.with_borrow_mut(|c| c.pop());
        }
    }
    let Some(function) = function(name, &[pg_sys::UUIDOID]) else {
        error::not_installed(&format!("authz.{}", name.to_string_lossy()));
    };
    // SAFETY: reads a variable of the backend.
    CALLERS.with_borrow_mut(|c| c.push(unsafe { pg_sys::GetUserId() }));
    let _caller = Caller;
    // SAFETY: the function takes a uuid, which outlives the call, and returns no NULL.
    unsafe {
        pg_sys::OidFunctionCall1Coll(
            function,
            pg_sys::InvalidOid,
            pg_sys::Datum::from(argument.as_bytes().as_ptr()),
        )
    }
}

/// Calls `f` as the role that acts: the one of `SET ROLE`, else the one that logged in, also inside a function that runs as
/// somebody else: a definer's rights open nothing. But only if that function's owner may act as that role. Else it is the
/// owner: what `f` runs of others (policies, masks, types) would get rights that the calling code does not have.
pub fn as_acting_role<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: reads variables of the backend, and looks into catalogs.
    let role = unsafe {
        let (caller, acting) = (
            CALLERS
                .with_borrow(|c| c.last().copied())
                .unwrap_or_else(|| pg_sys::GetUserId()),
            pg_sys::GetOuterUserId(),
        );
        if pg_sys::has_privs_of_role(caller, acting) {
            acting
        } else {
            caller
        }
    };
    as_role(role, 0, f)
}

fn as_role<T>(role: pg_sys::Oid, flags: u32, f: impl FnOnce() -> T) -> T {
    /// Takes it back however we leave.
    struct Former(pg_sys::Oid, i32);
    impl Drop for Former {
        fn drop(&mut self) {
            // SAFETY: what was read before.
            unsafe { pg_sys::SetUserIdAndSecContext(self.0, self.1) }
        }
    }
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: reads and sets variables of the backend; `Former` puts them back.
    unsafe { pg_sys::GetUserIdAndSecContext(&raw mut user, &raw mut context) };
    let _former = Former(user, context);
    let flags = pg_sys::SECURITY_LOCAL_USERID_CHANGE | flags;
    // SAFETY: as above.
    unsafe { pg_sys::SetUserIdAndSecContext(role, context | flags as i32) };
    f()
}

/// Has the current role the rights of the table's owner?
pub fn owns(table: pg_sys::Oid) -> bool {
    // SAFETY: looks into catalogs; a table that is not there is no error.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::RELOID as i32, pg_sys::Datum::from(table));
        if tuple.is_null() {
            return false;
        }
        let owner = (*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_class>(tuple)).relowner;
        pg_sys::ReleaseSysCache(tuple);
        pg_sys::has_privs_of_role(pg_sys::GetUserId(), owner)
    }
}
