//! Cases and documents: ownership, sealing, deletion, references (R17, R25, R26, R28, PITFALLS 18).

use crate::on_case;
use authz_tests::casework::{Casework, act, assign};
use authz_tests::make::{self, id};
use authz_tests::{denied, execute, refused, refused_with_hint, value};
use postgres::Client;
use uuid::Uuid;

#[test]
fn r17_ownership_is_transferred_and_has_a_past() {
    let w = Casework::new();
    let (mut dora, mut owner) = (w.of("dora"), w.owner());
    make::role(&mut owner, "clerk", &["case.view"]);
    make::assign(&mut owner, id("acme"), id("eve"), "clerk", "team", id("field"));
    let transfer = |kind: &str, to: &str, actor: &str| {
        format!(
            "SELECT transfer_case_ownership('{}', '{}', '{kind}', '{}', '{}', 'reorganised')",
            id("acme"),
            id("one"),
            id(to),
            id(actor)
        )
    };
    let owners = |c: &mut Client| -> String {
        value(
            c,
            "SELECT concat_ws(' ', owning_org_id, owning_team_id, owner_principal_id) FROM casework.case_record WHERE case_number = 'one'",
            &[],
        )
    };
    execute(&mut dora, &transfer("team", "field", "dora"));
    assert_eq!(owners(&mut owner), format!("{} {}", id("office"), id("field")));
    let can = "SELECT authz_can('case.view', $1::uuid)";
    assert!(value::<bool>(&mut w.of("eve"), can, &[&id("one")]));
    execute(&mut dora, &transfer("principal", "eve", "dora"));
    // The owner's role holds.
    assert!(value::<bool>(
        &mut w.of("eve"),
        "SELECT authz_can('case.edit', $1::uuid)",
        &[&id("one")]
    ));
    execute(&mut dora, &transfer("organization", "office", "dora"));
    assert_eq!(owners(&mut owner), id("office").to_string());
    assert!(!value::<bool>(&mut w.of("eve"), can, &[&id("one")]));
    // History: who, by whom, why, from when; decisions about the past use it.
    let history: Vec<String> = value(
        &mut dora,
        "SELECT array_agg(owner_type || ' ' || reason_code || ' ' || (unassigned_at IS NULL) ORDER BY owner_type COLLATE \"C\")
           FROM casework.case_ownership_history WHERE assigned_by = authz_principal()",
        &[],
    );
    assert_eq!(
        history,
        [
            "organization reorganised true",
            "principal reorganised false",
            "team reorganised false"
        ]
    );
    let between = "SELECT assigned_at + (unassigned_at - assigned_at) / 2 FROM casework.case_ownership_history WHERE owner_type = 'principal'";
    assert!(value::<bool>(
        &mut owner,
        &format!("SELECT authz_can_at($1, 'case.edit', $2::uuid, ({between}), $3)"),
        &[&id("eve"), &id("one"), &id("acme")]
    ));
    assert!(!value::<bool>(
        &mut owner,
        "SELECT authz_can_at($1, 'case.edit', $2::uuid, now() - interval '1 hour', $3)",
        &[&id("eve"), &id("one"), &id("acme")]
    ));
    // The setting says afterwards what it said before.
    assert_eq!(
        value::<String>(
            &mut dora,
            "SELECT coalesce(current_setting('authz.change_reason', true), '')",
            &[]
        ),
        ""
    );
    refused_with_hint(
        &mut dora,
        &transfer("organization", "office", "dora"),
        "55000",
        &["already"],
    );
    refused_with_hint(&mut dora, &transfer("team", "nobody", "dora"), "22023", &["no team"]);
    refused_with_hint(&mut dora, &transfer("king", "field", "dora"), "22023", &["king"]);
    refused_with_hint(
        &mut dora,
        &transfer("principal", "gus", "dora"),
        "42501",
        &["no such member"],
    );
    refused_with_hint(
        &mut dora,
        &transfer("principal", "dora", "dora"),
        "42501",
        &["own authority"],
    );
    refused_with_hint(
        &mut w.of("ann"),
        &transfer("principal", "ben", "ann"),
        "42501",
        &["permission denied"],
    );
}

