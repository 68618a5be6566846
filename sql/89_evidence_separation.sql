-- Second factors and separation of privileges (SOC 2 CC6.1 to CC6.3).

CREATE VIEW authz.mfa_evidence WITH (security_barrier) AS
    WITH watched AS (
        -- What asks for a second factor, and what administers authority.
        SELECT pg_catalog.array_agg(d.permission_code) FILTER (WHERE d.requires_mfa) AS with_mfa,
               pg_catalog.array_agg(d.permission_code) FILTER (
                   WHERE d.is_system_permission AND d.permission_code NOT IN ('access.request', 'audit.read', 'export.request')
               ) AS of_administrators
        FROM authz.permission_definition AS d
    ), given AS (
        SELECT a.tenant_id, a.principal_id, p.permission_code, p.permission_code = ANY (w.with_mfa) AS needs_mfa,
               p.permission_code = ANY (w.of_administrators) AS administers
        FROM watched AS w
        CROSS JOIN authz.current_access AS a
        CROSS JOIN LATERAL pg_catalog.unnest(coalesce(
            a.permissions, (SELECT pg_catalog.array_agg(d.permission_code) FROM authz.permission_definition AS d)
        )) AS p (permission_code)
        WHERE a.effect = 'allow' AND a.blocked_by IS NULL AND a.principal_id IS NOT NULL
          AND (a.permissions IS NULL OR a.permissions OPERATOR(pg_catalog.&&) w.with_mfa
               OR a.permissions OPERATOR(pg_catalog.&&) w.of_administrators)
    ), held AS (
        SELECT g.tenant_id, g.principal_id,
               coalesce(pg_catalog.array_agg(DISTINCT g.permission_code) FILTER (WHERE g.needs_mfa), '{}') AS mfa_permissions,
               coalesce(pg_catalog.array_agg(DISTINCT g.permission_code) FILTER (WHERE g.administers), '{}') AS administers
        FROM given AS g GROUP BY g.tenant_id, g.principal_id
    ), person AS (
        SELECT m.tenant_id, m.principal_id FROM authz.tenant_membership AS m
        WHERE m.status = 'active'
          AND m.active_from <= pg_catalog.statement_timestamp() AND m.active_until > pg_catalog.statement_timestamp()
        UNION
        SELECT h.tenant_id, h.principal_id FROM held AS h)
    SELECT x.tenant_id, x.principal_id, p.principal_type, p.status AS principal_status,
           coalesce(o.mfa_enabled, false) OR coalesce(s.mfa_enabled, false) AS mfa_enrolled, o.clearance_level,
           coalesce(h.mfa_permissions, '{}') AS mfa_permissions, coalesce(h.administers, '{}') AS administers, s.last_login_at,
           CASE WHEN p.principal_type <> 'human' OR coalesce(o.mfa_enabled, false) OR coalesce(s.mfa_enabled, false) THEN NULL
                WHEN coalesce(pg_catalog.cardinality(h.administers), 0) > 0 THEN 'administers without a second factor'
                WHEN coalesce(pg_catalog.cardinality(h.mfa_permissions), 0) > 0
                    THEN 'cannot use what it holds: no second factor'
           END AS finding
    FROM person AS x
    JOIN authz.principal AS p ON p.principal_id = x.principal_id
    LEFT JOIN held AS h ON h.principal_id = x.principal_id AND h.tenant_id IS NOT DISTINCT FROM x.tenant_id
    LEFT JOIN authz.operator_profile AS o ON o.principal_id = x.principal_id
    LEFT JOIN authz.account_security AS s ON s.principal_id = x.principal_id
    WHERE (SELECT authz.reads_all_evidence())
       OR x.tenant_id IN (SELECT authz.audited_tenants())
       OR (x.tenant_id IS NULL AND (SELECT authz.audits_platform()));
COMMENT ON VIEW authz.mfa_evidence IS
    'Members of each tenant, and whoever else has access there, with whether a second factor is enrolled, and what they hold that asks for one or administers authority (SOC 2 CC6.1, CC6.2).';
COMMENT ON COLUMN authz.mfa_evidence.tenant_id IS 'The tenant; NULL: the platform.';
COMMENT ON COLUMN authz.mfa_evidence.principal_id IS 'The principal.';
COMMENT ON COLUMN authz.mfa_evidence.principal_type IS 'human, service or system.';
COMMENT ON COLUMN authz.mfa_evidence.principal_status IS 'Its status.';
COMMENT ON COLUMN authz.mfa_evidence.mfa_enrolled IS 'A second factor is enrolled.';
COMMENT ON COLUMN authz.mfa_evidence.clearance_level IS 'L1, L2 or L3; NULL: no operator.';
COMMENT ON COLUMN authz.mfa_evidence.mfa_permissions IS
    'Permissions given to it here that ask for a second factor with every use. Without one the decision refuses them.';
COMMENT ON COLUMN authz.mfa_evidence.administers IS
    'Permissions of the extension given to it here by which authority is changed, approved or reviewed, or work routed.';
COMMENT ON COLUMN authz.mfa_evidence.last_login_at IS 'Last log-in, as far as authz_record_login was told.';
COMMENT ON COLUMN authz.mfa_evidence.finding IS 'What an auditor will ask about; NULL: nothing.';

