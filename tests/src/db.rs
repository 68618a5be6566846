//! A database for each test.

use crate::template::template;
use crate::{Server, execute, report};
use postgres::Client;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// What a fresh database starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Start {
    /// Nothing: `CREATE EXTENSION` is the test's own business.
    Empty,
    /// The extension alone.
    Extension,
    /// The extension, the two registered tables and the permissions of `fixture.sql`.
    Fixture,
    /// The same, and `oracle.sql`.
    Oracle,
}

/// A database of this test alone, dropped with its login roles at the end.
pub struct Db {
    /// Where it is.
    pub server: Arc<Server>,
    /// Its name.
    pub name: String,
    roles: Mutex<Vec<String>>,
}

pub(crate) fn unique(kind: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "authz_t_{kind}_{}_{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

impl Db {
    /// With the extension and the fixture, on the shared cluster.
    pub fn new() -> Db {
        Db::on(&Server::shared(), Start::Fixture)
    }

    /// With a start of its own, on the shared cluster.
    pub fn with(start: Start) -> Db {
        Db::on(&Server::shared(), start)
    }

    /// With a start of its own, on any cluster.
    pub fn on(server: &Arc<Server>, start: Start) -> Db {
        let name = unique("db");
        let source = match start {
            Start::Empty => "template0".to_owned(),
            _ => template(server, start),
        };
        execute(
            &mut server.admin(),
            &format!("CREATE DATABASE {name} TEMPLATE {source}"),
        );
        Db {
            server: server.clone(),
            name,
            roles: Mutex::default(),
        }
    }

    /// In another encoding; nothing in it.
    pub fn encoded(encoding: &str) -> Db {
        let server = Server::shared();
        let name = unique("db");
        execute(
            &mut server.admin(),
            &format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"),
        );
        Db {
            server,
            name,
            roles: Mutex::default(),
        }
    }

    /// A connection as superuser.
    pub fn connect(&self) -> Client {
        self.server.connect(&self.name, &self.server.user)
    }

    /// A connection as a given role.
    pub fn connect_as(&self, role: &str) -> Client {
        self.server.connect(&self.name, role)
    }

    /// A new login role without any privilege.
    pub fn role(&self) -> String {
        let role = unique("role");
        execute(&mut self.server.admin(), &format!("CREATE ROLE {role} LOGIN"));
        self.roles.lock().unwrap().push(role.clone());
        role
    }

    /// A role that the test made itself, to be dropped with the database.
    pub fn adopt(&self, role: &str) {
        self.roles.lock().unwrap().push(role.to_owned());
    }

    /// A new login role with what a caller of the decision functions needs and nothing more: EXECUTE on the
    /// functions named, none on any table.
    pub fn caller(&self) -> String {
        let role = self.role();
        let mut client = self.connect();
        let functions: Vec<String> = client
            .query(
                "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid
                  WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
                    AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'authz_ext')
                    AND p.proname = ANY ($1)",
                &[&CALLABLE.as_slice()],
            )
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        for wanted in CALLABLE {
            assert!(
                functions.iter().any(|f| f.contains(wanted)),
                "{wanted} is no function of the extension"
            );
        }
        execute(
            &mut client,
            &format!("GRANT EXECUTE ON FUNCTION {} TO {role}", functions.join(", ")),
        );
        role
    }

    /// `psql`, `pg_dump` and their like on this database.
    pub fn command(&self, name: &str) -> Command {
        let mut command = self.server.command(name);
        command.env("PGDATABASE", &self.name);
        command
    }
}

/// The decision functions that an application calls.
pub const CALLABLE: [&str; 4] = ["authz_can", "authz_can_many", "authz_explain", "authz_permissions"];

impl Default for Db {
    fn default() -> Self {
        Db::new()
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // A second panic while the first unwinds would abort the process and hide the first.
        let Ok(mut admin) = self.server.try_connect("postgres", &self.server.user) else {
            return;
        };
        let mut statements = vec![format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)];
        if let Ok(roles) = self.roles.lock() {
            statements.extend(roles.iter().map(|role| format!("DROP ROLE {role}")));
        }
        for statement in statements {
            if let Err(e) = admin.batch_execute(&statement) {
                eprintln!("{statement}: {}", report(&e));
            }
        }
    }
}
