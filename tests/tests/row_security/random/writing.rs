//! What can be changed, given another title and put in is what the check allows.

use super::World;
use crate::{Key, act, allowed, keys};
use authz_tests::{execute, report, value};
use std::collections::BTreeMap;
use uuid::Uuid;

impl World {
    /// Compares what somebody can change.
    pub(super) fn compare_writes(
        &mut self,
        (principal, tenant, context): (Uuid, Option<Uuid>, &'static str),
        label: &str,
    ) {
        let asked = (principal, tenant, context);
        let label = &|| format!("{label}, principal {principal}, tenant {tenant:?}, context {context}");
        let table = ("case_record", "case_id");
        let edit = allowed(&mut self.admin, table, &["case.edit", "case.view"], asked);
        let delete = allowed(&mut self.admin, table, &["case.admin", "case.view"], asked);
        for (name, sql, expected) in [
            (
                "UPDATE",
                "UPDATE case_record SET title = title RETURNING tenant_id, case_id",
                &edit,
            ),
            (
                "UPDATE FROM",
                "UPDATE case_record AS c SET title = c.title FROM every_case AS e WHERE e.case_id = c.case_id
                    AND e.tenant_id IS NOT DISTINCT FROM c.tenant_id RETURNING c.tenant_id, c.case_id",
                &edit,
            ),
            (
                "FOR UPDATE",
                "SELECT tenant_id, case_id FROM case_record FOR UPDATE",
                &edit,
            ),
            (
                "FOR SHARE",
                "SELECT tenant_id, case_id FROM case_record FOR SHARE",
                &edit,
            ),
            (
                "DELETE",
                "DELETE FROM case_record RETURNING tenant_id, case_id",
                &delete,
            ),
            (
                "DELETE USING",
                "DELETE FROM case_record AS c USING every_case AS e WHERE e.case_id = c.case_id
                    AND e.tenant_id IS NOT DISTINCT FROM c.tenant_id RETURNING c.tenant_id, c.case_id",
                &delete,
            ),
        ] {
            act(&mut self.app, principal, tenant, context);
            let found = keys(&mut self.app, sql);
            execute(&mut self.app, "ROLLBACK");
            self.equal(name, found, expected, label);
        }
        // MERGE tells how many, not which.
        act(&mut self.app, principal, tenant, context);
        let merged = self.app.execute(
            "MERGE INTO case_record AS c USING (SELECT tenant_id, case_id FROM case_record WHERE tenant_id IS NOT NULL) AS e
                ON e.case_id = c.case_id AND e.tenant_id = c.tenant_id
              WHEN MATCHED AND authz_can('case.edit', c.case_id) THEN UPDATE SET title = c.title",
            &[],
        );
        execute(&mut self.app, "ROLLBACK");
        let of_tenants = edit.iter().filter(|k| k.0.is_some()).count() as u64;
        match merged {
            Ok(merged) => assert_eq!(merged, of_tenants, "MERGE\n{}", label()),
            Err(e) => panic!("{}\n{}", report(&e), label()),
        }
    }

    /// Compares what becomes of rows that are given another title, by which conditions decide: a row that may be changed must
    /// be one that may be changed afterwards, too.
    pub(super) fn compare_changes(
        &mut self,
        (principal, tenant, context): (Uuid, Option<Uuid>, &'static str),
        label: &str,
    ) {
        let all = keys(
            &mut self.admin,
            "SELECT tenant_id, case_id FROM case_record WHERE tenant_id IS NOT NULL ORDER BY md5(case_id::text) LIMIT 15",
        );
        let mut changed = BTreeMap::<&str, Vec<Key>>::new();
        let mut expected = changed.clone();
        for (title, key) in ["alpha", "beta"].iter().flat_map(|t| all.iter().map(move |k| (*t, *k))) {
            let (of, case) = (key.0.unwrap(), key.1);
            let check = format!(
                "SELECT bool_and(authz_can('{principal}'::uuid, p, '{case}'::uuid, '{of}', '{context}'::jsonb))
                   FROM unnest(ARRAY['case.view', 'case.edit']) AS p"
            );
            let change =
                format!("UPDATE case_record SET title = '{title}' WHERE tenant_id = '{of}' AND case_id = '{case}'");
            execute(&mut self.admin, "BEGIN");
            let before: bool = value(&mut self.admin, &check, &[]);
            execute(&mut self.admin, &change);
            let after: bool = value(&mut self.admin, &check, &[]);
            execute(&mut self.admin, "ROLLBACK");
            let outcome = match (before && tenant.is_none_or(|t| t == of), after) {
                (false, _) => "not seen for a change",
                (true, false) => "changed to what may not be",
                (true, true) => "changed",
            };
            expected.entry(outcome).or_default().push(key);

            act(&mut self.app, principal, tenant, context);
            let outcome = match self.app.execute(&change, &[]) {
                Ok(0) => "not seen for a change",
                Ok(_) => "changed",
                Err(e) if e.code().is_some_and(|c| c.code() == "42501") => "changed to what may not be",
                Err(e) => panic!("{}\nin: {change}\n{label}", report(&e)),
            };
            execute(&mut self.app, "ROLLBACK");
            changed.entry(outcome).or_default().push(key);
        }
        for outcome in ["not seen for a change", "changed to what may not be", "changed"] {
            let mut found = changed.remove(outcome).unwrap_or_default();
            let mut wanted = expected.remove(outcome).unwrap_or_default();
            found.sort();
            wanted.sort();
            self.equal("UPDATE of a title", found, &wanted, &|| {
                format!("{outcome}: {label}, principal {principal}, tenant {tenant:?}, context {context}")
            });
        }
    }

    /// Compares which new rows somebody can put in: copies of what is there, under keys of their own.
    pub(super) fn compare_inserts(
        &mut self,
        (principal, tenant, context): (Uuid, Option<Uuid>, &'static str),
        label: &str,
    ) {
        let copy = "INSERT INTO case_record SELECT tenant_id, md5(case_id::text || 'copy')::uuid, owning_org_id,
                        owning_team_id, project_id, owner_id, confidentiality_level, deleted_at, title FROM original";
        execute(
            &mut self.admin,
            &format!(
                "DROP TABLE IF EXISTS original; CREATE TABLE original AS SELECT * FROM case_record WHERE tenant_id IS NOT NULL;
                 GRANT SELECT ON original TO PUBLIC; {copy}"
            ),
        );
        let new = "md5(original.case_id::text || 'copy')::uuid";
        let of_tenant = tenant.map_or(String::new(), |t| format!(" AND tenant_id = '{t}'"));
        let expected = keys(
            &mut self.admin,
            &format!(
                "SELECT tenant_id, case_id FROM original
                  WHERE authz_can('{principal}'::uuid, 'case.comment', {new}, tenant_id, '{context}'::jsonb){of_tenant}"
            ),
        );
        execute(
            &mut self.admin,
            &format!(
                "DELETE FROM case_record USING original WHERE case_record.case_id = {new}
                    AND case_record.tenant_id = original.tenant_id"
            ),
        );
        let all = keys(&mut self.admin, "SELECT tenant_id, case_id FROM original");
        let mut found = Vec::new();
        act(&mut self.app, principal, tenant, context);
        for key in all {
            let (tenant, case) = (key.0.unwrap(), key.1);
            execute(&mut self.app, "SAVEPOINT one");
            let sql = format!("{copy} WHERE tenant_id = '{tenant}' AND case_id = '{case}'");
            match self.app.execute(&sql, &[]) {
                Ok(1) => found.push(key),
                Ok(n) => panic!("{n} rows from {sql}"),
                Err(e) => {
                    assert_eq!(e.code().map(|c| c.code()), Some("42501"), "{}", report(&e));
                    assert!(report(&e).contains("row-level security"), "{}", report(&e));
                    execute(&mut self.app, "ROLLBACK TO one");
                }
            }
        }
        execute(&mut self.app, "ROLLBACK");
        self.equal("INSERT", found, &expected, &|| {
            format!("{label}, principal {principal}, tenant {tenant:?}")
        });
    }
}
