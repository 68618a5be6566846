//! The harness: databases, login roles and clusters for tests that look at `authz_ext` from outside.
//!
//! Every test has a database of its own, copied from a template that this process makes once, so that tests run in
//! any number of threads and processes against one cluster. The cluster is a private one, named by the environment:
//!
//! | variable | what |
//! |---|---|
//! | `PGHOST`, `PGPORT`, `PGUSER` | where it listens, and a superuser of it |
//! | `AUTHZ_PG_BINDIR` | directory of `psql`, `pg_dump`, `initdb`, `pg_basebackup` |
//! | `AUTHZ_RUNUSER` | account for further clusters, where the tests themselves run as root |

pub mod casework;
pub mod chance;
pub mod clock;
pub mod cluster;
mod db;
pub mod dump;
pub mod exports;
pub mod make;
pub mod matrix;
pub mod office;
pub mod people;
pub mod policy;
pub mod reading;
mod refusal;
mod server;
pub mod session;
pub mod signer;
mod template;
pub mod waiting;

use postgres::error::DbError;
use std::process::Command;

pub use db::{CALLABLE, Db, Start};
pub use refusal::{denied, denied_with_hint, recorded, refused, refused_with_hint};
pub use server::{Server, program};

/// Runs a command to its end and returns what it printed; a failure shows all of it.
pub fn run(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let output = command.output().unwrap_or_else(|e| panic!("{shown}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{shown}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Everything that the server said about an error.
pub fn report(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(e) => describe(e),
        None => error.to_string(),
    }
}

fn describe(e: &DbError) -> String {
    format!(
        "{} {}\nDETAIL: {}\nHINT: {}\nWHERE: {}",
        e.code().code(),
        e.message(),
        e.detail().unwrap_or_default(),
        e.hint().unwrap_or_default(),
        e.where_().unwrap_or_default()
    )
}

/// Runs statements that must succeed.
#[track_caller]
pub fn execute(client: &mut impl postgres::GenericClient, sql: &str) {
    if let Err(e) = client.batch_execute(sql) {
        let shown: String = sql.chars().take(800).collect();
        panic!("{}\nin: {shown}", report(&e));
    }
}

/// One value.
#[track_caller]
pub fn value<T>(
    client: &mut impl postgres::GenericClient,
    sql: &str,
    args: &[&(dyn postgres::types::ToSql + Sync)],
) -> T
where
    T: for<'a> postgres::types::FromSql<'a>,
{
    match client.query_one(sql, args).and_then(|row| row.try_get(0)) {
        Ok(value) => value,
        Err(e) => panic!("{}\nin: {sql}", report(&e)),
    }
}
