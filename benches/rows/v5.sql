-- V5: the full policy inlined in the policy as EXISTS sub-selects.  The app role must be given SELECT on the authorization tables.
-- V5t: with a tenant InitPlan conjunct in front.
CALL app.variant_begin('v5');
GRANT USAGE ON SCHEMA base TO app_v5;
GRANT SELECT ON ALL TABLES IN SCHEMA base TO app_v5;
CREATE POLICY v5 ON data.case_record FOR ALL TO app_v5 USING (((select nullif(current_setting('app.tenant_id', true),'')::uuid) IS NULL OR tenant_id = (select nullif(current_setting('app.tenant_id', true),'')::uuid))
  AND EXISTS (SELECT 1 FROM base.principal p JOIN base.tenant_membership m ON m.principal_id = p.principal_id
             WHERE p.principal_id = (select current_setting('app.principal_id')::uuid) AND p.status = 'active' AND m.tenant_id = case_record.tenant_id AND m.status = 'active')
  AND (EXISTS (
      SELECT 1 FROM base.principal_role_assignment a
       WHERE a.principal_id = (select current_setting('app.principal_id')::uuid) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
         AND (a.scope_type = 'platform' OR (a.tenant_id = case_record.tenant_id AND a.scope_id IN (case_record.tenant_id, case_record.owning_org_id, case_record.owning_team_id, case_record.case_id)))
         AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                       UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                     SELECT 1 FROM r JOIN base.role_permission rp ON rp.role_code = r.role_code WHERE rp.permission_code = 'case.read'))
    OR EXISTS (
      SELECT 1 FROM base.resource_access_grant g
       WHERE g.tenant_id = case_record.tenant_id AND g.resource_type = 'case' AND g.resource_id = case_record.case_id AND g.permission_code = 'case.read'
         AND g.revoked_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > now())
         AND CASE g.grantee_type WHEN 'any' THEN true
               WHEN 'principal' THEN g.grantee_id = (select current_setting('app.principal_id')::uuid)
               WHEN 'team' THEN EXISTS (SELECT 1 FROM base.team_membership tm WHERE tm.principal_id = (select current_setting('app.principal_id')::uuid) AND tm.team_id = g.grantee_id AND tm.tenant_id = case_record.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'organization' THEN EXISTS (SELECT 1 FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
                                         WHERE tm.principal_id = (select current_setting('app.principal_id')::uuid) AND t.org_id = g.grantee_id AND tm.tenant_id = case_record.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'role' THEN EXISTS (SELECT 1 FROM base.principal_role_assignment a
                                         WHERE a.principal_id = (select current_setting('app.principal_id')::uuid) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
                                           AND (a.scope_type = 'platform' OR a.tenant_id = case_record.tenant_id)
                                           AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                                                 UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                                               SELECT 1 FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.role_id = g.grantee_id))
             END))
  AND (case_record.confidentiality_level = 'normal' OR EXISTS (
      SELECT 1 FROM base.principal_role_assignment a
       WHERE a.principal_id = (select current_setting('app.principal_id')::uuid) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
         AND (a.scope_type = 'platform' OR (a.tenant_id = case_record.tenant_id AND a.scope_id IN (case_record.tenant_id, case_record.owning_org_id, case_record.owning_team_id, case_record.case_id)))
         AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                       UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                     SELECT 1 FROM r JOIN base.role_permission rp ON rp.role_code = r.role_code WHERE rp.permission_code = 'case.view_' || case_record.confidentiality_level)))
  AND NOT EXISTS (
      SELECT 1 FROM base.resource_access_rule d
       WHERE d.tenant_id = case_record.tenant_id AND d.scope_id IN (case_record.tenant_id, case_record.owning_org_id, case_record.owning_team_id, case_record.case_id)
         AND d.effect = 'deny' AND d.disabled_at IS NULL AND (d.expires_at IS NULL OR d.expires_at > now())
         AND (d.permission_code IS NULL OR d.permission_code = 'case.read')
         AND CASE d.subject_type WHEN 'any' THEN true
               WHEN 'principal' THEN d.subject_id = (select current_setting('app.principal_id')::uuid)
               WHEN 'team' THEN EXISTS (SELECT 1 FROM base.team_membership tm WHERE tm.principal_id = (select current_setting('app.principal_id')::uuid) AND tm.team_id = d.subject_id AND tm.tenant_id = case_record.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'organization' THEN EXISTS (SELECT 1 FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
                                         WHERE tm.principal_id = (select current_setting('app.principal_id')::uuid) AND t.org_id = d.subject_id AND tm.tenant_id = case_record.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'role' THEN EXISTS (SELECT 1 FROM base.principal_role_assignment a
                                         WHERE a.principal_id = (select current_setting('app.principal_id')::uuid) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
                                           AND (a.scope_type = 'platform' OR a.tenant_id = case_record.tenant_id)
                                           AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                                                 UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                                               SELECT 1 FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.role_id = d.subject_id))
             END));
