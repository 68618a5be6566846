-- The decision rule of docs/decision-rule.md, stated a second time: sets and recursion over the tables, nothing of the
-- extension's code. It is slow and plain on purpose. Where it and the engine differ, the document says who is right.
--
--   oracle.decide(principal, permission, resource, tenant, context, at)   one question
--   oracle.decide_many(questions)                                         many, in one statement
--   oracle.resource_row                                                   what the fixture's tables hold
--   oracle.condition_holds(...)                                           the conditions that generated policies use

CREATE SCHEMA oracle;

CREATE TYPE oracle.question AS (
    id         bigint,
    principal  uuid,
    permission text COLLATE "C",
    resource   text COLLATE "C",
    tenant     uuid,
    context    jsonb,
    at         timestamptz
);

-- Every protected row, built-in or registered, in one shape. A row of organization, team or project names what
-- contains it in the same columns as a case does.
CREATE VIEW oracle.resource_row (type, tenant_id, key, organization_id, team_id, project_id, owner_id,
                                 confidentiality, deleted, parent_type, parent_key, attributes) AS
SELECT 'tenant', t.tenant_id, t.tenant_id::text, NULL::uuid, NULL::uuid, NULL::uuid, NULL::uuid,
       'normal', false, NULL, NULL, to_jsonb(t)
  FROM authz.tenant t
UNION ALL
SELECT 'organization', o.tenant_id, o.organization_id::text, o.parent_organization_id, NULL, NULL, NULL,
       'normal', false, NULL, NULL, to_jsonb(o)
  FROM authz.organization o
UNION ALL
SELECT 'team', t.tenant_id, t.team_id::text, t.organization_id, t.parent_team_id, NULL, NULL,
       'normal', false, NULL, NULL, to_jsonb(t)
  FROM authz.team t
UNION ALL
SELECT 'project', p.tenant_id, p.project_id::text, p.organization_id, NULL, NULL, NULL,
       'normal', false, NULL, NULL, to_jsonb(p)
  FROM authz.project p
UNION ALL
SELECT 'case', c.tenant_id, c.case_id::text, c.owning_org_id, c.owning_team_id, c.project_id, c.owner_id,
       c.confidentiality_level, c.deleted_at IS NOT NULL, NULL, NULL, to_jsonb(c)
  FROM public.case_record c
 WHERE EXISTS (SELECT FROM authz.resource_type r WHERE r.resource_type = 'case')
UNION ALL
SELECT 'document', d.tenant_id, d.document_id::text, NULL, NULL, NULL, NULL,
       d.confidentiality_level, false, 'case', d.case_id::text, to_jsonb(d)
  FROM public.case_document d
 WHERE EXISTS (SELECT FROM authz.resource_type r WHERE r.resource_type = 'document')
UNION ALL
SELECT 'page', p.tenant_id, p.page_id::text, NULL, NULL, NULL, NULL,
       'normal', false, 'document', p.document_id::text, to_jsonb(p)
  FROM public.document_page p
 WHERE EXISTS (SELECT FROM authz.resource_type r WHERE r.resource_type = 'page');

