//! Audited views: the call in their bodies, and registering them.

use super::id;
use crate::error;
use crate::pg::gate::{self, Gate};
use crate::pg::{executor, relation, support};
use crate::store::audited_view;
use crate::write::read;
use pgrx::{Internal, Uuid, pg_extern, pg_sys};

/// What stands in the body of an audited view. Planning it makes sure that reads are recorded; then it is true.
#[pg_extern(name = "authz_audited", stable, parallel_safe)]
fn audited(surface: Option<Uuid>) -> bool {
    // Only a call that names no constant is left to be executed.
    let _ = surface;
    error::unregistered_surface(None)
}

/// The planner support function of `authz_audited`.
#[pg_extern(schema = "authz", immutable, parallel_safe)]
fn audited_support(request: Internal) -> Internal {
    support::answer(request, |request| {
        let gate = Gate::of(request)?;
        let Some(view) = audited_view::view_of(&gate.surface) else {
            error::unregistered_surface(Some(&gate.surface.to_string()))
        };
        executor::watch();
        Some(gate.open(view))
    })
}

/// The text of the one SELECT that a query consists of.
#[pg_extern(schema = "authz", immutable, strict, parallel_safe)]
fn one_select(query: &str) -> String {
    gate::one_select(query).to_owned()
}

/// The surface whose gate every read of a view passes: a call of that function.
#[pg_extern(schema = "authz", stable, strict, parallel_safe)]
fn surface_of_view(view: pg_sys::Oid, audited: pg_sys::Oid) -> Option<Uuid> {
    gate::surface_of_view(view, audited).map(|surface| Uuid::from_bytes(*surface.as_bytes()))
}

/// Registers a view of the caller's as audited.
#[pg_extern(schema = "authz", volatile, strict, parallel_unsafe)]
fn register_audited_view(target: pg_sys::Oid, surface: Uuid, on_failure: &str) {
    check(target, on_failure);
    read::register(&id(surface), target, on_failure);
}

/// `authz_alter_audited_view(target, on_failure)`
#[pg_extern(schema = "authz", volatile, strict, parallel_unsafe)]
fn alter_audited_view(target: pg_sys::Oid, on_failure: &str) {
    check(target, on_failure);
    if audited_view::on_failure(target).is_none() {
        error::not_audited(&relation::qualified_name(target));
    }
    read::alter(target, on_failure);
}

fn check(target: pg_sys::Oid, on_failure: &str) {
    if !relation::is_owned(target) {
        error::not_owner(&relation::qualified_name(target));
    }
    if !matches!(on_failure, "error" | "log") {
        error::bad_on_failure(on_failure);
    }
}
