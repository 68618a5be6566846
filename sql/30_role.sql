-- Roles and permissions: what a role is made of. Roles inherit roles, and permissions imply permissions; both graphs
-- stay free of cycles. Composition (role_inheritance, role_permission) has validity, implication has none.

CREATE TABLE authz.role_definition (
    role_code text COLLATE "C" NOT NULL,
    role_name text,
    role_kind text COLLATE "C" NOT NULL DEFAULT 'custom',
    is_system_role boolean NOT NULL DEFAULT false,
    description text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT role_definition_pkey PRIMARY KEY (role_code),
    CONSTRAINT role_definition_role_code_check CHECK (role_code <> '' AND role_code = btrim(role_code)),
    CONSTRAINT role_definition_role_kind_check CHECK (role_kind <> '')
);
COMMENT ON TABLE authz.role_definition IS 'A named bundle of permissions.';
COMMENT ON COLUMN authz.role_definition.role_code IS 'Key, compared byte by byte.';
COMMENT ON COLUMN authz.role_definition.role_name IS 'Display name.';
COMMENT ON COLUMN authz.role_definition.role_kind IS 'What sort of role it is, in your own words; no decision reads it.';
COMMENT ON COLUMN authz.role_definition.is_system_role IS
    'The application relies on this role: it cannot be deleted or renamed, nor this flag be taken back.';
COMMENT ON COLUMN authz.role_definition.description IS 'What the role is for.';
COMMENT ON COLUMN authz.role_definition.created_at IS 'When the row was inserted.';

CREATE FUNCTION authz.guard_system_role() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'object_not_in_prerequisite_state',
        MESSAGE = format('%s of the system role %L is refused', TG_OP, OLD.role_code),
        DETAIL = 'A system role keeps its row, its role_code and its is_system_role.',
        HINT = 'To take the role out of use, close its assignments, grants and permissions (revoked_at, valid_until).';
END
$$;
COMMENT ON FUNCTION authz.guard_system_role() IS 'Trigger: refuses to delete or rename a system role (SQLSTATE 55000).';
REVOKE ALL ON FUNCTION authz.guard_system_role() FROM PUBLIC;
CREATE TRIGGER guard_delete BEFORE DELETE ON authz.role_definition
    FOR EACH ROW WHEN (OLD.is_system_role) EXECUTE FUNCTION authz.guard_system_role();
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.role_definition
    FOR EACH ROW WHEN (OLD.is_system_role AND (NEW.role_code <> OLD.role_code OR NOT NEW.is_system_role))
    EXECUTE FUNCTION authz.guard_system_role();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.role_definition
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('DELETE single roles that nothing refers to.');

CREATE TABLE authz.role_inheritance (
    inheritance_id uuid NOT NULL DEFAULT gen_random_uuid(),
    role_code text COLLATE "C" NOT NULL,
    inherited_role_code text COLLATE "C" NOT NULL,
    valid_from timestamptz NOT NULL DEFAULT now(),
    valid_until timestamptz,
    active_from timestamptz NOT NULL GENERATED ALWAYS AS (valid_from) STORED,
    active_until timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(valid_until, 'infinity')) STORED,
    CONSTRAINT role_inheritance_pkey PRIMARY KEY (inheritance_id),
    CONSTRAINT role_inheritance_role_code_fkey
        FOREIGN KEY (role_code) REFERENCES authz.role_definition (role_code),
    CONSTRAINT role_inheritance_inherited_role_code_fkey
        FOREIGN KEY (inherited_role_code) REFERENCES authz.role_definition (role_code),
    CONSTRAINT role_inheritance_valid_until_check CHECK (valid_until >= valid_from)
);
-- Two open rows overlap, so that the constraint below covers them too; but indexes are checked in the order of their
-- creation, and the message of this one names the row.
CREATE UNIQUE INDEX role_inheritance_active_key
    ON authz.role_inheritance (role_code, inherited_role_code) WHERE valid_until IS NULL;
