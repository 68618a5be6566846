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
pub mod cluster;
pub mod exports;
pub mod make;
pub mod matrix;
pub mod office;
pub mod people;
pub mod policy;
pub mod reading;
mod refusal;
pub mod session;
pub mod signer;
pub mod waiting;

use std::collections::HashMap;
use std::ffi::c_int;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use postgres::error::DbError;
use postgres::{Client, NoTls};

pub use refusal::{denied, denied_with_hint, recorded, refused, refused_with_hint};

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

    fn admin(&self) -> Client {
        self.connect("postgres", &self.user)
    }
}

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

fn unique(kind: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "authz_t_{kind}_{}_{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// The template of a kind on a server, made when first asked for.
fn template(server: &Arc<Server>, start: Start) -> String {
    static MADE: OnceLock<Mutex<HashMap<(String, Start), String>>> = OnceLock::new();
    let made = MADE.get_or_init(Mutex::default);
    // A test that failed while it made a template must not hide the reason from those that follow.
    let mut made = made.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(name) = made.get(&(server.host.clone(), start)) {
        return name.clone();
    }
    let name = unique("template");
    let mut admin = server.admin();
    execute(
        &mut admin,
        &format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"),
    );
    // A cluster of a test's own goes as a whole.
    if Arc::ptr_eq(server, &Server::shared()) {
        drop_at_exit(&name);
    }
    {
        let mut client = server.connect(&name, &server.user);
        execute(&mut client, "CREATE EXTENSION authz_ext");
        if start == Start::Fixture || start == Start::Oracle {
            execute(&mut client, include_str!("../fixture.sql"));
        }
        if start == Start::Oracle {
            execute(&mut client, include_str!("../oracle.sql"));
        }
    }
    // The session that filled it must be gone before it can be copied.
    loop {
        let busy: i64 = admin
            .query_one("SELECT count(*) FROM pg_stat_activity WHERE datname = $1", &[&name])
            .unwrap()
            .get(0);
        if busy == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    made.insert((server.host.clone(), start), name.clone());
    name
}

static TEMPLATES: Mutex<Vec<String>> = Mutex::new(Vec::new());

unsafe extern "C" {
    fn atexit(callback: extern "C" fn()) -> c_int;
}

/// Rust's test runner has no hook for the end of a process, C has one. The work is left to psql, because the thread's
/// local storage, which a connection of this process would need, is gone by then.
extern "C" fn drop_templates() {
    let Ok(names) = TEMPLATES.lock() else { return };
    for name in names.iter() {
        let dropped = Server::shared()
            .command("psql")
            .args([
                "-X",
                "-q",
                "-d",
                "postgres",
                "-c",
                &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            ])
            .status();
        if !dropped.is_ok_and(|status| status.success()) {
            eprintln!("template {name} is still there");
        }
    }
}

fn drop_at_exit(name: &str) {
    let mut names = TEMPLATES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if names.is_empty() {
        // SAFETY: the callback is a plain function without arguments that does not unwind.
        let registered = unsafe { atexit(drop_templates) };
        assert_eq!(registered, 0, "atexit refused the clean-up of {name}");
    }
    names.push(name.to_owned());
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
