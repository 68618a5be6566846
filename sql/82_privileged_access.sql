-- Privileged access, through functions: request, approval by somebody else, start, end; break-glass at once; review
-- afterwards. Each asks whether the session's principal holds the permission for it at the scope in question, then locks
-- the row before it looks at its state, and leaves an access event. What was refused is recorded as well.
--
-- A refusal has the same words whether there is no such session, the permission is missing, or the session is one's
-- own: who may not see a session does not learn that it exists.

-- How long something may last: the setting, or less where the tenant's settings say so.
CREATE FUNCTION authz.access_limit(tenant uuid, limited text) RETURNS interval
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own text := (SELECT t.settings #>> ARRAY['privileged_access', limited] FROM authz.tenant AS t WHERE t.tenant_id = tenant);
BEGIN
    -- Settings are defined once the library is loaded, which any of its functions does.
    PERFORM authz.session_principal();
    -- Not less than a moment, so that a tenant that allows none gets a session that is over when it begins.
    RETURN greatest(interval '1 microsecond',
                    least(current_setting(CASE limited WHEN 'break_glass_max_duration' THEN 'authz.break_glass_max_duration'
                                                    WHEN 'start_window' THEN 'authz.privileged_start_window'
                                                    ELSE 'authz.privileged_max_duration' END)::interval,
                          own::interval));
EXCEPTION
    WHEN invalid_datetime_format OR datetime_field_overflow OR interval_field_overflow THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('privileged_access.%s in the settings of tenant %s is not an interval', limited, tenant),
            HINT = 'Write it as "4 hours", for instance.';
END
$$;
COMMENT ON FUNCTION authz.access_limit(uuid, text) IS
    'How long a privileged session may last (max_duration, break_glass_max_duration), or an approval may wait for its start (start_window): the setting, or what settings.privileged_access of the tenant says, if that is less.';
REVOKE ALL ON FUNCTION authz.access_limit(uuid, text) FROM PUBLIC;

CREATE FUNCTION authz.refuse_access(action text, session uuid, tenant uuid, why text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT authz.refuse(action, tenant, 'privileged_access_session', session::text, why, '42501',
        format('permission denied: %s', action),
        'The session''s principal does not hold the permission at that scope, or there is no such privileged session, or it is the principal''s own.',
        'Privileged sessions are approved, rejected and reviewed by somebody else.')
$$;
COMMENT ON FUNCTION authz.refuse_access(text, uuid, uuid, text) IS
    'Records a denial about a privileged session and raises 42501, in words that are the same for all reasons.';
REVOKE ALL ON FUNCTION authz.refuse_access(text, uuid, uuid, text) FROM PUBLIC;

-- Does the session's principal hold the permission at the scope of a privileged session, or of one that is to be? A
-- session that names a tenant acts in that tenant only.
CREATE FUNCTION authz.holds_access(permission text, tenant uuid, scope_type text, scope_id text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN authz.session_principal() IS NOT NULL
       AND (authz.session_tenant() IS NULL OR coalesce(authz.session_tenant() = tenant, false))
       AND authz.holds_or_records(permission, tenant,
                                  coalesce(scope_type, CASE WHEN tenant IS NULL THEN 'platform' ELSE 'tenant' END),
                                  coalesce(scope_id, tenant::text));
END
$$;
COMMENT ON FUNCTION authz.holds_access(text, uuid, text, text) IS
    'Does the session''s principal hold the permission at the scope of a privileged session (NULL: its tenant, or the platform)?';
REVOKE ALL ON FUNCTION authz.holds_access(text, uuid, text, text) FROM PUBLIC;

-- Intervals are compared by months of 30 days, but a month that is added has as many as it has: "1000 months -30000 days"
-- compares as nothing and lasts a year. So only instants are compared. And a day has 24 hours: in a TimeZone of the
-- caller's making it can have 190.
CREATE FUNCTION authz.check_duration(action text, tenant uuid, kind text, id text, duration interval) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' AS $$
BEGIN
    IF duration <= interval '0' OR now() + duration <= now() THEN
        PERFORM authz.refuse_argument(action, tenant, kind, id, 'the duration must be positive',
                                      'Leave it out for as long as is allowed.');
    END IF;
END
$$;
COMMENT ON FUNCTION authz.check_duration(text, uuid, text, text, interval) IS
    'Refuses (22023) a duration that is not positive; NULL is none.';
REVOKE ALL ON FUNCTION authz.check_duration(text, uuid, text, text, interval) FROM PUBLIC;

-- Access to what nobody asked for in particular is told at once, to whoever listens and to the server's log. Anybody who
-- can connect can listen, so the message names the session and nothing else. The log has one line of JSON, in which no
-- reason, however written, can pass for another line; it is there also if the transaction rolls back.
CREATE FUNCTION authz.announce_access(s authz.privileged_access_session) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE LOG 'authz_ext: privileged access %', jsonb_build_object(
        'session', s.session_id, 'kind', s.session_kind, 'principal', s.principal_id, 'tenant', s.tenant_id,
        'scope_type', s.scope_type, 'scope_id', s.scope_id, 'reason', s.access_reason, 'ticket', s.ticket_reference,
        'expires_at', s.expires_at);
    PERFORM pg_notify(CASE s.session_kind WHEN 'break_glass' THEN 'authz_break_glass' ELSE 'authz_broad_access' END,
                      s.session_id::text);
END
$$;
COMMENT ON FUNCTION authz.announce_access(authz.privileged_access_session) IS
    'Tells of a break-glass session, or of one for the whole platform: a line in the server''s log, and NOTIFY authz_break_glass or authz_broad_access with the session''s id.';
REVOKE ALL ON FUNCTION authz.announce_access(authz.privileged_access_session) FROM PUBLIC;

CREATE FUNCTION authz_request_access(
    reason text,
    tenant uuid DEFAULT NULL,
    scope_type text DEFAULT NULL,
    scope_id text DEFAULT NULL,
    includes_sensitive boolean DEFAULT false,
    ticket text DEFAULT NULL,
    duration interval DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    requested uuid;
BEGIN
    PERFORM authz.demand_writable();
    IF NOT authz.holds_access('access.request', tenant, scope_type, scope_id) THEN
        PERFORM authz.refuse_access('access.request', NULL, tenant, 'no_grant');
    END IF;
    PERFORM authz.demand_reason('access.request', tenant, 'privileged_access_session', NULL, coalesce(reason, ''), true);
    PERFORM authz.check_duration('access.request', tenant, 'privileged_access_session', NULL, duration);
    INSERT INTO authz.privileged_access_session
        (session_kind, principal_id, tenant_id, scope_type, scope_id, access_reason, ticket_reference, includes_sensitive,
         requested_at, requested_duration)
    VALUES ('support', authz.session_principal(), authz_request_access.tenant, authz_request_access.scope_type,
            authz_request_access.scope_id, reason, ticket, coalesce(authz_request_access.includes_sensitive, false),
            clock_timestamp(), duration)
    RETURNING session_id INTO requested;
    PERFORM authz.record_access('access.request', 'privileged_access_session', requested::text, tenant, 'allowed', reason);
    RETURN requested;
END
$$;
COMMENT ON FUNCTION authz_request_access(text, uuid, text, text, boolean, text, interval) IS
    'Asks for support access for the session''s principal; who holds access.request at the scope may ask. Returns the id of the privileged session, which somebody else has to approve.';
REVOKE ALL ON FUNCTION authz_request_access(text, uuid, text, text, boolean, text, interval) FROM PUBLIC;

-- Locks a privileged session for somebody who may change it. It is looked at before without a lock: a lock, and waiting
-- for one, would tell the others that the session is there. What the check goes by never changes.
CREATE FUNCTION authz.lock_access(session uuid) RETURNS authz.privileged_access_session
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM authz.privileged_access_session AS p WHERE p.session_id = session FOR UPDATE
$$;
COMMENT ON FUNCTION authz.lock_access(uuid) IS 'A privileged session as it stands, locked until the transaction ends.';
REVOKE ALL ON FUNCTION authz.lock_access(uuid) FROM PUBLIC;

-- What approval, rejection and review have in common: the row, locked, if the session's principal is another person, a
-- human, who holds the permission at the row's scope, and not by grace of a break-glass session, which gives everything.
CREATE FUNCTION authz.lock_access_of_other(session uuid, permission text) RETURNS authz.privileged_access_session
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s      authz.privileged_access_session;
    actor  uuid := authz.session_principal();
    why    text;
    locked boolean;
BEGIN
    PERFORM authz.demand_writable();
    SELECT * INTO s FROM authz.privileged_access_session AS p WHERE p.session_id = session;
    -- Whoever waited for the lock is looked at again.
    FOREACH locked IN ARRAY ARRAY[false, true] LOOP
        IF locked THEN
            s := authz.lock_access(session);
        END IF;
        why := CASE WHEN s.session_id IS NULL OR NOT authz.holds_access(permission, s.tenant_id, s.scope_type, s.scope_id) THEN 'no_grant'
                    WHEN authz.same_person(s.principal_id, actor) THEN 'own_session'
                    WHEN NOT EXISTS (SELECT FROM authz.principal AS p
                                     WHERE p.principal_id = actor AND p.principal_type = 'human') THEN 'not_human'
                    WHEN EXISTS (SELECT FROM authz.privileged_access_session AS p
                                 WHERE p.principal_id = actor AND p.session_kind = 'break_glass'
                                   AND p.active_from <= clock_timestamp() AND p.active_until > clock_timestamp()) THEN 'under_break_glass' END;
        -- In one place: the context of an error names the line.
        IF why IS NOT NULL THEN
            PERFORM authz.refuse_access(permission, session, s.tenant_id, why);
        END IF;
    END LOOP;
    RETURN s;
END
$$;
COMMENT ON FUNCTION authz.lock_access_of_other(uuid, text) IS
    'Locks a privileged session for a decision about it by the session''s principal, who must be another person and hold the permission at its scope (42501).';
REVOKE ALL ON FUNCTION authz.lock_access_of_other(uuid, text) FROM PUBLIC;

CREATE FUNCTION authz.access_state(s authz.privileged_access_session) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN s.rejected_at IS NOT NULL THEN 'rejected'
        WHEN s.ended_at <= clock_timestamp() THEN CASE WHEN s.started_at IS NULL THEN 'withdrawn' ELSE 'ended' END
        WHEN s.started_at IS NOT NULL AND s.expires_at <= clock_timestamp() THEN 'expired'
        WHEN s.started_at IS NOT NULL THEN 'running'
        WHEN s.approved_at IS NOT NULL THEN 'approved'
        ELSE 'requested'
    END
$$;
COMMENT ON FUNCTION authz.access_state(authz.privileged_access_session) IS
    'The state of a privileged session: requested, approved, rejected, withdrawn, running, ended or expired.';
-- Executable by everybody: it tells of a row that the caller has. Views call it with their reader's privileges.

CREATE FUNCTION authz.wrong_access_state(action text, s authz.privileged_access_session, wanted text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT authz.refuse(action, s.tenant_id, 'privileged_access_session', s.session_id::text, 'wrong_state', '55000',
                        format('privileged session %s cannot be %s', s.session_id, wanted),
                        format('It is %s.', authz.access_state(s)), 'Ask for a new one, where access is still needed.')
$$;
COMMENT ON FUNCTION authz.wrong_access_state(text, authz.privileged_access_session, text) IS
    'Refuses (55000) with the state that the privileged session is in.';
REVOKE ALL ON FUNCTION authz.wrong_access_state(text, authz.privileged_access_session, text) FROM PUBLIC;

CREATE FUNCTION authz_approve_access(session uuid, reason text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s authz.privileged_access_session := authz.lock_access_of_other(session, 'access.approve');
BEGIN
    PERFORM authz.demand_reason('access.approve', s.tenant_id, 'privileged_access_session', session::text, reason);
    -- A break-glass session runs before it is approved: the approval opens sensitive data to it.
    IF s.approved_by IS NOT NULL OR authz.access_state(s) <> (CASE s.session_kind WHEN 'support' THEN 'requested' ELSE 'running' END) THEN
        PERFORM authz.wrong_access_state('access.approve', s, 'approved');
    END IF;
    UPDATE authz.privileged_access_session
    SET approved_by = authz.session_principal(), approved_at = clock_timestamp()
    WHERE session_id = session;
    PERFORM authz.record_access('access.approve', 'privileged_access_session', session::text, s.tenant_id, 'allowed', reason);
    RETURN session;
END
$$;
COMMENT ON FUNCTION authz_approve_access(uuid, text) IS
    'Approves a privileged session; who holds access.approve at its scope may, and never its own principal, nor one with the same e-mail address, nor a service, nor anybody under break-glass.';
REVOKE ALL ON FUNCTION authz_approve_access(uuid, text) FROM PUBLIC;

CREATE FUNCTION authz_reject_access(session uuid, reason text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s authz.privileged_access_session := authz.lock_access_of_other(session, 'access.approve');
BEGIN
    PERFORM authz.demand_reason('access.reject', s.tenant_id, 'privileged_access_session', session::text, coalesce(reason, ''), true);
    IF authz.access_state(s) <> 'requested' THEN
        PERFORM authz.wrong_access_state('access.reject', s, 'rejected');
    END IF;
    UPDATE authz.privileged_access_session
    SET rejected_by = authz.session_principal(), rejected_at = clock_timestamp(), ended_at = clock_timestamp(),
        ended_by = authz.session_principal(), end_reason = reason
    WHERE session_id = session;
    PERFORM authz.record_access('access.reject', 'privileged_access_session', session::text, s.tenant_id, 'allowed', reason);
    RETURN session;
END
$$;
COMMENT ON FUNCTION authz_reject_access(uuid, text) IS
    'Rejects a request for privileged access, for good; who may approve it may reject it.';
REVOKE ALL ON FUNCTION authz_reject_access(uuid, text) FROM PUBLIC;

CREATE FUNCTION authz_start_privileged_session(session uuid, duration interval DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' AS $$
DECLARE
    s     authz.privileged_access_session;
    start timestamptz;
BEGIN
    PERFORM authz.demand_writable();
    SELECT * INTO s FROM authz.privileged_access_session AS p WHERE p.session_id = session;
    -- That one's own session is there, waiting for it may tell.
    IF s.principal_id = authz.session_principal() THEN
        s := authz.lock_access(session);
    END IF;
    -- Who may no longer ask may no longer start what was asked for before.
    IF s.principal_id IS NULL OR s.principal_id IS DISTINCT FROM authz.session_principal()
        OR NOT authz.holds_access('access.request', s.tenant_id, s.scope_type, s.scope_id) THEN
        PERFORM authz.refuse_access('access.start', session, s.tenant_id, 'no_grant');
    END IF;
    PERFORM authz.check_duration('access.start', s.tenant_id, 'privileged_access_session', session::text, duration);
    start := clock_timestamp();
    IF authz.access_state(s) <> 'approved' THEN
        PERFORM authz.wrong_access_state('access.start', s, 'started');
    END IF;
    IF start >= s.approved_at + authz.access_limit(s.tenant_id, 'start_window') THEN
        PERFORM authz.refuse('access.start', s.tenant_id, 'privileged_access_session', session::text, 'wrong_state', '55000',
            format('privileged session %s cannot be started any more', session),
            format('It was approved at %s, and had to be started within %s.', s.approved_at,
                   authz.access_limit(s.tenant_id, 'start_window')), 'Ask for a new one.');
    END IF;
    UPDATE authz.privileged_access_session
    SET started_at = start,
        expires_at = least(expires_at, start + duration, start + s.requested_duration,
                           start + authz.access_limit(s.tenant_id, 'max_duration'))
    WHERE session_id = session
    RETURNING * INTO s;
    PERFORM authz.record_access('access.start', 'privileged_access_session', session::text, s.tenant_id, 'allowed', s.access_reason);
    IF s.tenant_id IS NULL THEN
        PERFORM authz.announce_access(s);
    END IF;
    RETURN session;
END
$$;
COMMENT ON FUNCTION authz_start_privileged_session(uuid, interval) IS
    'Starts an approved session of one''s own, within the window after its approval, for at most the duration asked for and allowed.';
REVOKE ALL ON FUNCTION authz_start_privileged_session(uuid, interval) FROM PUBLIC;

CREATE FUNCTION authz_end_privileged_session(session uuid, reason text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s     authz.privileged_access_session;
    actor uuid := authz.session_principal();
BEGIN
    PERFORM authz.demand_writable();
    SELECT * INTO s FROM authz.privileged_access_session AS p WHERE p.session_id = session;
    IF s.principal_id IS NULL OR actor IS NULL
        OR (s.principal_id <> actor AND NOT authz.holds_access('access.approve', s.tenant_id, s.scope_type, s.scope_id)) THEN
        PERFORM authz.refuse_access('access.end', session, s.tenant_id, 'no_grant');
    END IF;
    PERFORM authz.demand_reason('access.end', s.tenant_id, 'privileged_access_session', session::text, reason);
    s := authz.lock_access(session);
    IF authz.access_state(s) NOT IN ('requested', 'approved', 'running') THEN
        PERFORM authz.wrong_access_state('access.end', s, 'ended');
    END IF;
    UPDATE authz.privileged_access_session
    SET ended_at = clock_timestamp(), ended_by = actor, end_reason = reason
    WHERE session_id = session;
    PERFORM authz.record_access('access.end', 'privileged_access_session', session::text, s.tenant_id, 'allowed', reason);
    RETURN session;
END
$$;
COMMENT ON FUNCTION authz_end_privileged_session(uuid, text) IS
    'Ends a privileged session, or withdraws the request: one''s own, or where access.approve is held at its scope.';
REVOKE ALL ON FUNCTION authz_end_privileged_session(uuid, text) FROM PUBLIC;

CREATE FUNCTION authz_break_glass(
    reason text,
    tenant uuid DEFAULT NULL,
    scope_type text DEFAULT NULL,
    scope_id text DEFAULT NULL,
    ticket text DEFAULT NULL,
    duration interval DEFAULT NULL,
    includes_sensitive boolean DEFAULT false
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' AS $$
#variable_conflict use_column
DECLARE
    actor uuid := authz.session_principal();
    s     authz.privileged_access_session;
    start timestamptz;
BEGIN
    PERFORM authz.demand_writable();
    -- A session gives everything, the permission to begin the next one as well: so there is no next one while one runs.
    IF NOT authz.holds_access('access.break_glass', tenant, scope_type, scope_id) THEN
        PERFORM authz.refuse_access('break_glass.start', NULL, tenant, 'no_grant');
    END IF;
    PERFORM authz.demand_reason('break_glass.start', tenant, 'privileged_access_session', NULL, coalesce(reason, ''), true);
    PERFORM authz.check_duration('break_glass.start', tenant, 'privileged_access_session', NULL, duration);
    -- Two at once meet here, in every isolation level.
    INSERT INTO authz.sod_lock AS l (principal_id) VALUES (actor)
    ON CONFLICT (principal_id) DO UPDATE SET changes = l.changes + 1;
    SELECT * INTO s FROM authz.privileged_access_session AS p
    WHERE p.principal_id = actor AND p.session_kind = 'break_glass'
      AND p.active_from <= clock_timestamp() AND p.active_until > clock_timestamp();
    IF FOUND THEN
        PERFORM authz.refuse('break_glass.start', tenant, 'privileged_access_session', s.session_id::text, 'wrong_state',
            '55000', 'a break-glass session is running already',
            format('It is %s, and expires at %s.', s.session_id, s.expires_at),
            'End it with authz_end_privileged_session before another one begins.');
    END IF;
    start := clock_timestamp();
    INSERT INTO authz.privileged_access_session
        (session_kind, principal_id, tenant_id, scope_type, scope_id, access_reason, ticket_reference, includes_sensitive,
         requested_at, requested_duration, started_at, expires_at)
    VALUES ('break_glass', actor, authz_break_glass.tenant, authz_break_glass.scope_type, authz_break_glass.scope_id, reason,
            ticket, coalesce(authz_break_glass.includes_sensitive, false), start, duration, start,
            least(start + duration,
                  start + authz.access_limit(authz_break_glass.tenant, 'break_glass_max_duration')))
    RETURNING * INTO s;
    PERFORM authz.record_access('break_glass.start', 'privileged_access_session', s.session_id::text, s.tenant_id, 'allowed',
                                reason);
    PERFORM authz.announce_access(s);
    RETURN s.session_id;
END
$$;
COMMENT ON FUNCTION authz_break_glass(text, uuid, text, text, text, interval, boolean) IS
    'Begins a break-glass session of the session''s principal at once, for a short time, and says so aloud: an access event, a line in the server''s log, NOTIFY authz_break_glass. Who holds access.break_glass at the scope may.';
REVOKE ALL ON FUNCTION authz_break_glass(text, uuid, text, text, text, interval, boolean) FROM PUBLIC;

CREATE FUNCTION authz_review_access(session uuid, note text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s authz.privileged_access_session := authz.lock_access_of_other(session, 'access.review');
BEGIN
    PERFORM authz.demand_reason('access.review', s.tenant_id, 'privileged_access_session', session::text, coalesce(note, ''), true);
    IF s.started_at IS NULL OR s.reviewed_at IS NOT NULL OR authz.access_state(s) NOT IN ('ended', 'expired') THEN
        PERFORM authz.wrong_access_state('access.review', s, 'reviewed');
    END IF;
    UPDATE authz.privileged_access_session
    SET reviewed_by = authz.session_principal(), reviewed_at = clock_timestamp(), review_note = note
    WHERE session_id = session;
    PERFORM authz.record_access('access.review', 'privileged_access_session', session::text, s.tenant_id, 'allowed', note);
    RETURN session;
END
$$;
COMMENT ON FUNCTION authz_review_access(uuid, text) IS
    'Notes the review of a privileged session that is over; who holds access.review at its scope may, never its own principal.';
REVOKE ALL ON FUNCTION authz_review_access(uuid, text) FROM PUBLIC;
