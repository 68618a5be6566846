-- Reveal (R41): one field of one row, for somebody who may and says why. There is an event of it, also where the transaction
-- rolls back, and so many an hour and no more: a background worker counts, in a transaction of its own (src/write/reveal.rs).

CREATE TABLE authz.reveal_charge (
    charge_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    allowed boolean NOT NULL,
    charged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT reveal_charge_pkey PRIMARY KEY (charge_id)
);
CREATE INDEX reveal_charge_principal_idx ON authz.reveal_charge (principal_id, charged_at);
COMMENT ON TABLE authz.reveal_charge IS 'Reveals of the last hour. What was revealed is in the access events.';
COMMENT ON COLUMN authz.reveal_charge.charge_id IS 'Key.';
COMMENT ON COLUMN authz.reveal_charge.principal_id IS 'Who asked.';
COMMENT ON COLUMN authz.reveal_charge.allowed IS 'Was it within the limit?';
COMMENT ON COLUMN authz.reveal_charge.charged_at IS 'When.';

-- Without a foreign key, for which the worker would have to wait for whoever is just changing the principal.
CREATE TABLE authz.reveal_lock (
    principal_id uuid NOT NULL,
    charges bigint NOT NULL DEFAULT 1,
    CONSTRAINT reveal_lock_pkey PRIMARY KEY (principal_id)
);
COMMENT ON TABLE authz.reveal_lock IS 'One row for each principal that has revealed something, by which its reveals are counted one after the other.';
COMMENT ON COLUMN authz.reveal_lock.principal_id IS 'The principal.';
COMMENT ON COLUMN authz.reveal_lock.charges IS 'How many reveals were counted.';

