-- Explicit allows and denies with a priority. Ids are checked as in 40_binding.sql.

CREATE TABLE authz.resource_access_rule (
    rule_id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    resource_type text COLLATE "C" NOT NULL,
    resource_id text COLLATE "C",
    effect text COLLATE "C" NOT NULL,
    grantee_type text COLLATE "C" NOT NULL,
    grantee_id text COLLATE "C",
    permission_code text COLLATE "C",
    priority integer NOT NULL DEFAULT 0,
    valid_from timestamptz NOT NULL DEFAULT now(),
    valid_until timestamptz,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
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
    active_from timestamptz NOT NULL GENERATED ALWAYS AS (valid_from) STORED,
    active_until timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(valid_until, 'infinity')) STORED,
    CONSTRAINT resource_access_rule_pkey PRIMARY KEY (rule_id),
    CONSTRAINT resource_access_rule_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES authz.tenant (tenant_id),
    CONSTRAINT resource_access_rule_permission_code_fkey
        FOREIGN KEY (permission_code) REFERENCES authz.permission_definition (permission_code),
    CONSTRAINT resource_access_rule_created_by_fkey
        FOREIGN KEY (created_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT resource_access_rule_tenant_id_resource_organization_id_fkey
        FOREIGN KEY (tenant_id, resource_organization_id) REFERENCES authz.organization (tenant_id, organization_id),
    CONSTRAINT resource_access_rule_tenant_id_resource_team_id_fkey
        FOREIGN KEY (tenant_id, resource_team_id) REFERENCES authz.team (tenant_id, team_id),
    CONSTRAINT resource_access_rule_tenant_id_resource_project_id_fkey
        FOREIGN KEY (tenant_id, resource_project_id) REFERENCES authz.project (tenant_id, project_id),
    CONSTRAINT resource_access_rule_grantee_principal_id_fkey
        FOREIGN KEY (grantee_principal_id) REFERENCES authz.principal (principal_id),
    CONSTRAINT resource_access_rule_tenant_id_grantee_team_id_fkey
        FOREIGN KEY (tenant_id, grantee_team_id) REFERENCES authz.team (tenant_id, team_id),
    CONSTRAINT resource_access_rule_tenant_id_grantee_organization_id_fkey
        FOREIGN KEY (tenant_id, grantee_organization_id) REFERENCES authz.organization (tenant_id, organization_id),
    CONSTRAINT resource_access_rule_grantee_role_code_fkey
        FOREIGN KEY (grantee_role_code) REFERENCES authz.role_definition (role_code),
    CONSTRAINT resource_access_rule_effect_check CHECK (effect IN ('allow', 'deny')),
    CONSTRAINT resource_access_rule_tenant_id_resource_type_resource_id_check CHECK (
        resource_type NOT IN ('platform', '') AND resource_id <> ''
        AND (resource_type <> 'tenant' OR resource_id = tenant_id::text)),
    CONSTRAINT resource_access_rule_resource_id_check
        CHECK (resource_id = coalesce(resource_organization_id, resource_team_id, resource_project_id)::text),
    CONSTRAINT resource_access_rule_grantee_type_check
        CHECK (grantee_type IN ('principal', 'team', 'organization', 'role', 'any')),
    CONSTRAINT resource_access_rule_grantee_type_grantee_id_check
        CHECK ((grantee_type = 'any') = (grantee_id IS NULL)),
    CONSTRAINT resource_access_rule_grantee_id_check
        CHECK (grantee_id = coalesce(grantee_principal_id, grantee_team_id, grantee_organization_id)::text),
    CONSTRAINT resource_access_rule_valid_until_check CHECK (valid_until >= valid_from)
);
CREATE UNIQUE INDEX resource_access_rule_active_key ON authz.resource_access_rule
    (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code, effect, priority)
    NULLS NOT DISTINCT WHERE valid_until IS NULL;
CREATE INDEX resource_access_rule_grantee_idx
    ON authz.resource_access_rule (grantee_type, grantee_id, tenant_id, active_until);
