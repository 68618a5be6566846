//! Random policies over the fixture's tables: small universes in which everything unusual is common.
//!
//! A policy is a list of rows, loaded by plain SQL; a mutation is a statement that changes it in place. Everything
//! follows from the generator's seed and the instant it is given.

use chrono::{DateTime, TimeDelta, Utc};
use postgres::Client;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use uuid::Uuid;

use crate::report;

/// The conditions of generated roles. `oracle.condition_holds` knows each by hand.
pub const CONDITIONS: [&str; 9] = [
    "true",
    "false",
    "1 / 0 == 1",
    "context.region == 'eu'",
    "context.level >= 3",
    "has(context.ticket)",
    "resource.title == 'alpha'",
    "now < timestamp('2020-01-01T00:00:00Z')",
    "now > timestamp('2020-01-01T00:00:00Z') && context.level < 3",
];

/// Permissions of the fixture by resource type.
pub const PERMISSIONS: [(&str, &[&str]); 7] = [
    (
        "case",
        &[
            "view",
            "comment",
            "edit",
            "admin",
            "approve",
            "approve",
            "view_restricted",
            "view_sealed",
            "view_deleted",
        ],
    ),
    ("document", &["view", "edit", "view_restricted", "view_sealed"]),
    ("page", &["view", "edit"]),
    ("tenant", &["view", "admin"]),
    ("organization", &["view", "admin"]),
    ("team", &["view", "admin"]),
    ("project", &["view", "admin"]),
];

/// A node that assignments, grants and rules can name.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its tenant; `None` where it has none.
    pub tenant: Option<Uuid>,
    /// Its resource type.
    pub kind: &'static str,
    /// Its key.
    pub key: Uuid,
}

/// A question to both sides.
#[derive(Debug, Clone)]
pub struct Question {
    /// Whom it is about.
    pub principal: Uuid,
    /// A known code.
    pub permission: String,
    /// The key, in text.
    pub resource: String,
    /// The tenant, where given.
    pub tenant: Option<Uuid>,
    /// The context, where given.
    pub context: Option<Value>,
    /// The instant, where a past one is asked for.
    pub at: Option<String>,
}

/// A random policy.
pub struct Policy {
    rng: StdRng,
    now: DateTime<Utc>,
    /// Rows in load order.
    pub rows: Vec<(&'static str, Value)>,
    tenants: Vec<Uuid>,
    places: Vec<Place>,
    principals: Vec<Uuid>,
    members: Vec<(Uuid, Uuid)>,
    roles: Vec<String>,
    taken: HashSet<String>,
}

const DAY: i64 = 24 * 60;

impl Policy {
    /// The policy of a seed, at home at an instant.
    pub fn new(seed: u64, now: DateTime<Utc>) -> Policy {
        let mut policy = Policy {
            rng: StdRng::seed_from_u64(seed),
            now,
            rows: Vec::new(),
            tenants: Vec::new(),
            places: Vec::new(),
            principals: Vec::new(),
            members: Vec::new(),
            roles: Vec::new(),
            taken: HashSet::new(),
        };
        policy.scopes();
        policy.people();
        policy.resources();
        policy.role_graph();
        for _ in 0..policy.rng.random_range(60..=90) {
            policy.assignment();
        }
        for _ in 0..policy.rng.random_range(30..=50) {
            policy.grant();
        }
        for _ in 0..policy.rng.random_range(6..=16) {
            policy.rule(None);
        }
        for _ in 0..4 {
            policy.session();
        }
        policy
    }

