//! Checks and lists that wait for a table, or for a part of one, while somebody changes it: they answer by what is there when
//! the wait is over, as PostgreSQL plans its queries anew then, and as their statement sees the rows.

mod authority;
mod others;

use authz_tests::make::{self, id};
use authz_tests::waiting::until_it_waits;
use authz_tests::{Db, execute, report, value};
use postgres::Client;

/// Somebody makes a table of things, of which Alice sees those of the team: 2, but not 3, and what `more` adds.
fn world(db: &Db, more: &str) -> Client {
    let mut c = db.connect();
    make::tenant(&mut c, "globex");
    let tenant = make::tenant(&mut c, "acme");
    execute(&mut c, &with_ids(more));
    execute(
        &mut c,
        &with_ids(
            "INSERT INTO public.thing VALUES ('#acme', 2, '#team'), ('#acme', 3, NULL);
             INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column, team_column)
             VALUES ('thing', 'public.thing', 'key', 'tenant', 'team');
             INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
             VALUES ('thing.view', 'thing', 'view');
             -- What PostgreSQL makes of the same question, by the snapshot of the statement that asks.
             CREATE FUNCTION public.can(k int) RETURNS bool STABLE LANGUAGE plpgsql AS $$ BEGIN
                 RETURN (SELECT count(*) = 1 AND coalesce(bool_and(team::text = '#team'), false)
                           FROM public.thing WHERE key + 0 = k);
             END $$;
             CREATE FUNCTION public.all_things() RETURNS text STABLE LANGUAGE plpgsql AS $$ BEGIN
                 RETURN (SELECT coalesce(string_agg(key::text, ' ' ORDER BY key), '')
                           FROM public.thing WHERE team::text = '#team');
             END $$",
        ),
    );
    make::role(&mut c, "holder", &["thing.view"]);
    make::member(&mut c, tenant, "alice");
    make::team(&mut c, tenant, "team", None, None);
    make::assign(&mut c, tenant, id("alice"), "holder", "team", id("team"));
    c
}

/// `#name` becomes the id of that name.
fn with_ids(sql: &str) -> String {
    ["acme", "globex", "team", "alice"]
        .iter()
        .fold(sql.to_owned(), |sql, name| {
            sql.replace(&format!("#{name}"), &id(name).to_string())
        })
}

/// What is asked, of the extension and of PostgreSQL.
fn questions(key: i32) -> [String; 4] {
    [
        with_ids(&format!("SELECT authz_can('#alice', 'thing.view', {key})::text")),
        with_ids(
            "SELECT coalesce(string_agg(resource, ' ' ORDER BY resource), '') FROM authz_resources('#alice', 'thing.view')",
        ),
        format!("SELECT public.can({key})::text"),
        "SELECT public.all_things()".to_owned(),
    ]
}

