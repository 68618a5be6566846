//! Waiting for what is about to be so.

use postgres::Client;
use std::time::{Duration, Instant};

use crate::value;

/// Waits until it is so.
#[track_caller]
pub fn soon(what: &str, so: impl FnMut() -> bool) {
    within(Duration::from_secs(120), what, so);
}

/// Waits until it is so, but no longer.
#[track_caller]
pub fn within(limit: Duration, what: &str, mut so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !so() {
        assert!(begin.elapsed() < limit, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the backend waits for a lock.
#[track_caller]
pub fn until_it_waits(watcher: &mut Client, pid: i32) {
    soon("it waits for a lock", || waits(watcher, pid));
}

/// Does the backend wait for a lock?
#[track_caller]
pub fn waits(watcher: &mut Client, pid: i32) -> bool {
    value(
        watcher,
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock')",
        &[&pid],
    )
}
