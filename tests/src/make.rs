//! Short ways to say who exists and what they have been given: plain SQL, as a database owner would write it.
//!
//! Ids are made from names, so that a test reads `make::id("alice")` wherever it means Alice.

use postgres::{Client, GenericClient};
use uuid::Uuid;

use crate::{Db, report, value};

/// The id that a name stands for.
pub fn id(name: &str) -> Uuid {
    // FNV-1a, 128 bits: no dependency, and the same in every run.
    let hash = name
        .bytes()
        .fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        });
    Uuid::from_u128(hash)
}

type Args<'a> = &'a [&'a (dyn postgres::types::ToSql + Sync)];

#[track_caller]
fn run(c: &mut impl GenericClient, sql: &str, args: Args) {
    if let Err(e) = c.execute(sql, args) {
        panic!("{}\nin: {sql} {args:?}", report(&e));
    }
}

/// A tenant.
#[track_caller]
pub fn tenant(c: &mut impl GenericClient, name: &str) -> Uuid {
    run(
        c,
        "INSERT INTO authz.tenant (tenant_id, slug, name) VALUES ($1, $2, $2)",
        &[&id(name), &name],
    );
    id(name)
}

/// An organization, inside another or not.
#[track_caller]
pub fn organization(c: &mut impl GenericClient, tenant: Uuid, name: &str, parent: Option<Uuid>) -> Uuid {
    run(
        c,
        "INSERT INTO authz.organization (tenant_id, organization_id, parent_organization_id, name) VALUES ($1, $2, $3, $4)",
        &[&tenant, &id(name), &parent, &name],
    );
    id(name)
}

/// A team, inside another or not, of an organization or of none.
#[track_caller]
pub fn team(
    c: &mut impl GenericClient,
    tenant: Uuid,
    name: &str,
    parent: Option<Uuid>,
    organization: Option<Uuid>,
) -> Uuid {
    run(
        c,
        "INSERT INTO authz.team (tenant_id, team_id, parent_team_id, organization_id, name) VALUES ($1, $2, $3, $4, $5)",
        &[&tenant, &id(name), &parent, &organization, &name],
    );
    id(name)
}

/// A project, of an organization or of none.
#[track_caller]
pub fn project(c: &mut impl GenericClient, tenant: Uuid, name: &str, organization: Option<Uuid>) -> Uuid {
    run(
        c,
        "INSERT INTO authz.project (tenant_id, project_id, organization_id, name) VALUES ($1, $2, $3, $4)",
        &[&tenant, &id(name), &organization, &name],
    );
    id(name)
}

/// An active human principal.
#[track_caller]
pub fn principal(c: &mut impl GenericClient, name: &str) -> Uuid {
    run(
        c,
        "INSERT INTO authz.principal (principal_id, principal_type, external_id, display_name, status)
         VALUES ($1, 'human', $2, $2, 'active')",
        &[&id(name), &name],
    );
    id(name)
}

/// A principal with an active membership.
#[track_caller]
pub fn member(c: &mut impl GenericClient, tenant: Uuid, name: &str) -> Uuid {
    let principal = principal(c, name);
    join(c, tenant, principal);
    principal
}

/// An active membership.
#[track_caller]
pub fn join(c: &mut impl GenericClient, tenant: Uuid, principal: Uuid) {
    run(
        c,
        "INSERT INTO authz.tenant_membership (tenant_id, principal_id, status, member_kind) VALUES ($1, $2, 'active', 'member')",
        &[&tenant, &principal],
    );
}

/// A membership in a team.
#[track_caller]
pub fn join_team(c: &mut impl GenericClient, tenant: Uuid, team: Uuid, principal: Uuid) {
    run(
        c,
        "INSERT INTO authz.team_membership_history (tenant_id, team_id, principal_id) VALUES ($1, $2, $3)",
        &[&tenant, &team, &principal],
    );
}

/// A role with permissions.
#[track_caller]
pub fn role(c: &mut impl GenericClient, code: &str, permissions: &[&str]) {
    run(
        c,
        "INSERT INTO authz.role_definition (role_code, role_name, role_kind) VALUES ($1, $1, 'functional')",
        &[&code],
    );
    for permission in permissions {
        allow(c, code, permission, None);
    }
}

/// One more permission for a role, under a condition or not.
#[track_caller]
pub fn allow(c: &mut impl GenericClient, role: &str, permission: &str, condition: Option<&str>) {
    run(
        c,
        "INSERT INTO authz.role_permission (role_code, permission_code, condition) VALUES ($1, $2, $3)",
        &[&role, &permission, &condition],
    );
}

/// Role inheritance.
#[track_caller]
pub fn inherit(c: &mut impl GenericClient, role: &str, inherited: &str) {
    run(
        c,
        "INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ($1, $2)",
        &[&role, &inherited],
    );
}

/// A role assignment at a node of a tenant; its id.
#[track_caller]
pub fn assign(
    c: &mut impl GenericClient,
    tenant: Uuid,
    principal: Uuid,
    role: &str,
    scope_type: &str,
    scope: Uuid,
) -> Uuid {
    value(
        c,
        "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
         VALUES ($1, $2, $3, $4, $5::uuid::text) RETURNING assignment_id",
        &[&tenant, &principal, &role, &scope_type, &scope],
    )
}

/// A role assignment at platform scope; its id.
#[track_caller]
pub fn assign_platform(c: &mut impl GenericClient, principal: Uuid, role: &str) -> Uuid {
    value(
        c,
        "INSERT INTO authz.principal_role_assignment (principal_id, role_code, scope_type)
         VALUES ($1, $2, 'platform') RETURNING assignment_id",
        &[&principal, &role],
    )
}

/// Closes an assignment.
#[track_caller]
pub fn revoke(c: &mut impl GenericClient, assignment: Uuid) {
    run(
        c,
        "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE assignment_id = $1",
        &[&assignment],
    );
}

/// A grant on a resource; its id.
#[track_caller]
pub fn grant(
    c: &mut impl GenericClient,
    tenant: Uuid,
    resource: (&str, Uuid),
    grantee: (&str, &str),
    permission: &str,
) -> Uuid {
    value(
        c,
        "INSERT INTO authz.resource_access_grant
                (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
         VALUES ($1, $2, $3::uuid::text, $4, $5, $6) RETURNING grant_id",
        &[&tenant, &resource.0, &resource.1, &grantee.0, &grantee.1, &permission],
    )
}

/// Closes a grant.
#[track_caller]
pub fn revoke_grant(c: &mut impl GenericClient, grant: Uuid) {
    run(
        c,
        "UPDATE authz.resource_access_grant SET revoked_at = statement_timestamp() WHERE grant_id = $1",
        &[&grant],
    );
}

/// An allow or deny rule; its id. A grantee of `("any", None)` is everybody.
#[track_caller]
pub fn rule(
    c: &mut impl GenericClient,
    tenant: Uuid,
    effect: &str,
    priority: i32,
    resource: (&str, Option<Uuid>),
    grantee: (&str, Option<&str>),
    permission: Option<&str>,
) -> Uuid {
    value(
        c,
        "INSERT INTO authz.resource_access_rule
                (tenant_id, effect, priority, resource_type, resource_id, grantee_type, grantee_id, permission_code)
         VALUES ($1, $2, $3, $4, $5::uuid::text, $6, $7, $8) RETURNING rule_id",
        &[
            &tenant,
            &effect,
            &priority,
            &resource.0,
            &resource.1,
            &grantee.0,
            &grantee.1,
            &permission,
        ],
    )
}

/// A row of the fixture's `case_record`: an unowned, unprotected, living case of a tenant.
#[track_caller]
pub fn case(c: &mut impl GenericClient, tenant: Uuid, name: &str) -> Uuid {
    run(
        c,
        "INSERT INTO public.case_record (tenant_id, case_id, title) VALUES ($1, $2, $3)",
        &[&tenant, &id(name), &name],
    );
    id(name)
}

/// A row of the fixture's `case_document`.
#[track_caller]
pub fn document(c: &mut impl GenericClient, tenant: Uuid, name: &str, case: Option<Uuid>) -> Uuid {
    run(
        c,
        "INSERT INTO public.case_document (tenant_id, document_id, case_id, title) VALUES ($1, $2, $3, $4)",
        &[&tenant, &id(name), &case, &name],
    );
    id(name)
}

/// A row of the fixture's `document_page`.
#[track_caller]
pub fn page(c: &mut impl GenericClient, tenant: Uuid, name: &str, document: Option<Uuid>) -> Uuid {
    run(
        c,
        "INSERT INTO public.document_page (tenant_id, page_id, document_id, title) VALUES ($1, $2, $3, $4)",
        &[&tenant, &id(name), &document, &name],
    );
    id(name)
}

/// The plain question.
#[track_caller]
pub fn can(c: &mut impl GenericClient, principal: Uuid, permission: &str, resource: Uuid) -> bool {
    value(
        c,
        "SELECT authz_can($1::uuid, $2::text, $3::uuid)",
        &[&principal, &permission, &resource],
    )
}

/// The reason code of a denial; `None` where it is allowed.
#[track_caller]
pub fn reason(c: &mut impl GenericClient, principal: Uuid, permission: &str, resource: Uuid) -> Option<String> {
    value(
        c,
        "SELECT CASE WHEN e ->> 'decision' = 'deny' THEN coalesce(e ->> 'reason', 'without a reason') END
           FROM authz_explain($1::uuid, $2::text, $3::uuid) AS e",
        &[&principal, &permission, &resource],
    )
}

/// Tenant acme with the case `affair`, which Alice may view as `viewer` and not edit, and Bob, who is a member as well, may not.
#[track_caller]
pub fn affair(c: &mut impl GenericClient) -> Uuid {
    let acme = tenant(c, "acme");
    case(c, acme, "affair");
    role(c, "viewer", &["case.view"]);
    member(c, acme, "alice");
    member(c, acme, "bob");
    assign(c, acme, id("alice"), "viewer", "tenant", acme);
    acme
}

/// Tenants acme (organization firm, team crew, project apollo, case affair) and globex; Alice views affair as `viewer`.
#[track_caller]
pub fn acme() -> (Db, Client) {
    let db = Db::new();
    let mut client = db.connect();
    let c = &mut client;
    let acme = tenant(c, "acme");
    tenant(c, "globex");
    organization(c, acme, "firm", None);
    team(c, acme, "crew", None, Some(id("firm")));
    project(c, acme, "apollo", None);
    case(c, acme, "affair");
    role(c, "viewer", &["case.view"]);
    member(c, acme, "alice");
    assign(c, acme, id("alice"), "viewer", "tenant", acme);
    assert!(can(c, id("alice"), "case.view", id("affair")));
    (db, client)
}
