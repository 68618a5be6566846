-- The data, which follows from small numbers. Variables: n_principals, n_cases, items_per_case, n_grants.
\set ON_ERROR_STOP on
\set n_tenants 100
BEGIN;
INSERT INTO base.tenant SELECT app.uid('tenant',t), 'tenant '||t FROM generate_series(1,:n_tenants) t;
-- 10 organizations and 50 teams a tenant; team j of a tenant lies in organization (j-1)/5+1
INSERT INTO base.organization SELECT app.uid('org',(t-1)*10+o), app.uid('tenant',t), 'org '||t||'/'||o
  FROM generate_series(1,:n_tenants) t, generate_series(1,10) o;
INSERT INTO base.team SELECT app.uid('team',(t-1)*50+j), app.uid('tenant',t), app.uid('org',(t-1)*10+(j-1)/5+1), 'team '||t||'/'||j
  FROM generate_series(1,:n_tenants) t, generate_series(1,50) j;

-- principals 1..n; home tenant of p is (p-1) % n_tenants + 1.  Personas: n+1 auditor, n+2 manager, n+3 worker, n+4 reviewer
-- from outside, who has grants on three cases and nothing else.
INSERT INTO base.principal SELECT app.uid('principal',p),
    CASE WHEN p > :n_principals THEN 'active' WHEN app.h('ps'||p,100) < 2 THEN 'suspended' ELSE 'active' END
  FROM generate_series(1,:n_principals+4) p;
INSERT INTO base.tenant_membership SELECT app.uid('tenant',(p-1)%:n_tenants+1), app.uid('principal',p),
    CASE WHEN app.h('tm'||p,100) < 2 THEN 'suspended' ELSE 'active' END
  FROM generate_series(1,:n_principals) p;
INSERT INTO base.tenant_membership SELECT app.uid('tenant',(p-1+1+app.h('t2'||p,:n_tenants-1))%:n_tenants+1), app.uid('principal',p), 'active'
  FROM generate_series(1,:n_principals) p WHERE app.h('two'||p,100) < 5;
INSERT INTO base.tenant_membership SELECT app.uid('tenant',t), app.uid('principal',:n_principals+1), 'active' FROM generate_series(1,:n_tenants) t;
INSERT INTO base.tenant_membership SELECT app.uid('tenant',1), app.uid('principal',:n_principals+k), 'active' FROM (VALUES (2),(3),(4)) v(k);

-- 50 roles: 5 roots, 15 below them, 30 leaves
INSERT INTO base.role_definition SELECT 'r'||lpad(i::text,2,'0'), app.uid('role',i),
    CASE WHEN i <= 5 THEN NULL WHEN i <= 20 THEN 'r'||lpad(((i-6)%5+1)::text,2,'0') ELSE 'r'||lpad(((i-21)%15+6)::text,2,'0') END
  FROM generate_series(1,50) i ORDER BY i;
INSERT INTO base.permission_definition VALUES ('case.read'),('case.update'),('case.comment'),('case.view_restricted'),('case.view_sealed'),('case.close');
INSERT INTO base.permission_definition SELECT 'perm.'||lpad(i::text,3,'0') FROM generate_series(7,200) i;
-- about 24 direct permissions a role
INSERT INTO base.role_permission SELECT role_code, permission_code FROM base.role_definition, base.permission_definition
  WHERE permission_code LIKE 'perm.%' AND app.h(role_code||permission_code, 8) = 0;
INSERT INTO base.role_permission
  SELECT r, 'case.read' FROM unnest(ARRAY['r01','r02','r23','r24','r25','r28','r29','r30']) r UNION ALL
  SELECT r, 'case.update' FROM unnest(ARRAY['r06','r07','r08']) r UNION ALL
  SELECT r, 'case.view_restricted' FROM unnest(ARRAY['r06','r07','r08']) r UNION ALL
  SELECT r, 'case.view_sealed' FROM unnest(ARRAY['r21','r36']) r;       -- r21 -> r06 -> r01: all three levels are needed

