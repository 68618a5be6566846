-- Support and break-glass sessions: access for a time, with a reason. A row goes through its states once: requested,
-- approved or rejected, started, ended, reviewed; who asked for what and why cannot be changed after the request. The
-- functions that take a session through its states are in 82_privileged_access.sql.

CREATE TABLE authz.privileged_access_session (
    session_id uuid NOT NULL DEFAULT gen_random_uuid(),
    session_kind text COLLATE "C" NOT NULL,
    principal_id uuid NOT NULL,
    tenant_id uuid,
    scope_type text COLLATE "C",
    scope_id text COLLATE "C",
    access_reason text NOT NULL,
    ticket_reference text,
    includes_sensitive boolean NOT NULL DEFAULT false,
    requested_at timestamptz NOT NULL DEFAULT now(),
    approved_by uuid,
    approved_at timestamptz,
    started_at timestamptz,
    expires_at timestamptz,
    ended_at timestamptz,
    reviewed_by uuid,
    reviewed_at timestamptz,
    requested_duration interval,
    rejected_by uuid,
    rejected_at timestamptz,
    ended_by uuid,
    end_reason text,
    review_note text,
    scope_organization_id uuid GENERATED ALWAYS AS (CASE WHEN scope_type = 'organization' THEN scope_id::uuid END) STORED,
    scope_team_id uuid GENERATED ALWAYS AS (CASE WHEN scope_type = 'team' THEN scope_id::uuid END) STORED,
    scope_project_id uuid GENERATED ALWAYS AS (CASE WHEN scope_type = 'project' THEN scope_id::uuid END) STORED,
    active_from timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(started_at, 'infinity')) STORED,
    active_until timestamptz NOT NULL
        GENERATED ALWAYS AS (least(coalesce(expires_at, 'infinity'), coalesce(ended_at, 'infinity'))) STORED,
    CONSTRAINT privileged_access_session_pkey PRIMARY KEY (session_id),
    CONSTRAINT privileged_access_session_principal_id_fkey
        FOREIGN KEY (principal_id) REFERENCES authz.principal (principal_id),
    CONSTRAINT privileged_access_session_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES authz.tenant (tenant_id),
    CONSTRAINT privileged_access_session_approved_by_fkey
        FOREIGN KEY (approved_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT privileged_access_session_reviewed_by_fkey
        FOREIGN KEY (reviewed_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT privileged_access_session_rejected_by_fkey
        FOREIGN KEY (rejected_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT privileged_access_session_ended_by_fkey
        FOREIGN KEY (ended_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT privileged_access_session_tenant_id_scope_organization_id_fkey
        FOREIGN KEY (tenant_id, scope_organization_id) REFERENCES authz.organization (tenant_id, organization_id),
    CONSTRAINT privileged_access_session_tenant_id_scope_team_id_fkey
        FOREIGN KEY (tenant_id, scope_team_id) REFERENCES authz.team (tenant_id, team_id),
    CONSTRAINT privileged_access_session_tenant_id_scope_project_id_fkey
        FOREIGN KEY (tenant_id, scope_project_id) REFERENCES authz.project (tenant_id, project_id),
    CONSTRAINT privileged_access_session_session_kind_check CHECK (session_kind IN ('support', 'break_glass')),
    CONSTRAINT privileged_access_session_tenant_id_scope_type_scope_id_check CHECK (
        CASE coalesce(scope_type, '')
            WHEN '' THEN scope_type IS NULL AND scope_id IS NULL
            WHEN 'platform' THEN tenant_id IS NULL AND scope_id IS NULL
            WHEN 'tenant' THEN coalesce(scope_id = tenant_id::text, false)
            ELSE tenant_id IS NOT NULL AND coalesce(scope_id <> '', false)
        END),
    CONSTRAINT privileged_access_session_scope_id_check
        CHECK (scope_id = coalesce(scope_organization_id, scope_team_id, scope_project_id)::text),
    CONSTRAINT privileged_access_session_access_reason_check CHECK (access_reason ~ '[^[:space:]]'),
    CONSTRAINT privileged_access_session_approved_by_principal_id_check CHECK (approved_by <> principal_id),
    CONSTRAINT privileged_access_session_reviewed_by_principal_id_check CHECK (reviewed_by <> principal_id),
    CONSTRAINT privileged_access_session_approved_at_check
        CHECK (approved_at IS NULL OR (approved_by IS NOT NULL AND approved_at >= requested_at)),
    CONSTRAINT privileged_access_session_reviewed_at_check CHECK (reviewed_at IS NULL OR reviewed_by IS NOT NULL),
    CONSTRAINT privileged_access_session_requested_duration_check CHECK (requested_duration > interval '0'),
    CONSTRAINT privileged_access_session_rejected_by_principal_id_check CHECK (rejected_by <> principal_id),
    CONSTRAINT privileged_access_session_rejected_at_check CHECK (
        (rejected_at IS NULL) = (rejected_by IS NULL)
        AND (rejected_at IS NULL OR (approved_at IS NULL AND started_at IS NULL AND ended_at IS NOT NULL))),
    CONSTRAINT privileged_access_session_started_at_expires_at_check
        CHECK (started_at IS NULL OR (expires_at IS NOT NULL AND expires_at > started_at)),
    CONSTRAINT privileged_access_session_started_at_ended_at_check CHECK (ended_at >= started_at)
);
CREATE INDEX privileged_access_session_principal_idx
    ON authz.privileged_access_session (principal_id, active_until);
CREATE INDEX privileged_access_session_until_idx ON authz.privileged_access_session (active_until);
CREATE INDEX privileged_access_session_tenant_idx ON authz.privileged_access_session (tenant_id, expires_at)
    WHERE ended_at IS NULL;
CREATE INDEX privileged_access_session_review_idx ON authz.privileged_access_session (requested_at)
    WHERE reviewed_at IS NULL;
COMMENT ON TABLE authz.privileged_access_session IS
    'Access for a time: support reads, break-glass does anything; an explicit deny still wins.';
COMMENT ON COLUMN authz.privileged_access_session.session_id IS 'Key.';
COMMENT ON COLUMN authz.privileged_access_session.session_kind IS 'support or break_glass.';
COMMENT ON COLUMN authz.privileged_access_session.principal_id IS 'Who has the access.';
COMMENT ON COLUMN authz.privileged_access_session.tenant_id IS 'The tenant; NULL: the whole platform.';
COMMENT ON COLUMN authz.privileged_access_session.scope_type IS
    'platform, tenant, organization, team, project, or a resource type; NULL: the tenant, or the platform without one.';
COMMENT ON COLUMN authz.privileged_access_session.scope_id IS 'Canonical text of the scope''s key.';
COMMENT ON COLUMN authz.privileged_access_session.access_reason IS 'Why it is needed; required.';
COMMENT ON COLUMN authz.privileged_access_session.ticket_reference IS 'The ticket or incident that it belongs to.';
COMMENT ON COLUMN authz.privileged_access_session.includes_sensitive IS
    'Reaches restricted and sealed resources, if somebody else approved it.';
COMMENT ON COLUMN authz.privileged_access_session.requested_at IS 'When it was asked for.';
COMMENT ON COLUMN authz.privileged_access_session.approved_by IS 'Who approved it; never the principal itself.';
COMMENT ON COLUMN authz.privileged_access_session.approved_at IS 'When it was approved.';
COMMENT ON COLUMN authz.privileged_access_session.started_at IS 'Start; NULL: not started, so not in force.';
COMMENT ON COLUMN authz.privileged_access_session.expires_at IS 'End that is agreed on beforehand, exclusive; required to start.';
COMMENT ON COLUMN authz.privileged_access_session.ended_at IS
    'End before that, exclusive; NULL: not ended. Set it to close the row.';
COMMENT ON COLUMN authz.privileged_access_session.reviewed_by IS 'Who looked at it afterwards; never the principal itself.';
COMMENT ON COLUMN authz.privileged_access_session.reviewed_at IS 'When that was.';
COMMENT ON COLUMN authz.privileged_access_session.requested_duration IS
    'How long it is asked for, from its start; NULL: as long as is allowed.';
COMMENT ON COLUMN authz.privileged_access_session.rejected_by IS 'Who rejected the request; never the principal itself.';
COMMENT ON COLUMN authz.privileged_access_session.rejected_at IS 'When it was rejected; it can never start then.';
COMMENT ON COLUMN authz.privileged_access_session.ended_by IS
    'Who ended it (or withdrew the request) before its expiry; NULL: nobody, it ran out.';
COMMENT ON COLUMN authz.privileged_access_session.end_reason IS 'Why it was ended or rejected.';
COMMENT ON COLUMN authz.privileged_access_session.review_note IS 'What the review found.';
COMMENT ON COLUMN authz.privileged_access_session.scope_organization_id IS 'scope_id where it is an organization.';
COMMENT ON COLUMN authz.privileged_access_session.scope_team_id IS 'scope_id where it is a team.';
COMMENT ON COLUMN authz.privileged_access_session.scope_project_id IS 'scope_id where it is a project.';
COMMENT ON COLUMN authz.privileged_access_session.active_from IS 'In force from here; infinity: not started.';
COMMENT ON COLUMN authz.privileged_access_session.active_until IS
    'In force until here, exclusive: the earliest of expiry and end; infinity: open.';

CREATE TRIGGER check_scope BEFORE INSERT ON authz.privileged_access_session
    FOR EACH ROW EXECUTE FUNCTION authz.check_key('scope_type', 'scope_id');
CREATE TRIGGER guard_delete BEFORE DELETE ON authz.privileged_access_session
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Set ended_at instead.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.privileged_access_session
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Set ended_at instead.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.privileged_access_session
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite(
        '{"approved_by": "once", "approved_at": "once", "started_at": "once", "expires_at": "until", "ended_at": "until", "reviewed_by": "once", "reviewed_at": "once", "rejected_by": "once", "rejected_at": "once", "ended_by": "once", "end_reason": "once", "review_note": "once"}');

-- Who approves, rejects or reviews is another person, not only another principal: an e-mail address that both have gives
-- away that they are one. Addresses that were known when it mattered count, so it is asked when the name is put in.
-- In PL/pgSQL, which keeps its plan: decisions on cases ask it.
CREATE FUNCTION authz.same_person(one uuid, other uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF one = other THEN
        RETURN true;
    END IF;
    RETURN EXISTS (
        SELECT FROM (SELECT p.email FROM authz.principal AS p WHERE p.principal_id = one
                     UNION ALL SELECT f.email FROM authz.profile AS f WHERE f.user_id = one) AS a
        JOIN (SELECT p.email FROM authz.principal AS p WHERE p.principal_id = other
              UNION ALL SELECT f.email FROM authz.profile AS f WHERE f.user_id = other) AS b
          ON lower(btrim(a.email)) = lower(btrim(b.email))
        WHERE btrim(a.email) <> '');
END
$$;
COMMENT ON FUNCTION authz.same_person(uuid, uuid) IS
    'Are two principals one person, as far as is known: the same principal, or the same e-mail address?';
REVOKE ALL ON FUNCTION authz.same_person(uuid, uuid) FROM PUBLIC;

CREATE FUNCTION authz.check_four_eyes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    other text;
BEGIN
    SELECT string_agg(o.column_name, ', ') INTO other
    FROM (VALUES ('approved_by', NEW.approved_by, OLD.approved_by),
                 ('rejected_by', NEW.rejected_by, OLD.rejected_by),
                 ('reviewed_by', NEW.reviewed_by, OLD.reviewed_by)) AS o (column_name, becomes, was)
    WHERE o.becomes IS DISTINCT FROM o.was AND authz.same_person(NEW.principal_id, o.becomes);
    IF other IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'check_violation',
            MESSAGE = 'a privileged session is approved, rejected and reviewed by somebody else',
            DETAIL = format('%s is the principal of the session, or has the same e-mail address.', other),
            HINT = 'Let another person do it.',
            SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.check_four_eyes() IS
    'Trigger: refuses an approver, rejecter or reviewer who is the principal of the session, or shares its e-mail address (SQLSTATE 23514).';
REVOKE ALL ON FUNCTION authz.check_four_eyes() FROM PUBLIC;
CREATE TRIGGER check_four_eyes BEFORE INSERT OR UPDATE ON authz.privileged_access_session
    FOR EACH ROW WHEN (NEW.approved_by IS NOT NULL OR NEW.rejected_by IS NOT NULL OR NEW.reviewed_by IS NOT NULL)
    EXECUTE FUNCTION authz.check_four_eyes();

SELECT pg_catalog.pg_extension_config_dump('authz.privileged_access_session'::pg_catalog.regclass, '');
