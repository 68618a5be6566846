//! Which columns: what is sensitive is masked, or approved by somebody else (R32, R40, R41).

use crate::course::end;
use crate::{approve, fetch, run};
use authz_tests::exports::{Exports, download, exported, request, run_export};
use authz_tests::make::{self, id};
use authz_tests::waiting::soon;
use authz_tests::{denied, execute, refused, value};
use uuid::Uuid;

#[test]
fn r32_sensitive_columns_are_masked_or_approved_by_somebody_else() {
    let mut w = Exports::new();
    let (mut rex, mut ann) = (w.of("rex"), w.of("ann"));
    let masked = exported(&mut rex, "");
    assert!(!masked.contains("Ost") && !masked.contains("Jon"), "{masked}");
    let export = request(&mut rex, ", unmasked => true");
    assert_eq!(w.job(export, "includes_sensitive_data").as_deref(), Some("true"));
    denied(&mut rex, &run(export), "55000", &["not approved", "export.approve"]);
    let waiting: Vec<Uuid> = ann
        .query("SELECT export_id FROM authz_exports()", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(waiting, [export], "who may approve sees what waits for it");
    execute(&mut ann, &approve(export));
    denied(&mut ann, &approve(export), "55000", &["approved before"]);
    // The approver gets nothing by that.
    denied(&mut ann, &run(export), "42501", &["permission denied"]);
    run_export(&mut rex, export);
    let text = String::from_utf8(download(&mut rex, export)).unwrap();
    assert!(
        text.contains("\"Ina \"\"I\"\" Ost\"") && text.contains("\"Jon, Jr\""),
        "{text}"
    );
    assert_eq!(w.events("export.approve", "ann", "allowed"), 1);
    denied(&mut ann, &fetch(export, 1), "42501", &["permission denied"]);
    // An approval gives nothing: who may not see a class in a row does not see it in an export, either.
    make::role(
        &mut w.admin,
        "counter",
        &["export.request", "claim.export", "claim.view"],
    );
    make::assign(&mut w.admin, id("acme"), id("mia"), "counter", "tenant", id("acme"));
    let mut mia = w.of("mia");
    let blind = request(&mut mia, ", unmasked => true");
    execute(&mut ann, &approve(blind));
    assert_eq!(run_export(&mut mia, blind), 3);
    let text = String::from_utf8(download(&mut mia, blind)).unwrap();
    assert!(!text.contains("Ost") && !text.contains("Jon"), "{text}");
    // Where there is nothing to unmask, nothing needs approval.
    let plain = request(&mut rex, ", unmasked => true, columns => '{claim_id,status}'");
    assert_eq!(w.job(plain, "includes_sensitive_data").as_deref(), Some("false"));
    denied(&mut ann, &approve(plain), "55000", &["needs no approval"]);
    run_export(&mut rex, plain);
    // Rejected is over.
    let export = request(&mut rex, ", unmasked => true");
    execute(&mut ann, &end(export));
    assert_eq!(w.job(export, "status").as_deref(), Some("failed"));
    denied(&mut rex, &run(export), "55000", &["failed", "not needed"]);
    denied(&mut ann, &approve(export), "55000", &["failed"]);
}

#[test]
fn r32_masks_are_those_of_the_column_and_changing_one_stops_what_was_approved() {
    let mut w = Exports::new();
    execute(
        &mut w.admin,
        "SELECT authz_mask('public.claim', 'holder', 'partial', '{\"first\": 1}'); SELECT authz_classify('public.claim', 'note', 'confidential');
         SELECT authz_mask('public.claim', 'note', 'hash')",
    );
    let mut rex = w.of("rex");
    let text = exported(&mut rex, ", columns => '{holder,note}'");
    assert!(
        text.contains("J****") && text.contains("I****") && !text.contains("Jon"),
        "{text}"
    );
    assert!(!text.contains("lines"), "{text}");
    let hash = text
        .lines()
        .find(|l| l.starts_with("J****"))
        .unwrap()
        .split(',')
        .nth(1)
        .unwrap();
    assert_eq!(hash.len(), 32, "hashed by the secret of the database: {text}");
    let export = request(&mut rex, "");
    execute(
        &mut w.admin,
        "SELECT authz_mask('public.claim', 'holder', 'partial', '{\"first\": 9}')",
    );
    denied(&mut rex, &run(export), "55000", &["not what was asked for"]);
}

/// R32, R40: a class that rises is that of what is run and downloaded later.
#[test]
fn r32_a_class_that_rises_holds_for_what_was_asked_for_before() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let raise = |admin: &mut postgres::Client, class: &str| {
        execute(
            admin,
            &format!("UPDATE authz.data_classification SET classification = '{class}' WHERE column_name = 'note'"),
        );
    };
    let (early, done) = (request(&mut rex, ""), request(&mut rex, ""));
    run_export(&mut rex, done);
    assert!(String::from_utf8(download(&mut rex, done)).unwrap().contains("lines"));
    raise(&mut w.admin, "pii");
    denied(
        &mut rex,
        &run(early),
        "55000",
        &["not what was asked for", "Ask for a new one"],
    );
    denied(&mut rex, &fetch(done, 1), "55000", &["not what was asked for"]);
    let text = exported(&mut rex, "");
    assert!(!text.contains("lines"), "masked now: {text}");
    // An approval was one of what the class was.
    let open = request(&mut rex, ", unmasked => true");
    execute(&mut w.of("ann"), &approve(open));
    raise(&mut w.admin, "sensitive_pii");
    denied(&mut rex, &run(open), "55000", &["not what was asked for"]);
    // While its rows are read.
    raise(&mut w.admin, "internal");
    let racing = request(&mut rex, "");
    let mut other = w.db.connect();
    execute(&mut other, "BEGIN; LOCK authz.data_export_chunk IN EXCLUSIVE MODE");
    let runner = std::thread::spawn(move || {
        let refusal = refused(&mut rex, &run(racing), "55000", &["not what was asked for"]);
        (rex, refusal)
    });
    soon("the run waits for the table of chunks", || {
        value(
            &mut w.admin,
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'authz.data_export_chunk'::regclass)",
            &[],
        )
    });
    raise(&mut w.admin, "pii");
    execute(&mut other, "COMMIT");
    let (mut rex, _) = runner.join().unwrap();
    assert_eq!(
        w.job(racing, "status").as_deref(),
        Some("pending"),
        "nothing was written"
    );
    denied(&mut rex, &run(racing), "55000", &["not what was asked for"]);
}
