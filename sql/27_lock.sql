-- Locks of principals as intervals, so that a lock of today changes no answer about yesterday. Both places that can lock
-- (principal.locked_until, account_security.locked_until) write them. As with the status of principals, the row itself
-- carries the start of its lock, so that a restore, which fires these triggers again, writes what the dump contains.

CREATE TABLE authz.principal_lock_history (
    principal_id uuid NOT NULL,
    source text COLLATE "C" NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_until timestamptz NOT NULL,
    active_from timestamptz NOT NULL GENERATED ALWAYS AS (valid_from) STORED,
    active_until timestamptz NOT NULL GENERATED ALWAYS AS (valid_until) STORED,
    CONSTRAINT principal_lock_history_pkey PRIMARY KEY (principal_id, source, valid_from),
    CONSTRAINT principal_lock_history_principal_id_fkey
        FOREIGN KEY (principal_id) REFERENCES authz.principal (principal_id),
    CONSTRAINT principal_lock_history_source_check CHECK (source IN ('principal', 'account')),
    CONSTRAINT principal_lock_history_valid_until_check CHECK (valid_until >= valid_from)
);
COMMENT ON TABLE authz.principal_lock_history IS
    'Each lock of a principal with its interval, written when a locked_until changes; decisions about the past read it.';
COMMENT ON COLUMN authz.principal_lock_history.principal_id IS 'The principal.';
COMMENT ON COLUMN authz.principal_lock_history.source IS
    'Which locked_until: that of the principal, or that of its account (account_security).';
COMMENT ON COLUMN authz.principal_lock_history.valid_from IS 'Start of the lock.';
COMMENT ON COLUMN authz.principal_lock_history.valid_until IS 'End of the lock, exclusive.';
COMMENT ON COLUMN authz.principal_lock_history.active_from IS 'Start of the lock.';
COMMENT ON COLUMN authz.principal_lock_history.active_until IS 'End of the lock, exclusive.';

CREATE FUNCTION authz.stamp_lock() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.locked_since := CASE WHEN NEW.locked_until IS NOT NULL THEN coalesce(NEW.locked_since, clock_timestamp()) END;
    ELSIF NEW.locked_until IS NOT DISTINCT FROM OLD.locked_until THEN
        NEW.locked_since := OLD.locked_since;
    ELSE
        NEW.locked_since := CASE WHEN NEW.locked_until IS NOT NULL THEN
            greatest(clock_timestamp(), OLD.locked_since + interval '1 microsecond') END;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.stamp_lock() IS 'Trigger: keeps locked_since.';
REVOKE ALL ON FUNCTION authz.stamp_lock() FROM PUBLIC;

-- The argument is the source.
CREATE FUNCTION authz.record_lock() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        UPDATE authz.principal_lock_history SET valid_until = coalesce(NEW.locked_since, clock_timestamp())
        WHERE principal_id = OLD.principal_id AND source = TG_ARGV[0] AND valid_from = OLD.locked_since
          AND valid_until > coalesce(NEW.locked_since, clock_timestamp());
    END IF;
    IF NEW.locked_until > NEW.locked_since THEN
        INSERT INTO authz.principal_lock_history (principal_id, source, valid_from, valid_until)
        VALUES (NEW.principal_id, TG_ARGV[0], NEW.locked_since, NEW.locked_until);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION authz.record_lock() IS
    'Trigger: ends the running lock in principal_lock_history and begins the next; the argument is the source.';
REVOKE ALL ON FUNCTION authz.record_lock() FROM PUBLIC;

CREATE FUNCTION authz.skip_recorded_lock() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM authz.principal_lock_history
               WHERE principal_id = NEW.principal_id AND source = NEW.source AND valid_from = NEW.valid_from) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.skip_recorded_lock() IS
    'Trigger: skips a lock that is there already, as when a dump is restored.';
REVOKE ALL ON FUNCTION authz.skip_recorded_lock() FROM PUBLIC;

-- Triggers fire in the order of their names: guard_... looks at what the user wrote before the others add to it.
CREATE TRIGGER stamp_lock BEFORE INSERT OR UPDATE ON authz.principal
    FOR EACH ROW EXECUTE FUNCTION authz.stamp_lock();
CREATE TRIGGER record_lock_insert AFTER INSERT ON authz.principal
    FOR EACH ROW WHEN (NEW.locked_until IS NOT NULL) EXECUTE FUNCTION authz.record_lock('principal');
CREATE TRIGGER record_lock_update AFTER UPDATE ON authz.principal
    FOR EACH ROW WHEN (OLD.locked_until IS DISTINCT FROM NEW.locked_until) EXECUTE FUNCTION authz.record_lock('principal');
CREATE TRIGGER stamp_lock BEFORE INSERT OR UPDATE ON authz.account_security
    FOR EACH ROW EXECUTE FUNCTION authz.stamp_lock();
CREATE TRIGGER record_lock_insert AFTER INSERT ON authz.account_security
    FOR EACH ROW WHEN (NEW.locked_until IS NOT NULL) EXECUTE FUNCTION authz.record_lock('account');
CREATE TRIGGER record_lock_update AFTER UPDATE ON authz.account_security
    FOR EACH ROW WHEN (OLD.locked_until IS DISTINCT FROM NEW.locked_until) EXECUTE FUNCTION authz.record_lock('account');

CREATE TRIGGER guard_delete BEFORE DELETE ON authz.principal_lock_history
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Change locked_until: valid_until is set by it.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.principal_lock_history
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Change locked_until: valid_until is set by it.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.principal_lock_history
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"valid_until": "until"}');
CREATE TRIGGER skip_recorded BEFORE INSERT ON authz.principal_lock_history
    FOR EACH ROW EXECUTE FUNCTION authz.skip_recorded_lock();

SELECT pg_catalog.pg_extension_config_dump('authz.principal_lock_history'::pg_catalog.regclass, '');
