//! Background workers.

use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, SignalWakeFlags};
use pgrx::{IntoDatum, pg_guard, pg_sys};

/// Starts a background worker that makes the partitions that are missing in this database. Where there is no room for
/// another worker, nothing happens.
pub fn prepare_partitions() {
    // SAFETY: reads a variable of the backend.
    let database = unsafe { pg_sys::MyDatabaseId };
    let _ = BackgroundWorkerBuilder::new("authz_ext partitions")
        .set_type("authz_ext partitions")
        .set_library("authz_ext")
        .set_function("authz_ext_prepare_partitions")
        .set_argument(database.into_datum())
        .enable_spi_access()
        .load_dynamic();
}

/// What that worker runs.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn authz_ext_prepare_partitions(database: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGTERM);
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(pg_sys::Oid::from(database.value() as u32)), None);
    BackgroundWorker::transaction(crate::write::audit::prepare_partitions);
}
