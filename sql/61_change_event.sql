-- Change events: every change of an authority table, by whatever way it is made, leaves what was there before, what is
-- there now, who did it, why and when.
--
-- Statement triggers with transition tables: one INSERT for a statement, so that bulk loads stay fast. ENABLE ALWAYS,
-- so that session_replication_role = replica does not switch them off. A worker of logical replication applies rows
-- without statements; where its subscription carries this table as well, the publisher's own events arrive beside the
-- changes, and nothing is to be done. Where it does not, a row trigger writes the event here (ENABLE REPLICA, so that
-- it costs nothing in ordinary sessions).
--
-- A change to a state that the last event of the same row already records is not recorded again. So a dump, which
-- contains the events and restores them before the tables that they are about, is restored without new ones.

-- authz_principal() and authz_tenant() as they are now: resolved here and never again. Whoever may create functions in the
-- extension's schema could plant others that make a call of these ambiguous, and then nothing could be revoked any more.
CREATE FUNCTION authz.session_principal() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
RETURN @extschema@.authz_principal();
COMMENT ON FUNCTION authz.session_principal() IS 'authz_principal(), for the functions of this schema.';
CREATE FUNCTION authz.session_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
RETURN @extschema@.authz_tenant();
COMMENT ON FUNCTION authz.session_tenant() IS 'authz_tenant(), for the functions of this schema.';
REVOKE ALL ON FUNCTION authz.session_principal(), authz.session_tenant() FROM PUBLIC;

CREATE TABLE authz.access_change_event (
    event_id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid GENERATED ALWAYS AS (coalesce(after_value ->> 'tenant_id', before_value ->> 'tenant_id')::uuid) STORED,
    actor_id uuid,
    target_principal_id uuid GENERATED ALWAYS AS (
        coalesce(after_value ->> 'principal_id', after_value ->> 'grantee_principal_id', after_value ->> 'user_id',
                 before_value ->> 'principal_id', before_value ->> 'grantee_principal_id', before_value ->> 'user_id'
                )::uuid) STORED,
    change_type text COLLATE "C" NOT NULL,
    scope_type text COLLATE "C" GENERATED ALWAYS AS (
        CASE WHEN coalesce(after_value, before_value) ->> 'scope_type' IS NOT NULL
                 THEN coalesce(after_value, before_value) ->> 'scope_type'
             WHEN coalesce(after_value, before_value) ? 'resource_id'
                 THEN coalesce(after_value, before_value) ->> 'resource_type'
             WHEN coalesce(after_value, before_value) ? 'team_id' THEN 'team'
             WHEN coalesce(after_value, before_value) ? 'project_id' THEN 'project'
             WHEN coalesce(after_value, before_value) ? 'organization_id' THEN 'organization'
             WHEN coalesce(after_value, before_value) ->> 'tenant_id' IS NOT NULL THEN 'tenant'
             ELSE 'platform'
        END) STORED,
    scope_id text COLLATE "C" GENERATED ALWAYS AS (
        CASE WHEN coalesce(after_value, before_value) ->> 'scope_type' IS NOT NULL
                 THEN coalesce(after_value, before_value) ->> 'scope_id'
             WHEN coalesce(after_value, before_value) ? 'resource_id'
                 THEN coalesce(after_value, before_value) ->> 'resource_id'
             WHEN coalesce(after_value, before_value) ? 'team_id' THEN coalesce(after_value, before_value) ->> 'team_id'
             WHEN coalesce(after_value, before_value) ? 'project_id'
                 THEN coalesce(after_value, before_value) ->> 'project_id'
             WHEN coalesce(after_value, before_value) ? 'organization_id'
                 THEN coalesce(after_value, before_value) ->> 'organization_id'
             ELSE coalesce(after_value, before_value) ->> 'tenant_id'
        END) STORED,
    before_value jsonb,
    after_value jsonb,
    reason text,
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    table_name text COLLATE "C" NOT NULL,
    row_key text COLLATE "C" NOT NULL,
    db_role name NOT NULL DEFAULT session_user,
    cluster_id bigint NOT NULL DEFAULT authz.cluster_id(),
    xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT access_change_event_pkey PRIMARY KEY (event_id),
    CONSTRAINT access_change_event_change_type_check
        CHECK (change_type IN ('insert', 'update', 'close', 'delete', 'truncate', 'transfer'))
);
CREATE INDEX access_change_event_row_idx ON authz.access_change_event (table_name, row_key, occurred_at);
CREATE INDEX access_change_event_xact_idx ON authz.access_change_event (cluster_id, xact, event_id);
CREATE INDEX access_change_event_tenant_idx ON authz.access_change_event (tenant_id, occurred_at);
CREATE INDEX access_change_event_target_idx ON authz.access_change_event (target_principal_id, occurred_at)
    WHERE target_principal_id IS NOT NULL;
