//! Classes: against the catalogue, by whom, and that they follow their columns (R40).

use authz_tests::dump::{Dump, Format};
use authz_tests::make::{self, id};
use authz_tests::people::{People, shown};
use authz_tests::{execute, refused_with_hint, value};
use postgres::Client;

fn classes(c: &mut Client) -> Vec<String> {
    c.query(
        "SELECT concat_ws(' ', column_name, classification, state) FROM authz.column_classification ORDER BY 1",
        &[],
    )
    .unwrap()
    .iter()
    .map(|row| row.get(0))
    .collect()
}

#[test]
fn r40_classes_are_checked_against_the_catalogue() {
    let people = People::bare();
    let mut c = people.table_owner();
    for (call, code, words) in [
        (
            "authz_classify('person', 'nope', 'pii', 'x')",
            "42703",
            vec!["nope", "ssn"],
        ),
        ("authz_classify('person', 'gone', 'pii', 'x')", "42703", vec!["gone"]),
        ("authz_classify('person', 'ctid', 'pii', 'x')", "42703", vec!["ctid"]),
        ("authz_classify('person', NULL, 'pii', 'x')", "22023", vec!["column"]),
        (
            "authz_classify('person', 'ssn', 'top secret', 'x')",
            "22023",
            vec!["sensitive_pii"],
        ),
        (
            "authz_classify('person', 'ssn', NULL, 'x')",
            "22023",
            vec!["sensitive_pii"],
        ),
        (
            "authz_classify('person', 'ssn', 'pii', E' \\t')",
            "22023",
            vec!["reason"],
        ),
        (
            "authz_classify('person_pkey', 'id', 'pii', 'x')",
            "42809",
            vec!["table"],
        ),
        (
            "authz_classify('person', 'ssn', 'pii', 'x', gen_random_uuid()::text)",
            "23503",
            vec!["team"],
        ),
        ("authz_mask('person', 'nope', 'null')", "42703", vec!["nope"]),
        ("authz_mask('person', 'ssn', 'null')", "55000", vec!["authz_classify"]),
    ] {
        refused_with_hint(&mut c, &format!("SELECT {call}"), code, &words);
    }
    assert!(classes(&mut people.admin()).is_empty(), "nothing half done");
    execute(
        &mut c,
        "SELECT authz_classify('person', 'ssn', 'pii', 'law', owner_team => 'data protection')",
    );
    execute(
        &mut c,
        &format!(
            "SELECT authz_classify(target => 'person', \"column\" => 'ssn', classification => 'pii', reason => 'law', owner_team => '{}')",
            id("north")
        ),
    );
    execute(
        &mut c,
        "SELECT authz_classify('person', 'ssn', 'sensitive_pii', 'stricter law')",
    );
    let row = people
        .admin()
        .query_one(
            "SELECT classification, owner_team FROM authz.column_classification",
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "sensitive_pii");
    assert_eq!(
        row.get::<_, String>(1),
        id("north").to_string(),
        "a team that is not named stays"
    );

    // R51: every change leaves an event, also by plain SQL.
    execute(
        &mut people.admin(),
        "UPDATE authz.data_classification SET classification = 'public'",
    );
    let events: Vec<String> = people
        .admin()
        .query(
            "SELECT concat_ws(' ', before_value ->> 'classification', after_value ->> 'classification', reason)
               FROM authz.access_change_event WHERE table_name = 'data_classification' ORDER BY occurred_at",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(
        events,
        [
            "pii law",
            "pii pii law",
            "pii sensitive_pii stricter law",
            "sensitive_pii public"
        ]
    );
    // A class does not go from one column to another, nor into a table that somebody else names.
    let mut admin = people.admin();
    refused_with_hint(
        &mut admin,
        "UPDATE authz.data_classification SET column_name = 'card'",
        "55000",
        &["attnum"],
    );
    refused_with_hint(
        &mut admin,
        "UPDATE authz.data_classification SET target = 'authz.tenant'",
        "42703",
        &[],
    );
    refused_with_hint(
        &mut admin,
        "INSERT INTO authz.data_classification (target, column_name, classification) VALUES ('person', 'nope', 'pii')",
        "42703",
        &["nope"],
    );
}

#[test]
fn r40_who_owns_the_table_or_holds_the_permission_classifies() {
    let people = People::bare();
    let mut admin = people.admin();
    make::role(&mut admin, "steward", &["data.classify"]);
    make::principal(&mut admin, "stu");
    make::assign_platform(&mut admin, id("stu"), "steward");
    make::assign(&mut admin, id("acme"), id("ida"), "steward", "tenant", id("acme"));
    execute(
        &mut admin,
        &format!("GRANT EXECUTE ON FUNCTION authz_classify, authz_mask TO {}", people.app),
    );
    execute(
        &mut people.of("stu"),
        "SELECT authz_classify('person', 'ssn', 'pii', 'law'); SELECT authz_mask('person', 'ssn', 'hash')",
    );
    let by: uuid::Uuid = value(&mut admin, "SELECT classified_by FROM authz.column_classification", &[]);
    assert_eq!(by, id("stu"));
    // At a tenant it is not enough: a column belongs to all of them.
    for who in ["ida", "ben"] {
        for call in [
            "authz_classify('person', 'ssn', 'public', 'x')",
            "authz_mask('person', 'ssn', 'null')",
        ] {
            refused_with_hint(
                &mut people.of(who),
                &format!("SELECT {call}"),
                "42501",
                &["data.classify"],
            );
        }
    }
    // The caller counts, not the owner of a function that calls.
    let mut c = people.db.connect_as(&people.app);
    refused_with_hint(
        &mut c,
        "SELECT authz_classify('person', 'ssn', 'public', 'x')",
        "42501",
        &[],
    );
}

