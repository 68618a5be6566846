//! Indexes: which are missing, are made and are used (R22).

use crate::made::steps;
use crate::{INVOICE, invoices};
use authz_tests::make::{self, id};
use authz_tests::{Db, Start, execute, report, value};
use postgres::Client;

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
