//! Conditions, functions, errors, plans, statistics and hashes tell nothing of a masked value (R27, R41, R42, PITFALLS
//! 11, 23 to 27).

use crate::{ben, no_secret};
use authz_tests::make::id;
use authz_tests::people::People;
use authz_tests::{execute, refused, report, value};
use postgres::Client;

#[test]
fn conditions_compare_the_mask() {
    let people = People::masked();
    let mut c = ben(&people);
    // Whatever shape the plan has.
    for settings in [
        "",
        "SET enable_seqscan = off",
        "SET enable_indexscan = off; SET enable_bitmapscan = off",
    ] {
        execute(&mut c, settings);
        for condition in [
            "ssn = '222-22-0001'",
            "ssn > '222' AND ssn < '223'",
            "ssn LIKE '222%'",
            "ssn ~ '^222'",
            "ssn IN ('222-22-0001', '222-22-0003')",
            "ssn = ANY (ARRAY['222-22-0001', '222-22-0003'])",
            "ssn IS NOT DISTINCT FROM '222-22-0001'",
            "ssn || '' = '222-22-0001'",
            "email = 'p1@example.org'",
            "born = '1980-05-17'",
            "born > '1980-01-01'",
            "extract(month FROM born) = 5",
            "seen = '2020-03-04 05:06:07+00'",
            "pay = 10007",
            "pay % 10 = 7",
            "rate = 1000.5",
            "card LIKE '4111%'",
            "ext = md5('x')::uuid OR ext::text = (SELECT ext::text FROM person_safe WHERE ext::text LIKE '00%')",
            "note IS NOT NULL",
            "concat(person_safe.*) LIKE '%222-22%'",
            "to_jsonb(person_safe.*)::text LIKE '%222-22%'",
        ] {
            for query in [
                format!("SELECT count(*) FROM person_safe WHERE {condition}"),
                format!(
                    "SELECT count(*) FROM (SELECT id FROM person_safe GROUP BY person_safe.*, id HAVING bool_or({condition})) AS g"
                ),
                format!("SELECT count(*) FILTER (WHERE {condition}) FROM person_safe"),
            ] {
                let Ok(row) = c.query_one(&query, &[]) else {
                    continue;
                };
                assert_eq!(row.get::<_, i64>(0), 0, "{query}");
            }
        }
    }
    // A join with guesses, sorting, grouping and extremes see masks, too.
    let joined: i64 = value(
        &mut c,
        "SELECT count(*) FROM person_safe AS p JOIN (SELECT '222-22-000' || i AS guess FROM generate_series(1, 9) AS i) AS g ON g.guess = p.ssn",
        &[],
    );
    assert_eq!(joined, 0);
    let row = c
        .query_one(
            "SELECT concat_ws('|', min(ssn), max(ssn), max(email), min(born), max(born), max(seen), min(pay), max(rate), min(card),
                              string_agg(ssn, ',' ORDER BY ssn), count(DISTINCT born), (array_agg(pay ORDER BY pay))[1]) FROM person_safe",
            &[],
        )
        .unwrap();
    no_secret(row.get(0));
    let order: Vec<i32> = c
        .query("SELECT id FROM person_safe ORDER BY email, id DESC", &[])
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    assert_eq!(order, [5, 3, 1], "all e-mails are the same one");
}

#[test]
fn functions_of_the_reader_see_masks_and_visible_rows_only() {
    let people = People::masked();
    let mut c = ben(&people);
    execute(
        &mut c,
        "CREATE TABLE heard (words text);
         CREATE FUNCTION tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
         BEGIN INSERT INTO lab.heard VALUES ($1); RETURN true; END $$;
         CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq);
         CREATE FUNCTION told(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
         BEGIN INSERT INTO lab.heard VALUES ($1); RETURN true; END $$;
         CREATE OPERATOR ==> (LEFTARG = text, RIGHTARG = text, FUNCTION = told, RESTRICT = eqsel)",
    );
    for condition in [
        "tell(ssn) AND tell(email) AND tell(card) AND tell(born::text) AND tell(pay::text) AND tell(note)",
        "tell(name) AND tell(id::text)",
        "ssn::text ==> 'x' AND name ==> 'y'",
        "CASE WHEN tell(ssn) THEN id > 0 ELSE false END",
    ] {
        execute(&mut c, &format!("SELECT * FROM person_safe WHERE {condition}"));
        execute(
            &mut c,
            &format!(
                "SELECT * FROM person_safe AS a JOIN person_safe USING (id) WHERE {}",
                condition
                    .replace("tell(", "tell(a.")
                    .replace("ssn::text ==>", "a.ssn::text ==>")
                    .replace("AND name ==>", "AND a.name ==>")
                    .replace("THEN id", "THEN a.id")
            ),
        );
    }
    let heard: Vec<String> = c
        .query("SELECT DISTINCT words FROM heard WHERE words IS NOT NULL", &[])
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    assert!(heard.len() > 5);
    no_secret(&heard.join("|"));
    for n in [2, 4, 9] {
        assert!(
            !heard
                .iter()
                .any(|w| *w == n.to_string() || w.contains(&format!("name {n}"))),
            "row {n}: {heard:?}"
        );
    }
    // LEAKPROOF is not the reader's to say.
    refused(
        &mut c,
        "CREATE FUNCTION sly(text) RETURNS boolean LANGUAGE sql LEAKPROOF AS 'SELECT true'",
        "42501",
        &[],
    );
}

