-- The auditor's questions (R55): who granted what to whom, where, why and when; when was it removed, by whom and why; and
-- what was accessed while it was held. The bindings themselves say the first half, since nothing that grants is deleted;
-- change events say who did it where the row does not, and who ended it; access events say what it was used for.

CREATE VIEW authz.binding_evidence WITH (security_barrier) AS
    SELECT b.binding_kind, b.binding_id, b.tenant_id, b.grantee_type, b.grantee_id, b.what, b.scope_type, b.scope_id,
           coalesce(b.granted_by, made.actor_id) AS granted_by, made.db_role AS granted_as, b.granted_at,
           coalesce(made.reason, b.reason) AS reason, b.expires_at, b.removed_at, ended.actor_id AS removed_by,
           ended.db_role AS removed_as, coalesce(ended.reason, b.removal_reason) AS removal_reason,
           b.active_from, b.active_until
    FROM (
        SELECT 'role_assignment' AS binding_kind, a.assignment_id AS binding_id, a.tenant_id, 'principal' AS grantee_type,
               a.principal_id::pg_catalog.text AS grantee_id, a.role_code AS what, a.scope_type, a.scope_id, a.granted_by,
               a.granted_at, a.reason, a.expires_at, a.revoked_at AS removed_at, NULL AS removal_reason,
               a.active_from, a.active_until, 'principal_role_assignment' AS table_name
        FROM authz.principal_role_assignment AS a
        UNION ALL
        SELECT 'access_grant', g.grant_id, g.tenant_id, g.grantee_type, g.grantee_id, g.permission_code, g.resource_type,
               g.resource_id, g.granted_by, g.granted_at, g.reason, g.expires_at, g.revoked_at, NULL,
               g.active_from, g.active_until, 'resource_access_grant'
        FROM authz.resource_access_grant AS g
        UNION ALL
        SELECT CASE r.effect WHEN 'allow' THEN 'allow_rule' ELSE 'deny_rule' END, r.rule_id, r.tenant_id, r.grantee_type,
               r.grantee_id, r.permission_code, r.resource_type, r.resource_id, r.created_by, r.created_at, NULL, NULL,
               r.valid_until, NULL, r.active_from, r.active_until, 'resource_access_rule'
        FROM authz.resource_access_rule AS r
        UNION ALL
        SELECT 'team_membership', m.team_membership_id, m.tenant_id, 'principal', m.principal_id::pg_catalog.text,
               m.role_code, 'team', m.team_id::pg_catalog.text, m.granted_by, m.valid_from, NULL, NULL, m.valid_until, NULL,
               m.active_from, m.active_until, 'team_membership_history'
        FROM authz.team_membership_history AS m
        UNION ALL
        SELECT 'privileged_session', s.session_id, s.tenant_id, 'principal', s.principal_id::pg_catalog.text, s.session_kind,
               coalesce(s.scope_type, CASE WHEN s.tenant_id IS NULL THEN 'platform' ELSE 'tenant' END),
               coalesce(s.scope_id, s.tenant_id::pg_catalog.text), s.approved_by, coalesce(s.approved_at, s.requested_at),
               s.access_reason, s.expires_at, s.ended_at, s.end_reason, s.active_from, s.active_until,
               'privileged_access_session'
        FROM authz.privileged_access_session AS s
    ) AS b
    LEFT JOIN LATERAL (
        SELECT e.actor_id, e.db_role, e.after_value OPERATOR(pg_catalog.->>) 'reason' AS reason
        FROM authz.access_change_event AS e
        WHERE e.table_name OPERATOR(pg_catalog.=) b.table_name
          AND e.row_key OPERATOR(pg_catalog.=) b.binding_id::pg_catalog.text
          AND e.change_type OPERATOR(pg_catalog.=) 'insert'
        ORDER BY e.occurred_at LIMIT 1) AS made ON true
    LEFT JOIN LATERAL (
        SELECT e.actor_id, e.db_role, e.reason
        FROM authz.access_change_event AS e
        WHERE e.table_name OPERATOR(pg_catalog.=) b.table_name
          AND e.row_key OPERATOR(pg_catalog.=) b.binding_id::pg_catalog.text
          AND e.change_type OPERATOR(pg_catalog.<>) 'insert' AND b.removed_at IS NOT NULL
        ORDER BY e.occurred_at DESC LIMIT 1) AS ended ON true
    WHERE (SELECT authz.reads_all_evidence())
       OR b.tenant_id IN (SELECT authz.audited_tenants())
       OR (b.tenant_id IS NULL AND (SELECT authz.audits_platform()));
