//! Listings say what the check says (PITFALLS 3), page by page (PITFALLS 4). Whole listings, now and at other instants, are
//! compared with brute force in `as_of/listing.rs`.

use authz_tests::make::{self, id};
use authz_tests::policy::Policy;
use authz_tests::{Db, Start, chance, execute, refused, report, value};
use chrono::{DateTime, Utc};
use postgres::Client;
use serde_json::Value;
use uuid::Uuid;

type Found = (Option<Uuid>, String);

#[track_caller]
fn list(
    c: &mut Client,
    who: Uuid,
    permission: &str,
    tenant: Option<Uuid>,
    after: Option<&str>,
    rows: Option<i64>,
) -> Vec<Found> {
    c.query(
        "SELECT tenant, resource FROM authz_resources($1, $2, $3, $4, $5)",
        &[&who, &permission, &tenant, &after, &rows],
    )
    .unwrap_or_else(|e| panic!("{permission} after {after:?}: {}", report(&e)))
    .iter()
    .map(|row| (row.get(0), row.get(1)))
    .collect()
}

/// The same, a page of so many rows at a time.
#[track_caller]
fn walk(c: &mut Client, who: Uuid, permission: &str, tenant: Option<Uuid>, rows: i64) -> Vec<Found> {
    let mut all: Vec<Found> = Vec::new();
    loop {
        let after = all.last().map(|(_, resource)| resource.clone());
        let page = list(c, who, permission, tenant, after.as_deref(), Some(rows));
        if page.is_empty() {
            return all;
        }
        // A key that several tenants have comes whole, so a page may be longer, but for that key only.
        let cut = page[..page.len().min(rows as usize)].last().map(|(_, key)| key.clone());
        assert!(
            page.iter()
                .skip(rows as usize)
                .all(|(_, key)| Some(key) == cut.as_ref()),
            "{rows} rows asked for: {page:?}"
        );
        all.extend(page);
        assert!(all.len() < 10_000, "pages without end");
    }
}

#[test]
fn pitfall_4_pages_are_the_list_over_random_policies() {
    // Of more than the longest page that is walked in steps.
    chance::until(2, 100, |seed| {
        let mut listed = 0;
        let db = Db::with(Start::Fixture);
        let mut c = db.connect();
        let now: DateTime<Utc> = DateTime::from(std::time::SystemTime::now());
        Policy::new(seed, now).load(&mut c);
        let ids = |c: &mut Client, sql: &str| -> Vec<Uuid> {
            c.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
        };
        let principals = ids(&mut c, "SELECT principal_id FROM authz.principal");
        let tenants = ids(&mut c, "SELECT tenant_id FROM authz.tenant");
        for who in principals {
            for permission in ["case.view", "document.view", "page.edit", "team.view", "tenant.view"] {
                let whole = list(&mut c, who, permission, None, None, None);
                if whole.len() > 7 {
                    listed += whole.len() as u64;
                }
                for rows in [1, 2, 3, 7, 1000] {
                    assert_eq!(
                        walk(&mut c, who, permission, None, rows),
                        whole,
                        "AUTHZ_SEED={seed}: {permission} of {who}, {rows} rows a page"
                    );
                }
                for tenant in &tenants {
                    let of_tenant: Vec<Found> = whole.iter().filter(|(t, _)| t == &Some(*tenant)).cloned().collect();
                    assert_eq!(walk(&mut c, who, permission, Some(*tenant), 2), of_tenant);
                }
            }
        }
        listed
    });
}

