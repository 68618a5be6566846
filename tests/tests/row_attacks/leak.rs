//! What comes out beside the rows: by leaky functions, error texts, differences (R27, PITFALLS 19, 23).

use crate::world::End::{Count, Refused, Rows, Silence};
use crate::world::{MINE, World, connect, text};
use authz_tests::make::id;
use authz_tests::{execute, report};
use postgres::SimpleQueryMessage;

/// A function that tells what it is called with, cheaper than anything.
const LEAK: &str = "
    CREATE FUNCTION evil.leak(anyelement) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 PARALLEL SAFE IMMUTABLE
        AS $$ BEGIN RAISE NOTICE 'leak %', $1; RETURN true; END $$;
    CREATE FUNCTION evil.leak2(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 PARALLEL SAFE IMMUTABLE
        AS $$ BEGIN RAISE NOTICE 'leak % %', $1, $2; RETURN $1 < $2; END $$;
    CREATE FUNCTION evil.leak3(uuid, uuid) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 PARALLEL SAFE IMMUTABLE
        AS $$ BEGIN RAISE NOTICE 'leak % %', $1, $2; RETURN $1 = $2; END $$;
    CREATE OPERATOR evil.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.leak2, RESTRICT = eqsel, JOIN = eqjoinsel);
    CREATE OPERATOR evil.<<< (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.leak2, RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
    CREATE OPERATOR evil.==== (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = evil.leak3, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
    CREATE FUNCTION evil.step(text, text) RETURNS text LANGUAGE plpgsql PARALLEL SAFE
        AS $$ BEGIN RAISE NOTICE 'leak %', $2; RETURN $2; END $$;
    CREATE AGGREGATE evil.collect(text) (SFUNC = evil.step, STYPE = text, INITCOND = '', COMBINEFUNC = evil.step, PARALLEL = SAFE);
    CREATE FUNCTION public.of_row(public.case_record) RETURNS text LANGUAGE plpgsql COST 0.0000001
        AS $$ BEGIN RAISE NOTICE 'leak %', $1; RETURN $1.title; END $$;
    GRANT USAGE ON SCHEMA evil TO PUBLIC";

pub fn with_leaks() -> World {
    let world = World::new();
    execute(&mut world.db.connect_as(&world.mallory), LEAK);
    world
}

#[test]
fn leaky_functions_and_operators() {
    with_leaks().resist(&[
        ("a cheap function in WHERE", "SELECT title FROM case_record WHERE evil.leak(title) ORDER BY title", MINE),
        ("a cheap function of the row", "SELECT title FROM case_record c WHERE of_row(c) IS NOT NULL ORDER BY title", MINE),
("a function in attribute notation", "SELECT c.of_row FROM case_record c WHERE (c).of_row IS NOT NULL ORDER BY 1", MINE),
        ("a function in OR", "SELECT title FROM case_record WHERE evil.leak(title) OR title IS NULL ORDER BY title", MINE),
        ("a function in NOT", "SELECT title FROM case_record WHERE NOT evil.leak(title)", Rows(&[])),
        ("a function in CASE", "SELECT title FROM case_record WHERE CASE WHEN evil.leak(title) THEN true END ORDER BY title", MINE),
        ("a function in ORDER BY", "SELECT title FROM case_record ORDER BY evil.leak(title), title", MINE),
        ("a function in GROUP BY", "SELECT count(*) FROM case_record GROUP BY evil.leak(title)", Rows(&["2"])),
        ("a function in HAVING", "SELECT title FROM case_record GROUP BY title HAVING evil.leak(title) ORDER BY title", MINE),
        ("a function in DISTINCT ON", "SELECT DISTINCT ON (evil.leak(title)) 1 FROM case_record", Rows(&["1"])),
        ("a function in a window", "SELECT count(*) OVER (PARTITION BY evil.leak(title)) FROM case_record", Rows(&["2", "2"])),
        ("a function in FILTER", "SELECT count(*) FILTER (WHERE evil.leak(title)) FROM case_record", Rows(&["2"])),
        ("a function in a join", "SELECT a.title FROM case_record a JOIN (VALUES (1)) v ON evil.leak(a.title) ORDER BY 1", MINE),
        ("a function in an outer join", "SELECT a.title FROM (VALUES (1)) v LEFT JOIN case_record a ON evil.leak(a.title) ORDER BY 1", MINE),
        ("a function in a sub-select", "SELECT title FROM case_record c WHERE (SELECT evil.leak(c.title)) ORDER BY 1", MINE),
        ("a function on a child", "SELECT title FROM case_document WHERE evil.leak(title)", Rows(&["my document"])),
        ("a function on a partitioned table", "SELECT title FROM event WHERE evil.leak(title)", Rows(&["first"])),
        ("a function on a generated column", "SELECT title FROM ticket WHERE evil.leak(code)", Rows(&["first"])),
        ("a function in an UPDATE", "UPDATE case_record SET title = title WHERE evil.leak(title)", Count(2)),
        ("a function in a DELETE", "DELETE FROM case_record WHERE evil.leak(title) AND title = 'none'", Count(0)),
        ("a function in RETURNING", "UPDATE case_record SET title = title RETURNING evil.leak(title)", Rows(&["t", "t"])),
        ("a function in SET", "UPDATE case_record SET title = CASE WHEN evil.leak(title) THEN title END", Count(2)),
        ("a function in MERGE's condition", "MERGE INTO case_record c USING (VALUES (1)) v ON evil.leak(c.title)
            WHEN MATCHED AND evil.leak(c.title) THEN UPDATE SET title = c.title", Count(2)),
        ("a function in ON CONFLICT", "INSERT INTO ticket (tenant_id, ticket_id, team_id, title) VALUES (':acme', 1, ':red', 'first')
            ON CONFLICT (tenant_id, ticket_id) DO UPDATE SET title = EXCLUDED.title WHERE evil.leak(ticket.title)", Count(1)),
        ("a function over a barrier view", "SELECT title FROM barrier_view WHERE evil.leak(title) ORDER BY title", MINE),
        ("a function over the caller's view", "SELECT title FROM caller_view WHERE evil.leak(title) ORDER BY title", MINE),
        ("a function in parallel workers", "SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;
            SELECT count(*) FROM case_record WHERE evil.leak(title)", Rows(&["2"])),
        ("an operator with an estimator", "SELECT title FROM case_record WHERE title OPERATOR(evil.===) 'x' ORDER BY title", MINE),
        ("an estimator that reads the histogram", "EXPLAIN SELECT title FROM case_record WHERE title OPERATOR(evil.<<<) 'x'", Silence),
        ("an estimator on a partitioned table", "EXPLAIN SELECT title FROM event WHERE title OPERATOR(evil.===) 'x'", Silence),
        ("an estimator of a join", "EXPLAIN SELECT a.title FROM case_record a JOIN case_record b ON a.title OPERATOR(evil.===) b.title", Silence),
        ("an operator that says it hashes", "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SELECT count(*) FROM case_record a JOIN case_record b ON a.case_id OPERATOR(evil.====) b.case_id", Rows(&["2"])),
        ("an aggregate of one's own", "SELECT evil.collect(title) IN ('mine', 'mine too') FROM case_record", Rows(&["t"])),
        ("an aggregate of one's own as window", "SELECT evil.collect(title) OVER (ORDER BY title) FROM case_record ORDER BY 1", MINE),
        ("a domain that tells what it checks", "CREATE DOMAIN evil.told AS text CHECK (evil.leak(VALUE)); SELECT title::evil.told FROM case_record ORDER BY 1", MINE),
        ("a function declared leakproof", "CREATE FUNCTION evil.proof(text) RETURNS boolean LANGUAGE sql LEAKPROOF AS 'SELECT true'", Refused("42501")),
        ("making a function leakproof", "ALTER FUNCTION evil.leak2(text, text) LEAKPROOF", Refused("42501")),
        ("an index on a function", "CREATE INDEX ON case_record (evil.leak(title))", Refused("42501")),
        ("statistics on a function", "CREATE STATISTICS evil.s ON (evil.leak(title)), case_id FROM case_record", Refused("42501")),
        ("TABLESAMPLE with a function", "SELECT title FROM case_record TABLESAMPLE SYSTEM (100) WHERE evil.leak(title) ORDER BY 1", MINE),
        ("a method of sampling", "SELECT title FROM case_record TABLESAMPLE BERNOULLI (100) REPEATABLE (1) ORDER BY 1", MINE),
        ("JIT", "SET LOCAL jit_above_cost = 0; SELECT title FROM case_record WHERE evil.leak(title) ORDER BY 1", MINE),
    ]);
}

#[test]
fn error_texts() {
    with_leaks().resist(&[
        ("division by zero", "SELECT 1 FROM case_record WHERE 1 / CASE WHEN title LIKE 'S%' THEN 0 ELSE 1 END > 0", Rows(&["1", "1"])),
        ("a cast", "SELECT title::integer FROM case_record", Refused("22P02")),
        ("a cast in WHERE", "SELECT 1 FROM case_record WHERE title LIKE 'S%' AND title::integer = 1", Rows(&[])),
        ("a regular expression", "SELECT 1 FROM case_record WHERE title LIKE 'S%' AND 'a' ~ ('(' || title)", Rows(&[])),
        ("a JSON parser", "SELECT 1 FROM case_record WHERE title LIKE 'S%' AND title::jsonb IS NOT NULL", Rows(&[])),
        ("overflow of an aggregate", "SELECT sum(1e300::float8 * 10 ^ CASE WHEN title LIKE 'S%' THEN 300 ELSE -300 END) > 0 FROM case_record", Rows(&["t"])),
        ("a scalar sub-select of several rows", "SELECT (SELECT title FROM case_record WHERE title LIKE 'S%')", Rows(&["NULL"])),
        ("the key of another tenant", "INSERT INTO ticket (tenant_id, ticket_id, team_id, title) VALUES (':globex', 1, ':green', 'x')", Refused("42501")),
        ("an unused key of another tenant", "INSERT INTO ticket (tenant_id, ticket_id, team_id, title) VALUES (':globex', 99, ':green', 'x')", Refused("42501")),
        ("the key of another tenant, or nothing", "INSERT INTO ticket (tenant_id, ticket_id, team_id, title) VALUES (':globex', 1, ':green', 'x') ON CONFLICT DO NOTHING", Refused("42501")),
        ("the key of another tenant in one's own", "INSERT INTO ticket (tenant_id, ticket_id, team_id, title) VALUES (':acme', 3, ':red', 'mine');
            DELETE FROM ticket WHERE ticket_id = 3", Count(2)),
        ("a duplicate of a hidden key, for its text", "INSERT INTO case_record (tenant_id, case_id, owning_team_id, title) VALUES (':acme', ':blue case', ':red', 'x')", Refused("23505")),
        ("updating a hidden row by ON CONFLICT", "INSERT INTO ticket (tenant_id, ticket_id, team_id, title) VALUES (':acme', 2, ':red', 'x')
            ON CONFLICT (tenant_id, ticket_id) DO UPDATE SET title = 'x', team_id = ':red' RETURNING ticket.title", Refused("42501")),
        ("reading a hidden row by ON CONFLICT", "INSERT INTO ticket (tenant_id, ticket_id, team_id, title) VALUES (':acme', 2, ':red', 'x')
            ON CONFLICT (tenant_id, ticket_id) DO UPDATE SET title = ticket.title RETURNING *", Refused("42501")),
        ("a hidden parent", "INSERT INTO case_document (tenant_id, document_id, case_id, title) VALUES (':acme', ':new', ':blue case', 'x')", Refused("42501")),
        ("an absent parent", "INSERT INTO case_document (tenant_id, document_id, case_id, title) VALUES (':acme', ':new', ':absent', 'x')", Refused("42501")),
        ("a sealed parent", "INSERT INTO case_document (tenant_id, document_id, case_id, title) VALUES (':acme', ':new', ':sealed', 'x')", Refused("42501")),
        ("a parent of another tenant", "INSERT INTO case_document (tenant_id, document_id, case_id, title) VALUES (':acme', ':new', ':foreign', 'x')", Refused("42501")),
        ("a key that is NULL", "UPDATE case_record SET case_id = NULL", Refused("42501")),
        ("the server's list of usual values", "SELECT most_common_vals, histogram_bounds FROM pg_stats WHERE tablename IN ('case_record', 'event_acme', 'event')", Rows(&[])),
        ("the server's statistics themselves", "SELECT * FROM pg_statistic", Refused("42501")),
        ("extended statistics", "SELECT * FROM pg_stats_ext WHERE tablename = 'case_record'", Rows(&[])),
        ("EXPLAIN", "EXPLAIN (VERBOSE, SETTINGS) SELECT * FROM case_record WHERE title LIKE 'S%'", Silence),
        ("EXPLAIN ANALYZE", "EXPLAIN (ANALYZE, VERBOSE, BUFFERS) SELECT * FROM case_record WHERE evil.leak(title)", Silence),
        ("EXPLAIN ANALYZE of an UPDATE", "EXPLAIN (ANALYZE) UPDATE case_record SET title = title WHERE evil.leak(title)", Silence),
        ("what others do", "SELECT query FROM pg_stat_activity WHERE query LIKE '%SEC' || 'RET%' AND pid <> pg_backend_pid()", Rows(&[])),
        ("a sequence that others moved", "SELECT currval('ticket_ids')", Refused("55000")),
        ("the server's log", "SELECT pg_read_file('postgresql.log')", Refused("42501")),
        ("the table's file", "SELECT pg_read_binary_file(pg_relation_filepath('case_record'))", Refused("42501")),
        ("COPY to a program", "COPY case_record TO PROGRAM 'cat'", Refused("42501")),
        ("COPY to a file", "COPY case_record TO '/tmp/case_record'", Refused("42501")),
        ("a publication", "CREATE PUBLICATION p FOR TABLE case_record", Refused("42501")),
        ("a replication slot", "SELECT pg_create_logical_replication_slot('s', 'pgoutput')", Refused("42501")),
    ]);
}

/// Whatever is asked about it: the same rows, the same errors, the same plan.
#[test]
fn a_hidden_row_and_an_absent_row_look_the_same() {
    let world = World::new();
    let ask = |sql: &str, key: &str| -> (Vec<String>, String) {
        let (mut client, notices) = connect(&world.db, &world.mallory);
        execute(&mut client, "BEGIN");
        let sql = text(&sql.replace(":key", &format!(":{key}")));
        let outcome = client.simple_query(&sql);
        let notices = format!("{:?}", notices.lock().unwrap()).replace(&id(key).to_string(), "KEY");
        let outcome = match outcome {
            Ok(messages) => messages
                .iter()
                .map(|m| match m {
                    SimpleQueryMessage::Row(row) => (0..row.len())
                        .map(|n| row.get(n).unwrap_or("NULL"))
                        .collect::<Vec<_>>()
                        .join("|"),
                    SimpleQueryMessage::CommandComplete(n) => n.to_string(),
                    _ => String::new(),
                })
                .collect(),
            Err(e) => vec![report(&e)],
        };
        (
            outcome.iter().map(|t| t.replace(&id(key).to_string(), "KEY")).collect(),
            notices,
        )
    };
    for sql in [
        "SELECT * FROM case_record WHERE case_id = ':key'",
        "SELECT * FROM case_record WHERE case_id = ':key' FOR UPDATE",
        "SELECT authz_can('case.view', ':key'::uuid)",
        "SELECT authz_can('case.view', ':key'::text)",
        "SELECT authz_can(authz_principal(), 'case.edit', ':key'::uuid)",
        "SELECT * FROM authz_can_many(authz_principal(), 'case.view', ARRAY[':key']::uuid[])",
        "SELECT * FROM authz_permissions(authz_principal(), ':key'::uuid, 'case')",
        "UPDATE case_record SET title = 'x' WHERE case_id = ':key' RETURNING *",
        "DELETE FROM case_record WHERE case_id = ':key'",
        "INSERT INTO case_document (tenant_id, document_id, case_id, title) VALUES (':acme', ':new', ':key', 'x')",
        "UPDATE case_document SET case_id = ':key'",
        "INSERT INTO case_record (tenant_id, case_id, owning_team_id) VALUES (':globex', ':key', ':green')",
        "INSERT INTO case_record (tenant_id, case_id, owning_team_id) VALUES (':globex', ':key', ':green') ON CONFLICT DO NOTHING",
        "MERGE INTO case_record c USING (VALUES (':key'::uuid)) v (k) ON c.case_id = v.k WHEN MATCHED THEN DELETE",
        "EXPLAIN SELECT * FROM case_record WHERE case_id = ':key'",
    ] {
        let absent = ask(sql, "absent");
        for key in ["foreign", "blue case", "sealed", "deleted", "denied"] {
            assert_eq!(ask(sql, key), absent, "{key}: {sql}");
        }
    }
}
