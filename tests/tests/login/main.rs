//! Logging in: lock-out (R8), profiles at the first log-in (R3) and own rows of them (R4), secrets that only the function
//! for them gives out (R8). By login roles with what an authenticator or a web application is granted, and nothing else.

mod lock_out;
mod profile;
mod secrets;

use authz_tests::make::{self, id};
use authz_tests::{Db, execute, value};
use postgres::Client;

const FUNCTIONS: [&str; 6] = [
    "authz_record_login",
    "authz_upsert_profile",
    "authz_account_secrets",
    "authz_set_account_secrets",
    "authz_unlock_login",
    "authz_set_session",
];

/// Alice has an account; `door` is the role that authenticates.
fn world() -> (Db, Client, String) {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::case(&mut c, acme, "affair");
    make::role(&mut c, "viewer", &["case.view"]);
    make::member(&mut c, acme, "alice");
    make::assign(&mut c, acme, id("alice"), "viewer", "tenant", acme);
    let door = db.role();
    for function in FUNCTIONS {
        execute(&mut c, &format!("GRANT EXECUTE ON FUNCTION {function} TO {door}"));
    }
    (db, c, door)
}

fn login(c: &mut Client, name: &str, succeeded: bool) -> String {
    value(c, "SELECT authz_record_login($1, $2)", &[&id(name), &succeeded])
}

fn attempts(c: &mut Client, name: &str) -> Option<i32> {
    c.query_opt(
        "SELECT failed_login_attempts FROM authz.account_security WHERE principal_id = $1",
        &[&id(name)],
    )
    .unwrap()
    .map(|row| row.get(0))
}
