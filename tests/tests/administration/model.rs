//! The model is made by functions, too: roles, permissions, conditions and obligations (R12 to R14, R51).

use crate::refusal::all_refused;
use authz_tests::make::id;
use authz_tests::office::{Office, done, made, refused_and_recorded, with_ids};
use authz_tests::{execute, make, refused};
use serde_json::Value;

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
