//! What a principal may hand on. Holding a permission is not enough: it must be held by standing authority (not by a
//! privileged session), and on terms at least as wide as those that the receiver gets.

use crate::condition::Condition;
use crate::decide::{Found, Source, Trace, decide};
use crate::model::RolePermission;
use crate::name::{Permission, Role};
use crate::resource::Parent;
use crate::role::Gives;
use crate::subject::{Binding, What};
use crate::{Question, Reason};
use serde_json::Value;

/// What limits a permission where it is used.
#[derive(Clone, Copy)]
struct Terms<'a> {
    condition: Option<&'a Condition>,
    obligations: Option<&'a Value>,
}

impl<'a> Terms<'a> {
    const NONE: Terms<'static> = Terms {
        condition: None,
        obligations: None,
    };

    fn of(way: &'a RolePermission) -> Terms<'a> {
        Terms {
            condition: way.condition.as_deref(),
            obligations: way.obligations.as_deref(),
        }
    }

    /// Are these at least as wide as `other`? Conditions are compared by their text: which of two different ones is
    /// wider, nobody can tell.
    fn cover(self, other: Terms<'_>) -> bool {
        self.condition
            .is_none_or(|mine| other.condition.is_some_and(|theirs| theirs.source() == mine.source()))
            && self.obligations.is_none_or(|mine| other.obligations == Some(mine))
    }
}

/// The permissions that come with a role and that the question's subject may not hand on at the question's resource.
/// The question's own permission is of no importance.
pub fn role_missing(question: &Question<'_>, role: Role) -> Vec<Permission> {
    let (model, composition) = (question.model, question.composition);
    model
        .permissions()
        .map(|d| d.permission)
        .filter(|p| composition.gives(role, *p) != Gives::No)
        .filter(|p| {
            let held = Held::of(question, *p);
            !composition
                .ways(model, role, *p, question.at)
                .all(|way| held.covers(Terms::of(way)))
        })
        .collect()
}

/// The same for a permission with what it implies, handed on without conditions or obligations.
pub fn permission_missing(question: &Question<'_>, permission: Permission) -> Vec<Permission> {
    let model = question.model;
    model
        .permissions()
        .map(|d| d.permission)
        .filter(|p| model.implies(permission, *p))
        .filter(|p| !Held::of(question, *p).covers(Terms::NONE))
        .collect()
}

/// How a permission is held at a resource; no terms at all where it is not.
struct Held<'a>(Vec<Terms<'a>>);

impl<'a> Held<'a> {
    fn of(question: &Question<'a>, permission: Permission) -> Held<'a> {
        let mut sources = Sources {
            wanted: permission,
            roles: Vec::new(),
            freely: false,
        };
        let asked = Question {
            permission,
            ..*question
        };
        match decide(&asked, &mut sources) {
            Reason::Allowed => {}
            // A condition speaks of the resource that is used in the end, of which there is none yet where a scope is
            // looked at. Whoever holds the permission under that condition may hand it on under that condition.
            Reason::ConditionFailed if no_later_step(&asked) => {}
            _ => return Held(Vec::new()),
        }
        let ways = sources
            .roles
            .into_iter()
            .flat_map(|role| question.composition.ways(question.model, role, permission, question.at));
        Held(
            ways.map(Terms::of)
                .chain(sources.freely.then_some(Terms::NONE))
                .collect(),
        )
    }

    fn covers(&self, terms: Terms<'_>) -> bool {
        self.0.iter().any(|held| held.cover(terms))
    }
}

/// Would nothing be asked after step 8?
fn no_later_step(question: &Question<'_>) -> bool {
    let needs_mfa = question
        .model
        .definition(question.permission)
        .is_none_or(|d| d.requires_mfa);
    let mfa = question.mfa_used && question.subject.is_some_and(|s| s.mfa_enrolled);
    (!needs_mfa || mfa) && matches!(question.resource, Found::Resource(r) if matches!(r.parent, Parent::None))
}

/// Listens for where one permission comes from.
struct Sources {
    wanted: Permission,
    roles: Vec<Role>,
    freely: bool,
}

impl Trace for Sources {
    const LISTENING: bool = false;
    fn about(&mut self, _: Permission, _: Found<'_>) {}
    fn step(&mut self, _: u8, _: bool, _: impl FnOnce() -> String) {}
    fn source(&mut self, wanted: Permission, source: Source<'_>, _: Gives) {
        if wanted != self.wanted {
            return;
        }
        match source {
            Source::Binding(
                Binding {
                    what: What::Role(role), ..
                },
                _,
            ) => self.roles.push(*role),
            Source::Ownership(role) => self.roles.push(role),
            Source::Binding(
                Binding {
                    what: What::Grant(_) | What::Rule { deny: false, .. },
                    ..
                },
                _,
            ) => self.freely = true,
            Source::Binding(..) | Source::Session(_) => {}
        }
    }
    fn condition(&mut self, _: Permission, _: Source<'_>, _: &str, _: &Result<bool, String>) {}
}
