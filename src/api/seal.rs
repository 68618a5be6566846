//! `authz_audit_seal`, `authz_audit_verify`, `authz_audit_head`: evidence that nobody has changed the evidence.

use crate::write::{seal, verify};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::iter::TableIterator;
use pgrx::{default, name, pg_extern};

/// Chains what is closed.
#[pg_extern(name = "authz_audit_seal", volatile, parallel_unsafe)]
fn audit_seal() -> TableIterator<'static, (name!(seals, i64), name!(events, i64), name!(head, String))> {
    let (seals, events, head) = seal::seal();
    TableIterator::once((seals, events, head.to_string()))
}

/// The end of the chain.
#[pg_extern(name = "authz_audit_head", volatile, parallel_unsafe)]
fn audit_head() -> String {
    seal::head().to_string()
}

/// Compares the events with the chain, and the chain with an anchor.
#[pg_extern(name = "authz_audit_verify", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn audit_verify(
    anchor: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(valid, bool),
        name!(seals, i64),
        name!(events, i64),
        name!(archived, i64),
        name!(unsealed, i64),
        name!(head, String),
        name!(problem, Option<String>),
        name!(problem_table, Option<String>),
        name!(problem_key, Option<String>),
        name!(problem_seal, Option<i64>),
        name!(detail, Option<String>),
    ),
> {
    let v = verify::verify(anchor);
    let (problem, rest) = match v.problem {
        None => (None, None),
        Some(p) => (Some(p.what.to_owned()), Some((p.table, p.key, p.seal, p.detail))),
    };
    let (table, key, seal, detail) = match rest {
        None => (None, None, None, None),
        Some((table, key, seal, detail)) => (Some(table), Some(key), Some(seal), Some(detail)),
    };
    TableIterator::once((
        problem.is_none(),
        v.seals,
        v.events,
        v.archived,
        v.unsealed,
        v.head.to_string(),
        problem,
        table,
        key,
        seal,
        detail,
    ))
}

/// Writes into the chain that a partition is being detached.
#[pg_extern(schema = "authz", volatile, parallel_unsafe)]
fn seal_archive(partition: &str, from_time: TimestampWithTimeZone, to_time: TimestampWithTimeZone, events: i64) {
    seal::archive(partition, from_time.into_inner(), to_time.into_inner(), events);
}
