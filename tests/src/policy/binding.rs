//! Roles, and what binds people to them: assignments, grants, rules, privileged sessions.

use super::{CONDITIONS, DAY, Place, Policy};
use rand::Rng;
use serde_json::json;
use uuid::Uuid;

impl Policy {
    pub(super) fn role_graph(&mut self) {
        for n in 0..self.rng.random_range(6..=10) {
            let role = format!("role_{n}");
            self.row(
                "authz.role_definition",
                json!({"role_code": role, "role_name": role, "role_kind": "functional"}),
            );
            self.roles.push(role);
        }
        let roles = self.roles.clone();
        for (n, role) in roles.iter().enumerate() {
            for inherited in &roles[n + 1..] {
                if self.chance(22) {
                    let (from, until) = self.interval();
                    self.row(
                        "authz.role_inheritance",
                        json!({"role_code": role, "inherited_role_code": inherited,
                               "valid_from": from, "valid_until": until}),
                    );
                }
            }
            for _ in 0..self.rng.random_range(3..=7) {
                self.role_permission(role);
            }
        }
    }

    pub(super) fn role_permission(&mut self, role: &str) {
        let permission = self.permission();
        if !self.once(format!("gives {role} {permission}")) {
            return;
        }
        let (from, until) = self.interval();
        let condition = self.pick_option(&CONDITIONS, 30);
        self.row(
            "authz.role_permission",
            json!({"role_code": role, "permission_code": permission, "condition": condition,
                   "valid_from": from, "valid_until": until}),
        );
    }

    pub(super) fn assignment(&mut self) {
        let (place, role) = (self.place(), self.pick(&self.roles.clone()));
        let tenant = place.tenant.expect("a scope inside a tenant");
        let platform = self.chance(8);
        let principal = if self.chance(90) && !platform {
            self.member_of(tenant)
        } else {
            self.pick(&self.principals.clone())
        };
        let (from, expires, revoked) = self.closable();
        let (tenant, scope_type, scope_id) = if platform {
            (None, "platform", None)
        } else {
            (Some(tenant), place.kind, Some(place.key))
        };
        if self.once(format!(
            "assign {principal} {role} {scope_type} {scope_id:?} {tenant:?}"
        )) {
            self.row(
                "authz.principal_role_assignment",
                json!({"tenant_id": tenant, "principal_id": principal, "role_code": role, "scope_type": scope_type,
                       "scope_id": scope_id, "granted_at": from, "expires_at": expires, "revoked_at": revoked}),
            );
        }
    }

    pub(super) fn member_of(&mut self, tenant: Uuid) -> Uuid {
        let members: Vec<Uuid> = self
            .members
            .iter()
            .filter(|(t, _)| *t == tenant)
            .map(|(_, p)| *p)
            .collect();
        if members.is_empty() {
            self.pick(&self.principals.clone())
        } else {
            self.pick(&members)
        }
    }

    /// A grantee that exists in the tenant: kind and id.
    pub(super) fn grantee(&mut self, tenant: Uuid) -> (&'static str, String) {
        let kind = self.pick(&["principal", "team", "organization", "role"]);
        let id = match kind {
            "principal" => self.member_of(tenant).to_string(),
            "role" => self.pick(&self.roles.clone()),
            _ => self.pick(&self.places_of(tenant, kind)).to_string(),
        };
        (kind, id)
    }

    /// What a binding at a place is likely to be about: something that the place contains.
    pub(super) fn permission_at(&mut self, place: &Place) -> String {
        match place.kind {
            "page" => self.permission_of("page"),
            "document" => {
                let kind = self.pick(&["document", "document", "page"]);
                self.permission_of(kind)
            }
            "case" => {
                let kind = self.pick(&["case", "case", "document", "page"]);
                self.permission_of(kind)
            }
            _ => self.permission(),
        }
    }

    pub(super) fn grant(&mut self) {
        let place = self.place();
        let tenant = place.tenant.expect("a place inside a tenant");
        let (kind, id) = self.grantee(tenant);
        let permission = self.permission_at(&place);
        let (from, expires, revoked) = self.closable();
        if self.once(format!("grant {place:?} {kind} {id} {permission}")) {
            self.row(
                "authz.resource_access_grant",
                json!({"tenant_id": tenant, "resource_type": place.kind, "resource_id": place.key, "grantee_type": kind,
                       "grantee_id": id, "permission_code": permission, "granted_at": from, "expires_at": expires,
                       "revoked_at": revoked}),
            );
        }
    }

    pub(super) fn rule(&mut self, effect: Option<&'static str>) {
        let place = self.place();
        let tenant = place.tenant.expect("a place inside a tenant");
        let (kind, id) = match self.chance(15) {
            true => ("any", None),
            false => {
                let (kind, id) = self.grantee(tenant);
                (kind, Some(id))
            }
        };
        let effect = effect.unwrap_or_else(|| self.pick(&["allow", "deny"]));
        let key = if self.chance(85) { Some(place.key) } else { None };
        let permission = if self.chance(75) {
            Some(self.permission_at(&place))
        } else {
            None
        };
        let (from, until) = self.interval();
        let priority = self.rng.random_range(0..3);
        if self.once(format!("rule {place:?} {key:?} {kind} {id:?} {permission:?} {effect}")) {
            self.row(
                "authz.resource_access_rule",
                json!({"tenant_id": tenant, "resource_type": place.kind, "resource_id": key, "effect": effect,
                       "grantee_type": kind, "grantee_id": id, "permission_code": permission, "priority": priority,
                       "valid_from": from, "valid_until": until}),
            );
        }
    }

    pub(super) fn session(&mut self) {
        let (place, kind) = (self.place(), self.pick(&["support", "break_glass"]));
        let (tenant, scope_type, scope_id) = match self.rng.random_range(0..100) {
            0..10 => (None, None, None),
            10..50 => (place.tenant, None, None),
            _ => (place.tenant, Some(place.kind), Some(place.key)),
        };
        let principal = self.pick(&self.principals.clone());
        let approver = self
            .pick_option(&self.principals.clone(), 60)
            .filter(|approver| *approver != principal);
        let start = self.rng.random_range(DAY..100 * DAY);
        let until = match self.rng.random_range(0..100) {
            0..60 => self.rng.random_range(DAY..10 * DAY),
            _ => -self.rng.random_range(1..start),
        };
        let before = self.rng.random_range(1..start.min(start + until).max(2));
        let ended = self.chance(15).then(|| self.instant(-before));
        let row = json!({
            "session_kind": kind, "principal_id": principal, "tenant_id": tenant, "scope_type": scope_type,
            "scope_id": scope_id, "access_reason": "fire", "ticket_reference": "T-1",
            "includes_sensitive": approver.is_some() && self.chance(50), "requested_at": self.instant(-start),
            "approved_by": approver, "approved_at": approver.map(|_| self.instant(-start)),
            "started_at": self.instant(-start), "expires_at": self.instant(until), "ended_at": ended,
        });
        self.row("authz.privileged_access_session", row);
    }
}
