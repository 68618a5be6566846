-- Safe views (R41, R42): a protected table with the columns above a class masked for whoever may not see that class in that row.
--
-- The view runs as its owner, who may read the table; its readers have no privilege on the table at all. So there is no way to
-- the values but through the view's expressions, which conditions of the caller see as well: security_barrier keeps functions
-- that could tell about rows from being asked before the policies are, and what a condition compares is the masked value. The
-- table's policies hold for the view's owner, as row security is forced, and decide by the session whoever reads: an owner who
-- is outside of row security is refused. A column whose class rises is masked from then on (authz.masked_column_sql).

CREATE TABLE authz.safe_view (
    safe_view_id uuid NOT NULL DEFAULT gen_random_uuid(),
    view regclass NOT NULL,
    target regclass NOT NULL,
    version integer NOT NULL DEFAULT 1,
    max_class text COLLATE "C" NOT NULL,
    leave_out boolean NOT NULL,
    columns text[],
    permissions jsonb NOT NULL,
    source_hash text NOT NULL,
    definition_hash text NOT NULL,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT safe_view_pkey PRIMARY KEY (safe_view_id),
    CONSTRAINT safe_view_view_key UNIQUE (view),
    CONSTRAINT safe_view_version_check CHECK (version >= 1)
);
COMMENT ON TABLE authz.safe_view IS 'Safe views, and what they were made from.';
COMMENT ON COLUMN authz.safe_view.safe_view_id IS 'Key.';
COMMENT ON COLUMN authz.safe_view.view IS 'The view.';
COMMENT ON COLUMN authz.safe_view.target IS 'The table that it shows.';
COMMENT ON COLUMN authz.safe_view.version IS 'How many times it has been made.';
COMMENT ON COLUMN authz.safe_view.max_class IS 'The highest class that everybody sees who sees the row.';
COMMENT ON COLUMN authz.safe_view.leave_out IS 'Are columns above it left out? Else they are masked.';
COMMENT ON COLUMN authz.safe_view.columns IS 'The columns that were asked for; NULL: all that the table had.';
COMMENT ON COLUMN authz.safe_view.permissions IS 'Permissions to see a class, where they are not type.view_CLASS.';
COMMENT ON COLUMN authz.safe_view.source_hash IS 'Hash of the query that the classes and masks of that time gave.';
COMMENT ON COLUMN authz.safe_view.definition_hash IS 'Hash of the view''s definition as it was then.';
COMMENT ON COLUMN authz.safe_view.created_by IS 'Who made this version; NULL: it was done without a session.';
COMMENT ON COLUMN authz.safe_view.created_at IS 'When.';
SELECT authz.track_changes('authz.safe_view');
SELECT pg_catalog.pg_extension_config_dump('authz.safe_view'::pg_catalog.regclass, '');

CREATE FUNCTION authz.safe_view_sql(target regclass, max_class text, leave_out boolean, columns text[], permissions jsonb)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    chosen text;
    list   text[] := '{}';
BEGIN
    FOREACH chosen IN ARRAY coalesce(columns, ARRAY(
        SELECT a.attname::text FROM pg_attribute AS a
        WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum))
    LOOP
        PERFORM authz.classifiable_column(target, chosen);
        CONTINUE WHEN leave_out AND authz.class_rank(authz.class_of(target, chosen)) > authz.class_rank(max_class);
        list := list || format('%s AS %I',
                               authz.masked_column_sql(target, chosen, max_class, permissions, false, 'r'), chosen);
    END LOOP;
    IF list = '{}' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'no column would be left', HINT = format('Classify some columns of %s as %s or below.', target, max_class);
    END IF;
    RETURN format('SELECT %s FROM %s AS r', array_to_string(list, ', '), target);
END
$$;
COMMENT ON FUNCTION authz.safe_view_sql(regclass, text, boolean, text[], jsonb) IS
    'The query of a safe view, by the classes and masks as they are now.';
