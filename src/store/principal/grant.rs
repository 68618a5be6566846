//! Grants and rules, by whom they address.

use crate::pg::authority::{Authority, Reading};
use crate::pg::invalidation::Channel;
use crate::pg::relation::ScanKey;
use crate::store::When;
use authz_engine::name::Vocabulary;
use authz_engine::node::{Key, Node};
use authz_engine::subject::{BindingIndex, Grantee, Place, Row, Subject, What};
use uuid::Uuid;

/// `grantee_type` and `grantee_id` of a grantee.
fn columns_of(grantee: Grantee, names: &Vocabulary) -> (&'static str, Option<String>) {
    match grantee {
        Grantee::Principal(id) => ("principal", Some(id.to_string())),
        Grantee::Team(id) => ("team", Some(id.to_string())),
        Grantee::Organization(id) => ("organization", Some(id.to_string())),
        Grantee::Role(role) => ("role", Some(names.roles.name(role.0).to_owned())),
        Grantee::Any => ("any", None),
    }
}

pub(super) fn channel_of(grantee: Grantee, names: &Vocabulary) -> Option<Channel> {
    match grantee {
        Grantee::Principal(id) => Some(Channel::principal(id)),
        Grantee::Any => None,
        _ => columns_of(grantee, names).1.map(|id| Channel::group(&id)),
    }
}

/// The grants of one grantee in some tenants; `None` if they are more than `limit`.
pub(super) fn read_grants(
    grantee: Grantee,
    tenants: &[Uuid],
    when: When,
    limit: usize,
    names: &mut Vocabulary,
    reading: &Reading,
) -> Option<Vec<Row>> {
    let table = reading.open("resource_access_grant");
    let [grantee_type, grantee_id, tenant_id, until] =
        table.columns(["grantee_type", "grantee_id", "tenant_id", "active_until"]);
    let (kind, id) = columns_of(grantee, names);
    let mut rows = Vec::new();
    for tenant in tenants {
        let keys = [
            ScanKey::uuid(tenant_id, tenant),
            ScanKey::text(grantee_id, id.as_deref().unwrap_or_default()),
            ScanKey::text(grantee_type, kind),
            ScanKey::after(until, when.horizon()),
        ];
        let mut too_many = false;
        scan_grants(
            &table,
            "resource_access_grant_grantee_idx",
            &keys,
            grantee,
            names,
            |row| {
                if when.concerns(&row.valid) {
                    too_many = rows.len() >= limit;
                    rows.push(row);
                }
                !too_many
            },
        );
        if too_many {
            return None;
        }
    }
    Some(rows)
}

/// The grants of a principal's large grantees on the nodes of `chain`.
pub fn load_large(
    subject: &Subject,
    chain: &[Node],
    when: When,
    names: &mut Vocabulary,
    reading: &mut Reading,
) -> BindingIndex {
    reading.depends_on(Channel::principal(subject.id));
    subject
        .large
        .iter()
        .filter_map(|g| channel_of(*g, names))
        .for_each(|channel| reading.depends_on(channel));
    let table = reading.open("resource_access_grant");
    let [resource_type, resource_id, grantee_type, grantee_id] =
        table.columns(["resource_type", "resource_id", "grantee_type", "grantee_id"]);
    let mut rows = Vec::new();
    for &grantee in &subject.large {
        let (kind, id) = columns_of(grantee, names);
        for node in chain {
            let keys = [
                ScanKey::text(resource_type, names.kinds.name(node.kind.0)),
                ScanKey::text(resource_id, &node.key.to_string()),
                ScanKey::text(grantee_type, kind),
                ScanKey::text(grantee_id, id.as_deref().unwrap_or_default()),
            ];
            scan_grants(
                &table,
                "resource_access_grant_resource_idx",
                &keys,
                grantee,
                names,
                |row| {
                    if when.concerns(&row.valid) {
                        rows.push(row);
                    }
                    true
                },
            );
        }
    }
    subject.index_of(rows)
}

fn scan_grants(
    table: &Authority,
    index: &'static str,
    keys: &[ScanKey],
    grantee: Grantee,
    names: &mut Vocabulary,
    mut each: impl FnMut(Row) -> bool,
) {
    let [grant, tenant, resource_type, resource_id, permission, from, until] = table.columns([
        "grant_id",
        "tenant_id",
        "resource_type",
        "resource_id",
        "permission_code",
        "active_from",
        "active_until",
    ]);
    table.scan(index, keys, |row| {
        match (
            row.uuid(grant),
            row.uuid(tenant),
            row.text(resource_type),
            row.text(resource_id),
            row.text(permission),
        ) {
            (Some(id), Some(tenant), Some(kind), Some(resource), Some(permission)) => each(Row {
                id,
                tenant,
                grantee,
                place: Place::Node(Node::new(names.kind(&kind), Key::from_text(&resource))),
                what: What::Grant(names.permission(&permission)),
                valid: row.interval(from, until),
            }),
            _ => true,
        }
    });
}

/// Calls `each` with every rule of a grantee, of one tenant or of all.
pub fn read_rules(
    grantee: Grantee,
    tenant: Option<Uuid>,
    when: When,
    names: &mut Vocabulary,
    reading: &Reading,
    mut each: impl FnMut(Row),
) {
    let table = reading.open("resource_access_rule");
    let [
        rule,
        tenant_id,
        effect,
        grantee_type,
        grantee_id,
        resource_type,
        resource_id,
    ] = table.columns([
        "rule_id",
        "tenant_id",
        "effect",
        "grantee_type",
        "grantee_id",
        "resource_type",
        "resource_id",
    ]);
    let [permission, priority, from, until] =
        table.columns(["permission_code", "priority", "active_from", "active_until"]);
    let (kind, id) = columns_of(grantee, names);
    let mut keys = vec![
        ScanKey::text(grantee_type, kind),
        id.map_or_else(|| ScanKey::null(grantee_id), |id| ScanKey::text(grantee_id, &id)),
    ];
    keys.extend(tenant.as_ref().map(|tenant| ScanKey::uuid(tenant_id, tenant)));
    keys.push(ScanKey::after(until, when.horizon()));
    table.scan("resource_access_rule_grantee_idx", &keys, |row| {
        let valid = row.interval(from, until);
        if !when.concerns(&valid) {
            return true;
        }
        if let (Some(id), Some(tenant), Some(kind)) = (row.uuid(rule), row.uuid(tenant_id), row.text(resource_type)) {
            let kind = names.kind(&kind);
            each(Row {
                id,
                tenant,
                grantee,
                place: match row.text(resource_id) {
                    Some(resource) => Place::Node(Node::new(kind, Key::from_text(&resource))),
                    None => Place::Every(kind),
                },
                what: What::Rule {
                    // Whatever is not plainly an allow is a deny.
                    deny: row.text(effect).as_deref() != Some("allow"),
                    priority: row.int4(priority).unwrap_or(i32::MAX),
                    permission: row.text(permission).map(|p| names.permission(&p)),
                },
                valid,
            });
        }
        true
    });
}
