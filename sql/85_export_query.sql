-- What an export reads, as a query that is put together of quoted names and typed literals only.
--
-- SELECT the columns asked for FROM (SELECT columns, masked, FROM source WHERE tenant and scope) WHERE the filters: a filter
-- sees what its reader sees, so that it cannot be used to guess what a mask hides.

-- The registered type whose rows the source has, without columns that a safe view does not have.
CREATE FUNCTION authz.export_resource_type(source regclass) RETURNS authz.resource_type
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_populate_record(t, coalesce((
        SELECT jsonb_object_agg(c.key, NULL::text) FROM jsonb_each_text(to_jsonb(t)) AS c (key, name)
        WHERE c.key LIKE '%\_column' AND c.name IS NOT NULL
          AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = source AND a.attname = c.name
                            AND a.attnum > 0 AND NOT a.attisdropped)), '{}'))
    FROM authz.resource_type AS t
    WHERE t.target = coalesce((SELECT v.target FROM authz.safe_view AS v WHERE v.view = source), source)
$$;
COMMENT ON FUNCTION authz.export_resource_type(regclass) IS
    'The registered type whose rows a source of exports has; NULL: it is neither a protected table nor a safe view.';
REVOKE ALL ON FUNCTION authz.export_resource_type(regclass) FROM PUBLIC;

-- Unless row security holds for the source, and every column is classified, nothing of it is exported.
CREATE FUNCTION authz.check_export_source(export_type text) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    d        authz.export_definition;
    relation pg_class;
    unclear  text;
BEGIN
    SELECT * INTO d FROM authz.export_definition AS e WHERE e.export_type = check_export_source.export_type;
    SELECT c.* INTO relation FROM pg_class AS c WHERE c.oid = d.source;
    unclear := CASE
        WHEN relation.oid IS NULL OR (authz.export_resource_type(d.source)).tenant_column IS NULL
            THEN 'It is neither a protected table nor a safe view of one that has its tenant.'
        WHEN relation.relkind = 'v' THEN nullif(array_to_string(authz.safe_view_problems(d.source), '; '), '')
        WHEN NOT (relation.relrowsecurity AND relation.relforcerowsecurity) THEN 'Its row security is not enabled and forced.' END;
    IF unclear IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('%s cannot be exported', coalesce(relation.oid::regclass::text, 'what is not there any more')),
            DETAIL = unclear,
            HINT = 'Call authz_protect for the table, or authz_create_safe_view.';
    END IF;
    SELECT string_agg(quote_ident(u.name), ', ' ORDER BY u.position) INTO unclear
    FROM unnest(d.columns) WITH ORDINALITY AS u (name, position)
    WHERE authz.export_class(d.source, u.name) IS NULL
       OR NOT EXISTS (SELECT FROM pg_attribute AS a
                      WHERE a.attrelid = d.source AND a.attname = u.name AND a.attnum > 0 AND NOT a.attisdropped);
    IF unclear IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('%s cannot be exported', d.source),
            DETAIL = format('Columns that are missing or not classified: %s.', unclear),
            HINT = 'Classify them with authz_classify, or leave them out.';
    END IF;
    -- Where others may create functions in the extension's schema, one of theirs could fit a mask's call better than ours.
    SELECT p.oid::regprocedure::text INTO unclear FROM pg_proc AS p
    WHERE p.proname = 'authz_row' AND p.pronamespace = '@extschema@'::regnamespace
      AND NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e');
    IF unclear IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = format('masks might call %s, which is not part of authz_ext', unclear),
            HINT = 'Drop that function, and revoke CREATE on its schema from whoever made it.';
    END IF;
END
$$;
COMMENT ON FUNCTION authz.check_export_source(text) IS
    'Raises 55000 unless the source of an export is protected, and each of its columns is there and classified; 42501 where a function was planted that masks might call.';
REVOKE ALL ON FUNCTION authz.check_export_source(text) FROM PUBLIC;

