//! Work is routed to operators (R7): who may do it, has most room, and belongs to the client; never beyond a quota,
//! however many route at once.

use authz_tests::make::{self, id};
use authz_tests::{Db, execute, refused, refused_with_hint, report, value};
use postgres::Client;
use std::collections::HashMap;
use uuid::Uuid;

struct World {
    db: Db,
    admin: Client,
    app: String,
}

/// Roger routes work in acme. Operators of acme: olga (quota 3), otto (2), both may edit its cases; oscar (9) may not.
/// Operators of globex: gina (9), who may edit there; paul (9) may edit everywhere by a platform role, and belongs to none.
fn world() -> World {
    let db = Db::new();
    let mut c = db.connect();
    let (acme, globex) = (make::tenant(&mut c, "acme"), make::tenant(&mut c, "globex"));
    for n in 0..40 {
        make::case(&mut c, acme, &format!("alert{n}"));
    }
    make::case(&mut c, globex, "other");
    make::role(&mut c, "analyst", &["case.edit"]);
    make::role(&mut c, "router", &["work.route"]);
    for (name, tenant, quota) in [
        ("olga", acme, 3),
        ("otto", acme, 2),
        ("oscar", acme, 9),
        ("gina", globex, 9),
    ] {
        make::member(&mut c, tenant, name);
        operator(&mut c, name, quota);
        if name != "oscar" {
            make::assign(&mut c, tenant, id(name), "analyst", "tenant", tenant);
        }
    }
    make::principal(&mut c, "paul");
    make::assign_platform(&mut c, id("paul"), "analyst");
    operator(&mut c, "paul", 9);
    make::member(&mut c, acme, "roger");
    make::assign(&mut c, acme, id("roger"), "router", "tenant", acme);
    let app = db.role();
    for function in [
        "authz_set_session",
        "authz_route_work(uuid, text, uuid)",
        "authz_route_work(uuid, text, bigint)",
        "authz_route_work(uuid, text, text)",
        "authz_release_work",
    ] {
        execute(&mut c, &format!("GRANT EXECUTE ON FUNCTION {function} TO {app}"));
    }
    World { db, admin: c, app }
}

fn operator(c: &mut Client, name: &str, quota: i32) {
    execute(
        c,
        &format!(
            "INSERT INTO authz.operator_profile (principal_id, alert_quota) VALUES ('{}', {quota})",
            id(name)
        ),
    );
}

impl World {
    fn of(&self, name: &str) -> Client {
        let mut c = self.db.connect_as(&self.app);
        execute(
            &mut c,
            &format!("SELECT authz_set_session('{}', is_local => false)", id(name)),
        );
        c
    }
}

fn route(c: &mut Client, case: &str) -> Option<Uuid> {
    value(
        c,
        "SELECT authz_route_work($1, 'case.edit', $2::uuid)",
        &[&id("acme"), &id(case)],
    )
}

fn release(case: &str) -> String {
    format!(
        "SELECT authz_release_work('{}', 'case', '{}', 'done')",
        id("acme"),
        id(case)
    )
}

#[test]
fn r7_work_goes_to_the_eligible_operator_with_most_room_until_all_is_full() {
    let mut w = world();
    let mut roger = w.of("roger");
    let (olga, otto) = (Some(id("olga")), Some(id("otto")));
    assert_eq!(route(&mut roger, "alert0"), olga, "3 beats 2");
    assert_eq!(route(&mut roger, "alert0"), olga, "what somebody has stays there");
    let mut rest: Vec<_> = (1..5).map(|n| route(&mut roger, &format!("alert{n}"))).collect();
    rest.sort();
    let mut expected = vec![olga, olga, otto, otto];
    expected.sort();
    assert_eq!(rest, expected);
    assert_eq!(route(&mut roger, "alert5"), None, "all are full");
    // Room again.
    let mut o = w.of("olga");
    execute(&mut o, &release("alert0"));
    assert_eq!(route(&mut roger, "alert5"), olga);
    let row = w
        .admin
        .query_one(
            "SELECT principal_id, assigned_by, released_by, outcome FROM authz.work_assignment WHERE released_at IS NOT NULL",
            &[],
        )
        .unwrap();
    assert_eq!(
        (row.get(0), row.get(1), row.get(2), row.get(3)),
        (id("olga"), id("roger"), id("olga"), "done")
    );
    // A second factor that the permission asks for has to be enrolled; it is used when the work is done.
    execute(
        &mut w.admin,
        "UPDATE authz.permission_definition SET requires_mfa = true WHERE permission_code = 'case.edit'",
    );
    execute(&mut w.admin, "UPDATE authz.operator_profile SET alert_quota = 50");
    assert_eq!(route(&mut roger, "alert6"), None);
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.operator_profile SET mfa_enabled = true WHERE principal_id = '{}'",
            id("otto")
        ),
    );
    assert_eq!(route(&mut roger, "alert6"), otto);
}

