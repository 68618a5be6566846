//! What there is: scopes, people, resources.

use super::{DAY, Place, Policy};
use rand::Rng;
use serde_json::json;
use uuid::Uuid;

impl Policy {
    pub(super) fn scopes(&mut self) {
        for n in 0..self.rng.random_range(2..=3) {
            let tenant = self.uuid();
            let status = if n > 0 && self.chance(15) {
                "suspended"
            } else {
                "active"
            };
            self.row(
                "authz.tenant",
                json!({"tenant_id": tenant, "slug": format!("t{n}"), "name": "t", "status": status}),
            );
            self.places.push(Place {
                tenant: Some(tenant),
                kind: "tenant",
                key: tenant,
            });
            self.tenants.push(tenant);

            let mut organizations: Vec<Uuid> = Vec::new();
            for depth in 0..4 {
                // A line of three, and one beside it. Some ids are used in two tenants.
                let reused: Vec<Uuid> = self
                    .places
                    .iter()
                    .filter(|p| p.kind == "organization")
                    .map(|p| p.key)
                    .collect();
                let id = match self.pick_option(&reused, 15) {
                    Some(id) if !organizations.contains(&id) => id,
                    _ => self.uuid(),
                };
                let parent = if depth == 0 || depth == 3 {
                    None
                } else {
                    organizations.last().copied()
                };
                self.row(
                    "authz.organization",
                    json!({"tenant_id": tenant, "organization_id": id, "parent_organization_id": parent, "name": "o"}),
                );
                self.places.push(Place {
                    tenant: Some(tenant),
                    kind: "organization",
                    key: id,
                });
                organizations.push(id);
            }
            let mut teams: Vec<Uuid> = Vec::new();
            for depth in 0..5 {
                let id = self.uuid();
                let parent = if depth == 0 || depth == 3 {
                    None
                } else {
                    teams.last().copied()
                };
                let organization = self.pick_option(&organizations, 50);
                self.row(
                    "authz.team",
                    json!({"tenant_id": tenant, "team_id": id, "parent_team_id": parent,
                           "organization_id": organization, "name": "t"}),
                );
                self.places.push(Place {
                    tenant: Some(tenant),
                    kind: "team",
                    key: id,
                });
                teams.push(id);
            }
            for _ in 0..2 {
                let id = self.uuid();
                let organization = self.pick_option(&organizations, 70);
                self.row(
                    "authz.project",
                    json!({"tenant_id": tenant, "project_id": id, "organization_id": organization, "name": "p"}),
                );
                self.places.push(Place {
                    tenant: Some(tenant),
                    kind: "project",
                    key: id,
                });
            }
        }
    }

    pub(super) fn people(&mut self) {
        for n in 0..self.rng.random_range(8..=12) {
            let principal = self.uuid();
            self.principals.push(principal);
            let status = if n > 1 && self.chance(8) {
                self.pick(&["suspended", "locked", "disabled", "deleted"])
            } else {
                "active"
            };
            let since = -self.rng.random_range(100..130) * DAY;
            let row = json!({"principal_id": principal, "external_id": format!("p{n}"), "status": status,
                             "principal_type": self.pick(&["human", "human", "service", "system"]),
                             "locked_until": self.lock(), "status_since": self.instant(since)});
            self.row("authz.principal", row);
            // What it was before.
            let before = self.pick(&["active", "active", "active", "suspended"]);
            self.row(
                "authz.principal_status_history",
                json!({"principal_id": principal, "status": before, "valid_from": self.instant(-300 * DAY),
                       "valid_until": self.instant(since)}),
            );
            if self.chance(50) {
                let row = json!({"principal_id": principal, "clearance_level": self.pick(&["L1", "L2", "L3"]),
                                 "mfa_enabled": self.chance(50)});
                self.row("authz.operator_profile", row);
            }
            if self.chance(50) {
                let row =
                    json!({"principal_id": principal, "locked_until": self.lock(), "mfa_enabled": self.chance(60)});
                self.row("authz.account_security", row);
            }
            for tenant in self.tenants.clone() {
                if self.chance(85) {
                    self.membership(tenant, principal);
                }
            }
        }
    }

    pub(super) fn lock(&mut self) -> Option<String> {
        match self.rng.random_range(0..100) {
            0..3 => Some(self.instant(10 * DAY)),
            3..15 => Some(self.instant(-10 * DAY)),
            _ => None,
        }
    }