CREATE POLICY v5 ON data.case_item FOR ALL TO app_v5 USING (((select nullif(current_setting('app.tenant_id', true),'')::uuid) IS NULL OR tenant_id = (select nullif(current_setting('app.tenant_id', true),'')::uuid))
  AND EXISTS (SELECT 1 FROM base.principal p JOIN base.tenant_membership m ON m.principal_id = p.principal_id
             WHERE p.principal_id = (select current_setting('app.principal_id')::uuid) AND p.status = 'active' AND m.tenant_id = case_item.tenant_id AND m.status = 'active')
  AND (EXISTS (
      SELECT 1 FROM base.principal_role_assignment a
       WHERE a.principal_id = (select current_setting('app.principal_id')::uuid) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
         AND (a.scope_type = 'platform' OR (a.tenant_id = case_item.tenant_id AND a.scope_id IN (case_item.tenant_id, case_item.owning_org_id, case_item.owning_team_id, case_item.case_id)))
         AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                       UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                     SELECT 1 FROM r JOIN base.role_permission rp ON rp.role_code = r.role_code WHERE rp.permission_code = 'case.read'))
    OR EXISTS (
      SELECT 1 FROM base.resource_access_grant g
       WHERE g.tenant_id = case_item.tenant_id AND g.resource_type = 'case' AND g.resource_id = case_item.case_id AND g.permission_code = 'case.read'
         AND g.revoked_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > now())
         AND CASE g.grantee_type WHEN 'any' THEN true
               WHEN 'principal' THEN g.grantee_id = (select current_setting('app.principal_id')::uuid)
               WHEN 'team' THEN EXISTS (SELECT 1 FROM base.team_membership tm WHERE tm.principal_id = (select current_setting('app.principal_id')::uuid) AND tm.team_id = g.grantee_id AND tm.tenant_id = case_item.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'organization' THEN EXISTS (SELECT 1 FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
                                         WHERE tm.principal_id = (select current_setting('app.principal_id')::uuid) AND t.org_id = g.grantee_id AND tm.tenant_id = case_item.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'role' THEN EXISTS (SELECT 1 FROM base.principal_role_assignment a
                                         WHERE a.principal_id = (select current_setting('app.principal_id')::uuid) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
                                           AND (a.scope_type = 'platform' OR a.tenant_id = case_item.tenant_id)
                                           AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                                                 UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                                               SELECT 1 FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.role_id = g.grantee_id))
             END))
  AND (case_item.confidentiality_level = 'normal' OR EXISTS (
      SELECT 1 FROM base.principal_role_assignment a
       WHERE a.principal_id = (select current_setting('app.principal_id')::uuid) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
         AND (a.scope_type = 'platform' OR (a.tenant_id = case_item.tenant_id AND a.scope_id IN (case_item.tenant_id, case_item.owning_org_id, case_item.owning_team_id, case_item.case_id)))
         AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                       UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                     SELECT 1 FROM r JOIN base.role_permission rp ON rp.role_code = r.role_code WHERE rp.permission_code = 'case.view_' || case_item.confidentiality_level)))
  AND NOT EXISTS (
      SELECT 1 FROM base.resource_access_rule d
       WHERE d.tenant_id = case_item.tenant_id AND d.scope_id IN (case_item.tenant_id, case_item.owning_org_id, case_item.owning_team_id, case_item.case_id)
         AND d.effect = 'deny' AND d.disabled_at IS NULL AND (d.expires_at IS NULL OR d.expires_at > now())
         AND (d.permission_code IS NULL OR d.permission_code = 'case.read')
         AND CASE d.subject_type WHEN 'any' THEN true
               WHEN 'principal' THEN d.subject_id = (select current_setting('app.principal_id')::uuid)
               WHEN 'team' THEN EXISTS (SELECT 1 FROM base.team_membership tm WHERE tm.principal_id = (select current_setting('app.principal_id')::uuid) AND tm.team_id = d.subject_id AND tm.tenant_id = case_item.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'organization' THEN EXISTS (SELECT 1 FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
                                         WHERE tm.principal_id = (select current_setting('app.principal_id')::uuid) AND t.org_id = d.subject_id AND tm.tenant_id = case_item.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'role' THEN EXISTS (SELECT 1 FROM base.principal_role_assignment a
                                         WHERE a.principal_id = (select current_setting('app.principal_id')::uuid) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
                                           AND (a.scope_type = 'platform' OR a.tenant_id = case_item.tenant_id)
                                           AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                                                 UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                                               SELECT 1 FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.role_id = d.subject_id))
             END));
