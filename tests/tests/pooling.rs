//! A pooler hands one server connection to many clients. What one client is must never be what the next one is
//! (R24, PITFALLS 14).
//!
//! PgBouncer in transaction pooling, with two server connections for all clients: `pgbouncer` must be installed
//! (Debian: package `pgbouncer`), it is started by the test, as the account that clusters run as.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use authz_tests::make::{self, id};
use authz_tests::{Db, execute, report, run, value};
use postgres::{Client, NoTls};
use uuid::Uuid;

/// A pooler of its own for a test.
struct Pooler {
    process: Child,
    directory: PathBuf,
    port: u16,
}

fn as_owner(program: &str) -> Command {
    match std::env::var("AUTHZ_RUNUSER") {
        Ok(user) => {
            let mut command = Command::new("runuser");
            command.args(["-u", &user, "--", program]);
            command
        }
        Err(_) => Command::new(program),
    }
}

impl Pooler {
    /// One that keeps `size` server connections to the test's database, with more settings if given.
    fn start(db: &Db, role: &str, size: u32, settings: &str) -> Pooler {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let directory = std::env::temp_dir().join(format!(
            "authz_t_pool_{}_{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        run(as_owner("mkdir").args(["-m", "0700", "-p"]).arg(&directory));
        // Free a moment ago; a pooler that does not get it says so and ends, and the next port is tried.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let configuration = format!(
                "[databases]\n{name} = host={host} port={server} dbname={name} user={role}\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
                 pool_mode = transaction\ndefault_pool_size = {size}\nmax_client_conn = 100\nignore_startup_parameters = extra_float_digits\n\
                 logfile = {directory}/log\npidfile = {directory}/pid\n{settings}\n",
                name = db.name,
                host = db.server.host,
                server = db.server.port,
                directory = directory.display(),
            );
            let file = directory.join("pgbouncer.ini");
            let mut write = as_owner("tee")
                .arg(&file)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            std::io::Write::write_all(&mut write.stdin.take().unwrap(), configuration.as_bytes()).unwrap();
            assert!(write.wait().unwrap().success());
            let process = as_owner("pgbouncer")
                .arg("-q")
                .arg(&file)
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("pgbouncer is installed");
            let mut pooler = Pooler {
                process,
                directory: directory.clone(),
                port,
            };
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(60) {
                if pooler.process.try_wait().unwrap().is_some() {
                    break;
                }
                if pooler.try_connect(db).is_ok() {
                    return pooler;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            pooler.end();
        }
        let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
        panic!("pgbouncer did not start:\n{log}");
    }

    fn try_connect(&self, db: &Db) -> Result<Client, postgres::Error> {
        postgres::Config::new()
            .host("127.0.0.1")
            .port(self.port)
            .user("whoever")
            .dbname(&db.name)
            .connect(NoTls)
    }

    fn connect(&self, db: &Db) -> Client {
        self.try_connect(db).unwrap_or_else(|e| panic!("{}", report(&e)))
    }

    fn end(&mut self) {
        // runuser passes the signal on; the process is ours, by its id.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.end();
        if let Err(e) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("{}: {e}", self.directory.display());
        }
    }
}

const PEOPLE: [&str; 6] = ["alice", "bob", "carol", "dora", "ed", "fay"];

/// Six people, each of whom sees one case and the team's; the login role of the pooler.
fn world(db: &Db) -> (Client, String) {
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::role(&mut c, "viewer", &["case.view"]);
    for who in PEOPLE {
        make::member(&mut c, acme, who);
        let case = make::case(&mut c, acme, &format!("case of {who}"));
        make::assign(&mut c, acme, id(who), "viewer", "case", case);
    }
    execute(
        &mut c,
        "SELECT authz_protect('case_record', 'case', 'case_id', 'tenant_id', team => 'owning_team_id',
             confidentiality => 'confidentiality_level', deleted_at => 'deleted_at', create_indexes => true)",
    );
    let role = db.role();
    execute(
        &mut c,
        &format!(
            "GRANT EXECUTE ON FUNCTION authz_set_session TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON case_record TO {role}"
        ),
    );
    (c, role)
}

/// Statements of the simple protocol: the pooler cannot follow prepared ones from one server connection to another.
fn ask(c: &mut Client, sql: &str) -> Vec<String> {
    c.simple_query(sql)
        .unwrap_or_else(|e| panic!("{}\nin: {sql}", report(&e)))
        .iter()
        .filter_map(|m| match m {
            postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
            _ => None,
        })
        .collect()
}

fn set(who: &str, is_local: bool) -> String {
    format!("SELECT authz_set_session('{}', is_local => {is_local})", id(who))
}

const LOOK: &str = "SELECT title FROM case_record ORDER BY title";

