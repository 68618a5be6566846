//! Somebody reads another tenant, or finds out what is there (R27, R62, PITFALLS 19).

use crate::{Listener, everything, foreign, keeps};
use authz_tests::casework::ROLES;
use authz_tests::make::id;
use authz_tests::matrix::{Matrix, seen};
use authz_tests::office::with_ids;
use authz_tests::{execute, value};
use uuid::Uuid;

#[test]
fn r62_cross_tenant_read_nothing_that_any_role_may_select_shows_another_tenant() {
    let m = Matrix::new();
    let secrets = foreign(&m);
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    for role in ROLES {
        let statements = everything(&m, role);
        assert!(
            role == "migration" || statements.iter().any(|s| s.contains("casework.")),
            "{role}"
        );
        for who in ["ann", "tad", "ada", "pia", "dora"] {
            let mut c = Listener::new(&m, role, who);
            for sql in &statements {
                keeps(&format!("{role} {who}: {sql}"), &c.hears(sql), &secrets);
            }
        }
    }
    // The check itself can see: the one who may finds every one of the values.
    let mut gil = Listener::new(&m, "runtime", "gil");
    let all: String = everything(&m, "runtime").iter().map(|sql| gil.hears(sql)).collect();
    for secret in ["Harbour affair", &id("other").to_string(), &id("bill").to_string()] {
        assert!(all.contains(secret), "nobody would have seen {secret:?}");
    }
}

