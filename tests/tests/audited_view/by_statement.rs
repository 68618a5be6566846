//! Reading as a part of something: functions, blocks, statements that write, larger queries; and once after what forgets or
//! interrupts (R43).

use crate::Way;

/// Each of them.
pub const WAYS: &[Way] = &[
    (
        "function_for_each_row",
        &["SELECT read_it(n) FROM generate_series(1, 2) AS n"],
        &["v 1 completed", "v 1 completed"],
    ),
    (
        "function_of_sql",
        &["SELECT * FROM rows_of_sql() LIMIT 4"],
        &["v 4 completed"],
    ),
    (
        "function_that_is_lazy",
        &["SELECT lazy_rows() LIMIT 4"],
        &["v 4 completed"],
    ),
    (
        "loop",
        &["DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM v LOOP EXIT WHEN r.id = 3; END LOOP; END $$"],
        &["v 3 completed"],
    ),
    (
        "loops",
        &["DO $$ BEGIN FOR n IN 1 .. 3 LOOP PERFORM * FROM v LIMIT n; END LOOP; END $$"],
        &["v 1 completed", "v 2 completed", "v 3 completed"],
    ),
    (
        "caught",
        &["DO $$ BEGIN PERFORM 1 / (5 - id) FROM v; EXCEPTION WHEN division_by_zero THEN NULL; END $$"],
        &["v 4 failed"],
    ),
    (
        "procedure_that_commits",
        &["DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM v LOOP COMMIT; END LOOP; END $$"],
        &["v 10 completed"],
    ),
    (
        "create_table_as",
        &["CREATE TABLE copied AS SELECT * FROM v", "DROP TABLE copied"],
        &["v 10 completed"],
    ),
    (
        "create_table_without_data",
        &[
            "CREATE TABLE copied AS SELECT * FROM v WITH NO DATA",
            "DROP TABLE copied",
        ],
        &[],
    ),
    (
        "select_into",
        &["SELECT * INTO copied FROM v", "DROP TABLE copied"],
        &["v 10 completed"],
    ),
    (
        "materialized_view",
        &[
            "CREATE MATERIALIZED VIEW copied AS SELECT * FROM v",
            "REFRESH MATERIALIZED VIEW copied",
            "DROP MATERIALIZED VIEW copied",
        ],
        &["v 10 completed", "v 10 completed"],
    ),
    (
        "insert_select",
        &[
            "CREATE TEMP TABLE kept (id int)",
            "INSERT INTO kept SELECT id FROM v",
            "DROP TABLE kept",
        ],
        &["v 10 completed"],
    ),
    (
        "writing_cte",
        &[
            "CREATE TEMP TABLE kept (id int)",
            "WITH k AS (INSERT INTO kept SELECT id FROM v RETURNING id) SELECT max(id) FROM k",
            "DROP TABLE kept",
        ],
        &["v 1 completed"],
    ),
    (
        "update_from",
        &[
            "CREATE TEMP TABLE kept (id int, word text)",
            "INSERT INTO kept VALUES (1), (2), (77)",
            "UPDATE kept SET word = v.word FROM v WHERE v.id = kept.id",
            "DELETE FROM kept USING v WHERE v.id = kept.id",
            "MERGE INTO kept USING v ON v.id = kept.id WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.word)",
            "DROP TABLE kept",
        ],
        &["v 2 completed", "v 2 completed", "v 10 completed"],
    ),
    ("copy", &["COPY (SELECT * FROM v) TO STDOUT"], &["v 10 completed"]),
    ("view_over_it", &["SELECT * FROM over_v"], &["v 10 completed"]),
    (
        "twice",
        &["SELECT * FROM v AS a JOIN v AS b USING (id)"],
        &["v 10 completed"],
    ),
    (
        "twice_by_a_view",
        &["SELECT * FROM v JOIN over_v USING (id)"],
        &["v 10 completed"],
    ),
    (
        "two_views",
        &["SELECT * FROM v JOIN w USING (id)"],
        &["v 10 completed", "w 10 completed"],
    ),
    (
        "exists",
        &["SELECT 1 WHERE EXISTS (SELECT FROM v WHERE id = 3)"],
        &["v 1 completed"],
    ),
    (
        "in",
        &["SELECT n FROM generate_series(1, 3) AS n WHERE n IN (SELECT id FROM v)"],
        &["v 3 completed"],
    ),
    (
        "not_in",
        &["SELECT n FROM generate_series(1, 3) AS n WHERE n NOT IN (SELECT id FROM v)"],
        &["v 0 completed"],
    ),
    (
        "scalar",
        &["SELECT (SELECT word FROM v WHERE id = 3)"],
        &["v 1 completed"],
    ),
    (
        "cte",
        &["WITH x AS MATERIALIZED (SELECT * FROM v) SELECT * FROM x WHERE id < 3"],
        &["v 2 completed"],
    ),
    (
        "lateral",
        &["SELECT * FROM generate_series(1, 2) AS n, LATERAL (SELECT * FROM v WHERE id = n) AS x"],
        &["v 2 completed"],
    ),
    (
        "union",
        &["SELECT id FROM v UNION ALL SELECT id FROM v"],
        &["v 20 completed"],
    ),
    (
        "outer_join",
        &["SELECT * FROM generate_series(1, 3) AS n LEFT JOIN v ON v.id = n AND v.id = 2"],
        &["v 3 completed"],
    ),
    (
        "recursive",
        &["WITH RECURSIVE r AS (SELECT 1 AS id UNION SELECT v.id FROM r JOIN v ON v.id = r.id + 1) SELECT * FROM r"],
        &["v 10 completed"],
    ),
    ("for_update", &["!42501 SELECT * FROM v FOR UPDATE"], &[]),
    (
        "after_discard_all",
        &["DISCARD PLANS", "SELECT * FROM v"],
        &["v 10 completed"],
    ),
    (
        "trigger",
        &["INSERT INTO watched SELECT id FROM v LIMIT 3"],
        &["v 3 completed", "v 1 completed", "v 2 completed", "v 3 completed"],
    ),
    (
        "deferred_trigger",
        &["BEGIN", "INSERT INTO deferred VALUES (2), (3)", "COMMIT"],
        &["v 2 completed", "v 3 completed"],
    ),
    (
        "cancelled",
        &[
            "SET statement_timeout = '150ms'",
            "!57014 SELECT pg_sleep(0.04 * id) FROM v",
            "RESET statement_timeout",
        ],
        &["v ? failed"],
    ),
    (
        "named_only",
        &["SELECT 'v'::regclass, has_table_privilege('w', 'SELECT'), pg_get_viewdef('v'::regclass)"],
        &[],
    ),
];
