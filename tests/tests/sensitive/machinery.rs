//! Names of the reader's own, rights that are lent, kept plans, workers and indexes change nothing (R42, PITFALLS 13,
//! 14, 16, 30).

use crate::{ben, no_secret};
use authz_tests::make::id;
use authz_tests::people::{People, shown};
use authz_tests::session::act_as;
use authz_tests::{execute, value};
use postgres::Client;

/// Who calls a function of the reader does not lend it the rights of a table's owner (PITFALLS 13).
#[test]
fn r40_a_function_that_an_owner_calls_classifies_nothing() {
    let people = People::masked();
    let mut admin = people.admin();
    execute(
        &mut admin,
        &format!("GRANT EXECUTE ON FUNCTION authz_classify, authz_mask TO {}", people.app),
    );
    let mut c = ben(&people);
    execute(
        &mut c,
        "CREATE FUNCTION lab.helpful() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
         BEGIN PERFORM public.authz_classify('public.person', 'ssn', 'public', 'x'); RETURN 'classified';
         EXCEPTION WHEN insufficient_privilege THEN RETURN 'refused'; END $$;
         CREATE FUNCTION lab.helper() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
         BEGIN PERFORM authz.classify('public.person', 'ssn', 'public', 'x', NULL); RETURN 'classified';
         EXCEPTION WHEN insufficient_privilege THEN RETURN 'refused'; END $$;
         GRANT USAGE ON SCHEMA lab TO PUBLIC",
    );
    execute(&mut admin, &format!("GRANT USAGE ON SCHEMA authz TO {}", people.app));
    for mut who in [people.admin(), people.table_owner()] {
        for function in ["helpful", "helper"] {
            let answer: String = value(&mut who, &format!("SELECT lab.{function}()"), &[]);
            assert_eq!(answer, "refused", "{function}");
        }
    }
    let class: String = value(&mut admin, "SELECT authz.class_of('public.person', 'ssn')", &[]);
    assert_eq!(class, "pii");
}

