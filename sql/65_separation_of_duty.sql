-- Separation of duty. Static: of a set of roles one principal may hold at most n at a time, in one tenant or over all
-- of them. Dynamic: one principal may use at most n of them on one resource. Inherited roles count as held.
--
-- Static constraints are checked by triggers on whatever can break them (assignments, inheritance, the constraints
-- themselves). Whoever assigns holds the row of hierarchy_lock in share mode and the rows of the principals in
-- sod_lock; whoever changes inheritance or constraints updates the row of hierarchy_lock. So no two transactions that
-- are right alone are wrong together: the second waits and sees the first (READ COMMITTED), or fails with a
-- serialization error. Rows, not advisory locks, which anybody can take and never give back.

CREATE TABLE authz.sod_constraint (
    constraint_id uuid NOT NULL DEFAULT gen_random_uuid(),
    constraint_name text COLLATE "C" NOT NULL,
    constraint_kind text COLLATE "C" NOT NULL DEFAULT 'static',
    tenant_id uuid,
    role_codes text[] COLLATE "C" NOT NULL,
    max_roles integer NOT NULL DEFAULT 1,
    across_tenants boolean NOT NULL DEFAULT false,
    resource_type text COLLATE "C",
    valid_from timestamptz NOT NULL DEFAULT now(),
    valid_until timestamptz,
    created_by uuid,
    reason text,
    active_from timestamptz NOT NULL GENERATED ALWAYS AS (valid_from) STORED,
    active_until timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(valid_until, 'infinity')) STORED,
    CONSTRAINT sod_constraint_pkey PRIMARY KEY (constraint_id),
    CONSTRAINT sod_constraint_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES authz.tenant (tenant_id),
    CONSTRAINT sod_constraint_created_by_fkey FOREIGN KEY (created_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT sod_constraint_constraint_name_check CHECK (constraint_name ~ '[^[:space:]]'),
    CONSTRAINT sod_constraint_constraint_kind_check CHECK (constraint_kind IN ('static', 'dynamic')),
    CONSTRAINT sod_constraint_role_codes_check
        CHECK (array_ndims(role_codes) = 1 AND cardinality(role_codes) >= 2 AND array_position(role_codes, NULL) IS NULL),
    CONSTRAINT sod_constraint_max_roles_check CHECK (max_roles >= 1 AND max_roles < cardinality(role_codes)),
    CONSTRAINT sod_constraint_across_tenants_check
        CHECK (NOT across_tenants OR (tenant_id IS NULL AND constraint_kind = 'static')),
    CONSTRAINT sod_constraint_resource_type_check CHECK (resource_type IS NULL OR constraint_kind = 'dynamic'),
    CONSTRAINT sod_constraint_valid_until_check CHECK (valid_until >= valid_from)
);
CREATE UNIQUE INDEX sod_constraint_open_key
    ON authz.sod_constraint (constraint_name, tenant_id) NULLS NOT DISTINCT WHERE valid_until IS NULL;
COMMENT ON TABLE authz.sod_constraint IS
    'Separation of duty: of these roles one principal may hold (static), or use on one resource (dynamic), at most so many.';
COMMENT ON COLUMN authz.sod_constraint.constraint_id IS 'Key.';
COMMENT ON COLUMN authz.sod_constraint.constraint_name IS 'Name, for messages.';
COMMENT ON COLUMN authz.sod_constraint.constraint_kind IS 'static: about holding the roles; dynamic: about using them on one resource.';
COMMENT ON COLUMN authz.sod_constraint.tenant_id IS 'The only tenant that it is about; NULL: each tenant.';
COMMENT ON COLUMN authz.sod_constraint.role_codes IS 'The roles. A role that inherits one of them counts as that one, too.';
COMMENT ON COLUMN authz.sod_constraint.max_roles IS 'How many of them one principal may hold or use.';
COMMENT ON COLUMN authz.sod_constraint.across_tenants IS
    'Count the roles of all tenants together; else each tenant''s with those held at platform scope.';
COMMENT ON COLUMN authz.sod_constraint.resource_type IS 'Dynamic: resources of this type only; NULL: every type.';
COMMENT ON COLUMN authz.sod_constraint.valid_from IS 'Start of validity.';
COMMENT ON COLUMN authz.sod_constraint.valid_until IS 'End of validity, exclusive; NULL: open. Set it to close the row.';
COMMENT ON COLUMN authz.sod_constraint.created_by IS 'The principal who made it; NULL: nobody on record.';
COMMENT ON COLUMN authz.sod_constraint.reason IS 'Why it was made; may be replaced by why it was closed.';
COMMENT ON COLUMN authz.sod_constraint.active_from IS 'In force from here.';
COMMENT ON COLUMN authz.sod_constraint.active_until IS 'In force until here, exclusive; infinity: open.';

