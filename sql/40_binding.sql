-- Bindings and rules: role assignments, access grants, and explicit allows and denies.
--
-- An id that can point to different kinds of things is text. For each built-in kind a generated column holds it with
-- its type and a foreign key that includes the tenant, so that it exists and is of the same tenant; the ids of other
-- resource types are checked for their canonical form only, since their rows live in tables of the application.

-- Arguments: the column of the kind and the column of the id. Columns are read one by one: a row as JSON takes longer than
-- all the rest.
CREATE FUNCTION authz.check_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind      text;
    id        text;
    key_type  regtype;
    canonical text;
BEGIN
    IF TG_ARGV[0] = 'grantee_type' THEN
        kind := NEW.grantee_type;
        id := NEW.grantee_id;
    ELSIF TG_ARGV[0] = 'resource_type' THEN
        kind := NEW.resource_type;
        id := NEW.resource_id;
    ELSE
        kind := NEW.scope_type;
        id := NEW.scope_id;
    END IF;
    IF kind IN ('tenant', 'organization', 'team', 'project') OR (TG_ARGV[0] = 'grantee_type' AND kind = 'principal') THEN
        key_type := 'uuid';
    ELSIF TG_ARGV[0] <> 'grantee_type' THEN
        SELECT a.atttypid INTO key_type
        FROM authz.resource_type AS r
        JOIN pg_attribute AS a ON a.attrelid = r.target AND a.attname = r.key_column AND NOT a.attisdropped
        WHERE r.resource_type = kind;
    END IF;

    IF key_type = 'uuid'::regtype THEN
        IF id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
            RETURN NEW;
        END IF;
        canonical := lower(translate(id, '{}- ', ''));
        canonical := CASE WHEN canonical ~ '^[0-9a-f]{32}$' THEN canonical::uuid::text END;
    ELSIF key_type IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) THEN
        canonical := CASE WHEN id ~ '^\s*[+-]?[0-9]{1,100}\s*$' THEN id::numeric::text END;
        IF canonical::numeric NOT BETWEEN -2 ^ (CASE key_type WHEN 'smallint'::regtype THEN 15
                                                              WHEN 'integer'::regtype THEN 31 ELSE 63 END)::numeric
                                      AND 2 ^ (CASE key_type WHEN 'smallint'::regtype THEN 15
                                                             WHEN 'integer'::regtype THEN 31 ELSE 63 END)::numeric - 1 THEN
            canonical := NULL;
        END IF;
        IF canonical = id THEN
            RETURN NEW;
        END IF;
    ELSE
        RETURN NEW;
    END IF;
    IF id IS NULL THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION USING
        ERRCODE = 'invalid_parameter_value',
        MESSAGE = format('%s %L is not the canonical text of a key of %L', TG_ARGV[1], id, kind),
        DETAIL = format('Keys of %L are of type %s; ids are compared byte by byte with their canonical text.', kind, key_type),
        HINT = CASE WHEN canonical IS NULL THEN format('Give a key of type %s.', key_type)
                    ELSE format('Write %L.', canonical) END,
        SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = TG_ARGV[1];
END
$$;
COMMENT ON FUNCTION authz.check_key() IS
    'Trigger: refuses an id that is not the canonical text of a key (SQLSTATE 22023); arguments: columns of the kind (grantee_type, resource_type or scope_type) and of the id.';
REVOKE ALL ON FUNCTION authz.check_key() FROM PUBLIC;

