//! `authz_protect` and `authz_unprotect`: what they make, what they refuse without changing anything, what a dump keeps
//! of it, and that the planner finds rows by index (R21, R22).

use authz_tests::make::{self, id};
use authz_tests::{Db, Start, execute, refused_with_hint, report, run, value};
use postgres::Client;

/// Everything that protecting a table could change.
fn state(c: &mut Client) -> String {
    value(
        c,
        "SELECT string_agg(what, E'\n' ORDER BY what) FROM (
             SELECT 'policy ' || p.polrelid::regclass || ' ' || p.polname || ' ' || p.polcmd::text || ' ' ||
                    coalesce(pg_get_expr(p.polqual, p.polrelid), '-') || ' ' || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '-') ||
                    coalesce(obj_description(p.oid, 'pg_policy'), '-') FROM pg_policy p
             UNION ALL SELECT 'type ' || t::text FROM authz.resource_type t
             UNION ALL SELECT 'table ' || c.oid::regclass || c.relrowsecurity || c.relforcerowsecurity
                         FROM pg_class c WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
             UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname NOT IN ('pg_catalog', 'authz')) AS s (what)",
        &[],
    )
}

/// A call that must be refused with a reason and a hint, and change nothing.
#[track_caller]
fn is_refused(c: &mut Client, call: &str, sqlstate: &str, words: &[&str]) {
    let before = state(c);
    refused_with_hint(c, &format!("SELECT * FROM {call}"), sqlstate, words);
    assert_eq!(state(c), before, "{call}");
}

fn steps(c: &mut Client, call: &str) -> Vec<(String, String)> {
    match c.query(&format!("SELECT step, detail FROM {call}"), &[]) {
        Ok(rows) => rows.iter().map(|row| (row.get(0), row.get(1))).collect(),
        Err(e) => panic!("{}\nin: {call}", report(&e)),
    }
}

/// An invoice table and its permissions.
fn invoices(db: &Db) -> Client {
    let mut c = db.connect();
    execute(
        &mut c,
        "CREATE TABLE public.invoice (tenant_id uuid NOT NULL, invoice_id bigint NOT NULL, team_id uuid, owner_id uuid, level text,
             gone boolean, amount numeric, PRIMARY KEY (tenant_id, invoice_id));
         INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
         SELECT 'invoice.' || a, 'invoice', a FROM unnest('{read,create,update,delete}'::text[]) AS a;
         INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('bill.view', 'bill', 'view')",
    );
    c
}

const INVOICE: &str =
    "authz_protect('public.invoice', 'invoice', key => 'invoice_id', tenant => 'tenant_id', team => 'team_id',
    owner => 'owner_id', confidentiality => 'level', deleted_at => 'gone')";

#[test]
fn it_tells_what_it_did() {
    let db = Db::with(Start::Extension);
    let mut c = invoices(&db);
    let told = steps(&mut c, INVOICE);
    let count = |step: &str| told.iter().filter(|(s, _)| s == step).count();
    assert_eq!(count("register"), 1, "{told:?}");
    assert_eq!(count("policy"), 4, "{told:?}");
    for (verb, permission) in [
        ("SELECT", "invoice.read"),
        ("INSERT", "invoice.create"),
        ("UPDATE", "invoice.update"),
        ("DELETE", "invoice.delete"),
    ] {
        assert!(
            told.iter()
                .any(|(s, d)| s == "policy" && d.contains(verb) && d.contains(permission)),
            "{verb}: {told:?}"
        );
    }
    // What is missing is reported; the primary key begins with the tenant.
    let missing: Vec<&String> = told
        .iter()
        .filter(|(s, _)| s == "missing index")
        .map(|(_, d)| d)
        .collect();
    assert!(!missing.iter().any(|m| m.contains("(tenant_id)")), "{missing:?}");
    for column in ["invoice_id", "team_id", "owner_id"] {
        assert!(missing.iter().any(|m| m.contains(column)), "{column}: {missing:?}");
    }
    let listed: Vec<String> = value(
        &mut c,
        "SELECT missing_indexes FROM authz.protected_table WHERE target = 'public.invoice'::regclass",
        &[],
    );
    assert_eq!(listed.iter().collect::<Vec<_>>(), missing);
    let (secured, forced): (bool, bool) = {
        let row = c
            .query_one(
                "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = 'public.invoice'::regclass",
                &[],
            )
            .unwrap();
        (row.get(0), row.get(1))
    };
    assert!(secured && forced);
    let checks: i64 = value(
        &mut c,
        "SELECT count(*) FROM pg_policies WHERE tablename = 'invoice'
            AND (cmd = 'INSERT') = (qual IS NULL) AND (cmd IN ('INSERT', 'UPDATE')) = (with_check IS NOT NULL)",
        &[],
    );
    assert_eq!(checks, 4);
    // Again: the same.
    let before = state(&mut c);
    assert_eq!(steps(&mut c, INVOICE), told);
    assert_eq!(state(&mut c), before);
    // What it says is missing can be made as it says, and then nothing is.
    for statement in &missing {
        execute(&mut c, statement);
    }
    assert!(!steps(&mut c, INVOICE).iter().any(|(s, _)| s.contains("index")));
    let missing: i32 = value(
        &mut c,
        "SELECT cardinality(missing_indexes) FROM authz.protected_table WHERE target = 'public.invoice'::regclass",
        &[],
    );
    assert_eq!(missing, 0);
}

