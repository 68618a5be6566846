//! Facts, written as texts, and the question.

use super::{CASE, DOCUMENT, NOW, PAGE, case_chain, id, node, nodes, place, principal};
use authz_engine::condition::Condition;
use authz_engine::model::{Inheritance, ModelFacts, PermissionDefinition, ResourceType, RolePermission};
use authz_engine::name::{Permission, Role, Vocabulary};
use authz_engine::resource::{Confidentiality, Parent};
use authz_engine::subject::{Assignment, Grantee, Place, PrincipalFacts, PrivilegedSession, Row, TeamMembership, What};
use authz_engine::{Instant, Interval, Resource};
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// Facts, and the question.
#[derive(Clone)]
pub struct Policy {
    /// The numbers of all names.
    pub names: Vocabulary,
    /// What is the same for every principal.
    pub facts: ModelFacts,
    /// The principal; `None` = unknown.
    pub principal: Option<PrincipalFacts>,
    /// Grants and rules.
    pub rows: Vec<Row>,
    /// Grantees whose grants are not loaded but looked for at the resource.
    pub left_out: Vec<Grantee>,
    /// What is asked about, or why there is none.
    pub resource: Result<Resource, &'static str>,
    /// The request's context.
    pub context: Value,
    /// When.
    pub at: Instant,
    valid: Interval,
    tenant: Uuid,
    next: u128,
}

impl Policy {
    /// The world described above.
    pub fn new() -> Policy {
        let mut names = Vocabulary::default();
        ["case", "document", "page"].iter().for_each(|name| {
            names.kind(name);
        });
        let registered = [CASE, DOCUMENT, PAGE].map(|kind| ResourceType {
            kind,
            owner_role: None,
            clearance_restricted: 0,
            clearance_sealed: 0,
            select_permission: None,
        });
        let facts = ModelFacts {
            types: registered.into(),
            ..ModelFacts::default()
        };
        let who = PrincipalFacts {
            id: principal(),
            active: vec![Interval::ALWAYS],
            locked_until: None,
            clearance: 0,
            mfa_enrolled: false,
            attributes: Arc::new(json!({"type": "human"})),
            memberships: vec![(id("tenant:1"), Interval::ALWAYS)],
            teams: Vec::new(),
            assignments: Vec::new(),
            sessions: Vec::new(),
        };
        let mut case = Resource::scope(node("case:1"), id("tenant:1"), case_chain());
        case.confidentiality = Confidentiality::Normal;
        let mut policy = Policy {
            names,
            facts,
            principal: Some(who),
            rows: Vec::new(),
            left_out: Vec::new(),
            resource: Ok(case),
            context: json!({}),
            at: NOW,
            valid: Interval::ALWAYS,
            tenant: id("tenant:1"),
            next: 0,
        };
        policy.permission("case.view");
        policy
    }

    /// What is added next is valid in `[from, until)`.
    pub fn during(&mut self, from: Instant, until: Instant) -> &mut Policy {
        self.valid = Interval::new(from, until);
        self
    }

    /// What is added next belongs to that tenant.
    pub fn in_tenant(&mut self, tenant: &str) -> &mut Policy {
        self.tenant = id(tenant);
        self
    }

    /// The interval and the tenant of the fact at hand: said once, used once.
    fn said(&mut self) -> (Interval, Uuid) {
        let valid = std::mem::replace(&mut self.valid, Interval::ALWAYS);
        (valid, std::mem::replace(&mut self.tenant, id("tenant:1")))
    }

    fn fresh(&mut self) -> Uuid {
        self.next += 1;
        Uuid::from_u128(0xb1d << 64 | self.next)
    }

    /// Defines `code`, unless it is defined.
    pub fn permission(&mut self, code: &str) -> Permission {
        let permission = self.names.permission(code);
        if self.facts.permissions.iter().all(|d| d.permission != permission) {
            let (kind, action) = code.split_once('.').expect("type.action");
            let definition = PermissionDefinition {
                permission,
                kind: self.names.kind(kind),
                action: action.into(),
                requires_mfa: false,
                read_only: matches!(action, "view" | "read" | "list"),
            };
            self.facts.permissions.push(definition);
        }
        permission
    }

    /// Using `code` requires MFA.
    pub fn requires_mfa(&mut self, code: &str) {
        let permission = self.permission(code);
        let definitions = &mut self.facts.permissions;
        definitions
            .iter_mut()
            .filter(|d| d.permission == permission)
            .for_each(|d| d.requires_mfa = true);
    }

    /// Having `held` means having `implied`.
    pub fn implies(&mut self, held: &str, implied: &str) {
        let pair = (self.permission(held), self.permission(implied));
        self.facts.implications.push(pair);
    }

    /// `role` has each of `permissions`.
    pub fn role(&mut self, role: &str, permissions: &[&str]) -> Role {
        let (valid, tenant) = (self.valid, self.tenant);
        permissions.iter().for_each(|permission| {
            (self.valid, self.tenant) = (valid, tenant);
            self.role_has(role, permission, None, None);
        });
        self.names.role(role)
    }

    /// `role` has `permission` where `condition` is true.
    pub fn role_if(&mut self, role: &str, permission: &str, condition: &str) {
        self.role_has(role, permission, Some(condition), None);
    }

