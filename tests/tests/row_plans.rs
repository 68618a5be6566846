//! Plans of sessions that name a tenant look for that tenant's rows by equality. They are right for everybody: who names
//! another tenant, none, or nobody; whoever kept them, wherever (R22, PITFALLS 30).

use authz_tests::make::{self, id};
use authz_tests::{Db, execute, refused, value};
use postgres::Client;
use uuid::Uuid;

const ONE: &str = "one";
const TWO: &str = "two";

/// Two tenants with 600 cases each, by turns in time; `both` reads all of them, `first` those of the first.
fn world(db: &Db) -> Client {
    let mut c = db.connect();
    execute(
        &mut c,
        "CREATE TABLE public.matter (tenant_id uuid NOT NULL, matter_id uuid NOT NULL, title text NOT NULL, made int NOT NULL,
             PRIMARY KEY (tenant_id, matter_id));
         CREATE INDEX ON public.matter (tenant_id, made)",
    );
    execute(
        &mut c,
        "INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
         VALUES ('matter.view', 'matter', 'view'), ('matter.change', 'matter', 'change')",
    );
    make::role(&mut c, "keeper", &["matter.view", "matter.change"]);
    make::principal(&mut c, "both");
    make::principal(&mut c, "first");
    for (tenant, members) in [(ONE, ["both", "first"].as_slice()), (TWO, &["both"])] {
        make::tenant(&mut c, tenant);
        for member in members {
            make::join(&mut c, id(tenant), id(member));
            make::assign(&mut c, id(tenant), id(member), "keeper", "tenant", id(tenant));
        }
        execute(
            &mut c,
            &format!(
                "INSERT INTO public.matter SELECT '{}', gen_random_uuid(), '{tenant}', n FROM generate_series(1, 600) AS n",
                id(tenant)
            ),
        );
    }
    execute(
        &mut c,
        "SELECT authz_protect('public.matter', 'matter', key => 'matter_id', tenant => 'tenant_id',
             insert_permission => 'matter.change', update_permission => 'matter.change',
             delete_permission => 'matter.change');
         ANALYZE public.matter",
    );
    c
}

fn application(db: &Db, c: &mut Client) -> Client {
    let role = db.role();
    execute(
        c,
        &format!(
            "GRANT EXECUTE ON FUNCTION authz_set_session TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
        ),
    );
    db.connect_as(&role)
}

fn become_(c: &mut Client, principal: &str, tenant: Option<&str>, is_local: bool) {
    let tenant: Option<Uuid> = tenant.map(id);
    c.execute(
        "SELECT authz_set_session($1, $2, '{}', $3)",
        &[&id(principal), &tenant, &is_local],
    )
    .unwrap();
}

fn plan(c: &mut Client, query: &str) -> String {
    let lines = c.query(&format!("EXPLAIN (COSTS off) {query}"), &[]).unwrap();
    lines.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
}

const COUNT: &str = "SELECT count(*) FROM public.matter";

/// What everybody sees, by name of principal and tenant.
const SEEN: [(&str, Option<&str>, i64); 6] = [
    ("both", Some(ONE), 600),
    ("both", None, 1200),
    ("first", Some(TWO), 0),
    ("first", None, 600),
    ("both", Some(TWO), 600),
    ("first", Some(ONE), 600),
];

#[test]
fn prepared_plans_that_are_kept() {
    let db = Db::new();
    let mut c = world(&db);
    for local in [false, true] {
        let mut app = application(&db, &mut c);
        execute(
            &mut app,
            &format!("SET plan_cache_mode = force_generic_plan; PREPARE p AS {COUNT}"),
        );
        for (from, first) in SEEN.iter().enumerate() {
            for second in &SEEN[from..] {
                for (principal, tenant, rows) in [first, second, first] {
                    execute(&mut app, "BEGIN");
                    become_(&mut app, principal, *tenant, local);
                    assert_eq!(
                        value::<i64>(&mut app, "EXECUTE p", &[]),
                        *rows,
                        "{principal} in {tenant:?}, local: {local}"
                    );
                    execute(&mut app, "COMMIT");
                    if local {
                        assert_eq!(value::<i64>(&mut app, "EXECUTE p", &[]), 0, "nobody");
                    }
                }
            }
        }
    }
}

