//! The views of evidence (R55, R6): each says what a brute-force statement says, and shows a reader the tenants that the
//! reader audits and no others, whatever role it comes with (PITFALLS 24).

use authz_tests::casework::{Casework, act};
use authz_tests::make::{self, id};
use authz_tests::office::with_ids;
use authz_tests::policy::Policy;
use authz_tests::{Db, execute, refused, value};
use chrono::DateTime;
use postgres::Client;
use std::collections::BTreeSet;

const VIEWS: [&str; 15] = [
    "binding_evidence",
    "access_while_held",
    "current_access",
    "binding_use",
    "stale_grant",
    "expiring_grant",
    "mfa_evidence",
    "privilege_separation_evidence",
    "access_trail",
    "denied_attempt",
    "change_trail",
    "privileged_session_evidence",
    "privileged_session_awaiting_review",
    "workload",
    "export_evidence",
];

fn act_as(c: &mut Client, who: &str, tenant: Option<&str>) {
    let tenant = tenant.map_or("NULL".into(), |t| format!("'{}'", id(t)));
    execute(
        c,
        &format!("SELECT authz_set_session('{}', {tenant}, '{{}}', false)", id(who)),
    );
}

/// Rows as text, without what depends on the moment or on the reader's reach.
fn rows(c: &mut Client, query: &str) -> Vec<String> {
    // Of tables that nobody has analyzed the planner thinks that compiling pays.
    execute(c, "SET jit = off");
    value(
        c,
        &format!(
            "SELECT coalesce(array_agg(t ORDER BY t), '{{}}') FROM (
                 SELECT (to_jsonb(x) - '{{unused_for,ends_in,open_items_everywhere}}'::text[])::text AS t FROM ({query}) AS x) AS x"
        ),
        &[],
    )
}

/// The office of the reference domain with an auditor in each tenant and one of the platform, and with something for
/// every view in both tenants and on the platform.
fn world() -> Casework {
    let w = Casework::new();
    let mut c = w.owner();
    make::role(&mut c, "auditor", &["audit.read"]);
    make::role(&mut c, "clerk", &["case.view", "case.edit"]);
    make::role(&mut c, "chief", &["role.assign", "decision.approve"]);
    for (tenant, auditor, worker, case) in [("acme", "ada", "alf", "one"), ("globex", "gil", "gwen", "other")] {
        make::member(&mut c, id(tenant), auditor);
        make::member(&mut c, id(tenant), worker);
        make::assign(&mut c, id(tenant), id(auditor), "auditor", "tenant", id(tenant));
        execute(
            &mut c,
            &with_ids(
                &"INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id,
                          granted_by, granted_at, expires_at)
                  VALUES ('{T}', '{W}', 'clerk', 'tenant', '{T}', '{W}', now() - interval '200 days', now() + interval '9 days'),
                         ('{T}', '{W}', 'chief', 'tenant', '{T}', NULL, now() - interval '200 days', NULL);
                  INSERT INTO authz.operator_profile (principal_id, alert_quota) VALUES ('{W}', 3);
                  INSERT INTO authz.work_assignment (tenant_id, resource_type, resource_id, permission_code, principal_id)
                  VALUES ('{T}', 'case', '{C}', 'case.edit', '{W}');
                  INSERT INTO authz.privileged_access_session (session_kind, principal_id, tenant_id, access_reason)
                  VALUES ('support', '{A}', '{T}', 'why');
                  INSERT INTO authz.data_export_job (tenant_id, requested_by, export_type) VALUES ('{T}', '{W}', 'list');
                  INSERT INTO authz.sod_constraint (constraint_name, tenant_id, role_codes)
                  VALUES ('apart', '{T}', '{clerk,auditor}')"
                    .replace("{clerk,auditor}", "{clerk,auditor,case_owner}")
                    .replace("{T}", &format!("{{{tenant}}}"))
                    .replace("{W}", &format!("{{{worker}}}"))
                    .replace("{A}", &format!("{{{auditor}}}"))
                    .replace("{C}", &format!("{{{case}}}")),
            ),
        );
        let mut of = w.of(worker);
        for (permission, allowed) in [("case.edit", true), ("case.delete", false)] {
            let answer: bool = value(
                &mut of,
                "SELECT authz_check(authz_principal(), $1::text, $2::uuid, $3::uuid)",
                &[&permission, &id(case), &id(tenant)],
            );
            assert_eq!(answer, allowed, "{permission} of {worker}");
        }
    }
    make::principal(&mut c, "paula");
    make::assign_platform(&mut c, id("paula"), "auditor");
    execute(
        &mut c,
        &with_ids(
            "INSERT INTO authz.privileged_access_session (session_kind, principal_id, access_reason, started_at, expires_at)
             VALUES ('break_glass', '{eve}', 'fire', now() - interval '1 minute', now() + interval '1 hour')",
        ),
    );
    w
}

