//! Roles, permissions and resource types: small, and needed whole.

use crate::pg::authority::Reading;
use crate::pg::history::{Attribute, HistoryNames};
use crate::pg::invalidation::Channel;
use crate::pg::user_table::ColumnNames;
use authz_engine::condition::Condition;
use authz_engine::model::{Inheritance, Model, ModelFacts, PermissionDefinition, ResourceType, RolePermission};
use authz_engine::name::{Kind, Vocabulary};
use hashbrown::HashMap;
use pgrx::pg_sys;
use std::sync::Arc;

/// Where the rows of a resource type are.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its table.
    pub target: pg_sys::Oid,
    /// Its columns.
    pub columns: ColumnNames,
    /// The type of its parents.
    pub parent: Option<Kind>,
    /// Where it is written how their boundary was before.
    pub histories: Vec<HistoryNames>,
}

/// The model with what the engine does not need to know of it.
pub struct LoadedModel {
    /// Compiled.
    pub model: Model,
    /// Registered tables.
    pub registrations: HashMap<Kind, Registration>,
}

/// Loads everything. `names` are those of the model before: numbers stay what they were.
pub fn load(mut names: Vocabulary, reading: &mut Reading) -> LoadedModel {
    reading.depends_on(Channel::MODEL);
    reading.depends_on(Channel::SHAPE);
    let mut facts = ModelFacts::default();
    load_permissions(reading, &mut names, &mut facts);
    load_roles(reading, &mut names, &mut facts);
    let registrations = load_types(reading, &mut names, &mut facts);
    LoadedModel {
        model: Model::compile(names, facts),
        registrations,
    }
}

fn load_permissions(reading: &Reading, names: &mut Vocabulary, facts: &mut ModelFacts) {
    let table = reading.open("permission_definition");
    let [code, kind, action, mfa, mode] = table.columns([
        "permission_code",
        "resource_type",
        "action_code",
        "requires_mfa",
        "access_mode",
    ]);
    table.scan_all(|row| {
        if let (Some(code), Some(kind), Some(action)) = (row.text(code), row.text(kind), row.text(action)) {
            facts.permissions.push(PermissionDefinition {
                permission: names.permission(&code),
                kind: names.kind(&kind),
                requires_mfa: row.bool(mfa).unwrap_or(true),
                read_only: match row.text(mode).as_deref() {
                    Some("read") => true,
                    Some("auto") => matches!(&*action, "view" | "read" | "list"),
                    _ => false,
                },
                action: action.into(),
            });
        }
    });

    let table = reading.open("permission_implication");
    let [code, implied] = table.columns(["permission_code", "implied_permission_code"]);
    table.scan_all(|row| {
        if let (Some(code), Some(implied)) = (row.text(code), row.text(implied)) {
            facts
                .implications
                .push((names.permission(&code), names.permission(&implied)));
        }
    });
}

fn load_roles(reading: &Reading, names: &mut Vocabulary, facts: &mut ModelFacts) {
    let table = reading.open("role_inheritance");
    let [role, inherited, from, until] =
        table.columns(["role_code", "inherited_role_code", "active_from", "active_until"]);
    table.scan_all(|row| {
        if let (Some(role), Some(inherited)) = (row.text(role), row.text(inherited)) {
            facts.inheritance.push(Inheritance {
                role: names.role(&role),
                inherits: names.role(&inherited),
                valid: row.interval(from, until),
            });
        }
    });

    let table = reading.open("role_permission");
    let [role, permission, condition, obligations, from, until] = table.columns([
        "role_code",
        "permission_code",
        "condition",
        "obligations",
        "active_from",
        "active_until",
    ]);
    table.scan_all(|row| {
        if let (Some(role), Some(permission)) = (row.text(role), row.text(permission)) {
            let condition = row.text(condition).map(|source| {
                // A trigger refuses what cannot be parsed. Were it switched off, such a row must still not become an
                // unconditional permission: a condition that cannot be parsed is one that is never true.
                Condition::parse(&source)
                    .or_else(|_| Condition::parse("false"))
                    .map(Arc::new)
            });
            let Some(condition) = condition.transpose().ok() else {
                return;
            };
            facts.role_permissions.push(RolePermission {
                role: names.role(&role),
                permission: names.permission(&permission),
                valid: row.interval(from, until),
                condition,
                obligations: row.jsonb(obligations).map(Arc::new),
            });
        }
    });
}