#[test]
fn plans_kept_by_functions() {
    let db = Db::new();
    let mut c = world(&db);
    let mut app = application(&db, &mut c);
    execute(
        &mut c,
        &format!(
            "CREATE FUNCTION public.in_sql() RETURNS bigint LANGUAGE sql STABLE AS $$ {COUNT} $$;
             CREATE FUNCTION public.in_plpgsql() RETURNS bigint LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN ({COUNT}); END $$;
             CREATE FUNCTION public.in_atomic() RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC {COUNT}; END"
        ),
    );
    for _ in 0..7 {
        for (principal, tenant, rows) in SEEN {
            become_(&mut app, principal, tenant, false);
            for function in ["in_sql", "in_plpgsql", "in_atomic"] {
                let found = value::<i64>(&mut app, &format!("SELECT public.{function}()"), &[]);
                assert_eq!(found, rows, "{function}: {principal} in {tenant:?}");
            }
        }
    }
}

#[test]
fn plans_after_a_rollback() {
    let db = Db::new();
    let mut c = world(&db);
    let mut app = application(&db, &mut c);
    execute(
        &mut app,
        &format!("SET plan_cache_mode = force_generic_plan; PREPARE p AS {COUNT}"),
    );
    let count = |app: &mut Client| value::<i64>(app, "EXECUTE p", &[]);
    become_(&mut app, "both", None, false);
    execute(&mut app, "BEGIN; SAVEPOINT s");
    become_(&mut app, "both", Some(ONE), true);
    assert_eq!(count(&mut app), 600);
    execute(&mut app, "ROLLBACK TO s");
    assert_eq!(count(&mut app), 1200, "after rolling back to a savepoint");
    become_(&mut app, "both", Some(TWO), true);
    assert_eq!(count(&mut app), 600);
    execute(&mut app, "COMMIT");
    assert_eq!(count(&mut app), 1200, "after the transaction");
    execute(&mut app, "RESET ALL");
    become_(&mut app, "both", Some(TWO), false);
    assert_eq!(count(&mut app), 600);
    execute(&mut app, "DISCARD PLANS");
    become_(&mut app, "both", None, false);
    assert_eq!(count(&mut app), 1200);
}

/// A principal that is bound to the login role acts wherever nobody has set a session, in all its tenants.
#[test]
fn plans_of_a_login_role_that_is_a_principal() {
    let db = Db::new();
    let mut c = world(&db);
    let role = db.role();
    execute(
        &mut c,
        &format!(
            "GRANT EXECUTE ON FUNCTION authz_set_session TO {role}; GRANT SELECT ON public.matter TO {role};
             UPDATE authz.principal SET db_role = '{role}' WHERE principal_id = '{}'",
            id("both")
        ),
    );
    let mut app = db.connect_as(&role);
    execute(
        &mut app,
        &format!("SET plan_cache_mode = force_generic_plan; PREPARE p AS {COUNT}"),
    );
    for _ in 0..3 {
        execute(&mut app, "BEGIN");
        become_(&mut app, "first", Some(ONE), true);
        assert_eq!(value::<i64>(&mut app, "EXECUTE p", &[]), 600);
        execute(&mut app, "COMMIT");
        assert_eq!(value::<i64>(&mut app, "EXECUTE p", &[]), 1200, "itself");
    }
    // Bound after the plan was made: it is not run for the wrong session, and the next one is right.
    execute(
        &mut c,
        &format!("UPDATE authz.principal SET db_role = NULL WHERE db_role = '{role}'"),
    );
    execute(&mut app, &format!("DEALLOCATE p; PREPARE p AS {COUNT}"));
    become_(&mut app, "first", Some(ONE), false);
    assert_eq!(value::<i64>(&mut app, "EXECUTE p", &[]), 600);
    execute(
        &mut c,
        &format!(
            "UPDATE authz.principal SET db_role = '{role}' WHERE principal_id = '{}'",
            id("both")
        ),
    );
    execute(&mut app, "SELECT authz_clear_session()");
    refused(&mut app, "EXECUTE p", "55000", &["Run the statement again"]);
    assert_eq!(value::<i64>(&mut app, "EXECUTE p", &[]), 1200);
}

