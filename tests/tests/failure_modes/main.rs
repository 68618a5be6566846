//! The four failure modes (R62), each attacked in many ways: somebody reads another tenant; somebody who was revoked goes on; support
//! sees what it must not; an export leaks. All as the database roles that `authz_install_roles` makes, over the reference domain.
//!
//! An attack may fail in any way it likes. What is looked at is whether anything of what must stay hidden comes back: in
//! rows, in notices, or in the text of errors (R27).

mod export;
mod revoked;
mod supporter;
mod tenant;

use authz_tests::make::id;
use authz_tests::matrix::{FOREIGN_SECRETS, Matrix, begin};
use authz_tests::office::with_ids;
use authz_tests::{execute, report, value};
use postgres::{Client, NoTls, SimpleQueryMessage};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// A connection that writes down everything that the server says.
struct Listener {
    client: Client,
    notices: Arc<Mutex<String>>,
}

impl Listener {
    /// As a login role of its own, which is a member of one of the database roles, in somebody's session.
    fn new(m: &Matrix, role: &str, who: &str) -> Listener {
        let notices = Arc::new(Mutex::new(String::new()));
        let heard = notices.clone();
        let server = &m.casework.db.server;
        let mut client = postgres::Config::new()
            .host(&server.host)
            .port(server.port)
            .user(&m.login(role))
            .dbname(&m.casework.db.name)
            .notice_callback(move |notice| heard.lock().unwrap().push_str(&format!("{notice:?}")))
            .connect(NoTls)
            .unwrap();
        begin(&mut client, role, who);
        execute(
            &mut client,
            "SET jit = off; SET client_min_messages = notice; SET statement_timeout = '120s'",
        );
        Listener { client, notices }
    }

    /// Everything that comes back.
    fn hears(&mut self, sql: &str) -> String {
        self.notices.lock().unwrap().clear();
        let mut heard = match self.client.simple_query(sql) {
            Ok(messages) => messages
                .iter()
                .filter_map(|m| match m {
                    SimpleQueryMessage::Row(row) => {
                        Some((0..row.len()).filter_map(|i| row.get(i)).collect::<Vec<_>>().join(" "))
                    }
                    _ => None,
                })
                .collect::<Vec<_>>()
                .join("\n"),
            Err(e) => {
                // The position of an error is told with the statement, which is the attacker's own.
                self.client.batch_execute("ROLLBACK").unwrap();
                report(&e)
            }
        };
        // COPY answers in another way.
        if sql.starts_with("COPY")
            && let Ok(mut reader) = self.client.copy_out(sql)
        {
            std::io::Read::read_to_string(&mut reader, &mut heard).ok();
        }
        heard + &self.notices.lock().unwrap()
    }
}

#[track_caller]
fn keeps(what: &str, heard: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!heard.contains(secret), "{what}: told {secret:?} in {heard}");
    }
}

/// Everything readable, by whatever privilege on whatever column: SELECT statements of all tables and views of the database.
fn everything(m: &Matrix, role: &str) -> Vec<String> {
    m.owner()
        .query(
            "SELECT format('SELECT %s FROM %s AS x', string_agg('x.' || quote_ident(a.attname), ', '), c.oid::regclass)
               FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              WHERE c.relkind IN ('r', 'p', 'v', 'm') AND c.relnamespace::regnamespace::text NOT IN ('pg_toast')
                AND has_schema_privilege($1, c.relnamespace, 'USAGE') AND has_column_privilege($1, c.oid, a.attnum, 'SELECT')
              GROUP BY c.oid ORDER BY c.oid",
            &[&format!("{}{role}", m.casework.prefix)],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// What only globex knows: what is written in its cases, and the keys of its rows.
fn foreign(m: &Matrix) -> Vec<String> {
    let mut owner = m.owner();
    execute(
        &mut owner,
        &with_ids("UPDATE casework.case_record SET title = 'Harbour affair' WHERE case_id = '{other}'"),
    );
    execute(
        &mut m.of("gil"),
        &with_ids("SELECT authz_require('case.view', '{other}'::uuid)"),
    );
    let mut secrets: Vec<String> = FOREIGN_SECRETS.iter().map(|s| (*s).to_owned()).collect();
    secrets.extend(["Harbour affair".into(), "s3://bill".into()]);
    secrets.extend(["globex", "other", "bill", "gil", "gus"].map(|name| id(name).to_string()));
    secrets
}

/// Sam's support session for acme, asked for with or without sensitive data, approved by Rob, begun.
fn support(m: &Matrix, sensitive: bool) -> Uuid {
    let mut sam = m.with_role("support_tool", "sam");
    let session: Uuid = value(
        &mut sam,
        "SELECT authz_request_access('ticket 7', tenant => $1, includes_sensitive => $2)",
        &[&id("acme"), &sensitive],
    );
    execute(
        &mut m.of("rob"),
        &format!("SELECT authz_approve_access('{session}', 'fine')"),
    );
    execute(&mut sam, &format!("SELECT authz_start_privileged_session('{session}')"));
    session
}
