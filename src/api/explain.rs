//! `authz_explain` and `authz_explain_text`: a decision with everything that led to it.

use super::id;
use crate::cache;
use crate::decision::{self, Explained};
use crate::pg::json::JsonArgument;
use crate::resource::Given;
use crate::store::evidence;
use authz_engine::Reason;
use authz_engine::resource::Parent;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::iter::SetOfIterator;
use pgrx::{JsonB, Uuid, default, pg_extern};
use serde_json::{Value, json};

/// Arguments as they come.
struct Arguments<'a> {
    principal: Option<Uuid>,
    permission: Option<&'a str>,
    resource: Option<Given<'a>>,
    tenant: Option<Uuid>,
    context: Option<JsonArgument>,
    at: Option<TimestampWithTimeZone>,
}

fn explanation(a: Arguments<'_>) -> Value {
    let Some(permission) = a.permission else {
        return json!({"decision": "deny", "reason": Reason::NoGrant.code(), "notes": ["the permission is NULL"]});
    };
    let explained = decision::explain_at(
        a.principal.map(id),
        permission,
        a.resource,
        a.tenant.map(id),
        a.context.as_ref().map(|c| &c.0),
        a.at.map(i64::from),
    );
    let names = &explained.policy.loaded.model.names;
    let e = &explained.explanation;
    let mut parts = match e.steps_json(names) {
        Value::Array(parts) => parts,
        _ => Vec::new(),
    };
    let own = if parts.is_empty() { Value::Null } else { parts.remove(0) };
    json!({
        "decision": if e.reason == Reason::Allowed { "allow" } else { "deny" },
        "reason": e.reason.code(),
        "principal": a.principal.map(|p| id(p).to_string()),
        "permission": permission,
        "resource": own["resource"],
        "tenant": explained.resource.as_ref().and_then(|r| r.tenant).map(|t| t.to_string()),
        "at": evidence::iso(explained.at),
        "binding": e.binding().map(|b| {
            let mut told = b.json(names);
            if let (Value::Object(told), Some(id)) = (&mut told, b.id) {
                told.extend(evidence::of(b.origin, id));
            }
            told
        }),
        "obligations": e.binding().and_then(|b| b.obligations.clone()),
        "would_have_to_change": e.remedy(names, explained.resource.as_ref()),
        "steps": own["steps"],
        "looked_at": own["looked_at"],
        "parents": parts,
        "notes": notes(&explained),
    })
}

fn notes(explained: &Explained) -> Vec<String> {
    if explained.policy.past.is_none() {
        return Vec::new();
    }
    // Of the resource and of each parent that was looked at.
    let resources = std::iter::successors(explained.resource.as_ref(), |r| match &r.parent {
        Parent::Resource(parent) => Some(parent),
        Parent::None | Parent::Missing => None,
    });
    let boundary = resources.map(|r| {
        let kind = explained.policy.loaded.model.names.kinds.name(r.kind.0);
        let histories = cache::histories(r.kind, &explained.policy);
        let attributes: Vec<_> = histories.iter().map(|h| h.attribute().name()).collect();
        if attributes.is_empty() {
            format!("the {kind}'s own row is as it is now: no history of it is registered")
        } else {
            format!(
                "of the {kind}'s row, {} is as it stood at that instant, by the history that is registered; the rest is as it is now",
                attributes.join(", ")
            )
        }
    });
    ["authority is as it stood at that instant".to_owned()]
        .into_iter()
        .chain(boundary)
        .chain([
            "the trees of organizations, teams and projects, resource types, permission implication, MFA and clearance are as they are now: they have no history".to_owned(),
        ])
        .collect()
}

