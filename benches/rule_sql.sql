-- The same rule as rule_plpgsql.sql, as one statement in a SQL function.
CREATE FUNCTION bench.rule_sql(p_principal uuid, p_permission text, p_case uuid, p_tenant uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
WITH RECURSIVE c AS (
    SELECT r.* FROM bench.case_record r
     WHERE r.tenant_id = p_tenant AND r.case_id = p_case
       AND EXISTS (SELECT FROM authz.principal p
                    WHERE p.principal_id = p_principal AND p.status = 'active'
                      AND (p.locked_until IS NULL OR p.locked_until <= statement_timestamp()))
       AND NOT EXISTS (SELECT FROM authz.account_security s
                        WHERE s.principal_id = p_principal AND s.locked_until > statement_timestamp())
), member AS (
    SELECT EXISTS (SELECT FROM authz.tenant_membership m JOIN authz.tenant tn ON tn.tenant_id = m.tenant_id
                    WHERE m.principal_id = p_principal AND m.tenant_id = p_tenant AND m.status = 'active'
                      AND m.active_from <= statement_timestamp() AND m.active_until > statement_timestamp()
                      AND tn.status = 'active') AS is_member
), row_team AS (
    SELECT x.team_id, x.parent_team_id, x.organization_id
      FROM c JOIN authz.team x ON x.tenant_id = p_tenant AND x.team_id = c.owning_team_id
    UNION
    SELECT x.team_id, x.parent_team_id, x.organization_id
      FROM row_team JOIN authz.team x ON x.tenant_id = p_tenant AND x.team_id = row_team.parent_team_id
), row_org AS (
    SELECT x.organization_id, x.parent_organization_id FROM authz.organization x
     WHERE x.tenant_id = p_tenant
       AND x.organization_id IN (SELECT owning_org_id FROM c UNION ALL SELECT organization_id FROM row_team UNION ALL
                                 SELECT j.organization_id FROM c JOIN authz.project j
                                     ON j.tenant_id = p_tenant AND j.project_id = c.project_id)
    UNION
    SELECT x.organization_id, x.parent_organization_id
      FROM row_org JOIN authz.organization x
        ON x.tenant_id = p_tenant AND x.organization_id = row_org.parent_organization_id
), node (type, id) AS MATERIALIZED (
    SELECT 'case', p_case::text UNION ALL SELECT 'tenant', p_tenant::text
    UNION ALL SELECT 'team', team_id::text FROM row_team
    UNION ALL SELECT 'organization', organization_id::text FROM row_org
    UNION ALL SELECT 'project', project_id::text FROM c WHERE project_id IS NOT NULL
), my_team AS (
    SELECT x.team_id, x.parent_team_id, x.organization_id
      FROM authz.team_membership_history m
      JOIN authz.team x ON x.tenant_id = m.tenant_id AND x.team_id = m.team_id
     WHERE m.principal_id = p_principal AND m.tenant_id = p_tenant
       AND m.active_from <= statement_timestamp() AND m.active_until > statement_timestamp()
    UNION
    SELECT x.team_id, x.parent_team_id, x.organization_id
      FROM my_team JOIN authz.team x ON x.tenant_id = p_tenant AND x.team_id = my_team.parent_team_id
), my_org AS (
    SELECT x.organization_id, x.parent_organization_id
      FROM my_team JOIN authz.organization x ON x.tenant_id = p_tenant AND x.organization_id = my_team.organization_id
    UNION
    SELECT x.organization_id, x.parent_organization_id
      FROM my_org JOIN authz.organization x ON x.tenant_id = p_tenant AND x.organization_id = my_org.parent_organization_id
), assigned AS MATERIALIZED (
    SELECT a.* FROM authz.principal_role_assignment a
     WHERE a.principal_id = p_principal AND (a.tenant_id = p_tenant OR a.scope_type = 'platform')
       AND a.active_from <= statement_timestamp() AND a.active_until > statement_timestamp()
), held (assignment_id, role_code) AS (
    SELECT assignment_id, role_code FROM assigned
    UNION
    SELECT h.assignment_id, i.inherited_role_code
      FROM held h JOIN authz.role_inheritance i ON i.role_code = h.role_code
     WHERE i.active_from <= statement_timestamp() AND i.active_until > statement_timestamp()
), subject (type, id) AS MATERIALIZED (
    SELECT 'principal', p_principal::text UNION ALL SELECT 'team', team_id::text FROM my_team
    UNION ALL SELECT 'organization', organization_id::text FROM my_org
    UNION ALL SELECT 'role', role_code FROM held
), wanted (code) AS (
    SELECT p_permission COLLATE "C" FROM c
    UNION ALL SELECT 'case.view_deleted' FROM c WHERE deleted_at IS NOT NULL
    UNION ALL SELECT 'case.view_' || confidentiality_level FROM c WHERE confidentiality_level <> 'normal'
), giver (wanted, code) AS (
    SELECT code, code FROM wanted
    UNION
    SELECT g.wanted, i.permission_code FROM giver g JOIN authz.permission_implication i ON i.implied_permission_code = g.code
), ruled AS (
    SELECT w.code, (SELECT r.effect FROM authz.resource_access_rule r
                     WHERE r.tenant_id = p_tenant
                       AND r.active_from <= statement_timestamp() AND r.active_until > statement_timestamp()
                       AND (r.permission_code IS NULL OR r.permission_code = w.code)
                       AND (r.effect = 'deny' OR (SELECT is_member FROM member))
                       AND EXISTS (SELECT FROM node n
                                    WHERE n.type = r.resource_type AND (r.resource_id IS NULL OR n.id = r.resource_id))
                       AND (r.grantee_type = 'any'
                            OR EXISTS (SELECT FROM subject s WHERE s.type = r.grantee_type AND s.id = r.grantee_id))
                     ORDER BY r.priority DESC, r.effect = 'deny' DESC LIMIT 1) AS winner
      FROM wanted w
)
SELECT coalesce(bool_and(
           CASE w.winner WHEN 'deny' THEN false WHEN 'allow' THEN true ELSE
               EXISTS (SELECT FROM assigned a
                         JOIN held h ON h.assignment_id = a.assignment_id
                         JOIN authz.role_permission rp ON rp.role_code = h.role_code
                          AND rp.active_from <= statement_timestamp() AND rp.active_until > statement_timestamp()
                         JOIN giver g ON g.wanted = w.code AND g.code = rp.permission_code
                        WHERE a.scope_type = 'platform'
                           OR ((SELECT is_member FROM member)
                               AND EXISTS (SELECT FROM node n WHERE n.type = a.scope_type AND n.id = a.scope_id)))
               OR ((SELECT is_member FROM member)
                   AND EXISTS (SELECT FROM node n
                                 JOIN authz.resource_access_grant ag ON ag.resource_type = n.type AND ag.resource_id = n.id
                                  AND ag.tenant_id = p_tenant AND ag.active_from <= statement_timestamp()
                                  AND ag.active_until > statement_timestamp()
                                 JOIN giver g ON g.wanted = w.code AND g.code = ag.permission_code
                                 JOIN subject s ON s.type = ag.grantee_type AND s.id = ag.grantee_id))
           END), false)
  FROM ruled w
$$;
