//! Functions that change authority (R10, R15 to R18, R31, R51): who may, what is refused, and what two at once do.

use std::sync::{Arc, Barrier};
use std::thread;

use authz_tests::make::{self, can, id};
use authz_tests::office::{Office, act_as, done, made, recorded, refused_and_recorded, with_ids};
use authz_tests::{execute, refused, report, value};
use postgres::Client;
use serde_json::Value;

/// A refused call: who, the call, SQLSTATE, and a word of the message.
type Refusal = (&'static str, &'static str, &'static str, &'static str);

#[track_caller]
fn all_refused(office: &Office, refusals: &[Refusal]) {
    let mut owner = office.owner();
    let before = authority(&mut owner);
    for (who, call, sqlstate, word) in refusals {
        let mut c = office.as_(who);
        refused_and_recorded(&mut c, call, sqlstate, &[word]);
    }
    assert_eq!(authority(&mut owner), before, "something was done");
}

/// Every row that grants authority, and the number of change events.
fn authority(c: &mut Client) -> Vec<String> {
    let tables = [
        "tenant_membership",
        "team_membership_history",
        "role_definition",
        "role_inheritance",
        "permission_definition",
        "permission_implication",
        "role_permission",
        "principal_role_assignment",
        "resource_access_grant",
        "resource_access_rule",
        "principal",
        "access_change_event",
    ];
    let mut rows = Vec::new();
    for table in tables {
        let found = c
            .query(&format!("SELECT t::text FROM authz.{table} AS t ORDER BY 1"), &[])
            .unwrap_or_else(|e| panic!("{}", report(&e)));
        rows.extend(found.iter().map(|row| format!("{table} {}", row.get::<_, String>(0))));
    }
    rows
}

