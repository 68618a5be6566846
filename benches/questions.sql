-- Who is asked about what. A question is (principal, tenant, resource); samples are in random order, and the same in
-- every run. Variables: n_principals, n_cases, n_sample, n_few.
\set ON_ERROR_STOP on
\set n_tenants 100
SET authz.cache_size = '1GB';
SELECT setseed(0.5) \gset
SELECT bench.id('principal', :n_principals + 1) AS aud, bench.id('principal', :n_principals + 2) AS mgr,
       bench.id('principal', :n_principals + 3) AS wrk, bench.id('tenant', 1) AS tenant1,
       (SELECT principal_id FROM authz.principal WHERE status = 'suspended' ORDER BY 1 LIMIT 1) AS gone \gset

-- == For comparing the answers: principals of all kinds, with cases of their own tenant, of their own teams, that they
-- have grants on, and of others ==
CREATE TABLE bench.compared AS
SELECT p.principal_id AS principal, c.tenant_id AS tenant, c.case_id AS resource,
       (ARRAY['case.view', 'case.view', 'case.view', 'case.update', 'case.comment'])[1 + n % 5] AS permission
  FROM (SELECT n, bench.id('principal', 1 + bench.pick('qp' || n, :n_principals)) AS principal_id FROM generate_series(1, 4000) n) p
  JOIN LATERAL (SELECT * FROM authz.tenant_membership m WHERE m.principal_id = p.principal_id ORDER BY tenant_id LIMIT 1) m ON true
  JOIN LATERAL (
      SELECT * FROM bench.case_record c WHERE c.case_id =
          CASE n % 4 WHEN 0 THEN bench.id('case', 1 + bench.pick('qc' || n, :n_cases))
                     WHEN 1 THEN (SELECT resource_id::uuid FROM authz.resource_access_grant g
                                   WHERE g.grantee_type = 'principal' AND g.grantee_id = p.principal_id::text ORDER BY grant_id LIMIT 1)
                     ELSE bench.id('case', (SELECT right(slug, -7)::int FROM authz.tenant t WHERE t.tenant_id = m.tenant_id)
                                           + :n_tenants * bench.pick('qd' || n, :n_cases / :n_tenants)) END) c ON true
UNION ALL
SELECT :'wrk', tenant_id, case_id, 'case.view' FROM (SELECT * FROM bench.case_record WHERE tenant_id = :'tenant1' ORDER BY case_id LIMIT 400) x
UNION ALL
SELECT :'mgr', tenant_id, case_id, 'case.view' FROM (SELECT * FROM bench.case_record WHERE tenant_id = :'tenant1' ORDER BY case_number LIMIT 200) x
UNION ALL
SELECT :'aud', tenant_id, case_id, 'case.view' FROM (SELECT * FROM bench.case_record ORDER BY case_id LIMIT 200) x
UNION ALL
SELECT r.grantee_principal_id, c.tenant_id, c.case_id, 'case.view'
  FROM authz.resource_access_rule r JOIN bench.case_record c ON c.tenant_id = r.tenant_id AND c.owning_team_id = r.resource_team_id
 WHERE r.grantee_type = 'principal' AND bench.pick(c.case_number, 100) = 0
 UNION ALL
SELECT bench.id('principal', 1 + bench.pick(c.case_number, :n_principals / :n_tenants) * :n_tenants), c.tenant_id, c.case_id, 'case.view'
  FROM authz.resource_access_rule r JOIN bench.case_record c ON c.tenant_id = r.tenant_id AND c.case_id::text = r.resource_id
 WHERE r.resource_type = 'case';

-- == For timing ==
CREATE TABLE bench.mgr AS
SELECT :'mgr'::uuid AS principal, tenant_id AS tenant, case_id AS resource FROM bench.case_record WHERE tenant_id = :'tenant1' ORDER BY random() LIMIT :n_sample;
CREATE TABLE bench.wrk AS
SELECT :'wrk'::uuid AS principal, tenant_id AS tenant, case_id AS resource FROM bench.case_record WHERE tenant_id = :'tenant1' ORDER BY random() LIMIT :n_sample;
CREATE TABLE bench.mgr_yes AS SELECT * FROM bench.mgr WHERE authz_can(principal, 'case.view', resource);
CREATE TABLE bench.wrk_yes AS SELECT * FROM bench.wrk WHERE authz_can(principal, 'case.view', resource);
CREATE TABLE bench.wrk_no AS SELECT * FROM bench.wrk WHERE NOT authz_can(principal, 'case.view', resource);
CREATE TABLE bench.aud AS
SELECT :'aud'::uuid AS principal, tenant_id AS tenant, case_id AS resource
  FROM (SELECT bench.id('case', 1 + bench.pick('qa' || n, :n_cases)) AS case_id FROM generate_series(1, :n_sample) n) q
  JOIN bench.case_record USING (case_id) ORDER BY random();
