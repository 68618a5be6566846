//! What is refused to those who may, in which words; each refusal is recorded and changes nothing (R10, R15, R16, R51).

use crate::authority;
use authz_tests::office::{Office, done, made, refused_and_recorded, with_ids};
use authz_tests::{execute, value};

/// A refused call: who, the call, SQLSTATE, and a word of the message.
type Refusal = (&'static str, &'static str, &'static str, &'static str);

#[track_caller]
pub fn all_refused(office: &Office, refusals: &[Refusal]) {
    let mut owner = office.owner();
    let before = authority(&mut owner);
    for (who, call, sqlstate, word) in refusals {
        let mut c = office.as_(who);
        refused_and_recorded(&mut c, call, sqlstate, &[word]);
    }
    assert_eq!(authority(&mut owner), before, "something was done");
}

/// What the giver does not hold: directly, through inheritance, by another scope.
#[rustfmt::skip]
const NOT_HELD: &[Refusal] = &[
    ("tina", "authz_assign_role('{alice}', 'approver', '{acme}')", "42501", "case.approve"),
    ("tina", "authz_assign_role('{alice}', 'chief', '{acme}')", "42501", "case.approve"),
    ("tina", "authz_assign_role('{alice}', 'authz.administrator', '{acme}')", "42501", "permission.manage"),
    ("tom", "authz_assign_role('{alice}', 'editor', '{acme}', 'team', '{north}')", "42501", "case.edit"),
    ("tom", "authz_assign_role('{alice}', 'viewer', '{acme}')", "42501", "permission denied"),
    ("tom", "authz_assign_role('{alice}', 'viewer', '{acme}', 'team', '{south}')", "42501", "permission denied"),
    ("tom", "authz_join_team('{alice}', '{south}', '{acme}')", "42501", "permission denied"),
    ("tom", "authz_assign_role('{alice}', 'manager', '{acme}', 'team', '{north}')", "42501", "rule.manage"),
    ("root", "authz_assign_role('{alice}', 'viewer', '{acme}')", "42501", "case.view"),
    ("root", "authz_allow_role('viewer', 'case.approve')", "42501", "case.approve"),
    ("root", "authz_inherit_role('viewer', 'chief')", "42501", "case.approve"),
    ("root", "authz_imply_permission('role.manage', 'case.view')", "42501", "case.view"),
    ("tina", "authz_share('case', '{affair}', 'case.approve', 'principal', '{alice}', '{acme}')", "42501", "case.approve"),
    ("tina", "authz_share('case', '{affair}', 'case.admin', 'principal', '{alice}', '{acme}')", "42501", "case.admin"),
    ("tina", "authz_share('case', '{secret}', 'case.view', 'principal', '{alice}', '{acme}')", "42501", "permission denied"),
    ("tina", "authz_share('tenant', '{acme}', 'tenant.admin', 'principal', '{alice}', '{acme}')", "42501", "tenant.admin"),
];