#[test]
fn it_makes_indexes_on_request() {
    let db = Db::with(Start::Extension);
    let mut c = invoices(&db);
    let told = steps(&mut c, &INVOICE.replace("'gone')", "'gone', create_indexes => true)"));
    assert_eq!(told.iter().filter(|(s, _)| s == "index").count(), 3, "{told:?}");
    assert!(!steps(&mut c, INVOICE).iter().any(|(s, _)| s.contains("index")));
}

#[test]
fn missing_indexes_of_a_partitioned_table_can_be_made_as_it_says() {
    let db = Db::with(Start::Extension);
    let mut c = db.connect();
    execute(
        &mut c,
        "CREATE TABLE public.\"Big CONCURRENTLY table\" (t uuid NOT NULL, \"the Key\" integer NOT NULL, PRIMARY KEY (t, \"the Key\")) PARTITION BY HASH (t);
         CREATE TABLE public.big_0 PARTITION OF public.\"Big CONCURRENTLY table\" FOR VALUES WITH (MODULUS 1, REMAINDER 0);
         INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('big.view', 'big', 'view')",
    );
    let call = "authz_protect('public.\"Big CONCURRENTLY table\"', 'big', key => 'the Key', tenant => 't')";
    let told = steps(&mut c, call);
    let missing: Vec<&String> = told
        .iter()
        .filter(|(s, _)| s == "missing index")
        .map(|(_, d)| d)
        .collect();
    assert_eq!(missing.len(), 1, "{told:?}");
    execute(&mut c, missing[0]);
    assert!(!steps(&mut c, call).iter().any(|(s, _)| s.contains("index")));
    execute(&mut c, "DROP INDEX public.\"Big CONCURRENTLY table_the Key_idx\"");
    let told = steps(&mut c, &call.replace("'t')", "'t', create_indexes => true)"));
    assert_eq!(told.iter().filter(|(s, _)| s == "index").count(), 1, "{told:?}");
}

/// Only what is searched for several values at once will do, of every row.
#[test]
fn indexes_that_are_of_no_use() {
    let db = Db::with(Start::Extension);
    let mut c = invoices(&db);
    execute(
        &mut c,
        "CREATE INDEX ON public.invoice USING hash (invoice_id); CREATE INDEX ON public.invoice USING brin (team_id);
         CREATE INDEX ON public.invoice (owner_id) WHERE level = 'normal'; CREATE INDEX ON public.invoice (amount, invoice_id)",
    );
    let told = steps(&mut c, INVOICE);
    let missing = told.iter().filter(|(s, _)| s == "missing index").count();
    assert_eq!(missing, 3, "{told:?}");
}

