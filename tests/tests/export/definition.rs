//! Definitions of exports: who makes them, and what is checked (R32).

use authz_tests::exports::{Exports, exported};
use authz_tests::{execute, refused, refused_with_hint, value};

#[test]
fn definitions_are_made_by_the_owner_of_the_source_and_checked() {
    let mut w = Exports::new();
    let with = |source: &str, columns: &str, permission: &str, more: &str| {
        format!("SELECT authz_define_export('test', '{source}', '{columns}', '{permission}'{more})")
    };
    for (sql, code, word) in [
        (
            with("public.claim", "{claim_id,nothing}", "claim.export", ""),
            "42703",
            "nothing",
        ),
        (
            with("public.claim", "{claim_id,claim_id}", "claim.export", ""),
            "42701",
            "claim_id",
        ),
        (with("public.claim", "{}", "claim.export", ""), "22023", "one by one"),
        (
            with("public.claim", "{claim_id}", "claim.nothing", ""),
            "42704",
            "claim.nothing",
        ),
        (
            "SELECT authz_define_export('test', NULL, '{claim_id}', 'claim.export')".to_owned(),
            "22023",
            "missing",
        ),
        (
            "SELECT authz_define_export('test', 'public.claim', '{claim_id}', NULL)".to_owned(),
            "22023",
            "missing",
        ),
        (
            with(
                "public.claim",
                "{claim_id}",
                "claim.export",
                ", approval_above => 'secret'",
            ),
            "22023",
            "below secret",
        ),
        (
            with("public.claim", "{claim_id}", "claim.export", ", max_rows => 0"),
            "22023",
            "positive",
        ),
        (
            with("pg_catalog.pg_authid", "{rolname}", "claim.export", ""),
            "42809",
            "system",
        ),
        (
            with("authz.principal", "{email}", "claim.export", ""),
            "55000",
            "protected",
        ),
    ] {
        refused(&mut w.admin, &sql, code, &[word]);
    }
    execute(
        &mut w.admin,
        "ALTER TABLE public.claim ADD COLUMN fresh text; CREATE TABLE public.plain (a int); CREATE VIEW public.seen AS SELECT * FROM public.claim",
    );
    refused_with_hint(
        &mut w.admin,
        &with("public.claim", "{fresh}", "claim.export", ""),
        "55000",
        &["fresh", "authz_classify"],
    );
    refused_with_hint(
        &mut w.admin,
        &with("public.plain", "{a}", "claim.export", ""),
        "55000",
        &["authz_protect"],
    );
    // A view that is not safe reads with its owner's eyes (PITFALLS 24).
    refused(
        &mut w.admin,
        &with("public.seen", "{claim_id}", "claim.export", ""),
        "55000",
        &[],
    );
    let count: i64 = value(
        &mut w.admin,
        "SELECT count(*) FROM authz.export_definition WHERE export_type = 'test'",
        &[],
    );
    assert_eq!(count, 0);
    // Whoever may write definitions still needs to own the source: a definition lends its owner's privileges.
    let other = w.db.role();
    execute(
        &mut w.admin,
        &format!(
            "GRANT USAGE ON SCHEMA authz TO {other}; GRANT SELECT, INSERT, UPDATE ON authz.export_definition TO {other};
             GRANT EXECUTE ON FUNCTION authz_define_export, authz.check_export_source TO {other}; GRANT ALL ON public.claim TO {other}"
        ),
    );
    let mut c = w.db.connect_as(&other);
    refused(
        &mut c,
        &with("public.claim", "{claim_id}", "claim.export", ""),
        "42501",
        &["must be owner"],
    );
    refused(
        &mut c,
        "INSERT INTO authz.export_definition (export_type, source, columns, permission_code) VALUES ('x', 'public.claim', '{claim_id}', 'claim.export')",
        "42501",
        &["must be owner"],
    );
    execute(&mut w.admin, &format!("ALTER TABLE public.claim OWNER TO {other}"));
    execute(&mut c, &with("public.claim", "{claim_id}", "claim.export", ""));
    refused_with_hint(
        &mut w.admin,
        "DELETE FROM authz.export_definition",
        "55000",
        &["closed_at"],
    );
    // Changes of definitions are on record (R51).
    let changes: i64 = value(
        &mut w.admin,
        "SELECT count(*) FROM authz.access_change_event WHERE table_name = 'export_definition' AND row_key = 'test'",
        &[],
    );
    assert_eq!(changes, 1);
    assert_eq!(exported(&mut w.of("rex"), "").lines().count(), 5);
    execute(
        &mut w.admin,
        &format!(
            "ALTER TABLE public.claim OWNER TO CURRENT_USER; REVOKE ALL ON public.claim FROM {other}; REVOKE ALL ON ALL TABLES IN SCHEMA authz FROM {other}; REVOKE ALL ON SCHEMA authz FROM {other}"
        ),
    );
}
