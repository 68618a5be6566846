//! The cluster that tests run against, and the programs that belong to it.

use crate::report;
use postgres::{Client, NoTls};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, OnceLock};

/// A running server and how to reach it.
#[derive(Debug, Clone)]
pub struct Server {
    /// Host name or directory of the socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// A superuser.
    pub user: String,
}

fn required(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: these tests need a private cluster with authz_ext installed \
             (PGHOST, PGPORT, PGUSER, AUTHZ_PG_BINDIR, and AUTHZ_RUNUSER as root); `make test` makes one"
        )
    })
}

/// A program of the PostgreSQL installation under test.
pub fn program(name: &str) -> PathBuf {
    PathBuf::from(required("AUTHZ_PG_BINDIR")).join(name)
}

impl Server {
    /// The cluster that the environment names.
    pub fn shared() -> Arc<Server> {
        static SHARED: OnceLock<Arc<Server>> = OnceLock::new();
        SHARED
            .get_or_init(|| {
                Arc::new(Server {
                    host: required("PGHOST"),
                    port: required("PGPORT").parse().expect("PGPORT is a number"),
                    user: required("PGUSER"),
                })
            })
            .clone()
    }

    /// Connects as any role, or says why not.
    pub fn try_connect(&self, database: &str, user: &str) -> Result<Client, postgres::Error> {
        let mut config = postgres::Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .user(user)
            .dbname(database)
            .application_name("authz_tests");
        config.connect(NoTls)
    }

    /// Connects as any role.
    pub fn connect(&self, database: &str, user: &str) -> Client {
        self.try_connect(database, user).unwrap_or_else(|e| {
            panic!(
                "no connection to {database} as {user} at {}:{}: {}",
                self.host,
                self.port,
                report(&e)
            )
        })
    }

    /// A command of the installation with this server in its environment.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command
            .env("PGHOST", &self.host)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", &self.user)
            .env_remove("RUST_BACKTRACE");
        command
    }

    /// As superuser, in the database `postgres`.
    pub(crate) fn admin(&self) -> Client {
        self.connect("postgres", &self.user)
    }
}
