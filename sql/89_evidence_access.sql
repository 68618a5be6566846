-- Who has access now, by which binding; which of these bindings nobody uses, and which run out. What is given is told
-- here, what a resource's own row decides (owner, confidentiality, deletion, conditions) is not: about one resource
-- authz_principals and authz_explain give the exact answer.

-- What each role gives at present, by itself, by what it inherits, and by what permissions imply.
CREATE VIEW authz.role_content AS
    WITH RECURSIVE brought (role_code, from_role) AS (
        SELECT d.role_code, d.role_code FROM authz.role_definition AS d
        UNION
        SELECT b.role_code, i.inherited_role_code
        FROM brought AS b JOIN authz.role_inheritance AS i ON i.role_code = b.from_role
        WHERE i.active_from <= pg_catalog.statement_timestamp() AND i.active_until > pg_catalog.statement_timestamp()
    ), given (role_code, permission_code, conditional) AS (
        SELECT b.role_code, p.permission_code, p.condition IS NOT NULL
        FROM brought AS b JOIN authz.role_permission AS p ON p.role_code = b.from_role
        WHERE p.active_from <= pg_catalog.statement_timestamp() AND p.active_until > pg_catalog.statement_timestamp()
        UNION
        SELECT g.role_code, i.implied_permission_code, g.conditional
        FROM given AS g JOIN authz.permission_implication AS i ON i.permission_code = g.permission_code)
    SELECT g.role_code, g.permission_code, pg_catalog.bool_and(g.conditional) AS conditional
    FROM given AS g GROUP BY g.role_code, g.permission_code;
COMMENT ON VIEW authz.role_content IS
    'Which permissions each role gives at present, inherited and implied ones included. Belongs to no tenant.';
COMMENT ON COLUMN authz.role_content.role_code IS 'The role.';
COMMENT ON COLUMN authz.role_content.permission_code IS 'A permission that it gives.';
COMMENT ON COLUMN authz.role_content.conditional IS 'Only under a condition, on every way.';

-- Whom a binding addresses that names a team, an organization or a role: as the decision rule says (docs/decision-rule.md).
CREATE VIEW authz.subject_of AS
    WITH RECURSIVE up_team (tenant_id, team_id, above) AS (
        SELECT t.tenant_id, t.team_id, t.team_id FROM authz.team AS t
        UNION
        SELECT u.tenant_id, u.team_id, t.parent_team_id
        FROM up_team AS u JOIN authz.team AS t ON t.tenant_id = u.tenant_id AND t.team_id = u.above
        WHERE t.parent_team_id IS NOT NULL
    ), up_organization (tenant_id, organization_id, above) AS (
        SELECT o.tenant_id, o.organization_id, o.organization_id FROM authz.organization AS o
        UNION
        SELECT u.tenant_id, u.organization_id, o.parent_organization_id
        FROM up_organization AS u
        JOIN authz.organization AS o ON o.tenant_id = u.tenant_id AND o.organization_id = u.above
        WHERE o.parent_organization_id IS NOT NULL
    ), up_role (role_code, inherited) AS (
        SELECT d.role_code, d.role_code FROM authz.role_definition AS d
        UNION
        SELECT u.role_code, i.inherited_role_code
        FROM up_role AS u JOIN authz.role_inheritance AS i ON i.role_code = u.inherited
        WHERE i.active_from <= pg_catalog.statement_timestamp() AND i.active_until > pg_catalog.statement_timestamp()
    ), in_team (tenant_id, principal_id, team_id) AS (
        SELECT DISTINCT m.tenant_id, m.principal_id, u.above
        FROM authz.team_membership_history AS m
        JOIN up_team AS u ON u.tenant_id = m.tenant_id AND u.team_id = m.team_id
        WHERE m.active_from <= pg_catalog.statement_timestamp() AND m.active_until > pg_catalog.statement_timestamp())
    SELECT i.tenant_id, i.principal_id, 'team' AS grantee_type, i.team_id::pg_catalog.text AS grantee_id FROM in_team AS i
    UNION
    SELECT i.tenant_id, i.principal_id, 'organization', u.above::pg_catalog.text
    FROM in_team AS i
    JOIN authz.team AS t ON t.tenant_id = i.tenant_id AND t.team_id = i.team_id
    JOIN up_organization AS u ON u.tenant_id = t.tenant_id AND u.organization_id = t.organization_id
    UNION
    SELECT a.tenant_id, a.principal_id, 'role', u.inherited
    FROM authz.principal_role_assignment AS a JOIN up_role AS u ON u.role_code = a.role_code
    WHERE a.active_from <= pg_catalog.statement_timestamp() AND a.active_until > pg_catalog.statement_timestamp();
