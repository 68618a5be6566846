//! The engine against the declarative oracle, over random policies and questions: what one connection keeps for one
//! question must not answer another (PITFALLS 1).
//!
//! `AUTHZ_SEED=n` repeats a run; a difference names the seed with which its policy is the first of a run, so that
//! `AUTHZ_SEED=n AUTHZ_POLICIES=1` shows it alone.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use authz_tests::policy::{Policy, Question};
use authz_tests::{Db, Start, chance, execute, report};
use postgres::Client;
use postgres::types::Json;
use serde_json::{Value, json};

const POLICIES: u64 = 60;
/// As loaded, and after each of four sets of mutations.
const ROUNDS: usize = 5;
const QUESTIONS: usize = 200;
/// Differences are listed up to here; the first ones tell the most.
const SHOWN: usize = 6;

#[derive(Default)]
struct Found {
    pairs: AtomicU64,
    by_reason: Mutex<BTreeMap<String, u64>>,
    differences: Mutex<Vec<String>>,
}

/// Asks everything of both sides in a few statements and compares. The connection stays the same for all rounds of a
/// policy: what it has cached is what is tested.
fn compare(client: &mut Client, questions: &[Question], label: &str, found: &Found) {
    let asked: Vec<Value> = questions
        .iter()
        .enumerate()
        .map(|(n, q)| {
            json!({"id": n, "principal": q.principal, "permission": q.permission, "resource": q.resource,
                   "tenant": q.tenant, "context": q.context, "at": q.at})
        })
        .collect();
    let fail = |e: postgres::Error| -> ! { panic!("{label}: {}", report(&e)) };
    execute(client, "TRUNCATE question, verdict");
    // A JSON null is not an absent context: only the latter is asked for here.
    client
        .execute(
            "INSERT INTO question SELECT id, principal, permission, resource, tenant, nullif(context, 'null'), at
               FROM jsonb_populate_recordset(NULL::oracle.question, $1)",
            &[&Json(&asked)],
        )
        .unwrap_or_else(|e| fail(e));
    client
        .execute(
            "INSERT INTO verdict SELECT * FROM oracle.decide_many(
                ARRAY(SELECT ROW(id, principal, permission, resource, tenant, context, at)::oracle.question FROM question))",
            &[],
        )
        .unwrap_or_else(|e| fail(e));
    let rows = client
        .query(
            "WITH many AS (
                 SELECT g.ids[m.n] AS id, m.resource, m.allowed
                   FROM (SELECT principal, permission, tenant, context, array_agg(resource::uuid ORDER BY id) AS resources,
                                array_agg(id ORDER BY id) AS ids
                           FROM question WHERE at IS NULL GROUP BY principal, permission, tenant, context) AS g,
                        authz_can_many(g.principal, g.permission, g.resources, g.tenant, g.context)
                            WITH ORDINALITY AS m(resource, allowed, n))
             SELECT q.id::int, coalesce(v.reason, CASE WHEN v.allowed THEN 'allowed' END) AS oracle,
                    CASE e ->> 'decision' WHEN 'allow' THEN 'allowed' WHEN 'deny' THEN e ->> 'reason' END AS explained,
                    CASE WHEN q.at IS NULL THEN authz_can(q.principal, q.permission, q.resource::uuid, q.tenant, q.context) END,
                    CASE WHEN q.at IS NULL THEN authz_can(q.principal, q.permission, q.resource::text, q.tenant, q.context) END,
                    m.allowed, m.resource::text, e
               FROM question q
               JOIN verdict v USING (id)
               LEFT JOIN many m USING (id),
                    authz_explain(q.principal, q.permission, q.resource::uuid, q.tenant, q.context, q.at) AS e
              ORDER BY q.id",
            &[],
        )
        .unwrap_or_else(|e| fail(e));
    assert_eq!(rows.len(), questions.len(), "{label}: every question is compared");
    for row in rows {
        let question = &questions[row.get::<_, i32>(0) as usize];
        let expected: String = row
            .get::<_, Option<String>>(1)
            .unwrap_or_else(|| panic!("the oracle is silent: {question:?}"));
        *found.by_reason.lock().unwrap().entry(expected.clone()).or_default() += 1;
        found.pairs.fetch_add(1, Ordering::Relaxed);
        let allowed = expected == "allowed";
        let explained: Option<String> = row.get(2);
        let mut wrong = Vec::new();
        if explained.as_deref() != Some(&expected) {
            wrong.push(format!("authz_explain says {explained:?}"));
        }
        if question.at.is_none() {
            for (column, what) in [(3, "authz_can(uuid)"), (4, "authz_can(text)"), (5, "authz_can_many")] {
                let answer: Option<bool> = row.get(column);
                if answer != Some(allowed) {
                    wrong.push(format!("{what} says {answer:?}"));
                }
            }
            if row.get::<_, Option<String>>(6).as_ref() != Some(&question.resource) {
                wrong.push("authz_can_many gives its rows in another order".to_owned());
            }
        }
        if !wrong.is_empty() {
            let mut differences = found.differences.lock().unwrap();
            let explanation: Value = row.get(7);
            differences.push(format!(
                "{label}\n  {question:?}\n  the oracle says {expected}, {}\n{explanation:#}",
                wrong.join(", ")
            ));
        }
    }
}