#[test]
fn a_reader_sees_the_tenants_that_it_audits_and_no_others() {
    let w = world();
    let mut owner = w.owner();
    execute(
        &mut owner,
        &with_ids(
            "INSERT INTO authz.privileged_access_session (session_kind, principal_id, tenant_id, access_reason, started_at, expires_at)
             SELECT 'break_glass', v.who::uuid, v.tenant::uuid, 'over', now() - interval '9 days', now() - interval '8 days'
             FROM (VALUES ('{alf}', '{acme}'), ('{gwen}', '{globex}')) AS v (who, tenant)",
        ),
    );
    let mut app = w.db.connect_as(&w.app);
    for view in VIEWS {
        let all = format!("SELECT * FROM authz.{view}");
        let of = |tenant: &str| format!("{all} WHERE tenant_id = '{}'", id(tenant));
        let everything = rows(&mut owner, &all);
        for (auditor, tenant) in [("ada", "acme"), ("gil", "globex")] {
            act_as(&mut app, auditor, None);
            let seen = rows(&mut app, &all);
            assert_eq!(seen, rows(&mut owner, &of(tenant)), "{view} for {auditor}");
            // Nothing can be empty for want of data.
            assert!(
                !seen.is_empty() && seen.len() < everything.len(),
                "{view} for {auditor}"
            );
            // What is asked for does not widen it.
            let other = if tenant == "acme" { "globex" } else { "acme" };
            assert_eq!(rows(&mut app, &of(other)), [""; 0], "{view}");
        }
        act_as(&mut app, "paula", None);
        assert_eq!(
            rows(&mut app, &all),
            everything,
            "{view} for the auditor of the platform"
        );
        act_as(&mut app, "paula", Some("globex"));
        assert_eq!(
            rows(&mut app, &all),
            rows(&mut owner, &of("globex")),
            "{view} in a session of globex"
        );
        // Without the permission, under break-glass, which lends everything else, and without a session.
        for nobody in ["ben", "eve", "alf"] {
            act_as(&mut app, nobody, None);
            assert_eq!(rows(&mut app, &all), [""; 0], "{view} for {nobody}");
        }
        execute(&mut app, "SELECT authz_clear_session()");
        assert_eq!(rows(&mut app, &all), [""; 0], "{view} without a session");
    }
    // What ends authority ends this with the next statement (R19), also in a transaction.
    act_as(&mut app, "ada", None);
    execute(&mut app, "BEGIN");
    let count = "SELECT count(*) FROM authz.current_access";
    assert!(value::<i64>(&mut app, count, &[]) > 0);
    execute(
        &mut owner,
        &with_ids("UPDATE authz.tenant_membership SET status = 'suspended' WHERE principal_id = '{ada}'"),
    );
    assert_eq!(value::<i64>(&mut app, count, &[]), 0);
    execute(&mut app, "COMMIT");
    // Other roles do not get there at all.
    for role in ["worker", "support_tool", "analytics_export", "migration"] {
        let login = w.db.role();
        execute(&mut owner, &format!("GRANT {}{role} TO {login}", w.prefix));
        for view in VIEWS {
            refused(
                &mut w.db.connect_as(&login),
                &format!("SELECT * FROM authz.{view}"),
                "42501",
                &[],
            );
        }
    }
    // Who may read the table of events itself reads everything, without a session.
    let dba = w.db.role();
    execute(
        &mut owner,
        &format!(
            "GRANT USAGE ON SCHEMA authz TO {dba}; GRANT SELECT ON authz.access_audit_event TO {dba};
             GRANT SELECT ON authz.{} TO {dba}",
            VIEWS.join(", authz.")
        ),
    );
    let mut c = w.db.connect_as(&dba);
    for view in VIEWS {
        let all = format!("SELECT * FROM authz.{view}");
        assert_eq!(rows(&mut c, &all), rows(&mut owner, &all), "{view}");
    }
}

