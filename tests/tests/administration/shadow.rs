//! What callers plant takes the place of nothing that is called (PITFALLS 16).

use crate::authority::CALLS;
use authz_tests::make::id;
use authz_tests::office::{Office, done, made, refused_and_recorded};
use authz_tests::{execute, refused, value};

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
