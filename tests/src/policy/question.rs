//! Questions about a policy.

use super::{DAY, Place, Policy};
use rand::Rng;
use rand::seq::IteratorRandom;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// A question to both sides.
#[derive(Debug, Clone)]
pub struct Question {
    /// Whom it is about.
    pub principal: Uuid,
    /// A known code.
    pub permission: String,
    /// The key, in text.
    pub resource: String,
    /// The tenant, where given.
    pub tenant: Option<Uuid>,
    /// The context, where given.
    pub context: Option<Value>,
    /// The instant, where a past one is asked for.
    pub at: Option<String>,
}

impl Policy {
    /// A permission, somebody who may have something to do with it, and where: read off a random binding.
    fn hint(&mut self) -> Option<(String, Option<Uuid>, Option<Uuid>)> {
        let binds = |row: &&(&'static str, Value)| {
            let table = row.0;
            table.ends_with("_assignment") || table.ends_with("_grant") || table.ends_with("_rule")
        };
        let (_, row) = self.rows.iter().filter(binds).choose(&mut self.rng)?.clone();
        let uuid = |column: &str| row[column].as_str().and_then(|text| text.parse::<Uuid>().ok());
        let permission = match row["role_code"].as_str() {
            Some(role) => {
                let given = |r: &&(&'static str, Value)| r.0 == "authz.role_permission" && r.1["role_code"] == role;
                self.rows.iter().filter(given).choose(&mut self.rng)?.1["permission_code"].clone()
            }
            None => row["permission_code"].clone(),
        };
        let permission = match permission.as_str() {
            Some(permission) => permission.to_owned(),
            None => self.permission(),
        };
        Some((
            permission,
            uuid("principal_id").or(uuid("grantee_id").filter(|id| self.principals.contains(id))),
            uuid("tenant_id"),
        ))
    }

    /// A question; mostly about things that exist and have something to do with each other.
    pub fn question(&mut self) -> Question {
        let (permission, principal, tenant) = match self.hint() {
            Some(hint) if self.chance(65) => hint,
            _ => (self.permission(), None, None),
        };
        let kind = permission.split('.').next().expect("type.action").to_owned();
        let of_kind = |p: &&Place| p.kind == kind;
        let near: Vec<Place> = self
            .places
            .iter()
            .filter(of_kind)
            .filter(|p| p.tenant == tenant)
            .cloned()
            .collect();
        let any: Vec<Place> = self.places.iter().filter(of_kind).cloned().collect();
        let place = if near.is_empty() {
            self.pick(&any)
        } else {
            self.pick(&near)
        };
        let principal = match (principal, place.tenant) {
            (Some(principal), _) => principal,
            (None, Some(tenant)) if self.chance(75) => self.member_of(tenant),
            _ if self.chance(3) => self.uuid(),
            _ => self.pick(&self.principals.clone()),
        };
        let resource = if self.chance(2) { self.uuid() } else { place.key };
        let tenant = match self.rng.random_range(0..100) {
            0..50 => None,
            50..93 => place.tenant,
            _ => Some(self.pick(&self.tenants.clone())),
        };
        let context = match self.rng.random_range(0..100) {
            0..25 => None,
            25..30 => Some(json!({})),
            _ => {
                let mut context = Map::new();
                if self.chance(60) {
                    context.insert(
                        "mfa".to_owned(),
                        self.pick(&[json!(true), json!(true), json!(false), json!("true"), json!(1)]),
                    );
                }
                if self.chance(50) {
                    context.insert("region".to_owned(), self.pick(&[json!("eu"), json!("us")]));
                }
                if self.chance(50) {
                    context.insert("level".to_owned(), json!(self.rng.random_range(1..=5)));
                }
                if self.chance(30) {
                    context.insert("ticket".to_owned(), json!("T-1"));
                }
                Some(Value::Object(context))
            }
        };
        let at = match self.rng.random_range(0..100) {
            0..78 => None,
            78..85 => Some(-2 * DAY),
            85..93 => Some(-40 * DAY),
            93..99 => Some(-110 * DAY),
            _ => Some(-400 * DAY),
        };
        let at = at.map(|minutes| self.instant(minutes));
        Question {
            principal,
            permission,
            resource: resource.to_string(),
            tenant,
            context,
            at,
        }
    }
}
