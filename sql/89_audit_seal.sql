-- Seals: a chain of hashes over closed batches of access events and change events. A batch is closed when no transaction
-- runs any more that could add to it, so that sealing goes by transaction ids (columns cluster_id and xact of both
-- tables), and no insert waits for it.

CREATE TABLE authz.audit_seal (
    seal_no bigint NOT NULL,
    seal_kind text COLLATE "C" NOT NULL,
    table_name text COLLATE "C" NOT NULL,
    cluster_id bigint,
    from_xact xid8,
    from_key uuid,
    to_xact xid8,
    to_key uuid,
    partition_name text COLLATE "C",
    from_time timestamptz,
    to_time timestamptz,
    events bigint NOT NULL,
    columns text[] COLLATE "C",
    leaves bytea,
    sealed_at timestamptz NOT NULL,
    previous_hash bytea NOT NULL,
    seal_hash bytea NOT NULL,
    CONSTRAINT audit_seal_pkey PRIMARY KEY (seal_no),
    CONSTRAINT audit_seal_seal_no_check CHECK (seal_no > 0),
    CONSTRAINT audit_seal_table_name_check CHECK (table_name IN ('access_audit_event', 'access_change_event')),
    CONSTRAINT audit_seal_events_check CHECK (events >= 0),
    CONSTRAINT audit_seal_seal_kind_check CHECK (CASE seal_kind
        WHEN 'batch' THEN num_nulls(cluster_id, from_xact, from_key, to_xact, to_key, columns, leaves) = 0
            AND num_nonnulls(partition_name, from_time, to_time) = 0
        WHEN 'archive' THEN num_nulls(partition_name, from_time, to_time) = 0
            AND num_nonnulls(cluster_id, from_xact, from_key, to_xact, to_key, columns, leaves) = 0
        ELSE false END),
    CONSTRAINT audit_seal_hash_check CHECK (length(previous_hash) = 32 AND length(seal_hash) = 32)
);
CREATE INDEX audit_seal_table_name_idx ON authz.audit_seal (table_name, cluster_id, seal_no);
-- Hashes do not compress.
ALTER TABLE authz.audit_seal ALTER COLUMN leaves SET STORAGE EXTERNAL;
COMMENT ON TABLE authz.audit_seal IS
    'Hash chain over closed batches of events, and over what was archived. Append-only; written by authz_audit_seal and authz_archive_audit.';
COMMENT ON COLUMN authz.audit_seal.seal_no IS 'Place in the chain, from 1, without gaps.';
COMMENT ON COLUMN authz.audit_seal.seal_kind IS 'batch: events of a range of transactions; archive: a partition was detached.';
COMMENT ON COLUMN authz.audit_seal.table_name IS 'The table in schema authz.';
COMMENT ON COLUMN authz.audit_seal.cluster_id IS 'Of a batch: the cluster that its transactions were counted in.';
COMMENT ON COLUMN authz.audit_seal.from_xact IS 'Of a batch: transactions from this one on.';
COMMENT ON COLUMN authz.audit_seal.from_key IS 'Of a batch: of that transaction, keys from this one on.';
COMMENT ON COLUMN authz.audit_seal.to_xact IS 'Of a batch: transactions up to this one.';
COMMENT ON COLUMN authz.audit_seal.to_key IS 'Of a batch: of that transaction, keys below this one.';
COMMENT ON COLUMN authz.audit_seal.partition_name IS 'Of an archive: the partition.';
COMMENT ON COLUMN authz.audit_seal.from_time IS 'Of an archive: its events occurred from here on.';
COMMENT ON COLUMN authz.audit_seal.to_time IS 'Of an archive: its events occurred before.';
COMMENT ON COLUMN authz.audit_seal.events IS 'Number of events.';
COMMENT ON COLUMN authz.audit_seal.columns IS 'Of a batch: the columns that were hashed, in this order.';
COMMENT ON COLUMN authz.audit_seal.leaves IS
    'Of a batch: for each event its key (16 bytes), when it occurred (8 bytes), and the SHA-256 of all its columns (32 bytes).';
COMMENT ON COLUMN authz.audit_seal.sealed_at IS 'When it was made.';
COMMENT ON COLUMN authz.audit_seal.previous_hash IS 'seal_hash of the seal before; zeros for the first.';
COMMENT ON COLUMN authz.audit_seal.seal_hash IS 'SHA-256 of all other columns.';

