-- What is seen of a column in place of its value (R41). A mask is an SQL expression over the column, of the column's type (of a
-- domain, its base type). None of them can fail, whatever the value: an error would tell about it. Casts and operators are
-- PostgreSQL's own, so that no code of users runs where a mask is made or checked.

-- Hashes are keyed with it, so that nobody who knows the possible values can try them all. Made with the first mask that needs
-- it: a restored database has the secret of the dump.
CREATE TABLE authz.mask_secret (
    single boolean NOT NULL DEFAULT true,
    secret bytea NOT NULL,
    CONSTRAINT mask_secret_pkey PRIMARY KEY (single),
    CONSTRAINT mask_secret_single_check CHECK (single),
    CONSTRAINT mask_secret_secret_check CHECK (length(secret) >= 32)
);
COMMENT ON TABLE authz.mask_secret IS 'The key of hash masks. Whoever reads it can try out what hashed values were.';
COMMENT ON COLUMN authz.mask_secret.single IS 'There is one row.';
COMMENT ON COLUMN authz.mask_secret.secret IS 'Random bytes. They are in every dump of the database.';
CREATE TRIGGER guard_delete BEFORE DELETE ON authz.mask_secret
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Values hashed before and after would not be comparable.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.mask_secret
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{}');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.mask_secret
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Values hashed before and after would not be comparable.');
SELECT authz.track_changes('authz.mask_secret', '{secret}');
SELECT pg_catalog.pg_extension_config_dump('authz.mask_secret'::pg_catalog.regclass, '');

ALTER FUNCTION authz.mask_hash(text, uuid) SUPPORT authz.mask_support COST 200;
ALTER FUNCTION authz.mask_hash(uuid, uuid) SUPPORT authz.mask_support COST 200;
ALTER FUNCTION authz.within_class(anyelement, text) SUPPORT authz.class_support;

