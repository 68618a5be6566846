-- Ownership. The owner stands in a column of the application's table, which has no triggers of ours: the event is
-- written here. The row is written as its table's owner, past row security, as foreign keys do it: the table's own
-- triggers must not run as the owner of the extension, and policies do not know of transfers.

CREATE FUNCTION authz_transfer_ownership(
    resource_type text, resource_id text, new_owner uuid, tenant uuid DEFAULT NULL, reason text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action    CONSTANT text := 'ownership.transfer';
    t         CONSTANT uuid := coalesce(tenant, authz.session_tenant());
    rt        authz.resource_type;
    place     text;
    key_type  text;
    was       text;
    why       text;
    target    text;
BEGIN
    PERFORM authz.demand_arguments(action, 'resource_type', resource_type, 'resource_id', resource_id,
                                   'new_owner', new_owner::text, 'tenant', t::text);
    PERFORM authz.demand(action, t, resource_type, resource_id);
    PERFORM authz.demand_other(action, t, resource_type, resource_id, new_owner);
    why := authz.demand_reason(action, t, resource_type, resource_id, reason, true);
    SELECT * INTO rt FROM authz.resource_type AS r WHERE r.resource_type = authz_transfer_ownership.resource_type;
    IF rt.owner_column IS NULL THEN
        PERFORM authz.refuse(action, t, resource_type, resource_id, 'no_owner_column', '55000',
            format('resources of type %L have no owner', resource_type), NULL, 'Register an owner column for the type.');
    END IF;
    IF NOT EXISTS (SELECT FROM authz.team AS x WHERE x.tenant_id = t AND x.team_id = new_owner)
       AND NOT EXISTS (SELECT FROM authz.organization AS x WHERE x.tenant_id = t AND x.organization_id = new_owner) THEN
        PERFORM authz.demand_member(action, t, resource_type, resource_id, new_owner);
    END IF;
    IF rt.owner_role IS NOT NULL THEN
        PERFORM authz.demand_role(action, t, resource_type, resource_id, rt.owner_role);
    END IF;

    SELECT format_type(a.atttypid, NULL), c.oid::regclass::text INTO STRICT key_type, target
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = rt.key_column
    WHERE c.oid = rt.target;
    place := format('%I = $1::%s AND %I = $2', rt.key_column, key_type, rt.tenant_column);
    was := authz.lock_owner(
        (SELECT c.relowner FROM pg_class AS c WHERE c.oid = rt.target),
        format('SELECT %I::pg_catalog.text FROM %s WHERE %s FOR UPDATE', rt.owner_column, target, place), resource_id, t);
    -- Whoever waited for the row looks again.
    PERFORM authz.demand(action, t, resource_type, resource_id);
    IF was = new_owner::text THEN
        PERFORM authz.refuse(action, t, resource_type, resource_id, 'wrong_state', '55000',
                             'it belongs to that owner already', NULL, 'There is nothing to do.');
    END IF;
    BEGIN
        PERFORM authz.write_owner(
            (SELECT c.relowner FROM pg_class AS c WHERE c.oid = rt.target),
            format('UPDATE %s SET %I = $3::%s WHERE %s', target, rt.owner_column,
                   (SELECT format_type(a.atttypid, NULL) FROM pg_attribute AS a
                    WHERE a.attrelid = rt.target AND a.attname = rt.owner_column), place),
            resource_id, t, new_owner::text);
    EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
        PERFORM authz.record_denial(action, resource_type, resource_id, t, 'denied', SQLSTATE);
        RAISE;
    END;
    INSERT INTO authz.access_change_event AS e
        (actor_id, change_type, before_value, after_value, reason, table_name, row_key)
    SELECT authz.session_principal(), 'transfer', v.value || jsonb_build_object('owner', was),
           v.value || jsonb_build_object('owner', new_owner)
               || CASE WHEN EXISTS (SELECT FROM authz.principal AS p WHERE p.principal_id = new_owner)
                       THEN jsonb_build_object('principal_id', new_owner) ELSE '{}' END,
           why, target, resource_id
    FROM (SELECT jsonb_build_object('tenant_id', t, 'resource_type', resource_type, 'resource_id', resource_id)) AS v (value);
END
$$;
COMMENT ON FUNCTION authz_transfer_ownership(text, text, uuid, uuid, text) IS
    'Gives a resource to another member, team or organization. Needs ownership.transfer on it, all that the owner''s role has, and a reason.';
