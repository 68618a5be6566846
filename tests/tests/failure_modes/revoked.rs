//! Somebody who was revoked goes on (R19, R62, PITFALLS 17).

use crate::{Listener, everything, keeps};
use authz_tests::make::id;
use authz_tests::matrix::{Matrix, SECRETS, seen, told};
use authz_tests::office::with_ids;
use authz_tests::waiting::until_it_waits;
use authz_tests::{execute, refused, report, value};
use postgres::SimpleQueryMessage;

#[test]
fn r62_a_revoked_user_is_out_by_every_way_that_was_open() {
    let m = Matrix::new();
    let mut owner = m.owner();
    // Everything that can be held open.
    let mut open = Listener::new(&m, "runtime", "ann");
    execute(
        &mut open.client,
        "PREPARE look AS SELECT title, complainant_identifier FROM casework.case_record LEFT JOIN casework.case_sensitive_detail USING (tenant_id, case_id);
         SET plan_cache_mode = force_generic_plan"
            .replace(", complainant_identifier", "")
            .as_str(),
    );
    let mut held = Listener::new(&m, "runtime", "ann");
    execute(
        &mut held.client,
        "BEGIN ISOLATION LEVEL SERIALIZABLE; DECLARE rows CURSOR FOR SELECT title FROM casework.case_record; SAVEPOINT s",
    );
    assert_eq!(seen(&mut held.client, "case_record", "one"), 1);
    assert_eq!(open.hears("EXECUTE look"), "one");
    let (mut by_token, mut local) = (Listener::new(&m, "readonly", "ann"), Listener::new(&m, "worker", "ann"));
    assert_eq!(seen(&mut by_token.client, "case_record", "one"), 1);
    assert_eq!(seen(&mut local.client, "case_record", "one"), 1);
    let draft = m.casework.draft();
    let decision = m.casework.submitted();

    execute(
        &mut owner,
        &with_ids("UPDATE authz.tenant_membership SET status = 'revoked' WHERE principal_id = '{ann}'"),
    );

    for (what, c, sql) in [
        ("prepared, generic plan", &mut open, "EXECUTE look".to_owned()),
        (
            "a cursor that was open, in a snapshot of before",
            &mut held,
            "FETCH ALL FROM rows".to_owned(),
        ),
        (
            "by a token that is still good",
            &mut by_token,
            "SELECT case_number FROM casework.case_record".to_owned(),
        ),
        (
            "the worker's role",
            &mut local,
            "SELECT case_number FROM casework.case_record".to_owned(),
        ),
    ] {
        assert_eq!(c.hears(&sql), "", "R19: {what}");
    }
    assert_eq!(
        seen(&mut held.client, "case_record", "one"),
        0,
        "in the open transaction"
    );
    execute(&mut held.client, "ROLLBACK");
    // A new session, a new token: the identity is good, and holds nothing.
    for role in ["runtime", "readonly", "worker", "break_glass", "support_tool"] {
        let mut c = Listener::new(&m, role, "ann");
        for sql in everything(&m, role) {
            let heard = c.hears(&sql);
            keeps(&format!("{role}: {sql}"), &heard, &SECRETS);
            keeps(
                &format!("{role}: {sql}"),
                &heard,
                &["s3://letter", &id("one").to_string()],
            );
        }
    }
    let mut ann = m.of("ann");
    for attack in [
        "UPDATE casework.case_record SET title = 'mine' RETURNING title".to_owned(),
        with_ids("INSERT INTO casework.case_document (tenant_id, case_id) VALUES ('{acme}', '{one}')"),
        with_ids("INSERT INTO casework.case_sensitive_detail (tenant_id, case_id) VALUES ('{acme}', '{one}')"),
        with_ids(&format!(
            "SELECT submit_case_decision('{{acme}}', '{draft}', '{{ann}}', 'why')"
        )),
        with_ids(&format!(
            "SELECT withdraw_case_decision('{{acme}}', '{decision}', '{{ann}}', 'why')"
        )),
        with_ids("SELECT download_case_document('{acme}', '{letter}')"),
        with_ids("SELECT authz_request_access('let me back in', '{acme}')"),
        // Back in by one's own hand.
        with_ids("SELECT authz_add_member('{acme}', '{ann}', reason => 'me')"),
        with_ids("SELECT authz_assign_role('{ann}', 'case_investigator', '{acme}', reason => 'me')"),
        with_ids("INSERT INTO authz.tenant_membership (tenant_id, principal_id) VALUES ('{acme}', '{ann}')"),
        "UPDATE authz.tenant_membership SET status = 'active'".to_owned(),
    ] {
        match ann.simple_query(&attack) {
            Ok(messages) => assert!(
                messages.iter().all(|m| matches!(
                    m,
                    SimpleQueryMessage::CommandComplete(0) | SimpleQueryMessage::RowDescription(_)
                )),
                "{attack}"
            ),
            Err(e) => {
                let text = report(&e);
                assert!(["42501", "42883"].contains(&&text[..5]), "{attack}: {text}");
            }
        }
    }
    // Who acts for him lends nothing: what he may not, nobody may for him.
    refused(
        &mut m.of("sue"),
        &with_ids(&format!(
            "SELECT submit_case_decision('{{acme}}', '{draft}', '{{ann}}', 'why')"
        )),
        "42501",
        &[],
    );
    assert_eq!(
        told(
            &mut owner,
            "SELECT DISTINCT title FROM casework.case_record WHERE case_number = 'one'"
        ),
        "one"
    );
    let status: String = value(
        &mut owner,
        "SELECT status FROM casework.case_decision WHERE decision_id = $1",
        &[&decision],
    );
    assert_eq!(status, "submitted");
}

/// PITFALLS 17: who waits for a row gets it by the authority of the moment when the wait is over.
#[test]
fn r62_a_revoked_user_does_not_get_the_row_that_he_waited_for() {
    let m = Matrix::new();
    let mut owner = m.owner();
    execute(
        &mut owner,
        &with_ids("BEGIN; UPDATE casework.case_record SET title = 'after' WHERE case_id = '{one}'"),
    );
    let mut ann = m.of("ann");
    let pid: i32 = value(&mut ann, "SELECT pg_backend_pid()", &[]);
    let waiting = std::thread::spawn(move || told(&mut ann, "SELECT title FROM casework.case_record FOR UPDATE"));
    let mut watcher = m.owner();
    until_it_waits(&mut watcher, pid);
    execute(
        &mut owner,
        &with_ids("UPDATE authz.tenant_membership SET status = 'revoked' WHERE principal_id = '{ann}'; COMMIT"),
    );
    assert_eq!(waiting.join().unwrap(), "");
}
