//! From a question in SQL to the engine's answer.

use crate::cache::{self, Policy};
use crate::certainty;
use crate::error;
use crate::pg::plan::Registered;
use crate::pg::relation::Relation;
use crate::pg::user_table::{Boundary, ColumnNames};
use crate::pg::{clock, invalidation};
use crate::places;
use crate::resource::{self, Given, Located};
use crate::session::{self, Session};
use crate::store::When;
use authz_engine::condition::Attributes;
use authz_engine::decide::Silent;
use authz_engine::name::{Kind, Permission};
use authz_engine::subject::{BindingIndex, Grantee, PrivilegedSession};
use authz_engine::{Explanation, Found, Instant, Key, Question, Reason, Resource, Subject, decide, explain};
use serde_json::Value;
use std::cell::Cell;
use std::rc::Rc;
use uuid::Uuid;

/// A question as it comes from SQL.
pub struct Ask<'a> {
    /// Who.
    pub principal: Uuid,
    /// To what.
    pub resource: Given<'a>,
    /// In which tenant, where the key does not say.
    pub tenant: Option<Uuid>,
    /// What the caller says of the request.
    pub context: Option<&'a Value>,
}

/// A principal with the policy, at the statement's instant: what several questions in a row share.
pub struct Asker {
    /// Another instant than now.
    fixed: Option<When>,
    policy: Policy,
    subject: Option<Rc<Subject>>,
}

impl Asker {
    /// Receives what others have committed and looks the principal up.
    pub fn now(principal: Uuid) -> Asker {
        let (policy, subject) = current(Some(principal));
        Asker {
            fixed: None,
            policy,
            subject,
        }
    }

    /// The same at an instant; `None` is now. What others have committed is received.
    pub fn as_of(principal: Option<Uuid>, at: Option<Instant>) -> Asker {
        invalidation::receive();
        let now = clock::now();
        let Some(at) = at.filter(|at| *at != now) else {
            let (policy, subject) = current(principal);
            return Asker {
                fixed: None,
                policy,
                subject,
            };
        };
        let when = if at < now { When::At(at) } else { When::Now(at) };
        let policy = cache::policy_once(when);
        Asker {
            fixed: Some(when),
            subject: principal.and_then(|id| cache::subject_once(id, when, &policy)),
            policy,
        }
    }

    /// Another principal, at the same instant.
    pub fn of(&self, principal: Uuid) -> Asker {
        match self.fixed {
            None => Asker::now(principal),
            Some(when) => Asker {
                fixed: self.fixed,
                subject: cache::subject_once(principal, when, &self.policy),
                policy: self.policy.clone(),
            },
        }
    }

    /// The instant that facts are loaded for.
    pub fn when(&self) -> When {
        self.fixed.unwrap_or_else(|| When::Now(clock::now()))
    }

    /// The principal, if it is known.
    pub fn subject(&self) -> Option<&Subject> {
        self.subject.as_deref()
    }

    /// A permission by its code; one that is not defined is an error.
    pub fn permission(&self, code: &str) -> Permission {
        permission(&self.policy, code)
    }

    /// The type of resource that a permission is about.
    pub fn kind(&self, permission: Permission) -> Kind {
        kind_of(&self.policy, permission)
    }

    /// The instant that it decides at.
    fn at(&self) -> Instant {
        self.fixed.map_or_else(clock::now, When::horizon)
    }

    /// The policy.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Is the principal known and active? Where it is not, nothing else needs to be looked up.
    fn is_active(&self) -> bool {
        self.subject.as_ref().is_some_and(|s| s.is_active(self.at()))
    }

    /// Finds the resource that a permission is about.
    pub fn find(&self, kind: Kind, ask: &Ask<'_>) -> Result<Located, String> {
        if self.is_active() {
            resource::find(&self.policy, kind, ask.resource, ask.tenant)
        } else {
            Err(NOT_LOOKED_FOR.to_owned())
        }
    }

