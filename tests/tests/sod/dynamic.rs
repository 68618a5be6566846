//! Dynamic: nobody uses roles that are to be apart on one resource.

use crate::{assignment, constraint, used, world};
use authz_tests::make::{self, id};
use authz_tests::office::with_ids;
use authz_tests::session::act_as;
use authz_tests::{Db, execute, refused, refused_with_hint};

#[test]
fn dynamic_counts_what_is_used_on_one_resource() {
    let db = Db::new();
    let mut c = world(&db);
    constraint(&mut c, ", constraint_kind, resource_type", ", 'dynamic', 'case'");
    // Holding both is no breach.
    execute(&mut c, &assignment("alice", "clerk", "acme"));
    execute(&mut c, &assignment("alice", "payer", "acme"));
    execute(&mut c, &used("alice", "case.edit", "affair"));
    execute(&mut c, &used("alice", "case.edit", "affair"));
    refused_with_hint(
        &mut c,
        &used("alice", "case.approve", "affair"),
        "23514",
        &["four eyes", "clerk", "payer"],
    );
    execute(&mut c, &used("alice", "case.approve", "other"));
    refused(&mut c, &used("alice", "case.edit", "other"), "23514", &["four eyes"]);
    // Somebody else.
    make::assign(&mut c, id("acme"), id("bob"), "payer", "tenant", id("acme"));
    execute(&mut c, &used("bob", "case.approve", "affair"));
    // A permission that comes from no role of the set; from a role that is not held; of another type; implied.
    execute(&mut c, &used("alice", "page.edit", "affair"));
    execute(&mut c, &used("bob", "case.edit", "affair"));
    execute(
        &mut c,
        &with_ids("SELECT authz.sod_use('case.approve', 'document', '{affair}', '{acme}', '{alice}')"),
    );
}

/// The session's principal by default; a use that is rolled back is none; a role by inheritance is used as well.
#[test]
fn dynamic_belongs_to_the_transaction() {
    let db = Db::new();
    let mut c = world(&db);
    constraint(&mut c, ", constraint_kind", ", 'dynamic'");
    make::inherit(&mut c, "both", "clerk");
    make::inherit(&mut c, "both", "payer");
    execute(&mut c, &assignment("alice", "both", "acme"));
    act_as(&mut c, "alice");
    let own = |permission: &str| {
        with_ids(&format!(
            "SELECT authz.sod_use('{permission}', 'case', '{{affair}}', '{{acme}}')"
        ))
    };
    execute(&mut c, &format!("BEGIN; {}; ROLLBACK", own("case.edit")));
    execute(&mut c, &own("case.approve"));
    refused(&mut c, &own("case.edit"), "23514", &["four eyes"]);
    execute(&mut c, "SELECT authz_clear_session()");
    refused(&mut c, &own("case.edit"), "22023", &["principal"]);
    refused(
        &mut c,
        "SELECT authz.sod_use(NULL, 'case', 'x', NULL, NULL)",
        "22023",
        &[],
    );
    let row = c
        .query_one("SELECT role_codes, principal_id FROM authz.sod_use", &[])
        .unwrap();
    assert_eq!(row.get::<_, Vec<String>>(0), ["payer"]);
    assert_eq!(row.get::<_, uuid::Uuid>(1), id("alice"));
    // What was used stays used.
    for sql in [
        "DELETE FROM authz.sod_use",
        "TRUNCATE authz.sod_use",
        "UPDATE authz.sod_use SET resource_id = 'x'",
    ] {
        refused(&mut c, sql, "55000", &[]);
    }
    execute(&mut c, "SET session_replication_role = replica");
    for sql in ["DELETE FROM authz.sod_use", "TRUNCATE authz.sod_use"] {
        refused(&mut c, sql, "55000", &[]);
    }
}
