//! Where lines go whose transaction does not write them. Nothing here fails or waits.

use crate::pg::{queue, server_log, statement};
use std::cell::Cell;

thread_local! {
    /// Lines that this backend has written to the log.
    static LOGGED: Cell<u64> = const { Cell::new(0) };
}

/// Hands a line to the background workers; where there are none, or their queue is full, to the server's log.
pub fn hand_over(line: &[u8]) {
    if !queue::push(line) {
        log(line);
    }
}

/// Puts a line into the queue that is there for nobody until the server has crashed; `None` where there is no queue, or no
/// room in it, or nobody who would write it.
pub fn hold(line: &[u8]) -> Option<u32> {
    if statement::is_standby() {
        return None;
    }
    queue::hold(line)
}

/// Takes lines out of the queue that were held; in order.
pub fn release(held: &[u32]) {
    queue::release(held);
}

/// Writes to the server's log that something has begun which this line will be the event of.
pub fn log_beginning(line: &[u8]) {
    server_log::line(&format!("authz_ext read began: {}", String::from_utf8_lossy(line)));
}

/// Writes a line to the server's log.
pub fn log(line: &[u8]) {
    LOGGED.set(LOGGED.get() + 1);
    queue::count_logged();
    server_log::line(&format!("authz_ext access event: {}", String::from_utf8_lossy(line)));
}

/// Lines that this backend has written to the log.
pub fn logged() -> u64 {
    LOGGED.get()
}
