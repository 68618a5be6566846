-- Maintenance: what has run out is closed, so that a change event says so and places in unique indexes are free. No
-- decision depends on it: they compare the instants.

CREATE FUNCTION authz_maintain(max_rows integer DEFAULT 10000) RETURNS TABLE (step text, done bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' AS $$
#variable_conflict use_column
DECLARE
    reason text;
BEGIN
    IF max_rows IS NULL OR max_rows < 1 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'max_rows must be positive',
            HINT = 'It is how many rows of each kind are closed in one call.';
    END IF;
    -- Settings are defined once the library is loaded, which any of its functions does.
    PERFORM authz.session_principal();
    reason := current_setting('authz.change_reason');
    PERFORM set_config('authz.change_reason', 'expired', true);

    -- Rows that somebody is just changing are left for the next time.
    step := 'role assignments closed';
    UPDATE authz.principal_role_assignment AS a SET revoked_at = a.expires_at
    WHERE a.assignment_id IN (
        SELECT b.assignment_id FROM authz.principal_role_assignment AS b
        WHERE b.revoked_at IS NULL AND b.expires_at <= now()
        ORDER BY b.expires_at LIMIT max_rows FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS done = ROW_COUNT; RETURN NEXT;

    step := 'access grants closed';
    UPDATE authz.resource_access_grant AS a SET revoked_at = a.expires_at
    WHERE a.grant_id IN (
        SELECT b.grant_id FROM authz.resource_access_grant AS b
        WHERE b.revoked_at IS NULL AND b.expires_at <= now()
        ORDER BY b.expires_at LIMIT max_rows FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS done = ROW_COUNT; RETURN NEXT;

    step := 'tenant memberships closed';
    UPDATE authz.tenant_membership AS a SET revoked_at = a.expires_at
    WHERE (a.tenant_id, a.principal_id, a.joined_at) IN (
        SELECT b.tenant_id, b.principal_id, b.joined_at FROM authz.tenant_membership AS b
        WHERE b.revoked_at IS NULL AND b.expires_at <= now()
        ORDER BY b.expires_at LIMIT max_rows FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS done = ROW_COUNT; RETURN NEXT;

    step := 'privileged sessions closed';
    UPDATE authz.privileged_access_session AS a SET ended_at = a.expires_at, end_reason = coalesce(a.end_reason, 'expired')
    WHERE a.session_id IN (
        SELECT b.session_id FROM authz.privileged_access_session AS b
        WHERE b.ended_at IS NULL AND b.started_at IS NOT NULL AND b.expires_at <= now()
        ORDER BY b.expires_at LIMIT max_rows FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS done = ROW_COUNT; RETURN NEXT;

    step := 'approvals that were not used in time closed';
    UPDATE authz.privileged_access_session AS a SET ended_at = now(), end_reason = coalesce(a.end_reason, 'not started in time')
    WHERE a.session_id IN (
        SELECT b.session_id FROM authz.privileged_access_session AS b
        WHERE b.ended_at IS NULL AND b.started_at IS NULL
          AND b.approved_at + authz.access_limit(b.tenant_id, 'start_window') <= now()
        ORDER BY b.approved_at LIMIT max_rows FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS done = ROW_COUNT; RETURN NEXT;

    step := 'exports expired';
    done := authz.expire_exports(max_rows);
    RETURN NEXT;

    PERFORM set_config('authz.change_reason', reason, true);
    step := 'partitions of the audit tables made';
    BEGIN
        done := authz.prepare_audit_partitions();
    EXCEPTION WHEN lock_not_available THEN
        -- Next time; until then events go to the default partition.
        done := 0;
    END;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION authz_maintain(integer) IS
    'Closes what has expired (assignments, grants, memberships, privileged sessions, unused approvals, exports with their content), at most max_rows of each kind, and makes the audit tables'' next partitions. Run it every few minutes, by pg_cron or otherwise.';
REVOKE ALL ON FUNCTION authz_maintain(integer) FROM PUBLIC;
