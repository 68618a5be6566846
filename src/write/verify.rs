//! Comparing the events with the chain of seals.

use super::chain::{self, Head, Leaf, Place, Seal, What};
use super::seal;
use crate::error;
use crate::pg::query::{self, Row};
use crate::pg::statement::Parameter;
use authz_engine::Instant;
use hashbrown::HashMap;
use pgrx::pg_sys;
use uuid::Uuid;

/// The first thing that is wrong.
#[derive(Debug)]
pub struct Problem {
    /// `changed`, `removed` or `inserted`.
    pub what: &'static str,
    /// The table.
    pub table: String,
    /// The row's key.
    pub key: String,
    /// The seal that says otherwise.
    pub seal: i64,
    /// In words.
    pub detail: String,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Seals that were checked.
    pub seals: i64,
    /// Events that are as they were sealed.
    pub events: i64,
    /// Sealed events whose partition was archived.
    pub archived: i64,
    /// Events that are not sealed yet.
    pub unsealed: i64,
    /// The end of the chain.
    pub head: Head,
    /// The first thing that is wrong.
    pub problem: Option<Problem>,
}

/// A partition that was archived.
struct Archived {
    seal: i64,
    table: String,
    from: Instant,
    to: Instant,
}

/// Verifies everything. `anchor`: a head of the chain from earlier, kept elsewhere.
pub fn verify(anchor: Option<&str>) -> Verdict {
    if query::keeps_snapshot() {
        error::snapshot_kept();
    }
    seal::hold_partitions();
    let anchor = anchor.map(|a| a.parse::<Head>().unwrap_or_else(|()| error::bad_anchor()));
    let mut verdict = Verdict::default();
    let chain = read_chain(&mut verdict, anchor);
    if verdict.problem.is_some() {
        return verdict;
    }
    let archived: Vec<Archived> = chain
        .iter()
        .filter_map(|s| match &s.what {
            What::Archive { from, to, .. } => Some(Archived {
                seal: s.number,
                table: s.table.clone(),
                from: *from,
                to: *to,
            }),
            What::Batch { .. } => None,
        })
        .collect();
    for seal in &chain {
        if let What::Batch {
            cluster,
            from,
            to,
            columns,
        } = &seal.what
        {
            let batch = Batch {
                seal,
                cluster: *cluster,
                range: (*from, *to),
                columns,
            };
            batch.check(&archived, &mut verdict);
            if verdict.problem.is_some() {
                return verdict;
            }
        }
    }
    for (table, key) in seal::TABLES {
        verdict.problem = without_place(table, key);
        if verdict.problem.is_some() {
            return verdict;
        }
        for cluster in seal::clusters(table) {
            verdict.unsealed += unsealed(table, key, cluster);
        }
    }
    verdict
}

/// Reads the chain and checks that each seal is what it was, and follows from the one before.
fn read_chain(verdict: &mut Verdict, anchor: Option<Head>) -> Vec<Seal> {
    let mut chain: Vec<Seal> = Vec::new();
    let mut ends: HashMap<(String, i64), Place> = HashMap::new();
    let mut head = Head::default();
    let mut problem = None;
    query::for_each(
        "SELECT s.seal_no, s.table_name, s.cluster_id, s.from_xact, s.from_key, s.to_xact, s.to_key, s.partition_name,
                s.from_time, s.to_time, s.events, s.columns, s.leaves, s.sealed_at, s.previous_hash, s.seal_hash
         FROM authz.audit_seal AS s ORDER BY s.seal_no",
        &[],
        &[],
        |row| {
            let seal = read_seal(row);
            let leaves = row.bytes(12).unwrap_or_default();
            let hash = chain::hash_of(row.bytes(15));
            let wrong = |what, number: i64, detail: &str| {
                Some(Problem {
                    what,
                    table: "audit_seal".to_owned(),
                    key: number.to_string(),
                    seal: number,
                    detail: detail.to_owned(),
                })
            };
            if seal.number != head.number + 1 {
                problem = wrong("removed", head.number + 1, "The seal is missing from the chain.");
            } else if seal.hash(&leaves) != hash || seal.previous != head.hash {
                problem = wrong(
                    "changed",
                    seal.number,
                    "The seal's hash does not fit its columns and the seal before.",
                );
            } else if anchor.is_some_and(|a| a.number == seal.number && a.hash != hash) {
                problem = wrong(
                    "changed",
                    seal.number,
                    "The seal is not the one that the anchor was taken of.",
                );
            } else if let What::Batch { cluster, from, to, .. } = &seal.what {
                let end = ends.entry((seal.table.clone(), *cluster)).or_default();
                if *from != *end {
                    problem = wrong(
                        "changed",
                        seal.number,
                        "The seal does not begin where the one before it ended.",
                    );
                }
                *end = *to;
            }
            head = Head {
                number: seal.number,
                hash,
            };
            chain.push(seal);
            problem.is_none()
        },
    );
    if let Some(anchor) = anchor
        && problem.is_none()
        && anchor.number > head.number
    {
        problem = Some(Problem {
            what: "removed",
            table: "audit_seal".to_owned(),
            key: (head.number + 1).to_string(),
            seal: head.number + 1,
            detail: format!(
                "The chain ends before seal {}, of which the anchor was taken.",
                anchor.number
            ),
        });
    }
    verdict.seals = chain.len() as i64;
    verdict.head = head;
    verdict.problem = problem;
    chain
}