/// Pooled: nobody's session outlives its transaction, and plans outlive them all.
#[test]
fn a_plan_is_kept_over_transactions_of_one_tenant_each() {
    let db = Db::new();
    let mut c = world(&db);
    let mut app = application(&db, &mut c);
    execute(
        &mut app,
        &format!("SET plan_cache_mode = force_generic_plan; PREPARE p AS {COUNT}"),
    );
    let plans = |app: &mut Client| {
        value::<i64>(
            app,
            "SELECT generic_plans FROM pg_prepared_statements WHERE name = 'p'",
            &[],
        )
    };
    for n in 0..10 {
        execute(&mut app, "BEGIN");
        become_(&mut app, "both", Some(if n % 2 == 0 { ONE } else { TWO }), true);
        assert_eq!(value::<i64>(&mut app, "EXECUTE p", &[]), 600);
        let plan = plan(&mut app, "EXECUTE p");
        assert!(plan.contains("authz.named_tenant()"), "{plan}");
        execute(&mut app, "COMMIT");
    }
    assert!(plans(&mut app) >= 10);
}

/// The newest of one's tenant come in order from an index that begins with the tenant: nothing is sorted.
#[test]
fn an_ordered_first_page() {
    let db = Db::new();
    let mut c = world(&db);
    let mut app = application(&db, &mut c);
    const PAGE: &str = "SELECT made FROM public.matter ORDER BY made DESC LIMIT 3";
    for (principal, tenant) in [("both", Some(ONE)), ("first", Some(ONE)), ("both", Some(TWO))] {
        become_(&mut app, principal, tenant, false);
        let plan = plan(&mut app, PAGE);
        assert!(plan.contains("Index") && !plan.contains("Sort"), "{plan}");
        let made: Vec<i32> = app.query(PAGE, &[]).unwrap().iter().map(|row| row.get(0)).collect();
        assert_eq!(made, [600, 599, 598]);
    }
}

/// A session that changes while a statement runs which was planned for another one.
#[test]
fn a_session_set_inside_the_statement() {
    let db = Db::new();
    let mut c = world(&db);
    let mut app = application(&db, &mut c);
    become_(&mut app, "both", Some(ONE), false);
    let inside = format!(
        "SELECT n FROM (SELECT authz_set_session('{}', NULL, '{{}}', false) OFFSET 0) AS s, LATERAL ({COUNT}) AS x (n)",
        id("both")
    );
    // Whichever of the two runs first: all rows of one of the sessions, or an error, and no other number.
    let found: Result<i64, String> = app
        .query_one(&inside, &[])
        .map(|row| row.get(0))
        .map_err(|e| e.code().map_or(String::new(), |c| c.code().to_owned()));
    assert!(
        found == Ok(600) || found == Ok(1200) || found == Err("55000".to_owned()),
        "{found:?}"
    );
    become_(&mut app, "both", None, false);
    assert_eq!(value::<i64>(&mut app, COUNT, &[]), 1200);

    execute(&mut app, "BEGIN");
    become_(&mut app, "both", Some(ONE), true);
    execute(&mut app, "DECLARE p CURSOR FOR SELECT title FROM public.matter");
    become_(&mut app, "both", Some(TWO), true);
    let titles: Vec<String> = app
        .query("FETCH ALL FROM p", &[])
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    assert!(
        titles.iter().all(|t| t == TWO),
        "rows of the tenant that is named now, if any"
    );
    execute(&mut app, "ROLLBACK");
}

/// Writes are planned the same way.
#[test]
fn writes_of_one_tenant() {
    let db = Db::new();
    let mut c = world(&db);
    let mut app = application(&db, &mut c);
    execute(
        &mut app,
        "SET plan_cache_mode = force_generic_plan;
         PREPARE u AS UPDATE public.matter SET made = made WHERE made > 590;
         PREPARE d AS DELETE FROM public.matter WHERE made > 590",
    );
    for (principal, tenant, rows) in SEEN {
        for statement in ["u", "d"] {
            execute(&mut app, "BEGIN");
            become_(&mut app, principal, tenant, true);
            let written = app.execute(&format!("EXECUTE {statement}"), &[]).unwrap();
            assert_eq!(written as i64, rows / 60, "{statement}: {principal} in {tenant:?}");
            execute(&mut app, "ROLLBACK");
        }
    }
}