CREATE TABLE authz.sod_lock (
    principal_id uuid NOT NULL,
    changes bigint NOT NULL DEFAULT 0,
    CONSTRAINT sod_lock_pkey PRIMARY KEY (principal_id)
);
COMMENT ON TABLE authz.sod_lock IS
    'One row for each principal that was given a role under a static constraint, or has begun break-glass, so that those who do it at once meet.';
COMMENT ON COLUMN authz.sod_lock.principal_id IS 'The principal.';
COMMENT ON COLUMN authz.sod_lock.changes IS 'Number of statements that locked it.';

CREATE TABLE authz.sod_use (
    use_id uuid NOT NULL DEFAULT gen_random_uuid(),
    constraint_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    tenant_id uuid,
    resource_type text COLLATE "C" NOT NULL,
    resource_id text COLLATE "C" NOT NULL,
    role_codes text[] COLLATE "C" NOT NULL DEFAULT '{}',
    first_used_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_used_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT sod_use_pkey PRIMARY KEY (use_id),
    CONSTRAINT sod_use_identity_key
        UNIQUE NULLS NOT DISTINCT (resource_id, principal_id, constraint_id, resource_type, tenant_id),
    CONSTRAINT sod_use_constraint_id_fkey FOREIGN KEY (constraint_id) REFERENCES authz.sod_constraint (constraint_id),
    CONSTRAINT sod_use_principal_id_fkey FOREIGN KEY (principal_id) REFERENCES authz.principal (principal_id)
);
COMMENT ON TABLE authz.sod_use IS 'Which roles of a dynamic constraint a principal has used on a resource.';
COMMENT ON COLUMN authz.sod_use.use_id IS 'Key.';
COMMENT ON COLUMN authz.sod_use.constraint_id IS 'The constraint.';
COMMENT ON COLUMN authz.sod_use.principal_id IS 'The principal.';
COMMENT ON COLUMN authz.sod_use.tenant_id IS 'The tenant of the resource; NULL: it belongs to the platform.';
COMMENT ON COLUMN authz.sod_use.resource_type IS 'Type of the resource.';
COMMENT ON COLUMN authz.sod_use.resource_id IS 'Canonical text of its key.';
COMMENT ON COLUMN authz.sod_use.role_codes IS 'The roles used, in the order of their first use.';
COMMENT ON COLUMN authz.sod_use.first_used_at IS 'First use.';
COMMENT ON COLUMN authz.sod_use.last_used_at IS 'Last use.';

CREATE TRIGGER guard_delete BEFORE DELETE ON authz.sod_constraint
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Set valid_until instead.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.sod_constraint
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Set valid_until instead.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.sod_constraint
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"valid_until": "until", "reason": "closing"}');
CREATE TRIGGER guard_delete BEFORE DELETE ON authz.sod_use
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_change();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.sod_use
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_change();
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.sod_use
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"role_codes": "free", "last_used_at": "free"}');
ALTER TABLE authz.sod_use ENABLE ALWAYS TRIGGER guard_delete;
ALTER TABLE authz.sod_use ENABLE ALWAYS TRIGGER guard_truncate;
SELECT pg_catalog.pg_extension_config_dump('authz.sod_constraint'::pg_catalog.regclass, '');
SELECT pg_catalog.pg_extension_config_dump('authz.sod_use'::pg_catalog.regclass, '');
SELECT authz.track_changes('authz.sod_constraint');

CREATE FUNCTION authz.check_sod_roles() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unknown text;
BEGIN
    SELECT string_agg(quote_literal(r), ', ' ORDER BY r) INTO unknown
    FROM unnest(NEW.role_codes) AS r WHERE NOT EXISTS (SELECT FROM authz.role_definition WHERE role_code = r);
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('separation of duty %L names roles that do not exist', NEW.constraint_name),
            DETAIL = format('Not in authz.role_definition: %s.', unknown),
            HINT = 'Define the roles first.';
    END IF;
    IF (SELECT count(DISTINCT r) < count(r) FROM unnest(NEW.role_codes) AS r) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('separation of duty %L names a role twice', NEW.constraint_name),
            HINT = 'Name each role once.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.check_sod_roles() IS 'Trigger: refuses a constraint over roles that do not exist, or over one twice.';
