-- Maintenance: what has run out is closed, so that a change event says so and places in unique indexes are free. No
-- decision depends on it: they compare the instants.

-- A step that fails (for a lock that somebody holds, or by what somebody has written into a tenant's settings) takes only its
-- own work back; the next call tries again.
CREATE FUNCTION authz_maintain(max_rows integer DEFAULT 10000) RETURNS TABLE (step text, done bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' AS $$
#variable_conflict use_column
DECLARE
    reason    text;
    statement text;
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
    FOR step, statement IN VALUES
        ('role assignments closed', $q$
            UPDATE authz.principal_role_assignment AS a SET revoked_at = a.expires_at
            WHERE a.assignment_id IN (
                SELECT b.assignment_id FROM authz.principal_role_assignment AS b
                WHERE b.revoked_at IS NULL AND b.expires_at <= now()
                ORDER BY b.expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)$q$),
        ('access grants closed', $q$
            UPDATE authz.resource_access_grant AS a SET revoked_at = a.expires_at
            WHERE a.grant_id IN (
                SELECT b.grant_id FROM authz.resource_access_grant AS b
                WHERE b.revoked_at IS NULL AND b.expires_at <= now()
                ORDER BY b.expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)$q$),
        ('tenant memberships closed', $q$
            UPDATE authz.tenant_membership AS a SET revoked_at = a.expires_at
            WHERE (a.tenant_id, a.principal_id, a.joined_at) IN (
                SELECT b.tenant_id, b.principal_id, b.joined_at FROM authz.tenant_membership AS b
                WHERE b.revoked_at IS NULL AND b.expires_at <= now()
                ORDER BY b.expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)$q$),
        ('privileged sessions closed', $q$
            UPDATE authz.privileged_access_session AS a
            SET ended_at = a.expires_at, end_reason = coalesce(a.end_reason, 'expired')
            WHERE a.session_id IN (
                SELECT b.session_id FROM authz.privileged_access_session AS b
                WHERE b.ended_at IS NULL AND b.started_at IS NOT NULL AND b.expires_at <= now()
                ORDER BY b.expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)$q$),
        ('approvals that were not used in time closed', $q$
            UPDATE authz.privileged_access_session AS a
            SET ended_at = now(), end_reason = coalesce(a.end_reason, 'not started in time')
            WHERE a.session_id IN (
                SELECT b.session_id FROM authz.privileged_access_session AS b
                WHERE b.ended_at IS NULL AND b.started_at IS NULL
                  AND b.approved_at + authz.access_limit(b.tenant_id, 'start_window') <= now()
                ORDER BY b.approved_at LIMIT $1 FOR UPDATE SKIP LOCKED)$q$),
        ('exports expired', $q$
            SELECT FROM generate_series(1, authz.expire_exports($1))$q$),
        ('partitions of the audit tables made', $q$
            SELECT FROM generate_series(1, authz.prepare_audit_partitions()) WHERE $1 > 0$q$)
    LOOP
        BEGIN
            EXECUTE statement USING max_rows;
            GET DIAGNOSTICS done = ROW_COUNT;
        EXCEPTION WHEN OTHERS THEN
            IF SQLSTATE ~ '^(40|53|54|57|58|XX)' THEN
                RAISE;
            END IF;
            done := NULL;
            RAISE WARNING USING
                ERRCODE = SQLSTATE,
                MESSAGE = format('maintenance has left something out: %s', step),
                DETAIL = SQLERRM,
                HINT = 'The next call tries again.';
        END;
        RETURN NEXT;
    END LOOP;
    PERFORM set_config('authz.change_reason', reason, true);
END
$$;
COMMENT ON FUNCTION authz_maintain(integer) IS
    'Closes what has expired (assignments, grants, memberships, privileged sessions, unused approvals, exports with their content), at most max_rows of each kind, and makes the audit tables'' next partitions; done is NULL for a step that failed, of which a warning tells. Run it every few minutes, by pg_cron or otherwise.';
REVOKE ALL ON FUNCTION authz_maintain(integer) FROM PUBLIC;