/// PITFALLS 24: a cheap function of the reader's own is not called with rows that the reader does not see.
#[test]
fn a_function_of_the_readers_own_never_sees_hidden_rows() {
    let w = world();
    let mut app = w.db.connect_as(&w.app);
    execute(
        &mut app,
        "CREATE TEMP TABLE heard (tenant uuid);
         CREATE FUNCTION pg_temp.listen(tenant uuid) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
         $$ BEGIN INSERT INTO heard VALUES (tenant); RETURN true; END $$",
    );
    act_as(&mut app, "ada", None);
    for view in VIEWS {
        execute(
            &mut app,
            &format!("SELECT * FROM authz.{view} AS v WHERE pg_temp.listen(v.tenant_id)"),
        );
        let (heard, foreign): (i64, i64) = {
            let row = app
                .query_one(
                    "SELECT count(*), count(*) FILTER (WHERE tenant IS DISTINCT FROM $1) FROM heard",
                    &[&id("acme")],
                )
                .unwrap();
            (row.get(0), row.get(1))
        };
        assert!(heard > 0, "{view}");
        assert_eq!(foreign, 0, "{view}");
    }
}

/// Of random policies: whoever may is told, and who is told may, where no condition, deny or second factor is in play.
#[test]
fn current_access_tells_who_may() {
    let (mut yes, mut sure) = (0, 0);
    for seed in 0..12 {
        let db = Db::new();
        let mut c = db.connect();
        let now: i64 = value(&mut c, "SELECT extract(epoch FROM now())::bigint", &[]);
        Policy::new(7_000 + seed, DateTime::from_timestamp(now, 0).unwrap()).load(&mut c);
        execute(
            &mut c,
            "CREATE TEMP TABLE told AS SELECT * FROM authz.current_access; ANALYZE told",
        );
        let wrong = c
            .query(
                "WITH question AS (
                     SELECT p.principal_id, t.tenant_id, d.permission_code
                     FROM authz.principal AS p, authz.tenant AS t, authz.permission_definition AS d
                     WHERE d.resource_type = 'tenant'
                 ), answer AS (
                     SELECT q.*, authz_can(q.principal_id, q.permission_code, q.tenant_id) AS allowed,
                            EXISTS (SELECT FROM told AS a
                                    WHERE a.effect = 'allow' AND a.blocked_by IS NULL
                                      AND (a.principal_id = q.principal_id OR a.grantee_type = 'any')
                                      AND (a.permissions IS NULL OR q.permission_code = ANY (a.permissions))
                                      AND (a.scope_type = 'platform'
                                           OR (a.scope_type = 'tenant' AND a.tenant_id = q.tenant_id))) AS told,
                            EXISTS (SELECT FROM told AS a
                                    WHERE a.effect = 'allow' AND a.blocked_by IS NULL AND a.principal_id = q.principal_id
                                      AND NOT a.conditional AND a.binding_kind IN ('role_assignment', 'access_grant')
                                      AND q.permission_code = ANY (a.permissions)
                                      AND (a.scope_type = 'platform'
                                           OR (a.scope_type = 'tenant' AND a.tenant_id = q.tenant_id)))
                            AND NOT EXISTS (SELECT FROM told AS a
                                            WHERE a.effect = 'deny' AND a.tenant_id = q.tenant_id
                                              AND (a.principal_id = q.principal_id OR a.grantee_type = 'any')) AS sure
                     FROM question AS q)
                 SELECT count(*) FILTER (WHERE allowed), count(*) FILTER (WHERE sure),
                        array_agg(a::text) FILTER (WHERE (allowed AND NOT told) OR (sure AND NOT allowed))
                 FROM answer AS a",
                &[],
            )
            .unwrap();
        let wrong = &wrong[0];
        assert_eq!(wrong.get::<_, Option<Vec<String>>>(2), None, "seed {seed}");
        yes += wrong.get::<_, i64>(0);
        sure += wrong.get::<_, i64>(1);
    }
    assert!(yes > 50 && sure > 10, "only {yes} allowed, {sure} certain");
}

