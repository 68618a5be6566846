//! A dump keeps events, and a restore invents none (R51, PITFALLS 34).

use crate::{events_of, everything};
use authz_tests::dump::{Dump, Format};
use authz_tests::office::{Office, made, with_ids};
use authz_tests::{execute, value};

/// A dump has the events, and restoring it makes no new ones (PITFALLS 34); the restored database records as before.
#[test]
fn a_restore_invents_no_events() {
    let office = Office::open();
    let mut c = office.owner();
    let mut tina = office.as_("tina");
    made(
        &mut tina,
        "authz_assign_role('{alice}', 'viewer', '{acme}', reason => 'r')",
    );
    execute(
        &mut tina,
        &with_ids(
            "SELECT authz_revoke_role('{alice}', 'viewer', '{acme}', reason => 'r');
             SELECT authz_suspend_member('{bob}', '{acme}', 'r'); SELECT authz_resume_member('{bob}', '{acme}', 'r');
             SELECT authz_revoke_member('{alice}', '{acme}', 'r'); SELECT authz_add_member('{alice}', '{acme}', reason => 'r')",
        ),
    );
    execute(
        &mut c,
        &with_ids(
            "SET authz.change_reason = 'by hand';
             UPDATE authz.principal SET status = 'suspended' WHERE principal_id = '{bob}';
             UPDATE authz.principal SET locked_until = now() + interval '1 day' WHERE principal_id = '{gus}';
             UPDATE authz.permission_definition SET requires_mfa = true, description = 'new' WHERE permission_code = 'role.assign';
             INSERT INTO authz.account_security (principal_id, password_hash) VALUES ('{bob}', 'x');
             UPDATE authz.account_security SET password_hash = 'y', locked_until = now() + interval '1 hour';
             INSERT INTO authz.sod_constraint (constraint_name, role_codes) VALUES ('s', '{viewer,approver}');
             DELETE FROM authz.permission_definition WHERE permission_code = 'page.edit' AND false;
             UPDATE authz.tenant SET name = 'Acme Ltd' WHERE slug = 'acme'",
        ),
    );
    let before = everything(&mut c);
    let restored = Dump::of(&office.db, Format::Custom).restored();
    let mut r = restored.connect();
    let after = everything(&mut r);
    let invented: Vec<_> = after.difference(&before).collect();
    let lost: Vec<_> = before.difference(&after).collect();
    assert!(
        invented.is_empty() && lost.is_empty(),
        "invented {invented:#?}, lost {lost:#?}"
    );
    let kept: bool = value(
        &mut r,
        "SELECT requires_mfa AND description = 'new' FROM authz.permission_definition WHERE permission_code = 'role.assign'",
        &[],
    );
    assert!(kept, "what was changed of a system permission");
    let found = events_of(&mut r, |r| {
        execute(
            r,
            "UPDATE authz.tenant SET name = 'x' WHERE slug = 'acme'; UPDATE authz.tenant SET name = 'Acme Ltd' WHERE slug = 'acme'",
        );
    });
    assert_eq!(found.len(), 2, "{found:#?}");
}
