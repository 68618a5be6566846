//! The ring of records, and the file that it is kept in.

use crate::pg::server_log;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::ptr;
use std::sync::atomic::AtomicU64;

pub const FILE: &str = "pg_dynshmem/authz_ext.queue";
/// Says that the file is one of these, in this format.
const MAGIC: u64 = u64::from_be_bytes(*b"authzq01");
/// The header has a page to itself.
const HEADER: usize = 4096;

#[repr(C)]
pub struct Header {
    magic: u64,
    /// Bytes of the ring: a multiple of a record's alignment.
    capacity: u64,
    /// Where the next record goes.
    pub head: u64,
    /// Where the first record is that is not done.
    pub tail: u64,
    pub queued: AtomicU64,
    pub written: AtomicU64,
    pub logged: AtomicU64,
    /// The latch of the launcher; 0: it does not run.
    pub launcher: AtomicU64,
    /// The token of the last record that was held.
    pub token: u64,
}

/// Records begin at multiples of its size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Record {
    /// Bytes that follow.
    len: u32,
    pub database: u32,
    pub state: u32,
    /// What a record that is held is known by.
    pub token: u32,
}

const RECORD: u64 = size_of::<Record>() as u64;
pub const WAITING: u32 = 0;
pub const DONE: u32 = 1;
/// What is left of the ring's end where a record did not fit.
const PADDING: u32 = 2;
/// Waits only after a crash: until then its backend may take it back.
pub const HELD: u32 = 3;

/// # Safety
/// No other process may use the file.
pub unsafe fn map(size: usize) -> std::io::Result<*mut Header> {
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
pub struct Ring(pub *mut Header);

impl Ring {
    fn at(&self, position: u64) -> *mut u8 {
        // SAFETY: positions are taken modulo the capacity of the mapping.
        unsafe {
            self.0
                .cast::<u8>()
                .add(HEADER + (position % (*self.0).capacity) as usize)
        }
    }

    pub fn record(&self, position: u64) -> *mut Record {
        self.at(position).cast()
    }

    /// Adds a record. Where there is no room, records that are held long may be in the way: they are put behind the others.
    pub fn push(&self, database: u32, line: &[u8], state: u32, token: u32) -> bool {
        self.put(database, line, state, token) || self.turn_over() && self.put(database, line, state, token)
    }

    /// Moves the records that are held at the ring's beginning to its end; true if there were any.
    pub fn turn_over(&self) -> bool {
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
    pub fn let_go(&self) {
        for (position, record) in self.records() {
            if record.state == HELD {
                // SAFETY: called while nobody else uses the ring.
                unsafe { (*self.record(position)).state = WAITING }
            }
        }
    }

    pub fn is_half_full(&self) -> bool {
        // SAFETY: the lock is held.
        unsafe { ((*self.0).head - (*self.0).tail) * 2 > (*self.0).capacity }
    }

    /// The ring begins with the first record that is not done.
    pub fn advance(&self) {
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

    pub fn put(&self, database: u32, line: &[u8], state: u32, token: u32) -> bool {
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
    pub fn records(&self) -> impl Iterator<Item = (u64, Record)> {
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
    pub fn waiting(&self, database: Option<u32>, most: usize) -> Vec<(u64, Vec<u8>)> {
        self.records()
            .filter(|(_, r)| r.state == WAITING && database.is_none_or(|d| d == r.database))
            .take(most)
            .map(|(position, r)| (position, self.line(position, &r)))
            .collect()
    }
}
