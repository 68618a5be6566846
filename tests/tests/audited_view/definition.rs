//! What an audited view can be made of and by whom, and that a dump keeps it (R43, R70).

use authz_tests::dump::{Dump, Format};
use authz_tests::reading::{World, act, events};
use authz_tests::{Db, Start, execute, refused, refused_with_hint, value};

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
fn r70_audited_views_survive_a_dump() {
    let world = World::new();
    let mut o = world.owner();
    execute(
        &mut o,
        "SELECT authz_alter_audited_view('w', 'log'); CREATE MATERIALIZED VIEW m AS SELECT * FROM v",
    );
    let restored = Dump::of(&world.db, Format::Custom).restored();
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
