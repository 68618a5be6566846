//! Checks write nothing and need nothing: read-only transactions, no transaction id, no privilege on the authority
//! tables, hot standbys (R72, PITFALLS 27, 31).

use authz_tests::cluster::Cluster;
use authz_tests::make::{self, can, id, reason};
use authz_tests::{Db, Server, Start, execute, refused, value};
use postgres::Client;

/// Alice may view the case `affair`, as may Bob under a condition that reads its row; neither may edit it.
fn fill(c: &mut Client) -> uuid::Uuid {
    let acme = make::tenant(c, "acme");
    make::role(c, "viewer", &["case.view", "tenant.view"]);
    make::role(c, "guest", &[]);
    make::allow(c, "guest", "case.view", Some("resource.title == 'affair'"));
    make::member(c, acme, "alice");
    make::member(c, acme, "bob");
    make::case(c, acme, "affair");
    make::assign(c, acme, id("bob"), "guest", "tenant", acme);
    make::assign(c, acme, id("alice"), "viewer", "tenant", acme)
}

/// Every form of the question, with the answers that `fill` leads to.
#[track_caller]
fn ask_everything(c: &mut Client) {
    assert!(can(c, id("alice"), "case.view", id("affair")));
    assert!(can(c, id("alice"), "tenant.view", id("acme")));
    assert!(can(c, id("bob"), "case.view", id("affair")));
    assert!(!can(c, id("alice"), "case.edit", id("affair")));
    assert_eq!(
        reason(c, id("bob"), "case.edit", id("affair")).as_deref(),
        Some("no_grant")
    );
    let many: Vec<bool> = c
        .query(
            "SELECT allowed FROM authz_can_many($1::uuid, 'case.view', ARRAY[$2, $1]::uuid[]) WITH ORDINALITY AS m(resource, allowed, n) ORDER BY n",
            &[&id("alice"), &id("affair")],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(many, [true, false]);
    assert!(
        value::<i64>(
            c,
            "SELECT count(*) FROM authz_permissions($1::uuid, $2::uuid, 'case')",
            &[&id("alice"), &id("affair")]
        ) > 0
    );
}

#[test]
fn checks_assign_no_transaction_id() {
    let db = Db::new();
    fill(&mut db.connect());
    for mode in ["READ ONLY", "READ WRITE", "ISOLATION LEVEL SERIALIZABLE READ ONLY"] {
        // The first call of a connection loads everything, the second has it all.
        let mut c = db.connect();
        for round in ["cold", "warm"] {
            execute(&mut c, &format!("BEGIN {mode}"));
            ask_everything(&mut c);
            let assigned: bool = value(&mut c, "SELECT pg_current_xact_id_if_assigned() IS NOT NULL", &[]);
            assert!(!assigned, "{mode}, {round}: a transaction id was assigned");
            execute(&mut c, "COMMIT");
        }
    }
}

#[test]
fn a_caller_needs_no_privilege_on_the_authority() {
    let db = Db::new();
    let mut owner = db.connect();
    let assignment = fill(&mut owner);
    let role = db.caller();
    for (what, sql) in [
        ("schema authz", "SELECT has_schema_privilege($1, 'authz', 'USAGE')"),
        (
            "a table of schema authz",
            "SELECT bool_or(has_table_privilege($1, c.oid, 'SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER'))
               FROM pg_class c WHERE relnamespace = 'authz'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')",
        ),
        (
            "the resource's table",
            "SELECT has_table_privilege($1, 'public.case_record', 'SELECT')",
        ),
    ] {
        assert!(
            !value::<bool>(&mut owner, sql, &[&role]),
            "{role} has a privilege on {what}"
        );
    }
    let mut c = db.connect_as(&role);
    refused(&mut c, "SELECT * FROM authz.principal", "42501", &[]);
    ask_everything(&mut c);
    make::revoke(&mut owner, assignment);
    assert!(!can(&mut c, id("alice"), "case.view", id("affair")));
    refused(&mut c, "SELECT * FROM authz.principal", "42501", &[]);
    // Nor does asking lend any.
    assert_eq!(value::<String>(&mut c, "SELECT current_user::text", &[]), role);
}

#[test]
fn public_has_nothing() {
    let db = Db::new();
    let mut c = db.connect();
    let open: Vec<String> = c
        .query(
            "SELECT 'schema ' || nspname FROM pg_namespace, aclexplode(nspacl) AS a WHERE nspname IN ('authz', 'casework') AND a.grantee = 0
             UNION ALL
             SELECT relkind::text || ' ' || c.oid::regclass FROM pg_class c, aclexplode(coalesce(relacl, acldefault('r', relowner))) AS a
              WHERE relnamespace IN ('authz'::regnamespace, 'casework'::regnamespace) AND relkind IN ('r', 'p', 'v', 'm', 'S') AND a.grantee = 0
             UNION ALL
             SELECT 'function ' || p.oid::regprocedure FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS a
              WHERE pronamespace IN ('authz'::regnamespace, 'casework'::regnamespace) AND a.grantee = 0
                -- What a plan of a protected query calls has to be executable by whoever runs the query. These tell
                -- nothing but what the session itself can see, and cannot be named without USAGE on the schema.
                AND p.proname NOT IN ('via', 'row_exact', 'row_condition', 'row_whole', 'sees_all', 'still', 'named_tenant', 'reach_uuid', 'reach_int2', 'reach_int4', 'reach_int8', 'reach_text',
                                      -- And what views call that others are let read: the session itself, or a row that they pass.
                                      'session_is_masked', 'session_is_member', 'access_state', 'reads_all_evidence', 'audited_tenants', 'audits_platform',
                                      -- A mask of safe views, which is refused anywhere else; and the class of a feed.
                                      'mask_hash', 'within_class', 'unmasked_moment', 'feed_classification',
                                      -- What authz_classify and authz_mask do: they ask themselves who may.
                                      'claim_ownership', 'classify', 'set_mask')",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(open.is_empty(), "open to PUBLIC: {open:#?}");
}

/// A list tells what there is, also of what somebody else may see and the caller may not.
#[test]
fn lists_and_explanations_are_granted_one_by_one() {
    let db = Db::new();
    let mut owner = db.connect();
    fill(&mut owner);
    let mut c = db.connect_as(&db.role());
    let (alice, affair) = (id("alice"), id("affair"));
    for call in [
        format!("authz_resources('{alice}', 'case.view')"),
        format!("authz_principals('case.view', '{affair}'::uuid)"),
        format!("authz_explain('{alice}', 'case.view', '{affair}'::uuid)"),
        format!("authz_explain_text('{alice}', 'case.view', '{affair}'::uuid)"),
    ] {
        refused(
            &mut c,
            &format!("SELECT {call}"),
            "42501",
            &["permission denied for function"],
        );
    }
}

#[test]
fn a_hot_standby_answers_and_hears_of_revocations() {
    let primary = Cluster::start(&["wal_level = replica", "max_wal_senders = 4"]);
    let db = Db::on(&primary.server, Start::Fixture);
    let mut on_primary = db.connect();
    let assignment = fill(&mut on_primary);
    let role = db.caller();
    let standby = primary.standby();
    let connect = |user: &str| -> Client { Server::connect(&standby.server, &db.name, user) };
    let mut plain = connect("postgres");
    let mut unprivileged = connect(&role);
    let mut open = connect("postgres");
    assert!(value::<bool>(&mut plain, "SELECT pg_is_in_recovery()", &[]));

    standby.catch_up(&mut on_primary);
    ask_everything(&mut plain);
    ask_everything(&mut unprivileged);
    execute(&mut open, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert!(can(&mut open, id("alice"), "case.view", id("affair")));

    make::revoke(&mut on_primary, assignment);
    standby.catch_up(&mut on_primary);
    assert!(
        !can(&mut open, id("alice"), "case.view", id("affair")),
        "in an open transaction"
    );
    assert!(!can(&mut plain, id("alice"), "case.view", id("affair")));
    assert!(!can(&mut unprivileged, id("alice"), "case.view", id("affair")));
    execute(&mut open, "COMMIT");
    assert!(!can(&mut open, id("alice"), "case.view", id("affair")));
    // The rest of the cache is in order.
    assert!(can(&mut plain, id("bob"), "case.view", id("affair")));
    for call in [
        "authz_request_export('x', 'x')",
        "authz_run_export(gen_random_uuid())",
        "approve_case_decision(NULL, gen_random_uuid(), gen_random_uuid(), 'x')",
        "authz_break_glass('x')",
        "authz_assign_role(gen_random_uuid(), 'viewer')",
    ] {
        refused(
            &mut plain,
            &format!("SELECT {call}"),
            "0A000",
            &["standby", "on the primary"],
        );
    }

    make::assign(&mut on_primary, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
    standby.catch_up(&mut on_primary);
    ask_everything(&mut plain);
    ask_everything(&mut unprivileged);
}

/// What may be called where nothing can be written: the session, which is not in the database; what tells and records
/// nothing; what is for owners and maintenance, which PostgreSQL refuses by itself (25006); and authz_reveal, which is
/// refused when it counts (tests/reveal.rs).
const MAY_BE_CALLED: [&str; 21] = [
    "authz_alter_audited_view",
    "authz_archive_audit",
    "authz_audit_head",
    "authz_audit_verify",
    "authz_bootstrap_administrator",
    "authz_clear_session",
    "authz_create_audited_view",
    "authz_create_feed",
    "authz_create_safe_view",
    "authz_define_export",
    "authz_install_casework",
    "authz_install_casework_views",
    "authz_install_roles",
    "authz_maintain",
    "authz_protect",
    "authz_register_copy",
    "authz_reveal",
    "authz_set_session",
    "authz_set_session_token",
    "authz_stats",
    "authz_unprotect",
];

/// Every other function that changes something and leaves an event refuses to where it could not (0A000), whatever it is
/// asked, before it looks at anything.
#[test]
fn what_leaves_events_is_refused_where_they_cannot_be_written() {
    let db = Db::with(Start::Extension);
    let mut c = db.connect();
    let functions: Vec<(String, String)> = c
        .query(
            "SELECT p.proname::text, format('SELECT * FROM %I(%s)', p.proname,
                    (SELECT string_agg(CASE WHEN p.proname ~ '_many$' THEN '''[{}]''' ELSE 'NULL' END || '::' || format_type(a.type, NULL),
                                       ', ' ORDER BY a.n)
                     FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, n)))
               FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
              WHERE p.pronamespace = 'public'::regnamespace AND p.provolatile = 'v' AND p.prokind = 'f' ORDER BY 1",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    for name in MAY_BE_CALLED {
        assert!(functions.iter().any(|f| f.0 == name), "{name} is gone");
    }
    let mut tried = 0;
    execute(&mut c, "BEGIN READ ONLY; SAVEPOINT s");
    for (name, call) in functions {
        if !MAY_BE_CALLED.contains(&name.as_str()) {
            refused(
                &mut c,
                &call,
                "0A000",
                &["read-only", "read-write transaction on the primary"],
            );
            execute(&mut c, "ROLLBACK TO s");
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried}");
}