-- 5 assignments a principal: 0.1% platform, 10% tenant, 25% organization, 50% team, 15% case
INSERT INTO base.principal_role_assignment
SELECT app.uid('asg',p*10+j), CASE WHEN st = 'platform' THEN NULL ELSE app.uid('tenant',t) END, app.uid('principal',p),
  'r'||lpad((app.h('ar'||p||'.'||j,50)+1)::text,2,'0'), st,
  CASE st WHEN 'platform' THEN NULL WHEN 'tenant' THEN app.uid('tenant',t)
     WHEN 'organization' THEN app.uid('org',(t-1)*10+app.h('ao'||p||'.'||j,10)+1)
     WHEN 'team' THEN app.uid('team',(t-1)*50+app.h('at'||p||'.'||j,50)+1)
     ELSE app.uid('case', t + :n_tenants*app.h('ac'||p||'.'||j, :n_cases/:n_tenants)) END,
  '2024-01-01'::timestamptz + p*interval '1 min',
  CASE WHEN app.h('ae'||p||'.'||j,20) = 0 THEN '2025-01-01'::timestamptz WHEN app.h('ae'||p||'.'||j,20) = 1 THEN '2035-01-01'::timestamptz END,
  CASE WHEN app.h('av'||p||'.'||j,20) = 0 THEN '2025-01-01'::timestamptz END
FROM (SELECT p, j, (p-1)%:n_tenants+1 AS t,
        CASE WHEN s < 1 THEN 'platform' WHEN s < 100 THEN 'tenant' WHEN s < 350 THEN 'organization' WHEN s < 850 THEN 'team' ELSE 'case' END AS st
      FROM generate_series(1,:n_principals) p, generate_series(1,5) j, LATERAL (SELECT app.h('as'||p||'.'||j,1000) AS s) x) q;
-- personas
INSERT INTO base.principal_role_assignment(assignment_id,tenant_id,principal_id,role_code,scope_type,scope_id,granted_at) VALUES
 (app.uid('pasg',1), NULL,                app.uid('principal',:n_principals+1), 'r21','platform',NULL,'2024-01-01'),
 (app.uid('pasg',2), app.uid('tenant',1), app.uid('principal',:n_principals+2), 'r21','tenant',app.uid('tenant',1),'2024-01-01'),
 (app.uid('pasg',3), app.uid('tenant',1), app.uid('principal',:n_principals+3), 'r02','team',app.uid('team',1),'2024-01-01'),
 (app.uid('pasg',4), app.uid('tenant',1), app.uid('principal',:n_principals+3), 'r23','team',app.uid('team',2),'2024-01-01'),
 (app.uid('pasg',5), app.uid('tenant',1), app.uid('principal',:n_principals+3), 'r07','organization',app.uid('org',10),'2024-01-01'),
 (app.uid('pasg',6), app.uid('tenant',1), app.uid('principal',:n_principals+3), 'r21','case',app.uid('case',1),'2024-01-01'),
 (app.uid('pasg',7), app.uid('tenant',1), app.uid('principal',:n_principals+3), 'r21','case',app.uid('case',101),'2024-01-01'),
 (app.uid('pasg',8), app.uid('tenant',1), app.uid('principal',:n_principals+3), 'r05','tenant',app.uid('tenant',1),'2024-01-01');  -- a role without case.read

-- team membership: 2 teams a principal in the home tenant, 5% over
INSERT INTO base.team_membership
SELECT app.uid('tenant',t), app.uid('team',(t-1)*50+k), app.uid('principal',p), '2023-01-01', CASE WHEN app.h('tv'||p||'.'||j,20)=0 THEN '2025-01-01'::timestamptz END
FROM (SELECT p, j, (p-1)%:n_tenants+1 AS t, (app.h('tk'||p,50) + (j-1)*(1+app.h('tl'||p,49)))%50+1 AS k
      FROM generate_series(1,:n_principals) p, generate_series(1,2) j) q;
INSERT INTO base.team_membership SELECT app.uid('tenant',1), app.uid('team',k), app.uid('principal',:n_principals+3), '2023-01-01', NULL FROM (VALUES (1),(2)) v(k);
INSERT INTO base.team_membership VALUES (app.uid('tenant',1), app.uid('team',50), app.uid('principal',:n_principals+2), '2023-01-01', NULL);

