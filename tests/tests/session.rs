//! Session identity, seen by somebody who wants another one: every way to plant, keep or forge an identity that we
//! could think of, each as a test with the attempt in its name, tried by login roles without privileges (R24; PITFALLS 11,
//! 13 to 15, 30).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use authz_tests::cluster::Cluster;
use authz_tests::make::{self, id};
use authz_tests::{Db, Start, execute, refused, refused_with_hint, report, run, value};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use postgres::{Client, NoTls};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use serde_json::{Value, json};
use uuid::Uuid;

// == A world of two tenants ==============================================================================

/// Alice and Bob are members of acme, where Alice may view the case `affair`. Carol may view every case of the platform:
/// also `deal`, which is globex's.
fn fill(c: &mut Client) {
    let (acme, globex) = (make::tenant(c, "acme"), make::tenant(c, "globex"));
    make::case(c, acme, "affair");
    make::case(c, globex, "deal");
    make::role(c, "viewer", &["case.view"]);
    make::member(c, acme, "alice");
    make::assign(c, acme, id("alice"), "viewer", "tenant", acme);
    make::member(c, acme, "bob");
    make::principal(c, "carol");
    make::assign_platform(c, id("carol"), "viewer");
}

struct World {
    db: Db,
    /// A superuser's connection.
    admin: Client,
    /// A login role that may call `authz_set_session`.
    app: String,
    /// A login role that may do nothing.
    role: String,
}

