//! The queue between backends and the background workers that write what backends could not.
//!
//! A ring of records in memory that all processes of the server share. The memory is a file of the data directory,
//! mapped by the postmaster before it starts anybody else: a crash of the server, or its end, leaves the records in the
//! file, and the next start goes on with them. The file is in `pg_dynshmem`, which base backups leave out, so that no
//! standby writes them a second time. There is a queue only where the library is in `shared_preload_libraries`.
//!
//! Positions are counts of bytes since the file was made, so that none comes twice. Nothing is done under the lock but
//! copying: no error can be raised while it is held.

use super::server_log;
use crate::settings;
use pgrx::{pg_guard, pg_sys};
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

const FILE: &str = "pg_dynshmem/authz_ext.queue";
/// Says that the file is one of these, in this format.
const MAGIC: u64 = u64::from_be_bytes(*b"authzq01");
/// The header has a page to itself.
const HEADER: usize = 4096;
const TRANCHE: &std::ffi::CStr = c"authz_ext_queue";

#[repr(C)]
struct Header {
    magic: u64,
    /// Bytes of the ring: a multiple of a record's alignment.
    capacity: u64,
    /// Where the next record goes.
    head: u64,
    /// Where the first record is that is not done.
    tail: u64,
    queued: AtomicU64,
    written: AtomicU64,
    logged: AtomicU64,
    /// The latch of the launcher; 0: it does not run.
    launcher: AtomicU64,
    /// The token of the last record that was held.
    token: u64,
}

/// Records begin at multiples of its size.
#[repr(C)]
#[derive(Clone, Copy)]
struct Record {
    /// Bytes that follow.
    len: u32,
    database: u32,
    state: u32,
    /// What a record that is held is known by.
    token: u32,
}

const RECORD: u64 = size_of::<Record>() as u64;
const WAITING: u32 = 0;
const DONE: u32 = 1;
/// What is left of the ring's end where a record did not fit.
const PADDING: u32 = 2;
/// Waits only after a crash: until then its backend may take it back.
const HELD: u32 = 3;

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
            match map(settings::audit_queue_size()) {
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

/// # Safety
/// No other process may use the file.
unsafe fn map(size: usize) -> std::io::Result<*mut Header> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(FILE)?;
    let before = file.metadata()?.len() as usize;
    let old = if before > HEADER { before - HEADER } else { size };
    // SAFETY: mappings of a file that is at least as long, which nobody else changes.
    unsafe {
        file.set_len((HEADER + old) as u64)?;
        let mut header = map_file(&file, old)?;
        let waiting = (*header).head.wrapping_sub((*header).tail);
        if (*header).magic != MAGIC || (*header).capacity != old as u64 || waiting > old as u64 {
            reset(header, old);
        } else if old != size {
            // Another size was asked for: what waits in the old one goes to the log.
            let ring = Ring(header);
            ring.let_go();
            for (_, line) in ring.waiting(None, usize::MAX) {
                server_log::line(&format!("authz_ext access event: {}", String::from_utf8_lossy(&line)));
            }
            libc::munmap(header.cast(), HEADER + old);
            file.set_len((HEADER + size) as u64)?;
            header = map_file(&file, size)?;
            reset(header, size);
        }
        Ok(header)
    }
}

/// # Safety
/// The file is that long.
unsafe fn map_file(file: &std::fs::File, size: usize) -> std::io::Result<*mut Header> {
    // SAFETY: a new mapping at an address that the kernel chooses.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            HEADER + size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    Ok(address.cast())
}

/// # Safety
/// A mapping of that size, which nobody else uses.
unsafe fn reset(header: *mut Header, size: usize) {
    // SAFETY: by the caller.
    unsafe {
        ptr::write_bytes(header.cast::<u8>(), 0, HEADER);
        (*header).magic = MAGIC;
        (*header).capacity = size as u64;
    }
}

/// The ring, while the lock is held or nobody else is there.
struct Ring(*mut Header);

impl Ring {
    fn at(&self, position: u64) -> *mut u8 {
        // SAFETY: positions are taken modulo the capacity of the mapping.
        unsafe {
            self.0
                .cast::<u8>()
                .add(HEADER + (position % (*self.0).capacity) as usize)
        }
    }

    fn record(&self, position: u64) -> *mut Record {
        self.at(position).cast()
    }

