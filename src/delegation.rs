//! Authority over authority: what the functions that change authority ask before they do so.
//!
//! Asked at a scope or resource, whatever type the permission itself is about, and of standing authority only: what a
//! privileged session lends for an hour must not be turned into something that stays.

use crate::decision::{self, Asker};
use crate::error;
use crate::resource::{Given, Located};
use crate::session;
use authz_engine::delegate::{permission_missing, role_missing};
use authz_engine::name::{Kind, Permission, Role};
use authz_engine::node::Key;
use authz_engine::resource::{Confidentiality, Parent, Resource};
use authz_engine::subject::Grantee;
use authz_engine::{Question, Reason, decide, explain};
use serde_json::Value;
use uuid::Uuid;

/// A place where authority is changed.
pub struct At<'a> {
    /// The tenant; `None` at platform scope, and only there.
    pub tenant: Option<Uuid>,
    /// platform, tenant, organization, team, project, or a resource type.
    pub scope_type: &'a str,
    /// Its key; `None` at platform scope, and only there.
    pub scope_id: Option<&'a str>,
}

/// Whose authority is asked for.
pub struct Who {
    principal: Uuid,
    /// The only tenant that it acts in.
    tenant: Option<Uuid>,
    context: Value,
}

impl Who {
    /// The session's principal.
    pub fn session() -> Option<Who> {
        session::current().map(|s| Who {
            principal: s.principal,
            tenant: s.tenant,
            context: s.context.clone(),
        })
    }

    /// Any principal, of whose request nothing is known.
    pub const fn principal(principal: Uuid) -> Who {
        Who {
            principal,
            tenant: None,
            context: Value::Null,
        }
    }

    /// Does it hold the permission there?
    pub fn holds(&self, permission: &str, at: &At<'_>) -> bool {
        self.ask(at, |asker, question| {
            let asked = Question {
                permission: asker.permission(permission),
                ..*question
            };
            decide(&asked, &mut authz_engine::decide::Silent) == Reason::Allowed
        })
        .unwrap_or(false)
    }

    /// The obligations with which it holds the permission there, an object; `None`: it does not.
    pub fn terms(&self, permission: &str, at: &At<'_>) -> Option<Value> {
        self.ask(at, |asker, question| {
            let explanation = explain(&Question {
                permission: asker.permission(permission),
                ..*question
            });
            let none = || Value::Object(serde_json::Map::new());
            (explanation.reason == Reason::Allowed).then(|| {
                explanation
                    .binding()
                    .and_then(|b| b.obligations.clone())
                    .unwrap_or_else(none)
            })
        })
        .flatten()
    }

    /// The permissions of a role, by code, that it may not hand on there. `None`: it holds nothing there at all.
    pub fn role_missing(&self, role: &str, at: &At<'_>) -> Option<Vec<String>> {
        self.ask(at, |asker, question| {
            let missing = match question.model.names.roles.get(role) {
                Some(role) => role_missing(question, Role(role)),
                // A role that nothing is known of brings nothing.
                None => Vec::new(),
            };
            codes(asker, missing)
        })
    }

    /// The same for a permission with what it implies.
    pub fn permission_missing(&self, permission: &str, at: &At<'_>) -> Option<Vec<String>> {
        self.ask(at, |asker, question| {
            codes(asker, permission_missing(question, asker.permission(permission)))
        })
    }

    /// Is it an active member of the tenant, and does its session reach it?
    pub fn is_member(&self, tenant: Uuid) -> bool {
        self.tenant.is_none_or(|only| only == tenant) && Asker::now(self.principal).is_member(tenant)
    }

    /// Does a grant or rule of `tenant` that addresses that grantee address it?
    pub fn is_addressed(&self, grantee_type: &str, grantee_id: Option<&str>, tenant: Uuid) -> bool {
        let asker = Asker::now(self.principal);
        let id = grantee_id.and_then(|id| Uuid::try_parse(id).ok());
        let grantee = match (grantee_type, id) {
            ("principal", Some(id)) => Grantee::Principal(id),
            ("team", Some(id)) => Grantee::Team(id),
            ("organization", Some(id)) => Grantee::Organization(id),
            ("role", _) => {
                let roles = &asker.policy().loaded.model.names.roles;
                match grantee_id.and_then(|code| roles.get(code)) {
                    Some(role) => Grantee::Role(Role(role)),
                    None => return false,
                }
            }
            ("any", _) => Grantee::Any,
            _ => return false,
        };
        asker.is_addressed(grantee, tenant)
    }

    /// Puts a question of standing authority; `None` where there is no such place, or the session does not reach it.
    fn ask<T>(&self, at: &At<'_>, answer: impl FnOnce(&Asker, &Question<'_>) -> T) -> Option<T> {
        let asker = Asker::now(self.principal);
        let names = &asker.policy().loaded.model.names;
        let Some(kind) = names.kinds.get(at.scope_type).map(Kind) else {
            let known = (0..names.kinds.len() as u32).map(|k| names.kinds.name(k));
            error::unknown_resource_type(at.scope_type, decision::nearest(at.scope_type, known))
        };
        // A session that names a tenant acts in that tenant only.
        if self.tenant.is_some() && self.tenant != at.tenant {
            return None;
        }
        let found = if kind == Kind::PLATFORM {
            (at.tenant.is_none() && at.scope_id.is_none()).then(|| Located::Row(platform()))?
        } else {
            let (Some(_), Some(id)) = (at.tenant, at.scope_id) else {
                return None;
            };
            let found = crate::resource::find(asker.policy(), kind, Given::Text(id), at.tenant).ok()?;
            // Ids are compared by their canonical text where authority is stored.
            (found.key.to_string() == id && found.tenant == at.tenant).then_some(found)?
        };
        let any = asker.policy().loaded.model.permissions().next()?.permission;
        Some(asker.ask_standing(any, found, Some(&self.context), |question| answer(&asker, question)))
    }
}

/// The platform as a resource: nothing contains it.
fn platform() -> Resource {
    Resource {
        kind: Kind::PLATFORM,
        key: Key::from_text("platform"),
        tenant: None,
        owner: None,
        confidentiality: Confidentiality::Normal,
        deleted: false,
        chain: Default::default(),
        parent: Parent::None,
    }
}

fn codes(asker: &Asker, permissions: Vec<Permission>) -> Vec<String> {
    let names = &asker.policy().loaded.model.names.permissions;
    let mut codes: Vec<String> = permissions.iter().map(|p| names.name(p.0).to_owned()).collect();
    codes.sort();
    codes
}
