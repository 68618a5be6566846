//! Conditions over any column of a row decide in every command as the check does: about the row that is there, and about
//! the row as it is going to be (R24). Random policies are compared in `row_security/random.rs`; here is every way to write.

use authz_tests::make::{self, id};
use authz_tests::waiting::waits;
use authz_tests::{Db, execute, report, value};
use postgres::Client;

/// A table of deals, of which Alice may do everything with those of up to 100, Bob with those of more. Seven deals of acme:
/// 10, 50, 100, 200, 500, 1000, and one of no amount.
fn deals(table: &str) -> (Db, Client, Client) {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    execute(&mut c, table);
    execute(
        &mut c,
        &format!(
            "INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
             SELECT 'deal.' || a, 'deal', a FROM unnest(ARRAY['view', 'create', 'edit', 'delete']) AS a;
             SELECT authz_protect('public.deal', 'deal', 'id', 'tenant', create_indexes => true);
             INSERT INTO public.deal (tenant, id, amount)
             SELECT '{acme}', n, (ARRAY[10, 50, 100, 200, 500, 1000])[n] FROM generate_series(1, 7) AS n;
             ANALYZE public.deal"
        ),
    );
    for (who, condition) in [("alice", "resource.amount <= 100"), ("bob", "resource.amount > 100")] {
        make::role(&mut c, who, &[]);
        execute(
            &mut c,
            &format!(
                "INSERT INTO authz.role_permission (role_code, permission_code, condition)
                 SELECT '{who}', permission_code, '{condition}' FROM authz.permission_definition WHERE resource_type = 'deal'"
            ),
        );
        make::member(&mut c, acme, who);
        make::assign(&mut c, acme, id(who), who, "tenant", acme);
    }
    let role = db.role();
    execute(
        &mut c,
        &format!(
            "GRANT EXECUTE ON FUNCTION authz_set_session TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
        ),
    );
    let app = db.connect_as(&role);
    (db, c, app)
}

const PLAIN: &str =
    "CREATE TABLE public.deal (tenant uuid NOT NULL, id integer PRIMARY KEY, amount integer, note text)";

/// Partitions whose columns stand in another order, behind a dropped one.
const PARTITIONED: &str =
    "CREATE TABLE public.deal (gone point, tenant uuid NOT NULL, id integer PRIMARY KEY, amount integer, note text)
        PARTITION BY RANGE (id);
    ALTER TABLE public.deal DROP COLUMN gone;
    CREATE TABLE public.low PARTITION OF public.deal FOR VALUES FROM (MINVALUE) TO (4);
    CREATE TABLE public.high (note text, gone box, amount integer, id integer NOT NULL, tenant uuid NOT NULL);
    ALTER TABLE public.high DROP COLUMN gone;
    ALTER TABLE public.deal ATTACH PARTITION public.high FOR VALUES FROM (4) TO (MAXVALUE)";

/// Most rows are in a table that inherits, has more columns, and others in front.
const INHERITED: &str = "CREATE TABLE public.deal (tenant uuid NOT NULL, id integer PRIMARY KEY, amount integer, note text);
    CREATE TABLE public.more (extra text, LIKE public.deal INCLUDING ALL);
    ALTER TABLE public.more INHERIT public.deal;
    CREATE FUNCTION public.elsewhere() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF NEW.id % 2 = 0 AND NEW.id < 8 THEN
        INSERT INTO public.more (tenant, id, amount, note) VALUES (NEW.tenant, NEW.id, NEW.amount, NEW.note); RETURN NULL;
    END IF; RETURN NEW; END $$;
    CREATE TRIGGER elsewhere BEFORE INSERT ON public.deal FOR EACH ROW WHEN (current_user = 'postgres') EXECUTE FUNCTION public.elsewhere()";

/// The amount is generated from what is written.
const GENERATED: &str =
    "CREATE TABLE public.deal (tenant uuid NOT NULL, id integer PRIMARY KEY, amount integer, note text,
        large boolean GENERATED ALWAYS AS (amount > 100) STORED)";

fn act(c: &mut Client, who: &str) {
    execute(c, "BEGIN");
    if let Err(e) = c.execute("SELECT authz_set_session($1)", &[&id(who)]) {
        panic!("{}", report(&e));
    }
}

