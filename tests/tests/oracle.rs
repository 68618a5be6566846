//! The oracle against plain reading of docs/decision-rule.md: a hand-written case or more for every step and every line
//! of the small print. The engine has to give the same answers, so each case is asked of both. (R6, R10, R12 to R18, R25, R26)

use authz_tests::make::{self, id};
use authz_tests::{Db, Start, execute, report};
use postgres::Client;
use serde_json::{Value, json};
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

#[test]
fn step_1_the_principal() {
    let (_db, mut client) = world();
    let c = &mut client;
    ask("nobody", "case.view", "affair").is(c, "principal_inactive");
    make::member(c, id("acme"), "alice");
    make::assign(c, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
    ask("alice", "case.view", "affair").is(c, "allowed");
    for status in ["suspended", "locked", "disabled"] {
        execute(c, &format!("UPDATE authz.principal SET status = '{status}'"));
        // It comes first: nothing is told of what does not exist.
        ask("alice", "case.view", "nothing").is(c, "principal_inactive");
        ask("alice", "case.view", "affair").is(c, "principal_inactive");
    }
    execute(
        c,
        "UPDATE authz.principal SET status = 'active', locked_until = now() + interval '1 hour'",
    );
    ask("alice", "case.view", "affair").is(c, "principal_inactive");
    execute(c, "UPDATE authz.principal SET locked_until = now() - interval '1 hour'");
    ask("alice", "case.view", "affair").is(c, "allowed");
    execute(
        c,
        "INSERT INTO authz.account_security (principal_id, locked_until)
         SELECT principal_id, now() + interval '1 hour' FROM authz.principal",
    );
    ask("alice", "case.view", "affair").is(c, "principal_inactive");
}

#[test]
fn step_2_the_resource() {
    let (_db, mut client) = world();
    let c = &mut client;
    make::member(c, id("acme"), "alice");
    make::assign(c, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
    ask("alice", "case.view", "nothing").is(c, "resource_not_found");
    ask("alice", "case.view", "affair").tenant("acme").is(c, "allowed");
    ask("alice", "case.view", "affair")
        .tenant("globex")
        .is(c, "resource_not_found");
    // The permission says where to look: no document has this key.
    ask("alice", "document.view", "affair").is(c, "resource_not_found");
    make::case(c, id("globex"), "affair");
    ask("alice", "case.view", "affair").is(c, "resource_not_found");
    ask("alice", "case.view", "affair").tenant("acme").is(c, "allowed");
    ask("alice", "case.view", "affair")
        .tenant("globex")
        .is(c, "outside_tenant");
}

#[test]
fn step_2_a_row_without_tenant_belongs_to_the_platform() {
    let (_db, mut client) = world();
    let c = &mut client;
    execute(
        c,
        &format!(
            "INSERT INTO public.case_record (tenant_id, case_id, owning_team_id) VALUES (NULL, '{}', '{}')",
            text("stray"),
            text("squad")
        ),
    );
    make::member(c, id("acme"), "alice");
    make::assign(c, id("acme"), id("alice"), "viewer", "team", id("squad"));
    ask("alice", "case.view", "stray").is(c, "outside_tenant");
    make::principal(c, "root");
    make::assign_platform(c, id("root"), "viewer");
    ask("root", "case.view", "stray").is(c, "allowed");
    ask("root", "case.view", "stray")
        .tenant("acme")
        .is(c, "resource_not_found");
}

#[test]
fn step_3_the_tenant() {
    let (_db, mut client) = world();
    let c = &mut client;
    make::principal(c, "alice");
    ask("alice", "case.view", "affair").is(c, "outside_tenant");
    make::join(c, id("acme"), id("alice"));
    ask("alice", "case.view", "affair").is(c, "no_grant");
    make::assign(c, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
    ask("alice", "case.view", "affair").is(c, "allowed");
    execute(c, "UPDATE authz.tenant_membership SET status = 'suspended'");
    ask("alice", "case.view", "affair").is(c, "outside_tenant");
    execute(c, "UPDATE authz.tenant_membership SET status = 'active'");
    execute(c, "UPDATE authz.tenant SET status = 'suspended' WHERE slug = 'acme'");
    ask("alice", "case.view", "affair").is(c, "outside_tenant");
    // A platform role opens any tenant, but only for the permissions that it has, those that it implies included.
    make::principal(c, "root");
    make::assign_platform(c, id("root"), "editor");
    ask("root", "case.comment", "affair").is(c, "allowed");
    ask("root", "case.admin", "affair").is(c, "outside_tenant");
}

#[test]
fn step_3_what_a_suspended_membership_left_behind_gives_nothing() {
    let (_db, mut client) = world();
    let c = &mut client;
    let (acme, affair) = (id("acme"), id("affair"));
    make::member(c, acme, "alice");
    make::assign(c, acme, id("alice"), "editor", "tenant", acme);
    make::grant(c, acme, ("case", affair), ("principal", &text("alice")), "case.admin");
    make::rule(
        c,
        acme,
        "deny",
        1,
        ("case", Some(affair)),
        ("any", None),
        Some("case.view"),
    );
    make::rule(
        c,
        acme,
        "allow",
        2,
        ("case", Some(affair)),
        ("principal", Some(&text("alice"))),
        Some("case.view"),
    );
    make::assign_platform(c, id("alice"), "viewer");
    ask("alice", "case.view", "affair").is(c, "allowed");
    ask("alice", "case.edit", "affair").is(c, "allowed");
    execute(c, "UPDATE authz.tenant_membership SET status = 'suspended'");
    // The platform role still brings it in, but the allow rule no longer outweighs the deny.
    ask("alice", "case.view", "affair").is(c, "explicit_deny");
    ask("alice", "case.edit", "affair").is(c, "outside_tenant");
    execute(
        c,
        "UPDATE authz.resource_access_rule SET valid_until = now() WHERE effect = 'deny'",
    );
    ask("alice", "case.view", "affair").is(c, "allowed");
}

#[test]
fn step_4_soft_deletion() {
    let (_db, mut client) = world();
    let c = &mut client;
    make::member(c, id("acme"), "alice");
    make::assign(c, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
    execute(c, "UPDATE public.case_record SET deleted_at = now()");
    ask("alice", "case.view", "affair").is(c, "resource_deleted");
    // It comes before rules and grants.
    ask("alice", "case.edit", "affair").is(c, "resource_deleted");
    make::allow(c, "viewer", "case.view_deleted", None);
    ask("alice", "case.view", "affair").is(c, "allowed");
    ask("alice", "case.edit", "affair").is(c, "no_grant");
    make::rule(
        c,
        id("acme"),
        "deny",
        0,
        ("tenant", None),
        ("any", None),
        Some("case.view_deleted"),
    );
    ask("alice", "case.view", "affair").is(c, "resource_deleted");
}

#[test]
fn step_5_priorities_and_ties() {
    let (_db, mut client) = world();
    let c = &mut client;
    let (acme, affair) = (id("acme"), id("affair"));
    make::member(c, acme, "alice");
    make::assign(c, acme, id("alice"), "editor", "tenant", acme);
    let alice = text("alice");
    make::rule(
        c,
        acme,
        "deny",
        5,
        ("team", Some(id("crew"))),
        ("principal", Some(&alice)),
        Some("case.view"),
    );
    ask("alice", "case.view", "affair").is(c, "explicit_deny");
    // Implication does not widen rules.
    ask("alice", "case.comment", "affair").is(c, "allowed");
    make::rule(
        c,
        acme,
        "allow",
        5,
        ("case", Some(affair)),
        ("principal", Some(&alice)),
        Some("case.view"),
    );
    ask("alice", "case.view", "affair").is(c, "explicit_deny");
    make::rule(
        c,
        acme,
        "allow",
        6,
        ("organization", None),
        ("any", None),
        Some("case.view"),
    );
    ask("alice", "case.view", "affair").is(c, "allowed");
    make::rule(c, acme, "deny", 7, ("case", None), ("any", None), None);
    ask("alice", "case.view", "affair").is(c, "explicit_deny");
    ask("alice", "case.comment", "affair").is(c, "explicit_deny");
    // The chain of a team holds no case.
    make::allow(c, "editor", "team.view", None);
    ask("alice", "team.view", "squad").is(c, "allowed");
}

#[test]
fn step_5_a_deny_is_absolute() {
    let (_db, mut client) = world();
    let c = &mut client;
    let (acme, affair) = (id("acme"), id("affair"));
    make::member(c, acme, "alice");
    make::assign_platform(c, id("alice"), "viewer");
    execute(
        c,
        &format!(
            "INSERT INTO authz.privileged_access_session
                    (session_kind, principal_id, access_reason, ticket_reference, started_at, expires_at)
             VALUES ('break_glass', '{}', 'fire', 'T-1', now() - interval '1 minute', now() + interval '1 hour')",
            text("alice")
        ),
    );
    make::rule(c, acme, "deny", 0, ("case", Some(affair)), ("any", None), None);
    ask("alice", "case.view", "affair").is(c, "explicit_deny");
}

#[test]
fn subjects_nest() {
    let (_db, mut client) = world();
    let c = &mut client;
    let (acme, affair) = (id("acme"), id("affair"));
    make::member(c, acme, "alice");
    make::join_team(c, acme, id("squad"), id("alice"));
    // squad is in crew, crew is branch's, branch is in firm: what is given to any of them is given to alice.
    for (kind, name) in [
        ("team", "squad"),
        ("team", "crew"),
        ("organization", "branch"),
        ("organization", "firm"),
    ] {
        ask("alice", "case.view", "affair").is(c, "no_grant");
        let grant = make::grant(c, acme, ("case", affair), (kind, &text(name)), "case.view");
        ask("alice", "case.view", "affair").is(c, "allowed");
        make::revoke_grant(c, grant);
    }
    // What is denied to the whole is denied to its parts.
    make::grant(c, acme, ("case", affair), ("principal", &text("alice")), "case.view");
    make::rule(
        c,
        acme,
        "deny",
        0,
        ("case", Some(affair)),
        ("organization", Some(&text("firm"))),
        None,
    );
    ask("alice", "case.view", "affair").is(c, "explicit_deny");
}

#[test]
fn subjects_by_role() {
    let (_db, mut client) = world();
    let c = &mut client;
    let (acme, affair) = (id("acme"), id("affair"));
    make::member(c, acme, "alice");
    make::role(c, "lead", &[]);
    make::inherit(c, "lead", "viewer");
    make::grant(c, acme, ("case", affair), ("role", "viewer"), "case.admin");
    ask("alice", "case.admin", "affair").is(c, "no_grant");
    // Held anywhere in the tenant, even where the case is not.
    let held = make::assign(c, acme, id("alice"), "lead", "project", id("apollo"));
    ask("alice", "case.admin", "affair").is(c, "allowed");
    make::rule(
        c,
        acme,
        "deny",
        0,
        ("case", Some(affair)),
        ("role", Some("viewer")),
        Some("case.admin"),
    );
    ask("alice", "case.admin", "affair").is(c, "explicit_deny");
    // The one exception to monotony: closing an assignment lifts what was denied to the role.
    make::revoke(c, held);
    ask("alice", "case.admin", "affair").is(c, "no_grant");
    // A role in another tenant counts there only; one at platform scope counts everywhere.
    make::join(c, id("globex"), id("alice"));
    make::assign(c, id("globex"), id("alice"), "lead", "tenant", id("globex"));
    ask("alice", "case.admin", "affair").is(c, "no_grant");
    make::assign_platform(c, id("alice"), "lead");
    ask("alice", "case.admin", "affair").is(c, "explicit_deny");
    ask("alice", "case.edit", "affair").is(c, "allowed");
}

#[test]
fn step_6_assignments_on_every_scope_of_the_chain() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::case(c, acme, "mission");
    execute(
        c,
        &format!(
            "UPDATE public.case_record SET project_id = '{}' WHERE case_id = '{}'",
            text("apollo"),
            text("mission")
        ),
    );
    make::organization(c, acme, "elsewhere", None);
    for (kind, node, affair, mission) in [
        ("tenant", "acme", "allowed", "allowed"),
        ("organization", "firm", "allowed", "allowed"),
        ("organization", "branch", "allowed", "allowed"),
        ("organization", "elsewhere", "no_grant", "no_grant"),
        ("team", "crew", "allowed", "no_grant"),
        ("team", "squad", "allowed", "no_grant"),
        ("project", "apollo", "no_grant", "allowed"),
        ("case", "affair", "allowed", "no_grant"),
    ] {
        let held = make::assign(c, acme, id("alice"), "viewer", kind, id(node));
        ask("alice", "case.view", "affair").is(c, affair);
        ask("alice", "case.view", "mission").is(c, mission);
        make::revoke(c, held);
        ask("alice", "case.view", "affair").is(c, "no_grant");
    }
}

#[test]
fn step_6_scopes_are_resources() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::role(
        c,
        "officer",
        &["team.view", "organization.view", "project.view", "tenant.view"],
    );
    make::assign(c, acme, id("alice"), "officer", "organization", id("branch"));
    ask("alice", "organization.view", "branch").is(c, "allowed");
    ask("alice", "organization.view", "firm").is(c, "no_grant");
    ask("alice", "team.view", "squad").is(c, "allowed");
    ask("alice", "project.view", "apollo").is(c, "allowed");
    ask("alice", "tenant.view", "acme").is(c, "no_grant");
    ask("alice", "tenant.view", "globex").is(c, "outside_tenant");
    ask("alice", "tenant.view", "acme")
        .tenant("globex")
        .is(c, "resource_not_found");
}

#[test]
fn step_6_role_inheritance_and_implication_have_their_times() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::role(c, "lead", &[]);
    make::role(c, "chief", &[]);
    make::inherit(c, "chief", "lead");
    make::assign(c, acme, id("alice"), "chief", "tenant", acme);
    ask("alice", "case.view", "affair").is(c, "no_grant");
    make::inherit(c, "lead", "editor");
    // edit implies comment, comment implies view; nothing implies admin.
    ask("alice", "case.view", "affair").is(c, "allowed");
    ask("alice", "case.admin", "affair").is(c, "no_grant");
    execute(
        c,
        "UPDATE authz.role_inheritance SET valid_until = now() WHERE inherited_role_code = 'editor'",
    );
    ask("alice", "case.view", "affair").is(c, "no_grant");
    make::allow(c, "chief", "case.view", None);
    ask("alice", "case.view", "affair").is(c, "allowed");
    execute(
        c,
        "UPDATE authz.role_permission SET valid_until = now() WHERE role_code = 'chief'",
    );
    ask("alice", "case.view", "affair").is(c, "no_grant");
}

#[test]
fn step_6_grants_reach_down_and_imply() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    let grant = make::grant(
        c,
        acme,
        ("organization", id("firm")),
        ("principal", &text("alice")),
        "case.edit",
    );
    ask("alice", "case.view", "affair").is(c, "allowed");
    ask("alice", "case.admin", "affair").is(c, "no_grant");
    make::revoke_grant(c, grant);
    ask("alice", "case.view", "affair").is(c, "no_grant");
    execute(
        c,
        &format!(
            "INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id,
                    permission_code, granted_at, expires_at)
             VALUES ('{acme}', 'case', '{}', 'principal', '{}', 'case.view', now() - interval '2 days',
                     now() - interval '1 day')",
            text("affair"),
            text("alice")
        ),
    );
    // Nobody has to clean up for an expired grant to end.
    ask("alice", "case.view", "affair").is(c, "no_grant");
}