/// To those who are not members, in the same words whether they exist or not.
#[rustfmt::skip]
const NO_MEMBER: &[Refusal] = &[
    ("tina", "authz_assign_role('{gus}', 'viewer', '{acme}')", "42501", "no such member"),
    ("tina", "authz_assign_role('{ghost}', 'viewer', '{acme}')", "42501", "no such member"),
    ("tina", "authz_assign_role('{off}', 'viewer', '{acme}')", "42501", "no such member"),
    ("tina", "authz_assign_role('{nobody}', 'viewer', '{acme}')", "42501", "no such member"),
    ("tina", "authz_join_team('{gus}', '{north}', '{acme}')", "42501", "no such member"),
    ("tina", "authz_join_team('{ghost}', '{north}', '{acme}')", "42501", "no such member"),
    ("tina", "authz_share('case', '{affair}', 'case.view', 'principal', '{gus}', '{acme}')", "42501", "no such member"),
    ("tina", "authz_share('case', '{affair}', 'case.view', 'principal', '{ghost}', '{acme}')", "42501", "no such member"),
    ("tina", "authz_share('case', '{affair}', 'case.view', 'team', '{east}', '{acme}')", "42501", "no such team"),
    ("tina", "authz_share('case', '{affair}', 'case.view', 'organization', '{east}', '{acme}')", "42501", "no such organization"),
    ("tina", "authz_deny('case', '{affair}', 'case.view', 'principal', '{gus}', '{acme}', reason => 'r')", "42501", "no such member"),
    ("tina", "authz_suspend_member('{gus}', '{acme}', 'r')", "42501", "no such member"),
    ("tina", "authz_revoke_member('{ghost}', '{acme}', 'r')", "42501", "no such member"),
    ("tina", "authz_leave_team('{alice}', '{north}', '{acme}', 'r')", "42501", "no such member"),
    ("tina", "authz_revoke_role('{alice}', 'viewer', '{acme}')", "42501", "no such role assignment"),
    ("tina", "authz_transfer_ownership('case', '{affair}', '{gus}', '{acme}', 'r')", "42501", "no such member"),
    ("tina", "authz_transfer_ownership('case', '{affair}', '{east}', '{acme}', 'r')", "42501", "no such member"),
    ("tina", "authz_add_member('{ghost}', '{acme}')", "42501", "no such member"),
    ("tina", "authz_add_member('{gone}', '{acme}')", "42501", "no such member"),
    ("root", "authz_set_principal_status('{ghost}', 'suspended', 'r')", "42501", "no such principal"),
    ("root", "authz_set_principal_status('{gone}', 'active', 'r')", "55000", "deleted"),
];

/// To oneself.
#[rustfmt::skip]
const ONESELF: &[Refusal] = &[
    ("tina", "authz_assign_role('{tina}', 'viewer', '{acme}')", "42501", "own authority"),
    ("tina", "authz_revoke_role('{tina}', 'editor', '{acme}')", "42501", "own authority"),
    ("tina", "authz_join_team('{tina}', '{north}', '{acme}')", "42501", "own authority"),
    ("tom", "authz_leave_team('{tom}', '{north}', '{acme}')", "42501", "own authority"),
    ("tina", "authz_share('case', '{affair}', 'case.view', 'principal', '{tina}', '{acme}')", "42501", "own authority"),
    ("tina", "authz_suspend_member('{tina}', '{acme}', 'r')", "42501", "own authority"),
    ("tina", "authz_revoke_member('{tina}', '{acme}', 'r')", "42501", "own authority"),
    ("tina", "authz_transfer_ownership('case', '{affair}', '{tina}', '{acme}', 'r')", "42501", "own authority"),
    ("root", "authz_add_member('{root}', '{acme}')", "42501", "own authority"),
    ("root", "authz_set_principal_status('{root}', 'active', 'r')", "42501", "own authority"),
    ("root", "authz_assign_role('{root}', 'authz.administrator', scope_type => 'platform')", "42501", "own authority"),
];

/// Expiry in the past.
#[rustfmt::skip]
const PAST: &[Refusal] = &[
    ("tina", "authz_assign_role('{alice}', 'viewer', '{acme}', expires => now() - interval '1 second')", "22023", "past"),
    ("tina", "authz_assign_role('{alice}', 'viewer', '{acme}', expires => now())", "22023", "past"),
    ("tina", "authz_assign_role('{alice}', 'viewer', '{acme}', expires => '-infinity')", "22023", "past"),
    ("tina", "authz_add_member('{nobody}', '{acme}', expires => now() - interval '1 second')", "22023", "past"),
    ("tina", "authz_join_team('{alice}', '{north}', '{acme}', expires => now())", "22023", "past"),
    ("tina", "authz_share('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}', expires => now())", "22023", "past"),
    ("tina", "authz_deny('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}', expires => now(), reason => 'r')", "22023", "past"),
    ("root", "authz_inherit_role('chief', 'viewer', expires => now())", "22023", "past"),
    ("root", "authz_allow_role('viewer', 'member.manage', expires => now())", "22023", "past"),
    ("root", "authz_set_principal_status('{alice}', 'locked', 'r', locked_until => now())", "22023", "past"),
];

