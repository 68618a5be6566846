//! The queue between backends and the background workers that write what backends could not.

/// Puts a line into the queue; false where there is none, or it is full.
pub fn push(_line: &[u8]) -> bool {
    false
}

/// Counts a line that went to the log.
pub fn count_logged() {}

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
    None
}