CREATE INDEX access_change_event_actor_idx ON authz.access_change_event (actor_id, occurred_at) WHERE actor_id IS NOT NULL;
COMMENT ON TABLE authz.access_change_event IS
    'Every change of authority: what was before, what is now, who, why and when. Written by triggers; append-only.';
COMMENT ON COLUMN authz.access_change_event.event_id IS 'Key.';
COMMENT ON COLUMN authz.access_change_event.tenant_id IS 'The tenant of the changed row; NULL: it belongs to the platform.';
COMMENT ON COLUMN authz.access_change_event.actor_id IS
    'The session''s principal; NULL: there was no session, so db_role made the change by hand.';
COMMENT ON COLUMN authz.access_change_event.target_principal_id IS 'The principal whose authority it is; NULL: not one alone.';
COMMENT ON COLUMN authz.access_change_event.change_type IS
    'insert, update, close (an update that ends validity earlier), delete, truncate, or transfer (of ownership).';
COMMENT ON COLUMN authz.access_change_event.scope_type IS 'Kind of the scope or resource that it is about.';
COMMENT ON COLUMN authz.access_change_event.scope_id IS 'Its key; NULL at platform scope, and for every resource of a type.';
COMMENT ON COLUMN authz.access_change_event.before_value IS 'The row before, without its secrets; NULL: there was none.';
COMMENT ON COLUMN authz.access_change_event.after_value IS 'The row after, without its secrets; NULL: there is none.';
COMMENT ON COLUMN authz.access_change_event.reason IS 'The row''s own reason, or the setting authz.change_reason; NULL: none given.';
COMMENT ON COLUMN authz.access_change_event.occurred_at IS 'When, by the clock.';
COMMENT ON COLUMN authz.access_change_event.table_name IS
    'The table of schema authz; with its schema if it is another one.';
COMMENT ON COLUMN authz.access_change_event.row_key IS 'Primary key of the changed row, its columns separated by a space.';
COMMENT ON COLUMN authz.access_change_event.db_role IS 'The role that logged in.';
COMMENT ON COLUMN authz.access_change_event.cluster_id IS 'The cluster that xact was counted in.';
COMMENT ON COLUMN authz.access_change_event.xact IS
    'The transaction that wrote the event. Sealing goes by it: what ended transactions have written cannot become more.';

CREATE TRIGGER guard_change BEFORE UPDATE OR DELETE ON authz.access_change_event
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_change();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.access_change_event
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_change();
ALTER TABLE authz.access_change_event ENABLE ALWAYS TRIGGER guard_change;
ALTER TABLE authz.access_change_event ENABLE ALWAYS TRIGGER guard_truncate;
SELECT pg_catalog.pg_extension_config_dump('authz.access_change_event'::pg_catalog.regclass, '');

-- Does this worker's subscription carry the events themselves?
CREATE FUNCTION authz.events_arrive() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM pg_stat_get_subscription(NULL) AS w JOIN pg_subscription_rel AS r ON r.srsubid = w.subid
        WHERE w.pid = pg_backend_pid() AND r.srrelid = 'authz.access_change_event'::regclass)
$$;
COMMENT ON FUNCTION authz.events_arrive() IS
    'In a worker of logical replication: does its subscription carry the change events as well as the changes?';
REVOKE ALL ON FUNCTION authz.events_arrive() FROM PUBLIC;

-- Why, as far as the session says; a blank reason is none.
CREATE FUNCTION authz.change_reason() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN NOT authz.is_blank(r) THEN r END FROM current_setting('authz.change_reason', true) AS r
$$;
COMMENT ON FUNCTION authz.change_reason() IS 'The setting authz.change_reason; NULL where it is blank.';
REVOKE ALL ON FUNCTION authz.change_reason() FROM PUBLIC;