#[test]
fn step_6_ownership() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    execute(
        c,
        &format!("UPDATE public.case_record SET owner_id = '{}'", text("alice")),
    );
    ask("alice", "case.view", "affair").is(c, "no_grant");
    execute(
        c,
        "UPDATE authz.resource_type SET owner_role = 'viewer' WHERE resource_type = 'case'",
    );
    ask("alice", "case.view", "affair").is(c, "allowed");
    // What the owner role says, no more.
    ask("alice", "case.edit", "affair").is(c, "no_grant");
    for owner in ["squad", "crew", "branch", "firm"] {
        execute(
            c,
            &format!("UPDATE public.case_record SET owner_id = '{}'", text(owner)),
        );
        ask("alice", "case.view", "affair").is(c, "no_grant");
    }
    make::join_team(c, acme, id("squad"), id("alice"));
    for owner in ["squad", "crew", "branch", "firm"] {
        execute(
            c,
            &format!("UPDATE public.case_record SET owner_id = '{}'", text(owner)),
        );
        ask("alice", "case.view", "affair").is(c, "allowed");
    }
    execute(c, "UPDATE authz.tenant_membership SET status = 'suspended'");
    ask("alice", "case.view", "affair").is(c, "outside_tenant");
}

#[test]
fn step_6_the_owner_role_counts_as_assigned_at_the_resource() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::role(c, "holder", &["case.view", "document.view"]);
    execute(
        c,
        &format!("UPDATE public.case_record SET owner_id = '{}'", text("alice")),
    );
    execute(
        c,
        "UPDATE authz.resource_type SET owner_role = 'holder' WHERE resource_type = 'case'",
    );
    make::document(c, acme, "letter", Some(id("affair")));
    // An assignment at a case covers the documents in it; so does one that ownership of the case stands for.
    ask("alice", "document.view", "letter").is(c, "allowed");
    ask("alice", "document.edit", "letter").is(c, "no_grant");
}