/// Resources and scopes that are not there.
#[rustfmt::skip]
const NOT_THERE: &[Refusal] = &[
    ("tina", "authz_share('case', '{nothing}', 'case.view', 'principal', '{alice}', '{acme}')", "42501", "permission denied"),
    ("tina", "authz_share('case', '{feud}', 'case.view', 'principal', '{alice}', '{acme}')", "42501", "permission denied"),
    ("tina", "authz_share('case', '{feud}', 'case.view', 'principal', '{alice}', '{globex}')", "42501", "permission denied"),
    ("tina", "authz_share('case', upper('{affair}'), 'case.view', 'principal', '{alice}', '{acme}')", "42501", "permission denied"),
    ("tina", "authz_assign_role('{alice}', 'viewer', '{acme}', 'case', '{nothing}')", "42501", "permission denied"),
    ("tina", "authz_assign_role('{alice}', 'viewer', '{acme}', 'team', '{nothing}')", "42501", "permission denied"),
    ("tina", "authz_deny('case', '{nothing}', 'case.view', 'principal', '{alice}', '{acme}', reason => 'r')", "42501", "permission denied"),
    ("tina", "authz_transfer_ownership('case', '{nothing}', '{alice}', '{acme}', 'r')", "42501", "permission denied"),
    ("tina", "authz_unshare('{nothing}')", "42501", "permission denied"),
    ("tina", "authz_remove_rule('{nothing}')", "42501", "permission denied"),
    ("tina", "authz_revoke_role('{nothing}'::uuid)", "42501", "permission denied"),
];

/// Reasons: blank ones always, none where one is required.
#[rustfmt::skip]
const REASON: &[Refusal] = &[
    ("tina", "authz_assign_role('{alice}', 'viewer', '{acme}', reason => '')", "22023", "blank"),
    ("tina", "authz_assign_role('{alice}', 'viewer', '{acme}', reason => E' \\t\\n ')", "22023", "blank"),
    ("tina", "authz_add_member('{nobody}', '{acme}', reason => ' ')", "22023", "blank"),
    ("tina", "authz_suspend_member('{alice}', '{acme}')", "22023", "required"),
    ("tina", "authz_suspend_member('{alice}', '{acme}', '  ')", "22023", "blank"),
    ("tina", "authz_revoke_member('{alice}', '{acme}')", "22023", "required"),
    ("tina", "authz_deny('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}')", "22023", "required"),
    ("tina", "authz_deny('case', '{affair}', 'case.view', 'principal', '{alice}', '{acme}', reason => ' ')", "22023", "blank"),
    ("tina", "authz_transfer_ownership('case', '{affair}', '{alice}', '{acme}')", "22023", "required"),
    ("root", "authz_set_principal_status('{alice}', 'suspended')", "22023", "required"),
    ("root", "authz_set_principal_status('{alice}', 'suspended', '')", "22023", "blank"),
];

/// What is malformed or unknown.
#[rustfmt::skip]
const MALFORMED: &[Refusal] = &[
    ("tina", "authz_assign_role(NULL, 'viewer', '{acme}')", "22023", "principal"),
    ("tina", "authz_assign_role('{alice}', NULL, '{acme}')", "22023", "role"),
    ("tina", "authz_assign_role('{alice}', 'viewer')", "22023", "tenant"),
    ("tina", "authz_assign_role('{alice}', 'viewer', '{acme}', NULL)", "22023", "scope_type"),
    ("tina", "authz_assign_role('{alice}', 'viewer', '{acme}', 'team')", "22023", "scope_id"),
    ("tina", "authz_assign_role('{alice}', 'viewer', '{acme}', 'platform')", "22023", "platform"),
    ("tina", "authz_assign_role('{alice}', 'vewer', '{acme}')", "42704", "vewer"),
    ("tina", "authz_join_team('{alice}', '{north}', '{acme}', 'vewer')", "42704", "vewer"),
    ("tina", "authz_add_member('{nobody}', '{acme}', 'guest')", "22023", "guest"),
    ("tina", "authz_share('case', '{affair}', 'case.view', 'any', '{alice}', '{acme}')", "22023", "any"),
    ("tina", "authz_share('case', '{affair}', 'case.view', 'principal', upper('{alice}'), '{acme}')", "22023", "grantee"),
    ("tina", "authz_share('case', '{affair}', 'case.view', 'role', 'vewer', '{acme}')", "42704", "vewer"),
    ("tina", "authz_deny('case', '{affair}', 'case.view', 'any', '{alice}', '{acme}', reason => 'r')", "22023", "everybody"),
    ("tina", "authz_deny('cse', NULL, 'case.view', 'any', NULL, '{acme}', reason => 'r')", "42704", "cse"),
    ("tina", "authz_deny('case', '{affair}', 'case.view', 'principal', NULL, '{acme}', reason => 'r')", "22023", "grantee_id"),
    ("root", "authz_define_role('')", "22023", "role code"),
    ("root", "authz_define_role(' x')", "22023", "role code"),
    ("root", "authz_define_role('authz.x')", "22023", "role code"),
    ("root", "authz_define_permission('nodot')", "22023", "nodot"),
    ("root", "authz_define_permission('a b.c')", "22023", "permission"),
    ("root", "authz_define_permission('a.c', access_mode => 'x')", "22023", "permission"),
    ("root", "authz_set_principal_status('{alice}', 'retired', 'r')", "22023", "retired"),
    ("root", "authz_allow_role('vewer', 'member.manage')", "42704", "vewer"),
    ("root", "authz_inherit_role('chief', 'vewer')", "42704", "vewer"),
    ("root", "authz_disallow_role('viewer', 'case.edit')", "42704", "does not have"),
    ("root", "authz_disinherit_role('viewer', 'editor')", "42704", "does not inherit"),
];