CREATE TABLE authz.principal_role_assignment (
    assignment_id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid,
    principal_id uuid NOT NULL,
    role_code text COLLATE "C" NOT NULL,
    scope_type text COLLATE "C" NOT NULL,
    scope_id text COLLATE "C",
    granted_by uuid,
    granted_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    reason text,
    scope_organization_id uuid GENERATED ALWAYS AS (CASE WHEN scope_type = 'organization' THEN scope_id::uuid END) STORED,
    scope_team_id uuid GENERATED ALWAYS AS (CASE WHEN scope_type = 'team' THEN scope_id::uuid END) STORED,
    scope_project_id uuid GENERATED ALWAYS AS (CASE WHEN scope_type = 'project' THEN scope_id::uuid END) STORED,
    active_from timestamptz NOT NULL GENERATED ALWAYS AS (granted_at) STORED,
    active_until timestamptz NOT NULL
        GENERATED ALWAYS AS (least(coalesce(expires_at, 'infinity'), coalesce(revoked_at, 'infinity'))) STORED,
    CONSTRAINT principal_role_assignment_pkey PRIMARY KEY (assignment_id),
    CONSTRAINT principal_role_assignment_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES authz.tenant (tenant_id),
    CONSTRAINT principal_role_assignment_principal_id_fkey
        FOREIGN KEY (principal_id) REFERENCES authz.principal (principal_id),
    CONSTRAINT principal_role_assignment_role_code_fkey
        FOREIGN KEY (role_code) REFERENCES authz.role_definition (role_code),
    CONSTRAINT principal_role_assignment_granted_by_fkey
        FOREIGN KEY (granted_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT principal_role_assignment_tenant_id_scope_organization_id_fkey
        FOREIGN KEY (tenant_id, scope_organization_id) REFERENCES authz.organization (tenant_id, organization_id),
    CONSTRAINT principal_role_assignment_tenant_id_scope_team_id_fkey
        FOREIGN KEY (tenant_id, scope_team_id) REFERENCES authz.team (tenant_id, team_id),
    CONSTRAINT principal_role_assignment_tenant_id_scope_project_id_fkey
        FOREIGN KEY (tenant_id, scope_project_id) REFERENCES authz.project (tenant_id, project_id),
    CONSTRAINT principal_role_assignment_tenant_id_scope_type_scope_id_check CHECK (
        CASE scope_type
            WHEN 'platform' THEN tenant_id IS NULL AND scope_id IS NULL
            WHEN 'tenant' THEN coalesce(scope_id = tenant_id::text, false)
            ELSE tenant_id IS NOT NULL AND coalesce(scope_id <> '', false) AND scope_type <> ''
        END),
    CONSTRAINT principal_role_assignment_scope_id_check
        CHECK (scope_id = coalesce(scope_organization_id, scope_team_id, scope_project_id)::text),
    CONSTRAINT principal_role_assignment_expires_at_check CHECK (expires_at >= granted_at),
    CONSTRAINT principal_role_assignment_revoked_at_check CHECK (revoked_at >= granted_at)
);
CREATE UNIQUE INDEX principal_role_assignment_active_key ON authz.principal_role_assignment
    (principal_id, role_code, scope_type, scope_id, tenant_id) NULLS NOT DISTINCT WHERE revoked_at IS NULL;
CREATE INDEX principal_role_assignment_principal_idx ON authz.principal_role_assignment (principal_id, active_until);
-- Not of open rows only: who held a role, or had one somewhere, is asked about the past as well.
CREATE INDEX principal_role_assignment_role_idx
    ON authz.principal_role_assignment (role_code, tenant_id, active_until);
CREATE INDEX principal_role_assignment_scope_idx
    ON authz.principal_role_assignment (scope_type, scope_id, tenant_id, active_until);
CREATE INDEX principal_role_assignment_expiry_idx ON authz.principal_role_assignment (expires_at)
    WHERE revoked_at IS NULL AND expires_at IS NOT NULL;
COMMENT ON TABLE authz.principal_role_assignment IS 'A principal holds a role at a scope, and with it what the scope contains.';
COMMENT ON COLUMN authz.principal_role_assignment.assignment_id IS 'Key.';
COMMENT ON COLUMN authz.principal_role_assignment.tenant_id IS 'The tenant; NULL at platform scope, and only there.';
COMMENT ON COLUMN authz.principal_role_assignment.principal_id IS 'Who holds the role.';
COMMENT ON COLUMN authz.principal_role_assignment.role_code IS 'The role.';
COMMENT ON COLUMN authz.principal_role_assignment.scope_type IS
    'platform, tenant, organization, team, project, or a resource type such as case.';
COMMENT ON COLUMN authz.principal_role_assignment.scope_id IS
    'Canonical text of the scope''s key; NULL at platform scope, the tenant''s id at tenant scope.';
COMMENT ON COLUMN authz.principal_role_assignment.granted_by IS 'The principal who granted it; NULL: nobody on record.';
COMMENT ON COLUMN authz.principal_role_assignment.granted_at IS 'Start.';
COMMENT ON COLUMN authz.principal_role_assignment.expires_at IS 'End that was agreed on beforehand, exclusive; NULL: none.';
COMMENT ON COLUMN authz.principal_role_assignment.revoked_at IS
    'End by revocation, exclusive; NULL: not revoked. Set it to close the row.';
COMMENT ON COLUMN authz.principal_role_assignment.reason IS 'Why it was granted; may be replaced by why it was closed.';
COMMENT ON COLUMN authz.principal_role_assignment.scope_organization_id IS 'scope_id where it is an organization.';
COMMENT ON COLUMN authz.principal_role_assignment.scope_team_id IS 'scope_id where it is a team.';
COMMENT ON COLUMN authz.principal_role_assignment.scope_project_id IS 'scope_id where it is a project.';
COMMENT ON COLUMN authz.principal_role_assignment.active_from IS 'In force from here.';
COMMENT ON COLUMN authz.principal_role_assignment.active_until IS
    'In force until here, exclusive: the earliest of expiry and revocation; infinity: open.';

CREATE TABLE authz.resource_access_grant (
    grant_id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    resource_type text COLLATE "C" NOT NULL,
    resource_id text COLLATE "C" NOT NULL,
    grantee_type text COLLATE "C" NOT NULL,
    grantee_id text COLLATE "C" NOT NULL,
    permission_code text COLLATE "C" NOT NULL,
    granted_by uuid,
    granted_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    reason text,
    resource_organization_id uuid
        GENERATED ALWAYS AS (CASE WHEN resource_type = 'organization' THEN resource_id::uuid END) STORED,
    resource_team_id uuid GENERATED ALWAYS AS (CASE WHEN resource_type = 'team' THEN resource_id::uuid END) STORED,
    resource_project_id uuid GENERATED ALWAYS AS (CASE WHEN resource_type = 'project' THEN resource_id::uuid END) STORED,
    grantee_principal_id uuid GENERATED ALWAYS AS (CASE WHEN grantee_type = 'principal' THEN grantee_id::uuid END) STORED,
    grantee_team_id uuid GENERATED ALWAYS AS (CASE WHEN grantee_type = 'team' THEN grantee_id::uuid END) STORED,
    grantee_organization_id uuid
        GENERATED ALWAYS AS (CASE WHEN grantee_type = 'organization' THEN grantee_id::uuid END) STORED,
    grantee_role_code text COLLATE "C" GENERATED ALWAYS AS (CASE WHEN grantee_type = 'role' THEN grantee_id END) STORED,
    active_from timestamptz NOT NULL GENERATED ALWAYS AS (granted_at) STORED,
    active_until timestamptz NOT NULL
        GENERATED ALWAYS AS (least(coalesce(expires_at, 'infinity'), coalesce(revoked_at, 'infinity'))) STORED,
    CONSTRAINT resource_access_grant_pkey PRIMARY KEY (grant_id),
    CONSTRAINT resource_access_grant_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES authz.tenant (tenant_id),
    CONSTRAINT resource_access_grant_permission_code_fkey
        FOREIGN KEY (permission_code) REFERENCES authz.permission_definition (permission_code),
    CONSTRAINT resource_access_grant_granted_by_fkey
        FOREIGN KEY (granted_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT resource_access_grant_tenant_id_resource_organization_id_fkey
        FOREIGN KEY (tenant_id, resource_organization_id) REFERENCES authz.organization (tenant_id, organization_id),
    CONSTRAINT resource_access_grant_tenant_id_resource_team_id_fkey
        FOREIGN KEY (tenant_id, resource_team_id) REFERENCES authz.team (tenant_id, team_id),
    CONSTRAINT resource_access_grant_tenant_id_resource_project_id_fkey
        FOREIGN KEY (tenant_id, resource_project_id) REFERENCES authz.project (tenant_id, project_id),
    CONSTRAINT resource_access_grant_grantee_principal_id_fkey
        FOREIGN KEY (grantee_principal_id) REFERENCES authz.principal (principal_id),
    CONSTRAINT resource_access_grant_tenant_id_grantee_team_id_fkey
        FOREIGN KEY (tenant_id, grantee_team_id) REFERENCES authz.team (tenant_id, team_id),
    CONSTRAINT resource_access_grant_tenant_id_grantee_organization_id_fkey
        FOREIGN KEY (tenant_id, grantee_organization_id) REFERENCES authz.organization (tenant_id, organization_id),
    CONSTRAINT resource_access_grant_grantee_role_code_fkey
        FOREIGN KEY (grantee_role_code) REFERENCES authz.role_definition (role_code),
    CONSTRAINT resource_access_grant_tenant_id_resource_type_resource_id_check CHECK (
        resource_type NOT IN ('platform', '') AND resource_id <> ''
        AND (resource_type <> 'tenant' OR resource_id = tenant_id::text)),
    CONSTRAINT resource_access_grant_resource_id_check
        CHECK (resource_id = coalesce(resource_organization_id, resource_team_id, resource_project_id)::text),
    CONSTRAINT resource_access_grant_grantee_type_check
        CHECK (grantee_type IN ('principal', 'team', 'organization', 'role')),
    CONSTRAINT resource_access_grant_grantee_id_check
        CHECK (grantee_id = coalesce(grantee_principal_id, grantee_team_id, grantee_organization_id)::text),
    CONSTRAINT resource_access_grant_expires_at_check CHECK (expires_at >= granted_at),
    CONSTRAINT resource_access_grant_revoked_at_check CHECK (revoked_at >= granted_at)
);
CREATE UNIQUE INDEX resource_access_grant_active_key ON authz.resource_access_grant
    (resource_id, grantee_id, permission_code, resource_type, grantee_type, tenant_id)
    NULLS NOT DISTINCT WHERE revoked_at IS NULL;
-- The tenant first: what concerns one principal is looked for under several grantees (itself, its teams, its roles), and
-- then lies on the same few pages however many other tenants there are.
CREATE INDEX resource_access_grant_grantee_idx
    ON authz.resource_access_grant (tenant_id, grantee_id, grantee_type, active_until);
CREATE INDEX resource_access_grant_resource_idx
    ON authz.resource_access_grant (resource_type, resource_id, grantee_type, grantee_id);
CREATE INDEX resource_access_grant_expiry_idx ON authz.resource_access_grant (expires_at)
    WHERE revoked_at IS NULL AND expires_at IS NOT NULL;
COMMENT ON TABLE authz.resource_access_grant IS
    'Access control list: a permission on a resource, and on what it contains, for a principal, team, organization or role.';
COMMENT ON COLUMN authz.resource_access_grant.grant_id IS 'Key.';
COMMENT ON COLUMN authz.resource_access_grant.tenant_id IS 'The tenant of the resource.';
COMMENT ON COLUMN authz.resource_access_grant.resource_type IS
    'tenant, organization, team, project, or a resource type such as case.';
COMMENT ON COLUMN authz.resource_access_grant.resource_id IS 'Canonical text of the resource''s key.';
COMMENT ON COLUMN authz.resource_access_grant.grantee_type IS 'principal, team, organization or role.';
COMMENT ON COLUMN authz.resource_access_grant.grantee_id IS 'Id of the principal, team or organization, or code of the role.';
COMMENT ON COLUMN authz.resource_access_grant.permission_code IS 'The permission.';
COMMENT ON COLUMN authz.resource_access_grant.granted_by IS 'The principal who granted it; NULL: nobody on record.';
COMMENT ON COLUMN authz.resource_access_grant.granted_at IS 'Start.';
COMMENT ON COLUMN authz.resource_access_grant.expires_at IS 'End that was agreed on beforehand, exclusive; NULL: none.';
COMMENT ON COLUMN authz.resource_access_grant.revoked_at IS
    'End by revocation, exclusive; NULL: not revoked. Set it to close the row.';
COMMENT ON COLUMN authz.resource_access_grant.reason IS 'Why it was granted; may be replaced by why it was closed.';
COMMENT ON COLUMN authz.resource_access_grant.resource_organization_id IS 'resource_id where it is an organization.';
COMMENT ON COLUMN authz.resource_access_grant.resource_team_id IS 'resource_id where it is a team.';
COMMENT ON COLUMN authz.resource_access_grant.resource_project_id IS 'resource_id where it is a project.';
COMMENT ON COLUMN authz.resource_access_grant.grantee_principal_id IS 'grantee_id where it is a principal.';
COMMENT ON COLUMN authz.resource_access_grant.grantee_team_id IS 'grantee_id where it is a team.';
COMMENT ON COLUMN authz.resource_access_grant.grantee_organization_id IS 'grantee_id where it is an organization.';
COMMENT ON COLUMN authz.resource_access_grant.grantee_role_code IS 'grantee_id where it is a role.';
COMMENT ON COLUMN authz.resource_access_grant.active_from IS 'In force from here.';
COMMENT ON COLUMN authz.resource_access_grant.active_until IS
    'In force until here, exclusive: the earliest of expiry and revocation; infinity: open.';

-- A row that has run out without being revoked still holds its place in the unique index over unrevoked rows. A new
-- row of the same identity closes it; when it was in force does not change by that. (A row that comes with its own
-- revocation, as from a dump, takes no place.)
-- The statements of these triggers are planned once in a session: while a table is still empty, as a rule, and then for the
-- bulk load that fills it. Hence without sequential scans.
CREATE FUNCTION authz.close_expired_assignment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    expired uuid;
BEGIN
    -- Looked for first: nearly always there is none, and an UPDATE of no rows would still fire statement triggers. Two
    -- queries, since an index is searched for an equal value or for NULL, not for either.
    IF NEW.scope_type = 'platform' THEN
        SELECT assignment_id INTO expired FROM authz.principal_role_assignment
        WHERE principal_id = NEW.principal_id AND role_code = NEW.role_code AND scope_type = NEW.scope_type
          AND scope_id IS NULL AND tenant_id IS NULL AND revoked_at IS NULL AND expires_at <= now();
    ELSE
        SELECT assignment_id INTO expired FROM authz.principal_role_assignment
        WHERE principal_id = NEW.principal_id AND role_code = NEW.role_code AND scope_type = NEW.scope_type
          AND scope_id = NEW.scope_id AND tenant_id = NEW.tenant_id AND revoked_at IS NULL AND expires_at <= now();
    END IF;
    IF FOUND THEN
        UPDATE authz.principal_role_assignment SET revoked_at = expires_at
        WHERE assignment_id = expired AND revoked_at IS NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.close_expired_assignment() IS 'Trigger: closes an expired assignment that a new one repeats.';
REVOKE ALL ON FUNCTION authz.close_expired_assignment() FROM PUBLIC;

CREATE FUNCTION authz.close_expired_grant() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    expired uuid;
BEGIN
    SELECT grant_id INTO expired FROM authz.resource_access_grant
    WHERE resource_id = NEW.resource_id AND grantee_id = NEW.grantee_id AND permission_code = NEW.permission_code
      AND resource_type = NEW.resource_type AND grantee_type = NEW.grantee_type AND tenant_id = NEW.tenant_id
      AND revoked_at IS NULL AND expires_at <= now();
    IF FOUND THEN
        UPDATE authz.resource_access_grant SET revoked_at = expires_at WHERE grant_id = expired AND revoked_at IS NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.close_expired_grant() IS 'Trigger: closes an expired grant that a new one repeats.';
REVOKE ALL ON FUNCTION authz.close_expired_grant() FROM PUBLIC;

CREATE TRIGGER check_scope BEFORE INSERT ON authz.principal_role_assignment
    FOR EACH ROW EXECUTE FUNCTION authz.check_key('scope_type', 'scope_id');
CREATE TRIGGER close_expired BEFORE INSERT ON authz.principal_role_assignment
    FOR EACH ROW WHEN (NEW.revoked_at IS NULL) EXECUTE FUNCTION authz.close_expired_assignment();
CREATE TRIGGER guard_delete BEFORE DELETE ON authz.principal_role_assignment
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Set revoked_at instead.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.principal_role_assignment
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Set revoked_at instead.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.principal_role_assignment
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite(
        '{"expires_at": "until", "revoked_at": "until", "reason": "closing"}');

-- What is a uuid in its canonical form is right for every kind of grantee.
CREATE TRIGGER check_grantee BEFORE INSERT ON authz.resource_access_grant
    FOR EACH ROW
    WHEN (NEW.grantee_id OPERATOR(pg_catalog.!~) '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')
    EXECUTE FUNCTION authz.check_key('grantee_type', 'grantee_id');
CREATE TRIGGER check_resource BEFORE INSERT ON authz.resource_access_grant
    FOR EACH ROW EXECUTE FUNCTION authz.check_key('resource_type', 'resource_id');
CREATE TRIGGER close_expired BEFORE INSERT ON authz.resource_access_grant
    FOR EACH ROW WHEN (NEW.revoked_at IS NULL) EXECUTE FUNCTION authz.close_expired_grant();
CREATE TRIGGER guard_delete BEFORE DELETE ON authz.resource_access_grant
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Set revoked_at instead.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.resource_access_grant
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Set revoked_at instead.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.resource_access_grant
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite(
        '{"expires_at": "until", "revoked_at": "until", "reason": "closing"}');

SELECT pg_catalog.pg_extension_config_dump('authz.principal_role_assignment'::pg_catalog.regclass, '');
SELECT pg_catalog.pg_extension_config_dump('authz.resource_access_grant'::pg_catalog.regclass, '');