fn session(c: &mut Client, kind: &str, principal: &str, scope: &str, more: &str) {
    execute(
        c,
        &format!(
            "INSERT INTO authz.privileged_access_session (session_kind, principal_id, access_reason, ticket_reference,
                    started_at, expires_at, tenant_id, scope_type, scope_id, approved_by, approved_at, includes_sensitive)
             VALUES ('{kind}', '{}', 'fire', 'T-1', now() - interval '1 minute', now() + interval '1 hour', {scope}, {more})",
            text(principal)
        ),
    );
}

#[test]
fn step_6_break_glass() {
    let (_db, mut client) = world();
    let c = &mut client;
    make::principal(c, "alice");
    make::principal(c, "boss");
    session(
        c,
        "break_glass",
        "alice",
        &format!("'{}', NULL, NULL", id("acme")),
        "NULL, NULL, false",
    );
    ask("alice", "case.admin", "affair").is(c, "allowed");
    ask("alice", "tenant.view", "globex").is(c, "outside_tenant");
    execute(c, "UPDATE public.case_record SET deleted_at = now()");
    ask("alice", "case.admin", "affair").is(c, "allowed");
    execute(
        c,
        "UPDATE public.case_record SET deleted_at = NULL, confidentiality_level = 'sealed'",
    );
    ask("alice", "case.view", "affair").is(c, "confidentiality");
    execute(c, "UPDATE authz.privileged_access_session SET ended_at = now()");
    ask("alice", "case.view", "affair").is(c, "outside_tenant");
    session(
        c,
        "break_glass",
        "alice",
        &format!("'{}', NULL, NULL", id("acme")),
        &format!("'{}', now(), true", text("boss")),
    );
    ask("alice", "case.view", "affair").is(c, "allowed");
}

