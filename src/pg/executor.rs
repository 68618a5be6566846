//! Statements that read audited views, seen as they are executed.
//!
//! The plan of such a statement carries a mark (see [`gate`]), which hooks of the executor look for. They are installed
//! when the first such statement is planned: a backend that never plans a read of an audited view has no hooks, and one
//! that does has them before that read is executed.
//!
//! The hooks stand in the way of every statement. They are written in C's way, without the guard around Rust functions
//! that others have: an error that passes through them finds nothing to clean up. What is done for statements that
//! read an audited view has the guard.

use super::{gate, transaction};
use crate::write::read;
use pgrx::{pg_guard, pg_sys};
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::ptr;

unsafe extern "C-unwind" {
    // As they are: those of pg_sys have the guard.
    fn standard_ExecutorStart(query: *mut pg_sys::QueryDesc, flags: c_int);
    fn standard_ExecutorFinish(query: *mut pg_sys::QueryDesc);
    #[cfg(not(feature = "pg18"))]
    fn standard_ExecutorRun(
        query: *mut pg_sys::QueryDesc,
        direction: pg_sys::ScanDirection::Type,
        count: u64,
        once: bool,
    );
    #[cfg(feature = "pg18")]
    fn standard_ExecutorRun(query: *mut pg_sys::QueryDesc, direction: pg_sys::ScanDirection::Type, count: u64);
}

/// An execution whose rows are counted.
struct Execution {
    id: u64,
    /// Its state; NULL once that is freed.
    state: *mut pg_sys::EState,
    /// Has it ever been run? Then it is somebody's, whether there were rows or not.
    begun: bool,
    /// Is it being run? Then the rows of this run are in its state.
    running: bool,
    /// The rows of former runs.
    rows: u64,
}

thread_local! {
    static INSTALLED: Cell<bool> = const { Cell::new(false) };
    static NEXT_START: Cell<pg_sys::ExecutorStart_hook_type> = const { Cell::new(None) };
    static NEXT_RUN: Cell<pg_sys::ExecutorRun_hook_type> = const { Cell::new(None) };
    static NEXT_FINISH: Cell<pg_sys::ExecutorFinish_hook_type> = const { Cell::new(None) };
    /// Never borrowed while anything of PostgreSQL is called.
    static EXECUTIONS: RefCell<Vec<Execution>> = const { RefCell::new(Vec::new()) };
    static LAST_ID: Cell<u64> = const { Cell::new(0) };
}

/// From now on statements that read audited views are told to [`read`].
pub fn watch() {
    if INSTALLED.replace(true) {
        return;
    }
    // SAFETY: a backend has one thread. The functions live as long as the library, which is never unloaded; they are
    // installed once, so that they never follow upon themselves.
    unsafe {
        NEXT_START.set(pg_sys::ExecutorStart_hook);
        NEXT_RUN.set(pg_sys::ExecutorRun_hook);
        NEXT_FINISH.set(pg_sys::ExecutorFinish_hook);
        pg_sys::ExecutorStart_hook = Some(on_start);
        pg_sys::ExecutorRun_hook = Some(on_run);
        pg_sys::ExecutorFinish_hook = Some(on_finish);
    }
}

unsafe extern "C-unwind" fn on_start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: PostgreSQL's arguments, passed on.
    unsafe {
        match NEXT_START.get() {
            Some(next) => next(query, flags),
            None => standard_ExecutorStart(query, flags),
        }
        // A plan that is only shown reads nothing.
        if flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as c_int == 0 && gate::views_of((*query).plannedstmt).next().is_some()
        {
            started(query);
        }
    }
}

/// The statement may read now; no row has been given to anybody.
#[pg_guard]
unsafe extern "C-unwind" fn started(query: *mut pg_sys::QueryDesc) {
    // SAFETY: the statement was started, so that it has its state.
    unsafe {
        let mut views: Vec<pg_sys::Oid> = gate::views_of((*query).plannedstmt).collect();
        views.sort_unstable_by_key(|v| v.to_u32());
        views.dedup();
        let reads = read::prepare(&views, verb((*query).operation));
        if reads.is_empty() {
            return;
        }
        let state = (*query).estate;
        let id = LAST_ID.get() + 1;
        LAST_ID.set(id);
        // In the memory of the execution itself, so that the callback is called just before its state is freed.
        let callback: *mut pg_sys::MemoryContextCallback =
            pg_sys::MemoryContextAllocZero((*state).es_query_cxt, size_of::<pg_sys::MemoryContextCallback>()).cast();
        (*callback).func = Some(on_free);
        (*callback).arg = id as *mut c_void;
        pg_sys::MemoryContextRegisterResetCallback((*state).es_query_cxt, callback);
        EXECUTIONS.with_borrow_mut(|e| {
            e.push(Execution {
                id,
                state,
                begun: false,
                running: false,
                rows: 0,
            });
        });
        read::open(id, reads);
    }
}

