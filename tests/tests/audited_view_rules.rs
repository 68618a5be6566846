//! Audited views (R43): what their events say, who may make and change them, what they show, and what does not get past
//! them.

use authz_tests::make::{self, id};
use authz_tests::reading::{World, act, events};
use authz_tests::{Db, Start, execute, refused, refused_with_hint, run, value};
use uuid::Uuid;

const READS: &str = "FROM authz.access_audit_event WHERE action_code = 'audited_view.read'";

#[test]
fn r43_pitfall_12_events_say_who_read_what_in_which_request() {
    let world = World::new();
    let mut admin = world.db.connect();
    let mut c = world.reader();
    execute(
        &mut c,
        &format!(
            "SELECT authz_set_session('{}', '{}', '{{\"request_id\": \"r-1\", \"source_ip\": \"10.1.2.3\", \"user_agent\": \"report\"}}', false);
             SELECT word FROM v WHERE id > 6",
            id("alice"),
            id("acme")
        ),
    );
    let row = admin
        .query_one(
            &format!(
                "SELECT principal_id, asked_by, tenant_id, request_id, host(source_ip), user_agent, resource_type, resource_id,
                        access_result, policy_reason, db_role::text, context, occurred_at <= now() {READS}"
            ),
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, Option<Uuid>>(0), Some(id("alice")));
    assert_eq!(row.get::<_, Option<Uuid>>(1), Some(id("alice")));
    assert_eq!(row.get::<_, Option<Uuid>>(2), Some(id("acme")));
    for (n, expected) in [
        (3, Some("r-1")),
        (4, Some("10.1.2.3")),
        (5, Some("report")),
        (6, Some("audited_view")),
        (7, Some("public.v")),
        (8, Some("allowed")),
        (9, None),
        (10, Some(world.reader.as_str())),
    ] {
        assert_eq!(row.get::<_, Option<&str>>(n), expected, "column {n}");
    }
    let context: serde_json::Value = row.get(11);
    assert_eq!(
        context,
        serde_json::json!({"surface": "public.v", "statement": "SELECT", "rows": 4, "outcome": "completed"})
    );
    assert!(row.get::<_, bool>(12));

    // A cursor is read by whom the session is when it is fetched from, not by who opened it.
    execute(
        &mut c,
        &format!(
            "SELECT authz_clear_session();
             BEGIN;
             DECLARE c CURSOR FOR SELECT * FROM v;
             SELECT authz_set_session('{}', NULL, '{{\"request_id\": \"late\"}}');
             FETCH 1 FROM c;
             SELECT authz_set_session('{}');
             FETCH 2 FROM c;
             COMMIT",
            id("bob"),
            id("alice")
        ),
    );
    let row = admin
        .query_one(
            &format!(
                "SELECT principal_id, context ->> 'rows', context -> 'also_read_by' {READS} AND request_id = 'late'"
            ),
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, Option<Uuid>>(0), Some(id("bob")));
    assert_eq!(row.get::<_, &str>(1), "3");
    assert_eq!(
        row.get::<_, serde_json::Value>(2),
        serde_json::json!([id("alice").to_string()])
    );

    // Whatever SET ROLE makes of it, the role that logged in is named; and a principal bound to it.
    execute(&mut admin, &format!("GRANT {} TO {}", world.owner, world.reader));
    let mut d = world.reader();
    execute(&mut d, &format!("SET ROLE {}; SELECT * FROM v", world.owner));
    let role: String = value(
        &mut admin,
        &format!("SELECT db_role::text {READS} AND request_id IS NULL ORDER BY occurred_at DESC LIMIT 1"),
        &[],
    );
    assert_eq!(role, world.reader);
    execute(
        &mut admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{}' WHERE principal_id = '{}'",
            world.reader,
            id("bob")
        ),
    );
    execute(&mut d, "RESET ROLE; SELECT * FROM v");
    let principal: Option<Uuid> = value(
        &mut admin,
        &format!("SELECT principal_id {READS} AND request_id IS NULL ORDER BY occurred_at DESC LIMIT 1"),
        &[],
    );
    assert_eq!(principal, Some(id("bob")));
}