COMMENT ON VIEW authz.binding_evidence IS
    'Every binding there is or was: who granted what to whom, for which scope, why and when; when it was removed, by whom and why.';
COMMENT ON COLUMN authz.binding_evidence.binding_kind IS
    'role_assignment, access_grant, allow_rule, deny_rule, team_membership or privileged_session.';
COMMENT ON COLUMN authz.binding_evidence.binding_id IS 'Key of the binding in its table.';
COMMENT ON COLUMN authz.binding_evidence.tenant_id IS 'The tenant; NULL: the platform.';
COMMENT ON COLUMN authz.binding_evidence.grantee_type IS 'principal, team, organization, role or any.';
COMMENT ON COLUMN authz.binding_evidence.grantee_id IS 'To whom.';
COMMENT ON COLUMN authz.binding_evidence.what IS 'The role, the permission (NULL in a rule: every one), or the kind of session.';
COMMENT ON COLUMN authz.binding_evidence.scope_type IS 'Kind of the scope or resource.';
COMMENT ON COLUMN authz.binding_evidence.scope_id IS 'Its key; NULL: the platform, or every resource of the type.';
COMMENT ON COLUMN authz.binding_evidence.granted_by IS
    'Who granted it: as the row says, else whose session made it; of a privileged session who approved it.';
COMMENT ON COLUMN authz.binding_evidence.granted_as IS 'The database role that made the row.';
COMMENT ON COLUMN authz.binding_evidence.granted_at IS 'When.';
COMMENT ON COLUMN authz.binding_evidence.reason IS 'Why.';
COMMENT ON COLUMN authz.binding_evidence.expires_at IS 'Its expiry, agreed on beforehand.';
COMMENT ON COLUMN authz.binding_evidence.removed_at IS 'When it was removed; NULL: it was not.';
COMMENT ON COLUMN authz.binding_evidence.removed_by IS 'Whose session removed it; NULL: nobody''s, removed_as did it by hand or by maintenance.';
COMMENT ON COLUMN authz.binding_evidence.removed_as IS 'The database role that removed it.';
COMMENT ON COLUMN authz.binding_evidence.removal_reason IS 'Why it was removed.';
COMMENT ON COLUMN authz.binding_evidence.active_from IS 'In force from here.';
COMMENT ON COLUMN authz.binding_evidence.active_until IS 'In force until here, exclusive.';

CREATE VIEW authz.access_while_held WITH (security_barrier) AS
    SELECT b.binding_kind, b.binding_id, b.what, b.scope_type, b.scope_id, b.granted_by, b.reason, b.active_from,
           b.active_until, e.principal_id, e.audit_id, e.occurred_at, e.action_code, e.tenant_id, e.resource_type,
           e.resource_id, e.access_result, e.policy_reason, e.request_id, e.support_session_id, e.asked_by
    FROM authz.binding_evidence AS b
    CROSS JOIN LATERAL (
        -- One at a time: the principal itself; or whoever was in the team or organization, or in a team inside of it; or
        -- whoever held the role, or one that inherits it. Who was in two of these at once is one.
        SELECT b.grantee_id::pg_catalog.uuid AS principal_id, b.active_from, b.active_until
        WHERE b.grantee_type OPERATOR(pg_catalog.=) 'principal'
        UNION ALL
        SELECT grantee.principal_id, pg_catalog.lower(held.time), pg_catalog.upper(held.time)
        FROM (
            WITH RECURSIVE organization (organization_id) AS (
                SELECT b.grantee_id::pg_catalog.uuid WHERE b.grantee_type OPERATOR(pg_catalog.=) 'organization'
                UNION
                SELECT o.organization_id
                FROM organization AS above
                JOIN authz.organization AS o ON o.parent_organization_id OPERATOR(pg_catalog.=) above.organization_id
                WHERE o.tenant_id OPERATOR(pg_catalog.=) b.tenant_id
            ), team (team_id) AS (
                SELECT b.grantee_id::pg_catalog.uuid WHERE b.grantee_type OPERATOR(pg_catalog.=) 'team'
                UNION
                SELECT t.team_id
                FROM organization AS o
                JOIN authz.team AS t ON t.organization_id OPERATOR(pg_catalog.=) o.organization_id
                WHERE t.tenant_id OPERATOR(pg_catalog.=) b.tenant_id
                UNION
                SELECT t.team_id
                FROM team AS above JOIN authz.team AS t ON t.parent_team_id OPERATOR(pg_catalog.=) above.team_id
                WHERE t.tenant_id OPERATOR(pg_catalog.=) b.tenant_id
            ), role (role_code, active_from, active_until) AS (
                SELECT b.grantee_id COLLATE "C", '-infinity'::pg_catalog.timestamptz, 'infinity'::pg_catalog.timestamptz
                WHERE b.grantee_type OPERATOR(pg_catalog.=) 'role'
                UNION
                SELECT i.role_code, greatest(i.active_from, r.active_from), least(i.active_until, r.active_until)
                FROM role AS r
                JOIN authz.role_inheritance AS i ON i.inherited_role_code OPERATOR(pg_catalog.=) r.role_code
            ), part (principal_id, active_from, active_until) AS (
                SELECT m.principal_id, m.active_from, m.active_until
                FROM team AS t
                JOIN authz.team_membership_history AS m ON m.team_id OPERATOR(pg_catalog.=) t.team_id
                WHERE m.tenant_id OPERATOR(pg_catalog.=) b.tenant_id
                UNION ALL
                SELECT a.principal_id, greatest(a.active_from, r.active_from), least(a.active_until, r.active_until)
                FROM role AS r
                JOIN authz.principal_role_assignment AS a ON a.role_code OPERATOR(pg_catalog.=) r.role_code
                WHERE a.tenant_id IS NULL OR a.tenant_id OPERATOR(pg_catalog.=) b.tenant_id
            )
            SELECT p.principal_id,
                   pg_catalog.range_agg(pg_catalog.tstzrange(greatest(p.active_from, b.active_from),
                                                             least(p.active_until, b.active_until))) AS times
            FROM part AS p
            WHERE greatest(p.active_from, b.active_from) OPERATOR(pg_catalog.<) least(p.active_until, b.active_until)
            GROUP BY p.principal_id
        ) AS grantee
        CROSS JOIN LATERAL pg_catalog.unnest(grantee.times) AS held (time)
    ) AS h
    JOIN authz.access_audit_event AS e
      ON e.principal_id OPERATOR(pg_catalog.=) h.principal_id
     AND e.occurred_at OPERATOR(pg_catalog.>=) h.active_from AND e.occurred_at OPERATOR(pg_catalog.<) h.active_until
     AND (b.tenant_id IS NULL OR e.tenant_id OPERATOR(pg_catalog.=) b.tenant_id);