CREATE FUNCTION authz.redact(value jsonb, secrets text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT value || coalesce(jsonb_object_agg(s, '[redacted]'), '{}')
    FROM unnest(secrets) AS s WHERE value ->> s IS NOT NULL
$$;
COMMENT ON FUNCTION authz.redact(jsonb, text[]) IS 'A row as JSON with its secrets replaced.';
REVOKE ALL ON FUNCTION authz.redact(jsonb, text[]) FROM PUBLIC;

-- The functions below are inlined into the statements of the trigger, one statement for all rows, so they have no SET
-- clauses: what their bodies name is resolved here.
CREATE FUNCTION authz.row_key(value jsonb, keys text[]) RETURNS text LANGUAGE sql STABLE
RETURN concat_ws(' ', value ->> keys[1], value ->> keys[2], value ->> keys[3], value ->> keys[4]);
COMMENT ON FUNCTION authz.row_key(jsonb, text[]) IS 'The primary key of a row, its columns (at most four) separated by a space.';

-- A row that was there before, after, or both.
CREATE FUNCTION authz.change_of(
    changed_table text, keys text[], secrets text[], quiet text[], before jsonb, after jsonb, why text
) RETURNS TABLE (change_type text, before_value jsonb, after_value jsonb, reason text, row_key text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT CASE WHEN c.before IS NULL THEN 'insert' WHEN c.after IS NULL THEN 'delete'
                WHEN (c.after ->> 'active_until')::timestamptz < (c.before ->> 'active_until')::timestamptz THEN 'close'
                ELSE 'update' END,
           c.before, c.after,
           -- Why a row was made is not why it was changed.
           CASE WHEN c.own_reason = coalesce(c.before ->> 'reason', c.before ->> 'access_reason') THEN why
                ELSE coalesce(c.own_reason, why) END,
           c.key
    FROM (SELECT CASE WHEN secrets = '{}' THEN before ELSE authz.redact(before, secrets) END AS before,
                 CASE WHEN secrets = '{}' THEN after ELSE authz.redact(after, secrets) END AS after,
                 coalesce(after ->> 'reason', after ->> 'access_reason') AS own_reason,
                 authz.row_key(coalesce(after, before), keys) AS key
          WHERE (CASE WHEN quiet = '{}' THEN before = after ELSE before - quiet = after - quiet END) IS NOT TRUE
          OFFSET 0) AS c
    WHERE c.after IS NULL
       OR (SELECT CASE WHEN quiet = '{}' THEN e.after_value ELSE e.after_value - quiet END
           FROM authz.access_change_event AS e
           WHERE e.table_name = changed_table AND e.row_key = c.key
           ORDER BY e.occurred_at DESC LIMIT 1)
          IS DISTINCT FROM (CASE WHEN quiet = '{}' THEN c.after ELSE c.after - quiet END)
       -- A new secret looks like the old one.
       OR c.before = c.after
       -- The clock has gone back, and the last event is not the last. (Not EXISTS, for which all events would be hashed.)
       OR (SELECT true FROM authz.access_change_event AS e
           WHERE e.table_name = changed_table AND e.row_key = c.key AND e.after_value = c.before LIMIT 1);
END;
COMMENT ON FUNCTION authz.change_of(text, text[], text[], text[], jsonb, jsonb, text) IS
    'The change event of one changed row; none where nothing but quiet columns has changed, or where the row''s last event records that state already.';
REVOKE ALL ON FUNCTION authz.row_key(jsonb, text[]), authz.change_of(text, text[], text[], text[], jsonb, jsonb, text)
    FROM PUBLIC;

-- Arguments: the columns of the primary key, secret columns, and columns that are no authority (an UPDATE of which
-- alone is no event). Time zone UTC, so that a row is the same text for everybody. By index
-- whatever the statistics say: a bulk load into an empty table would go on with the plan for an empty one. OFFSET 0 makes
-- a row into JSON once, not wherever it is used.
CREATE FUNCTION authz.record_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC'
SET enable_seqscan = off AS $$
DECLARE
    keys    CONSTANT text[] := TG_ARGV[0];
    secrets CONSTANT text[] := TG_ARGV[1];
    quiet   CONSTANT text[] := TG_ARGV[2];
    actor   uuid;
    why     text;
BEGIN
    IF TG_LEVEL = 'ROW' THEN
        -- ENABLE REPLICA: a session in which statement triggers have done it, or a worker.
        IF NOT authz.in_logical_worker() OR authz.events_arrive() THEN
            RETURN NULL;
        END IF;
    ELSIF authz.in_logical_worker() AND (TG_OP <> 'TRUNCATE' OR authz.events_arrive()) THEN
        RETURN NULL;
    ELSE
        actor := authz.session_principal();
        why := authz.change_reason();
    END IF;

    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO authz.access_change_event (actor_id, change_type, reason, table_name, row_key)
        VALUES (actor, 'truncate', why, TG_TABLE_NAME, '');
    ELSIF TG_LEVEL = 'ROW' THEN
        -- Who and why is not known.
        INSERT INTO authz.access_change_event (change_type, before_value, after_value, reason, table_name, row_key)
        SELECT c.change_type, c.before_value, c.after_value, c.reason, TG_TABLE_NAME, c.row_key
        FROM authz.change_of(
            TG_TABLE_NAME, keys, secrets, quiet, CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
            CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END, NULL) AS c;
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO authz.access_change_event (actor_id, change_type, before_value, after_value, reason, table_name, row_key)
        SELECT actor, c.change_type, c.before_value, c.after_value, c.reason, TG_TABLE_NAME, c.row_key
        FROM (SELECT to_jsonb(r) AS j FROM new_rows AS r OFFSET 0) AS n
        CROSS JOIN authz.change_of(TG_TABLE_NAME, keys, secrets, quiet, NULL, n.j, why) AS c;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO authz.access_change_event (actor_id, change_type, before_value, after_value, reason, table_name, row_key)
        SELECT actor, c.change_type, c.before_value, c.after_value, c.reason, TG_TABLE_NAME, c.row_key
        FROM (SELECT to_jsonb(r) AS j FROM old_rows AS r OFFSET 0) AS o
        CROSS JOIN authz.change_of(TG_TABLE_NAME, keys, secrets, quiet, o.j, NULL, why) AS c;
    ELSE
        INSERT INTO authz.access_change_event (actor_id, change_type, before_value, after_value, reason, table_name, row_key)
        SELECT actor, c.change_type, c.before_value, c.after_value, c.reason, TG_TABLE_NAME, c.row_key
        FROM (SELECT o.j AS before, n.j AS after
              FROM (SELECT to_jsonb(r) AS j FROM old_rows AS r OFFSET 0) AS o
              FULL JOIN (SELECT to_jsonb(r) AS j FROM new_rows AS r OFFSET 0) AS n
                ON authz.row_key(n.j, keys) = authz.row_key(o.j, keys) OFFSET 0) AS u
        CROSS JOIN authz.change_of(TG_TABLE_NAME, keys, secrets, quiet, u.before, u.after, why) AS c;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION authz.record_change() IS
    'Trigger: writes the access_change_event of each changed row; arguments: key columns, secret columns, columns that are no authority.';
REVOKE ALL ON FUNCTION authz.record_change() FROM PUBLIC;

-- Attaches the triggers to a table of schema authz.
CREATE FUNCTION authz.track_changes(target regclass, secrets text[] DEFAULT '{}', quiet text[] DEFAULT '{}') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keys text[];
    t    record;
BEGIN
    SELECT array_agg(a.attname::text ORDER BY k.n) INTO STRICT keys
    FROM pg_index AS i
    CROSS JOIN unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, n)
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE i.indrelid = target AND i.indisprimary;
    IF cardinality(keys) > 4 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'program_limit_exceeded',
            MESSAGE = format('%s has a primary key of more than four columns', target),
            HINT = 'authz.row_key knows four.';
    END IF;
    FOR t IN
        SELECT * FROM (VALUES
            ('record_insert', 'INSERT', 'REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT', 'ALWAYS'),
            ('record_update', 'UPDATE', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT', 'ALWAYS'),
            ('record_delete', 'DELETE', 'REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT', 'ALWAYS'),
            ('record_truncate', 'TRUNCATE', 'FOR EACH STATEMENT', 'ALWAYS'),
            ('record_replicated', 'INSERT OR UPDATE OR DELETE', 'FOR EACH ROW', 'REPLICA')
        ) AS t (name, event, how, mode)
    LOOP
        EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s %s EXECUTE FUNCTION authz.record_change(%L, %L, %L)',
                       t.name, t.event, target, t.how, keys, secrets, quiet);
        EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %I', target, t.mode, t.name);
    END LOOP;
END
$$;
COMMENT ON FUNCTION authz.track_changes(regclass, text[], text[]) IS
    'Attaches the triggers that write change events; secrets: columns to redact; quiet: columns that are no authority.';
REVOKE ALL ON FUNCTION authz.track_changes(regclass, text[], text[]) FROM PUBLIC;

-- The authority tables are those whose changes are announced (60_channel.sql), and the keys that sessions are believed by.
SELECT authz.track_changes(t.tgrelid)
FROM pg_catalog.pg_trigger AS t
WHERE t.tgname = 'invalidate' AND t.tgrelid <> 'authz.account_security'::pg_catalog.regclass;
SELECT authz.track_changes('authz.account_security', '{password_hash,mfa_secret_encrypted}',
                           '{failed_login_attempts,last_login_at}');
SELECT authz.track_changes('authz.signing_key', '{secret}');
