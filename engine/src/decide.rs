//! The nine steps. This is the one implementation of the rule in `docs/decision-rule.md`.

use crate::condition::Attributes;
use crate::model::{Model, Privilege};
use crate::name::{Permission, Role};
use crate::node::Node;
use crate::resource::{Confidentiality, Parent, Resource};
use crate::role::{Composition, Gives};
use crate::subject::{Binding, BindingIndex, PrivilegedSession, Subject, What, fingerprint};
use crate::time::Instant;

/// Why the answer is what it is: `Allowed`, or the step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Every step passed.
    Allowed,
    /// Step 1.
    PrincipalInactive,
    /// Step 2.
    ResourceNotFound,
    /// Step 3.
    OutsideTenant,
    /// Step 4.
    ResourceDeleted,
    /// Step 5.
    ExplicitDeny,
    /// Step 6.
    NoGrant,
    /// Step 7.
    Confidentiality,
    /// Step 8.
    ConditionFailed,
    /// Step 9.
    MfaRequired,
}

impl Reason {
    /// The reason code: part of the SQL surface and of the audit trail.
    pub const fn code(self) -> &'static str {
        match self {
            Reason::Allowed => "allowed",
            Reason::PrincipalInactive => "principal_inactive",
            Reason::ResourceNotFound => "resource_not_found",
            Reason::OutsideTenant => "outside_tenant",
            Reason::ResourceDeleted => "resource_deleted",
            Reason::ExplicitDeny => "explicit_deny",
            Reason::NoGrant => "no_grant",
            Reason::Confidentiality => "confidentiality",
            Reason::ConditionFailed => "condition_failed",
            Reason::MfaRequired => "mfa_required",
        }
    }
}

