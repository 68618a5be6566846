//! Steps 5, 6 and 8 for one permission: what all sources together say of it.

use super::{Decision, Source, Trace};
use crate::model::Privilege;
use crate::name::Permission;
use crate::role::Gives;
use crate::subject::{Binding, What};

/// What all sources together say of a permission.
#[derive(Clone, Copy)]
pub(super) struct Weight {
    pub(super) rule: Option<Rule>,
    pub(super) gives: Gives,
}

#[derive(Clone, Copy)]
pub(super) struct Rule {
    pub(super) priority: i32,
    pub(super) deny: bool,
}

impl Weight {
    pub(super) fn denied(&self) -> bool {
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

impl Decision<'_, '_> {
    /// Is the privilege held on the resource, by the means of step 6 and with a true condition?
    pub(super) fn holds<T: Trace>(&self, privilege: Privilege, trace: &mut T) -> bool {
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
    pub(super) fn weigh<T: Trace>(&self, wanted: Permission, trace: &mut T) -> Weight {
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
    pub(super) fn some_condition_holds<T: Trace>(&self, wanted: Permission, trace: &mut T) -> bool {
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
}
