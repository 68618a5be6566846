//! Making new seals.

use super::audit;
use super::chain::{self, Head, Leaf, Place, Seal, What};
use crate::error;
use crate::pg::query::{self, Row};
use crate::pg::relation::Relation;
use crate::pg::statement::{self, Parameter, Statement};
use crate::pg::{authority, clock};
use authz_engine::Instant;
use pgrx::pg_sys;
use uuid::Uuid;

/// Events in one batch: what has to be in memory at once.
const BATCH: usize = 10_000;

/// The tables that are sealed, with their keys.
pub const TABLES: [(&str, &str); 2] = [("access_audit_event", "audit_id"), ("access_change_event", "event_id")];

/// The key column of a table that is sealed.
pub fn key_of(table: &str) -> Option<&'static str> {
    TABLES.iter().find(|(name, _)| *name == table).map(|(_, key)| *key)
}

/// The query for the first `limit` events of a table and a cluster between two places ($1 to $5), in order. The limit makes
/// the planner read them in the order of the index instead of sorting all that there are.
fn events(table: &str, columns: &[String], limit: usize) -> String {
    let key = key_of(table).unwrap_or("event_id");
    let hashed: String = columns
        .iter()
        .map(|c| format!(", e.\"{}\"", c.replace('"', "\"\"")))
        .collect();
    format!(
        "SELECT e.xact, e.{key}, e.occurred_at{hashed} FROM authz.{table} AS e
         WHERE e.cluster_id OPERATOR(pg_catalog.=) $1
           AND ROW(e.xact, e.{key}) OPERATOR(pg_catalog.>=) ROW($2, $3)
           AND ROW(e.xact, e.{key}) OPERATOR(pg_catalog.<) ROW($4, $5)
         ORDER BY e.xact, e.{key} LIMIT {limit}"
    )
}

