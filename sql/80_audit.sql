-- Access events: who did, or was refused, what to which resource. Append-only, partitioned by month.
--
-- The partitioned table itself has no indexes: each partition has its own, made by authz.finish_audit_partition. With
-- indexes on the parent, a restored dump would fail: the parent comes with the extension, so that attaching a restored
-- partition would build indexes which the dump then builds again under the same names. Partitions of months are
-- ordinary tables and are dumped as such; the default partition belongs to the extension, and its rows are dumped.

CREATE TABLE authz.access_audit_event (
    audit_id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid,
    principal_id uuid,
    action_code text COLLATE "C" NOT NULL,
    resource_type text COLLATE "C",
    resource_id text COLLATE "C",
    access_result text COLLATE "C" NOT NULL,
    policy_reason text COLLATE "C",
    request_id text,
    support_session_id uuid,
    source_ip inet,
    user_agent text,
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    context jsonb NOT NULL DEFAULT '{}',
    asked_by uuid,
    db_role name NOT NULL DEFAULT session_user,
    cluster_id bigint NOT NULL DEFAULT authz.cluster_id(),
    xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT access_audit_event_action_code_check CHECK (action_code <> ''),
    CONSTRAINT access_audit_event_access_result_check CHECK (access_result IN ('allowed', 'denied')),
    CONSTRAINT access_audit_event_occurred_at_check CHECK (isfinite(occurred_at))
) PARTITION BY RANGE (occurred_at);
COMMENT ON TABLE authz.access_audit_event IS
    'Who did, or was refused, what to which resource, when, and in which request. Append-only; a partition for each month (UTC).';
COMMENT ON COLUMN authz.access_audit_event.audit_id IS 'Key, within its month.';
COMMENT ON COLUMN authz.access_audit_event.tenant_id IS 'The resource''s tenant, or the one that was named; NULL: none.';
COMMENT ON COLUMN authz.access_audit_event.principal_id IS 'Who did it, or whose permission was asked about.';
COMMENT ON COLUMN authz.access_audit_event.action_code IS 'The permission that was asked for, or another name of what was done.';
COMMENT ON COLUMN authz.access_audit_event.resource_type IS 'The resource''s type.';
COMMENT ON COLUMN authz.access_audit_event.resource_id IS 'Canonical text of the resource''s key.';
COMMENT ON COLUMN authz.access_audit_event.access_result IS 'allowed or denied.';
COMMENT ON COLUMN authz.access_audit_event.policy_reason IS 'Reason code of a denial.';
COMMENT ON COLUMN authz.access_audit_event.request_id IS 'From the context: the application''s request.';
COMMENT ON COLUMN authz.access_audit_event.support_session_id IS
    'The privileged session that was in force for the resource, or for the principal where no tenant is named; NULL: none.';
COMMENT ON COLUMN authz.access_audit_event.source_ip IS 'From the context: where the request came from.';
COMMENT ON COLUMN authz.access_audit_event.user_agent IS 'From the context: what the request was made with.';
COMMENT ON COLUMN authz.access_audit_event.occurred_at IS 'When it happened.';
COMMENT ON COLUMN authz.access_audit_event.context IS 'What was said of the request, as the decision saw it.';
COMMENT ON COLUMN authz.access_audit_event.asked_by IS
    'The session''s principal, which may have asked about somebody else; NULL: there was no session.';
COMMENT ON COLUMN authz.access_audit_event.db_role IS 'The role that logged in.';
COMMENT ON COLUMN authz.access_audit_event.cluster_id IS 'The cluster that xact was counted in.';
COMMENT ON COLUMN authz.access_audit_event.xact IS
    'The transaction that wrote the event. Sealing goes by it: what ended transactions have written cannot become more.';

-- Row triggers of a partitioned table are cloned into each partition, those of statements are not.
CREATE TRIGGER guard_change BEFORE UPDATE OR DELETE ON authz.access_audit_event
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_change();
ALTER TABLE authz.access_audit_event ENABLE ALWAYS TRIGGER guard_change;
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.access_audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_change();
ALTER TABLE authz.access_audit_event ENABLE ALWAYS TRIGGER guard_truncate;

