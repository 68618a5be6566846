-- The functions of exports that are called: see 85_export.sql.

CREATE FUNCTION authz_define_export(
    export_type text,
    source regclass,
    columns name[],
    permission text,
    approval_above text DEFAULT 'internal',
    max_rows bigint DEFAULT 1000000,
    rate_limit integer DEFAULT 10,
    rate_window interval DEFAULT '1 hour',
    lifetime interval DEFAULT '24 hours',
    description text DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    wrong text;
BEGIN
    IF (authz_define_export.export_type ~ '^[a-z][a-z0-9_.-]{0,62}$' AND cardinality(authz_define_export.columns) > 0
        AND array_position(authz_define_export.columns, NULL) IS NULL
        AND authz_define_export.approval_above IN ('public', 'internal', 'confidential', 'pii', 'sensitive_pii')
        AND authz_define_export.max_rows > 0 AND authz_define_export.rate_limit BETWEEN 1 AND 1000
        AND authz_define_export.rate_window > interval '0' AND authz_define_export.lifetime > interval '0'
        AND authz_define_export.source IS NOT NULL AND permission IS NOT NULL) IS NOT TRUE THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'an argument is missing, or is none that can be used',
            DETAIL = 'export_type is a name in lower case; columns are named one by one; approval_above is a class below secret; limits are positive, and rate_limit is at most 1000.',
            HINT = 'Such as: SELECT authz_define_export(''claims'', ''public.claim'', ''{claim_id,status}'', ''claim.export'', max_rows => 10000);';
    END IF;
    SELECT string_agg(DISTINCT quote_ident(w.name), ', ') INTO wrong
    FROM unnest(authz_define_export.columns) AS w (name)
    WHERE NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = authz_define_export.source AND a.attname = w.name
                        AND a.attnum > 0 AND NOT a.attisdropped);
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_column',
            MESSAGE = format('%s has no column %s', authz_define_export.source, wrong),
            HINT = 'Name columns of the source, one by one.';
    END IF;
    SELECT string_agg(quote_ident(w.name), ', ') INTO wrong
    FROM (SELECT u.name FROM unnest(authz_define_export.columns) AS u (name) GROUP BY u.name HAVING count(*) > 1) AS w;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'duplicate_column',
            MESSAGE = format('column %s is named more than once', wrong),
            HINT = 'Name each column once.';
    END IF;
    BEGIN
        INSERT INTO authz.export_definition AS d
            (export_type, source, columns, permission_code, approval_above, max_rows, rate_limit, rate_window, lifetime, description)
        VALUES (authz_define_export.export_type, authz_define_export.source, authz_define_export.columns, permission,
                authz_define_export.approval_above, authz_define_export.max_rows, authz_define_export.rate_limit,
                authz_define_export.rate_window, authz_define_export.lifetime, authz_define_export.description)
        ON CONFLICT ON CONSTRAINT export_definition_pkey DO UPDATE SET
            source = EXCLUDED.source, columns = EXCLUDED.columns, permission_code = EXCLUDED.permission_code,
            approval_above = EXCLUDED.approval_above, max_rows = EXCLUDED.max_rows, rate_limit = EXCLUDED.rate_limit,
            rate_window = EXCLUDED.rate_window, lifetime = EXCLUDED.lifetime, description = EXCLUDED.description, closed_at = NULL;
    EXCEPTION WHEN foreign_key_violation THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('permission %L does not exist', permission),
            HINT = 'Define it in authz.permission_definition first.';
    END;
    PERFORM authz.check_export_source(authz_define_export.export_type);
    RETURN authz_define_export.export_type;
END
$$;
COMMENT ON FUNCTION authz_define_export(text, regclass, name[], text, text, bigint, integer, interval, interval, text) IS
    'Defines what may be exported: columns of a protected table, for those who hold export.request and the permission. For the table''s owner. Idempotent; jobs that were requested under another definition cannot be run any more.';
REVOKE ALL ON FUNCTION authz_define_export(text, regclass, name[], text, text, bigint, integer, interval, interval, text) FROM PUBLIC;

CREATE FUNCTION authz.count_export(job authz.data_export_job, d authz.export_definition) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' AS $$
DECLARE
    at    timestamptz := clock_timestamp();
    asked timestamptz[];