-- ACL grants: 60% principal, 25% team, 10% organization, 5% role; 80% case.read; 5% expired, 5% revoked
INSERT INTO base.resource_access_grant
SELECT app.uid('grant',i), app.uid('tenant',t), 'case', app.uid('case',c), gt,
  CASE gt WHEN 'principal' THEN app.uid('principal', t+:n_tenants*app.h('gp'||i,:n_principals/:n_tenants))
          WHEN 'team' THEN app.uid('team',(t-1)*50+app.h('gt'||i,50)+1)
          WHEN 'organization' THEN app.uid('org',(t-1)*10+app.h('go'||i,10)+1)
          ELSE app.uid('role', app.h('gr'||i,50)+1) END,
  CASE WHEN app.h('gx'||i,10) < 8 THEN 'case.read' WHEN app.h('gx'||i,10) = 8 THEN 'case.update' ELSE 'case.comment' END,
  CASE WHEN app.h('ge'||i,20)=0 THEN '2025-01-01'::timestamptz END, CASE WHEN app.h('gv'||i,20)=0 THEN '2025-01-01'::timestamptz END
FROM (SELECT i, c, (c-1)%:n_tenants+1 AS t, CASE WHEN g<60 THEN 'principal' WHEN g<85 THEN 'team' WHEN g<95 THEN 'organization' ELSE 'role' END AS gt
      FROM generate_series(1,:n_grants) i, LATERAL (SELECT app.h('gc'||i,:n_cases)+1 AS c, app.h('gg'||i,100) AS g) x) q;
INSERT INTO base.resource_access_grant SELECT app.uid('pgrant',i), app.uid('tenant',1), 'case', app.uid('case',1+:n_tenants*app.h('pg'||i,:n_cases/:n_tenants)),
  'principal', app.uid('principal',:n_principals+3), 'case.read', NULL, NULL FROM generate_series(1,40) i;

INSERT INTO base.resource_access_grant SELECT app.uid('xgrant',i), app.uid('tenant',1), 'case', app.uid('case',1+:n_tenants*(i+20)),
  'principal', app.uid('principal',:n_principals+4), 'case.read', NULL, NULL FROM generate_series(1,3) i;

-- 20 deny rules a tenant
INSERT INTO base.resource_access_rule
SELECT app.uid('rule',(t-1)*20+j), app.uid('tenant',t), 'deny', 100+j,
  CASE WHEN j<=8 THEN 'any' WHEN j<=13 THEN 'principal' WHEN j<=16 THEN 'role' WHEN j<=18 THEN 'team' WHEN j=19 THEN 'organization' ELSE 'principal' END,
  CASE WHEN j<=8 THEN NULL WHEN j<=13 OR j=20 THEN app.uid('principal', t+:n_tenants*app.h('dp'||t||'.'||j,:n_principals/:n_tenants))
       WHEN j<=16 THEN app.uid('role',app.h('dr'||t||'.'||j,50)+1)
       WHEN j<=18 THEN app.uid('team',(t-1)*50+app.h('dt'||t||'.'||j,50)+1)
       ELSE app.uid('org',(t-1)*10+app.h('do'||t||'.'||j,10)+1) END,
  CASE WHEN j<=8 THEN 'case' WHEN j<=13 OR j=19 THEN 'team' WHEN j<=18 THEN 'organization' ELSE 'tenant' END,
  CASE WHEN j<=8 THEN app.uid('case', t+:n_tenants*app.h('dc'||t||'.'||j,:n_cases/:n_tenants))
       WHEN j<=13 OR j=19 THEN app.uid('team',(t-1)*50+app.h('dk'||t||'.'||j,50)+1)
       WHEN j<=18 THEN app.uid('org',(t-1)*10+app.h('dl'||t||'.'||j,10)+1)
       ELSE app.uid('tenant',t) END,
  CASE WHEN j%3=0 THEN 'case.read' END,
  CASE WHEN app.h('dx'||t||'.'||j,20)=0 THEN '2025-01-01'::timestamptz END, CASE WHEN app.h('dd'||t||'.'||j,20)=0 THEN '2025-01-01'::timestamptz END
FROM generate_series(1,:n_tenants) t, generate_series(1,20) j;
-- the worker is denied five cases of team 1
INSERT INTO base.resource_access_rule SELECT app.uid('prule',i), app.uid('tenant',1),'deny',1,'principal',app.uid('principal',:n_principals+3),'case',
  app.uid('case',1+:n_tenants*k),'case.read',NULL,NULL
 FROM (SELECT row_number() OVER () AS i, k FROM generate_series(0,:n_cases/:n_tenants-1) k WHERE app.h('ct'||(1+:n_tenants*k),50) = 0 LIMIT 5) q;