#[test]
fn r43_pitfalls_24_25_33_row_security_stays_in_force() {
    let world = World::new();
    let (owner, reader) = (world.owner.clone(), world.reader.clone());
    let mut admin = world.db.connect();
    execute(
        &mut admin,
        &format!(
            "ALTER TABLE public.case_record OWNER TO {owner};
             SELECT * FROM authz_protect('public.case_record', 'case', 'case_id', 'tenant_id', 'owning_org_id', 'owning_team_id',
                 'project_id', 'owner_id', 'confidentiality_level', 'deleted_at')"
        ),
    );
    let globex = make::tenant(&mut admin, "globex");
    make::case(&mut admin, id("acme"), "affair");
    make::case(&mut admin, globex, "feud");
    make::assign(&mut admin, id("acme"), id("alice"), "viewer", "tenant", id("acme"));

    let mut o = world.owner();
    execute(
        &mut o,
        &format!(
            "SELECT authz_create_audited_view('cases', target => 'public.case_record');
             GRANT SELECT ON cases TO {reader}"
        ),
    );
    let mut c = world.reader();
    for (who, expected) in [("alice", vec!["affair"]), ("bob", vec![])] {
        act(&mut c, who, who);
        let titles: Vec<String> = c
            .query("SELECT title FROM cases", &[])
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert_eq!(titles, expected, "{who}");
        assert_eq!(
            events(&mut admin, &format!("request_id = '{who}'")),
            [format!("cases {} completed", expected.len())]
        );
    }
    execute(&mut c, "SELECT authz_clear_session()");
    assert_eq!(value::<i64>(&mut c, "SELECT count(*) FROM cases", &[]), 0);

    // A view of somebody to whom row security does not apply would show everything.
    for sql in [
        "SELECT authz_create_audited_view('public.all_cases', target => 'public.case_record')",
        "CREATE VIEW public.of_a_superuser AS SELECT * FROM public.case_record;
         SELECT authz_create_audited_view('public.all_cases', 'SELECT title FROM public.of_a_superuser')",
    ] {
        refused_with_hint(&mut admin, sql, "55000", &["row security", "case_record"]);
    }
    execute(&mut o, "ALTER TABLE public.case_record NO FORCE ROW LEVEL SECURITY");
    refused(
        &mut o,
        "SELECT authz_create_audited_view('all_cases', target => 'public.case_record')",
        "55000",
        &["row security"],
    );
    let problems: Vec<String> = value(
        &mut admin,
        "SELECT problems FROM authz.audited_surface WHERE target = 'public.cases'::regclass",
        &[],
    );
    assert!(
        problems.len() == 1 && problems[0].contains("case_record"),
        "{problems:?}"
    );
    execute(&mut o, "ALTER TABLE public.case_record FORCE ROW LEVEL SECURITY");
    refused(
        &mut admin,
        "ALTER VIEW public.cases OWNER TO postgres",
        "55000",
        &["row security"],
    );
    // What nothing refuses is reported: a superuser's view of a table that comes under row security later, an owner who becomes more.
    execute(
        &mut admin,
        "CREATE TABLE public.later (id int); SELECT authz_create_audited_view('public.of_later', target => 'public.later')",
    );
    let output = world
        .db
        .command("psql")
        .args(["-X", "-c", "ALTER TABLE public.later ENABLE ROW LEVEL SECURITY"])
        .output()
        .expect("psql runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("audited view public.of_later shows all rows of public.later"),
        "{said}"
    );
    execute(&mut admin, &format!("ALTER ROLE {owner} BYPASSRLS"));
    let problems: i64 = value(
        &mut admin,
        "SELECT count(*) FROM authz.audited_surface WHERE problems <> '{}'",
        &[],
    );
    assert_eq!(problems, 2);
    execute(
        &mut admin,
        &format!("ALTER ROLE {owner} NOBYPASSRLS; DROP TABLE public.later CASCADE"),
    );
    // As its readers: then they need to be allowed to read the table themselves, and it holds for them.
    execute(
        &mut admin,
        &format!(
            "SELECT authz_create_audited_view('public.all_cases', target => 'public.case_record', security_invoker => true);
             GRANT SELECT ON public.all_cases TO {reader}"
        ),
    );
    refused(&mut c, "SELECT * FROM all_cases", "42501", &["case_record"]);
    execute(&mut admin, &format!("GRANT SELECT ON public.case_record TO {reader}"));
    act(&mut c, "alice", "invoker");
    assert_eq!(value::<i64>(&mut c, "SELECT count(*) FROM all_cases", &[]), 1);
    assert_eq!(events(&mut admin, "request_id = 'invoker'"), ["all_cases 1 completed"]);

    // Conditions of the reader see no row that the view does not show, and no row is written through it.
    execute(
        &mut c,
        "CREATE FUNCTION tells(t text) RETURNS boolean COST 0.0001 LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'seen: %', t; END $$",
    );
    execute(
        &mut o,
        &format!(
            "SELECT authz_create_audited_view('few', 'SELECT * FROM reading WHERE id = 1'); GRANT ALL ON few TO {reader}"
        ),
    );
    execute(
        &mut c,
        "CREATE FUNCTION other(i int) RETURNS boolean COST 0.0001 LANGUAGE plpgsql AS
             $$ BEGIN IF i <> 1 THEN RAISE EXCEPTION 'seen: %', i; END IF; RETURN true; END $$",
    );
    execute(&mut c, "SELECT * FROM few WHERE other(id)");
    for sql in [
        "INSERT INTO few VALUES (99, 'x')",
        "INSERT INTO few VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET word = few.word RETURNING *",
        "UPDATE few SET word = 'x' RETURNING *",
        "DELETE FROM few RETURNING *",
    ] {
        assert!(c.batch_execute(sql).is_err(), "{sql}");
    }
}