    /// The privileged session that is in force for the principal and covers the resource.
    pub fn privileged(&self, resource: &Resource) -> Option<Uuid> {
        let in_force: Vec<_> = self.subject.as_ref()?.privileged(resource, self.at()).collect();
        evident(&in_force)
    }

    /// Finds the resource and decides.
    pub fn check(&self, permission: Permission, ask: &Ask<'_>) -> Reason {
        let found = self.find(kind_of(&self.policy, permission), ask);
        self.decide(permission, &found, ask)
    }

    /// Decides one permission on a resource that was found (or not).
    pub fn decide(&self, permission: Permission, found: &Result<Located, String>, ask: &Ask<'_>) -> Reason {
        self.decide_row(permission, found, ask, &Columns::Stored)
    }

    /// The same where the columns of the resource's own row come from elsewhere.
    fn decide_row(
        &self,
        permission: Permission,
        found: &Result<Located, String>,
        ask: &Ask<'_>,
        columns: &Columns<'_>,
    ) -> Reason {
        let elsewhere = match (found, &self.subject) {
            (Ok(resource), Some(subject)) => self.elsewhere(subject, resource),
            _ => [None, None],
        };
        let facts = Facts {
            policy: &self.policy,
            subject: self.subject.as_deref(),
            context: ask.context,
            columns,
            row: found.as_ref().ok().map(|r| &**r),
        };
        decide(&self.question(permission, found, &elsewhere, &facts), &mut Silent)
    }

    /// The same with everything that led to the answer.
    pub fn explain(&self, permission: Permission, found: &Result<Located, String>, ask: &Ask<'_>) -> Explanation {
        let elsewhere = match (found, &self.subject) {
            (Ok(resource), Some(subject)) => self.elsewhere(subject, resource),
            _ => [None, None],
        };
        let facts = Facts {
            policy: &self.policy,
            subject: self.subject.as_deref(),
            context: ask.context,
            columns: &Columns::Stored,
            row: None,
        };
        explain(&self.question(permission, found, &elsewhere, &facts))
    }

    /// A question about a place that counts standing authority only (`authz_engine::delegate`).
    pub fn ask_standing<T>(
        &self,
        permission: Permission,
        resource: Located,
        context: Option<&Value>,
        answer: impl FnOnce(&Question<'_>) -> T,
    ) -> T {
        let elsewhere = match &self.subject {
            Some(subject) => self.elsewhere(subject, &resource),
            None => [None, None],
        };
        let facts = Facts {
            policy: &self.policy,
            subject: self.subject.as_deref(),
            context,
            columns: &Columns::Stored,
            row: None,
        };
        let found = Ok(resource);
        answer(&Question {
            sessions: false,
            ..self.question(permission, &found, &elsewhere, &facts)
        })
    }

    /// Is the principal active, and an active member of the tenant?
    pub fn is_member(&self, tenant: Uuid) -> bool {
        let at = self.at();
        self.subject
            .as_ref()
            .is_some_and(|s| s.is_active(at) && s.is_member(tenant, at))
    }

    /// Does a grant or rule of the tenant that addresses `grantee` address the principal?
    pub fn is_addressed(&self, grantee: Grantee, tenant: Uuid) -> bool {
        let at = self.at();
        self.subject
            .as_ref()
            .is_some_and(|s| s.is_addressed(grantee, tenant, &self.policy.composition, at))
    }

    fn elsewhere(&self, subject: &Subject, resource: &Resource) -> [Option<Rc<BindingIndex>>; 2] {
        match self.fixed {
            None => [
                resource.tenant.and_then(cache::tenant_rules),
                cache::large_grants(subject, &resource.chain, &self.policy),
            ],
            Some(when) => [
                resource.tenant.and_then(|t| cache::tenant_rules_once(t, when)),
                cache::large_grants_once(subject, &resource.chain, when),
            ],
        }
    }

    fn question<'q>(
        &'q self,
        permission: Permission,
        found: &'q Result<Located, String>,
        elsewhere: &'q [Option<Rc<BindingIndex>>; 2],
        facts: &'q Facts<'q>,
    ) -> Question<'q> {
        Question {
            model: &self.policy.loaded.model,
            composition: &self.policy.composition,
            subject: self.subject.as_deref(),
            elsewhere: [elsewhere[0].as_deref(), elsewhere[1].as_deref()],
            permission,
            resource: match found {
                Ok(resource) => Found::Resource(resource),
                Err(why) => Found::Nothing(why),
            },
            mfa_used: uses_mfa(facts.context),
            attributes: facts,
            sessions: true,
            at: self.at(),
        }
    }
}