#[test]
fn current_access_names_the_way_and_what_stands_against_it() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::organization(&mut c, acme, "office", None);
    make::team(&mut c, acme, "field", None, Some(id("office")));
    make::team(&mut c, acme, "east", Some(id("field")), None);
    make::role(&mut c, "viewer", &["case.view"]);
    make::role(&mut c, "editor", &["case.edit"]);
    make::inherit(&mut c, "editor", "viewer");
    for name in ["alice", "bob", "cora", "dan"] {
        make::member(&mut c, acme, name);
    }
    make::join_team(&mut c, acme, id("east"), id("alice"));
    make::assign(&mut c, acme, id("bob"), "editor", "team", id("east"));
    make::assign_platform(&mut c, id("bob"), "viewer");
    let (team, office, role) = (id("field").to_string(), id("office").to_string(), "viewer");
    for grantee in [("team", team.as_str()), ("organization", &office), ("role", role)] {
        make::grant(&mut c, acme, ("case", id("affair")), grantee, "case.comment");
    }
    make::rule(&mut c, acme, "deny", 1, ("case", None), ("any", None), None);
    let told = |c: &mut Client| -> Vec<String> {
        value(
            c,
            "SELECT array_agg(line ORDER BY line COLLATE \"C\") FROM (
                 SELECT concat_ws(' ', coalesce(p.display_name, 'everybody'), a.effect, a.binding_kind, a.grantee_type,
                                  array_to_string(a.permissions, ','), a.scope_type, a.blocked_by) AS line
                 FROM authz.current_access AS a LEFT JOIN authz.principal AS p USING (principal_id)) AS x",
            &[],
        )
    };
    let expected = [
        "alice allow access_grant organization case.comment,case.view case",
        "alice allow access_grant team case.comment,case.view case",
        // Once, though he holds the role by an inherited assignment and at platform scope.
        "bob allow access_grant role case.comment,case.view case",
        "bob allow role_assignment principal case.comment,case.edit,case.view team",
        "bob allow role_assignment principal case.view platform",
        "everybody deny deny_rule any case",
    ];
    assert_eq!(told(&mut c), expected);
    for (change, blocked) in [
        (
            "UPDATE authz.tenant_membership SET status = 'suspended' WHERE principal_id = '{bob}'",
            "no active membership",
        ),
        (
            "UPDATE authz.principal SET status = 'disabled' WHERE principal_id = '{bob}'",
            "principal disabled",
        ),
        (
            "UPDATE authz.principal SET locked_until = now() + interval '1 hour' WHERE principal_id = '{bob}'",
            "principal locked",
        ),
        ("UPDATE authz.tenant SET status = 'suspended'", "tenant suspended"),
    ] {
        execute(&mut c, &format!("BEGIN; {}", with_ids(change)));
        let found = told(&mut c);
        execute(&mut c, "ROLLBACK");
        let hit = format!("bob allow role_assignment principal case.comment,case.edit,case.view team {blocked}");
        assert!(found.contains(&hit), "{change}: {found:#?}");
    }
    execute(
        &mut c,
        &with_ids(
            "UPDATE authz.principal_role_assignment SET revoked_at = clock_timestamp() WHERE principal_id = '{bob}'",
        ),
    );
    assert!(!told(&mut c).iter().any(|line| line.starts_with("bob")), "R19");
}

/// A binding's last use by the older view, which tells access by access what was done while it was held.
const USED: &str = "
    SELECT u.binding_id::text || ' ' || coalesce(max(h.occurred_at)::text, 'never')
      FROM authz.binding_use AS u
      LEFT JOIN authz.access_while_held AS h
        ON h.binding_id = u.binding_id AND h.access_result = 'allowed' AND coalesce(h.asked_by, h.principal_id) = h.principal_id
       AND h.action_code = ANY (u.permissions) AND (u.scope_type <> 'case' OR h.resource_id = u.scope_id)
     GROUP BY u.binding_id";