REVOKE ALL ON FUNCTION authz.check_sod_roles() FROM PUBLIC;
CREATE TRIGGER check_roles BEFORE INSERT ON authz.sod_constraint
    FOR EACH ROW EXECUTE FUNCTION authz.check_sod_roles();

-- Roles with those that they inherit, from an instant on. Without principals: everybody's.
CREATE FUNCTION authz.roles_held(since timestamptz, principals uuid[] DEFAULT NULL)
RETURNS TABLE (principal_id uuid, tenant_id uuid, role_code text, held_from timestamptz, held_until timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE held (principal_id, tenant_id, role_code, held_from, held_until) AS (
        SELECT a.principal_id, a.tenant_id, a.role_code, greatest(a.active_from, since), a.active_until
        FROM authz.principal_role_assignment AS a
        WHERE (principals IS NULL OR a.principal_id = ANY (principals))
          AND a.active_until > since AND a.active_from < a.active_until
        UNION
        SELECT h.principal_id, h.tenant_id, i.inherited_role_code,
               greatest(h.held_from, i.active_from), least(h.held_until, i.active_until)
        FROM held AS h JOIN authz.role_inheritance AS i ON i.role_code = h.role_code
        WHERE i.active_from < h.held_until AND i.active_until > h.held_from AND i.active_from < i.active_until)
    SELECT * FROM held
$$;
COMMENT ON FUNCTION authz.roles_held(timestamptz, uuid[]) IS
    'Who holds which role from an instant on, by assignment or inheritance, in which tenant (NULL: at platform scope) and when.';
REVOKE ALL ON FUNCTION authz.roles_held(timestamptz, uuid[]) FROM PUBLIC;

-- The first breach of a static constraint, as an error. Arguments limit where it is looked for; NULL: everywhere.
CREATE FUNCTION authz.refuse_sod_breach(principals uuid[], only_constraint uuid DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    since  timestamptz := clock_timestamp();
    breach record;
BEGIN
    WITH held AS MATERIALIZED (
        SELECT h.* FROM authz.roles_held(since, principals) AS h
        WHERE EXISTS (SELECT FROM authz.sod_constraint AS c
                      WHERE c.constraint_kind = 'static' AND c.active_until > since AND h.role_code = ANY (c.role_codes)))
    SELECT c.constraint_name, c.max_roles, i.principal_id, g.tenant_id, c.across_tenants,
           string_agg(DISTINCT m.role_code, ', ' ORDER BY m.role_code) AS roles
    INTO breach
    FROM authz.sod_constraint AS c
    -- A place to count at: a tenant in which the principal has something, or the platform.
    JOIN (SELECT DISTINCT h.principal_id, h.tenant_id FROM held AS h) AS g
        ON c.across_tenants OR c.tenant_id IS NULL OR g.tenant_id IS NULL OR g.tenant_id = c.tenant_id
    -- An instant to count at: the most are held where one of them begins.
    JOIN held AS i ON i.principal_id = g.principal_id AND i.role_code = ANY (c.role_codes)
        AND (c.across_tenants OR i.tenant_id IS NULL OR i.tenant_id = g.tenant_id)
        AND i.held_from < c.active_until AND i.held_until > c.active_from
    JOIN held AS m ON m.principal_id = g.principal_id AND m.role_code = ANY (c.role_codes)
        AND (c.across_tenants OR m.tenant_id IS NULL OR m.tenant_id = g.tenant_id)
        AND m.held_from <= greatest(i.held_from, c.active_from) AND m.held_until > greatest(i.held_from, c.active_from)
    WHERE c.constraint_kind = 'static' AND c.active_until > since
      AND (only_constraint IS NULL OR c.constraint_id = only_constraint)
    GROUP BY c.constraint_id, i.principal_id, g.tenant_id, greatest(i.held_from, c.active_from)
    HAVING count(DISTINCT m.role_code) > c.max_roles
    ORDER BY c.constraint_name, i.principal_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'check_violation',
            MESSAGE = format('separation of duty %L is violated', breach.constraint_name),
            DETAIL = format('Principal %s would hold %s%s; at most %s of these may be held.', breach.principal_id,
                            breach.roles,
                            CASE WHEN breach.tenant_id IS NOT NULL AND NOT breach.across_tenants
                                 THEN format(' in tenant %s', breach.tenant_id) ELSE '' END,
                            breach.max_roles),
            HINT = 'Revoke one of these roles first, or give the new one to somebody else.',
            SCHEMA = 'authz', TABLE = 'sod_constraint', CONSTRAINT = breach.constraint_name;
    END IF;
END
$$;
COMMENT ON FUNCTION authz.refuse_sod_breach(uuid[], uuid) IS
    'Raises 23514 where a principal (one of these; NULL: any) holds more roles than a static constraint allows, now or later.';
REVOKE ALL ON FUNCTION authz.refuse_sod_breach(uuid[], uuid) FROM PUBLIC;

CREATE FUNCTION authz.separate_assignments() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    principals uuid[];
BEGIN
    -- Rows that arrive by replication were checked where they were made.
    IF authz.in_logical_worker() THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(DISTINCT n.principal_id) INTO principals FROM new_rows AS n WHERE n.active_until > clock_timestamp();
    ELSE
        SELECT array_agg(DISTINCT n.principal_id) INTO principals
        FROM new_rows AS n LEFT JOIN old_rows AS o USING (assignment_id)
        WHERE n.active_until > clock_timestamp()
          AND ((n.principal_id, n.role_code, n.active_from) IS DISTINCT FROM (o.principal_id, o.role_code, o.active_from)
               OR n.active_until > o.active_until);
    END IF;
    IF principals IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM FROM authz.hierarchy_lock WHERE hierarchy = 'sod_constraint' FOR SHARE;
    IF EXISTS (SELECT FROM authz.sod_constraint WHERE constraint_kind = 'static' AND active_until > clock_timestamp()) THEN
        INSERT INTO authz.sod_lock AS l (principal_id) SELECT p FROM unnest(principals) AS p ORDER BY p
        ON CONFLICT (principal_id) DO UPDATE SET changes = l.changes + 1;
        PERFORM authz.refuse_sod_breach(principals);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION authz.separate_assignments() IS 'Trigger: refuses role assignments that break a static separation of duty.';
REVOKE ALL ON FUNCTION authz.separate_assignments() FROM PUBLIC;

-- A snapshot from before the lock cannot see what others have assigned since, and nothing would tell.
CREATE FUNCTION authz.separate_everybody() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF authz.in_logical_worker() THEN
        RETURN NULL;
    END IF;
    -- Without constraints inheritance is of no concern to whoever assigns, only to whoever makes the first constraint.
    IF TG_TABLE_NAME = 'role_inheritance' THEN
        PERFORM FROM authz.hierarchy_lock WHERE hierarchy = 'sod_constraint' FOR SHARE;
        IF NOT EXISTS (SELECT FROM authz.sod_constraint
                       WHERE constraint_kind = 'static' AND active_until > clock_timestamp()) THEN
            RETURN NULL;
        END IF;
    END IF;
    PERFORM authz.lock_hierarchy('sod_constraint');
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'feature_not_supported',
            MESSAGE = format('%s on authz.%I needs READ COMMITTED where separation of duty is static', TG_OP, TG_TABLE_NAME),
            DETAIL = 'The snapshot of this transaction may be older than somebody''s role assignment.',
            HINT = 'Use a transaction of isolation level READ COMMITTED.';
    END IF;
    PERFORM authz.refuse_sod_breach(NULL);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION authz.separate_everybody() IS
    'Trigger: refuses an inheritance or a constraint by which somebody breaks a static separation of duty.';
REVOKE ALL ON FUNCTION authz.separate_everybody() FROM PUBLIC;

CREATE TRIGGER separate_insert AFTER INSERT ON authz.principal_role_assignment
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION authz.separate_assignments();
CREATE TRIGGER separate_update AFTER UPDATE ON authz.principal_role_assignment
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT
    EXECUTE FUNCTION authz.separate_assignments();
CREATE TRIGGER separate AFTER INSERT OR UPDATE ON authz.role_inheritance
    FOR EACH STATEMENT EXECUTE FUNCTION authz.separate_everybody();
CREATE TRIGGER separate AFTER INSERT OR UPDATE ON authz.sod_constraint
    FOR EACH STATEMENT EXECUTE FUNCTION authz.separate_everybody();
ALTER TABLE authz.principal_role_assignment ENABLE ALWAYS TRIGGER separate_insert;
ALTER TABLE authz.principal_role_assignment ENABLE ALWAYS TRIGGER separate_update;
ALTER TABLE authz.role_inheritance ENABLE ALWAYS TRIGGER separate;
ALTER TABLE authz.sod_constraint ENABLE ALWAYS TRIGGER separate;

-- Roles that bring a permission, now, by inheritance and implication.
CREATE FUNCTION authz.roles_with(permission text) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE strong (permission_code) AS (
        SELECT permission COLLATE "C"
        UNION
        SELECT i.permission_code FROM strong AS s
        JOIN authz.permission_implication AS i ON i.implied_permission_code = s.permission_code
    ), bearer (role_code) AS (
        SELECT rp.role_code FROM authz.role_permission AS rp JOIN strong USING (permission_code)
        WHERE rp.active_from <= clock_timestamp() AND rp.active_until > clock_timestamp()
        UNION
        SELECT i.role_code FROM bearer AS b JOIN authz.role_inheritance AS i ON i.inherited_role_code = b.role_code
        WHERE i.active_from <= clock_timestamp() AND i.active_until > clock_timestamp())
    SELECT role_code FROM bearer
$$;
COMMENT ON FUNCTION authz.roles_with(text) IS 'The roles that have a permission now, by inheritance and implication.';
REVOKE ALL ON FUNCTION authz.roles_with(text) FROM PUBLIC;

-- Called by controlled writes, in the transaction of the write: the principal uses a permission on a resource. The role
-- that it acts in is one that it holds and that has the permission; where several do, one that it has used there
-- already. The row of sod_use is locked until the transaction ends, so that two uses at once are counted one by one.
CREATE FUNCTION authz.sod_use(
    permission text, resource_type text, resource_id text, tenant uuid, principal uuid DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    who        uuid := coalesce(principal, authz.session_principal());
    c          authz.sod_constraint;
    candidates text[];
    used       text[];
    row_id     uuid;
BEGIN
    IF who IS NULL OR permission IS NULL OR sod_use.resource_type IS NULL OR sod_use.resource_id IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'a use under separation of duty needs a principal, a permission and a resource',
            HINT = 'Begin a session, or pass the principal.';
    END IF;
    FOR c IN
        SELECT * FROM authz.sod_constraint AS s
        WHERE s.constraint_kind = 'dynamic'
          AND s.active_from <= clock_timestamp() AND s.active_until > clock_timestamp()
          AND (s.tenant_id IS NULL OR s.tenant_id = tenant)
          AND (s.resource_type IS NULL OR s.resource_type = sod_use.resource_type)
        ORDER BY s.constraint_id
    LOOP
        SELECT array_agg(DISTINCT h.role_code ORDER BY h.role_code) INTO candidates
        FROM authz.roles_held(clock_timestamp(), ARRAY[who]) AS h
        JOIN authz.roles_with(permission) AS w ON w = h.role_code
        WHERE h.role_code = ANY (c.role_codes) AND h.held_from <= clock_timestamp()
          AND (h.tenant_id IS NULL OR h.tenant_id = tenant);
        CONTINUE WHEN candidates IS NULL;

        INSERT INTO authz.sod_use AS u (constraint_id, principal_id, tenant_id, resource_type, resource_id)
        VALUES (c.constraint_id, who, tenant, sod_use.resource_type, sod_use.resource_id)
        ON CONFLICT ON CONSTRAINT sod_use_identity_key DO UPDATE SET last_used_at = clock_timestamp()
        RETURNING u.use_id, u.role_codes INTO row_id, used;
        CONTINUE WHEN used && candidates;
        IF cardinality(used) >= c.max_roles THEN
            PERFORM authz.record_denial(permission, sod_use.resource_type, sod_use.resource_id, tenant, 'denied',
                                        'separation_of_duty', '{}', who);
            RAISE EXCEPTION USING
                ERRCODE = 'check_violation',
                MESSAGE = format('separation of duty %L is violated', c.constraint_name),
                DETAIL = format('On %s %s principal %s has acted as %s, and would now act as %s; at most %s of these may be used on one resource.',
                                sod_use.resource_type, sod_use.resource_id, who, array_to_string(used, ', '),
                                candidates[1], c.max_roles),
                HINT = 'Somebody else must do this.',
                SCHEMA = 'authz', TABLE = 'sod_constraint', CONSTRAINT = c.constraint_name;
        END IF;
        UPDATE authz.sod_use AS u SET role_codes = u.role_codes || candidates[1] WHERE u.use_id = row_id;
    END LOOP;
END
$$;
COMMENT ON FUNCTION authz.sod_use(text, text, text, uuid, uuid) IS
    'Notes that the principal (by default the session''s) uses a permission on a resource; 23514 where a dynamic separation of duty forbids it.';
REVOKE ALL ON FUNCTION authz.sod_use(text, text, text, uuid, uuid) FROM PUBLIC;
