//! What callers say: arguments, words of refusals, planted functions (R27, R30, PITFALLS 12, 16, 21).

use crate::{on_case, status};
use authz_tests::casework::{Casework, act, assign, session};
use authz_tests::make::{self, id};
use authz_tests::{Db, Start, denied, execute, refused, refused_with_hint, value};
use uuid::Uuid;

#[test]
fn r27_forbidden_foreign_and_absent_have_the_same_words() {
    let w = Casework::new();
    let d = w.submitted();
    let mut owner = w.owner();
    let foreign: Uuid = value(
        &mut owner,
        "INSERT INTO casework.case_decision (tenant_id, case_id, status, drafted_by) VALUES ($1, $2, 'submitted', $3) RETURNING decision_id",
        &[&id("globex"), &id("other"), &id("gus")],
    );
    let call = |tenant: &str, decision: Uuid, actor: &str| {
        format!(
            "SELECT approve_case_decision('{}', '{decision}', '{}', 'because')",
            id(tenant),
            id(actor)
        )
    };
    let mut eve = w.of("eve");
    let words = denied(&mut eve, &call("acme", d, "eve"), "42501", &["permission denied"]);
    for (tenant, decision, actor) in [
        ("acme", Uuid::from_u128(7), "eve"),
        ("globex", foreign, "eve"),
        ("acme", foreign, "eve"),
        ("globex", d, "eve"),
        ("nowhere", d, "eve"),
        // Somebody else's authority is not Eve's, whether the other one has any or not (PITFALLS 12).
        ("acme", d, "ben"),
        ("acme", d, "nobody"),
    ] {
        let said = denied(&mut eve, &call(tenant, decision, actor), "42501", &[]);
        assert_eq!(said, words, "{tenant} {decision} {actor}");
    }
    // A session that names another tenant, and none at all.
    let mut ben = w.db.connect_as(&w.app);
    denied(&mut ben, &call("acme", d, "ben"), "42501", &[]);
    execute(
        &mut ben,
        &format!(
            "SELECT authz_set_session('{}', '{}', '{{\"mfa\": true}}', false)",
            id("ben"),
            id("globex")
        ),
    );
    denied(&mut ben, &call("acme", d, "ben"), "42501", &[]);
    // The same of cases and documents, and of being the actor.
    let words = denied(&mut eve, &on_case("seal_case", "eve"), "42501", &[]);
    assert_eq!(denied(&mut eve, &on_case("seal_case", "dora"), "42501", &[]), words);
    let absent = on_case("seal_case", "eve").replace(&id("one").to_string(), &id("none").to_string());
    assert_eq!(denied(&mut eve, &absent, "42501", &[]), words);
    assert_eq!(status(&mut owner, d), "submitted");
}

/// A tenant that is not said is the session's, or the one that has the row; names and NULLs as a caller writes them.
#[test]
fn r30_the_tenant_may_be_left_to_the_resource() {
    let w = Casework::new();
    let mut owner = w.owner();
    let d = w.submitted();
    let of = |decision: Uuid, actor: &str| {
        format!(
            "SELECT approve_case_decision(reason => 'because', actor => '{}', decision => '{decision}', tenant => NULL)",
            id(actor)
        )
    };
    // What is not there, and what is forbidden, in the same words.
    let mut ben = w.of("ben");
    let forbidden = denied(&mut w.of("dora"), &of(d, "dora"), "42501", &["permission denied"]);
    let missing = denied(
        &mut ben,
        &of(id("no such decision"), "ben"),
        "42501",
        &["permission denied"],
    );
    assert_eq!(forbidden.lines().next(), missing.lines().next());
    // One that two tenants have is unclear, unless the session names its tenant.
    execute(
        &mut owner,
        &format!(
            "INSERT INTO casework.case_decision (tenant_id, decision_id, case_id, drafted_by)
             SELECT tenant_id, '{d}', case_id, '{}' FROM casework.case_record WHERE case_id = '{}'",
            id("gus"),
            id("other")
        ),
    );
    denied(&mut ben, &of(d, "ben"), "42501", &["permission denied"]);
    execute(
        &mut ben,
        &format!(
            "SELECT authz_set_session('{}', '{}', authz_context(), false)",
            id("ben"),
            id("acme")
        ),
    );
    execute(&mut ben, &of(d, "ben"));
    let approved: String = value(
        &mut owner,
        "SELECT status FROM casework.case_decision WHERE decision_id = $1 AND tenant_id = $2",
        &[&d, &id("acme")],
    );
    assert_eq!(approved, "approved");
    execute(
        &mut w.of("dora"),
        &format!("SELECT seal_case(NULL, '{}', '{}', 'because')", id("one"), id("dora")),
    );
    denied(
        &mut w.of("dora"),
        &format!(
            "SELECT seal_case(NULL, '{}', '{}', 'because')",
            id("nowhere"),
            id("dora")
        ),
        "42501",
        &["permission denied"],
    );
    denied(
        &mut w.of("dora"),
        &format!("SELECT download_case_document(NULL, '{}')", id("nowhere")),
        "42501",
        &["permission denied"],
    );
}

