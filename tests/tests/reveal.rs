//! Reveal (R41): one field, with permission, reason and event, so many an hour, whatever becomes of the transaction.

use std::sync::Barrier;

use authz_tests::cluster::Cluster;
use authz_tests::make::{self, id};
use authz_tests::people::People;
use authz_tests::recorded;
use authz_tests::{Db, Start, execute, refused, refused_with_hint, report, value};

fn events(people: &People) -> Vec<String> {
    people
        .admin()
        .query(
            "SELECT concat_ws(' ', action_code, resource_type, resource_id, access_result, context ->> 'column', context ->> 'reason',
                              (tenant_id = $1)::text, (principal_id = $2)::text)
               FROM authz.access_audit_event ORDER BY occurred_at",
            &[&id("acme"), &id("hana")],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

fn charges(people: &People) -> i64 {
    value(
        &mut people.admin(),
        "SELECT count(*) FROM authz.reveal_charge WHERE allowed",
        &[],
    )
}

#[test]
fn r41_one_field_is_revealed_with_an_event() {
    let people = People::masked();
    let mut hana = people.of("hana");
    let ssn: String = value(
        &mut hana,
        "SELECT authz_reveal('person', 2, 'ssn', 'identity check')",
        &[],
    );
    assert_eq!(ssn, "222-22-0002");
    let born: String = value(
        &mut hana,
        "SELECT authz_reveal('public.person', '2', 'born', 'identity check')",
        &[],
    );
    assert_eq!(born, "1980-05-17");
    execute(&mut people.admin(), "UPDATE person SET card = NULL WHERE id = 2");
    let card: Option<String> = hana
        .query_one("SELECT authz_reveal('person', 2, 'card', 'why')", &[])
        .unwrap()
        .get(0);
    assert_eq!(card, None);
    assert_eq!(
        events(&people),
        [
            "person.reveal person 2 allowed ssn identity check true true",
            "person.reveal person 2 allowed born identity check true true",
            "person.reveal person 2 allowed card why true true"
        ]
    );
    // A permission of its own for a class counts instead.
    let mut admin = people.admin();
    execute(
        &mut admin,
        "INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('person.reveal_pii', 'person', 'reveal_pii')",
    );
    refused(
        &mut hana,
        "SELECT authz_reveal('person', 2, 'ssn', 'why')",
        "42501",
        &["person.reveal_pii"],
    );
    execute(&mut hana, "SELECT authz_reveal('person', 2, 'name', 'why')");
    make::allow(&mut admin, "revealer", "person.reveal_pii", None);
    execute(&mut hana, "SELECT authz_reveal('person', 2, 'ssn', 'why')");
}

#[test]
fn r41_keys_of_all_types() {
    let people = People::bare();
    let mut admin = people.admin();
    for (table, key_type, key) in [
        ("by_uuid", "uuid", id("row").to_string()),
        ("by_text", "text", "the row".to_owned()),
        ("by_big", "bigint", "9007199254740993".to_owned()),
    ] {
        execute(
            &mut people.table_owner(),
            &format!(
                "CREATE TABLE {table} (tenant_id uuid NOT NULL, k {key_type}, v text, PRIMARY KEY (tenant_id, k)); CREATE INDEX ON {table} (k)"
            ),
        );
        execute(
            &mut admin,
            &format!(
                "INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
                 SELECT '{table}.' || a, '{table}', a FROM unnest('{{view,reveal}}'::text[]) AS a;
                 INSERT INTO {table} VALUES ('{}', '{key}', 'mine'), ('{}', '{key}', 'theirs')",
                id("acme"),
                id("globex")
            ),
        );
        execute(
            &mut people.table_owner(),
            &format!("SELECT * FROM authz_protect('{table}', '{table}', key => 'k', tenant => 'tenant_id')"),
        );
        for permission in ["view", "reveal"] {
            make::allow(&mut admin, "revealer", &format!("{table}.{permission}"), None);
        }
        for call in [
            format!("authz_reveal('{table}', '{key}'::{key_type}, 'v', 'why')"),
            format!("authz_reveal('{table}', '{key}', 'v', 'why')"),
        ] {
            let mut hana = people.db.connect_as(&people.app);
            execute(
                &mut hana,
                &format!(
                    "SELECT authz_set_session('{}', '{}', is_local => false)",
                    id("hana"),
                    id("acme")
                ),
            );
            let seen: String = value(&mut hana, &format!("SELECT {call}"), &[]);
            assert_eq!(
                seen, "mine",
                "the row of the session's tenant, where another has the same key: {call}"
            );
        }
    }
}

#[test]
fn r27_what_is_forbidden_and_what_is_not_there_are_refused_alike() {
    let people = People::masked();
    let refusal = |who: &str, key: &str| {
        let mut c = people.of(who);
        let before = recorded(&mut c);
        let text = refused(
            &mut c,
            &format!("SELECT authz_reveal('person', '{key}', 'ssn', 'why')"),
            "42501",
            &["person.reveal"],
        );
        assert_eq!(recorded(&mut c) - before, 1, "R53: the denial is recorded");
        text
    };
    let absent = refusal("hana", "77");
    // Of another tenant; no number; without the permission; without seeing the row.
    for (who, key) in [
        ("hana", "9"),
        ("hana", "nonsense"),
        ("hana", ""),
        ("ida", "1"),
        ("ben", "1"),
        ("ben", "2"),
        ("gus", "1"),
    ] {
        assert_eq!(refusal(who, key), absent, "{who} {key}");
    }
    let mut nobody = people.db.connect_as(&people.app);
    assert_eq!(
        refused(
            &mut nobody,
            "SELECT authz_reveal('person', '1', 'ssn', 'why')",
            "42501",
            &[]
        ),
        absent
    );
    // Who may reveal but not see the row.
    let mut admin = people.admin();
    make::assign(&mut admin, id("acme"), id("ben"), "revealer", "tenant", id("acme"));
    assert_eq!(refusal("ben", "2"), absent);
    assert_eq!(charges(&people), 0, "what is refused does not count");
    // A policy that somebody made by hand.
    execute(
        &mut people.table_owner(),
        "CREATE POLICY handmade ON person AS RESTRICTIVE FOR SELECT USING (id <> 3)",
    );
    assert_eq!(refusal("hana", "3"), absent);
    let mut ben = people.of("ben");
    let ssn: String = value(&mut ben, "SELECT authz_reveal('person', 1, 'ssn', 'why')", &[]);
    assert_eq!(ssn, "222-22-0001");
}

#[test]
fn bad_reveals_are_refused() {
    let people = People::masked();
    execute(&mut people.table_owner(), "CREATE TABLE plain (id integer)");
    let mut hana = people.of("hana");
    for (call, code, words) in [
        ("'person', '2', 'ssn', NULL", "22023", vec!["reason"]),
        ("'person', '2', 'ssn', E' \\n\\u2003'", "22023", vec!["reason"]),
        ("'person', '2', 'nope', 'why'", "42703", vec!["nope"]),
        ("'person', '2', 'gone', 'why'", "42703", vec![]),
        ("'person', '2', NULL, 'why'", "22023", vec!["column"]),
        ("'person', NULL::text, 'ssn', 'why'", "42501", vec![]),
        ("'plain', '2', 'id', 'why'", "55000", vec!["not protected"]),
        ("NULL, '2', 'ssn', 'why'", "22023", vec!["authz_reveal"]),
    ] {
        refused_with_hint(&mut hana, &format!("SELECT authz_reveal({call})"), code, &words);
    }
    // It must be possible to write the event.
    execute(&mut hana, "BEGIN READ ONLY");
    refused_with_hint(
        &mut hana,
        "SELECT authz_reveal('person', 2, 'ssn', 'why')",
        "0A000",
        &["read-only"],
    );
    execute(&mut hana, "ROLLBACK");
    assert_eq!((charges(&people), events(&people).len()), (0, 0));
    let stranger = people.db.role();
    refused(
        &mut people.db.connect_as(&stranger),
        "SELECT authz_reveal('person', 2, 'ssn', 'why')",
        "42501",
        &["authz_reveal"],
    );
    execute(
        &mut people.admin(),
        "DELETE FROM authz.role_permission WHERE permission_code = 'person.reveal' AND false; UPDATE authz.resource_type SET select_permission = NULL",
    );
    let mut admin = people.admin();
    execute(
        &mut admin,
        "CREATE TABLE bare (id integer PRIMARY KEY, tenant_id uuid, v text);
         INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('bare.view', 'bare', 'view');
         SELECT * FROM authz_protect('bare', 'bare', 'id', 'tenant_id')",
    );
    refused_with_hint(
        &mut hana,
        "SELECT authz_reveal('bare', 2, 'v', 'why')",
        "42704",
        &["bare.reveal"],
    );
}

/// R31: a support session that was not approved for sensitive data reveals nothing.
#[test]
fn r31_masked_support_reveals_nothing() {
    let people = People::masked();
    let mut admin = people.admin();
    execute(
        &mut admin,
        &format!(
            "INSERT INTO authz.privileged_access_session (session_kind, principal_id, tenant_id, access_reason, approved_by, approved_at, started_at, expires_at)
             VALUES ('support', '{}', '{}', 'ticket', '{}', now(), now(), now() + interval '1 hour')",
            id("hana"),
            id("acme"),
            id("ida")
        ),
    );
    refused_with_hint(
        &mut people.of("hana"),
        "SELECT authz_reveal('person', 2, 'ssn', 'why')",
        "42501",
        &["masked"],
    );
    execute(
        &mut admin,
        "UPDATE authz.privileged_access_session SET ended_at = now()",
    );
    execute(&mut people.of("hana"), "SELECT authz_reveal('person', 2, 'ssn', 'why')");
}

#[test]
fn r41_reveals_are_limited_and_a_rollback_gives_nothing_back() {
    let people = People::masked();
    execute(
        &mut people.admin(),
        &format!("ALTER DATABASE {} SET authz.reveal_limit = 3", people.db.name),
    );
    let reveal = "SELECT authz_reveal('person', 2, 'ssn', 'why')";
    for n in 0..3 {
        // Each in a session of its own, so that nothing remembers but the database.
        let mut hana = people.of("hana");
        let before = recorded(&mut hana);
        match n {
            0 => execute(&mut hana, &format!("BEGIN; {reveal}; ROLLBACK")),
            1 => execute(
                &mut hana,
                &format!("BEGIN; SAVEPOINT s; {reveal}; ROLLBACK TO s; COMMIT"),
            ),
            _ => {
                let error = hana
                    .batch_execute(&format!("{reveal}; SELECT 1 / 0"))
                    .expect_err("division");
                assert!(report(&error).contains("22012"));
            }
        }
        assert_eq!(recorded(&mut hana) - before, 1, "the event outlives the rollback");
        assert_eq!(charges(&people), n + 1);
    }
    let mut hana = people.of("hana");
    refused_with_hint(&mut hana, reveal, "53400", &["3 an hour", "authz.reveal_limit"]);
    // Others have their own count; nobody sets the limit who is limited.
    let mut gus = people.of("gus");
    execute(&mut gus, "SELECT authz_reveal('person', 9, 'ssn', 'why')");
    for setting in [
        "SET authz.reveal_limit = 100",
        "SET LOCAL authz.reveal_limit = 100",
        "SELECT set_config('authz.reveal_limit', '100', false)",
    ] {
        refused(&mut hana, setting, "42501", &[]);
    }
    refused(&mut hana, "DELETE FROM authz.reveal_charge", "42501", &[]);
    refused(
        &mut hana,
        "SELECT authz.charge_reveal(gen_random_uuid(), gen_random_uuid(), 100)",
        "42501",
        &[],
    );
    refused(&mut hana, "SELECT authz.count_reveal(gen_random_uuid())", "42501", &[]);
    // An hour later there is room again.
    execute(
        &mut people.admin(),
        "UPDATE authz.reveal_charge SET charged_at = charged_at - interval '61 minutes'",
    );
    execute(&mut hana, reveal);
}

/// PITFALLS 39: reveals at once do not each find room for one more.
#[test]
fn r41_the_limit_holds_for_many_at_once() {
    let people = People::masked();
    execute(
        &mut people.admin(),
        &format!("ALTER DATABASE {} SET authz.reveal_limit = 4", people.db.name),
    );
    let barrier = Barrier::new(4);
    let revealed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut hana = people.of("hana");
                    barrier.wait();
                    (0..3)
                        .filter(|_| {
                            loop {
                                match hana.batch_execute("SELECT authz_reveal('person', 2, 'ssn', 'why')") {
                                    Ok(()) => return true,
                                    // No worker was free: not counted, and not revealed.
                                    Err(e) if report(&e).contains("cannot be counted") => continue,
                                    Err(e) => {
                                        assert!(report(&e).contains("too many reveals"), "{}", report(&e));
                                        return false;
                                    }
                                }
                            }
                        })
                        .count()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!((revealed, charges(&people)), (4, 4));
}

/// What is not counted is not revealed.
#[test]
fn r41_without_a_worker_nothing_is_revealed() {
    let cluster = Cluster::start(&["max_worker_processes = 0", "max_logical_replication_workers = 0"]);
    let db = Db::on(&cluster.server, Start::Extension);
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    execute(
        &mut c,
        "INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
         SELECT 'note.' || a, 'note', a FROM unnest('{view,reveal}'::text[]) AS a;
         CREATE TABLE note (id integer PRIMARY KEY, tenant_id uuid, v text);
         SELECT * FROM authz_protect('note', 'note', 'id', 'tenant_id')",
    );
    make::role(&mut c, "revealer", &["note.view", "note.reveal"]);
    make::member(&mut c, acme, "hana");
    make::assign(&mut c, acme, id("hana"), "revealer", "tenant", acme);
    execute(
        &mut c,
        &format!(
            "INSERT INTO note VALUES (1, '{acme}', 'secret'); SELECT authz_set_session('{}', is_local => false)",
            id("hana")
        ),
    );
    refused_with_hint(
        &mut c,
        "SELECT authz_reveal('note', 1, 'v', 'why')",
        "53400",
        &["counted", "max_worker_processes"],
    );
}

/// Values of types that somebody made are read as the table's owner, not as the extension's.
#[test]
fn types_of_others_run_nothing_as_superuser() {
    let people = People::masked();
    execute(
        &mut people.admin(),
        &format!("CREATE SCHEMA lab AUTHORIZATION {}", people.owner),
    );
    execute(
        &mut people.table_owner(),
        "CREATE TYPE lab.pair AS (a text, b text);
         CREATE TABLE lab.ran (who text);
         CREATE FUNCTION lab.show(lab.pair) RETURNS text LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO lab.ran VALUES (current_user); RETURN 'shown'; END $$;
         CREATE CAST (lab.pair AS text) WITH FUNCTION lab.show(lab.pair) AS ASSIGNMENT;
         ALTER TABLE person ADD both_parts lab.pair",
    );
    execute(&mut people.admin(), "UPDATE person SET both_parts = ('x', 'y')");
    let seen: String = value(
        &mut people.of("hana"),
        "SELECT authz_reveal('person', 2, 'both_parts', 'why')",
        &[],
    );
    assert_eq!(seen, "shown");
    let ran: Vec<String> = people
        .admin()
        .query("SELECT DISTINCT who FROM lab.ran", &[])
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    assert_eq!(ran, std::slice::from_ref(&people.owner));
}
