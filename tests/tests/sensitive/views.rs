//! Safe views: what they are made of, by whom, and what would widen them (R42, PITFALLS 24, 33).

use authz_tests::people::{People, shown};
use authz_tests::{execute, refused_with_hint, value};
use postgres::Client;

#[test]
fn r42_classes_columns_and_permissions_are_chosen_at_creation() {
    let people = People::masked();
    let mut c = people.table_owner();
    let columns = |c: &mut Client, view: &str| -> String {
        value(
            c,
            "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0",
            &[&view],
        )
    };
    execute(
        &mut c,
        "SELECT authz_create_safe_view('public.person_short', 'person', leave_out => true)",
    );
    assert_eq!(columns(&mut c, "person_short"), "tenant_id,id,team,name");
    execute(
        &mut c,
        "SELECT authz_create_safe_view('\"Two Columns\"', 'person', max_class => 'pii', columns => '{note,ssn}');
         SELECT authz_create_safe_view('by_secret', 'person', columns => '{id,ssn}', permissions => '{\"pii\": \"person.view_secret\"}')",
    );
    assert_eq!(columns(&mut c, "\"Two Columns\""), "note,ssn");
    execute(
        &mut c,
        &format!("GRANT SELECT ON \"Two Columns\", by_secret TO {}", people.app),
    );
    let seen: String = value(
        &mut people.of("ben"),
        "SELECT string_agg(concat(note, ssn), ',' ORDER BY ssn) FROM \"Two Columns\"",
        &[],
    );
    assert_eq!(
        seen, "222-22-0001,222-22-0003,222-22-0005",
        "pii for everybody, what is unclassified for nobody"
    );
    let unmasked: i64 = value(
        &mut people.of("ida"),
        "SELECT count(*) FROM by_secret WHERE ssn ~ '^222'",
        &[],
    );
    assert_eq!(unmasked, 0, "view_pii is not what was asked for");
    // The types are the columns' own.
    let types: i64 = value(
        &mut c,
        "SELECT count(*) FROM pg_attribute AS v JOIN pg_attribute AS t USING (attname)
          WHERE v.attrelid = 'person_safe'::regclass AND t.attrelid = 'person'::regclass AND v.attnum > 0
            AND format_type(v.atttypid, v.atttypmod) = replace(format_type(t.atttypid, t.atttypmod), 'email', 'text')",
        &[],
    );
    assert_eq!(types, 13);
}

#[test]
fn safe_views_that_cannot_be_made_are_refused() {
    let people = People::masked();
    let mut c = people.table_owner();
    execute(
        &mut c,
        "CREATE TABLE open_table (id integer PRIMARY KEY); CREATE VIEW other AS SELECT 1 AS one",
    );
    for (call, code, words) in [
        ("'person_safe', 'person'", "42P07", vec!["exists", "replace"]),
        ("'other', 'person'", "42P07", vec!["not a safe view"]),
        ("'other', 'person', replace => true", "42P07", vec!["not a safe view"]),
        ("'person', 'person'", "42P07", vec!["exists"]),
        ("'v', 'person', columns => '{id,nope}'", "42703", vec!["nope", "ssn"]),
        ("'v', 'person', columns => '{gone}'", "42703", vec!["gone"]),
        ("'v', 'person', columns => '{id,id}'", "42701", vec!["twice"]),
        ("'v', 'person', columns => '{}'", "22023", vec![]),
        ("'v', 'person', columns => '{id,NULL}'", "22023", vec![]),
        (
            "'v', 'person', columns => '{ssn}', leave_out => true",
            "22023",
            vec!["no column"],
        ),
        ("'v', 'person', 'top'", "22023", vec!["sensitive_pii"]),
        ("NULL, 'person'", "22023", vec![]),
        (
            "'v', 'person', permissions => '{\"top\": \"person.view\"}'",
            "22023",
            vec!["top"],
        ),
        (
            "'v', 'person', permissions => '{\"pii\": \"person.nope\"}'",
            "42704",
            vec!["person.nope"],
        ),
        (
            "'v', 'person', permissions => '{\"pii\": \"tenant.view\"}'",
            "42704",
            vec![],
        ),
        ("'v', 'person', permissions => '[]'", "22023", vec![]),
        ("'a.b.c', 'person'", "42602", vec!["name"]),
        ("'', 'person'", "42602", vec!["name"]),
        ("'nowhere.v', 'person'", "3F000", vec!["nowhere"]),
        ("'authz.v', 'person'", "3F000", vec![]),
        ("'pg_temp.v', 'person'", "3F000", vec![]),
        ("'v', 'open_table'", "55000", vec!["authz_protect"]),
        ("'v', 'authz.tenant'", "42501", vec!["owner"]),
        ("'v', 'person', owner => 'no_such_role'", "42704", vec!["no_such_role"]),
    ] {
        refused_with_hint(&mut c, &format!("SELECT authz_create_safe_view({call})"), code, &words);
    }
    let made: i64 = value(
        &mut people.admin(),
        "SELECT count(*) FROM pg_class WHERE relname = 'v'",
        &[],
    );
    assert_eq!(made, 0, "nothing half done");
    // Columns of what is there cannot go.
    refused_with_hint(
        &mut c,
        "SELECT authz_create_safe_view('person_safe', 'person', columns => '{id}', replace => true)",
        "42P16",
        &["Drop the view"],
    );
    authz_tests::refused(
        &mut people.of("ida"),
        "SELECT authz_create_safe_view('v', 'person')",
        "42501",
        &[],
    );
}