fn world() -> World {
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
    fn app(&self) -> Client {
        self.db.connect_as(&self.app)
    }

    /// A new connection of the role that may do nothing. The library is not loaded yet.
    fn role(&self) -> Client {
        self.db.connect_as(&self.role)
    }

    /// A new connection of any role with startup options.
    fn with_options(&self, role: &str, options: &str) -> Result<Client, postgres::Error> {
        self.config(role).options(options).connect(NoTls)
    }

    fn config(&self, role: &str) -> postgres::Config {
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

fn principal(c: &mut Client) -> Option<Uuid> {
    value(c, "SELECT authz_principal()", &[])
}

fn may_view(c: &mut Client, case: &str) -> bool {
    value(c, "SELECT authz_can('case.view', $1::uuid)", &[&id(case)])
}

#[track_caller]
fn is(c: &mut Client, name: &str) {
    assert_eq!(principal(c), Some(id(name)), "the session is not {name}'s");
    assert_eq!(may_view(c, "affair"), name != "bob", "{name} and the case");
}

#[track_caller]
fn is_nobody(c: &mut Client) {
    assert_eq!(principal(c), None, "the session is somebody's");
    assert!(!may_view(c, "affair"), "nobody sees the case");
    let rest: (Option<Uuid>, Option<Value>) = {
        let row = c.query_one("SELECT authz_tenant(), authz_context()", &[]).unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!(rest, (None, None));
}

fn set(name: &str, is_local: bool) -> String {
    format!("SELECT authz_set_session('{}', is_local => {is_local})", id(name))
}

/// What the library itself would write for Alice.
fn alices_setting() -> String {
    json!({"principal": id("alice"), "tenant": null, "context": {}, "expires": null}).to_string()
}

/// Loads the library.
fn load(c: &mut Client) {
    execute(c, "SELECT authz_principal()");
}

/// The statement fails, whatever the reason.
#[track_caller]
fn fails(c: &mut Client, sql: &str) {
    assert!(c.batch_execute(sql).is_err(), "accepted: {sql}");
    execute(c, "ROLLBACK");
}

// == Scope of a session: transactions, savepoints, pools ==================================================

#[test]
fn a_local_session_ends_with_its_transaction() {
    let w = world();
    let mut c = w.app();
    for end in ["COMMIT", "ROLLBACK"] {
        execute(&mut c, &format!("BEGIN; {}", set("alice", true)));
        is(&mut c, "alice");
        execute(&mut c, end);
        is_nobody(&mut c);
    }
    // A statement of its own is a transaction of its own.
    execute(&mut c, &set("alice", true));
    is_nobody(&mut c);
}

#[test]
fn a_session_that_is_not_local_lasts_until_it_is_set_again_or_cleared() {
    let w = world();
    let mut c = w.app();
    execute(&mut c, &set("alice", false));
    is(&mut c, "alice");
    execute(&mut c, &format!("BEGIN; {}", set("bob", true)));
    is(&mut c, "bob");
    execute(&mut c, "COMMIT");
    is(&mut c, "alice");
    execute(&mut c, &set("bob", false));
    is(&mut c, "bob");
    execute(&mut c, "SELECT authz_clear_session()");
    is_nobody(&mut c);
}

#[test]
fn clearing_in_a_transaction_ends_the_local_and_the_lasting_session() {
    let w = world();
    let mut c = w.app();
    execute(&mut c, &set("alice", false));
    execute(
        &mut c,
        &format!("BEGIN; {}; SELECT authz_clear_session()", set("bob", true)),
    );
    is_nobody(&mut c);
    execute(&mut c, "COMMIT");
    is_nobody(&mut c);
}

#[test]
fn keep_an_identity_by_rollback() {
    let w = world();
    let mut c = w.app();
    execute(&mut c, &format!("BEGIN; {}; ROLLBACK", set("alice", false)));
    is_nobody(&mut c);
    execute(&mut c, &set("bob", false));
    execute(&mut c, &format!("BEGIN; {}; ROLLBACK", set("alice", false)));
    is(&mut c, "bob");
}

#[test]
fn keep_an_identity_by_rollback_of_a_savepoint() {
    let w = world();
    let mut c = w.app();
    execute(&mut c, &format!("BEGIN; {}; SAVEPOINT s", set("bob", true)));
    for is_local in [true, false] {
        execute(&mut c, &set("alice", is_local));
        is(&mut c, "alice");
        execute(&mut c, "ROLLBACK TO s");
        is(&mut c, "bob");
    }
    execute(&mut c, "SELECT authz_clear_session()");
    is_nobody(&mut c);
    execute(&mut c, "ROLLBACK TO s");
    is(&mut c, "bob");
    execute(&mut c, &format!("{}; RELEASE s", set("alice", true)));
    is(&mut c, "alice");
    execute(&mut c, "COMMIT");
    is_nobody(&mut c);
}

#[test]
fn keep_an_identity_past_an_exception_in_plpgsql() {
    let w = world();
    let mut c = w.app();
    execute(
        &mut c,
        &format!(
            "BEGIN; {};
             DO $$ BEGIN PERFORM authz_set_session('{}'); RAISE 'x'; EXCEPTION WHEN raise_exception THEN NULL; END $$",
            set("bob", true),
            id("alice")
        ),
    );
    is(&mut c, "bob");
}

#[test]
fn keep_a_local_identity_past_a_commit_inside_a_do_block() {
    let w = world();
    let mut c = w.app();
    let seen: i64 = {
        execute(&mut c, "CREATE TEMP TABLE seen (principal uuid)");
        execute(
            &mut c,
            &format!(
                "DO $$ BEGIN PERFORM authz_set_session('{}'); COMMIT; INSERT INTO seen VALUES (authz_principal()); END $$",
                id("alice")
            ),
        );
        value(&mut c, "SELECT count(*) FROM seen WHERE principal IS NULL", &[])
    };
    assert_eq!(seen, 1);
}

#[test]
fn keep_an_identity_past_discard_all_and_reset_all() {
    let w = world();
    let mut c = w.app();
    for reset in ["DISCARD ALL", "RESET ALL"] {
        execute(&mut c, &set("alice", false));
        is(&mut c, "alice");
        execute(&mut c, reset);
        is_nobody(&mut c);
    }
}

#[test]
fn reset_of_the_setting_itself_is_not_for_everybody_and_gives_nobody_an_identity() {
    let mut w = world();
    let mut c = w.app();
    execute(&mut c, &set("alice", false));
    refused(&mut c, "RESET authz.session", "42501", &[]);
    refused(&mut c, "SET authz.session TO DEFAULT", "42501", &[]);
    refused(&mut c, "SELECT set_config('authz.session', '', false)", "42501", &[]);
    is(&mut c, "alice");
    execute(&mut w.admin, &set("alice", false));
    execute(&mut w.admin, "RESET authz.session");
    is_nobody(&mut w.admin);
}

#[test]
fn find_the_identity_of_the_last_client_on_a_pooled_connection() {
    let w = world();
    let mut c = w.app();
    // Transaction pooling: each client's transaction begins with its own identity, or without one.
    for (first, end) in [("alice", "COMMIT"), ("alice", "ROLLBACK"), ("bob", "COMMIT")] {
        execute(&mut c, &format!("BEGIN; {}", set(first, true)));
        is(&mut c, first);
        execute(&mut c, end);
        execute(&mut c, "BEGIN");
        is_nobody(&mut c);
        execute(&mut c, "COMMIT");
    }
    // A client that failed in the middle.
    execute(&mut c, &format!("BEGIN; {}", set("alice", true)));
    assert!(c.batch_execute("SELECT 1 / 0").is_err());
    execute(&mut c, "ROLLBACK");
    is_nobody(&mut c);
    // Session pooling: the pooler says DISCARD ALL.
    execute(&mut c, &set("alice", false));
    execute(&mut c, "DISCARD ALL");
    is_nobody(&mut c);
}

#[test]
fn carry_an_identity_through_two_phase_commit() {
    let mut w = world();
    let (mut c, mut other) = (w.app(), w.app());
    let name = format!("authz_t_{}", w.db.name);
    for (is_local, end) in [
        (true, "COMMIT"),
        (true, "ROLLBACK"),
        (false, "COMMIT"),
        (false, "ROLLBACK"),
    ] {
        execute(
            &mut c,
            &format!("BEGIN; {}; PREPARE TRANSACTION '{name}'", set("alice", is_local)),
        );
        // A lasting session was this connection's own wish, and PREPARE is the end of its transaction.
        if is_local {
            is_nobody(&mut c);
        }
        is_nobody(&mut other);
        execute(&mut other, &format!("{end} PREPARED '{name}'"));
        is_nobody(&mut other);
        execute(&mut c, "DISCARD ALL");
        is_nobody(&mut c);
    }
    is_nobody(&mut w.admin);
}

#[test]
fn a_local_session_outlives_the_function_that_set_it_until_the_end_of_the_transaction() {
    let mut w = world();
    execute(
        &mut w.admin,
        &format!("CREATE SCHEMA apps; GRANT USAGE ON SCHEMA apps TO {}", w.app),
    );
    for (name, clause) in [("plain", ""), ("pinned", "SET search_path = public")] {
        execute(
            &mut w.admin,
            &format!(
                "CREATE FUNCTION apps.{name}() RETURNS uuid LANGUAGE plpgsql {clause} AS
                 $$ BEGIN PERFORM authz_set_session('{}'); RETURN authz_principal(); END $$",
                id("alice")
            ),
        );
    }
    let mut c = w.app();
    for function in ["plain", "pinned"] {
        execute(&mut c, "BEGIN");
        let inside: Option<Uuid> = value(&mut c, &format!("SELECT apps.{function}()"), &[]);
        assert_eq!(inside, Some(id("alice")));
        is(&mut c, "alice");
        execute(&mut c, "COMMIT");
        is_nobody(&mut c);
    }
}

#[test]
fn sessions_work_in_read_only_transactions() {
    let w = world();
    let signer = Signer::ed25519("k");
    let mut admin = w.db.connect();
    signer.register(&mut admin);
    let mut c = w.app();
    execute(&mut c, &format!("BEGIN READ ONLY; {}", set("bob", true)));
    is(&mut c, "bob");
    begin(&mut c, &signer.token(&claims("alice"))).unwrap();
    is(&mut c, "alice");
    let xid: Option<String> = value(&mut c, "SELECT pg_current_xact_id_if_assigned()::text", &[]);
    assert_eq!(xid, None, "a transaction id was assigned");
}

// == Who may set it =======================================================================================

#[test]
fn set_a_session_without_the_right_to() {
    let w = world();
    let mut c = w.role();
    refused(&mut c, &set("alice", true), "42501", &["authz_set_session"]);
    refused(&mut c, &set("alice", false), "42501", &["authz_set_session"]);
    is_nobody(&mut c);
}

#[test]
fn set_a_session_with_malformed_arguments() {
    let w = world();
    let mut c = w.app();
    refused_with_hint(&mut c, "SELECT authz_set_session(NULL)", "22023", &["principal"]);
    for context in ["[]", "1", "\"x\"", "null"] {
        let sql = format!("SELECT authz_set_session('{}', context => '{context}')", id("alice"));
        refused_with_hint(&mut c, &sql, "22023", &["context"]);
    }
    refused(&mut c, "SELECT authz_set_session('alice')", "22P02", &[]);
    is_nobody(&mut c);
    // NULL stands for the default.
    execute(&mut c, "BEGIN");
    execute(
        &mut c,
        &format!("SELECT authz_set_session('{}', NULL, NULL, NULL)", id("alice")),
    );
    is(&mut c, "alice");
    execute(&mut c, "COMMIT");
    is_nobody(&mut c);
}

#[test]
fn the_session_of_somebody_who_does_not_exist_may_do_nothing() {
    let w = world();
    let mut c = w.app();
    execute(&mut c, &set("nobody", false));
    assert_eq!(principal(&mut c), Some(id("nobody")));
    assert!(!may_view(&mut c, "affair"));
}

#[test]
fn context_survives_quotes_backslashes_nul_escapes_and_big_numbers() {
    let w = world();
    let mut c = w.app();
    let context = json!({"a": "'\"\\\n\u{1}\u{10ffff}", "b": {"c": [1, 2.5, -3, true, null]}, "": ""});
    c.execute(
        "SELECT authz_set_session($1, context => $2, is_local => false)",
        &[&id("alice"), &context],
    )
    .unwrap();
    let seen: Value = value(&mut c, "SELECT authz_context()", &[]);
    assert_eq!(seen, context);
    is(&mut c, "alice");
}

// == Planting an identity in the setting ==================================================================

#[test]
fn plant_by_set_and_set_config_before_the_library_is_loaded() {
    let w = world();
    for statement in [
        "SET authz.session = '{}'",
        "SET SESSION authz.session = '{}'",
        "SELECT set_config('authz.session', '{}', false)",
        "BEGIN; SET LOCAL authz.session = '{}'",
        "BEGIN; SELECT set_config('authz.session', '{}', true)",
        "BEGIN; SAVEPOINT s; SET LOCAL authz.session = '{}'; RELEASE s",
        "BEGIN; SET authz.session = '{}'; SET LOCAL authz.session = '{}'",
        "SET \"AUTHZ\".\"SESSION\" = '{}'",
    ] {
        let mut c = w.role();
        // Nothing knows the name yet, so it is accepted as a placeholder.
        execute(&mut c, &statement.replace("{}", &alices_setting()));
        is_nobody(&mut c);
        c.batch_execute("COMMIT").unwrap();
        is_nobody(&mut c);
    }
}

#[test]
fn plant_by_set_and_set_config_after_the_library_is_loaded() {
    let mut w = world();
    let mut c = w.role();
    load(&mut c);
    for statement in [
        "SET authz.session = '{}'",
        "SET LOCAL authz.session = '{}'",
        "SELECT set_config('authz.session', '{}', false)",
        "SELECT set_config('authz.session', '{}', true)",
        "SELECT set_config('AUTHZ.Session', '{}', true)",
        "UPDATE pg_settings SET setting = '{}' WHERE name = 'authz.session'; SET authz.session = '{}'",
    ] {
        let statement = statement.replace("{}", &alices_setting());
        for c in [&mut c, &mut w.admin] {
            refused(c, &statement, "42501", &["authz.session"]);
            is_nobody(c);
        }
    }
}

#[test]
fn plant_by_a_placeholder_of_a_superuser() {
    let w = world();
    let mut c = w.db.connect();
    execute(&mut c, &format!("SET authz.session = '{}'", alices_setting()));
    is_nobody(&mut c);
}

#[test]
fn plant_by_connection_options() {
    let w = world();
    let escaped = alices_setting().replace('\\', "\\\\").replace(' ', "\\ ");
    for options in [
        format!("-c authz.session={escaped}"),
        format!("--authz.session={escaped}"),
    ] {
        let mut c = w
            .with_options(&w.role, &options)
            .unwrap_or_else(|e| panic!("{}", report(&e)));
        is_nobody(&mut c);
        let mut c = w.with_options(&w.db.server.user, &options).unwrap();
        is_nobody(&mut c);
    }
}

#[test]
fn plant_by_alter_role_and_alter_database() {
    let mut w = world();
    let (mut fresh, mut loaded) = (w.role(), w.role());
    load(&mut loaded);
    let setting = alices_setting();
    for c in [&mut fresh, &mut loaded] {
        refused(
            c,
            &format!("ALTER ROLE {} SET authz.session = '{setting}'", w.role),
            "42501",
            &[],
        );
    }
    execute(
        &mut w.admin,
        &format!("ALTER DATABASE {} OWNER TO {}", w.db.name, w.role),
    );
    for c in [&mut fresh, &mut loaded] {
        refused(
            c,
            &format!("ALTER DATABASE {} SET authz.session = '{setting}'", w.db.name),
            "42501",
            &[],
        );
    }
    // Even a superuser can store it only where the library is not loaded; and it does not help.
    load(&mut w.admin);
    refused(
        &mut w.admin,
        &format!("ALTER ROLE {} SET authz.session = '{setting}'", w.role),
        "42501",
        &["authz_set_session"],
    );
    let mut unloaded = w.db.connect();
    execute(
        &mut unloaded,
        &format!("ALTER ROLE {} SET authz.session = '{setting}'", w.role),
    );
    execute(
        &mut unloaded,
        &format!("ALTER DATABASE {} SET authz.session = '{setting}'", w.db.name),
    );
    for mut c in [w.role(), w.app(), w.db.connect()] {
        is_nobody(&mut c);
        execute(&mut c, "DISCARD ALL");
        is_nobody(&mut c);
    }
    // session_preload_libraries: the setting is known before what is stored is applied.
    execute(
        &mut unloaded,
        &format!(
            "ALTER DATABASE {} SET session_preload_libraries = 'authz_ext'",
            w.db.name
        ),
    );
    let mut c = w.role();
    is_nobody(&mut c);
    scan_in_parallel(&mut c, 0);
}

#[test]
fn plant_by_the_set_clause_of_a_function() {
    let mut w = world();
    execute(&mut w.admin, &format!("CREATE SCHEMA mine AUTHORIZATION {}", w.role));
    let create = |clause: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION mine.f() RETURNS boolean LANGUAGE sql {clause} AS
                 $$ SELECT authz_can('case.view', '{}'::uuid) $$",
            id("affair")
        )
    };
    let planted = create(&format!("SET authz.session = '{}'", alices_setting()));
    let (mut fresh, mut loaded) = (w.role(), w.role());
    load(&mut loaded);
    for c in [&mut fresh, &mut loaded] {
        fails(c, &planted);
        execute(c, &create(""));
        fails(
            c,
            &format!("ALTER FUNCTION mine.f() SET authz.session = '{}'", alices_setting()),
        );
    }
    // A superuser can create it in a session without the library; nobody can run it.
    let mut unloaded = w.db.connect();
    execute(&mut unloaded, &planted);
    refused(&mut loaded, "SELECT mine.f()", "42501", &["authz.session"]);
    refused(
        &mut w.admin,
        "SELECT authz_principal(); SELECT mine.f()",
        "42501",
        &["authz.session"],
    );
    let mut fresh = w.role();
    // Without the library the first call of all sets a placeholder; then the library throws it out.
    if let Ok(row) = fresh.query_one("SELECT mine.f()", &[]) {
        assert!(!row.get::<_, bool>(0));
    }
    is_nobody(&mut fresh);
    // Nor can it be taken over from a session that has one.
    execute(
        &mut w.admin,
        &format!("DROP FUNCTION mine.f(); BEGIN; {}", set("alice", true)),
    );
    fails(&mut w.admin, &create("SET authz.session FROM CURRENT"));
}

#[test]
fn plant_in_the_settings_of_tokens() {
    let mut w = world();
    for setting in ["authz.token_leeway", "authz.token_max_age"] {
        let mut c = w.role();
        execute(&mut c, &format!("SET {setting} = '77'"));
        load(&mut c);
        let seen: String = value(&mut c, "SELECT current_setting($1)", &[&setting]);
        assert!(["30s", "0"].contains(&seen.as_str()), "{setting} = {seen}");
        refused(&mut c, &format!("SET {setting} = '77'"), "42501", &[]);
        refused(
            &mut c,
            &format!("ALTER ROLE {} SET {setting} = '77'", w.role),
            "42501",
            &[],
        );
        refused(
            &mut w.admin,
            &format!("SELECT authz_principal(); SET {setting} = -1"),
            "22023",
            &[],
        );
    }
    refused(&mut w.admin, "SET authz.token_leeway = 301", "22023", &[]);
}

#[test]
fn read_the_setting() {
    let w = world();
    let mut c = w.app();
    execute(&mut c, &set("alice", false));
    refused(&mut c, "SHOW authz.session", "42501", &[]);
    refused(&mut c, "SELECT current_setting('authz.session')", "42501", &[]);
    let shown: i64 = value(
        &mut c,
        "SELECT count(*) FROM pg_settings WHERE name = 'authz.session'",
        &[],
    );
    assert_eq!(shown, 0);
}

/// What belongs to a whole cluster: a privilege on the setting, configuration files, the command line, preloading.
#[test]
fn plant_by_grant_set_alter_system_configuration_and_command_line() {
    let planted = format!("authz.session='{}'", alices_setting());
    // pg_ctl gives its options to a shell, which takes the outer quotes away.
    let cluster = Cluster::start(&[&planted]);
    let db = Db::on(&cluster.server, Start::Fixture);
    let mut admin = db.connect();
    fill(&mut admin);
    let role = db.role();
    for who in [role.as_str(), "postgres"] {
        let mut c = db.connect_as(who);
        let placeholder: String = value(&mut c, "SELECT current_setting('authz.session')", &[]);
        assert_eq!(placeholder, alices_setting(), "the attempt as such works");
        is_nobody(&mut c);
    }
    execute(
        &mut admin,
        &format!("GRANT SET, ALTER SYSTEM ON PARAMETER authz.session TO {role}"),
    );
    let setting = alices_setting();
    let mut c = db.connect_as(&role);
    load(&mut c);
    for statement in [
        format!("SET authz.session = '{setting}'"),
        format!("SELECT set_config('authz.session', '{setting}', false)"),
        format!("ALTER ROLE {role} SET authz.session = '{setting}'"),
    ] {
        refused(&mut c, &statement, "42501", &["authz_set_session"]);
        is_nobody(&mut c);
    }
    fails(&mut c, &format!("ALTER SYSTEM SET authz.session = '{setting}'"));
    fails(&mut admin, &format!("ALTER SYSTEM SET authz.session = '{setting}'"));
    // Not loaded: stored by whom the superuser lets, and of no use.
    let mut c = db.connect_as(&role);
    execute(&mut c, &format!("ALTER ROLE {role} SET authz.session = '{setting}'"));
    execute(&mut c, &format!("ALTER SYSTEM SET authz.session = '{setting}'"));
    execute(&mut admin, "SELECT pg_reload_conf()");
    for _ in 0..2 {
        let mut c = db.connect_as(&role);
        is_nobody(&mut c);
        execute(&mut c, "DISCARD ALL");
        is_nobody(&mut c);
    }
    drop((c, admin));
    // The same with the library in the postmaster, which reads all of them before anybody logs in. What is stored for
    // the role is then applied in parallel workers as well, while they start.
    let cluster = cluster.restart(&["shared_preload_libraries = authz_ext", &planted]);
    let mut c = cluster.server.connect(&db.name, &role);
    is_nobody(&mut c);
    scan_in_parallel(&mut c, 0);
    let mut admin = cluster.server.connect(&db.name, "postgres");
    is_nobody(&mut admin);
    execute(&mut admin, &set("alice", false));
    scan_in_parallel(&mut admin, ROWS);
    execute(&mut admin, &format!("ALTER ROLE {role} RESET authz.session"));
    // Known and refused: the connection is, too.
    let mut config = postgres::Config::new();
    config
        .host(&cluster.server.host)
        .port(cluster.server.port)
        .dbname(&db.name)
        .user(&role);
    let refused = config.options(&format!("-c authz.session={}", "x")).connect(NoTls);
    assert_eq!(
        refused
            .err()
            .and_then(|e| e.code().cloned())
            .map(|c| c.code().to_owned())
            .as_deref(),
        Some("42501")
    );
}

// == Parallel workers =====================================================================================

const ROWS: i64 = 2000;

/// Lets workers decide about as many rows as `ROWS`, and expects `allowed` of them.
#[track_caller]
fn scan_in_parallel(c: &mut Client, allowed: i64) {
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

#[test]
fn parallel_workers_have_the_leaders_identity_and_no_other() {
    let w = world();
    let mut c = w.app();
    scan_in_parallel(&mut c, 0);
    for (name, allowed) in [("alice", ROWS), ("bob", 0), ("carol", ROWS)] {
        execute(&mut c, &set(name, false));
        scan_in_parallel(&mut c, allowed);
        execute(&mut c, "SELECT authz_clear_session()");
        scan_in_parallel(&mut c, 0);
    }
}

#[test]
fn parallel_workers_know_the_login_role() {
    let mut w = world();
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{}' WHERE principal_id = '{}'",
            w.role,
            id("alice")
        ),
    );
    let mut c = w.role();
    is(&mut c, "alice");
    scan_in_parallel(&mut c, ROWS);
}

