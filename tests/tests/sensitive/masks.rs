//! Masks: row by row what the reader may not see there, without ever failing (R41, R42, R31).

use authz_tests::make::id;
use authz_tests::people::{People, shown};
use authz_tests::{execute, refused_with_hint, value};

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