#[test]
fn r40_classes_follow_renames_and_say_what_is_gone() {
    let people = People::bare();
    let mut c = people.table_owner();
    execute(
        &mut c,
        "SELECT authz_classify('person', v, 'pii', 'law') FROM unnest('{ssn,card,note}'::text[]) AS v;
         ALTER TABLE person RENAME COLUMN ssn TO national_id; ALTER TABLE person RENAME TO people",
    );
    let mut admin = people.admin();
    assert_eq!(
        classes(&mut admin),
        [
            "card pii classified",
            "national_id pii classified",
            "note pii classified"
        ]
    );
    let stored: String = value(
        &mut admin,
        "SELECT string_agg(column_name, ',' ORDER BY column_name) FROM authz.data_classification",
        &[],
    );
    assert_eq!(stored, "card,national_id,note", "dumps have the name of today");
    // Who takes the name of one that was dropped is not classified.
    execute(
        &mut c,
        "ALTER TABLE people DROP COLUMN card; ALTER TABLE people ADD COLUMN card text",
    );
    assert_eq!(
        classes(&mut admin),
        ["card pii dropped", "national_id pii classified", "note pii classified"]
    );
    let unclassified: Vec<String> = admin
        .query(
            "SELECT column_name::text FROM authz.unclassified_column WHERE NOT is_boundary ORDER BY 1",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(
        unclassified,
        ["born", "card", "email", "ext", "name", "pay", "rate", "seen"]
    );
    execute(
        &mut c,
        "SELECT authz_classify('people', 'card', 'secret', 'the new one')",
    );
    // Without the event trigger the view tells all the same.
    execute(
        &mut admin,
        "ALTER EVENT TRIGGER authz_follow_columns DISABLE; ALTER TABLE people RENAME COLUMN national_id TO ssn; ALTER TABLE people DROP COLUMN note",
    );
    assert_eq!(
        classes(&mut admin),
        [
            "card pii dropped",
            "card secret classified",
            "note pii dropped",
            "ssn pii classified"
        ]
    );
    execute(
        &mut admin,
        "ALTER EVENT TRIGGER authz_follow_columns ENABLE ALWAYS; DROP TABLE people",
    );
    let gone: i64 = value(
        &mut admin,
        "SELECT count(*) FROM authz.data_classification WHERE dropped_at IS NOT NULL",
        &[],
    );
    assert_eq!(gone, 4);
}

/// Columns are renamed and dropped by way of other things as well; what a dump has must be there when it is restored.
#[test]
fn r40_classes_follow_columns_whose_types_change() {
    let people = People::bare();
    execute(
        &mut people.table_owner(),
        "CREATE TYPE mood AS ENUM ('well'); CREATE TYPE visit_row AS (id integer, phone text);
         CREATE FUNCTION shown(id integer) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT id::text';
         CREATE TABLE visit OF visit_row;
         CREATE TABLE talk (id integer, felt mood, about text GENERATED ALWAYS AS (shown(id)) STORED);
         SELECT authz_classify('visit', 'phone', 'pii', 'law'), authz_classify('talk', 'felt', 'pii', 'law'),
                authz_classify('talk', 'about', 'pii', 'law');
         SET client_min_messages = error;
         ALTER TYPE visit_row RENAME ATTRIBUTE phone TO telephone CASCADE; DROP TYPE mood CASCADE; DROP FUNCTION shown CASCADE",
    );
    let stored: Vec<String> = value(
        &mut people.admin(),
        "SELECT array_agg(concat_ws(' ', column_name, CASE WHEN dropped_at IS NULL THEN 'there' ELSE 'gone' END)
                          ORDER BY column_name)
           FROM authz.data_classification",
        &[],
    );
    assert_eq!(stored, ["about gone", "felt gone", "telephone there"]);
}

#[test]
fn r70_classes_masks_and_views_survive_a_dump() {
    let people = People::masked();
    let before = people.shown("hana");
    let restored = Dump::of(&people.db, Format::Plain).restored();
    let mut c = restored.connect();
    // A column was dropped before: the others have new numbers.
    let moved: bool = value(
        &mut c,
        "SELECT bool_and(c.attnum = a.attnum) AND max(a.attnum) = 12 FROM authz.data_classification AS c
           JOIN pg_attribute AS a ON a.attrelid = c.target AND a.attname = c.column_name",
        &[],
    );
    assert!(moved);
    let state: Vec<String> = value(&mut c, "SELECT problems FROM authz.safe_view_state", &[]);
    assert!(state.is_empty(), "{state:?}");
    let events: i64 = value(
        &mut c,
        "SELECT count(*) FROM (SELECT FROM authz.access_change_event WHERE table_name IN ('data_classification', 'safe_view', 'mask_secret')
                               GROUP BY row_key, after_value - 'attnum' HAVING count(*) > 1) AS doubled",
        &[],
    );
    assert_eq!(events, 0, "a restore invents no events");
    let mut reader = restored.connect_as(&people.app);
    authz_tests::session::act_as(&mut reader, "hana");
    assert_eq!(
        shown(&mut reader, authz_tests::people::SHOWN),
        before,
        "also the hashes"
    );
}
