//! Tenants, people and login roles for tests of who a session acts for.

use postgres::{Client, NoTls};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::make::{self, id};
use crate::{Db, execute, value};

/// Alice and Bob are members of acme, where Alice may view the case `affair`. Carol may view every case of the platform:
/// also `deal`, which is globex's.
pub fn fill(c: &mut Client) {
    make::affair(c);
    let globex = make::tenant(c, "globex");
    make::case(c, globex, "deal");
    make::principal(c, "carol");
    make::assign_platform(c, id("carol"), "viewer");
}

/// From here on the connection acts for that principal.
#[track_caller]
pub fn act_as(c: &mut Client, who: &str) {
    execute(
        c,
        &format!("SELECT authz_set_session('{}', is_local => false)", id(who)),
    );
}

/// The same, in one tenant or in all, with a context.
#[track_caller]
pub fn act_with(c: &mut Client, who: &str, tenant: Option<&str>, context: &str) {
    execute(c, &set_with(who, tenant, context));
}

/// The two tenants, and login roles.
pub struct World {
    /// Its database.
    pub db: Db,
    /// A superuser's connection.
    pub admin: Client,
    /// A login role that may call `authz_set_session`.
    pub app: String,
    /// A login role that may do nothing.
    pub role: String,
}

/// Fills a database and makes the roles.
pub fn world() -> World {
    let db = Db::new();
    let mut admin = db.connect();
    fill(&mut admin);
    let (app, role) = (db.role(), db.role());
    execute(
        &mut admin,
        &format!("GRANT EXECUTE ON FUNCTION authz_set_session TO {app}"),
    );
    World { db, admin, app, role }
}

impl World {
    /// A new connection of the role that may set sessions.
    pub fn app(&self) -> Client {
        self.db.connect_as(&self.app)
    }

    /// A new connection of the role that may do nothing. The library is not loaded yet.
    pub fn role(&self) -> Client {
        self.db.connect_as(&self.role)
    }

    /// A new connection of any role with startup options.
    pub fn with_options(&self, role: &str, options: &str) -> Result<Client, postgres::Error> {
        self.config(role).options(options).connect(NoTls)
    }

    /// How any role connects.
    pub fn config(&self, role: &str) -> postgres::Config {
        let mut config = postgres::Config::new();
        let server = &self.db.server;
        config
            .host(&server.host)
            .port(server.port)
            .user(role)
            .dbname(&self.db.name);
        config
    }
}

/// Whom the session is for.
pub fn principal(c: &mut Client) -> Option<Uuid> {
    value(c, "SELECT authz_principal()", &[])
}

/// May the session view the case?
pub fn may_view(c: &mut Client, case: &str) -> bool {
    value(c, "SELECT authz_can('case.view', $1::uuid)", &[&id(case)])
}

/// The session is that one's. (Bob may not view the case.)
#[track_caller]
pub fn is(c: &mut Client, name: &str) {
    assert_eq!(principal(c), Some(id(name)), "the session is not {name}'s");
    assert_eq!(may_view(c, "affair"), name != "bob", "{name} and the case");
}

/// There is no session.
#[track_caller]
pub fn is_nobody(c: &mut Client) {
    assert_eq!(principal(c), None, "the session is somebody's");
    assert!(!may_view(c, "affair"), "nobody sees the case");
    let rest: (Option<Uuid>, Option<Value>) = {
        let row = c.query_one("SELECT authz_tenant(), authz_context()", &[]).unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!(rest, (None, None));
}

/// The statement that begins a session.
pub fn set(name: &str, is_local: bool) -> String {
    format!("SELECT authz_set_session('{}', is_local => {is_local})", id(name))
}

/// The statement that begins one in one tenant or in all, with a context, until it is set again.
pub fn set_with(name: &str, tenant: Option<&str>, context: &str) -> String {
    let tenant = tenant.map_or_else(|| "NULL".to_owned(), |t| format!("'{}'", id(t)));
    format!("SELECT authz_set_session('{}', {tenant}, '{context}', false)", id(name))
}

/// What the library itself would write for Alice.
pub fn alices_setting() -> String {
    json!({"principal": id("alice"), "tenant": null, "context": {}, "expires": null}).to_string()
}

/// Loads the library.
pub fn load(c: &mut Client) {
    execute(c, "SELECT authz_principal()");
}

/// The statement fails, whatever the reason.
#[track_caller]
pub fn fails(c: &mut Client, sql: &str) {
    assert!(c.batch_execute(sql).is_err(), "accepted: {sql}");
    execute(c, "ROLLBACK");
}

/// Rows of the table that is scanned in parallel.
pub const ROWS: i64 = 2000;

/// Lets workers decide about as many rows as `ROWS`, and expects `allowed` of them.
#[track_caller]
pub fn scan_in_parallel(c: &mut Client, allowed: i64) {
    execute(
        c,
        "SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
         SET min_parallel_table_scan_size = 0; SET parallel_leader_participation = off",
    );
    // A table of their own would be a temporary one, which workers cannot see; a catalog has enough rows for anybody.
    let sql = format!(
        "SELECT count(*) FROM pg_catalog.pg_proc AS p
          WHERE p.oid::bigint <= (SELECT oid FROM pg_catalog.pg_proc ORDER BY oid OFFSET {ROWS} - 1 LIMIT 1)::bigint
            AND authz_can('case.view', CASE WHEN p.oid > 0 THEN '{}'::uuid END)",
        id("affair")
    );
    let plan: Value = value(c, &format!("EXPLAIN (ANALYZE, FORMAT JSON) {sql}"), &[]);
    let launched = plan.to_string();
    assert!(
        launched.contains("\"Workers Launched\": 2") || launched.contains("\"Workers Launched\":2"),
        "no workers: {plan:#}"
    );
    let count: i64 = value(c, &sql, &[]);
    assert_eq!(count, allowed);
}
