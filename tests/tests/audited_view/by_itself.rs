//! Reading by itself: plans, cursors, transactions (R43).

use crate::Way;

/// Each of them.
pub const WAYS: &[Way] = &[
    ("all", &["SELECT * FROM v"], &["v 10 completed"]),
    ("count", &["SELECT count(*) FROM v"], &["v 1 completed"]),
    ("limit", &["SELECT * FROM v LIMIT 3"], &["v 3 completed"]),
    ("none", &["SELECT * FROM v WHERE id > 10"], &["v 0 completed"]),
    ("never", &["SELECT * FROM v WHERE false"], &[]),
    (
        "explain",
        &["EXPLAIN SELECT * FROM v", "EXPLAIN (VERBOSE) SELECT * FROM v"],
        &[],
    ),
    (
        "explain_analyze",
        &["EXPLAIN ANALYZE SELECT * FROM v"],
        &["v 10 completed"],
    ),
    (
        "prepared",
        &[
            "SET plan_cache_mode = force_generic_plan",
            "PREPARE p (int) AS SELECT * FROM v WHERE id <= $1",
            "EXECUTE p (2)",
            "EXECUTE p (4)",
            "EXPLAIN ANALYZE EXECUTE p (5)",
            "EXPLAIN EXECUTE p (5)",
            "DEALLOCATE p",
            "RESET plan_cache_mode",
        ],
        &["v 2 completed", "v 4 completed", "v 5 completed"],
    ),
    (
        "cursor",
        &[
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT * FROM v",
            "FETCH 3 FROM c",
            "FETCH 4 FROM c",
            "CLOSE c",
            "COMMIT",
        ],
        &["v 7 completed"],
    ),
    (
        "cursor_left_open",
        &[
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT * FROM v",
            "FETCH 3 FROM c",
            "COMMIT",
        ],
        &["v 3 completed"],
    ),
    (
        "cursor_never_fetched",
        &["BEGIN", "DECLARE c CURSOR FOR SELECT * FROM v", "COMMIT"],
        &["v 0 completed"],
    ),
    (
        "cursor_held",
        &[
            "BEGIN",
            "DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT * FROM v",
            "FETCH 2 FROM c",
            "COMMIT",
            "FETCH 3 FROM c",
            "CLOSE c",
        ],
        &["v 10 completed"],
    ),
    (
        "cursor_backward",
        &[
            "BEGIN",
            "DECLARE c SCROLL CURSOR FOR SELECT * FROM v",
            "FETCH 4 FROM c",
            "FETCH BACKWARD 2 FROM c",
            "COMMIT",
        ],
        &["v 6 completed"],
    ),
    (
        "cursor_rolled_back",
        &[
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT * FROM v",
            "FETCH 3 FROM c",
            "ROLLBACK",
        ],
        &["v 3 failed"],
    ),
    (
        "cursor_of_a_savepoint",
        &[
            "BEGIN",
            "SAVEPOINT s",
            "DECLARE c CURSOR FOR SELECT * FROM v",
            "FETCH 2 FROM c",
            "ROLLBACK TO s",
            "COMMIT",
        ],
        &["v 2 failed"],
    ),
    (
        "cursor_of_a_released_savepoint",
        &[
            "BEGIN",
            "SAVEPOINT s",
            "DECLARE c CURSOR FOR SELECT * FROM v",
            "FETCH 2 FROM c",
            "RELEASE s",
            "SAVEPOINT t",
            "FETCH 2 FROM c",
            "ROLLBACK TO t",
            "FETCH 2 FROM c",
            "COMMIT",
        ],
        &["v 6 completed"],
    ),
    (
        "cursor_that_fails_in_a_savepoint",
        &[
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT 1 / (5 - id) FROM v",
            "FETCH 2 FROM c",
            "SAVEPOINT s",
            "!22012 FETCH 5 FROM c",
            "ROLLBACK TO s",
            "COMMIT",
        ],
        &["v 4 failed"],
    ),
    ("half_way", &["!22012 SELECT 1 / (5 - id) FROM v"], &["v 4 failed"]),
    (
        "half_way_in_a_transaction",
        &[
            "BEGIN",
            "SELECT * FROM v",
            "!22012 SELECT 1 / (5 - id) FROM v",
            "ROLLBACK",
        ],
        &["v 10 completed", "v 4 failed"],
    ),
    (
        "rolled_back",
        &["BEGIN", "SELECT * FROM v", "ROLLBACK"],
        &["v 10 completed"],
    ),
    (
        "savepoints",
        &[
            "BEGIN",
            "SELECT * FROM v LIMIT 1",
            "SAVEPOINT s",
            "SELECT * FROM v LIMIT 2",
            "ROLLBACK TO s",
            "SELECT * FROM v LIMIT 3",
            "COMMIT",
        ],
        &["v 1 completed", "v 2 completed", "v 3 completed"],
    ),
    (
        "repeatable_read",
        &[
            "BEGIN ISOLATION LEVEL REPEATABLE READ",
            "SELECT * FROM v",
            "SELECT * FROM v LIMIT 1",
            "COMMIT",
        ],
        &["v 10 completed", "v 1 completed"],
    ),
    (
        "serializable",
        &["BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT * FROM v", "COMMIT"],
        &["v 10 completed"],
    ),
    (
        "prepared_transaction",
        &[
            "BEGIN",
            "SELECT * FROM v",
            "PREPARE TRANSACTION 'audited'",
            "COMMIT PREPARED 'audited'",
        ],
        &["v 10 completed"],
    ),
    ("function", &["SELECT read_it(5)"], &["v 1 completed"]),
];
