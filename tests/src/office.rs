//! A small organization with people who administer it: what the tests of changing authority start from.
//!
//! | who | what |
//! |---|---|
//! | root | administrator of the platform, made by `authz_bootstrap_administrator` |
//! | tina | administers tenant acme, and may do there with cases what an editor may |
//! | tom | manages team north of acme, and assigns roles there |
//! | alice, bob | members of acme, without anything |
//! | gus | administers tenant globex |
//! | nobody | a principal without membership |
//!
//! Cases: affair and secret (sealed) of acme, feud of globex.

use postgres::Client;
use uuid::Uuid;

use crate::make::{self, id};
use crate::session::act_as;
use crate::{Db, denied, execute, value};

/// Permissions of an administrator of a tenant.
pub const ADMINISTRATION: [&str; 6] = [
    "member.manage",
    "team.manage",
    "role.assign",
    "grant.create",
    "rule.manage",
    "ownership.transfer",
];

/// The office in its database, and a runtime role that may begin sessions and nothing else.
pub struct Office {
    /// Where it is.
    pub db: Db,
    role: String,
}

/// `{name}` in SQL stands for the id of that name.
pub fn with_ids(sql: &str) -> String {
    let mut out = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        match after.split_once('}') {
            Some((name, after)) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') => {
                out.push_str(&id(name).to_string());
                rest = after;
            }
            _ => {
                out.push('{');
                rest = after;
            }
        }
    }
    out + rest
}

impl Office {
    /// Makes it.
    pub fn open() -> Office {
        let db = Db::new();
        let mut c = db.connect();
        for tenant in ["acme", "globex"] {
            make::tenant(&mut c, tenant);
        }
        make::team(&mut c, id("acme"), "north", None, None);
        make::team(&mut c, id("acme"), "south", None, None);
        make::team(&mut c, id("globex"), "east", None, None);
        make::role(&mut c, "viewer", &["case.view"]);
        make::role(&mut c, "editor", &["case.edit"]);
        make::role(&mut c, "approver", &["case.approve"]);
        make::role(&mut c, "chief", &[]);
        make::inherit(&mut c, "chief", "editor");
        make::inherit(&mut c, "chief", "approver");
        make::role(&mut c, "manager", &ADMINISTRATION);
        make::role(&mut c, "team_manager", &["team.manage", "role.assign", "case.view"]);
        for name in ["tina", "tom", "alice", "bob"] {
            make::member(&mut c, id("acme"), name);
        }
        make::member(&mut c, id("globex"), "gus");
        make::principal(&mut c, "nobody");
        make::principal(&mut c, "root");
        for (tenant, who) in [("acme", "tina"), ("globex", "gus")] {
            make::assign(&mut c, id(tenant), id(who), "manager", "tenant", id(tenant));
            make::assign(&mut c, id(tenant), id(who), "editor", "tenant", id(tenant));
        }
        make::assign(&mut c, id("acme"), id("tom"), "team_manager", "team", id("north"));
        make::case(&mut c, id("acme"), "affair");
        make::case(&mut c, id("acme"), "secret");
        make::case(&mut c, id("globex"), "feud");
        execute(
            &mut c,
            &with_ids(
                "UPDATE case_record SET confidentiality_level = 'sealed' WHERE case_id = '{secret}';
                 SELECT authz_bootstrap_administrator('{root}', 'the first one')",
            ),
        );
        let role = db.role();
        execute(
            &mut c,
            &format!("GRANT EXECUTE ON FUNCTION authz_set_session TO {role}"),
        );
        Office { db, role }
    }

    /// A connection as the owner of the database.
    pub fn owner(&self) -> Client {
        self.db.connect()
    }

    /// A connection as the runtime role, without a session.
    pub fn stranger(&self) -> Client {
        self.db.connect_as(&self.role)
    }

    /// The name of the runtime role.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// A connection as the runtime role, in the session of somebody.
    pub fn as_(&self, who: &str) -> Client {
        let mut c = self.stranger();
        act_as(&mut c, who);
        c
    }
}

/// Calls a function that returns an id.
#[track_caller]
pub fn made(c: &mut Client, call: &str) -> Uuid {
    value(c, &with_ids(&format!("SELECT {call}")), &[])
}

/// Calls a function that returns nothing.
#[track_caller]
pub fn done(c: &mut Client, call: &str) {
    execute(c, &with_ids(&format!("SELECT {call}")));
}

/// A call that must be refused; see [`denied`].
#[track_caller]
pub fn refused_and_recorded(c: &mut Client, call: &str, sqlstate: &str, words: &[&str]) -> String {
    denied(c, &with_ids(&format!("SELECT {call}")), sqlstate, words)
}