/// What cannot leave an event is refused before anything is looked at.
#[test]
fn r30_nothing_is_decided_in_a_read_only_transaction() {
    let w = Casework::new();
    let d = w.submitted();
    let mut ben = w.of("ben");
    execute(&mut ben, "SET default_transaction_read_only = on");
    for call in [
        act("approve", d, "ben"),
        act("reject", d, "ben"),
        on_case("seal_case", "ben"),
        assign("eve", "ben", "approver"),
        format!("SELECT download_case_document('{}', '{}')", id("acme"), id("paper")),
    ] {
        refused_with_hint(
            &mut ben,
            &call,
            "0A000",
            &["read-only", "read-write transaction on the primary"],
        );
    }
    execute(&mut ben, "SET default_transaction_read_only = off");
    execute(&mut ben, &act("approve", d, "ben"));
}

#[test]
fn r30_bad_arguments() {
    let w = Casework::new();
    let d = w.submitted();
    let mut ben = w.of("ben");
    for (call, words) in [
        (
            format!(
                "SELECT approve_case_decision('{}', NULL, '{}', 'x')",
                id("acme"),
                id("ben")
            ),
            "decision",
        ),
        (
            format!("SELECT approve_case_decision('{}', '{d}', NULL, 'x')", id("acme")),
            "actor",
        ),
        (
            format!(
                "SELECT approve_case_decision('{}', '{d}', '{}', ' \t')",
                id("acme"),
                id("ben")
            ),
            "reason",
        ),
        (
            format!(
                "SELECT approve_case_decision('{}', '{d}', '{}', NULL)",
                id("acme"),
                id("ben")
            ),
            "reason",
        ),
    ] {
        refused_with_hint(&mut ben, &call, "22023", &[words]);
    }
    let mut dora = w.of("dora");
    refused_with_hint(&mut dora, &assign("eve", "dora", "king"), "22023", &["king"]);
    refused_with_hint(
        &mut dora,
        &assign("gus", "dora", "approver"),
        "42501",
        &["no such member"],
    );
    refused_with_hint(
        &mut dora,
        &assign("dora", "dora", "approver"),
        "42501",
        &["own authority"],
    );
    refused_with_hint(&mut dora, &assign("ben", "dora", "approver"), "55000", &["already"]);
    // A permission that nobody defined is a mistake of whoever set the database up.
    let bare = Db::with(Start::Extension);
    let mut c = bare.connect();
    make::tenant(&mut c, "acme");
    make::principal(&mut c, "ben");
    session(&mut c, "ben", true);
    refused_with_hint(&mut c, &act("approve", d, "ben"), "42704", &["decision.approve"]);
}

#[test]
fn planted_functions_are_not_called() {
    // PITFALLS 16; functions that fit a call with fewer defaults or without a cast would win.
    let w = Casework::new();
    let d = w.submitted();
    let mut owner = w.owner();
    execute(
        &mut owner,
        "CREATE FUNCTION public.authz_can(uuid, text, uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE FUNCTION public.authz_can(uuid, varchar, uuid, uuid, jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE FUNCTION public.authz_can(text, text, text, text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE FUNCTION public.authz_protect(regclass, text, name, name) RETURNS TABLE (step text, detail text)
             LANGUAGE sql AS $$SELECT 'planted', 'planted'$$",
    );
    let mut eve = w.of("eve");
    execute(
        &mut eve,
        "CREATE TEMP TABLE case_decision (status text); CREATE FUNCTION pg_temp.authz_principal() RETURNS uuid
             LANGUAGE sql AS 'SELECT NULL::uuid'; SET search_path = pg_temp, public",
    );
    refused(
        &mut eve,
        &act("approve", d, "eve").replace("approve_", "public.approve_"),
        "42501",
        &[],
    );
    let planted: i64 = value(
        &mut owner,
        "SELECT count(*) FROM authz_install_casework() WHERE step = 'planted'",
        &[],
    );
    assert_eq!(planted, 0);
    assert_eq!(status(&mut owner, d), "submitted");
}