#[test]
fn step_6_support_reads_within_its_scope() {
    let (_db, mut client) = world();
    let c = &mut client;
    make::principal(c, "alice");
    make::case(c, id("acme"), "other");
    session(
        c,
        "support",
        "alice",
        &format!("'{}', 'organization', '{}'", id("acme"), text("firm")),
        "NULL, NULL, false",
    );
    ask("alice", "case.view", "affair").is(c, "allowed");
    ask("alice", "case.edit", "affair").is(c, "no_grant");
    ask("alice", "case.view", "other").is(c, "outside_tenant");
    execute(
        c,
        "UPDATE authz.permission_definition SET access_mode = 'read' WHERE permission_code = 'case.comment'",
    );
    ask("alice", "case.comment", "affair").is(c, "allowed");
    // No view_deleted: `auto` reads view, read and list only.
    execute(c, "UPDATE public.case_record SET deleted_at = now()");
    ask("alice", "case.view", "affair").is(c, "resource_deleted");
    execute(
        c,
        "UPDATE public.case_record SET deleted_at = NULL, confidentiality_level = 'restricted'",
    );
    ask("alice", "case.view", "affair").is(c, "confidentiality");
}

#[test]
fn step_6_a_session_without_tenant_and_scope_is_for_the_platform() {
    let (_db, mut client) = world();
    let c = &mut client;
    make::principal(c, "alice");
    session(c, "support", "alice", "NULL, NULL, NULL", "NULL, NULL, false");
    ask("alice", "case.view", "affair").is(c, "allowed");
    ask("alice", "tenant.view", "globex").is(c, "allowed");
}

