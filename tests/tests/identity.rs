//! Who there is, apart from where it belongs and what it may do: principals (R2), memberships of each tenant (R1), operator
//! profiles (R5), names inside a tenant (R9).

use authz_tests::make::{self, can, id, reason};
use authz_tests::{Db, execute, refused, value};
use postgres::Client;
use uuid::Uuid;

fn history(c: &mut Client, sql: &str) -> Vec<(String, bool)> {
    let rows = c.query(sql, &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn past_and_present(states: &[&str]) -> Vec<(String, bool)> {
    let last = states.len() - 1;
    let with_end = states.iter().enumerate();
    with_end.map(|(n, state)| ((*state).to_owned(), n == last)).collect()
}

#[test]
fn r1_one_principal_has_a_membership_of_its_own_in_each_tenant() {
    let db = Db::new();
    let mut c = db.connect();
    make::role(&mut c, "viewer", &["case.view"]);
    let alice = make::principal(&mut c, "alice");
    for tenant in ["acme", "globex"] {
        let tenant_id = make::tenant(&mut c, tenant);
        make::join(&mut c, tenant_id, alice);
        make::case(&mut c, tenant_id, &format!("affair of {tenant}"));
        make::assign(&mut c, tenant_id, alice, "viewer", "tenant", tenant_id);
    }
    let (here, there) = (id("affair of acme"), id("affair of globex"));
    let of_acme = |set: &str| {
        format!(
            "UPDATE authz.tenant_membership SET {set} WHERE tenant_id = '{}'",
            id("acme")
        )
    };
    execute(&mut c, &of_acme("status = 'suspended'"));
    assert_eq!(
        reason(&mut c, alice, "case.view", here).as_deref(),
        Some("outside_tenant")
    );
    assert!(
        can(&mut c, alice, "case.view", there),
        "the other membership is its own"
    );
    execute(&mut c, &of_acme("status = 'active'"));
    assert!(can(&mut c, alice, "case.view", here));
    execute(&mut c, &of_acme("revoked_at = now()"));
    assert!(!can(&mut c, alice, "case.view", here));
    assert!(can(&mut c, alice, "case.view", there));
    let states = |tenant: &str| {
        format!(
            "SELECT status, valid_until IS NULL FROM authz.tenant_membership_history
              WHERE tenant_id = '{}' ORDER BY valid_from",
            id(tenant)
        )
    };
    assert_eq!(
        history(&mut c, &states("acme")),
        past_and_present(&["active", "suspended", "active", "revoked"])
    );
    assert_eq!(history(&mut c, &states("globex")), past_and_present(&["active"]));
    let principal: String = value(&mut c, "SELECT status FROM authz.principal", &[]);
    assert_eq!(principal, "active", "the identity is the same");
}

#[test]
fn r2_principals_of_each_type_keep_the_history_of_their_status() {
    let db = Db::new();
    let mut c = db.connect();
    for kind in ["human", "service", "system"] {
        let principal: Uuid = value(
            &mut c,
            "INSERT INTO authz.principal (principal_type) VALUES ($1) RETURNING principal_id",
            &[&kind],
        );
        for status in ["suspended", "disabled", "active", "locked", "deleted"] {
            execute(
                &mut c,
                &format!("UPDATE authz.principal SET status = '{status}' WHERE principal_id = '{principal}'"),
            );
        }
        // What changes nothing is no change of status.
        execute(
            &mut c,
            &format!(
                "UPDATE authz.principal SET status = status, display_name = 'x' WHERE principal_id = '{principal}'"
            ),
        );
        let sql = format!(
            "SELECT status, valid_until IS NULL FROM authz.principal_status_history
              WHERE principal_id = '{principal}' ORDER BY valid_from"
        );
        assert_eq!(
            history(&mut c, &sql),
            past_and_present(&["active", "suspended", "disabled", "active", "locked", "deleted"])
        );
    }
    for (column, wrong) in [("principal_type", "robot"), ("status", "gone"), ("external_id", "")] {
        refused(
            &mut c,
            &format!("INSERT INTO authz.principal ({column}) VALUES ('{wrong}')"),
            "23514",
            &[column],
        );
    }
}

#[test]
fn r5_operator_profiles_take_sensible_values_only() {
    let db = Db::new();
    let mut c = db.connect();
    let alice = make::principal(&mut c, "alice");
    execute(
        &mut c,
        &format!("INSERT INTO authz.operator_profile (principal_id) VALUES ('{alice}')"),
    );
    let set = |column: &str, to: &str| format!("UPDATE authz.operator_profile SET {column} = {to}");
    for role in [
        "SOC Analyst",
        "MDR Lead",
        "GRC Manager",
        "Pentest Lead",
        "Threat Hunter",
    ] {
        execute(&mut c, &set("operator_role", &format!("'{role}'")));
    }
    for level in ["L1", "L2", "L3"] {
        execute(&mut c, &set("clearance_level", &format!("'{level}'")));
    }
    for (column, wrong) in [
        ("operator_role", "' '"),
        ("clearance_level", "'l1'"),
        ("clearance_level", "'L4'"),
        ("alert_quota", "-1"),
        ("assigned_clients", "-1"),
    ] {
        refused(&mut c, &set(column, wrong), "23514", &[column]);
    }
    for column in [
        "clearance_level",
        "mfa_enabled",
        "alert_quota",
        "assigned_clients",
        "is_admin",
    ] {
        refused(&mut c, &set(column, "NULL"), "23502", &[column]);
    }
    refused(
        &mut c,
        "INSERT INTO authz.operator_profile (principal_id) VALUES (gen_random_uuid())",
        "23503",
        &["principal_id"],
    );
}

#[test]
fn r9_names_inside_a_tenant_are_for_its_members() {
    let db = Db::new();
    let mut c = db.connect();
    let (acme, globex) = (make::tenant(&mut c, "acme"), make::tenant(&mut c, "globex"));
    let alice = make::member(&mut c, acme, "alice");
    make::join(&mut c, globex, alice);
    let bob = make::member(&mut c, acme, "bob");
    make::principal(&mut c, "carol");
    for (tenant, who, shown) in [
        (acme, "alice", "Alice of sales"),
        (globex, "alice", "A. Consultant"),
        (acme, "bob", "Bob"),
        (globex, "carol", "Carol"),
    ] {
        execute(
            &mut c,
            &format!(
                "INSERT INTO authz.tenant_principal_profile (tenant_id, principal_id, display_name)
                 VALUES ('{tenant}', '{}', '{shown}')",
                id(who)
            ),
        );
    }
    execute(
        &mut c,
        &format!(
            "CREATE TABLE note (author uuid); INSERT INTO note VALUES ('{alice}'), ('{bob}'), ('{}')",
            id("carol")
        ),
    );
    let web = db.role();
    execute(
        &mut c,
        &format!(
            "GRANT USAGE ON SCHEMA authz TO {web}; GRANT SELECT ON authz.tenant_principal_profile, note TO {web};
             GRANT EXECUTE ON FUNCTION authz_set_session TO {web}"
        ),
    );
    let mut w = db.connect_as(&web);
    let names = |w: &mut Client| -> Vec<String> {
        w.query(
            "SELECT p.display_name FROM note AS n JOIN authz.tenant_principal_profile AS p ON p.principal_id = n.author
              ORDER BY p.display_name",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
    };
    let session = |w: &mut Client, who: Uuid, tenant: Option<Uuid>| {
        w.query("SELECT authz_set_session($1, $2, is_local => false)", &[&who, &tenant])
            .unwrap();
    };
    assert_eq!(names(&mut w), [""; 0], "without a session");
    session(&mut w, bob, None);
    assert_eq!(names(&mut w), ["Alice of sales", "Bob"]);
    session(&mut w, bob, Some(globex));
    assert_eq!(names(&mut w), [""; 0], "naming a tenant makes nobody its member");
    session(&mut w, alice, Some(globex));
    assert_eq!(names(&mut w), ["A. Consultant", "Carol"], "that tenant only");
    session(&mut w, id("carol"), None);
    assert_eq!(names(&mut w), [""; 0], "who is known to a tenant is no member for that");
    session(&mut w, alice, None);
    assert_eq!(names(&mut w), ["A. Consultant", "Alice of sales", "Bob", "Carol"]);
    execute(
        &mut c,
        &format!("UPDATE authz.tenant_membership SET status = 'suspended' WHERE tenant_id = '{globex}'"),
    );
    assert_eq!(names(&mut w), ["Alice of sales", "Bob"], "with the next statement");
    execute(&mut c, "UPDATE authz.principal SET status = 'suspended'");
    assert_eq!(names(&mut w), [""; 0]);
    // Nobody else's identity is behind the join, nor is writing.
    refused(&mut w, "SELECT email FROM authz.principal", "42501", &[]);
    refused(
        &mut w,
        "UPDATE authz.tenant_principal_profile SET display_name = 'x'",
        "42501",
        &[],
    );
    let hidden: bool = value(&mut w, "SELECT authz.session_is_member(NULL)", &[]);
    assert!(!hidden);
}
