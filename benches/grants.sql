-- Grants on cases: 60 % for principals, 25 % teams, 10 % organizations, 5 % roles; 80 % case.view; a tenth is over.
-- Variables: n_principals, n_cases, n_grants.
\set ON_ERROR_STOP on
\set n_tenants 100
SET synchronous_commit = off;
CREATE FUNCTION bench.load_grants(first int, last int, n_principals int, n_cases int, n_tenants int) RETURNS void LANGUAGE sql AS $$
INSERT INTO authz.resource_access_grant
       (grant_id, tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code, granted_at, expires_at, revoked_at)
SELECT bench.id('grant', i), bench.id('tenant', t), 'case', bench.id('case', c), gt,
       CASE gt WHEN 'principal' THEN bench.id('principal', t + n_tenants * bench.pick('gp' || i, n_principals / n_tenants))::text
               WHEN 'team' THEN bench.id('team', (t - 1) * 50 + bench.pick('gt' || i, 50) + 1)::text
               WHEN 'organization' THEN bench.id('org', (t - 1) * 10 + bench.pick('go' || i, 10) + 1)::text
               ELSE 'r' || lpad((bench.pick('gr' || i, 50) + 1)::text, 2, '0') END,
       CASE WHEN x < 8 THEN 'case.view' WHEN x = 8 THEN 'case.update' ELSE 'case.comment' END,
       '2024-01-01', CASE WHEN bench.pick('ge' || i, 20) = 0 THEN '2025-01-01'::timestamptz END,
       CASE WHEN bench.pick('gv' || i, 20) = 0 THEN '2025-01-01'::timestamptz END
  FROM (SELECT i, c, (c - 1) % n_tenants + 1 AS t, bench.pick('gx' || i, 10) AS x,
               CASE WHEN g < 60 THEN 'principal' WHEN g < 85 THEN 'team' WHEN g < 95 THEN 'organization' ELSE 'role' END AS gt
          FROM generate_series(first, last) i,
               LATERAL (SELECT bench.pick('gc' || i, n_cases) + 1 AS c, bench.pick('gg' || i, 100) AS g) x) q
ON CONFLICT DO NOTHING;
$$;
-- In two steps, since the triggers' statements are planned for the table as it was last analyzed.
SELECT bench.load_grants(1, least(5000, :n_grants), :n_principals, :n_cases, :n_tenants);
ANALYZE authz.resource_access_grant;
SELECT bench.load_grants(5001, :n_grants, :n_principals, :n_cases, :n_tenants);
INSERT INTO authz.resource_access_grant
       (grant_id, tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code, granted_at)
SELECT bench.id('pgrant', i), bench.id('tenant', 1), 'case',
       bench.id('case', 1 + :n_tenants * bench.pick('pg' || i, :n_cases / :n_tenants)),
       'principal', bench.id('principal', :n_principals + 3), 'case.view', '2024-01-01'
  FROM generate_series(1, 40) i
ON CONFLICT DO NOTHING;
