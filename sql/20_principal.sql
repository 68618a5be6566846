-- Principals: who acts. One identity, independent of tenants (35_membership.sql), with its status as intervals.
--
-- A change of status takes effect at clock_timestamp(), at least a microsecond after the last one: two changes in one
-- transaction, or by a transaction that began before another one's change, give intervals that follow each other,
-- which now() would not. The row itself carries the start of its status (status_since), so that the open interval
-- follows from the row alone: a restore, which fires these triggers again, writes exactly what the dump contains, and
-- the history's own row from the dump is then skipped.

CREATE TABLE authz.principal (
    principal_id uuid NOT NULL DEFAULT gen_random_uuid(),
    principal_type text COLLATE "C" NOT NULL DEFAULT 'human',
    external_id text COLLATE "C",
    email text,
    display_name text,
    status text COLLATE "C" NOT NULL DEFAULT 'active',
    locked_until timestamptz,
    locked_since timestamptz,
    db_role name,
    status_since timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT principal_pkey PRIMARY KEY (principal_id),
    CONSTRAINT principal_external_id_key UNIQUE (external_id),
    CONSTRAINT principal_db_role_key UNIQUE (db_role),
    CONSTRAINT principal_principal_type_check CHECK (principal_type IN ('human', 'service', 'system')),
    CONSTRAINT principal_external_id_check CHECK (external_id <> ''),
    CONSTRAINT principal_status_check CHECK (status IN ('active', 'suspended', 'locked', 'disabled', 'deleted')),
    CONSTRAINT principal_status_since_check CHECK (status_since < 'infinity')
);
COMMENT ON TABLE authz.principal IS 'A human, service or system identity. Never deleted: its status becomes deleted.';
COMMENT ON COLUMN authz.principal.principal_id IS 'Key; for people the id that the authentication provider gives.';
COMMENT ON COLUMN authz.principal.principal_type IS 'human, service or system.';
COMMENT ON COLUMN authz.principal.external_id IS
    'Id at the authentication provider, unique; set once, since another value would be another identity.';
COMMENT ON COLUMN authz.principal.email IS 'E-mail address for display.';
COMMENT ON COLUMN authz.principal.display_name IS 'Display name.';
COMMENT ON COLUMN authz.principal.status IS 'active, suspended, locked, disabled or deleted; only an active principal is allowed anything.';
COMMENT ON COLUMN authz.principal.locked_until IS 'Until then the principal is allowed nothing; NULL: not locked.';
COMMENT ON COLUMN authz.principal.locked_since IS 'Since when it is locked until then; kept by the database.';
COMMENT ON COLUMN authz.principal.db_role IS 'The database role that this principal logs in as, if it has its own; unique.';
COMMENT ON COLUMN authz.principal.status_since IS
    'Since when it has this status; kept by the database. Give it at INSERT where the identity is older than the row.';
COMMENT ON COLUMN authz.principal.created_at IS 'When the row was inserted.';

CREATE TABLE authz.principal_status_history (
    principal_id uuid NOT NULL,
    status text COLLATE "C" NOT NULL,
    valid_from timestamptz NOT NULL DEFAULT now(),
    valid_until timestamptz,
    active_from timestamptz NOT NULL GENERATED ALWAYS AS (valid_from) STORED,
    active_until timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(valid_until, 'infinity')) STORED,
    CONSTRAINT principal_status_history_pkey PRIMARY KEY (principal_id, valid_from),
    CONSTRAINT principal_status_history_principal_id_fkey
        FOREIGN KEY (principal_id) REFERENCES authz.principal (principal_id),
    CONSTRAINT principal_status_history_status_check
        CHECK (status IN ('active', 'suspended', 'locked', 'disabled', 'deleted')),
    CONSTRAINT principal_status_history_valid_until_check CHECK (valid_until >= valid_from),
    -- Range types have a GiST operator class of their own: hashed to a range of one number, the identity needs no
    -- extension to take part in an exclusion constraint.
    CONSTRAINT principal_status_history_principal_id_excl EXCLUDE USING gist (
        int8range(uuid_hash_extended(principal_id, 0), uuid_hash_extended(principal_id, 0), '[]') WITH &&,
        tstzrange(active_from, active_until) WITH &&
    ) WHERE (active_from < active_until)
);
COMMENT ON TABLE authz.principal_status_history IS
    'Each status of a principal with its interval, written when principal.status changes; decisions about the past read it.';