#[track_caller]
fn amounts(c: &mut Client, sql: &str) -> Vec<i32> {
    let mut all: Vec<i32> = match c.query(sql, &[]) {
        Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
        Err(e) => panic!("{}\nin: {sql}", report(&e)),
    };
    all.sort_unstable();
    all
}

/// What becomes of a statement as somebody, undone: how many rows, or the SQLSTATE.
fn outcome(c: &mut Client, who: &str, sql: &str) -> Result<u64, String> {
    act(c, who);
    let outcome = c.execute(sql, &[]).map_err(|e| match e.code() {
        Some(code) => code.code().to_owned(),
        None => report(&e),
    });
    execute(c, "ROLLBACK");
    outcome
}

#[test]
fn every_command_decides_by_the_row() {
    for table in [PLAIN, PARTITIONED, INHERITED, GENERATED] {
        let (_db, _admin, mut app) = deals(table);
        let acme = id("acme");
        for (who, mine, others) in [
            ("alice", vec![10, 50, 100], vec![200, 500, 1000]),
            ("bob", vec![200, 500, 1000], vec![10, 50, 100]),
        ] {
            for plan in ["auto", "force_generic_plan"] {
                execute(&mut app, &format!("SET plan_cache_mode = {plan}"));
                for sql in [
                    "SELECT amount FROM deal",
                    "SELECT amount FROM deal FOR UPDATE",
                    "SELECT amount FROM deal FOR NO KEY UPDATE",
                    "SELECT amount FROM deal FOR KEY SHARE",
                    "SELECT d.amount FROM deal AS d LEFT JOIN deal AS e USING (tenant, id) WHERE e.id IS NOT NULL FOR UPDATE OF d",
                    "UPDATE deal SET note = 'x' RETURNING amount",
                    "UPDATE deal SET amount = amount RETURNING amount",
                    "UPDATE deal AS d SET note = e.note FROM deal AS e WHERE e.id = d.id RETURNING d.amount",
                    "DELETE FROM deal RETURNING amount",
                    "DELETE FROM deal AS d USING generate_series(1, 9) AS n WHERE d.id = n RETURNING d.amount",
                    "WITH d AS (DELETE FROM deal RETURNING *) SELECT amount FROM d",
                ] {
                    act(&mut app, who);
                    assert_eq!(amounts(&mut app, sql), mine, "{who}: {sql}\n{table}");
                    execute(&mut app, "ROLLBACK");
                }
            }
            // The row as it is going to be.
            let (good, bad) = (mine[0], others[0]);
            let key = if who == "alice" { 1 } else { 4 };
            let foreign = if who == "alice" { 4 } else { 1 };
            let merge = |source: &str, action: &str| {
                format!("MERGE INTO deal AS d USING (VALUES ({source})) AS n (id, amount) ON n.id = d.id {action}")
            };
            let upsert = |key: i32, first: i32, then: i32| {
                format!(
                    "INSERT INTO deal (tenant, id, amount) VALUES ('{acme}', {key}, {first})
                     ON CONFLICT (id) DO UPDATE SET amount = {then}"
                )
            };
            let refused = || Err("42501".to_owned());
            for (sql, expected) in [
                (
                    format!("INSERT INTO deal (tenant, id, amount) VALUES ('{acme}', 8, {good})"),
                    Ok(1),
                ),
                (
                    format!("INSERT INTO deal (tenant, id, amount) VALUES ('{acme}', 8, {bad})"),
                    refused(),
                ),
                (
                    format!("INSERT INTO deal (tenant, id, amount) VALUES ('{acme}', 8, NULL)"),
                    refused(),
                ),
                (
                    format!("INSERT INTO deal (tenant, id, amount) VALUES ('{acme}', 8, {good}) RETURNING id"),
                    Ok(1),
                ),
                (
                    format!(
                        "INSERT INTO deal (tenant, id, amount) SELECT '{acme}', 7 + n, amount FROM deal, generate_series(1, 1) n WHERE amount = {good}"
                    ),
                    Ok(1),
                ),
                (format!("UPDATE deal SET amount = {good} WHERE id = {key}"), Ok(1)),
                (
                    format!("UPDATE deal SET amount = {good}, note = note WHERE id = {foreign}"),
                    Ok(0),
                ),
                (format!("UPDATE deal SET amount = {bad}"), refused()),
                ("UPDATE deal SET amount = NULL".to_owned(), refused()),
                // To another partition, too.
                (format!("UPDATE deal SET id = id + 20 WHERE id = {key}"), Ok(1)),
                (
                    format!("UPDATE deal SET id = id + 20, amount = {bad} WHERE id = {key}"),
                    refused(),
                ),
                (
                    merge(
                        &format!("{key}, {good}"),
                        "WHEN MATCHED THEN UPDATE SET amount = n.amount",
                    ),
                    Ok(1),
                ),
                (
                    merge(
                        &format!("{key}, {bad}"),
                        "WHEN MATCHED THEN UPDATE SET amount = n.amount",
                    ),
                    refused(),
                ),
                (merge(&format!("{key}, 0"), "WHEN MATCHED THEN DELETE"), Ok(1)),
                (
                    merge(
                        &format!("8, {good}"),
                        &format!("WHEN NOT MATCHED THEN INSERT (tenant, id, amount) VALUES ('{acme}', n.id, n.amount)"),
                    ),
                    Ok(1),
                ),
                (
                    merge(
                        &format!("8, {bad}"),
                        &format!("WHEN NOT MATCHED THEN INSERT (tenant, id, amount) VALUES ('{acme}', n.id, n.amount)"),
                    ),
                    refused(),
                ),
                (upsert(8, good, bad), Ok(1)),
                (upsert(key, good, good), Ok(1)),
                (upsert(key, good, bad), refused()),
                (upsert(key, bad, good), refused()),
            ] {
                if table == INHERITED && (sql.contains("ON CONFLICT") || sql.contains("INSERT")) {
                    // Keys of inheriting tables are no keys of their parent: whether there is a conflict is another matter.
                    continue;
                }
                assert_eq!(outcome(&mut app, who, &sql), expected, "{who}: {sql}\n{table}");
            }
            // A row that is there and not theirs: an upsert of it says no, whatever it would become.
            if table != INHERITED {
                assert_eq!(outcome(&mut app, who, &upsert(foreign, good, good)), refused(), "{who}");
            }
        }
    }
}