COMMENT ON VIEW authz.subject_of IS
    'The teams, organizations and roles as which a principal is addressed at present, with those above them or inherited.';
COMMENT ON COLUMN authz.subject_of.tenant_id IS 'Where; NULL: in every tenant, for a role held at platform scope.';
COMMENT ON COLUMN authz.subject_of.principal_id IS 'The principal.';
COMMENT ON COLUMN authz.subject_of.grantee_type IS 'team, organization or role.';
COMMENT ON COLUMN authz.subject_of.grantee_id IS 'Its id or code.';

CREATE VIEW authz.current_access WITH (security_barrier) AS
    WITH role_gives AS (
        SELECT c.role_code, pg_catalog.array_agg(c.permission_code ORDER BY c.permission_code) AS permissions,
               pg_catalog.bool_or(c.conditional) AS conditional
        FROM authz.role_content AS c GROUP BY c.role_code
    ), implied AS (
        WITH RECURSIVE way (permission_code, implies) AS (
            SELECT d.permission_code, d.permission_code FROM authz.permission_definition AS d
            UNION
            SELECT w.permission_code, i.implied_permission_code
            FROM way AS w JOIN authz.permission_implication AS i ON i.permission_code = w.implies)
        SELECT w.permission_code, pg_catalog.array_agg(w.implies ORDER BY w.implies) AS permissions
        FROM way AS w GROUP BY w.permission_code
    ), shared AS (
        SELECT 'access_grant' AS binding_kind, g.grant_id AS binding_id, 'allow' AS effect, g.tenant_id, g.grantee_type,
               g.grantee_id, i.permissions, g.resource_type AS scope_type, g.resource_id AS scope_id, g.granted_by,
               g.granted_at, g.active_until
        FROM authz.resource_access_grant AS g JOIN implied AS i ON i.permission_code = g.permission_code
        WHERE g.active_from <= pg_catalog.statement_timestamp() AND g.active_until > pg_catalog.statement_timestamp()
        UNION ALL
        SELECT CASE r.effect WHEN 'allow' THEN 'allow_rule' ELSE 'deny_rule' END, r.rule_id, r.effect, r.tenant_id,
               r.grantee_type, r.grantee_id, CASE WHEN r.permission_code IS NOT NULL THEN ARRAY[r.permission_code] END,
               r.resource_type, r.resource_id, r.created_by, r.created_at, r.active_until
        FROM authz.resource_access_rule AS r
        WHERE r.active_from <= pg_catalog.statement_timestamp() AND r.active_until > pg_catalog.statement_timestamp()
    ), binding AS (
        SELECT a.principal_id, 'role_assignment' AS binding_kind, a.assignment_id AS binding_id, 'allow' AS effect,
               a.tenant_id, 'principal' AS grantee_type, a.principal_id::pg_catalog.text AS grantee_id, a.role_code,
               coalesce(g.permissions, '{}') AS permissions, coalesce(g.conditional, false) AS conditional, a.scope_type,
               a.scope_id, a.granted_by, a.granted_at, a.active_until
        FROM authz.principal_role_assignment AS a LEFT JOIN role_gives AS g ON g.role_code = a.role_code
        WHERE a.active_from <= pg_catalog.statement_timestamp() AND a.active_until > pg_catalog.statement_timestamp()
        UNION ALL
        SELECT CASE s.grantee_type WHEN 'principal' THEN s.grantee_id::pg_catalog.uuid END, s.binding_kind, s.binding_id,
               s.effect, s.tenant_id, s.grantee_type, s.grantee_id, NULL, s.permissions, false, s.scope_type, s.scope_id,
               s.granted_by, s.granted_at, s.active_until
        FROM shared AS s WHERE s.grantee_type IN ('principal', 'any')
        UNION ALL
        -- Once, whoever holds a role in the tenant and at platform scope, or by two assignments.
        SELECT DISTINCT o.principal_id, s.binding_kind, s.binding_id, s.effect, s.tenant_id, s.grantee_type, s.grantee_id,
               NULL, s.permissions, false, s.scope_type, s.scope_id, s.granted_by, s.granted_at, s.active_until
        FROM shared AS s
        JOIN authz.subject_of AS o ON o.grantee_type = s.grantee_type AND o.grantee_id = s.grantee_id
         AND (o.tenant_id = s.tenant_id OR o.tenant_id IS NULL)
        UNION ALL
        SELECT p.principal_id, 'privileged_session', p.session_id, 'allow', p.tenant_id, 'principal',
               p.principal_id::pg_catalog.text, NULL,
               CASE p.session_kind WHEN 'support' THEN ARRAY(
                   SELECT d.permission_code FROM authz.permission_definition AS d
                   WHERE d.access_mode = 'read'
                      OR (d.access_mode = 'auto' AND d.action_code IN ('view', 'read', 'list'))
                   ORDER BY d.permission_code) END,
               false, coalesce(p.scope_type, CASE WHEN p.tenant_id IS NULL THEN 'platform' ELSE 'tenant' END),
               coalesce(p.scope_id, p.tenant_id::pg_catalog.text), p.approved_by, p.started_at, p.active_until
        FROM authz.privileged_access_session AS p
        WHERE p.active_from <= pg_catalog.statement_timestamp() AND p.active_until > pg_catalog.statement_timestamp())
    SELECT b.tenant_id, b.principal_id, p.principal_type, b.effect, b.binding_kind, b.binding_id, b.grantee_type,
           b.grantee_id, b.role_code, b.permissions, b.conditional, b.scope_type, b.scope_id, b.granted_by, b.granted_at,
           b.active_until,
           CASE WHEN b.effect = 'deny' OR b.principal_id IS NULL THEN NULL
                WHEN p.status <> 'active' THEN 'principal ' OPERATOR(pg_catalog.||) p.status
                WHEN p.locked_until > pg_catalog.statement_timestamp()
                  OR s.locked_until > pg_catalog.statement_timestamp() THEN 'principal locked'
                WHEN b.tenant_id IS NULL OR b.binding_kind = 'privileged_session' THEN NULL
                WHEN m.principal_id IS NULL THEN 'no active membership'
                WHEN t.status <> 'active' THEN 'tenant ' OPERATOR(pg_catalog.||) t.status
           END AS blocked_by
    FROM binding AS b
    LEFT JOIN authz.principal AS p ON p.principal_id = b.principal_id
    LEFT JOIN authz.account_security AS s ON s.principal_id = b.principal_id
    LEFT JOIN authz.tenant AS t ON t.tenant_id = b.tenant_id
    LEFT JOIN authz.tenant_membership AS m
      ON m.tenant_id = b.tenant_id AND m.principal_id = b.principal_id AND m.status = 'active'
     AND m.active_from <= pg_catalog.statement_timestamp() AND m.active_until > pg_catalog.statement_timestamp()
    WHERE (SELECT authz.reads_all_evidence())
       OR b.tenant_id IN (SELECT authz.audited_tenants())
       OR (b.tenant_id IS NULL AND (SELECT authz.audits_platform()));