#[test]
fn sessions_of_a_transaction_stay_in_it() {
    let db = Db::new();
    let (_, role) = world(&db);
    let pooler = Pooler::start(&db, &role, 2, "");
    let servers = std::sync::Mutex::new(std::collections::HashMap::<i32, std::collections::HashSet<usize>>::new());
    std::thread::scope(|scope| {
        for (n, who) in PEOPLE.into_iter().enumerate() {
            let (pooler, db, servers) = (&pooler, &db, &servers);
            scope.spawn(move || {
                let mut c = pooler.connect(db);
                let own = format!("case of {who}");
                for round in 0..60 {
                    // Outside of a transaction that said who it is: nobody, whoever was here before.
                    assert_eq!(ask(&mut c, LOOK), [""; 0], "{who} without a session");
                    assert_eq!(
                        ask(&mut c, "SELECT authz_principal()"),
                        ["NULL"],
                        "{who} without a session"
                    );
                    ask(&mut c, "BEGIN");
                    ask(&mut c, &set(who, true));
                    let pid: i32 = ask(&mut c, "SELECT pg_backend_pid()")[0].parse().unwrap();
                    servers.lock().unwrap().entry(pid).or_default().insert(n);
                    assert_eq!(ask(&mut c, LOOK), [own.as_str()], "{who}");
                    assert_eq!(ask(&mut c, "SELECT authz_principal()"), [id(who).to_string()]);
                    match round % 4 {
                        0 => ask(&mut c, "COMMIT"),
                        1 => ask(&mut c, "ROLLBACK"),
                        2 => {
                            // A transaction that failed.
                            assert!(c.simple_query("SELECT 1 / 0").is_err());
                            ask(&mut c, "COMMIT")
                        }
                        _ => {
                            ask(&mut c, "SAVEPOINT s");
                            let other = PEOPLE[(n + 1) % PEOPLE.len()];
                            ask(&mut c, &set(other, true));
                            assert_eq!(ask(&mut c, LOOK), [format!("case of {other}")]);
                            ask(&mut c, "ROLLBACK TO s");
                            assert_eq!(ask(&mut c, LOOK), [own.as_str()], "{who} after a savepoint");
                            ask(&mut c, "COMMIT")
                        }
                    };
                    // One statement that says who it is and looks, as one transaction.
                    assert_eq!(
                        ask(&mut c, &format!("{}; {LOOK}", set(who, true))),
                        ["", own.as_str()],
                        "{who} in one message"
                    );
                }
            });
        }
    });
    let servers = servers.into_inner().unwrap();
    assert_eq!(servers.len(), 2, "two server connections for all: {servers:?}");
    assert!(
        servers.values().all(|clients| clients.len() >= 4),
        "each served most of the clients: {servers:?}"
    );
}

#[test]
fn a_client_that_leaves_in_the_middle_takes_its_session_along() {
    let db = Db::new();
    let (mut admin, role) = world(&db);
    let pooler = Pooler::start(&db, &role, 1, "");
    for _ in 0..10 {
        let mut c = pooler.connect(&db);
        ask(&mut c, "BEGIN");
        ask(&mut c, &set("alice", true));
        assert_eq!(ask(&mut c, LOOK), ["case of alice"]);
        // No COMMIT: the pooler closes such a server connection, or rolls back.
        drop(c);
        let mut next = pooler.connect(&db);
        assert_eq!(ask(&mut next, LOOK), [""; 0]);
    }
    let connections: i64 = value(
        &mut admin,
        "SELECT count(*) FROM pg_stat_activity WHERE usename = $1",
        &[&role],
    );
    assert!(connections <= 1, "{connections}");
}

/// Documented as unsafe behind a pooler of transactions: a session of the connection outlives its client's transaction,
/// and the next client has it. This holds the documentation to the truth, and shows what ends it.
#[test]
fn sessions_of_the_connection_are_the_next_clients_until_something_resets_them() {
    let db = Db::new();
    let (_, role) = world(&db);
    let pooler = Pooler::start(&db, &role, 1, "");
    let (mut one, mut two) = (pooler.connect(&db), pooler.connect(&db));
    ask(&mut one, &set("alice", false));
    assert_eq!(ask(&mut two, LOOK), ["case of alice"], "the documented danger");
    // What a client says for its own transaction goes before, and not beyond.
    ask(&mut two, "BEGIN");
    ask(&mut two, &set("bob", true));
    assert_eq!(ask(&mut two, LOOK), ["case of bob"]);
    ask(&mut two, "COMMIT");
    assert_eq!(ask(&mut two, LOOK), ["case of alice"]);
    for reset in ["DISCARD ALL", "SELECT authz_clear_session()"] {
        ask(&mut one, &set("alice", false));
        assert_eq!(ask(&mut two, LOOK), ["case of alice"]);
        ask(&mut one, reset);
        assert_eq!(ask(&mut two, LOOK), [""; 0], "after {reset}");
    }
}

#[test]
fn a_pooler_that_resets_its_servers_ends_sessions_of_the_connection() {
    let db = Db::new();
    let (_, role) = world(&db);
    let pooler = Pooler::start(
        &db,
        &role,
        1,
        "server_reset_query = DISCARD ALL\nserver_reset_query_always = 1",
    );
    let (mut one, mut two) = (pooler.connect(&db), pooler.connect(&db));
    for who in ["alice", "bob"] {
        ask(&mut one, &set(who, false));
        assert_eq!(ask(&mut one, LOOK), [""; 0], "its own next transaction");
        assert_eq!(ask(&mut two, LOOK), [""; 0], "somebody else's");
    }
}

#[test]
fn a_role_bound_to_a_principal_is_that_principal_for_every_client() {
    let db = Db::new();
    let (mut admin, role) = world(&db);
    execute(
        &mut admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{role}' WHERE principal_id = '{}'",
            id("alice")
        ),
    );
    let pooler = Pooler::start(&db, &role, 1, "");
    let (mut one, mut two) = (pooler.connect(&db), pooler.connect(&db));
    assert_eq!(ask(&mut one, LOOK), ["case of alice"]);
    ask(&mut one, "BEGIN");
    ask(&mut one, &set("bob", true));
    assert_eq!(ask(&mut one, LOOK), ["case of bob"]);
    ask(&mut one, "COMMIT");
    assert_eq!(ask(&mut two, LOOK), ["case of alice"]);
    let unknown: Uuid = id("unknown");
    assert_eq!(
        ask(&mut two, &format!("SELECT authz_set_session('{unknown}'); {LOOK}")),
        [""],
        "a session of somebody unknown is not the role's"
    );
}