/// One plan, made for whom it may: each gets their own rows by it.
#[test]
fn prepared_statements_serve_everybody() {
    let (_db, _admin, mut app) = deals(PARTITIONED);
    for mode in ["force_generic_plan", "force_custom_plan"] {
        execute(&mut app, &format!("SET plan_cache_mode = {mode}"));
        let update = app.prepare("UPDATE deal SET note = $1 RETURNING amount").unwrap();
        for (who, mine) in [
            ("alice", vec![10, 50, 100]),
            ("bob", vec![200, 500, 1000]),
            ("nobody", vec![]),
            ("alice", vec![10, 50, 100]),
        ] {
            act(&mut app, who);
            let mut found: Vec<i32> = app.query(&update, &[&"x"]).unwrap().iter().map(|r| r.get(0)).collect();
            found.sort_unstable();
            execute(&mut app, "ROLLBACK");
            assert_eq!(found, mine, "{who}, {mode}");
        }
    }
}

/// A condition that comes after the plan was made counts as well.
#[test]
fn a_condition_that_is_added_later_holds_for_kept_plans() {
    let (_db, mut admin, mut app) = deals(PLAIN);
    let acme = id("acme");
    make::member(&mut admin, acme, "carol");
    execute(&mut app, "SET plan_cache_mode = force_generic_plan");
    let delete = app.prepare("DELETE FROM deal RETURNING amount").unwrap();
    for (n, (condition, expected)) in [
        (None, 7),
        (Some("resource.amount == 500"), 1),
        (Some("resource.row.note == 'x'"), 0),
        (Some("resource.amount / 0 == 1"), 0),
        (Some("!has(resource.note)"), 0),
        (Some("resource.note == null"), 7),
        (Some("context.level > 3"), 0),
        (Some("principal.type == 'human'"), 7),
    ]
    .into_iter()
    .enumerate()
    {
        let role = format!("role_{n}");
        make::role(&mut admin, &role, &[]);
        make::allow(&mut admin, &role, "deal.view", condition);
        make::allow(&mut admin, &role, "deal.delete", condition);
        let assignment = make::assign(&mut admin, acme, id("carol"), &role, "tenant", acme);
        act(&mut app, "carol");
        assert_eq!(app.query(&delete, &[]).unwrap().len(), expected, "{condition:?}");
        execute(&mut app, "ROLLBACK");
        make::revoke(&mut admin, assignment);
    }
}

