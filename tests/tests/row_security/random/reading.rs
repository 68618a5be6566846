//! Every plan and every way of reading shows what the check allows.

use super::World;
use crate::{Key, PLANS, act, allowed, keys};
use authz_tests::{execute, report};
use postgres::Client;
use uuid::Uuid;

/// Ways to read the cases, each of which must show the same rows.
const WAYS: [(&str, &str); 13] = [
    ("table", "SELECT tenant_id, case_id FROM case_record"),
    ("only", "SELECT tenant_id, case_id FROM ONLY case_record"),
    ("sub-select", "SELECT tenant_id, case_id FROM (SELECT * FROM case_record OFFSET 0) AS s"),
    (
        "sub-select pulled up",
        "SELECT tenant_id, case_id FROM (SELECT * FROM case_record WHERE case_id IS NOT NULL) AS s",
    ),
    (
        "CTE",
        "WITH c AS MATERIALIZED (SELECT * FROM case_record) SELECT tenant_id, case_id FROM c",
    ),
    ("view of the caller", "SELECT tenant_id, case_id FROM invoker_view"),
    ("view of another role", "SELECT tenant_id, case_id FROM definer_view"),
    (
        "join",
        "SELECT a.tenant_id, a.case_id FROM case_record AS a JOIN case_record AS b
             ON b.case_id = a.case_id AND b.tenant_id IS NOT DISTINCT FROM a.tenant_id",
    ),
    (
        "outer join",
        "SELECT c.tenant_id, c.case_id FROM every_case AS e
           LEFT JOIN case_record AS c ON c.case_id = e.case_id AND c.tenant_id IS NOT DISTINCT FROM e.tenant_id
          WHERE c.case_id IS NOT NULL",
    ),
    (
        "semi-join",
        "SELECT e.tenant_id, e.case_id FROM every_case AS e WHERE EXISTS (SELECT FROM case_record AS c
          WHERE c.case_id = e.case_id AND c.tenant_id IS NOT DISTINCT FROM e.tenant_id)",
    ),
    (
        "lateral",
        "SELECT l.tenant_id, l.case_id FROM every_case AS e, LATERAL (SELECT * FROM case_record AS c
          WHERE c.case_id = e.case_id AND c.tenant_id IS NOT DISTINCT FROM e.tenant_id OFFSET 0) AS l",
    ),
    (
        "union",
        "SELECT tenant_id, case_id FROM (SELECT tenant_id, case_id, title FROM case_record WHERE title IS NULL
          UNION ALL SELECT tenant_id, case_id, title FROM case_record WHERE title IS NOT NULL) AS u WHERE case_id IS NOT NULL",
    ),
    (
        "scalar sub-select",
        "SELECT e.tenant_id, e.case_id FROM every_case AS e WHERE (SELECT count(*) FROM case_record AS c
          WHERE c.case_id = e.case_id AND c.tenant_id IS NOT DISTINCT FROM e.tenant_id) > 0",
    ),
];