/// The plan of who sees every row, run by others: rows are decided whole.
#[test]
fn plans_of_who_sees_everything() {
    for key in ["uuid", "bigint", "text"] {
        let db = Db::new();
        let mut c = world(&db);
        make::team(&mut c, id(ONE), "red", None, None);
        execute(
            &mut c,
            &format!(
                "CREATE TABLE public.ledger (tenant_id uuid NOT NULL REFERENCES authz.tenant (tenant_id), ledger_id {key} PRIMARY KEY,
                     team uuid, level text NOT NULL CHECK (level IN ('normal', 'restricted', 'sealed')), gone timestamptz);
                 INSERT INTO public.ledger
                 SELECT CASE n % 2 WHEN 0 THEN '{one}'::uuid ELSE '{two}' END,
                        CASE '{key}' WHEN 'uuid' THEN gen_random_uuid()::text WHEN 'text' THEN 'No. ' || n ELSE n::text END::{key},
                        CASE WHEN n % 6 = 0 THEN '{red}'::uuid END,
                        CASE n % 5 WHEN 1 THEN 'restricted' WHEN 2 THEN 'sealed' ELSE 'normal' END,
                        CASE WHEN n % 7 = 0 THEN now() END FROM generate_series(1, 420) AS n;
                 INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
                 SELECT 'ledger.' || a, 'ledger', a FROM unnest(ARRAY['view', 'view_restricted', 'view_sealed', 'view_deleted']) AS a;
                 SELECT authz_protect('public.ledger', 'ledger', key => 'ledger_id', tenant => 'tenant_id', team => 'team',
                     confidentiality => 'level', deleted_at => 'gone', create_indexes => true);
                 ANALYZE public.ledger",
                one = id(ONE),
                two = id(TWO),
                red = id("red")
            ),
        );
        let every = [
            "ledger.view",
            "ledger.view_restricted",
            "ledger.view_sealed",
            "ledger.view_deleted",
        ];
        make::role(&mut c, "auditor", &every);
        make::role(&mut c, "teller", &every[..2]);
        make::principal(&mut c, "auditor");
        make::assign_platform(&mut c, id("auditor"), "auditor");
        make::assign(&mut c, id(ONE), id("first"), "teller", "team", id("red"));
        make::assign(&mut c, id(TWO), id("both"), "teller", "tenant", id(TWO));

        let mut app = application(&db, &mut c);
        execute(
            &mut app,
            "SET plan_cache_mode = force_generic_plan; PREPARE p AS SELECT ledger_id::text FROM public.ledger ORDER BY 1",
        );
        let shown = |app: &mut Client| -> Vec<String> {
            app.query("EXECUTE p", &[])
                .unwrap()
                .iter()
                .map(|row| row.get(0))
                .collect()
        };
        // The plan as somebody else gets it who runs it after the auditor.
        let mut plan_for = |principal: &str, tenant: Option<&str>| {
            execute(&mut app, "DISCARD PLANS");
            become_(&mut app, "auditor", None, false);
            assert_eq!(shown(&mut app).len(), 420, "{key}");
            become_(&mut app, principal, tenant, false);
            (plan(&mut app, "EXECUTE p"), shown(&mut app))
        };
        for (principal, tenant) in [
            ("first", None),
            ("both", None),
            ("both", Some(TWO)),
            ("first", Some(TWO)),
            ("auditor", None),
        ] {
            let tenants = tenant.map_or(String::new(), |t| format!("l.tenant_id = '{}' AND", id(t)));
            let allowed: Vec<String> = c
                .query(
                    &format!(
                        "SELECT ledger_id::text FROM public.ledger AS l
                          WHERE {tenants} authz_can('{}'::uuid, 'ledger.view', l.ledger_id::text, l.tenant_id, '{{}}') ORDER BY 1",
                        id(principal)
                    ),
                    &[],
                )
                .unwrap()
                .iter()
                .map(|row| row.get(0))
                .collect();
            // Autovacuum, for one, lets plans be made anew at any time: then it is not the auditor's that is run.
            let is_the_auditors = (0..10).any(|_| {
                let (plan, shown) = plan_for(principal, tenant);
                assert_eq!(shown, allowed, "{key}: {principal} in {tenant:?}\n{plan}");
                tenant.is_some() || plan.contains("authz.still") && plan.contains("authz.row_whole")
            });
            assert!(is_the_auditors, "{key}: {principal} in {tenant:?}");
        }
    }
}
