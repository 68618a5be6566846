//! Tenants, organizations, teams and projects as resources, each with everything that contains it.

use crate::pg::authority::Reading;
use crate::pg::invalidation::Channel;
use crate::pg::relation::ScanKey;
use authz_engine::name::Kind;
use authz_engine::node::{Chain, Key, Node, close};
use authz_engine::resource::Resource;
use uuid::Uuid;

/// The scope of that id: one for each tenant that has one. Its chain goes from itself up to its tenant.
pub fn load(kind: Kind, id: Uuid, reading: &mut Reading) -> Vec<Resource> {
    // Sent for the id itself as well as for its tenant, so that "there is none" can be kept, too.
    reading.depends_on(match kind {
        Kind::TENANT => Channel::tenant(id),
        _ => Channel::group(&id.to_string()),
    });
    let tenants = match kind {
        Kind::TENANT => tenant_exists(id, reading).then_some(id).into_iter().collect(),
        _ => tenants_of(kind, id, reading),
    };
    tenants
        .into_iter()
        .map(|tenant| {
            reading.depends_on(Channel::tenant(tenant));
            let node = Node::uuid(kind, id);
            let mut chain = Chain::new();
            let Ok(()) = close(node.clone(), &mut chain, |inner, found| {
                containers(inner, tenant, reading, found);
                Ok::<(), std::convert::Infallible>(())
            });
            authz_engine::node::add(&mut chain, Node::uuid(Kind::TENANT, tenant));
            Resource::scope(node, tenant, chain)
        })
        .collect()
}

/// Table, index by id, and id column of a scope type.
const fn table_of(kind: Kind) -> Option<(&'static str, &'static str, &'static str)> {
    match kind {
        Kind::ORGANIZATION => Some(("organization", "organization_id_idx", "organization_id")),
        Kind::TEAM => Some(("team", "team_id_idx", "team_id")),
        Kind::PROJECT => Some(("project", "project_id_idx", "project_id")),
        _ => None,
    }
}

fn tenant_exists(id: Uuid, reading: &Reading) -> bool {
    let table = reading.open("tenant");
    let [tenant] = table.columns(["tenant_id"]);
    let mut exists = false;
    table.scan("tenant_pkey", &[ScanKey::uuid(tenant, &id)], |_| {
        exists = true;
        false
    });
    exists
}

fn tenants_of(kind: Kind, id: Uuid, reading: &Reading) -> Vec<Uuid> {
    let mut tenants = Vec::new();
    if let Some((name, index, id_column)) = table_of(kind) {
        let table = reading.open(name);
        let [tenant, key] = table.columns(["tenant_id", id_column]);
        table.scan(index, &[ScanKey::uuid(key, &id)], |row| {
            tenants.extend(row.uuid(tenant));
            true
        });
    }
    tenants
}

/// Adds the scopes that directly contain `node` in `tenant`.
fn containers(node: &Node, tenant: Uuid, reading: &Reading, found: &mut Vec<Node>) {
    let (Key::Uuid(id), Some((name, index, id_column))) = (&node.key, table_of(node.kind)) else {
        return;
    };
    let references: &[(&'static str, Kind)] = match node.kind {
        Kind::ORGANIZATION => &[("parent_organization_id", Kind::ORGANIZATION)],
        Kind::TEAM => &[("parent_team_id", Kind::TEAM), ("organization_id", Kind::ORGANIZATION)],
        _ => &[("organization_id", Kind::ORGANIZATION)],
    };
    let table = reading.open(name);
    let [tenant_column, key] = table.columns(["tenant_id", id_column]);
    table.scan(index, &[ScanKey::uuid(key, id)], |row| {
        if row.uuid(tenant_column) != Some(tenant) {
            return true;
        }
        for (column, kind) in references {
            let [column] = table.columns([*column]);
            found.extend(row.uuid(column).map(|id| Node::uuid(*kind, id)));
        }
        false
    });
}