/// Scopes and owners kept as text are found by indexes of what they are as uuids, however they are spelled.
#[test]
fn scopes_kept_as_text() {
    let db = Db::with(Start::Extension);
    let mut c = invoices(&db);
    execute(
        &mut c,
        "ALTER TABLE public.invoice ALTER team_id TYPE text, ALTER owner_id TYPE varchar(50);
         ALTER TABLE public.invoice RENAME owner_id TO \"the Owner\"",
    );
    let call = INVOICE.replace("owner_id", "the Owner");
    let told = steps(&mut c, &call);
    let missing: Vec<&String> = told
        .iter()
        .filter(|(s, _)| s == "missing index")
        .map(|(_, d)| d)
        .collect();
    assert!(missing.iter().any(|m| m.contains("((team_id)::uuid)")), "{missing:?}");
    assert!(
        missing.iter().any(|m| m.contains("((\"the Owner\")::uuid)")),
        "{missing:?}"
    );
    for statement in missing {
        execute(&mut c, statement);
    }
    assert!(!steps(&mut c, &call).iter().any(|(s, _)| s.contains("index")));

    let acme = make::tenant(&mut c, "acme");
    make::team(&mut c, acme, "crew", None, None);
    make::role(&mut c, "reader", &["invoice.read"]);
    make::member(&mut c, acme, "alice");
    make::assign(&mut c, acme, id("alice"), "reader", "team", id("crew"));
    execute(
        &mut c,
        &format!(
            "INSERT INTO public.invoice (tenant_id, invoice_id, team_id, level)
             SELECT '{acme}', n, CASE n WHEN 1 THEN '{crew}' WHEN 2 THEN upper('{crew}') WHEN 3 THEN '{{{crew}}}'
                                        ELSE gen_random_uuid()::text END, 'normal' FROM generate_series(1, 3000) AS n;
             ANALYZE public.invoice",
            crew = id("crew")
        ),
    );
    let role = db.role();
    execute(
        &mut c,
        &format!("GRANT SELECT ON public.invoice TO {role}; GRANT EXECUTE ON FUNCTION authz_set_session TO {role}"),
    );
    let mut app = db.connect_as(&role);
    execute(&mut app, &format!("BEGIN; SELECT authz_set_session('{}')", id("alice")));
    let plan: Vec<String> = app
        .query("EXPLAIN SELECT FROM public.invoice", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let plan = plan.join("\n");
    assert!(plan.contains("Index Cond: ((team_id)::uuid = ANY"), "{plan}");
    assert!(!plan.contains("Seq Scan"), "{plan}");
    assert_eq!(value::<i64>(&mut app, "SELECT count(*) FROM public.invoice", &[]), 3);
    let checked: i64 = value(
        &mut c,
        &format!(
            "SELECT count(*) FROM public.invoice WHERE authz_can('{}'::uuid, 'invoice.read', invoice_id, tenant_id)",
            id("alice")
        ),
        &[],
    );
    assert_eq!(checked, 3);
}

/// A level that is none is not shown, whatever type levels are of; and where the type or a constraint vouches for them, no
/// row is asked.
#[test]
fn levels_of_every_type() {
    for (level, certain) in [
        ("text", false),
        ("varchar(20)", false),
        ("public.level", false),
        ("text NOT NULL CHECK (level IN ('normal', 'sealed'))", true),
        (
            "varchar(20) NOT NULL CHECK (level IN ('normal', 'restricted', 'sealed'))",
            true,
        ),
        ("varchar(20) CHECK (level IN ('normal', 'restricted', 'sealed'))", false),
    ] {
        let db = Db::with(Start::Extension);
        let mut c = db.connect();
        let acme = make::tenant(&mut c, "acme");
        let other = match certain {
            true => "'normal'",
            false if level.contains("CHECK") => "NULL",
            false => "'secret'",
        };
        execute(
            &mut c,
            &format!(
                "CREATE TYPE public.level AS ENUM ('secret', 'sealed', 'normal');
                 CREATE TABLE public.paper (tenant uuid NOT NULL REFERENCES authz.tenant, id integer PRIMARY KEY, level {level});
                 INSERT INTO public.paper SELECT '{acme}', n, (ARRAY['normal', 'sealed', {other}])[n % 3 + 1]{cast}
                   FROM generate_series(1, 30) AS n;
                 INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
                 SELECT 'paper.' || a, 'paper', a FROM unnest('{{view,view_restricted,view_sealed}}'::text[]) AS a;
                 SELECT authz_protect('public.paper', 'paper', 'id', 'tenant', confidentiality => 'level')",
                cast = if level == "public.level" { "::public.level" } else { "" }
            ),
        );
        make::role(
            &mut c,
            "auditor",
            &["paper.view", "paper.view_restricted", "paper.view_sealed"],
        );
        make::principal(&mut c, "auditor");
        make::assign_platform(&mut c, id("auditor"), "auditor");
        execute(
            &mut c,
            "INSERT INTO authz.operator_profile (principal_id, clearance_level)
             SELECT principal_id, 'L3' FROM authz.principal ON CONFLICT (principal_id) DO UPDATE SET clearance_level = 'L3'",
        );
        let role = db.role();
        execute(
            &mut c,
            &format!("GRANT SELECT ON public.paper TO {role}; GRANT EXECUTE ON FUNCTION authz_set_session TO {role}"),
        );
        let mut app = db.connect_as(&role);
        execute(
            &mut app,
            &format!("BEGIN; SELECT authz_set_session('{}')", id("auditor")),
        );
        let rows = app.query("EXPLAIN SELECT FROM public.paper", &[]).unwrap();
        let plan: String = rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect();
        assert!(plan.contains("authz.still"), "{level}: {plan}");
        assert_eq!(
            !plan.contains("level = ANY") && !plan.contains("(level)::text = ANY"),
            certain,
            "{level}: {plan}"
        );
        let seen: i64 = value(&mut app, "SELECT count(*) FROM public.paper", &[]);
        assert_eq!(seen, if certain { 30 } else { 20 }, "{level}: {plan}");
    }
}

/// Partitions and inheriting tables are closed as they come, by whoever brings them.
#[test]
fn what_is_attached_later_is_closed() {
    let db = Db::with(Start::Extension);
    let mut c = db.connect();
    let owner = db.role();
    execute(
        &mut c,
        &format!(
            "CREATE TABLE public.paper (tenant uuid NOT NULL, id integer NOT NULL) PARTITION BY RANGE (id);
             CREATE TABLE public.letter (tenant uuid NOT NULL, id integer NOT NULL);
             INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
             VALUES ('paper.view', 'paper', 'view'), ('letter.view', 'letter', 'view');
             SELECT authz_protect('public.paper', 'paper', 'id', 'tenant'), authz_protect('public.letter', 'letter', 'id', 'tenant');
             ALTER TABLE public.paper OWNER TO {owner}; ALTER TABLE public.letter OWNER TO {owner};
             GRANT CREATE, USAGE ON SCHEMA public TO {owner}"
        ),
    );
    let mut o = db.connect_as(&owner);
    execute(
        &mut o,
        "CREATE TABLE public.paper_1 PARTITION OF public.paper FOR VALUES FROM (0) TO (10);
         CREATE TABLE public.paper_2 (tenant uuid NOT NULL, id integer NOT NULL);
         CREATE TABLE public.paper_3 (tenant uuid NOT NULL, id integer NOT NULL) PARTITION BY RANGE (id);
         CREATE TABLE public.paper_31 PARTITION OF public.paper_3 FOR VALUES FROM (20) TO (25);
         CREATE TABLE public.other (tenant uuid NOT NULL, id integer NOT NULL);
         CREATE TABLE public.letter_1 () INHERITS (public.letter);
         CREATE TABLE public.letter_2 (tenant uuid NOT NULL, id integer NOT NULL);
         CREATE TABLE public.letter_11 () INHERITS (public.letter_1, public.other)",
    );
    let closed = |c: &mut Client| -> Vec<String> {
        c.query(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
                AND relrowsecurity AND relforcerowsecurity ORDER BY 1",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
    };
    assert_eq!(closed(&mut c), ["letter", "letter_1", "letter_11", "paper", "paper_1"]);
    execute(
        &mut o,
        "ALTER TABLE public.paper ATTACH PARTITION public.paper_2 FOR VALUES FROM (10) TO (20);
         ALTER TABLE public.paper ATTACH PARTITION public.paper_3 FOR VALUES FROM (20) TO (30);
         ALTER TABLE public.letter_2 INHERIT public.letter;
         INSERT INTO public.other VALUES (gen_random_uuid(), 1)",
    );
    assert_eq!(
        closed(&mut c),
        [
            "letter",
            "letter_1",
            "letter_11",
            "letter_2",
            "paper",
            "paper_1",
            "paper_2",
            "paper_3",
            "paper_31"
        ]
    );
    assert_eq!(value::<i64>(&mut o, "SELECT count(*) FROM public.other", &[]), 1);
    let open: i64 = value(
        &mut c,
        "SELECT sum(cardinality(open_children)) FROM authz.protected_table",
        &[],
    );
    assert_eq!(open, 0);
    // Without protection nothing is closed again.
    execute(
        &mut c,
        "SELECT authz_unprotect('public.paper'), authz_unprotect('public.letter')",
    );
    execute(
        &mut o,
        "CREATE TABLE public.paper_4 PARTITION OF public.paper FOR VALUES FROM (30) TO (40)",
    );
    assert_eq!(closed(&mut c), [""; 0]);
    // A table of one's own that only looks like a protected one is nobody else's business.
    execute(
        &mut o,
        "ALTER TABLE public.other ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON public.other;
         COMMENT ON POLICY p ON public.other IS 'Made by authz_protect.'",
    );
    execute(&mut c, "CREATE TABLE public.mine () INHERITS (public.letter_2)");
    execute(
        &mut o,
        "CREATE TABLE public.another () INHERITS (public.other); DROP TABLE public.other CASCADE",
    );
    assert_eq!(closed(&mut c), [""; 0]);
}

#[test]
fn permissions_that_are_named() {
    let db = Db::with(Start::Extension);
    let mut c = invoices(&db);
    steps(
        &mut c,
        &INVOICE.replace(
            "'gone')",
            "'gone', select_permission => 'invoice.update', delete_permission => 'invoice.create')",
        ),
    );
    let policies = state(&mut c);
    assert!(
        policies.contains("authz_select r authz_row('invoice.update'"),
        "{policies}"
    );
    assert!(
        policies.contains("authz_delete d authz_row('invoice.create'"),
        "{policies}"
    );
    // A type without a permission for a command: denied, and said so.
    execute(
        &mut c,
        "CREATE TABLE public.bill (t uuid NOT NULL, k uuid NOT NULL, PRIMARY KEY (t, k))",
    );
    let told = steps(&mut c, "authz_protect('public.bill', 'bill', 'k', 't')");
    assert_eq!(
        told.iter()
            .filter(|(s, d)| s == "policy" && d.contains("denied"))
            .count(),
        3,
        "{told:?}"
    );
}

#[test]
fn what_cannot_be_protected() {
    let db = Db::with(Start::Extension);
    let mut c = invoices(&db);
    execute(
        &mut c,
        "CREATE VIEW public.a_view AS SELECT * FROM public.invoice;
         CREATE MATERIALIZED VIEW public.a_matview AS SELECT * FROM public.invoice;
         CREATE SEQUENCE public.a_sequence;
         CREATE TYPE public.a_type AS (tenant_id uuid, invoice_id bigint);
         CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
         CREATE FOREIGN TABLE public.a_foreign_table (tenant_id uuid, invoice_id bigint) SERVER nowhere;
         CREATE TABLE public.parted (tenant_id uuid, invoice_id bigint) PARTITION BY HASH (tenant_id);
         CREATE TABLE public.a_partition PARTITION OF public.parted FOR VALUES WITH (MODULUS 1, REMAINDER 0);
         CREATE TEMP TABLE a_temporary_table (tenant_id uuid, invoice_id bigint);
         CREATE INDEX an_index ON public.invoice (amount)",
    );
    for target in [
        "public.a_view",
        "public.a_matview",
        "public.a_sequence",
        "public.a_type",
        "public.a_foreign_table",
        "public.a_partition",
        "a_temporary_table",
        "public.an_index",
        "pg_catalog.pg_class",
        "information_schema.sql_features",
        "authz.tenant",
        "authz.resource_type",
    ] {
        is_refused(
            &mut c,
            &format!("authz_protect('{target}', 'invoice', 'invoice_id', 'tenant_id')"),
            "42809",
            &[target.rsplit('.').next().unwrap()],
        );
    }
}

#[test]
fn arguments_that_are_wrong() {
    let db = Db::with(Start::Extension);
    let mut c = invoices(&db);
    for (call, sqlstate, words) in [
        (
            "authz_protect(NULL, 'invoice', 'invoice_id', 'tenant_id')",
            "22023",
            vec![],
        ),
        (
            "authz_protect('public.invoice', NULL, 'invoice_id', 'tenant_id')",
            "22023",
            vec![],
        ),
        (
            "authz_protect('public.invoice', 'invoice', NULL, 'tenant_id')",
            "22023",
            vec![],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'invoice_id', NULL)",
            "22023",
            vec![],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'no_such', 'tenant_id')",
            "42703",
            vec!["no_such"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'invoice_id', 'no_such')",
            "42703",
            vec!["no_such"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'invoice_id', 'tenant_id', team => 'no_such')",
            "42703",
            vec!["no_such"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'ctid', 'tenant_id')",
            "42703",
            vec!["ctid"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'amount', 'tenant_id')",
            "42804",
            vec!["amount", "numeric"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'invoice_id', 'amount')",
            "42804",
            vec!["amount"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'invoice_id', 'tenant_id', confidentiality => 'amount')",
            "42804",
            vec!["amount"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'invoice_id', 'tenant_id', team => 'invoice_id')",
            "42804",
            vec!["invoice_id"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'invoice_id', 'tenant_id', select_permission => 'invoice.veiw')",
            "42704",
            vec!["invoice.veiw"],
        ),
        (
            "authz_protect('public.invoice', 'invoice', 'invoice_id', 'tenant_id', update_permission => 'bill.view')",
            "42704",
            vec!["bill.view", "invoice"],
        ),
    ] {
        is_refused(&mut c, call, sqlstate, &words);
    }
    // A parent's type without its column, or the other way round.
    for half in ["parent => 'invoice_id'", "parent_type => 'bill'"] {
        let before = state(&mut c);
        let call =
            format!("SELECT * FROM authz_protect('public.invoice', 'invoice', 'invoice_id', 'tenant_id', {half})");
        let error = c.batch_execute(&call).expect_err(&call);
        let code = error.code().map(|code| code.code().to_owned());
        assert!(matches!(code.as_deref(), Some("23514" | "22023")), "{}", report(&error));
        assert_eq!(state(&mut c), before, "{half}");
    }
}

