//! What answers about the past cost where there are many changes, grants or candidates (R55).

use crate::{can_at, mark};
use authz_tests::make::{self, id};
use authz_tests::{Db, execute, value};
use postgres::Client;
use std::time::Instant;

/// The candidates are looked for, not everybody: with many principals around, a case that few may see costs little.
#[test]
fn the_cost_of_a_list_of_principals_follows_the_candidates() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::case(&mut c, acme, "affair");
    make::role(&mut c, "viewer", &["case.view"]);
    make::member(&mut c, acme, "alice");
    make::assign(&mut c, acme, id("alice"), "viewer", "case", id("affair"));
    execute(
        &mut c,
        &format!(
            "INSERT INTO authz.principal (principal_id, external_id) SELECT gen_random_uuid(), 'x' || n FROM generate_series(1, 20000) AS n;
             INSERT INTO authz.tenant_membership (tenant_id, principal_id)
             SELECT '{acme}', principal_id FROM authz.principal WHERE external_id LIKE 'x%';
             ANALYZE"
        ),
    );
    let ask = "SELECT count(*) FROM authz_principals('case.view', $1::uuid)";
    assert_eq!(value::<i64>(&mut c, ask, &[&id("affair")]), 1);
    let loads = |c: &mut Client| -> i64 { value(c, "SELECT loads FROM authz_stats()", &[]) };
    let before = loads(&mut c);
    assert_eq!(value::<i64>(&mut c, ask, &[&id("affair")]), 1);
    assert!(loads(&mut c) - before <= 1, "20,000 others were loaded to find one");
}

#[test]
fn a_check_as_of_an_instant_over_sixty_thousand_changes_takes_at_most_five_milliseconds() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::case(&mut c, acme, "affair");
    make::role(&mut c, "viewer", &[]);
    execute(
        &mut c,
        &format!(
            "INSERT INTO authz.role_permission (role_code, permission_code, valid_from)
             VALUES ('viewer', 'case.view', now() - interval '100 days');
             INSERT INTO authz.principal (principal_id, external_id, status_since)
             SELECT md5('p' || n)::uuid, 'p' || n, now() - interval '100 days' FROM generate_series(1, 600) AS n;
             INSERT INTO authz.tenant_membership (tenant_id, principal_id, joined_at)
             SELECT '{acme}', principal_id, now() - interval '100 days' FROM authz.principal;
             INSERT INTO authz.principal_role_assignment
                 (tenant_id, principal_id, role_code, scope_type, scope_id, granted_at, revoked_at)
             SELECT '{acme}', md5('p' || n)::uuid, 'viewer', 'tenant', '{acme}', now() - k * interval '1 day',
                    now() - k * interval '1 day' + interval '12 hours'
               FROM generate_series(1, 600) AS n, generate_series(1, 50) AS k;
             INSERT INTO authz.resource_access_grant
                 (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code, granted_at, revoked_at)
             SELECT '{acme}', 'case', '{case}', 'principal', md5('p' || n)::uuid::text, 'case.edit', now() - k * interval '1 day',
                    now() - k * interval '1 day' + interval '6 hours'
               FROM generate_series(1, 600) AS n, generate_series(1, 50) AS k;
             ANALYZE",
            case = id("affair")
        ),
    );
    let check = c
        .prepare("SELECT authz_can_at(md5('p' || $1::int)::uuid, 'case.view', $2::uuid, now() - $3::int * interval '1 day' + interval '1 hour' * $4::int)")
        .unwrap();
    let (mut times, mut allowed) = (Vec::new(), 0);
    for n in 1..=300_i32 {
        let (day, hour) = (n % 50 + 1, if n % 3 == 0 { 18 } else { 6 });
        let begin = Instant::now();
        let answer: bool = c.query_one(&check, &[&n, &id("affair"), &day, &hour]).unwrap().get(0);
        times.push(begin.elapsed());
        assert_eq!(answer, hour == 6, "principal {n}, day {day}");
        allowed += i32::from(answer);
    }
    assert_eq!(allowed, 200);
    times.sort();
    let (median, most) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("as-of check over 60,000 changes: median {median:?}, 99 % within {most:?}");
    assert!(median.as_millis() < 5, "median {median:?}");
}

/// Beyond the limit up to which grants are held in memory they are probed for, in the past as well.
#[test]
fn many_grants_of_one_grantee_are_answered_about_the_past() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::case(&mut c, acme, "affair");
    make::case(&mut c, acme, "other");
    make::member(&mut c, acme, "alice");
    execute(
        &mut c,
        &format!(
            "INSERT INTO authz.resource_access_grant
                 (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
             SELECT '{acme}'::uuid, 'case', gen_random_uuid()::text, 'principal', '{alice}', 'case.view' FROM generate_series(1, 10100)
             UNION ALL SELECT '{acme}', 'case', '{case}', 'principal', '{alice}', 'case.view'",
            alice = id("alice"),
            case = id("affair")
        ),
    );
    let held = mark(&mut c);
    execute(
        &mut c,
        "UPDATE authz.resource_access_grant SET revoked_at = clock_timestamp()",
    );
    let revoked = mark(&mut c);
    for (at, allowed) in [(&held, true), (&revoked, false)] {
        assert_eq!(can_at(&mut c, "alice", "case.view", "affair", at), allowed, "at {at}");
        assert!(!can_at(&mut c, "alice", "case.view", "other", at), "at {at}");
        let listed: i64 = value(
            &mut c,
            "SELECT count(*) FROM authz_resources($1, 'case.view', at => $2::text::timestamptz)",
            &[&id("alice"), at],
        );
        assert_eq!(listed, i64::from(allowed));
    }
}
