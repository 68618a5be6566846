-- Feeds (R44): what a warehouse reads. A copy of rows is outside of row security, so each row takes along what its boundary was:
-- tenant, classification, source, time of loading, and the policy group by which the warehouse decides who may read it.
-- Feeds and their copies are in a catalogue, so that copies which have lost their boundary are found.

CREATE TABLE authz.feed (
    feed_name text COLLATE "C" NOT NULL,
    feed_view regclass NOT NULL,
    target regclass NOT NULL,
    columns name[] NOT NULL,
    up_to text COLLATE "C" NOT NULL,
    source_name text NOT NULL,
    policy_group text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT feed_pkey PRIMARY KEY (feed_name),
    CONSTRAINT feed_feed_view_key UNIQUE (feed_view),
    CONSTRAINT feed_columns_check CHECK (cardinality(columns) > 0),
    CONSTRAINT feed_up_to_check CHECK (up_to IN ('public', 'internal', 'confidential', 'pii', 'sensitive_pii')),
    CONSTRAINT feed_source_name_check CHECK (source_name <> ''),
    CONSTRAINT feed_policy_group_check CHECK (policy_group <> '')
);
COMMENT ON TABLE authz.feed IS 'Views that a warehouse copies: each row with its tenant, classification, source, time of loading and policy group.';
COMMENT ON COLUMN authz.feed.feed_name IS 'Key: the name of the view, with its schema.';
COMMENT ON COLUMN authz.feed.feed_view IS 'The view.';
COMMENT ON COLUMN authz.feed.target IS 'The protected table that it reads.';
COMMENT ON COLUMN authz.feed.columns IS 'The columns that it copies.';
COMMENT ON COLUMN authz.feed.up_to IS 'The highest classification that its columns may have; where one gets a higher one, it is read no more.';
COMMENT ON COLUMN authz.feed.source_name IS 'Where its rows say that they come from.';
COMMENT ON COLUMN authz.feed.policy_group IS 'The policy group of its rows; for rows that are not normal, followed by / and their level.';
COMMENT ON COLUMN authz.feed.created_at IS 'When it was made.';
SELECT authz.track_changes('authz.feed');
SELECT pg_catalog.pg_extension_config_dump('authz.feed'::pg_catalog.regclass, '');

CREATE TABLE authz.feed_copy (
    copy regclass NOT NULL,
    feed_name text COLLATE "C" NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT feed_copy_pkey PRIMARY KEY (copy),
    CONSTRAINT feed_copy_feed_name_fkey FOREIGN KEY (feed_name) REFERENCES authz.feed (feed_name) ON DELETE CASCADE
);
COMMENT ON TABLE authz.feed_copy IS 'Relations of this database that hold what a feed gave.';
COMMENT ON COLUMN authz.feed_copy.copy IS 'The table, materialized view or foreign table.';
COMMENT ON COLUMN authz.feed_copy.feed_name IS 'The feed.';
COMMENT ON COLUMN authz.feed_copy.registered_at IS 'When it was registered.';
SELECT authz.track_changes('authz.feed_copy');
SELECT pg_catalog.pg_extension_config_dump('authz.feed_copy'::pg_catalog.regclass, '');

CREATE FUNCTION authz.boundary_columns() RETURNS TABLE (name name, type regtype)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('authz_tenant'::name, 'uuid'::regtype), ('authz_classification', 'text'), ('authz_source', 'text'),
           ('authz_loaded_at', 'timestamptz'), ('authz_policy_group', 'text')
$$;
COMMENT ON FUNCTION authz.boundary_columns() IS 'The columns that a feed adds to its rows, and that each copy has to keep.';
REVOKE ALL ON FUNCTION authz.boundary_columns() FROM PUBLIC;

CREATE FUNCTION authz.lost_boundary(relation regclass) RETURNS SETOF name
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT b.name FROM authz.boundary_columns() AS b
    WHERE NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attname = b.name
                        AND a.atttypid = b.type AND a.attnum > 0 AND NOT a.attisdropped)