CREATE FUNCTION authz.refuse_mask(message text, hint text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'datatype_mismatch', MESSAGE = message, HINT = hint;
END
$$;
COMMENT ON FUNCTION authz.refuse_mask(text, text) IS 'Refuses a mask that does not fit its column (42804).';
REVOKE ALL ON FUNCTION authz.refuse_mask(text, text) FROM PUBLIC;

-- A whole number among the options, or the default where it is not there.
CREATE FUNCTION authz.mask_number(options jsonb, name text, default_value numeric, least_value numeric, most numeric) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number numeric := default_value;
BEGIN
    IF jsonb_typeof(options -> name) = 'number' THEN
        number := (options ->> name)::numeric;
    ELSIF options ? name THEN
        number := NULL;
    END IF;
    IF number IS NULL OR number <> trunc(number) OR number NOT BETWEEN least_value AND most THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('option %s of the mask is not usable', name),
            HINT = format('Give a whole number from %s to %s.', least_value, most);
    END IF;
    RETURN number;
END
$$;
COMMENT ON FUNCTION authz.mask_number(jsonb, text, numeric, numeric, numeric) IS
    'A whole number among the options of a mask; refuses (22023) one that is missing or out of range.';
REVOKE ALL ON FUNCTION authz.mask_number(jsonb, text, numeric, numeric, numeric) FROM PUBLIC;

-- A column's type as masks see it: domains are their base types.
CREATE FUNCTION authz.mask_type(target regclass, number smallint, OUT type oid, OUT modifier integer)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE below (type, modifier, depth) AS (
        SELECT a.atttypid, a.atttypmod, 0 FROM pg_attribute AS a WHERE a.attrelid = target AND a.attnum = number
        UNION ALL
        SELECT t.typbasetype, t.typtypmod, b.depth + 1
        FROM below AS b JOIN pg_type AS t ON t.oid = b.type AND t.typtype = 'd')
    SELECT b.type, b.modifier FROM below AS b ORDER BY b.depth DESC LIMIT 1
$$;
COMMENT ON FUNCTION authz.mask_type(regclass, smallint) IS 'A column''s type and its modifier, of a domain those of its base type.';
REVOKE ALL ON FUNCTION authz.mask_type(regclass, smallint) FROM PUBLIC;

-- "value" is the column as it is called in the query. What is NULL stays NULL, except for the masks null and fixed.
CREATE FUNCTION authz.mask_sql(target regclass, number smallint, mask text, options jsonb, id uuid, value text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind    record := authz.mask_type(target, number);
    type    text := format_type(kind.type, kind.modifier);
    base    pg_type;
    allowed text[];
    unknown text;
    literal text;
    step    numeric;
    first   numeric;
    last    numeric;
    masked  text;
    room    integer;
BEGIN
    SELECT t.* INTO base FROM pg_type AS t WHERE t.oid = kind.type;
    allowed := CASE mask WHEN 'fixed' THEN '{value}' WHEN 'partial' THEN '{first,last}' WHEN 'generalise' THEN '{to,step}' ELSE '{}' END;
    SELECT string_agg(quote_ident(o.key), ', ') INTO unknown FROM jsonb_object_keys(options) AS o (key) WHERE o.key <> ALL (allowed);
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('mask %s has no option %s', mask, unknown),
            HINT = CASE WHEN allowed = '{}' THEN 'It has none.' ELSE format('It has %s.', array_to_string(allowed, ', ')) END;
    END IF;

    CASE coalesce(mask, 'null')
    WHEN 'null' THEN
        RETURN format('NULL::%s', type);
    WHEN 'fixed' THEN
        literal := options ->> 'value';
        IF literal IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
                MESSAGE = 'mask fixed needs the option value', HINT = 'Such as {"value": "hidden"}; for NULL there is the mask null.';
        END IF;
        IF base.typtype = 'e' THEN
            IF NOT EXISTS (SELECT FROM pg_enum AS e WHERE e.enumtypid = base.oid AND e.enumlabel = literal) THEN
                PERFORM authz.refuse_mask(format('%L is no value of %s', literal, type), 'Choose one of its values.');
            END IF;
        ELSIF base.typnamespace <> 'pg_catalog'::regnamespace OR base.typtype <> 'b' OR base.typname ~ '^_?(reg|pg_|aclitem)' THEN
            PERFORM authz.refuse_mask(format('a column of type %s cannot be masked by a fixed value', type), 'Use the mask null.');
        ELSE
            BEGIN
                -- Only the types of PostgreSQL itself come here.
                EXECUTE format('SELECT %L::%s', literal, type);
            EXCEPTION WHEN data_exception OR datatype_mismatch THEN
                PERFORM authz.refuse_mask(format('%L is no value of type %s', literal, type), 'Choose a value of the column''s type.');
            END;
        END IF;
        RETURN format('%L::%s', literal, type);
    WHEN 'partial' THEN
        IF base.oid NOT IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype) THEN
            PERFORM authz.refuse_mask(format('a column of type %s cannot be masked in part', type),
                                      'Parts are shown of texts. Use null, fixed or generalise.');
        END IF;
        first := authz.mask_number(options, 'first', 0, 0, 100);
        last := authz.mask_number(options, 'last', CASE WHEN options ? 'first' THEN 0 ELSE 4 END, 0, 100);
        -- Of a short value more than half would be seen.
        masked := format('CASE WHEN char_length(%1$s::text) >= %2$s THEN "left"(%1$s::text, %3$s) || ''****'' || "right"(%1$s::text, %4$s) ELSE ''****'' END',
                         value, greatest(2 * (first + last), 1), first, last);
    WHEN 'hash' THEN
        room := CASE base.oid WHEN 'text'::regtype THEN 32 WHEN 'uuid'::regtype THEN 32
                              WHEN 'varchar'::regtype THEN CASE WHEN kind.modifier < 0 THEN 32 ELSE kind.modifier - 4 END END;
        IF room IS NULL OR room < 16 THEN
            PERFORM authz.refuse_mask(format('a column of type %s cannot be masked by a hash', type),
                                      'A hash fits into uuid, text, and varchar of at least 16. Use null, fixed, partial or generalise.');
        END IF;
        masked := format('authz.mask_hash(%s%s, %L::uuid)', value, CASE base.oid WHEN 'varchar'::regtype THEN '::text' ELSE '' END, id);
        IF room < 32 THEN
            masked := format('"left"(%s, %s)', masked, room);
        END IF;
    WHEN 'generalise' THEN
        CASE
        WHEN base.oid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) THEN
            IF options ? 'step' OR coalesce(options ->> 'to', 'month') NOT IN ('month', 'quarter', 'year', 'decade') THEN
                RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
                    MESSAGE = 'option to of the mask is not usable', HINT = 'Times are generalised to month, quarter, year or decade.';
            END IF;
            -- In UTC: by the reader's time zone, one could come closer. Far from our time the answer is NULL.
            masked := format(
                CASE base.oid WHEN 'timestamptz'::regtype THEN
                    'CASE WHEN %1$s >= ''0010-01-01 00:00:00+00''::timestamptz AND %1$s < ''9999-01-01 00:00:00+00''::timestamptz THEN date_trunc(%2$L, %1$s, ''UTC'') END'
                ELSE
                    'CASE WHEN %1$s >= ''0010-01-01''::%3$s AND %1$s < ''9999-01-01''::%3$s THEN date_trunc(%2$L, %1$s::timestamp) END'
                END, value, coalesce(options ->> 'to', 'month'), format_type(base.oid, NULL));
        WHEN base.oid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN
            step := authz.mask_number(options - 'to', 'step', NULL, 2, 1000000000000000000);
            -- Towards zero, so that what fitted the type still does.
            masked := format('%s::bigint / %s::bigint * %2$s::bigint', value, step);
        WHEN base.oid IN ('numeric'::regtype, 'float4'::regtype, 'float8'::regtype) THEN
            step := authz.mask_number(options - 'to', 'step', NULL, 1, 1000000000000000000);
            masked := format('trunc(%s::numeric / %s::numeric) * %2$s::numeric', value, step);
            IF base.oid <> 'numeric'::regtype THEN
                -- The largest become a numeric that is larger still, and no float any more.
                masked := format('CASE WHEN %s BETWEEN -1e37 AND 1e37 THEN %s END', value, masked);
            END IF;
        ELSE
            PERFORM authz.refuse_mask(format('a column of type %s cannot be generalised', type),
                                      'Dates, timestamps and numbers can. Use null, fixed or, for texts, partial or hash.');
        END CASE;
        IF options ? 'to' AND step IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
                MESSAGE = 'mask generalise has no option to for numbers', HINT = 'Give a step, such as {"step": 1000}.';
        END IF;
    ELSE
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%L is no mask', mask), HINT = 'It is one of null, fixed, partial, hash and generalise.';
    END CASE;
    -- With the type on both sides, its modifier stays.
    RETURN format('CASE WHEN %s IS NULL THEN NULL::%s ELSE (%s)::%2$s END', value, type, masked);
