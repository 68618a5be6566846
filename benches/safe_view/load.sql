-- A million people of one tenant in a hundred teams; somebody who sees one team and no personal data, and somebody who sees
-- that team's personal data as well.
CREATE EXTENSION authz_ext;
INSERT INTO authz.tenant (tenant_id, slug, name) VALUES (md5('tenant')::uuid, 'acme', 'acme');
INSERT INTO authz.team (tenant_id, team_id, name)
SELECT md5('tenant')::uuid, md5('team ' || i)::uuid, 'team ' || i FROM generate_series(0, 99) AS i;
INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
VALUES ('person.view', 'person', 'view'), ('person.view_pii', 'person', 'view_pii');
INSERT INTO authz.role_definition (role_code, role_name, role_kind) VALUES ('viewer', 'viewer', 'functional'), ('pii', 'pii', 'functional');
INSERT INTO authz.role_permission (role_code, permission_code) VALUES ('viewer', 'person.view'), ('pii', 'person.view_pii');
INSERT INTO authz.principal (principal_id, principal_type, external_id, status)
SELECT md5(who)::uuid, 'human', who, 'active' FROM unnest('{masked,unmasked}'::text[]) AS who;
INSERT INTO authz.tenant_membership (tenant_id, principal_id, status, member_kind)
SELECT md5('tenant')::uuid, principal_id, 'active', 'member' FROM authz.principal;
INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
SELECT md5('tenant')::uuid, md5(v.who)::uuid, v.role, 'team', md5('team 5')::uuid::text
FROM (VALUES ('masked', 'viewer'), ('unmasked', 'viewer'), ('unmasked', 'pii')) AS v (who, role);

CREATE TABLE person (
    tenant_id uuid NOT NULL REFERENCES authz.tenant,
    person_id uuid NOT NULL,
    team_id uuid NOT NULL,
    name text, city text, status text, created_at timestamptz,
    email text, phone text, born date, salary integer,
    PRIMARY KEY (tenant_id, person_id)
);
INSERT INTO person
SELECT md5('tenant')::uuid, md5('person ' || i)::uuid, md5('team ' || i % 100)::uuid, 'name ' || i, 'city ' || i % 1000, 'active', now(),
       'person' || i || '@example.org', '+49 30 ' || i, date '1950-01-01' + i % 20000, 30000 + i % 50000
FROM generate_series(1, 1000000) AS i;
CREATE INDEX ON person (person_id);
CREATE INDEX ON person (tenant_id, team_id);
CREATE ROLE safe_view_owner NOLOGIN;
CREATE ROLE safe_view_reader LOGIN;
GRANT SELECT ON person TO safe_view_reader;
GRANT EXECUTE ON FUNCTION authz_set_session TO safe_view_reader;
SELECT * FROM authz_protect('person', 'person', key => 'person_id', tenant => 'tenant_id', team => 'team_id');
VACUUM (ANALYZE, FREEZE) person;
SELECT authz_classify('person', c, 'internal', 'benchmark') FROM unnest('{name,city,status,created_at}'::text[]) AS c;
SELECT authz_classify('person', c, 'pii', 'benchmark') FROM unnest('{email,phone,born,salary}'::text[]) AS c;
SELECT authz_mask('person', 'email', 'fixed', '{"value": "hidden"}'), authz_mask('person', 'phone', 'partial'),
       authz_mask('person', 'born', 'generalise', '{"to": "year"}'), authz_mask('person', 'salary', 'generalise', '{"step": 10000}');
SELECT authz_create_safe_view('person_safe', 'person', owner => 'safe_view_owner');
-- The same with a hash in place of what is fixed.
SELECT authz_mask('person', 'email', 'hash');
SELECT authz_create_safe_view('person_hashed', 'person', owner => 'safe_view_owner');
GRANT SELECT ON person_safe, person_hashed TO safe_view_reader;
