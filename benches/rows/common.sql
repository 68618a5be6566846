-- Helpers every variant file uses, and the oracle (the policy as one set-based query, used to check every variant).
\set ON_ERROR_STOP on
SET client_min_messages = warning;
-- one login role a variant: every variant lives side by side on the same tables, as policies TO its own role,
-- so a run interleaves variants by connecting as app_<variant> -- no DDL between measurements.
CREATE OR REPLACE PROCEDURE app.variant_begin(v text, opts text DEFAULT '') LANGUAGE plpgsql AS $$
DECLARE p record;
BEGIN
  FOR p IN SELECT schemaname, tablename, policyname FROM pg_policies WHERE policyname IN (v, v||'_aud') LOOP
    EXECUTE format('DROP POLICY %I ON %I.%I', p.policyname, p.schemaname, p.tablename);
  END LOOP;
  CALL app.variant_role('app_'||v, opts);
END $$;
CREATE OR REPLACE PROCEDURE app.variant_role(r text, opts text DEFAULT '') LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = r) THEN
    EXECUTE format('DROP OWNED BY %I', r); EXECUTE format('DROP ROLE %I', r);
  END IF;
  EXECUTE format('CREATE ROLE %I LOGIN %s', r, opts);
  EXECUTE format('GRANT USAGE ON SCHEMA data, app TO %I', r);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA data TO %I', r);
END $$;
-- the same policy on both protected tables (they have the same column names)
CREATE OR REPLACE PROCEDURE app.variant_policy(v text, using_expr text, aud boolean DEFAULT false) LANGUAGE plpgsql AS $$
DECLARE t text; n text := v || CASE WHEN aud THEN '_aud' ELSE '' END;
BEGIN
  IF aud THEN CALL app.variant_role('app_'||n); END IF;
  FOREACH t IN ARRAY ARRAY['case_record','case_item','case_inbox'] LOOP
    EXECUTE format('CREATE POLICY %I ON data.%I FOR ALL TO %I USING (%s)', n, t, 'app_'||n, using_expr);
  END LOOP;
END $$;

-- The oracle.  Every case the principal may read, session tenant p_tenant (null: all of the principal's tenants).
CREATE OR REPLACE FUNCTION app.oracle(p uuid, p_tenant uuid) RETURNS TABLE(tenant_id uuid, case_id uuid)
LANGUAGE sql STABLE AS $$
WITH RECURSIVE anc(role_code, anc) AS (
  SELECT role_code, role_code FROM base.role_definition
  UNION SELECT anc.role_code, r.parent_role_code FROM anc JOIN base.role_definition r ON r.role_code = anc.anc WHERE r.parent_role_code IS NOT NULL),
tenants AS (
  SELECT m.tenant_id FROM base.tenant_membership m JOIN base.principal pr USING (principal_id)
  WHERE pr.principal_id = p AND pr.status = 'active' AND m.status = 'active' AND (p_tenant IS NULL OR m.tenant_id = p_tenant)),
asg AS (
  SELECT * FROM base.principal_role_assignment a WHERE a.principal_id = p AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())),
myteams AS (
  SELECT tm.tenant_id, tm.team_id, t.org_id FROM base.team_membership tm JOIN base.team t USING (team_id)
  WHERE tm.principal_id = p AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now())),
myroles AS (SELECT DISTINCT a.tenant_id, r.role_id FROM asg a JOIN anc ON anc.role_code = a.role_code JOIN base.role_definition r ON r.role_code = anc.anc),
scopes AS (SELECT DISTINCT rp.permission_code, a.scope_type, a.scope_id, a.tenant_id FROM asg a JOIN anc USING (role_code) JOIN base.role_permission rp ON rp.role_code = anc.anc),
acl AS (
  SELECT DISTINCT g.tenant_id, g.resource_id FROM base.resource_access_grant g
  WHERE g.resource_type = 'case' AND g.permission_code = 'case.read' AND g.revoked_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > now())
    AND ((g.grantee_type = 'principal' AND g.grantee_id = p)
      OR (g.grantee_type = 'team' AND EXISTS (SELECT 1 FROM myteams t WHERE t.team_id = g.grantee_id AND t.tenant_id = g.tenant_id))
      OR (g.grantee_type = 'organization' AND EXISTS (SELECT 1 FROM myteams t WHERE t.org_id = g.grantee_id AND t.tenant_id = g.tenant_id))
      OR (g.grantee_type = 'role' AND EXISTS (SELECT 1 FROM myroles r WHERE r.role_id = g.grantee_id AND (r.tenant_id IS NULL OR r.tenant_id = g.tenant_id))))),
deny AS (
  SELECT d.tenant_id, d.scope_id FROM base.resource_access_rule d
  WHERE d.effect = 'deny' AND d.disabled_at IS NULL AND (d.expires_at IS NULL OR d.expires_at > now()) AND (d.permission_code IS NULL OR d.permission_code = 'case.read')
    AND (d.subject_type = 'any' OR (d.subject_type = 'principal' AND d.subject_id = p)
      OR (d.subject_type = 'team' AND EXISTS (SELECT 1 FROM myteams t WHERE t.team_id = d.subject_id AND t.tenant_id = d.tenant_id))
      OR (d.subject_type = 'organization' AND EXISTS (SELECT 1 FROM myteams t WHERE t.org_id = d.subject_id AND t.tenant_id = d.tenant_id))
      OR (d.subject_type = 'role' AND EXISTS (SELECT 1 FROM myroles r WHERE r.role_id = d.subject_id AND (r.tenant_id IS NULL OR r.tenant_id = d.tenant_id)))))
SELECT c.tenant_id, c.case_id FROM data.case_record c JOIN tenants t ON t.tenant_id = c.tenant_id
 WHERE (EXISTS (SELECT 1 FROM scopes s WHERE s.permission_code = 'case.read' AND (s.scope_type = 'platform' OR (s.tenant_id = c.tenant_id AND s.scope_id IN (c.tenant_id, c.owning_org_id, c.owning_team_id, c.case_id))))
     OR EXISTS (SELECT 1 FROM acl WHERE acl.tenant_id = c.tenant_id AND acl.resource_id = c.case_id))
   AND (c.confidentiality_level = 'normal'
     OR EXISTS (SELECT 1 FROM scopes s WHERE s.permission_code = 'case.view_' || c.confidentiality_level AND (s.scope_type = 'platform' OR (s.tenant_id = c.tenant_id AND s.scope_id IN (c.tenant_id, c.owning_org_id, c.owning_team_id, c.case_id)))))
   AND NOT EXISTS (SELECT 1 FROM deny d WHERE d.tenant_id = c.tenant_id AND d.scope_id IN (c.tenant_id, c.owning_org_id, c.owning_team_id, c.case_id))
$$;
