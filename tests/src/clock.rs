//! Tests of what time alone changes: a session that expires, a rule that begins.
//!
//! They wait for it, so their spans are short; and what they do within one has to be done before it ends, for which a
//! machine that is busy elsewhere may be too slow. That is no fault of what is tested: a test that failed and did not
//! keep up is run again with longer spans.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// What a test measures its spans with.
pub struct Clock {
    unit: Duration,
    begin: Cell<Instant>,
    slept: Cell<Duration>,
}

impl Clock {
    /// The length of one unit, in whole seconds.
    pub fn seconds(&self) -> u64 {
        self.unit.as_secs()
    }

    /// So many units as an `interval` of SQL.
    pub fn interval(&self, units: f64) -> String {
        format!("interval '{} seconds'", self.unit.mul_f64(units).as_secs_f64())
    }

    /// Spans begin now: to be called before the server is told of the first one.
    pub fn start(&self) {
        self.begin.set(Instant::now());
        self.slept.set(Duration::ZERO);
    }

    /// Sleeps until so many units after the start.
    pub fn wait_until(&self, units: f64) {
        let left = self.unit.mul_f64(units).saturating_sub(self.begin.get().elapsed());
        self.slept.set(self.slept.get() + left);
        std::thread::sleep(left);
    }

    /// Did what was done since the start take longer than spans leave room for?
    fn is_late(&self) -> bool {
        self.begin.get().elapsed().saturating_sub(self.slept.get()) > self.unit / 4
    }
}

/// Runs a test whose moments are at least half a unit away from what happens in between: again with a longer unit
/// where it failed and had more to do than a quarter of a unit allows.
pub fn at_leisure(test: impl Fn(&Clock)) {
    for seconds in [1, 6, 36] {
        let clock = Clock {
            unit: Duration::from_secs(seconds),
            begin: Cell::new(Instant::now()),
            slept: Cell::new(Duration::ZERO),
        };
        let Err(failure) = catch_unwind(AssertUnwindSafe(|| test(&clock))) else {
            return;
        };
        if !clock.is_late() || seconds == 36 {
            resume_unwind(failure);
        }
        println!("too slow for a unit of {seconds} s: once more with a longer one");
    }
}
