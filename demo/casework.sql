-- The reference domain, filled: two offices, the people of the story (story.sql), and the database roles that they come with.
-- Run by the database owner.

CREATE SCHEMA demo;
CREATE FUNCTION demo.id(name text) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN md5('authz_ext demo ' || name)::uuid;

SELECT count(*) AS steps FROM authz_install_roles('demo_') \gset
SELECT count(*) AS steps FROM authz_install_casework() \gset
SELECT count(*) AS steps FROM authz_install_casework_views('demo_') \gset

-- Log-in roles, each a member of one of the database roles and of nothing else.
CREATE ROLE demo_app LOGIN IN ROLE demo_runtime;
CREATE ROLE demo_helpdesk LOGIN IN ROLE demo_support_tool;
CREATE ROLE demo_jobs LOGIN IN ROLE demo_worker;
CREATE ROLE demo_reports LOGIN IN ROLE demo_analytics_export;

BEGIN;
INSERT INTO authz.tenant (tenant_id, slug, name) VALUES
    (demo.id('northgate'), 'northgate', 'Northgate Ombudsman'), (demo.id('harbor'), 'harbor', 'Harbor Clinic');
INSERT INTO authz.organization (tenant_id, organization_id, name) VALUES (demo.id('northgate'), demo.id('Office'), 'Office');
INSERT INTO authz.team (tenant_id, team_id, organization_id, name) VALUES
    (demo.id('northgate'), demo.id('Fraud'), demo.id('Office'), 'Fraud');

INSERT INTO authz.role_definition (role_code, role_name) VALUES
    ('dispatcher', 'Dispatcher'), ('tenant_admin', 'Administrator of an office'), ('caseworker', 'Case worker'),
    ('support', 'Support'), ('duty_manager', 'Duty manager'), ('auditor', 'Auditor'), ('records', 'Records office'),
    ('fraud_lead', 'Lead of the fraud team'), ('projector', 'Keeps projections up to date');
INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES
    ('projection.view', 'projection', 'view'), ('projection.edit', 'projection', 'edit');
INSERT INTO authz.role_permission (role_code, permission_code)
SELECT r.role, p.permission
FROM (VALUES
    ('dispatcher', '{case.view,case.view_confidential,case.create,case.assign,case.seal}'::text[]),
    ('tenant_admin', '{case.view,case.view_confidential,assignment.view,member.manage,role.assign}'),
    ('caseworker', '{case.view,case.view_confidential,case.edit,sensitive_detail.view}'),
    ('support', '{access.request}'),
    ('duty_manager', '{access.approve,access.review,export.approve}'),
    ('auditor', '{audit.read}'),
    ('records', '{case.view,sensitive_detail.view,sensitive_detail.view_pii,sensitive_detail.view_sensitive_pii,export.request}'),
    ('fraud_lead', '{case.view,case.view_restricted}'),
    ('projector', '{projection.view,projection.edit}')) AS r (role, permissions), unnest(r.permissions) AS p (permission);

INSERT INTO authz.principal (principal_id, principal_type, external_id, email, display_name)
SELECT demo.id(name), CASE name WHEN 'Robot' THEN 'service' ELSE 'human' END, lower(name), lower(name) || '@example.org', name
FROM unnest('{Ann,Ben,Dora,Tad,Fay,Sam,Rob,Ada,Rae,Robot,Heidi}'::text[]) AS name;
INSERT INTO authz.operator_profile (principal_id, mfa_enabled) SELECT principal_id, true FROM authz.principal WHERE principal_type = 'human';
INSERT INTO authz.tenant_membership (tenant_id, principal_id)
SELECT demo.id(CASE name WHEN 'Heidi' THEN 'harbor' ELSE 'northgate' END), demo.id(name)
FROM unnest('{Ann,Ben,Dora,Tad,Fay,Rob,Ada,Rae,Robot,Heidi}'::text[]) AS name;
INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id, reason)
SELECT demo.id(tenant), demo.id(name), role, kind, demo.id(scope)::text, 'the office as it is'
FROM (VALUES ('northgate', 'Dora', 'dispatcher', 'tenant', 'northgate'), ('northgate', 'Tad', 'tenant_admin', 'tenant', 'northgate'),
             ('northgate', 'Fay', 'fraud_lead', 'team', 'Fraud'), ('northgate', 'Rob', 'duty_manager', 'tenant', 'northgate'),
             ('northgate', 'Ada', 'auditor', 'tenant', 'northgate'), ('northgate', 'Rae', 'records', 'tenant', 'northgate'),
             ('northgate', 'Robot', 'projector', 'tenant', 'northgate'), ('harbor', 'Heidi', 'caseworker', 'tenant', 'harbor'),
             (NULL, 'Sam', 'support', 'platform', NULL)) AS v (tenant, name, role, kind, scope);

