//! The auditor's questions (R55), each answered by a view: who granted, why, when, to whom, for which scope, when removed
//! and by whom, and what was accessed while it was held.

use authz_tests::make::{self, id};
use authz_tests::session::act_as;
use authz_tests::{Db, execute, refused, value};
use postgres::Client;
use serde_json::Value;
use uuid::Uuid;

fn evidence(c: &mut Client, binding: Uuid) -> Value {
    value(
        c,
        "SELECT to_jsonb(b) FROM authz.binding_evidence AS b WHERE binding_id = $1",
        &[&binding],
    )
}

fn check(c: &mut Client, who: &str, resource: &str) -> bool {
    value(
        c,
        "SELECT authz_check($1::uuid, 'case.view', $2::uuid)",
        &[&id(who), &id(resource)],
    )
}

fn accesses(c: &mut Client, binding: Uuid) -> Vec<(Uuid, String, String)> {
    c.query(
        "SELECT principal_id, resource_id, access_result FROM authz.access_while_held WHERE binding_id = $1 ORDER BY occurred_at",
        &[&binding],
    )
    .unwrap()
    .iter()
    .map(|row| (row.get(0), row.get(1), row.get(2)))
    .collect()
}

/// Ada grants, Rob removes; Alice and Bob use it.
fn world(c: &mut Client) -> Uuid {
    let acme = make::tenant(c, "acme");
    make::tenant(c, "globex");
    make::case(c, acme, "affair");
    make::case(c, acme, "matter");
    make::case(c, id("globex"), "deal");
    make::role(c, "viewer", &["case.view"]);
    for name in ["alice", "bob", "ada", "rob"] {
        make::member(c, acme, name);
    }
    make::join(c, id("globex"), id("alice"));
    make::team(c, acme, "night", None, None);
    acme
}

#[test]
fn r55_who_granted_why_when_to_whom_where_and_who_removed_it_why_and_when() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = world(&mut c);
    act_as(&mut c, "ada");
    let assignment: Uuid = value(
        &mut c,
        "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id, reason)
         VALUES ($1, $2, 'viewer', 'team', $3::uuid::text, 'covers the night shift') RETURNING assignment_id",
        &[&acme, &id("alice"), &id("night")],
    );
    let e = evidence(&mut c, assignment);
    for (column, expected) in [
        ("binding_kind", Value::from("role_assignment")),
        ("grantee_id", id("alice").to_string().into()),
        ("what", "viewer".into()),
        ("scope_type", "team".into()),
        ("scope_id", id("night").to_string().into()),
        ("granted_by", id("ada").to_string().into()),
        ("reason", "covers the night shift".into()),
        ("removed_at", Value::Null),
        ("removed_by", Value::Null),
    ] {
        assert_eq!(e[column], expected, "{column}: {e:#}");
    }
    act_as(&mut c, "rob");
    execute(
        &mut c,
        "UPDATE authz.principal_role_assignment SET revoked_at = clock_timestamp(), reason = 'left the shift'",
    );
    let e = evidence(&mut c, assignment);
    assert_eq!(e["granted_by"], id("ada").to_string(), "{e:#}");
    assert_eq!(e["reason"], "covers the night shift", "why it was granted stays: {e:#}");
    assert_eq!(e["removed_by"], id("rob").to_string());
    assert_eq!(e["removal_reason"], "left the shift");
    let just_now: bool = value(
        &mut c,
        "SELECT removed_at > clock_timestamp() - interval '1 minute' FROM authz.binding_evidence WHERE binding_id = $1",
        &[&assignment],
    );
    assert!(just_now);
    // What runs out is closed by maintenance, which says so.
    execute(&mut c, "SELECT authz_clear_session()");
    let grant: Uuid = value(
        &mut c,
        "INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id,
                 permission_code, granted_by, granted_at, expires_at, reason)
         VALUES ($1, 'case', $2::uuid::text, 'principal', $3::uuid::text, 'case.view', $4, now() - interval '2 days',
                 now() - interval '1 day', 'a day') RETURNING grant_id",
        &[&acme, &id("affair"), &id("bob"), &id("ada")],
    );
    execute(&mut c, "SELECT authz_maintain()");
    let e = evidence(&mut c, grant);
    assert_eq!(
        (&e["granted_by"], &e["removed_by"]),
        (&id("ada").to_string().into(), &Value::Null),
        "{e:#}"
    );
    assert_eq!(e["removal_reason"], "expired");
    assert_eq!(e["removed_as"], db.server.user.as_str());
    // Every kind of binding is there.
    make::join_team(&mut c, acme, id("night"), id("bob"));
    make::rule(&mut c, acme, "deny", 1, ("case", None), ("any", None), None);
    make::rule(
        &mut c,
        acme,
        "allow",
        1,
        ("case", Some(id("affair"))),
        ("role", Some("viewer")),
        Some("case.view"),
    );
    execute(
        &mut c,
        &format!(
            "INSERT INTO authz.privileged_access_session (session_kind, principal_id, access_reason) VALUES ('support', '{}', 'x')",
            id("bob")
        ),
    );
    let kinds: Vec<String> = c
        .query(
            "SELECT DISTINCT binding_kind FROM authz.binding_evidence ORDER BY 1",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(
        kinds,
        [
            "access_grant",
            "allow_rule",
            "deny_rule",
            "privileged_session",
            "role_assignment",
            "team_membership"
        ]
    );
}