fn one_policy(seed: u64, found: &Found) {
    let db = Db::with(Start::Oracle);
    let mut client = db.connect();
    let mut policy = Policy::new(
        seed,
        chrono::DateTime::from_timestamp(database_time(&mut client), 0).unwrap(),
    );
    policy.load(&mut client);
    execute(
        &mut client,
        "CREATE TEMP TABLE question OF oracle.question;
         CREATE TEMP TABLE verdict (id bigint, allowed boolean, reason text)",
    );
    let mut changes: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        let questions: Vec<Question> = (0..QUESTIONS).map(|_| policy.question()).collect();
        let label = format!("AUTHZ_SEED={seed} AUTHZ_POLICIES=1, round {round}, changes so far: {changes:#?}");
        if round == 2 {
            // Its own uncommitted changes are seen, and gone after the rollback; the same questions, so that answers
            // made before would show.
            compare(&mut client, &questions, &label, found);
            execute(&mut client, "BEGIN");
            let undone: Vec<String> = (0..4).map(|_| policy.mutate(&mut client)).collect();
            compare(
                &mut client,
                &questions,
                &format!("{label}, uncommitted {undone:#?}"),
                found,
            );
            execute(&mut client, "ROLLBACK");
            compare(
                &mut client,
                &questions,
                &format!("{label}, rolled back {undone:#?}"),
                found,
            );
        } else {
            compare(&mut client, &questions, &label, found);
        }
        for _ in 0..4 {
            changes.push(policy.mutate(&mut client));
        }
        compare(
            &mut client,
            &questions,
            &format!("{label}, then {:#?}", &changes[changes.len() - 4..]),
            found,
        );
    }
}

fn database_time(client: &mut Client) -> i64 {
    client
        .query_one("SELECT extract(epoch FROM now())::bigint", &[])
        .unwrap()
        .get(0)
}

#[test]
fn engine_and_oracle_agree() {
    let seed = chance::seed();
    let policies = chance::number("AUTHZ_POLICIES").unwrap_or(POLICIES);
    let found = Found::default();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4)) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= policies || found.differences.lock().unwrap().len() >= SHOWN {
                        break;
                    }
                    one_policy(seed + n, &found);
                }
            });
        }
    });
    let pairs = found.pairs.load(Ordering::Relaxed);
    let by_reason = found.by_reason.into_inner().unwrap();
    println!("{pairs} pairs of policy and question over {policies} policies, by answer: {by_reason:?}");
    let differences = found.differences.into_inner().unwrap();
    for difference in differences.iter().take(SHOWN) {
        println!("== {difference}");
    }
    assert!(
        differences.is_empty(),
        "{} differences (run AUTHZ_SEED={seed})",
        differences.len()
    );
    if policies >= POLICIES {
        assert!(pairs >= 20_000, "only {pairs} pairs");
        // A run in which hardly anything happens proves hardly anything.
        for (reason, per_thousand) in [
            ("allowed", 80),
            ("principal_inactive", 20),
            ("resource_not_found", 20),
            ("outside_tenant", 20),
            ("resource_deleted", 5),
            ("explicit_deny", 10),
            ("no_grant", 50),
            ("confidentiality", 10),
            ("condition_failed", 5),
            ("mfa_required", 1),
        ] {
            let count = by_reason.get(reason).copied().unwrap_or(0);
            assert!(
                count >= pairs * per_thousand / 1000,
                "{reason} was the answer to {count} questions only; the policies are too plain"
            );
        }
    }
}