CREATE TRIGGER guard_change BEFORE UPDATE OR DELETE ON authz.audit_seal
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_change();
ALTER TABLE authz.audit_seal ENABLE ALWAYS TRIGGER guard_change;
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.audit_seal
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_change();
ALTER TABLE authz.audit_seal ENABLE ALWAYS TRIGGER guard_truncate;
SELECT pg_catalog.pg_extension_config_dump('authz.audit_seal'::pg_catalog.regclass, '');

-- Values that are hashed by the text of their output function must have the same text in every session.
ALTER FUNCTION authz_audit_seal() SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET datestyle = 'ISO, YMD' SET timezone = 'UTC' SET intervalstyle = 'postgres' SET extra_float_digits = 1
    SET bytea_output = 'hex' SET lc_monetary = 'C';
ALTER FUNCTION authz_audit_verify(text) SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET datestyle = 'ISO, YMD' SET timezone = 'UTC' SET intervalstyle = 'postgres' SET extra_float_digits = 1
    SET bytea_output = 'hex' SET lc_monetary = 'C';
ALTER FUNCTION authz_audit_head() SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION authz_audit_seal(), authz_audit_verify(text), authz_audit_head(),
    authz.seal_archive(text, timestamptz, timestamptz, bigint) FROM PUBLIC;

CREATE FUNCTION authz_archive_audit(before timestamptz)
    RETURNS TABLE (partition regclass, from_time timestamptz, to_time timestamptz, events bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET timezone = 'UTC' SET datestyle = 'ISO, YMD' AS $$
DECLARE
    unsealed bigint;
BEGIN
    IF before IS NULL OR before > statement_timestamp() THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the instant to archive before is NULL or in the future',
            HINT = 'Give a time in the past, such as now() - interval ''1 year''; months that ended before it are archived.';
    END IF;
    PERFORM authz.lock_hierarchy('audit_partition');
    -- Before tables are locked, because writers would wait.
    PERFORM @extschema@.authz_audit_seal();
    FOR partition, from_time, to_time IN
        SELECT i.inhrelid::regclass, b.begins, authz.audit_month(b.begins + interval '32 days')
        FROM pg_inherits AS i
        JOIN pg_class AS c ON c.oid = i.inhrelid
        CROSS JOIN LATERAL (SELECT (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM [(]''([^'']+)''[)]'))[1]::timestamptz
                           ) AS b (begins)
        WHERE i.inhparent = 'authz.access_audit_event'::regclass
          AND authz.audit_month(b.begins + interval '32 days') <= before
        ORDER BY 2
    LOOP
        PERFORM authz.lock_audit_table('authz.access_audit_event');
        PERFORM authz.lock_audit_table('authz.access_audit_event_default');
        PERFORM authz.lock_audit_table(partition);
        EXECUTE format(
            'SELECT count(*), count(*) FILTER (WHERE e.xact >= coalesce(s.sealed, ''0'')) FROM %s AS e
             LEFT JOIN LATERAL (SELECT max(s.to_xact) AS sealed FROM authz.audit_seal AS s
                                WHERE s.table_name = ''access_audit_event'' AND s.cluster_id = e.cluster_id) AS s ON true',
            partition) INTO events, unsealed;
        IF unsealed > 0 THEN
            RAISE EXCEPTION USING
                ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = format('%s cannot be archived yet', partition),
                DETAIL = format('%s of its events cannot be sealed: a transaction that began before them still runs.', unsealed),
                HINT = 'Try again when it has ended; pg_stat_activity and pg_prepared_xacts show it.';
        END IF;
        PERFORM authz.seal_archive(partition::text, from_time, to_time, events);
        EXECUTE format('ALTER TABLE authz.access_audit_event DETACH PARTITION %s', partition);
        -- The guard went with the parent. This one has a name of its own, so that the table can be attached again.
        EXECUTE format('CREATE TRIGGER guard_archive BEFORE UPDATE OR DELETE ON %s
                            FOR EACH ROW EXECUTE FUNCTION authz.refuse_change()', partition);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER guard_archive', partition);
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION authz_archive_audit(timestamptz) IS
    'Seals and detaches every monthly partition of authz.access_audit_event that ended before the instant; the detached tables stay and can be dumped and dropped. The chain says what was archived.';
REVOKE ALL ON FUNCTION authz_archive_audit(timestamptz) FROM PUBLIC;