/// PITFALLS 17: after waiting for a lock the row is decided by what is in it then, not by what the snapshot shows.
#[test]
fn a_row_that_was_waited_for_is_decided_as_it_is_now() {
    for (statement, before, after) in [
        ("UPDATE deal SET note = 'x' WHERE id = 1", 10, 500),
        ("DELETE FROM deal WHERE id = 1", 10, 500),
        ("SELECT FROM deal WHERE id = 1 FOR UPDATE", 10, 500),
    ] {
        let (db, mut admin, mut app) = deals(PLAIN);
        let mut watch = db.connect();
        execute(&mut admin, "BEGIN");
        execute(
            &mut admin,
            &format!("UPDATE deal SET amount = {after} WHERE id = 1 AND amount = {before}"),
        );
        let pid: i32 = value(&mut app, "SELECT pg_backend_pid()", &[]);
        let changed = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| outcome(&mut app, "alice", statement));
            while !waits(&mut watch, pid) {
                assert!(!waiting.is_finished(), "nobody waited: {statement}");
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            execute(&mut admin, "COMMIT");
            waiting.join().unwrap()
        });
        assert_eq!(changed, Ok(0), "{statement}");
    }
}

/// Conditions see what is going to be stored: after triggers, with generated columns, and without columns that are gone.
#[test]
fn conditions_see_what_is_stored() {
    let (_db, mut admin, mut app) = deals(GENERATED);
    make::role(&mut admin, "small", &[]);
    for permission in ["deal.view", "deal.edit", "deal.create"] {
        make::allow(&mut admin, "small", permission, Some("resource.large == false"));
    }
    make::member(&mut admin, id("acme"), "carol");
    make::assign(&mut admin, id("acme"), id("carol"), "small", "tenant", id("acme"));
    execute(
        &mut admin,
        "CREATE FUNCTION public.double() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN IF NEW.note = 'double' THEN NEW.amount := NEW.amount * 2; END IF; RETURN NEW; END $$;
         CREATE TRIGGER double BEFORE INSERT OR UPDATE ON public.deal FOR EACH ROW EXECUTE FUNCTION public.double();
         ALTER TABLE public.deal ADD COLUMN gone integer DEFAULT 7; ALTER TABLE public.deal DROP COLUMN gone;
         ALTER TABLE public.deal ADD COLUMN late text DEFAULT 'late'",
    );
    let acme = id("acme");
    let refused = || Err("42501".to_owned());
    for (sql, expected) in [
        ("UPDATE deal SET note = 'x'".to_owned(), Ok(3)),
        ("UPDATE deal SET amount = 101 WHERE id = 1".to_owned(), refused()),
        ("UPDATE deal SET note = 'double' WHERE id = 1".to_owned(), Ok(1)),
        ("UPDATE deal SET note = 'double' WHERE id = 3".to_owned(), refused()),
        (
            format!("INSERT INTO deal (tenant, id, amount, note) VALUES ('{acme}', 8, 60, 'double')"),
            refused(),
        ),
        (
            format!("INSERT INTO deal (tenant, id, amount) VALUES ('{acme}', 8, 60)"),
            Ok(1),
        ),
    ] {
        assert_eq!(outcome(&mut app, "carol", &sql), expected, "{sql}");
    }
}

