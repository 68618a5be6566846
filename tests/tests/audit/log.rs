//! Events of transactions that roll back go to the server's log where nobody writes them to the table (R53).

use crate::{check_sql, events, fill, hold, require, statistics};
use authz_tests::cluster::{Cluster, PRELOADED};
use authz_tests::make::id;
use authz_tests::reading::{act, logged, settle};
use authz_tests::waiting::soon;
use authz_tests::{Db, Start, execute, refused, value};
use std::collections::BTreeSet;

#[test]
fn without_workers_events_of_a_rollback_are_lines_of_json_in_the_log() {
    let cluster = Cluster::start(&["log_min_messages = error"]);
    let db = Db::on(&cluster.server, Start::Fixture);
    fill(&mut db.connect());
    let mut c = db.connect();
    act(&mut c, "alice", "r");
    refused(&mut c, &require("case.edit"), "42501", &[]);
    execute(&mut c, "BEGIN");
    execute(&mut c, &require("case.view"));
    execute(&mut c, "ROLLBACK");
    execute(&mut c, &require("case.view"));
    assert_eq!(statistics(&mut c), ("log".to_owned(), 0, 0, 0, 2));
    assert_eq!(events(&mut c, "r"), 1);
    let lines = logged(&cluster);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_eq!(lines[0]["access_result"], "denied");
    assert_eq!(lines[0]["policy_reason"], "no_grant");
    assert_eq!(lines[1]["access_result"], "allowed");
    for line in &lines {
        assert_eq!(line["principal_id"], id("alice").to_string());
        assert_eq!(line["action_code"].as_str().map(|a| a.starts_with("case.")), Some(true));
        assert_eq!(line["resource_id"], id("affair").to_string());
    }
    // A line of the log is a row when it is wanted, and only once.
    let texts: Vec<String> = lines.iter().map(ToString::to_string).collect();
    for _ in 0..2 {
        let refused: Vec<i32> = value(&mut c, "SELECT authz.deliver_access_events($1)", &[&texts]);
        assert!(refused.is_empty());
    }
    assert_eq!(events(&mut c, "r"), 3);
    // Many events of one transaction do not fill the memory, and none is missing.
    act(&mut c, "alice", "many");
    execute(&mut c, "BEGIN");
    execute(&mut c, "SAVEPOINT a");
    execute(
        &mut c,
        &format!(
            "SELECT count(authz_check('{}', 'case.view', '{}'::uuid)) FROM generate_series(1, 6000)",
            id("alice"),
            id("affair")
        ),
    );
    execute(&mut c, "SAVEPOINT b");
    execute(&mut c, &check_sql("case.edit"));
    execute(&mut c, "ROLLBACK TO b");
    execute(&mut c, "ROLLBACK TO a");
    execute(&mut c, "ROLLBACK");
    let lines = logged(&cluster);
    assert_eq!(lines.iter().filter(|l| l["request_id"] == "many").count(), 6001);
    let ids: BTreeSet<&str> = lines.iter().filter_map(|l| l["audit_id"].as_str()).collect();
    assert_eq!(ids.len(), 6003);
}

#[test]
fn events_of_a_database_without_the_extension_or_of_none_go_to_the_log() {
    let cluster = Cluster::start(PRELOADED);
    let db = Db::on(&cluster.server, Start::Fixture);
    let keeper = Db::on(&cluster.server, Start::Fixture);
    fill(&mut db.connect());
    let mut c = db.connect();
    act(&mut c, "alice", "uninstalled");
    // The writer has to wait until the extension is dropped.
    execute(
        &mut c,
        "BEGIN; LOCK TABLE authz.access_audit_event IN ACCESS EXCLUSIVE MODE; SAVEPOINT a",
    );
    refused(&mut c, &require("case.edit"), "42501", &[]);
    execute(&mut c, "ROLLBACK TO a; DROP EXTENSION authz_ext; COMMIT");
    let mut k = keeper.connect();
    settle(&mut k);
    let count =
        |cluster: &Cluster, request: &str| logged(cluster).iter().filter(|l| l["request_id"] == request).count();
    assert_eq!(count(&cluster, "uninstalled"), 1);

    let dropped = Db::on(&cluster.server, Start::Fixture);
    fill(&mut dropped.connect());
    let holder = hold(dropped.connect());
    let mut c = dropped.connect();
    act(&mut c, "alice", "dropped");
    for _ in 0..3 {
        refused(&mut c, &require("case.edit"), "42501", &[]);
    }
    let mut admin = cluster.server.connect("postgres", "postgres");
    execute(&mut admin, &format!("DROP DATABASE {} WITH (FORCE)", dropped.name));
    drop((c, holder));
    soon("the lines of the dropped database", || count(&cluster, "dropped") == 3);
    // Others go on.
    fill(&mut keeper.connect());
    act(&mut k, "alice", "others");
    refused(&mut k, &require("case.edit"), "42501", &[]);
    soon("others go on", || events(&mut k, "others") == 1);
}
