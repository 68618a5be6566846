//! Nothing is read past the gate, and a view stays audited until it is dropped (R43).

use authz_tests::reading::{World, act, events};
use authz_tests::{execute, refused, refused_with_hint, value};

#[test]
fn an_audited_view_stays_audited_or_is_dropped() {
    let world = World::new();
    let mut o = world.owner();
    let mut admin = world.db.connect();
    let mut c = world.reader();
    act(&mut c, "alice", "before");
    execute(&mut c, "PREPARE p AS SELECT * FROM v; EXECUTE p");
    for sql in [
        "CREATE OR REPLACE VIEW v WITH (security_barrier = true) AS SELECT id, word FROM reading",
        "CREATE OR REPLACE RULE \"_RETURN\" AS ON SELECT TO v DO INSTEAD SELECT id, word FROM reading",
        "CREATE OR REPLACE VIEW v WITH (security_barrier) AS
             SELECT id, word FROM reading WHERE authz_audited('00000000-0000-0000-0000-000000000001')",
        "ALTER VIEW v SET (security_barrier = false)",
        "ALTER VIEW v RESET (security_barrier)",
        "ALTER TABLE v RESET (security_barrier)",
    ] {
        refused_with_hint(&mut o, sql, "55000", &["audited view", "authz_audited"]);
    }
    // Another body with the same call, another name, another schema, another column name: the same view.
    let surface: String = value(
        &mut admin,
        "SELECT surface_id::text FROM authz.audited_view WHERE target = 'public.v'::regclass",
        &[],
    );
    // A call that the planner can do without.
    for rest in [
        "WHERE true OR authz_audited('{}')",
        "WHERE CASE WHEN true THEN true ELSE authz_audited('{}') END",
        "UNION ALL SELECT 0, '' WHERE authz_audited('{}')",
        "WHERE EXISTS (SELECT FROM reading WHERE authz_audited('{}')) OR true",
    ] {
        let sql = format!(
            "CREATE OR REPLACE VIEW v WITH (security_barrier) AS SELECT id, word FROM reading {}",
            rest.replace("{}", &surface)
        );
        refused_with_hint(&mut o, &sql, "55000", &["audited view", "authz_audited"]);
    }
    execute(
        &mut o,
        &format!(
            "CREATE OR REPLACE VIEW v WITH (security_barrier) AS
                 SELECT id, word FROM reading WHERE id < 4 AND authz_audited('{surface}')"
        ),
    );
    act(&mut c, "alice", "replaced");
    execute(&mut c, "EXECUTE p");
    execute(
        &mut o,
        "ALTER VIEW v RENAME TO renamed; ALTER VIEW renamed RENAME COLUMN word TO phrase",
    );
    execute(
        &mut admin,
        &format!(
            "CREATE SCHEMA \"Other\" AUTHORIZATION {}; GRANT USAGE ON SCHEMA \"Other\" TO PUBLIC",
            world.owner
        ),
    );
    execute(&mut o, "ALTER VIEW renamed SET SCHEMA \"Other\"");
    act(&mut c, "alice", "moved");
    execute(
        &mut c,
        "SELECT * FROM \"Other\".renamed; SELECT phrase FROM \"Other\".renamed LIMIT 1",
    );
    for (request, expected) in [
        ("before", vec!["v 10 completed"]),
        ("replaced", vec!["v 3 completed"]),
        (
            "moved",
            vec!["\"Other\".renamed 3 completed", "\"Other\".renamed 1 completed"],
        ),
    ] {
        assert_eq!(
            events(&mut admin, &format!("request_id = '{request}'")),
            expected,
            "{request}"
        );
    }
    // Dropped, whoever drops it and however, it is forgotten; rolled back, it is not.
    execute(&mut o, "BEGIN; DROP VIEW w; ROLLBACK");
    execute(&mut c, "SELECT * FROM w");
    execute(&mut o, "DROP VIEW w; CREATE VIEW w AS SELECT * FROM reading");
    execute(&mut o, &format!("GRANT SELECT ON w TO {}", world.reader));
    act(&mut c, "alice", "not any more");
    execute(&mut c, "SELECT * FROM w");
    assert!(events(&mut admin, "request_id = 'not any more'").is_empty());
    execute(&mut admin, "DROP SCHEMA \"Other\" CASCADE");
    assert_eq!(
        value::<i64>(&mut admin, "SELECT count(*) FROM authz.audited_view", &[]),
        0
    );
    execute(&mut o, "SELECT authz_create_audited_view('v', target => 'reading')");
    execute(&mut o, "DROP TABLE reading CASCADE");
    assert_eq!(
        value::<i64>(&mut admin, "SELECT count(*) FROM authz.audited_view", &[]),
        0
    );
    refused(&mut admin, "TRUNCATE authz.audited_view", "55000", &[]);
}

