//! `authz_stats`.

use crate::cache;
use crate::pg::{invalidation, queue};
use crate::write::outlet;
use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern};

/// What this backend's cache has done since the backend began, and what becomes of events whose transaction rolls back:
/// with background workers the counts are the server's since its start, without them this backend's.
#[pg_extern(name = "authz_stats", volatile, parallel_restricted)]
#[allow(clippy::type_complexity)]
fn stats() -> TableIterator<
    'static,
    (
        name!(hits, i64),
        name!(loads, i64),
        name!(evictions, i64),
        name!(entries, i64),
        name!(bytes, i64),
        name!(invalidations, i64),
        name!(audit_outlet, &'static str),
        name!(audit_queued, i64),
        name!(audit_written, i64),
        name!(audit_waiting, i64),
        name!(audit_logged, i64),
    ),
> {
    let s = cache::statistics();
    let (outlet, q) = match queue::statistics() {
        Some(q) => ("worker", q),
        None => (
            "log",
            queue::Statistics {
                logged: outlet::logged(),
                ..queue::Statistics::default()
            },
        ),
    };
    TableIterator::once((
        s.hits as i64,
        s.loads as i64,
        s.evictions as i64,
        s.entries as i64,
        s.bytes as i64,
        invalidation::received() as i64,
        outlet,
        q.queued as i64,
        q.written as i64,
        q.waiting as i64,
        q.logged as i64,
    ))
}
