//! Rows to facts: what the engine needs, read by index, compiled once.
//!
//! Nothing in here decides. Each function reads under a snapshot newer than the stamp that its caller took, and
//! notes on that stamp what it depends on.

pub mod audited_view;
pub mod below;
pub mod candidate;
pub mod evidence;
pub mod mask;
pub mod model;
pub mod principal;
pub mod scope;
pub mod signing_key;
pub mod tenant;

use authz_engine::{Instant, Interval};

/// Which instant facts are loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The present: what has run out before this instant is left out, and states are read as they stand.
    Now(Instant),
    /// The past: what was in force at this instant is loaded, and states are read from their history.
    At(Instant),
}

impl When {
    /// Rows with `active_until` up to here are of no interest.
    pub const fn horizon(self) -> Instant {
        match self {
            When::Now(at) | When::At(at) => at,
        }
    }

    /// Is a row of that interval of interest? Now: unless it is over, since what is loaded is kept.
    pub const fn concerns(self, valid: &Interval) -> bool {
        match self {
            When::Now(at) => valid.until > at,
            When::At(at) => valid.contains(at),
        }
    }
}