-- The columns of a job, and those that it filters by, in the form in which they are read.
CREATE FUNCTION authz.export_columns(
    job authz.data_export_job, d authz.export_definition
) RETURNS TABLE (place bigint, name name, wanted boolean, number smallint, type oid, classification text, expression text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT u.place, a.attname, a.attname = ANY (job.columns), a.attnum, a.atttypid,
           authz.export_class(d.source, a.attname),
           authz.export_expression(d.source, a.attname, d.approval_above, NOT job.includes_sensitive_data)
    FROM (SELECT w.name, min(w.place) AS place
          FROM (SELECT c.name, c.place FROM unnest(job.columns) WITH ORDINALITY AS c (name, place)
                UNION ALL
                SELECT (f.filter ->> 'column')::name, f.place + cardinality(job.columns)
                FROM jsonb_array_elements(job.filters) WITH ORDINALITY AS f (filter, place)) AS w
          GROUP BY w.name) AS u
    JOIN pg_attribute AS a ON a.attrelid = d.source AND a.attname = u.name AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY u.place
$$;
COMMENT ON FUNCTION authz.export_columns(authz.data_export_job, authz.export_definition) IS
    'The columns that an export reads, each as the expression that it is read by: masked, where it has to be.';
REVOKE ALL ON FUNCTION authz.export_columns(authz.data_export_job, authz.export_definition) FROM PUBLIC;

-- A literal of a column's type. Domains are taken for what they are made of: the conditions of a domain are somebody's code.
CREATE FUNCTION authz.export_literal(type oid, value jsonb) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    base    pg_type;
    literal text;
BEGIN
    SELECT t.* INTO base FROM pg_type AS t WHERE t.oid = type;
    WHILE base.typtype = 'd' LOOP
        SELECT t.* INTO base FROM pg_type AS t WHERE t.oid = base.typbasetype;
    END LOOP;
    IF base.typtype NOT IN ('b', 'e') OR base.typcategory = 'A' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('a column of type %s cannot be filtered by', format_type(type, NULL)),
            HINT = 'Filter by columns of simple types.';
    END IF;
    IF jsonb_typeof(value) NOT IN ('string', 'number', 'boolean') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s is no value to compare with', value),
            HINT = 'Give a string, a number or a boolean; use is_null and is_not_null for NULL.';
    END IF;
    literal := format('%L::%s', value #>> '{}', format_type(base.oid, -1));
    BEGIN
        EXECUTE 'SELECT ' || literal;
    EXCEPTION WHEN data_exception THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s is not of type %s', value, format_type(base.oid, NULL)),
            HINT = 'Write the value as a literal of the column''s type.';
    END;
    RETURN literal;
END
$$;
COMMENT ON FUNCTION authz.export_literal(oid, jsonb) IS 'A JSON value as a quoted literal of a type; refuses (22023) one that is none.';
REVOKE ALL ON FUNCTION authz.export_literal(oid, jsonb) FROM PUBLIC;

CREATE FUNCTION authz.export_filter(filter jsonb, type oid) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    op    text := filter ->> 'op';
    value jsonb := filter -> 'value';
    name  text := format('q.%I', filter ->> 'column');
BEGIN
    CASE
        WHEN op IN ('=', '<>', '<', '<=', '>', '>=') THEN
            RETURN format('%s OPERATOR(pg_catalog.%s) %s', name, op, authz.export_literal(type, coalesce(value, 'null')));
        WHEN op = 'in' AND jsonb_typeof(value) = 'array' THEN
            RETURN coalesce((SELECT format('%s OPERATOR(pg_catalog.=) ANY (ARRAY[%s])', name,
                                           string_agg(authz.export_literal(type, v.value), ', '))
                             FROM jsonb_array_elements(value) AS v (value) HAVING count(*) > 0), 'false');
        WHEN op = 'is_null' THEN RETURN name || ' IS NULL';
        WHEN op = 'is_not_null' THEN RETURN name || ' IS NOT NULL';
        ELSE
            RAISE EXCEPTION USING
                ERRCODE = 'invalid_parameter_value',
                MESSAGE = format('%s is no filter', filter),
                HINT = 'Such as {"column": "status", "op": "=", "value": "open"}; op is =, <>, <, <=, >, >=, in (with a list), is_null or is_not_null.';
    END CASE;
END
$$;
COMMENT ON FUNCTION authz.export_filter(jsonb, oid) IS
    'The condition of a filter, with a quoted name and quoted literals; refuses (22023) what is none.';
REVOKE ALL ON FUNCTION authz.export_filter(jsonb, oid) FROM PUBLIC;

-- Rows inside of the scope: the tenant's, and of those whose own columns say so. (Which of them are seen is row security's affair.)
CREATE FUNCTION authz.export_scope(
    t authz.resource_type, tenant uuid, scope_type text, scope_id text
) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    inside   text := CASE WHEN tenant IS NULL THEN 'true'
                          ELSE format('t.%I OPERATOR(pg_catalog.=) %L::uuid', t.tenant_column, tenant) END;
    orgs     uuid[];
    teams    uuid[];
    projects uuid[];
    found    text;
BEGIN
    IF coalesce(scope_type, 'tenant') IN ('platform', 'tenant') THEN
        RETURN inside;
    ELSIF scope_type IN (t.resource_type, t.parent_type) THEN
        SELECT format('t.%I OPERATOR(pg_catalog.=) %s', a.attname, authz.export_literal(a.atttypid, to_jsonb(scope_id))) INTO found
        FROM pg_attribute AS a
        WHERE a.attrelid = t.target
          AND a.attname = CASE scope_type WHEN t.resource_type THEN t.key_column ELSE t.parent_column END;
    ELSIF scope_type IN ('organization', 'team', 'project') THEN
        IF scope_type = 'organization' THEN
            WITH RECURSIVE below (id) AS (
                SELECT scope_id::uuid
                UNION SELECT o.organization_id FROM below AS b
                JOIN authz.organization AS o ON o.tenant_id = tenant AND o.parent_organization_id = b.id)
            SELECT array_agg(b.id) INTO orgs FROM below AS b;
        END IF;
        IF scope_type <> 'project' THEN
            WITH RECURSIVE below (id) AS (
                SELECT m.team_id FROM authz.team AS m
                WHERE m.tenant_id = tenant AND CASE scope_type WHEN 'team' THEN m.team_id = scope_id::uuid
                                                               ELSE m.organization_id = ANY (orgs) END
                UNION SELECT m.team_id FROM below AS b
                JOIN authz.team AS m ON m.tenant_id = tenant AND m.parent_team_id = b.id)
            SELECT array_agg(b.id) INTO teams FROM below AS b;
        END IF;
        SELECT array_agg(p.project_id) INTO projects FROM authz.project AS p
        WHERE p.tenant_id = tenant AND CASE scope_type WHEN 'project' THEN p.project_id = scope_id::uuid
                                                       ELSE p.organization_id = ANY (orgs) END;
        SELECT '(' || string_agg(format('t.%I::uuid OPERATOR(pg_catalog.=) ANY (%L::uuid[])', p.name, p.ids), ' OR ') || ')' INTO found
        FROM (VALUES (t.organization_column, orgs), (t.team_column, teams), (t.project_column, projects)) AS p (name, ids)
        WHERE p.name IS NOT NULL AND p.ids IS NOT NULL;
        IF num_nonnulls(CASE WHEN scope_type = 'organization' THEN t.organization_column END,
                        CASE WHEN scope_type <> 'project' THEN t.team_column END,
                        CASE WHEN scope_type <> 'team' THEN t.project_column END) > 0 THEN
            found := coalesce(found, 'false');
        END IF;
    END IF;
    IF found IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('rows of %s cannot be narrowed to a scope of type %s', t.target, scope_type),
            HINT = 'Ask for the tenant, and filter by columns.';
    END IF;
    RETURN format('%s AND %s', inside, found);
END
$$;
COMMENT ON FUNCTION authz.export_scope(authz.resource_type, uuid, text, text) IS
    'The condition that a row is inside of the scope, by its registered columns; refuses (22023) a scope that they know nothing of.';
REVOKE ALL ON FUNCTION authz.export_scope(authz.resource_type, uuid, text, text) FROM PUBLIC;

CREATE FUNCTION authz.export_query(job authz.data_export_job, d authz.export_definition) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    inner_list text;
    outer_list text;
    filters    text;
    query      text;
BEGIN
    SELECT string_agg(format('%s AS %I', c.expression, c.name), ', ' ORDER BY c.place),
           string_agg(format('q.%I', c.name), ', ' ORDER BY c.place) FILTER (WHERE c.wanted)
    INTO inner_list, outer_list
    FROM authz.export_columns(job, d) AS c;
    SELECT string_agg(authz.export_filter(f.filter, c.type), ' AND ' ORDER BY f.place) INTO filters
    FROM jsonb_array_elements(job.filters) WITH ORDINALITY AS f (filter, place)
    JOIN authz.export_columns(job, d) AS c ON c.name = f.filter ->> 'column';
    query := format('SELECT %s FROM (SELECT %s FROM %s AS t WHERE %s) AS q%s', outer_list, inner_list, d.source::text,
                    authz.export_scope(authz.export_resource_type(d.source), job.tenant_id, job.scope_type, job.scope_id),
                    ' WHERE ' || filters);
    -- As jsonb, because json keeps line feeds that somebody wrote.
    RETURN CASE job.file_format
        WHEN 'jsonl' THEN format('SELECT pg_catalog.to_jsonb(r)::pg_catalog.text AS line FROM (%s) AS r', query)
        ELSE query END;
END
$$;
COMMENT ON FUNCTION authz.export_query(authz.data_export_job, authz.export_definition) IS
    'The query of an export. It reads the source once, as t.';
REVOKE ALL ON FUNCTION authz.export_query(authz.data_export_job, authz.export_definition) FROM PUBLIC;

-- Everything that says what will be read. The ids of the catalogs are part of it: another table, or another column, of
-- the same name is not what was asked for.
CREATE FUNCTION authz.export_fingerprint(job authz.data_export_job, d authz.export_definition) RETURNS bytea
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' SET quote_all_identifiers = off AS $$
    SELECT sha256(convert_to(jsonb_build_array(
        d.export_type, d.source::oid::bigint, d.source::text, d.permission_code, d.approval_above,
        job.requested_by, job.tenant_id, job.scope_type, job.scope_id, job.columns, job.filters, job.file_format,
        job.includes_sensitive_data,
        (SELECT jsonb_agg(jsonb_build_array(c.name, c.number, c.type::bigint, c.classification, c.expression) ORDER BY c.place)
         FROM authz.export_columns(job, d) AS c),
        (SELECT to_jsonb(t) FROM authz.export_resource_type(d.source) AS t),
        (SELECT pg_get_viewdef(c.oid) FROM pg_class AS c WHERE c.oid = d.source AND c.relkind = 'v'))::text, 'UTF8'))
$$;
COMMENT ON FUNCTION authz.export_fingerprint(authz.data_export_job, authz.export_definition) IS
    'SHA-256 of everything that says what an export reads.';
REVOKE ALL ON FUNCTION authz.export_fingerprint(authz.data_export_job, authz.export_definition) FROM PUBLIC;
