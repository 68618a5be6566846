-- Which tables hold resources, and which of their columns say where a resource belongs. That the table and the
-- columns exist and have usable types is checked by a trigger of the library (60_channel.sql).

CREATE TABLE authz.resource_type (
    resource_type text COLLATE "C" NOT NULL,
    target regclass NOT NULL,
    key_column name NOT NULL,
    tenant_column name NOT NULL,
    organization_column name,
    team_column name,
    project_column name,
    owner_column name,
    confidentiality_column name,
    deleted_at_column name,
    parent_type name,
    parent_column name,
    owner_role text COLLATE "C",
    clearance jsonb,
    select_permission text COLLATE "C",
    CONSTRAINT resource_type_pkey PRIMARY KEY (resource_type),
    CONSTRAINT resource_type_owner_role_fkey FOREIGN KEY (owner_role) REFERENCES authz.role_definition (role_code),
    CONSTRAINT resource_type_select_permission_fkey
        FOREIGN KEY (select_permission) REFERENCES authz.permission_definition (permission_code),
    -- Built-in kinds of scope have tables of their own.
    CONSTRAINT resource_type_resource_type_check CHECK (
        resource_type NOT IN ('', 'platform', 'tenant', 'organization', 'team', 'project')
        AND resource_type = btrim(resource_type)),
    CONSTRAINT resource_type_parent_type_parent_column_check CHECK ((parent_type IS NULL) = (parent_column IS NULL)),
    -- parent_type is not a foreign key: the parent may be registered later, and until then its children are denied.
    CONSTRAINT resource_type_clearance_check CHECK (
        jsonb_typeof(clearance) = 'object'
        AND clearance - ARRAY['restricted', 'sealed'] = '{}'
        AND NOT jsonb_path_exists(clearance, 'strict $.* ? (@.type() != "string" || !(@ like_regex "^L[123]$"))'))
);
COMMENT ON TABLE authz.resource_type IS 'A table whose rows are resources, and the meaning of its columns.';
COMMENT ON COLUMN authz.resource_type.resource_type IS 'Name of the type, as in permission_definition.resource_type.';
COMMENT ON COLUMN authz.resource_type.target IS 'The table.';
COMMENT ON COLUMN authz.resource_type.key_column IS 'Its column that identifies a resource: uuid, smallint, integer, bigint or text.';
COMMENT ON COLUMN authz.resource_type.tenant_column IS 'Its column with the tenant.';
COMMENT ON COLUMN authz.resource_type.organization_column IS 'Its column with the organization; NULL: none.';
COMMENT ON COLUMN authz.resource_type.team_column IS 'Its column with the team; NULL: none.';
COMMENT ON COLUMN authz.resource_type.project_column IS 'Its column with the project; NULL: none.';
COMMENT ON COLUMN authz.resource_type.owner_column IS
    'Its column with the owner, a principal, team or organization; NULL: none.';
COMMENT ON COLUMN authz.resource_type.confidentiality_column IS
    'Its column with the level normal, restricted or sealed; NULL: all are normal.';
COMMENT ON COLUMN authz.resource_type.deleted_at_column IS 'Its column that is not NULL once a row is soft-deleted; NULL: none.';
COMMENT ON COLUMN authz.resource_type.parent_type IS 'Type of the resource that contains this one; NULL: none.';
COMMENT ON COLUMN authz.resource_type.parent_column IS 'Its column with the key of that resource; NULL: none.';
COMMENT ON COLUMN authz.resource_type.owner_role IS 'The role that an owner holds at its resource; NULL: ownership gives nothing.';
COMMENT ON COLUMN authz.resource_type.clearance IS
    'Clearance that a level of confidentiality needs in addition, such as {"restricted": "L2", "sealed": "L3"}; NULL: none.';
COMMENT ON COLUMN authz.resource_type.select_permission IS
    'The permission to see a row; NULL: type.view, or type.read where that is not defined.';

SELECT pg_catalog.pg_extension_config_dump('authz.resource_type'::pg_catalog.regclass, '');
