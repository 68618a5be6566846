-- Exports, through functions: request, approval by somebody else, run, download, end. All of them ask for authority in one
-- place, authz.lock_export, which locks the row before it looks at its state: at request, at approval, at the run, and for
-- each chunk that is downloaded. The authority that counts is the requester's: it is the requester's session that runs
-- and downloads.
--
-- A refusal has the same words whether there is no such export, it is somebody else's, or the permission is missing.

CREATE FUNCTION authz.refuse_export(action text, export_id uuid, tenant uuid, why text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM authz.record_denial(action, 'data_export_job', export_id::text, tenant, 'denied', why);
    RAISE EXCEPTION USING
        ERRCODE = 'insufficient_privilege',
        MESSAGE = format('permission denied: %s', action),
        DETAIL = 'The session''s principal does not hold what this export needs at its scope, or there is no such export, or it is for somebody else to do.',
        HINT = 'Exports are requested, run and downloaded by one principal, and approved by another one.';
END
$$;
COMMENT ON FUNCTION authz.refuse_export(text, uuid, uuid, text) IS
    'Records a denial about an export and raises 42501, in words that are the same for all reasons.';
REVOKE ALL ON FUNCTION authz.refuse_export(text, uuid, uuid, text) FROM PUBLIC;

-- What cannot be done with the export as it stands: recorded, because somebody tried.
CREATE FUNCTION authz.refuse_export_state(
    action text, job authz.data_export_job, why text, message text, detail text, hint text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM authz.record_denial(action, 'data_export_job', job.export_id::text, job.tenant_id, 'denied', why);
    RAISE EXCEPTION USING
        ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = message, DETAIL = detail, HINT = hint;
END
$$;
COMMENT ON FUNCTION authz.refuse_export_state(text, authz.data_export_job, text, text, text, text) IS
    'Records that something was tried with an export that is not in the state for it, and raises 55000.';
REVOKE ALL ON FUNCTION authz.refuse_export_state(text, authz.data_export_job, text, text, text, text) FROM PUBLIC;

-- On what terms the session's principal may have the export: NULL, it may not; else the most rows, and the only columns,
-- that the obligations of both permissions leave. An obligation that cannot be read leaves nothing.
CREATE TYPE authz.export_terms AS (row_limit bigint, fields text[], masked boolean);
COMMENT ON TYPE authz.export_terms IS
    'What obligations leave of an export: rows (NULL: any number), columns (NULL: all), and whether it has to be masked.';

CREATE FUNCTION authz.terms_of_export(job authz.data_export_job, permission text) RETURNS authz.export_terms
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms authz.export_terms := ROW (NULL, NULL, authz.session_is_masked());
    held  jsonb;
BEGIN
    IF job.requested_by IS DISTINCT FROM authz.session_principal() THEN
        RETURN NULL;
    END IF;
    FOR held IN
        SELECT authz.terms(p.code, job.tenant_id, coalesce(job.scope_type, CASE WHEN job.tenant_id IS NULL THEN 'platform' ELSE 'tenant' END),
                           coalesce(job.scope_id, job.tenant_id::text))
        FROM unnest(ARRAY['export.request', permission]) AS p (code)
    LOOP
        IF held IS NULL THEN
            RETURN NULL;
        END IF;
        IF held ? 'max_records' THEN
            terms.row_limit := least(terms.row_limit, CASE WHEN jsonb_typeof(held -> 'max_records') = 'number'
                THEN greatest(0, least(floor((held ->> 'max_records')::numeric), 9223372036854775806))::bigint ELSE 0 END);
        END IF;
        IF held ? 'allowed_fields' THEN
            terms.fields := ARRAY(
                SELECT f.field
                FROM jsonb_array_elements_text(CASE jsonb_typeof(held -> 'allowed_fields') WHEN 'array' THEN held -> 'allowed_fields' ELSE '[]' END) AS f (field)
                WHERE terms.fields IS NULL OR f.field = ANY (terms.fields));
        END IF;
        terms.masked := terms.masked OR coalesce(held -> 'masking', 'null') NOT IN ('null', 'false');
    END LOOP;
    RETURN terms;
END
$$;
COMMENT ON FUNCTION authz.terms_of_export(authz.data_export_job, text) IS
    'On what terms the session''s principal may have the export; NULL: it did not ask for it, or does not hold export.request and the permission at its scope.';
REVOKE ALL ON FUNCTION authz.terms_of_export(authz.data_export_job, text) FROM PUBLIC;

-- Does what is asked for fit the terms?
CREATE FUNCTION authz.fits_terms(job authz.data_export_job, terms authz.export_terms) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT terms IS DISTINCT FROM NULL
       AND NOT (terms.masked AND job.includes_sensitive_data)
       AND coalesce(job.row_count, 0) <= coalesce(terms.row_limit, 9223372036854775807)
       AND (terms.fields IS NULL
            OR (job.columns::text[] || ARRAY(SELECT f.filter ->> 'column' FROM jsonb_array_elements(job.filters) AS f (filter)))
               <@ terms.fields)
$$;
COMMENT ON FUNCTION authz.fits_terms(authz.data_export_job, authz.export_terms) IS
    'Does an export keep to what obligations leave of it?';
REVOKE ALL ON FUNCTION authz.fits_terms(authz.data_export_job, authz.export_terms) FROM PUBLIC;

CREATE FUNCTION authz.export_definition_of(job authz.data_export_job) RETURNS authz.export_definition
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT d FROM authz.export_definition AS d WHERE d.export_type = job.export_type AND d.closed_at IS NULL
$$;
COMMENT ON FUNCTION authz.export_definition_of(authz.data_export_job) IS 'The definition of an export; NULL: there is none, or it was closed.';
REVOKE ALL ON FUNCTION authz.export_definition_of(authz.data_export_job) FROM PUBLIC;

-- What was asked for is what is approved, what was approved is what is run, and what has been written is what would be
-- written now: content of a column that has become more sensitive since is not handed out.
CREATE FUNCTION authz.demand_unchanged(action text, job authz.data_export_job, d authz.export_definition) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM authz.check_export_source(d.export_type);
    IF job.fingerprint IS DISTINCT FROM authz.export_fingerprint(job, d) THEN
        PERFORM authz.refuse_export_state(action, job, 'changed', format('export %s is not what was asked for', job.export_id),
            'Its definition, its source, or the classification or masks of its columns have changed since, or it was not made by authz_request_export.',
            'Ask for a new one.');
    END IF;
END
$$;
COMMENT ON FUNCTION authz.demand_unchanged(text, authz.data_export_job, authz.export_definition) IS
    'Refuses (55000) an export that would read anything else now than when it was asked for.';
REVOKE ALL ON FUNCTION authz.demand_unchanged(text, authz.data_export_job, authz.export_definition) FROM PUBLIC;

-- The one place where it is decided whether an export may be touched. The row is looked at before it is locked: a lock, and
-- waiting for one, would tell others that it is there. After the lock it is looked at again; authority is not, since nobody
-- waits for the lock.
CREATE FUNCTION authz.lock_export(action text, export uuid, wanted text) RETURNS authz.data_export_job
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    actor uuid := authz.session_principal();
    j     authz.data_export_job;
    d     authz.export_definition;
    why   text;
BEGIN
    PERFORM authz.demand_writable();
    SELECT * INTO j FROM authz.data_export_job AS e WHERE e.export_id = export;
    d := authz.export_definition_of(j);
    IF j.export_id IS NULL OR actor IS NULL THEN
        why := 'no_grant';
    ELSIF action IN ('export.run', 'export.download') THEN
        why := CASE WHEN j.requested_by <> actor THEN 'not_requester'
                    WHEN d.export_type IS NOT NULL
                         AND NOT authz.fits_terms(j, authz.terms_of_export(j, d.permission_code)) THEN 'no_grant'
                    WHEN d.export_type IS NULL AND authz.terms_of_export(j, 'export.request') IS NOT DISTINCT FROM NULL THEN 'no_grant' END;
    ELSIF NOT (action = 'export.end' AND j.requested_by = actor) THEN
        why := CASE WHEN NOT authz.holds_access('export.approve', j.tenant_id, j.scope_type, j.scope_id) THEN 'no_grant'
                    WHEN action = 'export.end' THEN NULL
                    WHEN authz.same_person(j.requested_by, actor) THEN 'own_export'
                    -- Whoever logged in with a role of his own is himself, whatever session was begun afterwards.
                    WHEN EXISTS (SELECT FROM authz.principal AS p
                                 WHERE p.db_role = session_user AND authz.same_person(j.requested_by, p.principal_id)) THEN 'own_export'
                    WHEN NOT EXISTS (SELECT FROM authz.principal AS p
                                     WHERE p.principal_id = actor AND p.principal_type = 'human') THEN 'not_human'
                    WHEN EXISTS (SELECT FROM authz.privileged_access_session AS p
                                 WHERE p.principal_id = actor AND p.session_kind = 'break_glass'
                                   AND p.active_from <= clock_timestamp() AND p.active_until > clock_timestamp()) THEN 'under_break_glass' END;
    END IF;
    -- In one place: the context of an error names the line.
    IF why IS NOT NULL THEN
        PERFORM authz.refuse_export(action, export, j.tenant_id, why);
    END IF;
    BEGIN
        IF action = 'export.download' THEN
            SELECT * INTO j FROM authz.data_export_job AS e WHERE e.export_id = export FOR KEY SHARE NOWAIT;
        ELSE
            SELECT * INTO j FROM authz.data_export_job AS e WHERE e.export_id = export FOR UPDATE NOWAIT;
        END IF;
    EXCEPTION WHEN lock_not_available THEN
        PERFORM authz.refuse_export_state(action, j, 'in_use', format('export %s is being worked on', export),
            'Somebody else is just running, approving or ending it.', 'Look at its status later.');
    END;
    IF j.status <> wanted AND NOT (wanted = 'any' AND j.status IN ('pending', 'completed')) THEN
        PERFORM authz.refuse_export_state(action, j, 'wrong_state', format('export %s is %s', export, j.status),
            coalesce('It was ended: ' || j.end_reason, CASE wanted WHEN 'completed' THEN 'Only a completed export has content.' ELSE 'It has been run or ended before.' END),
            CASE WHEN wanted = 'completed' AND j.status = 'pending' THEN 'Run it first, with authz_run_export.'
                 ELSE 'Ask for a new one, where it is still needed.' END);
    END IF;
    IF coalesce(j.expires_at <= clock_timestamp(), j.fingerprint IS NOT NULL) AND action <> 'export.end' THEN
        PERFORM authz.refuse_export_state(action, j, 'expired', format('export %s has expired', export),
            format('It expired at %s.', j.expires_at), 'Ask for a new one, where it is still needed.');
    END IF;
    IF action = 'export.end' THEN
        RETURN j;
    END IF;
    IF d.export_type IS NULL THEN
        PERFORM authz.refuse_export_state(action, j, 'definition_closed', format('export %s cannot be used any more', export),
            format('The definition %L was closed.', j.export_type), 'Ask for one of another type.');
    END IF;
    -- Of a download it is asked where the content is found.
    IF action <> 'export.download' THEN
        PERFORM authz.demand_unchanged(action, j, d);
    END IF;
    RETURN j;
END
$$;
COMMENT ON FUNCTION authz.lock_export(text, uuid, text) IS
    'The job, locked, if the session''s principal may do this with it (42501) and it is in the wanted state, not expired, and still what was asked for (55000).';
REVOKE ALL ON FUNCTION authz.lock_export(text, uuid, text) FROM PUBLIC;