-- CEL is not restated here: only the texts that generated policies use, each by hand. A missing attribute is an error
-- in CEL, and an error is false. An unlisted text is a mistake of the test, and says so.
CREATE FUNCTION oracle.condition_holds(condition text, resource jsonb, context jsonb, at timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    holds boolean := CASE condition
        WHEN 'true' THEN true
        WHEN 'false' THEN false
        WHEN '1 / 0 == 1' THEN false
        WHEN 'context.region == ''eu''' THEN coalesce(context -> 'region' = '"eu"', false)
        WHEN 'context.level >= 3' THEN coalesce(jsonb_typeof(context -> 'level') = 'number'
                                                AND (context ->> 'level')::numeric >= 3, false)
        WHEN 'has(context.ticket)' THEN context ? 'ticket'
        WHEN 'resource.title == ''alpha''' THEN coalesce(resource ->> 'title' = 'alpha', false)
        WHEN 'now < timestamp(''2020-01-01T00:00:00Z'')' THEN at < '2020-01-01T00:00:00Z'
        WHEN 'now > timestamp(''2020-01-01T00:00:00Z'') && context.level < 3'
            THEN at > '2020-01-01T00:00:00Z' AND coalesce(jsonb_typeof(context -> 'level') = 'number'
                                                          AND (context ->> 'level')::numeric < 3, false)
    END;
BEGIN
    IF holds IS NULL THEN
        RAISE EXCEPTION 'the oracle does not know the condition %', condition;
    END IF;
    RETURN holds;
END $$;

-- Is t in [from, until)? NULL is open on either side.
CREATE FUNCTION oracle.during(t timestamptz, valid_from timestamptz, valid_until timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT (valid_from IS NULL OR valid_from <= t) AND (valid_until IS NULL OR t < valid_until)
$$;

CREATE FUNCTION oracle.decide_many(questions oracle.question[]) RETURNS TABLE (id bigint, allowed boolean, reason text)
LANGUAGE sql STABLE
-- Without statistics on its intermediate results the planner would take them for small.
SET enable_nestloop = off SET jit = off AS $$
WITH RECURSIVE
-- == What is asked =====================================================================================
asked AS MATERIALIZED (
    SELECT q.id, q.principal, q.permission, q.resource, q.tenant, coalesce(q.context, '{}') AS context,
           coalesce(q.at, statement_timestamp()) AS t, coalesce(q.at < statement_timestamp(), false) AS past
      FROM unnest(questions) AS q
),
instant AS (SELECT DISTINCT t FROM asked),
asker AS (SELECT DISTINCT principal, t, past FROM asked WHERE principal IS NOT NULL),

-- == Step 2: the resource, and for each question the parents that must be visible too ====================
res AS MATERIALIZED (
    SELECT row_number() OVER () AS rid, r.type COLLATE "C" AS type, r.tenant_id, r.key COLLATE "C" AS key,
           r.organization_id, r.team_id, r.project_id, r.owner_id, r.confidentiality, r.deleted,
           r.parent_type COLLATE "C" AS parent_type, r.parent_key COLLATE "C" AS parent_key, r.attributes
      FROM oracle.resource_row r
),
sole AS (SELECT type, key, min(rid) AS rid FROM res GROUP BY type, key HAVING count(*) = 1),
view_permission AS (
    SELECT k.type, coalesce(r.select_permission, v.permission_code, d.permission_code) AS permission
      FROM (SELECT DISTINCT type FROM res) AS k
      LEFT JOIN authz.resource_type r ON r.resource_type = k.type
      LEFT JOIN authz.permission_definition v ON v.permission_code = k.type || '.view'
      LEFT JOIN authz.permission_definition d ON d.permission_code = k.type || '.read'
),
target AS (
    SELECT a.id, 0 AS level, a.principal, a.t, a.past, a.context, a.permission, coalesce(s.rid, g.rid) AS rid
      FROM asked a
      LEFT JOIN authz.permission_definition p ON p.permission_code = a.permission
      LEFT JOIN sole s ON a.tenant IS NULL AND s.type = p.resource_type AND s.key = a.resource
      LEFT JOIN res g ON g.tenant_id = a.tenant AND g.type = p.resource_type AND g.key = a.resource
    UNION ALL
    SELECT x.id, x.level + 1, x.principal, x.t, x.past, x.context, v.permission, parent.rid
      FROM target x
      JOIN res child ON child.rid = x.rid AND child.parent_key IS NOT NULL
      JOIN view_permission v ON v.type = child.parent_type AND v.permission IS NOT NULL
      LEFT JOIN res parent ON parent.tenant_id = child.tenant_id AND parent.type = child.parent_type
                          AND parent.key = child.parent_key
     WHERE x.level < 10
),

-- == The scope chain: the closure of containment within one tenant =======================================
container AS (
    SELECT c.tenant_id, c.type, c.key, inside.type AS in_type, inside.key AS in_key
      FROM res c
     CROSS JOIN LATERAL (VALUES ('organization', c.organization_id::text), ('team', c.team_id::text),
                                ('project', c.project_id::text), ('tenant', c.tenant_id::text),
                                (c.parent_type, c.parent_key)) AS named(type, key)
      -- What is not there contains nothing.
      JOIN res inside ON inside.tenant_id = c.tenant_id AND inside.type = named.type AND inside.key = named.key
),
chain AS (
    SELECT rid, tenant_id, type, key FROM res
    UNION
    SELECT c.rid, c.tenant_id, k.in_type, k.in_key
      FROM chain c JOIN container k ON k.tenant_id = c.tenant_id AND k.type = c.type AND k.key = c.key
),
-- The platform contains everything and has no node id. It is all that contains a row without a tenant.
scope AS MATERIALIZED (
    SELECT rid, tenant_id, type, key FROM chain
    UNION ALL SELECT rid, tenant_id, 'platform', '' FROM res
),

-- == Roles and permissions ==============================================================================
inherits AS (
    SELECT i.t, r.role_code AS role, r.role_code AS inherited FROM instant i CROSS JOIN authz.role_definition r
    UNION
    SELECT h.t, h.role, d.inherited_role_code
      FROM inherits h JOIN authz.role_inheritance d ON d.role_code = h.inherited
     WHERE oracle.during(h.t, d.valid_from, d.valid_until)
),
implies AS (
    SELECT permission_code AS permission, permission_code AS implied FROM authz.permission_definition
    UNION
    SELECT m.permission, i.implied_permission_code
      FROM implies m JOIN authz.permission_implication i ON i.permission_code = m.implied
),
gives AS MATERIALIZED (
    SELECT DISTINCT h.t, h.role, m.implied AS permission, rp.condition
      FROM inherits h
      JOIN authz.role_permission rp ON rp.role_code = h.inherited AND oracle.during(h.t, rp.valid_from, rp.valid_until)
      JOIN implies m ON m.permission = rp.permission_code
),

-- == Who the principal is ===============================================================================
active AS (
    SELECT a.principal, a.t
      FROM asker a
      JOIN authz.principal p ON p.principal_id = a.principal
      LEFT JOIN authz.account_security s ON s.principal_id = a.principal
     WHERE CASE WHEN a.past
                THEN EXISTS (SELECT FROM authz.principal_status_history h
                              WHERE h.principal_id = a.principal AND h.status = 'active'
                                AND oracle.during(a.t, h.valid_from, h.valid_until))
                ELSE p.status = 'active' END
       AND CASE WHEN a.past
                THEN NOT EXISTS (SELECT FROM authz.principal_lock_history h
                                  WHERE h.principal_id = a.principal AND oracle.during(a.t, h.valid_from, h.valid_until))
                ELSE (p.locked_until IS NULL OR p.locked_until <= a.t)
                     AND (s.locked_until IS NULL OR s.locked_until <= a.t) END
),
member AS (
    SELECT DISTINCT a.principal, a.t, m.tenant_id
      FROM asker a
      JOIN authz.tenant_membership m ON m.principal_id = a.principal
       AND oracle.during(a.t, m.joined_at, least(m.expires_at, m.revoked_at))
      JOIN authz.tenant t ON t.tenant_id = m.tenant_id
       AND CASE WHEN a.past
                THEN EXISTS (SELECT FROM authz.tenant_status_history h
                              WHERE h.tenant_id = t.tenant_id AND h.status = 'active'
                                AND oracle.during(a.t, h.valid_from, h.valid_until))
                ELSE t.status = 'active' END
     WHERE CASE WHEN a.past
                THEN EXISTS (SELECT FROM authz.tenant_membership_history h
                              WHERE h.principal_id = a.principal AND h.tenant_id = m.tenant_id
                                AND h.joined_at = m.joined_at AND h.status = 'active'
                                AND oracle.during(a.t, h.valid_from, h.valid_until))
                ELSE m.status = 'active' END
),
in_team AS (
    SELECT a.principal, a.t, m.tenant_id, m.team_id
      FROM asker a
      JOIN authz.team_membership_history m ON m.principal_id = a.principal
       AND oracle.during(a.t, m.valid_from, m.valid_until)
    UNION
    SELECT i.principal, i.t, i.tenant_id, team.parent_team_id
      FROM in_team i JOIN authz.team ON team.tenant_id = i.tenant_id AND team.team_id = i.team_id
     WHERE team.parent_team_id IS NOT NULL
),
in_organization AS (
    SELECT i.principal, i.t, i.tenant_id, team.organization_id
      FROM in_team i JOIN authz.team ON team.tenant_id = i.tenant_id AND team.team_id = i.team_id
     WHERE team.organization_id IS NOT NULL
    UNION
    SELECT i.principal, i.t, i.tenant_id, o.parent_organization_id
      FROM in_organization i
      JOIN authz.organization o ON o.tenant_id = i.tenant_id AND o.organization_id = i.organization_id
     WHERE o.parent_organization_id IS NOT NULL
),
assigned AS MATERIALIZED (
    SELECT a.principal, a.t, s.tenant_id, s.scope_type, coalesce(s.scope_id, '') AS scope_key, s.role_code AS role
      FROM asker a
      JOIN authz.principal_role_assignment s ON s.principal_id = a.principal
       AND oracle.during(a.t, s.granted_at, least(s.expires_at, s.revoked_at))
),
-- A subject without a tenant counts in every tenant: the principal itself, and roles held at platform scope.
subject AS MATERIALIZED (
    SELECT principal, t, NULL::uuid AS tenant_id, 'principal' AS kind, principal::text AS subject FROM asker
    UNION SELECT principal, t, NULL, 'any', '' FROM asker
    UNION SELECT principal, t, tenant_id, 'team', team_id::text FROM in_team
    UNION SELECT principal, t, tenant_id, 'organization', organization_id::text FROM in_organization
    UNION SELECT s.principal, s.t, CASE WHEN s.scope_type <> 'platform' THEN s.tenant_id END, 'role', h.inherited
            FROM assigned s JOIN inherits h ON h.t = s.t AND h.role = s.role
),
session AS MATERIALIZED (
    SELECT a.principal, a.t, s.session_id, s.session_kind, s.tenant_id, s.scope_type, coalesce(s.scope_id, '') AS scope_key,
           s.includes_sensitive AND s.approved_by IS NOT NULL AND s.approved_by <> s.principal_id AS sensitive
      FROM asker a
      JOIN authz.privileged_access_session s ON s.principal_id = a.principal
     WHERE s.started_at <= a.t AND oracle.during(a.t, s.started_at, least(s.expires_at, s.ended_at))
),

-- == Inquiries: the permission asked, and those that steps 4 and 7 ask for ==============================
inquiry AS MATERIALIZED (
    SELECT row_number() OVER () AS inquiry, i.*
      FROM (SELECT DISTINCT x.principal, x.t, x.context, x.rid, res.tenant_id, p.permission_code AS permission,
                   member.tenant_id IS NOT NULL AS is_member
              FROM target x
              JOIN res ON res.rid = x.rid
             CROSS JOIN LATERAL (VALUES (x.permission), (res.type || '.view_deleted'),
                                        (res.type || '.view_restricted'), (res.type || '.view_sealed')) AS wanted(code)
              JOIN authz.permission_definition p ON p.permission_code = wanted.code
              LEFT JOIN member ON member.principal = x.principal AND member.t = x.t AND member.tenant_id = res.tenant_id
             WHERE x.principal IS NOT NULL) AS i
),

-- == Step 5: rules =======================================================================================
rule_on AS (
    SELECT DISTINCT r.rule_id, s.rid
      FROM authz.resource_access_rule r
      JOIN scope s ON s.tenant_id = r.tenant_id AND s.type = r.resource_type
                  AND (r.resource_id IS NULL OR s.key = r.resource_id)
),
rule_for AS (
    SELECT DISTINCT r.rule_id, r.effect, r.priority, r.permission_code, s.principal, s.t
      FROM authz.resource_access_rule r
      JOIN subject s ON s.kind = r.grantee_type AND s.subject = coalesce(r.grantee_id, '')
                    AND (s.tenant_id IS NULL OR s.tenant_id = r.tenant_id)
     WHERE oracle.during(s.t, r.valid_from, r.valid_until)
),
-- An allow rule lives inside its tenant, so without the membership it is not there, neither as a binding nor to
-- outweigh a deny.
rule_applies AS (
    SELECT i.inquiry, f.effect, f.priority
      FROM inquiry i
      JOIN rule_on o ON o.rid = i.rid
      JOIN rule_for f ON f.rule_id = o.rule_id AND f.principal = i.principal AND f.t = i.t
     WHERE (f.permission_code IS NULL OR f.permission_code = i.permission)
       AND (f.effect = 'deny' OR i.is_member)
),
ruled AS (
    SELECT w.inquiry, bool_or(w.effect = 'deny') AS denied
      FROM (SELECT *, rank() OVER (PARTITION BY inquiry ORDER BY priority DESC) AS place FROM rule_applies) AS w
     WHERE w.place = 1
     GROUP BY w.inquiry
),

-- == Step 6: bindings ====================================================================================
covered AS (
    SELECT DISTINCT s.principal, s.t, s.session_kind, s.sensitive, res.rid
      FROM session s
      JOIN res ON s.tenant_id IS NULL OR s.tenant_id = res.tenant_id
      LEFT JOIN scope ON scope.rid = res.rid AND scope.type = s.scope_type AND scope.key = s.scope_key
     WHERE s.scope_type IS NULL OR scope.rid IS NOT NULL
),
platform AS (
    SELECT DISTINCT i.inquiry, g.condition
      FROM inquiry i
      JOIN assigned s ON s.principal = i.principal AND s.t = i.t AND s.scope_type = 'platform'
      JOIN gives g ON g.t = i.t AND g.role = s.role AND g.permission = i.permission
),
binding AS (
    SELECT inquiry, condition FROM platform
    UNION ALL
    -- assignments inside the tenant
    SELECT i.inquiry, g.condition
      FROM inquiry i
      JOIN assigned s ON s.principal = i.principal AND s.t = i.t
      JOIN scope c ON c.rid = i.rid AND c.tenant_id = s.tenant_id AND c.type = s.scope_type AND c.key = s.scope_key
      JOIN gives g ON g.t = i.t AND g.role = s.role AND g.permission = i.permission
     WHERE i.is_member AND s.scope_type <> 'platform'
    UNION ALL
    -- ownership: the owner role counts as assigned at the resource that is owned, and so covers what that contains
    SELECT i.inquiry, g.condition
      FROM inquiry i
      JOIN scope c ON c.rid = i.rid
      JOIN res owned ON owned.tenant_id = c.tenant_id AND owned.type = c.type AND owned.key = c.key
      JOIN authz.resource_type rt ON rt.resource_type = owned.type
      JOIN subject s ON s.principal = i.principal AND s.t = i.t AND s.kind IN ('principal', 'team', 'organization')
                    AND s.subject = owned.owner_id::text AND (s.tenant_id IS NULL OR s.tenant_id = owned.tenant_id)
      JOIN gives g ON g.t = i.t AND g.role = rt.owner_role AND g.permission = i.permission
     WHERE i.is_member
    UNION ALL
    -- grants
    SELECT i.inquiry, NULL
      FROM inquiry i
      JOIN subject s ON s.principal = i.principal AND s.t = i.t
      JOIN authz.resource_access_grant r ON r.grantee_type = s.kind AND r.grantee_id = s.subject
       AND (s.tenant_id IS NULL OR s.tenant_id = r.tenant_id)
       AND oracle.during(i.t, r.granted_at, least(r.expires_at, r.revoked_at))
      JOIN scope c ON c.rid = i.rid AND c.tenant_id = r.tenant_id AND c.type = r.resource_type AND c.key = r.resource_id
      JOIN implies m ON m.permission = r.permission_code AND m.implied = i.permission
     WHERE i.is_member AND s.kind <> 'any'
    UNION ALL
    -- winning allow rules
    SELECT inquiry, NULL FROM ruled WHERE NOT denied
    UNION ALL
    -- privileged sessions
    SELECT i.inquiry, NULL
      FROM inquiry i
      JOIN covered c ON c.principal = i.principal AND c.t = i.t AND c.rid = i.rid
      JOIN authz.permission_definition p ON p.permission_code = i.permission
     WHERE CASE WHEN p.action_code IN ('view_restricted', 'view_sealed') THEN c.sensitive
                WHEN c.session_kind = 'break_glass' THEN true
                ELSE p.access_mode = 'read' OR (p.access_mode = 'auto' AND p.action_code IN ('view', 'read', 'list')) END
),

-- == What each inquiry comes to =========================================================================
true_condition AS (
    SELECT DISTINCT b.inquiry
      FROM (SELECT DISTINCT inquiry, condition FROM binding) AS b
      JOIN inquiry i ON i.inquiry = b.inquiry
      JOIN res ON res.rid = i.rid
     WHERE b.condition IS NULL OR oracle.condition_holds(b.condition, res.attributes, i.context, i.t)
),
finding AS MATERIALIZED (
    SELECT i.principal, i.t, i.context, i.rid, i.permission, i.is_member,
           coalesce(r.denied, false) AS denied,
           EXISTS (SELECT FROM binding b WHERE b.inquiry = i.inquiry) AS given,
           EXISTS (SELECT FROM true_condition b WHERE b.inquiry = i.inquiry) AS condition_true,
           EXISTS (SELECT FROM platform b WHERE b.inquiry = i.inquiry) AS from_platform
      FROM inquiry i
      LEFT JOIN ruled r ON r.inquiry = i.inquiry
),

-- == The nine steps, for the resource and each of its parents ===========================================
decided AS (
    SELECT x.id, x.level,
           CASE
               WHEN active.principal IS NULL THEN 'principal_inactive'
               WHEN x.rid IS NULL THEN 'resource_not_found'
               WHEN NOT (f.is_member OR f.from_platform
                         OR EXISTS (SELECT FROM covered c WHERE c.principal = x.principal AND c.t = x.t AND c.rid = x.rid))
                   THEN 'outside_tenant'
               WHEN res.deleted AND NOT coalesce(deleted.condition_true AND NOT deleted.denied, false)
                   THEN 'resource_deleted'
               WHEN f.denied THEN 'explicit_deny'
               WHEN NOT f.given THEN 'no_grant'
               WHEN res.confidentiality IS NULL OR res.confidentiality NOT IN ('normal', 'restricted', 'sealed')
                   THEN 'confidentiality'
               WHEN res.confidentiality <> 'normal'
                    AND NOT coalesce(confidential.condition_true AND NOT confidential.denied, false)
                   THEN 'confidentiality'
               WHEN rt.clearance ->> res.confidentiality IS NOT NULL
                    AND NOT coalesce(o.clearance_level >= rt.clearance ->> res.confidentiality, false)
                   THEN 'confidentiality'
               WHEN NOT f.condition_true THEN 'condition_failed'
               WHEN p.requires_mfa
                    AND NOT ((coalesce(o.mfa_enabled, false) OR coalesce(a.mfa_enabled, false))
                             AND coalesce(x.context -> 'mfa' = 'true', false))
                   THEN 'mfa_required'
           END AS reason
      FROM target x
      LEFT JOIN active ON active.principal = x.principal AND active.t = x.t
      LEFT JOIN res ON res.rid = x.rid
      LEFT JOIN authz.resource_type rt ON rt.resource_type = res.type
      LEFT JOIN authz.permission_definition p ON p.permission_code = x.permission
      LEFT JOIN authz.operator_profile o ON o.principal_id = x.principal
      LEFT JOIN authz.account_security a ON a.principal_id = x.principal
      LEFT JOIN finding f ON f.principal = x.principal AND f.t = x.t AND f.context = x.context AND f.rid = x.rid
                         AND f.permission = x.permission
      LEFT JOIN finding deleted ON deleted.principal = x.principal AND deleted.t = x.t AND deleted.context = x.context
                         AND deleted.rid = x.rid AND deleted.permission = res.type || '.view_deleted'
      LEFT JOIN finding confidential ON confidential.principal = x.principal AND confidential.t = x.t
                         AND confidential.context = x.context AND confidential.rid = x.rid
                         AND confidential.permission = res.type || '.view_' || res.confidentiality
)
-- The child's own steps come first; then each parent's. The first that fails gives the reason.
SELECT a.id, first.reason IS NULL, first.reason
  FROM asked a
  LEFT JOIN (SELECT DISTINCT ON (id) id, reason FROM decided WHERE reason IS NOT NULL ORDER BY id, level) AS first
    ON first.id = a.id
$$;

CREATE FUNCTION oracle.decide(principal uuid, permission text, resource text, tenant uuid DEFAULT NULL,
                              context jsonb DEFAULT NULL, at timestamptz DEFAULT NULL,
                              OUT allowed boolean, OUT reason text)
LANGUAGE sql STABLE AS $$
    SELECT d.allowed, d.reason
      FROM oracle.decide_many(ARRAY[ROW(1, principal, permission, resource, tenant, context, at)::oracle.question]) AS d
$$;