#[test]
fn r7_never_across_clients_nor_to_who_is_suspended_or_not_cleared() {
    let mut w = world();
    let mut roger = w.of("roger");
    execute(
        &mut w.admin,
        "UPDATE authz.operator_profile SET alert_quota = 0 WHERE alert_quota < 9",
    );
    assert_eq!(
        route(&mut roger, "alert0"),
        None,
        "gina and paul are no members, oscar may not"
    );
    let other: Option<Uuid> = value(
        &mut roger,
        "SELECT authz_route_work($1, 'case.edit', $2::uuid)",
        &[&id("acme"), &id("other")],
    );
    assert_eq!(other, None, "another client's case is not found in this one");
    execute(&mut w.admin, "UPDATE authz.operator_profile SET alert_quota = 9");
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET status = 'suspended' WHERE principal_id = '{}'",
            id("olga")
        ),
    );
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.tenant_membership SET status = 'suspended' WHERE principal_id = '{}'",
            id("otto")
        ),
    );
    assert_eq!(route(&mut roger, "alert0"), None);
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.tenant_membership SET status = 'active' WHERE principal_id = '{}'",
            id("otto")
        ),
    );
    // A type can ask for a clearance.
    make::allow(&mut w.admin, "analyst", "case.view_restricted", None);
    execute(
        &mut w.admin,
        r#"UPDATE authz.resource_type SET clearance = '{"restricted": "L2"}' WHERE resource_type = 'case';
           UPDATE public.case_record SET confidentiality_level = 'restricted'"#,
    );
    assert_eq!(route(&mut roger, "alert0"), None);
    execute(&mut w.admin, "UPDATE authz.operator_profile SET clearance_level = 'L2'");
    assert_eq!(route(&mut roger, "alert0"), Some(id("otto")));
}