CREATE FUNCTION authz.charge_reveal(charge uuid, principal uuid, most bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
BEGIN
    INSERT INTO authz.reveal_lock AS l (principal_id) VALUES (principal)
    ON CONFLICT (principal_id) DO UPDATE SET charges = l.charges + 1;
    DELETE FROM authz.reveal_charge AS c
    WHERE c.principal_id = principal AND c.charged_at < clock_timestamp() - interval '1 hour';
    INSERT INTO authz.reveal_charge (charge_id, principal_id, allowed)
    SELECT charge, principal, count(*) < most FROM authz.reveal_charge AS c WHERE c.principal_id = principal AND c.allowed;
END
$$;
COMMENT ON FUNCTION authz.charge_reveal(uuid, uuid, bigint) IS
    'What the background worker runs: counts a reveal, which is allowed where the principal has had fewer than so many in the last hour.';
REVOKE ALL ON FUNCTION authz.charge_reveal(uuid, uuid, bigint) FROM PUBLIC;

-- Refused in the same words whether there is no such row, it may not be seen, or its field may not be revealed; and before
-- anything is read.
CREATE FUNCTION authz.reveal(target regclass, key text, column_name text, reason text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind       authz.resource_type;
    class      text;
    seen       text;
    permission text;
    why        text;
    found      jsonb;
    about      jsonb;
    key_type   text;
BEGIN
    IF target IS NULL OR column_name IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'target and column must be given',
            HINT = 'Such as: SELECT authz_reveal(''public.person'', ''4711'', ''ssn'', ''identity check, ticket 12'');';
    END IF;
    SELECT t.* INTO kind FROM authz.resource_type AS t WHERE t.target = reveal.target;
    IF kind.resource_type IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('%s is not protected', coalesce(target::text, 'NULL')), HINT = 'Fields are revealed of protected tables (authz_protect).';
    END IF;
    PERFORM authz.classifiable_column(target, column_name);
    PERFORM authz.demand_reason(kind.resource_type || '.reveal', authz.session_tenant(), kind.resource_type, key,
                                coalesce(reason, ''), true);
    class := authz.class_of(target, column_name);
    SELECT d.permission_code INTO permission FROM authz.permission_definition AS d
    WHERE d.resource_type = kind.resource_type
      AND d.permission_code IN (kind.resource_type || '.reveal_' || class, kind.resource_type || '.reveal')
    ORDER BY d.permission_code = kind.resource_type || '.reveal' LIMIT 1;
    SELECT d.permission_code INTO seen FROM authz.permission_definition AS d
    WHERE d.resource_type = kind.resource_type
      AND d.permission_code IN (kind.select_permission, kind.resource_type || '.view', kind.resource_type || '.read')
    ORDER BY d.permission_code = kind.select_permission DESC NULLS LAST, d.permission_code = kind.resource_type || '.view' DESC LIMIT 1;
    IF permission IS NULL OR seen IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('permission %L does not exist', kind.resource_type || CASE WHEN seen IS NULL THEN '.view' ELSE '.reveal' END),
            HINT = format('Define it in authz.permission_definition; one for a class alone is called %s.reveal_%s.', kind.resource_type, class);
    END IF;

    about := jsonb_build_object('table', target::text, 'column', column_name, 'classification', class, 'reason', reason);
    -- All are asked, whatever the first says.
    why := CASE (NOT coalesce(@extschema@.authz_can(seen::text, key::text), false))::integer
              + (NOT coalesce(@extschema@.authz_can(permission::text, key::text), false))::integer
              + authz.session_is_masked()::integer
           WHEN 0 THEN NULL ELSE 'no_grant' END;
    IF why IS NULL THEN
        IF NOT authz.count_reveal(authz.session_principal()) THEN
            PERFORM authz.record_denial(permission, kind.resource_type, key, authz.session_tenant(), 'denied', 'reveal_limit', about);
            RAISE EXCEPTION USING ERRCODE = 'configuration_limit_exceeded',
                MESSAGE = 'too many reveals', DETAIL = format('At most %s an hour are allowed.', current_setting('authz.reveal_limit')),
                HINT = 'Wait, or ask for an export of what you need. The setting is authz.reveal_limit.';
        END IF;
        SELECT format_type(a.atttypid, NULL) INTO key_type FROM pg_attribute AS a
        WHERE a.attrelid = target AND a.attname = kind.key_column;
        found := authz.read_field(
            (SELECT c.relowner FROM pg_class AS c WHERE c.oid = target),
            format('SELECT pg_catalog.jsonb_build_object(''tenant'', r.%I, ''key'', r.%I, ''value'', r.%I::pg_catalog.text)::pg_catalog.text FROM %s AS r WHERE r.%I OPERATOR(pg_catalog.=) $1::%s AND ($2 IS NULL OR r.%I OPERATOR(pg_catalog.=) $2::pg_catalog.uuid)',
                   kind.tenant_column, kind.key_column, column_name, target, kind.key_column, key_type, kind.tenant_column),
            key, authz.session_tenant())::jsonb;
        IF found IS NULL THEN
            why := 'resource_not_found';
        END IF;
    END IF;
    IF why IS NOT NULL THEN
        PERFORM authz.record_denial(permission, kind.resource_type, key, authz.session_tenant(), 'denied', why, about);
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('permission denied: %s', permission),
            DETAIL = 'There is no such row, or the session may not see it, or may not reveal this column of it.',
            HINT = 'The denial is recorded. Masked support sessions reveal nothing.';
    END IF;
    PERFORM authz.record_access(permission, kind.resource_type, found ->> 'key', (found ->> 'tenant')::uuid, 'allowed', NULL, about);
    RETURN found ->> 'value';
END
$$;
COMMENT ON FUNCTION authz.reveal(regclass, text, text, text) IS 'What authz_reveal does, for keys of all types.';
REVOKE ALL ON FUNCTION authz.reveal(regclass, text, text, text) FROM PUBLIC;

CREATE FUNCTION authz_reveal(target regclass, key text, "column" text, reason text) RETURNS text
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT authz.reveal(target, key, "column", reason)
$$;
COMMENT ON FUNCTION authz_reveal(regclass, text, text, text) IS
    'One field of one row of a protected table, as text. Asks for type.reveal_CLASS, or type.reveal where that is not defined, on a row that the session sees; leaves an access event with the reason, also where the transaction rolls back; at most authz.reveal_limit an hour.';
CREATE FUNCTION authz_reveal(target regclass, key uuid, "column" text, reason text) RETURNS text
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT authz.reveal(target, key::text, "column", reason)
$$;
COMMENT ON FUNCTION authz_reveal(regclass, uuid, text, text) IS 'The same for uuid keys.';
CREATE FUNCTION authz_reveal(target regclass, key bigint, "column" text, reason text) RETURNS text
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT authz.reveal(target, key::text, "column", reason)
$$;
COMMENT ON FUNCTION authz_reveal(regclass, bigint, text, text) IS 'The same for smallint, integer and bigint keys.';
REVOKE ALL ON FUNCTION authz_reveal(regclass, text, text, text), authz_reveal(regclass, uuid, text, text),
    authz_reveal(regclass, bigint, text, text) FROM PUBLIC;