REVOKE ALL ON FUNCTION authz.safe_view_sql(regclass, text, boolean, text[], jsonb) FROM PUBLIC;

CREATE FUNCTION authz.is_outside_row_security(role oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.rolsuper OR r.rolbypassrls FROM pg_roles AS r WHERE r.oid = role
$$;
COMMENT ON FUNCTION authz.is_outside_row_security(oid) IS 'Is the role a superuser, or has it BYPASSRLS?';
REVOKE ALL ON FUNCTION authz.is_outside_row_security(oid) FROM PUBLIC;

CREATE FUNCTION authz.refuse_safe_view(code text, message text, detail text, hint text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = coalesce(detail, ''), HINT = hint;
END
$$;
COMMENT ON FUNCTION authz.refuse_safe_view(text, text, text, text) IS 'Raises an error of authz_create_safe_view.';
REVOKE ALL ON FUNCTION authz.refuse_safe_view(text, text, text, text) FROM PUBLIC;

-- Runs as whoever calls it, who must own the table: nothing is made with more rights than the table's owner has.
CREATE FUNCTION authz_create_safe_view(
    name text,
    target regclass,
    max_class text DEFAULT 'internal',
    leave_out boolean DEFAULT false,
    columns text[] DEFAULT NULL,
    permissions jsonb DEFAULT '{}',
    owner name DEFAULT NULL,
    replace boolean DEFAULT false
) RETURNS regclass
-- What is hashed has one form, whatever the session's settings are.
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' SET quote_all_identifiers = off AS $$
#variable_conflict use_variable
DECLARE
    relation  pg_class;
    kind      authz.resource_type;
    parts     text[];
    schema    text;
    full_name text;
    view      regclass;
    former    authz.safe_view;
    chosen    text;
    runs_as   oid;
    query     text;
    other     record;
BEGIN
    IF name IS NULL OR target IS NULL OR leave_out IS NULL OR replace IS NULL
        OR jsonb_typeof(permissions) IS DISTINCT FROM 'object' OR authz.class_rank(max_class) IS NULL
        OR cardinality(columns) = 0 OR array_position(columns, NULL) IS NOT NULL THEN
        PERFORM authz.refuse_safe_view('22023', 'an argument is missing, or is none that can be used', NULL,
            'Such as: authz_create_safe_view(''support.person'', ''public.person'', max_class => ''internal''). Classes are public, internal, confidential, pii, sensitive_pii and secret.');
    END IF;
    SELECT c.* INTO relation FROM pg_class AS c WHERE c.oid = target;
    IF relation.oid IS NULL OR NOT pg_has_role(current_user, relation.relowner, 'USAGE') THEN
        PERFORM authz.refuse_safe_view('42501', format('must be owner of table %s', target), NULL,
            'Only the owner of a table can make a safe view of it.');
    END IF;
    SELECT t.* INTO kind FROM authz.resource_type AS t WHERE t.target = target;
    IF kind.resource_type IS NULL OR NOT (relation.relrowsecurity AND relation.relforcerowsecurity) THEN
        PERFORM authz.refuse_safe_view('55000', format('%s is not protected', target),
            'A safe view shows the rows that row security shows.', 'Call authz_protect first.');
    END IF;
    BEGIN
        parts := parse_ident(name);
    EXCEPTION WHEN invalid_parameter_value THEN
        parts := '{}';
    END;
    IF cardinality(parts) NOT IN (1, 2) THEN
        PERFORM authz.refuse_safe_view('42602', format('%L is no name of a view', name), NULL,
            'Write it as in SQL: support.person. Without a schema it comes into that of the table.');
    END IF;
    schema := CASE cardinality(parts) WHEN 2 THEN parts[1]
                   ELSE (SELECT n.nspname FROM pg_namespace AS n WHERE n.oid = relation.relnamespace) END;
    IF NOT EXISTS (SELECT FROM pg_namespace AS n WHERE n.nspname = schema) OR schema ~ '^pg_' OR schema IN ('authz', 'casework', 'information_schema') THEN
        PERFORM authz.refuse_safe_view('3F000', format('schema %I cannot hold the view', schema),
            'It does not exist, or is one of the system or of the extension.', 'Create a schema for views.');
    END IF;
    full_name := format('%I.%I', schema, parts[cardinality(parts)]);
    view := to_regclass(full_name);
    SELECT v.* INTO former FROM authz.safe_view AS v WHERE v.view = view;
    IF view IS NOT NULL AND NOT (replace AND coalesce(former.target = target, false)) THEN
        PERFORM authz.refuse_safe_view('42P07', format('%s exists', full_name),
            CASE WHEN former.view IS NULL THEN 'It is not a safe view.' ELSE format('It is a safe view of %s.', former.target) END,
            'Choose another name; a safe view of the same table is made anew with replace => true.');
    END IF;

    -- One that is made anew stays with its owner.
    runs_as := coalesce((SELECT c.relowner FROM pg_class AS c WHERE c.oid = view), relation.relowner);
    IF owner IS NOT NULL THEN
        SELECT r.oid INTO runs_as FROM pg_roles AS r WHERE r.rolname = owner;
        IF runs_as IS NULL THEN
            PERFORM authz.refuse_safe_view('42704', format('role %I does not exist', owner), NULL, 'Create it with NOLOGIN first.');
        END IF;
    END IF;
    IF authz.is_outside_row_security(runs_as) THEN
        PERFORM authz.refuse_safe_view('55000',
            format('row security does not hold for %I, who would own the view', pg_get_userbyid(runs_as)),
            'The view would show every row to everybody who may read it.',
            'Name a role that is neither superuser nor has BYPASSRLS, and that nobody logs in as: owner => ''...''. Or give the table to one.');
    END IF;

    IF (SELECT count(DISTINCT c) FROM unnest(columns) AS c) < cardinality(columns) THEN
        PERFORM authz.refuse_safe_view('42701', 'a column is named twice', NULL, 'Name each once.');
    END IF;
    FOR other IN SELECT p.key AS class, p.value #>> '{}' AS permission FROM jsonb_each(permissions) AS p LOOP
        IF authz.class_rank(other.class) IS NULL THEN
            PERFORM authz.refuse_safe_view('22023', format('%L is no class', other.class), NULL,
                'It is one of public, internal, confidential, pii, sensitive_pii and secret.');
        END IF;
        IF NOT EXISTS (SELECT FROM authz.permission_definition AS d
                       WHERE d.permission_code = other.permission AND d.resource_type = kind.resource_type) THEN
            PERFORM authz.refuse_safe_view('42704',
                format('permission %L of resource type %L does not exist', other.permission, kind.resource_type), NULL,
                'Define it in authz.permission_definition first.');
        END IF;
    END LOOP;

    query := authz.safe_view_sql(target, max_class, leave_out, columns, permissions);
    BEGIN
        EXECUTE format('CREATE %s VIEW %s WITH (security_barrier = true) AS %s',
                       CASE WHEN view IS NULL THEN '' ELSE 'OR REPLACE' END, full_name, query);
    EXCEPTION WHEN invalid_table_definition THEN
        PERFORM authz.refuse_safe_view('42P16', format('%s cannot be made anew with other columns', full_name), SQLERRM,
            'Drop the view, or leave its columns as they are and add new ones at the end.');
    END;
    view := full_name::regclass;
    -- Where others may create functions in the extension's schema, one of theirs could fit a call better than ours.
    FOR other IN
        SELECT d.refobjid::regprocedure AS function
        FROM pg_rewrite AS w
        JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_proc'::regclass
        WHERE w.ev_class = view
          AND NOT EXISTS (SELECT FROM pg_depend AS e
                          WHERE e.classid = 'pg_proc'::regclass AND e.objid = d.refobjid AND e.deptype = 'e')
    LOOP
        PERFORM authz.refuse_safe_view('42501', format('the view would call %s, which is not part of authz_ext', other.function),
            NULL, 'Drop that function, and revoke CREATE on its schema from whoever made it.');
    END LOOP;

    -- What default privileges gave away is taken back: who reads it is said by GRANT.
    IF former.view IS NULL THEN
        FOR other IN
            SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
            FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.oid = view AND a.grantee <> c.relowner
        LOOP
            EXECUTE format('REVOKE ALL ON %s FROM %s', full_name, other.grantee);
        END LOOP;
    END IF;
    IF runs_as <> relation.relowner THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', relation.relnamespace::regnamespace, pg_get_userbyid(runs_as));
        EXECUTE (SELECT format('GRANT SELECT (%s) ON %s TO %I', string_agg(DISTINCT quote_ident(a.attname), ', '), target,
                               pg_get_userbyid(runs_as))
                 FROM pg_attribute AS a
                 JOIN pg_rewrite AS w ON w.ev_class = view
                 JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
                      AND d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
                 WHERE a.attrelid = target AND a.attnum > 0);
    END IF;
    EXECUTE format('ALTER VIEW %s OWNER TO %I', full_name, pg_get_userbyid(runs_as));
    EXECUTE format('COMMENT ON VIEW %s IS %L', full_name,
                   format('Safe view of %s: columns above %s are %s.', target, max_class,
                          CASE WHEN leave_out THEN 'left out' ELSE 'masked' END));

    INSERT INTO authz.safe_view AS v (view, target, max_class, leave_out, columns, permissions, source_hash, definition_hash, created_by)
    VALUES (view, target, max_class, leave_out, columns, permissions, md5(query), md5(pg_get_viewdef(view)), authz.session_principal())
    ON CONFLICT ON CONSTRAINT safe_view_view_key DO UPDATE
    SET version = v.version + 1, target = EXCLUDED.target, max_class = EXCLUDED.max_class, leave_out = EXCLUDED.leave_out,
        columns = EXCLUDED.columns, permissions = EXCLUDED.permissions, source_hash = EXCLUDED.source_hash,
        definition_hash = EXCLUDED.definition_hash, created_by = EXCLUDED.created_by, created_at = clock_timestamp();
    RETURN view;
END
$$;
COMMENT ON FUNCTION authz_create_safe_view(text, regclass, text, boolean, text[], jsonb, name, boolean) IS
    'Makes a view of a protected table in which columns above max_class are masked, or left out, for whoever may not see that class in that row. For the table''s owner; owner: who owns the view instead (replace: if it is to be another). Grant SELECT on it to its readers, and nothing on the table.';
REVOKE ALL ON FUNCTION authz_create_safe_view(text, regclass, text, boolean, text[], jsonb, name, boolean) FROM PUBLIC;

CREATE FUNCTION authz.safe_view_problems(view regclass) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' SET quote_all_identifiers = off AS $$
DECLARE
    made     authz.safe_view;
    relation pg_class;
    base     pg_class;
    problems text[] := '{}';
    words    text;
BEGIN
    SELECT v.* INTO made FROM authz.safe_view AS v WHERE v.view = safe_view_problems.view;
    SELECT c.* INTO relation FROM pg_class AS c WHERE c.oid = made.view AND c.relkind = 'v';
    SELECT c.* INTO base FROM pg_class AS c WHERE c.oid = made.target;
    IF relation.oid IS NULL OR base.oid IS NULL THEN
        RETURN ARRAY['the view, or its table, is gone'];
    END IF;
    IF NOT coalesce('security_barrier=true' = ANY (relation.reloptions), false) THEN
        problems := problems || 'security_barrier is off: functions of the caller may see rows that are not theirs'::text;
    END IF;
    IF authz.is_outside_row_security(relation.relowner) THEN
        problems := problems || format('row security does not hold for its owner %I', pg_get_userbyid(relation.relowner));
    END IF;
    IF NOT (base.relrowsecurity AND base.relforcerowsecurity)
       OR NOT EXISTS (SELECT FROM authz.resource_type AS t WHERE t.target = made.target) THEN
        problems := problems || format('%s is not protected any more, or not for its owner', made.target);
    END IF;
    IF md5(pg_get_viewdef(made.view)) <> made.definition_hash THEN
        problems := problems || 'its definition is not the one that was made, or a column was renamed'::text;
    END IF;
    BEGIN
        IF md5(authz.safe_view_sql(made.target, made.max_class, made.leave_out, made.columns, made.permissions)) <> made.source_hash THEN
            problems := problems || 'columns, classes, masks or permissions have changed since: make it anew with replace => true'::text;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        problems := problems || format('it could not be made anew: %s', SQLERRM);
    END;
    SELECT string_agg(quote_ident(p.polname), ', ' ORDER BY p.polname) INTO words
    FROM pg_policy AS p WHERE p.polrelid = made.target AND p.polroles <> '{0}';
    IF words IS NOT NULL THEN
        problems := problems || format('policies for single roles are decided for the view''s owner, not for its readers: %s', words);
    END IF;
    SELECT string_agg(g.grantee, ', ' ORDER BY g.grantee) INTO words
    FROM (SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END AS grantee
          FROM aclexplode(relation.relacl) AS a
          WHERE a.grantee <> relation.relowner
            AND CASE a.grantee WHEN 0 THEN EXISTS (SELECT FROM aclexplode(base.relacl) AS b
                                                   WHERE b.grantee = 0 AND b.privilege_type = 'SELECT')
                     ELSE EXISTS (SELECT FROM pg_attribute AS c
                                  WHERE c.attrelid = made.target AND c.attnum > 0 AND NOT c.attisdropped
                                    AND authz.class_rank(authz.class_of(made.target, c.attname)) > authz.class_rank(made.max_class)
                                    AND has_column_privilege(a.grantee, made.target, c.attnum, 'SELECT')) END) AS g;
    IF words IS NOT NULL THEN
        problems := problems || format('readers who may read the table itself: %s', words);
    END IF;
    RETURN problems;
END
$$;
COMMENT ON FUNCTION authz.safe_view_problems(regclass) IS 'What is wrong with a safe view by now.';
REVOKE ALL ON FUNCTION authz.safe_view_problems(regclass) FROM PUBLIC;

CREATE VIEW authz.safe_view_state AS
    SELECT v.view, v.target, v.version, v.max_class, v.leave_out, v.created_by, v.created_at,
           p.problems OPERATOR(pg_catalog.=) '{}'::pg_catalog.text[] AS is_current, p.problems
    FROM authz.safe_view AS v
    CROSS JOIN LATERAL (SELECT authz.safe_view_problems(v.view) AS problems OFFSET 0) AS p;
COMMENT ON VIEW authz.safe_view_state IS
    'Each safe view, and what is wrong with it: columns whose class has risen since, and which are masked for everybody now, masks that have changed, readers who may go round it.';
COMMENT ON COLUMN authz.safe_view_state.view IS 'The view.';
COMMENT ON COLUMN authz.safe_view_state.target IS 'The table that it shows.';
COMMENT ON COLUMN authz.safe_view_state.version IS 'How many times it has been made.';
COMMENT ON COLUMN authz.safe_view_state.max_class IS 'The highest class that everybody sees who sees the row.';
COMMENT ON COLUMN authz.safe_view_state.leave_out IS 'Are columns above it left out? Else they are masked.';
COMMENT ON COLUMN authz.safe_view_state.created_by IS 'Who made this version.';
COMMENT ON COLUMN authz.safe_view_state.created_at IS 'When.';
COMMENT ON COLUMN authz.safe_view_state.is_current IS 'Is nothing wrong with it?';
COMMENT ON COLUMN authz.safe_view_state.problems IS 'What is wrong.';
