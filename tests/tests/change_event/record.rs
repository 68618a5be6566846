//! What events say: who, why, what before and after, and nothing secret, whatever form the writing takes (R51).

use crate::events_of;
use authz_tests::make::{self, id};
use authz_tests::office::{Office, made, with_ids};
use authz_tests::{Db, execute, value};
use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn plain_sql_is_recorded_with_who_and_why() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::role(&mut c, "viewer", &["case.view"]);
    make::member(&mut c, acme, "alice");
    let me: String = value(&mut c, "SELECT session_user::text", &[]);

    let found = events_of(&mut c, |c| {
        execute(c, "SET authz.change_reason = 'ticket 7'");
        make::assign(c, acme, id("alice"), "viewer", "tenant", acme);
    });
    let [e] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(
        (e.table.as_str(), e.what.as_str()),
        ("principal_role_assignment", "insert")
    );
    assert_eq!(
        (e.actor, e.role.as_str(), e.reason.as_deref()),
        (None, me.as_str(), Some("ticket 7"))
    );
    assert_eq!((e.tenant, e.target), (Some(acme), Some(id("alice"))));
    assert_eq!(e.scope, (Some("tenant".to_owned()), Some(acme.to_string())));
    assert!(e.before.is_none());
    assert_eq!(e.after.as_ref().unwrap()["role_code"], "viewer");

    // Its own reason comes before the setting; why it was granted is not why it was closed.
    let found = events_of(&mut c, |c| {
        execute(
            c,
            "UPDATE authz.principal_role_assignment SET revoked_at = now(), reason = 'left'",
        );
    });
    let [e] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!((e.what.as_str(), e.reason.as_deref()), ("close", Some("left")));
    assert_eq!(e.before.as_ref().unwrap()["revoked_at"], Value::Null);
    assert!(e.after.as_ref().unwrap()["revoked_at"].is_string());
    execute(
        &mut c,
        &with_ids(
            "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id, reason)
             VALUES ('{acme}', '{alice}', 'viewer', 'tenant', '{acme}', 'helps out')",
        ),
    );
    let found = events_of(&mut c, |c| {
        execute(
            c,
            "UPDATE authz.principal_role_assignment SET revoked_at = now() WHERE revoked_at IS NULL",
        );
    });
    assert_eq!(found[0].reason.as_deref(), Some("ticket 7"));

    // Blank is none; the actor is the session's principal, whoever logged in.
    let found = events_of(&mut c, |c| {
        execute(
            c,
            &with_ids(
                "SET authz.change_reason = '  '; SELECT authz_set_session('{alice}', is_local => false);
                 UPDATE authz.tenant SET name = 'Acme Ltd'; SELECT authz_clear_session()",
            ),
        );
    });
    let [e] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(
        (e.actor, e.reason.as_deref(), e.what.as_str()),
        (Some(id("alice")), None, "update")
    );
    assert_eq!((e.tenant, e.key.as_str()), (Some(acme), acme.to_string().as_str()));

    // What changes nothing, and what is rolled back, is no change.
    let found = events_of(&mut c, |c| {
        execute(
            c,
            "UPDATE authz.tenant SET status = status; UPDATE authz.tenant SET name = 'x' WHERE false;
             BEGIN; UPDATE authz.tenant SET name = 'y'; ROLLBACK;
             BEGIN; SAVEPOINT s; UPDATE authz.tenant SET name = 'y'; ROLLBACK TO s; COMMIT",
        );
    });
    assert!(found.is_empty(), "{found:#?}");
}