/// Every call of the surface with good arguments, for somebody who may do all of it.
const CALLS: [&str; 21] = [
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

#[test]
fn what_is_refused_to_those_who_may() {
    let office = Office::open();
    execute(
        &mut office.owner(),
        &with_ids(
            "INSERT INTO authz.principal (principal_id, status) VALUES ('{gone}', 'deleted'), ('{off}', 'disabled');
             INSERT INTO authz.tenant_membership (tenant_id, principal_id) VALUES ('{acme}', '{off}');
             INSERT INTO authz.tenant_membership (tenant_id, principal_id, joined_at, expires_at)
             VALUES ('{acme}', '{nobody}', now() - interval '2 days', now() - interval '1 day')",
        ),
    );
    all_refused(
        &office,
        &[
            // What the giver does not hold: directly, through inheritance, by another scope.
            (
                "tina",
                "authz_assign_role('{alice}', 'approver', '{acme}')",
                "42501",
                "case.approve",
            ),
            (
                "tina",
                "authz_assign_role('{alice}', 'chief', '{acme}')",
                "42501",
                "case.approve",
            ),
            (
                "tina",
                "authz_assign_role('{alice}', 'authz.administrator', '{acme}')",
                "42501",
                "permission.manage",
            ),
            (
                "tom",
                "authz_assign_role('{alice}', 'editor', '{acme}', 'team', '{north}')",
                "42501",
                "case.edit",
            ),
            (
                "tom",
                "authz_assign_role('{alice}', 'viewer', '{acme}')",
                "42501",
                "permission denied",
            ),
            (
                "tom",
                "authz_assign_role('{alice}', 'viewer', '{acme}', 'team', '{south}')",
                "42501",
                "permission denied",
            ),
            (
                "tom",
                "authz_join_team('{alice}', '{south}', '{acme}')",
                "42501",
                "permission denied",
            ),
            (
                "tom",
                "authz_assign_role('{alice}', 'manager', '{acme}', 'team', '{north}')",
                "42501",
                "rule.manage",
            ),
            (
                "root",
                "authz_assign_role('{alice}', 'viewer', '{acme}')",
                "42501",
                "case.view",
            ),
            (
                "root",
                "authz_allow_role('viewer', 'case.approve')",
                "42501",
                "case.approve",
            ),
            ("root", "authz_inherit_role('viewer', 'chief')", "42501", "case.approve"),
            (
                "root",
                "authz_imply_permission('role.manage', 'case.view')",
                "42501",
                "case.view",
            ),
            (
                "tina",
                "authz_share('case', '{affair}', 'case.approve', 'principal', '{alice}', '{acme}')",
                "42501",
                "case.approve",
            ),
            (
                "tina",
                "authz_share('case', '{affair}', 'case.admin', 'principal', '{alice}', '{acme}')",
                "42501",
                "case.admin",
            ),
            (
                "tina",
                "authz_share('case', '{secret}', 'case.view', 'principal', '{alice}', '{acme}')",
                "42501",
                "permission denied",
            ),
            (
                "tina",
                "authz_share('tenant', '{acme}', 'tenant.admin', 'principal', '{alice}', '{acme}')",
                "42501",
                "tenant.admin",
            ),
            // To those who are not members, in the same words whether they exist or not.
            (
                "tina",
                "authz_assign_role('{gus}', 'viewer', '{acme}')",
                "42501",
                "no such member",
            ),
            (
                "tina",
                "authz_assign_role('{ghost}', 'viewer', '{acme}')",
                "42501",
                "no such member",
            ),
            (
                "tina",
                "authz_assign_role('{off}', 'viewer', '{acme}')",
                "42501",
                "no such member",
            ),
            (
                "tina",
                "authz_assign_role('{nobody}', 'viewer', '{acme}')",
                "42501",
                "no such member",
            ),
            (
                "tina",
                "authz_join_team('{gus}', '{north}', '{acme}')",
                "42501",
                "no such member",
            ),
            (
                "tina",
                "authz_join_team('{ghost}', '{north}', '{acme}')",
                "42501",
                "no such member",
            ),
            (
                "tina",
                "authz_share('case', '{affair}', 'case.view', 'principal', '{gus}', '{acme}')",
                "42501",
                "no such member",
            ),
            (
                "tina",
                "authz_share('case', '{affair}', 'case.view', 'principal', '{ghost}', '{acme}')",
                "42501",
                "no such member",
            ),
            (
                "tina",
                "authz_share('case', '{affair}', 'case.view', 'team', '{east}', '{acme}')",
                "42501",
                "no such team",
            ),
            (
                "tina",
                "authz_share('case', '{affair}', 'case.view', 'organization', '{east}', '{acme}')",
                "42501",
                "no such organization",
            ),
            (
                "tina",
                "authz_deny('case', '{affair}', 'case.view', 'principal', '{gus}', '{acme}', reason => 'r')",
                "42501",
                "no such member",
            ),
            (
                "tina",
                "authz_suspend_member('{gus}', '{acme}', 'r')",
                "42501",
                "no such member",
            ),
            (
                "tina",
                "authz_revoke_member('{ghost}', '{acme}', 'r')",
                "42501",
                "no such member",
            ),
            (
                "tina",
                "authz_leave_team('{alice}', '{north}', '{acme}', 'r')",
                "42501",
                "no such member",
            ),
            (
                "tina",
                "authz_revoke_role('{alice}', 'viewer', '{acme}')",
                "42501",
                "no such role assignment",
            ),
            (
                "tina",
                "authz_transfer_ownership('case', '{affair}', '{gus}', '{acme}', 'r')",
                "42501",
                "no such member",
            ),
            (
                "tina",
                "authz_transfer_ownership('case', '{affair}', '{east}', '{acme}', 'r')",
                "42501",
                "no such member",
            ),
            (
                "tina",
                "authz_add_member('{ghost}', '{acme}')",
                "42501",
                "no such member",
            ),
            (
                "tina",
                "authz_add_member('{gone}', '{acme}')",
                "42501",
                "no such member",
            ),
            (
                "root",
                "authz_set_principal_status('{ghost}', 'suspended', 'r')",
                "42501",
                "no such principal",
            ),
            (
                "root",
                "authz_set_principal_status('{gone}', 'active', 'r')",
                "55000",
                "deleted",
            ),
            // To oneself.
            (
                "tina",
                "authz_assign_role('{tina}', 'viewer', '{acme}')",
                "42501",
                "own authority",
            ),
            (
                "tina",
                "authz_revoke_role('{tina}', 'editor', '{acme}')",
                "42501",
                "own authority",
            ),
            (
                "tina",
                "authz_join_team('{tina}', '{north}', '{acme}')",
                "42501",
                "own authority",
            ),
            (
                "tom",
                "authz_leave_team('{tom}', '{north}', '{acme}')",
                "42501",
                "own authority",
            ),
            (
                "tina",
                "authz_share('case', '{affair}', 'case.view', 'principal', '{tina}', '{acme}')",
                "42501",
                "own authority",
            ),
            (
                "tina",
                "authz_suspend_member('{tina}', '{acme}', 'r')",
                "42501",
                "own authority",
            ),
            (
                "tina",
                "authz_revoke_member('{tina}', '{acme}', 'r')",
                "42501",
                "own authority",
            ),
            (
                "tina",
                "authz_transfer_ownership('case', '{affair}', '{tina}', '{acme}', 'r')",
                "42501",
                "own authority",
            ),
            ("root", "authz_add_member('{root}', '{acme}')", "42501", "own authority"),
            (
                "root",
                "authz_set_principal_status('{root}', 'active', 'r')",
                "42501",
                "own authority",
            ),
            (
                "root",
                "authz_assign_role('{root}', 'authz.administrator', scope_type => 'platform')",
                "42501",
                "own authority",
            ),
            // Expiry in the past.
            (
                "tina",
                "authz_assign_role('{alice}', 'viewer', '{acme}', expires => now() - interval '1 second')",
                "22023",
                "past",
            ),
            (
                "tina",
                "authz_assign_role('{alice}', 'viewer', '{acme}', expires => now())",
                "22023",
                "past",
            ),
            (
                "tina",
                "authz_assign_role('{alice}', 'viewer', '{acme}', expires => '-infinity')",
                "22023",
                "past",
            ),
            (
                "tina",
                "authz_add_member('{nobody}', '{acme}', expires => now() - interval '1 second')",
                "22023",
                "past",
            ),
            (
                "tina",
                "authz_join_team('{alice}', '{north}', '{acme}', expires => now())",
                "22023",
                "past",
            ),
            (
                "tina",
                "authz_share('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}', expires => now())",
                "22023",
                "past",
            ),
            (
                "tina",
                "authz_deny('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}', expires => now(), reason => 'r')",
                "22023",
                "past",
            ),
            (
                "root",
                "authz_inherit_role('chief', 'viewer', expires => now())",
                "22023",
                "past",
            ),
            (
                "root",
                "authz_allow_role('viewer', 'member.manage', expires => now())",
                "22023",
                "past",
            ),
            (
                "root",
                "authz_set_principal_status('{alice}', 'locked', 'r', locked_until => now())",
                "22023",
                "past",
            ),
            // Resources and scopes that are not there.
            (
                "tina",
                "authz_share('case', '{nothing}', 'case.view', 'principal', '{alice}', '{acme}')",
                "42501",
                "permission denied",
            ),
            (
                "tina",
                "authz_share('case', '{feud}', 'case.view', 'principal', '{alice}', '{acme}')",
                "42501",
                "permission denied",
            ),
            (
                "tina",
                "authz_share('case', '{feud}', 'case.view', 'principal', '{alice}', '{globex}')",
                "42501",
                "permission denied",
            ),
            (
                "tina",
                "authz_share('case', upper('{affair}'), 'case.view', 'principal', '{alice}', '{acme}')",
                "42501",
                "permission denied",
            ),
            (
                "tina",
                "authz_assign_role('{alice}', 'viewer', '{acme}', 'case', '{nothing}')",
                "42501",
                "permission denied",
            ),
            (
                "tina",
                "authz_assign_role('{alice}', 'viewer', '{acme}', 'team', '{nothing}')",
                "42501",
                "permission denied",
            ),
            (
                "tina",
                "authz_deny('case', '{nothing}', 'case.view', 'principal', '{alice}', '{acme}', reason => 'r')",
                "42501",
                "permission denied",
            ),
            (
                "tina",
                "authz_transfer_ownership('case', '{nothing}', '{alice}', '{acme}', 'r')",
                "42501",
                "permission denied",
            ),
            ("tina", "authz_unshare('{nothing}')", "42501", "permission denied"),
            ("tina", "authz_remove_rule('{nothing}')", "42501", "permission denied"),
            (
                "tina",
                "authz_revoke_role('{nothing}'::uuid)",
                "42501",
                "permission denied",
            ),
            // Reasons: blank ones always, none where one is required.
            (
                "tina",
                "authz_assign_role('{alice}', 'viewer', '{acme}', reason => '')",
                "22023",
                "blank",
            ),
            (
                "tina",
                "authz_assign_role('{alice}', 'viewer', '{acme}', reason => E' \\t\\n ')",
                "22023",
                "blank",
            ),
            (
                "tina",
                "authz_add_member('{nobody}', '{acme}', reason => ' ')",
                "22023",
                "blank",
            ),
            ("tina", "authz_suspend_member('{alice}', '{acme}')", "22023", "required"),
            (
                "tina",
                "authz_suspend_member('{alice}', '{acme}', '  ')",
                "22023",
                "blank",
            ),
            ("tina", "authz_revoke_member('{alice}', '{acme}')", "22023", "required"),
            (
                "tina",
                "authz_deny('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}')",
                "22023",
                "required",
            ),
            (
                "tina",
                "authz_deny('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}', reason => ' ')",
                "22023",
                "blank",
            ),
            (
                "tina",
                "authz_transfer_ownership('case', '{affair}', '{alice}', '{acme}')",
                "22023",
                "required",
            ),
            (
                "root",
                "authz_set_principal_status('{alice}', 'suspended')",
                "22023",
                "required",
            ),
            (
                "root",
                "authz_set_principal_status('{alice}', 'suspended', '')",
                "22023",
                "blank",
            ),
            // What is malformed or unknown.
            (
                "tina",
                "authz_assign_role(NULL, 'viewer', '{acme}')",
                "22023",
                "principal",
            ),
            ("tina", "authz_assign_role('{alice}', NULL, '{acme}')", "22023", "role"),
            ("tina", "authz_assign_role('{alice}', 'viewer')", "22023", "tenant"),
            (
                "tina",
                "authz_assign_role('{alice}', 'viewer', '{acme}', NULL)",
                "22023",
                "scope_type",
            ),
            (
                "tina",
                "authz_assign_role('{alice}', 'viewer', '{acme}', 'team')",
                "22023",
                "scope_id",
            ),
            (
                "tina",
                "authz_assign_role('{alice}', 'viewer', '{acme}', 'platform')",
                "22023",
                "platform",
            ),
            (
                "tina",
                "authz_assign_role('{alice}', 'vewer', '{acme}')",
                "42704",
                "vewer",
            ),
            (
                "tina",
                "authz_join_team('{alice}', '{north}', '{acme}', 'vewer')",
                "42704",
                "vewer",
            ),
            (
                "tina",
                "authz_add_member('{nobody}', '{acme}', 'guest')",
                "22023",
                "guest",
            ),
            (
                "tina",
                "authz_share('case', '{affair}', 'case.view', 'any', '{alice}', '{acme}')",
                "22023",
                "any",
            ),
            (
                "tina",
                "authz_share('case', '{affair}', 'case.view', 'principal', upper('{alice}'), '{acme}')",
                "22023",
                "grantee",
            ),
            (
                "tina",
                "authz_share('case', '{affair}', 'case.view', 'role', 'vewer', '{acme}')",
                "42704",
                "vewer",
            ),
            (
                "tina",
                "authz_deny('case', '{affair}', 'case.view', 'any', '{alice}', '{acme}', reason => 'r')",
                "22023",
                "everybody",
            ),
            (
                "tina",
                "authz_deny('cse', NULL, 'case.view', 'any', NULL, '{acme}', reason => 'r')",
                "42704",
                "cse",
            ),
            (
                "tina",
                "authz_deny('case', '{affair}', 'case.view', 'principal', NULL, '{acme}', reason => 'r')",
                "22023",
                "grantee_id",
            ),
            ("root", "authz_define_role('')", "22023", "role code"),
            ("root", "authz_define_role(' x')", "22023", "role code"),
            ("root", "authz_define_role('authz.x')", "22023", "role code"),
            ("root", "authz_define_permission('nodot')", "22023", "nodot"),
            ("root", "authz_define_permission('a b.c')", "22023", "permission"),
            (
                "root",
                "authz_define_permission('a.c', access_mode => 'x')",
                "22023",
                "permission",
            ),
            (
                "root",
                "authz_set_principal_status('{alice}', 'retired', 'r')",
                "22023",
                "retired",
            ),
            ("root", "authz_allow_role('vewer', 'member.manage')", "42704", "vewer"),
            ("root", "authz_inherit_role('chief', 'vewer')", "42704", "vewer"),
            (
                "root",
                "authz_disallow_role('viewer', 'case.edit')",
                "42704",
                "does not have",
            ),
            (
                "root",
                "authz_disinherit_role('viewer', 'editor')",
                "42704",
                "does not inherit",
            ),
            // System roles are the database owner's.
            (
                "root",
                "authz_allow_role('authz.administrator', 'member.manage')",
                "55000",
                "system role",
            ),
            (
                "root",
                "authz_disallow_role('authz.administrator', 'member.manage')",
                "55000",
                "system role",
            ),
            (
                "root",
                "authz_inherit_role('authz.administrator', 'viewer')",
                "55000",
                "system role",
            ),
            (
                "root",
                "authz_disinherit_role('authz.administrator', 'viewer')",
                "55000",
                "system role",
            ),
        ],
    );
    // What a constraint, a trigger or the library finds is a refused attempt as well.
    execute(
        &mut office.owner(),
        "INSERT INTO authz.sod_constraint (constraint_name, role_codes) VALUES ('four eyes', '{viewer,editor}')",
    );
    made(
        &mut office.as_("tina"),
        "authz_assign_role('{alice}', 'viewer', '{acme}')",
    );
    all_refused(
        &office,
        &[
            ("root", "authz_define_role('viewer')", "23505", "duplicate"),
            ("root", "authz_define_permission('case.view')", "23505", "duplicate"),
            ("tina", "authz_add_member('{alice}', '{acme}')", "23505", "duplicate"),
            (
                "tina",
                "authz_assign_role('{alice}', 'viewer', '{acme}')",
                "23505",
                "duplicate",
            ),
            (
                "tina",
                "authz_assign_role('{alice}', 'editor', '{acme}')",
                "23514",
                "four eyes",
            ),
            (
                "tina",
                "authz_share('cse', '{affair}', 'case.view', 'principal', '{alice}', '{acme}')",
                "42704",
                "cse",
            ),
            (
                "tina",
                "authz_share('case', '{affair}', 'case.veiw', 'principal', '{alice}', '{acme}')",
                "42704",
                "case.view",
            ),
            (
                "tina",
                "authz_deny('case', NULL, 'case.veiw', 'any', NULL, '{acme}', reason => 'r')",
                "42704",
                "case.view",
            ),
            ("root", "authz_allow_role('viewer', 'case.veiw')", "42704", "case.view"),
            (
                "root",
                "authz_imply_permission('case.veiw', 'member.manage')",
                "42704",
                "case.view",
            ),
            (
                "root",
                "authz_imply_permission('member.manage', 'member.manage')",
                "23514",
                "cycle",
            ),
            (
                "root",
                "authz_allow_role('viewer', 'member.manage', 'context.mfa ==')",
                "22023",
                "CEL",
            ),
            (
                "root",
                "authz_inherit_role('authz.administrator', 'authz.administrator')",
                "55000",
                "system role",
            ),
        ],
    );
}

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

/// The model can be changed by functions alone, from a permission that is new to somebody who uses it.
#[test]
fn a_model_is_made_by_functions() {
    let office = Office::open();
    let mut owner = office.owner();
    let mut root = office.as_("root");
    for call in [
        "authz_define_role('clerk', 'Clerk', reason => 'new')",
        "authz_define_permission('letter.open', 'Open letters.')",
        "authz_define_permission('letter.send')",
        "authz_imply_permission('letter.send', 'letter.open')",
        "authz_define_role('post')",
    ] {
        done(&mut root, call);
    }
    // Somebody else who may manage roles did not define it: to him it is a permission like any other.
    execute(
        &mut owner,
        &with_ids(
            "INSERT INTO authz.principal (principal_id) VALUES ('{ruth}');
             SELECT authz_bootstrap_administrator('{ruth}', 'the second one')",
        ),
    );
    refused_and_recorded(
        &mut office.as_("ruth"),
        "authz_allow_role('clerk', 'letter.send')",
        "42501",
        &["letter.send"],
    );
    made(&mut root, "authz_allow_role('clerk', 'letter.send')");
    // Handed out once, it follows the ordinary rule: root does not hold it.
    refused_and_recorded(
        &mut root,
        "authz_allow_role('post', 'letter.send')",
        "42501",
        &["letter.send"],
    );
    refused_and_recorded(
        &mut root,
        "authz_inherit_role('post', 'clerk')",
        "42501",
        &["letter.send"],
    );
    refused_and_recorded(
        &mut root,
        "authz_assign_role('{alice}', 'clerk', '{acme}')",
        "42501",
        &["letter.send"],
    );
    make::assign_platform(&mut owner, id("root"), "clerk");
    made(&mut root, "authz_inherit_role('post', 'clerk')");
    refused(
        &mut root,
        "SELECT authz_inherit_role('clerk', 'post')",
        "23514",
        &["cycle"],
    );
    made(&mut root, "authz_assign_role('{alice}', 'post', '{acme}')");
    done(&mut root, "authz_disinherit_role('post', 'clerk', 'wrong')");
    made(
        &mut root,
        "authz_allow_role('post', 'letter.open', 'resource.open', '{\"max_records\": 5}')",
    );
    done(&mut root, "authz_disallow_role('clerk', 'letter.send')");
    let row = owner
        .query_one(
            "SELECT condition, obligations FROM authz.role_permission WHERE role_code = 'post'",
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, &str>(0), "resource.open");
    assert_eq!(row.get::<_, Value>(1)["max_records"], 5);
}

/// Terms travel with what is handed on: a condition or an obligation cannot be shaken off by giving the role to
/// somebody else.
#[test]
fn conditions_and_obligations_are_not_shaken_off() {
    let office = Office::open();
    let mut owner = office.owner();
    execute(
        &mut owner,
        &with_ids(
            "INSERT INTO authz.role_definition (role_code) VALUES ('by_day'), ('also_by_day'), ('by_night'), ('few'), ('fewer');
             INSERT INTO authz.role_permission (role_code, permission_code, condition, obligations) VALUES
                 ('by_day', 'case.view', 'context.day == true', NULL),
                 ('also_by_day', 'case.view', 'context.day == true', NULL),
                 ('by_night', 'case.view', 'context.day == false', NULL),
                 ('few', 'case.view', NULL, '{\"max_records\": 5}'), ('fewer', 'case.view', NULL, '{\"max_records\": 1}');
             INSERT INTO authz.role_definition (role_code) VALUES ('giver');
             INSERT INTO authz.role_permission (role_code, permission_code) VALUES ('giver', 'role.assign'), ('giver', 'grant.create')",
        ),
    );
    for (who, role) in [("ann", "by_day"), ("ben", "few")] {
        make::member(&mut owner, id("acme"), who);
        make::assign(&mut owner, id("acme"), id(who), role, "tenant", id("acme"));
        make::assign(&mut owner, id("acme"), id(who), "giver", "tenant", id("acme"));
    }
    all_refused(
        &office,
        &[
            (
                "ann",
                "authz_assign_role('{alice}', 'viewer', '{acme}')",
                "42501",
                "case.view",
            ),
            (
                "ann",
                "authz_assign_role('{alice}', 'by_night', '{acme}')",
                "42501",
                "case.view",
            ),
            (
                "ann",
                "authz_assign_role('{alice}', 'few', '{acme}')",
                "42501",
                "case.view",
            ),
            (
                "ann",
                "authz_share('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}')",
                "42501",
                "case.view",
            ),
            (
                "ben",
                "authz_assign_role('{alice}', 'viewer', '{acme}')",
                "42501",
                "case.view",
            ),
            (
                "ben",
                "authz_assign_role('{alice}', 'fewer', '{acme}')",
                "42501",
                "case.view",
            ),
            (
                "ben",
                "authz_assign_role('{alice}', 'by_day', '{acme}')",
                "42501",
                "case.view",
            ),
            (
                "ben",
                "authz_share('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}')",
                "42501",
                "case.view",
            ),
        ],
    );
    made(
        &mut office.as_("ann"),
        "authz_assign_role('{alice}', 'by_day', '{acme}')",
    );
    made(
        &mut office.as_("ann"),
        "authz_assign_role('{alice}', 'also_by_day', '{acme}')",
    );
    made(&mut office.as_("ben"), "authz_assign_role('{alice}', 'few', '{acme}')");
}

/// What a privileged session lends is not handed on, and gives no say over authority (R31).
#[test]
fn a_privileged_session_gives_no_say_over_authority() {
    let office = Office::open();
    execute(
        &mut office.owner(),
        &with_ids(
            "INSERT INTO authz.privileged_access_session
                 (session_kind, principal_id, access_reason, includes_sensitive, approved_by, approved_at, started_at, expires_at)
             VALUES ('break_glass', '{bob}', 'fire', true, '{root}', now(), now(), now() + interval '1 hour')",
        ),
    );
    let mut owner = office.owner();
    assert!(
        can(&mut owner, id("bob"), "case.edit", id("affair")),
        "the session works"
    );
    let mut bob = office.as_("bob");
    for call in CALLS {
        refused_and_recorded(&mut bob, call, "42501", &["permission denied"]);
    }
    // Nor does it add to what an administrator may hand on.
    execute(
        &mut owner,
        &with_ids(
            "INSERT INTO authz.privileged_access_session (session_kind, principal_id, access_reason, started_at, expires_at)
             VALUES ('break_glass', '{tina}', 'fire', now(), now() + interval '1 hour')",
        ),
    );
    assert!(can(&mut owner, id("tina"), "case.comment", id("affair")));
    refused_and_recorded(
        &mut office.as_("tina"),
        "authz_assign_role('{alice}', 'approver', '{acme}')",
        "42501",
        &["case.approve"],
    );
}

/// A role is a subject as well: whoever is given it gets what was granted to it, anywhere in the tenant.
#[test]
fn a_role_brings_what_was_granted_to_it() {
    let office = Office::open();
    let mut owner = office.owner();
    make::role(&mut owner, "group", &[]);
    make::role(&mut owner, "wider", &[]);
    make::inherit(&mut owner, "wider", "group");
    let grant = make::grant(
        &mut owner,
        id("acme"),
        ("case", id("affair")),
        ("role", "group"),
        "case.view",
    );
    for role in ["group", "wider"] {
        refused_and_recorded(
            &mut office.as_("tom"),
            &format!("authz_assign_role('{{alice}}', '{role}', '{{acme}}', 'team', '{{north}}')"),
            "42501",
            &["affair".replace("affair", &id("affair").to_string()).as_str()],
        );
    }
    made(
        &mut office.as_("tina"),
        "authz_assign_role('{alice}', 'group', '{acme}')",
    );
    make::revoke_grant(&mut owner, grant);
    made(
        &mut office.as_("tom"),
        "authz_assign_role('{alice}', 'wider', '{acme}', 'team', '{north}')",
    );
    make::rule(
        &mut owner,
        id("acme"),
        "allow",
        0,
        ("case", None),
        ("role", Some("group")),
        Some("case.edit"),
    );
    refused_and_recorded(
        &mut office.as_("tom"),
        "authz_assign_role('{bob}', 'wider', '{acme}', 'team', '{north}')",
        "42501",
        &["case.edit"],
    );
}

/// A role whose permissions begin later brings those, too: to assign it today is to give them tomorrow.
#[test]
fn a_role_brings_what_it_will_have_later() {
    let office = Office::open();
    let mut owner = office.owner();
    for role in ["sleeper", "wider", "heir", "past"] {
        make::role(&mut owner, role, &[]);
    }
    execute(
        &mut owner,
        "INSERT INTO authz.role_permission (role_code, permission_code, valid_from, valid_until)
         VALUES ('sleeper', 'case.approve', now() + interval '1 day', NULL),
                ('past', 'case.approve', now() - interval '2 days', now() - interval '1 day');
         INSERT INTO authz.role_inheritance (role_code, inherited_role_code, valid_from)
         VALUES ('wider', 'sleeper', now()), ('heir', 'approver', now() + interval '1 day')",
    );
    for role in ["sleeper", "wider", "heir"] {
        refused_and_recorded(
            &mut office.as_("tina"),
            &format!("authz_assign_role('{{alice}}', '{role}', '{{acme}}')"),
            "42501",
            &["case.approve"],
        );
    }
    made(
        &mut office.as_("tina"),
        "authz_assign_role('{alice}', 'past', '{acme}')",
    );
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

/// What cannot be seen is no reason, and no end of a role's code, in every locale.
#[test]
fn blanks_that_are_no_spaces_are_blanks() {
    let office = Office::open();
    let (mut tina, mut root) = (office.as_("tina"), office.as_("root"));
    for blank in [
        "",
        " \t\n",
        "\u{a0}\u{2003}",
        "\u{200b}\u{2060}",
        "\u{3000}",
        "\u{feff}",
        "\u{2800}\u{3164}",
    ] {
        refused_and_recorded(
            &mut tina,
            &format!("authz_assign_role('{{alice}}', 'viewer', '{{acme}}', reason => '{blank}')"),
            "22023",
            &["blank"],
        );
        refused_and_recorded(
            &mut root,
            &format!("authz_define_role('viewer{blank}\u{202e}')"),
            "22023",
            &["code"],
        );
    }
    for reason in ["я", "因", "é", "-", " .\u{a0}"] {
        let assignment = made(
            &mut tina,
            &format!("authz_assign_role('{{alice}}', 'viewer', '{{acme}}', reason => '{reason}')"),
        );
        done(&mut tina, &format!("authz_revoke_role('{assignment}')"));
    }
    let _: String = value(&mut root, "SELECT authz_define_role('Prüfer 2')", &[]);
}

/// Whoever may create functions in the extension's schema can make calls ambiguous, and keep nobody from revoking by it.
#[test]
fn planted_overloads_keep_nobody_from_revoking() {
    let office = Office::open();
    let mut owner = office.owner();
    let assignment = made(
        &mut office.as_("tina"),
        "authz_assign_role('{alice}', 'editor', '{acme}')",
    );
    execute(
        &mut owner,
        &format!("GRANT CREATE ON SCHEMA public TO {}", office.role()),
    );
    let mut tina = office.as_("tina");
    for signature in [
        "authz_principal(a integer DEFAULT 1)",
        "authz_tenant(a integer DEFAULT 1)",
    ] {
        execute(
            &mut office.stranger(),
            &format!("CREATE FUNCTION public.{signature} RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'"),
        );
    }
    refused(&mut owner, "SELECT authz_principal()", "42725", &[]);
    done(&mut tina, &format!("authz_revoke_role('{assignment}')"));
    execute(
        &mut owner,
        "UPDATE authz.principal_role_assignment SET revoked_at = clock_timestamp() WHERE role_code = 'manager'",
    );
    refused_and_recorded(
        &mut tina,
        "authz_assign_role('{alice}', 'editor', '{acme}')",
        "42501",
        &[],
    );
    let events: i64 = value(
        &mut owner,
        "SELECT count(*) FROM authz.access_change_event WHERE change_type = 'close'",
        &[],
    );
    assert_eq!(events, 3);
}

/// Nobody lifts a deny from himself, directly or through a team or role that it addresses.
#[test]
fn nobody_lifts_a_deny_from_himself() {
    let office = Office::open();
    let mut owner = office.owner();
    make::join_team(&mut owner, id("acme"), id("north"), id("tina"));
    make::member(&mut owner, id("acme"), "tess");
    make::assign(&mut owner, id("acme"), id("tess"), "manager", "tenant", id("acme"));
    let north = id("north").to_string();
    let tina = id("tina").to_string();
    for grantee in [("principal", tina.as_str()), ("team", &north), ("role", "editor")] {
        let rule = make::rule(
            &mut owner,
            id("acme"),
            "deny",
            0,
            ("case", Some(id("affair"))),
            (grantee.0, Some(grantee.1)),
            Some("case.edit"),
        );
        refused_and_recorded(
            &mut office.as_("tina"),
            &format!("authz_remove_rule('{rule}', 'r')"),
            "42501",
            &["own authority"],
        );
        done(&mut office.as_("tess"), &format!("authz_remove_rule('{rule}', 'r')"));
    }
}

/// The owner's column is written past the table's policies and as the table's owner, who learns nothing by it.
#[test]
fn ownership_is_transferred() {
    let office = Office::open();
    let mut owner = office.owner();
    let table_owner = office.db.role();
    execute(
        &mut owner,
        &format!(
            "UPDATE authz.resource_type SET owner_role = 'editor' WHERE resource_type = 'case';
             ALTER TABLE case_record OWNER TO {table_owner};
             GRANT CREATE ON SCHEMA public TO {table_owner};
             ALTER TABLE case_record ENABLE ROW LEVEL SECURITY;
             ALTER TABLE case_record FORCE ROW LEVEL SECURITY"
        ),
    );
    // A trigger of the table's owner does not run as the owner of the extension.
    execute(
        &mut office.db.connect_as(&table_owner),
        "CREATE TABLE public.ran_as (who name);
         CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO public.ran_as VALUES (current_user); RETURN NEW; END $$;
         CREATE TRIGGER spy BEFORE UPDATE ON public.case_record FOR EACH ROW EXECUTE FUNCTION public.spy()",
    );
    let mut tina = office.as_("tina");
    done(
        &mut tina,
        "authz_transfer_ownership('case', '{affair}', '{alice}', '{acme}', 'she knows it')",
    );
    let who: String = value(&mut owner, "SELECT DISTINCT who::text FROM public.ran_as", &[]);
    // Nor would the view that the table may have become while somebody waited.
    let reader: String = value(
        &mut owner,
        &format!(
            "SELECT authz.lock_owner('{table_owner}'::regrole, 'SELECT current_user::text WHERE $1 <> $2::text', 'key', gen_random_uuid())"
        ),
        &[],
    );
    assert_eq!(reader, table_owner);
    assert_eq!(who, table_owner);
    assert!(can(&mut owner, id("alice"), "case.edit", id("affair")), "by ownership");
    refused_and_recorded(
        &mut tina,
        "authz_transfer_ownership('case', '{affair}', '{alice}', '{acme}', 'again')",
        "55000",
        &["already"],
    );
    done(
        &mut tina,
        "authz_transfer_ownership('case', '{affair}', '{north}', '{acme}', 'to the team')",
    );
    assert!(!can(&mut owner, id("alice"), "case.edit", id("affair")));
    // What the owner's role has must be held by whoever gives the resource away.
    make::role(&mut owner, "keeper", &["ownership.transfer"]);
    make::assign(&mut owner, id("acme"), id("bob"), "keeper", "tenant", id("acme"));
    refused_and_recorded(
        &mut office.as_("bob"),
        "authz_transfer_ownership('case', '{affair}', '{alice}', '{acme}', 'r')",
        "42501",
        &["case.edit"],
    );
    let events = owner
        .query(
            "SELECT before_value ->> 'owner', after_value ->> 'owner', reason, actor_id, tenant_id, scope_type, scope_id,
                    target_principal_id
               FROM authz.access_change_event WHERE change_type = 'transfer' ORDER BY occurred_at",
            &[],
        )
        .unwrap();
    assert_eq!(events.len(), 2);
    let (alice, north) = (id("alice").to_string(), id("north").to_string());
    assert_eq!(events[0].get::<_, Option<&str>>(0), None);
    assert_eq!(events[0].get::<_, &str>(1), alice);
    assert_eq!(events[0].get::<_, &str>(2), "she knows it");
    assert_eq!(events[0].get::<_, Option<uuid::Uuid>>(7), Some(id("alice")));
    assert_eq!(events[1].get::<_, &str>(0), alice);
    assert_eq!(events[1].get::<_, &str>(1), north);
    assert_eq!(events[1].get::<_, uuid::Uuid>(3), id("tina"));
    assert_eq!(events[1].get::<_, uuid::Uuid>(4), id("acme"));
    assert_eq!(
        (events[1].get::<_, &str>(5), events[1].get::<_, &str>(6)),
        ("case", id("affair").to_string().as_str())
    );
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

/// Runs the calls at once, each in a session of somebody; how they ended.
fn at_once(office: &Office, calls: &[(&'static str, String)]) -> Vec<Result<(), String>> {
    let start = Arc::new(Barrier::new(calls.len()));
    let threads: Vec<_> = calls
        .iter()
        .map(|(who, call)| {
            let (mut c, call, start) = (office.as_(who), with_ids(call), start.clone());
            thread::spawn(move || {
                start.wait();
                c.batch_execute(&format!("SELECT {call}"))
                    .map_err(|e| e.code().map_or_else(|| e.to_string(), |code| code.code().to_owned()))
            })
        })
        .collect();
    threads.into_iter().map(|t| t.join().unwrap()).collect()
}

/// Two at once: one does it, the other is told that it is done (R19, PITFALLS 39).
#[test]
fn two_at_once_do_it_once() {
    let office = Office::open();
    let mut owner = office.owner();
    for round in 0..10 {
        for call in [
            "authz_assign_role('{alice}', 'viewer', '{acme}')",
            "authz_revoke_role('{alice}', 'viewer', '{acme}')",
            "authz_join_team('{alice}', '{north}', '{acme}')",
            "authz_share('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}')",
            "authz_leave_team('{alice}', '{north}', '{acme}')",
            "authz_suspend_member('{alice}', '{acme}', 'r')",
            "authz_revoke_member('{alice}', '{acme}', 'r')",
            "authz_add_member('{alice}', '{acme}')",
        ] {
            let calls: Vec<_> = (0..4).map(|_| ("tina", call.to_owned())).collect();
            let outcomes = at_once(&office, &calls);
            let done = outcomes.iter().filter(|o| o.is_ok()).count();
            assert_eq!(done, 1, "round {round}: {call}: {outcomes:?}");
            for outcome in outcomes.iter().filter_map(|o| o.as_ref().err()) {
                assert!(
                    ["23505", "23P01", "55000", "42501"].contains(&outcome.as_str()),
                    "{call}: {outcome}"
                );
            }
        }
        let open: i64 = value(
            &mut owner,
            "SELECT (SELECT count(*) FROM authz.principal_role_assignment WHERE principal_id = $1 AND active_until > now())
                  + (SELECT count(*) FROM authz.resource_access_grant WHERE grantee_principal_id = $1 AND active_until > now())
                  + (SELECT count(*) FROM authz.team_membership_history WHERE principal_id = $1 AND active_until > now())",
            &[&id("alice")],
        );
        assert_eq!(open, 0, "round {round}: what the revoked membership carried");
    }
}

/// A membership that ends while something is given to it takes that with it: nothing comes back to life later.
#[test]
fn giving_and_revoking_at_once_leave_nothing_open() {
    let office = Office::open();
    let mut owner = office.owner();
    for round in 0..25 {
        let outcomes = at_once(
            &office,
            &[
                ("tina", "authz_assign_role('{alice}', 'viewer', '{acme}')".to_owned()),
                ("tina", "authz_revoke_member('{alice}', '{acme}', 'r')".to_owned()),
                ("tina", "authz_join_team('{alice}', '{north}', '{acme}')".to_owned()),
                (
                    "tina",
                    "authz_share('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}')".to_owned(),
                ),
            ],
        );
        assert_eq!(outcomes[1], Ok(()), "round {round}");
        made(&mut office.as_("tina"), "authz_add_member('{alice}', '{acme}')");
        assert!(
            !can(&mut owner, id("alice"), "case.view", id("affair")),
            "round {round}: {outcomes:?}"
        );
        let open: i64 = value(
            &mut owner,
            "SELECT (SELECT count(*) FROM authz.principal_role_assignment WHERE principal_id = $1 AND active_until > now())
                  + (SELECT count(*) FROM authz.resource_access_grant WHERE grantee_principal_id = $1 AND active_until > now())
                  + (SELECT count(*) FROM authz.team_membership_history WHERE principal_id = $1 AND active_until > now())",
            &[&id("alice")],
        );
        assert_eq!(open, 0, "round {round}: {outcomes:?}");
    }
}

/// Whoever has lost the authority cannot use it any more, also in a transaction that was open before (R19).
#[test]
fn a_revoked_administrator_changes_nothing_more() {
    let office = Office::open();
    let mut tina = office.as_("tina");
    let mut owner = office.owner();
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        execute(
            &mut tina,
            &format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM pg_class"),
        );
        execute(
            &mut owner,
            &with_ids("UPDATE authz.tenant_membership SET status = 'suspended' WHERE principal_id = '{tina}'"),
        );
        refused(
            &mut tina,
            &with_ids("SELECT authz_assign_role('{alice}', 'viewer', '{acme}')"),
            "42501",
            &[],
        );
        execute(&mut tina, "ROLLBACK");
        execute(
            &mut owner,
            &with_ids("UPDATE authz.tenant_membership SET status = 'active' WHERE principal_id = '{tina}'"),
        );
    }
}

/// Names that somebody else made in the way do not change what the functions do (PITFALLS 16).
#[test]
fn shadows_do_not_deceive() {
    let office = Office::open();
    let role = office.role().to_owned();
    execute(
        &mut office.owner(),
        &format!(
            "CREATE SCHEMA AUTHORIZATION {role}; GRANT TEMPORARY ON DATABASE {} TO {role}",
            office.db.name
        ),
    );
    let mut c = office.stranger();
    execute(
        &mut c,
        &format!(
            "CREATE TEMP TABLE principal_role_assignment (a int); CREATE TEMP TABLE role_definition (role_code text);
             CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''-infinity''::timestamptz';
             CREATE FUNCTION {role}.holds(text, uuid, text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
             CREATE FUNCTION {role}.yes(uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
             CREATE OPERATOR {role}.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = {role}.yes);
             CREATE FUNCTION {role}.no(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
             CREATE OPERATOR {role}.!~ (LEFTARG = text, RIGHTARG = text, FUNCTION = {role}.no);
             SET search_path = {role}, pg_temp, pg_catalog, public"
        ),
    );
    for call in CALLS {
        refused_and_recorded(&mut c, &format!("public.{call}"), "42501", &["permission denied"]);
    }
    execute(
        &mut c,
        &format!("SELECT public.authz_set_session('{}', is_local => false)", id("tina")),
    );
    refused_and_recorded(
        &mut c,
        "public.authz_assign_role('{alice}', 'viewer', '{acme}', reason => ' ')",
        "22023",
        &["blank"],
    );
    refused_and_recorded(
        &mut c,
        "public.authz_assign_role('{gus}', 'viewer', '{acme}')",
        "42501",
        &[],
    );
    made(&mut c, "public.authz_assign_role('{alice}', 'viewer', '{acme}')");
}
