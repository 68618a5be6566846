//! An explanation as JSON, and in words.

use super::{Explanation, Looked, Origin, Part, STEPS, nth_parent};
use crate::decide::Reason;
use crate::name::{Kind, Vocabulary};
use crate::resource::Resource;
use crate::subject::Grantee;
use serde_json::{Value, json};

impl Looked {
    /// As JSON.
    pub fn json(&self, names: &Vocabulary) -> Value {
        let mut o = json!({
            "type": self.origin.name(),
            "id": self.id.map(|id| id.to_string()),
            "effect": if self.deny { "deny" } else { "allow" },
            "permission": names.permissions.name(self.wanted.0),
        });
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                o[key] = value;
            }
        };
        put("role", self.role.map(|r| names.roles.name(r.0).into()));
        put("grantee", self.grantee.map(|g| grantee(g, names).into()));
        put(
            "at",
            match (&self.at, self.origin) {
                (Some(node), _) => Some(names.show(node).into()),
                (None, Origin::Assignment) => Some(Kind::BUILT_IN[0].into()),
                (None, _) => None,
            },
        );
        put("priority", self.priority.map(Into::into));
        if !self.conditions.is_empty() {
            let conditions = self.conditions.iter().map(|(text, outcome)| match outcome {
                Ok(value) => json!({"condition": text, "value": value}),
                Err(error) => json!({"condition": text, "value": false, "error": error}),
            });
            put("conditions", Some(conditions.collect()));
        }
        put("obligations", self.obligations.clone());
        o
    }
}

/// `team:…`, `role:auditor`, `any`.
pub fn grantee(grantee: Grantee, names: &Vocabulary) -> String {
    match grantee {
        Grantee::Principal(id) => format!("principal:{id}"),
        Grantee::Team(id) => format!("team:{id}"),
        Grantee::Organization(id) => format!("organization:{id}"),
        Grantee::Role(role) => format!("role:{}", names.roles.name(role.0)),
        Grantee::Any => "any".to_owned(),
    }
}

impl Explanation {
    /// The steps of every part as JSON, steps that were not reached included.
    pub fn steps_json(&self, names: &Vocabulary) -> Value {
        let step = |part: &Part, number: u8| {
            let taken = part.steps.iter().find(|s| s.number == number);
            json!({
                "step": number,
                "asks": STEPS[usize::from(number) - 1],
                "outcome": taken.map_or("not reached", |s| if s.passed { "pass" } else { "fail" }),
                "note": taken.map(|s| &s.note),
            })
        };
        self.parts
            .iter()
            .map(|part| {
                json!({
                    "permission": names.permissions.name(part.permission.0),
                    "resource": part.node.as_ref().map(|n| names.show(n)),
                    "steps": (1..=9).map(|n| step(part, n)).collect::<Vec<_>>(),
                    "looked_at": part.looked.iter().map(|l| l.json(names)).collect::<Vec<_>>(),
                })
            })
            .collect()
    }

    /// What would have to change for the answer to be an allow; `None` where it is one. `resource` is the one asked
    /// about.
    pub fn remedy(&self, names: &Vocabulary, resource: Option<&Resource>) -> Option<String> {
        let part = self.parts.last()?;
        let permission = names.permissions.name(part.permission.0);
        let kind = permission.rsplit_once('.').map_or(permission, |(kind, _)| kind);
        let scopes = || {
            resource
                .and_then(|r| nth_parent(r, self.parts.len() - 1))
                .map_or_else(String::new, |r| {
                    r.chain.iter().map(|n| names.show(n)).collect::<Vec<_>>().join(", ")
                })
        };
        Some(match self.reason {
            Reason::Allowed => return None,
            Reason::PrincipalInactive => "the principal must exist, have status active and not be locked".to_owned(),
            Reason::ResourceNotFound => part.steps.last().map_or_else(String::new, |s| s.note.clone()),
            Reason::OutsideTenant => format!(
                "an active membership in the resource's tenant, a platform role with {permission}, or a privileged session that covers the resource"
            ),
            Reason::ResourceDeleted => format!("{kind}.view_deleted on the resource, or its restoration"),
            Reason::ExplicitDeny => self.binding().map_or_else(
                || "the deny must be closed".to_owned(),
                |b| {
                    format!(
                        "rule {} must be closed, or an allow of a higher priority than {} added",
                        b.id.map_or_else(String::new, |id| id.to_string()),
                        b.priority.unwrap_or_default()
                    )
                },
            ),
            Reason::NoGrant => format!(
                "a role with {permission}, or a grant of it, at one of: {}, platform",
                scopes()
            ),
            Reason::Confidentiality => part.steps.last().map_or_else(String::new, |s| s.note.clone()),
            Reason::ConditionFailed => "one of the conditions must be true".to_owned(),
            Reason::MfaRequired => "MFA must be enrolled, and the context must say \"mfa\": true".to_owned(),
        })
    }
}