impl World {
    /// Compares what somebody sees, in every way, with what the check says.
    pub(super) fn compare(&mut self, (principal, tenant, context): (Uuid, Option<Uuid>, &'static str), label: &str) {
        let asked = (principal, tenant, context);
        let label = &|| format!("{label}, principal {principal}, tenant {tenant:?}, context {context}");
        let cases = allowed(&mut self.admin, ("case_record", "case_id"), &["case.view"], asked);
        let documents = allowed(
            &mut self.admin,
            ("case_document", "document_id"),
            &["document.view"],
            asked,
        );
        let pages = allowed(&mut self.admin, ("document_page", "page_id"), &["page.view"], asked);
        for (name, settings) in PLANS {
            act(&mut self.app, principal, tenant, context);
            execute(&mut self.app, settings);
            let found = keys(&mut self.app, WAYS[0].1);
            self.equal(name, found, &cases, label);
            let found = keys(&mut self.app, "SELECT tenant_id, document_id FROM case_document");
            self.equal("documents", found, &documents, label);
            let found = keys(&mut self.app, "SELECT tenant_id, page_id FROM document_page");
            self.equal("pages", found, &pages, label);
            execute(&mut self.app, "ROLLBACK");
        }
        act(&mut self.app, principal, tenant, context);
        for (name, sql) in WAYS {
            let found = keys(&mut self.app, sql);
            self.equal(name, found, &cases, label);
        }
        // The driver cannot EXECUTE with results as rows of known types, so the server collects them.
        for (name, statement, expected) in [
            ("generic plan", "cases", &cases),
            ("generic plan of a child", "documents", &documents),
        ] {
            let found = executed(&mut self.app, &format!("EXECUTE {statement}"));
            self.equal(name, found, expected, label);
        }
        for key in cases.iter().take(2) {
            let found = executed(&mut self.app, &format!("EXECUTE the_case('{}')", key.1));
            let same: Vec<Key> = cases.iter().filter(|k| k.1 == key.1).copied().collect();
            self.equal("generic plan by key", found, &same, label);
        }
        let found = copied(&mut self.app, "COPY case_record (tenant_id, case_id) TO STDOUT");
        self.equal("COPY", found, &cases, label);
        execute(
            &mut self.app,
            "DECLARE c CURSOR FOR SELECT tenant_id, case_id FROM case_record",
        );
        let mut found = keys(&mut self.app, "FETCH 3 FROM c");
        found.extend(keys(&mut self.app, "FETCH ALL FROM c"));
        found.sort();
        self.equal("cursor", found, &cases, label);
        let found = keys(
            &mut self.app,
            "SELECT tenant_id, case_id FROM every_case WHERE authz_can('case.view', case_id) AND tenant_id IS NOT NULL
                AND (SELECT count(*) FROM every_case AS o WHERE o.case_id = every_case.case_id) = 1",
        );
        let unambiguous = keys(
            &mut self.admin,
            "SELECT tenant_id, case_id FROM every_case WHERE tenant_id IS NOT NULL
                AND (SELECT count(*) FROM every_case AS o WHERE o.case_id = every_case.case_id) = 1",
        );
        let expected: Vec<Key> = cases.iter().filter(|k| unambiguous.contains(k)).copied().collect();
        self.equal("authz_can of the session", found, &expected, label);
        execute(&mut self.app, "ROLLBACK");
        self.compare_named(asked, &unambiguous, label);
    }

    /// The form that names the principal looks at all its tenants and at no context, whatever the session says. Asked by a
    /// superuser, so that no policy takes part.
    fn compare_named(
        &mut self,
        (principal, tenant, context): (Uuid, Option<Uuid>, &str),
        unambiguous: &[Key],
        label: &dyn Fn() -> String,
    ) {
        let table = ("case_record", "case_id");
        let plain = allowed(&mut self.admin, table, &["case.view"], (principal, None, "{}"));
        let plain: Vec<Key> = plain.into_iter().filter(|k| unambiguous.contains(k)).collect();
        act(&mut self.admin, principal, tenant, context);
        for (name, of) in [
            ("authz_can of the principal", ""),
            ("authz_can of the principal and the row's tenant", ", tenant_id"),
        ] {
            for (_, settings) in PLANS {
                execute(&mut self.admin, "SAVEPOINT s");
                execute(&mut self.admin, settings);
                let sql = format!(
                    "SELECT tenant_id, case_id FROM case_record WHERE authz_can(authz_principal(), 'case.view', case_id{of})"
                );
                let mut found = keys(&mut self.admin, &sql);
                found.retain(|k| unambiguous.contains(k));
                self.equal(name, found, &plain, label);
                execute(&mut self.admin, "ROLLBACK TO s");
            }
        }
        execute(&mut self.admin, "ROLLBACK");
    }
}

/// Rows of a statement that the driver cannot prepare.
fn executed(c: &mut Client, sql: &str) -> Vec<Key> {
    let messages = c
        .simple_query(sql)
        .unwrap_or_else(|e| panic!("{}\nin: {sql}", report(&e)));
    let mut found: Vec<Key> = messages
        .iter()
        .filter_map(|m| match m {
            postgres::SimpleQueryMessage::Row(row) => Some((
                row.get(0).map(|t| t.parse().unwrap()),
                row.get(1).unwrap().parse().unwrap(),
            )),
            _ => None,
        })
        .collect();
    found.sort();
    found
}

fn copied(c: &mut Client, sql: &str) -> Vec<Key> {
    let mut text = String::new();
    let mut reader = c.copy_out(sql).unwrap_or_else(|e| panic!("{}\nin: {sql}", report(&e)));
    std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
    drop(reader);
    let mut found: Vec<Key> = text
        .lines()
        .map(|line| {
            let (tenant, key) = line.split_once('\t').unwrap();
            ((tenant != "\\N").then(|| tenant.parse().unwrap()), key.parse().unwrap())
        })
        .collect();
    found.sort();
    found
}