/// A table, and what is done to it while others wait.
struct Case {
    made: &'static str,
    /// What is done, in one transaction, or, if it cannot be done in one, after others have waited for a lock on this.
    done: &'static str,
    /// What is asked about.
    key: i32,
    /// The answer of those who have waited, and their list.
    then: (bool, &'static str),
    /// The answer afterwards.
    afterwards: (bool, &'static str),
}

const PLAIN: &str =
    "CREATE TABLE public.thing (tenant uuid NOT NULL, key int NOT NULL PRIMARY KEY, team uuid, note text);
    CREATE INDEX ON public.thing (team)";

const BY_TENANT: &str = "CREATE TABLE public.thing (tenant uuid NOT NULL, key int NOT NULL, team uuid, note text)
        PARTITION BY LIST (tenant);
    CREATE TABLE public.acme PARTITION OF public.thing FOR VALUES IN ('#acme');
    CREATE TABLE public.globex PARTITION OF public.thing FOR VALUES IN ('#globex')";

const AMBIGUOUS: &str = "CREATE TABLE public.thing (tenant uuid NOT NULL, key int NOT NULL, team uuid, note text)
        PARTITION BY LIST (tenant);
    CREATE TABLE public.acme PARTITION OF public.thing FOR VALUES IN ('#acme');
    CREATE TABLE public.globex PARTITION OF public.thing FOR VALUES IN ('#globex');
    INSERT INTO public.thing VALUES ('#globex', 2);
    CREATE TABLE public.other AS TABLE public.globex;
    ALTER TABLE public.other ALTER tenant SET NOT NULL, ALTER key SET NOT NULL";

const LEVELS: &str = "CREATE TABLE public.thing (tenant uuid NOT NULL, key int NOT NULL, team uuid, note text)
        PARTITION BY RANGE (key);
    CREATE TABLE public.low PARTITION OF public.thing FOR VALUES FROM (MINVALUE) TO (10) PARTITION BY LIST (tenant);
    CREATE TABLE public.lowest PARTITION OF public.low DEFAULT;
    CREATE UNIQUE INDEX ON public.lowest (key);
    CREATE TABLE public.high PARTITION OF public.thing DEFAULT;
    INSERT INTO public.thing VALUES ('#acme', 20, '#team')";

const INHERITED: &str = "CREATE TABLE public.thing (tenant uuid NOT NULL, key int NOT NULL, team uuid, note text);
    CREATE TABLE public.heir () INHERITS (public.thing);
    INSERT INTO public.heir VALUES ('#acme', 5, '#team')";

fn cases() -> Vec<Case> {
    let case = |made, done, key, then, afterwards| Case {
        made,
        done,
        key,
        then,
        afterwards,
    };
    let same = |made, done, key, then| case(made, done, key, then, then);
    vec![
        // A level between is taken away, and what is below it with it.
        same(
            LEVELS,
            "LOCK TABLE public.lowest; ALTER TABLE public.thing DETACH PARTITION public.low",
            2,
            (false, "20"),
        ),
        same(
            LEVELS,
            "LOCK TABLE public.lowest; ALTER TABLE public.low DETACH PARTITION public.lowest;
             ALTER TABLE public.thing DETACH PARTITION public.low;
             ALTER TABLE public.thing ATTACH PARTITION public.lowest FOR VALUES FROM (MINVALUE) TO (10)",
            2,
            (true, "2 20"),
        ),
        same(LEVELS, "LOCK TABLE public.lowest; DROP TABLE public.low CASCADE", 20, (true, "20")),
        // Another part takes the place of one, and has the key as well: it was ambiguous, and is.
        same(
            AMBIGUOUS,
            "ALTER TABLE public.thing DETACH PARTITION public.globex;
             ALTER TABLE public.thing ATTACH PARTITION public.other FOR VALUES IN ('#globex')",
            2,
            (false, "2"),
        ),
        same(
            AMBIGUOUS,
            "ALTER TABLE public.thing DETACH PARTITION public.globex",
            2,
            (true, "2"),
        ),
        // Nothing of the key is left, or it becomes ambiguous.
        same(
            AMBIGUOUS,
            "ALTER TABLE public.thing DETACH PARTITION public.acme; ALTER TABLE public.thing DETACH PARTITION public.globex;
             ALTER TABLE public.thing ATTACH PARTITION public.other FOR VALUES IN ('#globex')",
            2,
            (false, ""),
        ),
        same(
            BY_TENANT,
            "INSERT INTO public.globex VALUES ('#globex', 3); LOCK TABLE public.thing;
             ALTER TABLE public.thing DETACH PARTITION public.acme;
             ALTER TABLE public.thing ATTACH PARTITION public.acme FOR VALUES IN ('#acme', '#alice')",
            2,
            (true, "2"),
        ),
        same(
            BY_TENANT,
            "ALTER TABLE public.thing DETACH PARTITION public.globex; DROP TABLE public.globex",
            2,
            (true, "2"),
        ),
        same(BY_TENANT, "DROP TABLE public.globex", 2, (true, "2")),
        same(
            BY_TENANT,
            "LOCK TABLE public.acme; ALTER TABLE public.acme RENAME TO renamed; ALTER TABLE public.thing RENAME note TO noted",
            2,
            (true, "2"),
        ),
        same(INHERITED, "DROP TABLE public.heir", 2, (true, "2")),
        same(
            INHERITED,
            "LOCK TABLE public.heir; ALTER TABLE public.heir NO INHERIT public.thing; DROP TABLE public.heir",
            2,
            (true, "2"),
        ),
        // Columns: of other types, under other numbers, of other names, of other values.
        case(
            PLAIN,
            "ALTER TABLE public.thing ALTER team TYPE text USING team::text",
            2,
            (false, ""),
            (true, "2"),
        ),
        case(
            PLAIN,
            "ALTER TABLE public.thing ALTER key TYPE text USING key::text; ALTER TABLE public.thing ALTER key TYPE int USING key::int",
            2,
            (false, ""),
            (true, "2"),
        ),
        same(
            PLAIN,
            "ALTER TABLE public.thing DROP COLUMN key; ALTER TABLE public.thing ADD COLUMN key int NOT NULL DEFAULT 3",
            3,
            (false, "3"),
        ),
        same(
            PLAIN,
            "ALTER TABLE public.thing DROP COLUMN team; ALTER TABLE public.thing ADD COLUMN team uuid",
            2,
            (false, ""),
        ),
        same(
            PLAIN,
            "ALTER TABLE public.thing DROP COLUMN team; ALTER TABLE public.thing ADD COLUMN team uuid DEFAULT '#team'",
            3,
            (true, "2 3"),
        ),
        same(
            PLAIN,
            "ALTER TABLE public.thing ADD COLUMN name uuid DEFAULT '#team'; ALTER TABLE public.thing RENAME team TO gone;
             ALTER TABLE public.thing RENAME name TO team",
            3,
            (true, "2 3"),
        ),
        same(
            PLAIN,
            "ALTER TABLE public.thing DROP COLUMN team; CLUSTER public.thing USING thing_pkey;
             ALTER TABLE public.thing ADD COLUMN team uuid",
            2,
            (false, ""),
        ),
        // Storage and indexes. What is written anew is not there for older snapshots, except by CLUSTER and VACUUM.
        same(PLAIN, "CLUSTER public.thing USING thing_pkey", 2, (true, "2")),
        same(PLAIN, "LOCK TABLE public.thing; REINDEX TABLE public.thing", 2, (true, "2")),
        same(PLAIN, "TRUNCATE public.thing", 2, (false, "")),
        case(
            PLAIN,
            "TRUNCATE public.thing; INSERT INTO public.thing VALUES ('#acme', 3, '#team')",
            3,
            (false, ""),
            (true, "3"),
        ),
        case(
            PLAIN,
            "ALTER TABLE public.thing SET UNLOGGED",
            2,
            (false, ""),
            (true, "2"),
        ),
        case(
            PLAIN,
            "CREATE ACCESS METHOD another TYPE TABLE HANDLER heap_tableam_handler;
             ALTER TABLE public.thing SET ACCESS METHOD another",
            2,
            (false, ""),
            (true, "2"),
        ),
        same(
            PLAIN,
            "DROP INDEX public.thing_team_idx; ALTER TABLE public.thing DROP CONSTRAINT thing_pkey;
             CREATE UNIQUE INDEX ON public.thing (key) INCLUDE (note); CREATE INDEX ON public.thing (team, key)",
            2,
            (true, "2"),
        ),
        same(PLAIN, "VACUUM FULL public.thing", 2, (true, "2")),
        same(PLAIN, "VACUUM (FULL, ANALYZE) public.thing", 3, (false, "2")),
    ]
}

/// Asks in sessions that know the table already, and in others for which it is new, while the case is done; answers, of the
/// extension and of PostgreSQL, for both.
fn while_it_is_done(db: &Db, c: &mut Client, case: &Case, end: &str) -> Vec<(&'static str, Vec<String>)> {
    let questions = questions(case.key);
    let mut watcher = db.connect();
    let mut sessions: Vec<(&str, usize, Client)> = Vec::new();
    for who in ["knew", "new"] {
        for (n, question) in questions.iter().enumerate() {
            let mut session = db.connect();
            if who == "knew" {
                value::<String>(&mut session, question, &[]);
            }
            sessions.push((who, n, session));
        }
    }
    let alone = case.done.starts_with("VACUUM");
    let mut other = db.connect();
    if alone {
        execute(c, "BEGIN; LOCK TABLE public.thing IN SHARE MODE");
    } else {
        execute(c, &with_ids(&format!("BEGIN; {}", case.done)));
    }
    let answers = std::thread::scope(|scope| {
        if alone {
            let pid: i32 = value(&mut other, "SELECT pg_backend_pid()", &[]);
            scope.spawn(|| execute(&mut other, case.done));
            until_it_waits(&mut watcher, pid);
        }
        let asking: Vec<_> = sessions
            .into_iter()
            .map(|(who, n, mut session)| {
                let question = &questions[n];
                let pid: i32 = value(&mut session, "SELECT pg_backend_pid()", &[]);
                let asking = scope.spawn(move || match session.query_one(question, &[]) {
                    Ok(row) => row.get::<_, String>(0),
                    Err(e) => report(&e),
                });
                until_it_waits(&mut watcher, pid);
                (who, n, asking)
            })
            .collect();
        execute(c, end);
        asking
            .into_iter()
            .map(|(who, n, asking)| (who, n, asking.join().expect("no panic")))
            .collect::<Vec<_>>()
    });
    ["knew", "new"]
        .map(|who| {
            let of = answers.iter().filter(|(w, _, _)| *w == who);
            (who, of.map(|(_, _, answer)| answer.clone()).collect())
        })
        .to_vec()
}

#[test]
fn who_has_waited_for_a_table_answers_by_what_it_is_then() {
    let mut wrong = String::new();
    for case in cases() {
        let undone = if case.done.starts_with("VACUUM") {
            [false].as_slice()
        } else {
            &[true, false]
        };
        let db = Db::new();
        let mut c = world(&db, case.made);
        let before = questions(case.key).map(|question| value::<String>(&mut c, &question, &[]));
        for undone in undone {
            let end = if *undone { "ROLLBACK" } else { "COMMIT" };
            let (can, list) = case.then;
            let expected = if *undone {
                before.clone().to_vec()
            } else {
                [&can.to_string(), list, &can.to_string(), list]
                    .map(str::to_owned)
                    .to_vec()
            };
            for (who, answers) in while_it_is_done(&db, &mut c, &case, end) {
                if answers != expected {
                    wrong += &format!("{who}, {end}: {}\n  {answers:?} instead of {expected:?}\n", case.done);
                }
            }
        }
        let (can, list) = case.afterwards;
        let after = questions(case.key).map(|question| value::<String>(&mut c, &question, &[]));
        let expected = [&can.to_string(), list, &can.to_string(), list].map(str::to_owned);
        if after != expected {
            wrong += &format!("afterwards: {}\n  {after:?} instead of {expected:?}\n", case.done);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
