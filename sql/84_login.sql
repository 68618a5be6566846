-- Logging in: lock-out after failures, the profile at the first log-in, own rows of profiles, and the secrets of accounts.
-- What authenticates people calls the functions here; they are executable by nobody until they are granted.

CREATE FUNCTION authz_record_login(principal uuid, succeeded boolean) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' AS $$
#variable_conflict use_variable
DECLARE
    p        authz.principal;
    failures integer;
    most     integer;
    locks    integer;
    at       timestamptz;
BEGIN
    PERFORM authz.demand_writable();
    IF succeeded IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'succeeded must be true or false',
            HINT = 'Pass what came out of checking the credentials.';
    END IF;
    -- Attempts at one account wait for each other here, so that each is counted and none slips in beside a lock.
    SELECT * INTO p FROM authz.principal AS q WHERE q.principal_id = principal FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'no log-in for this principal',
            HINT = 'Create it with authz_upsert_profile at the first log-in.';
    END IF;
    at := clock_timestamp();
    -- Settings are defined once the library is loaded, which any of its functions does.
    PERFORM authz.session_principal();
    most := current_setting('authz.login_max_failures')::integer;
    IF succeeded AND p.status = 'active' AND authz.lock_of(principal) <= at THEN
        INSERT INTO authz.account_security AS a (principal_id, failed_login_attempts, last_login_at)
        VALUES (principal, 0, at)
        ON CONFLICT (principal_id) DO UPDATE SET failed_login_attempts = 0, last_login_at = at;
    ELSIF NOT succeeded THEN
        INSERT INTO authz.account_security AS a (principal_id, failed_login_attempts)
        VALUES (principal, 1)
        ON CONFLICT (principal_id) DO UPDATE SET failed_login_attempts = least(a.failed_login_attempts, 2147483646) + 1
        RETURNING a.failed_login_attempts INTO failures;
        -- Each time that so many failures have come together again, a lock twice as long as the last one.
        IF most > 0 AND failures % most = 0 THEN
            locks := least(failures / most, 20);
            UPDATE authz.principal AS q
            SET locked_until = greatest(q.locked_until, at + least(
                current_setting('authz.login_lock_duration')::interval * (2 ^ (locks - 1)),
                current_setting('authz.login_lock_max_duration')::interval))
            WHERE q.principal_id = principal;
        END IF;
    END IF;
    PERFORM authz.record_access('login', 'principal', principal::text, NULL,
                                CASE WHEN succeeded AND p.status = 'active' AND authz.lock_of(principal) <= at
                                     THEN 'allowed' ELSE 'denied' END,
                                CASE WHEN succeeded THEN NULL ELSE 'credentials' END, '{}', principal);
    RETURN CASE WHEN p.status = 'active' AND authz.lock_of(principal) > at THEN 'locked' ELSE p.status END;
END
$$;
COMMENT ON FUNCTION authz_record_login(uuid, boolean) IS
    'Notes an attempt to log in and returns the principal''s status after it: active, locked (also by too many failures), suspended, disabled or deleted. Only active may go in, also after the right password.';
REVOKE ALL ON FUNCTION authz_record_login(uuid, boolean) FROM PUBLIC;

CREATE FUNCTION authz.lock_of(principal uuid) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT greatest(p.locked_until, a.locked_until, '-infinity')
    FROM authz.principal AS p LEFT JOIN authz.account_security AS a USING (principal_id)
    WHERE p.principal_id = principal
$$;
COMMENT ON FUNCTION authz.lock_of(uuid) IS 'Until when a principal is locked, by either lock; -infinity: not at all.';
REVOKE ALL ON FUNCTION authz.lock_of(uuid) FROM PUBLIC;