/// Calls `each` for the first `limit` events between two places.
pub fn for_each_event(
    table: &str,
    columns: &[String],
    cluster: i64,
    (from, to): (Place, Place),
    limit: usize,
    each: impl FnMut(&mut Row<'_>) -> bool,
) {
    use pg_sys::{INT8OID, UUIDOID, XID8OID};
    query::for_each(
        &events(table, columns, limit),
        &[INT8OID, XID8OID, UUIDOID, XID8OID, UUIDOID],
        &[
            Parameter::int8(cluster),
            Parameter::int8(from.0 as i64),
            Parameter::uuid(Some(&from.1)),
            Parameter::int8(to.0 as i64),
            Parameter::uuid(Some(&to.1)),
        ],
        each,
    );
}

/// The end of the chain as it is stored.
pub fn head() -> Head {
    let mut head = Head::default();
    query::for_each(
        "SELECT seal_no, seal_hash FROM authz.audit_seal ORDER BY seal_no DESC LIMIT 1",
        &[],
        &[],
        |row| {
            head = Head {
                number: row.int8(0).unwrap_or_default(),
                hash: chain::hash_of(row.bytes(1)),
            };
            false
        },
    );
    head
}

thread_local! {
    static LOCK: Statement = const {
        Statement::new(c"LOCK TABLE authz.audit_seal IN SHARE ROW EXCLUSIVE MODE", &[])
    };
    static INSERT: Statement = const {
        Statement::new(
            c"INSERT INTO authz.audit_seal (seal_no, seal_kind, table_name, cluster_id, from_xact, from_key, to_xact, \
              to_key, partition_name, from_time, to_time, events, columns, leaves, sealed_at, previous_hash, seal_hash) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
            &[
                pg_sys::INT8OID, pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT8OID, pg_sys::XID8OID, pg_sys::UUIDOID,
                pg_sys::XID8OID, pg_sys::UUIDOID, pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID, pg_sys::TIMESTAMPTZOID,
                pg_sys::INT8OID, pg_sys::TEXTARRAYOID, pg_sys::BYTEAOID, pg_sys::TIMESTAMPTZOID, pg_sys::BYTEAOID,
                pg_sys::BYTEAOID,
            ],
        )
    };
}

/// Holds the chain against other sealers, and gives its end. Readers and whoever writes events do not notice.
fn lock() -> Head {
    audit::must_be_writable();
    if query::keeps_snapshot() {
        error::snapshot_kept();
    }
    LOCK.with(|lock| lock.run("audit_seal", &[]));
    head()
}

/// Appends a seal.
fn append(head: &mut Head, table: &str, what: What, events: i64, leaves: Option<&[u8]>) {
    let seal = Seal {
        number: head.number + 1,
        table: table.to_owned(),
        what,
        events,
        sealed_at: clock::wall(),
        previous: head.hash,
    };
    let hash = seal.hash(leaves.unwrap_or_default());
    let kind = match &seal.what {
        What::Batch { .. } => "batch",
        What::Archive { .. } => "archive",
    };
    let none = || Parameter::NULL;
    let about = match &seal.what {
        What::Batch { cluster, from, to, .. } => [
            Parameter::int8(*cluster),
            Parameter::int8(from.0 as i64),
            Parameter::uuid(Some(&from.1)),
            Parameter::int8(to.0 as i64),
            Parameter::uuid(Some(&to.1)),
            none(),
            none(),
            none(),
        ],
        What::Archive { partition, from, to } => [
            none(),
            none(),
            none(),
            none(),
            none(),
            Parameter::text(Some(partition)),
            Parameter::int8(*from),
            Parameter::int8(*to),
        ],
    };
    let columns = match &seal.what {
        What::Batch { columns, .. } => Some(columns.as_slice()),
        What::Archive { .. } => None,
    };
    let mut parameters = vec![
        Parameter::int8(seal.number),
        Parameter::text(Some(kind)),
        Parameter::text(Some(table)),
    ];
    parameters.extend(about);
    parameters.extend([
        Parameter::int8(seal.events),
        Parameter::texts(columns),
        Parameter::bytes(leaves),
        Parameter::int8(seal.sealed_at),
        Parameter::bytes(Some(&seal.previous)),
        Parameter::bytes(Some(&hash)),
    ]);
    INSERT.with(|insert| insert.run("audit_seal", &parameters));
    *head = Head {
        number: seal.number,
        hash,
    };
}

/// Until the end of the transaction no partition is attached or detached. A query that has looked for the partitions
/// before waits for the rows to be moved, and then misses them where they are.
pub fn hold_partitions() {
    for table in [TABLES[0].0, audit::DEFAULT] {
        // The lock stays when it is closed.
        Relation::open(authority::oid(table));
    }
}

/// Seals what is closed: batches, events, and the end of the chain.
pub fn seal() -> (i64, i64, Head) {
    let mut head = lock();
    hold_partitions();
    let before = head.number;
    let mut events = 0;
    // Every transaction below it has ended, and what it has committed is visible to the queries that follow.
    let mut horizon = 0;
    query::for_each(
        "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())",
        &[],
        &[],
        |row| {
            horizon = row.int8(0).unwrap_or_default() as u64;
            true
        },
    );
    for (table, _) in TABLES {
        let columns = columns(table);
        for cluster in clusters(table) {
            let from = sealed_up_to(table, cluster);
            let to = if cluster == statement::cluster_id() {
                horizon
            } else {
                // Restored from elsewhere: nobody counts there any more who could add to it.
                last_xact(table, cluster).saturating_add(1)
            };
            if from < (to, Uuid::nil()) {
                events += seal_range(&mut head, table, cluster, &columns, from, (to, Uuid::nil()));
            }
        }
    }
    (head.number - before, events, head)
}

fn seal_range(head: &mut Head, table: &str, cluster: i64, columns: &[String], from: Place, to: Place) -> i64 {
    let mut events = 0;
    let mut begin = from;
    loop {
        let mut leaves = Vec::new();
        let mut count = 0;
        let mut end = to;
        // Batch by batch, because nothing can be written while a query is read.
        for_each_event(table, columns, cluster, (begin, to), BATCH + 1, |row| {
            if count == BATCH {
                end = (row.int8(0).unwrap_or_default() as u64, row.uuid(1).unwrap_or_default());
                return false;
            }
            Leaf::of(row).write(&mut leaves);
            count += 1;
            true
        });
        if count == 0 {
            return events;
        }
        let what = What::Batch {
            cluster,
            from: begin,
            to: end,
            columns: columns.to_vec(),
        };
        append(head, table, what, count as i64, Some(&leaves));
        events += count as i64;
        if end == to {
            return events;
        }
        begin = end;
    }
}

/// Every column of a table, in an order that a restored dump has as well.
pub fn columns(table: &str) -> Vec<String> {
    let mut columns = Vec::new();
    query::for_each(
        "SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute AS a
         WHERE a.attrelid OPERATOR(pg_catalog.=) ('authz.' OPERATOR(pg_catalog.||) $1)::pg_catalog.regclass
           AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
         ORDER BY a.attname",
        &[pg_sys::TEXTOID],
        &[Parameter::text(Some(table))],
        |row| {
            columns.extend(row.text(0));
            true
        },
    );
    columns
}

/// The clusters that a table has events of: found by skipping through the index.
pub fn clusters(table: &str) -> Vec<i64> {
    let mut clusters = Vec::new();
    loop {
        let mut next = None;
        query::for_each(
            &format!(
                "SELECT pg_catalog.min(e.cluster_id) FROM authz.{table} AS e
                 WHERE $1 IS NULL OR e.cluster_id OPERATOR(pg_catalog.>) $1"
            ),
            &[pg_sys::INT8OID],
            &[clusters.last().map_or(Parameter::NULL, |c| Parameter::int8(*c))],
            |row| {
                next = row.int8(0);
                true
            },
        );
        match next {
            Some(cluster) => clusters.push(cluster),
            None => return clusters,
        }
    }
}

/// The last transaction of another cluster.
fn last_xact(table: &str, cluster: i64) -> u64 {
    let mut last = 0;
    query::for_each(
        &format!(
            "SELECT e.xact FROM authz.{table} AS e WHERE e.cluster_id OPERATOR(pg_catalog.=) $1 ORDER BY e.xact DESC LIMIT 1"
        ),
        &[pg_sys::INT8OID],
        &[Parameter::int8(cluster)],
        |row| {
            last = row.int8(0).unwrap_or_default() as u64;
            true
        },
    );
    last
}

/// Up to where events of a table and a cluster are sealed.
pub fn sealed_up_to(table: &str, cluster: i64) -> Place {
    let mut place = (0, Uuid::nil());
    query::for_each(
        "SELECT s.to_xact, s.to_key FROM authz.audit_seal AS s
         WHERE s.table_name OPERATOR(pg_catalog.=) $1 AND s.cluster_id OPERATOR(pg_catalog.=) $2
         ORDER BY s.seal_no DESC LIMIT 1",
        &[pg_sys::TEXTOID, pg_sys::INT8OID],
        &[Parameter::text(Some(table)), Parameter::int8(cluster)],
        |row| {
            place = (row.int8(0).unwrap_or_default() as u64, row.uuid(1).unwrap_or_default());
            true
        },
    );
    place
}

/// Writes into the chain that a partition is being detached.
pub fn archive(partition: &str, from: Instant, to: Instant, events: i64) {
    let mut head = lock();
    let what = What::Archive {
        partition: partition.to_owned(),
        from,
        to,
    };
    append(&mut head, TABLES[0].0, what, events, None);
}
