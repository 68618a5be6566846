//! Which views are audited.

use crate::pg::authority::Reading;
use crate::pg::relation::ScanKey;
use pgrx::pg_sys::Oid;
use uuid::Uuid;

/// What becomes of a read whose event cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// It fails.
    Error,
    /// Its event goes to the background workers or to the server's log.
    Log,
}

/// The view that carries a surface's id.
pub fn view_of(surface: &Uuid) -> Option<Oid> {
    let reading = Reading::begin();
    let table = reading.open("audited_view");
    let [surface_id, target] = table.columns(["surface_id", "target"]);
    let mut found = None;
    table.scan("audited_view_pkey", &[ScanKey::uuid(surface_id, surface)], |row| {
        found = row.oid(target);
        false
    });
    found
}

/// What its owner wants of a view; `None` if it is not audited (any more).
pub fn on_failure(view: Oid) -> Option<OnFailure> {
    let reading = Reading::begin();
    let table = reading.open("audited_view");
    let [target, on_failure] = table.columns(["target", "on_failure"]);
    let mut found = None;
    table.scan("audited_view_target_key", &[ScanKey::oid(target, view)], |row| {
        found = Some(match row.text(on_failure).as_deref() {
            Some("log") => OnFailure::Log,
            _ => OnFailure::Error,
        });
        false
    });
    found
}