$$;
COMMENT ON FUNCTION authz.lost_boundary(regclass) IS 'Columns of a feed that a copy of it does not have, or not with their type.';
REVOKE ALL ON FUNCTION authz.lost_boundary(regclass) FROM PUBLIC;

-- Asked once for each statement that reads a feed: what was classified higher meanwhile is not copied.
CREATE FUNCTION authz.feed_classification(feed text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    f       authz.feed;
    highest text;
    unclear text;
BEGIN
    SELECT * INTO f FROM authz.feed AS e WHERE e.feed_name = feed;
    SELECT max(k.class) FILTER (WHERE k.rank = k.most),
           string_agg(quote_ident(k.name), ', ') FILTER (WHERE k.class IS NULL OR k.rank > authz.class_rank(f.up_to))
    INTO highest, unclear
    FROM (SELECT u.name, c.class, authz.class_rank(c.class) AS rank, max(authz.class_rank(c.class)) OVER () AS most
          FROM unnest(f.columns) AS u (name) CROSS JOIN LATERAL authz.export_class(f.target, u.name) AS c (class)) AS k;
    IF highest IS NULL OR unclear IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('feed %s is not read', feed),
            DETAIL = coalesce(format('Columns that are not classified, or higher than %s: %s.', f.up_to, unclear),
                              'It is not in authz.feed.'),
            HINT = 'Make the feed anew, with authz_create_feed.';
    END IF;
    RETURN highest;
END
$$;
COMMENT ON FUNCTION authz.feed_classification(text) IS
    'The highest classification of a feed''s columns; raises 55000 where one is higher than the feed may copy.';
-- Executable by everybody: feeds ask it with their reader's privileges.

-- A view that is made anew keeps who owns it and what was granted on it, also where its columns are others, and PostgreSQL
-- would have it dropped first. Runs as its caller, who owns the view.
CREATE FUNCTION authz.make_view_anew(full_name text, definition text) RETURNS regclass
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    former  regclass := to_regclass(full_name);
    owner   oid;
    granted text[];
    next    text;
BEGIN
    IF former IS NULL THEN
        EXECUTE format('CREATE VIEW %s %s', full_name, definition);
        RETURN full_name::regclass;
    END IF;
    BEGIN
        EXECUTE format('CREATE %s VIEW %s %s', 'OR REPLACE', full_name, definition);
        RETURN former;
    EXCEPTION WHEN invalid_table_definition THEN
        SELECT c.relowner, ARRAY(
                   SELECT format('%s %s ON %s TO %s', a.privilege_type, '(' || quote_ident(a.attname) || ')', full_name,
                                 CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
                          || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
                   FROM (SELECT x.*, NULL AS attname FROM aclexplode(c.relacl) AS x
                         UNION ALL
                         SELECT x.*, t.attname FROM pg_attribute AS t, aclexplode(t.attacl) AS x
                         WHERE t.attrelid = c.oid AND NOT t.attisdropped) AS a
                   WHERE a.grantee <> c.relowner)
        INTO owner, granted
        FROM pg_class AS c WHERE c.oid = former;
    END;
    EXECUTE format('DROP VIEW %s', full_name);
    EXECUTE format('CREATE VIEW %s %s', full_name, definition);
    -- What default privileges gave away was not granted before.
    FOR next IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
        FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.oid = full_name::regclass AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', full_name, next);
    END LOOP;
    EXECUTE format('ALTER VIEW %s OWNER TO %I', full_name, pg_get_userbyid(owner));
    FOREACH next IN ARRAY granted LOOP
        BEGIN
            EXECUTE 'GRANT ' || next;
        EXCEPTION WHEN undefined_column THEN
            NULL; -- of a column that it does not have any more
        END;
    END LOOP;
    RETURN full_name::regclass;
END
$$;
COMMENT ON FUNCTION authz.make_view_anew(text, text) IS
    'Creates a view, or replaces it: owner and privileges stay, also where its columns are others. definition: what follows the name in CREATE VIEW.';
REVOKE ALL ON FUNCTION authz.make_view_anew(text, text) FROM PUBLIC;

CREATE FUNCTION authz_create_feed(
    name text,
    target regclass,
    columns name[] DEFAULT NULL,
    up_to text DEFAULT 'internal',
    source_name text DEFAULT NULL,
    policy_group text DEFAULT NULL
) RETURNS regclass
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    t         authz.resource_type;
    parts     text[];
    full_name text;
    copied    name[];
    wrong     text;
    made      regclass;
    groups    text;
BEGIN
    IF name IS NULL OR authz_create_feed.target IS NULL OR authz_create_feed.source_name = '' OR authz_create_feed.policy_group = '' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'name and target must be given, and source_name and policy_group not be empty',
            HINT = 'Such as: SELECT authz_create_feed(''reporting.claim_feed'', ''public.claim'');';
    END IF;
    SELECT r.* INTO t FROM authz.resource_type AS r WHERE r.target = authz_create_feed.target;
    IF t.resource_type IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('%s is not a protected table', authz_create_feed.target),
            DETAIL = 'What has no boundary has none to take along.',
            HINT = 'Call authz_protect for the table first.';
    END IF;
    BEGIN
        parts := parse_ident(name);
    EXCEPTION WHEN invalid_parameter_value THEN
        parts := '{}';
    END;
    IF cardinality(parts) <> 2 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%L does not say in which schema the feed is to be', name),
            HINT = 'Such as reporting.case_feed.';
    END IF;
    full_name := format('%I.%I', parts[1], parts[2]);
    IF to_regclass(full_name) IS NOT NULL AND NOT EXISTS (SELECT FROM authz.feed AS f WHERE f.feed_view = to_regclass(full_name)) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'duplicate_table',
            MESSAGE = format('%s exists, and is no feed', full_name),
            HINT = 'Choose another name.';
    END IF;
    IF authz.class_rank(authz_create_feed.up_to) IS NULL OR authz_create_feed.up_to = 'secret' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%L is no classification up to which columns can be copied', authz_create_feed.up_to),
            HINT = 'Use public, internal, confidential, pii or sensitive_pii.';
    END IF;
    SELECT string_agg(quote_ident(u.name), ', ') INTO wrong
    FROM unnest(authz_create_feed.columns) AS u (name)
    WHERE NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = authz_create_feed.target AND a.attname = u.name
                        AND a.attnum > 0 AND NOT a.attisdropped);
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_column',
            MESSAGE = format('%s has no column %s', authz_create_feed.target, wrong),
            HINT = 'Name columns of the table, one by one.';
    END IF;
    SELECT array_agg(a.attname ORDER BY a.attnum) INTO copied
    FROM pg_attribute AS a
    WHERE a.attrelid = authz_create_feed.target AND a.attnum > 0 AND NOT a.attisdropped
      AND authz.class_rank(authz.export_class(authz_create_feed.target, a.attname)) <= authz.class_rank(authz_create_feed.up_to)
      AND (authz_create_feed.columns IS NULL OR a.attname = ANY (authz_create_feed.columns));
    SELECT string_agg(quote_ident(u.name), ', ') INTO wrong
    FROM unnest(authz_create_feed.columns) AS u (name) WHERE (u.name = ANY (copied)) IS NOT TRUE;
    IF wrong IS NOT NULL OR copied IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s cannot be copied', coalesce(wrong, 'nothing')),
            DETAIL = format('A column that is copied exists, and is classified, as %s at most.', authz_create_feed.up_to),
            HINT = 'Classify it with authz_classify, leave it out, or say up_to.';
    END IF;
    groups := coalesce(authz_create_feed.policy_group, t.resource_type);
    -- In the WHERE as well: a column that its reader leaves out is not computed.
    made := authz.make_view_anew(full_name, format(
        'WITH (security_barrier = true, security_invoker = true) AS
         SELECT %s, t.%I AS authz_tenant, (SELECT authz.feed_classification(%L)) AS authz_classification,
                %L::pg_catalog.text AS authz_source, pg_catalog.statement_timestamp() AS authz_loaded_at,
                %s AS authz_policy_group
         FROM %s AS t WHERE (SELECT authz.feed_classification(%L)) IS NOT NULL',
        (SELECT string_agg(format('t.%I', c.name), ', ' ORDER BY c.place) FROM unnest(copied) WITH ORDINALITY AS c (name, place)),
        t.tenant_column, full_name, coalesce(authz_create_feed.source_name, current_database()),
        CASE WHEN t.confidentiality_column IS NULL THEN format('%L::pg_catalog.text', groups)
             ELSE format('CASE WHEN t.%1$I::pg_catalog.text OPERATOR(pg_catalog.=) ''normal'' THEN %2$L::pg_catalog.text '
                         'ELSE pg_catalog.concat(%2$L::pg_catalog.text, ''/'', coalesce(t.%1$I::pg_catalog.text, ''unknown'')) END',
                         t.confidentiality_column, groups) END,
        authz_create_feed.target::text, full_name));
    EXECUTE format('COMMENT ON VIEW %s IS %L', full_name,
                   'Made by authz_create_feed: rows with their boundary, for copies. Row security is that of its reader.');
    INSERT INTO authz.feed AS f (feed_name, feed_view, target, columns, up_to, source_name, policy_group)
    VALUES (full_name, made, authz_create_feed.target, copied, authz_create_feed.up_to,
            coalesce(authz_create_feed.source_name, current_database()), groups)
    ON CONFLICT (feed_name) DO UPDATE SET
        feed_view = EXCLUDED.feed_view, target = EXCLUDED.target, columns = EXCLUDED.columns, up_to = EXCLUDED.up_to,
        source_name = EXCLUDED.source_name, policy_group = EXCLUDED.policy_group;
    RETURN made;
END
$$;
COMMENT ON FUNCTION authz_create_feed(text, regclass, name[], text, text, text) IS
    'Makes a view for a warehouse to copy: columns of a protected table up to a classification, and with each row authz_tenant, authz_classification, authz_source, authz_loaded_at and authz_policy_group. Idempotent; made anew, it keeps what was granted on it.';
REVOKE ALL ON FUNCTION authz_create_feed(text, regclass, name[], text, text, text) FROM PUBLIC;

CREATE FUNCTION authz_register_copy(feed text, copy regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    lost text := (SELECT string_agg(l.name, ', ') FROM authz.lost_boundary(copy) AS l (name));
    id   text := (SELECT f.feed_name FROM authz.feed AS f WHERE f.feed_view = to_regclass(feed));
BEGIN
    IF copy IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'copy must be given',
            HINT = 'Such as: SELECT authz_register_copy(''reporting.claim_feed'', ''reporting.claim_copy'');';
    END IF;
    IF id IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('feed %L does not exist', feed),
            HINT = 'Feeds are listed in authz.feed.';
    END IF;
    IF lost IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('%s has lost its boundary', copy),
            DETAIL = format('These columns are missing, or of another type: %s.', lost),
            HINT = format('Such as: CREATE TABLE ... AS SELECT * FROM %s.', id);
    END IF;
    INSERT INTO authz.feed_copy AS c (copy, feed_name) VALUES (authz_register_copy.copy, id)
    ON CONFLICT (copy) DO UPDATE SET feed_name = EXCLUDED.feed_name;
END
$$;
COMMENT ON FUNCTION authz_register_copy(text, regclass) IS
    'Says that a relation of this database holds what a feed gave; authz.feed_problem tells when it loses its boundary.';
REVOKE ALL ON FUNCTION authz_register_copy(text, regclass) FROM PUBLIC;

CREATE VIEW authz.feed_problem AS
    SELECT f.feed_name, f.feed_view AS object, 'the feed is gone' AS problem,
           pg_catalog.format('DELETE FROM authz.feed WHERE feed_name = %L', f.feed_name) AS remedy
    FROM authz.feed AS f
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c
                      WHERE c.oid OPERATOR(pg_catalog.=) f.feed_view AND c.relkind OPERATOR(pg_catalog.=) 'v')
    UNION ALL
    SELECT f.feed_name, f.feed_view, 'the feed has been replaced: it does not take its boundary along, or reads past row security',
           pg_catalog.format('SELECT authz_create_feed(%L, %L, %L, %L, %L, %L)', f.feed_name, f.target::text, f.columns, f.up_to,
                             f.source_name, f.policy_group)
    FROM authz.feed AS f JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) f.feed_view
    WHERE EXISTS (SELECT FROM authz.lost_boundary(f.feed_view))
       OR (coalesce(c.reloptions, '{}') OPERATOR(pg_catalog.@>) '{security_barrier=true,security_invoker=true}') IS NOT TRUE
    UNION ALL
    SELECT f.feed_name, f.target, 'the feed''s table is not protected any more',
           'Call authz_protect for the table, or drop the feed'
    FROM authz.feed AS f
    WHERE NOT EXISTS (SELECT FROM authz.resource_type AS t WHERE t.target OPERATOR(pg_catalog.=) f.target)
    UNION ALL
    SELECT f.feed_name, f.target, 'a column of the feed is not classified, or higher than it may copy: the feed is not read',
           pg_catalog.format('SELECT authz_create_feed(%L, %L, NULL, %L, %L, %L)', f.feed_name, f.target::text, f.up_to,
                             f.source_name, f.policy_group)
    FROM authz.feed AS f
    WHERE EXISTS (SELECT FROM pg_catalog.unnest(f.columns) AS u (name)
                  WHERE (authz.class_rank(authz.export_class(f.target, u.name)) OPERATOR(pg_catalog.<=) authz.class_rank(f.up_to)) IS NOT TRUE)
    UNION ALL
    SELECT k.feed_name, k.copy,
           pg_catalog.format('the copy has lost its boundary: %s', (SELECT pg_catalog.string_agg(l.name, ', ') FROM authz.lost_boundary(k.copy) AS l (name))),
           'Load it again from the feed, with all of its columns'
    FROM authz.feed_copy AS k
    WHERE EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) k.copy)
      AND EXISTS (SELECT FROM authz.lost_boundary(k.copy))
    UNION ALL
    SELECT k.feed_name, k.copy, 'the copy is not under row security',
           pg_catalog.format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', k.copy::text)
    FROM authz.feed_copy AS k JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) k.copy
    WHERE c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
    UNION ALL
    -- A materialized view is a copy that nobody has to register: it says what it reads.
    SELECT NULL, m.oid::pg_catalog.regclass,
           pg_catalog.format('a materialized view of %s without its boundary', d.refobjid::pg_catalog.regclass),
           'Make it of a feed (authz_create_feed) instead'
    FROM pg_catalog.pg_class AS m
    JOIN pg_catalog.pg_rewrite AS r ON r.ev_class OPERATOR(pg_catalog.=) m.oid
    JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.objid OPERATOR(pg_catalog.=) r.oid AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
    WHERE m.relkind OPERATOR(pg_catalog.=) 'm'
      AND d.refobjid IN (SELECT t.target FROM authz.resource_type AS t UNION SELECT f.feed_view FROM authz.feed AS f)
      AND EXISTS (SELECT FROM authz.lost_boundary(m.oid::pg_catalog.regclass))
    GROUP BY m.oid, d.refobjid;
COMMENT ON VIEW authz.feed_problem IS
    'Feeds and copies that have lost their boundary: what is wrong with which, and what to do.';
COMMENT ON COLUMN authz.feed_problem.feed_name IS 'The feed; NULL: none, a materialized view.';
COMMENT ON COLUMN authz.feed_problem.object IS 'The feed''s view or table, or the copy.';
COMMENT ON COLUMN authz.feed_problem.problem IS 'What is wrong.';
COMMENT ON COLUMN authz.feed_problem.remedy IS 'What to do: a statement, where one will do.';
