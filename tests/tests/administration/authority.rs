//! Who may call the functions that change authority (R10, R31), and that nothing else changes it (R23).

use crate::authority;
use authz_tests::make::{self, id};
use authz_tests::office::{Office, made, refused_and_recorded, with_ids};
use authz_tests::session::act_as;
use authz_tests::{execute, refused, value};

/// Every call of the surface with good arguments, for somebody who may do all of it.
pub const CALLS: [&str; 21] = [
    "authz_add_member('{nobody}', '{acme}', reason => 'r')",
    "authz_suspend_member('{alice}', '{acme}', 'r')",
    "authz_resume_member('{alice}', '{acme}', 'r')",
    "authz_revoke_member('{alice}', '{acme}', 'r')",
    "authz_join_team('{alice}', '{north}', '{acme}', reason => 'r')",
    "authz_leave_team('{alice}', '{north}', '{acme}', 'r')",
    "authz_set_principal_status('{alice}', 'suspended', 'r')",
    "authz_define_role('r1', reason => 'r')",
    "authz_inherit_role('chief', 'viewer', reason => 'r')",
    "authz_disinherit_role('chief', 'editor', 'r')",
    "authz_define_permission('thing.open', reason => 'r')",
    "authz_imply_permission('case.approve', 'case.view', 'r')",
    "authz_allow_role('viewer', 'case.comment', reason => 'r')",
    "authz_disallow_role('viewer', 'case.view', 'r')",
    "authz_assign_role('{alice}', 'viewer', '{acme}', reason => 'r')",
    "authz_revoke_role('{tom}', 'team_manager', '{acme}', 'team', '{north}', 'r')",
    "authz_share('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}', reason => 'r')",
    "authz_unshare('{affair}', 'r')",
    "authz_deny('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}', reason => 'r')",
    "authz_remove_rule('{affair}', 'r')",
    "authz_transfer_ownership('case', '{affair}', '{alice}', '{acme}', 'r')",
];

/// Without a session, and in the session of somebody who holds nothing, every function is 42501, in the same words
/// whether there is something there or not. This is why PUBLIC may execute them.
#[test]
fn nobody_without_authority_changes_anything() {
    let office = Office::open();
    let mut owner = office.owner();
    let before = authority(&mut owner);
    let strip = |text: String| text.lines().take(3).collect::<Vec<_>>().join("\n");
    for who in ["", "alice", "nobody", "ghost"] {
        let mut c = office.stranger();
        if !who.is_empty() {
            act_as(&mut c, who);
        }
        for call in CALLS {
            let text = refused_and_recorded(&mut c, call, "42501", &["permission denied"]);
            // Ids of nothing at all.
            let absent = ["alice", "affair", "north", "acme", "tom"]
                .iter()
                .fold(call.to_owned(), |call, name| {
                    call.replace(&format!("{{{name}}}"), &format!("{{no_{name}}}"))
                });
            let other = refused_and_recorded(&mut c, &absent, "42501", &["permission denied"]);
            assert_eq!(strip(text), strip(other), "{who}: {call}");
        }
    }
    assert_eq!(authority(&mut owner), before);
}