/// PITFALLS 16: nothing of the reader's stands before what the view calls.
#[test]
fn names_of_the_readers_own_change_nothing() {
    let people = People::masked();
    let before = people.shown("ben");
    let mut c = ben(&people);
    execute(
        &mut c,
        "CREATE FUNCTION pg_temp.row_exact(text, bigint, uuid, uuid, uuid, uuid, uuid, text, boolean, text, boolean, boolean) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE FUNCTION lab.date_trunc(text, timestamp) RETURNS timestamp LANGUAGE sql AS 'SELECT $2';
         CREATE FUNCTION lab.\"left\"(text, integer) RETURNS text LANGUAGE sql AS 'SELECT $1';
         CREATE FUNCTION lab.still(bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE FUNCTION lab.times(bigint, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT $1';
         CREATE OPERATOR lab.* (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = lab.times);
         CREATE TEMP TABLE person AS SELECT 1 AS id; SET search_path = pg_temp, lab, pg_catalog, public; SET TimeZone = 'XXX+23'",
    );
    assert_eq!(
        shown(&mut c, "concat_ws('|', ssn, email, born, pay, rate, card)"),
        shown(
            &mut people.of("ben"),
            "concat_ws('|', ssn, email, born, pay, rate, card)"
        )
    );
    assert_eq!(before.len(), 3);
    // A time zone of one's own shifts no month.
    let month: String = value(
        &mut c,
        "SELECT (seen AT TIME ZONE 'UTC')::text FROM public.person_safe WHERE id = 1",
        &[],
    );
    assert_eq!(month, "2020-03-01 00:00:00");
}

/// PITFALLS 14 and 30: what was asked once for a query is asked again for another session.
#[test]
fn plans_and_cursors_of_one_session_do_not_serve_another() {
    let people = People::masked();
    let mut c = people.of("ida");
    execute(
        &mut c,
        "SET plan_cache_mode = force_generic_plan; PREPARE q AS SELECT ssn::text FROM person_safe WHERE id = 1",
    );
    let first = |c: &mut Client| -> String { value(c, "EXECUTE q", &[]) };
    assert_eq!(first(&mut c), "222-22-0001");
    act_as(&mut c, "ben");
    assert_ne!(first(&mut c), "222-22-0001");
    act_as(&mut c, "ida");
    assert_eq!(first(&mut c), "222-22-0001");
    // A cursor of Ida's goes on in another statement as hers, and for Ben as Ben's.
    execute(&mut c, "BEGIN; DECLARE d CURSOR FOR SELECT ssn::text FROM person_safe");
    for n in 1..=2 {
        let ssn: String = value(&mut c, "FETCH 1 FROM d", &[]);
        assert_eq!(ssn, format!("222-22-000{n}"));
    }
    act_as(&mut c, "ben");
    let rest: Vec<String> = c
        .query("FETCH ALL FROM d", &[])
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    no_secret(&rest.join("|"));
    execute(&mut c, "ROLLBACK");
    // A support session that begins in between masks what comes after it.
    act_as(&mut c, "ida");
    execute(&mut c, "BEGIN; DECLARE e CURSOR FOR SELECT ssn::text FROM person_safe");
    let ssn: String = value(&mut c, "FETCH 1 FROM e", &[]);
    assert!(ssn.starts_with("222"));
    execute(
        &mut people.admin(),
        &format!(
            "INSERT INTO authz.privileged_access_session (session_kind, principal_id, tenant_id, access_reason, approved_by, approved_at, started_at, expires_at)
             VALUES ('support', '{}', '{}', 'ticket', '{}', now(), now(), now() + interval '1 hour')",
            id("ida"),
            id("acme"),
            id("hana")
        ),
    );
    let rest: Vec<String> = c
        .query("FETCH ALL FROM e", &[])
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    no_secret(&rest.join("|"));
}

#[test]
fn parallel_workers_mask_alike() {
    let people = People::masked();
    let mut admin = people.admin();
    execute(
        &mut admin,
        &format!(
            "INSERT INTO person SELECT '{}', 100 + i, CASE WHEN i % 2 = 0 THEN '{}' ELSE '{}' END::uuid, 'n', 'ssn ' || i, 'a@b', '2000-01-01',
                    now(), i, 1, 'card', NULL, 'note' FROM generate_series(1, 20000) AS i; ANALYZE person",
            id("acme"),
            id("north"),
            id("south")
        ),
    );
    let query = "SELECT md5(string_agg(ssn || born || pay || card || email, '|' ORDER BY id)), count(*) FILTER (WHERE ssn LIKE 'ssn%') FROM person_safe";
    for who in ["ida", "hana", "ben"] {
        let mut c = people.of(who);
        execute(&mut c, "SET max_parallel_workers_per_gather = 0");
        let row = c.query_one(query, &[]).unwrap();
        let alone: (String, i64) = (row.get(0), row.get(1));
        execute(
            &mut c,
            "SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
             SET enable_indexscan = off; SET enable_bitmapscan = off",
        );
        let plan: Vec<String> = c
            .query(&format!("EXPLAIN {query}"), &[])
            .unwrap()
            .iter()
            .map(|r| r.get(0))
            .collect();
        assert!(plan.iter().any(|line| line.contains("Parallel Seq Scan")), "{plan:#?}");
        let row = c.query_one(query, &[]).unwrap();
        assert_eq!(alone, (row.get(0), row.get(1)), "{who}");
        let expected = match who {
            "ida" => 20000,
            "hana" => 10000,
            _ => 0,
        };
        assert_eq!(alone.1, expected, "{who}");
    }
}

/// Conditions on columns that are not masked are searched by index, below the barrier.
#[test]
fn plain_columns_are_searched_by_index() {
    let people = People::masked();
    let mut c = people.of("ida");
    execute(&mut c, "SET enable_seqscan = off");
    let mut plan = |condition: &str| -> String {
        c.query(
            &format!("EXPLAIN (COSTS OFF) SELECT * FROM person_safe WHERE {condition}"),
            &[],
        )
        .unwrap()
        .iter()
        .map(|r| r.get::<_, String>(0) + "\n")
        .collect()
    };
    assert!(plan("id = 3").contains("Index Cond: (id = 3)"));
    assert!(plan("name = 'name 3'").contains("Index Cond: (name = 'name 3'::text)"));
    assert!(
        !plan("ssn = '222-22-0003'").contains("person_ssn"),
        "by the index of a masked column one could tell"
    );
}