COMMENT ON VIEW authz.access_while_held IS
    'What a principal did, or was refused, while it held a binding (its own, or that of a team or organization that it was in, also by a team inside, or of a role that it held), in the binding''s tenant. Ask it for a binding_id or a grantee: it is as large as the history.';
COMMENT ON COLUMN authz.access_while_held.binding_kind IS 'Kind of the binding, as in authz.binding_evidence.';
COMMENT ON COLUMN authz.access_while_held.binding_id IS 'Key of the binding.';
COMMENT ON COLUMN authz.access_while_held.what IS 'The role, permission, or kind of session.';
COMMENT ON COLUMN authz.access_while_held.scope_type IS 'Kind of the scope that it was for.';
COMMENT ON COLUMN authz.access_while_held.scope_id IS 'The scope''s key.';
COMMENT ON COLUMN authz.access_while_held.granted_by IS 'Who granted it.';
COMMENT ON COLUMN authz.access_while_held.reason IS 'Why it was granted.';
COMMENT ON COLUMN authz.access_while_held.active_from IS 'It was in force from here.';
COMMENT ON COLUMN authz.access_while_held.active_until IS 'Until here, exclusive.';
COMMENT ON COLUMN authz.access_while_held.principal_id IS 'Who held it.';
COMMENT ON COLUMN authz.access_while_held.audit_id IS 'Key of the access event.';
COMMENT ON COLUMN authz.access_while_held.occurred_at IS 'When the access was.';
COMMENT ON COLUMN authz.access_while_held.action_code IS 'What was done.';
COMMENT ON COLUMN authz.access_while_held.tenant_id IS 'In which tenant.';
COMMENT ON COLUMN authz.access_while_held.resource_type IS 'Type of the resource.';
COMMENT ON COLUMN authz.access_while_held.resource_id IS 'Its key.';
COMMENT ON COLUMN authz.access_while_held.access_result IS 'allowed or denied.';
COMMENT ON COLUMN authz.access_while_held.policy_reason IS 'Reason code of a denial.';
COMMENT ON COLUMN authz.access_while_held.request_id IS 'The request that it was part of.';
COMMENT ON COLUMN authz.access_while_held.support_session_id IS 'The privileged session that covered the resource.';
COMMENT ON COLUMN authz.access_while_held.asked_by IS
    'Whose session it was: if not principal_id''s own, somebody else has asked whether it may; NULL: there was no session.';
