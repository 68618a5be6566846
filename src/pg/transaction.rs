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
        XACT_EVENT_ABORT => End::Abort,
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

/// Registers the callback; once, when the library is loaded.
pub fn watch(callback: Callback) {
    // SAFETY: the callbacks live as long as the library, which is never unloaded.
    unsafe {
        pg_sys::RegisterXactCallback(Some(on_end), callback as *mut c_void);
        pg_sys::RegisterSubXactCallback(Some(on_sub_end), callback as *mut c_void);
    }
}