#[test]
fn step_7_confidentiality() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    execute(
        c,
        &format!("UPDATE public.case_record SET owner_id = '{}'", text("alice")),
    );
    execute(
        c,
        "UPDATE authz.resource_type SET owner_role = 'editor' WHERE resource_type = 'case'",
    );
    make::role(c, "insider", &["case.view_restricted"]);
    make::assign(c, acme, id("alice"), "viewer", "tenant", acme);
    for level in ["'restricted'", "'sealed'", "'secret'", "NULL"] {
        execute(
            c,
            &format!("UPDATE public.case_record SET confidentiality_level = {level}"),
        );
        // Neither the role nor ownership reaches in.
        ask("alice", "case.view", "affair").is(c, "confidentiality");
        ask("alice", "case.admin", "affair").is(c, "no_grant");
    }
    execute(c, "UPDATE public.case_record SET confidentiality_level = 'restricted'");
    make::assign(c, acme, id("alice"), "insider", "team", id("squad"));
    ask("alice", "case.view", "affair").is(c, "allowed");
    execute(c, "UPDATE public.case_record SET confidentiality_level = 'sealed'");
    ask("alice", "case.view", "affair").is(c, "confidentiality");
    // By a winning allow rule, then by none: a deny of the privilege takes it away.
    make::rule(
        c,
        acme,
        "allow",
        1,
        ("case", None),
        ("any", None),
        Some("case.view_sealed"),
    );
    ask("alice", "case.view", "affair").is(c, "allowed");
    make::rule(
        c,
        acme,
        "deny",
        1,
        ("case", None),
        ("any", None),
        Some("case.view_sealed"),
    );
    ask("alice", "case.view", "affair").is(c, "confidentiality");
}