#[test]
fn nothing_is_read_past_the_gate() {
    let world = World::new();
    let mut o = world.owner();
    let mut admin = world.db.connect();
    let mut c = world.reader();
    let surface: String = value(
        &mut admin,
        "SELECT surface_id::text FROM authz.audited_view WHERE target = 'public.v'::regclass",
        &[],
    );
    // A copy of the body is read as the view whose call it makes.
    execute(
        &mut o,
        &format!(
            "CREATE VIEW copy AS SELECT id FROM reading WHERE authz_audited('{surface}');
             GRANT SELECT ON copy, reading TO {}",
            world.reader
        ),
    );
    act(&mut c, "alice", "copy");
    execute(&mut c, "SELECT * FROM copy; SELECT * FROM copy, v LIMIT 2");
    assert_eq!(
        events(&mut admin, "request_id = 'copy'"),
        ["v 10 completed", "v 2 completed"]
    );
    // A call without a view behind it fails, planned before or not.
    execute(
        &mut o,
        "CREATE VIEW unregistered AS SELECT id FROM reading WHERE authz_audited('00000000-0000-0000-0000-000000000001');
         CREATE VIEW unnamed AS SELECT id FROM reading WHERE authz_audited(gen_random_uuid());
         CREATE VIEW unknown AS SELECT id FROM reading WHERE authz_audited(NULL);
         GRANT SELECT ON unregistered, unnamed, unknown TO PUBLIC",
    );
    for view in ["unregistered", "unnamed", "unknown"] {
        refused_with_hint(&mut c, &format!("SELECT * FROM {view}"), "55000", &["not registered"]);
    }
    execute(&mut c, "PREPARE p AS SELECT * FROM v; EXECUTE p; EXECUTE p");
    execute(
        &mut admin,
        &format!("DELETE FROM authz.audited_view WHERE surface_id = '{surface}'"),
    );
    refused(&mut c, "EXECUTE p", "55000", &["not registered"]);
    refused(&mut c, "SELECT * FROM v", "55000", &["not registered"]);
    execute(
        &mut admin,
        &format!("INSERT INTO authz.audited_view (surface_id, target) VALUES ('{surface}', 'public.v')"),
    );
    // Nor does what a caller sets or calls itself.
    for (n, sql) in [
        "SET enable_seqscan = off; SET enable_material = off; SET from_collapse_limit = 1",
        "SET constraint_exclusion = on; SET jit = off; SET row_security = off",
        "SET plan_cache_mode = force_custom_plan; SET search_path = pg_catalog, public",
        "DISCARD ALL",
        "CREATE FUNCTION public.authz_audited(text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    ]
    .iter()
    .enumerate()
    {
        execute(&mut c, sql);
        act(&mut c, "bob", &format!("set {n}"));
        execute(&mut c, "SELECT * FROM public.v");
        assert_eq!(
            events(&mut admin, &format!("request_id = 'set {n}'")),
            ["v 10 completed"],
            "{sql}"
        );
    }
    act(&mut admin, "bob", "replica");
    execute(
        &mut admin,
        "SET session_replication_role = replica; SELECT * FROM public.v; RESET session_replication_role",
    );
    assert_eq!(events(&mut admin, "request_id = 'replica'"), ["v 10 completed"]);
    // Other extensions' hooks go on being called, loaded before and after.
    let mut d = world.db.connect();
    act(&mut d, "bob", "hooks");
    execute(
        &mut d,
        "LOAD 'authz_ext'; LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on;
         SET auto_explain.log_nested_statements = on; SELECT * FROM public.v; LOAD 'auto_explain'; SELECT * FROM public.v",
    );
    assert_eq!(
        events(&mut admin, "request_id = 'hooks'"),
        ["v 10 completed", "v 10 completed"]
    );
}
