//! `authz_stats`.

use crate::cache;
use crate::pg::invalidation;
use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern};

/// What this backend's cache has done since the backend began.
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
    ),
> {
    let s = cache::statistics();
    TableIterator::once((
        s.hits as i64,
        s.loads as i64,
        s.evictions as i64,
        s.entries as i64,
        s.bytes as i64,
        invalidation::received() as i64,
    ))
}
