//! The views of the reference domain (R40 to R42): every column classified, safe views that the generic tools made, for exactly
//! the roles that they are meant for.

use authz_tests::casework::{Casework, ROLES, install_roles};
use authz_tests::make::{self, id};
use authz_tests::matrix::{Matrix, SECRETS, told};
use authz_tests::{Db, Start, execute, refused_with_hint, value};
use uuid::Uuid;

#[test]
fn r40_every_column_of_the_reference_domain_is_classified() {
    let w = Casework::new();
    let mut c = w.owner();
    let open: i64 = value(
        &mut c,
        "SELECT count(*) FROM authz.unclassified_column WHERE target::text LIKE 'casework.%'",
        &[],
    );
    assert_eq!(open, 0);
    let sensitive: Vec<String> = value(
        &mut c,
        "SELECT array_agg(target::text || '.' || column_name || ': ' || classification ORDER BY 1) FROM (
             SELECT target, column_name, classification FROM authz.column_classification
              WHERE classification <> 'internal' ORDER BY target::text, column_name) AS x",
        &[],
    );
    assert_eq!(sensitive.len(), 8, "{sensitive:#?}");
    // What the owner of the database has decided stays.
    execute(
        &mut c,
        "SELECT authz_classify('casework.case_record', 'title', 'pii', 'names people');
         SELECT * FROM authz_install_casework()",
    );
    let class: String = value(
        &mut c,
        "SELECT classification FROM authz.column_classification WHERE target = 'casework.case_record'::regclass AND column_name = 'title'",
        &[],
    );
    assert_eq!(class, "pii");
}

#[test]
fn r42_who_may_read_which_view() {
    let m = Matrix::new();
    let prefix = &m.casework.prefix;
    let mut c = m.owner();
    let readers = "SELECT coalesce(string_agg(format('%s %s', c.relname, substr(r.rolname, length($1) + 1)), ', ' ORDER BY c.relname, r.rolname), '')
                     FROM pg_class AS c, pg_roles AS r
                    WHERE c.relnamespace = 'casework_views'::regnamespace AND starts_with(r.rolname, $1)
                      AND has_table_privilege(r.oid, c.oid, 'SELECT') AND c.relowner <> r.oid";
    let expected = value::<String>(&mut c, readers, &[prefix]);
    assert_eq!(
        expected,
        "case_overview support_tool, case_report analytics_export, case_report readonly, case_report runtime, \
         sensitive_detail break_glass, sensitive_detail runtime, sensitive_detail support_tool"
    );
    // Again: the same.
    execute(
        &mut c,
        &format!("SELECT * FROM authz_install_casework_views('{prefix}')"),
    );
    assert_eq!(value::<String>(&mut c, readers, &[prefix]), expected);
    let wrong: Vec<String> = value(
        &mut c,
        "SELECT coalesce(array_agg(view::text || ': ' || problems::text), '{}') FROM authz.safe_view_state WHERE NOT is_current",
        &[],
    );
    assert_eq!(wrong, [""; 0]);
    // Nobody may make anything in the schema, and the views' owner is nobody who logs in or is outside of row security.
    for role in ROLES {
        let create: bool = value(
            &mut c,
            "SELECT has_schema_privilege($1, 'casework_views', 'CREATE')",
            &[&format!("{prefix}{role}")],
        );
        assert!(!create, "{role}");
    }
    let plain: bool = value(
        &mut c,
        "SELECT NOT (rolcanlogin OR rolsuper OR rolbypassrls) FROM pg_roles WHERE rolname = $1",
        &[&format!("{prefix}casework_views")],
    );
    assert!(plain);
    // The title is for those who may see what is confidential, in each case.
    for (who, seen) in [("ann", "one one"), ("dora", "one (hidden)"), ("eve", "")] {
        let shown = told(
            &mut m.with_role("support_tool", who),
            "SELECT case_number, title FROM casework_views.case_overview WHERE case_number = 'one'",
        );
        assert_eq!(shown, seen, "{who}");
    }
    // Break-glass opens everything, for its time.
    make::role(&mut c, "breaker", &["access.break_glass"]);
    make::assign(&mut c, id("acme"), id("eve"), "breaker", "tenant", id("acme"));
    let mut eve = m.with_role("break_glass", "eve");
    let look = "SELECT complainant_name, complainant_identifier, restricted_notes FROM casework_views.sensitive_detail";
    assert_eq!(told(&mut eve, look), "");
    let session: Uuid = value(&mut eve, "SELECT authz_break_glass('fire', $1)", &[&id("acme")]);
    assert_eq!(told(&mut eve, look), SECRETS.join(" "));
    execute(
        &mut eve,
        &format!("SELECT authz_end_privileged_session('{session}', 'out')"),
    );
    assert_eq!(told(&mut eve, look), "");
    // A case that is deleted, or another tenant's, is not there.
    execute(
        &mut c,
        &format!(
            "UPDATE casework.case_record SET deleted_at = now() WHERE case_id = '{}'",
            id("one")
        ),
    );
    assert_eq!(
        told(
            &mut m.with_role("support_tool", "ann"),
            "SELECT case_number FROM casework_views.case_overview"
        ),
        ""
    );
}

#[test]
fn views_that_cannot_be_installed() {
    let db = Db::with(Start::Extension);
    let mut c = db.connect();
    refused_with_hint(
        &mut c,
        "SELECT * FROM authz_install_casework_views('nobody_')",
        "55000",
        &["nobody_runtime"],
    );
    refused_with_hint(
        &mut c,
        "SELECT * FROM authz_install_casework_views(NULL)",
        "55000",
        &["runtime"],
    );
    let prefix = install_roles(&db);
    // Without the reference domain there is nothing to show.
    refused_with_hint(
        &mut c,
        &format!("SELECT * FROM authz_install_casework_views('{prefix}')"),
        "55000",
        &["protect"],
    );
    execute(&mut c, "SELECT * FROM authz_install_casework()");
    let owner = format!("{prefix}casework_views");
    execute(&mut c, &format!("CREATE ROLE {owner} BYPASSRLS"));
    db.adopt(&owner);
    refused_with_hint(
        &mut c,
        &format!("SELECT * FROM authz_install_casework_views('{prefix}')"),
        "55000",
        &["BYPASSRLS"],
    );
    let left: i64 = value(
        &mut c,
        "SELECT count(*) FROM pg_namespace WHERE nspname = 'casework_views'",
        &[],
    );
    assert_eq!(left, 0, "nothing half done");
    execute(&mut c, &format!("ALTER ROLE {owner} NOBYPASSRLS"));
    // Who owns the schema, or made a view there before, could put its own in the place of one.
    let mallory = db.role();
    execute(&mut c, &format!("CREATE SCHEMA casework_views AUTHORIZATION {mallory}"));
    refused_with_hint(
        &mut c,
        &format!("SELECT * FROM authz_install_casework_views('{prefix}')"),
        "55000",
        &["belongs to somebody else"],
    );
    execute(
        &mut c,
        &format!(
            "SET ROLE {mallory}; CREATE VIEW casework_views.case_report AS SELECT 1 AS cases; RESET ROLE;
             ALTER SCHEMA casework_views OWNER TO CURRENT_USER"
        ),
    );
    refused_with_hint(
        &mut c,
        &format!("SELECT * FROM authz_install_casework_views('{prefix}')"),
        "42P07",
        &["no audited view"],
    );
}