INSERT INTO casework.case_record (tenant_id, case_id, case_number, title, owning_team_id, confidentiality_level, created_at)
SELECT demo.id(tenant), demo.id(title), number, title, demo.id(team), level, now() - interval '40 days'
FROM (VALUES ('northgate', 'N-1', 'Permit dispute', NULL, 'normal'), ('northgate', 'N-2', 'Noise complaint', NULL, 'normal'),
             ('northgate', 'N-3', 'Procurement fraud', 'Fraud', 'restricted'), ('northgate', 'N-4', 'Whistleblower', NULL, 'sealed'),
             ('harbor', 'H-1', 'Billing error', NULL, 'normal')) AS v (tenant, number, title, team, level);
INSERT INTO casework.case_sensitive_detail (tenant_id, case_id, complainant_name, complainant_identifier, restricted_notes) VALUES
    (demo.id('northgate'), demo.id('Permit dispute'), 'Wilma Whistler', 'ID-4711', 'lives at the old mill'),
    (demo.id('northgate'), demo.id('Noise complaint'), 'Nils Norden', 'ID-4712', 'calls at night'),
    (demo.id('harbor'), demo.id('Billing error'), 'Hugo Hansen', 'ID-9000', 'patient');
INSERT INTO casework.case_document (tenant_id, document_id, case_id, document_type, confidentiality_level, storage_object_id) VALUES
    (demo.id('northgate'), demo.id('letter'), demo.id('Permit dispute'), 'letter', 'normal', 's3://letter'),
    (demo.id('northgate'), demo.id('evidence'), demo.id('Permit dispute'), 'evidence', 'sealed', 's3://evidence');

-- A projection that a background job keeps.
CREATE TABLE public.case_projection (tenant_id uuid NOT NULL, case_id uuid NOT NULL, documents integer NOT NULL, PRIMARY KEY (tenant_id, case_id));
INSERT INTO public.case_projection SELECT tenant_id, case_id, 0 FROM casework.case_record;
SELECT count(*) AS steps FROM authz_protect('public.case_projection', 'projection', key => 'case_id', tenant => 'tenant_id', create_indexes => true) \gset
GRANT SELECT, UPDATE ON public.case_projection TO demo_worker;
GRANT SELECT ON public.case_projection TO demo_runtime;

-- A token of the office's log-in, signed with a shared secret: HMAC-SHA256 by hand, so that nothing has to be installed.
INSERT INTO authz.signing_key (kid, issuer, audience, algorithm, secret)
VALUES ('demo', 'office', 'authz', 'HS256', convert_to('for the demo only: 32 bytes long', 'UTF8'));
CREATE FUNCTION demo.b64(content bytea) RETURNS text LANGUAGE sql
RETURN rtrim(translate(encode(content, 'base64'), E'+/\n', '-_'), '=');
CREATE FUNCTION demo.padded(secret bytea, pad integer) RETURNS bytea LANGUAGE sql AS $$
    SELECT string_agg(set_byte('\x00', 0, (CASE WHEN n < length(secret) THEN get_byte(secret, n) ELSE 0 END) # pad), '' ORDER BY n)
    FROM generate_series(0, 63) AS n
$$;
CREATE FUNCTION demo.token(who text, tenant text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    secret  bytea := (SELECT k.secret FROM authz.signing_key AS k WHERE k.kid = 'demo');
    message text := demo.b64('{"alg":"HS256","kid":"demo","typ":"JWT"}') || '.' || demo.b64(convert_to(jsonb_strip_nulls(
        jsonb_build_object('iss', 'office', 'aud', 'authz', 'sub', lower(who), 'tenant', demo.id(tenant),
                           'exp', floor(extract(epoch FROM now()) + 3600)))::text, 'UTF8'));
BEGIN
    RETURN message || '.' || demo.b64(sha256(demo.padded(secret, 92) || sha256(demo.padded(secret, 54) || convert_to(message, 'UTF8'))));
END
$$;

-- What the story writes down, and how it insists.
CREATE TABLE demo.scenario (nr integer PRIMARY KEY, who text, as_role text, what text, expected text, found text);
GRANT USAGE ON SCHEMA demo TO PUBLIC;
GRANT SELECT, INSERT ON demo.scenario TO PUBLIC;
-- What becomes of a statement: rows, nothing, or a refusal.
CREATE FUNCTION demo.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    EXECUTE statement;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN CASE n WHEN 0 THEN 'not found' ELSE 'allowed' END;
EXCEPTION
    WHEN insufficient_privilege THEN RETURN 'denied';
    WHEN check_violation THEN RETURN 'four eyes: ' || SQLERRM;
    WHEN object_not_in_prerequisite_state THEN RETURN 'refused: ' || SQLERRM;
END
$$;
CREATE PROCEDURE demo.insist(got text, expected text) LANGUAGE plpgsql AS $$
BEGIN
    IF got IS DISTINCT FROM expected THEN
        RAISE EXCEPTION 'the demo expects % and finds %', quote_nullable(expected), quote_nullable(got);
    END IF;
END
$$;
COMMIT;
