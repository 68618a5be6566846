-- The decision rule for cases as a careful author writes it by hand in PL/pgSQL, over the same tables and with their
-- indexes: nested organizations and teams, membership, roles and their inheritance, implied permissions, grants, rules
-- with priorities, confidentiality, soft deletion. It leaves out what this database does not use (ownership, parents,
-- conditions, second factors, privileged sessions, clearance), which the extension looks at all the same.

-- The extension's tables are indexed for loading a principal's rules. Whoever asks resource by resource wants this too.
CREATE INDEX IF NOT EXISTS bench_rule_target ON authz.resource_access_rule (tenant_id, resource_type, resource_id);

CREATE FUNCTION bench.rule_plpgsql(p_principal uuid, p_permission text, p_case uuid, p_tenant uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t             timestamptz := statement_timestamp();
    c             record;
    is_member     boolean;
    node_types    text[];
    node_ids      text[];
    subject_types text[];
    subject_ids   text[];
    wanted        text;
    givers        text[];
    winner        text;
BEGIN
    -- 1: the principal
    IF NOT EXISTS (SELECT FROM authz.principal p
                    WHERE p.principal_id = p_principal AND p.status = 'active'
                      AND (p.locked_until IS NULL OR p.locked_until <= t))
       OR EXISTS (SELECT FROM authz.account_security s WHERE s.principal_id = p_principal AND s.locked_until > t) THEN
        RETURN false;
    END IF;
    -- 2: the row
    SELECT r.tenant_id, r.case_id, r.owning_org_id, r.owning_team_id, r.project_id, r.confidentiality_level, r.deleted_at
      INTO c FROM bench.case_record r WHERE r.tenant_id = p_tenant AND r.case_id = p_case;
    IF NOT FOUND OR c.confidentiality_level NOT IN ('normal', 'restricted', 'sealed') THEN
        RETURN false;
    END IF;
    -- 3: in the tenant, or with something at the platform
    is_member := EXISTS (SELECT FROM authz.tenant_membership m JOIN authz.tenant tn ON tn.tenant_id = m.tenant_id
                          WHERE m.principal_id = p_principal AND m.tenant_id = p_tenant AND m.status = 'active'
                            AND m.active_from <= t AND m.active_until > t AND tn.status = 'active');
    IF NOT is_member AND NOT EXISTS (SELECT FROM authz.principal_role_assignment a
                                      WHERE a.principal_id = p_principal AND a.scope_type = 'platform'
                                        AND a.active_from <= t AND a.active_until > t) THEN
        RETURN false;
    END IF;

    -- The scope chain.
    WITH RECURSIVE team AS (
        SELECT x.team_id, x.parent_team_id, x.organization_id FROM authz.team x
         WHERE x.tenant_id = p_tenant AND x.team_id = c.owning_team_id
        UNION
        SELECT x.team_id, x.parent_team_id, x.organization_id
          FROM team JOIN authz.team x ON x.tenant_id = p_tenant AND x.team_id = team.parent_team_id
    ), org AS (
        SELECT x.organization_id, x.parent_organization_id FROM authz.organization x
         WHERE x.tenant_id = p_tenant
           AND x.organization_id IN (SELECT c.owning_org_id UNION ALL SELECT team.organization_id FROM team UNION ALL
                                     SELECT j.organization_id FROM authz.project j
                                      WHERE j.tenant_id = p_tenant AND j.project_id = c.project_id)
        UNION
        SELECT x.organization_id, x.parent_organization_id
          FROM org JOIN authz.organization x ON x.tenant_id = p_tenant AND x.organization_id = org.parent_organization_id
    ), node (type, id) AS (
        SELECT 'case', p_case UNION ALL SELECT 'tenant', p_tenant
        UNION ALL SELECT 'team', team_id FROM team UNION ALL SELECT 'organization', organization_id FROM org
        UNION ALL SELECT 'project', c.project_id WHERE c.project_id IS NOT NULL
    )
    SELECT array_agg(type), array_agg(id::text) INTO node_types, node_ids FROM node;

    -- Whom grants and rules may address.
    WITH RECURSIVE team AS (
        SELECT x.team_id, x.parent_team_id, x.organization_id
          FROM authz.team_membership_history m
          JOIN authz.team x ON x.tenant_id = m.tenant_id AND x.team_id = m.team_id
         WHERE m.principal_id = p_principal AND m.tenant_id = p_tenant AND m.active_from <= t AND m.active_until > t
        UNION
        SELECT x.team_id, x.parent_team_id, x.organization_id
          FROM team JOIN authz.team x ON x.tenant_id = p_tenant AND x.team_id = team.parent_team_id
    ), org AS (
        SELECT x.organization_id, x.parent_organization_id
          FROM team JOIN authz.organization x ON x.tenant_id = p_tenant AND x.organization_id = team.organization_id
        UNION
        SELECT x.organization_id, x.parent_organization_id
          FROM org JOIN authz.organization x ON x.tenant_id = p_tenant AND x.organization_id = org.parent_organization_id
    ), role AS (
        SELECT a.role_code FROM authz.principal_role_assignment a
         WHERE a.principal_id = p_principal AND (a.tenant_id = p_tenant OR a.scope_type = 'platform')
           AND a.active_from <= t AND a.active_until > t
        UNION
        SELECT i.inherited_role_code FROM role JOIN authz.role_inheritance i ON i.role_code = role.role_code
         WHERE i.active_from <= t AND i.active_until > t
    ), subject (type, id) AS (
        SELECT 'principal', p_principal::text UNION ALL SELECT 'team', team_id::text FROM team
        UNION ALL SELECT 'organization', organization_id::text FROM org UNION ALL SELECT 'role', role_code FROM role
    )
    SELECT array_agg(type), array_agg(id) INTO subject_types, subject_ids FROM subject;

    -- 4 to 7: the permission itself, and what a deleted or confidential row asks for beside it.
    FOREACH wanted IN ARRAY ARRAY[p_permission]
                      || CASE WHEN c.deleted_at IS NOT NULL THEN '{case.view_deleted}'::text[] END
                      || CASE WHEN c.confidentiality_level <> 'normal' THEN ARRAY['case.view_' || c.confidentiality_level] END
    LOOP
        SELECT r.effect INTO winner
          FROM authz.resource_access_rule r
         WHERE r.tenant_id = p_tenant AND r.active_from <= t AND r.active_until > t
           AND (r.permission_code IS NULL OR r.permission_code = wanted)
           AND (r.effect = 'deny' OR is_member)
           AND EXISTS (SELECT FROM unnest(node_types, node_ids) AS n (type, id)
                        WHERE n.type = r.resource_type AND (r.resource_id IS NULL OR n.id = r.resource_id))
           AND (r.grantee_type = 'any' OR EXISTS (SELECT FROM unnest(subject_types, subject_ids) AS s (type, id)
                                                   WHERE s.type = r.grantee_type AND s.id = r.grantee_id))
         ORDER BY r.priority DESC, r.effect = 'deny' DESC LIMIT 1;
        IF winner = 'deny' THEN
            RETURN false;
        END IF;
        CONTINUE WHEN winner = 'allow';

        WITH RECURSIVE giver AS (
            SELECT wanted COLLATE "C" AS code
            UNION
            SELECT i.permission_code FROM giver JOIN authz.permission_implication i ON i.implied_permission_code = giver.code
        )
        SELECT array_agg(code) INTO givers FROM giver;
        CONTINUE WHEN EXISTS (
            SELECT FROM authz.principal_role_assignment a
             WHERE a.principal_id = p_principal AND a.active_from <= t AND a.active_until > t
               AND (a.scope_type = 'platform'
                    OR (is_member AND a.tenant_id = p_tenant
                        AND EXISTS (SELECT FROM unnest(node_types, node_ids) AS n (type, id)
                                     WHERE n.type = a.scope_type AND n.id = a.scope_id)))
               AND EXISTS (WITH RECURSIVE role AS (
                               SELECT a.role_code
                               UNION
                               SELECT i.inherited_role_code FROM role JOIN authz.role_inheritance i ON i.role_code = role.role_code
                                WHERE i.active_from <= t AND i.active_until > t)
                           SELECT FROM role JOIN authz.role_permission rp ON rp.role_code = role.role_code
                            WHERE rp.permission_code = ANY (givers) AND rp.active_from <= t AND rp.active_until > t));
        CONTINUE WHEN is_member AND EXISTS (
            SELECT FROM unnest(node_types, node_ids) AS n (type, id)
              JOIN authz.resource_access_grant g ON g.resource_type = n.type AND g.resource_id = n.id
             WHERE g.tenant_id = p_tenant AND g.active_from <= t AND g.active_until > t
               AND g.permission_code = ANY (givers)
               AND EXISTS (SELECT FROM unnest(subject_types, subject_ids) AS s (type, id)
                            WHERE s.type = g.grantee_type AND s.id = g.grantee_id));
        RETURN false;
    END LOOP;
    RETURN true;
END
$$;
