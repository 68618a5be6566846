-- A sample organisation: two tenants, an ombudsman's office and a clinic, and the cases that they handle. Everything is
-- written with plain SQL, as a database owner would load it; authz_ext must be installed in the database.

CREATE SCHEMA demo;

-- Ids that a reader can tell apart: the same name gives the same id.
CREATE FUNCTION demo.id(name text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN md5('authz_ext demo ' || name)::uuid;

BEGIN;

-- Scopes ---------------------------------------------------------------------------------------------------------

INSERT INTO authz.tenant (tenant_id, slug, name, status) VALUES
    (demo.id('northgate'), 'northgate', 'Northgate Ombudsman', 'active'),
    (demo.id('harbor'), 'harbor', 'Harbor Clinic', 'active');

-- Office > Investigations > Fraud, and Office > Legal.
INSERT INTO authz.organization (tenant_id, organization_id, parent_organization_id, name) VALUES
    (demo.id('northgate'), demo.id('Office'), NULL, 'Office'),
    (demo.id('northgate'), demo.id('Investigations'), demo.id('Office'), 'Investigations'),
    (demo.id('northgate'), demo.id('Fraud'), demo.id('Investigations'), 'Fraud'),
    (demo.id('northgate'), demo.id('Legal'), demo.id('Office'), 'Legal'),
    (demo.id('harbor'), demo.id('Complaints'), NULL, 'Complaints');

INSERT INTO authz.team (tenant_id, team_id, parent_team_id, organization_id, name) VALUES
    (demo.id('northgate'), demo.id('Field'), NULL, demo.id('Investigations'), 'Field'),
    (demo.id('northgate'), demo.id('Field East'), demo.id('Field'), NULL, 'Field East');

INSERT INTO authz.project (tenant_id, project_id, organization_id, name) VALUES
    (demo.id('northgate'), demo.id('Audit 2026'), demo.id('Legal'), 'Audit 2026');

-- Permissions and roles ------------------------------------------------------------------------------------------

INSERT INTO authz.permission_definition (permission_code, resource_type, action_code, description, requires_mfa) VALUES
    ('case.view', 'case', 'view', 'Read a case', false),
    ('case.comment', 'case', 'comment', 'Comment on a case', false),
    ('case.edit', 'case', 'edit', 'Change a case', false),
    ('case.approve', 'case', 'approve', 'Approve a case''s decision', true),
    ('case.view_restricted', 'case', 'view_restricted', 'Read restricted cases', false),
    ('case.view_sealed', 'case', 'view_sealed', 'Read sealed cases', false),
    ('case.view_deleted', 'case', 'view_deleted', 'Read deleted cases', false),
    ('organization.view', 'organization', 'view', 'See an organization', false);

-- Who may edit may comment, and who may comment may view.
INSERT INTO authz.permission_implication (permission_code, implied_permission_code) VALUES
    ('case.edit', 'case.comment'),
    ('case.comment', 'case.view');

INSERT INTO authz.role_definition (role_code, role_name, role_kind, is_system_role, description) VALUES
    ('viewer', 'Viewer', 'business', false, 'Reads cases'),
    ('caseworker', 'Caseworker', 'business', false, 'Works on cases'),
    ('lead', 'Lead', 'business', false, 'Approves, and reads restricted cases'),
    ('director', 'Director', 'business', false, 'Reads sealed and deleted cases too'),
    ('case_owner', 'Case owner', 'business', false, 'What the owner of a case may do with it'),
    ('auditor', 'Auditor', 'business', false, 'Reads cases of every tenant, for an audit only');

-- director > lead > caseworker > viewer
INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES
    ('director', 'lead'),
    ('lead', 'caseworker'),
    ('caseworker', 'viewer');

INSERT INTO authz.role_permission (role_code, permission_code, condition) VALUES
    ('viewer', 'case.view', NULL),
    ('viewer', 'organization.view', NULL),
    ('caseworker', 'case.edit', NULL),
    ('lead', 'case.approve', NULL),
    ('lead', 'case.view_restricted', NULL),
    ('director', 'case.view_sealed', NULL),
    ('director', 'case.view_deleted', NULL),
    ('case_owner', 'case.edit', NULL),
    ('auditor', 'case.view', 'context.purpose == "audit"');

-- People ---------------------------------------------------------------------------------------------------------

INSERT INTO authz.principal (principal_id, principal_type, external_id, email, display_name, status)
SELECT demo.id(name), 'human', lower(name) || '@example.org', lower(name) || '@example.org', name, status
FROM (VALUES ('Alice', 'active'),      -- director of the ombudsman's office
             ('Bob', 'active'),        -- caseworker in Investigations
             ('Carol', 'active'),      -- in the team Field East
             ('Dave', 'active'),       -- lead, but his membership is suspended
             ('Erin', 'active'),       -- external reviewer of one case
             ('Frank', 'active'),      -- support engineer, member of no tenant
             ('Grace', 'active'),      -- caseworker everywhere, but for a conflict of interest
             ('Heidi', 'active'),      -- lead in the other tenant
             ('Ivan', 'suspended'),    -- was a caseworker; the whole identity is suspended
             ('Olga', 'active'),       -- auditor of the platform
             ('Oscar', 'active')       -- owns a case and has no role
     ) AS person (name, status);

INSERT INTO authz.operator_profile (principal_id, operator_role, clearance_level, mfa_enabled) VALUES
    (demo.id('Alice'), 'Director', 'L3', true),
    (demo.id('Heidi'), 'Lead', 'L2', true);

INSERT INTO authz.tenant_membership (tenant_id, principal_id, status, member_kind)
SELECT demo.id(tenant), demo.id(name), status, kind
FROM (VALUES ('northgate', 'Alice', 'active', 'member'),
             ('northgate', 'Bob', 'active', 'member'),
             ('northgate', 'Carol', 'active', 'member'),
             ('northgate', 'Dave', 'suspended', 'member'),
             ('northgate', 'Erin', 'active', 'external'),
             ('northgate', 'Grace', 'active', 'member'),
             ('northgate', 'Ivan', 'active', 'member'),
             ('northgate', 'Oscar', 'active', 'member'),
             ('harbor', 'Heidi', 'active', 'member')
     ) AS membership (tenant, name, status, kind);

INSERT INTO authz.team_membership_history (tenant_id, team_id, principal_id, role_code) VALUES
    (demo.id('northgate'), demo.id('Field East'), demo.id('Carol'), 'viewer');

-- Cases: an ordinary table of the application, which authz_ext is told about -------------------------------------------

CREATE TABLE public.case_record (
    tenant_id uuid NOT NULL,
    case_id uuid NOT NULL,
    organization_id uuid,
    team_id uuid,
    project_id uuid,
    owner_id uuid,
    confidentiality text NOT NULL DEFAULT 'normal',
    deleted_at timestamptz,
    title text NOT NULL,
    PRIMARY KEY (tenant_id, case_id)
);
CREATE INDEX ON public.case_record (case_id);

INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column, organization_column, team_column,
                                 project_column, owner_column, confidentiality_column, deleted_at_column, owner_role,
                                 clearance) VALUES
    ('case', 'public.case_record', 'case_id', 'tenant_id', 'organization_id', 'team_id',
     'project_id', 'owner_id', 'confidentiality', 'deleted_at', 'case_owner', '{"sealed": "L3"}');

