-- The database of the benchmark, without grants: 100 tenants with nested organizations and teams, principals, roles,
-- assignments, deny rules, and a registered table of cases. Everything follows from small numbers, so that each run
-- measures the same. Variables: n_principals, n_cases.
\set ON_ERROR_STOP on
\set n_tenants 100
SET client_min_messages = warning;
SET synchronous_commit = off;
CREATE EXTENSION authz_ext;
CREATE SCHEMA bench;

-- Every id can be written down from a kind and a number.
CREATE FUNCTION bench.id(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$ SELECT md5(kind || n::text)::uuid $$;
-- A number from 0 to m - 1 that looks random.
CREATE FUNCTION bench.pick(k text, m bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$ SELECT (hashtextextended(k, 42) & 9223372036854775807) % m $$;

CREATE TABLE bench.case_record (
  tenant_id uuid NOT NULL, case_id uuid NOT NULL, owning_org_id uuid NOT NULL, owning_team_id uuid NOT NULL,
  project_id uuid, case_number text NOT NULL, title text NOT NULL,
  confidentiality_level text NOT NULL CHECK (confidentiality_level IN ('normal', 'restricted', 'sealed')),
  status text NOT NULL, created_by uuid NOT NULL, created_at timestamptz NOT NULL, deleted_at timestamptz);

-- == Scopes: 10 organizations (a tree four deep), 50 teams (three deep, five in each organization), 20 projects ==
INSERT INTO authz.tenant (tenant_id, slug, name)
SELECT bench.id('tenant', t), 'tenant-' || t, 'Tenant ' || t FROM generate_series(1, :n_tenants) t;
INSERT INTO authz.organization (tenant_id, organization_id, parent_organization_id, name)
SELECT bench.id('tenant', t), bench.id('org', (t - 1) * 10 + o),
       CASE WHEN o > 2 THEN bench.id('org', (t - 1) * 10 + o / 2) END, 'Organization ' || t || '/' || o
  FROM generate_series(1, :n_tenants) t, generate_series(1, 10) o;
INSERT INTO authz.team (tenant_id, team_id, parent_team_id, organization_id, name)
SELECT bench.id('tenant', t), bench.id('team', (t - 1) * 50 + j),
       CASE (j - 1) % 5 WHEN 1 THEN bench.id('team', (t - 1) * 50 + j - 1) WHEN 2 THEN bench.id('team', (t - 1) * 50 + j - 2)
                        WHEN 3 THEN bench.id('team', (t - 1) * 50 + j - 2) END,
       bench.id('org', (t - 1) * 10 + (j - 1) / 5 + 1), 'Team ' || t || '/' || j
  FROM generate_series(1, :n_tenants) t, generate_series(1, 50) j;
INSERT INTO authz.project (tenant_id, project_id, organization_id, name)
SELECT bench.id('tenant', t), bench.id('project', (t - 1) * 20 + j), bench.id('org', (t - 1) * 10 + (j - 1) / 2 + 1),
       'Project ' || t || '/' || j
  FROM generate_series(1, :n_tenants) t, generate_series(1, 20) j;

-- == Principals; the home tenant of p is (p - 1) % n_tenants + 1. Three personas come after them: n + 1 is an auditor
-- of the platform, n + 2 a manager of tenant 1, n + 3 a worker with a bit of everything in tenant 1 ==
INSERT INTO authz.principal (principal_id, external_id, status)
SELECT bench.id('principal', p), 'p' || p,
       CASE WHEN p <= :n_principals AND bench.pick('ps' || p, 100) < 2 THEN 'suspended' ELSE 'active' END
  FROM generate_series(1, :n_principals + 3) p;
INSERT INTO authz.tenant_membership (tenant_id, principal_id, status, joined_at)
SELECT bench.id('tenant', (p - 1) % :n_tenants + 1), bench.id('principal', p),
       CASE WHEN bench.pick('tm' || p, 100) < 2 THEN 'suspended' ELSE 'active' END, '2023-01-01'
  FROM generate_series(1, :n_principals) p;
INSERT INTO authz.tenant_membership (tenant_id, principal_id, joined_at)
SELECT bench.id('tenant', (p + bench.pick('t2' || p, :n_tenants - 1)) % :n_tenants + 1), bench.id('principal', p), '2023-01-01'
  FROM generate_series(1, :n_principals) p WHERE bench.pick('two' || p, 100) < 5;
INSERT INTO authz.tenant_membership (tenant_id, principal_id, joined_at)
SELECT bench.id('tenant', 1), bench.id('principal', :n_principals + k), '2023-01-01' FROM generate_series(2, 3) k;

-- == 50 roles (5 roots, 15 that inherit one each, 30 that inherit one or two of those), 200 permissions ==
INSERT INTO authz.role_definition (role_code) SELECT 'r' || lpad(i::text, 2, '0') FROM generate_series(1, 50) i;
INSERT INTO authz.role_inheritance (role_code, inherited_role_code, valid_from)
SELECT 'r' || lpad(i::text, 2, '0'), 'r' || lpad(inherited::text, 2, '0'), '2023-01-01'
  FROM generate_series(6, 50) i,
       LATERAL (SELECT CASE WHEN i <= 20 THEN (i - 6) % 5 + 1 ELSE (i - 21) % 15 + 6 END AS inherited
                UNION SELECT (i - 14) % 15 + 6 WHERE i > 20 AND i % 4 = 0) AS x;
INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
SELECT code, split_part(code, '.', 1), split_part(code, '.', 2)
  FROM unnest(ARRAY['case.view', 'case.update', 'case.comment', 'case.view_restricted', 'case.view_sealed', 'case.close',
                    'case.view_deleted', 'tenant.view', 'organization.view', 'team.view', 'project.view']) code
UNION ALL
SELECT 'perm.' || lpad(i::text, 3, '0'), 'perm', lpad(i::text, 3, '0') FROM generate_series(12, 200) i;
INSERT INTO authz.permission_implication VALUES ('case.update', 'case.comment'), ('case.comment', 'case.view');
INSERT INTO authz.role_permission (role_code, permission_code, valid_from)
SELECT role_code, permission_code, '2023-01-01'::timestamptz FROM authz.role_definition, authz.permission_definition
 WHERE resource_type = 'perm' AND bench.pick(role_code || permission_code, 8) = 0
UNION ALL
SELECT r, p, '2023-01-01'
  FROM (VALUES ('case.view', '{r01,r02,r23,r24,r25,r28,r29,r30}'::text[]), ('case.update', '{r06,r07,r08}'),
               ('case.view_restricted', '{r06,r07,r08}'), ('case.view_sealed', '{r21,r36}'), ('case.view_deleted', '{r06,r09}'),
               ('tenant.view', '{r01,r05}'), ('organization.view', '{r01,r02}'), ('team.view', '{r01,r02,r03}'),
               ('project.view', '{r01,r02}')) AS v (p, roles), unnest(roles) AS r;

-- == 5 assignments a principal: 0.1 % at the platform, 10 % tenant, 25 % organization, 50 % team, 15 % a case; a tenth
-- has expired or was revoked ==
INSERT INTO authz.principal_role_assignment
       (assignment_id, tenant_id, principal_id, role_code, scope_type, scope_id, granted_at, expires_at, revoked_at)
SELECT bench.id('asg', p * 10 + j), CASE WHEN st <> 'platform' THEN bench.id('tenant', t) END, bench.id('principal', p),
       'r' || lpad((bench.pick('ar' || p || '.' || j, 50) + 1)::text, 2, '0'), st,
       CASE st WHEN 'tenant' THEN bench.id('tenant', t)
               WHEN 'organization' THEN bench.id('org', (t - 1) * 10 + bench.pick('ao' || p || '.' || j, 10) + 1)
               WHEN 'team' THEN bench.id('team', (t - 1) * 50 + bench.pick('at' || p || '.' || j, 50) + 1)
               WHEN 'case' THEN bench.id('case', t + :n_tenants * bench.pick('ac' || p || '.' || j, :n_cases / :n_tenants)) END,
       '2024-01-01',
       CASE bench.pick('ae' || p || '.' || j, 20) WHEN 0 THEN '2025-01-01'::timestamptz WHEN 1 THEN '2099-01-01' END,
       CASE WHEN bench.pick('av' || p || '.' || j, 20) = 0 THEN '2025-01-01'::timestamptz END
  FROM (SELECT p, j, (p - 1) % :n_tenants + 1 AS t,
               CASE WHEN s < 1 THEN 'platform' WHEN s < 100 THEN 'tenant' WHEN s < 350 THEN 'organization'
                    WHEN s < 850 THEN 'team' ELSE 'case' END AS st
          FROM generate_series(1, :n_principals) p, generate_series(1, 5) j,
               LATERAL (SELECT bench.pick('as' || p || '.' || j, 1000) AS s) x) q
ON CONFLICT DO NOTHING;
INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id, granted_at)
SELECT CASE WHEN st <> 'platform' THEN bench.id('tenant', 1) END, bench.id('principal', :n_principals + k), role, st,
       CASE WHEN st <> 'platform' THEN bench.id(replace(st, 'organization', 'org'), n) END, '2024-01-01'
  FROM (VALUES (1, 'r21', 'platform', 0), (2, 'r21', 'tenant', 1), (3, 'r02', 'team', 1), (3, 'r23', 'team', 2),
               (3, 'r07', 'organization', 10), (3, 'r21', 'case', 1), (3, 'r21', 'case', 101), (3, 'r05', 'tenant', 1)
       ) AS v (k, role, st, n);

-- Two teams a principal, 5 % of them over.
INSERT INTO authz.team_membership_history (tenant_id, team_id, principal_id, valid_from, valid_until)
SELECT bench.id('tenant', t), bench.id('team', (t - 1) * 50 + k), bench.id('principal', p), '2023-01-01',
       CASE WHEN bench.pick('tv' || p || '.' || j, 20) = 0 THEN '2025-01-01'::timestamptz END
  FROM (SELECT p, j, (p - 1) % :n_tenants + 1 AS t,
               (bench.pick('tk' || p, 50) + (j - 1) * (1 + bench.pick('tl' || p, 49))) % 50 + 1 AS k
          FROM generate_series(1, :n_principals) p, generate_series(1, 2) j) q;
INSERT INTO authz.team_membership_history (tenant_id, team_id, principal_id, valid_from)
SELECT bench.id('tenant', 1), bench.id('team', k), bench.id('principal', :n_principals + n), '2023-01-01'
  FROM (VALUES (3, 1), (3, 2), (2, 50)) AS v (n, k);

-- == 20 deny rules a tenant: on cases, teams, organizations, the tenant; for everybody, principals, roles, teams,
-- organizations; a tenth of them over ==
INSERT INTO authz.resource_access_rule
       (rule_id, tenant_id, effect, priority, grantee_type, grantee_id, resource_type, resource_id, permission_code,
        valid_from, valid_until)
SELECT bench.id('rule', (t - 1) * 20 + j), bench.id('tenant', t), 'deny', 100 + j,
       CASE WHEN j <= 8 THEN 'any' WHEN j <= 13 THEN 'principal' WHEN j <= 16 THEN 'role' WHEN j <= 18 THEN 'team'
            WHEN j = 19 THEN 'organization' ELSE 'principal' END,
       CASE WHEN j <= 8 THEN NULL
            WHEN j <= 13 OR j = 20 THEN bench.id('principal', t + :n_tenants * bench.pick('dp' || t || '.' || j, :n_principals / :n_tenants))::text
            WHEN j <= 16 THEN 'r' || lpad((bench.pick('dr' || t || '.' || j, 50) + 1)::text, 2, '0')
            WHEN j <= 18 THEN bench.id('team', (t - 1) * 50 + bench.pick('dt' || t || '.' || j, 50) + 1)::text
            ELSE bench.id('org', (t - 1) * 10 + bench.pick('do' || t || '.' || j, 10) + 1)::text END,
       CASE WHEN j <= 8 THEN 'case' WHEN j <= 13 OR j = 19 THEN 'team' WHEN j <= 18 THEN 'organization' ELSE 'tenant' END,
       CASE WHEN j <= 8 THEN bench.id('case', t + :n_tenants * bench.pick('dc' || t || '.' || j, :n_cases / :n_tenants))
            WHEN j <= 13 OR j = 19 THEN bench.id('team', (t - 1) * 50 + bench.pick('dk' || t || '.' || j, 50) + 1)
            WHEN j <= 18 THEN bench.id('org', (t - 1) * 10 + bench.pick('dl' || t || '.' || j, 10) + 1)
            ELSE bench.id('tenant', t) END,
       CASE WHEN j % 3 = 0 THEN 'case.view' END,
       '2024-01-01', CASE WHEN bench.pick('dx' || t || '.' || j, 10) = 0 THEN '2025-01-01'::timestamptz END
  FROM generate_series(1, :n_tenants) t, generate_series(1, 20) j
ON CONFLICT DO NOTHING;

-- == Cases, in the order of their creation, tenants interleaved; a tenth is confidential, 1 % deleted, 30 % in a project ==
INSERT INTO bench.case_record
SELECT bench.id('tenant', t), bench.id('case', i), bench.id('org', (t - 1) * 10 + (k - 1) / 5 + 1),
       bench.id('team', (t - 1) * 50 + k),
       CASE WHEN bench.pick('cj' || i, 10) < 3 THEN bench.id('project', (t - 1) * 20 + bench.pick('cp' || i, 20) + 1) END,
       'C-' || lpad(i::text, 8, '0'), 'Case about ' || md5('ti' || i),
       CASE WHEN c < 90 THEN 'normal' WHEN c < 98 THEN 'restricted' ELSE 'sealed' END,
       CASE WHEN c % 10 < 3 THEN 'open' ELSE 'closed' END,
       bench.id('principal', t + :n_tenants * bench.pick('cb' || i, :n_principals / :n_tenants)),
       '2023-01-01'::timestamptz + i * interval '90 s',
       CASE WHEN bench.pick('cd' || i, 100) = 0 THEN '2024-01-01'::timestamptz END
  FROM (SELECT i, (i - 1) % :n_tenants + 1 AS t, bench.pick('ct' || i, 50) + 1 AS k, bench.pick('cc' || i, 100) AS c
          FROM generate_series(1, :n_cases) i) q;
ALTER TABLE bench.case_record ADD PRIMARY KEY (tenant_id, case_id);
CREATE UNIQUE INDEX case_record_case_id_key ON bench.case_record (case_id);
INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column, organization_column, team_column,
                                 project_column, confidentiality_column, deleted_at_column)
VALUES ('case', 'bench.case_record', 'case_id', 'tenant_id', 'owning_org_id', 'owning_team_id', 'project_id',
        'confidentiality_level', 'deleted_at');