END
$$;
COMMENT ON FUNCTION authz.mask_sql(regclass, smallint, text, jsonb, uuid, text) IS
    'The expression that masks a column, of the column''s type; refuses a mask that does not fit (42804).';
REVOKE ALL ON FUNCTION authz.mask_sql(regclass, smallint, text, jsonb, uuid, text) FROM PUBLIC;

CREATE FUNCTION authz.set_mask(target regclass, column_name text, mask text, options jsonb) RETURNS void
-- As where views are made: a fixed value is a literal.
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' AS $$
DECLARE
    kind   text := CASE set_mask.mask WHEN 'generalize' THEN 'generalise' ELSE set_mask.mask END;
    number smallint;
    id     uuid;
BEGIN
    PERFORM authz.demand_classifier(set_mask.target);
    number := authz.classifiable_column(set_mask.target, set_mask.column_name);
    IF kind IS NULL OR jsonb_typeof(set_mask.options) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'a mask and its options must be given', HINT = 'Such as: mask => ''partial'', options => ''{"last": 4}''.';
    END IF;
    SELECT c.classification_id INTO id FROM authz.data_classification AS c
    WHERE c.target = set_mask.target AND c.attnum = number AND c.dropped_at IS NULL;
    IF id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('column %I of %s is not classified', set_mask.column_name, set_mask.target),
            HINT = 'Say first how sensitive it is (authz_classify).';
    END IF;
    PERFORM authz.mask_sql(set_mask.target, number, kind, set_mask.options, id, quote_ident(set_mask.column_name));
    IF kind = 'hash' THEN
        INSERT INTO authz.mask_secret (secret)
        SELECT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
        ON CONFLICT DO NOTHING;
    END IF;
    UPDATE authz.data_classification AS c SET mask = kind, mask_options = set_mask.options WHERE c.classification_id = id;
END
$$;
COMMENT ON FUNCTION authz.set_mask(regclass, text, text, jsonb) IS
    'What authz_mask does. Asks itself who may, so that everybody may call it.';

CREATE FUNCTION authz_mask(target regclass, "column" text, mask text, options jsonb DEFAULT '{}') RETURNS void
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    SELECT authz.claim_ownership(target);
    SELECT authz.set_mask(target, "column", mask, options);
END;
COMMENT ON FUNCTION authz_mask(regclass, text, text, jsonb) IS
    'Sets what is seen of a classified column by those who may not see its value: null, fixed ({"value": ...}), partial ({"first": n, "last": n}), hash, or generalise ({"to": "month"}, {"step": 1000}). For whoever may classify it.';
REVOKE ALL ON FUNCTION authz_mask(regclass, text, text, jsonb) FROM PUBLIC;

-- The arguments of authz.row_exact from key to parent.
CREATE FUNCTION authz.exact_arguments(target regclass, alias name) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(CASE
               WHEN v.name IS NULL THEN CASE WHEN v.argument = 'deleted' THEN 'false' ELSE 'NULL::' || v.type END
               ELSE coalesce(quote_ident(alias) || '.', '') || quote_ident(v.name) || CASE
                   WHEN v.argument = 'deleted' THEN CASE WHEN a.atttypid = 'boolean'::regtype THEN ' IS TRUE' ELSE ' IS NOT NULL' END
                   WHEN v.argument = 'key' THEN CASE WHEN a.atttypid = 'uuid'::regtype THEN ''
                                                     WHEN a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN '::bigint'
                                                     ELSE '::text' END
                   ELSE '::' || v.type END
           END, ', ' ORDER BY v.position)
    FROM authz.resource_type AS t
    CROSS JOIN LATERAL (VALUES
        (1, 'key', '', t.key_column), (2, 'tenant', 'uuid', t.tenant_column), (3, 'organization', 'uuid', t.organization_column),
        (4, 'team', 'uuid', t.team_column), (5, 'project', 'uuid', t.project_column), (6, 'owner', 'uuid', t.owner_column),
        (7, 'confidentiality', 'text', t.confidentiality_column), (8, 'deleted', 'boolean', t.deleted_at_column),
        (9, 'parent', 'text', t.parent_column)
    ) AS v (position, argument, type, name)
    LEFT JOIN pg_attribute AS a ON a.attrelid = t.target AND a.attname = v.name
    WHERE t.target = exact_arguments.target
