//! The steps, one after the other.

use super::{Decision, Found, Question, RUNS, Reason, Trace};
use crate::model::{Privilege, ResourceType};
use crate::name::Permission;
use crate::resource::Confidentiality;
use crate::role::Gives;
use crate::subject::What;

impl<'q, 'a> Decision<'q, 'a> {
    pub(super) fn steps<T: Trace>(q: &'q Question<'a>, wanted: Permission, found: Found<'a>, trace: &mut T) -> Reason {
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

    fn of_type(&self, what: impl Fn(&ResourceType) -> u8) -> u8 {
        self.q.model.resource_type(self.resource.kind).map_or(0, what)
    }
}
