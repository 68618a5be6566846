//! A reader sees the tenants that it audits and no others, whatever role and functions it comes with (R55, PITFALLS 24).

use crate::{rows, world};
use authz_tests::make::id;
use authz_tests::office::with_ids;
use authz_tests::session::act_with;
use authz_tests::{execute, refused, value};

const VIEWS: [&str; 15] = [
    "binding_evidence",
    "access_while_held",
    "current_access",
    "binding_use",
    "stale_grant",
    "expiring_grant",
    "mfa_evidence",
    "privilege_separation_evidence",
    "access_trail",
    "denied_attempt",
    "change_trail",
    "privileged_session_evidence",
    "privileged_session_awaiting_review",
    "workload",
    "export_evidence",
];

#[test]
fn a_reader_sees_the_tenants_that_it_audits_and_no_others() {
    let w = world();
    let mut owner = w.owner();
    execute(
        &mut owner,
        &with_ids(
            "INSERT INTO authz.privileged_access_session (session_kind, principal_id, tenant_id, access_reason, started_at, expires_at)
             SELECT 'break_glass', v.who::uuid, v.tenant::uuid, 'over', now() - interval '9 days', now() - interval '8 days'
             FROM (VALUES ('{alf}', '{acme}'), ('{gwen}', '{globex}')) AS v (who, tenant)",
        ),
    );
    let mut app = w.db.connect_as(&w.app);
    for view in VIEWS {
        let all = format!("SELECT * FROM authz.{view}");
        let of = |tenant: &str| format!("{all} WHERE tenant_id = '{}'", id(tenant));
        let everything = rows(&mut owner, &all);
        for (auditor, tenant) in [("ada", "acme"), ("gil", "globex")] {
            act_with(&mut app, auditor, None, "{}");
            let seen = rows(&mut app, &all);
            assert_eq!(seen, rows(&mut owner, &of(tenant)), "{view} for {auditor}");
            // Nothing can be empty for want of data.
            assert!(
                !seen.is_empty() && seen.len() < everything.len(),
                "{view} for {auditor}"
            );
            // What is asked for does not widen it.
            let other = if tenant == "acme" { "globex" } else { "acme" };
            assert_eq!(rows(&mut app, &of(other)), [""; 0], "{view}");
        }
        act_with(&mut app, "paula", None, "{}");
        assert_eq!(
            rows(&mut app, &all),
            everything,
            "{view} for the auditor of the platform"
        );
        act_with(&mut app, "paula", Some("globex"), "{}");
        assert_eq!(
            rows(&mut app, &all),
            rows(&mut owner, &of("globex")),
            "{view} in a session of globex"
        );
        // Without the permission, under break-glass, which lends everything else, and without a session.
        for nobody in ["ben", "eve", "alf"] {
            act_with(&mut app, nobody, None, "{}");
            assert_eq!(rows(&mut app, &all), [""; 0], "{view} for {nobody}");
        }
        execute(&mut app, "SELECT authz_clear_session()");
        assert_eq!(rows(&mut app, &all), [""; 0], "{view} without a session");
    }
    // What ends authority ends this with the next statement (R19), also in a transaction.
    act_with(&mut app, "ada", None, "{}");
    execute(&mut app, "BEGIN");
    let count = "SELECT count(*) FROM authz.current_access";
    assert!(value::<i64>(&mut app, count, &[]) > 0);
    execute(
        &mut owner,
        &with_ids("UPDATE authz.tenant_membership SET status = 'suspended' WHERE principal_id = '{ada}'"),
    );
    assert_eq!(value::<i64>(&mut app, count, &[]), 0);
    execute(&mut app, "COMMIT");
    // Other roles do not get there at all.
    for role in ["worker", "support_tool", "analytics_export", "migration"] {
        let login = w.db.role();
        execute(&mut owner, &format!("GRANT {}{role} TO {login}", w.prefix));
        for view in VIEWS {
            refused(
                &mut w.db.connect_as(&login),
                &format!("SELECT * FROM authz.{view}"),
                "42501",
                &[],
            );
        }
    }
    // Who may read the table of events itself reads everything, without a session.
    let dba = w.db.role();
    execute(
        &mut owner,
        &format!(
            "GRANT USAGE ON SCHEMA authz TO {dba}; GRANT SELECT ON authz.access_audit_event TO {dba};
             GRANT SELECT ON authz.{} TO {dba}",
            VIEWS.join(", authz.")
        ),
    );
    let mut c = w.db.connect_as(&dba);
    for view in VIEWS {
        let all = format!("SELECT * FROM authz.{view}");
        assert_eq!(rows(&mut c, &all), rows(&mut owner, &all), "{view}");
    }
}

/// PITFALLS 24: a cheap function of the reader's own is not called with rows that the reader does not see.
#[test]
fn a_function_of_the_readers_own_never_sees_hidden_rows() {
    let w = world();
    let mut app = w.db.connect_as(&w.app);
    execute(
        &mut app,
        "CREATE TEMP TABLE heard (tenant uuid);
         CREATE FUNCTION pg_temp.listen(tenant uuid) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
         $$ BEGIN INSERT INTO heard VALUES (tenant); RETURN true; END $$",
    );
    act_with(&mut app, "ada", None, "{}");
    for view in VIEWS {
        execute(
            &mut app,
            &format!("SELECT * FROM authz.{view} AS v WHERE pg_temp.listen(v.tenant_id)"),
        );
        let (heard, foreign): (i64, i64) = {
            let row = app
                .query_one(
                    "SELECT count(*), count(*) FILTER (WHERE tenant IS DISTINCT FROM $1) FROM heard",
                    &[&id("acme")],
                )
                .unwrap();
            (row.get(0), row.get(1))
        };
        assert!(heard > 0, "{view}");
        assert_eq!(foreign, 0, "{view}");
    }
}