    /// A row of `role_permission`.
    pub fn role_has(&mut self, role: &str, permission: &str, condition: Option<&str>, obligations: Option<Value>) {
        let condition = condition.map(|c| Arc::new(Condition::parse(c).expect("a condition")));
        self.role_has_parsed(role, permission, condition, obligations);
    }

    /// The same with a condition that was parsed before.
    pub fn role_has_parsed(
        &mut self,
        role: &str,
        permission: &str,
        condition: Option<Arc<Condition>>,
        obligations: Option<Value>,
    ) {
        let row = RolePermission {
            role: self.names.role(role),
            permission: self.permission(permission),
            valid: self.said().0,
            condition,
            obligations: obligations.map(Arc::new),
        };
        self.facts.role_permissions.push(row);
    }

    /// `role` is also `inherits`.
    pub fn inherits(&mut self, role: &str, inherits: &str) {
        let row = Inheritance {
            role: self.names.role(role),
            inherits: self.names.role(inherits),
            valid: self.said().0,
        };
        self.facts.inheritance.push(row);
    }

    /// The principal, which is known.
    pub fn who(&mut self) -> &mut PrincipalFacts {
        self.principal.as_mut().expect("a known principal")
    }

    /// The resource, which is there.
    pub fn it(&mut self) -> &mut Resource {
        self.resource.as_mut().expect("a resource")
    }

    /// The registration of the resource's type.
    pub fn resource_type(&mut self) -> &mut ResourceType {
        let kind = self.it().kind;
        let types = &mut self.facts.types;
        types.iter_mut().find(|t| t.kind == kind).expect("a registered type")
    }

    /// The principal holds `role` there.
    pub fn assign(&mut self, role: &str, at: &str) -> Uuid {
        let (valid, tenant) = self.said();
        let place = place(at);
        let row = Assignment {
            id: self.fresh(),
            tenant: (place != Place::Platform).then_some(tenant),
            role: self.names.role(role),
            place,
            valid,
        };
        let id = row.id;
        self.who().assignments.push(row);
        id
    }

    /// The principal is in a team; `within` is the team and all that contains it.
    pub fn team(&mut self, within: &str) {
        let (valid, tenant) = self.said();
        let within = nodes(within).into();
        self.who().teams.push(TeamMembership { tenant, valid, within });
    }

    /// `principal`, `any`, `role:auditor`, `team:1`.
    pub fn grantee(&mut self, text: &str) -> Grantee {
        match text.split_once(':') {
            None if text == "principal" => Grantee::Principal(principal()),
            None if text == "any" => Grantee::Any,
            Some(("role", role)) => Grantee::Role(self.names.role(role)),
            Some(("team", _)) => Grantee::Team(id(text)),
            Some(("organization", _)) => Grantee::Organization(id(text)),
            _ => panic!("no grantee {text}"),
        }
    }

    fn row(&mut self, grantee: &str, at: &str, what: What) -> Uuid {
        let (valid, tenant) = self.said();
        let row = Row {
            id: self.fresh(),
            tenant,
            grantee: self.grantee(grantee),
            place: place(at),
            what,
            valid,
        };
        let id = row.id;
        self.rows.push(row);
        id
    }

    /// `grantee` is granted `permission` there.
    pub fn grant(&mut self, grantee: &str, permission: &str, at: &str) -> Uuid {
        let permission = self.permission(permission);
        self.row(grantee, at, What::Grant(permission))
    }

    /// A rule; `*` is every permission.
    pub fn rule(&mut self, deny: bool, grantee: &str, permission: &str, at: &str, priority: i32) -> Uuid {
        let permission = (permission != "*").then(|| self.permission(permission));
        let what = What::Rule {
            deny,
            priority,
            permission,
        };
        self.row(grantee, at, what)
    }

    /// A deny rule.
    pub fn deny(&mut self, grantee: &str, permission: &str, at: &str, priority: i32) -> Uuid {
        self.rule(true, grantee, permission, at, priority)
    }

    /// An allow rule.
    pub fn allow(&mut self, grantee: &str, permission: &str, at: &str, priority: i32) -> Uuid {
        self.rule(false, grantee, permission, at, priority)
    }

    /// A privileged session, without limits until they are set.
    pub fn session(&mut self, break_glass: bool) -> &mut PrivilegedSession {
        let valid = self.said().0;
        let session = PrivilegedSession {
            id: self.fresh(),
            break_glass,
            tenant: None,
            scope: None,
            valid,
            includes_sensitive: false,
        };
        let sessions = &mut self.who().sessions;
        sessions.push(session);
        sessions.last_mut().expect("pushed above")
    }

    /// Asks about `text` of `tenant:1` from now on, whose parent is what was asked about before.
    pub fn child(&mut self, text: &str) {
        let parent = self.it().clone();
        let mut chain = vec![node(text)];
        chain.extend(parent.chain.iter().cloned());
        let mut child = Resource::scope(node(text), id("tenant:1"), chain);
        child.parent = Parent::Resource(std::rc::Rc::new(parent));
        self.resource = Ok(child);
    }
}
