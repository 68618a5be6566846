-- The status of tenants as intervals, so that to suspend one changes no answer about the past. Kept like the status of
-- principals (20_principal.sql): the row itself carries the start of its status, so that a restore, which fires these
-- triggers again, writes exactly what the dump contains.

CREATE TABLE authz.tenant_status_history (
    tenant_id uuid NOT NULL,
    status text COLLATE "C" NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_until timestamptz,
    active_from timestamptz NOT NULL GENERATED ALWAYS AS (valid_from) STORED,
    active_until timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(valid_until, 'infinity')) STORED,
    CONSTRAINT tenant_status_history_pkey PRIMARY KEY (tenant_id, valid_from),
    CONSTRAINT tenant_status_history_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES authz.tenant (tenant_id),
    CONSTRAINT tenant_status_history_status_check CHECK (status IN ('active', 'suspended', 'archived')),
    CONSTRAINT tenant_status_history_valid_until_check CHECK (valid_until >= valid_from)
);
COMMENT ON TABLE authz.tenant_status_history IS
    'Each status of a tenant with its interval, written when tenant.status changes; decisions about the past read it.';
COMMENT ON COLUMN authz.tenant_status_history.tenant_id IS 'The tenant.';
COMMENT ON COLUMN authz.tenant_status_history.status IS 'Its status in the interval.';
COMMENT ON COLUMN authz.tenant_status_history.valid_from IS 'Start of the interval.';
COMMENT ON COLUMN authz.tenant_status_history.valid_until IS 'End of the interval, exclusive; NULL: open.';
COMMENT ON COLUMN authz.tenant_status_history.active_from IS 'Start of the interval.';
COMMENT ON COLUMN authz.tenant_status_history.active_until IS 'End of the interval, exclusive; infinity: open.';

CREATE FUNCTION authz.stamp_tenant_status() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.status_since := CASE WHEN NEW.status = OLD.status THEN OLD.status_since
                             ELSE greatest(clock_timestamp(), OLD.status_since + interval '1 microsecond') END;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.stamp_tenant_status() IS 'Trigger: keeps status_since.';
REVOKE ALL ON FUNCTION authz.stamp_tenant_status() FROM PUBLIC;

CREATE FUNCTION authz.record_tenant_status() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        UPDATE authz.tenant_status_history SET valid_until = NEW.status_since
        WHERE tenant_id = NEW.tenant_id AND valid_until IS NULL;
    END IF;
    INSERT INTO authz.tenant_status_history (tenant_id, status, valid_from)
    VALUES (NEW.tenant_id, NEW.status, NEW.status_since);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION authz.record_tenant_status() IS
    'Trigger: ends the open interval of tenant_status_history and begins the next.';
REVOKE ALL ON FUNCTION authz.record_tenant_status() FROM PUBLIC;

CREATE FUNCTION authz.skip_recorded_tenant_status() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM authz.tenant_status_history
               WHERE tenant_id = NEW.tenant_id AND valid_from = NEW.valid_from) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION authz.skip_recorded_tenant_status() IS
    'Trigger: skips an interval that is there already, as when a dump is restored.';
REVOKE ALL ON FUNCTION authz.skip_recorded_tenant_status() FROM PUBLIC;

CREATE TRIGGER stamp_status BEFORE UPDATE ON authz.tenant
    FOR EACH ROW EXECUTE FUNCTION authz.stamp_tenant_status();
CREATE TRIGGER record_status_insert AFTER INSERT ON authz.tenant
    FOR EACH ROW EXECUTE FUNCTION authz.record_tenant_status();
CREATE TRIGGER record_status_update AFTER UPDATE ON authz.tenant
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION authz.record_tenant_status();

CREATE TRIGGER guard_delete BEFORE DELETE ON authz.tenant_status_history
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Change tenant.status: valid_until is set by it.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.tenant_status_history
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Change tenant.status: valid_until is set by it.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.tenant_status_history
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"valid_until": "until"}');
CREATE TRIGGER skip_recorded BEFORE INSERT ON authz.tenant_status_history
    FOR EACH ROW EXECUTE FUNCTION authz.skip_recorded_tenant_status();

SELECT pg_catalog.pg_extension_config_dump('authz.tenant_status_history'::pg_catalog.regclass, '');