#[test]
fn step_7_clearance() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::role(c, "insider", &["case.view", "case.view_restricted", "case.view_sealed"]);
    make::assign(c, acme, id("alice"), "insider", "tenant", acme);
    execute(
        c,
        r#"UPDATE authz.resource_type SET clearance = '{"restricted": "L2"}' WHERE resource_type = 'case'"#,
    );
    ask("alice", "case.view", "affair").is(c, "allowed");
    execute(c, "UPDATE public.case_record SET confidentiality_level = 'restricted'");
    ask("alice", "case.view", "affair").is(c, "confidentiality");
    execute(
        c,
        &format!(
            "INSERT INTO authz.operator_profile (principal_id, operator_role, clearance_level) VALUES ('{}', 'SOC Analyst', 'L1')",
            text("alice")
        ),
    );
    ask("alice", "case.view", "affair").is(c, "confidentiality");
    execute(c, "UPDATE authz.operator_profile SET clearance_level = 'L3'");
    ask("alice", "case.view", "affair").is(c, "allowed");
    execute(c, "UPDATE public.case_record SET confidentiality_level = 'sealed'");
    execute(c, "UPDATE authz.operator_profile SET clearance_level = 'L1'");
    ask("alice", "case.view", "affair").is(c, "allowed");
}

#[test]
fn step_8_conditions() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::role(c, "guest", &[]);
    make::allow(c, "guest", "case.edit", Some("context.region == 'eu'"));
    make::assign(c, acme, id("alice"), "guest", "tenant", acme);
    // A missing attribute is an error, and an error is false.
    ask("alice", "case.view", "affair").is(c, "condition_failed");
    ask("alice", "case.view", "affair")
        .context(json!({"region": "us"}))
        .is(c, "condition_failed");
    ask("alice", "case.view", "affair")
        .context(json!({"region": "eu"}))
        .is(c, "allowed");
    ask("alice", "case.admin", "affair").is(c, "no_grant");
    // Another way without condition is enough.
    make::role(c, "other", &[]);
    make::inherit(c, "guest", "other");
    make::allow(c, "other", "case.view", Some("resource.title == 'alpha'"));
    ask("alice", "case.view", "affair").is(c, "condition_failed");
    execute(c, "UPDATE public.case_record SET title = 'alpha'");
    ask("alice", "case.view", "affair").is(c, "allowed");
    ask("alice", "case.comment", "affair").is(c, "condition_failed");
    make::allow(c, "other", "case.comment", None);
    ask("alice", "case.comment", "affair").is(c, "allowed");
}

