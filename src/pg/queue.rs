//! The queue between backends and the background workers that write what backends could not.
//!
//! A ring of records in memory that all processes of the server share. The memory is a file of the data directory,
//! mapped by the postmaster before it starts anybody else: a crash of the server, or its end, leaves the records in the
//! file, and the next start goes on with them. The file is in `pg_dynshmem`, which base backups leave out, so that no
//! standby writes them a second time. There is a queue only where the library is in `shared_preload_libraries`.
//!
//! Positions are counts of bytes since the file was made, so that none comes twice. Nothing is done under the lock but
//! copying: no error can be raised while it is held.

mod ring;

use super::server_log;
use crate::settings;
use pgrx::{pg_guard, pg_sys};
use ring::{DONE, FILE, HELD, Header, Ring, WAITING};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

const TRANCHE: &std::ffi::CStr = c"authz_ext_queue";

/// Mapped by the postmaster, inherited by everybody.
static MAPPED: AtomicPtr<Header> = AtomicPtr::new(ptr::null_mut());
static LOCK: AtomicPtr<pg_sys::LWLock> = AtomicPtr::new(ptr::null_mut());
static mut NEXT_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut NEXT_STARTUP: pg_sys::shmem_startup_hook_type = None;

/// Is the library being loaded by `shared_preload_libraries`?
pub fn is_preloading() -> bool {
    // SAFETY: reads a variable of the process.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// Asks for the queue, if the library is being loaded by `shared_preload_libraries`.
pub fn register() -> bool {
    if !is_preloading() {
        return false;
    }
    // SAFETY: called once by the postmaster, before there is any other process; hooks are chained.
    unsafe {
        NEXT_REQUEST = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(on_request);
        NEXT_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(on_startup);
    }
    true
}

#[pg_guard]
unsafe extern "C-unwind" fn on_request() {
    // SAFETY: called by the postmaster at its start, the only time when this may be asked for.
    unsafe {
        if let Some(next) = NEXT_REQUEST {
            next();
        }
        pg_sys::RequestNamedLWLockTranche(TRANCHE.as_ptr(), 1);
    }
}

/// At the start, and again after a crash of a backend: then the mapping is still there.
#[pg_guard]
unsafe extern "C-unwind" fn on_startup() {
    // SAFETY: called by the postmaster while no other process uses shared memory.
    unsafe {
        if let Some(next) = NEXT_STARTUP {
            next();
        }
        LOCK.store(
            &raw mut (*pg_sys::GetNamedLWLockTranche(TRANCHE.as_ptr())).lock,
            Relaxed,
        );
        if MAPPED.load(Relaxed).is_null() {
            match ring::map(settings::audit_queue_size()) {
                Ok(header) => MAPPED.store(header, Relaxed),
                Err(e) => server_log::line(&format!("authz_ext: no queue for access events: {FILE}: {e}")),
            }
        }
        if let Some(header) = MAPPED.load(Relaxed).as_ref() {
            // Their backends are gone.
            Ring(ptr::from_ref(header).cast_mut()).let_go();
            header.launcher.store(0, Relaxed);
            header.queued.store(0, Relaxed);
            header.written.store(0, Relaxed);
            header.logged.store(0, Relaxed);
        }
    }
}

/// Runs with the lock held; `None` without a queue. `f` must not raise an error.
fn locked<T>(mode: pg_sys::LWLockMode::Type, f: impl FnOnce(&Ring) -> T) -> Option<T> {
    let header = MAPPED.load(Relaxed);
    if header.is_null() {
        return None;
    }
    // SAFETY: the lock is of shared memory that lives as long as the process.
    unsafe {
        pg_sys::LWLockAcquire(LOCK.load(Relaxed), mode);
        let result = f(&Ring(header));
        pg_sys::LWLockRelease(LOCK.load(Relaxed));
        Some(result)
    }
}

fn header() -> Option<&'static Header> {
    // SAFETY: a mapping that lives as long as the process; only its atomic fields are used without the lock.
    unsafe { MAPPED.load(Relaxed).as_ref() }
}

const EXCLUSIVE: pg_sys::LWLockMode::Type = pg_sys::LWLockMode::LW_EXCLUSIVE;
const SHARED: pg_sys::LWLockMode::Type = pg_sys::LWLockMode::LW_SHARED;

