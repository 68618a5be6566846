//! Installing and dumping the reference domain (R70, R71).

use authz_tests::casework::{Casework, act, session};
use authz_tests::dump::{Dump, Format};
use authz_tests::make::id;
use authz_tests::{Db, Start, execute, refused, refused_with_hint, value};
use postgres::Client;

/// The policies of the schema, and the rows that belong to them.
fn state(c: &mut Client) -> String {
    value(
        c,
        "SELECT string_agg(what, E'\n' ORDER BY what COLLATE \"C\") FROM (
             SELECT concat_ws(' ', p.polrelid::regclass, p.polname, p.polcmd, pg_get_expr(p.polqual, p.polrelid),
                    pg_get_expr(p.polwithcheck, p.polrelid), obj_description(p.oid, 'pg_policy')) FROM pg_policy p
             UNION ALL SELECT concat_ws(' ', oid::regclass, relrowsecurity, relforcerowsecurity) FROM pg_class
                        WHERE relnamespace = 'casework'::regnamespace
             UNION ALL SELECT t::text FROM authz.resource_type t
             UNION ALL SELECT h::text FROM authz.resource_history h
             UNION ALL SELECT d::text FROM authz.permission_definition d
             UNION ALL SELECT r.role_code || ' ' || p.permission_code FROM authz.role_definition r JOIN authz.role_permission p USING (role_code)
             UNION ALL SELECT c::text FROM casework.case_record c
             UNION ALL SELECT a::text FROM casework.case_assignment a
             UNION ALL SELECT d::text FROM casework.case_decision d
             UNION ALL SELECT t::text FROM casework.case_decision_transition t
             UNION ALL SELECT h::text FROM casework.case_ownership_history h) AS s (what)",
        &[],
    )
}

fn policies(c: &mut Client) -> Vec<String> {
    state(c)
        .lines()
        .filter(|line| line.contains("Made by authz_protect"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn r71_installing_is_what_authz_protect_does_and_can_be_repeated() {
    let db = Db::with(Start::Extension);
    let mut c = db.connect();
    let made = policies(&mut c);
    assert_eq!(made.len(), 16);
    execute(&mut c, "SELECT * FROM authz_install_casework()");
    assert_eq!(policies(&mut c), made, "CREATE EXTENSION makes the same policies");
    let before = state(&mut c);
    execute(&mut c, "SELECT * FROM authz_install_casework()");
    assert_eq!(state(&mut c), before);
    let missing: i64 = value(
        &mut c,
        "SELECT count(*) FROM authz.protected_table WHERE missing_indexes <> '{}' OR NOT forced",
        &[],
    );
    assert_eq!(missing, 0);
    // What the database's owner took from a role stays taken.
    execute(
        &mut c,
        "UPDATE authz.role_permission SET valid_until = now() WHERE permission_code = 'decision.approve'",
    );
    execute(&mut c, "SELECT * FROM authz_install_casework()");
    let open: i64 = value(
        &mut c,
        "SELECT count(*) FROM authz.role_permission WHERE permission_code = 'decision.approve' AND valid_until IS NULL",
        &[],
    );
    assert_eq!(open, 0);
    // A database with cases of its own keeps them.
    let other = Db::new();
    let mut c = other.connect();
    let before = state(&mut c);
    refused_with_hint(
        &mut c,
        "SELECT * FROM authz_install_casework()",
        "55000",
        &["case", "case_record"],
    );
    assert_eq!(state(&mut c), before);
    let reader = other.role();
    execute(
        &mut c,
        &format!(
            "GRANT USAGE ON SCHEMA casework TO {reader}; GRANT SELECT ON ALL TABLES IN SCHEMA casework TO {reader}"
        ),
    );
    let rows: i64 = value(
        &mut other.connect_as(&reader),
        "SELECT count(*) FROM casework.case_record",
        &[],
    );
    assert_eq!(rows, 0);
}

#[test]
fn r70_a_dump_keeps_the_reference_domain() {
    let w = Casework::new();
    let d = w.submitted();
    execute(&mut w.of("ben"), &act("approve", d, "ben"));
    execute(
        &mut w.of("dora"),
        &format!(
            "SELECT transfer_case_ownership('{}', '{}', 'team', '{}', '{}', 'moved')",
            id("acme"),
            id("one"),
            id("field"),
            id("dora")
        ),
    );
    let next = w.submitted();
    let copy = Dump::of(&w.db, Format::Plain).restored();
    assert_eq!(state(&mut copy.connect()), state(&mut w.owner()));
    // It works there, for the same roles.
    let mut ben = copy.connect_as(&w.app);
    session(&mut ben, "ben", true);
    execute(&mut ben, &act("approve", next, "ben"));
    refused(
        &mut ben,
        "UPDATE casework.case_decision SET status = 'draft'",
        "42501",
        &[],
    );
}