const NOT_LOOKED_FOR: &str = "not looked for: the principal may do nothing";

/// May the principal do it? The answer and the reason are the engine's.
pub fn check(permission: &str, ask: &Ask<'_>) -> Reason {
    let asker = Asker::now(ask.principal);
    asker.check(asker.permission(permission), ask)
}

/// The same at another instant.
pub fn check_at(permission: &str, ask: &Ask<'_>, at: Instant) -> Reason {
    let asker = Asker::as_of(Some(ask.principal), Some(at));
    asker.check(asker.permission(permission), ask)
}

/// What a policy passes of a row.
pub struct RowCheck<'a> {
    /// Its key.
    pub key: Key,
    /// Its tenant.
    pub tenant: Option<Uuid>,
    /// Its organization.
    pub organization: Option<Uuid>,
    /// Its team.
    pub team: Option<Uuid>,
    /// Its project.
    pub project: Option<Uuid>,
    /// Its owner.
    pub owner: Option<Uuid>,
    /// Its level.
    pub confidentiality: Option<&'a str>,
    /// Is it soft-deleted?
    pub deleted: bool,
    /// Its parent's key.
    pub parent: Option<&'a str>,
}

/// Where conditions find the columns of the row that is decided about.
pub enum Columns<'a> {
    /// The statement's snapshot shows the row as it is decided about: there, by its key.
    Stored,
    /// Here: a row that is about to be written, or that is decided again after a lock was waited for.
    Given(&'a Value),
    /// Nowhere yet. Whether one was asked for them is noted: then the answer is none.
    Missing(Cell<bool>),
}

/// As whom a row is decided about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// The session: with its tenant, and with its context.
    Session,
    /// The session's principal: in all its tenants, and without a context, as `authz_can(authz_principal(), …)` decides.
    Principal,
}

impl As {
    /// The tenant that a session names.
    pub const fn tenant(self, session: &Session) -> Option<Uuid> {
        match self {
            As::Session => session.tenant,
            As::Principal => None,
        }
    }

    /// What is said of the request.
    pub const fn context(self, session: &Session) -> Option<&Value> {
        match self {
            As::Session => Some(&session.context),
            As::Principal => None,
        }
    }
}

/// May the session use the permission on a row? Without a session: no. `None`: that depends on columns that are missing.
pub fn check_row(code: &str, row: RowCheck<'_>, who: As, columns: &Columns<'_>) -> Option<bool> {
    let Some(session) = session::current() else {
        return Some(false);
    };
    let tenant = who.tenant(&session);
    if tenant.is_some() && tenant != row.tenant {
        return Some(false);
    }
    let places = places::of(code, who);
    if let Some(surely) = places.as_ref().and_then(|places| places.surely(&row)) {
        return Some(surely);
    }
    let asker = Asker::now(session.principal);
    let permission = asker.permission(code);
    let kind = kind_of(&asker.policy, permission);
    let registration = asker.policy.loaded.registrations.get(&kind);
    let has_levels = registration.is_some_and(|r| r.columns.confidentiality.is_some());
    if let (Some(places), Some(tenant), Some(subject), Some(registration)) =
        (&places, row.tenant, &asker.subject, registration)
        && registration.parent.is_none()
        && !row.deleted
    {
        let asked = certainty::Asked {
            subject,
            permission,
            kind,
            levels: has_levels,
            mfa: uses_mfa(who.context(&session)),
            policy: &asker.policy,
        };
        places.note(tenant, &asked);
    }
    let boundary = Boundary {
        key: row.key,
        tenant: row.tenant,
        organization: row.organization,
        team: row.team,
        project: row.project,
        owner: row.owner,
        confidentiality: has_levels.then(|| row.confidentiality.map(str::to_owned)),
        deleted: row.deleted,
        parent: row.parent.map(Key::from_text),
    };
    let ask = Ask {
        principal: session.principal,
        resource: Given::Text(""),
        tenant: None,
        context: who.context(&session),
    };
    let found = resource::of_row(&asker.policy, kind, boundary).map(Located::Row);
    let allowed = asker.decide_row(permission, &found, &ask, columns) == Reason::Allowed;
    match columns {
        Columns::Missing(asked) if asked.get() => None,
        _ => Some(allowed),
    }
}