/// Who has read through a function of its own, in rows that were never returned, does not pass for somebody else.
#[test]
fn r43_pitfall_12_a_cursor_without_rows_is_of_whoever_ran_it() {
    let world = World::new();
    let mut admin = world.db.connect();
    let mut c = world.reader();
    execute(
        &mut c,
        "CREATE TEMP TABLE leaked (word text);
         CREATE FUNCTION public.leak(word text) RETURNS boolean LANGUAGE sql VOLATILE AS
             'INSERT INTO leaked VALUES (word) RETURNING false'",
    );
    act(&mut c, "alice", "alice");
    execute(
        &mut c,
        "BEGIN; DECLARE c CURSOR FOR SELECT 1 FROM v WHERE public.leak(word); FETCH ALL FROM c",
    );
    act(&mut c, "bob", "bob");
    execute(&mut c, "FETCH ALL FROM c; COMMIT");
    assert_eq!(value::<i64>(&mut c, "SELECT count(*) FROM leaked", &[]), 10);
    let readers: Vec<String> = value(
        &mut admin,
        &format!("SELECT array_agg(concat(principal_id, ' and ', context -> 'also_read_by')) {READS}"),
        &[],
    );
    assert_eq!(readers, [format!("{} and [\"{}\"]", id("alice"), id("bob"))]);
}

/// A literal says of which relation as well as `target` does.
#[test]
fn a_relation_may_be_named_instead_of_a_query() {
    let db = Db::with(Start::Extension);
    let mut c = db.connect();
    execute(
        &mut c,
        r#"CREATE SCHEMA s; CREATE TABLE s."Odd name" (id integer); INSERT INTO s."Odd name" VALUES (7);
           SELECT authz_create_audited_view('s.a', 's."Odd name"', security_invoker => true),
                  authz_create_audited_view('s.b', target => 's."Odd name"', security_invoker => true)"#,
    );
    for view in ["s.a", "s.b"] {
        let seen: i32 = value(&mut c, &format!("SELECT id FROM {view}"), &[]);
        assert_eq!(seen, 7, "{view}");
    }
    refused(
        &mut c,
        "SELECT authz_create_audited_view('s.c', 's.nothing', security_invoker => true)",
        "42601",
        &[],
    );
}

