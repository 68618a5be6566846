//! What the functions do: authority comes and goes, and is never deleted (R10, R15, R16, R18, R51).

use crate::authority::CALLS;
use authz_tests::make::{self, can, id};
use authz_tests::office::{Office, done, made, refused_and_recorded, with_ids};
use authz_tests::{execute, recorded, refused, report, value};
use postgres::Client;

/// Each function does what it says, once; what is closed is closed, not deleted.
#[test]
fn authority_comes_and_goes() {
    let office = Office::open();
    let mut owner = office.owner();
    let mut tina = office.as_("tina");
    let may = |c: &mut Client, permission: &str| can(c, id("alice"), permission, id("affair"));

    let assignment = made(
        &mut tina,
        "authz_assign_role('{alice}', 'viewer', '{acme}', 'case', '{affair}', now() + interval '1 hour', 'helps out')",
    );
    assert!(may(&mut owner, "case.view"));
    let row = owner
        .query_one(
            "SELECT granted_by, reason, expires_at IS NOT NULL FROM authz.principal_role_assignment WHERE assignment_id = $1",
            &[&assignment],
        )
        .unwrap();
    assert_eq!(
        (
            row.get::<_, uuid::Uuid>(0),
            row.get::<_, &str>(1),
            row.get::<_, bool>(2)
        ),
        (id("tina"), "helps out", true)
    );
    refused(
        &mut tina,
        &with_ids("SELECT authz_assign_role('{alice}', 'viewer', '{acme}', 'case', '{affair}')"),
        "23505",
        &[],
    );
    execute(
        &mut tina,
        &format!("SELECT authz_revoke_role('{assignment}'::uuid, 'done')"),
    );
    assert!(!may(&mut owner, "case.view"));
    refused_and_recorded(
        &mut tina,
        &format!("authz_revoke_role('{assignment}'::uuid)"),
        "55000",
        &["ended"],
    );
    made(&mut tina, "authz_assign_role('{alice}', 'editor', '{acme}')");
    assert!(may(&mut owner, "case.edit"));
    done(
        &mut tina,
        "authz_revoke_role('{alice}', 'editor', '{acme}', reason => 'done')",
    );
    assert!(!may(&mut owner, "case.edit"));

    let grant = made(
        &mut tina,
        "authz_share('case', '{affair}', 'case.comment', 'principal', '{alice}', '{acme}', reason => 'asked for')",
    );
    assert!(may(&mut owner, "case.comment") && may(&mut owner, "case.view"));
    let rule = made(
        &mut tina,
        "authz_deny('case', '{affair}', 'case.view', 'any', NULL, '{acme}', reason => 'legal hold')",
    );
    assert!(!may(&mut owner, "case.view") && !can(&mut owner, id("tina"), "case.view", id("affair")));
    // Legal hold denies tina case.view and nothing else; a rule for everybody is nobody's own.
    done(&mut tina, &format!("authz_remove_rule('{rule}', 'over')"));
    assert!(may(&mut owner, "case.view"));
    done(&mut tina, &format!("authz_unshare('{grant}', 'no more')"));
    assert!(!may(&mut owner, "case.view"));
    refused_and_recorded(&mut tina, &format!("authz_unshare('{grant}')"), "55000", &["ended"]);
    refused_and_recorded(&mut tina, &format!("authz_remove_rule('{rule}')"), "55000", &["ended"]);

    made(&mut tina, "authz_join_team('{alice}', '{north}', '{acme}', 'viewer')");
    made(
        &mut tina,
        "authz_share('case', '{affair}', 'case.view', 'team', '{north}', '{acme}')",
    );
    assert!(may(&mut owner, "case.view"));
    done(&mut tina, "authz_leave_team('{alice}', '{north}', '{acme}')");
    assert!(!may(&mut owner, "case.view"));
    made(&mut tina, "authz_join_team('{alice}', '{north}', '{acme}')");
    assert!(may(&mut owner, "case.view"));

    done(&mut tina, "authz_suspend_member('{alice}', '{acme}', 'leave')");
    assert!(!may(&mut owner, "case.view"));
    refused_and_recorded(
        &mut tina,
        "authz_suspend_member('{alice}', '{acme}', 'leave')",
        "55000",
        &["suspended"],
    );
    done(&mut tina, "authz_resume_member('{alice}', '{acme}')");
    assert!(may(&mut owner, "case.view"));
    made(&mut tina, "authz_assign_role('{alice}', 'editor', '{acme}')");
    made(
        &mut tina,
        "authz_share('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}')",
    );
    done(&mut tina, "authz_revoke_member('{alice}', '{acme}', 'left')");
    assert!(!may(&mut owner, "case.view"));
    // Taken in again, with nothing of what there was.
    made(
        &mut tina,
        "authz_add_member('{alice}', '{acme}', 'external', now() + interval '1 day')",
    );
    assert!(!may(&mut owner, "case.view") && !may(&mut owner, "case.edit"));

    let mut root = office.as_("root");
    done(
        &mut root,
        "authz_set_principal_status('{tina}', 'locked', 'odd log-in', now() + interval '1 hour')",
    );
    refused_and_recorded(&mut tina, "authz_add_member('{nobody}', '{acme}')", "42501", &[]);
    done(
        &mut root,
        "authz_set_principal_status('{tina}', 'active', 'it was her')",
    );
    made(&mut tina, "authz_add_member('{nobody}', '{acme}')");
    let deleted: i64 = value(
        &mut owner,
        "SELECT count(*) FROM authz.access_change_event WHERE change_type IN ('delete', 'truncate')",
        &[],
    );
    assert_eq!(deleted, 0, "closed, not deleted");
}