INSERT INTO public.case_record (tenant_id, case_id, organization_id, team_id, project_id, owner_id, confidentiality,
                                deleted_at, title)
SELECT demo.id(tenant), demo.id(title), demo.id(organization), demo.id(team), demo.id(project), demo.id(owner),
       confidentiality, CASE WHEN deleted THEN now() END, title
FROM (VALUES ('northgate', 'Permit dispute', 'Investigations', NULL, NULL, 'Oscar', 'normal', false),
             ('northgate', 'Procurement fraud', 'Fraud', NULL, NULL, NULL, 'restricted', false),
             ('northgate', 'Whistleblower', 'Legal', NULL, 'Audit 2026', NULL, 'sealed', false),
             ('northgate', 'Noise complaint', NULL, 'Field East', NULL, NULL, 'normal', false),
             ('northgate', 'Withdrawn claim', 'Investigations', NULL, NULL, NULL, 'normal', true),
             ('harbor', 'Billing error', 'Complaints', NULL, NULL, NULL, 'normal', false)
     ) AS sample (tenant, title, organization, team, project, owner, confidentiality, deleted);

-- Who may do what where ------------------------------------------------------------------------------------------

INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id, granted_by,
                                             reason)
SELECT demo.id(tenant), demo.id(name), role, scope_type, demo.id(scope)::text,
       CASE tenant WHEN 'northgate' THEN demo.id('Alice') END, reason