-- More than a backend remembers the places of, whatever the scale.
CREATE TABLE bench.forgotten AS
SELECT :'aud'::uuid AS principal, tenant_id AS tenant, case_id AS resource
  FROM (SELECT case_id, tenant_id FROM bench.case_record ORDER BY md5(case_id::text) LIMIT 200000) AS x;
CREATE TABLE bench.foreigner AS SELECT :'mgr'::uuid AS principal, tenant, resource FROM bench.aud WHERE tenant <> :'tenant1';
CREATE TABLE bench.gone AS SELECT :'gone'::uuid AS principal, tenant, resource FROM bench.mgr;
CREATE TABLE bench.missing AS SELECT principal, tenant, gen_random_uuid() AS resource FROM bench.mgr;
-- A thousand ordinary principals, in turns.
CREATE TABLE bench.many AS
SELECT bench.id('principal', p) AS principal, tenant_id AS tenant, case_id AS resource
  FROM (SELECT p, bench.id('case', (p - 1) % :n_tenants + 1 + :n_tenants * bench.pick('qm' || p || '.' || k, :n_cases / :n_tenants)) AS case_id
          FROM generate_series(1, 1000) p, generate_series(1, :n_sample / 1000) k) q
  JOIN bench.case_record USING (case_id) ORDER BY random();
CREATE TABLE bench.in_tenant AS SELECT principal, tenant, tenant AS resource FROM bench.mgr;
CREATE TABLE bench.in_organization AS
SELECT principal, tenant, bench.id('org', 1 + bench.pick('qo' || resource, 10)) AS resource FROM bench.mgr;
CREATE TABLE bench.in_team AS
SELECT principal, tenant, bench.id('team', 1 + bench.pick('qt' || resource, 50)) AS resource FROM bench.mgr;
CREATE TABLE bench.in_project AS
SELECT principal, tenant, bench.id('project', 1 + bench.pick('qj' || resource, 20)) AS resource FROM bench.mgr;
CREATE TABLE bench.wrk_team AS
SELECT principal, tenant, bench.id('team', 1 + bench.pick('qt' || resource, 50)) AS resource FROM bench.wrk;

-- For the comparison with rules written by hand: fewer, since those take their time.
CREATE TABLE bench.few_mgr AS SELECT * FROM bench.mgr LIMIT :n_few;
CREATE TABLE bench.few_wrk AS SELECT * FROM bench.wrk LIMIT :n_few;
CREATE TABLE bench.few_aud AS SELECT * FROM bench.aud LIMIT :n_few;
CREATE TABLE bench.few_many AS SELECT * FROM bench.many LIMIT :n_few;

-- For sections of their own.
CREATE TABLE bench.ordinary AS
SELECT DISTINCT ON (principal) principal, 0 AS size, resource, lead(resource) OVER (ORDER BY principal) AS other FROM bench.many ORDER BY principal, resource;
CREATE TABLE bench.steady AS
SELECT m.* FROM bench.many m
  JOIN (SELECT principal FROM bench.ordinary WHERE other IS NOT NULL ORDER BY principal LIMIT 100) o USING (principal) ORDER BY random();
CREATE TABLE bench.busy AS
SELECT p % 16 AS part, bench.id('principal', p) AS principal,
       bench.id('case', (p - 1) % :n_tenants + 1 + :n_tenants * bench.pick('qb' || p, :n_cases / :n_tenants)) AS resource
  FROM generate_series(1, 1000) p ORDER BY random();
CREATE INDEX ON bench.busy (part);
CREATE TABLE bench.other AS
SELECT n, bench.id('principal', 9000 + n) AS principal FROM generate_series(0, 99) n;
