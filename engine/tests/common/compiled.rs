//! A policy compiled, and what is asked of it.

use super::Policy;
use authz_engine::condition::Attributes;
use authz_engine::decide::{Silent, decide};
use authz_engine::subject::{Binding, BindingIndex, Grantee, Place, Row, SubjectBuilder, What};
use authz_engine::{Composition, Explanation, Found, Instant, Model, Question, Reason, Resource, Subject, explain};
use serde_json::{Value, json};
use std::sync::Arc;

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
impl Policy {
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
