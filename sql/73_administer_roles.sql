-- The model: roles, permissions, what they inherit, imply and have. It is one for all tenants, so that changing it is a
-- matter of platform scope. System roles are the database owner's: these functions leave them as they are.

CREATE FUNCTION authz.demand_own_role(action text, role text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM authz.demand_defined_role(action, NULL, 'platform', NULL, role);
    IF (SELECT d.is_system_role FROM authz.role_definition AS d WHERE d.role_code = role) THEN
        PERFORM authz.refuse(action, NULL, 'platform', NULL, 'system_role', '55000',
            format('role %L is a system role', role), 'What a system role has and inherits is fixed.',
            'Define a role of your own. The database owner changes system roles with plain SQL.');
    END IF;
END
$$;
COMMENT ON FUNCTION authz.demand_own_role(text, text) IS 'Refuses a role that does not exist (42704), and a system role (55000).';

-- Somebody must be the first to have a permission that has just been defined. That is for whoever defined it: nothing
-- can have been guarded by it before. Once it has been given to anybody in any way, the ordinary rule holds.
CREATE FUNCTION authz.demand_permission(action text, permission text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    missing text[];
BEGIN
    PERFORM authz.demand_defined_permission(action, NULL, 'platform', NULL, permission);
    missing := authz.permission_missing(permission, NULL, 'platform', NULL);
    missing := ARRAY(
        WITH RECURSIVE bearer (missing, permission_code) AS (
            SELECT m, m COLLATE "C" FROM unnest(missing) AS m
            UNION
            SELECT b.missing, i.permission_code
            FROM bearer AS b JOIN authz.permission_implication AS i ON i.implied_permission_code = b.permission_code)
        SELECT d.permission_code FROM authz.permission_definition AS d
        WHERE d.permission_code = ANY (missing)
          AND (d.defined_by IS DISTINCT FROM authz.session_principal()
               OR EXISTS (
                   SELECT FROM bearer AS b
                   WHERE b.missing = d.permission_code
                     AND (EXISTS (SELECT FROM authz.role_permission AS rp WHERE rp.permission_code = b.permission_code)
                          OR EXISTS (SELECT FROM authz.resource_access_grant AS g
                                     WHERE g.permission_code = b.permission_code)
                          OR EXISTS (SELECT FROM authz.resource_access_rule AS r
                                     WHERE r.permission_code = b.permission_code AND r.effect = 'allow'))))
        ORDER BY d.permission_code);
    PERFORM authz.refuse_missing(action, NULL, 'platform', NULL, format('permission %L', permission), missing);
END
$$;
COMMENT ON FUNCTION authz.demand_permission(text, text) IS
    'Refuses a permission that does not exist (42704), or that the session''s principal neither holds at platform scope nor has just defined (42501).';
REVOKE ALL ON FUNCTION authz.demand_own_role(text, text), authz.demand_permission(text, text) FROM PUBLIC;

CREATE FUNCTION authz_define_role(
    role text, name text DEFAULT NULL, kind text DEFAULT 'custom', description text DEFAULT NULL, reason text DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'role.manage';
    why    text;
    former text;
BEGIN
    PERFORM authz.demand_arguments(action, 'role', role, 'kind', kind);
    PERFORM authz.demand(action, NULL, 'platform', NULL);
    why := authz.demand_reason(action, NULL, 'platform', NULL, reason);
    IF role = '' OR authz.is_blank(left(role, 1)) OR authz.is_blank(right(role, 1)) OR role ^@ 'authz.' THEN
        PERFORM authz.refuse_argument(action, NULL, 'platform', NULL, format('%L is no role code', role),
            'A code is not blank, has no spaces around it, and does not begin with "authz.".');
    END IF;
    former := authz.set_reason(why);
    BEGIN
        INSERT INTO authz.role_definition (role_code, role_name, role_kind, description) VALUES (role, name, kind, description);
    EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
        PERFORM authz.record_denial(action, 'platform', NULL, NULL, 'denied', SQLSTATE);
        RAISE;
    END;
    PERFORM authz.set_reason(former);
    RETURN role;
END
$$;
COMMENT ON FUNCTION authz_define_role(text, text, text, text, text) IS
    'Defines a role, without permissions, and returns its code. Needs role.manage at platform scope.';

CREATE FUNCTION authz_inherit_role(
    role text, inherited text, expires timestamptz DEFAULT NULL, reason text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'role.manage';
    why    text;
    former text;
    id     uuid;
BEGIN
    PERFORM authz.demand_arguments(action, 'role', role, 'inherited', inherited);
    PERFORM authz.demand(action, NULL, 'platform', NULL);
    why := authz.demand_reason(action, NULL, 'platform', NULL, reason);
    PERFORM authz.demand_expiry(action, NULL, 'platform', NULL, expires);
    PERFORM authz.demand_own_role(action, role);
    PERFORM authz.demand_defined_role(action, NULL, 'platform', NULL, inherited);
    PERFORM authz.demand_role(action, NULL, 'platform', NULL, inherited);
    former := authz.set_reason(why);
    BEGIN
        INSERT INTO authz.role_inheritance AS i (role_code, inherited_role_code, valid_until) VALUES (role, inherited, expires)
        RETURNING i.inheritance_id INTO id;
    EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
        PERFORM authz.record_denial(action, 'platform', NULL, NULL, 'denied', SQLSTATE);
        RAISE;
    END;
    PERFORM authz.set_reason(former);
    RETURN id;
END
$$;
COMMENT ON FUNCTION authz_inherit_role(text, text, timestamptz, text) IS
    'Lets a role inherit another one, and returns the inheritance_id. Needs role.manage at platform scope, and all that the inherited role has.';

CREATE FUNCTION authz_disinherit_role(role text, inherited text, reason text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'role.manage';
    why    text;
    former text;
BEGIN
    PERFORM authz.demand_arguments(action, 'role', role, 'inherited', inherited);
    PERFORM authz.demand(action, NULL, 'platform', NULL);
    why := authz.demand_reason(action, NULL, 'platform', NULL, reason);
    PERFORM authz.demand_own_role(action, role);
    former := authz.set_reason(why);
    UPDATE authz.role_inheritance AS i SET valid_until = greatest(now(), i.valid_from)
    WHERE i.role_code = role AND i.inherited_role_code = inherited
      AND i.active_until > greatest(clock_timestamp(), i.valid_from);
    IF NOT FOUND THEN
        PERFORM authz.refuse(action, NULL, 'platform', NULL, 'no_row', '42704',
            format('role %L does not inherit role %L', role, inherited), NULL, 'Look it up in authz.role_inheritance.');
    END IF;
    PERFORM authz.set_reason(former);
END
$$;
COMMENT ON FUNCTION authz_disinherit_role(text, text, text) IS
    'Ends the inheritance of a role. Needs role.manage at platform scope.';

CREATE FUNCTION authz_define_permission(
    permission text, description text DEFAULT NULL, requires_mfa boolean DEFAULT false, access_mode text DEFAULT 'auto',
    reason text DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'permission.manage';
    why    text;
    former text;
BEGIN
    PERFORM authz.demand_arguments(action, 'permission', permission, 'requires_mfa', requires_mfa::text,
                                   'access_mode', access_mode);
    PERFORM authz.demand(action, NULL, 'platform', NULL);
    why := authz.demand_reason(action, NULL, 'platform', NULL, reason);
    IF permission !~ '^[^[:space:].]+[.][^[:space:]]+$' OR access_mode NOT IN ('auto', 'read', 'write') THEN
        PERFORM authz.refuse_argument(action, NULL, 'platform', NULL,
            format('%L, %L is no permission', permission, access_mode),
            'A code is type.action, such as case.view; the mode is auto, read or write.');
    END IF;
    former := authz.set_reason(why);
    BEGIN
        INSERT INTO authz.permission_definition
            (permission_code, resource_type, action_code, description, requires_mfa, access_mode, defined_by)
        VALUES (permission, split_part(permission, '.', 1), substr(permission, strpos(permission, '.') + 1), description,
                requires_mfa, access_mode, authz.session_principal());
    EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
        PERFORM authz.record_denial(action, 'platform', NULL, NULL, 'denied', SQLSTATE);
        RAISE;
    END;
    PERFORM authz.set_reason(former);
    RETURN permission;
END
$$;
COMMENT ON FUNCTION authz_define_permission(text, text, boolean, text, text) IS
    'Defines a permission, which nobody has yet, and returns its code. Needs permission.manage at platform scope.';

CREATE FUNCTION authz_imply_permission(permission text, implied text, reason text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'permission.manage';
    why    text;
    former text;
BEGIN
    PERFORM authz.demand_arguments(action, 'permission', permission, 'implied', implied);
    PERFORM authz.demand(action, NULL, 'platform', NULL);
    why := authz.demand_reason(action, NULL, 'platform', NULL, reason);
    PERFORM authz.demand_defined_permission(action, NULL, 'platform', NULL, permission);
    PERFORM authz.demand_permission(action, implied);
    former := authz.set_reason(why);
    BEGIN
        INSERT INTO authz.permission_implication (permission_code, implied_permission_code) VALUES (permission, implied);
    EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
        PERFORM authz.record_denial(action, 'platform', NULL, NULL, 'denied', SQLSTATE);
        RAISE;
    END;
    PERFORM authz.set_reason(former);
END
$$;
COMMENT ON FUNCTION authz_imply_permission(text, text, text) IS
    'Lets a permission imply another one. Needs permission.manage at platform scope, and the implied permission.';

CREATE FUNCTION authz_allow_role(
    role text, permission text, condition text DEFAULT NULL, obligations jsonb DEFAULT NULL,
    expires timestamptz DEFAULT NULL, reason text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'role.manage';
    why    text;
    former text;
    id     uuid;
BEGIN
    PERFORM authz.demand_arguments(action, 'role', role, 'permission', permission);
    PERFORM authz.demand(action, NULL, 'platform', NULL);
    why := authz.demand_reason(action, NULL, 'platform', NULL, reason);
    PERFORM authz.demand_expiry(action, NULL, 'platform', NULL, expires);
    PERFORM authz.demand_own_role(action, role);
    PERFORM authz.demand_permission(action, permission);
    former := authz.set_reason(why);
    BEGIN
        INSERT INTO authz.role_permission AS rp (role_code, permission_code, condition, obligations, valid_until)
        VALUES (role, permission, authz_allow_role.condition, authz_allow_role.obligations, expires)
        RETURNING rp.role_permission_id INTO id;
    EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
        PERFORM authz.record_denial(action, 'platform', NULL, NULL, 'denied', SQLSTATE);
        RAISE;
    END;
    PERFORM authz.set_reason(former);
    RETURN id;
END
$$;
COMMENT ON FUNCTION authz_allow_role(text, text, text, jsonb, timestamptz, text) IS
    'Gives a role a permission, and returns the role_permission_id. Needs role.manage at platform scope, and the permission.';

CREATE FUNCTION authz_disallow_role(role text, permission text, reason text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action CONSTANT text := 'role.manage';
    why    text;
    former text;
BEGIN
    PERFORM authz.demand_arguments(action, 'role', role, 'permission', permission);
    PERFORM authz.demand(action, NULL, 'platform', NULL);
    why := authz.demand_reason(action, NULL, 'platform', NULL, reason);
    PERFORM authz.demand_own_role(action, role);
    former := authz.set_reason(why);
    UPDATE authz.role_permission AS rp SET valid_until = greatest(now(), rp.valid_from)
    WHERE rp.role_code = role AND rp.permission_code = permission
      AND rp.active_until > greatest(clock_timestamp(), rp.valid_from);
    IF NOT FOUND THEN
        PERFORM authz.refuse(action, NULL, 'platform', NULL, 'no_row', '42704',
            format('role %L does not have permission %L', role, permission), NULL,
            'Look it up in authz.role_permission; what is inherited or implied is taken away where it comes from.');
    END IF;
    PERFORM authz.set_reason(former);
END
$$;
COMMENT ON FUNCTION authz_disallow_role(text, text, text) IS
    'Takes a permission from a role. Needs role.manage at platform scope.';