CALL app.variant_begin('v5t');
GRANT USAGE ON SCHEMA base TO app_v5t;
GRANT SELECT ON ALL TABLES IN SCHEMA base TO app_v5t;
CREATE POLICY v5t ON data.case_record FOR ALL TO app_v5t USING (tenant_id = (select nullif(current_setting('app.tenant_id', true),'')::uuid)
  AND EXISTS (SELECT 1 FROM base.principal p JOIN base.tenant_membership m ON m.principal_id = p.principal_id
             WHERE p.principal_id = (select current_setting('app.principal_id')::uuid) AND p.status = 'active' AND m.tenant_id = case_record.tenant_id AND m.status = 'active')
  AND (EXISTS (
      SELECT 1 FROM base.principal_role_assignment a
       WHERE a.principal_id = (select current_setting('app.principal_id')::uuid) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
         AND (a.scope_type = 'platform' OR (a.tenant_id = case_record.tenant_id AND a.scope_id IN (case_record.tenant_id, case_record.owning_org_id, case_record.owning_team_id, case_record.case_id)))
         AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                       UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                     SELECT 1 FROM r JOIN base.role_permission rp ON rp.role_code = r.role_code WHERE rp.permission_code = 'case.read'))
    OR EXISTS (
      SELECT 1 FROM base.resource_access_grant g
       WHERE g.tenant_id = case_record.tenant_id AND g.resource_type = 'case' AND g.resource_id = case_record.case_id AND g.permission_code = 'case.read'
         AND g.revoked_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > now())
         AND CASE g.grantee_type WHEN 'any' THEN true
               WHEN 'principal' THEN g.grantee_id = (select current_setting('app.principal_id')::uuid)
               WHEN 'team' THEN EXISTS (SELECT 1 FROM base.team_membership tm WHERE tm.principal_id = (select current_setting('app.principal_id')::uuid) AND tm.team_id = g.grantee_id AND tm.tenant_id = case_record.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'organization' THEN EXISTS (SELECT 1 FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
                                         WHERE tm.principal_id = (select current_setting('app.principal_id')::uuid) AND t.org_id = g.grantee_id AND tm.tenant_id = case_record.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'role' THEN EXISTS (SELECT 1 FROM base.principal_role_assignment a
                                         WHERE a.principal_id = (select current_setting('app.principal_id')::uuid) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
                                           AND (a.scope_type = 'platform' OR a.tenant_id = case_record.tenant_id)
                                           AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                                                 UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                                               SELECT 1 FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.role_id = g.grantee_id))
             END))
  AND (case_record.confidentiality_level = 'normal' OR EXISTS (
      SELECT 1 FROM base.principal_role_assignment a
       WHERE a.principal_id = (select current_setting('app.principal_id')::uuid) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
         AND (a.scope_type = 'platform' OR (a.tenant_id = case_record.tenant_id AND a.scope_id IN (case_record.tenant_id, case_record.owning_org_id, case_record.owning_team_id, case_record.case_id)))
         AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                       UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                     SELECT 1 FROM r JOIN base.role_permission rp ON rp.role_code = r.role_code WHERE rp.permission_code = 'case.view_' || case_record.confidentiality_level)))
  AND NOT EXISTS (
      SELECT 1 FROM base.resource_access_rule d
       WHERE d.tenant_id = case_record.tenant_id AND d.scope_id IN (case_record.tenant_id, case_record.owning_org_id, case_record.owning_team_id, case_record.case_id)
         AND d.effect = 'deny' AND d.disabled_at IS NULL AND (d.expires_at IS NULL OR d.expires_at > now())
         AND (d.permission_code IS NULL OR d.permission_code = 'case.read')
         AND CASE d.subject_type WHEN 'any' THEN true
               WHEN 'principal' THEN d.subject_id = (select current_setting('app.principal_id')::uuid)
               WHEN 'team' THEN EXISTS (SELECT 1 FROM base.team_membership tm WHERE tm.principal_id = (select current_setting('app.principal_id')::uuid) AND tm.team_id = d.subject_id AND tm.tenant_id = case_record.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'organization' THEN EXISTS (SELECT 1 FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
                                         WHERE tm.principal_id = (select current_setting('app.principal_id')::uuid) AND t.org_id = d.subject_id AND tm.tenant_id = case_record.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'role' THEN EXISTS (SELECT 1 FROM base.principal_role_assignment a
                                         WHERE a.principal_id = (select current_setting('app.principal_id')::uuid) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
                                           AND (a.scope_type = 'platform' OR a.tenant_id = case_record.tenant_id)
                                           AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                                                 UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                                               SELECT 1 FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.role_id = d.subject_id))
             END));
