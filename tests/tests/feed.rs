//! Feeds for a warehouse (R44): each row takes its boundary along, and copies that have lost it are found.

use authz_tests::exports::Exports;
use authz_tests::make::{self, id};
use authz_tests::session::act_as;
use authz_tests::{execute, refused, refused_with_hint, value};
use postgres::Client;

const BOUNDARY: &str = "authz_tenant, authz_classification, authz_source, authz_loaded_at, authz_policy_group";

fn problems(c: &mut Client) -> Vec<String> {
    c.query(
        "SELECT coalesce(feed_name, '-') || ': ' || object::text || ': ' || problem FROM authz.feed_problem ORDER BY 1",
        &[],
    )
    .unwrap()
    .iter()
    .map(|row| row.get(0))
    .collect()
}

/// Claims with a feed in schema reporting; the application may read both.
fn world() -> Exports {
    let mut w = Exports::new();
    execute(
        &mut w.admin,
        &format!(
            "CREATE SCHEMA reporting; GRANT USAGE ON SCHEMA reporting TO {app}; GRANT SELECT ON public.claim TO {app};
             SELECT authz_create_feed('reporting.claim_feed', 'public.claim', source_name => 'claims-eu', policy_group => 'claims');
             GRANT SELECT ON reporting.claim_feed TO {app}",
            app = w.app
        ),
    );
    w
}

#[test]
fn r44_tenant_classification_source_load_time_and_policy_group_travel_with_each_row() {
    let mut w = world();
    let mut rex = w.of("rex");
    let rows = rex
        .query(
            "SELECT authz_tenant, authz_classification, authz_source, authz_policy_group, authz_loaded_at = statement_timestamp(), claim_id
               FROM reporting.claim_feed",
            &[],
        )
        .unwrap();
    assert_eq!(rows.len(), 3, "row security is that of its reader");
    for row in &rows {
        assert_eq!(
            (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4)),
            (id("acme"), "internal", "claims-eu", "claims", true)
        );
    }
    assert!(
        w.db.connect_as(&w.app)
            .query("SELECT FROM reporting.claim_feed", &[])
            .unwrap()
            .is_empty()
    );
    // What is classified higher is left out, unless it is said; what is secret always is.
    let columns: Vec<String> = value(
        &mut w.admin,
        "SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'reporting.claim_feed'::regclass AND attnum > 0",
        &[],
    );
    assert!(
        !columns.contains(&"holder".to_owned()) && !columns.contains(&"secret".to_owned()),
        "{columns:?}"
    );
    execute(
        &mut w.admin,
        "SELECT authz_create_feed('reporting.claim_feed', 'public.claim', '{claim_id,holder}', 'pii', policy_group => 'claims')",
    );
    execute(
        &mut w.admin,
        &format!("GRANT SELECT ON reporting.claim_feed TO {}", w.app),
    );
    let row = rex
        .query_one(
            "SELECT authz_classification, authz_source FROM reporting.claim_feed LIMIT 1",
            &[],
        )
        .unwrap();
    assert_eq!((row.get(0), row.get::<_, &str>(1)), ("pii", w.db.name.as_str()));
    assert_eq!(problems(&mut w.admin), Vec::<String>::new());
}

#[test]
fn r44_rows_that_are_not_normal_have_a_policy_group_of_their_own() {
    let mut w = world();
    execute(
        &mut w.admin,
        "ALTER TABLE public.claim ADD COLUMN level text DEFAULT 'normal';
         INSERT INTO authz.data_classification (target, column_name, classification) VALUES ('public.claim', 'level', 'internal');
         INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('claim.view_sealed', 'claim', 'view_sealed');
         SELECT FROM authz_protect('public.claim', 'claim', 'claim_id', 'tenant_id', team => 'team_id', confidentiality => 'level');
         SELECT authz_create_feed('reporting.claim_feed', 'public.claim')",
    );
    execute(
        &mut w.admin,
        &format!(
            "GRANT SELECT ON reporting.claim_feed TO {}; UPDATE public.claim SET level = 'sealed' WHERE claim_id = '{}'",
            w.app,
            id("c1")
        ),
    );
    make::allow(&mut w.admin, "exporter", "claim.view_sealed", None);
    let groups: Vec<String> = value(
        &mut w.of("rex"),
        "SELECT array_agg(authz_policy_group ORDER BY authz_policy_group) FROM reporting.claim_feed",
        &[],
    );
    assert_eq!(groups, ["claim", "claim", "claim/sealed"]);
}