CREATE VIEW authz.privilege_separation_evidence WITH (security_barrier) AS
    WITH held AS MATERIALIZED (
        SELECT h.principal_id, h.tenant_id, h.grantee_id AS role_code FROM authz.subject_of AS h WHERE h.grantee_type = 'role'
    ), place AS (
        SELECT DISTINCT h.principal_id, h.tenant_id FROM held AS h
    ), limited AS (
        SELECT c.constraint_id, c.constraint_name, c.max_roles, l.principal_id, l.tenant_id,
               pg_catalog.array_agg(DISTINCT h.role_code ORDER BY h.role_code) AS roles
        FROM authz.sod_constraint AS c
        CROSS JOIN place AS l
        JOIN held AS h ON h.principal_id = l.principal_id AND h.role_code = ANY (c.role_codes)
         AND (c.across_tenants OR h.tenant_id IS NULL OR h.tenant_id = l.tenant_id)
        WHERE c.constraint_kind = 'static' AND c.active_from <= pg_catalog.statement_timestamp()
          AND c.active_until > pg_catalog.statement_timestamp()
          AND (c.tenant_id IS NULL OR c.tenant_id = l.tenant_id)
        GROUP BY c.constraint_id, c.constraint_name, c.max_roles, l.principal_id, l.tenant_id
    ), evidence AS (
        SELECT 'static constraint' AS kind, l.tenant_id, l.principal_id, l.constraint_name AS subject, l.roles AS held,
               l.max_roles AS allowed, pg_catalog.cardinality(l.roles) > l.max_roles AS breached
        FROM limited AS l
        UNION ALL
        SELECT 'dynamic constraint', u.tenant_id, u.principal_id,
               pg_catalog.format('%s: %s %s', c.constraint_name, u.resource_type, u.resource_id), u.role_codes, c.max_roles,
               pg_catalog.cardinality(u.role_codes) > c.max_roles
        FROM authz.sod_use AS u JOIN authz.sod_constraint AS c ON c.constraint_id = u.constraint_id
        UNION ALL
        SELECT 'granted to oneself', a.tenant_id, a.principal_id,
               pg_catalog.format('%s %s', a.binding_kind, a.binding_id), coalesce(ARRAY[a.role_code], a.permissions), 0, true
        FROM authz.current_access AS a
        WHERE a.effect = 'allow' AND a.granted_by = a.principal_id
        UNION ALL
        SELECT 'administers and works', m.tenant_id, m.principal_id,
               pg_catalog.array_to_string(m.administers, ', '), w.permissions, 0, true
        FROM authz.mfa_evidence AS m
        CROSS JOIN LATERAL (
            SELECT pg_catalog.array_agg(DISTINCT c.permission_code ORDER BY c.permission_code) AS permissions
            FROM authz.principal_role_assignment AS a
            JOIN authz.role_content AS c ON c.role_code = a.role_code
            JOIN authz.permission_definition AS d ON d.permission_code = c.permission_code
            WHERE a.principal_id = m.principal_id AND a.tenant_id IS NOT DISTINCT FROM m.tenant_id
              AND a.active_from <= pg_catalog.statement_timestamp() AND a.active_until > pg_catalog.statement_timestamp()
              AND NOT d.is_system_permission
              AND NOT (d.access_mode = 'read' OR (d.access_mode = 'auto' AND d.action_code ~ '^(view|read|list)(_|$)'))
        ) AS w
        WHERE pg_catalog.cardinality(m.administers) > 0 AND w.permissions IS NOT NULL)
    SELECT e.kind, e.tenant_id, e.principal_id, e.subject, e.held, e.allowed, e.breached
    FROM evidence AS e
    WHERE (SELECT authz.reads_all_evidence())
       OR e.tenant_id IN (SELECT authz.audited_tenants())
       OR (e.tenant_id IS NULL AND (SELECT authz.audits_platform()));
COMMENT ON VIEW authz.privilege_separation_evidence IS
    'Separation of duty as it stands: roles held under each static constraint, roles used under each dynamic one, what principals hold by their own grant, and who both administers authority and works with it (SOC 2 CC6.1, CC6.3).';
COMMENT ON COLUMN authz.privilege_separation_evidence.kind IS
    'static constraint, dynamic constraint, granted to oneself, or administers and works (by role assignments).';
COMMENT ON COLUMN authz.privilege_separation_evidence.tenant_id IS 'The tenant; NULL: the platform.';
COMMENT ON COLUMN authz.privilege_separation_evidence.principal_id IS 'The principal.';
COMMENT ON COLUMN authz.privilege_separation_evidence.subject IS
    'The constraint (of a dynamic one with the resource), the binding, or the permissions by which it administers.';
COMMENT ON COLUMN authz.privilege_separation_evidence.held IS
    'Roles of the constraint that it holds, or used on the resource; the role or permissions of the binding; what it may change besides.';
COMMENT ON COLUMN authz.privilege_separation_evidence.allowed IS 'How many of the constraint''s roles are allowed.';
COMMENT ON COLUMN authz.privilege_separation_evidence.breached IS
    'More than that: held before there was the constraint, or by plain SQL. Always true of what no constraint allows.';
