//! Being told how transactions end.

use pgrx::{pg_guard, pg_sys};
use std::ffi::c_void;

/// What happened to a transaction or a subtransaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The transaction is committed.
    Commit,
    /// The transaction is rolled back.
    Abort,
    /// The transaction is prepared: another one decides later.
    Prepare,
    /// A subtransaction begins.
    SubStart(u32),
    /// A subtransaction is merged into the one around it.
    SubCommit(u32),
    /// A subtransaction is rolled back.
    SubAbort(u32),
}

/// Must neither raise an error nor panic: called when nothing can be undone any more.
type Callback = fn(End);

#[pg_guard]
unsafe extern "C-unwind" fn on_end(event: pg_sys::XactEvent::Type, callback: *mut c_void) {
    use pg_sys::XactEvent::*;
    let end = match event {
        XACT_EVENT_COMMIT => End::Commit,
        XACT_EVENT_ABORT | XACT_EVENT_PARALLEL_ABORT => End::Abort,
        XACT_EVENT_PREPARE => End::Prepare,
        _ => return,
    };
    // SAFETY: registered below with a function of this type.
    unsafe { std::mem::transmute::<*mut c_void, Callback>(callback)(end) }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_sub_end(
    event: pg_sys::SubXactEvent::Type,
    id: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    callback: *mut c_void,
) {
    use pg_sys::SubXactEvent::*;
    let end = match event {
        SUBXACT_EVENT_START_SUB => End::SubStart(id),
        SUBXACT_EVENT_COMMIT_SUB => End::SubCommit(id),
        SUBXACT_EVENT_ABORT_SUB => End::SubAbort(id),
        _ => return,
    };
    // SAFETY: registered below with a function of this type.
    unsafe { std::mem::transmute::<*mut c_void, Callback>(callback)(end) }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_before_commit(event: pg_sys::XactEvent::Type, callback: *mut c_void) {
    use pg_sys::XactEvent::*;
    if matches!(event, XACT_EVENT_PRE_COMMIT | XACT_EVENT_PRE_PREPARE) {
        // SAFETY: registered below with a function of this type.
        unsafe { std::mem::transmute::<*mut c_void, fn()>(callback)() }
    }
}

/// Registers what is called before a transaction commits or is prepared, when it can still write, and fail; once, when
/// the library is loaded.
pub fn watch_commit(callback: fn()) {
    // SAFETY: the callback lives as long as the library, which is never unloaded.
    unsafe { pg_sys::RegisterXactCallback(Some(on_before_commit), callback as *mut c_void) }
}

/// Runs `f` with a snapshot, which statements need that run inside no other one.
pub fn with_snapshot(f: impl FnOnce()) {
    // SAFETY: inside a transaction. Should `f` raise an error, the rollback takes the snapshot back.
    unsafe {
        if pg_sys::ActiveSnapshotSet() {
            return f();
        }
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        f();
        pg_sys::PopActiveSnapshot();
    }
}

/// The subtransaction that is open. Later ones of a transaction have greater numbers.
pub fn current_subtransaction() -> u32 {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::GetCurrentSubTransactionId() }
}

/// Registers the callback; once, when the library is loaded.
pub fn watch(callback: Callback) {
    // SAFETY: the callbacks live as long as the library, which is never unloaded.
    unsafe {
        pg_sys::RegisterXactCallback(Some(on_end), callback as *mut c_void);
        pg_sys::RegisterSubXactCallback(Some(on_sub_end), callback as *mut c_void);
    }
}