#[test]
fn set_a_session_inside_a_parallel_worker() {
    let mut w = world();
    execute(
        &mut w.admin,
        &format!(
            "CREATE FUNCTION public.liar(p oid) RETURNS boolean LANGUAGE plpgsql PARALLEL SAFE AS
             $$ BEGIN PERFORM authz_set_session('{}'); RETURN true; END $$;
             CREATE FUNCTION public.liar_clears(p oid) RETURNS boolean LANGUAGE plpgsql PARALLEL SAFE AS
             $$ BEGIN PERFORM authz_clear_session(); RETURN true; END $$",
            id("alice")
        ),
    );
    let mut c = w.app();
    execute(
        &mut c,
        "SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
         SET min_parallel_table_scan_size = 0; SET parallel_leader_participation = off",
    );
    for function in ["liar", "liar_clears"] {
        fails(
            &mut c,
            &format!("SELECT count(*) FROM pg_catalog.pg_proc WHERE public.{function}(oid)"),
        );
        is_nobody(&mut c);
    }
}

// == Other roles ==========================================================================================

#[test]
fn change_the_identity_by_set_role_or_set_session_authorization() {
    let mut w = world();
    execute(&mut w.admin, &format!("GRANT {} TO {}", w.role, w.app));
    let mut c = w.app();
    execute(&mut c, &set("bob", false));
    execute(&mut c, &format!("SET ROLE {}", w.role));
    is(&mut c, "bob");
    refused(&mut c, &set("alice", false), "42501", &[]);
    refused(&mut c, &format!("SET SESSION AUTHORIZATION {}", w.role), "42501", &[]);
    execute(&mut c, "RESET ROLE");
    is(&mut c, "bob");
    execute(&mut c, "RESET SESSION AUTHORIZATION");
    is(&mut c, "bob");
    // A superuser who becomes somebody else keeps what was set, and nothing comes with the other role.
    execute(&mut w.admin, &set("bob", false));
    execute(&mut w.admin, &format!("SET SESSION AUTHORIZATION {}", w.role));
    is(&mut w.admin, "bob");
    execute(&mut w.admin, "SELECT authz_clear_session()");
    is_nobody(&mut w.admin);
}

#[test]
fn take_the_principal_of_a_role_that_did_not_log_in() {
    let mut w = world();
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{}' WHERE principal_id = '{}'; GRANT {} TO {}",
            w.role,
            id("alice"),
            w.role,
            w.app
        ),
    );
    let mut c = w.role();
    is(&mut c, "alice");
    execute(&mut c, "BEGIN READ ONLY");
    is(&mut c, "alice");
    execute(&mut c, "COMMIT");

    let mut c = w.app();
    is_nobody(&mut c);
    execute(&mut c, &format!("SET ROLE {}", w.role));
    is_nobody(&mut c);
    execute(&mut c, "RESET ROLE");
    execute(&mut w.admin, &format!("SET ROLE {}", w.role));
    is_nobody(&mut w.admin);
    execute(
        &mut w.admin,
        &format!("RESET ROLE; SET SESSION AUTHORIZATION {}", w.role),
    );
    is_nobody(&mut w.admin);
    execute(&mut w.admin, "RESET SESSION AUTHORIZATION");

    // A function of the bound role that runs with its rights does not run as its principal.
    execute(&mut w.admin, &format!("CREATE SCHEMA mine AUTHORIZATION {}", w.role));
    let mut owner = w.role();
    execute(
        &mut owner,
        &format!(
            "CREATE FUNCTION mine.who() RETURNS uuid LANGUAGE sql SECURITY DEFINER AS $$ SELECT public.authz_principal() $$;
             GRANT USAGE ON SCHEMA mine TO {}", w.app),
    );
    let who: Option<Uuid> = value(&mut c, "SELECT mine.who()", &[]);
    assert_eq!(who, None);
}

#[test]
fn a_session_takes_the_place_of_the_login_roles_principal() {
    let mut w = world();
    let bind = |role: &str, name: &str| {
        format!(
            "UPDATE authz.principal SET db_role = {role} WHERE principal_id = '{}'",
            id(name)
        )
    };
    execute(&mut w.admin, &bind(&format!("'{}'", w.app), "alice"));
    let mut c = w.app();
    is(&mut c, "alice");
    execute(&mut c, &format!("BEGIN; {}", set("bob", true)));
    is(&mut c, "bob");
    execute(&mut c, "COMMIT");
    is(&mut c, "alice");
    // Bindings change under running sessions.
    execute(&mut w.admin, &bind("NULL", "alice"));
    is_nobody(&mut c);
    execute(&mut w.admin, &bind(&format!("'{}'", w.app), "bob"));
    is(&mut c, "bob");
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET status = 'suspended' WHERE principal_id = '{}'",
            id("bob")
        ),
    );
    assert!(!may_view(&mut c, "affair"));
}

#[test]
fn a_role_of_nearly_the_same_name_has_no_part_in_it() {
    let mut w = world();
    let long = "n".repeat(63);
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{}' WHERE principal_id = '{}'",
            w.role.to_uppercase(),
            id("alice")
        ),
    );
    is_nobody(&mut w.role());
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{} ' WHERE principal_id = '{}'",
            w.role,
            id("alice")
        ),
    );
    is_nobody(&mut w.role());
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{long}x' WHERE principal_id = '{}'",
            id("alice")
        ),
    );
    is_nobody(&mut w.role());
}

// == Prepared statements, cursors =========================================================================

