//! A small office that uses the reference domain as it comes: schema `casework`, the database roles, several people.

use crate::make::{self, id};
use crate::session::act_with;
use crate::{Db, Start, execute};
use postgres::Client;
use uuid::Uuid;

/// The database roles that `authz_install_roles` makes.
pub const ROLES: [&str; 7] = [
    "runtime",
    "worker",
    "readonly",
    "migration",
    "analytics_export",
    "support_tool",
    "break_glass",
];

/// Tenant acme with one open case, `one`. Dora dispatches; Ann investigates it; Ben and Cal approve on it; Eve is a
/// member and nothing else; Sue may act for others. Gus belongs to globex, which has a case `other`.
pub struct Casework {
    /// Its database.
    pub db: Db,
    /// A member of the runtime role, and nothing else.
    pub app: String,
    /// What the names of the database roles begin with.
    pub prefix: String,
}

/// Makes the database roles, and has them dropped with the database.
pub fn install_roles(db: &Db) -> String {
    let prefix = format!("{}_", db.name);
    execute(
        &mut db.connect(),
        &format!("SELECT * FROM authz_install_roles('{prefix}')"),
    );
    for role in ROLES {
        db.adopt(&format!("{prefix}{role}"));
    }
    prefix
}

impl Casework {
    /// Everything as described.
    pub fn new() -> Casework {
        let db = Db::with(Start::Extension);
        let mut c = db.connect();
        execute(&mut c, "SELECT * FROM authz_install_casework()");
        let prefix = install_roles(&db);
        let app = db.role();
        execute(&mut c, &format!("GRANT {prefix}runtime TO {app}"));
        let (acme, globex) = (make::tenant(&mut c, "acme"), make::tenant(&mut c, "globex"));
        make::organization(&mut c, acme, "office", None);
        make::team(&mut c, acme, "field", None, Some(id("office")));
        make::role(
            &mut c,
            "dispatcher",
            &[
                "case.view",
                "case.create",
                "case.assign",
                "case.transfer",
                "case.seal",
                "case.delete",
                "case.restore",
                "case.view_deleted",
                "assignment.view",
                "ownership_history.view",
            ],
        );
        make::role(&mut c, "deputy", &["case.act_for"]);
        for name in ["ann", "ben", "cal", "dora", "eve", "sue"] {
            make::member(&mut c, acme, name);
            execute(
                &mut c,
                &format!(
                    "INSERT INTO authz.operator_profile (principal_id, mfa_enabled) VALUES ('{}', true)",
                    id(name)
                ),
            );
        }
        make::member(&mut c, globex, "gus");
        make::assign(&mut c, acme, id("dora"), "dispatcher", "tenant", acme);
        make::assign(&mut c, acme, id("sue"), "deputy", "tenant", acme);
        for (tenant, case) in [(acme, "one"), (globex, "other")] {
            execute(
                &mut c,
                &format!(
                    "INSERT INTO casework.case_record (tenant_id, case_id, case_number, title, created_at)
                     VALUES ('{tenant}', '{}', '{case}', '{case}', now() - interval '1 day')",
                    id(case)
                ),
            );
        }
        let world = Casework { db, app, prefix };
        let mut dora = world.of("dora");
        for (who, role) in [("ann", "investigator"), ("ben", "approver"), ("cal", "approver")] {
            execute(&mut dora, &assign(who, "dora", role));
        }
        world
    }

    /// The owner of the database.
    pub fn owner(&self) -> Client {
        self.db.connect()
    }

    /// A runtime connection in the session of somebody who logged in with a second factor.
    pub fn of(&self, who: &str) -> Client {
        let mut c = self.db.connect_as(&self.app);
        session(&mut c, who, true);
        c
    }

    /// A draft by Ann.
    pub fn draft(&self) -> Uuid {
        self.of("ann")
            .query_one(
                "INSERT INTO casework.case_decision (tenant_id, case_id, outcome) VALUES ($1, $2, 'granted') RETURNING decision_id",
                &[&id("acme"), &id("one")],
            )
            .unwrap()
            .get(0)
    }

    /// A decision that Ann wrote and submitted.
    pub fn submitted(&self) -> Uuid {
        let decision = self.draft();
        execute(&mut self.of("ann"), &act("submit", decision, "ann"));
        decision
    }
}

impl Default for Casework {
    fn default() -> Self {
        Casework::new()
    }
}

/// From here on the connection acts for that principal.
pub fn session(c: &mut Client, who: &str, mfa: bool) {
    act_with(c, who, None, &format!("{{\"mfa\": {mfa}}}"));
}

/// `submit`, `approve`, `reject` or `withdraw` a decision.
pub fn act(verb: &str, decision: Uuid, actor: &str) -> String {
    format!(
        "SELECT {verb}_case_decision('{}', '{decision}', '{}', 'because')",
        id("acme"),
        id(actor)
    )
}

/// Assigns case one.
pub fn assign(assignee: &str, actor: &str, role: &str) -> String {
    format!(
        "SELECT assign_case('{}', '{}', '{}', '{}', 'because', '{role}')",
        id("acme"),
        id("one"),
        id(assignee),
        id(actor)
    )
}