/// PITFALLS 24 and 33: a view of an owner who is outside of row security shows everything.
#[test]
fn r42_who_would_see_past_row_security_does_not_own_a_safe_view() {
    let people = People::masked();
    let mut admin = people.admin();
    let (bypass, plain) = (people.db.role(), people.db.role());
    execute(
        &mut admin,
        &format!("ALTER ROLE {bypass} BYPASSRLS; ALTER TABLE person OWNER TO postgres"),
    );
    refused_with_hint(
        &mut admin,
        "SELECT authz_create_safe_view('v', 'person')",
        "55000",
        &["row security", "owner =>"],
    );
    let ask = format!("SELECT authz_create_safe_view('v', 'person', owner => '{bypass}')");
    refused_with_hint(&mut admin, &ask, "55000", &["BYPASSRLS"]);
    let problems: Vec<String> = value(&mut admin, "SELECT problems FROM authz.safe_view_state", &[]);
    assert!(problems.is_empty(), "the view has an owner of its own: {problems:?}");
    execute(
        &mut admin,
        &format!(
            "SELECT authz_create_safe_view('v', 'person', columns => '{{id,ssn}}', owner => '{plain}'); GRANT SELECT ON v TO {}",
            people.app
        ),
    );
    let seen: String = value(
        &mut people.of("hana"),
        "SELECT string_agg(left(ssn, 3), ',' ORDER BY id) FROM v WHERE id IN (1, 3, 5)",
        &[],
    );
    assert_eq!(seen, "222,222,222");
    let count: i64 = value(&mut people.of("ben"), "SELECT count(*) FROM v", &[]);
    assert_eq!(count, 3);
    // The role has what the view needs, and no more.
    let granted: String = value(
        &mut admin,
        "SELECT string_agg(attname, ',' ORDER BY attname) FROM pg_attribute
          WHERE attrelid = 'person'::regclass AND attnum > 0 AND has_column_privilege($1::text, attrelid, attnum, 'SELECT')",
        &[&plain],
    );
    assert_eq!(granted, "id,ssn,team,tenant_id");
    execute(&mut admin, "ALTER VIEW v OWNER TO postgres");
    let problems: Vec<String> = value(
        &mut admin,
        "SELECT problems FROM authz.safe_view_state WHERE view = 'v'::regclass",
        &[],
    );
    assert!(problems.len() == 1 && problems[0].contains("postgres"), "{problems:?}");
}

/// Settings of whoever looks change how definitions and literals are written, not what they are.
#[test]
fn a_view_is_current_whatever_the_settings() {
    let people = People::bare();
    let mut c = people.table_owner();
    let odd = "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SET quote_all_identifiers = on";
    execute(
        &mut c,
        &format!(
            "SELECT authz_classify('person', v, 'pii', 'law') FROM unnest('{{seen,born}}'::text[]) AS v;
             {odd}; SELECT authz_mask('person', 'seen', 'generalise'), authz_mask('person', 'born', 'fixed', '{{\"value\": \"1990-12-31\"}}');
             SELECT authz_create_safe_view('odd', 'person'); RESET ALL; SELECT authz_create_safe_view('even', 'person')"
        ),
    );
    for settings in [odd, "RESET ALL"] {
        execute(&mut c, settings);
        let current: bool = value(
            &mut c,
            "SELECT bool_and(is_current) AND count(*) = 2 FROM authz.safe_view_state",
            &[],
        );
        assert!(current, "{settings}");
    }
}

