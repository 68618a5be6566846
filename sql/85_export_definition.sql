-- What may be exported: a definition, made by the DBA, names a source and its columns. There is no other way to say what an
-- export reads: requests choose among the columns, and narrow the rows by scope and by typed comparisons.

CREATE TABLE authz.export_definition (
    export_type text COLLATE "C" NOT NULL,
    source regclass NOT NULL,
    columns name[] NOT NULL,
    permission_code text COLLATE "C" NOT NULL,
    approval_above text COLLATE "C" NOT NULL DEFAULT 'internal',
    max_rows bigint NOT NULL DEFAULT 1000000,
    rate_limit integer NOT NULL DEFAULT 10,
    rate_window interval NOT NULL DEFAULT '1 hour',
    lifetime interval NOT NULL DEFAULT '24 hours',
    description text,
    created_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz,
    CONSTRAINT export_definition_pkey PRIMARY KEY (export_type),
    CONSTRAINT export_definition_permission_code_fkey
        FOREIGN KEY (permission_code) REFERENCES authz.permission_definition (permission_code) ON UPDATE CASCADE,
    CONSTRAINT export_definition_export_type_check CHECK (export_type ~ '^[a-z][a-z0-9_.-]{0,62}$'),
    CONSTRAINT export_definition_columns_check CHECK (cardinality(columns) > 0 AND array_position(columns, NULL) IS NULL),
    CONSTRAINT export_definition_approval_above_check
        CHECK (approval_above IN ('public', 'internal', 'confidential', 'pii', 'sensitive_pii')),
    CONSTRAINT export_definition_max_rows_check CHECK (max_rows > 0),
    CONSTRAINT export_definition_rate_limit_check CHECK (rate_limit BETWEEN 1 AND 1000),
    CONSTRAINT export_definition_rate_window_check CHECK (rate_window > interval '0'),
    CONSTRAINT export_definition_lifetime_check CHECK (lifetime > interval '0')
);
COMMENT ON TABLE authz.export_definition IS
    'What may be exported: a protected table or safe view, which of its columns, and on what terms. Made by the DBA.';
COMMENT ON COLUMN authz.export_definition.export_type IS 'Its name, and key.';
COMMENT ON COLUMN authz.export_definition.source IS 'The protected table or safe view that is read.';
COMMENT ON COLUMN authz.export_definition.columns IS 'The columns that may be asked for, each of them classified.';
COMMENT ON COLUMN authz.export_definition.permission_code IS
    'The permission that its requester needs at the scope, beside export.request; its obligations count.';
COMMENT ON COLUMN authz.export_definition.approval_above IS
    'Columns classified higher than this are masked, or, if they are asked for unmasked, need somebody else''s approval.';
COMMENT ON COLUMN authz.export_definition.max_rows IS 'An export of more rows fails.';
COMMENT ON COLUMN authz.export_definition.rate_limit IS 'So many may be requested by one principal in a window of time.';
COMMENT ON COLUMN authz.export_definition.rate_window IS 'How long that window is.';
COMMENT ON COLUMN authz.export_definition.lifetime IS 'How long after its request an export can be run and downloaded.';
COMMENT ON COLUMN authz.export_definition.description IS 'What it is for.';
COMMENT ON COLUMN authz.export_definition.created_at IS 'When it was defined.';
COMMENT ON COLUMN authz.export_definition.closed_at IS
    'Since when it can neither be requested, run nor downloaded; NULL: it can.';

-- Whoever defines an export lends the privileges of the source's owner, as whoever makes a view does. So this runs as
-- whoever writes the row, and asks the catalogs only. A dump may have a definition whose source was dropped: who owns the
-- extension can restore it, and authz.check_export_source lets nobody through.
CREATE FUNCTION authz.check_export_owner() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relation pg_class;
BEGIN
    SELECT c.* INTO relation FROM pg_class AS c WHERE c.oid = NEW.source;
    IF relation.oid IS NULL
        AND pg_has_role(current_user, (SELECT c.relowner FROM pg_class AS c WHERE c.oid = TG_RELID), 'USAGE') THEN
        RETURN NEW;
    END IF;
    IF relation.oid IS NULL OR relation.relkind NOT IN ('r', 'p', 'v') OR relation.relispartition
        OR relation.relpersistence = 't' OR relation.relnamespace IN ('pg_catalog'::regnamespace,
                                                                     'information_schema'::regnamespace) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'wrong_object_type',
            MESSAGE = format('%s cannot be exported', NEW.source),
            DETAIL = 'It is not a table or view, or it is a partition, temporary, or part of the system.',
            HINT = 'Name a protected table, or a safe view.';
    END IF;
    IF NOT pg_has_role(current_user, relation.relowner, 'USAGE') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = format('must be owner of %s', NEW.source),
            HINT = 'Only the owner of a table or view can make exports of it.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.check_export_owner() IS
    'Trigger: whoever defines an export owns its source (SQLSTATE 42501).';
REVOKE ALL ON FUNCTION authz.check_export_owner() FROM PUBLIC;
CREATE TRIGGER check_owner BEFORE INSERT OR UPDATE ON authz.export_definition
    FOR EACH ROW EXECUTE FUNCTION authz.check_export_owner();
CREATE TRIGGER guard_delete BEFORE DELETE ON authz.export_definition
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Set closed_at instead.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.export_definition
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Set closed_at instead.');
SELECT authz.track_changes('authz.export_definition');
SELECT pg_catalog.pg_extension_config_dump('authz.export_definition'::pg_catalog.regclass, '');