#[test]
fn errors_tell_nothing() {
    let people = People::masked();
    let mut c = ben(&people);
    for query in [
        "SELECT 1 / (CASE WHEN ssn LIKE '222%' THEN 0 ELSE 1 END) FROM person_safe",
        "SELECT 1 / (pay % 10 - 7) FROM person_safe",
        "SELECT 1 / (born - date '1980-05-17') FROM person_safe",
        "SELECT sqrt(0.4 - rate::numeric % 1000) FROM person_safe",
        "SELECT * FROM person_safe WHERE 1 / (CASE WHEN card LIKE '4%' THEN 0 ELSE 1 END) = 1",
    ] {
        if let Err(e) = c.batch_execute(query) {
            panic!("{query}: {}", report(&e));
        }
    }
    for query in [
        "SELECT ssn::date FROM person_safe WHERE ssn::date IS NOT NULL",
        "SELECT card::integer FROM person_safe",
        "SELECT * FROM person_safe WHERE email::inet IS NOT NULL",
        "SELECT (ssn || email || card || born || pay)::integer FROM person_safe",
        "SELECT concat(person_safe.*)::integer FROM person_safe",
    ] {
        let error = c.batch_execute(query).expect_err(query);
        no_secret(&report(&error));
    }
}

#[test]
fn plans_and_statistics_tell_nothing() {
    let people = People::masked();
    // So many, that there are statistics of which value is how frequent.
    let mut admin = people.admin();
    execute(
        &mut admin,
        &format!(
            "INSERT INTO person SELECT '{}', 100 + i, '{}', 'n', CASE WHEN i % 2 = 0 THEN '999-99-9999' ELSE 's' || i END, 'a@b', '2000-01-01',
                    now(), CASE WHEN i % 2 = 0 THEN 77 ELSE i END, 1, 'card', NULL, 'note' FROM generate_series(1, 5000) AS i; ANALYZE person",
            id("acme"),
            id("south")
        ),
    );
    let mut c = ben(&people);
    let mut estimate = |condition: &str| -> String {
        let rows = c
            .query(&format!("EXPLAIN SELECT * FROM person_safe WHERE {condition}"), &[])
            .unwrap();
        let lines: Vec<String> = rows.iter().map(|r| r.get(0)).collect();
        lines
            .join("\n")
            .split("Filter")
            .next()
            .unwrap()
            .split("Index Cond")
            .next()
            .unwrap()
            .to_owned()
    };
    for (frequent, absent) in [
        ("ssn = '999-99-9999'", "ssn = '111-11-1111'"),
        ("pay = 77", "pay = 78"),
        ("born = '2000-01-01'", "born = '2001-01-01'"),
    ] {
        assert_eq!(estimate(frequent), estimate(absent));
    }
    let groups = |c: &mut Client, column: &str| -> String {
        let plan = c
            .query(
                &format!("EXPLAIN SELECT {column} FROM person_safe GROUP BY {column}"),
                &[],
            )
            .unwrap();
        let first: String = plan[0].get(0);
        first
            .split("rows=")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .to_owned()
    };
    // One value nearly everywhere, and a thousand.
    assert_eq!(groups(&mut c, "card"), groups(&mut c, "ssn"));
    for view in ["pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"] {
        let rows: i64 = value(
            &mut c,
            &format!("SELECT count(*) FROM {view} WHERE tablename IN ('person', 'person_safe')"),
            &[],
        );
        assert_eq!(rows, 0, "{view}");
    }
    refused(&mut c, "SELECT * FROM pg_statistic", "42501", &[]);
    // Not through the table, nor what hangs on it.
    for query in [
        "TABLE person",
        "SELECT ssn FROM person",
        "COPY person (ssn) TO STDOUT",
        "SELECT FROM person",
        "CREATE STATISTICS s ON ssn, pay FROM person",
        "CREATE TABLE other (LIKE person INCLUDING STATISTICS); TABLE person",
        "CREATE TABLE child () INHERITS (person)",
        "SELECT * FROM person_safe FOR UPDATE",
        "UPDATE person_safe SET name = ssn",
        "SELECT authz.safe_view_sql('person', 'secret', false, NULL, '{}')",
        "SELECT * FROM authz.mask_secret",
    ] {
        let error = c.batch_execute(query).expect_err(query);
        no_secret(&report(&error));
    }
    execute(&mut c, "SET row_security = off");
    refused(&mut c, "SELECT * FROM person_safe", "42501", &["row-level security"]);
}