/// Who may not read a column has it decided about all the same, and functions in a query see no row before it is decided.
#[test]
fn conditions_lend_nothing() {
    let (db, mut admin, _) = deals(PLAIN);
    let role = db.role();
    execute(
        &mut admin,
        &format!(
            "GRANT EXECUTE ON FUNCTION authz_set_session TO {role};
             GRANT SELECT (id), UPDATE (note), DELETE ON public.deal TO {role};
             CREATE SCHEMA evil AUTHORIZATION {role}"
        ),
    );
    let mut app = db.connect_as(&role);
    execute(
        &mut app,
        "CREATE FUNCTION evil.leak(id integer) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$
         BEGIN IF id > 3 THEN RAISE EXCEPTION 'saw %', id; END IF; RETURN true; END $$",
    );
    for (sql, expected) in [
        ("UPDATE deal SET note = 'x' WHERE evil.leak(id)", Ok(3)),
        ("DELETE FROM deal WHERE evil.leak(id)", Ok(3)),
        ("DELETE FROM deal WHERE evil.leak(id) AND 1 / (id - 4) < 100", Ok(3)),
        ("SELECT id FROM deal WHERE evil.leak(id)", Ok(3)),
        ("SELECT id FROM deal WHERE evil.leak(id) FOR UPDATE", Ok(3)),
        ("SELECT amount FROM deal", Err("42501".to_owned())),
        ("SELECT deal FROM deal", Err("42501".to_owned())),
        ("UPDATE deal SET note = 'x' RETURNING amount", Err("42501".to_owned())),
    ] {
        assert_eq!(outcome(&mut app, "alice", sql), expected, "{sql}");
    }
}

/// Rows are decided in parallel workers, through views, and by plans that join after filtering.
#[test]
fn conditions_through_views_and_workers() {
    let (_db, mut admin, mut app) = deals(PLAIN);
    execute(
        &mut admin,
        "CREATE VIEW public.open_view WITH (security_invoker) AS SELECT * FROM public.deal;
         CREATE VIEW public.barrier WITH (security_invoker, security_barrier) AS SELECT * FROM public.deal WHERE amount IS NOT NULL;
         GRANT SELECT, UPDATE, DELETE, INSERT ON public.open_view, public.barrier TO PUBLIC",
    );
    for view in ["open_view", "barrier"] {
        act(&mut app, "alice");
        execute(
            &mut app,
            "SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;
             SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off",
        );
        for sql in [
            format!("SELECT amount FROM {view}"),
            format!("SELECT amount FROM {view} FOR UPDATE"),
            format!("SELECT v.amount FROM {view} AS v RIGHT JOIN deal AS d ON d.id = v.id"),
            format!("UPDATE {view} SET note = 'x' RETURNING amount"),
            format!("DELETE FROM {view} RETURNING amount"),
        ] {
            assert_eq!(amounts(&mut app, &sql), [10, 50, 100], "{sql}");
        }
        execute(&mut app, "ROLLBACK");
        assert_eq!(
            outcome(&mut app, "alice", &format!("UPDATE {view} SET amount = 101")),
            Err("42501".to_owned())
        );
    }
}

/// Where the call of a policy is given nothing but the boundary, that is what conditions may ask for.
#[test]
fn conditions_over_the_boundary_need_no_row() {
    let (_db, mut admin, _) = deals(PLAIN);
    let acme = id("acme");
    for (n, (condition, expected)) in [
        ("resource.tenant == resource.tenant && resource.type == 'deal'", true),
        (
            "resource.confidentiality == 'normal' && resource.deleted == false",
            true,
        ),
        ("resource.id == '2'", false),
        ("resource.amount == null || resource.amount != null", false),
        ("!has(resource.amount)", false),
        ("resource.row == null", false),
    ]
    .into_iter()
    .enumerate()
    {
        let who = format!("person {n}");
        let role = format!("role_{n}");
        make::role(&mut admin, &role, &[]);
        make::allow(&mut admin, &role, "deal.view", Some(condition));
        make::member(&mut admin, acme, &who);
        make::assign(&mut admin, acme, id(&who), &role, "tenant", acme);
        act(&mut admin, &who);
        let allowed: bool = value(&mut admin, &format!("SELECT authz_row('deal.view', 1, '{acme}')"), &[]);
        assert_eq!(allowed, expected, "{condition}");
        execute(&mut admin, "ROLLBACK");
    }
}