/// Every form of writing, and several rows at once: one event a row.
#[test]
fn every_form_of_writing_leaves_one_event_a_row() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    for mode in ["origin", "replica", "local"] {
        execute(&mut c, &format!("SET session_replication_role = {mode}"));
        let found = events_of(&mut c, |c| {
            execute(
                c,
                &format!(
                    "INSERT INTO authz.project (tenant_id, name) SELECT '{acme}', 'p' || i FROM generate_series(1, 5) AS i;
                     INSERT INTO authz.project (tenant_id, name) VALUES ('{acme}', 'q');
                     UPDATE authz.project SET name = name || '!';
                     INSERT INTO authz.project (tenant_id, project_id, name) SELECT tenant_id, project_id, 'again' FROM authz.project
                        ON CONFLICT (tenant_id, project_id) DO UPDATE SET name = excluded.name;
                     MERGE INTO authz.project AS p USING (SELECT 1) AS s ON true WHEN MATCHED AND p.name = 'again' THEN UPDATE SET name = 'merged';
                     WITH gone AS (DELETE FROM authz.project RETURNING *) SELECT count(*) FROM gone"
                ),
            );
            use std::io::Write;
            let mut copy = c.copy_in("COPY authz.project (tenant_id, name) FROM STDIN").unwrap();
            copy.write_all(format!("{acme}\ta\n{acme}\tb\n").as_bytes()).unwrap();
            copy.finish().unwrap();
            execute(
                c,
                "UPDATE authz.project SET project_id = gen_random_uuid() WHERE name = 'a'; DELETE FROM authz.project; TRUNCATE authz.permission_implication",
            );
        });
        let count = |what: &str| found.iter().filter(|e| e.table == "project" && e.what == what).count();
        assert_eq!(count("insert"), 6 + 2 + 1, "{mode}: {found:#?}");
        assert_eq!(count("update"), 6 * 3, "{mode}");
        // A new key is a row that goes and one that comes.
        assert_eq!(count("delete"), 6 + 1 + 2, "{mode}");
        assert!(
            found
                .iter()
                .any(|e| e.table == "permission_implication" && e.what == "truncate")
        );
        assert_eq!(found.len(), 9 + 18 + 9 + 1, "{mode}");
        for e in found.iter().filter(|e| e.what == "update") {
            assert_eq!(
                e.before.as_ref().unwrap()["project_id"],
                e.after.as_ref().unwrap()["project_id"]
            );
            assert_ne!(e.before, e.after);
        }
    }
}

/// PITFALLS 22: the clock is not the order of changes. One that comes back to a state of which the event has a later time
/// is a change all the same.
#[test]
fn a_clock_that_goes_back_loses_no_event() {
    let db = Db::new();
    let mut c = db.connect();
    make::principal(&mut c, "alice");
    let named = |name: &str| {
        format!(
            "UPDATE authz.principal SET display_name = '{name}' WHERE principal_id = '{}'",
            id("alice")
        )
    };
    execute(&mut c, &named("one"));
    execute(
        &mut c,
        "ALTER TABLE authz.access_change_event DISABLE TRIGGER guard_change;
         UPDATE authz.access_change_event SET occurred_at = '2100-01-01'
          WHERE after_value ->> 'display_name' = 'one';
         ALTER TABLE authz.access_change_event ENABLE ALWAYS TRIGGER guard_change",
    );
    for name in ["two", "one", "two", "one"] {
        let found = events_of(&mut c, |c| execute(c, &named(name)));
        assert_eq!(found.len(), 1, "{name}: {found:#?}");
    }
}

#[test]
fn secrets_stay_out() {
    let db = Db::new();
    let mut c = db.connect();
    make::principal(&mut c, "alice");
    let found = events_of(&mut c, |c| {
        execute(
            c,
            &with_ids(
                "INSERT INTO authz.account_security (principal_id, password_hash, mfa_secret_encrypted) VALUES ('{alice}', 'hunter2', 'hunter3');
                 UPDATE authz.account_security SET password_hash = 'hunter4';
                 UPDATE authz.account_security SET failed_login_attempts = 3, last_login_at = now();
                 UPDATE authz.account_security SET mfa_enabled = true, failed_login_attempts = 0;
                 INSERT INTO authz.signing_key (kid, issuer, audience, algorithm, secret)
                 VALUES ('k', 'i', 'a', 'HS256', decode(repeat('6162636465666768', 5), 'hex'));
                 UPDATE authz.signing_key SET valid_until = now()",
            ),
        );
    });
    let kinds: Vec<_> = found.iter().map(|e| (e.table.as_str(), e.what.as_str())).collect();
    assert_eq!(
        kinds,
        [
            ("account_security", "insert"),
            ("account_security", "update"),
            ("account_security", "update"),
            ("signing_key", "insert"),
            ("signing_key", "close")
        ]
    );
    let text: String = value(
        &mut c,
        "SELECT string_agg(e::text, ' ') FROM authz.access_change_event AS e",
        &[],
    );
    for secret in ["hunter", "68756e746572", "6162636465666768"] {
        assert!(!text.contains(secret), "{secret}");
    }
    assert_eq!(found[0].after.as_ref().unwrap()["password_hash"], "[redacted]");
    assert_eq!(found[3].after.as_ref().unwrap()["secret"], "[redacted]");
    assert_eq!(found[0].target, Some(id("alice")));
}