/// Whoever takes members in, and may assign nothing, cannot bring back to life what an expired membership has left open.
#[test]
fn a_new_membership_revives_nothing_of_an_expired_one() {
    let office = Office::open();
    let mut owner = office.owner();
    make::role(&mut owner, "doorkeeper", &["member.manage"]);
    make::assign(&mut owner, id("acme"), id("bob"), "doorkeeper", "tenant", id("acme"));
    make::principal(&mut owner, "carol");
    make::principal(&mut owner, "dora");
    execute(
        &mut owner,
        &with_ids(
            "INSERT INTO authz.tenant_membership (tenant_id, principal_id, joined_at, expires_at)
             VALUES ('{acme}', '{carol}', now() - interval '2 days', now() - interval '1 day');
             INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id, granted_at)
             VALUES ('{acme}', '{carol}', 'chief', 'tenant', '{acme}', now() - interval '2 days');
             INSERT INTO authz.team_membership_history (tenant_id, team_id, principal_id, valid_from)
             VALUES ('{acme}', '{north}', '{carol}', now() - interval '2 days');
             INSERT INTO authz.resource_access_grant
                 (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code, granted_at)
             VALUES ('{acme}', 'case', '{affair}', 'principal', '{carol}', 'case.approve', now() - interval '2 days'),
                    ('{acme}', 'case', '{affair}', 'team', '{north}', 'case.approve', now());
             INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
             VALUES ('{acme}', '{carol}', 'viewer', 'tenant', '{acme}'), ('{acme}', '{dora}', 'viewer', 'tenant', '{acme}')",
        ),
    );
    let mut bob = office.as_("bob");
    made(&mut bob, "authz_add_member('{carol}', '{acme}')");
    made(&mut bob, "authz_add_member('{dora}', '{acme}')");
    for permission in ["case.approve", "case.edit"] {
        assert!(!can(&mut owner, id("carol"), permission, id("affair")), "{permission}");
    }
    // What was given since, or before the first membership, is somebody's decision and stays.
    for who in ["carol", "dora"] {
        assert!(can(&mut owner, id(who), "case.view", id("affair")), "{who}");
    }
}

