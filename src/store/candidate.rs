//! Who may have something to do with a resource: everybody to whom a binding, in force at the instant, could give a
//! permission on it. The other way round than [`super::principal`], which finds the bindings of one principal. One too
//! many costs a decision, one too few would be missing from an answer.

use super::{When, below};
use crate::pg::authority::Reading;
use crate::pg::relation::{ScanKey, Tuple};
use authz_engine::model::Model;
use authz_engine::name::{Kind, Permission, Role, Vocabulary};
use authz_engine::node::{Key, Node};
use authz_engine::resource::Resource;
use authz_engine::role::{Composition, Gives};
use std::collections::BTreeSet;
use uuid::Uuid;

/// What is asked about.
pub struct Wanted<'a> {
    /// Roles, permissions, resource types.
    pub model: &'a Model,
    /// Role composition at the instant.
    pub composition: &'a Composition,
    /// The permission.
    pub permission: Permission,
    /// The resource.
    pub resource: &'a Resource,
}

impl Wanted<'_> {
    fn given_by(&self, role: Role) -> bool {
        self.composition.gives(role, self.permission) != Gives::No
    }
}

/// The candidates.
pub fn load(wanted: &Wanted<'_>, when: When, names: &mut Vocabulary, reading: &mut Reading) -> BTreeSet<Uuid> {
    let mut search = Search {
        wanted,
        when,
        grantees: BTreeSet::new(),
        found: BTreeSet::new(),
    };
    search.assignments(Kind::PLATFORM, None, names, reading);
    search.sessions(reading);
    if let Some(tenant) = wanted.resource.tenant {
        for node in &wanted.resource.chain {
            search.assignments(node.kind, Some((&node.key, tenant)), names, reading);
            search.grants(node, tenant, names, reading);
            search.rules(node.kind, Some(&node.key), tenant, names, reading);
            search.rules(node.kind, None, tenant, names, reading);
        }
        search.owners();
        search.expand(tenant, names, reading);
    }
    search.found
}

/// A type and an id as grants and rules name their grantees.
type Grantee = (String, Option<String>);

struct Search<'a> {
    wanted: &'a Wanted<'a>,
    when: When,
    grantees: BTreeSet<Grantee>,
    found: BTreeSet<Uuid>,
}