CREATE POLICY v5t ON data.case_item FOR ALL TO app_v5t USING (tenant_id = (select nullif(current_setting('app.tenant_id', true),'')::uuid)
  AND EXISTS (SELECT 1 FROM base.principal p JOIN base.tenant_membership m ON m.principal_id = p.principal_id
             WHERE p.principal_id = (select current_setting('app.principal_id')::uuid) AND p.status = 'active' AND m.tenant_id = case_item.tenant_id AND m.status = 'active')
  AND (EXISTS (
      SELECT 1 FROM base.principal_role_assignment a
       WHERE a.principal_id = (select current_setting('app.principal_id')::uuid) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
         AND (a.scope_type = 'platform' OR (a.tenant_id = case_item.tenant_id AND a.scope_id IN (case_item.tenant_id, case_item.owning_org_id, case_item.owning_team_id, case_item.case_id)))
         AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                       UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                     SELECT 1 FROM r JOIN base.role_permission rp ON rp.role_code = r.role_code WHERE rp.permission_code = 'case.read'))
    OR EXISTS (
      SELECT 1 FROM base.resource_access_grant g
       WHERE g.tenant_id = case_item.tenant_id AND g.resource_type = 'case' AND g.resource_id = case_item.case_id AND g.permission_code = 'case.read'
         AND g.revoked_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > now())
         AND CASE g.grantee_type WHEN 'any' THEN true
               WHEN 'principal' THEN g.grantee_id = (select current_setting('app.principal_id')::uuid)
               WHEN 'team' THEN EXISTS (SELECT 1 FROM base.team_membership tm WHERE tm.principal_id = (select current_setting('app.principal_id')::uuid) AND tm.team_id = g.grantee_id AND tm.tenant_id = case_item.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'organization' THEN EXISTS (SELECT 1 FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
                                         WHERE tm.principal_id = (select current_setting('app.principal_id')::uuid) AND t.org_id = g.grantee_id AND tm.tenant_id = case_item.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'role' THEN EXISTS (SELECT 1 FROM base.principal_role_assignment a
                                         WHERE a.principal_id = (select current_setting('app.principal_id')::uuid) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
                                           AND (a.scope_type = 'platform' OR a.tenant_id = case_item.tenant_id)
                                           AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                                                 UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                                               SELECT 1 FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.role_id = g.grantee_id))
             END))
  AND (case_item.confidentiality_level = 'normal' OR EXISTS (
      SELECT 1 FROM base.principal_role_assignment a
       WHERE a.principal_id = (select current_setting('app.principal_id')::uuid) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
         AND (a.scope_type = 'platform' OR (a.tenant_id = case_item.tenant_id AND a.scope_id IN (case_item.tenant_id, case_item.owning_org_id, case_item.owning_team_id, case_item.case_id)))
         AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                       UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                     SELECT 1 FROM r JOIN base.role_permission rp ON rp.role_code = r.role_code WHERE rp.permission_code = 'case.view_' || case_item.confidentiality_level)))
  AND NOT EXISTS (
      SELECT 1 FROM base.resource_access_rule d
       WHERE d.tenant_id = case_item.tenant_id AND d.scope_id IN (case_item.tenant_id, case_item.owning_org_id, case_item.owning_team_id, case_item.case_id)
         AND d.effect = 'deny' AND d.disabled_at IS NULL AND (d.expires_at IS NULL OR d.expires_at > now())
         AND (d.permission_code IS NULL OR d.permission_code = 'case.read')
         AND CASE d.subject_type WHEN 'any' THEN true
               WHEN 'principal' THEN d.subject_id = (select current_setting('app.principal_id')::uuid)
               WHEN 'team' THEN EXISTS (SELECT 1 FROM base.team_membership tm WHERE tm.principal_id = (select current_setting('app.principal_id')::uuid) AND tm.team_id = d.subject_id AND tm.tenant_id = case_item.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'organization' THEN EXISTS (SELECT 1 FROM base.team_membership tm JOIN base.team t ON t.team_id = tm.team_id
                                         WHERE tm.principal_id = (select current_setting('app.principal_id')::uuid) AND t.org_id = d.subject_id AND tm.tenant_id = case_item.tenant_id
                                         AND tm.valid_from <= now() AND (tm.valid_until IS NULL OR tm.valid_until > now()))
               WHEN 'role' THEN EXISTS (SELECT 1 FROM base.principal_role_assignment a
                                         WHERE a.principal_id = (select current_setting('app.principal_id')::uuid) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
                                           AND (a.scope_type = 'platform' OR a.tenant_id = case_item.tenant_id)
                                           AND EXISTS (WITH RECURSIVE r(role_code) AS (SELECT a.role_code
                                                 UNION SELECT rd.parent_role_code FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.parent_role_code IS NOT NULL)
                                               SELECT 1 FROM r JOIN base.role_definition rd ON rd.role_code = r.role_code WHERE rd.role_id = d.subject_id))
             END));