#[test]
fn tables_of_others_types_of_others_and_policies_made_by_hand() {
    let db = Db::with(Start::Extension);
    let mut c = invoices(&db);
    execute(
        &mut c,
        "CREATE TABLE public.bill (tenant_id uuid NOT NULL, bill_id bigint NOT NULL)",
    );
    steps(&mut c, INVOICE);
    is_refused(
        &mut c,
        "authz_protect('public.bill', 'invoice', 'bill_id', 'tenant_id')",
        "55000",
        &["invoice", "authz_unprotect"],
    );
    is_refused(
        &mut c,
        "authz_protect('public.invoice', 'bill', 'invoice_id', 'tenant_id')",
        "55000",
        &["invoice", "authz_unprotect"],
    );
    execute(
        &mut c,
        "CREATE POLICY authz_update ON public.bill FOR UPDATE USING (false)",
    );
    is_refused(
        &mut c,
        "authz_protect('public.bill', 'bill', 'bill_id', 'tenant_id')",
        "42710",
        &["authz_update", "bill"],
    );
    execute(&mut c, "DROP POLICY authz_update ON public.bill");

    // Somebody who may call it, but does not own the table.
    let role = db.role();
    execute(
        &mut c,
        &format!(
            "GRANT EXECUTE ON FUNCTION authz_protect TO {role}; GRANT EXECUTE ON FUNCTION authz_unprotect TO {role};
             GRANT ALL ON public.bill, public.invoice TO {role}; GRANT USAGE ON SCHEMA authz TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON authz.resource_type TO {role}"
        ),
    );
    let before = state(&mut c);
    let mut other = db.connect_as(&role);
    refused_with_hint(
        &mut other,
        "SELECT * FROM authz_protect('public.bill', 'bill', 'bill_id', 'tenant_id')",
        "42501",
        &["bill", "owner"],
    );
    let error = other
        .batch_execute("SELECT authz_unprotect('public.invoice')")
        .expect_err("not the owner");
    assert_eq!(
        error.code().map(|code| code.code()),
        Some("42501"),
        "{}",
        report(&error)
    );
    assert_eq!(state(&mut c), before);
    // Somebody who may not even call it.
    let role = db.role();
    let mut stranger = db.connect_as(&role);
    for call in [
        "authz_protect('public.bill', 'bill', 'bill_id', 'tenant_id')",
        "authz_unprotect('public.invoice')",
    ] {
        let error = stranger.batch_execute(&format!("SELECT {call}")).expect_err(call);
        assert_eq!(
            error.code().map(|code| code.code()),
            Some("42501"),
            "{}",
            report(&error)
        );
    }
    assert_eq!(state(&mut c), before);
}

