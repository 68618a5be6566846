//! `authz_resources`: what a principal may use a permission on.

use super::id;
use crate::error;
use crate::listing;
use authz_engine::Key;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::iter::TableIterator;
use pgrx::{Uuid, default, name, pg_extern};

/// Ordered by key, then tenant. `after` continues behind a key; of a key that several tenants have, a page has all or
/// none, even where that makes it longer than `max_rows`.
#[pg_extern(name = "authz_resources", stable, parallel_safe)]
fn resources(
    principal: Option<Uuid>,
    permission: Option<&str>,
    tenant: default!(Option<Uuid>, "NULL"),
    after: default!(Option<&str>, "NULL"),
    max_rows: default!(Option<i64>, "NULL"),
    at: default!(Option<TimestampWithTimeZone>, "NULL"),
) -> TableIterator<'static, (name!(tenant, Option<Uuid>), name!(resource, String))> {
    let (Some(principal), Some(permission)) = (principal, permission) else {
        return TableIterator::new(Vec::new());
    };
    if max_rows.is_some_and(|most| most < 0) {
        error::negative_max_rows();
    }
    let after = after.map(Key::from_text);
    let mut found = listing::resources(
        id(principal),
        permission,
        tenant.map(id),
        after.as_ref(),
        at.map(i64::from),
    );
    if let Some(most) = max_rows.and_then(|m| usize::try_from(m).ok()) {
        let page = found.chunk_by(|a, b| a.0 == b.0).scan(0, |taken, same_key| {
            let more = *taken < most;
            *taken += same_key.len();
            more.then_some(same_key.len())
        });
        let rows = page.sum();
        found.truncate(rows);
    }
    let tenant_of = |t: Option<uuid::Uuid>| t.map(|t| Uuid::from_bytes(t.into_bytes()));
    TableIterator::new(
        found
            .into_iter()
            .map(move |(key, tenant)| (tenant_of(tenant), key.to_string())),
    )
}