#[test]
fn r42_what_would_widen_a_view_is_reported() {
    let people = People::masked();
    let mut c = people.table_owner();
    let mut admin = people.admin();
    let mut problems = |words: &[&str]| {
        let row = admin
            .query_one("SELECT is_current, problems FROM authz.safe_view_state", &[])
            .unwrap();
        let (current, problems): (bool, Vec<String>) = (row.get(0), row.get(1));
        assert_eq!(problems.len(), words.len(), "{problems:?}");
        assert_eq!(current, words.is_empty());
        for word in words {
            assert!(problems.iter().any(|p| p.contains(word)), "{word} in {problems:?}");
        }
    };
    problems(&[]);
    // A class that has risen: the column is masked for everybody, and the view reported, until it is made anew.
    execute(
        &mut c,
        "SELECT authz_classify('person', 'name', 'pii', 'names are personal, too')",
    );
    problems(&["have changed"]);
    assert_eq!(shown(&mut people.of("ida"), "coalesce(name, 'masked')")[0].1, "masked");
    execute(
        &mut c,
        "SELECT authz_create_safe_view('person_safe', 'person', replace => true)",
    );
    problems(&[]);
    assert_eq!(shown(&mut people.of("ben"), "name")[0].1, "NULL");
    assert_eq!(shown(&mut people.of("ida"), "name")[0].1, "name 1");
    let version: i32 = value(&mut people.admin(), "SELECT version FROM authz.safe_view_state", &[]);
    assert_eq!(version, 2);
    let events: i64 = value(
        &mut people.admin(),
        "SELECT count(*) FROM authz.access_change_event WHERE table_name = 'safe_view'",
        &[],
    );
    assert_eq!(events, 2, "former versions are in the events");
    // A new column is not in the view, and reported; its type cannot be changed under the view.
    execute(&mut c, "ALTER TABLE person ADD COLUMN salary integer");
    problems(&["have changed"]);
    authz_tests::refused(&mut people.of("ida"), "SELECT salary FROM person_safe", "42703", &[]);
    authz_tests::refused(
        &mut c,
        "ALTER TABLE person ALTER COLUMN ssn TYPE text",
        "0A000",
        &["person_safe"],
    );
    execute(
        &mut c,
        "SELECT authz_create_safe_view('person_safe', 'person', replace => true)",
    );
    problems(&[]);
    execute(&mut c, "SELECT authz_mask('person', 'card', 'null')");
    problems(&["have changed"]);
    execute(&mut c, "SELECT authz_mask('person', 'card', 'partial')");
    // Changed by hand.
    execute(&mut c, "ALTER VIEW person_safe RESET (security_barrier)");
    problems(&["security_barrier"]);
    execute(&mut c, "ALTER VIEW person_safe SET (security_barrier = true)");
    execute(&mut c, "ALTER TABLE person NO FORCE ROW LEVEL SECURITY");
    problems(&["not protected"]);
    execute(&mut c, "ALTER TABLE person FORCE ROW LEVEL SECURITY");
    execute(&mut c, &format!("GRANT SELECT (ssn) ON person TO {}", people.app));
    problems(&["read the table itself"]);
    execute(
        &mut c,
        &format!(
            "REVOKE SELECT (ssn) ON person FROM {}; CREATE POLICY handmade ON person TO {0} USING (true)",
            people.app
        ),
    );
    problems(&["policies for single roles"]);
    execute(
        &mut c,
        "DROP POLICY handmade ON person; CREATE OR REPLACE VIEW person_safe WITH (security_barrier) AS
        SELECT tenant_id, id, team, name, ssn, email::text, born, seen, pay, rate, card, ext, note, salary FROM person",
    );
    problems(&["not the one that was made"]);
    execute(&mut c, "DROP VIEW person_safe");
    problems(&["gone"]);
    // Another may take its name.
    execute(&mut c, "SELECT authz_create_safe_view('person_safe', 'person')");
}

#[test]
fn default_privileges_give_no_way_into_a_safe_view() {
    let people = People::masked();
    let mut c = people.table_owner();
    execute(
        &mut c,
        &format!(
            "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC, {}; SELECT authz_create_safe_view('v', 'person')",
            people.app
        ),
    );
    for (act, code) in [
        ("SELECT * FROM v", "42501"),
        // Every column is an expression: nothing could be written even with the privilege.
        ("UPDATE v SET name = 'x'", "55000"),
        ("DELETE FROM v", "42501"),
        ("INSERT INTO v (id) VALUES (100)", "55000"),
    ] {
        authz_tests::refused(&mut people.of("ida"), act, code, &[]);
    }
}