#[test]
fn r44_a_feed_whose_column_was_classified_higher_is_not_read() {
    let mut w = world();
    let mut rex = w.of("rex");
    execute(
        &mut w.admin,
        "UPDATE authz.data_classification SET classification = 'sensitive_pii' WHERE column_name = 'note'",
    );
    // Whichever of its columns are read.
    for what in ["*", "note", "count(*)", "claim_id, authz_tenant", ""] {
        let sql = format!("SELECT {what} FROM reporting.claim_feed");
        refused_with_hint(&mut rex, &sql, "55000", &["note"]);
    }
    assert!(
        problems(&mut w.admin)
            .iter()
            .any(|p| p.contains("higher than it may copy"))
    );
    execute(
        &mut w.admin,
        "DELETE FROM authz.data_classification WHERE column_name = 'note'",
    );
    refused_with_hint(&mut rex, "SELECT * FROM reporting.claim_feed", "55000", &["note"]);
}

#[test]
fn r44_copies_that_have_lost_their_boundary_are_found() {
    let mut w = world();
    act_as(&mut w.admin, "rex");
    execute(
        &mut w.admin,
        "CREATE TABLE reporting.copy AS SELECT * FROM reporting.claim_feed;
         ALTER TABLE reporting.copy ENABLE ROW LEVEL SECURITY;
         SELECT authz_register_copy('reporting.claim_feed', 'reporting.copy')",
    );
    assert_eq!(problems(&mut w.admin), Vec::<String>::new());
    execute(&mut w.admin, "ALTER TABLE reporting.copy DISABLE ROW LEVEL SECURITY");
    assert_eq!(
        problems(&mut w.admin),
        ["reporting.claim_feed: reporting.copy: the copy is not under row security"]
    );
    execute(
        &mut w.admin,
        "ALTER TABLE reporting.copy ENABLE ROW LEVEL SECURITY, DROP COLUMN authz_tenant, ALTER COLUMN authz_policy_group TYPE varchar;
         CREATE MATERIALIZED VIEW reporting.bare AS SELECT claim_id, status FROM public.claim;
         CREATE MATERIALIZED VIEW reporting.narrow AS SELECT claim_id FROM reporting.claim_feed;
         CREATE MATERIALIZED VIEW reporting.whole AS SELECT * FROM reporting.claim_feed",
    );
    assert_eq!(
        problems(&mut w.admin),
        [
            "-: reporting.bare: a materialized view of claim without its boundary",
            "-: reporting.narrow: a materialized view of reporting.claim_feed without its boundary",
            "reporting.claim_feed: reporting.copy: the copy has lost its boundary: authz_tenant, authz_policy_group",
        ]
    );
    // One that has lost it already is not taken.
    execute(
        &mut w.admin,
        &format!(
            "CREATE TABLE reporting.other AS SELECT claim_id, {BOUNDARY} FROM reporting.claim_feed; ALTER TABLE reporting.other DROP COLUMN authz_source"
        ),
    );
    refused_with_hint(
        &mut w.admin,
        "SELECT authz_register_copy('reporting.claim_feed', 'reporting.other')",
        "55000",
        &["authz_source"],
    );
    refused_with_hint(
        &mut w.admin,
        "SELECT authz_register_copy('reporting.nothing', 'reporting.other')",
        "42704",
        &[],
    );
    // A feed that was replaced by hand, or is gone.
    execute(
        &mut w.admin,
        "DROP MATERIALIZED VIEW reporting.narrow, reporting.bare, reporting.whole; DROP TABLE reporting.copy;
         ALTER VIEW reporting.claim_feed SET (security_invoker = false)",
    );
    assert!(problems(&mut w.admin)[0].contains("reads past row security"));
    execute(&mut w.admin, "DROP VIEW reporting.claim_feed");
    assert!(problems(&mut w.admin)[0].contains("the feed is gone"));
}