/// Keys that are nearly the same, sort otherwise as text than as what they look like, or are in several tenants.
#[test]
fn pitfall_4_pages_of_text_keys_that_look_like_others() {
    let db = Db::new();
    let mut c = db.connect();
    let (acme, globex) = (make::tenant(&mut c, "acme"), make::tenant(&mut c, "globex"));
    execute(
        &mut c,
        "CREATE TABLE thing (tenant_id uuid NOT NULL, thing_id text NOT NULL, PRIMARY KEY (tenant_id, thing_id));
         INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column)
         VALUES ('thing', 'thing', 'thing_id', 'tenant_id');
         INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
         VALUES ('thing.view', 'thing', 'view')",
    );
    make::role(&mut c, "viewer", &["thing.view"]);
    let alice = make::member(&mut c, acme, "alice");
    make::join(&mut c, globex, alice);
    for tenant in [acme, globex] {
        make::assign(&mut c, tenant, alice, "viewer", "tenant", tenant);
    }
    execute(
        &mut c,
        &format!(
            "INSERT INTO thing
             SELECT t, k FROM unnest('{{{acme},{globex}}}'::uuid[]) AS t,
                    unnest(ARRAY['7', '10', '-1', '007', ' 7', '7 ', 'a', 'A', 'ä', 'á', 'a''b', '%', '{{}}',
                                 '9223372036854775807', '9223372036854775808', '1e3', 'NaN', '{alice}', upper('{alice}')]) AS k;
             DELETE FROM thing WHERE tenant_id = '{globex}' AND thing_id < 'A'"
        ),
    );
    let whole = list(&mut c, alice, "thing.view", None, None, None);
    let there: i64 = value(&mut c, "SELECT count(*) FROM thing", &[]);
    assert_eq!(whole.len() as i64, there);
    for rows in [1, 2, 3, 5, 100] {
        assert_eq!(
            walk(&mut c, alice, "thing.view", None, rows),
            whole,
            "{rows} rows a page"
        );
    }
}

#[test]
fn pages_that_make_no_sense() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::role(&mut c, "viewer", &["case.view"]);
    let alice = make::member(&mut c, acme, "alice");
    make::case(&mut c, acme, "affair");
    make::assign(&mut c, acme, alice, "viewer", "tenant", acme);
    assert_eq!(list(&mut c, alice, "case.view", None, None, Some(1)).len(), 1);
    assert_eq!(list(&mut c, alice, "case.view", None, None, Some(0)), []);
    assert_eq!(list(&mut c, alice, "case.view", Some(id("globex")), None, None), []);
    refused(
        &mut c,
        &format!("SELECT * FROM authz_resources('{alice}', 'case.view', max_rows => -1)"),
        "22023",
        &["max_rows", "NULL"],
    );
    refused(
        &mut c,
        &format!("SELECT * FROM authz_resources('{alice}', 'case.vew')"),
        "42704",
        &["case.view"],
    );
}

/// PITFALLS 3: what `authz_permissions` lists is what `authz_can` allows, with the obligations of the deciding binding.
#[test]
fn pitfall_3_permissions_are_the_checks_over_random_policies() {
    chance::until(2, 100, |seed| {
        let db = Db::with(Start::Fixture);
        let mut c = db.connect();
        let now: DateTime<Utc> = DateTime::from(std::time::SystemTime::now());
        Policy::new(seed, now).load(&mut c);
        let row = c
            .query_one(
                "WITH place (kind, tenant, key) AS MATERIALIZED (
                     SELECT 'team', tenant_id, team_id FROM authz.team
                     UNION ALL SELECT 'case', tenant_id, case_id FROM public.case_record WHERE tenant_id IS NOT NULL
                     UNION ALL SELECT 'document', tenant_id, document_id FROM public.case_document),
                 asked AS MATERIALIZED (
                     SELECT p.principal_id, l.* FROM authz.principal AS p CROSS JOIN place AS l),
                 listed AS MATERIALIZED (
                     SELECT a.*, m.permission, coalesce(m.obligations, '{}') AS obligations
                       FROM asked AS a, authz_permissions(a.principal_id, a.key, a.kind, a.tenant) AS m),
                 checked AS MATERIALIZED (
                     SELECT a.*, d.permission_code AS permission, coalesce(e #> '{binding,obligations}', '{}') AS obligations
                       FROM asked AS a JOIN authz.permission_definition AS d ON d.resource_type = a.kind,
                            authz_explain(a.principal_id, d.permission_code, a.key, a.tenant) AS e
                      WHERE authz_can(a.principal_id, d.permission_code, a.key, a.tenant))
                 SELECT (SELECT count(*) FROM checked),
                        (SELECT jsonb_agg(x) FROM (SELECT * FROM checked EXCEPT SELECT * FROM listed LIMIT 3) AS x),
                        (SELECT jsonb_agg(x) FROM (SELECT * FROM listed EXCEPT SELECT * FROM checked LIMIT 3) AS x)",
                &[],
            )
            .unwrap_or_else(|e| panic!("{}", report(&e)));
        for (column, what) in [(1, "misses"), (2, "invents")] {
            let difference: Option<Value> = row.get(column);
            assert_eq!(difference, None, "AUTHZ_SEED={seed}: authz_permissions {what}");
        }
        row.get::<_, i64>(0) as u64
    });
}
