//! What a scope contains: the way down, where [`super::scope`] goes up. Row security needs it, because a row names
//! its own team, not the organization above it that a role was assigned at.

use crate::pg::authority::Reading;
use crate::pg::invalidation::Channel;
use crate::pg::relation::ScanKey;
use authz_engine::Instant;
use authz_engine::name::Kind;
use authz_engine::node::{Key, Node};
use hashbrown::HashSet;
use uuid::Uuid;

/// How one scope type contains another: the contained kind, its table, the index by (tenant, container), its columns.
struct Containment {
    container: Kind,
    contained: Kind,
    table: &'static str,
    index: &'static str,
    container_column: &'static str,
    id_column: &'static str,
}

const CONTAINMENTS: [Containment; 4] = [
    Containment {
        container: Kind::ORGANIZATION,
        contained: Kind::ORGANIZATION,
        table: "organization",
        index: "organization_parent_idx",
        container_column: "parent_organization_id",
        id_column: "organization_id",
    },
    Containment {
        container: Kind::ORGANIZATION,
        contained: Kind::TEAM,
        table: "team",
        index: "team_organization_idx",
        container_column: "organization_id",
        id_column: "team_id",
    },
    Containment {
        container: Kind::TEAM,
        contained: Kind::TEAM,
        table: "team",
        index: "team_parent_idx",
        container_column: "parent_team_id",
        id_column: "team_id",
    },
    Containment {
        container: Kind::ORGANIZATION,
        contained: Kind::PROJECT,
        table: "project",
        index: "project_organization_idx",
        container_column: "organization_id",
        id_column: "project_id",
    },
];

/// The nodes given and every organization, team and project that they contain in `tenant`.
pub fn load(tenant: Uuid, nodes: impl Iterator<Item = Node>, reading: &mut Reading) -> Vec<Node> {
    reading.depends_on(Channel::tenant(tenant));
    let mut seen: HashSet<Node> = HashSet::new();
    let mut all: Vec<Node> = nodes.filter(|n| seen.insert(n.clone())).collect();
    let mut next = 0;
    while let Some(node) = all.get(next).cloned() {
        next += 1;
        let Key::Uuid(id) = node.key else {
            continue;
        };
        for c in CONTAINMENTS.iter().filter(|c| c.container == node.kind) {
            let table = reading.open(c.table);
            let [tenant_id, container, key] = table.columns(["tenant_id", c.container_column, c.id_column]);
            let keys = [ScanKey::uuid(tenant_id, &tenant), ScanKey::uuid(container, &id)];
            table.scan(c.index, &keys, |row| {
                all.extend(
                    row.uuid(key)
                        .map(|id| Node::uuid(c.contained, id))
                        .filter(|n| seen.insert(n.clone())),
                );
                true
            });
        }
    }
    all
}

/// Every tenant.
pub fn tenants(reading: &mut Reading) -> Vec<Uuid> {
    reading.depends_on(Channel::ANY_TENANT);
    let table = reading.open("tenant");
    let [id] = table.columns(["tenant_id"]);
    let mut all = Vec::new();
    table.scan_all(|row| all.extend(row.uuid(id)));
    all
}

/// Does any rule, of whatever tenant, that is not over at `at` address everybody?
pub fn has_rules_for_all(reading: &mut Reading, at: Instant) -> bool {
    reading.depends_on(Channel::ANY_TENANT);
    let table = reading.open("resource_access_rule");
    let [grantee_type, grantee_id, until] = table.columns(["grantee_type", "grantee_id", "active_until"]);
    let mut any = false;
    let keys = [ScanKey::text(grantee_type, "any"), ScanKey::null(grantee_id)];
    table.scan("resource_access_rule_grantee_idx", &keys, |row| {
        any = row.instant(until).is_none_or(|until| until > at);
        !any
    });
    any
}

/// Every organization, team or project of a tenant.
pub fn scopes_of(tenant: Uuid, kind: Kind) -> Vec<Uuid> {
    let (table, index, id_column) = match kind {
        Kind::ORGANIZATION => ("organization", "organization_pkey", "organization_id"),
        Kind::TEAM => ("team", "team_pkey", "team_id"),
        Kind::PROJECT => ("project", "project_pkey", "project_id"),
        _ => return Vec::new(),
    };
    let reading = Reading::begin();
    let table = reading.open(table);
    let [tenant_id, id] = table.columns(["tenant_id", id_column]);
    let mut all = Vec::new();
    table.scan(index, &[ScanKey::uuid(tenant_id, &tenant)], |row| {
        all.extend(row.uuid(id));
        true
    });
    all
}
