//! Privileged access (R31, PITFALLS 10, 38 to 40): request, approval by somebody else, start, use, end, break-glass and
//! review, by a login role that may call the functions and nothing else.

mod approval;
mod break_glass;
mod course;
mod duration;
mod race;
mod refusal;

use authz_tests::make::{self, id};
use authz_tests::session::act_as;
use authz_tests::{Db, execute, report, value};
use postgres::Client;
use uuid::Uuid;

struct World {
    db: Db,
    admin: Client,
    app: String,
}

const FUNCTIONS: [&str; 8] = [
    "authz_request_access",
    "authz_approve_access",
    "authz_reject_access",
    "authz_start_privileged_session",
    "authz_end_privileged_session",
    "authz_break_glass",
    "authz_review_access",
    "authz_set_session",
];

/// Sam and Sue give support on the whole platform, Ann approves in acme, Rita reviews there, Bea may break glass in acme,
/// Mia is a plain member. The case `affair` is acme's, `deal` globex's; `secret` is sealed.
fn world() -> World {
    let db = Db::new();
    let mut c = db.connect();
    let (acme, globex) = (make::tenant(&mut c, "acme"), make::tenant(&mut c, "globex"));
    make::case(&mut c, acme, "affair");
    make::case(&mut c, acme, "secret");
    make::case(&mut c, globex, "deal");
    execute(
        &mut c,
        &format!(
            "UPDATE case_record SET confidentiality_level = 'sealed' WHERE case_id = '{}'",
            id("secret")
        ),
    );
    for (role, permissions) in [
        ("support", &["access.request"][..]),
        ("approver", &["access.approve"]),
        ("reviewer", &["access.review"]),
        ("breaker", &["access.break_glass"]),
    ] {
        make::role(&mut c, role, permissions);
    }
    for name in ["sam", "sue"] {
        make::principal(&mut c, name);
        make::assign_platform(&mut c, id(name), "support");
    }
    for (name, role) in [("ann", "approver"), ("rita", "reviewer"), ("bea", "breaker")] {
        make::member(&mut c, acme, name);
        make::assign(&mut c, acme, id(name), role, "tenant", acme);
    }
    make::member(&mut c, acme, "mia");
    let app = db.role();
    for function in FUNCTIONS {
        execute(&mut c, &format!("GRANT EXECUTE ON FUNCTION {function} TO {app}"));
    }
    World { db, admin: c, app }
}

impl World {
    /// A connection that acts for somebody.
    fn of(&self, name: &str) -> Client {
        let mut c = self.db.connect_as(&self.app);
        act_as(&mut c, name);
        c
    }

    fn session(&mut self, session: Uuid, column: &str) -> Option<String> {
        value(
            &mut self.admin,
            &format!("SELECT ({column})::text FROM authz.privileged_access_session WHERE session_id = $1"),
            &[&session],
        )
    }

    /// How often something is recorded of somebody.
    fn events(&mut self, action: &str, name: &str, result: &str) -> i64 {
        value(
            &mut self.admin,
            "SELECT count(*) FROM authz.access_audit_event WHERE action_code = $1 AND principal_id = $2 AND access_result = $3",
            &[&action, &id(name), &result],
        )
    }
}

fn call(c: &mut Client, sql: &str) -> Uuid {
    match c.query_one(&format!("SELECT {sql}"), &[]) {
        Ok(row) => row.get(0),
        Err(e) => panic!("{}\nin: {sql}", report(&e)),
    }
}

fn request(c: &mut Client, more: &str) -> Uuid {
    call(
        c,
        &format!("authz_request_access('look into ticket 7', '{}'{more})", id("acme")),
    )
}

fn approve(c: &mut Client, session: Uuid) -> Uuid {
    call(c, &format!("authz_approve_access('{session}')"))
}

fn start(c: &mut Client, session: Uuid) -> Uuid {
    call(c, &format!("authz_start_privileged_session('{session}')"))
}

fn sees(c: &mut Client, case: &str) -> bool {
    value(c, "SELECT authz_can('case.view', $1::uuid)", &[&id(case)])
}