/// Puts a line into the queue; false where there is none, or it is full.
pub fn push(line: &[u8]) -> bool {
    // SAFETY: reads a variable of the backend.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    if locked(EXCLUSIVE, |ring| ring.push(database, line, WAITING, 0)) != Some(true) {
        return false;
    }
    if let Some(header) = header() {
        header.queued.fetch_add(1, Relaxed);
        let latch = header.launcher.load(Relaxed);
        if latch != 0 {
            // SAFETY: the latch of a process's slot in shared memory, which stays there when the process ends.
            unsafe { pg_sys::SetLatch(latch as *mut pg_sys::Latch) }
        }
    }
    true
}

/// Puts a line into the queue that waits only should the server crash before [`release`]; what it is known by. `None`
/// where there is no queue, or it is half full: events that wait for a worker come first.
pub fn hold(line: &[u8]) -> Option<u32> {
    // SAFETY: reads a variable of the backend.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    locked(EXCLUSIVE, |ring| {
        if ring.is_half_full() {
            ring.turn_over();
            if ring.is_half_full() {
                return None;
            }
        }
        // SAFETY: the lock is held exclusively.
        let token = unsafe {
            (*ring.0).token += 1;
            (*ring.0).token as u32
        };
        ring.put(database, line, HELD, token).then_some(token)
    })
    .flatten()
}

/// Takes back lines that are held; their tokens are sorted.
pub fn release(tokens: &[u32]) {
    locked(EXCLUSIVE, |ring| {
        for (position, record) in ring.records() {
            if record.state == HELD && tokens.binary_search(&record.token).is_ok() {
                // SAFETY: the lock is held exclusively.
                unsafe { (*ring.record(position)).state = DONE }
            }
        }
        ring.advance();
    });
}

/// From now on this process is woken when there is something in the queue.
pub fn wake_me() {
    if let Some(header) = header() {
        // SAFETY: a process that is attached to shared memory has a slot with a latch.
        let latch = unsafe { &raw mut (*pg_sys::MyProc).procLatch };
        header.launcher.store(latch as u64, Relaxed);
    }
}

/// How many lines wait, for each database.
pub fn databases() -> Vec<(u32, usize)> {
    let mut waiting: Vec<u32> = locked(SHARED, |ring| {
        ring.records()
            .filter(|(_, r)| r.state == WAITING)
            .map(|(_, r)| r.database)
            .collect()
    })
    .unwrap_or_default();
    waiting.sort_unstable();
    waiting.chunk_by(|a, b| a == b).map(|c| (c[0], c.len())).collect()
}

/// Lines that wait, with their positions.
pub fn waiting(database: u32, most: usize) -> Vec<(u64, Vec<u8>)> {
    locked(SHARED, |ring| ring.waiting(Some(database), most)).unwrap_or_default()
}

/// These are done, and so many of them went to the log.
pub fn finish(positions: &[u64], logged: usize) {
    let finished = locked(EXCLUSIVE, |ring| {
        let mut finished = 0;
        // SAFETY: the lock is held exclusively; what is before the tail or after the head is not touched.
        unsafe {
            for position in positions {
                if (*ring.0).tail <= *position && *position < (*ring.0).head {
                    let record = ring.record(*position);
                    if (*record).state == WAITING {
                        (*record).state = DONE;
                        finished += 1;
                    }
                }
            }
        }
        ring.advance();
        finished
    });
    if let (Some(header), Some(finished)) = (header(), finished) {
        header
            .written
            .fetch_add(finished - (logged as u64).min(finished), Relaxed);
    }
}

/// Counts a line that went to the log.
pub fn count_logged() {
    if let Some(header) = header() {
        header.logged.fetch_add(1, Relaxed);
    }
}

/// What the queue has done since the server was started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// Lines put into the queue.
    pub queued: u64,
    /// Lines that workers have written as rows.
    pub written: u64,
    /// Lines in the queue.
    pub waiting: u64,
    /// Lines that went to the log.
    pub logged: u64,
}

/// The counts; none without a queue.
pub fn statistics() -> Option<Statistics> {
    let header = header()?;
    Some(Statistics {
        queued: header.queued.load(Relaxed),
        written: header.written.load(Relaxed),
        waiting: databases().iter().map(|(_, n)| *n as u64).sum(),
        logged: header.logged.load(Relaxed),
    })
}