/// Who could hash guesses would find out what the hashes are of.
#[test]
fn r41_hashes_are_made_of_the_column_alone() {
    let people = People::masked();
    let mut admin = people.admin();
    let mask: uuid::Uuid = value(
        &mut admin,
        "SELECT classification_id FROM authz.data_classification WHERE column_name = 'ssn'",
        &[],
    );
    execute(&mut admin, &format!("GRANT USAGE ON SCHEMA authz TO {}", people.app));
    let mut c = ben(&people);
    let hash: String = value(&mut c, "SELECT ssn FROM person_safe WHERE id = 1", &[]);
    execute(
        &mut c,
        "CREATE TABLE lab.person (tenant_id uuid, id integer, ssn varchar(20), email text); INSERT INTO lab.person (tenant_id, id, ssn, email)
         VALUES (gen_random_uuid(), 1, '222-22-0001', 'a@b');
         CREATE TABLE guess (ssn varchar(20), u uuid); INSERT INTO guess VALUES ('222-22-0001', gen_random_uuid())",
    );
    for call in [
        format!("SELECT authz.mask_hash('222-22-0001'::text, '{mask}'::uuid)"),
        format!("SELECT authz.mask_hash(ssn::text, '{mask}'::uuid) FROM guess"),
        format!("SELECT authz.mask_hash(u, '{mask}'::uuid) FROM guess"),
        format!("SELECT authz.mask_hash(ssn::text, '{mask}'::uuid) FROM lab.person"),
        format!("SELECT authz.mask_hash(name, '{mask}'::uuid) FROM person_safe"),
        format!("SELECT authz.mask_hash(p.ssn::text, '{mask}'::uuid) FROM person_safe AS p"),
        format!(
            "SELECT authz.mask_hash(CASE WHEN p.id > 0 THEN g.ssn ELSE p.ssn END::text, '{mask}'::uuid) FROM person_safe AS p, guess AS g"
        ),
        format!("CREATE VIEW v AS SELECT authz.mask_hash(ssn::text, '{mask}'::uuid) AS h FROM guess; SELECT * FROM v"),
        format!("CREATE TABLE g2 (ssn text, h text GENERATED ALWAYS AS (authz.mask_hash(ssn, '{mask}')) STORED)"),
        format!(
            "CREATE FUNCTION f(text) RETURNS text LANGUAGE sql AS $$ SELECT authz.mask_hash($1, '{mask}') $$; SELECT f(ssn) FROM guess"
        ),
        format!("ALTER TABLE guess ADD CHECK (authz.mask_hash(ssn::text, '{mask}') <> 'x')"),
        format!("SELECT * FROM guess WHERE authz.mask_hash(ssn::text, '{mask}') = '{hash}'"),
        format!("PREPARE q(text) AS SELECT authz.mask_hash($1, '{mask}'); EXECUTE q('222-22-0001')"),
        format!("SELECT authz.mask_hash(ssn::text, '{mask}'::uuid) FROM public.person"),
        "SELECT authz.mask_support(NULL)".to_owned(),
        "SELECT * FROM authz.mask_secret".to_owned(),
        "SELECT secret FROM authz.mask_secret".to_owned(),
    ] {
        let error = c.batch_execute(&call).expect_err(&call);
        let text = report(&error);
        assert!(!text.contains(&hash), "{call}: {text}");
    }
    // A table of the reader's own has another key.
    execute(
        &mut admin,
        &format!(
            "GRANT EXECUTE ON FUNCTION authz_classify, authz_mask TO {}; SELECT authz_classify('person', 'name', 'internal')",
            people.app
        ),
    );
    execute(
        &mut c,
        "SELECT authz_classify('lab.guess', 'ssn', 'pii', 'mine'); SELECT authz_mask('lab.guess', 'ssn', 'hash')",
    );
    let own: uuid::Uuid = value(
        &mut admin,
        "SELECT classification_id FROM authz.data_classification WHERE target = 'lab.guess'::regclass",
        &[],
    );
    let other: String = value(
        &mut c,
        &format!("SELECT left(authz.mask_hash(ssn::text, '{own}'), 20) FROM guess"),
        &[],
    );
    assert_ne!(other, hash);
}