#[test]
fn r62_cross_tenant_read_by_every_trick_that_sql_has() {
    let m = Matrix::new();
    let secrets = foreign(&m);
    // Keys may be in the attacker's own statements: knowing one must not help.
    let secrets: Vec<&str> = secrets
        .iter()
        .map(String::as_str)
        .filter(|s| s.parse::<Uuid>().is_err())
        .collect();
    let attacks = [
        // By key, by the other tenant's id, by what the planner might do first.
        "SELECT * FROM casework.case_record WHERE case_id = '{other}'",
        "SELECT * FROM casework.case_record WHERE tenant_id = '{globex}' OR true",
        "SELECT title FROM casework.case_record WHERE case_id IN ('{other}', '{one}') ORDER BY title FOR UPDATE",
        "SELECT title FROM casework.case_record TABLESAMPLE SYSTEM (100)",
        "SELECT title FROM casework.case_record WHERE ctid >= '(0,0)'",
        "SELECT r FROM casework.case_record AS r",
        "SELECT to_jsonb(r) FROM casework.case_record AS r",
        "COPY (SELECT title FROM casework.case_record) TO STDOUT",
        "COPY casework.case_record (title) TO STDOUT",
        "BEGIN; DECLARE x CURSOR WITH HOLD FOR SELECT title FROM casework.case_record; COMMIT; FETCH ALL FROM x",
        "PREPARE x AS SELECT title FROM casework.case_record WHERE case_id = $1; SET plan_cache_mode = force_generic_plan; EXECUTE x('{other}')",
        "WITH RECURSIVE x AS (SELECT title FROM casework.case_record UNION SELECT title FROM casework.case_record) SELECT * FROM x",
        "SELECT d.*, r.title FROM casework.case_document (document_id) AS d",
        "SELECT r.title, d.document_type FROM casework.case_document AS d FULL JOIN casework.case_record AS r USING (case_id)",
        "SELECT title FROM ONLY casework.case_record",
        "TABLE casework.case_record",
        // A function of one's own that is cheaper than any policy, and errors that carry values.
        "CREATE FUNCTION pg_temp.shout(t text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE '%', t; RETURN true; END $$;
         SELECT count(*) FROM casework.case_record WHERE pg_temp.shout(title)",
        "SELECT count(*) FROM casework.case_record WHERE title::int = 1",
        "SELECT count(*) FROM casework.case_record WHERE 1 / (CASE WHEN title LIKE 'Harbour%' THEN 0 ELSE 1 END) = 1 AND tenant_id = '{globex}'",
        "CREATE FUNCTION pg_temp.deep(t text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER COST 0.0000001 AS $$ BEGIN RAISE NOTICE '%', t; RETURN true; END $$;
         SELECT count(*) FROM casework.case_decision AS d JOIN casework.case_record AS r USING (case_id) WHERE pg_temp.deep(r.title)",
        "CREATE OPERATOR pg_temp.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_catalog.texteq);
         SELECT title FROM casework.case_record WHERE title OPERATOR(pg_temp.===) 'Harbour affair'",
        "CREATE TEMP VIEW mine AS SELECT * FROM casework.case_record; SELECT title FROM mine",
        "CREATE TEMP TABLE mine AS SELECT title FROM casework.case_record; TABLE mine",
        // What the executor and the catalogs know.
        "EXPLAIN (ANALYZE, VERBOSE) SELECT title FROM casework.case_record WHERE title = 'x'",
        "SELECT * FROM pg_catalog.pg_stats WHERE schemaname = 'casework'",
        "SELECT * FROM pg_catalog.pg_statistic",
        "SELECT * FROM pg_catalog.pg_stats_ext_exprs",
        "SELECT query FROM pg_catalog.pg_stat_activity",
        // Out of row security, out of the role, out of the session.
        "SET row_security = off; SELECT title FROM casework.case_record",
        "SET ROLE postgres; SELECT title FROM casework.case_record",
        "RESET ROLE; SELECT title FROM casework.case_record",
        "SET SESSION AUTHORIZATION DEFAULT; SELECT title FROM casework.case_record",
        "SET session_replication_role = replica; SELECT title FROM casework.case_record",
        "SELECT set_config('authz.session', '{gil}', false); SELECT title FROM casework.case_record",
        "SET authz.session = '{gil}'; SELECT title FROM casework.case_record",
        "BEGIN; SET LOCAL authz.session TO DEFAULT; SELECT title FROM casework.case_record; COMMIT",
        "SET search_path = pg_temp, casework; CREATE FUNCTION pg_temp.authz_row(text, uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true'; SELECT title FROM case_record",
        "ALTER TABLE casework.case_record DISABLE ROW LEVEL SECURITY; SELECT title FROM casework.case_record",
        "DROP POLICY authz_select ON casework.case_record; SELECT title FROM casework.case_record",
        "CREATE POLICY mine ON casework.case_record USING (true); SELECT title FROM casework.case_record",
        "CREATE PUBLICATION mine FOR TABLE casework.case_record",
        "LOCK casework.case_record; SELECT title FROM casework.case_record",
        // Writing in order to read.
        "UPDATE casework.case_record SET title = title WHERE case_id = '{other}' RETURNING title",
        "UPDATE casework.case_record SET title = 'x' FROM casework.case_record AS o WHERE o.case_id = '{other}' RETURNING o.title",
        "DELETE FROM casework.case_record WHERE case_id = '{other}' RETURNING title",
        "MERGE INTO casework.case_record AS r USING (VALUES ('{other}'::uuid)) AS v (i) ON r.case_id = v.i WHEN MATCHED THEN UPDATE SET title = 'x'",
        "INSERT INTO casework.case_record (tenant_id, case_number) VALUES ('{globex}', 'other') RETURNING title",
        "INSERT INTO casework.case_record (tenant_id, case_number) VALUES ('{globex}', 'other') ON CONFLICT (tenant_id, case_number) DO UPDATE SET title = case_record.title RETURNING title",
        "INSERT INTO casework.case_decision (tenant_id, case_id, outcome) VALUES ('{acme}', '{other}', 'x') RETURNING *",
        "INSERT INTO casework.case_sensitive_detail (tenant_id, case_id, complainant_name) VALUES ('{globex}', '{other}', 'x')",
        // The functions.
        "SELECT download_case_document('{globex}', '{bill}')",
        "SELECT download_case_document('{acme}', '{bill}')",
        "SELECT authz_require('case.view', '{other}'::uuid)",
        "SELECT seal_case('{globex}', '{other}', authz_principal(), 'why')",
        "SELECT transfer_case_ownership('{globex}', '{other}', 'principal', '{ann}', authz_principal(), 'why')",
        "SELECT assign_case('{globex}', '{other}', '{ann}', authz_principal(), 'why', 'investigator')",
        "SELECT approve_case_decision('{globex}', '{other}', authz_principal(), 'why')",
        "SELECT authz_explain('{gil}', 'case.view', '{other}'::uuid)",
        "SELECT * FROM authz_principals('case.view', '{other}'::uuid)",
        "SELECT authz_request_access('let me', '{globex}')",
        "SELECT casework.demand('case.view', '{gil}', '{globex}', 'case', '{other}', '{other}')",
    ];
    for (role, who) in [
        ("runtime", "ann"),
        ("runtime", "tad"),
        ("readonly", "tad"),
        ("worker", "ann"),
        ("break_glass", "tad"),
    ] {
        let mut c = Listener::new(&m, role, who);
        for attack in attacks {
            keeps(
                &format!("{role} {who}: {attack}"),
                &c.hears(&with_ids(attack)),
                &secrets,
            );
            execute(
                &mut c.client,
                "DISCARD TEMP; DEALLOCATE ALL; CLOSE ALL; RESET row_security; RESET search_path",
            );
        }
        // Still the same session: nothing has loosened it.
        assert_eq!(value::<Uuid>(&mut c.client, "SELECT authz_principal()", &[]), id(who));
        assert_eq!(seen(&mut c.client, "case_record", "other"), 0);
    }
    let mut owner = m.owner();
    let title: String = value(
        &mut owner,
        "SELECT title FROM casework.case_record WHERE case_id = $1",
        &[&id("other")],
    );
    assert_eq!(title, "Harbour affair", "nor was anything changed");
}