-- The identity as a range of one number, as in 20_principal.sql. The hash of one column seeds that of the next, so
-- that no separator can be mistaken for a part of a code.
ALTER TABLE authz.role_inheritance ADD CONSTRAINT role_inheritance_role_code_inherited_role_code_excl EXCLUDE USING gist (
    int8range(hashtextextended(inherited_role_code, hashtextextended(role_code, 0)),
              hashtextextended(inherited_role_code, hashtextextended(role_code, 0)), '[]') WITH &&,
    tstzrange(active_from, active_until) WITH &&
) WHERE (active_from < active_until);
CREATE INDEX role_inheritance_role_idx ON authz.role_inheritance (role_code, active_until);
CREATE INDEX role_inheritance_inherited_role_idx ON authz.role_inheritance (inherited_role_code, active_until);
COMMENT ON TABLE authz.role_inheritance IS 'A role has the permissions of the roles that it inherits. Cycles are refused.';
COMMENT ON COLUMN authz.role_inheritance.inheritance_id IS 'Key.';
COMMENT ON COLUMN authz.role_inheritance.role_code IS 'The role that inherits.';
COMMENT ON COLUMN authz.role_inheritance.inherited_role_code IS 'The role whose permissions it has.';
COMMENT ON COLUMN authz.role_inheritance.valid_from IS 'Start of validity.';
COMMENT ON COLUMN authz.role_inheritance.valid_until IS 'End of validity, exclusive; NULL: open. Set it to close the row.';
COMMENT ON COLUMN authz.role_inheritance.active_from IS 'In force from here.';
COMMENT ON COLUMN authz.role_inheritance.active_until IS 'In force until here, exclusive; infinity: open.';

CREATE TABLE authz.permission_definition (
    permission_code text COLLATE "C" NOT NULL,
    resource_type text COLLATE "C" NOT NULL,
    action_code text COLLATE "C" NOT NULL,
    description text,
    requires_mfa boolean NOT NULL DEFAULT false,
    access_mode text COLLATE "C" NOT NULL DEFAULT 'auto',
    is_system_permission boolean NOT NULL DEFAULT false,
    defined_by uuid,
    CONSTRAINT permission_definition_pkey PRIMARY KEY (permission_code),
    CONSTRAINT permission_definition_resource_type_action_code_key UNIQUE (resource_type, action_code),
    CONSTRAINT permission_definition_defined_by_fkey
        FOREIGN KEY (defined_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT permission_definition_permission_code_check
        CHECK (permission_code = resource_type || '.' || action_code),
    CONSTRAINT permission_definition_resource_type_check
        CHECK (resource_type <> '' AND resource_type = btrim(resource_type)),
    CONSTRAINT permission_definition_action_code_check CHECK (action_code <> '' AND action_code = btrim(action_code)),
    CONSTRAINT permission_definition_access_mode_check CHECK (access_mode IN ('auto', 'read', 'write'))
);
COMMENT ON TABLE authz.permission_definition IS 'What can be done to a type of resource.';
COMMENT ON COLUMN authz.permission_definition.permission_code IS 'Key: resource_type.action_code, such as case.view.';
COMMENT ON COLUMN authz.permission_definition.resource_type IS
    'Type of resource: tenant, organization, team, project, or one of authz.resource_type.';
COMMENT ON COLUMN authz.permission_definition.action_code IS 'The action.';
COMMENT ON COLUMN authz.permission_definition.description IS 'What it allows.';
COMMENT ON COLUMN authz.permission_definition.requires_mfa IS
    'Allowed only to a principal who has a second factor enrolled and has used it.';
COMMENT ON COLUMN authz.permission_definition.access_mode IS
    'read: a support session has it; write: it has not; auto: it has it where the action is view, read or list.';
COMMENT ON COLUMN authz.permission_definition.is_system_permission IS
    'The extension itself asks for it: it cannot be deleted or renamed, nor this flag be given or taken back.';
COMMENT ON COLUMN authz.permission_definition.defined_by IS
    'The principal who defined it, and may be the first to put it into a role; NULL: the database owner.';

CREATE TABLE authz.permission_implication (
    permission_code text COLLATE "C" NOT NULL,
    implied_permission_code text COLLATE "C" NOT NULL,
    CONSTRAINT permission_implication_pkey PRIMARY KEY (permission_code, implied_permission_code),
    CONSTRAINT permission_implication_permission_code_fkey
        FOREIGN KEY (permission_code) REFERENCES authz.permission_definition (permission_code),
    CONSTRAINT permission_implication_implied_permission_code_fkey
        FOREIGN KEY (implied_permission_code) REFERENCES authz.permission_definition (permission_code)
);
CREATE INDEX permission_implication_implied_idx ON authz.permission_implication (implied_permission_code);
COMMENT ON TABLE authz.permission_implication IS
    'Whoever has a permission has those that it implies, as edit implies view. Cycles are refused.';
COMMENT ON COLUMN authz.permission_implication.permission_code IS 'The stronger permission.';
COMMENT ON COLUMN authz.permission_implication.implied_permission_code IS 'The permission that comes with it.';

CREATE TABLE authz.role_permission (
    role_permission_id uuid NOT NULL DEFAULT gen_random_uuid(),
    role_code text COLLATE "C" NOT NULL,
    permission_code text COLLATE "C" NOT NULL,
    condition text,
    obligations jsonb,
    valid_from timestamptz NOT NULL DEFAULT now(),
    valid_until timestamptz,
    active_from timestamptz NOT NULL GENERATED ALWAYS AS (valid_from) STORED,
    active_until timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(valid_until, 'infinity')) STORED,
    CONSTRAINT role_permission_pkey PRIMARY KEY (role_permission_id),
    CONSTRAINT role_permission_role_code_fkey FOREIGN KEY (role_code) REFERENCES authz.role_definition (role_code),
    CONSTRAINT role_permission_permission_code_fkey
        FOREIGN KEY (permission_code) REFERENCES authz.permission_definition (permission_code),
    CONSTRAINT role_permission_condition_check CHECK (btrim(condition) <> ''),
    CONSTRAINT role_permission_obligations_check CHECK (jsonb_typeof(obligations) = 'object'),
    CONSTRAINT role_permission_valid_until_check CHECK (valid_until >= valid_from)
);
-- As for role_inheritance.
CREATE UNIQUE INDEX role_permission_active_key
    ON authz.role_permission (role_code, permission_code) WHERE valid_until IS NULL;
