//! Who could and what could be seen at an instant, compared with brute force over random policies (R55).

use crate::{now, text};
use authz_tests::policy::{PERMISSIONS, Policy};
use authz_tests::{Db, Start, chance, execute, refused, report, value};
use chrono::TimeDelta;
use postgres::Client;
use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn lists_of_principals_are_for_those_who_are_granted_them() {
    let db = Db::new();
    let caller = db.caller();
    let mut c = db.connect_as(&caller);
    refused(
        &mut c,
        "SELECT * FROM authz_principals('case.view', gen_random_uuid())",
        "42501",
        &["authz_principals"],
    );
    let allowed: bool = value(
        &mut c,
        "SELECT authz_can_at(gen_random_uuid(), 'case.view', gen_random_uuid(), now())",
        &[],
    );
    assert!(!allowed, "the check itself is everybody's, as authz_can is");
}

/// Everything that the three listings say of a database, beside brute force over `authz_can_at`.
fn compare(c: &mut Client, at: Option<&str>, label: &str) -> u64 {
    let instant = at.map_or("NULL".to_owned(), |at| format!("'{at}'"));
    let check = at.map_or(
        "authz_can(p.principal_id, q.permission, q.key, q.tenant)".to_owned(),
        |at| format!("authz_can_at(p.principal_id, q.permission, q.key, '{at}', q.tenant)"),
    );
    let kinds: Vec<String> = PERMISSIONS
        .iter()
        .flat_map(|(kind, actions)| {
            actions
                .iter()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .map(move |action| format!("('{kind}', '{kind}.{action}')"))
        })
        .collect();
    let questions = format!(
        "WITH key (kind, tenant, key) AS MATERIALIZED (
             SELECT 'tenant', tenant_id, tenant_id FROM authz.tenant
             UNION ALL SELECT 'organization', tenant_id, organization_id FROM authz.organization
             UNION ALL SELECT 'team', tenant_id, team_id FROM authz.team
             UNION ALL SELECT 'project', tenant_id, project_id FROM authz.project
             UNION ALL SELECT 'case', tenant_id, case_id FROM public.case_record WHERE tenant_id IS NOT NULL
             UNION ALL SELECT 'document', tenant_id, document_id FROM public.case_document
             UNION ALL SELECT 'page', tenant_id, page_id FROM public.document_page),
         q AS MATERIALIZED (
             SELECT k.tenant, k.key, v.permission FROM key AS k JOIN (VALUES {}) AS v (kind, permission) USING (kind)),
         brute AS MATERIALIZED (
             SELECT p.principal_id AS principal, q.permission, q.tenant, q.key
               FROM q CROSS JOIN authz.principal AS p WHERE {check})",
        kinds.join(", ")
    );
    let fail = |e: postgres::Error| -> ! { panic!("{label}: {}", report(&e)) };
    let row = c
        .query_one(
            &format!(
                "{questions},
                 listed AS MATERIALIZED (
                     SELECT l.principal, q.permission, q.tenant, q.key
                       FROM q, authz_principals(q.permission, q.key, q.tenant, {instant}) AS l),
                 resources AS MATERIALIZED (
                     SELECT p.principal_id AS principal, v.permission, l.tenant, l.resource::uuid AS key
                       FROM authz.principal AS p CROSS JOIN (SELECT DISTINCT permission FROM q) AS v,
                            authz_resources(p.principal_id, v.permission, at => {instant}) AS l
                      WHERE l.tenant IS NOT NULL)
                 SELECT (SELECT count(*) FROM brute),
                        (SELECT jsonb_agg(x) FROM (SELECT * FROM brute EXCEPT SELECT * FROM listed LIMIT 3) AS x),
                        (SELECT jsonb_agg(x) FROM (SELECT * FROM listed EXCEPT SELECT * FROM brute LIMIT 3) AS x),
                        (SELECT jsonb_agg(x) FROM (SELECT * FROM brute EXCEPT SELECT * FROM resources LIMIT 3) AS x),
                        (SELECT jsonb_agg(x) FROM (SELECT * FROM resources EXCEPT SELECT * FROM brute LIMIT 3) AS x)"
            ),
            &[],
        )
        .unwrap_or_else(|e| fail(e));
    for (column, what) in [
        (1, "authz_principals misses"),
        (2, "authz_principals invents"),
        (3, "authz_resources misses"),
        (4, "authz_resources invents"),
    ] {
        let difference: Option<Value> = row.get(column);
        assert_eq!(difference, None, "{label}: {what}");
    }
    row.get::<_, i64>(0) as u64
}

