//! What the background workers do with the lines in the queue.

use super::{audit, outlet};
use crate::pg::worker::{self, Writer};
use crate::pg::{authority, clock, queue};
use pgrx::Spi;
use pgrx::bgworkers::BackgroundWorker;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Lines that are written in one transaction.
const BATCH: usize = 256;

/// How long a writer without work stays. Short, because a database with somebody in it cannot be dropped or copied.
const LINGER: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(50);

/// Starts of a writer in vain, after which lines go to the log.
const ATTEMPTS: u32 = 5;

/// Writes the lines of the database that the worker is connected to, until there are none.
pub fn write(database: u32) {
    worker::report(c"writing access events of transactions that were rolled back");
    let mut idle_since = Instant::now();
    loop {
        let lines = queue::waiting(database, BATCH);
        if lines.is_empty() {
            if idle_since.elapsed() > LINGER || !BackgroundWorker::wait_latch(Some(PAUSE)) {
                return;
            }
            continue;
        }
        let (positions, lines): (Vec<u64>, Vec<Vec<u8>>) = lines.into_iter().unzip();
        // An error ends the worker, and with it the transaction; the lines stay in the queue for the next one.
        let refused = BackgroundWorker::transaction(|| deliver(&lines));
        for n in &refused {
            outlet::log(&lines[*n]);
        }
        queue::finish(&positions, refused.len());
        idle_since = Instant::now();
    }
}

/// Writes lines as rows; the positions of those that cannot be.
fn deliver(lines: &[Vec<u8>]) -> Vec<usize> {
    if !authority::installed() {
        return (0..lines.len()).collect();
    }
    audit::prepare_month(clock::wall());
    let texts: Vec<String> = lines.iter().map(|l| String::from_utf8_lossy(l).into_owned()).collect();
    let refused = Spi::get_one_with_args::<Vec<i32>>("SELECT authz.deliver_access_events($1)", &[texts.into()]);
    match refused {
        Ok(refused) => refused
            .unwrap_or_default()
            .into_iter()
            .map(|n| n as usize - 1)
            .collect(),
        Err(_) => (0..lines.len()).collect(),
    }
}

/// What the launcher knows of the writer of a database.
struct Started {
    writer: Option<Writer>,
    /// Lines that waited when it was started.
    waiting: usize,
    /// Starts in a row that left as many lines as before.
    in_vain: u32,
    next: Instant,
}

/// Starts writers for databases with lines in the queue, until the server stops.
pub fn launch() {
    let mut started: HashMap<u32, Started> = HashMap::new();
    queue::wake_me();
    loop {
        let databases = queue::databases();
        started.retain(|database, s| {
            s.writer.as_ref().is_some_and(Writer::is_alive) || databases.iter().any(|(d, _)| d == database)
        });
        let mut wait = Duration::from_secs(5);
        for (database, waiting) in databases {
            let s = started.entry(database).or_insert_with(|| Started {
                writer: None,
                waiting: usize::MAX,
                in_vain: 0,
                next: Instant::now(),
            });
            if s.writer.as_ref().is_some_and(Writer::is_alive) {
                continue;
            }
            if s.writer.take().is_some() {
                s.in_vain = if waiting < s.waiting { 0 } else { s.in_vain + 1 };
                s.next = Instant::now() + Duration::from_millis(if s.in_vain > 0 { 50 << s.in_vain } else { 0 });
            }
            if s.in_vain >= ATTEMPTS || !worker::database_exists(database) {
                log_all(database);
                started.remove(&database);
                continue;
            }
            let pause = s.next.saturating_duration_since(Instant::now());
            if pause.is_zero() {
                s.waiting = waiting;
                s.writer = Writer::start(database);
                if s.writer.is_none() {
                    wait = wait.min(Duration::from_secs(1));
                }
            } else {
                wait = wait.min(pause);
            }
        }
        if !BackgroundWorker::wait_latch(Some(wait)) {
            return;
        }
    }
}

/// Writes everything of a database to the log.
fn log_all(database: u32) {
    loop {
        let lines = queue::waiting(database, BATCH);
        if lines.is_empty() {
            return;
        }
        let positions: Vec<u64> = lines.iter().map(|(position, _)| *position).collect();
        for (_, line) in &lines {
            outlet::log(line);
        }
        queue::finish(&positions, positions.len());
    }
}