impl Search<'_> {
    /// Role assignments at a node, or (`None`) at the platform.
    fn assignments(&mut self, kind: Kind, at: Option<(&Key, Uuid)>, names: &mut Vocabulary, reading: &Reading) {
        let table = reading.open("principal_role_assignment");
        let [principal, role, scope_type, scope_id, tenant_id, from, until] = table.columns([
            "principal_id",
            "role_code",
            "scope_type",
            "scope_id",
            "tenant_id",
            "active_from",
            "active_until",
        ]);
        let tenant = at.map(|(_, tenant)| tenant);
        let keys = [
            ScanKey::text(scope_type, names.kinds.name(kind.0)),
            at.map_or_else(
                || ScanKey::null(scope_id),
                |(key, _)| ScanKey::text(scope_id, &key.to_string()),
            ),
            tenant
                .as_ref()
                .map_or_else(|| ScanKey::null(tenant_id), |tenant| ScanKey::uuid(tenant_id, tenant)),
            ScanKey::after(until, self.when.horizon()),
        ];
        table.scan("principal_role_assignment_scope_idx", &keys, |row| {
            if let (Some(principal), Some(role), true) =
                (row.uuid(principal), row.text(role), self.counts(row, from, until))
                && self.wanted.given_by(names.role(&role))
            {
                self.found.insert(principal);
            }
            true
        });
    }

    fn counts(&self, row: &Tuple<'_>, from: i16, until: i16) -> bool {
        self.when.concerns(&row.interval(from, until))
    }

    /// Privileged sessions in the resource's tenant, or in all.
    fn sessions(&mut self, reading: &Reading) {
        let table = reading.open("privileged_access_session");
        let [principal, tenant, from, until] =
            table.columns(["principal_id", "tenant_id", "active_from", "active_until"]);
        let keys = [ScanKey::after(until, self.when.horizon())];
        table.scan("privileged_access_session_until_idx", &keys, |row| {
            let covers = row.uuid(tenant).is_none_or(|t| self.wanted.resource.tenant == Some(t));
            if covers && self.counts(row, from, until) {
                self.found.extend(row.uuid(principal));
            }
            true
        });
    }

    /// Grants on a node.
    fn grants(&mut self, node: &Node, tenant: Uuid, names: &mut Vocabulary, reading: &Reading) {
        let table = reading.open("resource_access_grant");
        let [
            resource_type,
            resource_id,
            tenant_id,
            permission,
            grantee_type,
            grantee_id,
            from,
            until,
        ] = table.columns([
            "resource_type",
            "resource_id",
            "tenant_id",
            "permission_code",
            "grantee_type",
            "grantee_id",
            "active_from",
            "active_until",
        ]);
        let keys = [
            ScanKey::text(resource_type, names.kinds.name(node.kind.0)),
            ScanKey::text(resource_id, &node.key.to_string()),
        ];
        table.scan("resource_access_grant_resource_idx", &keys, |row| {
            if let (Some(kind), Some(permission)) = (row.text(grantee_type), row.text(permission))
                && row.uuid(tenant_id) == Some(tenant)
                && self.counts(row, from, until)
                && self
                    .wanted
                    .model
                    .permission(&permission)
                    .is_some_and(|held| self.wanted.model.implies(held, self.wanted.permission))
            {
                self.grantees.insert((kind, row.text(grantee_id)));
            }
            true
        });
    }

    /// Allow rules about a node, or (`None`) about every resource of a type.
    fn rules(&mut self, kind: Kind, key: Option<&Key>, tenant: Uuid, names: &Vocabulary, reading: &Reading) {
        let table = reading.open("resource_access_rule");
        let [
            tenant_id,
            resource_type,
            resource_id,
            effect,
            permission,
            grantee_type,
            grantee_id,
        ] = table.columns([
            "tenant_id",
            "resource_type",
            "resource_id",
            "effect",
            "permission_code",
            "grantee_type",
            "grantee_id",
        ]);
        let [from, until] = table.columns(["active_from", "active_until"]);
        let keys = [
            ScanKey::uuid(tenant_id, &tenant),
            ScanKey::text(resource_type, names.kinds.name(kind.0)),
            key.map_or_else(
                || ScanKey::null(resource_id),
                |key| ScanKey::text(resource_id, &key.to_string()),
            ),
            ScanKey::after(until, self.when.horizon()),
        ];
        table.scan("resource_access_rule_resource_idx", &keys, |row| {
            let about = row
                .text(permission)
                .is_none_or(|p| self.wanted.model.permission(&p) == Some(self.wanted.permission));
            if let (Some(kind), Some("allow")) = (row.text(grantee_type), row.text(effect).as_deref())
                && about
                && self.counts(row, from, until)
            {
                self.grantees.insert((kind, row.text(grantee_id)));
            }
            true
        });
    }

    /// Whoever owns it, or one of its parents, and may do it by that.
    fn owners(&mut self) {
        for (kind, owner) in self.wanted.resource.owned() {
            let role = self.wanted.model.resource_type(kind).and_then(|t| t.owner_role);
            if role.is_some_and(|role| self.wanted.given_by(role)) {
                // It may be any of the three.
                for kind in ["principal", "team", "organization"] {
                    self.grantees.insert((kind.to_owned(), Some(owner.to_string())));
                }
            }
        }
    }

    /// From grantees to principals.
    fn expand(&mut self, tenant: Uuid, names: &mut Vocabulary, reading: &mut Reading) {
        let mut groups = Vec::new();
        for (kind, id) in std::mem::take(&mut self.grantees) {
            let uuid = id.as_deref().and_then(|id| Uuid::try_parse(id).ok());
            match (kind.as_str(), uuid, id) {
                ("principal", Some(id), _) => _ = self.found.insert(id),
                ("team", Some(id), _) => groups.push(Node::uuid(Kind::TEAM, id)),
                ("organization", Some(id), _) => groups.push(Node::uuid(Kind::ORGANIZATION, id)),
                ("role", _, Some(role)) => self.holders(&role, tenant, names, reading),
                _ => self.members(tenant, reading),
            }
        }
        // What is given to a team or an organization is given to the teams in it.
        for node in below::load(tenant, groups.into_iter(), reading) {
            if let (Kind::TEAM, Key::Uuid(team)) = (node.kind, node.key) {
                self.team(tenant, team, reading);
            }
        }
    }

    /// Whoever has the role, or one that inherits it, in the tenant or at the platform.
    fn holders(&mut self, role: &str, tenant: Uuid, names: &mut Vocabulary, reading: &Reading) {
        let role = names.role(role);
        let heirs: Vec<Role> = (0..names.roles.len() as u32)
            .map(Role)
            .filter(|heir| *heir == role || self.wanted.composition.roles_of(*heir).any(|r| r == role))
            .collect();
        let table = reading.open("principal_role_assignment");
        let [principal, code, tenant_id, from, until] =
            table.columns(["principal_id", "role_code", "tenant_id", "active_from", "active_until"]);
        for heir in heirs {
            for place in [ScanKey::uuid(tenant_id, &tenant), ScanKey::null(tenant_id)] {
                let keys = [
                    ScanKey::text(code, names.roles.name(heir.0)),
                    place,
                    ScanKey::after(until, self.when.horizon()),
                ];
                table.scan("principal_role_assignment_role_idx", &keys, |row| {
                    if self.counts(row, from, until) {
                        self.found.extend(row.uuid(principal));
                    }
                    true
                });
            }
        }
    }

    fn team(&mut self, tenant: Uuid, team: Uuid, reading: &Reading) {
        let table = reading.open("team_membership_history");
        let [principal, tenant_id, team_id, from, until] =
            table.columns(["principal_id", "tenant_id", "team_id", "active_from", "active_until"]);
        let keys = [
            ScanKey::uuid(tenant_id, &tenant),
            ScanKey::uuid(team_id, &team),
            ScanKey::after(until, self.when.horizon()),
        ];
        table.scan("team_membership_team_idx", &keys, |row| {
            if self.counts(row, from, until) {
                self.found.extend(row.uuid(principal));
            }
            true
        });
    }

    /// Everybody in the tenant: a rule may address all.
    fn members(&mut self, tenant: Uuid, reading: &Reading) {
        let table = reading.open("tenant_membership");
        let [principal, tenant_id, from, until] =
            table.columns(["principal_id", "tenant_id", "active_from", "active_until"]);
        table.scan("tenant_membership_pkey", &[ScanKey::uuid(tenant_id, &tenant)], |row| {
            if self.counts(row, from, until) {
                self.found.extend(row.uuid(principal));
            }
            true
        });
    }
}