#[test]
fn views_that_cannot_be_audited_are_refused() {
    let world = World::new();
    let mut o = world.owner();
    let mut admin = world.db.connect();
    execute(&mut admin, "CREATE TABLE public.foreign_words (word text)");
    execute(&mut o, "CREATE VIEW public.there AS SELECT 1 AS n");
    for (call, code, words) in [
        ("('v', 'SELECT 1 AS n')", "42P07", "already exists"),
        ("('there', 'SELECT 1 AS n')", "42P07", "already exists"),
        ("('reading', 'SELECT 1 AS n')", "42P07", "already exists"),
        ("('n', '')", "42601", "not one select"),
        ("('n', '  -- nothing')", "42601", "not one select"),
        ("('n', 'SELECT 1 AS n; SELECT 2 AS n')", "42601", "not one select"),
        ("('n', 'DELETE FROM reading')", "42601", "not one select"),
        ("('n', 'SELECT * INTO stolen FROM reading')", "42601", "not one select"),
        (
            "('n', 'SELECT * INTO stolen FROM reading UNION SELECT * FROM reading')",
            "42601",
            "not one select",
        ),
        ("('n', 'SELEC 1')", "42601", ""),
        (
            "('n', 'SELECT 1 AS n) AS q UNION ALL SELECT id FROM (SELECT id FROM reading')",
            "42601",
            "",
        ),
        ("('n', 'SELECT 1 AS n /*')", "42601", ""),
        ("('n', 'COPY reading TO STDOUT')", "42601", "not one select"),
        (
            "('n', 'WITH d AS (DELETE FROM reading RETURNING *) SELECT * FROM d')",
            "0A000",
            "",
        ),
        ("('n', 'SELECT $1')", "42P02", ""),
        ("('n', 'SELECT 1 AS a, 2 AS a')", "42701", ""),
        ("('n', target => 'nothing_there')", "42P01", ""),
        ("('n', 4294967294::regclass)", "42P01", ""),
        ("('n', 'SELECT * FROM nothing_there')", "42P01", ""),
        ("('n', 'SELECT nothing FROM reading')", "42703", ""),
        ("('n', target => 'public.foreign_words')", "42501", "foreign_words"),
        ("('n', 'SELECT * FROM public.foreign_words')", "42501", "foreign_words"),
        ("('nowhere.n', 'SELECT 1 AS n')", "3F000", ""),
        ("('a.b.c', 'SELECT 1 AS n')", "42602", ""),
        ("('', 'SELECT 1 AS n')", "42602", ""),
        ("('pg_temp.n', 'SELECT 1 AS n')", "42P16", ""),
        ("(NULL, 'SELECT 1 AS n')", "22023", ""),
        ("('n', NULL::text)", "22023", ""),
        ("('n', NULL::regclass)", "22023", ""),
        (
            "('n', 'SELECT 1 AS n', on_failure => 'ignore')",
            "22023",
            "'error' or 'log'",
        ),
        ("('n', 'SELECT 1 AS n', on_failure => NULL)", "22023", ""),
        ("('authz.n', 'SELECT 1 AS n')", "42501", ""),
    ] {
        refused(
            &mut o,
            &format!("SELECT authz_create_audited_view{call}"),
            code,
            &[words],
        );
        let left: bool = value(
            &mut admin,
            "SELECT to_regclass('public.n') IS NOT NULL OR to_regclass('public.stolen') IS NOT NULL
                 OR (SELECT count(*) FROM authz.audited_view) <> 2",
            &[],
        );
        assert!(!left, "{call} left something behind");
    }
    refused(
        &mut o,
        "CREATE TEMP TABLE t (n int); SELECT authz_create_audited_view('n', 'SELECT * FROM t')",
        "42P16",
        &[],
    );
    // Names and queries that look dangerous and are not.
    execute(
        &mut o,
        "SELECT authz_create_audited_view('\"Odd; Name\"', 'SELECT id FROM reading; ');
         SELECT authz_create_audited_view('commented', 'SELECT id FROM reading -- all of them');
         SELECT authz_create_audited_view('valued', 'VALUES (1), (2)');
         SELECT authz_create_audited_view('ordered', '(SELECT id FROM reading ORDER BY id DESC LIMIT 2) UNION ALL TABLE w_ids')
             FROM (SELECT set_config('x.y', 'z', false)) AS s WHERE to_regclass('w_ids') IS NOT NULL",
    );
    execute(
        &mut o,
        "SELECT * FROM \"Odd; Name\"; SELECT * FROM commented; SELECT * FROM valued",
    );
    assert_eq!(
        events(&mut admin, "true"),
        [
            "\"Odd; Name\" 10 completed",
            "commented 10 completed",
            "valued 2 completed"
        ]
    );
    // Of others' views nobody decides what becomes of their reads; the reader has no function for it at all.
    let mut c = world.reader();
    for sql in [
        "SELECT authz_create_audited_view('n', 'SELECT 1 AS n')",
        "SELECT authz_alter_audited_view('v', 'log')",
        "DELETE FROM authz.audited_view",
        "UPDATE authz.audited_view SET on_failure = 'log'",
        "SELECT authz.register_audited_view('v'::regclass, gen_random_uuid(), 'log')",
    ] {
        refused(&mut c, sql, "42501", &[]);
    }
    execute(
        &mut admin,
        "SELECT authz_create_audited_view('public.of_postgres', 'SELECT 1 AS n')",
    );
    refused_with_hint(
        &mut o,
        "SELECT authz_alter_audited_view('of_postgres', 'log')",
        "42501",
        &["owner"],
    );
    refused(
        &mut o,
        "SELECT authz_alter_audited_view('v', 'never')",
        "22023",
        &["'error' or 'log'"],
    );
    refused(
        &mut o,
        "SELECT authz_alter_audited_view('there', 'log')",
        "42704",
        &["audited_surface"],
    );
    refused(&mut o, "SELECT authz_alter_audited_view('gone', 'log')", "42P01", &[]);
    execute(
        &mut o,
        "SELECT authz_alter_audited_view('v', 'log'); SELECT authz_alter_audited_view('v', 'error')",
    );
}

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