#[test]
fn work_is_routed_and_released_by_those_who_may() {
    let mut w = world();
    let (mut roger, mut olga, mut otto) = (w.of("roger"), w.of("olga"), w.of("otto"));
    let ask = format!(
        "SELECT authz_route_work('{}', 'case.edit', '{}'::uuid)",
        id("acme"),
        id("alert0")
    );
    refused_with_hint(&mut olga, &ask, "42501", &["work.route"]);
    for tenant in ["globex", "nowhere"] {
        refused(
            &mut roger,
            &format!(
                "SELECT authz_route_work('{}', 'case.edit', '{}'::uuid)",
                id(tenant),
                id("other")
            ),
            "42501",
            &["permission denied"],
        );
    }
    refused(
        &mut roger,
        "SELECT authz_route_work(NULL, 'case.edit', gen_random_uuid())",
        "42501",
        &["permission denied"],
    );
    refused_with_hint(
        &mut roger,
        &format!(
            "SELECT authz_route_work('{}', 'case.edti', gen_random_uuid())",
            id("acme")
        ),
        "42704",
        &["case.edit"],
    );
    for nothing in ["gen_random_uuid()", "4711", "'x'::text", "NULL::uuid"] {
        let routed: Option<Uuid> = value(
            &mut roger,
            &format!("SELECT authz_route_work('{}', 'case.edit', {nothing})", id("acme")),
            &[],
        );
        assert_eq!(routed, None, "{nothing}");
    }
    assert_eq!(route(&mut roger, "alert0"), Some(id("olga")));
    refused_with_hint(&mut otto, &release("alert0"), "42501", &["work.release"]);
    refused(&mut otto, &release("alert39"), "42501", &["work.release"]);
    let mut nobody = w.db.connect_as(&w.app);
    refused(&mut nobody, &release("alert0"), "42501", &["work.release"]);
    execute(&mut roger, &release("alert0"));
    refused_with_hint(&mut roger, &release("alert0"), "55000", &["with nobody"]);
    let plain = w.db.role();
    let mut c = w.db.connect_as(&plain);
    for sql in [
        &*ask,
        &*release("alert0"),
        "SELECT * FROM authz.work_assignment",
        "SELECT * FROM authz.operators_with_room(NULL)",
    ] {
        refused(&mut c, sql, "42501", &["permission denied"]);
    }
    // Closed, not deleted or changed.
    refused(
        &mut w.admin,
        "DELETE FROM authz.work_assignment",
        "55000",
        &["released_at"],
    );
    refused(
        &mut w.admin,
        "TRUNCATE authz.work_assignment",
        "55000",
        &["released_at"],
    );
    refused(
        &mut w.admin,
        &format!("UPDATE authz.work_assignment SET principal_id = '{}'", id("otto")),
        "55000",
        &["principal_id"],
    );
}

/// Whoever may not release work does not wait for it either: that would tell that somebody has it.
#[test]
fn waiting_for_a_lock_does_not_tell_that_work_is_there() {
    let w = world();
    let (mut roger, mut gina) = (w.of("roger"), w.of("gina"));
    assert!(route(&mut roger, "alert0").is_some());
    execute(&mut roger, "BEGIN");
    execute(&mut roger, &release("alert0"));
    execute(&mut gina, "SET lock_timeout = '10s'");
    refused(&mut gina, &release("alert0"), "42501", &["permission denied"]);
    execute(&mut roger, "ROLLBACK");
    execute(&mut roger, &release("alert0"));
    refused(&mut roger, &release("alert0"), "55000", &["nobody"]);
}

fn load(c: &mut Client) -> HashMap<Uuid, i64> {
    c.query(
        "SELECT principal_id, count(*) FROM authz.work_assignment WHERE released_at IS NULL GROUP BY 1",
        &[],
    )
    .unwrap()
    .iter()
    .map(|row| (row.get(0), row.get(1)))
    .collect()
}