#[test]
fn step_8_conditions_of_what_steps_4_and_7_ask_for() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::assign(c, acme, id("alice"), "viewer", "tenant", acme);
    make::allow(c, "viewer", "case.view_restricted", Some("has(context.ticket)"));
    execute(c, "UPDATE public.case_record SET confidentiality_level = 'restricted'");
    ask("alice", "case.view", "affair").is(c, "confidentiality");
    ask("alice", "case.view", "affair")
        .context(json!({"ticket": "T-1"}))
        .is(c, "allowed");
}

#[test]
fn step_9_mfa() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::role(c, "judge", &["case.approve"]);
    make::assign(c, acme, id("alice"), "judge", "tenant", acme);
    let used = json!({"mfa": true});
    ask("alice", "case.approve", "affair")
        .context(used.clone())
        .is(c, "mfa_required");
    execute(
        c,
        &format!(
            "INSERT INTO authz.account_security (principal_id, mfa_enabled) VALUES ('{}', true)",
            text("alice")
        ),
    );
    ask("alice", "case.approve", "affair").is(c, "mfa_required");
    ask("alice", "case.approve", "affair")
        .context(json!({"mfa": "true"}))
        .is(c, "mfa_required");
    ask("alice", "case.approve", "affair")
        .context(used.clone())
        .is(c, "allowed");
    execute(c, "UPDATE authz.account_security SET mfa_enabled = false");
    ask("alice", "case.approve", "affair")
        .context(used.clone())
        .is(c, "mfa_required");
    execute(
        c,
        &format!(
            "INSERT INTO authz.operator_profile (principal_id, operator_role, mfa_enabled) VALUES ('{}', 'MDR Lead', true)",
            text("alice")
        ),
    );
    ask("alice", "case.approve", "affair").context(used).is(c, "allowed");
}

#[test]
fn parents_are_asked_after_the_child() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::document(c, acme, "letter", Some(id("affair")));
    make::page(c, acme, "page 1", Some(id("letter")));
    make::role(c, "reader", &["page.view"]);
    let reads = make::assign(c, acme, id("alice"), "reader", "tenant", acme);
    // The page would do, its document does not: the reason is the document's.
    ask("alice", "page.view", "page 1").is(c, "no_grant");
    make::allow(c, "reader", "document.view", None);
    ask("alice", "page.view", "page 1").is(c, "no_grant");
    make::allow(c, "reader", "case.view", None);
    ask("alice", "page.view", "page 1").is(c, "allowed");
    execute(c, "UPDATE public.case_record SET deleted_at = now()");
    ask("alice", "page.view", "page 1").is(c, "resource_deleted");
    // The child's own reason comes first.
    ask("alice", "page.edit", "page 1").is(c, "no_grant");
    execute(c, "UPDATE public.case_record SET deleted_at = NULL");
    execute(
        c,
        "UPDATE public.case_document SET confidentiality_level = 'restricted'",
    );
    ask("alice", "page.view", "page 1").is(c, "confidentiality");
    execute(c, "UPDATE public.case_document SET confidentiality_level = 'normal'");
    // Given at the case, it covers what the case contains.
    make::revoke(c, reads);
    ask("alice", "page.view", "page 1").is(c, "no_grant");
    make::assign(c, acme, id("alice"), "reader", "case", id("affair"));
    ask("alice", "page.view", "page 1").is(c, "allowed");
    ask("alice", "document.view", "letter").is(c, "allowed");
    // A rule for every resource whose chain holds a document.
    make::rule(c, acme, "deny", 0, ("document", None), ("any", None), Some("page.view"));
    ask("alice", "page.view", "page 1").is(c, "explicit_deny");
    ask("alice", "document.view", "letter").is(c, "allowed");
}