    pub(super) fn membership(&mut self, tenant: Uuid, principal: Uuid) {
        self.members.push((tenant, principal));
        let since = self.rng.random_range(90..160) * -DAY;
        let (mut status, mut revoked, mut expires) = ("active", None, None);
        let days = self.rng.random_range(DAY..80 * DAY);
        match self.rng.random_range(0..100) {
            0..8 => status = "suspended",
            8..14 => (status, revoked) = ("revoked", Some(self.instant(-days))),
            14..20 => expires = Some(self.instant(-days)),
            20..30 => expires = Some(self.instant(days)),
            _ => {}
        }
        let row = json!({"tenant_id": tenant, "principal_id": principal, "status": status,
                         "member_kind": self.pick(&["member", "member", "external"]),
                         "joined_at": self.instant(since), "expires_at": expires, "revoked_at": revoked});
        self.row("authz.tenant_membership", row);
        let teams = self.places_of(tenant, "team");
        for _ in 0..2 {
            let team = self.pick(&teams);
            if self.chance(65) && self.once(format!("member {team} {principal}")) {
                let (from, until) = self.interval();
                self.row(
                    "authz.team_membership_history",
                    json!({"tenant_id": tenant, "team_id": team, "principal_id": principal,
                           "valid_from": from, "valid_until": until}),
                );
            }
        }
    }

    pub(super) fn resources(&mut self) {
        for tenant in self.tenants.clone() {
            for _ in 0..9 {
                self.case(Some(tenant));
            }
            for _ in 0..7 {
                self.document(tenant);
            }
            for _ in 0..4 {
                let (documents, id) = (self.places_of(tenant, "document"), self.uuid());
                let document = self.parent(&documents);
                let row = json!({"tenant_id": tenant, "page_id": id, "document_id": document, "title": self.title()});
                self.row("public.document_page", row);
                self.places.push(Place {
                    tenant: Some(tenant),
                    kind: "page",
                    key: id,
                });
            }
        }
        self.case(None);
        self.case(None);
    }

    /// A key that is there, and now and then none, or one that is not.
    pub(super) fn parent(&mut self, among: &[Uuid]) -> Option<Uuid> {
        match self.rng.random_range(0..100) {
            0..6 => None,
            6..9 => Some(self.uuid()),
            _ => Some(self.pick(among)),
        }
    }

    pub(super) fn title(&mut self) -> Option<&'static str> {
        self.pick(&[Some("alpha"), Some("beta"), None])
    }

    pub(super) fn level(&mut self) -> Option<&'static str> {
        match self.rng.random_range(0..100) {
            0..16 => Some("restricted"),
            16..26 => Some("sealed"),
            26..28 => Some("secret"),
            28..30 => None,
            _ => Some("normal"),
        }
    }

    /// A new key, or one that another tenant uses for the same kind of thing.
    pub(super) fn key(&mut self, kind: &'static str, tenant: Option<Uuid>) -> Uuid {
        let own: Vec<Uuid> = self
            .places
            .iter()
            .filter(|p| p.kind == kind && p.tenant == tenant)
            .map(|p| p.key)
            .collect();
        let others: Vec<Uuid> = self
            .places
            .iter()
            .filter(|p| p.kind == kind && !own.contains(&p.key))
            .map(|p| p.key)
            .collect();
        self.pick_option(&others, 12).unwrap_or_else(|| self.uuid())
    }

    pub(super) fn case(&mut self, tenant: Option<Uuid>) {
        // A row without a tenant names scopes all the same: they must add nothing to its chain.
        let home = tenant.unwrap_or_else(|| self.pick(&self.tenants.clone()));
        let of = |policy: &Policy, kind: &str| policy.places_of(home, kind);
        let (organizations, teams, projects) = (of(self, "organization"), of(self, "team"), of(self, "project"));
        let mut owners = self.principals.clone();
        owners.extend(self.pick_option(&teams, 100));
        owners.extend(self.pick_option(&teams, 100));
        owners.extend(self.pick_option(&organizations, 100));
        let id = self.key("case", tenant);
        let deleted = self.chance(15).then(|| self.instant(-10 * DAY));
        let row = json!({
            "tenant_id": tenant, "case_id": id,
            "owning_org_id": self.pick_option(&organizations, 50), "owning_team_id": self.pick_option(&teams, 50),
            "project_id": self.pick_option(&projects, 40), "owner_id": self.pick_option(&owners, 60),
            "confidentiality_level": self.level(), "deleted_at": deleted, "title": self.title(),
        });
        self.row("public.case_record", row);
        self.places.push(Place {
            tenant,
            kind: "case",
            key: id,
        });
    }

    pub(super) fn document(&mut self, tenant: Uuid) {
        let cases = self.places_of(tenant, "case");
        let (id, case) = (self.key("document", Some(tenant)), self.parent(&cases));
        let row = json!({"tenant_id": tenant, "document_id": id, "case_id": case,
                         "confidentiality_level": self.level(), "title": self.title()});
        self.row("public.case_document", row);
        self.places.push(Place {
            tenant: Some(tenant),
            kind: "document",
            key: id,
        });
    }
}