CREATE FUNCTION authz_unlock_login(principal uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    PERFORM authz.demand_writable();
    IF NOT authz.holds_access('principal.manage', NULL, NULL, NULL) OR authz.session_principal() = principal THEN
        PERFORM authz.record_denial('principal.unlock', 'principal', principal::text, NULL, 'denied', 'no_grant');
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'permission denied: principal.unlock',
            DETAIL = 'The session''s principal does not hold principal.manage at the platform, or would unlock itself.',
            HINT = 'Ask somebody who manages principals, or wait for the lock to end.';
    END IF;
    UPDATE authz.principal AS p SET locked_until = NULL WHERE p.principal_id = principal AND p.locked_until IS NOT NULL;
    UPDATE authz.account_security AS a SET failed_login_attempts = 0, locked_until = NULL WHERE a.principal_id = principal;
    PERFORM authz.record_access('principal.unlock', 'principal', principal::text, NULL, 'allowed');
    RETURN (SELECT p.status FROM authz.principal AS p WHERE p.principal_id = principal);
END
$$;
COMMENT ON FUNCTION authz_unlock_login(uuid) IS
    'Lifts a principal''s lock and forgets its failed attempts; who holds principal.manage at the platform may, for others. Returns its status.';
REVOKE ALL ON FUNCTION authz_unlock_login(uuid) FROM PUBLIC;

-- The first log-in makes principal and profile, a later one brings them up to date. Two first log-ins at once: one waits
-- for the other at the primary key. What is NULL stays as it is. Nothing is written where nothing changes.
CREATE FUNCTION authz_upsert_profile(
    user_id uuid,
    email text,
    full_name text DEFAULT NULL,
    phone text DEFAULT NULL,
    avatar_file_id uuid DEFAULT NULL,
    metadata jsonb DEFAULT NULL,
    external_id text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    known authz.principal;
BEGIN
    PERFORM authz.demand_writable();
    INSERT INTO authz.principal (principal_id, principal_type, external_id, email, display_name)
    VALUES (user_id, 'human', external_id, email, full_name)
    ON CONFLICT DO NOTHING;
    SELECT * INTO known FROM authz.principal AS p WHERE p.principal_id = user_id;
    IF NOT FOUND AND EXISTS (SELECT FROM authz.principal AS p WHERE p.external_id = external_id) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'unique_violation',
            MESSAGE = 'the external id belongs to another principal',
            HINT = 'One identity at the authentication provider is one principal.',
            SCHEMA = 'authz', TABLE = 'principal', CONSTRAINT = 'principal_external_id_key';
    ELSIF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'serialization_failure',
            MESSAGE = 'could not make the profile due to a concurrent log-in',
            HINT = 'Try the transaction again.';
    END IF;
    IF known.principal_type <> 'human' OR known.status = 'deleted' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('principal %s has no profile', user_id),
            DETAIL = format('It is %s, of type %s.', known.status, known.principal_type),
            HINT = 'Profiles are for people who are not deleted.';
    END IF;
    IF external_id <> known.external_id THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('principal %s has another external id', user_id),
            HINT = 'Another identity at the authentication provider is another principal.';
    END IF;
    UPDATE authz.principal AS p
    SET email = coalesce(email, p.email), display_name = coalesce(full_name, p.display_name),
        external_id = coalesce(p.external_id, external_id)
    WHERE p.principal_id = user_id
      AND (p.email, p.display_name, p.external_id)
          IS DISTINCT FROM (coalesce(email, p.email), coalesce(full_name, p.display_name), coalesce(p.external_id, external_id));
    INSERT INTO authz.profile AS f (user_id, email, full_name, phone, avatar_file_id, metadata)
    VALUES (user_id, coalesce(email, known.email), full_name, phone, avatar_file_id, coalesce(metadata, '{}'))
    ON CONFLICT ON CONSTRAINT profile_pkey DO UPDATE
    SET email = coalesce(email, f.email), full_name = coalesce(full_name, f.full_name), phone = coalesce(phone, f.phone),
        avatar_file_id = coalesce(avatar_file_id, f.avatar_file_id), metadata = coalesce(metadata, f.metadata)
    WHERE (f.email, f.full_name, f.phone, f.avatar_file_id, f.metadata)
          IS DISTINCT FROM (coalesce(email, f.email), coalesce(full_name, f.full_name), coalesce(phone, f.phone),
                            coalesce(avatar_file_id, f.avatar_file_id), coalesce(metadata, f.metadata));
    RETURN user_id;
END
$$;
COMMENT ON FUNCTION authz_upsert_profile(uuid, text, text, text, uuid, jsonb, text) IS
    'Makes principal and profile at the first log-in, and brings them up to date at a later one; safe to repeat, and when two run at once. What is NULL stays as it is.';
REVOKE ALL ON FUNCTION authz_upsert_profile(uuid, text, text, text, uuid, jsonb, text) FROM PUBLIC;

-- Own rows. A role that is granted SELECT or UPDATE on the table sees and changes the profile of the session's principal.
-- There is no policy for INSERT: authz_upsert_profile makes profiles.
ALTER TABLE authz.profile ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_select ON authz.profile FOR SELECT
    USING (user_id OPERATOR(pg_catalog.=) @extschema@.authz_principal());
COMMENT ON POLICY own_select ON authz.profile IS 'Whom the session is for sees its own profile.';
CREATE POLICY own_update ON authz.profile FOR UPDATE
    USING (user_id OPERATOR(pg_catalog.=) @extschema@.authz_principal())
    WITH CHECK (user_id OPERATOR(pg_catalog.=) @extschema@.authz_principal());
COMMENT ON POLICY own_update ON authz.profile IS 'Whom the session is for changes its own profile.';

-- A privilege on the column would not hold where UPDATE is granted on the whole table.
CREATE FUNCTION authz.guard_profile() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.user_id <> OLD.user_id THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'a profile belongs to its principal for good',
            HINT = 'Make another profile.';
    END IF;
    IF NEW.is_super_admin <> OLD.is_super_admin AND @extschema@.authz_principal() = NEW.user_id THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'is_super_admin cannot be set by its own user',
            HINT = 'It mirrors a platform role: assign that, and let whoever mirrors it set the flag.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.guard_profile() IS
    'Trigger: refuses to move a profile to another principal, and is_super_admin set by its own user.';
REVOKE ALL ON FUNCTION authz.guard_profile() FROM PUBLIC;
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.profile
    FOR EACH ROW EXECUTE FUNCTION authz.guard_profile();

-- Without a policy a role sees nothing here even if it was granted SELECT on the table, or pg_read_all_data: the secrets
-- leave through the function below.
ALTER TABLE authz.account_security ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION authz_account_secrets(principal uuid)
RETURNS TABLE (password_hash text, mfa_enabled boolean, mfa_secret_encrypted bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    usable boolean := EXISTS (SELECT FROM authz.principal AS p
                              WHERE p.principal_id = authz_account_secrets.principal AND p.status = 'active')
                      AND authz.lock_of(authz_account_secrets.principal) <= clock_timestamp();
BEGIN
    PERFORM authz.record_access('account.read_secrets', 'principal', authz_account_secrets.principal::text, NULL,
                                CASE WHEN usable THEN 'allowed' ELSE 'denied' END, NULL, '{}',
                                authz_account_secrets.principal);
    RETURN QUERY
        SELECT a.password_hash, a.mfa_enabled, a.mfa_secret_encrypted
        FROM authz.account_security AS a
        WHERE a.principal_id = authz_account_secrets.principal AND usable;
END
$$;
COMMENT ON FUNCTION authz_account_secrets(uuid) IS
    'What a log-in is checked by; no row where the principal is locked or not active. For whoever authenticates, and recorded.';
REVOKE ALL ON FUNCTION authz_account_secrets(uuid) FROM PUBLIC;

CREATE FUNCTION authz_set_account_secrets(
    principal uuid,
    password_hash text DEFAULT NULL,
    mfa_secret_encrypted bytea DEFAULT NULL,
    mfa_enabled boolean DEFAULT NULL,
    email_verified boolean DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    PERFORM authz.demand_arguments('account.change_secrets', 'principal', principal::text);
    IF NOT EXISTS (SELECT FROM authz.principal AS p WHERE p.principal_id = principal) THEN
        PERFORM authz.refuse('account.change_secrets', NULL::uuid, 'principal', principal::text, 'unknown_principal', '42704',
            format('principal %s does not exist', principal), 'It is not in authz.principal.',
            'Create it with authz_upsert_profile at the first log-in.');
    END IF;
    INSERT INTO authz.account_security AS a
        (principal_id, password_hash, mfa_secret_encrypted, mfa_enabled, email_verified, password_changed_at)
    VALUES (principal, password_hash, mfa_secret_encrypted, coalesce(mfa_enabled, false), coalesce(email_verified, false),
            CASE WHEN password_hash IS NOT NULL THEN clock_timestamp() END)
    ON CONFLICT (principal_id) DO UPDATE
    SET password_hash = coalesce(password_hash, a.password_hash),
        mfa_secret_encrypted = coalesce(mfa_secret_encrypted, a.mfa_secret_encrypted),
        mfa_enabled = coalesce(mfa_enabled, a.mfa_enabled),
        email_verified = coalesce(email_verified, a.email_verified),
        password_changed_at = CASE WHEN password_hash IS NULL THEN a.password_changed_at ELSE clock_timestamp() END;
    PERFORM authz.record_access('account.change_secrets', 'principal', principal::text, NULL, 'allowed', NULL, '{}', principal);
END
$$;
COMMENT ON FUNCTION authz_set_account_secrets(uuid, text, bytea, boolean, boolean) IS
    'Sets what a log-in is checked by; what is NULL stays as it is. For whoever authenticates, and recorded.';
REVOKE ALL ON FUNCTION authz_set_account_secrets(uuid, text, bytea, boolean, boolean) FROM PUBLIC;
