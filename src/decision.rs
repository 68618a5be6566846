//! From a question in SQL to the engine's answer.

mod definition;
mod privileged;
mod row;

use crate::cache::{self, Policy};
use crate::pg::{clock, invalidation};
use crate::resource::{self, Given, Located};
use crate::store::When;
use authz_engine::condition::Attributes;
use authz_engine::decide::Silent;
use authz_engine::name::{Kind, Permission};
use authz_engine::subject::{BindingIndex, Grantee};
use authz_engine::{Explanation, Found, Instant, Question, Reason, Resource, Subject, decide, explain};
use serde_json::Value;
use std::rc::Rc;
use uuid::Uuid;

pub use definition::{columns, has_parent, kind_of, nearest, permission, policy_now, registered};
pub use privileged::{is_masked, privileged_session};
pub use row::{As, Columns, RowCheck, check_row};

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
        privileged::evident(&in_force)
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

pub fn uses_mfa(context: Option<&Value>) -> bool {
    context.is_some_and(|c| c["mfa"] == Value::Bool(true))
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
            _ => resource::stored_row(resource),
        };
        resource::attributes(self.policy, resource, row)
    }

    fn context(&self) -> Value {
        self.context
            .cloned()
            .unwrap_or_else(|| Value::Object(serde_json::Map::new()))
    }
}