COMMENT ON COLUMN authz.principal_status_history.principal_id IS 'The principal.';
COMMENT ON COLUMN authz.principal_status_history.status IS 'Its status in the interval.';
COMMENT ON COLUMN authz.principal_status_history.valid_from IS 'Start of the interval.';
COMMENT ON COLUMN authz.principal_status_history.valid_until IS 'End of the interval, exclusive; NULL: open.';
COMMENT ON COLUMN authz.principal_status_history.active_from IS 'Start of the interval.';
COMMENT ON COLUMN authz.principal_status_history.active_until IS 'End of the interval, exclusive; infinity: open.';

CREATE FUNCTION authz.stamp_principal_status() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.status_since := greatest(clock_timestamp(), OLD.status_since + interval '1 microsecond');
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.stamp_principal_status() IS 'Trigger: sets status_since when the status changes.';
REVOKE ALL ON FUNCTION authz.stamp_principal_status() FROM PUBLIC;

CREATE FUNCTION authz.record_principal_status() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        UPDATE authz.principal_status_history SET valid_until = NEW.status_since
        WHERE principal_id = NEW.principal_id AND valid_until IS NULL;
    END IF;
    INSERT INTO authz.principal_status_history (principal_id, status, valid_from)
    VALUES (NEW.principal_id, NEW.status, NEW.status_since);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION authz.record_principal_status() IS
    'Trigger: ends the open interval of principal_status_history and begins the next.';
REVOKE ALL ON FUNCTION authz.record_principal_status() FROM PUBLIC;

CREATE FUNCTION authz.skip_recorded_principal_status() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM authz.principal_status_history
               WHERE principal_id = NEW.principal_id AND valid_from = NEW.valid_from) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.skip_recorded_principal_status() IS
    'Trigger: skips an interval that is there already, as when a dump is restored.';
REVOKE ALL ON FUNCTION authz.skip_recorded_principal_status() FROM PUBLIC;

-- Triggers fire in the order of their names: guard_... looks at what the user wrote before the others add to it.
CREATE TRIGGER guard_delete BEFORE DELETE ON authz.principal
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Set status = ''deleted'' instead.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.principal
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Set status = ''deleted'' instead.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.principal
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite(
        '{"external_id": "once", "email": "free", "display_name": "free", "status": "free", "locked_until": "free", "db_role": "free"}');
CREATE TRIGGER stamp_status BEFORE UPDATE ON authz.principal
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION authz.stamp_principal_status();
CREATE TRIGGER record_status_insert AFTER INSERT ON authz.principal
    FOR EACH ROW EXECUTE FUNCTION authz.record_principal_status();
CREATE TRIGGER record_status_update AFTER UPDATE ON authz.principal
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION authz.record_principal_status();

CREATE TRIGGER guard_delete BEFORE DELETE ON authz.principal_status_history
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Change principal.status: valid_until is set by it.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.principal_status_history
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Change principal.status: valid_until is set by it.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.principal_status_history
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"valid_until": "until"}');
CREATE TRIGGER skip_recorded BEFORE INSERT ON authz.principal_status_history
    FOR EACH ROW EXECUTE FUNCTION authz.skip_recorded_principal_status();

SELECT pg_catalog.pg_extension_config_dump('authz.principal'::pg_catalog.regclass, '');
SELECT pg_catalog.pg_extension_config_dump('authz.principal_status_history'::pg_catalog.regclass, '');