FROM (VALUES ('northgate', 'Alice', 'director', 'tenant', 'northgate', 'head of the office'),
             ('northgate', 'Bob', 'caseworker', 'organization', 'Investigations', 'works there'),
             ('northgate', 'Dave', 'lead', 'tenant', 'northgate', 'until his leave'),
             ('northgate', 'Grace', 'caseworker', 'tenant', 'northgate', 'stands in for everybody'),
             ('northgate', 'Ivan', 'caseworker', 'tenant', 'northgate', 'was a caseworker'),
             ('harbor', 'Heidi', 'lead', 'tenant', 'harbor', 'head of complaints'),
             (NULL, 'Olga', 'auditor', 'platform', NULL, 'yearly audit')
     ) AS assignment (tenant, name, role, scope_type, scope, reason);

-- Given to the team Field: so to Field East, which is a part of it, and to Carol.
INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id,
                                         permission_code, granted_by, reason) VALUES
    (demo.id('northgate'), 'case', demo.id('Noise complaint')::text, 'team', demo.id('Field')::text,
     'case.comment', demo.id('Alice'), 'the field teams handle it');

-- The external reviewer gets one case for one week.
INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id,
                                         permission_code, granted_by, expires_at, reason) VALUES
    (demo.id('northgate'), 'case', demo.id('Permit dispute')::text, 'principal', demo.id('Erin')::text,
     'case.comment', demo.id('Alice'), now() + interval '7 days', 'second opinion');

-- A conflict of interest: whatever Grace holds, not this case.
INSERT INTO authz.resource_access_rule (tenant_id, resource_type, resource_id, effect, grantee_type, grantee_id,
                                        permission_code, priority, created_by) VALUES
    (demo.id('northgate'), 'case', demo.id('Permit dispute')::text, 'deny', 'principal', demo.id('Grace')::text,
     'case.view', 100, demo.id('Alice'));

-- A support engineer's session: approved, for a ticket, for one hour, without confidential data.
INSERT INTO authz.privileged_access_session (session_id, session_kind, principal_id, tenant_id, scope_type, scope_id,
                                             access_reason, ticket_reference, includes_sensitive, requested_at,
                                             approved_by, approved_at, started_at, expires_at) VALUES
    (demo.id('support session'), 'support', demo.id('Frank'), demo.id('northgate'), 'organization',
     demo.id('Investigations')::text, 'cases are listed twice', 'TICKET-4711', false, now(), demo.id('Alice'), now(),
     now(), now() + interval '1 hour');

COMMIT;

-- For display: names instead of ids ------------------------------------------------------------------------------------

CREATE VIEW demo.label AS
SELECT tenant_id AS id, slug AS label FROM authz.tenant
UNION ALL SELECT organization_id, name FROM authz.organization
UNION ALL SELECT team_id, name FROM authz.team
UNION ALL SELECT project_id, name FROM authz.project
UNION ALL SELECT principal_id, display_name FROM authz.principal
UNION ALL SELECT case_id, title FROM public.case_record;

-- "organization:<id>" becomes "organization Investigations".
CREATE FUNCTION demo.named(node text) RETURNS text
LANGUAGE sql STABLE
RETURN coalesce((SELECT split_part(node, ':', 1) || ' ' || label FROM demo.label
                 WHERE id::text = split_part(node, ':', 2)), node);

-- The deciding binding of an explanation, in a few words. Whom it addresses is said where that is not the person asked
-- about.
CREATE FUNCTION demo.because(explanation jsonb) RETURNS text
LANGUAGE sql STABLE
RETURN (SELECT concat_ws(' ',
            CASE b ->> 'type' WHEN 'role_assignment' THEN 'role' WHEN 'access_grant' THEN 'grant'
                              WHEN 'access_rule' THEN 'rule' ELSE replace(b ->> 'type', '_', ' ') END,
            b ->> 'role',
            CASE WHEN b ->> 'grantee' NOT LIKE 'principal:%' THEN 'to ' || demo.named(b ->> 'grantee') END,
            'at ' || demo.named(b ->> 'at'))
        FROM (SELECT explanation -> 'binding') AS deciding (b)
        WHERE jsonb_typeof(b) = 'object');
