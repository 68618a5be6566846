//! Separation of duty (`authz.sod_constraint`): static whatever way authority changes, dynamic where it is used.

mod assigned;
mod definition;
mod dynamic;
mod race;

use authz_tests::make::{self, id};
use authz_tests::office::with_ids;
use authz_tests::{Db, execute};
use postgres::Client;

/// Two tenants, roles clerk, payer, auditor and both (which inherits clerk and payer).
fn world(db: &Db) -> Client {
    let mut c = db.connect();
    for tenant in ["acme", "globex"] {
        make::tenant(&mut c, tenant);
    }
    make::role(&mut c, "clerk", &["case.edit"]);
    make::role(&mut c, "payer", &["case.approve"]);
    make::role(&mut c, "auditor", &["case.view"]);
    make::role(&mut c, "both", &[]);
    for name in ["alice", "bob"] {
        make::member(&mut c, id("acme"), name);
        make::join(&mut c, id("globex"), id(name));
    }
    c
}

fn constraint(c: &mut Client, columns: &str, values: &str) {
    execute(
        c,
        &with_ids(&format!(
            "INSERT INTO authz.sod_constraint (constraint_name, role_codes{columns}) VALUES ('four eyes', '{{clerk,payer}}'{values})"
        )),
    );
}

/// SQL that assigns a role.
fn assignment(who: &str, role: &str, tenant: &str) -> String {
    let (tenant, kind) = match tenant {
        "" => ("NULL".to_owned(), "platform"),
        t => (format!("'{}'", id(t)), "tenant"),
    };
    format!(
        "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
         VALUES ({tenant}, '{}', '{role}', '{kind}', {tenant})",
        id(who)
    )
}

fn used(who: &str, permission: &str, case: &str) -> String {
    with_ids(&format!(
        "SELECT authz.sod_use('{permission}', 'case', '{{{case}}}', '{{acme}}', '{{{who}}}')"
    ))
}