COMMENT ON VIEW authz.current_access IS
    'Who has access now: each principal with each binding in force that addresses it, by itself or as a member of a team, an organization or a role, and what stands against it. Owners are told by authz_principals.';
COMMENT ON COLUMN authz.current_access.tenant_id IS 'The binding''s tenant; NULL: the platform.';
COMMENT ON COLUMN authz.current_access.principal_id IS 'Who; NULL: everybody (a rule for any).';
COMMENT ON COLUMN authz.current_access.principal_type IS 'human, service or system.';
COMMENT ON COLUMN authz.current_access.effect IS 'allow or deny.';
COMMENT ON COLUMN authz.current_access.binding_kind IS
    'role_assignment, access_grant, allow_rule, deny_rule or privileged_session.';
COMMENT ON COLUMN authz.current_access.binding_id IS 'Key of the binding, as in authz.binding_evidence.';
COMMENT ON COLUMN authz.current_access.grantee_type IS 'As what the principal is addressed: principal, team, organization, role or any.';
COMMENT ON COLUMN authz.current_access.grantee_id IS 'The id of that.';
COMMENT ON COLUMN authz.current_access.role_code IS 'The role, of a role assignment.';
COMMENT ON COLUMN authz.current_access.permissions IS
    'Which permissions it gives, or denies, inherited and implied ones included; NULL: every one.';