#[test]
fn an_overload_that_somebody_else_made_is_not_called() {
    for (key, signature) in [
        (
            "integer",
            "permission text, key integer, tenant uuid, organization uuid DEFAULT NULL, team uuid DEFAULT NULL, project uuid DEFAULT NULL,
             owner uuid DEFAULT NULL, confidentiality text DEFAULT NULL, deleted boolean DEFAULT false, parent text DEFAULT NULL",
        ),
        (
            "varchar(20)",
            "permission text, key varchar, tenant uuid, organization uuid DEFAULT NULL, team uuid DEFAULT NULL, project uuid DEFAULT NULL,
             owner uuid DEFAULT NULL, confidentiality text DEFAULT NULL, deleted boolean DEFAULT false, parent text DEFAULT NULL",
        ),
    ] {
        let db = Db::with(Start::Extension);
        let mut c = db.connect();
        execute(
            &mut c,
            &format!(
                "CREATE TABLE public.bill (t uuid NOT NULL, k {key} NOT NULL, PRIMARY KEY (t, k));
                 INSERT INTO public.bill VALUES ('{}', '1');
                 INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('bill.view', 'bill', 'view');
                 CREATE FUNCTION public.authz_row({signature}) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
                id("acme")
            ),
        );
        let before = state(&mut c);
        let protected = c.batch_execute("SELECT * FROM authz_protect('public.bill', 'bill', 'k', 't')");
        if let Err(e) = protected {
            assert_eq!(e.code().map(|code| code.code()), Some("42501"), "{key}: {}", report(&e));
            assert_eq!(state(&mut c), before, "{key}");
        } else {
            let role = db.role();
            execute(&mut c, &format!("GRANT SELECT ON public.bill TO {role}"));
            let mut app = db.connect_as(&role);
            assert_eq!(value::<i64>(&mut app, "SELECT count(*) FROM public.bill", &[]), 0, "{key}");
        }
    }
}