#[test]
fn feeds_that_make_no_sense_are_refused() {
    let mut w = world();
    for (sql, code, word) in [
        (
            "SELECT authz_create_feed('reporting.x', 'authz.principal')",
            "55000",
            "authz_protect",
        ),
        ("SELECT authz_create_feed('x', 'public.claim')", "22023", "schema"),
        (
            "SELECT authz_create_feed('public.claim', 'public.claim')",
            "42P07",
            "no feed",
        ),
        (
            "SELECT authz_create_feed('reporting.x', 'public.claim', '{holder}')",
            "22023",
            "holder",
        ),
        (
            "SELECT authz_create_feed('reporting.x', 'public.claim', '{nothing}')",
            "42703",
            "columns of the table",
        ),
        (
            "SELECT authz_create_feed(NULL, 'public.claim')",
            "22023",
            "authz_create_feed",
        ),
        (
            "SELECT authz_create_feed('reporting.x', NULL)",
            "22023",
            "authz_create_feed",
        ),
        (
            "SELECT authz_create_feed('reporting.\"x', 'public.claim')",
            "22023",
            "schema",
        ),
        (
            "SELECT authz_create_feed('reporting.x', 'public.claim', source_name => '')",
            "22023",
            "source_name",
        ),
        (
            "SELECT authz_register_copy('reporting.claim_feed', NULL)",
            "22023",
            "copy",
        ),
        (
            "SELECT authz_create_feed('reporting.x', 'public.claim', '{secret}', 'secret')",
            "22023",
            "secret",
        ),
        (
            "SELECT authz_create_feed('reporting.x', 'public.claim', '{}')",
            "22023",
            "nothing",
        ),
    ] {
        refused_with_hint(&mut w.admin, sql, code, &[word]);
    }
    let mut rex = w.of("rex");
    refused(
        &mut rex,
        "SELECT authz_create_feed('reporting.x', 'public.claim')",
        "42501",
        &["permission denied"],
    );
    refused(
        &mut rex,
        "SELECT FROM authz.feed_problem",
        "42501",
        &["permission denied"],
    );
}

/// What the DBA granted on a feed stays when it is made anew, with the same columns or with others.
#[test]
fn a_feed_that_is_made_anew_keeps_its_owner_and_what_was_granted_on_it() {
    let mut w = world();
    let (owner, reader, other) = (w.db.role(), w.db.role(), w.db.role());
    execute(
        &mut w.admin,
        &format!(
            "GRANT CREATE, USAGE ON SCHEMA reporting TO {owner}; ALTER VIEW reporting.claim_feed OWNER TO {owner};
             SET ROLE {owner};
             GRANT SELECT ON reporting.claim_feed TO {reader} WITH GRANT OPTION;
             GRANT SELECT (claim_id, note) ON reporting.claim_feed TO {other}, PUBLIC; RESET ROLE;
             ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {other}"
        ),
    );
    let granted = |c: &mut Client| -> (String, Vec<String>) {
        let row = c
            .query_one(
                "SELECT c.relowner::regrole::text, ARRAY(
                     SELECT concat_ws(' ', x.column, x.grantee::regrole, x.privilege_type, x.is_grantable)
                     FROM (SELECT NULL AS column, a.* FROM aclexplode(c.relacl) AS a
                           UNION ALL SELECT t.attname, a.* FROM pg_attribute AS t, aclexplode(t.attacl) AS a WHERE t.attrelid = c.oid) AS x
                     WHERE x.grantee <> c.relowner ORDER BY 1)
                   FROM pg_class AS c WHERE c.oid = 'reporting.claim_feed'::regclass",
                &[],
            )
            .unwrap();
        (row.get(0), row.get(1))
    };
    let before = granted(&mut w.admin);
    assert!(before.0 == owner && before.1.len() == 6, "{before:?}");
    let anew = |more: &str| format!("SELECT authz_create_feed('reporting.claim_feed', 'public.claim'{more})");
    // The same columns: the very view, which others may use.
    execute(
        &mut w.admin,
        "CREATE VIEW reporting.above AS SELECT claim_id FROM reporting.claim_feed",
    );
    execute(&mut w.admin, &anew(", source_name => 'elsewhere'"));
    assert_eq!(granted(&mut w.admin), before);
    // Others: refused while another view uses it, then made anew.
    refused(&mut w.admin, &anew(", up_to => 'pii'"), "2BP01", &["reporting.above"]);
    assert_eq!(granted(&mut w.admin), before, "nothing half done");
    execute(&mut w.admin, "DROP VIEW reporting.above");
    execute(&mut w.admin, &anew(", up_to => 'pii'"));
    assert_eq!(granted(&mut w.admin), before);
    execute(&mut w.admin, &anew(", columns => '{claim_id,status}'"));
    let after = granted(&mut w.admin);
    let kept: Vec<String> = before.1.iter().filter(|g| !g.starts_with("note ")).cloned().collect();
    assert_eq!(after, (owner, kept), "what is gone is gone with its grants");
    assert_eq!(problems(&mut w.admin), Vec::<String>::new());
    let rows: i64 = value(&mut w.of("rex"), "SELECT count(*) FROM reporting.claim_feed", &[]);
    assert_eq!(rows, 3);
}