#[test]
fn listings_equal_brute_force_over_random_policies_now_and_then() {
    chance::until(3, 300, |seed| {
        let mut allowed = 0;
        let db = Db::with(Start::Fixture);
        let mut c = db.connect();
        let home = now(&mut c);
        let mut policy = Policy::new(seed, home);
        policy.load(&mut c);
        let label = format!("AUTHZ_SEED={seed}");
        allowed += compare(&mut c, None, &label);
        for days in [2, 110, -20] {
            let at = text(home - TimeDelta::days(days));
            allowed += compare(&mut c, Some(&at), &format!("{label} at {at}"));
        }
        for _ in 0..12 {
            policy.mutate(&mut c);
        }
        allowed += compare(&mut c, None, &format!("{label}, changed"));
        allowed
    });
}

/// What has been answered about the past stays answered, whatever happens to authority afterwards. Left out of the
/// changes is what has no history by design, and stands in the explanation: structure, definitions, clearance.
#[test]
fn answers_about_the_past_do_not_change_with_the_present() {
    chance::until(4, 50, |seed| {
        let db = Db::with(Start::Fixture);
        let mut c = db.connect();
        let home = now(&mut c);
        let mut policy = Policy::new(seed, home);
        policy.load(&mut c);
        execute(
            &mut c,
            "CREATE TABLE public.answer AS
                 SELECT p.principal_id, v.permission, k.tenant_id, k.case_id, t.at,
                        authz_can_at(p.principal_id, v.permission, k.case_id, t.at, k.tenant_id) AS allowed
                   FROM authz.principal AS p, public.case_record AS k,
                        (VALUES ('case.view'), ('case.edit'), ('case.approve')) AS v (permission),
                        (VALUES (clock_timestamp()), (now() - interval '2 days'), (now() - interval '40 days')) AS t (at)
                  WHERE k.tenant_id IS NOT NULL",
        );
        execute(&mut c, "SELECT pg_sleep(0.01)");
        let mut changes = 0;
        while changes < 40 {
            let mut transaction = c.transaction().unwrap();
            let change = policy.mutate(&mut transaction);
            let structural = [
                "authz.team ",
                "case_record",
                "operator_profile",
                "permission_definition",
                "resource_type",
            ]
            .iter()
            .any(|table| change.contains(table) && !change.starts_with("INSERT"));
            // What begins in the past on purpose rewrites it.
            let backdated = change.starts_with("INSERT INTO authz.") && change.contains("{");
            if structural || backdated {
                transaction.rollback().unwrap();
            } else {
                transaction.commit().unwrap();
                changes += 1;
            }
        }
        execute(
            &mut c,
            "UPDATE authz.principal SET locked_until = now() + interval '1 day';
             UPDATE authz.principal_role_assignment SET revoked_at = clock_timestamp()
              WHERE revoked_at IS NULL AND granted_at <= now();
             INSERT INTO authz.resource_access_rule (tenant_id, resource_type, effect, grantee_type, priority)
             SELECT tenant_id, 'tenant', 'deny', 'any', 100 FROM authz.tenant;
             UPDATE authz.principal SET status = 'disabled';
             UPDATE authz.tenant SET status = 'suspended'",
        );
        let (asked, allowed, changed): (i64, i64, i64) = {
            let row = c
                .query_one(
                    "SELECT count(*), count(*) FILTER (WHERE allowed),
                            count(*) FILTER (WHERE allowed IS DISTINCT FROM
                                authz_can_at(principal_id, permission, case_id, at, tenant_id)) FROM public.answer",
                    &[],
                )
                .unwrap();
            (row.get(0), row.get(1), row.get(2))
        };
        assert_eq!(
            changed, 0,
            "AUTHZ_SEED={seed}: of {asked} answers, {allowed} of them allowed"
        );
        allowed as u64
    });
}