fn read_seal(row: &Row<'_>) -> Seal {
    let place = |xact, key| -> Place {
        (
            row.int8(xact).unwrap_or_default() as u64,
            row.uuid(key).unwrap_or_default(),
        )
    };
    Seal {
        number: row.int8(0).unwrap_or_default(),
        table: row.text(1).unwrap_or_default(),
        what: match row.int8(2) {
            Some(cluster) => What::Batch {
                cluster,
                from: place(3, 4),
                to: place(5, 6),
                columns: row.texts(11).unwrap_or_default(),
            },
            None => What::Archive {
                partition: row.text(7).unwrap_or_default(),
                from: row.int8(8).unwrap_or_default(),
                to: row.int8(9).unwrap_or_default(),
            },
        },
        events: row.int8(10).unwrap_or_default(),
        sealed_at: row.int8(13).unwrap_or_default(),
        previous: chain::hash_of(row.bytes(14)),
    }
}

/// A sealed batch of events.
struct Batch<'a> {
    seal: &'a Seal,
    cluster: i64,
    range: (Place, Place),
    columns: &'a [String],
}

impl Batch<'_> {
    fn problem(&self, what: &'static str, key: String, detail: &str) -> Option<Problem> {
        Some(Problem {
            what,
            table: self.seal.table.clone(),
            key,
            seal: self.seal.number,
            detail: detail.to_owned(),
        })
    }

    fn check(&self, archived: &[Archived], verdict: &mut Verdict) {
        let present = seal::columns(&self.seal.table);
        if let Some(gone) = self.columns.iter().find(|c| !present.contains(c)) {
            verdict.problem = self.problem("changed", gone.clone(), "The column is gone.");
            return;
        }
        let Some(leaves) = Leaf::read(&self.leaves()) else {
            verdict.problem = self.problem("changed", String::new(), "The seal's leaves cannot be read.");
            return;
        };
        let mut open: HashMap<Uuid, Leaf> = leaves.iter().map(|l| (l.key, *l)).collect();
        // One more than there should be: enough to find one that should not be there.
        let limit = leaves.len() + 1;
        seal::for_each_event(&self.seal.table, self.columns, self.cluster, self.range, limit, |row| {
            let leaf = Leaf::of(row);
            verdict.problem = match open.remove(&leaf.key) {
                Some(sealed) if sealed.hash == leaf.hash => {
                    verdict.events += 1;
                    None
                }
                Some(_) => self.problem(
                    "changed",
                    leaf.key.to_string(),
                    "The event is not as it was when it was sealed.",
                ),
                None => self.problem(
                    "inserted",
                    leaf.key.to_string(),
                    "The event was not there when its time was sealed.",
                ),
            };
            verdict.problem.is_none()
        });
        if verdict.problem.is_some() {
            return;
        }
        let is_archived = |leaf: &Leaf| {
            archived.iter().any(|a| {
                a.seal > self.seal.number && a.table == self.seal.table && (a.from..a.to).contains(&leaf.occurred_at)
            })
        };
        for leaf in leaves.iter().filter(|l| open.contains_key(&l.key)) {
            if !is_archived(leaf) {
                verdict.problem = self.problem("removed", leaf.key.to_string(), "The event was sealed and is missing.");
                return;
            }
            verdict.archived += 1;
        }
    }

    fn leaves(&self) -> Vec<u8> {
        let mut leaves = Vec::new();
        query::for_each(
            "SELECT s.leaves FROM authz.audit_seal AS s WHERE s.seal_no OPERATOR(pg_catalog.=) $1",
            &[pg_sys::INT8OID],
            &[Parameter::int8(self.seal.number)],
            |row| {
                leaves = row.bytes(0).unwrap_or_default();
                true
            },
        );
        leaves
    }
}

/// An event that would be in no batch, now or later: only somebody who has removed the constraints can make one.
fn without_place(table: &str, key: &str) -> Option<Problem> {
    let mut problem = None;
    query::for_each(
        &format!(
            "SELECT e.{key} FROM authz.{table} AS e WHERE e.cluster_id IS NULL OR e.xact IS NULL OR e.{key} IS NULL LIMIT 1"
        ),
        &[],
        &[],
        |row| {
            problem = Some(Problem {
                what: "inserted",
                table: table.to_owned(),
                key: row.uuid(0).map(|k| k.to_string()).unwrap_or_default(),
                seal: 0,
                detail: "The event says of no transaction that it was written by it, so that it is never sealed."
                    .to_owned(),
            });
            true
        },
    );
    problem
}

/// Events of a table and a cluster that no seal covers yet.
fn unsealed(table: &str, key: &str, cluster: i64) -> i64 {
    let from = seal::sealed_up_to(table, cluster);
    let mut count = 0;
    query::for_each(
        &format!(
            "SELECT pg_catalog.count(*) FROM authz.{table} AS e
             WHERE e.cluster_id OPERATOR(pg_catalog.=) $1 AND ROW(e.xact, e.{key}) OPERATOR(pg_catalog.>=) ROW($2, $3)"
        ),
        &[pg_sys::INT8OID, pg_sys::XID8OID, pg_sys::UUIDOID],
        &[
            Parameter::int8(cluster),
            Parameter::int8(from.0 as i64),
            Parameter::uuid(Some(&from.1)),
        ],
        |row| {
            count = row.int8(0).unwrap_or_default();
            true
        },
    );
    count
}