#[test]
fn reuse_a_prepared_statement_and_its_generic_plan_under_another_identity() {
    let w = world();
    let mut c = w.app();
    for mode in ["auto", "force_generic_plan", "force_custom_plan"] {
        execute(&mut c, &format!("SET plan_cache_mode = {mode}"));
        let by_key = c.prepare("SELECT authz_can('case.view', $1::uuid)").unwrap();
        let constant = c
            .prepare(&format!(
                "SELECT authz_can('case.view', '{}'::uuid), authz_principal()",
                id("affair")
            ))
            .unwrap();
        for round in 0..12 {
            let name = ["alice", "bob", "carol"][round % 3];
            execute(&mut c, &format!("BEGIN; {}", set(name, true)));
            let can: bool = c.query_one(&by_key, &[&id("affair")]).unwrap().get(0);
            let row = c.query_one(&constant, &[]).unwrap();
            assert_eq!(
                (can, row.get(0), row.get(1)),
                (name != "bob", name != "bob", Some(id(name))),
                "{mode}, {round}"
            );
            execute(&mut c, "COMMIT");
            let row = c.query_one(&constant, &[]).unwrap();
            assert_eq!(
                (row.get(0), row.get(1)),
                (false, None::<Uuid>),
                "{mode}, {round}: after the transaction"
            );
        }
    }
}

#[test]
fn keep_an_identity_in_a_cached_plan_of_plpgsql() {
    let mut w = world();
    execute(
        &mut w.admin,
        &format!(
            "CREATE FUNCTION public.asks() RETURNS boolean LANGUAGE plpgsql AS
             $$ DECLARE answer boolean; BEGIN SELECT authz_can('case.view', '{}'::uuid) INTO answer; RETURN answer; END $$",
            id("affair")
        ),
    );
    let mut c = w.app();
    for round in 0..12 {
        let name = ["alice", "bob"][round % 2];
        execute(&mut c, &set(name, false));
        let can: bool = value(&mut c, "SELECT public.asks()", &[]);
        assert_eq!(can, name == "alice", "round {round}");
    }
}

// == A session's tenant ===================================================================================

#[test]
fn a_session_that_names_a_tenant_sees_that_tenant_only() {
    let w = world();
    let mut c = w.app();
    let seen = |c: &mut Client, tenant: &str| -> (bool, bool) {
        execute(
            c,
            &format!("BEGIN; SELECT authz_set_session('{}', {tenant})", id("carol")),
        );
        let seen = (may_view(c, "affair"), may_view(c, "deal"));
        let named: Option<Uuid> = value(c, "SELECT authz_tenant()", &[]);
        assert_eq!(named.map_or("NULL".to_owned(), |t| format!("'{t}'")), tenant);
        // The same by keys as text.
        let text: bool = value(c, "SELECT authz_can('case.view', $1::uuid::text)", &[&id("deal")]);
        assert_eq!(text, seen.1);
        execute(c, "COMMIT");
        seen
    };
    assert_eq!(seen(&mut c, "NULL"), (true, true));
    assert_eq!(seen(&mut c, &format!("'{}'", id("acme"))), (true, false));
    assert_eq!(seen(&mut c, &format!("'{}'", id("globex"))), (false, true));
    assert_eq!(seen(&mut c, &format!("'{}'", id("elsewhere"))), (false, false));
}

#[test]
fn a_tenant_gives_nothing_to_those_who_are_no_members() {
    let w = world();
    let mut c = w.app();
    execute(
        &mut c,
        &format!(
            "SELECT authz_set_session('{}', '{}', is_local => false)",
            id("alice"),
            id("globex")
        ),
    );
    assert!(!may_view(&mut c, "deal") && !may_view(&mut c, "affair"));
    execute(
        &mut c,
        &format!(
            "SELECT authz_set_session('{}', '{}', is_local => false)",
            id("alice"),
            id("acme")
        ),
    );
    assert!(!may_view(&mut c, "deal") && may_view(&mut c, "affair"));
}

// == Tokens ===============================================================================================

const ISSUER: &str = "https://id.example.org/";
const AUDIENCE: &str = "casework";

/// A key for tests alone (ring makes keys of the other kinds, but none for RSA): PKCS #8, 2048 bits.
const RSA_KEY: &str = "\
    MIIEvwIBADANBgkqhkiG9w0BAQEFAASCBKkwggSlAgEAAoIBAQCzYZ+BDZKijhJLWWrFkwjwctMcypI7kV2anDUOQKmkWru6\
    nKEjKglHX/LuGn2eN7Fhrq987zQkOQg4+73/PuAnH8Li4FB7mGmS2P5grfETdb3NNVcrrBOyOAS3iBxoL6WRCkJW7ZttT6nh\
    VG0rwgX+Q01m0tFtBjJnic1iIHradZv4On561ZLU/nEkBP1SotCrLW3yvyxm7sMiYVsa4tukQhyEn2FGPUJkZjGiV5ewLBH5\
    kU9f7v82lkQDgQaHjgVSxx9AefNpIA6f35MuCYorurgoP0hUSuxsGKQ3g7V3/SFZM8U5C/lEnQlUyBM/HbXNDknKlxc5ZQ35\
    bHUZl6+BAgMBAAECggEAB2AHpVAwC7Pop6VtAOOLNguah3ACtCVFYnJysfvRnbrHRiRjcaUsTX1x6P041fT3O4tplqrlC2o2\
    3tTm2mQ05hbltdtAI9y/1nRKfSIZq9Gm9JVxWI/SHX01IHCdrmDrHzv7P0S0o7lnRCbq+CYZhfsxZv1a8+8RynT9dz/bnTiw\
    CmcOM6u0NuT8BndUQ/2RN68jLvfiINf8qP5vMlzOFI70vGoSV1saOttOw9tq2QjY6a71IQJoZW0x9ycN/K3jMydtp6A+3KvZ\
    Lyy4wK4J1Afat4SVriezDc28b1nR7l4yV/stApWlsI3BV0vz7Ub/uFarxEE7X1DWBZnCd4d3+QKBgQDWvErdfywdj7G5ksQW\
    TkOSQi4xILvuJeP9aDxAALR2YnFw3HOG6ecZyd115eqENc7MaJFrcszdncJq7v/qKeGbo7fmTL5VfbLdn/rdCOtPnjSQUdXT\
    lo2d1FYfxh+EXiMoAJ/e+VIcf+mZaPmfk+IColI67XDn8QvrQPpDIusAnQKBgQDV2h2mhQFmM9jEWchQlqc9h/vISFbXYs59\
    PNHob0LT6EQsNy1ZTHm7KGzujMMWMLbenzcz+Vah374Z8BEVK6nb7WuWuFy0ZaKBO2CoI/9x+8+3T/JL9bX4tHjpJL4vd811\
    1moYuJv0yVBmpyKPfAVnINELf4TA4N1CmhBs12AbNQKBgQDJTGHyGdFFNPsqN4dSUbPOW/PpYgJKUYLUfu5cIU0K3WXyovY5\
    tvNJnY7ZgtrBbZ+axzvrOgcKiWVD0SBeZzxzJpqybabPhbIzSFFm+4F7dZdY4x5L54qCNhc2WggZkhXq3gsAf0CWLuLRSTMY\
    gQ0R4xCq5QM+qxy9QIBah1U9kQKBgQCOi0jgSh/YpA6FMuNW9FSdqxqlMbLQ9sd0qymvqRn+bf+jCVRtBZDOs++IQsN28xmx\
    4qbFOhoI5D6uw1pfpi8erW7dlB4XEPf09ENFUFlg/NxD8EItZ6bYFFPT8+3hbhXByh4GRGeQDvBMvHNI+P4Q88rjwygV+M0D\
    K/Zu1lD1UQKBgQCEnUMGAtjhqoWfwOJq3XNmeMYRrY40FOPVv5FCx0gaU4mGkqKXRXjnO/hG99pz0M0Ez5WLB/P7/yzpowR7\
    M1/sadogioMbJ+5LO7T58XI87bMsncI0HszDXKJzayTHYl11LKy/Z/Z4ge9C3ORGZwRSdDtNLHPFRaZt+v1ufzI91Q==";

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A DER element.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        n @ 0..=127 => out.push(n as u8),
        n => out.extend([0x82, (n >> 8) as u8, n as u8]),
    }
    out.extend_from_slice(content);
    out
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|i| &text[i..text.len().min(i + 64)])
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

const OID_ED25519: &[u8] = &[0x06, 3, 0x2b, 0x65, 0x70];
const OID_EC: &[u8] = &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const OID_P256: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const OID_RSA: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const NULL: &[u8] = &[0x05, 0];

/// A public key in PEM, of an algorithm (its OID and parameters) and the key's own bytes.
fn public_pem(algorithm: &[&[u8]], key: &[u8]) -> String {
    let bits = [&[0][..], key].concat();
    pem(
        "PUBLIC KEY",
        &der(0x30, &[der(0x30, &algorithm.concat()), der(0x03, &bits)].concat()),
    )
}

fn rsa_public(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let unsigned = |n: &[u8]| der(0x02, &[&[0][..], n].concat());
    let unsigned = |n: &[u8]| if n[0] & 0x80 == 0 { der(0x02, n) } else { unsigned(n) };
    der(0x30, &[unsigned(modulus), unsigned(exponent)].concat())
}

/// PKCS #1 has the modulus first: the public key is SEQUENCE { INTEGER, INTEGER }, both lengths in three bytes.
fn modulus_of(pair: &RsaKeyPair) -> Vec<u8> {
    let public = pair.public().as_ref();
    public[9..9 + pair.public().modulus_len()].to_vec()
}

enum Pair {
    EdDsa(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
    Rs256(Box<RsaKeyPair>),
    Hs256(Vec<u8>),
}

/// An identity provider's key.
struct Signer {
    kid: String,
    pair: Pair,
}

impl Signer {
    fn new(kid: &str, pair: Pair) -> Signer {
        Signer {
            kid: kid.to_owned(),
            pair,
        }
    }

    fn ed25519(kid: &str) -> Signer {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Signer::new(kid, Pair::EdDsa(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()))
    }

    fn es256(kid: &str) -> Signer {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Signer::new(
            kid,
            Pair::Es256(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()),
        )
    }

    fn rs256(kid: &str) -> Signer {
        let pkcs8 = STANDARD.decode(RSA_KEY).unwrap();
        Signer::new(kid, Pair::Rs256(Box::new(RsaKeyPair::from_pkcs8(&pkcs8).unwrap())))
    }

    fn hs256(kid: &str) -> Signer {
        Signer::new(kid, Pair::Hs256(rand::random::<[u8; 32]>().to_vec()))
    }

    fn all() -> [Signer; 4] {
        [
            Signer::ed25519("ed"),
            Signer::es256("es"),
            Signer::rs256("rs"),
            Signer::hs256("hs"),
        ]
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::EdDsa(_) => "EdDSA",
            Pair::Es256(_) => "ES256",
            Pair::Rs256(_) => "RS256",
            Pair::Hs256(_) => "HS256",
        }
    }

