//! What nobody uses, and what ends soon (R55).

use authz_tests::make::{self, id};
use authz_tests::office::with_ids;
use authz_tests::session::act_with;
use authz_tests::{Db, execute, value};
use postgres::Client;
use std::collections::BTreeSet;

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
            Some(asker) => act_with(c, asker, None, "{}"),
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