/// An administrator of a tenant has no say in another one, nor about the model, which is everybody's.
#[test]
fn administrators_of_tenants_stay_in_their_tenant() {
    let office = Office::open();
    for call in CALLS {
        let mut c = office.as_("gus");
        refused_and_recorded(&mut c, call, "42501", &["permission denied"]);
    }
    let platform = [
        "authz_set_principal_status('{alice}', 'suspended', 'r')",
        "authz_define_role('r1')",
        "authz_inherit_role('chief', 'viewer')",
        "authz_disinherit_role('chief', 'editor')",
        "authz_define_permission('thing.open')",
        "authz_imply_permission('case.approve', 'case.view')",
        "authz_allow_role('viewer', 'case.comment')",
        "authz_disallow_role('viewer', 'case.view')",
        "authz_allow_role('authz.administrator', 'case.view')",
        "authz_assign_role('{alice}', 'viewer', scope_type => 'platform')",
        "authz_assign_role('{alice}', 'viewer', '{globex}')",
        "authz_assign_role('{alice}', 'viewer', '{acme}', 'team', '{east}')",
        "authz_assign_role('{alice}', 'viewer', '{globex}', 'tenant', '{acme}')",
        "authz_assign_role('{alice}', 'viewer', '{acme}', 'tenant', '{globex}')",
    ];
    for call in platform {
        refused_and_recorded(&mut office.as_("tina"), call, "42501", &["permission denied"]);
    }
    // A session that names a tenant acts in that tenant only, also an administrator's of the platform.
    let mut c = office.stranger();
    execute(
        &mut c,
        &with_ids("SELECT authz_set_session('{root}', '{globex}', is_local => false)"),
    );
    refused_and_recorded(
        &mut c,
        "authz_add_member('{nobody}', '{acme}')",
        "42501",
        &["permission denied"],
    );
    refused_and_recorded(&mut c, "authz_define_role('r1')", "42501", &["permission denied"]);
    made(&mut c, "authz_add_member('{nobody}', '{globex}')");
}

/// The first administrator is the database owner's to make, and nobody else's.
#[test]
fn only_the_owner_makes_the_first_administrator() {
    let office = Office::open();
    for who in ["root", "tina"] {
        refused(
            &mut office.as_(who),
            &with_ids("SELECT authz_bootstrap_administrator('{alice}', 'me too')"),
            "42501",
            &["authz_bootstrap_administrator"],
        );
    }
    let mut owner = office.owner();
    for (principal, reason) in [("'{alice}'", "' '"), ("'{alice}'", "NULL"), ("NULL", "'r'")] {
        refused(
            &mut owner,
            &with_ids(&format!("SELECT authz_bootstrap_administrator({principal}, {reason})")),
            "22023",
            &[],
        );
    }
    refused(
        &mut owner,
        &with_ids("SELECT authz_bootstrap_administrator('{ghost}', 'r')"),
        "23503",
        &[],
    );
    // A system role cannot be deleted by anybody.
    refused(
        &mut owner,
        "DELETE FROM authz.role_definition WHERE role_code = 'authz.administrator'",
        "55000",
        &[],
    );
    // It holds what the extension itself asks for, and no more.
    let held: bool = value(
        &mut owner,
        "SELECT bool_and(d.is_system_permission) AND count(*) = (SELECT count(*) FROM authz.permission_definition WHERE is_system_permission)
           FROM authz.role_permission JOIN authz.permission_definition AS d USING (permission_code)
          WHERE role_code = 'authz.administrator'",
        &[],
    );
    assert!(held);
}

/// Internals that decide or record are not to be called by anybody.
#[test]
fn internals_are_closed_to_runtime_roles() {
    let office = Office::open();
    let mut c = office.as_("tina");
    for call in [
        "authz.holds('role.assign', '{acme}', 'tenant', '{acme}')",
        "authz.principal_holds('{tina}', 'role.assign', '{acme}', 'tenant', '{acme}')",
        "authz.role_missing('viewer', '{acme}', 'tenant', '{acme}')",
        "authz.permission_missing('case.view', '{acme}', 'tenant', '{acme}')",
        "authz.is_addressed('any', NULL, '{acme}')",
        "authz.set_reason('x')",
        "authz.refuse('a', NULL, NULL, NULL, 'w', '42501', 'm', NULL, NULL)",
        "authz.write_owner(10, 'DROP TABLE case_record', 'k', '{acme}', 'o')",
        "authz.set_member_status('{alice}', '{acme}', 'revoked', 'r', false)",
        "authz.open_membership('member.manage', '{acme}', '{alice}')",
        "authz.sod_use('case.view', 'case', 'x', '{acme}')",
        "authz.change_of('x', '{}', '{}', '{}', '{}', '{}', NULL)",
    ] {
        refused(&mut c, &with_ids(&format!("SELECT {call}")), "42501", &["authz"]);
    }
    // Views ask some of them about their reader's own session, or for a name; the others ask themselves who may.
    let open: Vec<String> = office
        .owner()
        .query(
            "SELECT p.oid::regprocedure::text FROM pg_proc AS p
              WHERE p.pronamespace = 'authz'::regnamespace AND p.prosecdef AND has_function_privilege($1, p.oid, 'EXECUTE')
                AND p.proname <> ALL ('{audited_tenants,audits_platform,feed_classification,classify,set_mask}')",
            &[&office.role()],
        )
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    assert_eq!(
        open,
        Vec::<String>::new(),
        "definer functions of schema authz for everybody"
    );
}