#[test]
fn a_parallel_plan_leaves_one_event() {
    let world = World::new();
    let mut admin = world.db.connect();
    let mut o = world.owner();
    execute(
        &mut o,
        "INSERT INTO reading SELECT n, 'word' FROM generate_series(11, 20000) AS n; ANALYZE reading",
    );
    let mut c = world.reader();
    execute(
        &mut c,
        "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
         SET max_parallel_workers_per_gather = 2",
    );
    for leader in ["on", "off"] {
        execute(&mut c, &format!("SET parallel_leader_participation = {leader}"));
        act(&mut c, "alice", leader);
        let plan: Vec<String> = c
            .query(
                "EXPLAIN (ANALYZE, COSTS OFF) SELECT count(*) FROM w WHERE word LIKE '%o%'",
                &[],
            )
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert!(plan.iter().any(|l| l.contains("Workers Launched: 2")), "{plan:#?}");
        assert_eq!(
            value::<i64>(&mut c, "SELECT count(*) FROM w WHERE word LIKE '%o%'", &[]),
            20000
        );
        execute(&mut c, "SELECT * FROM w WHERE word LIKE '%o%'");
        assert_eq!(
            events(&mut admin, &format!("request_id = '{leader}'")),
            ["w 1 completed", "w 1 completed", "w 20000 completed"]
        );
    }
    // A function that says it can be called in workers, where nothing can be written, does not read unseen.
    execute(
        &mut c,
        "CREATE FUNCTION hidden(n int) RETURNS bigint PARALLEL SAFE STABLE LANGUAGE plpgsql AS
             $$ BEGIN RETURN count(*) FROM w WHERE id = n; END $$",
    );
    let over = "SELECT sum(hidden(id)) FROM w WHERE id < 50 AND word LIKE '%o%'";
    let whole = "SELECT count(*) FROM w WHERE word LIKE '%o%' AND hidden(id) > 0 AND id < 50";
    for sql in [over, whole] {
        match c.batch_execute(sql) {
            Err(e) => assert_eq!(e.code().map(|c| c.code().to_owned()).as_deref(), Some("0A000"), "{sql}"),
            Ok(()) => {
                let nested = events(&mut admin, "true").len();
                assert!(nested >= 49, "{sql}: {nested} events");
            }
        }
    }
}

#[test]
fn r70_audited_views_survive_a_dump() {
    let world = World::new();
    let mut o = world.owner();
    execute(
        &mut o,
        "SELECT authz_alter_audited_view('w', 'log'); CREATE MATERIALIZED VIEW m AS SELECT * FROM v",
    );
    let dump = std::env::temp_dir().join(format!("{}.dump", world.db.name));
    run(world
        .db
        .command("pg_dump")
        .args(["--format=custom", "--file"])
        .arg(&dump));
    let restored = authz_tests::Db::with(Start::Empty);
    run(restored
        .command("pg_restore")
        .args(["--exit-on-error", "--dbname", &restored.name])
        .arg(&dump));
    std::fs::remove_file(&dump).unwrap();
    let mut r = restored.connect_as(&world.reader);
    let mut admin = restored.connect();
    execute(&mut admin, "SELECT authz.prepare_audit_partitions(1)");
    let before = events(&mut admin, "true").len();
    act(&mut r, "alice", "restored");
    execute(
        &mut r,
        "SELECT * FROM v; SELECT * FROM w; BEGIN READ ONLY; SELECT * FROM w; COMMIT; BEGIN READ ONLY",
    );
    refused(&mut r, "SELECT * FROM v", "0A000", &[]);
    let found = events(&mut admin, "request_id = 'restored'");
    assert_eq!(found, ["v 10 completed", "w 10 completed"], "{before}");
    let listed: Vec<String> = admin
        .query(
            "SELECT format('%s %s %s', target, on_failure, problems) FROM authz.audited_surface ORDER BY 1",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(listed, ["v error {}", "w log {}"]);
    drop(r);
    drop(admin);
    drop(restored);

    // The extension goes with its views, and statements go on where it is gone.
    let mut admin = world.db.connect();
    let mut c = world.reader();
    execute(&mut c, "SELECT * FROM v");
    execute(&mut admin, "DROP EXTENSION authz_ext CASCADE");
    execute(&mut c, "SELECT 1");
    refused(&mut c, "SELECT * FROM v", "42P01", &[]);
    execute(&mut o, "SELECT count(*) FROM reading");
}