ALTER TABLE authz.role_permission ADD CONSTRAINT role_permission_role_code_permission_code_excl EXCLUDE USING gist (
    int8range(hashtextextended(permission_code, hashtextextended(role_code, 0)),
              hashtextextended(permission_code, hashtextextended(role_code, 0)), '[]') WITH &&,
    tstzrange(active_from, active_until) WITH &&
) WHERE (active_from < active_until);
CREATE INDEX role_permission_role_idx ON authz.role_permission (role_code, active_until);
CREATE INDEX role_permission_permission_idx ON authz.role_permission (permission_code, active_until);
COMMENT ON TABLE authz.role_permission IS 'A permission that a role has, perhaps on a condition and with obligations.';
COMMENT ON COLUMN authz.role_permission.role_permission_id IS 'Key.';
COMMENT ON COLUMN authz.role_permission.role_code IS 'The role.';
COMMENT ON COLUMN authz.role_permission.permission_code IS 'The permission.';
COMMENT ON COLUMN authz.role_permission.condition IS
    'CEL expression over principal, resource, context and now that must be true; NULL: none.';
COMMENT ON COLUMN authz.role_permission.obligations IS
    'What comes with an allow, a JSON object such as {"allowed_fields": ["title"]}; NULL: nothing.';
COMMENT ON COLUMN authz.role_permission.valid_from IS 'Start of validity.';
COMMENT ON COLUMN authz.role_permission.valid_until IS 'End of validity, exclusive; NULL: open. Set it to close the row.';
COMMENT ON COLUMN authz.role_permission.active_from IS 'In force from here.';
COMMENT ON COLUMN authz.role_permission.active_until IS 'In force until here, exclusive; infinity: open.';

-- An edge of role_inheritance can only be shortened later, so that INSERT is where a cycle can come from.
CREATE TRIGGER refuse_cycle AFTER INSERT ON authz.role_inheritance
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_cycle('role_code', 'inherited_role_code');
CREATE TRIGGER refuse_cycle AFTER INSERT OR UPDATE ON authz.permission_implication
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_cycle('permission_code', 'implied_permission_code');

CREATE TRIGGER guard_delete BEFORE DELETE ON authz.role_inheritance
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Set valid_until instead.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.role_inheritance
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Set valid_until instead.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.role_inheritance
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"valid_until": "until"}');
CREATE TRIGGER guard_delete BEFORE DELETE ON authz.role_permission
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Set valid_until instead.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.role_permission
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Set valid_until instead.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.role_permission
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"valid_until": "until"}');

SELECT pg_catalog.pg_extension_config_dump('authz.role_definition'::pg_catalog.regclass, '');
SELECT pg_catalog.pg_extension_config_dump('authz.role_inheritance'::pg_catalog.regclass, '');
SELECT pg_catalog.pg_extension_config_dump('authz.permission_definition'::pg_catalog.regclass, '');
SELECT pg_catalog.pg_extension_config_dump('authz.permission_implication'::pg_catalog.regclass, '');
SELECT pg_catalog.pg_extension_config_dump('authz.role_permission'::pg_catalog.regclass, '');