CREATE INDEX resource_access_rule_resource_idx
    ON authz.resource_access_rule (tenant_id, resource_type, resource_id, active_until);
CREATE INDEX resource_access_rule_expiry_idx ON authz.resource_access_rule (valid_until) WHERE valid_until IS NOT NULL;
COMMENT ON TABLE authz.resource_access_rule IS
    'An explicit allow or deny. Of those that apply the highest priority wins, and at equal priority a deny.';
COMMENT ON COLUMN authz.resource_access_rule.rule_id IS 'Key.';
COMMENT ON COLUMN authz.resource_access_rule.tenant_id IS 'The tenant of the resource.';
COMMENT ON COLUMN authz.resource_access_rule.resource_type IS
    'tenant, organization, team, project, or a resource type such as case.';
COMMENT ON COLUMN authz.resource_access_rule.resource_id IS
    'Canonical text of the resource''s key; NULL: every resource of the type in the tenant.';
COMMENT ON COLUMN authz.resource_access_rule.effect IS 'allow or deny.';
COMMENT ON COLUMN authz.resource_access_rule.grantee_type IS 'principal, team, organization, role, or any: every principal.';
COMMENT ON COLUMN authz.resource_access_rule.grantee_id IS
    'Id of the principal, team or organization, or code of the role; NULL for any.';
COMMENT ON COLUMN authz.resource_access_rule.permission_code IS 'The permission; NULL: every permission.';
COMMENT ON COLUMN authz.resource_access_rule.priority IS 'The higher wins.';
COMMENT ON COLUMN authz.resource_access_rule.valid_from IS 'Start of validity.';
COMMENT ON COLUMN authz.resource_access_rule.valid_until IS
    'End of validity, exclusive; NULL: open. Set it to close the row.';
COMMENT ON COLUMN authz.resource_access_rule.created_by IS 'The principal who made the rule; NULL: nobody on record.';
COMMENT ON COLUMN authz.resource_access_rule.created_at IS 'When the row was inserted.';
COMMENT ON COLUMN authz.resource_access_rule.reason IS 'Why it was made; may be replaced by why it was closed.';
COMMENT ON COLUMN authz.resource_access_rule.resource_organization_id IS 'resource_id where it is an organization.';
COMMENT ON COLUMN authz.resource_access_rule.resource_team_id IS 'resource_id where it is a team.';
COMMENT ON COLUMN authz.resource_access_rule.resource_project_id IS 'resource_id where it is a project.';
COMMENT ON COLUMN authz.resource_access_rule.grantee_principal_id IS 'grantee_id where it is a principal.';
COMMENT ON COLUMN authz.resource_access_rule.grantee_team_id IS 'grantee_id where it is a team.';
COMMENT ON COLUMN authz.resource_access_rule.grantee_organization_id IS 'grantee_id where it is an organization.';
COMMENT ON COLUMN authz.resource_access_rule.grantee_role_code IS 'grantee_id where it is a role.';
COMMENT ON COLUMN authz.resource_access_rule.active_from IS 'In force from here.';
COMMENT ON COLUMN authz.resource_access_rule.active_until IS 'In force until here, exclusive; infinity: open.';

CREATE TRIGGER check_grantee BEFORE INSERT ON authz.resource_access_rule
    FOR EACH ROW EXECUTE FUNCTION authz.check_key('grantee_type', 'grantee_id');
CREATE TRIGGER check_resource BEFORE INSERT ON authz.resource_access_rule
    FOR EACH ROW EXECUTE FUNCTION authz.check_key('resource_type', 'resource_id');
CREATE TRIGGER guard_delete BEFORE DELETE ON authz.resource_access_rule
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Set valid_until instead.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.resource_access_rule
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Set valid_until instead.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.resource_access_rule
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"valid_until": "until", "reason": "closing"}');

SELECT pg_catalog.pg_extension_config_dump('authz.resource_access_rule'::pg_catalog.regclass, '');