    fn public_key(&self) -> Option<String> {
        match &self.pair {
            Pair::EdDsa(pair) => Some(public_pem(&[OID_ED25519], pair.public_key().as_ref())),
            Pair::Es256(pair) => Some(public_pem(&[OID_EC, OID_P256], pair.public_key().as_ref())),
            Pair::Rs256(pair) => Some(public_pem(&[OID_RSA, NULL], pair.public_key().as_ref())),
            Pair::Hs256(_) => None,
        }
    }

    fn secret(&self) -> Option<&[u8]> {
        match &self.pair {
            Pair::Hs256(secret) => Some(secret),
            _ => None,
        }
    }

    fn register(&self, c: &mut Client) -> Uuid {
        self.register_for(c, ISSUER, AUDIENCE)
    }

    fn register_for(&self, c: &mut Client, issuer: &str, audience: &str) -> Uuid {
        value(
            c,
            "INSERT INTO authz.signing_key (kid, issuer, audience, algorithm, public_key, secret)
             VALUES ($1, $2, $3, $4, $5, $6) RETURNING key_id",
            &[
                &self.kid,
                &issuer,
                &audience,
                &self.algorithm(),
                &self.public_key(),
                &self.secret(),
            ],
        )
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Es256(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(
                    &ring::signature::RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .unwrap();
                signature
            }
            Pair::Hs256(secret) => hmac(secret, message),
        }
    }

    /// A token with exactly this header and payload.
    fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", b64(header), b64(payload));
        format!("{message}.{}", b64(self.signature(message.as_bytes())))
    }

    fn header(&self) -> Value {
        json!({"alg": self.algorithm(), "kid": self.kid, "typ": "JWT"})
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }
}

fn hmac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret), message)
        .as_ref()
        .to_vec()
}

fn claims(sub: &str) -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": sub, "exp": now() + 600})
}

/// The claims with some of them changed (or taken away, where they become null).
fn changed(changes: Value) -> Value {
    let mut claims = claims("alice");
    for (claim, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(claim),
            value => claims.as_object_mut().unwrap().insert(claim.clone(), value.clone()),
        };
    }
    claims
}

/// Tries to begin a lasting session.
fn begin(c: &mut Client, token: &str) -> Result<(), postgres::Error> {
    c.execute("SELECT authz_set_session_token($1, false)", &[&token])
        .map(|_| ())
}

/// The token is refused, in the only words that there are for it.
#[track_caller]
fn is_bad(c: &mut Client, what: &str, token: &str) {
    execute(c, "SELECT authz_clear_session()");
    let Err(error) = begin(c, token) else {
        panic!("accepted: {what}: {token}")
    };
    let e = error.as_db_error().unwrap_or_else(|| panic!("{what}: {error}"));
    let said = (e.code().code(), e.message(), e.detail(), e.hint(), e.where_());
    assert_eq!(
        said,
        (
            "28000",
            "bad or expired session token",
            Some("The token begins no session."),
            Some("Get a new token. The server's log says what is wrong with this one."),
            None
        ),
        "{what}"
    );
    assert_eq!(principal(c), None, "{what}: there is a session");
}

#[track_caller]
fn is_good(c: &mut Client, what: &str, token: &str) {
    execute(c, "SELECT authz_clear_session()");
    if let Err(e) = begin(c, token) {
        panic!("{what}: {}", report(&e));
    }
}

#[test]
fn a_token_of_each_algorithm_begins_the_session_of_its_subject() {
    let mut w = world();
    let mut c = w.role();
    for signer in Signer::all() {
        signer.register(&mut w.admin);
        // By the id of the principal, and by its id at the identity provider.
        is_good(
            &mut c,
            signer.algorithm(),
            &signer.token(&claims(&id("alice").to_string())),
        );
        is(&mut c, "alice");
        is_good(&mut c, signer.algorithm(), &signer.token(&claims("bob")));
        is(&mut c, "bob");
    }
    // Local is the default.
    let token = Signer::ed25519("k2");
    token.register(&mut w.admin);
    execute(&mut c, "SELECT authz_clear_session(); BEGIN");
    c.execute("SELECT authz_set_session_token($1)", &[&token.token(&claims("alice"))])
        .unwrap();
    is(&mut c, "alice");
    execute(&mut c, "COMMIT");
    is_nobody(&mut c);
}

#[test]
fn what_a_token_says_becomes_the_session() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let mut c = w.role();
    let iat = now();
    let full = changed(
        json!({"tenant": id("acme"), "jti": "j1", "iat": iat, "amr": ["pwd", "mfa"],
                              "context": {"request_id": "r1", "token": "forged", "mfa": false}}),
    );
    is_good(&mut c, "full", &signer.token(&full));
    let (tenant, context): (Option<Uuid>, Value) = {
        let row = c.query_one("SELECT authz_tenant(), authz_context()", &[]).unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!(tenant, Some(id("acme")));
    assert_eq!(
        context,
        json!({"request_id": "r1", "mfa": true,
               "token": {"iss": ISSUER, "sub": "alice", "jti": "j1", "iat": iat, "exp": full["exp"]}})
    );
    for (what, changes, mfa) in [
        ("no amr", json!({}), Value::Null),
        ("amr without mfa", json!({"amr": ["pwd", "otp"]}), Value::Null),
        ("amr that is no list", json!({"amr": "mfa"}), Value::Null),
        ("signed context", json!({"context": {"mfa": true}}), json!(true)),
        (
            "signed context that is no boolean",
            json!({"context": {"mfa": "true"}}),
            json!("true"),
        ),
    ] {
        is_good(&mut c, what, &signer.token(&changed(changes)));
        let context: Value = value(&mut c, "SELECT authz_context()", &[]);
        assert_eq!(context["mfa"], mfa, "{what}");
    }
    for (what, changes) in [
        ("tenant_id", json!({"tenant_id": id("acme")})),
        (
            "both",
            json!({"tenant_id": id("acme"), "tenant": id("acme").to_string().to_uppercase()}),
        ),
        ("audience in a list", json!({"aud": ["other", AUDIENCE]})),
        (
            "times with fractions",
            json!({"exp": now() as f64 + 600.5, "nbf": now() as f64 - 0.5, "iat": 1.5e9}),
        ),
    ] {
        is_good(&mut c, what, &signer.token(&changed(changes)));
        is(&mut c, "alice");
    }
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        let header = json!({"alg": "EdDSA", "kid": "k", "typ": typ}).to_string();
        is_good(&mut c, typ, &signer.sign(&header, &claims("alice").to_string()));
    }
    let header = json!({"alg": "EdDSA", "kid": "k"}).to_string();
    is_good(&mut c, "no typ", &signer.sign(&header, &claims("alice").to_string()));
}

#[test]
fn a_tokens_tenant_is_all_that_its_session_sees() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let mut c = w.role();
    for (tenant, affair, deal) in [
        (Value::Null, true, true),
        (json!(id("acme")), true, false),
        (json!(id("globex")), false, true),
    ] {
        is_good(
            &mut c,
            "carol",
            &signer.token(&changed(json!({"sub": "carol", "tenant": tenant}))),
        );
        assert_eq!(
            (may_view(&mut c, "affair"), may_view(&mut c, "deal")),
            (affair, deal),
            "{tenant}"
        );
    }
}

#[test]
fn a_token_that_was_put_together_wrongly() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let mut c = w.role();
    let good = signer.token(&claims("alice"));
    is_good(&mut c, "good", &good);
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!()
    };
    let cases = [
        ("empty", String::new()),
        ("one part", header.to_owned()),
        ("without a signature", format!("{header}.{payload}")),
        ("with an empty signature", format!("{header}.{payload}.")),
        ("four parts", format!("{good}.{signature}")),
        (
            "five parts, as if encrypted",
            format!("{header}.{payload}.{signature}.x.y"),
        ),
        ("only dots", "..".to_owned()),
        ("not base64url", format!("{header}.{payload}.!{}", &signature[1..])),
        ("base64 with padding", {
            let message = format!(
                "{}.{}",
                URL_SAFE.encode(signer.header().to_string()),
                URL_SAFE.encode(claims("alice").to_string())
            );
            format!("{message}.{}", URL_SAFE.encode(signer.signature(message.as_bytes())))
        }),
        ("a space before it", format!(" {good}")),
        ("a newline after it", format!("{good}\n")),
        ("Bearer before it", format!("Bearer {good}")),
        (
            "a header that is no JSON",
            signer.sign("{", &claims("alice").to_string()),
        ),
        (
            "a header that is no object",
            signer.sign("[]", &claims("alice").to_string()),
        ),
        (
            "a payload that is no object",
            signer.sign(&signer.header().to_string(), "\"alice\""),
        ),
        ("a payload that is not UTF-8", {
            let message = format!("{header}.{}", b64(b"{\"sub\":\"\xff\"}"));
            format!("{message}.{}", b64(signer.signature(message.as_bytes())))
        }),
        (
            "a payload that goes on",
            signer.sign(&signer.header().to_string(), &format!("{}{{}}", claims("alice"))),
        ),
        (
            "a payload nested without end",
            signer.sign(&signer.header().to_string(), &"[".repeat(4000)),
        ),
        (
            "crit",
            signer.sign(
                &json!({"alg": "EdDSA", "kid": "k", "crit": ["exp"]}).to_string(),
                &claims("alice").to_string(),
            ),
        ),
        (
            "a logout token",
            signer.sign(
                &json!({"alg": "EdDSA", "kid": "k", "typ": "logout+jwt"}).to_string(),
                &claims("alice").to_string(),
            ),
        ),
        (
            "a typ that is no text",
            signer.sign(
                &json!({"alg": "EdDSA", "kid": "k", "typ": 1}).to_string(),
                &claims("alice").to_string(),
            ),
        ),
        (
            "a kid that is no text",
            signer.sign(
                &json!({"alg": "EdDSA", "kid": 1}).to_string(),
                &claims("alice").to_string(),
            ),
        ),
        ("a megabyte", "x".repeat(1 << 20)),
    ];
    for (what, token) in &cases {
        is_bad(&mut c, what, token);
    }
    for length in (0..good.len()).step_by(7) {
        is_bad(&mut c, "truncated", &good[..length]);
    }
    // Well signed, but too long.
    let long = |n: usize| signer.token(&changed(json!({"context": {"x": "y".repeat(n)}})));
    is_good(&mut c, "nearly too long", &long(5000));
    is_bad(&mut c, "too long", &long(8000));
    is_bad(&mut c, "NULL", "");
    let Err(error) = c.execute("SELECT authz_set_session_token(NULL)", &[]) else {
        panic!("NULL is accepted")
    };
    assert_eq!(error.code().unwrap().code(), "28000");
    is_good(&mut c, "good", &good);
}

