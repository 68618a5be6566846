//! The extension comes, goes, and moves: schemas, DROP, DROP and CREATE under warm caches, dump and restore, databases
//! that it must refuse (R70, PITFALLS 34).

use std::collections::{BTreeMap, BTreeSet};

use authz_tests::dump::{Dump, Format};
use authz_tests::make::{self, can, id};
use authz_tests::policy::{Policy, Question};
use authz_tests::{Db, Start, execute, refused, refused_with_hint, report, value};
use postgres::Client;
use postgres::types::Json;
use serde_json::{Value, json};

#[test]
fn create_in_a_named_schema() {
    let db = Db::with(Start::Empty);
    let mut c = db.connect();
    execute(
        &mut c,
        "CREATE SCHEMA \"My Apps\"; CREATE EXTENSION authz_ext SCHEMA \"My Apps\"",
    );
    let outside: Vec<String> = c
        .query(
            "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid
              WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
                AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'authz_ext')
                AND pronamespace NOT IN ('\"My Apps\"'::regnamespace, 'authz'::regnamespace, 'casework'::regnamespace)",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(outside.is_empty(), "functions in other schemas: {outside:?}");
    execute(&mut c, include_str!("../fixture.sql"));
    let acme = make::tenant(&mut c, "acme");
    make::role(&mut c, "viewer", &["case.view"]);
    make::member(&mut c, acme, "alice");
    make::case(&mut c, acme, "affair");
    make::assign(&mut c, acme, id("alice"), "viewer", "tenant", acme);
    for path in ["''", "\"My Apps\"", "pg_temp, public"] {
        execute(&mut c, &format!("SET search_path = {path}"));
        let (can, why): (bool, Value) = {
            let row = c
                .query_one(
                    "SELECT \"My Apps\".authz_can($1::uuid, 'case.view', $2::uuid), \"My Apps\".authz_explain($1::uuid, 'case.view', $2::uuid)",
                    &[&id("alice"), &id("affair")],
                )
                .unwrap_or_else(|e| panic!("search_path {path}: {}", report(&e)));
            (row.get(0), row.get(1))
        };
        assert!(can, "search_path {path}: {why:#}");
    }
}

/// Everything that a catalogue shows of a database, by name.
fn catalogue(c: &mut Client) -> BTreeSet<String> {
    c.query(
        "SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'
         UNION ALL SELECT 'relation ' || oid::regclass FROM pg_class
          WHERE relnamespace::regnamespace::text !~ '^pg_(toast|temp)'
         UNION ALL SELECT 'function ' || oid::regprocedure FROM pg_proc
         UNION ALL SELECT 'type ' || oid::regtype FROM pg_type WHERE typnamespace::regnamespace::text !~ '^pg_(toast|temp)'
         UNION ALL SELECT 'operator ' || oid::regoperator FROM pg_operator
         UNION ALL SELECT 'extension ' || extname FROM pg_extension
         UNION ALL SELECT 'trigger ' || tgname || ' on ' || tgrelid::regclass FROM pg_trigger
         UNION ALL SELECT 'policy ' || polname || ' on ' || polrelid::regclass FROM pg_policy
         UNION ALL SELECT 'event trigger ' || evtname FROM pg_event_trigger
         UNION ALL SELECT 'constraint ' || conname || ' on ' || conrelid::regclass FROM pg_constraint
         UNION ALL SELECT 'collation ' || collname FROM pg_collation
         UNION ALL SELECT 'cast ' || castsource::regtype || ' to ' || casttarget::regtype FROM pg_cast
         UNION ALL SELECT 'default privileges ' || defaclobjtype::text FROM pg_default_acl
         UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname !~ '^authz_t_'
         UNION ALL SELECT 'setting of role or database ' || unnest(setconfig) FROM pg_db_role_setting
          WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
         UNION ALL SELECT 'description of ' || classoid::regclass || ' ' || objoid || ' ' || objsubid FROM pg_description
          WHERE objoid >= 16384",
        &[],
    )
    .unwrap_or_else(|e| panic!("{}", report(&e)))
    .iter()
    .map(|row| row.get(0))
    .collect()
}

#[test]
fn drop_extension_leaves_nothing() {
    let db = Db::with(Start::Empty);
    let mut c = db.connect();
    execute(&mut c, "CREATE SCHEMA other");
    let before = catalogue(&mut c);
    for schema in ["public", "other"] {
        execute(&mut c, &format!("CREATE EXTENSION authz_ext SCHEMA {schema}"));
        assert!(catalogue(&mut c).len() > before.len() + 50);
        let acme = make::tenant(&mut c, "acme");
        make::member(&mut c, acme, "alice");
        execute(&mut c, "DROP EXTENSION authz_ext");
        let after = catalogue(&mut c);
        let left: Vec<_> = after.difference(&before).collect();
        let lost: Vec<_> = before.difference(&after).collect();
        assert!(
            left.is_empty() && lost.is_empty(),
            "schema {schema}: left behind {left:#?}, lost {lost:#?}"
        );
    }
}

