//! Other roles: `SET ROLE`, `SET SESSION AUTHORIZATION`, and the principal of whoever logged in (R24, PITFALLS 13).

use authz_tests::make::id;
use authz_tests::session::{is, is_nobody, may_view, set, world};
use authz_tests::{execute, refused, value};
use uuid::Uuid;

#[test]
fn change_the_identity_by_set_role_or_set_session_authorization() {
    let mut w = world();
    execute(&mut w.admin, &format!("GRANT {} TO {}", w.role, w.app));
    let mut c = w.app();
    execute(&mut c, &set("bob", false));
    execute(&mut c, &format!("SET ROLE {}", w.role));
    is(&mut c, "bob");
    refused(&mut c, &set("alice", false), "42501", &[]);
    refused(&mut c, &format!("SET SESSION AUTHORIZATION {}", w.role), "42501", &[]);
    execute(&mut c, "RESET ROLE");
    is(&mut c, "bob");
    execute(&mut c, "RESET SESSION AUTHORIZATION");
    is(&mut c, "bob");
    // A superuser who becomes somebody else keeps what was set, and nothing comes with the other role.
    execute(&mut w.admin, &set("bob", false));
    execute(&mut w.admin, &format!("SET SESSION AUTHORIZATION {}", w.role));
    is(&mut w.admin, "bob");
    execute(&mut w.admin, "SELECT authz_clear_session()");
    is_nobody(&mut w.admin);
}

#[test]
fn take_the_principal_of_a_role_that_did_not_log_in() {
    let mut w = world();
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{}' WHERE principal_id = '{}'; GRANT {} TO {}",
            w.role,
            id("alice"),
            w.role,
            w.app
        ),
    );
    let mut c = w.role();
    is(&mut c, "alice");
    execute(&mut c, "BEGIN READ ONLY");
    is(&mut c, "alice");
    execute(&mut c, "COMMIT");

    let mut c = w.app();
    is_nobody(&mut c);
    execute(&mut c, &format!("SET ROLE {}", w.role));
    is_nobody(&mut c);
    execute(&mut c, "RESET ROLE");
    execute(&mut w.admin, &format!("SET ROLE {}", w.role));
    is_nobody(&mut w.admin);
    execute(
        &mut w.admin,
        &format!("RESET ROLE; SET SESSION AUTHORIZATION {}", w.role),
    );
    is_nobody(&mut w.admin);
    execute(&mut w.admin, "RESET SESSION AUTHORIZATION");

    // A function of the bound role that runs with its rights does not run as its principal.
    execute(&mut w.admin, &format!("CREATE SCHEMA mine AUTHORIZATION {}", w.role));
    let mut owner = w.role();
    execute(
        &mut owner,
        &format!(
            "CREATE FUNCTION mine.who() RETURNS uuid LANGUAGE sql SECURITY DEFINER AS $$ SELECT public.authz_principal() $$;
             GRANT USAGE ON SCHEMA mine TO {}", w.app),
    );
    let who: Option<Uuid> = value(&mut c, "SELECT mine.who()", &[]);
    assert_eq!(who, None);
}

#[test]
fn a_session_takes_the_place_of_the_login_roles_principal() {
    let mut w = world();
    let bind = |role: &str, name: &str| {
        format!(
            "UPDATE authz.principal SET db_role = {role} WHERE principal_id = '{}'",
            id(name)
        )
    };
    execute(&mut w.admin, &bind(&format!("'{}'", w.app), "alice"));
    let mut c = w.app();
    is(&mut c, "alice");
    execute(&mut c, &format!("BEGIN; {}", set("bob", true)));
    is(&mut c, "bob");
    execute(&mut c, "COMMIT");
    is(&mut c, "alice");
    // Bindings change under running sessions.
    execute(&mut w.admin, &bind("NULL", "alice"));
    is_nobody(&mut c);
    execute(&mut w.admin, &bind(&format!("'{}'", w.app), "bob"));
    is(&mut c, "bob");
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET status = 'suspended' WHERE principal_id = '{}'",
            id("bob")
        ),
    );
    assert!(!may_view(&mut c, "affair"));
}

#[test]
fn a_role_of_nearly_the_same_name_has_no_part_in_it() {
    let mut w = world();
    let long = "n".repeat(63);
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{}' WHERE principal_id = '{}'",
            w.role.to_uppercase(),
            id("alice")
        ),
    );
    is_nobody(&mut w.role());
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{} ' WHERE principal_id = '{}'",
            w.role,
            id("alice")
        ),
    );
    is_nobody(&mut w.role());
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{long}x' WHERE principal_id = '{}'",
            id("alice")
        ),
    );
    is_nobody(&mut w.role());
}