BEGIN
    -- Under READ COMMITTED the second of two waits here and then counts the first; under other levels it fails.
    INSERT INTO authz.export_rate AS r (principal_id, export_type, requested_at)
    VALUES (job.requested_by, d.export_type, ARRAY[at])
    ON CONFLICT (principal_id, export_type) DO UPDATE
    SET requested_at = ARRAY(SELECT u.asked FROM unnest(r.requested_at) AS u (asked)
                             WHERE u.asked > at - d.rate_window) || at
    RETURNING r.requested_at INTO asked;
    IF cardinality(asked) > d.rate_limit THEN
        PERFORM authz.record_denial('export.request', 'data_export_job', NULL, job.tenant_id, 'denied', 'rate_limit');
        RAISE EXCEPTION USING
            ERRCODE = 'configuration_limit_exceeded',
            MESSAGE = format('too many exports of type %L', d.export_type),
            DETAIL = format('%s may be requested in %s.', d.rate_limit, d.rate_window),
            HINT = format('Ask again after %s.', asked[cardinality(asked) - d.rate_limit] + d.rate_window);
    END IF;
END
$$;
COMMENT ON FUNCTION authz.count_export(authz.data_export_job, authz.export_definition) IS
    'Counts a request; refuses it (53400) where there were too many.';
REVOKE ALL ON FUNCTION authz.count_export(authz.data_export_job, authz.export_definition) FROM PUBLIC;