/// Indented like EXPLAIN.
fn lines(explanation: &Value) -> Vec<String> {
    let text = |v: &Value| match v {
        Value::Null => "-".to_owned(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    };
    let get = |key: &str| text(&explanation[key]);
    let mut out = vec![
        format!(
            "{}: {}  (reason: {})",
            get("decision").to_uppercase(),
            get("permission"),
            get("reason")
        ),
        format!("  Principal: {}", get("principal")),
        format!("  Resource: {}", get("resource")),
        format!("  At: {}", get("at")),
    ];
    let part = |out: &mut Vec<String>, part: &Value, indent: &str| {
        for step in part["steps"].as_array().into_iter().flatten() {
            let note = if step["note"].is_null() {
                String::new()
            } else {
                format!("  ({})", text(&step["note"]))
            };
            out.push(format!(
                "{indent}->  {}. {}: {}{note}",
                step["step"],
                text(&step["asks"]),
                text(&step["outcome"])
            ));
        }
        for looked in part["looked_at"].as_array().into_iter().flatten() {
            out.push(format!("{indent}      Looked at: {}", binding_line(looked)));
        }
    };
    part(&mut out, explanation, "  ");
    for parent in explanation["parents"].as_array().into_iter().flatten() {
        out.push(format!(
            "  Parent: {} on {}",
            text(&parent["permission"]),
            text(&parent["resource"])
        ));
        part(&mut out, parent, "    ");
    }
    if !explanation["binding"].is_null() {
        out.push(format!("  Decided by: {}", binding_line(&explanation["binding"])));
    }
    if !explanation["obligations"].is_null() {
        out.push(format!("  Obligations: {}", explanation["obligations"]));
    }
    if !explanation["would_have_to_change"].is_null() {
        out.push(format!("  Would have to change: {}", get("would_have_to_change")));
    }
    for note in explanation["notes"].as_array().into_iter().flatten() {
        out.push(format!("  Note: {}", text(note)));
    }
    out
}

/// `role_assignment allow case.view, role: investigator, at: team:…`
fn binding_line(binding: &Value) -> String {
    let word = |key: &str| binding[key].as_str().unwrap_or_default();
    let head = format!("{} {} {}", word("type"), word("effect"), word("permission"));
    let details = binding.as_object().into_iter().flatten().filter(|(key, value)| {
        !value.is_null() && !matches!(key.as_str(), "type" | "effect" | "permission" | "obligations")
    });
    details.fold(head, |line, (key, value)| {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{line}, {}: {shown}", key.replace('_', " "))
    })
}

macro_rules! explain_forms {
    ($json:ident, $text:ident, $key:ty, $resource:ident => $given:expr) => {
        /// `authz_explain` for one form of keys.
        #[pg_extern(name = "authz_explain", stable, parallel_safe)]
        fn $json(
            principal: Option<Uuid>,
            permission: Option<&str>,
            resource: Option<$key>,
            tenant: default!(Option<Uuid>, "NULL"),
            context: default!(Option<JsonArgument>, "NULL"),
            at: default!(Option<TimestampWithTimeZone>, "NULL"),
        ) -> JsonB {
            let resource = resource.map(|$resource| $given);
            JsonB(explanation(Arguments {
                principal,
                permission,
                resource,
                tenant,
                context,
                at,
            }))
        }

        /// `authz_explain_text` for one form of keys.
        #[pg_extern(name = "authz_explain_text", stable, parallel_safe)]
        fn $text(
            principal: Option<Uuid>,
            permission: Option<&str>,
            resource: Option<$key>,
            tenant: default!(Option<Uuid>, "NULL"),
            context: default!(Option<JsonArgument>, "NULL"),
            at: default!(Option<TimestampWithTimeZone>, "NULL"),
        ) -> SetOfIterator<'static, String> {
            let resource = resource.map(|$resource| $given);
            let explanation = explanation(Arguments {
                principal,
                permission,
                resource,
                tenant,
                context,
                at,
            });
            SetOfIterator::new(lines(&explanation))
        }
    };
}

explain_forms!(explain_uuid, explain_text_uuid, Uuid, r => Given::Uuid(id(r)));
explain_forms!(explain_int, explain_text_int, i64, r => Given::Int(r));
explain_forms!(explain_text, explain_text_text, &str, r => Given::Text(r));
