-- V3: the full policy as a plpgsql SECURITY DEFINER STABLE function, called per row with the row's columns.
-- V3t: the same behind a tenant InitPlan conjunct (what a careful user adds so that the tenant index can be used).
CALL app.variant_begin('v3');
DO $do$
DECLARE
 body text := $b$
  IF NOT EXISTS (SELECT 1 FROM base.principal p JOIN base.tenant_membership m ON m.principal_id = p.principal_id
                  WHERE p.principal_id = v_p AND p.status = 'active' AND m.tenant_id = p_tenant AND m.status = 'active') THEN RETURN false; END IF;
  -- allow: a role at a matching scope, or an ACL grant
  IF NOT EXISTS (
      SELECT 1 FROM base.principal_role_assignment a
       WHERE a.principal_id = v_p AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
         AND (a.scope_type = 'platform' OR (a.tenant_id = p_tenant AND a.scope_id IN (p_tenant, p_org, p_team, p_case)))
         AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                       UNION SELECT d.parent_role_code FROM r JOIN base.role_definition d ON d.role_code = r.role_code WHERE d.parent_role_code IS NOT NULL)
                     SELECT 1 FROM r JOIN base.role_permission rp ON rp.role_code = r.role_code WHERE rp.permission_code = v_perm))
   AND NOT EXISTS (
      SELECT 1 FROM base.resource_access_grant g
       WHERE g.tenant_id = p_tenant AND g.resource_type = 'case' AND g.resource_id = p_case AND g.permission_code = v_perm
         AND g.revoked_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > now())
         AND CASE g.grantee_type
               WHEN 'principal' THEN g.grantee_id = v_p
               WHEN 'team' THEN EXISTS (SELECT 1 FROM base.team_membership tm WHERE tm.principal_id = v_p AND tm.team_id = g.grantee_id AND tm.tenant_id = p_tenant
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'organization' THEN EXISTS (SELECT 1 FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
                                         WHERE tm.principal_id = v_p AND t.org_id = g.grantee_id AND tm.tenant_id = p_tenant
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'role' THEN EXISTS (SELECT 1 FROM base.principal_role_assignment a
                                         WHERE a.principal_id = v_p AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
                                           AND (a.scope_type = 'platform' OR a.tenant_id = p_tenant)
                                           AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                                                 UNION SELECT d.parent_role_code FROM r JOIN base.role_definition d ON d.role_code = r.role_code WHERE d.parent_role_code IS NOT NULL)
                                               SELECT 1 FROM r JOIN base.role_definition d ON d.role_code = r.role_code WHERE d.role_id = g.grantee_id))
             END)
  THEN RETURN false; END IF;
  -- confidentiality
  IF p_conf <> 'normal' AND NOT EXISTS (
      SELECT 1 FROM base.principal_role_assignment a
       WHERE a.principal_id = v_p AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
         AND (a.scope_type = 'platform' OR (a.tenant_id = p_tenant AND a.scope_id IN (p_tenant, p_org, p_team, p_case)))
         AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                       UNION SELECT d.parent_role_code FROM r JOIN base.role_definition d ON d.role_code = r.role_code WHERE d.parent_role_code IS NOT NULL)
                     SELECT 1 FROM r JOIN base.role_permission rp ON rp.role_code = r.role_code WHERE rp.permission_code = 'case.view_' || p_conf))
  THEN RETURN false; END IF;
  -- deny rules
  RETURN NOT EXISTS (
      SELECT 1 FROM base.resource_access_rule d
       WHERE d.tenant_id = p_tenant AND d.scope_id IN (p_tenant, p_org, p_team, p_case)
         AND d.effect = 'deny' AND d.disabled_at IS NULL AND (d.expires_at IS NULL OR d.expires_at > now())
         AND (d.permission_code IS NULL OR d.permission_code = v_perm)
         AND CASE d.subject_type
               WHEN 'any' THEN true
               WHEN 'principal' THEN d.subject_id = v_p
               WHEN 'team' THEN EXISTS (SELECT 1 FROM base.team_membership tm WHERE tm.principal_id = v_p AND tm.team_id = d.subject_id AND tm.tenant_id = p_tenant
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'organization' THEN EXISTS (SELECT 1 FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
                                         WHERE tm.principal_id = v_p AND t.org_id = d.subject_id AND tm.tenant_id = p_tenant
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'role' THEN EXISTS (SELECT 1 FROM base.principal_role_assignment a
                                         WHERE a.principal_id = v_p AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
                                           AND (a.scope_type = 'platform' OR a.tenant_id = p_tenant)
                                           AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                                                 UNION SELECT d2.parent_role_code FROM r JOIN base.role_definition d2 ON d2.role_code = r.role_code WHERE d2.parent_role_code IS NOT NULL)
                                               SELECT 1 FROM r JOIN base.role_definition d2 ON d2.role_code = r.role_code WHERE d2.role_id = d.subject_id))
             END);
END $b$;
BEGIN
  EXECUTE format($f$CREATE OR REPLACE FUNCTION app.v3_visible(p_tenant uuid, p_case uuid, p_org uuid, p_team uuid, p_conf text) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L$f$,
    $p$DECLARE v_p uuid := current_setting('app.principal_id')::uuid; v_t uuid := nullif(current_setting('app.tenant_id', true), '')::uuid; v_perm text := 'case.read';
BEGIN
  IF p_tenant <> v_t THEN RETURN false; END IF;$p$ || body);
  EXECUTE format($f$CREATE OR REPLACE FUNCTION app.v3_check(v_p uuid, v_perm text, v_tenant uuid, v_case uuid) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L$f$,
    $p$DECLARE p_tenant uuid; p_case uuid; p_org uuid; p_team uuid; p_conf text;
BEGIN
  SELECT c.tenant_id, c.case_id, c.owning_org_id, c.owning_team_id, c.confidentiality_level INTO p_tenant, p_case, p_org, p_team, p_conf
    FROM data.case_record c WHERE c.tenant_id = v_tenant AND c.case_id = v_case;
  IF NOT FOUND THEN RETURN false; END IF;$p$ || body);
END $do$;
CALL app.variant_policy('v3', $$ app.v3_visible(tenant_id, case_id, owning_org_id, owning_team_id, confidentiality_level) $$);
CALL app.variant_begin('v3t');
CALL app.variant_policy('v3t', $$ tenant_id = (select nullif(current_setting('app.tenant_id', true),'')::uuid)
  AND app.v3_visible(tenant_id, case_id, owning_org_id, owning_team_id, confidentiality_level) $$);
