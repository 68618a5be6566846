//! Nobody hands on, or takes back, more than what is his to give (R10, R16, R31).

use crate::authority::CALLS;
use authz_tests::execute;
use authz_tests::make::{self, can, id};
use authz_tests::office::{Office, done, made, refused_and_recorded, with_ids};

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
