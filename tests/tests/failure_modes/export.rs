//! An export leaks (R62).

use crate::{Listener, everything, foreign, keeps, support};
use authz_tests::exports::download;
use authz_tests::make::id;
use authz_tests::matrix::{Matrix, SECRETS};
use authz_tests::office::{made, with_ids};
use authz_tests::{execute, refused, report, value};
use postgres::Client;
use uuid::Uuid;

/// What an export's file says, all chunks of it.
fn file(c: &mut Client, job: Uuid) -> String {
    String::from_utf8(download(c, job)).expect("it is UTF-8")
}

fn request(c: &mut Client, what: &str) -> Uuid {
    made(c, &format!("authz_request_export({what})"))
}

#[test]
fn r62_an_export_leaks_nothing() {
    let m = Matrix::new();
    let foreign = foreign(&m);
    let foreign: Vec<&str> = foreign.iter().map(String::as_str).collect();
    let mut rae = m.with_role("analytics_export", "rae");
    // Masked by default, and of her tenant alone; conditions see what is masked.
    let job = request(&mut rae, "'case_details', 'count them', '{acme}'");
    assert_eq!(value::<i64>(&mut rae, "SELECT authz_run_export($1)", &[&job]), 1);
    let masked = file(&mut rae, job);
    keeps("masked by default", &masked, &SECRETS);
    keeps("masked by default", &masked, &foreign);
    assert!(masked.contains(&id("one").to_string()), "{masked}");
    for filter in [
        r#"[{"column": "complainant_identifier", "op": "=", "value": "ID-4711-0815"}]"#,
        r#"[{"column": "complainant_name", "op": "=", "value": "Wilhelmina Whistler"}]"#,
    ] {
        let guess = request(
            &mut rae,
            &format!("'case_details', 'guess', '{{acme}}', filters => '{filter}'"),
        );
        assert_eq!(
            value::<i64>(&mut rae, "SELECT authz_run_export($1)", &[&guess]),
            0,
            "{filter}"
        );
    }
    // Never SQL, nor more than the definition says.
    for what in [
        "'case_details', 'why', '{globex}'",
        "'case_details', 'why'",
        "'nothing', 'why', '{acme}'",
        "'case_details', ' ', '{acme}'",
        "'case_details', 'why', '{acme}', columns => '{title}'",
        "'case_details', 'why', '{acme}', columns => ARRAY['complainant_name FROM casework.case_record --']::name[]",
        r#"'case_details', 'why', '{acme}', filters => '[{"column": "case_id) OR (true", "op": "=", "value": "x"}]'"#,
        r#"'case_details', 'why', '{acme}', filters => '[{"column": "case_id", "op": "OR true --", "value": "x"}]'"#,
        r#"'case_details', 'why', '{acme}', filters => '[{"column": "restricted_notes", "op": "=", "value": "x'' OR true --"}]', file_format => 'exe'"#,
    ] {
        let sql = with_ids(&format!("SELECT authz_request_export({what})"));
        match rae.simple_query(&sql) {
            Ok(_) => panic!("accepted: {what}"),
            Err(e) => keeps(what, &report(&e), &[SECRETS.as_slice(), &foreign].concat()),
        }
    }
    // Nobody else gets it: a colleague who may export too, an auditor, a worker, support, globex.
    let job = request(&mut rae, "'case_details', 'court order', '{acme}', unmasked => true");
    execute(
        &mut m.of("rob"),
        &format!("SELECT authz_approve_export('{job}', 'seen')"),
    );
    let run = format!("SELECT authz_run_export('{job}')");
    let download = format!("SELECT * FROM authz_download_export('{job}')");
    support(&m, true);
    for (role, who) in [
        ("runtime", "rob"),
        ("runtime", "ada"),
        ("runtime", "ann"),
        ("runtime", "sam"),
        ("runtime", "gil"),
        ("analytics_export", "tad"),
    ] {
        let mut other = m.with_role(role, who);
        refused(&mut other, &run, "42501", &[]);
        refused(&mut other, &download, "42501", &[]);
    }
    execute(&mut rae, &run);
    assert!(file(&mut rae, job).contains(SECRETS[0]), "she herself does");
    for (role, who) in [
        ("runtime", "rob"),
        ("runtime", "ada"),
        ("runtime", "sam"),
        ("worker", "robot"),
        ("readonly", "tad"),
        ("break_glass", "tad"),
    ] {
        let mut other = Listener::new(&m, role, who);
        keeps(who, &other.hears(&download), &SECRETS);
        for sql in everything(&m, role) {
            // The others are in what she asked for above, which auditors read.
            keeps(&format!("{role} {who}: {sql}"), &other.hears(&sql), &SECRETS[2..]);
        }
        for table in ["authz.data_export_job", "authz.data_export_chunk"] {
            refused(&mut other.client, &format!("SELECT * FROM {table}"), "42501", &[]);
        }
    }
    // A revoked requester gets nothing more, also half-way, in an open transaction and by what was approved before.
    let late = request(&mut rae, "'case_details', 'court order', '{acme}', unmasked => true");
    execute(
        &mut m.of("rob"),
        &format!("SELECT authz_approve_export('{late}', 'seen')"),
    );
    execute(&mut rae, "BEGIN");
    assert!(file(&mut rae, job).contains(SECRETS[0]));
    execute(
        &mut m.owner(),
        &with_ids(
            "UPDATE authz.principal_role_assignment SET revoked_at = clock_timestamp() WHERE principal_id = '{rae}'",
        ),
    );
    refused(&mut rae, &download, "42501", &[]);
    execute(&mut rae, "ROLLBACK");
    for sql in [&download, &run, &format!("SELECT authz_run_export('{late}')")] {
        refused(&mut rae, sql, "42501", &[]);
    }
    let mut again = m.with_role("runtime", "rae");
    refused(&mut again, &download, "42501", &[]);
    refused(
        &mut again,
        &with_ids("SELECT authz_request_export('case_details', 'why', '{acme}')"),
        "42501",
        &[],
    );
}
