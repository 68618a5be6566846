//! Which row has a key is answered on a hot standby as the statement there sees the data: while the primary changes rows,
//! tables and indexes and knows nothing of the standby's snapshots; and when the standby becomes a primary (R72).
//!
//! `AUTHZ_SEED=n` repeats the changes of one random run.

mod held;
mod random;

use authz_tests::cluster::Cluster;
use authz_tests::make::{self, id};
use authz_tests::{Db, Start, execute, refused, value};
use postgres::Client;

/// A table of things without an index; Alice sees those of the team.
fn world(db: &Db) -> Client {
    let mut c = db.connect();
    registered(&mut c, &["thing"]);
    c
}

/// The same with several tables.
fn registered(c: &mut Client, tables: &[&str]) {
    let mut permissions = Vec::new();
    for table in tables {
        execute(
            c,
            &format!(
                "CREATE TABLE IF NOT EXISTS public.{table} (tenant uuid NOT NULL, key int NOT NULL, team uuid, note text);
                 INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column, team_column)
                 VALUES ('{table}', 'public.{table}', 'key', 'tenant', 'team');
                 INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
                 VALUES ('{table}.view', '{table}', 'view')"
            ),
        );
        permissions.push(format!("{table}.view"));
    }
    let tenant = make::tenant(c, "acme");
    let permissions: Vec<&str> = permissions.iter().map(String::as_str).collect();
    make::role(c, "holder", &permissions);
    make::member(c, tenant, "alice");
    make::team(c, tenant, "team", None, None);
    make::assign(c, tenant, id("alice"), "holder", "team", id("team"));
}

fn insert(key: i32, inside: bool) -> String {
    let team = if inside {
        format!("'{}'", id("team"))
    } else {
        "NULL".to_owned()
    };
    format!("INSERT INTO public.thing VALUES ('{}', {key}, {team})", id("acme"))
}

fn question(key: i32) -> String {
    format!("SELECT authz_can('{}', 'thing.view', {key})", id("alice"))
}

/// The answer, which stays the same when it is asked for again.
#[track_caller]
fn can(c: &mut Client, key: i32) -> bool {
    let first = value(c, &question(key), &[]);
    assert_eq!(value::<bool>(c, &question(key), &[]), first, "asked about {key} again");
    first
}

/// A primary that takes no heed of what its standbys see.
fn heedless() -> Cluster {
    Cluster::start(&["wal_level = logical", "max_wal_senders = 4", "autovacuum = off"])
}

/// What is dead on the primary is not in an index that is made then. A snapshot of the standby may still see it: one row of the
/// key where there are two, or none where there is one, and PostgreSQL's own queries by that index would miss it.
#[test]
fn an_index_without_what_an_old_snapshot_sees_is_not_searched() {
    let primary = heedless();
    let standby = primary.standby_with(&["hot_standby_feedback = off"]);
    // Replay would end the old transactions when the catalogs are cleaned, which this keeps as they are.
    execute(
        &mut primary.server.connect("postgres", "postgres"),
        "SELECT pg_create_logical_replication_slot('catalogs', 'pgoutput')",
    );
    for (before, made) in [
        ("", "CREATE INDEX ON public.thing (key)"),
        ("", "CREATE INDEX CONCURRENTLY ON public.thing (key)"),
        ("", "CREATE UNIQUE INDEX ON public.thing (key)"),
        ("", "CREATE UNIQUE INDEX CONCURRENTLY ON public.thing (key)"),
        ("", "CREATE INDEX ON public.thing (tenant, key)"),
        ("CREATE INDEX ON public.thing (key)", "REINDEX TABLE public.thing"),
        (
            "CREATE INDEX ON public.thing (key)",
            "REINDEX TABLE CONCURRENTLY public.thing",
        ),
    ] {
        let db = Db::on(&primary.server, Start::Fixture);
        let mut c = world(&db);
        execute(&mut c, before);
        for (key, inside) in [(1, true), (2, true), (3, true), (3, false)] {
            execute(&mut c, &insert(key, inside));
        }
        standby.catch_up(&mut c);
        let mut two = [(); 2].map(|()| standby.server.connect(&db.name, "postgres"));
        let [old, later] = &mut two;
        // One has looked at the table before, for the other it is new.
        execute(old, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        assert_eq!([1, 2, 3].map(|key| can(old, key)), [true, true, false]);
        execute(later, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
        execute(
            &mut c,
            "DELETE FROM public.thing WHERE key = 1 OR team IS NULL; UPDATE public.thing SET team = NULL WHERE key = 2",
        );
        execute(&mut c, made);
        standby.catch_up(&mut c);
        for old in &mut two {
            let answers = [1, 2, 3].map(|key| can(old, key));
            assert_eq!(answers, [true, true, false], "{made}");
            execute(old, "COMMIT");
            assert_eq!([1, 2, 3].map(|key| can(old, key)), [false, false, true], "{made}");
        }
    }
}

/// PostgreSQL says so of queries, too; what has no rows here may have some when the standby is a primary.
#[test]
fn an_unlogged_table_is_refused_until_the_standby_is_a_primary() {
    let primary = heedless();
    let db = Db::on(&primary.server, Start::Fixture);
    let mut c = world(&db);
    execute(
        &mut c,
        "ALTER TABLE public.thing SET UNLOGGED; CREATE UNIQUE INDEX ON public.thing (key)",
    );
    execute(&mut c, &insert(1, true));
    let standby = primary.standby();
    let mut on_standby = standby.server.connect(&db.name, "postgres");
    refused(&mut on_standby, "SELECT FROM public.thing", "0A000", &["unlogged"]);
    let unlogged = ["unlogged table public.thing", "primary"];
    for _ in 0..2 {
        refused(&mut on_standby, &question(1), "0A000", &unlogged);
        let list = format!("SELECT authz_resources('{}', 'thing.view')", id("alice"));
        refused(&mut on_standby, &list, "0A000", &unlogged);
    }
    standby.promote();
    assert!(!can(&mut on_standby, 1));
    execute(&mut on_standby, &insert(1, true));
    assert!(can(&mut on_standby, 1));
    // One that becomes a logged one is there for standbys.
    let second = primary.standby();
    let mut on_second = second.server.connect(&db.name, "postgres");
    refused(&mut on_second, &question(1), "0A000", &unlogged);
    execute(&mut c, "ALTER TABLE public.thing SET LOGGED");
    second.catch_up(&mut c);
    assert!(can(&mut on_second, 1));
}
