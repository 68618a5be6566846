//! A policy written by hand, readably: names are texts, nodes are `team:1`, the resource is `case:1`.
//!
//! The world that [`Policy::new`] makes: a principal that is active and a member of `tenant:1`, and `case:1` in
//! `team:1` (within `team:2`), `project:1` and `organization:1` (within `organization:2`) of that tenant. Nothing is
//! bound to the principal yet.

// Each target that includes this module uses a part of it.
#![allow(dead_code)]

pub mod scenarios;

use authz_engine::condition::{Attributes, Condition};
use authz_engine::decide::{Silent, decide};
use authz_engine::model::{Inheritance, ModelFacts, PermissionDefinition, ResourceType, RolePermission};
use authz_engine::name::{Kind, Permission, Role, Vocabulary};
use authz_engine::resource::{Confidentiality, Parent};
use authz_engine::subject::{
    Assignment, Binding, BindingIndex, Grantee, Place, PrincipalFacts, PrivilegedSession, Row, SubjectBuilder,
    TeamMembership, What,
};
use authz_engine::{
    Composition, Explanation, Found, Instant, Interval, Key, Model, Node, Question, Reason, Resource, Subject, explain,
};
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// The registered resource types.
pub const CASE: Kind = Kind(5);
/// A child of a case.
pub const DOCUMENT: Kind = Kind(6);
/// A child of a document.
pub const PAGE: Kind = Kind(7);

/// The instant at which [`Policy::new`] asks.
pub const NOW: Instant = 100;

/// `principal`, the one that asks.
pub fn principal() -> Uuid {
    Uuid::from_u128(0xffff)
}

/// The id of `team:1` and the like. No two nodes have the same, so that an id taken for another shows.
pub fn id(text: &str) -> Uuid {
    match &node(text).key {
        Key::Uuid(id) => *id,
        key => panic!("{key} is not a uuid"),
    }
}

/// `team:1`, `case:7`.
pub fn node(text: &str) -> Node {
    let (kind, number) = text.split_once(':').expect("kind:number");
    let kind = kind_of(kind);
    let number: u128 = number.parse().expect("a number after the colon");
    Node::uuid(kind, Uuid::from_u128(u128::from(kind.0) << 64 | number))
}

/// `team:1 team:2`.
pub fn nodes(text: &str) -> Vec<Node> {
    text.split_whitespace().map(node).collect()
}

/// `platform`, `case:*` or a node.
pub fn place(text: &str) -> Place {
    match text.split_once(':') {
        None if text == "platform" => Place::Platform,
        Some((kind, "*")) => Place::Every(kind_of(kind)),
        _ => Place::Node(node(text)),
    }
}

fn kind_of(name: &str) -> Kind {
    let mut known = Kind::BUILT_IN.iter().chain(["case", "document", "page"].iter());
    let number = known.position(|k| *k == name);
    Kind(number.unwrap_or_else(|| panic!("no kind {name}")) as u32)
}

/// The chain of `case:1`, innermost first.
pub fn case_chain() -> Vec<Node> {
    nodes("case:1 team:1 team:2 project:1 organization:1 organization:2 tenant:1")
}

/// What conditions see.
pub struct Seen {
    principal: Arc<Value>,
    context: Value,
}

impl Attributes for Seen {
    fn principal(&self) -> Value {
        (*self.principal).clone()
    }
    fn resource(&self, resource: &Resource, _: bool) -> Value {
        json!({"confidentiality": resource.confidentiality.name(), "key": resource.key.to_string()})
    }
    fn context(&self) -> Value {
        self.context.clone()
    }
}

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

    /// Makes what a decision works with.
    pub fn compile(&self) -> Compiled {
        let model = Model::compile(self.names.clone(), self.facts.clone());
        let composition = Composition::compile(&model, self.at);
        let (any, addressed): (Vec<_>, Vec<_>) = self.rows.iter().cloned().partition(|r| r.grantee == Grantee::Any);
        let chain = self.resource.as_ref().map_or(&[][..], |r| &r.chain);
        let large = |row: &Row| self.left_out.contains(&row.grantee) && matches!(row.what, What::Grant(_));
        let (large, loaded): (Vec<_>, Vec<_>) = addressed.into_iter().partition(large);
        let subject = self.principal.clone().map(|facts| {
            let mut builder = SubjectBuilder::new(facts, &composition);
            // As the store does: only rows of the principal's own subjects are fetched.
            let grantees = builder.grantees();
            self.left_out
                .iter()
                .filter(|g| grantees.contains(g))
                .for_each(|g| builder.leave_out(*g));
            loaded
                .into_iter()
                .filter(|row| grantees.contains(&row.grantee))
                .for_each(|row| builder.add(row));
            builder.finish()
        });
        let large = subject.as_ref().filter(|s| !s.large.is_empty()).map(|s| {
            let here = |row: &Row| matches!(&row.place, Place::Node(n) if chain.contains(n));
            s.index_of(large.into_iter().filter(here).collect())
        });
        let any = any.into_iter().map(|row| {
            let binding = Binding {
                id: row.id,
                tenant: Some(row.tenant),
                valid: row.valid,
                what: row.what,
                grantee: row.grantee,
            };
            (row.place, binding)
        });
        let attributes = self.principal.as_ref().map(|p| p.attributes.clone());
        Compiled {
            any: BindingIndex::compile(any.collect()),
            large,
            subject,
            composition,
            resource: self.resource.clone(),
            mfa_used: self.context["mfa"] == true,
            seen: Seen {
                principal: attributes.unwrap_or_default(),
                context: self.context.clone(),
            },
            at: self.at,
            model,
        }
    }

    /// The answer, of which a decision and its explanation must not differ.
    pub fn ask(&self, permission: &str) -> Reason {
        self.explain(permission).reason
    }

    /// The explanation.
    pub fn explain(&self, permission: &str) -> Explanation {
        let compiled = self.compile();
        let question = compiled.question(permission);
        let explanation = explain(&question);
        assert_eq!(
            explanation.reason,
            decide(&question, &mut Silent),
            "explanation and decision differ"
        );
        explanation
    }

    /// What would have to change.
    pub fn remedy(&self, permission: &str) -> Option<String> {
        self.explain(permission)
            .remedy(&self.names, self.resource.as_ref().ok())
    }
}

/// A policy made ready for many questions about its resource.
pub struct Compiled {
    /// Roles, permissions, types.
    pub model: Model,
    /// Role composition at the instant.
    pub composition: Composition,
    /// The principal.
    pub subject: Option<Subject>,
    /// Rules that address everybody.
    pub any: BindingIndex,
    /// Grants that were left out of the subject.
    pub large: Option<BindingIndex>,
    /// What is asked about.
    pub resource: Result<Resource, &'static str>,
    /// Was a second factor used?
    pub mfa_used: bool,
    /// For conditions.
    pub seen: Seen,
    /// When.
    pub at: Instant,
}

impl Compiled {
    /// May the principal do that to the resource?
    pub fn question(&self, permission: &str) -> Question<'_> {
        Question {
            model: &self.model,
            composition: &self.composition,
            subject: self.subject.as_ref(),
            elsewhere: [Some(&self.any), self.large.as_ref()],
            permission: self.model.permission(permission).expect("a defined permission"),
            resource: match &self.resource {
                Ok(resource) => Found::Resource(resource),
                Err(why) => Found::Nothing(why),
            },
            mfa_used: self.mfa_used,
            sessions: true,
            attributes: &self.seen,
            at: self.at,
        }
    }
}