/// The privileged session that a principal acts under in a tenant (`None`: in any), now: what audit events name.
pub fn privileged_session(principal: Uuid, tenant: Option<Uuid>) -> Option<Uuid> {
    let subject = current(Some(principal)).1?;
    evident(&subject.privileged_sessions(tenant, clock::now()))
}

/// Of several privileged sessions the one that evidence names: break-glass, which nothing hides; else the one that the
/// session's context names; else the first.
fn evident(in_force: &[&PrivilegedSession]) -> Option<Uuid> {
    let first = in_force.first()?;
    let session = session::current();
    let named = session.as_ref().and_then(|s| s.context["session_id"].as_str());
    let is_named = |s: &&&PrivilegedSession| named == Some(s.id.to_string().as_str());
    let break_glass = in_force.iter().find(|s| s.break_glass);
    let chosen = break_glass.or_else(|| in_force.iter().find(is_named));
    Some(chosen.unwrap_or(first).id)
}

/// Does the session act under a support session that was not approved to reach sensitive data? Then what it sees is
/// masked. Of a session that names no tenant one such support session is enough.
pub fn is_masked() -> bool {
    session::current().is_some_and(|session| {
        current(Some(session.principal)).1.is_some_and(|subject| {
            subject
                .privileged_sessions(session.tenant, clock::now())
                .iter()
                .any(|s| !s.break_glass && !s.includes_sensitive)
        })
    })
}

pub fn uses_mfa(context: Option<&Value>) -> bool {
    context.is_some_and(|c| c["mfa"] == Value::Bool(true))
}

/// The policy, now.
pub fn policy_now() -> Policy {
    current(None).0
}

/// Have rows of the permission's type parents? `None`: the permission is not defined.
pub fn has_parent(code: &str) -> Option<bool> {
    let policy = policy_now();
    let permission = policy.loaded.model.permission(code)?;
    let registration = policy.loaded.registrations.get(&kind_of(&policy, permission));
    Some(registration.is_some_and(|r| r.parent.is_some()))
}

/// The columns of the table that rows of the permission's type are in.
pub fn columns(code: &str) -> Option<ColumnNames> {
    let policy = policy_now();
    let kind = kind_of(&policy, policy.loaded.model.permission(code)?);
    Some(policy.loaded.registrations.get(&kind)?.columns.clone())
}

/// The table that rows of the permission's type are in, if it is `table` and its key is the column `key`.
pub fn registered(code: &str, table: pgrx::pg_sys::Oid, key: i16) -> Option<Registered> {
    let policy = policy_now();
    let permission = policy.loaded.model.permission(code)?;
    let registration = policy.loaded.registrations.get(&kind_of(&policy, permission))?;
    let is_key = || Relation::open(table).and_then(|t| t.column(&registration.columns.key)) == Some(key);
    if registration.target != table || !is_key() {
        return None;
    }
    let registrations = &policy.loaded.registrations;
    let above = std::iter::successors(Some(registration), |r| registrations.get(&r.parent?));
    Some(Registered {
        target: table,
        columns: registration.columns.clone(),
        above: above
            .skip(1)
            .take(registrations.len())
            .map(|r| (r.target, r.columns.clone()))
            .collect(),
    })
}