/// Functions that change authority say who and why, also in tables that have no column for it.
#[test]
fn functions_say_who_and_why() {
    let office = Office::open();
    let mut owner = office.owner();
    let found = events_of(&mut owner, |_| {
        let mut tina = office.as_("tina");
        execute(&mut tina, "SET authz.change_reason = 'by the setting'");
        made(
            &mut tina,
            "authz_join_team('{alice}', '{north}', '{acme}', reason => 'by the call')",
        );
        execute(
            &mut tina,
            &with_ids("SELECT authz_leave_team('{alice}', '{north}', '{acme}')"),
        );
        let kept: String = value(&mut tina, "SHOW authz.change_reason", &[]);
        assert_eq!(kept, "by the setting");
        execute(
            &mut tina,
            &with_ids("SELECT authz_revoke_member('{alice}', '{acme}', 'left')"),
        );
    });
    let said: Vec<_> = found
        .iter()
        .map(|e| {
            (
                e.table.as_str(),
                e.what.as_str(),
                e.reason.as_deref(),
                e.actor,
                e.role.as_str(),
            )
        })
        .collect();
    let tina = Some(id("tina"));
    let role = office.role();
    assert_eq!(
        said[0],
        ("team_membership_history", "insert", Some("by the call"), tina, role)
    );
    assert_eq!(
        said[1],
        ("team_membership_history", "close", Some("by the setting"), tina, role)
    );
    assert!(said[2..].iter().all(|s| s.2 == Some("left") && s.3 == tina), "{said:?}");
    assert!(said[2..].iter().any(|s| s.0 == "tenant_membership" && s.1 == "close"));
}

/// R32, R44, R51: what is let out of the database, and by whose word, is on record, also where it was done by hand.
#[test]
fn exports_and_feeds_leave_events() {
    let mut w = authz_tests::exports::Exports::new();
    let mut rex = w.of("rex");
    let export = authz_tests::exports::request(&mut rex, ", unmasked => true");
    let key = export.to_string();
    let found = events_of(&mut w.admin, |c| {
        execute(
            c,
            &format!("UPDATE authz.data_export_job SET approved_by = '{}'", id("ann")),
        );
    });
    let [by_hand] = found.as_slice() else {
        panic!("{found:#?}")
    };
    assert_eq!(
        (by_hand.table.as_str(), &by_hand.key, by_hand.actor),
        ("data_export_job", &key, None)
    );
    assert_eq!(
        by_hand.after.as_ref().unwrap()["approved_by"],
        Value::from(id("ann").to_string())
    );
    // How it went is in the access events.
    let found = events_of(&mut w.admin, |_| {
        authz_tests::exports::run_export(&mut rex, export);
    });
    assert!(found.is_empty(), "{found:#?}");
    let found = events_of(&mut w.admin, |_| {
        execute(
            &mut rex,
            &format!("SELECT authz_end_export('{export}', 'no longer needed')"),
        );
    });
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].actor, Some(id("rex")));
    let found = events_of(&mut w.admin, |c| {
        execute(
            c,
            "SELECT authz_create_feed('public.claim_feed', 'public.claim');
             CREATE TABLE public.copy AS SELECT * FROM public.claim_feed; SELECT authz_register_copy('public.claim_feed', 'public.copy');
             SELECT authz_create_feed('public.claim_feed', 'public.claim', up_to => 'pii'); DELETE FROM authz.feed",
        );
    });
    let what: BTreeSet<String> = found.iter().map(|e| format!("{} {}", e.table, e.what)).collect();
    let expected = [
        "feed insert",
        "feed_copy insert",
        "feed update",
        "feed delete",
        "feed_copy delete",
    ];
    assert_eq!(what, expected.map(str::to_owned).into());
}