/// The bulk form does what it can, and says of each other row why not.
#[test]
fn many_at_once_report_each_refused_row() {
    let office = Office::open();
    let mut tina = office.as_("tina");
    let rows = with_ids(
        r#"[{"principal": "{alice}", "role": "viewer", "tenant": "{acme}", "reason": "bulk"},
            {"principal": "{gus}", "role": "viewer", "tenant": "{acme}"},
            {"principal": "{bob}", "role": "approver", "tenant": "{acme}"},
            {"principal": "{tina}", "role": "viewer", "tenant": "{acme}"},
            {"principal": "{alice}", "role": "viewer", "tenant": "{acme}"},
            {"principal": "{bob}", "role": "viewer", "tenant": "{acme}", "expires": "2001-01-01"},
            {"principal": "{bob}", "role": "viewer", "tenant": "{acme}", "expire": "2101-01-01"},
            {"principal": "bob", "role": "viewer", "tenant": "{acme}"},
            {"principal": "{bob}", "role": "viewer", "tenant": "{acme}", "expires": "soon"},
            17, null, [], {},
            {"principal": "{bob}", "role": "viewer", "tenant": "{acme}", "scope_type": "team", "scope_id": "{north}"}]"#,
    );
    let before = recorded(&mut tina);
    let found = tina
        .query(
            "SELECT row_number, id, sqlstate, message FROM authz_assign_role_many($1::text::jsonb)",
            &[&rows],
        )
        .unwrap_or_else(|e| panic!("{}", report(&e)));
    let states: Vec<Option<&str>> = found.iter().map(|r| r.get(2)).collect();
    let expected = [
        None,
        Some("42501"),
        Some("42501"),
        Some("42501"),
        Some("23505"),
        Some("22023"),
        Some("22023"),
        Some("22P02"),
        Some("22007"),
        Some("22023"),
        Some("22023"),
        Some("22023"),
        Some("22023"),
        None,
    ];
    assert_eq!(states, expected);
    for (n, row) in found.iter().enumerate() {
        assert_eq!(row.get::<_, i64>(0), n as i64 + 1);
        assert_eq!(
            row.get::<_, Option<&str>>(1).is_some(),
            expected[n].is_none(),
            "row {n}"
        );
        assert_eq!(
            row.get::<_, Option<&str>>(3).is_some(),
            expected[n].is_some(),
            "row {n}"
        );
    }
    assert!(recorded(&mut tina) - before >= 5, "refused rows are recorded");
    let assigned: i64 = value(
        &mut office.owner(),
        "SELECT count(*) FROM authz.principal_role_assignment WHERE granted_by = $1",
        &[&id("tina")],
    );
    assert_eq!(assigned, 2);
    for bad in ["NULL", "'{}'", "'7'", "'null'"] {
        refused(
            &mut tina,
            &format!("SELECT * FROM authz_assign_role_many({bad}::jsonb)"),
            "22023",
            &["array"],
        );
    }
    // Both forms of a function with two.
    let assignment: uuid::Uuid = value(
        &mut office.owner(),
        "SELECT assignment_id FROM authz.principal_role_assignment WHERE granted_by = $1 AND scope_type = 'team'",
        &[&id("tina")],
    );
    let rows = with_ids(&format!(
        r#"[{{"assignment": "{assignment}", "reason": "r"}}, {{"principal": "{{alice}}", "role": "viewer", "tenant": "{{acme}}"}}]"#
    ));
    let refused_rows: i64 = value(
        &mut tina,
        "SELECT count(sqlstate) FROM authz_revoke_role_many($1::text::jsonb)",
        &[&rows],
    );
    assert_eq!(refused_rows, 0);
    // Every function has its bulk form, and a stranger gets nothing from any.
    let forms: Vec<String> = office
        .owner()
        .query(
            "SELECT DISTINCT proname::text FROM pg_proc WHERE proname ~ '^authz_.*_many$' AND proname <> 'authz_can_many'",
            &[],
        )
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    assert_eq!(forms.len(), 21);
    for call in CALLS {
        let name = call.split('(').next().unwrap();
        assert!(forms.contains(&format!("{name}_many")), "{name}");
    }
}
