-- Many more grants, all of them in further tenants: 95 % for principals of those, 5 % for the 50 roles, which all
-- tenants share. The principals that are there already keep exactly the bindings that they had: what grows is the
-- database. The guards, foreign keys, invalidation and change events of ordinary inserts are bypassed and the indexes
-- built afterwards, to load millions of rows in minutes; the rows are valid all the same. Variable: n_grants.
\set ON_ERROR_STOP on
SET synchronous_commit = off;
SET session_replication_role = replica;
SET maintenance_work_mem = '1GB';
SET client_min_messages = warning;
ALTER TABLE authz.tenant DISABLE TRIGGER invalidate, DISABLE TRIGGER record_insert, DISABLE TRIGGER record_replicated;
ALTER TABLE authz.principal DISABLE TRIGGER invalidate, DISABLE TRIGGER record_insert, DISABLE TRIGGER record_replicated;
ALTER TABLE authz.tenant_membership DISABLE TRIGGER invalidate, DISABLE TRIGGER record_insert, DISABLE TRIGGER record_replicated;
ALTER TABLE authz.resource_access_grant DISABLE TRIGGER invalidate, DISABLE TRIGGER record_insert, DISABLE TRIGGER record_replicated;
INSERT INTO authz.tenant (tenant_id, slug, name)
SELECT bench.id('moretenant', t), 'more-' || t, 'More ' || t FROM generate_series(1, 1000) t;
INSERT INTO authz.principal (principal_id)
SELECT bench.id('more', p) FROM generate_series(1, :n_grants / 50) p;
INSERT INTO authz.tenant_membership (tenant_id, principal_id, joined_at, status_since)
SELECT bench.id('moretenant', p % 1000 + 1), bench.id('more', p), '2023-01-01', '2023-01-01'
  FROM generate_series(1, :n_grants / 50) p;

CREATE TEMP TABLE later AS
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
  FROM pg_index WHERE indrelid = 'authz.resource_access_grant'::regclass AND NOT indisprimary;
SELECT format('DROP INDEX %s', name) FROM later \gexec
INSERT INTO authz.resource_access_grant
       (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code, granted_at)
SELECT bench.id('moretenant', p % 1000 + 1), 'case', bench.id('morecase', p * 50::bigint + k),
       CASE WHEN bench.pick('mg' || p || '.' || k, 100) < 5 THEN 'role' ELSE 'principal' END,
       CASE WHEN bench.pick('mg' || p || '.' || k, 100) < 5 THEN 'r' || lpad((1 + bench.pick('mr' || p || '.' || k, 50))::text, 2, '0')
            ELSE bench.id('more', p)::text END,
       'case.view', '2024-01-01'
  FROM generate_series(1, :n_grants / 50) p, generate_series(1, 50) k;
SELECT definition FROM later \gexec
ALTER TABLE authz.tenant ENABLE ALWAYS TRIGGER invalidate, ENABLE ALWAYS TRIGGER record_insert, ENABLE REPLICA TRIGGER record_replicated;
ALTER TABLE authz.principal ENABLE ALWAYS TRIGGER invalidate, ENABLE ALWAYS TRIGGER record_insert, ENABLE REPLICA TRIGGER record_replicated;
ALTER TABLE authz.tenant_membership ENABLE ALWAYS TRIGGER invalidate, ENABLE ALWAYS TRIGGER record_insert, ENABLE REPLICA TRIGGER record_replicated;
ALTER TABLE authz.resource_access_grant ENABLE ALWAYS TRIGGER invalidate, ENABLE ALWAYS TRIGGER record_insert, ENABLE REPLICA TRIGGER record_replicated;
