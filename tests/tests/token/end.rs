//! When a token's session ends, and what is told and kept where a token is bad (R24).

use authz_tests::clock::{Clock, at_leisure};
use authz_tests::cluster::Cluster;
use authz_tests::make::id;
use authz_tests::session::{fill, is, is_nobody, load, scan_in_parallel, set, world};
use authz_tests::signer::{Signer, begin, changed, claims, now};
use authz_tests::{Db, Start, execute, run};
use postgres::NoTls;
use serde_json::json;

#[test]
fn outlive_the_token() {
    at_leisure(token_expires);
}

fn token_expires(clock: &Clock) {
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
    // It is given in whole seconds, and so a part of one is gone already.
    clock.start();
    let token = signer.token(&changed(json!({"exp": now() + 2 * clock.seconds() as i64})));
    begin(&mut lasting, &token).unwrap();
    execute(&mut local, "BEGIN");
    local.execute("SELECT authz_set_session_token($1)", &[&token]).unwrap();
    is(&mut lasting, "alice");
    is(&mut local, "alice");
    let prepared = lasting
        .prepare(&format!("SELECT authz_can('case.view', '{}'::uuid)", id("affair")))
        .unwrap();
    clock.wait_until(2.5);
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
    at_leisure(key_expires);
}

fn key_expires(clock: &Clock) {
    let mut w = world();
    let signer = Signer::ed25519("k");
    signer.register(&mut w.admin);
    let mut c = w.role();
    clock.start();
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.signing_key SET valid_until = statement_timestamp() + {}",
            clock.interval(1.0)
        ),
    );
    begin(&mut c, &signer.token(&claims("alice"))).unwrap();
    is(&mut c, "alice");
    clock.wait_until(1.5);
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