#[test]
fn a_token_that_somebody_else_signed_or_changed() {
    let mut w = world();
    let mut c = w.role();
    for signer in Signer::all() {
        signer.register(&mut w.admin);
        let good = signer.token(&claims("alice"));
        is_good(&mut c, signer.algorithm(), &good);
        let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else {
            panic!()
        };
        let other_claims = b64(claims("bob").to_string());
        is_bad(&mut c, "other claims", &format!("{header}.{other_claims}.{signature}"));
        let other_header = b64(json!({"alg": signer.algorithm(), "kid": signer.kid, "typ": "jwt"}).to_string());
        is_bad(
            &mut c,
            "another header",
            &format!("{other_header}.{payload}.{signature}"),
        );
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for n in [0, bytes.len() / 2, bytes.len() - 1] {
            bytes[n] ^= 1;
            is_bad(&mut c, "a flipped bit", &format!("{header}.{payload}.{}", b64(&bytes)));
            bytes[n] ^= 1;
        }
        is_bad(
            &mut c,
            "zeros",
            &format!("{header}.{payload}.{}", b64(vec![0; bytes.len()])),
        );
        is_bad(
            &mut c,
            "a longer signature",
            &format!("{header}.{payload}.{}", b64([&bytes[..], &[0]].concat())),
        );
        is_bad(
            &mut c,
            "a shorter signature",
            &format!("{header}.{payload}.{}", b64(&bytes[1..])),
        );
    }
    for stranger in [Signer::ed25519("ed"), Signer::es256("es"), Signer::hs256("hs")] {
        is_bad(
            &mut c,
            "a stranger's key under a known kid",
            &stranger.token(&claims("alice")),
        );
    }
}

#[test]
fn confuse_the_algorithm() {
    let mut w = world();
    let signers = Signer::all();
    for signer in &signers {
        signer.register(&mut w.admin);
    }
    let mut c = w.role();
    let payload = claims("alice").to_string();
    for signer in &signers {
        for alg in ["none", "None", "NONE", "nOnE", "", "null"] {
            let header = json!({"alg": alg, "kid": signer.kid}).to_string();
            is_bad(&mut c, alg, &format!("{}.{}.", b64(&header), b64(&payload)));
            is_bad(&mut c, alg, &signer.sign(&header, &payload));
        }
        for header in [
            json!({"kid": signer.kid}),
            json!({"alg": null, "kid": signer.kid}),
            json!({"alg": ["EdDSA"], "kid": signer.kid}),
        ] {
            is_bad(&mut c, "no alg", &signer.sign(&header.to_string(), &payload));
        }
        // A public key is public: used as a shared secret, everybody could sign.
        if let Some(public) = signer.public_key() {
            let header = json!({"alg": "HS256", "kid": signer.kid}).to_string();
            let message = format!("{}.{}", b64(&header), b64(&payload));
            let der = STANDARD
                .decode(public.lines().filter(|l| !l.starts_with('-')).collect::<String>())
                .unwrap();
            for secret in [public.as_bytes(), public.trim_end().as_bytes(), &der] {
                let token = format!("{message}.{}", b64(hmac(secret, message.as_bytes())));
                is_bad(&mut c, "a public key as shared secret", &token);
            }
        }
        // Each key under the name of each other one's algorithm.
        for other in &signers {
            if other.algorithm() != signer.algorithm() {
                let header = json!({"alg": other.algorithm(), "kid": signer.kid}).to_string();
                is_bad(&mut c, "the algorithm of another key", &signer.sign(&header, &payload));
                is_bad(&mut c, "the key of another kid", &other.sign(&header, &payload));
                let header = json!({"alg": signer.algorithm(), "kid": other.kid}).to_string();
                is_bad(&mut c, "the kid of another key", &signer.sign(&header, &payload));
            }
        }
    }
    for (signer, algs) in [
        (&signers[2], ["RS384", "RS512", "PS256"]),
        (&signers[3], ["HS384", "HS512", "hs256"]),
        (&signers[1], ["ES384", "ES256K", "EdDSA"]),
    ] {
        for alg in algs {
            is_bad(
                &mut c,
                alg,
                &signer.sign(&json!({"alg": alg, "kid": signer.kid}).to_string(), &payload),
            );
        }
    }
    // A key that the token itself brings along.
    let stranger = Signer::ed25519("ed");
    let Pair::EdDsa(pair) = &stranger.pair else { panic!() };
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key())});
    for extra in [
        json!({"jwk": jwk}),
        json!({"jku": "https://evil.example/jwks"}),
        json!({"x5u": "https://evil.example/"}),
    ] {
        let mut header = stranger.header();
        header
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        is_bad(&mut c, "its own key", &stranger.sign(&header.to_string(), &payload));
    }
}

#[test]
fn a_token_that_is_not_for_us_or_not_from_them() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let elsewhere = Signer::ed25519("k");
    elsewhere.register_for(&mut w.admin, "https://other.example.org/", AUDIENCE);
    let billing = Signer::ed25519("billing");
    billing.register_for(&mut w.admin, ISSUER, "billing");
    let mut c = w.role();
    is_good(&mut c, "good", &signer.token(&claims("alice")));
    for (what, changes) in [
        ("no aud", json!({"aud": null})),
        ("another aud", json!({"aud": "billing"})),
        ("an aud in capitals", json!({"aud": "Casework"})),
        ("an aud that begins like ours", json!({"aud": "casework2"})),
        ("an empty aud", json!({"aud": ""})),
        ("an empty list as aud", json!({"aud": []})),
        ("a list as aud without us", json!({"aud": ["a", "b"]})),
        ("a list of lists as aud", json!({"aud": [[AUDIENCE]]})),
        ("an object as aud", json!({"aud": {AUDIENCE: true}})),
        ("no iss", json!({"iss": null})),
        ("another iss", json!({"iss": "https://evil.example.org/"})),
        ("an iss without its slash", json!({"iss": "https://id.example.org"})),
        ("a list as iss", json!({"iss": [ISSUER]})),
        (
            "another registered iss, whose key has the same kid",
            json!({"iss": "https://other.example.org/"}),
        ),
    ] {
        is_bad(&mut c, what, &signer.token(&changed(changes)));
    }
    is_bad(
        &mut c,
        "a key of the issuer for another audience",
        &billing.token(&claims("alice")),
    );
    is_bad(&mut c, "a key of another issuer", &elsewhere.token(&claims("alice")));
    let issuer = json!({"iss": "https://other.example.org/"});
    is_good(&mut c, "the other issuer's own", &elsewhere.token(&changed(issuer)));
}

#[test]
fn a_token_at_the_wrong_time() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let mut c = w.role();
    for (what, changes) in [
        ("expired", json!({"exp": now() - 40})),
        ("expired long ago", json!({"exp": 0})),
        ("expired before 1970", json!({"exp": -1e30})),
        ("without exp", json!({"exp": null})),
        ("with an exp that is text", json!({"exp": (now() + 600).to_string()})),
        ("with an exp that is a list", json!({"exp": [now() + 600]})),
        ("with an exp that is true", json!({"exp": true})),
        ("not yet valid", json!({"nbf": now() + 40})),
        ("never valid", json!({"nbf": 1e300})),
        ("with an nbf that is text", json!({"nbf": "0"})),
        ("issued in the future", json!({"iat": now() + 40})),
        ("with an iat that is text", json!({"iat": "0"})),
    ] {
        is_bad(&mut c, what, &signer.token(&changed(changes)));
    }
    for number in ["1e999", "-1e999", "0x7fffffff", "null", "1e"] {
        let payload = claims("alice")
            .to_string()
            .replacen("\"exp\":", &format!("\"exp\":{number},\"x\":"), 1);
        is_bad(&mut c, number, &signer.sign(&signer.header().to_string(), &payload));
    }
    // Clocks differ: authz.token_leeway, 30 seconds.
    for (what, changes) in [
        ("just expired", json!({"exp": now() - 20})),
        ("just not valid", json!({"nbf": now() + 20, "iat": now() + 20})),
        ("never expires", json!({"exp": 1e18})),
        ("never expires, in all digits", json!({"exp": u64::MAX})),
    ] {
        is_good(&mut c, what, &signer.token(&changed(changes)));
        is(&mut c, "alice");
    }
    load(&mut w.admin);
    execute(
        &mut w.admin,
        &format!("ALTER ROLE {} SET authz.token_leeway = 0", w.role),
    );
    let mut strict = w.role();
    is_bad(
        &mut strict,
        "just expired",
        &signer.token(&changed(json!({"exp": now() - 3}))),
    );
    is_bad(
        &mut strict,
        "just not valid",
        &signer.token(&changed(json!({"nbf": now() + 10}))),
    );
    is_good(&mut strict, "good", &signer.token(&claims("alice")));
    execute(
        &mut w.admin,
        &format!("ALTER ROLE {} SET authz.token_max_age = '1min'", w.role),
    );
    let mut aged = w.role();
    is_bad(&mut aged, "without iat", &signer.token(&claims("alice")));
    is_bad(
        &mut aged,
        "too old",
        &signer.token(&changed(json!({"iat": now() - 70}))),
    );
    is_good(&mut aged, "young", &signer.token(&changed(json!({"iat": now() - 5}))));
}

#[test]
fn a_token_with_members_that_are_there_twice() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let mut c = w.role();
    let (header, payload) = (signer.header().to_string(), claims("bob").to_string());
    let with = |more: &str| format!("{{{more},{}", &payload[1..]);
    is_good(&mut c, "once", &signer.sign(&header, &with("\"extra\":1")));
    for more in [
        "\"sub\":\"alice\"",
        "\"s\\u0075b\":\"alice\"",
        "\"exp\":9999999999",
        "\"iss\":\"x\"",
        "\"x\":1,\"x\":1",
        "\"context\":{\"mfa\":true,\"mfa\":false}",
        "\"context\":{\"a\":[{\"b\":1,\"b\":2}]}",
        "\"x\\u0000\":1",
        "\"context\":{\"x\":\"\\u0000\"}",
    ] {
        is_bad(&mut c, more, &signer.sign(&header, &with(more)));
    }
    for more in ["\"alg\":\"EdDSA\"", "\"kid\":\"k\"", "\"x\":1,\"x\":2"] {
        is_bad(
            &mut c,
            more,
            &signer.sign(&format!("{{{more},{}", &header[1..]), &payload),
        );
    }
}

