//! Sealed events cannot be changed, removed or added to without its being named, not even by a superuser who switches triggers
//! off (R54).

use crate::{UNGUARDED, fill_months, verify};
use authz_tests::{Db, chance, execute, value};
use postgres::Client;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;

/// The tables that are sealed and that have sealed rows here, with their keys.
fn tables(c: &mut Client) -> Vec<(String, &'static str)> {
    c.query("SELECT DISTINCT table_name FROM authz.audit_seal", &[])
        .unwrap()
        .iter()
        .map(|row| row.get::<_, String>(0))
        .map(|table| {
            let key = if table == "access_audit_event" {
                "audit_id"
            } else {
                "event_id"
            };
            (table, key)
        })
        .collect()
}

/// What a tamperer did, and which keys name it.
struct Tampering {
    what: String,
    sql: String,
    named: BTreeSet<String>,
    /// Does it need a head from before to be seen?
    anchored: bool,
}

fn tamper(c: &mut Client, rng: &mut StdRng) -> Tampering {
    let tables = tables(c);
    let (table, key) = tables.choose(rng).unwrap().clone();
    let keys: Vec<String> = c
        .query(&format!("SELECT {key}::text FROM authz.{table} ORDER BY 1"), &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let (one, other) = (keys.choose(rng).unwrap().clone(), keys.choose(rng).unwrap().clone());
    let columns: Vec<(String, String)> = c
        .query(
            "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
              WHERE attrelid = ('authz.' || $1)::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
            &[&table],
        )
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let (column, kind) = columns.choose(rng).unwrap().clone();
    let names = columns
        .iter()
        .map(|(name, _)| name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    let seals: i64 = value(c, "SELECT max(seal_no) FROM authz.audit_seal", &[]);
    let number = rng.random_range(1..=seals);
    let set = |names: &[&String]| names.iter().map(|n| (*n).clone()).collect::<BTreeSet<_>>();
    let every = || keys.iter().cloned().collect::<BTreeSet<_>>();
    let (what, sql, named, anchored) = match rng.random_range(0..15) {
        0..4 => {
            let new = match (column.as_str(), kind.as_str()) {
                ("change_type", _) => "CASE change_type WHEN 'insert' THEN 'update' ELSE 'insert' END".to_owned(),
                ("access_result", _) => "CASE access_result WHEN 'allowed' THEN 'denied' ELSE 'allowed' END".to_owned(),
                ("occurred_at", _) => "occurred_at + interval '1 microsecond'".to_owned(),
                ("xact", _) => "(xact::text::bigint + 1)::text::xid8".to_owned(),
                (_, "uuid") => "md5(random()::text)::uuid".to_owned(),
                (_, "jsonb") => format!("coalesce({column}, '{{}}') || '{{\"forged\": true}}'"),
                (_, "inet") => format!("coalesce({column}, '10.9.9.9') + 1"),
                (_, "bigint") => format!("coalesce({column}, 0) + 1"),
                (_, "timestamp with time zone") => format!("coalesce({column}, now()) + interval '1 microsecond'"),
                (_, "boolean") => format!("NOT coalesce({column}, false)"),
                _ => format!("coalesce({column}::text, '') || 'x'"),
            };
            let new = if kind == "name" { format!("({new})::name") } else { new };
            (
                format!("{table}.{column} changed"),
                format!(
                    "WITH t AS (UPDATE authz.{table} SET {column} = {new} WHERE {key} = '{one}' RETURNING {key}::text)
                     SELECT set_config('test.key', (SELECT * FROM t), true)"
                ),
                set(&[&one]),
                false,
            )
        }
        4 => (
            format!("a row of {table} deleted"),
            format!("DELETE FROM authz.{table} WHERE {key} = '{one}'"),
            set(&[&one]),
            false,
        ),
        5 => (
            format!("several rows of {table} deleted"),
            format!("DELETE FROM authz.{table} WHERE {key} IN ('{one}', '{other}')"),
            set(&[&one, &other]),
            false,
        ),
        6 => (
            format!("a row of {table} inserted late"),
            format!(
                "CREATE TEMP TABLE forged ON COMMIT DROP AS SELECT * FROM authz.{table} WHERE {key} = '{one}';
                 UPDATE forged SET {key} = gen_random_uuid();
                 SELECT set_config('test.key', (SELECT {key}::text FROM forged), true);
                 INSERT INTO authz.{table} ({names}) SELECT {names} FROM forged"
            ),
            BTreeSet::new(),
            false,
        ),
        13 => {
            let place = ["cluster_id", "xact"].choose(rng).unwrap();
            (
                format!("a row of {table} inserted without {place}"),
                format!(
                    "ALTER TABLE authz.{table} ALTER {place} DROP NOT NULL;
                     CREATE TEMP TABLE forged ON COMMIT DROP AS SELECT * FROM authz.{table} WHERE {key} = '{one}';
                     UPDATE forged SET {key} = gen_random_uuid(), {place} = NULL;
                     SELECT set_config('test.key', (SELECT {key}::text FROM forged), true);
                     INSERT INTO authz.{table} ({names}) SELECT {names} FROM forged"
                ),
                BTreeSet::new(),
                false,
            )
        }
        7 if table == "access_audit_event" && one != other => (
            "the contents of two rows exchanged".to_owned(),
            format!(
                "UPDATE authz.access_audit_event AS a SET principal_id = b.principal_id, tenant_id = b.tenant_id
                   FROM authz.access_audit_event AS b
                  WHERE a.audit_id <> b.audit_id AND a.audit_id IN ('{one}', '{other}') AND b.audit_id IN ('{one}', '{other}')"
            ),
            set(&[&one, &other]),
            false,
        ),
        8 if table == "access_audit_event" => {
            let partition = ["access_audit_event_y2025m01", "access_audit_event_y2025m02", "access_audit_event_y2025m03"]
                .choose(rng)
                .unwrap();
            let how = [
                format!("DROP TABLE authz.{partition}"),
                format!("ALTER TABLE authz.access_audit_event DETACH PARTITION authz.{partition}"),
                format!("TRUNCATE authz.{partition}"),
            ];
            (format!("partition {partition} removed"), how.choose(rng).unwrap().clone(), every(), false)
        }
        9 => (
            format!("{table} emptied"),
            format!("TRUNCATE authz.{table} CASCADE"),
            every(),
            false,
        ),
        10 => {
            let change = [
                "events = events + 1",
                "sealed_at = sealed_at + interval '1 microsecond'",
                "previous_hash = sha256(previous_hash)",
                "seal_hash = sha256(seal_hash)",
                "leaves = set_byte(leaves, 29, 255 - get_byte(leaves, 29))",
                "leaves = substr(leaves, 57)",
                "columns = columns[2:]",
                "to_key = 'ffffffff-ffff-ffff-ffff-ffffffffffff'",
                "from_xact = to_xact",
                "cluster_id = cluster_id + 1",
                "table_name = CASE table_name WHEN 'access_audit_event' THEN 'access_change_event' ELSE 'access_audit_event' END",
            ]
            .choose(rng)
            .unwrap();
            (
                format!("seal {number}: {change}"),
                format!("UPDATE authz.audit_seal SET {change} WHERE seal_no = {number}"),
                [number, number + 1].iter().map(ToString::to_string).collect(),
                false,
            )
        }
        11 => (
            "a seal deleted".to_owned(),
            format!("DELETE FROM authz.audit_seal WHERE seal_no = {number}"),
            [number.to_string()].into(),
            number == seals,
        ),
        12 => (
            "the last seals deleted".to_owned(),
            format!("DELETE FROM authz.audit_seal WHERE seal_no >= {number}"),
            [number.to_string()].into(),
            true,
        ),
        _ => (
            "the last seals deleted, a row removed, and everything sealed again".to_owned(),
            format!(
                "DELETE FROM authz.audit_seal; DELETE FROM authz.{table} WHERE {key} = '{one}'; SELECT authz_audit_seal()"
            ),
            (1..=seals).map(|n| n.to_string()).collect(),
            true,
        ),
    };
    Tampering {
        what,
        sql,
        named,
        anchored,
    }
}

#[test]
fn each_of_500_random_tamperings_by_a_superuser_is_named() {
    let db = Db::new();
    let mut c = db.connect();
    fill_months(&mut c);
    let before = verify(&mut c, None);
    assert!(
        before.valid && before.unsealed == 0 && before.events > 600,
        "{before:?}"
    );
    let seed = chance::seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut kinds = BTreeSet::new();
    for n in 0..500 {
        let tampering = tamper(&mut c, &mut rng);
        kinds.insert(
            tampering
                .what
                .split(|ch: char| ch.is_ascii_digit())
                .next()
                .unwrap_or_default()
                .to_owned(),
        );
        execute(&mut c, "BEGIN; SET LOCAL test.key = ''");
        execute(&mut c, UNGUARDED);
        execute(&mut c, &tampering.sql);
        let new_key: String = value(&mut c, "SELECT current_setting('test.key')", &[]);
        let verdict = verify(&mut c, tampering.anchored.then_some(before.head.as_str()));
        assert!(!verdict.valid, "seed {seed}, {n}: {} was not seen", tampering.what);
        assert!(
            tampering.named.contains(&verdict.key) || (!new_key.is_empty() && verdict.key == new_key),
            "seed {seed}, {n}: {} is not named by {verdict:?}",
            tampering.what
        );
        assert!(!verdict.detail.is_empty() && !verdict.table.is_empty() && !verdict.problem.is_empty());
        execute(&mut c, "ROLLBACK");
    }
    assert!(kinds.len() > 20, "{kinds:#?}");
    let after = verify(&mut c, Some(&before.head));
    assert!(after.valid, "{after:?}");
}