/// What was found where the resource was looked for.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// It.
    Resource(&'a Resource),
    /// Nothing; why, for the explanation.
    Nothing(&'a str),
}

/// May this subject do this to that resource, then?
pub struct Question<'a> {
    /// Roles, permissions, resource types.
    pub model: &'a Model,
    /// Role composition, valid at `at`.
    pub composition: &'a Composition,
    /// The principal; `None` = unknown.
    pub subject: Option<&'a Subject>,
    /// Bindings kept outside of the subject: rules that address everybody in the resource's tenant, and grants of
    /// [`Subject::large`] on this chain.
    pub elsewhere: [Option<&'a BindingIndex>; 2],
    /// What it wants to do.
    pub permission: Permission,
    /// To what.
    pub resource: Found<'a>,
    /// Does the request's context say that a second factor was used?
    pub mfa_used: bool,
    /// For conditions.
    pub attributes: &'a dyn Attributes,
    /// Do privileged sessions count? Not where authority is handed on: what is lent for an hour cannot be given away.
    pub sessions: bool,
    /// When.
    pub at: Instant,
}

/// What a decision looks at, told as it goes. The hot path listens with [`Silent`], which compiles to nothing.
pub trait Trace {
    /// Is anybody listening? Guards work that only a listener needs.
    const LISTENING: bool;
    /// The steps that follow are about this permission and resource (the child's first, then its parent's).
    fn about(&mut self, permission: Permission, resource: Found<'_>);
    /// A step was taken.
    fn step(&mut self, number: u8, passed: bool, note: impl FnOnce() -> String);
    /// A source of `wanted` was looked at.
    fn source(&mut self, wanted: Permission, source: Source<'_>, gives: Gives);
    /// A condition was evaluated.
    fn condition(&mut self, wanted: Permission, source: Source<'_>, text: &str, outcome: &Result<bool, String>);
}

/// A [`Trace`] that nobody listens to.
pub struct Silent;

impl Trace for Silent {
    const LISTENING: bool = false;
    #[inline]
    fn about(&mut self, _: Permission, _: Found<'_>) {}
    #[inline]
    fn step(&mut self, _: u8, _: bool, _: impl FnOnce() -> String) {}
    #[inline]
    fn source(&mut self, _: Permission, _: Source<'_>, _: Gives) {}
    #[inline]
    fn condition(&mut self, _: Permission, _: Source<'_>, _: &str, _: &Result<bool, String>) {}
}

/// Where a permission can come from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A row of a binding table, and the node that it is at (`None` = platform, or every resource of a type).
    Binding(&'a Binding, Option<&'a Node>),
    /// The owner's role.
    Ownership(Role),
    /// A privileged session.
    Session(&'a PrivilegedSession),
}

/// Answers the question.
pub fn decide<T: Trace>(question: &Question<'_>, trace: &mut T) -> Reason {
    let mut permission = question.permission;
    let mut found = question.resource;
    loop {
        trace.about(permission, found);
        let reason = Decision::steps(question, permission, found, trace);
        if reason != Reason::Allowed {
            return reason;
        }
        // A child is never more visible than its parent.
        let Found::Resource(resource) = found else {
            return reason;
        };
        match &resource.parent {
            Parent::None => return reason,
            Parent::Missing => found = Found::Nothing("its parent is not there"),
            Parent::Resource(parent) => match question.model.view_permission(parent.kind) {
                None => return reason,
                Some(view) => {
                    permission = view;
                    found = Found::Resource(parent);
                }
            },
        }
    }
}

/// As many as any but a crowded chain has.
const RUNS: usize = 8;

/// One resource under decision, after steps 1 and 2.
struct Decision<'q, 'a> {
    q: &'q Question<'a>,
    subject: &'a Subject,
    resource: &'a Resource,
    /// Do bindings inside the tenant count?
    member: bool,
    /// Runs of bindings at nodes of the chain, from the resource outwards, with the node's place in the chain. Found
    /// once, looked at for every permission that the decision asks for.
    runs: [(usize, &'a [Binding]); RUNS],
    /// How many runs there are.
    found: usize,
    /// Where in the chain to go on looking, where there are more runs than that.
    rest: usize,
    /// Is there a source besides runs and the platform's bindings?
    rare: bool,
}

/// What all sources together say of a permission.
#[derive(Clone, Copy)]
struct Weight {
    rule: Option<Rule>,
    gives: Gives,
}

#[derive(Clone, Copy)]
struct Rule {
    priority: i32,
    deny: bool,
}

impl Weight {
    fn denied(&self) -> bool {
        self.rule.is_some_and(|r| r.deny)
    }

    fn add(&mut self, gives: Gives) {
        match (self.gives, gives) {
            (Gives::Always, _) | (_, Gives::No) => {}
            (_, better) => self.gives = better,
        }
    }

    /// The highest priority wins, a tie that contains a deny is a deny.
    fn add_rule(&mut self, priority: i32, deny: bool) {
        match &mut self.rule {
            Some(r) if r.priority > priority => {}
            Some(r) if r.priority == priority => r.deny |= deny,
            _ => self.rule = Some(Rule { priority, deny }),
        }
    }
}

impl<'q, 'a> Decision<'q, 'a> {
    fn steps<T: Trace>(q: &'q Question<'a>, wanted: Permission, found: Found<'a>, trace: &mut T) -> Reason {
        let at = q.at;
        let active = q.subject.filter(|s| s.is_active(at));
        trace.step(1, active.is_some(), || match q.subject {
            None => "no such principal".to_owned(),
            Some(_) if active.is_some() => "active and not locked".to_owned(),
            Some(_) => "suspended, locked, disabled or deleted".to_owned(),
        });
        let Some(subject) = active else {
            return Reason::PrincipalInactive;
        };

        let resource = match found {
            Found::Resource(r) => r,
            Found::Nothing(why) => {
                trace.step(2, false, || why.to_owned());
                return Reason::ResourceNotFound;
            }
        };
        trace.step(2, true, || {
            let chain: Vec<_> = resource.chain.iter().rev().map(|n| q.model.names.show(n)).collect();
            format!("scope chain: platform > {}", chain.join(" > "))
        });

        let member = resource.tenant.is_some_and(|t| subject.is_member(t, at));
        let mut decision = Decision {
            q,
            subject,
            resource,
            member,
            runs: [(0, &[]); RUNS],
            found: 0,
            rest: resource.chain.len(),
            rare: false,
        };
        let entry = decision.entry(wanted);
        trace.step(3, entry.is_some(), || {
            entry.unwrap_or("no active membership in the tenant").to_owned()
        });
        if entry.is_none() {
            return Reason::OutsideTenant;
        }
        decision.find_sources();

        if resource.deleted {
            let may = decision.holds(Privilege::ViewDeleted, trace);
            trace.step(4, may, || "soft-deleted: asks for view_deleted".to_owned());
            if !may {
                return Reason::ResourceDeleted;
            }
        } else {
            trace.step(4, true, || "not soft-deleted".to_owned());
        }

        let weight = decision.weigh(wanted, trace);
        trace.step(5, !weight.denied(), || match weight.rule {
            None => "no rule applies".to_owned(),
            Some(r) if r.deny => format!("a deny of priority {} wins", r.priority),
            Some(r) => format!("an allow of priority {} wins", r.priority),
        });
        if weight.denied() {
            return Reason::ExplicitDeny;
        }

        trace.step(6, weight.gives != Gives::No, || match weight.gives {
            Gives::No => "nothing gives the permission here".to_owned(),
            Gives::Conditionally => "given under conditions".to_owned(),
            Gives::Always => "given".to_owned(),
        });
        if weight.gives == Gives::No {
            return Reason::NoGrant;
        }

        let cleared = decision.confidentiality(trace);
        if !cleared {
            return Reason::Confidentiality;
        }

        let fulfilled = match weight.gives {
            Gives::Always => true,
            _ => decision.some_condition_holds(wanted, trace),
        };
        trace.step(8, fulfilled, || match weight.gives {
            Gives::Always => "no condition to meet".to_owned(),
            _ if fulfilled => "a condition is true".to_owned(),
            _ => "no condition is true".to_owned(),
        });
        if !fulfilled {
            return Reason::ConditionFailed;
        }

        let needs_mfa = q.model.definition(wanted).is_none_or(|d| d.requires_mfa);
        let mfa = !needs_mfa || subject.mfa_enrolled && q.mfa_used;
        trace.step(9, mfa, || match (needs_mfa, subject.mfa_enrolled, q.mfa_used) {
            (false, _, _) => "not required".to_owned(),
            (true, true, true) => "enrolled and used".to_owned(),
            (true, false, _) => "required, but the principal has not enrolled".to_owned(),
            (true, true, false) => "required, but the context does not say that it was used".to_owned(),
        });
        if mfa { Reason::Allowed } else { Reason::MfaRequired }
    }

    /// Step 3: how the principal comes into the tenant, if it does.
    fn entry(&self, wanted: Permission) -> Option<&'static str> {
        let by_platform_role = || {
            self.subject.index.platform().iter().any(|b| match b.what {
                What::Role(role) => b.valid.contains(self.q.at) && self.q.composition.gives(role, wanted) != Gives::No,
                _ => false,
            })
        };
        if self.member {
            Some("active membership in the tenant")
        } else if by_platform_role() {
            Some("a platform role with the permission")
        } else if self.sessions().next().is_some() {
            Some("an active privileged session")
        } else {
            None
        }
    }

    /// Step 7.
    fn confidentiality<T: Trace>(&self, trace: &mut T) -> bool {
        let level = self.resource.confidentiality;
        let (privilege, clearance) = match level {
            Confidentiality::Normal => {
                trace.step(7, true, || "normal".to_owned());
                return true;
            }
            Confidentiality::Unknown => {
                trace.step(7, false, || {
                    "the row's confidentiality is none of normal, restricted, sealed".to_owned()
                });
                return false;
            }
            Confidentiality::Restricted => (Privilege::ViewRestricted, self.of_type(|t| t.clearance_restricted)),
            Confidentiality::Sealed => (Privilege::ViewSealed, self.of_type(|t| t.clearance_sealed)),
        };
        let cleared = self.subject.clearance >= clearance;
        let holds = self.holds(privilege, trace);
        trace.step(7, cleared && holds, || match (holds, cleared) {
            (true, true) => format!("{}: {} is held", level.name(), privilege.action()),
            (false, _) => format!("{}: {} is not held", level.name(), privilege.action()),
            (true, false) => format!(
                "{}: clearance L{clearance} is asked for, the principal has {}",
                level.name(),
                match self.subject.clearance {
                    0 => "none".to_owned(),
                    n => format!("L{n}"),
                }
            ),
        });
        cleared && holds
    }

    fn of_type(&self, what: impl Fn(&crate::model::ResourceType) -> u8) -> u8 {
        self.q.model.resource_type(self.resource.kind).map_or(0, what)
    }

    /// Is the privilege held on the resource, by the means of step 6 and with a true condition?
    fn holds<T: Trace>(&self, privilege: Privilege, trace: &mut T) -> bool {
        let Some(permission) = self.q.model.privilege(self.resource.kind, privilege) else {
            return false;
        };
        let weight = self.weigh(permission, trace);
        !weight.denied()
            && match weight.gives {
                Gives::Always => true,
                Gives::Conditionally => self.some_condition_holds(permission, trace),
                Gives::No => false,
            }
    }

    /// Steps 5 and 6 in one pass over the chain.
    fn weigh<T: Trace>(&self, wanted: Permission, trace: &mut T) -> Weight {
        let mut weight = Weight {
            rule: None,
            gives: Gives::No,
        };
        self.each_source(|source| {
            let gives = self.gives(source, wanted);
            if let Source::Binding(
                Binding {
                    what: What::Rule { deny, priority, .. },
                    ..
                },
                _,
            ) = source
            {
                if gives == Gives::Always && (*deny || self.member) {
                    weight.add_rule(*priority, *deny);
                    trace.source(wanted, source, gives);
                }
            } else if gives != Gives::No {
                weight.add(gives);
                trace.source(wanted, source, gives);
            }
        });
        if weight.rule.is_some_and(|r| !r.deny) {
            weight.add(Gives::Always);
        }
        weight
    }

    /// Does the source give (or, a deny rule, take) the permission?
    #[inline]
    fn gives(&self, source: Source<'_>, wanted: Permission) -> Gives {
        let yes = |is: bool| if is { Gives::Always } else { Gives::No };
        match source {
            Source::Binding(b, _) => match b.what {
                What::Role(role) => self.q.composition.gives(role, wanted),
                What::Grant(permission) => yes(self.q.model.implies(permission, wanted)),
                What::Rule { permission, .. } => yes(permission.is_none_or(|p| p == wanted)),
            },
            Source::Ownership(role) => self.q.composition.gives(role, wanted),
            Source::Session(s) => yes(s.gives(self.q.model, wanted)),
        }
    }

    /// Step 8 for one permission.
    fn some_condition_holds<T: Trace>(&self, wanted: Permission, trace: &mut T) -> bool {
        let mut holds = false;
        self.each_source(|source| {
            let role = match source {
                Source::Binding(
                    Binding {
                        what: What::Role(role), ..
                    },
                    _,
                ) => *role,
                Source::Ownership(role) => role,
                _ => return,
            };
            // A listener hears all conditions, the hot path stops at the first that is true.
            if holds && !T::LISTENING {
                return;
            }
            for way in self.q.composition.ways(self.q.model, role, wanted, self.q.at) {
                let Some(condition) = &way.condition else {
                    continue;
                };
                let outcome = condition.evaluate(self.q.attributes, self.resource, self.q.at);
                trace.condition(wanted, source, condition.source(), &outcome);
                holds |= outcome == Ok(true);
            }
        });
        holds
    }

    /// Does a binding, which is at the resource's chain, count for its tenant and at the instant?
    #[inline]
    fn counts(&self, b: &Binding) -> bool {
        b.valid.contains(self.q.at)
            && b.tenant == self.resource.tenant
            // What lives inside a tenant gives nothing to those who are not (or no longer) in it; denies still hold.
            && (self.member || matches!(b.what, What::Rule { deny: true, .. }))
    }

    /// Every source that is in force at the instant and reaches the resource.
    #[inline]
    fn each_source(&self, mut f: impl FnMut(Source<'_>)) {
        for &(i, run) in &self.runs[..self.found] {
            for binding in run {
                if self.counts(binding) {
                    f(Source::Binding(binding, Some(&self.resource.chain[i])));
                }
            }
        }
        // Only assignments are made at the platform, and those are part of the subject.
        for binding in self.subject.index.platform() {
            if binding.tenant.is_none() && binding.valid.contains(self.q.at) {
                f(Source::Binding(binding, None));
            }
        }
        if self.rare {
            self.each_rare_source(&mut f);
        }
    }

    /// The rest of [`Self::each_source`], kept apart: few decisions meet any of these.
    #[inline(never)]
    fn each_rare_source(&self, f: &mut dyn FnMut(Source<'_>)) {
        let chain = &self.resource.chain;
        for index in self.indexes().into_iter().flatten() {
            for node in &chain[self.rest..] {
                for binding in index.at(node).iter().filter(|b| self.counts(b)) {
                    f(Source::Binding(binding, Some(node)));
                }
            }
            for (kind, binding) in index.wide() {
                if self.counts(binding) && chain.iter().any(|n| n.kind == *kind) {
                    f(Source::Binding(binding, None));
                }
            }
        }
        if self.member
            && let Some(tenant) = self.resource.tenant
        {
            for (kind, owner) in self.resource.owned() {
                if let Some(role) = self.q.model.resource_type(kind).and_then(|t| t.owner_role)
                    && self.subject.is_owner(owner, tenant, self.q.at)
                {
                    f(Source::Ownership(role));
                }
            }
        }
        self.sessions().for_each(|s| f(Source::Session(s)));
    }

    /// The subject's bindings, and those kept outside of it.
    #[inline]
    fn indexes(&self) -> [Option<&'a BindingIndex>; 3] {
        let [everybody, large] = self.q.elsewhere;
        [Some(&self.subject.index), everybody, large]
    }

    fn find_sources(&mut self) {
        let indexes = self.indexes();
        self.find_runs(&indexes);
        self.rare = self.rest < self.resource.chain.len()
            || self.resource.owned().next().is_some()
            || !self.subject.sessions.is_empty()
            || indexes.into_iter().flatten().any(|i| !i.wide().is_empty());
    }

    #[inline]
    fn find_runs(&mut self, indexes: &[Option<&'a BindingIndex>]) {
        for (i, node) in self.resource.chain.iter().enumerate() {
            if self.found + indexes.len() > RUNS {
                self.rest = i;
                return;
            }
            let fingerprint = fingerprint(node);
            for index in indexes.iter().flatten() {
                if index.may_have(fingerprint)
                    && let run @ [_, ..] = index.at(node)
                {
                    self.runs[self.found] = (i, run);
                    self.found += 1;
                }
            }
        }
    }

    /// Active privileged sessions that cover the resource.
    #[inline]
    fn sessions(&self) -> impl Iterator<Item = &'a PrivilegedSession> {
        // The flag first: it costs nothing where sessions count.
        let counted = self
            .q
            .sessions
            .then(|| self.subject.privileged(self.resource, self.q.at));
        counted.into_iter().flatten()
    }
}
