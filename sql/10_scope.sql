-- Scopes: the tenant, and what contains resources inside it. Keys start with the tenant, so that no foreign key and
-- no cascade can leave it. The indexes on the ids alone find an id whose tenant is not known; they are not unique,
-- since a unique index over all tenants would tell one of them which ids another one uses.

CREATE TABLE authz.tenant (
    tenant_id uuid NOT NULL DEFAULT gen_random_uuid(),
    slug text COLLATE "C" NOT NULL,
    name text NOT NULL,
    status text COLLATE "C" NOT NULL DEFAULT 'active',
    settings jsonb NOT NULL DEFAULT '{}',
    status_since timestamptz NOT NULL DEFAULT '-infinity',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tenant_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT tenant_slug_key UNIQUE (slug),
    CONSTRAINT tenant_slug_check CHECK (slug <> ''),
    CONSTRAINT tenant_status_check CHECK (status IN ('active', 'suspended', 'archived')),
    CONSTRAINT tenant_settings_check CHECK (jsonb_typeof(settings) = 'object')
);
COMMENT ON TABLE authz.tenant IS 'The hard isolation boundary. While it is not active its memberships give nothing.';
COMMENT ON COLUMN authz.tenant.tenant_id IS 'Key.';
COMMENT ON COLUMN authz.tenant.slug IS 'Short name, unique over all tenants, as in a host name or path.';
COMMENT ON COLUMN authz.tenant.name IS 'Display name.';
COMMENT ON COLUMN authz.tenant.status IS 'active, suspended or archived.';
COMMENT ON COLUMN authz.tenant.settings IS
    'Settings of the application, a JSON object; no decision reads it. privileged_access in it limits privileged sessions.';
COMMENT ON COLUMN authz.tenant.status_since IS
    'Since when it has this status, by default always; kept by the database.';
COMMENT ON COLUMN authz.tenant.created_at IS 'When the row was inserted.';

CREATE TABLE authz.organization (
    tenant_id uuid NOT NULL,
    organization_id uuid NOT NULL DEFAULT gen_random_uuid(),
    parent_organization_id uuid,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT organization_pkey PRIMARY KEY (tenant_id, organization_id),
    CONSTRAINT organization_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES authz.tenant (tenant_id),
    CONSTRAINT organization_tenant_id_parent_organization_id_fkey
        FOREIGN KEY (tenant_id, parent_organization_id) REFERENCES authz.organization (tenant_id, organization_id)
);
CREATE INDEX organization_id_idx ON authz.organization (organization_id);
CREATE INDEX organization_parent_idx ON authz.organization (tenant_id, parent_organization_id)
    WHERE parent_organization_id IS NOT NULL;
CREATE TRIGGER refuse_cycle
    AFTER INSERT OR UPDATE OF tenant_id, organization_id, parent_organization_id ON authz.organization
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_tree_cycle('organization_id', 'parent_organization_id');
COMMENT ON TABLE authz.organization IS 'A part of a tenant that contains teams, projects and resources; organizations nest.';
COMMENT ON COLUMN authz.organization.tenant_id IS 'The tenant.';
COMMENT ON COLUMN authz.organization.organization_id IS 'Key inside the tenant.';
COMMENT ON COLUMN authz.organization.parent_organization_id IS
    'The organization of the same tenant that contains this one; NULL: none. Cycles are refused.';
COMMENT ON COLUMN authz.organization.name IS 'Display name.';
COMMENT ON COLUMN authz.organization.created_at IS 'When the row was inserted.';

CREATE TABLE authz.team (
    tenant_id uuid NOT NULL,
    team_id uuid NOT NULL DEFAULT gen_random_uuid(),
    parent_team_id uuid,
    organization_id uuid,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT team_pkey PRIMARY KEY (tenant_id, team_id),
    CONSTRAINT team_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES authz.tenant (tenant_id),
    CONSTRAINT team_tenant_id_parent_team_id_fkey
        FOREIGN KEY (tenant_id, parent_team_id) REFERENCES authz.team (tenant_id, team_id),
    CONSTRAINT team_tenant_id_organization_id_fkey
        FOREIGN KEY (tenant_id, organization_id) REFERENCES authz.organization (tenant_id, organization_id)
);
CREATE INDEX team_id_idx ON authz.team (team_id);
CREATE INDEX team_parent_idx ON authz.team (tenant_id, parent_team_id) WHERE parent_team_id IS NOT NULL;
CREATE INDEX team_organization_idx ON authz.team (tenant_id, organization_id) WHERE organization_id IS NOT NULL;
CREATE TRIGGER refuse_cycle
    AFTER INSERT OR UPDATE OF tenant_id, team_id, parent_team_id ON authz.team
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_tree_cycle('team_id', 'parent_team_id');
COMMENT ON TABLE authz.team IS 'People who work together: a scope of resources, and a subject of bindings and rules; teams nest.';
COMMENT ON COLUMN authz.team.tenant_id IS 'The tenant.';
COMMENT ON COLUMN authz.team.team_id IS 'Key inside the tenant.';
COMMENT ON COLUMN authz.team.parent_team_id IS
    'The team of the same tenant that contains this one; NULL: none. Cycles are refused.';
COMMENT ON COLUMN authz.team.organization_id IS 'The organization of the same tenant that the team belongs to; NULL: none.';
COMMENT ON COLUMN authz.team.name IS 'Display name.';
COMMENT ON COLUMN authz.team.created_at IS 'When the row was inserted.';

CREATE TABLE authz.project (
    tenant_id uuid NOT NULL,
    project_id uuid NOT NULL DEFAULT gen_random_uuid(),
    organization_id uuid,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT project_pkey PRIMARY KEY (tenant_id, project_id),
    CONSTRAINT project_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES authz.tenant (tenant_id),
    CONSTRAINT project_tenant_id_organization_id_fkey
        FOREIGN KEY (tenant_id, organization_id) REFERENCES authz.organization (tenant_id, organization_id)
);
CREATE INDEX project_id_idx ON authz.project (project_id);
CREATE INDEX project_organization_idx ON authz.project (tenant_id, organization_id) WHERE organization_id IS NOT NULL;
COMMENT ON TABLE authz.project IS 'A piece of work in a tenant that contains resources.';
COMMENT ON COLUMN authz.project.tenant_id IS 'The tenant.';
COMMENT ON COLUMN authz.project.project_id IS 'Key inside the tenant.';
COMMENT ON COLUMN authz.project.organization_id IS
    'The organization of the same tenant that the project belongs to; NULL: none.';
COMMENT ON COLUMN authz.project.name IS 'Display name.';
COMMENT ON COLUMN authz.project.created_at IS 'When the row was inserted.';

SELECT pg_catalog.pg_extension_config_dump('authz.tenant'::pg_catalog.regclass, '');
SELECT pg_catalog.pg_extension_config_dump('authz.organization'::pg_catalog.regclass, '');
SELECT pg_catalog.pg_extension_config_dump('authz.team'::pg_catalog.regclass, '');
SELECT pg_catalog.pg_extension_config_dump('authz.project'::pg_catalog.regclass, '');