/// Whether something exists in another tenant does not show either: in words, or in SQLSTATE (R27, PITFALLS 19).
#[test]
fn r62_cross_tenant_what_is_there_and_what_is_not_look_alike() {
    let m = Matrix::new();
    let none = Uuid::from_u128(77).to_string();
    for who in ["ann", "tad", "dora"] {
        let mut c = Listener::new(&m, "runtime", who);
        for attack in [
            "SELECT authz_require('case.view', '{other}'::uuid)",
            "SELECT download_case_document('{globex}', '{bill}')",
            "SELECT seal_case('{globex}', '{other}', authz_principal(), 'why')",
            "SELECT delete_case('{globex}', '{other}', authz_principal(), 'why')",
            "SELECT count(*) FROM casework.case_record WHERE case_id = '{other}'",
            "UPDATE casework.case_record SET title = 'x' WHERE case_id = '{other}'",
            "INSERT INTO casework.case_decision (tenant_id, case_id) VALUES ('{globex}', '{other}')",
            "INSERT INTO casework.case_decision (tenant_id, case_id) VALUES ('{acme}', '{other}')",
            "INSERT INTO casework.case_document (tenant_id, case_id) VALUES ('{globex}', '{other}')",
            "INSERT INTO casework.case_record (tenant_id, case_number) VALUES ('{globex}', 'other')",
            "SELECT authz_can('case.view', '{other}'::uuid)",
        ] {
            let there = with_ids(attack);
            let absent = there
                .replace(&id("other").to_string(), &none)
                .replace(&id("bill").to_string(), &none)
                .replace(&id("globex").to_string(), &none)
                .replace("'other'", "'another'");
            let words = |heard: String| {
                [("other", "K"), ("bill", "K"), ("globex", "K")]
                    .iter()
                    .fold(heard, |text, (name, k)| text.replace(&id(name).to_string(), k))
                    .replace(&none, "K")
            };
            assert_eq!(words(c.hears(&there)), words(c.hears(&absent)), "{who}: {attack}");
        }
    }
}