COMMENT ON COLUMN authz.current_access.conditional IS 'Some of them only under a condition of the role.';
COMMENT ON COLUMN authz.current_access.scope_type IS 'Kind of the scope or resource.';
COMMENT ON COLUMN authz.current_access.scope_id IS 'Its key; NULL: the platform, or every resource of the type.';
COMMENT ON COLUMN authz.current_access.granted_by IS 'Who granted it, as the row says.';
COMMENT ON COLUMN authz.current_access.granted_at IS 'When.';
COMMENT ON COLUMN authz.current_access.active_until IS 'In force until here, exclusive; infinity: open.';
COMMENT ON COLUMN authz.current_access.blocked_by IS
    'Why it gives nothing at present although it is in force: the status or lock of the principal, no active membership, the tenant''s status; NULL: nothing stands against it.';

-- Used means: an allowed access event of the principal's own, since the binding was granted, of a permission that the
-- binding gives, in its tenant, and at its resource where the event is about a resource of the scope's own type. An event does
-- not say which binding decided, so what could have been used counts as used: a binding that is listed as unused was
-- not used in any way that left an event. Reading through row security leaves none.
CREATE VIEW authz.binding_use WITH (security_barrier) AS
    SELECT a.tenant_id, a.binding_kind, a.binding_id, a.grantee_type, a.grantee_id, a.role_code, a.permissions, a.scope_type,
           a.scope_id, a.granted_by, a.granted_at, a.active_until, pg_catalog.count(DISTINCT a.principal_id) AS holders,
           pg_catalog.max(e.last_used_at) AS last_used_at,
           pg_catalog.statement_timestamp() - greatest(a.granted_at, pg_catalog.max(e.last_used_at)) AS unused_for
    FROM authz.current_access AS a
    LEFT JOIN (
        SELECT v.principal_id, v.tenant_id, v.action_code, v.resource_type, v.resource_id,
               pg_catalog.max(v.occurred_at) AS last_used_at
        FROM authz.access_audit_event AS v
        WHERE v.access_result = 'allowed' AND (v.asked_by IS NULL OR v.asked_by = v.principal_id)
        GROUP BY v.principal_id, v.tenant_id, v.action_code, v.resource_type, v.resource_id
    ) AS e ON e.principal_id = a.principal_id AND e.last_used_at >= a.granted_at
          AND (a.tenant_id IS NULL OR e.tenant_id = a.tenant_id)
          AND (a.permissions IS NULL OR e.action_code = ANY (a.permissions))
          AND (e.resource_type IS DISTINCT FROM a.scope_type OR a.scope_id IS NULL OR e.resource_id = a.scope_id)
    WHERE a.effect = 'allow'
    GROUP BY a.tenant_id, a.binding_kind, a.binding_id, a.grantee_type, a.grantee_id, a.role_code, a.permissions,
             a.scope_type, a.scope_id, a.granted_by, a.granted_at, a.active_until;