#[test]
fn r55_what_was_accessed_while_it_was_held_and_nothing_from_before_after_or_elsewhere() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = world(&mut c);
    assert!(!check(&mut c, "alice", "affair"), "before");
    let assignment = make::assign(&mut c, acme, id("alice"), "viewer", "tenant", acme);
    let team = make::grant(
        &mut c,
        acme,
        ("case", id("matter")),
        ("team", &id("night").to_string()),
        "case.view",
    );
    assert!(check(&mut c, "alice", "affair"));
    assert!(!check(&mut c, "alice", "deal"), "another tenant's");
    assert!(!check(&mut c, "bob", "matter"), "not in the team yet");
    make::join_team(&mut c, acme, id("night"), id("bob"));
    assert!(check(&mut c, "bob", "matter"));
    execute(
        &mut c,
        "UPDATE authz.team_membership_history SET valid_until = clock_timestamp()",
    );
    assert!(!check(&mut c, "bob", "matter"), "not any more");
    make::revoke(&mut c, assignment);
    assert!(!check(&mut c, "alice", "affair"), "after");
    assert_eq!(
        accesses(&mut c, assignment),
        [(id("alice"), id("affair").to_string(), "allowed".to_owned())]
    );
    assert_eq!(
        accesses(&mut c, team),
        [(id("bob"), id("matter").to_string(), "allowed".to_owned())]
    );
}

/// Nested groups (DESIGN): what is given to the whole is given to its parts, so what was done by it is evidence of it.
/// Who is in two parts at once did it once.
#[test]
fn r55_what_was_accessed_by_way_of_teams_inside_teams_organizations_and_roles() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = world(&mut c);
    make::organization(&mut c, acme, "house", None);
    make::organization(&mut c, acme, "floor", Some(id("house")));
    make::team(&mut c, acme, "watch", None, Some(id("floor")));
    make::team(&mut c, acme, "shift", Some(id("watch")), None);
    make::team(&mut c, acme, "crew", Some(id("shift")), None);
    make::role(&mut c, "senior", &[]);
    make::inherit(&mut c, "senior", "viewer");
    make::join_team(&mut c, acme, id("crew"), id("bob"));
    make::join_team(&mut c, acme, id("watch"), id("bob"));
    make::join_team(&mut c, acme, id("night"), id("rob"));
    make::assign(&mut c, acme, id("ada"), "senior", "team", id("night"));
    let mut grant = |who: (&str, &str)| make::grant(&mut c, acme, ("case", id("matter")), who, "case.view");
    let bindings = [
        grant(("team", &id("watch").to_string())),
        grant(("organization", &id("house").to_string())),
        grant(("role", "viewer")),
    ];
    for who in ["bob", "ada", "rob", "alice"] {
        assert_eq!(check(&mut c, who, "matter"), who == "bob" || who == "ada", "{who}");
    }
    for (binding, who) in bindings.iter().zip(["bob", "bob", "ada"]) {
        assert_eq!(
            accesses(&mut c, *binding),
            [(id(who), id("matter").to_string(), "allowed".to_owned())]
        );
    }
    execute(
        &mut c,
        "UPDATE authz.team_membership_history SET valid_until = clock_timestamp();
         UPDATE authz.role_inheritance SET valid_until = clock_timestamp()",
    );
    for who in ["bob", "ada"] {
        assert!(!check(&mut c, who, "matter"), "{who}");
    }
    for binding in bindings {
        assert_eq!(accesses(&mut c, binding).len(), 1, "not what came after");
    }
}

/// Whoever asks about somebody else leaves an event that names both: nobody's evidence can be made up by another.
#[test]
fn a_question_about_somebody_does_not_pass_for_what_he_did() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = world(&mut c);
    let assignment = make::assign(&mut c, acme, id("alice"), "viewer", "tenant", acme);
    for who in ["alice", "bob"] {
        act_as(&mut c, who);
        assert!(check(&mut c, "alice", "affair"));
    }
    let askers: Vec<Uuid> = c
        .query(
            "SELECT asked_by FROM authz.access_while_held WHERE binding_id = $1 ORDER BY occurred_at",
            &[&assignment],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(askers, [id("alice"), id("bob")]);
}

#[test]
fn the_views_are_for_those_who_are_granted_them() {
    let db = Db::new();
    let plain = db.role();
    let mut c = db.connect_as(&plain);
    for view in ["binding_evidence", "access_while_held"] {
        refused(
            &mut c,
            &format!("SELECT * FROM authz.{view}"),
            "42501",
            &["permission denied"],
        );
    }
    let auditor = db.role();
    execute(
        &mut db.connect(),
        &format!(
            "GRANT USAGE ON SCHEMA authz TO {auditor};
             GRANT SELECT ON authz.binding_evidence, authz.access_while_held TO {auditor}"
        ),
    );
    let mut c = db.connect_as(&auditor);
    for view in ["binding_evidence", "access_while_held"] {
        let rows: i64 = value(&mut c, &format!("SELECT count(*) FROM authz.{view}"), &[]);
        assert_eq!(rows, 0);
    }
}