#[test]
fn unused_and_expiring_bindings() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::team(&mut c, acme, "night", None, None);
    make::role(&mut c, "viewer", &["case.view"]);
    make::role(&mut c, "boss", &["case.admin"]);
    for n in 0..6 {
        make::case(&mut c, acme, &format!("case{n}"));
    }
    for name in ["alice", "bob", "cora"] {
        make::member(&mut c, acme, name);
    }
    execute(
        &mut c,
        &with_ids(
            "INSERT INTO authz.team_membership_history (tenant_id, team_id, principal_id, valid_from, valid_until)
             VALUES ('{acme}', '{night}', '{cora}', now() - interval '300 days', now() + interval '3 days');
             INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id, granted_at, expires_at)
             SELECT '{acme}', p::uuid, r, 'tenant', '{acme}', now() - interval '200 days', e
               FROM (VALUES ('{alice}', 'viewer', NULL::timestamptz), ('{alice}', 'boss', NULL), ('{bob}', 'viewer', now() + interval '5 days')) AS v (p, r, e);
             INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code, granted_at)
             VALUES ('{acme}', 'case', '{casethree}', 'team', '{night}', 'case.view', now() - interval '200 days'),
                    ('{acme}', 'case', '{casethree}', 'principal', '{bob}', 'case.edit', now() - interval '10 days')"
                .replace("{casethree}", &id("case3").to_string())
                .as_str(),
        ),
    );
    let stale = |c: &mut Client| -> BTreeSet<String> {
        c.query(
            "SELECT coalesce(p.display_name, u.grantee_type) || ' ' || coalesce(u.role_code, u.permissions[1])
               FROM authz.stale_grant AS u LEFT JOIN authz.principal AS p ON p.principal_id::text = u.grantee_id",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
    };
    let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(
        stale(&mut c),
        set(&["alice boss", "alice viewer", "bob viewer", "team case.view"]),
        "what was granted ten days ago is not stale yet"
    );
    // A use by somebody else, a denial, a question of somebody else's, another tenant's resource: none of them counts.
    let check = |c: &mut Client, asker: Option<&str>, who: &str, permission: &str, case: &str| {
        match asker {
            Some(asker) => act_as(c, asker, None),
            None => execute(c, "SELECT authz_clear_session()"),
        }
        value::<bool>(
            c,
            "SELECT authz_check($1::uuid, $2::text, $3::uuid)",
            &[&id(who), &permission, &id(case)],
        )
    };
    assert!(!check(&mut c, Some("bob"), "bob", "case.admin", "case1"));
    assert!(check(&mut c, Some("bob"), "alice", "case.edit", "case1"));
    assert!(!check(&mut c, Some("cora"), "cora", "case.view", "case1"));
    assert_eq!(stale(&mut c).len(), 4);
    // Bob's look at a case could have been allowed by his role; Cora's only by her team's grant; Alice's edit only as boss.
    assert!(check(&mut c, Some("bob"), "bob", "case.view", "case1"));
    assert!(check(&mut c, Some("cora"), "cora", "case.view", "case3"));
    assert!(check(&mut c, None, "alice", "case.edit", "case2"));
    assert_eq!(stale(&mut c), set(&["alice viewer"]));
    // The same by brute force, over many accesses.
    for n in 0..60 {
        let who = ["alice", "bob", "cora"][n % 3];
        check(
            &mut c,
            Some(who),
            who,
            ["case.view", "case.edit", "case.comment"][n % 7 % 3],
            &format!("case{}", n % 6),
        );
    }
    let used: BTreeSet<String> = c.query(USED, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    let told: BTreeSet<String> = c
        .query(
            "SELECT binding_id::text || ' ' || coalesce(last_used_at::text, 'never') FROM authz.binding_use",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(told, used);
    assert_eq!(told.len(), 5);
    let holders: Vec<i64> = value(
        &mut c,
        "SELECT array_agg(holders ORDER BY holders) FROM authz.binding_use WHERE grantee_type = 'team'",
        &[],
    );
    assert_eq!(holders, [1]);
    let ends: Vec<String> = value(
        &mut c,
        "SELECT array_agg(binding_kind || ' ' || what || ' ' || round(extract(epoch FROM ends_in) / 86400) ORDER BY ends_at)
           FROM (SELECT binding_kind, coalesce(what, '-') AS what, ends_in, ends_at FROM authz.expiring_grant) AS x",
        &[],
    );
    assert_eq!(ends, ["team_membership - 3", "role_assignment viewer 5"]);
}

#[test]
fn r6_second_factors_and_separation_of_privileges() {
    let w = Casework::new();
    let mut c = w.owner();
    make::role(&mut c, "admin", &["role.assign", "member.manage"]);
    make::role(&mut c, "reader", &["case.view"]);
    for name in ["eve", "ann"] {
        make::assign(&mut c, id("acme"), id(name), "admin", "tenant", id("acme"));
    }
    execute(
        &mut c,
        &with_ids(
            "UPDATE authz.operator_profile SET mfa_enabled = false WHERE principal_id IN ('{eve}', '{ben}');
             INSERT INTO authz.account_security (principal_id, mfa_enabled) VALUES ('{cal}', true);
             UPDATE authz.operator_profile SET mfa_enabled = false WHERE principal_id = '{cal}'",
        ),
    );
    let told = |c: &mut Client, who: &str| -> (bool, Vec<String>, Vec<String>, Option<String>) {
        let row = c
            .query_one(
                "SELECT mfa_enrolled, mfa_permissions, administers, finding FROM authz.mfa_evidence WHERE principal_id = $1",
                &[&id(who)],
            )
            .unwrap();
        (row.get(0), row.get(1), row.get(2), row.get(3))
    };
    let strings = |v: &[&str]| v.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let (decides, administers) = (
        strings(&["decision.approve", "decision.reject"]),
        strings(&["member.manage", "role.assign"]),
    );
    assert_eq!(
        told(&mut c, "eve"),
        (
            false,
            vec![],
            administers.clone(),
            Some("administers without a second factor".into())
        )
    );
    assert_eq!(
        told(&mut c, "ben"),
        (
            false,
            decides.clone(),
            vec![],
            Some("cannot use what it holds: no second factor".into())
        )
    );
    assert_eq!(told(&mut c, "cal"), (true, decides, vec![], None));
    assert_eq!(told(&mut c, "ann"), (true, vec![], administers, None));
    assert_eq!(told(&mut c, "gus"), (false, vec![], vec![], None));
    // What is revoked is no evidence any more.
    execute(
        &mut c,
        &with_ids(
            "UPDATE authz.principal_role_assignment SET revoked_at = clock_timestamp() WHERE principal_id = '{eve}'",
        ),
    );
    assert_eq!(told(&mut c, "eve"), (false, vec![], vec![], None));

    // Ann administers and, as investigator of a case, works. Separation is broken where it was held before.
    make::assign(&mut c, id("acme"), id("ben"), "reader", "tenant", id("acme"));
    execute(
        &mut c,
        &with_ids(
            "INSERT INTO authz.sod_constraint (constraint_name, role_codes) VALUES ('apart', '{case_approver,case_owner}');
             INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id, granted_by)
             VALUES ('{acme}', '{sue}', 'reader', 'tenant', '{acme}', '{sue}');
             INSERT INTO authz.sod_constraint (constraint_name, constraint_kind, role_codes) VALUES ('use', 'dynamic', '{reader,case_approver}');
             INSERT INTO authz.sod_use (constraint_id, principal_id, tenant_id, resource_type, resource_id, role_codes)
             SELECT constraint_id, '{ben}', '{acme}', 'case', '{one}', '{reader}' FROM authz.sod_constraint WHERE constraint_name = 'use'"
                .replace("'{case_approver,case_owner}'", "ARRAY['case_approver','case_owner']")
                .replace("'{reader,case_approver}'", "ARRAY['reader','case_approver']")
                .replace("'{reader}'", "ARRAY['reader']")
                .as_str(),
        ),
    );
    let found: Vec<String> = value(
        &mut c,
        "SELECT array_agg(line ORDER BY line COLLATE \"C\") FROM (
             SELECT concat_ws(' ', p.display_name, e.kind, CASE WHEN e.kind LIKE '%constraint' THEN e.subject END,
                              array_to_string(e.held, ','), e.breached) AS line
             FROM authz.privilege_separation_evidence AS e JOIN authz.principal AS p USING (principal_id)) AS x",
        &[],
    );
    let one = id("one");
    let expected = [
        "ann administers and works case.edit,decision.create,decision.edit,decision.submit,decision.withdraw,document.create,document.download,document.edit,sensitive_detail.create,sensitive_detail.edit,sensitive_detail.reveal t".to_owned(),
        format!("ben dynamic constraint use: case {one} reader f"),
        "ben static constraint apart case_approver f".to_owned(),
        "cal static constraint apart case_approver f".to_owned(),
        "sue granted to oneself reader t".to_owned(),
    ];
    assert_eq!(found, expected);
}