#[test]
fn parents_that_are_missing_or_not_named() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::role(c, "reader", &["page.view", "document.view", "case.view"]);
    make::assign(c, acme, id("alice"), "reader", "tenant", acme);
    make::document(c, acme, "loose", None);
    make::document(c, acme, "orphan", Some(id("nothing")));
    make::case(c, id("globex"), "theirs");
    make::document(c, acme, "strayed", Some(id("theirs")));
    ask("alice", "document.view", "loose").is(c, "allowed");
    ask("alice", "document.view", "orphan").is(c, "resource_not_found");
    // A parent is looked for in the child's tenant only.
    ask("alice", "document.view", "strayed").is(c, "resource_not_found");
}

#[test]
fn a_select_permission_takes_the_place_of_view() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::role(c, "reader", &["document.view", "case.comment"]);
    make::document(c, acme, "letter", Some(id("affair")));
    make::assign(c, acme, id("alice"), "reader", "tenant", acme);
    ask("alice", "document.view", "letter").is(c, "allowed");
    execute(
        c,
        "UPDATE authz.resource_type SET select_permission = 'case.edit' WHERE resource_type = 'case'",
    );
    ask("alice", "document.view", "letter").is(c, "no_grant");
    execute(
        c,
        "UPDATE authz.resource_type SET select_permission = 'case.comment' WHERE resource_type = 'case'",
    );
    ask("alice", "document.view", "letter").is(c, "allowed");
}

#[test]
fn the_past_is_answered_by_history() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    let held = make::assign(c, acme, id("alice"), "viewer", "tenant", acme);
    let mut now = || -> String {
        // Apart from each other and from every change, so that the order of events is plain.
        std::thread::sleep(std::time::Duration::from_millis(5));
        let text: String = c.query_one("SELECT clock_timestamp()::text", &[]).unwrap().get(0);
        std::thread::sleep(std::time::Duration::from_millis(5));
        format!("'{text}'")
    };
    let allowed = now();
    let mut other = _db.connect();
    execute(&mut other, "UPDATE authz.principal SET status = 'suspended'");
    let suspended = now();
    execute(&mut other, "UPDATE authz.principal SET status = 'active'");
    execute(&mut other, "UPDATE authz.tenant_membership SET status = 'suspended'");
    let outside = now();
    execute(&mut other, "UPDATE authz.tenant_membership SET status = 'active'");
    make::revoke(&mut other, held);
    let revoked = now();
    make::assign(&mut other, acme, id("alice"), "viewer", "tenant", acme);

    let at = |at| Ask {
        at,
        ..ask("alice", "case.view", "affair")
    };
    at("NULL").is(c, "allowed");
    at(&allowed).is(c, "allowed");
    at(&suspended).is(c, "principal_inactive");
    at(&outside).is(c, "outside_tenant");
    at(&revoked).is(c, "no_grant");
    at("'2001-01-01'").is(c, "principal_inactive");
}

#[test]
fn null_is_a_deny() {
    let (_db, mut client) = world();
    let c = &mut client;
    for arguments in [
        "NULL::uuid, 'case.view', $1::uuid",
        "$1::uuid, NULL::text, $1::uuid",
        "$1::uuid, 'case.view', NULL::uuid",
        "NULL::uuid, NULL::text, NULL::uuid",
    ] {
        let row = c
            .query_one(&format!("SELECT authz_can({arguments}), $1::uuid"), &[&id("affair")])
            .unwrap();
        assert_eq!(row.get::<_, Option<bool>>(0), Some(false), "authz_can({arguments})");
    }
    let allowed: Vec<Option<bool>> = c
        .query(
            "SELECT (oracle.decide(NULL, 'case.view', $1::uuid::text)).allowed
             UNION ALL SELECT (oracle.decide($1, 'case.view', NULL)).allowed
             UNION ALL SELECT (oracle.decide($1, NULL, $1::uuid::text)).allowed",
            &[&id("affair")],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(allowed, [Some(false); 3]);
}