/// System roles are the database owner's.
#[rustfmt::skip]
const SYSTEM_ROLE: &[Refusal] = &[
    ("root", "authz_allow_role('authz.administrator', 'member.manage')", "55000", "system role"),
    ("root", "authz_disallow_role('authz.administrator', 'member.manage')", "55000", "system role"),
    ("root", "authz_inherit_role('authz.administrator', 'viewer')", "55000", "system role"),
    ("root", "authz_disinherit_role('authz.administrator', 'viewer')", "55000", "system role"),
];

/// What a constraint, a trigger or the library finds is a refused attempt as well.
#[rustfmt::skip]
const FOUND_BELOW: &[Refusal] = &[
    ("root", "authz_define_role('viewer')", "23505", "duplicate"),
    ("root", "authz_define_permission('case.view')", "23505", "duplicate"),
    ("tina", "authz_add_member('{alice}', '{acme}')", "23505", "duplicate"),
    ("tina", "authz_assign_role('{alice}', 'viewer', '{acme}')", "23505", "duplicate"),
    ("tina", "authz_assign_role('{alice}', 'editor', '{acme}')", "23514", "four eyes"),
    ("tina", "authz_share('cse', '{affair}', 'case.view', 'principal', '{alice}', '{acme}')", "42704", "cse"),
    ("tina", "authz_share('case', '{affair}', 'case.veiw', 'principal', '{alice}', '{acme}')", "42704", "case.view"),
    ("tina", "authz_deny('case', NULL, 'case.veiw', 'any', NULL, '{acme}', reason => 'r')", "42704", "case.view"),
    ("root", "authz_allow_role('viewer', 'case.veiw')", "42704", "case.view"),
    ("root", "authz_imply_permission('case.veiw', 'member.manage')", "42704", "case.view"),
    ("root", "authz_imply_permission('member.manage', 'member.manage')", "23514", "cycle"),
    ("root", "authz_allow_role('viewer', 'member.manage', 'context.mfa ==')", "22023", "CEL"),
    ("root", "authz_inherit_role('authz.administrator', 'authz.administrator')", "55000", "system role"),
];

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
            NOT_HELD,
            NO_MEMBER,
            ONESELF,
            PAST,
            NOT_THERE,
            REASON,
            MALFORMED,
            SYSTEM_ROLE,
        ]
        .concat(),
    );
    execute(
        &mut office.owner(),
        "INSERT INTO authz.sod_constraint (constraint_name, role_codes) VALUES ('four eyes', '{viewer,editor}')",
    );
    made(
        &mut office.as_("tina"),
        "authz_assign_role('{alice}', 'viewer', '{acme}')",
    );
    all_refused(&office, FOUND_BELOW);
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