COMMENT ON VIEW authz.binding_use IS
    'Every binding in force that gives something, with how many principals hold it and when it was, or could have been, last used by an access that left an event.';
COMMENT ON COLUMN authz.binding_use.tenant_id IS 'The binding''s tenant; NULL: the platform.';
COMMENT ON COLUMN authz.binding_use.binding_kind IS 'role_assignment, access_grant, allow_rule or privileged_session.';
COMMENT ON COLUMN authz.binding_use.binding_id IS 'Key of the binding.';
COMMENT ON COLUMN authz.binding_use.grantee_type IS 'principal, team, organization, role or any.';
COMMENT ON COLUMN authz.binding_use.grantee_id IS 'To whom.';
COMMENT ON COLUMN authz.binding_use.role_code IS 'The role, of a role assignment.';
COMMENT ON COLUMN authz.binding_use.permissions IS 'Which permissions it gives; NULL: every one.';
COMMENT ON COLUMN authz.binding_use.scope_type IS 'Kind of the scope or resource.';
COMMENT ON COLUMN authz.binding_use.scope_id IS 'Its key; NULL: the platform, or every resource of the type.';
COMMENT ON COLUMN authz.binding_use.granted_by IS 'Who granted it.';
COMMENT ON COLUMN authz.binding_use.granted_at IS 'When.';
COMMENT ON COLUMN authz.binding_use.active_until IS 'In force until here, exclusive; infinity: open.';
COMMENT ON COLUMN authz.binding_use.holders IS 'How many principals it reaches; 0: nobody, as a team without members, or everybody (any).';
COMMENT ON COLUMN authz.binding_use.last_used_at IS 'The last access since it was granted that it could have allowed; NULL: none.';
COMMENT ON COLUMN authz.binding_use.unused_for IS 'Since that access, or since it was granted.';

CREATE VIEW authz.stale_grant WITH (security_barrier) AS
    SELECT u.* FROM authz.binding_use AS u WHERE u.unused_for >= interval '90 days' AND u.grantee_type <> 'any';
COMMENT ON VIEW authz.stale_grant IS
    'Bindings in force that nobody has used for 90 days. For another number of days ask authz.binding_use.';
COMMENT ON COLUMN authz.stale_grant.tenant_id IS 'The binding''s tenant; NULL: the platform.';
COMMENT ON COLUMN authz.stale_grant.binding_kind IS 'role_assignment, access_grant, allow_rule or privileged_session.';
COMMENT ON COLUMN authz.stale_grant.binding_id IS 'Key of the binding.';
COMMENT ON COLUMN authz.stale_grant.grantee_type IS 'principal, team, organization, role or any.';
COMMENT ON COLUMN authz.stale_grant.grantee_id IS 'To whom.';
COMMENT ON COLUMN authz.stale_grant.role_code IS 'The role, of a role assignment.';
COMMENT ON COLUMN authz.stale_grant.permissions IS 'Which permissions it gives; NULL: every one.';
COMMENT ON COLUMN authz.stale_grant.scope_type IS 'Kind of the scope or resource.';
COMMENT ON COLUMN authz.stale_grant.scope_id IS 'Its key; NULL: the platform, or every resource of the type.';
COMMENT ON COLUMN authz.stale_grant.granted_by IS 'Who granted it.';
COMMENT ON COLUMN authz.stale_grant.granted_at IS 'When.';
COMMENT ON COLUMN authz.stale_grant.active_until IS 'In force until here, exclusive; infinity: open.';
COMMENT ON COLUMN authz.stale_grant.holders IS 'How many principals it reaches; 0: nobody, as a team without members, or everybody (any).';
COMMENT ON COLUMN authz.stale_grant.last_used_at IS 'The last access since it was granted that it could have allowed; NULL: none.';
COMMENT ON COLUMN authz.stale_grant.unused_for IS 'Since that access, or since it was granted.';