    // == Dice ========================================================================================

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent, 100)
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_u128(self.rng.random())
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from.choose(&mut self.rng).expect("something to pick from").clone()
    }

    fn pick_option<T: Clone>(&mut self, from: &[T], percent: u32) -> Option<T> {
        if from.is_empty() || !self.chance(percent) {
            None
        } else {
            Some(self.pick(from))
        }
    }

    fn place(&mut self) -> Place {
        let kinds = [
            "tenant",
            "tenant",
            "organization",
            "organization",
            "team",
            "team",
            "project",
            "case",
            "case",
            "document",
            "page",
        ];
        loop {
            let kind = self.pick(&kinds);
            let found = self
                .places
                .iter()
                .filter(|p| p.kind == kind && p.tenant.is_some())
                .choose(&mut self.rng);
            if let Some(place) = found {
                return place.clone();
            }
        }
    }

    fn places_of(&self, tenant: Uuid, kind: &str) -> Vec<Uuid> {
        self.places
            .iter()
            .filter(|p| p.tenant == Some(tenant) && p.kind == kind)
            .map(|p| p.key)
            .collect()
    }

    fn permission_of(&mut self, kind: &str) -> String {
        let (kind, actions) = PERMISSIONS
            .iter()
            .find(|(k, _)| *k == kind)
            .expect("a type of the fixture");
        // `view` is asked for most, and given most.
        if self.chance(30) {
            format!("{kind}.view")
        } else {
            format!("{kind}.{}", self.pick(actions))
        }
    }

    fn permission(&mut self) -> String {
        let kind = self.pick(&[
            "case",
            "case",
            "case",
            "document",
            "document",
            "page",
            "tenant",
            "organization",
            "team",
            "project",
        ]);
        self.permission_of(kind)
    }

    fn instant(&self, minutes: i64) -> String {
        (self.now + TimeDelta::minutes(minutes)).to_rfc3339()
    }

    /// An interval that mostly is in force; 15 % are over, 8 % have not begun.
    fn interval(&mut self) -> (String, Option<String>) {
        let start = -self.rng.random_range(2 * DAY..200 * DAY);
        let (from, until) = match self.rng.random_range(0..100) {
            0..15 => (start, Some(start + self.rng.random_range(DAY..=-start - 5))),
            15..23 => (self.rng.random_range(DAY..50 * DAY), None),
            23..40 => (start, Some(self.rng.random_range(DAY..100 * DAY))),
            _ => (start, None),
        };
        (self.instant(from), until.map(|until| self.instant(until)))
    }

    /// As in a table with both an expiry and a revocation.
    fn closable(&mut self) -> (String, Option<String>, Option<String>) {
        let (from, until) = self.interval();
        if self.chance(50) {
            (from, until, None)
        } else {
            (from, None, until)
        }
    }

    fn once(&mut self, identity: String) -> bool {
        self.taken.insert(identity)
    }

    fn row(&mut self, table: &'static str, row: Value) {
        self.rows.push((table, row));
    }

    // == Universe ====================================================================================

    fn scopes(&mut self) {
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

    fn people(&mut self) {
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

    fn lock(&mut self) -> Option<String> {
        match self.rng.random_range(0..100) {
            0..3 => Some(self.instant(10 * DAY)),
            3..15 => Some(self.instant(-10 * DAY)),
            _ => None,
        }
    }

    fn membership(&mut self, tenant: Uuid, principal: Uuid) {
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

    fn resources(&mut self) {
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
    fn parent(&mut self, among: &[Uuid]) -> Option<Uuid> {
        match self.rng.random_range(0..100) {
            0..6 => None,
            6..9 => Some(self.uuid()),
            _ => Some(self.pick(among)),
        }
    }

    fn title(&mut self) -> Option<&'static str> {
        self.pick(&[Some("alpha"), Some("beta"), None])
    }

    fn level(&mut self) -> Option<&'static str> {
        match self.rng.random_range(0..100) {
            0..16 => Some("restricted"),
            16..26 => Some("sealed"),
            26..28 => Some("secret"),
            28..30 => None,
            _ => Some("normal"),
        }
    }

    /// A new key, or one that another tenant uses for the same kind of thing.
    fn key(&mut self, kind: &'static str, tenant: Option<Uuid>) -> Uuid {
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

    fn case(&mut self, tenant: Option<Uuid>) {
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

    fn document(&mut self, tenant: Uuid) {
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

    fn role_graph(&mut self) {
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

    fn role_permission(&mut self, role: &str) {
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

    fn assignment(&mut self) {
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

    fn member_of(&mut self, tenant: Uuid) -> Uuid {
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
    fn grantee(&mut self, tenant: Uuid) -> (&'static str, String) {
        let kind = self.pick(&["principal", "team", "organization", "role"]);
        let id = match kind {
            "principal" => self.member_of(tenant).to_string(),
            "role" => self.pick(&self.roles.clone()),
            _ => self.pick(&self.places_of(tenant, kind)).to_string(),
        };
        (kind, id)
    }

    /// What a binding at a place is likely to be about: something that the place contains.
    fn permission_at(&mut self, place: &Place) -> String {
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

    fn grant(&mut self) {
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

    fn rule(&mut self, effect: Option<&'static str>) {
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

    fn session(&mut self) {
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

    // == Use =========================================================================================

    /// Loads everything, and gives the registered types owner roles and clearances.
    pub fn load(&mut self, client: &mut Client) {
        let mut transaction = client.transaction().unwrap();
        let rows = std::mem::take(&mut self.rows);
        for (table, row) in &rows {
            insert(&mut transaction, table, row);
        }
        self.rows = rows;
        for kind in ["case", "document"] {
            let role = self.pick_option(&self.roles.clone(), 80);
            let clearance = self.pick(&[
                None,
                Some(json!({"restricted": "L2"})),
                Some(json!({"restricted": "L1", "sealed": "L3"})),
            ]);
            let owner_role = if kind == "case" { role } else { None };
            transaction
                .execute(
                    "UPDATE authz.resource_type SET owner_role = $2, clearance = coalesce($3, clearance) WHERE resource_type = $1",
                    &[&kind, &owner_role, &clearance],
                )
                .unwrap_or_else(|e| panic!("{}", report(&e)));
        }
        transaction.commit().unwrap();
    }

    /// Changes the policy in place, by one statement as a database owner would write it.
    pub fn mutate(&mut self, client: &mut impl postgres::GenericClient) -> String {
        let before = self.rows.len();
        let close = |table: &str, key: &str, column: &str, open: &str, skip: usize| {
            format!(
                "UPDATE {table} SET {column} = clock_timestamp() WHERE {key} = (
                    SELECT {key} FROM {table} WHERE {open} ORDER BY md5({key}::text || {skip}) LIMIT 1)"
            )
        };
        let skip = self.rng.random_range(0..1000usize);
        let now = "clock_timestamp()";
        let started = |column: &str| format!("{column} <= {now}");
        let statement = match self.rng.random_range(0..20) {
            0 | 1 => close(
                "authz.principal_role_assignment",
                "assignment_id",
                "revoked_at",
                &format!("revoked_at IS NULL AND {}", started("granted_at")),
                skip,
            ),
            2 => close(
                "authz.resource_access_grant",
                "grant_id",
                "revoked_at",
                &format!("revoked_at IS NULL AND {}", started("granted_at")),
                skip,
            ),
            3 => close(
                "authz.resource_access_rule",
                "rule_id",
                "valid_until",
                &format!("valid_until IS NULL AND {}", started("valid_from")),
                skip,
            ),
            4 => close(
                "authz.privileged_access_session",
                "session_id",
                "ended_at",
                "ended_at IS NULL",
                skip,
            ),
            5 | 6 => {
                self.rule(Some("deny"));
                String::new()
            }
            7 | 8 => {
                self.grant();
                String::new()
            }
            9 => {
                self.assignment();
                String::new()
            }
            10 => {
                let role = self.pick(&self.roles.clone());
                self.role_permission(&role);
                String::new()
            }
            11 => {
                let status = self.pick(&["active", "active", "suspended"]);
                let principal = self.pick(&self.principals.clone());
                format!("UPDATE authz.principal SET status = '{status}' WHERE principal_id = '{principal}'")
            }
            12 | 13 => {
                let status = self.pick(&["active", "active", "suspended"]);
                let (tenant, principal) = self.pick(&self.members.clone());
                format!(
                    "UPDATE authz.tenant_membership SET status = '{status}'
                      WHERE tenant_id = '{tenant}' AND principal_id = '{principal}' AND revoked_at IS NULL"
                )
            }
            14 => format!(
                "UPDATE authz.role_permission SET valid_until = {now}
                  WHERE role_code = '{}' AND valid_until IS NULL AND valid_from <= {now}",
                self.pick(&self.roles.clone())
            ),
            15 => format!(
                "UPDATE authz.role_inheritance SET valid_until = {now}
                  WHERE inherited_role_code = '{}' AND valid_until IS NULL AND valid_from <= {now}",
                self.pick(&self.roles.clone())
            ),
            16 => {
                // Roles inherit later ones only, so this closes no cycle; a pair that is there already is left alone.
                let roles = self.roles.clone();
                let n = self.rng.random_range(0..roles.len() - 1);
                let (role, inherited) = (roles[n].clone(), self.pick(&roles[n + 1..]));
                format!(
                    "INSERT INTO authz.role_inheritance (role_code, inherited_role_code)
                     SELECT '{role}', '{inherited}' WHERE NOT EXISTS (SELECT FROM authz.role_inheritance
                        WHERE role_code = '{role}' AND inherited_role_code = '{inherited}')"
                )
            }
            17 => {
                // To the top, or below a team that has no parent: no cycle.
                let tenant = self.pick(&self.tenants.clone());
                let teams = self.places_of(tenant, "team");
                let parent = if self.chance(50) {
                    format!("'{}'", teams[3])
                } else {
                    "NULL".to_owned()
                };
                format!(
                    "UPDATE authz.team SET parent_team_id = {parent} WHERE tenant_id = '{tenant}' AND team_id = '{}'",
                    teams[self.rng.random_range(0..3)]
                )
            }
            18 => {
                let case = self.pick(
                    &self
                        .places
                        .iter()
                        .filter(|p| p.kind == "case")
                        .map(|p| p.key)
                        .collect::<Vec<_>>(),
                );
                match self.rng.random_range(0..3) {
                    0 => format!("UPDATE public.case_record SET deleted_at = now() WHERE case_id = '{case}'"),
                    1 => format!(
                        "UPDATE public.case_record SET confidentiality_level = 'sealed' WHERE case_id = '{case}'"
                    ),
                    _ => {
                        let owner = self.pick(&self.principals.clone());
                        format!("UPDATE public.case_record SET owner_id = '{owner}' WHERE case_id = '{case}'")
                    }
                }
            }
            _ => {
                let principal = self.pick(&self.principals.clone());
                match self.rng.random_range(0..3) {
                    0 => format!("UPDATE authz.operator_profile SET clearance_level = 'L3', mfa_enabled = NOT mfa_enabled WHERE principal_id = '{principal}'"),
                    1 => "UPDATE authz.permission_definition SET requires_mfa = NOT requires_mfa WHERE permission_code = 'case.edit'".to_owned(),
                    _ => format!("UPDATE authz.resource_type SET owner_role = '{}' WHERE resource_type = 'case'", self.pick(&self.roles.clone())),
                }
            }
        };
        let mut shown = statement.clone();
        if !statement.is_empty() {
            client
                .batch_execute(&statement)
                .unwrap_or_else(|e| panic!("{}\nin: {statement}", report(&e)));
        }
        for (table, row) in self.rows.split_off(before) {
            insert(client, table, &row);
            shown = format!("INSERT INTO {table}: {row}");
        }
        shown
    }

    /// A permission, somebody who may have something to do with it, and where: read off a random binding.
    fn hint(&mut self) -> Option<(String, Option<Uuid>, Option<Uuid>)> {
        let binds = |row: &&(&'static str, Value)| {
            let table = row.0;
            table.ends_with("_assignment") || table.ends_with("_grant") || table.ends_with("_rule")
        };
        let (_, row) = self.rows.iter().filter(binds).choose(&mut self.rng)?.clone();
        let uuid = |column: &str| row[column].as_str().and_then(|text| text.parse::<Uuid>().ok());
        let permission = match row["role_code"].as_str() {
            Some(role) => {
                let given = |r: &&(&'static str, Value)| r.0 == "authz.role_permission" && r.1["role_code"] == role;
                self.rows.iter().filter(given).choose(&mut self.rng)?.1["permission_code"].clone()
            }
            None => row["permission_code"].clone(),
        };
        let permission = match permission.as_str() {
            Some(permission) => permission.to_owned(),
            None => self.permission(),
        };
        Some((
            permission,
            uuid("principal_id").or(uuid("grantee_id").filter(|id| self.principals.contains(id))),
            uuid("tenant_id"),
        ))
    }

    /// A question; mostly about things that exist and have something to do with each other.
    pub fn question(&mut self) -> Question {
        let (permission, principal, tenant) = match self.hint() {
            Some(hint) if self.chance(65) => hint,
            _ => (self.permission(), None, None),
        };
        let kind = permission.split('.').next().expect("type.action").to_owned();
        let of_kind = |p: &&Place| p.kind == kind;
        let near: Vec<Place> = self
            .places
            .iter()
            .filter(of_kind)
            .filter(|p| p.tenant == tenant)
            .cloned()
            .collect();
        let any: Vec<Place> = self.places.iter().filter(of_kind).cloned().collect();
        let place = if near.is_empty() {
            self.pick(&any)
        } else {
            self.pick(&near)
        };
        let principal = match (principal, place.tenant) {
            (Some(principal), _) => principal,
            (None, Some(tenant)) if self.chance(75) => self.member_of(tenant),
            _ if self.chance(3) => self.uuid(),
            _ => self.pick(&self.principals.clone()),
        };
        let resource = if self.chance(2) { self.uuid() } else { place.key };
        let tenant = match self.rng.random_range(0..100) {
            0..50 => None,
            50..93 => place.tenant,
            _ => Some(self.pick(&self.tenants.clone())),
        };
        let context = match self.rng.random_range(0..100) {
            0..25 => None,
            25..30 => Some(json!({})),
            _ => {
                let mut context = Map::new();
                if self.chance(60) {
                    context.insert(
                        "mfa".to_owned(),
                        self.pick(&[json!(true), json!(true), json!(false), json!("true"), json!(1)]),
                    );
                }
                if self.chance(50) {
                    context.insert("region".to_owned(), self.pick(&[json!("eu"), json!("us")]));
                }
                if self.chance(50) {
                    context.insert("level".to_owned(), json!(self.rng.random_range(1..=5)));
                }
                if self.chance(30) {
                    context.insert("ticket".to_owned(), json!("T-1"));
                }
                Some(Value::Object(context))
            }
        };
        let at = match self.rng.random_range(0..100) {
            0..78 => None,
            78..85 => Some(-2 * DAY),
            85..93 => Some(-40 * DAY),
            93..99 => Some(-110 * DAY),
            _ => Some(-400 * DAY),
        };
        let at = at.map(|minutes| self.instant(minutes));
        Question {
            principal,
            permission,
            resource: resource.to_string(),
            tenant,
            context,
            at,
        }
    }
}

/// Inserts a row by plain SQL, naming only the columns that it has.
pub fn insert(client: &mut impl postgres::GenericClient, table: &str, row: &Value) {
    let columns: Vec<&str> = row.as_object().expect("a row").keys().map(String::as_str).collect();
    let columns = columns.join(", ");
    let sql = format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM jsonb_populate_record(NULL::{table}, $1)");
    if let Err(e) = client.execute(&sql, &[row]) {
        panic!("{}\nin: {sql}\n{row}", report(&e));
    }
}
