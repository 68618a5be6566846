//! Functions that change authority (R10, R15 to R18, R31, R51): who may, what is refused, and what two at once do.

mod authority;
mod change;
mod handing_on;
mod model;
mod ownership;
mod race;
mod refusal;
mod shadow;

use authz_tests::report;
use postgres::Client;

/// Every row that grants authority, and the number of change events.
fn authority(c: &mut Client) -> Vec<String> {
    let tables = [
        "tenant_membership",
        "team_membership_history",
        "role_definition",
        "role_inheritance",
        "permission_definition",
        "permission_implication",
        "role_permission",
        "principal_role_assignment",
        "resource_access_grant",
        "resource_access_rule",
        "principal",
        "access_change_event",
    ];
    let mut rows = Vec::new();
    for table in tables {
        let found = c
            .query(&format!("SELECT t::text FROM authz.{table} AS t ORDER BY 1"), &[])
            .unwrap_or_else(|e| panic!("{}", report(&e)));
        rows.extend(found.iter().map(|row| format!("{table} {}", row.get::<_, String>(0))));
    }
    rows
}