/// An explanation and what its reader needs beside it.
pub struct Explained {
    /// The decision with all its steps.
    pub explanation: Explanation,
    /// Names and definitions.
    pub policy: Policy,
    /// The resource, if it was found.
    pub resource: Option<Resource>,
    /// The instant that was asked about.
    pub at: Instant,
}

/// Explains the decision now (`at` is `None`) or at another instant. `principal` and `resource` may be unknown.
pub fn explain_at(
    principal: Option<Uuid>,
    code: &str,
    resource: Option<Given<'_>>,
    tenant: Option<Uuid>,
    context: Option<&Value>,
    at: Option<Instant>,
) -> Explained {
    let asker = Asker::as_of(principal, at);
    let permission = asker.permission(code);
    let found = match resource {
        Some(given) => resource::find(&asker.policy, asker.kind(permission), given, tenant),
        None => Err("the resource is NULL".to_owned()),
    };
    let ask = Ask {
        principal: principal.unwrap_or_default(),
        resource: Given::Text(""),
        tenant,
        context,
    };
    Explained {
        explanation: asker.explain(permission, &found, &ask),
        resource: found.ok().map(|r| Resource::clone(&r)),
        at: asker.at(),
        policy: asker.policy,
    }
}

/// The policy and a principal, now.
fn current(principal: Option<Uuid>) -> (Policy, Option<Rc<Subject>>) {
    invalidation::receive();
    let look = || {
        let policy = cache::policy();
        let subject = principal.and_then(|id| cache::subject(id, &policy));
        (policy, subject)
    };
    let (policy, subject) = look();
    // Loading takes the decision to a later instant, at which roles may be composed otherwise.
    if policy.composition.valid.contains(clock::now()) {
        (policy, subject)
    } else {
        look()
    }
}

/// A permission by its code; one that is not defined is an error.
pub fn permission(policy: &Policy, code: &str) -> Permission {
    let model = &policy.loaded.model;
    model.permission(code).unwrap_or_else(|| {
        let codes = model
            .permissions()
            .map(|p| model.names.permissions.name(p.permission.0));
        error::unknown_permission(code, nearest(code, codes))
    })
}

/// The name most like `wanted`, if one is like it at all.
pub fn nearest<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(likeness, _)| *likeness > 0.7)
        .map(|(_, name)| name)
}

/// The type that a permission is about.
pub fn kind_of(policy: &Policy, permission: Permission) -> Kind {
    // A permission is known only by its definition, which names its type.
    policy
        .loaded
        .model
        .definition(permission)
        .map_or(Kind::PLATFORM, |d| d.kind)
}

/// What conditions see.
struct Facts<'a> {
    policy: &'a Policy,
    subject: Option<&'a Subject>,
    context: Option<&'a Value>,
    /// Where the columns of `row` come from; those of its parents are stored.
    columns: &'a Columns<'a>,
    row: Option<&'a Resource>,
}

impl Facts<'_> {
    fn is_row(&self, resource: &Resource) -> bool {
        self.row.is_some_and(|row| std::ptr::eq(row, resource))
    }
}

impl Attributes for Facts<'_> {
    fn principal(&self) -> Value {
        self.subject.map_or(Value::Null, |s| (*s.attributes).clone())
    }

    fn resource(&self, resource: &Resource, needs_row: bool) -> Value {
        clock::check_stack_depth();
        let row = match self.columns {
            _ if !needs_row => Value::Null,
            Columns::Given(row) if self.is_row(resource) => (*row).clone(),
            Columns::Missing(asked) if self.is_row(resource) => {
                asked.set(true);
                return Value::Null;
            }
            _ => resource::stored_row(self.policy, resource),
        };
        resource::attributes(self.policy, resource, row)
    }

    fn context(&self) -> Value {
        self.context
            .cloned()
            .unwrap_or_else(|| Value::Object(serde_json::Map::new()))
    }
}
