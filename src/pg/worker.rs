//! Background workers: one that makes partitions when somebody misses one; and, where the library is in
//! `shared_preload_libraries`, a launcher that starts a writer for each database that has lines in the queue.

use crate::write::{audit, deliver, reveal};
use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BgWorkerStartTime, DynamicBackgroundWorker, SignalWakeFlags,
};
use pgrx::{IntoDatum, pg_guard, pg_sys};
use std::ffi::{CStr, c_int};
use std::time::Duration;

fn worker(name: &str, function: &str) -> BackgroundWorkerBuilder {
    BackgroundWorkerBuilder::new(name)
        .set_type(name)
        .set_library("authz_ext")
        .set_function(function)
        .enable_spi_access()
}

unsafe extern "C-unwind" {
    /// What ends an ordinary backend: at the next opportunity, also while it waits for a lock.
    fn die(signal: c_int);
}

/// Connects to the database that the worker was started for.
fn connect(database: pg_sys::Datum) -> u32 {
    let oid = database.value() as u32;
    // SAFETY: called once, at the start of the worker. A worker that noticed its end only between two batches could
    // keep a database from being dropped.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(pg_sys::SIGTERM as c_int, Some(die));
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(pg_sys::SIGTERM as c_int, Some(die));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(pg_sys::Oid::from(oid)), None);
    oid
}

/// Starts a background worker that makes the partitions that are missing in this database. Where there is no room for
/// another worker, nothing happens.
pub fn prepare_partitions() {
    // SAFETY: reads a variable of the backend.
    let database = unsafe { pg_sys::MyDatabaseId };
    let _ = worker("authz_ext partitions", "authz_ext_prepare_partitions")
        .set_argument(database.into_datum())
        .load_dynamic();
}

/// What that worker runs.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn authz_ext_prepare_partitions(database: pg_sys::Datum) {
    connect(database);
    BackgroundWorker::transaction(audit::prepare_partitions);
}

/// Runs a background worker that counts a reveal, and waits until it has; false where there is no room for another one,
/// for two seconds.
pub fn count_reveal(charge: &str) -> bool {
    // SAFETY: reads variables of the backend.
    let (database, me) = unsafe { (pg_sys::MyDatabaseId, pg_sys::MyProcPid) };
    for attempt in 0..100 {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(20));
            pgrx::check_for_interrupts!();
        }
        let started = worker("authz_ext reveal", "authz_ext_count_reveal")
            .set_argument(database.into_datum())
            .set_extra(charge)
            .set_notify_pid(me)
            .load_dynamic();
        if let Ok(worker) = started {
            return worker.wait_for_shutdown().is_ok();
        }
    }
    false
}

/// What that worker runs.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn authz_ext_count_reveal(database: pg_sys::Datum) {
    connect(database);
    BackgroundWorker::transaction(|| reveal::count_here(BackgroundWorker::get_extra()));
}

/// Registers the launcher; called while `shared_preload_libraries` is loaded.
pub fn register() {
    // Not on a standby, which cannot write; when it is promoted, the launcher starts.
    worker("authz_ext audit launcher", "authz_ext_audit_launcher")
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(Some(Duration::from_secs(1)))
        .load();
}

/// What the launcher runs.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn authz_ext_audit_launcher(_argument: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    // To no database: the catalog of databases is shared.
    BackgroundWorker::connect_worker_to_spi(None, None);
    deliver::launch();
    // One that ends well is not started again, and it was not the server that was stopped if somebody terminated it.
    // SAFETY: ends the process, as its last act.
    unsafe { pg_sys::proc_exit(1) }
}

/// A writer that was started.
pub struct Writer(DynamicBackgroundWorker);

impl Writer {
    /// Starts one; `None` where there is no room for another worker. This process is woken when it ends.
    pub fn start(database: u32) -> Option<Writer> {
        // SAFETY: reads a variable of the process.
        let me = unsafe { pg_sys::MyProcPid };
        worker("authz_ext audit writer", "authz_ext_audit_writer")
            .set_argument(pg_sys::Oid::from(database).into_datum())
            .set_notify_pid(me)
            .load_dynamic()
            .ok()
            .map(Writer)
    }

    /// Does it still run, or has it yet to start?
    pub fn is_alive(&self) -> bool {
        use pgrx::bgworkers::BackgroundWorkerStatus::*;
        matches!(self.0.pid(), Ok(_) | Err(NotYetStarted))
    }
}

/// What a writer runs.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn authz_ext_audit_writer(database: pg_sys::Datum) {
    deliver::write(connect(database));
}

/// Is there such a database?
pub fn database_exists(database: u32) -> bool {
    // SAFETY: a syscache look-up inside a transaction; the name is a palloc'ed copy, or NULL.
    BackgroundWorker::transaction(|| unsafe { !pg_sys::get_database_name(pg_sys::Oid::from(database)).is_null() })
}

/// What the process list says of this worker.
pub fn report(activity: &CStr) {
    // SAFETY: copies a NUL-terminated string.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, activity.as_ptr()) }
}
