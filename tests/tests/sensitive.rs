//! Classes of columns, masks and safe views: what they show to whom, what is refused, what is reported (R40 to R42).

use authz_tests::make::{self, id};
use authz_tests::people::{People, shown};
use authz_tests::{Db, Start, execute, refused_with_hint, run, value};
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
    let dump = std::env::temp_dir().join(format!("{}.dump", people.db.name));
    run(people.db.command("pg_dump").arg("--file").arg(&dump));
    let restored = Db::with(Start::Empty);
    run(restored
        .command("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(&dump));
    std::fs::remove_file(&dump).unwrap();
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

const FULL: [&str; 5] = [
    "1|name 1|222-22-0001|p1@example.org|1980-05-17|2020-03-04 05:06:07+00|10007|1000.5|4111111111110001|EXT",
    "2|name 2|222-22-0002|p2@example.org|1980-05-17|2020-03-04 05:06:07+00|20007|2000.5|4111111111110002|EXT",
    "3|name 3|222-22-0003|p3@example.org|1980-05-17|2020-03-04 05:06:07+00|30007|3000.5|4111111111110003|EXT",
    "4|name 4|222-22-0004|p4@example.org|1980-05-17|2020-03-04 05:06:07+00|40007|4000.5|4111111111110004|EXT",
    "5|name 5|222-22-0005|p5@example.org|1980-05-17|2020-03-04 05:06:07+00|50007|5000.5|4111111111110005|EXT",
];

fn masked(row: &str, n: i32) {
    let cells: Vec<&str> = row.split('|').collect();
    assert_eq!(cells[1], format!("name {n}"));
    assert!(
        cells[2].len() == 20 && cells[2].bytes().all(|b| b.is_ascii_hexdigit()),
        "{row}"
    );
    assert_eq!(cells[3], "hidden@example.org");
    assert_eq!(cells[4], "1980-01-01");
    assert_eq!(cells[5], "2020-03-01 00:00:00+00");
    assert_eq!(cells[6], (n / 2 * 20000).to_string());
    assert_eq!(cells[7], (n * 1000).to_string());
    assert_eq!(cells[8], format!("****000{n}"));
    assert_ne!(cells[9], id("ext").to_string());
    // What nobody has classified is secret.
    assert_eq!(cells.len(), 10, "{row}");
}

#[test]
fn r41_r42_each_row_is_masked_by_what_the_reader_may_see_there() {
    let people = People::masked();
    let full = |n: i32| FULL[n as usize - 1].replace("EXT", &id("ext").to_string());
    let rows = |who: &str| {
        let mut c = people.of(who);
        execute(&mut c, "SET timezone = 'UTC'");
        shown(&mut c, authz_tests::people::SHOWN)
    };
    let ida = rows("ida");
    assert_eq!(ida.iter().map(|r| r.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    for (n, row) in ida {
        assert_eq!(row, full(n));
    }
    for (n, row) in rows("hana") {
        if n % 2 == 1 {
            assert_eq!(row, full(n))
        } else {
            masked(&row, n)
        }
    }
    let ben = rows("ben");
    assert_eq!(
        ben.iter().map(|r| r.0).collect::<Vec<_>>(),
        [1, 3, 5],
        "row security is in force"
    );
    ben.iter().for_each(|(n, row)| masked(row, *n));
    let gus = rows("gus");
    assert_eq!(gus.iter().map(|r| r.0).collect::<Vec<_>>(), [9]);
    masked(&gus[0].1, 9);
    // The same value has the same hash, another column another one.
    let hashes: i64 = value(
        &mut people.of("ben"),
        "SELECT count(DISTINCT ext) FROM person_safe",
        &[],
    );
    assert_eq!(hashes, 1);
    // R24: without a session there is nothing, and to the table there is no way.
    let mut nobody = people.db.connect_as(&people.app);
    let none: i64 = value(&mut nobody, "SELECT count(*) FROM person_safe", &[]);
    assert_eq!(none, 0);
    authz_tests::refused(&mut people.of("ida"), "SELECT ssn FROM person", "42501", &[]);
    // R19: what is revoked is masked in the next statement.
    let mut hana = people.of("hana");
    execute(&mut hana, "BEGIN");
    assert_eq!(shown(&mut hana, "ssn")[0].1, "222-22-0001");
    execute(
        &mut people.admin(),
        "UPDATE authz.principal_role_assignment SET revoked_at = now() WHERE role_code = 'pii'",
    );
    assert_ne!(shown(&mut hana, "ssn")[0].1, "222-22-0001");
}

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
fn masks_that_do_not_fit_are_refused() {
    let people = People::bare();
    let mut c = people.table_owner();
    execute(
        &mut c,
        "CREATE TYPE mood AS ENUM ('good', 'bad');
         ALTER TABLE person ADD feeling mood, ADD short varchar(8), ADD letters char(20), ADD data jsonb, ADD amount numeric(6,2), ADD days integer[];
         SELECT authz_classify('person', attname, 'pii', 'law') FROM pg_attribute WHERE attrelid = 'person'::regclass AND attnum > 3 AND NOT attisdropped",
    );
    for (mask, code) in [
        ("'pay', 'hash'", "42804"),
        ("'pay', 'partial'", "42804"),
        ("'pay', 'fixed', '{\"value\": \"many\"}'", "42804"),
        ("'pay', 'fixed', '{\"value\": \"9999999999\"}'", "42804"),
        ("'born', 'fixed', '{\"value\": \"2000-02-30\"}'", "42804"),
        ("'born', 'partial'", "42804"),
        ("'name', 'generalise', '{\"step\": 5}'", "42804"),
        ("'data', 'generalise'", "42804"),
        ("'data', 'fixed', '{\"value\": \"{\"}'", "42804"),
        ("'feeling', 'fixed', '{\"value\": \"so so\"}'", "42804"),
        ("'feeling', 'hash'", "42804"),
        ("'short', 'hash'", "42804"),
        ("'letters', 'hash'", "42804"),
        ("'pay', 'generalise'", "22023"),
        ("'pay', 'generalise', '{\"step\": 0}'", "22023"),
        ("'pay', 'generalise', '{\"step\": 2.5}'", "22023"),
        ("'pay', 'generalise', '{\"step\": \"10\"}'", "22023"),
        ("'pay', 'generalise', '{\"step\": 10, \"to\": \"year\"}'", "22023"),
        ("'born', 'generalise', '{\"to\": \"day\"}'", "22023"),
        ("'born', 'generalise', '{\"step\": 10}'", "22023"),
        ("'card', 'partial', '{\"last\": -1}'", "22023"),
        ("'card', 'partial', '{\"end\": 4}'", "22023"),
        ("'card', 'fixed'", "22023"),
        ("'card', 'fixed', '{\"value\": null}'", "22023"),
        ("'card', 'blur'", "22023"),
        ("'card', NULL", "22023"),
        ("'card', 'null', NULL", "22023"),
        ("'card', 'null', '[]'", "22023"),
    ] {
        refused_with_hint(&mut c, &format!("SELECT authz_mask('person', {mask})"), code, &[]);
    }
    let none: i64 = value(
        &mut people.admin(),
        "SELECT count(*) FROM authz.data_classification WHERE mask IS NOT NULL",
        &[],
    );
    assert_eq!(none, 0, "nothing half done");
    execute(
        &mut c,
        "SELECT authz_mask('person', 'feeling', 'fixed', '{\"value\": \"good\"}'), authz_mask('person', 'letters', 'partial', '{\"first\": 1}'),
                authz_mask('person', 'data', 'fixed', '{\"value\": \"{}\"}'), authz_mask('person', 'amount', 'generalise', '{\"step\": 100}'),
                authz_mask('person', 'days', 'fixed', '{\"value\": \"{0}\"}'), authz_mask('person', 'short', 'partial', '{\"first\": 1, \"last\": 1}');
         SELECT authz_create_safe_view('person_safe', 'person', columns => '{id,feeling,letters,data,amount,days,short}')",
    );
    execute(&mut c, &format!("GRANT SELECT ON person_safe TO {}", people.app));
    execute(
        &mut people.admin(),
        "UPDATE person SET feeling = 'bad', letters = 'abc', data = '{\"a\": 1}', amount = 1234.56, days = '{7}', short = 'xyz'",
    );
    let seen: Vec<(i32, String)> = shown(
        &mut people.of("ben"),
        "concat_ws('|', feeling, letters, data, amount, days, short)",
    );
    assert_eq!(seen[0].1, "good|a****               |{}|1200.00|{0}|****");
}

/// An error would tell about the value.
#[test]
fn masks_never_fail() {
    let people = People::masked();
    let mut c = people.table_owner();
    execute(
        &mut c,
        "ALTER TABLE person ADD small smallint, ADD big bigint, ADD amount numeric, ADD r real, ADD at timestamp;
         SELECT authz_classify('person', v, 'pii', 'law') FROM unnest('{small,big,amount,r,at}'::text[]) AS v;
         SELECT authz_mask('person', v, 'generalise', '{\"step\": 1000000000000000000}') FROM unnest('{small,big,amount,r}'::text[]) AS v;
         SELECT authz_mask('person', 'at', 'generalise', '{\"to\": \"decade\"}');
         SELECT authz_create_safe_view('person_extreme', 'person')",
    );
    execute(&mut c, &format!("GRANT SELECT ON person_extreme TO {}", people.app));
    let mut admin = people.admin();
    for (small, big, amount, rate, real, date, at) in [
        (
            "32767",
            "9223372036854775807",
            "1e131000",
            "1.7976931348623157e308",
            "3.4028235e38",
            "5874897-12-31",
            "294276-12-31 23:59:59",
        ),
        (
            "-32768",
            "-9223372036854775808",
            "-1e131000",
            "-1.7976931348623157e308",
            "-3.4028235e38",
            "4714-11-24 BC",
            "4714-11-24 00:00:00 BC",
        ),
        ("0", "0", "1e-16000", "4.9e-324", "1e-45", "0001-01-01", "0001-01-01"),
        ("1", "1", "NaN", "NaN", "NaN", "infinity", "infinity"),
        ("1", "1", "Infinity", "Infinity", "-Infinity", "-infinity", "-infinity"),
    ] {
        execute(
            &mut admin,
            &format!(
                "UPDATE person SET small = {small}, big = {big}, amount = '{amount}', rate = '{rate}', r = '{real}', born = '{date}',
                        at = '{at}', seen = '{at}', pay = CASE WHEN {small} < 0 THEN -2147483648 ELSE 2147483647 END,
                        card = repeat('\u{1f600}', {small} % 5 + 5), ssn = '' WHERE id <> 9"
            ),
        );
        let seen: i64 = value(
            &mut people.of("ben"),
            "SELECT count(*) FROM person_extreme WHERE concat_ws('|', person_extreme.*) IS NOT NULL",
            &[],
        );
        assert_eq!(seen, 3);
    }
    execute(
        &mut admin,
        "UPDATE person SET ssn = NULL, card = NULL, born = NULL, pay = NULL, rate = NULL, ext = NULL WHERE id <> 9",
    );
    let nulls: i64 = value(
        &mut people.of("ben"),
        "SELECT count(*) FROM person_safe WHERE num_nulls(ssn, card, born, pay, rate, ext) = 6",
        &[],
    );
    assert_eq!(nulls, 3);
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

/// R31, PITFALLS 40: support sees masks, whatever else its principal may see.
#[test]
fn r31_support_sessions_see_masks() {
    let people = People::masked();
    let mut admin = people.admin();
    execute(
        &mut admin,
        &format!(
            "INSERT INTO authz.privileged_access_session (session_kind, principal_id, tenant_id, access_reason, includes_sensitive,
                 approved_by, approved_at, started_at, expires_at)
             VALUES ('support', '{}', '{}', 'ticket', false, '{}', now(), now(), now() + interval '1 hour')",
            id("ida"),
            id("acme"),
            id("hana")
        ),
    );
    for (n, row) in people.shown("ida") {
        assert!(!row.contains("222-22"), "{n}: {row}");
    }
    execute(
        &mut admin,
        "UPDATE authz.privileged_access_session SET ended_at = now()",
    );
    assert!(people.shown("ida").iter().all(|(_, row)| row.contains("222-22")));
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
