-- The extension: the same facts as in schema base, and one policy that calls it. Variables: n_principals.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET synchronous_commit = off;

INSERT INTO authz.tenant (tenant_id, slug, name) SELECT tenant_id, replace(name, ' ', '-'), name FROM base.tenant;
INSERT INTO authz.organization (tenant_id, organization_id, name) SELECT tenant_id, org_id, name FROM base.organization;
INSERT INTO authz.team (tenant_id, team_id, organization_id, name) SELECT tenant_id, team_id, org_id, name FROM base.team;
INSERT INTO authz.principal (principal_id, status) SELECT principal_id, status FROM base.principal;
INSERT INTO authz.tenant_membership (tenant_id, principal_id, status, joined_at)
SELECT tenant_id, principal_id, status, '2023-01-01' FROM base.tenant_membership;
INSERT INTO authz.role_definition (role_code) SELECT role_code FROM base.role_definition;
INSERT INTO authz.role_inheritance (role_code, inherited_role_code, valid_from)
SELECT role_code, parent_role_code, '2023-01-01' FROM base.role_definition WHERE parent_role_code IS NOT NULL;
INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
SELECT permission_code, split_part(permission_code, '.', 1), split_part(permission_code, '.', 2) FROM base.permission_definition;
INSERT INTO authz.role_permission (role_code, permission_code, valid_from)
SELECT role_code, permission_code, '2023-01-01' FROM base.role_permission;
INSERT INTO authz.team_membership_history (tenant_id, team_id, principal_id, valid_from, valid_until)
SELECT tenant_id, team_id, principal_id, valid_from, valid_until FROM base.team_membership;

INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column, organization_column, team_column, confidentiality_column)
VALUES ('case', 'data.case_record', 'case_id', 'tenant_id', 'owning_org_id', 'owning_team_id', 'confidentiality_level');

-- Of two that say the same, the extension keeps the one that lasts longer.
INSERT INTO authz.principal_role_assignment
       (assignment_id, tenant_id, principal_id, role_code, scope_type, scope_id, granted_at, expires_at, revoked_at)
SELECT DISTINCT ON (principal_id, role_code, scope_type, scope_id) assignment_id, tenant_id, principal_id, role_code, scope_type,
       scope_id::text, '2024-01-01', expires_at, revoked_at
  FROM base.principal_role_assignment
 ORDER BY principal_id, role_code, scope_type, scope_id, least(coalesce(expires_at, 'infinity'), coalesce(revoked_at, 'infinity')) DESC;

-- In two steps, since the triggers' statements are planned for the table as it was last analyzed.
CREATE TABLE app.grants AS
SELECT DISTINCT ON (g.tenant_id, resource_id, grantee_id, permission_code) grant_id, g.tenant_id, resource_id, grantee_type,
       coalesce(d.role_code, grantee_id::text) AS grantee_id, permission_code, expires_at, revoked_at
  FROM base.resource_access_grant g LEFT JOIN base.role_definition d ON g.grantee_type = 'role' AND d.role_id = g.grantee_id
 ORDER BY g.tenant_id, resource_id, grantee_id, permission_code,
          least(coalesce(expires_at, 'infinity'), coalesce(revoked_at, 'infinity')) DESC;
CREATE PROCEDURE app.take_grants(first boolean) LANGUAGE sql AS $$
INSERT INTO authz.resource_access_grant
       (grant_id, tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code, granted_at, expires_at, revoked_at)
SELECT grant_id, tenant_id, 'case', resource_id::text, grantee_type, grantee_id, permission_code, '2024-01-01', expires_at, revoked_at
  FROM app.grants WHERE (grant_id < '08000000-0000-0000-0000-000000000000') = first $$;
CALL app.take_grants(true);
ANALYZE authz.resource_access_grant;
CALL app.take_grants(false);
INSERT INTO authz.resource_access_rule
       (rule_id, tenant_id, effect, priority, grantee_type, grantee_id, resource_type, resource_id, permission_code, valid_from, valid_until)
SELECT rule_id, r.tenant_id, effect, priority, subject_type, coalesce(d.role_code, subject_id::text), scope_type, scope_id::text,
       permission_code, '2024-01-01', least(expires_at, disabled_at)
  FROM base.resource_access_rule r LEFT JOIN base.role_definition d ON r.subject_type = 'role' AND d.role_id = r.subject_id;

-- Who sees everything is asked once for a query where constraints promise that every row's tenant is there.
ALTER TABLE data.case_record ADD FOREIGN KEY (tenant_id) REFERENCES authz.tenant (tenant_id);

-- The policy that a user would write. A case is a registered resource; an item carries its case's columns, as it does for
-- the policies written by hand.
CALL app.variant_begin('ours');
CREATE POLICY ours ON data.case_record TO app_ours USING (authz_can('case.read', case_id));
CREATE POLICY ours ON data.case_item TO app_ours USING (authz_row('case.read', key => case_id, tenant => tenant_id,
    organization => owning_org_id, team => owning_team_id, confidentiality => confidentiality_level));
CREATE POLICY ours ON data.case_inbox TO app_ours USING (authz_row('case.read', key => case_id, tenant => tenant_id,
    organization => owning_org_id, team => owning_team_id, confidentiality => confidentiality_level));
-- Principals that log in as database roles of their own: nobody has to set a session.
CREATE ROLE app_ours_mgr LOGIN IN ROLE app_ours;
UPDATE authz.principal SET db_role = 'app_ours_mgr' WHERE principal_id = app.uid('principal', :n_principals + 2);
