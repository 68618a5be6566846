-- V4: the full policy as one SQL-language SECURITY DEFINER STABLE function, called per row.  V4t: behind a tenant InitPlan conjunct.
-- (A SQL function with a sub-select in it is never inlined, SECURITY DEFINER or not.)  Its expression is v5.s expression; change both alike.
CALL app.variant_begin('v4');
CREATE OR REPLACE FUNCTION app.v4_visible(p_tenant uuid, p_case uuid, p_org uuid, p_team uuid, p_conf text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
SELECT coalesce(p_tenant = nullif(current_setting('app.tenant_id', true), '')::uuid, true)
  AND EXISTS (SELECT 1 FROM base.principal p JOIN base.tenant_membership m ON m.principal_id = p.principal_id
             WHERE p.principal_id = current_setting('app.principal_id')::uuid AND p.status = 'active' AND m.tenant_id = p_tenant AND m.status = 'active')
  AND (EXISTS (
      SELECT 1 FROM base.principal_role_assignment a
       WHERE a.principal_id = current_setting('app.principal_id')::uuid AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
         AND (a.scope_type = 'platform' OR (a.tenant_id = p_tenant AND a.scope_id IN (p_tenant, p_org, p_team, p_case)))
         AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                       UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                     SELECT 1 FROM r JOIN base.role_permission rp ON rp.role_code = r.role_code WHERE rp.permission_code = 'case.read'))
    OR EXISTS (
      SELECT 1 FROM base.resource_access_grant g
       WHERE g.tenant_id = p_tenant AND g.resource_type = 'case' AND g.resource_id = p_case AND g.permission_code = 'case.read'
         AND g.revoked_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > now())
         AND CASE g.grantee_type WHEN 'any' THEN true
               WHEN 'principal' THEN g.grantee_id = current_setting('app.principal_id')::uuid
               WHEN 'team' THEN EXISTS (SELECT 1 FROM base.team_membership tm WHERE tm.principal_id = current_setting('app.principal_id')::uuid AND tm.team_id = g.grantee_id AND tm.tenant_id = p_tenant
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'organization' THEN EXISTS (SELECT 1 FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
                                         WHERE tm.principal_id = current_setting('app.principal_id')::uuid AND t.org_id = g.grantee_id AND tm.tenant_id = p_tenant
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'role' THEN EXISTS (SELECT 1 FROM base.principal_role_assignment a
                                         WHERE a.principal_id = current_setting('app.principal_id')::uuid AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
                                           AND (a.scope_type = 'platform' OR a.tenant_id = p_tenant)
                                           AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                                                 UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                                               SELECT 1 FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.role_id = g.grantee_id))
             END))
  AND (p_conf = 'normal' OR EXISTS (
      SELECT 1 FROM base.principal_role_assignment a
       WHERE a.principal_id = current_setting('app.principal_id')::uuid AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
         AND (a.scope_type = 'platform' OR (a.tenant_id = p_tenant AND a.scope_id IN (p_tenant, p_org, p_team, p_case)))
         AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                       UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                     SELECT 1 FROM r JOIN base.role_permission rp ON rp.role_code = r.role_code WHERE rp.permission_code = 'case.view_' || p_conf)))
  AND NOT EXISTS (
      SELECT 1 FROM base.resource_access_rule d
       WHERE d.tenant_id = p_tenant AND d.scope_id IN (p_tenant, p_org, p_team, p_case)
         AND d.effect = 'deny' AND d.disabled_at IS NULL AND (d.expires_at IS NULL OR d.expires_at > now())
         AND (d.permission_code IS NULL OR d.permission_code = 'case.read')
         AND CASE d.subject_type WHEN 'any' THEN true
               WHEN 'principal' THEN d.subject_id = current_setting('app.principal_id')::uuid
               WHEN 'team' THEN EXISTS (SELECT 1 FROM base.team_membership tm WHERE tm.principal_id = current_setting('app.principal_id')::uuid AND tm.team_id = d.subject_id AND tm.tenant_id = p_tenant
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'organization' THEN EXISTS (SELECT 1 FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
                                         WHERE tm.principal_id = current_setting('app.principal_id')::uuid AND t.org_id = d.subject_id AND tm.tenant_id = p_tenant
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'role' THEN EXISTS (SELECT 1 FROM base.principal_role_assignment a
                                         WHERE a.principal_id = current_setting('app.principal_id')::uuid AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
                                           AND (a.scope_type = 'platform' OR a.tenant_id = p_tenant)
                                           AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                                                 UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                                               SELECT 1 FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.role_id = d.subject_id))
             END)
$f$;
CREATE OR REPLACE FUNCTION app.v4_check(p_principal uuid, p_perm text, p_t uuid, p_c uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
SELECT EXISTS (SELECT 1 FROM data.case_record c WHERE c.tenant_id = p_t AND c.case_id = p_c
  AND EXISTS (SELECT 1 FROM base.principal p JOIN base.tenant_membership m ON m.principal_id = p.principal_id
             WHERE p.principal_id = p_principal AND p.status = 'active' AND m.tenant_id = c.tenant_id AND m.status = 'active')
  AND (EXISTS (
      SELECT 1 FROM base.principal_role_assignment a
       WHERE a.principal_id = p_principal AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
         AND (a.scope_type = 'platform' OR (a.tenant_id = c.tenant_id AND a.scope_id IN (c.tenant_id, c.owning_org_id, c.owning_team_id, c.case_id)))
         AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                       UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                     SELECT 1 FROM r JOIN base.role_permission rp ON rp.role_code = r.role_code WHERE rp.permission_code = p_perm))
    OR EXISTS (
      SELECT 1 FROM base.resource_access_grant g
       WHERE g.tenant_id = c.tenant_id AND g.resource_type = 'case' AND g.resource_id = c.case_id AND g.permission_code = p_perm
         AND g.revoked_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > now())
         AND CASE g.grantee_type WHEN 'any' THEN true
               WHEN 'principal' THEN g.grantee_id = p_principal
               WHEN 'team' THEN EXISTS (SELECT 1 FROM base.team_membership tm WHERE tm.principal_id = p_principal AND tm.team_id = g.grantee_id AND tm.tenant_id = c.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'organization' THEN EXISTS (SELECT 1 FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
                                         WHERE tm.principal_id = p_principal AND t.org_id = g.grantee_id AND tm.tenant_id = c.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'role' THEN EXISTS (SELECT 1 FROM base.principal_role_assignment a
                                         WHERE a.principal_id = p_principal AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
                                           AND (a.scope_type = 'platform' OR a.tenant_id = c.tenant_id)
                                           AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                                                 UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                                               SELECT 1 FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.role_id = g.grantee_id))
             END))
  AND (c.confidentiality_level = 'normal' OR EXISTS (
      SELECT 1 FROM base.principal_role_assignment a
       WHERE a.principal_id = p_principal AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
         AND (a.scope_type = 'platform' OR (a.tenant_id = c.tenant_id AND a.scope_id IN (c.tenant_id, c.owning_org_id, c.owning_team_id, c.case_id)))
         AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                       UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                     SELECT 1 FROM r JOIN base.role_permission rp ON rp.role_code = r.role_code WHERE rp.permission_code = 'case.view_' || c.confidentiality_level)))
  AND NOT EXISTS (
      SELECT 1 FROM base.resource_access_rule d
       WHERE d.tenant_id = c.tenant_id AND d.scope_id IN (c.tenant_id, c.owning_org_id, c.owning_team_id, c.case_id)
         AND d.effect = 'deny' AND d.disabled_at IS NULL AND (d.expires_at IS NULL OR d.expires_at > now())
         AND (d.permission_code IS NULL OR d.permission_code = p_perm)
         AND CASE d.subject_type WHEN 'any' THEN true
               WHEN 'principal' THEN d.subject_id = p_principal
               WHEN 'team' THEN EXISTS (SELECT 1 FROM base.team_membership tm WHERE tm.principal_id = p_principal AND tm.team_id = d.subject_id AND tm.tenant_id = c.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'organization' THEN EXISTS (SELECT 1 FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
                                         WHERE tm.principal_id = p_principal AND t.org_id = d.subject_id AND tm.tenant_id = c.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'role' THEN EXISTS (SELECT 1 FROM base.principal_role_assignment a
                                         WHERE a.principal_id = p_principal AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
                                           AND (a.scope_type = 'platform' OR a.tenant_id = c.tenant_id)
                                           AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                                                 UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                                               SELECT 1 FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.role_id = d.subject_id))
             END))
$f$;
CALL app.variant_policy('v4', $$ app.v4_visible(tenant_id, case_id, owning_org_id, owning_team_id, confidentiality_level) $$);
CALL app.variant_begin('v4t');
CALL app.variant_policy('v4t', $$ tenant_id = (select nullif(current_setting('app.tenant_id', true),'')::uuid)
  AND app.v4_visible(tenant_id, case_id, owning_org_id, owning_team_id, confidentiality_level) $$);