#[test]
fn unprotecting_leaves_nothing_behind() {
    let db = Db::with(Start::Extension);
    let mut c = invoices(&db);
    let before = state(&mut c);
    steps(&mut c, INVOICE);
    execute(&mut c, "SELECT authz_unprotect('public.invoice')");
    assert_eq!(state(&mut c), before);
    is_refused(&mut c, "authz_unprotect('public.invoice')", "42704", &["invoice"]);
    // A policy of one's own goes on holding.
    steps(&mut c, INVOICE);
    execute(
        &mut c,
        "CREATE POLICY mine ON public.invoice AS RESTRICTIVE USING (amount > 0); SELECT authz_unprotect('public.invoice')",
    );
    let after = state(&mut c);
    assert!(after.contains("mine"), "{after}");
    let secured: bool = value(
        &mut c,
        "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = 'public.invoice'::regclass",
        &[],
    );
    assert!(secured);
}

#[test]
fn a_dump_of_a_protected_database_restores_protected() {
    let db = Db::with(Start::Extension);
    let mut c = invoices(&db);
    let acme = make::tenant(&mut c, "acme");
    make::team(&mut c, acme, "red", None, None);
    make::role(&mut c, "reader", &["invoice.read"]);
    make::member(&mut c, acme, "alice");
    make::assign(&mut c, acme, id("alice"), "reader", "team", id("red"));
    execute(
        &mut c,
        &format!(
            "INSERT INTO public.invoice (tenant_id, invoice_id, team_id, level)
             SELECT '{acme}', n, CASE WHEN n % 2 = 0 THEN '{}'::uuid END, 'normal' FROM generate_series(1, 10) AS n",
            id("red")
        ),
    );
    steps(&mut c, INVOICE);
    let role = db.role();
    execute(
        &mut c,
        &format!("GRANT SELECT ON public.invoice TO {role}; GRANT EXECUTE ON FUNCTION authz_set_session TO {role}"),
    );
    let dump = run(&mut db.command("pg_dump"));
    let copy = Db::with(Start::Empty);
    let mut psql = copy.command("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null());
    let mut child = psql.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), dump.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let mut restored = copy.connect();
    assert_eq!(state(&mut restored), state(&mut c));
    let mut app = copy.connect_as(&role);
    assert_eq!(value::<i64>(&mut app, "SELECT count(*) FROM public.invoice", &[]), 0);
    execute(
        &mut app,
        &format!("SELECT authz_set_session('{}', is_local => false)", id("alice")),
    );
    assert_eq!(value::<i64>(&mut app, "SELECT count(*) FROM public.invoice", &[]), 5);
    // It is still ours: protecting it again and unprotecting it work.
    steps(&mut restored, INVOICE);
    execute(&mut restored, "SELECT authz_unprotect('public.invoice')");
    // The role's privileges in the copy go with the copy.
    drop(app);
    execute(&mut restored, &format!("DROP OWNED BY {role}"));
    execute(&mut c, &format!("DROP OWNED BY {role}"));
}