CREATE VIEW authz.expiring_grant WITH (security_barrier) AS
    SELECT x.tenant_id, x.binding_kind, x.binding_id, x.grantee_type, x.grantee_id, x.what, x.scope_type, x.scope_id,
           x.granted_by, x.granted_at, x.active_until AS ends_at,
           x.active_until - pg_catalog.statement_timestamp() AS ends_in
    FROM (
        SELECT DISTINCT a.tenant_id, a.binding_kind, a.binding_id, a.grantee_type, a.grantee_id,
               coalesce(a.role_code, pg_catalog.array_to_string(a.permissions, ', ')) AS what, a.scope_type, a.scope_id,
               a.granted_by, a.granted_at, a.active_until
        FROM authz.current_access AS a WHERE a.active_until < 'infinity'
        UNION ALL
        SELECT m.tenant_id, 'team_membership', m.team_membership_id, 'principal', m.principal_id::pg_catalog.text, m.role_code,
               'team', m.team_id::pg_catalog.text, m.granted_by, m.valid_from, m.active_until
        FROM authz.team_membership_history AS m
        WHERE m.active_from <= pg_catalog.statement_timestamp() AND m.active_until > pg_catalog.statement_timestamp()
          AND m.active_until < 'infinity'
        UNION ALL
        SELECT m.tenant_id, 'tenant_membership', m.membership_id, 'principal', m.principal_id::pg_catalog.text, m.member_kind,
               'tenant', m.tenant_id::pg_catalog.text, m.invited_by, m.joined_at, m.active_until
        FROM authz.tenant_membership AS m
        WHERE m.active_from <= pg_catalog.statement_timestamp() AND m.active_until > pg_catalog.statement_timestamp()
          AND m.active_until < 'infinity'
    ) AS x
    WHERE (SELECT authz.reads_all_evidence())
       OR x.tenant_id IN (SELECT authz.audited_tenants())
       OR (x.tenant_id IS NULL AND (SELECT authz.audits_platform()));
COMMENT ON VIEW authz.expiring_grant IS
    'Bindings and memberships in force that have an end, with how long that is off.';
COMMENT ON COLUMN authz.expiring_grant.tenant_id IS 'The tenant; NULL: the platform.';
COMMENT ON COLUMN authz.expiring_grant.binding_kind IS
    'role_assignment, access_grant, allow_rule, deny_rule, privileged_session, team_membership or tenant_membership.';
COMMENT ON COLUMN authz.expiring_grant.binding_id IS 'Its key.';
COMMENT ON COLUMN authz.expiring_grant.grantee_type IS 'principal, team, organization, role or any.';
COMMENT ON COLUMN authz.expiring_grant.grantee_id IS 'To whom.';
COMMENT ON COLUMN authz.expiring_grant.what IS 'The role, the permissions (NULL: every one), or the kind of membership.';
COMMENT ON COLUMN authz.expiring_grant.scope_type IS 'Kind of the scope or resource.';
COMMENT ON COLUMN authz.expiring_grant.scope_id IS 'Its key; NULL: the platform, or every resource of the type.';
COMMENT ON COLUMN authz.expiring_grant.granted_by IS 'Who granted it.';
COMMENT ON COLUMN authz.expiring_grant.granted_at IS 'When.';
COMMENT ON COLUMN authz.expiring_grant.ends_at IS 'In force until here, exclusive.';
COMMENT ON COLUMN authz.expiring_grant.ends_in IS 'How long that is from now.';