/// `authz.holds` and `authz.principal_holds` at every kind of place.
#[test]
fn standing_authority_at_each_kind_of_scope() {
    let office = Office::open();
    let mut c = office.owner();
    make::organization(&mut c, id("acme"), "hq", None);
    make::team(&mut c, id("acme"), "west", Some(id("north")), Some(id("hq")));
    make::assign(&mut c, id("acme"), id("alice"), "viewer", "organization", id("hq"));
    for (who, permission, place, expected) in [
        ("root", "role.assign", "NULL, 'platform', NULL", true),
        ("root", "role.assign", "'{acme}', 'tenant', '{acme}'", true),
        ("root", "role.assign", "'{acme}', 'team', '{west}'", true),
        ("root", "role.assign", "'{acme}', 'case', '{affair}'", true),
        ("root", "role.assign", "'{acme}', 'case', '{feud}'", false),
        ("root", "role.assign", "'{acme}', 'platform', NULL", false),
        ("root", "role.assign", "NULL, 'platform', '{acme}'", false),
        ("root", "role.assign", "NULL, 'tenant', '{acme}'", false),
        ("root", "role.assign", "'{acme}', 'tenant', NULL", false),
        ("root", "role.assign", "'{acme}', 'tenant', '{globex}'", false),
        ("root", "case.view", "NULL, 'platform', NULL", false),
        ("tina", "role.assign", "NULL, 'platform', NULL", false),
        ("tina", "role.assign", "'{acme}', 'team', '{west}'", true),
        ("tina", "role.assign", "'{globex}', 'team', '{east}'", false),
        ("tina", "role.assign", "'{acme}', 'team', '{east}'", false),
        ("tom", "role.assign", "'{acme}', 'team', '{west}'", true),
        ("tom", "role.assign", "'{acme}', 'team', '{south}'", false),
        ("tom", "role.assign", "'{acme}', 'organization', '{hq}'", false),
        ("alice", "case.view", "'{acme}', 'team', '{west}'", true),
        ("alice", "case.view", "'{acme}', 'team', '{north}'", false),
        ("ghost", "case.view", "'{acme}', 'team', '{north}'", false),
    ] {
        let other: bool = value(
            &mut c,
            &with_ids(&format!(
                "SELECT authz.principal_holds('{{{who}}}', '{permission}', {place})"
            )),
            &[],
        );
        assert_eq!(other, expected, "{who} {permission} {place}");
        act_as(&mut c, who);
        let own: bool = value(
            &mut c,
            &with_ids(&format!("SELECT authz.holds('{permission}', {place})")),
            &[],
        );
        assert_eq!(own, expected, "{who} {permission} {place}");
        execute(&mut c, "SELECT authz_clear_session()");
    }
    refused(
        &mut c,
        &with_ids("SELECT authz.principal_holds('{root}', 'role.asign', NULL, 'platform', NULL)"),
        "42704",
        &["role.assign"],
    );
    refused(
        &mut c,
        &with_ids("SELECT authz.principal_holds('{root}', 'role.assign', '{acme}', 'tennant', 'x')"),
        "42704",
        &["tenant"],
    );
    let none: bool = value(
        &mut c,
        &with_ids("SELECT authz.holds('role.assign', NULL, 'platform', NULL)"),
        &[],
    );
    assert!(!none, "without a session");
}
