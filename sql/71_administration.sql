-- What the functions that change authority (72 to 75) have in common. Each of them asks, in this order: are the arguments
-- there; does the session's principal hold the permission for this change at that scope (authz.holds: standing
-- authority only); is it about somebody else; are reason and expiry usable; is the receiver a member; does the giver
-- hold what it gives. Authority comes first, so that nobody without it learns anything. A refusal is recorded
-- (authz.record_denial outlives the rollback) and then raised. What constraints and triggers refuse (what is there
-- already, cycles, separation of duty, malformed keys and conditions) is recorded where the row is written.

CREATE FUNCTION authz.refuse(
    action text, tenant uuid, scope_type text, scope_id text, why text, code text, message text, detail text, hint text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM authz.record_denial(action, scope_type, scope_id, tenant, 'denied', why);
    IF detail IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, HINT = hint;
    END IF;
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = detail, HINT = hint;
END
$$;
COMMENT ON FUNCTION authz.refuse(text, uuid, text, text, text, text, text, text, text) IS
    'Records that a change of authority was refused, and raises the error.';

-- The same words whether it is forbidden or there is nothing there.
CREATE FUNCTION authz.refuse_authority(permission text, tenant uuid, scope_type text, scope_id text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT authz.refuse(permission, tenant, scope_type, scope_id, 'no_authority', '42501',
        format('permission denied: %s', permission),
        'The session''s principal does not hold this permission there, or there is nothing there.',
        'Begin a session of somebody who holds it. What a privileged session lends does not count.')
$$;
COMMENT ON FUNCTION authz.refuse_authority(text, uuid, text, text) IS 'Refuses a change for lack of authority (42501).';

CREATE FUNCTION authz.holds_or_records(permission text, tenant uuid, scope_type text, scope_id text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN authz.holds(permission, tenant, scope_type, scope_id);
EXCEPTION WHEN undefined_object THEN
    PERFORM authz.record_denial(permission, scope_type, scope_id, tenant, 'denied', 'unknown_type');
    RAISE;
END
$$;
COMMENT ON FUNCTION authz.holds_or_records(text, uuid, text, text) IS
    'authz.holds, which fails where there is no such type of scope (42704); that is recorded, too.';

CREATE FUNCTION authz.demand(permission text, tenant uuid, scope_type text, scope_id text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT authz.holds_or_records(permission, tenant, scope_type, scope_id) THEN
        PERFORM authz.refuse_authority(permission, tenant, scope_type, scope_id);
    END IF;
END
$$;
COMMENT ON FUNCTION authz.demand(text, uuid, text, text) IS
    'Refuses unless the session''s principal holds the permission at the scope (42501), and a scope of no known type (42704).';

CREATE FUNCTION authz.refuse_argument(action text, tenant uuid, scope_type text, scope_id text, message text, hint text)
RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT authz.refuse(action, tenant, scope_type, scope_id, 'bad_argument', '22023', message, NULL, hint)
$$;
COMMENT ON FUNCTION authz.refuse_argument(text, uuid, text, text, text, text) IS 'Refuses a malformed argument (22023).';

CREATE FUNCTION authz.demand_arguments(action text, VARIADIC pairs text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM authz.demand_writable();
    FOR i IN 1 .. cardinality(pairs) BY 2 LOOP
        IF pairs[i + 1] IS NULL THEN
            PERFORM authz.refuse_argument(action, NULL, NULL, NULL, format('argument %I is missing', pairs[i]),
                                          'Pass it by name, such as tenant => ....');
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION authz.demand_arguments(text, text[]) IS 'Refuses (0A000) where nothing can be written, and (22023) where one of these arguments (name, value, ...) is NULL.';

-- Nobody changes what it may do itself: not upwards, and not downwards either, since leaving a role or a team also
-- leaves the denies that address it.
CREATE FUNCTION authz.demand_other(action text, tenant uuid, scope_type text, scope_id text, principal uuid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF principal = authz.session_principal() THEN
        PERFORM authz.refuse(action, tenant, scope_type, scope_id, 'own_authority', '42501',
            'nobody changes his own authority', 'The principal is the session''s own.', 'Ask another administrator.');
    END IF;
END
$$;
COMMENT ON FUNCTION authz.demand_other(text, uuid, text, text, uuid) IS
    'Refuses (42501) where the principal is the session''s own.';

-- The reason to be written: the argument, else the setting authz.change_reason.
CREATE FUNCTION authz.demand_reason(
    action text, tenant uuid, scope_type text, scope_id text, reason text, required boolean DEFAULT false
) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    why text := coalesce(reason, authz.change_reason());
BEGIN
    IF authz.is_blank(why) OR (required AND why IS NULL) THEN
        PERFORM authz.refuse_argument(action, tenant, scope_type, scope_id,
            CASE WHEN why IS NULL THEN 'a reason is required' ELSE 'the reason is blank' END, 'Say why in reason => ....');
    END IF;
    RETURN why;
END
$$;
COMMENT ON FUNCTION authz.demand_reason(text, uuid, text, text, text, boolean) IS
    'The reason of a change; refuses (22023) a blank one, and none where one is required.';

CREATE FUNCTION authz.demand_expiry(action text, tenant uuid, scope_type text, scope_id text, expires timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF expires <= clock_timestamp() THEN
        PERFORM authz.refuse_argument(action, tenant, scope_type, scope_id, 'the expiry is in the past',
                                      'Pass a later instant, or none.');
    END IF;
END
$$;
COMMENT ON FUNCTION authz.demand_expiry(text, uuid, text, text, timestamptz) IS 'Refuses (22023) an expiry that has passed.';

-- The receiver: a member of the tenant, or at platform scope anybody who is not gone. The row is locked, so that the
-- membership cannot end before this transaction does.
CREATE FUNCTION authz.demand_member(action text, tenant uuid, scope_type text, scope_id text, principal uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF tenant IS NULL THEN
        PERFORM FROM authz.principal AS p
        WHERE p.principal_id = principal AND p.status NOT IN ('disabled', 'deleted') FOR SHARE;
    ELSE
        PERFORM FROM authz.tenant_membership AS m JOIN authz.principal AS p ON p.principal_id = m.principal_id
        WHERE m.tenant_id = tenant AND m.principal_id = principal AND m.revoked_at IS NULL
          AND m.active_from <= clock_timestamp() AND m.active_until > clock_timestamp()
          AND p.status NOT IN ('disabled', 'deleted') FOR SHARE;
    END IF;
    IF NOT FOUND THEN
        PERFORM authz.refuse(action, tenant, scope_type, scope_id, 'no_member', '42501', 'no such member',
            CASE WHEN tenant IS NULL THEN 'There is no such principal, or it is disabled or deleted.'
                 ELSE 'Nobody of that id is a member of this tenant.' END,
            CASE WHEN tenant IS NULL THEN 'Look up the id of the principal.'
                 ELSE 'Take the principal into the tenant first (authz_add_member).' END);
    END IF;
END
$$;
COMMENT ON FUNCTION authz.demand_member(text, uuid, text, text, uuid) IS
    'Refuses (42501) a principal that is no member of the tenant; keeps the membership as it is until the transaction ends.';

CREATE FUNCTION authz.refuse_missing(action text, tenant uuid, scope_type text, scope_id text, what text, missing text[])
RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT authz.refuse(action, tenant, scope_type, scope_id, 'not_held', '42501', format('%s cannot be handed on', what),
        format('The session''s principal does not hold this there, or not as freely: %s.', array_to_string(missing, ', ')),
        'Whoever gives must hold what is given, without a condition or obligation that the receiver would not have.')
    WHERE missing IS NULL OR missing <> '{}'
$$;
COMMENT ON FUNCTION authz.refuse_missing(text, uuid, text, text, text, text[]) IS
    'Refuses (42501) to hand on what the session''s principal does not hold; an empty list is no refusal.';

-- A role brings its permissions at the scope, and what was granted to the role itself or one that it inherits: that
-- counts wherever in the tenant it was granted.
CREATE FUNCTION authz.demand_role(action text, tenant uuid, scope_type text, scope_id text, role text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    given record;
BEGIN
    PERFORM authz.refuse_missing(action, tenant, scope_type, scope_id, format('role %L', role),
                                 authz.role_missing(role, tenant, scope_type, scope_id));
    FOR given IN
        WITH RECURSIVE brought (role_code) AS (
            SELECT role COLLATE "C"
            UNION
            SELECT i.inherited_role_code FROM brought AS b JOIN authz.role_inheritance AS i ON i.role_code = b.role_code
            WHERE i.active_until > clock_timestamp())
        SELECT g.tenant_id, g.resource_type, g.resource_id, g.permission_code
        FROM brought AS b
        JOIN authz.tenant AS t ON tenant IS NULL OR t.tenant_id = tenant
        JOIN authz.resource_access_grant AS g
          ON g.tenant_id = t.tenant_id AND g.grantee_id = b.role_code AND g.grantee_type = 'role'
        WHERE g.active_until > clock_timestamp()
        UNION
        SELECT r.tenant_id, CASE WHEN r.resource_id IS NULL THEN 'tenant' ELSE r.resource_type END,
               coalesce(r.resource_id, r.tenant_id::text), coalesce(r.permission_code, p.permission_code)
        FROM brought AS b
        JOIN authz.resource_access_rule AS r ON r.grantee_type = 'role' AND r.grantee_id = b.role_code AND r.effect = 'allow'
        JOIN authz.permission_definition AS p ON p.permission_code = coalesce(r.permission_code, p.permission_code)
        WHERE r.active_until > clock_timestamp() AND (tenant IS NULL OR r.tenant_id = tenant)
    LOOP
        PERFORM authz.refuse_missing(action, tenant, scope_type, scope_id,
            format('role %L, to which access to %s %s was granted,', role, given.resource_type, given.resource_id),
            authz.permission_missing(given.permission_code, given.tenant_id, given.resource_type, given.resource_id));
    END LOOP;
    -- What the role will have later comes with it, too.
    FOR given IN
        WITH RECURSIVE brought (role_code, since) AS (
            SELECT role COLLATE "C", '-infinity'::timestamptz
            UNION
            SELECT i.inherited_role_code, greatest(b.since, i.active_from)
            FROM brought AS b JOIN authz.role_inheritance AS i ON i.role_code = b.role_code
            WHERE i.active_until > clock_timestamp() AND i.active_from < i.active_until)
        SELECT DISTINCT rp.permission_code
        FROM brought AS b JOIN authz.role_permission AS rp ON rp.role_code = b.role_code
        WHERE greatest(b.since, rp.active_from) > clock_timestamp() AND rp.active_until > greatest(b.since, rp.active_from)
    LOOP
        PERFORM authz.refuse_missing(action, tenant, scope_type, scope_id,
            format('role %L, which will have %L,', role, given.permission_code),
            authz.permission_missing(given.permission_code, tenant, scope_type, scope_id));
    END LOOP;
END
$$;
COMMENT ON FUNCTION authz.demand_role(text, uuid, text, text, text) IS
    'Refuses (42501) unless the session''s principal holds, on terms as wide, everything that comes with the role.';

CREATE FUNCTION authz.demand_defined_role(action text, tenant uuid, scope_type text, scope_id text, role text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM authz.role_definition AS d WHERE d.role_code = role) THEN
        PERFORM authz.refuse(action, tenant, scope_type, scope_id, 'unknown_role', '42704',
            format('role %L does not exist', role), 'It is not in authz.role_definition.', 'Define it there first.');
    END IF;
END
$$;
COMMENT ON FUNCTION authz.demand_defined_role(text, uuid, text, text, text) IS 'Refuses (42704) a role that does not exist.';

-- The message has the nearest code, so it is the one that every function has for a permission that does not exist.
CREATE FUNCTION authz.demand_defined_permission(action text, tenant uuid, scope_type text, scope_id text, permission text)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM authz.permission_definition AS d WHERE d.permission_code = permission) THEN
        PERFORM authz.record_denial(action, scope_type, scope_id, tenant, 'denied', 'unknown_permission');
        PERFORM authz.permission_missing(
            permission, tenant, CASE WHEN tenant IS NULL THEN 'platform' ELSE 'tenant' END, tenant::text);
    END IF;
END
$$;
COMMENT ON FUNCTION authz.demand_defined_permission(text, uuid, text, text, text) IS
    'Refuses (42704) a permission that does not exist.';

-- Sets authz.change_reason for what follows in this transaction, and returns what it was.
CREATE FUNCTION authz.set_reason(reason text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    former text := current_setting('authz.change_reason', true);
BEGIN
    PERFORM set_config('authz.change_reason', coalesce(reason, ''), true);
    RETURN former;
END
$$;
COMMENT ON FUNCTION authz.set_reason(text) IS 'Sets the setting authz.change_reason and returns its former value.';

REVOKE ALL ON FUNCTION
    authz.refuse(text, uuid, text, text, text, text, text, text, text), authz.refuse_authority(text, uuid, text, text),
    authz.holds_or_records(text, uuid, text, text), authz.demand(text, uuid, text, text),
    authz.refuse_argument(text, uuid, text, text, text, text),
    authz.demand_arguments(text, text[]), authz.demand_other(text, uuid, text, text, uuid),
    authz.demand_reason(text, uuid, text, text, text, boolean), authz.demand_expiry(text, uuid, text, text, timestamptz),
    authz.demand_member(text, uuid, text, text, uuid), authz.refuse_missing(text, uuid, text, text, text, text[]),
    authz.demand_role(text, uuid, text, text, text), authz.demand_defined_role(text, uuid, text, text, text),
    authz.demand_defined_permission(text, uuid, text, text, text),
    authz.set_reason(text)
    FROM PUBLIC;

-- The first administrator. Executable by the extension's owner alone: whoever can call it is the owner of everything
-- that is decided here already.
CREATE FUNCTION authz_bootstrap_administrator(principal uuid, reason text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    administrator CONSTANT text := 'authz.administrator';
    former text;
    id     uuid;
BEGIN
    IF authz.is_blank(coalesce(reason, '')) OR principal IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the first administrator needs a principal and a reason', HINT = 'Say who and why.';
    END IF;
    former := authz.set_reason(reason);
    INSERT INTO authz.role_definition (role_code, role_name, role_kind, is_system_role, description)
    VALUES (administrator, 'Administrator', 'system', true,
            'Administers authority: has every permission that authz_ext itself asks for, and no other.')
    ON CONFLICT (role_code) DO NOTHING;
    INSERT INTO authz.role_permission (role_code, permission_code)
    SELECT administrator, d.permission_code FROM authz.permission_definition AS d
    WHERE d.is_system_permission
      AND NOT EXISTS (SELECT FROM authz.role_permission AS rp
                      WHERE rp.role_code = administrator AND rp.permission_code = d.permission_code
                        AND rp.active_until > clock_timestamp());
    INSERT INTO authz.principal_role_assignment (principal_id, role_code, scope_type, reason)
    VALUES (principal, administrator, 'platform', reason)
    RETURNING assignment_id INTO id;
    PERFORM authz.set_reason(former);
    RETURN id;
END
$$;
COMMENT ON FUNCTION authz_bootstrap_administrator(uuid, text) IS
    'Makes the principal an administrator of the platform. For the database owner: the first administrator, or the next after a lock-out.';
REVOKE ALL ON FUNCTION authz_bootstrap_administrator(uuid, text) FROM PUBLIC;