$$;
COMMENT ON FUNCTION authz.exact_arguments(regclass, name) IS
    'A registered table''s columns as the arguments of authz.row_exact, after the permission; alias: what the table is called in the query.';
REVOKE ALL ON FUNCTION authz.exact_arguments(regclass, name) FROM PUBLIC;

-- One column of a registered table as the session may see it. A class up to max_class is shown to all who see the row; for one
-- above it the row must be one on which the session has the permission: type.view_CLASS, or what permissions says for the
-- class. A permission that is not defined is one that nobody has. What nobody has classified counts as secret, except the
-- columns that say where the row belongs. A masked support session sees no more than max_class.
--
-- What is shown now is shown for as long as its class is what it is: authz.within_class is replaced by true when a query is
-- planned, and plans are made anew when a class changes. Should the class rise, by whatever way, everybody sees the mask until
-- the expression is made anew.
CREATE FUNCTION authz.masked_column_sql(
    target regclass, column_name text, max_class text DEFAULT 'internal', permissions jsonb DEFAULT '{}',
    always boolean DEFAULT false, alias name DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number     smallint := authz.classifiable_column(target, column_name);
    value      text := coalesce(quote_ident(alias) || '.', '') || quote_ident(column_name);
    known      authz.data_classification;
    class      text;
    permission text;
    masked     text;
BEGIN
    SELECT c.* INTO known FROM authz.data_classification AS c
    WHERE c.target = masked_column_sql.target AND c.attnum = number AND c.dropped_at IS NULL;
    class := authz.class_of(target, column_name);
    IF authz.class_rank(max_class) IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%L is no class', coalesce(max_class, 'NULL')),
            HINT = 'It is one of public, internal, confidential, pii, sensitive_pii and secret.';
    END IF;
    masked := authz.mask_sql(target, number, known.mask, coalesce(known.mask_options, '{}'), known.classification_id, value);
    IF authz.class_rank(class) <= authz.class_rank(max_class) THEN
        RETURN format('CASE WHEN authz.within_class(%1$s, %2$L) THEN %1$s ELSE %3$s END', value, max_class, masked);
    END IF;
    SELECT d.permission_code INTO permission
    FROM authz.resource_type AS t
    JOIN authz.permission_definition AS d ON d.resource_type = t.resource_type
    WHERE t.target = masked_column_sql.target
      AND d.permission_code = coalesce(permissions ->> class, t.resource_type || '.view_' || class);
    IF always OR permission IS NULL THEN
        RETURN masked;
    END IF;
    -- What plans make of authz_row, without what looks for rows. Whether the session is masked is asked once, unless another
    -- session, or a later statement, fetches from a cursor.
    RETURN format('CASE WHEN authz.row_exact(%L, %s, true, false)
                         AND (authz.still((SELECT authz.unmasked_moment()), 0::oid) OR NOT authz.session_is_masked()) THEN %s ELSE %s END',
                  permission, authz.exact_arguments(target, alias), value, masked);
END
$$;
COMMENT ON FUNCTION authz.masked_column_sql(regclass, text, text, jsonb, boolean, name) IS
    'The expression of one column of a table as the session may see it: the value, or its mask where the class is above max_class and the session may not see that class in this row. always: masked for everybody. alias: what the table is called in the query.';
REVOKE ALL ON FUNCTION authz.masked_column_sql(regclass, text, text, jsonb, boolean, name) FROM PUBLIC;

-- As its owner, so that whoever may call it needs no privilege on what it calls.
CREATE FUNCTION authz.class_of(target regclass, column_name text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(
        (SELECT authz.column_class(a.attrelid, a.attnum) FROM pg_attribute AS a
         WHERE a.attrelid = target AND a.attname = class_of.column_name),
        'secret')
$$;
COMMENT ON FUNCTION authz.class_of(regclass, text) IS
    'A column''s class; of one that nobody has classified, internal where it says where the row belongs, and else secret.';
REVOKE ALL ON FUNCTION authz.class_of(regclass, text) FROM PUBLIC;
