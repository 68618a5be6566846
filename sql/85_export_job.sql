-- Jobs: who asked for what, when, who approved it, what came of it; and the content, in chunks.

CREATE TABLE authz.data_export_job (
    export_id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid,
    requested_by uuid NOT NULL,
    export_type text COLLATE "C" NOT NULL,
    scope_type text COLLATE "C",
    scope_id text COLLATE "C",
    status text COLLATE "C" NOT NULL DEFAULT 'pending',
    includes_sensitive_data boolean NOT NULL DEFAULT false,
    approved_by uuid,
    requested_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    expires_at timestamptz,
    request_reason text,
    columns name[],
    filters jsonb NOT NULL DEFAULT '[]',
    file_format text COLLATE "C" NOT NULL DEFAULT 'csv',
    fingerprint bytea,
    approved_at timestamptz,
    row_count bigint,
    byte_count bigint,
    chunk_count integer,
    content_sha256 bytea,
    run_xact xid8,
    ended_at timestamptz,
    ended_by uuid,
    end_reason text,
    CONSTRAINT data_export_job_pkey PRIMARY KEY (export_id),
    CONSTRAINT data_export_job_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES authz.tenant (tenant_id),
    CONSTRAINT data_export_job_requested_by_fkey FOREIGN KEY (requested_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT data_export_job_approved_by_fkey FOREIGN KEY (approved_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT data_export_job_ended_by_fkey FOREIGN KEY (ended_by) REFERENCES authz.principal (principal_id),
    CONSTRAINT data_export_job_export_type_check CHECK (export_type <> ''),
    CONSTRAINT data_export_job_status_check CHECK (status IN ('pending', 'running', 'completed', 'failed', 'expired')),
    CONSTRAINT data_export_job_approved_by_requested_by_check CHECK (approved_by <> requested_by),
    CONSTRAINT data_export_job_approved_at_check CHECK (approved_at IS NULL OR approved_by IS NOT NULL),
    CONSTRAINT data_export_job_filters_check CHECK (jsonb_typeof(filters) = 'array'),
    CONSTRAINT data_export_job_file_format_check CHECK (file_format IN ('csv', 'jsonl')),
    CONSTRAINT data_export_job_tenant_id_scope_type_scope_id_check CHECK (
        CASE coalesce(scope_type, '')
            WHEN '' THEN scope_type IS NULL AND scope_id IS NULL
            WHEN 'platform' THEN tenant_id IS NULL AND scope_id IS NULL
            WHEN 'tenant' THEN coalesce(scope_id = tenant_id::text, false)
            ELSE tenant_id IS NOT NULL AND coalesce(scope_id <> '', false)
        END)
);
CREATE INDEX data_export_job_requested_by_idx ON authz.data_export_job (requested_by, requested_at);
CREATE INDEX data_export_job_tenant_idx ON authz.data_export_job (tenant_id, requested_at);
CREATE INDEX data_export_job_expires_idx ON authz.data_export_job (expires_at) WHERE status IN ('pending', 'running', 'completed');
COMMENT ON TABLE authz.data_export_job IS
    'Exports: who asked for what, who approved it, what was written. What was asked for never changes.';
COMMENT ON COLUMN authz.data_export_job.export_id IS 'Key.';
COMMENT ON COLUMN authz.data_export_job.tenant_id IS 'The tenant whose rows it has; NULL: of all tenants.';
COMMENT ON COLUMN authz.data_export_job.requested_by IS 'Who asked, by whose authority it is run, and who alone gets it.';
COMMENT ON COLUMN authz.data_export_job.export_type IS 'The definition (authz.export_definition).';
COMMENT ON COLUMN authz.data_export_job.scope_type IS
    'platform, tenant, organization, team, project, or a resource type; NULL: the tenant, or the platform without one.';
COMMENT ON COLUMN authz.data_export_job.scope_id IS 'Canonical text of the scope''s key.';
COMMENT ON COLUMN authz.data_export_job.status IS 'pending, running (inside its transaction), completed, failed (given up or rejected) or expired.';
COMMENT ON COLUMN authz.data_export_job.includes_sensitive_data IS
    'Are sensitive columns unmasked, as far as their reader may see them? Needs approval.';
COMMENT ON COLUMN authz.data_export_job.approved_by IS 'Who approved it; never who asked.';
COMMENT ON COLUMN authz.data_export_job.requested_at IS 'When it was asked for.';
COMMENT ON COLUMN authz.data_export_job.completed_at IS 'When its content was written.';
COMMENT ON COLUMN authz.data_export_job.expires_at IS 'From here on it can neither be run nor downloaded.';
COMMENT ON COLUMN authz.data_export_job.request_reason IS 'What it is for, in the words of who asked.';
COMMENT ON COLUMN authz.data_export_job.columns IS 'The columns that were asked for.';
COMMENT ON COLUMN authz.data_export_job.filters IS
    'Conditions on the rows, all of which hold: [{"column": "status", "op": "=", "value": "open"}].';
COMMENT ON COLUMN authz.data_export_job.file_format IS 'csv or jsonl.';
COMMENT ON COLUMN authz.data_export_job.fingerprint IS
    'SHA-256 of what would be read when it was asked for. Where it would be anything else now, it cannot be approved or run.';
COMMENT ON COLUMN authz.data_export_job.approved_at IS 'When it was approved.';
COMMENT ON COLUMN authz.data_export_job.row_count IS 'Rows in its content.';
COMMENT ON COLUMN authz.data_export_job.byte_count IS 'Bytes of its content.';
COMMENT ON COLUMN authz.data_export_job.chunk_count IS 'Chunks that its content is in.';
COMMENT ON COLUMN authz.data_export_job.content_sha256 IS 'SHA-256 of its chunks, one after the other: of the whole file.';
COMMENT ON COLUMN authz.data_export_job.run_xact IS
    'The transaction that wrote it, as numbered by this cluster: it gives nothing out.';
COMMENT ON COLUMN authz.data_export_job.ended_at IS 'When it was given up, rejected, withdrawn or expired.';
COMMENT ON COLUMN authz.data_export_job.ended_by IS 'Who ended it; NULL: it ran out.';
COMMENT ON COLUMN authz.data_export_job.end_reason IS 'Why.';

CREATE TRIGGER check_scope BEFORE INSERT ON authz.data_export_job
    FOR EACH ROW EXECUTE FUNCTION authz.check_key('scope_type', 'scope_id');
CREATE TRIGGER guard_delete BEFORE DELETE ON authz.data_export_job
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Jobs are evidence; end one with authz_end_export.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.data_export_job
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Jobs are evidence; end one with authz_end_export.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.data_export_job
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite(
        '{"status": "free", "approved_by": "once", "approved_at": "once", "completed_at": "once", "expires_at": "until", "row_count": "once", "byte_count": "once", "chunk_count": "once", "content_sha256": "once", "run_xact": "once", "ended_at": "once", "ended_by": "once", "end_reason": "once"}');

-- Also for those who write by hand: states are gone through once, approval comes before the run and from somebody else.
CREATE FUNCTION authz.check_export_job() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF OLD.status <> NEW.status AND NOT (
        (OLD.status = 'pending' AND NEW.status IN ('running', 'failed', 'expired'))
        OR (OLD.status = 'running' AND NEW.status IN ('completed', 'failed', 'expired'))
        OR (OLD.status = 'completed' AND NEW.status = 'expired')) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('export %s cannot become %s', NEW.export_id, NEW.status),
            DETAIL = format('It is %s.', OLD.status),
            HINT = 'Ask for a new one, where it is still needed.';
    END IF;
    IF NEW.approved_by IS DISTINCT FROM OLD.approved_by AND OLD.status <> 'pending' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('export %s cannot be approved', NEW.export_id),
            DETAIL = format('It is %s.', OLD.status),
            HINT = 'Approval comes before the run.';
    END IF;
    -- Addresses that were known when it mattered count: a job that comes from a dump is not asked again.
    IF NEW.approved_by IS DISTINCT FROM OLD.approved_by
        AND authz.same_person(NEW.requested_by, NEW.approved_by) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'check_violation',
            MESSAGE = 'an export is approved by somebody else',
            DETAIL = 'approved_by is who asked for it, or has the same e-mail address.',
            HINT = 'Let another person do it.',
            SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.check_export_job() IS
    'Trigger: an export goes through its states once (SQLSTATE 55000) and is approved by another person (23514).';
REVOKE ALL ON FUNCTION authz.check_export_job() FROM PUBLIC;
CREATE TRIGGER check_job BEFORE UPDATE ON authz.data_export_job
    FOR EACH ROW EXECUTE FUNCTION authz.check_export_job();
-- Requests, approvals and ends, also by hand. How a run went is in its access event.
SELECT authz.track_changes('authz.data_export_job', '{}',
                           '{status,completed_at,row_count,byte_count,chunk_count,content_sha256,run_xact}');
SELECT pg_catalog.pg_extension_config_dump('authz.data_export_job'::pg_catalog.regclass, '');

-- The content is no record but a copy of data, which is to be gone when it expires. So it is unlogged: it is not in the
-- write-ahead log and its archives, not on standbys, not in base backups, and no dump has it. After a crash it is gone, and
-- the export has to be requested again.
CREATE UNLOGGED TABLE authz.data_export_chunk (
    export_id uuid NOT NULL,
    chunk integer NOT NULL,
    content bytea NOT NULL,
    row_count bigint NOT NULL,
    sha256 bytea NOT NULL,
    CONSTRAINT data_export_chunk_pkey PRIMARY KEY (export_id, chunk),
    CONSTRAINT data_export_chunk_chunk_check CHECK (chunk > 0),
    CONSTRAINT data_export_chunk_row_count_check CHECK (row_count >= 0),
    CONSTRAINT data_export_chunk_sha256_check CHECK (octet_length(sha256) = 32)
);
-- Compressing costs more than writing.
ALTER TABLE authz.data_export_chunk ALTER COLUMN content SET STORAGE EXTERNAL;
COMMENT ON TABLE authz.data_export_chunk IS
    'The content of exports until they expire, whole rows in each chunk. Unlogged, and in no dump.';
COMMENT ON COLUMN authz.data_export_chunk.export_id IS 'The job.';
COMMENT ON COLUMN authz.data_export_chunk.chunk IS 'Number of the chunk, from 1.';
COMMENT ON COLUMN authz.data_export_chunk.content IS 'Its bytes, UTF-8.';
COMMENT ON COLUMN authz.data_export_chunk.row_count IS 'Rows that end in it.';
COMMENT ON COLUMN authz.data_export_chunk.sha256 IS 'SHA-256 of its bytes.';
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.data_export_chunk
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{}');

-- When each principal asked for each type last: what the rate limit counts. The row is updated by whoever asks, so that two at
-- once meet in it, in every isolation level.
CREATE TABLE authz.export_rate (
    principal_id uuid NOT NULL,
    export_type text COLLATE "C" NOT NULL,
    requested_at timestamptz[] NOT NULL,
    CONSTRAINT export_rate_pkey PRIMARY KEY (principal_id, export_type),
    CONSTRAINT export_rate_principal_id_fkey FOREIGN KEY (principal_id) REFERENCES authz.principal (principal_id)
);
COMMENT ON TABLE authz.export_rate IS 'When a principal asked for exports of a type, within its window of time.';
COMMENT ON COLUMN authz.export_rate.principal_id IS 'Who asked.';
COMMENT ON COLUMN authz.export_rate.export_type IS 'For which type.';
COMMENT ON COLUMN authz.export_rate.requested_at IS 'When.';
SELECT pg_catalog.pg_extension_config_dump('authz.export_rate'::pg_catalog.regclass, '');