#[test]
fn r25_r26_sealing_deletion_and_documents() {
    let w = Casework::new();
    let (mut dora, mut ann, mut ben, mut owner) = (w.of("dora"), w.of("ann"), w.of("ben"), w.owner());
    let seen =
        |c: &mut Client, table: &str| -> i64 { value(c, &format!("SELECT count(*) FROM casework.{table}"), &[]) };
    // The session's principal is who uploads; documents have a level of their own; details are for few.
    execute(
        &mut ann,
        &format!(
            "INSERT INTO casework.case_document (tenant_id, case_id, document_type, storage_object_id) VALUES ('{0}', '{1}', 'letter', 's3://x');
             INSERT INTO casework.case_sensitive_detail (tenant_id, case_id, complainant_name) VALUES ('{0}', '{1}', 'Zoe')",
            id("acme"),
            id("one")
        ),
    );
    refused(
        &mut ann,
        &format!(
            "INSERT INTO casework.case_document (tenant_id, case_id, confidentiality_level) VALUES ('{}', '{}', 'sealed')",
            id("acme"),
            id("one")
        ),
        "42501",
        &[],
    );
    execute(
        &mut owner,
        &format!(
            "INSERT INTO casework.case_document (tenant_id, case_id, confidentiality_level) VALUES ('{}', '{}', 'sealed')",
            id("acme"),
            id("one")
        ),
    );
    assert_eq!(
        (seen(&mut ann, "case_document"), seen(&mut ann, "case_sensitive_detail")),
        (1, 1)
    );
    assert_eq!(
        (seen(&mut ben, "case_document"), seen(&mut ben, "case_sensitive_detail")),
        (1, 0)
    );
    // Where content is stored is told to those who may download it, by the function.
    for statement in [
        "SELECT storage_object_id FROM casework.case_document",
        "SELECT * FROM casework.case_document",
        "SELECT count(*) FROM casework.case_document WHERE storage_object_id LIKE 's3%'",
        "SELECT count(*) FROM casework.case_document AS d WHERE d IS NOT NULL",
        "UPDATE casework.case_document SET document_type = storage_object_id",
        "UPDATE casework.case_document SET document_type = 'x' RETURNING storage_object_id",
    ] {
        refused(&mut ann, statement, "42501", &[]);
    }
    let letter: Uuid = value(&mut ann, "SELECT document_id FROM casework.case_document", &[]);
    let download = format!("SELECT download_case_document('{}', '{letter}')", id("acme"));
    assert_eq!(value::<String>(&mut ben, &download, &[]), "s3://x");
    let words = denied(&mut dora, &download, "42501", &[]);
    let absent = download.replace(&letter.to_string(), &id("none").to_string());
    assert_eq!(denied(&mut dora, &absent, "42501", &[]), words);
    let mut nobody = w.db.connect_as(&w.app);
    assert_eq!(denied(&mut nobody, &download, "42501", &[]), words);

    // Deletion hides, and can be undone by who may; nothing is decided on what is deleted.
    let d = w.submitted();
    execute(&mut dora, &on_case("delete_case", "dora"));
    for table in ["case_record", "case_document", "case_decision", "case_sensitive_detail"] {
        assert_eq!(seen(&mut ann, table), 0, "{table}");
    }
    assert_eq!(seen(&mut dora, "case_record"), 1);
    denied(&mut ben, &act("approve", d, "ben"), "42501", &[]);
    make::role(&mut owner, "undead", &["case.view_deleted"]);
    make::assign(&mut owner, id("acme"), id("ben"), "undead", "tenant", id("acme"));
    denied(&mut ben, &act("approve", d, "ben"), "55000", &["deleted"]);
    refused_with_hint(&mut dora, &on_case("delete_case", "dora"), "55000", &["already"]);
    refused_with_hint(&mut dora, &assign("eve", "dora", "approver"), "55000", &["not open"]);
    refused_with_hint(&mut ann, &on_case("restore_case", "ann"), "42501", &[]);
    execute(&mut dora, &on_case("restore_case", "dora"));
    refused_with_hint(&mut dora, &on_case("restore_case", "dora"), "55000", &["not deleted"]);
    assert_eq!(seen(&mut ann, "case_record"), 1);

    // Sealed: out of sight for those who worked on it.
    execute(&mut dora, &on_case("seal_case", "dora"));
    for table in ["case_record", "case_document", "case_decision", "case_sensitive_detail"] {
        assert_eq!(seen(&mut ann, table), 0, "{table}");
    }
    denied(&mut ben, &act("approve", d, "ben"), "42501", &[]);
    let events: Vec<String> = value(
        &mut owner,
        "SELECT array_agg(DISTINCT action_code ORDER BY action_code) FROM authz.access_audit_event
          WHERE resource_type = 'case' AND access_result = 'allowed' AND context ->> 'reason' = 'because'",
        &[],
    );
    assert_eq!(events, ["case.assign", "case.delete", "case.restore", "case.seal"]);
}

#[test]
fn r28_keys_are_tenant_scoped_and_nothing_cascades() {
    let w = Casework::new();
    let mut owner = w.owner();
    // PITFALLS 18.
    let loose: Vec<String> = value(
        &mut owner,
        "SELECT coalesce(array_agg(k.conname::text), '{}') FROM pg_constraint k
          WHERE k.connamespace = 'casework'::regnamespace
            AND ((k.contype = 'f' AND (k.confdeltype <> 'a' OR k.confupdtype <> 'a'))
              OR (k.contype IN ('p', 'u') AND k.conkey[1] <> 1)
              OR (k.contype = 'f' AND k.confrelid NOT IN ('authz.principal'::regclass, 'authz.principal_role_assignment'::regclass)
                  AND NOT k.conkey @> ARRAY[1::smallint]))",
        &[],
    );
    assert!(loose.is_empty(), "{loose:?}");
    for (table, columns) in [
        ("case_document", "tenant_id, case_id"),
        ("case_sensitive_detail", "tenant_id, case_id"),
    ] {
        refused(
            &mut owner,
            &format!(
                "INSERT INTO casework.{table} ({columns}) VALUES ('{}', '{}')",
                id("globex"),
                id("one")
            ),
            "23503",
            &[],
        );
    }
    refused(
        &mut owner,
        &format!(
            "UPDATE casework.case_record SET owning_team_id = '{}' WHERE tenant_id = '{}'",
            id("field"),
            id("globex")
        ),
        "23503",
        &[],
    );
    // A reader learns nothing from references to what it does not see (PITFALLS 19).
    let mut eve = w.of("eve");
    let insert = |case: &str| {
        format!(
            "INSERT INTO casework.case_document (tenant_id, case_id) VALUES ('{}', '{}')",
            id("acme"),
            id(case)
        )
    };
    let words = refused(&mut eve, &insert("one"), "42501", &[]);
    assert_eq!(refused(&mut eve, &insert("none"), "42501", &[]), words);
    assert_eq!(refused(&mut eve, &insert("other"), "42501", &[]), words);
}
