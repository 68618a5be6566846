//! Every way to plant an identity in the setting that a session is kept in, each as a test with the attempt in its name,
//! tried by login roles without privileges and by superusers (R24, PITFALLS 11).

use authz_tests::cluster::Cluster;
use authz_tests::make::id;
use authz_tests::session::{ROWS, alices_setting, fails, fill, is_nobody, load, scan_in_parallel, set, world};
use authz_tests::{Db, Start, execute, refused, report, value};
use postgres::NoTls;

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
