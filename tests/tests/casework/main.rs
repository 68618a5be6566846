//! The reference domain: controlled writes (R30), ownership with history (R17), documents stricter than their case
//! (R25), soft deletion (R26), tenant-scoped keys (R28), built with the public surface (R71).

mod call;
mod case;
mod decision;
mod eyes;
mod install;

use authz_tests::make::id;
use authz_tests::value;
use postgres::Client;
use uuid::Uuid;

fn status(c: &mut Client, decision: Uuid) -> String {
    value(
        c,
        "SELECT status FROM casework.case_decision WHERE decision_id = $1",
        &[&decision],
    )
}

/// A call in acme about case one.
fn on_case(function: &str, actor: &str) -> String {
    format!(
        "SELECT {function}('{}', '{}', '{}', 'because')",
        id("acme"),
        id("one"),
        id(actor)
    )
}