fn load_types(reading: &Reading, names: &mut Vocabulary, facts: &mut ModelFacts) -> HashMap<Kind, Registration> {
    let table = reading.open("resource_type");
    let [kind, target, key, tenant, organization, team, project, owner] = table.columns([
        "resource_type",
        "target",
        "key_column",
        "tenant_column",
        "organization_column",
        "team_column",
        "project_column",
        "owner_column",
    ]);
    let [
        confidentiality,
        deleted_at,
        parent_type,
        parent,
        owner_role,
        clearance,
        select,
    ] = table.columns([
        "confidentiality_column",
        "deleted_at_column",
        "parent_type",
        "parent_column",
        "owner_role",
        "clearance",
        "select_permission",
    ]);
    let mut registrations = HashMap::new();
    table.scan_all(|row| {
        let (Some(kind), Some(target)) = (row.text(kind), row.oid(target)) else {
            return;
        };
        let kind = names.kind(&kind);
        let clearance = row.jsonb(clearance).unwrap_or_default();
        facts.types.push(ResourceType {
            kind,
            owner_role: row.text(owner_role).map(|r| names.role(&r)),
            clearance_restricted: clearance_level(clearance["restricted"].as_str()),
            clearance_sealed: clearance_level(clearance["sealed"].as_str()),
            select_permission: row.text(select).map(|p| names.permission(&p)),
        });
        let registration = Registration {
            target,
            columns: ColumnNames {
                key: row.name(key).unwrap_or_default(),
                tenant: row.name(tenant).unwrap_or_default(),
                organization: row.name(organization),
                team: row.name(team),
                project: row.name(project),
                owner: row.name(owner),
                confidentiality: row.name(confidentiality),
                deleted_at: row.name(deleted_at),
                parent: row.name(parent),
            },
            parent: row.name(parent_type).map(|p| names.kind(&p)),
            histories: Vec::new(),
        };
        registrations.insert(kind, registration);
    });
    load_histories(reading, names, &mut registrations);
    registrations
}

fn load_histories(reading: &Reading, names: &mut Vocabulary, registrations: &mut HashMap<Kind, Registration>) {
    let table = reading.open("resource_history");
    let [kind, attribute, target, key, tenant, value] = table.columns([
        "resource_type",
        "attribute",
        "target",
        "key_column",
        "tenant_column",
        "value_column",
    ]);
    let [from, until, kind_column, kind_value] =
        table.columns(["from_column", "until_column", "kind_column", "kind_value"]);
    table.scan_all(|row| {
        let (Some(kind), Some(attribute), Some(target)) = (row.text(kind), row.text(attribute), row.oid(target)) else {
            return;
        };
        let (Some(attribute), Some(registration)) = (
            Attribute::from_text(&attribute),
            registrations.get_mut(&names.kind(&kind)),
        ) else {
            return;
        };
        registration.histories.push(HistoryNames {
            attribute,
            target,
            key: row.name(key).unwrap_or_default(),
            tenant: row.name(tenant).unwrap_or_default(),
            value: row.name(value).unwrap_or_default(),
            from: row.name(from).unwrap_or_default(),
            until: row.name(until).unwrap_or_default(),
            only: row.name(kind_column).zip(row.text(kind_value)),
        });
    });
}

/// `L2` as 2; no level as 0.
pub fn clearance_level(level: Option<&str>) -> u8 {
    match level {
        None => 0,
        Some("L1") => 1,
        Some("L2") => 2,
        Some("L3") => 3,
        // A level that nobody has.
        Some(_) => u8::MAX,
    }
}