    /// Adds a record. Where there is no room, records that are held long may be in the way: they are put behind the others.
    fn push(&self, database: u32, line: &[u8], state: u32, token: u32) -> bool {
        self.put(database, line, state, token) || self.turn_over() && self.put(database, line, state, token)
    }

    /// Moves the records that are held at the ring's beginning to its end; true if there were any.
    fn turn_over(&self) -> bool {
        let held: Vec<(u64, Record)> = self.records().take_while(|(_, r)| r.state != WAITING).collect();
        let mut moved = false;
        for (position, record) in held {
            let next = position + RECORD + u64::from(record.len).next_multiple_of(RECORD);
            let line = self.line(position, &record);
            // SAFETY: the lock is held exclusively. What is before the tail is still there until something is put there.
            unsafe {
                let tail = std::mem::replace(&mut (*self.0).tail, next);
                if record.state == HELD {
                    if !self.put(record.database, &line, HELD, record.token) {
                        (*self.0).tail = tail;
                        break;
                    }
                    moved = true;
                }
            }
        }
        moved
    }

    /// From now on records that are held wait like others.
    fn let_go(&self) {
        for (position, record) in self.records() {
            if record.state == HELD {
                // SAFETY: called while nobody else uses the ring.
                unsafe { (*self.record(position)).state = WAITING }
            }
        }
    }

    fn is_half_full(&self) -> bool {
        // SAFETY: the lock is held.
        unsafe { ((*self.0).head - (*self.0).tail) * 2 > (*self.0).capacity }
    }

    /// The ring begins with the first record that is not done.
    fn advance(&self) {
        let next = self
            .records()
            .find(|(_, r)| r.state == WAITING || r.state == HELD)
            .map(|(position, _)| position);
        // SAFETY: the lock is held exclusively.
        unsafe { (*self.0).tail = next.unwrap_or((*self.0).head) }
    }

    /// A copy of a record's line.
    fn line(&self, position: u64, record: &Record) -> Vec<u8> {
        let mut line = vec![0; record.len as usize];
        // SAFETY: the record's bytes follow it.
        unsafe { ptr::copy_nonoverlapping(self.at(position + RECORD), line.as_mut_ptr(), line.len()) };
        line
    }

    fn put(&self, database: u32, line: &[u8], state: u32, token: u32) -> bool {
        // SAFETY: the lock is held exclusively; every position is inside the ring, and no record crosses its end.
        unsafe {
            let header = &mut *self.0;
            let need = RECORD + (line.len() as u64).next_multiple_of(RECORD);
            let to_end = header.capacity - header.head % header.capacity;
            let padding = if to_end < need { to_end } else { 0 };
            if header.head - header.tail + padding + need > header.capacity {
                return false;
            }
            if padding > 0 {
                self.record(header.head).write(Record {
                    len: (padding - RECORD) as u32,
                    database: 0,
                    state: PADDING,
                    token: 0,
                });
            }
            let position = header.head + padding;
            self.record(position).write(Record {
                len: line.len() as u32,
                database,
                state,
                token,
            });
            ptr::copy_nonoverlapping(line.as_ptr(), self.at(position + RECORD), line.len());
            // Last: until then nobody looks there, not even after a crash in the middle.
            std::sync::atomic::fence(std::sync::atomic::Ordering::Release);
            header.head = position + need;
        }
        true
    }

    /// Position, database and state of each record. What is no record ends it.
    fn records(&self) -> impl Iterator<Item = (u64, Record)> {
        // SAFETY: the lock is held; positions from tail to head are inside the ring.
        let (mut position, head) = unsafe { ((*self.0).tail, (*self.0).head) };
        std::iter::from_fn(move || {
            if position >= head {
                return None;
            }
            let here = position;
            // SAFETY: as above.
            let record = unsafe { *self.record(here) };
            position += RECORD + u64::from(record.len).next_multiple_of(RECORD);
            (position <= head).then_some((here, record))
        })
    }

    /// Copies of records that wait, of one database or of all.
    fn waiting(&self, database: Option<u32>, most: usize) -> Vec<(u64, Vec<u8>)> {
        self.records()
            .filter(|(_, r)| r.state == WAITING && database.is_none_or(|d| d == r.database))
            .take(most)
            .map(|(position, r)| (position, self.line(position, &r)))
            .collect()
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
