//! What protecting makes and says, and what unprotecting leaves (R20, R21).

use crate::refused::is_refused;
use crate::{INVOICE, invoices, state};
use authz_tests::dump::{Dump, Format};
use authz_tests::make::{self, id};
use authz_tests::{Db, Start, execute, report, value};
use postgres::Client;

pub fn steps(c: &mut Client, call: &str) -> Vec<(String, String)> {
    match c.query(&format!("SELECT step, detail FROM {call}"), &[]) {
        Ok(rows) => rows.iter().map(|row| (row.get(0), row.get(1))).collect(),
        Err(e) => panic!("{}\nin: {call}", report(&e)),
    }
}

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
    let copy = Dump::of(&db, Format::Plain).restored();
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
