-- Many more grants, all of them for further principals, so that the principals that are there already keep exactly
-- what they had: what grows is the database. The guards, foreign keys and invalidation of ordinary inserts are bypassed
-- and the indexes built afterwards, to load millions of rows in minutes; the rows are valid all the same.
-- Variables: n_cases, n_grants.
\set ON_ERROR_STOP on
\set n_tenants 100
SET synchronous_commit = off;
SET session_replication_role = replica;
SET maintenance_work_mem = '1GB';
SET client_min_messages = warning;
ALTER TABLE authz.principal DISABLE TRIGGER invalidate;
ALTER TABLE authz.tenant_membership DISABLE TRIGGER invalidate;
ALTER TABLE authz.resource_access_grant DISABLE TRIGGER invalidate;
INSERT INTO authz.principal (principal_id)
SELECT bench.id('more', p) FROM generate_series(1, :n_grants / 50) p;
INSERT INTO authz.tenant_membership (tenant_id, principal_id, joined_at, status_since)
SELECT bench.id('tenant', (p - 1) % :n_tenants + 1), bench.id('more', p), '2023-01-01', '2023-01-01'
  FROM generate_series(1, :n_grants / 50) p;

CREATE TEMP TABLE later AS
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
  FROM pg_index WHERE indrelid = 'authz.resource_access_grant'::regclass AND NOT indisprimary;
SELECT format('DROP INDEX %s', name) FROM later \gexec
INSERT INTO authz.resource_access_grant
       (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code, granted_at)
SELECT bench.id('tenant', (p - 1) % :n_tenants + 1), 'case',
       bench.id('case', (p - 1) % :n_tenants + 1 + :n_tenants * ((p * 13 + k * 101) % (:n_cases / :n_tenants))),
       'principal', bench.id('more', p), 'case.view', '2024-01-01'
  FROM generate_series(1, :n_grants / 50) p, generate_series(1, 50) k;
SELECT definition FROM later \gexec
ALTER TABLE authz.principal ENABLE ALWAYS TRIGGER invalidate;
ALTER TABLE authz.tenant_membership ENABLE ALWAYS TRIGGER invalidate;
ALTER TABLE authz.resource_access_grant ENABLE ALWAYS TRIGGER invalidate;
