//! `authz_run_export`, and what the functions of exports (`sql/85_export*.sql`) call: internal, it asks nobody.

use super::id;
use crate::error;
use crate::pg::identity;
use crate::write::export::{Format, write};
use pgrx::iter::TableIterator;
use pgrx::{Uuid, name, pg_extern, pg_sys};

/// `authz_run_export(export)`: not as the extension's owner, so that whose code calls is known. No export has the id that
/// stands for NULL.
#[pg_extern(volatile, parallel_unsafe)]
fn authz_run_export(export: Option<Uuid>) -> i64 {
    let export = export.map_or(uuid::Uuid::nil(), id);
    identity::call_for_caller(c"run_export", &export).value() as i64
}

/// Runs the query of an export and writes its chunks.
#[pg_extern(schema = "authz", volatile, parallel_unsafe, strict)]
#[allow(clippy::type_complexity)]
fn write_export(
    export_id: Uuid,
    source: pg_sys::Oid,
    query: &str,
    file_format: &str,
    row_limit: i64,
) -> TableIterator<
    'static,
    (
        name!(rows, i64),
        name!(bytes, i64),
        name!(chunks, i64),
        name!(sha256, Vec<u8>),
    ),
> {
    let format = match file_format {
        "csv" => Format::Csv,
        "jsonl" => Format::Lines,
        other => error::unknown_format(other),
    };
    let written = write(id(export_id), source, query, format, row_limit);
    TableIterator::once((written.rows, written.bytes, written.chunks, written.sha256))
}