#[test]
fn drop_and_create_under_warm_caches() {
    let db = Db::new();
    let mut a = db.connect();
    let mut b = db.connect();
    let fill = |c: &mut Client| {
        let acme = make::tenant(c, "acme");
        make::role(c, "viewer", &["case.view"]);
        make::member(c, acme, "alice");
        make::assign(c, acme, id("alice"), "viewer", "tenant", acme)
    };
    fill(&mut a);
    make::case(&mut a, id("acme"), "affair");
    let prepared = b.prepare("SELECT authz_can($1::uuid, 'case.view', $2::uuid)").unwrap();
    let ask_prepared = |b: &mut Client| -> Result<bool, String> {
        b.query_one(&prepared, &[&id("alice"), &id("affair")])
            .map(|row| row.get(0))
            .map_err(|e| report(&e))
    };
    for round in 0..3 {
        assert!(can(&mut a, id("alice"), "case.view", id("affair")), "round {round}");
        assert_eq!(ask_prepared(&mut b), Ok(true), "round {round}");
        execute(&mut a, "DROP EXTENSION authz_ext");
        for c in [&mut a, &mut b] {
            refused(
                c,
                &format!(
                    "SELECT authz_can('{}'::uuid, 'case.view', '{}'::uuid)",
                    id("alice"),
                    id("affair")
                ),
                "42883",
                &[],
            );
        }
        execute(&mut a, "CREATE EXTENSION authz_ext");
        // The old permission is gone with the old tables.
        for c in [&mut a, &mut b] {
            refused(
                c,
                &format!(
                    "SELECT authz_can('{}'::uuid, 'case.view', '{}'::uuid)",
                    id("alice"),
                    id("affair")
                ),
                "42704",
                &["case.view"],
            );
        }
        let fixture = include_str!("../fixture.sql");
        let registrations = fixture
            .find("INSERT INTO authz.resource_type")
            .expect("the fixture registers types");
        execute(&mut a, &fixture[registrations..]);
        assert!(
            !can(&mut b, id("alice"), "case.view", id("affair")),
            "round {round}: nobody is there"
        );
        let assignment = fill(&mut a);
        assert!(
            can(&mut b, id("alice"), "case.view", id("affair")),
            "round {round}: filled again"
        );
        // The new tables' triggers tell the old sessions.
        make::revoke(&mut a, assignment);
        assert!(
            !can(&mut b, id("alice"), "case.view", id("affair")),
            "round {round}: revoked"
        );
        make::assign(&mut a, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
    }
}

/// R70: there is nothing to do as long as there is one version, and it is said so instead of done wrong.
#[test]
fn alter_extension_update_and_set_schema() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::role(&mut c, "viewer", &["case.view"]);
    make::member(&mut c, acme, "alice");
    make::case(&mut c, acme, "affair");
    make::assign(&mut c, acme, id("alice"), "viewer", "tenant", acme);
    let version: String = value(
        &mut c,
        "SELECT extversion FROM pg_extension WHERE extname = 'authz_ext'",
        &[],
    );
    execute(&mut c, "ALTER EXTENSION authz_ext UPDATE");
    execute(&mut c, &format!("ALTER EXTENSION authz_ext UPDATE TO '{version}'"));
    refused(&mut c, "ALTER EXTENSION authz_ext UPDATE TO '99.0'", "22023", &["99.0"]);
    // Functions know their schema by name.
    execute(&mut c, "CREATE SCHEMA elsewhere");
    refused(&mut c, "ALTER EXTENSION authz_ext SET SCHEMA elsewhere", "0A000", &[]);
    assert!(can(&mut c, id("alice"), "case.view", id("affair")));
}

#[test]
fn create_and_drop_that_roll_back() {
    let db = Db::new();
    let mut a = db.connect();
    let acme = make::tenant(&mut a, "acme");
    make::role(&mut a, "viewer", &["case.view"]);
    make::member(&mut a, acme, "alice");
    make::case(&mut a, acme, "affair");
    make::assign(&mut a, acme, id("alice"), "viewer", "tenant", acme);
    assert!(can(&mut a, id("alice"), "case.view", id("affair")));
    execute(&mut a, "BEGIN; DROP EXTENSION authz_ext; CREATE EXTENSION authz_ext");
    refused(
        &mut a,
        &format!("SELECT authz_can('{0}'::uuid, 'case.view', '{0}'::uuid)", id("alice")),
        "42704",
        &[],
    );
    execute(&mut a, "ROLLBACK");
    assert!(can(&mut a, id("alice"), "case.view", id("affair")));
}