/// Routers in two isolation levels, each with work of its own, twice as much as there is room for.
#[test]
fn r7_routers_at_once_never_exceed_a_quota_and_leave_no_room_unused() {
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let mut w = world();
        execute(
            &mut w.admin,
            "UPDATE authz.operator_profile SET alert_quota = 10 WHERE alert_quota < 9",
        );
        let routed: Vec<Option<Uuid>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|thread| {
                    let mut c = w.of("roger");
                    execute(&mut c, &format!("SET default_transaction_isolation = '{level}'"));
                    scope.spawn(move || {
                        (0..5)
                            .map(|n| {
                                let case = id(&format!("alert{}", thread * 5 + n));
                                loop {
                                    let routed = c.query_one(
                                        "SELECT authz_route_work($1, 'case.edit', $2::uuid)",
                                        &[&id("acme"), &case],
                                    );
                                    match routed {
                                        Ok(row) => return row.get(0),
                                        Err(e) => {
                                            let code = e.code().map(|c| c.code().to_owned());
                                            assert_eq!(code.as_deref(), Some("40001"), "{level}: {}", report(&e));
                                            assert_ne!(level, "READ COMMITTED", "{}", report(&e));
                                        }
                                    }
                                }
                            })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(
            routed.iter().filter(|r| r.is_some()).count(),
            20,
            "{level}: as much as there is room for"
        );
        let load = load(&mut w.admin);
        assert_eq!(load, HashMap::from([(id("olga"), 10), (id("otto"), 10)]), "{level}");
        let counted: i64 = value(&mut w.admin, "SELECT sum(open_items) FROM authz.work_load", &[]);
        assert_eq!(counted, 20);
    }
}

#[test]
fn r7_two_routers_of_the_same_work_give_it_to_one_operator() {
    let mut w = world();
    execute(&mut w.admin, "UPDATE authz.operator_profile SET alert_quota = 50");
    for n in 0..20 {
        let case = format!("alert{n}");
        let routed: Vec<Option<Uuid>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let (mut c, case) = (w.of("roger"), case.clone());
                    scope.spawn(move || route(&mut c, &case))
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(
            routed[0].is_some() && routed.iter().all(|r| *r == routed[0]),
            "{routed:?}"
        );
    }
    let open: i64 = value(&mut w.admin, "SELECT count(*) FROM authz.work_assignment", &[]);
    assert_eq!(open, 20);
    // Evenly: who has most room gets the next.
    let load = load(&mut w.admin);
    assert_eq!((load[&id("olga")] - load[&id("otto")]).abs(), 0, "{load:?}");
}

#[test]
fn work_that_is_entered_by_hand_counts_and_a_rollback_gives_it_back() {
    let mut w = world();
    let mut roger = w.of("roger");
    execute(
        &mut w.admin,
        &format!(
            "INSERT INTO authz.work_assignment (tenant_id, resource_type, resource_id, permission_code, principal_id)
             SELECT '{}', 'case', case_id::text, 'case.edit', '{}' FROM public.case_record ORDER BY case_id LIMIT 3",
            id("acme"),
            id("olga")
        ),
    );
    execute(&mut roger, "BEGIN");
    let free: Vec<String> = w
        .admin
        .query(
            "SELECT title FROM public.case_record WHERE title LIKE 'alert%'
                AND case_id::text NOT IN (SELECT resource_id FROM authz.work_assignment) LIMIT 4",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(route(&mut roger, &free[0]), Some(id("otto")), "olga is full");
    assert_eq!(route(&mut roger, &free[1]), Some(id("otto")));
    assert_eq!(route(&mut roger, &free[2]), None);
    execute(&mut roger, "ROLLBACK");
    assert_eq!(route(&mut roger, &free[3]), Some(id("otto")));
}

/// PITFALL 16 and its like: somebody who may create functions in the extension's schema plants better fitting ones.
#[test]
fn planted_overloads_are_never_called_by_functions_that_run_as_their_owner() {
    let mut w = world();
    let planter = w.db.role();
    execute(&mut w.admin, &format!("GRANT CREATE ON SCHEMA public TO {planter}"));
    let mut p = w.db.connect_as(&planter);
    for signature in [
        "authz_can(uuid, text, text, uuid)",
        "authz_can(uuid, text, text, uuid, text)",
        "authz_can(uuid, text, text, uuid, json)",
        "authz_can(uuid, text, text)",
        "authz_can(uuid, text, varchar, uuid, jsonb)",
        "authz_route_work(uuid, text, varchar)",
        "record_access(text)",
    ] {
        execute(
            &mut p,
            &format!(
                "CREATE FUNCTION public.{signature} RETURNS boolean LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'planted, as %', current_user; END $$"
            ),
        );
    }
    let mut roger = w.of("roger");
    execute(&mut roger, "SET search_path = pg_temp, public");
    let ask = |resource: &str| {
        format!(
            "SELECT public.authz_route_work('{}', 'case.edit', {resource})",
            id("acme")
        )
    };
    execute(&mut roger, &ask(&format!("'{}'::uuid", id("alert0"))));
    execute(&mut roger, &ask(&format!("'{}'::text", id("alert1"))));
    execute(&mut roger, &ask("4711::bigint"));
    execute(&mut roger, &ask("NULL::text"));
    refused(
        &mut roger,
        &ask("'x'::text").replace("case.edit", "case.edti"),
        "42704",
        &["case.edit"],
    );
    execute(
        &mut roger,
        &release("alert0").replace("authz_release", "public.authz_release"),
    );
}