#[test]
fn a_token_whose_claims_make_no_session() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let mut c = w.role();
    for (what, changes) in [
        ("no sub", json!({"sub": null})),
        ("an empty sub", json!({"sub": ""})),
        ("a number as sub", json!({"sub": 1})),
        ("an unknown sub", json!({"sub": "mallory"})),
        ("an unknown uuid as sub", json!({"sub": id("mallory")})),
        ("a sub in capitals", json!({"sub": "Alice"})),
        ("a sub with a space", json!({"sub": "alice "})),
        ("a tenant that is no uuid", json!({"tenant": "acme"})),
        ("an empty tenant", json!({"tenant": ""})),
        ("a list as tenant", json!({"tenant": [id("acme")]})),
        ("a tenant_id that is no uuid", json!({"tenant_id": 1})),
        ("two tenants", json!({"tenant": id("acme"), "tenant_id": id("globex")})),
        ("a context that is no object", json!({"context": [1]})),
    ] {
        is_bad(&mut c, what, &signer.token(&changed(changes)));
    }
    // What is there but null must not count as absent: it would see every tenant.
    for claim in ["tenant", "tenant_id", "context", "nbf", "iat"] {
        let mut claims = claims("alice");
        claims[claim] = Value::Null;
        is_bad(&mut c, claim, &signer.token(&claims));
    }
}

#[test]
fn a_subject_that_is_the_id_of_one_and_the_external_id_of_another_is_nobody() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let mut c = w.role();
    let insert = "INSERT INTO authz.principal (principal_id, external_id) VALUES ($1, $2)";
    let alice = id("alice").to_string();
    is_good(&mut c, "before", &signer.token(&claims(&alice)));
    w.admin.execute(insert, &[&id("mallory"), &alice]).unwrap();
    is_bad(&mut c, "two principals", &signer.token(&claims(&alice)));
    is_good(&mut c, "by external id", &signer.token(&claims("alice")));
    // One's own id as external id is no second one.
    w.admin
        .execute(insert, &[&id("dave"), &id("dave").to_string()])
        .unwrap();
    is_good(
        &mut c,
        "the same principal twice",
        &signer.token(&claims(&id("dave").to_string())),
    );
    assert_eq!(principal(&mut c), Some(id("dave")));
}

#[test]
fn rotation_of_keys() {
    let mut w = world();
    let (old, new) = (Signer::ed25519("2026-1"), Signer::es256("2026-2"));
    let old_row = old.register(&mut w.admin);
    let mut c = w.role();
    let by = |signer: &Signer| signer.token(&claims("alice"));
    let without_kid = |signer: &Signer| {
        signer.sign(
            &json!({"alg": signer.algorithm()}).to_string(),
            &claims("alice").to_string(),
        )
    };
    is_good(&mut c, "old", &by(&old));
    is_good(&mut c, "old, the only key, without its name", &without_kid(&old));
    is_bad(&mut c, "new, not registered yet", &by(&new));
    // Announced: in force from later on.
    w.admin
        .execute(
            "INSERT INTO authz.signing_key (kid, issuer, audience, algorithm, public_key, valid_from)
             VALUES ('2026-2', $1, $2, 'ES256', $3, now() + interval '1 hour')",
            &[&ISSUER, &AUDIENCE, &Signer::es256("x").public_key()],
        )
        .unwrap();
    is_bad(&mut c, "a key that is not in force yet", &by(&new));
    refused(
        &mut w.admin,
        &format!(
            "INSERT INTO authz.signing_key (kid, issuer, audience, algorithm, public_key) VALUES ('2026-2', '{ISSUER}', '{AUDIENCE}', 'ES256', '{}')",
            new.public_key().unwrap()
        ),
        "23505",
        &[],
    );
    execute(
        &mut w.admin,
        "UPDATE authz.signing_key SET valid_until = valid_from WHERE kid = '2026-2'",
    );
    new.register(&mut w.admin);
    is_good(&mut c, "new", &by(&new));
    is_good(&mut c, "old, while both are in force", &by(&old));
    is_good(
        &mut c,
        "without a name, but only one is for that algorithm",
        &without_kid(&old),
    );
    let third = Signer::ed25519("2026-3");
    third.register(&mut w.admin);
    is_bad(&mut c, "without a name, and two could be meant", &without_kid(&old));
    is_bad(&mut c, "without a name, and two could be meant", &without_kid(&third));
    w.admin
        .execute(
            "UPDATE authz.signing_key SET valid_until = statement_timestamp() WHERE key_id = $1",
            &[&old_row],
        )
        .unwrap();
    is_bad(&mut c, "old, retired", &by(&old));
    is_good(&mut c, "new", &by(&new));
    is_good(
        &mut c,
        "the only one left of its algorithm, without a name",
        &without_kid(&third),
    );
    // The same kid again, with another key: only what is in force counts.
    let again = Signer::ed25519("2026-1");
    again.register(&mut w.admin);
    is_good(&mut c, "the kid's new key", &by(&again));
    is_bad(&mut c, "the kid's old key", &by(&old));
}

#[test]
fn a_key_for_two_audiences() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register_for(&mut w.admin, ISSUER, "casework");
    signer.register_for(&mut w.admin, ISSUER, "reports");
    let mut c = w.role();
    for aud in [
        json!("casework"),
        json!("reports"),
        json!(["casework", "reports"]),
        json!(["x", "reports"]),
    ] {
        is_good(&mut c, "either", &signer.token(&changed(json!({"aud": aud}))));
    }
    is_bad(&mut c, "neither", &signer.token(&changed(json!({"aud": ["x", "y"]}))));
}

#[test]
fn a_key_is_seen_as_it_is_committed_by_sessions_that_are_open() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    let mut c = w.role();
    // Even an old snapshot sees the newest keys.
    execute(&mut c, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    signer.register(&mut w.admin);
    begin(&mut c, &signer.token(&claims("alice"))).unwrap();
    is(&mut c, "alice");
    execute(
        &mut w.admin,
        "UPDATE authz.signing_key SET valid_until = statement_timestamp()",
    );
    assert!(begin(&mut c, &signer.token(&claims("alice"))).is_err());
    execute(&mut c, "ROLLBACK");
    is_nobody(&mut c);
}

#[test]
fn outlive_the_token() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    load(&mut w.admin);
    // The login role has a principal of its own: whose session has expired must not become that one.
    execute(
        &mut w.admin,
        &format!(
            "ALTER ROLE {0} SET authz.token_leeway = 0;
             UPDATE authz.principal SET db_role = '{0}' WHERE principal_id = '{1}'",
            w.role,
            id("carol")
        ),
    );
    let (mut lasting, mut local) = (w.role(), w.role());
    is(&mut lasting, "carol");
    let token = signer.token(&changed(json!({"exp": now() + 4})));
    begin(&mut lasting, &token).unwrap();
    execute(&mut local, "BEGIN");
    local.execute("SELECT authz_set_session_token($1)", &[&token]).unwrap();
    is(&mut lasting, "alice");
    is(&mut local, "alice");
    let prepared = lasting
        .prepare(&format!("SELECT authz_can('case.view', '{}'::uuid)", id("affair")))
        .unwrap();
    std::thread::sleep(Duration::from_millis(4500));
    is_nobody(&mut lasting);
    is_nobody(&mut local);
    let can: bool = lasting.query_one(&prepared, &[]).unwrap().get(0);
    assert!(!can);
    scan_in_parallel(&mut lasting, 0);
    assert!(
        begin(&mut lasting, &token).is_err(),
        "the expired token is good once more"
    );
    is_nobody(&mut lasting);
    execute(&mut lasting, "SELECT authz_clear_session()");
    is(&mut lasting, "carol");
}

#[test]
fn a_session_ends_with_the_key_where_that_is_known_beforehand() {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    execute(
        &mut w.admin,
        "UPDATE authz.signing_key SET valid_until = statement_timestamp() + interval '2 seconds'",
    );
    let mut c = w.role();
    begin(&mut c, &signer.token(&claims("alice"))).unwrap();
    is(&mut c, "alice");
    std::thread::sleep(Duration::from_millis(2300));
    is_nobody(&mut c);
}

#[test]
fn a_bad_token_leaves_the_former_session_as_it_was() {
    let w = world();
    let mut c = w.app();
    execute(&mut c, &set("bob", false));
    assert!(begin(&mut c, "x").is_err());
    is(&mut c, "bob");
    execute(&mut c, &format!("BEGIN; {}; SAVEPOINT s", set("alice", true)));
    assert!(begin(&mut c, "x").is_err());
    execute(&mut c, "ROLLBACK TO s");
    is(&mut c, "alice");
    execute(&mut c, "ROLLBACK");
    is(&mut c, "bob");
}

#[test]
fn learn_why_a_token_is_bad() {
    let cluster = Cluster::start(&["log_min_messages = warning"]);
    let db = Db::on(&cluster.server, Start::Fixture);
    let mut admin = db.connect();
    fill(&mut admin);
    let signer = Signer::ed25519("k");
    signer.register(&mut admin);
    let role = db.role();
    let mut heard = Vec::new();
    {
        let notices = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let collected = notices.clone();
        let mut config = postgres::Config::new();
        config
            .host(&cluster.server.host)
            .port(cluster.server.port)
            .user(&role)
            .dbname(&db.name);
        config.options("-c client_min_messages=debug5");
        config.notice_callback(move |notice| collected.lock().unwrap().push(notice.message().to_owned()));
        let mut c = config.connect(NoTls).unwrap();
        let bad = [
            signer.token(&changed(json!({"exp": 1}))),
            signer.token(&changed(json!({"aud": "x"}))),
            signer.token(&changed(json!({"sub": "two\nlines"}))),
            signer.token(&changed(json!({"iss": format!("long{}", "g".repeat(5000))}))),
            Signer::ed25519("k").token(&claims("alice")),
            String::new(),
        ];
        let mut errors: Vec<String> = bad
            .iter()
            .map(|token| {
                let error = begin(&mut c, token).unwrap_err();
                // Everything in the message, with file and line.
                format!("{:?}", error.as_db_error().unwrap())
            })
            .collect();
        errors.dedup();
        assert_eq!(errors.len(), 1, "{errors:#?}");
        heard.append(&mut notices.lock().unwrap());
    }
    for word in ["refused", "expired", "aud", "kid", "signature"] {
        assert!(
            !heard.iter().any(|m| m.contains("token") && m.contains(word)),
            "the client hears {word:?}: {heard:#?}"
        );
    }
    let log = run(std::process::Command::new("cat").arg(format!("{}/log", cluster.server.host)));
    let said: Vec<&str> = log.lines().filter(|l| l.contains("session token refused: ")).collect();
    assert_eq!(said.len(), 6, "{log}");
    for (line, word) in said
        .iter()
        .zip(["expired", "aud", "two\\nlines", "ggg", "signature", "three parts"])
    {
        assert!(line.contains("LOG:") && line.contains(word), "{line}");
        assert!(line.len() < 600, "{line}");
    }
}