/// The plan of a query, for somebody.
fn plan(app: &mut Client, who: &str, sql: &str) -> String {
    execute(app, "BEGIN");
    execute(app, &format!("SELECT authz_set_session('{}')", id(who)));
    let rows = app
        .query(&format!("EXPLAIN {sql}"), &[])
        .unwrap_or_else(|e| panic!("{}\nin: {sql}", report(&e)));
    execute(app, "ROLLBACK");
    rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
}

#[test]
fn the_planner_finds_rows_by_index_and_no_kept_plan_outlives_its_registration() {
    let db = Db::with(Start::Extension);
    let mut c = invoices(&db);
    let acme = make::tenant(&mut c, "acme");
    for n in 0..20 {
        let tenant = make::tenant(&mut c, &format!("tenant {n}"));
        make::team(&mut c, tenant, &format!("team {n}"), None, None);
    }
    make::role(&mut c, "reader", &["invoice.read", "invoice.update"]);
    for who in ["alice", "bob", "carol", "nobody"] {
        make::member(&mut c, acme, who);
    }
    make::join(&mut c, id("tenant 3"), id("alice"));
    make::join(&mut c, id("tenant 4"), id("bob"));
    make::assign(&mut c, id("tenant 3"), id("alice"), "reader", "team", id("team 3"));
    make::assign(&mut c, id("tenant 4"), id("bob"), "reader", "tenant", id("tenant 4"));
    execute(
        &mut c,
        "INSERT INTO public.invoice (tenant_id, invoice_id, team_id, level)
         SELECT t.tenant_id, n, CASE WHEN n % 50 = 0 THEN m.team_id END, 'normal'
           FROM authz.tenant AS t JOIN authz.team AS m USING (tenant_id), generate_series(1, 2000) AS n",
    );
    steps(&mut c, &INVOICE.replace("'gone')", "'gone', create_indexes => true)"));
    execute(&mut c, "ANALYZE public.invoice");
    let role = db.role();
    execute(
        &mut c,
        &format!(
            "GRANT SELECT, UPDATE ON public.invoice TO {role}; GRANT EXECUTE ON FUNCTION authz_set_session TO {role}"
        ),
    );
    let mut app = db.connect_as(&role);
    for who in ["alice", "bob", "nobody"] {
        for sql in [
            "SELECT * FROM public.invoice",
            "SELECT count(*) FROM public.invoice",
            "SELECT * FROM public.invoice WHERE amount > 3 ORDER BY amount LIMIT 10",
            "UPDATE public.invoice SET amount = 1",
            "SELECT * FROM public.invoice FOR UPDATE",
            "SELECT a.* FROM public.invoice AS a JOIN public.invoice AS b USING (tenant_id, invoice_id)",
        ] {
            let plan = plan(&mut app, who, sql);
            assert!(!plan.contains("Seq Scan"), "{who}: {sql}\n{plan}");
            assert!(plan.contains("Index Cond"), "{who}: {sql}\n{plan}");
        }
    }
    // A plan for everybody, made by one who sees little, shows each what is theirs, with indexes.
    execute(
        &mut app,
        "SET plan_cache_mode = force_generic_plan; PREPARE all_of_them AS SELECT count(*) FROM public.invoice",
    );
    let mut counted = |who: &str| -> String {
        execute(&mut app, "BEGIN");
        execute(&mut app, &format!("SELECT authz_set_session('{}')", id(who)));
        let messages = app
            .simple_query("EXECUTE all_of_them")
            .unwrap_or_else(|e| panic!("{}", report(&e)));
        execute(&mut app, "COMMIT");
        messages
            .iter()
            .find_map(|m| match m {
                postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
            .unwrap()
    };
    assert_eq!(counted("alice"), "40");
    assert_eq!(counted("bob"), "2000");
    assert_eq!(counted("nobody"), "0");
    // The registration changes: teams no longer count. Plans made before must know.
    steps(
        &mut c,
        "authz_protect('public.invoice', 'invoice', key => 'invoice_id', tenant => 'tenant_id')",
    );
    assert_eq!(counted("alice"), "0");
    assert_eq!(counted("bob"), "2000");
    steps(&mut c, INVOICE);
    assert_eq!(counted("alice"), "40");
    // The registration alone, below policies that stay as they are.
    execute(
        &mut c,
        "UPDATE authz.resource_type SET team_column = NULL WHERE resource_type = 'invoice'",
    );
    let (alice, bob) = (counted("alice"), counted("bob"));
    assert_eq!(
        (alice.as_str(), bob.as_str()),
        ("40", "2000"),
        "the policy says what counts"
    );
    execute(&mut c, "SELECT authz_unprotect('public.invoice')");
    assert_eq!(counted("nobody"), "40000");
}

#[test]
fn foreign_keys_of_children_look_at_every_parent_and_show_none() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    let globex = make::tenant(&mut c, "globex");
    make::role(&mut c, "worker", &["case.view", "document.view", "document.edit"]);
    make::member(&mut c, acme, "alice");
    for (tenant, name) in [(acme, "open"), (acme, "closed"), (globex, "foreign")] {
        make::case(&mut c, tenant, name);
    }
    make::assign(&mut c, acme, id("alice"), "worker", "case", id("open"));
    execute(
        &mut c,
        "ALTER TABLE case_document ADD FOREIGN KEY (tenant_id, case_id) REFERENCES case_record (tenant_id, case_id) ON DELETE CASCADE;
         SELECT authz_protect('case_record', 'case', 'case_id', 'tenant_id', confidentiality => 'confidentiality_level',
             deleted_at => 'deleted_at', delete_permission => 'case.view');
         SELECT authz_protect('case_document', 'document', 'document_id', 'tenant_id', confidentiality => 'confidentiality_level',
             parent => 'case_id', parent_type => 'case', insert_permission => 'document.view')",
    );
    let role = db.role();
    execute(
        &mut c,
        &format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON case_record, case_document TO {role};
             GRANT EXECUTE ON FUNCTION authz_set_session TO {role}"
        ),
    );
    let mut app = db.connect_as(&role);
    execute(
        &mut app,
        &format!("SELECT authz_set_session('{}', is_local => false)", id("alice")),
    );
    make::document(&mut app, acme, "paper", Some(id("open")));
    let mut errors = Vec::new();
    for (tenant, case) in [
        (acme, "closed"),
        (globex, "foreign"),
        (acme, "absent"),
        (globex, "absent"),
        (globex, "open"),
    ] {
        let error = app
            .execute(
                "INSERT INTO case_document (tenant_id, document_id, case_id) VALUES ($1, $2, $3)",
                &[&tenant, &id("new"), &id(case)],
            )
            .expect_err(case);
        errors.push(report(&error));
    }
    assert!(errors[0].starts_with("42501"), "{errors:?}");
    assert!(
        errors.iter().all(|e| *e == errors[0]),
        "they tell which parents exist: {errors:?}"
    );
    // The cascade acts past row security, within the tenant: that is what the key's owner asked for.
    execute(
        &mut c,
        &format!(
            "INSERT INTO case_document (tenant_id, document_id, case_id, confidentiality_level) VALUES ('{acme}', '{}', '{}', 'sealed')",
            id("sealed paper"),
            id("open")
        ),
    );
    assert_eq!(value::<i64>(&mut app, "SELECT count(*) FROM case_document", &[]), 1);
    assert_eq!(app.execute("DELETE FROM case_record", &[]).unwrap(), 1);
    assert_eq!(value::<i64>(&mut c, "SELECT count(*) FROM case_document", &[]), 0);
    assert_eq!(value::<i64>(&mut c, "SELECT count(*) FROM case_record", &[]), 2);
}
