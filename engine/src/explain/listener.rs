//! Writes down what the decision looks at.

use super::{Looked, Origin, Part, Step};
use crate::decide::{Found, Question, Source, Trace};
use crate::model::{Model, RolePermission};
use crate::name::Permission;
use crate::role::Gives;
use crate::subject::{Binding, What};
use serde_json::Value;

pub(super) struct Listener<'q, 'a> {
    model: &'a Model,
    question: &'q Question<'a>,
    pub(super) parts: Vec<Part>,
}

impl<'q, 'a> Listener<'q, 'a> {
    pub(super) fn new(question: &'q Question<'a>) -> Listener<'q, 'a> {
        Listener {
            model: question.model,
            question,
            parts: Vec::new(),
        }
    }

    fn part(&mut self) -> &mut Part {
        self.parts.last_mut().expect("`about` comes first")
    }

    /// Where the same source was noted for the same permission.
    fn find(&mut self, like: &Looked) -> Option<usize> {
        let same = |l: &Looked| l.wanted == like.wanted && l.origin == like.origin && l.id == like.id;
        self.part().looked.iter().position(same)
    }

    /// Of several ways through one role, the obligations of the one that asks for least.
    fn least(&self, looked: &Looked, counts: impl Fn(&RolePermission) -> bool) -> Option<Value> {
        let q = self.question;
        q.composition
            .ways(self.model, looked.role?, looked.wanted, q.at)
            .filter(|way| counts(way))
            .map(|way| way.obligations.as_deref().cloned())
            .min_by_key(Option::is_some)
            .flatten()
    }
}

impl Trace for Listener<'_, '_> {
    const LISTENING: bool = true;

    fn about(&mut self, permission: Permission, resource: Found<'_>) {
        self.parts.push(Part {
            permission,
            node: match resource {
                Found::Resource(r) => Some(r.node()),
                Found::Nothing(_) => None,
            },
            steps: Vec::new(),
            looked: Vec::new(),
        });
    }

    fn step(&mut self, number: u8, passed: bool, note: impl FnOnce() -> String) {
        let note = note();
        self.part().steps.push(Step { number, passed, note });
    }

    fn source(&mut self, wanted: Permission, source: Source<'_>, gives: Gives) {
        let mut looked = look(source);
        looked.wanted = wanted;
        looked.conditional = gives == Gives::Conditionally;
        if gives == Gives::Always {
            looked.obligations = self.least(&looked, |way| way.condition.is_none());
        }
        // One row may reach the principal in several ways, and one permission be asked for in several steps.
        if self.find(&looked).is_none() {
            self.part().looked.push(looked);
        }
    }

    fn condition(&mut self, wanted: Permission, source: Source<'_>, text: &str, outcome: &Result<bool, String>) {
        let mut same = look(source);
        same.wanted = wanted;
        let Some(i) = self.find(&same) else {
            return;
        };
        let first = self.part().looked[i].conditions.iter().all(|(_, o)| *o != Ok(true));
        if *outcome == Ok(true) {
            // A way whose condition is false lifts no obligation of one whose condition is true.
            let comes_with = self.least(&same, |way| way.condition.as_ref().is_some_and(|c| c.source() == text));
            let looked = &mut self.part().looked[i];
            if first || comes_with.is_none() {
                looked.obligations = comes_with;
            }
        }
        let heard = (text.to_owned(), outcome.clone());
        let conditions = &mut self.part().looked[i].conditions;
        if !conditions.contains(&heard) {
            conditions.push(heard);
        }
    }
}

fn look(source: Source<'_>) -> Looked {
    let blank = Looked {
        wanted: Permission(0),
        origin: Origin::Ownership,
        id: None,
        deny: false,
        priority: None,
        role: None,
        grantee: None,
        at: None,
        conditional: false,
        conditions: Vec::new(),
        obligations: None,
    };
    match source {
        Source::Ownership(role) => Looked {
            role: Some(role),
            ..blank
        },
        Source::Session(s) => Looked {
            origin: Origin::Session,
            id: Some(s.id),
            at: s.scope.clone(),
            ..blank
        },
        Source::Binding(Binding { id, what, grantee, .. }, node) => {
            let bound = Looked {
                id: Some(*id),
                grantee: Some(*grantee),
                at: node.cloned(),
                ..blank
            };
            match *what {
                What::Role(role) => Looked {
                    origin: Origin::Assignment,
                    role: Some(role),
                    ..bound
                },
                What::Grant(_) => Looked {
                    origin: Origin::Grant,
                    ..bound
                },
                What::Rule { deny, priority, .. } => Looked {
                    origin: Origin::Rule,
                    deny,
                    priority: Some(priority),
                    ..bound
                },
            }
        }
    }
}