-- cases, in creation order, tenants interleaved (so a tenant's rows lie on about half of the pages)
INSERT INTO data.case_record
SELECT app.uid('tenant',t), app.uid('case',i), app.uid('org',(t-1)*10+(k-1)/5+1), app.uid('team',(t-1)*50+k),
  'C-'||lpad(i::text,8,'0'), 'case about '||md5('ti'||i),
  CASE WHEN c < 90 THEN 'normal' WHEN c < 98 THEN 'restricted' ELSE 'sealed' END,
  CASE WHEN s < 3 THEN 'open' WHEN s < 5 THEN 'pending' ELSE 'closed' END,
  app.uid('principal', t+:n_tenants*app.h('cb'||i,:n_principals/:n_tenants)), '2023-01-01'::timestamptz + i*interval '90 s'
FROM (SELECT i, (i-1)%:n_tenants+1 AS t, app.h('ct'||i,50)+1 AS k, app.h('cc'||i,100) AS c, app.h('cs'||i,10) AS s
      FROM generate_series(1,:n_cases) i) q;
INSERT INTO data.case_item
SELECT c.tenant_id, c.case_id, row_number() OVER (ORDER BY c.created_at, j), c.owning_org_id, c.owning_team_id, c.confidentiality_level,
  app.h(c.case_number||j, 1000), c.created_at + j*interval '1 hour'
FROM data.case_record c, generate_series(1,:items_per_case) j ORDER BY 3;
COMMIT;

CREATE INDEX ON base.organization(tenant_id);
CREATE INDEX ON base.team(org_id);
CREATE INDEX ON base.tenant_membership(tenant_id, principal_id) WHERE status = 'active';
CREATE INDEX ON base.role_definition(parent_role_code);
CREATE INDEX ON base.role_permission(permission_code, role_code);
CREATE INDEX pra_principal ON base.principal_role_assignment(principal_id, scope_type, scope_id) WHERE revoked_at IS NULL;
CREATE INDEX pra_scope ON base.principal_role_assignment(principal_id, scope_id) WHERE revoked_at IS NULL;
CREATE INDEX pra_role ON base.principal_role_assignment(role_code, tenant_id) WHERE revoked_at IS NULL;
CREATE INDEX ON base.team_membership(team_id, principal_id);
CREATE INDEX rag_resource ON base.resource_access_grant(tenant_id, resource_id, permission_code) WHERE revoked_at IS NULL;
CREATE INDEX rag_grantee ON base.resource_access_grant(grantee_id, tenant_id, permission_code) WHERE revoked_at IS NULL;
CREATE INDEX rar_target ON base.resource_access_rule(tenant_id, scope_id) WHERE disabled_at IS NULL;
CREATE INDEX rar_subject ON base.resource_access_rule(tenant_id, subject_type, subject_id) WHERE disabled_at IS NULL;

ALTER TABLE data.case_record ADD PRIMARY KEY (tenant_id, case_id);
CREATE UNIQUE INDEX ON data.case_record(tenant_id, case_number);
CREATE INDEX ON data.case_record(tenant_id, created_at DESC);
CREATE INDEX ON data.case_record(created_at DESC);
CREATE INDEX ON data.case_record(tenant_id, owning_team_id);
CREATE INDEX ON data.case_record(tenant_id, owning_org_id);
CREATE INDEX ON data.case_record(tenant_id, status) WHERE status = 'open';
ALTER TABLE data.case_item ADD PRIMARY KEY (tenant_id, case_id, item_id);
ALTER TABLE data.case_record ENABLE ROW LEVEL SECURITY;
ALTER TABLE data.case_item ENABLE ROW LEVEL SECURITY;
CREATE INDEX ON data.case_item(tenant_id, owning_team_id);
CREATE INDEX ON data.case_item(tenant_id, owning_org_id);
ALTER TABLE data.case_inbox ADD PRIMARY KEY (tenant_id, case_id);
CREATE UNIQUE INDEX ON data.case_inbox(tenant_id, case_number);
CREATE INDEX ON data.case_inbox(tenant_id, created_at DESC);
CREATE INDEX ON data.case_inbox(tenant_id, owning_team_id);
ALTER TABLE data.case_inbox ENABLE ROW LEVEL SECURITY;
VACUUM (FREEZE, ANALYZE);