CREATE FUNCTION authz.finish_audit_partition(target regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name name := (SELECT c.relname FROM pg_class AS c WHERE c.oid = target);
BEGIN
    EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I PRIMARY KEY (audit_id)', target, name || '_pkey');
    EXECUTE format('CREATE INDEX %I ON %s (principal_id, occurred_at)', name || '_principal_idx', target);
    EXECUTE format('CREATE INDEX %I ON %s (asked_by, occurred_at) WHERE asked_by <> principal_id',
                   name || '_asked_by_idx', target);
    EXECUTE format('CREATE INDEX %I ON %s (tenant_id, occurred_at)', name || '_tenant_idx', target);
    EXECUTE format('CREATE INDEX %I ON %s (resource_id, resource_type, occurred_at)', name || '_resource_idx', target);
    EXECUTE format('CREATE INDEX %I ON %s (occurred_at) WHERE access_result = %L', name || '_denied_idx', target, 'denied');
    EXECUTE format('CREATE INDEX %I ON %s (cluster_id, xact, audit_id)', name || '_xact_idx', target);
    EXECUTE format('CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON %s
                        FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_change()', target);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER guard_truncate', target);
END
$$;
COMMENT ON FUNCTION authz.finish_audit_partition(regclass) IS
    'Makes the indexes and the TRUNCATE guard of a partition of authz.access_audit_event.';
REVOKE ALL ON FUNCTION authz.finish_audit_partition(regclass) FROM PUBLIC;

-- Where events of a month go that nobody has prepared: an insert never fails for want of a partition.
CREATE TABLE authz.access_audit_event_default PARTITION OF authz.access_audit_event DEFAULT;
SELECT authz.finish_audit_partition('authz.access_audit_event_default');
COMMENT ON TABLE authz.access_audit_event_default IS
    'Access events of months without a partition of their own, until authz.prepare_audit_partitions makes it.';
DO $$
DECLARE
    c record;
BEGIN
    FOR c IN
        SELECT a.attname, pg_catalog.col_description(a.attrelid, a.attnum) AS about
        FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = 'authz.access_audit_event'::pg_catalog.regclass AND a.attnum > 0
    LOOP
        EXECUTE pg_catalog.format('COMMENT ON COLUMN authz.access_audit_event_default.%I IS %L', c.attname, c.about);
    END LOOP;
END
$$;
SELECT pg_catalog.pg_extension_config_dump('authz.access_audit_event_default'::pg_catalog.regclass, '');

CREATE FUNCTION authz.audit_month(at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT date_trunc('month', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
$$;
COMMENT ON FUNCTION authz.audit_month(timestamptz) IS 'Begin of the month (UTC) of an instant: where its partition begins.';
REVOKE ALL ON FUNCTION authz.audit_month(timestamptz) FROM PUBLIC;

-- Nobody queues behind this function: it does not wait for the locks, it tries. Whoever waits for a lock on the default
-- partition would make every writer wait that comes later.
CREATE FUNCTION authz.lock_audit_table(target regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    FOR attempt IN 1 .. 100 LOOP
        BEGIN
            EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE NOWAIT', target);
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.02);
        END;
    END LOOP;
    RAISE EXCEPTION USING
        ERRCODE = 'lock_not_available',
        MESSAGE = format('%s is in use', target),
        DETAIL = 'Transactions that write events or read them were open all the time, for 2 seconds.',
        HINT = 'Try again later. Events are not lost: without a partition of their month they go to the default partition.';
END
$$;
COMMENT ON FUNCTION authz.lock_audit_table(regclass) IS
    'Locks a table, or gives up after 2 seconds (SQLSTATE 55P03), without ever standing in the queue before writers.';
REVOKE ALL ON FUNCTION authz.lock_audit_table(regclass) FROM PUBLIC;

-- Whoever makes or archives partitions does so alone: two would each hold what the other one needs.
INSERT INTO authz.hierarchy_lock (hierarchy) VALUES ('audit_partition');

CREATE FUNCTION authz.prepare_audit_partitions(months_ahead integer DEFAULT 3) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET timezone = 'UTC' SET datestyle = 'ISO, YMD' AS $$
DECLARE
    begins  timestamptz;
    ends    timestamptz;
    name    name;
    made    integer := 0;
BEGIN
    IF months_ahead IS NULL OR months_ahead NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('months_ahead is %s', coalesce(months_ahead::text, 'NULL')),
            HINT = 'Give the number of months after this one that get a partition, from 0 to 120.';
    END IF;
    PERFORM authz.lock_hierarchy('audit_partition');
    -- As an array: a query that is still open would keep the default partition from being altered.
    FOREACH begins IN ARRAY ARRAY(
        SELECT (authz.audit_month(statement_timestamp()) AT TIME ZONE 'UTC' + make_interval(months => n)) AT TIME ZONE 'UTC'
        FROM generate_series(0, months_ahead) AS n
        UNION
        SELECT DISTINCT authz.audit_month(e.occurred_at) FROM authz.access_audit_event_default AS e
        ORDER BY 1)
    LOOP
        name := format('access_audit_event_y%sm%s', to_char(begins AT TIME ZONE 'UTC', 'FMYYYY'),
                       to_char(begins AT TIME ZONE 'UTC', 'MM'));
        -- A month that was archived keeps its table; events of it that come late stay in the default partition.
        CONTINUE WHEN begins < '0001-01-01Z' OR to_regclass(format('authz.%I', name)) IS NOT NULL;
        IF made = 0 THEN
            -- Where rows are moved, readers have to wait before they look up which partitions there are: one that knows only
            -- the default partition would find the rows in none. Where none are, nobody has to wait.
            IF EXISTS (SELECT FROM authz.access_audit_event_default) THEN
                PERFORM authz.lock_audit_table('authz.access_audit_event');
            END IF;
            PERFORM authz.lock_audit_table('authz.access_audit_event_default');
            IF EXISTS (SELECT FROM authz.access_audit_event_default) THEN
                PERFORM authz.lock_audit_table('authz.access_audit_event');
            END IF;
        END IF;
        ends := (begins AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
        EXECUTE format('CREATE TABLE authz.%I (LIKE authz.access_audit_event
                            INCLUDING COMMENTS INCLUDING CONSTRAINTS INCLUDING DEFAULTS INCLUDING STORAGE)', name);
        EXECUTE format('COMMENT ON TABLE authz.%I IS %L', name,
                       format('Access events of %s.', to_char(begins AT TIME ZONE 'UTC', 'FMMonth YYYY')));
        -- Moved, not changed. The table is locked against everybody else, and the guard is back before it is not.
        ALTER TABLE authz.access_audit_event_default DISABLE TRIGGER guard_change;
        EXECUTE format('WITH moved AS (DELETE FROM authz.access_audit_event_default
                                       WHERE occurred_at >= $1 AND occurred_at < $2 RETURNING *)
                        INSERT INTO authz.%I SELECT * FROM moved', name) USING begins, ends;
        ALTER TABLE authz.access_audit_event_default ENABLE ALWAYS TRIGGER guard_change;
        PERFORM authz.finish_audit_partition(format('authz.%I', name)::regclass);
        EXECUTE format('ALTER TABLE authz.access_audit_event ATTACH PARTITION authz.%I FOR VALUES FROM (%L) TO (%L)',
                       name, begins, ends);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
COMMENT ON FUNCTION authz.prepare_audit_partitions(integer) IS
    'Makes the partitions of authz.access_audit_event for this month, as many months ahead, and every month that has rows in the default partition, and moves those rows; the number of partitions made.';
REVOKE ALL ON FUNCTION authz.prepare_audit_partitions(integer) FROM PUBLIC;

-- Lines of JSON that backends could not write themselves, because their transactions were rolled back. A line that was
-- written already (its worker ended before it could say so) is not written again.
CREATE FUNCTION authz.insert_access_events(lines text[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO authz.access_audit_event (audit_id, tenant_id, principal_id, action_code, resource_type, resource_id,
                                          access_result, policy_reason, request_id, support_session_id, source_ip,
                                          user_agent, occurred_at, context, asked_by, db_role)
    SELECT e.audit_id, e.tenant_id, e.principal_id, e.action_code, e.resource_type, e.resource_id,
           e.access_result, e.policy_reason, e.request_id, e.support_session_id, e.source_ip,
           e.user_agent, e.occurred_at, e.context, e.asked_by, e.db_role
    FROM unnest(lines) AS l (line)
    CROSS JOIN LATERAL jsonb_populate_record(NULL::authz.access_audit_event, l.line::jsonb) AS e
    WHERE NOT EXISTS (SELECT FROM authz.access_audit_event AS a
                      WHERE a.audit_id = e.audit_id AND a.occurred_at = e.occurred_at)
$$;
COMMENT ON FUNCTION authz.insert_access_events(text[]) IS
    'Writes access events that are given as lines of JSON, except those that are there already.';
REVOKE ALL ON FUNCTION authz.insert_access_events(text[]) FROM PUBLIC;

CREATE FUNCTION authz.deliver_access_events(lines text[]) RETURNS integer[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    refused integer[] := '{}';
BEGIN
    BEGIN
        PERFORM authz.insert_access_events(lines);
        RETURN refused;
    EXCEPTION WHEN OTHERS THEN
        -- One of them cannot be written; the others can.
        NULL;
    END;
    FOR n IN 1 .. cardinality(lines) LOOP
        BEGIN
            PERFORM authz.insert_access_events(ARRAY[lines[n]]);
        EXCEPTION WHEN OTHERS THEN
            refused := refused || n;
        END;
    END LOOP;
    RETURN refused;
END
$$;
COMMENT ON FUNCTION authz.deliver_access_events(text[]) IS
    'What the background workers call: writes access events that are given as lines of JSON; the positions of those that cannot be written.';
REVOKE ALL ON FUNCTION authz.deliver_access_events(text[]) FROM PUBLIC;