/// What a statement does, as it is written.
fn verb(operation: pg_sys::CmdType::Type) -> &'static str {
    match operation {
        pg_sys::CmdType::CMD_SELECT => "SELECT",
        pg_sys::CmdType::CMD_INSERT => "INSERT",
        pg_sys::CmdType::CMD_UPDATE => "UPDATE",
        pg_sys::CmdType::CMD_DELETE => "DELETE",
        _ => "MERGE",
    }
}

/// Whose execution it is; `None` if it is not counted.
///
/// # Safety
/// `query` was started.
unsafe fn counted(query: *mut pg_sys::QueryDesc) -> Option<u64> {
    // SAFETY: by the caller.
    let state = unsafe { (*query).estate };
    EXECUTIONS.with_borrow(|e| e.iter().find(|e| ptr::eq(e.state, state)).map(|e| e.id))
}

macro_rules! run_hook {
    ($($once:ident)?) => {
        unsafe extern "C-unwind" fn on_run(
            query: *mut pg_sys::QueryDesc,
            direction: pg_sys::ScanDirection::Type,
            count: u64,
            $($once: bool,)?
        ) {
            // SAFETY: PostgreSQL's arguments, passed on.
            unsafe {
                let counted = counted(query);
                if let Some(id) = counted {
                    running(id);
                }
                match NEXT_RUN.get() {
                    Some(next) => next(query, direction, count $(, $once)?),
                    None => standard_ExecutorRun(query, direction, count $(, $once)?),
                }
                if let Some(id) = counted {
                    ran(id);
                }
            }
        }
    };
}

#[cfg(not(feature = "pg18"))]
run_hook!(once);
#[cfg(feature = "pg18")]
run_hook!();

#[pg_guard]
unsafe extern "C-unwind" fn running(id: u64) {
    read::running(id, !has_begun(id));
    with(id, |e| {
        e.begun = true;
        // SAFETY: not freed, since it is being run. What the run before has counted is in `rows` already.
        unsafe { (*e.state).es_processed = 0 };
        e.running = true;
    });
}

fn has_begun(id: u64) -> bool {
    EXECUTIONS.with_borrow(|e| e.iter().any(|e| e.id == id && e.begun))
}

fn ran(id: u64) {
    with(id, |e| {
        e.rows += e.of_this_run();
        e.running = false;
    });
}

impl Execution {
    fn of_this_run(&self) -> u64 {
        if self.running && !self.state.is_null() {
            // SAFETY: not freed.
            unsafe { (*self.state).es_processed }
        } else {
            0
        }
    }
}

fn with(id: u64, f: impl FnOnce(&mut Execution)) {
    EXECUTIONS.with_borrow_mut(|e| e.iter_mut().find(|e| e.id == id).map(f));
}

unsafe extern "C-unwind" fn on_finish(query: *mut pg_sys::QueryDesc) {
    // SAFETY: PostgreSQL's argument, passed on.
    unsafe {
        match NEXT_FINISH.get() {
            Some(next) => next(query),
            None => standard_ExecutorFinish(query),
        }
        if let Some(id) = counted(query) {
            finished(id);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn finished(id: u64) {
    // A statement that ends because its transaction is being rolled back cannot write; the end of that tells of it.
    // SAFETY: reads a variable of the backend.
    if unsafe { pg_sys::IsTransactionState() } {
        transaction::with_snapshot(|| read::finish(id));
    }
}

/// Called just before the memory of an execution is freed, in whatever state the transaction is: it neither fails nor
/// allocates.
unsafe extern "C-unwind" fn on_free(id: *mut c_void) {
    with(id as u64, |e| {
        e.rows += e.of_this_run();
        e.running = false;
        e.state = ptr::null_mut();
    });
}

/// The rows that an execution has produced so far.
pub fn rows(id: u64) -> u64 {
    EXECUTIONS.with_borrow(|e| e.iter().find(|e| e.id == id).map_or(0, |e| e.rows + e.of_this_run()))
}

/// Nobody will ask for its rows any more.
pub fn forget(id: u64) {
    EXECUTIONS.with_borrow_mut(|e| e.retain(|e| e.id != id));
}