CREATE FUNCTION authz_request_export(
    export_type text,
    reason text,
    tenant uuid DEFAULT NULL,
    scope_type text DEFAULT NULL,
    scope_id text DEFAULT NULL,
    columns name[] DEFAULT NULL,
    filters jsonb DEFAULT '[]',
    unmasked boolean DEFAULT false,
    file_format text DEFAULT 'csv',
    lifetime interval DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' AS $$
#variable_conflict use_column
DECLARE
    d     authz.export_definition;
    j     authz.data_export_job;
    terms authz.export_terms;
    wrong text;
BEGIN
    PERFORM authz.demand_writable();
    j.export_id := gen_random_uuid();
    j.requested_by := authz.session_principal();
    j.requested_at := clock_timestamp();
    j.tenant_id := coalesce(tenant, authz.session_tenant());
    j.scope_type := authz_request_export.scope_type;
    j.scope_id := authz_request_export.scope_id;
    j.export_type := authz_request_export.export_type;
    j.request_reason := reason;
    j.filters := coalesce(authz_request_export.filters, '[]');
    j.file_format := authz_request_export.file_format;
    j.status := 'pending';
    d := authz.export_definition_of(j);
    -- Who may ask for nothing there learns nothing, not even which definitions there are.
    terms := authz.terms_of_export(j, coalesce(d.permission_code, 'export.request'));
    IF j.requested_by IS NULL OR terms IS NOT DISTINCT FROM NULL THEN
        PERFORM authz.refuse_export('export.request', NULL, j.tenant_id, 'no_grant');
    END IF;
    IF d.export_type IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('export type %L does not exist', authz_request_export.export_type),
            DETAIL = 'It is not in authz.export_definition, or it was closed there.',
            HINT = 'Have it defined with authz_define_export.';
    END IF;
    PERFORM authz.demand_reason('export.request', j.tenant_id, 'data_export_job', NULL, coalesce(reason, ''), true);
    PERFORM authz.check_duration('export.request', j.tenant_id, 'data_export_job', NULL, authz_request_export.lifetime);
    j.columns := coalesce(authz_request_export.columns, d.columns);
    IF jsonb_typeof(j.filters) <> 'array' OR j.filters @? '$[*] ? (@.type() != "object")' OR jsonb_array_length(j.filters) > 100 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'filters are not a list of objects',
            HINT = 'Such as [{"column": "status", "op": "=", "value": "open"}], at most 100.';
    END IF;
    SELECT string_agg(DISTINCT coalesce(quote_ident(w.name), 'NULL'), ', ') INTO wrong
    FROM (SELECT c.name::text FROM unnest(j.columns) AS c (name)
          UNION ALL SELECT f.filter ->> 'column' FROM jsonb_array_elements(j.filters) AS f (filter)) AS w (name)
    WHERE (w.name = ANY (d.columns::text[])) IS NOT TRUE;
    IF wrong IS NOT NULL OR cardinality(j.columns) IS DISTINCT FROM (SELECT count(DISTINCT c.name) FROM unnest(j.columns) AS c (name))
        OR cardinality(j.columns) = 0 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'these columns cannot be exported',
            DETAIL = coalesce(format('The definition does not have %s.', wrong), 'None are named, or one more than once.'),
            HINT = format('Columns of %L are: %s.', d.export_type, array_to_string(d.columns, ', '));
    END IF;
    IF j.file_format IS NULL OR j.file_format NOT IN ('csv', 'jsonl') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('file format %L is unknown', j.file_format),
            HINT = 'Use csv or jsonl.';
    END IF;
    PERFORM authz.check_export_source(d.export_type);
    -- Sensitive only if there is anything to unmask.
    j.includes_sensitive_data := coalesce(unmasked, false) AND EXISTS (
        SELECT FROM authz.export_columns(j, d) AS c
        WHERE authz.class_rank(c.classification) > authz.class_rank(d.approval_above));
    IF NOT authz.fits_terms(j, terms) THEN
        PERFORM authz.record_denial('export.request', 'data_export_job', NULL, j.tenant_id, 'denied', 'obligation');
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'permission denied: export.request',
            DETAIL = format('Obligations leave these columns only: %s%s.', coalesce(array_to_string(terms.fields, ', '), 'all'),
                            CASE WHEN terms.masked THEN ', masked' ELSE '' END),
            HINT = 'Ask for these, in columns, and filter by these.';
    END IF;
    -- Filters and scope are looked at now, not when it is run.
    PERFORM authz.export_query(j, d);
    j.fingerprint := authz.export_fingerprint(j, d);
    j.expires_at := least(j.requested_at + d.lifetime, j.requested_at + authz_request_export.lifetime);
    PERFORM authz.count_export(j, d);
    INSERT INTO authz.data_export_job SELECT j.*;
    PERFORM authz.record_access('export.request', 'data_export_job', j.export_id::text, j.tenant_id, 'allowed', reason,
        jsonb_build_object('export_type', j.export_type, 'scope_type', j.scope_type, 'scope_id', j.scope_id, 'columns', j.columns,
                           'filters', j.filters, 'sensitive', j.includes_sensitive_data));
    RETURN j.export_id;
END
$$;
COMMENT ON FUNCTION authz_request_export(text, text, uuid, text, text, name[], jsonb, boolean, text, interval) IS
    'Asks for an export of a defined type for the session''s principal, who holds export.request and the definition''s permission at the scope. Sensitive columns are masked, or need somebody else''s approval. Returns the id of the job.';
REVOKE ALL ON FUNCTION authz_request_export(text, text, uuid, text, text, name[], jsonb, boolean, text, interval) FROM PUBLIC;

CREATE FUNCTION authz_approve_export(export uuid, reason text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' AS $$
DECLARE
    j authz.data_export_job := authz.lock_export('export.approve', export, 'pending');
BEGIN
    IF j.approved_by IS NOT NULL OR NOT j.includes_sensitive_data THEN
        PERFORM authz.refuse_export_state('export.approve', j, 'wrong_state', format('export %s cannot be approved', export),
            CASE WHEN j.approved_by IS NULL THEN 'It is masked, and needs no approval.' ELSE 'It has been approved before.' END,
            'Leave it to who asked for it.');
    END IF;
    UPDATE authz.data_export_job
    SET approved_by = authz.session_principal(), approved_at = clock_timestamp()
    WHERE export_id = export;
    PERFORM authz.record_access('export.approve', 'data_export_job', export::text, j.tenant_id, 'allowed', reason,
                                jsonb_build_object('requested_by', j.requested_by, 'export_type', j.export_type));
    RETURN export;
END
$$;
COMMENT ON FUNCTION authz_approve_export(uuid, text) IS
    'Approves an export of sensitive data, as it was asked for; who holds export.approve at its scope may, and never who asked, nor one with the same e-mail address, nor a service, nor anybody under break-glass.';
REVOKE ALL ON FUNCTION authz_approve_export(uuid, text) FROM PUBLIC;

-- Text has one form, whatever the session's settings are.
CREATE FUNCTION authz.run_export(export uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD'
    SET IntervalStyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex' SET xmloption = 'content' AS $$
DECLARE
    j       authz.data_export_job := authz.lock_export('export.run', export, 'pending');
    d       authz.export_definition := authz.export_definition_of(j);
    most    bigint := least(d.max_rows, (authz.terms_of_export(j, d.permission_code)).row_limit);
    written record;
BEGIN
    IF j.includes_sensitive_data AND j.approved_by IS NULL THEN
        PERFORM authz.refuse_export_state('export.run', j, 'not_approved', format('export %s is not approved', export),
            'It asks for sensitive data.', 'Somebody else, who holds export.approve at its scope, has to approve it first.');
    END IF;
    UPDATE authz.data_export_job SET status = 'running' WHERE export_id = export;
    SELECT * INTO written FROM authz.write_export(export, d.source, authz.export_query(j, d), j.file_format, most);
    IF written.rows > most THEN
        PERFORM authz.record_denial('export.run', 'data_export_job', export::text, j.tenant_id, 'denied', 'row_limit');
        RAISE EXCEPTION USING
            ERRCODE = 'program_limit_exceeded',
            MESSAGE = format('export %s has too many rows', export),
            DETAIL = format('More than %s, which is the least of the limits of its definition and of the obligations of its requester.', most),
            HINT = 'Nothing is cut off: ask for a new one with a filter or a smaller scope.';
    END IF;
    UPDATE authz.data_export_job
    SET status = 'completed', completed_at = clock_timestamp(), row_count = written.rows, byte_count = written.bytes,
        chunk_count = written.chunks, content_sha256 = written.sha256, run_xact = pg_current_xact_id()
    WHERE export_id = export
    RETURNING * INTO j;
    -- All of it may have changed while rows were read.
    PERFORM authz.demand_unchanged('export.run', j, authz.export_definition_of(j));
    IF NOT authz.fits_terms(j, authz.terms_of_export(j, d.permission_code)) THEN
        PERFORM authz.refuse_export('export.run', export, j.tenant_id, 'no_grant');
    END IF;
    PERFORM authz.record_access('export.run', 'data_export_job', export::text, j.tenant_id, 'allowed', NULL,
        jsonb_build_object('export_type', j.export_type, 'rows', j.row_count, 'bytes', j.byte_count, 'chunks', j.chunk_count,
                           'sha256', encode(j.content_sha256, 'hex'), 'sensitive', j.includes_sensitive_data));
    RETURN j.row_count;
END
$$;
COMMENT ON FUNCTION authz.run_export(uuid) IS 'What authz_run_export calls, which knows who called it.';
REVOKE ALL ON FUNCTION authz.run_export(uuid) FROM PUBLIC;

CREATE FUNCTION authz_download_export(export uuid, chunk integer DEFAULT 1)
RETURNS TABLE (number integer, chunks integer, content bytea, sha256 bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' AS $$
#variable_conflict use_variable
DECLARE
    j authz.data_export_job := authz.lock_export('export.download', export, 'completed');
    c authz.data_export_chunk;
BEGIN
    IF chunk IS NULL OR chunk NOT BETWEEN 1 AND coalesce(j.chunk_count, 0) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('export %s has no chunk %s', export, coalesce(chunk::text, 'NULL')),
            HINT = format('It has %s, numbered from 1.', coalesce(j.chunk_count, 0));
    END IF;
    -- Rolled back, neither the run nor the request would count.
    IF j.run_xact = pg_current_xact_id_if_assigned() THEN
        PERFORM authz.refuse_export_state('export.download', j, 'not_committed', format('export %s is not committed', export),
            'It was run in this transaction.', 'Commit, and download it then.');
    END IF;
    SELECT * INTO c FROM authz.data_export_chunk AS p WHERE p.export_id = export AND p.chunk = chunk;
    IF c.chunk IS NULL THEN
        PERFORM authz.refuse_export_state('export.download', j, 'content_lost', format('the content of export %s is gone', export),
            'It was not kept over a crash of the server, a failover or a restored dump.', 'Ask for a new one.');
    END IF;
    PERFORM authz.demand_unchanged('export.download', j, authz.export_definition_of(j));
    IF sha256(c.content) <> c.sha256 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'data_corrupted',
            MESSAGE = format('chunk %s of export %s is not what was written', chunk, export),
            HINT = 'Ask for a new export, and find out who changed this one.';
    END IF;
    PERFORM authz.record_access('export.download', 'data_export_job', export::text, j.tenant_id, 'allowed', NULL,
        jsonb_build_object('chunk', chunk, 'chunks', j.chunk_count, 'bytes', octet_length(c.content), 'rows', c.row_count));
    number := chunk;
    chunks := j.chunk_count;
    content := c.content;
    sha256 := c.sha256;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION authz_download_export(uuid, integer) IS
    'One chunk of a completed export, the same bytes each time, for who asked for it and may still have it. One after the other they are the file.';
REVOKE ALL ON FUNCTION authz_download_export(uuid, integer) FROM PUBLIC;

CREATE FUNCTION authz_end_export(export uuid, reason text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    j authz.data_export_job := authz.lock_export('export.end', export, 'any');
BEGIN
    PERFORM authz.demand_reason('export.end', j.tenant_id, 'data_export_job', export::text, coalesce(reason, ''), true);
    UPDATE authz.data_export_job
    SET status = CASE status WHEN 'completed' THEN 'expired' ELSE 'failed' END,
        ended_at = clock_timestamp(), ended_by = authz.session_principal(), end_reason = reason
    WHERE export_id = export;
    DELETE FROM authz.data_export_chunk WHERE export_id = export;
    PERFORM authz.record_access('export.end', 'data_export_job', export::text, j.tenant_id, 'allowed', reason,
                                jsonb_build_object('was', j.status));
    RETURN export;
END
$$;
COMMENT ON FUNCTION authz_end_export(uuid, text) IS
    'Withdraws or rejects a request, or removes the content of a completed export: one''s own, or where export.approve is held at its scope.';
REVOKE ALL ON FUNCTION authz_end_export(uuid, text) FROM PUBLIC;

-- What somebody has asked for, and what waits for him.
CREATE FUNCTION authz_exports() RETURNS TABLE (
    export_id uuid, export_type text, requested_by uuid, tenant_id uuid, scope_type text, scope_id text, status text,
    includes_sensitive_data boolean, approved_by uuid, requested_at timestamptz, expires_at timestamptz, request_reason text,
    columns name[], filters jsonb, row_count bigint, byte_count bigint, chunk_count integer, content_sha256 bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT j.export_id, j.export_type, j.requested_by, j.tenant_id, j.scope_type, j.scope_id,
           CASE WHEN j.status IN ('pending', 'completed') AND j.expires_at <= clock_timestamp() THEN 'expired' ELSE j.status END,
           j.includes_sensitive_data, j.approved_by, j.requested_at, j.expires_at, j.request_reason, j.columns, j.filters,
           j.row_count, j.byte_count, j.chunk_count, j.content_sha256
    FROM authz.data_export_job AS j
    WHERE (j.requested_by = authz.session_principal()
           AND (authz.session_tenant() IS NULL OR coalesce(j.tenant_id = authz.session_tenant(), false)))
       OR (j.status = 'pending' AND j.includes_sensitive_data AND j.approved_by IS NULL
           AND j.expires_at > clock_timestamp()
           AND authz.holds_access('export.approve', j.tenant_id, j.scope_type, j.scope_id))
    ORDER BY j.requested_at DESC, j.export_id
$$;
COMMENT ON FUNCTION authz_exports() IS
    'The exports of the session''s principal, and those that wait for an approval which it may give.';
REVOKE ALL ON FUNCTION authz_exports() FROM PUBLIC;

-- For workers, which begin the session of whoever asked, and run it then.
CREATE FUNCTION authz_runnable_exports(max_rows integer DEFAULT 100)
RETURNS TABLE (export_id uuid, requested_by uuid, tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT j.export_id, j.requested_by, j.tenant_id
    FROM authz.data_export_job AS j
    WHERE j.status = 'pending' AND j.expires_at > clock_timestamp() AND j.fingerprint IS NOT NULL
      AND (j.approved_by IS NOT NULL OR NOT j.includes_sensitive_data)
    ORDER BY j.requested_at LIMIT max_rows
$$;
COMMENT ON FUNCTION authz_runnable_exports(integer) IS
    'Exports that can be run, the oldest first: for a worker, which then begins the session of who asked.';
REVOKE ALL ON FUNCTION authz_runnable_exports(integer) FROM PUBLIC;

CREATE FUNCTION authz.expire_exports(max_rows integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    over uuid[];
BEGIN
    WITH expired AS (
        UPDATE authz.data_export_job AS j SET status = 'expired', ended_at = j.expires_at, end_reason = 'expired'
        WHERE j.export_id IN (
            SELECT k.export_id FROM authz.data_export_job AS k
            WHERE k.status IN ('pending', 'running', 'completed') AND k.expires_at <= clock_timestamp()
            ORDER BY k.expires_at LIMIT max_rows FOR UPDATE SKIP LOCKED)
        RETURNING j.export_id)
    SELECT array_agg(e.export_id) INTO over FROM expired AS e;
    DELETE FROM authz.data_export_chunk WHERE export_id = ANY (over);
    RETURN coalesce(cardinality(over), 0);
END
$$;
COMMENT ON FUNCTION authz.expire_exports(integer) IS
    'Closes exports that have expired and removes their content; how many.';
REVOKE ALL ON FUNCTION authz.expire_exports(integer) FROM PUBLIC;
