-- Work is routed to operators: who may do it, has room for it, and belongs to the tenant. A claim is a row that is
-- closed by its release. How many an operator has open is counted in a row of its own, which every claim updates, also
-- one that is inserted by hand: whoever routes at the same time meets there, in every isolation level.

CREATE TABLE authz.work_load (
    principal_id uuid NOT NULL,
    open_items integer NOT NULL DEFAULT 0,
    CONSTRAINT work_load_pkey PRIMARY KEY (principal_id),
    CONSTRAINT work_load_principal_id_fkey FOREIGN KEY (principal_id) REFERENCES authz.operator_profile (principal_id),
    CONSTRAINT work_load_open_items_check CHECK (open_items >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE authz.work_load IS 'How much work each operator has open; kept by triggers of authz.work_assignment.';
COMMENT ON COLUMN authz.work_load.principal_id IS 'The operator.';
COMMENT ON COLUMN authz.work_load.open_items IS 'Claims that are not released, of all tenants.';

CREATE TABLE authz.work_assignment (
    work_assignment_id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    resource_type text COLLATE "C" NOT NULL,
    resource_id text COLLATE "C" NOT NULL,
    permission_code text COLLATE "C" NOT NULL,
    principal_id uuid NOT NULL,
    assigned_at timestamptz NOT NULL DEFAULT now(),
    assigned_by uuid,
    released_at timestamptz,
    released_by uuid,
    outcome text,
    CONSTRAINT work_assignment_pkey PRIMARY KEY (work_assignment_id),
    CONSTRAINT work_assignment_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES authz.tenant (tenant_id),
    CONSTRAINT work_assignment_permission_code_fkey
        FOREIGN KEY (permission_code) REFERENCES authz.permission_definition (permission_code),
    CONSTRAINT work_assignment_principal_id_fkey
        FOREIGN KEY (principal_id) REFERENCES authz.operator_profile (principal_id),
    CONSTRAINT work_assignment_assigned_by_fkey FOREIGN KEY (assigned_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT work_assignment_released_by_fkey FOREIGN KEY (released_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT work_assignment_resource_id_check CHECK (resource_type <> '' AND resource_id <> ''),
    CONSTRAINT work_assignment_released_at_check CHECK (released_at >= assigned_at)
);
CREATE UNIQUE INDEX work_assignment_open_key ON authz.work_assignment (tenant_id, resource_type, resource_id)
    WHERE released_at IS NULL;
CREATE INDEX work_assignment_principal_idx ON authz.work_assignment (principal_id, assigned_at);
COMMENT ON TABLE authz.work_assignment IS 'A piece of work, claimed for one operator at a time.';
COMMENT ON COLUMN authz.work_assignment.work_assignment_id IS 'Key.';
COMMENT ON COLUMN authz.work_assignment.tenant_id IS 'The client whose work it is.';
COMMENT ON COLUMN authz.work_assignment.resource_type IS 'Type of the resource that is worked on.';
COMMENT ON COLUMN authz.work_assignment.resource_id IS 'Canonical text of its key.';
COMMENT ON COLUMN authz.work_assignment.permission_code IS 'What the operator had to be allowed to get it.';
COMMENT ON COLUMN authz.work_assignment.principal_id IS 'The operator.';
COMMENT ON COLUMN authz.work_assignment.assigned_at IS 'When it was claimed.';
COMMENT ON COLUMN authz.work_assignment.assigned_by IS 'Who routed it.';
COMMENT ON COLUMN authz.work_assignment.released_at IS 'When it was done or given back; NULL: it is open.';
COMMENT ON COLUMN authz.work_assignment.released_by IS 'Who released it.';
COMMENT ON COLUMN authz.work_assignment.outcome IS 'What came of it.';

CREATE FUNCTION authz.count_work() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.released_at IS NULL AND NEW.released_at IS NOT NULL THEN
            UPDATE authz.work_load SET open_items = open_items - 1 WHERE principal_id = NEW.principal_id;
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.released_at IS NOT NULL THEN
        RETURN NEW;
    END IF;
    INSERT INTO authz.work_load AS l (principal_id, open_items) VALUES (NEW.principal_id, 1)
    ON CONFLICT (principal_id) DO UPDATE SET open_items = l.open_items + 1;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.count_work() IS
    'Trigger: keeps authz.work_load.';
REVOKE ALL ON FUNCTION authz.count_work() FROM PUBLIC;

CREATE TRIGGER check_resource BEFORE INSERT ON authz.work_assignment
    FOR EACH ROW EXECUTE FUNCTION authz.check_key('resource_type', 'resource_id');
CREATE TRIGGER count_work BEFORE INSERT OR UPDATE ON authz.work_assignment
    FOR EACH ROW EXECUTE FUNCTION authz.count_work();
CREATE TRIGGER guard_delete BEFORE DELETE ON authz.work_assignment
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Set released_at instead.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.work_assignment
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Set released_at instead.');
-- After count_work in the alphabet, but it changes no row: a refused UPDATE takes its count back with it.
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.work_assignment
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"released_at": "once", "released_by": "once", "outcome": "once"}');

SELECT pg_catalog.pg_extension_config_dump('authz.work_assignment'::pg_catalog.regclass, '');

-- Operators with room for work in a tenant, the most room first. Only members are eligible: nobody is given the work of
-- a client that it does not work for, whatever platform role it has.
CREATE FUNCTION authz.operators_with_room(tenant uuid) RETURNS TABLE (principal_id uuid, room integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT o.principal_id, o.alert_quota - coalesce(l.open_items, 0)
    FROM authz.tenant_membership AS m
    JOIN authz.operator_profile AS o USING (principal_id)
    LEFT JOIN authz.work_load AS l USING (principal_id)
    WHERE m.tenant_id = tenant AND m.status = 'active'
      AND m.active_from <= statement_timestamp() AND m.active_until > statement_timestamp()
      AND o.alert_quota > coalesce(l.open_items, 0)
    ORDER BY 2 DESC, 1
$$;
COMMENT ON FUNCTION authz.operators_with_room(uuid) IS
    'Operators who are active members of the tenant and have not used up their quota, the most room first.';
REVOKE ALL ON FUNCTION authz.operators_with_room(uuid) FROM PUBLIC;

CREATE FUNCTION authz.refuse_work(action text, tenant uuid, resource text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM authz.record_denial(action, 'work_assignment', resource, tenant, 'denied', 'no_grant');
    RAISE EXCEPTION USING
        ERRCODE = 'insufficient_privilege',
        MESSAGE = format('permission denied: %s', action),
        DETAIL = 'The session''s principal does not hold work.route in that tenant, or there is no such work.',
        HINT = 'Work is routed by whoever holds work.route in the tenant.';
END
$$;
COMMENT ON FUNCTION authz.refuse_work(text, uuid, text) IS 'Records a denial about work and raises 42501.';
REVOKE ALL ON FUNCTION authz.refuse_work(text, uuid, text) FROM PUBLIC;

-- Calls name every argument's type: where others may create functions in the extension's schema, one of theirs that fits
-- a call better (fewer defaults, text for a literal) would run with the owner's privileges.
CREATE FUNCTION authz_route_work(tenant uuid, permission text, resource text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind           text;
    candidate      record;
    holder         uuid;
    constraint_hit text;
BEGIN
    PERFORM authz.demand_writable();
    IF tenant IS NULL OR NOT authz.holds_access('work.route', tenant, NULL, NULL) THEN
        PERFORM authz.refuse_work('work.route', tenant, resource);
    END IF;
    SELECT d.resource_type INTO kind FROM authz.permission_definition AS d WHERE d.permission_code = permission;
    IF kind IS NULL OR resource IS NULL THEN
        -- An unknown code is an error, with the nearest one as a hint, where it is asked about.
        PERFORM @extschema@.authz_can(authz.session_principal(), permission, coalesce(resource, ''), tenant, NULL::jsonb);
        RETURN NULL;
    END IF;
    LOOP
        SELECT w.principal_id INTO holder FROM authz.work_assignment AS w
        WHERE w.tenant_id = tenant AND w.resource_type = kind AND w.resource_id = resource AND w.released_at IS NULL;
        IF holder IS NOT NULL THEN
            RETURN holder;
        END IF;
        -- A second factor is asked for when the work is done; who has enrolled one can be given the work.
        SELECT o.* INTO candidate FROM authz.operators_with_room(tenant) AS o
        WHERE @extschema@.authz_can(o.principal_id, permission, resource, tenant, '{"mfa": true}'::jsonb)
        LIMIT 1;
        IF candidate.principal_id IS NULL THEN
            RETURN NULL;
        END IF;
        -- Whoever routes at the same time waits here for the row that counts the operator's work. If the count is not the
        -- one any more that the choice was made by, or the work was taken, everything is looked at again; the lock is
        -- given up with the attempt.
        BEGIN
            INSERT INTO authz.work_assignment (tenant_id, resource_type, resource_id, permission_code, principal_id,
                                               assigned_at, assigned_by)
            VALUES (tenant, kind, resource, permission, candidate.principal_id, clock_timestamp(),
                    authz.session_principal());
            IF NOT EXISTS (SELECT FROM authz.work_load AS l JOIN authz.operator_profile AS o USING (principal_id)
                           WHERE l.principal_id = candidate.principal_id
                             AND o.alert_quota - l.open_items + 1 = candidate.room) THEN
                RAISE unique_violation USING CONSTRAINT = 'work_load_pkey';
            END IF;
            PERFORM authz.record_access('work.route', kind, resource, tenant, 'allowed', NULL,
                                        jsonb_build_object('operator', candidate.principal_id));
            RETURN candidate.principal_id;
        EXCEPTION
            WHEN unique_violation THEN
                GET STACKED DIAGNOSTICS constraint_hit = CONSTRAINT_NAME;
                IF constraint_hit NOT IN ('work_load_pkey', 'work_assignment_open_key') THEN
                    RAISE;
                ELSIF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
                    -- This transaction cannot see what the other one did, however often it looks.
                    RAISE EXCEPTION USING
                        ERRCODE = 'serialization_failure',
                        MESSAGE = 'could not route the work due to concurrent routing',
                        HINT = 'Try the transaction again.';
                END IF;
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION authz_route_work(uuid, text, text) IS
    'Gives a piece of work to the operator with the most free quota among the tenant''s members who may do it, and returns who that is; NULL: nobody. Work that somebody has stays there. The session''s principal must hold work.route in the tenant.';
REVOKE ALL ON FUNCTION authz_route_work(uuid, text, text) FROM PUBLIC;

CREATE FUNCTION authz_route_work(tenant uuid, permission text, resource uuid) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT @extschema@.authz_route_work(tenant, permission, resource::text)
$$;
COMMENT ON FUNCTION authz_route_work(uuid, text, uuid) IS 'authz_route_work for uuid keys.';
REVOKE ALL ON FUNCTION authz_route_work(uuid, text, uuid) FROM PUBLIC;

CREATE FUNCTION authz_route_work(tenant uuid, permission text, resource bigint) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT @extschema@.authz_route_work(tenant, permission, resource::text)
$$;
COMMENT ON FUNCTION authz_route_work(uuid, text, bigint) IS 'authz_route_work for smallint, integer and bigint keys.';
REVOKE ALL ON FUNCTION authz_route_work(uuid, text, bigint) FROM PUBLIC;

CREATE FUNCTION authz_release_work(tenant uuid, resource_type text, resource text, outcome text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    w authz.work_assignment;
BEGIN
    PERFORM authz.demand_writable();
    SELECT * INTO w FROM authz.work_assignment AS a
    WHERE a.tenant_id = tenant AND a.resource_type = resource_type AND a.resource_id = resource AND a.released_at IS NULL;
    IF authz.session_principal() IS NULL
        OR (authz.session_tenant() IS NOT NULL AND authz.session_tenant() IS DISTINCT FROM tenant)
        OR (w.principal_id IS DISTINCT FROM authz.session_principal()
            AND NOT authz.holds_access('work.route', tenant, NULL, NULL)) THEN
        PERFORM authz.refuse_work('work.release', tenant, resource);
    END IF;
    -- Locked only for those who may: waiting for a lock would tell the others that the row is there.
    SELECT * INTO w FROM authz.work_assignment AS a
    WHERE a.work_assignment_id = w.work_assignment_id AND a.released_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('%s %s is with nobody', resource_type, resource),
            HINT = 'It was released before, or never routed.';
    END IF;
    UPDATE authz.work_assignment AS a
    SET released_at = greatest(clock_timestamp(), a.assigned_at), released_by = authz.session_principal(), outcome = outcome
    WHERE a.work_assignment_id = w.work_assignment_id;
    PERFORM authz.record_access('work.release', w.resource_type, w.resource_id, w.tenant_id, 'allowed', outcome);
    RETURN w.principal_id;
END
$$;
COMMENT ON FUNCTION authz_release_work(uuid, text, text, text) IS
    'Ends the claim on a piece of work: the operator''s own, or any where work.route is held in the tenant. Returns the operator.';
REVOKE ALL ON FUNCTION authz_release_work(uuid, text, text, text) FROM PUBLIC;
