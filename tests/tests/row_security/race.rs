//! A row whose authority ends while somebody waits for it (R21, PITFALLS 17).

use crate::{act, application, small_world, titles};
use authz_tests::make::{self, id};
use authz_tests::waiting::until_it_waits;
use authz_tests::{Db, execute, value};

/// A writer revokes and overwrites in one transaction; somebody who waits for the row must not get what is in it now.
/// `early`: the writer holds the row, and the other already waits, before the revocation.
fn revoked_while_waiting(statement: &str, early: bool, as_auditor: bool) {
    let db = Db::new();
    let (mut writer, assignment) = small_world(&db);
    let assignment = if as_auditor {
        make::role(
            &mut writer,
            "auditor",
            &[
                "case.admin",
                "case.view_restricted",
                "case.view_sealed",
                "case.view_deleted",
            ],
        );
        make::principal(&mut writer, "auditor");
        make::assign_platform(&mut writer, id("auditor"), "auditor")
    } else {
        assignment
    };
    let who = id(if as_auditor { "auditor" } else { "alice" });
    let role = application(&db, &mut writer);
    let mut admin = db.connect();
    let mut reader = db.connect_as(&role);
    let pid: i32 = value(&mut reader, "SELECT pg_backend_pid()", &[]);
    act(&mut reader, who, None, "{}");
    assert_eq!(titles(&mut reader, statement), ["affair"], "{statement}");
    execute(&mut reader, "ROLLBACK");

    execute(&mut writer, "BEGIN");
    if early {
        execute(
            &mut writer,
            &format!("SELECT FROM case_record WHERE case_id = '{}' FOR UPDATE", id("affair")),
        );
    } else {
        make::revoke(&mut writer, assignment);
        execute(
            &mut writer,
            &format!(
                "UPDATE case_record SET title = 'secret' WHERE case_id = '{}'",
                id("affair")
            ),
        );
    }
    let got = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            act(&mut reader, who, None, "{}");
            titles(&mut reader, statement)
        });
        until_it_waits(&mut admin, pid);
        if early {
            make::revoke(&mut writer, assignment);
            execute(
                &mut writer,
                &format!(
                    "UPDATE case_record SET title = 'secret' WHERE case_id = '{}'",
                    id("affair")
                ),
            );
        }
        execute(&mut writer, "COMMIT");
        waiting.join().unwrap()
    });
    assert_eq!(got, [""; 0], "{statement}");
}

const LOCKING: [&str; 4] = [
    "SELECT title FROM case_record WHERE title IN ('affair', 'secret') FOR UPDATE",
    "SELECT title FROM (SELECT * FROM case_record WHERE title IN ('affair', 'secret') FOR SHARE) AS s",
    "UPDATE case_record SET project_id = NULL WHERE title IN ('affair', 'secret') RETURNING title",
    "DELETE FROM case_record WHERE title IN ('affair', 'secret') RETURNING title",
];

#[test]
fn a_row_revoked_while_one_waits_for_it() {
    for statement in LOCKING {
        revoked_while_waiting(statement, false, false);
        revoked_while_waiting(statement, false, true);
    }
}

#[test]
fn a_row_revoked_after_one_began_to_wait_for_it() {
    for statement in LOCKING {
        revoked_while_waiting(statement, true, false);
        revoked_while_waiting(statement, true, true);
    }
}
