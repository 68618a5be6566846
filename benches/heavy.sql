-- Principals with 10, 1,000, many and very many bindings: one assignment, the rest grants on cases one after the
-- other, so that those of 10 bindings are in ten tenants and the others in all. Loaded like grow.sql. Variables: n_cases, n_many, n_most.
\set ON_ERROR_STOP on
\set n_tenants 100
SET synchronous_commit = off;
SET session_replication_role = replica;
CREATE TABLE bench.heavy AS
SELECT bench.id('heavy', size * 100 + k) AS principal, size, k,
       bench.id('case', 1 + (k * 7919) % :n_cases) AS resource, bench.id('case', 1 + (k * 7919 + 1) % :n_cases) AS other
  FROM (VALUES (10, 40), (1000, 20), (:n_many, 3), (:n_most, 1)) AS s (size, copies), generate_series(1, copies) AS k;
INSERT INTO authz.principal (principal_id) SELECT principal FROM bench.heavy;
INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id, granted_at)
SELECT bench.id('tenant', 1), principal, 'r05', 'tenant', bench.id('tenant', 1), '2024-01-01' FROM bench.heavy;
INSERT INTO authz.resource_access_grant
       (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code, granted_at)
SELECT bench.id('tenant', (c - 1) % :n_tenants + 1), 'case', bench.id('case', c), 'principal', principal, 'case.view', '2024-01-01'
  FROM bench.heavy, generate_series(1, size - 1) AS i, LATERAL (SELECT 1 + (k * 7919 + i - 1) % :n_cases AS c) AS x;
INSERT INTO authz.tenant_membership (tenant_id, principal_id, joined_at, status_since)
SELECT DISTINCT tenant_id, grantee_principal_id, '2023-01-01'::timestamptz, '2023-01-01'::timestamptz
  FROM authz.resource_access_grant WHERE grantee_principal_id IN (SELECT principal FROM bench.heavy)
UNION
SELECT bench.id('tenant', 1), principal, '2023-01-01', '2023-01-01' FROM bench.heavy;
