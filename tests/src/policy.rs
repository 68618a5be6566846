//! Random policies over the fixture's tables: small universes in which everything unusual is common.
//!
//! A policy is a list of rows, loaded by plain SQL; a mutation is a statement that changes it in place. Everything
//! follows from the generator's seed and the instant it is given.

mod binding;
mod dice;
mod mutation;
mod question;
mod universe;

use chrono::{DateTime, Utc};
use postgres::Client;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::HashSet;
use uuid::Uuid;

use crate::report;
pub use question::Question;

/// The conditions of generated roles. `oracle.condition_holds` knows each by hand.
pub const CONDITIONS: [&str; 9] = [
    "true",
    "false",
    "1 / 0 == 1",
    "context.region == 'eu'",
    "context.level >= 3",
    "has(context.ticket)",
    "resource.title == 'alpha'",
    "now < timestamp('2020-01-01T00:00:00Z')",
    "now > timestamp('2020-01-01T00:00:00Z') && context.level < 3",
];

/// Permissions of the fixture by resource type.
pub const PERMISSIONS: [(&str, &[&str]); 7] = [
    (
        "case",
        &[
            "view",
            "comment",
            "edit",
            "admin",
            "approve",
            "approve",
            "view_restricted",
            "view_sealed",
            "view_deleted",
        ],
    ),
    ("document", &["view", "edit", "view_restricted", "view_sealed"]),
    ("page", &["view", "edit"]),
    ("tenant", &["view", "admin"]),
    ("organization", &["view", "admin"]),
    ("team", &["view", "admin"]),
    ("project", &["view", "admin"]),
];

/// A node that assignments, grants and rules can name.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its tenant; `None` where it has none.
    pub tenant: Option<Uuid>,
    /// Its resource type.
    pub kind: &'static str,
    /// Its key.
    pub key: Uuid,
}

/// A random policy.
pub struct Policy {
    rng: StdRng,
    now: DateTime<Utc>,
    /// Rows in load order.
    pub rows: Vec<(&'static str, Value)>,
    tenants: Vec<Uuid>,
    places: Vec<Place>,
    principals: Vec<Uuid>,
    members: Vec<(Uuid, Uuid)>,
    roles: Vec<String>,
    taken: HashSet<String>,
}

const DAY: i64 = 24 * 60;

impl Policy {
    /// The policy of a seed, at home at an instant.
    pub fn new(seed: u64, now: DateTime<Utc>) -> Policy {
        let mut policy = Policy {
            rng: StdRng::seed_from_u64(seed),
            now,
            rows: Vec::new(),
            tenants: Vec::new(),
            places: Vec::new(),
            principals: Vec::new(),
            members: Vec::new(),
            roles: Vec::new(),
            taken: HashSet::new(),
        };
        policy.scopes();
        policy.people();
        policy.resources();
        policy.role_graph();
        for _ in 0..policy.rng.random_range(60..=90) {
            policy.assignment();
        }
        for _ in 0..policy.rng.random_range(30..=50) {
            policy.grant();
        }
        for _ in 0..policy.rng.random_range(6..=16) {
            policy.rule(None);
        }
        for _ in 0..4 {
            policy.session();
        }
        policy
    }

    /// Loads everything, and gives the registered types owner roles and clearances.
    pub fn load(&mut self, client: &mut Client) {
        let mut transaction = client.transaction().unwrap();
        let rows = std::mem::take(&mut self.rows);
        for (table, row) in &rows {
            insert(&mut transaction, table, row);
        }
        self.rows = rows;
        for kind in ["case", "document"] {
            let role = self.pick_option(&self.roles.clone(), 80);
            let clearance = self.pick(&[
                None,
                Some(json!({"restricted": "L2"})),
                Some(json!({"restricted": "L1", "sealed": "L3"})),
            ]);
            let owner_role = if kind == "case" { role } else { None };
            transaction
                .execute(
                    "UPDATE authz.resource_type SET owner_role = $2, clearance = coalesce($3, clearance) WHERE resource_type = $1",
                    &[&kind, &owner_role, &clearance],
                )
                .unwrap_or_else(|e| panic!("{}", report(&e)));
        }
        transaction.commit().unwrap();
    }
}

/// Inserts a row by plain SQL, naming only the columns that it has.
pub fn insert(client: &mut impl postgres::GenericClient, table: &str, row: &Value) {
    let columns: Vec<&str> = row.as_object().expect("a row").keys().map(String::as_str).collect();
    let columns = columns.join(", ");
    let sql = format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM jsonb_populate_record(NULL::{table}, $1)");
    if let Err(e) = client.execute(&sql, &[row]) {
        panic!("{}\nin: {sql}\n{row}", report(&e));
    }
}