// == Keys =================================================================================================

#[test]
fn keys_that_no_token_could_be_checked_by_are_refused() {
    let mut w = world();
    let [ed, es, rs, _] = Signer::all();
    let pem_of = |s: &Signer| s.public_key().unwrap();
    let Pair::Es256(pair) = &es.pair else { panic!() };
    let point = pair.public_key().as_ref();
    let mut off_curve = point.to_vec();
    off_curve[64] ^= 1;
    let Pair::Rs256(rsa) = &rs.pair else { panic!() };
    let modulus = modulus_of(rsa);
    let rsa_pem = |modulus: &[u8], exponent: &[u8]| public_pem(&[OID_RSA, NULL], &rsa_public(modulus, exponent));
    let private = pem("PRIVATE KEY", &STANDARD.decode(RSA_KEY).unwrap());
    let none: Option<&[u8]> = None;
    let insert = "INSERT INTO authz.signing_key (kid, issuer, audience, algorithm, public_key, secret)
                  VALUES ('k', 'i', 'a', $1, $2, $3)";
    let ed_pem = pem_of(&ed);
    // What is wrong, algorithm, public_key, secret.
    type Case<'a> = (&'a str, &'a str, Option<String>, Option<&'a [u8]>);
    let cases: Vec<Case<'_>> = vec![
        ("an unknown algorithm", "none", Some(pem_of(&ed)), none),
        ("an algorithm in other letters", "eddsa", Some(pem_of(&ed)), none),
        ("an algorithm that is not offered", "RS512", Some(pem_of(&rs)), none),
        ("no key", "EdDSA", None, none),
        ("no secret", "HS256", None, none),
        ("a secret for a public algorithm", "EdDSA", None, Some(&[7; 32])),
        ("both", "EdDSA", Some(pem_of(&ed)), Some(&[7; 32])),
        ("both", "HS256", Some(pem_of(&ed)), Some(&[7; 32])),
        ("a public key for a shared secret", "HS256", Some(pem_of(&rs)), none),
        ("a public key as shared secret", "HS256", None, Some(ed_pem.as_bytes())),
        ("a short secret", "HS256", None, Some(&[7; 31])),
        ("an empty secret", "HS256", None, Some(&[])),
        ("not PEM", "EdDSA", Some("x".to_owned()), none),
        ("an empty key", "EdDSA", Some(String::new()), none),
        ("a private key", "RS256", Some(private), none),
        (
            "a certificate",
            "EdDSA",
            Some(pem_of(&ed).replace("PUBLIC KEY", "CERTIFICATE")),
            none,
        ),
        (
            "PEM of something else",
            "EdDSA",
            Some(pem("PUBLIC KEY", b"something else")),
            none,
        ),
        ("another algorithm's key", "EdDSA", Some(pem_of(&es)), none),
        ("another algorithm's key", "EdDSA", Some(pem_of(&rs)), none),
        ("another algorithm's key", "ES256", Some(pem_of(&ed)), none),
        ("another algorithm's key", "ES256", Some(pem_of(&rs)), none),
        ("another algorithm's key", "RS256", Some(pem_of(&ed)), none),
        ("another algorithm's key", "RS256", Some(pem_of(&es)), none),
        (
            "a short Ed25519 key",
            "EdDSA",
            Some(public_pem(&[OID_ED25519], &[7; 31])),
            none,
        ),
        (
            "a point off the curve",
            "ES256",
            Some(public_pem(&[OID_EC, OID_P256], &off_curve)),
            none,
        ),
        (
            "another curve",
            "ES256",
            Some(public_pem(&[OID_EC, &[0x06, 5, 0x2b, 0x81, 4, 0, 0x0a]], point)),
            none,
        ),
        ("no curve", "ES256", Some(public_pem(&[OID_EC], point)), none),
        ("1024 bits", "RS256", Some(rsa_pem(&modulus[..128], &[1, 0, 1])), none),
        (
            "16384 bits",
            "RS256",
            Some(rsa_pem(&modulus.repeat(8), &[1, 0, 1])),
            none,
        ),
        ("an exponent of 1", "RS256", Some(rsa_pem(&modulus, &[1])), none),
        ("an even exponent", "RS256", Some(rsa_pem(&modulus, &[1, 0, 0])), none),
    ];
    for (what, algorithm, public_key, secret) in cases {
        let error = w
            .admin
            .execute(insert, &[&algorithm, &public_key, &secret])
            .expect_err(what);
        let e = error.as_db_error().unwrap_or_else(|| panic!("{what}: {error}"));
        assert_eq!(e.code().code(), "22023", "{what}: {}", report(&error));
        assert!(e.hint().is_some() && e.detail().is_some(), "{what}: {}", report(&error));
    }
    for (column, code) in [("kid", "23514"), ("issuer", "23514"), ("audience", "23514")] {
        for (value, code) in [("''", code), ("NULL", "23502")] {
            let mut columns = [("kid", "'k'"), ("issuer", "'i'"), ("audience", "'a'")];
            columns.iter_mut().filter(|c| c.0 == column).for_each(|c| c.1 = value);
            let sql = format!(
                "INSERT INTO authz.signing_key (kid, issuer, audience, algorithm, public_key)
                 VALUES ({}, {}, {}, 'EdDSA', '{ed_pem}')",
                columns[0].1, columns[1].1, columns[2].1
            );
            refused(&mut w.admin, &sql, code, &[column]);
        }
    }
    // White space around a key is no fault.
    w.admin
        .execute(insert, &[&"EdDSA", &format!("\n  {}\n\n", ed_pem.trim()), &none])
        .unwrap();
}

#[test]
fn keys_are_closed_not_changed_or_deleted() {
    let mut w = world();
    Signer::ed25519("k").register(&mut w.admin);
    let other = Signer::ed25519("other").public_key().unwrap();
    refused_with_hint(&mut w.admin, "DELETE FROM authz.signing_key", "55000", &["signing_key"]);
    refused_with_hint(&mut w.admin, "TRUNCATE authz.signing_key", "55000", &["signing_key"]);
    for change in [
        format!("public_key = '{other}'"),
        "kid = 'x'".to_owned(),
        "issuer = 'x'".to_owned(),
        "audience = 'x'".to_owned(),
    ] {
        refused_with_hint(
            &mut w.admin,
            &format!("UPDATE authz.signing_key SET {change}"),
            "55000",
            &["signing_key"],
        );
    }
    execute(
        &mut w.admin,
        "UPDATE authz.signing_key SET valid_until = statement_timestamp()",
    );
    refused_with_hint(
        &mut w.admin,
        "UPDATE authz.signing_key SET valid_until = NULL",
        "55000",
        &["signing_key"],
    );
}

#[test]
fn read_or_plant_a_key_without_the_right_to() {
    let mut w = world();
    let signer = Signer::hs256("k");
    signer.register(&mut w.admin);
    for mut c in [w.role(), w.app()] {
        for sql in [
            "SELECT secret FROM authz.signing_key",
            "SELECT count(*) FROM authz.signing_key",
            "COPY authz.signing_key TO STDOUT",
            "INSERT INTO authz.signing_key (kid, issuer, audience, algorithm, secret) VALUES ('x', 'x', 'x', 'HS256', repeat('x', 32)::bytea)",
            "UPDATE authz.signing_key SET valid_until = NULL",
            "CREATE TRIGGER t BEFORE INSERT ON authz.signing_key EXECUTE FUNCTION authz.check_signing_key()",
        ] {
            refused(&mut c, sql, "42501", &[]);
        }
        // Tables and functions of the caller's own, in its own search path, are not what is read.
        execute(
            &mut c,
            "CREATE TEMP TABLE signing_key (kid text, issuer text, audience text, algorithm text, public_key text, secret bytea,
                                            active_from timestamptz, active_until timestamptz);
             CREATE TEMP TABLE principal (principal_id uuid, external_id text);
             SET search_path = pg_temp, authz, public",
        );
        let forged = Signer::hs256("forged");
        c.execute(
            "INSERT INTO pg_temp.signing_key VALUES ('forged', $1, $2, 'HS256', NULL, $3, '-infinity', 'infinity')",
            &[&ISSUER, &AUDIENCE, &forged.secret()],
        )
        .unwrap();
        is_bad(&mut c, "a temporary table", &forged.token(&claims("alice")));
        is_good(&mut c, "the real one", &signer.token(&claims("alice")));
    }
}

#[test]
fn keys_survive_dump_and_restore() {
    let mut w = world();
    let signers = Signer::all();
    for signer in &signers {
        signer.register(&mut w.admin);
    }
    execute(
        &mut w.admin,
        "UPDATE authz.signing_key SET valid_until = statement_timestamp() WHERE kid = 'hs'",
    );
    let dump = std::env::temp_dir().join(format!("{}.sql", w.db.name));
    run(w.db.command("pg_dump").arg("--file").arg(&dump));
    let restored = Db::with(Start::Empty);
    run(restored
        .command("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(&dump));
    std::fs::remove_file(&dump).unwrap();
    let mut c = restored.connect();
    for signer in &signers {
        let token = signer.token(&claims("alice"));
        if signer.kid == "hs" {
            is_bad(&mut c, "closed before", &token);
        } else {
            is_good(&mut c, signer.algorithm(), &token);
            is(&mut c, "alice");
        }
    }
}

#[test]
fn tokens_work_on_a_standby() {
    let primary = Cluster::start(&[]);
    let db = Db::on(&primary.server, Start::Fixture);
    let mut admin = db.connect();
    fill(&mut admin);
    let signer = Signer::es256("k");
    signer.register(&mut admin);
    let role = db.role();
    let standby = primary.standby();
    let mut c = standby.server.connect(&db.name, &role);
    is_good(&mut c, "on the standby", &signer.token(&claims("alice")));
    is(&mut c, "alice");
    is_bad(&mut c, "on the standby", &signer.token(&changed(json!({"exp": 1}))));
    // The key is retired on the primary.
    execute(
        &mut admin,
        "UPDATE authz.signing_key SET valid_until = statement_timestamp()",
    );
    let begun = std::time::Instant::now();
    while begin(&mut c, &signer.token(&claims("alice"))).is_ok() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "the retired key is still good"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