#[test]
fn denials_privileged_sessions_and_work() {
    let w = world();
    let mut c = w.owner();
    for (view, brute) in [
        (
            "SELECT audit_id, policy_reason FROM authz.denied_attempt",
            "SELECT audit_id, policy_reason FROM authz.access_audit_event WHERE access_result = 'denied'",
        ),
        (
            "SELECT session_id, state FROM authz.privileged_session_evidence",
            "SELECT session_id, CASE session_kind WHEN 'support' THEN 'requested' ELSE 'running' END AS state FROM authz.privileged_access_session",
        ),
        (
            "SELECT tenant_id, principal_id, open_items FROM authz.workload WHERE open_items > 0",
            "SELECT tenant_id, principal_id, count(*) AS open_items FROM authz.work_assignment WHERE released_at IS NULL GROUP BY 1, 2",
        ),
    ] {
        let found = rows(&mut c, view);
        assert_eq!(found, rows(&mut c, brute), "{view}");
        assert!(found.len() >= 2, "{view}");
    }
    // Use of a privileged session is counted, and what an auditor asks about is named.
    let mut eve = w.of("eve");
    for case in ["one", "other"] {
        assert!(value::<bool>(
            &mut eve,
            "SELECT authz_check(authz_principal(), 'case.view', $1::uuid)",
            &[&id(case)]
        ));
    }
    let told = "SELECT concat_ws(' ', state, allowed, denied, finding) FROM authz.privileged_session_evidence WHERE principal_id = $1";
    assert_eq!(value::<String>(&mut c, told, &[&id("eve")]), "running 2 0");
    execute(
        &mut c,
        &with_ids(
            "UPDATE authz.privileged_access_session SET ended_at = clock_timestamp() WHERE principal_id = '{eve}'",
        ),
    );
    assert_eq!(value::<String>(&mut c, told, &[&id("eve")]), "ended 2 0 not reviewed");
    execute(
        &mut c,
        &with_ids(
            "UPDATE authz.privileged_access_session SET reviewed_at = clock_timestamp(), reviewed_by = '{ada}' WHERE principal_id = '{eve}';
             UPDATE authz.privileged_access_session SET started_at = now(), expires_at = now() + interval '1 hour' WHERE principal_id = '{ada}'",
        ),
    );
    assert_eq!(value::<String>(&mut c, told, &[&id("eve")]), "ended 2 0");
    assert_eq!(
        value::<String>(&mut c, told, &[&id("ada")]),
        "running 0 0 used without approval"
    );
    // Open work of somebody whose membership has ended is told.
    execute(
        &mut c,
        &with_ids("UPDATE authz.tenant_membership SET status = 'revoked' WHERE principal_id = '{alf}'"),
    );
    let open: i64 = value(
        &mut c,
        "SELECT open_items FROM authz.workload WHERE principal_id = $1",
        &[&id("alf")],
    );
    assert_eq!(open, 1);
    execute(
        &mut c,
        "UPDATE authz.work_assignment SET released_at = clock_timestamp()",
    );
    let done: i64 = value(&mut c, "SELECT sum(released_30_days)::bigint FROM authz.workload", &[]);
    assert_eq!(done, 1, "and not any more once it is released: only gwen's");
}

/// What was refused is told to the auditor of the tenant although its transaction was rolled back (R53), and the actor
/// is named after his access was revoked (R60).
#[test]
fn evidence_outlives_revocation() {
    let w = world();
    let mut ann = w.of("ann");
    let d = w.submitted();
    execute(
        &mut w.owner(),
        &with_ids("UPDATE authz.tenant_membership SET status = 'revoked' WHERE principal_id = '{ann}'"),
    );
    refused(&mut ann, &act("withdraw", d, "ann"), "42501", &[]);
    let mut app = w.db.connect_as(&w.app);
    act_as(&mut app, "ada", None);
    let told: i64 = value(
        &mut app,
        "SELECT count(*) FROM authz.access_while_held WHERE principal_id = $1 AND action_code = 'decision.submit'",
        &[&id("ann")],
    );
    assert_eq!(told, 1);
}