/// What every table of schema authz holds, as one line a row.
fn contents(c: &mut Client) -> BTreeMap<String, Vec<String>> {
    let tables: Vec<String> = c
        .query(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'authz'::regnamespace AND relkind IN ('r', 'p')
                AND NOT relispartition
                -- Counts transactions that changed a hierarchy; it has no meaning outside of its database.
                AND relname <> 'hierarchy_lock'",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    tables
        .into_iter()
        .map(|table| {
            let rows = c
                .query(
                    &format!("SELECT t::text FROM authz.{table} AS t ORDER BY t::text COLLATE \"C\""),
                    &[],
                )
                .unwrap_or_else(|e| panic!("{table}: {}", report(&e)));
            (table, rows.iter().map(|row| row.get(0)).collect())
        })
        .collect()
}

/// Decision and reason of each question at a fixed instant for all, so that time makes no difference.
fn decisions(c: &mut Client, questions: &[Question]) -> Vec<String> {
    let asked: Vec<Value> = questions
        .iter()
        .map(|q| {
            json!({"principal": q.principal, "permission": q.permission, "resource": q.resource, "tenant": q.tenant,
                   "context": q.context.clone().unwrap_or(json!({})), "at": q.at})
        })
        .collect();
    c.query(
        "SELECT coalesce(e ->> 'decision', 'none') || ' ' || coalesce(e ->> 'reason', '')
           FROM ROWS FROM (jsonb_to_recordset($1) AS (principal uuid, permission text, resource uuid, tenant uuid,
                                                      context jsonb, at timestamptz)) WITH ORDINALITY AS q
                (principal, permission, resource, tenant, context, at, n),
                authz_explain(principal, permission, resource, tenant, context, at) AS e
          ORDER BY n",
        &[&Json(&asked)],
    )
    .unwrap_or_else(|e| panic!("{}", report(&e)))
    .iter()
    .map(|row| row.get(0))
    .collect()
}

#[test]
fn dump_and_restore_give_the_same_rows_and_decisions() {
    let db = Db::new();
    let mut c = db.connect();
    let now: i64 = value(&mut c, "SELECT extract(epoch FROM now())::bigint", &[]);
    let mut policy = Policy::new(20_260, chrono::DateTime::from_timestamp(now, 0).unwrap());
    policy.load(&mut c);
    for _ in 0..40 {
        policy.mutate(&mut c);
    }
    let questions: Vec<Question> = (0..500).map(|_| policy.question()).collect();
    let (rows, answers) = (contents(&mut c), decisions(&mut c, &questions));
    assert!(
        rows.values().filter(|rows| !rows.is_empty()).count() >= 15,
        "nearly every table has rows"
    );
    assert!(answers.iter().any(|a| a.starts_with("allow")) && answers.iter().any(|a| a.starts_with("deny")));

    for format in Format::ALL {
        let restored = Dump::of(&db, format).restored();
        let mut r = restored.connect();
        let again = contents(&mut r);
        assert_eq!(
            rows.keys().collect::<Vec<_>>(),
            again.keys().collect::<Vec<_>>(),
            "{format:?}"
        );
        for (table, rows) in &rows {
            assert_eq!(rows, &again[table], "{format:?}: rows of authz.{table}");
        }
        for (n, (question, answer)) in questions.iter().zip(decisions(&mut r, &questions)).enumerate() {
            assert_eq!(answers[n], answer, "{format:?}: {question:?}");
        }
        // The restored database is guarded and awake like the first.
        execute(&mut r, "UPDATE authz.principal SET status = 'suspended'");
        assert!(
            questions
                .iter()
                .zip(decisions(&mut r, &questions))
                .all(|(q, a)| q.at.is_some() || a.starts_with("deny"))
        );
        refused_with_hint(&mut r, "DELETE FROM authz.principal", "55000", &[]);
    }
}

#[test]
fn a_dump_survives_a_registered_table_that_was_dropped() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::role(&mut c, "viewer", &["case.view", "page.view"]);
    make::member(&mut c, acme, "alice");
    make::assign(&mut c, acme, id("alice"), "viewer", "tenant", acme);
    make::case(&mut c, acme, "affair");
    execute(&mut c, "DROP TABLE public.document_page");
    let restored = Dump::of(&db, Format::Plain).restored();
    let mut r = restored.connect();
    assert!(can(&mut r, id("alice"), "case.view", id("affair")));
    assert!(!can(&mut r, id("alice"), "page.view", id("affair")));
}

#[test]
fn other_encodings_are_refused() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let db = Db::encoded(encoding);
        let mut c = db.connect();
        let before = catalogue(&mut c);
        refused_with_hint(&mut c, "CREATE EXTENSION authz_ext", "0A000", &["UTF8", encoding]);
        assert_eq!(catalogue(&mut c), before, "{encoding}: something was left behind");
    }
}

#[test]
fn a_schema_authz_that_is_there_already_is_not_taken_over() {
    let db = Db::with(Start::Empty);
    let mut c = db.connect();
    let role = db.role();
    execute(&mut c, &format!("CREATE SCHEMA authz AUTHORIZATION {role}"));
    refused(&mut c, "CREATE EXTENSION authz_ext", "42P06", &["authz"]);
    let functions: i64 = value(
        &mut c,
        "SELECT count(*) FROM pg_proc WHERE proname LIKE 'authz%' AND oid >= 16384",
        &[],
    );
    assert_eq!(functions, 0, "something was left behind");
}

#[test]
fn an_unprivileged_role_cannot_create_it() {
    let db = Db::with(Start::Empty);
    let mut c = db.connect();
    let role = db.role();
    execute(&mut c, &format!("GRANT CREATE ON DATABASE {} TO {role}", db.name));
    refused(&mut db.connect_as(&role), "CREATE EXTENSION authz_ext", "42501", &[]);
}
