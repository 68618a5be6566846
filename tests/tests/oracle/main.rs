//! The oracle against plain reading of docs/decision-rule.md: a hand-written case or more for every step and every line
//! of the small print. The engine has to give the same answers, so each case is asked of both. (R6, R10, R12 to R18, R25, R26)

mod reach;
mod rule;
mod session;
mod small_print;
mod source;
mod stricter;

use authz_tests::make::{self, id};
use authz_tests::{Db, Start, execute, report};
use postgres::Client;
use serde_json::Value;
use uuid::Uuid;

/// A question about a resource of the fixture, by the names that `make` was given.
struct Ask<'a> {
    principal: &'a str,
    permission: &'a str,
    resource: &'a str,
    tenant: Option<Uuid>,
    context: Option<Value>,
    /// An SQL expression.
    at: &'a str,
}

fn ask<'a>(principal: &'a str, permission: &'a str, resource: &'a str) -> Ask<'a> {
    Ask {
        principal,
        permission,
        resource,
        tenant: None,
        context: None,
        at: "NULL",
    }
}

impl Ask<'_> {
    fn tenant(mut self, name: &str) -> Self {
        self.tenant = Some(id(name));
        self
    }

    fn context(mut self, context: Value) -> Self {
        self.context = Some(context);
        self
    }

    /// Asserts what the oracle says, and that the engine says the same.
    #[track_caller]
    fn is(&self, c: &mut Client, expected: &str) {
        let sql = format!(
            "SELECT coalesce(o.reason, CASE WHEN o.allowed THEN 'allowed' END),
                    CASE WHEN e ->> 'decision' = 'allow' THEN 'allowed' ELSE e ->> 'reason' END, e
               FROM oracle.decide($1, $2, $3::uuid::text, $4, $5, {at}) AS o,
                    authz_explain($1, $2, $3::uuid, $4, $5, {at}) AS e",
            at = self.at
        );
        let Ask {
            principal,
            permission,
            resource,
            ..
        } = self;
        let row = c
            .query_one(
                &sql,
                &[&id(principal), permission, &id(resource), &self.tenant, &self.context],
            )
            .unwrap_or_else(|e| panic!("{}", report(&e)));
        let (oracle, engine): (Option<String>, Option<String>) = (row.get(0), row.get(1));
        let shown = format!(
            "{principal} {permission} {resource} tenant {:?} context {:?} at {}",
            self.tenant, self.context, self.at
        );
        assert_eq!(oracle.as_deref(), Some(expected), "the oracle on {shown}");
        let explanation: Value = row.get(2);
        assert_eq!(
            engine.as_deref(),
            Some(expected),
            "the engine on {shown}\n{explanation:#}"
        );
    }
}

/// acme: organization `firm` holds `branch`; team `crew` of `branch` holds team `squad` of no organization; project
/// `apollo` of `branch`. Case `affair` is `squad`'s. globex is a second tenant with nothing but itself.
/// Role `viewer` has case.view, `editor` has case.edit.
fn world() -> (Db, Client) {
    let db = Db::with(Start::Oracle);
    let mut client = db.connect();
    let c = &mut client;
    let acme = make::tenant(c, "acme");
    make::tenant(c, "globex");
    let firm = make::organization(c, acme, "firm", None);
    let branch = make::organization(c, acme, "branch", Some(firm));
    let crew = make::team(c, acme, "crew", None, Some(branch));
    make::team(c, acme, "squad", Some(crew), None);
    make::project(c, acme, "apollo", Some(branch));
    make::case(c, acme, "affair");
    execute(
        c,
        &format!("UPDATE public.case_record SET owning_team_id = '{}'", id("squad")),
    );
    make::role(c, "viewer", &["case.view"]);
    make::role(c, "editor", &["case.edit"]);
    (db, client)
}

fn text(name: &str) -> String {
    id(name).to_string()
}
